//! Tests that every acknowledged record is stored exactly once, whenever the process is killed.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_disk::test_effort::by_effort;
use tidings_proto::otlp::encode_json;

use crate::{
    harness::{
        Server, found_until,
        http::{self, frame},
        spans::{LOGS_EXPORT, TRACE_EXPORT, log, logs, now, span, traces},
        wait_until,
    },
    sql,
    sql_generated::number,
};

/// Numbers of times that the process is killed, of a quick and of a full run, unless the environment
/// sets `KILL_ROUNDS`.
const ROUNDS: [u64; 2] = [15, 50];
/// Maximum processor time until a restarted server is ready, in hundredths of a second. Processor
/// time does not depend on the machine's other load.
const READY_TICKS_MAX: u64 = 500;
/// Number of records in a request.
const BATCH: u64 = 5;

/// The receivers and formats under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    GrpcTraces,
    HttpTraces,
    JsonTraces,
    Zipkin,
    GrpcLogs,
    HttpLogs,
}

const WIRES: [Wire; 6] = [
    Wire::GrpcTraces,
    Wire::HttpTraces,
    Wire::JsonTraces,
    Wire::Zipkin,
    Wire::GrpcLogs,
    Wire::HttpLogs,
];

/// Records that one client sent in one round: one trace, with the records numbered from 1.
#[derive(Debug, Clone)]
struct Sent {
    wire: Wire,
    trace: u128,
    acknowledged: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

#[test]
fn acknowledged_records_survive_kill() {
    let seed = now();
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--memory-flush-seconds", "1", "--wal-segment-bytes", "1MiB"];
    let mut server = Server::start_in(folder.path(), &flags);
    let mut ledger: Vec<Sent> = Vec::new();
    let mut slowest = Duration::ZERO;
    let [quick, full] = ROUNDS;
    let rounds = number("KILL_ROUNDS", by_effort(quick, full));
    for round in 1..=rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = WIRES
            .into_iter()
            .enumerate()
            .map(|(index, wire)| {
                let trace = u128::from(seed) << 64 | u128::from(round) << 8 | (index as u128 + 1);
                let addresses =
                    [&server.otlp_grpc, &server.otlp_http, &server.zipkin].map(Clone::clone);
                let stop = Arc::clone(&stop);
                thread::spawn(move || client(wire, trace, &addresses, &stop))
            })
            .collect();
        // Some rounds are long enough for flushes and merges, so that the kill hits those, too, and
        // the WAL is truncated.
        let millis = if round % 5 == 0 { rng.u64(1_000..3_000) } else { rng.u64(50..600) };
        pause(Duration::from_millis(millis));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        let sent: Vec<Sent> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let begin = Instant::now();
        server = server.restart();
        wait_until("it is ready", || http::get(&server.http, "/ready").status == 200);
        let ready = begin.elapsed();
        let worked = sql::ticks(&server);
        assert!(worked < READY_TICKS_MAX, "round {round}: ready after {ready:?}, {worked} ticks");
        slowest = slowest.max(ready);
        for sent in &sent {
            check(&server, sent);
        }
        ledger.extend(sent);
        check_counts(&server, &ledger);
    }
    for sent in &ledger {
        check(&server, sent);
    }
    let acknowledged: usize = ledger.iter().map(|sent| sent.acknowledged.len()).sum();
    let unknown: usize = ledger.iter().map(|sent| sent.unknown.len()).sum();
    println!(
        "{rounds} kills, {acknowledged} acknowledged, {unknown} unknown, ready within {slowest:?}"
    );
    assert!(acknowledged > 1_000, "too little was sent to show anything: {acknowledged}");
}

/// Waits for a time instead of a condition, because the moment of the kill must be arbitrary.
fn pause(length: Duration) {
    let (_keep, never) = std::sync::mpsc::sync_channel::<()>(1);
    let _ = never.recv_timeout(length);
}

/// Sends batches until the connection breaks.
fn client(wire: Wire, trace: u128, addresses: &[String; 3], stop: &AtomicBool) -> Sent {
    let mut sent = Sent { wire, trace, acknowledged: BTreeSet::new(), unknown: BTreeSet::new() };
    for batch in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let ids = batch * BATCH + 1..(batch + 1) * BATCH + 1;
        match send(wire, trace, ids.clone(), addresses) {
            Some(true) => sent.acknowledged.extend(ids),
            Some(false) => {}
            None => {
                sent.unknown.extend(ids);
                break;
            }
        }
    }
    sent
}

