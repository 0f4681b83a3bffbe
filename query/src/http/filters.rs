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

use crate::{QueryError, params::Params};

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
