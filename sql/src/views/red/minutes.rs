//! Rows of `red`, made while calls arrive. The rows of an hour are passed on when all of its calls
//! have arrived, so that at most an hour's rows are held. Where some rollups cannot be read, all
//! calls are read again, and the rows that were passed on before are left out.

use std::{
    collections::HashMap,
    fmt, mem,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, SchemaRef};
use tidings_proto::{
    UnixNanos,
    otlp::{SpanKind, StatusCode},
};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, Calls, RollupBucket,
};

use super::{MINUTE, SCHEMA, durations, minutes};
use crate::{SqlError, limits::BATCH_ROWS, scan::RowOutput};

/// Memory of a row without its durations, and of a group without its names, in bytes.
const BYTES_EACH: usize = 320;
/// Bytes that are counted between two checks of the budget.
const BYTES_BETWEEN_CHECKS: usize = 1 << 20;
/// Number of the columns before those of durations.
const LEADING_COLUMNS: usize = 7;

/// Destination of rows.
pub(super) struct RowSink<'o, 'q> {
    columns: &'o [usize],
    schema: SchemaRef,
    out: Mutex<RowSinkState<'o, 'q>>,
}

struct RowSinkState<'o, 'q> {
    out: &'o mut RowOutput<'q>,
    /// The rows of this minute and of later ones were passed on.
    given_from: u64,
    /// True when no more rows are needed.
    is_done: bool,
    failure: Option<SqlError>,
}

