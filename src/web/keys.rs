//! `/api/v1/keys` and `/api/v1/session`: keys with their roles, and the session of a browser.
//!
//! Keys that may administer make and revoke keys ([`super::access`]): those of their own tenant,
//! and keys of the default tenant those of every tenant. A browser sends a key once and has a
//! session for it: a cookie that no script reads and that no other site sends.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Extension, Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{AppendHeaders, IntoResponse, Response},
    routing::{delete, get},
};
use tidings_access::{
    AccessPolicy, Caller, Credentials, KEYS_MAX, KeyFileError, KeyId, KeyRing, KeyState, Role,
    TENANT_KEYS_MAX, TenantName,
};
use tidings_apis::ProblemResponse;
use tidings_proto::{
    UnixNanos,
    api::{
        CreatedKey, EndedSessions, KeyList, KeyRequest, KeyRole, KeyView, ProblemDetails,
        SessionView, SignIn, SignedOut,
    },
};
use tidings_storage::{Clock, StorageError};
use tokio::task::spawn_blocking;
use utoipa::OpenApi;

use super::{
    access,
    audit::AuditDetail,
    json_body::{BODY_BYTES_MAX, BodyRefusal, read_json},
    problem::{InvalidParameter, without_parameters},
    sign_in::BrowserAccess,
    status::wrong_method,
};

/// The state of these routes.
#[derive(Debug, Clone)]
struct KeyRoutes {
    policy: AccessPolicy,
    clock: Arc<dyn Clock>,
    browsers: BrowserAccess,
}

/// The description of these routes for the API's document.
#[derive(OpenApi)]
#[openapi(
    paths(list_keys, create_key, revoke_key, end_sessions, get_session, sign_in, sign_out),
    components(schemas(
        CreatedKey,
        EndedSessions,
        KeyList,
        KeyRequest,
        KeyRole,
        KeyView,
        ProblemDetails,
        SessionView,
        SignIn,
        SignedOut
    ))
)]
pub(super) struct KeysApi;

/// Builds the routes.
pub(crate) fn routes(
    policy: AccessPolicy,
    clock: Arc<dyn Clock>,
    browsers: BrowserAccess,
) -> Router {
    let routes = Router::new()
        .route("/api/v1/keys", get(list_keys).post(create_key))
        .route("/api/v1/keys/{id}", delete(revoke_key))
        .route("/api/v1/keys/{id}/sessions", delete(end_sessions))
        .route("/api/v1/session", get(get_session).post(sign_in).delete(sign_out))
        .method_not_allowed_fallback(wrong_method)
        .with_state(KeyRoutes { policy, clock, browsers });
    tidings_apis::with_api_headers(routes)
}

/// Lists the keys of the tenant, for the default tenant those of all, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    tag = "keys",
    operation_id = "listKeys",
    responses(
        (status = 200, body = KeyList),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "keys are not required here")
    )
)]
async fn list_keys(
    State(routes): State<KeyRoutes>,
    caller: Option<Extension<Caller>>,
    uri: Uri,
) -> Result<Json<KeyList>, KeyRefusal> {
    without_parameters(&uri)?;
    let ring = routes.ring()?;
    let tenant = administered(caller.as_ref());
    let is_shown = |key: &KeyState| tenant.as_ref().is_none_or(|of| key.record.tenant == *of);
    let keys = ring.list().into_iter().filter(is_shown).map(view).collect();
    let limit = if tenant.is_some() { TENANT_KEYS_MAX } else { KEYS_MAX };
    Ok(Json(KeyList { keys, limit: limit as u64 }))
}

/// Makes a key, which is good at once. The answer is the only place where it is shown.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    tag = "keys",
    operation_id = "createKey",
    request_body = KeyRequest,
    responses(
        (status = 201, body = CreatedKey),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 403, body = ProblemDetails, content_type = "application/problem+json", description = "the key makes keys of its own tenant only"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "the name is taken, no more keys are possible, or keys are not required here"),
        (status = 413, body = ProblemDetails, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemDetails, content_type = "application/problem+json", description = "the body is not JSON"),
        (status = 500, body = ProblemDetails, content_type = "application/problem+json", description = "the file of keys cannot be used"),
        (status = 503, body = ProblemDetails, content_type = "application/problem+json", description = "the file of keys cannot be changed now; a key that was to be revoked is refused")
    )
)]
async fn create_key(
    State(routes): State<KeyRoutes>,
    caller: Option<Extension<Caller>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, KeyRefusal> {
    without_parameters(&uri)?;
    let clock = routes.clock.as_ref();
    let request: KeyRequest = required(read_json(&headers, body, BODY_BYTES_MAX, clock).await?)?;
    let end = request.expires_seconds.map(|seconds| {
        let nanos = seconds.saturating_mul(1_000_000_000);
        UnixNanos(routes.clock.now().0.saturating_add(nanos))
    });
    let (tenant, tenants) = tenants_of(&request, caller.as_ref())?;
    let request = tidings_access::KeyRequest {
        tenant,
        tenants,
        name: request.name,
        role: match request.role {
            KeyRole::Ingest => Role::Ingest,
            KeyRole::Read => Role::Read,
            KeyRole::Admin => Role::Admin,
        },
        service: request.service,
        expires_unix_nanos: end,
        bytes_per_second: request.bytes_per_second,
        bytes_per_day: request.bytes_per_day,
        requests_per_second: request.requests_per_second,
    };
    request.check(routes.clock.now()).map_err(KeyRefusal::File)?;
    let ring = routes.ring()?;
    let (token, record) = blocking(move || ring.create(request)).await?;
    tracing::info!(by = by(caller.as_ref()), key = %record.id, name = record.name, "key made");
    let detail = AuditDetail::Change(record.describe());
    let created = view(KeyState { record, uses: Default::default(), has_expired: false });
    let answer = CreatedKey { key: token.reveal().to_owned(), created };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, no_store, Extension(detail), Json(answer)).into_response())
}

