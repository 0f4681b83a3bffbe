//! Service: operations, latency, neighbours, versions, exceptions and log patterns of one service.
//!
//! Owns the requests and the options in the address: the operation, the box in the heatmap, the
//! attribute that calls are split by. The panels below draw one answer each.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use tidings_proto::{
    DurationNanos,
    api::{
        ChangeReport, ChangeSentence, ChangedGroup, Deployment, RedResult, ServiceClock,
        SpanKindName, VersionChangeList,
    },
    otlp::SpanKind,
};

use crate::{
    addresses,
    api::analysis::{Analysis, changes, deployments, red},
    browser,
    components::{
        AllTimeButton, EmptyState, Headline, SentencePlaceholder, WatchedRequest,
        change::{change_badge, sentence_of, truncate_name},
        report::quiet_text,
    },
    format,
    links::{Links, use_links},
    page_time::{PageTime, use_page_time},
    request_state::RequestState,
    shell::{Crumb, set_crumbs},
    url::{UrlQuery, use_query},
};

mod exceptions_and_patterns;
mod instances;
mod neighbours;
mod operation_latency;
mod operations;
mod span;
mod split;

use exceptions_and_patterns::{exception_panel, pattern_panel};
use instances::instances_panel;
use neighbours::neighbour_panels;
use operation_latency::latency_panel;
use operations::{Row, operations_panel};
use span::TableTime;
use split::split_panel;

/// Number of requested services: the maximum that the API returns.
const CHANGES_MAX: u32 = 200;
/// Maximum number of operations that are listed.
const OPERATIONS_MAX: u32 = 200;
/// Words of panels that have no operation to draw.
const NO_OPERATION: &str = "None of its operations was called in this time.";

/// An operation, and its span kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ChosenOperation {
    name: String,
    kind: Option<SpanKindName>,
}

/// State that the panels share.
#[derive(Clone, Copy)]
struct ServiceView {
    name: StoredValue<String>,
    time: PageTime,
    /// The time that tables count. The heatmap and the report are of the whole range.
    tables: TableTime,
    links: Memo<Links>,
    report: RequestState<ChangeReport>,
    versions: RequestState<VersionChangeList>,
    /// Single names. They are requested in any case: their answer says whether there are patterns
    /// to list.
    operations: RequestState<RedResult>,
    /// True if many operations differ only in ids.
    has_ids: Memo<bool>,
    /// True to list patterns in place of operations.
    by_pattern: Memo<bool>,
    /// Patterns of names. They are requested only where they are listed.
    patterns: RequestState<RedResult>,
    /// The listed answer, single names or patterns. `None` while it is not known which.
    listed: Signal<Option<Arc<RedResult>>>,
    /// The listed rows, in their order.
    rows: Memo<Option<Arc<Vec<Row>>>>,
    /// The operation in the address, or the default of the list.
    chosen: Memo<Option<ChosenOperation>>,
}

impl ServiceView {
    fn ask(name: &str) -> Self {
        let time = use_page_time();
        let query = use_query();
        let stored = StoredValue::new(name.to_owned());
        let report =
            RequestState::new(move || Some(changes(&time.analysis().with("limit", CHANGES_MAX))));
        let versions = RequestState::new(move || {
            stored.with_value(|service| Some(deployments(&time.analysis(), service)))
        });
        let begin = Memo::new(move |_| {
            let report = report.value()?;
            span::begin_of(stored.with_value(|name| group_of(&report, name))?)
        });
        let tables = TableTime::follow(time, report, begin);
        let calls_by = move |names: &str| {
            let analysis = tables.analysis()?.with("service", stored.get_value());
            let analysis = analysis.with("by", format!("{names},kind,served"));
            Some(red(&analysis.with("compare", true).with("limit", OPERATIONS_MAX)))
        };
        let operations: RequestState<RedResult> = RequestState::new(move || calls_by("operation"));
        let has_ids = Memo::new(move |_| {
            operations.value().is_some_and(|operations| operations::have_ids(&operations))
        });
        let by_pattern = Memo::new(move |_| {
            has_ids.get() && query.with(|query| query.get("names") != Some("single"))
        });
        let patterns = RequestState::new(move || {
            by_pattern.get().then(|| calls_by("operationPattern")).flatten()
        });
        let listed = Signal::derive(move || {
            let awaits_patterns = by_pattern.get() && patterns.loading();
            let patterns = patterns.value().filter(|_| by_pattern.get());
            operations::listed(operations.value(), patterns, awaits_patterns)
        });
        let rows = operations::use_rows(listed);
        let in_address = Memo::new(move |_| query.with(chosen_in));
        let chosen = Memo::new(move |_| {
            in_address.get().or_else(|| {
                let (listed, rows) = (listed.get()?, rows.get()?);
                operations::default_operation(&listed, &rows)
            })
        });
        let links = use_links();
        Self {
            name: stored,
            time,
            tables,
            links,
            report,
            versions,
            operations,
            has_ids,
            by_pattern,
            patterns,
            listed,
            rows,
            chosen,
        }
    }

