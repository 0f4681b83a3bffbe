use std::sync::Arc;

use tidings_columns::conversion::span_rows;
use tidings_files::memory::{self, Chunk};
use tidings_index::samples::NOW;
use tidings_proto::{
    Signal,
    otlp::{ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span},
};
use tidings_runtime::{Clock, SystemClock};

use super::{ROWS_ENOUGH, VisibleState};

fn chunk(rows: u8) -> Chunk {
    let span = |number| Span { trace_id: vec![1; 16], span_id: vec![number; 8], ..Span::default() };
    let scope_spans =
        vec![ScopeSpans { spans: (1..=rows).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    Chunk::new(span_rows(&request, NOW).unwrap()).unwrap()
}

/// Publishes chunks with these numbers of rows, and merges chunks whenever some are due. Returns
/// the number of rows copied.
fn publish(state: &VisibleState, rows: impl Iterator<Item = u8>) -> u64 {
    let mut copied = 0;
    for (sequence, rows) in (1..).zip(rows) {
        state.publish([(sequence, Arc::new(chunk(rows)))], SystemClock.instant());
        while let Some((signal, run)) = state.run() {
            let merged = memory::merge(&run).unwrap();
            copied += merged.rows();
            state.replace(signal, &run, Arc::new(merged));
        }
    }
    copied
}

#[test]
fn small_appends_become_few_chunks_and_are_copied_few_times() {
    for (name, sizes) in [("ones", [1, 1, 1]), ("mixed", [1, 200, 3]), ("tens", [10, 12, 9])] {
        let state = VisibleState::new(Vec::new(), Vec::new());
        let rows = || sizes.iter().copied().cycle().take(1500);
        let sent: u64 = rows().map(u64::from).sum();
        let copied = publish(&state, rows());
        let chunks = state.spans().0;
        assert_eq!(chunks.iter().map(|chunk| chunk.rows()).sum::<u64>(), sent);
        assert!(copied <= 4 * sent, "{name}: {copied} rows were copied for {sent}");
        let few = 100 + sent * 16 / ROWS_ENOUGH;
        assert!(chunks.len() as u64 <= few, "{name}: {} chunks", chunks.len());
    }
}

#[test]
fn bytes_are_those_of_the_chunks_that_are_there() {
    let state = VisibleState::new(Vec::new(), Vec::new());
    publish(&state, std::iter::repeat_n(2, 100));
    let there = || state.spans().0.iter().map(|chunk| chunk.bytes()).sum::<u64>();
    assert_eq!(state.memory_bytes(), there());
    let (signal, run) = (Signal::Spans, state.spans().0[..2].to_vec());
    state.cut();
    // A flush has taken the chunks, so the merged one is not needed.
    state.replace(signal, &run, Arc::new(memory::merge(&run).unwrap()));
    publish(&state, std::iter::repeat_n(3, 20));
    assert_eq!(state.memory_bytes(), there());
    assert!(there() > 0);
}
