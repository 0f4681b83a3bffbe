use std::{fs, path::Path};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tempfile::TempDir;
use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditActorKind, AuditEvent, AuditOutcome},
};
use tidings_storage::LineFile;

use super::{AuditPosition, AuditQuery, LINE_BYTES_MAX, search};
use crate::{append_once, day::Day};

const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
const START: u64 = 1_795_391_000 * 1_000_000_000;

fn event(time: u64, action: &str, actor: &str) -> AuditEvent {
    AuditEvent {
        time_unix_nano: UnixNanos(time),
        action: action.to_owned(),
        outcome: AuditOutcome::Success,
        actor: AuditActor {
            kind: AuditActorKind::Key,
            id: Some(format!("id-of-{actor}")),
            name: Some(actor.to_owned()),
        },
        tenant: None,
        source_address: Some("192.0.2.7".to_owned()),
        object: Some(format!("POST /api/v1/{action}")),
        status: Some(201),
        detail: Some(format!("{action} of {actor}")),
        count: 1,
    }
}

fn log_of(events: &[AuditEvent]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Writes the file directly, to avoid a sync for each event.
    for of_day in events.chunk_by(|a, b| Day::from(a.time_unix_nano) == Day::from(b.time_unix_nano))
    {
        let mut file =
            LineFile::open(&Day::from(of_day[0].time_unix_nano).path(folder.path())).unwrap();
        for event in of_day {
            file.append(&serde_json::to_string(event).unwrap()).unwrap();
        }
    }
    folder
}

/// Returns the events of all pages.
fn pages(folder: &Path, query: &AuditQuery) -> Vec<AuditEvent> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let page = search(folder, &query).unwrap();
        assert!(page.events.len() <= query.limit);
        found.extend(page.events);
        let Some(next) = page.next else { return found };
        assert_eq!(AuditPosition::parse(&next.to_string()), Some(next));
        query.position = Some(next);
    }
}

#[test]
fn filters_match_the_events_that_they_name() {
    let other = AuditEvent {
        outcome: AuditOutcome::Denied,
        source_address: None,
        detail: Some("no Key".to_owned()),
        ..event(START + 2, "keys", "ci")
    };
    let events = [event(START, "key.create", "ops"), event(START + 1, "key.revoke", "ci"), other];
    let folder = log_of(&events);
    let all = AuditQuery { limit: 10, ..AuditQuery::default() };
    let text = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        (all.clone(), vec![2, 1, 0]),
        (AuditQuery { action: text("key"), ..all.clone() }, vec![1, 0]),
        (AuditQuery { action: text("key.create"), ..all.clone() }, vec![0]),
        (AuditQuery { action: text("ke"), ..all.clone() }, vec![]),
        (AuditQuery { actor: text("ci"), ..all.clone() }, vec![2, 1]),
        (AuditQuery { actor: text("id-of-ops"), ..all.clone() }, vec![0]),
        (AuditQuery { outcome: Some(AuditOutcome::Denied), ..all.clone() }, vec![2]),
        (AuditQuery { address: text("192.0.2.7"), ..all.clone() }, vec![1, 0]),
        (AuditQuery { text: text("NO KEY"), ..all.clone() }, vec![2]),
        (AuditQuery { text: text("/api/v1/key.R"), ..all.clone() }, vec![1]),
        (AuditQuery { start: Some(UnixNanos(START + 1)), ..all.clone() }, vec![2, 1]),
        (AuditQuery { end: Some(UnixNanos(START + 1)), ..all.clone() }, vec![0]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|index: usize| &events[index]).collect();
        let found = search(folder.path(), &query).unwrap().events;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?}");
    }
}

#[test]
fn unreadable_lines_are_counted_and_hide_no_events() {
    let folder = log_of(&[event(START, "a", "ops")]);
    let path = Day::from(UnixNanos(START)).path(folder.path());
    let mut file = LineFile::open(&path).unwrap();
    file.append("{\"timeUnixNano\":").unwrap();
    file.append(&"x".repeat(200_000)).unwrap();
    append_once(folder.path(), event(START + 1, "b", "ops")).unwrap();
    let query = AuditQuery { limit: 10, ..AuditQuery::default() };
    let page = search(folder.path(), &query).unwrap();
    let actions: Vec<&str> = page.events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["b", "a"]);
    assert_eq!(page.unreadable_lines, 2);
    assert!(fs::read_to_string(path).unwrap().ends_with("}\n"));
}

#[test]
fn an_event_at_the_end_of_a_long_line_is_not_returned() {
    let folder = log_of(&[]);
    let forged = serde_json::to_string(&event(START, "b", "ops")).unwrap();
    let blanks = " ".repeat(3 * LINE_BYTES_MAX - 1 - forged.len());
    let line = format!("no event{blanks}{forged}");
    let mut file = LineFile::open(&Day::from(UnixNanos(START)).path(folder.path())).unwrap();
    file.append(&line).unwrap();
    append_once(folder.path(), event(START + 1, "a", "ops")).unwrap();
    let query = AuditQuery { limit: 10, ..AuditQuery::default() };
    let page = search(folder.path(), &query).unwrap();
    assert_eq!(page.events, [event(START + 1, "a", "ops")]);
    assert_eq!(page.unreadable_lines, 1);
}

#[test]
fn an_empty_line_is_not_counted_as_unreadable() {
    let events = [event(START, "a", "ops")];
    let folder = log_of(&events);
    let mut file = LineFile::open(&Day::from(UnixNanos(START)).path(folder.path())).unwrap();
    file.append("").unwrap();
    let page = search(folder.path(), &AuditQuery { limit: 10, ..AuditQuery::default() }).unwrap();
    assert_eq!((page.events.as_slice(), page.unreadable_lines), (&events[..], 0));
}

#[test]
fn positions_of_other_forms_are_refused() {
    for text in ["", "2026-11-23", "2026-11-23_", "2026-11-23_-1", "2026-13-23_1", "x_1", "_"] {
        assert_eq!(AuditPosition::parse(text), None, "{text}");
    }
    for other_form in ["2026-11-23_+1", "2026-11-23_01", "2026-11-2_1", " 2026-11-23_1"] {
        assert_eq!(AuditPosition::parse(other_form), None, "{other_form}");
    }
    assert!(AuditPosition::parse("2026-11-23_18446744073709551615").is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_are_the_log_filtered_and_reversed(
        mut kinds in vec((0..3 * DAY, select(vec!["a", "a.b", "c"]), select(vec!["x", "y"])), 0..40),
        action in option::of(select(vec!["a", "a.b", "c", "d"])),
        start in option::of(0..3 * DAY),
        limit in 1_usize..7,
    ) {
        kinds.sort_unstable();
        let events: Vec<AuditEvent> =
            kinds.iter().map(|(time, action, actor)| event(START + time, action, actor)).collect();
        let folder = log_of(&events);
        let query = AuditQuery {
            action: action.map(str::to_owned),
            start: start.map(|start| UnixNanos(START + start)),
            limit,
            ..AuditQuery::default()
        };
        let is_wanted = |event: &&AuditEvent| {
            let has_action = action.is_none_or(|action| match action {
                "a" => event.action.starts_with('a'),
                action => event.action == action,
            });
            has_action && start.is_none_or(|start| event.time_unix_nano.0 >= START + start)
        };
        let expected: Vec<AuditEvent> = events.iter().rev().filter(is_wanted).cloned().collect();
        prop_assert_eq!(pages(folder.path(), &query), expected);
    }
}
