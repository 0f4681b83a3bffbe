//! Values after a secret key: which are secret, and where they end.
//!
//! A quoted value ends with its quote. An unquoted one ends at a separator of values, a cookie
//! after its last pair, an authorization after its credentials. The continuation of a sentence,
//! placeholders and names of variables are not secret: `password: must be longer`, `password=$1`,
//! `token = self.token`.

use std::ops::Range;

use memchr::memchr2;

use super::{Key, Secret};
use crate::redact::{MARKER, key_rules::KeyClass};

/// Maximum bytes of a value that are examined.
const VALUE_BYTES_JUDGED: usize = 128;
/// Minimum bytes of a value of letters and digits that has the form of a credential.
const CREDENTIAL_BYTES_MIN: usize = 8;
/// Minimum bytes of a value of letters only, in both cases, that has the form of a credential.
const LETTERS_MIN: usize = 20;

/// Bytes of the longest ordinary word.
const ORDINARY_BYTES_MAX: usize = "authentication".len();
/// Words that follow a key in messages, and values that stand for no value.
const ORDINARY_WORDS: &str = "\
    a an and any are as at auth authentication authorization bool boolean can cannot changed \
    contains could created credentials deleted denied did disabled does doesn don empty enabled \
    enter error expected expired failed failure false field for found generated got granted has \
    have id if in incorrect int integer invalid is issued it length malformed match may minimum \
    mismatch missing must nil no none not null nullable number ok omitted on option optional or \
    please provided refreshed refused rejected required requires revoked rotated scheme \
    secretstr set should str string text that the they this to token tokens too true type \
    undefined unknown unset unsupported updated use valid value varchar verified was were will \
    wrong yes your";

/// Schemes of the header `authorization`.
const SCHEMES: &str = "\
    apikey aws basic bearer digest dpop geniekey googlelogin hawk hmac hoba key mac mutual \
    negotiate ntlm oauth sharedaccesssignature sharedkey signature splunk token";

/// Returns the value after the mark of a secret key, if the value is secret.
pub(super) fn secret(text: &[u8], mark: usize, key: Key<'_>) -> Option<Secret> {
    let is_colon = text.get(mark) == Some(&b':');
    let mut start = value_start(text, mark, key)?;
    let mut rest = text.get(start..)?;
    if is_replaced(rest) {
        return None;
    }
    if let Some(quote) = key.quote
        && let Some(length) = json_length(rest, quote.byte)
    {
        // In a text within a text, another quote would end the outer text.
        let needs_quotes = quote.slashes == 0;
        return Some(Secret { range: start..start + length, needs_quotes });
    }
    if let [b'[', inner @ ..] = rest {
        // `Authorization:[Basic …]`, as Go and Java write maps of lists.
        (start, rest) = (start + 1, inner);
    }
    if let Some(quoted) = QuotedValue::at(rest) {
        let content = rest.get(quoted.content..)?;
        let is_secret = !is_replaced(content)
            && !quoted.is_empty(content)
            && (key.quote.is_some()
                || !(is_colon && key.class == KeyClass::Token)
                || has_form_of_credential(judged(content)));
        let start = start + quoted.content;
        return is_secret.then(|| (start..start + quoted.length(content)).into());
    }
    if is_replaced(rest) {
        return None;
    }
    let length = unquoted_length(rest, is_colon, key)?;
    Some((start..start + length).into())
}

/// Returns the start of the value after a mark, if the mark separates a key and its value.
fn value_start(text: &[u8], mark: usize, key: Key<'_>) -> Option<usize> {
    let rest = text.get(mark + 1..)?;
    let mark_rest = match (text.get(mark)?, rest) {
        (b':', [b':', ..] | [b'/', b'/', ..]) | (b'=', [b'=' | b'~', ..]) => return None,
        (b'=', [b'>', ..]) | (b':', [b'=', ..]) => 1,
        _ => 0,
    };
    let goes_on = key.quote.is_some()
        || key.class == KeyClass::Password && is_on_next_line(rest.get(mark_rest..)?);
    let is_space = |byte: &&u8| match byte {
        b' ' | b'\t' => true,
        b'\n' | b'\r' => goes_on,
        _ => false,
    };
    let spaces = rest.iter().skip(mark_rest).take_while(is_space).count();
    Some(mark + 1 + mark_rest + spaces)
}

