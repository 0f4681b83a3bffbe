use tidings_proto::api::{SkeletonSegment, SpanFlags};

use super::{
    super::{logs_index::LogIndex, model::TraceModel, samples},
    Bar, LabelSide, LinePicture, OffsetRange, SeverityTone, of_run, of_span,
};

const WIDTH: f64 = 1_000.0;

fn bar(model: &TraceModel, row: u32, window: OffsetRange) -> Bar {
    match of_span(model, &LogIndex::default(), row, window, WIDTH) {
        LinePicture::Inside(bar) => *bar,
        outside => panic!("{outside:?}"),
    }
}

#[test]
fn a_leaf_is_all_its_own_time_and_a_caller_only_between_its_calls() {
    let shop = TraceModel::new(samples::shop());
    assert_eq!(bar(&shop, 2, shop.extent()).fill, "var(--own)");
    let payment = bar(&shop, 9, shop.extent());
    assert_eq!((payment.place.left, payment.place.width), (45.0, 50.0));
    assert!(payment.fill.contains("var(--own) 0.000% 10.000%"), "{}", payment.fill);
    assert!(payment.fill.contains("var(--waiting) 10.000% 90.000%"), "{}", payment.fill);
}

#[test]
fn the_critical_path_is_strong_where_it_is_the_rows_own() {
    let shop = TraceModel::new(samples::shop());
    let (place, fill) = bar(&shop, 9, shop.extent()).critical.unwrap();
    assert_eq!((place.left, place.width), (45.0, 50.0));
    assert!(fill.contains("var(--crit-below) 10.000% 90.000%"), "{fill}");
    assert_eq!(bar(&shop, 2, shop.extent()).critical, None);
}

#[test]
fn a_zoomed_bar_keeps_its_parts_in_place() {
    let shop = TraceModel::new(samples::shop());
    // The payment waits until 900 µs from the middle of its call at 500 µs on.
    let payment = bar(&shop, 9, OffsetRange::new(700_000, 900_000));
    assert!((payment.place.left + 1.0).abs() < 1e-6);
    assert!(payment.fill.starts_with("linear-gradient(90deg,var(--waiting) 0.000% 99."));
}

#[test]
fn a_long_bar_that_the_window_cuts_stays_at_its_edge() {
    let shop = TraceModel::new(samples::shop());
    // The last microsecond of the payment, where a percent is narrower than a bar.
    let window = OffsetRange::new(949_000, 1_949_000);
    let picture = of_span(&shop, &LogIndex::default(), 9, window, 100.0);
    let LinePicture::Inside(payment) = picture else { panic!("{picture:?}") };
    assert!((payment.place.left + 1.0).abs() < 1e-6, "{:?}", payment.place);
    assert!((payment.place.width - 2.0).abs() < 1e-6, "{:?}", payment.place);
}

#[test]
fn spans_outside_the_window_show_their_side() {
    let shop = TraceModel::new(samples::shop());
    let picture = |window| of_span(&shop, &LogIndex::default(), 2, window, WIDTH);
    assert_eq!(picture(OffsetRange::new(500_000, 900_000)), LinePicture::Outside { before: true });
    assert_eq!(picture(OffsetRange::new(0, 10_000)), LinePicture::Outside { before: false });
}

#[test]
fn an_asynchronous_call_shows_its_wait_and_what_its_caller_did_not_wait_for() {
    let mut skeleton =
        samples::skeleton(&[(0, 0, 0, 0, 1_000), (1, 1, 1, 100, 100), (2, 2, 2, 300, 200)]);
    skeleton.spans.flags[2] = SpanFlags::ASYNCHRONOUS;
    let model = TraceModel::new(skeleton);
    let late = bar(&model, 2, model.extent());
    let percent = |place: Option<super::BarBox>| place.map(|place| (place.left, place.width));
    assert_eq!(percent(late.gap), Some((20.0, 10.0)));
    assert_eq!(percent(late.overhang), Some((30.0, 20.0)));
    assert_eq!(bar(&model, 1, model.extent()).gap, None);
}

#[test]
fn a_failed_span_is_marked_at_its_end_and_an_unfinished_one_says_so() {
    let mut skeleton = samples::shop();
    skeleton.spans.flags[2] = SpanFlags::UNFINISHED;
    let model = TraceModel::new(skeleton);
    assert_eq!(bar(&model, 10, model.extent()).error_at, Some(90.0));
    let open = bar(&model, 2, model.extent());
    assert_eq!(
        (open.label.text.as_str(), open.place.left + open.place.width),
        ("not ended", 100.0)
    );
}

