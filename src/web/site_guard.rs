//! Keeps pages of other sites away from the API, and telemetry harmless when it is drawn.
//!
//! A page of another site can reach a server on loopback in three ways: by a name that it resolves
//! to 127.0.0.1 (caught by the `Host` check), by posting across sites (caught by the `Origin`
//! check), and by embedding or opening an address (caught by `Sec-Fetch-Site`). A link of any site
//! may lead here, but only to the UI's pages: they are files, and a request for one does no work.
//!
//! Pages of origins that the settings name (`allow-origins`) may read, by
//! [CORS](https://fetch.spec.whatwg.org/#http-cors-protocol): GET and HEAD, without credentials, of
//! which there are none here. Only pages of this server may change something. Their requests have a
//! header that no form can send.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tidings_access::{AccessPolicy, without_keys};
use tidings_collector::{
    ForeignRequest, Guard, SEC_FETCH_DEST, SEC_FETCH_MODE, SEC_FETCH_SITE, is_from_browser,
};

use super::audit::AuditDetail;
use tidings_apis::ProblemResponse;

/// Refusals of [`check_origin`], which replace the response of any route, with their descriptions.
pub(super) const REFUSALS: [(StatusCode, &str); 2] = [
    (StatusCode::FORBIDDEN, "a page of another site asked"),
    (StatusCode::MISDIRECTED_REQUEST, "asked by a name that is not this server's"),
];

/// Marks requests of this server's own pages. A form cannot send it, and a script of another origin
/// needs a preflight request for it.
const REQUEST_MARK: HeaderName = HeaderName::from_static("tidings-request");

/// The native API, whose POST, PUT and DELETE change something.
const API_PREFIX: &str = "/api/v1/";

/// Headers of answers that a page of an allowed origin may read, besides those that every page may:
/// the tag of an answer, the time to retry, and whether the answer is complete.
const EXPOSED: &str = "etag, retry-after, tidings-complete, tidings-incomplete";

/// Rules for the origins whose requests are answered.
#[derive(Debug)]
pub(crate) struct Visitors {
    /// The rules of the receivers: names of this server, and pages of its own.
    pub(crate) guard: Guard,
    /// The origins whose pages may read, as browsers write them.
    pub(crate) origins: Vec<String>,
    /// The keys that requests need, if any.
    pub(crate) access: AccessPolicy,
}

/// The check of a request's origin for some routes.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    visitors: Arc<Visitors>,
    /// True when links of other sites may lead to these routes.
    takes_links: bool,
}

impl Entrance {
    /// The check for routes that do work.
    pub(super) fn to_api(visitors: Arc<Visitors>) -> Self {
        Self { visitors, takes_links: false }
    }

    /// The check for the UI's pages and files.
    pub(super) fn to_pages(visitors: Arc<Visitors>) -> Self {
        Self { visitors, takes_links: true }
    }
}

/// Refuses requests for another host, and those from a page of another site that is not allowed.
pub(super) async fn check_origin(
    State(Entrance { visitors, takes_links }): State<Entrance>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let reader = visitors.reader(&head);
    let mut response = match (visitors.guard.check(&head), &reader) {
        (Ok(()), _) if !is_marked(&head) => unmarked(),
        (Ok(()), _) => next.run(Request::from_parts(head, body)).await,
        (Err(ForeignRequest::Origin), Some(_)) if asks_first(&head) => may_read(),
        (Err(ForeignRequest::Origin), Some(_)) => next.run(Request::from_parts(head, body)).await,
        (Err(ForeignRequest::Site), _) if takes_links && is_navigation(&head) => {
            next.run(Request::from_parts(head, body)).await
        }
        (Err(foreign), _) => refusal(&foreign),
    };
    let headers = response.headers_mut();
    if !visitors.origins.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = reader {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

impl Visitors {
    /// Returns the origin of the request, when pages of that origin may send it.
    fn reader(&self, head: &Parts) -> Option<HeaderValue> {
        let mut origins = head.headers.get_all(header::ORIGIN).iter();
        let (origin, None) = (origins.next()?, origins.next()) else { return None };
        let is_allowed = self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
        let reads = match (&head.method, asked) {
            (&Method::GET | &Method::HEAD, _) => true,
            (&Method::OPTIONS, Some(asked)) => matches!(asked.as_bytes(), b"GET" | b"HEAD"),
            _ => false,
        };
        (is_allowed && reads).then(|| origin.clone())
    }
}

/// Reports whether the request is a browser's preflight (CORS).
fn asks_first(head: &Parts) -> bool {
    head.method == Method::OPTIONS
}

/// Reports whether a browser follows a link in a tab of its own, and not a frame or an image.
fn is_navigation(head: &Parts) -> bool {
    let says = |name: HeaderName, word: &str| {
        let mut values = head.headers.get_all(name).iter();
        values.next().is_some_and(|value| value.as_bytes() == word.as_bytes())
            && values.next().is_none()
    };
    head.method == Method::GET
        && says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
}

/// Reports whether a change from a browser comes from one of this server's own pages. Other clients
/// need no mark: they have no pages of other sites open.
fn is_marked(head: &Parts) -> bool {
    let changes = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
        && head.uri.path().starts_with(API_PREFIX);
    if !changes || !is_from_browser(&head.headers) {
        return true;
    }
    let site = head.headers.get(SEC_FETCH_SITE);
    let is_own = site.is_none_or(|site| site.as_bytes() == b"same-origin");
    is_own && (head.headers.contains_key(REQUEST_MARK) || is_json(&head.headers))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The answer to a preflight request: reading is allowed.
fn may_read() -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "accept, cache-control, if-none-match, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::VARY, "access-control-request-method, access-control-request-headers"),
    ];
    (StatusCode::NO_CONTENT, HEADERS).into_response()
}

fn refusal(foreign: &ForeignRequest) -> Response {
    let [(origin, _), (host, _)] = REFUSALS;
    let status = match foreign {
        ForeignRequest::Host(_) => host,
        ForeignRequest::Origin | ForeignRequest::Site => origin,
    };
    denied(status, &without_keys(foreign.to_string()))
}

/// The refusal of a change that a form of another page may have sent.
fn unmarked() -> Response {
    let [(status, _), _] = REFUSALS;
    let detail = "a browser's POST, PUT and DELETE need the same origin, and the header \
                  `tidings-request` or the content type application/json";
    denied(status, detail)
}

fn denied(status: StatusCode, detail: &str) -> Response {
    let mut response =
        ProblemResponse::new(status, "foreign-request", FOREIGN, detail).into_response();
    response.extensions_mut().insert(AuditDetail::Denial(detail.to_owned()));
    response
}

const FOREIGN: &str = "The request comes from somewhere else";

/// Restricts the pages of this server in the browser: they draw themselves and talk to this server.
pub(super) async fn secure(mut response: Response) -> Response {
    const HEADERS: [(&str, &str); 6] = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
             connect-src 'self'; font-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
             form-action 'self'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
