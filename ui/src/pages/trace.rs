//! One trace, hop by hop.
//!
//! Owns the requests (the skeleton and the log records, repeated every two seconds while spans
//! still arrive) and the address. `trace_state::TraceState` is read from the address once and
//! whenever the reader goes back, and written to it shortly after a change. The parts draw the
//! signals of `page_signals::PageSignals`. Pure functions are in the modules without views
//! (`model`, `rows`, `scale`, `bar`, `bins`, `find`, `logs_index`, `events_index`, `row_index`,
//! `trace_state`).

use std::time::Duration;

use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*};
use leptos_router::hooks::use_params_map;
use tidings_proto::{
    TraceId,
    api::{TraceSkeleton, TransactionState},
};

use crate::{
    api, browser, colour,
    components::{EmptyState, ErrorState, UnreadNote, WatchedRequest},
    format,
    request_state::RequestState,
    shell::{Crumb, crumb_to_list, set_crumbs},
    url::{History, UrlQuery, unread_text, use_edit_query, use_query},
};

mod bar;
mod bins;
mod events_index;
mod find;
mod flame_tab;
mod graph_tab;
mod header;
mod labels;
mod lines;
mod logs_index;
mod logs_tab;
mod merged;
mod minimap;
mod model;
mod page_signals;
mod panel;
mod percentile;
mod pin;
mod row_index;
mod scale;
mod services_tab;
mod table_tab;
mod time_axis;
mod toolbar;
mod trace_exports;
mod trace_state;
mod tree_tab;
mod typical_durations;
mod visible_rows;
mod waterfall;

#[cfg(test)]
mod samples;

use model::TraceModel;
use page_signals::{IdentityArc, PageSignals};
use trace_state::{Folds, SpanRef, Tab, TraceState};

/// Interval at which a running trace is requested again.
const POLL: Duration = Duration::from_secs(2);
/// Delay between the last change and its write to the address. Browsers refuse hundreds of changes.
const ADDRESS_DELAY: Duration = Duration::from_millis(150);

/// The page of the trace in the address.
#[component]
#[must_use]
pub fn TracePage() -> impl IntoView {
    let params = use_params_map();
    let name = Memo::new(move |_| params.with(|params| params.get("id").unwrap_or_default()));
    move || match name.get().parse::<TraceId>() {
        Ok(id) => view! { <OneTrace id=id /> }.into_any(),
        Err(_) => {
            crumbs("Trace");
            view! {
                <div class="page">
                    <EmptyState title="This is not a trace id">
                        <p>
                            "A trace id has 32 hexadecimal digits. Paste what you have into the box "
                            "above: it understands other forms, and whole log lines."
                        </p>
                    </EmptyState>
                </div>
            }
            .into_any()
        }
    }
}

fn crumbs(name: &str) {
    set_crumbs(vec![crumb_to_list(), Crumb { text: name.to_owned(), href: None }]);
}

#[component]
fn OneTrace(id: TraceId) -> impl IntoView {
    let query = use_query();
    let is_adjusted =
        Memo::new(move |_| query.with(|query| query.get(TraceState::CLOCKS) == Some("1")));
    let skeleton = RequestState::large(move || Some(api::skeleton(id, is_adjusted.get())));
    let model = RwSignal::new(None::<RwSignal<IdentityArc<TraceModel>>>);
    let drawn = StoredValue::new(None::<std::sync::Arc<TraceSkeleton>>);
    let owner = Owner::current();
    Effect::new(move |_| {
        let Some(answer) = skeleton.value() else { return };
        // A repeated request mostly gives the same answer.
        if drawn.with_value(|drawn| drawn.as_ref().is_some_and(|drawn| **drawn == *answer)) {
            return;
        }
        crumbs(format::operation(&answer.summary.root_operation));
        colour::assign_shades(answer.services.iter().map(String::as_str));
        let next = IdentityArc::new(TraceModel::new((*answer).clone()));
        drawn.set_value(Some(answer));
        match model.get_untracked() {
            Some(model) => model.set(next),
            // The signal must outlive this effect's next run.
            None => {
                let made = owner.as_ref().map(|owner| owner.with(|| RwSignal::new(next)));
                model.set(made);
            }
        }
    });
    poll_while_running(skeleton, model);
    let retry = Callback::new(move |()| skeleton.refresh());
    let stale = WatchedRequest::new("The newest spans are not known", skeleton);
    let loaded = move || model.get().map(|model| view! { <Loaded id=id model=model /> });
    let missing = move || match (model.with(Option::is_some), skeleton.error()) {
        (true, _) => ().into_any(),
        (false, Some(error)) if error.is_not_found() => not_found(id, retry).into_any(),
        (false, Some(error)) => view! {
            <div class="page">
                <ErrorState error=error on_retry=retry />
            </div>
        }
        .into_any(),
        (false, None) => view! { <Loading skeleton /> }.into_any(),
    };
    view! {
        <Show when=move || model.with(Option::is_some)>{stale.note()}</Show>
        {loaded}
        {missing}
    }
}

