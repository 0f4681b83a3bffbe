//! This program as the compiler of fuzz targets: rustc with the counters that libFuzzer reads.
//!
//! Only the crates of the workspace get counters. Their dependencies are compiled once for all
//! commands.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::lints::copy_of_this;

/// The name by which this program is called as that compiler.
const NAME: &str = "fuzzing-compiler";
/// The arguments of cargo-fuzz, except for its sanitizers, which need a nightly compiler.
const COVERAGE: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=16",
    "-Copt-level=1",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// Copies this program to the path where cargo finds the compiler.
///
/// # Errors
/// Fails if the copy cannot be written.
pub(crate) fn install() -> Result<PathBuf> {
    copy_of_this(NAME)
}

/// Reports whether this program was called as that compiler.
pub(crate) fn is_this() -> bool {
    env::current_exe().is_ok_and(|path| path.file_name().is_some_and(|name| name == NAME))
}

/// Compiles a crate: `args` are the path of rustc and its arguments.
///
/// # Errors
/// Fails if rustc is missing.
pub(crate) fn compile(args: &[String]) -> Result<ExitCode> {
    let [rustc, args @ ..] = args else { return Ok(ExitCode::FAILURE) };
    let mut rustc = Command::new(rustc);
    rustc.args(args);
    if has_counters(args) {
        rustc.args(COVERAGE);
    }
    let status = rustc.status().context("rustc")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reports whether a crate gets counters. Build scripts and macros do not: they run in the build,
/// where no fuzzer is linked.
fn has_counters(args: &[String]) -> bool {
    let name = args.iter().skip_while(|arg| *arg != "--crate-name").nth(1);
    let is_macro = args.iter().any(|arg| arg == "proc-macro");
    name.is_some_and(|name| name.starts_with("tidings_")) && !is_macro
}

#[cfg(test)]
mod tests {
    use super::has_counters;

    #[test]
    fn crates_that_are_fuzzed_have_counters() {
        let has = |line: &str| {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            has_counters(&args)
        };
        assert!(has("--crate-name tidings_proto --edition=2024 src/lib.rs --crate-type lib"));
        assert!(!has("--crate-name build_script_build build.rs --crate-type bin"));
        assert!(!has("--crate-name tidings_macros src/lib.rs --crate-type proc-macro"));
        assert!(!has("-vV"));
    }
}
