//! Texts that this browser stores: values by key in local storage, which all tabs of this server
//! share, or in the session storage of one tab, and lists of named texts, newest first: SQL queries,
//! addresses of views, and shades of services. Values work only in a browser.

use leptos::prelude::window;
use serde::{Deserialize, Serialize};
use tidings_proto::UnixNanos;

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

/// Returns the value in local storage under `key`.
pub(crate) fn local_value(key: &str) -> Option<String> {
    window().local_storage().ok().flatten()?.get_item(key).ok().flatten()
}

/// Stores `value` in local storage; `None` removes it. Has no effect in a browser that forbids
/// storage.
pub(crate) fn set_local_value(key: &str, value: Option<&str>) {
    if let Ok(Some(storage)) = window().local_storage() {
        let _refused = match value {
            Some(value) => storage.set_item(key, value),
            None => storage.remove_item(key),
        };
    }
}

/// Returns the value in this tab's session storage under `key`.
pub(crate) fn session_value(key: &str) -> Option<String> {
    window().session_storage().ok().flatten()?.get_item(key).ok().flatten()
}

/// Stores `value` in this tab's session storage.
pub(crate) fn set_session_value(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().session_storage() {
        let _refused = storage.set_item(key, value);
    }
}

/// Returns the entries under `key`, or none when they cannot be parsed.
pub(crate) fn load_texts(key: &str) -> Vec<SavedText> {
    local_value(key).map(|text| read(&text)).unwrap_or_default()
}

/// Stores these entries under `key`.
pub(crate) fn store_texts(key: &str, all: &[SavedText]) {
    let text = serde_json::to_string(all).unwrap_or_default();
    set_local_value(key, Some(&text));
}

fn read(text: &str) -> Vec<SavedText> {
    let mut all: Vec<SavedText> = serde_json::from_str(text).unwrap_or_default();
    all.truncate(ENTRIES_MAX);
    all
}

/// Adds an entry at the front. An entry of the same name is replaced.
pub(crate) fn insert_text(
    all: &[SavedText],
    name: &str,
    text: &str,
    time: UnixNanos,
) -> Vec<SavedText> {
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

    use super::{ENTRIES_MAX, insert_text, read};

    #[test]
    fn an_entry_of_the_same_name_is_replaced_and_the_oldest_goes() {
        let mut all = Vec::new();
        for number in 0..ENTRIES_MAX + 5 {
            all = insert_text(&all, &format!("q{number}"), "SELECT 1", UnixNanos(number as u64));
        }
        assert_eq!((all.len(), all[0].name.as_str()), (ENTRIES_MAX, "q54"));
        all = insert_text(&all, " q30 ", "SELECT 2", UnixNanos(99));
        assert_eq!((all.len(), all[0].text.as_str()), (ENTRIES_MAX, "SELECT 2"));
        assert_eq!(insert_text(&all, "  ", "SELECT 3", UnixNanos(1)), all);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(read(&text), all);
        assert!(read("{broken").is_empty());
    }
}
