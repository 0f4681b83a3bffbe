//! What is no longer kept.
//!
//! Files go whole, by hour: at an age counted from the end of the file's hour or from when its
//! last row came in, whichever is later, so that importing an old trace does not delete it. Rules
//! keep whole traces for longer: when the rest is due, the hour is written again with nothing but
//! the traces that some rule names, and the new file's name says for which rules that was done.
//! When the files are too large together, the oldest hours go first, as if they were very old.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tidings_proto::{
    TraceId, UnixNanos,
    otlp::{Severity, StatusCode},
};
use xxhash_rust::xxh3::xxh3_64;

use super::plan::{FILE_BYTES, FILES_MAX};
use crate::{AttributeFilter, LogFilter, SpanFilter, data_file::DataFile, schema::Signal};

const HOUR_NANOS: u64 = 3600 * 1_000_000_000;

/// How long telemetry is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// The age at which goes what no rule keeps; `None`: never.
    pub age: Option<Duration>,
    /// What is kept for longer.
    pub rules: Vec<RetentionRule>,
    /// The oldest hours go when the data files of both tables have more bytes; `None`: never.
    pub bytes_max: Option<u64>,
}

/// Keeps traces with something in them, and such log records, for longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// What has to be in the trace.
    pub what: Noteworthy,
    /// The age at which the trace goes; `None`: never.
    pub age: Option<Duration>,
}

/// What makes a trace, or a log record, worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noteworthy {
    /// A span with an error status; a record of severity `ERROR` or above.
    Errors,
    /// A span or record of this service.
    Service(String),
    /// It is this trace.
    Trace(TraceId),
    /// A span or record with this attribute.
    Attribute(AttributeFilter),
}

impl Noteworthy {
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
            Self::Errors => LogFilter { severity_min: Some(Severity::Error), ..all },
            Self::Service(name) => LogFilter { services: Some(vec![name]), ..all },
            Self::Trace(id) => LogFilter { trace_ids: Some(vec![id]), ..all },
            Self::Attribute(attribute) => LogFilter { attributes: vec![attribute], ..all },
        }
    }
}

/// Files of which some or all rows are no longer kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Retired {
    pub(crate) signal: Signal,
    pub(crate) files: Vec<Arc<DataFile>>,
    /// What is still kept of them, which are then of one hour.
    pub(crate) kept: Vec<Noteworthy>,
}

/// What is due first; `None` when nothing is. Looks at no file.
pub(crate) fn due(
    retention: &Retention,
    tables: &[(Signal, Vec<Arc<DataFile>>)],
    now: UnixNanos,
    clock_is_believed: bool,
) -> Option<Retired> {
    let by_age = || tables.iter().find_map(|(signal, files)| old(retention, *signal, files, now));
    clock_is_believed.then(by_age).flatten().or_else(|| too_large(retention, tables))
}

fn old(
    retention: &Retention,
    signal: Signal,
    files: &[Arc<DataFile>],
    now: UnixNanos,
) -> Option<Retired> {
    retention.age?;
    let mut gone = Vec::new();
    let mut thinned: BTreeMap<(i64, u64), Retired> = BTreeMap::new();
    for file in files {
        let age = Duration::from_nanos(now.0.saturating_sub(kept_from(file)));
        if retention.age.is_none_or(|limit| age < limit) {
            continue;
        }
        let kept = retention.kept_at(age);
        match mark(&kept) {
            _ if kept.is_empty() => gone.push(Arc::clone(file)),
            mark if thinned_for(&file.path) == Some(mark) => {}
            mark => {
                let new = || Retired { signal, files: Vec::new(), kept };
                thinned.entry((file.hour, mark)).or_insert_with(new).files.push(Arc::clone(file));
            }
        }
    }
    if !gone.is_empty() {
        return Some(Retired { signal, files: gone, kept: Vec::new() });
    }
    let (_, due) = thinned.pop_first()?;
    Some(Retired { files: some(due.files), ..due })
}

/// The oldest hour that has something to give.
fn too_large(retention: &Retention, tables: &[(Signal, Vec<Arc<DataFile>>)]) -> Option<Retired> {
    let limit = retention.bytes_max?;
    let all = || tables.iter().flat_map(|(signal, files)| files.iter().map(move |f| (*signal, f)));
    let excess = all().map(|(_, file)| file.bytes).sum::<u64>().checked_sub(limit)?;
    if excess == 0 {
        return None;
    }
    let kept = retention.kept_at(Duration::MAX);
    let final_mark = mark(&kept);
    let open = |file: &DataFile| kept.is_empty() || thinned_for(&file.path) != Some(final_mark);
    let (signal, oldest) =
        all().filter(|(_, file)| open(file)).min_by_key(|(_, file)| file.hour)?;
    let of_hour =
        all().filter(|(of, file)| *of == signal && file.hour == oldest.hour && open(file));
    let mut files: Vec<_> = of_hour.map(|(_, file)| Arc::clone(file)).collect();
    if kept.is_empty() {
        // Not more than necessary, and the oldest first.
        files.sort_by_key(|file| (file.start_max, file.path.clone()));
        let mut freed = 0;
        files.retain(|file| {
            let needed = freed < excess;
            freed += file.bytes;
            needed
        });
        return Some(Retired { signal, files, kept });
    }
    Some(Retired { signal, files: some(files), kept })
}

/// As many as one rewrite takes, at least one.
fn some(mut files: Vec<Arc<DataFile>>) -> Vec<Arc<DataFile>> {
    files.sort_by_key(|file| (file.bytes, file.path.clone()));
    let mut bytes = 0;
    let fits = files.iter().take(FILES_MAX).take_while(|file| {
        bytes += file.bytes;
        bytes <= FILE_BYTES
    });
    let count = fits.count().max(1);
    files.truncate(count);
    files
}

/// From when on the age of a file counts.
fn kept_from(file: &DataFile) -> u64 {
    let end = u64::try_from(file.hour + 1).unwrap_or(0).saturating_mul(HOUR_NANOS);
    end.max(file.received_max.0)
}

impl Retention {
    fn kept_at(&self, age: Duration) -> Vec<Noteworthy> {
        let kept = self.rules.iter().filter(|rule| rule.age.is_none_or(|limit| age < limit));
        kept.map(|rule| rule.what.clone()).collect()
    }
}

/// A number for what is kept: the same for the same list.
pub(crate) fn mark(kept: &[Noteworthy]) -> u64 {
    let mut names: Vec<String> = kept.iter().map(|what| format!("{what:?}")).collect();
    names.sort_unstable();
    xxh3_64(names.join("\n").as_bytes())
}

/// The beginning of the name of a file that was thinned.
pub(crate) fn thinned_prefix(mark: u64) -> String {
    format!("kept-{mark:016x}")
}

/// For which rules a file was thinned, from its name.
pub(crate) fn thinned_for(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_prefix("kept-")?.get(..16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// The mark that a file made of these may have.
pub(crate) fn common_mark(files: &[Arc<DataFile>]) -> Option<u64> {
    let marks: HashSet<Option<u64>> = files.iter().map(|file| thinned_for(&file.path)).collect();
    let mut marks = marks.into_iter();
    marks.next().flatten().filter(|_| marks.next().is_none())
}

#[cfg(test)]
mod tests;
