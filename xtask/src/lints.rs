//! Lints and rustdoc's warnings, found while the workspace is compiled for its tests.
//!
//! `cargo clippy` and `cargo doc` would compile every dependency a second time, for its metadata
//! alone. So this program takes the compiler's place for the crates of the workspace
//! (`RUSTC_WORKSPACE_WRAPPER`): it runs Clippy's driver, which lints and then generates code as
//! rustc does, and after it rustdoc with the arguments that both understand.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::steps::{check, target_dir};

/// Clippy's driver reads its arguments from `CLIPPY_ARGS`, each ended by this.
const END_OF_ARGUMENT: &str = "__CLIPPY_HACKERY__";
/// Options of rustc that rustdoc has too, with their value as the next argument.
const SHARED_WITH_VALUE: [&str; 7] =
    ["--crate-name", "--crate-type", "--cfg", "--check-cfg", "--extern", "-L", "--cap-lints"];
/// The crate of which only tests are compiled for this machine: code for all of its views takes
/// minutes.
const TESTS_ONLY: &str = "tidings_ui";
/// Crates on which end-to-end tests wait most: conversion, encoding, scans and assembly, and the log
/// and the disk, on which the tests of storage wait too.
const OPTIMISED: [&str; 11] = [
    "tidings_assembly",
    "tidings_columns",
    "tidings_data_file",
    "tidings_disk",
    "tidings_files",
    "tidings_index",
    "tidings_proto",
    "tidings_rollup",
    "tidings_snapshot",
    "tidings_storage",
    "tidings_wal",
];
/// The crates whose own tests are optimised, too: they run for minutes.
const LONG_TESTS: [&str; 2] = ["tidings_storage", "tidings_wal"];
/// Options that optimise a crate a little, and keep its checks.
const OPTIMISING: [&str; 3] = ["-Copt-level=1", "-Cdebug-assertions=on", "-Coverflow-checks=on"];
/// Options of both whose value stands behind `=`.
const SHARED: [&str; 5] = ["--edition=", "--allow=", "--warn=", "--deny=", "--forbid="];

/// This program in the role of the workspace's compiler.
#[derive(Debug)]
pub(crate) struct LintingCompiler {
    path: PathBuf,
}

impl LintingCompiler {
    /// Copies this program.
    ///
    /// # Errors
    /// Fails if the copy cannot be written.
    pub(crate) fn install() -> Result<Self> {
        Ok(Self { path: copy_of_this("linting-compiler")? })
    }

    /// Makes a command of cargo lint the workspace and check its documentation; a warning is an
    /// error.
    pub(crate) fn lint<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        cargo
            .env("RUSTC_WORKSPACE_WRAPPER", &self.path)
            .env("CLIPPY_ARGS", format!("-D{END_OF_ARGUMENT}warnings{END_OF_ARGUMENT}"))
    }
}

