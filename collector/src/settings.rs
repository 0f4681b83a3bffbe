//! Where the receivers listen and what they bear: every bound of this crate, with its default.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidings_access::AccessPolicy;
use tidings_audit::AuditLog;

use crate::{
    endpoint::ConnectionLimits, redact::RedactionSettings, tls::Tls,
    trusted_proxies::TrustedProxies,
};

/// Factor between our bound on heads and hyper's. Between the two bounds the response has the
/// protocol's form and the request's encoding.
const HYPER_HEAD_FACTOR: u32 = 4;

/// Where the receivers listen and what they bear.
#[derive(Debug, Clone)]
pub struct CollectorSettings {
    /// Addresses of receivers by the names of their settings, as [`crate::RECEIVERS`] has them. A
    /// receiver without one does not listen.
    pub receivers: Vec<(&'static str, SocketAddr)>,
    /// Names a request may give as `Host`, beside those of the loopback: those of the machine, and
    /// those that an operator adds.
    pub host_names: Vec<String>,
    /// TLS on all of them, if there is any.
    pub tls: Option<Arc<Tls>>,
    /// Proxies that say for whom they send.
    pub proxies: TrustedProxies,
    /// The keys that senders need, if they need one.
    pub access: AccessPolicy,
    /// The log of denied requests, if there is one.
    pub audit: Option<Arc<AuditLog>>,
    /// Secrets that are replaced before anything is stored.
    pub redaction: RedactionSettings,
    /// The bounds.
    pub limits: CollectorLimits,
}

impl CollectorSettings {
    /// Listens on these addresses ([`Self::receivers`]), with the default bounds.
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
    /// Listens nowhere, with the default bounds.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// Bounds of the receivers. A request beyond a bound is answered and counted, never ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorLimits {
    /// Bytes of one gRPC message after decompression (OTLP's usual default: 4 MiB).
    pub grpc_message_bytes_max: usize,
    /// Bytes of one HTTP body after decompression (OTLP's recommendation: 20 MiB).
    pub http_body_bytes_max: usize,
    /// Memory one request may take when decoded: a body of empty spans is small and decodes to
    /// more than a hundred times its size.
    pub request_memory_bytes_max: usize,
    /// Memory of all requests under way, bodies and decoded forms together. Above it a request is
    /// refused with "try again".
    pub in_flight_bytes_max: usize,
    /// Requests being decoded or stored at a time.
    pub in_flight_requests_max: usize,
    /// Requests under way at a time, those whose body is still arriving included.
    pub open_requests_max: usize,
    /// Connections of one listener. Above it those that rest make room, and then more are told to
    /// try again.
    pub connections_max: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Bytes of a request's path and headers.
    pub header_bytes_max: u32,
    /// Maximum time for a request's head to arrive.
    pub header_timeout: Duration,
    /// Maximum time for a request's body to arrive.
    pub body_timeout: Duration,
    /// The slowest a body may arrive, in bytes per second, measured every five seconds over all of
    /// its time; it may also not stop coming ([`crate::Pace`]).
    pub body_bytes_per_second_min: usize,
    /// Maximum time that a connection may be open without a request: longer than any exporter's
    /// interval.
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
    /// The bounds of each listener's connections.
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
