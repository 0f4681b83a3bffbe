//! K-way merge of several files of one hour into one stream of rows in the order of files.
//!
//! The merge works in bounded memory: it decodes one portion of rows of each file at a time. A
//! trace whose spans are in several files becomes one run. `trace_runs` first finds the runs of
//! each trace, reading only ids and start times. `source` decodes the inputs, and `read_ahead`
//! decodes runs before their turn.

mod choose;
mod read_ahead;
mod source;
mod trace_runs;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    schema::SignalSchema,
};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_proto::Signal;

use self::source::{MergeKey, MergeSource};
use super::{
    gatherer,
    sections::Portion,
    shred::{AttributeCounts, ColumnMinimum},
    sizes,
    write::Layout,
};
use crate::scan::PORTION_ROWS;

pub use self::choose::Choice;

/// Maximum rows of a trace that is returned in one batch.
const TRACE_ROWS_MAX: usize = 65_536;
/// Rows that are decoded at once, of all files together.
const DECODED_ROWS: usize = 32_768;

/// Memory limits of a merge. One portion of each input file is not included.
#[derive(Debug, Clone, Copy)]
pub struct MergeLimits {
    /// Decoded bytes of all files at once.
    decoded_bytes: usize,
    /// Decoded bytes of batches that the sources have passed but whose rows are still pending. The
    /// output copies these rows.
    pending_bytes: usize,
    /// Bytes of runs that are read ahead at once.
    moved_bytes: usize,
}

/// Minimum memory of a merge. With less, its portions would become single rows.
const BYTES_MIN: usize = 16 << 20;

impl MergeLimits {
    /// Limits beyond which more memory does not help: 512 MiB.
    pub(crate) const LARGEST: Self = Self::divide(512 << 20);

    /// Returns the limits of a merge within this number of bytes.
    pub fn within(bytes: u64) -> Self {
        let most = Self::LARGEST.bytes();
        Self::divide(usize::try_from(bytes).unwrap_or(most).clamp(BYTES_MIN, most))
    }

    const fn divide(bytes: usize) -> Self {
        Self { decoded_bytes: bytes / 4, pending_bytes: bytes / 4, moved_bytes: bytes / 2 }
    }

    /// Returns the sum of the limits in bytes.
    pub const fn bytes(self) -> usize {
        self.decoded_bytes + self.pending_bytes + self.moved_bytes
    }

    /// Returns the portion of each of this many files.
    fn portion(&self, files: usize) -> Portion {
        let files = files.max(1);
        let rows = (DECODED_ROWS / files).clamp(1024, PORTION_ROWS);
        Portion { rows, bytes: (self.decoded_bytes / files).max(1) }
    }
}

/// Rows of several files, in order.
pub struct Merge {
    signal: Signal,
    schema: SchemaRef,
    limits: MergeLimits,
    sources: Vec<MergeSource>,
    /// Decoded batches; sources and `pending` refer to them by position.
    batches: Vec<RecordBatch>,
    /// Memory of each batch in bytes.
    sizes: Vec<usize>,
    /// Bytes of the batches that all sources have passed.
    passed_bytes: usize,
    /// Next rows of the output: batch and row in it.
    pending: Vec<(usize, usize)>,
    group: MergeGroup,
    traces: u64,
    columns: Vec<AttributeColumn>,
    choice: Option<Choice>,
}

/// Group of the last pending row: the trace, or the service in a time slot.
#[derive(Debug, Default)]
struct MergeGroup {
    begin: i64,
    name: Vec<u8>,
    /// Start of the group in `pending`.
    first: usize,
}

/// Next rows of the merge: a number of rows of one source, all of one group.
struct MergeRun {
    source: usize,
    rows: usize,
    opens_group: bool,
}

