//! The table of services: what changed, and rate, failures and durations beside what they were.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::{
    DurationNanos,
    api::{Change, ChangeKind, ChangeStep, ChangedGroup, Deployment, TimeWindow},
};

use crate::{
    browser,
    components::{
        ChangeBadge, ComparedSeries, ComparedSpark, Icon, IconName, NumberCell, ServiceName,
        SortHead, SortOrder, SparkTone,
        change::{latency_of, since, value_and_before},
    },
    format,
    format::rates,
    links::Links,
};

/// Rows and the times of their steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServiceRows {
    pub(super) groups: Vec<ChangedGroup>,
    pub(super) window: TimeWindow,
    pub(super) before_start: tidings_proto::UnixNanos,
    pub(super) deployments: Vec<Deployment>,
    /// Set when the server compared them with the time before: else nothing is said of changes.
    pub(super) is_compared: bool,
}

/// The id of a row is this and its index.
pub(super) const ROW: &str = "service-row";

/// Puts rows in the chosen order; endpoints without spans stay behind the services.
pub(super) fn sorted(mut groups: Vec<ChangedGroup>, order: &SortOrder) -> Vec<ChangedGroup> {
    groups.sort_by(|a, b| {
        let apart = a.uninstrumented.cmp(&b.uninstrumented);
        apart.then_with(|| match order.column.as_str() {
            "service" => order.compare(&a.service, &b.service),
            "rate" => order.compare(a.now.rate_per_second, b.now.rate_per_second),
            column @ ("failed" | "p50" | "p95") => {
                order.compare(shown_number(a, column), shown_number(b, column))
            }
            // The API's order is by change; the sort is stable.
            _ if order.descending => std::cmp::Ordering::Equal,
            _ => a.score.total_cmp(&b.score),
        })
    });
    groups
}

/// The table; rows are marked by the keyboard.
pub(super) fn service_table(
    rows: Memo<Arc<ServiceRows>>,
    order: Memo<SortOrder>,
    marked: RwSignal<Option<usize>>,
    links: Memo<Links>,
) -> impl IntoView {
    let body = move || {
        let rows = rows.get();
        let links = links.get();
        let first_endpoint = rows.groups.iter().position(|group| group.uninstrumented);
        let row = |(index, group): (usize, &ChangedGroup)| {
            let head = (Some(index) == first_endpoint).then(|| {
                view! {
                    <tr class="table-group">
                        <th scope="rowgroup" colspan="11">
                            "Databases, queues and outside systems, as their callers see them"
                        </th>
                    </tr>
                }
            });
            view! { {head} {service_row(group, index, &rows, marked, links)} }
        };
        rows.groups.iter().enumerate().map(row).collect_view()
    };
    view! {
        <table
            class="table services-list"
            class:has-versions=move || rows.with(|rows| has_versions(rows))
            aria-label="Services"
        >
            <thead>
                <tr>
                    <SortHead column="service" label="Service" order />
                    <SortHead column="change" label="What changed" order />
                    <SortHead column="rate" label="Calls/min" order numeric=true />
                    <th scope="col" class="wide services-spark">
                        <span class="hidden">"Calls over time"</span>
                    </th>
                    <SortHead column="failed" label="Failed" order numeric=true />
                    <th scope="col" class="services-spark">
                        <span class="hidden">"Failures over time"</span>
                    </th>
                    <SortHead column="p50" label="p50" order numeric=true />
                    <SortHead column="p95" label="p95" order numeric=true />
                    <th scope="col" class="services-spark">
                        <span class="hidden">"p95 over time"</span>
                    </th>
                    <th scope="col" class="wide services-version">
                        "New version"
                    </th>
                    <th scope="col" class="services-links">
                        <span class="hidden">"Go to"</span>
                    </th>
                </tr>
            </thead>
            <tbody>{body}</tbody>
        </table>
    }
}

fn service_row(
    group: &ChangedGroup,
    index: usize,
    rows: &ServiceRows,
    marked: RwSignal<Option<usize>>,
    links: Links,
) -> impl IntoView + use<> {
    let name = format::service(&group.service).to_owned();
    let (address, name_mark) = (address_of(group, links), name_mark(group));
    let change = rows.is_compared.then(|| {
        let (sentence, service) = (group.sentence.clone(), group.service.clone());
        view! { <ChangeBadge sentence service only_feels=group.only_feels /> }
    });
    view! {
        <tr
            id=format!("{ROW}-{index}")
            aria-selected=move || (marked.get() == Some(index)).to_string()
        >
            <td class="services-name" title=name>
                <A href=address>{name_mark}</A>
            </td>
            <td class="grow">{change}</td>
            {rate_cells(group, rows)}
            {failure_cells(group, rows)}
            {latency_cells(group, rows)}
            <td class="wide mono services-version">{version_words(&rows.deployments, &group.service)}</td>
            <td class="services-links">{row_links(group, links)}</td>
        </tr>
    }
}

