//! Adds up the calls of a data file while it is written.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;
use tidings_proto::{
    TraceId,
    otlp::{SpanKind, StatusCode},
};

use super::{
    Call, CallKey,
    adder::{Adder, GroupNumber},
    cells::Keep,
};
use crate::SpanRows;

/// A set that has become larger is not worth clearing for every trace.
const SEEN_KEPT: usize = 4096;

/// What it looks at.
pub(super) const COLUMNS: [&str; 9] = [
    "start_unix_nanos",
    "end_unix_nanos",
    "trace_id",
    "span_id",
    "service",
    "name",
    "kind",
    "status_code",
    "content_hash",
];

/// The groups that came in a batch.
type Known<'a> = HashMap<(&'a str, &'a str, SpanKind, StatusCode), GroupNumber, RandomState>;

/// Takes the rows of one data file, a trace's rows in one run, and gives their calls.
#[derive(Debug, Default)]
pub(crate) struct RollupBuilder {
    rows: usize,
    adder: Adder,
    trace: Option<TraceId>,
    /// The spans of the trace that came, by what they say.
    seen: HashSet<u64, RandomState>,
}

impl RollupBuilder {
    /// One that has no rollups to give.
    pub(crate) fn nothing() -> Self {
        Self { adder: Adder::nothing(), ..Self::default() }
    }

    /// Adds the next rows of the file.
    pub(crate) fn push(&mut self, rows: &SpanRows) {
        if self.adder.is_full() {
            return;
        }
        let mut known: Known<'_> = HashMap::default();
        for row in 0..rows.len() {
            self.rows += 1;
            if !self.is_new(rows, row) {
                continue;
            }
            let key = CallKey::of(rows, row);
            let of_batch = (key.service, key.operation, key.kind, key.status);
            let group =
                *known.entry(of_batch).or_insert_with(|| self.adder.groups.number(key.raw()));
            self.adder.add(group, &Call::of(rows, row));
            // Not once per batch: how rows are cut up must not show.
            self.adder.shrink(self.rows);
            if self.adder.is_full() {
                break;
            }
        }
    }

    /// Whether the span is not in the file already.
    fn is_new(&mut self, rows: &SpanRows, row: usize) -> bool {
        let trace = Some(rows.trace_id(row));
        if self.trace != trace {
            self.trace = trace;
            if self.seen.len() > SEEN_KEPT {
                self.seen = HashSet::default();
            }
            self.seen.clear();
        }
        self.seen.insert(rows.content_hash(row))
    }

    /// The bytes of the section and of its pages, which will start at this offset of the file.
    pub(crate) fn finish(self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        self.adder.finish(self.rows, Keep::ALL, offset)
    }
}
