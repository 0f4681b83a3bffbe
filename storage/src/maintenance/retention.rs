//! Retention: selects files and rows to delete.
//!
//! Files are deleted whole, by hour. Their age counts from the end of their hour, or from the
//! arrival of their last row if that is later. So importing an old trace does not delete it. A
//! spanning file belongs to the hour in which its rows arrived, and is never merged with those of
//! another. Its rows age from their arrival, whatever their times.
//!
//! Rules keep whole traces for longer. When the rest is due, the hour is rewritten with the traces
//! that some rule names. The new file's name records the rules that were applied. When the files
//! exceed the size limit, the oldest hours are deleted first, as if they had reached their age.
//!
//! Pinned traces are kept like those of a rule without an age, by the files that contain them. A
//! file without pinned traces is not rewritten because of a pin. A rewrite that lacks disk space
//! waits, and delays no other deletion.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tidings_files::table_file::{DataFile, HOUR_NANOS};
use tidings_index::{AttributeFilter, LogFilter, SpanFilter};
use tidings_proto::{
    Signal, TraceId, UnixNanos,
    otlp::{Severity, StatusCode},
};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    disk_space::DiskSpace,
    merge_policy::{FILE_BYTES, FILES_MAX},
};
use crate::table_change::CommitReason;

/// Age and size limits of telemetry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// Age at which rows are removed unless a rule keeps them. `None` disables this.
    pub age: Option<Duration>,
    /// Rules that keep some traces longer.
    pub rules: Vec<RetentionRule>,
    /// Maximum bytes of the data files of both tables, beyond which the oldest hours are removed.
    /// `None` disables this.
    pub bytes_max: Option<u64>,
}

/// Rule that keeps traces with a matching span or record, and matching log records, for longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Condition that a span or record of the trace must meet.
    pub condition: RetentionCondition,
    /// Age at which the trace is removed, or `None` to keep it for good.
    pub age: Option<Duration>,
}

/// Condition that makes retention keep a trace or a log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionCondition {
    /// A span with an error status, or a record of severity `ERROR` or above.
    Errors,
    /// A span or record of this service.
    Service(String),
    /// Every span or record of this trace.
    Trace(TraceId),
    /// A span or record with this attribute.
    Attribute(AttributeFilter),
}

impl RetentionCondition {
    pub(crate) fn spans(&self) -> SpanFilter {
        let all = SpanFilter::default();
        match self.clone() {
            Self::Errors => SpanFilter { status: Some(StatusCode::Error), ..all },
            Self::Service(name) => SpanFilter { services: Some(vec![name]), ..all },
            Self::Trace(id) => SpanFilter { trace_ids: Some(vec![id]), ..all },
            Self::Attribute(attribute) => SpanFilter { attributes: vec![attribute], ..all },
        }
    }

    pub(crate) fn logs(&self) -> LogFilter {
        let all = LogFilter::default();
        match self.clone() {
            Self::Errors => LogFilter { severity_min: Some(Severity::Error.into()), ..all },
            Self::Service(name) => LogFilter { services: Some(vec![name]), ..all },
            Self::Trace(id) => LogFilter { trace_ids: Some(vec![id]), ..all },
            Self::Attribute(attribute) => LogFilter { attributes: vec![attribute], ..all },
        }
    }
}

/// Files with rows that are no longer kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpiredFiles {
    pub(crate) signal: Signal,
    pub(crate) files: Vec<Arc<DataFile>>,
    /// Conditions of the rows that are still kept. With any, the files are of one hour, and either
    /// all or none of them are spanning.
    pub(crate) kept: Vec<RetentionCondition>,
}

/// Next retention step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RetentionStep {
    Nothing,
    /// These files must be searched for pinned traces first.
    Look(Vec<(Signal, Arc<DataFile>)>),
    Retire(ExpiredFiles),
}

/// Returns the pinned traces in a file, or `None` if it was not searched yet.
pub(crate) type PinnedIn<'a> = dyn Fn(&DataFile) -> Option<Vec<TraceId>> + 'a;

