//! Receivers: OTLP over gRPC and HTTP, Zipkin; limits, normalisation, acknowledgement.

use std::{net::SocketAddr, sync::Arc};

use tidings_proto::api::{ReceiverStatus, SignalCounts};
use tidings_storage::{Clock, Store};

/// Where the receivers listen and what they bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorSettings {
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// Zipkin v2.
    pub zipkin: SocketAddr,
}

/// The running receivers.
#[derive(Debug)]
pub struct Collector {}

#[expect(clippy::unimplemented, unused_variables, clippy::unused_async, reason = "contract stage")]
impl Collector {
    /// Binds every listener and starts receiving into the store.
    ///
    /// # Errors
    /// When an address cannot be bound; the error names it.
    pub async fn start(
        settings: CollectorSettings,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        unimplemented!()
    }

    /// The addresses in use and what happened on each.
    #[must_use]
    pub fn receivers(&self) -> Vec<ReceiverStatus> {
        unimplemented!()
    }

    /// Spans and log records received and rejected since the start (`stored` is 0).
    #[must_use]
    pub fn counts(&self) -> (SignalCounts, SignalCounts) {
        unimplemented!()
    }

    /// Stops listening, finishes the requests under way, returns when all are answered.
    pub async fn stop(self) {
        unimplemented!()
    }
}
