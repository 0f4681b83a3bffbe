//! The skeleton of one trace, validated once and indexed for drawing.
//!
//! Owns the repaired columns. A server of another version or a proxy may send short columns or rows
//! that point nowhere, and nothing here may panic on them. Owns the look-ups that are built in O(n)
//! or O(n log n) when the trace arrives: span id to row, a row's ranges of the critical path, sums
//! over a subtree, runs of repeated calls. It adds up values of the API and makes no decisions
//! about the tree. Rows are depth first: the subtree of a row follows it.

use std::ops::Range;

use tidings_proto::{
    SpanId,
    api::{
        AssemblyNotes, ProblemCount, ProblemKind, ProblemView, QueueSegment, SpanColumns,
        SpanFlags, SpanKindName, TraceSkeleton, TraceSummary, UntracedStretch,
    },
    otlp::SpanKind,
};

use super::{events_index::EventIndex, scale::OffsetRange};

mod skeleton_columns;

use skeleton_columns::{Repeats, repaired};

const NO_ROW: u32 = u32::MAX;

/// A trace, ready to be drawn.
#[derive(Debug, PartialEq)]
pub(crate) struct TraceModel {
    pub(crate) summary: TraceSummary,
    pub(crate) problems: Vec<ProblemView>,
    pub(crate) problem_counts: Vec<ProblemCount>,
    pub(crate) log_count: u64,
    /// Notes of assembly: waits of messages, clocks of hosts, missing spans.
    pub(crate) assembly: AssemblyNotes,
    services: Vec<String>,
    operations: Vec<String>,
    columns: SpanColumns,
    /// From the earliest start to the latest end of all drawn spans.
    extent: OffsetRange,
    by_id: Vec<u32>,
    critical_starts: Vec<u32>,
    critical: Vec<OffsetRange>,
    /// From the start to the end of the critical path in a row and below it.
    critical_reach: Vec<Option<OffsetRange>>,
    critical_sums: Vec<u64>,
    error_sums: Vec<u32>,
    repeats: Repeats,
    /// Indexes into `problems` by row.
    problem_rows: Vec<(u32, u32)>,
    /// Sorted by row.
    untraced: Vec<UntracedStretch>,
    events: EventIndex,
}

/// The statistics of a run of repeated calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepeatFacts {
    pub(crate) count: u32,
    /// The p50 and the p99 of the calls' durations.
    pub(crate) p50_nano: u64,
    pub(crate) p99_nano: u64,
    pub(crate) total_nano: u64,
    pub(crate) errors: u32,
    /// From the first start to the last end.
    pub(crate) stretch: OffsetRange,
    pub(crate) critical: bool,
}

impl TraceModel {
    pub(crate) fn new(skeleton: TraceSkeleton) -> Self {
        let TraceSkeleton {
            summary,
            services,
            operations,
            spans,
            critical_path,
            problems,
            problem_counts,
            log_count,
            event_names,
            events,
            event_count,
            untraced,
            completion_path: _,
            assembly,
        } = skeleton;
        let columns = repaired(spans);
        let len = columns.span_id.len();
        let mut by_id: Vec<u32> = (0..rows_of(len)).collect();
        by_id.sort_by_key(|&row| (columns.span_id[row as usize], row));

        let mut model = Self {
            extent: extent_of(&columns, summary.duration_nano.0),
            summary,
            problems,
            problem_counts,
            log_count,
            assembly,
            services,
            operations,
            by_id,
            critical_starts: Vec::new(),
            critical: Vec::new(),
            critical_reach: Vec::new(),
            critical_sums: Vec::with_capacity(len + 1),
            error_sums: Vec::with_capacity(len + 1),
            repeats: Repeats::from_columns(&columns),
            problem_rows: Vec::new(),
            untraced,
            events: EventIndex::new(len, event_names, &events, event_count),
            columns,
        };
        model.index_critical(critical_path.iter().map(|part| {
            (part.span, OffsetRange::new(part.start_offset_nano, part.end_offset_nano))
        }));
        model.index_sums();
        model.index_problems();
        model
    }

