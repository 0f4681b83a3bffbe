//! One input of a merge: a file, or runs that were read ahead of their turn.

use std::{fs::File, ops::Range, path::PathBuf, sync::Arc, vec};

use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch, UInt64Array, new_null_array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::{concat::concat_batches, take::take_record_batch};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        RowSelection,
    },
};

use super::{
    choose::Choice,
    entries::EntriesReader,
    places::{Plan, Run},
};
use crate::{
    StorageError,
    data_file::{
        DataFile,
        footer::{footer, guarded},
        order::SLOT_NANOS,
    },
    rows::column::{Column, Words, word},
    schema::Signal,
    snapshot::select,
};

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) slot: i64,
    /// The trace of a span, the service of a log record.
    pub(super) group: &'a [u8],
    time: u64,
}

/// What is read by a reader of its own.
const ATTRIBUTES: &str = "attributes";

/// Some columns of some rows, a portion at a time.
pub(super) struct Rows {
    columns: ParquetRecordBatchReader,
    entries: Option<EntriesReader>,
}

/// An open file.
pub(super) struct Opened {
    path: PathBuf,
    file: File,
    footer: ArrowReaderMetadata,
}

pub(super) fn open(signal: Signal, files: &[Arc<DataFile>]) -> Result<Vec<Opened>, StorageError> {
    let open = |file: &Arc<DataFile>| {
        let path = file.path.clone();
        let opened = file.open().map_err(crate::disk::failed("open", &path))?;
        let footer = footer(signal, &path, &opened)?;
        Ok(Opened { path, file: opened, footer })
    };
    files.iter().map(open).collect()
}

impl Opened {
    /// About how much memory a row takes, its repetitive texts not counted.
    pub(super) fn bytes_per_row(&self) -> u64 {
        let metadata = self.footer.metadata();
        let groups = metadata.row_groups().iter();
        let bytes: i64 = groups.map(|group| group.total_byte_size()).sum();
        let rows = metadata.file_metadata().num_rows().max(1);
        u64::try_from(bytes / rows).unwrap_or(0).max(256)
    }

    /// Reads columns of these rows, or of all.
    pub(super) fn reader(
        &self,
        columns: &[&str],
        ranges: Option<&[Range<usize>]>,
        portion: usize,
    ) -> Result<Rows, StorageError> {
        let file = self.file.try_clone().map_err(crate::disk::failed("open", &self.path))?;
        guarded(&self.path, || {
            let entries = match columns.contains(&ATTRIBUTES) {
                true => EntriesReader::open(&self.file, &self.footer, ranges)?,
                false => None,
            };
            let is_read = |name: &&str| entries.is_none() || *name != ATTRIBUTES;
            let columns = columns.iter().copied().filter(is_read);
            let mask = ProjectionMask::columns(self.footer.parquet_schema(), columns);
            let rows = self.footer.metadata().file_metadata().num_rows();
            let rows = usize::try_from(rows).unwrap_or_default();
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.footer.clone())
                    .with_projection(mask)
                    .with_batch_size(portion);
            let builder = match ranges {
                Some(ranges) => builder.with_row_selection(RowSelection::from_consecutive_ranges(
                    ranges.iter().cloned(),
                    rows,
                )),
                None => builder,
            };
            Ok(Rows { columns: builder.build()?, entries })
        })
    }

    pub(super) fn next(&self, rows: &mut Rows) -> Result<Option<RecordBatch>, StorageError> {
        guarded(&self.path, || {
            let Some(batch) = rows.columns.next().transpose()? else { return Ok(None) };
            let Some(entries) = &mut rows.entries else { return Ok(Some(batch)) };
            let attributes = entries.next(batch.num_rows())?;
            let field = Field::new(ATTRIBUTES, attributes.data_type().clone(), false);
            let fields = batch.schema_ref().fields().iter().cloned().chain([Arc::new(field)]);
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let columns = batch.columns().iter().cloned().chain([attributes]);
            Ok(Some(RecordBatch::try_new(schema, columns.collect())?))
        })
    }
}

/// What is read one portion at a time.
enum Input {
    File(Opened, Box<Rows>),
    /// Rows in memory, and the slot of each.
    Moved(vec::IntoIter<(RecordBatch, Vec<i64>)>),
}

/// Rows, and of spans the slot of each.
type Decoded = (RecordBatch, Option<Vec<i64>>);

/// One input.
pub(super) struct Source {
    signal: Signal,
    input: Input,
    /// The runs of a file of spans that are still to come.
    runs: vec::IntoIter<Run>,
    /// What is left of the run that the last portion ended in.
    rest: Option<(i64, usize)>,
    portion: Option<Portion>,
    ended: bool,
}

/// Decoded rows.
struct Portion {
    batch: usize,
    row: usize,
    rows: usize,
    keys: Keys,
}

