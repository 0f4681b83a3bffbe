//! Form of a message: its words, with wildcards for the parts that look like values.
//!
//! Messages of one form differ only in numbers, times and the like. Flushes and merges count
//! records by form, so computing the form takes little more time than reading the message: eight
//! bytes are classified at once, and words without digits are copied in one piece.

/// Text that stands for a value in a form.
pub const FORM_WILDCARD: &str = "<*>";
/// Maximum number of words of a message in its form.
const WORDS_MAX: usize = 60;
/// Maximum number of characters of a message in its form.
const CHARS_MAX: usize = 600;
/// Maximum number of consecutive wildcards. Further ones are omitted.
const LIST_WORDS_MAX: usize = 3;
/// Last word of the form of a longer message.
const CUT: &str = "…";

/// Constant with 1 in each of eight bytes.
const ONES: u64 = 0x0101_0101_0101_0101;
/// Highest bit of each of eight bytes.
const HIGHEST: u64 = 0x80 * ONES;

/// Class of digits.
const DIGIT: u8 = 1;
/// Class of bytes that are neither digits nor capitals nor delimiters nor spaces.
const OTHER: u8 = 2;
/// Class of bytes that end a part of a word.
const DELIMITER: u8 = 4;
/// Class of bytes that end a word.
const SPACE: u8 = 8;
/// Class of bytes of a character outside of ASCII, which may be a space.
const WIDE: u8 = 16;

/// Class of each byte. Capitals have 0.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [OTHER; 256];
    let mut byte = u8::MIN;
    loop {
        classes[byte as usize] = match byte {
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' => 0,
            b'=' | b':' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>'
            | b'"' | b'\'' | b'|' => DELIMITER,
            b'\t'..=b'\r' | b' ' => SPACE,
            0x80..=u8::MAX => WIDE,
            _ => OTHER,
        };
        if byte == u8::MAX {
            return classes;
        }
        byte += 1;
    }
}

/// Writes the forms of messages. Each form replaces the previous one in the buffer.
#[derive(Debug, Default)]
pub struct FormWriter {
    form: String,
}

impl FormWriter {
    /// Returns the form of a message: words with one space between them, and a wildcard for each
    /// part of a word that is a value.
    pub fn write(&mut self, message: &str) -> &str {
        self.form.clear();
        let mut looked_at = message;
        // A message has at most as many characters as bytes.
        if message.len() > CHARS_MAX
            && let Some((end, _)) = message.char_indices().nth(CHARS_MAX)
        {
            looked_at = &message[..end];
        }
        let mut rest = MessageRest { text: looked_at, words_left: WORDS_MAX, is_long: false };
        let mut wildcards = 0;
        while rest.skip_spaces() && rest.words_left > 0 {
            let plain = rest.take_plain_words();
            if !plain.is_empty() {
                self.push_words(plain);
                wildcards = 0;
                continue;
            }
            let end = self.form.len();
            let start = self.begin_word();
            let length = self.push_without_values(rest.text);
            rest.text = &rest.text[length..];
            rest.words_left -= 1;
            wildcards = if self.form[start..] == *FORM_WILDCARD { wildcards + 1 } else { 0 };
            if wildcards > LIST_WORDS_MAX {
                self.form.truncate(end);
            }
        }
        if looked_at.len() < message.len() || !rest.text.is_empty() {
            self.push_words(CUT);
        }
        &self.form
    }

    fn push_words(&mut self, words: &str) {
        self.begin_word();
        self.form.push_str(words);
    }

    /// Begins a word and returns its start.
    fn begin_word(&mut self) -> usize {
        if !self.form.is_empty() {
            self.form.push(' ');
        }
        self.form.len()
    }

    /// Adds the first word of the text, with a wildcard for each part that is a value: `uid=17`
    /// becomes `uid=<*>`. Values with a colon or a comma between them become one wildcard, as in a
    /// time. Returns the length of the word.
    fn push_without_values(&mut self, text: &str) -> usize {
        let (bytes, start) = (text.as_bytes(), self.form.len());
        let (mut copied, mut part, mut at) = (0, WordPart::default(), 0);
        loop {
            let byte = bytes.get(at).copied().unwrap_or(b' ');
            let class = CLASSES[usize::from(byte)];
            if class < DELIMITER {
                part.digits += usize::from(class & DIGIT);
                part.others += usize::from(class & OTHER) / usize::from(OTHER);
                at += 1;
                continue;
            }
            let next = if class == WIDE { text[at..].chars().next() } else { None };
            if let Some(next) = next.filter(|next| !next.is_whitespace()) {
                part.others += 1;
                at += next.len_utf8();
                continue;
            }
            if part.is_value(&bytes[part.start..at]) {
                self.form.push_str(&text[copied..part.start]);
                self.push_value(start);
                copied = at;
            }
            if class != DELIMITER {
                self.form.push_str(&text[copied..at]);
                return at;
            }
            at += 1;
            part = WordPart { start: at, ..WordPart::default() };
        }
    }

