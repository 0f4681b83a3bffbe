//! Strict reading of query parameters: every one must be known, given as often as allowed and
//! well formed, or the answer names it.
//!
//! Owns the text forms of durations, times and the like. Which parameters an endpoint has is said
//! once, in its OpenAPI operation: [`Params::read`] takes the names from there.

pub(crate) mod escapes;
pub(crate) mod given;
pub(crate) mod go;
mod text;

use std::time::Duration;

use ::http::Uri;
use axum::extract::Query;
use tidings_proto::{
    DurationNanos, UnixNanos,
    otlp::{Severity, SpanKind, StatusCode},
};
use tidings_storage::{AttributeFilter, TimeRange};
use utoipa::openapi::{RefOr, path::ParameterIn};

use crate::{Above, ClockView, QueryError, TraceName, Wanted, params::escapes::unescaped};

/// What a time looks like.
const TIME_FORM: &str = "nanoseconds since 1970 or RFC 3339, as 2026-11-20T08:00:00Z";
/// The longest value of any parameter, in bytes.
const VALUE_BYTES_MAX: usize = 4_096;
/// The longest wait for a version: less than what proxies give a request.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The shortest step.
const STEP_MIN: DurationNanos = DurationNanos(1_000_000);
/// How often a repeatable parameter may be given.
const REPEATS_MAX: usize = 32;

/// The query parameters of one request.
#[derive(Debug)]
pub(crate) struct Params {
    given: Vec<(String, String)>,
}

impl Params {
    /// The parameters of a request to this operation.
    ///
    /// # Errors
    /// When one is not among the operation's, is too long or too frequent.
    pub(crate) fn read<P: utoipa::Path>(uri: &Uri) -> Result<Self, QueryError> {
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|broken| QueryError::parameter("", broken.body_text()))?;
        well_encoded(uri.query().unwrap_or_default())?;
        let parameters = P::operation().parameters.unwrap_or_default();
        let known = parameters.iter().filter_map(|known| match known {
            RefOr::T(known) if matches!(known.parameter_in, ParameterIn::Query) => {
                Some(known.name.as_str())
            }
            _ => None,
        });
        let known: Vec<&str> = known.collect();
        for (name, value) in &given {
            if !known.contains(&name.as_str()) {
                return Err(QueryError::parameter(name, unknown(name, &known)));
            }
            if value.len() > VALUE_BYTES_MAX {
                let reason = format!("`{name}` is longer than {VALUE_BYTES_MAX} bytes");
                return Err(QueryError::parameter(name, reason));
            }
            if given.iter().filter(|(other, _)| other == name).count() > REPEATS_MAX {
                let reason = format!("`{name}` is given more than {REPEATS_MAX} times");
                return Err(QueryError::parameter(name, reason));
            }
        }
        Ok(Self { given })
    }

    /// The parameters whose names begin so, under the rest of their names (`selectKind` is `kind`).
    /// What is wrong with them is then said of the rest of the name.
    pub(crate) fn named(&self, prefix: &str) -> Self {
        let given = self.given.iter().filter_map(|(name, value)| {
            let rest = name.strip_prefix(prefix)?;
            let first = rest.get(..1)?.to_ascii_lowercase();
            Some((first + &rest[1..], value.clone()))
        });
        Self { given: given.collect() }
    }

    /// The value of a parameter that may be given once; an empty one is as good as none.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, QueryError> {
        let mut values = self.given.iter().filter(|(given, _)| given == name);
        let value = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(QueryError::parameter(name, format!("`{name}` may be given only once")));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The values of a parameter that may be repeated.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        let values = self.given.iter().filter(|(given, _)| given == name);
        values.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()).collect()
    }

    /// The value of a parameter that must be given.
    pub(crate) fn required(&self, name: &str) -> Result<&str, QueryError> {
        let reason = || QueryError::parameter(name, format!("`{name}` must be given"));
        self.text(name)?.ok_or_else(reason)
    }

    /// The value as `parse` reads it; `form` says what is expected.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QueryError> {
        let Some(value) = self.text(name)? else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| malformed(name, value, form))
    }

    /// A page size.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, QueryError> {
        let form = format!("an integer from 1 to {max}");
        let in_range = |value: &str| value.parse().ok().filter(|limit| (1..=max).contains(limit));
        Ok(self.parsed("limit", &form, in_range)?.unwrap_or(default))
    }

    /// A moment of this name.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<UnixNanos>, QueryError> {
        self.parsed(name, TIME_FORM, text::time)
    }

    /// `start` and `end`.
    pub(crate) fn time_range(&self) -> Result<TimeRange, QueryError> {
        let range = TimeRange { start: self.moment("start")?, end: self.moment("end")? };
        match (range.start, range.end) {
            (Some(start), Some(end)) if start >= end => {
                Err(QueryError::parameter("end", "`end` must be later than `start`"))
            }
            _ => Ok(range),
        }
    }

    /// `minDuration` and `maxDuration`.
    pub(crate) fn durations(
        &self,
    ) -> Result<(Option<DurationNanos>, Option<DurationNanos>), QueryError> {
        let form = "a duration, as 250ms, 1.5s, 10us, 2m, or an integer of nanoseconds";
        let duration = |name| self.parsed(name, form, text::duration);
        match (duration("minDuration")?, duration("maxDuration")?) {
            (Some(min), Some(max)) if min > max => {
                let reason = "`maxDuration` must not be less than `minDuration`";
                Err(QueryError::parameter("maxDuration", reason))
            }
            range => Ok(range),
        }
    }

    /// `after` and `wait`.
    pub(crate) fn wanted(&self) -> Result<Wanted, QueryError> {
        let form = format!("a duration of at most {} s, as 20s or 500ms", WAIT_MAX.as_secs());
        let in_range = |value: &str| {
            let wait = Duration::from_nanos(text::duration(value)?.0);
            (wait <= WAIT_MAX).then_some(wait)
        };
        let wait = self.parsed("wait", &form, in_range)?.unwrap_or_default();
        Ok(Wanted { after: self.text("after")?.map(str::to_owned), wait })
    }

    /// `step`.
    pub(crate) fn step(&self) -> Result<Option<DurationNanos>, QueryError> {
        let form = "a duration of at least 1ms, as 1m or 500ms";
        let long_enough = |value: &str| text::duration(value).filter(|step| *step >= STEP_MIN);
        self.parsed("step", form, long_enough)
    }

    /// `above`: a percentile or a duration.
    pub(crate) fn above(&self) -> Result<Above, QueryError> {
        let form = "a percentile from p1 to p100, or a duration, as 250ms";
        let above = |value: &str| match value.strip_prefix('p') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
                percent.map(Above::Percentile)
            }
            None => text::duration(value).map(Above::Duration),
        };
        Ok(self.parsed("above", form, above)?.unwrap_or_default())
    }

    /// `adjust`.
    pub(crate) fn clocks(&self) -> Result<ClockView, QueryError> {
        let clock = |value: &str| (value == "clock").then_some(ClockView::Adjusted);
        Ok(self.parsed("adjust", "`clock`", clock)?.unwrap_or_default())
    }

    /// `kind`.
    pub(crate) fn kind(&self) -> Result<Option<SpanKind>, QueryError> {
        let form = "one of unspecified, internal, server, client, producer, consumer";
        self.parsed("kind", form, text::kind)
    }

    /// `status`.
    pub(crate) fn status(&self) -> Result<Option<StatusCode>, QueryError> {
        self.parsed("status", "one of unset, ok, error", text::status)
    }

    /// `severity`.
    pub(crate) fn severity(&self) -> Result<Option<Severity>, QueryError> {
        let form = "one of trace, debug, info, warn, error, fatal, or a number from 1 to 24";
        self.parsed("severity", form, text::severity)
    }

    /// `attribute`, repeated: each `key=value` or a bare `key`.
    pub(crate) fn attributes(&self) -> Result<Vec<AttributeFilter>, QueryError> {
        let form = "key=value, or a key alone";
        let values = self.texts("attribute").into_iter();
        values
            .map(|value| text::attribute(value).ok_or_else(|| malformed("attribute", value, form)))
            .collect()
    }
}

