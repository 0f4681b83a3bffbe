//! Jaeger's parameters: their names, units, defaults and errors.

use std::{collections::BTreeMap, time::Duration};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use tidings_proto::{DurationNanos, TraceId, UnixNanos, otlp::SpanKind};
use tidings_storage::TimeRange;

use crate::{
    jaeger::{
        find_traces::JaegerSearch,
        span_metrics::{MetricKind, MetricsSearch},
    },
    params::{go, raw::RawParameters},
    prometheus::EvaluationTimes as Times,
};

/// Maximum number of traces in an answer, whatever the client requests.
pub(super) const LIMIT_MAX: usize = 10_000;
const LIMIT_DEFAULT: usize = 100;
const SEARCH_LOOKBACK: Duration = Duration::from_secs(2 * 24 * 3_600);
const DEPENDENCIES_LOOKBACK: Duration = Duration::from_secs(24 * 3_600);
const MICRO: i64 = 1_000;
const MILLI: i64 = 1_000_000;

/// Error message for a malformed request, in Jaeger's wording.
pub(super) type ParameterError = String;

fn unreadable(name: &str, error: &str) -> ParameterError {
    format!("unable to parse param '{name}': {error}")
}

/// Parses a flag; false when it is not given.
pub(super) fn truth(given: &RawParameters, name: &str) -> Result<bool, ParameterError> {
    let text = given.text(name).map(go::boolean).transpose();
    text.map(Option::unwrap_or_default).map_err(|error| unreadable(name, &error))
}

/// Reports whether indented JSON is requested.
pub(super) fn pretty(given: &RawParameters) -> bool {
    given.text("prettyPrint").is_some_and(|text| text != "false")
}

/// Parses a count of units of `unit` nanoseconds each.
fn units(given: &RawParameters, name: &str, unit: i64) -> Result<Option<i64>, ParameterError> {
    let number = given.text(name).map(go::integer).transpose();
    let number = number.map_err(|error| unreadable(name, &error))?;
    Ok(number.map(|number| number.saturating_mul(unit)))
}

fn since_1970(nanos: i64) -> UnixNanos {
    UnixNanos(u64::try_from(nanos).unwrap_or_default())
}

/// Returns the range with both ends included, as Jaeger's v1 reads it. A range that ends before 1970
/// is empty.
fn range(start: i64, end: i64) -> TimeRange {
    let after = end.saturating_add(1);
    TimeRange { start: Some(since_1970(start)), end: Some(since_1970(after)) }
}

fn nanos(now: UnixNanos) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX)
}

fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Checks `start` and `end` of one trace. They are hints that only must be well formed.
pub(super) fn check_hints(given: &RawParameters) -> Result<(), ParameterError> {
    units(given, "start", MICRO)?;
    units(given, "end", MICRO).map(|_| ())
}

/// Parses a trace id of up to 32 hex digits or in base64. `None` is the id 0, which no trace has.
pub(super) fn trace_id(text: &str) -> Result<Option<TraceId>, ParameterError> {
    let hex = |digits: &str| -> Result<u64, ParameterError> {
        let parsed = match digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => u64::from_str_radix(digits, 16).ok(),
            false => None,
        };
        parsed.ok_or_else(|| format!("strconv.ParseUint: parsing {digits:?}: invalid syntax"))
    };
    let parse = || -> Result<[u8; 16], ParameterError> {
        if text.len() > 32 {
            return Err(format!("TraceID cannot be longer than 32 hex characters: {text}"));
        }
        let (high, low) =
            text.split_at_checked(text.len().saturating_sub(16)).unwrap_or(("", text));
        let high = if high.is_empty() { 0 } else { hex(high)? };
        Ok((u128::from(high) << 64 | u128::from(hex(low)?)).to_be_bytes())
    };
    parse().or_else(|wrong| from_base64(text).ok_or(wrong)).map(TraceId::from_bytes)
}

fn from_base64(text: &str) -> Option<[u8; 16]> {
    const ANY: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [&STANDARD, &URL_SAFE].map(|alphabet| GeneralPurpose::new(alphabet, ANY));
    let bytes = alphabets.iter().find_map(|alphabet| alphabet.decode(text).ok())?;
    match bytes.len() {
        16 => bytes.try_into().ok(),
        8 => [vec![0; 8], bytes].concat().try_into().ok(),
        _ => None,
    }
}

/// Request of v1's search.
pub(super) enum V1Search {
    Traces(Vec<TraceId>),
    Search(Box<JaegerSearch>),
}

