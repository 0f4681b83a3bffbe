//! Corrections for traces split across two files: computed for a section, and used by a query.
//!
//! `build_corrections` computes the corrections between a file and other files of its hour. `pairs`
//! selects the pairs that a query can use, and the traces that it must read anyway.
//! `tidings_rollup::split_corrections` has the section's format.

mod pairs;

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use arrow_array::Int64Array;
use tidings_columns::rows::column::OptionalColumn;
use tidings_data_file::columns;
use tidings_disk::ranges::{intersection, merged};
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{Indexes, RolledUp};
use tidings_proto::Signal;
use tidings_rollup::{
    Call,
    file_aggregate::FileAggregate,
    pair_cache::RowRanges,
    rollup_encoding::{GroupNames, GroupNumber},
    split_corrections::{CorrectionBytes, CorrectionRole, PairBuilder, TRACES_MAX, encoded},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::rollup_query::{
    CancellationCheck, call_query::of_hour, counted_calls::GroupCall, file_buckets::RetractedCalls,
    graph_query, repeats::low64s, splits::rows_of, transaction_type_query,
};

pub(super) use pairs::{PairGroups, Pairs, RollupFile, UsedPair};

/// Approximate number of rows of traces in memory at once.
const PORTION_ROWS: usize = 1 << 16;

/// Correction of aggregates for the traces that are split across two files.
#[derive(Debug, Default)]
pub(crate) struct PairCorrection {
    /// Calls to retract from each file.
    pub taken: [RetractedCalls; 2],
    /// Calls that each file has counted and that stay.
    pub stay: [Vec<GroupCall>; 2],
    /// Calls that neither file has counted.
    pub added: Vec<GroupCall>,
}

/// Returns the hash by which other files of the hour refer to a file.
fn name_hash(path: &Path) -> u64 {
    xxh3_64(path.file_name().unwrap_or_default().as_encoded_bytes())
}

/// Builds the section with corrections of a file against these others, and its pages, which start
/// at this offset. The others are of the same hour and have their sections already. `None` when the
/// file has no rollups, or when the work was cancelled.
///
/// # Errors
/// When a file is missing or damaged.
pub fn build_corrections(
    indexes: &Indexes,
    file: &Arc<DataFile>,
    others: &[Arc<DataFile>],
    offset: u64,
    go_on: &mut CancellationCheck<'_>,
) -> Result<Option<CorrectionBytes>, StorageError> {
    let Some(own) = PairableFile::open(indexes, file) else { return Ok(None) };
    let own_low64s = low64s(file, None)?;
    let (mut compared, mut common) = (Vec::new(), Vec::new());
    for other in others {
        if go_on().is_break() {
            return Ok(None);
        }
        let Some(summed) = PairableFile::open(indexes, other).filter(|other| other.fits(&own))
        else {
            continue;
        };
        let there = rows_of(indexes, other, &own_low64s);
        if there.is_empty() {
            compared.push(name_hash(&other.path));
            continue;
        }
        let mut both = low64s(other, Some(&there))?;
        both.retain(|low64| own_low64s.binary_search(low64).is_ok());
        match both.is_empty() {
            true => compared.push(name_hash(&other.path)),
            false => common.push((other, summed, both)),
        }
    }
    let mut counts: HashMap<u64, u32> = HashMap::new();
    let all = common.iter().flat_map(|(_, _, both)| both);
    all.for_each(|low64| *counts.entry(*low64).or_default() += 1);
    let mut pairs = Vec::new();
    for (other, summed, both) in common {
        let pair = FilePair { indexes, files: [other, file], summed: [&summed, &own] };
        let Some(made) = pair.made(&both, &counts, go_on)? else { return Ok(None) };
        // A pair without resolved traces has no advantage over a comparison, whose result is
        // cached.
        if !made.settled.low64s.is_empty() {
            compared.push(name_hash(&other.path));
            pairs.push((name_hash(&other.path), made));
        }
    }
    pairs.sort_unstable_by_key(|(name, _)| *name);
    Ok(Some(encoded(compared, pairs, offset)))
}

/// File that has all rollups. They may omit some of its rows.
struct PairableFile {
    graph: RolledUp,
    transaction_types: RolledUp,
    /// Shortest levels: of edges, of edges that are only counted, and of transaction types.
    finest: [usize; 3],
}

impl PairableFile {
    fn open(indexes: &Indexes, file: &Arc<DataFile>) -> Option<Self> {
        let scan = indexes.begin_scan();
        let (graph, transaction_types) =
            (indexes.graph(scan, file)?, indexes.transaction_types(scan, file)?);
        let edges = &graph.graph().cells;
        let counts = edges.for_query(true);
        let finest = [
            edges.finest()?,
            counts.finest()?,
            transaction_types.transaction_types().cells.finest()?,
        ];
        let hour = of_hour(file.hour);
        let mut periods = edges.periods(finest[0]);
        let is_of_hour = periods.all(|period| hour.contains(&period.start));
        drop(periods);
        let is_of_hour = is_of_hour
            && u64::try_from(file.hour).ok()? == transaction_types.transaction_types().hour;
        is_of_hour.then_some(Self { graph, transaction_types, finest })
    }

    fn fits(&self, other: &Self) -> bool {
        self.finest == other.finest
    }

    fn left_out(&self) -> RowRanges {
        let graph = self.graph.graph().left_out.iter();
        merged(graph.chain(&self.transaction_types.transaction_types().left_out).cloned().collect())
    }
}

/// Two files that share some traces.
struct FilePair<'a> {
    indexes: &'a Indexes,
    files: [&'a Arc<DataFile>; 2],
    summed: [&'a PairableFile; 2],
}

impl FilePair<'_> {
    /// Computes the correction for these traces. `counts` has the number of other files that have
    /// each trace.
    fn made(
        &self,
        both: &[u64],
        counts: &HashMap<u64, u32>,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<Option<PairBuilder>, StorageError> {
        let is_in_two = |low64: &u64| counts.get(low64) == Some(&1);
        let mut wanted: HashSet<u64> = both.iter().copied().filter(is_in_two).collect();
        if wanted.is_empty() || both.len() > TRACES_MAX {
            return Ok(Some(PairBuilder::default()));
        }
        let low64s_of_wanted: Vec<u64> = wanted.iter().copied().collect();
        let rows = self.files.map(|file| rows_of(self.indexes, file, &low64s_of_wanted));
        for (file, (summed, rows)) in self.files.iter().zip(self.summed.iter().zip(&rows)) {
            let left_out = intersection(rows, &summed.left_out());
            if !left_out.is_empty() {
                low64s(file, Some(&left_out))?.iter().for_each(|low64| _ = wanted.remove(low64));
            }
        }
        let (mut made, mut entries) = (PairBuilder::default(), HashMap::new());
        for portion in portions(self.files, &rows, &wanted)? {
            let Some(settled) = self.add(&mut made, &portion, go_on)? else { return Ok(None) };
            entries.extend(settled);
        }
        if made.graph.is_full() || made.transaction_types.is_full() {
            return Ok(Some(PairBuilder::default()));
        }
        let is_settled = |low64: &&u64| entries.contains_key(*low64);
        (made.settled.low64s, made.unresolved) = both.iter().partition(is_settled);
        made.settled.entries = made.settled.low64s.iter().map(|low64| entries[low64]).collect();
        Ok(Some(made))
    }

    /// Adds the correction for some traces. Returns the file that keeps the entry of each resolved
    /// trace.
    fn add(
        &self,
        made: &mut PairBuilder,
        low64s: &HashSet<u64>,
        go_on: &mut CancellationCheck<'_>,
    ) -> Result<Option<HashMap<u64, u8>>, StorageError> {
        let listed: Vec<u64> = low64s.iter().copied().collect();
        let rows = self.files.map(|file| rows_of(self.indexes, file, &listed));
        let is_wanted = |low64| low64s.contains(&low64);
        let Some(entries) = transaction_type_query::entries(self.files, &rows, is_wanted, go_on)?
        else {
            return Ok(None);
        };
        let is_settled = |low64| entries.places.contains_key(&low64);
        let graph = graph_query::change(self.indexes, (self.files, &rows), is_settled, go_on)?;
        let Some((graph, names)) = graph else { return Ok(None) };
        let rows: u64 = rows.iter().flatten().map(|rows| rows.end - rows.start).sum();
        made.rows += usize::try_from(rows).unwrap_or(usize::MAX);
        add_up(&mut made.graph, &graph, &names, made.rows);
        add_up(&mut made.transaction_types, &entries.change, &entries.names, made.rows);
        Ok(Some(entries.places))
    }
}

/// Returns the wanted traces of these rows of two files, in the order of the first file. They are
/// divided into portions whose rows fit into memory.
fn portions(
    files: [&Arc<DataFile>; 2],
    rows: &[RowRanges; 2],
    wanted: &HashSet<u64>,
) -> Result<Vec<HashSet<u64>>, StorageError> {
    let (mut counts, mut order) = (HashMap::<u64, usize>::new(), Vec::new());
    for (file, rows) in files.into_iter().zip(rows) {
        columns(Signal::Spans, file, &["trace_id_low64"], Some(rows), &mut |batch| {
            let column = OptionalColumn::<Int64Array>::from_batch(batch, "trace_id_low64")?;
            let low64s = (0..batch.num_rows()).map(|row| column.unsigned(row));
            for low64 in low64s.filter(|low64| wanted.contains(low64)) {
                let count = counts.entry(low64).or_insert_with(|| {
                    order.push(low64);
                    0
                });
                *count += 1;
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    let (mut portions, mut held) = (vec![HashSet::new()], 0);
    for low64 in order {
        held += counts[&low64];
        if held > PORTION_ROWS {
            portions.push(HashSet::new());
            held = counts[&low64];
        }
        portions.last_mut().map(|portion| portion.insert(low64));
    }
    Ok(portions)
}

/// Adds the rollup buckets of a correction to an aggregate.
fn add_up(
    file_aggregate: &mut FileAggregate,
    change: &PairCorrection,
    names: &GroupNames,
    rows: usize,
) {
    let mut known: HashMap<(CorrectionRole, GroupNumber), GroupNumber> = HashMap::new();
    let mut add = |role: CorrectionRole, group: GroupNumber, call: &Call| {
        let Some(key) = names.raw(group) else { return };
        let number = || file_aggregate.groups.number(role.key(key));
        let number = *known.entry((role, group)).or_insert_with(number);
        file_aggregate.add(number, call);
    };
    for (place, taken) in change.taken.iter().enumerate() {
        for (group, all) in taken {
            for taken in all {
                let role = if taken.counts {
                    CorrectionRole::Doubled(place)
                } else {
                    CorrectionRole::Gone(place)
                };
                add(role, *group, &taken.call);
            }
        }
    }
    change.added.iter().for_each(|(group, call)| add(CorrectionRole::Added, *group, call));
    file_aggregate.shrink(rows);
}
