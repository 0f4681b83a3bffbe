//! Messages that are new, gone, or have another rate than in the baseline, or than in another time
//! range that the address names. The API pairs them.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{LogPattern, LogPatternList},
};

use super::{
    patterns::{
        NANOS_PER_MILLI, PatternCells, change_view, counted_patterns, is_open_in, pattern_details,
    },
    use_refreshed_analysis,
};
use crate::{
    api::analysis::log_patterns,
    browser,
    components::Panel,
    format::{self, rates},
    page_time::{PageTime, partial_answer_text},
    request_state::RequestState,
    url::{History, LogState, TimeRange},
};

/// The table of differences.
#[component]
pub(super) fn LogDifferences(
    list_query: Memo<LogState>,
    time: PageTime,
    /// The open pattern.
    open: Memo<Option<String>>,
    /// Called with the changed state.
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let answer = use_refreshed_analysis(time, move |analysis| {
        log_patterns(&list_query.with(|state| {
            let milli = |number: u64| number.saturating_mul(NANOS_PER_MILLI);
            analysis
                .with("list", "changed")
                .with_log_filters(state)
                .with_some("baselineStart", state.base.map(|(from, _)| milli(from)))
                .with_some("baselineEnd", state.base.map(|(_, to)| milli(to)))
        }))
    });
    let note = move || {
        let answer = answer.value()?;
        Some(format!("{} changed, {}", counted_patterns(&answer), compared_with(&answer)))
    };
    let missing = |answer: &LogPatternList| partial_answer_text(&answer.searched);
    let draw = move |answer: Arc<LogPatternList>| table(&answer, list_query, open, change);
    let tools = ViewFn::from(move || base_tools(answer, list_query, change));
    view! {
        <Panel
            title="Differences"
            note=Signal::derive(move || note().unwrap_or_default())
            tools
            state=answer
            is_empty=|answer| answer.patterns.is_empty()
            missing=missing
            empty="No pattern is new, gone, or comes at another rate than in the time it is compared with."
            rows=8
            draw=draw
        />
    }
}

/// Returns the compared time range in words.
fn compared_with(answer: &LogPatternList) -> String {
    let (from, to) = (answer.known_since_unix_nano, answer.known_until_unix_nano);
    if to == answer.window.start_unix_nano {
        return format!("against {}", format::time_before(to.since(from)));
    }
    let now = browser::now();
    let moment = |time| browser::local_minute(time, now);
    format!("against {} to {}", moment(from), moment(to))
}

/// The buttons that choose the baseline: this time for comparison with a later one, or the time
/// before again.
fn base_tools(
    answer: RequestState<LogPatternList>,
    list_query: Memo<LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let keep = move |_| {
        let Some(answer) = answer.value() else { return };
        let milli = |time: UnixNanos| time.0 / NANOS_PER_MILLI;
        let window = answer.window;
        let base = (milli(window.start_unix_nano), milli(window.end_unix_nano));
        change.run((LogState { base: Some(base), ..list_query.get_untracked() }, History::Push));
    };
    let drop_base = move |_| {
        change.run((LogState { base: None, ..list_query.get_untracked() }, History::Push));
    };
    let has_base = Memo::new(move |_| list_query.with(|state| state.base.is_some()));
    view! {
        <Show
            when=move || has_base.get()
            fallback=move || {
                view! {
                    <button
                        class="button"
                        type="button"
                        title="Keep this time as the one that others are compared with; then choose another one above"
                        on:click=keep
                    >
                        "Compare others with this time"
                    </button>
                }
            }
        >
            <button class="button" type="button" on:click=drop_base>
                "Compare with the time before"
            </button>
        </Show>
    }
}

fn table(
    answer: &LogPatternList,
    list_query: Memo<LogState>,
    open: Memo<Option<String>>,
    change: Callback<(LogState, History)>,
) -> impl IntoView + use<> {
    let rows = answer.patterns.iter().cloned();
    let rows = rows.map(|pattern| view! { <DifferenceRow pattern list_query open change /> });
    view! {
        <table class="table log-patterns log-differences" aria-label="Log differences">
            <thead>
                <tr>
                    <th scope="col">"Severity"</th>
                    <th scope="col">"Service"</th>
                    <th scope="col">"Pattern"</th>
                    {["Was", "Is", "per min was", "per min is", "Change"]
                        .map(|name| {
                            let class = if name.starts_with("per") { "num wide" } else { "num" };
                            view! {
                                <th scope="col" class=class>
                                    {name}
                                </th>
                            }
                        })}
                </tr>
            </thead>
            <tbody>{rows.collect_view()}</tbody>
        </table>
    }
}

#[component]
fn DifferenceRow(
    pattern: LogPattern,
    list_query: Memo<LogState>,
    open: Memo<Option<String>>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let is_open = is_open_in(open, &pattern);
    let details = StoredValue::new(pattern.clone());
    // Lines of a pattern that is gone are in the baseline.
    let lines_query = Memo::new(move |_| {
        let state = list_query.get();
        let is_gone = details.with_value(|pattern| pattern.count == 0);
        let range = details.with_value(|pattern| TimeRange::Between {
            from_unix_ms: pattern.first_seen_unix_nano.0 / NANOS_PER_MILLI,
            to_unix_ms: pattern.last_seen_unix_nano.0 / NANOS_PER_MILLI + 1,
        });
        if is_gone { LogState { range, ..state } } else { state }
    });
    view! {
        <tr class:is-open=move || is_open.get()>
            <PatternCells details is_open list_query change />
            <td class="num mute">{format::count(pattern.base_count)}</td>
            <td class="num">{format::count(pattern.count)}</td>
            <td class="num wide mute">{rates::per_minute(pattern.base_per_second)}</td>
            <td class="num wide">{rates::per_minute(pattern.per_second)}</td>
            <td class="num">{change_view(&pattern)}</td>
        </tr>
        <Show when=move || is_open.get()>
            <tr class="log-pattern-open">
                <td colspan="8">
                    {details.with_value(|pattern| pattern_details(pattern, lines_query, change))}
                </td>
            </tr>
        </Show>
    }
}
