//! The trace's spans as a table, grouped by service and operation, or by service.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{LatencyStats, SpanFlags},
};

use super::{
    flame_tab::name_at,
    labels,
    merged::{self, GroupBy, MergedCalls},
    model::TraceModel,
    page_signals::{IdentityArc, PageSignals},
    typical_durations::{self, AgainstUsual, TypicalDurations},
};
use crate::{
    colour,
    components::{AddressSegments, LoadingRows, SortHead, SortOrder, use_choice, use_sort},
    format, number_format,
};

/// Maximum number of groups that are drawn.
const DRAWN_MAX: usize = 1_000;
const GROUPS: &[(&str, &str)] = &[("operation", "Service and operation"), ("service", "Service")];
const SPANS: &[(&str, &str)] = &[
    ("all", "All"),
    ("critical", "Critical path"),
    ("failed", "Failed"),
    ("slow", "Slower than usual"),
];

/// A line of the table.
#[derive(Debug, Clone, PartialEq)]
struct TableLine {
    calls: MergedCalls,
    service: String,
    operation: String,
    /// The kind of the calls in words. A line of a whole service has none.
    kind: &'static str,
    quantiles: [DurationNanos; 3],
    /// The typical durations of the operation.
    usual: Option<LatencyStats>,
}

impl TableLine {
    fn new(model: &TraceModel, usual: &TypicalDurations, by: GroupBy, calls: MergedCalls) -> Self {
        let service = name_at(model.services(), calls.service).to_owned();
        let operation = match by {
            GroupBy::Operation => name_at(model.operations(), calls.operation).to_owned(),
            GroupBy::Service => String::new(),
        };
        let usual = match by {
            GroupBy::Operation => usual.get(&service, &operation),
            GroupBy::Service => None,
        };
        let kind = match by {
            GroupBy::Operation => calls.kind(model).map_or("several", labels::kind),
            GroupBy::Service => "",
        };
        let quantiles = calls.quantiles(model);
        Self { calls, service, operation, kind, quantiles, usual }
    }

    /// Returns the median of the calls against the typical one.
    fn against(&self) -> Option<AgainstUsual> {
        AgainstUsual::new(self.quantiles[0], self.usual)
    }

    /// Reports whether any call is slower than usual.
    fn has_slower(&self) -> bool {
        AgainstUsual::new(self.quantiles[2], self.usual).is_some_and(AgainstUsual::is_slower)
    }

    fn key(&self, column: &str) -> f64 {
        match column {
            "calls" => self.calls.count() as f64,
            "failed" => f64::from(self.calls.errors),
            "sum" => self.calls.duration_nano as f64,
            "critical" => self.calls.critical_nano as f64,
            "p50" => self.quantiles[0].0 as f64,
            "p95" => self.quantiles[1].0 as f64,
            "longest" => self.quantiles[2].0 as f64,
            "usual" => self.against().map_or(0.0, |against| against.times),
            _ => self.calls.self_nano as f64,
        }
    }
}

fn sort(lines: &mut [TableLine], order: &SortOrder) {
    lines.sort_by(|left, right| match order.column.as_str() {
        "name" => {
            order.compare((&left.service, &left.operation), (&right.service, &right.operation))
        }
        "kind" => order.compare(left.kind, right.kind),
        column => order.compare(left.key(column), right.key(column)),
    });
}

/// Returns the lines of the chosen spans, in the order of the groups.
fn lines_of(
    model: &TraceModel,
    usual: &TypicalDurations,
    by: GroupBy,
    spans: &str,
) -> Vec<TableLine> {
    let wanted = |row: u32| match spans {
        "critical" => model.critical_own(row) > 0,
        "failed" => model.has_flag(row, SpanFlags::ERROR),
        _ => true,
    };
    let groups = merged::by_name(model, by, wanted);
    let mut lines: Vec<TableLine> =
        groups.into_iter().map(|calls| TableLine::new(model, usual, by, calls)).collect();
    if spans == "slow" {
        lines.retain(TableLine::has_slower);
    }
    lines
}

