//! Messages that are alike, together: new ones and multiplied ones against the time before.

use std::{collections::HashMap, sync::Arc};

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::api::{LogPattern, LogPatternList};

use super::log_list::severity_class;
use crate::{
    api::{self, analysis::log_patterns},
    asked::{AskedTime, before, incomplete},
    components::{
        CopyButton, Panel, ServiceName, SortHead, SortOrder, SparkBars, SparkTone, use_sort,
    },
    format::{self, rates},
    remote::Remote,
    url::{LogListing, LogState, Step, phrase},
};

/// Patterns that are drawn.
const SHOWN_MAX: usize = 200;
/// A count that changed by no more than this factor either way is as usual.
const USUAL: f64 = 1.5;

/// A pattern's count against the time before.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    /// No such message came in the time before.
    New,
    /// So many times as many.
    Times(f64),
    /// Nothing is known of the time before.
    Unknown,
}

impl Change {
    fn from_counts(pattern: &LogPattern, before: Option<&HashMap<String, u64>>) -> Self {
        if pattern.is_new {
            return Self::New;
        }
        match before.and_then(|before| before.get(&pattern.id)).copied() {
            Some(count) if count > 0 => Self::Times(pattern.count as f64 / count as f64),
            _ => Self::Unknown,
        }
    }

    /// Distance from usual, for sorting.
    fn rank(self) -> f64 {
        match self {
            Self::New => f64::MAX,
            Self::Times(times) => times,
            Self::Unknown => 1.0,
        }
    }
}

/// The table of patterns.
#[component]
pub(super) fn LogPatterns(
    question: Memo<LogState>,
    time: AskedTime,
    /// The pattern that is open.
    open: Memo<Option<String>>,
    /// Called with the state as it should be.
    change: Callback<(LogState, Step)>,
) -> impl IntoView {
    let answer = Remote::<LogPatternList>::new(move || {
        let analysis = time.analysis();
        Some(log_patterns(&question.with(|state| analysis.with_log_filters(state))))
    });
    // As many patterns as there are may have been in the time before.
    let earlier = Remote::<LogPatternList>::new(move || {
        let window = answer.value()?.window;
        Some(log_patterns(&question.with(|state| before(window).with_log_filters(state))))
    });
    time.refresh_while_live(move || answer.pending() || earlier.pending());
    let order = use_sort("-change");
    let note = move || {
        let answer = answer.value()?;
        let others = (answer.other_count > 0)
            .then(|| format!(", {} more in none", format::count(answer.other_count)));
        Some(format!(
            "{} in {}{}",
            format::counted(answer.count, "record"),
            format::counted(answer.pattern_count, "pattern"),
            others.unwrap_or_default()
        ))
    };
    let missing = |answer: &LogPatternList| incomplete(&answer.searched);
    let draw = move |answer: Arc<LogPatternList>| {
        move || {
            let counts = earlier.value().map(|list| counts_by_id(&list));
            let mut rows: Vec<(LogPattern, Change)> = answer
                .patterns
                .iter()
                .map(|pattern| (pattern.clone(), Change::from_counts(pattern, counts.as_ref())))
                .collect();
            sort(&mut rows, &order.get());
            rows.truncate(SHOWN_MAX);
            let row = |(pattern, changed): (LogPattern, Change)| {
                view! { <Row pattern changed open question change /> }
            };
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
                <p class="log-patterns-note mute">
                    "New: not once in as long a time before. A factor compares with that time."
                </p>
            }
        }
    };
    view! {
        <Panel
            title="Patterns"
            note=Signal::derive(move || note().unwrap_or_default())
            remote=answer
            is_empty=|answer| answer.patterns.is_empty()
            missing=missing
            empty="No record in this time is like that."
            rows=10
            draw=draw
        />
    }
}

fn counts_by_id(list: &LogPatternList) -> HashMap<String, u64> {
    list.patterns.iter().map(|pattern| (pattern.id.clone(), pattern.count)).collect()
}

fn sort(rows: &mut [(LogPattern, Change)], order: &SortOrder) {
    let by_count = |one: &LogPattern, other: &LogPattern| other.count.cmp(&one.count);
    rows.sort_by(|(one, changed), (other, other_changed)| {
        let first = match order.column.as_str() {
            "count" => order.compare(one.count, other.count),
            _ => order.compare(changed.rank(), other_changed.rank()),
        };
        first.then_with(|| by_count(one, other)).then_with(|| one.id.cmp(&other.id))
    });
}

