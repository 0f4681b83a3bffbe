//! The table of metrics.

use tidings_proto::api::TaskCondition;
use tidings_storage::{CacheReads, StoreMeasurements};

use super::{Measured, MetricDescription, MetricKind, Sample, SampleValue};

type Samples = Vec<Sample>;

fn audit_events(measured: &Measured) -> Samples {
    let counts = measured.audit.counts();
    let results = [("written", counts.written), ("failed", counts.failed)];
    results.map(|(result, count)| Sample::count([result], count)).into()
}

fn gauge(value: u64) -> Samples {
    vec![Sample::count([], value)]
}

fn reads(reads: CacheReads) -> Samples {
    let counts = [("memory", reads.hits), ("file", reads.misses)];
    counts.map(|(source, count)| Sample::count([source], count)).into()
}

/// One count of the store's work.
macro_rules! of_store {
    ($field:ident) => {
        |measured| vec![Sample::count([], measured.store.measurements().$field)]
    };
}

/// One size of what the store holds.
macro_rules! held {
    ($field:ident) => {
        |measured| gauge(measured.store.counts().$field)
    };
}

/// The metrics of a store. Every tenant sees those of its own store.
pub(super) const OF_STORES: [&str; 26] = [
    "tidings_ready",
    "tidings_task_running",
    "tidings_task_restarts",
    "tidings_log_bytes",
    "tidings_log_limit_bytes",
    "tidings_log_lag_seconds",
    "tidings_log_records",
    "tidings_log_written_bytes",
    "tidings_log_sync_seconds",
    "tidings_log_torn_bytes",
    "tidings_memtable_bytes",
    "tidings_memtable_limit_bytes",
    "tidings_stored_records",
    "tidings_data_files",
    "tidings_removed_files",
    "tidings_index_memory_bytes",
    "tidings_index_reads",
    "tidings_flush_seconds",
    "tidings_flush_failures",
    "tidings_table_commits",
    "tidings_compaction_backlog_files",
    "tidings_maintenance_files",
    "tidings_verified_files",
    "tidings_damaged_files",
    "tidings_quarantined_files",
    "tidings_alarms",
];

