//! Rate, errors and duration of spans by service, operation, kind, status, an attribute, and by
//! serving a call.
//!
//! Rollups answer for all keys except attributes. Grouping by an attribute reads spans.

mod by_attribute;
mod red_groups;

use tidings_proto::{DurationNanos, api::RedResult};
use tidings_storage::{CallAggregate, SpanFilter};

use super::window::Window;
use crate::{
    QueryError,
    execution::{Reader, searched},
};

use red_groups::{AllCalls, RedGroups};

/// Keys to group spans by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedKey {
    /// `service.name`.
    Service,
    /// The span's name.
    Operation,
    /// Kind of the span.
    Kind,
    /// True for spans that serve a call ([`tidings_proto::otlp::SpanKind::serves`]).
    Served,
    /// Status of the span.
    Status,
}

/// Keys that spans are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedKeys {
    /// All keys except the attribute.
    pub keys: Vec<RedKey>,
    /// The key of an attribute of the span or, without it, of its resource.
    pub attribute: Option<String>,
}

/// Selection of spans, and the keys that group them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedSearch {
    /// Filter of the spans; their start is in the window.
    pub filter: SpanFilter,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Keys to group the spans by.
    pub by: RedKeys,
    /// True when each group's latency histogram is requested.
    pub histogram: bool,
    /// Maximum number of groups returned.
    pub limit: usize,
}

/// The calls by group.
pub(crate) fn red(reader: &Reader, search: &RedSearch) -> Result<RedResult, QueryError> {
    let window = Window::new(reader, search.filter.start, search.step)?;
    let filter = SpanFilter { start: window.range(), ..search.filter.clone() };
    if let Some(key) = &search.by.attribute {
        return by_attribute::red(reader, search, (window, &filter), key);
    }
    let all = AllCalls { by: &search.by.keys, window };
    let mut aggregate = reader.aggregate_calls(&filter, window.step(), &all)?;
    if aggregate.shares.len() > 1 && aggregate.shares.iter().any(|share| share.other > 0) {
        // The chosen groups must not depend on the number of threads, so one thread repeats the
        // scan.
        aggregate = reader.aggregate_calls_with_threads(1, &filter, window.step(), &all)?;
    }
    let CallAggregate { scan, repeats_counted, unordered, shares } = aggregate;
    let groups = RedGroups::joined(&unordered, shares);
    let other_count = groups.other;
    let group_count = groups.len() as u64;
    Ok(RedResult {
        window: window.view(),
        groups: groups.views(search.limit, search.histogram),
        group_count,
        other_count,
        repeats_counted,
        searched: searched(reader, scan),
    })
}
