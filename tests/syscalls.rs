//! The order of system calls: everything acknowledged as durable was synced before.
//!
//! `strace` records the system calls of the server. A model of a disk tells at every moment what a
//! power cut could still lose. A test with simulated disks shows that the store syncs the files it
//! knows. This test shows that libraries between the store and the kernel write nothing that the
//! store does not know.

mod events;
mod model;
mod outside;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message;

use self::{
    events::{Event, Phase, events},
    model::Model,
};
use crate::harness::{
    Server, children_of, has,
    http::{self, call, frame, post},
    output_of,
    spans::{LOGS_EXPORT, TRACE_EXPORT, log, logs, now, span, traces},
    wait_until,
};

const CALLS: &str = "trace=openat,write,writev,pwrite64,pwritev,ftruncate,fallocate,sendto,sendmsg,\
                     fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat";

/// Counts of the checked events of a trace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    acknowledged: usize,
    commits: usize,
    cut_segments: usize,
}

#[test]
fn acknowledged_data_was_synced_before() {
    if !has("strace", "order of system calls") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let begin = now();
    let out = folder.path().join("serve.trace");
    let mut server = Server::start_under(strace(&out), &data, &["--memory-flush-seconds", "1"]);
    let mut sent = 0;
    for round in 1..=2 {
        let before = commits(&data);
        sent += send(&server, begin, round);
        // The second flush after a segment of the write-ahead log removes the segment.
        wait_until("records are flushed", || commits(&data) > before);
    }
    terminate(&mut server);
    let seen = check(&fs::read_to_string(&out).unwrap(), &data);
    assert!(seen.acknowledged >= sent, "{seen:?}");
    assert!(seen.commits >= 4 && seen.cut_segments >= 1, "{seen:?}");
    let out = folder.path().join("compact.trace");
    let mut compact = strace(&out);
    compact.arg(Server::binary()).args(["compact", "--log", "error", "--data-dir"]).arg(&data);
    let compacted = output_of(&mut compact, "");
    let said = String::from_utf8_lossy(&compacted.stderr);
    assert!(compacted.status.success(), "{said}");
    let seen = check(&fs::read_to_string(&out).unwrap(), &data);
    assert_eq!(seen.commits, 2, "{seen:?}");
}

/// Counts the commits of the table that is flushed last.
fn commits(data: &Path) -> usize {
    fs::read_dir(data.join("tables/logs/_delta_log")).unwrap().count()
}

fn strace(out: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-x", "-s", "128", "-e", "signal=none", "-e", CALLS, "-o"]);
    strace.arg(out).arg("--");
    strace
}

/// Sends requests over every protocol, one after the other, and returns their number.
fn send(server: &Server, begin: u64, round: u64) -> usize {
    let mut sent = 0;
    for number in 1..=5 {
        let trace = u128::from(round * 100 + number);
        let mut one = span(trace, 1, 0, "GET /");
        (one.start_time_unix_nano, one.end_time_unix_nano) = (begin, begin + 1);
        let spans = traces("shop", vec![one]).encode_to_vec();
        let mut line = log(trace, 1, "line");
        line.time_unix_nano = begin;
        let records = logs("shop", vec![line]).encode_to_vec();
        for (method, message) in [(TRACE_EXPORT, &spans), (LOGS_EXPORT, &records)] {
            let answer = call(&server.otlp_grpc, method, &[], frame(false, message));
            assert_eq!(answer.code, Some(0), "{}", answer.message);
        }
        for (path, message) in [("/v1/traces", spans), ("/v1/logs", records)] {
            let answer = post(&server.otlp_http, path, "application/x-protobuf", message);
            assert_eq!(answer.status, 200);
        }
        let zipkin = format!(
            r#"[{{"traceId":"{trace:032x}","id":"000000000000000a","timestamp":{},"duration":1}}]"#,
            begin / 1_000
        );
        let headers = [("content-type", "application/json")];
        let answer = http::send("POST", &server.zipkin, "/api/v2/spans", &headers, zipkin);
        assert_eq!(answer.status, 202);
        sent += 5;
    }
    sent
}

/// Sends SIGTERM to the traced program.
fn terminate(server: &mut Server) {
    let traced = children_of(server.pid())[0].to_string();
    assert!(Command::new("kill").arg(traced).status().unwrap().success());
    assert_eq!(server.ended().code(), Some(0));
}

/// Fails when the server relied on something that a power cut could have lost.
fn check(trace: &str, data: &Path) -> Seen {
    let within = |parts: &[&str]| {
        let path: PathBuf = parts.iter().fold(data.to_owned(), |path, part| path.join(part));
        format!("{}/", path.display())
    };
    let (wal, tables) = (within(&["wal"]), within(&["tables"]));
    let (mut model, mut seen) = (Model::default(), Seen::default());
    for event in events(trace) {
        if event.phase == Phase::Begins {
            if is_acknowledgement(&event) {
                seen.acknowledged += 1;
                let risks = model.at_risk(|path| path.starts_with(&wal));
                assert!(risks.is_empty(), "acknowledged by {event:?} before a sync of {risks:?}");
            }
            let paths = event.paths();
            let named = paths.last().filter(|_| event.name.starts_with("link"));
            if let Some(commit) = named.filter(|path| path.ends_with(".json")) {
                seen.commits += 1;
                let table = commit.split_once("_delta_log").unwrap().0;
                let risks =
                    model.at_risk(|path| path.starts_with(table) && !is_unnamed(path, commit));
                assert!(risks.is_empty(), "{commit} was committed before a sync of {risks:?}");
            }
            let removed = paths.first().filter(|_| event.name.starts_with("unlink"));
            if removed.is_some_and(|path| path.starts_with(&wal)) {
                seen.cut_segments += 1;
                let risks = model.at_risk(|path| path.starts_with(&tables) && !path.contains('#'));
                assert!(risks.is_empty(), "{event:?} came before a sync of {risks:?}");
            }
        }
        model.take(&event);
    }
    seen
}

/// Tells whether the file is still being written and therefore need not be durable. The bytes of a
/// commit are the exception: they must be durable before the commit gets its name.
fn is_unnamed(path: &str, commit: &str) -> bool {
    path.contains('#') && !path.starts_with(commit)
}

/// Tells whether the call sends an acknowledgement.
fn is_acknowledgement(event: &Event<'_>) -> bool {
    let Some(bytes) = event.sent() else { return false };
    bytes.starts_with(b"HTTP/1.1 200") || bytes.starts_with(b"HTTP/1.1 202") || has_headers(&bytes)
}

/// Tells whether HTTP/2 frames contain response headers.
fn has_headers(bytes: &[u8]) -> bool {
    const HEADERS: u8 = 1;
    let mut rest = bytes;
    while let [a, b, c, kind, _, _, _, _, _, behind @ ..] = rest {
        if *kind == HEADERS {
            return true;
        }
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        rest = behind.get(length..).unwrap_or_default();
    }
    false
}