/// Every metric, in the order in which they are written.
pub(super) const METRICS: &[MetricDescription] = &[
    MetricDescription {
        name: "tidings_start_time_seconds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Start time of the process, in seconds since 1970",
        read: |measured| vec![Sample::new([], SampleValue::Number(measured.started_seconds))],
    },
    MetricDescription {
        name: "tidings_ready",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "1 while the store accepts spans and log records, 0 while it tells senders to try again",
        read: |measured| {
            let is_ready = measured.health.failure().is_none() && measured.store.ready().is_ok();
            gauge(u64::from(is_ready))
        },
    },
    MetricDescription {
        name: "tidings_resident_memory_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Memory of the process that is in use, in bytes",
        read: |_| resident_bytes().map(gauge).unwrap_or_default(),
    },
    MetricDescription {
        name: "tidings_memory_budget_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Memory budget that buffers, indexes and queries share (`memory`), in bytes",
        read: |measured| measured.memory_budget.map(gauge).unwrap_or_default(),
    },
    MetricDescription {
        name: "tidings_disk_free_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Free space of the disk with the write-ahead log, in bytes",
        read: |measured| {
            measured.store.disk_space().map(|(free, _)| gauge(free)).unwrap_or_default()
        },
    },
    MetricDescription {
        name: "tidings_disk_reserve_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Free space of the disk below which senders are told to try again (`disk-reserve-bytes`), in bytes",
        read: |measured| {
            let space = measured.store.disk_space();
            space.map(|(_, reserve)| gauge(reserve)).unwrap_or_default()
        },
    },
    MetricDescription {
        name: "tidings_task_running",
        kind: MetricKind::Gauge,
        labels: &["task"],
        help: "1 while a long-lived task runs, 0 when it has failed or is about to run again",
        read: |measured| {
            let running = |state| u64::from(state == TaskCondition::Running);
            tasks(measured, |task| running(task.state))
        },
    },
    MetricDescription {
        name: "tidings_task_restarts",
        kind: MetricKind::Counter,
        labels: &["task"],
        help: "Restarts of a long-lived task after a panic",
        read: |measured| tasks(measured, |task| task.restarts),
    },
    MetricDescription {
        name: "tidings_receiver_requests",
        kind: MetricKind::Counter,
        labels: &["receiver", "outcome"],
        help: "Requests to store spans or log records, `accepted` or `refused`",
        read: receiver_requests,
    },
    MetricDescription {
        name: "tidings_receiver_refusals",
        kind: MetricKind::Counter,
        labels: &["receiver", "reason"],
        help: "Requests that a receiver refused, by reason",
        read: receiver_refusals,
    },
    MetricDescription {
        name: "tidings_receiver_bytes",
        kind: MetricKind::Counter,
        labels: &["receiver"],
        help: "Bytes of request bodies before decompression, refused requests included",
        read: |measured| {
            let receivers = measured.collector.body_bytes().into_iter();
            receivers.map(|(receiver, bytes)| Sample::count([receiver], bytes)).collect()
        },
    },
    MetricDescription {
        name: "tidings_received_records",
        kind: MetricKind::Counter,
        labels: &["signal", "outcome"],
        help: "Received spans and log records, `accepted` or `rejected` by partial success",
        read: received_records,
    },
    MetricDescription {
        name: "tidings_redacted_values",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Received values in which a secret was replaced (`redact`)",
        read: |measured| vec![Sample::count([], measured.collector.redacted_values())],
    },
    MetricDescription {
        name: "tidings_audit_events",
        kind: MetricKind::Counter,
        labels: &["result"],
        help: "Lines of the audit log, `written` or `failed`",
        read: audit_events,
    },
    MetricDescription {
        name: "tidings_metrics_pushes",
        kind: MetricKind::Counter,
        labels: &["outcome"],
        help: "Requests that push metrics to `metrics-endpoint`, `sent` or `failed`",
        read: |measured| {
            let counts = measured.pushes.counts();
            counts.map(|(outcome, count)| Sample::count([outcome], count)).into()
        },
    },
    MetricDescription {
        name: "tidings_own_records",
        kind: MetricKind::Counter,
        labels: &["outcome"],
        help: "The server's own spans and log lines, `stored` or `dropped` (`own-telemetry`)",
        read: |measured| {
            let counts = measured.own.iter().flat_map(|own| own.counts());
            counts.map(|(outcome, count)| Sample::count([outcome], count)).collect()
        },
    },
    MetricDescription {
        name: "tidings_in_flight_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Memory of requests that are being received, in bytes",
        read: |measured| gauge(measured.collector.in_flight_bytes().0),
    },
    MetricDescription {
        name: "tidings_in_flight_limit_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Maximum memory of requests that are being received (`in-flight-bytes-max`), in bytes",
        read: |measured| gauge(measured.collector.in_flight_bytes().1),
    },
    MetricDescription {
        name: "tidings_connections",
        kind: MetricKind::Gauge,
        labels: &["listener"],
        help: "Open connections of a listener",
        read: |measured| connections(measured, |counts| counts.open),
    },
    MetricDescription {
        name: "tidings_connections_accepted",
        kind: MetricKind::Counter,
        labels: &["listener"],
        help: "Connections that a listener accepted",
        read: |measured| connections(measured, |counts| counts.accepted),
    },
    MetricDescription {
        name: "tidings_connections_ended",
        kind: MetricKind::Counter,
        labels: &["listener", "reason"],
        help: "Connections and requests that the server ended or refused before an answer, by reason",
        read: ended_connections,
    },
    MetricDescription {
        name: "tidings_log_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Size of the write-ahead log, in bytes",
        read: held!(wal_bytes),
    },
    MetricDescription {
        name: "tidings_log_limit_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Maximum size of the write-ahead log (`wal-bytes-max`), in bytes",
        read: |measured| gauge(measured.store.usage().wal_bytes_max),
    },
    MetricDescription {
        name: "tidings_log_lag_seconds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Age of the oldest row that is not flushed to data files, in seconds",
        read: |measured| {
            let age = measured.store.measurements().unflushed_age;
            vec![Sample::new([], SampleValue::Number(age.as_secs_f64()))]
        },
    },
    MetricDescription {
        name: "tidings_log_records",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Records written to the write-ahead log, one for each request that is not empty",
        read: of_store!(log_records),
    },
    MetricDescription {
        name: "tidings_log_written_bytes",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Bytes of records written to the write-ahead log",
        read: of_store!(log_bytes),
    },
    MetricDescription {
        name: "tidings_log_sync_seconds",
        kind: MetricKind::Histogram,
        labels: &[],
        help: "Time of syncs (fsync) of the write-ahead log that requests wait for, in seconds",
        read: |measured| times(measured, |done| done.log_syncs),
    },
    MetricDescription {
        name: "tidings_log_torn_bytes",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Bytes of a torn tail that the server cut off the write-ahead log when it started",
        read: of_store!(torn_bytes),
    },
    MetricDescription {
        name: "tidings_memtable_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Size of the memtable, in bytes",
        read: held!(memory_bytes),
    },
    MetricDescription {
        name: "tidings_memtable_limit_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Size of the memtable at which senders are told to try again (`memory-bytes-max`), in bytes",
        read: |measured| gauge(measured.store.usage().memory_bytes_max),
    },
    MetricDescription {
        name: "tidings_stored_records",
        kind: MetricKind::Gauge,
        labels: &["signal"],
        help: "Stored spans and log records, in the memtable and in data files",
        read: |measured| {
            let counts = measured.store.counts();
            vec![
                Sample::count(["spans"], counts.spans),
                Sample::count(["logs"], counts.log_records),
            ]
        },
    },
    MetricDescription {
        name: "tidings_data_files",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Data files of the tables",
        read: held!(data_files),
    },
    MetricDescription {
        name: "tidings_removed_files",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Files that no table refers to any more and that are not yet deleted",
        read: of_store!(removed_files),
    },
    MetricDescription {
        name: "tidings_index_memory_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Memory of cached indexes of data files, in bytes",
        read: of_store!(index_bytes),
    },
    MetricDescription {
        name: "tidings_index_reads",
        kind: MetricKind::Counter,
        labels: &["source"],
        help: "Lookups of index headers, found in `memory` or read from the `file`",
        read: |measured| reads(measured.store.measurements().index_reads),
    },
    MetricDescription {
        name: "tidings_metadata_memory_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Memory of cached metadata of data files, decoded, in bytes",
        read: |_| gauge(tidings_storage::metadata_bytes()),
    },
    MetricDescription {
        name: "tidings_metadata_reads",
        kind: MetricKind::Counter,
        labels: &["source"],
        help: "Lookups of metadata of data files, found in `memory` or read from the `file`",
        read: |_| reads(tidings_storage::metadata_reads()),
    },
    MetricDescription {
        name: "tidings_flush_seconds",
        kind: MetricKind::Histogram,
        labels: &[],
        help: "Time of successful flushes, in seconds",
        read: |measured| times(measured, |done| done.flushes),
    },
    MetricDescription {
        name: "tidings_flush_failures",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Flushes that failed; each is tried again",
        read: of_store!(flush_failures),
    },
    MetricDescription {
        name: "tidings_table_commits",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Commits to the tables by flushes and maintenance",
        read: of_store!(commits),
    },
    MetricDescription {
        name: "tidings_compaction_backlog_files",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Data files that should be merged, as of the last round of maintenance",
        read: of_store!(backlog_files),
    },
    MetricDescription {
        name: "tidings_maintenance_files",
        kind: MetricKind::Counter,
        labels: &["outcome"],
        help: "Files that maintenance `merged` into others, `retired` for their age or by erasing, `written`, or `discarded` from the quarantine at their age",
        read: maintenance_files,
    },
    MetricDescription {
        name: "tidings_verified_files",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Data files that scrubbing verified",
        read: of_store!(verified_files),
    },
    MetricDescription {
        name: "tidings_damaged_files",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Damaged files: set aside at the start, or found since and still there",
        read: of_store!(damaged_files),
    },
    MetricDescription {
        name: "tidings_quarantined_files",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Files in the quarantine, as of the last round of maintenance",
        read: of_store!(quarantined_files),
    },
    MetricDescription {
        name: "tidings_alarms",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Active alarms that need an operator; `/ready` describes each",
        read: |measured| {
            let store = &measured.store;
            let of_store = store.alarms().len() + usize::from(store.flush_failure().is_some());
            let is_default = measured.tenant.is_default();
            let of_process = if is_default { measured.health.alarms().len() } else { 0 };
            gauge((of_store + of_process) as u64)
        },
    },
    MetricDescription {
        name: "tidings_query_seconds",
        kind: MetricKind::Histogram,
        labels: &["api"],
        help: "Time from the arrival of a query to the beginning of its answer, in seconds",
        read: |measured| {
            let times = measured.queries.times().into_iter();
            times.map(|(api, times)| Sample::new([api], SampleValue::Times(times))).collect()
        },
    },
    MetricDescription {
        name: "tidings_queries",
        kind: MetricKind::Counter,
        labels: &["api", "outcome"],
        help: "Queries by outcome: `answered`, `refused` (4xx), `failed` (5xx), `abandoned`",
        read: |measured| {
            let outcomes = measured.queries.outcomes().into_iter();
            outcomes.map(|(api, outcome, count)| Sample::count([api, outcome], count)).collect()
        },
    },
    MetricDescription {
        name: "tidings_queries_running",
        kind: MetricKind::Gauge,
        labels: &["api"],
        help: "Queries whose answer has not begun",
        read: |measured| {
            let running = measured.queries.running().into_iter();
            running.map(|(api, count)| Sample::count([api], count)).collect()
        },
    },
    MetricDescription {
        name: "tidings_sql_running",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Queries in SQL that are running, at most `sql-running-max`",
        read: |measured| gauge(measured.sql.as_ref().map_or(0, |sql| sql.running() as u64)),
    },
    MetricDescription {
        name: "tidings_sql_queries",
        kind: MetricKind::Counter,
        labels: &["outcome"],
        help: "Queries in SQL, by outcome",
        read: |measured| {
            let outcomes = measured.sql.iter().flat_map(|sql| sql.outcomes());
            outcomes.map(|(outcome, count)| Sample::count([outcome], count)).collect()
        },
    },
];