#[component]
fn Row(
    pattern: LogPattern,
    changed: Change,
    open: Memo<Option<String>>,
    question: Memo<LogState>,
    change: Callback<(LogState, Step)>,
) -> impl IntoView {
    let id = pattern.id.clone();
    let is_open = Memo::new(move |_| open.with(|open| open.as_deref() == Some(id.as_str())));
    let values = pattern.steps.iter().map(|step| step.count as f64).collect();
    let tone = match pattern.severity.as_str() {
        "error" | "fatal" => SparkTone::Error,
        "warn" => SparkTone::Warning,
        _ => SparkTone::Plain,
    };
    let is_bad = matches!(pattern.severity.as_str(), "warn" | "error" | "fatal");
    let toggled = pattern.id.clone();
    let toggle = move |_| {
        let open = (!is_open.get_untracked()).then(|| toggled.clone());
        let state = LogState { view: LogListing::Patterns, open, ..question.get_untracked() };
        change.run((state, Step::Replace));
    };
    let label = format!("Records like {}", pattern.template);
    let details = StoredValue::new(pattern.clone());
    view! {
        <tr class:is-open=move || is_open.get()>
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
            <td class="num">{format::count(pattern.count)}</td>
            <td class="wide">
                <SparkBars values tone label />
            </td>
            <td class="num">{change_view(changed, is_bad)}</td>
        </tr>
        <Show when=move || is_open.get()>
            <tr class="log-pattern-open">
                <td colspan="6">
                    {details.with_value(|pattern| details_of(pattern, question, change))}
                </td>
            </tr>
        </Show>
    }
}

/// The template, the open places apart from the words.
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

fn change_view(changed: Change, is_bad: bool) -> AnyView {
    match changed {
        Change::New if is_bad => view! { <span class="new">"NEW"</span> }.into_any(),
        Change::New => view! { <span class="badge">"NEW"</span> }.into_any(),
        Change::Times(times) if (1.0 / USUAL..=USUAL).contains(&times) => {
            view! { <span class="mute">"as usual"</span> }.into_any()
        }
        Change::Times(times) => {
            let class = if times > 1.0 && is_bad { "is-error" } else { "" };
            view! { <span class=class>{rates::factor(times)}</span> }.into_any()
        }
        Change::Unknown => view! { <span class="mute">"–"</span> }.into_any(),
    }
}

/// The last record of a pattern, and the ways on.
fn details_of(
    pattern: &LogPattern,
    question: Memo<LogState>,
    change: Callback<(LogState, Step)>,
) -> impl IntoView + use<> {
    let words = longest_words(&pattern.template);
    let service = pattern.service.clone();
    let lines = move |_| {
        let state = LogState {
            query: (!words.is_empty()).then(|| phrase(&words)),
            service: (!service.is_empty()).then(|| service.clone()),
            view: LogListing::Lines,
            open: None,
            ..question.get_untracked()
        };
        change.run((state, Step::New));
    };
    let trace = pattern.trace_id.map(|trace| {
        view! {
            <A href=api::trace_address(trace, None) attr:class="button">
                "Open its trace ↗"
            </A>
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
                <button class="button" type="button" on:click=lines>
                    "Show its lines"
                </button>
                {trace}
            </div>
        </div>
    }
}

/// The longest part of a template that is the same in all its messages: what lines are found by.
fn longest_words(template: &str) -> String {
    let parts = template.split("<*>").map(str::trim);
    parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Change, LogPattern, SortOrder, longest_words, sort};

    fn pattern(id: &str, count: u64, is_new: bool) -> LogPattern {
        serde_json::from_value(serde_json::json!({
            "id": id, "service": "shop", "template": "a <*>", "count": count, "severity": "info",
            "isNew": is_new, "firstSeenUnixNano": "1", "lastSeenUnixNano": "1", "steps": [],
            "example": "a 1",
        }))
        .unwrap()
    }

    #[test]
    fn new_patterns_and_multiplied_ones_come_first() {
        let before = [("a".to_owned(), 100), ("b".to_owned(), 5)].into();
        let mut rows: Vec<_> =
            [("a", 110, false), ("b", 50, false), ("c", 1, true), ("d", 9, false)]
                .map(|(id, count, is_new)| pattern(id, count, is_new))
                .into_iter()
                .map(|pattern| (pattern.clone(), Change::from_counts(&pattern, Some(&before))))
                .collect();
        let ids = |rows: &[(LogPattern, Change)]| {
            rows.iter().map(|(pattern, _)| pattern.id.clone()).collect::<String>()
        };
        sort(&mut rows, &SortOrder::parse("-change"));
        assert_eq!(ids(&rows), "cbad");
        sort(&mut rows, &SortOrder::parse("-count"));
        assert_eq!(ids(&rows), "abdc");
        assert_eq!(
            Change::from_counts(&pattern("b", 50, false), Some(&before)),
            Change::Times(10.0)
        );
        assert_eq!(Change::from_counts(&pattern("d", 9, false), None), Change::Unknown);
    }

    #[test]
    fn lines_are_found_by_the_longest_words_of_a_template() {
        assert_eq!(longest_words("charge <*> timed out, retrying <*>"), "timed out, retrying");
        assert_eq!(longest_words("<*>"), "");
    }
}
