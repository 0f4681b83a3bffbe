//! Checks the key of every request to the HTTP address, where keys are required, and leads the
//! request to the routes of its key's tenant.
//!
//! A route that no rule names needs a key that may read. A route of the native API that changes
//! something needs a key that may administer. So a new route is never open by being forgotten. `GET
//! /api/v1/session` needs a key that reads, and is limited, counted and recorded as other reads
//! are. The UI's files are open: they hold no telemetry, and the page that asks for a key is one of
//! them. Checking and leading are one step, so that no route has one without the other. For
//! Zipkin's read API the receiver checks the key, and this module leads.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tidings_access::{AccessError, AccessPolicy, Caller, Credentials, KeyRing, Role};
use tidings_apis::{ProblemResponse, rpc_retry_status, rpc_status};
use tidings_collector::{DestinationError, PeerAddress, ReadApi, ReplyBody};
use tidings_grpc::is_grpc;
use tidings_query::ClientId;
use tonic::Code;
use tower::ServiceExt;

use super::{audit::AuditDetail, listen::client_at, sign_in::BrowserAccess};
use crate::tenants::Tenants;

/// Refusals that replace the response of any route, with their reasons.
pub(super) const REFUSALS: [(StatusCode, &str); 3] = [
    (StatusCode::UNAUTHORIZED, "a key is needed, and there was none that is good"),
    (StatusCode::FORBIDDEN, "the key does not allow this"),
    (StatusCode::TOO_MANY_REQUESTS, "a limit of the key is used up: Retry-After has the seconds"),
];

/// The challenge to a request without a valid key. It is not Basic, with which a browser would ask
/// for a password in a window of its own.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"tidings\"");

/// Seconds after which to send a token again whose issuer could not be reached.
const ISSUER_RETRY_SECONDS: u32 = 10;

const API_PREFIX: &str = "/api/v1/";
const KEYS: &str = "/api/v1/keys";
const AUDIT: &str = "/api/v1/audit";
const ERASURES: &str = "/api/v1/erasures";
/// The native API's POST that reads.
const SQL: &str = "/api/v1/sql";
/// Sessions begin and end without a key; reading the session needs one.
const SESSION: &str = "/api/v1/session";
/// Answered without a key: probes, and the ways to sign in.
const OPEN: [&str; 4] = ["/live", "/ready", SESSION, "/api/v1/sign-in"];
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/";

/// Seconds after which to use a store again that is unavailable.
const RETRY_SECONDS: u32 = 10;

/// The keys, and the tenants that they lead to.
#[derive(Debug, Clone)]
pub(super) struct KeyedEntrance {
    pub(super) policy: AccessPolicy,
    pub(super) tenants: Tenants,
}

