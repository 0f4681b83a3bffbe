//! Writer of data files: layout, properties and encoding in Parquet.

use std::{fmt, io::Write};

use arrow_array::{BinaryArray, Int64Array, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::ArrowSchemaConverter,
    basic::{Compression, Encoding, Type, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
    schema::types::{ColumnDescriptor, ColumnPath},
};
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    rows::{column::OptionalColumn, without_derived},
    schema::{ATTRIBUTE_ORDER, SignalSchema},
};
use tidings_disk::ranges::portions;
use tidings_files::{StorageError, table_file::STATS_MAX};
use tidings_index::{IndexBuilder, Sums};
use tidings_proto::{Signal, UnixNanos};

use super::{
    EncodedFile, FileStats,
    attributes::WRITER,
    gatherer::RowGatherer,
    order::OrderedRow,
    row_groups::RowGroups,
    sections::KEYS,
    shred::{AttributeCounts, ColumnMinimum, Shredder},
    sizes,
};

/// Limits of row groups and pages, and compression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Rows of a row group, the unit that a scan skips or reads.
    pub(super) row_group_rows: usize,
    /// Rows of a page, the unit that a lookup of one trace decodes.
    pub(super) page_rows: usize,
    /// zstd level of the columns with the sender's texts: attributes and log texts.
    pub(super) zstd_level_sent: i32,
    /// Minimum number of values for an attribute column. It matters in small files, because a
    /// column costs some hundred bytes.
    pub(super) column_values_min: u64,
}

impl Layout {
    /// Layout of files that a flush writes. Unless they are large, they are merged soon.
    pub(super) const FLUSHED: Self = Self {
        row_group_rows: 131_072,
        page_rows: 2048,
        zstd_level_sent: ZSTD_LEVEL,
        column_values_min: 32,
    };
    /// Layout of files that a merge writes.
    pub(super) const MERGED: Self = Self { zstd_level_sent: ZSTD_LEVEL_MERGED, ..Self::FLUSHED };
}

/// Maximum rows that a flush gathers at once. Each such step inspects each column of each chunk in
/// memory, even of chunks without any of the rows.
const TAKEN_ROWS: usize = 32 << 10;
/// Maximum bytes of these rows. Rows are measured one by one only when all of memory has more.
const TAKEN_BYTES: usize = 256 << 20;
/// Minimum ratio of the memory of rows to their size in a file, for the file's buffer. The unused
/// end of a buffer costs no memory because it is never touched, and a buffer that is too small is
/// copied.
const MEMORY_OF_FILE: usize = 5;
/// Rows that the encoder takes at once. It checks the limits of a page only between these steps.
const WRITE_ROWS: usize = 1024;
/// Maximum bytes of a row group, which is in memory until it ends. Rows may be large.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Minimum number of values for which a table declares a new attribute column, or a hundredth of
/// the rows of the flush if that is less. Without a minimum, rare attributes would use up the
/// columns.
const VALUES_NEW_MIN: usize = 4096;
const ROWS_OF_NEW: usize = 100;
/// False-positive rate of a bloom filter.
const BLOOM_FPP: f64 = 0.01;
const ZSTD_LEVEL: i32 = 1;
/// Level 2 takes hardly more processor time than level 1. From level 4 on, a merge takes a tenth
/// more time, for a file that is a fortieth smaller (decision 0029).
const ZSTD_LEVEL_MERGED: i32 = 2;

