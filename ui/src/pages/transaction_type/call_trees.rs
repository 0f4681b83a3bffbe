//! The call trees of two samples, each as wide as its critical path.
//!
//! The left tree is that of the reference. The right tree is that of the subject. Its colours show
//! how much more time a call takes there on the critical path of a transaction, in the mean. Shares
//! of the path would make every other call less where one became slower.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{CallStats, ComparedCall, ComparedSet, Comparison, TotalRelation, TraceSearchResult},
};

use super::{
    BASES, TypePage,
    moment::{SINCE, moment_choice, reference_time},
};
use crate::{
    charts::icicle::{DIFFERENCE_MIN, Frame, Icicle, SiblingOrder, layout_frames},
    components::{AddressSegments, CallKeys, Panel, WatchedRequest, use_call_choice},
    format, number_format,
    request_state::RequestState,
};

/// The legend's title.
const LEGEND_TITLE: &str = "Mean time on the critical path of a transaction. A colour is as strong \
                            as the difference is great beside the whole path of the left tree.";

/// One side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ComparedSide {
    Subject,
    Reference,
}

impl ComparedSide {
    const fn stats(self, call: &ComparedCall) -> &CallStats {
        match self {
            Self::Subject => &call.left,
            Self::Reference => &call.right,
        }
    }

    const fn set(self, comparison: &Comparison) -> &ComparedSet {
        match self {
            Self::Subject => &comparison.left,
            Self::Reference => &comparison.right,
        }
    }
}

/// The sentence above the trees.
fn suspect(page: TypePage, comparison: &Comparison) -> Option<impl IntoView + use<>> {
    let reference = reference_in_sentence(page.reference_words());
    let words = suspect_words(comparison, &page.subject_text(), page.basis.get(), &reference)?;
    Some(view! { <p class="panel-words mute">{words}</p> })
}

/// Returns the words for the call whose share of the critical path increased most: `In the slowest
/// 5 %, SELECT rules takes 36.4 % of the time; in all, 31.7 %.`
fn suspect_words(
    comparison: &Comparison,
    subject: &str,
    basis: &str,
    reference: &str,
) -> Option<String> {
    let call = comparison.calls.get(comparison.path_suspect_index? as usize)?;
    let name = number_format::truncate(format::operation(&call.operation), 60);
    let first = match basis {
        "before" => "Now".to_owned(),
        SINCE => subject.to_owned(),
        "failed" => "In the failed ones,".to_owned(),
        _ => format!("In the {},", subject.to_lowercase()),
    };
    let [here, there] =
        [&call.left, &call.right].map(|stats| number_format::share(stats.own_path_share));
    Some(format!("{first} {name} itself takes {here} of the time; {reference}, {there}."))
}

/// Returns the words for the reference within a sentence: `before`, `until then`, `in all`.
fn reference_in_sentence(reference: &str) -> String {
    match reference {
        "All" => "in all".to_owned(),
        other => other.to_lowercase(),
    }
}

/// Returns the words of the legend for less and for more time than in the reference.
fn legend_words(reference: &str) -> (String, String) {
    let reference = reference_in_sentence(reference);
    (
        format!("less time than {reference}"),
        format!("more time than {reference}, mean of a transaction"),
    )
}

/// Reports whether a sample has every trace that its request matches.
fn is_whole(sample: &TraceSearchResult) -> bool {
    let total = sample.total;
    sample.searched.complete
        && total.relation == TotalRelation::Exact
        && total.value == sample.traces.len() as u64
}

/// Returns true while the answer of a request for a sample has every trace.
pub(crate) fn whole_sample(sample: RequestState<TraceSearchResult>) -> Memo<bool> {
    Memo::new(move |_| sample.value().is_some_and(|sample| is_whole(&sample)))
}

/// Returns the words for the compared traces: `sample of 300`, or `all 62`. The name of the side
/// may say `All` already.
fn sample_words(name: &str, count: u64, is_whole: bool) -> String {
    let number = format::count(count);
    match name {
        _ if !is_whole || count < 2 => format!("sample of {number}"),
        "All" => number,
        _ => format!("all {number}"),
    }
}

