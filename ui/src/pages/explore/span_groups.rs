//! The matching spans by group: rate, failures and duration of each group, with a link to its
//! spans.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{AttributeKeyList, CallsInStep, RedGroup, RedResult};

use super::{
    ExplorePageState,
    field::{Field, set},
    latency_panel::LIVE_MAX,
    narrowed_list_query, with_span_filters,
};
use crate::{
    api::{self, analysis::red},
    charts::time_buckets::TimeBuckets,
    components::{Panel, ServiceName, SparkBars, SparkTone, Suggest, Suggestion},
    format::{self, rates},
    number_format,
    page_time::{partial_answer_text, use_page_time},
    request_state::RequestState,
    url::{
        AttributeFilter, ExploreState, TraceFilters,
        traceql::{search_traceql, write_traceql},
    },
};

/// The keys that spans are grouped by, as the API names them, with their words.
const KEYS: [(&str, &str); 5] = [
    ("service", "Service"),
    ("operation", "Operation"),
    ("service,operation", "Service and operation"),
    ("kind", "Kind"),
    ("status", "Status"),
];
/// The option that opens a field for an attribute.
const OTHER: &str = "+";
/// Prefix of a key that is an attribute.
const ATTRIBUTE: &str = "attribute:";

/// Returns the attribute that spans are grouped by, if the key is one.
pub(super) fn attribute_of(group: &str) -> Option<&str> {
    group.split(',').find_map(|key| key.strip_prefix(ATTRIBUTE))
}

/// Returns the key of an attribute, as the API names it. `None` for a key that the API does not
/// accept.
pub(super) fn attribute_key(key: &str) -> Option<String> {
    let key = key.trim();
    (!key.is_empty() && !key.contains(',')).then(|| format!("{ATTRIBUTE}{key}"))
}

/// Maximum number of groups that are drawn.
const SHOWN_MAX: usize = 200;

/// The choice of a key: a fixed one, or any attribute of the data.
#[component]
pub(super) fn GroupChoice(page_state: ExplorePageState) -> impl IntoView {
    let group = Memo::new(move |_| page_state.state.with(|state| state.group.clone()));
    let adding = RwSignal::new(false);
    let text = RwSignal::new(String::new());
    let chosen = move |event| {
        let value = event_target_value(&event);
        if value == OTHER {
            text.set(String::new());
            return adding.set(true);
        }
        page_state.edit(|state| state.group = Some(value).filter(|group| !group.is_empty()));
    };
    let choose = Callback::new(move |key: String| {
        adding.set(false);
        if let Some(group) = attribute_key(&key) {
            page_state.edit(|state| state.group = Some(group));
        }
    });
    let option = move |(value, words): (String, String)| {
        let own = value.clone();
        let is_chosen = move || group.with(|group| group.as_deref().unwrap_or("") == own);
        view! {
            <option value=value selected=is_chosen>
                {words}
            </option>
        }
    };
    let options = move || {
        let plain = [("", "Nothing")];
        let fixed = plain.into_iter().chain(KEYS);
        let fixed = fixed.map(|(value, words)| (value.to_owned(), words.to_owned()));
        let own = group.get().filter(|group| !KEYS.iter().any(|(key, _)| key == group));
        let own = own.map(|group| {
            let words = attribute_of(&group).map_or(group.clone(), str::to_owned);
            (group, words)
        });
        let other = (OTHER.to_owned(), "An attribute…".to_owned());
        fixed.chain(own).chain([other]).map(option).collect_view()
    };
    view! {
        <label class="list-tool mute">
            "Group by " <select class="input" on:change=chosen>{options}</select>
        </label>
        <Show when=move || adding.get()>
            <AttributeChoice
                id="group-key"
                label="Attribute to group by"
                text
                on_choose=choose
                on_leave=Callback::new(move |()| adding.set(false))
            />
        </Show>
    }
}

/// The field for an attribute, with completion from the data.
#[component]
pub(super) fn AttributeChoice(
    id: &'static str,
    label: &'static str,
    text: RwSignal<String>,
    on_choose: Callback<String>,
    on_leave: Callback<()>,
) -> impl IntoView {
    let keys =
        RequestState::<AttributeKeyList>::new(move || Some(api::attribute_keys(&text.get())));
    let suggestions = Memo::new(move |_| {
        let keys = keys.value().map(|list| list.keys.clone()).unwrap_or_default();
        keys.into_iter().map(|key| Suggestion::counted(key.key, key.count)).collect::<Vec<_>>()
    });
    view! { <Suggest id label placeholder="Attribute" text suggestions on_choose on_leave /> }
}

