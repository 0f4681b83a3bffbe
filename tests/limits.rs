//! Tests a full disk, a log that is larger than memory, and more connections than open files.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;
use tidings_proto::otlp::{InstrumentationScope, KeyValue, ScopeSpans};

use crate::{
    harness::{
        PATIENCE, Server,
        http::{self, Answer, call, frame, get},
        leave_out,
        spans::{TRACE_EXPORT, log, logs, span, traces},
    },
    keys::until,
};

/// A small file system in memory. Dropping it unmounts it.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts a file system of so many bytes; `None`, with a line of output, when that is not
    /// possible.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        match mounted {
            Ok(status) if status.success() => Some(Self(folder)),
            _ => leave_out("full disk: a file system in memory may not be mounted here"),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Fills part of the disk with a file. Removing the file frees the space.
    pub(crate) fn ballast(&self, bytes: u64) -> PathBuf {
        let path = self.0.path().join("ballast");
        fs::write(&path, vec![7_u8; usize::try_from(bytes).unwrap()]).unwrap();
        path
    }

    /// Returns the free bytes.
    fn free(&self) -> u64 {
        let df = Command::new("df").args(["--output=avail", "-B1"]).arg(self.0.path()).output();
        let said = String::from_utf8(df.unwrap().stdout).unwrap();
        said.lines().last().unwrap().trim().parse().unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Makes a request of one span with a text of so many bytes that hardly compresses.
pub(crate) fn large(trace: u128, bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(u64::try_from(trace).unwrap());
    let text: String = (0..bytes).map(|_| rng.alphanumeric()).collect();
    let attributes = vec![KeyValue::new("payload", text.as_str())];
    let one = tidings_proto::otlp::Span { attributes, ..span(trace, 1, 0, "upload") };
    traces("shop", vec![one]).encode_to_vec()
}

fn post(server: &Server, trace: u128, bytes: usize) -> Answer {
    http::post(&server.otlp_http, "/v1/traces", "application/x-protobuf", large(trace, bytes))
}

/// Checks that every acknowledged span is stored once, and that no refused span is stored.
fn check(server: &Server, answers: &BTreeMap<u128, bool>) {
    for (trace, stored) in answers {
        let (status, json) = server.get(&format!("/api/v1/traces/{trace:032x}"));
        let expected = if *stored { (200, Some(1)) } else { (404, None) };
        assert_eq!((status, json["spanCount"].as_u64()), expected, "{trace}: {json}");
    }
    let stored = answers.values().filter(|stored| **stored).count();
    assert_eq!(server.get("/api/v1/status").1["spans"]["stored"], stored);
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    const RECORD: usize = 256 << 10;
    let Some(disk) = SmallDisk::new(40 << 20) else { return };
    let ballast = disk.ballast(18 << 20);
    let flags = ["--disk-reserve-bytes", "8MiB", "--wal-segment-bytes", "1MiB"];
    let flags = [&flags[..], &["--memory-flush-bytes", "2MiB", "--log", "off"]].concat();
    let mut server = Server::start_in(&disk.data(), &flags);
    let mut answers = BTreeMap::new();
    let refused = (1..2_000).find_map(|trace| {
        let answer = post(&server, trace, RECORD);
        answers.insert(trace, answer.status == 200);
        (answer.status != 200).then_some((trace, answer))
    });
    let (last, refusal) = refused.expect("the disk does not get full");
    assert!(last > 25, "only {last} were stored");
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.headers.contains_key("retry-after"), "{refusal:?}");
    assert_eq!(get(&server.http, "/live").status, 200);

    // The server continues to answer with 200 or 503, and the reserve keeps some space free.
    for trace in last + 1..last + 20 {
        let answer = post(&server, trace, RECORD);
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answers.insert(trace, answer.status == 200);
        assert!(disk.free() > 0);
    }
    let trace = last + 20;
    let call = call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, &large(trace, RECORD)));
    assert!([Some(0), Some(14)].contains(&call.code), "{call:?}");
    assert!(call.code == Some(0) || call.details.is_some(), "no RetryInfo: {call:?}");
    answers.insert(trace, call.code == Some(0));
    check(&server, &answers);

    fs::remove_file(ballast).unwrap();
    let begin = Instant::now();
    let mut trace = last + 21;
    while post(&server, trace, RECORD).status != 200 {
        answers.insert(trace, false);
        trace += 1;
        assert!(begin.elapsed() < Duration::from_secs(10), "it does not recover");
    }
    answers.insert(trace, true);
    assert_eq!(get(&server.http, "/ready").status, 200);
    check(&server, &answers);
    assert_eq!(server.terminate().code(), Some(0));
    let dir = disk.data();
    let (code, out, error) = Server::command(&["check", dir.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}{error}");
    check(&Server::start_in(&dir, &flags), &answers);
}

