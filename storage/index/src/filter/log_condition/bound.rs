//! Evaluates a condition over the columns of one batch.
//!
//! Every part of the tree shortens a list of candidate rows, as the rest of a filter does. A text
//! that repeats is evaluated once for each distinct value.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arrow_array::{BinaryArray, Int32Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use tidings_columns::{
    conversion::load,
    rows::{
        column::{DictionaryCache, OptionalColumn, WordColumn},
        entries::AttributeEntries,
    },
};
use tidings_proto::{SpanId, TraceId, otlp::InstrumentationScope};

use super::{AttributeOwner, ConditionMatcher, ConditionNode, LogColumn, Test, ValueTest};
use crate::filter::text_predicate::TextPredicate;

/// A condition with the columns that it evaluates.
#[derive(Debug)]
pub(in crate::filter) struct BoundCondition {
    text: OptionalColumn<StringArray>,
    severity: OptionalColumn<Int32Array>,
    trace_id: OptionalColumn<BinaryArray>,
    span_id: OptionalColumn<BinaryArray>,
    service: Option<WordColumn>,
    event_name: Option<WordColumn>,
    severity_text: Option<WordColumn>,
    resource: Option<WordColumn>,
    scope: Option<WordColumn>,
    attributes: Option<AttributeEntries>,
    /// Cached results of each test by distinct value: of its column, or of resource and scope.
    answers: Vec<[DictionaryCache<bool>; 2]>,
    /// For each conjunct, true if all of its columns are present.
    ready: Vec<bool>,
    /// Set when the scan is cancelled. A pattern takes long in a long text, so the flag is read
    /// before each row.
    stop: Arc<AtomicBool>,
}

impl BoundCondition {
    pub(in crate::filter) fn new(
        matcher: &ConditionMatcher,
        stop: Arc<AtomicBool>,
        batch: &RecordBatch,
    ) -> Result<Self, ArrowError> {
        let is_there = |column: &&str| batch.column_by_name(column).is_some();
        let ready = matcher.columns().map(|columns| columns.iter().all(is_there));
        Ok(Self {
            text: OptionalColumn::from_batch(batch, "text")?,
            severity: OptionalColumn::from_batch(batch, "severity_number")?,
            trace_id: OptionalColumn::from_batch(batch, "trace_id")?,
            span_id: OptionalColumn::from_batch(batch, "span_id")?,
            service: WordColumn::from_batch(batch, "service")?,
            event_name: WordColumn::from_batch(batch, "event_name")?,
            severity_text: WordColumn::from_batch(batch, "severity_text")?,
            resource: WordColumn::from_batch(batch, "resource")?,
            scope: WordColumn::from_batch(batch, "scope")?,
            attributes: AttributeEntries::from_batch(batch, "attributes")?,
            answers: matcher.tests.iter().map(|_| Default::default()).collect(),
            ready: ready.collect(),
            stop,
        })
    }

    /// Keeps the rows that match. A conjunct with missing columns is skipped.
    pub(in crate::filter) fn retain(
        &mut self,
        matcher: &mut ConditionMatcher,
        rows: &mut Vec<usize>,
    ) {
        let ConditionMatcher { conjuncts, tests, .. } = matcher;
        for (at, (node, _)) in conjuncts.iter().enumerate() {
            if self.ready[at] && !rows.is_empty() {
                self.keep(node, tests, rows);
            }
        }
    }

    /// Keeps the rows for which a part of the tree holds. Rows are ascending. The recursion is as
    /// deep as the expression, whose depth is bounded.
    fn keep(&mut self, node: &ConditionNode, tests: &mut [Test], rows: &mut Vec<usize>) {
        if rows.is_empty() {
            return;
        }
        match node {
            ConditionNode::All(parts) => parts.iter().for_each(|part| self.keep(part, tests, rows)),
            ConditionNode::Any(parts) => {
                let mut left = rows.clone();
                for part in parts {
                    let mut found = left.clone();
                    self.keep(part, tests, &mut found);
                    remove(&mut left, &found);
                }
                remove(rows, &left);
            }
            ConditionNode::Not(part) => {
                let mut found = rows.clone();
                self.keep(part, tests, &mut found);
                remove(rows, &found);
            }
            ConditionNode::Test(number) => self.keep_tested(*number, &mut tests[*number], rows),
        }
    }

