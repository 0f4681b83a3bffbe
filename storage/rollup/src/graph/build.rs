//! Aggregates the calls between services of a data file while it is written.

use std::{collections::HashMap, ops::Range, sync::Arc};

use ahash::RandomState;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use tidings_assembly::SpanFacts;
use tidings_columns::{
    Scalar, SpanRows,
    rows::{column::DictionaryCache, entries::AttributeEntries},
};
use tidings_proto::{
    TraceId,
    otlp::{SpanKind, StatusCode},
};

use super::{
    GraphCall, GraphKey, GraphPart, GraphSpan, empty_section, encoded,
    key::{LIMITS, NameTable, NumberedPeer, counted},
    peers::{BorrowedPeer, KEYS},
    trace_calls::each_graph_call,
};
use crate::{
    HOUR,
    file_aggregate::FileAggregate,
    limit,
    number_cache::NumberCache,
    rollup_encoding::{GroupNumber, extend_uncounted_rows},
};

/// Maximum spans of a trace for the rollup, because a trace is held in memory until its end. Larger
/// traces are read as rows.
const TRACE_SPANS_MAX: usize = 65_536;
/// Denominator of the limit for rows of traces that must be read as rows. A file with a larger
/// share has no rollups.
const LEFT_OUT_PART: u64 = 4;

/// Columns that the builder reads.
pub const COLUMNS: [&str; 11] = [
    "start_unix_nanos",
    "end_unix_nanos",
    "duration_nanos",
    "trace_id",
    "span_id",
    "parent_span_id",
    "service",
    "kind",
    "status_code",
    "content_hash",
    "attributes",
];

/// Batch whose last rows belong to the current trace.
#[derive(Debug)]
struct Portion {
    /// First row of the trace in the batch, and number of its rows in earlier batches.
    first: (usize, usize),
    attributes: Option<Arc<PeerEntries>>,
}

/// Takes the rows of one data file and returns the rollup of their calls. A trace must be one run
/// of rows.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    rows: u64,
    file_aggregate: FileAggregate,
    names: NameTable,
    known: HashMap<GraphKey<u32>, GroupNumber, RandomState>,
    recent: NumberCache<GraphKey<u32>>,
    trace: Option<TraceId>,
    /// Spans of the current trace so far. They stop at the limit, while `rows` counts all.
    spans: Vec<GraphSpan>,
    first_row: u64,
    portions: Vec<Portion>,
    left_out: Vec<Range<u64>>,
}

impl GraphBuilder {
    /// Returns a builder that makes no rollups.
    pub fn disabled() -> Self {
        Self { file_aggregate: FileAggregate::disabled(), ..Self::default() }
    }

    /// Adds the next rows of the file. `rows` are those of the batch.
    ///
    /// # Errors
    /// When a column has another type than the table's.
    pub fn push(&mut self, rows: &SpanRows, batch: &RecordBatch) -> Result<(), ArrowError> {
        if self.file_aggregate.is_full() {
            return Ok(());
        }
        let attributes = PeerEntries::from_batch(batch)?.map(Arc::new);
        let mut services = DictionaryCache::default();
        if self.trace.is_some() {
            let first = (0, self.spans.len());
            self.portions.push(Portion { first, attributes: attributes.clone() });
        }
        for row in 0..rows.len() {
            let trace = rows.trace_id(row);
            if self.trace != Some(trace) {
                self.finish_trace();
                self.trace = Some(trace);
                let attributes = attributes.clone();
                self.portions.push(Portion { first: (row, 0), attributes });
            }
            let number = || self.names.number(rows.service(row));
            let service = services.get_or_compute(rows.service_number(row), number);
            self.rows += 1;
            if self.spans.len() <= limit(TRACE_SPANS_MAX) {
                self.spans.push(span(rows, row, service));
            } else {
                self.portions.clear();
            }
        }
        Ok(())
    }

    /// Counts the calls of the trace, which is complete.
    fn finish_trace(&mut self) {
        let Some(trace) = self.trace.take() else { return };
        let run = self.first_row..self.rows;
        self.first_row = self.rows;
        let spans = std::mem::take(&mut self.spans);
        let mut portions = std::mem::take(&mut self.portions);
        if spans.len() > limit(TRACE_SPANS_MAX) || !is_of_one_hour(&spans) {
            extend_uncounted_rows(&mut self.left_out, run);
        } else if !self.file_aggregate.is_full() {
            each_graph_call(trace, &spans, |call| self.count(&call, &spans, &portions));
            self.file_aggregate.shrink(usize::try_from(self.rows).unwrap_or(usize::MAX));
        }
        // The allocated buffers are reused for the next trace.
        portions.clear();
        self.portions = portions;
        self.spans = spans;
        self.spans.clear();
    }

