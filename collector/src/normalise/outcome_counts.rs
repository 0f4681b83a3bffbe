//! Counts the records that normalising rejects or changes, and composes the message for the sender.

use std::fmt;

use tidings_proto::otlp::VALUE_DEPTH_MAX;
use tidings_storage::TelemetryBatch;

use super::{
    ATTRIBUTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Prepared, SENDER_BYTES_MAX, Signal,
};

/// Maximum number of different reasons in one message, because a hostile sender can cause many.
const REASONS_MAX: usize = 5;

/// Faults of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdFault {
    /// The id has this many bytes.
    Length(usize),
    Zeros,
    NotHex,
}

/// The reason that a record cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    TraceId(IdFault),
    SpanId(IdFault),
    ParentSpanId(IdFault),
    LinkId,
    Time(&'static str),
    TooDeep,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, needed, fault) = match *self {
            Self::TraceId(fault) => ("trace id", 16, fault),
            Self::SpanId(fault) => ("span id", 8, fault),
            Self::ParentSpanId(fault) => ("parent span id", 8, fault),
            Self::LinkId => return f.write_str("an id of a link is not hex"),
            Self::Time(which) => return write!(f, "{which} is after the year 2262"),
            Self::TooDeep => {
                return write!(f, "a value is nested deeper than {VALUE_DEPTH_MAX} levels");
            }
        };
        match fault {
            IdFault::Length(0) => write!(f, "{name} is missing"),
            IdFault::Length(1) => write!(f, "{name} has 1 byte, {needed} are needed"),
            IdFault::Length(got) => write!(f, "{name} has {got} bytes, {needed} are needed"),
            IdFault::Zeros => write!(f, "{name} is all zeros"),
            IdFault::NotHex => write!(f, "{name} is not {} digits of hex", 2 * needed),
        }
    }
}

/// The position of a record in its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordPosition {
    resource: usize,
    scope: usize,
    record: usize,
}

impl RecordPosition {
    /// Returns the position of the first record of this scope.
    pub(super) fn new(resource: usize, scope: usize) -> Self {
        Self { resource, scope, record: 0 }
    }

    /// Returns this position and advances to the next record.
    pub(super) fn next(&mut self) -> Self {
        let position = *self;
        self.record += 1;
        position
    }
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resource {}, scope {}, record {}", self.resource, self.scope, self.record)
    }
}

/// Counts of accepted, changed and rejected records of one request.
#[derive(Debug)]
pub(super) struct OutcomeCounts {
    signal: Signal,
    accepted: u64,
    rejected: u64,
    reasons: Vec<(Fault, u64, RecordPosition)>,
    other_reasons: u64,
    dropped_attributes: usize,
    cut_texts: usize,
    changed: bool,
}

impl OutcomeCounts {
    pub(super) fn new(signal: Signal) -> Self {
        Self {
            signal,
            accepted: 0,
            rejected: 0,
            reasons: Vec::new(),
            other_reasons: 0,
            dropped_attributes: 0,
            cut_texts: 0,
            changed: false,
        }
    }

    /// Counts a record. Returns whether to keep it.
    pub(super) fn count(&mut self, result: Result<(), Fault>, position: RecordPosition) -> bool {
        let Err(fault) = result else {
            self.accepted += 1;
            return true;
        };
        self.rejected += 1;
        if let Some((_, count, _)) = self.reasons.iter_mut().find(|(known, ..)| *known == fault) {
            *count += 1;
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.push((fault, 1, position));
        } else {
            self.other_reasons += 1;
        }
        false
    }

    pub(super) fn change(&mut self) {
        self.changed = true;
    }

    pub(super) fn drop_attributes(&mut self, count: usize) {
        self.dropped_attributes += count;
        self.changed = true;
    }

    pub(super) fn cut_text(&mut self) {
        self.cut_texts += 1;
        self.changed = true;
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Returns whether the request now differs from the bytes of the sender.
    pub(super) fn changed(&self) -> bool {
        self.changed || self.rejected > 0
    }

    pub(super) fn prepared(&self, batch: impl FnOnce() -> TelemetryBatch) -> Prepared {
        Prepared {
            signal: self.signal,
            batch: (self.accepted > 0).then(batch),
            accepted: self.accepted,
            rejected: self.rejected,
            message: self.message(),
        }
    }

    fn message(&self) -> String {
        let noun = |count| match (self.signal, count) {
            (Signal::Traces, 1) => "span",
            (Signal::Traces, _) => "spans",
            (Signal::Logs, 1) => "log record",
            (Signal::Logs, _) => "log records",
        };
        let mut parts: Vec<_> = self
            .reasons
            .iter()
            .map(|(fault, count, position)| {
                format!("{count} {}: {fault} (first: {position})", noun(*count))
            })
            .collect();
        if self.other_reasons > 0 {
            parts.push(format!(
                "{} {}: other reasons",
                self.other_reasons,
                noun(self.other_reasons)
            ));
        }
        if self.dropped_attributes > 0 {
            let count = self.dropped_attributes;
            parts.push(format!(
                "{count} attributes dropped: a record keeps {ATTRIBUTES_MAX}, with keys of at most \
                 {NAME_BYTES_MAX} bytes, a resource or a scope {SENDER_BYTES_MAX} bytes of them"
            ));
        }
        if self.cut_texts > 0 {
            let count = self.cut_texts;
            parts.push(format!(
                "{count} texts cut: a name keeps {NAME_BYTES_MAX} bytes, the message of a status \
                 {MESSAGE_BYTES_MAX}"
            ));
        }
        parts.join("; ")
    }
}
