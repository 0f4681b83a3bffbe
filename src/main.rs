//! `tidings`: settings, wiring and signals. What the program does lives in the library crates.

mod ask;
mod check;
mod cli;
mod client;
mod demo;
mod import;
mod log;
mod reads;
mod serve;
mod settings;
mod show;
mod upkeep;
mod web;

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Gives the memory of a burst back, which the system's allocator keeps: see
/// `docs/decisions/0023-allocator.md`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    match cli::run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings: {}", cli::said_once(&error));
            ExitCode::from(cli::exit_code(&error))
        }
    }
}
