//! SQL on the real server: hostile queries from many clients while telemetry arrives.

use std::{
    fs,
    io::{self, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use prost::Message;

use crate::{
    harness::{
        PATIENCE, Server,
        http::{Answer, get, post},
        pause,
        spans::{log, logs, span, traces},
        wait_until,
    },
    storm::{acknowledgements, p99, timed},
};

const SECONDS_MAX: &str = "2";
/// The memory budget of a server that gets hostile queries.
const BUDGET: u64 = 1 << 30;
/// Traces of the requests before and during the hostile queries.
const QUIET_TRACE: u128 = 1 << 64;
const BUSY_TRACE: u128 = 2 << 64;
/// Number of requests of each kind before the queries.
const QUIET_REQUESTS: usize = 100;
/// Maximum factor by which the 99th percentile of request times may grow meanwhile.
const SLOWER_MAX: u32 = 5;
/// Time below which the growth is ignored, because queries and tests share two processors.
const NOISE: Duration = Duration::from_millis(250);
/// Paths that are requested besides the ingested spans: of the UI, of a probe and of the API.
const PATHS: [&str; 3] = ["/", "/ready", "/api/v1/services"];

/// Queries that never end by themselves or would take all memory.
const HOSTILE: &[&str] = &[
    "SELECT count(*) FROM spans a, spans b, spans c, spans d, spans e",
    "SELECT count(*) FROM spans a JOIN spans b ON a.duration_nanos + b.duration_nanos < 0, spans c",
    "SELECT a.span_id FROM spans a, spans b ORDER BY a.span_id || b.span_id",
    "SELECT count(*) FROM spans a, logs b WHERE a.operation || b.text ~ '.*a.{30}z'",
    "WITH a AS (SELECT text || text AS t FROM logs), b AS (SELECT t || t AS t FROM a), \
     c AS (SELECT t || t AS t FROM b), d AS (SELECT t || t AS t FROM c) SELECT max(length(t || t)) \
     FROM d, spans",
];

fn sql(server: &Server, query: &str) -> Answer {
    post(&server.http, "/api/v1/sql", "application/sql", query.to_owned())
}

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}

pub(crate) fn fill(server: &Server) {
    for part in 0..10_u64 {
        let spans = (1..=2_000).map(|id| span(u128::from(part + 1), part * 2_000 + id, 0, "usual"));
        let body = traces("shop", spans.collect()).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
    let text = "x".repeat(8 << 10);
    let records = (1..=200).map(|id| log(1, id, &text)).collect();
    let body = logs("shop", records).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/logs", "application/x-protobuf", body);
    assert_eq!(answer.status, 200);
}

/// Returns the numbers of a process in `/proc`, starting with its parent's id. Returns `None` when
/// it has ended.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    Some(fields.map(|field| field.parse().unwrap_or_default()).collect())
}

/// Returns the processes that run the server's queries, including those that wait for one.
pub(crate) fn workers(server: &Server) -> Vec<u32> {
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| stat(*pid).is_some_and(|stat| stat[0] == u64::from(server.pid()))).collect()
}

/// Returns the processor time of the server and of its queries so far, in hundredths of a second.
pub(crate) fn ticks(server: &Server) -> u64 {
    // The server's numbers include the time of processes that have ended.
    let own: u64 = stat(server.pid()).unwrap()[10..14].iter().sum();
    let of = |pid| stat(pid).map_or(0, |stat| stat[10..12].iter().sum());
    own + workers(server).into_iter().map(of).sum::<u64>()
}

/// Tells whether a thread of the server or of one of its queries runs now.
fn is_running(server: &Server) -> bool {
    let threads = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let runs = |thread: io::Result<fs::DirEntry>| {
        let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
        stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|of| of.starts_with(" R")))
    };
    let pids = workers(server).into_iter().chain([server.pid()]);
    pids.flat_map(threads).any(runs)
}

/// Waits until the server and its queries are idle: no query runs, and several consecutive checks
/// find no running thread.
pub(crate) fn rests(server: &Server) -> bool {
    rests_within(server, Duration::from_secs(4))
}

