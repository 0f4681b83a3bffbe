//! Metrics of rare events in `/metrics`: each test causes the event and expects its metric to
//! change.

use std::{fs, io::Write, net::TcpStream, path::Path, thread};

use prost::Message;

use crate::harness::{
    PATIENCE, Server,
    http::{get, post, send, try_send},
    spans::{span, traces},
    wait_until,
};

/// Number of small files of one hour, which is more than a merge waits for.
const FILES: u64 = 33;
/// Bytes with which no record begins.
const TORN: [u8; 100] = [0xaa; 100];
const CONNECTIONS: usize = 20;
/// Maximum number of queries of one client that may wait for others.
const WAITING_MAX: usize = 8;
/// Flags with which every request is flushed to a file of its own, and SQL queries end soon.
const FLAGS: [&str; 10] = [
    "--memory-flush-bytes",
    "1KiB",
    "--sql",
    "on",
    "--sql-seconds-max",
    "4",
    "--sql-running-max",
    "1",
    "--connections-max",
    "20",
];
const ENDLESS: &str = "SELECT count(*) FROM spans a, spans b, spans c, spans d, spans e, spans f";
/// A query for which the engine asks for 16 PB at once.
const KILLED: &str = "SELECT approx_percentile_cont(0.5, 1000000000000000) \
                      WITHIN GROUP (ORDER BY duration_nanos) FROM spans";

/// Returns the value of a sample by its name and labels.
fn value(server: &Server, sample: &str) -> f64 {
    let text = String::from_utf8(get(&server.http, "/metrics").body.to_vec()).unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    values.next().unwrap_or_else(|| panic!("no {sample}: {text}")).parse().unwrap()
}

/// Waits until the value of a sample is as wanted.
fn wait(server: &Server, sample: &str, wanted: impl Fn(f64) -> bool) {
    wait_until(sample, || wanted(value(server, sample)));
}

fn send_trace(server: &Server, trace: u64) {
    // The spans exceed the flush threshold of the memtable.
    let spans = (1..=10).map(|id| span(trace.into(), id, id / 2, "GET /cart")).collect();
    let body = traces("shop", spans).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    assert_eq!(answer.status, 200);
}

