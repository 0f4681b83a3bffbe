//! Completion of a TraceQL query: the kind of completion that the text before the caret allows, and
//! the candidates.
//!
//! Owns the offered intrinsics and values. The functions come from the table that the parser reads,
//! keys and values from the data, which the page requests.

use std::collections::HashSet;

use tidings_proto::{
    api::AttributeKey,
    otlp::{SpanKind, StatusCode},
    traceql_words::SearchFunction,
};

/// Maximum number of candidates.
const OFFERED_MAX: usize = 12;

/// Intrinsics and values of the language, with descriptions.
const WORDS: [(&str, &str); 23] = [
    ("resource.service.name", "service"),
    ("name", "operation"),
    ("duration", "of the span"),
    ("status", "ok, error, unset"),
    ("kind", "of the span"),
    ("statusMessage", "of the span"),
    (StatusCode::Error.word(), "status"),
    (StatusCode::Ok.word(), "status"),
    (StatusCode::Unset.word(), "status"),
    (SpanKind::Server.word(), "kind"),
    (SpanKind::Client.word(), "kind"),
    (SpanKind::Producer.word(), "kind"),
    (SpanKind::Consumer.word(), "kind"),
    (SpanKind::Internal.word(), "kind"),
    ("rootName", "operation of the root"),
    ("rootServiceName", "service of the root"),
    ("traceDuration", "of the whole trace"),
    ("trace:id", "of the trace"),
    ("span:id", "of the span"),
    ("event:name", "of an event"),
    ("link:traceID", "of a link"),
    ("log:body", "message of a log record"),
    ("parent", "the parent's attributes"),
];

/// The kind of completion that the end of a text allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CompletionKind {
    /// No completion.
    Nothing,
    /// A word of the language, or a key in one of the scopes.
    Word(String),
    /// A key of this scope: `span`, `resource`, or any.
    Key { scope: Option<&'static str>, typed: String },
    /// A value of a key.
    Value { key: String, typed: String },
    /// A name of a service.
    Service(String),
    /// A name of an operation.
    Operation(String),
}

/// One completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryCompletion {
    /// The text that replaces the typed one.
    pub(super) text: String,
    /// Words beside it.
    pub(super) hint: String,
}

fn is_part_of_word(sign: char) -> bool {
    sign.is_alphanumeric() || matches!(sign, '.' | '_' | '-' | ':' | '/')
}

/// Returns the kind of completion of the text and the byte at which the typed part starts.
pub(super) fn completion_at(before: &str) -> (CompletionKind, usize) {
    if let Some(opened) = open_quote(before) {
        let typed = before[opened + 1..].to_owned();
        let key = compared_key(&before[..opened]);
        let wanted = match key.as_deref() {
            None => CompletionKind::Nothing,
            Some("resource.service.name" | "rootServiceName" | ".service.name") => {
                CompletionKind::Service(typed)
            }
            Some("name" | "span:name" | "rootName") => CompletionKind::Operation(typed),
            Some(key) => match key.split_once('.') {
                Some((_, key)) => CompletionKind::Value { key: key.to_owned(), typed },
                None => CompletionKind::Nothing,
            },
        };
        return (wanted, opened + 1);
    }
    let start = before.char_indices().rev().take_while(|(_, sign)| is_part_of_word(*sign)).last();
    let start = start.map_or(before.len(), |(at, _)| at);
    let word = &before[start..];
    if word.is_empty() {
        // Without typed text, words are offered only at the start of a condition.
        let begins = before.trim_end().ends_with(['{', '&', '|', '(', '!']);
        let wanted =
            if begins { CompletionKind::Word(String::new()) } else { CompletionKind::Nothing };
        return (wanted, start);
    }
    let scopes = [("span.", Some("span")), ("resource.", Some("resource")), (".", None)];
    for (prefix, scope) in scopes {
        if let Some(typed) = word.strip_prefix(prefix) {
            return (CompletionKind::Key { scope, typed: typed.to_owned() }, start);
        }
    }
    let is_number = word.starts_with(|sign: char| sign.is_ascii_digit());
    (if is_number { CompletionKind::Nothing } else { CompletionKind::Word(word.to_owned()) }, start)
}

/// Returns the position of the quote that is open at the end.
fn open_quote(text: &str) -> Option<usize> {
    let (mut open, mut is_escaped) = (None, false);
    for (at, sign) in text.char_indices() {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' if open.is_some() => is_escaped = true,
            '"' => open = if open.is_some() { None } else { Some(at) },
            _ => {}
        }
    }
    open
}

/// Returns the key that a text compares at its end, as `span.http.route` of `{ span.http.route = `.
fn compared_key(text: &str) -> Option<String> {
    let text = text.trim_end();
    let key = text.trim_end_matches(['=', '!', '~', '<', '>']);
    if key.len() == text.len() {
        return None;
    }
    let key = key.trim_end();
    let start = key.char_indices().rev().take_while(|(_, sign)| is_part_of_word(*sign)).last()?.0;
    Some(key[start..].to_owned())
}

