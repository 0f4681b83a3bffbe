//! Log patterns, with new ones and more frequent ones compared with the baseline.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    api::{LogPattern, LogPatternList, PatternChange},
    otlp::Severity,
};

use super::use_refreshed_analysis;
use crate::{
    api::{self, analysis::log_patterns},
    browser,
    charts::time_buckets::TimeBuckets,
    components::{
        CopyButton, Panel, ServiceName, SortHead, SortOrder, SparkBars, SparkTone, severity_class,
        severity_tone, use_sort,
    },
    format::{self, rates},
    page_time::{PageTime, partial_answer_text},
    url::{History, LogListing, LogState, TimeRange, phrase},
};

pub(super) const NANOS_PER_MILLI: u64 = 1_000_000;

/// Returns the sort key of a pattern's change: new ones first, then those that are back, gone ones
/// last.
fn rank(pattern: &LogPattern) -> f64 {
    match pattern.change {
        PatternChange::New if is_back(pattern) => f64::MAX,
        PatternChange::New => f64::INFINITY,
        PatternChange::Gone => 0.0,
        // Its factor is not shown, because it is within chance.
        PatternChange::Same => 1.0,
        PatternChange::More | PatternChange::Fewer => pattern.factor.unwrap_or(1.0),
    }
}

/// The table of patterns.
#[component]
pub(super) fn LogPatterns(
    list_query: Memo<LogState>,
    time: PageTime,
    /// The open pattern.
    open: Memo<Option<String>>,
    /// Called with the changed state.
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let answer = use_refreshed_analysis(time, move |analysis| {
        log_patterns(&list_query.with(|state| analysis.with_log_filters(state)))
    });
    let order = use_sort("-change");
    let note = move || {
        let answer = answer.value()?;
        let others = (answer.other_count > 0)
            .then(|| format!(", {} more in none", format::count(answer.other_count)));
        Some(format!(
            "{} in {}{}",
            format::counted(answer.count, "record"),
            counted_patterns(&answer),
            others.unwrap_or_default()
        ))
    };
    let sentence = move || answer.value().and_then(|answer| change_sentence(&answer));
    let missing = |answer: &LogPatternList| partial_answer_text(&answer.searched);
    let draw = move |answer: Arc<LogPatternList>| {
        move || {
            let mut rows = answer.patterns.clone();
            sort(&mut rows, &order.get());
            let window = answer.window;
            let buckets = TimeBuckets::from_window(&window);
            let row =
                |pattern: LogPattern| view! { <Row pattern buckets open list_query change /> };
            let length = format::length(window.end_unix_nano.since(window.start_unix_nano));
            let legend = legend(&rows, answer.is_history_complete, &length);
            let legend =
                legend.map(|words| view! { <p class="log-patterns-note mute">{words}</p> });
            view! {
                <table class="table log-patterns" aria-label="Log patterns">
                    <thead>
                        <tr>
                            <th scope="col">"Severity"</th>
                            <th scope="col">"Service"</th>
                            <th scope="col">"Pattern"</th>
                            <SortHead column="count" label="Count" order numeric=true />
                            <th scope="col" class="wide">
                                "Over time"
                            </th>
                            <SortHead column="change" label="Change" order numeric=true />
                        </tr>
                    </thead>
                    <tbody>{rows.into_iter().map(row).collect_view()}</tbody>
                </table>
                {legend}
            }
        }
    };
    view! {
        <p class="sentence">{sentence}</p>
        <Panel
            title="Patterns"
            note=Signal::derive(move || note().unwrap_or_default())
            state=answer
            is_empty=|answer| answer.patterns.is_empty()
            missing=missing
            empty="No record matches in this time."
            rows=10
            draw=draw
        />
    }
}

/// Returns the meaning of the marks of changes that occur, or the time that is compared where none
/// does. `None` where no record of that time is known.
fn legend(patterns: &[LogPattern], is_history_complete: bool, length: &str) -> Option<String> {
    let has = |is_marked: fn(&LogPattern) -> bool| patterns.iter().any(is_marked);
    let mut marks = Vec::new();
    if has(is_new) {
        let of_week = if is_history_complete { ", nor in the week" } else { "" };
        marks.push(format!("NEW: none in the {length} before{of_week}."));
    }
    if has(is_back) {
        marks.push(format!("BACK: none in the {length} before, but earlier."));
    }
    if has(has_factor) {
        marks.push(format!("×: compared with the {length} before."));
    }
    if marks.is_empty() && has(|pattern| pattern.base_count > 0) {
        marks.push(format!("as usual: compared with the {length} before."));
    }
    (!marks.is_empty()).then(|| marks.join(" "))
}

