//! Changes as rows: a transaction type or a service, its sentence, and its numbers beside
//! what they were.

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::api::{Change, ChangeKind, ChangeReport, ChangeStep, ChangedGroup};

use crate::{
    components::{ChangeBadge, ComparedSeries, ComparedSpark, NumberCell, ServiceDot, SparkTone},
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
                            "p95"
                        </th>
                        <th scope="col">
                            <span class="hidden">"p95 over time"</span>
                        </th>
                        <th scope="col" class="num">
                            "Failed"
                        </th>
                        <th scope="col" class="narrow-off">
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

#[allow(clippy::too_many_lines, reason = "the columns of one drawing, in their order")]
fn change_row(
    report: &ChangeReport,
    group: &ChangedGroup,
    index: usize,
    marked: RwSignal<Option<usize>>,
    links: Links,
) -> impl IntoView + use<> {
    let changed = |kinds: &[ChangeKind]| -> Option<&Change> {
        group.changes.iter().find(|change| kinds.contains(&change.kind))
    };
    let latency = changed(&[ChangeKind::Latency]);
    let errors = changed(&[ChangeKind::Errors]);
    let rate = changed(&[ChangeKind::Throughput, ChangeKind::Missing, ChangeKind::New]);
    let is_worse = |change: Option<&Change>| change.is_some_and(|change| change.is_worse);
    let series = |value| {
        let (now, before) = (&group.steps, &group.baseline_steps);
        let start = report.baseline.start_unix_nano;
        ComparedSeries::of_steps(report.window, start, now, before, value)
    };
    let p95 = series(|step: &ChangeStep| (step.count > 0).then_some(step.p95_nano.0 as f64));
    let failures = series(|step: &ChangeStep| {
        (step.count > 0).then(|| step.error_count as f64 / step.count as f64)
    });
    let calls = series(|step: &ChangeStep| Some(step.count as f64));
    let (now, before) = (group.now, group.before);
    let service = format::service(&group.service).to_owned();
    let name = group.operation.as_deref().map(|name| format::operation(name).to_owned());
    let label = name.clone().unwrap_or_else(|| service.clone());
    let beside = name.is_some().then(|| view! { " " <span class="mute">{service.clone()}</span> });
    let title = if name.is_some() { format!("{label} {service}") } else { service.clone() };
    let error_tone = if is_worse(errors) { SparkTone::Error } else { SparkTone::Plain };
    let latency_tone = if latency.is_some() { SparkTone::Accent } else { SparkTone::Plain };
    let (of_p95, of_failures, of_calls) =
        (format!("p95 of {label}"), format!("Failures of {label}"), format!("Calls of {label}"));
    view! {
        <tr
            id=format!("{ROW}-{index}")
            aria-selected=move || (marked.get() == Some(index)).to_string()
        >
            <td class="changes-name" title=title>
                <ServiceDot service=group.service.clone() />
                " "
                <A href=address_of(group, links)>{label}</A>
                {beside}
            </td>
            <td class="grow">
                <ChangeBadge
                    sentence=group.sentence.clone()
                    service=group.service.clone()
                    only_feels=group.only_feels
                />
            </td>
            <NumberCell
                now=format::duration(now.p95_nano)
                before=format::duration(before.p95_nano)
                changed=latency.is_some()
                is_worse=is_worse(latency)
            />
            <td>
                <ComparedSpark series=p95 tone=latency_tone label=of_p95 />
            </td>
            <NumberCell
                now=rates::percent(now.error_share)
                before=rates::percent(before.error_share)
                changed=errors.is_some()
                is_worse=is_worse(errors)
            />
            <td class="narrow-off">
                <ComparedSpark series=failures top_min=0.04 tone=error_tone label=of_failures />
            </td>
            <NumberCell
                now=rates::per_minute(now.rate_per_second)
                before=format!("{} /min", rates::per_minute(before.rate_per_second))
                changed=rate.is_some()
                is_worse=is_worse(rate)
            />
            <td class="wide">
                <ComparedSpark series=calls label=of_calls />
            </td>
        </tr>
    }
}
