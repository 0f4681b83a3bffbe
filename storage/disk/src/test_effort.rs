//! Effort of the tests: the number of seeds, random cases, places of a fault, kills and pages that
//! they try.
//!
//! `cargo test` tries a few of each, so that a change is tested within a minute. `cargo xtask
//! test`, which CI calls, sets `TEST_EFFORT=full` unless CI is slow. `TEST_EFFORT=exhaustive` also
//! tries every fault at every place. The name does not begin with `TIDINGS_`, because servers read
//! such variables as settings.
//!
//! Owns the numbers' choice only. Each test says both of its numbers.

#![expect(clippy::panic, reason = "only tests use this module")]

use std::{env, ffi::OsStr};

use proptest::prelude::ProptestConfig;

/// Part of the random cases of properties that a quick run tries: one in this many, and not fewer
/// than the minimum.
const QUICK_PART: u32 = 8;
const QUICK_CASES_MIN: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TestEffort {
    Quick,
    Full,
    Exhaustive,
}

impl TestEffort {
    fn parse(text: Option<&OsStr>) -> Self {
        match text.map(|text| text.to_string_lossy()).as_deref() {
            None | Some("quick") => Self::Quick,
            Some("full") => Self::Full,
            Some("exhaustive") => Self::Exhaustive,
            Some(other) => panic!("TEST_EFFORT is quick, full or exhaustive, and not {other}"),
        }
    }

    fn current() -> Self {
        Self::parse(env::var_os("TEST_EFFORT").as_deref())
    }
}

/// Returns the first number in a quick run, and otherwise the second.
pub fn by_effort<T>(quick: T, full: T) -> T {
    if TestEffort::current() == TestEffort::Quick { quick } else { full }
}

/// Returns true if every fault is to be tried at every place.
pub fn is_exhaustive() -> bool {
    TestEffort::current() == TestEffort::Exhaustive
}

/// Configures a property that has this many random cases in a full run.
pub fn random_cases(full: u32) -> ProptestConfig {
    let quick = full.div_ceil(QUICK_PART).max(QUICK_CASES_MIN).min(full);
    ProptestConfig::with_cases(by_effort(quick, full))
}

#[test]
fn efforts_have_names_and_other_names_are_refused() {
    let parse = |text: &str| TestEffort::parse(Some(OsStr::new(text)));
    assert_eq!(TestEffort::parse(None), TestEffort::Quick);
    assert_eq!(parse("quick"), TestEffort::Quick);
    assert_eq!(parse("full"), TestEffort::Full);
    assert_eq!(parse("exhaustive"), TestEffort::Exhaustive);
    assert!(std::panic::catch_unwind(|| TestEffort::parse(Some(OsStr::new("ful")))).is_err());
}
