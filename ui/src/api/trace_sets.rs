//! Requests for samples of traces, for comparing them, and for the repeated calls of one trace.

use tidings_proto::{
    TraceId,
    api::{Comparison, LogSearchResult, RepeatList, TraceSearchResult},
};

use super::{Request, analysis::Analysis};
use crate::url::UrlQuery;

/// Number of ids in one parameter of a comparison.
const IDS_IN_LIST: usize = 100;

/// Returns the request for traces that match an analysis's filters, newest first unless the
/// analysis sets another order.
#[must_use]
pub fn trace_sample(analysis: &Analysis) -> Request<TraceSearchResult> {
    Request::get("/traces", analysis.query())
}

/// Returns the request for log records that match an analysis's filters, newest first.
#[must_use]
pub fn log_sample(analysis: &Analysis) -> Request<LogSearchResult> {
    Request::get("/logs", analysis.query())
}

/// Returns the request for the comparison of two sets of traces, at most 400 ids per side.
#[must_use]
pub fn compare_sets(left: &[TraceId], right: &[TraceId]) -> Request<Comparison> {
    const IDS_MAX: usize = 400;
    let mut query = UrlQuery::default();
    for (side, ids) in [("left", left), ("right", right)] {
        let ids = ids.get(..IDS_MAX).unwrap_or(ids);
        for list in ids.chunks(IDS_IN_LIST) {
            let list: Vec<String> = list.iter().map(TraceId::to_string).collect();
            query.push(side, list.join(","));
        }
    }
    Request::get("/compare", &query)
}

/// Returns the request for the calls that a trace repeats.
#[must_use]
pub fn repeats(trace: TraceId) -> Request<RepeatList> {
    Request::get(&format!("/traces/{trace}/repeats"), &UrlQuery::default())
}

#[cfg(test)]
mod tests {
    use tidings_proto::TraceId;

    use super::compare_sets;

    #[test]
    fn many_ids_come_in_lists_that_a_request_has_room_for() {
        let id = |number: u8| TraceId::from_bytes([number; 16]).unwrap();
        let left: Vec<TraceId> = (0..250_u8).map(|number| id(number.max(1))).collect();
        let request = compare_sets(&left, &[id(7)]);
        assert_eq!(request.address().matches("left=").count(), 3);
        assert_eq!(request.address().matches("right=").count(), 1);
        assert_eq!(request.address().matches("%2C").count(), 247);
    }
}
