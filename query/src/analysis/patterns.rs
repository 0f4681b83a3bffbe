//! Groups of similar messages, with counts, and which of them are new.
//!
//! The records of the window are compared with those of another time range. By default it has the
//! same length and ends where the window begins. Records are counted by the forms of their
//! messages: the words without those that certainly vary. The counts in data files answer where
//! they can. Elsewhere rows are read. `template` then merges forms. A pattern is new when none of
//! its forms is in the other range, and gone when none is in the window. The examples of the listed
//! patterns are read last.

mod template;

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use ahash::RandomState;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CountInStep, LogPattern, LogPatternList, PatternChange},
};
use tidings_storage::{
    CountedForms, DeduplicationSet, Detail, FormRecords, FormWriter, LogFilter, Scan, ScanStats,
    TimeRange,
};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, searched},
    log_reader::{RecordKey, severity_name},
    version::{self, mixed},
};

/// Maximum number of distinct message forms.
const FORMS_MAX: usize = 20_000;
/// Minimum factor between two rates that counts as a change.
const FACTOR_MIN: f64 = 1.5;
/// Minimum difference of a count from the expected one that counts as a change, in standard
/// deviations.
const DEVIATIONS_MIN: f64 = 3.0;
/// Maximum number of characters of an example.
const EXAMPLE_CHARS_MAX: usize = 1_000;
/// Length of the steps in which records of the compared time are counted. The answer does not show
/// them.
const BASE_STEP: DurationNanos = DurationNanos(24 * 3_600 * 1_000_000_000);

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
}

/// One of the two compared ranges.
#[derive(Debug, Clone, Copy)]
enum PatternSide {
    Window(Window),
    Base,
}

/// The records of one form, or of one pattern.
#[derive(Debug, Default)]
struct PatternRecords {
    window: SideRecords,
    /// Records of the compared time.
    base: SideRecords,
}

/// Records of one of the two ranges.
#[derive(Debug, Default)]
struct SideRecords {
    count: u64,
    /// The highest severity number.
    severity: i32,
    first: Option<UnixNanos>,
    /// The last record. Among records of equal time it is the one with the greatest content hash.
    last: Option<RecordKey>,
    /// Counts of the window, by step.
    steps: BTreeMap<UnixNanos, u64>,
}

/// The records of all forms.
#[derive(Debug, Default)]
struct FormTable {
    forms: Vec<MessageForm>,
    /// Index of each form, by service.
    places: HashMap<String, HashMap<String, usize, RandomState>, RandomState>,
    /// Records of the window whose form is beyond the maximum number of forms.
    other: u64,
}

/// A service, the form of its messages, and the records.
type MessageForm = (String, String, PatternRecords);

/// A pattern whose example is not read yet.
#[derive(Debug)]
struct FoundPattern {
    view: LogPattern,
    /// Key of its last record, which is the example.
    last: RecordKey,
}

