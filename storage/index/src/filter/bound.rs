//! Evaluates a filter over the columns of one batch.
//!
//! Keeps a list of candidate rows that every predicate shortens, the cheap predicates first. A text
//! that repeats is evaluated once per distinct value.

use std::sync::Arc;

use arrow_array::{
    Array, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::ArrowError;
use tidings_columns::{
    packed::EntryValue,
    rows::{
        attribute_values::AttributeValues,
        column::{OptionalColumn, WordColumn, word},
        entries::{AttributeEntries, ElementEntries, Linked},
    },
    schema::SignalSchema,
};
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};

use super::{
    Matcher, attribute_matcher::AttributeMatcher, log_condition::BoundCondition,
    matcher::CONTENT_HASH,
};

/// A filter with the columns that it evaluates. Columns that the filter does not need may be
/// missing. A predicate over a missing column holds, because the caller knows that it does.
#[derive(Debug)]
pub struct Bound<'a> {
    matcher: &'a mut Matcher,
    trace_id: OptionalColumn<BinaryArray>,
    span_id: OptionalColumn<BinaryArray>,
    time: OptionalColumn<Int64Array>,
    content_hash: OptionalColumn<Int64Array>,
    service: Option<CachedColumn>,
    name: Option<CachedColumn>,
    kind: OptionalColumn<Int32Array>,
    status: OptionalColumn<Int32Array>,
    duration: OptionalColumn<Int64Array>,
    has_exception: OptionalColumn<BooleanArray>,
    severity: OptionalColumn<Int32Array>,
    text: OptionalColumn<StringArray>,
    attributes: Option<AttributeEntries>,
    events: Option<ElementEntries>,
    links: Option<ElementEntries>,
    linked: Option<Linked>,
    resource: Option<WordColumn>,
    scope: Option<WordColumn>,
    /// Cached results for resource and scope, one entry per attribute condition. The conditions
    /// that must all hold come first, then the alternatives.
    sender_answers: Vec<(Answers, Answers)>,
    /// Complete columns of the attribute, one entry per attribute condition, if they were read.
    columns: Vec<Option<Vec<AnsweredValues>>>,
    condition: Option<BoundCondition>,
}

/// A column of one attribute, with cached results for repeated values.
#[derive(Debug)]
struct AnsweredValues {
    values: AttributeValues,
    answers: Answers,
}

impl AnsweredValues {
    /// Returns the complete columns of an attribute, if they are all in the batch.
    fn of_key(
        batch: &RecordBatch,
        names: Option<&[String]>,
    ) -> Result<Option<Vec<Self>>, ArrowError> {
        let Some(names) = names else { return Ok(None) };
        let columns = names.iter().map(|name| Some((batch.column_by_name(name)?, name)));
        let Some(columns) = columns.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let column = |(array, name): (_, &String)| {
            Ok(Self { values: AttributeValues::new(array, name)?, answers: Answers::default() })
        };
        columns.into_iter().map(column).collect::<Result<_, _>>().map(Some)
    }

    /// Returns true if the row matches. The column must be of the attribute's key.
    fn matches(&mut self, wanted: &AttributeMatcher, row: usize) -> bool {
        if let AttributeValues::Words(words) = &self.values {
            let is_text = |text: &str| wanted.is_value(EntryValue::Text(text));
            return self.answers.answer(Some(words), row, is_text);
        }
        self.values.value(row).is_some_and(|value| wanted.is_value(value))
    }
}

impl<'a> Bound<'a> {
    /// Binds a filter to the columns of a batch.
    pub fn new(matcher: &'a mut Matcher, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let resource = WordColumn::from_batch(batch, "resource")?;
        let scope = WordColumn::from_batch(batch, "scope")?;
        let attributes = || matcher.attributes.iter().chain(&matcher.any_attribute);
        let sender_answers = attributes().map(|_| Default::default()).collect();
        let columns = attributes()
            .map(|wanted| AnsweredValues::of_key(batch, matcher.columns_of(wanted.key())))
            .collect::<Result<_, _>>()?;
        let condition = matcher.condition.as_ref().filter(|_| matcher.keys.is_none());
        let condition = condition
            .map(|condition| BoundCondition::new(condition, Arc::clone(&matcher.stop), batch));
        Ok(Self {
            condition: condition.transpose()?,
            columns,
            trace_id: OptionalColumn::from_batch(batch, "trace_id")?,
            span_id: OptionalColumn::from_batch(batch, "span_id")?,
            time: OptionalColumn::from_batch(batch, matcher.signal.time_column())?,
            content_hash: OptionalColumn::from_batch(batch, CONTENT_HASH)?,
            service: WordColumn::from_batch(batch, "service")?.map(CachedColumn::new),
            name: WordColumn::from_batch(batch, "name")?.map(CachedColumn::new),
            kind: OptionalColumn::from_batch(batch, "kind")?,
            status: OptionalColumn::from_batch(batch, "status_code")?,
            duration: OptionalColumn::from_batch(batch, "duration_nanos")?,
            has_exception: OptionalColumn::from_batch(batch, "has_exception")?,
            severity: OptionalColumn::from_batch(batch, "severity_number")?,
            text: OptionalColumn::from_batch(batch, "text")?,
            attributes: AttributeEntries::from_batch(batch, "attributes")?,
            events: ElementEntries::from_batch(batch, "events")?,
            links: ElementEntries::from_batch(batch, "links")?,
            linked: Linked::from_batch(batch)?,
            resource,
            scope,
            sender_answers,
            matcher,
        })
    }