fn rests_within(server: &Server, length: Duration) -> bool {
    const LOOKS: usize = 20;
    let deadline = Instant::now() + length;
    let mut looks = 0;
    while looks < LOOKS && Instant::now() < deadline {
        looks = if is_running(server) { 0 } else { looks + 1 };
        pause();
    }
    let metrics = String::from_utf8(get(&server.http, "/metrics").body.to_vec()).unwrap();
    looks == LOOKS && metrics.lines().any(|line| line == "tidings_sql_running 0")
}

/// Sends spans of the service `meanwhile` until `done`, with this pause after each request. Returns
/// the number of acknowledged requests and the time of the slowest.
pub(crate) fn send_until(server: &Server, done: &AtomicBool, pause: Duration) -> (u64, Duration) {
    let (mut sent, mut slowest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        sent += 1;
        let begin = Instant::now();
        let body = traces("meanwhile", vec![span(1 << 64, sent, 0, "a")]).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
        slowest = slowest.max(begin.elapsed());
        std::thread::sleep(pause);
    }
    (sent, slowest)
}

/// Returns the times of requests that send spans, and of requests for each of the paths, in order
/// of time. There are `count` of each, or fewer when `done`.
fn times(server: &Server, trace: u128, count: usize, done: &AtomicBool) -> [Vec<Duration>; 4] {
    let read = |path: &str| {
        timed(count, done, |_| {
            let answer = get(&server.http, path);
            assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        })
    };
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| acknowledgements(server, trace, count, done));
        let read = &read;
        let [ui, probe, api] = PATHS.map(|path| scope.spawn(move || read(path)));
        [sender, ui, probe, api].map(|times| times.join().unwrap())
    })
}

/// Sends each hostile query, beginning with this one.
fn ask_hostile(server: &Server, first: usize) {
    for round in 0..HOSTILE.len() {
        let query = HOSTILE[(first + round) % HOSTILE.len()];
        let begin = Instant::now();
        let Answer { status, body, .. } = sql(server, query);
        assert!(matches!(status, 400 | 408 | 413 | 429), "{query}: {status} {body:?}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{query}");
    }
}

#[test]
fn hostile_queries_end_and_data_comes_in_meanwhile() {
    let budget = BUDGET.to_string();
    let mut server = Server::start_with(&["--memory", &budget, "--sql-seconds-max", SECONDS_MAX]);
    fill(&server);
    let (pid, done) = (server.pid(), AtomicBool::new(false));
    let quiet = times(&server, QUIET_TRACE, QUIET_REQUESTS, &done);
    let (busy, (peak, _)) = std::thread::scope(|scope| {
        let server = &server;
        let done = &done;
        let busy = scope.spawn(move || times(server, BUSY_TRACE, usize::MAX, done));
        let peak = scope.spawn(move || server.peak_allocated_bytes_until(done));
        let askers: Vec<_> =
            (0..8).map(|first| scope.spawn(move || ask_hostile(server, first))).collect();
        let asked: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
        done.store(true, Ordering::Relaxed);
        asked.into_iter().for_each(Result::unwrap);
        (busy.join().unwrap(), peak.join().unwrap())
    });
    assert!(server.is_alive() && server.pid() == pid);
    for ((quiet, busy), name) in quiet.iter().zip(&busy).zip(["ingest", "/", "probe", "API"]) {
        let (before, meanwhile) = (p99(quiet), p99(busy));
        println!("{name}: p99 {meanwhile:?} of {} after {before:?}", busy.len());
        assert!(busy.len() > 20, "{name}: only {} answers meanwhile", busy.len());
        let most = (before * SLOWER_MAX).max(NOISE);
        assert!(meanwhile < most, "{name}: {before:?} became {meanwhile:?}");
    }
    println!("at most {} MiB", peak >> 20);
    assert!(peak < BUDGET, "{peak} bytes");
    // Each query would take minutes. The spans that were sent meanwhile must be flushed, too.
    assert!(rests_within(&server, PATIENCE), "a query goes on");
    let counted = json(&sql(&server, "SELECT count(*) FROM spans WHERE service = 'meanwhile'"));
    assert_eq!(counted["rows"][0][0], quiet[0].len() + busy[0].len());
}