/// Columns with statistics for every page.
const PRUNED: [&str; 9] = [
    "start_unix_nanos",
    "time_unix_nanos",
    "duration_nanos",
    "trace_id",
    "trace_id_low64",
    "service",
    "name",
    "status_code",
    "severity_number",
];
/// Columns of numbers that differ from row to row and are near each other or small.
const DELTAS: [&str; 3] = ["time_unix_nanos", "observed_unix_nanos", "duration_nanos"];
/// Columns of numbers that share their leading bytes with the previous rows. Compression removes
/// these bytes. Delta encoding would be larger: each trace boundary makes a large difference, which
/// widens its block.
const PLAIN: [&str; 2] = ["start_unix_nanos", "trace_id_low64"];
/// Columns of ids that mostly differ from the previous rows. Their encoding separates the lengths.
const IDS: [&str; 2] = ["span_id", "parent_span_id"];
/// Such columns of log records, which are not in the order of their traces. Spans of a trace are
/// consecutive, and a dictionary has the id of their trace once.
const LOG_IDS: [&str; 1] = ["trace_id"];
/// Text columns of which few rows are read. Their pages and dictionaries are limited to
/// `TEXT_PAGE_BYTES`, because reading one row decodes both.
const TEXTS: [&str; 4] = [MAP_TEXTS, "text", "body", ATTRIBUTE_ORDER];
const TEXT_PAGE_BYTES: usize = 128 << 10;
/// Maximum size of a page with texts of log records, unless the rows that the encoder takes at once
/// have more. Such a page then has the rows of one block of the index. A search for a phrase reads
/// a block and nothing of its neighbour.
const LOG_TEXT_PAGE_BYTES: usize = 32 << 10;
/// Texts of the attributes that have no column.
const MAP_TEXTS: &str = "attributes.key_value.value.string";
/// Maximum size of the dictionary of these texts. Values of many keys share it, and those that do
/// not repeat fill it. Without a dictionary, a page of their texts is as large as a quarter of it.
const MAP_DICTIONARY_BYTES: usize = 512 << 10;
/// Maximum size of a dictionary of words. No row group reaches it. A dictionary has each word once,
/// as memory does, and without it each row would have a copy.
const WORD_DICTIONARY_BYTES: usize = 1 << 30;
/// Columns with the sender's texts, which justify a higher compression level.
const SENT: [&str; 4] = ["attributes", "events", "text", "body"];
/// Columns whose values do not repeat.
const UNIQUE: [&str; 2] = ["content_hash", "body"];
/// Columns of random numbers, which do not compress.
const RANDOM: [&str; 2] = ["span_id", "content_hash"];
/// Columns of numbers that repeat for many rows in turn, in an order that a compressor finds. Codes
/// of the dictionary alone take twice as much.
const REPEATING: [&str; 1] = ["received_unix_nanos"];

/// Rows that are not in the order of a file yet.
struct UnsortedRows {
    signal: Signal,
    /// Batch of each row, and its index in the batch.
    places: Vec<(usize, usize)>,
    /// Trace ids of each batch.
    ids: Vec<OptionalColumn<BinaryArray>>,
    /// Bytes of all rows.
    bytes: usize,
    /// Bytes of each row of each batch, if all rows together exceed the bytes of a portion.
    sizes: Option<Vec<Vec<usize>>>,
}

/// Encodes the rows of these batches as files. Row numbers in `placed` count through all batches.
pub(super) fn files(
    signal: Signal,
    batches: &[RecordBatch],
    placed: &[OrderedRow],
    layout: Layout,
    declared: &DeclaredColumns,
) -> Result<Vec<EncodedFile>, StorageError> {
    let rows = UnsortedRows::new(signal, batches, TAKEN_BYTES)?;
    let mut gather = RowGatherer::new(&signal.memory_schema(), batches)?;
    // All files share the list, because one commit adds them.
    let mut declared = declared.clone();
    let new_min = (placed.len() / ROWS_OF_NEW).min(VALUES_NEW_MIN) as u64;
    placed
        .chunk_by(|left, right| left.target == right.target)
        .map(|placed| {
            let of_file = placed.iter().map(|placed| rows.places[placed.row]);
            let counts = AttributeCounts::from_rows(batches, of_file)?;
            // The minimum is in proportion to the sampled rows.
            let values_new = new_min * counts.rows() / placed.len().max(1) as u64;
            let minimum = ColumnMinimum {
                values: layout.column_values_min,
                values_new,
                rows_of_value: ColumnMinimum::ROWS_FLUSHED,
            };
            let columns = counts.columns(signal, minimum, &mut declared);
            file(&rows, &mut gather, placed, layout, columns)
        })
        .collect()
}

impl UnsortedRows {
    /// Prepares the rows of these batches. A portion takes at most `bytes_max` bytes. Properties of
    /// a batch are computed once here, because a flush may write a dozen files.
    fn new(signal: Signal, batches: &[RecordBatch], bytes_max: usize) -> Result<Self, ArrowError> {
        let of_batch = |(number, batch): (usize, &RecordBatch)| {
            (0..batch.num_rows()).map(move |row| (number, row))
        };
        let ids = batches.iter().map(|batch| OptionalColumn::from_batch(batch, "trace_id"));
        let bytes = batches.iter().map(|batch| sizes::bytes(batch, &(0..batch.num_rows()))).sum();
        let is_much = bytes > bytes_max;
        Ok(Self {
            signal,
            places: batches.iter().enumerate().flat_map(of_batch).collect(),
            ids: ids.collect::<Result<_, _>>()?,
            bytes,
            sizes: is_much.then(|| batches.iter().map(sizes::of_rows).collect()),
        })
    }

