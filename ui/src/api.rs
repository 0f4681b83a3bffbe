//! The native API as typed requests. The only place that fetches.
//!
//! A [`Request`] says what to ask and what type the answer has; sending it is the page's business,
//! through [`crate::remote::Remote`] when the answer is drawn. Owns the spelling of every path and
//! parameter. Knows nothing of pages.

pub mod access;
pub mod analysis;
mod event_stream;
pub mod explored_traces;
mod following;
pub mod sql;
pub mod trace_sets;

use std::{fmt, marker::PhantomData};

use leptos::prelude::window;
use serde::de::DeserializeOwned;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    api::{
        AttributeKeyList, LimitList, LogContext, LogSearchResult, LogView, NameList, PinList,
        PinRequest, PinView, ProblemDetails, ResolveResult, ServerStatus, SlowQueryList,
        SpanDetails, SpanMatches, TraceLinks, TraceSearchResult, TraceSkeleton,
    },
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, RequestInit, Response};

use explored_traces::ExploredTraces;

use crate::{
    browser,
    url::{
        LogState, ParsedParam, TimeRange, TraceFilters, TraceQuestion, TraceSort, UrlQuery, encode,
        traceql::{search_traceql, selecting},
    },
};

/// Number of traces on a page.
pub const TRACE_PAGE: u32 = 50;
/// The most spans that are listed of a trace.
pub const MATCHED_SPANS: u32 = 20;
/// Number of log records on a page.
pub const LOG_PAGE: u32 = 200;
/// Maximum number of names that a completion offers.
const NAME_LIMIT: u32 = 50;
/// Keys of attributes that are asked for at once: the most that the server gives.
const KEYS_MAX: u32 = 1_000;

/// A question to the API; its answer is a `T`.
#[derive(PartialEq, Eq)]
pub struct Request<T> {
    method: &'static str,
    address: String,
    body: Option<String>,
    answer: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.address)
    }
}

impl<T> Clone for Request<T> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), body: self.body.clone(), ..*self }
    }
}

impl<T> Request<T> {
    fn get(path: &str, query: &UrlQuery) -> Self {
        let address = query.on(&format!("/api/v1{path}"));
        Self { method: "GET", address, body: None, answer: PhantomData }
    }

    /// A request with a JSON body. The server refuses it from pages of other origins.
    fn post(path: &str, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_string(body).ok();
        Self { method: "POST", address: format!("/api/v1{path}"), body, answer: PhantomData }
    }

    /// The path and query string that are asked.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// The server said why.
    Problem(ProblemDetails),
    /// The server said no without saying why.
    Status(u16),
    /// Nothing answered.
    Unreachable,
    /// The answer is not of the type it should be.
    Unreadable(String),
    /// The page gave the question up.
    Aborted,
}

impl ApiError {
    /// Title of the error in a few words.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Problem(problem) => problem.title.clone(),
            Self::Status(status) => format!("The server answered {status}"),
            Self::Unreachable => "Tidings does not answer".to_owned(),
            Self::Unreadable(_) => "The answer could not be read".to_owned(),
            Self::Aborted => "The request was stopped".to_owned(),
        }
    }

    /// Details of the error and the remedy.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Problem(problem) => problem.detail.clone(),
            Self::Status(_) => "It gave no reason. Its log may say more.".to_owned(),
            Self::Unreachable => {
                "Check that the server is running and that this machine reaches it.".to_owned()
            }
            Self::Unreadable(reason) => format!(
                "This page and the server may be of different versions: reload the page. ({reason})"
            ),
            Self::Aborted => "Ask again.".to_owned(),
        }
    }

    /// Reports whether the same request may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Problem(ProblemDetails { status, .. }) | Self::Status(status) => *status == 503,
            Self::Unreachable | Self::Aborted => true,
            Self::Unreadable(_) => false,
        }
    }

    /// Returns whether the server asks for a key.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        matches!(self, Self::Problem(ProblemDetails { status: 401, .. }) | Self::Status(401))
    }

    /// Reports whether the requested item does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(ProblemDetails { status: 404, .. }) | Self::Status(404))
    }
}

impl<T: DeserializeOwned> Request<T> {
    /// Asks and reads the answer; `signal` gives the question up. The answer comes when the reader
    /// presses nothing, so that no click is lost to what it draws anew.
    pub async fn send(&self, signal: Option<&AbortSignal>) -> Result<T, ApiError> {
        let (status, text) = self.text("application/json", signal).await?;
        browser::pointer_released().await;
        read(status, &text)
    }

