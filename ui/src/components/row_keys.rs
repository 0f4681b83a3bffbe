//! Rows that the keyboard walks: `j` and `k` move, `Enter` opens.

use leptos::prelude::*;

use crate::{browser, keys::use_keys};

/// Lets `j`, `k` and `Enter` walk and open the rows of a table and returns the marked row. Rows
/// have the ids `{prefix}-{index}`, `open` gets the index.
pub fn use_row_keys(
    group: &'static str,
    prefix: &'static str,
    count: Memo<usize>,
    open: impl Fn(usize) + 'static,
) -> RwSignal<Option<usize>> {
    let marked = RwSignal::new(None::<usize>);
    let walk = move |step: isize| {
        let last = count.get_untracked().checked_sub(1);
        let Some(last) = last else { return };
        let next = marked.get_untracked().map_or(0, |at| at.saturating_add_signed(step).min(last));
        marked.set(Some(next));
        browser::reveal(&format!("{prefix}-{next}"));
    };
    let keys = use_keys();
    keys.bind("j", "Mark the next row", group, move || walk(1));
    keys.bind("k", "Mark the previous row", group, move || walk(-1));
    keys.bind("Enter", "Open the marked row", group, move || {
        let within = |at: &usize| *at < count.get_untracked();
        if let Some(at) = marked.get_untracked().filter(within) {
            open(at);
        }
    });
    marked
}
