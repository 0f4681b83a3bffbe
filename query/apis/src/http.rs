//! The native API over HTTP: routes, headers, the OpenAPI document. The APIs of other systems are
//! in modules of their own.
//!
//! Owns the list of endpoints, in which each module is one line. A route's path and parameters are
//! declared once, in the `#[utoipa::path]` of its handler. Handlers parse, call [`QueryService`]
//! and write the answer; they know no rule about traces.

/// Defines the endpoints of a module from its handlers for GET. After each handler stands the type
/// that `#[utoipa::path]` makes of it: `__path_` and the name of the handler.
///
/// Routes use the paths of these types only. Descriptions with the schemas of all types are much
/// code, which the program leaves out, because nothing in it calls `descriptions`.
macro_rules! endpoints {
    ($($handler:ident: $description:ident),+ $(,)?) => {
        /// Returns the endpoints of this module.
        pub(super) fn endpoints() -> Vec<$crate::http::RouteEntry> {
            vec![$(
                $crate::http::RouteEntry {
                    path: <$description as utoipa::Path>::path(),
                    method: axum::routing::get($handler),
                }
            ),+]
        }

        /// Returns the descriptions of these endpoints, each with its types alone.
        pub(super) fn descriptions() -> Vec<utoipa::openapi::OpenApi> {
            vec![$({
                #[derive(utoipa::OpenApi)]
                #[openapi(paths($handler))]
                struct Described;
                <Described as utoipa::OpenApi>::openapi()
            }),+]
        }
    };
}

/// Calls a function of every module with documented endpoints, and chains what they return.
macro_rules! of_every_module {
    ($function:ident) => {
        [
            audit::$function(),
            change_reports::$function(),
            comparisons::$function(),
            exception_groups::$function(),
            graph::$function(),
            live_logs::$function(),
            log_analysis::$function(),
            log_search::$function(),
            name_lists::$function(),
            red_metrics::$function(),
            traces::$function(),
            transaction_routes::$function(),
        ]
        .into_iter()
        .flatten()
    };
}

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
mod grpc_calls;
mod health;
mod jaeger_api;
mod live_logs;
mod log_analysis;
mod log_search;
mod name_lists;
pub(crate) mod problem;
mod prometheus;
mod red_metrics;
mod reflection;
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
use tidings_query::QueryService;
use tower_http::{compression::CompressionLayer, set_header::SetResponseHeaderLayer};
use utoipa::{
    OpenApi,
    openapi::{RefOr, Schema},
};

pub use etag::ETag;
pub use grpc_calls::{read_rpc_request, require_one_message};
pub use health::GRPC_SERVICES;
pub use live_logs::EndlessLogs;
pub use unread_budget::BodyMemory;
pub use zipkin_api::zipkin_router;

/// The routes under `/api/v1` with its OpenAPI document, under `/jaeger`, `/prometheus` and
/// `/tempo`, and gRPC's health check and reflection. Every other path there has an answer, too.
pub fn router(service: QueryService) -> Router {
    let document = complete_document(document()).to_json();
    let document = document.expect("invariant: the document has only string keys");
    router_described_by(Bytes::from(document), service)
}

/// Builds the routes of [`router`] with a document in JSON that also describes endpoints of the
/// process. Nothing of the document is built here.
pub fn router_described_by(document: Bytes, service: QueryService) -> Router {
    let room = unread_budget::UnreadBudget::shared(&service);
    let head = [(header::CONTENT_TYPE, "application/json")];
    let openapi = move || std::future::ready((head, document));
    let routes = Router::new().route(OPENAPI_PATH, get(openapi));
    let routes = endpoints()
        .into_iter()
        .fold(routes, |routes, RouteEntry { path, method }| routes.route(&path, method));
    let routes = routes
        .route("/api/v1", any(problem::no_such_path))
        .route("/api/v1/", any(problem::no_such_path))
        .route("/api/v1/{*path}", any(problem::no_such_path))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .merge(health::routes())
        .merge(jaeger_api::routes())
        .merge(prometheus::routes())
        .merge(reflection::routes())
        .merge(tempo::routes())
        .with_state(service)
        .layer(middleware::from_fn(etag::tag))
        .layer(middleware::from_fn_with_state(room, unread_budget::reserve_body));
    compressed(routes)
}

/// Counts the answers of these routes among the unread answers of the service.
pub fn with_unread_budget(routes: Router, service: &QueryService) -> Router {
    let room = unread_budget::UnreadBudget::shared(service);
    routes.layer(middleware::from_fn_with_state(room, unread_budget::reserve_body))
}

/// Adds the common properties of the API's answers to routes of the process. These are compression,
/// an entity tag for answers that are not streamed, and headers that forbid caching on the way.
pub fn with_api_headers<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    compressed(routes.layer(middleware::from_fn(etag::tag)))
}

/// Adds the common properties of the answers of all APIs here to these routes.
fn compressed<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .layer(CompressionLayer::new().gzip(true))
        .layer(always(header::CACHE_CONTROL, "no-store"))
        .layer(always(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// Completes the description of the API as it is served: every response has a description, and no
/// type that is only written has default values.
#[must_use]
pub fn complete_document(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    describe_responses(&mut document);
    drop_defaults(&mut document);
    document
}

/// Adds the required descriptions of responses. The description of a success is the operation's
/// own.
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

/// Removes default values from the schemas of types that are only written. They are the defaults of
/// the fields in memory, where a 64-bit number is not a text.
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
    of_every_module!(descriptions).fold(QueryApi::openapi(), utoipa::openapi::OpenApi::merge_from)
}

/// Path at which [`document`] is served.
const OPENAPI_PATH: &str = "/api/v1/openapi.json";

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Tidings",
        description = "Assembled traces, search, transactions and logs. JSON in OTLP's manner: \
                       lower camel case, hex ids, 64-bit nanoseconds as strings.",
    ),
    components(schemas(
        tidings_proto::api::ProblemDetails,
        tidings_proto::api::SearchProgress,
        tidings_proto::api::FoundTraces
    ))
)]
struct QueryApi;

/// Every documented endpoint.
fn endpoints() -> Vec<RouteEntry> {
    of_every_module!(endpoints).collect()
}

/// A documented endpoint.
struct RouteEntry {
    path: String,
    method: MethodRouter<QueryService>,
}

fn always(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests;
