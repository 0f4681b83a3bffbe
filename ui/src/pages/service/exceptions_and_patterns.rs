//! The exceptions and the log patterns of a service.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{ExceptionGroup, ExceptionList, LogPattern, LogPatternList};

use super::ServiceView;
use crate::{
    api::{
        self,
        analysis::{exceptions, log_patterns},
    },
    browser,
    charts::time_buckets::TimeBuckets,
    components::{
        Panel, SparkBars, SparkTone, change::truncate_name, severity_class, severity_tone,
    },
    format,
    page_time::partial_answer_text,
    pages::errors::{FirstSeen, followers_text, type_words},
    request_state::RequestState,
};

/// Maximum number of rows per panel.
const ROWS_MAX: u32 = 8;

/// The exceptions, most frequent first, with those that follow from another one beneath it.
pub(super) fn exception_panel(view: ServiceView) -> impl IntoView {
    let now = RequestState::new(move || {
        let analysis = view.tables.analysis()?.with("service", view.name());
        Some(exceptions(&analysis.with("sources", true).with("limit", ROWS_MAX)))
    });
    let note = Memo::new(move |_| {
        let counted =
            now.value().filter(|list| list.group_count > 0).map(|list| exceptions_words(&list));
        view.tables.after(&counted.unwrap_or_default())
    });
    let draw = move |list: Arc<ExceptionList>| {
        let buckets = TimeBuckets::from_window(&list.window);
        let row = |group: &ExceptionGroup| exception_row(view, group, &list, buckets);
        let rows = list.groups.iter().map(row).collect_view();
        view! {
            <table class="table service-exceptions" aria-label="Exceptions">
                <thead>
                    <tr>
                        <th scope="col">"Type"</th>
                        <th scope="col">"Last message"</th>
                        <th scope="col" class="num">
                            "Count"
                        </th>
                        <th scope="col" class="num" title="In as long a time before">
                            "Before"
                        </th>
                        <th scope="col" class="wide">
                            <span class="hidden">"Over time"</span>
                        </th>
                        <th scope="col" class="num">
                            "First seen"
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        }
    };
    let tools = move || {
        let href =
            move || view.name.with_value(|name| view.links.get().errors(&[("service", name)]));
        view! { <a href=href>"All of them"</a> }
    };
    view! {
        <Panel
            title="Exceptions"
            note=note
            tools=tools.into()
            state=now
            is_empty=|list| list.groups.is_empty()
            missing=|list| partial_answer_text(&list.searched)
            empty="It recorded none in this time."
            rows=3
            draw=draw
        />
    }
}

/// Returns the words for a list: `26 in 3 kinds, 2 causes`. Causes are not counted where none of the
/// kinds follows from another one, nor where further kinds are not listed.
fn exceptions_words(list: &ExceptionList) -> String {
    let kinds = format::counted(list.group_count, "kind");
    let causes = list.groups.iter().filter(|group| group.follows_id.is_none()).count() as u64;
    let is_whole = list.groups.len() as u64 == list.group_count;
    let causes = (is_whole && causes < list.group_count)
        .then(|| format!(", {}", format::counted(causes, "cause")));
    format!("{} in {kinds}{}", format::count(list.count), causes.unwrap_or_default())
}

/// Reports whether a group is new, and not because the group that it follows from came or grew.
fn is_new_by_itself(group: &ExceptionGroup, groups: &[ExceptionGroup]) -> bool {
    let source = groups.iter().find(|other| Some(&other.id) == group.follows_id.as_ref());
    let follows_change = source.is_some_and(|source| source.is_new || source.is_multiplied);
    group.is_new && !follows_change
}

fn exception_row(
    view: ServiceView,
    group: &ExceptionGroup,
    list: &ExceptionList,
    buckets: TimeBuckets,
) -> impl IntoView + use<> {
    let (first, first_title) = FirstSeen::in_window(group, list).words(browser::now());
    let name = truncate_name(type_words(group));
    let is_beneath = group.follows_id.is_some();
    let followers = followers_text(group.follower_count);
    let followers = followers.map(|words| view! { " " <span class="mute">{words}</span> });
    let href = view.name.with_value(|service| {
        view.links.get().errors(&[("service", service), ("group", &group.id)])
    });
    let is_new = is_new_by_itself(group, &list.groups);
    let fresh = is_new.then(|| view! { " " <span class="new">"NEW"</span> });
    let tone = if is_new { SparkTone::Error } else { SparkTone::Plain };
    let values = buckets.counts(&group.steps);
    let before = group.before_count.map_or_else(|| "–".to_owned(), format::count);
    let label = format!("{name} over time");
    view! {
        <tr class:is-beneath=is_beneath>
            <td>
                <a href=href title=group.exception_type.clone()>
                    <b>{name}</b>
                </a>
                {fresh}
                {followers}
            </td>
            <td class="grow mono mute" title=truncate_name(&group.message)>
                {truncate_name(&group.message)}
            </td>
            <td class="num">{format::count(group.count)}</td>
            <td class="num mute">{before}</td>
            <td class="wide">
                <SparkBars values is_last_partial=buckets.is_last_partial() tone label=label />
            </td>
            <td class="num mute" title=first_title>{first}</td>
        </tr>
    }
}

