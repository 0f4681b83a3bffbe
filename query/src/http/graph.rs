//! `/api/v1/graph`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::ServiceGraph;

use super::{
    encoding,
    filters::{SPAN_FILTERS, WINDOW, span_filter},
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::GraphSearch,
    params::{
        Params,
        declared::{Lists, Of, Takes, query},
        form::ParameterForm::TraceId,
    },
};

/// Parameters of a service graph.
pub(super) struct Graph;

impl Takes for Graph {
    const LISTS: Lists = &[
        SPAN_FILTERS,
        WINDOW,
        &[query("traceId", TraceId, "Only of this trace (32 hex digits); no other parameter then")],
    ];
}

/// The service graph.
///
/// Returns services, their uninstrumented peers (databases, queues and servers that send no spans),
/// and the edges between them. The traces are one trace, or those that have a span matching every
/// filter in the window. A call counts in the window in which its called span begins. Rollups
/// answer queries without filters; otherwise at most the newest 1,000,000 spans are read, and
/// `searched.complete` says whether those are all.
#[utoipa::path(
    get,
    path = "/api/v1/graph",
    tag = "analysis",
    operation_id = "getServiceGraph",
    params(Of<Graph>),
    responses((status = 200, body = ServiceGraph), Problems)
)]
pub(super) async fn graph(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Graph>(&uri)?;
    let trace_id = params.trace_id()?;
    let filter = span_filter(&params)?;
    if trace_id.is_some() && filter != Default::default() {
        let reason = "`traceId` stands alone: the graph is of the whole trace";
        return Err(QueryError::parameter("traceId", reason));
    }
    let (service, turn) = service.keeping_turn();
    encoding::json(turn, service.graph(GraphSearch { filter, trace_id }).await?).await
}