    /// Sorts the critical path's ranges by row (they arrive in order of time), and widens each
    /// row's reach by that of its children, children before parents.
    fn index_critical(&mut self, parts: impl Iterator<Item = (u32, OffsetRange)> + Clone) {
        let len = self.len();
        let known = parts.filter(|(row, _)| (*row as usize) < len);
        self.critical_starts = vec![0; len + 1];
        for (row, _) in known.clone() {
            self.critical_starts[row as usize + 1] += 1;
        }
        for row in 0..len {
            self.critical_starts[row + 1] += self.critical_starts[row];
        }
        let mut next = self.critical_starts.clone();
        self.critical = vec![OffsetRange::default(); self.critical_starts[len] as usize];
        self.critical_reach = vec![None; len];
        for (row, stretch) in known {
            let slot = &mut next[row as usize];
            self.critical[*slot as usize] = stretch;
            *slot += 1;
            let reach = &mut self.critical_reach[row as usize];
            *reach = Some(reach.map_or(stretch, |reach| reach.joined(stretch)));
        }
        for row in (0..len).rev() {
            if let (Some(reach), Ok(parent)) =
                (self.critical_reach[row], usize::try_from(self.columns.parent[row]))
            {
                let above = &mut self.critical_reach[parent];
                *above = Some(above.map_or(reach, |above| above.joined(reach)));
            }
        }
    }

    fn index_sums(&mut self) {
        let (mut critical, mut errors) = (0_u64, 0_u32);
        self.critical_sums.push(0);
        self.error_sums.push(0);
        for (nanos, flags) in self.columns.critical_nano.iter().zip(&self.columns.flags) {
            critical = critical.saturating_add(*nanos);
            errors += u32::from(flags & SpanFlags::ERROR != 0);
            self.critical_sums.push(critical);
            self.error_sums.push(errors);
        }
    }

    fn index_problems(&mut self) {
        let end = self.rows().end;
        let rows = (0..)
            .zip(&self.problems)
            .filter_map(|(at, problem)| Some((problem.span_index.filter(|&row| row < end)?, at)));
        self.problem_rows = rows.collect();
        self.problem_rows.sort_unstable();
    }

    /// Returns the rows with problems, in order.
    pub(crate) fn rows_with_problems(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = self.problem_rows.iter().map(|&(row, _)| row).collect();
        rows.dedup();
        rows
    }

