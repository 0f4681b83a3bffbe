//! Durations of the chosen operation over time, with a box that leads to its spans.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::api::{Heatmap, SpanKindName};

use super::ServiceView;
use crate::{
    api::analysis::heatmap,
    browser,
    charts::heatmap::{HeatmapDrawing, HeatmapState, Marker, box_text},
    components::{Panel, WatchedRequest, change::truncate_name},
    format,
    links::{HeatmapBox, Links},
    page_time::partial_answer_text,
    request_state::RequestState,
    url::{History, use_edit_query, use_query},
};

/// Maximum number of deployments of other services that are marked.
const OTHERS_MAX: usize = 6;

/// The panel.
pub(super) fn latency_panel(view: ServiceView, state: HeatmapState) -> impl IntoView {
    let answer = RequestState::new(move || view.of_chosen().map(|analysis| heatmap(&analysis)));
    let query = use_query();
    let edit = use_edit_query();
    let chosen =
        Memo::new(move |_| query.with(|query| query.get("box").and_then(HeatmapBox::parse)));
    let choose = Callback::new(move |chosen: Option<HeatmapBox>| {
        edit(History::Replace, &|query| query.set("box", chosen.map(|chosen| chosen.write())));
    });
    let operation = Memo::new(move |_| {
        let chosen = view.chosen.get();
        chosen.map(|chosen| truncate_name(format::operation(&chosen.name)))
    });
    let title = Memo::new(move |_| {
        operation.get().map_or("Latency".to_owned(), |name| format!("Latency of {name}"))
    });
    let note = Memo::new(move |_| {
        if chosen.with(Option::is_some) { "" } else { "drag a box to look at its spans" }.to_owned()
    });
    let markers = Memo::new(move |_| {
        let name = view.name();
        let others = view.deployments().into_iter().filter(|one| one.service != name);
        let others = others.take(OTHERS_MAX).map(|one| Marker {
            time: one.first_seen_unix_nano,
            label: truncate_name(&format!("{} {}", one.service, one.version)),
            is_strong: false,
        });
        let own = view.versions.value().map(|list| list.changes.clone()).unwrap_or_default();
        let own = own.into_iter().map(|one| Marker {
            time: one.first_seen_unix_nano,
            label: truncate_name(&format!(
                "{name} {}, it was {}",
                one.version, one.previous_version
            )),
            is_strong: true,
        });
        let mut markers: Vec<Marker> = others.chain(own).collect();
        markers.sort_by_key(|marker| marker.time);
        markers
    });
    let bar = move || chosen.get().map(|chosen| box_bar(view, chosen, choose));
    let draw = move |heatmap: Arc<Heatmap>| {
        let label = title.get();
        view! {
            <HeatmapDrawing heatmap markers=markers.get() state chosen on_choose=choose label />
        }
    };
    view! {
        <div class="latency">
            <Panel
                title=title
                note=note
                state=answer
                needs=vec![
                    view.watched_operations(),
                    WatchedRequest::new("Its versions are not known", view.versions),
                ]
                instead=view.without_operation()
                is_empty=|heatmap| heatmap.cells.is_empty()
                missing=missing
                empty="No span of it ended in this time."
                rows=5
                draw=draw
            />
            {bar}
        </div>
    }
}

fn missing(heatmap: &Heatmap) -> Option<String> {
    let unfinished = (heatmap.unfinished_count > 0).then(|| {
        let words = format::counted(heatmap.unfinished_count, "span");
        format!("{words} without an end not drawn.")
    });
    partial_answer_text(&heatmap.searched).or(unfinished)
}

/// The selected box in words, with links to its spans.
fn box_bar(
    view: ServiceView,
    chosen: HeatmapBox,
    choose: Callback<Option<HeatmapBox>>,
) -> impl IntoView {
    let address = move || {
        let operation = view.chosen.get();
        let name = operation.as_ref().map(|chosen| chosen.name.clone()).unwrap_or_default();
        let kind = operation.and_then(|chosen| chosen.kind).map_or("", SpanKindName::word);
        let service = view.name();
        Links::explore_box(&[("service", &service), ("operation", &name), ("kind", kind)], chosen)
    };
    view! {
        <div class="box-bar" role="status">
            <span class="mono">{box_text(chosen, browser::now())}</span>
            <A href=address attr:class="button button-primary">
                "Explore these spans"
            </A>
            <button class="button" type="button" on:click=move |_| choose.run(None)>
                "Drop the box"
            </button>
        </div>
    }
}
