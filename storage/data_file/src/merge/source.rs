//! Input of a merge: a file, or the runs that are read ahead of their turn.

use std::{fs::File, ops::Range, path::PathBuf, sync::Arc, vec};

use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowSelection},
};
use tidings_columns::{
    rows::column::{OptionalColumn, WordColumn, word},
    schema::SignalSchema,
};
use tidings_disk::ranges::intersection;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_proto::Signal;

use super::{
    MergeLimits,
    choose::Choice,
    read_ahead::ReadAheadRuns,
    trace_runs::{MergePlan, TraceRun},
};
use crate::{
    attributes::{FileAttributes, WantedAttributes},
    footer::{file_footer, guarded},
    order::SLOT_NANOS,
    page_reader::{self, ReadPlan},
    scan::select,
    sections::{Portion, Section, sections},
    shred::AttributeCounts,
};

/// Sort key of a row in a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MergeKey<'a> {
    /// Begin of a span's trace, or the number of a log record's time slot.
    pub(super) begin: i64,
    /// Trace of a span, or service of a log record.
    pub(super) group: &'a [u8],
    time: u64,
}

/// Reader of some columns of some rows, one portion at a time.
pub(super) struct PortionReader {
    columns: ParquetRecordBatchReader,
    mask: ProjectionMask,
    /// Remaining sections, the next one last.
    later: Vec<ReadSection>,
}

/// Rows that are read in portions of one size. `None` ranges mean all rows.
struct ReadSection {
    ranges: Option<Vec<Range<usize>>>,
    portion: usize,
}

/// Open input file.
pub(super) struct MergeFile {
    path: PathBuf,
    file: File,
    footer: ArrowReaderMetadata,
    attributes: Arc<FileAttributes>,
}

pub(super) fn open(
    signal: Signal,
    files: &[Arc<DataFile>],
) -> Result<Vec<MergeFile>, StorageError> {
    let open = |file: &Arc<DataFile>| {
        let path = file.path.clone();
        let opened = file.open().map_err(|source| file.open_error(source))?;
        let opening = file_footer(signal, &path, &opened);
        let (footer, attributes) = opening.inspect_err(|error| file.note_damage(error))?;
        Ok(MergeFile { path, file: opened, footer, attributes })
    };
    files.iter().map(open).collect()
}

impl MergeFile {
    /// Returns a reader of columns, for these rows or for all.
    pub(super) fn reader(
        &self,
        columns: &[&str],
        ranges: Option<&[Range<usize>]>,
        portion: Portion,
    ) -> Result<PortionReader, StorageError> {
        guarded(&self.path, || {
            let mask = self.attributes.mask(&self.footer, columns, &WantedAttributes::All);
            let mut later = stretches(sections(&self.footer, &mask, portion), ranges);
            let nothing = ReadSection { ranges: Some(Vec::new()), portion: portion.rows };
            let first = later.pop().unwrap_or(nothing);
            Ok(PortionReader { columns: self.columns(&mask, first)?, mask, later })
        })
    }

    /// Adds the values of the file's attribute columns to the counts.
    pub(super) fn count_attributes(&self, counts: &mut AttributeCounts) {
        let rows = self.footer.metadata().file_metadata().num_rows();
        counts.add_rows(u64::try_from(rows).unwrap_or_default());
        self.attributes.count(counts);
    }

    /// Returns sections of the file with the number of rows to decode at once in each.
    pub(super) fn sections(
        &self,
        columns: &[&str],
        portion: Portion,
    ) -> Result<Vec<Section>, StorageError> {
        guarded(&self.path, || {
            let mask = self.attributes.mask(&self.footer, columns, &WantedAttributes::All);
            Ok(sections(&self.footer, &mask, portion))
        })
    }

    fn columns(
        &self,
        mask: &ProjectionMask,
        stretch: ReadSection,
    ) -> Result<ParquetRecordBatchReader, StorageError> {
        let file =
            self.file.try_clone().map_err(tidings_files::error::failed("open", &self.path))?;
        let rows = self.footer.metadata().file_metadata().num_rows();
        let rows = usize::try_from(rows).unwrap_or_default();
        let plan = ReadPlan {
            mask: mask.clone(),
            groups: None,
            rows: stretch
                .ranges
                .map(|ranges| RowSelection::from_consecutive_ranges(ranges.into_iter(), rows)),
            batch_rows: stretch.portion,
            keeps_pages: false,
        };
        Ok(page_reader::batches(file, &self.footer, plan)?)
    }

    pub(super) fn next(
        &self,
        rows: &mut PortionReader,
    ) -> Result<Option<RecordBatch>, StorageError> {
        guarded(&self.path, || {
            let batch = loop {
                if let Some(batch) = rows.columns.next().transpose()? {
                    break batch;
                }
                let Some(stretch) = rows.later.pop() else { return Ok(None) };
                rows.columns = self.columns(&rows.mask, stretch)?;
            };
            Ok(Some(self.attributes.assemble(batch, &WantedAttributes::All)?))
        })
    }

