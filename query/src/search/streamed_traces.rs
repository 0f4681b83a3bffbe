//! Streamed results of a search: the first traces of a page, sent while the search continues.
//!
//! Owns when to send and which traces were sent. The search decides which traces are certain to be
//! next on the page, so that a trace is never retracted. Without a listener this costs nothing.
//! Traces that were sent are not read again for the page.

use std::{collections::HashMap, time::Duration};

use tidings_proto::{TraceId, api::TraceSummary};

use super::summaries;
use crate::{QueryError, execution::Reader};

/// Divisor of the time of a search: the part that it may spend on streaming.
const TIME_DIVISOR: u32 = 5;

/// Traces of one page that are sent before the page is complete.
pub(crate) struct StreamedTraces<'a> {
    reader: &'a Reader,
    sent: Vec<TraceSummary>,
    /// Time before which no further traces are sent.
    due: Duration,
}

impl<'a> StreamedTraces<'a> {
    pub(crate) fn new(reader: &'a Reader) -> Self {
        Self { reader, sent: Vec::new(), due: reader.limits.stream_interval }
    }

    /// Creates a page that is not streamed.
    pub(crate) fn disabled(reader: &'a Reader) -> Self {
        Self { reader, sent: Vec::new(), due: Duration::MAX }
    }

    /// Reports whether further traces should be sent now.
    pub(crate) fn is_due(&self) -> bool {
        self.reader.has_listener() && self.reader.elapsed() >= self.due
    }

    /// Number of traces sent.
    pub(crate) fn count(&self) -> usize {
        self.sent.len()
    }

    /// Sends these traces, which are the next of the page.
    pub(crate) fn send(&mut self, ids: &[TraceId]) -> Result<(), QueryError> {
        let begun = self.reader.elapsed();
        let new = summaries(self.reader, ids)?;
        if !new.is_empty() {
            self.sent.extend(new.iter().cloned());
            self.reader.stream_traces(new);
        }
        let now = self.reader.elapsed();
        let pause = now.saturating_sub(begun).saturating_mul(TIME_DIVISOR - 1);
        self.due = now.saturating_add(pause.max(self.reader.limits.stream_interval));
        Ok(())
    }

    /// Returns the summaries of the page, in this order.
    pub(crate) fn page(self, ids: &[TraceId]) -> Result<Vec<TraceSummary>, QueryError> {
        if self.sent.is_empty() {
            return summaries(self.reader, ids);
        }
        let sent = self.sent.into_iter().map(|summary| (summary.trace_id, summary));
        let mut known: HashMap<TraceId, TraceSummary> = sent.collect();
        let open: Vec<TraceId> = ids.iter().filter(|id| !known.contains_key(id)).copied().collect();
        let read = summaries(self.reader, &open)?;
        known.extend(read.into_iter().map(|summary| (summary.trace_id, summary)));
        Ok(ids.iter().filter_map(|id| known.remove(id)).collect())
    }
}
