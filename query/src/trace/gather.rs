//! Collects the facts of spans from a scan, trace by trace.
//!
//! Owns the numbers that stand for names during one question. What is gathered is in the order
//! the scan gave it, which means nothing: assembly puts it in order.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use tidings_assembly::SpanFacts;
use tidings_proto::{TraceId, api::SpanFlags, otlp::StatusCode};
use tidings_storage::{Detail, Scan, SpanFilter, SpanRows};

use crate::{QueryError, execution::Reader};

/// Names by number.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Names {
    /// The number of this name.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("invariant: spans are bounded below");
        let shared: Arc<str> = text.into();
        self.texts.push(Arc::clone(&shared));
        self.numbers.insert(shared, number);
        number
    }

    /// The name with this number.
    pub(crate) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }
}

/// Where a gathered span came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    portion: u32,
    row: u32,
}

/// What is known of the spans of one trace.
#[derive(Debug, Default)]
pub(crate) struct TraceFacts {
    /// What assembly needs.
    pub facts: Vec<SpanFacts>,
    /// The [`SpanFlags`] a span has by itself.
    pub marks: Vec<u32>,
    /// Where each is in [`Gathered::portions`], when rows are kept.
    pub places: Vec<Place>,
}

/// The spans of some traces.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Services and operations.
    pub names: Names,
    /// By trace.
    pub traces: HashMap<TraceId, TraceFacts>,
    /// The rows, when they are kept.
    portions: Vec<SpanRows>,
}

/// How much to gather.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather {
    /// How much of each row to read; rows are kept unless it is [`Detail::Facts`].
    pub detail: Detail,
    /// More spans than this are an error.
    pub spans_max: u64,
    /// What to ask for instead when there are more.
    pub instead: &'static str,
}

impl Gathered {
    /// Everything that matches.
    pub(crate) fn read(
        reader: &Reader,
        filter: &SpanFilter,
        gather: Gather,
    ) -> Result<Self, QueryError> {
        let mut gathered = Self::default();
        let mut spans = 0_u64;
        let scan = Scan { detail: gather.detail, rows_max: u64::MAX };
        reader.spans(filter, scan, |rows| {
            spans = spans.saturating_add(rows.len() as u64);
            if spans > gather.spans_max {
                let (limit, instead) = (gather.spans_max, gather.instead);
                return Err(QueryError::TooManySpans { limit, instead });
            }
            gathered.add(rows, gather.detail != Detail::Facts);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(gathered)
    }

    /// As much of what matches as may be held in memory, newest source first, and whether that is
    /// everything.
    pub(crate) fn read_newest(
        reader: &Reader,
        filter: &SpanFilter,
        gather: Gather,
    ) -> Result<(Self, bool), QueryError> {
        let mut gathered = Self::default();
        let mut spans = 0_u64;
        let scan = Scan { detail: gather.detail, rows_max: u64::MAX };
        let mut all = true;
        let stats = reader.spans(filter, scan, |rows| {
            spans = spans.saturating_add(rows.len() as u64);
            if spans > gather.spans_max {
                all = false;
                return Ok(ControlFlow::Break(()));
            }
            gathered.add(rows, gather.detail != Detail::Facts);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((gathered, all && stats.complete))
    }

    /// The row a gathered span came from.
    pub(crate) fn row(&self, place: Place) -> (&SpanRows, usize) {
        (&self.portions[place.portion as usize], place.row as usize)
    }

    fn add(&mut self, rows: &SpanRows, keep: bool) {
        let portion = u32::try_from(self.portions.len()).expect("invariant: spans are bounded");
        for row in 0..rows.len() {
            let facts = SpanFacts {
                span_id: rows.span_id(row),
                parent_span_id: rows.parent_span_id(row),
                kind: rows.kind(row),
                start: rows.start(row),
                end: rows.end(row),
                service: self.names.number(rows.service(row)),
                operation: self.names.number(rows.name(row)),
                content_hash: rows.content_hash(row),
            };
            let trace = self.traces.entry(rows.trace_id(row)).or_default();
            trace.facts.push(facts);
            trace.marks.push(marks(rows, row));
            if keep {
                let row = u32::try_from(row).expect("invariant: spans are bounded");
                trace.places.push(Place { portion, row });
            }
        }
        if keep {
            self.portions.push(rows.clone());
        }
    }
}

fn marks(rows: &SpanRows, row: usize) -> u32 {
    let mark = |is: bool, flag: u32| if is { flag } else { 0 };
    mark(rows.status(row) == StatusCode::Error, SpanFlags::ERROR)
        | mark(rows.event_count(row) > 0, SpanFlags::EVENTS)
        | mark(rows.link_count(row) > 0, SpanFlags::LINKS)
        | mark(rows.has_exception(row), SpanFlags::EXCEPTION)
        | mark(rows.end(row).0 == 0, SpanFlags::UNFINISHED)
}
