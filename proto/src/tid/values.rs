//! Values of transaction keys in a text: `order.id=A-17` in a log line, `X-Request-ID: …` in a
//! header, the value alone.
//!
//! Owns how a key is written before its value and where a value ends. A value has no notation of
//! its own, so a text has several readings; the caller looks them up in order. Linear in the text
//! for each key.

/// A longer value is not looked for, in bytes.
pub const VALUE_BYTES_MAX: usize = 1_024;
/// The most readings that are returned.
pub const VALUES_MAX: usize = 16;

/// A span's attributes have request headers under this and the header's name.
const HEADER_PREFIX: &str = "http.request.header.";
/// Times that one key is looked at in a text.
const MENTIONS_MAX: usize = 2;
const UUID_BYTES: usize = 36;
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// One reading of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedValue<'k> {
    /// The keys whose value it may be.
    pub keys: Vec<&'k str>,
    /// The value.
    pub value: String,
}

/// The values that transaction keys may have in the text: those that stand behind a key, or else
/// the text itself under every key; then the first UUID in it under every key. Each once; nothing
/// for a blank text. Few under every key, because each costs a look-up for each.
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

/// Returns the text behind each mention of the name, from the start of its value.
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

/// The values that a text may begin with, the longest first: the rest of the line, up to a blank,
/// up to any sign that often ends a value; or what is between quotes.
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
    /// Adds the value, and the other spellings of one in percent-encoding and of a UUID.
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

/// The 32 digits of a UUID with or without dashes, in lower case.
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

/// The text behind percent-encoding; `None` when it has none.
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
