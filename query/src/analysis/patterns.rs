//! Groups of similar messages, with counts, and which of them are new.
//!
//! The records of the window are compared with those of another time range. By default it has the
//! same length and ends where the window begins. Records are counted by the forms of their
//! messages: the words without those that certainly vary. The counts in data files answer where
//! they can. Elsewhere rows are read. Both are added to one bounded table for each range, which
//! keeps the most frequent forms. `template` then merges forms. The forms of the week before the
//! window are merged with them, so that the templates of a window change less with its length. A
//! pattern is new when none of its forms is known of the other range or of that week, and gone when
//! none is in the window. A service with forms that were dropped has no new, gone or changed
//! patterns: their records may belong to any of its patterns. The examples of the listed patterns
//! are read last.

mod template;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

use ahash::RandomState;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CountInStep, LogPattern, LogPatternList, PatternChange},
};
use tidings_storage::{
    CountedForms, CutServices, DeduplicationSet, FormBounds, FormRecords, FormSummary, FormWriter,
    KeptForms, LogFilter, Projection, Scan, ScanStats, TimeRange,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, search_stats},
    log_reader::{RecordKey, severity_name},
    version::{self, mixed},
};

/// Maximum number of distinct message forms of an answer.
const FORMS_MAX: usize = 20_000;
/// Bounds of the forms of the window. The bytes suffice for forms of 120 bytes in 60 steps each.
const WINDOW_FORMS: FormBounds = FormBounds { forms_max: FORMS_MAX, bytes_max: 48 << 20 };
/// Bounds of the forms of the compared time, and of those of the time before the window. They have
/// a single step.
const BASE_FORMS: FormBounds = FormBounds { forms_max: FORMS_MAX, bytes_max: 16 << 20 };
/// Length of the time before the window in which patterns are looked for.
const HISTORY_LENGTH: DurationNanos = DurationNanos(7 * 24 * 60 * MINUTE);
/// Maximum number of rows that are read of that time, where data files do not count them.
const HISTORY_ROWS_MAX: u64 = 100_000;
/// Minimum factor between two rates that counts as a change.
const FACTOR_MIN: f64 = 1.5;
/// Minimum difference of a count from the expected one that counts as a change, in standard
/// deviations.
const DEVIATIONS_MIN: f64 = 3.0;
/// Maximum number of characters of an example.
const EXAMPLE_CHARS_MAX: usize = 1_000;
/// Nanoseconds of a minute.
const MINUTE: u64 = 60 * 1_000_000_000;
/// Length of the step in which records of the compared time are counted: all time, in whole
/// minutes. The answer does not show it.
const BASE_STEP: DurationNanos = DurationNanos(u64::MAX - u64::MAX % MINUTE);

/// Selection of log records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatternSearch {
    /// Filter of the records; their time is in the window.
    pub filter: LogFilter,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Maximum number of patterns returned.
    pub limit: usize,
    /// The time that the window is compared with. `None`: the range of the same length before the
    /// window.
    pub base: Option<(UnixNanos, UnixNanos)>,
    /// True to list only the patterns that changed, gone ones included, the greatest change first.
    pub is_of_changes: bool,
    /// True to leave out examples and their traces, which cost a scan.
    pub is_without_examples: bool,
}

/// The window, and the time that it is compared with.
#[derive(Debug, Clone, Copy)]
struct ComparedTimes {
    window: Window,
    base: (UnixNanos, UnixNanos),
}

impl ComparedTimes {
    /// Lengths of both ranges in seconds.
    fn seconds(self) -> (f64, f64) {
        let seconds = |from: UnixNanos, to: UnixNanos| to.since(from).0.max(1) as f64 / 1e9;
        let [start, end] = self.window.times();
        (seconds(start, end), seconds(self.base.0, self.base.1))
    }

    /// Range of time before the window in which patterns are looked for. It may include the
    /// compared time.
    fn history(self) -> TimeRange {
        let [end, _] = self.window.times();
        let start = UnixNanos(end.0.saturating_sub(HISTORY_LENGTH.0));
        TimeRange { start: Some(start), end: Some(end) }
    }
}

