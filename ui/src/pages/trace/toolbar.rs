//! The tabs, the switches, the search field, and the keys of all of them. `?` lists the keys.

use leptos::{html, prelude::*};

use super::{
    page_signals::PageSignals,
    trace_state::{FIND_CHARS_MAX, SpanSelection, Tab},
};
use crate::{
    browser,
    components::{PartialNote, WatchedRequest},
    format,
    shortcuts::use_shortcuts,
};

const FIND_ID: &str = "trace-find";
/// Groups of keys in the list of shortcuts.
const ROWS: &str = "Trace: rows";
const VIEW: &str = "Trace: view";

/// The bar below the facts.
pub(crate) fn toolbar(page: PageSignals) -> impl IntoView {
    let services = move || page.model.with(|model| model.summary.services.len());
    let logs = move || page.model.with(|model| model.log_count);
    let records = WatchedRequest::new("The log records are not known", page.records);
    view! {
        <div class="trace-bar">
            <div class="tabs" role="tablist" aria-label="Views of the trace">
                <TabButton page=page tab=Tab::Waterfall words=|| "Waterfall".to_owned() />
                <TabButton page=page tab=Tab::Flame words=|| "Flame graph".to_owned() />
                <TabButton page=page tab=Tab::Tree words=|| "Call tree".to_owned() />
                <TabButton page=page tab=Tab::Table words=|| "Table".to_owned() />
                <TabButton page=page tab=Tab::Graph words=|| "Graph".to_owned() />
                <TabButton
                    page=page
                    tab=Tab::Services
                    words=move || format!("Services {}", services())
                />
                <TabButton
                    page=page
                    tab=Tab::Logs
                    words=move || format!("Logs {}", format::count(logs()))
                />
            </div>
            <span class="spacer"></span>
            <Show when=move || page.tab.get() == Tab::Waterfall>
                <div class="trace-switches">{switches(page)}</div>
            </Show>
            <Find page=page />
        </div>
        {missing_events(page)}
        <Show when=move || page.tab.get() == Tab::Waterfall>{records.note()}</Show>
    }
}

#[component]
fn TabButton(
    page: PageSignals,
    tab: Tab,
    words: impl Fn() -> String + Send + Sync + 'static,
) -> impl IntoView {
    let chosen = move || page.tab.get() == tab;
    view! {
        <button
            class="tab"
            aria-controls="trace-view"
            type="button"
            role="tab"
            aria-selected=move || chosen().to_string()
            on:click=move |_| page.state.update(|state| state.tab = tab)
        >
            {words}
        </button>
    }
}

/// A switch of the waterfall, which stays pressed while it is on.
struct Switch {
    words: fn(PageSignals) -> Option<&'static str>,
    /// Explanation for the pointer.
    title: fn(PageSignals) -> String,
    /// Its key, or empty.
    key: &'static str,
    /// Class of a swatch before the words, or empty.
    swatch: &'static str,
    /// Reports whether the trace has something to switch.
    is_offered: fn(PageSignals) -> bool,
    is_on: fn(PageSignals) -> bool,
    press: fn(PageSignals),
}

const SWITCHES: &[Switch] = &[
    Switch {
        words: |_| Some("Critical path"),
        title: |_| "Show what the transaction waited for".to_owned(),
        key: "c",
        swatch: "trace-switch-path",
        is_offered: |_| true,
        is_on: |page| page.critical_path.get(),
        press: PageSignals::toggle_path,
    },
    Switch {
        words: entry_words,
        title: |_| "Show log records and events under their spans".to_owned(),
        key: "l",
        swatch: "",
        is_offered: |page| entry_words(page).is_some(),
        is_on: |page| page.inline_logs.get(),
        press: PageSignals::toggle_logs,
    },
    Switch {
        words: |_| Some("Gaps"),
        title: |_| "Show queue time, and time in which a span had no open call".to_owned(),
        key: "",
        swatch: "",
        is_offered: |page| page.model.with(|model| model.has_gaps()),
        is_on: |page| page.state.with(|state| state.gaps),
        press: |page| page.state.update(|state| state.gaps = !state.gaps),
    },
    Switch {
        words: |_| Some("Orphans"),
        title: |_| "Show spans whose parent is missing, and those below them".to_owned(),
        key: "",
        swatch: "",
        is_offered: |page| page.model.with(|model| model.has_orphans()),
        is_on: |page| page.state.with(|state| state.orphans),
        press: |page| page.state.update(|state| state.orphans = !state.orphans),
    },
    Switch {
        words: |_| Some("Adjust clocks"),
        title: clock_words,
        key: "",
        swatch: "",
        is_offered: has_clocks,
        is_on: |page| page.state.with(|state| state.adjust_clocks),
        press: |page| page.state.update(|state| state.adjust_clocks = !state.adjust_clocks),
    },
    Switch {
        words: |_| Some("Only problems"),
        title: |_| {
            "Show only spans with a missing parent or another problem, and those above them"
                .to_owned()
        },
        key: "",
        swatch: "",
        is_offered: |page| page.model.with(|model| !model.rows_with_problems().is_empty()),
        is_on: |page| is_shown(page, SpanSelection::Problems),
        press: |page| page.toggle_shown(SpanSelection::Problems),
    },
    Switch {
        words: |_| Some("Group repeats"),
        title: |_| "Draw repeated calls as one row".to_owned(),
        key: "r",
        swatch: "",
        is_offered: |page| page.model.with(|model| model.has_repeats()),
        is_on: |page| page.state.with(|state| state.group_repeats),
        press: PageSignals::toggle_groups,
    },
];

