//! `tree(id)`, `ancestors(id, span)` and `descendants(id, span)`: one trace, assembled.
//!
//! Returns the spans in the order of the call tree, with columns from assembly besides those of
//! `spans`. Ancestors come from the root down, and descendants in the order of the tree. Both
//! include the span itself.

use std::{
    collections::HashMap,
    fmt,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::{concat::concat_batches, take::take_record_batch};
use serde::{Deserialize, Serialize};
use tidings_assembly::{Assembled, Node, SpanFacts, assemble};
use tidings_proto::{
    DurationNanos, SpanId, TraceId,
    tid::{CandidateId, recognise},
};
use tidings_storage::{Projection, SpanFilter, SpanRows};

use super::{
    Argument, Condition, View,
    spans_view::{COLUMNS, SCHEMA as SPANS, scan_spans},
    view_columns,
};
use crate::{
    SqlError,
    scan::{RowOutput, Source, Stored},
};

/// Memory of a span during assembly in bytes, without its columns.
const BYTES_EACH: usize = 512;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        Field::new("position", DataType::Int64, false),
        Field::new("depth", DataType::Int32, false),
        Field::new("self_nanos", DataType::Int64, false),
        Field::new("critical_nanos", DataType::Int64, false),
        Field::new("is_asynchronous", DataType::Boolean, false),
        Field::new("descendant_count", DataType::Int64, false),
    ];
    fields.extend(SPANS.fields().iter().map(|field| field.as_ref().clone()));
    Arc::new(Schema::new(fields))
});

/// The part of a trace that is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreePart {
    /// The whole trace.
    All,
    /// A span and those above it.
    Up,
    /// A span and those below it.
    Down,
}

impl TreePart {
    /// Returns the name of the function that selects it.
    pub(super) fn function_name(self) -> &'static str {
        match self {
            Self::All => "tree",
            Self::Up => "ancestors",
            Self::Down => "descendants",
        }
    }
}

/// A reference to a trace, as a person pasted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum TraceReference {
    Id(TraceId),
    /// The last 64 bits of its id.
    Low64(u64),
}

impl TraceReference {
    /// Parses the text by its likeliest meaning.
    fn parse(text: &str) -> Option<Self> {
        match recognise(text).into_iter().next()?.id {
            CandidateId::Trace(id) => Some(Self::Id(id)),
            CandidateId::Low64(low64) => Some(Self::Low64(low64)),
        }
    }

    /// Returns the trace, if it is stored. Of several with the same last 64 bits, it is the one
    /// with the smallest id, which is the one that has only 8 bytes.
    fn find(self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<Option<TraceId>, SqlError> {
        let low64 = match self {
            Self::Id(id) => return Ok(Some(id)),
            Self::Low64(low64) => low64,
        };
        let filter = SpanFilter { trace_id_low64: Some(low64), ..SpanFilter::default() };
        let mut smallest = None;
        scan_spans(stored, &filter, Projection::Ids, out, |rows, _| {
            let ids = (0..rows.len()).map(|row| rows.trace_id(row));
            smallest = ids.chain(smallest).min();
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(smallest)
    }
}

impl fmt::Display for TraceReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "trace {id}"),
            Self::Low64(low64) => write!(f, "the trace that ends with {low64:016x}"),
        }
    }
}

/// A trace, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    walk: TreePart,
    trace: TraceReference,
    span_id: Option<SpanId>,
}

impl Tree {
    /// Returns the part of a trace that a call with these arguments selects.
    pub(super) fn of_call(walk: TreePart, arguments: &[Argument<'_>]) -> Result<Self, String> {
        if arguments.contains(&Argument::Later) {
            let trace = TraceReference::Id(TraceId::default());
            return Ok(Self { walk, trace, span_id: None });
        }
        let name = walk.function_name();
        let texts: Option<Vec<&str>> = arguments.iter().map(|argument| argument.text()).collect();
        let wrong = || {
            let takes = match walk {
                TreePart::All => "the id of a trace",
                TreePart::Up | TreePart::Down => "the id of a trace and the id of a span",
            };
            format!("{name}() takes {takes}, as texts")
        };
        let (trace, span) = match (walk, texts.as_deref()) {
            (TreePart::All, Some([trace])) => (*trace, None),
            (TreePart::Up | TreePart::Down, Some([trace, span])) => (*trace, Some(*span)),
            _ => return Err(wrong()),
        };
        let none = |what: &str, text: &str| {
            let text: String = text.chars().take(100).collect();
            format!("{name}() takes the id of a {what}: `{text}` is none")
        };
        let trace = TraceReference::parse(trace).ok_or_else(|| none("trace", trace))?;
        let span_id = |span: &str| {
            let parsed = span.trim().parse::<SpanId>();
            parsed.map_err(|_| none("span in its second place", span))
        };
        Ok(Self { walk, trace, span_id: span.map(span_id).transpose()? })
    }
}

impl View for Tree {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn uses(&self, _: &[Condition]) -> bool {
        false
    }

