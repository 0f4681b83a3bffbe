//! Data file whose rollups answer a part of a query for root operations.

use std::{
    collections::HashSet,
    ops::{ControlFlow, Range, RangeInclusive},
    sync::Arc,
};

use tidings_disk::ranges::{merged, without};
use tidings_files::table_file::DataFile;
use tidings_index::{HashedRun, Indexes, RUNS_PAGE, RolledUp};
use tidings_rollup::{
    HOUR, LEVELS,
    pair_cache::RowRanges,
    retraction::Remainder,
    rollup_encoding::{GroupNames, GroupNumber},
    transaction_types::{
        TransactionTypeKey, TransactionTypeSection,
        transaction_type_section::{HOUR_MINUTES, Summary},
        transaction_type_selection::TransactionTypeTotals,
    },
};

use crate::rollup_query::{
    QueryFailure,
    call_query::common,
    file_buckets::{self, AddOutcome, PairRetractions, PendingBucket, RetractedCalls},
    split_corrections::{Pairs, RollupFile, UsedPair},
};

/// Set of minutes of an hour, as one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MinuteSet(u64);

impl MinuteSet {
    fn matching(is_in: impl Fn(u64) -> bool) -> Self {
        Self((0..HOUR_MINUTES).filter(|minute| is_in(*minute)).fold(0, |all, at| all | 1 << at))
    }

    pub(crate) fn contains(self, minute: u8) -> bool {
        self.0 >> minute & 1 > 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// File whose rollups answer a part of a query.
#[derive(Debug)]
pub(crate) struct TransactionTypeRollupFile<'a> {
    pub file: &'a Arc<DataFile>,
    rollup: RolledUp,
    /// Time ranges of the query that the rollups cover, at most one between two bounds; ascending.
    pub covered: Vec<Range<u64>>,
    /// Minutes that the rollups cover.
    pub(crate) whole_minutes: MinuteSet,
    /// Minutes that are only partly inside the query's range.
    cut: MinuteSet,
    /// Rows of traces that are joined with their parts elsewhere.
    pub(crate) joined: RowRanges,
    /// Last halves of the ids of traces whose entry span is in another file, according to a pair.
    pub elsewhere: HashSet<u64>,
}

impl RollupFile for TransactionTypeRollupFile<'_> {
    fn file(&self) -> &Arc<DataFile> {
        self.file
    }

    fn rollup(&self) -> &RolledUp {
        &self.rollup
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn joined(&self) -> &RowRanges {
        &self.joined
    }

    fn join(&mut self, rows: RowRanges) {
        let all = self.joined.drain(..).chain(rows).collect();
        self.joined = without(&merged(all), self.left_out());
    }
}

impl<'a> TransactionTypeRollupFile<'a> {
    /// Returns the file if its rollups can be used for the ranges between these bounds.
    pub(crate) fn new(file: &'a Arc<DataFile>, rollup: RolledUp, bounds: &[u64]) -> Option<Self> {
        let section = rollup.transaction_types();
        let finest = section.cells.finest()?;
        if u64::try_from(file.hour).ok()? != section.hour {
            return None;
        }
        let covered = file_buckets::covered(file.hour, finest, bounds);
        let minute = |minute: u64| {
            let start = section.hour.saturating_mul(HOUR).saturating_add(minute * LEVELS[0]);
            start..start.saturating_add(LEVELS[0])
        };
        let whole_minutes = MinuteSet::matching(|at| {
            let minute = minute(at);
            covered.iter().any(|part| part.start <= minute.start && minute.end <= part.end)
        });
        let asked = *bounds.first()?..*bounds.last()?;
        let cut = MinuteSet::matching(|at| {
            let at = minute(at);
            !common(&at, &asked).is_empty()
        });
        let cut = MinuteSet(cut.0 & !whole_minutes.0);
        let (joined, elsewhere) = (RowRanges::new(), HashSet::new());
        Some(Self { file, rollup, covered, whole_minutes, cut, joined, elsewhere })
    }

    fn section(&self) -> &TransactionTypeSection {
        self.rollup.transaction_types()
    }

    /// Returns true if transactions of the file can be in the answer.
    pub(crate) fn may_contribute(&self) -> bool {
        !self.whole_minutes.is_empty() || !self.cut.is_empty()
    }

    /// Returns the rows that no rollup bucket counts.
    pub(crate) fn left_out(&self) -> &RowRanges {
        &self.section().left_out
    }

    /// Joins the traces that began in a minute that the query covers only in part. `None` when the
    /// file's index is damaged.
    pub(crate) fn join_cut(&mut self) -> Option<()> {
        if !self.cut.is_empty() {
            let is_cut =
                |of: Summary| Some(of.transaction_type.is_some() && self.cut.contains(of.minute));
            let rows = self.rows_of(is_cut)?;
            self.join(rows);
        }
        Some(())
    }

    /// Returns the rows of the traces that began in one of these buckets, if their transaction type
    /// is among the bucket's groups. Joined rows are excluded. `None` when the file's index is
    /// damaged.
    pub(crate) fn own_rows(
        &self,
        open: &[PendingBucket],
        transaction_type_totals: &mut TransactionTypeTotals<'_>,
    ) -> Option<RowRanges> {
        let (transaction_types, start) =
            (self.numbers(transaction_type_totals)?, self.section().hour.saturating_mul(HOUR));
        let minutes = (0..HOUR_MINUTES).map(|minute| {
            let at = start.saturating_add(minute * LEVELS[0]);
            open.iter().filter(|open| open.range().contains(&at)).collect()
        });
        let minutes: Vec<Vec<&PendingBucket>> = minutes.collect();
        let rows = self.rows_of(|summary| {
            let Some(transaction_type) = summary.transaction_type else { return Some(false) };
            let transaction_type = *transaction_types.get(transaction_type as usize)?;
            Some(
                minutes
                    .get(usize::from(summary.minute))?
                    .iter()
                    .any(|open| open.includes(transaction_type)),
            )
        })?;
        Some(without(&rows, &self.joined))
    }

