//! Adds up the calls of a snapshot: from rollups where they know, from rows elsewhere.
//!
//! Of each hour, the whole periods inside the asked range come from the rollups of its files. As
//! rows are read: memory, files without rollups, and what the range has left over at its ends. A
//! span in two places counts once: among rows by its content; of two files' rollups, one takes it
//! away ([`super::repeats`]); a row that a rollup has counted is left out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use tidings_proto::{DurationNanos, UnixNanos};

use super::{
    Call, CallKey, Calls, LEVELS, Seen,
    adder::GroupNumber,
    cells::GroupNames,
    repeats::{self, Repeat},
};
use crate::{
    Detail, ScanStats, Snapshot, SpanFilter, SpanRows, StorageError, TimeRange,
    data_file::DataFile,
    filter::Matcher,
    index::RolledUp,
    snapshot::{SPANS, TableView},
};

pub(super) const HOUR: u64 = 3_600_000_000_000;

/// Takes calls, of each span one.
pub trait Tally {
    /// Forgets what it has taken: what follows is all there is.
    fn begin(&mut self);

    /// A call.
    fn call(&mut self, key: CallKey<'_>, call: &Call);

    /// Calls that began in one step, some of them no earlier than `start`.
    fn calls(&mut self, key: CallKey<'_>, start: UnixNanos, calls: &Calls);

    /// Whether to go on. Asked every few thousand calls.
    fn go_on(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// What adding up may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TallyBounds {
    /// Stop after looking at this many rows; those that rollups know are not looked at.
    pub rows_max: u64,
    /// Rows that are told apart from those that came before.
    pub remembered_max: usize,
}

/// What was added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallied {
    /// What was read of rows.
    pub scan: ScanStats,
    /// Whether a span may have counted more than once.
    pub repeats_counted: bool,
}

/// A file of which a part comes from rollups.
struct Rolled<'a> {
    file: &'a Arc<DataFile>,
    rollup: RolledUp,
    /// What of the file comes from them; other files of its hour give the same part.
    covered: Range<u64>,
}

/// A file with rollups, and the finest level of them.
type Told<'a> = (&'a Arc<DataFile>, RolledUp, usize);

/// What comes from where.
#[derive(Default)]
struct Plan<'a> {
    rolled: Vec<Rolled<'a>>,
    unrolled: Vec<Arc<DataFile>>,
}

/// Rollups that cannot be read.
struct Damaged(Arc<DataFile>);

struct Addition<'a> {
    snapshot: &'a Snapshot,
    filter: &'a SpanFilter,
    range: Range<u64>,
    step: u64,
    bounds: TallyBounds,
    tallied: Tallied,
    seen: Seen,
}

impl Snapshot {
    /// Gives `tally` every call that matches, one for each span however often it came. `step` is
    /// how finely it asks for times: calls come added up when they began in one step, counted from
    /// 1970.
    ///
    /// # Errors
    /// When a data file is missing or damaged.
    pub fn tally_spans(
        &self,
        filter: &SpanFilter,
        step: DurationNanos,
        bounds: TallyBounds,
        tally: &mut dyn Tally,
    ) -> Result<Tallied, StorageError> {
        let mut damaged = HashSet::new();
        loop {
            tally.begin();
            let mut addition = Addition {
                snapshot: self,
                filter,
                range: filter.start.start.map_or(0, |start| start.0)
                    ..filter.start.end.map_or(u64::MAX, |end| end.0),
                step: step.0,
                bounds,
                tallied: Tallied::default(),
                seen: Seen::new(bounds.remembered_max),
            };
            match addition.run(&damaged, tally)? {
                Ok(()) => return Ok(addition.tallied),
                Err(Damaged(file)) => {
                    self.indexes.damaged(self.indexes.begin(), &file);
                    damaged.insert(file.path.clone());
                }
            }
        }
    }
}