/// The log patterns, most frequent first.
pub(super) fn pattern_panel(view: ServiceView) -> impl IntoView {
    let now = RequestState::new(move || {
        let analysis = view.tables.analysis()?.with("service", view.name());
        Some(log_patterns(&analysis.with("limit", ROWS_MAX)))
    });
    let note = Memo::new(move |_| {
        let counted = now.value().filter(|list| list.pattern_count > 0).map(|list| {
            let lines = format::counted(list.count, "line");
            format!("{lines} in {}", format::counted(list.pattern_count, "pattern"))
        });
        view.tables.after(&counted.unwrap_or_default())
    });
    let draw = move |list: Arc<LogPatternList>| {
        let buckets = TimeBuckets::from_window(&list.window);
        let row = |pattern: &LogPattern| pattern_row(view, pattern, buckets);
        let rows = list.patterns.iter().map(row).collect_view();
        view! {
            <table class="table" aria-label="Log patterns">
                <thead>
                    <tr>
                        <th scope="col">"Severity"</th>
                        <th scope="col">"Pattern"</th>
                        <th scope="col" class="num">
                            "Count"
                        </th>
                        <th scope="col" class="wide">
                            <span class="hidden">"Over time"</span>
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        }
    };
    let tools = move || {
        let href = move || view.name.with_value(|name| view.links.get().logs(&[("service", name)]));
        view! { <a href=href>"All logs"</a> }
    };
    view! {
        <Panel
            title="Log patterns"
            note=note
            tools=tools.into()
            state=now
            is_empty=|list| list.patterns.is_empty()
            missing=|list| partial_answer_text(&list.searched)
            empty="It wrote no log record in this time."
            rows=3
            draw=draw
        />
    }
}

fn pattern_row(
    view: ServiceView,
    pattern: &LogPattern,
    buckets: TimeBuckets,
) -> impl IntoView + use<> {
    let class = severity_class(&pattern.severity);
    let tone = severity_tone(&pattern.severity);
    let severity = if pattern.severity.is_empty() { "–" } else { &pattern.severity };
    let fresh = pattern.is_new.then(|| view! { " " <span class="new">"NEW"</span> });
    let values = buckets.counts(&pattern.steps);
    let words = template(&pattern.template);
    let href = pattern.trace_id.map_or_else(
        || {
            view.name.with_value(|name| {
                view.links
                    .get()
                    .logs(&[("service", name), ("text", &longest_part(&pattern.template))])
            })
        },
        |trace| api::trace_address(trace, None),
    );
    view! {
        <tr>
            <td class=class>{severity.to_uppercase()}</td>
            <td class="grow mono" title=truncate_name(&pattern.example)>
                <a href=href>{words}</a>
                {fresh}
            </td>
            <td class="num">{format::count(pattern.count)}</td>
            <td class="wide">
                <SparkBars
                    values
                    is_last_partial=buckets.is_last_partial()
                    tone
                    label="Lines over time"
                />
            </td>
        </tr>
    }
}

/// The words of a template, with variable parts distinct.
fn template(text: &str) -> impl IntoView + use<> {
    let text: String = text.chars().take(400).collect();
    let last = text.matches("<*>").count();
    let part = |(index, part): (usize, &str)| {
        let gap = (index < last).then(|| view! { <span class="variable">"…"</span> });
        view! { {part.to_owned()} {gap} }
    };
    text.split("<*>").enumerate().map(part).collect_view()
}

/// Returns the longest run of constant words of a template. A search for it finds its lines.
fn longest_part(template: &str) -> String {
    let parts = template.split("<*>").map(str::trim);
    parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{ExceptionGroup, ExceptionList, Searched, TimeWindow},
    };

    use super::{exceptions_words, is_new_by_itself, longest_part};

    /// Returns a new group that may follow from another one.
    fn group(id: &str, follows_id: Option<&str>) -> ExceptionGroup {
        let (id, follows_id) = (id.to_owned(), follows_id.map(str::to_owned));
        ExceptionGroup { id, follows_id, is_new: true, ..ExceptionGroup::default() }
    }

    #[test]
    fn exceptions_that_follow_are_no_causes_and_not_new_by_themselves() {
        let groups = vec![group("timeout", None), group("card", None), group("api", Some("card"))];
        let by_themselves = |groups: &[ExceptionGroup]| -> Vec<bool> {
            groups.iter().map(|group| is_new_by_itself(group, groups)).collect()
        };
        assert_eq!(by_themselves(&groups), [true, true, false]);
        let mut old = groups.clone();
        old[1].is_new = false;
        assert_eq!(by_themselves(&old), [true, false, true], "its source came before");
        let mut list = ExceptionList {
            window: TimeWindow {
                start_unix_nano: UnixNanos(0),
                end_unix_nano: UnixNanos(1),
                step_nano: DurationNanos(1),
            },
            known_since_unix_nano: None,
            groups,
            group_count: 3,
            count: 26,
            cause_count: None,
            follow_count: None,
            other_count: 0,
            searched: Searched::default(),
        };
        assert_eq!(exceptions_words(&list), "26 in 3 kinds, 2 causes");
        list.group_count = 9;
        assert_eq!(exceptions_words(&list), "26 in 9 kinds", "the others are not listed");
        list.groups = vec![group("card", None)];
        list.group_count = 1;
        assert_eq!(exceptions_words(&list), "26 in 1 kind");
    }

    #[test]
    fn a_pattern_is_searched_by_its_longest_fixed_words() {
        assert_eq!(longest_part("card <*> was declined by <*>"), "was declined by");
        assert_eq!(longest_part("<*>"), "");
        assert_eq!(longest_part("plain words"), "plain words");
    }
}
