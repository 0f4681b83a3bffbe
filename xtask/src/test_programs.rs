//! Test programs: has cargo build them, runs them, counts their results, and ends one that hangs.
//! `test.rs` owns the report.
//!
//! Cargo names each program that it has built, which then runs while cargo builds others, in the
//! folder of its package, as `cargo test` does.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use crate::steps::{remove_package_variables, target_dir};

/// Lines of the output of each failed test that are repeated at the end.
const MESSAGE_LINES_MAX: usize = 12;
/// Longest time without a line of output. Tests of clients first build the clients.
const SILENCE_MAX: Duration = Duration::from_secs(1_200);
/// Lines that wait to be counted.
const LINES_WAITING: usize = 1_000;
/// Test programs that wait to be run. There are fewer.
pub(crate) const WAITING_MAX: usize = 1_000;
/// Variable of the effort of all tests (`storage/disk/src/test_effort.rs`). Without it they try
/// little.
pub(crate) const EFFORT: &str = "TEST_EFFORT";
/// End of the line about a test that takes long.
const IS_SLOW: &str = " has been running for over 60 seconds";

/// Effort of the tests: full, or quick where it is late.
#[derive(Debug)]
pub(crate) struct TestEffort {
    /// The effort that the environment gives.
    pub(crate) given: Option<OsString>,
    /// Time from which programs begin with little effort, unless an effort is given.
    pub(crate) late_from: Option<Instant>,
}

impl TestEffort {
    fn is_late(&self) -> bool {
        let is_over = |time: Instant| time.elapsed() > Duration::ZERO;
        self.given.is_none() && self.late_from.is_some_and(is_over)
    }
}

/// A test program that cargo has built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestProgram {
    path: PathBuf,
    /// Folder of its package, in which it runs.
    folder: PathBuf,
}

impl TestProgram {
    /// Reads a message of cargo. Returns `None` if it is not about a test program.
    fn from_message(message: &Json) -> Option<Self> {
        let is_test = message["profile"]["test"].as_bool()?;
        let path = PathBuf::from(message["executable"].as_str()?);
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
        is_test.then_some(Self { path, folder })
    }
}

/// Results of the test programs.
#[derive(Debug, Default)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<String>,
    /// First lines of the output of each failed test.
    pub(crate) messages: Vec<String>,
    pub(crate) left_out: Vec<String>,
    /// True if a program began late, with little effort.
    pub(crate) is_late: bool,
    /// Number of following lines that still belong to the message of a failure.
    message_lines: usize,
    /// Tests that have been running for a minute.
    slow: BTreeSet<String>,
    /// True if a program was ended because it hung.
    is_hung: bool,
}