/// The parameters of v1's search.
pub(super) fn search(given: &RawParameters, now: UnixNanos) -> Result<V1Search, ParameterError> {
    let now = nanos(now);
    let start = units(given, "start", MICRO)?;
    let start = start.unwrap_or_else(|| now.saturating_sub(nanos_of(SEARCH_LOOKBACK)));
    let end = units(given, "end", MICRO)?.unwrap_or(now);
    let tags = tags(given)?;
    let limit = given.text("limit").map(go::integer).transpose()?;
    if limit.is_some_and(|limit| i32::try_from(limit).is_err()) {
        let text = given.text("limit").unwrap_or_default();
        return Err(format!("strconv.ParseInt: parsing {text:?}: value out of range"));
    }
    let duration = |name| {
        let text = given.text(name).map(go::duration).transpose();
        text.map(Option::unwrap_or_default).map_err(|error| unreadable(name, &error))
    };
    let (min, max) = (duration("minDuration")?, duration("maxDuration")?);
    let ids: Vec<TraceId> = given
        .texts("traceID")
        .map(trace_id)
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot parse traceID param: {error}"))?;
    let service = given.text("service");
    if given.texts("traceID").next().is_none() && service.is_none() {
        return Err("parameter 'service' is required".to_owned());
    }
    if limit.is_some_and(|limit| limit <= 0) {
        return Err("invalid parameter: limit must be greater than 0".to_owned());
    }
    if start > end {
        return Err("invalid parameter: start time must be before end time".to_owned());
    }
    if min != 0 && max != 0 && max < min {
        return Err("'maxDuration' should be greater than 'minDuration'".to_owned());
    }
    if given.texts("traceID").next().is_some() {
        return Ok(V1Search::Traces(ids));
    }
    let (duration_min, duration_max) = durations(min, max);
    Ok(V1Search::Search(Box::new(JaegerSearch {
        service: service.map(str::to_owned),
        operation: given.text("operation").map(str::to_owned),
        tags,
        start: range(start, end),
        duration_min,
        duration_max,
        limit: limit_of(limit),
    })))
}

fn limit_of(limit: Option<i64>) -> usize {
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(LIMIT_MAX));
    limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX)
}

/// Parses the bounds of durations. 0 is no bound. No span is shorter than a negative maximum.
fn durations(min: i64, max: i64) -> (Option<DurationNanos>, Option<DurationNanos>) {
    let bound = |nanos: i64| DurationNanos(u64::try_from(nanos).unwrap_or_default());
    ((min > 0).then(|| bound(min)), (max != 0).then(|| bound(max)))
}

/// `tag=key:value` and `tags={"key":"value"}`, both repeatable.
fn tags(given: &RawParameters) -> Result<BTreeMap<String, String>, ParameterError> {
    let mut tags = BTreeMap::new();
    for tag in given.texts("tag") {
        let Some((key, value)) = tag.split_once(':') else {
            return Err(format!("malformed 'tag' parameter, expecting key:value, received: {tag}"));
        };
        tags.insert(key.to_owned(), value.to_owned());
    }
    // An empty value is not JSON, and Jaeger refuses it too.
    for text in given.texts("tags") {
        let more = json_tags(text).map_err(|error| {
            format!("malformed 'tags' parameter, cannot unmarshal JSON: {error}")
        })?;
        tags.extend(more);
    }
    Ok(tags)
}

