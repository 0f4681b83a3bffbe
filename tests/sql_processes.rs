//! The processes of SQL queries: their permissions, the effect of their end, and that they cannot
//! end the server.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;

use crate::{
    harness::{
        Server,
        flight::{flight_info, flight_rows, ticket},
        found_until,
        http::{Answer, post},
        spans::{span, traces},
        wait_until,
    },
    sql::{fill, rests, workers},
};

/// A query that runs until it is ended.
const ENDLESS: &str = "SELECT count(*) FROM spans a, spans b, spans c, spans d";
/// The memory budget of a server that gets the worst queries.
const BUDGET: u64 = 256 << 20;
/// Time limit for the answer to a query of at most five seconds, including the start and the end of
/// its process.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Messages of the command for queries without an answer. The reasons are their time, their memory,
/// the end of their process, and the limits of their text.
const REFUSALS: [&str; 4] = [
    "the query took longer than",
    "the query needs more memory than it may",
    "the query was ended: it needed",
    "the query has ",
];
/// Address space of a worker besides the program's own: that of the engine, and the 64 MiB of its
/// query.
const WORKER_ADDRESS_BYTES: u64 = (64 << 30) + (64 << 20);

fn sql(server: &Server, query: &str) -> Answer {
    post(&server.http, "/api/v1/sql", "application/sql", query.to_owned())
}

