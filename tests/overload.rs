//! More load than the server can take. Its memory stays bounded, every refusal is a documented one
//! with a retry delay, and every client that retries gets its data stored.
//!
//! The environment variable `OVERLOAD_SECONDS` is the duration.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use prost::Message;

use crate::{
    harness::{
        AtEnd, Server,
        http::{Answer, GrpcAnswer, GrpcClient, frame, try_call_by, try_send},
        spans::{TRACE_EXPORT, span, traces},
    },
    hostile::bodies::gzip,
    sql_generated::number,
};

const SECONDS: u64 = 15;
/// The memory budget of the server.
const BUDGET: u64 = 512 << 20;
/// Duration of the measurement without overload.
const MEASURED: Duration = Duration::from_secs(5);
/// Number of connections of the load without overload.
const CONNECTIONS: usize = 4;
/// Number of senders that send again at once regardless of the answer. Half of them use gRPC. Each
/// has a connection of its own.
const HAMMERS: usize = 480;
/// Number of connections that wait for the retry delay.
const PATIENT: usize = 4;
/// Minimum number of requests offered for each request that the server accepts without overload.
const OVERLOAD_MIN: u64 = 10;
const SPANS: u64 = 20_000;
const PATIENT_SPANS: u64 = 20;
/// Minimum share of its normal throughput that the server keeps under overload. It refuses many
/// requests meanwhile and shares the processors with the senders.
const GOODPUT_MIN: f64 = 0.2;
/// The gRPC code of a retryable error.
const UNAVAILABLE: i32 = 14;
/// Maximum retry delay that the server may ask for.
const RETRY_SECONDS_MAX: u64 = 60;
/// Time limit for a request of a patient sender to be accepted.
const PATIENCE: Duration = Duration::from_secs(120);
/// First number of the traces of patient senders.
const PATIENT_TRACES: u128 = 1 << 64;

const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];

fn large_request() -> Vec<u8> {
    let spans = (1..=SPANS).map(|id| span(u128::from(id / 10 + 1), id, id / 2, "GET /product"));
    gzip(&traces("load", spans.collect()).encode_to_vec())
}

fn send(server: &Server, body: &[u8]) -> Result<Answer, String> {
    try_send("POST", &server.otlp_http, "/v1/traces", &HEADERS, body.to_vec())
}

/// Returns the retry delay of a refused request in seconds.
fn retry_seconds(answer: &Answer) -> Option<u64> {
    answer.headers.get("retry-after")?.to_str().ok()?.parse().ok()
}

/// Counts of the server's answers.
#[derive(Debug, Default)]
struct Answers {
    statuses: BTreeMap<u16, u64>,
    /// Numbers of connections that ended without an answer, by reason. The server did not handle
    /// their load.
    broken: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

impl Answers {
    /// Counts an answer and returns true when the request was accepted.
    fn add(&mut self, answer: Result<&Answer, &String>) -> bool {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.add_broken(error, 1);
                return false;
            }
        };
        *self.statuses.entry(answer.status).or_default() += 1;
        let is_refusal = matches!(answer.status, 429 | 503)
            && retry_seconds(answer).is_some_and(|seconds| seconds <= RETRY_SECONDS_MAX)
            && !answer.body.is_empty();
        if answer.status != 200 && !is_refusal {
            self.wrong.push(format!("{} {:?} {:?}", answer.status, answer.headers, answer.body));
        }
        answer.status == 200
    }

    /// Counts an answer over gRPC like [`Self::add`], as the equivalent HTTP status.
    fn add_grpc(&mut self, answer: Result<&GrpcAnswer, &String>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.add_broken(error, 1),
        };
        let delay = answer.retry_delay();
        let says_when = delay.is_some_and(|delay| delay.as_secs() <= RETRY_SECONDS_MAX);
        let status = match answer.code {
            Some(0) => 200,
            Some(UNAVAILABLE) if says_when => 503,
            _ => {
                self.wrong.push(format!("{answer:?}"));
                return;
            }
        };
        *self.statuses.entry(status).or_default() += 1;
    }

    fn add_broken(&mut self, reason: &str, count: u64) {
        *self.broken.entry(reason.to_owned()).or_default() += count;
    }

    fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (reason, count) in &other.broken {
            self.add_broken(reason, *count);
        }
        self.wrong.extend(other.wrong);
    }

    fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// Sends the large request repeatedly until `done`, over gRPC or HTTP.
fn hammer(server: &Server, body: &[u8], is_grpc: bool, done: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    let (message, client) = (frame(true, body), GrpcClient::new());
    while !done.load(Relaxed) && answers.wrong.len() < 10 {
        if is_grpc {
            let (address, headers) = (&server.otlp_grpc, [("grpc-encoding", "gzip")]);
            let answer = try_call_by(&client, address, TRACE_EXPORT, &headers, message.clone());
            answers.add_grpc(answer.as_ref());
        } else {
            answers.add(send(server, body).as_ref());
        }
    }
    answers
}

