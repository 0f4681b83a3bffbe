//! Index of a data file: a small file beside it that locates traces and terms in it.
//!
//! An index lists the rows of its data file that can hold a trace, an attribute, a service or a
//! name. The cost of finding one is therefore independent of the number of rows. It only excludes
//! rows: every remaining row is compared with the filter. A missing, damaged or foreign index makes
//! scans slower and changes no answer.
//!
//! [`IndexBuilder`] builds the bytes while a data file is written. `terms` defines the index terms,
//! `postings` collects their positions, and `find` looks them up. `file` is the format, and `runs`
//! (packed by `bits`), `fuse` and `grams` are its structures. `sums` has the checksums of the data
//! file, which the index stores as well. [`Indexes`] caches the heads of the files within a memory
//! budget. This crate does not write files: the writer or remover of a data file does so with its
//! index (see [`tidings_disk::paths::index_path`]).
//!
//! [`filter`] has the filters of spans and log records, which an index answers in part, and their
//! evaluation on a row.
//!
//! The feature `samples` adds random filters. Only tests have it.

mod bits;
mod build;
mod file;
pub mod filter;
mod find;
mod fuse;
mod grams;
mod postings;
mod runs;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
mod sums;
mod terms;

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs::File,
    io,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tidings_disk::paths::index_path;
use tidings_files::{metrics::CacheReads, table_file::DataFile};
use tidings_proto::Signal;
use tidings_rollup::{
    CorrectionSection, CountPages, Directory, ExceptionListing, ExceptionSection, FormPage,
    GraphSection, Hours, LogCountSection, LogFormSection, PeerKeys, SharedLogMinutes,
    SharedRepeats, SplitTraces, TransactionTypeSection, index_bytes::trace_hash,
};
use tokio::sync::Notify;

use file::Head;
use find::{LookupError, find};

pub use build::IndexBuilder;
pub use file::{
    IndexState, is_outdated, read_sealed, verify, with_corrections, without_corrections,
};
pub use filter::{
    AttributeFilter, AttributeOwner, ConditionNumber, FuzzyWord, Glyph, LogColumn, LogCondition,
    LogExpression, LogFilter, Needle, Nesting, NumberBound, Phrase, SpanFilter, TextBound,
    TextPattern, TextPredicate, TimeRange, ValuePredicate, Wildcard, WildcardScope,
};
pub(crate) use grams::text_bits;
pub use runs::{HashedRun, RUNS_PAGE};
pub use sums::{ChecksumBuilder, PIECE_BYTES, Sums};
pub(crate) use terms::{
    double_term, error_term, int_term, key_term, link_term, name_term, object_term, service_term,
    severity_term, text_term, truth_term,
};

/// Maximum number of indexes that wait to be rebuilt. Indexes beyond it are requested again later.
const MISSING_MAX: usize = 10_000;

/// Index lookup of a filter: conditions that a row must all meet.
#[derive(Debug, Clone)]
pub struct IndexLookup {
    signal: Signal,
    /// The row belongs to one of these traces.
    traces: Option<Vec<u64>>,
    /// The row has at least one term of each of these sets.
    terms: Vec<AnyOf>,
    /// The row's text has all bits of each of these lists. Each part of the text has a list of its
    /// own, because the lookup of a list ends where its bits exclude nothing.
    texts: Vec<Vec<u32>>,
    /// The row matches at least one lookup of each of these lists.
    one_of: Vec<Vec<Self>>,
}

/// Terms of which a row must have at least one.
#[derive(Debug, Clone)]
struct AnyOf {
    terms: Vec<u64>,
    earlier: LegacyTerms,
}

/// Fallback for terms in an index of an older release, which may lack those of array elements, link
/// targets and structured messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegacyTerms {
    /// The lookup uses the same terms.
    Same,
    /// The lookup uses this term instead.
    Instead(u64),
    /// The lookup skips the condition: every row can have the terms.
    Nothing,
}

