//! Context of a log record: records of the same sender before and after it, shown below the record.

use leptos::prelude::*;
use tidings_proto::api::{LogContext, LogView};

use super::log_list::severity;
use crate::{
    api, browser,
    components::{LoadingRows, MessageLine, PartialNote, WatchedRequest},
    format,
    request_state::RequestState,
};

/// Options for the number of lines before and after the record.
const SIZES: [u32; 3] = [10, 50, 200];
/// Default number of lines.
pub(super) const SIZE: u32 = SIZES[0];

/// The switch and the lines.
#[component]
#[must_use]
pub fn LogAround(
    /// The record.
    log: LogView,
    /// Number of lines shown on either side; `None` while closed.
    around: Signal<Option<u32>>,
    /// Called with the requested number of lines.
    on_around: Callback<Option<u32>>,
) -> impl IntoView {
    let on = Memo::new(move |_| around.get().is_some());
    let toggle = move |_| on_around.run((!on.get_untracked()).then_some(SIZE));
    let size = move |count: u32| {
        view! {
            <button
                class="button button-ghost"
                type="button"
                aria-label=format!("{count} lines on either side")
                aria-pressed=move || (around.get() == Some(count)).to_string()
                on:click=move |_| on_around.run(Some(count))
            >
                {count}
            </button>
        }
    };
    let context = RequestState::<LogContext>::new(move || {
        around.get().map(|count| api::log_context(&log.id, Some(log.time_unix_nano), count))
    });
    view! {
        <section class="around">
            <div class="around-bar">
                <button
                    class="button"
                    type="button"
                    aria-pressed=move || on.get().to_string()
                    on:click=toggle
                >
                    "Lines around it"
                </button>
                <Show when=move || on.get()>
                    <span class="around-sizes" role="group" aria-label="How many lines">
                        {SIZES.map(size).collect_view()}
                    </span>
                </Show>
            </div>
            <Show when=move || on.get()>
                <Lines context around />
            </Show>
        </section>
    }
}

#[component]
fn Lines(context: RequestState<LogContext>, around: Signal<Option<u32>>) -> impl IntoView {
    let lines = move || {
        let found = context.value()?;
        let line = |log: &LogView| view! { <Line log=log.clone() is_this=false /> };
        // While another number is loading, the shown lines belong to the earlier number.
        let asked = around.get().filter(|_| !context.pending() && found.searched.complete);
        let asked = asked.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let end = |words: &'static str, lines: &[LogView]| {
            (lines.len() < asked).then(|| view! { <li class="around-end faint">{words}</li> })
        };
        let partial = (!found.searched.complete).then(|| {
            view! { <PartialNote>"Not all lines around it could be read."</PartialNote> }
        });
        Some(view! {
            {partial}
            <ol class="around-lines" aria-label="Lines around the record">
                {end("No earlier lines", &found.before)}
                {found.before.iter().map(line).collect_view()}
                <Line log=found.log.clone() is_this=true />
                {found.after.iter().map(line).collect_view()}
                {end("No later lines", &found.after)}
            </ol>
        })
    };
    view! {
        {WatchedRequest::new("The lines around it are not known", context).note()}
        <Show when=move || context.loading()>
            <LoadingRows count=5 />
        </Show>
        {lines}
    }
}

#[component]
fn Line(log: LogView, is_this: bool) -> impl IntoView {
    let zone = browser::zone_minutes(log.time_unix_nano);
    let (words, class) = severity(&log);
    let message = if log.text.is_empty() { log.event_name } else { log.text };
    view! {
        <li class="around-line" class:is-this=is_this aria-current=is_this.then_some("true")>
            <span class="log-time">{format::time_of_day(log.time_unix_nano, zone)}</span>
            <span class=class>{words}</span>
            <span class="around-text">
                <MessageLine message />
            </span>
        </li>
    }
}
