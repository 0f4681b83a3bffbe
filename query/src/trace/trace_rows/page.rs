//! The spans of several traces within one budget, whatever the size of the traces.
//!
//! Owns the rule by which a trace that does not fit is cut. A list must have a line for each of its
//! traces, and one enormous trace must not exclude the others. All traces are read in one scan.
//! When that exceeds the budget, the traces with the most spans keep a share of what was read, and
//! the others are read again without them. If even that exceeds the budget, they are read trace by
//! trace.

use std::{collections::HashMap, mem, ops::ControlFlow};

use ahash::RandomState;
use tidings_proto::TraceId;
use tidings_storage::{Projection, Scan, SpanFilter};

use super::{GatheredTraces, TraceFacts};
use crate::{QueryError, QueryLimits, execution::Reader};

/// Number of bytes of names that cost as much memory as a span.
const NAME_BYTES_PER_SPAN: u64 = 128;

/// Remaining budget of one scan.
#[derive(Debug, Clone, Copy)]
struct PageBudget {
    /// Number of distinct spans.
    spans: u64,
    /// Number of rows, repeated spans included.
    rows: u64,
}

impl GatheredTraces {
    /// Returns the facts of those of these traces that are stored. A trace that is too large is
    /// cut, and its facts are marked so.
    pub(crate) fn read_page(reader: &Reader, ids: &[TraceId]) -> Result<Self, QueryError> {
        let QueryLimits { page_spans_max, page_rows_max, .. } = reader.limits;
        let share = page_spans_max / 4 / (ids.len() as u64).max(1);
        let mut gathered = Self::default();
        let mut read: HashMap<TraceId, TraceFacts, RandomState> = HashMap::default();
        let mut open = ids.to_vec();
        for _ in 0..2 {
            let budget = PageBudget { spans: page_spans_max / 2, rows: page_rows_max };
            let is_all = gathered.read_within_budget(reader, &open, budget)?;
            let traces = mem::take(&mut gathered.traces);
            let most = traces.values().map(|facts| facts.rows).sum::<u64>() / open.len() as u64;
            let taken = traces.into_iter().filter(|(_, facts)| is_all || facts.rows >= most);
            read.extend(taken.map(|(id, facts)| (id, facts.truncated(is_all, share))));
            open.retain(|id| !is_all && !read.contains_key(id));
            if open.is_empty() {
                break;
            }
        }
        let rows = page_rows_max / (open.len() as u64).max(1);
        for id in open {
            let is_all =
                gathered.read_within_budget(reader, &[id], PageBudget { spans: share, rows })?;
            let traces = mem::take(&mut gathered.traces).into_iter();
            read.extend(traces.map(|(id, facts)| (id, facts.truncated(is_all, share))));
        }
        gathered.traces = read;
        Ok(gathered)
    }

    /// Reads the facts of these traces in one scan. Returns true when everything was read.
    fn read_within_budget(
        &mut self,
        reader: &Reader,
        ids: &[TraceId],
        budget: PageBudget,
    ) -> Result<bool, QueryError> {
        let filter = SpanFilter { trace_ids: Some(ids.to_vec()), ..SpanFilter::default() };
        let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
        let spans_before = self.spans;
        let (mut rows_met, mut is_all) = (0_u64, true);
        reader.spans(&filter, scan, |rows| {
            self.add(rows, false, 0);
            rows_met = rows_met.saturating_add(rows.len() as u64);
            let held = self.spans - spans_before + self.names.bytes / NAME_BYTES_PER_SPAN;
            is_all = held <= budget.spans && rows_met <= budget.rows;
            Ok(if is_all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(is_all)
    }
}

impl TraceFacts {
    /// Returns these facts, or a share of them when not everything was read.
    fn truncated(mut self, is_all: bool, share: u64) -> Self {
        self.finish();
        if !is_all {
            self.is_cut = true;
            let share = usize::try_from(share).unwrap_or(usize::MAX).max(1);
            self.facts.truncate(share);
            self.facts.shrink_to_fit();
            self.marks.truncate(share);
            let end = u32::try_from(share).unwrap_or(u32::MAX);
            self.repeats.split_off(&end);
        }
        self
    }
}
