//! A list that is fetched page by page: the newest page, and older ones behind it.
//!
//! Owns the pages, whether what is shown still answers the question, and when to ask again: every
//! two seconds while live, but never under a reader (the page says when it is held). Draws what
//! every such list has: the total, trouble, and the way to older pages. The question and the rows
//! are the page's.

use std::{sync::Arc, time::Duration};

use leptos::{prelude::*, task::spawn_local};
use serde::de::DeserializeOwned;
use tidings_proto::{
    UnixNanos,
    api::{LogSearchResult, LogView, Searched, Total, TraceSearchResult, TraceSummary},
};

use crate::{
    api::Request,
    browser,
    components::{ErrorState, LoadingRows, PartialNote, use_toasts},
    format,
    remote::Remote,
    shell::use_live,
};

const LIVE_EVERY: Duration = Duration::from_secs(2);

/// One page of an answer.
pub trait Page: DeserializeOwned + Send + Sync + 'static {
    /// A row.
    type Item: Clone + PartialEq + Send + Sync + 'static;
    /// What a row is called.
    const NOUN: &'static str;

    /// The rows.
    fn items(&self) -> &[Self::Item];
    /// Where the next page starts.
    fn next_cursor(&self) -> Option<&String>;
    /// How many rows there are.
    fn total(&self) -> Total;
    /// What was read to find them.
    fn searched(&self) -> Searched;
}

macro_rules! page {
    ($page:ty, $item:ty, $field:ident, $noun:literal) => {
        impl Page for $page {
            type Item = $item;
            const NOUN: &'static str = $noun;

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
        }
    };
}

page!(TraceSearchResult, TraceSummary, traces, "trace");
page!(LogSearchResult, LogView, logs, "record");

/// What a page asks: as a page from `cursor` on, of the stretch of time that ends now.
pub type Ask<T, Q> = fn(&Q, UnixNanos, Option<&str>) -> Request<T>;

/// Where the next page starts.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    cursor: String,
    /// When the first page was asked for: later pages are of the same stretch of time.
    asked_at: UnixNanos,
}

/// The list.
#[derive(Debug)]
pub struct Paged<T: Page, Q: Send + Sync + 'static> {
    question: Memo<Q>,
    ask: Ask<T, Q>,
    first: Remote<T>,
    older: RwSignal<Vec<T::Item>>,
    cursor: RwSignal<Option<Place>>,
    stale: RwSignal<bool>,
    fetching_older: RwSignal<bool>,
}

impl<T: Page, Q: Send + Sync + 'static> Clone for Paged<T, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Page, Q: Send + Sync + 'static> Copy for Paged<T, Q> {}

impl<T: Page, Q: Clone + PartialEq + Send + Sync + 'static> Paged<T, Q> {
    /// Asks `question` with `ask`, now and whenever it changes.
    #[must_use]
    pub fn new(question: Memo<Q>, ask: Ask<T, Q>) -> Self {
        let asked_at = StoredValue::new(UnixNanos(0));
        let first = Remote::new(move || {
            let now = browser::now();
            asked_at.set_value(now);
            question.with(|question| Some(ask(question, now, None)))
        });
        let paged = Self {
            question,
            ask,
            first,
            older: RwSignal::new(Vec::new()),
            cursor: RwSignal::new(None),
            stale: RwSignal::new(false),
            fetching_older: RwSignal::new(false),
        };
        Effect::new(move |_| {
            question.track();
            paged.older.set(Vec::new());
            paged.fetching_older.set(false);
            paged.stale.set(true);
        });
        Effect::new(move |_| {
            let answer = first.value();
            let stale = paged.stale.get_untracked();
            paged.stale.set(false);
            if first.error().is_some() {
                if stale {
                    // The rows of another question are no answer to this one.
                    first.forget_value();
                    paged.cursor.set(None);
                }
                return;
            }
            let cursor = answer.and_then(|first| first.next_cursor().cloned());
            let asked_at = asked_at.get_value();
            paged.cursor.set(cursor.map(|cursor| Place { cursor, asked_at }));
        });
        paged
    }

    /// Every row fetched so far.
    #[must_use]
    pub fn items(self) -> Memo<Arc<Vec<T::Item>>> {
        Memo::new(move |_| {
            let first = self.first.value();
            let mut all = first.map(|first| first.items().to_vec()).unwrap_or_default();
            self.older.with(|older| all.extend_from_slice(older));
            Arc::new(all)
        })
    }

    /// Whether what is shown answers an earlier question.
    #[must_use]
    pub fn stale(self) -> bool {
        self.stale.get()
    }

    /// Whether the reader has asked for more than the newest page.
    #[must_use]
    pub fn has_older(self) -> bool {
        self.older.with(|older| !older.is_empty())
    }

    /// Whether the answer is that there is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        let none = self.first.value().is_some_and(|first| first.items().is_empty());
        none && self.first.error().is_none()
    }

    /// Asks again every two seconds while the page is live and not `held`.
    pub fn refresh_while_live(self, held: Memo<bool>) {
        let live = use_live();
        let again = move || {
            if live.get_untracked() && !held.get_untracked() && browser::visible() {
                self.first.refresh_when_idle();
            }
        };
        if let Ok(timer) = set_interval_with_handle(again, LIVE_EVERY) {
            on_cleanup(move || timer.clear());
        }
    }

    /// Asks again for the newest page.
    pub fn refresh(self) {
        self.first.refresh();
    }

    fn fetch_older(self) -> impl Fn() {
        let toasts = use_toasts();
        move || {
            let Some(Place { cursor, asked_at }) = self.cursor.get_untracked() else { return };
            let question = self.question.get_untracked();
            let request = (self.ask)(&question, asked_at, Some(&cursor));
            self.fetching_older.set(true);
            spawn_local(async move {
                let answer = request.send(None).await;
                // The page may be gone, or may ask something else by now.
                if self.question.try_get_untracked().as_ref() != Some(&question) {
                    return;
                }
                self.fetching_older.set(false);
                match answer {
                    Ok(page) => {
                        self.older.update(|older| older.extend_from_slice(page.items()));
                        let cursor = page.next_cursor().cloned();
                        self.cursor.set(cursor.map(|cursor| Place { cursor, asked_at }));
                    }
                    Err(error) => toasts.show(format!("{}. {}", error.title(), error.detail())),
                }
            });
        }
    }
}

