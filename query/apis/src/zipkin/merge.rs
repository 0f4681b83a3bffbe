//! Merges the parts of a span that were sent separately, as Zipkin's `Trace.merge` does.
//!
//! Parts have the same id and the same shared flag, and their endpoints do not contradict each
//! other: a field that both have is equal. The first part's values have priority, except for tags;
//! annotations are combined. All spans get the longest trace id. A server with its client's id is
//! shared even without the flag, and has its client's parent when it names none.

use std::cmp::Ordering;

use tidings_proto::zipkin::{Endpoint, Kind, Span};

/// Returns the merged spans of one trace, by id, clients first.
pub(crate) fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    if spans.len() <= 1 {
        return spans;
    }
    spans.sort_by(order);
    let long = spans.iter().find(|span| span.trace_id.iter().take(8).any(|byte| *byte != 0));
    let trace_id = long.map(|span| span.trace_id.clone());
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    let mut parts = spans.into_iter().peekable();
    while let Some(mut span) = parts.next() {
        let mut endpoint = Endpoint::default();
        join_if_same(&mut endpoint, span.local_endpoint.as_ref());
        while let Some(next) = parts.next_if(|next| {
            next.id == span.id
                && next.shared == span.shared
                && join_if_same(&mut endpoint, next.local_endpoint.as_ref())
        }) {
            add(&mut span, next);
        }
        if let Some(trace_id) = &trace_id {
            span.trace_id.clone_from(trace_id);
        }
        if let Some(last) = merged.last().filter(|last| last.id == span.id) {
            span.shared |= last.kind() == Kind::Client && span.kind() == Kind::Server;
            if span.shared && span.parent_id.is_empty() {
                span.parent_id.clone_from(&last.parent_id);
            }
        }
        merged.push(tidied(span));
    }
    merged
}

/// Orders spans by id; clients first, shared ones last; then by endpoint. Spans without an endpoint
/// come first, so that they are merged with the next.
fn order(one: &Span, other: &Span) -> Ordering {
    let rank = |span: &Span| match (span.shared, span.kind()) {
        (true, _) => 2,
        (false, Kind::Client) => 0,
        (false, _) => 1,
    };
    one.id
        .cmp(&other.id)
        .then_with(|| rank(one).cmp(&rank(other)))
        .then_with(|| place(one.local_endpoint.as_ref()).cmp(&place(other.local_endpoint.as_ref())))
}

/// Sort key of an endpoint: an absent endpoint first, an absent field last.
fn place(endpoint: Option<&Endpoint>) -> Option<[(bool, &[u8]); 3]> {
    endpoint.map(|endpoint| {
        let service = endpoint.service_name.as_bytes();
        [service, endpoint.ipv4.as_slice(), endpoint.ipv6.as_slice()]
            .map(|field| (field.is_empty(), field))
    })
}

/// Adds the endpoint's fields to the known ones, unless they contradict each other.
fn join_if_same(known: &mut Endpoint, endpoint: Option<&Endpoint>) -> bool {
    let Some(endpoint) = endpoint else { return true };
    let differs = |one: &[u8], other: &[u8]| !one.is_empty() && !other.is_empty() && one != other;
    let contradicts = differs(known.service_name.as_bytes(), endpoint.service_name.as_bytes())
        || differs(&known.ipv4, &endpoint.ipv4)
        || differs(&known.ipv6, &endpoint.ipv6)
        || (known.port != 0 && endpoint.port != 0 && known.port != endpoint.port);
    if !contradicts {
        complete(known, endpoint);
    }
    !contradicts
}

/// Fills in unknown fields.
fn complete(known: &mut Endpoint, more: &Endpoint) {
    if known.service_name.is_empty() {
        known.service_name.clone_from(&more.service_name);
    }
    if known.ipv4.is_empty() {
        known.ipv4.clone_from(&more.ipv4);
    }
    if known.ipv6.is_empty() {
        known.ipv6.clone_from(&more.ipv6);
    }
    if known.port == 0 {
        known.port = more.port;
    }
}

fn join(known: &mut Option<Endpoint>, more: Option<Endpoint>) {
    match (known, more) {
        (Some(known), Some(more)) => complete(known, &more),
        (known @ None, more) => *known = more,
        (Some(_), None) => {}
    }
}

/// Adds a part to a span.
fn add(span: &mut Span, part: Span) {
    if span.parent_id.is_empty() {
        span.parent_id = part.parent_id;
    }
    if span.kind() == Kind::Unspecified {
        span.kind = part.kind;
    }
    if span.name.is_empty() {
        span.name = part.name;
    }
    if span.timestamp == 0 {
        span.timestamp = part.timestamp;
    }
    if span.duration == 0 {
        span.duration = part.duration;
    }
    join(&mut span.local_endpoint, part.local_endpoint);
    join(&mut span.remote_endpoint, part.remote_endpoint);
    span.annotations.extend(part.annotations);
    for tag in part.tags {
        match span.tags.iter_mut().find(|known| known.key == tag.key) {
            Some(known) => known.value = tag.value,
            None => span.tags.push(tag),
        }
    }
    span.debug |= part.debug;
    span.shared |= part.shared;
}

/// Final step of Zipkin's span builder.
fn tidied(mut span: Span) -> Span {
    if span.parent_id == span.id {
        span.parent_id.clear();
    }
    if span.kind() == Kind::Client {
        span.shared = false;
    }
    let order = |one: &tidings_proto::zipkin::Annotation| (one.timestamp, one.value.clone());
    span.annotations.sort_by_cached_key(order);
    span.annotations.dedup();
    span
}