/// Copies this program to a path where no build replaces it, and returns the path. Cargo keeps the
/// output of each compiler path separately.
///
/// # Errors
/// Fails if the copy cannot be written.
#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
pub(crate) fn copy_of_this(name: &str) -> Result<PathBuf> {
    let path = env::current_dir()?.join(target_dir()).join(name);
    let this = env::current_exe().context("the path of xtask")?;
    // Renamed, because another build may be running the one that is there.
    let new = path.with_extension("new");
    fs::copy(this, &new).with_context(|| new.display().to_string())?;
    fs::rename(&new, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Reports whether cargo calls this program as the compiler, and not a developer as a command.
pub(crate) fn is_compiler_call(args: &[String]) -> bool {
    args.first().is_some_and(|first| Path::new(first).file_stem().is_some_and(|is| is == "rustc"))
}

/// Compiles a crate as rustc does: `args` are the path of rustc and its arguments.
///
/// # Errors
/// Fails if Clippy's driver or rustdoc is missing, or if rustdoc has a warning.
pub(crate) fn compile(args: &[String]) -> Result<ExitCode> {
    let mut clippy = Command::new("clippy-driver");
    clippy.args(args);
    if is_optimised(args) {
        clippy.args(OPTIMISING);
    }
    let status = clippy.status().context("clippy-driver")?;
    if !status.success() {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(arguments) = rustdoc_arguments(args) {
        let mut rustdoc = Command::new("rustdoc");
        check(
            rustdoc.args(arguments).args(["-D", "warnings", "-o"]).arg(target_dir().join("doc")),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reports whether a crate is optimised: the libraries of [`OPTIMISED`]. Most of their own tests
/// would take longer to compile than they run.
fn is_optimised(args: &[String]) -> bool {
    let is_test = args.iter().any(|arg| arg == "--test");
    let name = args.iter().skip_while(|arg| *arg != "--crate-name").nth(1);
    name.is_some_and(|name| {
        let name = name.as_str();
        OPTIMISED.contains(&name) && (!is_test || LONG_TESTS.contains(&name))
    })
}

/// Returns the arguments that document the crate that rustc is called for; `None` where it is a
/// test, a build script, or no crate at all.
fn rustdoc_arguments(args: &[String]) -> Option<Vec<&str>> {
    let source = args.iter().find(|arg| arg.ends_with(".rs"))?;
    let is_test = args.iter().any(|arg| arg == "--test");
    let is_library = is_test && args.iter().any(|arg| arg == TESTS_ONLY);
    if is_test && !is_library || source.ends_with("build.rs") {
        return None;
    }
    let mut kept = vec![source.as_str()];
    if is_library {
        kept.extend(["--crate-type", "lib"]);
    }
    let mut rest = args.iter().map(String::as_str).skip(1);
    while let Some(arg) = rest.next() {
        if SHARED_WITH_VALUE.contains(&arg) {
            let value = rest.next()?;
            kept.extend([arg, value]);
            if (arg, value) == ("--crate-type", "bin") {
                kept.push("--document-private-items");
            }
        } else if SHARED.iter().any(|option| arg.starts_with(option)) && !arg.contains("=clippy::")
        {
            kept.push(arg);
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::{is_compiler_call, is_optimised, rustdoc_arguments};

    fn arguments(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn calls_of_cargo_are_distinguished_from_commands() {
        assert!(is_compiler_call(&arguments("/usr/lib/bin/rustc -vV")));
        assert!(!is_compiler_call(&arguments("test")));
        assert!(!is_compiler_call(&[]));
    }

    #[test]
    fn libraries_that_tests_wait_for_are_optimised_and_few_of_their_own_tests() {
        let is = |line: &str| is_optimised(&arguments(line));
        assert!(is("rustc --crate-name tidings_storage src/lib.rs --crate-type lib"));
        assert!(is("rustc --crate-name tidings_storage src/lib.rs --test"));
        for part in ["columns", "data_file", "files", "index", "rollup", "snapshot"] {
            assert!(is(&format!("rustc --crate-name tidings_{part} src/lib.rs --crate-type lib")));
            assert!(!is(&format!("rustc --crate-name tidings_{part} src/lib.rs --test")));
        }
        assert!(!is("rustc --crate-name tidings_proto src/lib.rs --test"));
        assert!(!is("rustc --crate-name tidings_query src/lib.rs --crate-type lib"));
        assert!(!is("rustc -vV"));
    }

    #[test]
    fn a_library_of_which_only_tests_are_compiled_is_documented_too() {
        let of = |name: &str| {
            let line = format!("rustc --crate-name {name} src/lib.rs --test -L target/deps");
            rustdoc_arguments(&arguments(&line)).map(|found| found.join(" "))
        };
        let expected = "src/lib.rs --crate-type lib --crate-name tidings_ui -L target/deps";
        assert_eq!(of("tidings_ui").as_deref(), Some(expected));
        assert_eq!(of("tidings_query"), None);
    }

    #[test]
    fn rustdoc_gets_the_arguments_that_both_understand() {
        let line = "rustc --crate-name tidings_proto --edition=2024 src/lib.rs --error-format=json \
            --crate-type lib --emit=dep-info,metadata,link -C opt-level=0 --deny=clippy::panic \
            --deny=unreachable_pub --out-dir target/deps -L dependency=target/deps \
            --extern bytes=libbytes.rmeta";
        let args = arguments(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        let expected = "src/lib.rs --crate-name tidings_proto --edition=2024 --crate-type lib \
            --deny=unreachable_pub -L dependency=target/deps --extern bytes=libbytes.rmeta";
        assert_eq!(
            rustdoc_arguments(&args).unwrap().join(" "),
            expected.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }

    #[test]
    fn tests_and_build_scripts_have_no_documentation() {
        for line in ["rustc --crate-name a src/lib.rs --test", "rustc build.rs", "rustc -vV"] {
            assert_eq!(rustdoc_arguments(&arguments(line)), None, "{line}");
        }
    }
}
