//! Aggregates the transactions of a data file while it is written, and summarises its traces.

use std::{collections::HashMap, ops::Range};

use tidings_columns::SpanRows;
use tidings_proto::TraceId;

use super::{
    entry_spans::{EntrySpan, Rank, entry},
    transaction_type_section::{self, HOUR_MINUTES, Summary},
};
use crate::{
    HOUR, LEVELS,
    file_aggregate::FileAggregate,
    latency::bucket,
    rollup_encoding::{LevelLimits, extend_uncounted_rows},
};

/// Denominator of the limit for rows of traces that must be read as rows. A file with a larger
/// share has no rollups.
const LEFT_OUT_PART: u64 = 4;
/// Columns that the builder reads.
pub const COLUMNS: [&str; 10] = [
    "start_unix_nanos",
    "end_unix_nanos",
    "duration_nanos",
    "trace_id",
    "span_id",
    "parent_span_id",
    "service",
    "name",
    "status_code",
    "content_hash",
];

/// Summary of a trace of the file, with its hour.
#[derive(Debug, Clone, Copy)]
struct Traced {
    hour: u64,
    summary: Summary,
}

/// Trace whose rows are being read.
#[derive(Debug)]
struct OpenTrace {
    id: TraceId,
    first: u64,
    last: u64,
    /// Best entry span of earlier batches.
    entry: Option<EntrySpan>,
    /// Better entry span in the current batch: rank and row.
    row: Option<(Rank, usize)>,
}

/// Takes the rows of one data file and returns the rollup of their transactions. A trace must be
/// one run of rows.
#[derive(Debug, Default)]
pub struct TransactionTypeBuilder {
    rows: usize,
    file_aggregate: FileAggregate,
    open: Option<OpenTrace>,
    /// Summaries of traces, in the order of their rows.
    traces: Vec<Traced>,
}

impl TransactionTypeBuilder {
    /// Returns a builder that makes no rollups.
    pub fn disabled() -> Self {
        Self { file_aggregate: FileAggregate::disabled(), ..Self::default() }
    }

    /// Adds the next rows of the file.
    pub fn push(&mut self, rows: &SpanRows) {
        if self.file_aggregate.is_full() {
            return;
        }
        for row in 0..rows.len() {
            let (id, start) = (rows.trace_id(row), rows.start(row).0);
            if self.open.as_ref().is_none_or(|open| open.id != id) {
                self.carry(rows);
                self.finish_trace();
                self.open =
                    Some(OpenTrace { id, first: start, last: start, entry: None, row: None });
            }
            let Some(open) = &mut self.open else { continue };
            (open.first, open.last) = (open.first.min(start), open.last.max(start));
            let known = open.row.map(|(known, _)| known).or(open.entry.map(|entry| entry.rank));
            if known.is_none_or(|known| known.is_after(rows, row)) {
                open.row = Some((Rank::from_row(rows, row), row));
            }
            self.rows += 1;
        }
        self.carry(rows);
    }

    /// Copies the facts of the entry span among these rows, because the rows are dropped next.
    fn carry(&mut self, rows: &SpanRows) {
        let Self { file_aggregate, open: Some(open), .. } = self else { return };
        if let Some((_, row)) = open.row.take() {
            open.entry = Some(entry(rows, row, |key| file_aggregate.groups.number(key.raw())));
        }
    }

    /// Counts the trace, which is complete.
    fn finish_trace(&mut self) {
        let Some(OpenTrace {
            first,
            last,
            entry: Some(EntrySpan { transaction_type, call, .. }),
            ..
        }) = self.open.take()
        else {
            return;
        };
        let hour = first / HOUR;
        let is_of_one_hour = hour == last / HOUR;
        let minute = call.exemplar.start_unix_nano.0 / LEVELS[0] % HOUR_MINUTES;
        let summary = Summary {
            transaction_type: is_of_one_hour.then_some(transaction_type),
            minute: u8::try_from(minute).unwrap_or_default(),
            bucket: bucket(call.exemplar.duration_nano.0),
            failed: call.failed,
        };
        self.traces.push(Traced { hour, summary });
        if is_of_one_hour && !self.file_aggregate.is_full() {
            self.file_aggregate.add(transaction_type, &call);
            self.file_aggregate.shrink(self.rows);
        }
    }

    /// Returns the bytes of the section and of its pages, which start at this offset of the file.
    /// `runs` are the hashes and rows of the file's traces, in the order of their rows.
    pub fn finish(mut self, runs: &[(u64, Range<u64>)], offset: u64) -> (Vec<u8>, Vec<u8>) {
        self.finish_trace();
        if self.file_aggregate.is_full() || runs.len() != self.traces.len() {
            return transaction_type_section::empty_section(offset);
        }
        // The section covers the most frequent hour. Traces of other hours come from wrong clocks.
        let mut hours: HashMap<u64, u64> = HashMap::new();
        self.traces.iter().for_each(|of| *hours.entry(of.hour).or_default() += 1);
        let hour = hours.iter().max_by_key(|(hour, count)| (**count, **hour));
        let hour = hour.map_or(0, |(hour, _)| *hour);
        let mut left_out = Vec::new();
        for (of, (_, rows)) in self.traces.iter_mut().zip(runs) {
            of.summary.transaction_type = of.summary.transaction_type.filter(|_| of.hour == hour);
            if of.summary.transaction_type.is_none() {
                extend_uncounted_rows(&mut left_out, rows.clone());
            }
        }
        let left_out_rows: u64 = left_out.iter().map(|rows| rows.end - rows.start).sum();
        if left_out_rows.saturating_mul(LEFT_OUT_PART) > self.rows as u64 {
            return transaction_type_section::empty_section(offset);
        }
        let mut sorted: Vec<(u64, Summary)> =
            runs.iter().zip(&self.traces).map(|((hash, _), of)| (*hash, of.summary)).collect();
        sorted.sort_unstable_by_key(|(hash, _)| *hash);
        self.file_aggregate.retain_hour(hour);
        let groups = self.file_aggregate.groups.group_count();
        let (cells, mut pages) = self.file_aggregate.finish(self.rows, LevelLimits::ENDS, offset);
        let summaries =
            transaction_type_section::summaries(sorted.iter().map(|(_, summary)| *summary), groups);
        let offset = offset + pages.len() as u64;
        pages.extend(summaries.pages);
        let place = transaction_type_section::SummaryLocation {
            offset,
            count: sorted.len() as u64,
            bits: summaries.bits,
        };
        (transaction_type_section::encoded(hour, &left_out, &place, &cells), pages)
    }
}
