//! Runs that a merge reads ahead of their turn.
//!
//! A trace is written at the position of its earliest run. Its other runs are further behind in
//! their files, usually not far. They are read in rounds, in the order of the output. A round is
//! planned to fill the memory limit, and is read once the previous one has been returned. The
//! memory of a run is an estimate until it is read. A round that exceeds the limit is read in
//! halves, but a trace is never divided. A run that alone exceeds the limit is not moved, and
//! neither are runs beyond [`ROUNDS_MAX`] rounds. The traces of such runs have several runs in the
//! new file.

use std::{iter::Peekable, ops::Range, sync::Arc, vec};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tidings_files::StorageError;

use super::{
    source::{Decoded, MergeFile, MergeKeys, names},
    trace_runs::TraceRun,
};
use crate::{
    gatherer,
    sections::{Portion, Section},
    sizes,
};

/// Maximum number of rounds. Each round reads the files of its runs again, and a halved round does
/// so more than once.
const ROUNDS_MAX: usize = 32;
/// Maximum rows to decode at once. Moved runs may be the long ones among many short rows.
const DECODED_ROWS_MAX: usize = 1024;
/// Upper bound of the number of rows of a round, however short they are.
const ROWS_MAX: usize = 1 << 20;
/// Share that stands for the whole memory. Each run takes a share of it.
const WHOLE: u64 = 1 << 40;

/// Runs of all files that are read ahead.
pub(super) struct ReadAheadRuns {
    files: Vec<Arc<MergeFile>>,
    schema: SchemaRef,
    portion: Portion,
    bytes_max: usize,
    /// Runs in the order of the output.
    due: Vec<MovingRun>,
    /// Ranges of `due` that are read together, the next one last.
    rounds: Vec<Range<usize>>,
    now: Option<InOrder>,
}

/// A moved run, with the begin of its trace.
struct MovingRun {
    begin: i64,
    file: u32,
    first: u32,
    rows: u32,
    /// True if the previous entry belongs to another trace.
    opens_trace: bool,
}

/// Rows of a round in the order of a file.
struct InOrder {
    batches: Vec<RecordBatch>,
    /// Begin of the trace of each row, by batch.
    begins: Vec<Vec<i64>>,
    /// Bytes of each row, by batch.
    sizes: Vec<Vec<usize>>,
    /// Batch of each row, and its index in the batch.
    places: Peekable<vec::IntoIter<(usize, usize)>>,
}

impl ReadAheadRuns {
    /// Plans rounds for the moving runs of these files, with about `bytes_max` bytes in memory at
    /// once. Runs beyond the memory limit stop moving. `None` when no run moves.
    pub(super) fn plan(
        files: &[Arc<MergeFile>],
        runs: &mut [Vec<TraceRun>],
        schema: &SchemaRef,
        portion: Portion,
        bytes_max: usize,
    ) -> Result<Option<Self>, StorageError> {
        let mut order: Vec<(u32, u32)> = Vec::new();
        for (file, runs) in (0_u32..).zip(&*runs) {
            let moving = (0_u32..).zip(runs).filter(|(_, run)| run.moves());
            order.extend(moving.map(|(place, _)| (file, place)));
        }
        let run = |(file, place): (u32, u32)| runs[file as usize][place as usize];
        order.sort_unstable_by_key(|at| (run(*at).goes_to, run(*at).trace, *at));
        let columns = names(schema);
        let mut shares = MemoryShares::new(files, &columns, bytes_max);
        let mut rounds: Vec<Range<usize>> = Vec::new();
        let (mut due, mut staying, mut taken) = (Vec::new(), Vec::new(), 0);
        for of_trace in order.chunk_by(|one, other| run(*one).trace == run(*other).trace) {
            let (mut together, mut of_them) = (Vec::new(), 0);
            for at in of_trace {
                let TraceRun { goes_to, first, rows, .. } = run(*at);
                let opens_trace = together.is_empty();
                let one = MovingRun { begin: goes_to, file: at.0, first, rows, opens_trace };
                match shares.share(&one)? {
                    share if share <= WHOLE - of_them => {
                        of_them += share;
                        together.push((one, *at));
                    }
                    _ => staying.push(*at),
                }
            }
            if rounds.is_empty() || of_them > WHOLE - taken {
                if rounds.len() == ROUNDS_MAX {
                    staying.extend(together.into_iter().map(|(_, at)| at));
                    continue;
                }
                rounds.push(due.len()..due.len());
                taken = 0;
            }
            taken += of_them;
            due.extend(together.into_iter().map(|(one, _)| one));
            rounds.last_mut().into_iter().for_each(|round| round.end = due.len());
        }
        rounds.reverse();
        for (file, place) in staying {
            let run = &mut runs[file as usize][place as usize];
            run.goes_to = run.begin;
        }
        let (files, schema) = (files.to_vec(), Arc::clone(schema));
        let moved = Self { files, schema, portion, bytes_max, due, rounds, now: None };
        Ok((!moved.due.is_empty()).then_some(moved))
    }

    /// Returns the next rows, and the begin of the trace of each.
    pub(super) fn next(&mut self) -> Result<Option<Decoded>, StorageError> {
        loop {
            if let Some(now) = &mut self.now
                && let Some(next) = now.next(&self.schema, self.portion)?
            {
                return Ok(Some(next));
            }
            self.now = None;
            let Some(round) = self.rounds.pop() else { return Ok(None) };
            let middle = self.middle(&round);
            self.now = self.read(&round, middle.is_none())?;
            if let (None, Some(middle)) = (&self.now, middle) {
                self.rounds.extend([middle..round.end, round.start..middle]);
            }
        }
    }

