//! The services of the trace in figures, as given by the API.

use leptos::prelude::*;
use tidings_proto::api::ServiceTime;

use super::{find::FOUND, page_signals::PageSignals};
use crate::{
    colour,
    components::{ServiceName, SortHead, SortOrder, use_sort, waiting_part},
    format, number_format,
};

/// The table, most time on the critical path first. Each service has the number of its spans that
/// match the find text.
pub(crate) fn services_tab(page: PageSignals) -> impl IntoView {
    let order = use_sort("-critical");
    let rows = move || {
        let mut services = page.model.with(|model| model.summary.services.clone());
        order.with(|order| sort(&mut services, order));
        let rows = services.iter().zip(found_counts(page, &services));
        rows.map(|(service, found)| row(page, service, found)).collect_view()
    };
    view! {
        <div class="trace-pane">
            <table class="table services-table">
                <thead>
                    <tr>
                        <SortHead column="service" label="Service" order />
                        <SortHead column="spans" label="Spans" order numeric=true />
                        <SortHead column="errors" label="Errors" order numeric=true />
                        <SortHead column="busy" label="Response time" order numeric=true />
                        <SortHead column="self" label="Self time" order numeric=true />
                        <SortHead column="critical" label="On critical path" order numeric=true />
                        <th class="services-share">"Share"</th>
                        <th></th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

fn sort(services: &mut [ServiceTime], order: &SortOrder) {
    services.sort_by(|one, other| match order.column.as_str() {
        "service" => order.compare(&one.service, &other.service),
        "spans" => order.compare(one.span_count, other.span_count),
        "errors" => order.compare(one.error_count, other.error_count),
        "busy" => order.compare(one.busy_nano.0, other.busy_nano.0),
        "self" => order.compare(one.self_nano.0, other.self_nano.0),
        _ => order.compare(one.critical_nano.0, other.critical_nano.0),
    });
}

/// Returns the number of matches of each service. `None` while no span of the trace matches.
fn found_counts(page: PageSignals, services: &[ServiceTime]) -> Vec<Option<u64>> {
    page.matches.with(|matches| {
        page.model.with(|model| {
            let counts = matches.by_service(model);
            let of_service = |service: &ServiceTime| {
                let count = counts.get(service.service.as_str()).copied();
                (!counts.is_empty()).then_some(count.unwrap_or(0))
            };
            services.iter().map(of_service).collect()
        })
    })
}

fn row(page: PageSignals, service: &ServiceTime, found: Option<u64>) -> impl IntoView + use<> {
    let nanos = format::duration_or_none;
    let width = service.critical_share * 100.0;
    let error_class = if service.error_count > 0 { "number trace-errors" } else { "number faint" };
    let is_missed = found == Some(0);
    let marks = found.filter(|count| *count > 0).map(|count| {
        let words = format!("{FOUND}{} found", format::count(count));
        view! { <span class="services-found">{words}</span> }
    });
    let name = service.service.clone();
    let find = move |_| {
        let name = name.clone();
        page.state.update(|state| {
            state.find = name;
            state.tab = super::trace_state::Tab::Waterfall;
        });
    };
    view! {
        <tr class:is-missed=is_missed>
            <td>
                <ServiceName service=service.service.clone() />
                {marks}
            </td>
            <td class="number">{format::count(service.span_count)}</td>
            <td class=error_class>{format::count(service.error_count)}</td>
            <td class="number">{nanos(service.busy_nano)}</td>
            <td class="number">{nanos(service.self_nano)} " " {waiting_part(service)}</td>
            <td class="number">{nanos(service.critical_nano)}</td>
            <td class="services-share">
                <span class="services-share-bar">
                    <span
                        class="strip-part"
                        style=("--hue", colour::hue_value(&service.service))
                        style=("width", format!("{width:.2}%"))
                    ></span>
                </span>
                <span class="number">{number_format::share(service.critical_share)}</span>
            </td>
            <td>
                <button class="button button-ghost button-small" type="button" on:click=find>
                    "Show its spans"
                </button>
            </td>
        </tr>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::DurationNanos;

    use super::{ServiceTime, SortOrder, sort};

    #[test]
    fn headings_order_all_services() {
        let service = |name: &str, spans: u64, critical: u64| ServiceTime {
            service: name.to_owned(),
            span_count: spans,
            error_count: 0,
            busy_nano: DurationNanos(1),
            self_nano: DurationNanos(1),
            waiting_nano: DurationNanos(0),
            critical_nano: DurationNanos(critical),
            critical_share: 0.0,
            critical_waiting_nano: DurationNanos(0),
            critical_waiting_peer: None,
            critical_waiting_peer_nano: None,
        };
        let mut services = vec![service("b", 1, 30), service("a", 9, 10), service("c", 5, 20)];
        for (order, wanted) in [("-critical", "bca"), ("service", "abc"), ("-spans", "acb")] {
            sort(&mut services, &SortOrder::parse(order));
            let names: String = services.iter().map(|one| one.service.as_str()).collect();
            assert_eq!(names, wanted, "{order}");
        }
    }
}