enum Keys {
    Spans { slots: Vec<i64>, traces: BinaryArray, starts: Int64Array },
    Logs { services: Option<Words>, times: Int64Array },
}

impl Keys {
    fn of(batch: &RecordBatch, slots: Option<Vec<i64>>) -> Result<Self, StorageError> {
        let times = |signal: Signal| Column::<Int64Array>::of(batch, signal.time_column());
        let absent = |name| arrow_schema::ArrowError::SchemaError(format!("no column {name}"));
        Ok(match slots {
            Some(slots) => Self::Spans {
                slots,
                traces: Column::of(batch, "trace_id")?.0.ok_or_else(|| absent("trace_id"))?,
                starts: times(Signal::Spans)?.0.ok_or_else(|| absent("start_unix_nanos"))?,
            },
            None => Self::Logs {
                services: Words::of(batch, "service")?,
                times: times(Signal::Logs)?.0.ok_or_else(|| absent("time_unix_nanos"))?,
            },
        })
    }

    fn at(&self, row: usize) -> Key<'_> {
        match self {
            Self::Spans { slots, traces, starts } => Key {
                slot: slots[row],
                group: if traces.is_valid(row) { traces.value(row) } else { &[] },
                time: starts.value(row).cast_unsigned(),
            },
            Self::Logs { services, times } => {
                let time = times.value(row).cast_unsigned();
                Key {
                    slot: (time / SLOT_NANOS).cast_signed(),
                    group: word(services.as_ref(), row).as_bytes(),
                    time,
                }
            }
        }
    }
}

/// The files of a plan: each without the runs that move, and those together.
pub(super) fn spans(
    files: Vec<Opened>,
    plan: Plan,
    schema: &SchemaRef,
    portion: usize,
) -> Result<Vec<Source>, StorageError> {
    let columns = names(schema);
    let mut moved = Vec::new();
    let mut sources = Vec::new();
    for (file, runs) in files.into_iter().zip(plan.files) {
        let (gone, staying): (Vec<_>, Vec<_>) =
            ranges(&runs).partition(|(_, moved_to)| moved_to.is_some());
        let ranges = |runs: &[(Range<usize>, Option<i64>)]| {
            runs.iter().map(|(rows, _)| rows.clone()).collect::<Vec<_>>()
        };
        if !gone.is_empty() {
            let slots = gone.iter().flat_map(|(rows, slot)| rows.clone().filter_map(|_| *slot));
            moved.push((
                read_all(&file, &columns, &ranges(&gone), schema, portion)?,
                slots.collect(),
            ));
        }
        let wanted = (!gone.is_empty()).then(|| ranges(&staying));
        let reader = file.reader(&columns, wanted.as_deref(), portion)?;
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.moved_to.is_none()).collect();
        sources.push(Source::new(Signal::Spans, Input::File(file, Box::new(reader)), runs));
    }
    if !moved.is_empty() {
        let portions = sorted(schema, moved, portion)?;
        sources.push(Source::new(Signal::Spans, Input::Moved(portions.into_iter()), Vec::new()));
    }
    Ok(sources)
}

