//! The calls of the chosen operation, split by an attribute of their sender: version, instance,
//! host, region or any other key.
//!
//! Asks in SQL: rates by attribute are not added up beforehand.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use serde_json::Value;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{SqlResult, TimeWindow},
};

use super::{ServiceView, kind_name};
use crate::{
    api::{Request, sql::sql},
    components::{Panel, Segment, Segments, change::short},
    format,
    format::rates,
    links::Links,
    remote::Remote,
    url::{Step, use_edit_query, use_query},
};

/// Values that are listed.
const VALUES_MAX: u32 = 20;
/// The attributes that are offered, with their name in the address.
const KEYS: [(&str, &str, &str); 5] = [
    ("version", "Version", "service.version"),
    ("instance", "Instance", "service.instance.id"),
    ("host", "Host", "host.name"),
    ("pod", "Pod", "k8s.pod.name"),
    ("region", "Region", "cloud.region"),
];

/// One value of the attribute and its calls.
#[derive(Debug, Clone, PartialEq)]
struct SplitPart {
    value: Option<String>,
    calls: u64,
    failed: u64,
    p50: DurationNanos,
    p95: DurationNanos,
}

/// A text as a literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The query for the parts of an operation's calls.
fn query_of(
    service: &str,
    operation: &str,
    kind: Option<&'static str>,
    key: &str,
    (start, end): (UnixNanos, UnixNanos),
) -> String {
    let kind = kind.map_or(String::new(), |kind| format!(" AND kind = {}", literal(kind)));
    format!(
        "SELECT resource[{key}] AS value, count(*) AS calls, \
         sum(CASE WHEN status = 'error' THEN 1 ELSE 0 END) AS failed, \
         approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_nanos) AS p50, \
         approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_nanos) AS p95 \
         FROM spans WHERE service = {service} AND operation = {operation}{kind} \
         AND start_time >= to_timestamp_nanos({}) AND start_time < to_timestamp_nanos({}) \
         GROUP BY value ORDER BY calls DESC LIMIT {VALUES_MAX}",
        start.0,
        end.0,
        key = literal(key),
        service = literal(service),
        operation = literal(operation),
    )
}

fn parts(result: &SqlResult) -> Vec<SplitPart> {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64).map_or(0, rates::whole);
    let part = |row: &Vec<Value>| SplitPart {
        value: row.first().and_then(Value::as_str).map(str::to_owned),
        calls: number(row.get(1)),
        failed: number(row.get(2)),
        p50: DurationNanos(number(row.get(3))),
        p95: DurationNanos(number(row.get(4))),
    };
    result.rows.iter().map(part).collect()
}

/// The panel.
pub(super) fn split_panel(view: ServiceView) -> impl IntoView {
    let query = use_query();
    let edit = use_edit_query();
    let name =
        Memo::new(move |_| query.with(|query| query.get("split").unwrap_or(KEYS[0].0).to_owned()));
    // A key that is not offered stands in the address as it is.
    let key = Memo::new(move |_| {
        let name = name.get();
        let known = KEYS.iter().find(|(known, ..)| *known == name);
        known.map_or(name, |(_, _, key)| (*key).to_owned())
    });
    let window = Memo::new(move |_| view.operations.value().map(|operations| operations.window));
    let answer = Remote::new(move || -> Option<Request<SqlResult>> {
        let chosen = view.chosen.get()?;
        let window = window.get()?;
        let times = (window.start_unix_nano, window.end_unix_nano);
        let kind = chosen.kind.map(kind_name);
        let text = query_of(&view.name(), &chosen.name, kind, &key.get(), times);
        Some(sql(&text, VALUES_MAX))
    });
    let title = Memo::new(move |_| {
        let name = name.get();
        let known = KEYS.iter().find(|(known, ..)| *known == name);
        let word = known.map_or_else(|| short(&name), |(_, label, _)| label.to_lowercase());
        format!("By {word}")
    });
    let segments: Vec<Segment> =
        KEYS.iter().map(|(name, label, _)| Segment::new(name, *label)).collect();
    let choose = Callback::new(move |which: &'static str| {
        let split = (which != KEYS[0].0).then_some(which);
        edit(Step::Replace, &|query| query.set("split", split));
    });
    let tools = move || {
        let segments = segments.clone();
        view! { <Segments label="Split calls by" segments chosen=name on_choose=choose /> }
    };
    let draw = move |result: Arc<SqlResult>| {
        let window = window.get_untracked();
        drawn(view, &parts(&result), &key.get_untracked(), window)
    };
    view! {
        <Panel
            title=title
            tools=tools.into()
            remote=answer
            is_empty=|result| result.rows.is_empty()
            missing=missing
            empty="No call of the operation in this time."
            rows=3
            draw=draw
        />
    }
}

fn missing(result: &SqlResult) -> Option<String> {
    (!result.complete)
        .then(|| "Not all calls could be read. A shorter time range is read whole.".to_owned())
}

/// Quantities that the rows are measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// The length of the window in seconds, 0 when it is not known.
    seconds: f64,
    /// The longest p95, at least 1, and the shortest.
    longest: u64,
    shortest: u64,
    /// The least share of failures.
    least_error_share: f64,
    /// Set when there is more than one row to compare.
    is_comparison: bool,
}

