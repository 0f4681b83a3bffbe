//! Precomputed corrections for traces split across two files, stored in the index of one of them.
//!
//! A file's rollups count its part of a trace as a whole trace ([`super::graph`],
//! [`super::transaction_types`]). Without corrections, a query has to read the rows of all split
//! traces. Files that are not merged any more get a section with the corrections against each other
//! such file of their hour. It lists the traces that exactly these two files have, and the change
//! of both files' rollups. `docs/formats/index.md` describes it, and
//! `tidings_snapshot::rollup_query` computes and uses it. A rollup bucket's [`CorrectionRole`] is
//! the effect of its calls.
//!
//! A section is valid while both files exist. Pairs without a section are compared during the
//! query. Corrections change no answer.

use std::ops::Range;

use super::{
    RawKey,
    file_aggregate::FileAggregate,
    graph::LIMITS,
    rollup_encoding::{Directory, LevelLimits, seal, unsealed},
};
use crate::index_bytes::{Fetch, Reader as Bytes, push_varint};

/// Bits of a group's last number below the role.
const SHIFT: u32 = 16;
/// Maximum number of shared traces of two files. With more, the pair resolves none, because their
/// page would be too large.
pub const TRACES_MAX: usize = 1 << 20;
const LOW64_BYTES: usize = 8;
/// The limit of the rollup buckets is that of a file with this many rows.
const CELLS_OF_ROWS: usize = 1 << 17;

/// Effect of the calls in a rollup bucket of a pair's corrections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CorrectionRole {
    /// This file of the pair, 0 or 1, has counted the calls, but they do not exist.
    Gone(usize),
    /// This file has counted the calls. The other file has counted them too and keeps them.
    Doubled(usize),
    /// Neither file has counted the calls, but they exist.
    Added,
}

impl CorrectionRole {
    const ALL: [Self; 5] =
        [Self::Gone(0), Self::Doubled(0), Self::Gone(1), Self::Doubled(1), Self::Added];

    /// Returns the key of the group for calls with this role.
    pub fn key(self, (texts, [part, detail]): RawKey<'_>) -> RawKey<'_> {
        let role = Self::ALL.iter().position(|role| *role == self).unwrap_or_default();
        let role = i32::try_from(role).unwrap_or_default();
        (texts, [part, detail | role << SHIFT])
    }

    /// Returns the role and the key of the group. `None` when the role is unknown.
    pub fn decode((texts, [part, detail]): RawKey<'_>) -> Option<(Self, RawKey<'_>)> {
        let role = *Self::ALL.get(usize::try_from(detail >> SHIFT).ok()?)?;
        Some((role, (texts, [part, detail & ((1 << SHIFT) - 1)])))
    }
}

/// Section and its pages.
pub type CorrectionBytes = (Vec<u8>, Vec<u8>);

/// Part of the section that stays in memory.
#[derive(Debug)]
pub struct CorrectionSection {
    /// Start of its pages, which are the last of the index.
    offset: u64,
    /// Names of the files that it was compared with, ascending.
    pub compared: Box<[u64]>,
    /// Corrections with the compared files that share some traces, ascending.
    pub pairs: Box<[Pair]>,
}

/// Correction with another file that shares some traces.
#[derive(Debug)]
pub struct Pair {
    /// Name of the other file.
    pub other: u64,
    settled: Range<u64>,
    unresolved: Range<u64>,
    /// Directory of the corrections of edges.
    pub graph: Directory,
    /// Directory of the corrections of transaction types.
    pub transaction_types: Directory,
}

/// Traces that a pair resolves.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ResolvedTraces {
    /// Last halves of the trace ids, ascending.
    pub low64s: Vec<u64>,
    /// File that has the entry span of each trace: 0 for the other file, 1 for this one.
    pub entries: Vec<u8>,
}

/// Pair under construction.
#[derive(Debug, Default)]
pub struct PairBuilder {
    /// Traces that the pair resolves.
    pub settled: ResolvedTraces,
    /// Last halves of the ids of shared traces that are not resolved, ascending.
    pub unresolved: Vec<u64>,
    /// Corrections of the calls between services.
    pub graph: FileAggregate,
    /// Corrections of the transactions by type.
    pub transaction_types: FileAggregate,
    /// Number of rows that the pair was made from.
    pub rows: usize,
}

