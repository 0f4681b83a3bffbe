//! Log tail: records that are new since the previous poll.
//!
//! A record is new when it was not shown before and its own time is at most [`LATE_NANOS`] ago.
//! Later ones are found by searching. Owns the deduplication set of shown records, within bounds.

use std::{collections::BTreeSet, ops::ControlFlow, slice};

use tidings_proto::{UnixNanos, api::LogView};
use tidings_storage::{Detail, LogFilter, Scan, TimeRange};

use super::{RecordKey, read};
use crate::{QueryError, cursor::LogOrder, execution::Reader};

/// A record may come so long after its own time.
const LATE_NANOS: u64 = 60_000_000_000;
/// Maximum number of shown records remembered.
const SHOWN_MAX: usize = 100_000;
/// Maximum number of records returned at a time, the newest; the others are counted.
const GIVEN_MAX: usize = 500;

/// Deduplication set of shown records.
#[derive(Debug)]
pub(crate) struct ShownRecords {
    /// Nothing before this is looked at.
    from: UnixNanos,
    /// Nothing up to this is new.
    after: Option<RecordKey>,
    keys: BTreeSet<RecordKey>,
}

/// New records of one poll.
#[derive(Debug, Default)]
pub(crate) struct NewRecords {
    /// The newest of it, oldest first.
    pub(crate) logs: Vec<LogView>,
    /// Number of further new records that were left out.
    pub(crate) dropped: u64,
}

impl ShownRecords {
    /// Nothing yet: new is what comes from now on.
    pub(crate) fn nothing(now: UnixNanos) -> Self {
        let from = UnixNanos(now.0.saturating_sub(LATE_NANOS));
        Self { from, after: None, keys: BTreeSet::new() }
    }

    /// Everything up to this.
    pub(crate) fn until(key: RecordKey) -> Self {
        Self { from: key.0, after: Some(key), keys: BTreeSet::new() }
    }

    /// Takes what there is as shown.
    pub(crate) fn skip(&mut self, reader: &Reader, filter: &LogFilter) -> Result<(), QueryError> {
        self.look(reader, filter, 0).map(drop)
    }

    /// Polls for records that are new since the last poll.
    pub(crate) fn news(
        &mut self,
        reader: &Reader,
        filter: &LogFilter,
    ) -> Result<NewRecords, QueryError> {
        let (keys, dropped) = self.look(reader, filter, GIVEN_MAX)?;
        let new = keys.len();
        let filters = slice::from_ref(filter);
        let mut logs = read(reader, filters, LogOrder::Newest, keys)?.logs;
        logs.reverse();
        Ok(NewRecords { dropped: dropped + (new - logs.len()) as u64, logs })
    }

    /// The newest new keys, and how many more there are.
    fn look(
        &mut self,
        reader: &Reader,
        filter: &LogFilter,
        given_max: usize,
    ) -> Result<(BTreeSet<RecordKey>, u64), QueryError> {
        let time = TimeRange { start: Some(self.from), end: None };
        let filter = LogFilter { time, ..filter.clone() };
        let (mut new, mut dropped) = (BTreeSet::new(), 0);
        let rows_max = reader.settings.search_rows_max;
        reader.logs(&filter, Scan { detail: Detail::Keys, rows_max }, |rows| {
            for row in 0..rows.len() {
                let key = (rows.time(row), rows.content_hash(row));
                // What was forgotten lies before `from`, which moves while rows come.
                let is_old = key.0 < self.from || self.after.is_some_and(|after| key <= after);
                if is_old || !self.keys.insert(key) {
                    continue;
                }
                new.insert(key);
                if new.len() > given_max {
                    new.pop_first();
                    dropped += 1;
                }
                if self.keys.len() > SHOWN_MAX
                    && let Some((time, _)) = self.keys.pop_first()
                {
                    self.from = self.from.max(UnixNanos(time.0.saturating_add(1)));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let late = UnixNanos(reader.now.0.saturating_sub(LATE_NANOS));
        self.from = self.from.max(late);
        self.keys = self.keys.split_off(&(self.from, 0));
        Ok((new, dropped))
    }
}
