//! The table of services: changes, and calls, failures and durations since them, or of the window;
//! instances, versions and new exceptions of the window.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{ChangeKind, ChangeSentence, ChangedGroup, Deployment};

use crate::{
    components::{
        Badge, Icon, IconName, PeerName, ServiceName, SortHead, SortOrder, Tone,
        change::{change_cell, sentence_of, truncate_name},
        group_cells::{
            CALLS_OF_SERVICES, ComparedTimes, call_stats, duration_cell, failure_cells, p95_cells,
            rate_cells, shown_stats,
        },
    },
    format,
    links::Links,
};

/// Rows and the time ranges of their steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServiceRows {
    pub(super) groups: Vec<ChangedGroup>,
    pub(super) times: ComparedTimes,
    /// The headline of the page.
    pub(super) headline: Option<ChangeSentence>,
    pub(super) deployments: Vec<Deployment>,
    /// Set when the server compared them with the baseline. Otherwise changes are not mentioned.
    pub(super) is_compared: bool,
}

impl ServiceRows {
    /// Reports whether a group changed, or the headline names it.
    pub(super) fn is_changed(&self, group: &ChangedGroup) -> bool {
        sentence_of(group, self.headline.as_ref()).is_some()
    }
}

/// Text of a cell about which nothing is known.
const UNKNOWN: &str = "–";
/// Prefix of a row's id, followed by its index.
pub(super) const ROW: &str = "service-row";
/// Selector of the rows while the pointer or the focus is in one of them.
pub(super) const READ_ROWS: &str = ".services-list > tbody:is(:hover, :focus-within)";

/// Sorts rows. Endpoints without spans stay after the services.
pub(super) fn sorted(mut groups: Vec<ChangedGroup>, order: &SortOrder) -> Vec<ChangedGroup> {
    groups.sort_by(|a, b| {
        let apart = a.uninstrumented.cmp(&b.uninstrumented);
        let (one, other) = (shown_stats(a), shown_stats(b));
        apart.then_with(|| match order.column.as_str() {
            "service" => order.compare(&a.service, &b.service),
            "rate" => order.compare(call_stats(a).rate_per_second, call_stats(b).rate_per_second),
            "failed" => order.compare(one.error_share, other.error_share),
            "p50" => order.compare(one.p50_nano, other.p50_nano),
            "p95" => order.compare(one.p95_nano, other.p95_nano),
            "p99" => order.compare(one.p99_nano, other.p99_nano),
            "instances" => order.compare(a.instance_count, b.instance_count),
            // By the text, because versions have no common form.
            "versions" => order.compare(versions_text(a), versions_text(b)),
            "exceptions" => order.compare(a.new_exception_count, b.new_exception_count),
            // The API's order is by change, and the sort is stable.
            _ if order.descending => std::cmp::Ordering::Equal,
            _ => a.score.total_cmp(&b.score),
        })
    });
    groups
}

/// Returns the headings, of which most sort.
fn table_head(order: Memo<SortOrder>) -> impl IntoView {
    view! {
        <thead>
            <tr>
                <SortHead column="service" label="Service" order />
                <SortHead column="change" label="What changed" order />
                <SortHead
                    column="rate"
                    label="Calls/min"
                    order
                    numeric=true
                    class="rate-cell"
                    title=CALLS_OF_SERVICES
                />
                <th scope="col" class="wide services-spark">
                    <span class="hidden">"Calls over time"</span>
                </th>
                <SortHead column="failed" label="Failed" order numeric=true />
                <th scope="col" class="services-spark services-failure-spark">
                    <span class="hidden">"Failures over time"</span>
                </th>
                <SortHead column="p50" label="p50" order numeric=true class="services-p50" />
                <SortHead column="p95" label="p95" order numeric=true />
                <th scope="col" class="services-spark">
                    <span class="hidden">"p95 over time"</span>
                </th>
                <SortHead column="p99" label="p99" order numeric=true class="services-p99" />
                <SortHead
                    column="instances"
                    label="Instances"
                    order
                    numeric=true
                    class="services-count"
                />
                <SortHead
                    column="versions"
                    label="Versions"
                    order
                    class="services-versions"
                />
                <SortHead
                    column="exceptions"
                    label="New exceptions"
                    order
                    numeric=true
                    class="services-count services-exceptions"
                />
                <th scope="col" class="services-links">
                    <span class="hidden">"Go to"</span>
                </th>
            </tr>
        </thead>
    }
}

