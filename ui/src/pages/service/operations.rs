//! The operations of a service: calls, failures and durations, each compared with the baseline.
//! Operations that got worse come first, then those with most time.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{CallsInStep, RedGroup, RedResult, SpanKindName},
};

use super::{ChosenOperation, NO_OPERATION, ServiceView, WORSE_SHARE, is_slower};
use crate::{
    asked::incomplete,
    components::{
        Panel, Segment, Segments, SortHead, SortOrder, SparkTone, Sparkline, WatchedRequest,
        use_sort,
    },
    drawings::slots::Slots,
    figures, format,
    format::rates,
    keys::use_row_keys,
    url::{Step, use_edit_query, use_query},
};

const ROW: &str = "operation-row";

/// Returns the operations that others call, or all operations if others call none of them.
pub(super) fn served(groups: &[RedGroup]) -> impl Iterator<Item = &RedGroup> {
    let is_served = |group: &&RedGroup| {
        matches!(group.kind, Some(SpanKindName::Server | SpanKindName::Consumer))
    };
    let any = groups.iter().any(|group| is_served(&group));
    groups.iter().filter(move |group| !any || is_served(group))
}

/// An operation and its baseline.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    now: RedGroup,
    before: Option<RedGroup>,
}

impl Row {
    fn is(&self, chosen: &ChosenOperation) -> bool {
        self.now.operation.as_ref() == Some(&chosen.name)
            && chosen.kind.is_none_or(|kind| Some(kind) == self.now.kind)
    }

    fn is_chosen(&self, chosen: Memo<Option<ChosenOperation>>) -> bool {
        chosen.with(|chosen| chosen.as_ref().is_some_and(|chosen| self.is(chosen)))
    }

    /// Returns the name and the kind that select the operation.
    fn target(&self) -> (String, Option<SpanKindName>) {
        (self.now.operation.clone().unwrap_or_default(), self.now.kind)
    }

    /// Returns the displayed name.
    fn words(&self) -> String {
        format::operation(self.now.operation.as_deref().unwrap_or_default()).to_owned()
    }

    fn error_share(group: &RedGroup) -> f64 {
        figures::ratio(group.error_count, group.count)
    }

    fn fails_more(&self) -> bool {
        let before = self.before.as_ref().map_or(0.0, Self::error_share);
        self.before.is_some() && Self::error_share(&self.now) - before >= WORSE_SHARE
    }

    fn is_slower(&self) -> bool {
        let p95 = |group: &RedGroup| group.duration.p95_nano;
        self.before.as_ref().is_some_and(|before| is_slower(p95(&self.now), p95(before)))
    }

    /// Returns the measure of the default order: a change for the worse, then the time of all its
    /// calls.
    fn weight(&self) -> (bool, DurationNanos) {
        (self.fails_more() || self.is_slower(), self.now.duration.sum_nano)
    }
}

fn rows(now: &RedResult, before: Option<&RedResult>, all: bool, order: &SortOrder) -> Vec<Row> {
    let row = |group: &RedGroup| Row {
        now: group.clone(),
        before: before.and_then(|before| {
            let same =
                |other: &&RedGroup| other.operation == group.operation && other.kind == group.kind;
            before.groups.iter().find(same).cloned()
        }),
    };
    let mut rows: Vec<Row> = if all {
        now.groups.iter().map(row).collect()
    } else {
        served(&now.groups).map(row).collect()
    };
    rows.sort_by(|a, b| match order.column.as_str() {
        "operation" => order.compare(&a.now.operation, &b.now.operation),
        "failed" => order.compare(Row::error_share(&a.now), Row::error_share(&b.now)),
        "p50" => order.compare(a.now.duration.p50_nano, b.now.duration.p50_nano),
        "p95" => order.compare(a.now.duration.p95_nano, b.now.duration.p95_nano),
        "rate" => order.compare(a.now.count, b.now.count),
        _ => order.compare(a.weight(), b.weight()),
    });
    rows
}