impl IndexLookup {
    /// Returns a lookup of rows of the traces whose ids end with one of these numbers. Without a
    /// list, every row matches.
    pub fn new(signal: Signal, trace_low64s: Option<&[u64]>) -> Self {
        let traces = trace_low64s.map(|low64s| low64s.iter().copied().map(trace_hash).collect());
        Self { signal, traces, terms: Vec::new(), texts: Vec::new(), one_of: Vec::new() }
    }

    /// Adds the condition that a row has one of these terms.
    pub(crate) fn and_any(&mut self, terms: Vec<u64>) {
        self.and_any_since(terms, LegacyTerms::Same);
    }

    /// Adds the condition that a row has one of these terms, which older releases did not write.
    pub(crate) fn and_any_since(&mut self, terms: Vec<u64>, earlier: LegacyTerms) {
        self.terms.push(AnyOf { terms, earlier });
    }

    /// Returns true if an index of an older release excludes fewer rows than a current index would.
    fn gains_from_reindex(&self, head: &Head) -> bool {
        let is_earlier = head.terms.is_some() && !head.has_all_terms;
        let has_later_terms = |any: &AnyOf| any.earlier != LegacyTerms::Same;
        is_earlier
            && (self.terms.iter().any(has_later_terms)
                || self.one_of.iter().flatten().any(|lookup| lookup.gains_from_reindex(head)))
    }

    /// Adds the condition that the row's text has these bits of [`text_bits`]. Adds nothing without
    /// bits.
    pub(crate) fn and_text(&mut self, bits: Vec<u32>) {
        if !bits.is_empty() {
            self.texts.push(bits);
        }
    }

    /// Adds the condition that a row matches one of these lookups. Adds nothing when one of them
    /// matches every row.
    pub(crate) fn and_one_of(&mut self, lookups: Vec<Self>) {
        if !lookups.iter().any(Self::is_nothing) {
            self.one_of.push(lookups);
        }
    }

    fn is_nothing(&self) -> bool {
        self.traces.is_none()
            && self.terms.is_empty()
            && self.texts.is_empty()
            && self.one_of.is_empty()
    }
}

/// Rows of a data file that can match, as ascending and disjoint ranges. `None` means all rows.
pub type CandidateRows = Option<Vec<Range<u64>>>;

/// The indexes of a store's data files.
#[derive(Debug)]
pub struct Indexes {
    bytes_max: AtomicUsize,
    /// Cached heads of the indexes.
    heads: Mutex<Heads>,
    /// Data files whose indexes wait to be rebuilt, by the path of the index.
    missing: Mutex<BTreeMap<PathBuf, (Signal, Arc<DataFile>)>>,
    missed: Notify,
    /// Cached results for spans that are in two files.
    pub repeats: SharedRepeats,
    /// Cached results for split traces.
    pub splits: SplitTraces,
    /// Cached results for log records that are in two files.
    pub log_repeats: SharedLogMinutes,
    /// Cached attribute keys that name the peers of calls.
    pub peer_keys: PeerKeys,
    /// Cached rollups of all files of an hour.
    pub hours: Hours,
}

/// The rollups in the index of a data file, open for reading.
#[derive(Debug)]
pub struct RolledUp {
    head: Arc<Head>,
    index: File,
}

impl RolledUp {
    /// Returns the directory of the rollup pages.
    pub fn directory(&self) -> &Directory {
        self.head.rollup.as_ref().expect("invariant: it was there when this was made")
    }

    /// Returns the section of the service graph.
    pub fn graph(&self) -> &GraphSection {
        self.head.graph.as_ref().expect("invariant: it was there when this was made")
    }

    /// Returns the section of the root operations.
    pub fn transaction_types(&self) -> &TransactionTypeSection {
        self.head.transaction_types.as_ref().expect("invariant: it was there when this was made")
    }

    /// Returns the section that lists the exceptions.
    pub fn exceptions(&self) -> Option<&ExceptionListing> {
        match &self.head.exceptions {
            Some(ExceptionSection::Listed(listing)) => Some(listing),
            _ => None,
        }
    }

