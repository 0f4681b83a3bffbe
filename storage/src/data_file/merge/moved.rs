//! Runs that are read ahead of their turn.
//!
//! A trace goes where the earliest of its runs is; its other runs are further behind in their
//! files, as a rule not far. They are read in rounds, in the order in which they are due: each
//! round takes as much as may be in memory, whatever their number, and is read when the one before
//! it has been given. What is due at one time comes in one round; what there is no room for in it
//! stays where it is, and its trace is in the new file more than once.

use std::{iter::Peekable, ops::Range, sync::Arc, vec};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::{
    places::Run,
    source::{Decoded, Keys, Opened, names},
};
use crate::{
    StorageError,
    data_file::{
        gather,
        sections::{Portion, Section},
        sizes,
    },
};

/// Runs of all files that are read ahead.
pub(super) struct Moved {
    files: Vec<Arc<Opened>>,
    schema: SchemaRef,
    portion: Portion,
    rounds: vec::IntoIter<Vec<MovedRun>>,
    now: Option<InOrder>,
}

/// A run, and when its trace began.
struct MovedRun {
    begin: i64,
    file: usize,
    rows: Range<usize>,
}

/// The rows of a round, in the order of a file.
struct InOrder {
    batches: Vec<RecordBatch>,
    /// Of each row of each of them when its trace began.
    begins: Vec<Vec<i64>>,
    /// Of each row of each of them what it takes.
    sizes: Vec<Vec<usize>>,
    /// Of each row its batch and its place there.
    places: Peekable<vec::IntoIter<(usize, usize)>>,
}

impl Moved {
    /// The runs of these files that move, of which so many bytes may be in memory at once. Those
    /// that have no room do not move then. `None` when there are none.
    pub(super) fn of(
        files: &[Arc<Opened>],
        runs: &mut [Vec<Run>],
        schema: &SchemaRef,
        portion: Portion,
        bytes_max: usize,
    ) -> Result<Option<Self>, StorageError> {
        let rounds = rounds(files, runs, &names(schema), bytes_max)?;
        Ok((!rounds.is_empty()).then(|| Self {
            files: files.to_vec(),
            schema: Arc::clone(schema),
            portion,
            rounds: rounds.into_iter(),
            now: None,
        }))
    }

    /// The next rows, and when their traces began.
    pub(super) fn next(&mut self) -> Result<Option<Decoded>, StorageError> {
        loop {
            if let Some(now) = &mut self.now
                && let Some(next) = now.next(&self.schema, self.portion)?
            {
                return Ok(Some(next));
            }
            self.now = None;
            let Some(round) = self.rounds.next() else { return Ok(None) };
            self.now = Some(self.read(round)?);
        }
    }

    fn read(&self, mut round: Vec<MovedRun>) -> Result<InOrder, StorageError> {
        round.sort_unstable_by_key(|run| (run.file, run.rows.start));
        let columns = names(&self.schema);
        let (mut batches, mut begins) = (Vec::new(), Vec::new());
        for runs in round.chunk_by(|one, other| one.file == other.file) {
            let file = &self.files[runs[0].file];
            let ranges: Vec<Range<usize>> = runs.iter().map(|run| run.rows.clone()).collect();
            let mut of_rows =
                runs.iter().flat_map(|run| std::iter::repeat_n(run.begin, run.rows.len()));
            let mut reader = file.reader(&columns, Some(&ranges), self.portion)?;
            while let Some(batch) = file.next_as(&self.schema, &mut reader)? {
                begins.push(of_rows.by_ref().take(batch.num_rows()).collect());
                batches.push(batch);
            }
        }
        InOrder::of(batches, begins)
    }
}

impl InOrder {
    fn of(batches: Vec<RecordBatch>, begins: Vec<Vec<i64>>) -> Result<Self, StorageError> {
        let keys = batches.iter().zip(&begins);
        let keys = keys.map(|(batch, begins)| Keys::of(batch, Some(begins.clone())));
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
        let rows = gather::rows(schema, &self.batches, &places)?;
        let begins = places.iter().map(|(batch, row)| self.begins[*batch][*row]).collect();
        Ok(Some((rows, Some(begins))))
    }
}

/// What is read together, in the order in which it is due.
fn rounds(
    files: &[Arc<Opened>],
    runs: &mut [Vec<Run>],
    columns: &[&str],
    bytes_max: usize,
) -> Result<Vec<Vec<MovedRun>>, StorageError> {
    let mut due: Vec<(i64, usize, usize, MovedRun, u64)> = Vec::new();
    for (number, (file, runs)) in files.iter().zip(&*runs).enumerate() {
        if !runs.iter().any(|run| run.moved_to.is_some()) {
            continue;
        }
        // How many of these rows fill the memory says what share of it each of them takes.
        let fitting = file.sections(columns, Portion { rows: MEMORY_ROWS, bytes: bytes_max })?;
        for ((rows, run), place) in ranges(runs).zip(0..) {
            if let Some(begin) = run.moved_to {
                let share = share(&fitting, &rows);
                due.push((begin, number, place, MovedRun { begin, file: number, rows }, share));
            }
        }
    }
    due.sort_unstable_by_key(|(begin, file, place, ..)| (*begin, *file, *place));
    let mut rounds: Vec<Vec<MovedRun>> = Vec::new();
    let mut taken = MEMORY;
    let mut due = due.into_iter().peekable();
    while let Some((begin, ..)) = due.peek() {
        let (begin, mut together, mut of_them) = (*begin, Vec::new(), 0);
        while let Some((_, file, place, run, share)) = due.next_if(|(of, ..)| *of == begin) {
            if of_them + share > MEMORY {
                runs[file][place].moved_to = None;
            } else {
                of_them += share;
                together.push(run);
            }
        }
        match rounds.last_mut() {
            Some(round) if taken + of_them <= MEMORY => {
                taken += of_them;
                round.extend(together);
            }
            _ if together.is_empty() => {}
            _ => {
                taken = of_them;
                rounds.push(together);
            }
        }
    }
    Ok(rounds)
}

/// No more rows than this fill the memory, however short they are.
const MEMORY_ROWS: usize = 1 << 20;
/// All of the memory, of which each run takes a share.
const MEMORY: u64 = 1 << 40;

/// The share of the memory that these rows take, a little more rather than less.
fn share(fitting: &[Section], rows: &Range<usize>) -> u64 {
    let first = fitting.partition_point(|section| section.rows.end <= rows.start);
    let sections = fitting[first..].iter().take_while(|section| section.rows.start < rows.end);
    sections
        .map(|section| {
            let start = rows.start.max(section.rows.start);
            let here = rows.end.min(section.rows.end) - start;
            (here as u64).saturating_mul(MEMORY / section.portion.max(1) as u64)
        })
        .fold(0, u64::saturating_add)
}

/// The rows of each run.
pub(super) fn ranges(runs: &[Run]) -> impl Iterator<Item = (Range<usize>, &Run)> {
    let mut end = 0;
    runs.iter().map(move |run| {
        let first = end;
        end += run.rows as usize;
        (first..end, run)
    })
}
