//! A span of each request to the HTTP address, by OpenTelemetry's [conventions for
//! servers](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span). It ends
//! when the answer begins. It has the path and not the parameters, so it has no text of a query.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, header},
    middleware::Next,
    response::Response,
};
use tidings_access::{TenantName, without_keys};
use tracing::{Instrument, field::Empty};

use super::description::described_paths;

/// Paths without a span, because they are requested all the time.
const UNTRACED: [&str; 3] = ["/live", "/ready", "/metrics"];
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Prefixes of other projects' APIs, whose routes the API's description does not have.
const OTHERS: [&str; 7] = [
    "/prometheus",
    "/tempo",
    "/jaeger",
    "/arrow.flight.protocol.FlightService",
    "/grpc.health.v1.Health",
    "/grpc.reflection.v1.ServerReflection",
    "/grpc.reflection.v1alpha.ServerReflection",
];

/// The routes by which spans are named. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct RouteNames(Arc<Vec<String>>);

impl RouteNames {
    /// Returns the routes of the API's description.
    pub(crate) fn of_description() -> Self {
        Self(described_paths())
    }

    /// Returns the route of a path, and an empty text for a path without one. A span is never named
    /// by its path, because strangers choose paths.
    fn route<'a>(&'a self, path: &str) -> &'a str {
        let is_of = |route: &&String| {
            let mut given = path.split('/');
            let fits = |part: &str, given: &str| part.starts_with('{') || part == given;
            let all = route.split('/').all(|part| given.next().is_some_and(|one| fits(part, one)));
            all && given.next().is_none()
        };
        // A route without parameters is a closer match than one with them.
        let found = self.0.iter().filter(is_of).min_by_key(|route| route.matches('{').count());
        let other = || OTHERS.into_iter().find(|prefix| path.starts_with(prefix));
        found.map(String::as_str).or_else(other).unwrap_or_default()
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reports whether a request waits for a change, so that its duration does not count.
fn waits(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("wait="))
}

/// Answers within a span, where own telemetry is kept.
pub(super) async fn trace(
    State((tenant, routes)): State<(TenantName, RouteNames)>,
    request: Request,
    next: Next,
) -> Response {
    if UNTRACED.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let (method, headers) = (request.method(), request.headers());
    let span = tracing::debug_span!(
        "question",
        otel.name = %format_args!("{method} {}", routes.route(request.uri().path())),
        otel.kind = "server",
        otel.traceparent = text(headers, TRACEPARENT),
        otel.waits = waits(&request),
        http.request.method = method.as_str(),
        http.route = routes.route(request.uri().path()),
        url.path = Empty,
        user_agent.original = Empty,
        tidings.tenant = %tenant,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    // Own telemetry belongs to the default tenant, and paths of others have names of services and
    // ids.
    if tenant.is_default() && !span.is_disabled() {
        span.record("url.path", without_keys(request.uri().path().to_owned()));
        span.record("user_agent.original", text(headers, header::USER_AGENT));
    }
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", status.as_str());
    }
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_apis::GRPC_SERVICES;

    use super::RouteNames;

    #[test]
    fn a_span_is_named_by_its_route() {
        let routes = ["/api/v1/traces", "/api/v1/traces/{id}", "/api/v1/traces/names"];
        let names = RouteNames(Arc::new(routes.map(str::to_owned).to_vec()));
        for (path, route) in [
            ("/api/v1/traces", "/api/v1/traces"),
            ("/api/v1/traces/0af7", "/api/v1/traces/{id}"),
            ("/api/v1/traces/names", "/api/v1/traces/names"),
            ("/api/v1/traces/0af7/x", ""),
            ("/tempo/api/search", "/tempo"),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/grpc.reflection.v1.ServerReflection",
            ),
            ("/anything", ""),
        ] {
            assert_eq!(names.route(path), route, "{path}");
        }
        for service in GRPC_SERVICES {
            assert!(!names.route(&format!("/{service}/Method")).is_empty(), "{service}");
        }
    }
}
