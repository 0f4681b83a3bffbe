//! Developer commands: `cargo xtask run`, `cargo xtask test`, `cargo xtask ui`, `cargo xtask fuzz`, `cargo xtask bench`.
//!
//! Owns how the project is built and checked. What a command installs or cannot run it says in one
//! line.

mod bench;
mod fuzz;
mod steps;
mod test;
mod ui;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask run [-- ARGS…]   build the UI and the server, start it on ./data
cargo xtask test             format, lints, every test, docs; ends with `N passed, N failed`
cargo xtask fuzz             generated queries in SQL; -- --seconds N, --seed N (600, at random)
cargo xtask ui               build the UI into ui/dist
cargo xtask bench storage    measure the release build; -- --spans N,N… says with how much
cargo xtask bench query      the same of how long questions take
cargo xtask bench peers      the same of other systems; -- --tempo PROGRAM says with which
cargo xtask bench layout     print bytes per span by column, flushed and compacted";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
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
        "ui" => ui::build().map(|()| ExitCode::SUCCESS),
        "run" => run(rest),
        "test" => test::run(),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        _ => bail!("there is no command `{command}`:\n{USAGE}"),
    }
}

/// Builds the UI and the server and becomes the server.
fn run(args: &[String]) -> Result<ExitCode> {
    ui::build()?;
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    let status = steps::cargo()
        .args(["run", "--release", "--package", "tidings", "--", "serve"])
        .args(args)
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
