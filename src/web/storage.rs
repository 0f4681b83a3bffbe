//! Sizes of the store as `/api/v1/status` gives them.

use std::time::Duration;

use tidings_proto::{
    DurationNanos,
    api::{StorageStatus, TableStatus},
};
use tidings_storage::{Retention, StoreUsage, TableUsage};

/// Returns the sizes and bounds that the store measured.
pub(super) fn storage_status(usage: StoreUsage) -> StorageStatus {
    let Retention { age, rules, bytes_max } = usage.retention;
    StorageStatus {
        tables: usage.tables.into_iter().map(table).collect(),
        memory_bytes: usage.memory_bytes,
        memory_bytes_max: usage.memory_bytes_max,
        wal_bytes: usage.wal_bytes,
        wal_bytes_max: usage.wal_bytes_max,
        unflushed_age_nano: usage.unflushed_age.map(nanos),
        removed_files: usage.removed_files,
        retention_age_nano: age.map(nanos),
        retention_bytes_max: bytes_max,
        retention_rules: rules.len() as u64,
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

    use tidings_proto::{DurationNanos, UnixNanos};
    use tidings_storage::{Retention, StoreUsage, TableUsage};

    use super::storage_status;

    #[test]
    fn tables_and_retention_are_as_the_store_has_them() {
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
        let kept = storage_status(usage(Some(Duration::from_secs(60))));
        assert_eq!(kept.retention_age_nano, Some(DurationNanos(60_000_000_000)));
        assert_eq!((kept.tables[1].name.as_str(), kept.tables[1].bytes), ("logs", 700));
        assert_eq!(storage_status(usage(None)).retention_age_nano, None);
    }
}
