//! Refuses requests of foreign web pages: checks `Host` against DNS rebinding, `Origin` and
//! `Sec-Fetch-Site` against cross-site requests.
//!
//! A web page can send requests to every server that the user's browser can reach. If the page's
//! own name resolves to this server, the requests have that name in `Host`. If it posts across
//! sites, they have its `Origin`. If it embeds a URL of this server, current browsers say so in
//! `Sec-Fetch-Site`. Only browsers send the last two. CORS is not supported: requests of other
//! origins are always refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, Version, header, request::Parts, uri::Authority};
use thiserror::Error;

/// The relation of the requesting page to the server: [Fetch
/// Metadata](https://www.w3.org/TR/fetch-metadata/).
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The mode of a browser's request: `navigate`, `cors`, `no-cors`, …
pub const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// The use of the response in the browser: `document`, `image`, `script`, …
pub const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Names by which containers reach the host's loopback. Public DNS has no names in `.internal`.
const CONTAINER_NAMES: [&str; 3] =
    ["host.docker.internal", "gateway.docker.internal", "host.containers.internal"];

/// The reason that a request is refused as foreign, with 421 or 403.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForeignRequest {
    /// The `Host` is not a name of this server.
    #[error(
        "the host {0:?} is not a name of this server; names besides localhost, this machine's name \
         and addresses must be configured (allowed-hosts)"
    )]
    Host(String),
    /// A web page of another origin sent it.
    #[error("requests from web pages of other origins are not accepted")]
    Origin,
    /// A browser sent it for a page of another site, or of another port or name of this one.
    #[error("a browser asks for a page of another site, whose requests are not accepted")]
    Site,
}

/// Returns whether a browser sent the request. Other clients do not send these headers.
#[must_use]
pub fn is_from_browser(headers: &HeaderMap) -> bool {
    let said = [header::ORIGIN, SEC_FETCH_SITE, SEC_FETCH_MODE, SEC_FETCH_DEST];
    said.iter().any(|name| headers.contains_key(name))
}

/// The hosts and origins that one listener accepts.
#[derive(Debug, Clone)]
pub struct Guard {
    bound: IpAddr,
    names: Vec<String>,
    is_over_tls: bool,
}

impl Guard {
    /// Makes the guard of a listener bound to this address, on a machine with these names. Names
    /// are always checked. IP addresses as hosts are accepted if other machines can reach the
    /// listener, because DNS rebinding needs a name.
    #[must_use]
    pub fn new(bound: SocketAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self { bound: bound.ip(), names: names.collect(), is_over_tls: false }
    }

    /// Sets whether the listener uses TLS. With TLS, only the `https` origin is its own, because an
    /// attacker between browser and server can forge pages of the same name without TLS. A listener
    /// without TLS may be behind a proxy with TLS, so both origins are its own.
    #[must_use]
    pub fn over_tls(self, is_over_tls: bool) -> Self {
        Self { is_over_tls, ..self }
    }

    /// Checks the host, the origin and the site of a request.
    ///
    /// # Errors
    /// The first of them that is foreign; its text is for the client.
    pub fn check(&self, head: &Parts) -> Result<(), ForeignRequest> {
        let mut authorities = Vec::with_capacity(2);
        authorities.extend(head.uri.authority().map(|authority| authority.as_str()));
        for host in head.headers.get_all(header::HOST) {
            authorities.push(host.to_str().unwrap_or("\u{fffd}"));
        }
        // Only requests of HTTP/1.0 may have no host.
        if authorities.is_empty() && head.version != Version::HTTP_10 {
            authorities.push("");
        }
        if let Some(unknown) = authorities.iter().find(|authority| !self.knows(authority)) {
            return Err(ForeignRequest::Host((*unknown).to_owned()));
        }
        for origin in head.headers.get_all(header::ORIGIN) {
            let same = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.split_once("://"))
                .is_some_and(|(scheme, origin)| {
                    (!self.is_over_tls || scheme.eq_ignore_ascii_case("https"))
                        && authorities.first().is_some_and(|own| own.eq_ignore_ascii_case(origin))
                });
            if !same {
                return Err(ForeignRequest::Origin);
            }
        }
        // `none` is a navigation by the user: a typed URL or a bookmark. Unknown values count as
        // foreign.
        let is_own = |site: &[u8]| matches!(site, b"same-origin" | b"none");
        if head.headers.get_all(SEC_FETCH_SITE).iter().any(|site| !is_own(site.as_bytes())) {
            return Err(ForeignRequest::Site);
        }
        Ok(())
    }

    fn knows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let Some(host) = host_of(&authority) else { return false };
        if let Some(address) = address_of(host) {
            return address.is_loopback() || address == self.bound || !self.bound.is_loopback();
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || CONTAINER_NAMES.contains(&host.as_str())
            || self.names.contains(&host)
    }
}

