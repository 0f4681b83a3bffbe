//! Keeps web pages out: `Host` against DNS rebinding, `Origin` against cross-site posts.
//!
//! A page in the user's browser can reach the loopback. When it makes its own name point there,
//! its requests carry that name as `Host`; when it posts across sites, they carry its `Origin`.
//! No other client sends either. There is no CORS here: nothing is answered to other origins.

use std::net::{IpAddr, SocketAddr};

use http::{header, request::Parts};
use thiserror::Error;

/// Names by which containers reach the host's loopback. No public DNS can answer for `.internal`.
const CONTAINER_NAMES: [&str; 3] =
    ["host.docker.internal", "gateway.docker.internal", "host.containers.internal"];

/// Why a request is not answered: answer 421 or 403.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForeignRequest {
    /// The name it asks for is not one of this server.
    #[error(
        "the host {0:?} is not a name of this server; names besides localhost and the bound \
         address must be configured (allowed-hosts)"
    )]
    Host(String),
    /// A web page of another origin sent it.
    #[error("requests from web pages of other origins are not accepted")]
    Origin,
}

/// Which hosts and origins one listener answers to.
#[derive(Debug, Clone)]
pub struct Guard {
    bound: IpAddr,
    names: Vec<String>,
}

impl Guard {
    /// For a listener bound to this address. On the loopback only known names are answered; on
    /// another address the names are checked when some are configured.
    #[must_use]
    pub fn new(bound: SocketAddr, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self { bound: bound.ip(), names: names.collect() }
    }

    /// Whether the request may come from where it says it comes from.
    ///
    /// # Errors
    /// What is foreign about it; its text is for the client.
    pub fn check(&self, head: &Parts) -> Result<(), ForeignRequest> {
        let mut authorities = Vec::with_capacity(2);
        authorities.extend(head.uri.authority().map(|authority| authority.as_str()));
        for host in head.headers.get_all(header::HOST) {
            authorities.push(host.to_str().unwrap_or("\u{fffd}"));
        }
        if let Some(unknown) = authorities.iter().find(|authority| !self.knows(authority)) {
            return Err(ForeignRequest::Host((*unknown).to_owned()));
        }
        for origin in head.headers.get_all(header::ORIGIN) {
            let same =
                origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(
                    |(_, origin)| {
                        authorities.first().is_some_and(|own| own.eq_ignore_ascii_case(origin))
                    },
                );
            if !same {
                return Err(ForeignRequest::Origin);
            }
        }
        Ok(())
    }

    fn knows(&self, authority: &str) -> bool {
        let host = host_of(authority);
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return address.is_loopback() || address == self.bound || !self.bound.is_loopback();
        }
        if !self.bound.is_loopback() && self.names.is_empty() {
            return true;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || CONTAINER_NAMES.contains(&host.as_str())
            || self.names.contains(&host)
    }
}

/// The host of `host:port`, `[v6]:port`, `host`.
fn host_of(authority: &str) -> &str {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, request::Parts};

    use super::{ForeignRequest, Guard};

    /// What is foreign about a request, in one word.
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
        })
    }

    #[test]
    fn on_the_loopback_only_known_hosts_are_answered() {
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
        assert_eq!(check("127.0.0.1:4318", &[], &[]), None, "HTTP/1.0 needs no host");
        let two = [("host", "localhost"), ("host", "evil.com")];
        assert_eq!(check("127.0.0.1:4318", &[], &two), Some("host"));
    }

    #[test]
    fn elsewhere_names_are_checked_when_configured() {
        assert_eq!(check("0.0.0.0:4318", &[], &[("host", "any.name")]), None);
        assert_eq!(check("0.0.0.0:4318", &["a.b"], &[("host", "a.b")]), None);
        assert_eq!(check("0.0.0.0:4318", &["a.b"], &[("host", "10.1.2.3:4318")]), None);
        let reason = check("0.0.0.0:4318", &["a.b"], &[("host", "any.name")]);
        assert_eq!(reason, Some("host"));
    }

    #[test]
    fn only_the_own_origin_is_answered() {
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
