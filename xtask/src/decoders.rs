//! `cargo xtask fuzz decoders`: libFuzzer on the targets of `fuzz/`.
//!
//! Owns the flags and the runs: each target gets the same time, and two targets run on each core.
//! The targets and their kept inputs are in `fuzz/`.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    coverage,
    steps::{LIBRARIES, cargo, check, root, target_dir},
};

/// A target that needs more memory than this has a fault.
const MEMORY_MIB: u32 = 2_048;
/// An input that takes longer than this, in seconds, is a fault.
const INPUT_SECONDS: u32 = 10;
/// The longest input.
const INPUT_BYTES: u32 = 16 << 10;
/// Targets that run on each core at once. CI does not have the time to run one after the other.
const TARGETS_OF_CORE: usize = 2;

/// Flags of a run: the targets and their time.
#[derive(Debug, PartialEq, Eq)]
struct Flags {
    seconds: u64,
    target: Option<String>,
    keep: bool,
}

impl Flags {
    fn read(args: &[String]) -> Result<Self> {
        let mut flags = Self { seconds: 60, target: None, keep: false };
        let mut args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args).iter();
        while let Some(name) = args.next() {
            let mut value = || args.next().with_context(|| format!("{name} has no value"));
            match name.as_str() {
                "--seconds" => flags.seconds = value()?.parse().context("--seconds")?,
                "--target" => flags.target = Some(value()?.clone()),
                "--keep" => flags.keep = true,
                other => bail!("there is no flag {other}: --seconds, --target and --keep are"),
            }
        }
        Ok(flags)
    }
}

/// Runs the targets that the flags name.
///
/// # Errors
/// As [`run_all`], and if a flag is wrong.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    build_and_fuzz(&coverage::install()?, &Flags::read(args)?).map(|()| ExitCode::SUCCESS)
}

/// Builds all targets with this compiler, and runs each for so many seconds.
///
/// # Errors
/// Fails if the targets cannot be built, or if one finds a fault.
pub(crate) fn run_all(compiler: &Path, seconds: u64) -> Result<()> {
    build_and_fuzz(compiler, &Flags { seconds, target: None, keep: false })
}

fn build_and_fuzz(compiler: &Path, flags: &Flags) -> Result<()> {
    let program = ["--bin", "tidings-fuzz", "--features", "tidings-fuzz/libfuzzer"];
    check(cargo().args(LIBRARIES).args(program).env("RUSTC_WORKSPACE_WRAPPER", compiler))?;
    let targets = targets(flags.target.as_deref())?;
    let failed = Mutex::new(Vec::new());
    let queue = Mutex::new(VecDeque::from(targets));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..TARGETS_OF_CORE * thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let outcome = fuzz(&target, flags);
                    if let Err(error) = outcome {
                        eprintln!("{target}: {error:#}");
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(target);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("faults were found by {}", failed.join(", "));
    }
    Ok(())
}

fn corpus() -> PathBuf {
    root().join("fuzz/corpus")
}

/// Returns the names of the targets: every target keeps inputs.
fn targets(only: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(corpus()).context("fuzz/corpus")? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    match only {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no target {name}; there are {}", names.join(", ")),
    }
}

/// Runs one target. Inputs that reach new code are kept under `target/fuzz`, or with the others.
#[expect(clippy::disallowed_methods, reason = "what a run finds needs no durability")]
fn fuzz(target: &str, flags: &Flags) -> Result<()> {
    let (kept, work) = (corpus().join(target), target_dir().join("fuzz").join(target));
    let (found, faults) = (work.join("found"), work.join("faults/"));
    for folder in [&found, &faults] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let log = work.join("log");
    let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut program = Command::new(target_dir().join("debug/tidings-fuzz"));
    program
        .arg(&found)
        .arg(&kept)
        .arg(format!("-max_total_time={}", flags.seconds))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-max_len={INPUT_BYTES}"))
        .arg(format!("-artifact_prefix={}", faults.display()))
        .args(["-print_final_stats=1", "-use_value_profile=1"])
        .env("FUZZ_TARGET", target)
        .stdout(Stdio::null())
        .stderr(output);
    let status = program.status().context("tidings-fuzz")?;
    eprintln!("{target}: {}", summary(&log)?);
    if !status.success() {
        let inputs = faults.display();
        bail!("ended with {status}; what it printed is in {}, inputs in {inputs}", log.display());
    }
    if flags.keep { keep(target, &found, &kept) } else { Ok(()) }
}

/// Returns the number of inputs of a run, and the number of branches that they reached.
fn summary(log: &Path) -> Result<String> {
    let log = fs::read(log).with_context(|| log.display().to_string())?;
    let log = String::from_utf8_lossy(&log);
    let number = |name: &str| {
        let line = log.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let reached = log.lines().rev().find_map(|line| line.split(" cov: ").nth(1));
    let reached = reached.and_then(|rest| rest.split(' ').next()).unwrap_or("?");
    let (inputs, each) = (number("stat::number_of_executed_units"), number("stat::average_exec"));
    Ok(format!("{inputs} inputs, {each} a second, {reached} branches reached"))
}

/// Adds to the kept inputs a few that reach the branches that the found ones do.
fn keep(target: &str, found: &Path, kept: &Path) -> Result<()> {
    let mut merge = Command::new(target_dir().join("debug/tidings-fuzz"));
    merge
        .args(["-set_cover_merge=1", "-use_counters=0", "-max_len=1024"])
        .args([kept, found])
        .env("FUZZ_TARGET", target);
    check(merge.stdout(Stdio::null()).stderr(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::Flags;

    #[test]
    fn flags_choose_a_target_and_its_time() {
        let read = |args: &str| {
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            Flags::read(&args)
        };
        assert_eq!(read("").unwrap(), Flags { seconds: 60, target: None, keep: false });
        let given = read("-- --seconds 5 --keep --target traceql").unwrap();
        assert_eq!(given, Flags { seconds: 5, target: Some("traceql".to_owned()), keep: true });
        for wrong in ["--seconds", "--seconds x", "--all"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
