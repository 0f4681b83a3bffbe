//! Plain words in the box: services, transaction types, operations and attribute values with that
//! prefix, names that have all words (operations, versions, exceptions, peers), log patterns with
//! the words, and a copied log line.
//!
//! A pause in typing sends one request for each of these. A request for earlier words is cancelled.
//! Enter sends the same requests and awaits them, so that its page does not depend on the pause.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use leptos::prelude::*;
use serde::de::DeserializeOwned;
use tidings_proto::{
    UnixNanos,
    api::{
        AttributeKeyList, FoundName, FoundNameKind, FoundNameList, LogPatternList, LogSearchResult,
        LogView, NameList, NodeKind, TransactionType, TransactionTypeList,
    },
};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::{
    api::{
        self, ApiError,
        analysis::{self, Analysis},
    },
    browser,
    links::Links,
    number_format,
    request_state::{KeyedRequestState, RequestState},
    server_watch::{ServerWatch, use_server},
    url::{LogState, TimeRange, UrlQuery, phrase},
};

/// Maximum number of offered names.
const OFFERED_MAX: usize = 12;
/// Maximum number of offered names of one kind, where there are others.
const OF_KIND_MAX: usize = 4;
/// Number of transaction types that are completed: the maximum that the API lists.
const TYPES_MAX: u32 = 200;
/// Number of requested patterns.
const PATTERNS_ASKED: u32 = 3;
/// Number of transaction keys whose values are completed.
const OWN_KEYS_MAX: usize = 3;
/// Other attributes whose values are completed, where spans have them.
const KNOWN_KEYS: [&str; 7] = [
    "host.name",
    "service.version",
    "deployment.environment.name",
    "deployment.environment",
    "k8s.pod.name",
    "http.route",
    "cloud.region",
];
/// Maximum number of attributes whose values are requested after a pause in typing.
const KEYS_MAX: usize = 8;
/// Minimum number of characters of a pattern search. Fewer occur in too many log records.
const PATTERN_MIN: usize = 4;
/// Maximum number of characters of a pattern.
const PATTERN_SHOWN: usize = 80;
/// Pause in typing after which requests are sent.
const DEBOUNCE: Duration = Duration::from_millis(180);
/// Minimum number of characters. Fewer match too many names.
const WORDS_MIN: usize = 2;
const WORDS_MAX: usize = 80;
const MINUTE_NANOS: u64 = 60_000_000_000;
/// Minimum length of a text. A shorter one occurs in too many log lines.
const LINE_MIN: usize = 8;
/// Maximum number of leading words of a copied log line that may be its time, severity and service.
const HEAD_MAX: usize = 4;

/// A page that the words may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageMatch {
    /// The name.
    pub(super) name: String,
    /// Its kind: `service`, `transaction of web`, `operation`, `order.id`, `version of web`,
    /// `log pattern`.
    pub(super) kind: String,
    /// Its address.
    pub(super) address: String,
}

/// Returns the address of Explore with a query, if a text begins like a TraceQL query.
pub(super) fn traceql_address(text: &str) -> Option<String> {
    let text = text.trim();
    text.starts_with('{').then(|| {
        let mut query = UrlQuery::default();
        query.push("q", text);
        query.on("/explore")
    })
}

/// Reports whether a text is plain words and not an id, a header, a query or a log line.
pub(super) fn are_words(text: &str) -> bool {
    let length = text.chars().count();
    let is_id = length >= 16 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let is_plain = |c: char| c.is_alphanumeric() || " -_./{}".contains(c);
    let is_query = text.starts_with('{');
    (WORDS_MIN..=WORDS_MAX).contains(&length) && !is_id && !is_query && text.chars().all(is_plain)
}

/// Returns an attribute and the prefix of its value: `order.id=A-2`.
fn attribute_in(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let fits = !key.is_empty() && key.chars().all(is_key) && text.chars().count() <= WORDS_MAX;
    fits.then_some((key, value))
}