/// Revokes a key: it is refused from now on, and so are the sessions that it began.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{id}",
    tag = "keys",
    operation_id = "revokeKey",
    params(("id" = String, Path, description = "the key's id, 8 hex digits", pattern = "^[0-9a-f]{8}$")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 404, body = ProblemDetails, content_type = "application/problem+json", description = "there is no such key"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "keys are not required here"),
        (status = 500, body = ProblemDetails, content_type = "application/problem+json", description = "the file of keys cannot be used"),
        (status = 503, body = ProblemDetails, content_type = "application/problem+json", description = "the file of keys cannot be changed now; a key that was to be revoked is refused")
    )
)]
async fn revoke_key(
    State(routes): State<KeyRoutes>,
    caller: Option<Extension<Caller>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, KeyRefusal> {
    without_parameters(&uri)?;
    let id = key_id(path)?.to_string();
    let ring = routes.ring()?;
    let tenant = administered(caller.as_ref());
    let revoked = blocking(move || ring.revoke(&id, tenant.as_ref())).await?;
    tracing::info!(by = by(caller.as_ref()), key = %revoked.id, name = revoked.name, "key revoked");
    let detail = AuditDetail::Change(revoked.describe());
    Ok((StatusCode::NO_CONTENT, Extension(detail)).into_response())
}

/// Ends every session of a key or of a subject of the issuer, whose id the audit log has, and refuses
/// the tokens that the subject has been issued up to now. A key stays good: it is revoked by itself.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{id}/sessions",
    tag = "keys",
    operation_id = "endSessions",
    params(("id" = String, Path, description = "the id of a key or a subject, 8 hex digits", pattern = "^[0-9a-f]{8}$")),
    responses(
        (status = 200, body = EndedSessions, description = "None is left; there may have been none"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "keys are not required here")
    )
)]
async fn end_sessions(
    State(routes): State<KeyRoutes>,
    caller: Option<Extension<Caller>>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, KeyRefusal> {
    without_parameters(&uri)?;
    let id = key_id(path)?;
    let tenant = administered(caller.as_ref());
    let (sessions, tokens) = routes.ring()?.end_sessions(id, tenant.as_ref());
    tracing::info!(by = by(caller.as_ref()), key = %id, sessions, tokens, "sessions ended");
    let detail = AuditDetail::Change(format!("key {id}, {sessions} sessions, {tokens} tokens"));
    let ended = EndedSessions { sessions: sessions as u64, tokens: tokens as u64 };
    Ok((Extension(detail), Json(ended)).into_response())
}

/// Says whose requests these are.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    tag = "keys",
    operation_id = "getSession",
    responses(
        (status = 200, body = SessionView),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter")
    )
)]
async fn get_session(
    caller: Option<Extension<Caller>>,
    uri: Uri,
) -> Result<Json<SessionView>, KeyRefusal> {
    without_parameters(&uri)?;
    Ok(Json(session_view(caller.as_ref().map(|Extension(caller)| caller))))
}

