//! The calls of one group: how many, how many failed, how long they took, which stand for them.

use std::collections::{BTreeMap, HashSet};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CallsInStep, Exemplar},
};

use super::latency::Latency;

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// It, as it would stand for others.
    pub exemplar: Exemplar,
    /// Whether it failed.
    pub failed: bool,
    /// Whether its duration is known: it has started and ended.
    pub timed: bool,
}

/// Some calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    /// How many.
    pub count: u64,
    /// How many failed.
    pub errors: u64,
    /// How long those took that have ended.
    pub latency: Latency,
    slowest: Option<Exemplar>,
    failed: Option<Exemplar>,
}

impl Calls {
    /// One more.
    pub(crate) fn add(&mut self, call: &Call) {
        self.count += 1;
        if call.timed {
            self.latency.add(call.exemplar.duration_nano);
            keep(&mut self.slowest, call.exemplar, |one| {
                (one.duration_nano, one.start_unix_nano, one.trace_id, one.span_id)
            });
        }
        if call.failed {
            self.errors += 1;
            keep(&mut self.failed, call.exemplar, |one| {
                (one.start_unix_nano, one.trace_id, one.span_id, one.duration_nano)
            });
        }
    }

    /// The slowest of those that have ended.
    pub(crate) fn slowest(&self) -> Option<Exemplar> {
        self.slowest
    }

    /// The last that failed.
    pub(crate) fn failed(&self) -> Option<Exemplar> {
        self.failed
    }
}

/// Keeps the one with the greatest key, whatever order they come in.
fn keep<K: Ord>(kept: &mut Option<Exemplar>, other: Exemplar, key: impl Fn(&Exemplar) -> K) {
    if kept.is_none_or(|kept| key(&kept) < key(&other)) {
        *kept = Some(other);
    }
}

/// Calls by step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(BTreeMap<UnixNanos, Calls>);

impl Steps {
    /// One more call in this step.
    pub(crate) fn add(&mut self, step: UnixNanos, call: &Call) {
        self.0.entry(step).or_default().add(call);
    }

    /// What the API says of them; counts are times `factor`.
    pub(crate) fn view(&self, factor: u64) -> Vec<CallsInStep> {
        let step = |(start, calls): (&UnixNanos, &Calls)| CallsInStep {
            start_unix_nano: *start,
            count: calls.count.saturating_mul(factor),
            error_count: calls.errors.saturating_mul(factor),
            duration: calls.latency.stats(),
            slowest: calls.slowest,
            failed: calls.failed,
        };
        self.0.iter().map(step).collect()
    }
}

/// Tells spans that came before from new ones, as far as they can be remembered.
#[derive(Debug)]
pub(crate) struct Seen {
    hashes: HashSet<u64>,
    hashes_max: usize,
    /// Whether a span that came before may have been taken for a new one.
    pub forgot: bool,
}

impl Seen {
    /// Remembers so many.
    pub(crate) fn new(hashes_max: usize) -> Self {
        Self { hashes: HashSet::new(), hashes_max, forgot: false }
    }

    /// Whether no span with this content came before.
    pub(crate) fn is_new(&mut self, content_hash: u64) -> bool {
        if self.hashes.len() < self.hashes_max {
            return self.hashes.insert(content_hash);
        }
        let new = !self.hashes.contains(&content_hash);
        self.forgot |= new;
        new
    }
}

/// How long it took: nothing where the end comes first, not known where it has not ended.
pub(crate) fn timed(start: UnixNanos, end: UnixNanos) -> (DurationNanos, bool) {
    (end.since(start), start.0 != 0 && end.0 != 0)
}