/// The name with the service's colour; an endpoint has an open dot.
fn name_mark(group: &ChangedGroup) -> AnyView {
    if group.uninstrumented {
        let name = format::service(&group.service).to_owned();
        view! {
            <span class="service">
                <span class="dot dot-outside" aria-hidden="true"></span>
                <span class="service-name">{name}</span>
            </span>
        }
        .into_any()
    } else {
        view! { <ServiceName service=group.service.clone() /> }.into_any()
    }
}

/// The number that a row shows in a column: since its change, where that changed.
fn shown_number(group: &ChangedGroup, column: &str) -> f64 {
    let (kind, quantile, whole) = match column {
        "failed" => (ChangeKind::Errors, None, group.now.error_share),
        "p50" => (ChangeKind::Latency, Some(50), group.now.p50_nano.0 as f64),
        _ => (ChangeKind::Latency, Some(95), group.now.p95_nano.0 as f64),
    };
    let change = match kind {
        ChangeKind::Latency => latency_of(group),
        _ => change_of(group, kind),
    };
    let change = change.filter(|change| change.quantile == quantile);
    change.map_or(whole, |change| change.now)
}

fn change_of(group: &ChangedGroup, kind: ChangeKind) -> Option<&Change> {
    group.changes.iter().find(|change| change.kind == kind)
}

/// A value over the steps, beside the steps before.
fn series(
    group: &ChangedGroup,
    rows: &ServiceRows,
    value: fn(&ChangeStep) -> Option<f64>,
) -> ComparedSeries {
    let (now, before) = (&group.steps, &group.baseline_steps);
    ComparedSeries::of_steps(rows.window, rows.before_start, now, before, value)
}

/// Calls per minute and calls over time.
fn rate_cells(group: &ChangedGroup, rows: &ServiceRows) -> impl IntoView + use<> {
    let rate = change_of(group, ChangeKind::Throughput)
        .or(change_of(group, ChangeKind::Missing))
        .or(change_of(group, ChangeKind::New));
    let calls = series(group, rows, |step| Some(step.count as f64));
    let label = format!("Calls of {} over time", format::service(&group.service));
    view! {
        <NumberCell
            now=rates::per_minute(group.now.rate_per_second)
            before=format!("{} /min", rates::per_minute(group.before.rate_per_second))
            changed=rate.is_some()
            is_worse=rate.is_some_and(|change| change.is_worse)
        />
        <td class="wide services-spark">
            <ComparedSpark series=calls label />
        </td>
    }
}

/// The share of failures, now and over time.
fn failure_cells(group: &ChangedGroup, rows: &ServiceRows) -> impl IntoView + use<> {
    let errors = change_of(group, ChangeKind::Errors);
    let is_worse = errors.is_some_and(|change| change.is_worse);
    let tone = if is_worse { SparkTone::Error } else { SparkTone::Plain };
    let failures = series(group, rows, |step| {
        (step.count > 0).then(|| step.error_count as f64 / step.count as f64)
    });
    let label = format!("Failures of {} over time", format::service(&group.service));
    let (now, before) = errors.map_or_else(
        || (rates::percent(group.now.error_share), rates::percent(group.before.error_share)),
        |change| value_and_before(change, 95),
    );
    view! {
        <NumberCell
            now
            before
            changed=errors.is_some()
            is_worse
        />
        <td class="services-spark">
            <ComparedSpark series=failures top_min=0.04 tone label />
        </td>
    }
}

/// Durations, and the p95 over time.
fn latency_cells(group: &ChangedGroup, rows: &ServiceRows) -> impl IntoView + use<> {
    let latency = latency_of(group);
    let is_changed = |quantile: u8| {
        latency.is_some_and(|change| change.quantile.is_none_or(|of| of == quantile || of == 0))
    };
    let is_worse = latency.is_some_and(|change| change.is_worse);
    let any_changed = is_changed(50) || is_changed(95);
    let tone = if any_changed { SparkTone::Accent } else { SparkTone::Plain };
    let p95 = series(group, rows, |step| (step.count > 0).then_some(step.p95_nano.0 as f64));
    let label = format!("p95 of {} over time", format::service(&group.service));
    let cell = |quantile: u8, now: DurationNanos, before: DurationNanos| {
        // The sentence is about the time since the change: so are the numbers beside it.
        let changed = latency.filter(|change| change.quantile == Some(quantile));
        let (now, before) = changed.map_or_else(
            || (format::duration(now), format::duration(before)),
            |change| value_and_before(change, quantile),
        );
        view! {
            <NumberCell
                now
                before
                changed=is_changed(quantile)
                is_worse
                since=changed.map(|change| since(change, browser::now())).unwrap_or_default()
            />
        }
    };
    view! {
        {cell(50, group.now.p50_nano, group.before.p50_nano)}
        {cell(95, group.now.p95_nano, group.before.p95_nano)}
        <td class="services-spark">
            <ComparedSpark series=p95 tone label />
        </td>
    }
}