/// The tab.
pub(crate) fn table_tab(page: PageSignals) -> impl IntoView {
    let (by, spans) = (use_choice("by", GROUPS), use_choice("spans", SPANS));
    let order = use_sort("-own");
    let (usual, asked) = typical_durations::ask(page);
    let lines = Memo::new(move |_| {
        let by = if by.get() == "service" { GroupBy::Service } else { GroupBy::Operation };
        let (usual, spans) = (usual.get(), spans.get());
        page.model.with(|model| {
            let mut lines = lines_of(model, &usual, by, spans);
            order.with(|order| sort(&mut lines, order));
            IdentityArc::new(lines)
        })
    });
    let rows = move || {
        let lines = lines.get();
        let total: u64 = lines.iter().map(|line| line.calls.self_nano).sum();
        let most = lines.iter().map(|line| line.calls.self_nano).max().unwrap_or(1).max(1);
        let usual = usual.get();
        let row = |line| row(page, line, &usual, (total, most));
        lines.iter().take(DRAWN_MAX).map(row).collect_view()
    };
    let note = move || {
        let lines = lines.get();
        let spans = lines.iter().map(|line| line.calls.count()).sum();
        let [spans, lines] = [(spans, "span"), (lines.len() as u64, "line")]
            .map(|(count, noun)| format::counted(count, noun));
        format!("{spans} in {lines}")
    };
    let is_without_quantiles =
        move || lines.with(|lines| !merged::has_quantiles(lines.iter().map(|line| &line.calls)));
    let empty =
        move || lines.with(|lines| lines.is_empty()).then(|| no_lines(&usual.get(), spans.get()));
    view! {
        <div class="trace-pane trace-tab">
            <div class="tab-tools">
                <span class="mute">"Group by"</span>
                <AddressSegments name="by" offered=GROUPS label="Group by" />
                <AddressSegments name="spans" offered=SPANS label="Which spans" />
                <span class="mute">{note}</span>
                <span class="mute tab-note" title=typical_durations::AGAINST>
                    "usual: the median of the day before; red: twice that and beyond the p95"
                </span>
            </div>
            <div class="tab-main">
                {asked.note()}
                <section class="card panel" aria-label="Table">
                    <div class="panel-body">
                        <table
                            class="table stacked spans-table"
                            class:is-without-quantiles=is_without_quantiles
                            aria-label="Spans by group"
                        >
                            {table_head(order)}
                            <tbody>{rows}</tbody>
                        </table>
                        {empty}
                    </div>
                </section>
            </div>
        </div>
    }
}

/// The headings of the table.
fn table_head(order: Memo<SortOrder>) -> impl IntoView {
    view! {
        <thead>
            <tr>
                <SortHead column="name" label="Service and operation" order />
                <SortHead column="kind" label="Kind" order class="own-kind" />
                <SortHead column="calls" label="Calls" order numeric=true />
                <SortHead column="failed" label="Failed" order numeric=true />
                <SortHead column="sum" label="Sum" order numeric=true />
                <SortHead column="own" label="Self" order numeric=true />
                <th scope="col" class="own-bar"><span class="hidden">"Self time as a bar"</span></th>
                <th scope="col" class="num">"Of self time"</th>
                <SortHead column="critical" label="Self critical" order numeric=true />
                <SortHead
                    column="p50"
                    label="p50"
                    order
                    numeric=true
                    class="quantile"
                    title=merged::P50
                />
                <SortHead
                    column="p95"
                    label="p95"
                    order
                    numeric=true
                    class="quantile"
                    title=merged::P95
                />
                <SortHead column="longest" label="Longest" order numeric=true />
                <th scope="col" class="num" title=typical_durations::MEDIAN>"Usual median"</th>
                <SortHead
                    column="usual"
                    label="Median vs. usual"
                    order
                    numeric=true
                    title=typical_durations::AGAINST
                />
            </tr>
        </thead>
    }
}

