//! Query for root operations: from rollups, and from rows where rollups have no answer.
//!
//! Visible spans began in the query's range or up to an hour before or after it. Only transactions
//! that began in the range itself count. These rows are read: memory, files without rollups, rows
//! that rollups omit, traces in two places, and traces that began in a minute without coverage.
//!
//! `rolled` is a file that answers from rollups. `sample` picks example traces, and `row_sampler`
//! reads their rows. `pair_entries` computes corrections for a pair of files.

mod pair_entries;
mod rollup_file;
mod row_sampler;
mod sample;

use std::{
    collections::HashSet,
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use ahash::RandomState;
use tidings_columns::{Projection, SpanRows};
use tidings_data_file::{ScanStats, TableView, columns};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{SpanFilter, TimeRange, filter::Matcher};
use tidings_proto::{Signal, TraceId, UnixNanos};
use tidings_rollup::{
    HOUR,
    pair_cache::RowRanges,
    query_totals::QueryTotals,
    rollup_encoding::GroupNumber,
    transaction_types::{
        SampleSpec, TransactionTypeBounds, TransactionTypeCalls, TransactionTypeKey,
        build::COLUMNS,
        entry_spans::{BestRow, EntryPool, EntrySpan, Samples, entry, trace_runs},
        transaction_type_selection::{
            FrequentHashes, TransactionTypeSelection, TransactionTypeTotals,
        },
    },
};

use crate::{
    Snapshot,
    rollup_query::{
        CancellationCheck, QueryFailure, UnusableFiles,
        counted_calls::{CountedCalls, GroupCall},
        file_buckets::{AddOutcome, RetractedCalls},
        split_corrections::{PairGroups, Pairs, RollupFile},
        splits::{self, find_splits},
    },
    snapshot::SPANS,
};
use rollup_file::{TransactionTypeRollupFile, find_split_entries};
use row_sampler::RowSampler;

pub(super) use pair_entries::entries;

/// Answer of a query for root operations.
#[derive(Debug)]
pub struct TransactionTypeAnswer {
    /// Rows and files read.
    pub scan: ScanStats,
    /// Transactions by transaction type.
    pub calls: TransactionTypeCalls,
    /// Sample traces that `choose` requested after the transactions were known.
    pub samples: Vec<Vec<TraceId>>,
}

/// Chooses the transaction types for which sample traces are wanted, each transaction type once.
type SampleChooser<'a> = dyn FnMut(&TransactionTypeCalls) -> Vec<SampleSpec> + 'a;

/// State of a query.
pub(crate) struct TransactionTypeQuery<'a> {
    snapshot: &'a Snapshot,
    visible: Range<u64>,
    counted: Range<u64>,
    bounds: Vec<u64>,
    rows_max: u64,
    traces_max: usize,
    stats: ScanStats,
    pool: EntryPool,
    transaction_type_totals: TransactionTypeTotals<'a>,
    go_on: &'a mut CancellationCheck<'a>,
}

impl Snapshot {
    /// Aggregates the transactions over all visible spans, and samples the traces that `choose`
    /// wants. Returns `None` when too much must be read as rows. `go_on` is called regularly; if it
    /// breaks, returns `None`.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn aggregate_transaction_types(
        &self,
        bounds: &TransactionTypeBounds,
        choose: &mut SampleChooser<'_>,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<Option<TransactionTypeAnswer>, StorageError> {
        let (Some(first), Some(last)) = (bounds.between.first(), bounds.between.last()) else {
            return Ok(None);
        };
        let counted = first.0..last.0;
        let (hashing, mut apart) = (RandomState::new(), TransactionTypeSelection::All);
        let (mut unusable, mut told_apart) = (UnusableFiles::default(), 0);
        loop {
            let transaction_type_totals = TransactionTypeTotals::new(bounds, &hashing, &apart);
            let go_on: &mut CancellationCheck<'_> = &mut || go_on();
            let question =
                TransactionTypeQuery::new(self, &counted, bounds, transaction_type_totals, go_on);
            let answer = match apart {
                TransactionTypeSelection::None => {
                    question.counted(&unusable).map(PassResult::Counts)
                }
                _ => question.answer(&unusable, choose).map(PassResult::TransactionTypes),
            };
            match answer {
                Ok(PassResult::TransactionTypes(answer)) => return Ok(Some(answer)),
                Ok(PassResult::Counts(counts)) => {
                    apart = TransactionTypeSelection::frequent(counts, told_apart)
                }
                Err(QueryFailure::TooManyGroups(count)) => {
                    let Some(fewer) = apart.fewer(count) else { return Ok(None) };
                    (apart, told_apart) = (fewer, count);
                }
                Err(QueryFailure::Never | QueryFailure::TooMuch) => return Ok(None),
                Err(QueryFailure::Failed(error)) => return Err(error),
                Err(QueryFailure::Damaged(path)) => _ = unusable.damaged.insert(path),
                Err(QueryFailure::Alone(paths)) => unusable.alone.extend(paths),
            }
        }
    }
}

