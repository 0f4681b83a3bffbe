//! Developer commands: `cargo xtask run`, `cargo xtask test`, `cargo xtask ui`, `cargo xtask dist`,
//! `cargo xtask fuzz`, `cargo xtask simulate`, `cargo xtask bench`.
//!
//! Owns how the project is built and checked. A command reports in one line what it installs and
//! what it cannot run.

mod bench;
mod coverage;
mod decoders;
mod dist;
mod fuzz;
mod lints;
mod notices;
mod screenshots;
mod simulate;
mod steps;
mod test;
mod test_programs;
mod ui;

use std::{
    fs,
    io::{self, ErrorKind},
    process::{Child, Command, ExitCode, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{steps::StepReport, ui::Module};

/// First step of the commands that need the UI alone.
const UI: &str = "UI: compile to WebAssembly, compress into ui/dist";

/// Program in which a server without the engine of SQL runs each query.
pub(crate) const SQL_WORKER: &str = "tidings-sql-worker";
/// Interval at which a build beside the server is asked whether it has ended.
const BUILD_POLL: Duration = Duration::from_millis(200);

const USAGE: &str = "\
cargo xtask run [-- ARGS…]   build the UI and the server, start it on ./data, then build the engine
                             of SQL; --release before the -- builds all for speed, which takes longer
cargo xtask test             format, lints, every test, docs; ends with `N passed, N failed`
cargo xtask fuzz             generated queries in SQL; -- --seconds N, --seed N (600, at random)
cargo xtask fuzz decoders    libFuzzer on every decoder and parser; -- --seconds N, --target NAME
                             (60 each, all); --keep adds what reaches new code to fuzz/corpus
cargo xtask simulate         the store under faults by seed; -- --seeds N (10,000), --seed N for one
cargo xtask ui               build the UI into ui/dist
cargo xtask dist             build the UI and the small server that ships, in target/dist
cargo xtask screenshots      pictures of every page into target/screenshots; -- --docs those of the docs
cargo xtask notices          licences of all crates that ship, in target/dist
cargo xtask sbom             the same crates as a bill of materials (CycloneDX)
cargo xtask bench storage    measure the release build; -- --spans N,N… says with how much
cargo xtask bench keys       the same of what keys and TLS cost the ingest
cargo xtask bench query      the same of how long questions take
cargo xtask bench logs       the same of log records; -- --records N,N… says with how many
cargo xtask bench peers      the same of other systems; -- --tempo PROGRAM says with which
cargo xtask bench layout     print bytes per span by column, flushed and compacted";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match lints::is_compiler_call(&args) {
        true if coverage::is_this() => coverage::compile(&args),
        true => lints::compile(&args),
        false => dispatch(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let (command, rest) = match args {
        [command, rest @ ..] => (command.as_str(), rest),
        [] => bail!("a command is needed:\n{USAGE}"),
    };
    match command {
        "ui" => StepReport::new(1).step(UI, ui::build).map(|()| ExitCode::SUCCESS),
        "dist" => dist::run(),
        "run" => run(rest),
        "test" => test::run(),
        "bench" => bench::run(rest),
        "fuzz" => match rest {
            [kind, flags @ ..] if kind == "decoders" => decoders::run(flags),
            flags => fuzz::run(flags),
        },
        "screenshots" => screenshots::run(rest),
        "simulate" => simulate::run(rest),
        "notices" => notices::write_notices().map(|_| ExitCode::SUCCESS),
        "sbom" => notices::write_bill_of_materials().map(|_| ExitCode::SUCCESS),
        _ => bail!("there is no command `{command}`:\n{USAGE}"),
    }
}

/// Builds the UI and the server, then runs the server.
fn run(args: &[String]) -> Result<ExitCode> {
    let (is_release, args) = match args {
        [first, rest @ ..] if first == "--release" => (true, rest),
        _ => (false, args),
    };
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    if is_release { run_release(args) } else { run_development(args) }
}

/// Runs the server of the release profile.
fn run_release(args: &[String]) -> Result<ExitCode> {
    let mut build = steps::cargo();
    build.args(steps::LIBRARIES).args(["--bin", "tidings", "--release"]);
    let mut progress = StepReport::new(2);
    progress.step("UI to WebAssembly, and the server's crates beside it", || {
        let packager = || steps::check(steps::cargo().args(ui::PACKAGER).arg("--release"));
        ui::build_beside(Module::Shipped, "release", packager, || steps::check(&mut build))
    })?;
    // Only the last crate is compiled again.
    progress.step("server with the UI", || steps::check(&mut build))?;
    Ok(exit_code(start_server("release", args)?.wait()?))
}

/// Runs the server of the development profile, and builds the engine of SQL meanwhile: a third of
/// what there is to compile, which only workers of SQL need.
fn run_development(args: &[String]) -> Result<ExitCode> {
    let mut build = steps::cargo();
    build.args(ui::PACKAGER).args(test::SERVER_ALONE);
    let mut progress = StepReport::new(3);
    progress.step("UI to WebAssembly, and the server's crates beside it", || {
        let packager = || steps::check(steps::cargo().args(ui::PACKAGER));
        ui::build_beside(Module::Development, ui::DEV, packager, || steps::check(&mut build))
    })?;
    // Only the last crate is compiled again.
    progress.step("server with the UI", || steps::check(&mut build))?;
    remove_engine()?;
    let mut server = start_server(ui::DEV, args)?;
    thread::scope(|scope| {
        let (sender, ended) = sync_channel(1);
        scope.spawn(move || sender.send(server.wait()));
        let engine = progress.step("engine of SQL, for the server that runs now", || {
            let mut build = steps::cargo();
            build.args(steps::LIBRARIES).args(["--bin", SQL_WORKER]);
            build_until_end(&mut build, &ended)
        });
        let status = engine.unwrap_or_else(|error| {
            eprintln!("xtask: queries in SQL find no engine: {error:#}");
            None
        });
        let status = match status {
            Some(status) => status,
            None => ended.recv()??,
        };
        Ok(exit_code(status))
    })
}

/// Runs a build until it or the server ends. Returns the status of a server that ended first, such
/// as one whose port is taken: nobody waits for the build then.
fn build_until_end(
    build: &mut Command,
    server: &Receiver<io::Result<ExitStatus>>,
) -> Result<Option<ExitStatus>> {
    let mut build = build.spawn().context("cargo")?;
    loop {
        match server.recv_timeout(BUILD_POLL) {
            Ok(status) => {
                build.kill()?;
                build.wait()?;
                return Ok(Some(status?));
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the end of the server is not known"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match build.try_wait()? {
            Some(status) if status.success() => return Ok(None),
            Some(status) => bail!("cargo ended with {status}"),
            None => {}
        }
    }
}

/// Removes the engine of an earlier build: it may not understand this server. Cargo puts it back,
/// whether it compiles it again or not.
#[expect(clippy::disallowed_methods, reason = "build output needs no durability")]
fn remove_engine() -> Result<()> {
    let engine = steps::target_dir().join(ui::DEV).join(SQL_WORKER);
    match fs::remove_file(&engine) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| engine.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Starts the server that is in this folder of programs.
fn start_server(folder: &str, args: &[String]) -> Result<Child> {
    let server = steps::target_dir().join(folder).join("tidings");
    Command::new(&server)
        .arg("serve")
        .args(args)
        .current_dir(steps::root())
        .spawn()
        .with_context(|| server.display().to_string())
}

/// Returns the exit code for a server that ended with this status.
fn exit_code(status: ExitStatus) -> ExitCode {
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