impl TestCounts {
    /// Counts a line of output.
    fn count(&mut self, line: &str) {
        if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.message_lines = MESSAGE_LINES_MAX;
        } else if line == "failures:" {
            self.message_lines = 0;
        }
        if self.message_lines > 0 && !line.is_empty() {
            self.message_lines -= 1;
            self.messages.push(line.to_owned());
        }
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
        }
        // The next program.
        if line.starts_with("running ") {
            self.slow.clear();
        }
        let Some(test) = line.strip_prefix("test ") else { return };
        if let Some(name) = test.strip_suffix(IS_SLOW) {
            self.slow.insert(name.to_owned());
        } else if let Some((name, result)) = test.split_once(" ... ") {
            self.slow.remove(name);
            if result == "FAILED" {
                self.failures.push(name.to_owned());
            }
        }
    }

    /// Runs a program. One that fails without a failed test is counted as one.
    fn run(&mut self, command: &mut Command) {
        let (name, failed) = (command.get_program().to_string_lossy().into_owned(), self.failed);
        let _ = writeln!(std::io::stdout(), "     Running {name}");
        let program = command.stdout(Stdio::piped()).spawn().context("it does not start");
        let end = match program.and_then(|mut program| self.watch(&mut program)) {
            Ok(status) if status.success() || self.failed > failed => return,
            Ok(status) => format!("{name} ended with {status}"),
            Err(error) => format!("{name}: {error:#}"),
        };
        self.failed += 1;
        self.failures.push(end);
    }

    /// Counts and prints the output of a program until it ends. Ends one that hangs.
    fn watch(&mut self, program: &mut Child) -> Result<ExitStatus> {
        let lines = lines_of(program.stdout.take().context("a test program has no output")?);
        loop {
            match lines.recv_timeout(SILENCE_MAX) {
                Ok(line) => {
                    writeln!(std::io::stdout(), "{line}")?;
                    self.count(&line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.count_hung();
                    kill_with_descendants(program.id());
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(program.wait()?)
    }

    /// Counts the tests of a program that hangs as failed.
    fn count_hung(&mut self) {
        self.is_hung = true;
        let mut names: Vec<String> = std::mem::take(&mut self.slow).into_iter().collect();
        if names.is_empty() {
            names.push("a test program".to_owned());
        }
        for name in names {
            self.failed += 1;
            self.failures.push(format!("{name} (it hung, or one beside it did)"));
        }
    }
}

/// Builds what a command of cargo names, and returns the test programs of it. Sends each as soon as
/// it is built, if somebody wants to run it.
///
/// # Errors
/// Fails if something cannot be compiled. Cargo prints what.
pub(crate) fn build(
    cargo: &mut Command,
    built: Option<SyncSender<TestProgram>>,
) -> Result<Vec<TestProgram>> {
    let mut build = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo")?;
    let messages = BufReader::new(build.stdout.take().context("cargo has no output")?).lines();
    let mut programs = Vec::new();
    for message in messages {
        let message = serde_json::from_str(&message?).context("not a message of cargo")?;
        let Some(program) = TestProgram::from_message(&message) else { continue };
        if let Some(built) = &built {
            // Nobody takes further programs after one that hung.
            let _ = built.send(program.clone());
        }
        programs.push(program);
    }
    let status = build.wait()?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    programs.sort();
    Ok(programs)
}

/// Runs test programs one after the other, as they come, and adds up the counts that they print. The
/// rest is given up after one that hangs.
///
/// # Errors
/// Fails if the file of parts that were left out cannot be used.
pub(crate) fn run(
    programs: impl IntoIterator<Item = TestProgram>,
    effort: &TestEffort,
) -> Result<TestCounts> {
    let skipped = target_dir().join("left-out.txt");
    write(&skipped, "")?;
    let left_out = fs::canonicalize(&skipped)?;
    let mut counted = TestCounts::default();
    for program in programs {
        let is_late = effort.is_late();
        counted.is_late |= is_late;
        let usual = OsStr::new(if is_late { "quick" } else { "full" });
        let mut command = Command::new(&program.path);
        remove_package_variables(&mut command);
        command
            .current_dir(&program.folder)
            .env("CARGO_MANIFEST_DIR", &program.folder)
            .env("TEST_LEFT_OUT", &left_out)
            .env(EFFORT, effort.given.as_deref().unwrap_or(usual));
        counted.run(&mut command);
        if counted.is_hung {
            break;
        }
    }
    counted.left_out.extend(fs::read_to_string(&skipped)?.lines().map(str::to_owned));
    Ok(counted)
}

/// Returns the lines of output as they come.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (give, lines) = sync_channel(LINES_WAITING);
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        lines
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .try_for_each(|line| give.send(line))
    });
    lines
}

/// Kills a process, those that it has started, and those that they have started.
fn kill_with_descendants(pid: u32) {
    let mut found = Vec::new();
    let mut parents = vec![pid.to_string()];
    while let Some(parent) = parents.pop() {
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            parents.extend(children.split_whitespace().map(str::to_owned));
        }
        found.push(parent);
    }
    // Some may have ended meanwhile.
    let _ = Command::new("kill").arg("-KILL").args(found).status();
}

/// Returns the numbers of passed and failed tests in a line such as `test result: ok. 12 passed; 0
/// failed; …`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |label: &str| -> Option<u64> {
        rest.split("; ").find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?))
}