/// Returns the first step that is due and has disk space. Reads no file.
pub(crate) fn due(
    retention: &Retention,
    tables: &[(Signal, Vec<Arc<DataFile>>)],
    now: UnixNanos,
    clock_is_trusted: bool,
    pinned: &PinnedIn<'_>,
    room: &mut DiskSpace,
) -> RetentionStep {
    for (signal, files) in tables.iter().filter(|_| clock_is_trusted) {
        match old(retention, *signal, files, now, pinned, room) {
            RetentionStep::Nothing => {}
            due => return due,
        }
    }
    too_large(retention, tables, pinned, room)
}

fn old(
    retention: &Retention,
    signal: Signal,
    files: &[Arc<DataFile>],
    now: UnixNanos,
    pinned: &PinnedIn<'_>,
    room: &mut DiskSpace,
) -> RetentionStep {
    let Some(limit) = retention.age else { return RetentionStep::Nothing };
    let (mut gone, mut unknown) = (Vec::new(), Vec::new());
    let mut thinned: BTreeMap<(i64, bool, u64), ExpiredFiles> = BTreeMap::new();
    for file in files {
        let age = Duration::from_nanos(now.0.saturating_sub(age_start(file)));
        if age < limit {
            continue;
        }
        let Some(pinned) = pinned(file) else {
            unknown.push((signal, Arc::clone(file)));
            continue;
        };
        let kept = retention.conditions_at_age(age, &pinned);
        match mark(&kept) {
            _ if kept.is_empty() => gone.push(Arc::clone(file)),
            mark if thinned_for(&file.path) == Some(mark) => {}
            mark => {
                let new = || ExpiredFiles { signal, files: Vec::new(), kept };
                let of_one = (file.hour, file.is_spanning(), mark);
                thinned.entry(of_one).or_insert_with(new).files.push(Arc::clone(file));
            }
        }
    }
    if !unknown.is_empty() {
        return RetentionStep::Look(unknown);
    }
    if !gone.is_empty() {
        return RetentionStep::Retire(ExpiredFiles { signal, files: gone, kept: Vec::new() });
    }
    let fitting = thinned.into_values().find_map(|due| {
        let files = some(due.files, room)?;
        Some(RetentionStep::Retire(ExpiredFiles { files, ..due }))
    });
    fitting.unwrap_or(RetentionStep::Nothing)
}

/// Returns a step that removes rows of the oldest possible hour, if there is disk space for it.
fn too_large(
    retention: &Retention,
    tables: &[(Signal, Vec<Arc<DataFile>>)],
    pinned: &PinnedIn<'_>,
    room: &mut DiskSpace,
) -> RetentionStep {
    let all = || tables.iter().flat_map(|(signal, files)| files.iter().map(move |f| (*signal, f)));
    let bytes = all().map(|(_, file)| file.bytes).sum::<u64>();
    let excess = retention.bytes_max.map_or(0, |limit| bytes.saturating_sub(limit));
    if excess == 0 {
        return RetentionStep::Nothing;
    }
    let mut hours: BTreeMap<i64, Vec<(Signal, &Arc<DataFile>)>> = BTreeMap::new();
    for (signal, file) in all() {
        hours.entry(file.hour).or_default().push((signal, file));
    }
    for files in hours.into_values() {
        match of_hour(retention, &files, excess, pinned, room) {
            RetentionStep::Nothing => {}
            due => return due,
        }
    }
    RetentionStep::Nothing
}

