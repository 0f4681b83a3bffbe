//! Costs of differences, in words and in order. The API computes each cost.

use tidings_proto::{
    DurationNanos,
    api::{CallStats, ComparedCall, Comparison, Deviation},
};

use crate::{components::Tone, figures, format};

/// A place with a smaller part of the whole difference is not named as its cause.
const CAUSE_PART_MIN: f64 = 0.1;

/// A place whose difference is worth a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impact {
    /// The row.
    pub row: u32,
    /// Additional own time of a trace, in nanoseconds.
    pub nanos: f64,
}

/// A place's time in the median trace of its side; `None` where fewer than half make the call.
#[must_use]
pub fn time_of(stats: &CallStats) -> Option<DurationNanos> {
    stats.is_usual.then_some(stats.median.duration_nano)
}

/// The rows that differ, the greatest difference first, longer or shorter; then those that cost no
/// time.
#[must_use]
pub fn ranked(comparison: &Comparison) -> Vec<Impact> {
    let total = total(comparison).abs().max(1.0);
    let rows = (0_u32..).zip(&comparison.calls);
    let mut impacts: Vec<Impact> = rows
        .map(|(row, call)| (Impact { row, nanos: call.impact_nano.0 as f64 }, call))
        .filter(|(impact, call)| impact.nanos.abs() >= total / 100.0 || is_told(call))
        .map(|(impact, _)| impact)
        .collect();
    impacts.sort_by(|left, right| {
        right.nanos.abs().total_cmp(&left.nanos.abs()).then(left.row.cmp(&right.row))
    });
    impacts
}

/// Tells whether a row's deviation is worth a word although it costs no time.
fn is_told(call: &ComparedCall) -> bool {
    let told = [Deviation::Missing, Deviation::Extra, Deviation::NewlyFailing];
    call.deviations.iter().any(|deviation| told.contains(deviation))
}

/// Additional duration of the left, in nanoseconds.
#[must_use]
pub fn total(comparison: &Comparison) -> f64 {
    comparison.left.duration.p50_nano.0 as f64 - comparison.right.duration.p50_nano.0 as f64
}

/// A deviation as a word.
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

/// The tone of a deviation's badge.
#[must_use]
pub const fn deviation_tone(deviation: Deviation) -> Tone {
    match deviation {
        Deviation::NewlyFailing => Tone::Error,
        Deviation::Slower | Deviation::Extra | Deviation::MoreCalls => Tone::Warning,
        _ => Tone::Plain,
    }
}

/// Says how much longer the left takes, and by which call.
#[must_use]
pub fn sentence(comparison: &Comparison, typical: bool) -> String {
    let (left, right) = (&comparison.left.duration.p50_nano, &comparison.right.duration.p50_nano);
    let than = if typical { "typical" } else { "the other" };
    let difference = DurationNanos(left.0.abs_diff(right.0));
    let is_equal = difference.0.saturating_mul(50) < right.0.max(1);
    let is_longer = !is_equal && left.0 > right.0;
    let mut words = match (is_equal, is_longer) {
        (true, _) => format!("About as long as {than}."),
        (false, true) => format!("{difference} longer than {than}."),
        (false, false) => format!("{difference} shorter than {than}."),
    };
    // The cause goes the way of the whole, and is more than a small part of it: what is longer makes
    // nothing shorter.
    let is_cause = |impact: &Impact| {
        let part = impact.nanos.abs() / total(comparison).abs().max(1.0);
        part >= CAUSE_PART_MIN && (impact.nanos > 0.0) == is_longer
    };
    if let Some(impact) = ranked(comparison).into_iter().find(is_cause).filter(|_| !is_equal)
        && let Some(call) = comparison.calls.get(impact.row as usize)
    {
        words.push(' ');
        words.push_str(&cause(call, impact, total(comparison), typical));
    }
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

/// The greatest cause: its time, how often it is called, how long each call takes.
fn cause(call: &ComparedCall, impact: Impact, total: f64, typical: bool) -> String {
    let (usually, otherwise) =
        if typical { ("usually", "otherwise") } else { ("in the other", "in the other") };
    let is_longer = impact.nanos > 0.0;
    let name = figures::cut(format::operation(&call.operation), 60);
    let nanos = DurationNanos(crate::browser::whole(impact.nanos.abs()));
    let words = if impact.nanos.abs() <= total.abs() {
        format!("{nanos} of it is {name}")
    } else {
        // Others make up for a part of it.
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
    let factor = now.0 as f64 / was.0.max(1) as f64;
    let is_told = if is_longer { factor >= 1.2 } else { factor <= 1.0 / 1.2 };
    if is_told {
        parts.push(format!("each {} as long, {now}, {usually} {was}", figures::times(factor)));
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

    use super::{ranked, sentence, time_of};

    /// So many calls in each of these traces, of 200 or of one: 80 are fewer than half.
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
        assert!(words.contains("of it is rules: each 0.25× as long, 1.00 s, in the other 4.00 s."));
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