/// Reports whether no record of the pattern is known of the time before.
fn is_new(pattern: &LogPattern) -> bool {
    pattern.change == PatternChange::New && pattern.history_count == 0
}

/// Reports whether the pattern was seen before, but not in the time that is compared.
fn is_back(pattern: &LogPattern) -> bool {
    pattern.change == PatternChange::New && pattern.history_count > 0
}

fn has_factor(pattern: &LogPattern) -> bool {
    matches!(pattern.change, PatternChange::More | PatternChange::Fewer) && pattern.factor.is_some()
}

/// Returns the sentence above the patterns: the existence of new and of more frequent ones. `None`
/// where nothing is known of the time before, or of patterns that are not listed.
fn change_sentence(answer: &LogPatternList) -> Option<&'static str> {
    let patterns = &answer.patterns;
    let has_new = patterns.iter().any(is_new);
    let has_more = patterns.iter().any(|pattern| pattern.change == PatternChange::More);
    let is_compared =
        answer.base_other_count > 0 || patterns.iter().any(|pattern| pattern.base_count > 0);
    if !is_compared {
        return None;
    }
    match (has_new, has_more) {
        (true, true) => {
            Some("At least one pattern is new, and at least one comes more often than before.")
        }
        (true, false) => Some("At least one pattern is new."),
        (false, true) => Some("At least one pattern comes more often than before."),
        (false, false) => {
            let is_whole =
                answer.searched.complete && patterns.len() as u64 >= answer.pattern_count;
            is_whole.then_some("Nothing new, and nothing that comes more often than before.")
        }
    }
}

/// Returns the number of patterns, and of the listed ones when some are not listed.
pub(super) fn counted_patterns(answer: &LogPatternList) -> String {
    let counted = format::counted(answer.pattern_count, "pattern");
    match answer.patterns.len() as u64 {
        listed if listed < answer.pattern_count => {
            format!("{counted} ({} listed)", format::count(listed))
        }
        _ => counted,
    }
}

/// Sorts the rows. Equal ones are in order of their severity, the most severe first, then of their
/// count.
fn sort(rows: &mut [LogPattern], order: &SortOrder) {
    rows.sort_by(|one, other| {
        let first = match order.column.as_str() {
            "count" => order.compare(one.count, other.count),
            _ => order.compare(rank(one), rank(other)),
        };
        let severity = |pattern: &LogPattern| Severity::from_word(&pattern.severity);
        first
            .then_with(|| severity(other).cmp(&severity(one)))
            .then_with(|| other.count.cmp(&one.count))
            .then_with(|| one.id.cmp(&other.id))
    });
}

#[component]
fn Row(
    pattern: LogPattern,
    buckets: TimeBuckets,
    open: Memo<Option<String>>,
    list_query: Memo<LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let is_open = is_open_in(open, &pattern);
    let values = buckets.counts(&pattern.steps);
    let tone = severity_tone(&pattern.severity);
    let changed = change_view(&pattern);
    let label = format!("Records like {}", pattern.template);
    let details = StoredValue::new(pattern.clone());
    view! {
        <tr class:is-open=move || is_open.get()>
            <PatternCells details is_open list_query change />
            <td class="num">{format::count(pattern.count)}</td>
            <td class="wide">
                <SparkBars values is_last_partial=buckets.is_last_partial() tone label />
            </td>
            <td class="num">{changed}</td>
        </tr>
        <Show when=move || is_open.get()>
            <tr class="log-pattern-open">
                <td colspan="6">
                    {details.with_value(|pattern| pattern_details(pattern, list_query, change))}
                </td>
            </tr>
        </Show>
    }
}

/// Reports whether a pattern is the open one.
pub(super) fn is_open_in(open: Memo<Option<String>>, pattern: &LogPattern) -> Memo<bool> {
    let id = pattern.id.clone();
    Memo::new(move |_| open.with(|open| open.as_deref() == Some(id.as_str())))
}

/// The first cells of a pattern's row: severity, service, and the template, which opens and closes
/// the row.
#[component]
pub(super) fn PatternCells(
    details: StoredValue<LogPattern>,
    is_open: Memo<bool>,
    list_query: Memo<LogState>,
    /// Called with the changed state.
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let toggle = move |_| {
        let id = details.with_value(|pattern| pattern.id.clone());
        let open = (!is_open.get_untracked()).then_some(id);
        change.run((LogState { open, ..list_query.get_untracked() }, History::Replace));
    };
    details.with_value(|pattern| {
        view! {
            <td>
                <span class=severity_class(&pattern.severity)>
                    {pattern.severity.to_uppercase()}
                </span>
            </td>
            <td>
                <ServiceName service=pattern.service.clone() />
            </td>
            <td class="grow">
                <button
                    class="log-pattern"
                    type="button"
                    title=pattern.template.clone()
                    aria-expanded=move || is_open.get().to_string()
                    on:click=toggle
                >
                    {template(&pattern.template)}
                </button>
            </td>
        }
    })
}