    /// Gathers these rows in this order.
    fn take(
        &self,
        gather: &mut RowGatherer<'_>,
        placed: &[OrderedRow],
    ) -> Result<RecordBatch, ArrowError> {
        let named: Vec<_> = placed.iter().map(|placed| self.places[placed.row]).collect();
        gather.rows(&named)
    }

    /// Divides the rows into portions of at most `rows_max` rows and `bytes_max` bytes. A portion
    /// has at least one row.
    fn portions<'p>(
        &self,
        placed: &'p [OrderedRow],
        rows_max: usize,
        bytes_max: usize,
    ) -> Vec<&'p [OrderedRow]> {
        let Some(sizes) = &self.sizes else { return placed.chunks(rows_max).collect() };
        let sizes = placed.iter().map(|placed| {
            let (batch, row) = self.places[placed.row];
            sizes[batch][row]
        });
        portions(sizes, rows_max, bytes_max).into_iter().map(|rows| &placed[rows]).collect()
    }

    /// Estimates the largest size of a file with this many of the rows.
    fn file_bytes(&self, rows: usize) -> usize {
        self.bytes / self.places.len().max(1) * rows / MEMORY_OF_FILE
    }

    /// Returns an upper bound of the number of traces in these rows. It is exact for spans, which
    /// are ordered by trace.
    fn traces(&self, placed: &[OrderedRow]) -> u64 {
        let of = |placed: &OrderedRow| {
            let (batch, row) = self.places[placed.row];
            self.ids[batch].bytes(row)
        };
        placed.chunk_by(|left, right| of(left) == of(right)).count() as u64
    }
}

fn file(
    rows: &UnsortedRows,
    gather: &mut RowGatherer<'_>,
    placed: &[OrderedRow],
    layout: Layout,
    columns: Vec<AttributeColumn>,
) -> Result<EncodedFile, StorageError> {
    let traces = rows.traces(placed);
    let sink = Vec::with_capacity(rows.file_bytes(placed.len()));
    let mut writer = FileWriter::with_layout(rows.signal, sink, traces, layout, columns.clone())?;
    for portion in rows.portions(placed, TAKEN_ROWS, TAKEN_BYTES) {
        writer.push(&rows.take(gather, portion)?)?;
    }
    let (bytes, WrittenFile { rows: count, stats, index }) = writer.finish()?;
    Ok(EncodedFile {
        hour: placed.first().map_or(0, |placed| placed.target.hour),
        index: index.finish(&Sums::from_bytes(&bytes)),
        bytes: Bytes::from(bytes),
        rows: count,
        stats,
        columns,
    })
}

/// File being written. Rows are written in the order in which they are added.
pub struct FileWriter<W: Write + Send> {
    writer: RowGroups<W>,
    time_column: &'static str,
    rows: u64,
    stats: FileStats,
    index: IndexBuilder,
}

/// Result of writing a file.
#[derive(Debug)]
pub struct WrittenFile {
    /// Number of rows.
    pub rows: u64,
    /// Statistics for pruning the file.
    pub stats: FileStats,
    /// Builder of the index, which still needs the file's checksums.
    pub index: IndexBuilder,
}

impl<W: Write + Send> FileWriter<W> {
    /// Creates a writer of a merged file to `sink`, with at most this many traces and with these
    /// attribute columns.
    ///
    /// # Errors
    /// When Parquet rejects the schema.
    pub fn new(
        signal: Signal,
        sink: W,
        traces: u64,
        columns: Vec<AttributeColumn>,
    ) -> Result<Self, StorageError> {
        Self::with_layout(signal, sink, traces, Layout::MERGED, columns)
    }

