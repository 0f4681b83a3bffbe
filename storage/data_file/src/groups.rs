//! Row groups of a file, in sequence. A scan alternates between the row groups of several files.

use std::{iter::Peekable, ops::ControlFlow, sync::Arc, vec::IntoIter};

use tidings_columns::Projection;
use tidings_disk::ranges::intersection;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{
    CandidateRows,
    filter::{CompleteKeys, Matcher},
};
use tidings_proto::{Signal, UnixNanos};

use super::{
    prune::Pruner,
    read::{FileReader, GroupTimes},
};
use crate::scan::{Progress, Visit};

/// Row groups that may match, in the scan's order.
pub(crate) struct CandidateGroups<'a> {
    file: &'a DataFile,
    candidates: Arc<CandidateRows>,
    signal: Signal,
    detail: Projection,
    /// `None` while the file is closed.
    source: Option<FileReader<'a>>,
    /// Keys for which the file's attribute columns are complete.
    whole: CompleteKeys,
    /// Row groups that are not read yet.
    left: Peekable<IntoIter<GroupTimes>>,
}

impl<'a> CandidateGroups<'a> {
    /// Opens a file to read the candidates among its rows.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(crate) fn open(
        file: &'a DataFile,
        candidates: CandidateRows,
        matcher: &Matcher,
        detail: Projection,
    ) -> Result<Self, StorageError> {
        let (candidates, signal) = (Arc::new(candidates), matcher.signal);
        let source = FileReader::open(file, Arc::clone(&candidates), signal, detail)?;
        let whole = if matcher.needs_columns() {
            let keys = matcher.attribute_keys();
            source.attributes.whole(|key| keys.contains(key))
        } else {
            CompleteKeys::default()
        };
        let left = source.in_order(matcher)?.into_iter().peekable();
        Ok(Self { file, candidates, signal, detail, source: Some(source), whole, left })
    }

    /// Returns the time range of the rows of the next row group. `None` when no row group is left.
    pub(crate) fn next_times(&mut self) -> Option<(UnixNanos, UnixNanos)> {
        self.left.peek().map(|(_, times)| *times)
    }

    /// Closes the file and drops its metadata until the next row group is read. A scan can have any
    /// number of waiting files.
    pub(crate) fn rest(&mut self) {
        self.source = None;
    }

    /// Returns true while the file is closed.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.source.is_none()
    }

    /// Reads the next row group. Breaks when `visit` breaks or when the row budget is exhausted.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(crate) fn scan_next(
        &mut self,
        matcher: &mut Matcher,
        progress: &mut Progress<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let Some((group, times)) = self.left.next() else {
            return Ok(ControlFlow::Continue(()));
        };
        let source = match self.source.take() {
            Some(source) => source,
            None => {
                let candidates = Arc::clone(&self.candidates);
                FileReader::open(self.file, candidates, self.signal, self.detail)?
            }
        };
        let source = self.source.insert(source);
        matcher.set_columns(&self.whole);
        let planned = matcher.time;
        let Some(plan) = source.plan(matcher, group, times)? else {
            return Ok(ControlFlow::Continue(()));
        };
        for mut stretch in plan.stretches(progress.may_narrow(), matcher.order) {
            if !progress.narrow(matcher, times) {
                break;
            }
            if matcher.time != planned {
                let pages = Pruner::new(&source.footer, matcher).pages(group);
                stretch = intersection(&stretch, &pages);
            }
            if stretch.is_empty() {
                continue;
            }
            let flow = source.read(matcher, &plan, &stretch, progress, visit)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
