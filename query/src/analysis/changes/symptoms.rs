//! New exceptions and new patterns of log records, as changes of the services they come from.

use std::collections::{HashMap, HashSet};

use tidings_proto::{
    UnixNanos,
    api::{
        Change, ChangeKind, ChangedGroup, ExceptionGroup, LogPatternList, PatternChange, ReportPart,
    },
    otlp::Severity,
};
use tidings_storage::{LogFilter, TimeRange};

use super::{
    ChangeQuery,
    changed_groups::{ComparedPeriods, P_VALUE_MAX, change},
    statistics::{float, rate_test},
    whole_days,
};
use crate::{
    QueryError,
    analysis::{
        exceptions::{self, ExceptionSearch},
        patterns::{self, PatternSearch},
    },
};

/// Maximum number of exception groups that are examined.
const EXCEPTIONS_MAX: usize = 50;
/// Maximum number of patterns that are examined.
const PATTERNS_MAX: usize = 200;
/// Minimum count of an exception or pattern that is listed.
const COUNT_MIN: u64 = 3;
/// Weight of a new exception and of a new pattern.
const EXCEPTION_WEIGHT: f64 = 0.35;
const PATTERN_WEIGHT: f64 = 0.25;
/// Maximum number of new exceptions, and of new patterns, of one service that are listed.
const LISTED_MAX: usize = 5;

/// The exceptions that compared groups stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// All of both times.
    All,
    /// The comparison has the most frequent groups.
    Frequent,
    /// Too few to say how many groups are new.
    Unknown,
}

/// Adds exceptions that the baseline does not have, and sets their number of each service.
pub(super) fn add_exceptions(
    asked: &mut ChangeQuery<'_>,
    services: &mut [ChangedGroup],
    periods: ComparedPeriods,
) -> Result<(), QueryError> {
    let (new, coverage) = new_exceptions(asked, periods)?;
    count_new(services, &new, coverage);
    for group in new {
        let text = match group.exception_type.as_str() {
            "" => group.message,
            known => known.to_owned(),
        };
        let (first, count) = (group.first_seen_unix_nano, group.count);
        let found = occurrence(ChangeKind::NewException, count, first, (text, group.id), periods);
        add(services, &group.service, found, EXCEPTION_WEIGHT);
    }
    Ok(())
}

/// The groups of exceptions that the baseline does not have.
fn new_exceptions(
    asked: &mut ChangeQuery<'_>,
    periods: ComparedPeriods,
) -> Result<(Vec<ExceptionGroup>, Coverage), QueryError> {
    let windows = periods.windows;
    if periods.contiguous {
        let [start, _] = windows.now.times();
        let range = TimeRange { start: windows.before.range().start, end: windows.now.range().end };
        let (mut groups, coverage) = exception_groups(asked, range)?;
        groups.retain(|group| group.first_seen_unix_nano >= start);
        return Ok((groups, coverage));
    }
    let (known, known_coverage) = exception_groups(asked, windows.before.range())?;
    let known: HashSet<String> = known.into_iter().map(|group| group.id).collect();
    let (mut groups, coverage) = exception_groups(asked, windows.now.range())?;
    groups.retain(|group| !known.contains(&group.id));
    // A group that the baseline does not list may be one of its rarer ones.
    let is_known = known_coverage == Coverage::All;
    Ok((groups, if is_known { coverage } else { Coverage::Unknown }))
}

/// The most frequent groups of exceptions of a time range.
fn exception_groups(
    asked: &mut ChangeQuery<'_>,
    range: TimeRange,
) -> Result<(Vec<ExceptionGroup>, Coverage), QueryError> {
    let search = ExceptionSearch {
        start: range,
        limit: EXCEPTIONS_MAX,
        step: Some(whole_days(range)),
        ..ExceptionSearch::default()
    };
    let found = exceptions::exceptions(asked.reader, &search)?;
    let mut coverage = Coverage::All;
    if found.group_count > EXCEPTIONS_MAX as u64 {
        let reason =
            format!("the {EXCEPTIONS_MAX} most frequent groups of exceptions were compared");
        asked.lacks(ReportPart::Exceptions, &reason);
        coverage = Coverage::Frequent;
    }
    if !found.searched.complete {
        asked.lacks_by_length(ReportPart::Exceptions, "not every exception was read");
        coverage = Coverage::Unknown;
    }
    Ok((found.groups, coverage))
}

/// Sets the number of new groups of exceptions of each service.
fn count_new(services: &mut [ChangedGroup], new: &[ExceptionGroup], coverage: Coverage) {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for group in new {
        *counts.entry(group.service.as_str()).or_default() += 1;
    }
    for service in services.iter_mut().filter(|service| !service.uninstrumented) {
        let count = counts.get(service.service.as_str()).copied();
        service.new_exception_count = match coverage {
            Coverage::All => Some(count.unwrap_or(0)),
            // A rarer group of a service without any may be new.
            Coverage::Frequent => count,
            Coverage::Unknown => None,
        };
    }
}

