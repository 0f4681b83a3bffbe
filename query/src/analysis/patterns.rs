//! Messages that are alike, with counts, and which of them are new.
//!
//! One scan over the window and the time that it is compared with, as long a time before it unless
//! another is given, counts the forms of messages: their words without those that surely differ.
//! `template` then puts forms together. A pattern is new when none of its forms is in the time
//! compared, and gone when none is in the window.

mod template;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{CountInStep, LogPattern, LogPatternList, PatternChange},
};
use tidings_storage::{DeduplicationSet, Detail, LogFilter, LogRows, Scan, TimeRange};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, searched},
    log_reader::severity_name,
    version::{self, mixed},
};

/// Maximum number of distinct message forms.
const FORMS_MAX: usize = 20_000;
/// A rate that differs by less than this factor is as usual.
const FACTOR_MIN: f64 = 1.5;
/// Standard deviations of a count by which it differs from the expected one, or it is as usual.
const DEVIATIONS_MIN: f64 = 3.0;
/// Characters of an example.
const EXAMPLE_CHARS_MAX: usize = 1_000;

/// Which log records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatternSearch {
    /// The records; their time is in the window.
    pub filter: LogFilter,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Maximum number of patterns returned.
    pub limit: usize,
    /// The time that the window is compared with; as long a time before it when not given.
    pub base: Option<(UnixNanos, UnixNanos)>,
    /// Only those that changed, gone ones too, the greatest change first.
    pub is_of_changes: bool,
}

/// The window, and the time that it is compared with.
#[derive(Debug, Clone, Copy)]
struct ComparedTimes {
    window: Window,
    base: (UnixNanos, UnixNanos),
}

impl ComparedTimes {
    fn is_in_base(self, time: UnixNanos) -> bool {
        (self.base.0..self.base.1).contains(&time)
    }

    /// Lengths of both in seconds.
    fn seconds(self) -> (f64, f64) {
        let seconds = |from: UnixNanos, to: UnixNanos| to.since(from).0.max(1) as f64 / 1e9;
        let [start, end] = self.window.times();
        (seconds(start, end), seconds(self.base.0, self.base.1))
    }
}

/// The records of one form, or of one pattern.
#[derive(Debug, Default)]
struct PatternRecords {
    /// Number of records in the time compared.
    base: u64,
    /// The highest severity among those.
    base_severity: i32,
    /// The first and the last of those; the last is kept while the window has none.
    base_first: Option<UnixNanos>,
    base_last: Option<(UnixNanos, Option<TraceId>, String)>,
    count: u64,
    severity: i32,
    first: Option<UnixNanos>,
    /// The last one: time, trace, message.
    last: Option<(UnixNanos, Option<TraceId>, String)>,
    steps: BTreeMap<UnixNanos, u64>,
}

/// A service and the words of its messages.
type MessageForm = (String, Vec<String>);