#[test]
fn texts_that_overflow_a_stack_do_not_end_the_process() {
    let mut server = Server::start();
    for query in [
        format!("SELECT 1{}", "+1".repeat(2_000)),
        format!("SELECT 1{}", "+1".repeat(100_000)),
        format!("SELECT 1 WHERE 1=0{}", " OR 1=0".repeat(20_000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000)),
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT '{}'", "x".repeat(1 << 20)),
    ] {
        let answer = sql(&server, &query);
        assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    }
    assert_eq!(json(&sql(&server, &format!("SELECT 1{}", "+1".repeat(240))))["rows"][0][0], 241);
    assert!(server.is_alive());
}

#[test]
fn a_query_ends_when_its_client_leaves() {
    let server = Server::start_with(&["--sql-seconds-max", "600"]);
    fill(&server);
    assert!(rests(&server));
    for query in &HOSTILE[..2] {
        let mut leaving = TcpStream::connect(&server.http).unwrap();
        let head = format!(
            "POST /api/v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/sql\r\n\
             content-length: {}\r\n\r\n{query}",
            query.len()
        );
        leaving.write_all(head.as_bytes()).unwrap();
        let before = ticks(&server);
        wait_until(&format!("{query} runs"), || ticks(&server) >= before + 20);
        drop(leaving);
        assert!(rests(&server), "{query} goes on");
    }
}

#[test]
fn queries_are_answered_where_the_setting_says() {
    let off = Server::start_with(&["--sql", "off"]);
    assert_eq!(sql(&off, "SELECT 1").status, 403);
    let local = Server::start();
    assert_eq!(get(&local.http, "/api/v1/sql?query=SELECT+1").status, 200);
}

#[test]
fn the_command_prints_a_table() {
    let server = Server::start();
    fill(&server);
    let query = "SELECT service, count(*) AS n FROM spans GROUP BY service";
    let (code, out, _) = Server::command(&["sql", query, "--http", &server.http]);
    assert_eq!((code, out.as_str()), (Some(0), "service  n\nshop     20000\n"));
    let (code, _, error) = Server::command(&["sql", "DROP TABLE spans", "--http", &server.http]);
    assert_eq!(code, Some(1));
    assert!(error.contains("DROP TABLE is not allowed"), "{error}");
}

/// The page names the columns of each view in the order of the view. Words in brackets after a
/// column are its values.
#[test]
fn the_page_lists_the_columns_of_every_view() {
    let page = include_str!("../docs/sql.md");
    let server = Server::start();
    let trace = "00000000000000000000000000000001";
    for view in ["spans", "logs", "traces", "red", "edges", "tree"] {
        let table = if view == "tree" { format!("tree('{trace}')") } else { view.to_owned() };
        let answer = json(&sql(&server, &format!("SELECT * FROM {table} LIMIT 0")));
        let columns = answer["columns"].as_array().unwrap_or_else(|| panic!("{view}: {answer}"));
        let columns: Vec<&str> =
            columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert!(columns.len() > 5, "{view}: {columns:?}");
        let paragraph = |view: &str| {
            let start = format!("**`{view}");
            let found = page.lines().find(|line| line.starts_with(&start));
            found.unwrap_or_else(|| panic!("{view} has no paragraph"))
        };
        // `tree` has the columns of `spans` and more. `edges` has the numbers of `red`, too.
        let others = match view {
            "tree" => paragraph("spans"),
            "edges" => paragraph("red"),
            _ => "",
        };
        let text = format!("{} {others}", paragraph(view));
        for column in &columns {
            assert!(text.contains(&format!("`{column}`")), "{view}: {column} is not described");
        }
        let plain = without_brackets(paragraph(view));
        for word in plain.split('`').skip(1).step_by(2).skip(1) {
            let is_name = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let is_other = ["spans", "red", "edges", "ancestors", "descendants"].contains(&word);
            assert!(
                !is_name || is_other || columns.contains(&word),
                "{view}: {word} is described, and no column"
            );
        }
    }
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_usize;
    let keep = |sign: &char| {
        match sign {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
}