/// The template, with variable parts distinct from the words.
fn template(template: &str) -> impl IntoView + use<> {
    let mut parts = Vec::new();
    for (index, part) in template.split("<*>").enumerate() {
        if index > 0 {
            parts.push(view! { <span class="log-hole">"…"</span> }.into_any());
        }
        parts.push(view! { <bdi>{part.to_owned()}</bdi> }.into_any());
    }
    parts
}

/// The change of a pattern as a word or a factor.
pub(super) fn change_view(pattern: &LogPattern) -> AnyView {
    let is_bad = severity_tone(&pattern.severity) != SparkTone::Plain;
    match (pattern.change, pattern.factor) {
        (PatternChange::New, _) if is_back(pattern) => {
            view! { <span class="badge">"BACK"</span> }.into_any()
        }
        (PatternChange::New, _) if is_bad => view! { <span class="new">"NEW"</span> }.into_any(),
        (PatternChange::New, _) => view! { <span class="badge">"NEW"</span> }.into_any(),
        (PatternChange::Gone, _) => view! { <span class="badge">"GONE"</span> }.into_any(),
        (PatternChange::More | PatternChange::Fewer, Some(factor)) => {
            let class = if factor > 1.0 && is_bad { "is-error" } else { "" };
            view! { <span class=class>{rates::factor(factor)}</span> }.into_any()
        }
        _ => view! { <span class="mute">"as usual"</span> }.into_any(),
    }
}