/// Returns whether the line ends after a mark, and the next line has a single word that is neither
/// an ordinary word nor a key.
fn is_on_next_line(rest: &[u8]) -> bool {
    let rest = rest.get(..rest.len().min(VALUE_BYTES_JUDGED)).unwrap_or(rest);
    let (line, rest) = rest.split_at(line_length(rest));
    if !line.trim_ascii().is_empty() {
        return false;
    }
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let line = rest.get(..line_length(rest)).unwrap_or_default().trim_ascii();
    judged(line) == line
        && line.iter().any(|byte| !byte.is_ascii_alphabetic())
        && !line.ends_with(b":")
        && !line.contains(&b'=')
}

/// Returns whether a value was replaced here.
fn is_replaced(value: &[u8]) -> bool {
    value.starts_with(MARKER.as_bytes())
}

/// Returns whether an unquoted value is empty, or masked by the sender.
fn is_masked(word: &[u8]) -> bool {
    word == b"REDACTED" || word.iter().all(|byte| matches!(byte, b'*' | b'?' | b'.'))
}

/// A value in quotes.
struct QuotedValue {
    quote: u8,
    /// Number of backslashes before the quote, as in a text within a text.
    slashes: usize,
    /// Number of bytes before the content.
    content: usize,
}

impl QuotedValue {
    fn at(value: &[u8]) -> Option<Self> {
        // `b'…'` of Python, `N'…'` of SQL.
        let prefix = usize::from(matches!(value, [b'b' | b'N' | b'E' | b'u', b'\'' | b'"', ..]));
        let slashes = value.iter().skip(prefix).take_while(|&&byte| byte == b'\\').count();
        let quote = *value.get(prefix + slashes)?;
        let is_quote = matches!(quote, b'"' | b'\'' | b'`');
        is_quote.then_some(Self { quote, slashes, content: prefix + slashes + 1 })
    }

    /// Returns whether the content is empty or a mask.
    fn is_empty(&self, content: &[u8]) -> bool {
        let masked = content
            .iter()
            .take_while(|byte| matches!(byte, b'*' | b'?' | b' ') || **byte == b'\\')
            .count();
        match content.get(masked) {
            None => true,
            Some(byte) if *byte == self.quote => self.length(content) <= masked,
            Some(_) => content.starts_with(b"REDACTED") && self.length(content) == 8,
        }
    }

    /// Returns the number of bytes before the closing quote, which has as many backslashes as the
    /// opening one, not counting escaped backslashes. A doubled quote of SQL belongs to the value.
    fn length(&self, content: &[u8]) -> usize {
        let escaped = 2 * (self.slashes + 1);
        let mut run = 0;
        let mut index = 0;
        while let Some(&byte) = content.get(index) {
            if byte == b'\\' {
                run += 1;
            } else if byte == self.quote && run % escaped == self.slashes {
                let is_doubled = self.quote == b'\''
                    && self.slashes == 0
                    && index > 0
                    && content.get(index + 1) == Some(&b'\'');
                if !is_doubled {
                    return index - self.slashes;
                }
                index += 1;
                run = 0;
            } else {
                run = 0;
            }
            index += 1;
        }
        content.len()
    }
}