#[expect(clippy::disallowed_methods, reason = "a scratch file needs no durability")]
fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsString, os::unix::process::ExitStatusExt, path::Path, process::Command,
        sync::mpsc::sync_channel, thread, time::Duration,
    };

    use serde_json::json;

    use super::{
        TestCounts, TestEffort, TestProgram, WAITING_MAX, build, counts, kill_with_descendants,
    };
    use crate::steps::StepReport;

    #[test]
    fn test_programs_are_distinguished_from_other_artifacts() {
        let message = |is_test: bool, executable: Option<&str>| {
            TestProgram::from_message(&json!({
                "reason": "compiler-artifact", "manifest_path": "/tidings/query/Cargo.toml",
                "profile": { "test": is_test }, "executable": executable,
            }))
        };
        let program = message(true, Some("/target/debug/deps/query-1")).unwrap();
        assert_eq!(program.folder, Path::new("/tidings/query"));
        assert_eq!(message(false, Some("/target/debug/tidings")), None);
        assert_eq!(message(true, None), None, "a library");
        let end = json!({ "reason": "build-finished", "success": true });
        assert_eq!(TestProgram::from_message(&end), None);
    }

    #[test]
    fn a_program_runs_when_it_is_built_and_tries_less_when_that_is_late() {
        let message = json!({
            "manifest_path": "/tmp/Cargo.toml", "profile": { "test": true }, "executable": "/bin/true",
        });
        let script = format!("printf '%s\\n' '{message}' '{{}}'; read line; exit 0");
        let (built, programs) = sync_channel(WAITING_MAX);
        // The build ends when its input does, which is after the program came.
        let (input, end) = std::io::pipe().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(input);
        let (first, all) = thread::scope(|scope| {
            let build = scope.spawn(|| build(&mut shell, Some(built)));
            let first = programs.recv_timeout(Duration::from_secs(60)).unwrap();
            drop(end);
            (first, build.join().unwrap().unwrap())
        });
        assert_eq!(all, [first]);
        let begun = StepReport::new(1).begun();
        let effort = |given: Option<&str>, late_from| TestEffort {
            given: given.map(OsString::from),
            late_from,
        };
        let hour = Duration::from_secs(3_600);
        for (effort, is_late) in [
            (effort(None, None), false),
            (effort(None, Some(begun + hour)), false),
            (effort(None, begun.checked_sub(Duration::from_millis(1))), true),
            (effort(Some("full"), begun.checked_sub(Duration::from_millis(1))), false),
        ] {
            assert_eq!(effort.is_late(), is_late, "{effort:?}");
        }
    }

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.01s";
        assert_eq!(counts(line), Some((12, 3)));
        assert_eq!(counts("running 3 tests"), None);
    }

    #[test]
    fn tests_that_hang_are_named() {
        let mut counted = TestCounts::default();
        for line in [
            "test kill::a has been running for over 60 seconds",
            "test kill::b has been running for over 60 seconds",
            "test kill::c ... FAILED",
            "test kill::a ... ok",
        ] {
            counted.count(line);
        }
        counted.count_hung();
        assert_eq!(counted.failures, ["kill::c", "kill::b (it hung, or one beside it did)"]);
        assert_eq!(counted.failed, 1);
        counted.count_hung();
        assert!(counted.failures[2].starts_with("a test program"), "{:?}", counted.failures);
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_is_counted() {
        let mut counted = TestCounts::default();
        counted.run(Command::new("sh").args(["-c", "exit 0"]));
        assert_eq!(counted.failed, 0);
        counted.run(Command::new("sh").args(["-c", "kill -SEGV $$"]));
        counted.run(&mut Command::new("/no/such/program"));
        assert_eq!(counted.failed, 2);
        assert!(counted.failures[0].starts_with("sh ended with signal: 11"), "{counted:?}");
        assert!(counted.failures[1].starts_with("/no/such/program: it does not start"));
    }

    #[test]
    fn a_hung_program_ends_with_all_that_it_started() {
        let mut shell = Command::new("sh");
        // The shell waits for a shell that waits.
        let mut parent = shell.args(["-c", "sh -c 'sleep 600; true'; exit 3"]).spawn().unwrap();
        let child_of = |pid: &str| {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            children.ok()?.split_whitespace().next().map(str::to_owned)
        };
        let grandchild = || child_of(&child_of(&parent.id().to_string())?);
        let found = std::iter::repeat_with(grandchild).take(1_000_000).flatten().next();
        let found = found.expect("the shell starts no shell");
        kill_with_descendants(parent.id());
        assert_eq!(parent.wait().unwrap().signal(), Some(9));
        let runs = || {
            let status = std::fs::read_to_string(format!("/proc/{found}/status"));
            status.is_ok_and(|status| !status.contains("State:\tZ"))
        };
        assert!(std::iter::repeat_with(runs).take(1_000_000).any(|runs| !runs), "{found} runs");
    }
}
