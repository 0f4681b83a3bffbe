//! Aggregates over many spans: rates, latencies, graphs, differences.
//!
//! Every answer streams over a snapshot in bounded memory and says which part it could not read.
//! `window` cuts time into steps, `CallSteps` aggregates the calls of a group, and `each_tree` reads
//! whole traces in portions. Each of the other modules answers one query. Rules about single traces are
//! assembly's.

pub(crate) mod changes;
pub mod deployments;
pub(crate) mod edges;
pub mod exception_transactions;
pub mod exceptions;
pub mod explain;
pub mod heatmap;
pub mod log_histogram;
pub mod log_stats;
pub mod patterns;
pub mod red;
pub mod service_graph;
pub mod trace_comparison;
pub mod transaction_types;
pub mod window;

use std::collections::BTreeMap;

use tidings_proto::{TraceId, UnixNanos, api::CallsInStep};
use tidings_storage::{Call, Calls};

use crate::{
    QueryError,
    execution::Reader,
    search,
    trace::{trace_rows::Names, tree::Tree},
};

pub use changes::{BaselineChoice, ChangeSearch};
pub use deployments::DeploymentSearch;
pub use edges::{PeriodEdge, PeriodEdges, edges_between};
pub use exception_transactions::ExceptionTransactionSearch;
pub use exceptions::ExceptionSearch;
pub use explain::{ExplainSearch, Selection};
pub use heatmap::HeatmapSearch;
pub use log_histogram::LogHistogramSearch;
pub use log_stats::LogStatsSearch;
pub use patterns::PatternSearch;
pub use red::{RedKey, RedKeys, RedSearch};
pub use service_graph::GraphSearch;
pub use trace_comparison::{CompareSearch, ComparedWith};
pub use transaction_types::{BreakdownThreshold, TransactionTypeSearch};

/// Calls of a group by step.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallSteps(BTreeMap<UnixNanos, Calls>);

impl CallSteps {
    /// Adds several calls in this step.
    pub(crate) fn merge(&mut self, step: UnixNanos, calls: &Calls) {
        self.0.entry(step).or_default().merge(calls);
    }

    /// Adds a call in this step.
    pub(crate) fn add(&mut self, step: UnixNanos, call: &Call) {
        self.0.entry(step).or_default().add(call);
    }

    /// Reports whether the step has no calls yet.
    pub(crate) fn is_new(&self, step: UnixNanos) -> bool {
        !self.0.contains_key(&step)
    }

    /// Merges the calls of all steps that begin at this time or later.
    pub(crate) fn since(&self, start: UnixNanos) -> Calls {
        let mut calls = Calls::default();
        self.0.range(start..).for_each(|(_, of)| calls.merge(of));
        calls
    }

    /// Returns the steps as API views, ascending; every count is multiplied by `factor`.
    pub(crate) fn view(&self, factor: u64) -> Vec<CallsInStep> {
        let step = |(start, calls): (&UnixNanos, &Calls)| in_step(*start, calls, factor);
        self.0.iter().map(step).collect()
    }
}

/// Returns the API view of one step's calls; every count is multiplied by `factor`.
pub(crate) fn in_step(start: UnixNanos, calls: &Calls, factor: u64) -> CallsInStep {
    CallsInStep {
        start_unix_nano: start,
        count: calls.count.saturating_mul(factor),
        error_count: calls.errors.saturating_mul(factor),
        duration: calls.latency.stats(),
        slowest: calls.slowest(),
        failed: calls.failed(),
    }
}

/// Maximum number of traces that are read at once.
const TREES_PORTION: usize = 100;

/// Assembles each of these traces and passes it to `visit`, in the given order. Traces without
/// spans are left out. Returns the number of traces that are too large to be read.
pub(crate) fn each_tree(
    reader: &Reader,
    ids: &[TraceId],
    mut visit: impl FnMut(&Tree, &Names),
) -> Result<u64, QueryError> {
    let mut waiting: Vec<&[TraceId]> = ids.chunks(TREES_PORTION).rev().collect();
    let mut too_large = 0;
    while let Some(portion) = waiting.pop() {
        match search::trees(reader, portion) {
            Ok((trees, gathered)) => {
                trees.iter().for_each(|tree| visit(tree, &gathered.names));
            }
            Err(error) if error.is_too_large() && portion.len() > 1 => {
                let (first, rest) = portion.split_at(portion.len() / 2);
                waiting.extend([rest, first]);
            }
            Err(error) if error.is_too_large() => too_large += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(too_large)
}
