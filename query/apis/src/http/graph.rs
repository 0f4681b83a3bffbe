//! `/api/v1/graph`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::{NodeKind, ServiceGraph};
use tidings_query::{GraphSearch, QueryError, QueryService, analysis::service_graph};

use super::{
    encoding,
    filters::{SPAN_FILTERS, WINDOW, baseline_times, span_filter},
    problem::{ApiError, Problems},
};
use crate::params::{
    Params,
    declared::{HasParameters, ParameterLists, ParametersOf, query},
    form::ParameterForm::{Flag, Integer, Text, Time, TraceId},
};

endpoints![graph: __path_graph];

/// Parameters of a service graph.
pub(super) struct Graph;

impl HasParameters for Graph {
    const LISTS: ParameterLists = &[
        SPAN_FILTERS,
        WINDOW,
        &[
            query("traceId", TraceId, "Only of this trace (32 hex digits); no filter and no window then"),
            query(
                "around",
                Text,
                "Only what is around this node, as `database:accounts` or by its name alone; a service comes before others of its name. Nothing is around a node that the window does not have",
            ),
            query(
                "depth",
                Integer { min: 1, max: 10, default: Some(1) },
                "With `around`: calls above or below that a node may be away",
            ),
            query(
                "fold",
                Integer { min: 1, max: 10_000, default: None },
                "Where there are more destinations of a messaging system than this, they are one node; so are databases of one system, and hosts, where there are more than four times as many. Nothing is folded when not given",
            ),
            query(
                "single",
                Text,
                "With `fold`: the peer of this name is a node of its own; repeat it for several. So is that of `around`",
            )
            .repeated(),
            query(
                "failing",
                Integer { min: 0, max: 100, default: Some(5) },
                "With `fold`: so many peers of one kind and system are nodes of their own, those with most failed calls",
            ),
            query(
                "compare",
                Flag,
                "`true`: with the calls of each node and edge in as long a time before the window, and whether they are slower or fail more. Not with `traceId`",
            ),
            query(
                "baselineStart",
                Time,
                "With `compare`: compared with the time from here on, whatever its length; needs `baselineEnd`",
            ),
            query("baselineEnd", Time, "To here, later than `baselineStart`"),
        ],
    ];
}

/// The service graph.
///
/// Returns services, their uninstrumented peers (databases, queues and servers that send no spans),
/// and the edges between them. The traces are one trace, or those that have a span matching every
/// filter in the window. A call counts in the window in which its called span begins. Rollups
/// answer queries without filters; otherwise at most the newest 1,000,000 spans are read, and
/// `searched.complete` says whether those are all. With `fold`, peers of one kind and system are
/// one node, and their edges are added up. With `compare`, edges that became slower or fail more
/// come first.
#[utoipa::path(
    get,
    path = "/api/v1/graph",
    tag = "analysis",
    operation_id = "getServiceGraph",
    params(ParametersOf<Graph>),
    responses((status = 200, body = ServiceGraph), Problems)
)]
async fn graph(State(service): State<QueryService>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::read::<Graph>(&uri)?;
    let trace_id = params.trace_id()?;
    let filter = span_filter(&params)?;
    if trace_id.is_some() && filter != Default::default() {
        let reason = "`traceId` stands alone: the graph is of the whole trace";
        return Err(QueryError::parameter("traceId", reason).into());
    }
    let compare = params.flag("compare");
    if trace_id.is_some() && compare {
        let reason = "one trace has no time before that it could be compared with";
        return Err(QueryError::parameter("compare", reason).into());
    }
    let baseline = baseline_times(&params)?;
    if baseline.is_some() && !compare {
        let reason = "`baselineStart` and `baselineEnd` go with `compare=true`";
        return Err(QueryError::parameter("baselineStart", reason).into());
    }
    let search = GraphSearch {
        filter,
        trace_id,
        around: params.text("around").map(node),
        depth: params.integer("depth").unwrap_or(1),
        fold: params.integer("fold"),
        single: params.texts("single").into_iter().map(str::to_owned).collect(),
        failing: params.integer("failing").unwrap_or_default(),
        compare,
        baseline,
    };
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| service_graph::graph(reader, &search)).await?;
    Ok(encoding::json(admission, found).await?)
}

/// Parses a node such as `database:accounts`. A text without a kind in front is a name.
fn node(text: &str) -> (Option<NodeKind>, String) {
    let named =
        text.split_once(':').and_then(|(kind, name)| Some((NodeKind::from_word(kind)?, name)));
    match named {
        Some((kind, name)) => (Some(kind), name.to_owned()),
        None => (None, text.to_owned()),
    }
}
