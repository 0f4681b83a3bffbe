//! Zipkin's v2 API for reading, on the address that its reporters send to.
//!
//! Answers have Zipkin's shapes, statuses and error texts. The same paths are available under
//! `/zipkin`, where Zipkin's own UI expects them. That UI is not included.

mod responses;
mod search_parameters;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ::http::{Method, StatusCode, Uri, header};
use axum::{
    Router,
    extract::{FromRef, RawPathParams, State},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value as Json, json};
use tidings_query::{Admission, QueryError, QueryService};

use self::responses::{ZipkinError, ZipkinResult};
use super::{compressed, unread_budget};
use crate::{params::raw::RawParameters, zipkin};

/// The routes. Every other path has an answer, too.
pub fn zipkin_router(service: QueryService) -> Router {
    let room = unread_budget::UnreadBudget::shared(&service);
    let api = || {
        Router::new()
            .route("/api/v2/services", get(services))
            .route("/api/v2/spans", get(spans))
            .route("/api/v2/remoteServices", get(remote_services))
            .route("/api/v2/traces", get(traces))
            .route("/api/v2/trace/{id}", get(trace))
            .route("/api/v2/traceMany", get(trace_many))
            .route("/api/v2/dependencies", get(dependencies))
            .route("/api/v2/autocompleteKeys", get(keys))
            .route("/api/v2/autocompleteValues", get(values))
            .route("/config.json", get(config))
            .route("/health", get(health))
            .route("/actuator/health", get(health))
            .route("/info", get(info))
            .route("/actuator/info", get(info))
    };
    let routes = api()
        .nest("/zipkin", api())
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Zipkin { service, services_seen: Arc::default() })
        .layer(middleware::from_fn_with_state(room, unread_budget::reserve_body));
    compressed(routes)
}

/// State shared by the handlers.
#[derive(Debug, Clone)]
struct Zipkin {
    service: QueryService,
    /// Number of services at the last request; from four on, responses with names may be cached.
    services_seen: Arc<AtomicUsize>,
}

impl FromRef<Zipkin> for QueryService {
    fn from_ref(zipkin: &Zipkin) -> Self {
        zipkin.service.clone()
    }
}

/// Minimum number of names with which a client may cache a list.
const CACHED_FROM: usize = 4;

async fn services(State(zipkin): State<Zipkin>) -> ZipkinResult {
    let (service, admission) = zipkin.service.holding_permits();
    let names = service.ask(zipkin::services).await?;
    zipkin.services_seen.store(names.len(), Ordering::Relaxed);
    let cached = names.len() >= CACHED_FROM;
    responses::names(admission, names, cached).await
}

impl Zipkin {
    fn names_are_cached(&self) -> bool {
        self.services_seen.load(Ordering::Relaxed) >= CACHED_FROM
    }
}

async fn spans(State(zipkin): State<Zipkin>, uri: Uri) -> ZipkinResult {
    let of = search_parameters::required(&RawParameters::read(&uri)?, "serviceName")?;
    let (service, admission) = zipkin.service.holding_permits();
    let names = service.ask(move |reader| zipkin::span_names(reader, &of)).await?;
    responses::names(admission, names, zipkin.names_are_cached()).await
}

async fn remote_services(State(zipkin): State<Zipkin>, uri: Uri) -> ZipkinResult {
    let of = search_parameters::required(&RawParameters::read(&uri)?, "serviceName")?;
    let (service, admission) = zipkin.service.holding_permits();
    let names = service.ask(move |reader| zipkin::remote_services(reader, &of)).await?;
    responses::names(admission, names, zipkin.names_are_cached()).await
}

async fn keys(State(service): State<QueryService>) -> ZipkinResult {
    let (service, admission) = service.holding_permits();
    responses::names(admission, service.ask(zipkin::tag_keys).await?, true).await
}

async fn values(State(service): State<QueryService>, uri: Uri) -> ZipkinResult {
    let key = search_parameters::required(&RawParameters::read(&uri)?, "key")?;
    let (service, admission) = service.holding_permits();
    let values = service.ask(move |reader| zipkin::tag_values(reader, &key)).await?;
    let cached = values.len() >= CACHED_FROM;
    responses::names(admission, values, cached).await
}

