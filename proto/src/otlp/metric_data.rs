//! `opentelemetry.proto.metrics.v1` and `…collector.metrics.v1`: the kinds of metrics that Tidings
//! sends about itself. It receives none, so there is no JSON. Messages that it never sends are left
//! out (exemplars, flags, summaries, exponential histograms).

use super::{InstrumentationScope, KeyValue, Resource};

/// Aggregation temporality of values since a fixed start.
pub const CUMULATIVE: i32 = 2;

/// Metrics for a collector.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportMetricsServiceRequest {
    /// The metrics, by resource.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// The answer to [`ExportMetricsServiceRequest`]; empty when everything was accepted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportMetricsServiceResponse {
    /// Set only when something was refused or there is a warning.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<ExportMetricsPartialSuccess>,
}

/// Partial success: the data points refused of a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportMetricsPartialSuccess {
    /// Number of refused data points.
    #[prost(int64, tag = "1")]
    pub rejected_data_points: i64,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// The metrics of one resource.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceMetrics {
    /// The thing that is measured.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// The metrics, by instrumentation scope.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
    /// Schema of the resource.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// The metrics of one instrumentation scope.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeMetrics {
    /// The library that measured them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    /// The metrics.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<MetricMessage>,
    /// Schema of the metrics.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// A metric with its data points (`Metric`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricMessage {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its meaning, for people.
    #[prost(string, tag = "2")]
    pub description: String,
    /// Its unit, in [UCUM](https://ucum.org/ucum), as `s` or `By`.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// The points, by the kind of the metric.
    #[prost(oneof = "MetricPoints", tags = "5, 7, 9")]
    pub data: Option<MetricPoints>,
}

/// The data points of a metric, by its kind.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum MetricPoints {
    /// Values at a moment.
    #[prost(message, tag = "5")]
    Gauge(GaugePoints),
    /// Sums.
    #[prost(message, tag = "7")]
    Sum(SumPoints),
    /// Counts of values by bucket.
    #[prost(message, tag = "9")]
    Histogram(HistogramPoints),
}

/// The points of a gauge (`Gauge`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct GaugePoints {
    /// The points, one for each set of attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
}

/// The points of a sum (`Sum`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct SumPoints {
    /// The points, one for each set of attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
    /// [`CUMULATIVE`], or 1 for values since the last report.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    /// True when it never decreases.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// The points of a histogram (`Histogram`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistogramPoints {
    /// The points, one for each set of attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramDataPoint>,
    /// [`CUMULATIVE`], or 1 for values since the last report.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// A number at a moment.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NumberDataPoint {
    /// Start of a sum, in nanoseconds since 1970; 0 for a gauge.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// The moment, in nanoseconds since 1970.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// The number.
    #[prost(oneof = "NumberValue", tags = "4, 6")]
    pub value: Option<NumberValue>,
    /// The labels.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

/// A number, as float or integer.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum NumberValue {
    /// A 64-bit float.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A signed 64-bit integer.
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

/// A histogram at a moment.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistogramDataPoint {
    /// Start of the counts, in nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// The moment, in nanoseconds since 1970.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// Number of values: the sum of the buckets.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Sum of all values.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// Values by bucket: one more than there are bounds.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    /// Upper bounds of all buckets but the last, ascending; a value equal to a bound belongs to its
    /// bucket.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    /// The labels.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{
        CUMULATIVE, ExportMetricsServiceRequest, HistogramDataPoint, HistogramPoints,
        MetricMessage, MetricPoints, NumberDataPoint, NumberValue, ResourceMetrics, ScopeMetrics,
        SumPoints,
    };

    fn request(data: MetricPoints) -> Vec<u8> {
        let metric = MetricMessage { name: "m".to_owned(), data: Some(data), ..Default::default() };
        let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
    }

    /// The expected bytes are written by hand from the field numbers of `metrics.proto`.
    #[test]
    fn points_have_the_field_numbers_of_the_protocol() {
        let point = NumberDataPoint {
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            value: Some(NumberValue::Int(3)),
            attributes: Vec::new(),
        };
        let sum = SumPoints {
            data_points: vec![point],
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        };
        let point = [&[0x11, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0x19, 2, 0, 0, 0, 0, 0, 0, 0]].concat();
        let point = [&point[..], &[0x31, 3, 0, 0, 0, 0, 0, 0, 0]].concat();
        let sum_bytes = [&[0x0a, 27][..], &point, &[0x10, 2, 0x18, 1]].concat();
        let metric = [&[0x0a, 1, b'm', 0x3a, 33][..], &sum_bytes].concat();
        let expected = [&[0x0a, 42, 0x12, 40, 0x12, 38][..], &metric].concat();
        assert_eq!(request(MetricPoints::Sum(sum)), expected);

        let point = HistogramDataPoint {
            count: 3,
            sum: Some(0.0),
            bucket_counts: vec![1, 2],
            explicit_bounds: vec![0.0],
            ..Default::default()
        };
        let histogram =
            HistogramPoints { data_points: vec![point], aggregation_temporality: CUMULATIVE };
        let point = [
            &[0x21, 3, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x29, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x32, 16, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
            &[0x3a, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        let point = point.concat();
        let bytes = request(MetricPoints::Histogram(histogram));
        let expected = [&[0x0a, 1, b'm', 0x4a, 50, 0x0a, 46][..], &point, &[0x10, 2]].concat();
        assert!(bytes.ends_with(&expected), "{bytes:?}");
    }
}
