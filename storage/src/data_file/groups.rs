//! The row groups of a file, one after the other, for a scan that looks at those of several files
//! in turn.

use std::{iter::Peekable, ops::ControlFlow, sync::Arc, vec::IntoIter};

use tidings_proto::UnixNanos;

use super::{
    DataFile,
    attributes::CompleteKeys,
    prune::Pruner,
    read::{FileReader, GroupTimes},
};
use crate::{
    Detail, StorageError,
    filter::Matcher,
    index::CandidateRows,
    ranges::intersection,
    scan::{Progress, Visit},
    schema::Signal,
};

/// Row groups that may match, in the scan's order.
pub(crate) struct CandidateGroups<'a> {
    file: &'a DataFile,
    candidates: Arc<CandidateRows>,
    signal: Signal,
    detail: Detail,
    /// `None` while it rests.
    source: Option<FileReader<'a>>,
    /// The keys for which its columns tell everything.
    whole: CompleteKeys,
    /// Row groups still to be read.
    left: Peekable<IntoIter<GroupTimes>>,
}

impl<'a> CandidateGroups<'a> {
    /// Opens a file to look at the candidates among its rows.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(crate) fn open(
        file: &'a DataFile,
        candidates: CandidateRows,
        matcher: &Matcher,
        detail: Detail,
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

    /// Between which times the rows of the next one are; `None` when there are no more.
    pub(crate) fn next_times(&mut self) -> Option<(UnixNanos, UnixNanos)> {
        self.left.peek().map(|(_, times)| *times)
    }

    /// Lets go of the open file and of its metadata until the next one is looked at: a scan has
    /// any number of files that wait for their turn.
    pub(crate) fn rest(&mut self) {
        self.source = None;
    }

    /// Returns true while the file is closed.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> bool {
        self.source.is_none()
    }

    /// Looks at the next one. Breaks when `visit` did or the budget ended before the rows.
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
