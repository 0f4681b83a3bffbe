//! `cargo xtask test`: every check, the browser and foreign clients included.
//!
//! A part that needs a missing tool is left out and reported in one line. When `CI` is set, a part
//! that is left out is a failure. A slow CI tries less of what has no end, and its last line says so.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    SQL_WORKER, coverage, decoders,
    lints::{self, LintingCompiler},
    steps::{LIBRARIES, StepReport, apt_install, cargo, is_ci, root, with_niceness, works},
    test_programs::{self, EFFORT, TestCounts, TestEffort, TestProgram},
    ui,
};

/// Steps of [`run`]; the last, advisories, needs the network.
const STEPS: usize = 8;

/// Seconds of each fuzz target, in CI and elsewhere.
const FUZZ_SECONDS: [u64; 2] = [20, 5];
/// Time after which a CI begins test programs with little effort. It ends a run after 90 minutes, and
/// one of its machines takes twice as long as another.
const LATE_TESTS: Duration = Duration::from_secs(15 * 60);
/// Time after which a CI does not fuzz.
const LATE_FUZZING: Duration = Duration::from_secs(70 * 60);

/// Niceness of what tests do not wait for.
const BACKGROUND: u8 = 10;

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
    /// Parts that could not be checked here and do not count as failed, each with its reason.
    not_checked: Vec<(&'static str, String)>,
}

/// Arguments that build the tests of libraries that need no engine of SQL: a third of what there is
/// to compile. The root package needs the two that are left out, so that dependencies have the
/// features of the whole workspace.
const LIBRARY_TESTS: [&str; 9] = [
    "test",
    "--no-run",
    "--workspace",
    "--exclude=tidings-sql-engine",
    "--exclude=tidings-fuzz",
    "--lib",
    "--test=all",
    "--test=api",
    "--test=collector",
];
/// Arguments that build everything tests need.
const TARGETS: [&str; 5] = ["build", "--workspace", "--bins", "--tests", "--examples"];
/// Arguments that build what no test needs.
const BENCHMARKS: [&str; 3] = ["build", "--workspace", "--benches"];
/// Arguments that build the server of `cargo xtask run` beside the program that packs the UI.
pub(crate) const SERVER_ALONE: [&str; 3] = ["--bin", "tidings", "--no-default-features"];

/// Runs everything and ends with `N passed, N failed`, and with the parts that were not checked.
pub(crate) fn run() -> Result<ExitCode> {
    // Before anything is compiled, because a build may replace the program that is copied.
    let (compiler, fuzzing_compiler) = (LintingCompiler::install()?, coverage::install()?);
    let mut report = CheckReport::new();
    prepare(&mut report);
    report.step("format", || command(cargo().args(["fmt", "--all", "--", "--check"])));
    // Tests of libraries need no UI, whose module is optimised on one core.
    let ui_module = thread::spawn(|| ui::compile(ui::Module::Shipped, BACKGROUND));
    let effort = report.test_effort();
    let (built, programs) = sync_channel(test_programs::WAITING_MAX);
    let lint = |arguments: &[&str], built: Option<SyncSender<TestProgram>>| {
        let mut cargo = with_niceness(cargo().args(arguments), BACKGROUND);
        test_programs::build(compiler.lint(&mut cargo), built)
    };
    let (mut libraries, mut engine_and_ui, mut all) = (Ok(Vec::new()), Ok(()), Ok(Vec::new()));
    report.tests("tests of libraries while all is compiled, with lints", || {
        thread::scope(|scope| {
            let tests = scope.spawn(|| test_programs::run(programs, &effort));
            libraries = lint(&LIBRARY_TESTS, Some(built));
            engine_and_ui = build_engine_and_ui(&compiler, ui_module);
            all = lint(&TARGETS, None);
            tests.join().unwrap_or_else(|_| bail!("the tests panicked"))
        })
    });
    let libraries = report.check("compile libraries, with lints", libraries);
    report.check("engine of SQL, and UI to WebAssembly", engine_and_ui);
    let mut others = report.check("compile all, with lints", all);
    others.retain(|program| !libraries.contains(program));
    if !others.is_empty() {
        report.tests("tests of programs", || test_programs::run(others, &effort));
    }
    report.step("benchmarks, and the server without SQL, with lints", || {
        command(compiler.lint(cargo().args(BENCHMARKS)))?;
        command(compiler.lint(cargo().args(ui::PACKAGER).args(SERVER_ALONE)))
    });
    report.step("documentation", lints::document);
    fuzz(&mut report, &fuzzing_compiler);
    match install_deny() {
        Ok(()) => dependencies(&mut report),
        Err(error) => report.left_out.push(format!("cargo-deny: {error:#}")),
    }
    Ok(report.close())
}

/// Builds the engine of SQL, which needs no UI, and packs the UI's module when it is compiled.
fn build_engine_and_ui(
    compiler: &LintingCompiler,
    module: JoinHandle<Result<PathBuf>>,
) -> Result<()> {
    let mut engine = cargo();
    engine.args(LIBRARIES).args(["--bin", SQL_WORKER]);
    command(compiler.lint(&mut with_niceness(&engine, BACKGROUND)))?;
    command(compiler.lint(&mut with_niceness(cargo().args(ui::PACKAGER), BACKGROUND)))?;
    let module = module.join().unwrap_or_else(|_| ui::panicked())?;
    ui::pack(ui::DEV, ui::Module::Shipped, &module)
}