/// The records of one form, or of one pattern. At least one of the ranges has some.
#[derive(Debug, Default)]
struct PatternRecords {
    window: Option<FormRecords>,
    /// Records of the compared time.
    base: Option<FormRecords>,
    /// Records of the time before the window.
    history: Option<FormRecords>,
}

/// The forms of all ranges, and the services that lack some.
struct PairedForms {
    forms: Vec<MessageForm>,
    /// Services that lack forms of the window or of the compared time.
    cut: CutServices,
    /// Services that lack forms of the time before the window.
    history_cut: CutServices,
    /// Number of records of the compared time that are in no form.
    base_other_count: u64,
}

/// A service, the form of its messages, and the records.
type MessageForm = ((Arc<str>, String), PatternRecords);

/// A pattern whose example is not read yet.
#[derive(Debug)]
struct FoundPattern {
    view: LogPattern,
    /// Key of its last record, which is the example.
    last: RecordKey,
}

/// The patterns.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn patterns(reader: &Reader, search: &PatternSearch) -> Result<LogPatternList, QueryError> {
    let window = Window::of_logs(reader, search.filter.time, search.step)?;
    let base = search.base.unwrap_or((window.before(), window.times()[0]));
    let times = ComparedTimes { window, base };
    let of_window = LogFilter { time: window.range(), ..search.filter.clone() };
    let of_base = TimeRange { start: Some(base.0), end: Some(base.1) };
    let of_base = LogFilter { time: of_base, ..search.filter.clone() };
    let rows_max = reader.settings.search_rows_max;
    // The window is read first, so that a lack of capacity affects the compared time.
    let (now, mut stats) = count_forms(reader, &of_window, window.step(), WINDOW_FORMS, rows_max)?;
    let rows_max = rows_max.saturating_sub(stats.rows);
    let (before, work) = count_forms(reader, &of_base, BASE_STEP, BASE_FORMS, rows_max)?;
    stats += work;
    let of_history = LogFilter { time: times.history(), ..search.filter.clone() };
    let rows_max = rows_max.saturating_sub(work.rows).min(HISTORY_ROWS_MAX);
    let (history, work) = count_forms(reader, &of_history, BASE_STEP, BASE_FORMS, rows_max)?;
    // No count needs the earlier records, so their completeness is not that of the answer.
    let is_history_complete = work.complete && history.other_count == 0;
    stats.rows += work.rows;
    stats.files += work.files;
    let other = now.other_count;
    let paired = pair(now, before, history);
    let base_other_count = paired.base_other_count;
    let mut patterns = merge_into_patterns(paired, times);
    reader.check()?;
    if !stats.complete {
        patterns.iter_mut().for_each(|found| leave_uncompared(&mut found.view));
    }
    let count = patterns.iter().map(|found| found.view.count).sum::<u64>() + other;
    select(&mut patterns, search.is_of_changes, times);
    let pattern_count = patterns.len() as u64;
    patterns.truncate(search.limit);
    if !search.is_without_examples {
        let examples = read_examples(reader, &search.filter, &mut patterns)?;
        // The scan ends with the last example, so it says nothing of the completeness of counts.
        stats.rows += examples.rows;
        stats.files += examples.files;
    }
    Ok(LogPatternList {
        window: window.view(),
        known_since_unix_nano: base.0,
        known_until_unix_nano: base.1,
        patterns: patterns.into_iter().map(|found| found.view).collect(),
        pattern_count,
        count,
        other_count: other,
        base_other_count,
        is_history_complete,
        searched: search_stats(reader, stats),
    })
}

/// Keeps the patterns that are listed, and sorts them.
fn select(patterns: &mut Vec<FoundPattern>, is_of_changes: bool, times: ComparedTimes) {
    if is_of_changes {
        patterns.retain(|found| found.view.change != PatternChange::Same);
        patterns.sort_by(|FoundPattern { view: a, .. }, FoundPattern { view: b, .. }| {
            let changed = deviations(b, times).total_cmp(&deviations(a, times));
            changed.then_with(|| (&a.service, &a.template).cmp(&(&b.service, &b.template)))
        });
    } else {
        patterns.retain(|found| found.view.count > 0);
        patterns.sort_by(|FoundPattern { view: a, .. }, FoundPattern { view: b, .. }| {
            (b.count, &a.service, &a.template).cmp(&(a.count, &b.service, &b.template))
        });
    }
}

