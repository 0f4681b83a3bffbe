//! The flame graph: the trace's calls as frames, with equal stacks merged, self time solid and
//! waiting pale. A list of operations by self time is below it.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{DurationNanos, api::SpanFlags};

use super::{
    find::{FOUND, Matches},
    merged::{self, GroupBy, MergedCalls},
    model::TraceModel,
    page_signals::{IdentityArc, PageSignals},
    scale::OffsetRange,
    typical_durations::{self, AgainstUsual, TypicalDurations},
};
use crate::{
    addresses::TraceListLink,
    charts::icicle::{Frame, Icicle, SiblingOrder, layout_frames},
    colour,
    components::{
        AddressSegments, CallKeys,
        PlainHead::{Buttons, Explained, Number, Words},
        PlainTable, use_call_choice, use_choice,
    },
    format, number_format,
    shortcuts::use_shortcuts,
    url::TimeRange,
};

const WIDTHS: &[(&str, &str)] =
    &[("time", "Time"), ("critical", "Critical path"), ("own", "Self time")];
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

/// Returns the time of the calls of a place within their callers. A call that nobody waited for may
/// take longer than its caller. Its whole time would leave no room for awaited calls.
fn time_in_caller(model: &TraceModel, calls: &MergedCalls) -> u64 {
    let of_row = |row: &u32| match model.parent(*row) {
        Some(parent) if model.has_flag(*row, SpanFlags::ASYNCHRONOUS) => {
            let (own, outer) = (model.stretch(*row), model.stretch(parent));
            OffsetRange::new(own.from.max(outer.from), own.to.min(outer.to)).nanos()
        }
        _ => model.duration(*row),
    };
    calls.rows.iter().map(of_row).fold(0, u64::saturating_add)
}

/// Reports whether the calls of a place began after their callers had ended.
fn is_after_caller(model: &TraceModel, calls: &MergedCalls) -> bool {
    calls.duration_nano > 0 && time_in_caller(model, calls) == 0
}

/// Returns the frames of these places.
fn frames(model: &TraceModel, places: &[MergedCalls], matches: &Matches, by: &str) -> Vec<Frame> {
    let frame = |calls: &MergedCalls| {
        let service = name_at(model.services(), calls.service);
        let operation = format::operation(name_at(model.operations(), calls.operation));
        let value = width_of(calls, by);
        let width = if by == "time" { time_in_caller(model, calls) } else { value };
        let times = if calls.count() > 1 {
            format!("×{} ", format::count(calls.count()))
        } else {
            String::new()
        };
        let time = format::duration(DurationNanos(value));
        let (sign, found) =
            if matches.has_any(&calls.rows) { (FOUND, ", found") } else { ("", "") };
        let failed = if calls.errors > 0 {
            format!(", {} failed", format::count(u64::from(calls.errors)))
        } else {
            String::new()
        };
        Frame {
            parent: calls.parent,
            value: width as f64,
            service: service.to_owned(),
            service_words: Some(number_format::truncate(format::service(service), 40)),
            name: format!("{sign}{}", number_format::truncate(operation, 80)),
            number: format!("{times}{time}"),
            title: format!(
                "{} {}: {times}{time}, self time {}{failed}{found}",
                number_format::truncate(format::service(service), 60),
                number_format::truncate(operation, 120),
                format::duration(DurationNanos(calls.self_nano)),
            ),
            difference: None,
            has_failed: calls.errors > 0,
            is_critical: calls.critical_below_nano > 0,
        }
    };
    places.iter().map(frame).collect()
}

/// Returns the names of these places in the address.
fn call_keys(model: &TraceModel, places: &[MergedCalls]) -> CallKeys {
    CallKeys::new(places.iter().map(|calls| {
        let service = name_at(model.services(), calls.service);
        (calls.parent, [service, name_at(model.operations(), calls.operation)])
    }))
}

/// Returns the frames of the trace. Those that have a match of the find text are marked.
fn marked_frames(page: PageSignals, places: &[MergedCalls], by: &str) -> Arc<Vec<Frame>> {
    page.matches
        .with(|matches| page.model.with(|model| Arc::new(frames(model, places, matches, by))))
}

