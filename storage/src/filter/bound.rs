//! A filter over the columns of one batch.
//!
//! Works on a list of candidate rows that every predicate shortens, the cheap ones first; texts
//! that repeat are looked at once per distinct value.

use arrow_array::{
    Array, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::ArrowError;
use tidings_proto::{
    SpanId, TraceId,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};

use super::{Matcher, attributes::Wanted};
use crate::rows::{
    column::{Column, Words, word},
    entries::{ElementEntries, Entries, Linked},
};

/// A filter and the columns it looks at. Columns that the filter does not need may be missing:
/// predicates over missing columns hold (the caller knows that they do).
#[derive(Debug)]
pub(crate) struct Bound<'a> {
    matcher: &'a mut Matcher,
    trace_id: Column<BinaryArray>,
    span_id: Column<BinaryArray>,
    time: Column<Int64Array>,
    service: Option<Memo>,
    name: Option<Memo>,
    kind: Column<Int32Array>,
    status: Column<Int32Array>,
    duration: Column<Int64Array>,
    has_exception: Column<BooleanArray>,
    severity: Column<Int32Array>,
    text: Column<StringArray>,
    attributes: Option<Entries>,
    events: Option<ElementEntries>,
    links: Option<ElementEntries>,
    linked: Option<Linked>,
    resource: Option<Words>,
    scope: Option<Words>,
    /// One per attribute looked for: all that are wanted, then those of which one is.
    sender_answers: Vec<(Answers, Answers)>,
    /// As many: the column that tells everything of it, when it was read.
    columns: Vec<Option<AttributeColumn>>,
}

/// The values of an attribute.
#[derive(Debug)]
enum AttributeColumn {
    Words(Memo),
    Longs(Int64Array),
}

impl AttributeColumn {
    fn of(batch: &RecordBatch, name: Option<&str>) -> Result<Option<Self>, ArrowError> {
        let Some((name, array)) = name.and_then(|name| Some((name, batch.column_by_name(name)?)))
        else {
            return Ok(None);
        };
        if let Some(longs) = array.as_any().downcast_ref::<Int64Array>() {
            return Ok(Some(Self::Longs(longs.clone())));
        }
        Ok(Words::of(batch, name)?.map(Memo::new).map(Self::Words))
    }

    /// Whether the row has the attribute, whose column this is.
    fn has(&mut self, wanted: &Wanted, row: usize) -> bool {
        match self {
            Self::Words(memo) => {
                memo.words.key(row).is_some() && memo.answer(row, |text| wanted.is_text(text))
            }
            Self::Longs(longs) => longs.is_valid(row) && wanted.is_int(longs.value(row)),
        }
    }
}

impl<'a> Bound<'a> {
    pub(crate) fn new(matcher: &'a mut Matcher, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let resource = Words::of(batch, "resource")?;
        let scope = Words::of(batch, "scope")?;
        let answers = |words: &Option<Words>| {
            Answers(vec![None; words.as_ref().map_or(0, |words| words.values.len())])
        };
        let attributes = || matcher.attributes.iter().chain(&matcher.any_attribute);
        let sender_answers = attributes().map(|_| (answers(&resource), answers(&scope))).collect();
        let columns = attributes()
            .map(|wanted| AttributeColumn::of(batch, matcher.column(wanted.key())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            columns,
            trace_id: Column::of(batch, "trace_id")?,
            span_id: Column::of(batch, "span_id")?,
            time: Column::of(batch, matcher.signal.time_column())?,
            service: Words::of(batch, "service")?.map(Memo::new),
            name: Words::of(batch, "name")?.map(Memo::new),
            kind: Column::of(batch, "kind")?,
            status: Column::of(batch, "status_code")?,
            duration: Column::of(batch, "duration_nanos")?,
            has_exception: Column::of(batch, "has_exception")?,
            severity: Column::of(batch, "severity_number")?,
            text: Column::of(batch, "text")?,
            attributes: Entries::of(batch, "attributes")?,
            events: ElementEntries::of(batch, "events")?,
            links: ElementEntries::of(batch, "links")?,
            linked: Linked::of(batch)?,
            resource,
            scope,
            sender_answers,
            matcher,
        })
    }

