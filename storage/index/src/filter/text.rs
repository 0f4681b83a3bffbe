//! Searches a text for another one. ASCII letter case is ignored.

/// Maximum work of comparing the needle at candidate positions, as a multiple of the text's length.
const PASSES: usize = 4;

/// Frequent bytes of messages, the most frequent first: letters, and digits of identifiers.
const FREQUENT: &[u8] = b" eatoinsrdc0123456789lhufmpgb.-w/y:v_k,=xjqz";

/// A text to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    bytes: Vec<u8>,
    /// Position of its rarest byte, which is searched for.
    rarest: usize,
}

/// Returns an estimate of how often messages have a byte.
fn frequency(byte: u8) -> usize {
    match byte {
        // First bytes of characters outside of ASCII, of which a language has one or two.
        0xc0.. => usize::MAX,
        _ => FREQUENT.iter().rev().position(|frequent| *frequent == byte).map_or(0, |at| at + 1),
    }
}

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        let bytes = text.as_bytes().to_ascii_lowercase();
        let rarest = (0..bytes.len()).min_by_key(|at| frequency(bytes[*at])).unwrap_or_default();
        Self { bytes, rarest }
    }

    /// Returns the n-gram bits to look up for texts that contain the needle.
    pub(super) fn bits(&self) -> Vec<u32> {
        crate::text_bits(&self.bytes)
    }

    /// Returns the text with ASCII letters in lower case.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Returns true if the text contains the needle. Takes linear time: when the needle's rarest
    /// byte is at many positions, a lower-case copy of the text is searched instead.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let Some(&rare) = self.bytes.get(self.rarest) else { return true };
        let hay = text.as_bytes();
        let Some(last_start) = hay.len().checked_sub(self.bytes.len()) else { return false };
        let mut places_left = hay.len() * PASSES / self.bytes.len();
        let places = &hay[self.rarest..=last_start + self.rarest];
        for at in memchr::memchr2_iter(rare, rare.to_ascii_uppercase(), places) {
            if hay[at..at + self.bytes.len()].eq_ignore_ascii_case(&self.bytes) {
                return true;
            }
            match places_left.checked_sub(1) {
                Some(left) => places_left = left,
                None => {
                    let rest = hay[at..].to_ascii_lowercase();
                    return memchr::memmem::find(&rest, &self.bytes).is_some();
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Needle;

    #[test]
    fn text_is_found_in_any_ascii_case_and_nowhere_else() {
        let cases = [
            ("Payment failed", "FAILED", true),
            ("Payment failed", "payment", true),
            ("Payment failed", "failed ", false),
            ("", "", true),
            ("x", "", true),
            ("", "x", false),
            ("short", "longer than the text", false),
            ("aab", "ab", true),
            ("Payment Declined for order 7", "payment declined", true),
            ("payment declined", "PAYMENT DECLINED", true),
            ("xpayment decline", "payment declined", false),
            ("y payment refused", "payment declined", false),
            ("yy-y", "-y", true),
            ("yy-", "-y", false),
            ("ÜBER", "über", false),
            ("Über", "ÜBER", true),
            ("[error]", "[ERROR]", true),
            ("{error}", "[error]", false),
        ];
        for (text, part, expected) in cases {
            assert_eq!(Needle::new(part).is_in(text), expected, "{part:?} in {text:?}");
        }
    }

    #[test]
    fn hostile_text_is_searched_in_proportion_to_its_length() {
        let (half, text) = ("a".repeat(50_000), "aA".repeat(500_000));
        let begun = tidings_runtime::Clock::instant(&tidings_runtime::SystemClock);
        assert!(!Needle::new(&format!("{half}b")).is_in(&text));
        assert!(Needle::new(&format!("{half}b")).is_in(&format!("{text}B")));
        assert!(Needle::new(&half).is_in(&text));
        // Comparing the whole needle at each position would take minutes.
        let took =
            tidings_runtime::Clock::instant(&tidings_runtime::SystemClock).duration_since(begun);
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    }
}
