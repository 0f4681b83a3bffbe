//! Services: the ones that changed by themselves, those that only feel a change, and their rates,
//! failures and durations compared with the baseline.
//!
//! Owns the requests (changes; plain rates with those before where the report of changes failed or
//! is slow), the filter by name, the choice of changed ones, and the order of the rows, which is kept
//! while the reader is at one. Both choices are in the address.

use std::{collections::HashMap, sync::Arc, time::Duration};

use leptos::prelude::*;
use tidings_proto::api::{ChangeReport, ChangedGroup, RedResult};

mod plain_rates;
mod service_table;

use plain_rates::groups_of_rates;
use service_table::{READ_ROWS, ROW, ServiceRows, address_of, service_table, sorted};

use crate::{
    api::analysis::{changes, red},
    browser,
    components::{
        AllTimeButton, EmptyState, LoadingRows, ReportSentence, Segment, Segments,
        SentencePlaceholder, WatchedRequest, compared_text, group_cells::changed_rows_note,
        use_ranking, use_sort,
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
/// Maximum time that rows wait for the report. Plain rates then stand in for it. A faster report is
/// not slowed by a second request.
const REPORT_WAIT: Duration = Duration::from_secs(1);
/// Words for rows that stand in for those of the report.
const AWAITS_CHANGES: &str = "numbers of the whole range until it is known what changed";

/// Answers about the services.
#[derive(Clone, Copy)]
struct ServiceRequests {
    report: RequestState<ChangeReport>,
    rates: RequestState<RedResult>,
}

impl ServiceRequests {
    /// Sends the requests. Plain rates are of no use while only changed services are listed.
    fn send(only_changed: Memo<bool>) -> Self {
        let time = use_page_time();
        let report =
            RequestState::new(move || Some(changes(&time.analysis().with("limit", CHANGES_MAX))));
        let is_overdue = browser::use_elapsed(REPORT_WAIT);
        let needs_rates = Memo::new(move |_| {
            let is_awaited = is_overdue.get() && report.loading() && !only_changed.get();
            is_awaited || has_failed(report)
        });
        let rates = RequestState::new(move || {
            let analysis = needs_rates.get().then(|| time.analysis())?;
            let analysis = analysis.with("by", "service,served").with("beforeSteps", true);
            Some(red(&analysis.with("limit", LIMIT)))
        });
        time.refresh_while_live(move || report.pending() || rates.pending());
        Self { report, rates }
    }

    /// Returns all rows, in the order of the answer. `None` before an answer, and while it is not
    /// known which of them the list of changed ones has.
    fn rows(self, only_changed: bool) -> Option<ServiceRows> {
        if let Some(report) = self.report.value() {
            return Some(ServiceRows {
                groups: report.services.clone(),
                times: (report.window, report.baseline.start_unix_nano),
                headline: report.headline.clone(),
                deployments: report.deployments.clone(),
                is_compared: true,
            });
        }
        if only_changed && !has_failed(self.report) {
            return None;
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

    /// Reports whether a newer answer will replace those of the rows.
    fn are_stale(self) -> bool {
        let rates_change = self.rates.pending() && !self.rates.loading();
        rates_change || (self.report.pending() && !self.report.loading())
    }
}

/// Reports whether the report failed and no earlier one is kept.
fn has_failed(report: RequestState<ChangeReport>) -> bool {
    report.value().is_none() && report.error().is_some()
}

/// The page.
#[component]
#[must_use]
pub fn ServicesPage() -> impl IntoView {
    set_crumbs(crumb("Services"));
    let (query, links) = (use_query(), use_links());
    let order = use_sort("-change");
    let name = Memo::new(move |_| query.with(|query| query.get("name").unwrap_or("").to_owned()));
    let only_changed = Memo::new(move |_| query.with(|query| query.get("only") == Some("changed")));
    let requests = ServiceRequests::send(only_changed);
    let all = Memo::new(move |_| requests.rows(only_changed.get()).map(Arc::new));
    let ranking = use_ranking(move || all.get(), READ_ROWS);
    let rows = Memo::new(move |_| {
        let all = all.get()?;
        let wanted = name.get().to_lowercase();
        let shown = all.groups.iter().filter(|group| {
            group.service.to_lowercase().contains(&wanted)
                && (!only_changed.get() || all.is_changed(group))
        });
        let mut groups = order.with(|order| sorted(shown.cloned().collect(), order));
        if let Some(ranking) = ranking.get().filter(|ranking| !Arc::ptr_eq(ranking, &all)) {
            keep_order(&mut groups, &order.with(|order| sorted(ranking.groups.clone(), order)));
        }
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
    let is_stale = move || requests.are_stale();
    view! {
        <div class="page">
            <ServicesHead requests all name only_changed />
            {request_states(requests, count)}
            <Show when=move || is_filled.get()>
                <div class="card panel-body" class:is-stale=is_stale>
                    {table}
                </div>
            </Show>
            <EmptyServiceList requests all count />
        </div>
    }
}

/// Orders groups as they are in another list. Those that it lacks come after the others of their
/// kind: services, then endpoints.
fn keep_order(groups: &mut [ChangedGroup], ranked: &[ChangedGroup]) {
    let places = ranked.iter().enumerate();
    let places: HashMap<(bool, &str), usize> = places
        .map(|(place, group)| ((group.uninstrumented, group.service.as_str()), place))
        .collect();
    groups.sort_by_key(|group| {
        let place = places.get(&(group.uninstrumented, group.service.as_str())).copied();
        (group.uninstrumented, place.unwrap_or(usize::MAX))
    });
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
    let words = move || all.get().map(|all| head_words(requests.report, &all.groups));
    let note = move || all.with(|all| changed_rows_note(&all.as_ref()?.groups));
    let sentence = move || {
        if requests.report.loading() {
            return Some(view! { <SentencePlaceholder /> }.into_any());
        }
        let report = requests.report.value()?;
        Some(view! { <ReportSentence report links=links.get() /> }.into_any())
    };
    let segments = Memo::new(move |_| {
        // It is not known before the report.
        let all = all.get().filter(|all| all.is_compared);
        let changed =
            all.map(|all| all.groups.iter().filter(|group| all.is_changed(group)).count());
        let changed = match changed {
            Some(count) => format!("Changed {count}"),
            None => "Changed".to_owned(),
        };
        vec![Segment::new("all", "All"), Segment::new("changed", changed)]
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
                    <a href=move || links.get().map(None) class="button">
                        "On the map"
                    </a>
                </span>
            </div>
            <div class="say-room">{sentence}</div>
        </header>
    }
}

/// Returns the numbers of services and endpoints, and the time that the rows are of.
fn head_words(report: RequestState<ChangeReport>, groups: &[ChangedGroup]) -> String {
    let outside = groups.iter().filter(|group| group.uninstrumented).count();
    let services = format::counted((groups.len() - outside) as u64, "service");
    let outside = match outside {
        0 => String::new(),
        count => format!(", {}", format::outside_systems(count as u64)),
    };
    let times = report.value().map(|report| {
        let baseline = report.baseline;
        compared_text(report.window, (baseline.start_unix_nano, baseline.end_unix_nano))
    });
    let times = times.or_else(|| report.loading().then(|| AWAITS_CHANGES.to_owned()));
    let times = times.map(|times| format!(", {times}"));
    format!("{services}{outside}{}", times.unwrap_or_default())
}

/// The loading state and the failed requests.
fn request_states(requests: ServiceRequests, count: Memo<usize>) -> impl IntoView {
    let ServiceRequests { report, rates } = requests;
    let is_plain = Memo::new(move |_| has_failed(report));
    let is_loading = Memo::new(move |_| {
        let awaits_rates = || is_plain.get() && rates.error().is_none() && rates.loading();
        count.get() == 0 && (report.loading() || awaits_rates())
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
fn EmptyServiceList(
    requests: ServiceRequests,
    all: Memo<Option<Arc<ServiceRows>>>,
    count: Memo<usize>,
) -> impl IntoView {
    let edit = use_edit_query();
    let state = Memo::new(move |_| {
        // The report may list services and endpoints that plain rates lack.
        let is_empty = count.get() == 0 && !requests.report.loading();
        is_empty.then(|| all.get().map(|all| all.groups.is_empty())).flatten()
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
                    <EmptyState title="No service matches">
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

#[cfg(test)]
mod tests {
    use tidings_proto::api::{ChangedGroup, GroupStats};

    use super::keep_order;

    #[test]
    fn rows_keep_their_order_and_new_ones_come_after_those_of_their_kind() {
        let group = |&(service, uninstrumented): &(&str, bool)| {
            let group = serde_json::json!({
                "service": service, "uninstrumented": uninstrumented,
                "now": GroupStats::default(), "before": GroupStats::default(), "steps": [],
                "baselineSteps": [], "changes": [], "score": 0.0,
            });
            serde_json::from_value::<ChangedGroup>(group).unwrap()
        };
        let newest = [("pay", false), ("new", false), ("cart", false), ("cart", true)];
        let mut groups: Vec<ChangedGroup> = newest.iter().map(group).collect();
        let ranked: Vec<ChangedGroup> =
            [("cart", false), ("pay", false)].iter().map(group).collect();
        keep_order(&mut groups, &ranked);
        let names = groups.iter().map(|group| (group.service.as_str(), group.uninstrumented));
        let expected = [("cart", false), ("pay", false), ("new", false), ("cart", true)];
        assert_eq!(names.collect::<Vec<_>>(), expected);
    }
}