/// The time of a text as `2026-11-20T08:00:00Z`.
pub(crate) fn rfc_3339(text: &str) -> Option<UnixNanos> {
    (!text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text::time(text)).flatten()
}

/// The trace named in a path.
pub(crate) fn trace_in_path(value: &str) -> Result<TraceName, QueryError> {
    let form = "a trace id of 32 hex digits, or its last 16";
    text::trace_name(value).ok_or_else(|| malformed("traceId", value, form))
}

/// A parameter whose text has not the form it should have.
pub(crate) fn malformed(name: &str, value: &str, form: &str) -> QueryError {
    const SHOWN_CHARS: usize = 80;
    let mut shown: String = value.chars().take(SHOWN_CHARS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    QueryError::parameter(name, format!("`{name}` must be {form}; got `{shown}`"))
}

fn unknown(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("`{name}` is not a parameter here: there are none");
    }
    format!("`{name}` is not a parameter here; there are {}", known.join(", "))
}

/// Refuses what would otherwise be replaced and searched for: a `%` without two hex digits after
/// it, and bytes that are no UTF-8.
fn well_encoded(query: &str) -> Result<(), QueryError> {
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        for text in [name, value] {
            let reason = match unescaped(text) {
                (_, false) => "has a `%` without two hexadecimal digits after it",
                (bytes, true) if std::str::from_utf8(&bytes).is_err() => "is not UTF-8",
                (_, true) => continue,
            };
            return Err(QueryError::parameter(name, format!("`{name}` {reason}")));
        }
    }
    Ok(())
}