    /// Returns the rows of each span whose parent is missing, with its subtree, in order.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let is_orphan =
            |&&(_, at): &&(u32, u32)| self.problems[at as usize].kind == ProblemKind::MissingParent;
        self.problem_rows.iter().filter(is_orphan).map(|&(row, _)| row..self.after(row))
    }

    /// Reports whether some rows are orphans or below one, but not all.
    pub(crate) fn has_orphans(&self) -> bool {
        let count: u64 = self.orphans().map(|rows| u64::from(rows.end - rows.start)).sum();
        count > 0 && count < self.len() as u64
    }

    /// Reports whether a span has a stretch without an open call, or was not waited for by its
    /// caller.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.untraced.is_empty()
            || self.rows().any(|row| self.has_flag(row, SpanFlags::ASYNCHRONOUS))
    }

    /// Reports whether a span has a stretch without an open call.
    pub(crate) fn has_untraced(&self) -> bool {
        !self.untraced.is_empty()
    }

    /// Reports whether a span starts after its caller ended.
    pub(crate) fn has_late_starts(&self) -> bool {
        self.not_waited_for().any(|(caller, call)| caller.to < call.from)
    }

    /// Reports whether a span ends after its caller ended.
    pub(crate) fn has_late_ends(&self) -> bool {
        self.not_waited_for().any(|(caller, call)| caller.to < call.to)
    }

    /// Returns the times of each caller and of its call that it did not wait for.
    fn not_waited_for(&self) -> impl Iterator<Item = (OffsetRange, OffsetRange)> + '_ {
        let rows = self.rows().filter(|&row| self.has_flag(row, SpanFlags::ASYNCHRONOUS));
        rows.filter_map(|row| Some((self.stretch(self.parent(row)?), self.stretch(row))))
    }

    /// Returns the ranges of the row in which none of its calls was open, as the API gives them.
    pub(crate) fn untraced_of(&self, row: u32) -> impl Iterator<Item = OffsetRange> + '_ {
        let first = self.untraced.partition_point(|one| one.span < row);
        let own = self.untraced[first..].iter().take_while(move |one| one.span == row);
        own.map(|one| OffsetRange::new(one.start_offset_nano, one.end_offset_nano))
    }

    /// Returns the events of the spans.
    pub(crate) fn events(&self) -> &EventIndex {
        &self.events
    }

    /// Returns the problems of the row.
    pub(crate) fn problems_of(&self, row: u32) -> impl Iterator<Item = &ProblemView> {
        let first = self.problem_rows.partition_point(|&(other, _)| other < row);
        self.problem_rows[first..]
            .iter()
            .take_while(move |&&(other, _)| other == row)
            .map(|&(_, at)| &self.problems[at as usize])
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.span_id.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn extent(&self) -> OffsetRange {
        self.extent
    }

    pub(crate) fn services(&self) -> &[String] {
        &self.services
    }

    pub(crate) fn operations(&self) -> &[String] {
        &self.operations
    }

    pub(crate) fn service_index(&self, row: u32) -> u32 {
        self.columns.service[row as usize]
    }

    pub(crate) fn operation_index(&self, row: u32) -> u32 {
        self.columns.operation[row as usize]
    }

    pub(crate) fn service(&self, row: u32) -> &str {
        named(&self.services, self.service_index(row))
    }

    pub(crate) fn operation(&self, row: u32) -> &str {
        named(&self.operations, self.operation_index(row))
    }

    pub(crate) fn span_id(&self, row: u32) -> SpanId {
        self.columns.span_id[row as usize]
    }

    /// Returns the kind of the row. A number without a kind is unspecified.
    pub(crate) fn kind(&self, row: u32) -> SpanKindName {
        SpanKind::ALL
            .get(usize::from(self.columns.kind[row as usize]))
            .map_or(SpanKindName::Unspecified, |kind| SpanKindName::from(*kind))
    }

    pub(crate) fn depth(&self, row: u32) -> u32 {
        self.columns.depth[row as usize]
    }

    pub(crate) fn parent(&self, row: u32) -> Option<u32> {
        u32::try_from(self.columns.parent[row as usize]).ok()
    }

    pub(crate) fn descendants(&self, row: u32) -> u32 {
        self.columns.descendant_count[row as usize]
    }

    /// Returns the row after the subtree of `row`.
    pub(crate) fn after(&self, row: u32) -> u32 {
        row + 1 + self.descendants(row)
    }

    pub(crate) fn has_flag(&self, row: u32, flag: u32) -> bool {
        self.columns.flags[row as usize] & flag != 0
    }

    pub(crate) fn duration(&self, row: u32) -> u64 {
        self.columns.duration_nano[row as usize]
    }

    /// Returns the time range of the row's bar. A span that has not ended reaches to the end of the
    /// trace.
    pub(crate) fn stretch(&self, row: u32) -> OffsetRange {
        let start = self.columns.start_offset_nano[row as usize];
        if self.has_flag(row, SpanFlags::UNFINISHED) {
            return OffsetRange::new(start, self.extent.to);
        }
        OffsetRange::lasting(start, self.duration(row))
    }

    /// Returns the row's own ranges of the critical path, in order of time.
    pub(crate) fn critical(&self, row: u32) -> &[OffsetRange] {
        let row = row as usize;
        &self.critical[self.critical_starts[row] as usize..self.critical_starts[row + 1] as usize]
    }

    /// Returns every range of the critical path, by row.
    pub(crate) fn critical_all(&self) -> &[OffsetRange] {
        &self.critical
    }

    /// Returns the range from the start to the end of the critical path in the row and below it.
    pub(crate) fn critical_reach(&self, row: u32) -> Option<OffsetRange> {
        self.critical_reach[row as usize]
    }

    /// Returns the row's self time on the critical path, in nanoseconds.
    pub(crate) fn critical_own(&self, row: u32) -> u64 {
        self.columns.critical_nano[row as usize]
    }

    /// Returns the time in which no child of the row was open, in nanoseconds.
    pub(crate) fn self_time(&self, row: u32) -> u64 {
        self.columns.self_nano[row as usize]
    }

    /// Returns the time on the critical path of the row and its subtree, in nanoseconds.
    pub(crate) fn critical_with_below(&self, row: u32) -> u64 {
        self.critical_sums[self.after(row) as usize] - self.critical_sums[row as usize]
    }

    /// Returns the length of the whole critical path, in nanoseconds.
    pub(crate) fn critical_total(&self) -> u64 {
        self.critical_sums.last().copied().unwrap_or(0)
    }

    /// Returns the queue wait of the message that the row consumes.
    pub(crate) fn queue_of(&self, row: u32) -> Option<&QueueSegment> {
        self.assembly.queues.iter().find(|queue| queue.consumer == row)
    }

    /// Returns the duration of the root, if spans of the trace outlast it.
    pub(crate) fn root_nano(&self) -> Option<u64> {
        self.answer_nano().filter(|nanos| *nanos < self.summary.duration_nano.0)
    }

    /// Returns the time until the root answered: the duration by which transactions of a type are
    /// compared.
    pub(crate) fn answer_nano(&self) -> Option<u64> {
        let is_whole = self.summary.has_root && !self.rows().is_empty();
        let root = self.rows().find(|row| is_whole && self.parent(*row).is_none())?;
        let is_named = self.operation(root) == self.summary.root_operation
            && self.service(root) == self.summary.root_service
            && !self.has_flag(root, SpanFlags::UNFINISHED);
        is_named.then(|| self.duration(root))
    }

    /// Returns the number of failed spans below the row.
    pub(crate) fn errors_below(&self, row: u32) -> u32 {
        self.error_sums[self.after(row) as usize] - self.error_sums[row as usize + 1]
    }

    /// Returns the children of `row`, in order.
    pub(crate) fn children(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let end = self.after(row);
        let mut next = row + 1;
        std::iter::from_fn(move || {
            let child = (next < end).then_some(next)?;
            next = self.after(child);
            Some(child)
        })
    }

    /// Returns the rows with this span id: several when spans share it.
    pub(crate) fn rows_with(&self, id: SpanId) -> &[u32] {
        let start = self.by_id.partition_point(|&row| self.span_id(row) < id);
        let end = self.by_id.partition_point(|&row| self.span_id(row) <= id);
        &self.by_id[start..end]
    }

    /// Returns the index of `row` among the rows that share its span id.
    pub(crate) fn occurrence(&self, row: u32) -> usize {
        let rows = self.rows_with(self.span_id(row));
        rows.iter().position(|&other| other == row).unwrap_or(0)
    }

    /// Reports whether `row` is a call of the run that begins at `first`, or below one.
    pub(crate) fn is_in_run(&self, first: u32, row: u32) -> bool {
        let mut around = std::iter::successors(Some(row), |&row| self.parent(row));
        around.any(|row| self.repeats_first(row) == Some(first))
    }

    /// Returns the first row of the run of repeated calls that has `row`.
    pub(crate) fn repeats_first(&self, row: u32) -> Option<u32> {
        let first = self.repeats.first[row as usize];
        (first != NO_ROW).then_some(first)
    }

    /// Reports whether any call is repeated often enough to be drawn as one row.
    pub(crate) fn has_repeats(&self) -> bool {
        !self.repeats.runs.is_empty()
    }

    /// Returns the calls of the run that begins at `first`.
    pub(crate) fn repeated_calls(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        self.repeats.runs.get(&first).into_iter().flatten().copied()
    }

    /// Returns the statistics of the run that begins at `first`.
    pub(crate) fn repeat_facts(&self, first: u32) -> RepeatFacts {
        let mut durations: Vec<u64> =
            self.repeated_calls(first).map(|call| self.duration(call)).collect();
        durations.sort_unstable();
        let at = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100).max(1);
            durations.get(rank - 1).copied().unwrap_or(0)
        };
        let stretch = self
            .repeated_calls(first)
            .map(|call| self.stretch(call))
            .reduce(OffsetRange::joined)
            .unwrap_or_default();
        RepeatFacts {
            count: rows_of(durations.len()),
            total_nano: durations.iter().fold(0, |sum, nanos| sum.saturating_add(*nanos)),
            p50_nano: at(50),
            p99_nano: at(99),
            errors: self
                .repeated_calls(first)
                .map(|call| {
                    self.errors_below(call) + u32::from(self.has_flag(call, SpanFlags::ERROR))
                })
                .sum(),
            stretch,
            critical: self.repeated_calls(first).any(|call| self.critical_with_below(call) > 0),
        }
    }

    /// Returns the nearest failed row after (or before) `row`, with wraparound.
    pub(crate) fn next_error(&self, row: Option<u32>, forward: bool) -> Option<u32> {
        nearest(rows_of(self.len()), row, forward, |row| self.has_flag(row, SpanFlags::ERROR))
    }

    /// Returns the deepest failed span on the critical path, or else the first that failed. A
    /// failed trace opens there.
    pub(crate) fn first_suspect(&self) -> Option<u32> {
        let failed = || self.rows().filter(|&row| self.has_flag(row, SpanFlags::ERROR));
        failed()
            .filter(|&row| self.critical_reach(row).is_some())
            .max_by_key(|&row| (self.depth(row), std::cmp::Reverse(row)))
            .or_else(|| failed().next())
    }

    pub(crate) fn rows(&self) -> Range<u32> {
        0..rows_of(self.len())
    }
}