    /// Asks and returns the answer as it was sent.
    pub(crate) async fn send_unread(&self) -> Result<String, ApiError> {
        let (status, text) = self.text("application/json, text/html", None).await?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        read::<serde::de::IgnoredAny>(status, &text).map(|_| text)
    }
}

impl<T> Request<T> {
    /// Asks for an answer of this media type.
    async fn fetch(
        &self,
        accept: &str,
        signal: Option<&AbortSignal>,
    ) -> Result<Response, ApiError> {
        let options = RequestInit::new();
        options.set_method(self.method);
        options.set_signal(signal);
        if let Some(body) = &self.body {
            options.set_body(&JsValue::from_str(body));
        }
        let request = web_sys::Request::new_with_str_and_init(&self.address, &options)
            .map_err(|_| ApiError::Unreachable)?;
        let headers = request.headers();
        let _fixed = headers.set("accept", accept);
        if self.body.is_some() {
            let _fixed = headers.set("content-type", "application/json");
        }
        if self.method != "GET" {
            // Without it the server takes the change for one of another site's form.
            let _fixed = headers.set("tidings-request", "ui");
        }
        let response = JsFuture::from(window().fetch_with_request(&request)).await;
        Ok(response.map_err(|error| failure(&error))?.unchecked_into())
    }

    /// Asks for an answer of this media type; returns its status and its text.
    async fn text(
        &self,
        accept: &str,
        signal: Option<&AbortSignal>,
    ) -> Result<(u16, String), ApiError> {
        let response = self.fetch(accept, signal).await?;
        let failed = |error: JsValue| failure(&error);
        let text = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
        Ok((response.status(), text.as_string().unwrap_or_default()))
    }
}

fn failure(error: &JsValue) -> ApiError {
    let name = js_sys::Reflect::get(error, &JsValue::from_str("name")).ok();
    match name.and_then(|name| name.as_string()).as_deref() {
        Some("AbortError") => ApiError::Aborted,
        _ => ApiError::Unreachable,
    }
}

fn read<T: DeserializeOwned>(status: u16, text: &str) -> Result<T, ApiError> {
    if !(200..300).contains(&status) {
        let problem = serde_json::from_str(text).map(ApiError::Problem);
        return Err(problem.unwrap_or(ApiError::Status(status)));
    }
    // An answer without a body is what `()` is read from.
    let text = if text.is_empty() { "null" } else { text };
    read_json(text)
}

fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError::Unreadable(error.to_string()))
}

/// A way to give questions up.
pub(crate) fn abort_controller() -> Option<AbortController> {
    AbortController::new().ok()
}

/// Requests the server's status.
#[must_use]
pub fn status() -> Request<ServerStatus> {
    Request::get("/status", &UrlQuery::default())
}

/// The slowest queries of the last hour.
#[must_use]
pub fn slow_queries() -> Request<SlowQueryList> {
    Request::get("/queries", &UrlQuery::default())
}

/// The limits in force.
#[must_use]
pub fn limits() -> Request<LimitList> {
    Request::get("/limits", &UrlQuery::default())
}

/// Starts sending demo traffic. The answer's body is not looked at.
#[must_use]
pub fn start_demo() -> Request<serde::de::IgnoredAny> {
    let address = "/api/v1/demo".to_owned();
    Request { method: "POST", address, body: Some("{}".to_owned()), answer: PhantomData }
}

/// The pinned traces.
#[must_use]
pub fn pins() -> Request<PinList> {
    Request::get("/pins", &UrlQuery::default())
}

/// Pins a trace, with a note that may be empty.
#[must_use]
pub fn pin(trace: TraceId, note: String) -> Request<PinView> {
    let body = serde_json::to_string(&PinRequest { note }).ok();
    Request { method: "PUT", address: pin_address(trace), body, answer: PhantomData }
}

/// Unpins a trace.
#[must_use]
pub fn unpin(trace: TraceId) -> Request<()> {
    Request { method: "DELETE", address: pin_address(trace), body: None, answer: PhantomData }
}

fn pin_address(trace: TraceId) -> String {
    format!("/api/v1/traces/{trace}/pin")
}

/// The links of a trace, both ways.
#[must_use]
pub fn trace_links(trace: TraceId) -> Request<TraceLinks> {
    Request::get(&format!("/traces/{trace}/links"), &UrlQuery::default())
}