pub(super) fn logs(
    files: Vec<Opened>,
    schema: &SchemaRef,
    portion: usize,
) -> Result<Vec<Source>, StorageError> {
    let columns = names(schema);
    let open = |file: Opened| {
        let reader = file.reader(&columns, None, portion)?;
        Ok(Source::new(Signal::Logs, Input::File(file, Box::new(reader)), Vec::new()))
    };
    files.into_iter().map(open).collect()
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

/// The rows of each run, and where it moves to.
fn ranges(runs: &[Run]) -> impl Iterator<Item = (Range<usize>, Option<i64>)> {
    let mut end = 0;
    runs.iter().map(move |run| {
        let first = end;
        end += run.rows as usize;
        (first..end, run.moved_to)
    })
}

fn read_all(
    file: &Opened,
    columns: &[&str],
    ranges: &[Range<usize>],
    schema: &SchemaRef,
    portion: usize,
) -> Result<Vec<RecordBatch>, StorageError> {
    let mut reader = file.reader(columns, Some(ranges), portion)?;
    let mut batches = Vec::new();
    while let Some(batch) = file.next(&mut reader)? {
        batches.push(conformed(&batch, schema)?);
    }
    Ok(batches)
}

/// The moved rows of all files in the order of a file.
fn sorted(
    schema: &SchemaRef,
    moved: Vec<(Vec<RecordBatch>, Vec<i64>)>,
    portion: usize,
) -> Result<Vec<(RecordBatch, Vec<i64>)>, StorageError> {
    let slots: Vec<i64> = moved.iter().flat_map(|(_, slots)| slots.iter().copied()).collect();
    let batches: Vec<RecordBatch> = moved.into_iter().flat_map(|(batches, _)| batches).collect();
    let all = concat_batches(schema, &batches)?;
    drop(batches);
    let keys = Keys::of(&all, Some(slots))?;
    let mut order: Vec<usize> = (0..all.num_rows()).collect();
    order.sort_by_key(|row| keys.at(*row));
    let taken = order.chunks(portion).map(|rows| {
        let indices = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
        let slots = rows.iter().map(|row| keys.at(*row).slot).collect();
        Ok((take_record_batch(&all, &indices)?, slots))
    });
    taken.collect()
}

/// The columns of the schema; what a file of an older format lacks is null.
fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StorageError> {
    let columns = schema.fields().iter().map(|field| {
        let found = batch.column_by_name(field.name()).cloned();
        found.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

impl Source {
    fn new(signal: Signal, input: Input, runs: Vec<Run>) -> Self {
        Self { signal, input, runs: runs.into_iter(), rest: None, portion: None, ended: false }
    }

    /// Whether rows have to be read before it can say which comes next.
    pub(super) fn needs_portion(&self) -> bool {
        !self.ended && self.portion.is_none()
    }

    /// Reads the next rows that are kept, which become the batch of this number.
    pub(super) fn read(
        &mut self,
        schema: &SchemaRef,
        mut choice: Option<&mut Choice>,
        number: usize,
    ) -> Result<Option<RecordBatch>, StorageError> {
        loop {
            let Some((mut batch, mut slots)) = self.decode(schema)? else {
                self.ended = true;
                return Ok(None);
            };
            if let Some(choice) = choice.as_deref_mut() {
                let kept = choice.rows(&batch)?;
                if kept.is_empty() {
                    continue;
                }
                batch = select(&batch, &kept)?;
                slots = slots.map(|slots| kept.iter().map(|row| slots[*row]).collect());
            }
            let keys = Keys::of(&batch, slots)?;
            self.portion = Some(Portion { batch: number, row: 0, rows: batch.num_rows(), keys });
            return Ok(Some(batch));
        }
    }

    /// The next rows, and the slots of spans.
    fn decode(&mut self, schema: &SchemaRef) -> Result<Option<Decoded>, StorageError> {
        let batch = match &mut self.input {
            Input::File(file, reader) => file.next(reader)?,
            Input::Moved(portions) => {
                return Ok(portions.next().map(|(batch, slots)| (batch, Some(slots))));
            }
        };
        let Some(batch) = batch else { return Ok(None) };
        let slots = (self.signal == Signal::Spans).then(|| self.slots(batch.num_rows()));
        Ok(Some((conformed(&batch, schema)?, slots)))
    }

    /// The slots of the next rows of a file.
    fn slots(&mut self, rows: usize) -> Vec<i64> {
        let mut slots = Vec::with_capacity(rows);
        while slots.len() < rows {
            let next = self.runs.by_ref().map(|run| (run.slot, run.rows as usize));
            let mut next = self.rest.take().into_iter().chain(next);
            let Some((slot, of_run)) = next.next() else {
                slots.resize(rows, i64::MAX);
                break;
            };
            let now = of_run.min(rows - slots.len());
            slots.resize(slots.len() + now, slot);
            self.rest = (of_run > now).then_some((slot, of_run - now));
        }
        slots
    }

    /// Where its next row goes.
    pub(super) fn key(&self) -> Option<Key<'_>> {
        self.portion.as_ref().map(|portion| portion.keys.at(portion.row))
    }

    /// How many of its next rows are of the first one's group and go before those of the others.
    pub(super) fn same_group(&self, first: &Key<'_>, others: Option<Key<'_>>) -> usize {
        let Some(portion) = &self.portion else { return 0 };
        let next = (portion.row..portion.rows).map(|row| portion.keys.at(row));
        next.take_while(|key| {
            key.slot == first.slot
                && key.group == first.group
                && others.is_none_or(|others| *key <= others)
        })
        .count()
    }

    /// Takes its next rows: the batch and their places there.
    pub(super) fn take(&mut self, rows: usize) -> Option<(usize, Range<usize>)> {
        let portion = self.portion.as_mut()?;
        let first = portion.row;
        portion.row += rows;
        let taken = (portion.batch, first..portion.row);
        if portion.row >= portion.rows {
            self.portion = None;
        }
        Some(taken)
    }

    /// The batch its next row is in.
    pub(super) fn batch(&self) -> Option<usize> {
        self.portion.as_ref().map(|portion| portion.batch)
    }

    pub(super) fn renumber(&mut self, new: impl Fn(usize) -> usize) {
        if let Some(portion) = &mut self.portion {
            portion.batch = new(portion.batch);
        }
    }
}
