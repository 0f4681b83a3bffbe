//! `/api/v1/erasures`: erasing for good, and its progress.
//!
//! An erasure rewrites files, which may take long, so it begins with one request and others ask for
//! its progress. The work and its records are the store's. Like other changes it is refused to
//! pages of another origin and, where keys are needed, to all but admins. The value of an attribute
//! is in the body of the request and nowhere else: not in an address, a record, a log or an answer.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tidings_apis::ProblemResponse;
use tidings_proto::{
    UnixNanos,
    api::{
        ErasedAttribute, ErasureList, ErasureRequest, ErasureStatus, ErasureView, ProblemDetails,
    },
};
use tidings_storage::{
    AttributeFilter, Clock, Erasure, ErasureRecord, ErasureState, StorageError, Store,
};
use utoipa::OpenApi;

use super::{
    audit::AuditDetail,
    json_body::{BodyRefusal, read_json},
    problem::{InvalidParameter, store_failure, without_parameters},
    status::wrong_method,
};
use crate::audit_log;

const ERASURES: &str = "/api/v1/erasures";
/// Maximum bytes of the body: values of attributes may be long.
const BODY_BYTES_MAX: usize = 1 << 20;

/// State of these routes.
#[derive(Debug, Clone)]
struct Erasing {
    store: Store,
    clock: Arc<dyn Clock>,
}

/// API description of these routes.
#[derive(OpenApi)]
#[openapi(
    paths(erasures, erasure, erase),
    components(schemas(
        ErasureList,
        ErasureView,
        ErasureStatus,
        ErasureRequest,
        ErasedAttribute,
        ProblemDetails
    ))
)]
pub(super) struct ErasuresApi;

/// The routes.
pub(crate) fn routes(store: Store, clock: Arc<dyn Clock>) -> Router {
    let routes = Router::new()
        .route(ERASURES, get(erasures).post(erase))
        .route("/api/v1/erasures/{id}", get(erasure))
        .method_not_allowed_fallback(wrong_method)
        .with_state(Erasing { store, clock });
    tidings_apis::with_api_headers(routes)
}

/// The erasures, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/erasures",
    tag = "erasures",
    operation_id = "listErasures",
    responses(
        (status = 200, body = ErasureList),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 503, body = ProblemDetails, content_type = "application/problem+json", description = "the records cannot be read now")
    )
)]
async fn erasures(
    State(erasing): State<Erasing>,
    uri: Uri,
) -> Result<Json<ErasureList>, ErasureRefusal> {
    without_parameters(&uri)?;
    let erasures = erasing.store.erasures().await?.into_iter().map(view).collect();
    Ok(Json(ErasureList { erasures }))
}

