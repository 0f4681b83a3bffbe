//! `/api/v1/logs/tail` and `/api/v1/logs/{logId}/context`.

use std::fmt::Write;

use ::http::{HeaderMap, Uri};
use axum::{
    body::Bytes,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde_json::json;
use tidings_proto::api::LogContext;

use super::{
    answer,
    events::{Step, event, events},
    filters::LogFilters,
    logs::log_filter,
    problem::Problems,
};
use crate::{
    LogCursor, LogOrder, QueryError, QueryService,
    logs::{context::LogContextSearch, tail::News},
    params::{Params, malformed},
    service::tailing::{Tail, TailEvent},
};

/// What a tail holds: the records of one look.
const TAIL_BYTES: u64 = 1 << 20;
const AROUND_DEFAULT: usize = 10;
const AROUND_MAX: usize = 200;

/// Log records as they come.
///
/// Server-sent events: `log` for each new record that matches, with its place in `id`; `dropped`
/// with a `count` when there were more than were taken; a comment every 15 s without news; `end`
/// when the server stops. `Last-Event-ID` goes on after that place. Records that come more than a
/// minute after their own time are not among them.
#[utoipa::path(
    get,
    path = "/api/v1/logs/tail",
    tag = "logs",
    operation_id = "tailLogs",
    params(
        LogFilters,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was seen"),
    ),
    responses((status = 200, body = String, content_type = "text/event-stream"), Problems)
)]
pub(super) async fn tail(
    State(service): State<QueryService>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_tail>(&uri)?;
    let filter = log_filter(&params)?;
    let after = match headers.get("last-event-id").filter(|id| !id.is_empty()) {
        Some(id) => Some(place(id.to_str().unwrap_or_default())?),
        None => None,
    };
    Ok(events(service.tail(filter, after).await?, next, TAIL_BYTES))
}

fn place(text: &str) -> Result<LogCursor, QueryError> {
    let cursor = LogCursor::decode(text).filter(|cursor| cursor.order == LogOrder::Oldest);
    cursor.ok_or_else(|| malformed("Last-Event-ID", text, "the `id` of an event"))
}

fn next(mut tail: Tail) -> Step<Tail> {
    Box::pin(async move {
        match tail.next().await {
            Ok(TailEvent::News(news)) => (Some(tail), told(&news)),
            Ok(TailEvent::Quiet) => (Some(tail), Bytes::from_static(b":\n\n")),
            Ok(TailEvent::Ended) => (None, event("end", None, "{}").into()),
            Err(error) => {
                tracing::warn!(%error, "a tail ended");
                let problem = json!({ "detail": error.to_string() });
                (None, event("problem", None, &problem.to_string()).into())
            }
        }
    })
}

/// The news, oldest first, after how many are missing before them.
fn told(news: &News) -> Bytes {
    let mut told = String::new();
    if news.dropped > 0 {
        let count = json!({ "count": news.dropped });
        told.push_str(&event("dropped", None, &count.to_string()));
    }
    for log in &news.logs {
        let (order, time) = (LogOrder::Oldest, log.time_unix_nano);
        let content_hash = u64::from_str_radix(&log.id, 16).unwrap_or_default();
        let id = LogCursor { order, time, content_hash, seen: 0 }.encode();
        match serde_json::to_string(log) {
            Ok(data) => told.push_str(&event("log", Some(&id), &data)),
            Err(error) => {
                let _ = write!(told, ": a record could not be written: {error}\n\n");
            }
        }
    }
    told.into()
}

/// The records around one.
///
/// What the same sender, one instance of one service, said just before and just after, oldest
/// first.
#[utoipa::path(
    get,
    path = "/api/v1/logs/{logId}/context",
    tag = "logs",
    operation_id = "getLogContext",
    params(
        ("logId" = String, Path, description = "The record's `id`: 16 hex digits"),
        ("time" = Option<String>, Query, description = "The record's time, with which it is found at once: Unix nanoseconds or RFC 3339"),
        ("before" = Option<u32>, Query, description = "Records before it, 0 to 200; 10 when not given"),
        ("after" = Option<u32>, Query, description = "Records after it, 0 to 200; 10 when not given"),
    ),
    responses((status = 200, body = LogContext), Problems)
)]
pub(super) async fn context(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_context>(&uri)?;
    let Path(id) = path?;
    let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = u64::from_str_radix(&id, 16).ok().filter(|_| is_id);
    let id = parsed.ok_or_else(|| malformed("logId", &id, "a record's id of 16 hex digits"))?;
    let around = |name: &str| {
        let form = "a number from 0 to 200";
        let number = |text: &str| text.parse().ok().filter(|number| *number <= AROUND_MAX);
        Ok::<usize, QueryError>(params.parsed(name, form, number)?.unwrap_or(AROUND_DEFAULT))
    };
    let (before, after) = (around("before")?, around("after")?);
    let search = LogContextSearch { id, time: params.moment("time")?, before, after };
    answer::json(service.log_context(search).await?).await
}
