//! The processes of queries in SQL: what they may, what their end does, and what cannot end the
//! server.

use std::{
    fs,
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;

use crate::{
    harness::{
        PATIENCE, Server,
        http::{Answer, post},
        spans::{span, traces},
    },
    sql::{fill, workers},
};

/// Goes on until it is ended.
const ENDLESS: &str = "SELECT count(*) FROM spans a, spans b, spans c, spans d";

fn sql(server: &Server, query: &str) -> Answer {
    post(&server.http, "/api/v1/sql", "application/sql", query.to_owned())
}

fn json(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap()
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// The lines of a file of a process, by their first word.
fn said(pid: u32, file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A worker that has limited itself.
fn confined(server: &Server) -> u32 {
    until("no process confines itself", || {
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
        // The oldest process has the query when it works.
        until("the query does not run", || {
            let stat = fs::read_to_string(format!("/proc/{idle}/stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            (fields[11].parse::<u64>().unwrap() > 100).then_some(())
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
        let idle = confined(&server);
        let killed = std::process::Command::new("kill").args(["-9", &idle.to_string()]).status();
        assert!(killed.unwrap().success());
        until("it lives", || (!confined_now(idle)).then_some(()));
        let answer = sql(&server, "SELECT 1");
        assert_eq!(answer.status, 200, "{}", json(&answer));
    }
}

/// Whether the process runs: one that has ended and is not waited for has no limits any more.
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
    assert!(soft == hard && soft < 100 << 30, "{address_space}");
    // Its connection, twice, and the pipe that its complaints go into.
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut files: Vec<String> = files
        .map(|file| fs::read_link(file.unwrap().path()).unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    files.dedup();
    // Whoever started the server may have left it files of its own: they cannot be read either.
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
    let all = until("the query does not run", || {
        let all = workers(&server);
        (all.len() > 1).then_some(all)
    });
    server.kill();
    for pid in all {
        until("a process outlives the server", || (!confined_now(pid)).then_some(()));
    }
    assert!(asked.join().unwrap().is_err());
}

/// Queries that ended the server, or took memory without bound, when they ran in it.
fn found() -> Vec<String> {
    let nested = |depth: usize| "coalesce(".repeat(depth) + "service" + &", 'x')".repeat(depth);
    let between = |depth: usize| {
        (0..depth).fold("duration_nanos".to_owned(), |expr, _| {
            format!("CAST(({expr} BETWEEN 1 AND 2) AS BIGINT)")
        })
    };
    let percentile = "approx_percentile_cont(0.5, 1000000000000000) WITHIN GROUP (ORDER BY \
                      duration_nanos)";
    let newest = "SELECT service, max(duration_nanos) AS m FROM spans GROUP BY service ORDER BY m \
                  DESC NULLS LAST LIMIT";
    vec![
        format!("SELECT {percentile} FROM spans"),
        format!("SELECT service, {percentile} FROM spans GROUP BY service"),
        format!("{newest} 1000000000000"),
        format!("{newest} 20000000"),
        format!("SELECT * FROM ({newest} 1000000000000) AS x"),
        format!("{newest} 5 OFFSET 1000000000000"),
        "SELECT DISTINCT kind AS c0 FROM red ORDER BY c0 LIMIT 10000000".to_owned(),
        "SELECT * FROM spans ORDER BY operation LIMIT 1000000000000".to_owned(),
        format!("SELECT {} FROM spans", nested(29)),
        format!("SELECT {} FROM spans LIMIT 1", between(14)),
    ]
}

#[test]
fn no_query_ends_or_swells_the_server() {
    let mut server = Server::start_with(&["--sql-seconds-max", "5"]);
    fill(&server);
    let pid = server.pid();
    // As large as it gets by questions that are no harm.
    for _ in 0..5 {
        assert_eq!(sql(&server, "SELECT * FROM spans LIMIT 5000").status, 200);
    }
    let before = server.resident_bytes();
    for (number, query) in found().into_iter().enumerate() {
        let begin = Instant::now();
        let answer = sql(&server, &query);
        assert!(
            matches!(answer.status, 200 | 400 | 408 | 413 | 503),
            "{query}: {} {}",
            answer.status,
            json(&answer)
        );
        assert!(begin.elapsed() < Duration::from_secs(20), "{query}: {:?}", begin.elapsed());
        let spans = vec![span(1 << 64, number as u64 + 1, 0, "a")];
        let body = traces("meanwhile", spans).encode_to_vec();
        let taken = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(taken.status, 200);
        println!("{} in {:?}: {query}", answer.status, begin.elapsed());
    }
    assert!(server.is_alive() && server.pid() == pid);
    let after = server.resident_bytes();
    assert!(after < before + (256 << 20), "{before} bytes became {after}");
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
