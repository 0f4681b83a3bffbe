//! The words and the order of differences by their cost. The API computes each cost.

use tidings_proto::{
    DurationNanos,
    api::{CallStats, ComparedCall, Comparison, Deviation},
};

use crate::{
    components::Tone,
    figures,
    format::{self, rates},
};

/// Minimum part of the whole difference at which a call is named as its cause.
const CAUSE_PART_MIN: f64 = 0.1;
/// Maximum number of calls that are named where none deviates.
const CAUSES_MAX: usize = 3;

/// A row with a relevant difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impact {
    /// The row.
    pub row: u32,
    /// Difference in self time per trace, in nanoseconds.
    pub nanos: f64,
}

/// Returns the time of a call in the median trace of its side. `None` when fewer than half of the
/// traces make the call.
#[must_use]
pub fn time_of(stats: &CallStats) -> Option<DurationNanos> {
    stats.is_usual.then_some(stats.median.duration_nano)
}

/// Returns the rows that differ, the greatest absolute difference first. Rows that cost no time
/// come last.
#[must_use]
pub fn ranked(comparison: &Comparison) -> Vec<Impact> {
    let total = total(comparison);
    let rows = (0_u32..).zip(&comparison.calls);
    let mut impacts: Vec<Impact> = rows
        .filter(|(_, call)| is_costly(call, total) || is_told(call))
        .map(|(row, call)| Impact { row, nanos: call.impact_nano.0 as f64 })
        .collect();
    impacts.sort_by(|left, right| {
        right.nanos.abs().total_cmp(&left.nanos.abs()).then(left.row.cmp(&right.row))
    });
    impacts
}

/// Reports whether a row has at least one per cent of `total`, the whole difference.
#[must_use]
pub fn is_costly(call: &ComparedCall, total: f64) -> bool {
    (call.impact_nano.0 as f64).abs() >= total.abs().max(1.0) / 100.0
}

/// Reports whether a row's deviation is listed although it costs no time.
fn is_told(call: &ComparedCall) -> bool {
    let told = [Deviation::Missing, Deviation::Extra, Deviation::NewlyFailing];
    call.deviations.iter().any(|deviation| told.contains(deviation))
}

/// Returns the additional duration of the left side, in nanoseconds.
#[must_use]
pub fn total(comparison: &Comparison) -> f64 {
    comparison.left.duration.p50_nano.0 as f64 - comparison.right.duration.p50_nano.0 as f64
}

/// Returns a deviation as a word.
#[must_use]
pub const fn deviation_words(deviation: Deviation) -> &'static str {
    match deviation {
        Deviation::Missing => "missing",
        Deviation::Extra => "extra",
        Deviation::NewlyFailing => "● newly failing",
        Deviation::MoreCalls => "more calls",
        Deviation::FewerCalls => "fewer calls",
        Deviation::Slower => "slower",
        Deviation::Faster => "faster",
        Deviation::Rare => "rare",
    }
}

/// Returns the tone of a deviation's badge.
#[must_use]
pub const fn deviation_tone(deviation: Deviation) -> Tone {
    match deviation {
        Deviation::NewlyFailing => Tone::Error,
        Deviation::Slower | Deviation::Extra | Deviation::MoreCalls => Tone::Warning,
        _ => Tone::Plain,
    }
}

/// Reports whether both sides take about as long.
fn is_equal(comparison: &Comparison) -> bool {
    let (left, right) = (comparison.left.duration.p50_nano.0, comparison.right.duration.p50_nano.0);
    left.abs_diff(right).saturating_mul(50) < right.max(1)
}

/// Returns the calls that cause the whole difference, the greatest part first. They differ in the
/// same direction and are more than a small part of it: a longer call does not make the whole
/// shorter.
fn causes(comparison: &Comparison) -> Vec<(Impact, &ComparedCall)> {
    if is_equal(comparison) {
        return Vec::new();
    }
    let total = total(comparison);
    let ranked = ranked(comparison).into_iter();
    let causes = ranked.filter(|impact| impact.nanos / total >= CAUSE_PART_MIN);
    causes.filter_map(|impact| Some((impact, comparison.calls.get(impact.row as usize)?))).collect()
}

