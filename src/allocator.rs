//! Where memory comes from, and how long it stays after it is free.
//!
//! Owns the process's allocator and its one option that is ours to choose. The only file of the
//! workspace with `unsafe` (`docs/decisions/0023-allocate-with-mimalloc.md` has the measurement that
//! asks for it); the architecture test sees to that. Does not own how much memory anything may
//! take: that is in the settings.

#![expect(unsafe_code, reason = "the allocator's options have no safe door")]

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set_default;
use mimalloc::MiMalloc;

/// Gives the memory of a burst back, which the system's allocator keeps: see
/// `docs/decisions/0023-allocate-with-mimalloc.md`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// So long free memory is kept before the system gets it back (10 by itself).
const PURGE_DELAY_MS: c_long = 100;
/// `mi_option_purge_delay` of `mimalloc.h`, which the crate does not name.
const PURGE_DELAY: c_int = 15;

/// Keeps memory that is free for a while, because what is given back is cleared by the system when
/// it is asked for again. `MIMALLOC_PURGE_DELAY` of the environment wins.
pub(crate) fn keep_free_memory() {
    // SAFETY: the function takes two numbers, checks the first against the options that there are
    // and writes the second to a plain static. Nothing else writes it, and threads that would read
    // it meanwhile have not been started.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use libmimalloc_sys::mi_option_get;

    use super::{PURGE_DELAY, PURGE_DELAY_MS, c_long, keep_free_memory};

    /// Tells the program of the tests that it was started to be looked at.
    const EXPECTED: &str = "EXPECTED_PURGE_DELAY";

    /// The environment is read when a process starts, so each case has one of its own.
    #[test]
    fn free_memory_is_kept_for_as_long_as_the_operator_says_or_else_we() {
        if let Some(expected) = std::env::var_os(EXPECTED) {
            keep_free_memory();
            // SAFETY: the function takes a number, checks it and reads a plain static.
            let delay: c_long = unsafe { mi_option_get(PURGE_DELAY) };
            assert_eq!(delay.to_string(), expected.to_str().unwrap());
            return;
        }
        for (operators, expected) in [(None, PURGE_DELAY_MS), (Some("4321"), 4321)] {
            let mut case = Command::new(std::env::current_exe().unwrap());
            case.arg("free_memory_is_kept_for_as_long_as").env_remove("MIMALLOC_PURGE_DELAY");
            case.envs(operators.map(|delay| ("MIMALLOC_PURGE_DELAY", delay)));
            let output = case.env(EXPECTED, expected.to_string()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
        }
    }
}
