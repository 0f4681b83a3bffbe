//! The selected span in full, beside the waterfall.
//!
//! Fields of the skeleton appear at once. The rest is fetched for the span on which the selection
//! rests. Moving through rows with a key sends one request and not one per row.

use std::{sync::Arc, time::Duration};

use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*};
use tidings_proto::{
    DurationNanos,
    api::{ProblemView, SpanDetails, SpanFlags, SpanStatus, StatusName},
    otlp::InstrumentationScope,
};

use super::{labels, model::TraceModel, page_signals::PageSignals, trace_state::SpanRef};
use crate::{
    api,
    components::{Badge, CopyButton, ErrorState, LoadingRows, Tone},
    format, number_format,
    request_state::RequestState,
};

mod operation_percentile;
mod span_attributes;
mod span_events;
mod span_links;

use span_attributes::{attribute_list, resource_title};
use span_events::{events, exceptions, focus_shown_event, records};
use span_links::{incoming_links, links};

const REST: Duration = Duration::from_millis(70);

/// The panel.
pub(crate) fn span_panel(page: PageSignals) -> impl IntoView {
    let asked = rested(page);
    let details = RequestState::new(move || {
        let (span, row) = asked.get()?;
        let index = (span.occurrence > 0).then_some(row);
        let is_adjusted = page.model.with_untracked(|model| model.assembly.clock_adjusted);
        Some(api::span(page.id, span.id, index, is_adjusted))
    });
    // The answer to an earlier request is not drawn under the present span's name.
    let current = move || {
        let row = page.selected.get()?;
        let (id, started) = page.model.with(|model| (model.span_id(row), model.stretch(row).from));
        let start = page.model.with(|model| model.summary.start_unix_nano);
        details.value().filter(|details| {
            let span = &details.span;
            let offset = i128::from(span.start_unix_nano.0) - i128::from(start.0);
            span.span_id == id && (span.start_unix_nano.0 == 0 || offset == i128::from(started))
        })
    };
    let linked = RequestState::new(move || Some(api::trace_links(page.id)));
    let retry = Callback::new(move |()| details.refresh());
    let body = move || match (current(), details.error()) {
        (Some(details), _) => view! { <Body page=page details=details /> }.into_any(),
        (None, Some(error)) => {
            view! { <ErrorState name="The span's details" error=error on_retry=retry /> }.into_any()
        }
        (None, None) => view! { <LoadingRows count=6 /> }.into_any(),
    };
    let close = move |_| page.state.update(|state| state.panel = false);
    view! {
        <aside class="span-panel" aria-label="The selected span">
            <button
                class="button button-ghost button-icon span-panel-close"
                type="button"
                title="Close (Esc)"
                aria-label="Close the details"
                on:click=close
            >
                "✕"
            </button>
            {move || match page.selected.get() {
                None => {
                    view! { <p class="mute">"Select a span to see its details."</p> }.into_any()
                }
                Some(row) => {
                    head(&page.model.get(), row).into_any()
                }
            }}
            {operation_percentile::usual(page)}
            {move || page.selected.get().map(|_| body())}
            {incoming_links(page, linked)}
        </aside>
    }
}

/// Returns the selected span, once the selection has rested on it.
fn rested(page: PageSignals) -> Memo<Option<(SpanRef, u32)>> {
    let span_of =
        move |row: u32| page.model.with_untracked(|model| (SpanRef::from_row(model, row), row));
    let asked = RwSignal::new(page.selected.get_untracked().map(span_of));
    let waiting = StoredValue::new(None::<TimeoutHandle>);
    let stop = move || {
        if let Some(handle) = waiting.try_update_value(Option::take).flatten() {
            handle.clear();
        }
    };
    Effect::new(move |_| {
        // A running trace moves rows and completes spans, so its answers are requested again.
        page.model.track();
        let selected = page.selected.get().map(span_of);
        stop();
        let set = move || {
            asked.try_set(selected);
        };
        waiting.set_value(set_timeout_with_handle(set, REST).ok());
    });
    on_cleanup(stop);
    Memo::new(move |_| asked.get())
}