#[test]
fn a_record_that_does_not_fit_leaves_nothing_behind() {
    let Some(disk) = SmallDisk::new(1 << 20) else { return };
    // The reserve is so small that the disk is full in the middle of a record.
    let flags = ["--disk-reserve-bytes", "4KiB", "--memory-flush-bytes", "4KiB", "--log", "off"];
    let server = Server::start_in(&disk.data(), &flags);
    assert_eq!(post(&server, 1, 20_000).status, 200);
    let ballast = disk.ballast(disk.free() - 100_000);
    assert_eq!(post(&server, 2, 400_000).status, 503);
    fs::remove_file(ballast).unwrap();
    let mut answers = BTreeMap::from([(1, true), (2, false)]);
    let begin = Instant::now();
    let mut trace = 3;
    while answers.values().filter(|stored| **stored).count() < 3 {
        answers.insert(trace, post(&server, trace, 20_000).status == 200);
        trace += 1;
        assert!(begin.elapsed() < PATIENCE, "it does not recover");
    }
    check(&server, &answers);
    let server = server.restart();
    check(&server, &answers);
}

/// Writes a log of so many bytes, lets a new server replay it, and returns its peak memory in
/// bytes.
fn replay(bytes: usize, flags: &[&str]) -> u64 {
    const REQUEST: usize = 1 << 20;
    const TEXT: usize = 8 << 10;
    let folder = tempfile::tempdir().unwrap();
    // The first server must not flush.
    let keep = ["--memory-flush-bytes", "512MiB", "--disk-reserve-bytes", "512MiB"];
    let keep = [&keep[..], &["--memory-bytes-max", "2GiB"]].concat();
    let keep = [&keep[..], &["--memory-flush-seconds", "100000"]].concat();
    let mut server = Server::start_in(folder.path(), &keep);
    let mut spans = 0;
    for request in 1..=bytes / REQUEST {
        let mut rng = fastrand::Rng::with_seed(request as u64);
        let count = REQUEST / TEXT;
        let made = (1..=count).map(|number| {
            let text: String = (0..TEXT).map(|_| rng.alphanumeric()).collect();
            let attributes = vec![KeyValue::new("payload", text.as_str())];
            let one = span(request as u128, number as u64, number as u64 / 2, "work");
            tidings_proto::otlp::Span { attributes, ..one }
        });
        let body = traces("shop", made.collect()).encode_to_vec();
        let kind = "application/x-protobuf";
        assert_eq!(http::post(&server.otlp_http, "/v1/traces", kind, body).status, 200);
        spans += count;
    }
    server.kill();
    assert!(size_of_log(folder.path()) >= bytes as u64);
    let server = Server::start_in(folder.path(), flags);
    assert_eq!(server.get("/api/v1/status").1["spans"]["stored"], spans);
    server.peak_resident_bytes()
}

