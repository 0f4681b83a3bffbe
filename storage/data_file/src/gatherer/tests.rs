use arrow_array::{ArrayRef, cast::AsArray};
use proptest::prelude::*;
use prost::Message;
use tidings_columns::{
    LogRows, SpanRows,
    conversion::{log_rows, span_rows},
    schema::SignalSchema,
};
use tidings_index::samples;
use tidings_proto::Signal;

use super::{RowGatherer, rows};

/// Rows of several batches in any order. Some are neighbours, and some occur more than once.
fn picked(sizes: &[usize], picks: &[(prop::sample::Index, usize)]) -> Vec<(usize, usize)> {
    let all: Vec<(usize, usize)> = (0..)
        .zip(sizes)
        .flat_map(|(batch, rows)| (0..*rows).map(move |row| (batch, row)))
        .collect();
    let mut picked = Vec::new();
    for (first, count) in picks {
        if !all.is_empty() {
            let first = first.index(all.len());
            picked.extend(&all[first..(first + count).min(all.len())]);
        }
    }
    picked
}

fn picks() -> impl Strategy<Value = Vec<(prop::sample::Index, usize)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 1..4_usize), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gathered_spans_equal_their_sources(
        requests in prop::collection::vec(samples::traces(), 1..4), picks in picks()
    ) {
        let batches: Vec<_> =
            requests.iter().map(|request| span_rows(request, samples::NOW).unwrap()).collect();
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.num_rows()).collect();
        let picked = picked(&sizes, &picks);
        let gathered = rows(&Signal::Spans.memory_schema(), &batches, &picked).unwrap();
        let gathered = SpanRows::from_batch(&gathered).unwrap();
        let sources: Vec<_> = batches.iter().map(|batch| SpanRows::from_batch(batch).unwrap()).collect();
        prop_assert_eq!(gathered.len(), picked.len());
        for (row, (batch, from)) in picked.iter().enumerate() {
            // Rows are compared in encoded form, because NaN equals no value.
            let said = |rows: &SpanRows, row| {
                let resource = rows.resource(row).map(|resource| resource.encode_to_vec());
                let scope = rows.scope(row).map(|scope| scope.encode_to_vec());
                (rows.span(row).encode_to_vec(), resource, scope, rows.service(row).to_owned())
            };
            prop_assert_eq!(said(&gathered, row), said(&sources[*batch], *from));
        }
    }

    #[test]
    fn gathered_log_records_equal_their_sources(
        requests in prop::collection::vec(samples::logs(), 1..4), picks in picks()
    ) {
        let batches: Vec<_> =
            requests.iter().map(|request| log_rows(request, samples::NOW).unwrap()).collect();
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.num_rows()).collect();
        let picked = picked(&sizes, &picks);
        let gathered = rows(&Signal::Logs.memory_schema(), &batches, &picked).unwrap();
        let gathered = LogRows::from_batch(&gathered).unwrap();
        let sources: Vec<_> = batches.iter().map(|batch| LogRows::from_batch(batch).unwrap()).collect();
        prop_assert_eq!(gathered.len(), picked.len());
        for (row, (batch, from)) in picked.iter().enumerate() {
            let said = |rows: &LogRows, row| {
                let resource = rows.resource(row).map(|resource| resource.encode_to_vec());
                (rows.log_record(row).encode_to_vec(), resource)
            };
            prop_assert_eq!(said(&gathered, row), said(&sources[*batch], *from));
        }
    }

    #[test]
    fn a_portion_is_what_it_is_without_those_before_it(
        requests in prop::collection::vec(samples::traces(), 1..4),
        portions in prop::collection::vec(picks(), 1..5),
    ) {
        let batches: Vec<_> =
            requests.iter().map(|request| span_rows(request, samples::NOW).unwrap()).collect();
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.num_rows()).collect();
        let schema = Signal::Spans.memory_schema();
        let mut gather = RowGatherer::new(&schema, &batches).unwrap();
        for picks in portions {
            let picked = picked(&sizes, &picks);
            let alone = rows(&schema, &batches, &picked).unwrap();
            let gathered = gather.rows(&picked).unwrap();
            prop_assert_eq!(&gathered, &alone);
            // Texts that a portion does not use are not in its dictionaries either.
            for (column, alone) in gathered.columns().iter().zip(alone.columns()) {
                let texts = |column: &ArrayRef| {
                    column.as_any_dictionary_opt().map(|words| words.values().len())
                };
                prop_assert_eq!(texts(column), texts(alone));
            }
        }
    }
}
