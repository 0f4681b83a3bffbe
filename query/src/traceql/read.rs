//! Conversion of stored rows to rows of values, and of assembled traces to tables.
//!
//! Owns the source of each field and the columns that it needs. Fields that depend on the rest of
//! the trace, or on its log records, are unknown until it is assembled.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tidings_proto::{
    SpanId, UnixNanos, hex,
    otlp::{Event, KeyValue, Link},
};
use tidings_storage::{Projection, SpanRows};
use tidings_traceql::{Field, Fields, Intrinsic, Name, Scope, Value};

use super::{
    evaluate::Table,
    records::SpanLogRecords,
    relations::{ParentKey, TreeShape},
};
use crate::{
    QueryLimits,
    trace::{
        trace_rows::{GatheredTraces, Names},
        tree::Tree,
    },
};

/// Maximum number of cached texts and of cached senders. There are few, unless a client is hostile.
const KEPT_MAX: usize = 4096;

/// Columns that the fields of a query need.
pub(crate) fn detail(fields: &Fields) -> Projection {
    fields.iter().map(|field| detail_of(&field.name)).max().unwrap_or(Projection::Facts)
}

fn detail_of(name: &Name) -> Projection {
    match name {
        Name::Attribute(Scope::Resource, key) if key == "service.name" => Projection::Facts,
        Name::Attribute(Scope::Any | Scope::Resource | Scope::Span, _) => Projection::Attributes,
        Name::Attribute(Scope::Event | Scope::Link | Scope::Instrumentation, _)
        | Name::Intrinsic(
            Intrinsic::EventName
            | Intrinsic::EventTimeSinceStart
            | Intrinsic::LinkTraceId
            | Intrinsic::LinkSpanId
            | Intrinsic::InstrumentationName
            | Intrinsic::InstrumentationVersion,
        ) => Projection::Full,
        Name::Intrinsic(_) => Projection::Facts,
    }
}

/// Reports whether a field needs more than the span's own row.
pub(crate) fn needs_tree(field: &Field) -> bool {
    field.parent
        || matches!(
            field.name,
            Name::Intrinsic(
                Intrinsic::LogBody
                    | Intrinsic::LogSeverity
                    | Intrinsic::ChildCount
                    | Intrinsic::TraceDuration
                    | Intrinsic::RootName
                    | Intrinsic::RootService
                    | Intrinsic::TraceSpans
                    | Intrinsic::TraceErrors
                    | Intrinsic::TraceServices
                    | Intrinsic::NestedSetLeft
                    | Intrinsic::NestedSetRight
                    | Intrinsic::NestedSetParent
            )
        )
}

/// Values and their columns.
type Columns = Arc<[(usize, Value)]>;