/// Fields of the row in the skeleton.
fn head(model: &TraceModel, row: u32) -> impl IntoView + use<> {
    let failed = model.has_flag(row, SpanFlags::ERROR);
    let unfinished = model.has_flag(row, SpanFlags::UNFINISHED);
    let nanos = |nanos: u64| format::duration(DurationNanos(nanos));
    let share_of = |part, whole| number_format::share(number_format::ratio(part, whole));
    let duration = if unfinished { "not ended".to_owned() } else { nanos(model.duration(row)) };
    let (own, with_below) = (model.critical_own(row), model.critical_with_below(row));
    let critical = (with_below > 0).then(|| {
        let share = share_of(with_below, model.critical_total());
        let own = (own != with_below).then(|| format!(", {} in itself", nanos(own)));
        view! {
            <dt>"on critical path"</dt>
            <dd>
                {nanos(with_below)}
                <span class="faint">{format!("{share} of the path")}{own}</span>
            </dd>
        }
    });
    let self_share = share_of(model.self_time(row), model.duration(row));
    view! {
        <header class="span-panel-head">
            <div class="span-panel-title">
                <span
                    class="dot"
                    style=("--hue", crate::colour::hue_value(model.service(row)))
                    aria-hidden="true"
                ></span>
                <h2>
                    <bdi>{format::operation(model.operation(row)).to_owned()}</bdi>
                </h2>
                {failed.then(|| view! { <Badge tone=Tone::Error>"● error"</Badge> })}
                {unfinished.then(|| view! { <Badge tone=Tone::Good>"not ended"</Badge> })}
            </div>
            <dl class="span-facts">
                <dt>"duration"</dt>
                <dd>{duration}</dd>
                <dt>"self time"</dt>
                <dd>
                    {nanos(model.self_time(row))}
                    <span class="faint">{format!("{self_share} of the span")}</span>
                </dd>
                {critical}
                {model
                    .queue_of(row)
                    .map(|queue| {
                        view! {
                            <dt>"in the queue"</dt>
                            <dd>
                                {format::duration(queue.wait_nano)}
                                <span class="faint">"before it began"</span>
                            </dd>
                        }
                    })}
                <dt>"starts at"</dt>
                <dd>
                    {match model.stretch(row).from {
                        0 => "the start of the trace".to_owned(),
                        from => format::offset(from),
                    }}
                </dd>
            </dl>
        </header>
    }
}

/// Details of the span.
#[component]
fn Body(page: PageSignals, details: Arc<SpanDetails>) -> impl IntoView {
    let span = &details.span;
    let instance = resource_title(&details.resource_value);
    let dropped = |count: u32, noun: &str| {
        (count > 0).then(|| {
            let words = format!("The sender dropped {}.", format::counted(count.into(), noun));
            view! { <p class="faint">{words}</p> }
        })
    };
    let id = span.span_id.to_string();
    focus_shown_event(page, span.span_id);
    view! {
        <p class="mute span-panel-who">
            <bdi>{span.service.clone()}</bdi>
            {format!(" · {}", labels::kind(span.kind))}
            {instance.map(|name| view! { " · " <bdi>{name}</bdi> })}
        </p>
        {status(&span.status)}
        {problems(&details.problems)}
        {exceptions(page, &span.events)}
        {records(page)}
        {events(page, &span.events)}
        {dropped(span.dropped_events_count, "event")}
        {attribute_list(page, "Attributes", &span.attributes, &span.service)}
        {dropped(span.dropped_attributes_count, "attribute")}
        {links(page, &span.links)}
        {dropped(span.dropped_links_count, "link")}
        {attribute_list(page, "Resource", &details.resource_value.attributes, "")}
        {scope(&details.scope_value)}
        <section class="span-ids">
            <h3>"Span id"</h3>
            <p class="mono faint">{id.clone()} <CopyButton text=id label="Copy the span id" /></p>
        </section>
    }
}

/// The status of the span, when it adds to the head.
fn status(status: &SpanStatus) -> Option<impl IntoView + use<>> {
    let is_error = status.code == StatusName::Error;
    let words = match (status.code, status.message.as_str()) {
        (StatusName::Unset | StatusName::Error, "") => return None,
        (StatusName::Ok, "") => "ok".to_owned(),
        (_, message) => message.to_owned(),
    };
    Some(view! {
        <p class="span-status" class:span-status-error=is_error>
            {words}
        </p>
    })
}

/// Problems of the span.
fn problems(problems: &[ProblemView]) -> Option<impl IntoView + use<>> {
    let one = |problem: &ProblemView| {
        view! {
            <li>
                <b>{labels::problem_badge(problem.kind)}</b>
                <p>{labels::problem_explanation(problem.kind)}</p>
                <p class="faint">{problem.message.clone()}</p>
            </li>
        }
    };
    let list = problems.iter().map(one).collect_view();
    (!problems.is_empty()).then(|| view! { <ul class="span-problems">{list}</ul> })
}

/// Instrumentation scope of the span.
fn scope(scope: &InstrumentationScope) -> Option<impl IntoView + use<>> {
    let words = [scope.name.as_str(), scope.version.as_str()].join(" ");
    (!scope.name.is_empty()).then(|| {
        view! {
            <section>
                <h3>"Scope"</h3>
                <p class="mono">
                    <bdi>{words}</bdi>
                </p>
            </section>
        }
    })
}