/// Adds patterns of log records of severity *warn* or above that the time before the window does
/// not have.
pub(super) fn add_log_patterns(
    asked: &mut ChangeQuery<'_>,
    services: &mut [ChangedGroup],
) -> Result<(), QueryError> {
    let windows = asked.windows;
    let search = PatternSearch {
        filter: LogFilter {
            time: windows.now.range(),
            severity_min: Some(Severity::Warn.into()),
            ..LogFilter::default()
        },
        step: Some(windows.now.step()),
        limit: PATTERNS_MAX,
        is_without_examples: true,
        ..PatternSearch::default()
    };
    let found = patterns::patterns(asked.reader, &search)?;
    note_uncompared(asked, &found);
    let periods = ComparedPeriods {
        windows,
        seconds: sampled_seconds(windows.now.times()),
        contiguous: true,
        is_full: true,
    };
    let new = found.patterns.into_iter().filter(|found| found.change == PatternChange::New);
    for pattern in new {
        let said = (pattern.template, pattern.id);
        // Of a pattern that is back, the first record of all is older than the window.
        let begin = pattern.steps.first().map_or(UnixNanos(0), |step| step.start_unix_nano);
        let [start, _] = windows.now.times();
        let first = pattern.first_seen_unix_nano.max(begin).max(start);
        let found = occurrence(ChangeKind::NewLogPattern, pattern.count, first, said, periods);
        add(services, &pattern.service, found, PATTERN_WEIGHT);
    }
    Ok(())
}

/// Notes the patterns that were not compared, and why.
fn note_uncompared(asked: &mut ChangeQuery<'_>, found: &LogPatternList) {
    if !found.searched.complete {
        let reason = "not every log record of the window and of the time before it was read, so that no pattern is new";
        asked.lacks_by_length(ReportPart::LogPatterns, reason);
    }
    let rare = [(found.other_count, "the window"), (found.base_other_count, "the time before it")];
    for (count, time) in rare.into_iter().filter(|(count, _)| *count > 0) {
        let reason = format!(
            "{count} log records of {time} have a rare form: patterns of their services were not compared"
        );
        asked.lacks(ReportPart::LogPatterns, &reason);
    }
    if found.pattern_count > PATTERNS_MAX as u64 {
        let reason =
            format!("the {PATTERNS_MAX} most frequent patterns of log records were compared");
        asked.lacks(ReportPart::LogPatterns, &reason);
    }
}

/// Patterns are compared with a range of the same length before the window.
fn sampled_seconds([start, end]: [UnixNanos; 2]) -> super::sampled::Sides<f64> {
    let seconds = float(end.since(start).0) / 1e9;
    super::sampled::Sides { now: seconds, before: seconds }
}

fn occurrence(
    kind: ChangeKind,
    count: u64,
    first: UnixNanos,
    (text, id): (String, String),
    periods: ComparedPeriods,
) -> Change {
    let seconds = periods.seconds;
    let mut found = change(kind, 0.0, float(count), true);
    found.p_value = rate_test((count, seconds.now), (0, seconds.before), 1.0);
    found.since_unix_nano = Some(first);
    found.text = Some(text);
    found.id = Some(id);
    found
}

fn add(services: &mut [ChangedGroup], service: &str, found: Change, weight: f64) {
    let is_sure = found.now >= float(COUNT_MIN) && found.p_value < P_VALUE_MAX;
    let group = services.iter_mut().find(|group| group.service == service && !group.uninstrumented);
    let Some(group) = group.filter(|_| is_sure) else { return };
    let listed = group.changes.iter().filter(|change| change.kind == found.kind).count();
    if listed < LISTED_MAX {
        group.changes.push(found);
    }
    if listed == 0 {
        group.score = 1.0 - (1.0 - group.score) * (1.0 - weight);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::api::{ChangedGroup, ExceptionGroup};

    use super::{Coverage, count_new};

    fn service(name: &str, uninstrumented: bool) -> ChangedGroup {
        let stats = json!({
            "count": 1, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0, "p50Nano": "1",
            "p95Nano": "1",
        });
        serde_json::from_value(json!({
            "service": name, "uninstrumented": uninstrumented, "now": stats, "before": stats,
            "steps": [], "baselineSteps": [], "changes": [], "score": 0.0,
        }))
        .unwrap()
    }

    fn exception(service: &str, id: &str) -> ExceptionGroup {
        serde_json::from_value(json!({
            "id": id, "service": service, "operation": "", "exceptionType": "E", "count": 1,
            "logCount": 0, "firstSeenUnixNano": "1", "lastSeenUnixNano": "1", "timeUnixNano": "1",
            "steps": [], "message": "", "stackTrace": "", "normalisedStack": "",
        }))
        .unwrap()
    }

    #[test]
    fn a_service_without_new_exceptions_has_none_only_where_all_were_compared() {
        let new = [exception("a", "1"), exception("a", "2"), exception("db", "3")];
        for (coverage, expected) in [
            (Coverage::All, [Some(2), Some(0), None]),
            (Coverage::Frequent, [Some(2), None, None]),
            (Coverage::Unknown, [None; 3]),
        ] {
            let mut services = [service("a", false), service("b", false), service("db", true)];
            count_new(&mut services, &new, coverage);
            let counts = services.map(|service| service.new_exception_count);
            assert_eq!(counts, expected, "{coverage:?}");
        }
    }
}
