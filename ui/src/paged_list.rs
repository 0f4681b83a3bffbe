//! A list that is fetched page by page: the newest page, followed by older ones.
//!
//! Owns the pages, their staleness and the refresh. A live list is refreshed every two seconds,
//! except while the page reports that the reader holds it. `list_status` draws the common parts of
//! such lists: the total, the progress of a search, errors, and the button for older pages. The
//! page owns the query and the rows.

pub mod list_status;
mod search;

use std::{sync::Arc, time::Duration};

use leptos::{prelude::*, task::spawn_local};
use serde::de::DeserializeOwned;
use tidings_proto::{
    UnixNanos,
    api::{FoundTraces, LogSearchResult, LogView, Searched, Total},
};

pub use list_status::{ListNotices, ListStatus, OlderButton};

use crate::{
    api::{
        ApiError, LOG_PAGE, Request, TRACE_PAGE,
        explored_traces::{ExploredTrace, ExploredTraces},
    },
    browser,
    components::use_toasts,
    page_time::use_live,
    url::TimeRange,
};

use search::Search;

const LIVE_REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// One page of an answer.
pub trait ListPage: DeserializeOwned + Send + Sync + 'static {
    /// A row.
    type ListRow: Clone + PartialEq + Send + Sync + 'static;
    /// Noun for a row.
    const NOUN: &'static str;

    /// Number of rows per request.
    const SIZE: u32;

    /// The rows.
    fn items(&self) -> &[Self::ListRow];
    /// Cursor of the next page.
    fn next_cursor(&self) -> Option<&String>;
    /// Total number of rows.
    fn total(&self) -> Total;
    /// Statistics of the scan.
    fn searched(&self) -> Searched;
    /// Parses the first rows of a page from an event, if `name` is the name of such events.
    fn rows(name: &str, data: &str) -> Option<Vec<Self::ListRow>>;
}

/// Query of a list.
pub trait ListQuery: Clone + PartialEq + Send + Sync + 'static {
    /// Its time range.
    fn range(&self) -> TimeRange;

    /// Reports whether the list has another order than time, which needs a scan of all matches.
    fn is_ranked(&self) -> bool {
        false
    }
}

/// Reports whether a page may be incomplete. A list by time reads no more than its page needs. A
/// full page with a next page is therefore complete, although its search did not reach the end.
fn may_be_incomplete(page: &impl ListPage, is_ranked: bool) -> bool {
    let is_full = u32::try_from(page.items().len()).is_ok_and(|rows| rows >= page_size(page));
    !page.searched().complete && (is_ranked || !is_full || page.next_cursor().is_none())
}

const fn page_size<T: ListPage>(_: &T) -> u32 {
    T::SIZE
}

macro_rules! page {
    ($page:ty, $item:ty, $field:ident, $noun:literal, $size:expr, $rows:expr) => {
        impl ListPage for $page {
            type ListRow = $item;
            const NOUN: &'static str = $noun;
            const SIZE: u32 = $size;

            fn items(&self) -> &[$item] {
                &self.$field
            }

            fn next_cursor(&self) -> Option<&String> {
                self.next_cursor.as_ref()
            }

            fn total(&self) -> Total {
                self.total
            }

            fn searched(&self) -> Searched {
                self.searched
            }

            fn rows(name: &str, data: &str) -> Option<Vec<$item>> {
                $rows(name, data)
            }
        }
    };
}

page!(ExploredTraces, ExploredTrace, traces, "trace", TRACE_PAGE, |name, data| {
    let found = serde_json::from_str(data).ok().filter(|_| name == "traces");
    found.map(|FoundTraces { traces }| traces.into_iter().map(ExploredTrace::from).collect())
});
page!(LogSearchResult, LogView, logs, "record", LOG_PAGE, |_, _| None);

/// Function that builds the request for a page after `cursor`, with the range that ends at the
/// given time.
pub type PageRequest<T, Q> = fn(&Q, UnixNanos, Option<&str>) -> Request<T>;

/// Cursor of the next page.
#[derive(Debug, Clone, PartialEq)]
struct NextPage {
    cursor: String,
    /// The moment of the first page's request. Later pages cover the same time range.
    requested_at: UnixNanos,
}

/// The list.
#[derive(Debug)]
pub struct PagedList<T: ListPage, Q: Send + Sync + 'static> {
    list_query: Memo<Q>,
    page_request: PageRequest<T, Q>,
    search: Search<T>,
    older: RwSignal<Vec<T::ListRow>>,
    cursor: RwSignal<Option<NextPage>>,
    fetching_older: RwSignal<bool>,
    /// True when the last page may be incomplete.
    may_be_incomplete: RwSignal<bool>,
}

impl<T: ListPage, Q: Send + Sync + 'static> Clone for PagedList<T, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ListPage, Q: Send + Sync + 'static> Copy for PagedList<T, Q> {}

