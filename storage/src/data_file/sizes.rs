//! How much memory rows take.
//!
//! Offsets say it: no value is looked at. It is asked about portions, not about each of their rows.

use std::ops::Range;

use arrow_array::{Array, RecordBatch, cast::AsArray, types::Int32Type};
use arrow_buffer::{ArrowNativeType, OffsetBuffer};
use arrow_schema::DataType;

/// About how much these rows take when they are copied.
pub(super) fn bytes(batch: &RecordBatch, rows: &Range<usize>) -> usize {
    batch.columns().iter().map(|column| of(column, rows)).sum()
}

/// Of a column, whose types are ours: no sender says how deep they are.
fn of(column: &dyn Array, rows: &Range<usize>) -> usize {
    let offsets_and = |within: usize| within + rows.len() * size_of::<i32>();
    match column.data_type() {
        DataType::Utf8 => offsets_and(between(column.as_string::<i32>().offsets(), rows).len()),
        DataType::Binary => offsets_and(between(column.as_binary::<i32>().offsets(), rows).len()),
        DataType::Map(..) => {
            let map = column.as_map();
            offsets_and(of(map.entries(), &between(map.offsets(), rows)))
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            offsets_and(of(list.values(), &between(list.offsets(), rows)))
        }
        DataType::Struct(_) => {
            column.as_struct().columns().iter().map(|column| of(column, rows)).sum()
        }
        DataType::Dictionary(..) => words(column, rows),
        DataType::Boolean => rows.len().div_ceil(8),
        kind => rows.len() * kind.primitive_width().unwrap_or(size_of::<u64>()),
    }
}

/// Of a dictionary no more than what these rows have of it: many portions share one.
fn words(column: &dyn Array, rows: &Range<usize>) -> usize {
    let Some(words) = column.as_dictionary_opt::<Int32Type>() else { return 0 };
    let (Some(texts), codes) = (words.values().as_string_opt::<i32>(), words.keys()) else {
        return 0;
    };
    let codes_bytes = rows.len() * size_of::<i32>();
    if texts.len() <= rows.len() {
        return codes_bytes + of(texts, &(0..texts.len()));
    }
    let there = rows.clone().filter(|row| codes.is_valid(*row));
    let lengths = there.map(|row| texts.value_length(codes.value(row).as_usize()).as_usize());
    codes_bytes + lengths.sum::<usize>()
}

fn between(offsets: &OffsetBuffer<i32>, rows: &Range<usize>) -> Range<usize> {
    offsets[rows.start].as_usize()..offsets[rows.end].as_usize()
}

#[cfg(test)]
mod tests {
    use arrow_array::RecordBatch;
    use proptest::prelude::*;
    use tidings_proto::otlp::{
        ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span, Status, Value,
    };

    use super::bytes;
    use crate::{columns::span_rows, samples};

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
        fn what_is_encoded_takes_no_less_in_memory(request in samples::traces()) {
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
            prop_assert!(bytes(&batch, &(0..batch.num_rows())) >= texts + entries * 28);
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
