//! Settings of the receivers: addresses, and every bound of this crate with its default.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidings_access::AccessPolicy;
use tidings_audit::AuditLog;

use crate::{
    endpoint::ConnectionLimits, redact::RedactionSettings, tls::Tls,
    trusted_proxies::TrustedProxies,
};

/// Ratio of hyper's bound of heads to ours. Between the two bounds, the refusal has the form of the
/// protocol and the encoding of the request.
const HYPER_HEAD_FACTOR: u32 = 4;

/// Settings of the receivers.
#[derive(Debug, Clone)]
pub struct CollectorSettings {
    /// Addresses of receivers by the names of their settings ([`crate::RECEIVERS`]). A receiver
    /// without an address does not listen.
    pub receivers: Vec<(&'static str, SocketAddr)>,
    /// Allowed names in `Host`, besides those of the loopback: names of the machine, and names that
    /// an operator adds.
    pub host_names: Vec<String>,
    /// TLS of all receivers, if any.
    pub tls: Option<Arc<Tls>>,
    /// Proxies that are trusted to name the addresses of their clients.
    pub proxies: TrustedProxies,
    /// The rule by which requests are admitted.
    pub access: AccessPolicy,
    /// The audit log for denied requests, if there is one.
    pub audit: Option<Arc<AuditLog>>,
    /// The redaction of secrets before records are stored.
    pub redaction: RedactionSettings,
    /// The bounds.
    pub limits: CollectorLimits,
}

impl CollectorSettings {
    /// Makes settings with these addresses ([`Self::receivers`]) and the default bounds.
    #[must_use]
    pub fn new(receivers: Vec<(&'static str, SocketAddr)>) -> Self {
        Self {
            receivers,
            host_names: Vec::new(),
            tls: None,
            proxies: TrustedProxies::default(),
            access: AccessPolicy::Open,
            audit: None,
            redaction: RedactionSettings::default(),
            limits: CollectorLimits::default(),
        }
    }

    /// Returns the address of a receiver by the name of its setting.
    pub(crate) fn address(&self, setting: &str) -> Option<SocketAddr> {
        self.receivers.iter().find(|(known, _)| *known == setting).map(|(_, address)| *address)
    }
}

impl Default for CollectorSettings {
    /// Returns settings without an address, with the default bounds.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// Bounds of the receivers. A request beyond a bound is answered and counted, never ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorLimits {
    /// Maximum bytes of one gRPC message after decompression (OTLP's usual default: 4 MiB).
    pub grpc_message_bytes_max: usize,
    /// Maximum bytes of one HTTP body after decompression (OTLP's recommendation: 20 MiB).
    pub http_body_bytes_max: usize,
    /// Maximum memory of one decoded request, in bytes. A body of empty spans decodes to more than
    /// a hundred times its size.
    pub request_memory_bytes_max: usize,
    /// Maximum memory of all requests in progress, bodies and decoded forms together, in bytes.
    /// Above it a request is refused with "try again".
    pub in_flight_bytes_max: usize,
    /// Maximum number of requests that are decoded or stored concurrently.
    pub in_flight_requests_max: usize,
    /// Maximum number of concurrent requests, including those whose body is still arriving.
    pub open_requests_max: usize,
    /// Maximum number of connections of one listener. Above it, idle ones are evicted, and then
    /// further ones are refused with "try again".
    pub connections_max: usize,
    /// Maximum number of concurrent requests on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Maximum bytes of a request's path and headers.
    pub header_bytes_max: u32,
    /// Maximum time for a request's head to arrive.
    pub header_timeout: Duration,
    /// Maximum time for a request's body to arrive.
    pub body_timeout: Duration,
    /// Minimum pace of a body in bytes per second, checked every five seconds over its whole time.
    /// A body must also not stop arriving ([`crate::Pace`]).
    pub body_bytes_per_second_min: usize,
    /// Maximum time that a connection may be open without a request; longer than the interval of
    /// exporters.
    pub idle_timeout: Duration,
    /// Maximum time that [`crate::Collector::stop`] waits for running requests.
    pub drain_timeout: Duration,
}

impl Default for CollectorLimits {
    fn default() -> Self {
        Self {
            grpc_message_bytes_max: 4 << 20,
            http_body_bytes_max: 20 << 20,
            request_memory_bytes_max: 192 << 20,
            in_flight_bytes_max: 256 << 20,
            in_flight_requests_max: 256,
            open_requests_max: 4096,
            connections_max: 2000,
            streams_per_connection_max: 100,
            header_bytes_max: 16 << 10,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_bytes_per_second_min: 1024,
            idle_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl CollectorLimits {
    /// Returns the bounds of each listener's connections.
    pub(crate) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections_max: self.connections_max,
            streams_max: self.streams_per_connection_max,
            head_bytes_max: self.header_bytes_max.saturating_mul(HYPER_HEAD_FACTOR),
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
        }
    }
}
