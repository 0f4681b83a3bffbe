//! Changes as rows: a transaction type or a service, its sentence, and its numbers beside
//! what they were.

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::api::{Change, ChangeKind, ChangeReport, ChangeStep, ChangedGroup};

use crate::{
    browser,
    components::{
        ChangeBadge, ComparedSeries, ComparedSpark, NumberCell, ServiceDot, SparkTone,
        change::{latency_of, since, value_and_before},
    },
    format,
    format::rates,
    links::Links,
};

/// The id of a row is this and its index.
pub(super) const ROW: &str = "change-row";

/// The page of a row.
pub(super) fn address_of(group: &ChangedGroup, links: Links) -> String {
    match &group.operation {
        Some(operation) => links.transaction_type(&group.service, operation),
        None if group.uninstrumented => links.map(Some(&group.service)),
        None => links.service(&group.service),
    }
}

/// The table.
pub(super) fn change_table(
    report: &ChangeReport,
    groups: &[ChangedGroup],
    marked: RwSignal<Option<usize>>,
    links: Links,
) -> impl IntoView + use<> {
    let rows = groups
        .iter()
        .enumerate()
        .map(|(index, group)| change_row(report, group, index, marked, links))
        .collect_view();
    view! {
        <div class="card panel-body">
            <table class="table changes" aria-label="What changed">
                <thead>
                    <tr>
                        <th scope="col">"Transaction"</th>
                        <th scope="col">"What changed"</th>
                        <th scope="col" class="num">
                            "Duration"
                        </th>
                        <th scope="col" class="changes-latency-spark">
                            <span class="hidden">"p95 over time"</span>
                        </th>
                        <th scope="col" class="num">
                            "Failed"
                        </th>
                        <th scope="col" class="changes-failure-spark">
                            <span class="hidden">"Failures over time"</span>
                        </th>
                        <th scope="col" class="num">
                            "Calls/min"
                        </th>
                        <th scope="col" class="wide">
                            <span class="hidden">"Calls over time"</span>
                        </th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

fn change_row(
    report: &ChangeReport,
    group: &ChangedGroup,
    index: usize,
    marked: RwSignal<Option<usize>>,
    links: Links,
) -> impl IntoView + use<> {
    view! {
        <tr
            id=format!("{ROW}-{index}")
            aria-selected=move || (marked.get() == Some(index)).to_string()
        >
            {name_cell(group, links)}
            <td class="grow">
                <ChangeBadge
                    sentence=group.sentence.clone()
                    service=group.service.clone()
                    operation=group.operation.clone()
                    only_feels=group.only_feels
                />
            </td>
            {latency_cells(report, group)}
            {failure_cells(report, group)}
            {rate_cells(report, group)}
        </tr>
    }
}

/// The name that a row goes by: its operation, else its service.
fn name_of(group: &ChangedGroup) -> &str {
    match group.operation.as_deref() {
        Some(operation) => format::operation(operation),
        None => format::service(&group.service),
    }
}

/// The name as a link, an operation's with its service.
fn name_cell(group: &ChangedGroup, links: Links) -> impl IntoView + use<> {
    let service = format::service(&group.service).to_owned();
    let name = name_of(group).to_owned();
    let is_operation = group.operation.is_some();
    let title = if is_operation { format!("{name} {service}") } else { service.clone() };
    let beside = is_operation.then(|| view! { " " <span class="mute">{service}</span> });
    view! {
        <td class="changes-name" title=title>
            <ServiceDot service=group.service.clone() />
            " "
            <A href=address_of(group, links)>{name}</A>
            {beside}
        </td>
    }
}

fn change_of<'a>(group: &'a ChangedGroup, kinds: &[ChangeKind]) -> Option<&'a Change> {
    group.changes.iter().find(|change| kinds.contains(&change.kind))
}

fn is_worse(change: Option<&Change>) -> bool {
    change.is_some_and(|change| change.is_worse)
}

fn since_of(change: Option<&Change>) -> String {
    change.map_or_else(String::new, |change| since(change, browser::now()))
}

/// A value over the steps, beside the steps before.
fn series(
    report: &ChangeReport,
    group: &ChangedGroup,
    value: fn(&ChangeStep) -> Option<f64>,
) -> ComparedSeries {
    let (now, before) = (&group.steps, &group.baseline_steps);
    ComparedSeries::of_steps(report.window, report.baseline.start_unix_nano, now, before, value)
}

/// The p95, or the quantile that changed, each with its name; the p95 over time.
fn latency_cells(report: &ChangeReport, group: &ChangedGroup) -> impl IntoView + use<> {
    let latency = latency_of(group);
    let (now, before) = latency.map_or_else(
        || (format::duration(group.now.p95_nano), format::duration(group.before.p95_nano)),
        |change| value_and_before(change, 0),
    );
    let tone = if latency.is_some() { SparkTone::Accent } else { SparkTone::Plain };
    let p95 = series(report, group, |step| (step.count > 0).then_some(step.p95_nano.0 as f64));
    let label = format!("p95 of {}", name_of(group));
    view! {
        <NumberCell
            now
            before
            changed=latency.is_some()
            is_worse=is_worse(latency)
            since=since_of(latency)
        />
        <td class="changes-latency-spark">
            <ComparedSpark series=p95 tone label />
        </td>
    }
}

/// The share of failures, now and over time.
fn failure_cells(report: &ChangeReport, group: &ChangedGroup) -> impl IntoView + use<> {
    let errors = change_of(group, &[ChangeKind::Errors]);
    let tone = if is_worse(errors) { SparkTone::Error } else { SparkTone::Plain };
    let failures = series(report, group, |step| {
        (step.count > 0).then(|| step.error_count as f64 / step.count as f64)
    });
    let label = format!("Failures of {}", name_of(group));
    let (now, before) = errors.map_or_else(
        || (rates::percent(group.now.error_share), rates::percent(group.before.error_share)),
        |change| value_and_before(change, 95),
    );
    view! {
        <NumberCell
            now
            before
            changed=errors.is_some()
            is_worse=is_worse(errors)
            since=since_of(errors)
        />
        <td class="changes-failure-spark">
            <ComparedSpark series=failures top_min=0.04 tone label />
        </td>
    }
}

/// Calls per minute and calls over time.
fn rate_cells(report: &ChangeReport, group: &ChangedGroup) -> impl IntoView + use<> {
    let kinds = [ChangeKind::Throughput, ChangeKind::Missing, ChangeKind::New];
    let rate = change_of(group, &kinds);
    let calls = series(report, group, |step| Some(step.count as f64));
    let label = format!("Calls of {}", name_of(group));
    view! {
        <NumberCell
            now=rates::per_minute(group.now.rate_per_second)
            before=format!("{} /min", rates::per_minute(group.before.rate_per_second))
            changed=rate.is_some()
            is_worse=is_worse(rate)
        />
        <td class="wide">
            <ComparedSpark series=calls label />
        </td>
    }
}
