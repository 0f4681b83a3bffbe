//! `/api/v1/pins` and `/api/v1/traces/{traceId}/pin`: the traces that are kept whatever their age.
//!
//! The routes are the process's and not the query service's, which only reads; the pins are the
//! store's. They refuse pages of another origin, even of one that may read (`guard`).

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use tidings_apis::ProblemResponse;
use tidings_proto::{
    TraceId,
    api::{PinList, PinRequest, PinView, ProblemDetails},
};
use tidings_storage::{Clock, PINS_MAX, Pin, StorageError, Store};
use utoipa::OpenApi;

use super::{
    json_body::{BODY_BYTES_MAX, BodyRefusal, read_json},
    problem::{InvalidParameter, store_failure, without_parameters},
    status::wrong_method,
};

/// State of these routes.
#[derive(Debug, Clone)]
struct Pinning {
    store: Store,
    clock: Arc<dyn Clock>,
}

/// API description of these routes.
#[derive(OpenApi)]
#[openapi(
    paths(pins, pin, unpin),
    components(schemas(PinList, PinView, PinRequest, ProblemDetails))
)]
pub(super) struct PinsApi;

/// The routes.
pub(crate) fn routes(store: Store, clock: Arc<dyn Clock>) -> Router {
    let routes = Router::new()
        .route("/api/v1/pins", get(pins))
        .route("/api/v1/traces/{traceId}/pin", put(pin).delete(unpin))
        .method_not_allowed_fallback(wrong_method)
        .with_state(Pinning { store, clock });
    tidings_apis::with_api_headers(routes)
}

/// The pinned traces, the last one that was pinned first.
#[utoipa::path(
    get,
    path = "/api/v1/pins",
    tag = "pins",
    operation_id = "listPins",
    responses(
        (status = 200, body = PinList),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 500, body = ProblemDetails, content_type = "application/problem+json", description = "it is not known what is pinned")
    )
)]
async fn pins(State(pinning): State<Pinning>, uri: Uri) -> Result<Json<PinList>, PinRefusal> {
    without_parameters(&uri)?;
    let pins = pinning.store.pins()?.into_iter().map(view).collect();
    Ok(Json(PinList { pins, limit: PINS_MAX as u64 }))
}

/// Pins a trace: retention keeps all of its spans and log records, until it is unpinned.
///
/// Whatever its age and the size of the tables, and what comes later as well. Pinning again changes
/// the note. Erasure is not held up by a pin.
#[utoipa::path(
    put,
    path = "/api/v1/traces/{traceId}/pin",
    tag = "pins",
    operation_id = "pinTrace",
    params(("traceId" = String, Path, description = "32 hex digits in either case", min_length = 32, max_length = 32, pattern = "^(?!0+$)[0-9a-fA-F]{32}$")),
    request_body(content = Option<PinRequest>, description = "A note, or nothing", content_type = "application/json"),
    responses(
        (status = 200, body = PinView, description = "It was pinned already and has this note now"),
        (status = 201, body = PinView, description = "It is pinned, durably"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 404, body = ProblemDetails, content_type = "application/problem+json", description = "nothing is stored of the trace"),
        (status = 408, body = ProblemDetails, content_type = "application/problem+json", description = "the body took too long"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "no more traces can be pinned"),
        (status = 413, body = ProblemDetails, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemDetails, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 500, body = ProblemDetails, content_type = "application/problem+json", description = "it is not known what is pinned")
    )
)]
async fn pin(
    State(pinning): State<Pinning>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, PinRefusal> {
    let trace = trace(path, &uri)?;
    let clock = pinning.clock.as_ref();
    let request = read_json::<Option<PinRequest>>(&headers, body, BODY_BYTES_MAX, clock).await?;
    let note = request.flatten().unwrap_or_default().note;
    let (pin, is_new) = pinning.store.pin(trace, note).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view(pin))).into_response())
}

/// Unpins a trace: its age counts again.
#[utoipa::path(
    delete,
    path = "/api/v1/traces/{traceId}/pin",
    tag = "pins",
    operation_id = "unpinTrace",
    params(("traceId" = String, Path, description = "32 hex digits in either case", min_length = 32, max_length = 32, pattern = "^(?!0+$)[0-9a-fA-F]{32}$")),
    responses(
        (status = 204, description = "It is no longer pinned"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 404, body = ProblemDetails, content_type = "application/problem+json", description = "it is not pinned"),
        (status = 500, body = ProblemDetails, content_type = "application/problem+json", description = "it is not known what is pinned")
    )
)]
async fn unpin(
    State(pinning): State<Pinning>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<StatusCode, PinRefusal> {
    let trace = trace(path, &uri)?;
    match pinning.store.unpin(trace).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(PinRefusal::NotPinned(trace)),
    }
}

fn view(pin: Pin) -> PinView {
    PinView { trace_id: pin.trace_id, pinned_unix_nano: pin.pinned, note: pin.note }
}

/// Reads the trace id of a path. Only a whole id is accepted, because two traces may share half of
/// one.
fn trace(path: Result<Path<String>, PathRejection>, uri: &Uri) -> Result<TraceId, PinRefusal> {
    without_parameters(uri)?;
    let text = path.ok().map(|Path(text)| text).unwrap_or_default();
    text.parse()
        .map_err(|_| PinRefusal::parameter("traceId", "it must be a trace id of 32 hex digits"))
}

/// Reasons why a request is refused.
#[derive(Debug)]
enum PinRefusal {
    Parameter(InvalidParameter),
    Body(BodyRefusal),
    NotPinned(TraceId),
    Store(StorageError),
}

impl PinRefusal {
    fn parameter(name: &str, detail: &str) -> Self {
        Self::Parameter(InvalidParameter::new(name, detail))
    }
}

impl From<InvalidParameter> for PinRefusal {
    fn from(refusal: InvalidParameter) -> Self {
        Self::Parameter(refusal)
    }
}

impl From<BodyRefusal> for PinRefusal {
    fn from(refusal: BodyRefusal) -> Self {
        Self::Body(refusal)
    }
}

impl From<StorageError> for PinRefusal {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::LongNote { .. } => Self::parameter("note", &error.to_string()),
            error => Self::Store(error),
        }
    }
}

impl IntoResponse for PinRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::Parameter(refusal) => refusal.into_response(),
            Self::Body(refusal) => refusal.into_response(),
            Self::NotPinned(trace) => {
                let detail = format!("the trace {trace} is not pinned; see /api/v1/pins");
                ProblemResponse::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
                    .into_response()
            }
            Self::Store(error) => failure(&error),
        }
    }
}

/// Maps errors of the store to answers.
fn failure(error: &StorageError) -> Response {
    let detail = error.to_string();
    match error {
        StorageError::UnknownTrace { .. } => {
            ProblemResponse::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
                .into_response()
        }
        StorageError::TooManyPins { .. } => {
            let title = "no more traces can be pinned";
            ProblemResponse::new(StatusCode::CONFLICT, "too-many-pins", title, detail)
                .into_response()
        }
        error => store_failure(error, "pins"),
    }
}
