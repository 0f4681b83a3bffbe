//! A filter of either table, prepared for repeated evaluation.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicBool},
};

use tidings_columns::schema::SignalSchema;
use tidings_proto::{
    Signal, SpanId, TraceId, UnixNanos,
    otlp::{Severity, SeverityNumber, SpanKind, StatusCode},
};

use super::{
    AttributeFilter, LogCondition, TimeOrder, attribute_matcher::AttributeMatcher,
    log_condition::ConditionMatcher, text::Needle,
};
use crate::{IndexLookup, LegacyTerms, LogFilter, SpanFilter, TimeRange};

/// The column that, together with the time, identifies a row.
pub(super) const CONTENT_HASH: &str = "content_hash";

/// The fields that hold attribute values, one per type.
const VALUE_FIELDS: [&str; 5] = ["string", "int", "double", "bool", "bytes"];

/// Keys that occur only in a file's attribute columns, with the names of these columns.
pub type CompleteKeys = Vec<(String, Vec<String>)>;

/// A prepared filter.
#[derive(Debug)]
pub struct Matcher {
    /// Signal of the rows that the filter is for.
    pub signal: Signal,
    pub(super) trace_ids: Option<HashSet<TraceId>>,
    pub(super) trace_id_low64: Option<u64>,
    pub(super) span_id: Option<SpanId>,
    /// Range of the times of matching rows.
    pub time: TimeRange,
    /// Nanoseconds of which the time is a multiple.
    pub(super) time_multiple_of: Option<u64>,
    /// Times and content hashes of the only rows that match, ascending.
    pub(super) keys: Option<Vec<(UnixNanos, u64)>>,
    pub(super) services: Option<HashSet<String>>,
    pub(super) operation: Option<String>,
    pub(super) kind: Option<SpanKind>,
    pub(super) status: Option<StatusCode>,
    pub(super) duration_min: Option<u64>,
    pub(super) duration_max: Option<u64>,
    pub(super) has_exception: bool,
    pub(super) severity_min: Option<SeverityNumber>,
    pub(super) text: Option<Needle>,
    pub(super) attributes: Vec<AttributeMatcher>,
    /// Alternatives of which a row needs one, unless there are none.
    pub(super) any_attribute: Vec<AttributeMatcher>,
    /// Trace to which a matching span has a link. `None` requires no link.
    pub links_to: Option<TraceId>,
    pub(super) condition: Option<ConditionMatcher>,
    /// Order in which rows are read.
    pub order: TimeOrder,
    /// Set when the scan is cancelled. The matching rows have no meaning from then on.
    pub stop: Arc<AtomicBool>,
    /// Keys whose columns in the current file are complete, with those columns.
    columns: CompleteKeys,
}

impl Matcher {
    /// Prepares a filter of spans.
    pub fn spans(filter: &SpanFilter) -> Self {
        Self {
            signal: Signal::Spans,
            trace_ids: filter.trace_ids.as_ref().map(|ids| ids.iter().copied().collect()),
            trace_id_low64: filter.trace_id_low64,
            span_id: filter.span_id,
            time: filter.start,
            time_multiple_of: filter.start_multiple_of.map(|unit| unit.0),
            keys: None,
            services: services(filter.services.as_ref()),
            operation: filter.operation.clone(),
            kind: filter.kind,
            status: filter.status,
            duration_min: filter.duration_min.map(|duration| duration.0),
            duration_max: filter.duration_max.map(|duration| duration.0),
            has_exception: filter.has_exception,
            severity_min: None,
            text: None,
            attributes: wanted(&filter.attributes),
            any_attribute: wanted(&filter.any_attribute),
            links_to: filter.links_to,
            condition: None,
            order: TimeOrder::NewestFirst,
            stop: Arc::default(),
            columns: Vec::new(),
        }
    }

    /// Prepares a filter of log records.
    pub fn logs(filter: &LogFilter) -> Self {
        // File statistics are pruned with the filter's own fields, or else with those of the
        // condition.
        let of_condition = filter.condition.as_ref().and_then(LogCondition::trace_ids);
        let trace_ids = filter.trace_ids.as_deref().or(of_condition);
        let of_condition = filter.condition.as_ref().and_then(LogCondition::services);
        Self {
            signal: Signal::Logs,
            trace_ids: trace_ids.map(|ids| ids.iter().copied().collect()),
            trace_id_low64: None,
            span_id: filter.span_id,
            time: filter.time,
            time_multiple_of: None,
            keys: filter.keys.clone(),
            services: services(filter.services.as_ref().or(of_condition.as_ref())),
            operation: None,
            kind: None,
            status: None,
            duration_min: None,
            duration_max: None,
            has_exception: false,
            severity_min: filter.severity_min,
            text: filter.text.as_deref().map(Needle::new),
            attributes: wanted(&filter.attributes),
            any_attribute: wanted(&filter.any_attribute),
            links_to: None,
            condition: filter.condition.as_ref().map(ConditionMatcher::new),
            order: TimeOrder::NewestFirst,
            stop: Arc::default(),
            columns: Vec::new(),
        }
    }