/// The panel.
pub(super) fn group_panel(page_state: ExplorePageState) -> impl IntoView {
    let time = use_page_time();
    let asked = Memo::new(move |_| {
        page_state.state.with(|state| {
            let list_query = narrowed_list_query(state);
            Some((list_query.narrowed(), list_query.query, state.chosen, state.group.clone()?))
        })
    });
    let answer = RequestState::<RedResult>::new(move || {
        let (filters, query, chosen, group) = asked.get()?;
        let analysis = match chosen {
            Some(chosen) => api::analysis::Analysis::between(chosen.from, chosen.to),
            None => time.analysis(),
        };
        Some(red(&with_span_filters(analysis, &filters, query.as_deref()).with("by", group)))
    });
    let is_slow =
        move || answer.value().is_some_and(|found| found.searched.elapsed_nano > LIVE_MAX);
    time.refresh_while_live(move || answer.pending() || is_slow());
    let note = move || {
        let answer = answer.value()?;
        let shown = (answer.groups.len() as u64).min(SHOWN_MAX as u64);
        let groups = format::counted(answer.group_count, "group");
        Some(match answer.group_count > shown {
            true => format!("{groups}, the first {} by number of spans", format::count(shown)),
            false => groups,
        })
    };
    let draw = move |answer: Arc<RedResult>| {
        let group = asked.with_untracked(|asked| asked.as_ref().map(|(.., group)| group.clone()));
        let key = group.as_deref().and_then(attribute_of).map(str::to_owned);
        table(page_state, &answer, key.as_deref())
    };
    let missing = |answer: &RedResult| partial_answer_text(&answer.searched);
    view! {
        <Panel
            title="Groups"
            note=Signal::derive(move || note().unwrap_or_default())
            state=answer
            is_empty=|answer| answer.groups.is_empty()
            missing=missing
            empty="No span matches in this time."
            rows=8
            draw=draw
        />
    }
}

fn table(
    page_state: ExplorePageState,
    answer: &RedResult,
    attribute: Option<&str>,
) -> impl IntoView + use<> {
    let rows = answer.groups.iter().take(SHOWN_MAX);
    let buckets = TimeBuckets::from_window(&answer.window);
    let rows = rows.map(|group| row(page_state, group, buckets, attribute)).collect_view();
    let head = attribute.map_or("Group".to_owned(), str::to_owned);
    view! {
        <table class="table groups" aria-label="Groups of spans">
            <thead>
                <tr>
                    <th scope="col">{head}</th>
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

fn row(
    page_state: ExplorePageState,
    group: &RedGroup,
    buckets: TimeBuckets,
    attribute: Option<&str>,
) -> impl IntoView + use<> {
    let filters = group_filters(group, attribute);
    let words = filters.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" · ");
    let words = if words.trim().is_empty() { "(no name)".to_owned() } else { words };
    let label = format!("Keep only the spans of {words}");
    let lacked = attribute.filter(|_| group.attribute.is_none()).map(str::to_owned);
    let open = move |_| {
        page_state.edit(|state| {
            open_group(state, &filters, lacked.clone());
        });
    };
    let service = group.service.clone().map(|service| view! { <ServiceName service /> });
    let rest = [
        group.operation.clone().map(|name| format::operation(&name).to_owned()),
        group.kind.map(|kind| kind.word().to_owned()),
        group.status.map(|status| status.word().to_owned()),
        group.attribute.clone(),
        // This is the group of spans that lack the attribute.
        attribute.filter(|_| group.attribute.is_none()).map(|_| NOT_SET.to_owned()),
    ];
    let rest = rest.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let failed = rates::percent(number_format::ratio(group.error_count, group.count));
    let count = |step: &CallsInStep| Some(step.count as f64);
    let values =
        buckets.values_by_bucket(&group.steps, |step| step.start_unix_nano, count, Some(0.0));
    let values = values.into_iter().flatten().collect();
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
                <SparkBars values is_last_partial=buckets.is_last_partial() tone label=format!("Spans of {words} over time") />
            </td>
        </tr>
    }
}

/// Words for spans that do not have the attribute.
const NOT_SET: &str = "not set";