/// Result of one pass over the data.
enum PassResult {
    TransactionTypes(TransactionTypeAnswer),
    /// Upper bounds of the transaction counts, by hash of the transaction type.
    Counts(Vec<u64>),
}

impl<'a> TransactionTypeQuery<'a> {
    fn new(
        snapshot: &'a Snapshot,
        counted: &Range<u64>,
        bounds: &TransactionTypeBounds,
        transaction_type_totals: TransactionTypeTotals<'a>,
        go_on: &'a mut CancellationCheck<'a>,
    ) -> Self {
        let visible =
            TransactionTypeBounds::visible(UnixNanos(counted.start)..UnixNanos(counted.end));
        Self {
            snapshot,
            visible: visible.start.0..visible.end.0,
            counted: counted.clone(),
            bounds: bounds.times(),
            rows_max: bounds.rows_max,
            traces_max: bounds.traces_max,
            stats: ScanStats { complete: !snapshot.missing_rows[SPANS], ..ScanStats::default() },
            pool: EntryPool::default(),
            transaction_type_totals,
            go_on,
        }
    }

    fn answer(
        mut self,
        unusable: &UnusableFiles,
        choose: &mut SampleChooser<'_>,
    ) -> Result<TransactionTypeAnswer, QueryFailure> {
        let (rolled, pairs) = self.prepare(unusable)?;
        // Transactions of the joined traces that each file has counted. They are compared with the
        // right ones.
        let mut own = CountedCalls::new(rolled.len());
        for (number, rolled) in rolled.iter().enumerate() {
            let count = |of: &EntrySpan| match rolled
                .elsewhere
                .contains(&of.call.exemplar.trace_id.low64())
            {
                true => own.push_retracted(number, (of.transaction_type, of.call)),
                false => own.push(number, (of.transaction_type, of.call)),
            };
            self.read_joined(rolled.file, &rolled.joined, &rolled.covered, count)?;
        }
        let Self { pool, counted, transaction_type_totals, .. } = &mut self;
        for of in pool.entries_in(counted) {
            if !own.stays((of.transaction_type, of.call)) {
                transaction_type_totals.add(of.transaction_type, &of.call);
            }
            if let Some(count) = transaction_type_totals.too_many() {
                return Err(QueryFailure::TooManyGroups(count));
            }
        }
        let Self { snapshot, transaction_type_totals, .. } = &mut self;
        let groups = pairs.groups(
            &snapshot.indexes,
            &rolled,
            |pair| &pair.transaction_types,
            |key| Some(transaction_type_totals.number(TransactionTypeKey::decode(key))),
        )?;
        for (number, (taken, stay)) in own.into_retractions().enumerate() {
            self.add(&rolled, number, (&pairs, &groups), &taken, &stay)?;
        }
        // The memory is checked before each bucket of a file, and therefore once more after the
        // last.
        if let Some(count) = self.transaction_type_totals.too_many() {
            return Err(QueryFailure::TooManyGroups(count));
        }
        self.finish(&rolled, choose)
    }