/// The patterns.
pub(crate) fn patterns(
    reader: &Reader,
    search: &PatternSearch,
) -> Result<LogPatternList, QueryError> {
    let window = Window::of_logs(reader, search.filter.time, search.step)?;
    let [start, end] = window.times();
    let base = search.base.unwrap_or((window.before(), start));
    let times = ComparedTimes { window, base };
    let time = TimeRange { start: Some(start.min(base.0)), end: Some(end.max(base.1)) };
    let filter = LogFilter { time, ..search.filter.clone() };
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let mut forms: HashMap<MessageForm, PatternRecords> = HashMap::new();
    let mut other = 0;
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    let stats = reader.logs(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let time = rows.time(row);
            if !window.contains(time) && !times.is_in_base(time) {
                continue;
            }
            if !seen.is_new(mixed(rows.time(row).0) ^ rows.content_hash(row)) {
                continue;
            }
            let full = forms.len() >= FORMS_MAX;
            let form = (rows.service(row).to_owned(), template::form(rows.text(row)));
            match forms.entry(form) {
                Entry::Occupied(known) => known.into_mut().add(rows, row, times),
                Entry::Vacant(_) if full => {
                    other += u64::from(window.contains(rows.time(row)));
                }
                Entry::Vacant(new) => {
                    new.insert_entry(PatternRecords::default()).into_mut().add(rows, row, times);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    reader.check()?;
    let mut patterns = put_together(forms, times);
    if !stats.complete {
        // The newest records are read first: what is missing is in the time compared.
        patterns.iter_mut().for_each(leave_uncompared);
    }
    let count = patterns.iter().map(|pattern| pattern.count).sum::<u64>() + other;
    if search.is_of_changes {
        patterns.retain(|pattern| pattern.change != PatternChange::Same);
        patterns.sort_by(|a, b| {
            let changed = deviations(b, times).total_cmp(&deviations(a, times));
            changed.then_with(|| (&a.service, &a.template).cmp(&(&b.service, &b.template)))
        });
    } else {
        patterns.retain(|pattern| pattern.count > 0);
        patterns.sort_by(|a, b| {
            (b.count, &a.service, &a.template).cmp(&(a.count, &b.service, &b.template))
        });
    }
    let pattern_count = patterns.len() as u64;
    patterns.truncate(search.limit);
    Ok(LogPatternList {
        window: window.view(),
        known_since_unix_nano: base.0,
        known_until_unix_nano: base.1,
        patterns,
        pattern_count,
        count,
        other_count: other,
        searched: searched(reader, stats),
    })
}

/// Difference of a pattern's count from the one that its rate in the time compared leads to expect,
/// in standard deviations of both.
fn deviations(pattern: &LogPattern, times: ComparedTimes) -> f64 {
    let (seconds, base_seconds) = times.seconds();
    let ratio = seconds / base_seconds;
    let (count, base) = (pattern.count as f64, pattern.base_count as f64);
    (count - base * ratio).abs() / (count + base * ratio * ratio).max(1.0).sqrt()
}

/// Says nothing of the time compared, which was not read whole.
fn leave_uncompared(pattern: &mut LogPattern) {
    (pattern.is_new, pattern.change, pattern.factor) = (false, PatternChange::Same, None);
}

fn change(pattern: &LogPattern, times: ComparedTimes) -> PatternChange {
    match (pattern.count, pattern.base_count) {
        (_, 0) => return PatternChange::New,
        (0, _) => return PatternChange::Gone,
        _ if deviations(pattern, times) < DEVIATIONS_MIN => return PatternChange::Same,
        _ => {}
    }
    let factor = pattern.per_second / pattern.base_per_second;
    if factor >= FACTOR_MIN {
        PatternChange::More
    } else if factor <= 1.0 / FACTOR_MIN {
        PatternChange::Fewer
    } else {
        PatternChange::Same
    }
}

/// The patterns that have a record in the window or in the time compared.
fn put_together(
    forms: HashMap<MessageForm, PatternRecords>,
    times: ComparedTimes,
) -> Vec<LogPattern> {
    let mut services: BTreeMap<String, Vec<(Vec<String>, PatternRecords)>> = BTreeMap::new();
    for ((service, form), records) in forms {
        services.entry(service).or_default().push((form, records));
    }
    let mut patterns = Vec::new();
    for (service, mut forms) in services {
        forms.sort_by(|(form, one), (other_form, other)| {
            let all = |records: &PatternRecords| records.count + records.base;
            all(other).cmp(&all(one)).then_with(|| form.cmp(other_form))
        });
        let (words, records): (Vec<Vec<String>>, Vec<PatternRecords>) = forms.into_iter().unzip();
        let mut records: Vec<Option<PatternRecords>> = records.into_iter().map(Some).collect();
        for (template, of) in template::templates(&words) {
            let of = of.into_iter().filter_map(|at| records[at].take());
            let records = of.fold(PatternRecords::default(), PatternRecords::join);
            patterns.push(records.view(service.clone(), template.join(" "), times));
        }
    }
    patterns
}

impl PatternRecords {
    fn add(&mut self, rows: &LogRows, row: usize, times: ComparedTimes) {
        let time = rows.time(row);
        let record = || {
            let text: String = rows.text(row).chars().take(EXAMPLE_CHARS_MAX).collect();
            (time, rows.trace_id(row), text)
        };
        if times.is_in_base(time) {
            self.base += 1;
            self.base_severity = self.base_severity.max(rows.severity_number(row));
            self.base_first = Some(self.base_first.map_or(time, |first| first.min(time)));
            let is_later = self.base_last.as_ref().is_none_or(|(last, ..)| *last <= time);
            if self.count == 0 && is_later {
                self.base_last = Some(record()).max(self.base_last.take());
            }
        }
        if !times.window.contains(time) {
            return;
        }
        self.base_last = None;
        self.count += 1;
        self.severity = self.severity.max(rows.severity_number(row));
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        if self.last.as_ref().is_none_or(|(last, ..)| *last <= time) {
            self.last = Some(record()).max(self.last.take());
        }
        *self.steps.entry(times.window.step_of(time)).or_default() += 1;
    }

    fn join(mut self, other: Self) -> Self {
        self.base += other.base;
        self.base_severity = self.base_severity.max(other.base_severity);
        self.base_first = [self.base_first, other.base_first].into_iter().flatten().min();
        self.base_last = self.base_last.max(other.base_last);
        self.count += other.count;
        self.severity = self.severity.max(other.severity);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
        self
    }

    fn view(self, service: String, template: String, times: ComparedTimes) -> LogPattern {
        let is_gone = self.count == 0;
        let (seconds, base_seconds) = times.seconds();
        let last = if is_gone { self.base_last } else { self.last };
        let first = if is_gone { self.base_first } else { self.first };
        let severity = if is_gone { self.base_severity } else { self.severity };
        let (last, trace_id, example) = last.unwrap_or_default();
        let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
        let mut pattern = LogPattern {
            id: format!("{:016x}", version::of_texts([service.as_str(), template.as_str()])),
            service,
            template,
            count: self.count,
            severity: severity_name(severity).to_owned(),
            is_new: self.base == 0,
            base_count: self.base,
            per_second: self.count as f64 / seconds,
            base_per_second: self.base as f64 / base_seconds,
            factor: None,
            change: PatternChange::Same,
            first_seen_unix_nano: first.unwrap_or_default(),
            last_seen_unix_nano: last,
            steps: self.steps.into_iter().map(step).collect(),
            example,
            trace_id,
        };
        if pattern.count > 0 && pattern.base_count > 0 {
            pattern.factor = Some(pattern.per_second / pattern.base_per_second);
        }
        pattern.change = change(&pattern, times);
        pattern
    }
}