fn size_of_log(data: &Path) -> u64 {
    let segments = fs::read_dir(data.join("wal")).unwrap();
    segments.map(|segment| segment.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_log_is_read_in_memory_that_does_not_grow_with_it() {
    let flags = ["--memory-flush-bytes", "4MiB"];
    let short = replay(48 << 20, &flags);
    // The second log is 352 MiB longer. The peak of the same build varies by up to 85 MiB, because
    // merges begin during the replay and the allocator keeps free memory for a moment.
    let long = replay(400 << 20, &flags);
    assert!(long < short + (176 << 20), "{short} {long}");
}

/// Starts a server with this soft limit of open files, which it may raise to the hard limit.
fn with_open_files(soft: u32, hard: u32, folder: &Path) -> Server {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\""), "sh"]);
    Server::start_under(shell, folder, &["--log", "off"])
}

#[test]
fn more_connections_than_open_files_keep_nobody_from_storing_and_reading() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_open_files(200, 200, folder.path());
    // The client keeps this connection and uses it again.
    assert_eq!(post(&server, 1, 1000).status, 200);
    let begin = Instant::now();
    let receivers = [&server.otlp_grpc, &server.otlp_http, &server.zipkin];
    let connections: Vec<_> =
        receivers.into_iter().flat_map(|to| [to; 70]).map(TcpStream::connect).collect();
    assert!(connections.iter().all(Result::is_ok), "{connections:?}");
    assert_eq!(get(&server.http, "/live").status, 200);
    assert_eq!(post(&server, 2, 1000).status, 200);
    assert_eq!(get(&server.http, "/ready").status, 200);
    check(&server, &BTreeMap::from([(1, true), (2, true)]));
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    assert!(open < 120, "{open} open files: the store's part is used, too");
    // A later answer would show nothing, because the server ends idle connections by then.
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
}

#[test]
fn as_many_files_may_be_open_as_the_system_allows() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_open_files(64, 256, folder.path());
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("256"), "{line}");
}

/// Limits files to 8,192 blocks, so that a segment of the log cannot grow to its full size.
#[test]
fn a_limit_of_the_size_of_files_refuses_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 8192 && exec \"$@\"", "sh"]);
    let flags = ["--log", "off", "--memory-flush-seconds", "3600"];
    let mut server = Server::start_under(shell, folder.path(), &flags);
    let (mut answers, mut refused) = (BTreeMap::new(), 0);
    for trace in 1..=40 {
        let status = post(&server, trace, 256 << 10).status;
        assert!(matches!(status, 200 | 503), "{trace}: {status}");
        refused += usize::from(status == 503);
        answers.insert(trace, status == 200);
    }
    assert!((1..40).contains(&refused), "{refused}");
    assert_eq!(get(&server.http, "/live").status, 200);
    check(&server, &answers);
    server.kill();
    let server = Server::start_in(folder.path(), &[]);
    check(&server, &answers);
}

#[test]
fn bodies_that_do_not_end_take_no_more_memory_than_all_of_them_may() {
    const BYTES: usize = 15 << 20;
    let server = Server::start();
    let head = format!(
        "POST /jaeger/api/transform HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BYTES}\r\n\r\n"
    );
    let unfinished = [head.into_bytes(), vec![b' '; BYTES - 100]].concat();
    let begin = Instant::now();
    let mut connections: Vec<_> =
        (0..6).map(|_| TcpStream::connect(&server.http).unwrap()).collect();
    for connection in &mut connections {
        connection.set_write_timeout(Some(PATIENCE)).unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        // The write may fail, because the server does not read the rest of a refused body.
        let _ = connection.write_all(&unfinished);
    }
    let answer = loop {
        let mut status = [0; 12];
        let mut connections = connections.iter_mut();
        if connections.any(|connection| connection.read_exact(&mut status).is_ok()) {
            break status;
        }
        // A later refusal would show nothing, because the server ends slow bodies by then.
        assert!(begin.elapsed() < Duration::from_secs(25), "nothing is refused");
    };
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 503");
    assert_eq!(get(&server.http, "/live").status, 200);
}

/// Maximum time until a new client has its answer. The server's limit for a head is longer, so the
/// client does not wait for slow connections to be ended.
const SOON: Duration = Duration::from_secs(5);

