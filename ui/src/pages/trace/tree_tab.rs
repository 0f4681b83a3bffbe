//! The call tree with the calls of one operation at one place as one line, and the repeated calls.

use std::{collections::HashSet, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{REPEATED_CALLS_MIN, RepeatList, RepeatedCall, SpanFlags},
};

use super::{
    flame_tab::name_at,
    merged::{self, MergedCalls},
    model::TraceModel,
    page_signals::{IdentityArc, PageSignals},
};
use crate::{
    api::trace_sets,
    colour,
    components::{
        AddressSegments, Badge, Panel,
        PlainHead::{Buttons, Explained, Number, Words},
        PlainTable, Tone, use_choice,
    },
    format, number_format,
    request_state::RequestState,
};

/// Maximum number of lines that are drawn.
const DRAWN_MAX: usize = 1_000;
const FOLDS: &[(&str, &str)] = &[("all", "All"), ("one", "Hide below 1 %")];

/// Returns the indexes of the visible calls: none below a folded one, and no small ones.
fn visible_places(
    places: &[MergedCalls],
    folded: &HashSet<u32>,
    total: u64,
    small_too: bool,
) -> Vec<u32> {
    let mut hidden = vec![false; places.len()];
    let order = merged::depth_first(places);
    order
        .into_iter()
        .filter(|&at| {
            let place = &places[at as usize];
            let below_folded =
                place.parent.is_some_and(|above| hidden[above as usize] || folded.contains(&above));
            let small = !small_too && is_small(place, total);
            hidden[at as usize] = below_folded || small;
            !hidden[at as usize]
        })
        .collect()
}

/// Reports whether merged calls are less than a hundredth of the critical path and of the trace,
/// without failures.
fn is_small(place: &MergedCalls, total: u64) -> bool {
    let part = |nanos: u64| number_format::ratio(nanos, total.max(1));
    place.errors == 0 && part(place.critical_below_nano) < 0.01 && part(place.duration_nano) < 0.01
}

/// The tab.
pub(crate) fn tree_tab(page: PageSignals) -> impl IntoView {
    let fold = use_choice("small", FOLDS);
    let places =
        Memo::new(move |_| page.model.with(|model| IdentityArc::new(merged::by_place(model))));
    let folded = RwSignal::new(HashSet::<u32>::new());
    let repeats = RequestState::<RepeatList>::new(move || Some(trace_sets::repeats(page.id)));
    let total = move || page.model.with(|model| model.summary.duration_nano.0);
    let lines = Memo::new(move |_| {
        let places = places.get();
        folded.with(|folded| visible_places(&places, folded, total(), fold.get() == "all"))
    });
    let note = move || {
        let spans = page.model.with(|model| model.summary.span_count);
        let rows = places.with(|places| places.len() as u64);
        format!("{} for {}", format::counted(rows, "line"), format::counted(spans, "span"))
    };
    let suspects = Memo::new(move |_| {
        let list = repeats.value();
        places.with(|places| IdentityArc::new(n_plus_one(places, list.as_deref())))
    });
    let rows = move || {
        let (places, suspects) = (places.get(), suspects.get());
        let callers: HashSet<u32> = places.iter().filter_map(|place| place.parent).collect();
        page.model.with(|model| {
            lines
                .get()
                .into_iter()
                .take(DRAWN_MAX)
                .map(|at| {
                    let marks = (callers.contains(&at), suspects.contains(&at));
                    tree_line(page, model, &places[at as usize], at, folded, marks)
                })
                .collect_view()
        })
    };
    let heads = [
        Words("Call"),
        Number("Calls"),
        Number("Sum"),
        Number("Self"),
        Explained("p50", merged::P50),
        Explained("p95", merged::P95),
        Number("Critical, with calls below"),
        Buttons("Share of the critical path"),
    ];
    let is_without_quantiles = move || places.with(|places| !merged::has_quantiles(places.iter()));
    let more = move || more_lines(lines.with(Vec::len).saturating_sub(DRAWN_MAX));
    view! {
        <div class="trace-pane trace-tab">
            <div class="tab-tools">
                <span class="mute">{note}</span>
                <AddressSegments name="small" offered=FOLDS label="Which lines" />
            </div>
            <div class="tab-main">
                <section
                    class="card panel"
                    class:is-without-quantiles=is_without_quantiles
                    aria-label="Call tree"
                >
                    <div class="panel-body">
                        <PlainTable label="Call tree" class="table tree-table stacked" heads>
                            {rows}
                        </PlainTable>
                    </div>
                    {more}
                </section>
                {repeat_panel(page, repeats)}
            </div>
        </div>
    }
}

