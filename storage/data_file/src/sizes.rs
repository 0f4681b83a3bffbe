//! Memory of rows in bytes.
//!
//! Sizes are computed from offsets, without reading values. Properties of a column are computed
//! once for all of its rows that are measured.

use std::ops::Range;

use arrow_array::{Array, RecordBatch, cast::AsArray, types::Int32Type};
use arrow_buffer::{ArrowNativeType, OffsetBuffer};
use arrow_schema::DataType;

/// Returns the approximate bytes of a copy of these rows.
pub(super) fn bytes(batch: &RecordBatch, rows: &Range<usize>) -> usize {
    let mut size = [0];
    add_all(batch, std::slice::from_ref(rows), &mut size);
    size[0]
}

/// Returns the bytes of each row.
pub(super) fn of_rows(batch: &RecordBatch) -> Vec<usize> {
    let rows: Vec<Range<usize>> = (0..batch.num_rows()).map(|row| row..row + 1).collect();
    // Values of these columns take as much in each row.
    let (fixed, others): (Vec<_>, Vec<_>) =
        batch.columns().iter().partition(|&column| has_equal_rows(column));
    let mut of_first = [0];
    let first = rows.get(..1).unwrap_or_default();
    fixed.into_iter().for_each(|column| add(column, first, &mut of_first));
    let mut sizes = vec![of_first[0]; batch.num_rows()];
    others.into_iter().for_each(|column| add(column, &rows, &mut sizes));
    sizes
}

/// Returns true if each row of a column takes the same number of bytes. A column of words has one
/// text in most batches.
fn has_equal_rows(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Boolean => true,
        DataType::Dictionary(..) => {
            let words = column.as_dictionary_opt::<Int32Type>();
            words.is_some_and(|words| words.values().len() <= 1)
        }
        kind => kind.is_numeric(),
    }
}

fn add_all(batch: &RecordBatch, rows: &[Range<usize>], sizes: &mut [usize]) {
    batch.columns().iter().for_each(|column| add(column, rows, sizes));
}

/// Adds the bytes of row ranges of a column to their sizes. The recursion follows our own column
/// types, so no sender controls its depth.
fn add(column: &dyn Array, rows: &[Range<usize>], sizes: &mut [usize]) {
    let offsets_and = |within: usize, rows: &Range<usize>| within + rows.len() * size_of::<i32>();
    match column.data_type() {
        DataType::Utf8 => {
            let offsets = column.as_string::<i32>().offsets();
            each(rows, sizes, |rows| offsets_and(between(offsets, rows).len(), rows));
        }
        DataType::Binary => {
            let offsets = column.as_binary::<i32>().offsets();
            each(rows, sizes, |rows| offsets_and(between(offsets, rows).len(), rows));
        }
        DataType::Map(..) => {
            each(rows, sizes, |rows| offsets_and(0, rows));
            let map = column.as_map();
            add(map.entries(), &all_between(map.offsets(), rows), sizes);
        }
        DataType::List(_) => {
            each(rows, sizes, |rows| offsets_and(0, rows));
            let list = column.as_list::<i32>();
            add(list.values(), &all_between(list.offsets(), rows), sizes);
        }
        DataType::Struct(_) => {
            column.as_struct().columns().iter().for_each(|column| add(column, rows, sizes));
        }
        DataType::Dictionary(..) => add_words(column, rows, sizes),
        DataType::Boolean => each(rows, sizes, |rows| rows.len().div_ceil(8)),
        kind => {
            let width = kind.primitive_width().unwrap_or(size_of::<u64>());
            each(rows, sizes, |rows| rows.len() * width);
        }
    }
}