fn switch_button(page: PageSignals, switch: &'static Switch) -> impl IntoView {
    view! {
        <Show when=move || (switch.is_offered)(page)>
            <button
                class="button button-ghost trace-switch"
                type="button"
                aria-pressed=move || (switch.is_on)(page).to_string()
                title=move || (switch.title)(page)
                on:click=move |_| (switch.press)(page)
            >
                {(!switch.swatch.is_empty())
                    .then(|| view! { <span class=switch.swatch aria-hidden="true"></span> })}
                {move || (switch.words)(page)}
                {(!switch.key.is_empty()).then(|| view! { <kbd>{switch.key}</kbd> })}
            </button>
        </Show>
    }
}

fn switches(page: PageSignals) -> impl IntoView {
    let zoomed = move || page.state.with(|state| state.zoom.is_some());
    view! {
        <Show when=zoomed>
            <button
                class="button button-ghost trace-switch"
                type="button"
                title="Show the whole trace"
                on:click=move |_| page.zoom_to(None)
            >
                "Whole trace"
                <kbd>"0"</kbd>
            </button>
        </Show>
        {SWITCHES.iter().map(|switch| switch_button(page, switch)).collect_view()}
    }
}

/// Returns the words for entries that can be shown under their spans, or `None` when the trace has
/// none.
fn entry_words(page: PageSignals) -> Option<&'static str> {
    page.model.with(|model| {
        let (drawn_events, _) = model.events().counts();
        match (model.log_count, drawn_events) {
            (0, 0) => None,
            (_, 0) => Some("Logs"),
            (0, _) => Some("Events"),
            _ => Some("Logs, events"),
        }
    })
}

/// A note when the trace has more events than are drawn.
fn missing_events(page: PageSignals) -> impl IntoView {
    move || {
        let (drawn, all) = page.model.with(|model| model.events().counts());
        let is_cut = drawn < all && page.tab.get() == Tab::Waterfall;
        is_cut.then(|| {
            let words = format!(
                "{} of {} are drawn: exceptions first, then those of the first spans. \
                 The details of a span have all of its events.",
                format::count(drawn),
                format::counted(all, "event")
            );
            view! { <PartialNote>{words}</PartialNote> }
        })
    }
}

/// Reports whether only these spans are shown.
fn is_shown(page: PageSignals, shown: SpanSelection) -> bool {
    page.state.with(|state| state.shown == shown)
}

/// Reports whether a host of the trace has a clock offset, corrected or not.
fn has_clocks(page: PageSignals) -> bool {
    page.model.with(|model| {
        let clocks = &model.assembly.clocks;
        model.assembly.clock_adjusted || clocks.iter().any(|clock| clock.offset_nano.0 != 0)
    })
}

/// Returns the clock offsets in words.
fn clock_words(page: PageSignals) -> String {
    page.model.with(|model| {
        let off = model.assembly.clocks.iter().filter(|clock| clock.offset_nano.0 != 0);
        let words: Vec<String> = off
            .take(8)
            .map(|clock| {
                let (host, offset) = (&clock.host, format::offset(clock.offset_nano.0));
                let fit = format!("{} of {} calls", clock.agreeing_count, clock.call_count);
                format!("{host} {offset} against {}, by {fit}", clock.compared_with)
            })
            .collect();
        format!("Bring the clocks of the hosts together: {}", words.join("; "))
    })
}

