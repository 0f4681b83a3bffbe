//! Lists the exceptions of rows.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use ahash::RandomState;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use tidings_columns::{
    SpanRows,
    rows::{column::OptionalColumn, project},
};

use super::{ExceptionAttributes, ExceptionKey, List, ListedException, exception_section};
use crate::limit;

/// Columns that the builder reads.
pub const COLUMNS: [&str; 6] =
    ["start_unix_nanos", "service", "name", "content_hash", HAS_EXCEPTION, "events"];
const HAS_EXCEPTION: &str = "has_exception";
/// Maximum number of groups. A file with more has no list.
const GROUPS_MAX: usize = 65_536;
/// Maximum bytes of the names of all groups. A file with more has no list.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Maximum number of exceptions in a list. A single span may have half a million of a few bytes
/// each.
pub const LISTED_MAX: usize = 1 << 20;

/// Takes rows and lists their exceptions. Repeated spans are omitted.
#[derive(Debug, Default)]
pub struct ExceptionBuilder {
    rows: u64,
    /// Numbers of groups by the number of service and operation, the type and the stack. Service
    /// and operation of a span are looked up once for all of its exceptions.
    numbers: HashMap<(u32, String, u128), u32, RandomState>,
    callers: HashMap<(String, String), u32, RandomState>,
    list: List,
    /// Bytes of the names in the list.
    group_bytes: usize,
    /// Content hashes of the spans with exceptions so far.
    seen: HashSet<u64, RandomState>,
    is_full: bool,
}

impl ExceptionBuilder {
    /// Returns a builder that makes no list.
    pub fn disabled() -> Self {
        Self { is_full: true, ..Self::default() }
    }

    /// Adds the next rows.
    ///
    /// # Errors
    /// When a column is missing or has another type than the table's.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let first = self.rows;
        self.rows += batch.num_rows() as u64;
        let last = self.rows;
        self.add(batch, first..last, |_, _| true)?;
        if self.is_full {
            *self = Self::disabled();
        }
        Ok(())
    }

    /// Returns true if the list exceeded its limit and was dropped.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Adds the exceptions of the selected rows until the list is full. `places` has the row
    /// numbers for the list.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn add(
        &mut self,
        batch: &RecordBatch,
        places: impl Iterator<Item = u64>,
        keep: impl Fn(&SpanRows, usize) -> bool,
    ) -> Result<(), ArrowError> {
        if self.is_full || !has_any(batch)? {
            return Ok(());
        }
        let rows = SpanRows::from_batch(&project(batch, COLUMNS.into_iter())?)?;
        for (row, place) in (0..rows.len()).zip(places) {
            let content_hash = rows.content_hash(row);
            if !rows.has_exception(row) || !keep(&rows, row) || !self.seen.insert(content_hash) {
                continue;
            }
            let events = rows.events(row);
            let mut thrown = events.iter().filter_map(ExceptionAttributes::from_event).peekable();
            if thrown.peek().is_none() {
                continue;
            }
            let (start, caller) = (rows.start(row), self.caller(&rows, row));
            for exception in thrown {
                let has_room = self.list.exceptions.len() < limit(LISTED_MAX);
                let group = has_room.then(|| self.group(caller, (&rows, row), exception)).flatten();
                let Some(group) = group else {
                    self.is_full = true;
                    return Ok(());
                };
                self.list.exceptions.push(ListedException {
                    row: place,
                    group,
                    start,
                    content_hash,
                });
            }
        }
        Ok(())
    }

    fn caller(&mut self, rows: &SpanRows, row: usize) -> u32 {
        let caller = (rows.service(row).to_owned(), rows.name(row).to_owned());
        let next = u32::try_from(self.callers.len()).unwrap_or(u32::MAX);
        *self.callers.entry(caller).or_insert(next)
    }

    /// Returns the number of the group. `None` when there are too many groups.
    fn group(
        &mut self,
        caller: u32,
        (rows, row): (&SpanRows, usize),
        exception: ExceptionAttributes,
    ) -> Option<u32> {
        let stack = exception.stack_hash();
        let known = (caller, exception.exception_type, stack);
        if let Some(number) = self.numbers.get(&known) {
            return Some(*number);
        }
        let bytes = rows.service(row).len() + rows.name(row).len() + known.1.len();
        let number = self.list.groups.len();
        if number >= limit(GROUPS_MAX) || self.group_bytes + bytes > GROUP_BYTES_MAX {
            return None;
        }
        self.group_bytes += bytes;
        let (service, operation) = (rows.service(row).to_owned(), rows.name(row).to_owned());
        let exception_type = known.1.clone();
        self.list.groups.push(ExceptionKey { service, operation, exception_type, stack });
        let number = u32::try_from(number).ok()?;
        self.numbers.insert(known, number);
        Some(number)
    }

    /// Returns the list.
    pub fn into_list(self) -> List {
        self.list
    }

    /// Returns the bytes of the section and of its pages, which start at this offset of the file.
    pub fn finish(self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        if self.is_full {
            exception_section::empty_section()
        } else {
            exception_section::encode(&self.list, offset)
        }
    }
}

/// Returns true if any row has an exception.
fn has_any(batch: &RecordBatch) -> Result<bool, ArrowError> {
    let column = OptionalColumn::<BooleanArray>::from_batch(batch, HAS_EXCEPTION)?;
    Ok(column.0.is_some_and(|column| column.true_count() > 0))
}

/// Returns the rows of a batch that have an exception.
pub fn rows_with(batch: &RecordBatch) -> Result<Vec<usize>, ArrowError> {
    let column = OptionalColumn::<BooleanArray>::from_batch(batch, HAS_EXCEPTION)?;
    let all: Range<usize> = 0..batch.num_rows();
    Ok(all.filter(|row| column.truth(*row)).collect())
}