impl<T: ListPage, Q: ListQuery> PagedList<T, Q> {
    /// Sends the request of `list_query`, now and whenever the query changes.
    #[must_use]
    pub fn new(list_query: Memo<Q>, page_request: PageRequest<T, Q>) -> Self {
        let search = Search::new(list_query, page_request);
        let paged = Self {
            list_query,
            page_request,
            search,
            older: RwSignal::new(Vec::new()),
            cursor: RwSignal::new(None),
            fetching_older: RwSignal::new(false),
            may_be_incomplete: RwSignal::new(false),
        };
        Effect::new(move |_| {
            list_query.track();
            paged.older.set(Vec::new());
            paged.fetching_older.set(false);
        });
        Effect::new(move |_| {
            let answer = search.value();
            let is_ranked = list_query.with_untracked(ListQuery::is_ranked);
            paged
                .may_be_incomplete
                .set(answer.as_ref().is_some_and(|first| may_be_incomplete(&**first, is_ranked)));
            let cursor = answer.and_then(|first| first.next_cursor().cloned());
            let requested_at = search.requested_at();
            paged.cursor.set(cursor.map(|cursor| NextPage { cursor, requested_at }));
        });
        paged
    }

    /// Every row fetched so far.
    #[must_use]
    pub fn items(self) -> Memo<Arc<Vec<T::ListRow>>> {
        Memo::new(move |_| {
            let mut all = self.search.rows();
            self.older.with(|older| all.extend_from_slice(older));
            Arc::new(all)
        })
    }

    /// Reports whether the shown answer belongs to an earlier query.
    #[must_use]
    pub fn stale(self) -> bool {
        self.search.stale()
    }

    /// Reports whether the reader has loaded further pages.
    #[must_use]
    pub fn has_older(self) -> bool {
        self.older.with(|older| !older.is_empty())
    }

    /// Reports whether the answer is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        let none = self.search.value().is_some_and(|first| first.items().is_empty());
        none && self.search.error().is_none()
    }

    /// The error of the last request, if it failed.
    #[must_use]
    pub fn error(self) -> Option<ApiError> {
        self.search.error()
    }

    /// Returns the total that the newest page reported.
    #[must_use]
    pub fn total(self) -> Option<Total> {
        self.search.value().map(|first| first.total())
    }

    /// Returns the moment at which the newest page was requested.
    #[must_use]
    pub fn requested_at(self) -> UnixNanos {
        self.search.requested_at()
    }

    /// Stops a slow search. Rows that were found so far stay.
    pub fn stop(self) {
        self.search.stop();
    }

    /// Refreshes every two seconds while the page is live and not `held`.
    pub fn refresh_while_live(self, held: Memo<bool>) {
        let live = use_live();
        let again = move || {
            if live.get_untracked() && !held.get_untracked() && browser::is_page_visible() {
                self.search.refresh_when_idle();
            }
        };
        if let Ok(timer) = set_interval_with_handle(again, LIVE_REFRESH_INTERVAL) {
            on_cleanup(move || timer.clear());
        }
    }

    /// Requests the newest page again.
    pub fn refresh(self) {
        self.search.refresh();
    }

    fn fetch_older(self) -> impl Fn() {
        let toasts = use_toasts();
        move || {
            let Some(NextPage { cursor, requested_at }) = self.cursor.get_untracked() else {
                return;
            };
            let list_query = self.list_query.get_untracked();
            let request = (self.page_request)(&list_query, requested_at, Some(&cursor));
            self.fetching_older.set(true);
            spawn_local(async move {
                let answer = request.send(None).await;
                // The page may have been removed, or may have another query by now.
                if self.list_query.try_get_untracked().as_ref() != Some(&list_query) {
                    return;
                }
                self.fetching_older.set(false);
                match answer {
                    Ok(page) => {
                        self.older.update(|older| older.extend_from_slice(page.items()));
                        self.may_be_incomplete
                            .set(may_be_incomplete(&page, list_query.is_ranked()));
                        let cursor = page.next_cursor().cloned();
                        self.cursor.set(cursor.map(|cursor| NextPage { cursor, requested_at }));
                    }
                    Err(error) => toasts.show(format!("{}. {}", error.title(), error.detail())),
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{LogSearchResult, Searched, Total, TotalRelation};

    use super::may_be_incomplete;
    use crate::api::LOG_PAGE;

    fn page(rows: u32, complete: bool, more: bool) -> LogSearchResult {
        let log = serde_json::json!({
            "id": "1", "timeUnixNano": "1", "observedUnixNano": "1", "severityNumber": 9,
            "severityText": "", "severity": "info", "service": "a", "text": "b", "flags": 0,
            "attributes": [], "droppedAttributesCount": 0, "resource": {}, "scope": {},
        });
        let log: tidings_proto::api::LogView = serde_json::from_value(log).unwrap();
        LogSearchResult {
            logs: (0..rows).map(|_| log.clone()).collect(),
            next_cursor: more.then(String::new),
            total: Total { value: rows.into(), relation: TotalRelation::AtLeast },
            searched: Searched { complete, ..Searched::default() },
        }
    }

    #[test]
    fn a_full_page_that_goes_on_misses_nothing() {
        assert!(!may_be_incomplete(&page(LOG_PAGE, false, true), false));
        assert!(!may_be_incomplete(&page(3, true, false), false));
    }

    #[test]
    fn a_page_that_could_not_be_filled_or_ranked_may_miss_something() {
        assert!(may_be_incomplete(&page(3, false, true), false));
        assert!(may_be_incomplete(&page(0, false, false), false));
        assert!(may_be_incomplete(&page(LOG_PAGE, false, false), false));
        assert!(may_be_incomplete(&page(LOG_PAGE, false, true), true), "not by time");
    }
}
