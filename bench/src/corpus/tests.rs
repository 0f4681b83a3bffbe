use std::collections::{HashMap, HashSet};

use prost::Message;
use tidings_proto::otlp::{ExportTraceServiceRequest, Span, Value};

use super::{Corpus, Plan, TelemetryKind};

const END: u64 = 1_790_000_000_000_000_000;

fn decoded(plan: &Plan<'_>) -> Vec<ExportTraceServiceRequest> {
    plan.sends
        .iter()
        .map(|send| ExportTraceServiceRequest::decode(plan.body(send).as_slice()).unwrap())
        .collect()
}

fn spans(requests: &[ExportTraceServiceRequest]) -> Vec<&Span> {
    requests
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|of| &of.scope_spans)
        .flat_map(|of| &of.spans)
        .collect()
}

#[test]
fn the_same_seed_sends_the_same_bytes() {
    let bodies = |seed| {
        let corpus = Corpus::new(TelemetryKind::Realistic, 2_000, seed);
        let plan = corpus.plan(3_000, END);
        plan.sends.iter().map(|send| plan.body(send)).collect::<Vec<_>>()
    };
    assert_eq!(bodies(1), bodies(1));
    assert_ne!(bodies(1), bodies(2));
}

#[test]
fn a_plan_knows_what_it_sends() {
    for shape in [TelemetryKind::Realistic, TelemetryKind::J10] {
        let corpus = Corpus::new(shape, 8_000, 1);
        let plan = corpus.plan(20_000, END);
        let requests = decoded(&plan);
        let sent = spans(&requests);
        assert_eq!(sent.len() as u64, plan.sends.iter().map(|send| send.spans).sum::<u64>());
        let mut ids: HashMap<&[u8], HashSet<&[u8]>> = HashMap::new();
        for span in &sent {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(span.end_time_unix_nano < END + 60_000_000_000);
            ids.entry(&span.trace_id).or_default().insert(&span.span_id);
        }
        assert_eq!(ids.values().map(|spans| spans.len() as u64).sum::<u64>(), plan.spans);
        for trace in plan.traces(100) {
            assert_eq!(ids[&trace.trace_id[..]].len(), trace.spans as usize);
        }
        for span in &sent {
            let there = |id: &[u8]| id.is_empty() || ids[&span.trace_id[..]].contains(id);
            assert!(there(&span.parent_span_id), "a parent is missing");
            assert!(
                span.links.iter().all(|link| ids[&link.trace_id[..]].contains(&link.span_id[..]))
            );
        }
    }
}

#[test]
fn needles_are_in_one_trace() {
    let corpus = Corpus::new(TelemetryKind::Realistic, 4_000, 1);
    let plan = corpus.plan(8_000, END);
    let requests = decoded(&plan);
    let needles = plan.needles(10);
    assert_eq!(needles.len(), 10);
    for needle in needles {
        let (key, value) = needle.split_once('=').unwrap();
        let has = |span: &&Span| {
            span.attributes.iter().any(|attribute| {
                attribute.key == key
                    && matches!(attribute.value(), Some(Value::String(text)) if text == value)
            })
        };
        let traces: HashSet<_> =
            spans(&requests).into_iter().filter(has).map(|span| &span.trace_id).collect();
        assert_eq!(traces.len(), 1, "{needle}");
    }
}

#[test]
fn realistic_spans_are_like_those_of_real_systems() {
    let corpus = Corpus::new(TelemetryKind::Realistic, 20_000, 1);
    let plan = corpus.plan(20_000, END);
    let requests = decoded(&plan);
    let sent = spans(&requests);
    let count = sent.len() as f64;
    let attributes: Vec<_> = sent.iter().map(|span| span.attributes.len()).collect();
    assert!(attributes.iter().all(|attributes| (10..=50).contains(attributes)));
    let mean = attributes.iter().sum::<usize>() as f64 / count;
    let share =
        |has: fn(&Span) -> bool| sent.iter().filter(|span| has(span)).count() as f64 / count;
    let failed = share(|span| span.status.as_ref().is_some_and(|status| status.code == 2));
    let linked = share(|span| !span.links.is_empty());
    assert!((18.0..22.0).contains(&mean), "{mean} attributes");
    assert!((0.015..0.025).contains(&failed), "{failed} failed");
    assert!((0.02..0.04).contains(&linked), "{linked} linked");
    // What batches of real traces compress to: <https://github.com/open-telemetry/oteps/pull/171>.
    let (mut raw, mut compressed) = (0, 0);
    for send in plan.sends.iter().filter(|send| send.spans > 100) {
        let body = plan.body(send);
        raw += body.len();
        compressed += zstd::bulk::compress(&body, 3).unwrap().len();
    }
    let ratio = raw as f64 / compressed as f64;
    assert!((8.0..10.0).contains(&ratio), "{ratio} to 1");
}

#[test]
fn j10_spans_are_as_published() {
    let corpus = Corpus::new(TelemetryKind::J10, 1, 1);
    let plan = corpus.plan(1, END);
    let requests = decoded(&plan);
    let sent = spans(&requests);
    assert!(sent.iter().all(|span| span.attributes.len() == 11));
    let keys: HashSet<_> =
        sent.iter().flat_map(|span| &span.attributes).map(|attribute| &attribute.key).collect();
    assert_eq!(keys.len(), 97);
}
