//! Sizes of the store as `/api/v1/status` gives them.

use std::time::Duration;

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{StorageStatus, TableStatus},
};
use tidings_storage::{Retention, StoreUsage, TableUsage};

/// The sizes, at this time.
pub(super) fn storage_status(usage: StoreUsage, now: UnixNanos) -> StorageStatus {
    let Retention { age, rules, bytes_max } = usage.retention;
    let age = age.map(nanos);
    StorageStatus {
        tables: usage.tables.into_iter().map(table).collect(),
        memory_bytes: usage.memory_bytes,
        memory_bytes_max: usage.memory_bytes_max,
        wal_bytes: usage.wal_bytes,
        wal_bytes_max: usage.wal_bytes_max,
        unflushed_age_nano: usage.unflushed_age.map(nanos),
        removed_files: usage.removed_files,
        retention_age_nano: age,
        retention_bytes_max: bytes_max,
        retention_rules: rules.len() as u64,
        retention_horizon_unix_nano: age.map(|age| UnixNanos(now.0.saturating_sub(age.0))),
    }
}

fn table(usage: TableUsage) -> TableStatus {
    TableStatus {
        name: usage.name.to_owned(),
        rows: usage.rows,
        files: usage.files,
        bytes: usage.bytes,
        oldest_unix_nano: usage.oldest,
        newest_unix_nano: usage.newest,
        backlog_files: usage.backlog_files,
        backlog_bytes: usage.backlog_bytes,
    }
}

fn nanos(duration: Duration) -> DurationNanos {
    DurationNanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_proto::UnixNanos;
    use tidings_storage::{Retention, StoreUsage, TableUsage};

    use super::storage_status;

    #[test]
    fn the_horizon_is_as_old_as_what_is_kept() {
        let table = |name| TableUsage {
            name,
            rows: 5,
            files: 1,
            bytes: 700,
            oldest: Some(UnixNanos(7)),
            newest: Some(UnixNanos(9)),
            backlog_files: 0,
            backlog_bytes: 0,
        };
        let usage = |age| StoreUsage {
            tables: [table("spans"), table("logs")],
            memory_bytes: 1,
            memory_bytes_max: 2,
            wal_bytes: 3,
            wal_bytes_max: 4,
            unflushed_age: None,
            removed_files: 0,
            retention: Retention { age, ..Retention::default() },
        };
        let now = UnixNanos(90_000_000_000);
        let kept = storage_status(usage(Some(Duration::from_secs(60))), now);
        assert_eq!(kept.retention_horizon_unix_nano, Some(UnixNanos(30_000_000_000)));
        assert_eq!(kept.tables[1].name, "logs");
        let forever = storage_status(usage(None), now);
        assert_eq!(forever.retention_horizon_unix_nano, None);
    }
}
