//! The programs of all tests: runs them, counts their results, and ends one that hangs. `test.rs`
//! owns the report.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    lints::LintingCompiler,
    steps::{cargo, target_dir},
};

/// Lines of the output of each failed test that are repeated at the end.
const MESSAGE_LINES_MAX: usize = 12;
/// Longest time without a line of output. Tests of clients first build the clients.
const SILENCE_MAX: Duration = Duration::from_secs(1_200);
/// Number of hung programs after which the rest is given up.
const HUNG_MAX: u32 = 3;
/// Longest time until the first line, if cargo has to compile.
const FIRST_LINE_MAX: Duration = Duration::from_secs(3_600);
/// Lines that wait to be counted.
const LINES_WAITING: usize = 1_000;
/// Variable of the effort of all tests (`storage/disk/src/test_effort.rs`). Without it they try
/// little.
pub(crate) const EFFORT: &str = "TEST_EFFORT";
/// End of the line about a test that takes long.
const IS_SLOW: &str = " has been running for over 60 seconds";

/// Results of the test programs.
#[derive(Debug, Default)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<String>,
    /// First lines of the output of each failed test.
    pub(crate) messages: Vec<String>,
    pub(crate) left_out: Vec<String>,
    /// Number of following lines that still belong to the message of a failure.
    message_lines: usize,
    /// Tests that have been running for a minute.
    slow: BTreeSet<String>,
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

    /// Counts the tests of a program that hangs as failed.
    fn count_hung(&mut self) {
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

/// Builds and runs every test with this effort, and adds up the counts that the test programs print.
///
/// # Errors
/// Fails if cargo cannot be started, and if the file of parts that were left out cannot be used.
pub(crate) fn run(compiler: &LintingCompiler, effort: &OsStr) -> Result<TestCounts> {
    let skipped = target_dir().join("left-out.txt");
    write(&skipped, "")?;
    let mut tests = compiler
        .lint(cargo().args(["test", "--workspace", "--no-fail-fast"]))
        .env("TEST_LEFT_OUT", fs::canonicalize(&skipped)?)
        .env(EFFORT, effort)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test")?;
    let lines = lines_of(tests.stdout.take().context("cargo test has no output")?);
    let mut counted = TestCounts::default();
    let (mut patience, mut hung) = (FIRST_LINE_MAX, 0);
    loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                patience = SILENCE_MAX;
                writeln!(std::io::stdout(), "{line}")?;
                counted.count(&line);
            }
            Err(RecvTimeoutError::Timeout) => {
                counted.count_hung();
                kill_descendants(tests.id());
                hung += 1;
                if hung == HUNG_MAX {
                    tests.kill()?;
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if !tests.wait()?.success() && counted.failed == 0 {
        counted.failed = 1;
        counted.failures.push("cargo test".to_owned());
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

/// Kills the processes that a process has started, and those that they have started. Cargo itself
/// goes on with the next test program.
fn kill_descendants(pid: u32) {
    let mut descendants = Vec::new();
    let mut parents = vec![pid.to_string()];
    while let Some(parent) = parents.pop() {
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            parents.extend(children.split_whitespace().map(str::to_owned));
        }
        descendants.push(parent);
    }
    // The first one is cargo.
    descendants.remove(0);
    // Some may have ended meanwhile.
    let _ = Command::new("kill").arg("-KILL").args(descendants).status();
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
    use std::process::Command;

    use super::{TestCounts, counts, kill_descendants};

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
    fn a_hung_program_ends_with_all_that_it_started() {
        let mut shell = Command::new("sh");
        // The shell waits for a shell that waits.
        let mut parent = shell.args(["-c", "sh -c 'sleep 600; true'; exit 3"]).spawn().unwrap();
        let has_grandchild = || {
            let children = format!("/proc/{0}/task/{0}/children", parent.id());
            let child = std::fs::read_to_string(children).unwrap_or_default();
            let of_child = format!("/proc/{0}/task/{0}/children", child.trim());
            std::fs::read_to_string(of_child).is_ok_and(|pids| !pids.is_empty())
        };
        let looks = std::iter::repeat_with(has_grandchild).take(1_000_000);
        assert!(looks.into_iter().any(|has| has), "the shell starts no shell");
        kill_descendants(parent.id());
        assert_eq!(parent.wait().unwrap().code(), Some(3), "it goes on itself");
    }
}
