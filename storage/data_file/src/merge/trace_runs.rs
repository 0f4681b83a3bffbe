//! Finds the runs of each trace and marks those that must move.
//!
//! A file is a sequence of runs, one for each trace, ordered by the begin of the trace and the
//! trace id. The file does not store the begin. A flush may have known earlier spans that are in a
//! file of another hour, and in another file the trace may begin earlier. Each run is therefore
//! assumed to begin at the latest time at which its file is still sorted. A trace is written at the
//! position of its earliest run, and its other runs are read ahead of their turn (`read_ahead`).

use std::ops::Range;

use arrow_array::{BinaryArray, Int64Array};
use tidings_columns::{rows::column::OptionalColumn, schema::SignalSchema};
use tidings_files::StorageError;
use tidings_proto::{Signal, TraceId, UnixNanos};

use super::source::MergeFile;
use crate::{order::padded_trace_id, sections::Portion};

/// Consecutive rows of one trace in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceRun {
    pub(super) trace: [u8; TraceId::LEN],
    /// Begin of the trace according to its file.
    pub(super) begin: i64,
    /// Begin of the trace according to all files. It determines the output position of the run.
    pub(super) goes_to: i64,
    /// First row of the run in the file.
    pub(super) first: u32,
    pub(super) rows: u32,
}

impl TraceRun {
    pub(super) fn moves(&self) -> bool {
        self.goes_to != self.begin
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.rows as usize
    }
}

/// Runs of each file, in the order of the file.
#[derive(Debug)]
pub(super) struct MergePlan {
    pub(super) files: Vec<Vec<TraceRun>>,
    /// Number of traces.
    pub(super) traces: u64,
}

pub(super) fn plan(files: &[MergeFile], portion: Portion) -> Result<MergePlan, StorageError> {
    let mut plan = MergePlan { files: Vec::new(), traces: 0 };
    for file in files {
        let mut runs = runs(file, portion)?;
        align_begins(&mut runs);
        plan.files.push(runs);
    }
    mark_moves(&mut plan);
    Ok(plan)
}

fn runs(file: &MergeFile, portion: Portion) -> Result<Vec<TraceRun>, StorageError> {
    let mut runs: Vec<TraceRun> = Vec::new();
    let mut reader = file.reader(&["trace_id", Signal::Spans.time_column()], None, portion)?;
    let mut first = 0;
    while let Some(batch) = file.next(&mut reader)? {
        let ids = OptionalColumn::<BinaryArray>::from_batch(&batch, "trace_id")?;
        let starts = OptionalColumn::<Int64Array>::from_batch(&batch, Signal::Spans.time_column())?;
        for row in 0..batch.num_rows() {
            let trace = padded_trace_id(ids.bytes(row).unwrap_or_default());
            let begin = begin_or_unknown(starts.time(row));
            match runs.last_mut() {
                Some(run) if run.trace == trace => {
                    run.rows += 1;
                    run.begin = run.begin.min(begin);
                }
                _ => runs.push(TraceRun { trace, begin, goes_to: begin, first, rows: 1 }),
            }
            first += 1;
        }
    }
    Ok(runs)
}

/// Begin of a run without a known start.
const UNKNOWN: i64 = i64::MAX;

fn begin_or_unknown(start: UnixNanos) -> i64 {
    match start.0 {
        0 => UNKNOWN,
        start => i64::try_from(start).unwrap_or(UNKNOWN).min(UNKNOWN - 1),
    }
}

/// Sets the begin of each run to the latest time at which the file is sorted. The begin never
/// exceeds the earliest start of the run.
fn align_begins(runs: &mut [TraceRun]) {
    let known = runs.iter().map(|run| run.begin).filter(|begin| *begin != UNKNOWN);
    let latest = known.max().unwrap_or(0);
    let mut next: Option<([u8; TraceId::LEN], i64)> = None;
    for run in runs.iter_mut().rev() {
        if run.begin == UNKNOWN {
            run.begin = next.map_or(latest, |(_, begin)| begin);
        }
        if let Some((trace, next)) = next {
            let ascends = run.trace < trace;
            run.begin = run.begin.min(if ascends { next } else { next.saturating_sub(1) });
        }
        run.goes_to = run.begin;
        next = Some((run.trace, run.begin));
    }
}

fn mark_moves(plan: &mut MergePlan) {
    let mut by_trace: Vec<([u8; TraceId::LEN], u32, u32)> = Vec::new();
    for (file, runs) in (0_u32..).zip(&plan.files) {
        by_trace.extend((0_u32..).zip(runs).map(|(run, of)| (of.trace, file, run)));
    }
    by_trace.sort_unstable();
    for same in by_trace.chunk_by(|one, other| one.0 == other.0) {
        plan.traces += 1;
        let runs = same.iter().map(|(_, file, run)| (*file as usize, *run as usize));
        let begins = runs.clone().map(|(file, run)| plan.files[file][run].begin);
        let Some(earliest) = begins.min() else { continue };
        for (file, run) in runs {
            plan.files[file][run].goes_to = earliest;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{TraceRun, UNKNOWN, align_begins, begin_or_unknown};

    #[test]
    fn every_run_begins_as_late_as_the_file_is_sorted_with() {
        for (given, expected) in [
            (vec![(1, 1), (1, 2), (2, 3)], vec![1, 1, 2]),
            // The flush knew an earlier span of another hour.
            (vec![(5, 9), (5, 1), (5, 2)], vec![4, 5, 5]),
            (vec![(9, 1), (3, 2)], vec![3, 3]),
            (vec![(7, 3), (7, 2), (7, 1)], vec![5, 6, 7]),
            // Runs without a known start.
            (vec![(UNKNOWN, 1), (4, 2), (UNKNOWN, 3)], vec![4, 4, 4]),
            (vec![(4, 2), (2, 1), (UNKNOWN, 3)], vec![1, 2, 4]),
            (vec![(UNKNOWN, 2), (UNKNOWN, 1)], vec![-1, 0]),
            (vec![], vec![]),
        ] {
            let run = |(begin, trace)| TraceRun {
                trace: [trace; 16],
                begin,
                goes_to: 0,
                first: 0,
                rows: 1,
            };
            let mut runs: Vec<TraceRun> = given.into_iter().map(run).collect();
            align_begins(&mut runs);
            assert_eq!(runs.iter().map(|run| run.begin).collect::<Vec<_>>(), expected);
            assert!(runs.iter().all(|run| !run.moves()));
        }
    }

    #[test]
    fn the_latest_start_is_not_taken_for_none() {
        let latest = i64::MAX.cast_unsigned();
        assert_eq!(
            [0, 1, latest, u64::MAX].map(|start| begin_or_unknown(UnixNanos(start))),
            [UNKNOWN, 1, UNKNOWN - 1, UNKNOWN - 1]
        );
    }
}
