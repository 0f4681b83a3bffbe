//! Log records counted by minute, in the index of each data file of log records: by service and
//! severity, and by the form of the message.
//!
//! `log_count_builder` counts the records of a file while its index is made, each once.
//! `log_count_section` encodes the counts by severity. `log_form_builder` and `log_form_section` do
//! the same by form, and `message_form` computes the form of a message. `form_table` bounds the
//! forms of a query. `tidings_snapshot::rollup_query` answers queries.
//!
//! A record that was sent again is in two sources, with the same time in both. The counts of a
//! minute are therefore valid if the times of its sources do not overlap. The first and the last
//! time of each source in the minute show this. Files whose times overlap are compared by their
//! rows.

pub mod form_table;
mod log_count_builder;
pub mod log_count_section;
mod log_form_builder;
pub mod log_form_section;
mod message_form;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use ahash::RandomState;
use tidings_proto::UnixNanos;

use super::SECOND;

pub use form_table::{CutServices, FormBounds, FormRecords, FormSummary, FormTable, KeptForms};
pub use log_count_builder::LogCountBuilder;
pub use log_count_section::{CountPages, LogCountSection};
pub use log_form_section::{FormPage, LogFormSection};
pub use message_form::{FORM_WILDCARD, FormWriter};

/// Length of the counted periods. They are counted from 1970.
pub const MINUTE: u64 = 60 * SECOND;

/// Number of records of a step, a service and a severity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCountBucket {
    /// Start of the step.
    pub step: UnixNanos,
    /// `service.name`. Empty when it is unknown.
    pub service: Arc<str>,
    /// Severity number of OTLP, or any number that was sent in its place.
    pub severity_number: i32,
    /// Number of records.
    pub count: u64,
}

/// Group key of the counts: service and severity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeverityGroup {
    /// `service.name`. Empty when it is unknown.
    pub service: String,
    /// Severity number of OTLP, or any number that was sent in its place.
    pub severity_number: i32,
}

/// Times of the records of a minute in one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteTimes {
    /// Number of the minute, counted from 1970.
    pub minute: u64,
    /// Earliest time of the records, in nanoseconds.
    pub first: u64,
    /// Latest time of the records, in nanoseconds.
    pub last: u64,
}

impl MinuteTimes {
    /// Returns the times of a minute with one record, at this time in nanoseconds.
    pub fn at(time: u64) -> Self {
        Self { minute: time / MINUTE, first: time, last: time }
    }

    /// Adds a record of the same minute, at this time in nanoseconds.
    pub fn add(&mut self, time: u64) {
        (self.first, self.last) = (self.first.min(time), self.last.max(time));
    }
}

/// Number of a group and its number of records in a minute.
pub(crate) type GroupCount = (u32, u64);

/// Records of a minute with one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormBucket {
    /// Number of records.
    pub count: u64,
    /// Earliest time, in nanoseconds.
    pub first: u64,
    /// Latest time, in nanoseconds.
    pub last: u64,
    /// Greatest content hash of the records with the latest time.
    pub last_hash: u64,
}

impl FormBucket {
    /// Returns an empty bucket whose first record will have this time.
    pub fn at(time: u64) -> Self {
        Self { count: 0, first: time, last: time, last_hash: 0 }
    }

    /// Adds a record with this time in nanoseconds and this content hash.
    pub fn add(&mut self, time: u64, hash: u64) {
        self.count += 1;
        self.first = self.first.min(time);
        (self.last, self.last_hash) = (self.last, self.last_hash).max((time, hash));
    }
}

/// Total of the records of a minute and group.
trait RecordTotal {
    /// Adds the total of other records of the same minute and group.
    fn join(&mut self, other: Self);
}

impl RecordTotal for u64 {
    fn join(&mut self, other: Self) {
        *self += other;
    }
}

impl RecordTotal for FormBucket {
    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        let last = (other.last, other.last_hash);
        (self.last, self.last_hash) = (self.last, self.last_hash).max(last);
    }
}

/// Totals of a file's records by minute and group. A file has the records of a group by time, so
/// that a total is looked up once for all records of a minute.
#[derive(Debug)]
struct MinuteCells<T> {
    /// Minute of the last records of each group, and their total.
    open: Vec<(u64, T)>,
    /// Totals of closed minutes, by minute and group.
    closed: HashMap<(u64, u32), T, RandomState>,
}

impl<T> Default for MinuteCells<T> {
    fn default() -> Self {
        Self { open: Vec::new(), closed: HashMap::default() }
    }
}

impl<T: RecordTotal> MinuteCells<T> {
    /// Adds records. Groups are numbered in the order of their first records.
    fn add(&mut self, minute: u64, group: u32, total: T) {
        match self.open.get_mut(group as usize) {
            Some((of_open, open)) if *of_open == minute => open.join(total),
            Some(open) => {
                let (of_closed, closed) = std::mem::replace(open, (minute, total));
                self.close((of_closed, group), closed);
            }
            None => self.open.push((minute, total)),
        }
    }

    fn close(&mut self, at: (u64, u32), total: T) {
        match self.closed.entry(at) {
            Entry::Occupied(mut closed) => closed.get_mut().join(total),
            Entry::Vacant(place) => {
                place.insert(total);
            }
        }
    }

    /// Returns the number of totals of closed minutes.
    fn closed_count(&self) -> usize {
        self.closed.len()
    }

    /// Returns all totals by minute and group, ascending.
    fn into_sorted(mut self) -> Vec<((u64, u32), T)> {
        for (group, (minute, total)) in (0..).zip(std::mem::take(&mut self.open)) {
            self.close((minute, group), total);
        }
        let mut totals: Vec<_> = self.closed.into_iter().collect();
        totals.sort_unstable_by_key(|(at, _)| *at);
        totals
    }
}
