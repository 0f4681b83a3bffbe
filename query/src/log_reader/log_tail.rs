//! Log tail: records that are new since the previous poll.
//!
//! A record is new when it was not shown before and its own time is at most [`LATE_NANOS`] ago.
//! Older ones are found by a search only. Owns the deduplication set of shown records, within
//! bounds. A poll returns the keys to add to the set, so a poll that fails or is abandoned loses no
//! record.

use std::{collections::BTreeSet, ops::ControlFlow, slice};

use tidings_proto::{UnixNanos, api::LogView};
use tidings_storage::{LogFilter, Projection, Scan, TimeRange};

use super::{RecordKey, read};
use crate::{QueryError, cursor::LogOrder, execution::Reader};

/// Maximum delay of a record after its own time.
const LATE_NANOS: u64 = 60_000_000_000;
/// Maximum number of shown records remembered.
const SHOWN_MAX: usize = 100_000;
/// Maximum number of records returned at a time, the newest; the others are counted.
const RECORDS_MAX: usize = 500;

/// Deduplication set of shown records.
#[derive(Debug, Clone)]
pub(crate) struct ShownRecords {
    /// Time before which no record is read.
    from: UnixNanos,
    /// Key up to which no record is new.
    after: Option<RecordKey>,
    keys: BTreeSet<RecordKey>,
}

/// Keys that a poll adds to the deduplication set.
#[derive(Debug)]
pub(crate) struct AddedKeys {
    keys: BTreeSet<RecordKey>,
    /// Time before which no record is read from now on.
    from: UnixNanos,
}

/// New records of one poll.
#[derive(Debug, Default)]
pub struct NewRecords {
    /// The newest of these records, oldest first.
    pub logs: Vec<LogView>,
    /// Number of further new records that were left out.
    pub dropped: u64,
}

impl ShownRecords {
    /// Starts a tail without shown records: every record from now on is new.
    pub(crate) fn from_now(now: UnixNanos) -> Self {
        let from = UnixNanos(now.0.saturating_sub(LATE_NANOS));
        Self { from, after: None, keys: BTreeSet::new() }
    }

    /// Starts a tail after this key.
    pub(crate) fn after_key(key: RecordKey) -> Self {
        Self { from: key.0, after: Some(key), keys: BTreeSet::new() }
    }

    /// Marks the existing records as shown.
    pub(crate) fn skip(
        &self,
        reader: &Reader,
        filter: &LogFilter,
    ) -> Result<AddedKeys, QueryError> {
        let (_, _, added) = self.poll(reader, filter, 0)?;
        Ok(added)
    }

    /// Polls for records that are not in the set. Returns them, and the keys to add.
    pub(crate) fn poll_new(
        &self,
        reader: &Reader,
        filter: &LogFilter,
    ) -> Result<(NewRecords, AddedKeys), QueryError> {
        let (keys, dropped, added) = self.poll(reader, filter, RECORDS_MAX)?;
        let new = keys.len();
        let filters = slice::from_ref(filter);
        let mut logs = read(reader, filters, LogOrder::Newest, keys)?.logs;
        logs.reverse();
        Ok((NewRecords { dropped: dropped + (new - logs.len()) as u64, logs }, added))
    }

    /// Adds the keys of a poll, and removes those that are too old to arrive again.
    pub(crate) fn add(&mut self, added: AddedKeys) {
        self.from = added.from;
        self.keys.extend(added.keys);
        while self.keys.len() > SHOWN_MAX
            && let Some(oldest) = self.keys.pop_first()
        {
            self.from = self.from.max(after(oldest));
        }
        self.keys = self.keys.split_off(&(self.from, 0));
    }

