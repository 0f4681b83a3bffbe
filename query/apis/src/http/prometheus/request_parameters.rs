//! The parameters of Prometheus's API, from the URL and from a form in the body.

use ::http::Uri;
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use std::time::Duration;

use tidings_pattern::Patterns;
use tidings_promql::{
    Expression,
    number::{duration_of, millis},
    parse, parse_with,
};
use tidings_proto::UnixNanos;
use tidings_query::QueryError;
use tidings_storage::TimeRange;

use super::api_response::PrometheusError;
use crate::{
    params::{
        raw::{RawParameters, is_form},
        rfc_3339,
    },
    prometheus::series::SeriesSearch,
};

/// Maximum size of a form, in bytes.
pub(super) const FORM_BYTES_MAX: usize = 32 << 10;
/// Default time for which a series continues after its last call. It is the time for which Tempo
/// continues to report a series.
const LOOKBACK_MS: i64 = 900_000;
/// Default and maximum number of names in a list.
const LIMIT_MAX: usize = 100_000;

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct PrometheusParams(RawParameters);

impl<S: Send + Sync> FromRequest<S> for PrometheusParams {
    type Rejection = PrometheusError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PrometheusError> {
        let broken = |error: QueryError| PrometheusError::bad_data(error.to_string());
        let uri = request.uri().clone();
        if !is_form(request.headers()) {
            return RawParameters::read(&uri).map(Self).map_err(broken);
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejected| PrometheusError::bad_data(rejected.body_text()))?;
        // A form is written like a query. The first value of a parameter counts, so the body comes
        // first.
        let mut both = b"/?".to_vec();
        both.extend_from_slice(&body);
        both.push(b'&');
        both.extend_from_slice(uri.query().unwrap_or_default().as_bytes());
        let both = Uri::try_from(both).map_err(|_| {
            PrometheusError::bad_data("the form is not encoded as a form".to_owned())
        })?;
        RawParameters::read(&both).map(Self).map_err(broken)
    }
}

impl PrometheusParams {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.text(name)
    }

    /// The query.
    pub(super) fn query(&self) -> String {
        self.text("query").unwrap_or_default().to_owned()
    }

    /// Parses a time in milliseconds: seconds since 1970, with a fraction, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, PrometheusError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        let time = match number {
            Some(seconds) => millis(seconds),
            None => rfc_3339(text).map(millis_of),
        };
        let reason = || format!("cannot parse {text:?} to a valid timestamp");
        time.map(Some).ok_or_else(|| bad(name, &reason()))
    }

    /// Parses a duration in milliseconds: seconds, with a fraction, or a text such as `1h30m`.
    fn duration(&self, name: &str) -> Result<Option<i64>, PrometheusError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = text.parse().ok().and_then(millis);
        let reason = || format!("cannot parse {text:?} to a valid duration");
        let given = seconds.or_else(|| duration_of(text));
        given.map(Some).ok_or_else(|| bad(name, &reason()))
    }

    pub(super) fn step(&self) -> Result<i64, PrometheusError> {
        let step = self.duration("step")?.ok_or_else(|| bad("step", "it is missing"))?;
        if step <= 0 {
            let reason = "zero or negative query resolution step widths are not accepted. Try a \
                          positive integer";
            return Err(bad("step", reason));
        }
        Ok(step)
    }

    pub(super) fn lookback(&self) -> Result<i64, PrometheusError> {
        let given = self.duration("lookback_delta")?.filter(|given| *given > 0);
        Ok(given.unwrap_or(LOOKBACK_MS))
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, PrometheusError> {
        let given = self.duration("timeout")?;
        Ok(given.map(|given| Duration::from_millis(u64::try_from(given).unwrap_or(0))))
    }

    /// Maximum number of list entries; 0 stands for [`LIMIT_MAX`].
    pub(super) fn limit(&self) -> Result<usize, PrometheusError> {
        let Some(text) = self.text("limit") else { return Ok(LIMIT_MAX) };
        let limit: Option<usize> = text.parse().ok();
        let reason = "limit must be a non-negative number";
        let limit = limit.ok_or_else(|| bad("limit", reason))?;
        Ok(if limit == 0 { LIMIT_MAX } else { limit.min(LIMIT_MAX) })
    }

    /// Returns the selection of series in `match[]`, `start` and `end`.
    pub(super) fn series(&self, required: bool) -> Result<WantedSeries, PrometheusError> {
        let selectors: Vec<String> = self.0.texts("match[]").map(str::to_owned).collect();
        if required && selectors.is_empty() {
            return Err(PrometheusError::bad_data("no match[] parameter provided"));
        }
        let nanos =
            |millis: i64| UnixNanos(u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000));
        let start = self.time("start")?.map(nanos);
        let end = self.time("end")?.map(nanos);
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            return Err(bad("end", "end timestamp must not be before start timestamp"));
        }
        // The range includes its last millisecond, so a range that ends where it begins is not
        // empty.
        let end = end.map(|end| UnixNanos(end.0.saturating_add(1_000_000)));
        Ok(WantedSeries { selectors, range: TimeRange { start, end } })
    }
}

/// A selection of series whose selectors are not parsed yet.
#[derive(Debug)]
pub(super) struct WantedSeries {
    selectors: Vec<String>,
    range: TimeRange,
}

impl WantedSeries {
    /// Parses the selectors on a blocking thread, because compiling patterns takes time.
    pub(super) fn search(&self) -> Result<SeriesSearch, PrometheusError> {
        let (mut selectors, mut patterns) = (Vec::new(), Patterns::default());
        for text in &self.selectors {
            let parsed = parse_with(text, &mut patterns);
            let parsed = parsed.map_err(|error| bad("match[]", &error.to_string()))?;
            let Expression::Select(selector) = parsed else {
                return Err(bad("match[]", "it must be a series selector"));
            };
            selectors.push(selector);
        }
        Ok(SeriesSearch { selectors, range: self.range })
    }
}

/// Parses a query. Compiling its patterns takes time, so this runs on a blocking thread.
pub(super) fn expression_of(text: &str) -> Result<Expression, PrometheusError> {
    parse(text).map_err(|error| bad("query", &error.to_string()))
}

/// The millisecond that contains a time.
pub(super) fn millis_of(time: UnixNanos) -> i64 {
    i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX)
}

/// Error for a wrong parameter.
pub(super) fn bad(name: &str, reason: &str) -> PrometheusError {
    PrometheusError::bad_data(format!("invalid parameter {name:?}: {reason}"))
}
