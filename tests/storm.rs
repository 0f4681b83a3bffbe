//! A storm of hostile statements, queries and bodies. Each gets a documented answer. The server
//! process survives, its memory stays within its budget, and the acknowledgements of valid
//! telemetry are little slower meanwhile.
//!
//! The storm mutates the saved inputs of the fuzz targets. Every second query is a valid one from a
//! small grammar, so that some queries of each language are executed. The environment variable
//! `STORM_PERCENT` is the percentage of the whole storm to send: 5,000 SQL statements, 5,000
//! queries of each other language, 50,000 bodies. `STORM_SEED` repeats a storm.

mod queries;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use prost::Message;

use crate::{
    harness::{
        Server,
        http::{post, try_send},
        spans::{now, span, traces},
    },
    sql_generated::{fill, grammar::Grammar, is_engine_fault, number},
};

/// Sizes of the whole storm.
const STATEMENTS: u64 = 5_000;
const QUERIES: u64 = 5_000;
const BODIES: u64 = 50_000;
/// Default percentage of the storm.
const PERCENT: u64 = 3;
/// The memory budget of the server.
const BUDGET: u64 = 256 << 20;
/// Traces of the valid requests. Mutated inputs do not produce these ids.
const QUIET_TRACE: u128 = 0x5eed_9b1c_47aa_e203_8d16_f0c5_72be_9a41;
const BUSY_TRACE: u128 = 0xc0de_61f7_0b95_d84e_2fa3_5c18_e97d_4b60;
/// Number of requests sent one after the other before the storm.
const QUIET_REQUESTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(20);
/// Maximum factor by which the 99th percentile of acknowledgement times may grow.
const SLOWER_MAX: u32 = 5;
/// Time below which the growth is ignored, because the noise of a busy machine is larger.
const NOISE: Duration = Duration::from_millis(20);
/// The same time for a partial storm, which runs beside other tests.
const PARTIAL_NOISE: Duration = Duration::from_millis(100);
/// Minimum number of valid requests during the storm for a percentile.
const SOUND_REQUESTS_MIN: usize = 50;
/// The parts of the storm. At least one request in this many is accepted.
const PARTS: [(&str, u64); 5] =
    [("statements", 10), ("traceql", 5), ("promql", 5), ("log_query", 5), ("bodies", 50)];

/// A query language: its generator of valid queries, the paths that accept it, and its documented
/// statuses.
struct Language {
    corpus: &'static str,
    make: fn(&mut Rng) -> String,
    paths: &'static [&'static str],
    statuses: &'static [u16],
}

const LANGUAGES: [Language; 3] = [
    Language {
        corpus: "traceql",
        make: queries::traceql,
        paths: &["/api/v1/traces?limit=5&q=", "/tempo/api/search?limit=5&q="],
        statuses: &[200, 400, 408, 413, 422, 429, 503],
    },
    Language {
        corpus: "promql",
        make: queries::promql,
        paths: &[
            "/prometheus/api/v1/query?query=",
            "/prometheus/api/v1/query_range?start=1795161600&end=1795161900&step=60&query=",
        ],
        statuses: &[200, 400, 408, 413, 422, 429, 503],
    },
    Language {
        corpus: "log_query",
        make: queries::log_query,
        paths: &["/api/v1/logs?limit=5&q=", "/api/v1/logs/stats?q=", "/api/v1/logs/histogram?q="],
        statuses: &[200, 400, 408, 413, 422, 429, 503],
    },
];

/// A receiver, with the folder of the inputs that are mutated for it.
struct Receiver {
    corpus: &'static str,
    is_zipkin: bool,
    path: &'static str,
    content_type: &'static str,
}

const RECEIVERS: [Receiver; 6] = [
    Receiver {
        corpus: "otlp_traces_protobuf",
        is_zipkin: false,
        path: "/v1/traces",
        content_type: "application/x-protobuf",
    },
    Receiver {
        corpus: "otlp_logs_protobuf",
        is_zipkin: false,
        path: "/v1/logs",
        content_type: "application/x-protobuf",
    },
    Receiver {
        corpus: "otlp_json",
        is_zipkin: false,
        path: "/v1/traces",
        content_type: "application/json",
    },
    Receiver {
        corpus: "otlp_json",
        is_zipkin: false,
        path: "/v1/logs",
        content_type: "application/json",
    },
    Receiver {
        corpus: "zipkin_json",
        is_zipkin: true,
        path: "/api/v2/spans",
        content_type: "application/json",
    },
    Receiver {
        corpus: "zipkin_protobuf",
        is_zipkin: true,
        path: "/api/v2/spans",
        content_type: "application/x-protobuf",
    },
];
const BODY_STATUSES: [u16; 6] = [200, 202, 400, 413, 429, 503];
const SQL_STATUSES: [u16; 6] = [200, 400, 408, 413, 429, 503];

