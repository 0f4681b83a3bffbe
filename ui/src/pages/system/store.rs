//! The store and the tasks of the server: sizes of tables, memory, log and retention.

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{StorageStatus, TableStatus, TaskCondition, TaskStatus},
};

use crate::{
    browser,
    components::{Badge, Tone},
    format,
};

/// Files of each table, and those that wait to be merged.
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
    view! {
        <table class="table" aria-label="Files">
            <thead>
                <tr>
                    <th scope="col">"Table"</th>
                    {["Rows", "Files", "Size", "To merge", "Oldest"]
                        .map(|name| {
                            view! {
                                <th scope="col" class="num">
                                    {name}
                                </th>
                            }
                        })}
                </tr>
            </thead>
            <tbody>{tables.iter().map(row).collect_view()}</tbody>
        </table>
    }
}

fn moment(time: UnixNanos) -> String {
    format::ago(time, browser::now())
}

/// The facts of the store in rows of name and value.
pub(super) fn storage_facts(storage: &StorageStatus) -> impl IntoView + use<> {
    let of = |bytes: u64, most: u64| {
        format!("{} of {}", format::rates::bytes(bytes), format::rates::bytes(most))
    };
    let unflushed = storage.unflushed_age_nano;
    let age = storage.retention_age_nano;
    let size = storage.retention_bytes_max;
    let facts = [
        ("Rows in memory, not yet in files", of(storage.memory_bytes, storage.memory_bytes_max)),
        ("Oldest of them", unflushed.map_or("none".to_owned(), format::duration)),
        ("Write-ahead log", of(storage.wal_bytes, storage.wal_bytes_max)),
        ("Merged files to delete", format::count(storage.removed_files)),
        ("Deleted by age after", age.map_or("never".to_owned(), format::duration)),
        ("Deleted by size beyond", size.map_or("never".to_owned(), format::rates::bytes)),
        ("Rules that keep traces longer", format::count(storage.retention_rules)),
    ];
    let row = |(name, value): (&'static str, String)| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="num">{value}</td>
            </tr>
        }
    };
    view! {
        <table class="table facts-table" aria-label="Memory, log and retention">
            <tbody>{facts.map(row)}</tbody>
        </table>
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
    view! {
        <table class="table" aria-label="Tasks">
            <thead>
                <tr>
                    <th scope="col">"Task"</th>
                    <th scope="col">"State"</th>
                    <th scope="col" class="num">
                        "Restarts"
                    </th>
                    <th scope="col">"Last panic"</th>
                </tr>
            </thead>
            <tbody>{tasks.iter().map(row).collect_view()}</tbody>
        </table>
    }
}

const fn condition(state: TaskCondition) -> (Tone, &'static str) {
    match state {
        TaskCondition::Running => (Tone::Good, "running"),
        TaskCondition::Restarting => (Tone::Warning, "restarting"),
        TaskCondition::Failed => (Tone::Error, "failed"),
    }
}
