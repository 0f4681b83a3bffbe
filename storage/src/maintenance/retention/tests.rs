use std::{path::PathBuf, sync::Arc, time::Duration};

use tidings_proto::{Signal, UnixNanos};

use super::{
    DataFile, DiskSpace, ExpiredFiles, HOUR_NANOS, Retention, RetentionCondition, RetentionRule,
    RetentionStep, TraceId, common_mark, due, mark, thinned_prefix,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const NOW_HOUR: u64 = 500_000;
const NOW: UnixNanos = UnixNanos(NOW_HOUR * HOUR_NANOS);

/// Makes a file of an hour this many days ago, received this many days ago.
fn file(name: &str, days: u64, received_days: u64, bytes: u64) -> Arc<DataFile> {
    let hour = NOW_HOUR - days * 24 - 1;
    let start = UnixNanos(hour * HOUR_NANOS);
    let path = PathBuf::from(format!("/t/hour={hour}/{name}.parquet"));
    let received_max = UnixNanos(NOW.0 - received_days * 24 * HOUR_NANOS);
    let file = DataFile::new(path, hour.cast_signed(), 1, bytes, start, start);
    Arc::new(DataFile { received_max, ..file })
}

fn sorted<'a>(files: impl IntoIterator<Item = &'a Arc<DataFile>>) -> Vec<String> {
    let name = |file: &Arc<DataFile>| file.path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = files.into_iter().map(name).collect();
    names.sort_unstable();
    names
}

fn plenty() -> DiskSpace {
    DiskSpace::new(u64::MAX, 0, false)
}

fn none(_: &DataFile) -> Option<Vec<TraceId>> {
    Some(Vec::new())
}

/// Checks the files that are due and the number of conditions that keep rows of them.
fn check(retention: &Retention, files: &[Arc<DataFile>], expected: Option<(&[&str], usize)>) {
    let due = check_pinned(retention, files, &none);
    let found = match &due {
        RetentionStep::Retire(ExpiredFiles { files, kept, .. }) => {
            Some((sorted(files), kept.len()))
        }
        RetentionStep::Nothing => None,
        RetentionStep::Look(_) => panic!("{due:?}"),
    };
    let expected = expected.map(|(names, kept)| {
        (names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), kept)
    });
    assert_eq!(found, expected);
}

fn check_pinned(
    retention: &Retention,
    files: &[Arc<DataFile>],
    pinned: &super::PinnedIn<'_>,
) -> RetentionStep {
    let tables = [(Signal::Spans, files.to_vec()), (Signal::Logs, Vec::new())];
    due(retention, &tables, NOW, true, pinned, &mut plenty())
}

#[test]
fn a_file_goes_when_both_its_hour_and_its_arrival_are_old() {
    let retention = Retention { age: Some(3 * DAY), ..Retention::default() };
    let files = [file("new", 0, 0, 1), file("imported", 900, 1, 1), file("edge", 3, 3, 1)];
    check(&retention, &files, Some((&["edge"], 0)));
    check(&retention, &files[..2], None);
    check(&Retention::default(), &[file("old", 900, 900, 1)], None);
    let tables = [(Signal::Spans, files.to_vec())];
    assert_eq!(due(&retention, &tables, NOW, false, &none, &mut plenty()), RetentionStep::Nothing);
}

