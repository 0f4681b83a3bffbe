//! The store and the tasks of the server: sizes of tables, memory, log and retention.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        HorizonBound, RetentionHorizon, ServerStatus, StorageStatus, TableStatus, TaskCondition,
        TaskStatus,
    },
};

use crate::{
    browser,
    components::{
        Badge,
        PlainHead::{Number, Words},
        PlainTable, Tone, facts_table,
    },
    format,
};

/// Files of each table, and those that wait for compaction.
pub(super) fn table_sizes(tables: &[TableStatus]) -> impl IntoView + use<> {
    let row = |table: &TableStatus| {
        let since = table.oldest_unix_nano.map_or("–".to_owned(), moment);
        let backlog = match table.backlog_files {
            0 => "–".to_owned(),
            files => {
                format!("{}, {}", format::count(files), format::rates::bytes(table.backlog_bytes))
            }
        };
        view! {
            <tr>
                <td>{table.name.clone()}</td>
                <td class="num">{format::count(table.rows)}</td>
                <td class="num">{format::count(table.files)}</td>
                <td class="num">{format::rates::bytes(table.bytes)}</td>
                <td class="num">{backlog}</td>
                <td class="num">{since}</td>
            </tr>
        }
    };
    let numbers = ["Rows", "Files", "Size", "To merge", "Oldest"].map(Number);
    let heads: Vec<_> = std::iter::once(Words("Table")).chain(numbers).collect();
    let rows = tables.iter().map(row).collect_view();
    view! {
        <PlainTable label="Files" heads>
            {rows}
        </PlainTable>
    }
}

fn moment(time: UnixNanos) -> String {
    format::ago(time, browser::now())
}

/// Memory, disk and log with their limits, and further facts.
pub(super) fn storage_facts(status: &ServerStatus) -> impl IntoView + use<> {
    let storage = &status.storage;
    let unflushed = storage.unflushed_age_nano;
    let facts = [
        ("Oldest row not yet in a file", unflushed.map_or("none".to_owned(), format::duration)),
        ("Merged files to delete", format::count(storage.removed_files)),
    ];
    view! {
        {gauges(status)}
        {facts_table("Memory, log and disk", facts)}
    }
}

/// A quantity and its limit.
struct Gauge {
    name: &'static str,
    /// The used part of the limit. `None` for the free part of the disk, whose size is not known.
    share: Option<f64>,
    words: String,
    is_bad: bool,
}

/// Share of a limit from which a quantity is marked.
const NEARLY_FULL: f64 = 0.9;

impl Gauge {
    fn new(name: &'static str, used: u64, bound: u64) -> Self {
        let words = format!("{} of {}", format::rates::bytes(used), format::rates::bytes(bound));
        let share = if bound == 0 { 1.0 } else { used as f64 / bound as f64 };
        Self { name, share: Some(share), words, is_bad: share >= NEARLY_FULL }
    }
}

fn gauges(status: &ServerStatus) -> impl IntoView + use<> {
    let storage = &status.storage;
    let memory =
        status.memory.and_then(|memory| Some((memory.resident_bytes, memory.budget_bytes?)));
    let disk = storage.disk_free_bytes.zip(storage.disk_reserve_bytes).map(|(free, reserve)| {
        let (left, least) = (format::rates::bytes(free), format::rates::bytes(reserve));
        let words = format!("{left} free, refuses below {least}");
        let is_bad = free < reserve.saturating_mul(2);
        Gauge { name: "Disk", share: None, words, is_bad }
    });
    let all = [
        memory.map(|(used, budget)| Gauge {
            // The budget covers the largest consumers. The process needs more memory than that.
            is_bad: used > budget.saturating_mul(2),
            ..Gauge::new("Memory", used, budget)
        }),
        disk,
        Some(Gauge::new("Rows in memory", storage.memory_bytes, storage.memory_bytes_max)),
        Some(Gauge::new("Write-ahead log", storage.wal_bytes, storage.wal_bytes_max)),
    ];
    let row = |gauge: Gauge| {
        let bar = gauge.share.map(|share| {
            let width = format!("{:.1}%", share.clamp(0.0, 1.0) * 100.0);
            view! {
                <dd class="gauge-bar" aria-hidden="true">
                    <span class:is-bad=gauge.is_bad style=("width", width)></span>
                </dd>
            }
        });
        view! {
            <div class="gauge">
                <dt>{gauge.name}</dt>
                {bar}
                <dd class="num" class:is-warning=gauge.is_bad>
                    {gauge.words}
                </dd>
            </div>
        }
    };
    view! { <dl class="gauges">{all.into_iter().flatten().map(row).collect_view()}</dl> }
}

/// Age of the oldest telemetry, now and at the present rate.
pub(super) fn horizon_facts(storage: &StorageStatus) -> impl IntoView + use<> {
    let horizon = storage.horizon;
    let bytes = |bytes: Option<u64>| bytes.map_or("no limit".to_owned(), format::rates::bytes);
    let facts = [
        ("Oldest data", horizon.age_nano.map_or("nothing in files yet".to_owned(), age)),
        (
            "Growth",
            horizon.bytes_per_day.map_or("not known yet".to_owned(), |bytes| {
                format!("{} a day", format::rates::bytes(bytes))
            }),
        ),
        ("Deleted by age after", storage.retention_age_nano.map_or("never".to_owned(), age)),
        ("Deleted by size beyond", bytes(storage.retention_bytes_max)),
        ("Rules that keep traces longer", format::count(storage.retention_rules)),
    ];
    let is_disk = horizon.bound == Some(HorizonBound::Disk);
    view! {
        <p class="panel-say" class:is-warning=is_disk>
            {horizon_text(&horizon)}
        </p>
        {facts_table("Retention", facts)}
    }
}

