//! Parts of tables: headings of columns, with sorting or without, and cells of numbers. The page's
//! address has the order as `sort=column` or `sort=-column`. The minus means descending.

use std::{sync::Arc, time::Duration};

use leptos::prelude::*;
use tidings_proto::api::ServiceTime;

use super::{Icon, IconName};
use crate::{
    format,
    url::{History, use_edit_query, use_query},
};

/// Explanation of the second number of a service's self time.
const WAITING: &str = "The part of it in calls to peers that send no spans";

/// Interval at which the reader's presence at a row is checked.
const READ_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A column and its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortOrder {
    /// The column's name in the address.
    pub column: String,
    /// True when the greatest value comes first.
    pub descending: bool,
}

impl SortOrder {
    /// Parses an order from the address.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix('-') {
            Some(column) => Self { column: column.to_owned(), descending: true },
            None => Self { column: text.to_owned(), descending: false },
        }
    }

    /// Compares two values of this order's column.
    pub fn compare<K: PartialOrd>(&self, left: K, right: K) -> std::cmp::Ordering {
        let order = left.partial_cmp(&right).unwrap_or(std::cmp::Ordering::Equal);
        if self.descending { order.reverse() } else { order }
    }
}

/// Returns the order in the page's address, or the page's default (as `-errors`).
#[must_use]
pub fn use_sort(default: &'static str) -> Memo<SortOrder> {
    let query = use_query();
    Memo::new(move |_| query.with(|query| SortOrder::parse(query.get("sort").unwrap_or(default))))
}

/// Returns the answer by which rows are ordered. A newer one waits while the selector `read_rows`
/// finds an element, the rows that the reader is at, so that rows do not move before a click.
#[must_use]
pub fn use_ranking<T: PartialEq + Send + Sync + 'static>(
    newest: impl Fn() -> Option<Arc<T>> + Send + Sync + 'static,
    read_rows: &'static str,
) -> Memo<Option<Arc<T>>> {
    let due = RwSignal::new(());
    if let Ok(timer) = set_interval_with_handle(move || due.set(()), READ_CHECK_INTERVAL) {
        on_cleanup(move || timer.clear());
    }
    Memo::new(move |last: Option<&Option<Arc<T>>>| {
        due.track();
        let newest = newest();
        let is_read = || document().query_selector(read_rows).is_ok_and(|rows| rows.is_some());
        last.filter(|_| is_read()).cloned().unwrap_or(newest)
    })
}

/// The part of a service's self time that it waited for peers without spans, if any.
#[must_use]
pub fn waiting_part(time: &ServiceTime) -> Option<impl IntoView + use<>> {
    (time.waiting_nano.0 > 0).then(|| {
        let words = format!("({} waiting)", format::duration(time.waiting_nano));
        view! { <span class="mute" title=WAITING>{words}</span> }
    })
}

/// The heading of a column that sorts.
#[component]
pub fn SortHead(
    /// The column's name in the address.
    column: &'static str,
    /// Its heading.
    label: &'static str,
    /// The order of the table.
    order: Memo<SortOrder>,
    /// True for a column of numbers. It is aligned to the right, and the first click sorts it in
    /// descending order.
    #[prop(optional)]
    numeric: bool,
    /// A class of the column.
    #[prop(optional)]
    class: &'static str,
    /// An explanation of the heading.
    #[prop(optional)]
    title: &'static str,
) -> impl IntoView {
    let title = (!title.is_empty()).then_some(title);
    let edit = use_edit_query();
    let here = Memo::new(move |_| {
        order.with(|order| (order.column == column).then_some(order.descending))
    });
    let sort = move |_| {
        let descending = here.get_untracked().map_or(numeric, |descending| !descending);
        let text = if descending { format!("-{column}") } else { column.to_owned() };
        edit(History::Replace, &|query| query.set("sort", Some(&text)));
    };
    let state = move || match here.get() {
        Some(true) => "descending",
        Some(false) => "ascending",
        None => "none",
    };
    let icon = move || {
        here.get().map(|descending| {
            let name = if descending { IconName::SortDown } else { IconName::SortUp };
            view! { <Icon name /> }
        })
    };
    view! {
        <th scope="col" class=class class:num=numeric title=title aria-sort=state>
            <button class="sort-head" type="button" on:click=sort>
                {label}
                {icon}
            </button>
        </th>
    }
}

/// The heading of a column that does not sort.
#[derive(Debug, Clone, Copy)]
pub enum PlainHead {
    /// A column of words.
    Words(&'static str),
    /// A column of numbers: aligned to the right.
    Number(&'static str),
    /// A column of numbers whose heading has a title.
    Explained(&'static str, &'static str),
    /// A column of buttons or bars: its heading is for screen readers.
    Buttons(&'static str),
}

/// A table with a row of headings that do not sort.
#[component]
pub fn PlainTable(
    /// Name of the table.
    label: &'static str,
    /// Its classes. `stacked` draws names above numbers in a narrow window.
    #[prop(default = "table")]
    class: &'static str,
    /// Its headings.
    #[prop(into)]
    heads: Vec<PlainHead>,
    /// Its rows.
    children: Children,
) -> impl IntoView {
    let head = |head: PlainHead| {
        let (class, words, title) = match head {
            PlainHead::Words(words) => ("", words.into_any(), None),
            PlainHead::Number(words) => ("num", words.into_any(), None),
            PlainHead::Explained(words, title) => ("num", words.into_any(), Some(title)),
            PlainHead::Buttons(words) => {
                ("", view! { <span class="hidden">{words}</span> }.into_any(), None)
            }
        };
        view! {
            <th scope="col" class=class title=title>
                {words}
            </th>
        }
    };
    view! {
        <table class=class aria-label=label>
            <thead>
                <tr>{heads.into_iter().map(head).collect_view()}</tr>
            </thead>
            <tbody>{children()}</tbody>
        </table>
    }
}

/// A table of facts: a name and a value a row.
pub fn facts_table<const N: usize>(
    label: &'static str,
    facts: [(&'static str, String); N],
) -> impl IntoView {
    let row = |(name, value): (&'static str, String)| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="num">{value}</td>
            </tr>
        }
    };
    view! {
        <table class="table facts-table" aria-label=label>
            <tbody>{facts.map(row)}</tbody>
        </table>
    }
}

/// A cell with a number. Its title has the number of the baseline, which may stand below it, too.
#[component]
pub fn NumberCell(
    /// The number as text.
    now: String,
    /// The number of the baseline.
    before: String,
    /// True where the API calls it worse.
    is_worse: bool,
    /// The number of the baseline where it stands below the number.
    #[prop(default = None)]
    was: Option<String>,
    /// A class of the column.
    #[prop(optional)]
    class: &'static str,
) -> impl IntoView {
    let was = was.map(|was| view! { <span class="was">{format!(" was {was}")}</span> });
    view! {
        <td class=class class:num=true class:is-worse=is_worse title=format!("it was {before}")>
            {now}
            {was}
        </td>
    }
}
