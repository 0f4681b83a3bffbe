//! Selects the pairs of files that a query can use, and the traces that it must assemble anyway.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use tidings_files::table_file::DataFile;
use tidings_index::{Indexes, RolledUp};
use tidings_proto::Signal;
use tidings_rollup::{
    RawKey,
    pair_cache::RowRanges,
    rollup_encoding::{Directory, GroupNumber},
    split_corrections::{CorrectionRole, Pair, ResolvedTraces},
};

use super::name_hash;
use crate::rollup_query::{
    CancellationCheck, QueryFailure, file_buckets::PairRetractions, repeats::low64s,
    splits::rows_of,
};

/// File of a query whose rollups answer a part of it.
pub(crate) trait RollupFile {
    /// Returns the data file.
    fn file(&self) -> &Arc<DataFile>;
    /// Returns its rollups.
    fn rollup(&self) -> &RolledUp;
    /// Returns true if the pair corrections of the whole file apply.
    fn is_whole(&self) -> bool;
    /// Returns the rows of traces that are joined with their parts elsewhere.
    fn joined(&self) -> &RowRanges;
    /// Adds rows of traces that must be joined with their parts elsewhere.
    fn join(&mut self, rows: RowRanges);
}

/// Pairs of a query's files.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub used: Vec<UsedPair>,
    /// Pairs that need no comparison, the smaller number first.
    compared: HashSet<(usize, usize)>,
}

/// Pair that the query uses.
#[derive(Debug)]
pub(crate) struct UsedPair {
    /// Numbers of its files. The second has the section.
    pub files: [usize; 2],
    /// Index of the pair in the section.
    at: usize,
    /// Resolved traces that are assembled again, because they have parts elsewhere. They are the
    /// last halves of the ids, ascending.
    pub again: Vec<u64>,
}

/// Role of each group of a pair, and its number in the answer, by the number of the group in the
/// pair.
pub(crate) type PairGroups = Vec<(CorrectionRole, GroupNumber)>;

impl Pairs {
    /// Finds the usable pairs among these files. Pairs of files in `alone` are not used.
    pub(crate) fn find<R: RollupFile>(files: &[R], alone: &HashSet<PathBuf>) -> Self {
        let can = |file: &&R| file.is_whole() && !alone.contains(&file.file().path);
        let mut by_name = HashMap::new();
        for (number, of) in files.iter().enumerate().filter(|(_, file)| can(file)) {
            if let Some(section) = of.rollup().corrections() {
                let file = of.file();
                by_name.insert((file.hour, name_hash(&file.path)), (number, section));
            }
        }
        // File of each pair that was compared with the other one. When the index of one was lost,
        // both were compared with each other. They may then resolve traces that other pairs resolve
        // too, so the value is `None`.
        let mut compared: BTreeMap<(usize, usize), Option<usize>> = BTreeMap::new();
        for ((hour, _), (number, section)) in &by_name {
            for name in &section.compared {
                let Some((other, _)) = by_name.get(&(*hour, *name)) else { continue };
                let pair = ((*number).min(*other), (*number).max(*other));
                let known = compared.entry(pair).or_insert(Some(*number));
                *known = known.filter(|known| known == number);
            }
        }
        let mut pairs = Self::default();
        for ((one, other), number) in compared {
            let Some(number) = number else { continue };
            pairs.compared.insert((one, other));
            let other = if number == one { other } else { one };
            let section = files[number].rollup().corrections();
            let name = name_hash(&files[other].file().path);
            let at =
                section.and_then(|of| of.pairs.binary_search_by_key(&name, |of| of.other).ok());
            if let Some(at) = at {
                pairs.used.push(UsedPair { files: [other, number], at, again: Vec::new() });
            }
        }
        pairs
    }

    /// Returns true if the split traces of these files are known and need no comparison.
    pub(crate) fn has_compared(&self, one: usize, other: usize) -> bool {
        self.compared.contains(&(one.min(other), one.max(other)))
    }

    /// Returns the file with this number, or the file that has the section of the pair with it.
    /// Pairs are numbered after the files.
    pub(crate) fn file(&self, number: usize, files: usize) -> usize {
        number.checked_sub(files).map_or(number, |pair| self.used[pair].files[1])
    }

    /// Returns true if this is the number of a pair, or of a file with a pair.
    pub(crate) fn are_of(&self, number: usize, files: usize) -> bool {
        files <= number || self.used.iter().any(|used| used.files.contains(&number))
    }

