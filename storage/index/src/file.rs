//! Format of an index file: a head that stays in memory, and pages that are read on demand.
//!
//! ```text
//! head   "tidindex" · version u32 · head length u32 · data file length u64 · data file rows u64 ·
//!        sections (kind u32 · length u32 · bytes) · CRC-32C u32 of all before it
//! pages  each with a checksum of its own; a section of the head says where
//! ```
//!
//! Sections of unknown kinds are skipped: a newer program may write more of them.

use std::{collections::BTreeSet, fs::File, io, ops::Range, os::unix::fs::FileExt};

use bytes::Bytes;
use tidings_files::table_file::DataFile;
use tidings_rollup::{
    CorrectionSection, ExceptionSection, GraphSection, LEVELS, LogCountBuilder, LogCountSection,
    LogFormSection, RollupBuilders, TransactionTypeSection,
    index_bytes::{Fetch, Reader},
};

use super::{
    fuse::{self, Fuse},
    grams::{GramCollector, Grams, text_bits},
    runs::{self, Directory, PostingRun},
    sums::Sums,
    terms::Terms,
};

const MAGIC: &[u8; 8] = b"tidindex";
const VERSION: u32 = 4;
/// Bytes of the magic, the version, the head's length, and the data file's length and rows.
const FIXED_BYTES: usize = 32;
const CRC_BYTES: usize = 4;
/// Maximum length of a head. A head that claims to be longer is damaged.
const HEAD_BYTES_MAX: u32 = 1 << 30;

const TRACE_FILTER_BEFORE: u32 = 1;
const TRACE_RUNS: u32 = 2;
const TERM_RUNS: u32 = 3;
const GRAMS: u32 = 4;
const ROLLUP: u32 = 12;
const GRAPH: u32 = 13;
const TRANSACTION_TYPES: u32 = 14;
const EXCEPTIONS: u32 = 15;
const SPLIT_CORRECTIONS: u32 = 16;
const TRACE_FILTER: u32 = 17;
const LOG_COUNTS: u32 = 18;
const LOG_FORMS: u32 = 19;
/// Empty. An index with it has every kind of term.
const ALL_TERMS: u32 = 20;
/// Section kinds of older releases: trace filters with a higher error rate, which are still read;
/// buckets without duration bounds; terms without those of texts of arrays, and of structured
/// messages. Verification of such an index compares its checksums only. It does not rebuild the index
/// from the data file.
const RETIRED: [u32; 6] = [TRACE_FILTER_BEFORE, 5, 8, 9, 10, 11];

/// False-positive rate of one in 250,000 for a trace id. Each false positive reads a data file.
const TRACE_SPARE_BITS: u32 = 18;
/// False-positive rate of one block in 2,000 for a term.
const TERM_SPARE_BITS: u32 = 11;

/// Sections of an index file.
#[derive(Debug, Default)]
pub(super) struct IndexSections {
    /// Row runs of each trace. `None` when they are not indexed.
    pub(super) traces: Option<Vec<PostingRun>>,
    /// Blocks of each term. `None` when they are not indexed.
    pub(super) terms: Option<Terms>,
    /// N-gram signatures of the blocks' texts. `None` when the rows have no texts.
    pub(super) grams: Option<GramCollector>,
    /// Rollups of the rows. `None` when the rows are not spans.
    pub(super) rollups: Option<RollupBuilders>,
    /// Counts of the rows. `None` when the rows are not log records.
    pub(super) log_counts: Option<Box<LogCountBuilder>>,
}

