//! The native API over HTTP: routes, headers, the OpenAPI document; beside it the APIs of other
//! systems, each in a module of its own.
//!
//! Owns the list of endpoints: a route's path and parameters are said once, in the
//! `#[utoipa::path]` of its handler. Handlers parse, call [`QueryService`] and write the answer;
//! they know no rule about traces.

mod audit;
mod change_reports;
mod comparisons;
mod encoding;
mod etag;
pub(crate) mod event_stream;
mod exception_groups;
mod export_body;
mod filters;
mod graph;
mod health;
mod jaeger_api;
mod live_logs;
mod log_analysis;
mod log_search;
mod name_lists;
pub(crate) mod problem;
mod prometheus;
mod red_metrics;
mod searching;
mod tempo;
mod traces;
mod transaction_routes;
mod unread_budget;
mod zipkin_api;

use ::http::{HeaderName, HeaderValue, header};
use axum::{
    Router,
    body::Bytes,
    middleware,
    routing::{MethodRouter, any, get},
};
use tower_http::{compression::CompressionLayer, set_header::SetResponseHeaderLayer};
use utoipa::{
    OpenApi,
    openapi::{RefOr, Schema},
};

pub use etag::ETag;
pub use live_logs::EndlessLogs;
pub use zipkin_api::zipkin_router;

use crate::QueryService;

/// The routes under `/api/v1`, its OpenAPI document included, under `/jaeger`, `/prometheus` and
/// `/tempo`, and gRPC's health check, complete with an answer for every other path there.
pub fn router(service: QueryService) -> Router {
    router_described_by(document(), service)
}

/// As [`router`], with a document that describes other endpoints too: those that the process adds
/// beside the returned routes.
pub fn router_described_by(
    mut document: utoipa::openapi::OpenApi,
    service: QueryService,
) -> Router {
    describe_responses(&mut document);
    drop_defaults(&mut document);
    let room = unread_budget::UnreadBudget::shared(&service);
    let json = document.to_json().expect("invariant: the document has only string keys");
    let json = Bytes::from(json);
    let openapi = move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], json));
    let routes = Router::new().route(OPENAPI_PATH, get(openapi));
    let routes = endpoints()
        .into_iter()
        .fold(routes, |routes, (path, endpoint)| routes.route(&path, endpoint));
    let routes = routes
        .route("/api/v1", any(problem::no_such_path))
        .route("/api/v1/", any(problem::no_such_path))
        .route("/api/v1/{*path}", any(problem::no_such_path))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .merge(health::routes())
        .merge(jaeger_api::routes())
        .merge(prometheus::routes())
        .merge(tempo::routes())
        .with_state(service)
        .layer(middleware::from_fn(etag::tag))
        .layer(middleware::from_fn_with_state(room, unread_budget::hold));
    compressed(routes)
}

/// These routes with what all answers of the API have, for those that the process adds: a tag, of
/// those that are not streamed, compression, and that nobody on the way keeps them.
pub fn with_api_headers<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    compressed(routes.layer(middleware::from_fn(etag::tag)))
}

/// These routes with what the answers of every API here have.
fn compressed<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .layer(CompressionLayer::new().gzip(true))
        .layer(always(header::CACHE_CONTROL, "no-store"))
        .layer(always(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// Responses have to have a description: that of what is answered is the operation's own.
fn describe_responses(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let summary = operation.summary.clone().unwrap_or_default();
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description.clone_from(&summary);
                }
            }
        }
    }
}

/// Takes the defaults of reading out of the schemas of what is only written: they are those of the
/// fields in memory, where a 64-bit number is no text.
fn drop_defaults(document: &mut utoipa::openapi::OpenApi) {
    let Some(components) = &mut document.components else { return };
    for schema in components.schemas.values_mut() {
        let RefOr::T(Schema::Object(object)) = schema else { continue };
        for property in object.properties.values_mut() {
            match property {
                RefOr::T(Schema::Object(property)) => property.default = None,
                RefOr::T(Schema::Array(property)) => property.default = None,
                RefOr::T(Schema::OneOf(property)) => property.default = None,
                RefOr::T(Schema::AllOf(property)) => property.default = None,
                _ => {}
            }
        }
    }
}

/// The description of the API, made from its handlers and types.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    QueryApi::openapi()
}

