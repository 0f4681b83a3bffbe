//! Tests `tidings backup` beside a server under load, and `tidings restore` into another directory.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use prost::Message;

use crate::harness::{
    AtEnd, Server,
    http::try_send,
    spans::{span, traces},
    wait_until,
};

/// Spans of one request. They form one trace.
const SPANS: u64 = 20;
/// Minimum number of requests that are acknowledged before the backup begins.
const BEFORE: u64 = 300;

/// Returns every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn command(args: &[&str]) -> (Option<i32>, String, String) {
    Server::command(args)
}

fn back_up(data: &Path, place: &Path) {
    let (data, place) = (data.to_str().unwrap(), place.to_str().unwrap());
    let (code, out, error) = command(&["backup", "--data-dir", data, "--to", place]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("backup   2"), "{out}");
}

/// Sends traces from number 1 on until it is stopped. It counts the acknowledged ones, which have
/// no gap.
fn send(address: String, acknowledged: &AtomicU64, stop: &AtomicBool) {
    for trace in 1.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let spans = (1..=SPANS).map(|id| span(trace.into(), id, 0, "work")).collect();
        let body = traces("shop", spans).encode_to_vec();
        let headers = [("content-type", "application/x-protobuf")];
        let sent = try_send("POST", &address, "/v1/traces", &headers, body);
        match sent.map(|answer| answer.status) {
            Ok(200) => acknowledged.store(trace, Ordering::Release),
            other => panic!("trace {trace}: {other:?}"),
        }
    }
}

/// Returns the number of spans of a trace.
fn spans_of(server: &Server, trace: u64) -> usize {
    let (status, json) = server.get(&format!("/api/v1/traces/{trace:032x}/otlp"));
    if status == 404 {
        return 0;
    }
    assert_eq!(status, 200, "{json}");
    let list =
        |json: &serde_json::Value, key: &str| json[key].as_array().cloned().unwrap_or_default();
    let scopes = list(&json, "resourceSpans").into_iter().flat_map(|it| list(&it, "scopeSpans"));
    scopes.map(|scope| list(&scope, "spans").len()).sum()
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let [data, place, elsewhere] =
        ["data", "place", "elsewhere"].map(|name| folder.path().join(name));
    let flags = ["--memory-flush-seconds", "1", "--wal-segment-bytes", "64KiB"];
    let mut server = Server::start_in(&data, &flags);
    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let client = {
        let (address, acknowledged) = (server.otlp_http.clone(), Arc::clone(&acknowledged));
        let stop = Arc::clone(&stop);
        thread::spawn(move || send(address, &acknowledged, &stop))
    };
    let mut before = 0;
    for round in 1..=2 {
        wait_until("enough is acknowledged", || {
            acknowledged.load(Ordering::Acquire) >= round * BEFORE
        });
        before = acknowledged.load(Ordering::Acquire);
        back_up(&data, &place);
    }
    stop.store(true, Ordering::Release);
    client.join().unwrap();
    let all = acknowledged.load(Ordering::Acquire);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (code, _, error) =
        command(&["restore", "--from", &text(&place), "--data-dir", &text(&elsewhere)]);
    assert_eq!(code, Some(0), "{error}");
    let restored = Server::start_in(&elsewhere, &flags);
    let mut last = 0;
    for trace in 1..=all + 1 {
        let found = spans_of(&restored, trace);
        assert!(found == 20 || found == 0 && trace > before, "trace {trace} of {before}: {found}");
        // The backup holds a prefix of the sent traces.
        assert!(found == 0 || last == trace - 1, "trace {trace} without {}", last + 1);
        last = if found > 0 { trace } else { last };
    }
    println!("{before} before the backup, {last} in it, {all} at the end");
    let stored = restored.get("/api/v1/status").1["spans"]["stored"].as_u64();
    assert_eq!(stored, Some(last * SPANS), "a row is there twice");

    // No data arrives any more, so the next backup has little to copy.
    assert!(server.terminate().success());
    back_up(&data, &place);
    let size = bytes(&place);
    back_up(&data, &place);
    let grown = bytes(&place) - size;
    assert!(grown * 10 < size, "{grown} bytes more than {size}");
    for path in files(&place) {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_damaged_backup_is_refused_by_name_and_kept_backups_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [data, place, elsewhere] =
        ["data", "place", "elsewhere"].map(|name| folder.path().join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (data, at, to) = (text(&data), text(&place), text(&elsewhere));
    let acknowledged = AtomicU64::new(0);
    let mut server = Server::start_in(Path::new(&data), &[]);
    let address = server.otlp_http.clone();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (stop, acknowledged) = (&stop, &acknowledged);
        let _at_end = AtEnd(stop);
        scope.spawn(move || send(address, acknowledged, stop));
        wait_until("some is acknowledged", || acknowledged.load(Ordering::Acquire) >= 5);
    });
    assert!(server.terminate().success());
    for _ in 0..3 {
        let (code, _, error) =
            command(&["backup", "--data-dir", &data, "--to", &at, "--keep", "2"]);
        assert_eq!(code, Some(0), "{error}");
    }
    let (code, list, _) = command(&["backup", "list", "--from", &at]);
    assert_eq!((code, list.lines().count()), (Some(0), 3), "{list}");
    let (code, out, _) = command(&["restore", "--from", &at, "--verify"]);
    assert!(code == Some(0) && out.ends_with("all is well\n"), "{out}");

    let damaged =
        files(&place).into_iter().find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let damaged = damaged.unwrap();
    let mut content = fs::read(&damaged).unwrap();
    content[10] ^= 1;
    fs::write(&damaged, content).unwrap();
    let name = text(&damaged);
    let (code, out, error) = command(&["restore", "--from", &at, "--verify"]);
    assert!(
        code == Some(1) && out.starts_with(&name) && error.contains("1 findings"),
        "{out} {error}"
    );
    let (code, _, error) = command(&["restore", "--from", &at, "--data-dir", &to]);
    assert!(code == Some(74) && error.contains(&name), "{error}");
    // The folder of a failed restore takes no second restore, and no server opens it.
    let (code, _, error) = command(&["restore", "--from", &at, "--data-dir", &to]);
    assert!(code == Some(78) && error.contains("not empty"), "{error}");
    let (code, out, error) = Server::refused(Path::new(&to), &[]);
    assert_ne!(code, Some(0));
    assert!(format!("{out}{error}").contains("did not end"), "{error}");
    for (args, words) in [
        (["--from", "http://x/y"], "neither a folder nor an address"),
        (["--from", "/no/such/folder"], "there are no backups in there"),
    ] {
        let (code, _, error) = command(&[&["restore", "--data-dir", &data], &args[..]].concat());
        assert!(code != Some(0) && error.contains(words), "{error}");
    }
}
