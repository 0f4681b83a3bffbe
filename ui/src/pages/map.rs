//! Map: the service graph with the rate, duration and failures of every edge.
//!
//! Owns the requests: the graph of the window compared with the baseline, the change report, the
//! rates below the map, and the graph of a highlighted trace. Owns the address: the focus with its
//! depth, the folding of peers, the selection and the trace. The server selects the neighbourhood
//! of a focus, folds peers and judges changes. [`map_graph`] makes the picture of them.
//!
//! The graph is asked for first and drawn as soon as it is there. The other requests follow its
//! answer, so that they do not take processors from it, or are sent after two seconds without one.
//! Marks of changes come with the change report. The graph is asked for again only where it folds a
//! peer that the page is about.

use std::{sync::Arc, time::Duration};

use leptos::prelude::*;
use tidings_proto::{
    TraceId, UnixNanos,
    api::{CallsInStep, ChangeReport, ChangedGroup, NodeKind, RedResult, ServiceGraph, StatusName},
};

use crate::{
    api::{
        Request,
        analysis::{self, Analysis, changes},
    },
    browser,
    charts::{
        network::{GraphSelection, HeldView, Network, NetworkNode, Viewport},
        time_buckets::TimeBuckets,
        time_chart::{ChartShape, TimeChart, TimeChartView, ValueUnit},
    },
    components::{
        AllTimeButton, Badge, EmptyState, LoadingRows, PartialNote, ReportSentence,
        SentencePlaceholder, ShorterRange, Tone, WatchedRequest,
        change::{called_change, felt_text},
        compared_text,
    },
    format,
    format::rates,
    links::Links,
    number_format,
    request_state::RequestState,
    server_watch::arrival_gap_line,
    shell::{crumb, set_crumbs},
    shortcuts::use_shortcuts,
    url::{History, UrlQuery, use_edit_query, use_query},
    window::LiveWindow,
};

pub mod map_graph;
mod selection_panel;

use map_graph::{CardChange, MapGraph, NodeName, read_pick, write_pick};

/// Depths around a focus, in calls.
const DEPTHS: [u32; 3] = [1, 2, 3];

/// Number of destinations above which a messaging system is folded into one node.
const FOLDED_ABOVE: u32 = 8;
/// Maximum number of failing destinations of a system that are not folded.
const FAILING_SINGLE: u32 = 5;

/// Maximum time that the other requests wait for the first answer about the graph.
const GRAPH_WAIT: Duration = Duration::from_secs(2);

/// The part of the graph that the address selects, and its folding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MapQuery {
    /// The name of the node in the middle, and the maximum number of calls to others.
    focus: Option<(String, u32)>,
    /// Set when no peers are folded.
    is_unfolded: bool,
}

impl MapQuery {
    fn read(query: &UrlQuery) -> Self {
        let focus = query.get("focus").filter(|name| !name.is_empty()).map(|name| {
            let depth = query.get("depth").and_then(|depth| depth.parse().ok());
            (name.to_owned(), depth.filter(|depth| DEPTHS.contains(depth)).unwrap_or(1))
        });
        Self { focus, is_unfolded: query.get("each").is_some() }
    }

    /// Returns the request for its graph. Peers of these names are not folded.
    fn graph(&self, of: Analysis, single: &[String]) -> Request<ServiceGraph> {
        let mut asked = of.with("compare", true);
        if let Some((name, depth)) = &self.focus {
            asked = asked.with("around", name).with("depth", depth);
        }
        if !self.is_unfolded {
            asked = asked.with("fold", FOLDED_ABOVE).with("failing", FAILING_SINGLE);
            asked = single.iter().fold(asked, |asked, name| asked.with("single", name));
        }
        analysis::graph(&asked)
    }
}

/// An edit of the address: its effect on the history, the change, and the names to write.
type QueryEdit = (History, fn(&mut UrlQuery, &[String]), Vec<String>);

/// The requests and the state of the page.
#[derive(Debug, Clone, Copy)]
struct MapPageState {
    window: LiveWindow,
    now: RequestState<ServiceGraph>,
    /// Set once the graph has an answer, or is waited for too long: the other requests may be sent.
    may_follow: Memo<bool>,
    /// The change report with its culprit: the same request as Home's.
    report: RequestState<ChangeReport>,
    shape: Memo<MapQuery>,
    focus: Memo<Option<(NodeName, u32)>>,
    shown: Memo<Option<Arc<MapGraph>>>,
    picked: Memo<Option<GraphSelection>>,
    edit: Callback<QueryEdit>,
}