    /// Keeps the rows that match.
    pub fn retain(&mut self, rows: &mut Vec<usize>) {
        if let Some(keys) = &self.matcher.keys {
            self.retain_keys(keys, rows);
            return;
        }
        self.retain_ids(rows);
        self.retain_numbers(rows);
        self.retain_texts(rows);
        self.retain_columns(rows);
        self.retain_attributes(rows);
        self.retain_any(rows);
        if let (Some(id), Some(linked)) = (self.matcher.links_to, &self.linked) {
            rows.retain(|row| linked.of_rows(&(*row..*row + 1)).any(|linked| linked == id));
        }
        if let (Some(bound), Some(condition)) = (&mut self.condition, &mut self.matcher.condition) {
            bound.retain(condition, rows);
        }
    }

    /// Keeps the rows with these keys, or with their times if hashes were not read.
    fn retain_keys(&self, keys: &[(UnixNanos, u64)], rows: &mut Vec<usize>) {
        rows.retain(|row| {
            let time = self.time.time(*row);
            if self.content_hash.is_there() {
                return keys.binary_search(&(time, self.content_hash.unsigned(*row))).is_ok();
            }
            let first = keys.partition_point(|(of_key, _)| *of_key < time);
            keys.get(first).is_some_and(|(of_key, _)| *of_key == time)
        });
    }

    fn retain_ids(&self, rows: &mut Vec<usize>) {
        let Matcher { trace_ids, trace_id_low64, span_id, .. } = &*self.matcher;
        let trace_of = |row| TraceId::from_wire(self.trace_id.bytes(row)?);
        if let (Some(ids), true) = (trace_ids, self.trace_id.is_there()) {
            rows.retain(|row| trace_of(*row).is_some_and(|id| ids.contains(&id)));
        }
        if let (Some(low64), true) = (trace_id_low64, self.trace_id.is_there()) {
            rows.retain(|row| trace_of(*row).is_some_and(|id| id.low64() == *low64));
        }
        if let (Some(id), true) = (span_id, self.span_id.is_there()) {
            rows.retain(|row| self.span_id.bytes(*row).and_then(SpanId::from_wire) == Some(*id));
        }
    }

    fn retain_numbers(&self, rows: &mut Vec<usize>) {
        let matcher = &*self.matcher;
        let time = matcher.time;
        if self.time.is_there() && (time.start.is_some() || time.end.is_some()) {
            rows.retain(|row| time.contains(self.time.time(*row)));
        }
        if let (Some(unit), true) = (matcher.time_multiple_of, self.time.is_there()) {
            rows.retain(|row| self.time.time(*row).0.is_multiple_of(unit));
        }
        if self.duration.is_there() {
            if let Some(min) = matcher.duration_min {
                rows.retain(|row| self.duration.unsigned(*row) >= min);
            }
            if let Some(max) = matcher.duration_max {
                rows.retain(|row| self.duration.unsigned(*row) <= max);
            }
        }
        if let (Some(kind), true) = (matcher.kind, self.kind.is_there()) {
            let of = |row| self.kind.int(row).and_then(|kind| SpanKind::try_from(kind).ok());
            rows.retain(|row| of(*row).unwrap_or(SpanKind::Unspecified) == kind);
        }
        if let (Some(status), true) = (matcher.status, self.status.is_there()) {
            let of = |row| self.status.int(row).and_then(|code| StatusCode::try_from(code).ok());
            rows.retain(|row| of(*row).unwrap_or(StatusCode::Unset) == status);
        }
        if matcher.has_exception && self.has_exception.is_there() {
            rows.retain(|row| self.has_exception.truth(*row));
        }
        if let (Some(min), true) = (matcher.severity_min, self.severity.is_there()) {
            let of = |row| self.severity.int(row).and_then(SeverityNumber::new);
            rows.retain(|row| of(*row).is_some_and(|severity| severity >= min));
        }
    }

