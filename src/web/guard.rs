//! Keeps other sites' pages away from the API, and drawn telemetry harmless.
//!
//! A page of another site can reach a server on loopback in two ways: by a name that it resolves to
//! 127.0.0.1 (caught by the `Host` check) and by posting across sites (caught by the `Origin`
//! check). Pages of origins that the settings name (`allow-origins`) may read, by
//! [CORS](https://fetch.spec.whatwg.org/#http-cors-protocol): GET and HEAD, without credentials,
//! of which there are none here. What changes anything stays with pages of this server.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tidings_collector::{ForeignRequest, Guard};

use super::problem::problem;

/// What [`check_origin`] answers instead of any route, with the reason.
pub(super) const REFUSALS: [(StatusCode, &str); 2] = [
    (StatusCode::FORBIDDEN, "a page of another site asked"),
    (StatusCode::MISDIRECTED_REQUEST, "asked by a name that is not this server's"),
];

/// The headers of answers that a page of an allowed origin may read, besides those that every page
/// may: what an answer is called, when to ask again, and whether it is all there is.
const EXPOSED: &str = "etag, retry-after, tidings-complete, tidings-incomplete";

/// Whose requests are answered.
#[derive(Debug)]
pub(crate) struct Visitors {
    /// The receivers' own rules: names of this server, pages of its own.
    pub(crate) guard: Guard,
    /// The origins whose pages may read, as browsers write them.
    pub(crate) origins: Vec<String>,
}

/// Refuses what asks for another host or comes from a page of another origin that is not allowed
/// to.
pub(super) async fn check_origin(
    State(visitors): State<Arc<Visitors>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let reader = visitors.reader(&head);
    let mut response = match (visitors.guard.check(&head), &reader) {
        (Ok(()), _) => next.run(Request::from_parts(head, body)).await,
        (Err(ForeignRequest::Origin), Some(_)) if asks_first(&head) => may_read(),
        (Err(ForeignRequest::Origin), Some(_)) => next.run(Request::from_parts(head, body)).await,
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
    /// The one origin that the request comes from, when pages of it may do what it asks.
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

/// Whether a browser asks what a page may do before it does it.
fn asks_first(head: &Parts) -> bool {
    head.method == Method::OPTIONS
}

/// The answer to a browser that asks: reading is fine.
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
        ForeignRequest::Origin => origin,
    };
    let title = "The request comes from somewhere else";
    problem(status, "foreign-request", title, &foreign.to_string())
}

/// Says to the browser what a page of ours may do: draw itself and talk to this server.
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
