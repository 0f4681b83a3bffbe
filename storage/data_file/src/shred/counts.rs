//! Counts the attributes of rows, and chooses the attribute columns of a file by the counts.

use std::{cmp::Reverse, collections::HashSet};

use ahash::RandomState;
use arrow_array::{RecordBatch, StringArray, cast::AsArray, types::Int32Type};
use arrow_schema::ArrowError;
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    packed::{self, ValueKind},
    schema::SignalSchema,
};
use tidings_proto::Signal;

use super::{ATTRIBUTES, COLUMNS_MAX, Map, packed_range};

/// A column of texts that hardly repeat has a value in at least one of this many rows. In the map,
/// such texts fill the dictionary that the texts of all keys share.
const ROWS_OF_UNIQUE: u64 = 32;
/// Minimum number of counted texts that hardly repeat.
const UNIQUE_VALUES_MIN: u64 = 256;
/// Minimum number of such texts for each one that an earlier row has.
const TEXTS_OF_REPEAT: u64 = 10;
/// Maximum number of columns of such texts that are less frequent than others must be.
const UNIQUE_MAX: usize = 8;
/// Approximate number of rows of a file to sample.
const ROWS_COUNTED: usize = 16_384;
/// Maximum number of entries of these rows to count, because each may have a key of its own.
const ENTRIES_COUNTED: usize = 262_144;

/// Number of rows with each key and value type.
#[derive(Debug, Default)]
pub(crate) struct AttributeCounts {
    values: Map<AttributeColumn, ValueCount>,
    /// Number of rows that were counted.
    rows: u64,
}

/// Number of rows with a key and value type.
#[derive(Debug, Clone, Copy, Default)]
struct ValueCount {
    rows: u64,
    /// Number of the rows whose value may be that of an earlier one.
    repeats: u64,
}

impl ValueCount {
    fn add(&mut self, rows: u64, repeats: u64) {
        self.rows = self.rows.saturating_add(rows);
        self.repeats = self.repeats.saturating_add(repeats);
    }

    /// Returns true if there are many texts that hardly repeat.
    fn is_unique(self) -> bool {
        self.rows >= UNIQUE_VALUES_MIN && self.repeats <= self.rows / TEXTS_OF_REPEAT
    }
}

/// Number of rows with a key. A row that has the key several times counts once.
#[derive(Debug, Clone, Copy, Default)]
struct RowCount {
    rows: u64,
    /// Number of values that an earlier row or entry has.
    repeats: u64,
    /// Number of the last counted row, from 1.
    last: u64,
}

impl RowCount {
    fn add(&mut self, row: u64) {
        self.rows += u64::from(self.last <= row);
        self.last = row + 1;
    }
}

/// Minimum number of values for an attribute column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnMinimum {
    /// Values in the counted rows for a column that the table declares.
    pub(crate) values: u64,
    /// Values in the counted rows for a column that the table does not declare yet.
    pub(crate) values_new: u64,
    /// Number of counted rows for each value.
    pub(crate) rows_of_value: u64,
}

impl ColumnMinimum {
    /// Rows for each value in files of a flush. The definition levels then take about four bits for
    /// each value. At one value in a hundred rows they would take eight (decision 0100).
    pub(crate) const ROWS_FLUSHED: u64 = 8;
    /// Rows for each value in merged files. A flush has chosen their columns, so these stay also
    /// where some of the files have fewer values.
    pub(crate) const ROWS_MERGED: u64 = ROWS_OF_UNIQUE;
}