/// The number of lines that are not drawn, if any.
fn more_lines(count: usize) -> Option<impl IntoView> {
    (count > 0).then(|| {
        let words =
            format!("{}: fold some to see the rest.", format::counted(count as u64, "more line"));
        view! { <p class="panel-empty">{words}</p> }
    })
}

/// Returns the indexes of calls that look like one query per row of another query.
fn n_plus_one(places: &[MergedCalls], list: Option<&RepeatList>) -> HashSet<u32> {
    let Some(list) = list else { return HashSet::new() };
    let rows: HashSet<u32> = list
        .groups
        .iter()
        .filter(|group| group.n_plus_one)
        .filter_map(|group| group.span_indexes.first().copied())
        .collect();
    (0..)
        .zip(places)
        .filter(|(_, place)| place.rows.iter().any(|row| rows.contains(row)))
        .map(|(at, _)| at)
        .collect()
}

fn tree_line(
    page: PageSignals,
    model: &TraceModel,
    place: &MergedCalls,
    at: u32,
    folded: RwSignal<HashSet<u32>>,
    (has_below, is_n_plus_one): (bool, bool),
) -> impl IntoView + use<> {
    let service = name_at(model.services(), place.service).to_owned();
    let operation = format::operation(name_at(model.operations(), place.operation)).to_owned();
    let count = place.count();
    let [p50, p95, _] = if count > 1 { place.quantiles(model) } else { [DurationNanos(0); 3] };
    let many = |time: DurationNanos| (count > 1).then(|| format::duration(time));
    let critical = number_format::ratio(place.critical_below_nano, model.critical_total());
    let longest = place.longest(model);
    let go = move |_| longest.into_iter().for_each(|row| page.go_to(row));
    let is_folded = move || folded.with(|folded| folded.contains(&at));
    let toggle = move |_| {
        folded.update(|folded| {
            if !folded.remove(&at) {
                folded.insert(at);
            }
        });
    };
    let caret = has_below.then(|| {
        view! {
            <button
                class="tree-fold"
                type="button"
                aria-label="Fold or unfold"
                aria-expanded=move || (!is_folded()).to_string()
                on:click=toggle
            >
                {move || if is_folded() { "▸" } else { "▾" }}
            </button>
        }
    });
    let failed = (place.errors > 0).then(|| {
        let words = format!("● {} failed", format::count(u64::from(place.errors)));
        view! { <span class="is-worse">{words}</span> }
    });
    let after =
        place.rows.iter().all(|row| model.has_flag(*row, SpanFlags::ASYNCHRONOUS)).then(|| {
            view! { <span class="mute">"asynchronous"</span> }
        });
    let badge = is_n_plus_one.then(|| view! { <Badge tone=Tone::Warning>"N+1"</Badge> });
    let depth = place.depth.min(40).to_string();
    let title = operation.clone();
    view! {
        <tr class:is-missed=page.misses(place.rows.clone())>
            <td class="grow tree-name">
                <span class="tree-words" style=("--depth", depth)>
                    <span class="tree-caret">{caret}</span>
                    <span class="dot" style=("--hue", colour::hue_value(&service))></span>
                    <span class="mute">{format::service(&service).to_owned()}</span>
                    <button class="link tree-link" type="button" title=title on:click=go>
                        {number_format::truncate(&operation, 100)}
                    </button>
                    {badge} {failed} {after}
                </span>
            </td>
            <td class="num" class:was=count == 1>
                {if count == 1 { "1".to_owned() } else { format!("×{}", format::count(count)) }}
            </td>
            <td class="num">{format::duration(DurationNanos(place.duration_nano))}</td>
            <td class="num">{format::duration(DurationNanos(place.self_nano))}</td>
            <td class="num quantile">{many(p50)}</td>
            <td class="num quantile">{many(p95)}</td>
            <td class="num">{number_format::share(critical)}</td>
            <td class="own-bar">{critical_bar(critical)}</td>
        </tr>
    }
}

