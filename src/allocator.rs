//! The process's allocator, and how long it keeps free memory.
//!
//! Owns the allocator and the one option of it that is ours to choose. This is the only file of the
//! workspace with `unsafe`; the architecture test checks that.
//! `docs/decisions/0023-allocate-with-mimalloc.md` has the measurement that asks for it. Does not
//! own bounds on memory: those are in the settings.

#![expect(unsafe_code, reason = "the allocator's options have no safe door")]

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set_default;
use mimalloc::MiMalloc;

/// Returns the memory of a burst to the system, which the system's own allocator keeps: see
/// `docs/decisions/0023-allocate-with-mimalloc.md`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Time for which free memory is kept before the system gets it back (the allocator's default is
/// 10).
const PURGE_DELAY_MS: c_long = 100;
/// The same with a small budget of memory: at full load, 100 ms of free memory are some 350 MiB.
const SMALL_PURGE_DELAY_MS: c_long = 0;
/// A budget below this is small, in bytes.
const SMALL_BUDGET: u64 = 1 << 30;
/// `mi_option_purge_delay` of `mimalloc.h`, which the crate does not name.
const PURGE_DELAY: c_int = 15;

/// Keeps free memory for a while, because memory that the system gets back is cleared before it is
/// handed out again. With a small budget nothing is kept. `MIMALLOC_PURGE_DELAY` of the environment
/// wins. Called before other threads are started.
pub(crate) fn keep_free_memory(budget: Option<u64>) {
    let is_small = budget.is_some_and(|budget| budget < SMALL_BUDGET);
    let delay = if is_small { SMALL_PURGE_DELAY_MS } else { PURGE_DELAY_MS };
    // SAFETY: the function takes two numbers, checks the first against the options that there are
    // and writes the second to a plain static. Nothing else writes it, and threads that would read
    // it meanwhile have not been started.
    unsafe { mi_option_set_default(PURGE_DELAY, delay) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use libmimalloc_sys::mi_option_get;

    use super::{
        PURGE_DELAY, PURGE_DELAY_MS, SMALL_BUDGET, SMALL_PURGE_DELAY_MS, c_long, keep_free_memory,
    };

    /// Marks a start of the test program by the test below.
    const EXPECTED: &str = "EXPECTED_PURGE_DELAY";
    /// The budget of that start.
    const BUDGET: &str = "EXPECTED_BUDGET";

    /// The environment is read when a process starts, so each case has a process of its own.
    #[test]
    fn free_memory_is_kept_for_the_time_of_the_operator_or_the_default() {
        if let Some(expected) = std::env::var_os(EXPECTED) {
            // The order of a server: first without a budget, as commands do, and then with one.
            keep_free_memory(None);
            let budget = std::env::var_os(BUDGET).unwrap();
            keep_free_memory(budget.to_str().unwrap().parse().ok());
            // SAFETY: the function takes a number, checks it and reads a plain static.
            let delay: c_long = unsafe { mi_option_get(PURGE_DELAY) };
            assert_eq!(delay.to_string(), expected.to_str().unwrap());
            return;
        }
        let (small, large) = (SMALL_BUDGET - 1, SMALL_BUDGET);
        for (operators, budget, expected) in [
            (None, large, PURGE_DELAY_MS),
            (None, small, SMALL_PURGE_DELAY_MS),
            (Some("4321"), large, 4321),
            (Some("4321"), small, 4321),
        ] {
            let mut case = Command::new(std::env::current_exe().unwrap());
            case.arg("free_memory_is_kept_for_the_time_of").env_remove("MIMALLOC_PURGE_DELAY");
            case.envs(operators.map(|delay| ("MIMALLOC_PURGE_DELAY", delay)));
            case.env(BUDGET, budget.to_string());
            let output = case.env(EXPECTED, expected.to_string()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
    }
}