fn json(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Returns the rest of the first line with this prefix in a file of `/proc`, with single spaces.
fn said(pid: u32, file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Waits for a worker that has confined itself and returns its process id.
fn confined(server: &Server) -> u32 {
    found_until("a process confines itself", || {
        workers(server).into_iter().find(|pid| said(*pid, "status", "Seccomp:") == Some("2".into()))
    })
}

#[test]
fn a_query_whose_process_is_killed_is_answered_and_the_next_one_too() {
    let mut server = Server::start_with(&["--sql-seconds-max", "600"]);
    fill(&server);
    let (pid, idle) = (server.pid(), confined(&server));
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| sql(&server, ENDLESS));
        // The oldest process is known to run the query once it uses processor time.
        wait_until("the query runs", || {
            let stat = fs::read_to_string(format!("/proc/{idle}/stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() > 100
        });
        let killed = std::process::Command::new("kill").args(["-9", &idle.to_string()]).status();
        assert!(killed.unwrap().success());
        asked.join().unwrap()
    });
    assert_eq!(answer.status, 503, "{}", json(&answer));
    assert_eq!(json(&answer)["type"], "/problems/query-ended");
    assert!(json(&answer)["detail"].as_str().unwrap().contains("ended from outside"));
    let next = sql(&server, "SELECT count(*) FROM spans");
    assert_eq!((next.status, &json(&next)["rows"][0][0]), (200, &20_000.into()));
    assert!(server.is_alive() && server.pid() == pid);
}

#[test]
fn an_idle_process_that_is_killed_is_not_missed() {
    let server = Server::start();
    for _ in 0..3 {
        // The process of the previous query may end by itself between the check and the kill.
        let killed = found_until("a process can be killed", || {
            let idle = confined(&server);
            let kill = std::process::Command::new("kill").args(["-9", &idle.to_string()]).status();
            kill.unwrap().success().then_some(idle)
        });
        wait_until("it has ended", || !confined_now(killed));
        let answer = sql(&server, "SELECT 1");
        assert_eq!(answer.status, 200, "{}", json(&answer));
    }
}

/// Tells whether the process runs. An ended process that nobody has waited for is a zombie.
fn confined_now(pid: u32) -> bool {
    said(pid, "status", "State:").is_some_and(|state| !state.starts_with('Z'))
}

#[test]
fn a_process_has_nothing_but_its_connection_and_may_nothing() {
    let server = Server::start_with(&["--sql-memory-bytes-max", "64MiB", "--sql-seconds-max", "7"]);
    let pid = confined(&server);
    let status = |name: &str| said(pid, "status", name).unwrap();
    assert_eq!(status("Seccomp:"), "2");
    assert_eq!(status("NoNewPrivs:"), "1");
    let limits = |name: &str| said(pid, "limits", name).unwrap();
    for (name, expected) in [
        ("Max cpu time", "24 24 seconds"),
        ("Max file size", "0 0 bytes"),
        ("Max core file size", "0 0 bytes"),
        ("Max open files", "8 8 files"),
    ] {
        assert_eq!(limits(name), expected, "{name}");
    }
    let address_space = limits("Max address space");
    let mut numbers = address_space.split(' ').map(|number| number.parse::<u64>());
    let (soft, hard) = (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap());
    let program = status("VmSize:").trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
    // The program may use more memory now than when it limited itself, or a little less.
    let may = WORKER_ADDRESS_BYTES..WORKER_ADDRESS_BYTES + 2 * program;
    assert!(soft == hard && may.contains(&soft), "{address_space}, of which {program} are in use");
    // The worker has its connection, under two descriptors, and the pipe for its error output.
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut files: Vec<String> = files
        .map(|file| fs::read_link(file.unwrap().path()).unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    files.dedup();
    // The parent of the server may have left it open files. Workers cannot read them either.
    let left = fs::read_dir("/proc/self/fd").unwrap();
    let left: Vec<_> = left.filter_map(|file| fs::read_link(file.unwrap().path()).ok()).collect();
    files.retain(|file| !left.iter().any(|left| left.to_str() == Some(file)));
    assert!(files.iter().all(|file| file.starts_with("socket:") || file.starts_with("pipe:")));
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(environment, "");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "1000");
}

#[test]
fn processes_end_with_the_server() {
    let mut server = Server::start_with(&["--sql-seconds-max", "600"]);
    fill(&server);
    confined(&server);
    let address = server.http.clone();
    let asked = std::thread::spawn(move || {
        let path = "/api/v1/sql";
        crate::harness::http::try_send(
            "POST",
            &address,
            path,
            &[("content-type", "text/plain")],
            ENDLESS,
        )
    });
    let all = found_until("the query runs", || {
        let all = workers(&server);
        (all.len() > 1).then_some(all)
    });
    // A stopped process does not notice that its connection has ended.
    let stopped = all[0].to_string();
    let stop = std::process::Command::new("kill").args(["-STOP", &stopped]).status();
    assert!(stop.unwrap().success());
    server.kill();
    for pid in all {
        wait_until("the process ends with the server", || !confined_now(pid));
    }
    assert!(asked.join().unwrap().is_err());
}

/// A call for which the engine asks for 16 PB at once.
const PERCENTILE: &str =
    "approx_percentile_cont(0.5, 1000000000000000) WITHIN GROUP (ORDER BY duration_nanos)";
/// A query without the number after LIMIT.
const NEWEST: &str = "SELECT service, max(duration_nanos) AS m FROM spans GROUP BY service \
                      ORDER BY m DESC NULLS LAST LIMIT";

fn nested(depth: usize) -> String {
    format!("SELECT {}service{} FROM spans", "coalesce(".repeat(depth), ", 'x')".repeat(depth))
}

fn between(depth: usize, bounds: &str) -> String {
    let first = "duration_nanos BETWEEN 1 AND 2".to_owned();
    let value = (1..depth).fold(first, |value, _| format!("({value}) BETWEEN {bounds}"));
    format!("SELECT {value} FROM spans LIMIT 1")
}

fn between_numbers(depth: usize) -> String {
    let value = (0..depth).fold("duration_nanos".to_owned(), |value, _| {
        format!("CAST(({value} BETWEEN 1 AND 2) AS BIGINT)")
    });
    format!("SELECT {value} FROM spans LIMIT 1")
}

/// Returns one query of each kind that ended the server, or took unbounded memory, when queries ran
/// within the server process.
fn dangerous() -> [String; 5] {
    [
        format!("SELECT {PERCENTILE} FROM spans"),
        format!("{NEWEST} 1000000000000"),
        "SELECT DISTINCT kind AS c0 FROM red ORDER BY c0 LIMIT 10000000".to_owned(),
        nested(30),
        between(30, "false AND true"),
    ]
}

/// Returns the queries of [`dangerous`] and all other forms that were found.
fn found() -> Vec<String> {
    let mut all = Vec::from(dangerous());
    all.extend([
        format!("SELECT service, {PERCENTILE} FROM spans GROUP BY service"),
        format!("{NEWEST} 20000000"),
        format!("SELECT * FROM ({NEWEST} 1000000000000) AS x"),
        format!("{NEWEST} 5 OFFSET 1000000000000"),
        "SELECT * FROM spans ORDER BY operation LIMIT 1000000000000".to_owned(),
        nested(29),
        between(14, "false AND true"),
        // The query compares a boolean with numbers.
        between(14, "1 AND 2"),
        between_numbers(14),
    ]);
    all
}

/// Returns flags of a server with a small memory budget, whose queries have memory of their own.
fn flags(budget: &str) -> [&str; 8] {
    [
        "--memory",
        budget,
        "--sql-seconds-max",
        "5",
        "--sql-memory-bytes-max",
        "64MiB",
        "--sql-running-max",
        "4",
    ]
}

/// Sends all of these queries, and a span after each.
fn ask_found(server: &Server) {
    for (number, query) in found().into_iter().enumerate() {
        let begin = Instant::now();
        let answer = sql(server, &query);
        assert!(
            matches!(answer.status, 200 | 400 | 408 | 413 | 503),
            "{query}: {} {}",
            answer.status,
            json(&answer)
        );
        assert!(begin.elapsed() < ANSWER_MAX, "{query}: {:?}", begin.elapsed());
        let spans = vec![span(1 << 64, number as u64 + 1, 0, "a")];
        let body = traces("meanwhile", spans).encode_to_vec();
        let taken = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(taken.status, 200);
        println!("{} in {:?}: {query}", answer.status, begin.elapsed());
    }
}

#[test]
fn no_query_ends_or_swells_the_server() {
    let budget = BUDGET.to_string();
    let mut server = Server::start_with(&flags(&budget));
    fill(&server);
    let (pid, done) = (server.pid(), AtomicBool::new(false));
    let (peak, _) = std::thread::scope(|scope| {
        let (server, done) = (&server, &done);
        let peak = scope.spawn(move || server.peak_allocated_bytes_until(done));
        let asked = scope.spawn(move || ask_found(server)).join();
        done.store(true, Ordering::Relaxed);
        asked.unwrap();
        peak.join().unwrap()
    });
    assert!(server.is_alive() && server.pid() == pid);
    assert!(peak < BUDGET, "{peak} bytes");
}

#[test]
fn no_query_of_the_command_ends_the_server() {
    let budget = BUDGET.to_string();
    let mut server = Server::start_with(&flags(&budget));
    fill(&server);
    let pid = server.pid();
    for query in dangerous() {
        let begin = Instant::now();
        let (code, out, error) = Server::command(&["sql", &query, "--http", &server.http]);
        println!("{code:?} in {:?}: {query}\n  {error}", begin.elapsed());
        assert!(begin.elapsed() < ANSWER_MAX, "{query}: {:?}", begin.elapsed());
        match code {
            // The output has a line of names and at least one of values.
            Some(0) => assert!(out.lines().count() > 1, "{query}: {out}"),
            code => {
                assert_eq!((code, out.as_str()), (Some(1), ""), "{query}: {error}");
                let is_refusal = REFUSALS.iter().any(|refusal| error.contains(refusal));
                assert!(is_refusal, "{query}: {error}");
            }
        }
    }
    assert!(server.is_alive() && server.pid() == pid);
    let next = sql(&server, "SELECT count(*) FROM spans");
    assert_eq!((next.status, &json(&next)["rows"][0][0]), (200, &20_000.into()));
}

/// The engine cannot interrupt the planning of a query, so the server ends the process.
#[test]
fn planning_alone_is_ended_at_the_deadline() {
    const SECONDS: u64 = 2;
    let mut server = Server::start_with(&["--sql-seconds-max", &SECONDS.to_string()]);
    fill(&server);
    let pid = server.pid();
    let planned = sql(&server, &format!("EXPLAIN {}", nested(3)));
    assert_eq!(planned.status, 200, "{}", json(&planned));
    let (begin, asked) = (Instant::now(), format!("EXPLAIN {}", nested(30)));
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| sql(&server, &asked));
        // Other requests do not wait for the planner.
        let mut sent = 0;
        while !answer.is_finished() {
            sent += 1;
            let body = traces("meanwhile", vec![span(1 << 64, sent, 0, "a")]).encode_to_vec();
            let taken = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
            assert_eq!(taken.status, 200);
            assert_eq!(server.get("/api/v1/services").0, 200);
        }
        assert!(sent > 1, "nothing was taken meanwhile");
        answer.join().unwrap()
    });
    let took = begin.elapsed();
    assert_eq!(answer.status, 408, "{}", json(&answer));
    assert_eq!(json(&answer)["detail"], format!("the query took longer than {SECONDS}s"));
    assert!(took >= Duration::from_secs(SECONDS) && took < ANSWER_MAX, "{took:?}");
    assert!(rests(&server), "the process plans on");
    let next = sql(&server, "SELECT count(*) FROM spans WHERE service = 'shop'");
    assert_eq!((next.status, &json(&next)["rows"][0][0]), (200, &20_000.into()));
    assert!(server.is_alive() && server.pid() == pid);
}