#[test]
fn labels_stand_where_there_is_room() {
    let shop = TraceModel::new(samples::shop());
    let side = |row| bar(&shop, row, shop.extent()).label.side;
    assert_eq!(
        (side(0), side(2), side(9)),
        (LabelSide::Inside, LabelSide::After, LabelSide::Before)
    );
}

#[test]
fn records_on_one_pixel_are_one_tick_of_the_loudest() {
    let shop = TraceModel::new(samples::shop());
    let mut quiet = samples::log(Some(samples::id(9)), 600, "quiet");
    quiet.severity_number = 9;
    let loud = samples::log(Some(samples::id(9)), 600, "loud");
    let logs = LogIndex::new(&shop, vec![quiet, loud]);
    let LinePicture::Inside(bar) = of_span(&shop, &logs, 9, shop.extent(), WIDTH) else { panic!() };
    assert_eq!(bar.ticks, [(60.0, SeverityTone::Error)]);
}

#[test]
fn events_are_marked_where_they_happened_and_exceptions_before_others() {
    let mut shop = samples::shop();
    samples::add_event(&mut shop, 9, 500, ("retry", None));
    samples::add_event(&mut shop, 9, 600, ("cache.miss", None));
    samples::add_event(&mut shop, 9, 600, ("exception", Some("CardDeclined")));
    samples::add_event(&mut shop, 10, 700, ("of another span", None));
    let shop = TraceModel::new(shop);
    let marks = |window| {
        let events = bar(&shop, 9, window).events;
        events.into_iter().map(|(at, mark)| (at, mark.is_exception)).collect::<Vec<_>>()
    };
    assert_eq!(marks(shop.extent()), [(50.0, false), (60.0, true)]);
    assert_eq!(marks(OffsetRange::new(600_000, 900_000)), [(0.0, true)]);
}

#[test]
fn a_run_shows_each_call() {
    let shop = TraceModel::new(samples::shop());
    let LinePicture::Inside(run) = of_run(&shop, 3, shop.extent(), WIDTH) else { panic!() };
    assert_eq!(run.fill.matches("var(--own)").count(), 6);
    assert_eq!(run.label.text, "115 µs");
}

#[test]
fn a_bar_of_minimum_width_stays_inside_the_bar_of_its_caller() {
    // A microsecond is a pixel.
    let model = samples::model(&[
        (0, 0, 0, 0, 1_000),
        (1, 1, 1, 100, 10),
        (2, 2, 2, 109, 1),
        (3, 3, 3, 110, 0),
        (1, 1, 2, 500, 1),
        (2, 2, 3, 501, 0),
        (2, 2, 1, 505, 1),
        (1, 1, 3, 999, 1),
    ]);
    let pixels = |row| {
        let place = bar(&model, row, model.extent()).place;
        [place.left, place.width].map(|percent| (percent * 10.0 * 1e6).round() / 1e6)
    };
    assert_eq!(pixels(1), [100.0, 10.0], "wide");
    assert_eq!(pixels(2), [108.0, 2.0], "it begins earlier, because it would end later");
    assert_eq!(pixels(3), pixels(2), "a sliver of a sliver has its box");
    assert_eq!((pixels(4), pixels(5)), ([500.0, 2.0], [500.0, 2.0]));
    assert_eq!(pixels(6), [505.0, 2.0], "it began after its caller ended");
    assert_eq!(pixels(7), [998.0, 2.0]);
    let label = bar(&model, 4, model.extent()).label;
    assert!((label.at - 50.2).abs() < 1e-9, "it begins where the drawn bar ends: {label:?}");
}

#[test]
fn a_short_part_of_the_critical_path_stays_below_its_bar() {
    let mut skeleton = samples::skeleton(&[(0, 0, 0, 0, 1_000), (1, 1, 1, 100, 10)]);
    skeleton.critical_path.push(SkeletonSegment {
        span: 1,
        start_offset_nano: 109_500,
        end_offset_nano: 110_000,
    });
    let model = TraceModel::new(skeleton);
    let (place, _) = bar(&model, 1, model.extent()).critical.unwrap();
    assert!((place.left - 10.8).abs() < 1e-9 && (place.width - 0.2).abs() < 1e-9, "{place:?}");
}