    fn keep_tested(&mut self, number: usize, test: &mut Test, rows: &mut Vec<usize>) {
        match test {
            Test::Body(predicate) => {
                rows.retain(|row| {
                    let text = self.text.text(*row).unwrap_or_default();
                    !self.is_stopped() && predicate.matches(text)
                });
            }
            Test::Severity(numbers) => {
                rows.retain(|row| numbers.contains(&self.severity.int(*row).unwrap_or_default()));
            }
            Test::Trace(ids) => {
                let of = |row| TraceId::from_wire(self.trace_id.bytes(row)?);
                rows.retain(|row| {
                    of(*row).is_some_and(|id| ids.as_ref().is_none_or(|ids| ids.contains(&id)))
                });
            }
            Test::Span(wanted) => {
                let of = |row| SpanId::from_wire(self.span_id.bytes(row)?);
                rows.retain(|row| {
                    of(*row).is_some_and(|id| wanted.is_none_or(|wanted| wanted == id))
                });
            }
            Test::Column(column, predicate) => self.keep_words(number, *column, predicate, rows),
            Test::BodyField(test) => {
                rows.retain(|row| {
                    let text = self.text.text(*row).unwrap_or_default();
                    !self.is_stopped() && test.is_in_body(text)
                });
            }
            Test::Attribute(owner, test) => {
                rows.retain(|row| {
                    !self.is_stopped() && self.has_attribute(number, *owner, test, *row)
                });
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn keep_words(
        &mut self,
        number: usize,
        column: LogColumn,
        predicate: &TextPredicate,
        rows: &mut Vec<usize>,
    ) {
        let words = match column {
            LogColumn::Service => &self.service,
            LogColumn::EventName => &self.event_name,
            LogColumn::SeverityText => &self.severity_text,
            LogColumn::ScopeName => &self.scope,
        };
        let [answers, _] = &mut self.answers[number];
        rows.retain(|row| {
            let code = words.as_ref().and_then(|words| words.key(*row));
            answers.get_or_compute(code, || {
                let words = words.as_ref();
                let text = code.and_then(|code| Some(words?.values.value(code)));
                let text = text.unwrap_or_default();
                match column {
                    LogColumn::ScopeName if text.is_empty() => predicate.matches(text),
                    LogColumn::ScopeName => {
                        predicate.matches(&load::<InstrumentationScope>(text).name)
                    }
                    _ => predicate.matches(text),
                }
            })
        });
    }

    /// Returns true if the row has the attribute.
    fn has_attribute(
        &mut self,
        number: usize,
        owner: AttributeOwner,
        test: &mut ValueTest,
        row: usize,
    ) -> bool {
        let is_of = |one| owner == AttributeOwner::Any || owner == one;
        let [of_resource, of_scope] = &mut self.answers[number];
        if is_of(AttributeOwner::Resource)
            && let Some(words) = &self.resource
            && let Some(code) = words.key(row)
            && of_resource
                .get_or_compute(Some(code), || test.is_in_resource(words.values.value(code)))
        {
            return true;
        }
        if is_of(AttributeOwner::Scope)
            && let Some(words) = &self.scope
            && let Some(code) = words.key(row)
            && of_scope.get_or_compute(Some(code), || test.is_in_scope(words.values.value(code)))
        {
            return true;
        }
        is_of(AttributeOwner::Record)
            && self.attributes.as_ref().is_some_and(|column| test.is_among(column, row))
    }
}

/// Removes rows from a list. Both lists are ascending, and all of `others` are among the rows.
fn remove(rows: &mut Vec<usize>, others: &[usize]) {
    let mut others = others.iter().peekable();
    rows.retain(|row| others.next_if(|other| *other == row).is_none());
}