    /// Keeps the rows that match.
    pub(crate) fn retain(&mut self, rows: &mut Vec<usize>) {
        self.retain_ids(rows);
        self.retain_numbers(rows);
        self.retain_texts(rows);
        self.retain_columns(rows);
        self.retain_attributes(rows);
        self.retain_any(rows);
        if let (Some(id), Some(linked)) = (self.matcher.links_to, &self.linked) {
            rows.retain(|row| linked.of_rows(&(*row..*row + 1)).any(|linked| linked == id));
        }
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
        for (wanted, column) in self.matcher.attributes.iter().zip(&mut self.columns) {
            if let Some(column) = column {
                rows.retain(|row| column.has(wanted, *row));
            }
        }
    }

    fn retain_attributes(&mut self, rows: &mut Vec<usize>) {
        let Some(places) = Places::of(
            &self.attributes,
            [&self.events, &self.links],
            [&self.resource, &self.scope],
        ) else {
            return; // Where attributes are looked at, all that can have some are there.
        };
        let wanted = self.matcher.attributes.iter_mut().zip(&mut self.sender_answers);
        for ((wanted, answers), column) in wanted.zip(&self.columns) {
            if column.is_some() {
                continue; // It has told.
            }
            rows.retain(|row| places.have(wanted, answers, *row));
        }
    }

    /// Keeps the rows that have one of several attributes.
    fn retain_any(&mut self, rows: &mut Vec<usize>) {
        let Matcher { attributes, any_attribute, .. } = &mut *self.matcher;
        let Some(places) = Places::of(
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
            any_attribute.iter_mut().zip(parts).any(|(wanted, (answers, column))| match column {
                Some(column) => column.has(wanted, *row),
                None => places.have(wanted, answers, *row),
            })
        });
    }
}

/// Where a row can have attributes.
struct Places<'a> {
    attributes: &'a Entries,
    elements: [&'a Option<ElementEntries>; 2],
    resource: Option<&'a Words>,
    scope: Option<&'a Words>,
}

impl<'a> Places<'a> {
    /// `None`: attributes are not among what was read.
    fn of(
        attributes: &'a Option<Entries>,
        elements: [&'a Option<ElementEntries>; 2],
        [resource, scope]: [&'a Option<Words>; 2],
    ) -> Option<Self> {
        let attributes = attributes.as_ref()?;
        Some(Self { attributes, elements, resource: resource.as_ref(), scope: scope.as_ref() })
    }

    /// Whether the row has the attribute.
    fn have(
        &self,
        wanted: &mut Wanted,
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

/// What was answered for each distinct value of a column.
#[derive(Debug)]
struct Answers(Vec<Option<bool>>);

impl Answers {
    /// The answer for the row's value; no for a row without one.
    fn answer(
        &mut self,
        words: Option<&Words>,
        row: usize,
        ask: impl FnOnce(&str) -> bool,
    ) -> bool {
        let Some((words, key)) = words.and_then(|words| Some((words, words.key(row)?))) else {
            return false;
        };
        *self.0[key].get_or_insert_with(|| ask(words.values.value(key)))
    }
}

/// A column with the answers for its values.
#[derive(Debug)]
struct Memo {
    words: Words,
    answers: Answers,
}

impl Memo {
    fn new(words: Words) -> Self {
        Self { answers: Answers(vec![None; words.values.len()]), words }
    }

    fn answer(&mut self, row: usize, ask: impl FnOnce(&str) -> bool) -> bool {
        match self.words.key(row) {
            Some(_) => self.answers.answer(Some(&self.words), row, ask),
            None => ask(word(Some(&self.words), row)),
        }
    }
}
