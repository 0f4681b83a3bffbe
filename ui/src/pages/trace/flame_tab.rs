//! The flame graph: the trace's calls as frames, with equal stacks merged, self time solid and
//! waiting pale. A list of operations by self time is below it.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{DurationNanos, api::SpanFlags};

use super::{
    find::Matches,
    merged::{self, GroupBy, MergedCalls},
    model::TraceModel,
    page_signals::{IdentityArc, PageSignals},
    usual::{self, Usual},
};
use crate::{
    addresses::TraceLink,
    colour,
    components::{
        AddressSegments,
        PlainHead::{Buttons, Explained, Number, Words},
        PlainTable, use_choice,
    },
    drawings::icicle::{Frame, Icicle, SiblingOrder, place},
    figures, format,
    keys::use_keys,
    url::TimeRange,
};

const WIDTHS: &[(&str, &str)] =
    &[("time", "Time"), ("critical", "Critical path"), ("own", "Own time")];
const ORDERS: &[(&str, &str)] = &[("longest", "Longest first"), ("happened", "As it happened")];
/// Maximum number of listed operations.
const LISTED: usize = 40;
/// Maximum number of calls in the side panel.
const CALLS: usize = 8;

/// Returns the width of a frame in the chosen measure.
fn width_of(calls: &MergedCalls, by: &str) -> u64 {
    match by {
        "critical" => calls.critical_below_nano,
        "own" => calls.self_below_nano,
        _ => calls.duration_nano,
    }
}

/// Sign before the name of a frame that has a match of the find text.
const FOUND: &str = "◆ ";

fn frames(model: &TraceModel, places: &[MergedCalls], matches: &Matches, by: &str) -> Vec<Frame> {
    let frame = |calls: &MergedCalls| {
        let service = name_at(model.services(), calls.service);
        let operation = format::operation(name_at(model.operations(), calls.operation));
        let value = width_of(calls, by);
        let times = if calls.count() > 1 {
            format!("×{} ", format::count(calls.count()))
        } else {
            String::new()
        };
        let time = format::duration(DurationNanos(value));
        let is_found = !matches.rows().is_empty() && !matches.misses(&calls.rows);
        let (sign, found) = if is_found { (FOUND, ", found") } else { ("", "") };
        let failed = if calls.errors > 0 {
            format!(", {} failed", format::count(u64::from(calls.errors)))
        } else {
            String::new()
        };
        Frame {
            parent: calls.parent,
            value: value as f64,
            service: service.to_owned(),
            name: format!("{sign}{}", figures::cut(operation, 80)),
            number: format!("{times}{time}"),
            title: format!(
                "{} {}: {times}{time}, own time {}{failed}{found}",
                figures::cut(format::service(service), 60),
                figures::cut(operation, 120),
                format::duration(DurationNanos(calls.self_nano)),
            ),
            difference: None,
            has_failed: calls.errors > 0,
            is_critical: calls.critical_below_nano > 0,
        }
    };
    places.iter().map(frame).collect()
}

/// Returns the frames of the trace. Those that have a match of the find text are marked.
fn marked_frames(page: PageSignals, places: &[MergedCalls], by: &str) -> Arc<Vec<Frame>> {
    page.matches
        .with(|matches| page.model.with(|model| Arc::new(frames(model, places, matches, by))))
}

pub(super) fn name_at(names: &[String], index: u32) -> &str {
    names.get(index as usize).map_or("unknown", String::as_str)
}

