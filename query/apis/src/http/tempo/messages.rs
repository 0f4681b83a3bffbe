//! The messages of Tempo's streaming API (`tempopb`), and their construction from results.

use std::collections::HashMap;

use prost::Message;
use tidings_proto::otlp::KeyValue;
use tidings_query::traceql::{
    metrics_query::{MetricsFound, Range, Series as FoundSeries},
    spanset_search::{FoundSpan, FoundSpanset, FoundTrace, TraceqlResult},
};
use tidings_storage::ScanStats;
use tidings_traceql::Value;

use super::search_response::{NO_ROOT, named, short_id};

/// Number of jobs of a streamed search: hundredths of its time range.
pub(super) const SEARCH_JOBS: u32 = 100;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SearchRequest {
    #[prost(map = "string, string", tag = "1")]
    pub(super) tags: HashMap<String, String>,
    #[prost(uint32, tag = "2")]
    pub(super) min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    pub(super) max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    pub(super) limit: u32,
    #[prost(uint32, tag = "5")]
    pub(super) start: u32,
    #[prost(uint32, tag = "6")]
    pub(super) end: u32,
    #[prost(string, tag = "8")]
    pub(super) query: String,
    #[prost(uint32, tag = "9")]
    pub(super) spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SearchResponse {
    #[prost(message, repeated, tag = "1")]
    traces: Vec<TraceSearchMetadata>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<SearchMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct TraceSearchMetadata {
    #[prost(string, tag = "1")]
    trace_id: String,
    #[prost(string, tag = "2")]
    root_service_name: String,
    #[prost(string, tag = "3")]
    root_trace_name: String,
    #[prost(uint64, tag = "4")]
    start_time_unix_nano: u64,
    #[prost(uint32, tag = "5")]
    duration_ms: u32,
    #[prost(message, optional, tag = "6")]
    span_set: Option<SpanSet>,
    #[prost(message, repeated, tag = "7")]
    span_sets: Vec<SpanSet>,
    #[prost(map = "string, message", tag = "8")]
    service_stats: HashMap<String, ServiceStats>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceStats {
    #[prost(uint32, tag = "1")]
    span_count: u32,
    #[prost(uint32, tag = "2")]
    error_count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SpanSet {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<SpanEntry>,
    #[prost(uint32, tag = "2")]
    matched: u32,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanEntry {
    #[prost(string, tag = "1")]
    span_id: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    start_time_unix_nano: u64,
    #[prost(uint64, tag = "4")]
    duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SearchMetrics {
    #[prost(uint32, tag = "1")]
    inspected_traces: u32,
    #[prost(uint32, tag = "3")]
    total_blocks: u32,
    #[prost(uint32, tag = "4")]
    completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    total_jobs: u32,
    #[prost(uint64, tag = "7")]
    inspected_spans: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagsRequest {
    #[prost(string, tag = "1")]
    pub(super) scope: String,
    #[prost(string, tag = "2")]
    pub(super) query: String,
    #[prost(uint32, tag = "3")]
    pub(super) start: u32,
    #[prost(uint32, tag = "4")]
    pub(super) end: u32,
    #[prost(uint32, tag = "5")]
    pub(super) max_tags_per_scope: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TagsResponse {
    #[prost(string, repeated, tag = "1")]
    pub(super) tag_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopedTagsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) scopes: Vec<ScopedTags>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopedTags {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValuesRequest {
    #[prost(string, tag = "1")]
    pub(super) tag_name: String,
    #[prost(string, tag = "2")]
    pub(super) query: String,
    #[prost(uint32, tag = "4")]
    pub(super) start: u32,
    #[prost(uint32, tag = "5")]
    pub(super) end: u32,
    #[prost(uint32, tag = "6")]
    pub(super) max_tag_values: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValuesResponse {
    #[prost(string, repeated, tag = "1")]
    pub(super) tag_values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TypedValuesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) tag_values: Vec<TypedValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TypedValue {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `QueryRangeRequest`, which includes the fields of `QueryInstantRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricsRequest {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) end: u64,
    #[prost(uint64, tag = "4")]
    pub(super) step: u64,
    #[prost(uint32, tag = "16")]
    pub(super) exemplars: u32,
    #[prost(uint32, tag = "17")]
    pub(super) max_series: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<SearchMetrics>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<KeyValue>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ExemplarEntry>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarEntry {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InstantResponse {
    #[prost(message, repeated, tag = "1")]
    series: Vec<InstantSeries>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<SearchMetrics>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct InstantSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    value: f64,
}

fn small(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

fn key_values(attributes: &[(String, Value)]) -> Vec<KeyValue> {
    let each = attributes.iter();
    each.map(|(key, value)| KeyValue { key: key.clone(), value: Some(value.to_otlp()) }).collect()
}

fn metrics_of(stats: ScanStats) -> Option<SearchMetrics> {
    Some(SearchMetrics {
        total_blocks: small(stats.files),
        completed_jobs: u32::from(stats.complete),
        total_jobs: 1,
        inspected_spans: stats.rows,
        ..SearchMetrics::default()
    })
}

impl SearchResponse {
    /// Response with these traces and without metrics. One with metrics can follow it in the same
    /// message, because protobuf joins the two.
    pub(super) fn from_traces(traces: &[FoundTrace]) -> Self {
        Self { traces: traces.iter().map(TraceSearchMetadata::from).collect(), metrics: None }
    }

    /// Response with metrics alone. The jobs are hundredths of the time range.
    pub(super) fn from_progress(stats: ScanStats, inspected: u64, completed_jobs: u32) -> Self {
        let metrics = SearchMetrics {
            inspected_traces: small(inspected),
            total_blocks: small(stats.files),
            completed_jobs,
            total_jobs: SEARCH_JOBS,
            inspected_spans: stats.rows,
        };
        Self { traces: Vec::new(), metrics: Some(metrics) }
    }

    /// The whole response. The jobs are hundredths of the time range.
    pub(super) fn from_found(found: &TraceqlResult, completed_jobs: u32) -> Self {
        let metrics = Self::from_progress(found.stats, found.inspected, completed_jobs).metrics;
        Self { metrics, ..Self::from_traces(&found.traces) }
    }
}

impl From<&FoundTrace> for TraceSearchMetadata {
    fn from(trace: &FoundTrace) -> Self {
        let no_root = || (NO_ROOT.to_owned(), String::new());
        let (root_service_name, root_trace_name) = trace.root.clone().unwrap_or_else(no_root);
        let span_sets: Vec<SpanSet> = trace.spansets.iter().map(SpanSet::from).collect();
        let stats = trace.services.iter().map(|(service, (spans, errors))| {
            let stats = ServiceStats { span_count: small(*spans), error_count: small(*errors) };
            (service.clone(), stats)
        });
        Self {
            trace_id: short_id(trace.trace_id),
            root_service_name,
            root_trace_name,
            start_time_unix_nano: trace.start.0,
            duration_ms: small(trace.duration.0 / 1_000_000),
            span_set: span_sets.first().cloned(),
            span_sets,
            service_stats: stats.collect(),
        }
    }
}

impl From<&FoundSpanset> for SpanSet {
    fn from(spanset: &FoundSpanset) -> Self {
        Self {
            spans: spanset.spans.iter().map(SpanEntry::from).collect(),
            matched: small(spanset.matched),
            attributes: key_values(&spanset.attributes),
        }
    }
}

impl From<&FoundSpan> for SpanEntry {
    fn from(span: &FoundSpan) -> Self {
        Self {
            span_id: span.span_id.to_string(),
            name: span.name.clone(),
            start_time_unix_nano: span.start.0,
            duration_nanos: span.duration.0,
            attributes: key_values(&named(&span.attributes)),
        }
    }
}

impl RangeResponse {
    pub(super) fn from_found(found: &MetricsFound, range: &Range) -> Self {
        let series = found.series.iter().map(|series: &FoundSeries| {
            let values = series.values.iter().enumerate().filter(|(_, value)| !value.is_nan());
            let samples = values.map(|(at, value)| Sample {
                value: *value,
                timestamp_ms: millis(range.time_of(at).0),
            });
            let exemplars = series.exemplars.iter().map(|exemplar| ExemplarEntry {
                labels: key_values(&exemplar.labels),
                value: exemplar.value,
                timestamp_ms: millis(exemplar.time.0),
            });
            TimeSeries {
                labels: key_values(&series.labels),
                samples: samples.collect(),
                exemplars: exemplars.collect(),
            }
        });
        Self {
            series: series.collect(),
            metrics: metrics_of(found.stats),
            status: i32::from(found.partial.is_some()),
            message: found.partial.unwrap_or_default().to_owned(),
        }
    }
}

impl InstantResponse {
    pub(super) fn from_found(found: &MetricsFound) -> Self {
        let series = found.series.iter().map(|series| InstantSeries {
            labels: key_values(&series.labels),
            value: series.values.first().copied().unwrap_or_default(),
        });
        Self {
            series: series.collect(),
            metrics: metrics_of(found.stats),
            status: i32::from(found.partial.is_some()),
            message: found.partial.unwrap_or_default().to_owned(),
        }
    }
}