/// The table. The keyboard marks rows.
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
                        <th scope="rowgroup" colspan="14">
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
            {table_head(order)}
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
    let change = rows.is_compared.then(|| change_cell(group, rows.headline.as_ref()));
    let times = rows.times;
    view! {
        <tr
            id=format!("{ROW}-{index}")
            aria-selected=move || (marked.get() == Some(index)).to_string()
        >
            <td class="services-name" title=name>
                <a href=address>{name_mark}</a>
            </td>
            <td class="grow">{change}</td>
            {rate_cells(group, times, "wide services-spark")}
            {failure_cells(group, times, "services-spark services-failure-spark")}
            {duration_cell(group, 50, "services-p50")}
            {p95_cells(group, times, "services-spark")}
            {duration_cell(group, 99, "services-p99")}
            {instances_cell(group, rows.is_compared)}
            {versions_cell(group, rows)}
            {exceptions_cell(group)}
            <td class="services-links">{row_links(group, links)}</td>
        </tr>
    }
}

/// The name with the service's colour. An endpoint has an open dot.
fn name_mark(group: &ChangedGroup) -> AnyView {
    if group.uninstrumented {
        view! { <PeerName peer=group.service.clone() /> }.into_any()
    } else {
        view! { <ServiceName service=group.service.clone() /> }.into_any()
    }
}

/// Returns the address of a row. A service has its own page with the numbers of the row, and an
/// endpoint is on the map.
pub(super) fn address_of(group: &ChangedGroup, links: Links) -> String {
    if group.uninstrumented { links.map(Some(&group.service)) } else { links.service_of_row(group) }
}

/// Reports whether any service of the table has a version. Without any, the column is hidden.
fn has_versions(rows: &ServiceRows) -> bool {
    rows.groups.iter().any(|group| !group.versions.is_empty())
}

/// The number of instances.
fn instances_cell(group: &ChangedGroup, is_compared: bool) -> impl IntoView + use<> {
    let title = match group.instance_count {
        Some(_) => Some("in a sample of traces; there may be more".to_owned()),
        None => missing_title(group, is_compared, "service.instance.id"),
    };
    view! {
        <td class="num services-count" title=title>
            {instances_text(group)}
        </td>
    }
}

fn instances_text(group: &ChangedGroup) -> String {
    group.instance_count.map_or_else(|| unknown_text(group), format::count)
}

/// Returns the text of a cell about which a service sends nothing. That of a store or outside
/// system, which sends no spans, is empty.
fn unknown_text(group: &ChangedGroup) -> String {
    if group.uninstrumented { String::new() } else { UNKNOWN.to_owned() }
}

/// Returns the title of a dash: the attribute that the service does not send. Without a report,
/// that is not known.
fn missing_title(group: &ChangedGroup, is_compared: bool, attribute: &str) -> Option<String> {
    (is_compared && !group.uninstrumented).then(|| format!("Sends no {attribute}"))
}

/// The versions: one that is new in the window as a badge, and others after the newest muted. The
/// title says which one is new.
fn versions_cell(group: &ChangedGroup, rows: &ServiceRows) -> impl IntoView + use<> {
    let version = |(index, version): (usize, &String)| {
        let text = truncate_name(version);
        let comma = (index > 0).then(|| view! { <span class="mute">", "</span> });
        let text = if is_new_version(group, version, &rows.deployments) {
            view! { <Badge tone=Tone::Warning>{text}</Badge> }.into_any()
        } else if index == 0 {
            text.into_any()
        } else {
            view! { <span class="mute">{text}</span> }.into_any()
        };
        view! { {comma} {text} }
    };
    let versions = group.versions.iter().enumerate().map(version).collect_view();
    let none = group.versions.is_empty().then(|| versions_text(group));
    let title = versions_title(group, &rows.deployments)
        .or_else(|| missing_title(group, rows.is_compared, "service.version"));
    view! { <td class="mono services-versions" title=title>{versions} {none}</td> }
}

/// Returns the text of the cell: `2.14.0, 2.13.4`.
fn versions_text(group: &ChangedGroup) -> String {
    if group.versions.is_empty() {
        return unknown_text(group);
    }
    let versions: Vec<String> = group.versions.iter().map(|name| truncate_name(name)).collect();
    versions.join(", ")
}