impl MapPageState {
    fn follow() -> Self {
        let window = LiveWindow::follow();
        let query = use_query();
        let trace = Memo::new(move |_| {
            query.with(|query| query.get("trace").and_then(|id| id.parse::<TraceId>().ok()))
        });
        let of_trace =
            RequestState::<ServiceGraph>::new(move || trace.get().map(analysis::graph_of_trace));
        let lit = move || trace.get().and_then(|_| of_trace.value());
        let shape = Memo::new(move |_| query.with(MapQuery::read));
        let single = RwSignal::new(Vec::<String>::new());
        let now = window.request(move |window| {
            let single = single.get();
            Some(shape.get().graph(window.analysis(), &single))
        });
        let is_overdue = browser::use_elapsed(GRAPH_WAIT);
        let may_follow = Memo::new(move |_| is_overdue.get() || !now.loading());
        let report = window
            .request_slowly(move |window| may_follow.get().then(|| changes(&window.analysis())));
        Effect::new(move |_| {
            let (Some(graph), report) = (now.value(), report.value()) else { return };
            let headline = report.as_ref().and_then(|report| report.headline.as_ref());
            let named = map_graph::unfolded_peers(headline, lit().as_deref());
            let is_asked = single.with_untracked(|asked| *asked == named);
            if !is_asked && map_graph::may_fold(&graph, &named) {
                single.set(named);
            }
        });
        let focus = Memo::new(move |_| {
            let (name, depth) = shape.get().focus?;
            let (name, graph) = (NodeName::read(&name), now.value());
            Some((graph.map_or(name.clone(), |graph| name.resolve_kind(&graph.nodes)), depth))
        });
        let shown = Memo::new(move |_| {
            let now = now.value()?;
            let report = report.value();
            let report = report.as_deref();
            let headline = report.and_then(|report| report.headline.as_ref());
            let groups = report.map(|report| report.services.as_slice()).unwrap_or_default();
            let time = browser::now();
            let of_group = |group: &ChangedGroup| {
                let felt = felt_text(group, headline, time);
                let called = called_change(group, headline, time);
                CardChange::from_group(group, felt, called, since_text)
            };
            let changes: Vec<CardChange> = groups.iter().filter_map(of_group).collect();
            Some(Arc::new(MapGraph::new(&now, lit().as_deref(), headline, &changes)))
        });
        let picked = Memo::new(move |_| {
            let shown = shown.get()?;
            let nodes = now.value().map(|graph| graph.nodes.clone()).unwrap_or_default();
            let index_of = |name: NodeName| shown.index_of(&name.resolve_kind(&nodes));
            let ends = shown.network.edges.iter().map(|edge| (edge.from, edge.to));
            query.with(|query| read_pick(query, index_of, ends))
        });
        let edit = use_edit_query();
        let edit = Callback::new(move |(step, change, names): QueryEdit| {
            edit(step, &|query| change(query, &names));
        });
        Self { window, now, may_follow, report, shape, focus, shown, picked, edit }
    }

    fn pick(self, pick: Option<GraphSelection>) {
        let names = self.shown.get_untracked().and_then(|graph| match pick? {
            GraphSelection::Node(node) => Some(vec![graph.names.get(node as usize)?.write()]),
            GraphSelection::Edge(edge) => {
                let edge = graph.network.edges.get(edge as usize)?;
                let name = |node: u32| graph.names.get(node as usize).map(NodeName::write);
                Some(vec![name(edge.from)?, name(edge.to)?])
            }
        });
        self.edit.run((History::Replace, write_pick, names.unwrap_or_default()));
    }

    fn focus_on(self, name: Option<&NodeName>, depth: u32) {
        let names = name.map(|name| vec![name.write(), depth.to_string()]).unwrap_or_default();
        let write = |query: &mut UrlQuery, names: &[String]| {
            ["focus", "depth"].into_iter().for_each(|key| query.remove(key));
            if let [focus, depth] = names {
                query.push("focus", focus);
                query.push("depth", depth);
            }
        };
        self.edit.run((History::Push, write, names));
    }
}

/// Writes the begin of a change.
fn since_text(begin: UnixNanos) -> String {
    browser::local_minute(begin, browser::now())
}

