//! Samples the traces of each transaction type: the first ones in the order of a hash of their ids,
//! among those of a minimum duration.
//!
//! Summaries are in the order of that hash. A summary has only the histogram bucket of the
//! duration, the leading bits of the hash, and no id. The first matching summaries of each file are
//! therefore looked up: the index locates their rows, and a row has the trace id. When some of
//! these traces do not match, more summaries are looked up.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::{Range, RangeInclusive},
};

use tidings_index::HashedRun;
use tidings_proto::{DurationNanos, TraceId};
use tidings_rollup::{
    pair_cache::RowRanges,
    rollup_encoding::GroupNumber,
    transaction_types::{
        BucketMatch, SampleSpec, TransactionTypeKey, entry_spans::Samples, transaction_position,
    },
};

use super::rollup_file::TransactionTypeRollupFile;

/// Trace that may be in the sample.
#[derive(Debug, Clone)]
struct TraceCandidate {
    file: usize,
    number: u64,
    takes: BucketMatch,
    /// Range of positions that the trace can have in the order of the sample.
    places: RangeInclusive<u64>,
    /// Rows of the trace. Empty until they are known.
    rows: Range<u64>,
}

/// Reason why there is no sample.
pub(crate) enum SampleFailure<E> {
    /// The index of the file with this number is damaged.
    Damaged(usize),
    /// Error of the row reader.
    Read(E),
}

/// Reads rows of a file, which is given by its number.
pub(crate) trait SampleReader {
    /// Error of a read.
    type Error;

    /// Returns the ids of the traces whose first rows are these. Rows are ascending.
    fn ids(&mut self, file: usize, rows: &RowRanges) -> Result<Vec<TraceId>, Self::Error>;

    /// Returns the ids and the durations of the transactions whose rows are exactly these.
    fn durations(
        &mut self,
        file: usize,
        rows: &RowRanges,
    ) -> Result<Vec<(TraceId, DurationNanos)>, Self::Error>;
}

/// Result of looking up a trace; `None` if it does not match.
type TraceLookup = Option<TraceId>;

/// Traces with their positions, by the number of the sample.
type SampledTraces = BTreeMap<usize, Vec<(u64, TraceId)>>;

struct Sampling<'a, 'f> {
    rolled: &'a [TransactionTypeRollupFile<'f>],
    wanted: &'a [SampleSpec],
    /// Index of the wanted traces, by file and by the transaction type's number in it.
    by_transaction_type: Vec<HashMap<GroupNumber, usize>>,
    found: HashMap<(usize, u64), TraceLookup>,
}

/// Candidates of one sample, and the position from which on there may be others.
#[derive(Debug, Default)]
struct TransactionTypeCandidates {
    some: Vec<TraceCandidate>,
    /// First further candidate of each file.
    next: Vec<TraceCandidate>,
    others_from: Option<u64>,
}

