//! Log records counted by minute, beside every data file of log records: by service and severity, and
//! by the form of the message.
//!
//! `log_count_builder` counts the records of a file while its index is made, each once.
//! `log_count_section` encodes the counts by severity, `log_count_query` adds those of a snapshot up.
//! `log_form_builder`, `log_form_section` and `log_form_query` do the same by form, and
//! `message_form` has the form of a message. `count_plan` finds the minutes whose counts hold.
//!
//! A record is in two sources when it was sent again, and both times it has the same time. So the
//! counts of a minute hold where no two sources have records of one time in it, which the first and
//! the last time of each source in the minute show. Of all other times, and of memory, rows are
//! counted. An answer from counts equals the answer from rows.

mod count_plan;
mod log_count_builder;
mod log_count_query;
mod log_count_section;
mod log_form_builder;
mod log_form_query;
mod log_form_section;
mod message_form;

pub use log_count_query::CountedLogs;
pub use log_form_query::{CountedForms, FormRecords};
pub use message_form::{FORM_WILDCARD, FormWriter};

pub(crate) use log_count_builder::LogCountBuilder;
pub(crate) use log_count_section::{CountPages, LogCountSection};
pub(crate) use log_form_section::{FormPage, LogFormSection};

use std::sync::Arc;

use tidings_proto::UnixNanos;

use super::SECOND;

/// Records are counted by periods of this length, counted from 1970.
const MINUTE: u64 = 60 * SECOND;

/// The records of a step, a service and a severity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCountCell {
    /// Start of the step.
    pub step: UnixNanos,
    /// `service.name`; empty when not known.
    pub service: Arc<str>,
    /// OTLP's severity number, or what was sent as one.
    pub severity_number: i32,
    /// Number of records.
    pub count: u64,
}

/// The group that a record is counted in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SeverityGroup {
    service: String,
    severity_number: i32,
}

/// The records of a minute in one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MinuteTimes {
    /// Number of the minute, counted from 1970.
    minute: u64,
    /// The earliest time of its records, in nanoseconds.
    first: u64,
    /// The latest.
    last: u64,
}

impl MinuteTimes {
    fn at(time: u64) -> Self {
        Self { minute: time / MINUTE, first: time, last: time }
    }

    fn add(&mut self, time: u64) {
        (self.first, self.last) = (self.first.min(time), self.last.max(time));
    }
}

/// The number of records of a minute in a group, by the group's number.
pub(crate) type GroupCount = (u32, u64);

/// The records of a minute that have one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormCell {
    /// Number of records.
    count: u64,
    /// The earliest time, in nanoseconds.
    first: u64,
    /// The latest.
    last: u64,
    /// The greatest content hash of the records of the latest time.
    last_hash: u64,
}

impl FormCell {
    /// No records yet, of which this will be the first.
    fn at(time: u64) -> Self {
        Self { count: 0, first: time, last: time, last_hash: 0 }
    }

    fn add(&mut self, time: u64, hash: u64) {
        self.count += 1;
        self.first = self.first.min(time);
        (self.last, self.last_hash) = (self.last, self.last_hash).max((time, hash));
    }
}

#[cfg(test)]
mod tests;