/// A share of the critical path as a bar, or `None` for zero.
fn critical_bar(share: f64) -> Option<impl IntoView> {
    (share > 0.0).then(|| {
        let width = format!("{:.1}%", share * 100.0);
        view! { <span class="own-fill is-critical" style=("width", width)></span> }
    })
}

/// The groups of calls that one span repeats, as the API found them.
fn repeat_panel(page: PageSignals, repeats: RequestState<RepeatList>) -> impl IntoView {
    let draw = move |list: Arc<RepeatList>| {
        let rows = page.model.with_untracked(|model| {
            list.groups.iter().take(60).map(|group| repeat_row(page, model, group)).collect_view()
        });
        let heads = [
            Words("Call"),
            Words("By"),
            Number("Calls"),
            Words("Order"),
            Number("p50"),
            Number("p99"),
            Number("Sum"),
            Explained("Active", "The time in which at least one of them ran"),
        ];
        view! {
            <PlainTable label="Repeated calls" class="table repeats-table stacked" heads>
                {rows}
            </PlainTable>
        }
    };
    view! {
        <Panel
            title="Repeated calls"
            note=format!("{REPEATED_CALLS_MIN} or more of one operation by one span")
            state=repeats
            is_empty=|list| list.groups.is_empty()
            missing=|list| {
                let listed = list.groups.len().min(60) as u64;
                (list.group_count > listed).then(|| {
                    format!("The {} that took most time, of {}.", format::count(listed), format::count(list.group_count))
                })
            }
            empty=format!("No span calls the same operation {REPEATED_CALLS_MIN} times or more.")
            draw=draw
        />
    }
}

fn repeat_row(
    page: PageSignals,
    model: &TraceModel,
    group: &RepeatedCall,
) -> impl IntoView + use<> {
    let known = |row: u32| (row as usize) < model.len();
    let by = known(group.parent_index).then(|| model.operation(group.parent_index).to_owned());
    let first = group.span_indexes.first().copied().filter(|row| known(*row));
    let go = move |_| first.into_iter().for_each(|row| page.go_to(row));
    let how = if group.sequential_count + 1 >= group.count {
        "one after the other".to_owned()
    } else if group.sequential_count == 0 {
        "side by side".to_owned()
    } else {
        format!("{} of them one after the other", format::count(group.sequential_count))
    };
    let badge = group.n_plus_one.then(|| view! { <Badge tone=Tone::Warning>"N+1"</Badge> });
    let service = group.service.clone();
    let name = format::operation(&group.operation).to_owned();
    view! {
        <tr>
            <td class="grow">
                <button class="link own-name" type="button" title="The first of them in the waterfall" on:click=go>
                    <span class="dot" style=("--hue", colour::hue_value(&service))></span>
                    <span class="mute">{format::service(&service).to_owned()}</span>
                    <span>{number_format::truncate(&name, 80)}</span>
                </button>
            </td>
            <td class="mute">{by.map(|by| number_format::truncate(&by, 40))}</td>
            <td class="num">{format!("×{}", format::count(group.count))}</td>
            <td>{how} " " {badge}</td>
            <td class="num">{format::duration(group.duration.p50_nano)}</td>
            <td class="num">{format::duration(group.duration.p99_nano)}</td>
            <td class="num">{format::duration(group.duration.sum_nano)}</td>
            <td class="num">{format::duration(group.busy_nano)}</td>
        </tr>
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{
        super::{merged, samples},
        visible_places,
    };

    #[test]
    fn folded_and_small_places_are_left_out_with_what_is_below() {
        let model = samples::model(&[
            (0, 0, 0, 0, 1_000),
            (1, 0, 1, 0, 900),
            (2, 1, 2, 0, 800),
            (1, 1, 3, 950, 2),
        ]);
        let places = merged::by_place(&model);
        let total = 1_000_000;
        assert_eq!(visible_places(&places, &HashSet::new(), total, true), [0, 1, 2, 3]);
        assert_eq!(visible_places(&places, &HashSet::from([1]), total, true), [0, 1, 3]);
        assert_eq!(visible_places(&places, &HashSet::new(), total, false), [0, 1, 2]);
    }
}
