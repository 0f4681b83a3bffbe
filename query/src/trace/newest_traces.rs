//! Finds the traces with the newest spans of a scan.

use std::collections::HashMap;

use tidings_proto::{TraceId, UnixNanos};
use tidings_storage::{RowsNeeded, Scan, ScanStats};

/// The traces with the newest spans so far.
#[derive(Debug)]
pub struct NewestTraces {
    count: usize,
    starts: HashMap<TraceId, UnixNanos>,
    /// Time after which all spans were read.
    reached: UnixNanos,
}

impl NewestTraces {
    /// Creates a list of at most this number of traces.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { count, starts: HashMap::new(), reached: UnixNanos(u64::MAX) }
    }

    /// Adds a span.
    pub fn add(&mut self, trace_id: TraceId, start: UnixNanos) {
        let known = self.starts.entry(trace_id).or_insert(start);
        *known = start.max(*known);
    }

    /// Returns how far back the scan must go after it has read all spans that start after
    /// `reached`.
    pub fn rows_needed(&mut self, reached: UnixNanos) -> RowsNeeded {
        self.reached = reached;
        // Between two portions there are never more than this number.
        if self.starts.len() > self.count {
            let mut starts: Vec<UnixNanos> = self.starts.values().copied().collect();
            let place = starts.len() - self.count;
            let (_, oldest, _) = starts.select_nth_unstable(place);
            let oldest = *oldest;
            self.starts.retain(|_, start| *start >= oldest);
        }
        if self.starts.len() < self.count {
            return RowsNeeded::All;
        }
        self.starts.values().min().map_or(RowsNeeded::All, |oldest| RowsNeeded::Since(*oldest))
    }

    /// Reports whether the list is certain: the scan ended by itself, or because the list was full.
    /// It is not certain when the row budget ran out first.
    #[must_use]
    pub fn is_exact(&self, scan: Scan, stats: ScanStats) -> bool {
        let is_full = self.starts.len() >= self.count;
        let has_newest = || self.starts.values().all(|start| *start > self.reached);
        stats.complete || (is_full && (stats.rows < scan.rows_max || has_newest()))
    }

    /// Returns the list, newest first, then by id.
    #[must_use]
    pub fn into_list(self) -> Vec<(TraceId, UnixNanos)> {
        let mut list: Vec<(TraceId, UnixNanos)> = self.starts.into_iter().collect();
        list.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        list.truncate(self.count);
        list
    }
}
