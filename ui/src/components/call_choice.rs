//! The chosen call of a drawn tree, and the call that the picture is limited to, in the address.
//!
//! A call is named by a hash of the services and operations from the root down to it. An index would
//! name another call in a newer answer.

use std::sync::Arc;

use leptos::prelude::*;

use crate::url::{History, use_edit_query, use_query};

/// The parameter of the chosen call.
const CALL: &str = "call";
/// The parameter of the call that the picture is limited to.
const ROOT: &str = "root";
/// Start and factor of FNV-1a.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_FACTOR: u64 = 0x0000_0100_0000_01b3;

/// Names of the calls of a tree in an address: 48 bits each, in the order of the calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallKeys(Arc<Vec<u64>>);

impl CallKeys {
    /// Makes the names of calls. Each has the index of its parent, which precedes it, and the words
    /// by which it differs from its siblings.
    pub fn new<'a, const N: usize>(
        calls: impl IntoIterator<Item = (Option<u32>, [&'a str; N])>,
    ) -> Self {
        let mut keys: Vec<u64> = Vec::new();
        for (parent, words) in calls {
            let above = parent.and_then(|parent| keys.get(parent as usize).copied());
            keys.push(words.into_iter().fold(above.unwrap_or(HASH_START), with_word) >> 16);
        }
        Self(Arc::new(keys))
    }

    fn write(&self, call: u32) -> Option<String> {
        self.0.get(call as usize).map(|key| format!("{key:012x}"))
    }

    fn find(&self, text: &str) -> Option<u32> {
        let wanted = u64::from_str_radix(text, 16).ok()?;
        u32::try_from(self.0.iter().position(|key| *key == wanted)?).ok()
    }
}

/// Extends a hash by a word and its end, a byte that no text has.
fn with_word(hash: u64, word: &str) -> u64 {
    let bytes = word.bytes().chain([0xff]);
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(HASH_FACTOR))
}

/// The choice in the address of the page.
#[derive(Debug, Clone, Copy)]
pub struct CallChoice {
    /// The chosen call.
    pub selected: Memo<Option<u32>>,
    /// The call that the picture is limited to.
    pub focus: Memo<Option<u32>>,
    /// Writes both into the address.
    write: Callback<[Option<u32>; 2]>,
}

impl CallChoice {
    /// Chooses a call, or none.
    pub fn select(self, call: Option<u32>) {
        self.write.run([call, self.focus.get_untracked()]);
    }

    /// Chooses a call, or none when it is chosen already.
    pub fn toggle(self, call: u32) {
        let is_chosen = self.selected.get_untracked() == Some(call);
        self.select((!is_chosen).then_some(call));
    }

    /// Limits the picture to a call, or shows the whole tree.
    pub fn focus_on(self, call: Option<u32>) {
        self.write.run([self.selected.get_untracked(), call]);
    }
}

/// Returns the choice among the calls with these names, for use anywhere below the router.
#[must_use]
pub fn use_call_choice(keys: Memo<CallKeys>) -> CallChoice {
    let (query, edit) = (use_query(), use_edit_query());
    let named = move |parameter: &'static str| {
        Memo::new(move |_| {
            query.with(|query| {
                let text = query.get(parameter)?;
                keys.with(|keys| keys.find(text))
            })
        })
    };
    let write = move |[call, root]: [Option<u32>; 2]| {
        let written = |call: Option<u32>| keys.with_untracked(|keys| keys.write(call?));
        let (call, root) = (written(call), written(root));
        edit(History::Replace, &|query| {
            query.set(CALL, call.as_deref());
            query.set(ROOT, root.as_deref());
        });
    };
    CallChoice { selected: named(CALL), focus: named(ROOT), write: Callback::new(write) }
}

#[cfg(test)]
mod tests {
    use super::CallKeys;

    #[test]
    fn a_call_is_named_by_its_path_and_not_by_its_index() {
        let web = (None, ["web", "POST /order"]);
        let paid = |parent| (Some(parent), ["payment", "charge"]);
        let read = |parent| (Some(parent), ["db", "SELECT"]);
        let keys = CallKeys::new([web, paid(0), read(1), read(0)]);
        let newer = CallKeys::new([web, read(0), paid(0), read(2)]);
        for (at, later) in [(0, 0), (1, 2), (2, 3), (3, 1)] {
            let text = keys.write(at).unwrap();
            assert_eq!(text.len(), 12);
            assert_eq!((keys.find(&text), newer.find(&text)), (Some(at), Some(later)), "{text}");
        }
        assert_eq!((keys.write(4), keys.find("x"), keys.find("1")), (None, None, None));
        let other = CallKeys::new([(None, ["we", "bPOST /order"])]);
        assert_ne!(other.write(0), keys.write(0));
    }
}
