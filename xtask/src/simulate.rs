//! `cargo xtask simulate`: the store under seeds of faults, kills and power cuts, with more seeds
//! than the tests try.
//!
//! Owns the flags. Storage's test (`storage/src/store/simulation.rs`) owns what a seed does and the
//! checks after it; it gets the seeds from the environment. A failure names its seed. `--seed`
//! tries that one alone and prints all that it did.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::steps::cargo;

/// The test that runs the seeds.
const TEST: &str = "acknowledged_rows_are_stored_exactly_once_after_any_fault";

/// Seeds to try.
#[derive(Debug, PartialEq, Eq)]
enum Seeds {
    /// This many, from zero on.
    Count(u64),
    One(u64),
}

impl Seeds {
    fn read(args: &[String]) -> Result<Self> {
        let mut seeds = Self::Count(10_000);
        let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
        for pair in args.chunks(2) {
            let [name, value] = pair else { bail!("{} has no value", pair[0]) };
            let number = value.parse().with_context(|| format!("{name} {value}"))?;
            seeds = match name.as_str() {
                "--seeds" => Self::Count(number),
                "--seed" => Self::One(number),
                other => bail!("there is no flag {other}: --seeds and --seed are"),
            };
        }
        Ok(seeds)
    }

    fn variable(&self) -> (&'static str, u64) {
        match *self {
            Self::Count(seeds) => ("TIDINGS_SIMULATION_SEEDS", seeds),
            Self::One(seed) => ("TIDINGS_SIMULATION_SEED", seed),
        }
    }
}

/// Tries the seeds; fails at the first one that fails.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let (name, number) = Seeds::read(args)?.variable();
    let status = cargo()
        .args(["test", "--workspace", "--lib", TEST, "--", "--nocapture"])
        .env(name, number.to_string())
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::Seeds;

    #[test]
    fn seeds_are_many_or_one() {
        let read = |args: &str| {
            let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
            Seeds::read(&args)
        };
        assert_eq!(read("").unwrap(), Seeds::Count(10_000));
        assert_eq!(read("-- --seeds 20").unwrap(), Seeds::Count(20));
        assert_eq!(read("--seed 7").unwrap().variable(), ("TIDINGS_SIMULATION_SEED", 7));
        for wrong in ["--seeds", "--seeds x", "--hours 1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
