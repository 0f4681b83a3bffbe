//! One line of the waterfall: its name on the left, its picture on the right.
//!
//! A line is fixed except for the selection, the matches and the picture. The list makes a line
//! anew when its row, fold, trace or records change.

use std::cmp::Reverse;

use leptos::{
    attr::{Attribute, custom::custom_attribute},
    prelude::*,
};
use tidings_proto::{DurationNanos, api::SpanFlags};

use super::{
    bar::{self, EventMark, LinePicture, SeverityTone},
    labels,
    model::TraceModel,
    page_signals::PageSignals,
    scale::LabelSide,
    visible_rows::Row,
};
use crate::{colour, format};

/// Rows up to this depth are indented by a step each, deeper ones by less and less.
const DEPTH_PLAIN_MAX: u32 = 12;
const INDENT_PX: f64 = 16.0;
const AUTO: &str = "auto";
/// A range without a span is labelled from this percentage of the width on.
const UNTRACED_NAMED: f64 = 14.0;

/// Position and dimensions of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinePosition {
    pub(crate) line: usize,
    pub(crate) bars_px: Signal<f64>,
}

/// Returns the id of a line's element.
pub(crate) fn line_id(line: usize) -> String {
    format!("trace-line-{line}")
}

/// A line.
pub(crate) fn line(page: PageSignals, place: LinePosition, row: Row) -> AnyView {
    match row {
        Row::Span(row) => span_line(page, place, row).into_any(),
        Row::Run { first, open } => run_line(page, place, first, open).into_any(),
        Row::Log { span, log } => log_line(page, place, span, log).into_any(),
        Row::Event { event, .. } => event_line(page, place, event).into_any(),
    }
}

fn span_line(page: PageSignals, place: LinePosition, row: u32) -> impl IntoView {
    let model = page.model.get_untracked();
    let logs = page.logs.get_untracked();
    let folded = page.is_folded(row);
    let below = model.descendants(row);
    let failed = model.has_flag(row, SpanFlags::ERROR);
    let hidden_errors = if folded { model.errors_below(row) } else { 0 };
    let badges = model.problems_of(row).map(|problem| labels::problem_badge(problem.kind));
    let mut badges: Vec<_> = badges.collect();
    badges.dedup();
    let hue = colour::hue_value(model.service(row));
    let toggle = move |event: web_sys::MouseEvent| {
        event.stop_propagation();
        page.set_folded(row, !folded);
    };
    let title = format!(
        "{} · {}",
        format::service(model.service(row)),
        format::operation(model.operation(row))
    );
    let picture = {
        let model = model.clone();
        move || {
            let picture = bar::of_span(&model, &logs, row, page.window.get(), place.bars_px.get());
            picture_view(page, picture)
        }
    };
    view! {
        <div
            id=line_id(place.line)
            class="wf-line"
            class:wf-selected=move || page.selected.get() == Some(row)
            class:wf-missed=page.misses(vec![row])
            class:wf-failed=failed
            role="row"
            aria-rowindex=place.line + 1
            {..level(model.depth(row) + 1)}
            aria-expanded=(below > 0).then(|| (!folded).to_string())
            aria-selected=move || (page.selected.get() == Some(row)).to_string()
            style=("--hue", hue)
            on:click=move |_| page.select_clicked(row)
            on:dblclick=move |_| zoom_to_row(page, row)
        >
            <div class="wf-name" role="gridcell" title=title>
                {indent(model.depth(row))} {twisty(below > 0, folded, toggle)}
                <span class="dot" aria-hidden="true"></span>
                {call_name(&model, row, None)}
                {failed.then(|| view! { <span class="wf-error" role="img" aria-label="failed">"●"</span> })}
                {badges
                    .into_iter()
                    .map(|words| view! { <span class="wf-badge">{words}</span> })
                    .collect_view()}
                {folded.then(|| hidden_note(below, hidden_errors))}
            </div>
            <div class="wf-bars" role="gridcell">
                {picture}
            </div>
        </div>
    }
}

