//! Services whose clock differs from that of their callers. Calls show it that end outside of the
//! call that they answer.

use std::collections::BTreeMap;

use tidings_proto::{OffsetNanos, api::ServiceClock, otlp::SpanKind};

use super::sampled::{SampledTrace, Sides};
use crate::trace::trace_rows::Names;

/// Minimum difference of clocks that is reported, in nanoseconds.
const OFFSET_MIN: i64 = 5_000_000;
/// Minimum number of calls that a clock offset is computed from.
const CALLS_MIN: usize = 5;

/// Offsets of the calls of one service by another.
#[derive(Debug, Default)]
struct Offsets {
    calls: usize,
    outside: Vec<i64>,
}

/// Clock offsets by service and its caller.
type Edges = BTreeMap<(u32, u32), Offsets>;

/// The clocks that differ in the window and did not differ in the baseline, the worst first.
pub(super) fn clocks(traces: Sides<&[SampledTrace]>, names: &Names) -> Vec<ServiceClock> {
    let Sides { now, before } = traces.map(edges);
    let mut clocks: Vec<ServiceClock> = Vec::new();
    for ((service, caller), of) in now {
        let was = before.get(&(service, caller)).and_then(usual).unwrap_or(0);
        let Some(is) = usual(&of) else { continue };
        if (is - was).abs() < OFFSET_MIN {
            continue;
        }
        clocks.push(ServiceClock {
            service: names.text(service).to_owned(),
            compared_with: names.text(caller).to_owned(),
            offset_nano: OffsetNanos(is),
            before_nano: OffsetNanos(was),
            call_count: of.calls as u64,
            outside_count: of.outside.len() as u64,
        });
    }
    clocks
        .sort_by_key(|clock| (std::cmp::Reverse(clock.offset_nano.0.abs()), clock.service.clone()));
    clocks
}

/// The median offset, when at least a tenth of the calls do not lie within the call that they
/// answer.
fn usual(of: &Offsets) -> Option<i64> {
    let is_frequent = of.outside.len() >= CALLS_MIN && of.outside.len() * 10 >= of.calls;
    let mut outside = of.outside.clone();
    outside.sort_unstable();
    outside.get(outside.len() / 2).copied().filter(|_| is_frequent)
}

fn edges(traces: &[SampledTrace]) -> Edges {
    let mut edges = Edges::new();
    for trace in traces {
        for span in trace.spans.iter().filter(|span| span.kind == SpanKind::Server) {
            let Some(caller) = span.parent.map(|parent| trace.span(parent)) else { continue };
            if caller.kind != SpanKind::Client || caller.service == span.service {
                continue;
            }
            let of = edges.entry((span.service, caller.service)).or_default();
            of.calls += 1;
            let end = span.start.saturating_add(span.duration);
            let answered = caller.start.saturating_add(caller.duration);
            if span.start < caller.start || end > answered {
                // A span is expected in the middle of its call.
                let slack = caller.duration.saturating_sub(span.duration) / 2;
                let expected = caller.start.saturating_add(slack);
                let ahead = i128::from(span.start) - i128::from(expected);
                of.outside.push(i64::try_from(ahead).unwrap_or(0));
            }
        }
    }
    edges
}
