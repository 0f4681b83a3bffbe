//! The words for differences and their causes. The API ranks them.

use tidings_proto::{
    DurationNanos,
    api::{CallImpact, CallStats, ComparedCall, Comparison, Deviation},
};

use crate::{
    components::Tone,
    format::{self, rates},
    number_format,
};

/// Maximum number of calls that are named where none deviates.
const CAUSES_MAX: usize = 3;

/// Returns the time of a call in the median trace of its side. `None` when fewer than half of the
/// traces make the call.
#[must_use]
pub fn time_of(stats: &CallStats) -> Option<DurationNanos> {
    stats.is_usual.then_some(stats.median.duration_nano)
}

/// Returns a deviation as a word.
#[must_use]
pub const fn deviation_text(deviation: Deviation) -> &'static str {
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

/// Reports whether a row has more time because of a deviation. Only such a row is red.
#[must_use]
pub fn is_worse(call: &ComparedCall) -> bool {
    let costs = |deviation: &Deviation| {
        matches!(deviation, Deviation::Slower | Deviation::MoreCalls | Deviation::Extra)
    };
    time_of(&call.left) > time_of(&call.right) && call.deviations.iter().any(costs)
}

/// Returns the words for the calls of a row that differs without a deviation from the typical
/// trace, and their title. `None` for any other row.
#[must_use]
pub fn within_range_text(call: &ComparedCall) -> Option<(&'static str, String)> {
    let is_within =
        call.differs && call.deviations.is_empty() && call.left.is_usual && call.right.is_usual;
    if !is_within {
        return None;
    }
    let (now, median) = (call.left.median.each_nano, call.right.median.each_nano);
    let p95 = call.right.duration.p95_nano;
    let words = match call.impact_nano.0.signum() {
        1 if now > p95 => "longer, above p95",
        1 if now > median => "longer, within p95",
        -1 if now < median => "shorter",
        _ => return None,
    };
    Some((words, format!("The median is {median}, p95 is {p95}.")))
}

/// Returns the calls that cause the whole difference, the greatest part first.
fn causes(comparison: &Comparison) -> impl Iterator<Item = (&CallImpact, &ComparedCall)> {
    let causes = comparison.impacts.iter().filter(|impact| impact.is_cause);
    let calls = &comparison.calls;
    causes.filter_map(move |impact| Some((impact, calls.get(impact.call_index as usize)?)))
}

/// Returns the words for the compared calls, and for the largest differences, when none deviates.
#[must_use]
pub fn no_deviation_text(comparison: &Comparison, typical: bool) -> String {
    let none = if typical {
        format!(
            "{} compared with {} of the type: none is missing or newly fails, and all are within \
             their range, slow calls included",
            format::counted(comparison.calls.len() as u64, "call"),
            format::counted(comparison.right.trace_count, "transaction"),
        )
    } else {
        "No call differs much".to_owned()
    };
    let causes = causes(comparison).take(CAUSES_MAX).map(|(impact, call)| {
        let name = number_format::truncate(format::operation(&call.operation), 60);
        format!("{name} ({})", format::offset(impact.impact_nano.0))
    });
    let causes: Vec<String> = causes.collect();
    if causes.is_empty() {
        return format!("{none}.");
    }
    format!("{none}; the difference is in {}.", causes.join(", "))
}

/// Returns the words for the deepest call that failed on the left side, and for its failures on the
/// other side.
fn failure(comparison: &Comparison, typical: bool) -> Option<String> {
    let call = comparison.calls.get(comparison.left.deepest_failed_index? as usize)?;
    let there = if typical { "in others of its type" } else { "in the other" };
    let how = match (call.right.error_count, call.right.call_count) {
        (_, 0) => String::new(),
        (0, _) => format!(", which it does not {there}"),
        (failed, all) => {
            format!(
                ", as {} of its calls do {there}",
                number_format::share(number_format::ratio(failed, all))
            )
        }
    };
    let name = number_format::truncate(format::operation(&call.operation), 60);
    Some(format!(" {name} failed{how}."))
}

