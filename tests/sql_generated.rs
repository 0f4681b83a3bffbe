//! SQL queries that a grammar generates. Each has a documented answer, and the server is
//! unaffected.
//!
//! The environment variables `FUZZ_SECONDS` and `FUZZ_SEED` are the duration and the seed. The
//! clock gives the default seed. `cargo xtask fuzz` sets both.

pub(crate) mod grammar;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use prost::Message;
use tidings_sql_engine::{CastPair, Elements, elements};

use crate::{
    harness::{
        Server,
        http::{Answer, get, post, try_send},
        spans::{log, logs, now, span, traces},
    },
    sql::{send_until, workers},
};
use grammar::Grammar;

const SECONDS: u64 = 60;
/// Pause between two requests that are sent meanwhile. This is not a load test.
const PAUSE: Duration = Duration::from_millis(50);
/// Number of concurrent queries, which is the number that can run at once.
const ASKERS: usize = 4;
/// The memory budget of the server.
const BUDGET: u64 = 512 << 20;
/// Time after which a server has begun to read its files again.
const SCRUBBED_AFTER: Duration = Duration::from_secs(90);
const VERIFIED: &str = "tidings_verified_files_total";
/// Number of wrong answers after which a client stops.
const WRONG_MAX: usize = 20;
const STATUSES: [u16; 6] = [200, 400, 408, 413, 429, 503];
/// Texts of `/problems/query-ended` for ends that are not a fault of the engine. A worker ran out
/// of memory or time, was ended from outside, or could not be started.
const ENDS: [&str; 4] = [
    "more memory than it may have",
    "more processor time than it may have",
    "more than was left, or was ended from outside",
    "no process can be started for the query",
];

pub(crate) fn number(name: &str, usual: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(usual, |given| given.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Tells whether a worker ended by a fault of the engine: a panic, a stack overflow, or an end
/// without a known reason.
pub(crate) fn is_engine_fault(status: u16, body: &str) -> bool {
    let has_ended = status == 503 && body.contains("/problems/query-ended");
    has_ended && !ENDS.iter().any(|end| body.contains(end))
}

/// Sends spans of several services with parents, errors and attributes, and some log records.
pub(crate) fn fill(server: &Server) {
    for (number, service) in ["shop", "payment", "stock", "queue"].into_iter().enumerate() {
        let of = |id: u64| {
            let id = number as u64 * 1_000 + id;
            let parent = if id.is_multiple_of(4) { 0 } else { id - 1 };
            let mut span =
                span(u128::from(id / 4 + 1), id + 1, parent, &format!("operation {}", id % 7));
            span.kind = i32::try_from(id % 6).unwrap();
            span.end_time_unix_nano += id * 1_000;
            span.attributes = vec![
                tidings_proto::otlp::KeyValue::new("http.route", format!("/r/{}", id % 5)),
                tidings_proto::otlp::KeyValue::new("http.response.status_code", 200_i64),
            ];
            span
        };
        let body = traces(service, (0..250).map(of).collect()).encode_to_vec();
        let taken = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(taken.status, 200);
        let records =
            (1..=100).map(|id| log(u128::from(id), id, &format!("line {id} of {service}")));
        let body = logs(service, records.collect()).encode_to_vec();
        let taken = post(&server.otlp_http, "/v1/logs", "application/x-protobuf", body);
        assert_eq!(taken.status, 200);
    }
}

/// The answers to generated statements.
#[derive(Debug, Default)]
struct Answers {
    statuses: BTreeMap<u16, usize>,
    wrong: Vec<String>,
}

impl Answers {
    /// Sends the statement with this number.
    fn ask(&mut self, server: &Server, seed: u64, place: usize) {
        let query = Grammar::new(seed, place).statement();
        let kind = [("content-type", "application/sql")];
        match try_send("POST", &server.http, "/api/v1/sql", &kind, query.clone()) {
            Ok(Answer { status, body, .. }) => {
                *self.statuses.entry(status).or_default() += 1;
                let said = String::from_utf8_lossy(&body);
                if !STATUSES.contains(&status) || is_engine_fault(status, &said) {
                    self.wrong.push(format!("{place}: {query}\n  {status} {said}"));
                }
            }
            Err(error) => self.wrong.push(format!("{place}: {query}\n  {error}")),
        }
    }

    fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.wrong.extend(other.wrong);
    }
}

#[test]
fn generated_queries_have_documented_answers_and_the_server_does_not_notice() {
    let (seconds, seed) = (number("FUZZ_SECONDS", SECONDS), number("FUZZ_SEED", now()));
    let (budget, askers) = (BUDGET.to_string(), ASKERS.to_string());
    let limits = ["--sql-seconds-max", "3", "--sql-memory-bytes-max", "64MiB"];
    let files = ["--memory-flush-seconds", "10"];
    let memory: [&str; 4] = ["--memory", &budget, "--sql-running-max", &askers];
    let mut server = Server::start_with(&[&limits[..], &memory, &files].concat());
    fill(&server);
    println!("seed {seed}, {seconds} s");
    let (pid, begin, length) = (server.pid(), Instant::now(), Duration::from_secs(seconds));
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (answers, (sent, slowest), (peak, _)) = std::thread::scope(|scope| {
        let (server, next, done) = (&server, &next, &done);
        let sender = scope.spawn(move || send_until(server, done, PAUSE));
        let peak = scope.spawn(move || server.peak_allocated_bytes_until(done));
        let ask = move || {
            let mut answers = Answers::default();
            while begin.elapsed() < length && answers.wrong.len() < WRONG_MAX {
                answers.ask(server, seed, next.fetch_add(1, Ordering::Relaxed));
            }
            answers
        };
        let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(ask)).collect();
        let asked: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
        done.store(true, Ordering::Relaxed);
        let mut answers = Answers::default();
        asked.into_iter().for_each(|asked| answers.merge(asked.unwrap()));
        (answers, sender.join().unwrap(), peak.join().unwrap())
    });
    let (lasted, Answers { statuses, wrong }) = (begin.elapsed(), answers);
    println!(
        "statuses {statuses:?} in {lasted:?}; {sent} requests taken meanwhile, the slowest in \
         {slowest:?}; at most {} MiB",
        peak >> 20
    );
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    assert!(server.is_alive() && server.pid() == pid);
    assert!(peak < BUDGET, "{peak} bytes");
    // More than a quarter of the queries succeeds. Refusals alone would test only the checks before
    // execution.
    let (answered, all): (usize, usize) = (statuses[&200], statuses.values().sum());
    assert!(answered * 4 > all, "only {answered} of {all} are answered");
    // The run used every function, cast and clause, unless the machine is too slow.
    assert!(all >= Grammar::round() || lasted >= length, "{all} statements in {lasted:?}");
    assert!(sent > seconds && slowest < Duration::from_secs(10), "{sent} in {slowest:?}");
    // A round of scrubbing begins a minute after the start.
    if lasted > SCRUBBED_AFTER {
        let metrics = String::from_utf8(get(&server.http, "/metrics").body.to_vec()).unwrap();
        let verified = metrics.lines().find_map(|line| line.strip_prefix(VERIFIED)).unwrap();
        assert!(verified.trim().parse::<u64>().unwrap() > 0, "no file is verified");
    }
    // There are no more processes than those that run and wait.
    assert!(workers(&server).len() <= ASKERS + 2, "{}", workers(&server).len());
}