fn run_line(page: PageSignals, place: LinePosition, first: u32, open: bool) -> impl IntoView {
    let model = page.model.get_untracked();
    let facts = model.repeat_facts(first);
    let hue = colour::hue_value(model.service(first));
    let figures = format!(
        "p50 {} p99 {} Σ {}",
        format::duration(DurationNanos(facts.p50_nano)),
        format::duration(DurationNanos(facts.p99_nano)),
        format::duration(DurationNanos(facts.total_nano))
    );
    let title = format!("The same call, repeated: {figures}. Open it to see each.");
    let times = format!("×{}", format::count(facts.count.into()));
    let toggle = move |event: web_sys::MouseEvent| {
        event.stop_propagation();
        page.set_run_open(first, !open);
    };
    // The first call of an open run has a line of its own for the selection.
    let selected = move || !open && is_in_run(page, first);
    let picture = {
        let model = model.clone();
        move || {
            picture_view(page, bar::of_run(&model, first, page.window.get(), place.bars_px.get()))
        }
    };
    view! {
        <div
            id=line_id(place.line)
            class="wf-line wf-run"
            class:wf-selected=selected
            role="row"
            aria-rowindex=place.line + 1
            {..level(model.depth(first) + 1)}
            aria-expanded=open.to_string()
            aria-selected=move || selected().to_string()
            style=("--hue", hue)
            on:click=move |_| page.select_clicked(first)
            on:dblclick=move |_| page.set_run_open(first, !open)
        >
            <div class="wf-name" role="gridcell" title=title>
                {indent(model.depth(first))} {twisty(true, !open, toggle)}
                <span class="dot" aria-hidden="true"></span>
                {call_name(&model, first, Some(times))}
                {(facts.errors > 0)
                    .then(|| {
                        view! {
                            <span class="wf-error">
                                {format!("● {}", format::count(facts.errors.into()))}
                            </span>
                        }
                    })} <span class="wf-figures">{figures}</span>
            </div>
            <div class="wf-bars" role="gridcell">
                {picture}
            </div>
        </div>
    }
}

/// The service and the operation of a line, with the number of its calls. In a narrow window the
/// service is above the operation.
fn call_name(model: &TraceModel, row: u32, times: Option<String>) -> impl IntoView + use<> {
    let times = times.map(|times| view! { <span class="wf-times">{times}</span> });
    view! {
        <span class="wf-words">
            <bdi class="wf-service">{format::service(model.service(row)).to_owned()}</bdi>
            {times}
            <bdi class="wf-operation">{format::operation(model.operation(row)).to_owned()}</bdi>
        </span>
    }
}

fn log_line(page: PageSignals, place: LinePosition, span: u32, log: u32) -> impl IntoView {
    let logs = page.logs.get_untracked();
    let record = logs.get(log);
    let severity_number = record.map_or(0, |record| record.severity_number);
    let entry = InlineEntry {
        span,
        class: severity_class(SeverityTone::from_number(severity_number)),
        word: record
            .map(|record| severity_word(&record.severity, &record.severity_text))
            .unwrap_or_default(),
        text: record.map(|record| record.text.clone()).unwrap_or_default(),
        at: record.map_or(0, |record| logs.offset(record)),
        mark: "wf-tick",
    };
    entry_line(page, place, entry, move |_| page.select_clicked(span))
}

fn event_line(page: PageSignals, place: LinePosition, event: u32) -> impl IntoView {
    let model = page.model.get_untracked();
    let found = model.events().get(event);
    let is_exception = found.is_some_and(|found| found.is_exception);
    let entry = InlineEntry {
        span: found.map_or(0, |found| found.row),
        class: if is_exception { "wf-of-event severity-error" } else { "wf-of-event" },
        word: if is_exception { "EXCEPTION" } else { "EVENT" }.to_owned(),
        text: found.map(|found| model.events().title(found).to_owned()).unwrap_or_default(),
        at: found.map_or(0, |found| found.offset),
        mark: event_class(is_exception),
    };
    entry_line(page, place, entry, move |_| page.show_event(event))
}

/// Returns the class of the diamond of an event, which is filled for an exception and otherwise
/// hollow.
fn event_class(is_exception: bool) -> &'static str {
    if is_exception { "wf-event wf-exception" } else { "wf-event" }
}

