//! Tempo's HTTP API under `/tempo`, as Grafana's Tempo data source and other clients know it.
//!
//! Owns the routes, the parameters and the shapes of the answers. What a query finds is
//! [`crate::traceql`]'s. Errors are plain text, as Tempo's are; unknown parameters are ignored, as
//! Tempo does; parameters can also come as a form in the body, as some clients send them.

mod answer;
mod grpc;
mod messages;
mod metrics;
mod params;
mod search;
mod status;
mod tags;
mod traces;

use axum::{Router, routing::get};

use crate::QueryService;

/// The routes, complete with an answer for every other path under `/tempo`; those of Tempo's
/// streaming API are where gRPC has them.
pub(super) fn routes() -> Router<QueryService> {
    let paths = Router::new()
        .route("/api/traces/{traceId}", get(traces::trace))
        .route("/api/v2/traces/{traceId}", get(traces::trace_v2))
        .route("/api/search", get(search::search))
        .route("/api/search/tags", get(tags::names))
        .route("/api/v2/search/tags", get(tags::names_v2))
        .route("/api/search/tag/{tag}/values", get(tags::values))
        .route("/api/v2/search/tag/{tag}/values", get(tags::values_v2))
        .route("/api/metrics/query_range", get(metrics::query_range))
        .route("/api/metrics/query", get(metrics::query))
        .route("/api/echo", get(status::echo))
        .route("/api/status/buildinfo", get(status::buildinfo))
        .route("/ready", get(status::ready))
        .route("/status", get(status::all))
        .route("/status/{what}", get(status::one))
        .method_not_allowed_fallback(answer::method_not_allowed)
        .fallback(answer::no_such_path);
    Router::new().nest("/tempo", paths).merge(grpc::routes())
}
