//! The APIs of queries over HTTP and gRPC: the native one, and those of Jaeger, Zipkin, Prometheus
//! and Tempo.
//!
//! ```text
//! HTTP, gRPC ─► http/* (parse, ask, write) ─► QueryService of `query` ─► Reader
//!                params (forms)                                           jaeger · zipkin ·
//!                                                                         prometheus
//! ```
//!
//! Owns paths, parameters, encodings and statuses, and the rules of Jaeger's, Zipkin's and
//! Prometheus's queries, which read through a [`Reader`](tidings_query::Reader). Does not own the
//! answers of the native API and of TraceQL, which the crate `tidings-query` computes.

mod error_status;
mod http;
mod jaeger;
mod params;
mod prometheus;
mod rpc_status;
mod zipkin;

pub use http::event_stream::{EVENT_STREAM, event as server_sent_event};
pub use http::problem::ProblemResponse;
pub use http::{
    BodyMemory, ETag, EndlessLogs, GRPC_SERVICES, complete_document, document, read_rpc_request,
    require_one_message, router, router_described_by, with_api_headers, with_unread_budget,
    zipkin_router,
};
pub use params::well_encoded;
pub use rpc_status::{rpc_retry_status, rpc_status, with_cut_status};
