//! `/api/v1/explain`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::Explanation;

use super::{
    answer,
    filters::{SELECTED, SPAN_FILTERS, WINDOW, selection, span_filter},
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::ExplainSearch,
    params::{
        Params,
        declared::{Lists, Of, Takes, limit},
    },
};

/// Parameters of an explanation.
pub(super) struct Explain;

impl Takes for Explain {
    const LISTS: Lists =
        &[SPAN_FILTERS, WINDOW, SELECTED, &[limit(20, 200, "At most so many differences")]];
}

/// Attributes that distinguish selected spans from the rest.
///
/// Among the spans that match the filters in the window, those for which every `select…` parameter
/// holds are compared with all others. Attributes are ranked by the difference in the shares of
/// their values. Differences that chance explains (G-test, corrected for the number of values) and
/// ids are left out. Attributes that select the same spans are shown together. At least one
/// `select…` parameter is required.
#[utoipa::path(
    get,
    path = "/api/v1/explain",
    tag = "analysis",
    operation_id = "explain",
    params(Of<Explain>),
    responses((status = 200, body = Explanation), Problems)
)]
pub(super) async fn explain(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<Explain>(&uri)?;
    let selected = selection(&params)?;
    if selected == Default::default() {
        let reason = "one of the `select…` parameters must say which spans are to be explained";
        return Err(QueryError::parameter("selectMinDuration", reason));
    }
    let filter = span_filter(&params)?;
    let limit = params.limit();
    let (service, turn) = service.keeping_turn();
    answer::json(turn, service.explain(ExplainSearch { filter, selected, limit }).await?).await
}