/// The search field with the number of matches.
#[component]
fn Find(page: PageSignals) -> impl IntoView {
    let field = NodeRef::<html::Input>::new();
    let text = move || page.state.with(|state| state.find.clone());
    let typed = move |event| {
        let text: String = event_target_value(&event).chars().take(FIND_CHARS_MAX).collect();
        page.state.update(|state| state.find = text);
    };
    let pressed = move |event: web_sys::KeyboardEvent| {
        match event.key().as_str() {
            "Enter" => page.go_to_match(!event.shift_key()),
            "Escape" => {
                page.state.update(|state| state.find.clear());
                if let Some(field) = field.get_untracked() {
                    let _refused = field.blur();
                }
            }
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    view! {
        <div class="trace-find">
            <input
                node_ref=field
                id=FIND_ID
                class="input"
                type="search"
                placeholder="Find, or { status = error }"
                title="Words that a span, its attributes, exceptions or log records say, or a TraceQL query in braces"
                aria-label="Find in this trace: any words of a span and its log records, or a TraceQL query"
                autocomplete="off"
                spellcheck="false"
                prop:value=text
                on:input=typed
                on:keydown=pressed
            />
            <Show when=move || text().is_empty()>
                <kbd>"f"</kbd>
            </Show>
            {move || found(page)}
        </div>
    }
}

/// Number of matches and position of the selected one, with buttons for the previous and the next.
fn found(page: PageSignals) -> Option<impl IntoView> {
    if page.state.with(|state| state.find.trim().is_empty()) {
        return None;
    }
    let (place, all) = page.matches.with(|matches| {
        let place = page.selected.get().and_then(|row| matches.place(row));
        (place, matches.rows().len() as u64)
    });
    let error = page.found.error();
    let words = match (place, all) {
        (_, 0) if page.found.pending() => "…".to_owned(),
        (_, 0) => "none".to_owned(),
        (Some(place), all) => {
            format!("{} of {}", format::count(place as u64), format::count(all))
        }
        (None, all) => format::count(all),
    };
    let error = error.map(|error| {
        view! {
            <p class="trace-find-error" role="alert">
                {error.detail()}
                " "
                <button class="link" type="button" on:click=move |_| page.found.refresh()>
                    "Try again"
                </button>
            </p>
        }
    });
    Some(view! {
        {error}
        <span class="trace-find-count" role="status">
            {words}
        </span>
        <Show when=move || page.tab.get() == Tab::Waterfall>
            <button
                class="button button-ghost button-small"
                type="button"
                aria-pressed=move || is_shown(page, SpanSelection::Matches).to_string()
                title="Show only the matches and the spans above them"
                on:click=move |_| page.toggle_shown(SpanSelection::Matches)
            >
                "Only"
            </button>
        </Show>
        <button
            class="button button-ghost button-small"
            type="button"
            title="Previous match, in the waterfall ( N )"
            aria-label="Previous match"
            on:click=move |_| page.go_to_match(false)
        >
            "‹"
        </button>
        <button
            class="button button-ghost button-small"
            type="button"
            title="Next match, in the waterfall ( n )"
            aria-label="Next match"
            on:click=move |_| page.go_to_match(true)
        >
            "›"
        </button>
    })
}

/// Focuses the search field.
pub(crate) fn focus_find() {
    browser::focus(FIND_ID);
}

/// Registers the keys of the page while the page exists.
pub(crate) fn bind_keys(page: PageSignals) {
    let keys = use_shortcuts();
    keys.bind("j", "Next row", ROWS, move || page.move_by(1));
    keys.bind("k", "Previous row", ROWS, move || page.move_by(-1));
    keys.bind("e", "Next error", ROWS, move || page.go_to_error(true));
    keys.bind("E", "Previous error", ROWS, move || page.go_to_error(false));
    keys.bind("n", "Next match", ROWS, move || page.go_to_match(true));
    keys.bind("N", "Previous match", ROWS, move || page.go_to_match(false));
    keys.bind("v", "Next event of the span", ROWS, move || page.show_next_event());
    keys.bind("o", "Open or close the details", ROWS, move || page.toggle_panel());
    keys.bind("[", "Fold all", ROWS, move || page.fold_all());
    keys.bind("]", "Unfold all", ROWS, move || page.unfold_all());
    keys.bind("f", "Find", VIEW, focus_find);
    keys.bind("c", "Critical path on or off", VIEW, move || page.toggle_path());
    keys.bind("l", "Logs and events in line on or off", VIEW, move || page.toggle_logs());
    keys.bind("r", "Group repeated calls on or off", VIEW, move || page.toggle_groups());
    keys.bind("+", "Zoom in", VIEW, move || page.zoom_by(0.5, 0.5));
    keys.bind("-", "Zoom out", VIEW, move || page.zoom_by(0.5, 2.0));
    keys.bind("<", "Earlier, when zoomed in", VIEW, move || page.pan_by(-0.2));
    keys.bind(">", "Later, when zoomed in", VIEW, move || page.pan_by(0.2));
    keys.bind("0", "Show the whole trace", VIEW, move || page.zoom_to(None));
    keys.bind("Escape", "Back: zoom, find, details", VIEW, move || page.step_back());
}
