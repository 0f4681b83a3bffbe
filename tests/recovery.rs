//! A write-ahead log that the disk cannot read, and commits that are damaged or missing: the
//! messages of the process, its exit, and the recovery.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message;

use crate::harness::{
    FREE_PORT, Server, children_of, has,
    http::{get, post},
    listeners_at, output_of,
    spans::{span, traces},
};

/// Runs a program whose reads of a file fail with an error.
fn unreadable(path: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64"]);
    strace.args(["-e", "inject=pread64:error=EIO", "-P"]).arg(path).arg("--");
    strace
}

fn send(server: &Server, trace: u128) {
    let request = traces("shop", vec![span(trace, 1, 0, "GET /")]).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", request);
    assert_eq!(answer.status, 200);
}

fn status(server: &Server, trace: u128) -> u16 {
    server.get(&format!("/api/v1/traces/{trace:032x}")).0
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = entries.collect();
    segments.sort();
    segments
}

/// Sends SIGTERM to the child of the started program.
fn terminate(server: &mut Server) {
    let children = children_of(server.pid()).into_iter().map(|pid| pid.to_string());
    let killed = Command::new("kill").args(children).status().unwrap();
    assert!(killed.success());
    assert!(server.ended().success());
}

#[test]
fn a_segment_that_cannot_be_read_ends_the_start_with_74_until_it_may_be_set_aside() {
    if !has("strace", "a segment that cannot be read") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for trace in 1..=2 {
        let mut server = Server::start_in(&data, &[]);
        send(&server, trace);
        server.kill();
    }
    let victim = segments(&data).remove(0);

    let mut refused = unreadable(&victim);
    refused.arg(Server::binary()).args(["serve", "--log", "off", "--data-dir"]).arg(&data);
    refused.args(listeners_at(FREE_PORT));
    let before = segments(&data);
    let ended = output_of(&mut refused, "");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(74), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in [&*victim.to_string_lossy(), "at byte 0", "tidings serve --recover"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(segments(&data), before);

    let mut server =
        Server::start_under(unreadable(&victim), &data, &["--recover", "--log", "off"]);
    assert_eq!([1, 2].map(|trace| status(&server, trace)), [404, 200]);
    let aside = data.join("quarantine").join(victim.file_name().unwrap());
    assert!(aside.exists() && !victim.exists());
    let ready = get(&server.http, "/ready");
    let ready = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(ready.contains(&*aside.to_string_lossy()), "{ready}");
    send(&server, 3);
    terminate(&mut server);
    // The next start needs no flag.
    let mut server = Server::start_in(&data, &[]);
    assert_eq!([1, 2, 3].map(|trace| status(&server, trace)), [404, 200, 200]);
    assert_eq!(server.terminate().code(), Some(0));
}

/// Runs a server that does not start. Returns its exit code and its last messages.
fn refusal(data: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let (code, _, said) = Server::refused(data, &[&["--log", "off"][..], flags].concat());
    assert_eq!(said.lines().count(), 1, "{said}");
    (code, said)
}

#[test]
fn a_damaged_commit_keeps_no_server_shut_and_lost_commits_end_the_start_with_74() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for trace in 1..=3 {
        let mut server = Server::start_in(&data, &[]);
        send(&server, trace);
        assert_eq!(server.terminate().code(), Some(0));
    }
    let log = data.join("tables/spans/_delta_log");
    // The first commit creates the table, so the test damages a later one.
    let commit = log.join(format!("{:020}.json", 2));
    let sound = fs::read(&commit).unwrap();
    let mut damaged = sound.clone();
    let key = sound.windows(9).position(|part| part == b"minValues").unwrap();
    damaged[key] ^= 1;
    fs::write(&commit, &damaged).unwrap();
    for (flags, next) in [(&["--log", "off"][..], 4), (&["--log", "off", "--recover"], 5)] {
        let mut server = Server::start_in(&data, flags);
        assert_eq!([1, 3].map(|trace| status(&server, trace)), [200; 2]);
        let ready = String::from_utf8(get(&server.http, "/ready").body.to_vec()).unwrap();
        assert!(ready.contains(&*commit.to_string_lossy()), "{ready}");
        send(&server, next);
        assert_eq!(server.terminate().code(), Some(0));
    }
    fs::write(&commit, &sound).unwrap();
    let all = |server: &Server| [1, 2, 3, 4, 5].map(|trace| status(server, trace));
    let mut server = Server::start_in(&data, &[]);
    assert_eq!(all(&server), [200; 5]);
    assert_eq!(server.terminate().code(), Some(0));

    let aside = folder.path().join("aside");
    fs::rename(&log, &aside).unwrap();
    for flags in [&[][..], &["--recover"]] {
        let (code, said) = refusal(&data, flags);
        assert_eq!(code, Some(74), "{said}");
        for part in [&*log.to_string_lossy(), "it has no commit", "restore the folder"] {
            assert!(said.contains(part), "{said}");
        }
    }
    fs::remove_dir(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    let mut server = Server::start_in(&data, &[]);
    assert_eq!(all(&server), [200; 5]);
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn missing_last_commits_are_detected_by_the_check_and_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for trace in 1..=2 {
        let mut server = Server::start_in(&data, &[]);
        send(&server, trace);
        assert_eq!(server.terminate().code(), Some(0));
    }
    // An erasure removes the rows from the write-ahead log too.
    let id = format!("{:032x}", 9);
    let erased = Server::command(&["erase", "--data-dir", data.to_str().unwrap(), "--trace", &id]);
    assert_eq!(erased.0, Some(0), "{}", erased.2);
    let log = data.join("tables/spans/_delta_log");
    let commit = log.join(format!("{:020}.json", 2));
    let aside = folder.path().join("aside");
    fs::rename(&commit, &aside).unwrap();
    let check = || Server::command(&["check", data.to_str().unwrap()]);
    let (code, found, _) = check();
    assert!(code == Some(1) && found.contains(&*commit.to_string_lossy()), "{found}");

    let mut server = Server::start_in(&data, &["--log", "off"]);
    assert_eq!([1, 2].map(|trace| status(&server, trace)), [200, 404]);
    let ready = String::from_utf8(get(&server.http, "/ready").body.to_vec()).unwrap();
    assert!(ready.contains(&*commit.to_string_lossy()), "{ready}");
    // A backup would lack the rows without a warning, so it is refused.
    let to = folder.path().join("backup");
    let [from, to] = [&data, &to].map(|path| path.to_str().unwrap());
    let (code, _, said) = Server::command(&["backup", "--data-dir", from, "--to", to]);
    assert!(code != Some(0) && said.contains(&*commit.to_string_lossy()), "{code:?} {said}");
    send(&server, 3);
    assert_eq!(server.terminate().code(), Some(0));

    fs::rename(&aside, &commit).unwrap();
    let mut server = Server::start_in(&data, &[]);
    assert_eq!([1, 2, 3].map(|trace| status(&server, trace)), [200; 3]);
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(check().0, Some(0));

    // A missing table directory is replaced by a new table only with the flag `--recover`.
    fs::rename(data.join("tables/spans"), &aside).unwrap();
    let mut server = Server::start_in(&data, &["--log", "off"]);
    let ready = String::from_utf8(get(&server.http, "/ready").body.to_vec()).unwrap();
    assert!(ready.contains("tidings serve --recover"), "{ready}");
    send(&server, 4);
    assert_eq!(server.terminate().code(), Some(0));
    for flags in [&["--log", "off", "--recover"][..], &["--log", "off"]] {
        let mut server = Server::start_in(&data, flags);
        assert_eq!([1, 4].map(|trace| status(&server, trace)), [404, 200]);
        assert_eq!(server.terminate().code(), Some(0));
    }
    assert_eq!(check().0, Some(0));
}
