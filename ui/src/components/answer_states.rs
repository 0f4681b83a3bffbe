//! The drawn states of a fetched answer: loading, empty, partial, error; and the failure of a
//! request beside others.

use std::time::Duration;

use leptos::prelude::*;
use leptos_router::hooks::use_location;

use super::{Icon, IconName};
use crate::{
    api::ApiError,
    browser,
    request_state::RequestState,
    url::{History, TimeRange, use_edit_query, use_query},
};

/// Words beside an answer whose refresh failed.
const STALE_ANSWER_NOTE: &str = "What is shown is older.";

/// Time after which a panel says that it still waits for its first answer.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// Loading: grey rows in place of the rows to come, and words once it takes long.
#[component]
pub fn LoadingRows(
    /// Number of rows.
    #[prop(default = 8)]
    count: usize,
) -> impl IntoView {
    let is_long = browser::use_elapsed(LONG_WAIT);
    let rows = (0..count).map(|_| view! { <div class="loading-row"></div> }).collect_view();
    view! {
        <div class="loading" role="status" aria-label="Loading">
            <Show when=move || is_long.get()>
                <p class="loading-words">"Still waiting for the answer of the server."</p>
            </Show>
            {rows}
        </div>
    }
}

/// Empty: the missing item, and a way to find some.
#[component]
pub fn EmptyState(
    /// Title, as `No traces match`.
    #[prop(into)]
    title: String,
    /// Remedy.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="state" role="status">
            <div class="state-icon">
                <Icon name=IconName::Search />
            </div>
            <h2>{title}</h2>
            <div class="state-body">{children()}</div>
        </div>
    }
}

/// Partial: a note that an answer is incomplete, with the reason.
#[component]
pub fn PartialNote(
    /// Missing part and remedy.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="note note-warning" role="status">
            <Icon name=IconName::Warning />
            <span>{children()}</span>
        </div>
    }
}

/// A note about a part of the address that is not understood.
#[component]
pub fn UnreadNote(
    /// The part, and what is shown in its place.
    words: Signal<Option<String>>,
) -> impl IntoView {
    move || words.get().map(|words| view! { <PartialNote>{words}</PartialNote> })
}

/// A link that reads a partial answer in full: the same page with a shorter range.
#[component]
pub fn ShorterRange() -> impl IntoView {
    let (query, location) = (use_query(), use_location());
    let link = move || {
        query.with(|query| {
            let range = TimeRange::read(query).shorter()?;
            let mut shorter = query.clone();
            range.write(&mut shorter);
            let now = browser::now();
            let label = range.label(now, browser::zone_minutes(now));
            let href = shorter.on(&location.pathname.get());
            Some(view! { <a class="link" href=href>{format!("Read {label} whole")}</a> })
        })
    };
    view! { {link} }
}

/// A button that shows all stored time: the same page without a range. Nothing where the page has
/// none.
#[component]
pub fn AllTimeButton() -> impl IntoView {
    let (query, edit) = (use_query(), use_edit_query());
    let is_all = move || query.with(TimeRange::read) == TimeRange::All;
    let all_time = move |_| edit(History::Push, &|query| TimeRange::All.write(query));
    view! {
        <Show when=move || !is_all()>
            <button class="button" type="button" on:click=all_time.clone()>
                "Show all time"
            </button>
        </Show>
    }
}

/// Error: the failure, its remedy and a button to retry.
#[component]
pub fn ErrorState(
    /// The error.
    error: ApiError,
    /// Sends the request again.
    on_retry: Callback<()>,
    /// Name of the answer that is missing, where the page has several.
    #[prop(into, optional)]
    name: String,
    /// Set when an older answer remains on the page.
    #[prop(optional)]
    is_kept: bool,
) -> impl IntoView {
    let title = error.title();
    let title = if name.is_empty() { title } else { format!("{name}: {title}") };
    let parameter = match &error {
        ApiError::Problem(problem) => problem.parameter.clone(),
        _ => None,
    };
    view! {
        <div class="state state-error" role="alert">
            <div class="state-icon">
                <Icon name=IconName::Warning />
            </div>
            <h2>{title}</h2>
            <div class="state-body">
                <p>{error.detail()}</p>
                {is_kept.then(|| view! { <p>{STALE_ANSWER_NOTE}</p> })}
                {parameter.map(|name| view! { <p>"Parameter: " <code>{name}</code></p> })}
                <button class="button" type="button" on:click=move |_| on_retry.run(())>
                    "Try again"
                </button>
            </div>
        </div>
    }
}

/// A request beside others, whose failure is drawn as a note.
#[derive(Debug, Clone, Copy)]
pub struct WatchedRequest {
    missing: &'static str,
    error: Signal<Option<ApiError>>,
    is_kept: Signal<bool>,
    /// True before the first answer or error.
    is_loading: Signal<bool>,
    is_pending: Signal<bool>,
    /// True if a panel draws the answer in place of its own.
    is_drawn: bool,
    retry: Callback<()>,
}

impl WatchedRequest {
    /// Watches a request. `missing` is its missing answer: `What changed is not known`.
    #[must_use]
    pub fn new<T: Send + Sync + 'static>(missing: &'static str, state: RequestState<T>) -> Self {
        Self {
            missing,
            error: Signal::derive(move || state.error()),
            is_kept: Signal::derive(move || state.value().is_some()),
            is_loading: Signal::derive(move || state.loading()),
            is_pending: Signal::derive(move || state.pending()),
            is_drawn: false,
            retry: Callback::new(move |()| state.refresh()),
        }
    }

    /// Watches the request only while this condition holds.
    #[must_use]
    pub fn only_while(self, is_needed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let is_needed = Signal::derive(is_needed);
        let (error, is_loading, is_pending) = (self.error, self.is_loading, self.is_pending);
        Self {
            error: Signal::derive(move || error.get().filter(|_| is_needed.get())),
            is_loading: Signal::derive(move || is_needed.get() && is_loading.get()),
            is_pending: Signal::derive(move || is_needed.get() && is_pending.get()),
            ..self
        }
    }

    /// Declares that a panel draws this answer in place of its own. The panel is loading until the
    /// first one arrives or fails, and outdated while a newer one loads.
    #[must_use]
    pub fn drawn(self) -> Self {
        Self { is_drawn: true, ..self }
    }

    /// Reports whether a panel waits for this answer in place of its own.
    #[must_use]
    pub fn is_awaited(self) -> bool {
        self.is_drawn && self.is_loading.get()
    }

    /// Reports whether a panel waits for a newer answer in place of its own.
    #[must_use]
    pub fn is_outdated(self) -> bool {
        self.is_drawn && self.is_pending.get()
    }

    /// Reports whether the last request failed.
    #[must_use]
    pub fn has_failed(self) -> bool {
        self.error.with(Option::is_some)
    }

    /// Draws the missing answer, the reason, and a button to retry. Draws nothing unless the last
    /// request failed.
    pub fn note(self) -> impl IntoView {
        move || {
            let error = self.error.get()?;
            let older = if self.is_kept.get() { STALE_ANSWER_NOTE } else { "" };
            let words = format!("{}: {}. {} {older} ", self.missing, error.title(), error.detail());
            Some(view! {
                <PartialNote>
                    {words}
                    <button class="link" type="button" on:click=move |_| self.retry.run(())>
                        "Try again"
                    </button>
                </PartialNote>
            })
        }
    }
}
