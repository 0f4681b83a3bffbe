//! The services of the trace in figures, as the API gave them.

use leptos::prelude::*;
use tidings_proto::{DurationNanos, api::ServiceTime};

use super::page::Page;
use crate::{colour, components::ServiceName, format};

/// The table, most time on the critical path first.
pub(crate) fn services_tab(page: Page) -> impl IntoView {
    let rows = move || {
        page.model.with(|model| {
            let services = &model.summary.services;
            let total = services.iter().map(|service| service.critical_nano.0).sum();
            services.iter().map(|service| row(page, service, total)).collect_view()
        })
    };
    view! {
        <div class="trace-pane">
            <table class="table services-table">
                <thead>
                    <tr>
                        <th>"Service"</th>
                        <th class="number">"Spans"</th>
                        <th class="number">"Errors"</th>
                        <th class="number" title="How long at least one of its spans was open">
                            "Response time"
                        </th>
                        <th class="number" title="The time in which it did not wait for calls, added up">
                            "Self time"
                        </th>
                        <th class="number" title="Its own time on the critical path">
                            "On critical path"
                        </th>
                        <th class="services-share">"Share"</th>
                        <th></th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

fn row(page: Page, service: &ServiceTime, total: u64) -> impl IntoView + use<> {
    let nanos = |duration: DurationNanos| format::duration(duration);
    let critical = service.critical_nano.0;
    let width = if total == 0 { 0.0 } else { critical as f64 * 100.0 / total as f64 };
    let error_class = if service.error_count > 0 { "number trace-errors" } else { "number faint" };
    let name = service.service.clone();
    let find = move |_| {
        let name = name.clone();
        page.state.update(|state| {
            state.find = name;
            state.tab = super::state::Tab::Waterfall;
        });
    };
    view! {
        <tr>
            <td>
                <ServiceName service=service.service.clone() />
            </td>
            <td class="number">{format::count(service.span_count)}</td>
            <td class=error_class>{format::count(service.error_count)}</td>
            <td class="number">{nanos(service.busy_nano)}</td>
            <td class="number">{nanos(service.self_nano)}</td>
            <td class="number">{nanos(service.critical_nano)}</td>
            <td class="services-share">
                <span class="services-share-bar">
                    <span
                        class="strip-part"
                        style=("--hue", colour::hue_value(&service.service))
                        style=("width", format!("{width:.2}%"))
                    ></span>
                </span>
                <span class="number">{format::share(critical, total)}</span>
            </td>
            <td>
                <button class="button button-ghost button-small" type="button" on:click=find>
                    "Show its spans"
                </button>
            </td>
        </tr>
    }
}