/// Resolves a pasted text to stored traces.
#[must_use]
pub fn resolve(text: &str) -> Request<ResolveResult> {
    let mut query = UrlQuery::default();
    query.push("text", text);
    Request::get("/resolve", &query)
}

/// A page of traces, newest first.
#[must_use]
pub fn traces(
    filters: &TraceFilters,
    range: TimeRange,
    now: UnixNanos,
    cursor: Option<&str>,
) -> Request<TraceSearchResult> {
    let question = TraceQuestion { filters: filters.clone(), range, ..TraceQuestion::default() };
    Request::get("/traces", &trace_query(&question, now, cursor))
}

/// A page of the traces that are looked for, with the spans that match where they are needed.
#[must_use]
pub fn explored_traces(
    question: &TraceQuestion,
    now: UnixNanos,
    cursor: Option<&str>,
) -> Request<ExploredTraces> {
    Request::get("/traces", &trace_query(question, now, cursor))
}

/// The parameters of a search. Filters that exclude are sent as a query, and so are all where spans
/// are needed.
fn trace_query(question: &TraceQuestion, now: UnixNanos, cursor: Option<&str>) -> UrlQuery {
    let mut query = UrlQuery::default();
    let filters = question.narrowed();
    let needs_spans = question.needs_spans();
    let text = match &question.query {
        Some(text) => Some(text.clone()),
        None if needs_spans || !filters.without.is_empty() => Some(search_traceql(&filters)),
        None => None,
    };
    match text {
        Some(text) if needs_spans => {
            query.push("q", selecting(&text, &question.columns));
            query.push("spansPerSpanset", MATCHED_SPANS);
        }
        Some(text) => query.push("q", text),
        None => push_filters(&mut query, &filters),
    }
    match question.chosen {
        Some(chosen) => {
            query.push("start", chosen.from.0);
            query.push("end", chosen.to.0);
        }
        None => push_range(&mut query, question.range, now),
    }
    query.push_some("sort", question.sort.map(TraceSort::name));
    query.push("limit", TRACE_PAGE);
    query.push_some("cursor", cursor);
    query
}

/// Filters of spans, but for those that exclude: the API has none.
fn push_filters(query: &mut UrlQuery, filters: &TraceFilters) {
    query.push_some("service", filters.service.as_ref());
    query.push_some("operation", filters.operation.as_ref());
    query.push_some("status", filters.status.as_ref());
    query.push_some("kind", filters.kind.as_ref());
    let nanos = |given: &ParsedParam<DurationNanos>| given.text(|duration| duration.0.to_string());
    query.push_some("minDuration", filters.duration_min.as_ref().map(nanos));
    query.push_some("maxDuration", filters.duration_max.as_ref().map(nanos));
    filters.attributes.iter().for_each(|filter| query.push("attribute", filter));
}

/// One trace as columns, with the clocks of its hosts brought together or as they were.
#[must_use]
pub fn skeleton(id: TraceId, adjusted: bool) -> Request<TraceSkeleton> {
    let mut query = UrlQuery::default();
    push_clocks(&mut query, adjusted);
    Request::get(&format!("/traces/{id}/skeleton"), &query)
}

/// The rows of a trace's spans that say every word of `text`, or that it selects when it is a query
/// in TraceQL, as `{ status = error }`.
#[must_use]
pub fn find_spans(trace: TraceId, text: &str, adjusted: bool) -> Request<SpanMatches> {
    let mut query = UrlQuery::default();
    query.push(if text.trim_start().starts_with('{') { "q" } else { "text" }, text);
    push_clocks(&mut query, adjusted);
    Request::get(&format!("/traces/{trace}/find"), &query)
}

fn push_clocks(query: &mut UrlQuery, adjusted: bool) {
    query.push_some("adjust", adjusted.then_some("clock"));
}

/// One span in full; `row` tells spans that share an id apart.
#[must_use]
pub fn span(
    trace: TraceId,
    span: SpanId,
    row: Option<u32>,
    adjusted: bool,
) -> Request<SpanDetails> {
    let mut query = UrlQuery::default();
    query.push_some("index", row);
    push_clocks(&mut query, adjusted);
    Request::get(&format!("/traces/{trace}/spans/{span}"), &query)
}

/// A page of log records, newest first.
#[must_use]
pub fn logs(state: &LogState, now: UnixNanos, cursor: Option<&str>) -> Request<LogSearchResult> {
    let mut query = log_filters(state);
    push_range(&mut query, state.range, now);
    query.push("limit", LOG_PAGE);
    query.push_some("cursor", cursor);
    Request::get("/logs", &query)
}

