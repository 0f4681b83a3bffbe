//! Headings of columns that sort. The order is in the page's address as `sort=column` or
//! `sort=-column`, the minus for the greatest first.

use leptos::prelude::*;

use super::{Icon, IconName};
use crate::url::{Step, use_edit_query, use_query};

/// A column and its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortOrder {
    /// The column's name in the address.
    pub column: String,
    /// True when the greatest value comes first.
    pub descending: bool,
}

impl SortOrder {
    /// Reads an order as the address has it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix('-') {
            Some(column) => Self { column: column.to_owned(), descending: true },
            None => Self { column: text.to_owned(), descending: false },
        }
    }

    /// Orders two values of this order's column.
    pub fn compare<K: PartialOrd>(&self, left: K, right: K) -> std::cmp::Ordering {
        let order = left.partial_cmp(&right).unwrap_or(std::cmp::Ordering::Equal);
        if self.descending { order.reverse() } else { order }
    }
}

/// Returns the order in the page's address, or the page's own one (as `-errors`).
#[must_use]
pub fn use_sort(default: &'static str) -> Memo<SortOrder> {
    let query = use_query();
    Memo::new(move |_| query.with(|query| SortOrder::parse(query.get("sort").unwrap_or(default))))
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
    /// True for a column of numbers: aligned to the right, and descending at the first click.
    #[prop(optional)]
    numeric: bool,
) -> impl IntoView {
    let edit = use_edit_query();
    let here = Memo::new(move |_| {
        order.with(|order| (order.column == column).then_some(order.descending))
    });
    let sort = move |_| {
        let descending = here.get_untracked().map_or(numeric, |descending| !descending);
        let text = if descending { format!("-{column}") } else { column.to_owned() };
        edit(Step::Replace, &|query| query.set("sort", Some(&text)));
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
        <th scope="col" class:num=numeric aria-sort=state>
            <button class="sort-head" type="button" on:click=sort>
                {label}
                {icon}
            </button>
        </th>
    }
}
