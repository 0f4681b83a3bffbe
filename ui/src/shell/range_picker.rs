//! The time range and the live switch: header controls over the page's address.

use leptos::prelude::*;
use tidings_proto::UnixNanos;

use crate::{
    browser, format,
    page_time::use_live,
    server_watch::use_server,
    shortcuts::use_shortcuts,
    url::{History, TimeRange, use_edit_query, use_query},
};

fn label(range: TimeRange) -> String {
    let now = browser::now();
    range.label(now, browser::zone_minutes(now))
}

/// The range, as a button that opens the presets and two fields.
#[component]
#[must_use]
pub fn RangePicker() -> impl IntoView {
    let query = use_query();
    let range = Memo::new(move |_| query.with(TimeRange::read));
    let open = RwSignal::new(false);
    let edit = use_edit_query();
    let choose = move |range: TimeRange| {
        open.set(false);
        edit(History::Push, &|query| range.write(query));
    };
    let choose = Callback::new(choose);
    view! {
        <div class="menu">
            <button
                class="button"
                type="button"
                aria-haspopup="true"
                aria-expanded=move || open.get().to_string()
                title="Time range"
                on:click=move |_| open.update(|open| *open = !*open)
            >
                <span class="range-label" class:is-fixed=move || !range.get().is_open_ended()>
                    {move || label(range.get())}
                </span>
                <span class="caret" aria-hidden="true">"▾"</span>
            </button>
            <Show when=move || open.get()>
                <RangeMenu range open choose />
            </Show>
        </div>
    }
}

#[component]
fn RangeMenu(
    range: Memo<TimeRange>,
    open: RwSignal<bool>,
    choose: Callback<TimeRange>,
) -> impl IntoView {
    use_shortcuts().bind("Escape", "Close the menu", "Everywhere", move || open.set(false));
    let preset = move |preset: TimeRange| {
        view! {
            <button
                class="menu-item"
                type="button"
                aria-pressed=move || (range.get() == preset).to_string()
                on:click=move |_| choose.run(preset)
            >
                {label(preset)}
            </button>
        }
    };
    let now = browser::now();
    let (from, to) = range.get_untracked().bounds(now);
    let text = |time: UnixNanos| RwSignal::new(format::field(time, browser::zone_minutes(time)));
    let from = text(from.unwrap_or(UnixNanos(now.0.saturating_sub(3_600_000_000_000))));
    let to = text(to.unwrap_or(now));
    let wrong = RwSignal::new(false);
    let apply = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let ends = browser::local_milliseconds(&from.get_untracked())
            .zip(browser::local_milliseconds(&to.get_untracked()));
        match ends {
            Some((from_unix_ms, to_unix_ms)) if from_unix_ms < to_unix_ms => {
                choose.run(TimeRange::Between { from_unix_ms, to_unix_ms });
            }
            _ => wrong.set(true),
        }
    };
    let field = |label: &'static str, text: RwSignal<String>| {
        view! {
            <label class="menu-field">
                <span>{label}</span>
                <input
                    class="input"
                    type="datetime-local"
                    step="1"
                    prop:value=move || text.get()
                    on:input=move |event| text.set(event_target_value(&event))
                />
            </label>
        }
    };
    view! {
        <div class="menu-scrim" on:click=move |_| open.set(false)></div>
        <div class="menu-body range-menu">
            <div class="range-presets" role="group" aria-label="Presets">
                {TimeRange::PRESETS.map(preset).collect_view()}
            </div>
            <form class="range-fixed" on:submit=apply>
                {field("From", from)}
                {field("To", to)}
                <Show when=move || wrong.get()>
                    <p class="field-error" role="alert">"The start must come before the end."</p>
                </Show>
                <button class="button button-primary" type="submit">"Apply"</button>
            </form>
        </div>
    }
}

/// Returns the words of the live switch.
fn live_text(is_silent: bool, is_live: bool) -> &'static str {
    match (is_silent, is_live) {
        (true, _) => "No answer",
        (false, true) => "Live",
        (false, false) => "Not live",
    }
}

/// The live switch.
#[component]
#[must_use]
pub fn LiveToggle() -> impl IntoView {
    let query = use_query();
    let moves = Memo::new(move |_| query.with(|query| TimeRange::read(query).is_open_ended()));
    let live = use_live();
    let edit = use_edit_query();
    let toggle = move || {
        let off = live.get_untracked().then_some("off");
        edit(History::Replace, &|query| query.set("live", off));
    };
    let clicked = toggle.clone();
    use_shortcuts().bind("L", "Switch live on or off", "Everywhere", toggle);
    let server = use_server();
    let silent = Memo::new(move |_| server.silent_since().is_some());
    let gap = Memo::new(move |_| {
        let gap = server.arrival_gap().filter(|_| live.get())?;
        gap.live_text()
    });
    let has_gap = Memo::new(move |_| gap.with(Option::is_some));
    let gap_words = move || {
        gap.get().map(|words| view! { <span class="live-gap">{format!(", {words}")}</span> })
    };
    let title = move || match (moves.get(), live.get()) {
        _ if silent.get() => "The server does not answer: nothing new can appear",
        _ if has_gap.get() => "New data appears by itself, but none arrives",
        (false, _) => "A fixed time range does not move on",
        (true, true) => "New data appears by itself",
        (true, false) => "Show new data as it arrives",
    };
    view! {
        <button
            class="button live"
            class:is-silent=move || silent.get()
            class:has-gap=move || has_gap.get()
            type="button"
            title=title
            aria-pressed=move || live.get().to_string()
            disabled=move || !moves.get()
            on:click=move |_| clicked()
        >
            <span class="live-dot" aria-hidden="true"></span>
            <span>{move || live_text(silent.get(), live.get())} {gap_words}</span>
        </button>
    }
}