/// Where the records come from that match from now on, for a stream.
#[must_use]
pub fn log_tail_address(state: &LogState) -> String {
    log_filters(state).on("/api/v1/logs/tail")
}

fn log_filters(state: &LogState) -> UrlQuery {
    let mut query = UrlQuery::default();
    push_log_filters(&mut query, state);
    query
}

fn push_log_filters(query: &mut UrlQuery, state: &LogState) {
    query.push_some("q", state.query.as_ref());
    query.push_some("service", state.service.as_ref());
    query.push_some("severity", state.severity.as_ref());
    query.push_some("traceId", state.trace_id.as_ref());
    query.push_some("spanId", state.span_id.as_ref());
    state.attributes.iter().for_each(|filter| query.push("attribute", filter));
}

/// A log record with so many on either side, of the same sender. With its time it is found at once.
#[must_use]
pub fn log_context(id: &str, time: Option<UnixNanos>, around: u32) -> Request<LogContext> {
    let mut query = UrlQuery::default();
    query.push_some("time", time.map(|time| time.0));
    query.push("before", around);
    query.push("after", around);
    Request::get(&format!("/logs/{}/context", encode(id)), &query)
}

/// The log records of one trace, the newest thousand, those included that have its id only in a field
/// or in their text.
#[must_use]
pub fn logs_of_trace(trace: TraceId) -> Request<LogSearchResult> {
    Request::get(&format!("/traces/{trace}/logs"), &UrlQuery::default())
}

/// Names of services that begin with `prefix`.
#[must_use]
pub fn services(prefix: &str) -> Request<NameList> {
    Request::get("/services", &names(prefix))
}

/// Names of operations, of one service or of all.
#[must_use]
pub fn operations(service: Option<&str>, prefix: &str) -> Request<NameList> {
    let mut query = names(prefix);
    query.push_some("service", service);
    Request::get("/operations", &query)
}

/// Keys of attributes that begin with `prefix`.
#[must_use]
pub fn attribute_keys(prefix: &str) -> Request<AttributeKeyList> {
    Request::get("/attributes/keys", &names(prefix))
}

/// Keys of attributes, as many as the server gives.
#[must_use]
pub fn all_attribute_keys() -> Request<AttributeKeyList> {
    let mut query = UrlQuery::default();
    query.push("limit", KEYS_MAX);
    Request::get("/attributes/keys", &query)
}

/// Values of one attribute.
#[must_use]
pub fn attribute_values(key: &str, prefix: &str) -> Request<NameList> {
    let mut query = names(prefix);
    query.push("key", key);
    Request::get("/attributes/values", &query)
}

fn names(prefix: &str) -> UrlQuery {
    let mut query = UrlQuery::default();
    query.push_some("prefix", (!prefix.is_empty()).then_some(prefix));
    query.push("limit", NAME_LIMIT);
    query
}

fn push_range(query: &mut UrlQuery, range: TimeRange, now: UnixNanos) {
    let (start, end) = range.bounds(now);
    query.push_some("start", start.map(|time| time.0));
    query.push_some("end", end.map(|time| time.0));
}

/// Where a trace is shown, at a span when there is one.
#[must_use]
pub fn trace_address(trace: TraceId, span: Option<SpanId>) -> String {
    let mut query = UrlQuery::default();
    query.push_some("span", span);
    query.on(&format!("/trace/{trace}"))
}

/// Where the trace of a log record is shown, when it has one.
#[must_use]
pub fn log_trace_address(log: &LogView) -> Option<String> {
    log.trace_id.map(|trace| trace_address(trace, log.span_id))
}

/// One trace with everything its spans said, with the clocks of its hosts brought together or as
/// they were.
#[must_use]
pub fn whole_trace(trace: TraceId, adjusted: bool) -> Request<serde::de::IgnoredAny> {
    let mut query = UrlQuery::default();
    push_clocks(&mut query, adjusted);
    Request::get(&format!("/traces/{trace}"), &query)
}

/// The page that draws a trace without a server, yet without its trace.
#[must_use]
pub fn trace_page() -> Request<serde::de::IgnoredAny> {
    let address = "/assets/trace-page.html".to_owned();
    Request { method: "GET", address, body: None, answer: PhantomData }
}

/// Where the native API answers a trace with everything its spans said, for a link.
#[must_use]
pub fn trace_json_address(trace: TraceId) -> String {
    format!("/api/v1/traces/{}", encode(&trace.to_string()))
}
