//! Queries that this browser keeps, the newest first.

use serde::{Deserialize, Serialize};
use tidings_proto::UnixNanos;

use crate::browser;

const STORAGE_KEY: &str = "tidings.sql.saved";
/// Queries that are kept; the oldest goes when there is one more.
const KEPT_MAX: usize = 50;
/// Characters of a name.
const NAME_MAX: usize = 80;

/// A kept query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedQuery {
    pub(super) name: String,
    pub(super) query: String,
    pub(super) time: UnixNanos,
}

/// The kept queries; none when they cannot be read.
pub(super) fn load() -> Vec<SavedQuery> {
    browser::stored(STORAGE_KEY).map(|text| read(&text)).unwrap_or_default()
}

/// Keeps these.
pub(super) fn store(all: &[SavedQuery]) {
    let text = serde_json::to_string(all).unwrap_or_default();
    browser::store(STORAGE_KEY, Some(&text));
}

fn read(text: &str) -> Vec<SavedQuery> {
    let mut all: Vec<SavedQuery> = serde_json::from_str(text).unwrap_or_default();
    all.truncate(KEPT_MAX);
    all
}

/// Adds a query in front; one of the same name is replaced.
pub(super) fn with(
    all: &[SavedQuery],
    name: &str,
    query: &str,
    time: UnixNanos,
) -> Vec<SavedQuery> {
    let name: String = name.trim().chars().take(NAME_MAX).collect();
    if name.is_empty() || query.trim().is_empty() {
        return all.to_vec();
    }
    let mut next = vec![SavedQuery { name, query: query.to_owned(), time }];
    next.extend(all.iter().filter(|one| one.name != next[0].name).cloned().collect::<Vec<_>>());
    next.truncate(KEPT_MAX);
    next
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{KEPT_MAX, read, with};

    #[test]
    fn a_query_of_the_same_name_is_replaced_and_the_oldest_goes() {
        let mut all = Vec::new();
        for number in 0..KEPT_MAX + 5 {
            all = with(&all, &format!("q{number}"), "SELECT 1", UnixNanos(number as u64));
        }
        assert_eq!((all.len(), all[0].name.as_str()), (KEPT_MAX, "q54"));
        all = with(&all, " q30 ", "SELECT 2", UnixNanos(99));
        assert_eq!((all.len(), all[0].query.as_str()), (KEPT_MAX, "SELECT 2"));
        assert_eq!(with(&all, "  ", "SELECT 3", UnixNanos(1)), all);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(read(&text), all);
        assert!(read("{broken").is_empty());
    }
}