/// Reads rows of values.
#[derive(Debug)]
pub(crate) struct RowReader<'a> {
    fields: &'a Fields,
    texts: HashMap<String, Arc<str>>,
    /// The values of resources and scopes by their stored texts.
    resources: HashMap<String, Columns>,
    scopes: HashMap<String, Columns>,
    span_keys: HashMap<&'a str, Vec<usize>>,
    resource_keys: Vec<(&'a str, usize)>,
    scope_keys: Vec<(&'a str, usize)>,
    events: bool,
    links: bool,
}

impl<'a> RowReader<'a> {
    pub(crate) fn new(fields: &'a Fields) -> Self {
        let mut reader = Self {
            fields,
            texts: HashMap::new(),
            resources: HashMap::new(),
            scopes: HashMap::new(),
            span_keys: HashMap::new(),
            resource_keys: Vec::new(),
            scope_keys: Vec::new(),
            events: false,
            links: false,
        };
        for (column, field) in fields.iter().enumerate().filter(|(_, field)| !field.parent) {
            match &field.name {
                Name::Attribute(Scope::Resource, key) if key == "service.name" => {}
                Name::Attribute(Scope::Any, key) => {
                    reader.span_keys.entry(key).or_default().push(column);
                    reader.resource_keys.push((key, column));
                }
                Name::Attribute(Scope::Span, key) => {
                    reader.span_keys.entry(key).or_default().push(column);
                }
                Name::Attribute(Scope::Resource, key) => reader.resource_keys.push((key, column)),
                Name::Attribute(Scope::Instrumentation, key) => {
                    reader.scope_keys.push((key, column));
                }
                Name::Attribute(Scope::Event, _)
                | Name::Intrinsic(Intrinsic::EventName | Intrinsic::EventTimeSinceStart) => {
                    reader.events = true;
                }
                Name::Attribute(Scope::Link, _)
                | Name::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId) => {
                    reader.links = true;
                }
                Name::Intrinsic(_) => {}
            }
        }
        reader
    }

    /// Appends the values of a row.
    pub(crate) fn read(&mut self, rows: &SpanRows, row: usize, values: &mut Vec<Value>) {
        let from = values.len();
        let events = if self.events { rows.events(row) } else { Vec::new() };
        let links = if self.links { rows.links(row) } else { Vec::new() };
        for field in self.fields.iter() {
            values.push(self.single(field, rows, row, &events, &links));
        }
        let values = &mut values[from..];
        if !self.span_keys.is_empty() {
            for attribute in rows.attributes(row) {
                for column in self.span_keys.get(attribute.key.as_str()).into_iter().flatten() {
                    values[*column] = Value::from_otlp(attribute.value());
                }
            }
        }
        if !self.resource_keys.is_empty() {
            let read = || rows.resource(row).unwrap_or_default().attributes;
            let of =
                columns_of(&mut self.resources, &self.resource_keys, rows.resource_key(row), read);
            for (column, value) in of.iter() {
                // The span's own attribute comes first.
                if values[*column].is_nil() {
                    values[*column] = value.clone();
                }
            }
        }
        if !self.scope_keys.is_empty() {
            let read = || rows.scope(row).unwrap_or_default().attributes;
            let of = columns_of(&mut self.scopes, &self.scope_keys, rows.scope_key(row), read);
            for (column, value) in of.iter() {
                values[*column] = value.clone();
            }
        }
    }

    fn text(&mut self, text: &str) -> Value {
        if let Some(known) = self.texts.get(text) {
            return Value::Text(Arc::clone(known));
        }
        let shared: Arc<str> = text.into();
        if self.texts.len() >= KEPT_MAX {
            self.texts.clear();
        }
        self.texts.insert(text.to_owned(), Arc::clone(&shared));
        Value::Text(shared)
    }

    /// Returns a value that needs no search in a list of attributes.
    fn single(
        &mut self,
        field: &Field,
        rows: &SpanRows,
        row: usize,
        events: &[Event],
        links: &[Link],
    ) -> Value {
        if needs_tree(field) {
            return Value::Unknown;
        }
        let intrinsic = match &field.name {
            Name::Attribute(Scope::Resource, key) if key == "service.name" => {
                let service = rows.service(row);
                return if service.is_empty() { Value::Nil } else { self.text(service) };
            }
            Name::Attribute(Scope::Event, key) => {
                return list_value(events.iter().flat_map(|event| of_key(&event.attributes, key)));
            }
            Name::Attribute(Scope::Link, key) => {
                return list_value(links.iter().flat_map(|link| of_key(&link.attributes, key)));
            }
            Name::Attribute(..) => return Value::Nil,
            Name::Intrinsic(intrinsic) => intrinsic,
        };
        match intrinsic {
            Intrinsic::Duration => Value::nanos(rows.duration(row).0),
            Intrinsic::Name => self.text(rows.name(row)),
            Intrinsic::Status => Value::Status(rows.status(row)),
            Intrinsic::StatusMessage => self.text(rows.status_message(row)),
            Intrinsic::Kind => Value::Kind(rows.kind(row)),
            Intrinsic::SpanId => Value::text(&rows.span_id(row).to_string()),
            Intrinsic::TraceId => Value::text(&rows.trace_id(row).to_string()),
            Intrinsic::ParentId => {
                let parent = rows.parent_span_id(row);
                parent.map_or_else(|| Value::text(""), |id| Value::text(&id.to_string()))
            }
            Intrinsic::Parent => match rows.parent_span_id(row) {
                Some(_) => Value::Bool(true),
                None => Value::Nil,
            },
            Intrinsic::EventName => list_value(events.iter().map(|event| Value::text(&event.name))),
            Intrinsic::EventTimeSinceStart => {
                let start = rows.start(row);
                let since = |event: &Event| UnixNanos(event.time_unix_nano).since(start).0;
                list_value(events.iter().map(|event| Value::nanos(since(event))))
            }
            Intrinsic::LinkTraceId => {
                list_value(links.iter().map(|link| Value::text(&hex(&link.trace_id))))
            }
            Intrinsic::LinkSpanId => {
                list_value(links.iter().map(|link| Value::text(&hex(&link.span_id))))
            }
            Intrinsic::InstrumentationName => self.text(&rows.scope(row).unwrap_or_default().name),
            Intrinsic::InstrumentationVersion => {
                self.text(&rows.scope(row).unwrap_or_default().version)
            }
            _ => Value::Unknown,
        }
    }
}

