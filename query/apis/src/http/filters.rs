//! The parameters that several operations share.
//!
//! Owns their declarations and their conversion to a filter, so that every resource filters alike.

use tidings_proto::UnixNanos;
use tidings_query::{QueryError, Selection};
use tidings_storage::SpanFilter;

use crate::params::{
    CLOCK, Params,
    declared::{ParameterSpec, path, query},
    form::ParameterForm::{
        self, Attribute, Duration, Kind, Severity, SpanId, Status, Text, Time, TraceName, Word,
    },
};

/// The filters of spans.
pub(super) const SPAN_FILTERS: &[ParameterSpec] = &[
    query("service", Text, "`service.name`; repeat it for any of several").repeated(),
    query("operation", Text, "The span's name, whole"),
    query(
        "attribute",
        Attribute,
        "`key=value`, or a bare `key` for any value; on the span, its events, its scope or its resource; repeat it for all of several",
    )
    .repeated(),
    query("status", Status, "How it ended"),
    query("kind", Kind, "The part it plays"),
    query(
        "minDuration",
        Duration,
        "The span took at least this long: `250ms`, `1.5s`, `10us`, `2m`, or nanoseconds",
    ),
    query("maxDuration", Duration, "The span took at most this long"),
];

/// A query, used in place of [`SPAN_FILTERS`].
pub(super) const SPAN_QUERY: ParameterSpec = query(
    "q",
    Text,
    "A TraceQL query in place of the filters, as `{ resource.service.name = \"shop\" } >> { status = error }`: the spans are those that it finds",
);

/// Parameters of the time in which spans start.
pub(super) const SPAN_TIMES: &[ParameterSpec] = &[
    query("start", Time, "The span starts at this time or later: Unix nanoseconds or RFC 3339"),
    query("end", Time, "The span starts before this time, which is later than `start`"),
];

/// Parameters of the time at which log records were written.
pub(super) const LOG_TIMES: &[ParameterSpec] = &[
    query("start", Time, "At this time or later: Unix nanoseconds or RFC 3339"),
    query("end", Time, "Before this time, which is later than `start`"),
];

/// The window.
pub(super) const WINDOW: &[ParameterSpec] = &[
    query(
        "start",
        Time,
        "At this time or later: Unix nanoseconds or RFC 3339; 24 hours before the end when not given",
    ),
    query(
        "end",
        Time,
        "Before this time, which is later than `start`; the end of the data when neither is given, else now",
    ),
];

/// The window's steps.
pub(super) const STEP: ParameterSpec = query(
    "step",
    Duration,
    "The length of a step, as `1m` or `500ms`, at least 1 ms; at most 1,000 steps; one that gives at most 60 whole ones when not given",
);

/// The filters of log records.
pub(super) const LOG_FILTERS: &[ParameterSpec] = &[
    query(
        "q",
        Text,
        "A query, as `payment declined AND severity:>=warn NOT service:shop`; the other filters narrow it",
    ),
    query("traceId", TraceName, "The record's trace: 32 hex digits, or 16 for an id of 8 bytes"),
    query("spanId", SpanId, "The record's span: 16 hex digits"),
    query("service", Text, "`service.name`; repeat it for any of several").repeated(),
    query(
        "severity",
        Severity,
        "At least this severe: `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or a number from 1 to 24",
    ),
    query("text", Text, "The message contains this; the case of ASCII letters is ignored"),
    query(
        "attribute",
        Attribute,
        "`key=value`, or a bare `key` for any value; repeat it for all of several",
    )
    .repeated(),
];

/// Parameters that select a part of the spans.
pub(super) const SELECTED: &[ParameterSpec] = &[
    query(
        "selectService",
        Text,
        "Selected are spans of this service; repeat it for any of several",
    )
    .repeated(),
    query("selectOperation", Text, "Selected are spans of this name"),
    query(
        "selectAttribute",
        Attribute,
        "Selected are spans with this attribute, on the span or its resource; repeat it for all of several",
    )
    .repeated(),
    query("selectStatus", Status, "Selected are spans that ended so"),
    query("selectKind", Kind, "Selected are spans of this kind"),
    query("selectMinDuration", Duration, "Selected are spans that took at least so long"),
    query("selectMaxDuration", Duration, "Selected are spans that took at most so long"),
    query("selectStart", Time, "Selected are spans that start at this time or later"),
    query("selectEnd", Time, "Selected are spans that start before this time"),
];

