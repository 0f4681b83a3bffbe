//! A stored trace as OTLP requests.
//!
//! Owns the order and the grouping, which depend only on the content. Spans are ordered by start,
//! id and content, each content once. They are grouped by resource and scope in the order of their
//! first span. A trace of any size is exported in parts (`chunked`).

mod chunked;

use std::{collections::HashMap, sync::Arc};

use tidings_proto::otlp::{
    ExportTraceServiceRequest, InstrumentationScope, Resource, ResourceSpans, ScopeSpans, Span,
};
use tidings_storage::SpanRows;

pub(crate) use chunked::{ExportKey, list, part};

use super::{
    trace_rows::{GatheredTraces, RowLocation, TraceFacts},
    tree::Tree,
};

/// Maximum bytes of resources and scopes that are cached while rows are read.
const SENDERS_BYTES_MAX: usize = 4 << 20;

/// Returns the trace as it was sent.
pub(crate) fn export(trace: &TraceFacts, gathered: &GatheredTraces) -> ExportTraceServiceRequest {
    let mut groups = SenderGroups::default();
    let mut senders = Senders::default();
    for place in ordered(trace) {
        let (rows, row) = gathered.row(place);
        groups.add(&senders.intern(rows, row), rows.span(row));
    }
    groups.request
}

/// Returns an OTLP request with the spans of these nodes, in the order of [`export`].
pub(crate) fn of_nodes(
    tree: &Tree,
    gathered: &GatheredTraces,
    mut nodes: Vec<usize>,
) -> ExportTraceServiceRequest {
    nodes.sort_by_key(|node| {
        let fact = tree.fact(*node);
        (fact.start, fact.span_id, fact.content_hash)
    });
    let mut groups = SenderGroups::default();
    let mut senders = Senders::default();
    for node in nodes {
        let (rows, row) = gathered.row(tree.place(node));
        groups.add(&senders.intern(rows, row), rows.span(row));
    }
    groups.request
}

/// Returns the rows ordered by start, id and content.
fn ordered(trace: &TraceFacts) -> Vec<RowLocation> {
    let mut order: Vec<usize> = (0..trace.facts.len()).collect();
    order.sort_by_key(|index| {
        let fact = &trace.facts[*index];
        (fact.start, fact.span_id, fact.content_hash)
    });
    order.into_iter().map(|index| trace.places[index]).collect()
}

/// Identity of a sender: encoded resource and scope. Equal texts are the same sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SenderKey {
    resource: (String, String),
    scope: (String, String),
}

impl SenderKey {
    /// Returns true if the row was sent with this resource and scope.
    fn is_of_row(&self, rows: &SpanRows, row: usize) -> bool {
        let is = |(key, url): &(String, String), of: (&str, &str)| (&**key, &**url) == of;
        is(&self.resource, (rows.resource_key(row), rows.resource_schema_url(row)))
            && is(&self.scope, (rows.scope_key(row), rows.scope_schema_url(row)))
    }

    fn bytes(&self) -> usize {
        [&self.resource, &self.scope].into_iter().map(|(key, url)| key.len() + url.len()).sum()
    }
}

/// Resource and scope of a span.
#[derive(Debug)]
struct Sender {
    key: SenderKey,
    resource: Option<Resource>,
    scope: Option<InstrumentationScope>,
}

/// Cache of senders, which always includes those of the last rows.
#[derive(Debug, Default)]
struct Senders {
    known: HashMap<SenderKey, Arc<Sender>>,
    bytes: usize,
    /// Sender of the previous row, which is often that of the next one.
    last: Option<Arc<Sender>>,
}

impl Senders {
    fn intern(&mut self, rows: &SpanRows, row: usize) -> Arc<Sender> {
        if let Some(last) = self.last.as_ref().filter(|last| last.key.is_of_row(rows, row)) {
            return Arc::clone(last);
        }
        let sender = self.find(rows, row);
        self.last = Some(Arc::clone(&sender));
        sender
    }

    fn find(&mut self, rows: &SpanRows, row: usize) -> Arc<Sender> {
        let key = SenderKey {
            resource: (rows.resource_key(row).to_owned(), rows.resource_schema_url(row).to_owned()),
            scope: (rows.scope_key(row).to_owned(), rows.scope_schema_url(row).to_owned()),
        };
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(known);
        }
        self.bytes += key.bytes();
        if self.bytes > SENDERS_BYTES_MAX {
            self.known.clear();
            self.bytes = key.bytes();
        }
        let (resource, scope) = (rows.resource(row), rows.scope(row));
        let sender = Arc::new(Sender { key: key.clone(), resource, scope });
        self.known.insert(key, Arc::clone(&sender));
        sender
    }
}

/// Spans grouped by resource and scope, in insertion order.
#[derive(Debug, Default)]
struct SenderGroups {
    request: ExportTraceServiceRequest,
    resources: HashMap<(String, String), usize>,
    /// Indexes of scopes, by the index of their resource and their texts. The resource's text is
    /// held once, however many scopes it has.
    scopes: HashMap<(usize, (String, String)), usize>,
    /// The sender of the previous span, and the indexes of its resource and scope.
    last: Option<(Arc<Sender>, (usize, usize))>,
}

impl SenderGroups {
    fn add(&mut self, sender: &Arc<Sender>, span: Span) {
        let last = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, sender));
        let (resource, scope) = match last {
            Some((_, places)) => *places,
            None => {
                let places = self.places(sender);
                self.last = Some((Arc::clone(sender), places));
                places
            }
        };
        self.request.resource_spans[resource].scope_spans[scope].spans.push(span);
    }

    /// Returns the indexes of a resource and of its scope, and adds them when they are new.
    fn places(&mut self, sender: &Sender) -> (usize, usize) {
        let groups = &mut self.request.resource_spans;
        let (key, schema_url) = (&sender.key, |(_, url): &(String, String)| url.clone());
        let resource = *self.resources.entry(key.resource.clone()).or_insert_with(|| {
            groups.push(ResourceSpans {
                resource: sender.resource.clone(),
                schema_url: schema_url(&key.resource),
                ..Default::default()
            });
            groups.len() - 1
        });
        let group = &mut groups[resource].scope_spans;
        let scope = *self.scopes.entry((resource, key.scope.clone())).or_insert_with(|| {
            group.push(ScopeSpans {
                scope: sender.scope.clone(),
                schema_url: schema_url(&key.scope),
                ..Default::default()
            });
            group.len() - 1
        });
        (resource, scope)
    }
}