/// Checks that every function, cast and clause is generated soon, with any seed. The lists are
/// those that queries are checked against, and the parts of a statement are found with the same
/// code.
#[test]
fn the_grammar_uses_every_name_cast_and_clause_that_a_query_may_use() {
    let all: Vec<String> =
        (0..Grammar::round()).map(|place| Grammar::new(1, place).statement()).collect();
    let vocabulary = tidings_sql_engine::vocabulary();
    let functions = [&vocabulary.scalars, &vocabulary.aggregates, &vocabulary.windows];
    for name in functions.into_iter().flatten() {
        let call = format!("{name}(");
        assert!(all.iter().any(|statement| statement.contains(&call)), "{name}");
    }
    for (view, _) in &vocabulary.views {
        assert!(all.iter().any(|statement| statement.contains(view)), "{view}");
    }
    let (mut used, mut refused) = (Elements::default(), Vec::new());
    for statement in &all {
        match elements(statement) {
            Ok(Elements { clauses, types, casts }) => {
                used.clauses.extend(clauses);
                used.types.extend(types);
                used.casts.extend(casts);
            }
            Err(error) => refused.push(format!("{statement}\n  {error}")),
        }
    }
    // Refused statements test only the checks before execution, so few may be refused.
    assert!(refused.len() * 20 < all.len(), "{}", refused.join("\n"));
    let clauses: BTreeSet<&str> = vocabulary.clauses.iter().copied().collect();
    assert_eq!(clauses.difference(&used.clauses).collect::<Vec<_>>(), Vec::<&&str>::new());
    let types = || vocabulary.types.iter().copied();
    let pairs = types().flat_map(|from| types().map(move |to| (from, to)));
    let casts: BTreeSet<CastPair> = pairs
        .flat_map(|(from, to)| vocabulary.casts.iter().map(move |form| (*form, from, to)))
        .collect();
    assert_eq!(casts.difference(&used.casts).collect::<Vec<_>>(), Vec::<&CastPair>::new());
    assert_eq!(Grammar::new(7, 7).statement(), Grammar::new(7, 7).statement());
}