fn poll_while_running(
    skeleton: RequestState<TraceSkeleton>,
    model: RwSignal<Option<RwSignal<IdentityArc<TraceModel>>>>,
) {
    let running = move || {
        let model = model.get_untracked();
        model.is_some_and(|model| {
            model.with_untracked(|model| model.summary.state == TransactionState::Running)
        })
    };
    let tick = move || {
        if running() && browser::is_page_visible() {
            skeleton.refresh_when_idle();
        }
    };
    if let Ok(handle) = set_interval_with_handle(tick, POLL) {
        on_cleanup(move || handle.clear());
    }
}

fn not_found(id: TraceId, retry: Callback<()>) -> impl IntoView {
    view! {
        <div class="page">
            <EmptyState title="No trace has this id">
                <p class="mono">{id.to_string()}</p>
                <p>
                    "Its spans may still be on their way, may have been sampled out by their sender, "
                    "or are older than what is kept. "
                    <a href=format!("/logs?trace={id}")>"Look for log records that carry this id"</a>
                    ", or "
                    <a href="/explore">"search in Explore"</a>
                    "."
                </p>
                <button class="button" type="button" on:click=move |_| retry.run(())>
                    "Look again"
                </button>
            </EmptyState>
        </div>
    }
}

/// The outline of the page before an answer, with the progress of a slow request.
#[component]
fn Loading(skeleton: RequestState<TraceSkeleton>) -> impl IntoView {
    let seconds = RwSignal::new(0_u32);
    let tick = move || {
        seconds.try_update(|seconds| *seconds += 1);
    };
    if let Ok(timer) = set_interval_with_handle(tick, Duration::from_secs(1)) {
        on_cleanup(move || timer.clear());
    }
    let words = move || loading_words(seconds.get(), skeleton.received());
    let rows = (0..18_u32).map(|row| {
        let indent = f64::from(row % 5) * 16.0;
        let (left, width) = (f64::from(row) * 3.5, 12.0 + f64::from(row * 7 % 30));
        view! {
            <div class="wf-line">
                <div class="wf-name">
                    <span class="trace-ghost" style=("margin-left", format!("{indent}px"))></span>
                </div>
                <div class="wf-bars">
                    <span
                        class="trace-ghost trace-ghost-bar"
                        style=("left", format!("{left}%"))
                        style=("width", format!("{width}%"))
                    ></span>
                </div>
            </div>
        }
    });
    view! {
        <div class="trace trace-loading" role="status" aria-label="Loading the trace">
            <div class="trace-head">
                <span class="trace-ghost trace-ghost-title"></span>
                <span class="trace-ghost trace-ghost-strip"></span>
                <p class="mute trace-progress">{words}</p>
            </div>
            <div class="minimap"></div>
            <div class="wf">{rows.collect_view()}</div>
        </div>
    }
}

/// Returns the progress of loading: empty in the first second, then the seconds of assembly, then
/// the received bytes.
fn loading_words(seconds: u32, received: usize) -> String {
    match (received, seconds) {
        (0, 0) => String::new(),
        (0, seconds) => format!("Putting the trace together, {seconds} s"),
        (bytes, _) => {
            let megabytes = bytes as f64 / 1e6;
            let digits = usize::from(megabytes < 100.0);
            format!("Received {megabytes:.digits$} MB of the trace")
        }
    }
}

#[component]
fn Loaded(id: TraceId, model: RwSignal<IdentityArc<TraceModel>>) -> impl IntoView {
    let records = RequestState::new(move || Some(api::logs_of_trace(id)));
    let log_count = Memo::new(move |_| model.with(|model| model.log_count));
    Effect::new(move |before: Option<u64>| {
        let count = log_count.get();
        if before.is_some_and(|before| before != count) {
            records.refresh();
        }
        count
    });
    let state = in_address();
    let unread = select_first(model, state);
    let page = PageSignals::new(id, model, state, records);
    toolbar::bind_keys(page);
    let open = move || page.panel.get() && page.tab.get() == Tab::Waterfall;
    let empty = Memo::new(move |_| model.with(|model| model.rows().is_empty()));
    let body = move || match page.tab.get() {
        Tab::Waterfall if empty.get() => view! {
            <div class="trace-pane">
                <EmptyState title="No spans of this trace have arrived">
                    <p>"Its log records, if there are any, are in the Logs tab."</p>
                </EmptyState>
            </div>
        }
        .into_any(),
        Tab::Waterfall => view! {
            {minimap::minimap(page)}
            <div class="trace-body" class:trace-body-panel=open>
                {waterfall::waterfall(page)}
                <Show when=open>
                    {panel::span_panel(page)}
                </Show>
            </div>
        }
        .into_any(),
        Tab::Flame => flame_tab::flame_tab(page).into_any(),
        Tab::Tree => tree_tab::tree_tab(page).into_any(),
        Tab::Table => table_tab::table_tab(page).into_any(),
        Tab::Graph => graph_tab::graph_tab(page).into_any(),
        Tab::Services => services_tab::services_tab(page).into_any(),
        Tab::Logs => logs_tab::logs_tab(page).into_any(),
    };
    view! {
        <div class="trace">
            <div class="trace-head">
                {header::header(page)}
                {header::problems(page)}
                <UnreadNote words=unread />
                {toolbar::toolbar(page)}
            </div>
            <div id="trace-view" class="trace-view" role="tabpanel" aria-label="The chosen view">
                {body}
            </div>
        </div>
    }
}

