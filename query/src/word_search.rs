//! Names that have all words of a text: operations and versions of services, types of exceptions,
//! and peers that send no spans.
//!
//! A word may be a part of the name or of the service, so that `payment 2.14.0` is a version of the
//! service `payment`. Operations, exceptions and peers come from the aggregates of files, and from
//! the rows that these lack. Versions come from samples when there are many spans, and only a text
//! with a digit reads them. Versions, exceptions and peers of a range are cached for some seconds.
//! A kind whose names take too long has those that were read in time, or none, and the answer is
//! partial. Owns the match and the order of names. Their places on pages are the UI's.

mod candidates;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use tidings_proto::{
    DurationNanos,
    api::{FoundName, FoundNameKind, FoundNameList, NodeKind},
};
use tidings_storage::{
    AttributeFilter, ExceptionAttributes, ExceptionBounds, LogFilter, Projection, RowsNeeded, Scan,
    SpanFilter, TimeRange,
};

pub(crate) use candidates::{CandidateCache, CandidateSource};
use candidates::{CandidateKey, Candidates};

use crate::{
    NameSearch, QueryError,
    analysis::{GraphSearch, service_graph, window::Window},
    execution::Reader,
    name_search::service_versions,
};

/// Maximum number of words of a text, because each is searched in every name.
const WORDS_MAX: usize = 64;
/// Tenths of the deadline within which the reading of a kind of names begins early, and has most of
/// the time. When an early reading is given up, the names that it has are cached. When a later one
/// is given up, its names are left out. The next search, for which the other kinds are cached, then
/// reads them early.
const EARLY_TENTHS: u32 = 1;
/// Tenths of the deadline after which no further kind of names is read.
const LATE_TENTHS: u32 = 5;
/// Tenths of the deadline after which the reading of a kind of names is given up.
const STOP_TENTHS: u32 = 8;
/// Maximum number of spans with exceptions that are read where files do not list them.
const EXCEPTION_SPANS_MAX: u64 = 20_000;
/// Maximum number of log records that are read for their exceptions, the newest.
const EXCEPTION_LOGS_MAX: u64 = 65_536;
/// Maximum size of the deduplication set of spans with exceptions, at about 16 bytes a span.
const REMEMBERED_MAX: u64 = 1 << 20;
/// Steps of the counts of exceptions, which nothing reads here.
const STEP: DurationNanos = DurationNanos(24 * 3_600 * 1_000_000_000);
const EXCEPTION_TYPE: &str = "exception.type";

/// Selection of names by words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordSearch {
    /// The words.
    pub text: String,
    /// Range in which the spans with the names start; the last 24 hours of data when it is
    /// unbounded.
    pub start: TimeRange,
    /// Maximum number of names of each kind.
    pub limit: usize,
}

/// Adds the names of a kind in a range. When it fails, some may have been added.
type CandidateReader = fn(&Reader, TimeRange, &mut Candidates) -> Result<(), QueryError>;

/// The names that have all words, best first.
pub(crate) fn found_names(
    reader: &Reader,
    search: &WordSearch,
    source: &CandidateSource,
) -> Result<FoundNameList, QueryError> {
    let words = SearchWords::new(&search.text);
    let is_too_long = words.parts.len() > WORDS_MAX;
    if words.parts.is_empty() || is_too_long {
        return Ok(FoundNameList { names: Vec::new(), truncated: is_too_long });
    }
    let range = Window::new(reader, search.start, None)?.range();
    let has_digit = words.whole.contains(|sign: char| sign.is_ascii_digit());
    let mut finder = NameFinder::new(words, reader.limits.names_counted_max);
    let mut complete = finder.add_operations(reader, range)?;
    let kinds: [(FoundNameKind, CandidateReader); 3] = [
        (FoundNameKind::Version, versions),
        (FoundNameKind::Exception, exceptions),
        (FoundNameKind::Peer, peers),
    ];
    for (kind, read) in kinds {
        if kind == FoundNameKind::Version && !has_digit {
            continue;
        }
        let CandidateSource { rows, erasures, .. } = *source;
        let key = CandidateKey { kind, range: search.start, rows, erasures };
        let candidates = candidates_in_time(reader, &source.cache, key, |reader, candidates| {
            read(reader, range, candidates)
        })?;
        complete &= candidates.is_some_and(|candidates| finder.add_all(&candidates));
    }
    Ok(finder.into_list(search.limit, complete))
}