    /// Returns the next rows, converted to this schema.
    pub(super) fn next_as(
        &self,
        schema: &SchemaRef,
        rows: &mut PortionReader,
    ) -> Result<Option<RecordBatch>, StorageError> {
        let Some(batch) = self.next(rows)? else { return Ok(None) };
        guarded(&self.path, || conformed(&batch, schema)).map(Some)
    }
}

/// Returns the columns of the schema. A column that a file of an older release lacks is null.
fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
    let columns = schema.fields().iter().map(|field| {
        let found = batch.column_by_name(field.name()).cloned();
        found.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

/// Returns the sections of a file, or those of these rows of it, the last one first.
fn stretches(sections: Vec<Section>, ranges: Option<&[Range<usize>]>) -> Vec<ReadSection> {
    if let ([Section { portion, .. }], None) = (&sections[..], ranges) {
        return vec![ReadSection { ranges: None, portion: *portion }];
    }
    let stretch = |Section { rows, portion }| {
        let rows = std::slice::from_ref(&rows);
        let ranges = ranges.map_or_else(|| rows.to_vec(), |ranges| intersection(ranges, rows));
        ReadSection { ranges: Some(ranges), portion }
    };
    let stretches = sections.into_iter().rev().map(stretch);
    stretches
        .filter(|stretch| stretch.ranges.as_ref().is_none_or(|rows| !rows.is_empty()))
        .collect()
}

/// Input of a source, read one portion at a time.
enum MergeInput {
    File(Arc<MergeFile>, Box<PortionReader>),
    Moved(Box<ReadAheadRuns>),
    /// The source has no more rows. Its reader and its buffers are freed.
    Ended,
}

/// Decoded rows, and for spans the begin of the trace of each row.
pub(super) type Decoded = (RecordBatch, Option<Vec<i64>>);

/// One input of the merge.
pub(super) struct MergeSource {
    signal: Signal,
    input: MergeInput,
    /// Runs of a file of spans that are not read yet.
    runs: vec::IntoIter<TraceRun>,
    /// Begin and remaining rows of the run in which the last portion ended.
    rest: Option<(i64, usize)>,
    decoded: Option<RemainingRows>,
}

/// Decoded rows that were not taken yet.
struct RemainingRows {
    batch: usize,
    row: usize,
    rows: usize,
    keys: MergeKeys,
}

pub(super) enum MergeKeys {
    Spans { begins: Vec<i64>, traces: BinaryArray, starts: Int64Array },
    Logs { services: Option<WordColumn>, times: Int64Array },
}

impl MergeKeys {
    pub(super) fn from_batch(
        batch: &RecordBatch,
        begins: Option<Vec<i64>>,
    ) -> Result<Self, StorageError> {
        let times =
            |signal: Signal| OptionalColumn::<Int64Array>::from_batch(batch, signal.time_column());
        let absent = |name| arrow_schema::ArrowError::SchemaError(format!("no column {name}"));
        Ok(match begins {
            Some(begins) => Self::Spans {
                begins,
                traces: OptionalColumn::from_batch(batch, "trace_id")?
                    .0
                    .ok_or_else(|| absent("trace_id"))?,
                starts: times(Signal::Spans)?.0.ok_or_else(|| absent("start_unix_nanos"))?,
            },
            None => Self::Logs {
                services: WordColumn::from_batch(batch, "service")?,
                times: times(Signal::Logs)?.0.ok_or_else(|| absent("time_unix_nanos"))?,
            },
        })
    }

    pub(super) fn at(&self, row: usize) -> MergeKey<'_> {
        match self {
            Self::Spans { begins, traces, starts } => MergeKey {
                begin: begins[row],
                group: if traces.is_valid(row) { traces.value(row) } else { &[] },
                time: starts.value(row).cast_unsigned(),
            },
            Self::Logs { services, times } => {
                let time = times.value(row).cast_unsigned();
                MergeKey {
                    begin: (time / SLOT_NANOS).cast_signed(),
                    group: word(services.as_ref(), row).as_bytes(),
                    time,
                }
            }
        }
    }
}

/// Creates the sources of a plan: each file without its moved runs, and one source of all moved
/// runs.
pub(super) fn spans(
    files: Vec<MergeFile>,
    plan: MergePlan,
    schema: &SchemaRef,
    limits: MergeLimits,
) -> Result<Vec<MergeSource>, StorageError> {
    let columns = names(schema);
    let portion = limits.portion(files.len());
    let files: Vec<Arc<MergeFile>> = files.into_iter().map(Arc::new).collect();
    let mut of_files = plan.files;
    let moved = ReadAheadRuns::plan(&files, &mut of_files, schema, portion, limits.moved_bytes)?;
    let mut sources = Vec::new();
    for (file, mut runs) in files.into_iter().zip(of_files) {
        let all = runs.len();
        runs.retain(|run| !run.moves());
        let staying = || runs.iter().map(TraceRun::range).collect::<Vec<_>>();
        let wanted = (runs.len() < all).then(staying);
        let reader = file.reader(&columns, wanted.as_deref(), portion)?;
        sources.push(MergeSource::new(
            Signal::Spans,
            MergeInput::File(file, Box::new(reader)),
            runs,
        ));
    }
    if let Some(moved) = moved {
        sources.push(MergeSource::new(
            Signal::Spans,
            MergeInput::Moved(Box::new(moved)),
            Vec::new(),
        ));
    }
    Ok(sources)
}

pub(super) fn logs(
    files: Vec<MergeFile>,
    schema: &SchemaRef,
    limits: MergeLimits,
) -> Result<Vec<MergeSource>, StorageError> {
    let columns = names(schema);
    let portion = limits.portion(files.len());
    let open = |file: MergeFile| {
        let reader = file.reader(&columns, None, portion)?;
        let input = MergeInput::File(Arc::new(file), Box::new(reader));
        Ok(MergeSource::new(Signal::Logs, input, Vec::new()))
    };
    files.into_iter().map(open).collect()
}

pub(super) fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

impl MergeSource {
    fn new(signal: Signal, input: MergeInput, runs: Vec<TraceRun>) -> Self {
        Self { signal, input, runs: runs.into_iter(), rest: None, decoded: None }
    }

    /// Returns true if the source must read a portion before it has a next key.
    pub(super) fn needs_portion(&self) -> bool {
        self.decoded.is_none() && !matches!(self.input, MergeInput::Ended)
    }

    /// Reads the next rows that are kept. They become the batch with this number.
    pub(super) fn read(
        &mut self,
        schema: &SchemaRef,
        mut choice: Option<&mut Choice>,
        number: usize,
    ) -> Result<Option<RecordBatch>, StorageError> {
        loop {
            let Some((mut batch, mut begins)) = self.decode(schema)? else {
                self.input = MergeInput::Ended;
                return Ok(None);
            };
            if let Some(choice) = choice.as_deref_mut() {
                let kept = choice.rows(&batch)?;
                if kept.is_empty() {
                    continue;
                }
                batch = select(&batch, &kept)?;
                begins = begins.map(|begins| kept.iter().map(|row| begins[*row]).collect());
            }
            let keys = MergeKeys::from_batch(&batch, begins)?;
            self.decoded =
                Some(RemainingRows { batch: number, row: 0, rows: batch.num_rows(), keys });
            return Ok(Some(batch));
        }
    }

    /// Decodes the next rows, with the begin of the trace of each span.
    fn decode(&mut self, schema: &SchemaRef) -> Result<Option<Decoded>, StorageError> {
        let batch = match &mut self.input {
            MergeInput::File(file, reader) => file.next_as(schema, reader)?,
            MergeInput::Moved(moved) => return moved.next(),
            MergeInput::Ended => None,
        };
        let Some(batch) = batch else { return Ok(None) };
        let begins = (self.signal == Signal::Spans).then(|| self.begins(batch.num_rows()));
        Ok(Some((batch, begins)))
    }

    /// Returns the begin of the trace of each of the next rows of a file.
    fn begins(&mut self, rows: usize) -> Vec<i64> {
        let mut begins = Vec::with_capacity(rows);
        while begins.len() < rows {
            let next = self.runs.by_ref().map(|run| (run.begin, run.rows as usize));
            let mut next = self.rest.take().into_iter().chain(next);
            let Some((begin, of_run)) = next.next() else {
                begins.resize(rows, i64::MAX);
                break;
            };
            let now = of_run.min(rows - begins.len());
            begins.resize(begins.len() + now, begin);
            self.rest = (of_run > now).then_some((begin, of_run - now));
        }
        begins
    }

    /// Returns the sort key of the next row.
    pub(super) fn key(&self) -> Option<MergeKey<'_>> {
        self.decoded.as_ref().map(|rest| rest.keys.at(rest.row))
    }

    /// Returns the number of next rows that are in the group of the first one and sort before the
    /// rows of all other sources.
    pub(super) fn same_group(&self, first: &MergeKey<'_>, others: Option<MergeKey<'_>>) -> usize {
        let Some(rest) = &self.decoded else { return 0 };
        let next = (rest.row..rest.rows).map(|row| rest.keys.at(row));
        next.take_while(|key| {
            key.begin == first.begin
                && key.group == first.group
                && others.is_none_or(|others| *key <= others)
        })
        .count()
    }

    /// Takes the next rows and returns their batch and their range in it.
    pub(super) fn take(&mut self, rows: usize) -> Option<(usize, Range<usize>)> {
        let rest = self.decoded.as_mut()?;
        let first = rest.row;
        rest.row += rows;
        let taken = (rest.batch, first..rest.row);
        if rest.row >= rest.rows {
            self.decoded = None;
        }
        Some(taken)
    }

    /// Returns the batch of the next row.
    pub(super) fn batch(&self) -> Option<usize> {
        self.decoded.as_ref().map(|rest| rest.batch)
    }

    pub(super) fn renumber(&mut self, new: impl Fn(usize) -> usize) {
        if let Some(rest) = &mut self.decoded {
            rest.batch = new(rest.batch);
        }
    }
}