/// Where [`document`] is served.
const OPENAPI_PATH: &str = "/api/v1/openapi.json";

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Tidings",
        description = "Assembled traces, search, transactions and logs. JSON in OTLP's manner: \
                       lower camel case, hex ids, 64-bit nanoseconds as strings.",
    ),
    paths(
        traces::search,
        traces::trace,
        traces::skeleton,
        traces::find,
        traces::span,
        traces::otlp,
        transaction_routes::kinds,
        transaction_routes::transaction,
        change_reports::changes,
        change_reports::deployments,
        red_metrics::red,
        graph::graph,
        red_metrics::heatmap,
        exception_groups::exceptions,
        exception_groups::transactions,
        comparisons::explain,
        comparisons::compare,
        comparisons::repeats,
        traces::links,
        log_analysis::histogram,
        log_analysis::patterns,
        log_analysis::stats,
        log_search::search,
        log_search::of_trace,
        live_logs::tail,
        live_logs::context,
        name_lists::services,
        name_lists::operations,
        name_lists::attribute_keys,
        name_lists::attribute_values,
        transaction_routes::resolve,
        audit::audit,
        audit::queries,
    ),
    components(schemas(
        tidings_proto::api::ProblemDetails,
        tidings_proto::api::SearchProgress,
        tidings_proto::api::FoundTraces
    ))
)]
struct QueryApi;

/// Every documented endpoint with its path.
fn endpoints() -> Vec<(String, MethodRouter<QueryService>)> {
    vec![
        endpoint::<traces::__path_search>(get(traces::search)),
        endpoint::<traces::__path_trace>(get(traces::trace)),
        endpoint::<traces::__path_skeleton>(get(traces::skeleton)),
        endpoint::<traces::__path_find>(get(traces::find)),
        endpoint::<traces::__path_span>(get(traces::span)),
        endpoint::<traces::__path_otlp>(get(traces::otlp)),
        endpoint::<transaction_routes::__path_kinds>(get(transaction_routes::kinds)),
        endpoint::<change_reports::__path_changes>(get(change_reports::changes)),
        endpoint::<change_reports::__path_deployments>(get(change_reports::deployments)),
        endpoint::<red_metrics::__path_red>(get(red_metrics::red)),
        endpoint::<graph::__path_graph>(get(graph::graph)),
        endpoint::<red_metrics::__path_heatmap>(get(red_metrics::heatmap)),
        endpoint::<exception_groups::__path_exceptions>(get(exception_groups::exceptions)),
        endpoint::<exception_groups::__path_transactions>(get(exception_groups::transactions)),
        endpoint::<comparisons::__path_explain>(get(comparisons::explain)),
        endpoint::<comparisons::__path_compare>(get(comparisons::compare)),
        endpoint::<comparisons::__path_repeats>(get(comparisons::repeats)),
        endpoint::<traces::__path_links>(get(traces::links)),
        endpoint::<log_analysis::__path_histogram>(get(log_analysis::histogram)),
        endpoint::<log_analysis::__path_patterns>(get(log_analysis::patterns)),
        endpoint::<log_analysis::__path_stats>(get(log_analysis::stats)),
        endpoint::<transaction_routes::__path_transaction>(get(transaction_routes::transaction)),
        endpoint::<log_search::__path_search>(get(log_search::search)),
        endpoint::<log_search::__path_of_trace>(get(log_search::of_trace)),
        endpoint::<live_logs::__path_tail>(get(live_logs::tail)),
        endpoint::<live_logs::__path_context>(get(live_logs::context)),
        endpoint::<name_lists::__path_services>(get(name_lists::services)),
        endpoint::<name_lists::__path_operations>(get(name_lists::operations)),
        endpoint::<name_lists::__path_attribute_keys>(get(name_lists::attribute_keys)),
        endpoint::<name_lists::__path_attribute_values>(get(name_lists::attribute_values)),
        endpoint::<transaction_routes::__path_resolve>(get(transaction_routes::resolve)),
        endpoint::<audit::__path_audit>(get(audit::audit)),
        endpoint::<audit::__path_queries>(get(audit::queries)),
    ]
}

fn endpoint<P: utoipa::Path>(
    method: MethodRouter<QueryService>,
) -> (String, MethodRouter<QueryService>) {
    (P::path(), method)
}

fn always(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests;
