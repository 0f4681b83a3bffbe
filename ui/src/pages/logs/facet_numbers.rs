//! Percentiles of the numbers of a field, below the title of its facet.
//!
//! Owns the request, the line and its text. The request is sent only when a listed value is a
//! number. Without numbers, and when the request fails, there is no line.

use leptos::prelude::*;
use tidings_proto::api::{LogStats, NumberSummary};

use super::use_analysis_while;
use crate::{
    api::analysis::{Analysis, log_stats},
    format::{self, rates},
    page_time::PageTime,
    request_state::RequestState,
    url::LogState,
};

/// The line below the title.
#[derive(Debug, Clone, Copy, PartialEq)]
enum NumbersLine {
    Absent,
    /// A line without text, so that the rows below stay where they are.
    Blank,
    Percentiles(NumberSummary),
}

impl NumbersLine {
    /// Returns the line for these numbers. `before` is the line while a reader points at the rows
    /// below, which must not move then.
    fn new(before: Option<Self>, numbers: Option<NumberSummary>) -> Self {
        match (before, numbers) {
            (Some(Self::Absent), _) | (None, None) => Self::Absent,
            (Some(_), None) => Self::Blank,
            (_, Some(numbers)) => Self::Percentiles(numbers),
        }
    }
}

/// The percentiles of a field's numbers, if it has some.
#[component]
pub(super) fn FacetNumbers(
    /// The field's name in queries.
    field: String,
    /// The most frequent values of the field.
    values: RequestState<LogStats>,
    /// The filters other than the facet's own.
    others: Memo<LogState>,
    time: PageTime,
    /// Set while the pointer or the focus is on a value, which must not move then.
    reading: RwSignal<bool>,
) -> impl IntoView {
    let is_numeric = Memo::new(move |_| values.value().is_some_and(|answer| has_number(&answer)));
    let answer = use_analysis_while(
        time,
        move || is_numeric.get(),
        move |analysis| others.with(|others| log_stats(&numbers_query(analysis, &field, others))),
    );
    let line = Memo::new(move |before: Option<&NumbersLine>| {
        let (is_read, is_valid) = (reading.get(), is_numeric.get() && answer.error().is_none());
        let numbers = answer.value().filter(|_| is_valid);
        let numbers = numbers.and_then(|answer| answer.groups.first()?.numbers);
        NumbersLine::new(before.copied().filter(|_| is_read), numbers)
    });
    // An outdated list of values is drawn as such with this line in it.
    let is_stale = move || answer.pending() && !values.pending();
    move || {
        let (text, title) = match line.get() {
            NumbersLine::Absent => return None,
            NumbersLine::Blank => (String::new(), None),
            NumbersLine::Percentiles(numbers) => {
                (percentiles_text(&numbers), Some(count_text(&numbers)))
            }
        };
        Some(view! {
            <p class="facet-numbers mute" class:is-stale=is_stale title=title>
                {text}
            </p>
        })
    }
}

/// Adds a request for a field's numbers, and the facet's other filters, to an analysis.
fn numbers_query(analysis: Analysis, field: &str, others: &LogState) -> Analysis {
    analysis.with_log_filters(others).with("number", field)
}

/// Reports whether one of the listed values is a number.
fn has_number(values: &LogStats) -> bool {
    let mut texts = values.groups.iter().filter_map(|group| group.values.first()?.as_deref());
    texts.any(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

/// Returns the number of records for which the percentiles are, and their precision.
fn count_text(numbers: &NumberSummary) -> String {
    let records = format::counted(numbers.count, "record");
    format!("Of {records} with a number; percentiles are within one percent")
}

/// Returns the percentiles in one line. It breaks only between two of them.
fn percentiles_text(numbers: &NumberSummary) -> String {
    let named =
        [("p50", numbers.p50), ("p95", numbers.p95), ("p99", numbers.p99), ("max", numbers.max)];
    named.map(|(name, number)| format!("{name}\u{a0}{}", number_text(number))).join(" · ")
}

/// Formats a number with three digits, also those after the zeros of a small fraction: a latency in
/// seconds may be 0.0012.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1.0..1e15).contains(&size) {
        return rates::without_zeros(number);
    }
    if !(1e-6..1.0).contains(&size) {
        return format!("{number:.2e}");
    }
    let (mut scaled, mut decimals) = (size, 3);
    while scaled < 0.1 {
        scaled *= 10.0;
        decimals += 1;
    }
    let digits = format!("{size:.decimals$}");
    let sign = if number < 0.0 { "−" } else { "" };
    format!("{sign}{}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{UnixNanos, api::NumberSummary};

    use super::{
        Analysis, LogState, NumbersLine, count_text, log_stats, number_text, numbers_query,
        percentiles_text,
    };

    const NUMBERS: NumberSummary = NumberSummary {
        count: 1_402,
        min: 1.0,
        max: 1_300.0,
        mean: 40.0,
        p50: 12.5,
        p90: 100.0,
        p95: 250.0,
        p99: 1_200.0,
    };

    #[test]
    fn percentiles_and_the_largest_number_are_a_line() {
        let text = percentiles_text(&NUMBERS).replace('\u{a0}', " ");
        assert_eq!(text, "p50 12.5 · p95 250 · p99 1,200 · max 1,300");
        let title = "Of 1,402 records with a number; percentiles are within one percent";
        assert_eq!(count_text(&NUMBERS), title);
    }

    #[test]
    fn numbers_of_any_size_have_three_digits() {
        for (number, expected) in [
            (0.0, "0"),
            (2.0, "2"),
            (12.54, "12.5"),
            (-1_300.4, "−1,300"),
            (0.5, "0.5"),
            (-0.001_234, "−0.00123"),
            (0.999_96, "1"),
            (2e-9, "2.00e-9"),
            (1.5e20, "1.50e20"),
            (-f64::MAX, "-1.80e308"),
        ] {
            assert_eq!(number_text(number), expected, "{number}");
        }
    }

    #[test]
    fn a_line_neither_appears_nor_goes_above_rows_that_are_read() {
        let line = NumbersLine::Percentiles(NUMBERS);
        for (before, numbers, expected) in [
            (None, None, NumbersLine::Absent),
            (None, Some(NUMBERS), line),
            (Some(NumbersLine::Absent), Some(NUMBERS), NumbersLine::Absent),
            (Some(line), None, NumbersLine::Blank),
            (Some(NumbersLine::Blank), None, NumbersLine::Blank),
            (Some(NumbersLine::Blank), Some(NUMBERS), line),
        ] {
            assert_eq!(NumbersLine::new(before, numbers), expected, "{before:?} {numbers:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_listed_records() {
        let state = LogState { service: Some("shop".to_owned()), ..LogState::default() };
        let minute = Analysis::between(UnixNanos(0), UnixNanos(60_000_000_000));
        let query = numbers_query(minute, "body.took", &state);
        let address = log_stats(&query).address().to_owned();
        for part in ["start=0", "service=shop", "number=body.took"] {
            assert!(address.contains(part), "{part} in {address}");
        }
        assert!(!address.contains("by="), "{address}");
    }
}
