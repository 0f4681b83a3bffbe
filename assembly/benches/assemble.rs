//! Benchmark of assembly on traces of everyday, large and huge size.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidings_assembly::{SpanFacts, assemble};
use tidings_proto::{SpanId, UnixNanos, otlp::SpanKind};

/// A trace in which each span calls eight others, one after another, in a scrambled order.
fn trace(spans: u64) -> Vec<SpanFacts> {
    const WHOLE: u64 = 1 << 40;
    let id = |number: u64| SpanId::from_bytes((number + 1).to_be_bytes());
    let mut facts: Vec<SpanFacts> = Vec::new();
    for number in 0..spans {
        let parent = number.checked_sub(1).map(|before| before / 8);
        let above = parent.and_then(|parent| facts.get(usize::try_from(parent).ok()?)).copied();
        let (start, length) = above.map_or((1, WHOLE), |above| {
            let length = (above.end.0 - above.start.0) / 8;
            (above.start.0 + (number - 1) % 8 * length, length)
        });
        facts.push(SpanFacts {
            span_id: id(number).expect("invariant: never zero"),
            parent_span_id: parent.and_then(id),
            kind: if number % 2 == 0 { SpanKind::Server } else { SpanKind::Client },
            start: UnixNanos(start),
            end: UnixNanos(start + length),
            service: 3,
            operation: 7,
            content_hash: number,
        });
    }
    facts.sort_by_key(|span| span.content_hash.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    facts
}

fn assembly(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assemble");
    for spans in [10, 1_000, 100_000] {
        let facts = trace(spans);
        group.throughput(Throughput::Elements(spans));
        group.bench_with_input(BenchmarkId::from_parameter(spans), &facts, |bencher, facts| {
            bencher.iter(|| assemble(black_box(facts)));
        });
    }
    group.finish();
}

criterion_group!(benches, assembly);
criterion_main!(benches);
