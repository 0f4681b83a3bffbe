use serde_json::Value as Json;
use tidings_proto::{
    jaeger::{WARNINGS, from_otlp},
    otlp::{
        ArrayValue, ExportTraceServiceRequest, KeyValue, Link, Resource, ResourceSpans, ScopeSpans,
        Span, SpanKind, Value,
    },
};

use super::adjust::adjust;

/// A trace in which each span has a resource of its own.
fn trace(spans: Vec<(Vec<KeyValue>, Span)>) -> ExportTraceServiceRequest {
    let group = |(attributes, span)| ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: spans.into_iter().map(group).collect() }
}

fn span(id: u64, parent: u64, kind: SpanKind) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { vec![] } else { parent.to_be_bytes().to_vec() },
        kind: kind.into(),
        ..Span::default()
    }
}

fn host(name: &str) -> Vec<KeyValue> {
    vec![KeyValue::new("host.ip", Value::Array(ArrayValue { values: vec![name.into()] }))]
}

fn at(span: Span, start_ms: u64, duration_ms: u64) -> Span {
    let start = (1_000 + start_ms) * 1_000_000;
    Span {
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration_ms * 1_000_000,
        ..span
    }
}

/// Formats each span as `id<parent`.
fn ids(trace: &ExportTraceServiceRequest) -> Vec<String> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let groups = trace.resource_spans.iter();
    groups
        .flat_map(|group| &group.scope_spans[0].spans)
        .map(|span| format!("{}<{}", number(&span.span_id), number(&span.parent_span_id)))
        .collect()
}

fn warnings(trace: &ExportTraceServiceRequest) -> Vec<Vec<String>> {
    from_otlp(trace).spans.into_iter().map(|span| span.warnings).collect()
}

