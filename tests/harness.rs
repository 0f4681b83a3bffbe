//! Starts the built server on free ports and sends requests to it.

pub(crate) mod browser;
pub(crate) mod certificates;
mod chromium;
pub(crate) mod flight;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod metrics_receiver;
pub(crate) mod route_sources;
pub(crate) mod shared_incident;
pub(crate) mod spans;
pub(crate) mod web;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;
use tidings_collector::RECEIVERS;

/// Longest time that a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Shorter than the time between two signs of life of a live tail.
pub(crate) const TAIL_QUIET: Duration = Duration::from_secs(10);
/// Longest time until a program has ended, or a server has printed its addresses.
pub(crate) const PROGRAM_PATIENCE: Duration = Duration::from_secs(300);

/// The address of a listener on a free port, which only this machine reaches.
pub(crate) const FREE_PORT: &str = "127.0.0.1:0";

/// Returns the flags by which every listener of a server has this address.
pub(crate) fn listeners_at(address: &str) -> Vec<String> {
    let receivers = RECEIVERS.iter().map(|receiver| receiver.setting);
    let names = ["http"].into_iter().chain(receivers);
    names.flat_map(|name| [format!("--{name}"), address.to_owned()]).collect()
}

/// Sets a flag when it is dropped, so that the threads that wait for it end with a failed test.
pub(crate) struct AtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Lets the server and other tests run before a condition is tested again. A test that asked without
/// a pause would take one core from the server.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Waits until a condition holds, and fails after [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    found_until(what, || is_so().then_some(()));
}

/// Waits until something is found and returns it. Fails after [`PATIENCE`].
pub(crate) fn found_until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited until {what}");
        pause();
    }
}

/// A running server. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// Its HTTP address, such as `127.0.0.1:8434`, or `https://127.0.0.1:8434` over TLS.
    pub(crate) http: String,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
    pub(crate) zipkin: String,
    /// Names and addresses of all receivers.
    pub(crate) receivers: Vec<(String, String)>,
    folder: Folder,
}

enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Server {
    /// Starts a server on a new data directory.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server on a new data directory, with additional flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::spawn(Folder::Own(tempfile::tempdir().unwrap()), flags, Vec::new())
    }

    /// Starts a server on this data directory, with additional flags.
    pub(crate) fn start_in(folder: &Path, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::spawn(Folder::Given(folder.to_owned()), flags, Vec::new())
    }

    /// Starts a server on this data directory, with additional flags and environment variables.
    pub(crate) fn start_as(folder: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables = variables.iter().map(owned).collect();
        Self::spawn(Folder::Given(folder.to_owned()), flags, variables)
    }

    /// Starts a server on this data directory through another program, whose command line comes
    /// first.
    pub(crate) fn start_under(mut runner: Command, folder: &Path, flags: &[&str]) -> Self {
        runner.arg(Self::binary());
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::spawn_by(runner, Folder::Given(folder.to_owned()), flags, Vec::new())
    }

    fn spawn(folder: Folder, flags: Vec<String>, environment: Vec<(String, String)>) -> Self {
        Self::spawn_by(Command::new(Self::binary()), folder, flags, environment)
    }

    fn spawn_by(
        mut command: Command,
        folder: Folder,
        flags: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Self {
        let log = !flags.iter().any(|flag| flag == "--log");
        let mut child = command
            .envs(environment.iter().cloned())
            .arg("serve")
            .arg("--data-dir")
            .arg(folder.path())
            .args(listeners_at(FREE_PORT))
            .args(log.then_some(["--log", "error"]).into_iter().flatten())
            .args(&flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(&mut child);
        let listener = |listener: &str| {
            let line = lines
                .recv_timeout(PROGRAM_PATIENCE)
                .unwrap_or_else(|error| panic!("no address of {listener}: {error}"));
            let (name, address) = line.trim().rsplit_once(char::is_whitespace).unwrap();
            (name.trim().to_owned(), address.trim_start_matches("http://").to_owned())
        };
        let (name, http) = listener("the UI");
        assert_eq!(name, "UI and API");
        let receivers: Vec<_> = RECEIVERS.iter().map(|_| listener("a receiver")).collect();
        let address = |name: &str| {
            let known = receivers.iter().find(|(of, _)| of == name);
            known.unwrap_or_else(|| panic!("{receivers:?}")).1.clone()
        };
        Self {
            child,
            flags,
            environment,
            http,
            otlp_grpc: address("otlp/grpc"),
            otlp_http: address("otlp/http"),
            zipkin: address("zipkin"),
            receivers,
            folder,
        }
    }

    /// Sends the demo's telemetry, which ends in this incident.
    pub(crate) fn send_incident(&self, name: &str) {
        let (code, _, error) = Self::command(&[
            "demo",
            "--incident",
            name,
            "--seed",
            "7",
            "--duration",
            "0",
            "--otlp-grpc",
            &self.otlp_grpc,
            "--otlp-http",
            &self.otlp_http,
            "--zipkin",
            &self.zipkin,
        ]);
        assert_eq!(code, Some(0), "{error}");
    }

    /// Returns the names and addresses of everything that listens.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&str, &String)> {
        let receivers = self.receivers.iter().map(|(name, address)| (name.as_str(), address));
        [("http", &self.http)].into_iter().chain(receivers)
    }

    /// Returns the data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Returns the peak of the resident memory in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Returns the resident memory without file-backed pages, in bytes. The file-backed pages of a
    /// debug build take hundreds of megabytes.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// Returns the memory of all SQL worker processes, measured as in [`Self::allocated_bytes`].
    pub(crate) fn worker_bytes(&self) -> u64 {
        // Workers that have ended meanwhile do not count.
        children_of(self.pid()).into_iter().filter_map(|pid| memory_of(pid, "RssAnon:")).sum()
    }

    /// Returns the peaks of [`Self::allocated_bytes`] and of [`Self::worker_bytes`], which are
    /// sampled every 20 ms until `done` is set.
    pub(crate) fn peak_allocated_bytes_until(&self, done: &AtomicBool) -> (u64, u64) {
        let (mut own, mut workers) = (0, 0);
        while !done.load(Relaxed) {
            (own, workers) = (self.allocated_bytes().max(own), self.worker_bytes().max(workers));
            std::thread::sleep(Duration::from_millis(20));
        }
        (own, workers)
    }

    fn memory(&self, what: &str) -> u64 {
        memory_of(self.pid(), what).unwrap()
    }

    /// Returns true if the process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Kills the process with SIGKILL and starts a new one on the same data directory. The ports
    /// change.
    pub(crate) fn restart(mut self) -> Self {
        self.kill();
        let folder = std::mem::replace(&mut self.folder, Folder::Given(PathBuf::new()));
        let environment = std::mem::take(&mut self.environment);
        Self::spawn(folder, std::mem::take(&mut self.flags), environment)
    }

    /// Sends SIGTERM and returns the exit status.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let killed = Command::new("kill").arg(self.pid().to_string()).status().unwrap();
        assert!(killed.success());
        self.ended()
    }

    /// Waits until the process ends and returns its exit status.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "SIGTERM did not end it within {PATIENCE:?}");
            pause();
        }
    }

    /// Sends a GET request to the API and returns the status and the JSON.
    pub(crate) fn get(&self, path: &str) -> (u16, Json) {
        let answer = http::get(&self.http, path);
        let json = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
        (answer.status, json)
    }

    /// Repeats a GET request to the API until the answer satisfies the condition.
    pub(crate) fn wait_for(&self, path: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, json) = self.get(path);
            if status == 200 && wanted(&json) {
                return json;
            }
            assert!(Instant::now() < deadline, "{path} stays {status} {json}");
            pause();
        }
    }

    /// Returns the path of the program.
    pub(crate) fn binary() -> &'static str {
        env!("CARGO_BIN_EXE_tidings")
    }

    /// Runs a server on free ports that must not start. Returns what [`Self::command`] does.
    pub(crate) fn refused(data: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
        let listeners = listeners_at(FREE_PORT);
        let listeners = listeners.iter().map(String::as_str);
        let args = ["serve", "--data-dir", data.to_str().unwrap()].into_iter().chain(listeners);
        Self::command(&args.chain(flags.iter().copied()).collect::<Vec<_>>())
    }

    /// Runs a command of the program and returns its exit code, standard output and standard error.
    pub(crate) fn command(args: &[&str]) -> (Option<i32>, String, String) {
        Self::command_with_input(args, "")
    }

    /// Runs a command as [`Self::command`] does, with this text on standard input.
    pub(crate) fn command_with_input(args: &[&str], input: &str) -> (Option<i32>, String, String) {
        let output = output_of(Command::new(Self::binary()).args(args), input);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// Reads what a program prints, line by line, until the receiver is dropped.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let (give, lines) = sync_channel(100);
    std::thread::spawn(move || printed.map_while(Result::ok).try_for_each(|line| give.send(line)));
    lines
}

/// A running program whose lines of output are read one by one. Dropping it kills the program.
pub(crate) struct PrintingProgram {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
}

impl PrintingProgram {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(&mut child);
        Self { child, lines }
    }

    /// Returns the next line. Fails after [`PATIENCE`].
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line is printed in time")
    }
}

impl Drop for PrintingProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program with this text on standard input, and kills it when it does not end.
pub(crate) fn output_of(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The write fails if a program that reads no input has already ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let (give, ended) = sync_channel(1);
    std::thread::spawn(move || give.send(child.wait_with_output().unwrap()));
    ended.recv_timeout(PROGRAM_PATIENCE).unwrap_or_else(|error| {
        let _ = kill_process(pid, Signal::KILL);
        panic!("{command:?}: {error}")
    })
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}

/// Returns the ids of the processes that a process has started.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut children = Vec::new();
    for thread in threads {
        let pids = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(pids.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    children
}

/// Reads a line of `/proc/PID/status` about memory, in bytes; `None` when the process has ended.
fn memory_of(pid: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().unwrap() * 1024)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the folder with the test cases of other projects; `None` where it is missing.
pub(crate) fn corpora() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    path.is_dir().then_some(path).or_else(|| leave_out("corpora: ../shared/corpora is not here"))
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file())
}

/// Returns true if a program is installed; otherwise it prints that the test is left out.
pub(crate) fn has(program: &str, test: &str) -> bool {
    is_installed(program)
        || leave_out::<()>(&format!("{test}: {program} is not installed")).is_some()
}

/// Records a part that was not run, for `cargo xtask test`. In CI every part must run.
pub(crate) fn leave_out<T>(reason: &str) -> Option<T> {
    use std::io::Write;

    println!("left out: {reason}");
    if let Some(path) = std::env::var_os("TEST_LEFT_OUT")
        && let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(path)
    {
        let _ = writeln!(file, "{reason}");
    }
    None
}
