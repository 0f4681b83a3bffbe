//! Adds up the calls of a data file while it is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use tidings_proto::{
    TraceId,
    otlp::{SpanKind, StatusCode},
};

use super::{
    Call, CallKey, Calls, LEVELS,
    cells::{Encoded, Groups},
};
use crate::{SpanRows, snapshot::project};

/// Cells that are held while a file is written: so many, and one more for every eight rows, but no
/// more than the last. When there are more, they are added up over longer periods.
const CELLS_MIN: usize = 16_384;
const ROWS_OF_CELL: usize = 8;
const CELLS_MAX: usize = 262_144;
/// A file with more groups has no rollups.
const GROUPS_MAX: usize = 65_536;
/// A set that has become larger is not worth clearing for every trace.
const SEEN_KEPT: usize = 4096;

/// What it looks at.
pub(super) const COLUMNS: [&str; 9] = [
    "start_unix_nanos",
    "end_unix_nanos",
    "trace_id",
    "span_id",
    "service",
    "name",
    "kind",
    "status_code",
    "content_hash",
];

/// The number of a group in its file.
pub(super) type GroupNumber = u32;

/// The calls by period and group.
type Cells = HashMap<(u64, GroupNumber), Calls>;

/// Takes the rows of one data file, a trace's rows in one run, and gives their calls.
#[derive(Debug, Default)]
pub(crate) struct RollupBuilder {
    rows: usize,
    /// The level whose periods are counted; beyond the last one there are no rollups.
    level: usize,
    groups: Groups,
    cells: Cells,
    trace: Option<TraceId>,
    /// The spans of the trace that came, by what they say.
    seen: HashSet<u64>,
}

impl RollupBuilder {
    /// Whether it looks at the column.
    pub(crate) fn needs(column: &str) -> bool {
        COLUMNS.contains(&column)
    }

    /// One that has no rollups to give.
    pub(crate) fn nothing() -> Self {
        Self { level: LEVELS.len(), ..Self::default() }
    }

    /// Adds the next rows of the file.
    ///
    /// # Errors
    /// When a column has another type than the table's.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if self.level >= LEVELS.len() {
            return Ok(());
        }
        let rows = SpanRows::of(&project(batch, COLUMNS.into_iter())?)?;
        let mut known: HashMap<(&str, &str, SpanKind, StatusCode), GroupNumber> = HashMap::new();
        for row in 0..rows.len() {
            self.rows += 1;
            if !self.is_new(&rows, row) {
                continue;
            }
            let key = CallKey::of(&rows, row);
            let of_batch = (key.service, key.operation, key.kind, key.status);
            let group = *known.entry(of_batch).or_insert_with(|| self.groups.number(key));
            let call = Call::of(&rows, row);
            let period = call.exemplar.start_unix_nano.0 / LEVELS[self.level];
            self.cells.entry((period, group)).or_default().add(&call);
            // Not once per batch: how rows are cut up must not show.
            self.shrink();
            if self.level >= LEVELS.len() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the span is not in the file already.
    fn is_new(&mut self, rows: &SpanRows, row: usize) -> bool {
        let trace = Some(rows.trace_id(row));
        if self.trace != trace {
            self.trace = trace;
            if self.seen.len() > SEEN_KEPT {
                self.seen = HashSet::new();
            }
            self.seen.clear();
        }
        self.seen.insert(rows.content_hash(row))
    }

    fn shrink(&mut self) {
        let cells_max = (CELLS_MIN + self.rows / ROWS_OF_CELL).min(CELLS_MAX);
        while self.cells.len() > cells_max && self.level < LEVELS.len() {
            self.level += 1;
            if let Some(length) = LEVELS.get(self.level) {
                let factor = length / LEVELS[self.level - 1];
                self.cells = longer(std::mem::take(&mut self.cells), factor);
            }
        }
        if self.groups.len() > GROUPS_MAX {
            self.level = LEVELS.len();
        }
        if self.level == LEVELS.len() {
            (self.cells, self.groups) = Default::default();
        }
    }

    /// The bytes of the section and of its pages, which will start at this offset of the file.
    pub(crate) fn finish(self, offset: u64) -> (Vec<u8>, Vec<u8>) {
        let mut encoded = Encoded::new(&self.groups, self.rows, offset);
        let mut cells = self.cells;
        for (level, length) in LEVELS.iter().enumerate().skip(self.level) {
            let sorted: BTreeMap<_, _> = cells.into_iter().collect();
            encoded.push_level(level, &sorted);
            let factor = LEVELS.get(level + 1).map_or(1, |longer| longer / length);
            cells = longer(sorted, factor);
        }
        encoded.finish()
    }
}

/// The same calls over periods that are so many times as long.
fn longer(cells: impl IntoIterator<Item = ((u64, GroupNumber), Calls)>, factor: u64) -> Cells {
    let mut sum = Cells::new();
    for ((period, group), calls) in cells {
        sum.entry((period / factor, group)).or_default().merge(&calls);
    }
    sum
}