fn json_tags(text: &str) -> Result<BTreeMap<String, String>, String> {
    let tags: Option<BTreeMap<String, Option<String>>> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let tags = tags.unwrap_or_default().into_iter();
    Ok(tags.map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// `endTs` and `lookback` of v1's dependencies, in milliseconds.
pub(super) fn dependencies(
    given: &RawParameters,
    now: UnixNanos,
) -> Result<TimeRange, ParameterError> {
    let end = units(given, "endTs", MILLI)?.unwrap_or_else(|| nanos(now));
    let lookback = units(given, "lookback", MILLI)?;
    let lookback = lookback.unwrap_or_else(|| nanos_of(DEPENDENCIES_LOOKBACK));
    Ok(range(end.saturating_sub(lookback), end))
}

/// Maximum number of points of v1's metrics.
const POINTS_MAX: i64 = 11_000;

/// The parameters of v1's metrics.
pub(super) fn metrics(
    given: &RawParameters,
    which: &str,
    now: UnixNanos,
) -> Result<MetricsSearch, ParameterError> {
    let which = match which {
        "latencies" => {
            let quantile = go::float(given.text("quantile").unwrap_or_default());
            MetricKind::Latencies(quantile.map_err(|error| unreadable("quantile", &error))?)
        }
        "calls" => MetricKind::Calls,
        _ => MetricKind::Errors,
    };
    let services: Vec<String> = given.texts("service").map(str::to_owned).collect();
    if services.is_empty() {
        return Err(unreadable("service", "please provide at least one service name"));
    }
    let by_operation = truth(given, "groupByOperation")?;
    let mut kinds = Vec::new();
    for word in given.texts("spanKind") {
        let unsupported = || unreadable("spanKind", &format!("unsupported span kind: '{word}'"));
        kinds.push(SpanKind::from_word(word).ok_or_else(unsupported)?);
    }
    if kinds.is_empty() {
        kinds.push(SpanKind::Server);
    }
    let kinds = kinds.into_iter().map(|kind| kind.otlp_name().to_owned());
    let millis = |name: &str, default: i64| {
        let given = units(given, name, MILLI)?.map(|nanos| nanos / MILLI);
        Ok::<i64, ParameterError>(given.unwrap_or(default))
    };
    let end_ms = millis("endTs", nanos(now) / MILLI)?;
    let start_ms = end_ms.saturating_sub(millis("lookback", 3_600_000)?);
    let (step_ms, rate_ms) = (millis("step", 5_000)?, millis("ratePer", 600_000)?);
    if step_ms <= 0 || rate_ms <= 0 || start_ms > end_ms {
        return Err("lookback, step and ratePer must be greater than 0".to_owned());
    }
    if (end_ms - start_ms) / step_ms > POINTS_MAX {
        return Err(unreadable("step", &format!("there may be {POINTS_MAX} points")));
    }
    let asked = Times { start_ms, end_ms, step_ms, lookback_ms: 0 };
    Ok(MetricsSearch { which, services, kinds: kinds.collect(), by_operation, asked, rate_ms })
}

fn malformed(name: &str, error: &str) -> ParameterError {
    format!("malformed parameter {name}: {error}")
}

/// Parses a time of v3.
fn time(given: &RawParameters, names: &[&str]) -> Result<Option<UnixNanos>, ParameterError> {
    let Some((name, text)) = given.either(names) else { return Ok(None) };
    // A plus sign that was not encoded arrives as a blank.
    let mended = text.replacen(' ', "+", 1);
    let time = crate::params::rfc_3339(&mended);
    time.map(Some).ok_or_else(|| malformed(name, &format!("{text:?} is no RFC 3339 time")))
}

/// Reports whether a v3 trace is requested as stored. Fails when its time hints are malformed.
pub(super) fn v3_trace(given: &RawParameters) -> Result<bool, ParameterError> {
    time(given, &["startTime", "start_time"])?;
    time(given, &["endTime", "end_time"])?;
    v3_truth(given, &["rawTraces", "raw_traces"])
}

fn v3_truth(given: &RawParameters, names: &[&str]) -> Result<bool, ParameterError> {
    let Some((name, text)) = given.either(names) else { return Ok(false) };
    go::boolean(text).map_err(|error| malformed(name, &error))
}

fn required_range(
    given: &RawParameters,
    start: &[&str],
    end: &[&str],
) -> Result<TimeRange, ParameterError> {
    let (Some(from), Some(to)) = (time(given, start)?, time(given, end)?) else {
        let names = [start, end].map(|names| names.first().copied().unwrap_or_default());
        return Err(format!("{} and {} are required", names[0], names[1]));
    };
    if from >= to {
        let names = [start, end].map(|names| names.first().copied().unwrap_or_default());
        return Err(format!("{} must be before {}", names[0], names[1]));
    }
    Ok(TimeRange { start: Some(from), end: Some(to) })
}

/// The parameters of v3's search. The flag is true when traces are requested as stored.
pub(super) fn v3_search(given: &RawParameters) -> Result<(JaegerSearch, bool), ParameterError> {
    if given.text("query.filter").is_some() {
        let error = "structured filters are not enabled; use query.attributes";
        return Err(malformed("query.filter", error));
    }
    let start = required_range(
        given,
        &["query.startTimeMin", "query.start_time_min"],
        &["query.startTimeMax", "query.start_time_max"],
    )?;
    let depth = given.either(&["query.searchDepth", "query.search_depth", "query.num_traces"]);
    let depth = depth.map(|(name, text)| {
        let number = go::integer(text).map_err(|error| malformed(name, &error))?;
        match u32::try_from(number) {
            Ok(number) => Ok(i64::from(number)),
            Err(_) => Err(malformed(name, "it must be from 0 to 4294967295")),
        }
    });
    let depth = depth.transpose()?.filter(|depth| *depth > 0);
    let duration = |names: &[&str]| {
        let Some((name, text)) = given.either(names) else { return Ok(0) };
        go::duration(text).map_err(|error| malformed(name, &error))
    };
    let min = duration(&["query.durationMin", "query.duration_min"])?;
    let max = duration(&["query.durationMax", "query.duration_max"])?;
    if min != 0 && max != 0 && max < min {
        return Err("query.durationMax must not be less than query.durationMin".to_owned());
    }
    let attributes = given.text("query.attributes").map(json_tags).transpose();
    let tags = attributes.map_err(|error| malformed("query.attributes", &error))?;
    let text = |names: &[&str]| given.either(names).map(|(_, text)| text.to_owned());
    let (duration_min, duration_max) = durations(min, max);
    let search = JaegerSearch {
        service: text(&["query.serviceName", "query.service_name"]),
        operation: text(&["query.operationName", "query.operation_name"]),
        tags: tags.unwrap_or_default(),
        start,
        duration_min,
        duration_max,
        limit: limit_of(depth),
    };
    Ok((search, v3_truth(given, &["query.rawTraces", "query.raw_traces"])?))
}

/// The range of v3's dependencies.
pub(super) fn v3_dependencies(given: &RawParameters) -> Result<TimeRange, ParameterError> {
    required_range(given, &["startTime", "start_time"], &["endTime", "end_time"])
}