/// The panel.
pub(super) fn operations_panel(view: ServiceView) -> impl IntoView {
    let query = use_query();
    let order = use_sort("-change");
    let all = Memo::new(move |_| query.with(|query| query.get("kinds") == Some("all")));
    let table = Memo::new(move |_| {
        let now = view.operations.value()?;
        let before = view.operations_before.value();
        let rows = order.with(|order| rows(&now, before.as_deref(), all.get(), order));
        Some(Arc::new(rows))
    });
    let count = Memo::new(move |_| table.with(|table| table.as_ref().map_or(0, |rows| rows.len())));
    let choose = use_choose();
    let marked = use_row_keys("Service", ROW, count, move |at| {
        let row = table.with_untracked(|rows| rows.as_ref().and_then(|rows| rows.get(at).cloned()));
        if let Some(row) = row {
            choose.run(row.target());
        }
    });
    let draw = move |result: Arc<RedResult>| {
        let slots = Slots::of_window(&result.window);
        let body = move || {
            let rows = table.get().unwrap_or_default();
            let none = if view.operations_before.loading() { "" } else { "–" };
            let row = |(index, row): (usize, &Row)| {
                operation_row(row, index, slots, view.chosen, marked, (choose, none))
            };
            rows.iter().enumerate().map(row).collect_view()
        };
        view! {
            <table class="table operations" aria-label="Operations">
                <thead>
                    <tr>
                        <SortHead column="operation" label="Operation" order />
                        <SortHead column="rate" label="Calls/min" order numeric=true />
                        <th scope="col" class="wide">
                            <span class="hidden">"Calls over time"</span>
                        </th>
                        <SortHead column="failed" label="Failed" order numeric=true />
                        <th scope="col" class="wide">
                            <span class="hidden">"Failures over time"</span>
                        </th>
                        <SortHead column="p50" label="p50" order numeric=true />
                        <SortHead column="p95" label="p95" order numeric=true />
                        <th scope="col" class="num">
                            "Was"
                        </th>
                    </tr>
                </thead>
                <tbody>{body}</tbody>
            </table>
        }
    };
    view! {
        <Panel
            title="Operations"
            tools=kinds_switch(all)
            remote=view.operations
            needs=vec![
                WatchedRequest::new("The numbers before are not known", view.operations_before),
            ]
            is_empty=|result| result.groups.is_empty()
            missing=missing
            empty=NO_OPERATION
            draw=draw
        />
    }
}

/// Returns a callback that chooses an operation and drops the box of the previous one.
fn use_choose() -> Callback<(String, Option<SpanKindName>)> {
    let edit = use_edit_query();
    Callback::new(move |(name, kind): (String, Option<SpanKindName>)| {
        edit(Step::Replace, &|query| {
            query.set("operation", Some(&name));
            query.set("kind", kind.map(SpanKindName::word));
            query.remove("box");
        });
    })
}

/// The switch between operations that others call and all operations.
fn kinds_switch(all: Memo<bool>) -> ViewFn {
    let edit = use_edit_query();
    let segments = vec![Segment::new("served", "Served"), Segment::new("all", "All spans")];
    let chosen = Memo::new(move |_| if all.get() { "all" } else { "served" }.to_owned());
    let switch = Callback::new(move |which: &'static str| {
        edit(Step::Replace, &|query| query.set("kinds", (which == "all").then_some(which)));
    });
    let tools = move || {
        let segments = segments.clone();
        view! { <Segments label="Which operations" segments chosen on_choose=switch /> }
    };
    tools.into()
}

fn missing(result: &RedResult) -> Option<String> {
    let listed = result.groups.len() as u64;
    let cut = (result.group_count > listed).then(|| {
        format!(
            "{} of {} are listed, those with most calls.",
            format::count(listed),
            format::counted(result.group_count, "operation")
        )
    });
    incomplete(&result.searched).or(cut)
}

