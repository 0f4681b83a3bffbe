//! The parameters that questions about many spans have in common.
//!
//! Owns their list and how they make a filter, so that every such resource filters alike.

use tidings_storage::SpanFilter;
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ArrayBuilder, ObjectBuilder, Schema, Type},
    },
};

use crate::{QueryError, analysis::Selection, params::Params};

/// The filters of spans: name, whether it may be repeated, description.
const SPAN_FILTERS: [(&str, bool, &str); 7] = [
    ("service", true, "`service.name`; repeat it for any of several"),
    ("operation", false, "The span's name, whole"),
    (
        "attribute",
        true,
        "`key=value`, or a bare `key` for any value; on the span, its events, its scope or its resource; repeat it for all of several",
    ),
    ("status", false, "`ok`, `error` or `unset`"),
    ("kind", false, "`internal`, `server`, `client`, `producer`, `consumer` or `unspecified`"),
    (
        "minDuration",
        false,
        "The span took at least this long: `250ms`, `1.5s`, `10us`, `2m`, or nanoseconds",
    ),
    ("maxDuration", false, "The span took at most this long"),
];

/// The window.
const WINDOW: [(&str, bool, &str); 2] = [
    (
        "start",
        false,
        "At this time or later: Unix nanoseconds or RFC 3339; 24 hours before the end when not given",
    ),
    ("end", false, "Before this time; the end of the data when neither is given, else now"),
];

/// The window's steps.
const STEP: [(&str, bool, &str); 1] = [(
    "step",
    false,
    "The length of a step, as `1m` or `500ms`; at most 1,000 steps; one that gives at most 60 when not given",
)];

/// The filters of log records.
const LOG_FILTERS: [(&str, bool, &str); 6] = [
    ("traceId", false, "The record's trace: 32 hex digits, or 16 for an id of 8 bytes"),
    ("spanId", false, "The record's span: 16 hex digits"),
    ("service", true, "`service.name`; repeat it for any of several"),
    (
        "severity",
        false,
        "At least this severe: `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or a number from 1 to 24",
    ),
    ("text", false, "The message contains this; the case of ASCII letters is ignored"),
    ("attribute", true, "`key=value`, or a bare `key` for any value; repeat it for all of several"),
];

/// The filters of log records.
#[derive(Debug)]
pub(super) struct LogFilters;

impl IntoParams for LogFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        LOG_FILTERS.iter().map(parameter).collect()
    }
}

/// The filters of log records and the window.
#[derive(Debug)]
pub(super) struct LogSelection;

impl IntoParams for LogSelection {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        LOG_FILTERS.iter().chain(&WINDOW).map(parameter).collect()
    }
}

/// Which of the spans are selected.
const SELECTED: [(&str, bool, &str); 9] = [
    ("selectService", true, "Selected are spans of this service; repeat it for any of several"),
    ("selectOperation", false, "Selected are spans of this name"),
    (
        "selectAttribute",
        true,
        "Selected are spans with this attribute, on the span or its resource; repeat it for all of several",
    ),
    ("selectStatus", false, "Selected are spans that ended so: `ok`, `error` or `unset`"),
    ("selectKind", false, "Selected are spans of this kind"),
    ("selectMinDuration", false, "Selected are spans that took at least so long"),
    ("selectMaxDuration", false, "Selected are spans that took at most so long"),
    ("selectStart", false, "Selected are spans that start at this time or later"),
    ("selectEnd", false, "Selected are spans that start before this time"),
];

/// Which of the spans are selected.
#[derive(Debug)]
pub(super) struct SelectedSpans;

impl IntoParams for SelectedSpans {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        SELECTED.iter().map(parameter).collect()
    }
}

/// The filters of spans and the window.
#[derive(Debug)]
pub(super) struct SpanSelection;

/// The window alone.
#[derive(Debug)]
pub(super) struct InWindow;

/// The window's steps.
#[derive(Debug)]
pub(super) struct InSteps;

impl IntoParams for SpanSelection {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        SPAN_FILTERS.iter().chain(&WINDOW).map(parameter).collect()
    }
}

impl IntoParams for InWindow {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        WINDOW.iter().map(parameter).collect()
    }
}

impl IntoParams for InSteps {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        STEP.iter().map(parameter).collect()
    }
}

fn parameter((name, repeated, description): &(&str, bool, &str)) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let schema: Schema = match repeated {
        true => ArrayBuilder::new().items(text).into(),
        false => text.into(),
    };
    ParameterBuilder::new()
        .name(*name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(*description))
        .schema(Some(schema))
        .build()
}

/// The spans that the parameters select.
pub(super) fn span_filter(params: &Params) -> Result<SpanFilter, QueryError> {
    let services: Vec<String> = params.texts("service").into_iter().map(str::to_owned).collect();
    let (duration_min, duration_max) = params.durations()?;
    Ok(SpanFilter {
        start: params.time_range()?,
        services: (!services.is_empty()).then_some(services),
        operation: params.text("operation")?.map(str::to_owned),
        kind: params.kind()?,
        status: params.status()?,
        duration_min,
        duration_max,
        attributes: params.attributes()?,
        ..SpanFilter::default()
    })
}

/// The spans that the `select…` parameters select of the others.
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

/// The error about `kind` as one about `selectKind`.
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