    /// Returns the newest new keys, the number of further ones, and all added keys.
    fn poll(
        &self,
        reader: &Reader,
        filter: &LogFilter,
        records_max: usize,
    ) -> Result<(BTreeSet<RecordKey>, u64, AddedKeys), QueryError> {
        let time = TimeRange { start: Some(self.from), end: None };
        let filter = LogFilter { time, ..filter.clone() };
        let (mut new, mut dropped) = (BTreeSet::new(), 0);
        let mut added = AddedKeys { keys: BTreeSet::new(), from: self.from };
        let rows_max = reader.settings.search_rows_max;
        reader.logs(&filter, Scan { detail: Projection::Keys, rows_max }, |rows| {
            for row in 0..rows.len() {
                let key = (rows.time(row), rows.content_hash(row));
                // Removed keys lie before `from`, which moves while rows are read.
                let is_old = key.0 < added.from || self.after.is_some_and(|after| key <= after);
                if is_old || self.keys.contains(&key) || !added.keys.insert(key) {
                    continue;
                }
                new.insert(key);
                if new.len() > records_max {
                    new.pop_first();
                    dropped += 1;
                }
                if added.keys.len() > SHOWN_MAX
                    && let Some(oldest) = added.keys.pop_first()
                {
                    added.from = added.from.max(after(oldest));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let late = UnixNanos(reader.now.0.saturating_sub(LATE_NANOS));
        added.from = added.from.max(late);
        Ok((new, dropped, added))
    }
}

/// Returns the time directly after that of a record.
fn after(record: RecordKey) -> UnixNanos {
    UnixNanos(record.0.0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        time::{Duration, Instant},
    };

    use tidings_proto::{
        UnixNanos,
        otlp::{ExportLogsServiceRequest, LogRecord, ResourceLogs, ScopeLogs},
    };
    use tidings_storage::{Clock, LogFilter, Store, StoreSettings, SystemClock, TelemetryBatch};

    use super::ShownRecords;
    use crate::{
        QueryError, QueryLimits,
        execution::{BoundedSnapshot, Reader},
    };

    const NOW: UnixNanos = UnixNanos(1_795_161_600_000_000_000);

    /// Clock whose deadline passes after this number of checks.
    #[derive(Debug)]
    struct LapsingClock {
        start: Instant,
        looks: AtomicUsize,
    }

    impl Clock for LapsingClock {
        fn now(&self) -> UnixNanos {
            NOW
        }

        fn instant(&self) -> Instant {
            let less = |looks: usize| looks.checked_sub(1);
            match self.looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
                Ok(_) => self.start,
                Err(_) => self.start + Duration::from_secs(60),
            }
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::pending())
        }
    }

    fn reader(store: &Store, looks: usize) -> Reader {
        let start = SystemClock.instant();
        let clock = Arc::new(LapsingClock { start, looks: AtomicUsize::new(looks) });
        let stop = Arc::new(AtomicBool::new(false));
        let deadline = start + Duration::from_secs(30);
        let bounded = BoundedSnapshot { snapshot: store.snapshot(), stop, clock, deadline };
        Reader::over(bounded, QueryLimits::default())
    }

    #[tokio::test]
    async fn records_of_a_poll_that_fails_are_new_in_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
        let (store, _) = Store::open(settings, Arc::new(SystemClock)).await.unwrap();
        let log_records = (1..=3).map(|n| LogRecord {
            time_unix_nano: NOW.0 + n,
            body: Some("said".into()),
            ..LogRecord::default()
        });
        let scope_logs =
            vec![ScopeLogs { log_records: log_records.collect(), ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        let request = ExportLogsServiceRequest { resource_logs };
        store.append(TelemetryBatch::Logs { request, bytes: None }).await.unwrap();
        let filter = LogFilter::default();
        let mut shown = ShownRecords::from_now(NOW);
        let mut failed = 0;
        // The deadline passes at each of the positions where a poll checks it.
        let (new_records, added) = loop {
            match shown.poll_new(&reader(&store, failed), &filter) {
                Ok(polled) => break polled,
                Err(QueryError::Deadline { .. }) => failed += 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(failed >= 4, "keys and records are read in two scans: {failed}");
        assert_eq!((new_records.logs.len(), new_records.dropped), (3, 0));
        shown.add(added);
        let (new_records, _) = shown.poll_new(&reader(&store, usize::MAX), &filter).unwrap();
        assert_eq!((new_records.logs.len(), new_records.dropped), (0, 0));
    }
}