    fn count(&mut self, of: &GraphCall, spans: &[GraphSpan], portions: &[Portion]) {
        let is_open = of.part == GraphPart::Open;
        let peer = if is_open { self.peer(of.span, &spans[of.span], portions) } else { None };
        let Self { names, file_aggregate, known, recent, .. } = self;
        counted(of, spans, peer, |key, call| {
            let mut number = || file_aggregate.groups.number(key.named(names).raw());
            let group = recent.number(key, || *known.entry(key).or_insert_with(&mut number));
            file_aggregate.add(group, call);
        });
    }

    fn peer(
        &mut self,
        place: usize,
        span: &GraphSpan,
        portions: &[Portion],
    ) -> Option<NumberedPeer> {
        let kind = span.facts.kind;
        let at = portions.partition_point(|portion| portion.first.1 <= place).checked_sub(1);
        let portion = at.map(|at| &portions[at]);
        let peer = portion.and_then(|Portion { first, attributes }| {
            attributes.as_ref()?.peer(first.0 + place - first.1, kind)
        });
        match peer {
            Some(peer) => Some(NumberedPeer::new(&peer, &mut self.names)),
            None if kind == SpanKind::Consumer => None,
            None => Some(NumberedPeer::unknown(&mut self.names)),
        }
    }

    /// Returns the bytes of the section and of its pages, which start at this offset of the file.
    pub fn finish(mut self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        self.finish_trace();
        let left_out: u64 = self.left_out.iter().map(|run| run.end - run.start).sum();
        if self.file_aggregate.is_full() || left_out.saturating_mul(LEFT_OUT_PART) > self.rows {
            return empty_section(offset);
        }
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let (cells, pages) = self.file_aggregate.finish(rows, LIMITS, offset);
        (encoded(&self.left_out, &cells), pages)
    }
}

/// Returns the facts of the row's span.
pub fn span(rows: &SpanRows, row: usize, service: u32) -> GraphSpan {
    let facts = SpanFacts {
        span_id: rows.span_id(row),
        parent_span_id: rows.parent_span_id(row),
        kind: rows.kind(row),
        start: rows.start(row),
        end: rows.end(row),
        service,
        operation: 0,
        content_hash: rows.content_hash(row),
    };
    GraphSpan { facts, failed: rows.status(row) == StatusCode::Error, mark: 0 }
}

/// Attributes that can name the peer of a span.
#[derive(Debug)]
pub struct PeerEntries {
    entries: AttributeEntries,
    /// Index in [`KEYS`] of each distinct key of the batch. `None` for keys that name no peer.
    asked: Vec<Option<usize>>,
}

impl PeerEntries {
    /// Reads the attribute entries of a batch, if it has the column.
    pub fn from_batch(batch: &RecordBatch) -> Result<Option<Self>, ArrowError> {
        let Some(entries) = AttributeEntries::from_batch(batch, "attributes")? else {
            return Ok(None);
        };
        let place = |key| KEYS.iter().position(|asked| *asked == key);
        Ok(Some(Self { asked: entries.keys.iter().map(place).collect(), entries }))
    }

    /// Returns the peer that the attributes of the row's span name. `kind` is the span's.
    pub fn peer(&self, row: usize, kind: SpanKind) -> Option<BorrowedPeer<'_>> {
        let keys = &self.entries.keys;
        // First entry with each of the keys.
        let mut said = [None; KEYS.len()];
        let mut says_any = false;
        for entry in self.entries.of_row(row) {
            if let Some(place) = self.asked[keys.code(entry)] {
                said[place].get_or_insert(entry);
                says_any = true;
            }
        }
        if !says_any {
            return None;
        }
        BorrowedPeer::from_attributes(kind, |key| {
            let entry = said[key]?;
            Some(Scalar::from_entry(self.entries.value(entry))?.to_text())
        })
    }
}

fn is_of_one_hour(spans: &[GraphSpan]) -> bool {
    let hour = |span: &GraphSpan| span.facts.start.0 / HOUR;
    spans.windows(2).all(|pair| hour(&pair[0]) == hour(&pair[1]))
}