/// Sends a batch and returns true if it was acknowledged; `None` when there was no answer.
fn send(
    wire: Wire,
    trace: u128,
    ids: std::ops::Range<u64>,
    [grpc, http, zipkin]: &[String; 3],
) -> Option<bool> {
    let spans =
        || traces("ledger", ids.clone().map(|id| span(trace, id, id / 2, "entry")).collect());
    let records =
        || logs("ledger", ids.clone().map(|id| log(trace, id, &format!("line {id}"))).collect());
    let post = |path, kind, encoding: &[(&str, &str)], body: Vec<u8>| {
        let headers: Vec<_> = [("content-type", kind)].iter().chain(encoding).copied().collect();
        http::try_send("POST", http, path, &headers, body).ok().map(|answer| answer.status == 200)
    };
    let call = |method, message: Vec<u8>| {
        let answer = http::try_call(grpc, method, &[], frame(false, &message)).ok()?;
        answer.code.map(|code| code == 0)
    };
    match wire {
        Wire::GrpcTraces => call(TRACE_EXPORT, spans().encode_to_vec()),
        Wire::GrpcLogs => call(LOGS_EXPORT, records().encode_to_vec()),
        Wire::HttpTraces => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&spans().encode_to_vec()).unwrap();
            post(
                "/v1/traces",
                "application/x-protobuf",
                &[("content-encoding", "gzip")],
                gzip.finish().unwrap(),
            )
        }
        Wire::JsonTraces => post("/v1/traces", "application/json", &[], encode_json(&spans())),
        Wire::HttpLogs => post("/v1/logs", "application/json", &[], encode_json(&records())),
        Wire::Zipkin => {
            let list: Vec<Json> = ids.map(|id| zipkin_span(trace, id)).collect();
            let body = serde_json::to_vec(&list).unwrap();
            let headers = [("content-type", "application/json")];
            let answer = http::try_send("POST", zipkin, "/api/v2/spans", &headers, body).ok()?;
            Some(answer.status == 202)
        }
    }
}

fn zipkin_span(trace: u128, id: u64) -> Json {
    json!({
        "traceId": format!("{trace:032x}"), "id": format!("{id:016x}"), "name": "entry", "kind": "SERVER",
        "timestamp": now() / 1_000, "duration": 1_000, "localEndpoint": { "serviceName": "ledger" },
    })
}

/// Checks that every acknowledged record is stored, and that no other than sent records are.
fn check(server: &Server, sent: &Sent) {
    let found = match sent.wire {
        Wire::GrpcLogs | Wire::HttpLogs => stored_logs(server, sent.trace),
        _ => stored_spans(server, sent.trace),
    };
    let distinct: BTreeSet<u64> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "{:?} {:032x}: shown twice", sent.wire, sent.trace);
    let lost: Vec<_> = sent.acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "{:?} {:032x}: lost {lost:?}", sent.wire, sent.trace);
    let known: BTreeSet<u64> = sent.acknowledged.union(&sent.unknown).copied().collect();
    let invented: Vec<_> = distinct.difference(&known).collect();
    assert!(
        invented.is_empty(),
        "{:?} {:032x}: never acknowledged {invented:?}",
        sent.wire,
        sent.trace
    );
}

/// Checks that the tables and the memtables hold as many rows as there are distinct records. This
/// finds repeated rows even where an answer would hide them.
fn check_counts(server: &Server, ledger: &[Sent]) {
    let status = server.get("/api/v1/status").1;
    for (signal, is_logs) in [("spans", false), ("logs", true)] {
        let sent = || {
            ledger
                .iter()
                .filter(|sent| matches!(sent.wire, Wire::GrpcLogs | Wire::HttpLogs) == is_logs)
        };
        let acknowledged: usize = sent().map(|sent| sent.acknowledged.len()).sum();
        let unknown: usize = sent().map(|sent| sent.unknown.len()).sum();
        let stored = usize::try_from(status[signal]["stored"].as_u64().unwrap()).unwrap();
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&stored),
            "{signal}: {stored} rows, {acknowledged} acknowledged, {unknown} unknown"
        );
    }
}

fn stored_spans(server: &Server, trace: u128) -> Vec<u64> {
    let (status, json) = server.get(&format!("/api/v1/traces/{trace:032x}/otlp"));
    if status == 404 {
        return Vec::new();
    }
    assert_eq!(status, 200, "{json}");
    let list = |json: &Json, key: &str| json[key].as_array().cloned().unwrap_or_default();
    let scopes =
        list(&json, "resourceSpans").into_iter().flat_map(|resource| list(&resource, "scopeSpans"));
    scopes
        .flat_map(|scope| list(&scope, "spans"))
        .map(|span| u64::from_str_radix(span["spanId"].as_str().unwrap(), 16).unwrap())
        .collect()
}

fn stored_logs(server: &Server, trace: u128) -> Vec<u64> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    // A cursor that leads back to an earlier page would never end.
    found_until(&format!("the records of {trace:032x} have a last page"), || {
        let path = format!("/api/v1/logs?traceId={trace:032x}&limit=1000{cursor}");
        let (status, json) = server.get(&path);
        assert_eq!(status, 200, "{json}");
        for line in json["logs"].as_array().unwrap() {
            found.push(u64::from_str_radix(line["spanId"].as_str().unwrap(), 16).unwrap());
        }
        match json["nextCursor"].as_str() {
            Some(next) => {
                cursor = format!("&cursor={next}");
                None
            }
            None => Some(std::mem::take(&mut found)),
        }
    })
}