    /// Returns a trace boundary near the middle of a round, because a trace must not be divided.
    /// `None` for a single trace.
    fn middle(&self, round: &Range<usize>) -> Option<usize> {
        let middle = round.start + round.len() / 2;
        let opens_trace = |run: &usize| *run > round.start && self.due[*run].opens_trace;
        (middle..round.end).find(opens_trace).or((round.start..middle).rev().find(opens_trace))
    }

    /// Reads the rows of these runs. `None` when they exceed the memory limit and `whole` is false.
    fn read(&self, round: &Range<usize>, whole: bool) -> Result<Option<InOrder>, StorageError> {
        let mut runs: Vec<&MovingRun> = self.due[round.clone()].iter().collect();
        runs.sort_unstable_by_key(|run| (run.file, run.first));
        let columns = names(&self.schema);
        let (mut batches, mut begins, mut bytes) = (Vec::new(), Vec::new(), 0);
        for runs in runs.chunk_by(|one, other| one.file == other.file) {
            let file = &self.files[runs[0].file as usize];
            let ranges: Vec<Range<usize>> = runs.iter().map(|run| run.range()).collect();
            let mut of_rows =
                runs.iter().flat_map(|run| std::iter::repeat_n(run.begin, run.rows as usize));
            let rows = self.portion.rows.min(DECODED_ROWS_MAX);
            let portion = Portion { rows, ..self.portion };
            let mut reader = file.reader(&columns, Some(&ranges), portion)?;
            while let Some(batch) = file.next_as(&self.schema, &mut reader)? {
                bytes += sizes::bytes(&batch, &(0..batch.num_rows()));
                if bytes > self.bytes_max && !whole {
                    return Ok(None);
                }
                begins.push(of_rows.by_ref().take(batch.num_rows()).collect());
                batches.push(batch);
            }
        }
        InOrder::new(batches, begins).map(Some)
    }
}

impl MovingRun {
    fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.rows as usize
    }
}

impl InOrder {
    fn new(batches: Vec<RecordBatch>, begins: Vec<Vec<i64>>) -> Result<Self, StorageError> {
        let keys = batches.iter().zip(&begins);
        let keys = keys.map(|(batch, begins)| MergeKeys::from_batch(batch, Some(begins.clone())));
        let keys = keys.collect::<Result<Vec<_>, StorageError>>()?;
        let of_batch =
            |(batch, begins): (usize, &Vec<i64>)| (0..begins.len()).map(move |row| (batch, row));
        let mut places: Vec<_> = begins.iter().enumerate().flat_map(of_batch).collect();
        let key = |(batch, row): &(usize, usize)| keys[*batch].at(*row);
        places.sort_by(|one, other| key(one).cmp(&key(other)));
        let sizes = batches.iter().map(sizes::of_rows).collect();
        Ok(Self { batches, begins, sizes, places: places.into_iter().peekable() })
    }

    fn next(
        &mut self,
        schema: &SchemaRef,
        portion: Portion,
    ) -> Result<Option<Decoded>, StorageError> {
        let (mut places, mut bytes) = (Vec::new(), 0);
        while let Some((batch, row)) = self.places.next_if(|(batch, row)| {
            bytes += self.sizes[*batch][*row];
            places.is_empty() || (places.len() < portion.rows && bytes <= portion.bytes)
        }) {
            places.push((batch, row));
        }
        if places.is_empty() {
            return Ok(None);
        }
        let rows = gatherer::rows(schema, &self.batches, &places)?;
        let begins = places.iter().map(|(batch, row)| self.begins[*batch][*row]).collect();
        Ok(Some((rows, Some(begins))))
    }
}

/// Estimates the share of the memory that each run takes.
struct MemoryShares<'a> {
    files: &'a [Arc<MergeFile>],
    columns: &'a [&'a str],
    memory: Portion,
    /// Number of rows of each file that fill the memory, once it is computed.
    fitting: Vec<Option<Vec<Section>>>,
}

impl<'a> MemoryShares<'a> {
    fn new(files: &'a [Arc<MergeFile>], columns: &'a [&'a str], bytes_max: usize) -> Self {
        let memory = Portion { rows: ROWS_MAX, bytes: bytes_max };
        Self { files, columns, memory, fitting: files.iter().map(|_| None).collect() }
    }

    fn share(&mut self, run: &MovingRun) -> Result<u64, StorageError> {
        let file = run.file as usize;
        let fitting = match &mut self.fitting[file] {
            Some(fitting) => &*fitting,
            unknown => unknown.insert(self.files[file].sections(self.columns, self.memory)?),
        };
        let rows = run.range();
        let first = fitting.partition_point(|section| section.rows.end <= rows.start);
        let sections = fitting[first..].iter().take_while(|section| section.rows.start < rows.end);
        let share = |section: &Section| {
            let start = rows.start.max(section.rows.start);
            let here = rows.end.min(section.rows.end) - start;
            (here as u64).saturating_mul(WHOLE / section.portion.max(1) as u64)
        };
        Ok(sections.map(share).fold(0, u64::saturating_add))
    }
}

#[cfg(test)]
impl ReadAheadRuns {
    /// Returns the number of rounds that are not read yet.
    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Returns the memory of the current round's rows in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.now.iter().flat_map(|now| &now.sizes).flatten().sum()
    }
}
