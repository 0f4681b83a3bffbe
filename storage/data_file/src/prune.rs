//! Pruning: excludes rows of a file that cannot match.
//!
//! Pruning is conservative: missing statistics, and times that do not fit into them, exclude
//! nothing.

use std::{collections::HashSet, ops::Range};

use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
    file::{
        metadata::RowGroupMetaData, page_index::column_index::ColumnIndexMetaData,
        reader::ChunkReader, statistics::Statistics,
    },
};
use tidings_columns::schema::SignalSchema;
use tidings_disk::ranges::intersection;
use tidings_index::filter::Matcher;
use tidings_proto::{TraceId, UnixNanos};

/// Smallest and largest value of a range of rows.
#[derive(Debug, Clone)]
enum Bounds<'a> {
    Numbers(u64, u64),
    Bytes(&'a [u8], &'a [u8]),
}

/// Converts bounds that are stored as `i64`. Numbers beyond its range are negative there, and then
/// the bounds are unknown.
fn numbers(min: i64, max: i64) -> Bounds<'static> {
    if min < 0 {
        Bounds::Numbers(0, u64::MAX)
    } else {
        Bounds::Numbers(min.cast_unsigned(), max.cast_unsigned())
    }
}

fn of_row_group<'a>(group: &'a RowGroupMetaData, column: usize) -> Option<Bounds<'a>> {
    match group.column(column).statistics()? {
        Statistics::Int64(values) => Some(numbers(*values.min_opt()?, *values.max_opt()?)),
        Statistics::ByteArray(values) => {
            Some(Bounds::Bytes(values.min_bytes_opt()?, values.max_bytes_opt()?))
        }
        _ => None,
    }
}

fn of_page(index: &ColumnIndexMetaData, page: usize) -> Option<Bounds<'_>> {
    match index {
        ColumnIndexMetaData::INT64(values) => {
            Some(numbers(*values.min_value(page)?, *values.max_value(page)?))
        }
        ColumnIndexMetaData::BYTE_ARRAY(values) => {
            Some(Bounds::Bytes(values.min_value(page)?, values.max_value(page)?))
        }
        _ => None,
    }
}