/// Returns the bytes of the index of a data file with these checksums and `data_rows` rows.
pub(super) fn encode(parts: IndexSections, data: &Sums, data_rows: u64) -> Bytes {
    let mut sections = Vec::new();
    // Offsets count from the end of the head, because the head's length depends on the directories.
    let mut pages = Vec::new();
    let runs: Vec<_> = parts.traces.iter().flatten().map(PostingRun::hash_and_rows).collect();
    if let Some(mut traces) = parts.traces {
        let mut hashes: Vec<u64> = traces.iter().map(|run| run.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        sections.extend(fuse::encode(&hashes).map(|bytes| (TRACE_FILTER, bytes)));
        traces.sort_unstable();
        let each = |give: &mut dyn FnMut(PostingRun)| traces.iter().copied().for_each(give);
        let (directory, more) = runs::encode(traces.len(), each, TRACE_SPARE_BITS, 0);
        sections.push((TRACE_RUNS, directory));
        pages = more;
    }
    if let Some(terms) = parts.terms {
        let each = |give: &mut dyn FnMut(PostingRun)| terms.each_run(give);
        let offset = pages.len() as u64;
        let (directory, more) = runs::encode(terms.count(), each, TERM_SPARE_BITS, offset);
        sections.push((TERM_RUNS, directory));
        sections.push((ALL_TERMS, Vec::new()));
        pages.extend(more);
    }
    if let Some((section, more)) = parts.grams.and_then(|grams| grams.finish(pages.len() as u64)) {
        sections.push((GRAMS, section));
        pages.extend(more);
    }
    if let Some(RollupBuilders { calls, graph, transaction_types, exceptions }) = parts.rollups {
        let (section, more) = calls.finish(pages.len() as u64);
        sections.push((ROLLUP, section));
        pages.extend(more);
        let (section, more) = graph.finish(pages.len() as u64);
        sections.push((GRAPH, section));
        pages.extend(more);
        let (section, more) = transaction_types.finish(&runs, pages.len() as u64);
        sections.push((TRANSACTION_TYPES, section));
        pages.extend(more);
        let (section, more) = exceptions.finish(pages.len() as u64);
        sections.push((EXCEPTIONS, section));
        pages.extend(more);
    }
    if let Some(counts) = parts.log_counts {
        let counts = counts.finish(pages.len() as u64);
        for (kind, (section, more)) in [LOG_COUNTS, LOG_FORMS].into_iter().zip(counts) {
            sections.push((kind, section));
            pages.extend(more);
        }
    }
    sections.push((DATA_SUMS, data.encode()));
    let mut fixed = MAGIC.to_vec();
    fixed.extend(VERSION.to_le_bytes());
    fixed.extend([0; 4]);
    fixed.extend(data.bytes().to_le_bytes());
    fixed.extend(data_rows.to_le_bytes());
    let sections = sections.iter().map(|(kind, bytes)| (*kind, &bytes[..]));
    assembled(fixed, sections, &[&pages])
}

/// Joins the fixed part of a head, the sections and the pages into an index.
fn assembled<'a>(
    mut head: Vec<u8>,
    sections: impl Iterator<Item = (u32, &'a [u8])>,
    pages: &[&[u8]],
) -> Bytes {
    let sum = |sum, pages: &&[u8]| crc32c::crc32c_append(sum, pages);
    let sum = pages.iter().fold(0, sum).to_le_bytes();
    let mut push = |kind: u32, bytes: &[u8]| {
        // The index omits a section that is too long for the format. Lookups then exclude fewer
        // rows.
        let Ok(length) = u32::try_from(bytes.len()) else { return };
        head.extend(kind.to_le_bytes());
        head.extend(length.to_le_bytes());
        head.extend(bytes);
    };
    sections.for_each(|(kind, bytes)| push(kind, bytes));
    push(PAGES_SUM, &sum);
    let length = u32::try_from(head.len() + CRC_BYTES).unwrap_or(u32::MAX);
    head[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&head);
    head.extend(crc.to_le_bytes());
    pages.iter().for_each(|pages| head.extend(*pages));
    Bytes::from(head)
}

/// Adds a section of split-trace corrections to the index of a data file. `make` returns the
/// section and its pages. It is called with the offset at which the pages start.
///
/// Returns `None` when `make` does. Also returns `None` when the bytes are not a complete index, or
/// when they already have such a section.
///
/// # Errors
/// The errors of `make`.
pub fn with_corrections<E>(
    index: &[u8],
    make: impl FnOnce(u64) -> Result<Option<tidings_rollup::CorrectionBytes>, E>,
) -> Result<Option<Bytes>, E> {
    let Some((sections, pages)) = parts(index) else { return Ok(None) };
    let sum = sections.iter().find(|(kind, _)| *kind == PAGES_SUM).map(|(_, sum)| *sum);
    let is_whole = sum == Some(&crc32c::crc32c(pages).to_le_bytes()[..]);
    if !is_whole || sections.iter().any(|(kind, _)| *kind == SPLIT_CORRECTIONS) {
        return Ok(None);
    }
    let made = make(pages.len() as u64)?;
    Ok(made.map(|(section, more)| {
        let sections = sections.into_iter().filter(|(kind, _)| *kind != PAGES_SUM);
        let sections = sections.chain([(SPLIT_CORRECTIONS, &section[..])]);
        assembled(index[..FIXED_BYTES].to_vec(), sections, &[pages, &more])
    }))
}

/// Removes the section of split-trace corrections from an index.
pub fn without_corrections(index: Bytes) -> Bytes {
    let Some((mut sections, pages)) = parts(&index) else { return index };
    let Some(at) = sections.iter().position(|(kind, _)| *kind == SPLIT_CORRECTIONS) else {
        return index;
    };
    let (_, section) = sections.remove(at);
    let pages = CorrectionSection::decode(section).and_then(|of| pages.get(..of.offset()?));
    let Some(pages) = pages else { return index.clone() };
    sections.retain(|(kind, _)| *kind != PAGES_SUM);
    assembled(index[..FIXED_BYTES].to_vec(), sections.into_iter(), &[pages])
}

/// Kind and bytes of each section.
type Sections<'a> = Vec<(u32, &'a [u8])>;