impl fmt::Debug for RowSink<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowSink").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<'o, 'q> RowSink<'o, 'q> {
    pub(super) fn new(out: &'o mut RowOutput<'q>, columns: &'o [usize]) -> Self {
        let schema = SCHEMA.project(columns).map_or_else(|_| Arc::clone(&SCHEMA), Arc::new);
        Self {
            columns,
            schema,
            out: Mutex::new(RowSinkState {
                out,
                given_from: u64::MAX,
                is_done: false,
                failure: None,
            }),
        }
    }

    /// Reports whether duration columns are requested.
    fn wants_durations(&self) -> bool {
        self.columns.iter().any(|column| *column >= LEADING_COLUMNS)
    }

    fn to(&self) -> MutexGuard<'_, RowSinkState<'o, 'q>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants_more(&self) -> bool {
        let to = self.to();
        !to.is_done && to.failure.is_none()
    }

    /// Charges for held memory; `bytes` is the total now.
    fn keep(&self, bytes: usize) {
        let mut to = self.to();
        if let Err(failure) = to.out.keep(bytes) {
            to.failure.get_or_insert(failure);
        }
    }

    /// Passes on the rows of this minute and of later ones. They must be sorted by minute and
    /// complete.
    fn push_rows(&self, first: u64, rows: &[(MinuteRow<'_>, Calls)]) {
        let mut to = self.to();
        let given_from = to.given_from;
        to.given_from = given_from.min(first);
        drop(to);
        let rows = &rows[..rows.partition_point(|(row, _)| row.minute < given_from)];
        for part in rows.chunks(BATCH_ROWS) {
            let batch = self.batch(part);
            let mut to = self.to();
            if to.is_done || to.failure.is_some() {
                return;
            }
            let given = batch
                .map_err(|error| SqlError::Defect { reason: error.to_string() })
                .and_then(|batch| to.out.push_rows(&batch));
            match given {
                Ok(flow) => to.is_done = flow.is_break(),
                Err(failure) => to.failure = Some(failure),
            }
        }
    }

    /// Ends the scan. Returns true when no more rows are needed, or the error that stopped it.
    pub(super) fn finish(self) -> Result<bool, SqlError> {
        let RowSinkState { is_done, failure, .. } =
            self.out.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(is_done), Err)
    }

    fn batch(&self, rows: &[(MinuteRow<'_>, Calls)]) -> Result<RecordBatch, ArrowError> {
        let text = |text: for<'r> fn(&'r MinuteRow<'_>) -> &'r str| -> ArrayRef {
            let texts = rows.iter().map(|(row, _)| text(row));
            Arc::new(StringArray::from_iter_values(texts))
        };
        let count = |count: fn(&Calls) -> u64| -> ArrayRef {
            let counts = rows.iter().map(|(_, calls)| i64::try_from(count(calls)).ok());
            Arc::new(counts.collect::<Int64Array>())
        };
        let durations = match self.wants_durations() {
            true => durations(rows.iter().map(|(_, calls)| &calls.latency)),
            false => Vec::new(),
        };
        let column = |column: &usize| match column {
            0 => Ok(minutes(rows.iter().map(|(row, _)| row.minute))),
            1 => Ok(text(|row| row.key.service.as_ref())),
            2 => Ok(text(|row| row.key.operation.as_ref())),
            3 => Ok(text(|row| row.key.kind.word())),
            4 => Ok(text(|row| row.key.status.word())),
            5 => Ok(count(|calls| calls.count)),
            6 => Ok(count(|calls| calls.errors)),
            more => durations
                .get(more - LEADING_COLUMNS)
                .cloned()
                .ok_or_else(|| ArrowError::SchemaError(format!("red has no column {more}"))),
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

/// Key of a row, without its minute.
#[derive(Debug, Clone)]
struct RowKey {
    service: Arc<str>,
    operation: Arc<str>,
    kind: SpanKind,
    status: StatusCode,
}

impl RowKey {
    /// Returns the sort key.
    fn order(&self) -> (&str, &str, i32, i32) {
        (&self.service, &self.operation, self.kind.into(), self.status.into())
    }
}

#[derive(Debug)]
struct MinuteRow<'k> {
    minute: u64,
    key: &'k RowKey,
}

/// The numbers of the groups that share service and operation.
type OfNames = HashMap<(SpanKind, StatusCode), u32>;

/// Makes the accumulators of all minutes.
#[derive(Debug)]
pub(super) struct AllMinutes<'g, 'o, 'q> {
    pub(super) giving: &'g RowSink<'o, 'q>,
}

/// The calls of minutes by group.
#[derive(Debug)]
pub(super) struct Minutes<'g, 'o, 'q> {
    giving: &'g RowSink<'o, 'q>,
    wants_durations: bool,
    unordered: Option<Arc<Self>>,
    /// The groups' numbers by service and operation.
    numbers: HashMap<Arc<str>, HashMap<Arc<str>, OfNames>>,
    keys: Vec<RowKey>,
    /// Calls by minute and group.
    open: HashMap<(u64, u32), Calls>,
    /// The minutes from this one on were passed on.
    settled: u64,
    /// Memory held in bytes, and the part of it charged to the query.
    kept: usize,
    charged: usize,
}

impl<'g, 'o, 'q> CallAccumulatorFactory for AllMinutes<'g, 'o, 'q> {
    type Accumulator = Minutes<'g, 'o, 'q>;

    fn unordered(&self) -> Self::Accumulator {
        Minutes {
            giving: self.giving,
            wants_durations: self.giving.wants_durations(),
            unordered: None,
            numbers: HashMap::new(),
            keys: Vec::new(),
            open: HashMap::new(),
            settled: u64::MAX,
            kept: 0,
            charged: 0,
        }
    }

    fn for_range(
        &self,
        _: Range<UnixNanos>,
        unordered: &Arc<Self::Accumulator>,
    ) -> Self::Accumulator {
        let unordered = Some(Arc::clone(unordered));
        let mut minutes = Minutes { unordered, ..self.unordered() };
        minutes.reset();
        minutes
    }
}

impl CallAccumulator for Minutes<'_, '_, '_> {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        let CallKey { service, operation, kind, status } = key;
        let known = self.numbers.get(service).and_then(|known| known.get(operation));
        if let Some(number) = known.and_then(|known| known.get(&(kind, status))) {
            return *number;
        }
        let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keep(BYTES_EACH + service.len() + operation.len());
        let key = RowKey { service: service.into(), operation: operation.into(), kind, status };
        let of_service = self.numbers.entry(Arc::clone(&key.service)).or_default();
        let of_names = of_service.entry(Arc::clone(&key.operation)).or_default();
        of_names.insert((kind, status), number);
        self.keys.push(key);
        number
    }

    fn call(&mut self, group: u32, call: &Call) {
        let call = if self.wants_durations { *call } else { Call { timed: false, ..*call } };
        self.add(group, call.exemplar.start_unix_nano, |calls| calls.add(&call));
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        let wants_durations = self.wants_durations;
        self.add(group, bucket.start(), |calls| {
            if wants_durations {
                return bucket.add_to(calls);
            }
            calls.count += bucket.count();
            calls.errors += bucket.errors();
            Some(())
        })
    }

    fn finish_from(&mut self, from: UnixNanos) {
        let (first, mut open) = (from.0 / MINUTE.0, mem::take(&mut self.open));
        let came = self.unordered.iter().flat_map(|unordered| &unordered.open);
        for ((minute, group), calls) in came {
            if (first..self.settled).contains(minute) {
                open.entry((*minute, *group)).or_default().merge(calls);
            }
        }
        let row = |((minute, group), calls): ((u64, u32), Calls)| {
            self.keys.get(group as usize).map(|key| (MinuteRow { minute, key }, calls))
        };
        let mut rows: Vec<(MinuteRow<'_>, Calls)> = open.into_iter().filter_map(row).collect();
        rows.sort_unstable_by(|(a, _), (b, _)| {
            (a.minute, a.key.order()).cmp(&(b.minute, b.key.order()))
        });
        self.giving.push_rows(first, &rows);
        drop(rows);
        self.settled = first;
        self.reset();
    }

    fn wants_more(&self) -> bool {
        self.giving.wants_more()
    }
}

impl Minutes<'_, '_, '_> {
    /// Drops everything except the groups of calls that came in no order, which keep their numbers.
    fn reset(&mut self) {
        let unordered = self.unordered.as_ref();
        (self.numbers, self.keys) = unordered
            .map_or_else(Default::default, |held| (held.numbers.clone(), held.keys.clone()));
        self.kept = unordered.map_or(0, |held| held.kept);
        self.charge();
    }

    /// Adds to the calls of a group in the minute that contains the time.
    fn add<T>(&mut self, group: u32, time: UnixNanos, add: impl FnOnce(&mut Calls) -> T) -> T {
        let known = self.open.len();
        let calls = self.open.entry((time.0 / MINUTE.0, group)).or_default();
        let before = calls.latency.bytes();
        let added = add(calls);
        let more = calls.latency.bytes().saturating_sub(before);
        let new = if self.open.len() > known { BYTES_EACH } else { 0 };
        self.keep(new + more);
        added
    }

    fn keep(&mut self, bytes: usize) {
        self.kept = self.kept.saturating_add(bytes);
        if self.kept - self.charged > BYTES_BETWEEN_CHECKS {
            self.charge();
        }
    }

    fn charge(&mut self) {
        self.charged = self.kept;
        self.giving.keep(self.kept);
    }
}