impl Addition<'_> {
    fn run(
        &mut self,
        damaged: &HashSet<PathBuf>,
        tally: &mut dyn Tally,
    ) -> Result<Result<(), Damaged>, StorageError> {
        self.tallied.scan.complete = true;
        let plan = self.plan(damaged);
        for rolled in &plan.rolled {
            match self.add_rolled(rolled, &plan, tally)? {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => {
                    self.tallied.scan.complete = false;
                    return Ok(Ok(()));
                }
                Err(damaged) => return Ok(Err(damaged)),
            }
        }
        let counted = self.counted(&plan)?;
        for (start, view) in self.rows(plan) {
            let flow = self.add_rows(start, &view, &counted, tally)?;
            if flow.is_break() {
                break;
            }
        }
        self.tallied.repeats_counted = self.seen.forgot;
        Ok(Ok(()))
    }

    fn plan(&self, damaged: &HashSet<PathBuf>) -> Plan<'_> {
        let number = self.snapshot.indexes.begin();
        let mut plan = Plan::default();
        let mut by_hour: BTreeMap<i64, Vec<Told<'_>>> = BTreeMap::new();
        for file in &self.snapshot.spans.files {
            let (min, max) = file.times();
            if max.0 < self.range.start || self.range.end <= min.0 {
                continue;
            }
            let rollup = (is_told(self.filter) && !damaged.contains(&file.path))
                .then(|| self.snapshot.indexes.rollup(number, file))
                .flatten()
                .and_then(|rollup| Some((self.level_of(file, &rollup)?, rollup)));
            match rollup {
                Some((finest, rollup)) => {
                    by_hour.entry(file.hour).or_default().push((file, rollup, finest));
                }
                None => plan.unrolled.push(Arc::clone(file)),
            }
        }
        for (hour, files) in by_hour {
            let level = files.iter().map(|(_, _, finest)| *finest).max().unwrap_or_default();
            let covered = aligned(common(&self.range, &of_hour(hour)), LEVELS[level]);
            if covered.is_empty() {
                plan.unrolled.extend(files.iter().map(|(file, ..)| Arc::clone(file)));
                continue;
            }
            plan.rolled.extend(files.into_iter().map(|(file, rollup, _)| Rolled {
                file,
                rollup,
                covered: covered.clone(),
            }));
        }
        plan
    }

    /// The finest level of a file's rollups, when they can be of use: steps are made of its
    /// periods, and all that the file has of the range began in the file's hour.
    fn level_of(&self, file: &DataFile, rollup: &RolledUp) -> Option<usize> {
        let directory = rollup.directory();
        let finest = directory.finest()?;
        let is_stray = |period: Range<u64>| {
            common(&period, &of_hour(file.hour)).is_empty()
                && !common(&period, &self.range).is_empty()
        };
        let fits =
            self.step.is_multiple_of(LEVELS[finest]) && !directory.periods(finest).any(is_stray);
        fits.then_some(finest)
    }

    /// What has to be read as rows, by range of time.
    fn rows(&self, plan: Plan<'_>) -> Vec<(Range<u64>, TableView)> {
        let mut of_range: BTreeMap<(u64, u64), TableView> = BTreeMap::new();
        let whole = (self.range.start, self.range.end);
        of_range.insert(
            whole,
            TableView { chunks: self.snapshot.spans.chunks.clone(), files: plan.unrolled },
        );
        for Rolled { file, covered, .. } in plan.rolled {
            for (start, end) in [(whole.0, covered.start), (covered.end, whole.1)] {
                let (min, max) = file.times();
                if start < end && min.0 < end && start <= max.0 {
                    of_range.entry((start, end)).or_default().files.push(Arc::clone(file));
                }
            }
        }
        of_range.into_iter().map(|((start, end), view)| (start..end, view)).collect()
    }

    fn add_rows(
        &mut self,
        range: Range<u64>,
        view: &TableView,
        counted: &HashSet<u64>,
        tally: &mut dyn Tally,
    ) -> Result<ControlFlow<()>, StorageError> {
        // An end that is not there stays so: a time may be the last there is.
        let end = (range.end < self.range.end).then_some(UnixNanos(range.end));
        let start = TimeRange {
            start: (range.start > 0).then_some(UnixNanos(range.start)),
            end: end.or(self.filter.start.end),
        };
        let matcher = Matcher::spans(&SpanFilter { start, ..self.filter.clone() });
        let rows_max = self.bounds.rows_max.saturating_sub(self.tallied.scan.rows);
        let progress = self.snapshot.progress(rows_max, SPANS);
        let (seen, mut flow) = (&mut self.seen, ControlFlow::Continue(()));
        let indexes = &self.snapshot.indexes;
        let stats = view.scan(indexes, matcher, Detail::Facts, progress, &mut |batch| {
            let rows = SpanRows::of(batch)?;
            for row in 0..rows.len() {
                let hash = rows.content_hash(row);
                if !counted.contains(&hash) && seen.is_new(hash) {
                    tally.call(CallKey::of(&rows, row), &Call::of(&rows, row));
                }
            }
            flow = tally.go_on();
            Ok(flow)
        })?;
        let scan = &mut self.tallied.scan;
        scan.rows += stats.rows;
        scan.files += stats.files;
        scan.complete &= stats.complete;
        let spent = !stats.complete && scan.rows >= self.bounds.rows_max;
        Ok(if spent || self.is_stopped() { ControlFlow::Break(()) } else { flow })
    }

    fn is_stopped(&self) -> bool {
        self.snapshot.stop.load(Ordering::Relaxed)
    }

    /// The contents of spans that rollups have counted and that may be among the rows.
    fn counted(&self, plan: &Plan<'_>) -> Result<HashSet<u64>, StorageError> {
        let mut unrolled: HashMap<&PathBuf, Vec<u64>> = HashMap::new();
        for file in &plan.unrolled {
            let may_share = |rolled: &Rolled<'_>| overlaps(&rolled.covered, file.times());
            if plan.rolled.iter().any(may_share) {
                unrolled.insert(&file.path, repeats::low64s(file, None)?);
            }
        }
        let mut counted = HashSet::new();
        for Rolled { file, covered, .. } in &plan.rolled {
            if self.is_stopped() {
                break;
            }
            let chunks = self.snapshot.spans.chunks.iter();
            let chunks = chunks.filter(|chunk| overlaps(covered, chunk.times()));
            let mut low64s: Vec<u64> =
                chunks.flat_map(|chunk| chunk.trace_low64s()).copied().collect();
            for other in plan.unrolled.iter().filter(|other| overlaps(covered, other.times())) {
                low64s.extend(unrolled.get(&other.path).into_iter().flatten());
            }
            if low64s.is_empty() {
                continue;
            }
            low64s.sort_unstable();
            low64s.dedup();
            repeats::each_of(&self.snapshot.indexes, file, &low64s, |hash, start| {
                if covered.contains(&start) {
                    counted.insert(hash);
                }
            })?;
        }
        Ok(counted)
    }

    fn add_rolled(
        &self,
        rolled: &Rolled<'_>,
        plan: &Plan<'_>,
        tally: &mut dyn Tally,
    ) -> Result<Result<ControlFlow<()>, Damaged>, StorageError> {
        let damaged = || Damaged(Arc::clone(rolled.file));
        let (rollup, directory) = (&rolled.rollup, rolled.rollup.directory());
        let mut fetch = |range| rollup.page(range);
        let names = directory.groups(&mut fetch).filter(GroupNames::are_calls);
        let Some(names) = names else { return Ok(Err(damaged())) };
        let repeats = self.repeats(rolled, &names, plan)?;
        let asked = self.asked(&names);
        for (level, start) in tiles(&rolled.covered, self.step, |level| directory.has(level)) {
            if self.is_stopped() || tally.go_on().is_break() {
                return Ok(Ok(ControlFlow::Break(())));
            }
            let period = start..start.saturating_add(LEVELS[level]);
            let whole = directory.cells(level, start, &mut fetch, |group, decode| {
                if !*asked.get(group as usize)? {
                    return Some(());
                }
                let (key, mut calls) = (names.key(group)?, decode()?);
                for call in repeats.get(&group).into_iter().flatten() {
                    if period.contains(&call.exemplar.start_unix_nano.0) {
                        calls.remove(call);
                    }
                }
                if calls.count > 0 {
                    tally.calls(key, UnixNanos(start), &calls);
                }
                Some(())
            });
            if whole.is_none() {
                return Ok(Err(damaged()));
            }
        }
        Ok(Ok(ControlFlow::Continue(())))
    }

    /// The calls of a file that others of its hour take part in counting, by group: of the files
    /// that have one, all but the greatest take it away.
    fn repeats(
        &self,
        rolled: &Rolled<'_>,
        names: &GroupNames,
        plan: &Plan<'_>,
    ) -> Result<HashMap<GroupNumber, Vec<Call>>, StorageError> {
        let size = |file: &Arc<DataFile>| (file.rows, file.path.clone());
        let file = rolled.file;
        let others = plan.rolled.iter().map(|other| other.file);
        let others: Vec<_> =
            others.filter(|other| other.hour == file.hour && size(other) > size(file)).collect();
        let indexes = &self.snapshot.indexes;
        let repeats = indexes.repeats.of(indexes, (file, names), &others)?;
        let mut by_group: HashMap<GroupNumber, Vec<Call>> = HashMap::new();
        for Repeat { group, call, .. } in repeats {
            by_group.entry(group).or_default().push(call);
        }
        Ok(by_group)
    }

    /// Which of a file's groups match.
    fn asked(&self, names: &GroupNames) -> Vec<bool> {
        let SpanFilter { services, operation, kind, status, .. } = self.filter;
        let matches = |key: CallKey<'_>| {
            services.as_ref().is_none_or(|any| any.iter().any(|service| service == key.service))
                && operation.as_ref().is_none_or(|operation| operation == key.operation)
                && kind.is_none_or(|kind| kind == key.kind)
                && status.is_none_or(|status| status == key.status)
        };
        (0..).map_while(|group| names.key(group)).map(matches).collect()
    }
}

