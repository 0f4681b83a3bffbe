//! An object store that is unreachable for long and then badly reachable while data arrives.
//! Everything acknowledged is stored exactly once, and the backlog drains faster than it grew.
//!
//! The default run takes seconds. The environment variable `TEST_OUTAGE_REQUESTS` is the number of
//! traces sent while the store is unreachable. A third as many are sent while the network is bad.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;

use super::{Gateway, KEY, SECRET, TABLES, network::Network, wait_within};
use crate::harness::{
    Server,
    http::post,
    spans::{log, logs, span, traces},
};

/// Default numbers of traces sent while the store is unreachable, and while the network is bad.
const SHORT: [u128; 2] = [150, 150];
/// Minimum number of attempts of the server in each bad period. Every fate of a request occurs
/// within them.
const ATTEMPTS: usize = 10;
/// Memory limits that fill up within some minutes of an outage.
const MEMORY: [&str; 4] = ["--memory-bytes-max", "48MiB", "--memory-flush-bytes", "16MiB"];
const SPANS: u64 = 3;
/// Time limit of the recovery. A failed flush is retried within half a minute and takes some time
/// itself.
const HEALED_WITHIN: Duration = Duration::from_secs(120);

/// Counts of sent, acknowledged and refused records.
#[derive(Debug, Default)]
struct Ledger {
    traces: u128,
    spans: u64,
    records: u64,
    refused: u64,
    /// Requests that were acknowledged. The write-ahead log has as many records.
    requests: u64,
}

impl Ledger {
    /// Sends a trace and a log record. Each is either acknowledged or refused temporarily.
    fn send(&mut self, server: &Server) {
        self.traces += 1;
        let spans = (1..=SPANS).map(|id| span(self.traces, id, id - 1, "work")).collect();
        let spans = traces("shop", spans).encode_to_vec();
        let records = logs("shop", vec![log(self.traces, 1, "worked")]).encode_to_vec();
        for (path, body, count, taken) in [
            ("/v1/traces", spans, SPANS, &mut self.spans),
            ("/v1/logs", records, 1, &mut self.records),
        ] {
            let answer = post(&server.otlp_http, path, "application/x-protobuf", body);
            match answer.status {
                200 => {
                    *taken += count;
                    self.requests += 1;
                }
                503 => {
                    assert!(answer.headers.contains_key("retry-after"));
                    self.refused += count;
                }
                status => panic!("{path}: {status} {:?}", answer.body),
            }
        }
    }

    /// Sends this many traces, and then more until `is_enough` returns true.
    fn send_until(&mut self, server: &Server, traces: u128, is_enough: impl Fn() -> bool) {
        let (last, deadline) = (self.traces + traces, Instant::now() + HEALED_WITHIN);
        while self.traces < last || !is_enough() {
            assert!(self.traces < last || Instant::now() < deadline, "it never is enough");
            self.send(server);
        }
    }

    fn check(&self, server: &Server) {
        let status = server.get("/api/v1/status").1;
        let stored = [&status["spans"]["stored"], &status["logs"]["stored"]].map(|it| it.as_u64());
        assert_eq!(stored, [Some(self.spans), Some(self.records)]);
        // Each record is stored once: no trace has more or fewer spans than were sent.
        for (view, count) in [("spans", SPANS), ("logs", 1)] {
            let query = format!(
                "SELECT count(*), sum(n) FROM (SELECT trace_id, count(*) AS n FROM {view} \
                 GROUP BY trace_id) AS t WHERE n = {count}"
            );
            let answer =
                post(&server.http, "/api/v1/sql", "application/sql", query.clone().into_bytes());
            let rows: Json = serde_json::from_slice(&answer.body).unwrap();
            let taken = if view == "spans" { self.spans } else { self.records };
            let found = [&rows["rows"][0][0], &rows["rows"][0][1]].map(|it| it.as_u64());
            assert_eq!(found, [Some(taken / count), Some(taken)], "{query}: {rows}");
        }
    }
}

fn lengths() -> [u128; 2] {
    let requests = std::env::var("TEST_OUTAGE_REQUESTS").ok().and_then(|text| text.parse().ok());
    requests.map_or(SHORT, |requests: u128| [requests, requests / 3])
}

/// The commits of a table in the store. Each commit is read once.
#[derive(Debug, Default)]
struct Commits {
    read: HashSet<PathBuf>,
    /// Sequence number of the last request that the commits contain with all before it.
    position: u64,
}

impl Commits {
    /// Reads the new commits and returns the flushed position of the table.
    fn position(&mut self, gateway: &Gateway, table: &str) -> u64 {
        let folder = gateway.object(table).join("_delta_log");
        let entries = fs::read_dir(folder).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        let commits = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        for path in commits.collect::<Vec<_>>() {
            if self.read.contains(&path) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let actions: Result<Vec<Json>, _> = text.lines().map(serde_json::from_str).collect();
            let Ok(actions) = actions else { continue };
            let is_position = |action: &&Json| action["txn"]["appId"] == format!("tidings/{table}");
            let positions = actions.iter().filter(is_position);
            let last = positions.filter_map(|action| action["txn"]["version"].as_u64()).max();
            self.position = self.position.max(last.unwrap_or(0));
            // A commit that is still being written is empty and will be read again.
            if !text.is_empty() {
                self.read.insert(path);
            }
        }
        self.position
    }
}

/// Returns how long the server takes until nothing acknowledged waits for the store.
fn drained(gateway: &Gateway, ledger: &Ledger) -> Duration {
    let begin = Instant::now();
    let commits = RefCell::new([Commits::default(), Commits::default()]);
    let is_drained = || {
        let [spans, logs] = &mut *commits.borrow_mut();
        let positions = [spans.position(gateway, "spans"), logs.position(gateway, "logs")];
        positions.into_iter().max() >= Some(ledger.requests)
    };
    wait_within(HEALED_WITHIN, "the backlog is gone", is_drained, || {});
    begin.elapsed()
}

fn log_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder.join("wal")).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |file| file.len())).sum()
}

#[test]
fn backlog_of_an_outage_drains_completely_and_faster_than_it_grew() {
    let Some(gateway) = Gateway::start("an outage of object storage") else { return };
    let network = Network::to(&gateway.address);
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{}", network.address);
    let place = ["--tables", TABLES, "--tables-endpoint", &endpoint];
    let flags = [&place[..], &MEMORY, &["--memory-flush-seconds", "1"]].concat();
    let keys = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let mut server = Server::start_as(folder.path(), &flags, &keys);
    let [away, bad] = lengths();
    let mut ledger = Ledger::default();

    network.set_down(true);
    let begin = Instant::now();
    ledger.send_until(&server, away, || network.refused() > 0);
    let (taken, came_in) = (ledger.spans, begin.elapsed());
    let kept = log_bytes(folder.path());
    network.set_down(false);
    let drained = drained(&gateway, &ledger);
    println!(
        "away for {came_in:?}: {taken} spans taken, {} refused, a log of {kept} bytes; \
         drained in {drained:?}",
        ledger.refused
    );
    if came_in > 2 * HEALED_WITHIN {
        assert!(drained < came_in / 2, "{drained:?} for what came in {came_in:?}");
    }

    network.set_bad(true);
    ledger.send_until(&server, bad, || network.bad_requests() >= ATTEMPTS);
    println!("bad: {} requests, {} spans taken", network.bad_requests(), ledger.spans);
    network.set_bad(false);
    println!("well again after {:?}", self::drained(&gateway, &ledger));
    ledger.check(&server);
    assert!(server.terminate().success());
    let server = gateway.serve(folder.path());
    ledger.check(&server);
}
