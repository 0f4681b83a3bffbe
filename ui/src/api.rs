//! The native API as typed requests. Only this module fetches.
//!
//! A [`Request`] holds an address and the type of its answer. The page sends it, through
//! [`crate::request_state::RequestState`] when the answer is drawn. This module owns the spelling
//! of every path and parameter. It knows nothing of pages.

pub mod access;
pub mod analysis;
mod event_stream;
pub mod explored_traces;
pub mod sql;
mod streaming;
pub mod trace_sets;

use std::{cell::Cell, fmt, marker::PhantomData};

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
        LogState, ParsedParam, TimeRange, TraceFilters, TraceListQuery, TraceSort, UrlQuery,
        encode,
        traceql::{search_traceql, selecting},
    },
};

/// Number of traces on a page.
pub const TRACE_PAGE: u32 = 50;
/// Maximum number of spans that are listed per trace.
pub const MATCHED_SPANS: u32 = 20;
/// Number of log records on a page.
pub const LOG_PAGE: u32 = 200;
/// Maximum number of names that a completion offers.
const NAME_LIMIT: u32 = 50;
/// Number of attribute keys per request: the maximum that the server returns.
const KEYS_MAX: u32 = 1_000;

/// A request to the API. Its answer is a `T`.
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

    /// Returns the path and query string of the request.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The reason that a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// The server answered with a problem.
    Problem(ProblemDetails),
    /// The server answered with a status and no problem.
    Status(u16),
    /// No server answered.
    Unreachable,
    /// The answer is not of the expected type.
    Unreadable(String),
    /// The page aborted the request.
    Aborted,
}

impl ApiError {
    /// Returns a short title of the error.
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

    /// Returns the details of the error and a remedy.
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
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Problem(ProblemDetails { status, .. }) | Self::Status(status) => *status == 503,
            Self::Unreachable | Self::Aborted => true,
            Self::Unreadable(_) => false,
        }
    }

    /// Reports whether the server requires a key.
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
    /// Sends the request and parses the answer. `signal` aborts it. The answer is returned when no
    /// pointer button is pressed, because elements that are redrawn during a click lose it.
    pub async fn send(&self, signal: Option<&AbortSignal>) -> Result<T, ApiError> {
        let (status, text) = self.text("application/json", signal).await?;
        browser::pointer_released().await;
        read(status, &text)
    }

    /// Sends the request and returns the text of the answer.
    pub(crate) async fn send_for_text(&self) -> Result<String, ApiError> {
        let (status, text) = self.text("application/json, text/html", None).await?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        read::<serde::de::IgnoredAny>(status, &text).map(|_| text)
    }
}

impl<T> Request<T> {
    /// Sends the request with this `Accept` header.
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
            // Without this header the server refuses a change as a form of another site.
            let _fixed = headers.set("tidings-request", "ui");
        }
        let response = JsFuture::from(window().fetch_with_request(&request)).await;
        let response = response.map_err(|error| failure(&error))?;
        ANSWER_COUNT.set(ANSWER_COUNT.get().wrapping_add(1));
        Ok(response.unchecked_into())
    }

    /// Sends the request with this `Accept` header. Returns the status and the text of the answer.
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
    // `()` is parsed from an answer without a body.
    let text = if text.is_empty() { "null" } else { text };
    read_json(text)
}

fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError::Unreadable(error.to_string()))
}

thread_local! {
    static ANSWER_COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of answers to all requests of this page.
pub(crate) fn answer_count() -> u64 {
    ANSWER_COUNT.get()
}

/// Makes a controller that aborts requests.
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

/// Starts sending demo traffic. The answer's body is ignored.
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

/// The links of a trace, in both directions.
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
    let list_query =
        TraceListQuery { filters: filters.clone(), range, ..TraceListQuery::default() };
    Request::get("/traces", &trace_query(&list_query, now, cursor))
}

/// A page of the traces of a search, with the matching spans where the page needs them.
#[must_use]
pub fn explored_traces(
    list_query: &TraceListQuery,
    now: UnixNanos,
    cursor: Option<&str>,
) -> Request<ExploredTraces> {
    Request::get("/traces", &trace_query(list_query, now, cursor))
}

