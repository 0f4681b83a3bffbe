use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{ExceptionGroup, ExceptionList, Searched, TimeWindow},
};

use super::{SortOrder, measured, missing, sort};

fn group(id: &str, count: u64, before: u64) -> ExceptionGroup {
    ExceptionGroup {
        id: id.to_owned(),
        service: "pay".to_owned(),
        operation: String::new(),
        exception_type: id.to_owned(),
        count,
        before_count: Some(before),
        factor: (before > 0).then(|| count as f64 / before as f64),
        is_new: before == 0,
        is_multiplied: before > 0 && count >= 3 * before,
        follows_id: None,
        follows_service: None,
        log_count: 0,
        first_seen_unix_nano: UnixNanos(1),
        last_seen_unix_nano: UnixNanos(2),
        time_unix_nano: UnixNanos(2),
        steps: Vec::new(),
        message: String::new(),
        stack_trace: String::new(),
        normalised_stack: String::new(),
        trace_id: None,
        span_id: None,
    }
}

fn list(groups: Vec<ExceptionGroup>) -> ExceptionList {
    let window = TimeWindow {
        start_unix_nano: UnixNanos(0),
        end_unix_nano: UnixNanos(10),
        step_nano: DurationNanos(1),
    };
    ExceptionList {
        window,
        known_since_unix_nano: Some(UnixNanos(0)),
        group_count: groups.len() as u64,
        count: groups.iter().map(|group| group.count).sum(),
        groups,
        other_count: 0,
        searched: Searched { rows: 0, files: 0, elapsed_nano: DurationNanos(0), complete: true },
    }
}

#[test]
fn new_and_multiplied_kinds_come_first() {
    let groups = vec![group("usual", 900, 850), group("timeout", 610, 10), group("declined", 5, 0)];
    let mut rows = measured(&list(groups), None);
    sort(&mut rows, &SortOrder::parse("-change"));
    let order: Vec<&str> = rows.iter().map(|row| row.group.id.as_str()).collect();
    assert_eq!(order, ["declined", "timeout", "usual"]);
    assert!(rows[0].is_loud() && rows[1].multiplied() == Some(61.0));
    assert!(!rows[2].is_loud() && rows[2].multiplied().is_none());
    sort(&mut rows, &SortOrder::parse("-count"));
    assert_eq!(rows[0].group.id, "usual");
}

#[test]
fn an_exception_that_passes_through_callers_is_loud_at_its_source_only() {
    let of = |id: &str, service: &str, count: u64| {
        let group = group(id, count, 0);
        ExceptionGroup { service: service.to_owned(), ..group }
    };
    let now =
        list(vec![of("gateway", "shop", 40), of("source", "pay", 30), of("other", "shop", 9)]);
    let follows = |id: &str| ExceptionGroup {
        follows_id: Some(id.to_owned()),
        follows_service: Some("pay".to_owned()),
        ..now.groups[0].clone()
    };
    let mut rows = measured(&now, Some(&list(vec![follows("source")])));
    sort(&mut rows, &SortOrder::parse("-change"));
    let order: Vec<(&str, bool)> =
        rows.iter().map(|row| (row.group.id.as_str(), row.is_loud())).collect();
    assert_eq!(order, [("source", true), ("gateway", false), ("other", true)]);
    assert_eq!(rows[1].source.as_ref().unwrap().id, "source");
    let alone = measured(&now, None);
    assert!(alone.iter().all(super::ErrorRow::is_loud), "sources are not known yet");
    let unlisted = measured(&now, Some(&list(vec![follows("gone")])));
    assert!(unlisted[0].source.is_none(), "there is no row to stand behind");
}

#[test]
fn a_kind_that_comes_as_before_is_sorted_by_its_own_change_even_if_it_follows() {
    let now = list(vec![group("source", 51, 53), group("gateway", 40, 20), group("other", 30, 20)]);
    let follower = ExceptionGroup {
        follows_id: Some("source".to_owned()),
        follows_service: Some("pay".to_owned()),
        ..now.groups[1].clone()
    };
    let mut rows = measured(&now, Some(&list(vec![follower])));
    sort(&mut rows, &SortOrder::parse("-change"));
    let order: Vec<&str> = rows.iter().map(|row| row.group.id.as_str()).collect();
    assert_eq!(order, ["gateway", "other", "source"]);
    assert!(rows[0].grown_source().is_none(), "the list has its factor");
    assert_eq!(rows[0].source.as_ref().unwrap().id, "source", "its details name the source");
}

#[test]
fn an_incomplete_list_says_what_is_missing() {
    let mut groups = list(vec![group("a", 1, 1)]);
    assert_eq!(missing(&groups), None);
    (groups.group_count, groups.other_count) = (500, 7);
    let words = missing(&groups).unwrap();
    assert!(words.contains("only the first 1 kind.") && words.contains("7 exceptions"), "{words}");
}
