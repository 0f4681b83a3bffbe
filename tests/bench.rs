//! Tests the benchmark harness with little data. No test looks at the measured numbers.

use std::{path::Path, time::Duration};

use tidings_bench::{
    KeysOptions, LogsOptions, PeersOptions, QueryOptions, StorageOptions, measure, measure_keys,
    measure_logs, measure_peers, measure_queries,
};

#[test]
fn measuring_goes_from_sending_to_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure(&StorageOptions {
        server: Path::new(env!("CARGO_BIN_EXE_tidings")).to_owned(),
        folder: folder.path().to_owned(),
        spans: vec![1_500],
        rounds: 2,
        costs_only: false,
        corpus_spans: 1_000,
        seed: 7,
        half_load: Duration::from_millis(300),
        longest: Duration::from_secs(120),
        questions: 20,
    })
    .unwrap();
    let table = report.markdown();
    for measured in ["acknowledged and queryable", "bytes per span on disk", "trace by id", "J10"] {
        assert!(table.contains(measured), "{table}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn keys_and_tls_are_measured_beside_a_server_without() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure_keys(&KeysOptions {
        server: Path::new(env!("CARGO_BIN_EXE_tidings")).to_owned(),
        folder: folder.path().to_owned(),
        spans: 3_000,
        rounds: 2,
        corpus_spans: 1_000,
        seed: 7,
        longest: Duration::from_secs(120),
    })
    .unwrap();
    let table = report.markdown();
    let ratios = table.lines().find(|line| line.contains("ratio to no keys")).unwrap();
    assert!(ratios.contains("1.000 (95 % within 1.000 to 1.000; "), "{table}");
    assert!(table.contains("| no keys | keys | keys over TLS |"), "{table}");
}

#[test]
fn log_records_are_measured_from_sending_to_every_question() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure_logs(&LogsOptions {
        server: Path::new(env!("CARGO_BIN_EXE_tidings")).to_owned(),
        victoria_logs: None,
        folder: folder.path().to_owned(),
        records: vec![6_000],
        window: Duration::from_secs(7200),
        seed: 7,
        longest: Duration::from_secs(120),
        patience: Duration::from_secs(60),
        repeats: 1,
    })
    .unwrap();
    let table = report.markdown();
    for measured in ["all in, compacted", "bytes per record on disk", "a phrase", "patterns"] {
        assert!(table.contains(measured), "{table}");
    }
    assert!(table.contains("| Tidings, 6 k |"), "{table}");
    for short in ["status ", "no answer", "partial"] {
        assert!(!table.contains(short), "{table}");
    }
}

#[test]
fn questions_are_measured_and_measured_again_without_sending() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = QueryOptions {
        server: Path::new(env!("CARGO_BIN_EXE_tidings")).to_owned(),
        folder: folder.path().to_owned(),
        spans: vec![6_000],
        window: Duration::from_secs(7200),
        keep: true,
        only: None,
        corpus_spans: 2_000,
        seed: 7,
        longest: Duration::from_secs(120),
        patience: Duration::from_secs(2),
        repeats: 1,
    };
    let table = measure_queries(&options).unwrap().markdown();
    for asked in ["newest 20 of a service", "transaction types", "RED", "explain", "SQL"] {
        let line = table.lines().find(|line| line.contains(asked)).unwrap();
        assert!(line.contains("rows"), "{line}");
    }
    assert!(!table.contains("status ") && !table.contains("of a part"), "{table}");
    options.only = Some("heatmap".to_owned());
    let table = measure_queries(&options).unwrap().markdown();
    assert!(table.contains("heatmap") && !table.contains("explain"), "{table}");
    // Answers are checked, so telemetry of another seed is detected.
    options.seed = 8;
    assert!(measure_queries(&options).unwrap_err().to_string().contains("other telemetry"));
}

#[test]
fn the_server_is_measured_by_what_other_systems_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = PeersOptions {
        programs: [("server".to_owned(), Path::new(env!("CARGO_BIN_EXE_tidings")).to_owned())]
            .into(),
        folder: folder.path().to_owned(),
        spans: 1_500,
        rounds: 2,
        corpus_spans: 1_000,
        seed: 7,
        longest: Duration::from_secs(120),
        rest: false,
    };
    let table = measure_peers(&options).unwrap().markdown();
    for measured in
        ["all in", "(1.00×)", "trace by id, Jaeger's", "newest 20 of a service, Tempo's"]
    {
        assert!(table.contains(measured), "{table}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    // The error for a program that is not the expected one quotes its output.
    let other = || Path::new("/bin/echo").to_owned();
    options.programs = [("tempo".to_owned(), other())].into();
    let error = format!("{:#}", measure_peers(&options).unwrap_err());
    assert!(error.contains("tempo: it is not ready: -config.file="), "{error}");
}
