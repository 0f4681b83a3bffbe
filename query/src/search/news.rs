//! The first traces of a page, told while the search for the others goes on.
//!
//! Owns when to tell and what was told. Which traces are certain to be the next of the page is
//! known to the search: what is told is never taken back. Costs nothing where nobody listens, and
//! little otherwise: what was told is not read again for the page.

use std::{collections::HashMap, time::Duration};

use tidings_proto::{TraceId, api::TraceSummary};

use super::summaries;
use crate::{QueryError, execution::Reader};

/// The part of its time that a search may spend on telling is one of so many.
const PART: u32 = 5;

/// What is told of one page.
pub(crate) struct News<'a> {
    reader: &'a Reader,
    told: Vec<TraceSummary>,
    /// Nothing more is told until so much time has passed.
    due: Duration,
}

impl<'a> News<'a> {
    pub(crate) fn new(reader: &'a Reader) -> Self {
        Self { reader, told: Vec::new(), due: reader.limits.told_every }
    }

    /// Tells nothing.
    pub(crate) fn none(reader: &'a Reader) -> Self {
        Self { reader, told: Vec::new(), due: Duration::MAX }
    }

    /// Whether to tell now what there is.
    pub(crate) fn is_due(&self) -> bool {
        self.reader.is_heard() && self.reader.elapsed() >= self.due
    }

    /// How many traces were told.
    pub(crate) fn count(&self) -> usize {
        self.told.len()
    }

    /// Tells these traces, which are the next of the page.
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

    /// The summaries of the page, in this order.
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
