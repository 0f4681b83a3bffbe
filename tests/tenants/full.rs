//! A tenant whose memtables or log are full, because they cannot be flushed, does not affect the
//! others. All tenants share the disk, and a full disk loses nothing that was acknowledged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{PROTOBUF, bearer, json, text};
use crate::{
    harness::{
        Server,
        http::{Answer, call, frame, send},
        spans::TRACE_EXPORT,
        wait_until,
    },
    keys::{REQUIRED, key},
    limits::{SmallDisk, large},
};

const BYTES: usize = 200 << 10;
/// Number of requests of `BYTES` bytes that exceeds the room of a tenant here.
const REQUESTS_MAX: u128 = 400;
/// Traces that are sent before and after those that fill a tenant.
const FIRST: u128 = 1 << 40;
const LAST: u128 = 1 << 41;
/// Flags with a small maximum size of requests, so that the memory suffices for several tenants.
const REQUEST: [&str; 4] =
    ["--http-body-bytes-max", "1MiB", "--otlp-grpc-message-bytes-max", "1MiB"];

/// The keys of a tenant's sender and reader, and the acknowledged traces.
struct Tenant {
    sender: String,
    reader: String,
    acknowledged: Vec<u128>,
}

impl Tenant {
    fn new(server: &Server, name: &str) -> Self {
        let make =
            |role: &str| bearer(&key(server, &format!("{name}-{role}"), role, &["--tenant", name]));
        Self { sender: make("ingest"), reader: make("read"), acknowledged: Vec::new() }
    }

    fn send(&mut self, server: &Server, trace: u128) -> Answer {
        let headers = [("content-type", PROTOBUF), ("authorization", self.sender.as_str())];
        let sent = send("POST", &server.otlp_http, "/v1/traces", &headers, large(trace, BYTES));
        if sent.status == 200 {
            self.acknowledged.push(trace);
        }
        sent
    }

    /// Sends until a request is refused for this reason.
    fn fill(&mut self, server: &Server, reason: &str) {
        let is_reason = |sent: &Answer| text(sent).contains(reason);
        let refusals = (1..REQUESTS_MAX).map(|trace| self.send(server, trace));
        let mut refusals = refusals.filter(|sent| sent.status != 200);
        let refusal = refusals.find(is_reason).expect("it does not get full");
        assert_eq!(refusal.status, 503, "{}", text(&refusal));
        assert!(refusal.headers.contains_key("retry-after"), "{}", text(&refusal));
        assert!(!self.acknowledged.is_empty());
    }

    /// Sends a trace until it is accepted.
    fn insist(&mut self, server: &Server, trace: u128) {
        wait_until("a request is accepted", || self.send(server, trace).status == 200);
    }

    /// Checks that gRPC refuses a request as well, with a retry delay.
    fn check_refused(&self, server: &Server) {
        let headers = [("authorization", self.sender.as_str())];
        let body = frame(false, &large(REQUESTS_MAX, BYTES));
        let called = call(&server.otlp_grpc, TRACE_EXPORT, &headers, body);
        assert_eq!(called.code, Some(14), "{called:?}");
        assert!(called.retry_delay().is_some(), "{called:?}");
    }

    /// Checks that exactly the acknowledged traces are stored.
    fn check(&self, server: &Server) {
        let headers = [("authorization", self.reader.as_str())];
        let ask = |path: &str| send("GET", &server.http, path, &headers, "");
        for trace in &self.acknowledged {
            let found = ask(&format!("/api/v1/traces/{trace:032x}"));
            assert_eq!(found.status, 200, "{trace}: {}", text(&found));
        }
        let status = json(&ask("/api/v1/status"));
        assert_eq!(status["spans"]["stored"], self.acknowledged.len(), "{status}");
    }
}

/// The directory of a tenant's spans, moved aside so that no flush succeeds.
struct Misplaced {
    place: PathBuf,
    aside: PathBuf,
}

impl Misplaced {
    fn of_spans(data: &Path, tenant: &str) -> Self {
        let tables = data.join("tenants").join(tenant).join("tables");
        let (place, aside) = (tables.join("spans"), tables.join("aside"));
        fs::rename(&place, &aside).unwrap();
        fs::write(&place, "no folder").unwrap();
        Self { place, aside }
    }

    fn put_back(self) {
        fs::remove_file(&self.place).unwrap();
        fs::rename(&self.aside, &self.place).unwrap();
    }
}

/// Checks that a tenant that cannot be flushed becomes full with these limits, and that another one
/// continues.
fn check_that_others_go_on(bounds: &[&str], reason: &str) {
    let server = Server::start_with(&[&REQUIRED[..], &REQUEST, bounds, &["--log", "off"]].concat());
    let [mut alfa, mut bravo] = ["alfa", "bravo"].map(|name| Tenant::new(&server, name));
    assert_eq!(alfa.send(&server, FIRST).status, 200);
    let misplaced = Misplaced::of_spans(server.data_dir(), "alfa");
    alfa.fill(&server, reason);
    alfa.check_refused(&server);
    // The other tenant sends half of what fits, so that it needs no flush.
    for trace in 1..=alfa.acknowledged.len() as u128 / 2 {
        let sent = bravo.send(&server, trace);
        assert_eq!(sent.status, 200, "{}", text(&sent));
        assert_eq!(alfa.send(&server, REQUESTS_MAX + trace).status, 503, "it is full still");
    }
    alfa.check(&server);
    bravo.check(&server);
    misplaced.put_back();
    alfa.insist(&server, LAST);
    let server = server.restart();
    alfa.check(&server);
    bravo.check(&server);
}

#[test]
fn a_tenant_whose_memory_is_full_leaves_the_others_alone() {
    let bounds = ["--memory-bytes-max", "12MiB", "--memory-flush-bytes", "6MiB"];
    check_that_others_go_on(&bounds, "the memtable is full");
}

#[test]
fn a_tenant_whose_log_is_full_leaves_the_others_alone() {
    let bounds = ["--wal-bytes-max", "4MiB", "--wal-segment-bytes", "1MiB"];
    check_that_others_go_on(&bounds, "the write-ahead log is full");
}

#[test]
fn a_disk_that_one_tenant_fills_loses_nothing_of_another() {
    let Some(disk) = SmallDisk::new(40 << 20) else { return };
    let ballast = disk.ballast(18 << 20);
    let bounds = ["--disk-reserve-bytes", "8MiB", "--wal-segment-bytes", "1MiB", "--log", "off"];
    let memory = ["--memory-bytes-max", "12MiB", "--memory-flush-bytes", "6MiB"];
    let flags = [&REQUIRED[..], &REQUEST, &bounds, &memory].concat();
    let server = Server::start_in(&disk.data(), &flags);
    let [mut alfa, mut bravo] = ["alfa", "bravo"].map(|name| Tenant::new(&server, name));
    assert_eq!(bravo.send(&server, FIRST).status, 200);
    alfa.fill(&server, "bytes free on disk");
    // A flush may have freed memory meanwhile, so both answers are possible.
    let sent = bravo.send(&server, 1);
    let is_refused = sent.status == 503 && sent.headers.contains_key("retry-after");
    assert!(sent.status == 200 || is_refused, "{}", text(&sent));
    alfa.check(&server);
    bravo.check(&server);
    fs::remove_file(ballast).unwrap();
    alfa.insist(&server, LAST);
    bravo.insist(&server, LAST);
    let server = server.restart();
    alfa.check(&server);
    bravo.check(&server);
}
