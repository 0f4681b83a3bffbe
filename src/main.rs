//! `tidings`: settings, wiring and signals. The library crates have the logic.

mod allocator;
mod audit_log;
mod backup;
mod cli;
mod client;
mod client_identity;
mod demo;
mod file_limit;
mod health;
mod host_names;
mod import;
mod keys_command;
mod log;
mod maintenance;
mod own_telemetry;
mod serve;
mod settings;
mod show;
mod sql_command;
mod tail_command;
mod tenants;
mod terminal;
mod web;

use std::process::ExitCode;

/// The version and, where it is known, the commit of this build.
const VERSION: &str = env!("VERSION_WITH_COMMIT");

fn main() -> ExitCode {
    allocator::keep_free_memory(None);
    let matches = cli::command().get_matches();
    match cli::run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings: {}", terminal::error_with_causes(&error));
            ExitCode::from(cli::exit_code(&error))
        }
    }
}
