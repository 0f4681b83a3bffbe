use proptest::prelude::*;

use super::{
    LabelSide, OffsetRange, axis_label, label_side, labelled_ticks, parts_of, pixel, stripes,
    ticks, uncovered,
};

const DAY: OffsetRange = OffsetRange { from: 0, to: 86_400_000_000_000 };

fn labels(window: OffsetRange, count: u32) -> Vec<String> {
    let (at, step) = ticks(window, count);
    at.into_iter().map(|at| axis_label(at, step, window.to)).collect()
}

#[test]
fn an_axis_names_round_moments_in_one_unit() {
    let window = |from, to| OffsetRange::new(from, to);
    assert_eq!(labels(window(0, 1_840_000_000), 5), ["0.0 s", "0.5 s", "1.0 s", "1.5 s"]);
    assert_eq!(labels(window(0, 640_000), 5), ["0 µs", "200 µs", "400 µs", "600 µs"]);
    assert_eq!(labels(window(0, 90), 4), ["0 ns", "50 ns"]);
    // Labels of a short window far into a trace still differ.
    assert_eq!(
        labels(window(1_331_000_000, 1_331_002_500), 3),
        ["1.331000 s", "1.331001 s", "1.331002 s"]
    );
}

#[test]
fn an_axis_has_as_many_labels_as_have_room_between_them() {
    let shown = |window: OffsetRange, width_px| {
        let (at, step) = labelled_ticks(window, width_px);
        at.into_iter().map(|at| axis_label(at, step, window.to)).collect::<Vec<_>>()
    };
    let window = |from, to| OffsetRange::new(from, to);
    assert_eq!(shown(window(0, 2_700_000_000), 167.0), ["0 s", "1 s", "2 s"]);
    assert_eq!(shown(window(0, 1_280_000_000), 167.0), ["0.0 s", "0.5 s", "1.0 s"]);
    assert_eq!(
        shown(window(0, 1_280_000_000), 600.0),
        ["0.0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1.0 s", "1.2 s"]
    );
    // Long labels have fewer moments.
    assert_eq!(shown(window(1_331_000_000, 1_331_002_500), 167.0), ["1.331000 s", "1.331002 s"]);
    assert_eq!(shown(window(0, 1_280_000_000), 0.0), ["0 s"], "not laid out");
}

#[test]
fn a_label_stands_after_its_bar_else_before_it_else_inside() {
    assert_eq!(label_side(0.0, 100.0, 50.0, 500.0), LabelSide::After);
    assert_eq!(label_side(300.0, 480.0, 50.0, 500.0), LabelSide::Before);
    assert_eq!(label_side(0.0, 500.0, 50.0, 500.0), LabelSide::Inside);
    // A bar that ends before the window starts still has a visible label.
    assert_eq!(label_side(-400.0, -5.0, 50.0, 500.0), LabelSide::After);
}

#[test]
fn time_without_calls_is_self_time() {
    let bar = OffsetRange::new(0, 100);
    let open = |calls: &[(i64, i64)]| {
        uncovered(bar, calls.iter().map(|&(from, to)| OffsetRange::new(from, to)))
    };
    assert_eq!(open(&[]), [(0.0, 1.0)]);
    assert_eq!(open(&[(10, 40), (30, 60)]), [(0.0, 0.1), (0.6, 1.0)]);
    assert_eq!(open(&[(-5, 50), (50, 200)]), []);
    assert_eq!(open(&[(120, 130)]), [(0.0, 1.0)]);
}

#[test]
fn parts_are_cut_to_their_bar_and_painted_in_order() {
    let bar = OffsetRange::new(0, 100);
    let parts = parts_of(bar, [OffsetRange::new(-10, 10), OffsetRange::new(50, 150)].into_iter());
    assert_eq!(parts, [(0.0, 0.1), (0.5, 1.0)]);
    assert_eq!(
        stripes(&parts, "red", "blue"),
        "linear-gradient(90deg,blue 0.000% 0.000%,red 0.000% 10.000%,\
         blue 10.000% 50.000%,red 50.000% 100.000%,blue 100.000% 100%)"
    );
}

#[test]
fn a_bar_of_a_hundred_thousand_calls_has_few_parts() {
    let bar = OffsetRange::new(0, 1_000_000);
    let calls = (0..100_000).map(|call| OffsetRange::new(call * 10, call * 10 + 5));
    assert!(uncovered(bar, calls).len() <= super::PARTS_MAX);
}

#[test]
fn zooming_keeps_the_moment_under_the_pointer() {
    let zoomed = DAY.zoomed(0.25, 0.5, DAY);
    assert_eq!((zoomed.at(0.25), zoomed.nanos() * 2), (DAY.at(0.25), DAY.nanos()));
    assert_eq!(zoomed.zoomed(0.5, 100.0, DAY), DAY);
    assert_eq!(zoomed.panned(50.0, DAY).to, DAY.to);
    assert_eq!(
        OffsetRange::dragged(500, 100, OffsetRange::new(0, 400)),
        OffsetRange::new(100, 400)
    );
}

#[test]
fn a_bar_outside_the_window_is_not_drawn_and_one_across_it_is_cut() {
    let window = OffsetRange::new(100, 200);
    assert_eq!(window.place(OffsetRange::new(0, 99)), None);
    assert_eq!(window.place(OffsetRange::new(201, 300)), None);
    let across = window.place(OffsetRange::new(i64::MIN, i64::MAX)).unwrap();
    assert_eq!((across.left, across.width), (-1.0, 102.0));
}

#[test]
fn pixels_stay_in_the_picture() {
    assert_eq!([-0.1, 0.0, 0.999, 1.0, 7.0, f64::NAN].map(|at| pixel(at, 10)), [0, 0, 9, 9, 9, 0]);
}

proptest! {
    #[test]
    fn no_window_and_no_bar_leave_the_extent(
        from: i64, to: i64, bar_from: i64, bar_to: i64,
        fraction in -1.0..2.0_f64, factor in 0.0..10.0_f64,
    ) {
        let extent = OffsetRange::new(from, to);
        for window in [
            extent.zoomed(fraction, factor, extent),
            extent.zoomed(0.5, 0.1, extent).panned(fraction, extent),
            OffsetRange::dragged(bar_from, bar_to, extent),
        ] {
            prop_assert!(window.from >= extent.from && window.to <= extent.to, "{window:?}");
            if let Some(place) = window.place(OffsetRange::new(bar_from, bar_to)) {
                prop_assert!(place.left >= -1.0 && place.left + place.width <= 101.01);
            }
            let (at, _) = ticks(window, 8);
            prop_assert!(at.len() <= 9 && at.iter().all(|&at| window.from <= at && at <= window.to));
        }
    }
}