    fn source(&self, columns: Vec<usize>, _: &[Condition]) -> Arc<dyn Source> {
        Arc::new(TreeSource { tree: *self, columns })
    }
}

#[derive(Debug)]
struct TreeSource {
    tree: Tree,
    columns: Vec<usize>,
}

impl Source for TreeSource {
    fn describe(&self) -> String {
        let Tree { walk, trace, span_id } = self.tree;
        match span_id {
            Some(span_id) => format!("{walk:?} from span {span_id} of {trace}"),
            None => trace.to_string(),
        }
    }

    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError> {
        let broken = |error: ArrowError| SqlError::Defect { reason: error.to_string() };
        let Some(trace_id) = self.tree.trace.find(stored, out)? else { return Ok(()) };
        let filter = SpanFilter { trace_ids: Some(vec![trace_id]), ..SpanFilter::default() };
        let own = SCHEMA.fields().len() - COLUMNS.len();
        let of_spans = self.columns.iter().filter_map(|place| place.checked_sub(own));
        let detail = of_spans.map(|place| COLUMNS[place].detail).max();
        let detail = detail.unwrap_or(Projection::Facts).max(Projection::Facts);
        let (mut batches, mut facts, mut names) = (Vec::new(), Vec::new(), Names::default());
        let mut bytes = 0;
        scan_spans(stored, &filter, detail, out, |rows, out| {
            let there: Vec<_> =
                COLUMNS.iter().copied().filter(|column| column.detail <= detail).collect();
            let schema = view_columns::schema(&there);
            let batch = view_columns::batch(rows, &there, schema).map_err(broken)?;
            bytes += batch.get_array_memory_size() + rows.len() * BYTES_EACH;
            out.keep(bytes)?;
            facts.extend((0..rows.len()).map(|row| names.facts(rows, row)));
            batches.push(batch);
            Ok(ControlFlow::Continue(()))
        })?;
        let Some(first) = batches.first() else { return Ok(()) };
        let assembled = assemble(&facts);
        let nodes = self.chosen(&assembled, &facts);
        let all = concat_batches(&first.schema(), &batches).map_err(broken)?;
        let places = nodes.iter().map(|node| u64::from(assembled.nodes[*node].fact));
        let places = UInt64Array::from_iter_values(places);
        let spans = take_record_batch(&all, &places).map_err(broken)?;
        let batch = self.columns(&assembled, &nodes, &spans).map_err(broken)?;
        out.push_rows(&batch).map(drop)
    }
}

impl TreeSource {
    /// Returns the selected nodes, in the tree's order.
    fn chosen(&self, assembled: &Assembled, facts: &[SpanFacts]) -> Vec<usize> {
        let Some(span_id) = self.tree.span_id else {
            return (0..assembled.nodes.len()).collect();
        };
        let is_it = |node: &usize| facts[assembled.nodes[*node].fact as usize].span_id == span_id;
        let mut chosen = vec![false; assembled.nodes.len()];
        for node in (0..assembled.nodes.len()).filter(is_it) {
            match self.tree.walk {
                TreePart::Down => {
                    let descendants = assembled.nodes[node].descendants as usize;
                    chosen[node..=node + descendants].fill(true);
                }
                TreePart::Up | TreePart::All => {
                    let mut above = Some(node);
                    while let Some(node) = above.filter(|node| !chosen[*node]) {
                        chosen[node] = true;
                        above = assembled.nodes[node].parent.map(|parent| parent as usize);
                    }
                }
            }
        }
        (0..chosen.len()).filter(|node| chosen[*node]).collect()
    }

    fn columns(
        &self,
        assembled: &Assembled,
        chosen: &[usize],
        spans: &RecordBatch,
    ) -> Result<RecordBatch, ArrowError> {
        let nodes = || chosen.iter().map(|node| &assembled.nodes[*node]);
        let nanos = |time: fn(&Node) -> DurationNanos| -> ArrayRef {
            let nanos = nodes().map(|node| i64::try_from(time(node).0).unwrap_or(i64::MAX));
            Arc::new(Int64Array::from_iter_values(nanos))
        };
        let own: [ArrayRef; 6] = [
            Arc::new(Int64Array::from_iter_values(
                chosen.iter().map(|node| i64::try_from(*node).unwrap_or(i64::MAX)),
            )),
            Arc::new(Int32Array::from_iter_values(
                nodes().map(|node| i32::try_from(node.depth).unwrap_or(i32::MAX)),
            )),
            nanos(|node| node.self_time),
            nanos(|node| node.critical_time),
            Arc::new(nodes().map(|node| Some(node.asynchronous)).collect::<BooleanArray>()),
            Arc::new(Int64Array::from_iter_values(nodes().map(|node| i64::from(node.descendants)))),
        ];
        let column = |place: &usize| match own.get(*place) {
            Some(column) => Ok(Arc::clone(column)),
            None => {
                let name = SCHEMA.field(*place).name();
                let column = spans.column_by_name(name).map(Arc::clone);
                column.ok_or_else(|| ArrowError::SchemaError(format!("there is no {name}")))
            }
        };
        let arrays = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(chosen.len()));
        let schema = Arc::new(SCHEMA.project(&self.columns)?);
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }
}

/// Numbers of services and operations.
#[derive(Debug, Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        match self.0.get(text) {
            Some(number) => *number,
            None => *self.0.entry(text.to_owned()).or_insert(next),
        }
    }

    fn facts(&mut self, rows: &SpanRows, row: usize) -> SpanFacts {
        SpanFacts {
            span_id: rows.span_id(row),
            parent_span_id: rows.parent_span_id(row),
            kind: rows.kind(row),
            start: rows.start(row),
            end: rows.end(row),
            service: self.number(rows.service(row)),
            operation: self.number(rows.name(row)),
            content_hash: rows.content_hash(row),
        }
    }
}