/// Returns the words of the language and the keys that match.
pub(super) fn word_completions(
    wanted: &CompletionKind,
    keys: &[AttributeKey],
) -> Vec<QueryCompletion> {
    let key = |scope: Option<&str>, key: &AttributeKey| {
        let scope = scope.unwrap_or(&key.scope);
        let is_plain = key.key.chars().all(is_part_of_word);
        let name = if is_plain { key.key.clone() } else { format!("\"{}\"", key.key) };
        let hint = crate::format::count(key.count);
        QueryCompletion { text: format!("{scope}.{name}"), hint }
    };
    let mut all: Vec<QueryCompletion> = match wanted {
        CompletionKind::Word(typed) => {
            let words = language_words();
            let words = fitting(&words, typed, |word| &word.text).cloned();
            let keys = if typed.is_empty() { &[] } else { keys };
            let keys = fitting(keys, typed, |one| &one.key).map(|one| key(None, one));
            words.chain(keys).collect()
        }
        CompletionKind::Key { scope, typed } => {
            let fitting = fitting(keys, typed, |one| &one.key);
            let fitting = fitting.filter(|one| scope.is_none_or(|scope| one.scope == scope));
            fitting.map(|one| key(*scope, one)).collect()
        }
        _ => Vec::new(),
    };
    let mut offered = HashSet::new();
    all.retain(|one| offered.insert(one.text.clone()));
    all.truncate(OFFERED_MAX);
    all
}

/// Returns the words of the language: intrinsics and values, then functions.
fn language_words() -> Vec<QueryCompletion> {
    let completion = |text: String, hint: &str| QueryCompletion { text, hint: hint.to_owned() };
    let words = WORDS.into_iter().map(|(word, hint)| completion(word.to_owned(), hint));
    let functions =
        SearchFunction::all().map(|function| completion(function.opening(), function.hint));
    words.chain(functions).collect()
}

/// Filters by a part of the name, ignoring case. Names that begin with it come first.
fn fitting<'a, T>(
    all: &'a [T],
    typed: &str,
    name: impl Fn(&T) -> &str,
) -> impl Iterator<Item = &'a T> {
    let typed = typed.to_lowercase();
    let place = |one: &'a T| Some((name(one).to_lowercase().find(&typed)?, one));
    let (first, later): (Vec<_>, Vec<_>) =
        all.iter().filter_map(place).partition(|(place, _)| *place == 0);
    first.into_iter().chain(later).map(|(_, one)| one)
}

/// Returns the values that match, each with a closing quote.
pub(super) fn value_completions(
    names: impl Iterator<Item = (String, u64)>,
) -> Vec<QueryCompletion> {
    let completion = |(name, count): (String, u64)| QueryCompletion {
        text: format!("{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        hint: crate::format::count(count),
    };
    names.take(OFFERED_MAX).map(completion).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        AttributeKey, CompletionKind, SearchFunction, completion_at, value_completions,
        word_completions,
    };

    fn key(scope: &str, key: &str) -> AttributeKey {
        AttributeKey { key: key.to_owned(), scope: scope.to_owned(), count: 7 }
    }

    #[test]
    fn the_text_before_the_caret_determines_the_completions() {
        let value =
            |key: &str, typed: &str| CompletionKind::Value { key: key.into(), typed: typed.into() };
        let of = |scope, typed: &str| CompletionKind::Key { scope, typed: typed.into() };
        for (before, expected, start) in [
            ("", CompletionKind::Nothing, 0),
            ("{ ", CompletionKind::Word(String::new()), 2),
            ("{ dur", CompletionKind::Word("dur".into()), 2),
            ("{ duration > 2", CompletionKind::Nothing, 13),
            ("{ span.http", of(Some("span"), "http"), 2),
            ("{ .http", of(None, "http"), 2),
            ("{ resource.service.name = \"ch", CompletionKind::Service("ch".into()), 27),
            ("{ name =~ \"POST", CompletionKind::Operation("POST".into()), 11),
            ("{ span.a.b != \"x\" && span.c = \"", value("c", ""), 31),
            ("{ \"loose", CompletionKind::Nothing, 3),
        ] {
            assert_eq!(completion_at(before), (expected, start), "{before}");
        }
    }

    #[test]
    fn words_come_before_keys_and_keys_keep_their_scope() {
        let keys = [key("span", "status.detail"), key("resource", "host.name"), key("span", "a b")];
        let texts = |wanted: CompletionKind| -> Vec<String> {
            word_completions(&wanted, &keys).into_iter().map(|one| one.text).collect()
        };
        assert_eq!(
            texts(CompletionKind::Word("status".into())),
            ["status", "statusMessage", "span.status.detail"]
        );
        assert_eq!(
            texts(CompletionKind::Key { scope: Some("resource"), typed: String::new() }),
            ["resource.host.name"]
        );
        assert_eq!(
            texts(CompletionKind::Key { scope: None, typed: "a b".into() }),
            ["span.\"a b\""]
        );
    }

    #[test]
    fn every_function_of_a_search_is_offered() {
        for function in SearchFunction::all() {
            let typed = CompletionKind::Word(function.word.to_owned());
            let offered = word_completions(&typed, &[]);
            assert!(offered.iter().any(|one| one.text == function.opening()), "{function:?}");
        }
    }

    #[test]
    fn a_key_fits_by_any_part_of_it_and_by_its_beginning_first() {
        let keys = ["url.path", "http.route", "http.response.header.path", "path.id"];
        let keys = keys.map(|name| key("span", name));
        let texts = |typed: &str| -> Vec<String> {
            let wanted = CompletionKind::Key { scope: Some("span"), typed: typed.to_owned() };
            word_completions(&wanted, &keys).into_iter().map(|one| one.text).collect()
        };
        assert_eq!(
            texts("Path"),
            ["span.path.id", "span.url.path", "span.http.response.header.path"]
        );
        assert_eq!(texts("route"), ["span.http.route"]);
        assert_eq!(texts("nothing"), [""; 0]);
    }

    #[test]
    fn a_value_is_closed_by_its_quote() {
        let values = value_completions([("a \"b\"".to_owned(), 2)].into_iter());
        assert_eq!((values[0].text.as_str(), values[0].hint.as_str()), ("a \\\"b\\\"\"", "2"));
    }
}
