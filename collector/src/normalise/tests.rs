use bytes::Bytes;
use prost::Message;
use tidings_proto::otlp::{
    AnyValue, ArrayValue, Event, ExportLogsServiceRequest, ExportTraceServiceRequest,
    InstrumentationScope, KeyValue, KeyValueList, Link, LogRecord, NOT_HEX, Resource, ResourceLogs,
    ResourceSpans, ScopeLogs, ScopeSpans, Span, Status, VALUE_DEPTH_MAX, Value,
};
use tidings_storage::TelemetryBatch;

use super::{
    ATTRIBUTES_MAX, InPlace, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Prepared, Signal, accept_in_place,
    prepare_logs, prepare_traces,
};
use crate::redact::Redactor;

fn span() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "get".to_owned(), ..Span::default() }
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = ScopeSpans { spans, ..ScopeSpans::default() };
    let resource = Some(Resource::default());
    let resource_spans =
        ResourceSpans { resource, scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = ScopeLogs { log_records, ..ScopeLogs::default() };
    let resource_logs = ResourceLogs { scope_logs: vec![scope_logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

/// Normalises a request, and checks that the walk over its bytes agrees whether it is unchanged.
fn prepare(request: ExportTraceServiceRequest) -> Prepared {
    let bytes = Bytes::from(request.encode_to_vec());
    let in_place = accept_in_place(Signal::Traces, &bytes, &Redactor::default());
    let prepared = prepare_traces(request, Some(bytes.clone()));
    let kept = match &prepared.batch {
        Some(TelemetryBatch::Traces { bytes, .. }) => bytes.is_some(),
        _ => prepared.rejected == 0,
    };
    compare(in_place, kept, &prepared, TelemetryBatch::EncodedTraces(bytes));
    prepared
}

fn prepare_log_records(request: ExportLogsServiceRequest) -> Prepared {
    let bytes = Bytes::from(request.encode_to_vec());
    let in_place = accept_in_place(Signal::Logs, &bytes, &Redactor::default());
    let prepared = prepare_logs(request, Some(bytes.clone()));
    let kept = match &prepared.batch {
        Some(TelemetryBatch::Logs { bytes, .. }) => bytes.is_some(),
        _ => prepared.rejected == 0,
    };
    compare(in_place, kept, &prepared, TelemetryBatch::EncodedLogs(bytes));
    prepared
}

fn compare(in_place: Option<InPlace>, kept: bool, prepared: &Prepared, batch: TelemetryBatch) {
    let expected = kept
        .then(|| Prepared { batch: prepared.batch.is_some().then_some(batch), ..prepared.clone() });
    assert_eq!(in_place.map(|in_place| in_place.prepared), expected);
}

fn stored_spans(prepared: Prepared) -> Vec<Span> {
    match prepared.batch {
        Some(TelemetryBatch::Traces { request, .. }) => request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns a scalar inside of `depth - 1` maps.
fn nested(depth: usize) -> AnyValue {
    (1..depth).fold(AnyValue::from("x"), |inner, _| {
        let entry = KeyValue { key: String::new(), value: Some(inner) };
        Value::Kvlist(KeyValueList { values: vec![entry] }).into()
    })
}

#[test]
fn an_unchanged_request_keeps_its_bytes() {
    let request = traces(vec![span(), Span { parent_span_id: vec![3; 8], ..span() }]);
    let bytes = Bytes::from(request.encode_to_vec());
    let prepared = prepare_traces(request.clone(), Some(bytes.clone()));
    assert_eq!(prepared.batch, Some(TelemetryBatch::Traces { request, bytes: Some(bytes) }));
    assert_eq!((prepared.accepted, prepared.rejected), (2, 0));
    assert_eq!(prepared.message, "");
}

#[test]
fn invalid_spans_are_rejected_and_counted_with_their_reason() {
    type Spoil = fn(&mut Span);
    let table: &[(Spoil, &str)] = &[
        (|span| span.trace_id = vec![1; 15], "trace id has 15 bytes, 16 are needed"),
        (|span| span.trace_id = vec![0; 16], "trace id is all zeros"),
        (|span| span.trace_id.clear(), "trace id is missing"),
        (|span| span.span_id = vec![1; 9], "span id has 9 bytes, 8 are needed"),
        (|span| span.span_id = vec![0; 8], "span id is all zeros"),
        (|span| span.span_id.clear(), "span id is missing"),
        (|span| span.parent_span_id = vec![1; 16], "parent span id has 16 bytes, 8 are needed"),
        (|span| span.start_time_unix_nano = 1 << 63, "start time is after the year 2262"),
        (|span| span.end_time_unix_nano = u64::MAX, "end time is after the year 2262"),
        (
            |span| {
                span.events = vec![Event { time_unix_nano: u64::MAX, ..Event::default() }];
            },
            "event time is after the year 2262",
        ),
        (
            |span| {
                let value = Some(nested(VALUE_DEPTH_MAX + 1));
                span.attributes = vec![KeyValue { key: "k".to_owned(), value }];
            },
            "a value is nested deeper than 32 levels",
        ),
    ];
    for (spoil, reason) in table {
        let mut bad = span();
        spoil(&mut bad);
        let prepared = prepare(traces(vec![span(), bad, span()]));
        assert_eq!((prepared.accepted, prepared.rejected), (2, 1), "{reason}");
        let expected = format!("1 span: {reason} (first: resource 0, scope 0, record 1)");
        assert_eq!(prepared.message, expected);
        let Some(TelemetryBatch::Traces { bytes, .. }) = &prepared.batch else { panic!() };
        assert!(bytes.is_none(), "the sender's bytes hold the bad span");
        assert_eq!(stored_spans(prepared), [span(), span()]);
    }
}

#[test]
fn reasons_are_grouped_and_their_number_is_bounded() {
    let bad = |length| Span { trace_id: vec![1; length], ..span() };
    let prepared = prepare(traces((1..=12).chain([1, 1]).map(bad).chain([span()]).collect()));
    assert_eq!((prepared.accepted, prepared.rejected), (1, 14));
    assert!(prepared.message.starts_with("3 spans: trace id has 1 byte, 16 are needed"));
    assert!(prepared.message.ends_with("; 7 spans: other reasons"), "{}", prepared.message);
}

#[test]
fn long_names_are_cut_and_attributes_with_long_keys_dropped() {
    // The limit is inside of a character.
    let long = format!("x{}", "ä".repeat(NAME_BYTES_MAX));
    let cut = long[..NAME_BYTES_MAX - 1].to_owned();
    let event = |name: &str| Event { name: name.to_owned(), ..Event::default() };
    let link = |state: &str| Link { trace_state: state.to_owned(), ..Link::default() };
    let status = |bytes| Status { message: "m".repeat(bytes), ..Status::default() };
    let sent = Span {
        name: long.clone(),
        trace_state: long.clone(),
        status: Some(status(MESSAGE_BYTES_MAX + 1)),
        attributes: vec![KeyValue::new("key", "v".repeat(1 << 20)), KeyValue::new(&*long, 1_i64)],
        events: vec![event(&long)],
        links: vec![link(&long)],
        ..span()
    };
    let stored = Span {
        name: cut.clone(),
        trace_state: cut.clone(),
        status: Some(status(MESSAGE_BYTES_MAX)),
        attributes: vec![KeyValue::new("key", "v".repeat(1 << 20))],
        dropped_attributes_count: 1,
        events: vec![event(&cut)],
        links: vec![link(&cut)],
        ..span()
    };
    let mut request = traces(vec![sent]);
    let of = &mut request.resource_spans[0];
    of.schema_url.clone_from(&long);
    of.scope_spans[0].schema_url.clone_from(&long);
    of.scope_spans[0].scope = Some(InstrumentationScope {
        name: long.clone(),
        version: long.clone(),
        ..Default::default()
    });
    let kept = KeyValue::new("process.command_line", &*long);
    let attributes =
        ["service.name", "host.name"].map(|key| KeyValue::new(key, &*long)).into_iter();
    of.resource.get_or_insert_default().attributes = attributes.chain([kept.clone()]).collect();
    let prepared = prepare(request);
    assert_eq!((prepared.accepted, prepared.rejected), (1, 0));
    let message = "1 attributes dropped: a record keeps 1024, with keys of at most 2048 bytes, \
                   a resource or a scope 65536 bytes of them; 11 texts cut: a name keeps 2048 bytes, the message of a status 65536";
    assert_eq!(prepared.message, message);
    let Some(TelemetryBatch::Traces { request, .. }) = &prepared.batch else { panic!() };
    let of = &request.resource_spans[0];
    let scope = of.scope_spans[0].scope.clone().unwrap();
    let names = [&of.schema_url, &of.scope_spans[0].schema_url, &scope.name, &scope.version];
    assert_eq!(names, [&cut; 4]);
    let attributes = &of.resource.as_ref().unwrap().attributes;
    let senders = ["service.name", "host.name"].map(|key| KeyValue::new(key, &*cut));
    assert_eq!(attributes[..], [&senders[..], &[kept]].concat());
    assert_eq!(stored_spans(prepared), [stored]);

    let record =
        LogRecord { severity_text: long.clone(), event_name: long, ..LogRecord::default() };
    let prepared = prepare_log_records(logs(vec![record]));
    let Some(TelemetryBatch::Logs { request, .. }) = prepared.batch else { panic!() };
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((&record.severity_text, &record.event_name), (&cut, &cut));
}

#[test]
fn attributes_of_a_resource_above_its_bytes_are_dropped_except_names() {
    let attribute = |key: &str, bytes| KeyValue::new(key, "v".repeat(bytes));
    let kept = [attribute("args", 40_000), attribute("last", 20_000), attribute("service.name", 9)];
    let too_large = attribute("environment", 30_000);
    let [args, last, service] = kept.clone();
    let attributes = vec![args, too_large.clone(), last, too_large.clone(), service];
    let mut request = traces(vec![span()]);
    request.resource_spans[0].resource =
        Some(Resource { attributes, dropped_attributes_count: 1, ..Resource::default() });
    let mut attributes = vec![too_large; 3];
    // A name without a column is cut, too.
    attributes.push(attribute("host.name", 100_000));
    let scope = InstrumentationScope { attributes, ..Default::default() };
    request.resource_spans[0].scope_spans[0].scope = Some(scope);
    let prepared = prepare(request);
    assert!(prepared.message.starts_with("3 attributes dropped: "), "{}", prepared.message);
    let Some(TelemetryBatch::Traces { request, .. }) = &prepared.batch else { panic!() };
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!((&resource.attributes[..], resource.dropped_attributes_count), (&kept[..], 3));
    let scope = request.resource_spans[0].scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((scope.attributes.len(), scope.dropped_attributes_count), (3, 1));
    assert_eq!(scope.attributes[2], attribute("host.name", NAME_BYTES_MAX));
}

#[test]
fn names_of_the_maximum_length_are_kept() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let attributes = vec![KeyValue::new(&*name, 1_i64)];
    let sent = Span { name: name.clone(), trace_state: name, attributes, ..span() };
    let prepared = prepare(traces(vec![sent.clone()]));
    assert_eq!(prepared.message, "");
    assert_eq!(stored_spans(prepared), [sent]);
}

#[test]
fn nothing_is_stored_when_every_span_is_invalid() {
    let prepared = prepare(traces(vec![Span::default(); 100]));
    assert_eq!((prepared.accepted, prepared.rejected), (0, 100));
    assert_eq!(prepared.batch, None);
}

#[test]
fn envelopes_without_records_are_accepted_and_store_nothing() {
    for request in [ExportTraceServiceRequest::default(), traces(Vec::new())] {
        let prepared = prepare(request);
        assert_eq!((prepared.batch, prepared.accepted, prepared.rejected), (None, 0, 0));
        assert_eq!(prepared.message, "");
    }
}

#[test]
fn an_all_zero_parent_means_none() {
    let prepared = prepare(traces(vec![Span { parent_span_id: vec![0; 8], ..span() }]));
    assert_eq!((prepared.rejected, prepared.message.as_str()), (0, ""));
    assert_eq!(stored_spans(prepared), [span()]);
}

#[test]
fn imperfect_values_are_kept_unchanged() {
    let odd = Span {
        kind: 77,
        start_time_unix_nano: 10,
        end_time_unix_nano: 5,
        attributes: vec![
            KeyValue { key: String::new(), value: None },
            KeyValue::new("k", "first"),
            KeyValue::new("k", "second"),
            KeyValue::new("long", "x".repeat(1 << 20)),
            KeyValue::new("nan", f64::INFINITY),
        ],
        ..span()
    };
    assert_eq!(stored_spans(prepare(traces(vec![odd.clone()]))), [odd]);
}

#[test]
fn attributes_above_the_limit_are_dropped_counted_and_reported() {
    let attributes: Vec<_> =
        (0..1030).map(|index| KeyValue::new(format!("k{index}"), 1_i64)).collect();
    let long = Span { attributes, dropped_attributes_count: 2, ..span() };
    let prepared = prepare(traces(vec![long]));
    assert_eq!((prepared.accepted, prepared.rejected), (1, 0));
    let message = "6 attributes dropped: a record keeps 1024, with keys of at most 2048 bytes, \
                   a resource or a scope 65536 bytes of them";
    assert_eq!(prepared.message, message);
    let spans = stored_spans(prepared);
    assert_eq!(spans[0].attributes.len(), ATTRIBUTES_MAX);
    assert_eq!(spans[0].dropped_attributes_count, 8);
}

#[test]
fn a_resource_nested_too_deep_rejects_only_its_own_spans() {
    let mut request = traces(vec![span(), span()]);
    request.resource_spans.extend(traces(vec![span()]).resource_spans);
    request.resource_spans[0].resource.as_mut().unwrap().attributes =
        vec![KeyValue::new("deep", nested(40))];
    let prepared = prepare(request);
    assert_eq!((prepared.accepted, prepared.rejected), (1, 2));
    let Some(TelemetryBatch::Traces { request, .. }) = prepared.batch else { panic!() };
    assert_eq!(request, traces(vec![span()]), "emptied envelopes are gone");
}

#[test]
fn the_deepest_value_accepted_can_be_read_again() {
    for value in [nested(VALUE_DEPTH_MAX), {
        (1..VALUE_DEPTH_MAX).fold(AnyValue::from("x"), |inner, _| {
            Value::Array(ArrayValue { values: vec![inner] }).into()
        })
    }] {
        let event = Event { attributes: vec![KeyValue::new("k", value)], ..Event::default() };
        let request = traces(vec![Span { events: vec![event], ..span() }]);
        let prepared = prepare(request.clone());
        assert_eq!(prepared.accepted, 1);
        let bytes = request.encode_to_vec();
        assert_eq!(ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(), request);
    }
}

#[test]
fn ids_of_log_records_are_optional_and_must_be_valid() {
    type Spoil = fn(&mut LogRecord);
    let table: &[(Spoil, &str)] = &[
        (|_| {}, ""),
        (|record| record.trace_id = vec![0; 16], ""),
        (|record| record.span_id = vec![0; 8], ""),
        (|record| record.trace_id = vec![1; 16], ""),
        (|record| record.span_id = vec![1; 8], ""),
        (|record| record.trace_id = vec![1; 8], "trace id has 8 bytes, 16 are needed"),
        (|record| record.span_id = vec![1; 7], "span id has 7 bytes, 8 are needed"),
        (|record| record.time_unix_nano = u64::MAX, "time is after the year 2262"),
        (
            |record| record.observed_time_unix_nano = u64::MAX,
            "observed time is after the year 2262",
        ),
        (|record| record.body = Some(nested(33)), "a value is nested deeper than 32 levels"),
    ];
    for (spoil, reason) in table {
        let mut record = LogRecord { body: Some("hello".into()), ..LogRecord::default() };
        spoil(&mut record);
        let prepared = prepare_log_records(logs(vec![record]));
        if reason.is_empty() {
            assert_eq!((prepared.accepted, prepared.rejected), (1, 0));
            assert_eq!(prepared.message, "");
        } else {
            assert_eq!((prepared.accepted, prepared.rejected), (0, 1), "{reason}");
            let expected = format!("1 log record: {reason} (first: resource 0, scope 0, record 0)");
            assert_eq!(prepared.message, expected);
        }
    }
}

#[test]
fn zero_ids_of_log_records_are_cleared() {
    let record = LogRecord { trace_id: vec![0; 16], span_id: vec![0; 8], ..LogRecord::default() };
    let prepared = prepare_log_records(logs(vec![record]));
    let expected = logs(vec![LogRecord::default()]);
    assert_eq!(prepared.batch, Some(TelemetryBatch::Logs { request: expected, bytes: None }));
}

#[test]
fn invalid_text_and_non_canonical_encodings_are_left_to_the_decoder() {
    let bytes = traces(vec![span()]).encode_to_vec();
    assert!(accept_in_place(Signal::Traces, &bytes.clone().into(), &Redactor::default()).is_some());
    let at = bytes.windows(3).position(|window| window == b"get").unwrap();
    let mut no_text = bytes.clone();
    no_text[at] = 0xff;
    let cut_off = bytes[..bytes.len() - 1].to_vec();
    let with_group = [bytes, vec![0x0b, 0x0c]].concat();
    for odd in [no_text, cut_off, with_group] {
        assert_eq!(accept_in_place(Signal::Traces, &odd.into(), &Redactor::default()), None);
    }
}

#[test]
fn links_with_ids_that_are_not_hex_are_refused_by_both_checks() {
    for (trace_id, span_id) in [(NOT_HEX.to_vec(), vec![]), (vec![7; 16], NOT_HEX.to_vec())] {
        let links = vec![Link { trace_id, span_id, ..Link::default() }];
        let prepared = prepare(traces(vec![span(), Span { links, ..span() }]));
        assert_eq!(prepared.rejected, 1, "{:?}", prepared.message);
    }
}

#[test]
fn the_estimate_of_rows_exceeds_their_encoded_bytes() {
    let bytes = Bytes::from(traces(vec![span(); 1000]).encode_to_vec());
    let weight = accept_in_place(Signal::Traces, &bytes, &Redactor::default()).unwrap().weight;
    assert!(weight > 400 * 1000, "{weight}");
}
