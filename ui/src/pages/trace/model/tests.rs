use std::collections::BTreeSet;

use proptest::prelude::*;

use tidings_proto::{DurationNanos, api::SpanFlags};

use super::{super::samples, OffsetRange, TraceModel};

#[test]
fn sums_below_a_row_are_what_its_rows_add_up_to() {
    let shop = TraceModel::new(samples::shop());
    assert_eq!(shop.critical_total(), 1_000_000);
    assert_eq!(shop.critical_with_below(9), 500_000);
    assert_eq!(shop.critical_with_below(1), 0);
    assert_eq!((shop.errors_below(0), shop.errors_below(9), shop.errors_below(10)), (2, 1, 0));
}

#[test]
fn a_row_has_its_own_critical_stretches_and_the_reach_of_those_below() {
    let shop = TraceModel::new(samples::shop());
    let own = [OffsetRange::new(450_000, 500_000), OffsetRange::new(900_000, 950_000)];
    assert_eq!(shop.critical(9), own);
    assert_eq!(shop.critical_reach(9), Some(OffsetRange::new(450_000, 950_000)));
    assert_eq!(shop.critical_reach(0), Some(OffsetRange::new(0, 1_000_000)));
    assert_eq!(shop.critical_reach(1), None);
}

#[test]
fn five_equal_calls_in_a_row_are_a_run_with_figures() {
    let shop = TraceModel::new(samples::shop());
    assert_eq!((shop.repeats_first(3), shop.repeats_first(4)), (Some(3), Some(3)));
    assert_eq!(shop.repeated_calls(3).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);
    assert_eq!((shop.repeats_first(5), shop.repeats_first(9)), (Some(3), None));
    let facts = shop.repeat_facts(3);
    assert_eq!((facts.count, facts.p50_nano, facts.total_nano), (6, 15_000, 90_000));
    assert_eq!(facts.stretch, OffsetRange::new(80_000, 195_000));
    assert!(!facts.critical && facts.errors == 0);
}

#[test]
fn stretches_without_a_span_belong_to_their_row() {
    let mut shop = samples::shop();
    let stretch = |span: u32, from: i64, to: i64| tidings_proto::api::UntracedStretch {
        span,
        start_offset_nano: from,
        end_offset_nano: to,
    };
    shop.untraced = vec![stretch(1, 10, 20), stretch(1, 30, 50), stretch(9, 5, 6)];
    let shop = TraceModel::new(shop);
    let of = |row: u32| shop.untraced_of(row).collect::<Vec<_>>();
    assert_eq!(of(1), [OffsetRange::new(10, 20), OffsetRange::new(30, 50)]);
    assert_eq!((of(9).len(), of(0).len(), of(10).len()), (1, 0, 0));
}

#[test]
fn the_p99_of_a_run_differs_from_its_median() {
    let mut calls = vec![(0, 0, 0, 0, 1_000)];
    calls.extend((0..200).map(|at| (1, 1, 1, at, if at < 197 { 2 } else { 90 })));
    let model = samples::model(&calls);
    let facts = model.repeat_facts(1);
    let half = model.duration(1);
    assert_eq!((facts.count, facts.p50_nano, facts.p99_nano), (200, half, half * 45));
}

#[test]
fn four_equal_calls_and_equal_roots_are_no_run() {
    let mut calls = vec![(0, 0, 0, 0, 10)];
    calls.extend([(1, 1, 1, 0, 1); 4]);
    assert!(!samples::model(&calls).has_repeats());
    assert!(!samples::model(&[(0, 0, 0, 0, 10); 9]).has_repeats());
}

#[test]
fn a_run_counts_calls_and_not_what_they_call() {
    let mut calls = vec![(0, 0, 0, 0, 10)];
    calls.extend([(1, 1, 1, 0, 1), (2, 2, 2, 0, 1)].repeat(5));
    let model = samples::model(&calls);
    assert_eq!(model.repeat_facts(1).count, 5);
    assert!(model.is_in_run(1, 10) && !model.is_in_run(1, 0));
    assert_eq!((model.repeats_first(2), model.repeats_first(9)), (None, Some(1)));
}

