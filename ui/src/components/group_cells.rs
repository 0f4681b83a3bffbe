//! Cells that compare a group of a report with its baseline. Failures and durations are those since
//! the group's change, or of the whole window where it has none. So are the calls of a service, as
//! on its page; those of a transaction type are of the whole window, as in the list of types.
//! Sparklines have both times on one scale, with the baseline dashed behind.

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{Change, ChangeKind, ChangeStep, ChangedGroup, GroupStats, TimeWindow},
};

use super::{
    NumberCell, SparkTone, Sparkline,
    report::{TIMES_OF_SERVICES, TIMES_OF_TYPES},
};
use crate::{browser, charts::time_buckets::TimeBuckets, format, format::rates, number_format};

/// Title of a column of calls of transaction types.
pub const CALLS_OF_TYPES: &str =
    "Transactions: each is counted once, at the service and operation that it enters by";
/// Title of a column of calls of services.
pub const CALLS_OF_SERVICES: &str = "All calls that a service served, also within transactions: \
     spans of kind server or consumer, or every span of a service that has neither; of a store or \
     outside system the calls to it";

/// Returns the title of a column of calls of these groups.
#[must_use]
pub fn calls_title(groups: &[ChangedGroup]) -> &'static str {
    let of_services = groups.iter().all(|group| group.operation.is_none());
    if of_services { CALLS_OF_SERVICES } else { CALLS_OF_TYPES }
}

/// A series of steps and that of the baseline. `None` is a step without a value.
struct ComparedSeries {
    now: Vec<Option<f64>>,
    before: Vec<Option<f64>>,
}

/// The window of groups, and the start of the baseline.
pub type ComparedTimes = (TimeWindow, UnixNanos);

/// Returns the steps of a group in the buckets of its window, and those of the baseline if the
/// group was called then.
fn series(
    group: &ChangedGroup,
    (window, before_start): ComparedTimes,
    spread: impl Fn(TimeBuckets, &[ChangeStep]) -> Vec<Option<f64>>,
) -> ComparedSeries {
    let before = TimeWindow {
        start_unix_nano: before_start,
        end_unix_nano: window.start_unix_nano,
        step_nano: window.step_nano,
    };
    let steps = &group.baseline_steps;
    let before = (!steps.is_empty()).then(|| spread(TimeBuckets::from_window(&before), steps));
    ComparedSeries {
        now: spread(TimeBuckets::from_window(&window), &group.steps),
        before: before.unwrap_or_default(),
    }
}

fn step_start(step: &ChangeStep) -> UnixNanos {
    step.start_unix_nano
}

/// Reports whether one of the changes is for the worse and of this kind, and for durations of this
/// quantile.
#[must_use]
pub fn is_worse(changes: &[Change], kind: ChangeKind, quantile: Option<u8>) -> bool {
    let is_listed =
        |change: &Change| quantile.is_some_and(|percent| change.worse_quantiles.contains(&percent));
    let is_it = |change: &Change| change.is_worse && change.quantile == quantile;
    let mut of_kind = changes.iter().filter(|change| change.kind == kind);
    of_kind.any(|change| is_listed(change) || is_it(change))
}

/// Returns a group's change of this kind.
fn change_of(group: &ChangedGroup, kind: ChangeKind) -> Option<&Change> {
    group.changes.iter().find(|change| change.kind == kind)
}

fn label(what: &str, group: &ChangedGroup) -> String {
    let name = match &group.operation {
        Some(operation) => format::operation(operation),
        None => format::service(&group.service),
    };
    format!("{what} of {name} over time")
}

/// Returns the numbers of a group since its change; those of the window without one.
#[must_use]
pub fn shown_stats(group: &ChangedGroup) -> &GroupStats {
    group.since.as_ref().map_or(&group.now, |since| &since.stats)
}

/// Returns the numbers whose calls a row states: those of [`shown_stats`] for a service, and those of
/// the window for a transaction type.
#[must_use]
pub fn call_stats(group: &ChangedGroup) -> &GroupStats {
    if group.operation.is_none() { shown_stats(group) } else { &group.now }
}