    fn with_layout(
        signal: Signal,
        sink: W,
        traces: u64,
        layout: Layout,
        columns: Vec<AttributeColumn>,
    ) -> Result<Self, StorageError> {
        let schema = signal.written_schema();
        let properties = properties(signal, &schema, traces, layout, &columns)?;
        let shredder = Shredder::new(columns);
        Ok(Self {
            writer: RowGroups::new(sink, schema, shredder, properties, layout.row_group_rows)?,
            time_column: signal.time_column(),
            rows: 0,
            stats: FileStats {
                start_min: STATS_MAX,
                start_max: UnixNanos(0),
                received_max: UnixNanos(0),
            },
            index: IndexBuilder::new(signal),
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When the rows cannot be encoded, or when the sink cannot write them.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<(), StorageError> {
        let times = OptionalColumn::<Int64Array>::from_batch(rows, self.time_column)?;
        let received = OptionalColumn::<Int64Array>::from_batch(rows, "received_unix_nanos")?;
        for row in 0..rows.num_rows() {
            self.stats.received_max = self.stats.received_max.max(received.time(row));
            let time = times.time(row).min(STATS_MAX);
            self.stats.start_min = self.stats.start_min.min(time);
            self.stats.start_max = self.stats.start_max.max(time);
        }
        self.rows += rows.num_rows() as u64;
        self.index.push(rows)?;
        self.writer.scan_other_keys(rows)?;
        self.writer.push(&without_derived(rows)?)?;
        if self.writer.unfinished_bytes() >= ROW_GROUP_BYTES_MAX {
            self.writer.end_row_group()?;
        }
        Ok(())
    }

    /// Returns the approximate size of the file so far, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.writer.written_bytes() + self.writer.unfinished_bytes()) as u64
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the sink cannot write the rest.
    pub fn finish(self) -> Result<(W, WrittenFile), StorageError> {
        let written = WrittenFile { rows: self.rows, stats: self.stats, index: self.index };
        Ok((self.writer.finish()?, written))
    }
}

impl<W: Write + Send> fmt::Debug for FileWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

fn properties(
    signal: Signal,
    schema: &SchemaRef,
    traces: u64,
    layout: Layout,
    columns: &[AttributeColumn],
) -> Result<WriterProperties, StorageError> {
    let zstd = |level| {
        Compression::ZSTD(ZstdLevel::try_new(level).expect("invariant: zstd has this level"))
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("{WRITER}{}", env!("CARGO_PKG_VERSION")))
        .set_compression(zstd(ZSTD_LEVEL))
        .set_data_page_row_count_limit(layout.page_rows)
        .set_write_batch_size(WRITE_ROWS.min(layout.page_rows))
        .set_statistics_enabled(EnabledStatistics::None);
    let has = |name: &&&str| schema.field_with_name(name).is_ok();
    for name in PRUNED.iter().filter(has) {
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(*name), EnabledStatistics::Page);
    }
    let log_ids: &[&str] = if signal == Signal::Logs { &LOG_IDS } else { &[] };
    let encodings = [
        (DELTAS.as_slice(), Encoding::DELTA_BINARY_PACKED),
        (PLAIN.as_slice(), Encoding::PLAIN),
        (IDS.as_slice(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
        (log_ids, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        (UNIQUE.as_slice(), Encoding::PLAIN),
    ];
    for (names, encoding) in encodings {
        for name in names.iter().filter(has) {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(*name), false)
                .set_column_encoding(ColumnPath::from(*name), encoding);
        }
    }
    for name in TEXTS {
        let path = path(name);
        properties = properties
            .set_column_data_page_size_limit(path.clone(), TEXT_PAGE_BYTES)
            .set_column_dictionary_page_size_limit(path, TEXT_PAGE_BYTES);
    }
    properties = properties.set_column_data_page_size_limit(path("text"), LOG_TEXT_PAGE_BYTES);
    properties =
        properties.set_column_dictionary_page_size_limit(path(MAP_TEXTS), MAP_DICTIONARY_BYTES);
    for name in signal.words().chain([KEYS]) {
        properties =
            properties.set_column_dictionary_page_size_limit(path(name), WORD_DICTIONARY_BYTES);
    }
    for leaf in ArrowSchemaConverter::new().convert(schema)?.columns() {
        if let Some(compression) = compression(leaf, zstd(layout.zstd_level_sent)) {
            properties = properties.set_column_compression(leaf.path().clone(), compression);
        }
    }
    for column in columns {
        let path = ColumnPath::from(column.name());
        properties = properties
            .set_column_data_page_size_limit(path.clone(), TEXT_PAGE_BYTES)
            .set_column_dictionary_page_size_limit(path.clone(), TEXT_PAGE_BYTES)
            .set_column_compression(path, zstd(layout.zstd_level_sent));
    }
    let in_row_group = traces.clamp(1, layout.row_group_rows as u64);
    properties = bloom(properties, "trace_id", in_row_group);
    Ok(bloom(properties, "trace_id_low64", in_row_group).build())
}

/// Returns the compression of a column that is not compressed as most are. `sent` is that of the
/// sender's texts.
fn compression(leaf: &ColumnDescriptor, sent: Compression) -> Option<Compression> {
    let root = leaf.path().parts().first().map_or("", String::as_str);
    match leaf.physical_type() {
        _ if RANDOM.contains(&root) => Some(Compression::UNCOMPRESSED),
        Type::BYTE_ARRAY => SENT.contains(&root).then_some(sent),
        _ if root == "attributes" => Some(sent),
        // Most rows have no event and no link. These columns are mostly levels, the same for all
        // columns of a list.
        _ if leaf.max_rep_level() > 0 => None,
        _ if PLAIN.contains(&root) || REPEATING.contains(&root) => None,
        // Numbers are packed already, and a decompressor's setup costs more than decoding.
        _ => Some(Compression::UNCOMPRESSED),
    }
}

/// Returns the path of a column whose parts are separated by dots.
fn path(name: &str) -> ColumnPath {
    ColumnPath::new(name.split('.').map(str::to_owned).collect())
}

fn bloom(properties: WriterPropertiesBuilder, name: &str, values: u64) -> WriterPropertiesBuilder {
    let column = ColumnPath::from(name);
    properties
        .set_column_bloom_filter_enabled(column.clone(), true)
        .set_column_bloom_filter_fpp(column.clone(), BLOOM_FPP)
        .set_column_bloom_filter_max_ndv(column, values)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
    use tidings_columns::conversion::span_rows;
    use tidings_index::samples;

    use super::{
        Compression, Layout, MAP_DICTIONARY_BYTES, MAP_TEXTS, OrderedRow, RecordBatch, Signal,
        SignalSchema, UnsortedRows, path, properties, sizes,
    };
    use crate::order::FlushTarget;

    #[test]
    fn numbers_of_lists_and_times_of_receipt_are_compressed() {
        let schema = Signal::Spans.written_schema();
        let properties = properties(Signal::Spans, &schema, 1, Layout::FLUSHED, &[]).unwrap();
        let is_compressed =
            |name: &str| properties.compression(&path(name)) != Compression::UNCOMPRESSED;
        for name in [
            "received_unix_nanos",
            "events.list.element.time_unix_nanos",
            "events.list.element.attributes.key_value.value.bool",
            "links.list.element.flags",
        ] {
            assert!(is_compressed(name), "{name}");
        }
        for name in ["duration_nanos", "kind", "end_unix_nanos", "span_id", "content_hash"] {
            assert!(!is_compressed(name), "{name}");
        }
        let of_map = properties.column_dictionary_page_size_limit(&path(MAP_TEXTS));
        assert_eq!(of_map, MAP_DICTIONARY_BYTES);
    }

    #[test]
    fn portions_are_bounded_by_rows_and_by_bytes() {
        let mut runner = TestRunner::deterministic();
        let mut request = || samples::traces().new_tree(&mut runner).unwrap().current();
        let batches: Vec<RecordBatch> =
            (0..200).map(|_| span_rows(&request(), samples::NOW).unwrap()).collect();
        let target = FlushTarget { hour: 0, is_spanning: false };
        let placed = |row| OrderedRow { target, row };
        let count = batches.iter().map(RecordBatch::num_rows).sum();
        let placed: Vec<OrderedRow> = (0..count).rev().map(placed).collect();
        for (rows_max, bytes_max) in [(7, usize::MAX), (7, 2000), (usize::MAX, 2000), (7, 1)] {
            let rows = UnsortedRows::new(Signal::Spans, &batches, bytes_max).unwrap();
            assert_eq!(rows.sizes.is_some(), bytes_max < usize::MAX, "asked where it matters");
            let of = |placed: &OrderedRow| {
                let (batch, row) = rows.places[placed.row];
                sizes::bytes(&batches[batch], &(row..row + 1))
            };
            let portions = rows.portions(&placed, rows_max, bytes_max);
            assert_eq!(portions.concat(), placed);
            for portion in &portions {
                let bytes: usize = portion.iter().map(of).sum();
                assert!(portion.len() <= rows_max && !portion.is_empty());
                assert!(bytes <= bytes_max || portion.len() == 1, "{bytes} {bytes_max}");
            }
            let is_next = |two: &[&[OrderedRow]]| {
                let bytes: usize = two[0].iter().chain(&two[1][..1]).map(of).sum();
                two[0].len() == rows_max || bytes > bytes_max
            };
            assert!(portions.windows(2).all(is_next), "{rows_max} {bytes_max}");
        }
    }
}
