//! Logs: records by their words, service, severity and trace, newest first.
//!
//! Owns the question (from the address) and the keys. New records appear by themselves, or the
//! moment they arrive while the tail is on, but never under a reader who points at the list, has a
//! record open or has asked for older pages.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{LogSearchResult, LogView};

use crate::{
    api, browser,
    components::EmptyState,
    keys::use_keys,
    paged::{ListFacts, ListTrouble, OlderButton, Paged, Question},
    shell::{crumb, set_crumbs},
    url::{LogState, Step, TimeRange, use_go, use_query},
};

pub mod log_around;
pub mod log_filters;
pub mod log_list;
pub mod tail;

use log_filters::LogFilters;
use log_list::{LogList, row_id};
use tail::{Tail, TailNote, TailToggle, use_tailing};

impl Question for LogState {
    fn range(&self) -> TimeRange {
        self.range
    }
}

/// The page.
#[component]
#[must_use]
pub fn LogsPage() -> impl IntoView {
    set_crumbs(crumb("Logs"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(LogState::read));
    let asked = Memo::new(move |_| state.with(LogState::closed));
    let open = Memo::new(move |_| state.with(|state| state.open.clone()));
    let around = Memo::new(move |_| state.with(|state| state.around));
    let paged: Paged<LogSearchResult, LogState> = Paged::new(asked, api::logs);
    let pointed = RwSignal::new(false);
    let read = Memo::new(move |_| pointed.get() || open.with(Option::is_some));
    let held = Memo::new(move |_| read.get() || paged.has_older());
    let tailing = use_tailing();
    let tail = Tail::new(tailing, asked, read, move || paged.refresh());
    let logs = tail.above(paged.items());
    paged.refresh_while_live(Memo::new(move |_| held.get() || tailing.get()));
    let go = use_go();
    let change = Callback::new(move |(state, step): (LogState, Step)| {
        let address = query.with_untracked(|query| state.write().with_switches_of(query));
        go(&address.on("/logs"), step);
    });
    bind_keys(state, logs, change, move || paged.stop());
    let toggle = Callback::new(move |id: String| {
        let state = state.get_untracked();
        let open = (state.open.as_ref() != Some(&id)).then_some(id);
        change.run((state.opened(open), Step::Replace));
    });
    let look_around = Callback::new(move |around: Option<u32>| {
        change.run((LogState { around, ..state.get_untracked() }, Step::Replace));
    });
    view! {
        <div class="page">
            <div class="bar">
                <LogFilters state=asked on_change=change />
                <div class="logs-tools">
                    <ListFacts paged held=Memo::new(move |_| held.get() && !tailing.get()) />
                    <TailToggle />
                </div>
            </div>
            <TailNote tail />
            <ListTrouble paged />
            <Show when=move || logs.with(|logs| !logs.is_empty())>
                <div
                    class="card logs-card"
                    class:is-stale=move || paged.stale()
                    on:pointerenter=move |_| pointed.set(true)
                    on:pointerleave=move |_| pointed.set(false)
                >
                    <LogList logs open around on_toggle=toggle on_around=look_around />
                </div>
                <OlderButton paged />
            </Show>
            <Nothing paged asked />
        </div>
    }
}

fn bind_keys(
    state: Memo<LogState>,
    logs: Memo<Arc<Vec<LogView>>>,
    change: Callback<(LogState, Step)>,
    stop: impl Fn() + 'static,
) {
    let open = move |open: Option<String>| {
        let shown = open.clone();
        change.run((state.with_untracked(|state| state.opened(open)), Step::Replace));
        if let Some(id) = shown {
            browser::reveal(&row_id(&id));
        }
    };
    let by = move |step: isize| {
        logs.with_untracked(|logs| {
            let now = state.with_untracked(|state| state.open.clone());
            let at = logs.iter().position(|log| Some(&log.id) == now.as_ref());
            let next = at.map_or(0, |at| at.saturating_add_signed(step));
            logs.get(next.min(logs.len().saturating_sub(1))).map(|log| log.id.clone())
        })
    };
    let (keys, group) = (use_keys(), "Logs");
    keys.bind("j", "Open the next record", group, move || open(by(1)));
    keys.bind("k", "Open the previous record", group, move || open(by(-1)));
    keys.bind("c", "Lines around the record", group, move || {
        let state = state.get_untracked();
        let around = state.around.is_none().then_some(log_around::SIZE);
        if state.open.is_some() {
            change.run((LogState { around, ..state }, Step::Replace));
        }
    });
    keys.bind("Escape", "Close the record, or stop the search", group, move || {
        if state.with_untracked(|state| state.open.is_some()) {
            open(None);
        } else {
            stop();
        }
    });
    let go = use_go();
    keys.bind("Enter", "Go to the record's trace", group, move || {
        let address = logs.with_untracked(|logs| {
            let now = state.with_untracked(|state| state.open.clone())?;
            logs.iter().find(|log| log.id == now).and_then(api::log_trace_address)
        });
        if let Some(address) = address {
            go(&address, Step::New);
        }
    });
}

/// Nothing found: which of filters and time range could be the reason, each to be lifted.
#[component]
fn Nothing(paged: Paged<LogSearchResult, LogState>, asked: Memo<LogState>) -> impl IntoView {
    let empty = Memo::new(move |_| paged.is_empty());
    let body = move || {
        let state = asked.get();
        let unfiltered = LogState { range: state.range, ..LogState::default() };
        let no_filters = (state != unfiltered).then(|| {
            let href = unfiltered.write().on("/logs");
            view! { <a class="button" href=href>"Take the filters off"</a> }
        });
        let unbounded = LogState { range: TimeRange::All, ..state.clone() };
        let no_range = (state.range != TimeRange::All).then(|| {
            let href = unbounded.write().on("/logs");
            view! { <a class="button" href=href>"Look at all time"</a> }
        });
        view! {
            <EmptyState title="No log records match">
                <p>"No record in this time range is like that."</p>
                <div class="state-actions">
                    {no_filters} {no_range} <a class="button" href="/connect">"Connect a sender"</a>
                </div>
            </EmptyState>
        }
    };
    view! { <Show when=move || empty.get()>{body}</Show> }
}