/// Returns the words for the compared calls, and for the largest differences, when none deviates.
#[must_use]
pub fn undeviating(comparison: &Comparison, typical: bool) -> String {
    let none = if typical {
        format!(
            "{} compared with {} of the type: none takes longer, comes more often, is missing or \
             newly fails beyond what is usual there",
            format::counted(comparison.calls.len() as u64, "call"),
            format::counted(comparison.right.trace_count, "transaction"),
        )
    } else {
        "No call differs much".to_owned()
    };
    let causes = causes(comparison).into_iter().take(CAUSES_MAX).map(|(_, call)| {
        let name = figures::cut(format::operation(&call.operation), 60);
        format!("{name} ({})", format::offset(call.impact_nano.0))
    });
    let causes: Vec<String> = causes.collect();
    if causes.is_empty() {
        return format!("{none}.");
    }
    format!("{none}; the time is in {}.", causes.join(", "))
}

/// Returns the words for the deepest call that failed on the left side, and for its failures on the
/// other side.
fn failure(comparison: &Comparison, typical: bool) -> Option<String> {
    let failed = comparison.calls.iter().filter(|call| call.left.error_count > 0);
    let call = failed.max_by_key(|call| call.depth)?;
    let there = if typical { "in others of its type" } else { "in the other" };
    let how = match (call.right.error_count, call.right.call_count) {
        (_, 0) => String::new(),
        (0, _) => format!(", which it does not {there}"),
        (failed, all) => {
            format!(", as {} of its calls do {there}", figures::share(figures::ratio(failed, all)))
        }
    };
    let name = figures::cut(format::operation(&call.operation), 60);
    Some(format!(" {name} failed{how}."))
}

/// Returns the words for how much longer the left side takes, and the calls that cause it.
#[must_use]
pub fn sentence(comparison: &Comparison, typical: bool) -> String {
    let (left, right) = (&comparison.left.duration.p50_nano, &comparison.right.duration.p50_nano);
    let than = if typical { "typical" } else { "the other" };
    let difference = DurationNanos(left.0.abs_diff(right.0));
    let mut words = match (is_equal(comparison), left.0 > right.0) {
        (true, _) => format!("About as long as {than}."),
        (false, true) => format!("{difference} longer than {than}."),
        (false, false) => format!("{difference} shorter than {than}."),
    };
    if let Some((impact, call)) = causes(comparison).first() {
        words.push(' ');
        words.push_str(&cause(call, *impact, total(comparison), typical));
    }
    words.extend(failure(comparison, typical));
    let count = |deviation: Deviation| {
        comparison.calls.iter().filter(|call| call.deviations.contains(&deviation)).count() as u64
    };
    let missing = count(Deviation::Missing);
    if missing > 0 {
        words.push_str(&format!(" {} did not happen.", format::counted(missing, "call")));
    }
    let failing = count(Deviation::NewlyFailing);
    if failing > 0 {
        words.push_str(&format!(
            " {} newly failing.",
            format_args!(
                "{} {}",
                format::counted(failing, "call"),
                if failing == 1 { "is" } else { "are" }
            )
        ));
    }
    words
}