/// Returns the words for how much longer the left side takes, and the calls that cause it.
#[must_use]
pub fn sentence(comparison: &Comparison, typical: bool) -> String {
    let whole = comparison.difference_nano.0;
    let than = if typical { "typical" } else { "the other" };
    let difference = DurationNanos(whole.unsigned_abs());
    let mut words = match (comparison.is_alike, whole > 0) {
        (true, _) => format!("About as long as {than}."),
        (false, true) => format!("{difference} longer in all than {than}."),
        (false, false) => format!("{difference} shorter in all than {than}."),
    };
    if let Some((impact, call)) = causes(comparison).next() {
        words.push(' ');
        words.push_str(&cause(call, impact.impact_nano.0, whole, typical));
    }
    words.extend(failure(comparison, typical));
    let missing = comparison.deviation_counts.missing;
    if missing > 0 {
        words.push_str(&format!(" {} did not happen.", format::counted(missing, "call")));
    }
    let failing = comparison.deviation_counts.newly_failing;
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

/// Returns the words for the greatest cause: its time, its number of calls, and the mean of their
/// durations.
fn cause(call: &ComparedCall, impact: i64, whole: i64, typical: bool) -> String {
    let (usually, otherwise) =
        if typical { ("usually", "otherwise") } else { ("in the other", "in the other") };
    let is_longer = impact > 0;
    let name = number_format::truncate(format::operation(&call.operation), 60);
    let nanos = DurationNanos(impact.unsigned_abs());
    let words = if nanos.0 <= whole.unsigned_abs() {
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
    let count_deviation = if is_longer { Deviation::MoreCalls } else { Deviation::FewerCalls };
    if call.deviations.contains(&count_deviation) {
        let times = |calls: u64| match calls {
            1 => "once".to_owned(),
            _ => format!("{} times", format::count(calls)),
        };
        let (now, usual) = (call.left.median.call_count, call.right.median.call_count);
        parts.push(format!("called {}, {usually} {}", times(now), times(usual)));
    }
    let (now, was) = (call.left.median.each_nano, call.right.median.each_nano);
    let (more, less, size) = if is_longer { (now, was, "as long") } else { (was, now, "faster") };
    let factor = more.0 as f64 / less.0.max(1) as f64;
    if factor >= 1.2 {
        let factor = rates::factor(factor);
        let is_within_range = typical && is_longer && !call.deviations.contains(&Deviation::Slower);
        parts.push(if is_within_range {
            slow_mode_text(call)
        } else {
            let calls = call.left.median.call_count.max(call.right.median.call_count);
            format!("{}{factor} {size}, {now}, {usually} {was}", mean_word(calls))
        });
    }
    let more = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", and ")) };
    format!("{words}{more}.")
}

/// Returns the words for calls that are longer than the median of their type, but not slower than
/// its range: the durations of its slow calls.
fn slow_mode_text(call: &ComparedCall) -> String {
    /// Minimum number of calls for which the 95th percentile is not the longest.
    const CALLS_MIN: u64 = 20;
    let (left, right) = (&call.left.median, &call.right);
    let mean = mean_word(left.call_count);
    let slow = if right.call_count >= CALLS_MIN {
        format!("one call in twenty takes {} or more", right.duration.p95_nano)
    } else {
        format!("the longest takes {}", right.duration.max_nano)
    };
    format!("{mean}{}, the median is {}; {slow}", left.each_nano, right.median.each_nano)
}