/// Returns the sections of an index and its pages. `None` when the bytes are not an index or when
/// the head is damaged.
fn parts(index: &[u8]) -> Option<(Sections<'_>, &[u8])> {
    let length = usize::try_from(Reader::new(index.get(12..16)?).u32()?).ok()?;
    let (head, pages) = index.split_at_checked(length)?;
    let (covered, crc) = head.split_at_checked(length.checked_sub(CRC_BYTES)?)?;
    if Reader::new(crc).u32()? != crc32c::crc32c(covered) {
        return None;
    }
    let bytes = covered.get(FIXED_BYTES..)?;
    let (mut reader, mut sections) = (Reader::new(bytes), Vec::new());
    while !reader.is_empty() {
        let (kind, length) = (reader.u32()?, reader.u32()?);
        sections.push((kind, reader.take(usize::try_from(length).ok()?)?));
    }
    Some((sections, pages))
}

/// Part of an index file that stays in memory.
#[derive(Debug)]
pub(super) struct Head {
    length: u64,
    /// Checksum of the head, which is stored in its last bytes.
    crc: u32,
    pub(super) trace_filter: Option<Fuse>,
    pub(super) traces: Option<Directory>,
    pub(super) terms: Option<Directory>,
    /// True if array elements and link targets have terms.
    pub(super) has_all_terms: bool,
    pub(super) grams: Option<Grams>,
    pub(super) rollup: Option<tidings_rollup::Directory>,
    pub(super) graph: Option<GraphSection>,
    pub(super) transaction_types: Option<TransactionTypeSection>,
    pub(super) exceptions: Option<ExceptionSection>,
    pub(super) corrections: Option<CorrectionSection>,
    pub(super) log_counts: Option<LogCountSection>,
    pub(super) log_forms: Option<LogFormSection>,
}

impl Head {
    /// Reads the head of a data file's index. `None` when it is missing, damaged or of another
    /// file.
    pub(super) fn read(index: &File, data: &DataFile) -> Option<Self> {
        Self::decode(&read_head(index, data)?)
    }

