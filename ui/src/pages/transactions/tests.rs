use serde_json::json;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        GroupStats, LatencyStats, Searched, StatsSince, TimeWindow, TransactionType,
        TransactionTypeList,
    },
};

use super::{
    ChangeKind, ChangedGroup, SortOrder, TimeRange, Window, join_rows, missing, sort, times_of,
};

fn changed(operation: &str, score: f64) -> ChangedGroup {
    let stats = json!({
        "count": 1, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0, "p50Nano": "1",
        "p95Nano": "1",
    });
    serde_json::from_value(json!({
        "service": "web", "operation": operation, "now": stats, "before": stats, "steps": [],
        "baselineSteps": [], "changes": [], "score": score,
    }))
    .unwrap()
}

fn transaction_type(operation: &str, count: u64, errors: u64, p95_ms: u64) -> TransactionType {
    let p95_nano = DurationNanos(p95_ms * 1_000_000);
    TransactionType {
        service: "web".to_owned(),
        operation: operation.to_owned(),
        count,
        error_count: errors,
        rate_per_second: count as f64 / 60.0,
        duration: LatencyStats { p95_nano, ..LatencyStats::default() },
        shorter_share: None,
        steps: Vec::new(),
        where_time_goes: Vec::new(),
        analysed_count: 0,
    }
}

fn names(order: &str) -> Vec<String> {
    let now = [
        transaction_type("a", 900, 0, 100),
        transaction_type("b", 50, 25, 100),
        transaction_type("c", 10, 0, 400),
    ];
    let before = [
        transaction_type("a", 900, 0, 100),
        transaction_type("b", 50, 0, 100),
        transaction_type("c", 10, 0, 100),
    ];
    let groups = [changed("c", 2.0), changed("b", 7.5), changed("a", 0.0)];
    let mut rows = join_rows(&now, &before, &[], &groups);
    sort(&mut rows, &SortOrder::parse(order), &groups);
    rows.into_iter().map(|row| row.transaction_type.operation).collect()
}

#[test]
fn types_are_sorted_by_change_then_by_frequency() {
    assert_eq!(names("-change"), ["b", "c", "a"]);
    assert_eq!(names("name"), ["a", "b", "c"]);
    assert_eq!(names("-p95"), ["c", "a", "b"]);
    assert_eq!(names("rate"), ["c", "b", "a"]);
}

#[test]
fn rows_sort_by_the_calls_of_the_whole_window() {
    let mut group = changed("b", 2.0);
    let change = json!({
        "kind": "latency", "isWorse": true, "before": 1.0, "now": 9.0, "difference": 8.0,
        "pValue": 0.0,
    });
    group.changes = vec![serde_json::from_value(change).unwrap()];
    let stats = GroupStats { rate_per_second: 99.0, ..group.now };
    group.since = Some(StatsSince { start_unix_nano: UnixNanos(7), stats });
    let mut rows = join_rows(
        &[transaction_type("b", 50, 0, 1), transaction_type("a", 900, 0, 1)],
        &[],
        &[],
        &[group],
    );
    sort(&mut rows, &SortOrder::parse("-rate"), &[]);
    assert_eq!(rows.first().map(|row| row.transaction_type.operation.as_str()), Some("a"));
}

#[test]
fn rows_keep_their_order_until_they_are_ranked_by_the_newest_report() {
    let (now, newest) =
        ([transaction_type("a", 900, 0, 1), transaction_type("b", 50, 0, 1)], [changed("b", 7.5)]);
    let order = |ranked: &[ChangedGroup]| -> Vec<(String, bool)> {
        let mut rows = join_rows(&now, &[], &[], &newest);
        sort(&mut rows, &SortOrder::parse("-change"), ranked);
        rows.into_iter()
            .map(|row| (row.transaction_type.operation, row.changed.is_some()))
            .collect()
    };
    let row = |name: &str, is_known| (name.to_owned(), is_known);
    assert_eq!(order(&[]), [row("a", false), row("b", true)]);
    assert_eq!(order(&newest), [row("b", true), row("a", false)]);
}