/// Returns the next step for the files of an hour.
fn of_hour(
    retention: &Retention,
    files: &[(Signal, &Arc<DataFile>)],
    excess: u64,
    pinned: &PinnedIn<'_>,
    room: &mut DiskSpace,
) -> RetentionStep {
    let (mut open, mut unknown) = (Vec::new(), Vec::new());
    for (signal, file) in files {
        let Some(pinned) = pinned(file) else {
            unknown.push((*signal, Arc::clone(file)));
            continue;
        };
        let kept = retention.conditions_at_age(Duration::MAX, &pinned);
        if kept.is_empty() || thinned_for(&file.path) != Some(mark(&kept)) {
            open.push((*signal, kept, Arc::clone(file)));
        }
    }
    if !unknown.is_empty() {
        return RetentionStep::Look(unknown);
    }
    loop {
        // Files that are removed whole come first.
        let whole = open.iter().find(|(_, kept, _)| kept.is_empty());
        let Some((signal, kept, first)) = whole.or(open.first()).cloned() else {
            return RetentionStep::Nothing;
        };
        let is_alike =
            |(of, other, file): &mut (Signal, Vec<RetentionCondition>, Arc<DataFile>)| {
                let is_of_kind = kept.is_empty() || file.is_spanning() == first.is_spanning();
                *of == signal && *other == kept && is_of_kind
            };
        let files: Vec<_> = open.extract_if(.., is_alike).map(|(_, _, file)| file).collect();
        let chosen = if kept.is_empty() { Some(needed(files, excess)) } else { some(files, room) };
        if let Some(files) = chosen {
            return RetentionStep::Retire(ExpiredFiles { signal, files, kept });
        }
    }
}

/// Returns the oldest files that together free the excess bytes.
fn needed(mut files: Vec<Arc<DataFile>>, excess: u64) -> Vec<Arc<DataFile>> {
    files.sort_by_key(|file| (file.start_max, file.path.clone()));
    let mut freed = 0;
    files.retain(|file| {
        let needed = freed < excess;
        freed += file.bytes;
        needed
    });
    files
}

/// Returns the smallest files, as many as one rewrite takes and there is space for. Returns `None`
/// when there is space for none.
fn some(mut files: Vec<Arc<DataFile>>, room: &mut DiskSpace) -> Option<Vec<Arc<DataFile>>> {
    files.sort_by_key(|file| (file.bytes, file.path.clone()));
    let (mut bytes, mut count) = (0, 0);
    for file in files.iter().take(FILES_MAX) {
        bytes += file.bytes;
        let is_enough = count > 0 && bytes > FILE_BYTES;
        if is_enough || !room.holds(CommitReason::Retention, bytes) {
            break;
        }
        count += 1;
    }
    if count == 0 {
        room.wait(&files);
        return None;
    }
    files.truncate(count);
    Some(files)
}

/// Returns the time from which the age of a file counts.
fn age_start(file: &DataFile) -> u64 {
    let end = u64::try_from(file.hour + 1).unwrap_or(0).saturating_mul(HOUR_NANOS);
    end.max(file.received_max.0)
}

impl Retention {
    /// Returns the conditions that still keep rows at this age of a file with these pinned traces.
    fn conditions_at_age(&self, age: Duration, pinned: &[TraceId]) -> Vec<RetentionCondition> {
        let kept = self.rules.iter().filter(|rule| rule.age.is_none_or(|limit| age < limit));
        let mut kept: Vec<RetentionCondition> = kept.map(|rule| rule.condition.clone()).collect();
        for trace in pinned.iter().copied().map(RetentionCondition::Trace) {
            if !kept.contains(&trace) {
                kept.push(trace);
            }
        }
        kept
    }
}

/// Returns a hash of the kept conditions, independent of their order.
pub(crate) fn mark(kept: &[RetentionCondition]) -> u64 {
    let mut names: Vec<String> = kept.iter().map(|what| format!("{what:?}")).collect();
    names.sort_unstable();
    xxh3_64(names.join("\n").as_bytes())
}

/// Returns the name prefix of a file that a thinning rewrite wrote.
pub(crate) fn thinned_prefix(mark: u64) -> String {
    format!("kept-{mark:016x}")
}

/// Parses the mark of the rules for which a file was thinned from its name.
pub(crate) fn thinned_for(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("kept-")?.get(..16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Returns the mark for a file that is merged from these, if they all have the same.
pub(crate) fn common_mark(files: &[Arc<DataFile>]) -> Option<u64> {
    let marks: HashSet<Option<u64>> = files.iter().map(|file| thinned_for(&file.path)).collect();
    let mut marks = marks.into_iter();
    marks.next().flatten().filter(|_| marks.next().is_none())
}

#[cfg(test)]
mod tests;