/// Returns the words for the places that are not drawn.
fn left_out_text(
    model: &TraceModel,
    places: &[MergedCalls],
    left_out: &[u32],
    by: &str,
) -> Option<String> {
    let (later, narrow): (Vec<&MergedCalls>, Vec<&MergedCalls>) = left_out
        .iter()
        .filter_map(|at| places.get(*at as usize))
        .partition(|calls| by == "time" && is_after_caller(model, calls));
    let calls: u64 = later.iter().map(|calls| calls.count()).sum();
    let later = (calls > 0).then(|| {
        let (its, is, it) = if calls == 1 { ("its", "is", "it") } else { ("their", "are", "them") };
        format!(
            "{} that began after {its} caller ended {is} not drawn; the Table tab has {it}.",
            format::counted(calls, "call")
        )
    });
    let count = narrow.len() as u64;
    let narrow = (count > 0).then(|| {
        let is = if count == 1 { "is" } else { "are" };
        format!("{} {is} too narrow to draw.", format::counted(count, "frame"))
    });
    let sentences: Vec<String> = later.into_iter().chain(narrow).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

pub(super) fn name_at(names: &[String], index: u32) -> &str {
    names.get(index as usize).map_or("unknown", String::as_str)
}

/// The tab.
pub(crate) fn flame_tab(page: PageSignals) -> impl IntoView {
    let (width, order) = (use_choice("width", WIDTHS), use_choice("order", ORDERS));
    let places =
        Memo::new(move |_| page.model.with(|model| IdentityArc::new(merged::by_place(model))));
    let (usual, asked) = typical_durations::ask(page);
    let keys =
        Memo::new(move |_| page.model.with(|model| places.with(|places| call_keys(model, places))));
    let choice = use_call_choice(keys);
    let (selected, focus) = (choice.selected, choice.focus);
    let select = Callback::new(move |frame: u32| choice.toggle(frame));
    let only = move || {
        let next = selected.get_untracked().filter(|at| focus.get_untracked() != Some(*at));
        choice.focus_on(next);
    };
    use_shortcuts().bind("z", "Only the chosen frame, or all again", "Flame graph", only);
    let picture = move || {
        let (places, by) = (places.get(), width.get());
        let frames = marked_frames(page, &places, by);
        let is_given = order.get() == "happened";
        let order = if is_given { SiblingOrder::Given } else { SiblingOrder::WidestFirst };
        let placement = layout_frames(&frames, focus.get(), order);
        let left_out = &placement.left_out;
        let note = page.model.with(|model| left_out_text(model, &places, left_out, by));
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
                    <button class="button" type="button" on:click=move |_| choice.focus_on(None)>
                        "Whole trace " <kbd>"z"</kbd>
                    </button>
                </Show>
                <span class="mute tab-note">"self time is solid, waiting is pale; same stacks are merged"</span>
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
fn own_time(page: PageSignals, usual: Memo<IdentityArc<TypicalDurations>>) -> impl IntoView {
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
        Number("Self time"),
        Number("Of self time"),
        Buttons("Self time as a bar"),
        Number("Longest"),
        Explained("Usual median", typical_durations::MEDIAN),
        Explained("Median vs. usual", typical_durations::AGAINST),
    ];
    view! {
        <section class="card panel" aria-label="Self time">
            <div class="panel-head">
                <h2>"Self time, most first"</h2>
                <span class="mute">"the time in which a span waited for no call below it"</span>
            </div>
            <div class="panel-body">
                <PlainTable label="Self time by operation" class="table stacked own-table" heads>
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
    usual: &TypicalDurations,
    (total, most): (u64, u64),
) -> impl IntoView + use<> {
    let service = name_at(model.services(), group.service).to_owned();
    let operation = name_at(model.operations(), group.operation).to_owned();
    let longest = group.longest(model);
    let time = longest.map_or(DurationNanos(0), |row| DurationNanos(model.duration(row)));
    let typical = usual.get(&service, &operation);
    let median = typical.map(|stats| stats.p50_nano);
    let against = AgainstUsual::new(group.quantiles(model)[0], typical);
    let width = format!("{:.1}%", number_format::ratio(group.self_nano, most) * 100.0);
    let failed = group.errors > 0;
    let go = move |_| longest.into_iter().for_each(|row| page.go_to(row));
    let name = format::operation(&operation).to_owned();
    view! {
        <tr style=("--hue", colour::hue_value(&service))>
            <td class="grow">
                <button class="link own-name" type="button" title="Its longest call in the waterfall" on:click=go>
                    <span class="dot" style=("--hue", colour::hue_value(&service))></span>
                    <span class="mute">{format::service(&service).to_owned()}</span>
                    <span>{number_format::truncate(&name, 80)}</span>
                    {failed.then(|| view! { <span class="is-worse">"●"</span> })}
                </button>
            </td>
            <td class="num">{format::count(group.count())}</td>
            <td class="num">{format::duration(DurationNanos(group.self_nano))}</td>
            <td class="num">{number_format::share(number_format::ratio(group.self_nano, total))}</td>
            <td class="own-bar"><span class="own-fill" style=("width", width)></span></td>
            <td class="num">{format::duration(time)}</td>
            <td class="num was">{usual.cell(median)}</td>
            {typical_durations::factor_cell(against)}
        </tr>
    }
}

/// The chosen frame in numbers, with its calls and links.
fn side(
    page: PageSignals,
    places: &[MergedCalls],
    calls: &MergedCalls,
    usual: Memo<IdentityArc<TypicalDurations>>,
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
                format!("{} {}", name_at(model.services(), above.service), number_format::truncate(name, 60))
            })
            .collect();
        path.reverse();
        let path = path.into_iter().map(|words| view! { <li>{words}</li> }).collect_view();
        let others = TraceListLink::within(TimeRange::default())
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
            <h2 class="side-title">{number_format::truncate(format::operation(&operation), 120)} " " {errors}</h2>
            <p class="mute">{service} ", " {format::counted(calls.count(), "call")}</p>
            <div class="side-facts">
                {fact("time", nanos(calls.duration_nano))}
                {fact("self time", nanos(calls.self_nano))}
                {fact("self critical", nanos(calls.critical_nano))}
                {many}
                <span class="mute">"usually"</span>
                <span class="mono">{usually}</span>
            </div>
            <h3>"Its calls" <span class="mute">"longest first"</span></h3>
            <ul>{list}</ul>
            <h3>"Callers"</h3>
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
    let width = format!("{:.1}%", number_format::ratio(time, most) * 100.0);
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

#[cfg(test)]
mod tests {
    use tidings_proto::api::SpanFlags;

    use super::{
        super::samples, Frame, SiblingOrder, frames, layout_frames, left_out_text, merged,
    };
    use crate::pages::trace::{find::Matches, model::TraceModel};

    #[test]
    fn calls_take_the_room_of_their_time_within_the_caller() {
        let mut skeleton = samples::skeleton(&[
            (0, 0, 0, 0, 1_000),
            (1, 0, 1, 100, 600),
            (1, 1, 2, 1_000, 9_000),
            (1, 1, 2, 1_100, 9_000),
            (2, 1, 3, 2_000, 500),
            (1, 0, 4, 700, 5_000),
        ]);
        for row in [2, 3, 5] {
            skeleton.spans.flags[row] = SpanFlags::ASYNCHRONOUS;
        }
        let model = TraceModel::new(skeleton);
        let places = merged::by_place(&model);
        let matches = Matches::find(&model, None, "");
        let drawn = |by: &str| {
            let frames = frames(&model, &places, &matches, by);
            let layout = layout_frames(&frames, None, SiblingOrder::Given);
            let words = left_out_text(&model, &places, &layout.left_out, by);
            let drawn = layout.placed.iter().map(|at| (at.frame, (at.width * 10.0).round()));
            (drawn.collect::<Vec<_>>(), words)
        };
        let of_service = |frame: &Frame| frame.service_words.as_ref() == Some(&frame.service);
        assert!(frames(&model, &places, &matches, "time").iter().all(of_service));
        let (placed, words) = drawn("time");
        assert_eq!(placed, [(0, 10.0), (1, 6.0), (4, 3.0)]);
        assert_eq!(
            words.as_deref(),
            Some(
                "2 calls that began after their caller ended are not drawn; \
                 the Table tab has them."
            )
        );
        let (_, words) = drawn("critical");
        assert_eq!(words.as_deref(), Some("3 frames are too narrow to draw."), "none is critical");
    }
}
