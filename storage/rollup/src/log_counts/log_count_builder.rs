//! Counts the log records of a data file by severity and by form, in the order of the file.

use std::collections::{BTreeMap, HashMap, HashSet};

use ahash::RandomState;
use arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use tidings_columns::{
    rows::column::{OptionalColumn, WordColumn, word},
    schema::SignalSchema,
};
use tidings_proto::Signal;

use super::{
    MINUTE, MinuteCells, MinuteTimes, SeverityGroup, log_count_section,
    log_form_builder::LogFormBuilder, log_form_section,
};
use crate::limit;

/// Columns that the builder reads.
const COLUMNS: [&str; 5] =
    ["time_unix_nanos", "severity_number", "content_hash", "service", "text"];
/// Maximum number of buckets. A file with more has no counts.
const CELLS_MAX: usize = 1 << 17;
/// Maximum bytes of the names of all groups. A file with more has no counts.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// Capacity above which the set of hashes is replaced and not cleared for the next time.
const SEEN_KEPT_MAX: usize = 64;
/// Maximum number of distinct records of one time. A file with more has no counts.
const SEEN_MAX: usize = 1 << 20;

/// Takes the rows of one data file and counts each record once.
#[derive(Debug, Default)]
pub struct LogCountBuilder {
    groups: Vec<SeverityGroup>,
    numbers: HashMap<SeverityGroup, u32, RandomState>,
    group_bytes: usize,
    minutes: BTreeMap<u64, MinuteTimes>,
    /// Times of the last records, which had one minute. A file has the records of a service by time,
    /// so that many in a row have.
    open_minute: Option<MinuteTimes>,
    /// Numbers of records.
    cells: MinuteCells<u64>,
    forms: LogFormBuilder,
    /// Time and content hash of the first of the previous records with one time. Equal records have
    /// one time and one service, so a file has them side by side.
    first_seen: Option<(u64, u64)>,
    /// Content hashes of the others. Most records are alone with their time.
    seen: HashSet<u64, RandomState>,
    is_full: bool,
}

impl LogCountBuilder {
    /// Returns a builder without counts.
    pub fn disabled() -> Self {
        Self { is_full: true, forms: LogFormBuilder::disabled(), ..Self::default() }
    }

    /// Returns true if the builder reads this column.
    pub fn needs(column: &str) -> bool {
        COLUMNS.contains(&column)
    }

    /// Adds the next rows.
    ///
    /// # Errors
    /// When a column is missing or has another type than the table's.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let times = OptionalColumn::<Int64Array>::from_batch(batch, Signal::Logs.time_column())?;
        let severities = OptionalColumn::<Int32Array>::from_batch(batch, "severity_number")?;
        let hashes = OptionalColumn::<Int64Array>::from_batch(batch, "content_hash")?;
        let services = WordColumn::from_batch(batch, "service")?;
        let texts = OptionalColumn::<StringArray>::from_batch(batch, "text")?;
        // Numbers of groups by the words of this batch. Each text is therefore looked up only once.
        let mut of_words: HashMap<(Option<usize>, i32), u32, RandomState> = HashMap::default();
        for row in 0..batch.num_rows() {
            if self.is_full {
                return Ok(());
            }
            let (time, hash) = (times.unsigned(row), hashes.unsigned(row));
            if !self.is_new(time, hash) {
                continue;
            }
            if self.seen.len() > SEEN_MAX {
                *self = Self::disabled();
                return Ok(());
            }
            let severity_number = severities.int(row).unwrap_or_default();
            let of_word = (services.as_ref().and_then(|words| words.key(row)), severity_number);
            let group = match of_words.get(&of_word) {
                Some(group) => *group,
                None => {
                    let service = word(services.as_ref(), row).to_owned();
                    let Some(group) = self.group(SeverityGroup { service, severity_number }) else {
                        break;
                    };
                    of_words.insert(of_word, group);
                    group
                }
            };
            self.count(time, group);
            self.forms.count((time, hash), group, texts.text(row).unwrap_or_default());
        }
        Ok(())
    }

    fn is_new(&mut self, time: u64, hash: u64) -> bool {
        if let Some((of_first, first)) = self.first_seen
            && of_first == time
        {
            return first != hash && self.seen.insert(hash);
        }
        self.first_seen = Some((time, hash));
        if self.seen.capacity() > SEEN_KEPT_MAX {
            self.seen = HashSet::default();
        } else if !self.seen.is_empty() {
            self.seen.clear();
        }
        true
    }

    /// Returns the number of the group. `None` when there are too many groups.
    fn group(&mut self, group: SeverityGroup) -> Option<u32> {
        if let Some(number) = self.numbers.get(&group) {
            return Some(*number);
        }
        self.group_bytes += group.service.len();
        let number = u32::try_from(self.groups.len()).ok();
        let number = number
            .filter(|number| (*number as usize) < limit(CELLS_MAX))
            .filter(|_| self.group_bytes <= GROUP_BYTES_MAX);
        let Some(number) = number else {
            *self = Self::disabled();
            return None;
        };
        self.groups.push(group.clone());
        self.numbers.insert(group, number);
        Some(number)
    }

    fn count(&mut self, time: u64, group: u32) {
        let minute = time / MINUTE;
        match &mut self.open_minute {
            Some(open) if open.minute == minute => open.add(time),
            _ => {
                self.close_minute();
                self.open_minute = Some(MinuteTimes::at(time));
            }
        }
        self.cells.add(minute, group, 1);
        if self.cells.closed_count() > limit(CELLS_MAX) {
            *self = Self::disabled();
        }
    }

    /// Adds the times of the open minute to those of all minutes.
    fn close_minute(&mut self) {
        let Some(open) = self.open_minute.take() else { return };
        let times = self.minutes.entry(open.minute).or_insert(open);
        times.add(open.first);
        times.add(open.last);
    }

    /// Returns the bytes of each section and of its pages: first the counts by severity, then those
    /// by form. The pages of the first start at this offset of the file, and those of the second
    /// follow.
    pub fn finish(mut self, offset: u64) -> [(Vec<u8>, Vec<u8>); 2] {
        let cells = std::mem::take(&mut self.cells).into_sorted();
        if self.is_full || cells.len() > limit(CELLS_MAX) {
            return [log_count_section::empty_section(), log_form_section::empty_section()];
        }
        self.close_minute();
        let minutes: Vec<_> = self.minutes.into_values().collect();
        let counts = log_count_section::encode(&self.groups, &minutes, &cells, offset);
        let forms = self.forms.finish(&self.groups, offset + counts.1.len() as u64);
        [counts, forms]
    }
}