/// The patterns.
pub(crate) fn patterns(
    reader: &Reader,
    search: &PatternSearch,
) -> Result<LogPatternList, QueryError> {
    let window = Window::of_logs(reader, search.filter.time, search.step)?;
    let base = search.base.unwrap_or((window.before(), window.times()[0]));
    let times = ComparedTimes { window, base };
    let of_window = LogFilter { time: window.range(), ..search.filter.clone() };
    let of_base = TimeRange { start: Some(base.0), end: Some(base.1) };
    let of_base = LogFilter { time: of_base, ..search.filter.clone() };
    let mut table = FormTable::default();
    let rows_max = reader.settings.search_rows_max;
    // The window is read first, so that a lack of capacity affects the compared time.
    let mut stats = table.add(reader, &of_window, PatternSide::Window(window), rows_max)?;
    let rows_max = rows_max.saturating_sub(stats.rows);
    stats += table.add(reader, &of_base, PatternSide::Base, rows_max)?;
    let other = table.other;
    let mut patterns = put_together(table.forms, times);
    reader.check()?;
    if !stats.complete {
        patterns.iter_mut().for_each(|found| leave_uncompared(&mut found.view));
    }
    let count = patterns.iter().map(|found| found.view.count).sum::<u64>() + other;
    select(&mut patterns, search.is_of_changes, times);
    let pattern_count = patterns.len() as u64;
    patterns.truncate(search.limit);
    if !search.is_without_examples {
        read_examples(reader, &search.filter, &mut patterns)?;
    }
    Ok(LogPatternList {
        window: window.view(),
        known_since_unix_nano: base.0,
        known_until_unix_nano: base.1,
        patterns: patterns.into_iter().map(|found| found.view).collect(),
        pattern_count,
        count,
        other_count: other,
        searched: searched(reader, stats),
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

/// Reads the last record of each pattern, by its key.
fn read_examples(
    reader: &Reader,
    filter: &LogFilter,
    patterns: &mut [FoundPattern],
) -> Result<(), QueryError> {
    let mut wanted: BTreeMap<RecordKey, &mut LogPattern> =
        patterns.iter_mut().map(|found| (found.last, &mut found.view)).collect();
    let keys: Vec<RecordKey> = wanted.keys().copied().collect();
    let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else { return Ok(()) };
    let end = UnixNanos(last.0.saturating_add(1));
    let time = TimeRange { start: Some(*first), end: Some(end) };
    let filter = LogFilter { time, keys: Some(keys), ..filter.clone() };
    let scan = Scan { detail: Detail::Facts, rows_max: u64::MAX };
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
    })?;
    Ok(())
}

impl FormTable {
    /// Adds the records of one of the two ranges, which is the range of the filter. Returns the
    /// work of reading rows.
    fn add(
        &mut self,
        reader: &Reader,
        filter: &LogFilter,
        side: PatternSide,
        rows_max: u64,
    ) -> Result<ScanStats, QueryError> {
        let step = match side {
            PatternSide::Window(window) => window.step(),
            PatternSide::Base => BASE_STEP,
        };
        let CountedForms { forms, uncounted } = reader.count_log_forms(filter, step)?;
        let mut seen = DeduplicationSet::new(reader.limits.counted_max);
        let mut writer = FormWriter::default();
        let scan = Scan { detail: Detail::Facts, rows_max };
        // Rows come first: the newest records have no counts yet, and their forms must get an
        // index.
        let stats = reader.logs_within(filter, &uncounted, scan, |rows| {
            for row in 0..rows.len() {
                let (time, hash) = (rows.time(row), rows.content_hash(row));
                if !seen.is_new(mixed(time.0) ^ hash) {
                    continue;
                }
                match self.records(rows.service(row), writer.write(rows.text(row))) {
                    Some(records) => {
                        let severity = rows.severity_number(row);
                        let records = records.side(side);
                        records.add(1, severity, time, (time, hash));
                        if let PatternSide::Window(window) = side {
                            *records.steps.entry(window.step_of(time)).or_default() += 1;
                        }
                    }
                    None => self.add_other(side, 1),
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for form in forms {
            match self.records(&form.service, &form.form) {
                Some(records) => records.side(side).add_counted(form),
                None => self.add_other(side, form.steps.values().sum()),
            }
        }
        Ok(stats)
    }

    /// The records of a form; `None` when there are too many forms.
    fn records(&mut self, service: &str, form: &str) -> Option<&mut PatternRecords> {
        let known = self.places.get(service).and_then(|forms| forms.get(form)).copied();
        let place = match known {
            Some(place) => place,
            None if self.forms.len() >= FORMS_MAX => return None,
            None => {
                let place = self.forms.len();
                let forms = self.places.entry(service.to_owned()).or_default();
                forms.insert(form.to_owned(), place);
                let records = PatternRecords::default();
                self.forms.push((service.to_owned(), form.to_owned(), records));
                place
            }
        };
        self.forms.get_mut(place).map(|(.., records)| records)
    }

    fn add_other(&mut self, side: PatternSide, count: u64) {
        if matches!(side, PatternSide::Window(_)) {
            self.other += count;
        }
    }
}

/// The difference of a pattern's count from the count that its rate in the compared time predicts,
/// in standard deviations of both.
fn deviations(pattern: &LogPattern, times: ComparedTimes) -> f64 {
    let (seconds, base_seconds) = times.seconds();
    let ratio = seconds / base_seconds;
    let (count, base) = (pattern.count as f64, pattern.base_count as f64);
    (count - base * ratio).abs() / (count + base * ratio * ratio).max(1.0).sqrt()
}

/// Clears the comparison of a pattern, because the compared time was not read completely.
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

/// Merges forms into patterns. Keeps those with a record in the window or in the compared time.
fn put_together(forms: Vec<MessageForm>, times: ComparedTimes) -> Vec<FoundPattern> {
    let mut services: BTreeMap<String, Vec<(Vec<String>, PatternRecords)>> = BTreeMap::new();
    for (service, form, records) in forms {
        let words = form.split_whitespace().map(str::to_owned).collect();
        services.entry(service).or_default().push((words, records));
    }
    let mut patterns = Vec::new();
    for (service, mut forms) in services {
        forms.sort_by(|(form, one), (other_form, other)| {
            let all = |records: &PatternRecords| records.window.count + records.base.count;
            all(other).cmp(&all(one)).then_with(|| form.cmp(other_form))
        });
        let (words, records): (Vec<Vec<String>>, Vec<PatternRecords>) = forms.into_iter().unzip();
        let mut records: Vec<Option<PatternRecords>> = records.into_iter().map(Some).collect();
        for (template, of) in template::templates(&words) {
            let of = of.into_iter().filter_map(|at| records[at].take());
            let records = of.fold(PatternRecords::default(), PatternRecords::join);
            patterns.push(records.found(service.clone(), template.join(" "), times));
        }
    }
    patterns
}

impl SideRecords {
    /// Adds a number of records, the first at this time.
    fn add(&mut self, count: u64, severity: i32, first: UnixNanos, last: RecordKey) {
        self.count += count;
        self.severity = self.severity.max(severity);
        self.first = Some(self.first.map_or(first, |known| known.min(first)));
        self.last = self.last.max(Some(last));
    }

    fn add_counted(&mut self, form: FormRecords) {
        let count = form.steps.values().sum();
        self.add(count, form.severity_number, form.first, form.last);
        self.add_steps(form.steps);
    }

    fn add_steps(&mut self, steps: BTreeMap<UnixNanos, u64>) {
        for (step, count) in steps {
            *self.steps.entry(step).or_default() += count;
        }
    }

    fn join(mut self, other: Self) -> Self {
        self.count += other.count;
        self.severity = self.severity.max(other.severity);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        self.add_steps(other.steps);
        self
    }
}

impl PatternRecords {
    fn side(&mut self, side: PatternSide) -> &mut SideRecords {
        match side {
            PatternSide::Window(_) => &mut self.window,
            PatternSide::Base => &mut self.base,
        }
    }

    fn join(self, other: Self) -> Self {
        Self { window: self.window.join(other.window), base: self.base.join(other.base) }
    }

    fn found(self, service: String, template: String, times: ComparedTimes) -> FoundPattern {
        let (seconds, base_seconds) = times.seconds();
        let (count, base_count) = (self.window.count, self.base.count);
        let shown = if count == 0 { self.base } else { self.window };
        let last = shown.last.unwrap_or_default();
        let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
        let steps = shown.steps.into_iter().filter(|_| count > 0).map(step).collect();
        let mut view = LogPattern {
            id: format!("{:016x}", version::of_texts([service.as_str(), template.as_str()])),
            service,
            template,
            count,
            severity: severity_name(shown.severity).to_owned(),
            is_new: base_count == 0,
            base_count,
            per_second: count as f64 / seconds,
            base_per_second: base_count as f64 / base_seconds,
            factor: None,
            change: PatternChange::Same,
            first_seen_unix_nano: shown.first.unwrap_or_default(),
            last_seen_unix_nano: last.0,
            steps,
            example: String::new(),
            trace_id: None,
        };
        if view.count > 0 && view.base_count > 0 {
            view.factor = Some(view.per_second / view.base_per_second);
        }
        view.change = change(&view, times);
        FoundPattern { view, last }
    }
}
