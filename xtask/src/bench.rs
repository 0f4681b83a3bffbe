//! `cargo xtask bench`: builds the server and the crate `bench` for release and lets it measure.
//!
//! `storage`, `keys`, `query`, `logs` and `peers` replace their tables in `docs/benchmarks.md` with
//! the measured values. `layout` prints the bytes that a span takes in data files, column by
//! column.

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::steps::{cargo, check, root, target_dir};

const USAGE: &str = "cargo xtask bench storage|keys|query|logs|peers|layout [-- FLAGS…]";

/// Runs the benchmark that the first argument names. The crate `bench` gets the others.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let [subject, flags @ ..] = args else { bail!("what to measure?\n{USAGE}") };
    let flags = flags.strip_prefix(&["--".to_owned()]).unwrap_or(flags);
    if subject == "layout" {
        let layout =
            ["run", "--release", "--package", "tidings-bench", "--example", "layout", "--"];
        check(cargo().args(layout).args(flags))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut build = cargo();
    // One command builds both, so that they use the same build of shared crates.
    check(build.args([
        "build",
        "--release",
        "--package",
        "tidings",
        "--package",
        "tidings-bench",
    ]))?;
    // Beside the programs, because a temporary folder may be in memory.
    let folder = target_dir().join("bench");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let folder = fs::canonicalize(folder)?;
    let programs = target_dir().join("release");
    let mut bench = std::process::Command::new(programs.join("tidings-bench"));
    bench
        .arg(subject)
        .arg("--server")
        .arg(programs.join("tidings"))
        .arg("--folder")
        .arg(folder)
        .arg("--into")
        .arg(root().join("docs/benchmarks.md"))
        .args(flags);
    check(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}