/// Formats an age, in whole days from two days on.
fn age(age: DurationNanos) -> String {
    const DAY_NANOS: u64 = 24 * 60 * 60 * 1_000_000_000;
    match age.0 / DAY_NANOS {
        0 | 1 => format::duration(age),
        days => format!("{} d", format::count(days)),
    }
}

/// Returns the words for the time whose rate the figures are extrapolated from.
pub(super) fn rate_text(horizon: &RetentionHorizon) -> String {
    const DAY: &str = "24 h";
    match horizon.rate_length_nano.map(format::rough_length) {
        None => String::new(),
        Some(length) if length == DAY => "at the rate of the last day".to_owned(),
        Some(length) => format!("at the rate of the last {length}"),
    }
}

/// Returns the sentence about the end of retention.
pub(super) fn horizon_text(horizon: &RetentionHorizon) -> String {
    if horizon.bytes_per_day.is_none() {
        return "How long telemetry can be kept is not known yet: no file says how fast it grows."
            .to_owned();
    }
    let reach = horizon.reachable_age_nano.map(age);
    match (horizon.bound, reach) {
        (Some(HorizonBound::Age), Some(reach)) => {
            let reach =
                reach.strip_suffix(" d").map_or(reach.clone(), |days| format!("{days} days"));
            format!("At this rate the disk holds all {reach}.")
        }
        (Some(HorizonBound::Size), Some(reach)) => {
            format!(
                "At this rate the bound on size is reached at {reach}: the oldest hours go first."
            )
        }
        (Some(HorizonBound::Disk), Some(reach)) => format!(
            "At this rate the disk is full before telemetry is old enough to be deleted: it has room for {reach}. Set retention-bytes-max, or a shorter retention-age."
        ),
        _ => "Nothing is deleted by age or size.".to_owned(),
    }
}

/// The tasks of the process: running, restarted, or failed.
pub(super) fn task_table(tasks: &[TaskStatus]) -> impl IntoView + use<> {
    let row = |task: &TaskStatus| {
        let (tone, words) = condition(task.state);
        view! {
            <tr>
                <td class="mono">{task.name.clone()}</td>
                <td>
                    <Badge tone=tone>{words}</Badge>
                </td>
                <td class="num" class:is-warning=task.restarts != 0>
                    {format::count(task.restarts)}
                </td>
                <td class="grow mute" title=task.last_panic.clone()>
                    {task.last_panic.clone()}
                </td>
            </tr>
        }
    };
    let heads = [Words("Task"), Words("State"), Number("Restarts"), Words("Last panic")];
    let rows = tasks.iter().map(row).collect_view();
    view! {
        <PlainTable label="Tasks" heads>
            {rows}
        </PlainTable>
    }
}

const fn condition(state: TaskCondition) -> (Tone, &'static str) {
    match state {
        TaskCondition::Running => (Tone::Good, "running"),
        TaskCondition::Restarting => (Tone::Warning, "restarting"),
        TaskCondition::Failed => (Tone::Error, "failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::{DurationNanos, HorizonBound, RetentionHorizon, horizon_text, rate_text};

    #[test]
    fn the_bound_that_comes_first_is_named_and_a_full_disk_has_its_cure() {
        let horizon = |days: u64, bound| RetentionHorizon {
            reachable_age_nano: Some(DurationNanos(days * 24 * 3_600 * 1_000_000_000)),
            bound: Some(bound),
            bytes_per_day: Some(1),
            ..RetentionHorizon::default()
        };
        assert!(horizon_text(&horizon(30, HorizonBound::Age)).ends_with("holds all 30 days."));
        assert!(horizon_text(&horizon(12, HorizonBound::Size)).contains("reached at 12 d"));
        let disk = horizon_text(&horizon(5, HorizonBound::Disk));
        assert!(disk.contains("room for 5 d") && disk.contains("retention-bytes-max"), "{disk}");
        let none = RetentionHorizon { bytes_per_day: Some(1), ..RetentionHorizon::default() };
        assert_eq!(horizon_text(&none), "Nothing is deleted by age or size.");
    }

    #[test]
    fn the_length_of_the_rate_is_written_in_words() {
        let text = |seconds: Option<u64>| {
            let length = seconds.map(|seconds| DurationNanos(seconds * 1_000_000_000));
            rate_text(&RetentionHorizon { rate_length_nano: length, ..RetentionHorizon::default() })
        };
        assert_eq!(text(Some(2 * 3_600 + 180)), "at the rate of the last 2 h");
        assert_eq!(text(Some(86_400)), "at the rate of the last day");
        assert_eq!(text(None), "");
    }

    #[test]
    fn the_reach_of_telemetry_is_not_known_before_its_rate() {
        let words = horizon_text(&RetentionHorizon {
            reachable_age_nano: Some(DurationNanos(1)),
            bound: Some(HorizonBound::Age),
            ..RetentionHorizon::default()
        });
        assert!(words.contains("is not known yet"), "{words}");
    }
}