impl Merge {
    /// Begins a merge: reads the ids and start times of the files, which are all of one hour.
    /// Without a choice, all rows are kept.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn open(
        signal: Signal,
        files: &[Arc<DataFile>],
        choice: Option<Choice>,
        limits: MergeLimits,
    ) -> Result<Self, StorageError> {
        let schema = signal.memory_schema();
        let opened = source::open(signal, files)?;
        let mut counts = AttributeCounts::default();
        opened.iter().for_each(|file| file.count_attributes(&mut counts));
        // The table declares the columns of its files already.
        let minimum = ColumnMinimum {
            values: Layout::MERGED.column_values_min,
            values_new: 0,
            rows_of_value: ColumnMinimum::ROWS_MERGED,
        };
        let mut columns = counts.columns(signal, minimum, &mut DeclaredColumns::default());
        // The name of the column is part of the new file, so a column of an erased key is removed.
        let erased = choice.as_ref().map(Choice::erased_keys).unwrap_or_default();
        columns.retain(|column| !erased.contains(&column.key));
        let (sources, traces) = match signal {
            Signal::Spans => {
                let plan = trace_runs::plan(&opened, limits.portion(1))?;
                let traces = plan.traces;
                (source::spans(opened, plan, &schema, limits)?, traces)
            }
            Signal::Logs => {
                let rows = files.iter().map(|file| file.rows).sum();
                (source::logs(opened, &schema, limits)?, rows)
            }
        };
        Ok(Self {
            signal,
            schema,
            limits,
            sources,
            batches: Vec::new(),
            sizes: Vec::new(),
            passed_bytes: 0,
            pending: Vec::new(),
            group: MergeGroup::default(),
            traces,
            columns,
            choice,
        })
    }

    /// Returns an upper bound of the number of traces.
    pub fn traces(&self) -> u64 {
        self.traces
    }

    /// Returns the attribute columns of files with these rows.
    pub fn columns(&self) -> Vec<AttributeColumn> {
        self.columns.clone()
    }

    /// Returns the next rows, or `None` after the last. A trace ends with its batch unless the
    /// trace is very long.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn next_rows(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        let longest = match self.signal {
            Signal::Spans => TRACE_ROWS_MAX,
            Signal::Logs => PORTION_ROWS,
        };
        loop {
            self.fill()?;
            let Some(stretch) = self.stretch() else { return self.give() };
            let is_full = self.passed_bytes >= self.limits.pending_bytes;
            if stretch.opens_group {
                if is_full || self.pending.len() >= PORTION_ROWS {
                    return self.give();
                }
                self.open_group(stretch.source);
            } else if is_full || self.pending.len() >= longest {
                let first = self.group.first;
                let whole = first > 0 && self.signal == Signal::Spans;
                // Rows before the long group are returned first, as complete groups.
                let rest = if whole { self.pending.split_off(first) } else { Vec::new() };
                let given = self.give_before(rest)?;
                self.group.first = 0;
                return Ok(given);
            }
            self.take(&stretch);
        }
    }

    /// Reads portions until every source that has not ended has a row.
    fn fill(&mut self) -> Result<(), StorageError> {
        for source in &mut self.sources {
            if source.needs_portion()
                && let Some(batch) =
                    source.read(&self.schema, self.choice.as_mut(), self.batches.len())?
            {
                self.sizes.push(sizes::bytes(&batch, &(0..batch.num_rows())));
                self.batches.push(batch);
            }
        }
        Ok(())
    }

    fn stretch(&self) -> Option<MergeRun> {
        let mut first: Option<(usize, MergeKey<'_>)> = None;
        let mut second: Option<MergeKey<'_>> = None;
        for (number, source) in self.sources.iter().enumerate() {
            let Some(key) = source.key() else { continue };
            match &first {
                Some((_, least)) if *least <= key => {
                    second = Some(second.map_or(key, |other| other.min(key)));
                }
                _ => {
                    second = first.take().map(|(_, least)| least);
                    first = Some((number, key));
                }
            }
        }
        let (source, key) = first?;
        let opens_group = !self.group.is(&key);
        Some(MergeRun { source, rows: self.sources[source].same_group(&key, second), opens_group })
    }

    fn take(&mut self, stretch: &MergeRun) {
        let source = &mut self.sources[stretch.source];
        if let Some((batch, rows)) = source.take(stretch.rows) {
            self.pending.extend(rows.map(|row| (batch, row)));
            if source.batch().is_none() {
                self.passed_bytes += self.sizes[batch];
            }
        }
    }

    fn open_group(&mut self, source: usize) {
        let Some(key) = self.sources[source].key() else { return };
        let group = &mut self.group;
        group.name.clear();
        group.name.extend_from_slice(key.group);
        (group.begin, group.first) = (key.begin, self.pending.len());
    }

    /// Returns the pending rows except `rest`, which stay pending.
    fn give_before(
        &mut self,
        rest: Vec<(usize, usize)>,
    ) -> Result<Option<RecordBatch>, StorageError> {
        let given = self.assemble()?;
        self.pending = rest;
        self.drop_batches();
        Ok(given)
    }

    fn give(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        self.give_before(Vec::new())
    }

    fn assemble(&self) -> Result<Option<RecordBatch>, StorageError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        Ok(Some(gatherer::rows(&self.schema, &self.batches, &self.pending)?))
    }

    /// Drops decoded batches that neither a source nor a pending row uses.
    fn drop_batches(&mut self) {
        let mut places = vec![None; self.batches.len()];
        let of_sources = self.sources.iter().filter_map(MergeSource::batch);
        for batch in of_sources.chain(self.pending.iter().map(|(batch, _)| *batch)) {
            places[batch] = Some(0);
        }
        let (batches, sizes) = (std::mem::take(&mut self.batches), std::mem::take(&mut self.sizes));
        for (place, (batch, size)) in places.iter_mut().zip(batches.into_iter().zip(sizes)) {
            if let Some(place) = place {
                *place = self.batches.len();
                self.batches.push(batch);
                self.sizes.push(size);
            }
        }
        let new = |old: usize| places[old].unwrap_or_default();
        self.sources.iter_mut().for_each(|source| source.renumber(new));
        self.pending.iter_mut().for_each(|(batch, _)| *batch = new(*batch));
        let begun =
            self.sources.iter().filter_map(MergeSource::batch).map(|batch| self.sizes[batch]);
        self.passed_bytes = self.sizes.iter().sum::<usize>() - begun.sum::<usize>();
    }
}

impl MergeGroup {
    fn is(&self, key: &MergeKey<'_>) -> bool {
        self.begin == key.begin && self.name == key.group
    }
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("signal", &self.signal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