fn frames(comparison: &Comparison, side: ComparedSide) -> Vec<Frame> {
    let frame = |call: &ComparedCall| {
        let stats = side.stats(call);
        let value = stats.path_share;
        let difference = (side == ComparedSide::Subject).then_some(call.path_difference_share);
        let mean = format::duration(stats.path_mean_nano);
        let offset = number_format::offset(call.path_difference_nano);
        let title = format!(
            "{} {}: {mean}{} on the critical path of a transaction, {} of it; {}, p50 {}, p95 {}, \
             {} failed",
            number_format::truncate(format::service(&call.service), 60),
            number_format::truncate(format::operation(&call.operation), 120),
            difference.map_or_else(String::new, |_| format!(" ({offset})")),
            number_format::share(value),
            format::counted(stats.call_count, "call"),
            format::duration(stats.duration.p50_nano),
            format::duration(stats.duration.p95_nano),
            number_format::share(number_format::ratio(stats.error_count, stats.call_count)),
        );
        let number = match difference {
            Some(share) if share.abs() >= DIFFERENCE_MIN => offset,
            _ => mean,
        };
        Frame {
            parent: call.parent_index,
            value,
            service: call.service.clone(),
            service_words: None,
            name: number_format::truncate(format::operation(&call.operation), 80),
            number,
            title,
            difference,
            has_failed: stats.error_count > 0,
            is_critical: false,
        }
    };
    comparison.calls.iter().map(frame).collect()
}

fn mean(sum: DurationNanos, count: u64) -> String {
    format::duration(DurationNanos(sum.0.checked_div(count).unwrap_or(0)))
}

/// The choice of the basis and of its moment.
fn choices(page: TypePage) -> impl IntoView {
    view! {
        {moment_choice(page)}
        <AddressSegments name="basis" offered=BASES label="Which are compared" decided=page.basis />
    }
}

/// The panel.
pub(super) fn where_time_goes(page: TypePage) -> impl IntoView {
    let are_whole = [page.reference, page.subject].map(whole_sample);
    let reference_time = Memo::new(move |_| reference_time(page));
    let draw = move |comparison: Arc<Comparison>| {
        let words = (page.reference_words(), page.subject_text());
        let (less, more) = legend_words(page.reference_words());
        view! {
            <div class="pair-words">
                {suspect(page, &comparison)}
                <span class="pair-legend" title=LEGEND_TITLE>
                    <span class="difference-key is-less-key">{less}</span>
                    <span class="difference-key is-more-key">{more}</span>
                    <span class="difference-key is-failed-key">"has failed calls"</span>
                </span>
            </div>
            <Pair comparison words are_whole reference_time />
        }
    };
    let tools = ViewFn::from(move || choices(page));
    let instead = Memo::new(move |_| {
        let none = |sample: Option<Arc<TraceSearchResult>>| {
            sample.is_some_and(|sample| {
                page.name.with(|name| !sample.traces.iter().any(|trace| name.has_trace(trace)))
            })
        };
        let is_none = none(page.subject.value()) || none(page.reference.value());
        without_begin(page).or_else(|| is_none.then(|| none_words(page.basis.get())))
    });
    view! {
        <Panel
            title="Where the time goes"
            note="mean time on the critical path"
            tools=tools
            state=page.compared
            needs=vec![
                page.watched_measures(),
                WatchedRequest::new("The compared traces are not known", page.subject),
                WatchedRequest::new("The traces to compare with are not known", page.reference),
            ]
            instead=instead
            is_empty=|comparison| comparison.calls.is_empty()
            missing=|comparison| {
                comparison
                    .truncated
                    .then(|| "The trees have too many different calls: some are left out.".to_owned())
            }
            empty="There are too few to compare."
            rows=5
            draw=draw
        />
    }
}

/// Returns the words for a sample without traces.
fn none_words(basis: &str) -> &'static str {
    match basis {
        "failed" => "None of them failed in this time.",
        "before" => "There is none before this time to compare with.",
        SINCE => "There is none on one side of the moment: choose another.",
        _ => "There are too few to compare.",
    }
}

/// Returns the words for two times to compare in a window that has no start.
pub(super) fn without_begin(page: TypePage) -> Option<&'static str> {
    let has_none =
        matches!(page.basis.get(), "before" | SINCE) && page.window.get().bounds().is_none();
    has_none.then_some("All time cannot be divided: choose a shorter range.")
}