/// Returns the memory of the process that is in use; `None` where the system does not tell.
pub(in crate::web) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn tasks(measured: &Measured, value: impl Fn(&tidings_proto::api::TaskStatus) -> u64) -> Samples {
    let tasks = measured.health.tasks();
    tasks.iter().map(|task| Sample::count([&task.name], value(task))).collect()
}

fn receiver_requests(measured: &Measured) -> Samples {
    let receivers = measured.collector.receivers().into_iter();
    let counts = receivers.flat_map(|receiver| {
        let outcomes =
            [("accepted", receiver.accepted_requests), ("refused", receiver.refused_requests)];
        outcomes.map(|(outcome, count)| Sample::count([&receiver.name, outcome], count))
    });
    counts.collect()
}

fn receiver_refusals(measured: &Measured) -> Samples {
    let refusals = measured.collector.refusals().into_iter();
    refusals
        .map(|refusal| Sample::count([refusal.receiver, refusal.reason], refusal.count))
        .collect()
}

fn received_records(measured: &Measured) -> Samples {
    let (spans, logs) = measured.collector.counts();
    let signals = [("spans", spans), ("logs", logs)].into_iter();
    let counts = signals.flat_map(|(signal, counts)| {
        [("accepted", counts.received), ("rejected", counts.rejected)]
            .map(|(outcome, count)| Sample::count([signal, outcome], count))
    });
    counts.collect()
}

