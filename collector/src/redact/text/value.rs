//! Values behind a secret key: which are secret, and where they end.
//!
//! A value in quotes ends with them. Without quotes it ends where texts around it separate values; a
//! cookie ends behind its last pair, an authorization behind its credentials. What a sentence goes
//! on with, placeholders and names of variables are no secrets: `password: must be longer`,
//! `password=$1`, `token = self.token`.

use std::ops::Range;

use memchr::memchr2;

use super::{Key, Secret};
use crate::redact::{MARKER, key_rules::KeyClass};

/// No more bytes of a value are judged.
const VALUE_BYTES_JUDGED: usize = 128;
/// The shortest value of letters and digits that is a credential by its form.
const CREDENTIAL_BYTES_MIN: usize = 8;
/// Letters of both cases alone are a credential from this length on.
const LETTERS_MIN: usize = 20;

/// The longest of the ordinary words.
const ORDINARY_BYTES_MAX: usize = "authentication".len();
/// Words that a message goes on with behind a key, and values that are none.
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

/// Returns the value behind the mark of a secret key, if it is secret.
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
        // In a text within a text, one quote more would end the outer one.
        let needs_quotes = quote.slashes == 0;
        return Some(Secret { range: start..start + length, needs_quotes });
    }
    if let [b'[', inner @ ..] = rest {
        // `Authorization:[Basic …]`, as Go and Java write maps of lists.
        (start, rest) = (start + 1, inner);
    }
    if let Some(quoted) = Quoted::at(rest) {
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

/// Returns where the value behind a mark begins, if the mark is one of a key and its value.
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

/// Returns whether nothing is behind a mark on its line, and one word alone on the next, which is no
/// word of plain language and no key.
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

/// Returns whether a value without quotes is empty, or masked by the sender.
fn is_masked(word: &[u8]) -> bool {
    word == b"REDACTED" || word.iter().all(|byte| matches!(byte, b'*' | b'?' | b'.'))
}

/// A value in quotes.
struct Quoted {
    quote: u8,
    /// Backslashes before the quote: those of a text within a text.
    slashes: usize,
    /// Bytes before the content.
    content: usize,
}

impl Quoted {
    fn at(value: &[u8]) -> Option<Self> {
        // `b'…'` of Python, `N'…'` of SQL.
        let prefix = usize::from(matches!(value, [b'b' | b'N' | b'E' | b'u', b'\'' | b'"', ..]));
        let slashes = value.iter().skip(prefix).take_while(|&&byte| byte == b'\\').count();
        let quote = *value.get(prefix + slashes)?;
        let is_quote = matches!(quote, b'"' | b'\'' | b'`');
        is_quote.then_some(Self { quote, slashes, content: prefix + slashes + 1 })
    }

    /// Returns whether nothing but a mask is in the quotes.
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

    /// Returns the bytes before the closing quote: one that has as many backslashes as the first,
    /// beside those that are escaped themselves. A doubled quote of SQL belongs to the value.
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

/// Returns the bytes up to the bracket that closes the first, or to the end.
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
                index += match Quoted::at(rest) {
                    Some(quoted) if quoted.quote == quote => quoted.whole_length(rest) - 1,
                    _ => rest.iter().take_while(|&&byte| byte == b'\\').count() - 1,
                };
            }
            _ if byte == quote => {
                let rest = value.get(index..).unwrap_or_default();
                if let Some(quoted) = Quoted::at(rest) {
                    index += quoted.whole_length(rest) - 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
    value.len()
}

impl Quoted {
    /// Returns the bytes from the first quote to behind the closing one.
    fn whole_length(&self, value: &[u8]) -> usize {
        let content = value.get(self.content..).unwrap_or_default();
        let length = self.content + self.length(content) + self.slashes + 1;
        length.min(value.len())
    }
}

/// Returns the length of a value without quotes, if it is secret.
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

/// The beginning of a value up to what ends it.
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

/// Returns the length of a value and of the literal that a function is called with:
/// `password = md5('…')`.
fn value_length(value: &[u8]) -> usize {
    let length = word_length(value);
    let is_call = value.get(..length).is_some_and(|word| word.ends_with(b"("));
    match value.get(length..).filter(|_| is_call) {
        Some(rest) => length + Quoted::at(rest).map_or(0, |quoted| quoted.whole_length(rest)),
        None => length,
    }
}

/// Returns whether an escaped quote or end of line is here, as in a text within a text.
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

/// Returns whether a word stands for a value: `$1`, `$NAME`, `${name}`, `%s`, `{}`, `#{name}`.
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

/// Returns whether a value is its key once more: `password = :password`, `token: self.token`.
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

/// Returns whether a value is made as machines make credentials, and is no word.
fn has_form_of_credential(word: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| word.iter().any(is);
    word.len() >= CREDENTIAL_BYTES_MIN
        && has(u8::is_ascii_alphabetic)
        && (has(u8::is_ascii_digit)
            || word.len() >= LETTERS_MIN
                && has(u8::is_ascii_lowercase)
                && has(u8::is_ascii_uppercase))
}

/// Returns the credentials of an authorization behind the name of their scheme.
fn credentials(value: &[u8]) -> Option<Range<usize>> {
    let scheme = judged(value);
    let is_scheme = SCHEMES.split(' ').any(|name| scheme.eq_ignore_ascii_case(name.as_bytes()))
        || scheme.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"aws4"));
    let rest = value.get(scheme.len()..).filter(|_| is_scheme)?;
    let spaces = rest.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    let start = scheme.len() + spaces;
    let credentials = value.get(start..).filter(|_| spaces > 0)?;
    // Parameters, as in `Digest username="…", response="…"`: to the end of the line.
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

/// Returns whether a value begins as a cookie does, with a name, an equals sign and something.
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
                index += Quoted::at(rest).map_or(0, |quoted| quoted.whole_length(rest) - 1);
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

/// Returns whether what follows the first byte is no more of a cookie.
fn is_last(rest: &[u8]) -> bool {
    matches!(rest.get(1), None | Some(0..=b' ' | b',' | b')' | b']' | b'}' | b'"' | b'\''))
}
