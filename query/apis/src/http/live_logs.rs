//! `/api/v1/logs/tail` and `/api/v1/logs/{logId}/context`.

use std::fmt::Write;

use ::http::{HeaderMap, Uri};
use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tidings_proto::api::LogContext;
use tidings_query::{
    LogContextSearch, LogCursor, LogOrder, LogTail, NewRecords, QueryError, QueryService, TailEvent,
};

use super::{
    encoding,
    event_stream::{StreamStep, event, events},
    filters::LOG_FILTERS,
    log_search::log_filter,
    problem::{ApiError, Problems},
    searching::problem_event,
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, header, path, query},
    form::ParameterForm,
    malformed, record_in_path,
};

endpoints![tail: __path_tail, context: __path_context];

/// Bytes reserved for one tail: the records of one poll.
const TAIL_BYTES: u64 = 1 << 20;
const AROUND: ParameterForm = ParameterForm::Integer { min: 0, max: 200, default: Some(10) };

/// Response extension of an endless answer: log records as they arrive.
#[derive(Debug, Clone, Copy)]
pub struct EndlessLogs;

/// Parameters of a tail.
pub(super) struct LogTailParameters;

impl HasParameters for LogTailParameters {
    const LISTS: ParameterLists = &[
        LOG_FILTERS,
        &[header(
            "Last-Event-ID",
            ParameterForm::EventId,
            "The `id` of the last event that was seen",
        )],
    ];
}

/// Parameters of a log record's context.
pub(super) struct LogContextParameters;

impl HasParameters for LogContextParameters {
    const LISTS: ParameterLists = &[&[
        path("logId", ParameterForm::RecordId, "The record's `id`: 16 hex digits"),
        query(
            "time",
            ParameterForm::Time,
            "The record's time, with which it is found at once: Unix nanoseconds or RFC 3339",
        ),
        query("before", AROUND, "Records before it"),
        query("after", AROUND, "Records after it"),
    ]];
}

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
    params(ParametersOf<LogTailParameters>),
    responses(
        (status = 200, body = serde_json::Value, content_type = "text/event-stream"),
        Problems
    )
)]
async fn tail(
    State(service): State<QueryService>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::read::<LogTailParameters>(&uri)?;
    let filter = log_filter(&service, &params).await?;
    let after = match headers.get("last-event-id") {
        Some(id) => Some(place(id.to_str().unwrap_or_default())?),
        None => None,
    };
    let stream = events(service.tail(filter, after).await?, next, TAIL_BYTES);
    Ok((Extension(EndlessLogs), stream).into_response())
}

fn place(text: &str) -> Result<LogCursor, QueryError> {
    let cursor = LogCursor::decode(text).filter(|cursor| cursor.order == LogOrder::Oldest);
    cursor.ok_or_else(|| malformed("Last-Event-ID", text, ParameterForm::EventId))
}

fn next(mut tail: LogTail) -> StreamStep<LogTail> {
    Box::pin(async move {
        match tail.next().await {
            Ok(TailEvent::NewRecords(new_records)) => (Some(tail), encode_records(&new_records)),
            Ok(TailEvent::KeepAlive) => (Some(tail), Bytes::from_static(b":\n\n")),
            Ok(TailEvent::Ended) => (None, event("end", None, "{}").into()),
            Err(error) => (None, problem_event(&error)),
        }
    })
}

/// Encodes new records, oldest first, after the number of records that were dropped before them.
fn encode_records(new_records: &NewRecords) -> Bytes {
    let mut events = String::new();
    if new_records.dropped > 0 {
        let count = json!({ "count": new_records.dropped });
        events.push_str(&event("dropped", None, &count.to_string()));
    }
    for log in &new_records.logs {
        let (order, time) = (LogOrder::Oldest, log.time_unix_nano);
        let content_hash = u64::from_str_radix(&log.id, 16).unwrap_or_default();
        let id = LogCursor { order, time, content_hash, seen: 0 }.encode();
        match serde_json::to_string(log) {
            Ok(data) => events.push_str(&event("log", Some(&id), &data)),
            Err(error) => {
                let _ = write!(events, ": a record could not be written: {error}\n\n");
            }
        }
    }
    events.into()
}

/// The records around one.
///
/// Returns records of the same service instance from just before and just after the record, oldest
/// first.
#[utoipa::path(
    get,
    path = "/api/v1/logs/{logId}/context",
    tag = "logs",
    operation_id = "getLogContext",
    params(ParametersOf<LogContextParameters>),
    responses((status = 200, body = LogContext), Problems)
)]
async fn context(
    State(service): State<QueryService>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read::<LogContextParameters>(&uri)?;
    let id = record_in_path(&path?)?;
    let around = |name| params.integer(name).and_then(|count| usize::try_from(count).ok());
    let (before, after) =
        (around("before").unwrap_or_default(), around("after").unwrap_or_default());
    let search = LogContextSearch { id, time: params.moment("time")?, before, after };
    let (service, admission) = service.holding_permits();
    Ok(encoding::json(admission, service.log_context(search).await?).await?)
}
