//! Services: the ones that changed by themselves, those that only feel a change, and their rates,
//! failures and durations compared with the baseline.
//!
//! Owns the requests (changes, or plain rates with those before while there is no report of
//! changes), the filter by name and the choice of changed ones. Both choices are in the address.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::api::{ChangeReport, RedResult};

mod plain_rates;
mod service_table;

use plain_rates::groups_of_rates;
use service_table::{ROW, ServiceRows, address_of, service_table, sorted};

use crate::{
    api::analysis::{changes, red},
    components::{
        AllTimeButton, EmptyState, LoadingRows, ReportSentence, Segment, Segments,
        SentencePlaceholder, WatchedRequest, compared_text, group_cells::changed_rows_note,
        use_sort,
    },
    format,
    links::use_links,
    page_time::use_page_time,
    request_state::RequestState,
    shell::{crumb, set_crumbs},
    shortcuts::use_row_shortcuts,
    url::{History, use_edit_query, use_navigation, use_query},
};

/// Number of requested services: the maximum that the API returns.
const CHANGES_MAX: u32 = 200;
/// Number of requested services when only plain rates are available.
const LIMIT: u32 = 1_000;

/// Answers about the services.
#[derive(Clone, Copy)]
struct ServiceRequests {
    report: RequestState<ChangeReport>,
    rates: RequestState<RedResult>,
}

impl ServiceRequests {
    fn send() -> Self {
        let time = use_page_time();
        let report =
            RequestState::new(move || Some(changes(&time.analysis().with("limit", CHANGES_MAX))));
        let has_none = Memo::new(move |_| has_failed(report));
        let rates = RequestState::new(move || {
            let analysis = has_none.get().then(|| time.analysis())?;
            let analysis = analysis.with("by", "service,served").with("beforeSteps", true);
            Some(red(&analysis.with("limit", LIMIT)))
        });
        time.refresh_while_live(move || report.pending() || rates.pending());
        Self { report, rates }
    }

    /// Returns all rows, in the order of the answer. `None` before an answer.
    fn rows(self) -> Option<ServiceRows> {
        if let Some(report) = self.report.value() {
            return Some(ServiceRows {
                groups: report.services.clone(),
                times: (report.window, report.baseline.start_unix_nano),
                headline: report.headline.clone(),
                deployments: report.deployments.clone(),
                is_compared: true,
            });
        }
        let rates = self.rates.value()?;
        let earlier_start = rates.known_since_unix_nano.unwrap_or(rates.window.start_unix_nano);
        Some(ServiceRows {
            groups: groups_of_rates(&rates),
            times: (rates.window, earlier_start),
            headline: None,
            deployments: Vec::new(),
            is_compared: false,
        })
    }
}

/// Reports whether the report failed and no earlier one is kept: the case for plain rates.
fn has_failed(report: RequestState<ChangeReport>) -> bool {
    report.value().is_none() && report.error().is_some()
}

/// The page.
#[component]
#[must_use]
pub fn ServicesPage() -> impl IntoView {
    set_crumbs(crumb("Services"));
    let (query, links) = (use_query(), use_links());
    let requests = ServiceRequests::send();
    let order = use_sort("-change");
    let name = Memo::new(move |_| query.with(|query| query.get("name").unwrap_or("").to_owned()));
    let only_changed = Memo::new(move |_| query.with(|query| query.get("only") == Some("changed")));
    let all = Memo::new(move |_| requests.rows().map(Arc::new));
    let rows = Memo::new(move |_| {
        let all = all.get()?;
        let wanted = name.get().to_lowercase();
        let shown = all.groups.iter().filter(|group| {
            group.service.to_lowercase().contains(&wanted)
                && (!only_changed.get() || all.is_changed(group))
        });
        let groups = order.with(|order| sorted(shown.cloned().collect(), order));
        Some(Arc::new(ServiceRows { groups, ..(*all).clone() }))
    });
    let count = Memo::new(move |_| rows.get().map_or(0, |rows| rows.groups.len()));
    let go = use_navigation();
    let marked = use_row_shortcuts("Services", ROW, count, move |at| {
        let address = rows.with_untracked(|rows| {
            let rows = rows.as_ref()?;
            rows.groups.get(at).map(|group| address_of(group, links.get_untracked()))
        });
        if let Some(address) = address {
            go(&address, History::Push);
        }
    });
    let table = move || {
        let rows = Memo::new(move |last: Option<&Arc<ServiceRows>>| {
            rows.get().or_else(|| last.cloned()).unwrap_or_else(|| Arc::new(empty_rows()))
        });
        service_table(rows, order, marked, links)
    };
    let is_filled = Memo::new(move |_| count.get() > 0);
    let is_stale = move || requests.report.pending() && all.with(Option::is_some);
    view! {
        <div class="page">
            <ServicesHead requests all name only_changed />
            {request_states(requests)}
            <Show when=move || is_filled.get()>
                <div class="card panel-body" class:is-stale=is_stale>
                    {table}
                </div>
            </Show>
            <EmptyServiceList all count />
        </div>
    }
}