/// Returns the words for the greatest cause: its time, its number of calls, and the duration of
/// each.
fn cause(call: &ComparedCall, impact: Impact, total: f64, typical: bool) -> String {
    let (usually, otherwise) =
        if typical { ("usually", "otherwise") } else { ("in the other", "in the other") };
    let is_longer = impact.nanos > 0.0;
    let name = figures::cut(format::operation(&call.operation), 60);
    let nanos = DurationNanos(crate::browser::whole(impact.nanos.abs()));
    let words = if impact.nanos.abs() <= total.abs() {
        format!("{nanos} of it is {name}")
    } else {
        // Other calls compensate a part of it.
        format!("{name} alone takes {nanos} {}", if is_longer { "more" } else { "less" })
    };
    if call.right.call_count == 0 {
        return format!("{words}, which is not called {otherwise}.");
    }
    if call.left.call_count == 0 {
        return format!("{words}, which is not called here.");
    }
    if !call.right.is_usual {
        return format!("{words}, which most of them do not call.");
    }
    let mut parts = Vec::new();
    let told = if is_longer { Deviation::MoreCalls } else { Deviation::FewerCalls };
    if call.deviations.contains(&told) {
        let times = |calls: u64| match calls {
            1 => "once".to_owned(),
            _ => format!("{} times", format::count(calls)),
        };
        let (now, usual) = (call.left.median.call_count, call.right.median.call_count);
        parts.push(format!("called {}, {usually} {}", times(now), times(usual)));
    }
    let each = |side: &CallStats| {
        DurationNanos(side.median.duration_nano.0 / side.median.call_count.max(1))
    };
    let (now, was) = (each(&call.left), each(&call.right));
    let (more, less, size) = if is_longer { (now, was, "as long") } else { (was, now, "shorter") };
    let factor = more.0 as f64 / less.0.max(1) as f64;
    if factor >= 1.2 {
        let factor = rates::factor(factor);
        parts.push(format!("each {factor} {size}, {now}, {usually} {was}"));
    }
    let more = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", and ")) };
    format!("{words}{more}.")
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, OffsetNanos,
        api::{
            CallMedians, CallStats, ComparedCall, ComparedSet, Comparison, Deviation, LatencyStats,
            SpanKindName,
        },
    };

    use super::{is_costly, ranked, sentence, time_of, undeviating};

    /// Returns stats with this number of calls in each of these traces, of 200 or of one. 80 are
    /// fewer than half.
    fn stats(traces: u64, calls: u64, each_ms: u64) -> CallStats {
        let nanos = |ms: u64| DurationNanos(ms * 1_000_000);
        CallStats {
            trace_count: traces,
            call_count: traces * calls,
            is_usual: traces != 80,
            median: CallMedians {
                call_count: calls,
                duration_nano: nanos(calls * each_ms),
                ..CallMedians::default()
            },
            duration: LatencyStats { p50_nano: nanos(each_ms), ..LatencyStats::default() },
            ..CallStats::default()
        }
    }

    fn call(
        name: &str,
        left: CallStats,
        right: CallStats,
        impact_ms: i64,
        deviations: &[Deviation],
    ) -> ComparedCall {
        ComparedCall {
            parent_index: None,
            depth: 0,
            service: "pay".to_owned(),
            operation: name.to_owned(),
            kind: SpanKindName::Client,
            deviations: deviations.to_vec(),
            impact_nano: OffsetNanos(impact_ms * 1_000_000),
            left,
            right,
        }
    }

    fn comparison(left_ms: u64, right_ms: u64, calls: Vec<ComparedCall>) -> Comparison {
        let set = |traces: u64, ms: u64| ComparedSet {
            trace_count: traces,
            trace_ids: Vec::new(),
            missing_trace_ids: Vec::new(),
            duration: LatencyStats {
                p50_nano: DurationNanos(ms * 1_000_000),
                ..LatencyStats::default()
            },
        };
        let (left, right) = (set(1, left_ms), set(200, right_ms));
        Comparison { left, right, calls, unattributed_nano: OffsetNanos(0), truncated: false }
    }

    #[test]
    fn what_costs_most_comes_first_and_what_costs_nothing_last() {
        let more = [Deviation::MoreCalls, Deviation::Slower];
        let calls = vec![
            call("fast", stats(1, 1, 50), stats(200, 1, 48), 2, &[]),
            call("charge", stats(1, 3, 402), stats(200, 1, 103), 1_103, &more),
            call("publish", CallStats::default(), stats(199, 1, 0), 0, &[Deviation::Missing]),
            call("refresh", CallStats::default(), stats(80, 1, 9), 0, &[]),
        ];
        let comparison = comparison(1_840, 450, calls);
        let rows: Vec<u32> = ranked(&comparison).iter().map(|impact| impact.row).collect();
        assert_eq!(rows, [1, 2]);
        assert_eq!(
            sentence(&comparison, true),
            "1.39 s longer than typical. 1.10 s of it is charge: called 3 times, usually once, \
             and each 3.9× as long, 402 ms, usually 103 ms. 1 call did not happen."
        );
    }

    #[test]
    fn a_shorter_trace_is_explained_by_what_is_shorter() {
        let slower = [Deviation::Slower];
        let calls = vec![
            call("log", stats(1, 1, 760), stats(200, 1, 100), 660, &slower),
            call("rules", stats(1, 1, 1_000), stats(200, 1, 4_000), -3_000, &[Deviation::Faster]),
        ];
        let comparison = comparison(2_000, 5_500, calls);
        let rows: Vec<u32> = ranked(&comparison).iter().map(|impact| impact.row).collect();
        assert_eq!(rows, [1, 0], "the greatest difference first");
        let words = sentence(&comparison, false);
        assert!(words.starts_with("3.50 s shorter than the other. "), "{words}");
        assert!(words.contains("of it is rules: each 4.0× shorter, 1.00 s, in the other 4.00 s."));
    }

    #[test]
    fn more_than_the_whole_is_no_part_of_it() {
        let found = call("load", stats(1, 1, 900), stats(200, 1, 300), 600, &[Deviation::Slower]);
        assert_eq!(
            sentence(&comparison(900, 500, vec![found]), true),
            "400 ms longer than typical. load alone takes 600 ms more: each 3.0× as long, 900 ms, \
             usually 300 ms."
        );
    }

    #[test]
    fn a_call_that_most_do_not_make_has_no_usual_time() {
        assert_eq!(time_of(&stats(200, 3, 10)), Some(DurationNanos(30_000_000)));
        assert_eq!((time_of(&stats(80, 1, 10)), time_of(&CallStats::default())), (None, None));
        let found = call("load", stats(1, 1, 90), stats(80, 1, 85), 90, &[Deviation::Rare]);
        assert_eq!(
            sentence(&comparison(200, 100, vec![found]), true),
            "100 ms longer than typical. 90.0 ms of it is load, which most of them do not call."
        );
    }

    #[test]
    fn where_no_call_deviates_words_say_where_the_time_is() {
        let calls = vec![
            call("pay", stats(1, 1, 90), stats(200, 1, 75), 15, &[]),
            call("charge", stats(1, 1, 160), stats(200, 1, 120), 40, &[]),
            call("log", stats(1, 1, 5), stats(200, 1, 15), -10, &[]),
            call("read", stats(1, 1, 9), stats(200, 1, 9), 0, &[]),
        ];
        let longer = comparison(260, 210, calls);
        let costly: Vec<bool> = longer.calls.iter().map(|call| is_costly(call, 50e6)).collect();
        assert_eq!(costly, [true, true, true, false]);
        assert_eq!(
            undeviating(&longer, true),
            "4 calls compared with 200 transactions of the type: none takes longer, comes more \
             often, is missing or newly fails beyond what is usual there; the time is in charge \
             (+40.0 ms), pay (+15.0 ms)."
        );
        let faster = call("rules", stats(1, 1, 70), stats(1, 1, 100), -30, &[]);
        assert_eq!(
            undeviating(&comparison(170, 200, vec![faster]), false),
            "No call differs much; the time is in rules (−30.0 ms)."
        );
        let read = call("read", stats(1, 1, 9), stats(200, 1, 9), 0, &[]);
        assert_eq!(
            undeviating(&comparison(260, 210, vec![read]), true),
            "1 call compared with 200 transactions of the type: none takes longer, comes more \
             often, is missing or newly fails beyond what is usual there."
        );
    }

    #[test]
    fn a_failure_is_named_even_where_others_fail_as_well() {
        let failing = |stats: CallStats, error_count: u64| CallStats { error_count, ..stats };
        let words = |right: CallStats, typical: bool| {
            let left = failing(stats(1, 1, 9), 1);
            let root = call("pay", left, right, 0, &[]);
            let charge = ComparedCall { depth: 1, ..call("charge", left, right, 0, &[]) };
            sentence(&comparison(450, 450, vec![root, charge]), typical)
        };
        let usual = failing(stats(200, 1, 9), 24);
        assert_eq!(
            words(usual, true),
            "About as long as typical. charge failed, as 12.0 % of its calls do in others of its \
             type."
        );
        assert_eq!(
            words(stats(1, 1, 9), false),
            "About as long as the other. charge failed, which it does not in the other."
        );
        let extra = words(CallStats::default(), true);
        assert_eq!(extra, "About as long as typical. charge failed.");
    }

    #[test]
    fn equal_traces_are_about_as_long() {
        let same = comparison(450, 450, vec![call("x", stats(1, 1, 9), stats(1, 1, 9), 0, &[])]);
        assert_eq!(sentence(&same, false), "About as long as the other.");
        let shorter = comparison(200, 450, Vec::new());
        assert_eq!(sentence(&shorter, true), "250 ms shorter than typical.");
        let small = call("x", stats(1, 1, 9), stats(1, 1, 1), 8, &[]);
        let longer = comparison(450, 200, vec![small]);
        assert_eq!(sentence(&longer, true), "250 ms longer than typical.");
        let nothing = comparison(0, 0, Vec::new());
        assert_eq!(ranked(&nothing), []);
    }
}