    /// Returns upper bounds of the transaction counts, by hash of the transaction type. Split
    /// traces may count in each place.
    fn counted(mut self, unusable: &UnusableFiles) -> Result<Vec<u64>, QueryFailure> {
        let (rolled, _) = self.prepare(unusable)?;
        for rolled in &rolled {
            self.read_joined(rolled.file, &rolled.joined, &[], |_| {})?;
        }
        let mut counts = FrequentHashes::counts();
        let mut count = |transaction_type: GroupNumber, many: u64| {
            if let Some(count) = counts.get_mut(transaction_type as usize) {
                *count = count.saturating_add(many);
            }
        };
        self.pool.entries_in(&self.counted).for_each(|of| count(of.transaction_type, 1));
        for rolled in &rolled {
            match rolled.count(&mut self.transaction_type_totals, self.go_on, &mut count) {
                AddOutcome::Added(_) => {}
                AddOutcome::Stopped => return Err(QueryFailure::Never),
                AddOutcome::Damaged => return Err(self.damaged(rolled.file)),
            }
        }
        Ok(counts)
    }

    /// Reads the rows that no rollup bucket counts, and determines the rows of each file that must
    /// be joined.
    fn prepare(
        &mut self,
        unusable: &UnusableFiles,
    ) -> Result<(Vec<TransactionTypeRollupFile<'a>>, Pairs), QueryFailure> {
        let (mut rolled, unrolled) = self.plan(&unusable.damaged);
        self.read_unrolled(unrolled)?;
        for rolled in &rolled {
            self.read_joined(rolled.file, rolled.left_out(), &[], |_| {})?;
        }
        let mut pairs = Pairs::find(&rolled, &unusable.alone);
        self.join(&mut rolled, &mut pairs)?;
        find_split_entries(&self.snapshot.indexes, &mut rolled, &pairs)?;
        Ok((rolled, pairs))
    }

    /// Divides the files into those that are answered from rollups and those that are read as rows.
    fn plan(
        &self,
        damaged: &HashSet<PathBuf>,
    ) -> (Vec<TransactionTypeRollupFile<'a>>, Vec<Arc<DataFile>>) {
        let number = self.snapshot.indexes.begin_scan();
        let (mut rolled, mut unrolled) = (Vec::new(), Vec::new());
        for file in &self.snapshot.spans.files {
            let (min, max) = file.times();
            if max.0 < self.visible.start || self.visible.end <= min.0 {
                continue;
            }
            let rollup = (!damaged.contains(&file.path))
                .then(|| self.snapshot.indexes.transaction_types(number, file))
                .flatten();
            match rollup
                .and_then(|rollup| TransactionTypeRollupFile::new(file, rollup, &self.bounds))
            {
                Some(of_rollup) => rolled.push(of_rollup),
                None => unrolled.push(Arc::clone(file)),
            }
        }
        (rolled, unrolled)
    }

    /// Reads the rows without rollups.
    fn read_unrolled(&mut self, files: Vec<Arc<DataFile>>) -> Result<(), QueryFailure> {
        let start = TimeRange {
            start: Some(UnixNanos(self.visible.start)),
            end: Some(UnixNanos(self.visible.end)),
        };
        let matcher = Matcher::spans(&SpanFilter { start, ..SpanFilter::default() });
        let view = TableView { chunks: self.snapshot.spans.chunks.clone(), files };
        let left = self.rows_max.saturating_sub(self.stats.rows);
        let progress = self.snapshot.progress(left, SPANS);
        let Self { snapshot, visible, pool, transaction_type_totals, traces_max, go_on, .. } = self;
        let stats =
            view.scan(&snapshot.indexes, matcher, Projection::Facts, progress, &mut |batch| {
                let rows = SpanRows::from_batch(batch)?;
                for run in trace_runs(&rows) {
                    pool.add_run(&rows, run, visible, |key| transaction_type_totals.number(key));
                }
                let is_too_much = pool.trace_count() > *traces_max
                    || transaction_type_totals.too_many().is_some();
                Ok(if is_too_much { ControlFlow::Break(()) } else { go_on() })
            })?;
        if !stats.complete {
            return Err(self.ended());
        }
        self.stats.files += stats.files;
        self.spend(stats.rows)
    }

