//! A query may access only the data directory.
//!
//! The test records every system call that names a file, makes a socket or starts a program while
//! queries of all kinds run over HTTP and Flight. Between the first and the last query the server
//! opens no file outside, connects to nothing and starts no program.

use std::{fs, path::Path, process::Command};

use prost::Message;

use super::{
    commits,
    events::{Event, Phase, events},
    terminate,
};
use crate::{
    harness::{
        Server, has,
        http::{call, frame, post},
        wait_until,
    },
    sql::fill,
};

const CALLS: &str = "trace=%file,%network,%process,io_uring_setup";

/// Queries that try to reach something outside.
const HOSTILE: &[&str] = &[
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://bucket/x.parquet'",
    "CREATE EXTERNAL TABLE t STORED AS ARROW LOCATION 'http://127.0.0.1:9/x'",
    "CREATE TABLE t AS SELECT * FROM '/etc/passwd'",
    "CREATE VIEW v AS SELECT * FROM '/etc/passwd'",
    "CREATE FUNCTION f() RETURNS INT LANGUAGE c AS '/lib/libc.so.6'",
    "COPY (SELECT 1) TO '/tmp/out.csv'",
    "COPY spans TO '/tmp/out.parquet' STORED AS PARQUET",
    "COPY spans FROM '/etc/passwd'",
    "COPY spans FROM PROGRAM 'id'",
    "INSERT INTO spans SELECT * FROM '/etc/passwd'",
    "INSERT INTO spans VALUES (1)",
    "SELECT 1 INTO OUTFILE '/tmp/out'",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE spans",
    "ATTACH '/etc/passwd' AS other",
    "SET datafusion.execution.parquet.pushdown_filters = true",
    "SET datafusion.catalog.location = '/etc'",
    "SHOW ALL",
    "INSTALL httpfs",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM \"/etc/passwd\"",
    "SELECT * FROM \"file:///etc/passwd\"",
    "SELECT * FROM \"../../../../etc/passwd\"",
    "SELECT * FROM \"s3://bucket/x.parquet\"",
    "SELECT * FROM \"http://127.0.0.1:9/x.csv\"",
    "SELECT * FROM/**/\"/etc/passwd\"",
    "SELECT * FROM \u{ff02}/etc/passwd\u{ff02}",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('/etc/passwd')",
    "SELECT * FROM parquet_metadata('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM information_schema.tables",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT input_file_name() FROM spans",
    "SELECT 1; COPY spans TO '/tmp/out.csv'",
    "WITH x AS (SELECT * FROM '/etc/passwd') SELECT * FROM x",
    "WITH x AS (INSERT INTO spans VALUES (1)) SELECT * FROM x",
    "EXPLAIN ANALYZE SELECT * FROM '/etc/passwd'",
    "EXPLAIN ANALYZE COPY spans TO '/tmp/out.csv'",
    "PREPARE p AS SELECT * FROM '/etc/passwd'",
    "EXECUTE p('/etc/passwd')",
    "SELECT * FROM tree('/etc/passwd')",
    "SELECT * FROM tree('file:///etc/passwd')",
];

/// Valid queries that do much: read files, sort, join, and use times and time zones.
const ANSWERED: &[&str] = &[
    "SELECT count(*) FROM spans",
    "SELECT * FROM spans ORDER BY operation, span_id LIMIT 10",
    "SELECT count(*) FROM spans a JOIN spans b ON a.span_id = b.span_id",
    "SELECT service, count(DISTINCT trace_id) FROM spans GROUP BY service",
    "SELECT max(text) FROM logs WHERE text ~ 'x+' AND trace_id = '00000000000000000000000000000001'",
    "SELECT * FROM traces ORDER BY start_time DESC LIMIT 3",
    "SELECT sum(calls) FROM red",
    "SELECT * FROM edges",
    "SELECT count(*) FROM tree('00000000000000000000000000000001')",
    "SELECT now() AT TIME ZONE 'Europe/Berlin', date_trunc('hour', now()), current_date",
    "SELECT to_timestamp('2026-01-01 00:00:00 Europe/Berlin')",
    "SELECT '/etc/passwd', 'file:///etc/passwd', chr(47)",
    "EXPLAIN SELECT * FROM spans",
];

#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(string, tag = "1")]
    first: String,
    #[prost(bytes = "vec", tag = "2")]
    second: Vec<u8>,
}

/// Returns a Flight SQL command with this text.
fn command(name: &str, text: &str) -> Vec<u8> {
    let statement = Wrapped { first: text.to_owned(), second: Vec::new() };
    let first = format!("type.googleapis.com/arrow.flight.protocol.sql.{name}");
    Wrapped { first, second: statement.encode_to_vec() }.encode_to_vec()
}