#[test]
fn a_changed_row_has_both_numbers_of_the_report_and_others_those_of_the_windows() {
    let mut group = changed("a", 2.0);
    let change = json!({
        "kind": "latency", "isWorse": true, "before": 1.0, "now": 9.0, "difference": 8.0,
        "pValue": 0.0,
    });
    group.changes = vec![serde_json::from_value(change).unwrap()];
    let (p95_nano, p99_nano) = (DurationNanos(9), DurationNanos(11));
    let stats = GroupStats { count: 10, error_count: 5, p95_nano, p99_nano, ..group.now };
    group.since = Some(StatsSince { start_unix_nano: UnixNanos(7), stats });
    let now = [transaction_type("a", 900, 0, 1), transaction_type("b", 50, 0, 1)];
    let before = [transaction_type("a", 800, 0, 2), transaction_type("b", 40, 0, 2)];
    let rows = join_rows(&now, &before, &[], &[group, changed("b", 0.0)]);
    let of = |stats: GroupStats| (stats.count, stats.p95_nano.0, stats.p99_nano.0);
    let numbers = rows.into_iter().map(|row| (of(row.numbers.now), row.numbers.was.map(of)));
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        [((10, 9, 11), Some((1, 1, 0))), ((50, 1_000_000, 0), Some((40, 2_000_000, 0)))]
    );
}

#[test]
fn the_note_names_both_times_only_where_a_row_counts_from_its_change() {
    let now = UnixNanos(72 * 3_600_000_000_000);
    let window = |range| Window::new(range, now);
    let (hour, day) = (TimeRange::Last { seconds: 3_600 }, TimeRange::Last { seconds: 86_400 });
    let mut group = changed("a", 2.0);
    let change = json!({
        "kind": "latency", "isWorse": true, "before": 1.0, "now": 9.0, "difference": 8.0,
        "pValue": 0.0,
    });
    group.changes = vec![serde_json::from_value(change).unwrap()];
    assert_eq!(
        times_of(window(hour), Some(std::slice::from_ref(&group))),
        "against the hour before"
    );
    assert_eq!(times_of(window(hour), Some(&[])), "against the hour before", "no report");
    group.since = Some(StatsSince { start_unix_nano: UnixNanos(7), stats: group.now });
    let groups = [group];
    assert_eq!(
        times_of(window(day), Some(&groups)),
        "against the day before; calls of the whole range; failures and durations of changed rows \
         since the change, where its start is known"
    );
    let all = "without a time before to compare with";
    assert_eq!(times_of(window(TimeRange::All), Some(&groups)), all);
}

#[test]
fn quantiles_and_failures_are_red_where_the_report_calls_them_worse() {
    let mut group = changed("a", 7.5);
    let slower = json!({
        "kind": "latency", "isWorse": true, "before": 1.0, "now": 9.0, "difference": 8.0,
        "quantile": 50, "worseQuantiles": [50, 99], "pValue": 0.0,
    });
    group.changes = vec![serde_json::from_value(slower).unwrap()];
    let now = [transaction_type("a", 50, 0, 9), transaction_type("b", 50, 0, 9)];
    let rows = join_rows(&now, &[], &[], &[group]);
    let red = rows
        .iter()
        .map(|row| [50, 95, 99].map(|percent| row.is_worse(ChangeKind::Latency, Some(percent))));
    assert_eq!(red.collect::<Vec<_>>(), [[true, false, true], [false; 3]]);
    assert!(rows[0].is_slower() && !rows[0].is_worse(ChangeKind::Errors, None));
}

#[test]
fn a_type_that_was_not_there_before_has_no_change() {
    let rows = join_rows(
        &[transaction_type("new", 5, 1, 10)],
        &[transaction_type("old", 5, 0, 10)],
        &[],
        &[],
    );
    assert_eq!((rows[0].numbers.was, &rows[0].changed), (None, &None));
}

#[test]
fn the_time_of_a_type_is_not_known_until_it_is_answered() {
    let now = [transaction_type("x", 1, 0, 1)];
    let rows = join_rows(&now, &[], &[], &[]);
    assert_eq!((rows[0].numbers.was, &rows[0].time), (None, &None));
    assert_eq!(join_rows(&now, &[], &now, &[])[0].time, Some(Vec::new()));
}

#[test]
fn an_incomplete_list_says_what_is_missing() {
    let searched = Searched { rows: 0, files: 0, elapsed_nano: DurationNanos(0), complete: true };
    let window = TimeWindow {
        start_unix_nano: UnixNanos(0),
        end_unix_nano: UnixNanos(1),
        step_nano: DurationNanos(1),
    };
    let mut list = TransactionTypeList {
        window,
        transaction_types: vec![transaction_type("a", 1, 0, 1)],
        transaction_type_count: 1,
        other_count: 0,
        other_transaction_type_count_max: 0,
        sampled_one_in: 1,
        searched,
    };
    assert_eq!(missing(&list), None);
    (list.transaction_type_count, list.sampled_one_in, list.other_count) = (900, 4, 12);
    list.searched.complete = false;
    let words = missing(&list).unwrap();
    for part in ["A shorter range", "every 4th", "12 transactions", "Only the 1 most"] {
        assert!(words.contains(part), "{words}");
    }
}