/// Returns the time of the numbers of [`shown_stats`] as words: `since 14:01`.
#[must_use]
pub fn shown_time(group: Option<&ChangedGroup>) -> String {
    let since = group.and_then(|group| group.since.as_ref());
    since.map_or_else(
        || "in the whole range".to_owned(),
        |since| {
            let (begin, now) = (since.start_unix_nano, browser::now());
            format!("since {}", browser::local_minute(begin, now))
        },
    )
}

/// The times of the numbers of rows, where one of these groups counts from its change.
#[must_use]
pub fn changed_rows_note(groups: &[ChangedGroup]) -> Option<impl IntoView + use<>> {
    row_times(groups).map(|words| view! { <span class="rows-note">{words}</span> })
}

/// Returns the words of [`changed_rows_note`].
fn row_times(groups: &[ChangedGroup]) -> Option<&'static str> {
    let is_divided = groups.iter().any(|group| group.since.is_some());
    let of_services = groups.iter().all(|group| group.operation.is_none());
    let words = if of_services { TIMES_OF_SERVICES } else { TIMES_OF_TYPES };
    is_divided.then_some(words)
}

/// A cell with a number since the change or of the window, red where it became worse, above that of
/// the baseline if one is given. Its title has that time and the number of the baseline.
fn compared_cell(
    group: &ChangedGroup,
    is_worse: bool,
    was: Option<String>,
    number: &dyn Fn(&GroupStats) -> String,
    class: &'static str,
) -> impl IntoView + use<> {
    let before = format!("{}; this is {}", number(&group.before), shown_time(Some(group)));
    view! { <NumberCell now=number(shown_stats(group)) before is_worse was class /> }
}

/// Returns the title of the calls of a row: the number of the baseline, the time of the row's number,
/// and the number of the window where the row counts from its change.
fn rate_title(group: &ChangedGroup, number: &dyn Fn(&GroupStats) -> String) -> String {
    let is_since = group.operation.is_none() && group.since.is_some();
    let time = shown_time(is_since.then_some(group));
    let whole = is_since.then(|| format!(", and {} {}", number(&group.now), shown_time(None)));
    format!("{}; this is {time}{}", number(&group.before), whole.unwrap_or_default())
}

/// Two cells: calls per minute of [`call_stats`] with those of the baseline below for a service, and
/// their series.
pub fn rate_cells(
    group: &ChangedGroup,
    times: ComparedTimes,
    class: &'static str,
) -> impl IntoView + use<> {
    let calls =
        series(group, times, |buckets, steps| buckets.rates(steps, step_start, |step| step.count));
    let number = |stats: &GroupStats| rates::per_minute(stats.rate_per_second);
    let (now, before) = (number(call_stats(group)), rate_title(group, &number));
    let was = group.operation.is_none().then(|| was_text(group, &number)).flatten();
    view! {
        <NumberCell now before is_worse=false was class="rate-cell" />
        <td class=class>
            <Sparkline values=calls.now before=calls.before label=label("Calls", group) />
        </td>
    }
}

/// Two cells: the share of failures with that of the baseline below it, and its series.
pub fn failure_cells(
    group: &ChangedGroup,
    times: ComparedTimes,
    class: &'static str,
) -> impl IntoView + use<> {
    let is_worse = is_worse(&group.changes, ChangeKind::Errors, None);
    let tone = if is_worse { SparkTone::Error } else { SparkTone::Plain };
    let share = |step: &ChangeStep| {
        (step.count > 0).then(|| number_format::ratio(step.error_count, step.count))
    };
    let failures =
        series(group, times, |buckets, steps| buckets.gauges(steps, step_start, share, None));
    view! {
        {compared_cell(group, is_worse, was_text(group, &failed_text), &failed_text, "")}
        <td class=class>
            <Sparkline
                values=failures.now
                before=failures.before
                top_min=0.04
                tone
                label=label("Failures", group)
            />
        </td>
    }
}