/// Reads the last record of each pattern, by its key. Returns the work.
fn read_examples(
    reader: &Reader,
    filter: &LogFilter,
    patterns: &mut [FoundPattern],
) -> Result<ScanStats, QueryError> {
    let mut wanted: BTreeMap<RecordKey, &mut LogPattern> =
        patterns.iter_mut().map(|found| (found.last, &mut found.view)).collect();
    let keys: Vec<RecordKey> = wanted.keys().copied().collect();
    let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else {
        return Ok(ScanStats::NOTHING);
    };
    let end = UnixNanos(last.0.saturating_add(1));
    let time = TimeRange { start: Some(*first), end: Some(end) };
    let filter = LogFilter { time, keys: Some(keys), ..filter.clone() };
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    reader.logs(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let key = (rows.time(row), rows.content_hash(row));
            if let Some(pattern) = wanted.remove(&key) {
                pattern.example = rows.text(row).chars().take(EXAMPLE_CHARS_MAX).collect();
                pattern.trace_id = rows.trace_id(row);
            }
        }
        let done = wanted.is_empty();
        Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// Counts the records of a filter by form, in steps of this length. Returns the work of reading
/// rows.
fn count_forms(
    reader: &Reader,
    filter: &LogFilter,
    step: DurationNanos,
    bounds: FormBounds,
    rows_max: u64,
) -> Result<(KeptForms, ScanStats), QueryError> {
    let CountedForms { mut forms, uncounted } = reader.count_log_forms(filter, step, bounds)?;
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let mut writer = FormWriter::default();
    let scan = Scan { detail: Projection::Facts, rows_max };
    let stats = reader.logs_within(filter, &uncounted, scan, |rows| {
        for row in 0..rows.len() {
            let (time, hash) = (rows.time(row), rows.content_hash(row));
            if !seen.is_new(mixed(time.0) ^ hash) {
                continue;
            }
            let severity_number = rows.severity_number(row);
            let last = (time, hash);
            let summary = FormSummary { count: 1, severity_number, first: time, last };
            let start = UnixNanos(time.0 - time.0 % step.0);
            let form = writer.write(rows.text(row));
            forms.add(rows.service(row), form, summary, [(start, 1)]);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((forms.finish(), stats))
}

/// Pairs the forms of all ranges. Forms that only the compared time has fill the places that the
/// window leaves, and those that only the time before has fill the rest.
fn pair(window: KeptForms, base: KeptForms, history: KeptForms) -> PairedForms {
    let mut base_other_count = base.other_count;
    let (mut cut, mut history_cut) = (window.cut, history.cut);
    cut.join(&base.cut);
    let mut paired: HashMap<(Arc<str>, String), PatternRecords, RandomState> = HashMap::default();
    for (service, form, records) in window.forms {
        paired.entry((service, form)).or_default().window = Some(records);
    }
    for (service, form, records) in base.forms {
        paired.entry((service, form)).or_default().base = Some(records);
    }
    for (service, form, records) in history.forms {
        paired.entry((service, form)).or_default().history = Some(records);
    }
    let mut forms: Vec<MessageForm> = paired.into_iter().collect();
    if forms.len() > FORMS_MAX {
        forms.sort_by(|(key, one), (other_key, other)| {
            let counts = |records: &PatternRecords| Reverse(records.counts());
            counts(one).cmp(&counts(other)).then_with(|| key.cmp(other_key))
        });
        for ((service, _), records) in forms.drain(FORMS_MAX..) {
            let [of_window, of_base, _] = records.counts();
            base_other_count += of_base;
            let is_of_history = of_window == 0 && of_base == 0;
            if is_of_history { &mut history_cut } else { &mut cut }.add(&service);
        }
    }
    PairedForms { forms, cut, history_cut, base_other_count }
}

/// The difference of a pattern's count from the count that its rate in the compared time predicts,
/// in standard deviations of both.
fn deviations(pattern: &LogPattern, times: ComparedTimes) -> f64 {
    let (seconds, base_seconds) = times.seconds();
    let ratio = seconds / base_seconds;
    let (count, base) = (pattern.count as f64, pattern.base_count as f64);
    (count - base * ratio).abs() / (count + base * ratio * ratio).max(1.0).sqrt()
}

/// Clears the comparison of a pattern, because it may lack records of one of the times.
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

/// Merges forms into patterns of the window or the compared time. Patterns of services that lack
/// forms are not compared.
fn merge_into_patterns(paired: PairedForms, times: ComparedTimes) -> Vec<FoundPattern> {
    let mut services: BTreeMap<Arc<str>, Vec<(String, PatternRecords)>> = BTreeMap::new();
    for ((service, form), records) in paired.forms {
        services.entry(service).or_default().push((form, records));
    }
    let mut patterns = Vec::new();
    for (service, mut forms) in services {
        forms.sort_by(|(form, one), (other_form, other)| {
            let all = |records: &PatternRecords| records.counts().iter().sum::<u64>();
            all(other).cmp(&all(one)).then_with(|| form.cmp(other_form))
        });
        let (forms, records): (Vec<String>, Vec<PatternRecords>) = forms.into_iter().unzip();
        let words: Vec<Vec<&str>> =
            forms.iter().map(|form| form.split_whitespace().collect()).collect();
        let mut records: Vec<Option<PatternRecords>> = records.into_iter().map(Some).collect();
        let is_cut = paired.cut.contains(&service);
        let is_history_cut = paired.history_cut.contains(&service);
        for (template, of) in template::templates(&words) {
            let of = of.into_iter().filter_map(|at| records[at].take());
            let records = of.fold(PatternRecords::default(), PatternRecords::join);
            if records.window.is_none() && records.base.is_none() {
                continue;
            }
            let mut found = records.into_found(service.to_string(), template.join(" "), times);
            if is_cut {
                leave_uncompared(&mut found.view);
            }
            found.view.is_new &= !is_history_cut;
            patterns.push(found);
        }
    }
    patterns
}

impl PatternRecords {
    /// Returns the numbers of records in the window, in the compared time, and before the window.
    fn counts(&self) -> [u64; 3] {
        let count = |of: &Option<FormRecords>| of.as_ref().map_or(0, |of| of.summary.count);
        [count(&self.window), count(&self.base), count(&self.history)]
    }

    /// Returns the time of the first record, of all ranges.
    fn first(&self) -> Option<UnixNanos> {
        let all = [&self.window, &self.base, &self.history].into_iter().flatten();
        all.map(|records| records.summary.first).min()
    }

    fn join(self, other: Self) -> Self {
        let join = |one: Option<FormRecords>, other: Option<FormRecords>| match (one, other) {
            (Some(mut one), Some(other)) => {
                one.join(other);
                Some(one)
            }
            (one, other) => one.or(other),
        };
        Self {
            window: join(self.window, other.window),
            base: join(self.base, other.base),
            history: join(self.history, other.history),
        }
    }

    fn into_found(self, service: String, template: String, times: ComparedTimes) -> FoundPattern {
        let (seconds, base_seconds) = times.seconds();
        let [count, base_count, history_count] = self.counts();
        // Of a pattern that is gone, the records of the compared time are shown.
        let first = self.first().filter(|_| count > 0);
        let FormRecords { summary, steps } = self.window.or(self.base).unwrap_or_default();
        let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
        let steps = steps.into_iter().filter(|_| count > 0).map(step).collect();
        let mut view = LogPattern {
            id: format!("{:016x}", version::of_texts([service.as_str(), template.as_str()])),
            service,
            template,
            count,
            severity: severity_name(summary.severity_number).to_owned(),
            is_new: base_count == 0 && history_count == 0,
            history_count,
            base_count,
            per_second: count as f64 / seconds,
            base_per_second: base_count as f64 / base_seconds,
            factor: None,
            change: PatternChange::Same,
            first_seen_unix_nano: first.unwrap_or(summary.first),
            last_seen_unix_nano: summary.last.0,
            steps,
            example: String::new(),
            trace_id: None,
        };
        if view.count > 0 && view.base_count > 0 {
            view.factor = Some(view.per_second / view.base_per_second);
        }
        view.change = change(&view, times);
        FoundPattern { view, last: summary.last }
    }
}