/// A log record or an event, under its span.
struct InlineEntry {
    span: u32,
    class: &'static str,
    word: String,
    text: String,
    /// Nanoseconds after the trace's start.
    at: i64,
    /// Class of its mark on the time axis.
    mark: &'static str,
}

fn entry_line(
    page: PageSignals,
    place: LinePosition,
    entry: InlineEntry,
    on_click: impl Fn(web_sys::MouseEvent) + 'static,
) -> impl IntoView {
    let InlineEntry { span, class, word, text, at, mark } = entry;
    let depth = page.model.with_untracked(|model| model.depth(span)) + 1;
    let title = text.clone();
    view! {
        <div
            id=line_id(place.line)
            class=format!("wf-line wf-log {class}")
            role="row"
            aria-rowindex=place.line + 1
            {..level(depth + 1)}
            on:click=on_click
        >
            <div class="wf-name" role="gridcell" title=title>
                {indent(depth)}
                <span class="wf-twisty-none"></span>
                <span class="trace-severity">{word}</span>
                <bdi class="wf-log-text">{text}</bdi>
            </div>
            <div class="wf-bars" role="gridcell">
                {move || {
                    let at_percent = bar::moment(at, page.window.get())?;
                    let side = if at_percent > 85.0 { "wf-log-at wf-log-before" } else { "wf-log-at" };
                    Some(
                        view! {
                            <span class=mark style=("left", percent(at_percent))></span>
                            <span class=side style=("--at", percent(at_percent))>
                                {format::offset(at)}
                            </span>
                        },
                    )
                }}
            </div>
        </div>
    }
}

/// The depth of a line as `aria-level`, from 1. Leptos has no attribute of this name.
fn level(level: u32) -> impl Attribute {
    custom_attribute("aria-level", level.to_string())
}

fn picture_view(page: PageSignals, picture: LinePicture) -> AnyView {
    let bar = match picture {
        LinePicture::Outside { before: true } => {
            return view! { <span class="wf-outside" title="Before this window">"◂"</span> }
                .into_any();
        }
        LinePicture::Outside { before: false } => {
            return view! { <span class="wf-outside wf-outside-after" title="After this window">"▸"</span> }
                .into_any();
        }
        LinePicture::Inside(bar) => *bar,
    };
    let boxed = |class: &'static str| {
        move |place: super::scale::BarBox| {
            view! {
                <span
                    class=class
                    style=("left", percent(place.left))
                    style=("width", percent(place.width))
                ></span>
            }
        }
    };
    // Both edges are always set, because an omitted one would keep its last value when the side
    // changes.
    let (label_class, label_left, label_right) = match bar.label.side {
        LabelSide::After => ("wf-label", percent(bar.label.at), AUTO.to_owned()),
        LabelSide::Before => ("wf-label wf-label-before", AUTO.to_owned(), percent(bar.label.at)),
        LabelSide::Inside => ("wf-label wf-label-inside", AUTO.to_owned(), percent(bar.label.at)),
    };
    let critical = bar.critical.map(|(place, fill)| {
        view! {
            <span
                class="wf-critical"
                style=("left", percent(place.left))
                style=("width", percent(place.width))
                style=("background-image", fill)
            ></span>
        }
    });
    let ticks = bar.ticks.into_iter().map(|(at, tone)| {
        let class = format!("wf-tick {}", severity_class(tone));
        view! { <span class=class style=("left", percent(at))></span> }
    });
    let untraced = bar.untraced.into_iter().map(untraced_view).collect_view();
    let events = bar.events.into_iter().map(|(at, mark)| event_view(page, at, mark));
    view! {
        {bar.gap.map(boxed("wf-gap"))}
        <span
            class="wf-bar"
            style=("left", percent(bar.place.left))
            style=("width", percent(bar.place.width))
            style=("background", bar.fill)
        ></span>
        {untraced}
        {bar.overhang.map(boxed("wf-overhang"))}
        {critical}
        {ticks.collect_view()}
        {bar.error_at.map(|at| view! { <span class="wf-failed-at" style=("left", percent(at))></span> })}
        <span class=label_class style=("left", label_left) style=("right", label_right)>
            {bar.label.text}
        </span>
        {events.collect_view()}
    }
    .into_any()
}