/// Returns the words before a duration that is the mean of this number of calls. Empty for a single
/// call.
const fn mean_word(call_count: u64) -> &'static str {
    if call_count > 1 { "on average " } else { "" }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, OffsetNanos, UnixNanos,
        api::{
            CallImpact, CallMedians, CallStats, ComparedCall, ComparedSet, Comparison, Deviation,
            DeviationCounts, LatencyStats, SpanKindName,
        },
    };

    use super::{is_worse, no_deviation_text, sentence, time_of, within_range_text};

    const MILLI: i64 = 1_000_000;

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
                each_nano: nanos(each_ms),
                ..CallMedians::default()
            },
            ..CallStats::default()
        }
    }

    fn call(
        name: &str,
        left: CallStats,
        right: CallStats,
        deviations: &[Deviation],
    ) -> ComparedCall {
        ComparedCall {
            parent_index: None,
            depth: 0,
            service: "pay".to_owned(),
            operation: name.to_owned(),
            kind: SpanKindName::Client,
            deviations: deviations.to_vec(),
            differs: true,
            impact_nano: OffsetNanos(0),
            path_difference_nano: OffsetNanos(0),
            path_difference_share: 0.0,
            left,
            right,
        }
    }

    /// Returns a comparison with this whole difference. `causes` are rows with their impacts.
    fn comparison(
        difference_ms: i64,
        causes: &[(u32, i64)],
        calls: Vec<ComparedCall>,
    ) -> Comparison {
        let set = |trace_count: u64| ComparedSet {
            trace_count,
            trace_ids: Vec::new(),
            missing_trace_ids: Vec::new(),
            summary: None,
            start_unix_nano: UnixNanos(0),
            end_unix_nano: UnixNanos(0),
            duration: LatencyStats::default(),
            deepest_failed_index: None,
        };
        let impact = |(call_index, impact_ms): &(u32, i64)| CallImpact {
            call_index: *call_index,
            impact_nano: OffsetNanos(impact_ms * MILLI),
            deviation: None,
            is_cause: true,
        };
        Comparison {
            left: set(1),
            right: set(200),
            calls,
            difference_nano: OffsetNanos(difference_ms * MILLI),
            is_alike: difference_ms == 0,
            impacts: causes.iter().map(impact).collect(),
            deviation_counts: DeviationCounts::default(),
            path_suspect_index: None,
            unattributed_nano: OffsetNanos(0),
            truncated: false,
        }
    }

    #[test]
    fn the_greatest_cause_is_explained() {
        let more = [Deviation::MoreCalls, Deviation::Slower];
        let calls = vec![
            call("fast", stats(1, 1, 50), stats(200, 1, 48), &[]),
            call("charge", stats(1, 3, 402), stats(200, 1, 103), &more),
            call("publish", CallStats::default(), stats(199, 1, 0), &[Deviation::Missing]),
        ];
        let compared = Comparison {
            deviation_counts: DeviationCounts { missing: 1, ..DeviationCounts::default() },
            ..comparison(1_390, &[(1, 1_103)], calls)
        };
        assert_eq!(
            sentence(&compared, true),
            "1.39 s longer in all than typical. 1.10 s of it is charge: called 3 times, usually \
             once, and on average 3.9× as long, 402 ms, usually 103 ms. 1 call did not happen."
        );
    }

    #[test]
    fn a_shorter_trace_is_explained_by_what_is_shorter() {
        let calls = vec![
            call("log", stats(1, 1, 760), stats(200, 1, 100), &[Deviation::Slower]),
            call("rules", stats(1, 1, 1_000), stats(200, 1, 4_000), &[Deviation::Faster]),
        ];
        assert_eq!(
            sentence(&comparison(-3_500, &[(1, -3_000)], calls), false),
            "3.50 s shorter in all than the other. 3.00 s of it is rules: 4.0× faster, 1.00 \
             s, in the other 4.00 s."
        );
    }

    #[test]
    fn more_than_the_whole_is_no_part_of_it() {
        let found = call("load", stats(1, 1, 900), stats(200, 1, 300), &[Deviation::Slower]);
        assert_eq!(
            sentence(&comparison(400, &[(0, 600)], vec![found]), true),
            "400 ms longer in all than typical. load alone takes 600 ms more: 3.0× as long, 900 \
             ms, usually 300 ms."
        );
    }

    #[test]
    fn a_call_that_most_do_not_make_has_no_usual_time() {
        assert_eq!(time_of(&stats(200, 3, 10)), Some(DurationNanos(30_000_000)));
        assert_eq!((time_of(&stats(80, 1, 10)), time_of(&CallStats::default())), (None, None));
        let found = call("load", stats(1, 1, 90), stats(80, 1, 85), &[Deviation::Rare]);
        assert_eq!(
            sentence(&comparison(100, &[(0, 90)], vec![found]), true),
            "100 ms longer in all than typical. 90.0 ms of it is load, which most of them do not \
             call."
        );
    }

    #[test]
    fn where_no_call_deviates_words_say_where_the_time_is() {
        let calls = vec![
            call("pay", stats(1, 1, 90), stats(200, 1, 75), &[]),
            call("charge", stats(1, 1, 160), stats(200, 1, 120), &[]),
            call("log", stats(1, 1, 5), stats(200, 1, 15), &[]),
            call("read", stats(1, 1, 9), stats(200, 1, 9), &[]),
        ];
        assert_eq!(
            no_deviation_text(&comparison(50, &[(1, 40), (0, 15)], calls), true),
            "4 calls compared with 200 transactions of the type: none is missing or newly fails, \
             and all are within their range, slow calls included; the difference is in charge \
             (+40.0 ms), pay (+15.0 ms)."
        );
        let faster = call("rules", stats(1, 1, 70), stats(1, 1, 100), &[]);
        assert_eq!(
            no_deviation_text(&comparison(-30, &[(0, -30)], vec![faster]), false),
            "No call differs much; the difference is in rules (−30.0 ms)."
        );
        let read = call("read", stats(1, 1, 9), stats(200, 1, 9), &[]);
        assert_eq!(
            no_deviation_text(&comparison(50, &[], vec![read]), true),
            "1 call compared with 200 transactions of the type: none is missing or newly fails, \
             and all are within their range, slow calls included."
        );
    }

    #[test]
    fn a_call_in_the_slow_mode_of_its_type_is_longer_but_not_worse() {
        let millis = |ms: u64| DurationNanos(ms * 1_000_000);
        let right = |traces: u64| CallStats {
            duration: LatencyStats {
                p95_nano: millis(1_120),
                max_nano: millis(1_300),
                ..LatencyStats::default()
            },
            ..stats(traces, 1, 29)
        };
        let rules = |each_ms: u64, impact_ms: i64, deviations: &[Deviation]| ComparedCall {
            impact_nano: OffsetNanos(impact_ms * MILLI),
            ..call("rules", stats(1, 1, each_ms), right(200), deviations)
        };
        let words = |call: ComparedCall| sentence(&comparison(960, &[(0, 763)], vec![call]), true);
        assert_eq!(
            words(rules(792, 763, &[])),
            "960 ms longer in all than typical. 763 ms of it is rules: 792 ms, the median is 29.0 \
             ms; one call in twenty takes 1.12 s or more."
        );
        let few = ComparedCall { right: right(19), ..rules(792, 763, &[]) };
        assert!(words(few).ends_with("29.0 ms; the longest takes 1.30 s."));
        let more =
            ComparedCall { left: stats(1, 3, 792), ..rules(792, 763, &[Deviation::MoreCalls]) };
        assert!(words(more).contains(
            "called 3 times, usually once, and on average 792 ms, the median is 29.0 ms; one call"
        ));
        let within = |call: &ComparedCall| within_range_text(call).map(|(words, _)| words);
        let all = [
            rules(792, 763, &[]),
            rules(1_500, 763, &[]),
            rules(9, -20, &[]),
            rules(9, 20, &[]),
            rules(4_000, 763, &[Deviation::Slower]),
        ];
        assert_eq!(
            all.each_ref().map(within),
            [Some("longer, within p95"), Some("longer, above p95"), Some("shorter"), None, None]
        );
        assert_eq!(all.each_ref().map(is_worse), [false, false, false, false, true]);
        let (_, title) = within_range_text(&all[0]).unwrap();
        assert_eq!(title, "The median is 29.0 ms, p95 is 1.12 s.");
    }

    #[test]
    fn a_failure_is_named_even_where_others_fail_as_well() {
        let failing = |stats: CallStats, error_count: u64| CallStats { error_count, ..stats };
        let words = |right: CallStats, typical: bool| {
            let left = failing(stats(1, 1, 9), 1);
            let calls = ["pay", "charge"].map(|name| call(name, left, right, &[])).to_vec();
            let mut compared = comparison(0, &[], calls);
            compared.left.deepest_failed_index = Some(1);
            sentence(&compared, typical)
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
        let same = call("x", stats(1, 1, 9), stats(1, 1, 9), &[]);
        let words = sentence(&comparison(0, &[], vec![same]), false);
        assert_eq!(words, "About as long as the other.");
        let shorter = comparison(-250, &[], Vec::new());
        assert_eq!(sentence(&shorter, true), "250 ms shorter in all than typical.");
        let small = call("x", stats(1, 1, 9), stats(1, 1, 1), &[]);
        assert_eq!(
            sentence(&comparison(250, &[], vec![small]), true),
            "250 ms longer in all than typical."
        );
    }
}
