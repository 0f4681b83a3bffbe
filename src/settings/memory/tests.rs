#![expect(clippy::disallowed_methods, reason = "tests write the files of a machine")]

use std::{fs, path::Path};

use tidings_query::QueryLimits;
use tidings_sql::SqlLimits;

use super::{BUDGET_MIN, MemoryFiles, MemoryLimit, SHARES};
use crate::{
    settings::{Origin, Settings, SettingsError, Sources},
    web::Bodies,
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn limit(bytes: u64) -> Option<MemoryLimit> {
    Some(MemoryLimit { bytes, source: "a machine".to_owned() })
}

fn divided(flags: &[(&'static str, &str)], machine: Option<MemoryLimit>) -> Sources {
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let mut sources = Sources::read(None, std::iter::empty(), flags).unwrap();
    sources.divide_memory(machine);
    sources
}

fn settings(flags: &[(&'static str, &str)], bytes: u64) -> Result<Settings, SettingsError> {
    divided(flags, limit(bytes)).settings()
}

/// Returns the sum of the bounds: the memtable, a flush and a merge beside it, requests under way,
/// indexes, metadata, answers, rows that queries gather, bodies at the HTTP address.
fn together(settings: &Settings) -> u64 {
    let queries = QueryLimits::within(settings.memory.unwrap());
    let store = &settings.store;
    store.memory_bytes_max
        + 2 * store.memory_flush_bytes
        + settings.collector.limits.in_flight_bytes_max as u64
        + store.index_memory_bytes_max
        + store.metadata_memory_bytes_max
        + queries.unread_bytes_max
        + queries.running_max as u64 * queries.view_bytes_max
        + Bodies::bytes_max(settings.memory)
}

#[test]
fn a_quarter_of_the_machine_is_divided_and_never_exceeded() {
    for machine in [GIB, 2 * GIB, 3 * GIB + 7, 4 * GIB, 8 * GIB, 16 * GIB, 512 * GIB] {
        let settings = settings(&[], machine).unwrap();
        let budget = settings.memory.unwrap();
        assert_eq!(budget, (machine / 4).max(BUDGET_MIN) / MIB * MIB, "{machine}");
        // The minimum bounds of small machines exceed their shares.
        let (together, least) = (together(&settings), if budget < GIB { 42 * MIB } else { 0 });
        assert!(together <= budget + least, "{machine}: {together} of {budget}");
        assert!(settings.store.memory_flush_bytes <= settings.store.memory_bytes_max);
        let receivers = &settings.collector.limits;
        assert!(receivers.http_body_bytes_max <= receivers.in_flight_bytes_max);
    }
    let workers = |flags, machine| settings(flags, machine).unwrap().sql_limits.running_max;
    assert_eq!([GIB, 2 * GIB, 4 * GIB, 16 * GIB].map(|of| workers(&[], of)), [1, 2, 4, 4]);
    assert_eq!(workers(&[("sql-running-max", "4")], GIB), 4);
    // A small machine starts as well.
    assert_eq!(settings(&[], 256 * MIB).unwrap().memory, Some(BUDGET_MIN));
    assert!(divided(&[], None).settings().unwrap().memory.is_some());
}

#[test]
fn a_large_machine_gets_the_defaults_and_no_more() {
    let (large, plain) = (settings(&[], 64 * GIB).unwrap(), divided(&[], limit(64 * GIB)));
    let store = &large.store;
    assert_eq!((store.memory_flush_bytes, store.memory_bytes_max), (320 * MIB, 560 * MIB));
    assert_eq!(store.index_memory_bytes_max, 256 * MIB);
    assert_eq!(large.collector.limits.in_flight_bytes_max as u64, 256 * MIB);
    for (setting, _, origin) in plain.lines() {
        let is_share = SHARES.iter().any(|(name, _)| *name == setting.name);
        assert!(!is_share || *origin == Origin::Default, "{setting:?} {origin}");
    }
}

#[test]
fn settings_that_are_set_count_and_the_rest_is_divided() {
    let flags = [("memory", "512MiB"), ("index-memory-bytes-max", "1MiB")];
    let settings = settings(&flags, 64 * GIB).unwrap();
    assert_eq!(settings.memory, Some(512 * MIB));
    assert_eq!(settings.store.index_memory_bytes_max, MIB);
    assert_eq!(settings.store.memory_bytes_max, 96 * MIB);
    assert_eq!(settings.store.memory_flush_bytes, 48 * MIB);
    assert_eq!(settings.collector.limits.in_flight_bytes_max as u64, 64 * MIB);
    assert_eq!(settings.sql_limits.memory_bytes_max as u64, 32 * MIB);
    // The other memory bounds of a query in SQL are smaller as well.
    assert!(settings.sql_limits.answer_bytes_max < SqlLimits::default().answer_bytes_max);
    let lines: Vec<String> = divided(&flags, None)
        .lines()
        .map(|(setting, value, origin)| format!("{} {value} {origin}", setting.name))
        .collect();
    for said in [
        "memory 512MiB command line",
        "index-memory-bytes-max 1MiB command line",
        "memory-bytes-max 96MiB 6/32 of memory",
    ] {
        assert!(lines.iter().any(|line| line == said), "{said} in {lines:#?}");
    }
    let measured = divided(&[], limit(3 * GIB));
    let said = measured.lines().find(|(setting, ..)| setting.name == "memory").unwrap();
    assert_eq!((said.1, said.2.to_string().as_str()), ("768MiB", "a quarter of a machine"));
}

#[test]
fn a_budget_that_is_too_small_is_refused_with_the_minimum() {
    for (flags, said) in [
        (&[("memory", "191MiB")][..], "at least 192MiB"),
        (&[("memory", "0")][..], "auto"),
        (&[("memory", "half")][..], "auto"),
        (&[("memory", "192MiB"), ("http-body-bytes-max", "30MiB")][..], "in-flight-bytes-max"),
    ] {
        let refused = settings(flags, 64 * GIB).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

/// The files of a machine with 8 GiB and these control groups.
fn files(own: &str, groups: &[(&str, &str)]) -> (tempfile::TempDir, MemoryFiles) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let at = |name: &str| root.path().join(name);
    write(&at("meminfo"), "MemTotal:        8388608 kB\nMemFree:          100000 kB\n");
    write(&at("own"), own);
    for (path, text) in groups {
        write(&at("cgroup").join(path), text);
    }
    let files =
        MemoryFiles { meminfo: at("meminfo"), own_cgroup: at("own"), cgroups: at("cgroup") };
    (root, files)
}

#[test]
fn the_smallest_limit_of_the_machine_and_its_control_groups_counts() {
    let none = "9223372036854771712\n";
    for (own, groups, expected) in [
        ("", &[][..], 8 * GIB),
        // Version 2: its own group, the one above, none, and the view inside a container.
        ("0::/a/b\n", &[("a/b/memory.max", "1073741824\n"), ("a/memory.max", "max\n")], GIB),
        ("0::/a/b\n", &[("a/b/memory.max", "max\n"), ("a/memory.max", "2147483648")], 2 * GIB),
        ("0::/a/b\n", &[("a/b/memory.max", "max\n")], 8 * GIB),
        ("0::/\n", &[("memory.max", "536870912\n")], 512 * MIB),
        ("0::/../../x\n", &[("memory.max", "536870912\n")], 512 * MIB),
        ("0::/not/here\n", &[("memory.max", "536870912\n")], 512 * MIB),
        // Version 1, and both.
        ("4:cpu:/z\n9:memory:/a\n", &[("memory/a/memory.limit_in_bytes", "3221225472\n")], 3 * GIB),
        ("9:memory:/a\n", &[("memory/a/memory.limit_in_bytes", none)], 8 * GIB),
        ("9:hugetlb,memory:/a\n0::/\n", &[("memory/memory.limit_in_bytes", "1073741824")], GIB),
        // A limit above the machine's memory, and nonsense.
        ("0::/\n", &[("memory.max", "99999999999\n")], 8 * GIB),
        ("0::/\n::\nx\n", &[("memory.max", "-1")], 8 * GIB),
    ] {
        let (_root, files) = files(own, groups);
        assert_eq!(files.limit().unwrap().bytes, expected, "{own:?} {groups:?}");
    }
    let (root, files) = files("", &[]);
    fs::remove_file(root.path().join("meminfo")).unwrap();
    assert_eq!(files.limit(), None);
}
