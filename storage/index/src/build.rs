//! Builds the index of a data file from its rows, in the order of the file.

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::ArrowError;
use bytes::Bytes;
use tidings_columns::{
    rows::column::{OptionalColumn, TraceColumn},
    schema::SignalSchema,
};
use tidings_proto::Signal;
use tidings_rollup::{LogCountBuilder, RollupBuilders, index_bytes::trace_hash};

use super::{
    file::{self, IndexSections},
    grams::GramCollector,
    runs::PostingRun,
    sums::Sums,
    terms::{BLOCK_ROWS, TermCollector, TermColumns},
};

/// Maximum number of rows of an indexed file, because an index counts rows in 32 bits.
const ROWS_MAX: u64 = u32::MAX as u64;

const INDEXED: [&str; 10] = [
    "attributes",
    "events",
    "links",
    "resource",
    "scope",
    "service",
    "name",
    "status_code",
    "severity_number",
    "text",
];

/// Takes the rows of one data file and returns its index. Memory: about 40 bytes for each trace, 8
/// bytes for each distinct term of each block, and 8 KiB for each block of texts.
#[derive(Debug)]
pub struct IndexBuilder {
    signal: Signal,
    rows: u64,
    traces: Vec<PostingRun>,
    terms: TermCollector,
    grams: GramCollector,
    rollups: RollupBuilders,
    /// Boxed, because the futures of flushes and merges contain this builder.
    log_counts: Box<LogCountBuilder>,
}

impl IndexBuilder {
    /// Creates a builder without rows for this signal.
    pub fn new(signal: Signal) -> Self {
        let (terms, grams) = (TermCollector::default(), GramCollector::default());
        let (rollups, log_counts) = (RollupBuilders::default(), Box::default());
        Self { signal, rows: 0, traces: Vec::new(), terms, grams, rollups, log_counts }
    }

    /// Returns the columns that the builder reads.
    pub fn columns(signal: Signal) -> impl Iterator<Item = &'static str> {
        let names = signal.columns().iter().map(|column| column.name);
        let is_added_up = move |name| match signal {
            Signal::Spans => RollupBuilders::needs(name),
            Signal::Logs => LogCountBuilder::needs(name),
        };
        names.filter(move |name| {
            let is_trace = *name == TraceColumn::name(signal);
            is_trace || INDEXED.contains(name) || is_added_up(name)
        })
    }

    /// Adds the next rows of the file. Repetitive texts have dictionaries, as in memory.
    ///
    /// # Errors
    /// When the batch does not have all of [`Self::columns`].
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for name in Self::columns(self.signal) {
            batch.schema_ref().index_of(name)?;
        }
        let before = self.rows;
        self.rows += batch.num_rows() as u64;
        if self.rows > ROWS_MAX {
            return Ok(());
        }
        self.push_traces(batch, u32::try_from(before).unwrap_or(u32::MAX))?;
        match self.signal {
            Signal::Spans => self.rollups.push(batch)?,
            Signal::Logs => self.log_counts.push(batch)?,
        }
        let columns = TermColumns::from_batch(batch)?;
        let texts = OptionalColumn::<StringArray>::from_batch(batch, "text")?;
        let mut start = 0;
        while start < batch.num_rows() {
            let at = before + start as u64;
            let block = at / u64::from(BLOCK_ROWS);
            let left = usize::try_from((block + 1) * u64::from(BLOCK_ROWS) - at);
            let end = batch.num_rows().min(start + left.unwrap_or(usize::MAX));
            self.terms.push(&columns, start..end, u32::try_from(block).unwrap_or(u32::MAX));
            if texts.is_there() {
                self.grams.push(&texts, start..end, usize::try_from(block).unwrap_or(usize::MAX));
            }
            start = end;
        }
        Ok(())
    }

    fn push_traces(&mut self, batch: &RecordBatch, first: u32) -> Result<(), ArrowError> {
        let traces = TraceColumn::from_batch(self.signal, batch)?;
        for (row, of_batch) in (first..).zip(0..batch.num_rows()) {
            let Some(low64) = traces.low64(of_batch) else { continue };
            let hash = trace_hash(low64);
            match self.traces.last_mut() {
                Some(run) if run.hash == hash && run.first + run.count == row => run.count += 1,
                _ => self.traces.push(PostingRun { hash, first: row, count: 1 }),
            }
        }
        Ok(())
    }

    /// Returns the bytes of the index. `data` has the checksums of the data file.
    pub fn finish(self, data: &Sums) -> Bytes {
        let is_counted = self.rows <= ROWS_MAX;
        let rollups = match self.signal {
            Signal::Spans if !is_counted => RollupBuilders::disabled(),
            // Repeated spans are detected only within a run.
            Signal::Spans if !has_whole_traces(&self.traces) => self.rollups.without_rollups(),
            _ => self.rollups,
        };
        let log_counts = match is_counted {
            true => self.log_counts,
            false => Box::new(LogCountBuilder::disabled()),
        };
        let parts = IndexSections {
            traces: is_counted.then_some(self.traces),
            terms: self.terms.finish().filter(|_| is_counted),
            grams: (is_counted && self.signal == Signal::Logs).then_some(self.grams),
            rollups: (self.signal == Signal::Spans).then_some(rollups),
            log_counts: (self.signal == Signal::Logs).then_some(log_counts),
        };
        file::encode(parts, data, self.rows)
    }
}

/// Returns true if every trace is one run.
fn has_whole_traces(runs: &[PostingRun]) -> bool {
    let mut hashes: Vec<u64> = runs.iter().map(|run| run.hash).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}
