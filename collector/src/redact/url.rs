//! Secrets in URLs: the password before a host and the values of secret parameters.
//!
//! Every byte of any text is read a constant number of times: a host ends before the next `://`,
//! and parameters of a URL within another are searched together with the outer ones.

use std::{
    ops::{ControlFlow, Range},
    sync::LazyLock,
};

use memchr::{memchr, memchr2, memmem};

use super::{MARKER, is_redacted, key_rules::KeyRules};

/// Number of last bytes of an encoded name that are examined.
const NAME_BYTES_MAX: usize = 192;

static SCHEME_END: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"://"));

/// The end of a scheme with escaped slashes, which JSON allows.
const ESCAPED: &[u8] = br":\/\/";
static ESCAPED_SCHEME_END: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(ESCAPED));

/// Finds the secrets of every URL in a text. Stops when `found` breaks.
pub(super) fn search(
    text: &[u8],
    keys: &KeyRules,
    found: impl FnMut(Range<usize>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    UrlSearch { text, keys, is_one_text: true, found, covered: 0..0 }.urls()
}

/// Returns whether [`search`] may find a secret in one of the texts of an encoded request. A URL
/// may extend into the bytes after its text, so the result may be true wrongly, but never false.
/// URLs with escaped slashes are not searched; the caller applies [`is_escaped_at`] to each colon.
pub(super) fn may_hold_secret(encoded: &[u8], keys: &KeyRules) -> bool {
    let found = |_| ControlFlow::Break(());
    UrlSearch { text: encoded, keys, is_one_text: false, found, covered: 0..0 }.urls().is_break()
}

/// Returns whether this is the colon of a URL with escaped slashes.
pub(super) fn is_escaped_at(text: &[u8], colon: usize) -> bool {
    text.get(colon..).is_some_and(|rest| rest.starts_with(ESCAPED))
}

/// As [`search`], for a text that is a URL with or without its host, a query string or a connection
/// string. Parameters may also be at its beginning and after spaces.
pub(super) fn search_parameters(
    text: &[u8],
    keys: &KeyRules,
    found: impl FnMut(Range<usize>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if memchr(b'=', text).is_none() {
        return search(text, keys, found);
    }
    let mut search = UrlSearch { text, keys, is_one_text: true, found, covered: 0..0 };
    search.covered = search.parameters(0, Extent::Text)?;
    search.urls()
}

/// The end of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// At the end of the URL.
    Url,
    /// At the end of the text, which begins with a name. Spaces separate parameters.
    Text,
}

struct UrlSearch<'a, F> {
    text: &'a [u8],
    keys: &'a KeyRules,
    /// False for an encoded request, which has many texts.
    is_one_text: bool,
    found: F,
    /// From the first separator of parameters to the end of the last URL.
    covered: Range<usize>,
}

/// The part of a URL between `://` and its path.
struct Authority {
    password: Option<Range<usize>>,
    end: usize,
}