/// Returns traces with the parts of each span as they were sent. Merging them is left to the
/// client.
async fn traces(State(service): State<QueryService>, uri: Uri) -> ZipkinResult {
    let given = RawParameters::read(&uri)?;
    let (service, admission) = service.holding_permits();
    let found = service
        .ask(move |reader| {
            // The parameters are parsed inside, because the default end is the arrival of the
            // query.
            let request = search_parameters::request(&given, reader.now);
            let request = request.map_err(|wrong| QueryError::parameter("", wrong))?;
            zipkin::trace_search::find(reader, &request)
        })
        .await?;
    responses::traces(admission, found).await
}

/// Returns one trace with the parts of each span merged; `?raw` returns them as they were sent.
async fn trace(State(service): State<QueryService>, path: RawPathParams, uri: Uri) -> ZipkinResult {
    let raw = RawParameters::read(&uri)?.texts("raw").next().is_some_and(|raw| raw != "false");
    let id = path.iter().find(|(name, _)| *name == "id").map_or("", |(_, id)| id);
    let id = search_parameters::trace_id(id.trim()).map_err(ZipkinError::invalid)?;
    let (service, admission) = service.holding_permits();
    let spans = service.ask(move |reader| {
        let spans = zipkin::trace_search::get(reader, id)?;
        Ok(if raw { spans } else { zipkin::merge(spans) })
    });
    let spans = spans.await?;
    if spans.is_empty() {
        let text = tidings_proto::jaeger::trace_id(id.as_bytes());
        return Err(ZipkinError::new(StatusCode::NOT_FOUND, format!("{text} not found")));
    }
    responses::json(admission, spans, true).await
}

async fn trace_many(State(service): State<QueryService>, uri: Uri) -> ZipkinResult {
    let ids =
        search_parameters::trace_ids(&RawParameters::read(&uri)?).map_err(ZipkinError::invalid)?;
    let (service, admission) = service.holding_permits();
    let found = service.ask(move |reader| zipkin::trace_search::get_many(reader, &ids)).await?;
    responses::traces(admission, found).await
}

async fn dependencies(State(service): State<QueryService>, uri: Uri) -> ZipkinResult {
    let range = search_parameters::dependencies(&RawParameters::read(&uri)?)
        .map_err(ZipkinError::invalid)?;
    let (service, admission) = service.holding_permits();
    let counted = service.ask(move |reader| zipkin::dependency_links::links(reader, range)).await?;
    responses::json(admission, counted.0, counted.1).await
}

/// Configuration for Zipkin's UI.
async fn config() -> ZipkinResult {
    let config = json!({
        "environment": "",
        "queryLimit": search_parameters::LIMIT_DEFAULT,
        "defaultLookback": 900_000,
        "searchEnabled": true,
        "logsUrl": Json::Null,
        "supportUrl": Json::Null,
        "archivePostUrl": Json::Null,
        "archiveUrl": Json::Null,
        "dependency": {"enabled": true, "lowErrorRate": 0.5, "highErrorRate": 0.75},
        "basepath": "/zipkin",
    });
    responses::json(Admission::default(), config, true).await
}

/// Health check: reports whether spans can be read.
async fn health(State(service): State<QueryService>) -> Response {
    let name = "TidingsStorage{}";
    let health = |status: &str, storage: Json| json!({"status": status, "zipkin": {"status": status, "details": {name: storage}}});
    let (code, body) = match service.ask(|reader| reader.check()).await {
        Ok(()) => (StatusCode::OK, health("UP", json!({"status": "UP"}))),
        Err(error) => {
            let details = json!({"error": error.to_string()});
            let storage = json!({"status": "DOWN", "details": details});
            (StatusCode::SERVICE_UNAVAILABLE, health("DOWN", storage))
        }
    };
    const JSON_UTF8: &str = "application/json; charset=utf-8";
    (code, [(header::CONTENT_TYPE, JSON_UTF8)], body.to_string()).into_response()
}

async fn info() -> ZipkinResult {
    let version = env!("CARGO_PKG_VERSION");
    let info = json!({"zipkin": {"version": version, "commit": ""}});
    responses::json(Admission::default(), info, true).await
}

async fn no_such_path(uri: Uri) -> ZipkinError {
    let message = match uri.path() {
        "/" | "/zipkin" | "/zipkin/" => {
            "Zipkin's UI is not part of this server, its API is: see /api/v2/traces. The UI of this \
             server has an address of its own, usually port 8434."
                .to_owned()
        }
        path => format!("nothing at {path:?}: see /api/v2/traces, and send spans to /api/v2/spans"),
    };
    ZipkinError::new(StatusCode::NOT_FOUND, message)
}

async fn method_not_allowed(method: Method, uri: Uri) -> ZipkinError {
    let message = format!("{method} is not allowed on {}; use GET", uri.path());
    ZipkinError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
