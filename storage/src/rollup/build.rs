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
    cells::LevelLimits,
    graph::NameTable,
    number_cache::{Recent, SlotHash, joined},
};
use crate::{SpanRows, rows::column::OfWords};

/// So many spans of a trace are looked through one by one.
const FEW: usize = 24;
/// A set that has become larger is not worth clearing for every trace.
const SEEN_KEPT: usize = 4096;

/// Columns that it reads.
pub(super) const COLUMNS: [&str; 10] = [
    "start_unix_nanos",
    "end_unix_nanos",
    "duration_nanos",
    "trace_id",
    "span_id",
    "service",
    "name",
    "kind",
    "status_code",
    "content_hash",
];

/// A group: the numbers of its texts, and its other parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct NumberedGroup {
    words: u64,
    parts: u64,
}

impl NumberedGroup {
    fn new([service, operation]: [u32; 2], kind: SpanKind, status: StatusCode) -> Self {
        let joined = |[one, other]: [u32; 2]| u64::from(one) << 32 | u64::from(other);
        let parts = [i32::from(kind), i32::from(status)].map(i32::cast_unsigned);
        Self { words: joined([service, operation]), parts: joined(parts) }
    }
}

impl SlotHash for NumberedGroup {
    fn spread(&self) -> u64 {
        joined([self.words, self.parts])
    }
}

/// Takes the rows of one data file, a trace's rows in one run, and gives their calls.
#[derive(Debug, Default)]
pub(crate) struct RollupBuilder {
    rows: usize,
    adder: Adder,
    names: NameTable,
    known: HashMap<NumberedGroup, GroupNumber, RandomState>,
    recent: Recent<NumberedGroup>,
    trace: Option<TraceId>,
    /// The spans of the trace that came.
    came: TraceSpanSet,
}

/// Deduplication set of a trace's spans, by content hash.
#[derive(Debug, Default)]
struct TraceSpanSet {
    few: Vec<u64>,
    /// All of them, once they are more.
    many: HashSet<u64, RandomState>,
}

impl TraceSpanSet {
    fn clear(&mut self) {
        if self.many.len() > SEEN_KEPT {
            self.many = HashSet::default();
        }
        self.many.clear();
        self.few.clear();
    }

    /// Adds a span; whether it is new.
    fn insert(&mut self, content_hash: u64) -> bool {
        if self.many.is_empty() {
            if self.few.contains(&content_hash) {
                return false;
            }
            if self.few.len() < FEW {
                self.few.push(content_hash);
                return true;
            }
            self.many.extend(self.few.drain(..));
        }
        self.many.insert(content_hash)
    }
}

impl RollupBuilder {
    /// Returns a builder that makes no rollups.
    pub(crate) fn nothing() -> Self {
        Self { adder: Adder::nothing(), ..Self::default() }
    }

    /// Adds the next rows of the file.
    pub(crate) fn push(&mut self, rows: &SpanRows) {
        if self.adder.is_full() {
            return;
        }
        let (mut services, mut operations) = (OfWords::default(), OfWords::default());
        for row in 0..rows.len() {
            self.rows += 1;
            if !self.is_new(rows, row) {
                continue;
            }
            let Self { adder, names, known, recent, .. } = self;
            let mut number = |text| names.number(text);
            let service =
                services.get_or_compute(rows.service_number(row), || number(rows.service(row)));
            let operation =
                operations.get_or_compute(rows.name_number(row), || number(rows.name(row)));
            let key = NumberedGroup::new([service, operation], rows.kind(row), rows.status(row));
            let mut number = || adder.groups.number(CallKey::from_row(rows, row).raw());
            let group = recent.number(key, || *known.entry(key).or_insert_with(&mut number));
            self.adder.add(group, &Call::from_row(rows, row));
            // Not once per batch: how rows are cut up must not show.
            self.adder.shrink(self.rows);
            if self.adder.is_full() {
                *self = Self::nothing();
                break;
            }
        }
    }

    /// Returns true if the span is not in the file already.
    fn is_new(&mut self, rows: &SpanRows, row: usize) -> bool {
        let trace = Some(rows.trace_id(row));
        if self.trace != trace {
            self.trace = trace;
            self.came.clear();
        }
        self.came.insert(rows.content_hash(row))
    }

    /// The bytes of the section and of its pages, which will start at this offset of the file.
    pub(crate) fn finish(self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        self.adder.finish(self.rows, LevelLimits::ALL, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::{collection::vec, prelude::*};

    use super::TraceSpanSet;

    proptest! {
        #[test]
        fn a_span_is_new_once_in_each_trace(traces in vec(vec(0..60_u64, 0..100), 0..5)) {
            let mut came = TraceSpanSet::default();
            for spans in traces {
                came.clear();
                let mut plain = HashSet::new();
                for span in spans {
                    prop_assert_eq!(came.insert(span), plain.insert(span));
                }
            }
        }
    }
}