    /// Returns the low halves of the trace ids that can match, if the filter names traces.
    pub fn trace_low64s(&self) -> Option<Vec<u64>> {
        let low64s = match (&self.trace_ids, self.trace_id_low64) {
            (None, None) => return None,
            (None, Some(low64)) => vec![low64],
            (Some(ids), low64) => ids
                .iter()
                .map(TraceId::low64)
                .filter(|of_id| low64.is_none_or(|low64| low64 == *of_id))
                .collect::<HashSet<_>>()
                .into_iter()
                .collect(),
        };
        Some(low64s)
    }

    /// Returns the value types that the filter compares, as the names of their fields.
    pub fn value_fields(&self) -> HashSet<&'static str> {
        if self.condition.as_ref().is_some_and(ConditionMatcher::compares_values) {
            return VALUE_FIELDS.into_iter().collect();
        }
        self.attributes
            .iter()
            .chain(&self.any_attribute)
            .flat_map(AttributeMatcher::fields)
            .collect()
    }

    /// Returns true if the filter can use the file's list of complete attribute columns.
    pub fn needs_columns(&self) -> bool {
        self.keys.is_none() && !(self.attributes.is_empty() && self.any_attribute.is_empty())
    }

    /// Sets the complete keys of the file that is read next, each with its columns.
    pub fn set_columns(&mut self, whole: &CompleteKeys) {
        self.columns.clone_from(whole);
    }

    /// Returns the complete columns of a key, if the file has them.
    pub(super) fn columns_of(&self, key: &str) -> Option<&[String]> {
        let of_key = self.columns.iter().find(|(of_columns, _)| *of_columns == key);
        of_key.map(|(_, columns)| columns.as_slice())
    }

    /// Returns the keys of the attributes in the filter.
    pub fn attribute_keys(&self) -> HashSet<String> {
        let own = self.attributes.iter().chain(&self.any_attribute);
        let of_condition = self.condition.iter().flat_map(ConditionMatcher::attribute_keys);
        own.map(AttributeMatcher::key).chain(of_condition).map(str::to_owned).collect()
    }

    /// Returns the index lookup of this filter.
    pub fn index_lookup(&self) -> IndexLookup {
        let mut wanted = IndexLookup::new(self.signal, self.trace_low64s().as_deref());
        if let Some(services) = &self.services {
            wanted.and_any(services.iter().map(|service| crate::service_term(service)).collect());
        }
        if let Some(name) = &self.operation {
            wanted.and_any(vec![crate::name_term(name)]);
        }
        if self.status == Some(StatusCode::Error) {
            wanted.and_any(vec![crate::error_term()]);
        }
        if let Some(min) = self.severity_min {
            let all = Severity::ALL.into_iter().filter(|severity| *severity >= min.severity());
            wanted.and_any(all.map(crate::severity_term).collect());
        }
        if let Some(text) = &self.text {
            wanted.and_text(text.bits());
        }
        for attribute in &self.attributes {
            let (terms, earlier) = attribute.terms();
            wanted.and_any_since(terms, earlier);
        }
        if !self.any_attribute.is_empty() {
            let mut terms = Vec::new();
            let mut all = LegacyTerms::Same;
            for attribute in &self.any_attribute {
                let (of_one, earlier) = attribute.terms();
                terms.extend(of_one);
                if earlier != LegacyTerms::Same {
                    all = LegacyTerms::Nothing;
                }
            }
            wanted.and_any_since(terms, all);
        }
        if let Some(condition) = &self.condition {
            condition.narrow(&mut wanted);
        }
        if let Some(id) = self.links_to {
            wanted.and_any_since(vec![crate::link_term(id)], LegacyTerms::Nothing);
        }
        wanted
    }

    /// Returns the traces that can match, if the filter names whole ids.
    pub fn trace_ids(&self) -> Option<&HashSet<TraceId>> {
        self.trace_ids.as_ref()
    }

    /// Returns the services that can match.
    pub fn services(&self) -> Option<&HashSet<String>> {
        self.services.as_ref()
    }

    /// Returns the shortest and the longest duration that match.
    pub fn durations(&self) -> (Option<u64>, Option<u64>) {
        (self.duration_min, self.duration_max)
    }

    /// Returns true if rows between these times can match.
    pub fn may_match(&self, time_min: UnixNanos, time_max: UnixNanos) -> bool {
        let last_multiple = |unit| Some(time_max.0 - time_max.0.checked_rem(unit)?);
        let last = self.time_multiple_of.and_then(last_multiple);
        self.time.overlaps(time_min, time_max)
            && last.is_none_or(|last| time_min.0 <= last)
            && self.keys.as_deref().is_none_or(|keys| {
                let first = keys.partition_point(|(time, _)| *time < time_min);
                keys.get(first).is_some_and(|(time, _)| *time <= time_max)
            })
    }

    /// Returns the columns to evaluate for rows between these times, in stages from cheap to
    /// expensive. Without any stage, every row matches. A filter by keys needs only the time and
    /// the content hash.
    pub fn stages(&self, time_min: UnixNanos, time_max: UnixNanos) -> Vec<Vec<String>> {
        let time = self.signal.time_column();
        if self.keys.is_some() {
            let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            return vec![columns(&[time]), columns(&[time, CONTENT_HASH])];
        }
        let all_in_time = self.time.contains(time_min) && self.time.contains(time_max);
        let columns_of = |wanted: &AttributeMatcher| self.columns_of(wanted.key());
        let columns = self.attributes.iter().filter_map(columns_of).flatten();
        let attributes = !self.any_attribute.is_empty()
            || self.attributes.iter().any(|wanted| columns_of(wanted).is_none());
        let numbers = vec![
            (time, !all_in_time || self.time_multiple_of.is_some()),
            ("duration_nanos", self.duration_min.is_some() || self.duration_max.is_some()),
            ("kind", self.kind.is_some()),
            ("status_code", self.status.is_some()),
            ("has_exception", self.has_exception),
            ("severity_number", self.severity_min.is_some()),
        ];
        let mut words = vec![
            ("trace_id", self.trace_ids.is_some() || self.trace_id_low64.is_some()),
            ("span_id", self.span_id.is_some()),
            ("service", self.services.is_some()),
            ("name", self.operation.is_some()),
        ];
        words.extend(columns.map(|column| (column.as_str(), true)));
        let mut texts = vec![
            ("text", self.text.is_some()),
            ("attributes", attributes),
            ("resource", attributes),
            ("scope", attributes),
            ("events", attributes && self.signal == Signal::Spans),
            ("links", attributes && self.signal == Signal::Spans || self.links_to.is_some()),
        ];
        // Alternatives can only be decided when all of their columns are read.
        let any = self.any_attribute.iter().filter_map(columns_of).flatten();
        texts.extend(any.map(|column| (column.as_str(), true)));
        let needed = |stage: Vec<(&str, bool)>| {
            let needed = stage.into_iter().filter_map(|(name, needed)| needed.then_some(name));
            needed.map(str::to_owned).collect()
        };
        let mut stages = [numbers, words, texts].map(needed);
        self.add_condition(&mut stages);
        stages.into_iter().filter(|stage| !stage.is_empty()).collect()
    }

    /// Adds the columns of each conjunct to the most expensive stage that it needs.
    fn add_condition(&self, stages: &mut [Vec<String>; 3]) {
        for columns in self.condition.iter().flat_map(ConditionMatcher::columns) {
            let stage_of = |column: &&str| match *column {
                "severity_number" => 0,
                "trace_id" | "span_id" | "service" | "event_name" | "severity_text" => 1,
                _ => 2,
            };
            // A conjunct without columns does not depend on the row, and is checked in the first
            // stage.
            let stage = &mut stages[columns.iter().map(stage_of).max().unwrap_or_default()];
            stage.extend(columns.iter().map(|column| (*column).to_owned()));
            if columns.is_empty() {
                stage.push("severity_number".to_owned());
            }
            stage.sort_unstable();
            stage.dedup();
        }
    }
}