/// Number of last inputs of each target that were written by hand (`seed-…`).
const SOUND: usize = 3;

/// Returns the saved inputs of a fuzz target, sorted by file name.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Returns an input with a few changes: replaced bytes, parts that are missing, doubled or from
/// another input, and extreme numbers.
fn mutated(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    const EXTREMES: [&[u8]; 10] = [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"18446744073709551616",
        b"-9223372036854775808",
        b"1e999",
        b"NaN",
        b"\"",
        b"((((((((((((((((",
        b"\\u0000",
        "\u{202e}\u{1f4a9}".as_bytes(),
        b"[[[[[[[[[[[[[[[[",
    ];
    // Valid inputs come last. The others were saved because they are invalid in some way.
    let begin = if rng.bool() { inputs.len().saturating_sub(SOUND) } else { 0 };
    let mut bytes = inputs[rng.usize(begin..inputs.len())].clone();
    for _ in 0..rng.usize(1..5) {
        let place = rng.usize(..=bytes.len());
        let end = (place + rng.usize(..40)).min(bytes.len());
        match rng.u8(..6) {
            0 => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte = rng.u8(..)),
            1 => drop(bytes.drain(place..end)),
            2 => {
                let part = bytes[place..end].repeat(rng.usize(1..8));
                bytes.splice(place..place, part);
            }
            3 => {
                let other = &inputs[rng.usize(..inputs.len())];
                let from = rng.usize(..=other.len());
                let part = &other[from..(from + rng.usize(..60)).min(other.len())];
                bytes.splice(place..end, part.iter().copied());
            }
            4 => drop(
                bytes.splice(place..place, EXTREMES[rng.usize(..EXTREMES.len())].iter().copied()),
            ),
            _ => bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << rng.u8(..8)),
        }
    }
    bytes
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(3 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    })
}

/// The answers to one part of the storm.
#[derive(Debug, Default)]
struct Answers {
    statuses: BTreeMap<u16, u64>,
    wrong: Vec<String>,
}

impl Answers {
    fn add(&mut self, asked: &str, answer: Result<(u16, String), String>, documented: &[u16]) {
        match answer {
            Ok((status, body)) => {
                *self.statuses.entry(status).or_default() += 1;
                // An error answer has a message.
                let says_why = status < 400 || !body.trim().is_empty();
                let is_sound = documented.contains(&status) && says_why;
                if !is_sound || is_engine_fault(status, &body) {
                    self.wrong.push(format!("{asked}\n  {status} {body}"));
                }
            }
            Err(error) => self.wrong.push(format!("{asked}\n  {error}")),
        }
    }

    fn count(&self, statuses: &[u16]) -> u64 {
        statuses.iter().filter_map(|status| self.statuses.get(status)).sum()
    }

    fn accepted_percent(&self) -> u64 {
        self.count(&[200, 202]) * 100 / self.statuses.values().sum::<u64>().max(1)
    }

    /// Checks that the part was not only refused: one request in this many is accepted, and less
    /// than half of the answers are refusals because of load.
    fn check_shares(&self, part: &str, one_in: u64) {
        let all: u64 = self.statuses.values().sum();
        let (accepted, load) = (self.count(&[200, 202]), self.count(&[429, 503]));
        assert!(accepted * one_in >= all, "{part}: {accepted} of {all} are accepted");
        assert!(load * 2 < all, "{part}: {load} of {all} are refused for load");
    }
}

fn ask(
    method: &str,
    address: &str,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<(u16, String), String> {
    let answer = try_send(method, address, path, &[("content-type", content_type)], body)?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

fn statements(server: &Server, seed: u64, count: u64) -> Answers {
    let mut answers = Answers::default();
    for place in 0..usize::try_from(count).unwrap() {
        let statement = Grammar::new(seed, place).statement();
        let body = statement.clone().into_bytes();
        let answer = ask("POST", &server.http, "/api/v1/sql", "application/sql", body);
        answers.add(&statement, answer, &SQL_STATUSES);
    }
    answers
}

/// Sends queries in each language and returns the answers.
fn queries(server: &Server, seed: u64, count: u64) -> [Answers; 3] {
    let mut rng = Rng::with_seed(seed);
    LANGUAGES.map(|language| {
        let (inputs, mut answers) = (inputs(language.corpus), Answers::default());
        for number in 0..count {
            let query = match number % 2 {
                0 => (language.make)(&mut rng).into_bytes(),
                _ => mutated(&inputs, &mut rng),
            };
            let path = language.paths[rng.usize(..language.paths.len())];
            let path = format!("{path}{}", percent_encoded(&query));
            let answer = ask("GET", &server.http, &path, "", Vec::new());
            answers.add(&path, answer, language.statuses);
        }
        answers
    })
}

fn bodies(server: &Server, seed: u64, count: u64) -> Answers {
    let (mut rng, mut answers) = (Rng::with_seed(seed), Answers::default());
    let receivers = RECEIVERS.map(|receiver| (inputs(receiver.corpus), receiver));
    for _ in 0..count {
        let (inputs, receiver) = &receivers[rng.usize(..receivers.len())];
        let body = mutated(inputs, &mut rng);
        let asked = format!("{} {}", receiver.content_type, percent_encoded(&body));
        let address = if receiver.is_zipkin { &server.zipkin } else { &server.otlp_http };
        let answer = ask("POST", address, receiver.path, receiver.content_type, body);
        answers.add(&asked, answer, &BODY_STATUSES);
    }
    answers
}

/// Sends numbered requests until there are `count` of them or `done`. Returns the duration of each,
/// in order of time.
pub(crate) fn timed(count: usize, done: &AtomicBool, ask: impl Fn(u64)) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < count && !done.load(Relaxed) {
        let begin = Instant::now();
        ask(times.len() as u64 + 1);
        times.push(begin.elapsed());
        thread::sleep(PAUSE);
    }
    times.sort_unstable();
    times
}

/// Sends valid requests, each with a span of the service `meanwhile`, and returns the duration of
/// each.
pub(crate) fn acknowledgements(
    server: &Server,
    trace: u128,
    count: usize,
    done: &AtomicBool,
) -> Vec<Duration> {
    timed(count, done, |id| {
        let body = traces("meanwhile", vec![span(trace, id, 0, "a")]).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200, "a sound request");
    })
}

