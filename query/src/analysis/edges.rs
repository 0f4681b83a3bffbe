//! Edges of the service graph by time bucket, read from a snapshot that the caller holds.

use tidings_proto::{
    UnixNanos,
    api::{EdgeKind, NodeKind},
};
use tidings_storage::{Calls, Latency, TimeRange};

use super::service_graph::{self, NodeKey};
use crate::{
    QueryError, QueryLimits,
    execution::{BoundedSnapshot, Reader},
};

/// The calls of one node by another that began in one time range.
#[derive(Debug)]
pub struct PeriodEdge {
    /// Number of the time range, counted from 0.
    pub period: u32,
    /// Calling node.
    pub from: (NodeKind, String),
    /// Called node.
    pub to: (NodeKind, String),
    /// Kind of the calls.
    pub kind: EdgeKind,
    /// Calls from the point of view of the callee.
    pub calls: Calls,
    /// Latency from the point of view of the callers; covers only calls whose caller span is known.
    pub caller: Latency,
}

/// Calls between nodes.
#[derive(Debug)]
pub struct PeriodEdges {
    /// Edges ordered by caller, callee, kind and time range.
    pub edges: Vec<PeriodEdge>,
    /// True when every call is counted. Where no rollup exists, only the newest spans are read.
    pub complete: bool,
}

/// The calls that began between each of these times and the next, as `/api/v1/graph` counts them.
/// The times are ascending. Blocks the thread.
///
/// # Errors
/// `Deadline` and `Cancelled`; when a data file is missing or damaged.
pub fn edges_between(
    bounded: BoundedSnapshot,
    between: &[UnixNanos],
) -> Result<PeriodEdges, QueryError> {
    let (Some(first), Some(last)) = (between.first(), between.last()) else {
        return Ok(PeriodEdges { edges: Vec::new(), complete: true });
    };
    let reader = Reader::over(bounded, QueryLimits::default());
    if let Some(sums) = service_graph::sums(&reader, between)? {
        let mut edges = Vec::new();
        for of in sums {
            for (period, edge) in of.calls {
                let (from, to) = (of.from.clone(), of.to.clone());
                edges.push(PeriodEdge {
                    period,
                    from,
                    to,
                    kind: of.kind,
                    calls: edge.calls,
                    caller: edge.caller,
                });
            }
        }
        return Ok(PeriodEdges { edges, complete: true });
    }
    let range = TimeRange { start: Some(*first), end: Some(*last) };
    let (calls, complete) = service_graph::calls(&reader, range)?;
    let edges = calls.into_iter().flat_map(|of| by_period(of, between)).collect();
    Ok(PeriodEdges { edges, complete })
}

fn by_period(of: service_graph::SingleCalls, between: &[UnixNanos]) -> Vec<PeriodEdge> {
    let mut calls = of.calls;
    calls.sort_by_key(|call| call.start);
    let period_of = |start: UnixNanos| {
        let passed = between.partition_point(|bound| *bound <= start);
        u32::try_from(passed.saturating_sub(1)).unwrap_or(u32::MAX)
    };
    let same = calls.chunk_by(|a, b| period_of(a.start) == period_of(b.start));
    let edges = same.map(|calls| {
        let (mut sums, mut caller) = (Calls::default(), Latency::default());
        for call in calls {
            sums.count += 1;
            sums.errors += u64::from(call.failed);
            if let Some(called) = call.called {
                sums.latency.add(called);
            }
            if let Some(calling) = call.calling {
                caller.add(calling);
            }
        }
        let period = calls.first().map_or(0, |call| period_of(call.start));
        let (from, to): (NodeKey, NodeKey) = (of.from.clone(), of.to.clone());
        PeriodEdge { period, from, to, kind: of.kind, calls: sums, caller }
    });
    edges.collect()
}