/// Returns the share of failures as words, or a dash when there are no calls.
fn failed_text(stats: &GroupStats) -> String {
    if stats.count == 0 { "–".to_owned() } else { rates::percent(stats.error_share) }
}

/// Returns a number of the baseline of a changed group. `None` without calls in the baseline, and
/// where it reads as the number since the change.
fn was_text(group: &ChangedGroup, number: &dyn Fn(&GroupStats) -> String) -> Option<String> {
    let before = number(&group.before);
    let is_compared = !group.changes.is_empty() && group.before.count > 0;
    (is_compared && before != number(shown_stats(group))).then_some(before)
}

/// The cell of a quantile of the durations, 50, 95 or 99, with that of the baseline below a worse
/// one.
pub fn duration_cell(
    group: &ChangedGroup,
    quantile: u8,
    class: &'static str,
) -> impl IntoView + use<> {
    let is_worse = is_worse(&group.changes, ChangeKind::Latency, Some(quantile));
    let number = |stats: &GroupStats| {
        format::duration_or_none(match quantile {
            50 => stats.p50_nano,
            95 => stats.p95_nano,
            _ => stats.p99_nano,
        })
    };
    let was = is_worse.then(|| was_text(group, &number)).flatten();
    compared_cell(group, is_worse, was, &number, class)
}