/// Returns the text as of the last pause in typing.
fn debounced(text: Memo<String>) -> Memo<String> {
    let shown = RwSignal::new(String::new());
    let waiting = StoredValue::new_local(None::<TimeoutHandle>);
    let stop = move || {
        waiting.try_update_value(|waiting| {
            if let Some(waiting) = waiting.take() {
                waiting.clear();
            }
        });
    };
    Effect::new(move |_| {
        let text = text.get();
        stop();
        let settle = move || {
            shown.try_set(text);
        };
        waiting.set_value(set_timeout_with_handle(settle, DEBOUNCE).ok());
    });
    on_cleanup(stop);
    Memo::new(move |_| shown.get())
}

/// Requests transaction types, most frequent first, without the parts of their time.
fn types() -> api::Request<TransactionTypeList> {
    let analysis = Analysis::within(TimeRange::default(), browser::now());
    analysis::transaction_types(&analysis.with("than", 0).with("limit", TYPES_MAX))
}

/// Requests the names that have all these words. The range begins at a whole minute, because the
/// server caches names by range.
fn found_names(words: &str) -> api::Request<FoundNameList> {
    let analysis = Analysis::within(TimeRange::default(), start_of_minute(browser::now()));
    analysis::names(&analysis.with("limit", OF_KIND_MAX), words)
}

fn start_of_minute(time: UnixNanos) -> UnixNanos {
    UnixNanos(time.0 - time.0 % MINUTE_NANOS)
}

/// Requests the log patterns with these words, unless the words are too short.
fn patterns_with(words: &str) -> Option<api::Request<LogPatternList>> {
    (words.chars().count() >= PATTERN_MIN).then(|| {
        let analysis = Analysis::within(TimeRange::default(), browser::now());
        let analysis = analysis.with("text", words).with("limit", PATTERNS_ASKED);
        analysis::log_patterns(&analysis)
    })
}

/// Answers of the requests for names so far.
#[derive(Debug, Default, Clone, Copy)]
struct NameAnswers<'a> {
    services: Option<&'a NameList>,
    types: Option<&'a TransactionTypeList>,
    operations: Option<&'a NameList>,
    found: Option<&'a FoundNameList>,
}

/// The suggestions while one types.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameSuggestions {
    /// The pages that the text may mean, best first: names that are the text, services,
    /// transaction types, operations, values of attributes, names with all words, log patterns.
    pub(super) pages: Memo<Vec<PageMatch>>,
    server: ServerWatch,
    stored: RequestState<AttributeKeyList>,
}

/// Attribute keys with suggested values: the server's transaction keys and the stored keys. `None`
/// before they arrive.
#[derive(Debug, Clone)]
pub(super) struct ArrivedKeys {
    own: Option<Vec<String>>,
    stored: Option<Arc<AttributeKeyList>>,
}

impl NameSuggestions {
    /// Returns the lists of attribute keys that the page has at this time.
    pub(super) fn arrived_keys(self) -> ArrivedKeys {
        untrack(|| ArrivedKeys {
            own: self.server.status().map(|status| status.transaction_keys.clone()),
            stored: self.stored.value(),
        })
    }
}

impl ArrivedKeys {
    /// Returns the keys, and requests those that have not arrived.
    async fn completed(self) -> Vec<String> {
        let own = match self.own {
            Some(own) => own,
            None => api::status()
                .send(None)
                .await
                .map(|status| status.transaction_keys)
                .unwrap_or_default(),
        };
        let stored = match self.stored {
            Some(stored) => Some(stored),
            None => api::all_attribute_keys().send(None).await.ok().map(Arc::new),
        };
        completed_keys(own, stored.as_deref())
    }
}

/// Values of an attribute that begin so.
#[derive(Debug, Clone)]
struct ValueAnswer {
    key: String,
    begin: String,
    values: Arc<NameList>,
}

