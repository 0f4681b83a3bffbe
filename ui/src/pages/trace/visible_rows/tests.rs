use proptest::prelude::*;
use tidings_proto::api::{ProblemKind, ProblemView};

use super::{
    super::{logs_index::LogIndex, model::TraceModel, samples, trace_state::Folds},
    HEIGHT_PX_MAX, Row, Scroll, position, rows_of, visible_rows, without_orphans,
};

/// Height of a row in pixels.
const ROW_PX: f64 = 24.0;

fn spans(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(|row| row.span()).collect()
}

#[test]
fn a_folded_row_hides_what_is_below_it() {
    let shop = TraceModel::new(samples::shop());
    let mut folds = Folds::default();
    assert_eq!(spans(&visible_rows(&shop, &folds, false, None)), (0..11).collect::<Vec<_>>());
    folds.set_folded(&shop, 1, true);
    assert_eq!(spans(&visible_rows(&shop, &folds, false, None)), [0, 1, 9, 10]);
    assert_eq!(spans(&visible_rows(&shop, &Folds::from_depth(0), false, None)), [0]);
}

#[test]
fn repeated_calls_are_one_line_until_it_is_opened() {
    let shop = TraceModel::new(samples::shop());
    let mut folds = Folds::default();
    let rows = visible_rows(&shop, &folds, true, None);
    assert_eq!(spans(&rows), [0, 1, 2, 3, 9, 10]);
    assert_eq!(rows[3], Row::Run { first: 3, open: false });
    folds.set_run_open(&shop, 3, true);
    let rows = visible_rows(&shop, &folds, true, None);
    assert_eq!(spans(&rows), [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!((rows[3], rows[4]), (Row::Run { first: 3, open: true }, Row::Span(3)));
}

#[test]
fn calls_in_rotation_are_a_line_for_each_run_and_stand_in_their_order_when_it_is_open() {
    let mut calls = vec![(0, 0, 0, 0, 1_000)];
    calls.extend((0..15).map(|turn: u32| (1, 1, 1 + turn % 3, i64::from(turn) * 10, 4)));
    calls.push((1, 2, 4, 500, 4));
    let model = samples::model(&calls);
    let mut folds = Folds::default();
    let rows = visible_rows(&model, &folds, true, None);
    let run = |first| Row::Run { first, open: false };
    assert_eq!(rows, [Row::Span(0), run(1), run(2), run(3), Row::Span(16)]);
    let places: Vec<usize> =
        model.rows().map(|row| position(&model, &rows, row).unwrap()).collect();
    assert_eq!(places, [0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4]);
    folds.set_run_open(&model, 2, true);
    let rows = visible_rows(&model, &folds, true, None);
    assert_eq!(spans(&rows), [0, 1, 2, 2, 3, 5, 8, 11, 14, 16]);
    assert_eq!((position(&model, &rows, 8), position(&model, &rows, 9)), (Some(6), Some(4)));
}

#[test]
fn chosen_spans_are_listed_with_those_above_them() {
    let shop = TraceModel::new(samples::shop());
    assert_eq!(spans(&rows_of(&shop, &[5, 10], None)), [0, 1, 5, 9, 10]);
    assert_eq!(spans(&rows_of(&shop, &[0], None)), [0]);
    assert!(rows_of(&shop, &[], None).is_empty());
    let chain = samples::chain(100_000);
    assert_eq!(rows_of(&chain, &[99_998, 99_999], None).len(), 100_000);
}

#[test]
fn spans_without_their_parent_are_left_out_with_those_below_them() {
    let lost = |row: u32| ProblemView {
        kind: ProblemKind::MissingParent,
        span_id: None,
        span_index: Some(row),
        message: String::new(),
    };
    let calls =
        [(0, 0, 0, 0, 9), (1, 0, 1, 1, 2), (0, 1, 2, 3, 4), (1, 1, 3, 4, 1), (0, 2, 4, 5, 1)];
    let listed = |lost_rows: &[u32]| {
        let mut skeleton = samples::skeleton(&calls);
        skeleton.problems = lost_rows.iter().map(|&row| lost(row)).collect();
        let model = TraceModel::new(skeleton);
        let rows = visible_rows(&model, &Folds::default(), false, None);
        (spans(&without_orphans(&model, rows)), model.has_orphans())
    };
    assert_eq!(listed(&[2]), (vec![0, 1, 4], true));
    assert_eq!(listed(&[4, 2]), (vec![0, 1], true));
    assert_eq!(listed(&[]), (vec![0, 1, 2, 3, 4], false));
    assert_eq!(listed(&[0, 2, 4]), (vec![0, 1, 2, 3, 4], false), "nothing else would remain");
}

#[test]
fn log_records_follow_their_span_in_order_of_time() {
    let shop = TraceModel::new(samples::shop());
    let logs = LogIndex::new(
        &shop,
        vec![
            samples::log(Some(samples::id(9)), 480, "slow"),
            samples::log(Some(samples::id(0)), 490, "still here"),
            samples::log(Some(samples::id(9)), 460, "begins"),
            samples::log(None, 500, "of no span"),
        ],
    );
    let rows = visible_rows(&shop, &Folds::from_depth(1), true, Some(&logs));
    let log = |span, log| Row::Log { span, log };
    let expected = [Row::Span(0), log(0, 2), Row::Span(1), Row::Span(9), log(9, 0), log(9, 1)];
    assert_eq!(rows, expected);
    assert_eq!(position(&shop, &rows, 9), Some(3));
    assert_eq!(position(&shop, &rows, 10), Some(3), "hidden in the folded row 9");
    assert_eq!(position(&shop, &rows, 0), Some(0));
}

#[test]
fn events_stand_between_the_records_of_their_span() {
    let mut skeleton = samples::shop();
    samples::add_event(&mut skeleton, 9, 470, ("retry", None));
    samples::add_event(&mut skeleton, 10, 600, ("folded away", None));
    let shop = TraceModel::new(skeleton);
    let records = [460, 480].map(|at| samples::log(Some(samples::id(9)), at, "a record"));
    let logs = LogIndex::new(&shop, records.to_vec());
    let rows = visible_rows(&shop, &Folds::from_depth(1), true, Some(&logs));
    let under = [
        Row::Span(9),
        Row::Log { span: 9, log: 0 },
        Row::Event { span: 9, event: 0 },
        Row::Log { span: 9, log: 1 },
    ];
    assert_eq!(rows[2..], under);
    assert_eq!(position(&shop, &rows, 10), Some(2), "hidden in the folded row 9");
    assert_eq!(rows_of(&shop, &[9], Some(&logs))[1..], under);
    assert_eq!(rows_of(&shop, &[9], None).len(), 2, "nothing is in line");
}

#[test]
fn a_chain_of_100_000_rows_is_listed_and_scrolled() {
    let chain = samples::chain(100_000);
    let rows = visible_rows(&chain, &Folds::default(), true, None);
    assert_eq!(rows.len(), 100_000);
    let mut scroll = Scroll { rows: rows.len(), row_px: ROW_PX, view_px: 600.0, top_px: 0.0 };
    scroll.top_px = scroll.to_show(99_999).unwrap();
    assert!(scroll.on_screen().contains(&99_999));
    assert!(scroll.on_screen().len() < 60);
}

#[test]
fn a_line_in_view_needs_no_scrolling_and_the_next_one_only_its_height() {
    let scroll = Scroll { rows: 1_000, row_px: ROW_PX, view_px: 240.0, top_px: 480.0 };
    assert_eq!(scroll.to_show(25), None);
    let near = |top: Option<f64>, expected: f64| (top.unwrap() - expected).abs() < 1e-6;
    assert!(near(scroll.to_show(30), 504.0));
    assert!(near(scroll.to_show(19), 456.0));
}

proptest! {
    #[test]
    fn lines_on_screen_fill_the_view_at_any_length(
        rows in 0_usize..5_000_000, view_px in 100.0..2_000.0_f64, part in 0.0..1.0_f64,
    ) {
        let mut scroll = Scroll { rows, row_px: ROW_PX, view_px, top_px: 0.0 };
        prop_assert!(scroll.height_px() <= HEIGHT_PX_MAX);
        scroll.top_px = part * (scroll.height_px() - view_px).max(0.0);
        let drawn = scroll.on_screen();
        prop_assert!(drawn.end <= rows && drawn.len() < 110);
        if let (Some(first), Some(last)) = (drawn.clone().next(), drawn.last()) {
            let bottom = (scroll.top_px + view_px).min(scroll.height_px());
            prop_assert!(scroll.line_px(first) <= scroll.top_px + 0.5);
            prop_assert!(scroll.line_px(last) + ROW_PX >= bottom - 0.5);
        }
    }

    #[test]
    fn every_row_can_be_scrolled_to(
        rows in 1_usize..5_000_000, pick: prop::sample::Index, top in 0.0..1.0_f64,
    ) {
        let mut scroll = Scroll { rows, row_px: ROW_PX, view_px: 500.0, top_px: 0.0 };
        scroll.top_px = top * (scroll.height_px() - 500.0).max(0.0);
        let line = pick.index(rows);
        if let Some(top) = scroll.to_show(line) {
            scroll.top_px = top;
        }
        prop_assert!(scroll.on_screen().contains(&line));
    }

    #[test]
    fn a_row_is_at_its_position_or_hidden_there(calls in samples::calls(), depth in 0_u32..5, group: bool) {
        let model = samples::model(&calls);
        let folds = Folds::from_depth(depth);
        let rows = visible_rows(&model, &folds, group, None);
        prop_assert!(spans(&rows).is_sorted());
        for row in model.rows() {
            let at = position(&model, &rows, row).unwrap();
            let shown_at = rows[at].span();
            prop_assert!(shown_at <= row);
            let hides = model.after(shown_at) > row || model.is_in_run(shown_at, row);
            prop_assert!(hides);
        }
    }

    #[test]
    fn a_revealed_row_is_shown(calls in samples::calls(), depth in 0_u32..5, pick: prop::sample::Index) {
        let model = samples::model(&calls);
        if !model.is_empty() {
            let row = u32::try_from(pick.index(model.len())).unwrap();
            let mut folds = Folds::from_depth(depth);
            folds.reveal(&model, row);
            let rows = visible_rows(&model, &folds, true, None);
            prop_assert_eq!(rows[position(&model, &rows, row).unwrap()], Row::Span(row));
        }
    }
}