/// Sends a request on a new connection and expects a successful answer soon.
fn ask_newly(address: &str, path: &str) {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let time = begin.elapsed();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    assert!(time < SOON, "{path} is answered after {time:?}");
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let server = Server::start_with(&["--connections-max", "100"]);
    let receivers = [&server.http, &server.otlp_http, &server.otlp_grpc, &server.zipkin];
    let silent: Vec<_> = receivers
        .into_iter()
        .flat_map(|to| (0..120).map(move |_| TcpStream::connect(to).unwrap()))
        .collect();
    for path in ["/live", "/ready", "/api/v1/status", "/"] {
        ask_newly(&server.http, path);
    }
    assert_eq!(post(&server, 1, 1000).status, 200);
    let body = large(2, 1000);
    assert_eq!(call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, &body)).code, Some(0));
    check(&server, &BTreeMap::from([(1, true), (2, true)]));
    drop(silent);
}

#[test]
fn two_thousand_silent_connections_keep_nobody_from_asking() {
    // Other tests in this process need open files, too.
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let count = usize::try_from(files / 4).unwrap_or(usize::MAX).min(2100);
    let most = (count - count / 20).to_string();
    for said in [&b""[..], b"GET /api/v1/serv", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let server = Server::start_with(&["--connections-max", &most]);
        assert_eq!(post(&server, 1, 1000).status, 200);
        let silent: Vec<_> = (0..count)
            .map(|_| {
                let mut stream = TcpStream::connect(&server.http).unwrap();
                // The write may fail, because the server closes connections to admit others.
                let _ = stream.write_all(said);
                stream
            })
            .collect();
        for path in ["/api/v1/services", "/live", "/ready", "/api/v1/traces?limit=1", "/"] {
            ask_newly(&server.http, path);
        }
        drop(silent);
    }
}

/// Repeats a request until it is admitted. Unread answers of other requests may use up the memory.
fn answered(address: &str, path: &str) -> Answer {
    let begin = Instant::now();
    loop {
        let answer = get(address, path);
        if answer.status != 503 {
            return answer;
        }
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        assert!(begin.elapsed() < PATIENCE, "it is refused for ever");
    }
}

/// A request that a test sends.
type TestRequest<'a> = Box<dyn Fn() + Sync + 'a>;

/// Sends each of these requests several times at once until they are answered. Returns the server's
/// peak of allocated memory meanwhile.
fn peak_of(server: &Server, asks: &[TestRequest<'_>]) -> u64 {
    const AT_ONCE: usize = 4;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let peak = scope.spawn(move || server.peak_allocated_bytes_until(done).0);
        for ask in asks {
            let asking: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(ask)).collect();
            let asked: Vec<_> = asking.into_iter().map(|asking| asking.join()).collect();
            if asked.iter().any(Result::is_err) {
                done.store(true, Relaxed);
            }
            assert!(asked.iter().all(Result::is_ok));
        }
        done.store(true, Relaxed);
        peak.join().unwrap()
    })
}

