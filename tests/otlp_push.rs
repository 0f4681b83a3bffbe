//! Metrics of the process that are sent to a collector over OTLP.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidings_proto::otlp::{
    CUMULATIVE, ExportMetricsServiceRequest, KeyValue, MetricMessage, MetricPoints, NumberValue,
    Value,
};

use crate::harness::{
    PATIENCE, Server, http,
    metrics_receiver::MetricsReceiver,
    pause,
    spans::{span, traces},
};
use prost::Message;

const EVERY_SECOND: [&str; 2] = ["--metrics-interval-seconds", "1"];

/// Waits until the collector has received a request that is as wanted, and returns it.
fn wait_for(
    collector: &MetricsReceiver,
    wanted: impl Fn(&ExportMetricsServiceRequest) -> bool,
) -> ExportMetricsServiceRequest {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = collector.requests().into_iter().rev().find(|request| wanted(request));
        if let Some(request) = found {
            return request;
        }
        assert!(Instant::now() < deadline, "{} requests came", collector.requests().len());
        pause();
    }
}

fn metrics(request: &ExportMetricsServiceRequest) -> &[MetricMessage] {
    &request.resource_metrics[0].scope_metrics[0].metrics
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value() {
        Some(Value::String(text)) => text.clone(),
        other => panic!("{}: {other:?}", attribute.key),
    }
}

/// Returns the name of a sample as in Prometheus's text format.
fn sample(name: &str, labels: &[KeyValue], more: Option<String>) -> String {
    let labels = labels.iter().map(|label| format!("{}={:?}", label.key, text(label)));
    let labels: Vec<String> = more.into_iter().chain(labels).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn number(value: Option<NumberValue>) -> f64 {
    match value.unwrap() {
        NumberValue::Double(number) => number,
        NumberValue::Int(number) => number.to_string().parse().unwrap(),
    }
}

/// Returns every number of a request by its name in Prometheus's text format.
fn samples(request: &ExportMetricsServiceRequest) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for metric in metrics(request) {
        let name = &metric.name;
        match metric.data.as_ref().unwrap() {
            MetricPoints::Gauge(gauge) => {
                for point in &gauge.data_points {
                    assert_eq!(point.start_time_unix_nano, 0, "{name}");
                    samples.insert(sample(name, &point.attributes, None), number(point.value));
                }
            }
            MetricPoints::Sum(sum) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE, "{name}");
                for point in &sum.data_points {
                    assert!(point.start_time_unix_nano > 0, "{name}");
                    assert!(point.time_unix_nano > point.start_time_unix_nano, "{name}");
                    let name = format!("{name}_total");
                    samples.insert(sample(&name, &point.attributes, None), number(point.value));
                }
            }
            MetricPoints::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, CUMULATIVE, "{name}");
                for point in &histogram.data_points {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    let mut below = 0;
                    for (at, count) in point.bucket_counts.iter().enumerate() {
                        below += count;
                        let bound = point.explicit_bounds.get(at);
                        let bound = bound.map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
                        let name = format!("{name}_bucket");
                        let le = Some(format!("le={bound:?}"));
                        let below = below.to_string().parse().unwrap();
                        samples.insert(sample(&name, &point.attributes, le), below);
                    }
                    assert_eq!(below, point.count, "{name}");
                    let (count, sum) = (format!("{name}_count"), format!("{name}_sum"));
                    let total = point.count.to_string().parse().unwrap();
                    samples.insert(sample(&count, &point.attributes, None), total);
                    samples.insert(sample(&sum, &point.attributes, None), point.sum.unwrap());
                }
            }
        }
    }
    samples
}

#[test]
fn a_collector_gets_what_prometheus_reads() {
    let collector = MetricsReceiver::start();
    let flags = [&["--metrics-endpoint", &collector.url][..], &EVERY_SECOND].concat();
    let server = Server::start_with(&flags);
    let body = traces("shop", vec![span(7, 1, 0, "GET /")]).encode_to_vec();
    let stored = http::post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    assert_eq!(stored.status, 200);
    assert_eq!(server.get("/api/v1/traces?limit=x").0, 400);

    let accepted = r#"tidings_receiver_requests_total{receiver="otlp/http",outcome="accepted"}"#;
    let request = wait_for(&collector, |request| {
        samples(request).get(accepted).is_some_and(|count| *count >= 1.)
    });
    let text_form = http::get(&server.http, "/metrics");
    let text_form = String::from_utf8(text_form.body.to_vec()).unwrap();
    let prometheus: BTreeMap<String, f64> = text_form
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect();
    let pushed = samples(&request);
    let names = |samples: &BTreeMap<String, f64>| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&pushed), names(&prometheus));
    // Other metrics change between the two readings.
    for name in pushed.keys().filter(|name| {
        let still = ["tidings_start_time", "tidings_receive", "tidings_log_records"];
        still.iter().any(|prefix| name.starts_with(prefix))
            || name.contains("_query_seconds_bucket")
    }) {
        let (left, right) = (pushed[name], prometheus[name]);
        assert!((left - right).abs() < f64::EPSILON, "{name}: {left} and {right}");
    }
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    let resource: BTreeMap<_, _> =
        resource.attributes.iter().map(|one| (one.key.as_str(), text(one))).collect();
    assert_eq!(resource["service.name"], "tidings");
    assert!(!resource["service.version"].is_empty());
    let port = server.http.rsplit(':').next().unwrap();
    assert!(resource["service.instance.id"].ends_with(&format!(":{port}")), "{resource:?}");
    let units: BTreeMap<_, _> = metrics(&request)
        .iter()
        .map(|metric| (metric.name.as_str(), metric.unit.as_str()))
        .collect();
    assert_eq!((units["tidings_log_bytes"], units["tidings_flush_seconds"]), ("By", "s"));
}

#[test]
fn a_collector_that_refuses_is_counted_and_asked_again() {
    let collector = MetricsReceiver::start();
    collector.answer(503);
    let flags = [&["--metrics-endpoint", &collector.url][..], &EVERY_SECOND].concat();
    let server = Server::start_with(&flags);
    let count = |request: &ExportMetricsServiceRequest, outcome: &str| {
        samples(request)[&format!("tidings_metrics_pushes_total{{outcome={outcome:?}}}")]
    };
    wait_for(&collector, |request| count(request, "failed") >= 1.);
    collector.answer(200);
    let request = wait_for(&collector, |request| count(request, "sent") >= 1.);
    assert!(count(&request, "failed") >= 1.);
    // No request followed a failed one immediately.
    let requests = collector.requests();
    let time = |request: &ExportMetricsServiceRequest| {
        let MetricPoints::Gauge(gauge) = metrics(request)[0].data.as_ref().unwrap() else {
            panic!("the first metric is a gauge")
        };
        Duration::from_nanos(gauge.data_points[0].time_unix_nano)
    };
    for pair in requests.windows(2) {
        assert!(time(&pair[1]) - time(&pair[0]) > Duration::from_millis(900));
    }
    assert_eq!(server.get("/api/v1/traces").0, 200);
}

#[test]
fn wrong_addresses_of_a_collector_end_the_start() {
    for (flags, reason) in [
        (&["--metrics-endpoint", "collector:4318"][..], "a URL is needed"),
        (&["--metrics-endpoint", "http://user:pw@collector"], "have no place in it"),
        (&["--metrics-endpoint", "https://collector"], "metrics-ca is needed"),
    ] {
        let (code, _, error) = Server::command(&[&["config"][..], flags].concat());
        assert_eq!(code, Some(78), "{flags:?}: {error}");
        assert!(error.contains(reason), "{flags:?}: {error}");
    }
}