/// Returns the host of `host:port`, `[v6]:port`, `host`. `None` for anything else that
/// [`Authority`] accepts: user information, which requests must not have ([RFC 9110, section
/// 4.2.4](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.4)), bytes between an address and its
/// port, and malformed ports.
fn host_of(authority: &Authority) -> Option<&str> {
    let host = authority.host();
    let rest = authority.as_str().strip_prefix(host)?;
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(host)
}

/// Returns the IP address of a host that is not a name.
fn address_of(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Version, request::Parts};

    use super::{ForeignRequest, Guard};

    /// Runs the guard and returns the kind of refusal.
    fn check(bound: &str, names: &[&str], headers: &[(&str, &str)]) -> Option<&'static str> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut request = Request::post("/v1/traces");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()): (Parts, ()) = request.body(()).unwrap().into_parts();
        let foreign = Guard::new(bound.parse().unwrap(), &names).check(&head).err()?;
        Some(match foreign {
            ForeignRequest::Host(_) => "host",
            ForeignRequest::Origin => "origin",
            ForeignRequest::Site => "site",
        })
    }

    #[test]
    fn on_the_loopback_only_known_hosts_are_accepted() {
        for host in [
            "localhost",
            "LOCALHOST:4318",
            "localhost.:4318",
            "127.0.0.1:4318",
            "127.9.9.9",
            "[::1]:4318",
            "[::1]",
            "app.localhost:80",
            "host.docker.internal:4318",
            "collector.lan:4318",
        ] {
            let reason = check("127.0.0.1:4318", &["Collector.lan"], &[("host", host)]);
            assert_eq!(reason, None, "{host}");
        }
        for host in [
            "evil.com",
            "evil.com:4318",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "127.0.0.1@evil.com",
            "10.0.0.1",
            "[fe80::1]:80",
            "",
            "a b",
        ] {
            let reason = check("127.0.0.1:4318", &["collector.lan"], &[("host", host)]);
            assert_eq!(reason, Some("host"), "{host}");
        }
        assert_eq!(check("127.0.0.1:4318", &[], &[]), Some("host"), "HTTP/1.1 needs a host");
        let (mut head, ()) = Request::get("/").body(()).unwrap().into_parts();
        head.version = Version::HTTP_10;
        let guard = Guard::new("127.0.0.1:4318".parse().unwrap(), &[]);
        assert_eq!(guard.check(&head), Ok(()), "HTTP/1.0 needs no host");
        let two = [("host", "localhost"), ("host", "evil.com")];
        assert_eq!(check("127.0.0.1:4318", &[], &two), Some("host"));
    }

    #[test]
    fn malformed_hosts_are_refused() {
        for host in [
            "evil.com@localhost",
            "localhost@localhost",
            "localhost:80@localhost",
            "user:password@127.0.0.1:4318",
            "@localhost",
            "localhost@",
            "[::1",
            "::1]",
            "::1",
            "[[::1]]",
            "[127.0.0.1]",
            "[localhost]",
            "[::1]evil.com",
            "[::1]evil.com:4318",
            "[::1]4318",
            "localhost:99999",
            "localhost:65536",
            "localhost:",
            "localhost:+80",
            "localhost:-1",
            "localhost:80:80",
            "localhost:http",
            "localhost/",
            "localhost/evil.com",
            "localhost?",
            "localhost#",
            "localhost\\evil.com",
            "local%68ost",
            "http://localhost",
            ":4318",
            "localhost, evil.com",
        ] {
            for bound in ["127.0.0.1:4318", "0.0.0.0:4318"] {
                let reason = check(bound, &["evil.com"], &[("host", host)]);
                assert_eq!(reason, Some("host"), "{host}");
            }
        }
        for host in ["localhost:0", "localhost:65535", "localhost:00080", "[0:0::1]:80"] {
            assert_eq!(check("127.0.0.1:4318", &[], &[("host", host)]), None, "{host}");
        }
        let request = Request::get("http://evil.com@localhost/").header("host", "localhost");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let guard = Guard::new("127.0.0.1:4318".parse().unwrap(), &[]);
        assert!(matches!(guard.check(&head), Err(ForeignRequest::Host(_))));
    }

    #[test]
    fn names_are_checked_on_addresses_that_others_can_reach() {
        for bound in ["0.0.0.0:4318", "[::]:4318", "192.0.2.7:4318"] {
            for (host, reason) in [
                ("any.name", Some("host")),
                ("any.name:4318", Some("host")),
                ("a.b.any.name", Some("host")),
                ("A.b:4318", None),
                ("localhost:4318", None),
                ("10.1.2.3:4318", None),
                ("[2001:db8::1]:4318", None),
                ("10.1.2.3.any.name", Some("host")),
            ] {
                assert_eq!(check(bound, &["a.b"], &[("host", host)]), reason, "{bound} {host}");
            }
            assert_eq!(check(bound, &[], &[("host", "any.name")]), Some("host"), "{bound}");
        }
    }

    #[test]
    fn requests_of_pages_of_other_sites_are_refused() {
        for (site, reason) in [
            ("same-origin", None),
            ("none", None),
            ("same-site", Some("site")),
            ("cross-site", Some("site")),
            ("of-the-future", Some("site")),
            ("", Some("site")),
        ] {
            let headers = [("host", "localhost:4318"), ("sec-fetch-site", site)];
            assert_eq!(check("127.0.0.1:4318", &[], &headers), reason, "{site}");
        }
        let two = [
            ("host", "localhost:4318"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(check("127.0.0.1:4318", &[], &two), Some("site"));
    }

    #[test]
    fn a_page_without_tls_is_a_foreign_origin_of_a_listener_with_tls() {
        for (over_tls, origin, is_own) in [
            (true, "https://localhost:8434", true),
            (true, "http://localhost:8434", false),
            (false, "https://localhost:8434", true),
            (false, "http://localhost:8434", true),
        ] {
            let request = Request::post("/api/v1/demo").header("host", "localhost:8434");
            let (head, ()) = request.header("origin", origin).body(()).unwrap().into_parts();
            let guard = Guard::new("127.0.0.1:8434".parse().unwrap(), &[]).over_tls(over_tls);
            assert_eq!(guard.check(&head).is_ok(), is_own, "{over_tls} {origin}");
        }
    }

    #[test]
    fn other_origins_are_refused() {
        for (origin, reason) in [
            ("http://localhost:4318", None),
            ("http://LocalHost:4318", None),
            ("http://localhost:8434", Some("origin")),
            ("https://evil.com", Some("origin")),
            ("null", Some("origin")),
            ("", Some("origin")),
        ] {
            let headers = [("host", "localhost:4318"), ("origin", origin)];
            assert_eq!(check("127.0.0.1:4318", &[], &headers), reason, "{origin}");
        }
    }
}