#[test]
fn traces_of_a_wide_resource_take_no_more_memory_than_the_budget() {
    const BUDGET: u64 = 256 << 20;
    const TRACES: u64 = 1_500;
    // The attributes are sent once. Zipkin's and Jaeger's formats repeat them for each span: 100
    // MiB of text.
    let wide = (0..130).map(|label| KeyValue::new(format!("host.{label}"), "x".repeat(450)));
    let server = Server::start_with(&["--memory", &BUDGET.to_string()]);
    let spans = (1..=TRACES).map(|trace| {
        let peer = vec![KeyValue::new("peer.service", "stock")];
        tidings_proto::otlp::Span {
            attributes: peer,
            kind: 3,
            ..span(u128::from(trace), trace, 0, "GET /cart")
        }
    });
    let mut request = traces("shop", spans.collect());
    for group in &mut request.resource_spans {
        group.resource.get_or_insert_default().attributes.extend(wide.clone());
    }
    export(&server, "/v1/traces", &request);
    let ids: Vec<String> = (1..=400).map(|trace| format!("{trace:032x}")).collect();
    let many = format!("/api/v2/traceMany?traceIds={}", ids.join(","));
    let paths = [
        (&*server.zipkin, "/api/v2/dependencies?lookback=9000000000000&endTs=9000000000000"),
        (&*server.zipkin, "/api/v2/traces?limit=10000"),
        (&*server.zipkin, &many),
        (&*server.http, "/jaeger/api/traces?service=shop&limit=1500"),
    ];
    let check = |path: &str, answer: &Answer| {
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]);
        assert_eq!(answer.status, 200, "{path}: {text}");
        let body: Json = serde_json::from_slice(&answer.body).unwrap();
        if path.contains("dependencies") {
            assert_eq!(body[0]["callCount"], TRACES, "{text}");
            return;
        }
        let shown = body.as_array().or(body["data"].as_array()).unwrap().len();
        assert!((20..400).contains(&shown), "{path}: {shown} traces");
        let is_told =
            answer.headers.contains_key("tidings-incomplete") || !body["errors"].is_null();
        assert!(is_told, "{path}: {text}");
    };
    let ask = |(address, path)| {
        Box::new(move || check(path, &answered(address, path))) as TestRequest<'_>
    };
    let peak = peak_of(&server, &paths.map(ask));
    println!("at most {} MiB", peak >> 20);
    assert!(peak < BUDGET, "{peak} bytes");
}

/// Sends a request to the OTLP/HTTP receiver, which must accept it.
fn export(server: &Server, path: &str, request: &impl Message) {
    let body = request.encode_to_vec();
    let sent = http::post(&server.otlp_http, path, "application/x-protobuf", body);
    assert_eq!(sent.status, 200, "{sent:?}");
}

/// Sends a trace whose spans have so many scopes of one resource.
fn send_wide(server: &Server, trace: u128, spans: u64, scope_names: &[String], resource: &str) {
    let span = |id| span(trace, id, 0, "GET /cart");
    let mut request = traces("shop", Vec::new());
    let group = &mut request.resource_spans[0];
    let wide = KeyValue::new("host.labels", resource);
    group.resource.get_or_insert_default().attributes.push(wide);
    let of_scope = |(at, name): (usize, &String)| {
        let first = at as u64 * spans;
        let scope = InstrumentationScope { name: name.clone(), ..InstrumentationScope::default() };
        let spans = (first + 1..=first + spans).map(span).collect();
        ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }
    };
    group.scope_spans = scope_names.iter().enumerate().map(of_scope).collect();
    export(server, "/v1/traces", &request);
}