/// Returns the words for the mean of a side, and their title. It is that of the frame of the root,
/// as the whole duration also has work after the answer, which no frame has. Traces that begin with
/// several calls have the mean duration.
fn mean_words(comparison: &Comparison, side: ComparedSide) -> (String, &'static str, String) {
    let set = side.set(comparison);
    let whole = mean(set.duration.sum_nano, set.trace_count);
    let mut roots = comparison.calls.iter().filter(|call| call.parent_index.is_none());
    match (roots.next(), roots.next()) {
        (Some(root), None) => (
            format::duration(side.stats(root).path_mean_nano),
            "of the root span",
            format!("Mean of the whole traces: {whole}"),
        ),
        _ => (whole, "of the whole traces", "Mean duration of the traces".to_owned()),
    }
}

/// The name of a side, its time where that is another one, its sample, and the mean of its
/// transactions.
fn pair_head(
    name: String,
    time: Option<Memo<Option<String>>>,
    comparison: &Comparison,
    compared_side: ComparedSide,
    is_whole: Memo<bool>,
) -> impl IntoView + use<> {
    let set = compared_side.set(comparison);
    let count = set.trace_count;
    let has_missing = !set.missing_trace_ids.is_empty();
    let (mean, extent, title) = mean_words(comparison, compared_side);
    let side = name.clone();
    let sample = move || {
        let words = sample_words(&side, count, is_whole.get() && !has_missing);
        match time.and_then(|time| time.get()) {
            Some(time) => format!("{time}, {words}"),
            None => words,
        }
    };
    view! {
        <div class="pair-head">
            <b>{name}</b>
            <span class="mute">{sample}</span>
            <span class="pair-mean mute" title=title>
                "mean " <span class="mono">{mean}</span> " " {extent}
            </span>
        </div>
    }
}

/// Returns the names of the calls of a comparison in the address.
pub(crate) fn call_keys(comparison: &Comparison) -> CallKeys {
    CallKeys::new(comparison.calls.iter().map(|call| {
        (call.parent_index, [call.service.as_str(), call.operation.as_str(), call.kind.word()])
    }))
}

/// Both trees side by side, with the selected call below them.
#[component]
pub(crate) fn Pair(
    comparison: Arc<Comparison>,
    words: (&'static str, String),
    /// Set where the sample of the reference, or of the subject, has every trace.
    are_whole: [Memo<bool>; 2],
    /// The time of the reference in words, where it is another one than that of the subject.
    #[prop(optional)]
    reference_time: Option<Memo<Option<String>>>,
) -> impl IntoView {
    let keys = call_keys(&comparison);
    let choice = use_call_choice(Memo::new(move |_| keys.clone()));
    let (selected, focus) = (choice.selected, choice.focus);
    let reference = Arc::new(frames(&comparison, ComparedSide::Reference));
    let subject = Arc::new(frames(&comparison, ComparedSide::Subject));
    let (left, right) = (
        pair_head(
            words.0.to_owned(),
            reference_time,
            &comparison,
            ComparedSide::Reference,
            are_whole[0],
        ),
        pair_head(words.1.clone(), None, &comparison, ComparedSide::Subject, are_whole[1]),
    );
    let select = Callback::new(move |frame: u32| {
        // A second click zooms to the frame, a third to all again.
        match (selected.get_untracked(), focus.get_untracked()) {
            (Some(before), Some(focused)) if before == frame && focused == frame => {
                choice.focus_on(None);
            }
            (Some(before), _) if before == frame => choice.focus_on(Some(frame)),
            _ => choice.select(Some(frame)),
        }
    });
    let picture = |id: &'static str, label: String, frames: Arc<Vec<Frame>>| {
        move || {
            let placement = layout_frames(&frames, focus.get(), SiblingOrder::Given);
            let frames = Arc::clone(&frames);
            view! {
                <Icicle id label=label.clone() frames placement selected on_select=select />
            }
        }
    };
    let call = {
        let comparison = Arc::clone(&comparison);
        move || {
            let row = selected.get()?;
            Some(call_facts(comparison.calls.get(row as usize)?))
        }
    };
    view! {
        <div class="pair">
            <div>
                {left}
                {picture("all", format!("Call tree: {}", words.0), reference)}
            </div>
            <div>
                {right}
                {picture("some", format!("Call tree: {}", words.1), subject)}
            </div>
        </div>
        <div class="pair-call" role="status">
            {call}
            <Show when=move || focus.get().is_some()>
                <button class="button" type="button" on:click=move |_| choice.focus_on(None)>
                    "Show the whole tree"
                </button>
            </Show>
        </div>
    }
}

