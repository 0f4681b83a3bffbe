//! Lints, found while the workspace is compiled for its tests, and rustdoc's warnings after that.
//!
//! `cargo clippy` and `cargo doc` would compile every dependency a second time, for its metadata
//! alone. So this program takes the compiler's place for the crates of the workspace
//! (`RUSTC_WORKSPACE_WRAPPER`): it runs Clippy's driver, which lints and then generates code as
//! rustc does. It also keeps the call of rustdoc, with the arguments that both understand. Tests do
//! not wait for documentation, which is checked after them.

use std::{
    collections::BTreeMap,
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};

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
/// Options that optimise a crate a little, and keep its checks.
const OPTIMISING: [&str; 3] = ["-Copt-level=1", "-Cdebug-assertions=on", "-Coverflow-checks=on"];
/// Options of both whose value stands behind `=`.
const SHARED: [&str; 5] = ["--edition=", "--allow=", "--warn=", "--deny=", "--forbid="];
/// Folder of the calls of rustdoc that are not made yet, in the target directory.
const PENDING_DOCS: &str = "doc-pending";
/// Beginnings of the names of variables that a crate may read while it is compiled. The last two
/// come from build scripts. Other variables, such as tokens of registries, are written to no file.
const READ_VARIABLES: [&str; 7] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
    "VERSION_WITH_COMMIT",
];

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

    /// Makes a command of cargo lint the workspace and keep its calls of rustdoc for [`document`].
    /// A warning is an error.
    pub(crate) fn lint<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        cargo
            .env("RUSTC_WORKSPACE_WRAPPER", &self.path)
            .env("CLIPPY_ARGS", format!("-D{END_OF_ARGUMENT}warnings{END_OF_ARGUMENT}"))
    }
}

/// Documents the crates that were compiled since they were last documented. A warning is an error.
///
/// # Errors
/// Fails if rustdoc is missing, or if a crate has a warning. That crate stays pending.
pub(crate) fn document() -> Result<()> {
    let folder = target_dir().join(PENDING_DOCS);
    let found = match fs::read_dir(&folder) {
        // Nothing was compiled in this target directory.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.with_context(|| folder.display().to_string())?,
    };
    let calls: Vec<PathBuf> = found.map(|call| Ok(call?.path())).collect::<Result<_>>()?;
    let (pending, failures) = (Mutex::new(calls), Mutex::new(Vec::new()));
    let next = || pending.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some(call) = next() {
            if let Err(error) = document_crate(&call) {
                let failure = format!("{}: {error:#}", call.display());
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// Makes a call of rustdoc that was kept, and forgets it when it succeeds. Forgets that of a crate
/// whose source file is gone.
#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn document_crate(call: &Path) -> Result<()> {
    let kept: Json = serde_json::from_slice(&fs::read(call)?)?;
    let text = |value: &Json| value.as_str().map(str::to_owned).context("not a call of rustdoc");
    let arguments = kept["arguments"].as_array().context("no arguments")?;
    let variables = kept["variables"].as_object().context("no variables")?;
    let folder = PathBuf::from(text(&kept["folder"])?);
    let source = text(arguments.first().context("no source file")?)?;
    if !folder.join(source).exists() {
        return Ok(fs::remove_file(call)?);
    }
    let mut rustdoc = Command::new("rustdoc");
    rustdoc.current_dir(folder);
    for argument in arguments {
        rustdoc.arg(text(argument)?);
    }
    for (name, value) in variables {
        rustdoc.env(name, text(value)?);
    }
    check(rustdoc.args(["-D", "warnings", "-o"]).arg(target_dir().join("doc")))?;
    Ok(fs::remove_file(call)?)
}

/// Keeps a call of rustdoc with the variables that a crate may read while it is compiled.
#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn keep_call(arguments: &[&str]) -> Result<()> {
    let variables: BTreeMap<String, String> =
        env::vars().filter(|(name, _)| is_read(name)).collect();
    let folder = env::current_dir()?;
    let call = json!({ "folder": folder, "arguments": arguments, "variables": variables });
    let pending = target_dir().join(PENDING_DOCS);
    fs::create_dir_all(&pending)?;
    let path = pending.join(call_file(arguments.first().context("no source file")?));
    fs::write(&path, call.to_string()).with_context(|| path.display().to_string())
}

/// Reports whether a crate may read a variable of this name while it is compiled.
fn is_read(variable: &str) -> bool {
    READ_VARIABLES.iter().any(|beginning| variable.starts_with(beginning))
}

/// Returns the name of the file with a call, from the source file of the crate. Crates may have one
/// name, as benchmarks of several libraries do.
fn call_file(source: &str) -> String {
    format!("{}.json", source.replace('/', "-"))
}

/// Copies this program to a path where no build replaces it, and returns the path. Cargo keeps the
/// output of each compiler path separately.
///
/// # Errors
/// Fails if the copy cannot be written.
#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
pub(crate) fn copy_of_this(name: &str) -> Result<PathBuf> {
    let path = target_dir().join(name);
    fs::create_dir_all(target_dir())?;
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
/// Fails if Clippy's driver is missing, or if the call of rustdoc cannot be kept.
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
        keep_call(&arguments)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reports whether a crate is optimised: the libraries of [`OPTIMISED`]. Their own tests would take
/// longer to compile, and would run no faster.
fn is_optimised(args: &[String]) -> bool {
    let is_test = args.iter().any(|arg| arg == "--test");
    let name = args.iter().skip_while(|arg| *arg != "--crate-name").nth(1);
    name.is_some_and(|name| OPTIMISED.contains(&name.as_str()) && !is_test)
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
    use super::{call_file, is_compiler_call, is_optimised, is_read, rustdoc_arguments};

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
    fn libraries_that_tests_wait_for_are_optimised_without_their_own_tests() {
        let is = |line: &str| is_optimised(&arguments(line));
        for part in ["columns", "data_file", "files", "index", "rollup", "snapshot", "storage"] {
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
    fn variables_of_cargo_and_of_build_scripts_are_kept_and_tokens_are_not() {
        for name in ["CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR", "OUT_DIR", "VERSION_WITH_COMMIT"] {
            assert!(is_read(name), "{name}");
        }
        for name in ["CARGO_REGISTRY_TOKEN", "CARGO_MAKEFLAGS", "CARGO_TARGET_DIR", "PATH"] {
            assert!(!is_read(name), "{name}");
        }
    }

    #[test]
    fn crates_of_one_name_are_documented_apart() {
        let of = ["query/benches/trace.rs", "storage/benches/trace.rs"].map(call_file);
        assert_eq!(of, ["query-benches-trace.rs.json", "storage-benches-trace.rs.json"]);
    }

    #[test]
    fn tests_and_build_scripts_have_no_documentation() {
        for line in ["rustc --crate-name a src/lib.rs --test", "rustc build.rs", "rustc -vV"] {
            assert_eq!(rustdoc_arguments(&arguments(line)), None, "{line}");
        }
    }
}
