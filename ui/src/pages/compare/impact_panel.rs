//! The column beside the lanes: the greatest costs, and other traces that take as long.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{
        AttributeName, CallImpact, ComparedCall, Comparison, Deviation, Difference, Explanation,
    },
};

use super::{
    impact::{deviation_text, deviation_tone, is_worse, time_of},
    lanes::lane_id,
};
use crate::{
    addresses::{self, TraceListLink},
    api::analysis::{self, Analysis},
    browser, colour,
    components::{Badge, CallChoice, DifferenceList, Panel},
    format, number_format,
    request_state::RequestState,
    url::TimeRange,
};

/// Maximum number of differences that are shown.
const DIFFERENCES_MAX: usize = 4;
/// Scope and key of attributes that say whether a transaction failed.
const OUTCOMES: [(&str, &str); 2] =
    [("intrinsic", "status"), ("span", "http.response.status_code")];
/// Maximum number of rows that are listed.
const IMPACTS_MAX: usize = 14;

/// The column.
pub(super) fn impact_panel(
    comparison: &Arc<Comparison>,
    typical: bool,
    choice: CallChoice,
) -> impl IntoView + use<> {
    let impacts = &comparison.impacts;
    let most = impacts.first().map_or(1, |impact| impact.impact_nano.0.unsigned_abs()).max(1);
    let rows = impacts.iter().take(IMPACTS_MAX).filter_map(|impact| {
        let call = comparison.calls.get(impact.call_index as usize)?;
        Some(row(call, impact, both_sides_text(call, typical), most, choice))
    });
    let rows = rows.collect_view();
    let apart = DurationNanos(comparison.unattributed_nano.0.unsigned_abs());
    let is_apart = comparison.right.trace_count > 1 && apart.0 >= 1_000;
    let note = is_apart.then(|| {
        let words = format!(
            "Medians of parts need not add up to the median of the whole: here they are {apart} apart."
        );
        view! { <p class="panel-words mute">{words}</p> }
    });
    let none = impacts.is_empty().then(|| {
        let words = "No call takes more or less time, is missing or newly fails.";
        view! { <p class="panel-empty">{words}</p> }
    });
    let of = match comparison.difference_nano.0 {
        0 => "in all ±0".to_owned(),
        nanos => format!("in all {}", format::offset(nanos)),
    };
    view! {
        <div class="compare-side">
            <section class="card panel" aria-label="Most impact first">
                <div class="panel-head">
                    <h2>"Most impact first"</h2>
                    <span class="mute">{of}</span>
                </div>
                <ul class="impacts">{rows}</ul>
                {none} {note}
            </section>
            {similar_transactions_panel(comparison)}
        </div>
    }
}

fn row(
    call: &ComparedCall,
    impact: &CallImpact,
    words: String,
    most: u64,
    choice: CallChoice,
) -> impl IntoView + use<> {
    let name = number_format::truncate(format::operation(&call.operation), 60);
    let nanos = impact.impact_nano.0;
    let costs = nanos.unsigned_abs() >= 1_000;
    let time = if costs { format::offset(nanos) } else { "no time".to_owned() };
    let width = format!("{:.1}%", number_format::ratio(nanos.unsigned_abs(), most) * 100.0);
    let worse = nanos > 0 && costs && is_worse(call);
    // A call that is also slower has a second badge for that.
    let is_badged =
        |(at, deviation): &(usize, Deviation)| *at == 0 || *deviation == Deviation::Slower;
    let badged = call.deviations.iter().copied().enumerate().filter(is_badged);
    let badge = badged.map(|(_, deviation)| {
        view! { <Badge tone=deviation_tone(deviation)>{deviation_text(deviation)}</Badge> }
    });
    let badge = badge.collect_view();
    let at = impact.call_index;
    let choose = move |_| {
        choice.select(Some(at));
        browser::scroll_into_view(&lane_id(at));
    };
    view! {
        <li>
            <button class="impact" type="button" on:click=choose>
                <span class="impact-name">
                    <span class="dot" style=("--hue", colour::hue_value(&call.service))></span>
                    <span class="lane-text">{name}</span>
                    {badge}
                </span>
                <span class="num" class:is-worse=worse>{time}</span>
                <span class="impact-words mute">{words}</span>
                <span class="impact-bar">
                    {costs.then(|| view! { <span class:is-worse-bar=worse style=("width", width)></span> })}
                </span>
            </button>
        </li>
    }
}

