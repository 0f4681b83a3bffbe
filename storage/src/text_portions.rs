//! Cuts rows into portions that stay small when dictionaries are expanded.
//!
//! A dictionary holds each text once, however many rows share it. A reader that needs a text for
//! each row therefore reads the rows in portions.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_buffer::ArrowNativeType as _;
use tidings_disk::ranges::portions;

/// Returns the rows in portions. In each portion, dictionary texts and attribute keys take at most
/// this many bytes when expanded to one text per row. A single row may exceed the limit.
#[must_use]
pub fn text_portions(rows: &RecordBatch, bytes_max: usize) -> Vec<Range<usize>> {
    let mut sizes = vec![0; rows.num_rows()];
    for column in rows.columns() {
        add_words(column, &mut sizes);
    }
    portions(sizes, rows.num_rows(), bytes_max)
}

fn add_words(column: &ArrayRef, sizes: &mut [usize]) {
    if let Some(lengths) = word_lengths(column) {
        for (size, length) in sizes.iter_mut().zip(lengths) {
            *size += length;
        }
    } else if let Some(map) = column.as_map_opt()
        && let Some(lengths) = word_lengths(map.keys())
    {
        for (size, entries) in sizes.iter_mut().zip(map.offsets().windows(2)) {
            let &[begin, end] = entries else { continue };
            let entries = begin.as_usize()..end.as_usize();
            *size += lengths.get(entries).unwrap_or_default().iter().sum::<usize>();
        }
    }
}

/// Returns the length of each row's text, if the column is a dictionary.
fn word_lengths(column: &ArrayRef) -> Option<Vec<usize>> {
    let words = column.as_any_dictionary_opt()?;
    let texts = words.values().as_string_opt::<i32>()?;
    if texts.is_empty() {
        return Some(vec![0; words.len()]);
    }
    let lengths = words.normalized_keys().into_iter().map(|key| texts.value(key).len());
    Some(lengths.collect())
}

#[cfg(test)]
mod tests {
    use tidings_columns::{SpanRows, conversion::span_rows};
    use tidings_proto::{
        UnixNanos,
        otlp::{ExportTraceServiceRequest, KeyValue, ResourceSpans, ScopeSpans, Span},
    };

    use super::text_portions;

    fn rows(spans: impl Iterator<Item = (String, KeyValue)>) -> SpanRows {
        let span = |(name, attribute)| Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name,
            attributes: vec![attribute],
            ..Span::default()
        };
        let scope_spans =
            vec![ScopeSpans { spans: spans.map(span).collect(), ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        SpanRows::from_batch(&span_rows(&request, UnixNanos(1)).unwrap()).unwrap()
    }

    #[test]
    fn words_and_keys_that_rows_share_count_for_each_of_them() {
        let short = KeyValue::new("key", "value");
        let named = rows((0..100).map(|_| ("n".repeat(100), short.clone())));
        let keyed = rows((0..100).map(|_| (String::new(), KeyValue::new("k".repeat(103), 1_i64))));
        for rows in [named, keyed] {
            let portions = text_portions(rows.columns(), 1_030);
            let lengths: Vec<_> = portions.iter().map(ExactSizeIterator::len).collect();
            assert_eq!(lengths, [10; 10], "{portions:?}");
            assert_eq!(text_portions(rows.columns(), 1).len(), 100);
            assert_eq!(text_portions(rows.columns(), 1 << 20).len(), 1);
            let rest = rows.slice(90..100);
            assert_eq!((rest.len(), rest.name(0)), (10, rows.name(90)));
            assert_eq!(text_portions(rest.columns(), 515).len(), 2);
        }
    }
}