/// Checks the memory of answers that repeat a value for each span or record that is stored once.
#[test]
fn nothing_that_an_answer_repeats_takes_more_memory_than_the_budget() {
    const BUDGET: u64 = 256 << 20;
    const LONG: usize = 256 << 10;
    let server = Server::start_with(&["--memory", &BUDGET.to_string()]);
    let name = |bytes: usize| vec!["s".repeat(bytes)];
    let names: Vec<String> = (0..3_000).map(|number| format!("scope {number}")).collect();
    send_wide(&server, 0xa1, 6_000, &name(2 << 10), "");
    send_wide(&server, 0xb2, 4_000, &name(1), &"r".repeat(50_000));
    send_wide(&server, 0xc3, 1, &names, &"r".repeat(30_000));
    let mut request = logs("shop", (0..1_000).map(|at| log(0, 0, &format!("{at}"))).collect());
    let attributes = vec![KeyValue::new("wide", "s".repeat(60_000))];
    let scope = InstrumentationScope { attributes, ..Default::default() };
    request.resource_logs[0].scope_logs[0].scope = Some(scope);
    export(&server, "/v1/logs", &request);
    // The answer would have 2.4 GiB, with the scope's name in every span.
    let spans = vec![r#"{"traceId": "0102", "spanId": "03"}"#; 10_000].join(",");
    let file = format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"scope": {{"name": "{}"}}, "spans": [{spans}]}}]}}]}}"#,
        "s".repeat(LONG)
    );

    let (http, zipkin) = (&*server.http, &*server.zipkin);
    let get = |address, path: &'static str, status| {
        Box::new(move || {
            let answer = answered(address, path);
            let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]);
            assert_eq!(answer.status, status, "{path}: {text}");
        }) as TestRequest<'_>
    };
    let rpc = |method, message: Vec<u8>, code| {
        Box::new(move || {
            let answer = call(http, method, &[], frame(false, &message));
            assert_eq!(answer.code, Some(code), "{method}: {}", answer.message);
            assert!(answer.body.len() < 8 << 20, "{method}: {} bytes", answer.body.len());
        }) as TestRequest<'_>
    };
    let by_bytes = |id: u128| [&[10, 16][..], &id.to_be_bytes()].concat();
    let by_text = |id: u128| [&[10, 32][..], format!("{id:032x}").as_bytes()].concat();
    const EXHAUSTED: i32 = 8;
    let (v2, v3) = ("/jaeger.api_v2.QueryService/GetTrace", "/jaeger.api_v3.QueryService/GetTrace");
    let transform = || {
        let answer =
            http::post(http, "/jaeger/api/transform", "application/json", file.as_bytes().to_vec());
        assert_eq!(answer.status, 413, "{answer:?}");
    };
    let asks = [
        get(http, "/jaeger/api/traces/000000000000000000000000000000a1", 422),
        rpc(v2, by_bytes(0xa1), EXHAUSTED),
        rpc(v2, by_bytes(0xb2), EXHAUSTED),
        rpc(v3, by_text(0xb2), 0),
        rpc(v2, by_bytes(0xc3), EXHAUSTED),
        rpc(v3, by_text(0xc3), 0),
        get(http, "/jaeger/api/traces/000000000000000000000000000000c3", 200),
        get(http, "/jaeger/api/v3/traces/000000000000000000000000000000c3", 200),
        get(http, "/tempo/api/traces/000000000000000000000000000000c3", 200),
        get(zipkin, "/api/v2/trace/000000000000000000000000000000c3", 422),
        get(http, "/api/v1/logs?limit=1000", 200),
        Box::new(transform),
    ];
    let peak = peak_of(&server, &asks);
    println!("at most {} MiB", peak >> 20);
    assert!(peak < BUDGET, "{peak} bytes");
}

#[test]
fn long_names_of_senders_are_written_to_files_within_the_budget() {
    const BUDGET: u64 = 256 << 20;
    const ROWS: u64 = 3_000;
    let memory = BUDGET.to_string();
    let server = Server::start_with(&["--memory", &memory, "--memory-flush-seconds", "1"]);
    let long = "s".repeat(1 << 20);
    let spans = (1..=ROWS).map(|id| span(u128::from(id), id, 0, "GET /cart")).collect();
    let host = KeyValue::new("host.name", &*long);
    let mut request = traces(&long, spans);
    request.resource_spans[0].resource.get_or_insert_default().attributes.push(host.clone());
    export(&server, "/v1/traces", &request);
    let mut request = logs(&long, (0..ROWS).map(|_| log(0, 0, "said")).collect());
    request.resource_logs[0].resource.get_or_insert_default().attributes.push(host);
    export(&server, "/v1/logs", &request);
    let rows = |table: &Json| table["rows"].as_u64().unwrap();
    let are_written = || {
        let (_, status) = server.get("/api/v1/status");
        let tables = status["storage"]["tables"].as_array().unwrap();
        tables.iter().map(rows).sum::<u64>() == 2 * ROWS
    };
    let written = || until(are_written);
    let peak = peak_of(&server, &[Box::new(written)]);
    println!("at most {} MiB", peak >> 20);
    assert!(peak < BUDGET, "{peak} bytes");
}
