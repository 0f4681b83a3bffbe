//! Early results of a search: the first traces of a page, sent while the search continues.
//!
//! Owns when to send and which traces were sent. The search decides which traces are certain to be
//! next on the page, so that a trace is never retracted. Without a listener this costs nothing.
//! Traces that were sent are not read again for the page.

use std::{collections::HashMap, time::Duration};

use tidings_proto::{TraceId, api::TraceSummary};

use super::summaries;
use crate::{QueryError, execution::Reader};

/// A search may spend one part in this many of its time on early results.
const PART: u32 = 5;

/// Early results of one page.
pub(crate) struct EarlyResults<'a> {
    reader: &'a Reader,
    told: Vec<TraceSummary>,
    /// Time before which no further traces are sent.
    due: Duration,
}

impl<'a> EarlyResults<'a> {
    pub(crate) fn new(reader: &'a Reader) -> Self {
        Self { reader, told: Vec::new(), due: reader.limits.told_every }
    }

    /// Sends no early results.
    pub(crate) fn none(reader: &'a Reader) -> Self {
        Self { reader, told: Vec::new(), due: Duration::MAX }
    }

    /// Reports whether early results should be sent now.
    pub(crate) fn is_due(&self) -> bool {
        self.reader.is_heard() && self.reader.elapsed() >= self.due
    }

    /// Number of traces sent.
    pub(crate) fn count(&self) -> usize {
        self.told.len()
    }

    /// Sends these traces, which are the next of the page.
    pub(crate) fn tell(&mut self, ids: &[TraceId]) -> Result<(), QueryError> {
        let begun = self.reader.elapsed();
        let new = summaries(self.reader, ids)?;
        if !new.is_empty() {
            self.told.extend(new.iter().cloned());
            self.reader.tell(new);
        }
        let now = self.reader.elapsed();
        let pause = now.saturating_sub(begun).saturating_mul(PART - 1);
        self.due = now.saturating_add(pause.max(self.reader.limits.told_every));
        Ok(())
    }

    /// Returns the summaries of the page, in this order.
    pub(crate) fn page(self, ids: &[TraceId]) -> Result<Vec<TraceSummary>, QueryError> {
        if self.told.is_empty() {
            return summaries(self.reader, ids);
        }
        let told = self.told.into_iter().map(|summary| (summary.trace_id, summary));
        let mut known: HashMap<TraceId, TraceSummary> = told.collect();
        let open: Vec<TraceId> = ids.iter().filter(|id| !known.contains_key(id)).copied().collect();
        let read = summaries(self.reader, &open)?;
        known.extend(read.into_iter().map(|summary| (summary.trace_id, summary)));
        Ok(ids.iter().filter_map(|id| known.remove(id)).collect())
    }
}
