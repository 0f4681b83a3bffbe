//! Finds values of transaction keys in a text: `order.id=A-17` in a log line, `X-Request-ID: …` in
//! a header, or the value alone.
//!
//! Owns how a key is written before its value and where a value ends. A value has no notation of
//! its own, so a text has several readings, and the caller looks them up in order. The time is
//! linear in the text for each key.

/// Maximum bytes of a value.
pub const VALUE_BYTES_MAX: usize = 1_024;
/// Maximum number of readings.
pub const VALUES_MAX: usize = 16;

/// Prefix of attributes that have request headers of a span.
const HEADER_PREFIX: &str = "http.request.header.";
/// Maximum mentions of one key that are read in a text.
const MENTIONS_MAX: usize = 2;
const UUID_BYTES: usize = 36;
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// One reading of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedValue<'k> {
    /// The keys that may have the value.
    pub keys: Vec<&'k str>,
    /// The value.
    pub value: String,
}

/// Returns the values that transaction keys may have in the text: values after a key, or otherwise
/// the text itself under every key; then the first UUID in it under every key. Each is returned
/// once; a blank text gives none. Few are under every key, because each of them costs a lookup for
/// each key.
#[must_use]
pub fn values<'k>(text: &str, keys: &'k [String]) -> Vec<KeyedValue<'k>> {
    let text = super::trimmed(text);
    if text.is_empty() || keys.is_empty() {
        return Vec::new();
    }
    let mut found = FoundValues::default();
    let lower = text.to_ascii_lowercase();
    for key in keys {
        let key = key.as_str();
        let names = [Some(key), key.strip_prefix(HEADER_PREFIX)];
        for name in names.into_iter().flatten().filter(|name| !name.is_empty()) {
            for rest in behind(text, &lower, &name.to_ascii_lowercase()).take(MENTIONS_MAX) {
                readings(rest).into_iter().for_each(|value| found.add(&[key], value));
            }
        }
    }
    let every: Vec<&str> = keys.iter().map(String::as_str).collect();
    if found.0.is_empty() {
        found.add(&every, text);
    }
    let mut words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '-');
    if let Some(uuid) = words.find(|word| digits_of_uuid(word).is_some()) {
        found.add(&every, uuid);
    }
    found.0
}

/// Returns the text after each mention of the name, from the start of its value.
fn behind<'t>(text: &'t str, lower: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let length = name.len();
    let of_name = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '.' | '-');
    lower.match_indices(name).map(|(at, _)| at).filter_map(move |at| {
        if text[..at].ends_with(of_name) {
            return None;
        }
        let rest = text[at + length..].trim_start_matches(['\\', '"', '\'', '`', ']']).trim_start();
        let rest = rest.strip_prefix("=>").or_else(|| rest.strip_prefix(['=', ':']))?;
        Some(rest.trim_start())
    })
}

/// Returns the values that a text may begin with, the longest first: the rest of the line, the text
/// up to a blank, the text up to a character that often ends a value; or the text between quotes.
fn readings(rest: &str) -> Vec<&str> {
    let rest = rest.split(['\n', '\r']).next().unwrap_or_default();
    let bare = rest.trim_start_matches(['[', '\\']);
    if let Some(quote) = bare.chars().next().filter(|first| QUOTES.contains(first)) {
        let inner = &bare[quote.len_utf8()..];
        let inner = inner.split(quote).next().unwrap_or_default();
        return vec![inner.trim_end_matches('\\')];
    }
    let word = rest.split_whitespace().next().unwrap_or_default();
    let ends = |sign: char| QUOTES.contains(&sign) || ",;&|()[]{}<>".contains(sign);
    let short = word.split(ends).next().unwrap_or_default();
    vec![rest.trim_end(), word.trim_end_matches(|sign| ends(sign) || sign == '.'), short]
}

#[derive(Default)]
struct FoundValues<'k>(Vec<KeyedValue<'k>>);

impl<'k> FoundValues<'k> {
    /// Adds the value, and other spellings of a percent-encoded value and of a UUID.
    fn add(&mut self, keys: &[&'k str], value: &str) {
        self.add_one(keys, value.to_owned());
        if let Some(plain) = unescaped(value) {
            self.add_one(keys, plain);
        }
        if let Some(digits) = digits_of_uuid(value.trim_matches(['{', '}'])) {
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
            let dashed = parts.join("-");
            let upper = dashed.to_ascii_uppercase();
            for spelled in [dashed, digits, upper] {
                self.add_one(keys, spelled);
            }
        }
    }

    fn add_one(&mut self, keys: &[&'k str], value: String) {
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            return;
        }
        if let Some(known) = self.0.iter_mut().find(|known| known.value == value) {
            keys.iter().for_each(|key| {
                if !known.keys.contains(key) {
                    known.keys.push(key);
                }
            });
        } else if self.0.len() < VALUES_MAX {
            self.0.push(KeyedValue { keys: keys.to_vec(), value });
        }
    }
}

/// Returns the 32 digits of a UUID with or without dashes, in lower case.
fn digits_of_uuid(text: &str) -> Option<String> {
    let dashes = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let whole = match text.len() {
        UUID_BYTES => text.bytes().enumerate().all(|(at, byte)| dashes(at) == (byte == b'-')),
        32 => true,
        _ => false,
    };
    let digits: String = text.chars().filter(|sign| *sign != '-').collect();
    let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (whole && is_hex).then(|| digits.to_ascii_lowercase())
}

/// Decodes percent-encoding; `None` for a text without any.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    let before = bytes.len();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|_| before < text.len())
}

#[cfg(test)]
mod tests;