/// Returns the cached names of a kind, or those that `read` adds. When that takes too much of the
/// time of the query, returns those that were added until then if it began early, and otherwise
/// `None`.
fn candidates_in_time(
    reader: &Reader,
    cache: &CandidateCache,
    key: CandidateKey,
    read: impl FnOnce(&Reader, &mut Candidates) -> Result<(), QueryError>,
) -> Result<Option<Arc<Candidates>>, QueryError> {
    let read = || {
        if reader.is_late(LATE_TENTHS) {
            return Err(QueryError::Deadline { limit: reader.limits.deadline });
        }
        let is_early = !reader.is_late(EARLY_TENTHS);
        let mut candidates = Candidates::new(reader.limits.names_counted_max);
        match read(&reader.with_deadline_tenths(STOP_TENTHS), &mut candidates) {
            Err(QueryError::Deadline { .. }) if is_early => candidates.complete = false,
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        Ok(candidates)
    };
    match cache.get_or_read(key, || reader.instant(), read) {
        Ok(candidates) => Ok(Some(candidates)),
        Err(QueryError::Deadline { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds versions with their number of spans.
fn versions(
    reader: &Reader,
    range: TimeRange,
    candidates: &mut Candidates,
) -> Result<(), QueryError> {
    let search = NameSearch { start: range, ..NameSearch::default() };
    let is_whole = service_versions(reader, &search, |service, version, count| {
        candidates.add(NameKey::of_service(FoundNameKind::Version, service, version), count);
    })?;
    candidates.complete &= is_whole;
    Ok(())
}

/// Adds types of exceptions with their number of exceptions.
fn exceptions(
    reader: &Reader,
    range: TimeRange,
    candidates: &mut Candidates,
) -> Result<(), QueryError> {
    let exception =
        |service: &str, name: &str| NameKey::of_service(FoundNameKind::Exception, service, name);
    let of_spans = reader.aggregate_exceptions(&ExceptionBounds {
        start: range,
        services: None,
        operation: None,
        exception_type: None,
        step: STEP,
        spans_max: EXCEPTION_SPANS_MAX,
        rows_max: reader.settings.search_rows_max,
        groups_max: reader.limits.names_counted_max,
        remembered_max: REMEMBERED_MAX,
    })?;
    for (key, sums) in &of_spans.groups {
        candidates.add(exception(&key.service, &key.exception_type), sums.count);
    }
    let filter = LogFilter {
        time: range,
        attributes: vec![AttributeFilter::new(EXCEPTION_TYPE, None)],
        ..LogFilter::default()
    };
    let scan = Scan { detail: Projection::Attributes, rows_max: EXCEPTION_LOGS_MAX };
    let of_logs = reader.newest_logs(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let attributes = ExceptionAttributes::from_attributes(&rows.attributes(row));
            candidates.add(exception(rows.service(row), attributes.exception_type.as_str()), 1);
        }
        Ok(RowsNeeded::All)
    })?;
    candidates.complete &= of_spans.scan.complete && of_spans.others == 0 && of_logs.complete;
    Ok(())
}

/// Adds peers that send no spans with their number of calls.
fn peers(reader: &Reader, range: TimeRange, candidates: &mut Candidates) -> Result<(), QueryError> {
    let filter = SpanFilter { start: range, ..SpanFilter::default() };
    let search = GraphSearch { filter, ..GraphSearch::default() };
    let graph = service_graph::graph(reader, &search)?;
    for node in graph.nodes {
        let is_peer =
            matches!(node.kind, NodeKind::Database | NodeKind::Messaging | NodeKind::External);
        if is_peer && !node.name.is_empty() {
            let qualifier = node.system.unwrap_or_default();
            let (kind, peer_kind) = (FoundNameKind::Peer, Some(node.kind));
            let key = NameKey { kind, peer_kind, qualifier, name: node.name };
            candidates.add(key, node.call_count);
        }
    }
    candidates.complete &= graph.searched.complete;
    Ok(())
}

/// The words of a text, in small letters.
#[derive(Debug)]
struct SearchWords {
    parts: Vec<String>,
    /// The words with single blanks between them.
    whole: String,
}

/// The way in which a name has the words, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum MatchRank {
    /// The name is the text, alone or with its service.
    Whole,
    /// The name begins with the text, alone or with its service.
    Begins,
    /// The words are parts of the name and of the service.
    Parts,
}

impl SearchWords {
    fn new(text: &str) -> Self {
        let parts: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let whole = parts.join(" ");
        Self { parts, whole }
    }

    /// Returns how a name has the words, or `None` when it lacks one. The qualifier is its service,
    /// or the system of a peer. A name other than a peer's has one of the words itself.
    fn rank(&self, kind: FoundNameKind, qualifier: &str, name: &str) -> Option<MatchRank> {
        let (qualifier, name) = (qualifier.to_lowercase(), name.to_lowercase());
        let in_name = |part: &String| name.contains(part.as_str());
        let has_all =
            self.parts.iter().all(|part| in_name(part) || qualifier.contains(part.as_str()));
        if !has_all || (kind != FoundNameKind::Peer && !self.parts.iter().any(in_name)) {
            return None;
        }
        let forms = [format!("{qualifier} {name}"), format!("{name} {qualifier}"), name.clone()];
        Some(if forms.contains(&self.whole) {
            MatchRank::Whole
        } else if forms.iter().any(|form| form.starts_with(&self.whole)) {
            MatchRank::Begins
        } else {
            MatchRank::Parts
        })
    }
}

/// Identity of a found name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct NameKey {
    kind: FoundNameKind,
    peer_kind: Option<NodeKind>,
    /// Its service, or the system of a peer.
    qualifier: String,
    name: String,
}

impl NameKey {
    /// Identity of a name of a service.
    fn of_service(kind: FoundNameKind, service: &str, name: &str) -> Self {
        Self { kind, peer_kind: None, qualifier: service.to_owned(), name: name.to_owned() }
    }
}

/// Counts the names that have all words, within bounds.
#[derive(Debug)]
struct NameFinder {
    words: SearchWords,
    found: BTreeMap<NameKey, (MatchRank, u64)>,
    names_max: usize,
    overflowed: bool,
}

impl NameFinder {
    fn new(words: SearchWords, names_max: usize) -> Self {
        Self { words, found: BTreeMap::new(), names_max, overflowed: false }
    }

    /// Counts a name of a service, if it has all words.
    fn add(&mut self, kind: FoundNameKind, service: &str, name: &str, count: u64) {
        if let Some(rank) = self.words.rank(kind, service, name) {
            self.count(NameKey::of_service(kind, service, name), rank, count);
        }
    }

    /// Counts those of the names that have all words. Returns true when no name is missing.
    fn add_all(&mut self, candidates: &Candidates) -> bool {
        for (key, count) in &candidates.counts {
            if let Some(rank) = self.words.rank(key.kind, &key.qualifier, &key.name) {
                self.count(key.clone(), rank, *count);
            }
        }
        candidates.complete
    }

    fn count(&mut self, key: NameKey, rank: MatchRank, count: u64) {
        let is_full = self.found.len() >= self.names_max;
        match self.found.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().1 += count,
            Entry::Vacant(_) if is_full => self.overflowed = true,
            Entry::Vacant(new) => {
                new.insert((rank, count));
            }
        }
    }

    /// Adds operations by number of spans. Returns true when every span was counted.
    fn add_operations(&mut self, reader: &Reader, range: TimeRange) -> Result<bool, QueryError> {
        let stats = reader.count_calls(range, |key, count| {
            self.add(FoundNameKind::Operation, key.service, key.operation, count);
        })?;
        Ok(stats.complete)
    }

    /// Returns the best names, at most `limit` of each kind.
    fn into_list(self, limit: usize, complete: bool) -> FoundNameList {
        let mut found: Vec<(NameKey, (MatchRank, u64))> = self.found.into_iter().collect();
        // The sort is stable, and the keys are in order.
        found.sort_by_key(|(key, (rank, count))| (*rank, key.kind, Reverse(*count)));
        let (mut of_kind, all) = (BTreeMap::<FoundNameKind, usize>::new(), found.len());
        found.retain(|(key, _)| {
            let listed = of_kind.entry(key.kind).or_default();
            *listed += 1;
            *listed <= limit
        });
        let truncated = !complete || self.overflowed || found.len() < all;
        let name = |(key, (_, count)): (NameKey, (MatchRank, u64))| {
            let NameKey { kind, peer_kind, qualifier, name } = key;
            let (service, system) = match kind {
                FoundNameKind::Peer => (None, Some(qualifier).filter(|text| !text.is_empty())),
                _ => (Some(qualifier), None),
            };
            FoundName { kind, name, service, peer_kind, system, count }
        };
        FoundNameList { names: found.into_iter().map(name).collect(), truncated }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use tidings_proto::api::FoundNameKind::{Exception, Operation, Peer, Version};
    use tidings_storage::{Clock, Store, StoreSettings, SystemClock, TimeRange};

    use super::{
        CandidateCache, CandidateKey, Candidates, MatchRank, NameFinder, NameKey, SearchWords,
        candidates_in_time,
    };
    use crate::{QueryError, QueryService, QuerySettings, execution::Reader};

    const KEY: CandidateKey = CandidateKey {
        kind: Exception,
        range: TimeRange { start: None, end: None },
        rows: (1, 0),
        erasures: 0,
    };

    #[test]
    fn every_word_is_a_part_of_the_name_or_its_service() {
        let cases = [
            ("web-gateway POST /checkout", Operation, Some(MatchRank::Whole)),
            ("post /CHECKOUT  web-gateway", Operation, Some(MatchRank::Whole)),
            ("POST /check", Operation, Some(MatchRank::Begins)),
            ("gateway checkout", Operation, Some(MatchRank::Parts)),
            ("checkout", Operation, Some(MatchRank::Parts)),
            ("web-gateway", Operation, None),
            ("web-gateway", Peer, Some(MatchRank::Begins)),
            ("web-gateway GET", Operation, None),
        ];
        for (text, kind, expected) in cases {
            let rank = SearchWords::new(text).rank(kind, "web-gateway", "POST /checkout");
            assert_eq!(rank, expected, "{text}");
        }
    }

    #[test]
    fn the_best_names_of_each_kind_are_listed() {
        let mut finder = NameFinder::new(SearchWords::new("pay"), 4);
        finder.add(Operation, "bank", "prepay", 9);
        finder.add(Operation, "bank", "pay", 1);
        finder.add(Operation, "bank", "payment", 1);
        finder.add(Operation, "bank", "payment", 1);
        finder.add(Version, "bank", "1-pay", 1);
        finder.add(Version, "bank", "2", 5);
        let list = finder.into_list(2, true);
        let names: Vec<_> = list.names.iter().map(|one| (one.name.as_str(), one.count)).collect();
        assert_eq!(names, [("pay", 1), ("payment", 2), ("1-pay", 1)]);
        assert!(list.truncated);
    }

    #[test]
    fn two_texts_read_the_names_of_a_range_once() {
        let (cache, reads) = (CandidateCache::default(), Cell::new(0));
        let now = SystemClock.instant();
        let read = || {
            reads.set(reads.get() + 1);
            let mut candidates = Candidates::new(10);
            for (name, count) in [("CurrencyMissing", 3), ("LedgerClosed", 1)] {
                candidates.add(NameKey::of_service(Exception, "payment", name), count);
            }
            Ok(candidates)
        };
        for (text, expected) in
            [("currency", ("CurrencyMissing", 3)), ("payment ledger", ("LedgerClosed", 1))]
        {
            let candidates = cache.get_or_read(KEY, || now, read).unwrap();
            let mut finder = NameFinder::new(SearchWords::new(text), 10);
            assert!(finder.add_all(&candidates));
            let list = finder.into_list(5, true);
            let names: Vec<_> =
                list.names.iter().map(|one| (one.name.as_str(), one.count)).collect();
            assert_eq!(names, [expected], "{text}");
        }
        assert_eq!(reads.get(), 1);
    }

    #[tokio::test]
    async fn names_that_were_read_until_the_deadline_are_cached_unless_they_began_late() {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
        let (store, _) = Store::open(settings, Arc::new(SystemClock)).await.unwrap();
        let service = QueryService::new(store, QuerySettings::default(), Arc::new(SystemClock));
        let found = service.ask(|reader| {
            let (cache, reads) = (CandidateCache::default(), Cell::new(0));
            let search = |reader: &Reader, tenths: u32| {
                let read = |reader: &Reader, candidates: &mut Candidates| {
                    reads.set(reads.get() + 1);
                    candidates.add(NameKey::of_service(Exception, "payment", "LedgerClosed"), 1);
                    reader.with_deadline_tenths(tenths).check()
                };
                let found = candidates_in_time(reader, &cache, KEY, read)?;
                Ok::<_, QueryError>(found.map(|found| (found.counts.len(), found.complete)))
            };
            // The deadline of the reading has passed.
            let passed = 0;
            // Two tenths of the time of this query have passed.
            let mut late = reader.with_deadline_tenths(8);
            late.limits.deadline = reader.limits.deadline;
            let found = [
                search(&late, passed)?,
                search(reader, passed)?,
                search(reader, passed)?,
                search(&late, passed)?,
            ];
            Ok((found, reads.get()))
        });
        let part = Some((1, false));
        assert_eq!(found.await.unwrap(), ([None, part, part, part], 2));
    }
}