/// Sends one trace after the other until `done`, and retries each until it is accepted. Returns the
/// answers and the numbers of the traces.
fn send_patiently(server: &Server, sender: u128, done: &AtomicBool) -> (Answers, Vec<u128>) {
    let (mut answers, mut taken) = (Answers::default(), Vec::new());
    while !done.load(Relaxed) {
        let trace = PATIENT_TRACES + (sender << 32) + taken.len() as u128 + 1;
        let spans = (1..=PATIENT_SPANS).map(|id| span(trace, id, id / 2, "patient"));
        let body = gzip(&traces("patient", spans.collect()).encode_to_vec());
        let begin = Instant::now();
        loop {
            let answer = send(server, &body);
            if answers.add(answer.as_ref()) {
                taken.push(trace);
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "a trace is refused for {PATIENCE:?}");
            let wait = answer.ok().and_then(|answer| retry_seconds(&answer)).unwrap_or(1);
            thread::sleep(Duration::from_secs(wait));
        }
    }
    (answers, taken)
}

#[test]
fn refused_requests_are_accepted_when_retried_after_overload() {
    let length = Duration::from_secs(number("OVERLOAD_SECONDS", SECONDS));
    let mut server = Server::start_with(&["--memory", &BUDGET.to_string()]);
    let (pid, body) = (server.pid(), large_request());
    let run = |length: Duration, connections: usize| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (server, body, done) = (&server, &body, &done);
            let senders: Vec<_> = (0..connections)
                .map(|number| scope.spawn(move || hammer(server, body, number % 2 == 1, done)))
                .collect();
            thread::sleep(length);
            done.store(true, Relaxed);
            senders.into_iter().fold(Answers::default(), |mut all, sender| {
                all.merge(sender.join().unwrap());
                all
            })
        })
    };
    let measured = run(MEASURED, CONNECTIONS);
    let capacity = measured.statuses[&200] as f64 / MEASURED.as_secs_f64();
    let done = AtomicBool::new(false);
    let (hammered, patient, (peak, _)) = thread::scope(|scope| {
        let (server, done) = (&server, &done);
        let senders: Vec<_> = (0..PATIENT as u128)
            .map(|sender| scope.spawn(move || send_patiently(server, sender, done)))
            .collect();
        let peak = scope.spawn(move || server.peak_allocated_bytes_until(done));
        let end = AtEnd(done);
        let hammered = run(length, HAMMERS);
        drop(end);
        let patient: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        (hammered, patient, peak.join().unwrap())
    });
    let offered = hammered.answered() as f64 / length.as_secs_f64();
    let taken = hammered.statuses.get(&200).copied().unwrap_or_default() as f64;
    let goodput = taken / length.as_secs_f64();
    println!(
        "it takes {capacity:.1} requests of {SPANS} spans a second, and {goodput:.1} of {offered:.1} \
         a second for {length:?}: {:?}, broken: {:?}; at most {} MiB",
        hammered.statuses,
        hammered.broken,
        peak >> 20
    );
    for (answers, traces) in &patient {
        println!("patient: {} traces, {:?}", traces.len(), answers.statuses);
        assert!(answers.wrong.is_empty(), "{:?}", answers.wrong);
        assert!(!traces.is_empty());
    }
    assert!(hammered.wrong.is_empty(), "{}", hammered.wrong.join("\n"));
    let answered = hammered.answered();
    let broken: u64 = hammered.broken.values().sum();
    assert!(
        broken < answered / 100,
        "{broken} connections ended without an answer, {answered} had one"
    );
    assert!(offered > capacity * OVERLOAD_MIN as f64, "{offered} of {capacity} is no overload");
    assert!(goodput > capacity * GOODPUT_MIN, "it takes {goodput:.2} a second of {capacity}");
    assert!(peak < BUDGET, "{peak} bytes");
    assert!(server.is_alive() && server.pid() == pid);
    for trace in patient.iter().flat_map(|(_, traces)| traces) {
        let (status, found) = server.get(&format!("/api/v1/traces/{trace:032x}"));
        assert_eq!((status, found["spanCount"].as_u64()), (200, Some(PATIENT_SPANS)), "{trace}");
    }
    let patient_spans = patient.iter().map(|(_, traces)| traces.len() as u64 * PATIENT_SPANS).sum();
    check_load(&server, patient_spans);
}

/// Checks that the spans of the hammering senders are stored. They all send the same spans, and an
/// answer has each span once.
fn check_load(server: &Server, patient_spans: u64) {
    let stored = server.get("/api/v1/status").1["spans"]["stored"].as_u64();
    let sent = SPANS + patient_spans;
    assert!(stored.is_some_and(|stored| stored >= sent), "{stored:?} of {sent} spans are stored");
    for (trace, spans) in [(1, 9), (2, 10), (SPANS / 10, 10), (SPANS / 10 + 1, 1)] {
        let (status, found) = server.get(&format!("/api/v1/traces/{trace:032x}"));
        assert_eq!((status, found["spanCount"].as_u64()), (200, Some(spans)), "{trace}: {found}");
    }
}
