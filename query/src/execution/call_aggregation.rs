//! Aggregates of calls that several threads read.
//!
//! Owns the join of these aggregates. Each thread aggregates the calls of a share of the time, and
//! a [`CallAggregation`] joins the shares. Groups may fit into each share and not into the joined
//! aggregate. The division into shares would then decide which groups have room, so one thread
//! reads everything again. Queries aggregate calls by [`Reader::aggregate_calls`] alone. Does not
//! own the number of threads, which is that of `thread_budget`.

use std::{
    ops::ControlFlow,
    sync::{Arc, OnceLock},
};

use tidings_proto::DurationNanos;
use tidings_storage::{CallAccumulatorFactory, CallAggregate, CallBounds, ScanStats, SpanFilter};

use super::{Reader, STOP};
use crate::QueryError;

/// Factory of accumulators that joins the aggregates of all threads to one of type `J`.
pub trait CallAggregation<J>: CallAccumulatorFactory {
    /// Joins the aggregate of the calls that arrived in no order of time and those of all other
    /// calls, by time range, the latest first.
    fn joined(&self, unordered: Arc<Self::Accumulator>, shares: Vec<Self::Accumulator>) -> J;

    /// Returns true if there was no room for a group, in a share or in the joined aggregate. Groups
    /// without calls count, because they take room.
    fn is_cut(&self, joined: &J) -> bool;
}

/// Joined aggregate of calls, and how they were read.
#[derive(Debug)]
pub struct JoinedCalls<J> {
    /// Rows and files read.
    pub scan: ScanStats,
    /// True if a repeated span may be counted twice.
    pub repeats_counted: bool,
    /// The aggregate.
    pub calls: J,
}

impl<J> JoinedCalls<J> {
    fn new<T: CallAggregation<J>>(
        aggregation: &T,
        aggregate: CallAggregate<T::Accumulator>,
    ) -> Self {
        let CallAggregate { scan, repeats_counted, unordered, shares } = aggregate;
        Self { scan, repeats_counted, calls: aggregation.joined(unordered, shares) }
    }
}

impl Reader {
    /// Aggregates every matching call, one for each span: from rollups where possible, from rows
    /// elsewhere. Idle threads help. The groups do not depend on the number of threads: where
    /// several have cut the aggregate, one thread reads everything again, and the statistics are
    /// those of that reading.
    ///
    /// # Errors
    /// The errors of [`Self::check`], and `Storage` when a file cannot be read.
    pub fn aggregate_calls<J, T: CallAggregation<J>>(
        &self,
        filter: &SpanFilter,
        step: DurationNanos,
        aggregation: &T,
    ) -> Result<JoinedCalls<J>, QueryError> {
        let lease = self.thread_budget.lease_free();
        let aggregate = self.aggregate_shares(1 + lease.count(), filter, step, aggregation)?;
        drop(lease);
        let share_count = aggregate.shares.len();
        let joined = JoinedCalls::new(aggregation, aggregate);
        if share_count < 2 || !aggregation.is_cut(&joined.calls) {
            return Ok(joined);
        }
        // Two aggregates are not in memory at once.
        drop(joined);
        let aggregate = self.aggregate_shares(1, filter, step, aggregation)?;
        Ok(JoinedCalls::new(aggregation, aggregate))
    }

    /// Aggregates the calls in as many shares as this number of threads, at most.
    fn aggregate_shares<T: CallAccumulatorFactory>(
        &self,
        threads_max: usize,
        filter: &SpanFilter,
        step: DurationNanos,
        accumulators: &T,
    ) -> Result<CallAggregate<T::Accumulator>, QueryError> {
        self.check()?;
        let bounds = CallBounds {
            rows_max: self.settings.search_rows_max,
            remembered_max: self.limits.counted_max,
            threads_max,
        };
        let failure = OnceLock::new();
        let watch = || match self.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                // The first thread that fails sets the error.
                let _ = failure.set(error);
                STOP
            }
        };
        let aggregate =
            self.snapshot.aggregate_calls(filter, step, bounds, accumulators, &watch)?;
        self.ended(aggregate, failure.into_inner())
    }
}

#[cfg(test)]
mod tests;
