//! Sizes of the store as `/api/v1/status` shows them, and `/api/v1/limits`: the settings in force
//! that bound something.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
    routing::get,
};
use tidings_proto::{
    DurationNanos,
    api::{
        HorizonBound, LimitInForce, LimitList, ProblemDetails, RetentionHorizon, StorageStatus,
        TableStatus,
    },
};
use tidings_storage::{Retention, StoreUsage, TableUsage};
use utoipa::OpenApi;

use super::{problem::without_parameters, status::wrong_method};

/// Returns the sizes and bounds that the store measured. `disk` has the free bytes and the reserve,
/// for callers that may see them.
pub(super) fn storage_status(usage: StoreUsage, disk: Option<(u64, u64)>) -> StorageStatus {
    let horizon = horizon(&usage, disk);
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
        disk_free_bytes: disk.map(|(free, _)| free),
        disk_reserve_bytes: disk.map(|(_, reserve)| reserve),
        horizon,
    }
}

/// Computes how far back telemetry goes, and how far it will go at the rate of its last day.
fn horizon(usage: &StoreUsage, disk: Option<(u64, u64)>) -> RetentionHorizon {
    const DAY_NANOS: u64 = 24 * 60 * 60 * 1_000_000_000;
    let oldest = usage.tables.iter().filter_map(|table| table.oldest).min();
    let newest = usage.tables.iter().filter_map(|table| table.newest).max();
    let bytes: u64 = usage.tables.iter().map(|table| table.bytes).sum();
    // Telemetry of less than a day is extrapolated to a day.
    let length = oldest.zip(newest).map(|(oldest, newest)| newest.since(oldest).0.min(DAY_NANOS));
    let length = length.filter(|length| *length > 0);
    let rate = length.map(|length| {
        let day_bytes = usage.tables.iter().map(|table| u128::from(table.day_bytes)).sum::<u128>();
        let rate = day_bytes * u128::from(DAY_NANOS) / u128::from(length);
        u64::try_from(rate).unwrap_or(u64::MAX)
    });
    let filled = |room: u64| {
        let rate = rate.filter(|rate| *rate > 0)?;
        let nanos = u128::from(room) * u128::from(DAY_NANOS) / u128::from(rate);
        Some(DurationNanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    };
    let room_on_disk =
        disk.map(|(free, reserve)| bytes.saturating_add(free.saturating_sub(reserve)));
    let bounds = [
        (usage.retention.age.map(nanos), HorizonBound::Age),
        (usage.retention.bytes_max.and_then(filled), HorizonBound::Size),
        (room_on_disk.and_then(filled), HorizonBound::Disk),
    ];
    let bounds = bounds.into_iter().filter_map(|(age, bound)| Some((age?, bound)));
    let nearest = bounds.min_by_key(|(age, _)| *age);
    RetentionHorizon {
        age_nano: oldest.map(|oldest| usage.now.since(oldest)),
        bytes_per_day: rate,
        rate_length_nano: length.map(DurationNanos),
        reachable_age_nano: nearest.map(|(age, _)| age),
        bound: nearest.map(|(_, bound)| bound),
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

/// API description of the route.
#[derive(OpenApi)]
#[openapi(paths(limits_in_force), components(schemas(LimitList, ProblemDetails)))]
pub(super) struct LimitsApi;

pub(crate) fn limit_routes(limits: Vec<LimitInForce>) -> Router {
    let routes = Router::new()
        .route("/api/v1/limits", get(limits_in_force))
        .method_not_allowed_fallback(wrong_method);
    tidings_apis::with_api_headers(routes).with_state(Arc::new(LimitList { limits }))
}

/// The limits in force.
///
/// Settings that bound something, with unit, default and source of the value. They are the
/// process's, and the same for every tenant; settings with addresses, paths and names are not among
/// them.
#[utoipa::path(
    get,
    path = "/api/v1/limits",
    tag = "server",
    operation_id = "listLimits",
    responses(
        (status = 200, body = LimitList),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter")
    )
)]
async fn limits_in_force(State(list): State<Arc<LimitList>>, uri: Uri) -> Response {
    match without_parameters(&uri) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => Json((*list).clone()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_proto::{DurationNanos, UnixNanos, api::HorizonBound};
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
            day_bytes: 350,
        };
        let usage = |age| StoreUsage {
            now: UnixNanos(17),
            tables: [table("spans"), table("logs")],
            memory_bytes: 1,
            memory_bytes_max: 2,
            wal_bytes: 3,
            wal_bytes_max: 4,
            unflushed_age: None,
            removed_files: 0,
            retention: Retention { age, ..Retention::default() },
        };
        let storage_status = |usage| storage_status(usage, None);
        let kept = storage_status(usage(Some(Duration::from_secs(60))));
        assert_eq!(kept.retention_age_nano, Some(DurationNanos(60_000_000_000)));
        assert_eq!((kept.tables[1].name.as_str(), kept.tables[1].bytes), ("logs", 700));
        assert_eq!(storage_status(usage(None)).retention_age_nano, None);
    }

    /// Two days of telemetry, of which the second takes twice as much as the first.
    fn usage(retention: Retention) -> StoreUsage {
        const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
        let table = |name, bytes| TableUsage {
            name,
            rows: 5,
            files: 2,
            bytes,
            oldest: Some(UnixNanos(DAY)),
            newest: Some(UnixNanos(3 * DAY)),
            day_bytes: bytes / 3 * 2,
            backlog_files: 0,
            backlog_bytes: 0,
        };
        StoreUsage {
            now: UnixNanos(4 * DAY),
            tables: [table("spans", 300), table("logs", 0)],
            memory_bytes: 1,
            memory_bytes_max: 2,
            wal_bytes: 3,
            wal_bytes_max: 4,
            unflushed_age: None,
            removed_files: 0,
            retention,
        }
    }

    #[test]
    fn the_nearest_bound_says_how_far_telemetry_will_go() {
        const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
        let age = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
        let check = |age, bytes_max, disk, expected: Option<(u64, HorizonBound)>| {
            let retention = Retention { age, bytes_max, ..Retention::default() };
            let horizon = storage_status(usage(retention), disk).horizon;
            let reached = horizon.reachable_age_nano.map(|age| age.0 / DAY).zip(horizon.bound);
            assert_eq!(reached, expected);
            assert_eq!(horizon.age_nano, Some(DurationNanos(3 * DAY)));
            assert_eq!(horizon.bytes_per_day, Some(200));
            assert_eq!(horizon.rate_length_nano, Some(DurationNanos(DAY)), "of two days");
        };
        check(age(30), None, None, Some((30, HorizonBound::Age)));
        check(age(30), Some(4_000), None, Some((20, HorizonBound::Size)));
        check(age(30), Some(4_000), Some((900, 200)), Some((5, HorizonBound::Disk)));
        check(None, None, None, None);
    }
}