/// Reports whether a version of a service came in the window.
fn is_new_version(group: &ChangedGroup, version: &str, deployments: &[Deployment]) -> bool {
    deployments.iter().any(|new| new.service == group.service && new.version == version)
}

/// Returns all versions and the new one: `2.14.0, 2.13.4 in a sample of traces; new: 2.14.0 on 2 of
/// 4 instances`.
fn versions_title(group: &ChangedGroup, deployments: &[Deployment]) -> Option<String> {
    if group.versions.is_empty() {
        return None;
    }
    let all = format!("{} in a sample of traces", group.versions.join(", "));
    let new = deployments.iter().find(|deployment| deployment.service == group.service);
    let new = new.map(|deployment| {
        let (on, of) = (deployment.instance_count, deployment.service_instance_count);
        let on = if on == 0 { String::new() } else { format!(" on {on} of {of} instances") };
        format!("; new: {}{on}", deployment.version)
    });
    Some(all + &new.unwrap_or_default())
}

/// The number of new groups of exceptions; a muted *none* for 0, because a dash is a number that is
/// not known. The title has the types of those among the changes.
fn exceptions_cell(group: &ChangedGroup) -> impl IntoView + use<> {
    let class = match group.new_exception_count {
        None => "num services-count services-exceptions",
        Some(0) => "num services-count services-exceptions mute",
        Some(_) => "num services-count services-exceptions is-worse",
    };
    let new = group.changes.iter().filter(|change| change.kind == ChangeKind::NewException);
    let types: Vec<String> =
        new.filter_map(|change| change.text.as_deref()).map(truncate_name).collect();
    let title = (!types.is_empty()).then(|| types.join(", "));
    view! { <td class=class title=title>{exceptions_text(group)}</td> }
}

fn exceptions_text(group: &ChangedGroup) -> String {
    match group.new_exception_count {
        None => unknown_text(group),
        Some(0) => "none".to_owned(),
        Some(count) => format::count(count),
    }
}