/// Returns the parameters of a search. Excluding filters are sent as a TraceQL query. All filters
/// are sent that way where spans are needed.
fn trace_query(list_query: &TraceListQuery, now: UnixNanos, cursor: Option<&str>) -> UrlQuery {
    let mut query = UrlQuery::default();
    let filters = list_query.narrowed();
    let needs_spans = list_query.needs_spans();
    let text = match &list_query.query {
        Some(text) => Some(text.clone()),
        None if needs_spans || !filters.without.is_empty() => Some(search_traceql(&filters)),
        None => None,
    };
    match text {
        Some(text) if needs_spans => {
            query.push("q", selecting(&text, &list_query.columns));
            query.push("spansPerSpanset", MATCHED_SPANS);
        }
        Some(text) => query.push("q", text),
        None => push_filters(&mut query, &filters),
    }
    match list_query.chosen {
        Some(chosen) => {
            query.push("start", chosen.from.0);
            query.push("end", chosen.to.0);
        }
        None => push_range(&mut query, list_query.range, now),
    }
    query.push_some("sort", list_query.sort.map(TraceSort::name));
    query.push("limit", TRACE_PAGE);
    query.push_some("cursor", cursor);
    query
}

/// Adds filters of spans, except excluding ones, for which the API has no parameters.
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

/// One trace as columns, with the clock offsets of its hosts corrected or as they were recorded.
#[must_use]
pub fn skeleton(id: TraceId, adjusted: bool) -> Request<TraceSkeleton> {
    let mut query = UrlQuery::default();
    push_clocks(&mut query, adjusted);
    Request::get(&format!("/traces/{id}/skeleton"), &query)
}

/// Rows of a trace's spans that contain every word of `text`, or that `text` selects when it is a
/// TraceQL query such as `{ status = error }`.
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

/// One span in full. `row` distinguishes spans with the same id.
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

/// Returns the address of the stream of log records that match from now on.
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

/// A log record with `around` records of the same sender before and after it. The server finds it
/// faster with its time.
#[must_use]
pub fn log_context(id: &str, time: Option<UnixNanos>, around: u32) -> Request<LogContext> {
    let mut query = UrlQuery::default();
    query.push_some("time", time.map(|time| time.0));
    query.push("before", around);
    query.push("after", around);
    Request::get(&format!("/logs/{}/context", encode(id)), &query)
}

/// The newest thousand log records of one trace. They include records that have its id only in a
/// field or in their text.
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

/// Keys of attributes, up to the server's maximum.
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

/// Returns the address of a trace, or of one of its spans.
#[must_use]
pub fn trace_address(trace: TraceId, span: Option<SpanId>) -> String {
    let mut query = UrlQuery::default();
    query.push_some("span", span);
    query.on(&format!("/trace/{trace}"))
}

/// Returns the address of the trace of a log record, if it has one.
#[must_use]
pub fn log_trace_address(log: &LogView) -> Option<String> {
    log.trace_id.map(|trace| trace_address(trace, log.span_id))
}

/// One trace with all attributes, events and links of its spans, with the clock offsets of its
/// hosts corrected or as they were recorded.
#[must_use]
pub fn whole_trace(trace: TraceId, adjusted: bool) -> Request<serde::de::IgnoredAny> {
    let mut query = UrlQuery::default();
    push_clocks(&mut query, adjusted);
    Request::get(&format!("/traces/{trace}"), &query)
}

/// The page that draws a trace without a server, before a trace is written into it.
#[must_use]
pub fn trace_page() -> Request<serde::de::IgnoredAny> {
    let address = "/assets/trace-page.html".to_owned();
    Request { method: "GET", address, body: None, answer: PhantomData }
}

/// Returns the address at which the native API answers a trace in full, for a link.
#[must_use]
pub fn trace_json_address(trace: TraceId) -> String {
    format!("/api/v1/traces/{}", encode(&trace.to_string()))
}
