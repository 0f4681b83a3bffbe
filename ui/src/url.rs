//! The state of a page in its address: typed on one side, a query string on the other.
//!
//! Everything that a page shows follows from its address, so that Back, reload and a copied link
//! work. [`UrlQuery`] is the string as ordered pairs. [`ExploreState`] and [`LogState`] are the
//! typed states of two pages. Parsing is total. A filter that cannot be parsed is kept unchanged,
//! so that the API reports its error. Other values that cannot be parsed are left out. Owns no
//! signals except those of [`use_query`]. Pages navigate through [`use_navigation`].

use std::{borrow::Cow, fmt};

use leptos::prelude::*;
use leptos_router::{
    NavigateOptions,
    hooks::{use_location, use_navigate},
};

use crate::number_format;

mod list_state;
mod range;
#[cfg(test)]
mod tests;
pub mod traceql;

pub use list_state::{
    AttributeFilter, COLUMNS_MAX, ExploreState, LogListing, LogState, ParsedParam, TraceFilters,
    TraceListQuery, TraceSort, parse_duration, phrase,
};
pub use range::{HeatmapBox, TimeRange};

/// A query string as its pairs, in order. A key may occur more than once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UrlQuery {
    pairs: Vec<(String, String)>,
}

impl UrlQuery {
    /// Parses a query string, with or without its question mark. A pair without a key is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('?').unwrap_or(text);
        let pairs = text.split('&').map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self { pairs: pairs.filter(|(key, _)| !key.is_empty()).collect() }
    }

    /// Returns the first value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns every value of `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Adds a pair at the end.
    pub fn push(&mut self, key: &str, value: impl fmt::Display) {
        self.pairs.push((key.to_owned(), value.to_string()));
    }

    /// Adds a pair when there is a value.
    pub fn push_some(&mut self, key: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.push(key, value);
        }
    }

    /// Removes every pair of `key`.
    pub fn remove(&mut self, key: &str) {
        self.pairs.retain(|(name, _)| name != key);
    }

    /// Replaces the pairs of `key` by one pair, or none.
    pub fn set(&mut self, key: &str, value: Option<impl fmt::Display>) {
        self.remove(key);
        self.push_some(key, value);
    }

    /// Copies the switches of `current`. A page's live state is not a part of its query.
    #[must_use]
    pub fn with_switches_of(mut self, current: &Self) -> Self {
        for switch in ["live", "tail"] {
            self.set(switch, current.get(switch));
        }
        self
    }

    /// Returns `path` followed by this query string.
    #[must_use]
    pub fn on(&self, path: &str) -> String {
        if self.pairs.is_empty() { path.to_owned() } else { format!("{path}?{self}") }
    }
}

impl fmt::Display for UrlQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.pairs.iter().enumerate() {
            let separator = if index == 0 { "" } else { "&" };
            write!(f, "{separator}{}", encode(key))?;
            if !value.is_empty() {
                write!(f, "={}", encode(value))?;
            }
        }
        Ok(())
    }
}

/// Returns the words for a part of an address that is not understood, and for what is shown in its
/// place.
#[must_use]
pub fn unread_text(part: &str, shown: &str) -> String {
    format!("`{}` was not understood: {shown}.", number_format::truncate(part, 80))
}

/// Encodes a text as one part of a path or query string.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(encoded)
}

/// Decodes one part of a query string. A broken escape is kept unchanged.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| byte == b'%').and_then(hex_byte);
        match escaped {
            Some(value) => {
                decoded.push(value);
                rest = &after[2..];
            }
            None => {
                decoded.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u8::from_str_radix(text, 16).ok()
}

/// Returns the query string of the page as a signal.
#[must_use]
pub fn use_query() -> Memo<UrlQuery> {
    let search = use_location().search;
    Memo::new(move |_| search.with(|search| UrlQuery::parse(search)))
}

/// Effect of a change of address on the browser's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// A new entry in the history.
    Push,
    /// The present entry is replaced, for changes with every key press.
    Replace,
}

/// Returns a function that changes the address, for use anywhere below the router.
pub fn use_navigation() -> impl Fn(&str, History) + Clone + Send + Sync + 'static {
    let navigate = use_navigate();
    move |address: &str, history: History| {
        let options = NavigateOptions {
            replace: history == History::Replace,
            scroll: false,
            resolve: false,
            ..NavigateOptions::default()
        };
        navigate(address, options);
    }
}

/// Returns a function that changes one parameter of the query string and keeps the others, on any
/// page.
pub fn use_edit_query() -> impl Fn(History, &dyn Fn(&mut UrlQuery)) + Clone + Send + Sync + 'static
{
    let (location, go) = (use_location(), use_navigation());
    move |history, edit| {
        let mut query = location.search.with_untracked(|search| UrlQuery::parse(search));
        edit(&mut query);
        go(&query.on(&location.pathname.get_untracked()), history);
    }
}