/// Returns the suggestions for a text.
pub(super) fn use_names(text: Memo<String>) -> NameSuggestions {
    let server = use_server();
    let paused = debounced(text);
    let wanted = Memo::new(move |_| paused.with(|text| are_words(text).then(|| text.clone())));
    let has_words = Memo::new(move |_| wanted.with(Option::is_some));
    let services: RequestState<NameList> =
        RequestState::new(move || wanted.get().map(|words| api::services(&words)));
    let transaction_types = RequestState::new(move || has_words.get().then(types));
    let operations: RequestState<NameList> =
        RequestState::new(move || wanted.get().map(|words| api::operations(None, &words)));
    let found = RequestState::new(move || wanted.get().map(|words| found_names(&words)));
    let stored: RequestState<AttributeKeyList> =
        RequestState::new(move || has_words.get().then(api::all_attribute_keys));
    let keys = Memo::new(move |_| {
        let own = server.status().map(|status| status.transaction_keys.clone());
        completed_keys(own.unwrap_or_default(), stored.value().as_deref())
    });
    let values = std::array::from_fn::<_, KEYS_MAX, _>(|at| {
        // Keys that arrive later do not repeat the requests for the others.
        let asked = Memo::new(move |_| value_asked(at, &paused.get(), &keys.get()));
        KeyedRequestState::<NameList>::new(move || {
            let (key, begin) = asked.get()?;
            let request = api::attribute_values(&key, &begin);
            Some((key, request))
        })
    });
    let patterns = KeyedRequestState::<LogPatternList>::new(move || {
        let words = wanted.get()?;
        let request = patterns_with(&words)?;
        Some((words, request))
    });
    let pages = Memo::new(move |_| {
        let typed = text.get();
        let (services, types, operations, found) =
            (services.value(), transaction_types.value(), operations.value(), found.value());
        let answers = NameAnswers {
            services: services.as_deref(),
            types: types.as_deref(),
            operations: operations.as_deref(),
            found: found.as_deref(),
        };
        let with_values = values.into_iter().enumerate().filter_map(|(at, values)| {
            let (key, begin) = value_asked(at, &typed, &keys.get())?;
            let values = values.value_for(&key)?;
            Some(ValueAnswer { key, begin, values })
        });
        let mut pages = pages_of(&typed, answers, &with_values.collect::<Vec<_>>());
        if let Some(list) = patterns.value_for(&typed) {
            pages.extend(patterns_of(&list));
        }
        pages.truncate(OFFERED_MAX);
        pages
    });
    NameSuggestions { pages, server, stored }
}

/// Returns the pages of names that the text may mean, those whose name is the text first.
fn pages_of(text: &str, answers: NameAnswers<'_>, values: &[ValueAnswer]) -> Vec<PageMatch> {
    let has_words = are_words(text);
    let mut pages = if has_words { name_matches(text, answers) } else { Vec::new() };
    for ValueAnswer { key, begin, values } in values {
        pages.extend(values_of(key, begin, values));
    }
    if let Some(found) = answers.found.filter(|_| has_words) {
        add_found(&mut pages, text, found);
    }
    let whole = attribute_in(text).map_or(text, |(_, value)| value).to_lowercase();
    // The sort is stable.
    pages.sort_by_key(|page| page.name.to_lowercase() != whole);
    pages
}

/// Adds names with all words, except those that the pages have. An answer to earlier words is
/// matched with the present ones.
fn add_found(pages: &mut Vec<PageMatch>, words: &str, found: &FoundNameList) {
    let links = Links::within(TimeRange::default());
    for one in &found.names {
        let service = one.service.as_deref().unwrap_or_default();
        let is_listed = pages.iter().any(|page| {
            let is_of_type = page.kind == type_kind(service) || page.kind == OPERATION;
            is_of_type && page.name == one.name
        });
        let fits = match &one.system {
            // A word of the system alone is enough.
            Some(system) => has_all_words("", &format!("{} {system}", one.name), words),
            None => has_all_words(service, &one.name, words),
        };
        if fits && !(one.kind == FoundNameKind::Operation && is_listed) {
            pages.push(found_page(links, one, service));
        }
    }
}

/// Returns the page of a found name.
fn found_page(links: Links, found: &FoundName, service: &str) -> PageMatch {
    let name = found.name.as_str();
    let of_service = |kind: &str| match service {
        "" => kind.to_owned(),
        service => format!("{kind} of {service}"),
    };
    let (kind, address) = match found.kind {
        FoundNameKind::Operation if service.is_empty() => {
            (OPERATION.to_owned(), links.explore(&[("operation", name)]))
        }
        FoundNameKind::Operation => (of_service(OPERATION), links.operation(service, name)),
        FoundNameKind::Version => {
            let attribute = format!("service.version={name}");
            let filters = [("service", service), ("attr", attribute.as_str())];
            (of_service("version"), links.explore(&filters))
        }
        FoundNameKind::Exception => {
            let filters = [("service", service), ("type", name)];
            (of_service("exception"), links.errors(&filters))
        }
        FoundNameKind::Peer => {
            let kind = found.peer_kind.map_or("peer", NodeKind::word);
            (format!("{kind} on the map"), links.map(Some(name)))
        }
    };
    PageMatch { name: found.name.clone(), kind, address }
}