    fn name(self) -> String {
        self.name.get_value()
    }

    /// Returns the words in place of the panels of an operation when no operation was called.
    fn without_operation(self) -> Signal<Option<&'static str>> {
        Signal::derive(move || {
            let is_known = self.listed.with(Option::is_some);
            (is_known && self.chosen.with(Option::is_none)).then_some(NO_OPERATION)
        })
    }

    /// Returns the words for a chosen operation that stands for a listed pattern: `the most called
    /// of GET /user/<*>`.
    fn pattern_words(self) -> Option<String> {
        let (rows, chosen) = (self.rows.get()?, self.chosen.get()?);
        let pattern = operations::pattern_of(&rows, &chosen)?;
        Some(format!("the most called of {}", truncate_name(pattern)))
    }

    /// Watches the request that names the chosen operation.
    fn watched_operations(self) -> WatchedRequest {
        WatchedRequest::new("The operation is not known", self.operations)
    }

    /// Returns the sentence about the service's change.
    fn sentence(self) -> Option<ChangeSentence> {
        let (group, report) = (self.group()?, self.report.value()?);
        sentence_of(&group, report.headline.as_ref()).map(|(sentence, _)| sentence.clone())
    }

    /// Returns the service's group of the report of changes.
    fn group(self) -> Option<ChangedGroup> {
        let report = self.report.value()?;
        self.name.with_value(|name| group_of(&report, name).cloned())
    }

    fn deployments(self) -> Vec<Deployment> {
        self.report.value().map(|report| report.deployments.clone()).unwrap_or_default()
    }

    /// Narrows an analysis to the chosen operation. Returns `None` while none is known.
    fn of_chosen(self, analysis: Analysis) -> Option<Analysis> {
        let ChosenOperation { name, kind } = self.chosen.get()?;
        let analysis = analysis.with("service", self.name());
        let analysis = analysis.with_some("operation", (!name.is_empty()).then_some(name));
        Some(analysis.with_some("kind", kind.map(SpanKindName::word)))
    }
}

/// Returns the group of the service with this name.
fn group_of<'a>(report: &'a ChangeReport, name: &str) -> Option<&'a ChangedGroup> {
    report.services.iter().find(|group| group.service == name && !group.uninstrumented)
}

/// Returns the operation in an address.
fn chosen_in(query: &UrlQuery) -> Option<ChosenOperation> {
    let name = query.get("operation")?.to_owned();
    let kind = query.get("kind").and_then(SpanKind::from_word).map(SpanKindName::from);
    Some(ChosenOperation { name, kind })
}

/// The page of the service in the address.
#[component]
#[must_use]
pub fn ServicePage() -> impl IntoView {
    let (params, query) = (use_params_map(), use_query());
    let name = Memo::new(move |_| {
        let segment = params.with(|params| params.get("name").unwrap_or_default());
        query.with(|query| addresses::read_service(segment, query))
    });
    move || view! { <OneService name=name.get() /> }
}

#[component]
fn OneService(name: String) -> impl IntoView {
    let view = ServiceView::ask(&name);
    let links = view.links;
    let title = name.clone();
    Effect::new(move |_| {
        let services = links.get().page("/services");
        set_crumbs(vec![
            Crumb { text: "Services".to_owned(), href: Some(services) },
            Crumb { text: truncate_name(&title), href: None },
        ]);
    });
    let state = crate::charts::heatmap::HeatmapState::default();
    let panels = view! {
        <div class="panel-two">
            <div class="panel-stack">
                {operations_panel(view)}
                {latency_panel(view, state)}
                {exception_panel(view)}
                {pattern_panel(view)}
            </div>
            <div class="panel-stack">
                {instances_panel(view)} {split_panel(view)} {neighbour_panels(view)}
            </div>
        </div>
    };
    view.time.refresh_while_live(move || {
        state.is_busy()
            || view.operations.pending()
            || view.patterns.pending()
            || view.report.pending()
            || view.versions.pending()
    });
    view! { <div class="page">{service_head(view)} {silence(view)} {panels}</div> }
}