/// Number of rows above which a trace opens folded, except for the path to the selected row.
const OPEN_ROWS_MAX: usize = 1_000;

/// Selects a span if the address names none of the trace. Returns the words for a span of the address
/// that the trace does not have, until another one is selected. A running trace may get it yet.
fn select_first(
    model: RwSignal<IdentityArc<TraceModel>>,
    state: RwSignal<TraceState>,
) -> Signal<Option<String>> {
    let named = use_query().with_untracked(|query| {
        query.get("span").filter(|span| !span.is_empty()).map(str::to_owned)
    });
    let has_row = model
        .with_untracked(|model| state.with_untracked(|state| state.selected_row(model).is_some()));
    let is_running = model.with_untracked(|model| model.summary.state == TransactionState::Running);
    let is_named = state.with_untracked(|state| state.selected.is_some());
    if has_row || is_named && is_running {
        return Signal::derive(|| None);
    }
    model.with_untracked(|model| select_suspect(model, state));
    let shown = "the trace has no such span, and the one with most trouble is selected";
    let words = named.map(|span| unread_text(&format!("span={span}"), shown));
    let first = state.with_untracked(|state| state.selected);
    Signal::derive(move || words.clone().filter(|_| state.with(|state| state.selected == first)))
}

/// Selects the span of the greatest trouble, or else the root. In a large trace the calls above it
/// would be far away, so that only these are unfolded.
fn select_suspect(model: &TraceModel, state: RwSignal<TraceState>) {
    let Some(row) = model.first_suspect().or_else(|| model.rows().next()) else { return };
    state.update(|state| {
        if model.len() > OPEN_ROWS_MAX && state.folds == Folds::default() {
            state.folds = Folds::from_depth(1);
        }
        state.selected = Some(SpanRef::from_row(model, row));
        state.folds.reveal(model, row);
    });
}

/// Returns the page's state, which is kept in the address.
fn in_address() -> RwSignal<TraceState> {
    let (query, edit) = (use_query(), use_edit_query());
    let read = |query: &UrlQuery| TraceState::read(|name| query.get(name).map(str::to_owned));
    let mut first = query.with_untracked(read);
    let is_asked = query.with_untracked(|query| query.get("panel").or(query.get("span")).is_some());
    // On a phone the waterfall comes first. A tap on a line opens its details.
    first.panel &= is_asked || !browser::is_narrow();
    let state = RwSignal::new(first);
    // A change of the address that this page wrote itself is ignored.
    let written = StoredValue::new(state.get_untracked());
    Effect::new(move |before: Option<()>| {
        let said = query.with(read);
        if before.is_some() && written.with_value(|written| *written != said) {
            written.set_value(said.clone());
            state.set(said);
        }
    });
    let waiting = StoredValue::new(None::<TimeoutHandle>);
    let stop = move || {
        if let Some(handle) = waiting.try_update_value(Option::take).flatten() {
            handle.clear();
        }
    };
    Effect::new(move |_| {
        let next = state.get();
        stop();
        if written.with_value(|written| *written == next) {
            return;
        }
        let edit = edit.clone();
        let write = move || {
            written.set_value(next.clone());
            let parameters = next.parameters();
            edit(History::Replace, &|query: &mut UrlQuery| {
                TraceState::PARAMETERS.into_iter().for_each(|name| query.remove(name));
                parameters.iter().for_each(|(name, value)| query.push(name, value));
            });
        };
        waiting.set_value(set_timeout_with_handle(write, ADDRESS_DELAY).ok());
    });
    on_cleanup(stop);
    state
}

#[cfg(test)]
mod tests {
    use super::loading_words;

    #[test]
    fn a_trace_that_takes_longer_says_how_far_it_is() {
        assert_eq!(loading_words(0, 0), "");
        assert_eq!(loading_words(4, 0), "Putting the trace together, 4 s");
        assert_eq!(loading_words(4, 1_250_000), "Received 1.2 MB of the trace");
        assert_eq!(loading_words(9, 213_400_000), "Received 213 MB of the trace");
    }
}
