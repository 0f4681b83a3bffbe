//! `cargo xtask fuzz`: generated queries in SQL, for longer than the tests run them.
//!
//! Owns the flags. The grammar and the checks are those of the test of generated queries
//! (`tests/sql_generated.rs`), which gets its time and its seed from the environment. The seed is
//! printed, so that a query that fails can be generated again.

use std::{
    hash::{BuildHasher, RandomState},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::steps::cargo;

/// The test that runs the queries.
const TEST: &str = "generated_queries_have_documented_answers";

/// Duration and seed of a run.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u64,
    seed: u64,
}

impl Options {
    fn read(args: &[String], seed: u64) -> Result<Self> {
        let mut options = Self { seconds: 600, seed };
        let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
        for pair in args.chunks(2) {
            let [name, value] = pair else { bail!("{} has no value", pair[0]) };
            let number = value.parse().with_context(|| format!("{name} {value}"))?;
            match name.as_str() {
                "--seconds" => options.seconds = number,
                "--seed" => options.seed = number,
                other => bail!("there is no flag {other}: --seconds and --seed are"),
            }
        }
        Ok(options)
    }
}

/// Runs the queries; fails when an answer is not one that a query may have.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let Options { seconds, seed } = Options::read(args, RandomState::new().hash_one(0) >> 32)?;
    let status = cargo()
        .args(["test", "--workspace", "--test", "tests", TEST, "--", "--nocapture"])
        .env("FUZZ_SECONDS", seconds.to_string())
        .env("FUZZ_SEED", seed.to_string())
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn flags_are_numbers_by_name() {
        let read = |args: &str| {
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            Options::read(&args, 7)
        };
        assert_eq!(read("").unwrap(), Options { seconds: 600, seed: 7 });
        let given = read("-- --seconds 3600 --seed 5").unwrap();
        assert_eq!(given, Options { seconds: 3_600, seed: 5 });
        for wrong in ["--seconds", "--seconds x", "--hours 1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
