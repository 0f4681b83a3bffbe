//! The selected span among others of its operation: its percentile among the durations of a day.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{LatencyStats, RedGroup, RedResult},
};

use super::super::{model::TraceModel, page_signals::PageSignals, percentile};
use crate::{
    api::analysis::{Analysis, red},
    components::{LoadingRows, WatchedRequest},
    format, number_format,
    request_state::RequestState,
};

/// Length of the time range: the day before the end of the trace.
const DAY_NANOS: u64 = 86_400_000_000_000;
/// Minimum number of spans for a meaningful comparison.
const COUNT_MIN: u64 = 20;
/// Number of bars of the histogram.
const BARS: usize = 48;

/// The words and the histogram, or the state of their request.
pub(super) fn usual(page: PageSignals) -> impl IntoView {
    let asked = Memo::new(move |_| {
        let row = page.selected.get()?;
        Some(
            page.model
                .with(|model| (model.service(row).to_owned(), model.operation(row).to_owned())),
        )
    });
    let answer = RequestState::<RedResult>::new(move || {
        let (service, operation) = asked.get()?;
        let end = page.model.with_untracked(|model| model.summary.end_unix_nano);
        let end = UnixNanos(end.0.saturating_add(1));
        let start = UnixNanos(end.0.saturating_sub(DAY_NANOS));
        let analysis = Analysis::between(start, end)
            .with("service", service)
            .with("operation", operation)
            .with("by", "operation")
            .with("histogram", "true");
        Some(red(&analysis))
    });
    let is_root = Memo::new(move |_| {
        let row = page.selected.get();
        page.model.with(|model| row.is_some_and(|row| is_answer(model, row)))
    });
    let transaction_types = percentile::ask(page, is_root.into());
    // The answer about another operation does not apply to this one.
    Effect::new(move |_| {
        asked.track();
        answer.clear();
    });
    let drawn = move || {
        let row = page.selected.get()?;
        let nanos = page.model.with(|model| model.duration(row));
        let Some(result) = answer.value() else {
            return answer.loading().then(|| view! { <LoadingRows count=2 /> }.into_any());
        };
        let Some(group) = result.groups.first().filter(|group| group.count >= COUNT_MIN) else {
            let words = "It ran too rarely in a day to tell its usual duration.";
            return Some(view! { <p class="faint">{words}</p> }.into_any());
        };
        // The same words as in the head of the page.
        let transaction_type = transaction_types.value().filter(|_| is_root.get());
        let place =
            transaction_type.and_then(|list| percentile::words(list.transaction_types.first()?));
        let place = place.map_or_else(|| place_words(&group.duration, nanos), |(words, _)| words);
        let section = view! {
            <section class="usual">
                <h3>"Usual duration" <span class="faint">{format::counted(group.count, "span")} " in a day"</span></h3>
                <p>{words(group.duration.p50_nano, nanos, &place)}</p>
                {picture(group, nanos)}
            </section>
        };
        Some(section.into_any())
    };
    let failed = WatchedRequest::new("The usual duration is not known", answer);
    view! { {drawn} {failed.note()} }
}

/// Reports whether a row is the root whose duration the trace's type is measured by.
fn is_answer(model: &TraceModel, row: u32) -> bool {
    model.parent(row).is_none()
        && model.answer_nano() == Some(model.duration(row))
        && model.service(row) == model.summary.root_service
        && model.operation(row) == model.summary.root_operation
}

/// Returns a duration compared with the median: `5.7× the median 214 ms, slower than 85 %`, or
/// `+2 % against the median 214 ms, slower than half`.
fn words(median: DurationNanos, nanos: u64, place: &str) -> String {
    let factor = number_format::ratio(nanos, median.0);
    let compared = match number_format::factor_text(factor) {
        _ if median.0 == 0 => "over".to_owned(),
        text if text == number_format::SAME => "the same as".to_owned(),
        text if factor >= number_format::FACTOR_MIN => text,
        text => format!("{text} against"),
    };
    format!("{compared} the median {}, {place}", format::duration(median))
}