    fn retain_texts(&mut self, rows: &mut Vec<usize>) {
        let matcher = &*self.matcher;
        if let (Some(services), Some(memo)) = (&matcher.services, &mut self.service) {
            rows.retain(|row| memo.answer(*row, |service| services.contains(service)));
        }
        if let (Some(operation), Some(memo)) = (&matcher.operation, &mut self.name) {
            rows.retain(|row| memo.answer(*row, |name| name == operation));
        }
        if let (Some(needle), true) = (&matcher.text, self.text.is_there()) {
            rows.retain(|row| needle.is_in(self.text.text(*row).unwrap_or_default()));
        }
    }

    fn retain_columns(&mut self, rows: &mut Vec<usize>) {
        for (wanted, columns) in self.matcher.attributes.iter().zip(&mut self.columns) {
            if let Some(columns) = columns {
                rows.retain(|row| columns.iter_mut().any(|column| column.matches(wanted, *row)));
            }
        }
    }

    fn retain_attributes(&mut self, rows: &mut Vec<usize>) {
        let Some(places) = AttributeSources::new(
            &self.attributes,
            [&self.events, &self.links],
            [&self.resource, &self.scope],
        ) else {
            return; // Where attributes are looked at, all that can have some are there.
        };
        let wanted = self.matcher.attributes.iter_mut().zip(&mut self.sender_answers);
        for ((wanted, answers), column) in wanted.zip(&self.columns) {
            if column.is_some() {
                continue; // The column has decided.
            }
            rows.retain(|row| places.have(wanted, answers, *row));
        }
    }

    /// Keeps the rows that have at least one of the alternative attributes.
    fn retain_any(&mut self, rows: &mut Vec<usize>) {
        let Matcher { attributes, any_attribute, .. } = &mut *self.matcher;
        let Some(places) = AttributeSources::new(
            &self.attributes,
            [&self.events, &self.links],
            [&self.resource, &self.scope],
        )
        .filter(|_| !any_attribute.is_empty()) else {
            return;
        };
        let (answers, columns) = (&mut self.sender_answers, &mut self.columns);
        rows.retain(|row| {
            let parts = answers.iter_mut().zip(&mut *columns).skip(attributes.len());
            any_attribute.iter_mut().zip(parts).any(|(wanted, (answers, columns))| match columns {
                Some(columns) => columns.iter_mut().any(|column| column.matches(wanted, *row)),
                None => places.have(wanted, answers, *row),
            })
        });
    }
}

/// The columns in which a row can have attributes.
struct AttributeSources<'a> {
    attributes: &'a AttributeEntries,
    elements: [&'a Option<ElementEntries>; 2],
    resource: Option<&'a WordColumn>,
    scope: Option<&'a WordColumn>,
}

impl<'a> AttributeSources<'a> {
    /// Returns `None` if attributes were not read.
    fn new(
        attributes: &'a Option<AttributeEntries>,
        elements: [&'a Option<ElementEntries>; 2],
        [resource, scope]: [&'a Option<WordColumn>; 2],
    ) -> Option<Self> {
        let attributes = attributes.as_ref()?;
        Some(Self { attributes, elements, resource: resource.as_ref(), scope: scope.as_ref() })
    }

    /// Returns true if the row has the attribute in any of these columns.
    fn have(
        &self,
        wanted: &mut AttributeMatcher,
        (of_resource, of_scope): &mut (Answers, Answers),
        row: usize,
    ) -> bool {
        of_resource.answer(self.resource, row, |text| wanted.is_in_resource(text))
            || of_scope.answer(self.scope, row, |text| wanted.is_in_scope(text))
            || wanted.is_among(self.attributes, self.attributes.of_row(row))
            || self.elements.into_iter().flatten().any(|elements| {
                wanted.is_among(&elements.entries, elements.of_rows(&(row..row + 1)))
            })
    }
}

/// Cached results for each distinct value of a column, allocated at the first lookup.
#[derive(Debug, Default)]
struct Answers(Vec<Option<bool>>);

impl Answers {
    /// Returns the result for the row's value. A row without a value gives false.
    fn answer(
        &mut self,
        words: Option<&WordColumn>,
        row: usize,
        ask: impl FnOnce(&str) -> bool,
    ) -> bool {
        let Some((words, key)) = words.and_then(|words| Some((words, words.key(row)?))) else {
            return false;
        };
        self.0.resize(words.values.len(), None);
        *self.0[key].get_or_insert_with(|| ask(words.values.value(key)))
    }
}

/// A column with cached results for its values.
#[derive(Debug)]
struct CachedColumn {
    words: WordColumn,
    answers: Answers,
}

impl CachedColumn {
    fn new(words: WordColumn) -> Self {
        Self { answers: Answers::default(), words }
    }

    fn answer(&mut self, row: usize, ask: impl FnOnce(&str) -> bool) -> bool {
        match self.words.key(row) {
            Some(_) => self.answers.answer(Some(&self.words), row, ask),
            None => ask(word(Some(&self.words), row)),
        }
    }
}