/// The mark of an event on its span's bar. The keyboard reaches events with a key of their own.
fn event_view(page: PageSignals, at: f64, mark: EventMark) -> impl IntoView {
    let Reverse(event) = mark.event;
    let title = page.model.with_untracked(|model| {
        let found = model.events().get(event)?;
        Some(format!("{} at {}", model.events().title(found), format::offset(found.offset)))
    });
    let show = move |click: web_sys::MouseEvent| {
        click.stop_propagation();
        page.show_event(event);
    };
    view! {
        <span
            class=event_class(mark.is_exception)
            title=title
            style=("left", percent(at))
            on:click=show
        ></span>
    }
}

/// A range of a bar in which no call was open, labelled where there is room.
fn untraced_view((place, words): (super::scale::BarBox, String)) -> impl IntoView {
    let fits = place.width >= UNTRACED_NAMED;
    let named = fits.then(|| view! { <span class="wf-untraced-words">{words.clone()}</span> });
    view! {
        <span
            class="wf-untraced"
            style=("left", percent(place.left))
            style=("width", percent(place.width))
            title=words
        >
            {named}
        </span>
    }
}

fn percent(number: f64) -> String {
    format!("{number:.3}%")
}

/// The indent of a name. Its guides are a background image, so that it is one element at any depth.
fn indent(depth: u32) -> impl IntoView {
    let plain = f64::from(depth.min(DEPTH_PLAIN_MAX)) * INDENT_PX;
    let deeper = f64::from(depth.saturating_sub(DEPTH_PLAIN_MAX));
    let width = plain + (deeper + 1.0).log2() * 5.0;
    let number = (depth > DEPTH_PLAIN_MAX)
        .then(|| view! { <span class="wf-depth">{format::count(depth.into())}</span> });
    view! { <span class="wf-indent" style=("--indent", format!("{width:.0}px"))></span> {number} }
}

fn twisty(
    has_below: bool,
    folded: bool,
    toggle: impl Fn(web_sys::MouseEvent) + 'static,
) -> impl IntoView {
    if !has_below {
        return view! { <span class="wf-twisty-none"></span> }.into_any();
    }
    let (class, label) =
        if folded { ("wf-twisty wf-twisty-folded", "Open") } else { ("wf-twisty", "Fold") };
    // The keyboard opens and folds the selected line. A tab stop per line would be too many.
    view! { <button class=class type="button" tabindex="-1" aria-label=label on:click=toggle></button> }
        .into_any()
}

fn hidden_note(below: u32, errors: u32) -> impl IntoView {
    let words = format!("+{}", format::count(below.into()));
    let failed = (errors > 0).then(|| {
        view! { <span class="wf-error">{format!("● {}", format::count(errors.into()))}</span> }
    });
    view! {
        <span class="wf-hidden" title="Rows folded away">
            {words}
        </span>
        {failed}
    }
}

fn is_in_run(page: PageSignals, first: u32) -> bool {
    page.selected.get().is_some_and(|row| page.model.with(|model| model.is_in_run(first, row)))
}

/// Zooms to the row's time range with a small margin on both sides.
fn zoom_to_row(page: PageSignals, row: u32) {
    let stretch = page.model.with_untracked(|model| model.stretch(row));
    let room = i64::try_from(stretch.nanos() / 20).unwrap_or(0).max(50);
    let extent = page.model.with_untracked(|model| model.extent());
    let (from, to) = (stretch.from.saturating_sub(room), stretch.to.saturating_add(room));
    page.zoom_to(Some(super::scale::OffsetRange::dragged(from, to, extent)));
}

pub(crate) fn severity_class(tone: SeverityTone) -> &'static str {
    match tone {
        SeverityTone::Quiet => "severity-quiet",
        SeverityTone::Warning => "severity-warning",
        SeverityTone::Error => "severity-error",
    }
}

/// Returns the severity as one of the standard words, or as the sender's own.
pub(crate) fn severity_word(name: &str, text: &str) -> String {
    let word = if name.is_empty() { text } else { name };
    word.chars().take(6).collect::<String>().to_uppercase()
}
