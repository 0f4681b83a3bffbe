//! Plain words in the box: names of services and operations that begin so, and the log line that
//! was copied from somewhere.

use leptos::prelude::*;
use tidings_proto::api::{LogSearchResult, LogView, NameList};

use crate::{
    api, browser,
    links::Links,
    remote::Remote,
    url::{LogState, TimeRange, phrase},
};

/// Names that are offered.
const OFFERED_MAX: usize = 8;
/// Fewer characters fit too many names.
const WORDS_MIN: usize = 2;
const WORDS_MAX: usize = 80;
/// A shorter text is in too many log lines.
const LINE_MIN: usize = 8;
/// Leading words of a copied log line that may be its time, severity and service.
const HEAD_MAX: usize = 4;

/// A page that the words may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPage {
    /// The name.
    pub(super) name: String,
    /// `service` or `operation`.
    pub(super) kind: &'static str,
    /// Its address.
    pub(super) address: String,
}

/// Decides whether a text is words and no id, header or log line.
pub(super) fn are_words(text: &str) -> bool {
    let length = text.chars().count();
    let is_id = length >= 16 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_plain = |c: char| c.is_alphanumeric() || " -_./{}".contains(c);
    (WORDS_MIN..=WORDS_MAX).contains(&length) && !is_id && text.chars().all(is_plain)
}

/// The services and operations whose names begin with the text.
pub(super) fn use_names(text: Memo<String>) -> Memo<Vec<NamedPage>> {
    let wanted = Memo::new(move |_| text.with(|text| are_words(text).then(|| text.clone())));
    let services: Remote<NameList> =
        Remote::new(move || wanted.get().map(|words| api::services(&words)));
    let operations: Remote<NameList> =
        Remote::new(move || wanted.get().map(|words| api::operations(None, &words)));
    Memo::new(move |_| {
        let Some(words) = wanted.get() else { return Vec::new() };
        named(&words, services.value().as_deref(), operations.value().as_deref())
    })
}

/// Services first, then operations; an answer to earlier words is held to the present ones.
fn named(
    words: &str,
    services: Option<&NameList>,
    operations: Option<&NameList>,
) -> Vec<NamedPage> {
    let lower = words.to_lowercase();
    let links = Links::within(TimeRange::default());
    let of = |list: Option<&NameList>, kind: &'static str| -> Vec<NamedPage> {
        let names = list.map(|list| list.names.as_slice()).unwrap_or_default();
        let fits = names.iter().filter(|one| one.name.to_lowercase().starts_with(&lower));
        let page = |one: &tidings_proto::api::NameCount| NamedPage {
            name: one.name.clone(),
            kind,
            address: match kind {
                "service" => links.service(&one.name),
                _ => links.explore(&[("operation", &one.name)]),
            },
        };
        fits.map(page).collect()
    };
    let mut pages = of(services, "service");
    pages.extend(of(operations, "operation"));
    pages.truncate(OFFERED_MAX);
    pages
}

/// The best page for words whose names have not come yet.
pub(super) async fn best_name(words: &str) -> Option<NamedPage> {
    if !are_words(words) {
        return None;
    }
    let services = api::services(words).send(None).await.ok();
    let operations = api::operations(None, words).send(None).await.ok();
    named(words, services.as_ref(), operations.as_ref()).into_iter().next()
}

/// The records that have this line, also without the time, severity and service that stand in
/// front of a line that was copied from a list.
pub(super) async fn copied_line(text: &str) -> Vec<LogView> {
    for part in parts_of(text) {
        let state =
            LogState { range: TimeRange::All, query: Some(phrase(&part)), ..LogState::default() };
        let request: api::Request<LogSearchResult> = api::logs(&state, browser::now(), None);
        match request.send(None).await {
            Ok(found) if !found.logs.is_empty() => return found.logs,
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
    }
    Vec::new()
}

/// The text, and the text without one, two and more leading words while these may be a head.
fn parts_of(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    for _ in 0..=HEAD_MAX {
        if rest.chars().count() >= LINE_MIN {
            parts.push(rest.to_owned());
        }
        let Some((_, after)) = rest.split_once(char::is_whitespace) else { break };
        rest = after.trim_start();
    }
    parts
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{NameCount, NameList};

    use super::{are_words, named, parts_of};

    #[test]
    fn ids_headers_and_lines_are_no_words() {
        for words in ["pay", "GET /cart/{user}", "web-gateway", "Payment.Authorize"] {
            assert!(are_words(words), "{words}");
        }
        for other in ["p", "order.id=A-17", "4f1c2ab09de84f6e", "{ name = \"x\" }", "a\nb", ""] {
            assert!(!are_words(other), "{other}");
        }
    }

    #[test]
    fn services_come_before_operations_and_only_those_that_fit() {
        let list = |names: &[&str]| NameList {
            names: names
                .iter()
                .map(|name| NameCount { name: (*name).to_owned(), count: 1 })
                .collect(),
            truncated: false,
        };
        let pages =
            named("Pay", Some(&list(&["payment", "cart"])), Some(&list(&["Payment.Refund"])));
        let seen: Vec<_> =
            pages.iter().map(|page| (page.name.as_str(), page.address.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("payment", "/services/payment"),
                ("Payment.Refund", "/explore?operation=Payment.Refund")
            ]
        );
        assert!(named("x", None, None).is_empty());
    }

    #[test]
    fn the_head_of_a_copied_line_is_left_out_word_by_word() {
        let parts = parts_of("14:03:58.408 INFO mailer confirmation sent order=A-34838");
        assert_eq!(parts.len(), 5);
        assert!(parts.contains(&"confirmation sent order=A-34838".to_owned()), "{parts:?}");
        assert!(parts_of("short").is_empty());
    }
}