/// The page.
#[component]
#[must_use]
pub fn MapPage() -> impl IntoView {
    set_crumbs(crumb("Map"));
    let page = MapPageState::follow();
    let (view, held) = (RwSignal::new(None::<Viewport>), RwSignal::new(None::<HeldView>));
    // Another part of the map has its own viewport.
    Effect::new(move |before: Option<MapQuery>| {
        let shape = page.shape.get();
        if before.is_some_and(|before| before != shape) {
            held.set(None);
            view.set(None);
        }
        shape
    });
    bind_keys(page, view, held);
    let on_pick = Callback::new(move |pick| page.pick(pick));
    let picture = move || {
        let shown = page.shown.get()?;
        if shown.network.nodes.is_empty() {
            return Some(empty_map(page).into_any());
        }
        let graph = Arc::clone(&shown.network);
        let picked = page.picked;
        Some(view! { <Network graph picked on_pick view held label="Service map" /> }.into_any())
    };
    let is_loading = Memo::new(move |_| page.now.loading());
    let has_panel = Memo::new(move |_| page.picked.get().is_some());
    view! {
        <div class="page map-page">
            {head(page)}
            {WatchedRequest::new("The calls are not known", page.now).note()}
            {WatchedRequest::new("What changed is not known", page.report).note()}
            <Show when=move || is_loading.get()>
                <LoadingRows count=12 />
            </Show>
            <div class="map-body" class:has-panel=move || has_panel.get()>
                <section class="card map-picture" aria-label="Map">{picture}</section>
                <Show when=move || has_panel.get()>{selection_panel::selection_panel(page)}</Show>
            </div>
            {legend(page)}
            {scrubber(page)}
        </div>
    }
}