/// The tab.
pub(crate) fn flame_tab(page: PageSignals) -> impl IntoView {
    let (width, order) = (use_choice("width", WIDTHS), use_choice("order", ORDERS));
    let places =
        Memo::new(move |_| page.model.with(|model| IdentityArc::new(merged::by_place(model))));
    let (usual, asked) = usual::ask(page);
    let selected = RwSignal::new(None::<u32>);
    let focus = RwSignal::new(None::<u32>);
    let select = Callback::new(move |frame: u32| {
        selected.update(|selected| *selected = (*selected != Some(frame)).then_some(frame));
    });
    let only = move || {
        let next = selected.get_untracked().filter(|at| focus.get_untracked() != Some(*at));
        focus.set(next);
    };
    use_keys().bind("z", "Only the chosen frame, or all again", "Flame graph", only);
    let picture = move || {
        let frames = marked_frames(page, &places.get(), width.get());
        let is_given = order.get() == "happened";
        let order = if is_given { SiblingOrder::Given } else { SiblingOrder::WidestFirst };
        let placement = place(&frames, focus.get(), order);
        let left_out = placement.left_out as u64;
        let note = (left_out > 0).then(|| {
            let is = if left_out == 1 { "is" } else { "are" };
            format!("{} {is} too narrow to draw.", format::counted(left_out, "place"))
        });
        view! {
            <Icicle
                id="flame"
                label="Flame graph of the trace"
                frames
                placement
                selected
                on_select=select
            />
            <p class="mute flame-note">{note}</p>
        }
    };
    let aside = move || {
        let at = selected.get()?;
        let places = places.get();
        let calls = places.get(at as usize)?.clone();
        Some(side(page, &places, &calls, usual, Callback::new(move |()| only())))
    };
    let has_side = Memo::new(move |_| selected.get().is_some());
    view! {
        <div class="trace-pane trace-tab">
            <div class="tab-tools">
                <span class="mute">"Width"</span>
                <AddressSegments name="width" offered=WIDTHS label="What frames are as wide as" />
                <span class="mute">"Order"</span>
                <AddressSegments name="order" offered=ORDERS label="Order of calls side by side" />
                <Show when=move || focus.get().is_some()>
                    <button class="button" type="button" on:click=move |_| focus.set(None)>
                        "Whole trace " <kbd>"z"</kbd>
                    </button>
                </Show>
                <span class="mute tab-note">"own time is solid, waiting is pale; same stacks are merged"</span>
            </div>
            <div class="tab-columns" class:has-side=move || has_side.get()>
                <div class="tab-main">
                    {asked.note()}
                    {picture}
                    {own_time(page, usual)}
                </div>
                <Show when=move || has_side.get()>
                    <aside class="tab-side" aria-label="The chosen frame">{aside}</aside>
                </Show>
            </div>
        </div>
    }
}

/// Operations by self time.
fn own_time(page: PageSignals, usual: Memo<IdentityArc<Usual>>) -> impl IntoView {
    let rows = move || {
        page.model.with(|model| {
            let mut groups = merged::by_name(model, GroupBy::Operation, |_| true);
            groups.sort_by_key(|group| std::cmp::Reverse(group.self_nano));
            let total: u64 = groups.iter().map(|group| group.self_nano).sum();
            let most = groups.first().map_or(1, |group| group.self_nano).max(1);
            let usual = usual.get();
            groups
                .iter()
                .take(LISTED)
                .map(|group| own_row(page, model, group, &usual, (total, most)))
                .collect_view()
        })
    };
    let heads = [
        Words("Operation"),
        Number("Calls"),
        Number("Own time"),
        Number("Share"),
        Buttons("Share as a bar"),
        Number("Longest"),
        Explained("Usual p95", "The p95 of the operation in the day before"),
        Number("Against usual"),
    ];
    view! {
        <section class="card panel" aria-label="Own time">
            <div class="panel-head">
                <h2>"Own time, most first"</h2>
                <span class="mute">"the time in which a span waited for no call below it"</span>
            </div>
            <div class="panel-body">
                <PlainTable label="Own time by operation" class="table stacked" heads>
                    {rows}
                </PlainTable>
            </div>
        </section>
    }
}

fn own_row(
    page: PageSignals,
    model: &TraceModel,
    group: &MergedCalls,
    usual: &Usual,
    (total, most): (u64, u64),
) -> impl IntoView + use<> {
    let service = name_at(model.services(), group.service).to_owned();
    let operation = name_at(model.operations(), group.operation).to_owned();
    let longest = group.longest(model);
    let time = longest.map_or(DurationNanos(0), |row| DurationNanos(model.duration(row)));
    let p95 = usual.get(&service, &operation).map(|stats| stats.p95_nano);
    let times = usual::times(time, p95);
    let worse = times.is_some_and(|times| times >= usual::SLOWER_FROM);
    let width = format!("{:.1}%", figures::ratio(group.self_nano, most) * 100.0);
    let failed = group.errors > 0;
    let go = move |_| longest.into_iter().for_each(|row| page.go_to(row));
    let name = format::operation(&operation).to_owned();
    view! {
        <tr style=("--hue", colour::hue_value(&service))>
            <td class="grow">
                <button class="link own-name" type="button" title="Its longest call in the waterfall" on:click=go>
                    <span class="dot" style=("--hue", colour::hue_value(&service))></span>
                    <span class="mute">{format::service(&service).to_owned()}</span>
                    <span>{figures::cut(&name, 80)}</span>
                    {failed.then(|| view! { <span class="is-worse">"●"</span> })}
                </button>
            </td>
            <td class="num">{format::count(group.count())}</td>
            <td class="num">{format::duration(DurationNanos(group.self_nano))}</td>
            <td class="num">{figures::share(figures::ratio(group.self_nano, total))}</td>
            <td class="own-bar"><span class="own-fill" style=("width", width)></span></td>
            <td class="num">{format::duration(time)}</td>
            <td class="num was">{usual.cell(p95)}</td>
            <td class="num" class:is-worse=worse>{usual::slower_words(times)}</td>
        </tr>
    }
}

