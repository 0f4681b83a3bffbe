//! The calls of one group: how many, how many failed, how long they took, which stand for them.

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::Exemplar,
    otlp::{SpanKind, StatusCode},
};

use super::{Latency, cells::RawKey};
use crate::SpanRows;

/// Group key of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallKey<'a> {
    /// The service that was called.
    pub service: &'a str,
    /// The span's name.
    pub operation: &'a str,
    /// The part it plays.
    pub kind: SpanKind,
    /// How it ended.
    pub status: StatusCode,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call {
    /// It, as it would stand for others.
    pub exemplar: Exemplar,
    /// True if the call failed.
    pub failed: bool,
    /// True if its duration is known: it has started and ended.
    pub timed: bool,
}

/// Some calls. Adding them in another order, or in parts, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calls {
    /// Number of calls.
    pub count: u64,
    /// Number of failed calls.
    pub errors: u64,
    /// Latency of the calls that have ended.
    pub latency: Latency,
    pub(super) slowest: Option<Exemplar>,
    pub(super) failed: Option<Exemplar>,
}

impl<'a> CallKey<'a> {
    /// Returns the key of a row that has the columns of `Detail::Facts`.
    #[must_use]
    pub fn from_row(rows: &'a SpanRows, row: usize) -> Self {
        Self {
            service: rows.service(row),
            operation: rows.name(row),
            kind: rows.kind(row),
            status: rows.status(row),
        }
    }

    /// It as a group of a file.
    pub(super) fn raw(&self) -> RawKey<'a> {
        ([self.service, self.operation], [i32::from(self.kind), i32::from(self.status)])
    }
}

impl Call {
    /// The call that a row with facts is.
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

    /// The same call, of which no more than that it was there counts.
    pub(super) fn counted(self) -> Self {
        Self { failed: false, timed: false, ..self }
    }

    /// The same call as its caller saw it, who waited so long for it.
    pub(super) fn waited(self, duration_nano: DurationNanos) -> Self {
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
    /// One more.
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

    /// All of these too.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
        other.slowest.into_iter().for_each(|slowest| self.keep_slowest(slowest));
        other.failed.into_iter().for_each(|failed| self.keep_failed(failed));
    }

    /// It may be the slowest.
    pub(super) fn keep_slowest(&mut self, slowest: Exemplar) {
        keep(&mut self.slowest, slowest, slowness);
    }

    /// It may be the last that failed.
    pub(super) fn keep_failed(&mut self, failed: Exemplar) {
        keep(&mut self.failed, failed, lateness);
    }

    /// Retracts a call that counts in another file too. It may stay an exemplar here, because the
    /// sum of both files has it anyway.
    pub(super) fn remove(&mut self, call: &Call) {
        self.count = self.count.saturating_sub(1);
        self.errors = self.errors.saturating_sub(u64::from(call.failed));
        if call.timed {
            self.latency.remove(call.exemplar.duration_nano);
        }
    }

    /// The slowest of those that have ended.
    #[must_use]
    pub fn slowest(&self) -> Option<Exemplar> {
        self.slowest
    }

    /// The last that failed.
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

/// Keeps the one with the greatest key, whatever order they come in.
fn keep<K: Ord>(kept: &mut Option<Exemplar>, other: Exemplar, key: impl Fn(&Exemplar) -> K) {
    if kept.is_none_or(|kept| key(&kept) < key(&other)) {
        *kept = Some(other);
    }
}