/// Returns a row's numbers on both sides, in words.
fn both_sides_text(call: &ComparedCall, typical: bool) -> String {
    let (left, right) = (&call.left, &call.right);
    let there = if typical { "of its type" } else { "on the other side" };
    if left.call_count == 0 {
        return format!("in {} {there}", format::counted(right.trace_count, "trace"));
    }
    if right.call_count == 0 {
        let words = if typical { "usually not called" } else { "not called on the other side" };
        return words.to_owned();
    }
    let (now, usual) = (left.median, right.median);
    let took = format::duration(usual.duration_nano);
    if !right.is_usual {
        let traces = format::counted(right.trace_count, "trace");
        return format!("in {traces} {there}, {took} there");
    }
    let count_deviations = [Deviation::MoreCalls, Deviation::FewerCalls];
    if call.deviations.iter().any(|deviation| count_deviations.contains(deviation)) {
        let calls = format::counted(now.call_count, "call");
        return against(&calls, &format::count(usual.call_count), typical);
    }
    against(&format::duration(now.duration_nano), &took, typical)
}

/// Returns a number of this side and that of the other, in words.
fn against(now: &str, other: &str, typical: bool) -> String {
    if typical {
        format!("{now}, usually {other}")
    } else {
        format!("{now}, {other} on the other side")
    }
}

/// Other transactions of the type that take as long, and their common attributes.
fn similar_transactions_panel(comparison: &Arc<Comparison>) -> Option<impl IntoView + use<>> {
    let root = comparison.calls.first()?.clone();
    // The duration up to the answer. Calls after it may last longer.
    let longest = time_of(&root.left).unwrap_or(comparison.left.duration.p50_nano);
    let from = similar_from(longest);
    if from.0 == 0 || root.service.is_empty() || root.operation.is_empty() {
        return None;
    }
    let (service, operation) = (root.service.clone(), root.operation.clone());
    let asked = (service.clone(), operation.clone());
    let explained = RequestState::<Explanation>::new(move || {
        let analysis = Analysis::default()
            .with("service", &asked.0)
            .with("operation", &asked.1)
            .with("selectMinDuration", from.0)
            .with("limit", DIFFERENCES_MAX + OUTCOMES.len());
        Some(analysis::explain(&analysis))
    });
    let range = TimeRange::Last { seconds: 86_400 };
    let traces = TraceListLink::within(range)
        .of_service(&service)
        .of_operation(&operation)
        .with_min_duration(from);
    let transaction_type = addresses::transaction_type(&service, &operation, range);
    let list = traces.address();
    let has_failed = root.left.error_count > 0;
    let draw = move |explanation: Arc<Explanation>| {
        let selected = explanation.selected_count;
        let words = similar_text(selected, explanation.rest_count, longest);
        let differences = differences_of(&explanation.differences, has_failed);
        let common = (selected > 1 && !differences.is_empty()).then(|| {
            view! { <DifferenceList differences traces=traces.clone() shown=DIFFERENCES_MAX /> }
        });
        view! {
            <p class="panel-words">{words}</p>
            {common}
            <div class="panel-links">
                <a class="button" href=list.clone()>"Similar traces"</a>
                <a class="button" href=transaction_type.clone()>"Transaction type"</a>
            </div>
        }
    };
    Some(view! {
        <Panel
            title="Is it the only one?"
            state=explained
            is_empty=|explanation| explanation.selected_count + explanation.rest_count == 0
            empty="No transaction of its type began in the last day that has data."
            draw=draw
        />
    })
}

/// Returns the differences. Of a transaction that did not fail, its outcome is left out: others that
/// fail set all that succeed apart.
fn differences_of(all: &[Difference], has_failed: bool) -> Vec<Difference> {
    let is_shown = |attribute: &AttributeName| {
        has_failed || !OUTCOMES.contains(&(attribute.scope.as_str(), attribute.key.as_str()))
    };
    let shown = all.iter().filter(|one| is_shown(&one.attribute));
    let without_outcomes = shown.cloned().map(|mut one| {
        one.together.retain(|other| is_shown(&other.attribute));
        one
    });
    without_outcomes.collect()
}

/// Returns the shortest duration of a transaction that takes about as long as one of `longest`.
const fn similar_from(longest: DurationNanos) -> DurationNanos {
    DurationNanos(longest.0 / 10 * 9)
}