/// The selected call on both sides.
fn call_facts(call: &ComparedCall) -> impl IntoView + use<> {
    let side = |words: &'static str, stats: &CallStats| {
        let failed =
            number_format::share(number_format::ratio(stats.error_count, stats.call_count));
        view! {
            <span class="page-fact">
                {words}
                <span class="mono">
                    {format!(
                        "{} in {}, p50 {}, p95 {}, {failed} failed",
                        format::counted(stats.call_count, "call"),
                        format::counted(stats.trace_count, "trace"),
                        format::duration(stats.duration.p50_nano),
                        format::duration(stats.duration.p95_nano),
                    )}
                </span>
            </span>
        }
    };
    let name = number_format::truncate(format::operation(&call.operation), 80);
    let service = format::service(&call.service).to_owned();
    view! {
        <b>{name}</b>
        <span class="mute">{service}</span>
        {side("left", &call.right)}
        {side("right", &call.left)}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tidings_proto::{
        DurationNanos, OffsetNanos, UnixNanos,
        api::{
            CallStats, ComparedCall, ComparedSet, Comparison, DeviationCounts, LatencyStats,
            SpanKindName, TraceSearchResult,
        },
    };

    use super::{
        ComparedSide, SINCE, frames, is_whole, legend_words, mean_words, sample_words,
        suspect_words,
    };

    /// Returns a call with these shares of the path on either side: with its subtree, and its own.
    fn call(parent: Option<u32>, name: &str, left: [f64; 2], right: [f64; 2]) -> ComparedCall {
        let [left, right] = [left, right].map(|[path_share, own_path_share]| CallStats {
            path_share,
            own_path_share,
            ..CallStats::default()
        });
        ComparedCall {
            parent_index: parent,
            depth: 0,
            service: "web".to_owned(),
            operation: name.to_owned(),
            kind: SpanKindName::Server,
            deviations: Vec::new(),
            differs: false,
            impact_nano: OffsetNanos(0),
            path_difference_nano: OffsetNanos(0),
            path_difference_share: 0.0,
            left,
            right,
        }
    }

    fn comparison(calls: Vec<ComparedCall>, path_suspect_index: Option<u32>) -> Comparison {
        let set = || ComparedSet {
            trace_count: 1,
            trace_ids: Vec::new(),
            missing_trace_ids: Vec::new(),
            summary: None,
            start_unix_nano: UnixNanos(0),
            end_unix_nano: UnixNanos(0),
            duration: LatencyStats::default(),
            deepest_failed_index: None,
        };
        Comparison {
            left: set(),
            right: set(),
            calls,
            difference_nano: OffsetNanos(0),
            is_alike: true,
            impacts: Vec::new(),
            deviation_counts: DeviationCounts::default(),
            path_suspect_index,
            unattributed_nano: OffsetNanos(0),
            truncated: false,
        }
    }

    /// Returns the call with these mean milliseconds on either side, of 500 ms on the right.
    fn taking(call: ComparedCall, [left_ms, right_ms]: [u32; 2]) -> ComparedCall {
        let mean = |ms: u32| DurationNanos(u64::from(ms) * 1_000_000);
        let more_ms = i64::from(left_ms) - i64::from(right_ms);
        ComparedCall {
            path_difference_nano: OffsetNanos(more_ms * 1_000_000),
            path_difference_share: (f64::from(left_ms) - f64::from(right_ms)) / 500.0,
            left: CallStats { path_mean_nano: mean(left_ms), ..call.left },
            right: CallStats { path_mean_nano: mean(right_ms), ..call.right },
            ..call
        }
    }

    #[test]
    fn a_frame_has_the_mean_time_of_the_call_with_its_subtree_or_its_difference() {
        let calls = vec![
            taking(call(None, "root", [1.0, 0.1], [1.0, 0.1]), [1_000, 500]),
            taking(call(Some(0), "pay", [0.6, 0.6], [0.2, 0.2]), [600, 100]),
            taking(call(Some(0), "rules", [0.3, 0.3], [0.6, 0.6]), [300, 300]),
            taking(call(Some(0), "log", [0.0, 0.0], [0.008, 0.008]), [0, 4]),
        ];
        let compared = comparison(calls, Some(1));
        let drawn = |side| {
            let frames = frames(&compared, side);
            frames.iter().map(|frame| frame.number.clone()).collect::<Vec<String>>()
        };
        let subject = ["+500 ms", "+500 ms", "300 ms", "−4.00 ms"];
        assert_eq!(drawn(ComparedSide::Subject), subject, "rules has half of its share");
        assert_eq!(drawn(ComparedSide::Reference), ["500 ms", "100 ms", "300 ms", "4.00 ms"]);
        let subject = frames(&compared, ComparedSide::Subject);
        let differences = subject.iter().map(|frame| frame.difference).collect::<Vec<_>>();
        assert_eq!(differences, [Some(1.0), Some(1.0), Some(0.0), Some(-0.008)]);
        let words = "600 ms (+500 ms) on the critical path of a transaction, 60.0 % of it";
        assert!(subject[1].title.contains(words), "{}", subject[1].title);
        assert_eq!(
            suspect_words(&compared, "Slowest 5 %", "slow", "in all").as_deref(),
            Some("In the slowest 5 %, pay itself takes 60.0 % of the time; in all, 20.0 %.")
        );
        assert_eq!(
            suspect_words(&compared, "Since 20:33", SINCE, "before").as_deref(),
            Some("Since 20:33 pay itself takes 60.0 % of the time; before, 20.0 %.")
        );
    }

    #[test]
    fn the_mean_of_a_side_is_that_of_its_root() {
        let root = || taking(call(None, "root", [1.0, 0.1], [1.0, 0.1]), [1_000, 500]);
        let below = taking(call(Some(0), "pay", [0.6, 0.6], [0.2, 0.2]), [600, 100]);
        let mut compared = comparison(vec![root(), below], None);
        compared.left.duration.sum_nano = DurationNanos(1_200_000_000);
        let (mean, extent, title) = mean_words(&compared, ComparedSide::Subject);
        assert_eq!((mean.as_str(), extent), ("1.00 s", "of the root span"));
        assert_eq!(title, "Mean of the whole traces: 1.20 s");
        assert_eq!(mean_words(&compared, ComparedSide::Reference).0, "500 ms");
        // With two roots, no frame is as wide as the picture.
        compared.calls.push(root());
        let (mean, extent, _) = mean_words(&compared, ComparedSide::Subject);
        assert_eq!((mean.as_str(), extent), ("1.20 s", "of the whole traces"));
    }

    #[test]
    fn both_trees_mark_calls_that_fail() {
        let half = [0.5, 0.5];
        let mut failing = call(None, "pay", half, half);
        failing.left = CallStats { call_count: 8, error_count: 2, ..failing.left };
        failing.right = CallStats { call_count: 200, error_count: 1, ..failing.right };
        let compared = comparison(vec![failing, call(None, "log", half, half)], None);
        let sides = [(ComparedSide::Subject, "25.0 %"), (ComparedSide::Reference, "0.5 %")];
        for (side, share) in sides {
            let frames = frames(&compared, side);
            assert_eq!((frames[0].has_failed, frames[1].has_failed), (true, false), "{side:?}");
            let words = format!(", {share} failed");
            assert!(frames[0].title.ends_with(&words), "{}", frames[0].title);
        }
    }

    #[test]
    fn the_legend_names_the_reference() {
        let cases = [("Before", "before"), ("Until then", "until then"), ("All", "in all")];
        for (reference, words) in cases {
            let (less, more) = legend_words(reference);
            assert_eq!(less, format!("less time than {words}"));
            assert_eq!(more, format!("more time than {words}, mean of a transaction"));
        }
    }

    #[test]
    fn a_sample_with_every_trace_is_described_as_all() {
        let found = |total: u64, relation: &str| -> TraceSearchResult {
            serde_json::from_value(serde_json::json!({
                "traces": [], "total": { "value": total, "relation": relation },
                "searched": { "rows": 0, "files": 0, "elapsedNano": "0", "complete": true },
            }))
            .unwrap()
        };
        assert!(is_whole(&found(0, "exact")));
        assert!(!is_whole(&found(0, "atLeast")));
        assert!(!is_whole(&found(1, "exact")), "one is not in the sample");
        assert_eq!(sample_words("Until then", 300, false), "sample of 300");
        assert_eq!(sample_words("Until then", 62, true), "all 62");
        assert_eq!(sample_words("All", 62, true), "62");
        assert_eq!(sample_words("Failed", 1, true), "sample of 1");
    }

    #[test]
    fn where_no_share_increased_no_call_is_named() {
        let same = comparison(vec![call(None, "root", [1.0, 1.0], [1.0, 1.0])], None);
        assert_eq!(suspect_words(&same, "Now", "before", "before"), None);
    }
}
