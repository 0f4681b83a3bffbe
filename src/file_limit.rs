//! Limit of open files for the process, and the number of connections that it leaves to each
//! listener.
//!
//! A connection is an open file. If connections could use all of them, the store could write no
//! segment and read no data file, and health checks would fail. The settings own the number of
//! connections that an operator wants.

use tidings_collector::RECEIVERS;

/// Files that are kept for the store and its reads, where the system's limit is high enough.
const RESERVE_MAX: u64 = 1024;

/// The HTTP address and the receivers.
const LISTENERS: u64 = 1 + RECEIVERS.len() as u64;

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
    use super::{LISTENERS, RECEIVERS, RESERVE_MAX, share};

    #[test]
    fn all_listeners_together_leave_half_of_the_files_or_a_thousand_to_the_store() {
        for (limit, connections) in
            [(200, 100), (1024, 512), (4096, 3072), (9024, 8000), (1 << 20, 1_047_552)]
        {
            assert_eq!(share(limit), connections / LISTENERS, "{limit}");
            assert!(share(limit) * LISTENERS <= limit - (limit / 2).min(1024), "{limit}");
        }
        assert_eq!([share(0), share(3)], [1, 1]);
        assert!(share(u64::MAX) > 1 << 60);
    }

    #[test]
    fn the_http_address_and_every_receiver_have_a_share_beside_the_reserve() {
        let listeners = RECEIVERS.iter().map(|receiver| receiver.setting).chain(["http"]);
        let connections: u64 = listeners.map(|_| share(4096)).sum();
        let left = 4096 - connections;
        assert!((RESERVE_MAX..RESERVE_MAX + LISTENERS).contains(&left), "{left}");
    }
}
