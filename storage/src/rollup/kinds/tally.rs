//! Answers from the transactions that are added up beside data files, and from rows where these do
//! not know.
//!
//! Visible are the spans that began in the range that is asked for or up to an hour before or after
//! it; counted are the transactions that began in the range itself. What is read as rows: memory,
//! files without rollups, rows that these left out, and the traces that are in two places or began
//! in a minute that is not covered.

use std::{
    collections::{HashMap, HashSet},
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use tidings_proto::{TraceId, UnixNanos};

use super::{
    KindKey, WantedTraces,
    build::COLUMNS,
    entries::{Entry, Pool, Samples, entry},
    look::Looking,
    rolled::Rolled,
    sample,
};
use crate::{
    Calls, Detail, ScanStats, Snapshot, SpanFilter, SpanRows, StorageError, TimeRange,
    data_file::{DataFile, columns},
    filter::Matcher,
    rollup::{
        adder::GroupNumber,
        cells::GroupNames,
        covered::{Added, TakenCalls},
        own_calls::{OwnCall, OwnCalls},
        splits::{self, Rows},
        tally::HOUR,
        totals::Totals,
        unanswered::{GoOn, Unanswered},
    },
    schema::Signal,
    snapshot::{SPANS, TableView},
};

/// A question for the kinds of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindBounds {
    /// Transactions are counted between each of these times and the next; ascending.
    pub between: Vec<UnixNanos>,
    /// No more rows are read,
    pub rows_max: u64,
    /// and no more traces are put together from rows.
    pub traces_max: usize,
}

impl KindBounds {
    /// Which spans have to be seen to know the transactions that began in this range: a trace that
    /// was silent for an hour is two.
    #[must_use]
    pub fn visible(range: Range<UnixNanos>) -> Range<UnixNanos> {
        let (start, end) = (range.start.0.saturating_sub(HOUR), range.end.0.saturating_add(HOUR));
        UnixNanos(start)..UnixNanos(end)
    }
}

/// Transactions, added up.
#[derive(Debug)]
pub struct KindCalls {
    groups: GroupNames,
    calls: HashMap<(u32, GroupNumber), Calls>,
}

impl KindCalls {
    /// They by stretch, counted from 0, and by kind; in no order.
    pub fn each(&self) -> impl Iterator<Item = (u32, KindKey<'_>, &Calls)> {
        let named = |((stretch, group), calls): (&(u32, GroupNumber), _)| {
            let key = self.groups.raw(*group).map(KindKey::of);
            key.map(|key| (*stretch, key, calls))
        };
        self.calls.iter().filter(|(_, calls)| calls.count > 0).filter_map(named)
    }
}

/// The kinds of transactions.
#[derive(Debug)]
pub struct KindAnswer {
    /// What was read of rows.
    pub scan: ScanStats,
    /// The transactions.
    pub calls: KindCalls,
    /// The traces that were wanted after these were known.
    pub samples: Vec<Vec<TraceId>>,
}

/// Says of which kinds traces are wanted, each kind once.
type Choose<'a> = dyn FnMut(&KindCalls) -> Vec<WantedTraces> + 'a;

/// A question as it is answered.
pub(super) struct Question<'a> {
    snapshot: &'a Snapshot,
    visible: Range<u64>,
    counted: Range<u64>,
    bounds: Vec<u64>,
    rows_max: u64,
    traces_max: usize,
    stats: ScanStats,
    pool: Pool,
    totals: Totals,
    go_on: &'a mut GoOn<'a>,
}

impl Snapshot {
    /// The kinds of transactions, as all of the visible spans say, and the traces that `choose`
    /// wants of them; `None` when too much would have to be read as rows. Asks `go_on` every now
    /// and then whether to go on, and gives `None` if not.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn tally_kinds(
        &self,
        bounds: &KindBounds,
        choose: &mut Choose<'_>,
        go_on: &mut GoOn<'_>,
    ) -> Result<Option<KindAnswer>, StorageError> {
        let (Some(first), Some(last)) = (bounds.between.first(), bounds.between.last()) else {
            return Ok(None);
        };
        let visible = KindBounds::visible(*first..*last);
        let between: Vec<u64> = bounds.between.iter().map(|bound| bound.0).collect();
        let mut damaged = HashSet::new();
        loop {
            let question = Question {
                snapshot: self,
                visible: visible.start.0..visible.end.0,
                counted: first.0..last.0,
                rows_max: bounds.rows_max,
                traces_max: bounds.traces_max,
                stats: ScanStats { complete: !self.lacking[SPANS], ..ScanStats::default() },
                pool: Pool::default(),
                totals: Totals::between(between.clone()),
                bounds: between.clone(),
                go_on: &mut || go_on(),
            };
            match question.answer(&damaged, choose) {
                Ok(answer) => return Ok(Some(answer)),
                Err(Unanswered::Never) => return Ok(None),
                Err(Unanswered::Failed(error)) => return Err(error),
                Err(Unanswered::Damaged(path)) => damaged.insert(path),
            };
        }
    }
}