/// Returns the section of a file and its pages, which start at this offset.
pub fn encoded(
    mut compared: Vec<u64>,
    pairs: Vec<(u64, PairBuilder)>,
    offset: u64,
) -> CorrectionBytes {
    let (mut section, mut pages) = (Vec::new(), Vec::new());
    push_varint(&mut section, offset);
    compared.sort_unstable();
    push_varint(&mut section, compared.len() as u64);
    section.extend(compared.iter().flat_map(|name| name.to_le_bytes()));
    push_varint(&mut section, pairs.len() as u64);
    for (other, PairBuilder { settled, unresolved, graph, transaction_types, rows }) in pairs {
        section.extend(other.to_le_bytes());
        let mut push_page = |bytes: &mut dyn Iterator<Item = u8>| {
            let start = pages.len();
            pages.extend(bytes);
            seal(&mut pages, start);
            push_varint(&mut section, offset + start as u64);
            push_varint(&mut section, (pages.len() - start) as u64);
        };
        let low64s = settled.low64s.iter().flat_map(|low64| low64.to_le_bytes());
        push_page(&mut low64s.chain(settled.entries));
        push_page(&mut unresolved.iter().flat_map(|low64| low64.to_le_bytes()));
        let rows = rows.max(CELLS_OF_ROWS);
        for (file_aggregate, keep) in [(graph, LIMITS), (transaction_types, LevelLimits::ALL)] {
            let (directory, cells) = file_aggregate.finish(rows, keep, offset + pages.len() as u64);
            pages.extend(cells);
            push_varint(&mut section, directory.len() as u64);
            section.extend(directory);
        }
    }
    (section, pages)
}

impl CorrectionSection {
    /// Decodes the section. `None` when the bytes are not such a section.
    pub fn decode(section: &[u8]) -> Option<Self> {
        let mut section = Bytes::new(section);
        let offset = section.varint()?;
        let (mut compared, mut pairs) = (Vec::new(), Vec::new());
        for _ in 0..section.varint()? {
            compared.push(section.u64()?);
        }
        for _ in 0..section.varint()? {
            pairs.push(Pair {
                other: section.u64()?,
                settled: take_page(&mut section)?,
                unresolved: take_page(&mut section)?,
                graph: take_directory(&mut section)?,
                transaction_types: take_directory(&mut section)?,
            });
        }
        let is_sorted = compared.is_sorted() && pairs.is_sorted_by_key(|pair| pair.other);
        let is_whole = section.is_empty() && is_sorted;
        is_whole.then(|| Self { offset, compared: compared.into(), pairs: pairs.into() })
    }

    /// Returns the start of its pages among those of an index.
    pub fn offset(&self) -> Option<usize> {
        usize::try_from(self.offset).ok()
    }

    /// Returns its heap memory in bytes.
    pub fn bytes(&self) -> usize {
        let cells =
            |pair: &Pair| size_of::<Pair>() + pair.graph.bytes() + pair.transaction_types.bytes();
        size_of_val(&*self.compared) + self.pairs.iter().map(cells).sum::<usize>()
    }
}

fn take_page(section: &mut Bytes<'_>) -> Option<Range<u64>> {
    let start = section.varint()?;
    Some(start..start.checked_add(section.varint()?)?)
}

fn take_directory(section: &mut Bytes<'_>) -> Option<Directory> {
    let length = usize::try_from(section.varint()?).ok()?;
    Directory::decode(section.take(length)?)
}

impl Pair {
    /// Reads the traces that the pair resolves. `None` when the page is missing or damaged.
    pub fn resolved_traces(&self, fetch: &mut Fetch<'_>) -> Option<ResolvedTraces> {
        let page = fetch(self.settled.clone())?;
        let held = unsealed(&page)?;
        let (low64s, entries) = held.split_at(held.len() / (LOW64_BYTES + 1) * LOW64_BYTES);
        Some(ResolvedTraces { low64s: numbers(low64s), entries: entries.to_vec() })
    }

    /// Reads the shared traces that the pair does not resolve. `None` when the page is missing or
    /// damaged.
    pub fn unresolved(&self, fetch: &mut Fetch<'_>) -> Option<Vec<u64>> {
        let page = fetch(self.unresolved.clone())?;
        unsealed(&page).map(numbers)
    }
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let (numbers, _) = bytes.as_chunks::<LOW64_BYTES>();
    numbers.iter().map(|number| u64::from_le_bytes(*number)).collect()
}

impl ResolvedTraces {
    /// Returns the traces whose entry span is not in this file of the pair, 0 or 1.
    pub fn without_entry(&self, place: usize) -> Vec<u64> {
        let of_all = self.low64s.iter().zip(&self.entries);
        of_all.filter(|(_, entry)| usize::from(**entry) != place).map(|(low64, _)| *low64).collect()
    }
}
