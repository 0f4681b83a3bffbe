//! Where the runs of each trace are, and which of them have to move.
//!
//! A file is a sequence of runs, one trace each, ordered by when the traces began and by trace id.
//! When that was is not written down: the flush may have seen earlier spans that are in another
//! hour's files, and in another file a trace can have begun earlier. So every run is taken to have
//! begun at the latest time with which its file is still sorted; then a trace goes where the
//! earliest of its runs is, and its other runs are read ahead of their turn (`moved`).

use arrow_array::{BinaryArray, Int64Array};
use tidings_proto::UnixNanos;
use xxhash_rust::xxh3::xxh3_64;

use super::source::Opened;
use crate::{StorageError, data_file::sections::Portion, rows::column::Column, schema::Signal};

/// One trace's rows in one place of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) begin: i64,
    pub(super) rows: u32,
    /// Where it goes instead.
    pub(super) moved_to: Option<i64>,
    trace: u64,
    /// Whether the next run's trace id is larger.
    ascends: bool,
}

/// The runs of every file, in the order of the files.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) files: Vec<Vec<Run>>,
    /// How many traces there are.
    pub(super) traces: u64,
}

pub(super) fn plan(files: &[Opened], portion: Portion) -> Result<Plan, StorageError> {
    let mut plan = Plan { files: Vec::new(), traces: 0 };
    for file in files {
        let mut runs = runs(file, portion)?;
        settle_begins(&mut runs);
        plan.files.push(runs);
    }
    mark_moves(&mut plan);
    Ok(plan)
}

fn runs(file: &Opened, portion: Portion) -> Result<Vec<Run>, StorageError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    let mut reader = file.reader(&["trace_id", Signal::Spans.time_column()], None, portion)?;
    while let Some(batch) = file.next(&mut reader)? {
        let ids = Column::<BinaryArray>::of(&batch, "trace_id")?;
        let starts = Column::<Int64Array>::of(&batch, Signal::Spans.time_column())?;
        for row in 0..batch.num_rows() {
            let id = ids.bytes(row).unwrap_or_default();
            let begin = begin(starts.time(row));
            match runs.last_mut() {
                Some(run) if last == id => {
                    run.rows += 1;
                    run.begin = run.begin.min(begin);
                }
                before => {
                    if let Some(run) = before {
                        run.ascends = last.as_slice() < id;
                    }
                    let trace = xxh3_64(id);
                    runs.push(Run { begin, rows: 1, moved_to: None, trace, ascends: true });
                    last.clear();
                    last.extend_from_slice(id);
                }
            }
        }
    }
    Ok(runs)
}

/// An unknown start says nothing about when its trace began.
fn begin(start: UnixNanos) -> i64 {
    match start.0 {
        0 => i64::MAX,
        start => i64::try_from(start).unwrap_or(i64::MAX),
    }
}

/// Makes every run begin as late as the file is sorted with, and not later than it does.
fn settle_begins(runs: &mut [Run]) {
    let mut next: Option<i64> = None;
    for run in runs.iter_mut().rev() {
        if run.begin == i64::MAX {
            run.begin = next.unwrap_or(0);
        }
        if let Some(next) = next {
            run.begin = run.begin.min(if run.ascends { next } else { next.saturating_sub(1) });
        }
        next = Some(run.begin);
    }
}

fn mark_moves(plan: &mut Plan) {
    let mut by_trace: Vec<(u64, u32, u32)> = Vec::new();
    for (file, runs) in (0_u32..).zip(&plan.files) {
        by_trace.extend((0_u32..).zip(runs).map(|(run, of)| (of.trace, file, run)));
    }
    by_trace.sort_unstable();
    for same in by_trace.chunk_by(|one, other| one.0 == other.0) {
        plan.traces += 1;
        let earliest =
            same.iter().map(|(_, file, run)| plan.files[*file as usize][*run as usize].begin);
        let Some(earliest) = earliest.min() else { continue };
        for (_, file, run) in same {
            let run = &mut plan.files[*file as usize][*run as usize];
            if run.begin > earliest {
                run.moved_to = Some(earliest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, settle_begins};

    #[test]
    fn every_run_begins_as_late_as_the_file_is_sorted_with() {
        let run = |(begin, ascends)| Run { begin, rows: 1, moved_to: None, trace: 0, ascends };
        for (given, expected) in [
            (vec![(1, true), (1, true), (2, true)], vec![1, 1, 2]),
            // The flush knew of an earlier span in another hour.
            (vec![(5, false), (5, true), (5, true)], vec![4, 5, 5]),
            (vec![(9, true), (3, true)], vec![3, 3]),
            (vec![(7, false), (7, false), (7, true)], vec![5, 6, 7]),
            // Starts that nobody knows.
            (vec![(i64::MAX, true), (4, true), (i64::MAX, true)], vec![0, 0, 0]),
            (vec![], vec![]),
        ] {
            let mut runs: Vec<Run> = given.into_iter().map(run).collect();
            settle_begins(&mut runs);
            assert_eq!(runs.iter().map(|run| run.begin).collect::<Vec<_>>(), expected);
        }
    }
}