    /// Marks traces for assembly: unresolved ones, and resolved ones that the query's range cuts or
    /// that have parts in another file or in memory.
    pub(crate) fn join<R: RollupFile>(
        &mut self,
        indexes: &Indexes,
        files: &mut [R],
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<(), QueryFailure> {
        for used in &self.used {
            if go_on().is_break() {
                return Err(QueryFailure::Never);
            }
            let unresolved =
                used.section(files).unresolved(&mut |range| used.rollup(files).page(range));
            let unresolved = unresolved.ok_or_else(|| used.damaged(indexes, files))?;
            if !unresolved.is_empty() {
                used.join(indexes, files, &unresolved);
            }
        }
        // Number of joined rows of each file at its last check, and their traces.
        let mut known: HashMap<usize, (u64, HashSet<u64>)> = HashMap::new();
        let mut settled: HashMap<usize, ResolvedTraces> = HashMap::new();
        loop {
            let mut found = false;
            for (number, used) in self.used.iter_mut().enumerate() {
                if used.files.iter().all(|file| files[*file].joined().is_empty()) {
                    continue;
                }
                if go_on().is_break() {
                    return Err(QueryFailure::Never);
                }
                for file in used.files {
                    let joined = files[file].joined();
                    let rows = joined.iter().map(|rows| rows.end - rows.start).sum();
                    if known.get(&file).is_none_or(|(before, _)| *before != rows) {
                        let traces = match rows {
                            0 => Vec::new(),
                            _ => low64s(files[file].file(), Some(joined))?,
                        };
                        known.insert(file, (rows, traces.into_iter().collect()));
                    }
                }
                let of_pair = match settled.entry(number) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        let of_pair = used.resolved_traces(files);
                        place.insert(of_pair.ok_or_else(|| used.damaged(indexes, files))?)
                    }
                };
                let is_joined = |low64: &u64| {
                    let of_file = used.files.iter().filter_map(|file| known.get(file));
                    let mut of_file = of_file.map(|(_, traces)| traces);
                    of_file.any(|traces| traces.contains(low64))
                };
                let all = of_pair.low64s.iter().copied();
                let again: Vec<u64> = all.filter(is_joined).collect();
                if again.len() > used.again.len() {
                    used.join(indexes, files, &again);
                    used.again = again;
                    found = true;
                }
            }
            if !found {
                return self.each_once(files);
            }
        }
    }

    /// Fails when two pairs resolve a trace. This happens in a snapshot from before one of three
    /// files was replaced. The others then resolved the traces of that file as well.
    fn each_once<R: RollupFile>(&self, files: &[R]) -> Result<(), QueryFailure> {
        let mut seen = HashSet::new();
        for used in &self.used {
            if !used.again.iter().all(|low64| seen.insert(*low64)) {
                let of_pair = used.files.map(|file| files[file].file().path.clone());
                return Err(QueryFailure::Alone(of_pair.into()));
            }
        }
        Ok(())
    }

    /// Returns the groups of each pair. `number` maps keys to the numbers in the answer, and
    /// `cells` selects the directory.
    pub(crate) fn groups<'a, R: RollupFile>(
        &self,
        indexes: &Indexes,
        files: &'a [R],
        cells: impl Fn(&'a Pair) -> &'a Directory,
        mut number: impl FnMut(RawKey<'_>) -> Option<GroupNumber>,
    ) -> Result<Vec<PairGroups>, QueryFailure> {
        let of_pair = self.used.iter().map(|used| {
            let names =
                cells(used.section(files)).groups(&mut |range| used.rollup(files).page(range));
            let groups = names.and_then(|names| {
                let numbers = 0..GroupNumber::try_from(names.group_count()).ok()?;
                let known = numbers.map(|group| {
                    let (role, key) = CorrectionRole::decode(names.raw(group)?)?;
                    Some((role, number(key)?))
                });
                known.collect()
            });
            groups.ok_or_else(|| used.damaged(indexes, files))
        });
        of_pair.collect()
    }

    /// Returns the retractions that the pairs of this file have for its counts. `groups` are those
    /// of all pairs, and `cells` selects the directory of a pair.
    pub(crate) fn retractions<'a, R: RollupFile>(
        &self,
        number: usize,
        files: &'a [R],
        groups: &'a [PairGroups],
        cells: impl Fn(&'a Pair) -> &'a Directory,
    ) -> Vec<PairRetractions<'a>> {
        let of_file = self.used.iter().zip(groups).filter_map(|(used, groups)| {
            let place = used.files.iter().position(|file| *file == number)?;
            let (cells, rollup) = (cells(used.section(files)), used.rollup(files));
            Some(PairRetractions { cells, rollup, groups, place })
        });
        of_file.collect()
    }
}

impl UsedPair {
    /// Returns the section of the pair.
    pub(crate) fn section<'a, R: RollupFile>(&self, files: &'a [R]) -> &'a Pair {
        let section = self.rollup(files).corrections().expect("invariant: the pair is of it");
        &section.pairs[self.at]
    }

    /// Returns the rollups of the file that has the section.
    pub(crate) fn rollup<'a, R: RollupFile>(&self, files: &'a [R]) -> &'a RolledUp {
        files[self.files[1]].rollup()
    }

    /// Reads the traces that the pair resolves. `None` when the section is damaged.
    pub(crate) fn resolved_traces<R: RollupFile>(&self, files: &[R]) -> Option<ResolvedTraces> {
        self.section(files).resolved_traces(&mut |range| self.rollup(files).page(range))
    }

    /// Marks these traces of both files for assembly.
    fn join<R: RollupFile>(&self, indexes: &Indexes, files: &mut [R], low64s: &[u64]) {
        for file in self.files {
            let rows = rows_of(indexes, files[file].file(), low64s);
            files[file].join(rows);
        }
    }

    /// Returns the error of a damaged section.
    pub(crate) fn damaged<R: RollupFile>(&self, indexes: &Indexes, files: &[R]) -> QueryFailure {
        let file = files[self.files[1]].file();
        indexes.damaged(Signal::Spans, indexes.begin_scan(), file);
        QueryFailure::Damaged(file.path.clone())
    }
}
