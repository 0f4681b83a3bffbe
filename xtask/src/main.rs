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

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::steps::StepReport;

/// First step of the commands that need the UI alone.
const UI: &str = "UI: compile to WebAssembly, compress into ui/dist";

const USAGE: &str = "\
cargo xtask run [-- ARGS…]   build the UI and the server, start it on ./data; --release before
                             the -- builds it for speed, which takes longer
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
    let (profile, folder, args) = match args {
        [first, rest @ ..] if first == "--release" => (&["--release"][..], "release", rest),
        _ => (&[][..], ui::DEV, args),
    };
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let mut build = steps::cargo();
    // With the arguments of `cargo xtask test`, dependencies have the features that they have
    // there, and are compiled once for both commands.
    build.args(steps::LIBRARIES).args(["--bin", "tidings", "--bin", "tidings-sql-worker"]);
    build.args(profile);
    let mut progress = StepReport::new(2);
    progress.step("UI to WebAssembly, and the server's crates beside it", || {
        let packager = || steps::check(steps::cargo().args(ui::PACKAGER).args(profile));
        ui::build_beside(folder, packager, || steps::check(&mut build))
    })?;
    // Only the last crate is compiled again.
    progress.step("server with the UI", || steps::check(&mut build))?;
    let server = steps::target_dir().join(folder).join("tidings");
    let status =
        Command::new(server).arg("serve").args(args).current_dir(steps::root()).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