    /// Returns the rows of the wanted traces. `None` when the file's index is damaged.
    fn rows_of(&self, is_wanted: impl Fn(Summary) -> Option<bool>) -> Option<RowRanges> {
        let mut numbers = Vec::new();
        self.each(|number, summary| {
            if is_wanted(summary)? {
                numbers.push(number);
            }
            Some(())
        })?;
        let runs = self.runs(&numbers)?;
        Some(merged(runs.into_iter().map(|(_, rows)| rows).collect()))
    }

    /// Passes each trace to `visit` by its number. `None` when the file's index is damaged.
    pub(crate) fn each(&self, visit: impl FnMut(u64, Summary) -> Option<()>) -> Option<()> {
        self.section().each(&mut |range| self.rollup.page(range), visit)
    }

    /// Returns the hash ranges and the rows of the traces with these numbers, which are ascending.
    /// The order of the hashes is the order of a sample. `None` when the file's index is damaged.
    pub(crate) fn runs(&self, numbers: &[u64]) -> Option<Vec<HashedRun>> {
        let mut found = Vec::with_capacity(numbers.len());
        for of_page in numbers.chunk_by(|left, right| left / RUNS_PAGE == right / RUNS_PAGE) {
            let runs = self.rollup.trace_runs(of_page.first()? / RUNS_PAGE)?;
            for number in of_page {
                let at = usize::try_from(number % RUNS_PAGE).ok()?;
                found.push(runs.get(at)?.clone());
            }
        }
        Some(found)
    }

    /// Returns the range of positions that the trace with this number can have in the order of a
    /// sample. `None` when the file's index is damaged.
    pub(crate) fn places(&self, number: u64) -> Option<RangeInclusive<u64>> {
        self.rollup.trace_places(number / RUNS_PAGE)
    }

    /// Returns true if the trace with these rows is assembled with its parts elsewhere.
    pub(crate) fn is_joined(&self, rows: &Range<u64>) -> bool {
        let after = self.joined.partition_point(|joined| joined.end <= rows.start);
        self.joined.get(after).is_some_and(|joined| joined.start < rows.end)
    }

    /// Returns the names of the transaction types, by number. `None` when the file's index is
    /// damaged.
    pub(crate) fn transaction_types(&self) -> Option<GroupNames> {
        self.section().cells.groups(&mut |range| self.rollup.page(range))
    }

    /// Adds the covered buckets to `transaction_type_totals`, without the retractions.
    pub(crate) fn add(
        &self,
        (less, taken): (&[PairRetractions<'_>], &RetractedCalls),
        transaction_type_totals: &mut TransactionTypeTotals<'_>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> AddOutcome {
        let Some(transaction_types) = self.numbers(transaction_type_totals) else {
            return AddOutcome::Damaged;
        };
        let cells = &self.section().cells;
        let TransactionTypeTotals { bounds, totals, .. } = transaction_type_totals;
        file_buckets::add(
            (cells, &self.rollup),
            file_buckets::all(cells, &self.covered),
            &transaction_types,
            (less, taken, Remainder::Exact),
            totals,
            &mut |totals| {
                if totals.bytes() > bounds.bytes_max { ControlFlow::Break(()) } else { go_on() }
            },
        )
    }

    /// Passes the number of transactions of each transaction type in the covered buckets to
    /// `visit`.
    pub(crate) fn count(
        &self,
        transaction_type_totals: &mut TransactionTypeTotals<'_>,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
        mut visit: impl FnMut(GroupNumber, u64),
    ) -> AddOutcome {
        let Some(transaction_types) = self.numbers(transaction_type_totals) else {
            return AddOutcome::Damaged;
        };
        let cells = (&self.section().cells, &self.rollup);
        file_buckets::count(cells, &self.covered, go_on, |transaction_type, count| {
            if let Some(transaction_type) = transaction_types.get(transaction_type as usize) {
                visit(*transaction_type, count);
            }
        })
    }

    /// Returns the numbers of the file's transaction types in the answer. `None` when the file's
    /// index is damaged.
    fn numbers(
        &self,
        transaction_type_totals: &mut TransactionTypeTotals<'_>,
    ) -> Option<Vec<GroupNumber>> {
        if self.covered.is_empty() {
            return Some(Vec::new());
        }
        let names = self.transaction_types()?;
        let numbers = 0..GroupNumber::try_from(names.group_count()).unwrap_or(GroupNumber::MAX);
        let keys = numbers
            .map_while(|transaction_type| names.raw(transaction_type))
            .map(TransactionTypeKey::decode);
        Some(keys.map(|key| transaction_type_totals.number(key)).collect())
    }
}

/// Determines the traces of these files whose entry span is in another file, according to pairs.
pub(crate) fn find_split_entries(
    indexes: &Indexes,
    files: &mut [TransactionTypeRollupFile<'_>],
    pairs: &Pairs,
) -> Result<(), QueryFailure> {
    let is_asked = |used: &&UsedPair| used.files.iter().any(|file| files[*file].may_contribute());
    let asked: Vec<&UsedPair> = pairs.used.iter().filter(is_asked).collect();
    for used in asked {
        let settled = used.resolved_traces(files).ok_or_else(|| used.damaged(indexes, files))?;
        for (place, file) in used.files.into_iter().enumerate() {
            files[file].elsewhere.extend(settled.without_entry(place));
        }
    }
    Ok(())
}
