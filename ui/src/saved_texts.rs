//! Named texts that this browser stores, newest first: SQL queries, addresses of views, and shades
//! of services.

use serde::{Deserialize, Serialize};
use tidings_proto::UnixNanos;

use crate::browser;

/// Key of SQL queries in local storage.
pub(crate) const QUERIES: &str = "tidings.sql.saved";
/// Key of addresses of views in local storage.
pub(crate) const VIEWS: &str = "tidings.views";
/// Maximum number of entries. The oldest is dropped for a further one.
pub(crate) const ENTRIES_MAX: usize = 50;
/// Maximum number of characters of a name.
const NAME_MAX: usize = 80;

/// A named text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedText {
    pub(crate) name: String,
    #[serde(rename = "query")]
    pub(crate) text: String,
    pub(crate) time: UnixNanos,
}

/// Returns the entries under `key`, or none when they cannot be parsed.
pub(crate) fn load(key: &str) -> Vec<SavedText> {
    browser::local_value(key).map(|text| read(&text)).unwrap_or_default()
}

/// Stores these entries under `key`.
pub(crate) fn store(key: &str, all: &[SavedText]) {
    let text = serde_json::to_string(all).unwrap_or_default();
    browser::set_local_value(key, Some(&text));
}

fn read(text: &str) -> Vec<SavedText> {
    let mut all: Vec<SavedText> = serde_json::from_str(text).unwrap_or_default();
    all.truncate(ENTRIES_MAX);
    all
}

/// Adds an entry at the front. An entry of the same name is replaced.
pub(crate) fn insert(all: &[SavedText], name: &str, text: &str, time: UnixNanos) -> Vec<SavedText> {
    let name: String = name.trim().chars().take(NAME_MAX).collect();
    if name.is_empty() || text.trim().is_empty() {
        return all.to_vec();
    }
    let mut next = vec![SavedText { name, text: text.to_owned(), time }];
    next.extend(all.iter().filter(|one| one.name != next[0].name).cloned().collect::<Vec<_>>());
    next.truncate(ENTRIES_MAX);
    next
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{ENTRIES_MAX, insert, read};

    #[test]
    fn an_entry_of_the_same_name_is_replaced_and_the_oldest_goes() {
        let mut all = Vec::new();
        for number in 0..ENTRIES_MAX + 5 {
            all = insert(&all, &format!("q{number}"), "SELECT 1", UnixNanos(number as u64));
        }
        assert_eq!((all.len(), all[0].name.as_str()), (ENTRIES_MAX, "q54"));
        all = insert(&all, " q30 ", "SELECT 2", UnixNanos(99));
        assert_eq!((all.len(), all[0].text.as_str()), (ENTRIES_MAX, "SELECT 2"));
        assert_eq!(insert(&all, "  ", "SELECT 3", UnixNanos(1)), all);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(read(&text), all);
        assert!(read("{broken").is_empty());
    }
}
