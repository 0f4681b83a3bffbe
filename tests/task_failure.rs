//! The end of a real process whose flush task fails for good: the answers to probes meanwhile, the
//! exit, and the data of the next process.
//!
//! The program has no fault injection. `strace` refuses every new thread from outside, as a system
//! at its limit of threads does. Under load a flush soon gets no thread and panics.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use serde_json::Value as Json;

use crate::{
    harness::{
        AtEnd, PATIENCE, Server, has,
        http::{frame, try_call, try_send},
        leave_out, pause,
        spans::{span, traces},
        wait_until,
    },
    keys::until,
};

const TRACE: u128 = 0x7a5c;
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// Answer of `grpc.health.v1` about a service that can be used.
const SERVING: &[u8] = &[8, 1];
/// Answer of `grpc.health.v1` about a service that cannot be used.
const NOT_SERVING: &[u8] = &[8, 2];
const PROBES: [&str; 5] =
    ["/ready", "/live", "/metrics", "gRPC health, queries", "gRPC health, receiver"];
/// Time after the failure in which a probe may still report success.
const TRUTH: Duration = Duration::from_secs(1);

/// The state that the threads of the test share.
#[derive(Default)]
struct Story {
    is_over: AtomicBool,
    next_span: AtomicU64,
    /// Spans whose storage was acknowledged.
    acknowledged: Mutex<BTreeSet<u64>>,
    /// Start times of successful requests, with the name of the probe.
    well: Mutex<Vec<(&'static str, Instant)>>,
    /// Reasons that `/ready` gave.
    reasons: Mutex<BTreeSet<String>>,
    /// Probes that reported the failure.
    told: Mutex<BTreeSet<&'static str>>,
}

impl Story {
    fn send(&self, server: &Server) {
        let id = self.next_span.fetch_add(1, Relaxed) + 1;
        let body = traces("shop", vec![span(TRACE, id, 0, "GET /cart")]).encode_to_vec();
        let kind = [("content-type", "application/x-protobuf")];
        let sent = try_send("POST", &server.otlp_http, "/v1/traces", &kind, body);
        if sent.is_ok_and(|answer| answer.status == 200) {
            self.acknowledged.lock().unwrap().insert(id);
        }
    }

