//! The spans that the filters find by what they have in common: rate, failures and duration of each
//! group, with the way to its spans.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{RedGroup, RedResult, SpanKindName, StatusName};

use super::{
    Explored,
    field::{Field, set},
};
use crate::{
    api::analysis::red,
    asked::{incomplete, use_asked_time},
    components::{Panel, ServiceName, SparkBars, SparkTone},
    format::{self, rates},
    remote::Remote,
    url::TraceFilters,
};

/// The keys spans are grouped by, with their words, as the API takes them.
pub(super) const KEYS: [(&str, &str); 5] = [
    ("service", "Service"),
    ("operation", "Operation"),
    ("service,operation", "Service and operation"),
    ("kind", "Kind"),
    ("status", "Status"),
];
/// Groups that are drawn.
const SHOWN_MAX: usize = 200;

/// The panel.
pub(super) fn group_panel(explored: Explored) -> impl IntoView {
    let time = use_asked_time();
    let asked = Memo::new(move |_| {
        explored.state.with(|state| {
            let question = state.question();
            Some((question.narrowed(), state.chosen, state.group.clone()?))
        })
    });
    let answer = Remote::<RedResult>::new(move || {
        let (filters, chosen, group) = asked.get()?;
        let analysis = match chosen {
            Some(chosen) => crate::api::analysis::Analysis::between(chosen.from, chosen.to),
            None => time.analysis(),
        };
        Some(red(&analysis.with_filters(&filters).with("by", group)))
    });
    time.refresh_while_live(move || answer.pending());
    let note = move || {
        let answer = answer.value()?;
        let shown = (answer.groups.len() as u64).min(SHOWN_MAX as u64);
        let groups = format::counted(answer.group_count, "group");
        Some(match answer.group_count > shown {
            true => format!("{groups}, the first {} by number of spans", format::count(shown)),
            false => groups,
        })
    };
    let draw = move |answer: Arc<RedResult>| table(explored, &answer);
    let missing = |answer: &RedResult| incomplete(&answer.searched);
    view! {
        <Panel
            title="Groups"
            note=Signal::derive(move || note().unwrap_or_default())
            remote=answer
            is_empty=|answer| answer.groups.is_empty()
            missing=missing
            empty="No span is like that in this time."
            rows=8
            draw=draw
        />
    }
}

fn table(explored: Explored, answer: &RedResult) -> impl IntoView + use<> {
    let rows = answer.groups.iter().take(SHOWN_MAX);
    let rows = rows.map(|group| row(explored, group)).collect_view();
    view! {
        <table class="table groups" aria-label="Groups of spans">
            <thead>
                <tr>
                    <th scope="col">"Group"</th>
                    <th scope="col" class="num">"Spans"</th>
                    <th scope="col" class="num wide">"per minute"</th>
                    <th scope="col" class="num">"Failed"</th>
                    <th scope="col" class="num">"p50"</th>
                    <th scope="col" class="num">"p99"</th>
                    <th scope="col" class="wide">"Over time"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

fn row(explored: Explored, group: &RedGroup) -> impl IntoView + use<> {
    let filters = of_group(group);
    let words = filters.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" · ");
    let words = if words.trim().is_empty() { "(no name)".to_owned() } else { words };
    let label = format!("Keep only the spans of {words}");
    let open = move |_| {
        explored.edit(|state| {
            apply(&mut state.filters, &filters);
            state.group = None;
        });
    };
    let service = group.service.clone().map(|service| view! { <ServiceName service /> });
    let rest = [
        group.operation.clone().map(|name| format::operation(&name).to_owned()),
        group.kind.map(|kind| kind_word(kind).to_owned()),
        group.status.map(|status| status_word(status).to_owned()),
    ];
    let rest = rest.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let failed = rates::percent(ratio(group.error_count, group.count));
    let values = group.steps.iter().map(|step| step.count as f64).collect();
    let tone = if group.error_count > 0 { SparkTone::Error } else { SparkTone::Plain };
    view! {
        <tr>
            <td class="grow">
                <button class="link group-open" type="button" title=label on:click=open>
                    {service} <bdi>{rest}</bdi>
                </button>
            </td>
            <td class="num">{format::count(group.count)}</td>
            <td class="num wide">{rates::per_minute(group.rate_per_second)}</td>
            <td class="num" class:is-error=group.error_count != 0>
                {failed}
            </td>
            <td class="num">{format::duration(group.duration.p50_nano)}</td>
            <td class="num">{format::duration(group.duration.p99_nano)}</td>
            <td class="wide">
                <SparkBars values tone label=format!("Spans of {words} over time") />
            </td>
        </tr>
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The filters that find the spans of a group.
fn of_group(group: &RedGroup) -> Vec<(Field, String)> {
    let kind = group.kind.map(|kind| kind_word(kind).to_owned());
    let status = group.status.map(|status| status_word(status).to_owned());
    let all = [
        (Field::Service, group.service.clone()),
        (Field::Operation, group.operation.clone()),
        (Field::Kind, kind),
        (Field::Status, status),
    ];
    all.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
}

fn apply(filters: &mut TraceFilters, group: &[(Field, String)]) {
    for (field, value) in group.iter().filter(|(_, value)| !value.is_empty()) {
        let _known_words = set(filters, field, Some(value));
    }
}

fn kind_word(kind: SpanKindName) -> &'static str {
    match kind {
        SpanKindName::Unspecified => "unspecified",
        SpanKindName::Internal => "internal",
        SpanKindName::Server => "server",
        SpanKindName::Client => "client",
        SpanKindName::Producer => "producer",
        SpanKindName::Consumer => "consumer",
    }
}

fn status_word(status: StatusName) -> &'static str {
    match status {
        StatusName::Unset => "unset",
        StatusName::Ok => "ok",
        StatusName::Error => "error",
    }
}