/// Kind of an operation without a service.
const OPERATION: &str = "operation";

/// Kind of a transaction type that enters this service.
fn type_kind(service: &str) -> String {
    format!("transaction of {service}")
}

/// Returns the keys whose values are completed: the first transaction keys, and well-known ones
/// that spans have.
fn completed_keys(own: Vec<String>, stored: Option<&AttributeKeyList>) -> Vec<String> {
    let stored = stored.map(|list| list.keys.as_slice()).unwrap_or_default();
    let mut keys = own;
    keys.truncate(OWN_KEYS_MAX);
    for known in KNOWN_KEYS {
        if stored.iter().any(|key| key.key == known) && !keys.iter().any(|key| key == known) {
            keys.push(known.to_owned());
        }
    }
    keys.truncate(KEYS_MAX);
    keys
}

/// Returns the attribute and the prefix of its value for the request of this number: the attribute
/// in the text, else a key that may have the words as its value.
fn value_asked(at: usize, text: &str, keys: &[String]) -> Option<(String, String)> {
    match attribute_in(text) {
        Some((key, value)) => (at == 0).then(|| (key.to_owned(), value.to_owned())),
        None if are_words(text) => Some((keys.get(at)?.clone(), text.to_owned())),
        None => None,
    }
}

fn fits(name: &str, lower: &str) -> bool {
    name.to_lowercase().starts_with(lower)
}

/// Reports whether each word is a part of the name or of the service, and one is a part of the
/// name.
fn has_all_words(service: &str, name: &str, words: &str) -> bool {
    let (service, name, words) =
        (service.to_lowercase(), name.to_lowercase(), words.to_lowercase());
    words.split_whitespace().all(|word| name.contains(word) || service.contains(word))
        && words.split_whitespace().any(|word| name.contains(word))
}

/// Returns services first, then transaction types, then other operations. An answer to earlier
/// words is matched with the present ones.
fn name_matches(words: &str, answers: NameAnswers<'_>) -> Vec<PageMatch> {
    let lower = words.to_lowercase();
    let links = Links::within(TimeRange::default());
    let names = |list: Option<&NameList>| -> Vec<String> {
        let names = list.map(|list| list.names.as_slice()).unwrap_or_default();
        names.iter().map(|one| one.name.clone()).filter(|name| fits(name, &lower)).collect()
    };
    let services = names(answers.services).into_iter().map(|name| PageMatch {
        address: links.service(&name),
        kind: "service".to_owned(),
        name,
    });
    let transaction_types =
        answers.types.map(|list| list.transaction_types.as_slice()).unwrap_or_default();
    let begins = |one_type: &&TransactionType| fits(&one_type.operation, &lower);
    let has_words = |one_type: &&TransactionType| {
        !begins(one_type) && has_all_words(&one_type.service, &one_type.operation, &lower)
    };
    let types =
        transaction_types.iter().filter(begins).chain(transaction_types.iter().filter(has_words));
    let types = types.map(|one_type| PageMatch {
        name: one_type.operation.clone(),
        kind: type_kind(&one_type.service),
        address: links.transaction_type(&one_type.service, &one_type.operation),
    });
    let is_type =
        |name: &String| transaction_types.iter().any(|one_type| one_type.operation == *name);
    let operations = names(answers.operations).into_iter().filter(|name| !is_type(name));
    let operations = operations.map(|name| PageMatch {
        address: links.explore(&[("operation", &name)]),
        kind: OPERATION.to_owned(),
        name,
    });
    let mut pages: Vec<_> = services.take(OF_KIND_MAX).collect();
    pages.extend(types.take(OF_KIND_MAX));
    pages.extend(operations.take(OF_KIND_MAX));
    pages
}