    fn decode(head: &[u8]) -> Option<Self> {
        let (covered, crc) = head.split_at_checked(head.len().checked_sub(CRC_BYTES)?)?;
        if Reader::new(crc).u32()? != crc32c::crc32c(covered) {
            return None;
        }
        let mut sections = Reader::new(covered.get(FIXED_BYTES..)?);
        let length = head.len() as u64;
        let crc = Reader::new(crc).u32()?;
        let mut decoded = Self {
            length,
            crc,
            trace_filter: None,
            traces: None,
            terms: None,
            has_all_terms: false,
            grams: None,
            rollup: None,
            graph: None,
            transaction_types: None,
            exceptions: None,
            corrections: None,
            log_counts: None,
            log_forms: None,
        };
        while !sections.is_empty() {
            let (kind, length) = (sections.u32()?, sections.u32()?);
            let bytes = sections.take(usize::try_from(length).ok()?)?;
            match kind {
                TRACE_FILTER => decoded.trace_filter = Some(Fuse::decode(bytes)?),
                TRACE_FILTER_BEFORE => {
                    decoded.trace_filter = Some(Fuse::decode_earlier(bytes)?);
                }
                TRACE_RUNS => decoded.traces = Some(Directory::decode(bytes)?),
                TERM_RUNS => decoded.terms = Some(Directory::decode(bytes)?),
                ALL_TERMS => decoded.has_all_terms = true,
                GRAMS => decoded.grams = Some(Grams::decode(bytes)?),
                ROLLUP => decoded.rollup = Some(tidings_rollup::Directory::decode(bytes)?),
                GRAPH => decoded.graph = Some(GraphSection::decode(bytes)?),
                TRANSACTION_TYPES => {
                    decoded.transaction_types = Some(TransactionTypeSection::decode(bytes)?)
                }
                EXCEPTIONS => decoded.exceptions = Some(ExceptionSection::decode(bytes)?),
                SPLIT_CORRECTIONS => decoded.corrections = Some(CorrectionSection::decode(bytes)?),
                LOG_COUNTS => decoded.log_counts = Some(LogCountSection::decode(bytes)?),
                LOG_FORMS => decoded.log_forms = Some(LogFormSection::decode(bytes)?),
                _ => {}
            }
        }
        Some(decoded)
    }

    /// Returns true if the head was read from this file and not from a file that was replaced
    /// since.
    pub(super) fn belongs_to(&self, index: &File) -> bool {
        let mut crc = [0; CRC_BYTES];
        let offset = self.length - CRC_BYTES as u64;
        index.read_exact_at(&mut crc, offset).is_ok() && u32::from_le_bytes(crc) == self.crc
    }

    /// Returns its memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let filter = self.trace_filter.as_ref().map_or(0, Fuse::bytes);
        let directories = [&self.traces, &self.terms].into_iter().flatten();
        let rollup = self.rollup.as_ref().map_or(0, tidings_rollup::Directory::bytes);
        let graph = self.graph.as_ref().map_or(0, GraphSection::bytes);
        let transaction_types =
            self.transaction_types.as_ref().map_or(0, TransactionTypeSection::bytes);
        let exceptions = self.exceptions.as_ref().map_or(0, ExceptionSection::bytes);
        let corrections = self.corrections.as_ref().map_or(0, CorrectionSection::bytes);
        size_of::<Self>()
            + filter
            + rollup
            + graph
            + transaction_types
            + exceptions
            + corrections
            + directories.map(Directory::bytes).sum::<usize>()
    }

    /// Reads a byte range of the pages.
    pub(super) fn page(&self, index: &File, range: Range<u64>) -> Option<Vec<u8>> {
        // Pages are shorter than this. The check keeps a damaged length from allocating memory.
        const PAGE_BYTES_MAX: u64 = 1 << 24;
        let length = range.end.checked_sub(range.start).filter(|len| *len <= PAGE_BYTES_MAX)?;
        let mut page = vec![0; usize::try_from(length).ok()?];
        index.read_exact_at(&mut page, self.length.checked_add(range.start)?).ok()?;
        Some(page)
    }
}