/// A sign of the legend: its class, its words and its title.
type LegendKey = (&'static str, &'static str, &'static str);

/// The colour of boxes and lines that became worse.
const WORSE_KEY: LegendKey =
    ("is-failed", "worse than before", "Fails more or takes longer than before");
/// The colour of boxes that only feel a change.
const AFFECTED_KEY: LegendKey = ("is-felt", "affected", "Affected by a change elsewhere");
/// The signs that do not depend on changes.
const LEGEND_KEYS: [LegendKey; 4] = [
    ("is-message", "messages", "Calls by messages"),
    ("is-wider", "more calls", "Wider lines are more calls"),
    ("is-outside", "sends no spans", "Dashed boxes send no spans"),
    ("is-share", "share failed", "The bar and the number beside it are the share that failed"),
];

/// The numbers of every map.
const NUMBERS_LEGEND: &str = "The bar and the number beside it are the share that failed, red with ● where more fail than before. A single duration is the p95.";
/// The time of the numbers where some are since a change.
const SINCE_LEGEND: &str = "Numbers of changed and affected boxes are since the change, where its start is known. All others are of the whole range.";
/// The arrow on the card of a caller of the changed endpoint.
const CALLED_LEGEND: &str = "→ names the changed box that an affected one calls.";
/// The numbers on the card of the culprit.
const CULPRIT_LEGEND: &str =
    "The box of the first sentence has its values before and since the change.";

/// The meaning of the colours and lines of the picture, and on request that of its numbers.
fn legend(page: MapPageState) -> impl IntoView {
    let has_culprit = Memo::new(move |_| {
        let is_drawn = |node: &NetworkNode| node.is_culprit && !node.right.is_empty();
        page.shown.get().is_some_and(|shown| shown.network.nodes.iter().any(is_drawn))
    });
    let has = move |test: fn(&CardChange) -> bool| {
        let shown = page.shown.get();
        shown.is_some_and(|shown| shown.changes.iter().flatten().any(test))
    };
    let has_since = Memo::new(move |_| has(|change| change.time_text().is_some()));
    let has_affected = Memo::new(move |_| has(CardChange::is_affected));
    let has_called = Memo::new(move |_| has(|change| change.called().is_some()));
    let affected = move || has_affected.get().then(|| legend_key(AFFECTED_KEY));
    let is_open = RwSignal::new(false);
    let notes = move || {
        let notes = [
            Some(NUMBERS_LEGEND),
            has_since.get().then_some(SINCE_LEGEND),
            has_called.get().then_some(CALLED_LEGEND),
            has_culprit.get().then_some(CULPRIT_LEGEND),
        ];
        let notes = notes.into_iter().flatten().map(|words| view! { <p>{words}</p> });
        is_open.get().then(|| view! { <div class="map-notes mute">{notes.collect_view()}</div> })
    };
    view! {
        <div class="map-legend">
            <ul class="map-keys" aria-label="Legend">
                {legend_key(WORSE_KEY)}
                {affected}
                {LEGEND_KEYS.map(legend_key).collect_view()}
            </ul>
            <button
                class="link map-explain"
                type="button"
                aria-expanded=move || is_open.get().to_string()
                on:click=move |_| is_open.update(|is_open| *is_open = !*is_open)
            >
                "What the numbers are"
            </button>
            {notes}
        </div>
    }
}

/// A sign of the legend with its words.
fn legend_key((class, words, title): LegendKey) -> impl IntoView {
    view! { <li class=format!("graph-key {class}") title=title>{words}</li> }
}

fn bind_keys(
    page: MapPageState,
    view: RwSignal<Option<Viewport>>,
    held: RwSignal<Option<HeldView>>,
) {
    let (keys, group) = (use_shortcuts(), "Map");
    keys.bind("0", "Reset the view", group, move || {
        held.set(None);
        view.set(None);
    });
    keys.bind("Escape", "Close the panel, then leave the focus", group, move || {
        if page.picked.get_untracked().is_some() {
            page.pick(None);
        } else {
            page.focus_on(None, 1);
        }
    });
    keys.bind("f", "Focus on the selected node", group, move || {
        let focus =
            page.shown.get_untracked().and_then(|graph| match page.picked.get_untracked()? {
                GraphSelection::Node(node) => {
                    graph.names.get(node as usize).filter(|name| !name.is_folded()).cloned()
                }
                GraphSelection::Edge(_) => None,
            });
        if let Some(focus) = focus {
            page.focus_on(Some(&focus), 1);
        }
    });
}

/// The numbers of services and of stores and outside systems, with the dashed boxes that
/// `endpointCount` leaves out.
fn count_text(graph: &ServiceGraph) -> String {
    let services = format::counted(graph.service_count, "service");
    let counts = match graph.endpoint_count {
        0 => services,
        count => format!("{services}, {}", format::outside_systems(count)),
    };
    let has_queues = graph.nodes.iter().any(|node| node.kind == NodeKind::Messaging);
    let has_unknown = graph.nodes.iter().any(map_graph::is_unknown);
    match (has_queues, has_unknown) {
        (false, false) => counts,
        (true, false) => format!("{counts} (queues not counted)"),
        (false, true) => format!("{counts} (unnamed ones not counted)"),
        (true, true) => format!("{counts} (queues and unnamed ones not counted)"),
    }
}

/// The name, the sentence, the focus.
fn head(page: MapPageState) -> impl IntoView {
    let counts = move || {
        let graph = page.now.value()?;
        let times = page.report.value().map(|report| {
            let baseline = (report.baseline.start_unix_nano, report.baseline.end_unix_nano);
            format!(", {}", compared_text(report.window, baseline))
        });
        Some(format!("{}{}", count_text(&graph), times.unwrap_or_default()))
    };
    let missing = move || {
        let graph = page.now.value()?;
        let start = page.window.get().bounds().map(|(start, _)| start);
        let is_part = start.is_some_and(|start| graph.window.start_unix_nano > start);
        let words = if is_part {
            "This is the newest part of the time only: there is too much to read. Choose a shorter time."
        } else {
            "Not all of this time was read. Choose a shorter time."
        };
        (!graph.searched.complete)
            .then(|| view! { <PartialNote>{words} " " <ShorterRange /></PartialNote> })
    };
    let edges_left_out = move || {
        let graph = page.now.value()?;
        let shown = graph.edges.len() as u64;
        (graph.edge_count > shown).then(|| {
            let words = format!(
                "Of {} the {} with most calls are drawn.",
                format::counted(graph.edge_count, "edge"),
                format::count(shown)
            );
            view! { <PartialNote>{words}</PartialNote> }
        })
    };
    // The report's sentence has the end of traffic itself.
    let is_end_reported = move || {
        let report = page.report.value();
        page.report.loading() || report.is_some_and(|report| report.traffic_end.is_some())
    };
    let sentence = move || {
        if page.report.loading() {
            return Some(view! { <SentencePlaceholder /> }.into_any());
        }
        let (report, links) = (page.report.value()?, Links::within(page.window.get().range()));
        Some(view! { <ReportSentence report links /> }.into_any())
    };
    view! {
        <div class="page-head">
            <div class="page-title">
                <h1>"Map"</h1>
                <span class="mute">{counts}</span>
                <span class="page-tools">
                    {move || fold_switch(page)} {move || focus_tools(page)}
                </span>
            </div>
            {arrival_gap_line(is_end_reported)}
            {sentence}
            {missing}
            {edges_left_out}
        </div>
    }
}

/// The switch between folded peers and each of them; nothing where none are folded.
fn fold_switch(page: MapPageState) -> Option<impl IntoView> {
    let is_unfolded = page.shape.get().is_unfolded;
    let has_folded = page.now.value()?.nodes.iter().any(|node| node.folded_count.is_some());
    (is_unfolded || has_folded).then(|| {
        let flip = move |_| {
            let each = if is_unfolded { Vec::new() } else { vec!["1".to_owned()] };
            let write = |query: &mut UrlQuery, each: &[String]| query.set("each", each.first());
            page.edit.run((History::Push, write, each));
        };
        view! {
            <button
                class="button"
                type="button"
                aria-pressed=is_unfolded.to_string()
                title="Draw each destination, database and host as a node of its own"
                on:click=flip
            >
                "Separate nodes"
            </button>
        }
    })
}

/// The focus with its depth, and the way out of it.
fn focus_tools(page: MapPageState) -> Option<impl IntoView> {
    let (name, depth) = page.focus.get()?;
    let known = page
        .now
        .value()
        .is_some_and(|graph| graph.nodes.iter().any(|node| NodeName::from_node(node) == name));
    let shown = name.label();
    let button = move |at: u32| {
        let name = name.clone();
        let words = format::counted(at.into(), "call");
        view! {
            <button
                class="segment"
                type="button"
                aria-pressed=(at == depth).to_string()
                on:click=move |_| page.focus_on(Some(&name), at)
            >
                {words}
            </button>
        }
    };
    let unknown = (!known).then(|| {
        view! { <Badge tone=Tone::Warning>"not seen in this time"</Badge> }
    });
    Some(view! {
        <span class="mute">"Around " <b class="map-focus">{shown}</b> ", up to"</span>
        <span class="segments" role="group" aria-label="Distance">
            {DEPTHS.map(button).collect_view()}
        </span>
        {unknown}
        <button class="button" type="button" on:click=move |_| page.focus_on(None, 1)>
            "Whole map"
        </button>
    })
}

fn empty_map(page: MapPageState) -> impl IntoView {
    let is_focused = page.focus.get_untracked().is_some();
    if is_focused {
        return view! {
            <EmptyState title="It takes part in no call in this time">
                <div class="state-actions">
                    <AllTimeButton />
                    <button class="button" type="button" on:click=move |_| page.focus_on(None, 1)>
                        "Whole map"
                    </button>
                </div>
            </EmptyState>
        }
        .into_any();
    }
    view! {
        <EmptyState title="No calls in this time">
            <p>"No call that started in this time range is stored."</p>
            <div class="state-actions">
                <AllTimeButton />
                <a class="button" href="/connect">"Connect a sender"</a>
            </div>
        </EmptyState>
    }
    .into_any()
}

/// Calls of all services over time: dragging over them looks at that time on the map.
fn scrubber(page: MapPageState) -> impl IntoView {
    let red = page.window.request(move |window| {
        let analysis = window.analysis().with("by", "status").with("kind", "server");
        page.may_follow.get().then(|| analysis::red(&analysis))
    });
    let cursor = RwSignal::new(None);
    let drawn = move || {
        let red = red.value()?;
        (!red.groups.is_empty()).then(|| {
            let chart = requests(&red);
            view! {
                <section class="card chart-short">
                    <TimeChartView title="Calls of all services" note="drag to look at a part of the time" chart cursor />
                </section>
            }
        })
    };
    view! {
        {WatchedRequest::new("The requests over time are not known", red).note()}
        {drawn}
    }
}

/// The chart of requests. A step that is partly in the window counts what is in it.
fn requests(red: &RedResult) -> TimeChart {
    let buckets = TimeBuckets::from_window(&red.window);
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let seconds = buckets.step_nanos as f64 / 1e9;
    let rate = |step: &CallsInStep| Some(step.count as f64 / seconds);
    let mut chart = TimeChart::new(&red.window, ValueUnit::Rate, ChartShape::StackedBars);
    let (failed, fine): (Vec<_>, Vec<_>) =
        red.groups.iter().partition(|group| group.status == Some(StatusName::Error));
    for (name, tone, groups) in [("ok", "plain", fine), ("failed", "error", failed)] {
        // One series for each status that the API tells apart: they stand on each other.
        for (at, group) in groups.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            chart = chart.with(
                name,
                tone,
                buckets.values_by_bucket(&group.steps, begin, rate, Some(0.0)),
            );
        }
    }
    chart
}

/// A rate by the minute, however small: those of a map are compared with each other.
fn per_minute(rate: f64) -> String {
    format!("{} /min", rates::per_minute(rate))
}

/// A rate and a share of failures as a card says them.
fn call_text(rate: f64, failed: f64) -> String {
    format!("{}, {} failed", per_minute(rate), number_format::share(failed))
}
