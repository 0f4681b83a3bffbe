use proptest::prelude::*;
use tidings_proto::api::SpanFlags;

use super::{
    super::{model::TraceModel, samples},
    Bins,
};

#[test]
fn a_small_trace_has_a_line_per_span() {
    let bins = Bins::from_model(&TraceModel::new(samples::shop()), 100, 40);
    assert_eq!(bins.lines, 11);
    assert_eq!(bins.strokes[0].columns, 0..100);
    assert_eq!((bins.strokes[9].line, bins.strokes[9].columns.clone()), (9, 45..96));
    assert_eq!(bins.errors, [(9, 95..96), (10, 90..91)]);
    assert_eq!(bins.critical, std::slice::from_ref(&(0..100)));
}

#[test]
fn an_error_among_100_000_spans_is_kept() {
    let mut calls = vec![(0, 0, 0, 0, 100_000)];
    calls.extend((0..100_000).map(|call| (1, 1, 1, call, 1)));
    let mut skeleton = samples::skeleton(&[(0, 0, 0, 0, 0)]);
    // `skeleton` is fast only for traces of one level.
    skeleton.spans = samples::skeleton(&calls).spans;
    skeleton.summary.duration_nano.0 = 100_001_000;
    skeleton.spans.flags[50_000] = SpanFlags::ERROR;
    let bins = Bins::from_model(&TraceModel::new(skeleton), 1_200, 18);
    assert_eq!(bins.lines, 18);
    assert_eq!(bins.errors.len(), 1);
}

#[test]
fn a_chain_of_100_000_spans_is_binned() {
    let bins = Bins::from_model(&samples::chain(100_000), 1_200, 18);
    assert_eq!(bins.strokes.len(), 18);
}

#[test]
fn an_empty_trace_has_an_empty_picture() {
    assert_eq!(Bins::from_model(&samples::model(&[]), 100, 18), Bins::default());
}

proptest! {
    #[test]
    fn nothing_is_drawn_outside_the_grid(skeleton in samples::hostile(), width in 1_usize..300, lines in 1_usize..20) {
        let bins = Bins::from_model(&TraceModel::new(skeleton), width, lines);
        for stroke in &bins.strokes {
            prop_assert!(stroke.line < bins.lines && stroke.columns.end <= width && !stroke.columns.is_empty());
        }
        prop_assert!(bins.errors.iter().all(|(line, columns)| *line < bins.lines && columns.end <= width));
    }
}