/// Reads the bytes of the head of a data file's index. The checksum is not verified here.
fn read_head(index: &File, data: &DataFile) -> Option<Vec<u8>> {
    let mut fixed = [0; FIXED_BYTES];
    index.read_exact_at(&mut fixed, 0).ok()?;
    let mut start = Reader::new(&fixed);
    let is_index = start.take(MAGIC.len())? == MAGIC && start.u32()? == VERSION;
    let length = start.u32().filter(|length| *length <= HEAD_BYTES_MAX)?;
    if !is_index || start.u64()? != data.bytes || start.u64()? != data.rows {
        return None;
    }
    // The length is checked before that much memory is allocated.
    if index.metadata().ok()?.len() < u64::from(length) {
        return None;
    }
    let mut head = vec![0; usize::try_from(length).ok()?];
    index.read_exact_at(&mut head, 0).ok()?;
    Some(head)
}

/// Decodes a head with these sections, looks up each text of `pages` and reads the pages of every
/// section: an entry point for fuzz targets. It adds valid checksums to the head and to each page.
/// `None` when the sections are invalid.
pub fn read_sealed(sections: &[u8], pages: &[u8]) -> Option<()> {
    let head = sealed_head(sections)?;
    read_pages(&head, pages, &mut |range| sealed_page(pages, range));
    Some(())
}

/// Decodes a head with these sections and a valid checksum.
fn sealed_head(sections: &[u8]) -> Option<Head> {
    let mut bytes = vec![0; FIXED_BYTES];
    bytes.extend(sections);
    let crc = crc32c::crc32c(&bytes).to_le_bytes();
    bytes.extend(crc);
    Head::decode(&bytes)
}

/// Returns the page at this range with a valid checksum in its last bytes.
fn sealed_page(pages: &[u8], range: Range<u64>) -> Option<Vec<u8>> {
    let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
    let start = usize::try_from(range.start).ok()?;
    let held = pages.get(start..start.checked_add(length.checked_sub(CRC_BYTES)?)?)?;
    Some([held, &crc32c::crc32c(held).to_le_bytes()].concat())
}

/// Looks up each text of `texts` and reads the pages of every section. Skips damaged pages.
fn read_pages(head: &Head, texts: &[u8], fetch: &mut Fetch<'_>) {
    for hash in texts.chunks_exact(size_of::<u64>()).map(xxhash_rust::xxh3::xxh3_64) {
        let _ = head.trace_filter.as_ref().is_some_and(|filter| filter.may_have(hash));
        for directory in [&head.traces, &head.terms].into_iter().flatten() {
            let _ = directory.find_any([hash], fetch);
        }
    }
    for directory in [&head.traces, &head.terms].into_iter().flatten() {
        for page in 0..directory.bytes() / (2 * size_of::<u64>()) {
            let _ = (directory.hashes(page), directory.runs(page, fetch));
        }
    }
    if let Some(grams) = &head.grams {
        let _ = grams.find(&text_bits(texts), fetch);
    }
    read_rollups(head, fetch);
    if let Some(ExceptionSection::Listed(listing)) = &head.exceptions {
        let _ = listing.list(fetch);
    }
    if let Some(LogCountSection::Counted(counts)) = &head.log_counts {
        let minutes = counts.minutes(fetch);
        let _ = counts.cells(fetch);
        if let (Some(minutes), Some(LogFormSection::Counted(forms))) = (minutes, &head.log_forms) {
            let _ = forms.cells(&minutes, fetch);
        }
    }
}

/// Reads the pages of the rollups, of the summaries of traces and of the corrections.
fn read_rollups(head: &Head, fetch: &mut Fetch<'_>) {
    if let Some(calls) = &head.rollup {
        read_buckets(calls, fetch);
    }
    if let Some(graph) = &head.graph {
        read_buckets(&graph.cells, fetch);
    }
    if let Some(transaction_types) = &head.transaction_types {
        read_buckets(&transaction_types.cells, fetch);
        let _ = transaction_types.each(fetch, |_, _| Some(()));
    }
    for pair in head.corrections.iter().flat_map(|corrections| corrections.pairs.iter()) {
        read_buckets(&pair.graph, fetch);
        read_buckets(&pair.transaction_types, fetch);
        let _ = (pair.resolved_traces(fetch), pair.unresolved(fetch));
    }
}