/// Appends a torn record to the write-ahead log of a killed server.
fn tear(data: &Path) {
    let segments = fs::read_dir(data.join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let last = segments.max().unwrap();
    fs::OpenOptions::new().append(true).open(last).unwrap().write_all(&TORN).unwrap();
}

/// Makes flushes fail for a while, so that unflushed records grow old.
fn fail_flushes(server: &Server) {
    let (table, aside) = (server.data_dir().join("tables/spans"), server.data_dir().join("aside"));
    fs::rename(&table, &aside).unwrap();
    fs::write(&table, "").unwrap();
    send_trace(server, 2);
    wait(server, "tidings_flush_failures_total", |failures| failures > 0.0);
    wait(server, "tidings_log_lag_seconds", |seconds| seconds > 0.0);
    wait(server, "tidings_alarms", |alarms| alarms > 0.0);
    fs::remove_file(&table).unwrap();
    fs::rename(&aside, &table).unwrap();
    wait(server, "tidings_table_commits_total", |commits| commits > 0.0);
    wait(server, "tidings_log_lag_seconds", |seconds| seconds == 0.0);
    wait(server, "tidings_alarms", |alarms| alarms == 0.0);
}

/// Writes enough files to make a merge due.
fn fill_files(server: &Server) {
    let commits = value(server, "tidings_table_commits_total");
    for trace in 3..3 + FILES {
        let files = value(server, "tidings_data_files");
        send_trace(server, trace);
        wait(server, "tidings_data_files", |now| now > files);
    }
    let after = value(server, "tidings_table_commits_total");
    assert!(after >= commits + FILES as f64, "{commits} commits became {after}");
}

/// Ends queries with each outcome that a test can cause.
fn end_queries(server: &Server) {
    let sql =
        |query: &str| post(&server.http, "/api/v1/sql", "application/sql", query.to_owned()).status;
    let counted = |outcome: &str| {
        value(server, &format!("tidings_sql_queries_total{{outcome=\"{outcome}\"}}"))
    };
    let outcomes = ["answered", "refused", "killed", "timed_out", "overloaded"];
    let before = outcomes.map(counted);
    assert_eq!(["SELECT 1", "DROP TABLE spans", KILLED].map(sql), [200, 400, 503]);
    thread::scope(|scope| {
        let endless = scope.spawn(|| sql(ENDLESS));
        wait(server, "tidings_sql_running", |running| running == 1.0);
        // The test sends one query more than may wait behind the endless one.
        let waiting = [(); WAITING_MAX + 1].map(|()| scope.spawn(|| sql("SELECT 1")));
        let mut statuses = waiting.map(|asked| asked.join().unwrap());
        statuses.sort_unstable();
        let mut expected = [200; WAITING_MAX + 1];
        expected[WAITING_MAX] = 429;
        assert_eq!((statuses, endless.join().unwrap()), (expected, 408));
    });
    let mut expected = before.map(|count| count + 1.0);
    expected[0] += WAITING_MAX as f64;
    assert_eq!(outcomes.map(counted), expected, "{outcomes:?}");
}

fn end_connections(server: &Server) {
    const EVICTED: &str =
        "tidings_connections_ended_total{listener=\"otlp/http\",reason=\"evicted_silent\"}";
    let silent = (0..2 * CONNECTIONS).map(|_| TcpStream::connect(&server.otlp_http).unwrap());
    let silent: Vec<_> = silent.collect();
    wait(server, EVICTED, |ended| ended > 0.0);
    wait(server, "tidings_connections{listener=\"otlp/http\"}", |open| open > 0.0);
    drop(silent);
}

fn pin(server: &Server) {
    const WRITTEN: &str = "tidings_audit_events_total{result=\"written\"}";
    let before = value(server, WRITTEN);
    let path = format!("/api/v1/traces/{:032x}/pin", 2);
    assert_eq!(send("PUT", &server.http, &path, &[], "").status, 201);
    // Events without a key are aggregated and written within about a second.
    wait(server, WRITTEN, |written| written == before + 1.0);
    assert_eq!(value(server, "tidings_audit_events_total{result=\"failed\"}"), 0.0);
}

/// Reads traces from files. Index headers and metadata are read only once.
fn read_files(server: &Server) {
    const BYTES: [&str; 2] = ["tidings_index_memory_bytes", "tidings_metadata_memory_bytes"];
    let reads = |source: &str| {
        let of = |name| value(server, &format!("tidings_{name}_reads_total{{source={source:?}}}"));
        ["index", "metadata"].map(of)
    };
    let ask = || {
        for trace in 3..6 {
            let answer =
                try_send("GET", &server.http, &format!("/api/v1/traces/{trace:032x}"), &[], "");
            assert_eq!(answer.unwrap().status, 200, "{trace}");
        }
    };
    ask();
    let (from_files, from_memory) = (reads("file"), reads("memory"));
    assert!(from_files.iter().all(|reads| *reads > 0.0), "{from_files:?}");
    assert!(BYTES.iter().all(|bytes| value(server, bytes) > 0.0));
    ask();
    assert_eq!(reads("file"), from_files);
    let again = reads("memory");
    assert!((0..2).all(|cache| again[cache] > from_memory[cache]), "{from_memory:?}, {again:?}");
}

#[test]
fn metrics_of_what_seldom_happens_move_when_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(folder.path(), &[]);
    assert_eq!(value(&server, "tidings_log_lag_seconds"), 0.0);
    send_trace(&server, 1);
    let lag = value(&server, "tidings_log_lag_seconds");
    assert!(lag > 0.0 && lag < PATIENCE.as_secs_f64(), "{lag}");
    assert_eq!(value(&server, "tidings_log_torn_bytes_total"), 0.0);
    let free = value(&server, "tidings_disk_free_bytes");
    server.kill();
    tear(folder.path());

    // The server accepts records and merges nothing, because a merge would need twice the reserve.
    let reserve = format!("{:.0}", free * 0.7);
    let flags = [&FLAGS[..], &["--disk-reserve-bytes", &reserve, "--log", "off"]].concat();
    let mut server = Server::start_in(folder.path(), &flags);
    let torn = value(&server, "tidings_log_torn_bytes_total");
    // The torn bytes include the zeros that fill the last block.
    assert!((100.0..100.0 + 4096.0).contains(&torn), "{torn}");
    fail_flushes(&server);
    fill_files(&server);
    end_queries(&server);
    end_connections(&server);
    pin(&server);
    wait(&server, "tidings_compaction_backlog_files", |files| files >= 32.0);
    let maintenance =
        |outcome: &str| format!("tidings_maintenance_files_total{{outcome={outcome:?}}}");
    assert_eq!(value(&server, &maintenance("merged")), 0.0);
    server.kill();

    let server = Server::start_in(folder.path(), &FLAGS);
    assert_eq!(value(&server, "tidings_log_torn_bytes_total"), 0.0);
    read_files(&server);
    wait(&server, &maintenance("merged"), |files| files >= 32.0);
    wait(&server, &maintenance("written"), |files| files >= 1.0);
    wait(&server, "tidings_removed_files", |files| files >= 32.0);
    wait(&server, "tidings_compaction_backlog_files", |files| files == 0.0);
}