/// Returns a descriptor with this command.
fn descriptor(command: Vec<u8>) -> Vec<u8> {
    let mut descriptor = vec![8, 2];
    descriptor.extend(Wrapped { first: String::new(), second: command }.encode_to_vec());
    descriptor
}

fn flight(server: &Server, method: &str, message: &[u8]) -> Option<i32> {
    let path = format!("/arrow.flight.protocol.FlightService/{method}");
    call(&server.http, &path, &[], frame(false, message)).code
}

#[test]
fn no_query_reaches_anything_but_the_data_directory() {
    if !has("strace", "what queries reach") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("serve.trace"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "200", "-e", "signal=none", "-e", CALLS, "-o"]);
    strace.arg(&out).arg("--");
    let mut server = Server::start_under(strace, &data, &["--memory-flush-seconds", "1"]);
    let before = commits(&data);
    fill(&server);
    wait_until("records are flushed", || commits(&data) > before);
    let sql = |text: &str| post(&server.http, "/api/v1/sql", "application/sql", text.to_owned());
    let ask_all = || {
        for text in ANSWERED {
            let answer = sql(text);
            assert_eq!(answer.status, 200, "{text}: {:?}", answer.body);
        }
    };
    // Parts of the engine ask the system once for the number of processors, so the test runs all
    // queries before the checked part.
    ask_all();
    assert_eq!(sql("SELECT 'the first of the queries'").status, 200);
    for text in HOSTILE {
        let answer = sql(text);
        assert_eq!(answer.status, 400, "{text}: {:?}", answer.body);
        let asked = command("CommandStatementQuery", text);
        assert_eq!(flight(&server, "GetFlightInfo", &descriptor(asked)), Some(3), "{text}");
        let request = command("ActionCreatePreparedStatementRequest", text);
        let action = Wrapped { first: "CreatePreparedStatement".to_owned(), second: request };
        assert_eq!(flight(&server, "DoAction", &action.encode_to_vec()), Some(3), "{text}");
    }
    for name in ["CommandStatementUpdate", "CommandStatementIngest"] {
        let mut put = vec![10];
        let descriptor = descriptor(command(name, "/etc/passwd"));
        prost::encoding::encode_varint(descriptor.len() as u64, &mut put);
        put.extend(descriptor);
        assert_eq!(flight(&server, "DoPut", &put), Some(12), "{name}");
    }
    ask_all();
    assert_eq!(sql("SELECT 'the last of the queries'").status, 200);
    terminate(&mut server);

    let trace = fs::read_to_string(&out).unwrap();
    let (_, trace) = trace.split_once("the first of the queries").unwrap();
    let (trace, _) = trace.split_once("the last of the queries").unwrap();
    let (mut files, mut outside) = (0, Vec::new());
    for event in events(trace).iter().filter(|event| event.phase == Phase::Begins) {
        match reach(event, &data) {
            Reach::Nothing => {}
            Reach::Outside if starts_worker(event) => {}
            Reach::Data => files += 1,
            Reach::Outside => outside.push(format!("{}({})", event.name, event.args)),
        }
    }
    assert!(outside.is_empty(), "{}", outside.join("\n"));
    assert!(files > 0, "queries read no file: nothing is shown");
}

/// Tells whether a call starts a query's process or watches its memory. Each such call is
/// recognised by its whole path or its form, so that a file named in a query does not match.
fn starts_worker(event: &Event<'_>) -> bool {
    const PATHS: [&str; 8] = [
        "/etc/ld.so.preload",
        "/etc/ld.so.cache",
        "/proc/sys/vm/overcommit_memory",
        "/proc/uptime",
        "/proc/self/cgroup",
        "/proc/self/maps",
        "/proc/self/status",
        "/proc/self/oom_score_adj",
    ];
    let is_known = |path: &str| {
        let of_process = path.strip_prefix("/proc/").and_then(|rest| rest.split_once('/'));
        let is_own = of_process.is_some_and(|(pid, file)| {
            pid.bytes().all(|byte| byte.is_ascii_digit())
                && ["status", "maps", "cgroup"].contains(&file)
        });
        let library = path.rsplit_once('/').filter(|(folder, _)| folder.ends_with("-linux-gnu"));
        let is_library = library.is_some_and(|(folder, name)| {
            ["/lib/", "/usr/lib/"].iter().any(|start| folder.starts_with(start))
                && ["libc.so.6", "libm.so.6", "libgcc_s.so.1"].contains(&name)
        });
        let node = path.strip_prefix("/sys/devices/system/node/node");
        is_own || is_library || node.is_some() || PATHS.contains(&path)
    };
    match event.name {
        "socketpair" => event.args.starts_with("AF_UNIX, "),
        "clone3" | "clone" | "vfork" => event.args.contains("CLONE_VM|CLONE_VFORK"),
        "execve" => event.args.starts_with("\"/proc/self/exe\", [\"tidings\", \"sql-worker\", "),
        "chdir" => event.paths() == ["/"],
        _ => match event.paths().as_slice() {
            [""] => {
                let file = event.args.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                file.is_some_and(|(file, _)| file.starts_with("pipe:[") || is_known(file))
            }
            [path] => is_known(path),
            _ => false,
        },
    }
}

