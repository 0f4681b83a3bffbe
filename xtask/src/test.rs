//! `cargo xtask test`: every check, the browser and foreign clients included.
//!
//! A part that needs a missing tool is left out and reported in one line. When `CI` is set, a part
//! that is left out is a failure.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    coverage, decoders,
    lints::LintingCompiler,
    steps::{StepReport, apt_install, cargo, is_ci, root, target_dir, works},
    ui,
};

/// Steps of [`run`]; the last, advisories, needs the network.
const STEPS: usize = 7;

/// Seconds of each fuzz target, in CI and elsewhere.
const FUZZ_SECONDS: [u64; 2] = [60, 5];

/// Lines of the output of each failed test that are repeated at the end.
const MESSAGE_LINES_MAX: usize = 12;

/// Results of the checks.
#[derive(Debug)]
struct CheckReport {
    progress: StepReport,
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    /// First lines of the output of each failed test, repeated at the end of a long log.
    messages: Vec<String>,
    left_out: Vec<String>,
    /// Parts that could not be checked here, and do not count as failed.
    not_checked: Vec<String>,
}

/// Arguments that build everything tests need. Libraries that no program uses are built with their
/// tests.
const TARGETS: [&str; 6] = ["build", "--workspace", "--bins", "--tests", "--benches", "--examples"];

/// Runs everything and ends with `N passed, N failed`.
pub(crate) fn run() -> Result<ExitCode> {
    // Before anything is compiled, because a build may replace the program that is copied.
    let (compiler, fuzzing_compiler) = (LintingCompiler::install()?, coverage::install()?);
    let mut report = CheckReport::new();
    prepare(&mut report);
    report.step("format", || command(cargo().args(["fmt", "--all", "--", "--check"])));
    // The module for the browser is optimised as one unit on one core, so the other core is free.
    let deny = std::thread::spawn(install_deny);
    report.step("ui", ui::build);
    let deny = deny.join().unwrap_or_else(|_| bail!("the installation panicked"));
    report.step("compile all, with lints and documentation", || {
        command(compiler.lint(cargo().args(TARGETS)))
    });
    report.tests(&compiler)?;
    if works("c++", &["--version"]) {
        let [in_ci, elsewhere] = FUZZ_SECONDS;
        let seconds = if is_ci() { in_ci } else { elsewhere };
        report.step("fuzz targets", || decoders::run_all(&fuzzing_compiler, seconds));
    } else {
        report.left_out.push("fuzz targets: libFuzzer needs a compiler of C++".to_owned());
    }
    match deny {
        Ok(()) => dependencies(&mut report),
        Err(error) => report.left_out.push(format!("cargo-deny: {error:#}")),
    }
    Ok(report.close())
}

/// Installs what tests need beyond Rust, where that is possible.
fn prepare(report: &mut CheckReport) {
    for (program, tests) in [("chromium", "browser tests"), ("strace", "order of system calls")] {
        if !works(program, &["--version"])
            && let Err(error) = apt_install(&[program])
        {
            report.left_out.push(format!("{tests}: {error:#}"));
        }
    }
}

/// Installs the program that checks licences and sources, unless it is there.
fn install_deny() -> Result<()> {
    if works("cargo-deny", &["--version"]) {
        return Ok(());
    }
    command(cargo().args(["install", "cargo-deny", "--locked", "--debug", "--quiet"]))
}

/// Checks licences, sources and versions against `deny.toml`. The database of advisories is on the
/// network. Where it cannot be reached, the last lines say so and nothing fails, because the
/// dependencies may be fine.
fn dependencies(report: &mut CheckReport) {
    report.step("dependencies", || {
        command(cargo().args(["deny", "--workspace", "check", "bans", "licenses", "sources"]))
    });
    match fetch_advisories() {
        Ok(()) => {
            report.step("advisories", || command(cargo().args(["deny", "check", "advisories"])));
        }
        Err(error) => report.not_checked.push(format!("advisories: {error:#}")),
    }
}