impl Scale {
    fn new(parts: &[SplitPart], window: Option<TimeWindow>) -> Self {
        let seconds = window.map_or(0.0, |window| {
            window.end_unix_nano.since(window.start_unix_nano).0 as f64 / 1e9
        });
        Self {
            seconds,
            longest: parts.iter().map(|part| part.p95.0).max().unwrap_or(1).max(1),
            shortest: parts.iter().map(|part| part.p95.0).min().unwrap_or(0),
            least_error_share: parts
                .iter()
                .map(SplitPart::error_share)
                .fold(f64::INFINITY, f64::min),
            is_comparison: parts.len() > 1,
        }
    }
}

fn drawn(view: ServiceView, parts: &[SplitPart], key: &str, window: Option<TimeWindow>) -> AnyView {
    if parts.iter().all(|part| part.value.is_none()) {
        return view! {
            <p class="panel-empty">"Its spans do not have " <code>{key.to_owned()}</code> "."</p>
        }
        .into_any();
    }
    let scale = Scale::new(parts, window);
    let rows = parts.iter().map(|part| part_row(view, part, key, scale)).collect_view();
    view! {
        <table class="table" aria-label="Calls by attribute">
            <thead>
                <tr>
                    <th scope="col">"Value"</th>
                    <th scope="col" class="num">
                        "Calls/min"
                    </th>
                    <th scope="col" class="num">
                        "Failed"
                    </th>
                    <th scope="col" class="num">
                        "p50"
                    </th>
                    <th scope="col" class="num">
                        "p95"
                    </th>
                    <th scope="col" class="wide">
                        <span class="hidden">"p95 as a bar"</span>
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

fn part_row(view: ServiceView, part: &SplitPart, key: &str, scale: Scale) -> impl IntoView + use<> {
    let is_worst = part.p95.0 as f64 >= scale.shortest as f64 * 1.5 && scale.is_comparison;
    let fails_more = part.error_share() - scale.least_error_share >= 0.01;
    let rate = if scale.seconds > 0.0 { part.calls as f64 / scale.seconds } else { 0.0 };
    let shown = part.value.as_deref().map_or("(not set)".to_owned(), short);
    let title = part.value.clone();
    let named = match &part.value {
        Some(value) => {
            let href = explore(view, key, value);
            view! { <A href=href attr:title=title>{shown}</A> }.into_any()
        }
        None => view! { <span class="mute">{shown}</span> }.into_any(),
    };
    let width = format!("{:.1}%", part.p95.0 as f64 / scale.longest as f64 * 100.0);
    view! {
        <tr>
            <td class="grow mono">{named}</td>
            <td class="num">{rates::per_minute(rate)}</td>
            <td class="num" class:is-worse=fails_more>
                {rates::percent(part.error_share())}
            </td>
            <td class="num">{format::duration(part.p50)}</td>
            <td class="num" class:is-worse=is_worst>
                {format::duration(part.p95)}
            </td>
            <td class="split-bar wide" aria-hidden="true">
                <span class="bar-track">
                    <span class="bar-fill" class:is-worse=is_worst style=("width", width)></span>
                </span>
            </td>
        </tr>
    }
}

impl SplitPart {
    fn error_share(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.failed as f64 / self.calls as f64 }
    }
}

/// Explore with the spans of one value.
fn explore(view: ServiceView, key: &str, value: &str) -> String {
    let chosen = view.chosen.get_untracked();
    let operation = chosen.map(|chosen| chosen.name).unwrap_or_default();
    let links: Links = view.links.get_untracked();
    let attribute = format!("{key}={value}");
    view.name.with_value(|service| {
        links.explore(&[("service", service), ("operation", &operation), ("attr", &attribute)])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{SqlRead, SqlResult},
    };

    use super::{SplitPart, literal, parts, query_of};

    #[test]
    fn names_of_senders_stay_literals() {
        assert_eq!(literal("it's '; DROP"), "'it''s ''; DROP'");
        let text = query_of("a'b", "GET /", Some("server"), "k'", (UnixNanos(1), UnixNanos(2)));
        for part in
            ["service = 'a''b'", "resource['k''']", "kind = 'server'", "to_timestamp_nanos(1)"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!query_of("a", "b", None, "c", (UnixNanos(1), UnixNanos(2))).contains("kind"));
    }

    #[test]
    fn rows_become_parts_whatever_they_hold() {
        let result = SqlResult {
            columns: Vec::new(),
            rows: vec![
                vec![json!("2.14.0"), json!(10), json!(2), json!(5.0), json!(9)],
                vec![json!(null), json!(3), json!(null), json!("NaN")],
                vec![],
            ],
            row_count: 3,
            complete: true,
            lacks: Vec::new(),
            read: SqlRead::default(),
            repeats_counted: false,
            elapsed_nano: DurationNanos(1),
        };
        let parts = parts(&result);
        let first = SplitPart {
            value: Some("2.14.0".to_owned()),
            calls: 10,
            failed: 2,
            p50: DurationNanos(5),
            p95: DurationNanos(9),
        };
        assert_eq!(parts[0], first);
        assert_eq!((parts[1].value.clone(), parts[1].calls, parts[2].calls), (None, 3, 0));
    }
}