    /// Returns the section that counts log records.
    pub fn log_counts(&self) -> Option<&CountPages> {
        match &self.head.log_counts {
            Some(LogCountSection::Counted(pages)) => Some(pages),
            _ => None,
        }
    }

    /// Returns the section that counts log records by the form of the message.
    pub fn log_forms(&self) -> Option<&FormPage> {
        match &self.head.log_forms {
            Some(LogFormSection::Counted(page)) => Some(page),
            _ => None,
        }
    }

    /// Returns the section of precomputed corrections for the traces split across files of its
    /// hour.
    pub fn corrections(&self) -> Option<&CorrectionSection> {
        self.head.corrections.as_ref()
    }

    /// Returns the trace runs of this page. Their numbers start at `page` times [`RUNS_PAGE`].
    /// `None` when the page is missing or damaged.
    pub fn trace_runs(&self, page: u64) -> Option<Vec<HashedRun>> {
        let traces = self.head.traces.as_ref()?;
        traces.runs(usize::try_from(page).ok()?, &mut |range| self.page(range))
    }

    /// Returns the range of the trace hashes of this page.
    pub fn trace_places(&self, page: u64) -> Option<RangeInclusive<u64>> {
        self.head.traces.as_ref()?.hashes(usize::try_from(page).ok()?)
    }

    /// Reads a byte range of the pages.
    pub fn page(&self, range: Range<u64>) -> Option<Vec<u8>> {
        self.head.page(&self.index, range)
    }
}

/// Cache of the heads of indexes.
#[derive(Debug, Default)]
struct Heads {
    /// Keyed by the text of the data file's path. A `Path` as the key would be split into
    /// components at each comparison.
    by_path: HashMap<OsString, CachedHead>,
    /// Memory of all entries in bytes.
    bytes: usize,
    /// Number of scans so far.
    scans: u64,
    /// Number of the scan that last evicted heads.
    swept: u64,
    reads: CacheReads,
}

/// Entry of the cache: the head of the index of one data file.
#[derive(Debug)]
struct CachedHead {
    /// `None` means that the file has no readable index.
    head: Option<Arc<Head>>,
    /// Memory of the entry in bytes.
    bytes: usize,
    last_use: u64,
}

