//! One trace: what happened, hop by hop.
//!
//! Owns fetching (the skeleton, the log records; again every two seconds while spans still arrive)
//! and the address: `state::TraceState` is read from it once and whenever the reader goes back,
//! and written to it shortly after a change. The parts draw what `page::Page` holds; pure
//! arithmetic is in the modules without views (`model`, `rows`, `scale`, `bar`, `bins`,
//! `find`, `logs_index`, `state`).

use std::time::Duration;

use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*};
use leptos_router::hooks::use_params_map;
use tidings_proto::{
    TraceId,
    api::{TraceSkeleton, TransactionState},
};

use crate::{
    api, browser,
    components::{EmptyState, ErrorState, PartialNote},
    remote::Remote,
    shell::{Crumb, set_crumbs},
    url::{Query, Step, use_edit_query, use_query},
};

mod axis;
mod bar;
mod bins;
mod brush;
mod find;
mod flame_tab;
mod graph_tab;
mod header;
mod keys;
mod lines;
mod logs_index;
mod logs_tab;
pub(crate) mod measure;
mod merged;
mod minimap;
mod model;
mod page;
mod panel;
mod pin;
mod problems;
mod rows;
mod scale;
mod services_tab;
mod state;
mod table_tab;
mod toolbar;
mod tree_tab;
mod usual;
mod waterfall;
mod words;

#[cfg(test)]
mod samples;

use model::TraceModel;
use page::{Page, Same};
use state::{SpanRef, Tab, TraceState};

/// How often a running trace is asked for again.
const POLL: Duration = Duration::from_secs(2);
/// A change is in the address this long after the last one: browsers refuse hundreds of changes.
const ADDRESS_DELAY: Duration = Duration::from_millis(150);

/// The page of the trace that the address names.
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
    set_crumbs(vec![
        Crumb { text: "Transactions".to_owned(), href: Some("/explore".to_owned()) },
        Crumb { text: name.to_owned(), href: None },
    ]);
}

#[component]
fn OneTrace(id: TraceId) -> impl IntoView {
    let skeleton = Remote::new(move || Some(api::skeleton(id)));
    let model = RwSignal::new(None::<RwSignal<Same<TraceModel>>>);
    let drawn = StoredValue::new(None::<std::sync::Arc<TraceSkeleton>>);
    let owner = Owner::current();
    Effect::new(move |_| {
        let Some(answer) = skeleton.value() else { return };
        // Asking again mostly gives the same answer.
        if drawn.with_value(|drawn| drawn.as_ref().is_some_and(|drawn| **drawn == *answer)) {
            return;
        }
        crumbs(&answer.summary.root_operation);
        let next = Same::new(TraceModel::new((*answer).clone()));
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
    let stale = move || {
        let error = model.with(Option::is_some).then(|| skeleton.error()).flatten()?;
        Some(view! { <PartialNote>{error.title()}</PartialNote> })
    };
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
        (false, None) => view! { <Loading /> }.into_any(),
    };
    view! {
        {stale}
        {loaded}
        {missing}
    }
}

fn poll_while_running(
    skeleton: Remote<TraceSkeleton>,
    model: RwSignal<Option<RwSignal<Same<TraceModel>>>>,
) {
    let running = move || {
        let model = model.get_untracked();
        model.is_some_and(|model| {
            model.with_untracked(|model| model.summary.state == TransactionState::Running)
        })
    };
    let tick = move || {
        if running() && browser::visible() {
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

/// The page's shape, before anything is known.
#[component]
fn Loading() -> impl IntoView {
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
            </div>
            <div class="minimap"></div>
            <div class="wf">{rows.collect_view()}</div>
        </div>
    }
}

#[component]
fn Loaded(id: TraceId, model: RwSignal<Same<TraceModel>>) -> impl IntoView {
    let records = Remote::new(move || Some(api::logs_of_trace(id)));
    let log_count = Memo::new(move |_| model.with(|model| model.log_count));
    Effect::new(move |before: Option<u64>| {
        let count = log_count.get();
        if before.is_some_and(|before| before != count) {
            records.refresh();
        }
        count
    });
    let state = in_address();
    if state.with_untracked(|state| state.selected.is_none()) {
        model.with_untracked(|model| select_suspect(model, state));
    }
    let page = Page::new(id, model, state, records);
    keys::bind(page);
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
                {problems::problems(page)}
                {toolbar::toolbar(page)}
            </div>
            {body}
        </div>
    }
}

/// Opens a trace where its trouble is, else at its root.
fn select_suspect(model: &TraceModel, state: RwSignal<TraceState>) {
    let Some(row) = model.first_suspect().or_else(|| model.rows().next()) else { return };
    state.update(|state| {
        state.selected = Some(SpanRef::of(model, row));
        state.folds.reveal(model, row);
    });
}

/// The page's state, kept in the address.
fn in_address() -> RwSignal<TraceState> {
    let (query, edit) = (use_query(), use_edit_query());
    let read = |query: &Query| TraceState::read(|name| query.get(name).map(str::to_owned));
    let state = RwSignal::new(query.with_untracked(read));
    // What the address says because this page wrote it is no news.
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
            edit(Step::Replace, &|query: &mut Query| {
                TraceState::PARAMETERS.into_iter().for_each(|name| query.remove(name));
                parameters.iter().for_each(|(name, value)| query.push(name, value));
            });
        };
        waiting.set_value(set_timeout_with_handle(write, ADDRESS_DELAY).ok());
    });
    on_cleanup(stop);
    state
}
