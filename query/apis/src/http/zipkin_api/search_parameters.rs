//! Zipkin's parameters: names, units, defaults and errors.

use std::collections::HashSet;

use tidings_proto::{TraceId, UnixNanos};
use tidings_storage::TimeRange;

use super::responses::ZipkinError;
use crate::{
    params::raw::RawParameters,
    zipkin::request::{Request, terms},
};

/// Default number of traces.
pub(super) const LIMIT_DEFAULT: u64 = 10;
const LIMIT_MAX: u64 = 10_000;
const LOOKBACK_MILLIS: u64 = 86_400_000;
/// Maximum number of ids in one request.
const IDS_MAX: usize = 1_000;

/// Error message for a malformed request, in Zipkin's wording.
pub(super) type ParameterError = String;

/// Returns a parameter that must be given, though it may be empty.
pub(super) fn required(given: &RawParameters, name: &str) -> Result<String, ZipkinError> {
    let value = given.texts(name).next().map(str::to_owned);
    value.ok_or_else(|| ZipkinError::invalid(format!("Mandatory parameter {name} is missing")))
}

/// Parses a whole number, which may be negative.
fn number(given: &RawParameters, name: &str) -> Result<Option<i64>, ParameterError> {
    let Some(text) = given.texts(name).next() else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("Can't convert {text:?} of {name} to a number"))
}

/// Parses a whole number above 0.
fn positive(given: &RawParameters, name: &str) -> Result<Option<u64>, ParameterError> {
    let Some(number) = number(given, name)? else { return Ok(None) };
    let positive = u64::try_from(number).ok().filter(|number| *number > 0);
    positive.map(Some).ok_or_else(|| format!("{name} <= 0"))
}

/// Parses the search request.
pub(super) fn request(given: &RawParameters, now: UnixNanos) -> Result<Request, ParameterError> {
    let lower = |name: &str| given.text(name).map(str::to_lowercase);
    let end_millis = positive(given, "endTs")?.unwrap_or(now.0 / 1_000_000);
    let limit = positive(given, "limit")?.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let lookback_millis = positive(given, "lookback")?.unwrap_or(LOOKBACK_MILLIS);
    let duration_min = positive(given, "minDuration")?;
    let duration_max = number(given, "maxDuration")?;
    match (duration_min, duration_max) {
        (None, Some(_)) => return Err("maxDuration is only valid with minDuration".to_owned()),
        (Some(min), Some(max)) if i128::from(max) < i128::from(min) => {
            return Err("maxDuration < minDuration".to_owned());
        }
        _ => {}
    }
    Ok(Request {
        service: lower("serviceName"),
        remote_service: lower("remoteServiceName"),
        span_name: lower("spanName").filter(|name| name != "all"),
        terms: terms(given.text("annotationQuery").unwrap_or_default()),
        duration_min,
        duration_max: duration_max.map(|max| u64::try_from(max).unwrap_or_default()),
        end_millis,
        lookback_millis,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    })
}

/// Parses a trace id of up to 32 hex digits in lower case.
pub(super) fn trace_id(text: &str) -> Result<TraceId, ParameterError> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.is_empty() {
        return Err("traceId is empty".to_owned());
    }
    if text.len() > 32 {
        return Err("traceId.length > 32".to_owned());
    }
    if !text.bytes().all(is_hex) {
        return Err(format!("{text} should be lower-hex encoded with no prefix"));
    }
    TraceId::from_short_hex(text).map_err(|_| "traceId is all zeros".to_owned())
}

/// Parses two or more different ids.
pub(super) fn trace_ids(given: &RawParameters) -> Result<Vec<TraceId>, ParameterError> {
    let Some(text) = given.text("traceIds") else {
        return Err("traceIds parameter is empty".to_owned());
    };
    let mut met = HashSet::new();
    let mut ids = Vec::new();
    for text in text.splitn(IDS_MAX, ',') {
        let id = trace_id(text)?;
        if !met.insert(id) {
            return Err(format!("redundant traceId: {text}"));
        }
        ids.push(id);
    }
    if ids.len() == 1 {
        let advice = "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace";
        return Err(advice.to_owned());
    }
    Ok(ids)
}

/// Parses `endTs` and `lookback`.
pub(super) fn dependencies(given: &RawParameters) -> Result<TimeRange, ParameterError> {
    let Some(end) = positive(given, "endTs")? else {
        return Err("Mandatory parameter endTs is missing".to_owned());
    };
    let lookback = positive(given, "lookback")?.unwrap_or(LOOKBACK_MILLIS);
    let nanos =
        |millis: u64| UnixNanos(millis.saturating_mul(1_000_000).min(i64::MAX.unsigned_abs()));
    let start = nanos(end.saturating_sub(lookback));
    // The last millisecond is included to its end.
    Ok(TimeRange { start: Some(start), end: Some(nanos(end.saturating_add(1))) })
}