/// Reads the groups and all rollup buckets of a directory.
fn read_buckets(directory: &tidings_rollup::Directory, fetch: &mut Fetch<'_>) {
    let _ = directory.groups(fetch).is_some_and(|names| names.are_calls());
    // This directory has all levels, those of nothing but counts included.
    let directory = directory.for_query(true);
    for level in 0..LEVELS.len() {
        // A damaged directory may have a period several times.
        let starts: BTreeSet<u64> = directory.periods(level).map(|period| period.start).collect();
        for start in starts {
            let _ = directory.cells(level, start, fetch, |_, bucket| {
                bucket.decoded().zip(bucket.durations()).map(drop)
            });
        }
    }
}

const DATA_SUMS: u32 = 6;
const PAGES_SUM: u32 = 7;
/// Number of bytes of the pages that the checksum reads at once.
const READ_BYTES: usize = 256 << 10;

/// Result of verifying a data file's index.
#[derive(Debug, PartialEq, Eq)]
pub enum IndexState {
    /// The index is intact. Contains the checksums of the data file, which older releases did not
    /// store.
    Sound(Option<Sums>),
    /// The bytes differ from those written.
    Damaged,
    /// There is no index.
    Missing,
}

/// Reads a data file's index and verifies its checksums.
pub fn verify(data: &DataFile) -> IndexState {
    match data.open_index() {
        Ok(index) => verified(&index, data).map_or(IndexState::Damaged, IndexState::Sound),
        Err(error) if error.kind() == io::ErrorKind::NotFound => IndexState::Missing,
        Err(_) => IndexState::Damaged,
    }
}

/// Returns true if an index of an older release lacks sections of the rebuilt index `made`.
pub fn is_outdated(index: &[u8], made: &[u8]) -> bool {
    let (Some(mut has), Some(all)) = (kinds(index), kinds(made)) else { return false };
    has.retain(|kind| !RETIRED.contains(kind));
    has.len() < all.len() && has.is_subset(&all)
}

/// Returns the section kinds of an index.
fn kinds(index: &[u8]) -> Option<BTreeSet<u32>> {
    let (sections, _) = parts(index)?;
    Some(sections.into_iter().map(|(kind, _)| kind).collect())
}