fn services(services: Option<&Vec<String>>) -> Option<HashSet<String>> {
    services.map(|services| services.iter().cloned().collect())
}

fn wanted(attributes: &[AttributeFilter]) -> Vec<AttributeMatcher> {
    attributes.iter().map(AttributeMatcher::new).collect()
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::Matcher;
    use crate::{AttributeFilter, LogFilter};

    #[test]
    fn of_keys_only_the_columns_of_keys_are_looked_at() {
        let filter = LogFilter {
            text: Some("declined".to_owned()),
            attributes: vec![AttributeFilter::new("order.id", None)],
            ..LogFilter::default()
        };
        let (min, max) = (UnixNanos(1), UnixNanos(9));
        let stages = |filter: &LogFilter| Matcher::logs(filter).stages(min, max).concat();
        assert!(stages(&filter).contains(&"text".to_owned()));
        let keys = Some(vec![(UnixNanos(3), 7), (UnixNanos(5), 7)]);
        let filter = LogFilter { keys, ..filter };
        assert_eq!(stages(&filter), ["time_unix_nanos", "time_unix_nanos", "content_hash"]);
        let matcher = Matcher::logs(&filter);
        for (min, max, may_match) in [(0, 2, false), (0, 3, true), (4, 4, false), (6, 9, false)] {
            assert_eq!(matcher.may_match(UnixNanos(min), UnixNanos(max)), may_match, "{min}");
        }
    }
}