fn row_links(group: &ChangedGroup, links: Links) -> impl IntoView + use<> {
    let service = group.service.as_str();
    let link = |href: String, icon, words: &'static str| {
        let label = format!("{words} of {}", format::service(service));
        view! {
            <a
                href=href
                class="button button-ghost button-icon"
                title=words
                aria-label=label
            >
                <Icon name=icon />
            </a>
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
    use tidings_proto::api::{ChangedGroup, GroupStats, StatsSince, TimeWindow};

    use super::{
        Deployment, ServiceRows, SortOrder, exceptions_text, instances_text, is_new_version,
        missing_title, sorted, versions_text, versions_title,
    };

    fn group(service: &str, rate: f64, score: f64, uninstrumented: bool) -> ChangedGroup {
        let now = GroupStats { rate_per_second: rate, ..GroupStats::default() };
        ChangedGroup {
            service: service.to_owned(),
            operation: None,
            uninstrumented,
            now,
            since: None,
            before: GroupStats::default(),
            steps: Vec::new(),
            baseline_steps: Vec::new(),
            changes: Vec::new(),
            failures: Vec::new(),
            sentence: None,
            score,
            only_feels: false,
            is_uncertain: false,
            versions: Vec::new(),
            instance_count: None,
            new_exception_count: None,
        }
    }

    #[test]
    fn a_service_that_the_sentence_names_is_among_the_changed_ones() {
        let headline = json!({
            "subject": { "kind": "peer", "service": "payment", "peer": "northpay" },
            "change": {
                "kind": "latency", "isWorse": true, "before": 1.0, "now": 4.0, "factor": 4.0,
                "difference": 3.0, "pValue": 0.001,
            },
            "with": [],
        });
        let zero = tidings_proto::UnixNanos(0);
        let window = TimeWindow {
            start_unix_nano: zero,
            end_unix_nano: zero,
            step_nano: tidings_proto::DurationNanos(1),
        };
        let rows = ServiceRows {
            groups: Vec::new(),
            times: (window, zero),
            headline: Some(serde_json::from_value(headline).unwrap()),
            deployments: Vec::new(),
            is_compared: true,
        };
        let is_changed = |name| rows.is_changed(&group(name, 1.0, 0.0, name == "northpay"));
        assert_eq!(["payment", "northpay", "cart"].map(is_changed), [true, true, false]);
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

    #[test]
    fn rows_sort_by_the_calls_that_they_state() {
        let mut changed = group("a", 2.0, 1.0, false);
        let stats = GroupStats { rate_per_second: 9.0, ..GroupStats::default() };
        changed.since = Some(StatsSince { start_unix_nano: tidings_proto::UnixNanos(7), stats });
        let rows = vec![group("b", 5.0, 0.0, false), changed];
        let rows = sorted(rows, &SortOrder::parse("-rate"));
        assert_eq!(rows.first().map(|group| group.service.as_str()), Some("a"), "since its change");
    }

    /// Returns a service with these versions, instances and new exceptions.
    fn running(
        name: &str,
        versions: &[&str],
        instances: Option<u64>,
        exceptions: Option<u64>,
    ) -> ChangedGroup {
        ChangedGroup {
            versions: versions.iter().map(|version| (*version).to_owned()).collect(),
            instance_count: instances,
            new_exception_count: exceptions,
            ..group(name, 1.0, 0.0, false)
        }
    }

    #[test]
    fn cells_show_what_the_answer_has_and_a_dash_for_what_is_not_known() {
        let texts = |group: &ChangedGroup| {
            [instances_text(group), versions_text(group), exceptions_text(group)]
        };
        let payment = running("payment", &["2.14.0", "2.13.4"], Some(1_204), Some(2));
        assert_eq!(texts(&payment), ["1,204", "2.14.0, 2.13.4", "2"]);
        assert_eq!(texts(&running("cart", &["3.1.7"], Some(2), Some(0))), ["2", "3.1.7", "none"]);
        let (cart, redis) = (group("cart", 1.0, 0.0, false), group("redis", 1.0, 0.0, true));
        assert_eq!(texts(&cart), ["–", "–", "–"]);
        assert_eq!(texts(&redis), ["", "", ""], "it sends no spans");
        let title = |group, is_compared| missing_title(group, is_compared, "service.version");
        assert_eq!(title(&cart, true).as_deref(), Some("Sends no service.version"));
        assert_eq!((title(&cart, false), title(&redis, true)), (None, None));
    }

    #[test]
    fn the_title_of_versions_says_on_how_many_instances_the_new_one_is() {
        let payment = running("payment", &["2.14.0", "2.13.4"], Some(4), None);
        let deployment = |service: &str, on: u64| Deployment {
            service: service.to_owned(),
            version: "2.14.0".to_owned(),
            previous_version: None,
            first_seen_unix_nano: tidings_proto::UnixNanos(0),
            span_count: 1,
            service_span_count: 2,
            instance_count: on,
            service_instance_count: 4,
        };
        let title = |deployments: &[Deployment]| versions_title(&payment, deployments).unwrap();
        let all = "2.14.0, 2.13.4 in a sample of traces";
        assert_eq!(title(&[deployment("cart", 1)]), all);
        assert_eq!(title(&[deployment("payment", 0)]), format!("{all}; new: 2.14.0"));
        let on_two = format!("{all}; new: 2.14.0 on 2 of 4 instances");
        assert_eq!(title(&[deployment("payment", 2)]), on_two);
        assert_eq!(versions_title(&group("redis", 1.0, 0.0, true), &[]), None);
        let new = |version| is_new_version(&payment, version, &[deployment("payment", 2)]);
        assert_eq!((new("2.14.0"), new("2.13.4")), (true, false));
        assert!(!is_new_version(&payment, "2.14.0", &[deployment("cart", 1)]));
    }

    #[test]
    fn rows_sort_by_instances_versions_and_new_exceptions() {
        let rows = vec![
            running("a", &["2.0"], Some(3), Some(0)),
            running("b", &["1.0", "0.9"], Some(12), Some(2)),
            running("c", &[], None, Some(1)),
        ];
        let names = |order: &str| -> String {
            let order = SortOrder::parse(order);
            sorted(rows.clone(), &order).into_iter().map(|group| group.service).collect()
        };
        assert_eq!((names("-instances"), names("instances")), ("bac".into(), "cab".into()));
        assert_eq!((names("-versions"), names("versions")), ("cab".into(), "bac".into()));
        assert_eq!((names("-exceptions"), names("exceptions")), ("bca".into(), "acb".into()));
    }
}
