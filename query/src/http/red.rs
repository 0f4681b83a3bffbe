//! `/api/v1/red`.

use ::http::Uri;
use axum::{extract::State, response::Response};
use tidings_proto::api::RedResult;

use super::{
    answer,
    filters::{InSteps, SpanSelection, span_filter},
    problem::Problems,
};
use crate::{
    QueryError, QueryService,
    analysis::{RedKey, RedSearch},
    params::Params,
};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 1_000;

/// Rate, errors and duration of spans.
///
/// Counts every span once that matches the filters and starts in the window, by group and step.
/// Histograms have the same buckets everywhere (below 64 ns one for each nanosecond, from there on
/// 64 for each power of two), so they can be added up.
#[utoipa::path(
    get,
    path = "/api/v1/red",
    tag = "analysis",
    operation_id = "getRed",
    params(
        SpanSelection,
        InSteps,
        ("by" = Option<String>, Query, description = "What to group by: any of `service`, `operation`, `kind`, `status`, with commas between; `service` when not given"),
        ("histogram" = Option<bool>, Query, description = "`true`: with the groups' histograms"),
        ("limit" = Option<u32>, Query, description = "At most so many groups, those with most calls, 1 to 1,000; 50 when not given"),
    ),
    responses((status = 200, body = RedResult), Problems)
)]
pub(super) async fn red(
    State(service): State<QueryService>,
    uri: Uri,
) -> Result<Response, QueryError> {
    let params = Params::read::<__path_red>(&uri)?;
    let form = "any of service, operation, kind, status, with commas between";
    let search = RedSearch {
        filter: span_filter(&params)?,
        step: params.step()?,
        by: params.parsed("by", form, keys)?.unwrap_or_else(|| vec![RedKey::Service]),
        histogram: params.parsed("histogram", "true or false", |text| text.parse().ok())?
            == Some(true),
        limit: params.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
    };
    answer::json(service.red(search).await?).await
}

fn keys(text: &str) -> Option<Vec<RedKey>> {
    let key = |name: &str| match name.trim() {
        "service" => Some(RedKey::Service),
        "operation" => Some(RedKey::Operation),
        "kind" => Some(RedKey::Kind),
        "status" => Some(RedKey::Status),
        _ => None,
    };
    text.split(',').map(key).collect()
}