/// Begins a session: the cookie stands for the key for twelve hours, or until the server restarts.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    tag = "keys",
    operation_id = "signIn",
    request_body = SignIn,
    responses(
        (status = 200, body = SessionView),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (status = 409, body = ProblemDetails, content_type = "application/problem+json", description = "keys are not required here"),
        (status = 413, body = ProblemDetails, content_type = "application/problem+json", description = "the body is too large"),
        (status = 415, body = ProblemDetails, content_type = "application/problem+json", description = "the body is not JSON")
    )
)]
async fn sign_in(
    State(routes): State<KeyRoutes>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, KeyRefusal> {
    without_parameters(&uri)?;
    let clock = routes.clock.as_ref();
    let SignIn { key } = required(read_json(&headers, body, BODY_BYTES_MAX, clock).await?)?;
    let ring = routes.ring()?;
    let (token, caller) = match ring.sign_in(&key) {
        Ok(begun) => begun,
        Err(error) => return Ok(access::refuse(&headers, &error)),
    };
    // The session before it ends, so that a stranger who has seen its cookie cannot use it any
    // more.
    ring.sign_out(&headers, "");
    let cookie = routes.browsers.session_cookie(&headers, token.reveal());
    let view = session_view(Some(&caller));
    Ok((AppendHeaders([cookie]), Extension(caller), Json(view)).into_response())
}

/// Ends the session. That of a person whom an issuer knows ends there as well, at the address in the
/// answer.
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    tag = "keys",
    operation_id = "signOut",
    responses(
        (status = 200, body = SignedOut, description = "It has ended here, and the issuer has a page where it ends there"),
        (status = 204, description = "It has ended"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter")
    )
)]
async fn sign_out(
    State(routes): State<KeyRoutes>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, KeyRefusal> {
    without_parameters(&uri)?;
    let caller = routes.policy.identify(&headers, Credentials::KeysAndSessions).ok().flatten();
    let back_to = routes.browsers.url(&uri, &headers, "/");
    let issuer = routes.policy.ring().and_then(|ring| ring.sign_out(&headers, &back_to));
    let gone = AppendHeaders(BrowserAccess::without_session());
    let mut response = match issuer {
        Some(end_session_url) => (gone, Json(SignedOut { end_session_url })).into_response(),
        None => (StatusCode::NO_CONTENT, gone).into_response(),
    };
    if let Some(caller) = caller {
        response.extensions_mut().insert(caller);
    }
    Ok(response)
}

impl KeyRoutes {
    fn ring(&self) -> Result<Arc<KeyRing>, KeyRefusal> {
        self.policy.ring().map(Arc::clone).ok_or(KeyRefusal::NotRequired)
    }
}

fn key_id(path: Result<Path<String>, PathRejection>) -> Result<KeyId, KeyRefusal> {
    let id = path.ok().map(|Path(id)| id).unwrap_or_default();
    let is_id = id.len() == 8 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let id = KeyId::parse(&id).filter(|_| is_id);
    id.ok_or_else(|| KeyRefusal::parameter("id", "an id has 8 hex digits in lower case"))
}

/// Returns the one tenant whose keys the caller administers; `None` when it is every tenant.
fn administered(caller: Option<&Extension<Caller>>) -> Option<TenantName> {
    let Extension(caller) = caller?;
    let administers_all = caller.governs_tenants() && caller.tenant().is_default();
    (!administers_all).then(|| caller.tenant().clone())
}

/// Reads the tenants of a key that is to be made. Only callers who administer all tenants may name
/// another than their own.
fn tenants_of(
    request: &KeyRequest,
    caller: Option<&Extension<Caller>>,
) -> Result<(TenantName, Vec<TenantName>), KeyRefusal> {
    let of_caller = caller.map(|Extension(caller)| caller.tenant().clone()).unwrap_or_default();
    let own = administered(caller);
    let names_others = |of: &TenantName| {
        request.tenant.as_ref().is_some_and(|name| name != of.as_str())
            || !request.tenants.is_empty()
    };
    if own.as_ref().is_some_and(names_others) {
        return Err(KeyRefusal::OtherTenant);
    }
    let governs = caller.is_none_or(|Extension(caller)| caller.governs_tenants());
    if own.is_some_and(|own| own.is_default()) && !governs {
        return Err(KeyRefusal::OtherTenant);
    }
    let parse = |parameter: &str, name: &String| {
        name.parse().map_err(|reason: String| KeyRefusal::parameter(parameter, &reason))
    };
    let tenant = request.tenant.as_ref().map(|name| parse("tenant", name)).transpose()?;
    let tenants: Result<_, _> = request.tenants.iter().map(|name| parse("tenants", name)).collect();
    Ok((tenant.unwrap_or(of_caller), tenants?))
}

fn session_view(caller: Option<&Caller>) -> SessionView {
    SessionView {
        keys_required: caller.is_some(),
        name: caller.map(|caller| caller.name().to_owned()),
        role: caller.map(|caller| role(caller.role())),
        tenant: caller.map(|caller| caller.tenant().to_string()),
    }
}

fn view(KeyState { record, uses, has_expired }: KeyState) -> KeyView {
    KeyView {
        id: record.id.to_string(),
        role: role(record.role),
        name: record.name,
        tenant: record.tenant.to_string(),
        tenants: record.tenants.iter().map(ToString::to_string).collect(),
        service: record.service,
        bytes_per_second: record.bytes_per_second,
        bytes_per_day: record.bytes_per_day,
        requests_per_second: record.requests_per_second,
        created_unix_nano: record.created_unix_nanos,
        expires_unix_nano: record.expires_unix_nanos,
        has_expired,
        requests: uses.requests,
        refused: uses.refused,
        records: uses.records,
        bytes: uses.bytes,
        last_used_unix_nano: uses.last_used,
    }
}

fn role(role: Role) -> KeyRole {
    match role {
        Role::Ingest => KeyRole::Ingest,
        Role::Read => KeyRole::Read,
        Role::Admin => KeyRole::Admin,
    }
}

/// Names the caller of a change, for the log.
fn by(caller: Option<&Extension<Caller>>) -> String {
    caller.map(|Extension(caller)| format!("{} {}", caller.id(), caller.name())).unwrap_or_default()
}

fn required<T>(body: Option<T>) -> Result<T, KeyRefusal> {
    body.ok_or_else(|| KeyRefusal::parameter("body", "a JSON object is needed"))
}

/// Runs work that waits for the disk on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyFileError> + Send + 'static,
) -> Result<T, KeyRefusal> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(KeyRefusal::File),
        Err(_) => Err(KeyRefusal::Panicked),
    }
}