fn empty_rows() -> ServiceRows {
    let zero = tidings_proto::UnixNanos(0);
    let window = tidings_proto::api::TimeWindow {
        start_unix_nano: zero,
        end_unix_nano: zero,
        step_nano: tidings_proto::DurationNanos(1),
    };
    ServiceRows {
        groups: Vec::new(),
        times: (window, zero),
        headline: None,
        deployments: Vec::new(),
        is_compared: false,
    }
}

#[component]
fn ServicesHead(
    requests: ServiceRequests,
    all: Memo<Option<Arc<ServiceRows>>>,
    name: Memo<String>,
    only_changed: Memo<bool>,
) -> impl IntoView {
    let links = use_links();
    let edit = use_edit_query();
    let words = move || {
        let all = all.get()?;
        let outside = all.groups.iter().filter(|group| group.uninstrumented).count();
        let services = format::counted((all.groups.len() - outside) as u64, "service");
        let times = requests.report.value().map(|report| {
            let baseline = report.baseline;
            compared_text(report.window, (baseline.start_unix_nano, baseline.end_unix_nano))
        });
        let outside = match outside {
            0 => String::new(),
            count => format!(", {}", format::outside_systems(count as u64)),
        };
        let times = times.map(|times| format!(", {times}"));
        Some(format!("{services}{outside}{}", times.unwrap_or_default()))
    };
    let note = move || all.with(|all| changed_rows_note(&all.as_ref()?.groups));
    let sentence = move || {
        if requests.report.loading() {
            return Some(view! { <SentencePlaceholder /> }.into_any());
        }
        let report = requests.report.value()?;
        Some(view! { <ReportSentence report links=links.get() /> }.into_any())
    };
    let segments = Memo::new(move |_| {
        let changed = all
            .get()
            .map_or(0, |all| all.groups.iter().filter(|group| all.is_changed(group)).count());
        vec![Segment::new("all", "All"), Segment::new("changed", format!("Changed {changed}"))]
    });
    let chosen = Memo::new(move |_| if only_changed.get() { "changed" } else { "all" }.to_owned());
    let choose = edit.clone();
    let choose = Callback::new(move |which: &'static str| {
        choose(History::Replace, &|query| query.set("only", (which != "all").then_some(which)));
    });
    let typed = move |event| {
        let text: String = event_target_value(&event);
        edit(History::Replace, &|query| query.set("name", (!text.is_empty()).then_some(&text)));
    };
    view! {
        <header class="page-head">
            <div class="page-title">
                <h1>"Services"</h1>
                <span class="mute services-times">{words} {note}</span>
                <span class="page-tools">
                    <input
                        class="input"
                        type="search"
                        placeholder="Name contains"
                        aria-label="Show services whose name contains"
                        prop:value=move || name.get()
                        on:input=typed
                    />
                    <Segments label="Which services" segments chosen on_choose=choose />
                    <A href=move || links.get().map(None) attr:class="button">
                        "On the map"
                    </A>
                </span>
            </div>
            <div class="say-room">{sentence}</div>
        </header>
    }
}

/// The loading state and the failed requests.
fn request_states(requests: ServiceRequests) -> impl IntoView {
    let ServiceRequests { report, rates } = requests;
    let is_plain = Memo::new(move |_| has_failed(report));
    let is_loading = Memo::new(move |_| {
        report.loading() || is_plain.get() && rates.error().is_none() && rates.loading()
    });
    let plain = move || {
        is_plain.get().then(|| {
            view! {
                {WatchedRequest::new("Calls and durations are not known", rates).note()}
                <p class="mute">
                    "Below are the calls that services serve; services that serve none are left out."
                </p>
            }
        })
    };
    view! {
        {WatchedRequest::new("What changed is not known", report).note()}
        {plain}
        <Show when=move || is_loading.get()>
            <LoadingRows />
        </Show>
    }
}

/// An empty list: the filters and the range that may be the reason, each with a button that removes
/// it.
#[component]
fn EmptyServiceList(all: Memo<Option<Arc<ServiceRows>>>, count: Memo<usize>) -> impl IntoView {
    let edit = use_edit_query();
    let state = Memo::new(move |_| {
        (count.get() == 0).then(|| all.get().map(|all| all.groups.is_empty())).flatten()
    });
    let lift = move |_| {
        edit(History::Push, &|query| {
            query.remove("name");
            query.remove("only");
        });
    };
    let body = move || {
        let lift = lift.clone();
        state.get().map(|is_empty| {
            if is_empty {
                view! {
                    <EmptyState title="No service was called">
                        <p>"No call that started in this time range is stored."</p>
                        <div class="state-actions">
                            <AllTimeButton />
                            <a class="button" href="/connect">
                                "Connect a sender"
                            </a>
                        </div>
                    </EmptyState>
                }
                .into_any()
            } else {
                view! {
                    <EmptyState title="No service is like that">
                        <p>"The filter by name, or the choice of those that changed, leaves none."</p>
                        <div class="state-actions">
                            <button class="button" type="button" on:click=lift>
                                "Show all services"
                            </button>
                        </div>
                    </EmptyState>
                }
                .into_any()
            }
        })
    };
    view! { {body} }
}
