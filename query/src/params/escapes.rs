//! Percent-encoding: the bytes behind `%41`.

/// The bytes of the text with its escapes decoded, and whether every `%` began one: one that does
/// not stands for itself.
pub(crate) fn unescaped(text: &str) -> (Vec<u8>, bool) {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    let mut all_escape = true;
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let rest = match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                &part[2..]
            }
            None => {
                all_escape = false;
                bytes.push(b'%');
                part
            }
        };
        bytes.extend_from_slice(rest.as_bytes());
    }
    (bytes, all_escape)
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn escapes_are_decoded_and_other_percent_signs_stay() {
        for (text, bytes, all_escape) in [
            ("", b"".as_slice(), true),
            ("shop", b"shop", true),
            ("%41b%63", b"Abc", true),
            ("%2541", b"%41", true),
            ("%ff%C3%a9", b"\xff\xc3\xa9", true),
            ("100%", b"100%", false),
            ("%4", b"%4", false),
            ("%zz%41", b"%zzA", false),
            ("%+f", b"%+f", false),
            ("%\u{e9}a", "%\u{e9}a".as_bytes(), false),
            ("%%41", b"%A", false),
        ] {
            assert_eq!(unescaped(text), (bytes.to_vec(), all_escape), "{text}");
        }
    }
}