    /// Adds a wildcard to the word that begins at `start`, unless the value continues the previous
    /// one.
    fn push_value(&mut self, start: usize) {
        let written = &self.form[start..];
        if written.ends_with([':', ',']) {
            let before = written.trim_end_matches([':', ',']);
            if before.ends_with(FORM_WILDCARD) {
                self.form.truncate(start + before.len());
                return;
            }
        }
        self.form.push_str(FORM_WILDCARD);
    }
}

/// Part of a word between delimiters.
#[derive(Debug, Default)]
struct WordPart {
    start: usize,
    /// Number of digits.
    digits: usize,
    /// Number of characters that are neither digits nor capitals.
    others: usize,
}

impl WordPart {
    /// Returns true for a part with digits. The exception is a name in capitals that ends with a
    /// single digit, such as `SOCKS5` and `IPV6`.
    fn is_value(&self, part: &[u8]) -> bool {
        let is_name = || {
            let ends_with_digit = part.last().is_some_and(u8::is_ascii_digit);
            self.others == 0 && part.len() > 2 && ends_with_digit
        };
        self.digits > 1 || self.digits == 1 && !is_name()
    }
}

/// Rest of a message that is not written yet.
struct MessageRest<'a> {
    text: &'a str,
    words_left: usize,
    /// True if the plain words at the start exceed the word limit. Words are then taken one by one.
    is_long: bool,
}

impl<'a> MessageRest<'a> {
    /// Skips all spaces. Returns true if a word follows.
    fn skip_spaces(&mut self) -> bool {
        while let Some(byte) = self.text.as_bytes().first() {
            let space = match byte {
                b' ' => Some(' '),
                b'!'..=b'~' => return true,
                _ => self.text.chars().next().filter(|next| next.is_whitespace()),
            };
            let Some(space) = space else { return true };
            self.text = &self.text[space.len_utf8()..];
        }
        false
    }

    /// Takes plain words, which the form has unchanged, with one space between them. They end
    /// before the first word with a byte of [`non_plain_bits`]. The result may be empty.
    fn take_plain_words(&mut self) -> &'a str {
        if self.is_long {
            return "";
        }
        let bytes = self.text.as_bytes();
        let (mut at, mut spaces, mut space_before) = (0, 0, 0);
        loop {
            let eight = eight_bytes(bytes, at);
            let of_spaces = self::spaces(eight);
            let other = non_plain_bits(eight) | of_spaces & (of_spaces << 8 | space_before);
            if other == 0 {
                spaces += sum(of_spaces);
                space_before = of_spaces >> 56;
                at += 8;
                continue;
            }
            // Mask of the bits below the lowest set bit.
            let before = (other - 1) & !other;
            spaces += sum(of_spaces & before);
            at += other.trailing_zeros() as usize / 8;
            break;
        }
        let mut words = spaces;
        if at < bytes.len() {
            let last = bytes[..at].iter().rposition(|byte| *byte == b' ');
            at = last.unwrap_or(0);
        } else if bytes[at - 1] == b' ' {
            at -= 1;
        } else {
            words += 1;
        }
        if words > self.words_left {
            self.is_long = true;
            return "";
        }
        self.words_left -= words;
        let (plain, rest) = self.text.split_at(at);
        self.text = rest;
        plain
    }
}

/// Returns the eight bytes at this position, the first lowest. Zeros follow the end of the text.
fn eight_bytes(bytes: &[u8], at: usize) -> u64 {
    let left = &bytes[at..];
    if let Some(eight) = left.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..left.len()].copy_from_slice(left);
    u64::from_le_bytes(eight)
}

/// Sets the highest bit of each byte that is at least `byte`. All bytes of `low` are below 128.
fn at_least(low: u64, byte: u8) -> u64 {
    low + (0x80 - u64::from(byte)) * ONES
}

/// Returns the highest bit of each byte that is a space.
fn spaces(eight: u64) -> u64 {
    let low = eight & !HIGHEST;
    at_least(low, b' ') & !at_least(low, b' ' + 1) & !eight & HIGHEST
}