#[test]
fn calls_of_another_kind_are_no_part_of_a_run() {
    let mut calls = vec![(0, 0, 0, 0, 100)];
    calls.extend((0..9).map(|call| (1, 1, 1, call * 10, 5)));
    let mut skeleton = samples::skeleton(&calls);
    skeleton.spans.kind = vec![2, 3, 1, 3, 1, 3, 1, 3, 1, 3];
    let model = TraceModel::new(skeleton);
    assert_eq!(model.repeated_calls(1).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    assert_eq!(model.repeats_first(2), None, "four of another kind");
}

#[test]
fn calls_in_rotation_are_one_run_for_each_operation() {
    // Five operations take turns, and each call has one of its own. The second one fails.
    let mut calls = vec![(0, 0, 0, 0, 1_000)];
    calls.extend((0..50).flat_map(|turn: u32| {
        let at = i64::from(turn) * 10;
        [(1, 1, 1 + turn % 5, at, 4), (2, 2, 6, at + 1, 2)]
    }));
    let mut skeleton = samples::skeleton(&calls);
    skeleton.spans.flags[3] = SpanFlags::ERROR;
    let model = TraceModel::new(skeleton);
    let runs: Vec<u32> =
        model.rows().filter(|&row| model.repeats_first(row) == Some(row)).collect();
    assert_eq!(runs, [1, 3, 5, 7, 9], "in order of their first calls");
    for first in runs {
        let expected: Vec<u32> = (0..10).map(|turn| first + 10 * turn).collect();
        assert_eq!(model.repeated_calls(first).collect::<Vec<_>>(), expected);
        let facts = model.repeat_facts(first);
        assert_eq!((facts.count, facts.total_nano), (10, 40_000));
        assert_eq!(facts.errors, u32::from(first == 3), "only those of its own calls");
    }
    assert!(model.is_in_run(1, 12) && !model.is_in_run(1, 14));
}

#[test]
fn rows_are_found_by_id_and_numbered_when_they_share_it() {
    let mut skeleton = samples::shop();
    skeleton.spans.span_id[4] = samples::id(2);
    let model = TraceModel::new(skeleton);
    assert_eq!(model.rows_with(samples::id(2)), [2, 4]);
    assert_eq!((model.occurrence(2), model.occurrence(4)), (0, 1));
    assert_eq!(model.rows_with(samples::id(99)), [0_u32; 0]);
}

#[test]
fn errors_are_visited_in_both_directions_and_around_the_end() {
    let shop = TraceModel::new(samples::shop());
    let visit = |row, forward| shop.next_error(row, forward);
    assert_eq!(
        (visit(None, true), visit(Some(9), true), visit(Some(10), true)),
        (Some(9), Some(10), Some(9))
    );
    assert_eq!(
        (visit(None, false), visit(Some(10), false), visit(Some(9), false)),
        (Some(10), Some(9), Some(10))
    );
    assert_eq!(samples::model(&[(0, 0, 0, 0, 1)]).next_error(None, true), None);
}

#[test]
fn the_first_suspect_is_the_deepest_failed_span_on_the_critical_path() {
    assert_eq!(TraceModel::new(samples::shop()).first_suspect(), Some(10));
    let mut off_path = samples::shop();
    off_path.critical_path.clear();
    assert_eq!(TraceModel::new(off_path).first_suspect(), Some(9));
    assert_eq!(samples::model(&[(0, 0, 0, 0, 1)]).first_suspect(), None);
}

#[test]
fn a_chain_of_100_000_calls_is_indexed_without_recursion() {
    let chain = samples::chain(100_000);
    assert_eq!((chain.after(0), chain.depth(99_999)), (100_000, 99_999));
    assert_eq!(chain.children(0).collect::<Vec<_>>(), [1]);
}

proptest! {
    #[test]
    fn children_and_what_is_below_them_are_what_is_below_a_row(calls in samples::calls()) {
        let model = samples::model(&calls);
        for row in model.rows() {
            let below: u32 = model.children(row).map(|child| 1 + model.descendants(child)).sum();
            prop_assert_eq!(below, model.descendants(row));
            for child in model.children(row) {
                prop_assert_eq!(model.parent(child), Some(row));
            }
        }
    }

    #[test]
    fn members_of_a_run_are_its_calls(calls in samples::calls()) {
        let model = samples::model(&calls);
        let by_member: BTreeSet<u32> =
            model.rows().filter(|&row| model.repeats_first(row).is_some()).collect();
        let by_run: BTreeSet<u32> = model
            .rows()
            .filter(|&row| model.repeats_first(row) == Some(row))
            .flat_map(|first| model.repeated_calls(first))
            .collect();
        prop_assert_eq!(by_member, by_run);
    }

    #[test]
    fn no_columns_make_a_look_up_fail(skeleton in samples::hostile()) {
        let model = TraceModel::new(skeleton);
        for row in model.rows() {
            prop_assert!(model.after(row) <= model.rows().end);
            prop_assert!(model.parent(row).is_none_or(|parent| parent < row));
            let _ = (model.service(row), model.operation(row), model.stretch(row));
            let _ = (model.critical(row), model.critical_with_below(row), model.errors_below(row));
            let _ = model.children(row).count();
            if model.repeats_first(row) == Some(row) {
                prop_assert!(model.repeat_facts(row).count >= 5);
            }
        }
        prop_assert!(model.extent().to > model.extent().from);
    }
}

#[test]
fn calls_that_nobody_waited_for_start_or_end_after_their_callers() {
    let model = |calls: &[samples::SampleSpan]| {
        let mut skeleton = samples::skeleton(calls);
        skeleton.spans.flags[1] = SpanFlags::ASYNCHRONOUS;
        let model = TraceModel::new(skeleton);
        (model.has_late_starts(), model.has_late_ends())
    };
    let caller = (0, 0, 0, 0, 100);
    assert_eq!(model(&[caller, (1, 1, 1, 150, 100)]), (true, true));
    assert_eq!(model(&[caller, (1, 1, 1, 50, 100)]), (false, true));
    assert_eq!(model(&[caller, (1, 1, 1, 50, 20)]), (false, false));
}

#[test]
fn the_root_is_named_beside_the_whole_only_where_something_outlives_it() {
    let mut skeleton = samples::skeleton(&[(0, 0, 0, 0, 1_510), (1, 1, 1, 1_400, 230)]);
    skeleton.summary.has_root = true;
    skeleton.summary.root_service = "service-0".to_owned();
    skeleton.summary.root_operation = "operation-0".to_owned();
    skeleton.summary.duration_nano = DurationNanos(1_630_000);
    assert_eq!(TraceModel::new(skeleton.clone()).root_nano(), Some(1_510_000));
    skeleton.summary.duration_nano = DurationNanos(1_510_000);
    assert_eq!(TraceModel::new(skeleton.clone()).root_nano(), None);
    skeleton.summary.duration_nano = DurationNanos(1_630_000);
    skeleton.summary.has_root = false;
    assert_eq!(TraceModel::new(skeleton).root_nano(), None);
}
