//! Changes as rows: a transaction type or a service, its change, its failures and durations since
//! the change or in the window, and its calls: of a service since the change, too.

use leptos::prelude::*;
use tidings_proto::api::{ChangeReport, ChangedGroup, FailureShare};

use crate::{
    components::{
        ServiceDot,
        change::{change_cell, truncate_name},
        group_cells::{calls_title, failure_cells, p95_cells, rate_cells},
    },
    format,
    format::rates,
    links::Links,
};

/// Prefix of a row's id, followed by its index.
pub(super) const ROW: &str = "change-row";

/// Returns the address of a row's page.
pub(super) fn address_of(group: &ChangedGroup, links: Links) -> String {
    match &group.operation {
        Some(operation) => links.transaction_type(&group.service, operation),
        None if group.uninstrumented => links.map(Some(&group.service)),
        None => links.service_of_row(group),
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
                            "p95"
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
                        <th scope="col" class="num" title=calls_title(groups)>
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
    let times = (report.window, report.baseline.start_unix_nano);
    view! {
        <tr
            id=format!("{ROW}-{index}")
            aria-selected=move || (marked.get() == Some(index)).to_string()
        >
            {name_cell(group, links)}
            <td class="grow">
                {change_cell(group, report.headline.as_ref())} {failures_line(&group.failures)}
            </td>
            {p95_cells(group, times, "changes-latency-spark")}
            {failure_cells(group, times, "changes-failure-spark")}
            {rate_cells(group, times, "wide")}
        </tr>
    }
}

/// A line with the most frequent kind of failure. Its title has all of them with their messages.
fn failures_line(failures: &[FailureShare]) -> Option<impl IntoView + use<>> {
    let line = failure_text(failures.first()?);
    let words = |failure: &FailureShare| format!("{}: {}", failure_text(failure), failure.message);
    let title = failures.iter().map(words).collect::<Vec<_>>().join("\n");
    Some(view! {
        <div class="change-cell">
            <span class="badge-cut mute" title=title>
                {line}
            </span>
        </div>
    })
}

/// Returns a kind of failure as words: `83 % of failures: CardDeclined in payment`.
fn failure_text(failure: &FailureShare) -> String {
    let name = truncate_name(failure.exception_type.as_ref().unwrap_or(&failure.message));
    let service = truncate_name(format::service(&failure.service));
    format!("{} of failures: {name} in {service}", rates::percent(failure.share))
}

/// The name as a link. That of an operation has its service.
fn name_cell(group: &ChangedGroup, links: Links) -> impl IntoView + use<> {
    let service = format::service(&group.service).to_owned();
    let operation = group.operation.as_deref().map(format::operation);
    let name = operation.unwrap_or(&service).to_owned();
    let is_operation = operation.is_some();
    let title = if is_operation { format!("{name} {service}") } else { service.clone() };
    let beside = is_operation.then(|| view! { " " <span class="mute">{service}</span> });
    view! {
        <td class="changes-name" title=title>
            <ServiceDot service=group.service.clone() />
            " "
            <a href=address_of(group, links)>{name}</a>
            {beside}
        </td>
    }
}

#[cfg(test)]
mod tests {
    use super::{FailureShare, failure_text};

    #[test]
    fn a_failure_is_named_by_its_exception_else_by_its_message() {
        let mut failure = FailureShare {
            service: "payment".to_owned(),
            exception_type: Some("CardDeclined".to_owned()),
            message: "no card".to_owned(),
            share: 0.5,
        };
        assert_eq!(failure_text(&failure), "50.0 % of failures: CardDeclined in payment");
        failure.exception_type = None;
        assert_eq!(failure_text(&failure), "50.0 % of failures: no card in payment");
    }
}