/// One erasure: how far it is, or how it ended.
#[utoipa::path(
    get,
    path = "/api/v1/erasures/{id}",
    tag = "erasures",
    operation_id = "getErasure",
    params(("id" = String, Path, description = "the `id` of an erasure", pattern = "^[0-9]{1,20}$")),
    responses(
        (status = 200, body = ErasureView),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 404, body = ProblemDetails, content_type = "application/problem+json", description = "there is no such erasure"),
        (status = 503, body = ProblemDetails, content_type = "application/problem+json", description = "the record cannot be read now")
    )
)]
async fn erasure(
    State(erasing): State<Erasing>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<ErasureView>, ErasureRefusal> {
    without_parameters(&uri)?;
    let id = path.ok().map(|Path(id)| id).unwrap_or_default();
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let begun = id.parse().ok().filter(|_| is_number).map(UnixNanos);
    let found = match begun {
        Some(begun) => erasing.store.erasure(begun).await?,
        // A number beyond the range of ids is the id of no erasure.
        None if is_number => None,
        None => {
            let detail = "it must be the `id` of an erasure, in decimal digits";
            return Err(ErasureRefusal::parameter("id", detail));
        }
    };
    found.map(view).map(Json).ok_or(ErasureRefusal::Unknown(id))
}

/// Erases a trace, or all spans and log records with an attribute, for good.
///
/// Telemetry acknowledged before the request is erased, whatever is pinned, and none that comes when
/// it has ended.
/// One erasure at a time; it goes on when the client goes away, beside ingest and queries.
#[utoipa::path(
    post,
    path = "/api/v1/erasures",
    tag = "erasures",
    operation_id = "beginErasure",
    request_body(content = ErasureRequest, content_type = "application/json"),
    responses(
        (status = 202, body = ErasureView, description = "It has begun: ask at `Location` how far it is"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 408, body = ProblemDetails, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "an erasure is under way"),
        (status = 413, body = ProblemDetails, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemDetails, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 500, body = ProblemDetails, content_type = "application/problem+json", description = "a table is damaged: nothing is erased"),
        (status = 503, body = ProblemDetails, content_type = "application/problem+json", description = "storage cannot be changed now")
    )
)]
async fn erase(
    State(erasing): State<Erasing>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ErasureRefusal> {
    without_parameters(&uri)?;
    let clock = erasing.clock.as_ref();
    let request = read_json::<ErasureRequest>(&headers, body, BODY_BYTES_MAX, clock).await?;
    let what = asked(request.unwrap_or_default())?;
    let told = audit_log::describe_erasure(&what);
    let begun = view(erasing.store.begin_erasure(what).await?);
    let location = format!("{ERASURES}/{}", begun.id);
    let detail = AuditDetail::Change(format!("{told}, erasure {}", begun.id));
    let mut response = (StatusCode::ACCEPTED, Json(begun)).into_response();
    response.extensions_mut().insert(detail);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn asked(request: ErasureRequest) -> Result<Erasure, ErasureRefusal> {
    match request {
        ErasureRequest { trace_id: Some(trace), attribute: None } => Ok(Erasure::Trace(trace)),
        ErasureRequest { trace_id: None, attribute: Some(ErasedAttribute { key, value }) } => {
            if key.is_empty() {
                let detail = "`attribute` needs the key of an attribute";
                return Err(ErasureRefusal::parameter("body", detail));
            }
            Ok(Erasure::Attribute(AttributeFilter::everywhere(key, value)))
        }
        _ => {
            let detail = "one of `traceId` and `attribute` must say what is erased";
            Err(ErasureRefusal::parameter("body", detail))
        }
    }
}

fn view(record: ErasureRecord) -> ErasureView {
    ErasureView {
        id: record.begun_unix_nanos.to_string(),
        state: match record.state {
            ErasureState::Running => ErasureStatus::Running,
            ErasureState::Done => ErasureStatus::Done,
            ErasureState::Failed => ErasureStatus::Failed,
            ErasureState::Interrupted => ErasureStatus::Interrupted,
        },
        trace_id: record.trace(),
        attribute_key: record.attribute_key().map(str::to_owned),
        begun_unix_nano: UnixNanos(record.begun_unix_nanos),
        ended_unix_nano: record.ended_unix_nanos.map(UnixNanos),
        spans: record.spans,
        log_records: record.log_records,
        searched_files: record.searched_files,
        files: record.files,
        rewritten_files: record.rewritten_files,
        left_files: record.left_files,
        pinned_traces: record.pinned_traces,
        unpinned_traces: record.unpinned_traces,
        unread_files: record.unread_files,
        reason: record.reason,
    }
}

/// Reasons why a request is refused.
#[derive(Debug)]
enum ErasureRefusal {
    Parameter(InvalidParameter),
    Body(BodyRefusal),
    Unknown(String),
    Store(StorageError),
}

impl ErasureRefusal {
    fn parameter(name: &str, detail: &str) -> Self {
        Self::Parameter(InvalidParameter::new(name, detail))
    }
}

impl From<InvalidParameter> for ErasureRefusal {
    fn from(refusal: InvalidParameter) -> Self {
        Self::Parameter(refusal)
    }
}

impl From<BodyRefusal> for ErasureRefusal {
    fn from(refusal: BodyRefusal) -> Self {
        Self::Body(refusal)
    }
}

impl From<StorageError> for ErasureRefusal {
    fn from(error: StorageError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for ErasureRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::Parameter(refusal) => refusal.into_response(),
            Self::Body(refusal) => refusal.into_response(),
            Self::Unknown(id) => {
                let detail = format!("there is no erasure {id}; see {ERASURES}");
                ProblemResponse::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
                    .into_response()
            }
            Self::Store(error @ StorageError::ErasureRunning { .. }) => {
                let title = "an erasure is under way";
                ProblemResponse::new(
                    StatusCode::CONFLICT,
                    "erasure-running",
                    title,
                    error.to_string(),
                )
                .into_response()
            }
            Self::Store(error) => store_failure(&error, "erasures"),
        }
    }
}