#[test]
fn rules_thin_an_hour_once_per_age() {
    let rule = |condition, age| RetentionRule { condition, age };
    let rules = vec![
        rule(RetentionCondition::Errors, Some(30 * DAY)),
        rule(RetentionCondition::Service("pay".to_owned()), Some(14 * DAY)),
    ];
    let retention = Retention { age: Some(3 * DAY), rules: rules.clone(), bytes_max: None };
    let both: Vec<_> = rules.iter().map(|rule| rule.condition.clone()).collect();
    let thin = |what: &[RetentionCondition]| format!("{}-x", thinned_prefix(mark(what)));
    check(&retention, &[file("a", 4, 4, 1)], Some((&["a"], 2)));
    check(&retention, &[file(&thin(&both), 4, 4, 1)], None);
    let thinned = thin(&both);
    check(&retention, &[file(&thinned, 15, 15, 1)], Some((&[&thinned], 1)));
    check(&retention, &[file(&thin(&both[..1]), 15, 15, 1)], None);
    check(&retention, &[file("a", 31, 31, 1)], Some((&["a"], 0)));
    // Other rules make the files due again.
    let other = Retention { rules: rules[..1].to_vec(), ..retention };
    check(&other, &[file(&thinned, 4, 4, 1)], Some((&[&thinned], 1)));
}