/// Fuzzes each target for a while. A slow CI does not: a test runs the kept inputs of all targets.
fn fuzz(report: &mut CheckReport, compiler: &Path) {
    if !works("c++", &["--version"]) {
        report.left_out.push("fuzz targets: libFuzzer needs a compiler of C++".to_owned());
        return;
    }
    if report.is_late(LATE_FUZZING) {
        report.not_checked.push(("fuzz targets", "CI is slow".to_owned()));
        return;
    }
    let [in_ci, elsewhere] = FUZZ_SECONDS;
    let seconds = if is_ci() { in_ci } else { elsewhere };
    report.step("fuzz targets", || decoders::run_all(compiler, seconds));
}

/// Programs that tests need beyond Rust, the best first where one of several suffices, and these
/// tests.
const PROGRAMS: [(&[&str], &str); 2] = [
    (&["chromium-headless-shell", "chromium"], "browser tests"),
    (&["strace"], "order of system calls"),
];

/// Installs what tests need beyond Rust, where that is possible.
fn prepare(report: &mut CheckReport) {
    for (programs, tests) in PROGRAMS {
        if let Err(error) = install_one_of(programs) {
            report.left_out.push(format!("{tests}: {error:#}"));
        }
    }
}

/// Installs the first of these programs that can be, unless one is there. CI is slow without the
/// best of them.
fn install_one_of(programs: &[&str]) -> Result<()> {
    let is_there = |program: &&str| works(program, &["--version"]);
    if !is_ci() && programs.iter().any(is_there) {
        return Ok(());
    }
    let mut result = Ok(());
    for program in programs {
        result = if is_there(program) { Ok(()) } else { apt_install(&[program]) };
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Installs the program that checks licences and sources, unless it is there.
fn install_deny() -> Result<()> {
    if works("cargo-deny", &["--version"]) {
        return Ok(());
    }
    let install = ["install", "cargo-deny", "--locked", "--debug", "--quiet"];
    command(cargo().args(install).env("CARGO_PROFILE_DEV_DEBUG", "none"))
}

/// Checks licences, sources and versions against `deny.toml`. The database of advisories is on the
/// network. Where it cannot be reached, the last line says so and nothing fails, because the
/// dependencies may be fine.
fn dependencies(report: &mut CheckReport) {
    report.step("dependencies", || {
        command(cargo().args(["deny", "--workspace", "check", "bans", "licenses", "sources"]))
    });
    match fetch_advisories() {
        Ok(()) => {
            report.step("advisories", || command(cargo().args(["deny", "check", "advisories"])));
        }
        Err(error) => report.not_checked.push(("advisories", format!("{error:#}"))),
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
        let result = self.progress.step(name, check);
        self.check(name, result);
    }

    /// Counts a check that passes or fails as a whole, and returns its value, if it has one.
    fn check<T: Default>(&mut self, name: &str, result: Result<T>) -> T {
        match result {
            Ok(value) => {
                self.passed += 1;
                value
            }
            Err(error) => {
                self.fail(name, &error);
                T::default()
            }
        }
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        eprintln!("{name}: {error:#}");
        self.failed += 1;
        self.failures.push(name.to_owned());
    }

    /// Runs tests, and adds up what they count.
    fn tests(&mut self, name: &str, run: impl FnOnce() -> Result<TestCounts>) {
        match self.progress.step(name, run) {
            Ok(counted) => {
                self.passed += counted.passed;
                self.failed += counted.failed;
                self.failures.extend(counted.failures);
                self.messages.extend(counted.messages);
                self.left_out.extend(counted.left_out);
                let name = "full effort";
                if counted.is_late && self.not_checked.iter().all(|(known, _)| *known != name) {
                    let reason = "CI is slow: tests try fewer seeds, random cases, faults, kills and \
                                  pages";
                    self.not_checked.push((name, reason.to_owned()));
                }
            }
            Err(error) => self.fail(name, &error),
        }
    }

    /// Returns the effort of the tests: what the environment says, or full until a CI is late.
    fn test_effort(&self) -> TestEffort {
        let late_from = is_ci().then(|| self.progress.begun() + LATE_TESTS);
        TestEffort { given: env::var_os(EFFORT), late_from }
    }

    /// Reports whether a CI has run for longer than this. Nobody ends a run elsewhere.
    fn is_late(&self, limit: Duration) -> bool {
        is_ci() && self.progress.elapsed() > limit
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
        self.progress.summarize();
        for name in &self.failures {
            eprintln!("failed: {name}");
        }
        for (name, reason) in &self.not_checked {
            eprintln!("not checked: {name}: {reason}");
        }
        let _ = writeln!(std::io::stdout(), "{}", self.last_line());
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Returns the numbers of passed and failed checks, and the names of those that were not made.
    fn last_line(&self) -> String {
        let line = format!("{} passed, {} failed", self.passed, self.failed);
        if self.not_checked.is_empty() {
            return line;
        }
        let names: Vec<&str> = self.not_checked.iter().map(|(name, _)| *name).collect();
        format!("{line}, {} not checked ({})", names.len(), names.join(", "))
    }
}

fn command(command: &mut Command) -> Result<()> {
    crate::steps::check(command.current_dir(root()))
}

#[cfg(test)]
mod tests {
    use super::CheckReport;

    #[test]
    fn the_last_line_names_parts_that_were_not_checked() {
        let mut report = CheckReport::new();
        (report.passed, report.failed) = (7, 1);
        assert_eq!(report.last_line(), "7 passed, 1 failed");
        report.not_checked.push(("advisories", "no network".to_owned()));
        assert_eq!(report.last_line(), "7 passed, 1 failed, 1 not checked (advisories)");
    }
}
