//! Aggregates the calls of a data file while it is written.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;
use tidings_columns::{SpanRows, rows::column::DictionaryCache};
use tidings_proto::{
    TraceId,
    otlp::{SpanKind, StatusCode},
};

use super::{
    Call, CallKey,
    file_aggregate::FileAggregate,
    graph::NameTable,
    number_cache::{NumberCache, SlotHash, joined},
    rollup_encoding::{GroupNumber, LevelLimits},
};

/// Maximum number of spans of a trace that are searched one by one.
const FEW: usize = 24;
/// Capacity above which the set is replaced and not cleared for the next trace.
const SEEN_KEPT: usize = 4096;

/// Columns that the builder reads.
pub const COLUMNS: [&str; 10] = [
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

/// Group key with numbers for its texts.
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

/// Takes the rows of one data file and returns the rollup of their calls. A trace must be one run
/// of rows.
#[derive(Debug, Default)]
pub struct RollupBuilder {
    rows: usize,
    file_aggregate: FileAggregate,
    names: NameTable,
    known: HashMap<NumberedGroup, GroupNumber, RandomState>,
    recent: NumberCache<NumberedGroup>,
    trace: Option<TraceId>,
    /// Distinct spans of the current trace.
    came: TraceSpanSet,
}

/// Deduplication set of a trace's spans, by content hash.
#[derive(Debug, Default)]
struct TraceSpanSet {
    few: Vec<u64>,
    /// All hashes, once there are more than `FEW`.
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

    /// Adds a span. Returns true if it is new.
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
    pub fn disabled() -> Self {
        Self { file_aggregate: FileAggregate::disabled(), ..Self::default() }
    }

    /// Adds the next rows of the file.
    pub fn push(&mut self, rows: &SpanRows) {
        if self.file_aggregate.is_full() {
            return;
        }
        let (mut services, mut operations) =
            (DictionaryCache::default(), DictionaryCache::default());
        for row in 0..rows.len() {
            self.rows += 1;
            if !self.is_new(rows, row) {
                continue;
            }
            let Self { file_aggregate, names, known, recent, .. } = self;
            let mut number = |text| names.number(text);
            let service =
                services.get_or_compute(rows.service_number(row), || number(rows.service(row)));
            let operation =
                operations.get_or_compute(rows.name_number(row), || number(rows.name(row)));
            let key = NumberedGroup::new([service, operation], rows.kind(row), rows.status(row));
            let mut number = || file_aggregate.groups.number(CallKey::from_row(rows, row).raw());
            let group = recent.number(key, || *known.entry(key).or_insert_with(&mut number));
            self.file_aggregate.add(group, &Call::from_row(rows, row));
            // The limit is enforced at each span and not at each batch, so that the result does not
            // depend on the batches.
            self.file_aggregate.shrink(self.rows);
            if self.file_aggregate.is_full() {
                *self = Self::disabled();
                break;
            }
        }
    }

    /// Returns true if the file has no equal span yet.
    fn is_new(&mut self, rows: &SpanRows, row: usize) -> bool {
        let trace = Some(rows.trace_id(row));
        if self.trace != trace {
            self.trace = trace;
            self.came.clear();
        }
        self.came.insert(rows.content_hash(row))
    }

    /// Returns the bytes of the section and of its pages, which start at this offset of the file.
    pub fn finish(self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        self.file_aggregate.finish(self.rows, LevelLimits::ALL, offset)
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
