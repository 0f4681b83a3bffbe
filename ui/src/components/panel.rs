//! A panel: a card with a heading whose content is one answer of the API.
//!
//! Draws the four states of that answer: grey rows while it loads, the page's words when it is
//! empty, a note when a part is missing, and the error with a button to retry. An older answer
//! stays on screen, paler, while a newer one loads. Other requests that the answer needs have a
//! note when they fail. A panel that draws the answer of another request follows the state of that
//! request: it is loading or paler with it.

use std::sync::Arc;

use leptos::prelude::*;
use serde::de::DeserializeOwned;

use super::{AllTimeButton, ErrorState, LoadingRows, PartialNote, ShorterRange, WatchedRequest};
use crate::{browser, page_time::SHORTER_RANGE_HINT, request_state::RequestState};

/// Words about missing parts, with a link to a shorter range where they suggest one.
pub(super) fn missing_note(words: String) -> impl IntoView {
    let shorter = words.contains(SHORTER_RANGE_HINT).then(|| view! { <ShorterRange /> });
    view! { <PartialNote>{words} " " {shorter}</PartialNote> }
}

/// A card whose content is one answer.
#[component]
pub fn Panel<T, D, V>(
    /// The heading.
    #[prop(into)]
    title: Signal<String>,
    /// Words beside the heading, as a unit or a count.
    #[prop(into, optional)]
    note: Signal<String>,
    /// Links or buttons at the end of the heading.
    #[prop(optional)]
    tools: Option<ViewFn>,
    /// The answer.
    state: RequestState<T>,
    /// Other requests that the answer needs.
    #[prop(optional)]
    needs: Vec<WatchedRequest>,
    /// Words in place of an answer that cannot be requested.
    #[prop(into, optional)]
    instead: Signal<Option<&'static str>>,
    /// Reports whether the answer is empty.
    is_empty: fn(&T) -> bool,
    /// Returns the words for the missing part of the answer, if any.
    #[prop(optional)]
    missing: Option<fn(&T) -> Option<String>>,
    /// Text of an empty panel: the missing item and a way to get some.
    #[prop(into)]
    empty: Signal<String>,
    /// Set to offer a look at all time in an empty panel.
    #[prop(optional)]
    offers_all_time: bool,
    /// Number of grey rows shown while the answer loads.
    #[prop(default = 4)]
    rows: usize,
    /// Draws an answer that is not empty.
    draw: D,
) -> impl IntoView
where
    T: DeserializeOwned + Send + Sync + 'static,
    D: Fn(Arc<T>) -> V + Send + Sync + Clone + 'static,
    V: IntoView + 'static,
{
    let notes = needs.iter().copied().map(WatchedRequest::note).collect_view();
    let any = move |test: fn(WatchedRequest) -> bool| {
        let needs = needs.clone();
        Memo::new(move |_| needs.iter().copied().any(test))
    };
    let has_failed = any(WatchedRequest::has_failed);
    let is_awaited = any(WatchedRequest::is_awaited);
    let is_outdated = any(WatchedRequest::is_outdated);
    let content = move || {
        if let Some(words) = instead.get() {
            return view! { <p class="panel-empty">{words}</p> }.into_any();
        }
        let error = state.error();
        let answer = state.value();
        let is_failed = error.is_some();
        let failed = error.map(|error| {
            let retry = Callback::new(move |()| state.refresh());
            view! {
                <ErrorState name=title.get() is_kept=answer.is_some() error on_retry=retry />
            }
        });
        // Rows that another answer is about to replace would move.
        let drawn = answer.filter(|_| !is_awaited.get()).map(|answer| {
            let note = missing.and_then(|missing| missing(&answer)).map(missing_note);
            let body = if is_empty(&answer) && is_failed {
                ().into_any()
            } else if is_empty(&answer) {
                let all_time = offers_all_time.then(|| view! { " " <AllTimeButton /> });
                view! { <p class="panel-empty">{move || empty.get()} {all_time}</p> }.into_any()
            } else {
                draw(answer).into_any()
            };
            view! { {note} {body} }
        });
        view! { {failed} {drawn} }.into_any()
    };
    // An answer is not requested while one that it needs is missing.
    let is_loading = Memo::new(move |_| {
        let waits = state.pending() || !has_failed.get();
        instead.get().is_none() && (is_awaited.get() || (state.loading() && waits))
    });
    view! {
        <section class="card panel" aria-label=move || title.get()>
            <div class="panel-head">
                <h2>{move || title.get()}</h2>
                <span class="mute">{move || note.get()}</span>
                <span class="panel-tools">{tools.map(|tools| tools.run())}</span>
            </div>
            {notes}
            <Show when=move || is_loading.get()>
                <LoadingRows count=rows />
            </Show>
            <div
                class="panel-body"
                class:is-stale=move || {
                    (state.pending() || is_outdated.get()) && !is_loading.get()
                }
                // A table that is wider than a phone scrolls by keys, too.
                tabindex=browser::is_narrow().then_some("0")
            >
                {content}
            </div>
        </section>
    }
}