/// Whether rollups know enough of spans to choose those that match.
fn is_told(filter: &SpanFilter) -> bool {
    let SpanFilter { start, services, operation, kind, status, .. } = filter.clone();
    *filter == SpanFilter { start, services, operation, kind, status, ..SpanFilter::default() }
}

pub(super) fn of_hour(hour: i64) -> Range<u64> {
    let start = u64::try_from(hour).unwrap_or_default().saturating_mul(HOUR);
    start..start.saturating_add(HOUR)
}

pub(super) fn common(left: &Range<u64>, right: &Range<u64>) -> Range<u64> {
    left.start.max(right.start)..left.end.min(right.end)
}

/// The whole periods in a range.
pub(super) fn aligned(range: Range<u64>, period: u64) -> Range<u64> {
    range.start.div_ceil(period).saturating_mul(period)..range.end - range.end % period
}

fn overlaps(covered: &Range<u64>, (min, max): (UnixNanos, UnixNanos)) -> bool {
    min.0 < covered.end && covered.start <= max.0
}

/// The periods that make up a range, each as long as possible: level and start.
pub(super) fn tiles(
    covered: &Range<u64>,
    step: u64,
    has: impl Fn(usize) -> bool,
) -> impl Iterator<Item = (usize, u64)> {
    let fits = |level: &usize| has(*level) && step.is_multiple_of(LEVELS[*level]);
    let levels: Vec<usize> = (0..LEVELS.len()).rev().filter(fits).collect();
    let (mut at, end) = (covered.start, covered.end);
    std::iter::from_fn(move || {
        let whole = |level: &&usize| {
            let length = LEVELS[**level];
            at.is_multiple_of(length) && at < end && length <= end - at
        };
        let level = *levels.iter().find(whole)?;
        let start = at;
        at += LEVELS[level];
        Some((level, start))
    })
}