/// Returns the counts of every listener.
fn listeners(measured: &Measured) -> Vec<(&'static str, tidings_collector::ConnectionCounts)> {
    let mut listeners = measured.collector.connections();
    listeners.push(("http", measured.web.counts()));
    listeners
}

fn connections(
    measured: &Measured,
    value: impl Fn(&tidings_collector::ConnectionCounts) -> u64,
) -> Samples {
    let listeners = listeners(measured).into_iter();
    listeners.map(|(listener, counts)| Sample::count([listener], value(&counts))).collect()
}

fn ended_connections(measured: &Measured) -> Samples {
    let listeners = listeners(measured).into_iter();
    let ended = listeners.flat_map(|(listener, counts)| {
        let ended = counts.ended.into_iter();
        ended.map(move |(reason, count)| Sample::count([listener, reason], count))
    });
    ended.collect()
}

fn times(
    measured: &Measured,
    of: impl FnOnce(StoreMeasurements) -> tidings_storage::TimeCounts,
) -> Samples {
    vec![Sample::new([], SampleValue::Times(of(measured.store.measurements())))]
}

fn maintenance_files(measured: &Measured) -> Samples {
    let done = measured.store.measurements();
    let outcomes = [
        ("merged", done.merged_files),
        ("retired", done.retired_files),
        ("discarded", done.discarded_files),
        ("written", done.written_files),
    ];
    outcomes.map(|(outcome, count)| Sample::count([outcome], count)).into()
}