/// Fetches RustSec's database of advisories.
fn fetch_advisories() -> Result<()> {
    let fetched = cargo().args(["deny", "fetch", "db"]).output().context("cargo deny")?;
    if fetched.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&fetched.stderr);
    let cause = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    bail!(
        "the RustSec database cannot be fetched; before a release run `cargo deny check \
         advisories` where it can ({cause})"
    )
}

impl CheckReport {
    fn new() -> Self {
        let (failures, messages) = (Vec::new(), Vec::new());
        let (left_out, not_checked) = (Vec::new(), Vec::new());
        let progress = StepReport::new(STEPS);
        Self { progress, passed: 0, failed: 0, failures, messages, left_out, not_checked }
    }

    /// Runs one check that passes or fails as a whole.
    fn step(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        match self.progress.step(name, check) {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("{name}: {error:#}");
                self.failed += 1;
                self.failures.push(name.to_owned());
            }
        }
    }

    /// Runs every test of the workspace, counted from the output of the test programs.
    fn tests(&mut self, compiler: &LintingCompiler) -> Result<()> {
        let counted = self.progress.step("tests", || counted_tests(compiler))?;
        self.passed += counted.passed;
        self.failed += counted.failed;
        self.failures.extend(counted.failures);
        self.messages.extend(counted.messages);
        self.left_out.extend(counted.left_out);
        Ok(())
    }

    fn close(mut self) -> ExitCode {
        for reason in &self.left_out {
            eprintln!("left out: {reason}");
        }
        if is_ci() && !self.left_out.is_empty() {
            self.failed += u64::try_from(self.left_out.len()).unwrap_or(1);
            self.failures.push("parts were left out, and CI needs every part".to_owned());
        }
        for line in &self.messages {
            eprintln!("{line}");
        }
        for name in &self.failures {
            eprintln!("failed: {name}");
        }
        for name in &self.not_checked {
            eprintln!("not checked: {name}");
        }
        let _ = writeln!(std::io::stdout(), "{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Results of the test programs.
#[derive(Debug, Default)]
struct TestCounts {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    /// First lines of the output of each failed test.
    messages: Vec<String>,
    left_out: Vec<String>,
}

/// Builds and runs every test, and adds up the counts that the test programs print.
fn counted_tests(compiler: &LintingCompiler) -> Result<TestCounts> {
    let skipped = target_dir().join("left-out.txt");
    write(&skipped, "")?;
    let mut tests = compiler
        .lint(cargo().args(["test", "--workspace", "--no-fail-fast"]))
        .env("TEST_LEFT_OUT", fs::canonicalize(&skipped)?)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test")?;
    let output = tests.stdout.take().context("cargo test has no output")?;
    let mut counted = TestCounts::default();
    // Number of following lines that still belong to the message of a failure.
    let mut message_lines = 0;
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(std::io::stdout(), "{line}")?;
        if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            message_lines = MESSAGE_LINES_MAX;
        } else if line == "failures:" {
            message_lines = 0;
        }
        if message_lines > 0 && !line.is_empty() {
            message_lines -= 1;
            counted.messages.push(line.clone());
        }
        if let Some((passed, failed)) = counts(&line) {
            counted.passed += passed;
            counted.failed += failed;
        }
        if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            counted.failures.push(name.to_owned());
        }
    }
    if !tests.wait()?.success() && counted.failed == 0 {
        counted.failed = 1;
        counted.failures.push("cargo test".to_owned());
    }
    counted.left_out.extend(fs::read_to_string(&skipped)?.lines().map(str::to_owned));
    Ok(counted)
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

fn command(command: &mut Command) -> Result<()> {
    crate::steps::check(command.current_dir(root()))
}

#[expect(clippy::disallowed_methods, reason = "a scratch file needs no durability")]
fn write(path: &std::path::Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.01s";
        assert_eq!(counts(line), Some((12, 3)));
        assert_eq!(counts("running 3 tests"), None);
    }
}
