use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        Change, ChangeKind, ChangeSentence, ChangedGroup, ExceptionGroup, ExceptionList,
        GroupStats, Searched, Subject, SubjectKind, TimeWindow,
    },
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
        is_new: before == 0,
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
    let mut rows = measured(&list(groups), &[]);
    sort(&mut rows, &SortOrder::parse("-change"));
    let order: Vec<&str> = rows.iter().map(|row| row.group.id.as_str()).collect();
    assert_eq!(order, ["declined", "timeout", "usual"]);
    assert!(rows[0].is_loud() && rows[1].multiplied() == Some(61.0));
    assert!(!rows[2].is_loud() && rows[2].multiplied().is_none());
    sort(&mut rows, &SortOrder::parse("-count"));
    assert_eq!(rows[0].group.id, "usual");
}

/// A service that only feels the change of `pay`, as the report has it.
fn feels(service: &str) -> ChangedGroup {
    let change = Change {
        kind: ChangeKind::Errors,
        is_worse: true,
        before: 0.0,
        now: 0.5,
        factor: None,
        difference: 0.5,
        quantile: None,
        since_unix_nano: None,
        p_value: 0.0,
        text: None,
        id: None,
    };
    let subject = Subject {
        kind: SubjectKind::Service,
        service: "pay".to_owned(),
        operation: None,
        peer: None,
    };
    ChangedGroup {
        service: service.to_owned(),
        operation: None,
        uninstrumented: false,
        now: GroupStats::default(),
        since: None,
        before: GroupStats::default(),
        steps: Vec::new(),
        baseline_steps: Vec::new(),
        changes: Vec::new(),
        failures: Vec::new(),
        sentence: Some(ChangeSentence { subject, change, with: Vec::new(), explained_share: None }),
        score: 0.5,
        only_feels: true,
    }
}

#[test]
fn an_exception_that_passes_through_callers_is_loud_at_its_source_only() {
    let of = |id: &str, service: &str, count: u64| {
        let group = group(id, count, 0);
        let exception_type = "CurrencyMissing".to_owned();
        ExceptionGroup { service: service.to_owned(), exception_type, ..group }
    };
    let other = ExceptionGroup { message: "another".to_owned(), ..of("other", "shop", 9) };
    let now = list(vec![of("gateway", "shop", 40), of("source", "pay", 30), other]);
    let mut rows = measured(&now, &[feels("shop")]);
    sort(&mut rows, &SortOrder::parse("-change"));
    let order: Vec<(&str, bool)> =
        rows.iter().map(|row| (row.group.id.as_str(), row.is_loud())).collect();
    assert_eq!(order, [("source", true), ("gateway", false), ("other", true)]);
    assert_eq!(rows[1].source.as_ref().unwrap().id, "source");
    let alone = measured(&now, &[]);
    assert!(alone.iter().all(super::ErrorRow::is_loud), "nothing is known of what is behind");

    // Kinds that were there before follow as well, but nothing new follows from one of them.
    let known = |group: &ExceptionGroup| ExceptionGroup {
        before_count: Some(group.count),
        is_new: false,
        ..group.clone()
    };
    let rows = measured(&list(now.groups.iter().map(known).collect()), &[feels("shop")]);
    let sources: Vec<Option<&str>> =
        rows.iter().map(|row| Some(row.source.as_ref()?.id.as_str())).collect();
    assert_eq!(sources, [Some("source"), None, None]);
    let source = known(&now.groups[1]);
    let now = list(vec![of("gateway", "shop", 40), source]);
    let rows = measured(&now, &[feels("shop")]);
    assert!(rows[0].source.is_none() && rows[0].is_loud());
}

#[test]
fn an_incomplete_list_says_what_is_missing() {
    let mut groups = list(vec![group("a", 1, 1)]);
    assert_eq!(missing(&groups), None);
    (groups.group_count, groups.other_count) = (500, 7);
    let words = missing(&groups).unwrap();
    assert!(words.contains("only the first 1 kind.") && words.contains("7 exceptions"), "{words}");
}
