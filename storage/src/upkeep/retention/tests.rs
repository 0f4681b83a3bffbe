use std::{path::PathBuf, sync::Arc, time::Duration};

use tidings_proto::UnixNanos;

use super::{
    DataFile, HOUR_NANOS, Noteworthy, Retention, RetentionRule, Retired, common_mark, due, mark,
    thinned_prefix,
};
use crate::schema::Signal;

const DAY: Duration = Duration::from_secs(24 * 3600);
const NOW_HOUR: u64 = 500_000;
const NOW: UnixNanos = UnixNanos(NOW_HOUR * HOUR_NANOS);

/// A file of an hour so many days ago, received so many days ago.
fn file(name: &str, days: u64, received_days: u64, bytes: u64) -> Arc<DataFile> {
    let hour = NOW_HOUR - days * 24 - 1;
    let start = UnixNanos(hour * HOUR_NANOS);
    let path = PathBuf::from(format!("/t/hour={hour}/{name}.parquet"));
    let received_max = UnixNanos(NOW.0 - received_days * 24 * HOUR_NANOS);
    let file = DataFile::new(path, hour.cast_signed(), 1, bytes, start, start);
    Arc::new(DataFile { received_max, ..file })
}

fn names(retired: Option<Retired>) -> Option<(Vec<String>, usize)> {
    retired.map(|retired| {
        let name =
            |file: &Arc<DataFile>| file.path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = retired.files.iter().map(name).collect();
        names.sort_unstable();
        (names, retired.kept.len())
    })
}

fn check(retention: &Retention, files: &[Arc<DataFile>], expected: Option<(&[&str], usize)>) {
    let tables = [(Signal::Spans, files.to_vec()), (Signal::Logs, Vec::new())];
    let expected = expected.map(|(names, kept)| {
        (names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), kept)
    });
    assert_eq!(names(due(retention, &tables, NOW, true)), expected);
}

#[test]
fn a_file_goes_when_both_its_hour_and_its_arrival_are_old() {
    let retention = Retention { age: Some(3 * DAY), ..Retention::default() };
    let files = [file("new", 0, 0, 1), file("imported", 900, 1, 1), file("edge", 3, 3, 1)];
    check(&retention, &files, Some((&["edge"], 0)));
    check(&retention, &files[..2], None);
    check(&Retention::default(), &[file("old", 900, 900, 1)], None);
    let tables = [(Signal::Spans, files.to_vec())];
    assert_eq!(due(&retention, &tables, NOW, false), None);
}

#[test]
fn rules_thin_an_hour_once_per_age() {
    let rule = |what, age| RetentionRule { what, age };
    let rules = vec![
        rule(Noteworthy::Errors, Some(30 * DAY)),
        rule(Noteworthy::Service("pay".to_owned()), Some(14 * DAY)),
    ];
    let retention = Retention { age: Some(3 * DAY), rules: rules.clone(), bytes_max: None };
    let both: Vec<_> = rules.iter().map(|rule| rule.what.clone()).collect();
    let thin = |what: &[Noteworthy]| format!("{}-x", thinned_prefix(mark(what)));
    check(&retention, &[file("a", 4, 4, 1)], Some((&["a"], 2)));
    check(&retention, &[file(&thin(&both), 4, 4, 1)], None);
    let thinned = thin(&both);
    check(&retention, &[file(&thinned, 15, 15, 1)], Some((&[&thinned], 1)));
    check(&retention, &[file(&thin(&both[..1]), 15, 15, 1)], None);
    check(&retention, &[file("a", 31, 31, 1)], Some((&["a"], 0)));
    // Other rules, another look.
    let other = Retention { rules: rules[..1].to_vec(), ..retention };
    check(&other, &[file(&thinned, 4, 4, 1)], Some((&[&thinned], 1)));
}

#[test]
fn the_oldest_hours_go_when_there_is_too_much() {
    let retention = Retention { bytes_max: Some(100), ..Retention::default() };
    let files = [file("new", 0, 0, 60), file("old", 2, 0, 30), file("older", 3, 0, 30)];
    check(&retention, &files, Some((&["older"], 0)));
    check(&retention, &files[..2], None);
    // What is kept for ever stays, but nothing else.
    let trace = Noteworthy::Errors;
    let pinned = vec![RetentionRule { what: trace.clone(), age: None }];
    let retention = Retention { rules: pinned, ..retention };
    check(&retention, &files, Some((&["older"], 1)));
    let thin = format!("{}-x", thinned_prefix(mark(&[trace])));
    let files = [file(&thin, 3, 0, 200), file("new", 0, 0, 60)];
    check(&retention, &files, Some((&["new"], 1)));
    check(&retention, &files[..1], None);
}

#[test]
fn merged_files_keep_a_mark_that_all_had() {
    let thin = |name: &str| file(&format!("{}-{name}", thinned_prefix(7)), 1, 1, 1);
    assert_eq!(common_mark(&[thin("a"), thin("b")]), Some(7));
    assert_eq!(common_mark(&[thin("a"), file("plain", 1, 1, 1)]), None);
    assert_eq!(common_mark(&[file("a", 1, 1, 1), file("b", 1, 1, 1)]), None);
}
