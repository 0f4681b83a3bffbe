//! Error texts for queries whose process ended early.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use crate::{SqlError, error::UNABLE, message::PANICKED};

/// The signal of a process that has used its processor time.
const SIGXCPU: i32 = 24;
/// The signal of a process that aborts itself: it has no memory or no stack left.
const SIGABRT: i32 = 6;
/// The signal that cannot be caught: from the kernel when memory is short, or from an operator.
const SIGKILL: i32 = 9;

/// Returns the error for a query whose process ended with this status and this output.
pub(super) fn error(status: Option<ExitStatus>, output: &str) -> SqlError {
    let signal = status.and_then(|status| status.signal());
    let code = status.and_then(|status| status.code());
    let reason = match (signal, code) {
        (Some(SIGXCPU), _) => "more processor time than it may have",
        _ if output.contains("memory allocation") || output.contains("capacity overflow") => {
            "more memory than it may have"
        }
        _ if output.contains("overflowed its stack") => "a deeper stack than it may have",
        (Some(SIGABRT), _) => "more memory than it may have",
        (Some(SIGKILL), _) => "more than was left, or was ended from outside",
        (_, Some(PANICKED)) => UNABLE,
        _ => "something that ended its process",
    };
    tracing::warn!(?status, output, reason, "a query's process has ended before the query");
    SqlError::Ended { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_resource_that_the_query_exceeded() {
        let by = |signal| Some(ExitStatus::from_raw(signal));
        let with = |code: i32| Some(ExitStatus::from_raw(code << 8));
        for (status, output, expected) in [
            (by(SIGXCPU), "", "processor time"),
            (by(SIGABRT), "memory allocation of 80 bytes failed", "more memory"),
            (by(SIGABRT), "", "more memory"),
            (by(SIGABRT), "thread 'query' has overflowed its stack", "a deeper stack"),
            (with(PANICKED), "capacity overflow", "more memory"),
            (with(PANICKED), "index out of bounds", "its engine cannot do"),
            (by(SIGKILL), "", "ended from outside"),
            (None, "", "ended its process"),
        ] {
            let error = error(status, output).to_string();
            assert!(error.contains(expected), "{status:?} {output}: {error}");
        }
    }
}
