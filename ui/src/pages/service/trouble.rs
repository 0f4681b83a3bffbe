//! The exceptions and the log patterns of a service.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
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
    request_state::RequestState,
};

/// Maximum number of rows per panel.
const ROWS_MAX: u32 = 8;

/// The exceptions, most frequent first.
pub(super) fn exception_panel(view: ServiceView) -> impl IntoView {
    let now = RequestState::new(move || {
        let analysis = view.tables.analysis()?.with("service", view.name());
        Some(exceptions(&analysis.with("compare", true).with("limit", ROWS_MAX)))
    });
    let note = Memo::new(move |_| {
        let counted = now.value().filter(|list| list.group_count > 0).map(|list| {
            let kinds = format::counted(list.group_count, "kind");
            format!("{} in {kinds}", format::count(list.count))
        });
        view.tables.after(&counted.unwrap_or_default())
    });
    let draw = move |list: Arc<ExceptionList>| {
        let buckets = TimeBuckets::from_window(&list.window);
        let row = |group: &ExceptionGroup| exception_row(view, group, buckets);
        let rows = list.groups.iter().map(row).collect_view();
        view! {
            <table class="table" aria-label="Exceptions">
                <thead>
                    <tr>
                        <th scope="col">"Type"</th>
                        <th scope="col">"Last message"</th>
                        <th scope="col" class="num">
                            "Count"
                        </th>
                        <th scope="col" class="wide">
                            <span class="hidden">"Over time"</span>
                        </th>
                        <th scope="col" class="num">
                            "First in this time"
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
        view! { <A href=href>"All of them"</A> }
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

fn exception_row(
    view: ServiceView,
    group: &ExceptionGroup,
    buckets: TimeBuckets,
) -> impl IntoView + use<> {
    let seen = group.first_seen_unix_nano;
    let seen = browser::local_minute(seen, browser::now());
    let name = if group.exception_type.is_empty() { "(no type)" } else { &group.exception_type };
    let name = truncate_name(name);
    let href = view.name.with_value(|service| {
        view.links.get().errors(&[("service", service), ("group", &group.id)])
    });
    let fresh = group.is_new.then(|| view! { " " <span class="new">"NEW"</span> });
    let tone = if group.is_new { SparkTone::Error } else { SparkTone::Plain };
    let values = buckets.counts(&group.steps);
    let label = format!("{name} over time");
    view! {
        <tr>
            <td>
                <A href=href attr:title=group.exception_type.clone()>
                    <b>{name}</b>
                </A>
                {fresh}
            </td>
            <td class="grow mono mute" title=truncate_name(&group.message)>
                {truncate_name(&group.message)}
            </td>
            <td class="num">{format::count(group.count)}</td>
            <td class="wide">
                <SparkBars values is_last_partial=buckets.is_last_partial() tone label=label />
            </td>
            <td class="num mute">{seen}</td>
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
        view! { <A href=href>"All logs"</A> }
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
                <A href=href>{words}</A>
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
    use super::longest_part;

    #[test]
    fn a_pattern_is_searched_by_its_longest_fixed_words() {
        assert_eq!(longest_part("card <*> was declined by <*>"), "was declined by");
        assert_eq!(longest_part("<*>"), "");
        assert_eq!(longest_part("plain words"), "plain words");
    }
}