impl<F: FnMut(Range<usize>) -> ControlFlow<()>> UrlSearch<'_, F> {
    fn urls(&mut self) -> ControlFlow<()> {
        let mut plain = SCHEME_END.find_iter(self.text).peekable();
        // In an encoded request, the caller finds them by their colons.
        let text = if self.is_one_text { self.text } else { &[] };
        let mut escaped = ESCAPED_SCHEME_END.find_iter(text).peekable();
        loop {
            let before = |at: &usize| escaped.peek().is_none_or(|other| at < other);
            let (scheme_end, host) = match plain.next_if(before) {
                Some(at) => (at, at + b"://".len()),
                None => match escaped.next() {
                    Some(at) => (at, at + ESCAPED.len()),
                    None => return ControlFlow::Continue(()),
                },
            };
            let is_parameter = self.is_one_text && self.covered.contains(&scheme_end);
            let Authority { password, end } = self.authority(host, is_parameter);
            let from = if password.is_some() { end } else { host };
            if let Some(password) = password {
                self.report(password)?;
            }
            if host >= self.covered.end {
                self.covered = self.parameters(from, Extent::Url)?;
            }
        }
    }

    /// Reads user, password, host and port. The authority of a URL that is the value of a parameter
    /// ends with the parameter. It also ends at the marker of a replaced parameter, because the
    /// text after that was behind the path before.
    fn authority(&self, from: usize, is_parameter: bool) -> Authority {
        let (mut colon, mut at_sign) = (None, None);
        let mut end = self.text.len();
        let mut before = b'/';
        for (index, &byte) in self.text.iter().enumerate().skip(from) {
            match byte {
                b':' if colon.is_none() => colon = Some(index),
                b'@' => at_sign = Some(index),
                b'/' | b'?' | b'#' => end = index,
                b'&' | b';' if is_parameter => end = index,
                b'[' if before == b'=' && self.starts_with_marker(index) => end = index,
                _ if ends_url(byte) => end = index,
                _ => {}
            }
            if end == index {
                break;
            }
            before = byte;
        }
        let password = colon.zip(at_sign).filter(|(colon, at_sign)| colon < at_sign);
        Authority { password: password.map(|(colon, at_sign)| colon + 1..at_sign), end }
    }

    /// Finds the values of secret parameters. Returns the range from the first separator of
    /// parameters to the end of the last.
    fn parameters(&mut self, from: usize, extent: Extent) -> ControlFlow<(), Range<usize>> {
        let is_text = extent == Extent::Text;
        let mut name = is_text.then_some((from, b'?'));
        let mut first = None;
        let mut index = from;
        while let Some(&byte) = self.text.get(index) {
            match byte {
                b'?' | b'&' | b'#' | b';' => name = Some((index + 1, byte)),
                _ if is_text && byte.is_ascii_whitespace() => name = Some((index + 1, byte)),
                b'\\' if self.is_escaped_slash(index) => {}
                _ if !is_text && ends_url(byte) => break,
                b'=' => {
                    if let Some(value) = self.secret_value(name.take(), index, extent) {
                        // An encoded request may have other texts after this one.
                        index = if self.is_one_text { value.end } else { index + 1 };
                        self.report(value)?;
                        continue;
                    }
                }
                _ => {}
            }
            if first.is_none() && name.is_some_and(|(from, _)| from == index + 1) {
                first = Some(index);
            }
            index += 1;
        }
        ControlFlow::Continue(first.unwrap_or(index)..index)
    }

    /// Returns the value after the equals sign if the name before it is secret. `name` is the
    /// position of the name and the separator before it.
    fn secret_value(
        &self,
        name: Option<(usize, u8)>,
        equals: usize,
        extent: Extent,
    ) -> Option<Range<usize>> {
        let (from, separator) = name?;
        if !is_secret_name(self.text.get(from..equals)?, self.keys) {
            return None;
        }
        let rest = self.text.get(equals + 1..)?;
        let is_list = !matches!(separator, b'?' | b'&' | b'#');
        let length = rest.iter().enumerate().position(|(index, &byte)| match byte {
            b'&' | b'#' => true,
            b';' => is_list,
            b'\\' if self.is_escaped_slash(equals + 1 + index) => false,
            _ if extent == Extent::Text => byte.is_ascii_whitespace(),
            _ => ends_url(byte),
        });
        Some(equals + 1..equals + 1 + length.unwrap_or(rest.len()))
    }

    fn report(&mut self, secret: Range<usize>) -> ControlFlow<()> {
        match self.text.get(secret.clone()) {
            Some(text) if !is_redacted(text) => (self.found)(secret),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Returns whether this backslash escapes a slash, which JSON allows.
    fn is_escaped_slash(&self, index: usize) -> bool {
        self.text.get(index + 1) == Some(&b'/')
    }

    fn starts_with_marker(&self, index: usize) -> bool {
        self.text.get(index..).is_some_and(|rest| rest.starts_with(MARKER.as_bytes()))
    }
}

/// Returns whether the name of a parameter is secret: unchanged, percent-decoded, or in the last
/// brackets of `user[password]`.
pub(super) fn is_secret_name(name: &[u8], keys: &KeyRules) -> bool {
    if memchr2(b'%', b']', name).is_none() {
        return keys.is_secret_parameter(name);
    }
    let tail = name.get(name.len().saturating_sub(NAME_BYTES_MAX)..).unwrap_or(name);
    let decoded = percent_decoded(tail);
    let mut name = decoded.as_slice();
    while let [head @ .., b'[', b']'] = name {
        name = head;
    }
    if let [head @ .., b']'] = name {
        name = head.rsplit(|&byte| byte == b'[').next().unwrap_or(head);
    }
    keys.is_secret_parameter(name)
}

fn percent_decoded(mut text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let code = match text {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        decoded.push(code.map_or(first, |(high, low)| high << 4 | low));
        text = code.and_then(|_| text.get(3..)).unwrap_or(rest);
    }
    decoded
}

/// Returns whether a URL within a text ends before this byte.
fn ends_url(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
}