impl<'a> Question<'a> {
    fn answer(
        mut self,
        damaged: &HashSet<PathBuf>,
        choose: &mut Choose<'_>,
    ) -> Result<KindAnswer, Unanswered> {
        let (mut rolled, unrolled) = self.plan(damaged);
        self.read_unrolled(unrolled)?;
        for rolled in &rolled {
            self.read_joined(rolled.file, rolled.left_out(), &[], |_| {})?;
        }
        self.join(&mut rolled)?;
        // What each file has counted of the traces that are joined; what counts after all.
        let mut own = OwnCalls::of(rolled.len());
        for (number, rolled) in rolled.iter().enumerate() {
            let count = |of: &Entry| own.push(number, (of.kind, of.call));
            self.read_joined(rolled.file, &rolled.joined, &rolled.covered, count)?;
        }
        let Self { pool, counted, totals, .. } = &mut self;
        for of in pool.entries() {
            let start = of.call.exemplar.start_unix_nano.0;
            if !counted.contains(&start) {
                continue;
            }
            if !own.stays((of.kind, of.call)) {
                totals.of(of.kind, start).add(&of.call);
            }
        }
        for (rolled, (taken, stay)) in rolled.iter().zip(own.settled()) {
            self.add(rolled, &taken, &stay)?;
        }
        self.finish(&rolled, choose)
    }

    /// Which files come from rollups, and which as rows.
    fn plan(&self, damaged: &HashSet<PathBuf>) -> (Vec<Rolled<'a>>, Vec<Arc<DataFile>>) {
        let number = self.snapshot.indexes.begin();
        let (mut rolled, mut unrolled) = (Vec::new(), Vec::new());
        for file in &self.snapshot.spans.files {
            let (min, max) = file.times();
            if max.0 < self.visible.start || self.visible.end <= min.0 {
                continue;
            }
            let rollup = (!damaged.contains(&file.path))
                .then(|| self.snapshot.indexes.kinds(number, file))
                .flatten();
            match rollup.and_then(|rollup| Rolled::of(file, rollup, &self.bounds)) {
                Some(of_rollup) => rolled.push(of_rollup),
                None => unrolled.push(Arc::clone(file)),
            }
        }
        (rolled, unrolled)
    }

    /// Reads what is in no rollup.
    fn read_unrolled(&mut self, files: Vec<Arc<DataFile>>) -> Result<(), Unanswered> {
        let start = TimeRange {
            start: Some(UnixNanos(self.visible.start)),
            end: Some(UnixNanos(self.visible.end)),
        };
        let matcher = Matcher::spans(&SpanFilter { start, ..SpanFilter::default() });
        let view = TableView { chunks: self.snapshot.spans.chunks.clone(), files };
        let left = self.rows_max.saturating_sub(self.stats.rows);
        let progress = self.snapshot.progress(left, SPANS);
        let Self { snapshot, pool, totals, traces_max, go_on, .. } = self;
        let stats =
            view.scan(&snapshot.indexes, matcher, Detail::Facts, progress, &mut |batch| {
                let rows = SpanRows::of(batch)?;
                for row in 0..rows.len() {
                    pool.add(&rows, row, |key| totals.number(key.raw()));
                }
                Ok(if pool.len() > *traces_max { ControlFlow::Break(()) } else { go_on() })
            })?;
        if !stats.complete {
            return Err(Unanswered::Never);
        }
        self.stats.files += stats.files;
        self.spend(stats.rows)
    }