/// Returns the nearest row for which `wanted` holds, after (or before) `from`, with wraparound.
pub(crate) fn nearest(
    len: u32,
    from: Option<u32>,
    forward: bool,
    wanted: impl Fn(u32) -> bool,
) -> Option<u32> {
    let from = from.filter(|&row| row < len);
    if forward {
        let start = from.map_or(0, |row| row + 1);
        (start..len).chain(0..start).find(|&row| wanted(row))
    } else {
        let start = from.unwrap_or(len);
        (0..start).rev().chain((start..len).rev()).find(|&row| wanted(row))
    }
}

fn named(names: &[String], index: u32) -> &str {
    names.get(index as usize).map_or("unknown", String::as_str)
}

fn rows_of(len: usize) -> u32 {
    u32::try_from(len).expect("invariant: columns are cut to fewer than 2^31 rows")
}

fn extent_of(columns: &SpanColumns, duration_nano: u64) -> OffsetRange {
    let whole = OffsetRange::lasting(0, duration_nano);
    let drawn = columns
        .start_offset_nano
        .iter()
        .zip(&columns.duration_nano)
        .map(|(start, duration)| OffsetRange::lasting(*start, *duration))
        .fold(whole, OffsetRange::joined);
    // A trace without a duration still needs an axis.
    if drawn.to > drawn.from { drawn } else { OffsetRange::lasting(drawn.from, 1_000) }
}

#[cfg(test)]
mod tests;