/// Returns the filters that match the spans of a group. Spans that lack an attribute are matched
/// only by a filter that excludes it.
fn group_filters(group: &RedGroup, attribute: Option<&str>) -> Vec<(Field, String)> {
    let kind = group.kind.map(|kind| kind.word().to_owned());
    let status = group.status.map(|status| status.word().to_owned());
    let all = [
        (Field::Service, group.service.clone()),
        (Field::Operation, group.operation.clone()),
        (Field::Kind, kind),
        (Field::Status, status),
        (Field::Attribute(attribute.unwrap_or_default().to_owned()), group.attribute.clone()),
    ];
    all.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
}

/// Lists the traces with spans of a group, which lack this attribute. A query is narrowed to them.
/// Filters of an address cannot express an empty name, so that a query does.
fn open_group(state: &mut ExploreState, group: &[(Field, String)], lacked: Option<String>) {
    let mut filters = match &state.query {
        Some(_) => TraceFilters::default(),
        None => state.filters.clone(),
    };
    for (field, value) in group {
        let _known_words = set(&mut filters, field, Some(value));
    }
    if let Some(key) = lacked {
        let filter = AttributeFilter { key, value: None };
        if !filters.without.contains(&filter) {
            filters.without.push(filter);
        }
    }
    let has_empty = [&filters.service, &filters.operation]
        .into_iter()
        .any(|name| name.as_ref().is_some_and(String::is_empty));
    match &mut state.query {
        Some(query) => *query = format!("{query} | {}", search_traceql(&filters)),
        None if has_empty => {
            (state.filters, state.query) = (TraceFilters::default(), Some(write_traceql(&filters)));
        }
        None => state.filters = filters,
    }
    state.group = None;
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::RedGroup;

    use super::{
        ExploreState, Field, TraceFilters, attribute_key, attribute_of, group_filters, open_group,
    };

    #[test]
    fn an_attribute_is_a_key_of_groups() {
        assert_eq!(attribute_key(" http.route ").as_deref(), Some("attribute:http.route"));
        assert_eq!((attribute_key(" "), attribute_key("a,b")), (None, None));
        assert_eq!(attribute_of("service,attribute:http.route"), Some("http.route"));
        assert_eq!(attribute_of("service,operation"), None);
    }

    #[test]
    fn a_group_is_opened_with_the_filters_or_as_a_part_of_the_query() {
        let opened = |query: Option<&str>, field: Field, value: &str, lacked: Option<&str>| {
            let mut state = ExploreState {
                query: query.map(str::to_owned),
                group: Some("operation".to_owned()),
                ..ExploreState::default()
            };
            if query.is_none() {
                state.filters.status = Some("error".to_owned());
            }
            open_group(&mut state, &[(field, value.to_owned())], lacked.map(str::to_owned));
            assert!(!state.is_grouped());
            (state.query.clone(), state.filters == TraceFilters::default(), state.write())
        };
        let (query, _, address) = opened(None, Field::Operation, "GET", None);
        assert_eq!((query, address.to_string().as_str()), (None, "operation=GET&status=error"));
        let (query, is_unfiltered, _) = opened(None, Field::Operation, "", None);
        assert_eq!(query.as_deref(), Some("{ name = \"\" && status = error }"));
        assert!(is_unfiltered);
        for (field, value, lacked, condition) in [
            (Field::Operation, "", None, "{ name = \"\" }"),
            (Field::Attribute("retry".into()), "2", None, "{ (.retry = 2 || .retry = \"2\") }"),
            (Field::Kind, "server", Some("tier"), "{ kind = server && .tier = nil }"),
        ] {
            let (query, ..) = opened(Some("{ } >> { }"), field, value, lacked);
            assert_eq!(query, Some(format!("{{ }} >> {{ }} | {condition}")));
        }
    }

    #[test]
    fn a_group_of_an_attribute_is_opened_by_its_value() {
        let group: RedGroup = serde_json::from_value(serde_json::json!({
            "service": "shop", "attribute": "/cart", "count": 3, "errorCount": 0,
            "ratePerSecond": 1.0, "errorRatePerSecond": 0.0, "steps": [],
            "duration": tidings_proto::api::LatencyStats::default(),
        }))
        .unwrap();
        let filters = group_filters(&group, Some("http.route"));
        let route = (Field::Attribute("http.route".to_owned()), "/cart".to_owned());
        assert_eq!(filters, [(Field::Service, "shop".to_owned()), route]);
    }
}