/// The chosen frame in numbers, with its calls and links.
fn side(
    page: PageSignals,
    places: &[MergedCalls],
    calls: &MergedCalls,
    usual: Memo<IdentityArc<Usual>>,
    only: Callback<()>,
) -> impl IntoView + use<> {
    page.model.with(|model| {
        let service = name_at(model.services(), calls.service).to_owned();
        let operation = name_at(model.operations(), calls.operation).to_owned();
        let durations = usual.get();
        let usual = durations.get(&service, &operation);
        let [p50, p95, longest] = calls.quantiles(model);
        let fact = |name: &'static str, value: String| {
            view! { <span class="mute">{name}</span> <span class="mono">{value}</span> }
        };
        let nanos = |nanos: u64| format::duration(DurationNanos(nanos));
        let many = (calls.count() > 1).then(|| {
            view! { {fact("p50", format::duration(p50))} {fact("p95", format::duration(p95))} {fact("longest", format::duration(longest))} }
        });
        // This is always a line, so that lines below it do not move when the answer arrives.
        let usually = match usual {
            None => durations.cell(None),
            Some(usual) => {
                let [p50, p95] = [usual.p50_nano, usual.p95_nano].map(format::duration);
                format!("p50 {p50}, p95 {p95}").into_any()
            }
        };
        let mut rows = calls.rows.clone();
        rows.sort_by_key(|row| std::cmp::Reverse(model.duration(*row)));
        let most = rows.first().map_or(1, |row| model.duration(*row)).max(1);
        let list = rows.iter().take(CALLS).map(|&row| call_line(page, model, row, most));
        let list = list.collect_view();
        let above = std::iter::successors(calls.parent, |above| places[*above as usize].parent);
        let mut path: Vec<String> = above
            .take(12)
            .map(|above| {
                let above = &places[above as usize];
                let name = format::operation(name_at(model.operations(), above.operation));
                format!("{} {}", name_at(model.services(), above.service), figures::cut(name, 60))
            })
            .collect();
        path.reverse();
        let path = path.into_iter().map(|words| view! { <li>{words}</li> }).collect_view();
        let others = TraceLink::within(TimeRange::default())
            .of_service(&service)
            .of_operation(&operation)
            .address();
        let first = calls.longest(model);
        let show = move |_| first.into_iter().for_each(|row| page.go_to(row));
        let errors = (calls.errors > 0).then(|| {
            let words = format::counted(u64::from(calls.errors), "error");
            view! { <span class="badge badge-error">{words}</span> }
        });
        view! {
            <h2 class="side-title">{figures::cut(format::operation(&operation), 120)} " " {errors}</h2>
            <p class="mute">{service} ", " {format::counted(calls.count(), "call")}</p>
            <div class="side-facts">
                {fact("time", nanos(calls.duration_nano))}
                {fact("own time", nanos(calls.self_nano))}
                {fact("on critical path", nanos(calls.critical_nano))}
                {many}
                <span class="mute">"usually"</span>
                <span class="mono">{usually}</span>
            </div>
            <h3>"Its calls" <span class="mute">"longest first"</span></h3>
            <ul>{list}</ul>
            <h3>"Called through"</h3>
            <ol class="side-path">{path}</ol>
            <div class="map-links">
                <button class="button" type="button" on:click=move |_| only.run(())>
                    "Only this " <kbd>"z"</kbd>
                </button>
                <button class="button" type="button" on:click=show>"In the waterfall"</button>
                <a class="button" href=others>"Others like it"</a>
            </div>
        }
    })
}

fn call_line(page: PageSignals, model: &TraceModel, row: u32, most: u64) -> impl IntoView + use<> {
    let time = model.duration(row);
    let width = format!("{:.1}%", figures::ratio(time, most) * 100.0);
    let hue = colour::hue_value(model.service(row));
    let failed = model.has_flag(row, SpanFlags::ERROR);
    view! {
        <li>
            <button class="side-call" type="button" style=("--hue", hue) on:click=move |_| page.go_to(row)>
                <span class="own-bar"><span class="own-fill" style=("width", width)></span></span>
                <span class="num" class:is-worse=failed>
                    {if failed { "● " } else { "" }}
                    {format::duration(DurationNanos(time))}
                </span>
            </button>
        </li>
    }
}