/// Reasons why a request is refused.
#[derive(Debug)]
enum KeyRefusal {
    Parameter(InvalidParameter),
    Body(BodyRefusal),
    NotRequired,
    OtherTenant,
    File(KeyFileError),
    Panicked,
}

impl KeyRefusal {
    fn parameter(name: &str, detail: &str) -> Self {
        Self::Parameter(InvalidParameter::new(name, detail))
    }
}

impl From<InvalidParameter> for KeyRefusal {
    fn from(refusal: InvalidParameter) -> Self {
        Self::Parameter(refusal)
    }
}

impl From<BodyRefusal> for KeyRefusal {
    fn from(refusal: BodyRefusal) -> Self {
        Self::Body(refusal)
    }
}

impl IntoResponse for KeyRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::Parameter(refusal) => refusal.into_response(),
            Self::Body(refusal) => refusal.into_response(),
            Self::NotRequired => {
                let detail = "this server asks nobody for a key: set require-keys = true first";
                let title = "keys are not required here";
                ProblemResponse::new(StatusCode::CONFLICT, "keys-not-required", title, detail)
                    .into_response()
            }
            Self::OtherTenant => {
                let detail = "the key makes keys of its own tenant, which choose no other";
                ProblemResponse::new(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "The key does not allow this",
                    detail,
                )
                .into_response()
            }
            Self::File(error) => failure(&error),
            Self::Panicked => {
                let detail = "the log says more";
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                ProblemResponse::new(status, "failed", "the request could not be answered", detail)
                    .into_response()
            }
        }
    }
}

/// Maps errors of the file of keys to answers.
fn failure(error: &KeyFileError) -> Response {
    let detail = error.to_string();
    match error {
        KeyFileError::Request(_) => InvalidParameter::new("body", detail).into_response(),
        KeyFileError::NameTaken(_) => {
            ProblemResponse::new(StatusCode::CONFLICT, "name-taken", "the name is taken", detail)
                .into_response()
        }
        KeyFileError::TooManyTenants { .. } => {
            let title = "no more tenants are possible";
            ProblemResponse::new(StatusCode::CONFLICT, "too-many-tenants", title, detail)
                .into_response()
        }
        KeyFileError::SeveralNamed(_) => ProblemResponse::new(
            StatusCode::CONFLICT,
            "several-named",
            "several keys have the name",
            detail,
        )
        .into_response(),
        KeyFileError::TooMany { .. } => ProblemResponse::new(
            StatusCode::CONFLICT,
            "too-many-keys",
            "no more keys are possible",
            detail,
        )
        .into_response(),
        KeyFileError::NotFound(_) => {
            ProblemResponse::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
                .into_response()
        }
        KeyFileError::Storage(StorageError::Locked { .. }) => {
            let status = StatusCode::CONFLICT;
            ProblemResponse::new(
                status,
                "keys-busy",
                "somebody else changes the keys now",
                "try again",
            )
            .into_response()
        }
        KeyFileError::Storage(_) | KeyFileError::NotWritten { .. } => {
            tracing::error!(%error, "the file of keys could not be changed");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let title = "the file of keys cannot be changed now";
            ProblemResponse::new(status, "unavailable", title, error.public_message())
                .with_retry_after(Some("5"))
                .into_response()
        }
        KeyFileError::Malformed { .. } | KeyFileError::NoRandomness => {
            tracing::error!(%error, "the file of keys could not be changed");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            ProblemResponse::new(
                status,
                "failed",
                "the file of keys cannot be used",
                "the log says more",
            )
            .into_response()
        }
    }
}
