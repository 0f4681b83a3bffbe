//! The crate `opentelemetry-proto`, generated from the published `.proto` files, as the oracle of our
//! messages: in protobuf each reads what the other writes, and writes the same; of traces and logs ours
//! read its JSON.

use std::fmt::Debug;

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest as TheirLogs,
    metrics::v1::ExportMetricsServiceRequest as TheirMetrics,
    trace::v1::ExportTraceServiceRequest as TheirTraces,
};
use proptest::prelude::*;
use prost::Message;
use serde::Serialize;
use tidings_proto::otlp::{
    CUMULATIVE, ExportMetricsServiceRequest, GaugePoints, HistogramDataPoint, HistogramPoints,
    InstrumentationScope, KeyValue, MetricMessage, MetricPoints, NumberDataPoint, NumberValue,
    Resource, ResourceMetrics, ScopeMetrics, SumPoints, Wire, decode_json, decode_protobuf,
};

use crate::round_trip::{logs, traces};

/// Both ways: what we write is theirs to the byte, and what they write is ours.
fn check<Ours, Theirs>(request: &Ours) -> Result<(), TestCaseError>
where
    Ours: Wire + PartialEq + Debug,
    Theirs: Debug + Message + Default + PartialEq + Serialize,
{
    let protobuf = request.encode_to_vec();
    let theirs = Theirs::decode(protobuf.as_slice()).unwrap();
    prop_assert_eq!(&theirs.encode_to_vec(), &protobuf);
    prop_assert_eq!(&decode_protobuf::<Ours>(&theirs.encode_to_vec()).unwrap(), request);
    let json = serde_json::to_string(&theirs).unwrap();
    // It writes an infinite number as null. It reads no JSON that leaves defaults out, as ours does.
    if !json.contains("\"doubleValue\":null") {
        prop_assert_eq!(&decode_json::<Ours>(json.as_bytes()).unwrap(), request);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn traces_are_those_of_the_published_schema(request in traces()) {
        check::<_, TheirTraces>(&request)?;
    }

    #[test]
    fn logs_are_those_of_the_published_schema(request in logs()) {
        check::<_, TheirLogs>(&request)?;
    }
}

#[test]
fn metrics_are_those_of_the_published_schema() {
    let attributes = || vec![KeyValue::new("receiver", "zipkin")];
    let number = |value| NumberDataPoint {
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        value: Some(value),
        attributes: attributes(),
    };
    let histogram = HistogramDataPoint {
        start_time_unix_nano: 3,
        time_unix_nano: 4,
        count: 7,
        sum: Some(1.5),
        bucket_counts: vec![4, 3],
        explicit_bounds: vec![0.25],
        attributes: attributes(),
    };
    let kinds = [
        MetricPoints::Gauge(GaugePoints { data_points: vec![number(NumberValue::Double(0.5))] }),
        MetricPoints::Sum(SumPoints {
            data_points: vec![number(NumberValue::Int(-3))],
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        MetricPoints::Histogram(HistogramPoints {
            data_points: vec![histogram],
            aggregation_temporality: CUMULATIVE,
        }),
    ];
    let metrics = kinds.map(|data| MetricMessage {
        name: "tidings.receiver.bytes".to_owned(),
        description: "Bytes".to_owned(),
        unit: "By".to_owned(),
        data: Some(data),
    });
    let scope_metrics = vec![ScopeMetrics {
        scope: Some(InstrumentationScope { name: "tidings".to_owned(), ..Default::default() }),
        metrics: metrics.to_vec(),
        schema_url: "scope".to_owned(),
    }];
    let resource = Some(Resource { attributes: attributes(), ..Resource::default() });
    let schema_url = "resource".to_owned();
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, schema_url }];
    let request = ExportMetricsServiceRequest { resource_metrics };
    let protobuf = request.encode_to_vec();
    let theirs = TheirMetrics::decode(protobuf.as_slice()).unwrap();
    assert_eq!(theirs.encode_to_vec(), protobuf);
    assert_eq!(ExportMetricsServiceRequest::decode(protobuf.as_slice()).unwrap(), request);
}