    /// Determines the traces of each file that must be joined with their parts elsewhere.
    fn join(
        &mut self,
        rolled: &mut [TransactionTypeRollupFile<'_>],
        pairs: &mut Pairs,
    ) -> Result<(), QueryFailure> {
        let indexes = &self.snapshot.indexes;
        let files: Vec<_> = rolled.iter().map(|rolled| rolled.file).collect();
        let hours: HashSet<i64> = rolled
            .iter()
            .filter(|rolled| rolled.may_contribute())
            .map(|rolled| rolled.file.hour)
            .collect();
        let asked = |file: &DataFile| hours.contains(&file.hour);
        let split = find_splits(indexes, &files, pairs, asked, self.go_on)?;
        for (rolled, split) in rolled.iter_mut().zip(split.ok_or(QueryFailure::Never)?) {
            rolled.join(split);
            let near = self.pool.low64s_in(&around(rolled.file.hour));
            rolled.join(splits::rows_of(indexes, rolled.file, &near));
            if rolled.join_cut().is_none() {
                return Err(self.damaged(rolled.file));
            }
        }
        pairs.join(indexes, rolled, self.go_on)
    }

    /// Adds these rows of a file to the traces under assembly. Passes the file's own counts for
    /// them in the covered buckets to `count`.
    fn read_joined(
        &mut self,
        file: &Arc<DataFile>,
        rows: &RowRanges,
        covered: &[Range<u64>],
        mut count: impl FnMut(&EntrySpan),
    ) -> Result<(), QueryFailure> {
        let mut own: Vec<(TraceId, EntrySpan)> = Vec::new();
        let is_counted = !covered.is_empty();
        self.read_batches(file, rows, |question, rows| {
            let Self { visible, pool, transaction_type_totals, traces_max, .. } = question;
            for run in trace_runs(rows) {
                if pool.trace_count() > *traces_max {
                    return;
                }
                if is_counted {
                    keep_entry(&mut own, rows, run.clone(), transaction_type_totals);
                }
                pool.add_run(rows, run, visible, |key| transaction_type_totals.number(key));
            }
        })?;
        let is_in = |of: &&EntrySpan| {
            let start = of.call.exemplar.start_unix_nano.0;
            covered.iter().any(|part| part.contains(&start))
        };
        own.iter().map(|(_, of)| of).filter(is_in).for_each(&mut count);
        if self.pool.trace_count() > self.traces_max { Err(QueryFailure::Never) } else { Ok(()) }
    }

    /// Adds the rollups of a file, without the retractions. `stay` are the calls of split traces
    /// that still count in it.
    fn add(
        &mut self,
        files: &[TransactionTypeRollupFile<'_>],
        number: usize,
        (pairs, groups): (&Pairs, &[PairGroups]),
        taken: &RetractedCalls,
        stay: &[GroupCall],
    ) -> Result<(), QueryFailure> {
        let less = pairs.retractions(number, files, groups, |pair| &pair.transaction_types);
        let rolled = &files[number];
        let again = match rolled.add((&less, taken), &mut self.transaction_type_totals, self.go_on)
        {
            AddOutcome::Added(again) => again,
            AddOutcome::Stopped => return Err(self.ended()),
            AddOutcome::Damaged => return Err(self.damaged(rolled.file)),
        };
        if again.is_empty() {
            return Ok(());
        }
        let rows = rolled.own_rows(&again, &mut self.transaction_type_totals);
        let rows = rows.ok_or_else(|| self.damaged(rolled.file))?;
        let mut own: Vec<(TraceId, EntrySpan)> = Vec::new();
        self.read_batches(rolled.file, &rows, |question, rows| {
            for run in trace_runs(rows) {
                keep_entry(&mut own, rows, run, &mut question.transaction_type_totals);
            }
        })?;
        let is_here = |trace: &TraceId| !rolled.elsewhere.contains(&trace.low64());
        let own = own.iter().filter(|(trace, _)| is_here(trace));
        let own = own.map(|(_, of)| (of.transaction_type, of.call));
        let is_open = |(transaction_type, call): &GroupCall| {
            let start = call.exemplar.start_unix_nano.0;
            again.iter().any(|open| open.contains(*transaction_type, start))
        };
        for (transaction_type, call) in own.chain(stay.iter().copied()).filter(is_open) {
            self.transaction_type_totals.add(transaction_type, &call);
        }
        Ok(())
    }

    /// Passes these rows of a file to `visit`.
    pub(crate) fn read(
        &mut self,
        file: &DataFile,
        rows: &RowRanges,
        mut visit: impl FnMut(&mut Self, &SpanRows, usize),
    ) -> Result<(), QueryFailure> {
        self.read_batches(file, rows, |question, rows| {
            (0..rows.len()).for_each(|row| visit(question, rows, row));
        })
    }

    /// Like [`Self::read`], for many rows at once.
    fn read_batches(
        &mut self,
        file: &DataFile,
        rows: &RowRanges,
        mut visit: impl FnMut(&mut Self, &SpanRows),
    ) -> Result<(), QueryFailure> {
        if rows.is_empty() {
            return Ok(());
        }
        self.spend(rows.iter().map(|rows| rows.end - rows.start).sum())?;
        let mut flow = ControlFlow::Continue(());
        columns(Signal::Spans, file, &COLUMNS, Some(rows), &mut |batch| {
            let rows = SpanRows::from_batch(batch)?;
            visit(self, &rows);
            flow = if self.transaction_type_totals.too_many().is_some() {
                ControlFlow::Break(())
            } else {
                self.goes_on()
            };
            Ok(flow)
        })?;
        if flow.is_break() { Err(self.ended()) } else { Ok(()) }
    }

    pub(crate) fn goes_on(&mut self) -> ControlFlow<()> {
        if self.snapshot.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            (self.go_on)()
        }
    }

    pub(crate) fn spend(&mut self, rows: u64) -> Result<(), QueryFailure> {
        self.stats.rows = self.stats.rows.saturating_add(rows);
        if self.stats.rows > self.rows_max { Err(QueryFailure::TooMuch) } else { Ok(()) }
    }

    /// Returns the reason why the aggregation stopped.
    fn ended(&self) -> QueryFailure {
        self.transaction_type_totals
            .too_many()
            .map_or(QueryFailure::Never, QueryFailure::TooManyGroups)
    }

    fn damaged(&self, file: &Arc<DataFile>) -> QueryFailure {
        let indexes = &self.snapshot.indexes;
        indexes.damaged(Signal::Spans, indexes.begin_scan(), file);
        QueryFailure::Damaged(file.path.clone())
    }

    /// Returns the answer once all sources are added.
    fn finish(
        mut self,
        rolled: &[TransactionTypeRollupFile<'_>],
        choose: &mut SampleChooser<'_>,
    ) -> Result<TransactionTypeAnswer, QueryFailure> {
        let totals = std::mem::replace(
            &mut self.transaction_type_totals.totals,
            QueryTotals::between(Vec::new()),
        );
        let calls = TransactionTypeCalls::from_totals(
            totals,
            self.transaction_type_totals.apart.others_max(),
        );
        let wanted = choose(&calls);
        let mut others = Samples::new(&wanted);
        for of in self.pool.entries_in(&self.counted) {
            others.add(&calls.groups, &wanted, of);
        }
        let mut looking = RowSampler::new(&mut self, rolled);
        let samples = match sample::sampled(rolled, &wanted, others, &mut looking) {
            Ok(samples) => samples,
            Err(sample::SampleFailure::Read(error)) => return Err(error),
            Err(sample::SampleFailure::Damaged(file)) => {
                return Err(self.damaged(rolled[file].file));
            }
        };
        Ok(TransactionTypeAnswer { scan: self.stats, calls, samples })
    }
}

/// Keeps the best entry span of these rows, which are of one trace. An earlier entry span of that
/// trace is the last of `own`, because all rows of a trace are one run in its file.
fn keep_entry(
    own: &mut Vec<(TraceId, EntrySpan)>,
    rows: &SpanRows,
    run: Range<usize>,
    transaction_type_totals: &mut TransactionTypeTotals<'_>,
) {
    let Some(BestRow { row, .. }) = BestRow::among(rows, run) else { return };
    let trace = rows.trace_id(row);
    let mut find = || entry(rows, row, |key| transaction_type_totals.number(key));
    match own.last_mut().filter(|(known, _)| *known == trace) {
        None => own.push((trace, find())),
        Some((_, known)) if known.rank.is_after(rows, row) => *known = find(),
        Some(_) => {}
    }
}

/// Returns the time of this hour and of the ones before and after it.
fn around(hour: i64) -> Range<u64> {
    let hour = u64::try_from(hour).unwrap_or_default().saturating_mul(HOUR);
    hour.saturating_sub(HOUR)..hour.saturating_add(2 * HOUR)
}

#[cfg(test)]
mod tests;
