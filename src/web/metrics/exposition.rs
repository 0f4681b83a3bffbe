//! Writes metrics as text: OpenMetrics for clients that accept it, Prometheus' older format for the
//! others.
//!
//! The crate `prometheus_client` writes OpenMetrics. The older format differs in two points: the
//! metric of a counter has the name of its samples, and nothing marks the end.

use axum::http::{HeaderMap, header};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use tidings_storage::{TIME_BOUNDS, TimeCounts};

use super::{
    Measured, MetricDescription, MetricKind, MetricScope, Sample, SampleValue,
    metrics_table::METRICS,
};

/// A format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpositionForm {
    OpenMetrics,
    Plain,
}

impl ExpositionForm {
    /// Returns the format that a client asks for.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter();
        let is_known = accepted.any(|kinds| {
            kinds.to_str().is_ok_and(|kinds| kinds.contains("application/openmetrics-text"))
        });
        if is_known { Self::OpenMetrics } else { Self::Plain }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the metrics of a scope with their current values.
pub(super) fn write(measured: &Measured, scope: MetricScope, form: ExpositionForm) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(MeasuredCollector(measured.clone(), scope)));
    let mut written = String::new();
    // Writing into a text does not fail.
    let _ = text::encode(&mut written, &registry);
    match form {
        ExpositionForm::OpenMetrics => written,
        ExpositionForm::Plain => plain(&written),
    }
}

/// Rewrites the text in Prometheus' older format.
fn plain(text: &str) -> String {
    let is_counter = |name: &str| {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        metric.is_some_and(|metric| metric.kind == MetricKind::Counter)
    };
    let mut plain = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let named = ["# HELP ", "# TYPE "].into_iter().find_map(|word| {
            let (name, rest) = line.strip_prefix(word)?.split_once(' ')?;
            is_counter(name).then(|| format!("{word}{name}_total {rest}"))
        });
        plain.push_str(named.as_deref().unwrap_or(line));
        plain.push('\n');
    }
    plain
}

#[derive(Debug)]
struct MeasuredCollector(Measured, MetricScope);

impl Collector for MeasuredCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in METRICS.iter().filter(|metric| self.1.contains(metric)) {
            let kind = match metric.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for sample in (metric.read)(&self.0) {
                encode(metric, &sample, &mut encoder)?;
            }
        }
        Ok(())
    }
}

fn encode(
    metric: &MetricDescription,
    sample: &Sample,
    encoder: &mut MetricEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let labels = metric.labels.iter().copied().zip(sample.labels.iter().map(String::as_str));
    let labels: Vec<(&str, &str)> = labels.collect();
    if labels.is_empty() {
        return encode_value(metric, &sample.value, encoder);
    }
    encode_value(metric, &sample.value, &mut encoder.encode_family(&labels)?)
}

fn encode_value(
    metric: &MetricDescription,
    value: &SampleValue,
    encoder: &mut MetricEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    match (metric.kind, value) {
        (MetricKind::Counter, SampleValue::Count(count)) => {
            encoder.encode_counter::<NoLabelSet, u64, f64>(count, None)
        }
        (_, SampleValue::Count(count)) => encoder.encode_gauge(count),
        (_, SampleValue::Number(number)) => encoder.encode_gauge(number),
        (_, SampleValue::Times(times)) => {
            let buckets = buckets(times);
            encoder.encode_histogram::<NoLabelSet>(times.sum_seconds, times.count(), &buckets, None)
        }
    }
}

fn buckets(times: &TimeCounts) -> Vec<(f64, u64)> {
    let bounds = TIME_BOUNDS.into_iter().chain([f64::INFINITY]);
    bounds.zip(times.buckets).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn the_older_form_names_counters_as_their_samples() {
        let text = "# HELP tidings_log_records Of what.\n# TYPE tidings_log_records counter\n\
                    tidings_log_records_total 3\n# HELP tidings_log_bytes Bytes.\n\
                    # TYPE tidings_log_bytes gauge\ntidings_log_bytes 4\n# EOF\n";
        assert_eq!(
            plain(text),
            "# HELP tidings_log_records_total Of what.\n\
             # TYPE tidings_log_records_total counter\ntidings_log_records_total 3\n\
             # HELP tidings_log_bytes Bytes.\n# TYPE tidings_log_bytes gauge\ntidings_log_bytes 4\n"
        );
    }
}
