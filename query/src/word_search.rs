//! Names that have all words of a text: operations and versions of services, types of exceptions,
//! and peers that send no spans.
//!
//! A word may be a part of the name or of the service, so that `payment 2.14.0` is a version of the
//! service `payment`. Operations, exceptions and peers come from the aggregates of files, and from
//! the rows that these lack. Versions come from samples when there are many spans, and only a text
//! with a digit reads them. Owns the match and the order of names. Their places on pages are the
//! UI's.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
};

use tidings_proto::{
    DurationNanos,
    api::{FoundName, FoundNameKind, FoundNameList, NodeKind},
};
use tidings_storage::{
    AttributeFilter, Detail, ExceptionAttributes, ExceptionBounds, LogFilter, RowsNeeded, Scan,
    SpanFilter, TimeRange,
};

use crate::{
    NameSearch, QueryError,
    analysis::{GraphSearch, service_graph, window::Window},
    execution::Reader,
    name_search::service_versions,
};

/// Maximum number of words of a text, because each is searched in every name.
const WORDS_MAX: usize = 64;
/// Tenths of the deadline after which no further kind of names is read.
const LATE_TENTHS: u32 = 5;
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
pub(crate) struct WordSearch {
    /// The words.
    pub text: String,
    /// Range in which the spans with the names start; the last 24 hours of data when it is
    /// unbounded.
    pub start: TimeRange,
    /// Maximum number of names of each kind.
    pub limit: usize,
}

/// The names that have all words, best first.
pub(crate) fn found_names(
    reader: &Reader,
    search: &WordSearch,
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
    if has_digit {
        complete &= finder.add_versions(reader, range)?;
    }
    complete &= !reader.is_late(LATE_TENTHS) && finder.add_exceptions(reader, range)?;
    complete &= !reader.is_late(LATE_TENTHS) && finder.add_peers(reader, range)?;
    Ok(finder.into_list(search.limit, complete))
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
            let (qualifier, name) = (service.to_owned(), name.to_owned());
            self.count(NameKey { kind, peer_kind: None, qualifier, name }, rank, count);
        }
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

    /// Adds versions by number of spans. Returns true when every span was read.
    fn add_versions(&mut self, reader: &Reader, range: TimeRange) -> Result<bool, QueryError> {
        let search = NameSearch { start: range, ..NameSearch::default() };
        service_versions(reader, &search, |service, version, count| {
            self.add(FoundNameKind::Version, service, version, count);
        })
    }

    /// Adds types of exceptions by number of exceptions. Returns true when all were counted.
    fn add_exceptions(&mut self, reader: &Reader, range: TimeRange) -> Result<bool, QueryError> {
        let of_spans = reader.aggregate_exceptions(&ExceptionBounds {
            start: range,
            services: None,
            operation: None,
            exception_type: None,
            step: STEP,
            spans_max: EXCEPTION_SPANS_MAX,
            rows_max: reader.settings.search_rows_max,
            groups_max: self.names_max,
            remembered_max: REMEMBERED_MAX,
        })?;
        for (key, sums) in &of_spans.groups {
            self.add(FoundNameKind::Exception, &key.service, &key.exception_type, sums.count);
        }
        let filter = LogFilter {
            time: range,
            attributes: vec![AttributeFilter::new(EXCEPTION_TYPE, None)],
            ..LogFilter::default()
        };
        let scan = Scan { detail: Detail::Attributes, rows_max: EXCEPTION_LOGS_MAX };
        let of_logs = reader.newest_logs(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let exception = ExceptionAttributes::from_attributes(&rows.attributes(row));
                let name = exception.exception_type.as_str();
                self.add(FoundNameKind::Exception, rows.service(row), name, 1);
            }
            Ok(RowsNeeded::All)
        })?;
        Ok(of_spans.scan.complete && of_spans.others == 0 && of_logs.complete)
    }

    /// Adds peers that send no spans by number of calls. Returns true when the graph is whole.
    fn add_peers(&mut self, reader: &Reader, range: TimeRange) -> Result<bool, QueryError> {
        let filter = SpanFilter { start: range, ..SpanFilter::default() };
        let search = GraphSearch { filter, ..GraphSearch::default() };
        let graph = service_graph::graph(reader, &search)?;
        for node in graph.nodes {
            let is_peer =
                matches!(node.kind, NodeKind::Database | NodeKind::Messaging | NodeKind::External);
            let qualifier = node.system.unwrap_or_default();
            let kind = FoundNameKind::Peer;
            if is_peer
                && !node.name.is_empty()
                && let Some(rank) = self.words.rank(kind, &qualifier, &node.name)
            {
                let peer_kind = Some(node.kind);
                let key = NameKey { kind, peer_kind, qualifier, name: node.name };
                self.count(key, rank, node.call_count);
            }
        }
        Ok(graph.searched.complete)
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
    use tidings_proto::api::FoundNameKind::{Operation, Peer, Version};

    use super::{MatchRank, NameFinder, SearchWords};

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
}