/// The page of a row: a service has its own, an endpoint stands on the map.
pub(super) fn address_of(group: &ChangedGroup, links: Links) -> String {
    if group.uninstrumented {
        links.map(Some(&group.service))
    } else {
        links.service(&group.service)
    }
}

/// Tells whether any service of the table has a new version: else the column is not shown.
fn has_versions(rows: &ServiceRows) -> bool {
    let services = || rows.groups.iter().map(|group| &group.service);
    rows.deployments.iter().any(|one| services().any(|service| *service == one.service))
}

/// `2.14.0 on 2 of 4`: the newest version that came in the window.
fn version_words(deployments: &[Deployment], service: &str) -> Option<String> {
    let deployment = deployments.iter().find(|deployment| deployment.service == service)?;
    let version = crate::components::change::short(&deployment.version);
    let (on, of) = (deployment.instance_count, deployment.service_instance_count);
    Some(if on == 0 { version } else { format!("{version} on {on} of {of}") })
}

fn row_links(group: &ChangedGroup, links: Links) -> impl IntoView + use<> {
    let service = group.service.as_str();
    let link = |href: String, icon, words: &'static str| {
        let label = format!("{words} of {}", format::service(service));
        view! {
            <A
                href=href
                attr:class="button button-ghost button-icon"
                attr:title=words
                attr:aria-label=label
            >
                <Icon name=icon />
            </A>
        }
    };
    let own = (!group.uninstrumented && !service.is_empty()).then(|| {
        let filter = [("service", service)];
        view! {
            {link(links.explore(&filter), IconName::Search, "Traces")}
            {link(links.logs(&filter), IconName::Logs, "Logs")}
        }
    });
    view! { {link(links.map(Some(service)), IconName::Map, "On the map")} {own} }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::api::{ChangedGroup, GroupStats};

    use super::{SortOrder, latency_of, shown_number, sorted};

    fn group(service: &str, rate: f64, score: f64, uninstrumented: bool) -> ChangedGroup {
        let now = GroupStats { rate_per_second: rate, ..GroupStats::default() };
        ChangedGroup {
            service: service.to_owned(),
            operation: None,
            uninstrumented,
            now,
            before: GroupStats::default(),
            steps: Vec::new(),
            baseline_steps: Vec::new(),
            changes: Vec::new(),
            sentence: None,
            score,
            only_feels: false,
        }
    }

    #[test]
    fn durations_of_the_culprit_are_those_of_its_sentence() {
        let change = |before: f64, now: f64| {
            json!({
                "kind": "latency", "isWorse": true, "before": before, "now": now,
                "factor": now / before, "difference": now - before, "quantile": 50,
                "pValue": 0.001,
            })
        };
        let mut northpay = group("northpay", 1.0, 9.0, true);
        northpay.changes = vec![serde_json::from_value(change(114e6, 340e6)).unwrap()];
        let sentence = |kind: &str| {
            let subject = json!({ "kind": kind, "service": "payment", "peer": "northpay" });
            let sentence =
                json!({ "subject": subject, "change": change(118e6, 410e6), "with": [] });
            serde_json::from_value(sentence).unwrap()
        };
        for (kind, now) in [("peer", 410e6), ("service", 340e6)] {
            northpay.sentence = Some(sentence(kind));
            assert_eq!(latency_of(&northpay).map(|change| change.now), Some(now), "{kind}");
            assert_eq!(shown_number(&northpay, "p50"), now, "{kind}");
        }
    }

    #[test]
    fn the_reports_order_is_by_change_and_columns_sort_within_kinds() {
        let rows = vec![
            group("db", 9.0, 5.0, true),
            group("b", 1.0, 3.0, false),
            group("a", 2.0, 1.0, false),
        ];
        let names = |order: &str| -> Vec<String> {
            let order = SortOrder::parse(order);
            sorted(rows.clone(), &order).into_iter().map(|group| group.service).collect()
        };
        assert_eq!(names("-change"), ["b", "a", "db"]);
        assert_eq!(names("change"), ["a", "b", "db"]);
        assert_eq!(names("-rate"), ["a", "b", "db"]);
        assert_eq!(names("service"), ["a", "b", "db"]);
        assert_eq!(names("-service"), ["b", "a", "db"]);
    }
}