/// Returns the 99th percentile of sorted times.
pub(crate) fn p99(times: &[Duration]) -> Duration {
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

#[test]
fn a_storm_gets_documented_answers_and_others_hardly_notice() {
    let (percent, seed) = (number("STORM_PERCENT", PERCENT), number("STORM_SEED", now()));
    let part = |whole: u64| whole * percent / 100;
    let budget = BUDGET.to_string();
    let mut server = Server::start_with(&["--memory", &budget, "--sql-seconds-max", "3"]);
    fill(&server);
    let pid = server.pid();
    let quiet = acknowledgements(&server, QUIET_TRACE, QUIET_REQUESTS, &AtomicBool::new(false));
    let done = AtomicBool::new(false);
    let begin = Instant::now();
    let (parts, busy, (peak, workers)) = thread::scope(|scope| {
        let (server, done) = (&server, &done);
        let sound = scope.spawn(move || acknowledgements(server, BUSY_TRACE, usize::MAX, done));
        let peak = scope.spawn(move || server.peak_allocated_bytes_until(done));
        let statements = scope.spawn(move || statements(server, seed, part(STATEMENTS)));
        let queries = scope.spawn(move || queries(server, seed, part(QUERIES)));
        let bodies = scope.spawn(move || bodies(server, seed, part(BODIES)));
        let parts = (statements.join(), queries.join(), bodies.join());
        done.store(true, Relaxed);
        let [traceql, promql, log_query] = parts.1.unwrap();
        let parts = [parts.0.unwrap(), traceql, promql, log_query, parts.2.unwrap()];
        (parts, sound.join().unwrap(), peak.join().unwrap())
    });
    let (before, meanwhile) = (p99(&quiet), p99(&busy));
    for ((name, _), answers) in PARTS.iter().zip(&parts) {
        println!("{name}: {} % accepted of {:?}", answers.accepted_percent(), answers.statuses);
    }
    println!(
        "seed {seed}, {percent} % in {:?}: {} sound requests meanwhile, p99 {meanwhile:?} after \
         {before:?}, at most {} MiB, and {} MiB of workers for SQL",
        begin.elapsed(),
        busy.len(),
        peak >> 20,
        workers >> 20
    );
    let wrong: Vec<_> = parts.iter().flat_map(|part| &part.wrong).take(20).cloned().collect();
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    for ((name, one_in), answers) in PARTS.iter().zip(&parts) {
        answers.check_shares(name, *one_in);
    }
    assert!(server.is_alive() && server.pid() == pid);
    assert!(peak < BUDGET, "{peak} bytes");
    // One worker runs beside a waiting one, both outside the budget. Their memory is measured every
    // 20 ms.
    assert!((1..2 * BUDGET).contains(&workers), "{workers} bytes of workers");
    assert!(busy.len() >= SOUND_REQUESTS_MIN, "only {} sound requests meanwhile", busy.len());
    let noise = if percent < 100 { PARTIAL_NOISE } else { NOISE };
    assert!(meanwhile < (before * SLOWER_MAX).max(noise), "{before:?} became {meanwhile:?}");
    // The spans of the valid requests before and during the storm are stored once each.
    for (trace, sent) in [(QUIET_TRACE, quiet.len()), (BUSY_TRACE, busy.len())] {
        let (status, found) = server.get(&format!("/api/v1/traces/{trace:032x}"));
        assert_eq!((status, found["spanCount"].as_u64()), (200, Some(sent as u64)));
    }
}