impl Indexes {
    /// Returns a cache that keeps heads of at most this many bytes in memory.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: AtomicUsize::new(bytes_max),
            heads: Mutex::default(),
            missing: Mutex::default(),
            missed: Notify::new(),
            repeats: SharedRepeats::default(),
            splits: SplitTraces::default(),
            log_repeats: SharedLogMinutes::default(),
            peer_keys: PeerKeys::default(),
            hours: Hours::default(),
        }
    }

    /// Changes the memory budget of the cached heads, in bytes. Heads beyond a smaller budget are
    /// evicted by the next scans.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.bytes > bytes_max {
            heads.by_path.clear();
            heads.bytes = 0;
        }
    }

    /// Returns the number of lookups of a cached head that hit and that missed.
    pub fn reads(&self) -> CacheReads {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).reads
    }

    /// Returns true if the head of the index of this file is in memory.
    #[cfg(any(test, feature = "samples"))]
    #[must_use]
    pub fn has_head(&self, data_file: &Path) -> bool {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.by_path.contains_key(data_file.as_os_str())
    }

    /// Returns the bytes of each head in memory.
    #[cfg(any(test, feature = "samples"))]
    #[must_use]
    pub fn bytes_of_heads(&self) -> Vec<usize> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.by_path.values().map(|kept| kept.bytes).collect()
    }

    /// Returns the bytes of the heads in memory.
    pub fn bytes(&self) -> usize {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// Begins a scan and returns its number, which [`Self::candidates`] takes.
    pub fn begin_scan(&self) -> u64 {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.scans += 1;
        heads.scans
    }

    /// Returns the rows of a file that a scan must read.
    pub fn candidates(
        &self,
        scan: u64,
        file: &Arc<DataFile>,
        wanted: &IndexLookup,
    ) -> CandidateRows {
        if wanted.is_nothing() {
            return None;
        }
        let head = self.head(scan, file, wanted.signal)?;
        if wanted.gains_from_reindex(&head) {
            self.renew(wanted.signal, file);
        }
        let mut found = find(file, &head, wanted);
        if matches!(found, Err(LookupError::Replaced)) {
            found = find(file, &*self.load(scan, file, wanted.signal)?, wanted);
        }
        match found {
            Ok(candidates) => candidates,
            Err(LookupError::Damaged) => {
                self.renew(wanted.signal, file);
                self.keep(file, scan, None);
                None
            }
            Err(LookupError::OutOfReach | LookupError::Replaced) => None,
        }
    }

    /// Returns true if the index rules out the key for all attributes in the file.
    pub fn excludes_key(&self, scan: u64, file: &Arc<DataFile>, key: &str) -> bool {
        let mut wanted = IndexLookup::new(Signal::Spans, None);
        wanted.and_any(vec![key_term(key)]);
        self.candidates(scan, file, &wanted).is_some_and(|rows| rows.is_empty())
    }

    /// Opens the rollups of a data file of spans. An index without rollups is queued for a rebuild.
    pub fn rollup(&self, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
        self.rolled_up(Signal::Spans, scan, file, |head| head.rollup.is_some())
    }

    /// Like [`Self::rollup`], for the service graph.
    pub fn graph(&self, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
        self.rolled_up(Signal::Spans, scan, file, |head| head.graph.is_some())
    }

    /// Like [`Self::rollup`], for the root operations.
    pub fn transaction_types(&self, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
        let has = |head: &Head| head.transaction_types.is_some() && head.traces.is_some();
        self.rolled_up(Signal::Spans, scan, file, has)
    }

    /// Like [`Self::rollup`], for the exceptions. The index may still have no exception list.
    pub fn exceptions(&self, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
        let is_made =
            |head: &Head| !matches!(head.exceptions, None | Some(ExceptionSection::Outdated));
        self.rolled_up(Signal::Spans, scan, file, is_made)
    }

    /// Opens the counts in the index of a data file of log records. The index may still have no
    /// counts in it. An index without the section is queued for a rebuild.
    pub fn log_counts(&self, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
        self.rolled_up(Signal::Logs, scan, file, |head| head.log_counts.is_some())
    }

    /// Like [`Self::log_counts`], for the counts by the form of the message.
    pub fn log_forms(&self, scan: u64, file: &Arc<DataFile>) -> Option<RolledUp> {
        let has = |head: &Head| head.log_counts.is_some() && head.log_forms.is_some();
        self.rolled_up(Signal::Logs, scan, file, has)
    }

    /// Returns true if the data file's index has corrections for split traces.
    pub fn has_corrections(&self, scan: u64, file: &Arc<DataFile>) -> bool {
        let index = self.rolled_up(Signal::Spans, scan, file, |_| true);
        index.is_some_and(|of| of.corrections().is_some())
    }

    fn rolled_up(
        &self,
        signal: Signal,
        scan: u64,
        file: &Arc<DataFile>,
        has: impl Fn(&Head) -> bool,
    ) -> Option<RolledUp> {
        let mut head = self.head(scan, file, signal)?;
        let index = file.open_index().ok()?;
        if !head.belongs_to(&index) {
            // The index was replaced, possibly between the lookup of the head and the opening of
            // the file.
            head = self.load(scan, file, signal)?;
            if !head.belongs_to(&index) {
                return None;
            }
        }
        if !has(&head) {
            self.renew(signal, file);
            return None;
        }
        Some(RolledUp { head, index })
    }

    /// Drops the cached head of a file whose rollups or counts cannot be read. Queues its index for
    /// a rebuild.
    pub fn damaged(&self, signal: Signal, scan: u64, file: &Arc<DataFile>) {
        self.renew(signal, file);
        self.keep(file, scan, None);
    }

    fn head(&self, scan: u64, file: &Arc<DataFile>, signal: Signal) -> Option<Arc<Head>> {
        match self.kept(file, scan) {
            Some(head) => head,
            None => self.load(scan, file, signal),
        }
    }

    /// Takes a data file from the queue of those whose index was missing or damaged during a scan.
    pub fn next_missing(&self) -> Option<(Signal, Arc<DataFile>)> {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.pop_first().map(|(_, missing)| missing)
    }

    /// Waits until a missing index may have been queued.
    pub async fn missed(&self) {
        self.missed.notified().await;
    }

    /// Drops all cached results for a data file and its index after they were removed or replaced.
    pub fn invalidate(&self, data_file: &Path) {
        self.repeats.invalidate(data_file);
        self.splits.invalidate(data_file);
        self.log_repeats.invalidate(data_file);
        self.peer_keys.invalidate(data_file);
        self.hours.invalidate(data_file);
        self.evict_head(data_file);
    }

    /// Drops the cached head of a data file's index, which has gained a section.
    pub fn evict_head(&self, data_file: &Path) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(forgotten) = heads.by_path.remove(data_file.as_os_str()) {
            heads.bytes -= forgotten.bytes;
        }
    }

    /// Queues a data file's index for a rebuild. The index is missing, damaged or of an older
    /// release.
    pub fn renew(&self, signal: Signal, file: &Arc<DataFile>) {
        let path = index_path(&file.path);
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.len() < MISSING_MAX {
            tracing::warn!(path = %path.display(), "an index cannot be read; it is rebuilt");
            missing.insert(path, (signal, Arc::clone(file)));
            self.missed.notify_one();
        }
    }

    /// Removes these indexes from the rebuild queue. Their data files are removed, and the queue
    /// must not keep them open.
    pub fn drop_missing(&self, indexes: &[PathBuf]) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        for path in indexes {
            missing.remove(path);
        }
    }

    fn kept(&self, file: &DataFile, scan: u64) -> Option<Option<Arc<Head>>> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = heads.by_path.get_mut(file.path.as_os_str());
        let head = kept.map(|kept| {
            kept.last_use = scan;
            kept.head.clone()
        });
        heads.reads.count(head.is_some());
        head
    }

    fn load(&self, scan: u64, file: &Arc<DataFile>, signal: Signal) -> Option<Arc<Head>> {
        let opened = match file.open_index() {
            Ok(opened) => Some(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // The index exists but could not be opened now. A later scan tries again.
            Err(_) => return None,
        };
        let head = opened.and_then(|index| Head::read(&index, file)).map(Arc::new);
        if head.is_none() {
            self.renew(signal, file);
        }
        self.keep(file, scan, head.clone());
        head
    }

    /// Caches a head if there is room. Heads that the previous scan used are not evicted. When the
    /// heads exceed the budget, evicting those that the next scan needs first would help no scan.
    fn keep(&self, file: &DataFile, scan: u64, head: Option<Arc<Head>>) {
        let path = file.path.as_os_str();
        let own = size_of::<CachedHead>() + 2 * path.len();
        let bytes = own + head.as_ref().map_or(0, |head| head.bytes());
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let heads = &mut *heads;
        let bytes_max = self.bytes_max.load(Relaxed);
        if let Some(replaced) = heads.by_path.remove(path) {
            heads.bytes -= replaced.bytes;
        }
        if heads.bytes + bytes > bytes_max && heads.swept < scan {
            heads.swept = scan;
            heads.by_path.retain(|_, kept| kept.last_use + 1 >= scan);
            heads.bytes = heads.by_path.values().map(|kept| kept.bytes).sum();
        }
        if heads.bytes + bytes <= bytes_max {
            heads.bytes += bytes;
            heads.by_path.insert(path.to_owned(), CachedHead { head, bytes, last_use: scan });
        }
    }
}
