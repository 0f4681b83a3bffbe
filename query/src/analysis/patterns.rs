//! Messages that are alike, with counts, and which of them are new.
//!
//! One scan over the window and as long a time before it counts the forms of messages: their words
//! without those that surely differ. `template` then puts forms together. A pattern is new when
//! none of its forms was seen before the window.

mod template;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{CountInStep, LogPattern, LogPatternList},
};
use tidings_storage::{DeduplicationSet, Detail, LogFilter, LogRows, Scan, TimeRange};

use super::window::Window;
use crate::{
    QueryError,
    execution::Reader,
    logs::severity_name,
    search::searched,
    version::{self, mixed},
};

/// Maximum number of distinct message forms.
const FORMS_MAX: usize = 20_000;
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
}

/// The records of one form, or of one pattern.
#[derive(Debug, Default)]
struct PatternRecords {
    /// Number of records before the window.
    before: u64,
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
    let known_since = window.before();
    let time = TimeRange { start: Some(known_since), end: window.range().end };
    let filter = LogFilter { time, ..search.filter.clone() };
    let mut seen = DeduplicationSet::new(reader.limits.counted_max);
    let mut forms: HashMap<MessageForm, PatternRecords> = HashMap::new();
    let mut other = 0;
    let scan = Scan { detail: Detail::Facts, rows_max: reader.settings.search_rows_max };
    let stats = reader.logs(&filter, scan, |rows| {
        for row in 0..rows.len() {
            if !seen.is_new(mixed(rows.time(row).0) ^ rows.content_hash(row)) {
                continue;
            }
            let full = forms.len() >= FORMS_MAX;
            let form = (rows.service(row).to_owned(), template::form(rows.text(row)));
            match forms.entry(form) {
                Entry::Occupied(known) => known.into_mut().add(rows, row, window),
                Entry::Vacant(_) if full => {
                    other += u64::from(window.contains(rows.time(row)));
                }
                Entry::Vacant(new) => {
                    new.insert_entry(PatternRecords::default()).into_mut().add(rows, row, window);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    reader.check()?;
    let mut patterns = put_together(forms);
    let pattern_count = patterns.len() as u64;
    let count = patterns.iter().map(|pattern| pattern.count).sum::<u64>() + other;
    patterns.sort_by(|a, b| {
        (b.count, &a.service, &a.template).cmp(&(a.count, &b.service, &b.template))
    });
    patterns.truncate(search.limit);
    Ok(LogPatternList {
        window: window.view(),
        known_since_unix_nano: known_since,
        patterns,
        pattern_count,
        count,
        other_count: other,
        searched: searched(reader, stats),
    })
}

/// The patterns that have a record in the window.
fn put_together(forms: HashMap<MessageForm, PatternRecords>) -> Vec<LogPattern> {
    let mut services: BTreeMap<String, Vec<(Vec<String>, PatternRecords)>> = BTreeMap::new();
    for ((service, form), records) in forms {
        services.entry(service).or_default().push((form, records));
    }
    let mut patterns = Vec::new();
    for (service, mut forms) in services {
        forms.sort_by(|(form, one), (other_form, other)| {
            let all = |records: &PatternRecords| records.count + records.before;
            all(other).cmp(&all(one)).then_with(|| form.cmp(other_form))
        });
        let (words, records): (Vec<Vec<String>>, Vec<PatternRecords>) = forms.into_iter().unzip();
        let mut records: Vec<Option<PatternRecords>> = records.into_iter().map(Some).collect();
        for (template, of) in template::templates(&words) {
            let of = of.into_iter().filter_map(|at| records[at].take());
            let records = of.fold(PatternRecords::default(), PatternRecords::join);
            if records.count > 0 {
                patterns.push(records.view(service.clone(), template.join(" ")));
            }
        }
    }
    patterns
}

impl PatternRecords {
    fn add(&mut self, rows: &LogRows, row: usize, window: Window) {
        let time = rows.time(row);
        if !window.contains(time) {
            self.before += 1;
            return;
        }
        self.count += 1;
        self.severity = self.severity.max(rows.severity_number(row));
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        if self.last.as_ref().is_none_or(|(last, ..)| *last <= time) {
            let text = rows.text(row).chars().take(EXAMPLE_CHARS_MAX).collect();
            self.last = Some((time, rows.trace_id(row), text)).max(self.last.take());
        }
        *self.steps.entry(window.step_of(time)).or_default() += 1;
    }

    fn join(mut self, other: Self) -> Self {
        self.before += other.before;
        self.count += other.count;
        self.severity = self.severity.max(other.severity);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
        self
    }

    fn view(self, service: String, template: String) -> LogPattern {
        let (last, trace_id, example) = self.last.unwrap_or_default();
        let step = |(start_unix_nano, count)| CountInStep { start_unix_nano, count };
        LogPattern {
            id: format!("{:016x}", version::of_texts([&service, &template])),
            service,
            template,
            count: self.count,
            severity: severity_name(self.severity).to_owned(),
            is_new: self.before == 0,
            first_seen_unix_nano: self.first.unwrap_or_default(),
            last_seen_unix_nano: last,
            steps: self.steps.into_iter().map(step).collect(),
            example,
            trace_id,
        }
    }
}
