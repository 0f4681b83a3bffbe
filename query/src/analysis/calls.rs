//! Calls by step.

use std::collections::BTreeMap;

use tidings_proto::{UnixNanos, api::CallsInStep};
use tidings_storage::{Call, Calls};

/// Calls by step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(BTreeMap<UnixNanos, Calls>);

impl Steps {
    /// More calls in this step.
    pub(crate) fn merge(&mut self, step: UnixNanos, calls: &Calls) {
        self.0.entry(step).or_default().merge(calls);
    }

    /// One more call in this step.
    pub(crate) fn add(&mut self, step: UnixNanos, call: &Call) {
        self.0.entry(step).or_default().add(call);
    }

    /// No call is in this step yet.
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