/// Returns the sample traces. `others` are candidates without summaries.
pub(crate) fn sampled<L: SampleReader>(
    rolled: &[TransactionTypeRollupFile<'_>],
    wanted: &[SampleSpec],
    others: Samples,
    look: &mut L,
) -> Result<Vec<Vec<TraceId>>, SampleFailure<L::Error>> {
    let mut sampling =
        Sampling { rolled, wanted, by_transaction_type: Vec::new(), found: HashMap::new() };
    for (file, rolled) in rolled.iter().enumerate() {
        sampling
            .by_transaction_type
            .push(sampling.transaction_types_of(rolled).ok_or(SampleFailure::Damaged(file))?);
    }
    let is_any = |number: &usize| wanted[*number].traces_max > 0;
    let mut open: Vec<usize> = (0..wanted.len()).filter(is_any).collect();
    let mut samples: Vec<Vec<TraceId>> = vec![Vec::new(); wanted.len()];
    let mut factor = 1_usize;
    while !open.is_empty() {
        let limit = |number: usize| {
            // Some candidates may be in two files, or slightly too short.
            let some = wanted[number].traces_max;
            (some + some / 8 + 2).saturating_mul(factor)
        };
        let mut candidates = sampling.candidates(&open, limit)?;
        candidates.iter_mut().for_each(|(number, of)| of.cut(limit(*number)));
        sampling.find_rows(&mut candidates)?;
        candidates.iter_mut().for_each(|(number, of)| of.cut(limit(*number)));
        let known = sampling.look_up(&candidates, look)?;
        open.retain(|number| {
            let others_from = candidates.get(number).and_then(|of| of.others_from);
            let own = known.get(number).into_iter().flatten();
            let mut all: Vec<(u64, TraceId)> =
                others.get(*number).iter().chain(own).copied().collect();
            all.sort_unstable();
            all.dedup();
            all.retain(|(place, _)| others_from.is_none_or(|from| *place < from));
            all.truncate(wanted[*number].traces_max);
            let is_open = others_from.is_some() && all.len() < wanted[*number].traces_max;
            samples[*number] = all.into_iter().map(|(_, id)| id).collect();
            is_open
        });
        factor = factor.saturating_mul(4);
    }
    Ok(samples)
}

impl Sampling<'_, '_> {
    /// Maps a file's transaction type numbers to the wanted traces.
    fn transaction_types_of(
        &self,
        rolled: &TransactionTypeRollupFile<'_>,
    ) -> Option<HashMap<GroupNumber, usize>> {
        if rolled.covered.is_empty() {
            return Some(HashMap::new());
        }
        let names = rolled.transaction_types()?;
        let mut numbers: HashMap<TransactionTypeKey<'_>, usize> = HashMap::new();
        for (number, wanted) in self.wanted.iter().enumerate() {
            numbers.entry(wanted.key()).or_insert(number);
        }
        let keys = (0..).map_while(|transaction_type| {
            Some((transaction_type, names.raw(transaction_type).map(TransactionTypeKey::decode)?))
        });
        Some(
            keys.filter_map(|(transaction_type, key)| {
                Some((transaction_type, *numbers.get(&key)?))
            })
            .collect(),
        )
    }

    /// Returns the first candidates of each file.
    fn candidates<E>(
        &self,
        open: &[usize],
        limit: impl Fn(usize) -> usize,
    ) -> Result<BTreeMap<usize, TransactionTypeCandidates>, SampleFailure<E>> {
        let mut all: BTreeMap<usize, TransactionTypeCandidates> =
            open.iter().map(|number| (*number, TransactionTypeCandidates::default())).collect();
        for (file, rolled) in self.rolled.iter().enumerate() {
            let of_file = self.candidates_of(file, rolled, &mut all, &limit);
            of_file.ok_or(SampleFailure::Damaged(file))?;
        }
        Ok(all)
    }

    fn candidates_of(
        &self,
        file: usize,
        rolled: &TransactionTypeRollupFile<'_>,
        all: &mut BTreeMap<usize, TransactionTypeCandidates>,
        limit: &impl Fn(usize) -> usize,
    ) -> Option<()> {
        let by_transaction_type = &self.by_transaction_type[file];
        if by_transaction_type.values().all(|number| !all.contains_key(number)) {
            return Some(());
        }
        // Number of further candidates to collect for each sample. `None` when the sample needs no
        // more.
        let mut left: Vec<Option<usize>> = (0..self.wanted.len())
            .map(|number| all.contains_key(&number).then(|| limit(number)))
            .collect();
        rolled.each(|number, summary| {
            let Some(transaction_type) =
                summary.transaction_type.filter(|_| rolled.whole_minutes.contains(summary.minute))
            else {
                return Some(());
            };
            let Some(wanted) = by_transaction_type
                .get(&transaction_type)
                .copied()
                .filter(|of| left[*of].is_some())
            else {
                return Some(());
            };
            let takes = self.wanted[wanted].match_bucket(summary.bucket);
            if takes == BucketMatch::None {
                return Some(());
            }
            let (places, of) = (rolled.places(number)?, all.get_mut(&wanted)?);
            let candidate = TraceCandidate { file, number, takes, places, rows: 0..0 };
            match left[wanted].as_mut().filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    of.some.push(candidate);
                }
                None => {
                    of.next.push(candidate);
                    left[wanted] = None;
                }
            }
            Some(())
        })
    }

    /// Sets the rows and positions of the candidates, as exactly as the index has them. Drops
    /// traces that are joined with their parts elsewhere.
    fn find_rows<E>(
        &self,
        all: &mut BTreeMap<usize, TransactionTypeCandidates>,
    ) -> Result<(), SampleFailure<E>> {
        let mut numbers: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
        for of in all.values().flat_map(|of| of.some.iter().chain(&of.next)) {
            numbers.entry(of.file).or_default().insert(of.number);
        }
        let mut found: HashMap<(usize, u64), HashedRun> = HashMap::new();
        for (file, numbers) in numbers {
            let numbers: Vec<u64> = numbers.into_iter().collect();
            let runs = self.rolled[file].runs(&numbers).ok_or(SampleFailure::Damaged(file))?;
            found.extend(numbers.into_iter().map(|number| (file, number)).zip(runs));
        }
        for of in all.values_mut() {
            for candidate in of.some.iter_mut().chain(&mut of.next) {
                if let Some(run) = found.get(&(candidate.file, candidate.number)) {
                    (candidate.places, candidate.rows) = run.clone();
                }
            }
            of.some.retain(|of| !self.rolled[of.file].is_joined(&of.rows));
            let next: Vec<u64> = of.next.iter().map(|next| *next.places.start()).collect();
            next.into_iter().for_each(|place| of.begin_others(place));
        }
        Ok(())
    }

    /// Looks up the candidates and returns the positions and ids of matching traces, by sample.
    fn look_up<L: SampleReader>(
        &mut self,
        candidates: &BTreeMap<usize, TransactionTypeCandidates>,
        look: &mut L,
    ) -> Result<SampledTraces, SampleFailure<L::Error>> {
        let mut unknown: BTreeMap<usize, Vec<(usize, &TraceCandidate)>> = BTreeMap::new();
        for (wanted, of) in candidates {
            for candidate in &of.some {
                if !self.found.contains_key(&(candidate.file, candidate.number)) {
                    unknown.entry(candidate.file).or_default().push((*wanted, candidate));
                }
            }
        }
        for (file, mut candidates) in unknown {
            candidates.sort_unstable_by_key(|(_, of)| of.rows.start);
            self.look_into(file, &candidates, look)?;
        }
        let known = candidates.iter().map(|(wanted, of)| {
            let found = of.some.iter().map(|of| self.found.get(&(of.file, of.number)));
            let ids = found.flatten().flatten();
            (*wanted, ids.map(|id| (transaction_position(*id), *id)).collect())
        });
        Ok(known.collect())
    }

    /// Looks up candidates of a file, in the order of their rows.
    fn look_into<L: SampleReader>(
        &mut self,
        file: usize,
        candidates: &[(usize, &TraceCandidate)],
        look: &mut L,
    ) -> Result<(), SampleFailure<L::Error>> {
        let (sure, unsure): (Vec<_>, Vec<_>) =
            candidates.iter().partition(|(_, of)| of.takes == BucketMatch::All);
        let rows: RowRanges = sure.iter().map(|(_, of)| of.rows.start..of.rows.start + 1).collect();
        let ids = look.ids(file, &rows).map_err(SampleFailure::Read)?;
        let elsewhere = &self.rolled[file].elsewhere;
        let is_here = |id: TraceId| !elsewhere.contains(&id.low64());
        for ((_, of), id) in sure.iter().zip(ids) {
            self.found.insert((file, of.number), Some(id).filter(|id| is_here(*id)));
        }
        let rows: RowRanges = unsure.iter().map(|(_, of)| of.rows.clone()).collect();
        let durations = look.durations(file, &rows).map_err(SampleFailure::Read)?;
        for ((wanted, of), (id, duration)) in unsure.iter().zip(durations) {
            let is_wanted = self.wanted[*wanted].least <= duration && is_here(id);
            self.found.insert((file, of.number), is_wanted.then_some(id));
        }
        Ok(())
    }
}

impl TransactionTypeCandidates {
    /// Notes that there may be other traces from this position on.
    fn begin_others(&mut self, place: u64) {
        self.others_from = Some(self.others_from.map_or(place, |from| from.min(place)));
    }

    /// Keeps the candidates that can be among the first `limit` ones.
    fn cut(&mut self, limit: usize) {
        let mut ends: Vec<u64> = self.some.iter().map(|of| *of.places.end()).collect();
        if ends.len() <= limit {
            return;
        }
        ends.sort_unstable();
        let Some(last) = limit.checked_sub(1).and_then(|last| ends.get(last).copied()) else {
            return;
        };
        self.some.retain(|of| *of.places.start() <= last);
        self.begin_others(last.saturating_add(1));
    }
}
