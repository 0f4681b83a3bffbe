//! Durations of the chosen operation over time, with a box that leads to its spans.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{ChangeSentence, Heatmap, SpanKindName},
};

use super::ServiceView;
use crate::{
    api::analysis::heatmap,
    browser,
    charts::heatmap::{HeatmapDrawing, HeatmapState, Marker, box_text},
    components::{
        Panel, WatchedRequest,
        change::{change_text, subject_text, truncate_name},
    },
    format,
    links::Links,
    number_format,
    page_time::partial_answer_text,
    request_state::RequestState,
    url::{HeatmapBox, History, use_edit_query, use_query},
};

/// Words beside the heading while no box is drawn.
const BOX_HINT: &str = "drag a box to look at its spans";
/// Maximum number of deployments of other services that are marked.
const OTHERS_MAX: usize = 6;
/// Maximum number of letters of the words of the change.
const LETTERS_MAX: usize = 40;
/// Part of the range within which the change has no mark beside that of the service's own version.
const NEAR: u64 = 50;

/// The panel.
pub(super) fn latency_panel(view: ServiceView, state: HeatmapState) -> impl IntoView {
    let answer = RequestState::new(move || Some(heatmap(&view.of_chosen(view.time.analysis())?)));
    let query = use_query();
    let edit = use_edit_query();
    let chosen =
        Memo::new(move |_| query.with(|query| query.get("box").and_then(HeatmapBox::parse)));
    let choose = Callback::new(move |chosen: Option<HeatmapBox>| {
        // The default follows the list. A box of one operation is not to lie over another.
        let operation = view.chosen.get_untracked().filter(|_| chosen.is_some());
        edit(History::Replace, &|query| {
            query.set("box", chosen.map(|chosen| chosen.write()));
            if let Some(of) = &operation {
                query.set("operation", Some(&of.name));
                query.set("kind", of.kind.map(SpanKindName::word));
            }
        });
    });
    let operation = Memo::new(move |_| {
        let chosen = view.chosen.get();
        chosen.map(|chosen| truncate_name(format::operation(&chosen.name)))
    });
    let title = Memo::new(move |_| {
        operation.get().map_or("Latency".to_owned(), |name| format!("Latency of {name}"))
    });
    let note = Memo::new(move |_| {
        let hint = chosen.with(Option::is_none).then(|| BOX_HINT.to_owned());
        let words: Vec<String> = view.pattern_words().into_iter().chain(hint).collect();
        words.join("; ")
    });
    let markers = Memo::new(move |_| markers_of(view));
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

/// Returns the moments to mark: new versions of this service and of others, and the change.
fn markers_of(view: ServiceView) -> Vec<Marker> {
    let name = view.name();
    let others = view.deployments().into_iter().filter(|one| one.service != name);
    let others = others.take(OTHERS_MAX).map(|one| Marker {
        time: one.first_seen_unix_nano,
        label: truncate_name(&format!("{} {}", one.service, one.version)),
        is_strong: false,
    });
    let list = view.versions.value();
    let own = list.map(|list| list.changes.clone()).unwrap_or_default();
    let own = own.into_iter().map(|one| {
        let previous = one.previous_version.map(|version| format!(", it was {version}"));
        let label = format!("{name} {}{}", one.version, previous.unwrap_or_default());
        Marker { time: one.first_seen_unix_nano, label: truncate_name(&label), is_strong: true }
    });
    let mut markers: Vec<Marker> = others.chain(own).collect();
    if let (Some(change), Some(report)) = (view.sentence(), view.report.value()) {
        let window = report.window;
        let length = window.end_unix_nano.since(window.start_unix_nano);
        add_change(&mut markers, change_marker(&change), length);
    }
    markers.sort_by_key(|marker| marker.time);
    markers
}

/// Returns the mark of the moment of a change: `northpay 3.6× slower`.
fn change_marker(sentence: &ChangeSentence) -> Option<Marker> {
    let ChangeSentence { subject, change, .. } = sentence;
    let words = format!("{} {}", subject_text(subject), change_text(change));
    let label = number_format::truncate(&words, LETTERS_MAX);
    Some(Marker { time: change.since_unix_nano?, label, is_strong: true })
}

/// Adds the mark of a change. Words of two strong marks would cover each other, so a near mark of
/// the service's own version stands for both.
fn add_change(markers: &mut Vec<Marker>, change: Option<Marker>, range: DurationNanos) {
    let is_near = |time: UnixNanos, of: &Marker| {
        of.is_strong && of.time.0.abs_diff(time.0).saturating_mul(NEAR) <= range.0
    };
    let change = change.filter(|change| !markers.iter().any(|marker| is_near(change.time, marker)));
    markers.extend(change);
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
            <a href=address class="button button-primary">
                "Explore these spans"
            </a>
            <button class="button" type="button" on:click=move |_| choose.run(None)>
                "Remove the box"
            </button>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{Change, ChangeKind, Subject, SubjectKind};

    use super::{ChangeSentence, DurationNanos, Marker, UnixNanos, add_change, change_marker};

    fn sentence(since: Option<u64>) -> ChangeSentence {
        ChangeSentence {
            subject: Subject {
                kind: SubjectKind::Peer,
                service: "payment".to_owned(),
                operation: None,
                peer: Some("northpay".to_owned()),
            },
            change: Change {
                kind: ChangeKind::Latency,
                is_worse: true,
                before: 100e6,
                now: 360e6,
                factor: Some(3.6),
                difference: 260e6,
                quantile: Some(50),
                worse_quantiles: Vec::new(),
                since_unix_nano: since.map(UnixNanos),
                tested_since_unix_nano: None,
                p_value: 0.001,
                text: None,
                id: None,
            },
            with: Vec::new(),
            explained_share: None,
        }
    }

    #[test]
    fn the_moment_of_the_change_is_marked_with_its_words() {
        let marker = change_marker(&sentence(Some(700))).unwrap();
        assert_eq!((marker.time, marker.label.as_str()), (UnixNanos(700), "northpay 3.6× slower"));
        assert!(marker.is_strong);
        assert_eq!(change_marker(&sentence(None)), None);
    }

    #[test]
    fn a_change_beside_a_new_version_of_the_service_has_no_mark_of_its_own() {
        let version =
            |time, is_strong| Marker { time: UnixNanos(time), label: String::new(), is_strong };
        let marks = |marker| {
            let mut markers = vec![marker];
            add_change(&mut markers, change_marker(&sentence(Some(700))), DurationNanos(1_000));
            markers.len()
        };
        assert_eq!(marks(version(690, true)), 1);
        assert_eq!(marks(version(600, true)), 2);
        assert_eq!(marks(version(690, false)), 2, "a version of another service");
    }
}