fn operation_row(
    row: &Row,
    index: usize,
    slots: Slots,
    chosen: Memo<Option<ChosenOperation>>,
    marked: RwSignal<Option<usize>>,
    (choose, none): (Callback<(String, Option<SpanKindName>)>, &str),
) -> impl IntoView + use<> {
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let share =
        |step: &CallsInStep| (step.count > 0).then(|| figures::ratio(step.error_count, step.count));
    let failures = slots.measures(&row.now.steps, begin, share, None);
    let calls = slots.rates(&row.now.steps, begin, |step| step.count);
    let shown = row.words();
    let (fails_more, is_slower) = (row.fails_more(), row.is_slower());
    let was = row
        .before
        .as_ref()
        .map_or(none.to_owned(), |before| format::duration_or_none(before.duration.p95_nano));
    let failed_before = row
        .before
        .as_ref()
        .map(|before| format!("it was {}", rates::percent(Row::error_share(before))));
    let tone = if fails_more { SparkTone::Error } else { SparkTone::Plain };
    let (selected, clicked) = (row.clone(), row.target());
    view! {
        <tr
            id=format!("{ROW}-{index}")
            class="row-button"
            class:is-marked=move || marked.get() == Some(index)
            aria-selected=move || selected.is_chosen(chosen).to_string()
            on:click=move |_| choose.run(clicked.clone())
        >
            {name_cell(row, chosen, choose)}
            <td class="num">{rates::per_minute(row.now.rate_per_second)}</td>
            <td class="wide">
                <Sparkline values=calls label=format!("Calls of {shown} over time") />
            </td>
            <td class="num" class:is-worse=fails_more title=failed_before>
                {rates::percent(Row::error_share(&row.now))}
            </td>
            <td class="wide">
                <Sparkline
                    values=failures
                    top_min=0.04
                    tone
                    label=format!("Failures of {shown} over time")
                />
            </td>
            <td class="num">{format::duration_or_none(row.now.duration.p50_nano)}</td>
            <td class="num" class:is-worse=is_slower>
                {format::duration_or_none(row.now.duration.p95_nano)}
            </td>
            <td class="num mute">{was}</td>
        </tr>
    }
}

/// The name, as a button that chooses the operation, and the kind.
fn name_cell(
    row: &Row,
    chosen: Memo<Option<ChosenOperation>>,
    choose: Callback<(String, Option<SpanKindName>)>,
) -> impl IntoView + use<> {
    let kind = row.now.kind.map(SpanKindName::word);
    let (shown, target, row) = (row.words(), row.target(), row.clone());
    let title = shown.clone();
    view! {
        <td class="grow">
            <span class="row-names">
                <button
                    class="row-name"
                    type="button"
                    title=title
                    aria-current=move || row.is_chosen(chosen).then_some("true")
                    on:click=move |event| {
                        event.stop_propagation();
                        choose.run(target.clone());
                    }
                >
                    {shown}
                </button>
                <span class="mute">{kind}</span>
            </span>
        </td>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{LatencyStats, SpanKindName};

    use super::{DurationNanos, RedGroup, Row, served};

    fn group(kind: SpanKindName, count: u64, errors: u64, p95: u64) -> RedGroup {
        RedGroup {
            service: None,
            operation: Some("GET /".to_owned()),
            kind: Some(kind),
            status: None,
            served: None,
            attribute: None,
            count,
            error_count: errors,
            rate_per_second: 1.0,
            duration: LatencyStats { p95_nano: DurationNanos(p95), ..LatencyStats::default() },
            steps: Vec::new(),
            histogram: Vec::new(),
        }
    }

    #[test]
    fn a_service_that_nobody_calls_lists_all_it_does() {
        let own = [group(SpanKindName::Internal, 1, 0, 1)];
        assert_eq!(served(&own).count(), 1);
        let both = [group(SpanKindName::Internal, 1, 0, 1), group(SpanKindName::Server, 1, 0, 1)];
        assert_eq!(served(&both).count(), 1);
    }

    #[test]
    fn a_number_is_red_where_it_is_clearly_worse() {
        let row = |now: RedGroup, before: Option<RedGroup>| {
            let row = Row { now, before };
            (row.fails_more(), row.is_slower())
        };
        let kind = SpanKindName::Server;
        assert_eq!(row(group(kind, 100, 10, 150), Some(group(kind, 100, 0, 100))), (true, true));
        assert_eq!(row(group(kind, 100, 0, 149), Some(group(kind, 100, 9, 100))), (false, false));
        assert_eq!(row(group(kind, 100, 10, 150), None), (false, false));
        assert_eq!(row(group(kind, 0, 0, 150), Some(group(kind, 0, 0, 0))), (false, false));
    }

    #[test]
    fn a_slower_operation_is_before_one_with_more_time() {
        let row = |p95: u64, before: u64, sum: u64| {
            let now = group(SpanKindName::Server, 100, 0, p95);
            let duration = LatencyStats { sum_nano: DurationNanos(sum), ..now.duration };
            let before = group(SpanKindName::Server, 100, 0, before);
            Row { now: RedGroup { duration, ..now }, before: Some(before) }
        };
        let (slower, long, brief) = (row(300, 100, 1), row(100, 100, 9), row(100, 100, 5));
        assert!(slower.weight() > long.weight() && long.weight() > brief.weight());
    }
}