/// The last record of a pattern, with links to its lines, to the first of them, and to a trace.
pub(super) fn pattern_details(
    pattern: &LogPattern,
    list_query: Memo<LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView + use<> {
    let words = longest_constant_part(&pattern.template);
    let service = pattern.service.clone();
    let lines = Callback::new(move |range: Option<TimeRange>| {
        let asked = list_query.get_untracked();
        let state = LogState {
            query: (!words.is_empty()).then(|| phrase(&words)),
            service: (!service.is_empty()).then(|| service.clone()),
            view: LogListing::Lines,
            open: None,
            range: range.unwrap_or(asked.range),
            ..asked
        };
        change.run((state, History::Push));
    });
    let first = pattern.first_seen_unix_nano;
    let from_unix_ms = first.0 / NANOS_PER_MILLI;
    let moment = TimeRange::Between { from_unix_ms, to_unix_ms: from_unix_ms + 1 };
    let first = format::when(first, browser::now(), browser::zone_minutes(first));
    let trace = pattern.trace_id.map(|trace| {
        view! {
            <a href=api::trace_address(trace, None) class="button">
                "Open its trace ↗"
            </a>
        }
    });
    let example = pattern.example.clone();
    view! {
        <div class="log-pattern-details">
            <p class="mute">"The last one"</p>
            <div class="code">
                <pre>{example.clone()}</pre>
                <CopyButton text=example label="Copy the message" />
            </div>
            <div class="state-actions log-pattern-actions">
                <button class="button" type="button" on:click=move |_| lines.run(None)>
                    "Show its lines"
                </button>
                <button class="button" type="button" on:click=move |_| lines.run(Some(moment))>
                    {format!("Show the first one, {first}")}
                </button>
                {trace}
            </div>
        </div>
    }
}

/// Returns the longest constant part of a template. A search for it finds the lines.
fn longest_constant_part(template: &str) -> String {
    let parts = template.split("<*>").map(str::trim);
    parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{Searched, TimeWindow},
    };

    use super::{
        LogPattern, LogPatternList, PatternChange, SortOrder, change_sentence, legend,
        longest_constant_part, sort,
    };

    fn pattern(id: &str, count: u64, change: &str, factor: Option<f64>) -> LogPattern {
        serde_json::from_value(serde_json::json!({
            "id": id, "service": "shop", "template": "a <*>", "count": count, "severity": "info",
            "isNew": change == "new", "firstSeenUnixNano": "1", "lastSeenUnixNano": "1",
            "steps": [], "example": "a 1", "change": change, "factor": factor,
        }))
        .unwrap()
    }

    #[test]
    fn new_patterns_and_multiplied_ones_come_first() {
        let mut rows = [
            pattern("a", 110, "same", Some(1.1)),
            pattern("b", 50, "more", Some(10.0)),
            pattern("c", 1, "new", None),
            pattern("d", 9, "same", None),
            pattern("e", 0, "gone", None),
        ];
        let ids = |rows: &[LogPattern]| rows.iter().map(|one| one.id.clone()).collect::<String>();
        sort(&mut rows, &SortOrder::parse("-change"));
        assert_eq!(ids(&rows), "cbade");
        rows[0].history_count = 7;
        rows[1].change = PatternChange::New;
        sort(&mut rows, &SortOrder::parse("-change"));
        assert_eq!(ids(&rows), "bcade", "one that is back comes after a new one");
        sort(&mut rows, &SortOrder::parse("-count"));
        assert_eq!(ids(&rows), "abdce");
    }

    #[test]
    fn the_most_severe_of_equally_changed_patterns_come_first() {
        let of = |id: &str, count: u64, severity: &str| LogPattern {
            severity: severity.to_owned(),
            ..pattern(id, count, "same", None)
        };
        let mut rows = [
            of("a", 900, "info"),
            of("b", 9, "error"),
            of("c", 40, "warn"),
            of("d", 30, "error"),
            of("e", 999, ""),
            pattern("f", 1, "new", None),
        ];
        let ids = |rows: &[LogPattern]| rows.iter().map(|one| one.id.clone()).collect::<String>();
        sort(&mut rows, &SortOrder::parse("-change"));
        assert_eq!(ids(&rows), "fdbcae");
        sort(&mut rows, &SortOrder::parse("-count"));
        assert_eq!(ids(&rows), "eacdbf");
    }

    #[test]
    fn marks_of_changes_are_explained_where_they_occur() {
        let mut rows = vec![pattern("a", 9, "same", Some(1.0)), pattern("b", 9, "gone", None)];
        assert_eq!(legend(&rows, true, "1 h"), None, "nothing is known of the hour before");
        rows[0].base_count = 9;
        let usual = "as usual: compared with the 1 h before.";
        assert_eq!(legend(&rows, true, "1 h").as_deref(), Some(usual));
        rows.push(pattern("c", 9, "fewer", Some(0.2)));
        assert_eq!(legend(&rows, true, "1 h").as_deref(), Some("×: compared with the 1 h before."));
        rows.push(pattern("d", 9, "new", None));
        let both = "NEW: none in the 1 h before. ×: compared with the 1 h before.";
        assert_eq!(legend(&rows, false, "1 h").as_deref(), Some(both));
        let both = "NEW: none in the 1 h before, nor in the week. ×: compared with the 1 h before.";
        assert_eq!(legend(&rows, true, "1 h").as_deref(), Some(both));
        rows.truncate(2);
        rows.push(LogPattern { history_count: 1, ..pattern("e", 9, "new", None) });
        let back = "BACK: none in the 1 h before, but earlier.";
        assert_eq!(legend(&rows, true, "1 h").as_deref(), Some(back));
    }

    #[test]
    fn the_sentence_says_that_something_is_new_or_that_nothing_is() {
        let window = TimeWindow {
            start_unix_nano: UnixNanos(10),
            end_unix_nano: UnixNanos(20),
            step_nano: DurationNanos(1),
        };
        let usual = LogPattern { base_count: 9, ..pattern("a", 9, "same", Some(1.0)) };
        let searched =
            Searched { rows: 0, files: 0, elapsed_nano: DurationNanos(0), complete: true };
        let mut list = LogPatternList {
            window,
            known_since_unix_nano: UnixNanos(0),
            known_until_unix_nano: UnixNanos(10),
            patterns: vec![usual],
            pattern_count: 1,
            count: 9,
            other_count: 0,
            base_other_count: 0,
            is_history_complete: true,
            searched,
        };
        let nothing = Some("Nothing new, and nothing that comes more often than before.");
        assert_eq!(change_sentence(&list), nothing);
        list.pattern_count = 2;
        assert_eq!(change_sentence(&list), None, "one is not listed");
        list.patterns.push(pattern("b", 1, "new", None));
        assert_eq!(change_sentence(&list), Some("At least one pattern is new."));
        list.patterns[0].base_count = 0;
        assert_eq!(change_sentence(&list), None, "nothing came before");
    }

    #[test]
    fn lines_are_found_by_the_longest_words_of_a_template() {
        assert_eq!(
            longest_constant_part("charge <*> timed out, retrying <*>"),
            "timed out, retrying"
        );
        assert_eq!(longest_constant_part("<*>"), "");
    }
}