    fn ask(server: &Server, path: &str) -> Option<(u16, String)> {
        let answer = try_send("GET", &server.http, path, &[], Bytes::new()).ok()?;
        Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    fn probe(&self, name: &'static str, is_well: impl Fn() -> bool) {
        while !self.is_over.load(Relaxed) {
            let begin = Instant::now();
            if is_well() {
                self.well.lock().unwrap().push((name, begin));
            }
            pause();
        }
    }

    fn is_ready(&self, server: &Server) -> bool {
        let Some((status, text)) = Self::ask(server, "/ready") else { return false };
        self.note("/ready", status == 503 && text.contains("flush failed"));
        if status != 200 {
            self.reasons.lock().unwrap().insert(text);
        }
        status == 200
    }

    fn is_live(&self, server: &Server) -> bool {
        let Some((status, text)) = Self::ask(server, "/live") else { return false };
        self.note("/live", status == 503 && text.contains("flush failed"));
        status == 200
    }

    fn is_flush_running(&self, server: &Server) -> bool {
        let Some((_, text)) = Self::ask(server, "/metrics") else { return false };
        self.note("/metrics", text.contains(r#"tidings_task_running{task="flush"} 0"#));
        text.contains(r#"tidings_task_running{task="flush"} 1"#)
    }

    fn is_serving(&self, probe: &'static str, address: &str) -> bool {
        let answer = try_call(address, HEALTH, &[], frame(false, &[]));
        let Ok(answer) = answer else { return false };
        self.note(probe, answer.code == Some(0) && answer.body == NOT_SERVING);
        answer.code == Some(0) && answer.body == SERVING
    }

    /// Notes a probe that reports the failure.
    fn note(&self, probe: &'static str, tells: bool) {
        if tells {
            self.told.lock().unwrap().insert(probe);
        }
    }
}

/// Returns true when only the exit code of a process is left.
fn has_ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|of| of.trim_start().starts_with(['Z', 'X']))
}

/// Refuses every new thread of the process from now on. Returns `None` where tracing is not
/// permitted.
fn refuse_threads(server: &Server, folder: &Path) -> Option<Child> {
    let said = folder.join("strace.said");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=clone,clone3", "-e", "inject=clone,clone3:error=EPERM", "-o"]);
    strace.arg(folder.join("threads.trace")).args(["-p", &server.pid().to_string()]);
    let strace = strace.stderr(Stdio::from(fs::File::create(&said).unwrap()));
    let mut strace = strace.spawn().unwrap();
    let text = || fs::read_to_string(&said).unwrap();
    until(|| text().contains("attached") || text().contains("Operation not permitted"));
    if text().contains("attached") {
        return Some(strace);
    }
    let _ = strace.kill();
    strace.wait().unwrap();
    leave_out("a task that fails: strace may not look at another process")
}

/// Waits until the log reports the failure of an essential task. Returns `None` when it does not
/// happen in time.
fn failure(log: &Path) -> Option<Instant> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if fs::read_to_string(log).unwrap().contains("an essential task failed") {
            return Some(Instant::now());
        }
        pause();
    }
    None
}

#[test]
fn permanent_task_failure_is_reported_within_a_second_and_loses_nothing() {
    if !has("strace", "a task that fails") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$@" 2>"$0""#]).arg(&log).env("RUST_BACKTRACE", "0");
    let mut server = Server::start_under(shell, &data, &["--memory-flush-seconds", "1"]);
    until(|| Story::ask(&server, "/ready").is_some_and(|(status, _)| status == 200));
    let Some(mut strace) = refuse_threads(&server, folder.path()) else { return };
    let story = Story::default();
    let (told, process) = (&story, &server);
    let (failed, ended) = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !told.is_over.load(Relaxed) {
                    told.send(process);
                    Story::ask(process, "/api/v1/traces?limit=5");
                }
            });
        }
        scope.spawn(|| told.probe("/ready", || told.is_ready(process)));
        scope.spawn(|| told.probe("/live", || told.is_live(process)));
        scope.spawn(|| told.probe("/metrics", || told.is_flush_running(process)));
        for (name, address) in
            [("gRPC health, queries", &process.http), ("gRPC health, receiver", &process.otlp_grpc)]
        {
            scope.spawn(move || told.probe(name, || told.is_serving(name, address)));
        }
        let end = AtEnd(&told.is_over);
        let failed = failure(&log);
        let mut ended = None;
        // Probes continue until the time is over, even if the process has ended.
        while let Some(time) = failed.map(|at| at.elapsed())
            && time < TRUTH + Duration::from_millis(500)
        {
            if ended.is_none() && has_ended(process.pid()) {
                ended = Some(time);
            }
            pause();
        }
        drop(end);
        (failed, ended)
    });
    let failed = failed.unwrap_or_else(|| panic!("{}", fs::read_to_string(&log).unwrap()));
    assert_eq!(server.ended().code(), Some(70), "{}", fs::read_to_string(&log).unwrap());
    wait_until("strace ends", || strace.try_wait().unwrap().is_some());
    let well = story.well.into_inner().unwrap();
    for name in PROBES {
        let last = well.iter().filter(|(probe, _)| *probe == name).map(|(_, begin)| *begin).max();
        let last = last.unwrap_or_else(|| panic!("{name} never said that all is well"));
        let late = last.saturating_duration_since(failed);
        assert!(late < TRUTH, "{name} says that all is well {late:?} after the failure");
    }
    // Either a probe reported the failure, or the process ended soon.
    let said = story.told.into_inner().unwrap();
    println!("told by {said:?}; the process ended {ended:?} after the failure");
    let has_soon_ended = ended.is_some_and(|time| time < TRUTH);
    assert!(!said.is_empty() || has_soon_ended, "no probe told, and the process stayed: {ended:?}");
    for reason in story.reasons.into_inner().unwrap() {
        assert!(!reason.contains("shutting down"), "the cause is told: {reason}");
    }
    let last_words = fs::read_to_string(&log).unwrap();
    assert!(last_words.contains("everything that was acknowledged is in the log"), "{last_words}");
    check_all_is_there(&data, &story.acknowledged.into_inner().unwrap());
}

/// Asks a new process for every acknowledged span.
fn check_all_is_there(data: &Path, acknowledged: &BTreeSet<u64>) {
    assert!(!acknowledged.is_empty());
    let server = Server::start_in(data, &[]);
    let (status, found) = server.get(&format!("/api/v1/traces/{TRACE:032x}/otlp"));
    assert_eq!(status, 200, "{found}");
    let children = |of: &Json, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let resources = children(&found, "resourceSpans").into_iter();
    let scopes = resources.flat_map(|resource| children(&resource, "scopeSpans"));
    let ids = scopes
        .flat_map(|scope| children(&scope, "spans"))
        .map(|span| u64::from_str_radix(span["spanId"].as_str().unwrap(), 16).unwrap());
    let stored: BTreeSet<u64> = ids.collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}