/// Returns the highest bit of each byte that no plain word has: a digit, a control character, a
/// byte outside of ASCII, or the star of a wildcard.
fn non_plain_bits(eight: u64) -> u64 {
    let low = eight & !HIGHEST;
    let digits = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let stars = at_least(low, b'*') & !at_least(low, b'*' + 1);
    (eight | digits | stars | !at_least(low, b' ')) & HIGHEST
}

/// Counts the set highest bits of eight bytes.
fn sum(highest: u64) -> usize {
    usize::from((highest >> 7).wrapping_mul(ONES).to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CHARS_MAX, CUT, FORM_WILDCARD, FormWriter, LIST_WORDS_MAX, WORDS_MAX};

    /// Characters that end a part of a word.
    const DELIMITERS: &[char] =
        &['=', ':', ',', ';', '(', ')', '[', ']', '{', '}', '<', '>', '"', '\'', '|'];

    fn is_value(part: &str) -> bool {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let is_name = || {
            let capitals = part.trim_end_matches(|last: char| last.is_ascii_digit());
            capitals.len() >= 2 && capitals.bytes().all(|byte| byte.is_ascii_uppercase())
        };
        digits > 1 || digits == 1 && !is_name()
    }

    /// Reference implementation for a word, with functions of the standard library.
    fn expected_word(word: &str) -> String {
        if !is_value(word) {
            return word.to_owned();
        }
        let mut result = String::new();
        for part in word.split_inclusive(DELIMITERS) {
            let value = part.trim_end_matches(DELIMITERS);
            if !is_value(value) {
                result.push_str(part);
                continue;
            }
            let before = result.trim_end_matches([':', ',']);
            if before.len() < result.len() && before.ends_with(FORM_WILDCARD) {
                result.truncate(before.len());
            } else {
                result.push_str(FORM_WILDCARD);
            }
            result.push_str(&part[value.len()..]);
        }
        result
    }

    /// Returns the words of the expected form.
    fn expected(message: &str) -> Vec<String> {
        let cut: String = message.chars().take(CHARS_MAX).collect();
        let words: Vec<String> = cut.split_whitespace().map(expected_word).collect();
        let mut form: Vec<String> = Vec::new();
        for word in words.iter().take(WORDS_MAX) {
            let last = form.iter().rev().take(LIST_WORDS_MAX);
            let is_long_list = last.len() == LIST_WORDS_MAX && last.clone().all(|of| of == word);
            if word != FORM_WILDCARD || !is_long_list {
                form.push(word.clone());
            }
        }
        if cut.len() < message.len() || words.len() > WORDS_MAX {
            form.push(CUT.to_owned());
        }
        form
    }

    #[track_caller]
    fn check(message: &str, form: &str) {
        assert_eq!(FormWriter::default().write(message), form);
    }

    #[test]
    fn values_inside_words_are_replaced() {
        check("order 17 took 3ms", "order <*> took <*>");
        check("id=7 user=bob", "id=<*> user=bob");
        check("lock(7,\"wake\",0x1f), at 10:05:25,801", "lock(<*>,\"wake\",<*>), at <*>");
        check("proxy over SOCKS5 and IPV6 to node7", "proxy over SOCKS5 and IPV6 to <*>");
        check("at 1 2 3 4 5 6 end", "at <*> <*> <*> end");
        check("  a\u{a0}b\u{3000}ä7 \n", "a b <*>");
        check("", "");
    }

    #[test]
    fn long_messages_are_cut() {
        let mut writer = FormWriter::default();
        assert_eq!(writer.write(&"word ".repeat(100)).split(' ').count(), WORDS_MAX + 1);
        assert_eq!(writer.write(&"ä".repeat(10_000)), format!("{} …", "ä".repeat(CHARS_MAX)));
    }

    proptest! {
        #[test]
        fn a_form_has_the_words_of_its_message(
            messages in proptest::collection::vec(
                prop_oneof![
                    "([a-dA-D0-9=:,;()<>*\"|ä\u{2003}]{1,6}[ \t\u{a0}]{0,2}){0,12}",
                    "([0-9]{1,2} ){0,8}[A-Z]{1,3}[0-9]{0,2}",
                    "(<\\*>|[1-9]|a) {0,2}(<\\*>|[1-9]|b)",
                    "([a-z0-9]{1,9} ){50,70}",
                    "[a-z0-9 ä]{590,610}",
                    ".*",
                ],
                1..8,
            )
        ) {
            let mut writer = FormWriter::default();
            for message in &messages {
                prop_assert_eq!(writer.write(message), expected(message).join(" "));
            }
        }
    }
}
