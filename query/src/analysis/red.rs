//! Rate, errors and duration of spans by service, operation, its pattern, kind, status, an
//! attribute, and by serving a call.
//!
//! Rollups answer for all keys except attributes. Grouping by an attribute reads spans, and so does
//! a query that finds them. On request, groups are compared with those of as long a time before.
//! Groups by an attribute are compared with the other values of it.

mod by_rows;
mod earlier_groups;
mod operation_pattern;
mod red_groups;

use tidings_proto::{DurationNanos, api::RedResult};
use tidings_storage::SpanFilter;

use super::window::Window;
use crate::{
    QueryError,
    execution::{JoinedCalls, Reader, search_stats},
};

use earlier_groups::EarlierGroups;
use red_groups::{AllCalls, RedGroups};

/// Keys to group spans by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedKey {
    /// `service.name`.
    Service,
    /// The span's name.
    Operation,
    /// The span's name with a wildcard for each id in it. It takes the place of
    /// [`Self::Operation`], and goes neither with an attribute nor with a query.
    OperationPattern,
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
    /// A TraceQL query that finds the spans. It replaces all filters except the start, and its
    /// groups are not compared with those of before.
    pub query: Option<String>,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// Keys to group the spans by.
    pub by: RedKeys,
    /// True when each group's latency histogram is requested.
    pub histogram: bool,
    /// True to compare the groups with those of the range of the same length before the window.
    /// Groups by an attribute are compared with the other values of it instead.
    pub compare: bool,
    /// True to add the steps of that range to the groups that are compared.
    pub before_steps: bool,
    /// Maximum number of groups returned.
    pub limit: usize,
}

/// The calls by group.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn red(reader: &Reader, search: &RedSearch) -> Result<RedResult, QueryError> {
    let window = Window::new(reader, search.filter.start, search.step)?;
    if search.query.is_some() || search.by.attribute.is_some() {
        return by_rows::red(reader, search, window);
    }
    let JoinedCalls { calls: groups, mut scan, mut repeats_counted } =
        read_groups(reader, search, window)?;
    let before = match search.compare {
        true => EarlierGroups::read(reader, search, window, &mut scan)?,
        false => None,
    };
    repeats_counted |= before.as_ref().is_some_and(|before| before.repeats_counted);
    let other_count = groups.other;
    let (group_count, pattern_count) = (groups.len() as u64, groups.pattern_count());
    Ok(RedResult {
        window: window.view(),
        known_since_unix_nano: before.as_ref().map(EarlierGroups::start),
        groups: groups.views(search, before.as_ref()),
        group_count,
        pattern_count,
        other_count,
        repeats_counted,
        searched: search_stats(reader, scan),
    })
}

/// Aggregates the calls of a window that match the filter.
fn read_groups(
    reader: &Reader,
    search: &RedSearch,
    window: Window,
) -> Result<JoinedCalls<RedGroups>, QueryError> {
    let filter = SpanFilter { start: window.range(), ..search.filter.clone() };
    let all = AllCalls { by: &search.by.keys, window };
    reader.aggregate_calls(&filter, window.step(), &all)
}

#[cfg(test)]
mod tests;
