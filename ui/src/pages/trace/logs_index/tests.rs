use super::{
    super::{model::TraceModel, samples},
    LogIndex,
};

#[test]
fn records_are_counted_at_and_below_their_row() {
    let shop = TraceModel::new(samples::shop());
    let logs = LogIndex::new(
        &shop,
        vec![
            samples::log(Some(samples::id(9)), 460, "a"),
            samples::log(Some(samples::id(10)), 470, "b"),
            samples::log(Some(samples::id(10)), 480, "c"),
            samples::log(Some(samples::id(77)), 490, "of a span that never came"),
        ],
    );
    assert_eq!((logs.of_row(9).len(), logs.count_below(&shop, 9)), (1, 2));
    assert_eq!(logs.count_below(&shop, 0), 3);
    assert_eq!((logs.row(1), logs.row(3)), (Some(10), None));
    assert_eq!(logs.of_row(500), [0_u32; 0]);
}

#[test]
fn a_record_before_the_trace_has_a_negative_offset() {
    let shop = TraceModel::new(samples::shop());
    let mut early = samples::log(None, 0, "early");
    early.time_unix_nano.0 -= 5;
    let logs = LogIndex::new(&shop, vec![early, samples::log(None, 3, "late")]);
    let offsets: Vec<i64> = logs.all().iter().map(|log| logs.offset(log)).collect();
    assert_eq!(offsets, [-5, 3_000]);
}