/// Returns the role that a request needs; `None` when it needs no key.
fn needed_role(method: &Method, path: &str) -> Option<Role> {
    let asks_who_one_is = path == SESSION && matches!(*method, Method::GET | Method::HEAD);
    if !asks_who_one_is && (OPEN.contains(&path) || path.starts_with(GRPC_HEALTH)) {
        return None;
    }
    let is_below = |resource: &str| {
        path.strip_prefix(resource).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_of_admins = is_below(KEYS) || is_below(ERASURES) || path == AUDIT;
    let is_for_admins = is_of_admins || is_change(method, path);
    Some(if is_for_admins { Role::Admin } else { Role::Read })
}

/// Reports whether a request changes something: it is to the native API and does more than read.
pub(super) fn is_change(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && path.starts_with(API_PREFIX)
        && path != SQL
}

/// Reports whether a request reads something that needs a key.
pub(super) fn is_read(method: &Method, path: &str) -> bool {
    needed_role(method, path).is_some() && !is_change(method, path)
}

/// Passes a request with a key of the needed role to the routes of its tenant, together with its
/// [`Caller`].
pub(super) async fn check_key(
    State(entry): State<KeyedEntrance>,
    request: Request,
    next: Next,
) -> Response {
    let Some(needed) = needed_role(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    const BROUGHT: Credentials = Credentials::KeysAndSessions;
    let consulted = entry.policy.consult(request.headers(), BROUGHT).await;
    let admitted = consulted.and_then(|()| entry.policy.admit(request.headers(), BROUGHT, needed));
    match (admitted, entry.policy.ring()) {
        (Ok(Some(caller)), Some(ring)) => {
            let live = |body| LiveBody::new(body, caller.clone(), Arc::clone(ring));
            let headers = request.headers().clone();
            let has_ended = Arc::new(AtomicBool::new(false));
            // A key that ends while its request arrives must not change anything.
            let request = request.map(|body| {
                let has_ended = Arc::clone(&has_ended);
                Body::new(LiveBody { has_ended, ..live(body) })
            });
            // A change that has begun is not broken off: its answer tells what was done.
            let is_broken_off = !is_change(request.method(), request.uri().path());
            let answering = answer(&entry.tenants, caller.clone(), request, next);
            let answered = tokio::select! {
                biased;
                () = ring.end_of(&caller), if is_broken_off => None,
                response = answering => Some(response),
            };
            let answered = answered.filter(|_| !has_ended.load(Relaxed));
            let mut response = match answered {
                Some(response) if is_broken_off => {
                    let response = response.map(|body| Body::new(live(body)));
                    with_rotated(&entry.policy, &headers, response)
                }
                Some(response) => with_rotated(&entry.policy, &headers, response),
                None => refuse(&headers, &AccessError::Unknown),
            };
            response.extensions_mut().insert(caller);
            response
        }
        (Ok(_), _) => next.run(request).await,
        (Err(error), _) => {
            let mut response = refuse(request.headers(), &error);
            let known = entry.policy.identify(request.headers(), BROUGHT);
            if let Ok(Some(caller)) = known {
                response.extensions_mut().insert(caller);
            }
            response
        }
    }
}

/// Adds the next cookie of the session, where the one that was sent is old.
fn with_rotated(policy: &AccessPolicy, headers: &HeaderMap, mut response: Response) -> Response {
    if let Some(rotated) = policy.rotate_session(headers) {
        let (name, cookie) = BrowserAccess::rotated_cookie(&rotated);
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(name, cookie);
        }
    }
    response
}

/// Answers by the routes of the caller's tenant.
async fn answer(tenants: &Tenants, caller: Caller, request: Request, next: Next) -> Response {
    let tenant = caller.tenant().clone();
    if tenant.is_default() {
        let mut request = request;
        request.extensions_mut().insert(client_of_key(&caller));
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    }
    let router = match tenants.router(&tenant).await {
        Ok(router) => router,
        Err(error) => return refuse_tenant(request.headers(), &error),
    };
    // The routes of the default tenant have stored there what they found in the path.
    let (mut head, body) = request.into_parts();
    head.extensions.clear();
    head.extensions.insert(client_of_key(&caller));
    head.extensions.insert(caller);
    match router.oneshot(Request::from_parts(head, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Returns the client whose shares a request uses: its key, from any address.
fn client_of_key(caller: &Caller) -> ClientId {
    ClientId::new(format!("key {}", caller.id()))
}

/// Describes the refusal of a request whose tenant has no usable store.
fn refuse_tenant(headers: &HeaderMap, error: &DestinationError) -> Response {
    let detail = match error {
        DestinationError::Access(error) => return refuse(headers, error),
        // The error's text may name files, so it stays in the log.
        DestinationError::Storage(_) => "the store cannot be used at present, the log says more",
        DestinationError::Opening => "the store is being opened: try again in a moment",
    };
    if is_grpc(headers) {
        return rpc_retry_status(Code::Unavailable, detail, RETRY_SECONDS).into_http();
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response =
        ProblemResponse::new(status, "unavailable", "The store cannot be used", detail)
            .into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    response
}

/// Zipkin's read API. The query service answers it, at the address to which Zipkin's reporters
/// send, which is the collector's.
impl ReadApi for Tenants {
    fn answer(
        &self,
        head: Parts,
        caller: Option<Caller>,
    ) -> Pin<Box<dyn Future<Output = Response<ReplyBody>> + Send>> {
        let tenants = self.clone();
        let mut head = head;
        let client = match (&caller, head.extensions.get::<PeerAddress>()) {
            (Some(caller), _) => client_of_key(caller),
            (None, Some(address)) => client_at(*address),
            (None, None) => ClientId::default(),
        };
        head.extensions.insert(client);
        let name = caller.map(|caller| caller.tenant().clone()).unwrap_or_default();
        Box::pin(async move {
            let Ok(tenant) = tenants.find(&name).await else { return unavailable() };
            let request = Request::from_parts(head, Body::empty());
            let response = match tenant.zipkin.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            response.map(|body| body.map_err(io::Error::other).boxed_unsync())
        })
    }
}

/// The answer while a store closes; the receiver has reported other reasons before.
fn unavailable() -> Response<ReplyBody> {
    let body = Body::from("the store cannot be read at present\n");
    let mut response = Response::new(body.map_err(io::Error::other).boxed_unsync());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Describes a refusal; for gRPC in its own form.
pub(super) fn refuse(headers: &HeaderMap, error: &AccessError) -> Response {
    let mut response = refusal(headers, error);
    if !error.may_pass() && error.wait_seconds().is_none() {
        response.extensions_mut().insert(AuditDetail::Denial(error.to_string()));
    }
    response
}

fn refusal(headers: &HeaderMap, error: &AccessError) -> Response {
    let detail = error.to_string();
    let retry_seconds = error.may_pass().then_some(ISSUER_RETRY_SECONDS).or(error.wait_seconds());
    if is_grpc(headers) {
        let code = match (error.is_unauthenticated(), error.may_pass()) {
            (true, _) => Code::Unauthenticated,
            (false, true) => Code::Unavailable,
            (false, false) if retry_seconds.is_some() => Code::ResourceExhausted,
            (false, false) => Code::PermissionDenied,
        };
        let status = match retry_seconds {
            Some(seconds) => rpc_retry_status(code, detail, seconds),
            None => rpc_status(code, detail),
        };
        return status.into_http();
    }
    if let Some(seconds) = retry_seconds {
        let answer = if error.may_pass() {
            let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, "The issuer cannot be asked");
            ProblemResponse::new(status, "issuer-unavailable", title, detail).into_response()
        } else {
            let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "A limit of the key is used up");
            ProblemResponse::new(status, "key-limit", title, detail).into_response()
        };
        return ([(header::RETRY_AFTER, HeaderValue::from(seconds))], answer).into_response();
    }
    if error.is_unauthenticated() {
        let status = StatusCode::UNAUTHORIZED;
        let answer = ProblemResponse::new(status, "unauthenticated", "A key is needed", detail)
            .into_response();
        return ([(header::WWW_AUTHENTICATE, CHALLENGE)], answer).into_response();
    }
    ProblemResponse::new(StatusCode::FORBIDDEN, "forbidden", "The key does not allow this", detail)
        .into_response()
}

/// A body that ends when its key is revoked or expires. Requests can arrive slowly, and some
/// answers are streams without an end.
struct LiveBody {
    body: Body,
    caller: Caller,
    ring: Arc<KeyRing>,
    /// Waits for the end of the key while there is nothing to send.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Set when the body ended with the key.
    has_ended: Arc<AtomicBool>,
}

impl LiveBody {
    fn new(body: Body, caller: Caller, ring: Arc<KeyRing>) -> Self {
        Self { body, caller, ring, end: None, has_ended: Arc::default() }
    }

    fn ended(&self) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.has_ended.store(true, Relaxed);
        Poll::Ready(Some(Err(io::Error::other(ENDED))))
    }
}

const ENDED: &str = "the key was revoked or has expired";

impl HttpBody for LiveBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.caller.is_live(self.ring.now()) {
            return self.ended();
        }
        let polled = Pin::new(&mut self.body).poll_frame(context).map_err(io::Error::other);
        if polled.is_pending() {
            let Self { end, ring, caller, .. } = &mut *self;
            let end = end.get_or_insert_with(|| ring.end_of(caller));
            if end.as_mut().poll(context).is_ready() {
                return self.ended();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use tidings_access::Role;

    use super::needed_role;

    #[test]
    fn a_route_that_no_rule_names_needs_a_key() {
        for (method, path, needed) in [
            (Method::GET, "/live", None),
            (Method::GET, "/ready", None),
            (Method::POST, "/api/v1/session", None),
            (Method::DELETE, "/api/v1/session", None),
            (Method::PUT, "/api/v1/session", None),
            (Method::GET, "/api/v1/session", Some(Role::Read)),
            (Method::HEAD, "/api/v1/session", Some(Role::Read)),
            (Method::GET, "/api/v1/sign-in", None),
            (Method::GET, "/api/v1/sign-ins", Some(Role::Read)),
            (Method::POST, "/grpc.health.v1.Health/Check", None),
            (Method::POST, "/grpc.reflection.v1.ServerReflection/Info", Some(Role::Read)),
            (Method::GET, "/metrics", Some(Role::Read)),
            (Method::GET, "/api/v1/of-the-future", Some(Role::Read)),
            (Method::POST, "/api/v1/of-the-future", Some(Role::Admin)),
            (Method::POST, "/api/v1/sql", Some(Role::Read)),
            (Method::GET, "/api/v1/keys", Some(Role::Admin)),
            (Method::DELETE, "/api/v1/keys/0123abcd", Some(Role::Admin)),
            (Method::GET, "/api/v1/keyspace", Some(Role::Read)),
            (Method::GET, "/api/v1/audit", Some(Role::Admin)),
            (Method::GET, "/api/v1/erasures", Some(Role::Admin)),
            (Method::POST, "/api/v1/erasures", Some(Role::Admin)),
            (Method::GET, "/api/v1/erasures/17", Some(Role::Admin)),
            (Method::PUT, "/api/v1/traces/0/pin", Some(Role::Admin)),
            (Method::POST, "/prometheus/api/v1/query", Some(Role::Read)),
            (Method::POST, "/jaeger.api_v2.QueryService/GetTrace", Some(Role::Read)),
            (Method::GET, "/live/", Some(Role::Read)),
            (Method::GET, "//live", Some(Role::Read)),
        ] {
            assert_eq!(needed_role(&method, path), needed, "{method} {path}");
        }
    }
}