#[test]
fn the_oldest_hours_go_when_there_is_too_much() {
    let retention = Retention { bytes_max: Some(100), ..Retention::default() };
    let files = [file("new", 0, 0, 60), file("old", 2, 0, 30), file("older", 3, 0, 30)];
    check(&retention, &files, Some((&["older"], 0)));
    check(&retention, &files[..2], None);
    // Rows that are kept for good stay, and all others are removed.
    let trace = RetentionCondition::Errors;
    let pinned = vec![RetentionRule { condition: trace.clone(), age: None }];
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

#[test]
fn only_files_with_pinned_traces_are_written_again() {
    let trace = TraceId::from_wire(&7_u128.to_be_bytes()).unwrap();
    let kept = [RetentionCondition::Trace(trace)];
    let thin = format!("{}-x", thinned_prefix(mark(&kept)));
    let pinned = |file: &DataFile| {
        let has = file.path.to_str().unwrap().contains("with") || file.bytes == 77;
        Some(if has { vec![trace] } else { Vec::new() })
    };
    let by_age = Retention { age: Some(3 * DAY), ..Retention::default() };
    let by_size = Retention { bytes_max: Some(10), ..Retention::default() };
    for retention in [&by_age, &by_size] {
        let files = [file("with", 5, 5, 30), file("other", 5, 5, 30)];
        // Files that are removed whole come first.
        let RetentionStep::Retire(retired) = check_pinned(retention, &files, &pinned) else {
            panic!()
        };
        assert_eq!((sorted(&retired.files), retired.kept.len()), (vec!["other".to_owned()], 0));
        let RetentionStep::Retire(retired) = check_pinned(retention, &files[..1], &pinned) else {
            panic!()
        };
        assert_eq!(
            (sorted(&retired.files), &retired.kept[..]),
            (vec!["with".to_owned()], &kept[..])
        );
        // A thinned file is not due again until the trace is unpinned.
        let files = [file(&thin, 5, 5, 77)];
        assert_eq!(check_pinned(retention, &files, &pinned), RetentionStep::Nothing);
        let RetentionStep::Retire(retired) = check_pinned(retention, &files, &none) else {
            panic!()
        };
        assert_eq!((sorted(&retired.files), retired.kept.len()), (vec![thin.clone()], 0));
    }
}

#[test]
fn files_that_nobody_looked_into_are_not_decided_about() {
    let unknown = |file: &DataFile| (!file.path.ends_with("b.parquet")).then(Vec::new);
    let by_age = Retention { age: Some(3 * DAY), ..Retention::default() };
    let by_size = Retention { bytes_max: Some(10), ..Retention::default() };
    for retention in [by_age, by_size] {
        let files = [file("a", 5, 5, 30), file("b", 5, 5, 30), file("new", 0, 0, 5)];
        let due = check_pinned(&retention, &files, &unknown);
        let RetentionStep::Look(files) = due else { panic!("{due:?}") };
        assert_eq!(sorted(files.iter().map(|(_, file)| file)), ["b"]);
    }
}

#[test]
fn a_trace_that_a_rule_names_and_somebody_pinned_is_kept_once() {
    let trace = TraceId::from_wire(&7_u128.to_be_bytes()).unwrap();
    let rule = RetentionRule { condition: RetentionCondition::Trace(trace), age: None };
    let retention = Retention { age: Some(3 * DAY), rules: vec![rule], bytes_max: None };
    let thin = format!("{}-x", thinned_prefix(mark(&[RetentionCondition::Trace(trace)])));
    let files = [file(&thin, 5, 5, 1)];
    assert_eq!(check_pinned(&retention, &files, &|_| Some(vec![trace])), RetentionStep::Nothing);
}

#[test]
fn files_too_large_to_rewrite_do_not_block_other_expired_files() {
    let rules = vec![RetentionRule { condition: RetentionCondition::Errors, age: Some(9 * DAY) }];
    let retention = Retention { age: Some(3 * DAY), rules, bytes_max: None };
    let tables = |files: Vec<_>| [(Signal::Spans, files)];
    let files = vec![file("large", 5, 5, 900), file("small", 4, 4, 50), file("smaller", 4, 4, 40)];
    let due_with = |free, files| {
        let mut room = DiskSpace::new(free, 10, false);
        let due = due(&retention, &tables(files), NOW, true, &none, &mut room);
        let RetentionStep::Retire(ExpiredFiles { files, kept, .. }) = due else {
            return (vec![], 0, room);
        };
        (sorted(&files), kept.len(), room)
    };
    // The oldest hour comes first, then as many files of another as there is space for.
    for (free, expected, waiting) in [
        (1355, vec!["large"], None),
        (1354, vec!["small", "smaller"], Some((1, 900))),
        (139, vec!["smaller"], Some((1, 900))),
        (64, vec![], Some((3, 990))),
    ] {
        let (found, _, room) = due_with(free, files.clone());
        assert_eq!(found, expected, "{free}");
        let waits = room.waiting().map(|waiting| (waiting.files, waiting.bytes));
        assert_eq!(waits, waiting, "{free}");
    }
    // Files that are removed whole need no space.
    let old = [files.clone(), vec![file("old", 20, 20, 1000)]].concat();
    let (found, kept, _) = due_with(0, old.clone());
    assert_eq!((found, kept), (vec!["old".to_owned()], 0));

    // The same holds when the tables are too large.
    let small = Retention { age: None, bytes_max: Some(1000), ..retention };
    let pinned = |file: &DataFile| {
        let is_pinned = file.path.ends_with("old.parquet");
        Some(if is_pinned { vec![TraceId::from_wire(&[1; 16]).unwrap()] } else { vec![] })
    };
    for (free, expected) in [(10_000, "old"), (0, "large")] {
        let mut room = DiskSpace::new(free, 10, false);
        let due = due(&small, &tables(old.clone()), NOW, true, &pinned, &mut room);
        let RetentionStep::Retire(retired) = due else { panic!("{due:?}") };
        assert_eq!(sorted(&retired.files), [expected]);
    }
}

#[test]
fn the_smallest_file_is_thinned_on_a_disk_that_senders_filled() {
    const RESERVE: u64 = 1000;
    let rules = vec![RetentionRule { condition: RetentionCondition::Errors, age: None }];
    let by_age = Retention { age: Some(3 * DAY), rules: rules.clone(), bytes_max: None };
    let by_size = Retention { age: None, rules, bytes_max: Some(1) };
    let files = [file("large", 5, 5, 900), file("small", 5, 5, 300), file("larger", 4, 4, 2000)];
    for retention in [by_age, by_size] {
        let mut room = DiskSpace::new(RESERVE - 1, RESERVE, false);
        let tables = [(Signal::Logs, Vec::new()), (Signal::Spans, files.to_vec())];
        let due = due(&retention, &tables, NOW, true, &none, &mut room);
        let RetentionStep::Retire(retired) = due else { panic!("{due:?}") };
        assert_eq!((sorted(&retired.files), retired.kept.len()), (vec!["small".to_owned()], 1));
    }
}
