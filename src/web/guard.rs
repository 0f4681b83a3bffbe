//! Keeps other sites' pages away from the API, and drawn telemetry harmless.
//!
//! A page of another site can reach a server on loopback in two ways: by a name that it resolves to
//! 127.0.0.1 (caught by the `Host` check) and by posting across sites (caught by the `Origin`
//! check). There is no CORS.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use tidings_collector::{ForeignRequest, Guard};

use super::problem::problem;

/// What [`check_origin`] answers instead of any route, with the reason.
pub(super) const REFUSALS: [(StatusCode, &str); 2] = [
    (StatusCode::FORBIDDEN, "a page of another site asked"),
    (StatusCode::MISDIRECTED_REQUEST, "asked by a name that is not this server's"),
];

/// Refuses what asks for another host or comes from a page of another origin, by the receivers'
/// own rules.
pub(super) async fn check_origin(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    match guard.check(&head) {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(foreign) => {
            let [(origin, _), (host, _)] = REFUSALS;
            let status = match foreign {
                ForeignRequest::Host(_) => host,
                ForeignRequest::Origin => origin,
            };
            let title = "The request comes from somewhere else";
            problem(status, "foreign-request", title, &foreign.to_string())
        }
    }
}

/// Says to the browser what a page of ours may do: draw itself and talk to this server.
pub(super) async fn secure(mut response: Response) -> Response {
    const HEADERS: [(&str, &str); 6] = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
             connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
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