/// Draws a table without lines. Slow spans are not known before the usual durations.
fn no_lines(usual: &TypicalDurations, spans: &str) -> AnyView {
    match usual {
        TypicalDurations::Loading if spans == "slow" => {
            view! { <LoadingRows count=4 /> }.into_any()
        }
        TypicalDurations::Unknown if spans == "slow" => ().into_any(),
        _ => view! { <p class="panel-empty">"No span of the trace matches."</p> }.into_any(),
    }
}

fn row(
    page: PageSignals,
    line: &TableLine,
    usual: &TypicalDurations,
    (total, most): (u64, u64),
) -> impl IntoView + use<> {
    let longest = page.model.with_untracked(|model| line.calls.longest(model));
    let go = move |_| longest.into_iter().for_each(|row| page.go_to(row));
    let nanos = |nanos: u64| format::duration_or_none(DurationNanos(nanos));
    let bar = (line.calls.self_nano > 0).then(|| {
        let width = format!("{:.1}%", number_format::ratio(line.calls.self_nano, most) * 100.0);
        view! { <span class="own-fill" style=("width", width)></span> }
    });
    let errors = u64::from(line.calls.errors);
    let hue = colour::hue_value(&line.service);
    let bar_hue = hue.clone();
    let service = format::service(&line.service).to_owned();
    let name = (!line.operation.is_empty() || line.usual.is_some())
        .then(|| number_format::truncate(format::operation(&line.operation), 80));
    // A service has no usual duration. Its operations have.
    let median = line.usual.map(|stats| stats.p50_nano);
    let usually = if line.operation.is_empty() { "–".into_any() } else { usual.cell(median) };
    let [p50, p95, max] = line.quantiles;
    let many = |time: DurationNanos| (line.calls.count() > 1).then(|| format::duration(time));
    view! {
        <tr
            class="row-link"
            class:is-missed=page.misses(line.calls.rows.clone())
            style=("--hue", bar_hue)
            on:click=go
        >
            <td class="grow">
                <button class="link own-name" type="button" title="Its longest call in the waterfall">
                    <span class="dot" style=("--hue", hue)></span>
                    <span class="mute">{service}</span>
                    <span>{name}</span>
                </button>
            </td>
            <td class="own-kind mute">{line.kind}</td>
            <td class="num">{format::count(line.calls.count())}</td>
            <td class="num" class:is-worse=errors != 0>{format::count(errors)}</td>
            <td class="num">{nanos(line.calls.duration_nano)}</td>
            <td class="num">{nanos(line.calls.self_nano)}</td>
            <td class="own-bar">{bar}</td>
            <td class="num">{number_format::share(number_format::ratio(line.calls.self_nano, total))}</td>
            <td class="num">{nanos(line.calls.critical_nano)}</td>
            <td class="num quantile">{many(p50)}</td>
            <td class="num quantile">{many(p95)}</td>
            <td class="num">{format::duration(max)}</td>
            <td class="num was">{usually}</td>
            {typical_durations::factor_cell(line.against())}
        </tr>
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tidings_proto::{DurationNanos, api::LatencyStats};

    use super::{super::samples, GroupBy, TypicalDurations, lines_of};

    #[test]
    fn a_line_compares_medians_and_is_slower_when_one_call_is() {
        let mut calls = vec![(0, 0, 0, 0, 1_000)];
        calls.extend((0..10).map(|call| (1, 1, 1, call * 50, if call == 9 { 68 } else { 10 })));
        let model = samples::model(&calls);
        let [p50_nano, p95_nano, max_nano] = [10_000, 20_000, 90_000].map(DurationNanos);
        let stats = LatencyStats { p50_nano, p95_nano, max_nano, ..LatencyStats::default() };
        let operation = ("service-1".to_owned(), "operation-1".to_owned());
        let usual = TypicalDurations::Known(HashMap::from([(operation, stats)]));
        let lines = lines_of(&model, &usual, GroupBy::Operation, "slow");
        let factors: Vec<Option<f64>> =
            lines.iter().map(|line| line.against().map(|against| against.times)).collect();
        assert_eq!(factors, [Some(1.0)], "the longest call is 6.8 times as long as usual");
    }
}