/// Returns the needed attributes of a resource or scope, decoded once for each stored text.
fn columns_of(
    known: &mut HashMap<String, Columns>,
    wanted: &[(&str, usize)],
    text: &str,
    read: impl FnOnce() -> Vec<KeyValue>,
) -> Columns {
    if let Some(columns) = known.get(text) {
        return Arc::clone(columns);
    }
    let attributes = read();
    let found = wanted.iter().filter_map(|(key, column)| {
        let found = attributes.iter().find(|attribute| attribute.key == *key)?;
        Some((*column, Value::from_otlp(found.value())))
    });
    let columns: Columns = found.collect();
    if known.len() >= KEPT_MAX {
        known.clear();
    }
    known.insert(text.to_owned(), Arc::clone(&columns));
    columns
}

fn of_key<'a>(attributes: &'a [KeyValue], key: &'a str) -> impl Iterator<Item = Value> + 'a {
    let found = attributes.iter().filter(move |attribute| attribute.key == *key);
    found.map(|attribute| Value::from_otlp(attribute.value()))
}

/// Combines values to nil, the single value, or a list.
pub(super) fn list_value(values: impl Iterator<Item = Value>) -> Value {
    let flat = values.flat_map(|value| match value {
        Value::Many(values) => values.to_vec(),
        single => vec![single],
    });
    let mut values: Vec<Value> = flat.collect();
    match values.len() {
        0 => Value::Nil,
        1 => values.pop().unwrap_or(Value::Nil),
        _ => Value::Many(values.into()),
    }
}

/// Returns true if the table of a trace takes no more memory than a query may hold.
pub(crate) fn fits_memory(tree: &Tree, fields: &Fields, limits: &QueryLimits) -> bool {
    let values = fields.len().saturating_mul(tree.assembled.nodes.len());
    values.saturating_mul(size_of::<Value>()) as u64 <= limits.view_bytes_max
}

/// Builds the table of an assembled trace whose rows were kept, and of its log records.
pub(crate) fn table(
    tree: &Tree,
    gathered: &GatheredTraces,
    records: &SpanLogRecords,
    reader: &mut RowReader<'_>,
) -> Table {
    let fields = reader.fields;
    let width = fields.len();
    let nodes = &tree.assembled.nodes;
    let mut values = Vec::with_capacity(width * nodes.len());
    let whole = TraceValues::new(tree, &gathered.names);
    for node in tree.indexes() {
        let (rows, row) = gathered.row(tree.place(node));
        let from = values.len();
        reader.read(rows, row, &mut values);
        for (column, field) in fields.iter().enumerate().filter(|(_, field)| needs_tree(field)) {
            let (false, Name::Intrinsic(intrinsic)) = (field.parent, &field.name) else { continue };
            values[from + column] = if intrinsic.is_of_logs() {
                records.value(*intrinsic, tree.trace_id, tree.fact(node).span_id)
            } else {
                of_tree(*intrinsic, tree, node, &gathered.names, &whole)
            };
        }
        for (column, field) in fields.iter().enumerate().filter(|(_, field)| field.parent) {
            let own = fields.find(&Field { parent: false, ..field.clone() });
            let parent = nodes[node].parent.map(|parent| parent as usize * width);
            values[from + column] = match parent.zip(own) {
                Some((row, column)) => values[row + column].clone(),
                None => Value::Nil,
            };
        }
    }
    Table { shape: shape(tree), width, values }
}

