//! Questions that storage answers as a whole, of what indexes list and of rows that these choose,
//! and scans of everything that matches, which two threads share.

use std::ops::ControlFlow;

use tidings_storage::{
    ExceptionBounds, ExceptionKey, ExceptionSums, ExceptionTallied, GraphBounds, GraphChoice,
    GraphTallied, LastException, Scan, ScanStats, SpanFilter, SpanRows,
};

use super::{Reader, STOP};
use crate::QueryError;

impl Reader {
    /// As [`Reader::spans`], with the next portions read while `visit` looks at one: for whoever
    /// wants them all.
    pub(crate) fn spans_ahead(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        mut visit: impl FnMut(&SpanRows) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        let mut failure = None;
        self.check()?;
        let stats = self.snapshot.scan_spans_ahead(filter, scan, &mut |rows| {
            self.step(visit(rows), STOP, &mut failure)
        })?;
        self.ended(stats, failure)
    }

    /// Calls between services in the newest traces that have a span like this, from rows.
    pub(crate) fn tally_graph_of(
        &self,
        bounds: &GraphBounds,
        choice: &GraphChoice,
    ) -> Result<GraphTallied, QueryError> {
        let mut failure = None;
        self.check()?;
        let tallied = self.snapshot.tally_graph_of(bounds, choice, &mut || {
            self.step(Ok(ControlFlow::Continue(())), STOP, &mut failure)
        })?;
        self.ended(tallied, failure)
    }

    /// Exceptions of spans, from the lists of files and from rows.
    pub(crate) fn tally_exceptions(
        &self,
        bounds: &ExceptionBounds,
    ) -> Result<ExceptionTallied, QueryError> {
        let mut failure = None;
        self.check()?;
        let tallied = self.snapshot.tally_exceptions(bounds, &mut || {
            self.step(Ok(ControlFlow::Continue(())), STOP, &mut failure)
        })?;
        self.ended(tallied, failure)
    }

    /// What the last of these exceptions said.
    pub(crate) fn last_exceptions(
        &self,
        groups: &[(&ExceptionKey, &ExceptionSums)],
    ) -> Result<(Vec<Option<LastException>>, ScanStats), QueryError> {
        self.check()?;
        Ok(self.snapshot.last_exceptions(groups)?)
    }
}
