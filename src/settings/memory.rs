//! One budget of memory, divided among everything that holds much of it.
//!
//! The budget is the setting `memory`, or a quarter of the memory that the process may have: that
//! of the machine, or the smallest limit of its control groups (version 1 or 2). Each setting in
//! [`SHARES`] that nobody set is its share of the budget, but at most its default, because more
//! does not help. A flush holds about `memory-flush-bytes` beside the memtable, and a merge of
//! files as much. The rest, 9 of 32 parts, is for rows that queries gather and for answers. Those
//! bounds are no settings; they follow the budget in their own modules (`QueryLimits::within`,
//! `Bodies::new`). Queries in SQL run in processes of their own, whose memory is not part of the
//! budget; `sql-running-max` is at most one for each 256 MiB of it. Does not own the enforcement of
//! a bound: the holder of the memory does.

use std::path::{Path, PathBuf};

use tidings_sql::SqlLimits;

use super::{Origin, SETTINGS, Setting, Sources, setting_value};

/// The smallest budget with which everything works: an eighth of it holds the largest request of
/// `http-body-bytes-max`.
pub(super) const BUDGET_MIN: u64 = 192 << 20;
/// The budget where the available memory cannot be measured.
const BUDGET_UNKNOWN: u64 = 2 << 30;
/// The divisor of the shares.
const PARTS: u64 = 32;
/// The smallest number that means no limit: version 1 of control groups writes such a number.
const UNLIMITED: u64 = 1 << 60;

/// Settings that are shares of the budget, in 32nds of it. SQL's share is that of each process that
/// runs a query.
const SHARES: [(&str, u64); 6] = [
    ("memory-flush-bytes", 3), // Of the memtable, of a flush beside it, and of a merge.
    ("memory-bytes-max", 6),
    ("in-flight-bytes-max", 4),
    ("index-memory-bytes-max", 4),
    ("metadata-memory-bytes-max", 3),
    ("sql-memory-bytes-max", 2),
];

/// Budget for each worker of a query in SQL, a process with memory of its own. It takes up to 180
/// MiB with the smallest budget; the machine has four times the budget.
const SQL_WORKER_BUDGET: u64 = 256 << 20;

/// Files in which the system reports its memory.
#[derive(Debug, Clone)]
pub(crate) struct MemoryFiles {
    /// Path of `/proc/meminfo`.
    pub(crate) meminfo: PathBuf,
    /// Path of `/proc/self/cgroup`.
    pub(crate) own_cgroup: PathBuf,
    /// Path of `/sys/fs/cgroup`.
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

/// The memory that the process may have, and the file that states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    bytes: u64,
    source: String,
}

impl MemoryFiles {
    /// Returns the smallest limit; `None` when no file can be read.
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

    /// Returns the files that can have limits of the process: those of its control groups and of
    /// the groups above. Inside a container the group may have the name from outside; then only the
    /// root exists.
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

/// Reads a file that has a single number; `None` also for `max`.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Formats bytes to a tenth of a GiB.
fn rounded_gib(bytes: u64) -> String {
    let (gib, tenths) = (bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30);
    match (gib, tenths) {
        (0, _) => format!("{} MiB", bytes >> 20),
        (gib, 0) => format!("{gib} GiB"),
        (gib, tenths) => format!("{gib}.{tenths} GiB"),
    }
}

/// Formats bytes in the largest unit that is exact, or to the MiB.
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
            // This value is refused with its reason when the settings are made.
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
        let workers_max = SqlLimits::default().running_max as u64;
        if workers < workers_max && is_default(self, "sql-running-max") {
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