/// Returns links to traces with such a value of an attribute.
fn values_of(key: &str, begin: &str, list: &NameList) -> Vec<PageMatch> {
    let lower = begin.to_lowercase();
    let links = Links::within(TimeRange::default());
    let fitting = list.names.iter().filter(|one| fits(&one.name, &lower)).take(OF_KIND_MAX);
    let page = |one: &tidings_proto::api::NameCount| PageMatch {
        name: one.name.clone(),
        kind: key.to_owned(),
        address: links.explore(&[("attr", &format!("{key}={}", one.name))]),
    };
    fitting.map(page).collect()
}

/// Returns links to log records of such patterns.
fn patterns_of(list: &LogPatternList) -> Vec<PageMatch> {
    let links = Links::within(TimeRange::default());
    let page = |pattern: &tidings_proto::api::LogPattern| {
        let parts = pattern.template.split("<*>").map(str::trim);
        let longest = parts.max_by_key(|part| part.len()).unwrap_or_default();
        PageMatch {
            name: number_format::truncate(&pattern.template.replace("<*>", "…"), PATTERN_SHOWN),
            kind: "log pattern".to_owned(),
            address: links.logs(&[("text", longest)]),
        }
    };
    list.patterns.iter().map(page).collect()
}

/// A request whose answer is awaited later.
struct StartedRequest<T> {
    answer: Rc<Cell<Option<Result<T, ApiError>>>>,
    ended: js_sys::Promise,
}

impl<T: DeserializeOwned + 'static> StartedRequest<T> {
    /// Sends a request.
    fn new(request: api::Request<T>) -> Self {
        let answer = Rc::new(Cell::new(None));
        let written = Rc::clone(&answer);
        let ended = future_to_promise(async move {
            written.set(Some(request.send(None).await));
            Ok(JsValue::UNDEFINED)
        });
        Self { answer, ended }
    }

    /// Returns the answer.
    async fn answer(self) -> Result<T, ApiError> {
        let _never_fails = JsFuture::from(self.ended).await;
        self.answer.take().unwrap_or(Err(ApiError::Aborted))
    }
}

/// Reports whether a text may be a name, or begin a value of an attribute.
pub(super) fn may_be_name(text: &str) -> bool {
    are_words(text) || attribute_in(text).is_some()
}

/// Returns the first page that the list of suggestions has when every answer has arrived.
pub(super) async fn best_page(text: &str, arrived: ArrivedKeys) -> Option<PageMatch> {
    let has_words = are_words(text);
    let named = has_words.then(|| {
        (
            StartedRequest::new(api::services(text)),
            StartedRequest::new(types()),
            StartedRequest::new(api::operations(None, text)),
            StartedRequest::new(found_names(text)),
        )
    });
    let keys = if has_words { arrived.completed().await } else { Vec::new() };
    let asked = (0..KEYS_MAX).filter_map(|at| value_asked(at, text, &keys));
    let asked = asked.map(|(key, begin)| {
        let request = StartedRequest::new(api::attribute_values(&key, &begin));
        (key, begin, request)
    });
    let asked: Vec<_> = asked.collect();
    let mut values = Vec::new();
    for (key, begin, request) in asked {
        if let Ok(list) = request.answer().await {
            values.push(ValueAnswer { key, begin, values: Arc::new(list) });
        }
    }
    let Some((services, types, operations, found)) = named else {
        return pages_of(text, NameAnswers::default(), &values).into_iter().next();
    };
    let (services, types) = (services.answer().await.ok(), types.answer().await.ok());
    let (operations, found) = (operations.answer().await.ok(), found.answer().await.ok());
    let answers = NameAnswers {
        services: services.as_ref(),
        types: types.as_ref(),
        operations: operations.as_ref(),
        found: found.as_ref(),
    };
    if let Some(best) = pages_of(text, answers, &values).into_iter().next() {
        return Some(best);
    }
    let patterns = patterns_with(text)?.send(None).await.ok()?;
    patterns_of(&patterns).into_iter().next()
}

/// Returns the records with this line. The time, severity and service before a line that was copied
/// from a list are ignored.
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