/// Predicate that can be decided by the statistics of one column.
enum PrunePredicate<'a> {
    Time(&'a Matcher),
    Durations(Option<u64>, Option<u64>),
    Services(&'a HashSet<String>),
    Traces(&'a HashSet<TraceId>),
}

impl PrunePredicate<'_> {
    fn may_hold(&self, bounds: &Bounds<'_>) -> bool {
        match (self, bounds) {
            (Self::Time(matcher), Bounds::Numbers(min, max)) => {
                matcher.may_match(UnixNanos(*min), UnixNanos(*max))
            }
            (Self::Durations(at_least, at_most), Bounds::Numbers(min, max)) => {
                at_least.is_none_or(|at_least| at_least <= *max)
                    && at_most.is_none_or(|at_most| *min <= at_most)
            }
            (Self::Services(services), Bounds::Bytes(min, max)) => {
                services.iter().any(|service| (*min..=*max).contains(&service.as_bytes()))
            }
            (Self::Traces(ids), Bounds::Bytes(min, max)) => {
                ids.iter().any(|id| (*min..=*max).contains(&id.as_bytes().as_slice()))
            }
            _ => true,
        }
    }
}

/// Predicates of a filter on the statistics of a file's columns.
pub(super) struct Pruner<'a> {
    footer: &'a ArrowReaderMetadata,
    questions: Vec<(usize, PrunePredicate<'a>)>,
    time_column: Option<usize>,
}

impl<'a> Pruner<'a> {
    pub(super) fn new(footer: &'a ArrowReaderMetadata, matcher: &'a Matcher) -> Self {
        let time_column = leaf(footer, matcher.signal.time_column());
        let mut questions = Vec::new();
        let mut ask = |column: Option<usize>, question| {
            questions.extend(column.map(|column| (column, question)));
        };
        ask(time_column, PrunePredicate::Time(matcher));
        let (min, max) = matcher.durations();
        if min.is_some() || max.is_some() {
            ask(leaf(footer, "duration_nanos"), PrunePredicate::Durations(min, max));
        }
        if let Some(services) = matcher.services() {
            ask(leaf(footer, "service"), PrunePredicate::Services(services));
        }
        if let Some(ids) = matcher.trace_ids() {
            ask(leaf(footer, "trace_id"), PrunePredicate::Traces(ids));
        }
        Self { footer, questions, time_column }
    }

    /// Returns the earliest and the latest time that rows of the group can have.
    pub(super) fn times(&self, group: usize) -> (UnixNanos, UnixNanos) {
        let group = self.footer.metadata().row_group(group);
        match self.time_column.and_then(|column| of_row_group(group, column)) {
            Some(Bounds::Numbers(min, max)) => (UnixNanos(min), UnixNanos(max)),
            _ => (UnixNanos(0), UnixNanos(u64::MAX)),
        }
    }

    /// Returns the range of the group's rows in the file.
    pub(super) fn rows(&self, group: usize) -> Range<u64> {
        let groups = self.footer.metadata().row_groups();
        let count = |group: &RowGroupMetaData| u64::try_from(group.num_rows()).unwrap_or_default();
        let first = groups[..group].iter().map(count).sum();
        first..first + count(&groups[group])
    }

    /// Returns true if the group's statistics allow a match.
    pub(super) fn may_hold(&self, group: usize) -> bool {
        let group = self.footer.metadata().row_group(group);
        self.questions.iter().all(|(column, question)| {
            of_row_group(group, *column).is_none_or(|bounds| question.may_hold(&bounds))
        })
    }

    /// Returns the ranges of the group's rows whose page statistics allow a match.
    pub(super) fn pages(&self, group: usize) -> Vec<Range<usize>> {
        let metadata = self.footer.metadata();
        let rows = usize::try_from(metadata.row_group(group).num_rows()).unwrap_or_default();
        let mut left: Vec<_> = std::iter::once(0..rows).collect();
        let (Some(columns), Some(offsets)) = (metadata.column_index(), metadata.offset_index())
        else {
            return left;
        };
        for (column, question) in &self.questions {
            let index = &columns[group][*column];
            let firsts: Vec<usize> = offsets[group][*column]
                .page_locations()
                .iter()
                .map(|page| usize::try_from(page.first_row_index).unwrap_or_default())
                .collect();
            let ends = firsts.iter().skip(1).copied().chain([rows]);
            let kept: Vec<_> = firsts
                .iter()
                .zip(ends)
                .enumerate()
                .filter(|(page, _)| {
                    of_page(index, *page).is_none_or(|bounds| question.may_hold(&bounds))
                })
                .map(|(_, (first, end))| *first..end)
                .collect();
            left = intersection(&left, &kept);
        }
        left
    }
}

/// Returns the Parquet leaf of a column that is not nested.
fn leaf(footer: &ArrowReaderMetadata, name: &str) -> Option<usize> {
    footer.parquet_schema().columns().iter().position(|column| column.path().string() == name)
}

/// Returns true if the group's bloom filters allow a match for the traces a filter names.
pub(super) fn blooms_may_hold<T: ChunkReader + 'static>(
    reader: &ParquetRecordBatchReaderBuilder<T>,
    footer: &ArrowReaderMetadata,
    matcher: &Matcher,
    group: usize,
) -> Result<bool, ParquetError> {
    let filter = |name| match leaf(footer, name) {
        Some(column) => reader.get_row_group_column_bloom_filter(group, column),
        None => Ok(None),
    };
    if let Some(ids) = matcher.trace_ids() {
        return Ok(filter("trace_id")?
            .is_none_or(|filter| ids.iter().any(|id| filter.check(id.as_bytes().as_slice()))));
    }
    let Some(low64s) = matcher.trace_low64s() else { return Ok(true) };
    Ok(filter("trace_id_low64")?
        .is_none_or(|filter| low64s.iter().any(|low64| filter.check(&low64.cast_signed()))))
}