/// Two cells: the p95 of the durations, and its series.
pub fn p95_cells(
    group: &ChangedGroup,
    times: ComparedTimes,
    class: &'static str,
) -> impl IntoView + use<> {
    let latency = change_of(group, ChangeKind::Latency);
    let tone = if latency.is_some() { SparkTone::Accent } else { SparkTone::Plain };
    let p95 = |step: &ChangeStep| (step.count > 0).then_some(step.p95_nano.0 as f64);
    let p95 = series(group, times, |buckets, steps| buckets.gauges(steps, step_start, p95, None));
    view! {
        {duration_cell(group, 95, "p95-cell")}
        <td class=class>
            <Sparkline values=p95.now before=p95.before tone label=label("p95", group) />
        </td>
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{
        CALLS_OF_SERVICES, CALLS_OF_TYPES, Change, ChangeKind, ChangedGroup, GroupStats,
        call_stats, calls_title, failed_text, is_worse, rates, row_times, series, step_start,
        was_text,
    };

    #[test]
    fn a_number_is_red_where_the_report_names_it_as_worse() {
        let change = |kind: &str, quantile: Option<u8>, is_worse| {
            let change = json!({
                "kind": kind, "isWorse": is_worse, "before": 1.0, "now": 2.0, "difference": 1.0,
                "quantile": quantile, "pValue": 0.001,
            });
            serde_json::from_value::<Change>(change).unwrap()
        };
        let slower = Change { worse_quantiles: vec![50, 95], ..change("latency", Some(50), true) };
        let changes = [slower, change("errors", None, false)];
        let latency = [50, 95, 99].map(|of| is_worse(&changes, ChangeKind::Latency, Some(of)));
        assert_eq!(latency, [true, true, false]);
        assert!(!is_worse(&changes, ChangeKind::Errors, None), "fewer fail");
        assert!(is_worse(&[change("errors", None, true)], ChangeKind::Errors, None));
    }

    #[test]
    fn counts_of_a_step_that_has_not_ended_are_no_drop() {
        let step = |start: u64, count: u64| {
            json!({
                "startUnixNano": start.to_string(), "count": count, "errorCount": 0,
                "p50Nano": "1", "p95Nano": "1",
            })
        };
        let stats = json!({
            "count": 9, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0, "p50Nano": "1",
            "p95Nano": "1",
        });
        let second = 1_000_000_000;
        let mut group: ChangedGroup = serde_json::from_value(json!({
            "service": "web", "now": stats, "before": stats, "changes": [], "score": 0.0,
            "steps": [step(20 * second, 10), step(40 * second, 3)],
            "baselineSteps": [step(0, 10)],
        }))
        .unwrap();
        let window = TimeWindow {
            start_unix_nano: UnixNanos(20 * second),
            end_unix_nano: UnixNanos(46 * second),
            step_nano: DurationNanos(10 * second),
        };
        let calls = |group: &ChangedGroup| {
            series(group, (window, UnixNanos(0)), |buckets, steps| {
                buckets.rates(steps, step_start, |step| step.count)
            })
        };
        let drawn = calls(&group);
        assert_eq!(drawn.now, [Some(1.0), Some(0.0), None]);
        assert_eq!(drawn.before, [Some(1.0), Some(0.0)]);
        group.baseline_steps.clear();
        assert!(calls(&group).before.is_empty(), "no calls before draw no line of zeros");
    }

    #[test]
    fn a_changed_group_has_the_share_of_failures_of_the_baseline() {
        let stats =
            |error_share: f64| GroupStats { count: 9, error_share, ..GroupStats::default() };
        let group = |before: GroupStats, changes: serde_json::Value| {
            let group = json!({
                "service": "web", "now": stats(0.06), "before": before, "steps": [],
                "baselineSteps": [], "changes": changes, "score": 1.0,
                "since": { "startUnixNano": "7", "count": 9, "ratePerSecond": 1.0, "errorCount": 1,
                    "errorShare": 0.12, "p50Nano": "1", "p95Nano": "1" },
            });
            was_text(&serde_json::from_value::<ChangedGroup>(group).unwrap(), &failed_text)
        };
        let change = json!([{
            "kind": "errors", "isWorse": true, "before": 0.03, "now": 0.12, "difference": 0.09,
            "pValue": 0.001,
        }]);
        assert_eq!(group(stats(0.03), change.clone()), Some(failed_text(&stats(0.03))));
        assert_eq!(group(stats(0.12), change.clone()), None, "the same");
        assert_eq!(group(GroupStats::default(), change), None, "no calls before");
        assert_eq!(group(stats(0.03), json!([])), None, "as usual");
    }

    #[test]
    fn calls_of_a_service_are_those_since_its_change_as_on_its_page() {
        let stats = |rate_per_second: f64| {
            json!({ "count": 9, "ratePerSecond": rate_per_second, "errorCount": 0,
                "errorShare": 0.0, "p50Nano": "1", "p95Nano": "1" })
        };
        let mut since = stats(1.0);
        since["startUnixNano"] = json!("7");
        let group = |operation: Option<&str>| {
            let group = json!({
                "service": "web", "operation": operation, "now": stats(0.5), "since": since,
                "before": stats(0.25), "steps": [], "baselineSteps": [], "score": 1.0,
                "changes": [{ "kind": "throughput", "isWorse": false, "before": 0.25, "now": 1.0,
                    "difference": 0.75, "pValue": 0.001 }],
            });
            serde_json::from_value::<ChangedGroup>(group).unwrap()
        };
        let number = |stats: &GroupStats| rates::per_minute(stats.rate_per_second);
        let calls = |group: &ChangedGroup| number(call_stats(group));
        let (service, of_type) = (group(None), group(Some("GET /")));
        assert_eq!([calls(&service), calls(&of_type)], ["60.0", "30.0"]);
        assert_eq!(was_text(&service, &number).as_deref(), Some("15.0"));
        // The headings say what is counted.
        let title = |group: &ChangedGroup| calls_title(std::slice::from_ref(group));
        assert_eq!((title(&service), title(&of_type)), (CALLS_OF_SERVICES, CALLS_OF_TYPES));
        // The note says so.
        let rest = "failures and durations of changed rows since the change, where its start is \
                    known";
        let words = |group: &ChangedGroup| row_times(std::slice::from_ref(group));
        assert_eq!(words(&service), Some(format!("calls, {rest}").as_str()));
        assert_eq!(words(&of_type), Some(format!("calls of the whole range; {rest}").as_str()));
        assert_eq!(words(&ChangedGroup { since: None, ..of_type }), None, "all of one time");
    }

    #[test]
    fn no_calls_have_no_share_of_failures() {
        let mut stats = GroupStats::default();
        assert_eq!(failed_text(&stats), "–");
        stats.count = 1;
        assert_eq!(failed_text(&stats), "0 %");
    }
}
