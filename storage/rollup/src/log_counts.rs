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

use std::sync::Arc;

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

    /// Adds the records of another bucket of the same minute and form.
    pub(crate) fn join(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        let last = (other.last, other.last_hash);
        (self.last, self.last_hash) = (self.last, self.last_hash).max(last);
    }
}