/// Returns the text, and the text without one, two and more leading words while these may be such a
/// head.
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
    use std::sync::Arc;

    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{
            AttributeKey, AttributeKeyList, FoundName, FoundNameKind, FoundNameList, LatencyStats,
            NameCount, NameList, NodeKind, Searched, TimeWindow, TransactionType,
            TransactionTypeList,
        },
    };

    use super::{
        NameAnswers, ValueAnswer, are_words, attribute_in, completed_keys, name_matches, pages_of,
        parts_of, start_of_minute, traceql_address, value_asked, values_of,
    };

    #[test]
    fn ranges_of_one_minute_begin_at_the_same_time() {
        let minute = 1_767_225_600_000_000_000;
        for nanos in [0, 1, 59_999_999_999] {
            assert_eq!(start_of_minute(UnixNanos(minute + nanos)), UnixNanos(minute));
        }
    }

    #[test]
    fn ids_headers_and_lines_are_no_words() {
        for words in ["pay", "GET /cart/{user}", "web-gateway", "Payment.Authorize"] {
            assert!(are_words(words), "{words}");
        }
        for other in
            ["p", "order.id=A-17", "4f1c2ab09de84f6e", "{ name = \"x\" }", "{status}", "a\nb", ""]
        {
            assert!(!are_words(other), "{other}");
        }
    }

    #[test]
    fn a_query_is_asked_in_explore_as_it_stands() {
        let address = traceql_address(" { status = error && duration > 1s } ").unwrap();
        let query = crate::url::UrlQuery::parse(address.strip_prefix("/explore").unwrap());
        assert_eq!(query.get("q"), Some("{ status = error && duration > 1s }"));
        assert_eq!(traceql_address("GET /cart/{user}"), None);
    }

    fn list(names: &[&str]) -> NameList {
        let name = |name: &&str| NameCount { name: (*name).to_owned(), count: 1 };
        NameList { names: names.iter().map(name).collect(), truncated: false }
    }

    fn types(names: &[(&str, &str)]) -> TransactionTypeList {
        let transaction_type = |(service, operation): &(&str, &str)| TransactionType {
            service: (*service).to_owned(),
            operation: (*operation).to_owned(),
            count: 1,
            error_count: 0,
            rate_per_second: 1.0,
            duration: LatencyStats::default(),
            shorter_share: None,
            steps: Vec::new(),
            where_time_goes: Vec::new(),
            analysed_count: 0,
        };
        TransactionTypeList {
            window: TimeWindow {
                start_unix_nano: UnixNanos(0),
                end_unix_nano: UnixNanos(1),
                step_nano: DurationNanos(1),
            },
            transaction_types: names.iter().map(transaction_type).collect(),
            transaction_type_count: names.len() as u64,
            other_count: 0,
            other_transaction_type_count_max: 0,
            sampled_one_in: 1,
            searched: Searched::default(),
        }
    }

    #[test]
    fn a_root_operation_leads_to_its_type_and_another_to_explore() {
        let (services, operations) =
            (list(&["payment", "cart"]), list(&["Payment.Refund", "pay out"]));
        let types = types(&[("web", "pay out"), ("web", "GET /")]);
        let answers = NameAnswers {
            services: Some(&services),
            types: Some(&types),
            operations: Some(&operations),
            found: None,
        };
        let pages = name_matches("Pay", answers);
        let seen: Vec<_> =
            pages.iter().map(|page| (page.kind.as_str(), page.address.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("service", "/services/payment"),
                ("transaction of web", "/transactions/web/pay%20out"),
                ("operation", "/explore?operation=Payment.Refund")
            ]
        );
        assert!(name_matches("x", NameAnswers::default()).is_empty());
    }

    #[test]
    fn a_name_that_is_the_text_comes_first() {
        let services = list(&["node-41"]);
        let answers = NameAnswers { services: Some(&services), ..NameAnswers::default() };
        let values = Arc::new(list(&["node-40", "node-4"]));
        let host = |begin: &str| ValueAnswer {
            key: "host.name".to_owned(),
            begin: begin.to_owned(),
            values: Arc::clone(&values),
        };
        for text in ["Node-4", "host.name=node-4"] {
            let pages = pages_of(text, answers, &[host("node-4")]);
            assert_eq!(pages[0].address, "/explore?attr=host.name%3Dnode-4", "{text}");
        }
    }

    #[test]
    fn names_with_all_words_lead_to_their_pages() {
        let name = |kind, name: &str, service: Option<&str>| FoundName {
            kind,
            name: name.to_owned(),
            service: service.map(str::to_owned),
            peer_kind: service.is_none().then_some(NodeKind::Database),
            system: service.is_none().then(|| "postgresql".to_owned()),
            count: 1,
        };
        let page = |text: &str, found: FoundName| {
            let found = FoundNameList { names: vec![found], truncated: false };
            let types = types(&[("web", "POST /pay")]);
            let answers =
                NameAnswers { types: Some(&types), found: Some(&found), ..NameAnswers::default() };
            let pages = pages_of(text, answers, &[]);
            pages.into_iter().map(|page| (page.kind, page.address)).collect::<Vec<_>>()
        };
        let single = |kind: &str, address: &str| vec![(kind.to_owned(), address.to_owned())];
        let version = name(FoundNameKind::Version, "2.14.0", Some("payment"));
        assert_eq!(
            page("payment 2.14.0", version),
            single("version of payment", "/explore?service=payment&attr=service.version%3D2.14.0")
        );
        let exception = name(FoundNameKind::Exception, "CurrencyMissing", Some("payment"));
        assert_eq!(
            page("currencym", exception),
            single("exception of payment", "/errors?service=payment&type=CurrencyMissing")
        );
        let peer = name(FoundNameKind::Peer, "rules-db", None);
        assert_eq!(
            page("postgresql", peer),
            single("database on the map", "/map?focus=rules-db&node=rules-db")
        );
        let inner = name(FoundNameKind::Operation, "Charge", Some("payment"));
        assert_eq!(
            page("charge payment", inner.clone()),
            single("operation of payment", "/services/payment?operation=Charge")
        );
        assert!(page("charge bank", inner).is_empty(), "an answer to other words");
        // A transaction type is offered once.
        let operation = name(FoundNameKind::Operation, "POST /pay", Some("web"));
        assert_eq!(
            page("web post /pay", operation),
            single("transaction of web", "/transactions/web/POST%20%2Fpay")
        );
    }

    #[test]
    fn values_complete_for_the_named_attribute_or_the_transaction_keys() {
        let keys = ["order.id".to_owned(), "ticket".to_owned()];
        let asked = |at, text| value_asked(at, text, &keys);
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        assert_eq!(asked(0, "host.name=node"), pair("host.name", "node"));
        assert_eq!(asked(1, "host.name=node"), None);
        assert_eq!(
            (asked(0, "A-2"), asked(1, "A-2")),
            (pair("order.id", "A-2"), pair("ticket", "A-2"))
        );
        assert_eq!((asked(2, "A-2"), asked(0, "{ a = 1 }")), (None, None));
        assert_eq!(attribute_in("= x"), None);
        let pages = values_of("order.id", "a-2", &list(&["A-20931", "A-1"]));
        assert_eq!(pages.len(), 1);
        assert_eq!(pages[0].address, "/explore?attr=order.id%3DA-20931");
    }

    #[test]
    fn well_known_keys_that_spans_have_follow_the_transaction_keys() {
        let key = |key: &str| AttributeKey {
            key: key.to_owned(),
            scope: "resource".to_owned(),
            count: 1,
        };
        let keys = ["cloud.region", "other", "host.name", "http.route"].map(key).to_vec();
        let stored = AttributeKeyList { keys, truncated: false };
        let own = ["order.id", "http.route", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(completed_keys(own.clone(), None), ["order.id", "http.route", "a"]);
        assert_eq!(
            completed_keys(own, Some(&stored)),
            ["order.id", "http.route", "a", "host.name", "cloud.region"]
        );
    }

    #[test]
    fn the_head_of_a_copied_line_is_left_out_word_by_word() {
        let parts = parts_of("14:03:58.408 INFO mailer confirmation sent order=A-34838");
        assert_eq!(parts.len(), 5);
        assert!(parts.contains(&"confirmation sent order=A-34838".to_owned()), "{parts:?}");
        assert!(parts_of("short").is_empty());
    }
}
