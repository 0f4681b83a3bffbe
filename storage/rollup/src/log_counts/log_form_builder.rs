//! Counts the log records of a data file by the forms of their messages.

use std::collections::HashMap;

use ahash::RandomState;

use super::{
    FormBucket, MINUTE, MinuteCells, SeverityGroup,
    log_form_section::{self, FormSums, MessageGroup},
    message_form::FormWriter,
};
use crate::limit;

/// Maximum number of forms. A file with more has no counts by form.
const FORMS_MAX: usize = 4_096;
/// Maximum bytes of all forms. A file with more has no counts by form.
const FORM_BYTES_MAX: usize = 1 << 19;
/// Maximum number of buckets. A file with more has no counts by form.
const CELLS_MAX: usize = 1 << 18;

/// Takes the records of one data file, each once, and counts them by form.
#[derive(Debug, Default)]
pub(crate) struct LogFormBuilder {
    groups: Vec<MessageGroup>,
    /// Numbers of the groups by the number of their severity group and by form.
    numbers: Vec<HashMap<String, u32, RandomState>>,
    form_bytes: usize,
    /// Buckets of the groups.
    cells: MinuteCells<FormBucket>,
    records: u64,
    writer: FormWriter,
    is_full: bool,
}

impl LogFormBuilder {
    /// Returns a builder without counts.
    pub(crate) fn disabled() -> Self {
        Self { is_full: true, ..Self::default() }
    }

    /// Counts a record of this time and content hash in the severity group with this number.
    pub(crate) fn count(&mut self, (time, hash): (u64, u64), severity_group: u32, text: &str) {
        if self.is_full {
            return;
        }
        let Some(group) = self.group(severity_group, text) else {
            *self = Self::disabled();
            return;
        };
        self.records += 1;
        let mut bucket = FormBucket::at(time);
        bucket.add(time, hash);
        self.cells.add(time / MINUTE, group, bucket);
        if self.cells.closed_count() > CELLS_MAX {
            *self = Self::disabled();
        }
    }

    /// Returns the number of the group. `None` when there are too many groups.
    fn group(&mut self, severity_group: u32, text: &str) -> Option<u32> {
        let of_severity = severity_group as usize;
        if self.numbers.len() <= of_severity {
            self.numbers.resize_with(of_severity + 1, HashMap::default);
        }
        let form = self.writer.write(text);
        let numbers = &mut self.numbers[of_severity];
        if let Some(number) = numbers.get(form) {
            return Some(*number);
        }
        self.form_bytes += form.len();
        if self.groups.len() == limit(FORMS_MAX) || self.form_bytes > FORM_BYTES_MAX {
            return None;
        }
        let number = u32::try_from(self.groups.len()).ok()?;
        numbers.insert(form.to_owned(), number);
        self.groups.push(MessageGroup { severity_group, form: form.to_owned() });
        Some(number)
    }

    /// Returns the bytes of the section and of its page, which starts at this offset of the file.
    pub(crate) fn finish(self, severities: &[SeverityGroup], offset: u64) -> (Vec<u8>, Vec<u8>) {
        let cells = self.cells.into_sorted();
        if self.is_full || cells.len() > CELLS_MAX {
            return log_form_section::empty_section();
        }
        let sums = FormSums { severities, groups: &self.groups, cells: &cells };
        log_form_section::encode(&sums, self.records, offset)
    }
}
