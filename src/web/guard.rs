//! Keeps other sites' pages away from the API, and drawn telemetry harmless.
//!
//! A page of another site can reach a server on loopback in two ways: by a name that it resolves to
//! 127.0.0.1 (caught by the `Host` check) and by posting across sites (caught by the `Origin`
//! check). There is no CORS.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tidings_proto::api::ProblemDetails;

/// The names that requests may use for this host.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Arc<[String]>);

impl Hosts {
    /// `localhost`, every literal address, and these.
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn allows(&self, authority: &str) -> bool {
        let host = host_of(authority);
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        literal
            || host.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The name without its port: `[::1]:8434` is `[::1]`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Refuses a foreign `Host`, and a foreign `Origin` on anything that is not a read.
pub(super) async fn check_origin(
    State(hosts): State<Hosts>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let authority =
        request.uri().authority().map(ToString::to_string).or_else(|| text(headers, header::HOST));
    let Some(authority) = authority else {
        return refuse(StatusCode::BAD_REQUEST, "the request names no host");
    };
    if !hosts.allows(&authority) {
        let detail = format!(
            "this server does not answer to {authority:?}; if it should, add the name to allowed_hosts"
        );
        return refuse(StatusCode::MISDIRECTED_REQUEST, &detail);
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if let Some(origin) = text(headers, header::ORIGIN).filter(|_| !reads) {
        let same =
            origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(&authority));
        if !same {
            return refuse(StatusCode::FORBIDDEN, "pages of other sites may not do this");
        }
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    let problem = ProblemDetails {
        r#type: "/problems/foreign-request".to_owned(),
        title: "The request comes from somewhere else".to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        parameter: None,
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
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

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn only_names_of_this_host_are_answered() {
        let hosts = Hosts::new(&["traces.example".to_owned()]);
        for allowed in [
            "localhost",
            "localhost:8434",
            "LOCALHOST",
            "127.0.0.1:8434",
            "[::1]:8434",
            "[::1]",
            "10.1.2.3",
            "traces.example:80",
            "Traces.Example",
        ] {
            assert!(hosts.allows(allowed), "{allowed}");
        }
        for refused in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a:b"]
        {
            assert!(!hosts.allows(refused), "{refused}");
        }
    }
}
