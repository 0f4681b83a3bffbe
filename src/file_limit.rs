//! Limit of open files for the process, and the number of connections that it leaves to each
//! listener.
//!
//! A connection is an open file. If connections could use all of them, the store could write no
//! segment and read no data file, and health checks would fail. The settings own the number of
//! connections that an operator wants.

/// Files that are kept for the store and its reads, where the system's limit is high enough.
const RESERVE_MAX: u64 = 1024;

/// The HTTP address, the two OTLP receivers and Zipkin's.
const LISTENERS: u64 = 4;

/// Raises the limit of open files to the maximum that the system allows. Returns the number of
/// connections that a listener may have, at most `wanted`.
pub(crate) fn connections_max(wanted: u64) -> u64 {
    let open_files_max = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot learn how many files may be open");
            return wanted;
        }
    };
    let connections_max = wanted.min(share(open_files_max));
    if connections_max < wanted {
        tracing::warn!(
            open_files_max,
            connections_max,
            wanted,
            "each listener takes fewer connections than connections-max: the process may have too \
             few open files (`ulimit -Hn`, systemd's LimitNOFILE)"
        );
    }
    connections_max
}

/// Returns the number of connections of one listener under this limit of open files.
fn share(open_files_max: u64) -> u64 {
    let reserve = RESERVE_MAX.min(open_files_max / 2);
    ((open_files_max - reserve) / LISTENERS).max(1)
}

#[cfg(test)]
mod tests {
    use super::{LISTENERS, share};

    #[test]
    fn all_listeners_together_leave_half_of_the_files_or_a_thousand_to_the_store() {
        for (limit, connections) in
            [(200, 25), (1024, 128), (4096, 768), (9024, 2000), (1 << 20, 261_888)]
        {
            assert_eq!(share(limit), connections, "{limit}");
            assert!(share(limit) * LISTENERS <= limit - (limit / 2).min(1024), "{limit}");
        }
        assert_eq!([share(0), share(3)], [1, 1]);
        assert!(share(u64::MAX) > 1 << 60);
    }
}
