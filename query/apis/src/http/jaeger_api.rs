//! Jaeger's query APIs under `/jaeger`: v1, the JSON of its UI and of Grafana, and v3, which is
//! OTLP. Its gRPC services are at the paths that gRPC clients use.
//!
//! Answers have Jaeger's shapes, statuses and error texts. Parameters that Jaeger does not know are
//! ignored, as Jaeger does.

mod envelope;
mod monitor;
mod query_parameters;
mod query_services;
mod v1;
mod v3;

use ::http::{Method, StatusCode, Uri};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::Response,
    routing::{any, get, post},
};
use tidings_query::QueryService;

use super::grpc_calls;

/// Reason why a search by the API of another system may lack traces.
pub(super) const BUDGET_SPENT: &str =
    "the search ended at its row budget: other traces may match; narrow the range or the filters";

/// Maximum size of a file for `transform`, in bytes.
const TRANSFORM_BYTES_MAX: usize = 16 << 20;

/// The routes. Every other path under `/jaeger` has an answer, too.
pub(super) fn routes() -> Router<QueryService> {
    let transform = post(v1::transform).layer(DefaultBodyLimit::max(TRANSFORM_BYTES_MAX));
    Router::new()
        .route("/jaeger/api/services", get(v1::services))
        .route("/jaeger/api/services/{*path}", get(v1::operations_of_service))
        .route("/jaeger/api/operations", get(v1::operations))
        .route("/jaeger/api/traces", get(v1::search))
        .route("/jaeger/api/traces/{id}", get(v1::trace))
        .route("/jaeger/api/archive/{id}", post(v1::archive))
        .route("/jaeger/api/transform", transform)
        .route("/jaeger/api/dependencies", get(v1::dependencies))
        .route("/jaeger/api/metrics/{which}", get(monitor::metrics))
        .route("/jaeger/api/v3/services", get(v3::services))
        .route("/jaeger/api/v3/operations", get(v3::operations))
        .route("/jaeger/api/v3/traces", get(v3::search))
        .route("/jaeger/api/v3/traces/{id}", get(v3::trace))
        .route("/jaeger/api/v3/trace-summaries", get(v3::summaries))
        .route("/jaeger/api/v3/dependencies", get(v3::dependencies))
        .route("/jaeger.api_v2.QueryService/{method}", grpc_calls::route(query_services::v2))
        .route("/jaeger.api_v3.QueryService/{method}", grpc_calls::route(query_services::v3))
        .route(
            "/jaeger.storage.v2.TraceReader/{method}",
            grpc_calls::route(query_services::storage),
        )
        .route(
            "/jaeger.storage.v2.DependencyReader/{method}",
            grpc_calls::route(query_services::storage),
        )
        .route("/jaeger", any(no_such_page))
        .route("/jaeger/", any(no_such_page))
        .route("/jaeger/{*path}", any(no_such_page))
        .method_not_allowed_fallback(method_not_allowed)
}

/// Response for a method that a path of Jaeger's API does not have.
async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let text = format!("{method} is not allowed on {}\n", uri.path());
    envelope::text(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// Response for an unknown path of Jaeger's API.
async fn no_such_page() -> Response {
    envelope::text(StatusCode::NOT_FOUND, "404 page not found\n")
}