impl AttributeCounts {
    /// Counts the attributes of these rows, or of a sample if the rows are many or large. A row is
    /// named by its batch and its index in the batch.
    pub(crate) fn from_rows(
        batches: &[RecordBatch],
        rows: impl ExactSizeIterator<Item = (usize, usize)> + Clone,
    ) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("rows have no attributes as memory's".to_owned());
        let mut parts = Vec::with_capacity(batches.len());
        for batch in batches {
            let map = batch.column_by_name(ATTRIBUTES).and_then(|column| column.as_map_opt());
            let map = map.ok_or_else(wrong)?;
            let codes = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
            let keys: &StringArray = codes.values().as_string_opt().ok_or_else(wrong)?;
            let (kinds, texts) =
                map.values().as_struct_opt().and_then(packed::parts).ok_or_else(wrong)?;
            parts.push((map, codes.keys(), keys, kinds, texts));
        }
        let of_row = |(batch, row): (usize, usize)| packed_range(parts[batch].0, row);
        let mut step = (rows.len() / ROWS_COUNTED).max(1);
        let entries: usize = rows.clone().step_by(step).map(|row| of_row(row).len()).sum();
        step = step.saturating_mul(entries.div_ceil(ENTRIES_COUNTED).max(1));
        // The map is sparse, because the dictionary of a batch may have any number of keys.
        let mut counts: Map<(usize, i32, u8), RowCount> = Map::default();
        let (mut of_all, mut left) = (Self::default(), ENTRIES_COUNTED);
        let (mut texts_met, hasher) = (HashSet::<u64, RandomState>::default(), RandomState::new());
        for (batch, row) in rows.step_by(step) {
            if left == 0 {
                break;
            }
            let (_, codes, keys, kinds, texts) = &parts[batch];
            for entry in of_row((batch, row)).take(left) {
                let (code, kind) = (codes.value(entry), kinds.value(entry));
                let of_key = counts.entry((batch, code, kind)).or_default();
                of_key.add(of_all.rows);
                let key = keys.value(usize::try_from(code).unwrap_or_default());
                let is_repeat = kind != ValueKind::Text.code()
                    || !texts_met.insert(hasher.hash_one((key, texts.value(entry))));
                of_key.repeats += u64::from(is_repeat);
                left -= 1;
            }
            of_all.rows += 1;
        }
        for ((batch, code, kind), count) in counts {
            let kind = ValueKind::ALL.get(usize::from(kind)).copied();
            let key = parts[batch].2.value(usize::try_from(code).unwrap_or_default());
            if let Some(column) = kind.and_then(|kind| AttributeColumn::new(kind, key)) {
                of_all.values.entry(column).or_default().add(count.rows, count.repeats);
            }
        }
        Ok(of_all)
    }

    /// Returns the number of rows that were counted.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds the rows of a file to the total. [`Self::add`] adds the values of its columns.
    pub(crate) fn add_rows(&mut self, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
    }

    /// Adds the number of values that a file lists for a column.
    pub(crate) fn add(&mut self, column: &AttributeColumn, values: u64) {
        self.values.entry(column.clone()).or_default().add(values, values);
    }

    /// Returns the attribute columns for a file of these rows. Columns that every table declares
    /// come first, then the most frequent ones that the table declares or has room for.
    pub(crate) fn columns(
        self,
        signal: Signal,
        minimum: ColumnMinimum,
        declared: &mut DeclaredColumns,
    ) -> Vec<AttributeColumn> {
        let values_min = minimum.values.max(self.rows / minimum.rows_of_value.max(1));
        let unique_min = minimum.values.max(self.rows / ROWS_OF_UNIQUE);
        let common: Vec<AttributeColumn> =
            signal.declared_attributes().filter_map(AttributeColumn::parse).collect();
        let is_common = |column: &AttributeColumn| common.contains(column);
        let is_frequent =
            |column: &AttributeColumn, rows: u64| rows >= values_min || is_common(column);
        let wanted = self.values.into_iter().filter(|(column, count)| {
            is_frequent(column, count.rows) || count.is_unique() && count.rows >= unique_min
        });
        let mut frequent: Vec<(AttributeColumn, u64)> =
            wanted.map(|(column, count)| (column, count.rows)).collect();
        frequent.sort_by_cached_key(|(column, values)| {
            (!is_common(column), Reverse(*values), column.clone())
        });
        let mut unique = 0;
        frequent.retain(|(column, values)| {
            let is_rare = !is_frequent(column, *values);
            unique += usize::from(is_rare);
            !is_rare || unique <= UNIQUE_MAX
        });
        let is_admitted = |(column, values): &(AttributeColumn, u64)| {
            is_common(column) || declared.admit(column, *values >= minimum.values_new)
        };
        let admitted = frequent.into_iter().filter(is_admitted);
        admitted.map(|(column, _)| column).take(COLUMNS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use tidings_columns::{
        attribute_column::{AttributeColumn, DeclaredColumns},
        conversion::span_rows,
        packed::ValueKind,
    };
    use tidings_disk::test_effort::by_effort;
    use tidings_index::samples::NOW;
    use tidings_proto::{
        Signal,
        otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span},
    };

    use super::{AttributeCounts, ColumnMinimum, ENTRIES_COUNTED};

    #[test]
    fn numbers_that_files_list_do_not_overflow() {
        let column = AttributeColumn::new(ValueKind::Text, "k").unwrap();
        let mut counts = AttributeCounts::default();
        for _ in 0..2 {
            counts.add_rows(u64::MAX);
            counts.add(&column, u64::MAX);
        }
        let rows_of_value = ColumnMinimum::ROWS_FLUSHED;
        let minimum = ColumnMinimum { values: 1, values_new: 1, rows_of_value };
        let columns = counts.columns(Signal::Spans, minimum, &mut DeclaredColumns::default());
        assert_eq!(columns, [column]);
    }

    #[test]
    fn a_row_counts_once_for_a_key_that_it_has_often() {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            start_time_unix_nano: NOW.0,
            end_time_unix_nano: NOW.0,
            attributes: ["a", "a", "b", "a"].map(|key| KeyValue::new(key, "x")).to_vec(),
            ..Span::default()
        };
        let spans = vec![span.clone(), Span { span_id: vec![2; 8], ..span }];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let rows = span_rows(&ExportTraceServiceRequest { resource_spans }, NOW).unwrap();
        let counts = AttributeCounts::from_rows(&[rows], (0..2).map(|row| (0, row))).unwrap();
        let of = |key| counts.values[&AttributeColumn::new(ValueKind::Text, key).unwrap()].rows;
        assert_eq!([of("a"), of("b")], [2, 2]);
    }

    #[test]
    fn rare_keys_of_texts_that_hardly_repeat_have_columns() {
        const ROWS: usize = 16_000;
        let span = |number: usize| {
            let mut attributes = vec![KeyValue::new("same", "x")];
            if number.is_multiple_of(20) {
                attributes.push(KeyValue::new("few", format!("{}", number % 100)));
                // Of many such keys, some have columns.
                let id = |key| KeyValue::new(format!("id{key:02}"), format!("{key} {number}"));
                attributes.extend((0..12).map(id));
            }
            Span {
                trace_id: vec![1; 16],
                span_id: (number as u64 + 1).to_be_bytes().to_vec(),
                start_time_unix_nano: NOW.0,
                end_time_unix_nano: NOW.0,
                attributes,
                ..Span::default()
            }
        };
        let scope_spans =
            vec![ScopeSpans { spans: (0..ROWS).map(span).collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let rows = span_rows(&ExportTraceServiceRequest { resource_spans }, NOW).unwrap();
        let rows_of_value = ColumnMinimum::ROWS_FLUSHED;
        let minimum = ColumnMinimum { values: 32, values_new: 0, rows_of_value };
        let columns = AttributeCounts::from_rows(&[rows], (0..ROWS).map(|row| (0, row)))
            .unwrap()
            .columns(Signal::Spans, minimum, &mut DeclaredColumns::default());
        let keys: Vec<&str> = columns.iter().map(|column| column.key.as_str()).collect();
        let expected = ["same", "id00", "id01", "id02", "id03", "id04", "id05", "id06", "id07"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn few_keys_are_counted_of_rows_that_have_ever_new_ones() {
        let span = |number: usize| {
            let keys = (0..ENTRIES_COUNTED / 2).map(|key| format!("{number} {key}"));
            Span {
                trace_id: vec![1; 16],
                span_id: (number as u64 + 1).to_be_bytes().to_vec(),
                start_time_unix_nano: NOW.0,
                end_time_unix_nano: NOW.0,
                attributes: keys.map(|key| KeyValue::new(&key, "")).collect(),
                ..Span::default()
            }
        };
        // Together they have more entries than are counted, so that some rows are left out.
        let count = by_effort(3, 5);
        let spans = (0..count).map(span).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let rows = span_rows(&ExportTraceServiceRequest { resource_spans }, NOW).unwrap();
        let counts =
            AttributeCounts::from_rows(std::slice::from_ref(&rows), (0..count).map(|row| (0, row)));
        let counts = counts.unwrap();
        assert_eq!((counts.rows, counts.values.len()), (2, ENTRIES_COUNTED));
        let few = AttributeCounts::from_rows(&[rows], (2..3).map(|row| (0, row))).unwrap();
        assert_eq!((few.rows, few.values.len()), (1, ENTRIES_COUNTED / 2));
    }
}