fn verified(index: &File, data: &DataFile) -> Option<Option<Sums>> {
    let head = read_head(index, data)?;
    Head::decode(&head)?;
    let covered = head.get(..head.len().checked_sub(CRC_BYTES)?)?;
    let mut sections = Reader::new(covered.get(FIXED_BYTES..)?);
    let (mut data_sums, mut pages_sum) = (None, None);
    while !sections.is_empty() {
        let (kind, length) = (sections.u32()?, sections.u32()?);
        let bytes = sections.take(usize::try_from(length).ok()?)?;
        match kind {
            DATA_SUMS => data_sums = Some(Sums::decode(data.bytes, bytes)?),
            PAGES_SUM => pages_sum = Some(Reader::new(bytes).u32()?),
            _ => {}
        }
    }
    let Some(expected) = pages_sum else { return Some(None) };
    let (mut sum, mut offset) = (0, head.len() as u64);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = index.read_at(&mut buffer, offset).ok()?;
        if read == 0 {
            return (sum == expected).then_some(data_sums);
        }
        sum = crc32c::crc32c_append(sum, buffer.get(..read)?);
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos, api::Exemplar};
    use tidings_rollup::{
        Call, ExceptionKey, LEVELS,
        exceptions::{List, ListedException, exception_section},
        file_aggregate::FileAggregate,
        rollup_encoding::LevelLimits,
        split_corrections::{self, PairBuilder, ResolvedTraces},
        transaction_types::transaction_type_section::{self, Summary, SummaryLocation, summaries},
    };

    use super::{
        EXCEPTIONS, GRAPH, ROLLUP, SPLIT_CORRECTIONS, TRANSACTION_TYPES, read_pages, sealed_head,
        sealed_page,
    };

    const HOUR: u64 = 500_000;

    /// Returns calls of two minutes of an hour.
    fn calls() -> FileAggregate {
        let mut calls = FileAggregate::default();
        let group = calls.groups.number((["shop", "pay"], [2, 0]));
        for minute in [3, 40] {
            let exemplar = Exemplar {
                duration_nano: DurationNanos(7),
                start_unix_nano: UnixNanos(HOUR * tidings_rollup::HOUR + minute * LEVELS[0]),
                trace_id: TraceId::from_wire(&[1; 16]).unwrap(),
                span_id: SpanId::from_wire(&[2; 8]).unwrap(),
            };
            calls.add(group, &Call { exemplar, failed: false, timed: true });
        }
        calls
    }

    /// Returns sections of rollups, exceptions and corrections with their kinds, and their pages.
    fn sections_of_spans() -> (Vec<(u32, Vec<u8>)>, Vec<u8>) {
        let (rollup, mut pages) = calls().finish(2, LevelLimits::ALL, 0);
        let (cells, more) = calls().finish(2, LevelLimits::ALL, pages.len() as u64);
        pages.extend(more);
        // No rows are left out.
        let graph = [&[0_u8][..], &cells].concat();
        let summary = Summary { transaction_type: Some(0), minute: 3, bucket: 7, failed: false };
        let traces = summaries([summary; 9].into_iter(), 1);
        let offset = pages.len() as u64;
        let place = SummaryLocation { offset, count: 9, bits: traces.bits };
        pages.extend(traces.pages);
        let (cells, more) = calls().finish(2, LevelLimits::ALL, pages.len() as u64);
        pages.extend(more);
        let transaction_types = transaction_type_section::encoded(HOUR, &[], &place, &cells);
        let group = ExceptionKey {
            service: "shop".to_owned(),
            operation: "pay".to_owned(),
            exception_type: "Declined".to_owned(),
            stack: 5,
        };
        let listed = ListedException { row: 1, group: 0, start: UnixNanos(HOUR), content_hash: 11 };
        let list = List { groups: vec![group], exceptions: vec![listed] };
        let (exceptions, more) = exception_section::encode(&list, pages.len() as u64);
        pages.extend(more);
        let pair = PairBuilder {
            settled: ResolvedTraces { low64s: vec![1, 2], entries: vec![0, 1] },
            unresolved: vec![3],
            graph: calls(),
            transaction_types: calls(),
            rows: 2,
        };
        let (corrections, more) =
            split_corrections::encoded(vec![8], vec![(8, pair)], pages.len() as u64);
        pages.extend(more);
        let sections = [
            (ROLLUP, rollup),
            (GRAPH, graph),
            (TRANSACTION_TYPES, transaction_types),
            (EXCEPTIONS, exceptions),
            (SPLIT_CORRECTIONS, corrections),
        ];
        (sections.into(), pages)
    }

    #[test]
    fn the_entry_point_for_fuzz_targets_reads_the_pages_of_every_section() {
        let (sections, pages) = sections_of_spans();
        let mut encoded = Vec::new();
        for (kind, bytes) in sections {
            encoded.extend(kind.to_le_bytes());
            encoded.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            encoded.extend(bytes);
        }
        let head = sealed_head(&encoded).unwrap();
        let mut read: Vec<Range<u64>> = Vec::new();
        read_pages(&head, &[], &mut |range| {
            read.push(range.clone());
            sealed_page(&pages, range)
        });
        read.sort_by_key(|range| range.start);
        let mut end = 0;
        for range in read {
            assert!(range.start <= end, "bytes {end} to {} are not read", range.start);
            end = end.max(range.end);
        }
        assert_eq!(end, pages.len() as u64);
    }
}