    /// Finds which traces of each file have to be joined.
    fn join(&mut self, rolled: &mut [Rolled<'_>]) -> Result<(), Unanswered> {
        let indexes = &self.snapshot.indexes;
        let files: Vec<_> = rolled.iter().map(|rolled| rolled.file).collect();
        let hours: HashSet<i64> = rolled
            .iter()
            .filter(|rolled| rolled.is_asked())
            .map(|rolled| rolled.file.hour)
            .collect();
        let asked = |file: &DataFile| hours.contains(&file.hour);
        let split = indexes.splits.of(indexes, &files, asked, self.go_on)?;
        for (rolled, split) in rolled.iter_mut().zip(split.ok_or(Unanswered::Never)?) {
            rolled.join(split);
            let near = self.pool.low64s_in(&around(rolled.file.hour));
            rolled.join(splits::rows_of(indexes, rolled.file, &near));
            if rolled.join_cut().is_none() {
                return Err(self.damaged(rolled.file));
            }
        }
        Ok(())
    }

    /// Adds these rows of a file to those of the traces that are put together, and gives `count`
    /// what the file has counted of them in these periods.
    fn read_joined(
        &mut self,
        file: &Arc<DataFile>,
        rows: &Rows,
        covered: &[Range<u64>],
        mut count: impl FnMut(&Entry),
    ) -> Result<(), Unanswered> {
        let mut own: HashMap<TraceId, Entry> = HashMap::new();
        let is_counted = !covered.is_empty();
        self.read(file, rows, |question, rows, row| {
            let Self { visible, pool, totals, traces_max, .. } = question;
            if pool.len() > *traces_max {
                return;
            }
            if is_counted {
                keep_entry(&mut own, rows, row, totals);
            }
            if visible.contains(&rows.start(row).0) {
                pool.add(rows, row, |key| totals.number(key.raw()));
            }
        })?;
        let is_in = |of: &&Entry| {
            let start = of.call.exemplar.start_unix_nano.0;
            covered.iter().any(|part| part.contains(&start))
        };
        own.values().filter(is_in).for_each(&mut count);
        if self.pool.len() > self.traces_max { Err(Unanswered::Never) } else { Ok(()) }
    }

    /// Adds what a file has counted, without what is taken away. Of the traces that are joined,
    /// these calls stay.
    fn add(
        &mut self,
        rolled: &Rolled<'_>,
        taken: &TakenCalls,
        stay: &[OwnCall],
    ) -> Result<(), Unanswered> {
        let again = match rolled.add(taken, &mut self.totals, self.go_on) {
            Added::But(again) => again,
            Added::Stopped => return Err(Unanswered::Never),
            Added::Damaged => return Err(self.damaged(rolled.file)),
        };
        for period in again {
            let rows = rolled.own_rows(&period).ok_or_else(|| self.damaged(rolled.file))?;
            let mut own: HashMap<TraceId, Entry> = HashMap::new();
            self.read(rolled.file, &rows, |question, rows, row| {
                keep_entry(&mut own, rows, row, &mut question.totals);
            })?;
            let own = own.values().map(|of| (of.kind, of.call));
            let is_in = |(_, call): &OwnCall| period.contains(&call.exemplar.start_unix_nano.0);
            for (group, call) in own.chain(stay.iter().copied().filter(is_in)) {
                self.totals.of(group, call.exemplar.start_unix_nano.0).add(&call);
            }
        }
        Ok(())
    }

    /// Gives `visit` these rows of a file.
    pub(super) fn read(
        &mut self,
        file: &DataFile,
        rows: &Rows,
        mut visit: impl FnMut(&mut Self, &SpanRows, usize),
    ) -> Result<(), Unanswered> {
        if rows.is_empty() {
            return Ok(());
        }
        self.spend(rows.iter().map(|rows| rows.end - rows.start).sum())?;
        let mut flow = ControlFlow::Continue(());
        columns(Signal::Spans, file, &COLUMNS, Some(rows), &mut |batch| {
            let rows = SpanRows::of(batch)?;
            (0..rows.len()).for_each(|row| visit(self, &rows, row));
            flow = self.goes_on();
            Ok(flow)
        })?;
        if flow.is_break() { Err(Unanswered::Never) } else { Ok(()) }
    }

    pub(super) fn goes_on(&mut self) -> ControlFlow<()> {
        if self.snapshot.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            (self.go_on)()
        }
    }

    pub(super) fn spend(&mut self, rows: u64) -> Result<(), Unanswered> {
        self.stats.rows = self.stats.rows.saturating_add(rows);
        if self.stats.rows > self.rows_max { Err(Unanswered::Never) } else { Ok(()) }
    }

    fn damaged(&self, file: &Arc<DataFile>) -> Unanswered {
        let indexes = &self.snapshot.indexes;
        indexes.damaged(indexes.begin(), file);
        Unanswered::Damaged(file.path.clone())
    }

    /// The answer, once all is added up.
    fn finish(
        mut self,
        rolled: &[Rolled<'_>],
        choose: &mut Choose<'_>,
    ) -> Result<KindAnswer, Unanswered> {
        let totals = std::mem::replace(&mut self.totals, Totals::between(Vec::new()));
        let (groups, calls) = totals.finish();
        let calls = KindCalls { groups, calls };
        let wanted = choose(&calls);
        let mut others = Samples::new(&wanted);
        for of in self.pool.entries() {
            if self.counted.contains(&of.call.exemplar.start_unix_nano.0) {
                others.add(&calls.groups, &wanted, of);
            }
        }
        let mut looking = Looking::new(&mut self, rolled);
        let samples = match sample::sampled(rolled, &wanted, others, &mut looking) {
            Ok(samples) => samples,
            Err(sample::Failed::Because(error)) => return Err(error),
            Err(sample::Failed::Damaged(file)) => return Err(self.damaged(rolled[file].file)),
        };
        Ok(KindAnswer { scan: self.stats, calls, samples })
    }
}

/// Keeps the row's span if it is the entry of its trace among those that came.
fn keep_entry(own: &mut HashMap<TraceId, Entry>, rows: &SpanRows, row: usize, totals: &mut Totals) {
    if own.get(&rows.trace_id(row)).is_none_or(|known| known.rank.is_after(rows, row)) {
        let of = entry(rows, row, |key| totals.number(key.raw()));
        own.insert(rows.trace_id(row), of);
    }
}

/// The hour and the ones before and after it.
fn around(hour: i64) -> Range<u64> {
    let hour = u64::try_from(hour).unwrap_or_default().saturating_mul(HOUR);
    hour.saturating_sub(HOUR)..hour.saturating_add(2 * HOUR)
}