/// Returns the words for the transactions that take about as long as this one of `longest`.
fn similar_text(selected: u64, rest: u64, longest: DurationNanos) -> String {
    let all = format::counted(selected.saturating_add(rest), "transaction");
    let from = similar_from(longest);
    let took = format!(
        "{all} of its type took {from} or more, nine tenths of this one's {longest}, in the last \
         day that has data"
    );
    if selected <= 1 {
        format!("Yes: none other of {took}.")
    } else {
        format!("No: {} of {took}.", format::count(selected))
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, OffsetNanos,
        api::{AttributeValue, CallMedians, CallStats, ComparedCall, Deviation, SpanKindName},
    };

    use super::{AttributeName, Difference, both_sides_text, differences_of, similar_text};

    #[test]
    fn the_bound_of_similar_transactions_is_named() {
        let longest = DurationNanos(1_220_000_000);
        assert_eq!(
            [similar_text(187, 812, longest), similar_text(1, 998, longest)],
            [
                "No: 187 of 999 transactions of its type took 1.10 s or more, nine tenths of this \
                 one's 1.22 s, in the last day that has data.",
                "Yes: none other of 999 transactions of its type took 1.10 s or more, nine tenths \
                 of this one's 1.22 s, in the last day that has data.",
            ]
        );
    }

    #[test]
    fn the_outcome_is_no_difference_of_a_transaction_that_did_not_fail() {
        let attribute =
            |scope: &str, key: &str| AttributeName { scope: scope.to_owned(), key: key.to_owned() };
        let difference = |scope: &str, key: &str| Difference {
            attribute: attribute(scope, key),
            score: 0.2,
            p_value: 0.001,
            values: Vec::new(),
            together: vec![AttributeValue {
                attribute: attribute("span", "http.response.status_code"),
                value: Some("200".to_owned()),
            }],
        };
        let all = [
            difference("intrinsic", "status"),
            difference("resource", "host.name"),
            difference("span", "http.response.status_code"),
        ];
        let shown = differences_of(&all, false);
        let keys = shown.iter().map(|one| (one.attribute.key.as_str(), one.together.len()));
        assert_eq!(keys.collect::<Vec<_>>(), [("host.name", 0)]);
        assert_eq!(differences_of(&all, true), all);
    }

    #[test]
    fn a_rows_numbers_are_those_of_the_table() {
        let stats = |trace_count: u64, call_count: u64, ms: u64| CallStats {
            trace_count,
            call_count: trace_count * call_count,
            is_usual: trace_count != 80,
            median: CallMedians {
                call_count,
                duration_nano: DurationNanos(ms * 1_000_000),
                ..CallMedians::default()
            },
            ..CallStats::default()
        };
        let text = |left: CallStats, right: CallStats, deviations: &[Deviation]| {
            let call = ComparedCall {
                parent_index: None,
                depth: 0,
                service: "pay".to_owned(),
                operation: "charge".to_owned(),
                kind: SpanKindName::Client,
                deviations: deviations.to_vec(),
                differs: true,
                impact_nano: OffsetNanos(0),
                path_difference_nano: OffsetNanos(0),
                path_difference_share: 0.0,
                left,
                right,
            };
            [false, true].map(|typical| both_sides_text(&call, typical))
        };
        let (usual, rare, none) = (stats(200, 2, 20), stats(80, 1, 9), CallStats::default());
        assert_eq!(
            text(stats(1, 3, 34), usual, &[]),
            ["34.0 ms, 20.0 ms on the other side", "34.0 ms, usually 20.0 ms"]
        );
        assert_eq!(
            text(stats(1, 6, 60), usual, &[Deviation::MoreCalls]),
            ["6 calls, 2 on the other side", "6 calls, usually 2"]
        );
        assert_eq!(
            text(stats(1, 1, 30), rare, &[Deviation::Rare]),
            [
                "in 80 traces on the other side, 9.00 ms there",
                "in 80 traces of its type, 9.00 ms there"
            ]
        );
        assert_eq!(
            text(none, usual, &[Deviation::Missing]),
            ["in 200 traces on the other side", "in 200 traces of its type"]
        );
        assert_eq!(
            text(usual, none, &[Deviation::Extra]),
            ["not called on the other side", "usually not called"]
        );
    }
}
