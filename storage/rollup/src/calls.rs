//! Calls of one group: count, errors, latency and exemplars.

use tidings_columns::SpanRows;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::Exemplar,
    otlp::{SpanKind, StatusCode},
};

use super::Latency;

/// Key of a group in a file: two texts and two numbers. For [`CallKey`]: service and operation,
/// kind and status.
pub type RawKey<'a> = ([&'a str; 2], [i32; 2]);

/// Group key of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKey<'a> {
    /// Service that was called.
    pub service: &'a str,
    /// Name of the span.
    pub operation: &'a str,
    /// Kind of the span.
    pub kind: SpanKind,
    /// Status of the span.
    pub status: StatusCode,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call {
    /// Identity, start and duration of the call, in the form of an exemplar.
    pub exemplar: Exemplar,
    /// True if the call failed.
    pub failed: bool,
    /// True if the duration is known: the span has started and ended.
    pub timed: bool,
}

/// Numbers of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub errors: u64,
}

/// Aggregate of calls. The order and the grouping of additions do not change the result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub errors: u64,
    /// Latency of the calls that have ended.
    pub latency: Latency,
    /// Slowest of the calls that have ended, if it is known.
    pub slowest: Option<Exemplar>,
    /// Failed call that began last, if it is known.
    pub failed: Option<Exemplar>,
}

impl<'a> CallKey<'a> {
    /// Returns the key of a row that has the columns of `Projection::Facts`.
    #[must_use]
    pub fn from_row(rows: &'a SpanRows, row: usize) -> Self {
        Self {
            service: rows.service(row),
            operation: rows.name(row),
            kind: rows.kind(row),
            status: rows.status(row),
        }
    }

    /// Returns the key as a group key of a file.
    pub fn raw(&self) -> RawKey<'a> {
        ([self.service, self.operation], [i32::from(self.kind), i32::from(self.status)])
    }
}

impl Call {
    /// Returns the call of a row with the columns of `Projection::Facts`.
    #[must_use]
    pub fn from_row(rows: &SpanRows, row: usize) -> Self {
        let start = rows.start(row);
        let (duration_nano, timed) = Self::timed(start, rows.end(row));
        Self {
            exemplar: Exemplar {
                trace_id: rows.trace_id(row),
                span_id: rows.span_id(row),
                start_unix_nano: start,
                duration_nano,
            },
            failed: rows.status(row) == StatusCode::Error,
            timed,
        }
    }

    /// Returns the call for a group that only counts calls: without failure and duration.
    pub fn counted(self) -> Self {
        Self { failed: false, timed: false, ..self }
    }

    /// Returns the call with the duration that its caller waited.
    pub fn waited(self, duration_nano: DurationNanos) -> Self {
        let exemplar = Exemplar { duration_nano, ..self.exemplar };
        Self { exemplar, failed: false, timed: true }
    }

    /// Returns the duration, and false if it is unknown because the span has not ended. An end
    /// before the start gives zero.
    #[must_use]
    pub fn timed(start: UnixNanos, end: UnixNanos) -> (DurationNanos, bool) {
        (end.since(start), start.0 != 0 && end.0 != 0)
    }
}

impl Calls {
    /// Adds a call.
    pub fn add(&mut self, call: &Call) {
        self.count += 1;
        if call.timed {
            self.latency.add(call.exemplar.duration_nano);
            self.keep_slowest(call.exemplar);
        }
        if call.failed {
            self.errors += 1;
            self.keep_failed(call.exemplar);
        }
    }

    /// Adds all calls of another aggregate.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
        other.slowest.into_iter().for_each(|slowest| self.keep_slowest(slowest));
        other.failed.into_iter().for_each(|failed| self.keep_failed(failed));
    }

    /// Returns an aggregate that only has the counts.
    pub fn only_counts(&self) -> Self {
        Self { count: self.count, errors: self.errors, ..Self::default() }
    }

    /// Replaces the slowest call if this one is slower.
    pub(crate) fn keep_slowest(&mut self, slowest: Exemplar) {
        keep(&mut self.slowest, slowest, slowness);
    }

    /// Replaces the last failed call if this one began later.
    pub(crate) fn keep_failed(&mut self, failed: Exemplar) {
        keep(&mut self.failed, failed, lateness);
    }

    /// Adds numbers of calls whose latency and exemplars are not needed. `None` on overflow.
    pub(crate) fn add_counts(&mut self, more: CallCounts) -> Option<()> {
        self.count = self.count.checked_add(more.count)?;
        self.errors = self.errors.checked_add(more.errors)?;
        Some(())
    }

    /// Retracts a call that another file counts too. It may stay an exemplar here, because the
    /// other file has it anyway.
    pub fn remove(&mut self, call: &Call) {
        self.count = self.count.saturating_sub(1);
        self.errors = self.errors.saturating_sub(u64::from(call.failed));
        if call.timed {
            self.latency.remove(call.exemplar.duration_nano);
        }
    }

    /// Returns the slowest of the calls that have ended.
    #[must_use]
    pub fn slowest(&self) -> Option<Exemplar> {
        self.slowest
    }

    /// Returns the last failed call.
    #[must_use]
    pub fn failed(&self) -> Option<Exemplar> {
        self.failed
    }
}

fn slowness(call: &Exemplar) -> impl Ord + use<> {
    (call.duration_nano, call.start_unix_nano, call.trace_id, call.span_id)
}

fn lateness(call: &Exemplar) -> impl Ord + use<> {
    (call.start_unix_nano, call.trace_id, call.span_id, call.duration_nano)
}

/// Keeps the exemplar with the greatest key, independent of the order.
fn keep<K: Ord>(kept: &mut Option<Exemplar>, other: Exemplar, key: impl Fn(&Exemplar) -> K) {
    if kept.is_none_or(|kept| key(&kept) < key(&other)) {
        *kept = Some(other);
    }
}
