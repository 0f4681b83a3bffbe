//! Home: changes, arrivals, refused senders. Before any data was received, it is Welcome.
//!
//! Owns the request for changes and the choice of transactions or services. The shell requests the
//! arrivals.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{ChangeReport, ChangedGroup};

use super::connect::WelcomeUntilData;
use crate::{
    api::analysis::changes,
    components::{
        EmptyState, ErrorState, LoadingRows, ReportSentence, Segment, Segments, WatchedRequest,
        compared_text, group_cells::changed_rows_note,
    },
    format,
    links::use_links,
    page_time::use_page_time,
    request_state::RequestState,
    server_watch::use_server,
    shell::{crumb, set_crumbs, set_welcome},
    shortcuts::use_row_shortcuts,
    url::{History, TimeRange, use_edit_query, use_navigation, use_query},
};

mod arrivals;
mod change_table;
mod new_findings;

use arrivals::{arrivals_card, doctor_card};
use change_table::{ROW, address_of, change_table};
use new_findings::{new_exceptions, new_log_patterns};

/// The page.
#[component]
#[must_use]
pub fn HomePage() -> impl IntoView {
    let server = use_server();
    // Only the first answer counts, because Welcome itself waits for the first span.
    let has_data = Memo::new(move |known: Option<&Option<bool>>| {
        known.copied().flatten().or_else(|| server.status().map(|status| status.has_data))
    });
    set_welcome(move || has_data.get() == Some(false));
    let failed = move || {
        let error = server.request_state().error().filter(|_| has_data.get().is_none());
        let retry = Callback::new(move |()| server.refresh());
        error.map(|error| {
            let name = "The state of the server";
            view! { <div class="page"><ErrorState name error on_retry=retry /></div> }
        })
    };
    let body = move || match has_data.get() {
        Some(true) => view! { <Changes /> }.into_any(),
        Some(false) => view! { <WelcomeUntilData /> }.into_any(),
        None => {
            set_crumbs(crumb("Home"));
            view! { {failed} }.into_any()
        }
    };
    view! { {body} }
}

#[component]
fn Changes() -> impl IntoView {
    set_crumbs(crumb("Home"));
    let links = use_links();
    let query = use_query();
    let time = use_page_time();
    let report = RequestState::new(move || Some(changes(&time.analysis())));
    time.refresh_while_live(move || report.pending());
    let services = Memo::new(move |_| query.with(|query| query.get("by") == Some("services")));
    let groups = Memo::new(move |_| {
        let report = report.value()?;
        let groups = if services.get() { &report.services } else { &report.transactions };
        Some(groups.clone())
    });
    let count = Memo::new(move |_| groups.with(|groups| groups.as_ref().map_or(0, Vec::len)));
    let go = use_navigation();
    let marked = use_row_shortcuts("Home", ROW, count, move |at| {
        let address = groups.with_untracked(|groups| {
            let group = groups.as_ref()?.get(at)?;
            Some(address_of(group, links.get_untracked()))
        });
        if let Some(address) = address {
            go(&address, History::Push);
        }
    });
    let times = move || report.value().map(|report| times_of(&report));
    let note = move || groups.with(|groups| changed_rows_note(groups.as_deref()?));
    let sentence = move || {
        let report = report.value()?;
        Some(view! { <ReportSentence report links=links.get() /> })
    };
    let table = move || {
        let (report, groups) = (report.value()?, groups.get()?);
        Some(if groups.is_empty() {
            no_traffic(&report).into_any()
        } else {
            change_table(&report, &groups, marked, links.get()).into_any()
        })
    };
    let is_loading = Memo::new(move |_| report.loading());
    let is_stale = move || report.pending() && !is_loading.get();
    view! {
        <div class="page home">
            <div class="panel-stack">
                <header class="page-head">
                    <div class="page-title">
                        <h1>"What changed"</h1>
                        <span class="mute">{times}</span>
                        <span class="page-tools">{choice(report, services)}</span>
                    </div>
                    {sentence} {note}
                </header>
                {WatchedRequest::new("What changed is not known", report).note()}
                <Show when=move || is_loading.get()>
                    <LoadingRows />
                </Show>
                <div class:is-stale=is_stale>{table}</div>
            </div>
            <aside class="panel-stack" aria-label="Arriving">
                {arrivals_card()} {doctor_card()} {new_exceptions(report, links)}
                {new_log_patterns(report, time, links)}
            </aside>
        </div>
    }
}