/// How many there are, what was read, and whether new ones come by themselves.
#[component]
#[must_use]
pub fn ListFacts<T: Page, Q: Clone + PartialEq + Send + Sync + 'static>(
    /// The list.
    paged: Paged<T, Q>,
    /// Whether live waits for the reader.
    held: Memo<bool>,
) -> impl IntoView {
    let live = use_live();
    let words = move || {
        paged.first.value().map(|found| {
            let searched = found.searched();
            let read = format!(
                "{} read in {}",
                format::counted(searched.rows, "row"),
                format::duration(searched.elapsed_nano)
            );
            let files = format!("{} opened", format::counted(searched.files, "file"));
            view! {
                <span>{format::total(found.total(), T::NOUN)}</span>
                <span class="faint" title=files>
                    {read}
                </span>
            }
        })
    };
    let hold = move || (live.get() && held.get()).then_some("live waits while you read");
    view! {
        <div class="facts" role="status">
            <span class="faint">{hold}</span>
            {words}
        </div>
    }
}

/// What is wrong or missing: an error, nothing yet, or a search that stopped early.
#[component]
#[must_use]
pub fn ListTrouble<T: Page, Q: Clone + PartialEq + Send + Sync + 'static>(
    /// The list.
    paged: Paged<T, Q>,
) -> impl IntoView {
    let first = paged.first;
    let error = Memo::new(move |_| first.error());
    let loading = Memo::new(move |_| first.loading());
    let partial = Memo::new(move |_| first.value().is_some_and(|found| !found.searched().complete));
    let failed = move || {
        let retry = Callback::new(move |()| first.refresh());
        error.get().map(|error| view! { <ErrorState error on_retry=retry /> })
    };
    let stopped = StoredValue::new(format!(
        "The search stopped at its limit of rows: older {}s may match too. \
         Narrow the time range or add a filter.",
        T::NOUN
    ));
    view! {
        {failed}
        <Show when=move || loading.get()>
            <LoadingRows count=14 />
        </Show>
        <Show when=move || partial.get()>
            <PartialNote>{stopped.get_value()}</PartialNote>
        </Show>
    }
}

/// The way to the next older page, while there is one.
#[component]
#[must_use]
pub fn OlderButton<T: Page, Q: Clone + PartialEq + Send + Sync + 'static>(
    /// The list.
    paged: Paged<T, Q>,
) -> impl IntoView {
    let more = Memo::new(move |_| paged.cursor.with(Option::is_some));
    let fetch = StoredValue::new_local(paged.fetch_older());
    let words = move || {
        if paged.fetching_older.get() {
            "Loading…".to_owned()
        } else {
            format!("Load older {}s", T::NOUN)
        }
    };
    view! {
        <Show when=move || more.get()>
            <div class="older">
                <button
                    class="button"
                    type="button"
                    disabled=move || paged.fetching_older.get()
                    on:click=move |_| fetch.with_value(|fetch| fetch())
                >
                    {words}
                </button>
            </div>
        </Show>
    }
}
