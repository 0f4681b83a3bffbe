use std::collections::{BTreeSet, HashMap};

use fastrand::Rng;
use tidings_proto::{UnixNanos, otlp::SpanKind};

use super::{fleet::Crew, render, shop};

const END: UnixNanos = UnixNanos(1_700_000_000_000_000_000);

fn rendered(seed: u64, count: usize) -> Vec<render::Rendered> {
    let mut rng = Rng::with_seed(seed);
    let mut one = || {
        let (transaction, crew) = (shop::transaction(&mut rng), Crew::new(rng.u64(..), None));
        render::transaction(&transaction, END, &crew, &mut rng)
    };
    (0..count).map(|_| one()).collect()
}

#[test]
fn the_same_seed_makes_the_same_traffic() {
    let facts = |seed| {
        let parts = rendered(seed, 20).into_iter();
        parts.map(|part| (part.traces, part.logs, part.zipkin)).collect::<Vec<_>>()
    };
    assert_eq!(facts(7), facts(7));
    assert_ne!(facts(7), facts(8));
}

#[test]
fn a_few_hundred_transactions_show_every_case() {
    let (mut services, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let (mut errors, mut joined, mut most_queries) = (0, 0, 0);
    for part in rendered(1, 400) {
        let resources = part.traces.iter().flat_map(|request| &request.resource_spans);
        for resource in resources {
            let name = format!("{:?}", resource.resource.as_ref().unwrap().attributes[0].value());
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            most_queries = most_queries
                .max(spans.clone().filter(|span| span.name == "SELECT product_details").count());
            for span in spans {
                kinds.insert(span.kind);
                errors += usize::from(span.status.is_some());
            }
            services.insert(name);
        }
        for span in &part.zipkin {
            services.insert(span["localEndpoint"]["serviceName"].to_string());
            joined += usize::from(span["shared"] == true);
        }
    }
    assert_eq!(services.len(), 12, "{services:?}");
    for kind in [SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer] {
        assert!(kinds.contains(&i32::from(kind)), "{kind:?}");
    }
    assert!(errors > 0 && joined > 0 && most_queries > 10);
}

#[test]
fn children_lie_within_their_parents_unless_nobody_waits() {
    for part in rendered(3, 200) {
        let spans: Vec<_> = part
            .traces
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans)
            .collect();
        let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id.clone(), *span)).collect();
        for span in &spans {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            let Some(parent) = by_id.get(&span.parent_span_id) else { continue };
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            if span.kind != i32::from(SpanKind::Consumer) {
                assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{span:?}");
            }
        }
    }
}