/// Values of the whole trace, computed once.
struct TraceValues {
    children: Vec<i64>,
    missing: Vec<bool>,
    errors: i64,
    services: Value,
}

impl TraceValues {
    fn new(tree: &Tree, names: &Names) -> Self {
        let services: BTreeSet<&str> =
            tree.indexes().map(|node| names.text(tree.fact(node).service)).collect();
        let failed = tree.indexes().filter(|node| tree.failed(*node)).count();
        Self {
            children: child_counts(tree),
            missing: missing_parents(tree),
            errors: i64::try_from(failed).unwrap_or(i64::MAX),
            services: list_value(
                services.into_iter().filter(|name| !name.is_empty()).map(Value::text),
            ),
        }
    }
}

/// Returns the tree shape of an assembled trace.
pub(crate) fn shape(tree: &Tree) -> TreeShape {
    let missing = missing_parents(tree);
    let nodes = &tree.assembled.nodes;
    TreeShape {
        parents: nodes.iter().map(|node| node.parent).collect(),
        ends: (1..).zip(nodes).map(|(next, node)| node.descendants.saturating_add(next)).collect(),
        families: tree.indexes().map(|node| family(tree, node, &missing)).collect(),
    }
}

fn child_counts(tree: &Tree) -> Vec<i64> {
    let mut counts = vec![0; tree.assembled.nodes.len()];
    for parent in tree.assembled.nodes.iter().filter_map(|node| node.parent) {
        counts[parent as usize] += 1;
    }
    counts
}

/// Marks the nodes without a parent because no span has the parent id that they name.
fn missing_parents(tree: &Tree) -> Vec<bool> {
    let ids: HashSet<SpanId> = tree.indexes().map(|node| tree.fact(node).span_id).collect();
    let is_missing = |node: usize| {
        let named = tree.fact(node).parent_span_id;
        tree.assembled.nodes[node].parent.is_none() && named.is_some_and(|id| !ids.contains(&id))
    };
    tree.indexes().map(is_missing).collect()
}

fn family(tree: &Tree, node: usize, missing: &[bool]) -> Option<ParentKey> {
    match tree.assembled.nodes[node].parent {
        Some(parent) => Some(ParentKey::Of(parent)),
        None if missing[node] => tree.fact(node).parent_span_id.map(ParentKey::Missing),
        None => None,
    }
}

fn of_tree(
    intrinsic: Intrinsic,
    tree: &Tree,
    node: usize,
    names: &Names,
    whole: &TraceValues,
) -> Value {
    let nodes = &tree.assembled.nodes;
    let entry = tree.entry.filter(|_| tree.has_root()).map(|node| tree.fact(node));
    // In a nested-set numbering, all earlier spans were opened before this one, and those that are
    // not its ancestors were closed.
    let left = |node: usize| {
        let (opened, depth) = (node as u64, u64::from(nodes[node].depth));
        i64::try_from(2 * opened - depth + 1).unwrap_or(i64::MAX)
    };
    match intrinsic {
        Intrinsic::ChildCount => Value::Int(whole.children[node]),
        Intrinsic::TraceDuration => Value::nanos(tree.end.since(tree.start).0),
        Intrinsic::RootName => Value::text(entry.map_or("", |fact| names.text(fact.operation))),
        Intrinsic::RootService => Value::text(entry.map_or("", |fact| names.text(fact.service))),
        Intrinsic::TraceSpans => Value::Int(i64::try_from(nodes.len()).unwrap_or(i64::MAX)),
        Intrinsic::TraceErrors => Value::Int(whole.errors),
        Intrinsic::TraceServices => whole.services.clone(),
        Intrinsic::NestedSetLeft => Value::Int(left(node)),
        Intrinsic::NestedSetRight => {
            Value::Int(left(node) + 2 * i64::from(nodes[node].descendants) + 1)
        }
        Intrinsic::NestedSetParent => Value::Int(match nodes[node].parent {
            Some(parent) => left(parent as usize),
            None if whole.missing[node] => 0,
            None => -1,
        }),
        _ => Value::Nil,
    }
}