/// The reach of a system call.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    Nothing,
    Data,
    Outside,
}

fn reach(event: &Event<'_>, data: &Path) -> Reach {
    match event.name {
        // These calls use connections that clients opened.
        "accept4" | "sendto" | "sendmsg" | "recvfrom" | "recvmsg" | "setsockopt" | "getsockopt"
        | "shutdown" | "getsockname" | "getpeername" => Reach::Nothing,
        // These calls start and end threads.
        "exit" | "exit_group" | "wait4" => Reach::Nothing,
        "clone" | "clone3" if event.args.contains("CLONE_THREAD") => Reach::Nothing,
        "clone" | "clone3" | "fork" | "vfork" | "execve" | "execveat" | "socket" | "connect"
        | "bind" | "listen" | "socketpair" | "io_uring_setup" => Reach::Outside,
        _ => {
            let from = event.args.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
            let from = from.map_or("", |(from, _)| from);
            let paths = event.paths();
            // The path is an address when a worker is ended while it starts. The worker then looked
            // at its own connection, or for a library from its folder, which is the root.
            let is_unread =
                event.args.split_once(", ").is_some_and(|(_, rest)| rest.starts_with("0x"));
            let is_of_worker =
                from == "/" || from.starts_with("socket:") || from.starts_with("pipe:");
            if is_unread && is_of_worker && paths.is_empty() {
                return Reach::Nothing;
            }
            let is_inside = |path: &&str| Path::new(from).join(path).starts_with(data);
            match paths.iter().all(is_inside) && (!paths.is_empty() || from.is_empty()) {
                true => Reach::Data,
                false => Reach::Outside,
            }
        }
    }
}

#[test]
fn paths_of_a_call_decide_whether_it_leaves_the_data_directory() {
    let data = Path::new("/d");
    for (line, expected) in [
        ("openat(AT_FDCWD</home>, \"/d/wal/1\", O_RDONLY) = 3</d/wal/1>", Reach::Data),
        ("openat(AT_FDCWD</home>, \"/etc/passwd\", O_RDONLY) = 3</etc/passwd>", Reach::Outside),
        ("openat(AT_FDCWD</home>, \"x\", O_RDONLY) = -1 ENOENT (No such file)", Reach::Outside),
        ("openat(9</d>, \"x\", O_RDONLY) = 3</d/x>", Reach::Data),
        ("statx(9</d/x>, \"\", AT_EMPTY_PATH, STATX_ALL, 0x7) = 0", Reach::Data),
        ("newfstatat(3<socket:[7]>, 0x7f843ab40dd5,  <unfinished ...>", Reach::Nothing),
        ("newfstatat(3<socket:[7]>, \"/etc/passwd\", 0x7, 0) = 0", Reach::Outside),
        ("openat(AT_FDCWD</>, 0x7f843ab40dd5, O_RDONLY|O_CLOEXEC <unfinished ...>", Reach::Nothing),
        ("openat(AT_FDCWD</>, \"/etc/passwd\", O_RDONLY) = 3</etc/passwd>", Reach::Outside),
        ("newfstatat(AT_FDCWD</home>, 0x7f843ab40dd5,  <unfinished ...>", Reach::Outside),
        ("rename(\"/d/a\", \"/tmp/b\") = 0", Reach::Outside),
        ("socket(AF_INET, SOCK_STREAM, 0) = 5", Reach::Outside),
        ("clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7}, 88) = 12", Reach::Nothing),
        ("clone3({flags=CLONE_VM|CLONE_VFORK, stack=0x7}, 88) = 12", Reach::Outside),
    ] {
        let line = format!("7 {line}");
        assert_eq!(reach(&events(&line)[0], data), expected, "{line}");
    }
}