/// Returns the time of the report and its baseline, in words.
fn times_of(report: &ChangeReport) -> String {
    let baseline = report.baseline;
    compared_text(report.window, (baseline.start_unix_nano, baseline.end_unix_nano))
}

/// The choice of transactions or services, with the number of each.
fn choice(report: RequestState<ChangeReport>, services: Memo<bool>) -> impl IntoView {
    let edit = use_edit_query();
    let segments = Memo::new(move |_| {
        let report = report.value();
        let report = report.as_deref();
        let types = report.map_or(0, |report| report.transaction_count);
        let services = report.map_or_else(
            || services_text(&[], 0),
            |report| services_text(&report.services, report.service_count),
        );
        vec![
            Segment::new("transactions", format!("Transactions {}", format::count(types))),
            Segment::new("services", services),
        ]
    });
    let chosen =
        Memo::new(move |_| if services.get() { "services" } else { "transactions" }.to_owned());
    let choose = Callback::new(move |which: &'static str| {
        edit(History::Replace, &|query| query.set("by", (which == "services").then_some(which)));
    });
    view! { <Segments label="What is listed" segments chosen on_choose=choose /> }
}

/// Returns the number of services as words, and that of the stores and outside systems among them:
/// `Services 12, stores and outside systems 7`. `count` is of both. Where not all are listed, the
/// two are not known apart.
fn services_text(listed: &[ChangedGroup], count: u64) -> String {
    let outside = listed.iter().filter(|group| group.uninstrumented).count() as u64;
    if outside == 0 {
        format!("Services {}", format::count(count))
    } else if listed.len() as u64 == count {
        let services = format::count(count - outside);
        format!("Services {services}, stores and outside systems {}", format::count(outside))
    } else {
        format!("Services, stores and outside systems {}", format::count(count))
    }
}

/// A window without calls: a link to a time with calls.
fn no_traffic(report: &Arc<ChangeReport>) -> impl IntoView + use<> {
    let length = report.window.end_unix_nano.since(report.window.start_unix_nano);
    let edit = use_edit_query();
    let longer = move |_| {
        edit(History::Push, &|query| TimeRange::Last { seconds: 86_400 }.write(query));
    };
    view! {
        <EmptyState title="No transaction in this time">
            <p>{format!("Nothing was called in these {}.", format::duration(length))}</p>
            <div class="state-actions">
                <button class="button" type="button" on:click=longer>
                    "Look at the last 24 h"
                </button>
                <a href="/connect" class="button">
                    "Connect a sender"
                </a>
            </div>
        </EmptyState>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{ChangedGroup, GroupStats};

    use super::services_text;

    #[test]
    fn stores_and_outside_systems_are_counted_apart_from_services() {
        let group = |uninstrumented| {
            let group = serde_json::json!({
                "service": "x", "uninstrumented": uninstrumented, "now": GroupStats::default(),
                "before": GroupStats::default(), "steps": [], "baselineSteps": [], "changes": [],
                "score": 0.0,
            });
            serde_json::from_value::<ChangedGroup>(group).unwrap()
        };
        let listed = [group(false), group(true), group(false)];
        assert_eq!(services_text(&listed, 3), "Services 2, stores and outside systems 1");
        assert_eq!(services_text(&listed, 900), "Services, stores and outside systems 900");
        assert_eq!(services_text(&listed[..1], 1), "Services 1");
        assert_eq!(services_text(&[], 0), "Services 0");
    }
}
