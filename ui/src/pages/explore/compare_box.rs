//! The call trees of the traces in the box beside those of all found traces, with their times.

use std::sync::Arc;

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::{
    TraceId,
    api::{Comparison, TraceSearchResult},
};

use super::{ExplorePageState, narrowed_list_query, with_span_filters};
use crate::{
    api::{
        analysis::Analysis,
        trace_sets::{compare_sets, trace_sample},
    },
    browser,
    components::Panel,
    pages::transaction_type::call_trees::{Pair, whole_sample},
    request_state::RequestState,
    url::{History, use_edit_query, use_query},
};

/// Number of traces per side.
const SAMPLE: u32 = 200;
/// The parameter that opens the panel.
pub(super) const OPEN: &str = "trees";

/// Id of the panel.
const PANEL_ID: &str = "compare-all";

/// Id of the switch.
const SWITCH_ID: &str = "compare-all-switch";

/// Reports whether the panel is open.
fn use_open() -> Memo<bool> {
    let query = use_query();
    Memo::new(move |_| query.with(|query| query.get(OPEN) == Some("on")))
}

/// The switch that opens and closes the panel.
pub(super) fn compare_switch() -> impl IntoView {
    let open = use_open();
    let edit = use_edit_query();
    let toggle = move |_| {
        let is_open = open.get_untracked();
        edit(History::Replace, &|query| query.set(OPEN, (!is_open).then_some("on")));
    };
    view! {
        <button
            id=SWITCH_ID
            class="button"
            type="button"
            aria-pressed=move || open.get().to_string()
            title="The call trees of traces in the box beside those of all"
            on:click=toggle
        >
            "Compare with all"
        </button>
    }
}

/// The panel, while there is a box and the panel is open. It takes the focus when it opens, so that
/// it is in view.
pub(super) fn compare_panel(page_state: ExplorePageState) -> impl IntoView {
    let open = use_open();
    let shown =
        Memo::new(move |_| open.get() && page_state.state.with(|state| state.chosen.is_some()));
    Effect::new(move |before: Option<bool>| {
        let is_shown = shown.get();
        if is_shown && before == Some(false) {
            spawn_local(async {
                browser::next_frame().await;
                browser::focus(PANEL_ID);
            });
        }
        is_shown
    });
    let panel = move || {
        view! {
            <div id=PANEL_ID role="group" aria-label="Compare with all" tabindex="-1">
                {compared(page_state)}
            </div>
        }
    };
    view! { <Show when=move || shown.get()>{panel}</Show> }
}

/// The button of the panel that closes it, and gives the focus back to the switch.
fn close_button() -> impl IntoView {
    let edit = use_edit_query();
    let close = move |_| {
        browser::focus(SWITCH_ID);
        edit(History::Replace, &|query| query.remove(OPEN));
    };
    view! {
        <button class="button" type="button" on:click=close>
            "Close"
        </button>
    }
}

fn compared(page_state: ExplorePageState) -> impl IntoView {
    let asked = Memo::new(move |_| {
        page_state.state.with(|state| {
            let chosen = state.chosen?;
            let list_query = narrowed_list_query(state);
            let inside = Analysis::between(chosen.from, chosen.to);
            let inside =
                with_span_filters(inside, &list_query.narrowed(), list_query.query.as_deref());
            let all = Analysis::within(state.range, browser::now());
            let all = with_span_filters(all, &state.filters, state.query.as_deref());
            Some([inside, all].map(|analysis| analysis.with("limit", SAMPLE)))
        })
    });
    let inside = RequestState::<TraceSearchResult>::new(move || {
        asked.with(|asked| asked.as_ref().map(|[inside, _]| trace_sample(inside)))
    });
    let all = RequestState::<TraceSearchResult>::new(move || {
        asked.with(|asked| asked.as_ref().map(|[_, all]| trace_sample(all)))
    });
    let answer = RequestState::<Comparison>::new(move || {
        let (inside, all) = (inside.value()?, all.value()?);
        let (inside, all) = (ids(&inside), ids(&all));
        (!inside.is_empty() && !all.is_empty()).then(|| compare_sets(&inside, &all))
    });
    let are_whole = [all, inside].map(whole_sample);
    let draw = move |comparison: Arc<Comparison>| {
        let words = ("All", "In the box".to_owned());
        view! { <Pair comparison words are_whole /> }
    };
    view! {
        <Panel
            title="Where the time goes"
            note="mean time on the critical path: all traces, and those with a span in the box"
            tools=ViewFn::from(close_button)
            state=answer
            is_empty=|comparison| comparison.calls.is_empty()
            missing=|comparison| {
                comparison
                    .truncated
                    .then(|| {
                        "The trees have too many different calls: some are left out."
                            .to_owned()
                    })
            }
            empty="No trace has a span in the box."
            rows=5
            draw=draw
        />
    }
}

fn ids(sample: &TraceSearchResult) -> Vec<TraceId> {
    sample.traces.iter().map(|trace| trace.trace_id).collect()
}