/// Adds the bytes of these rows' words. The rest of the dictionary does not count, because many
/// portions share it.
fn add_words(column: &dyn Array, rows: &[Range<usize>], sizes: &mut [usize]) {
    let Some(words) = column.as_dictionary_opt::<Int32Type>() else { return };
    let (Some(texts), codes) = (words.values().as_string_opt::<i32>(), words.keys()) else {
        return;
    };
    let all = 0..texts.len();
    let all_texts = between(texts.offsets(), &all).len() + all.len() * size_of::<i32>();
    each(rows, sizes, |rows| {
        let codes_bytes = rows.len() * size_of::<i32>();
        if texts.len() <= rows.len() {
            return codes_bytes + all_texts;
        }
        let there = rows.clone().filter(|row| codes.is_valid(*row));
        let lengths = there.map(|row| texts.value_length(codes.value(row).as_usize()).as_usize());
        codes_bytes + lengths.sum::<usize>()
    });
}

/// Adds the size of each range of rows.
fn each(rows: &[Range<usize>], sizes: &mut [usize], size: impl Fn(&Range<usize>) -> usize) {
    sizes.iter_mut().zip(rows).for_each(|(sum, rows)| *sum += size(rows));
}

fn all_between(offsets: &OffsetBuffer<i32>, rows: &[Range<usize>]) -> Vec<Range<usize>> {
    rows.iter().map(|rows| between(offsets, rows)).collect()
}

fn between(offsets: &OffsetBuffer<i32>, rows: &Range<usize>) -> Range<usize> {
    offsets[rows.start].as_usize()..offsets[rows.end].as_usize()
}

#[cfg(test)]
mod tests {
    use arrow_array::RecordBatch;
    use proptest::prelude::*;
    use tidings_columns::conversion::span_rows;
    use tidings_index::samples;
    use tidings_proto::otlp::{
        ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span, Status, Value,
    };

    use super::{bytes, of_rows};

    fn sum(batch: &RecordBatch) -> usize {
        (0..batch.num_rows()).map(|row| bytes(batch, &(row..row + 1))).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_slice_says_of_its_rows_what_the_whole_says(
            request in samples::traces(), cut in 0..9_usize
        ) {
            let batch = span_rows(&request, samples::NOW).unwrap();
            let cut = cut.min(batch.num_rows());
            let slices = [batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut)];
            prop_assert_eq!(slices.iter().map(sum).sum::<usize>(), sum(&batch));
        }

        #[test]
        fn each_of_many_rows_is_as_large_as_it_is_alone(request in samples::traces()) {
            let batch = span_rows(&request, samples::NOW).unwrap();
            let alone = (0..batch.num_rows()).map(|row| bytes(&batch, &(row..row + 1)));
            prop_assert_eq!(of_rows(&batch), alone.collect::<Vec<_>>());
        }

        #[test]
        fn encoded_attributes_take_no_less_in_memory(request in samples::traces()) {
            let batch = span_rows(&request, samples::NOW).unwrap();
            let spans = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
            let spans = spans.flat_map(|of| &of.spans);
            let lists: Vec<_> = spans.flat_map(|span| {
                let of_events = span.events.iter().map(|event| &event.attributes);
                [&span.attributes].into_iter().chain(of_events).cloned().collect::<Vec<_>>()
            }).collect();
            let text = |entry: &KeyValue| match entry.value.as_ref().and_then(|any| any.value.as_ref()) {
                Some(Value::String(text)) => text.len(),
                _ => 0,
            };
            let texts: usize = lists.iter().flatten().map(text).sum();
            let entries = lists.iter().flatten().count();
            prop_assert!(bytes(&batch, &(0..batch.num_rows())) >= texts + entries * 9);
        }
    }

    #[test]
    fn a_long_value_counts_with_the_row_that_has_it() {
        let span = |message: String| Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            status: Some(Status { message, ..Status::default() }),
            ..Span::default()
        };
        let spans = vec![span(String::new()), span("x".repeat(10_000))];
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        let batch = span_rows(&request, samples::NOW).unwrap();
        let (short, long) = (bytes(&batch, &(0..1)), bytes(&batch, &(1..2)));
        assert!(long >= short + 10_000 && short < 10_000, "{short} {long}");
    }
}