#[test]
fn a_server_that_shares_its_clients_id_gets_its_own() {
    use SpanKind::{Client, Internal, Server};
    let service = |name: &str| vec![KeyValue::new("service.name", name)];
    for (name, given, expected) in [
        (
            "nothing shared",
            vec![("a", span(1, 0, Client)), ("b", span(2, 1, Server))],
            vec!["1<0", "2<1"],
        ),
        (
            "Jaeger's own case: all of one resource",
            vec![
                ("a", span(1, 0, Client)),
                ("a", span(1, 0, Server)),
                ("a", span(1 << 56, 1, Internal)),
            ],
            vec!["1<0", "2<1", "72057594037927936<2"],
        ),
        (
            "a child of another service follows the only server",
            vec![("a", span(7, 0, Client)), ("b", span(7, 0, Server)), ("c", span(8, 7, Server))],
            vec!["7<0", "1<7", "8<1"],
        ),
        (
            "a child of the client stays",
            vec![("a", span(7, 0, Client)), ("b", span(7, 0, Server)), ("a", span(8, 7, Internal))],
            vec!["7<0", "1<7", "8<7"],
        ),
        (
            "of two servers each keeps its own",
            vec![
                ("a", span(7, 0, Client)),
                ("b", span(7, 0, Server)),
                ("c", span(7, 0, Server)),
                ("b", span(1, 7, Internal)),
                ("c", span(9, 7, Internal)),
                ("d", span(10, 7, Internal)),
            ],
            vec!["7<0", "2<7", "3<7", "1<2", "9<3", "10<7"],
        ),
        (
            "ids of producers and consumers are left alone",
            vec![("a", span(7, 0, SpanKind::Producer)), ("b", span(7, 0, SpanKind::Consumer))],
            vec!["7<0", "7<0"],
        ),
    ] {
        let given = given.into_iter().map(|(name, span)| (service(name), span)).collect();
        let mut trace = trace(given);
        // Spans of one resource are one group, as in an export.
        trace.resource_spans.sort_by_key(|group| {
            group.resource.clone().unwrap_or_default().attributes[0].value().map(Value::to_text)
        });
        trace.resource_spans.dedup_by(|next, first| {
            let same = next.resource == first.resource;
            if same {
                first.scope_spans[0].spans.append(&mut next.scope_spans[0].spans);
            }
            same
        });
        adjust(&mut trace);
        let mut found = ids(&trace);
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn integers_that_are_addresses_become_texts() {
    let mut given = span(1, 0, SpanKind::Client);
    given.attributes = vec![
        KeyValue::new("peer.ipv4", 0x7f00_0001_i64),
        KeyValue::new("ip", -1_i64),
        KeyValue::new("peer.port", 80_i64),
        KeyValue::new("a", "ip"),
    ];
    let mut trace = trace(vec![(vec![], given)]);
    adjust(&mut trace);
    let shown = shown(&trace.resource_spans[0].scope_spans[0].spans[0].attributes);
    assert_eq!(shown, ["a=ip", "ip=255.255.255.255", "peer.ipv4=127.0.0.1", "peer.port=80"]);
}

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let shown = |attribute: &KeyValue| {
        format!("{}={}", attribute.key, attribute.value().unwrap().to_text())
    };
    attributes.iter().map(shown).collect()
}

#[test]
fn doubles_and_attributes_of_resources_that_are_addresses_become_texts() {
    let mut given = span(1, 0, SpanKind::Client);
    let address = |first: u32| f64::from(first << 24 | 2 << 16 | 3 << 8 | 4);
    given.attributes = vec![KeyValue::new("ip", address(4)), KeyValue::new("port", 1.5)];
    let resource = vec![KeyValue::new("ip", 0x0102_0304_i64), KeyValue::new("peer.ipv4", "text")];
    let mut trace = trace(vec![(resource, given)]);
    adjust(&mut trace);
    let group = &trace.resource_spans[0];
    assert_eq!(shown(&group.scope_spans[0].spans[0].attributes), ["ip=4.2.3.4", "port=1.5"]);
    let resource = &group.resource.as_ref().unwrap().attributes;
    assert_eq!(shown(resource), ["ip=1.2.3.4", "peer.ipv4=text"]);
}

#[test]
fn attributes_of_the_library_move_to_the_resource() {
    let with = |value: &str| {
        let attributes = vec![KeyValue::new("telemetry.sdk.name", value), KeyValue::new("k", "v")];
        Span { attributes, ..span(1, 0, SpanKind::Client) }
    };
    let mut moved = trace(vec![(vec![], with("otel"))]);
    adjust(&mut moved);
    let process = &from_otlp(&moved).processes[0];
    assert_eq!(process.tags[0].v_str, "otel");
    assert_eq!(moved.resource_spans[0].scope_spans[0].spans[0].attributes.len(), 1);
    let mut conflict = trace(vec![(vec![KeyValue::new("telemetry.sdk.name", "x")], with("otel"))]);
    adjust(&mut conflict);
    let text = "conflicting values between Span and Resource for attribute telemetry.sdk.name";
    assert_eq!(warnings(&conflict), [[text]]);
}

#[test]
fn links_to_nowhere_go() {
    let link = |trace: u8, id: u8| Link {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        ..Link::default()
    };
    for (links, left, warned) in
        [(vec![], 0, 0), (vec![link(0, 0)], 0, 1), (vec![link(1, 1), link(0, 0)], 1, 1)]
    {
        let mut trace = trace(vec![(vec![], Span { links, ..span(1, 0, SpanKind::Client) })]);
        adjust(&mut trace);
        assert_eq!(trace.resource_spans[0].scope_spans[0].spans[0].links.len(), left);
        let warnings = warnings(&trace);
        assert_eq!(warnings[0].len(), warned);
        assert!(warnings[0].iter().all(|text| text == "Invalid span link removed"));
    }
}

#[test]
fn attributes_and_events_are_sorted_and_warnings_are_no_tags() {
    let mut given = span(1, 9, SpanKind::Client);
    given.attributes = vec![KeyValue::new("b", 1_i64), KeyValue::new("a", 2_i64)];
    let mut trace =
        trace(vec![(vec![KeyValue::new("z", 1_i64), KeyValue::new("y", 1_i64)], given)]);
    adjust(&mut trace);
    let shown: Json = serde_json::to_value(from_otlp(&trace)).unwrap();
    let keys = |tags: &Json| {
        let tags = tags.as_array().unwrap().iter();
        tags.map(|tag| tag["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&shown["spans"][0]["tags"]), "a b span.kind");
    assert_eq!(keys(&shown["processes"]["p1"]["tags"]), "y z");
    assert!(!shown.to_string().contains(WARNINGS));
    let text =
        "parent span ID=0000000000000009 is not in the trace; skipping clock skew adjustment";
    assert_eq!(shown["spans"][0]["warnings"], serde_json::json!([text]));
}

#[test]
fn differing_clocks_are_reported_and_not_adjusted() {
    let (client, server) = (SpanKind::Client, SpanKind::Server);
    let mut given = trace(vec![
        (host("a"), at(span(1, 0, client), 10, 100)),
        (host("b"), at(span(2, 1, server), 50, 70)),
        (host("b"), at(span(3, 2, server), 60, 20)),
        (host("a"), at(span(4, 1, server), 0, 50)),
        (host("c"), at(span(5, 1, server), 20, 20)),
        (host("c"), at(span(6, 1, server), 0, 400)),
    ]);
    let before = given.clone();
    adjust(&mut given);
    let delta = |text: &str| {
        vec![format!("clock skew adjustment disabled; not applying calculated delta of {text}")]
    };
    assert_eq!(
        warnings(&given),
        [vec![], delta("-25ms"), delta("-25ms"), vec![], vec![], delta("10ms")]
    );
    for (before, after) in before.resource_spans.iter().zip(&given.resource_spans) {
        let start = |group: &ResourceSpans| group.scope_spans[0].spans[0].start_time_unix_nano;
        assert_eq!(start(before), start(after));
    }
}

#[test]
fn duplicate_ids_and_cycles_get_warnings() {
    let same = vec![(vec![], span(1, 0, SpanKind::Client)), (vec![], span(1, 0, SpanKind::Client))];
    let mut duplicates = trace(same);
    adjust(&mut duplicates);
    let text = "duplicate span IDs; skipping clock skew adjustment";
    assert_eq!(warnings(&duplicates), [vec![], vec![text.to_owned()]]);
    let mut cycle = trace(vec![
        (vec![], span(1, 2, SpanKind::Client)),
        (vec![], span(2, 1, SpanKind::Server)),
        (vec![], span(3, 3, SpanKind::Server)),
    ]);
    adjust(&mut cycle);
    assert_eq!(ids(&cycle), ["1<2", "2<1", "3<3"]);
    let chain = (1..50_000).map(|id| (vec![], span(id, id - 1, SpanKind::Internal)));
    let mut deep = trace(chain.collect());
    adjust(&mut deep);
    let mut nothing = ExportTraceServiceRequest::default();
    adjust(&mut nothing);
}

/// Jaeger's test cases for clocks, without changed times: a warning for each difference, and no
/// others.
#[test]
fn jaegers_cases_of_clocks_hold() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/corpora/clock-skew/jaeger-cases.json"
    );
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!("left out: clock-skew is not here");
        return;
    };
    let cases: Json = serde_json::from_slice(&bytes).unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let id = |value: &Json| u64::from_str_radix(value.as_str().unwrap_or("0"), 16).unwrap();
        let millis = |value: &Json| value.as_u64().unwrap();
        let spans = case["spans"].as_array().unwrap();
        let given = spans.iter().map(|given| {
            let own = span(id(&given["spanId"]), id(&given["parentSpanId"]), SpanKind::Internal);
            let own = at(own, millis(&given["start_ms"]), millis(&given["duration_ms"]));
            (host(given["host_ip"].as_str().unwrap_or_default()), own)
        });
        let mut trace = trace(given.collect());
        adjust(&mut trace);
        let warned = warnings(&trace).into_iter().flatten().collect::<Vec<_>>();
        let moved = spans.iter().any(|span| span["expect_adjusted_start_ms"] != span["start_ms"]);
        let expected = case["expect_warning"].as_str().unwrap_or_default();
        let skewed = warned.iter().any(|text| text.contains("calculated delta"));
        assert_eq!(skewed, moved || expected.contains("delta"), "{}: {warned:?}", case["case"]);
        if !expected.is_empty() && !expected.contains("delta") {
            assert!(warned.iter().any(|text| text == expected), "{}: {warned:?}", case["case"]);
        }
    }
}