/// Returns the rank of a duration among the percentiles, in words.
fn place_words(stats: &LatencyStats, nanos: u64) -> String {
    let percentiles = [
        (stats.p99_nano, "slower than 99 %"),
        (stats.p95_nano, "slower than 95 %"),
        (stats.p90_nano, "slower than 90 %"),
        (stats.p50_nano, "slower than half"),
    ];
    let above = percentiles.iter().find(|(limit, _)| nanos > limit.0);
    above.map_or("no slower than half", |(_, words)| words).to_owned()
}

/// Returns the position of a duration on a logarithmic axis, from 0 to 1.
fn across(nanos: u64, least: f64, most: f64) -> f64 {
    let log = (nanos.max(1) as f64).ln();
    if most > least { ((log - least) / (most - least)).clamp(0.0, 1.0) } else { 0.5 }
}

/// Histogram of durations on a logarithmic axis, with this one's position.
fn picture(group: &RedGroup, nanos: u64) -> Option<impl IntoView + use<>> {
    let log = |duration: DurationNanos| (duration.0.max(1) as f64).ln();
    let least = log(group.duration.min_nano).min((nanos.max(1) as f64).ln());
    let most = log(group.duration.max_nano).max((nanos.max(1) as f64).ln());
    let mut counts = [0_u64; BARS];
    for bucket in &group.histogram {
        let at = across(bucket.up_to_nano.0, least, most);
        let index = super::super::scale::pixel(at, BARS);
        counts[index] = counts[index].saturating_add(bucket.count);
    }
    let top = counts.iter().copied().max().filter(|top| *top > 0)?;
    let mut path = String::new();
    for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        use std::fmt::Write as _;
        // Rare durations must be visible beside frequent ones.
        let height = (*count as f64 / top as f64).sqrt() * 36.0;
        let left = index as f64 * 10.0;
        let _ = write!(path, "M{left} 38v-{:.1}h8.5V38z", height.max(1.5));
    }
    let here = format!("M{:.1} 0V40", across(nanos, least, most) * (BARS as f64 * 10.0));
    let ends = [group.duration.min_nano, group.duration.max_nano].map(format::duration);
    let [shortest, longest] = ends;
    let label = format!("Durations of the operation, from {shortest} to {longest}");
    Some(view! {
        <svg
            class="usual-picture"
            viewBox="0 0 480 40"
            preserveAspectRatio="none"
            role="img"
            aria-label=label
        >
            <path class="usual-bars" d=path />
            <path class="usual-here" d=here />
        </svg>
        <p class="usual-ends faint mono">
            <span>{shortest}</span>
            <span>{longest}</span>
        </p>
    })
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, api::LatencyStats};

    use super::{across, place_words, words};

    #[test]
    fn a_duration_is_named_by_the_percentile_it_is_above() {
        let stats = LatencyStats {
            p50_nano: DurationNanos(10_000_000),
            p90_nano: DurationNanos(50_000_000),
            p95_nano: DurationNanos(60_000_000),
            p99_nano: DurationNanos(90_000_000),
            ..LatencyStats::default()
        };
        assert_eq!(place_words(&stats, 95_000_000), "slower than 99 %");
        assert_eq!(place_words(&stats, 55_000_000), "slower than 90 %");
        assert_eq!(place_words(&stats, 11_000_000), "slower than half");
        assert_eq!(place_words(&stats, 10_000_000), "no slower than half");
        assert_eq!(
            words(DurationNanos(214_000_000), 1_220_000_000, "slower than 85 %"),
            "5.7× the median 214 ms, slower than 85 %"
        );
        let near = |millis: u64| words(DurationNanos(200_000_000), millis * 1_000_000, "rare");
        assert_eq!(near(204), "+2 % against the median 200 ms, rare");
        assert_eq!(near(201), "the same as the median 200 ms, rare");
        assert_eq!(words(DurationNanos(0), 5, "rare"), "over the median 0 ns, rare");
    }

    #[test]
    fn the_axis_is_logarithmic_and_has_ends() {
        let (least, most) = (0.0, (1e6_f64).ln());
        assert!((across(1_000, least, most) - 0.5).abs() < 1e-9);
        assert!((across(u64::MAX, least, most) - 1.0).abs() < 1e-9);
        assert!((across(5, 1.0, 1.0) - 0.5).abs() < 1e-9);
    }
}
