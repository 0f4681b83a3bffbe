//! The numbers of Jaeger's Monitor tab: latencies, call rates and error rates of services.
//!
//! Jaeger's own reader asks a Prometheus for these numbers. Here they are computed from the stored
//! spans. Points without calls are left out.

use tidings_promql::parse;
use tidings_proto::otlp::StatusCode;
use tidings_query::{QueryError, Reader};

use crate::prometheus::{
    EvaluationTimes, PromqlError,
    query::{QueryValue, evaluate_range},
};

/// Request for metrics.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricsSearch {
    /// Kind of the numbers.
    pub(crate) which: MetricKind,
    /// Services whose spans are counted.
    pub(crate) services: Vec<String>,
    /// Kinds of spans that are counted, in OTLP's names.
    pub(crate) kinds: Vec<String>,
    /// True when each operation has numbers of its own.
    pub(crate) by_operation: bool,
    /// Times at which the numbers are evaluated.
    pub(crate) asked: EvaluationTimes,
    /// Time that each number covers.
    pub(crate) rate_ms: i64,
}

/// Kind of the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MetricKind {
    /// A quantile of the latencies, in milliseconds.
    Latencies(f64),
    /// Calls per second.
    Calls,
    /// The share of failed calls.
    Errors,
}

/// Numbers over time of a service or of one of its operations.
#[derive(Debug)]
pub(crate) struct ServiceSeries {
    /// The service.
    pub(crate) service: String,
    /// The operation, when it was requested.
    pub(crate) operation: Option<String>,
    /// Numbers with their times in milliseconds.
    pub(crate) points: Vec<(i64, f64)>,
}

/// The numbers.
pub(crate) fn metrics(
    reader: &Reader,
    search: &MetricsSearch,
) -> Result<Vec<ServiceSeries>, QueryError> {
    let failed = |error: PromqlError| match error {
        PromqlError::Query(error) => error,
        other => QueryError::parameter("", other.to_string()),
    };
    let query =
        parse(&query_of(search)).map_err(|error| QueryError::parameter("", error.to_string()))?;
    let answer = evaluate_range(reader, &query, search.asked).map_err(failed)?;
    let QueryValue::Matrix(series) = answer.given else { return Ok(Vec::new()) };
    let numbers = series.into_iter().map(|(labels, mut points)| {
        points.retain(|(_, value)| !value.is_nan());
        let operation = search.by_operation.then(|| labels.get("span_name").to_owned());
        ServiceSeries { service: labels.get("service").to_owned(), operation, points }
    });
    Ok(numbers.filter(|numbers| !numbers.points.is_empty()).collect())
}

fn query_of(search: &MetricsSearch) -> String {
    let any = |names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| regex::escape(name)).collect();
        quoted(&names.join("|"))
    };
    let (services, kinds) = (any(&search.services), any(&search.kinds));
    let rate = |metric: &str, more: &str| {
        let range = search.rate_ms;
        format!("rate({metric}{{service=~{services}, span_kind=~{kinds}{more}}}[{range}ms])")
    };
    let by = if search.by_operation { "service, span_name" } else { "service" };
    let calls = format!("sum by ({by}) ({})", rate("traces_spanmetrics_calls_total", ""));
    match search.which {
        MetricKind::Calls => calls,
        MetricKind::Errors => {
            let failed = format!(", status_code=\"{}\"", StatusCode::Error.otlp_name());
            let errors = rate("traces_spanmetrics_calls_total", &failed);
            format!("(sum by ({by}) ({errors}) or 0 * {calls}) / ({calls} > 0)")
        }
        MetricKind::Latencies(part) => {
            let buckets = rate("traces_spanmetrics_latency_bucket", "");
            format!("1000 * histogram_quantile({part}, sum by ({by}, le) ({buckets}))")
        }
    }
}

/// Quotes the text as PromQL does.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use tidings_promql::parse;

    use super::{MetricKind, MetricsSearch, query_of};
    use crate::prometheus::EvaluationTimes;

    #[test]
    fn hostile_names_stay_names() {
        for which in [
            MetricKind::Calls,
            MetricKind::Errors,
            MetricKind::Latencies(0.95),
            MetricKind::Latencies(-1.0),
        ] {
            let search = MetricsSearch {
                which,
                services: vec!["a\"} or vector(1) or x{b=\"".to_owned(), "\\\n.*|é".to_owned()],
                kinds: vec!["SPAN_KIND_SERVER".to_owned()],
                by_operation: true,
                asked: EvaluationTimes { start_ms: 0, end_ms: 1, step_ms: 1, lookback_ms: 1 },
                rate_ms: 600_000,
            };
            let query = query_of(&search);
            assert!(parse(&query).is_ok(), "{query}");
        }
    }
}