/// Returns the length of a number, list or map of JSON that is not empty.
fn json_length(value: &[u8], quote: u8) -> Option<usize> {
    match value.first()? {
        b'-' | b'0'..=b'9' => {
            let is_number_byte = |byte: &&u8| byte.is_ascii_digit() || b".eE+-".contains(*byte);
            let length = value.iter().take(VALUE_BYTES_JUDGED).take_while(is_number_byte).count();
            matches!(value.get(length), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r'))
                .then_some(length)
        }
        b'[' | b'{' => {
            let inner = value.get(1..)?.iter().find(|byte| !byte.is_ascii_whitespace());
            let is_empty = matches!(inner, None | Some(b']' | b'}'));
            (!is_empty).then(|| brackets_length(value, quote))
        }
        _ => None,
    }
}

/// Returns the number of bytes up to the bracket that closes the first one, or to the end.
fn brackets_length(value: &[u8], quote: u8) -> usize {
    let mut depth = 0_usize;
    let mut index = 0;
    while let Some(&byte) = value.get(index) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            b'\\' => {
                let rest = value.get(index..).unwrap_or_default();
                index += match QuotedValue::at(rest) {
                    Some(quoted) if quoted.quote == quote => quoted.whole_length(rest) - 1,
                    _ => rest.iter().take_while(|&&byte| byte == b'\\').count() - 1,
                };
            }
            _ if byte == quote => {
                let rest = value.get(index..).unwrap_or_default();
                if let Some(quoted) = QuotedValue::at(rest) {
                    index += quoted.whole_length(rest) - 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
    value.len()
}

impl QuotedValue {
    /// Returns the number of bytes from the opening quote to the end of the closing one.
    fn whole_length(&self, value: &[u8]) -> usize {
        let content = value.get(self.content..).unwrap_or_default();
        let length = self.content + self.length(content) + self.slashes + 1;
        length.min(value.len())
    }
}

/// Returns the length of an unquoted value, if it is secret.
fn unquoted_length(value: &[u8], is_colon: bool, key: Key<'_>) -> Option<usize> {
    let word = judged(value);
    let is_none = || {
        is_masked(word)
            || matches!(word, [b'{', ..] | [b'#', b'{', ..])
            || is_ordinary(word)
            || is_placeholder(word)
            || names_again(word, key.name)
    };
    match key.class {
        KeyClass::Authorization => match credentials(value) {
            Some(credentials) => Some(credentials.end).filter(|_| {
                let credentials = value.get(credentials.start..).unwrap_or_default();
                let word = judged(credentials);
                !(is_replaced(credentials)
                    || is_masked(word)
                    || is_ordinary(word)
                    || is_placeholder(word))
            }),
            None if !has_form_of_credential(word) || is_none() => None,
            None => Some(value_length(value)),
        },
        _ if is_none() => None,
        KeyClass::Cookie if is_pair(word) => Some(pairs_length(value)),
        KeyClass::Password => Some(value_length(value)),
        KeyClass::Token if !is_colon => Some(value_length(value)),
        KeyClass::Cookie | KeyClass::Token => {
            has_form_of_credential(word).then(|| value_length(value))
        }
    }
}

/// Returns the part of a value that is examined, up to a separator.
fn judged(value: &[u8]) -> &[u8] {
    let value = value.get(..value.len().min(VALUE_BYTES_JUDGED)).unwrap_or(value);
    value.get(..word_length(value)).unwrap_or_default()
}

fn word_length(value: &[u8]) -> usize {
    let end = value.iter().enumerate().position(|(index, &byte)| match byte {
        0..=b' ' | 0x7f | b',' | b';' | b'&' | b'|' | b'<' | b'"' | b'\'' | b'`' => true,
        b')' | b']' | b'}' => true,
        b'\\' => is_escape(value.get(index..).unwrap_or_default()),
        _ => false,
    });
    end.unwrap_or(value.len())
}

/// Returns the length of a value, including the literal argument of a function call: `password =
/// md5('…')`.
fn value_length(value: &[u8]) -> usize {
    let length = word_length(value);
    let is_call = value.get(..length).is_some_and(|word| word.ends_with(b"("));
    match value.get(length..).filter(|_| is_call) {
        Some(rest) => length + QuotedValue::at(rest).map_or(0, |quoted| quoted.whole_length(rest)),
        None => length,
    }
}

/// Returns whether a text begins with an escaped quote or line break, as in a text within a text.
fn is_escape(rest: &[u8]) -> bool {
    let slashes = rest.iter().take(VALUE_BYTES_JUDGED).take_while(|&&byte| byte == b'\\').count();
    matches!(rest.get(slashes), Some(b'n' | b'r' | b't' | b'"' | b'\''))
}

fn is_ordinary(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"(").unwrap_or(word);
    let word = match word {
        [head @ .., b'.' | b'!' | b':' | b'?'] => head,
        _ => word,
    };
    if word.len() > ORDINARY_BYTES_MAX {
        return false;
    }
    let mut words = ORDINARY_WORDS.split(' ').map(str::as_bytes);
    words.any(|ordinary| word.eq_ignore_ascii_case(ordinary))
}

/// Returns whether a word is a placeholder: `$1`, `$NAME`, `${name}`, `%s`, `{}`, `#{name}`.
fn is_placeholder(word: &[u8]) -> bool {
    match word {
        [b'$', b'{' | b'(', ..] | [b'{', b'{', ..] | [b'%', b'('] => true,
        [b'$', name @ ..] => name
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_'),
        [b'%', form @ ..] => form.len() <= 2 && form.iter().all(u8::is_ascii_alphabetic),
        [b'@' | b':', b'p', number @ ..] => number.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Returns whether a value repeats its key: `password = :password`, `token: self.token`.
fn names_again(word: &[u8], key: &[u8]) -> bool {
    let word = match word {
        [b'$' | b'@' | b':' | b'*', word @ ..] => word,
        _ => word,
    };
    let last = |name: &[u8]| name.rsplit(|&byte| byte == b'.').next().map(<[u8]>::len);
    let (Some(of_word), Some(of_key)) = (last(word), last(key)) else { return false };
    of_word == of_key
        && word
            .iter()
            .rev()
            .zip(key.iter().rev())
            .take(of_word)
            .all(|(one, other)| one.eq_ignore_ascii_case(other))
}

/// Returns whether a value has the form of a generated credential, and not of a word.
fn has_form_of_credential(word: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| word.iter().any(is);
    word.len() >= CREDENTIAL_BYTES_MIN
        && has(u8::is_ascii_alphabetic)
        && (has(u8::is_ascii_digit)
            || word.len() >= LETTERS_MIN
                && has(u8::is_ascii_lowercase)
                && has(u8::is_ascii_uppercase))
}

/// Returns the credentials of an authorization after the name of their scheme.
fn credentials(value: &[u8]) -> Option<Range<usize>> {
    let scheme = judged(value);
    let is_scheme = SCHEMES.split(' ').any(|name| scheme.eq_ignore_ascii_case(name.as_bytes()))
        || scheme.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"aws4"));
    let rest = value.get(scheme.len()..).filter(|_| is_scheme)?;
    let spaces = rest.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    let start = scheme.len() + spaces;
    let credentials = value.get(start..).filter(|_| spaces > 0)?;
    // Parameters, as in `Digest username="…", response="…"`, extend to the end of the line.
    let word = judged(credentials);
    let equals = word.iter().position(|&byte| byte == b'=');
    let has_parameters = equals.is_some_and(|equals| match credentials.get(equals + 1) {
        Some(byte) => !byte.is_ascii_whitespace() && !b"=,;)]}'".contains(byte),
        None => false,
    });
    let length = if has_parameters { line_length(credentials) } else { word_length(credentials) };
    Some(start..start + length)
}

fn line_length(text: &[u8]) -> usize {
    memchr2(b'\n', b'\r', text).unwrap_or(text.len())
}

/// Returns whether a value begins like a cookie, with a name, an equals sign and a value.
fn is_pair(word: &[u8]) -> bool {
    word.iter().position(|&byte| byte == b'=').is_some_and(|equals| equals > 0)
}

/// Returns the length of pairs with semicolons and spaces between them.
fn pairs_length(value: &[u8]) -> usize {
    const EXPIRES: &[u8] = b"expires=";
    let (mut index, mut before) = (0, b' ');
    let mut is_date = false;
    while let Some(&byte) = value.get(index) {
        let rest = value.get(index..).unwrap_or_default();
        match byte {
            b' ' if before == b';' || is_date => {}
            b'"' if before == b'=' => {
                index += QuotedValue::at(rest).map_or(0, |quoted| quoted.whole_length(rest) - 1);
            }
            0..=b' ' | 0x7f | b'"' | b'\'' | b'`' => return index,
            b'\\' if is_escape(rest) => return index,
            b',' | b')' | b']' | b'}' if !is_date && is_last(rest) => return index,
            b';' => is_date = false,
            b'e' | b'E' if before == b' ' && !is_date => {
                is_date = rest
                    .get(..EXPIRES.len())
                    .is_some_and(|name| name.eq_ignore_ascii_case(EXPIRES));
            }
            _ => {}
        }
        before = byte;
        index += 1;
    }
    value.len()
}

/// Returns whether no further pair of a cookie follows the first byte.
fn is_last(rest: &[u8]) -> bool {
    matches!(rest.get(1), None | Some(0..=b' ' | b',' | b')' | b']' | b'}' | b'"' | b'\''))
}
