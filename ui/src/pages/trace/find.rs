//! Search in a trace.
//!
//! Owns the rows that match a text. Matches in the skeleton and the log records are found at once.
//! Every distinct service and operation is compared once, and the rows follow from their numbers,
//! so that 100,000 rows take a few milliseconds. Ids match by prefix. The server finds attributes,
//! events and statuses, which the skeleton does not have, and evaluates TraceQL queries. Its rows
//! are joined to these.

use std::collections::HashMap;

use super::{logs_index::LogIndex, model::TraceModel};

/// Sign before the words of a part that has a match of the find text.
pub(crate) const FOUND: &str = "◆ ";
/// Minimum number of digits of an id prefix. Fewer match too much.
const ID_DIGITS_MIN: usize = 4;

/// The matching rows, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Matches {
    rows: Vec<u32>,
}

impl Matches {
    /// Finds the rows whose service, operation, span id or log records contain `text`, ignoring
    /// case. Words are searched separately: a row matches when it contains each of them.
    pub(crate) fn find(model: &TraceModel, logs: Option<&LogIndex>, text: &str) -> Self {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() || is_query(text) {
            return Self::default();
        }
        let mut hits = vec![true; model.len()];
        for word in &words {
            let services = holding(model.services(), word);
            let operations = holding(model.operations(), word);
            let id = (word.len() >= ID_DIGITS_MIN && word.bytes().all(|c| c.is_ascii_hexdigit()))
                .then_some(word.as_str());
            let mut in_logs = vec![false; if logs.is_some() { model.len() } else { 0 }];
            for log in
                logs.into_iter().flat_map(|logs| (0..).zip(logs.all()).map(move |l| (logs, l)))
            {
                let (index, (log, record)) = log;
                if record.text.to_lowercase().contains(word)
                    && let Some(row) = index.row(log)
                {
                    in_logs[row as usize] = true;
                }
            }
            for row in model.rows() {
                let hit = &mut hits[row as usize];
                *hit = *hit
                    && (at(&services, model.service_index(row))
                        || at(&operations, model.operation_index(row))
                        || at(&in_logs, row)
                        || id.is_some_and(|id| model.span_id(row).to_string().starts_with(id)));
            }
        }
        Self { rows: model.rows().filter(|&row| hits[row as usize]).collect() }
    }

    /// Returns these rows and those that the server found, of a trace of `len` rows.
    pub(crate) fn joined(&self, found: &[u32], len: u32) -> Self {
        let mut rows = self.rows.clone();
        rows.extend(found.iter().filter(|row| **row < len));
        rows.sort_unstable();
        rows.dedup();
        Self { rows }
    }

    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        self.rows.binary_search(&row).is_ok()
    }

    /// Reports whether one of these rows is a match.
    pub(crate) fn has_any(&self, rows: &[u32]) -> bool {
        rows.iter().any(|&row| self.contains(row))
    }

    /// Reports whether there are matches, but none of these rows is one.
    pub(crate) fn misses(&self, rows: &[u32]) -> bool {
        !self.rows.is_empty() && !self.has_any(rows)
    }

    /// Returns the number of matches by the name of their service. Services without one are left
    /// out.
    pub(crate) fn by_service<'a>(&self, model: &'a TraceModel) -> HashMap<&'a str, u64> {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for &row in &self.rows {
            *counts.entry(model.service(row)).or_default() += 1;
        }
        counts
    }

    /// Returns the number of matches up to and including `row`: "12" in "12 of 212". `None` when
    /// `row` is not a match.
    pub(crate) fn place(&self, row: u32) -> Option<usize> {
        self.rows.binary_search(&row).ok().map(|at| at + 1)
    }

    /// Returns the match after (or before) `row`, with wraparound.
    pub(crate) fn next(&self, row: Option<u32>, forward: bool) -> Option<u32> {
        let (first, last) = (*self.rows.first()?, *self.rows.last()?);
        let Some(row) = row else { return Some(if forward { first } else { last }) };
        if forward {
            let after = self.rows.partition_point(|&other| other <= row);
            Some(self.rows.get(after).copied().unwrap_or(first))
        } else {
            let before = self.rows.partition_point(|&other| other < row);
            Some(before.checked_sub(1).map_or(last, |at| self.rows[at]))
        }
    }
}

/// Reports whether the text is a TraceQL query.
pub(crate) fn is_query(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn holding(names: &[String], word: &str) -> Vec<bool> {
    names.iter().map(|name| name.to_lowercase().contains(word)).collect()
}

fn at(marks: &[bool], index: u32) -> bool {
    marks.get(index as usize).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{logs_index::LogIndex, model::TraceModel, samples},
        Matches,
    };

    fn rows(text: &str) -> Vec<u32> {
        let shop = TraceModel::new(samples::shop());
        let logs =
            LogIndex::new(&shop, vec![samples::log(Some(samples::id(2)), 1, "Pool WAIT 812 ms")]);
        Matches::find(&shop, Some(&logs), text).rows().to_vec()
    }

    #[test]
    fn names_ids_and_log_records_match_whatever_their_case() {
        assert_eq!(rows("Operation-4"), [9]);
        assert_eq!(rows("SERVICE-4"), [9, 10]);
        assert_eq!(rows("pool wait"), [2]);
        assert_eq!(rows("000000000000000b"), [10]);
        assert_eq!(rows("no such thing"), [0_u32; 0]);
        assert_eq!(rows("  "), [0_u32; 0]);
    }

    #[test]
    fn every_word_must_be_somewhere_in_the_row() {
        assert_eq!(rows("service-4 operation-5"), [10]);
        assert_eq!(rows("service-4 operation-0"), [0_u32; 0]);
    }

    #[test]
    fn matches_are_visited_from_anywhere_and_around_the_end() {
        let shop = TraceModel::new(samples::shop());
        let matches = Matches::find(&shop, None, "service-4");
        assert_eq!((matches.next(None, true), matches.next(None, false)), (Some(9), Some(10)));
        assert_eq!(
            (matches.next(Some(3), true), matches.next(Some(3), false)),
            (Some(9), Some(10))
        );
        assert_eq!(
            (matches.next(Some(9), true), matches.next(Some(10), true)),
            (Some(10), Some(9))
        );
        assert_eq!((matches.place(10), matches.place(3)), (Some(2), None));
        assert!(matches.contains(9) && !matches.contains(8));
        assert!(matches.misses(&[3, 8]) && !matches.misses(&[3, 9]));
        assert!(matches.has_any(&[3, 9]) && !matches.has_any(&[3, 8]));
        assert!(!Matches::default().misses(&[3]), "without matches nothing is missed");
    }

    #[test]
    fn matches_are_counted_by_service() {
        let shop = TraceModel::new(samples::shop());
        let matches = Matches::find(&shop, None, "service-4").joined(&[2], 11);
        let counts = matches.by_service(&shop);
        let named = |service: &str| counts.get(service).copied();
        assert_eq!(
            (named("service-4"), named("service-2"), named("service-0")),
            (Some(2), Some(1), None)
        );
        assert!(Matches::default().by_service(&shop).is_empty());
    }

    #[test]
    fn rows_that_the_server_found_are_joined_in_order_and_once() {
        let shop = TraceModel::new(samples::shop());
        let matches = Matches::find(&shop, None, "service-4").joined(&[2, 9, 4_000_000], 11);
        assert_eq!(matches.rows(), [2, 9, 10]);
        assert_eq!(Matches::find(&shop, None, "{ name = \"operation-4\" }").rows(), [0_u32; 0]);
    }
}
