//! One budget of memory, divided among everything that holds much of it.
//!
//! The budget is what the setting `memory` says, or a quarter of what the process may have: of the
//! machine's memory, or of the smallest limit of its control groups (version 1 or 2). Each setting
//! in [`SHARES`] that nobody set is its share of the budget, and at most its default, beyond which
//! more does not help. A flush holds about `memory-flush-bytes` beside the memory table, and a merge
//! of files as much. What is left, 9 of 32 parts, is for what queries gather and what is answered;
//! these bounds are no settings and follow the budget where they are (`QueryLimits::within`,
//! `Bodies::new`). Queries in SQL run in processes of their own: their memory is beside the budget,
//! `sql-running-max` is one for each 256 MiB of it at most. Does not own how the bounds are kept:
//! whoever holds the memory does.

use std::path::{Path, PathBuf};

use super::{Origin, SETTINGS, Setting, Sources, setting_value};

/// The smallest budget that everything works with: an eighth of it holds the largest request of
/// `http-body-bytes-max`.
pub(super) const BUDGET_MIN: u64 = 192 << 20;
/// The budget where nobody can tell how much memory there is.
const BUDGET_UNKNOWN: u64 = 2 << 30;
/// The divisor of the shares.
const PARTS: u64 = 32;
/// The smallest number that is no limit: version 1 of control groups writes one in its place.
const UNLIMITED: u64 = 1 << 60;

/// Settings that are shares of the budget, in 32nds of it; SQL's is of each process that runs a query.
const SHARES: [(&str, u64); 6] = [
    ("memory-flush-bytes", 3), // Of the memory table, of a flush beside it, and of a merge.
    ("memory-bytes-max", 6),
    ("in-flight-bytes-max", 4),
    ("index-memory-bytes-max", 4),
    ("metadata-memory-bytes-max", 3),
    ("sql-memory-bytes-max", 2),
];

/// The number of queries in SQL that run at once, where the budget is four times the next.
const SQL_WORKERS: u64 = 4;
/// A budget that has room for one worker, which is a process with memory of its own: up to 180 MiB of
/// the smallest budget, for the machine has four times that.
const SQL_WORKER_BUDGET: u64 = 256 << 20;

/// Where the system says how much memory there is.
#[derive(Debug, Clone)]
pub(crate) struct MemoryFiles {
    /// As `/proc/meminfo`.
    pub(crate) meminfo: PathBuf,
    /// As `/proc/self/cgroup`.
    pub(crate) own_cgroup: PathBuf,
    /// As `/sys/fs/cgroup`.
    pub(crate) cgroups: PathBuf,
}

impl Default for MemoryFiles {
    fn default() -> Self {
        Self {
            meminfo: "/proc/meminfo".into(),
            own_cgroup: "/proc/self/cgroup".into(),
            cgroups: "/sys/fs/cgroup".into(),
        }
    }
}

/// The memory that the process may have, and the file that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    bytes: u64,
    source: String,
}

impl MemoryFiles {
    /// The smallest limit; `None` when nothing can be read.
    pub(crate) fn limit(&self) -> Option<MemoryLimit> {
        let machine = self.machine().map(|bytes| MemoryLimit {
            bytes,
            source: format!("this machine's {}", rounded_gib(bytes)),
        });
        let groups = self.group_files().into_iter().filter_map(|path| {
            let bytes = number(&path).filter(|bytes| *bytes < UNLIMITED)?;
            let source = format!("the {} of {}", rounded_gib(bytes), path.display());
            Some(MemoryLimit { bytes, source })
        });
        machine.into_iter().chain(groups).min_by_key(|limit| limit.bytes)
    }

    fn machine(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.meminfo).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kilobytes.checked_mul(1024)
    }

    /// The files that can have limits of the process: those of its groups and of the groups above.
    /// In a container the group may be named as outside of it: then only the root is there.
    fn group_files(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string(&self.own_cgroup).unwrap_or_default();
        let mut files = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(group)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let (root, name) = match controllers {
                "" => (self.cgroups.clone(), "memory.max"),
                of if of.split(',').any(|one| one == "memory") => {
                    (self.cgroups.join("memory"), "memory.limit_in_bytes")
                }
                _ => continue,
            };
            let group = Path::new(group.trim_start_matches('/'));
            let is_inside =
                group.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            let above = group.ancestors().filter(|_| is_inside);
            files.extend(above.map(|group| root.join(group).join(name)));
            files.extend((!is_inside).then(|| root.join(name)));
        }
        files
    }
}

/// A number alone in a file; `None` also for `max`.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Bytes in words, to a tenth of a GiB.
fn rounded_gib(bytes: u64) -> String {
    let (gib, tenths) = (bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30);
    match (gib, tenths) {
        (0, _) => format!("{} MiB", bytes >> 20),
        (gib, 0) => format!("{gib} GiB"),
        (gib, tenths) => format!("{gib}.{tenths} GiB"),
    }
}

/// Bytes in the largest unit that says them exactly, or to the MiB.
fn in_units(bytes: u64) -> String {
    match bytes >> 20 {
        mib if bytes.is_multiple_of(1 << 30) => format!("{}GiB", mib >> 10),
        mib => format!("{mib}MiB"),
    }
}

fn setting(name: &str) -> &'static Setting {
    let found = SETTINGS.iter().find(|setting| setting.name == name);
    found.expect("invariant: every share is of a setting")
}

impl Sources {
    /// Divides the budget among the settings that nobody set.
    pub(crate) fn divide_memory(&mut self, limit: Option<MemoryLimit>) {
        let budget = match setting_value::budget(&self.text("memory")) {
            // Is refused with its reason when the settings are made.
            Err(_) => return,
            Ok(Some(budget)) => budget,
            Ok(None) => {
                let (budget, why) = match limit {
                    None => (BUDGET_UNKNOWN, "nobody says how much memory there is".to_owned()),
                    Some(MemoryLimit { bytes, source }) if bytes / 4 >= BUDGET_MIN => {
                        (bytes / 4, format!("a quarter of {source}"))
                    }
                    Some(MemoryLimit { source, .. }) => {
                        (BUDGET_MIN, format!("the least; a quarter of {source} is too little"))
                    }
                };
                self.set(setting("memory"), in_units(budget), Origin::Measured(why));
                budget
            }
        };
        let is_default = |sources: &Self, name| {
            sources.values.get(name).is_some_and(|(_, at)| *at == Origin::Default)
        };
        let workers = budget / SQL_WORKER_BUDGET;
        if workers < SQL_WORKERS && is_default(self, "sql-running-max") {
            let why = format!("one for each {} of memory", in_units(SQL_WORKER_BUDGET));
            let workers = workers.max(1).to_string();
            self.set(setting("sql-running-max"), workers, Origin::Measured(why));
        }
        for (name, parts) in SHARES {
            let setting = setting(name);
            let is_default = is_default(self, name);
            let most = setting_value::bytes(&setting.default_text()).unwrap_or(u64::MAX);
            let share = budget / PARTS * parts;
            if is_default && share < most {
                self.set(setting, in_units(share), Origin::Share { parts, of: PARTS });
            }
        }
    }
}

#[cfg(test)]
mod tests;