fn service_head(view: ServiceView) -> impl IntoView {
    let name = view.name();
    let hue = crate::colour::hue_value(&name);
    let links = view.links;
    let link = move |words: &'static str, href: fn(Links, &str) -> String| {
        let href = move || view.name.with_value(|name| href(links.get(), name));
        view! { <a href=href class="button">{words}</a> }
    };
    let badge = move || {
        let (group, report) = (view.group()?, view.report.value()?);
        Some(change_badge(&group, report.headline.as_ref()))
    };
    let sentence = move || {
        if view.report.loading() {
            return Some(view! { <SentencePlaceholder /> }.into_any());
        }
        if let Some(sentence) = view.sentence() {
            let links = links.get();
            return Some(view! { <Headline sentence links /> }.into_any());
        }
        let (group, report) = (view.group()?, view.report.value()?);
        let words = match group.before.count {
            0 => "There is nothing to compare with: it had no calls in the time before.",
            _ => quiet_text(report.baseline.state),
        };
        Some(view! { <p class="say mute">{words}</p> }.into_any())
    };
    let clocks = move || {
        let (name, report) = (view.name(), view.report.value()?);
        let own = report.clocks.iter().filter(|clock| clock.service == name);
        Some(own.map(|clock| view! { <p class="say">{clock_words(clock)}</p> }).collect_view())
    };
    let deployed = move || {
        let name = view.name();
        let own = view.deployments().into_iter().filter(|one| one.service == name);
        own.map(|one| view! { <p class="mute">{deployment_words(&one)}</p> }).collect_view()
    };
    view! {
        <header class="page-head">
            <div class="page-title">
                <span class="service-title">
                    <span class="dot dot-large" style=("--hue", hue) aria-hidden="true"></span>
                    <h1 title=name.clone()>{format::service(&name).to_owned()}</h1>
                </span>
                {badge}
                <span class="service-span">{view.tables.control()}</span>
                <span class="page-tools">
                    {link("Traces", |links, name| links.explore(&[("service", name)]))}
                    {link("Logs", |links, name| links.logs(&[("service", name)]))}
                    {link("Errors", |links, name| links.errors(&[("service", name)]))}
                    {link("On the map", |links, name| links.map(Some(name)))}
                </span>
            </div>
            {WatchedRequest::new("What changed is not known", view.report).note()}
            {sentence}
            {clocks}
            {deployed}
        </header>
    }
}

/// Returns the words for a clock offset: `Its clock is 1.50 s ahead of the clock of payment: 412 of
/// 430 calls do not lie within the call that they answer.`
fn clock_words(clock: &ServiceClock) -> String {
    let off = format::duration(DurationNanos(clock.offset_nano.0.unsigned_abs()));
    let side = if clock.offset_nano.0 < 0 { "behind" } else { "ahead of" };
    format!(
        "Its clock is {off} {side} the clock of {}: {} of {} do not lie within the call that they answer.",
        truncate_name(format::service(&clock.compared_with)),
        format::count(clock.outside_count),
        format::counted(clock.call_count, "call")
    )
}

/// Returns the words for a deployment: `2.14.0 came at 14:01, on 2 of 4 instances; before it was
/// 2.13.4.`
fn deployment_words(deployment: &Deployment) -> String {
    let at = deployment.first_seen_unix_nano;
    let at = browser::local_minute(at, browser::now());
    let version = truncate_name(&deployment.version);
    let (on, of) = (deployment.instance_count, deployment.service_instance_count);
    let instances = if on == 0 {
        String::new()
    } else {
        format!(", on {} of {}", format::count(on), format::counted(of, "instance"))
    };
    let previous = deployment.previous_version.as_deref();
    let previous = previous.map(|version| format!("; before it was {}", truncate_name(version)));
    format!("Version {version} came at {at}{instances}{}.", previous.unwrap_or_default())
}

/// A window without calls of the service: a link to a time that may have some.
fn silence(view: ServiceView) -> impl IntoView {
    let is_silent = Memo::new(move |_| {
        let operations = view.operations.value();
        view.tables.is_whole()
            && operations.is_some_and(|operations| operations.groups.is_empty())
            && view.operations.error().is_none()
    });
    let body = move || {
        is_silent.get().then(|| {
            view! {
                <EmptyState title="No span of this service">
                    <p>
                        {format!(
                            "{} sent nothing that started in this time range.",
                            truncate_name(format::service(&view.name())),
                        )}
                    </p>
                    <div class="state-actions">
                        <AllTimeButton />
                        <a href=move || view.links.get().page("/services") class="button">
                            "All services"
                        </a>
                    </div>
                </EmptyState>
            }
        })
    };
    view! { {body} }
}

#[cfg(test)]
mod tests {
    use super::{SpanKind, SpanKindName, UrlQuery, chosen_in};

    #[test]
    fn the_operation_comes_from_the_address() {
        let chosen = chosen_in(&UrlQuery::parse("?operation=GET%20%2Fx&kind=client")).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.kind), ("GET /x", Some(SpanKindName::Client)));
        assert_eq!(chosen_in(&UrlQuery::parse("?operation=&kind=odd")).unwrap().kind, None);
        assert_eq!(chosen_in(&UrlQuery::parse("?kind=client")), None);
    }

    #[test]
    fn every_kind_is_read_back_from_the_address() {
        for kind in SpanKind::ALL.map(SpanKindName::from) {
            let query = UrlQuery::parse(&format!("?operation=x&kind={}", kind.word()));
            assert_eq!(chosen_in(&query).unwrap().kind, Some(kind));
        }
    }
}
