use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{ExceptionGroup, ExceptionList, Searched, TimeWindow},
};

use super::{ErrorRow, FirstSeen, SortOrder, count_text, followers_text, measured, missing, sort};

fn group(id: &str, count: u64, before: u64) -> ExceptionGroup {
    ExceptionGroup {
        id: id.to_owned(),
        service: "pay".to_owned(),
        exception_type: id.to_owned(),
        count,
        before_count: Some(before),
        factor: (before > 0).then(|| count as f64 / before as f64),
        is_new: before == 0,
        is_multiplied: before > 0 && count >= 3 * before,
        first_seen_unix_nano: UnixNanos(1),
        last_seen_unix_nano: UnixNanos(2),
        time_unix_nano: UnixNanos(2),
        ..ExceptionGroup::default()
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
        cause_count: None,
        follow_count: None,
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
    assert!(alone.iter().all(ErrorRow::is_loud), "sources are not known yet");
    let unlisted = measured(&now, Some(&list(vec![follows("gone")])));
    assert!(unlisted[0].source.is_none(), "there is no row to stand behind");
}

/// A list of three kinds, the second of which follows from the first.
fn failure() -> Vec<ErrorRow> {
    let now = list(vec![group("source", 51, 53), group("gateway", 40, 20), group("other", 30, 20)]);
    let source = ExceptionGroup { follower_count: 1, ..now.groups[0].clone() };
    let follower = ExceptionGroup {
        follows_id: Some("source".to_owned()),
        follows_service: Some("pay".to_owned()),
        ..now.groups[1].clone()
    };
    measured(&now, Some(&list(vec![source, follower])))
}

/// Id of each row, and its mark as one that stands beneath its source.
fn order(rows: &[ErrorRow]) -> Vec<(&str, bool)> {
    rows.iter().map(|row| (row.group.id.as_str(), row.is_beneath)).collect()
}

#[test]
fn a_follower_stands_beneath_its_source_in_every_order() {
    let mut rows = failure();
    for (by, expected) in [
        ("-change", ["other", "source", "gateway"]),
        ("-count", ["source", "gateway", "other"]),
        ("count", ["other", "source", "gateway"]),
        ("type", ["other", "source", "gateway"]),
        ("-type", ["source", "gateway", "other"]),
    ] {
        sort(&mut rows, &SortOrder::parse(by));
        let expected = expected.map(|id| (id, id == "gateway"));
        assert_eq!(order(&rows), expected, "{by}");
    }
    let followers = |id: &str| rows.iter().find(|row| row.group.id == id).unwrap().follower_count;
    assert_eq!(["source", "gateway"].map(followers), [1, 0]);
}

#[test]
fn a_follower_without_its_source_keeps_its_own_place() {
    let mut rows = failure();
    rows.retain(|row| row.group.id != "source");
    sort(&mut rows, &SortOrder::parse("-change"));
    assert_eq!(order(&rows), [("gateway", false), ("other", false)]);
    assert_eq!(rows[0].source.as_ref().unwrap().id, "source", "its details name the source");
}

#[test]
fn a_source_says_how_many_follow() {
    assert_eq!(followers_text(0), None);
    assert_eq!(followers_text(1).as_deref(), Some("+1 that follows"));
    assert_eq!(followers_text(5).as_deref(), Some("+5 that follow"));
}

#[test]
fn a_follower_says_which_service_or_operation_it_is_from() {
    let mut rows = failure();
    let from = |row: &ErrorRow| row.source_words();
    assert_eq!(from(&rows[0]), None);
    let source = rows[1].source.as_mut().unwrap();
    source.operation = "POST /charge".to_owned();
    assert_eq!(from(&rows[1]).as_deref(), Some("from POST /charge"), "both are of pay");
    rows[1].group.service = "shop".to_owned();
    assert_eq!(from(&rows[1]).as_deref(), Some("from pay"));
}

#[test]
fn a_new_follower_of_a_source_that_comes_as_before_is_loud() {
    let now = list(vec![group("source", 50, 50), group("wrapped", 50, 0)]);
    let follower =
        ExceptionGroup { follows_id: Some("source".to_owned()), ..now.groups[1].clone() };
    let rows = measured(&now, Some(&list(vec![follower])));
    assert!(rows[1].source.is_some() && rows[1].is_loud());
}

/// A list with the sources of its kinds, of which those named last follow from the first.
fn with_sources(mut list: ExceptionList, followers: &[&str], counts: (u64, u64)) -> ExceptionList {
    for group in &mut list.groups {
        let follows = followers.contains(&group.id.as_str());
        group.follows_id = follows.then(|| "source".to_owned());
    }
    (list.cause_count, list.follow_count) = (Some(counts.0), Some(counts.1));
    list
}

#[test]
fn causes_are_counted_when_the_sources_of_all_kinds_are_known() {
    let mut now =
        list(vec![group("source", 51, 53), group("gateway", 40, 20), group("other", 30, 20)]);
    let known = with_sources(now.clone(), &["gateway"], (81, 40));
    assert_eq!(count_text(&now, None), "121 exceptions of 3 kinds");
    let expected = "121 exceptions of 3 kinds: 81 at 2 causes, 40 follow from them";
    assert_eq!(count_text(&now, Some(&known)), expected);
    // All numbers of the sentence are of one list.
    now.count = 122;
    assert_eq!(count_text(&now, Some(&known)), expected);
    now.group_count = 400;
    assert_eq!(count_text(&now, Some(&known)), "122 exceptions of 400 kinds", "not all are listed");
}

#[test]
fn causes_and_followers_are_counted_separately_where_there_are_followers() {
    let now = list(vec![group("source", 51, 53), group("gateway", 1, 20)]);
    let known = with_sources(now.clone(), &["gateway"], (51, 1));
    let expected = "52 exceptions of 2 kinds: 51 at 1 cause, 1 follows from it";
    assert_eq!(count_text(&now, Some(&known)), expected);
    let alone = with_sources(now.clone(), &[], (52, 0));
    assert_eq!(count_text(&now, Some(&alone)), "52 exceptions of 2 kinds");
    let none = list(Vec::new());
    assert_eq!(count_text(&none, Some(&none)), "0 exceptions of 0 kinds");
}

#[test]
fn a_kind_of_the_time_before_was_first_seen_before() {
    let mut known = list(vec![group("usual", 9, 8), group("new", 5, 0), group("unknown", 4, 0)]);
    known.groups[0].first_seen_unix_nano = UnixNanos(5);
    known.groups[1].first_seen_unix_nano = UnixNanos(4);
    (known.groups[2].first_seen_unix_nano, known.groups[2].before_count) = (UnixNanos(0), None);
    let first: Vec<FirstSeen> =
        known.groups.iter().map(|group| FirstSeen::in_window(group, &known)).collect();
    let (before, at) = (FirstSeen::Before(UnixNanos(0)), FirstSeen::At(UnixNanos(4)));
    assert_eq!(first, [before, at, FirstSeen::Unknown]);
    let mut rows = measured(&known, None);
    sort(&mut rows, &SortOrder::parse("first"));
    let order: Vec<&str> = rows.iter().map(|row| row.group.id.as_str()).collect();
    assert_eq!(order, ["usual", "unknown", "new"]);
    known.known_since_unix_nano = None;
    let stored = FirstSeen::in_window(&known.groups[2], &known);
    assert_eq!(stored, FirstSeen::At(UnixNanos(0)), "nothing is stored of the time before");
}

#[test]
fn an_incomplete_list_says_what_is_missing() {
    let mut groups = list(vec![group("a", 1, 1)]);
    assert_eq!(missing(&groups), None);
    (groups.group_count, groups.other_count) = (500, 7);
    let words = missing(&groups).unwrap();
    assert!(words.contains("only the first 1 kind.") && words.contains("7 exceptions"), "{words}");
}