/// The trace id in a path.
pub(super) const IN_PATH: ParameterSpec =
    path("traceId", TraceName, "32 hex digits in either case, or the last 16 of them");

/// Parameter that chooses the times of a trace.
pub(super) const ADJUST: ParameterSpec = query(
    "adjust",
    Word(&[CLOCK]),
    "`clock`: with times brought together by the calls between hosts; as sent when not given",
);

/// Parameters for waiting for a version of an answer.
pub(super) const AWAITED: &[ParameterSpec] = &[
    query(
        "after",
        Text,
        "The `version` that is known: with `wait`, the answer is held back until there is another one",
    ),
    query(
        "wait",
        Duration,
        "Wait at most this long for another version, or for the first one: up to `60s`; the answer that is there when not given",
    ),
];

/// Cursor of the next page.
pub(super) const CURSOR: ParameterSpec =
    query("cursor", ParameterForm::Cursor, "`nextCursor` of the page before");

/// Returns the filter of spans in the parameters.
pub(super) fn span_filter(params: &Params) -> Result<SpanFilter, QueryError> {
    let (duration_min, duration_max) = params.durations()?;
    Ok(SpanFilter {
        start: params.time_range()?,
        services: params.services(),
        operation: params.owned("operation"),
        kind: params.kind()?,
        status: params.status()?,
        duration_min,
        duration_max,
        attributes: params.attributes()?,
        ..SpanFilter::default()
    })
}

/// Returns the query for spans, which excludes [`SPAN_FILTERS`].
pub(super) fn span_query(params: &Params) -> Result<Option<String>, QueryError> {
    let query = params.owned(SPAN_QUERY.name);
    let mut filters = SPAN_FILTERS.iter().map(|filter| filter.name);
    match filters.find(|name| query.is_some() && params.text(name).is_some()) {
        Some(filter) => {
            let reason = format!("`{filter}` does not go with `q`: say it in the query");
            Err(QueryError::parameter(filter, reason))
        }
        None => Ok(query),
    }
}

/// Returns the selection in the `select…` parameters.
pub(super) fn selection(params: &Params) -> Result<Selection, QueryError> {
    let params = params.named("select");
    let filter = span_filter(&params).map_err(of_selection)?;
    Ok(Selection {
        start: filter.start,
        duration_min: filter.duration_min,
        duration_max: filter.duration_max,
        services: filter.services,
        operation: filter.operation,
        kind: filter.kind,
        status: filter.status,
        attributes: filter.attributes,
    })
}

/// Renames the parameter of an error, such as `kind` to `selectKind`.
fn of_selection(error: QueryError) -> QueryError {
    match error {
        QueryError::Parameter { name, reason } if !name.is_empty() => {
            let (first, rest) = name.split_at(1);
            let given = format!("select{}{rest}", first.to_ascii_uppercase());
            let reason = reason.replace(&format!("`{name}`"), &format!("`{given}`"));
            QueryError::Parameter { name: given, reason }
        }
        error => error,
    }
}

/// The time range of `baselineStart` and `baselineEnd` that the window is compared with, when it is
/// given.
pub(super) fn baseline_times(
    params: &Params,
) -> Result<Option<(UnixNanos, UnixNanos)>, QueryError> {
    match (params.moment("baselineStart")?, params.moment("baselineEnd")?) {
        (None, None) => Ok(None),
        (Some(start), Some(end)) if start < end => Ok(Some((start, end))),
        (Some(_), Some(_)) => Err(QueryError::parameter(
            "baselineEnd",
            "`baselineEnd` must be later than `baselineStart`",
        )),
        (Some(_), None) => {
            Err(QueryError::parameter("baselineEnd", "`baselineStart` needs `baselineEnd`"))
        }
        (None, Some(_)) => {
            Err(QueryError::parameter("baselineStart", "`baselineEnd` needs `baselineStart`"))
        }
    }
}
