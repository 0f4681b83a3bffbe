//! Heads of requests: the host and the origin that are answered, and the client behind proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderValue, Request, header};
use tidings_collector::{Guard, TrustedProxies};

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] =
    &[FuzzTarget { name: "request_heads", run: request_heads }];

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A name of the machine.
const NAME: &str = "tidings.example";

/// Reads heads of requests. The lines are `Host`, `Origin`, and any number of lists of
/// `X-Forwarded-For`.
fn request_heads(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n').map(HeaderValue::from_bytes);
    let mut headers = HeaderMap::new();
    for name in [header::HOST, header::ORIGIN] {
        if let Some(Ok(value)) = lines.next() {
            headers.insert(name, value);
        }
    }
    for list in lines.flatten() {
        headers.append("x-forwarded-for", list);
    }
    let (mut head, ()) = Request::new(()).into_parts();
    head.headers = headers;
    let guard = Guard::new(SocketAddr::new(LOOPBACK, 8434), &[NAME.to_owned()]);
    if guard.check(&head).is_ok() {
        let host = text(&head.headers, &header::HOST);
        assert!(is_own(&host), "{host:?} is answered");
        let origin = text(&head.headers, &header::ORIGIN);
        let of_origin = origin.split_once("://").map(|(_, authority)| authority);
        assert!(origin.is_empty() || of_origin == Some(host.as_str()), "{origin:?} of {host:?}");
    }
    let proxies = TrustedProxies::read(&["10.0.0.0/8".to_owned(), "::1".to_owned()]);
    let proxies = proxies.expect("networks");
    // Only a trusted proxy may name the client.
    assert_eq!(proxies.client(LOOPBACK, &head.headers), LOOPBACK);
    let _ = proxies.client(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), &head.headers);
}

/// Returns the text of a header in lower case.
fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(value).to_ascii_lowercase()
}

/// Returns true for a name or a loopback address of this machine, with or without a port.
fn is_own(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name =
        host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let name = name.trim_end_matches('.');
    name == "localhost"
        || name == NAME
        || [".localhost", ".docker.internal", ".containers.internal"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
        || address.is_ok_and(|address| address.is_loopback())
}