#[test]
fn no_query_over_flight_ends_or_swells_the_server() {
    // The documented gRPC codes are OK, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`,
    // `RESOURCE_EXHAUSTED` and UNAVAILABLE.
    const DOCUMENTED: [i32; 5] = [0, 3, 4, 8, 14];
    let budget = BUDGET.to_string();
    let mut server = Server::start_with(&flags(&budget));
    fill(&server);
    let (pid, done) = (server.pid(), AtomicBool::new(false));
    let (peak, _) = std::thread::scope(|scope| {
        let peak = scope.spawn(|| server.peak_allocated_bytes_until(&done));
        let asked = scope.spawn(|| {
            for query in dangerous() {
                let begin = Instant::now();
                let info = flight_info(&server.http, &[], &query);
                let rows = flight_rows(&server.http, &[], &ticket(&query));
                for (call, answer) in [("GetFlightInfo", info), ("DoGet", rows)] {
                    println!("{call} {:?} in {:?}: {query}", answer.code, begin.elapsed());
                    let is_documented = answer.code.is_some_and(|code| DOCUMENTED.contains(&code));
                    assert!(
                        is_documented,
                        "{call} of {query}: {:?} {}",
                        answer.code, answer.message
                    );
                    assert_eq!(answer.code == Some(0), answer.message.is_empty(), "{call} {query}");
                }
                assert!(begin.elapsed() < 2 * ANSWER_MAX, "{query}: {:?}", begin.elapsed());
            }
        });
        let asked = asked.join();
        done.store(true, Ordering::Relaxed);
        asked.unwrap();
        peak.join().unwrap()
    });
    assert!(server.is_alive() && server.pid() == pid);
    assert!(peak < BUDGET, "{peak} bytes");
    let next = flight_rows(&server.http, &[], &ticket("SELECT service FROM spans LIMIT 1"));
    assert_eq!(next.code, Some(0), "{}", next.message);
    assert!(String::from_utf8_lossy(&next.body).contains("shop"));
}

#[test]
fn a_query_whose_process_gets_no_memory_is_answered_and_the_next_one_too() {
    let mut server = Server::start();
    fill(&server);
    let pid = server.pid();
    let answer = sql(&server, &dangerous()[0]);
    assert_eq!(answer.status, 503, "{}", json(&answer));
    assert_eq!(json(&answer)["type"], "/problems/query-ended");
    let detail = json(&answer)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("more memory than it may have"), "{detail}");
    let next = sql(&server, "SELECT count(*) FROM spans");
    assert_eq!((next.status, &json(&next)["rows"][0][0]), (200, &20_000.into()));
    assert!(server.is_alive() && server.pid() == pid);
}

#[test]
fn a_limit_beyond_all_rows_is_as_none() {
    let server = Server::start();
    fill(&server);
    for limit in ["LIMIT 1000000000000", "LIMIT 20000000", "LIMIT 100001"] {
        let query =
            format!("SELECT service, count(*) AS n FROM spans GROUP BY service ORDER BY n {limit}");
        let answer = json(&sql(&server, &query));
        assert_eq!(answer["rows"], serde_json::json!([["shop", 20_000]]), "{limit}: {answer}");
        assert_eq!(answer["complete"], true);
    }
}
