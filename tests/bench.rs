//! The harness that measures: little data through everything it does, no figures looked at.

use std::{path::Path, time::Duration};

use tidings_bench::{Options, measure};

#[test]
fn measuring_goes_from_sending_to_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let report = measure(&Options {
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
