//! gRPC's health check on the HTTP address: [the
//! protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
//!
//! Owns the list of service names. A running process serves, and single queries report their own
//! failures. A watcher is notified when that changes, and costs a permit and memory but no work.

use ::http::{HeaderMap, StatusCode};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::{StreamExt, stream};
use prost::Message;
use tidings_grpc::{self as grpc, GrpcStatus};
use tidings_proto::otlp::Code;

use super::unread_budget::BodyMemory;
use crate::QueryService;

/// Maximum size of a request, which has only a service's name.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// Bytes reserved for one `Watch` stream, counted with the unread answers: its stream, head and task
/// took 8.5 KiB when 48,000 were open.
const WATCH_BYTES: u64 = 9 << 10;

/// The gRPC services of the address, and "" for all of them. The process adds Flight SQL's.
const SERVICES: [&str; 8] = [
    "",
    "arrow.flight.protocol.FlightService",
    "grpc.health.v1.Health",
    "jaeger.api_v2.QueryService",
    "jaeger.api_v3.QueryService",
    "jaeger.storage.v2.DependencyReader",
    "jaeger.storage.v2.TraceReader",
    "tempopb.StreamingQuerier",
];

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy)]
enum ServingStatus {
    Serving = 1,
    NotServing = 2,
    /// Used only by `Watch`.
    ServiceUnknown = 3,
}

impl ServingStatus {
    fn message(self) -> Vec<u8> {
        HealthCheckResponse { status: self as i32 }.encode_to_vec()
    }
}

/// The routes of the health check, at the root: gRPC has no path prefix.
pub(super) fn routes() -> Router<QueryService> {
    let call = post(call).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX));
    Router::new().route("/grpc.health.v1.Health/{method}", call)
}

async fn call(
    State(service): State<QueryService>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !grpc::is_grpc(&headers) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let answer = match method.as_str() {
        "Check" => is_known(&headers, body).and_then(|is_known| check(&service, is_known)),
        "Watch" => is_known(&headers, body).map(|is_known| watch(&service, is_known)),
        _ => Err(GrpcStatus::new(Code::Unimplemented, format!("unknown method {method}"))),
    };
    answer.unwrap_or_else(|status| grpc::reply(Err(status)).into_response())
}

/// Reports whether the requested service is one of this address.
fn is_known(headers: &HeaderMap, body: Bytes) -> Result<bool, GrpcStatus> {
    let message = grpc::unframe(headers, body, REQUEST_BYTES_MAX)?;
    let asked = HealthCheckRequest::decode(message);
    let asked = asked.map_err(|error| GrpcStatus::invalid(error.to_string()))?;
    Ok(SERVICES.contains(&asked.service.as_str()))
}

fn check(service: &QueryService, is_known: bool) -> Result<Response, GrpcStatus> {
    if !is_known {
        return Err(GrpcStatus::new(Code::NotFound, "unknown service"));
    }
    let status = match *service.shutdown_signal().borrow() {
        false => ServingStatus::Serving,
        true => ServingStatus::NotServing,
    };
    Ok(grpc::reply(Ok(vec![status.message()])).into_response())
}

/// Reports serving until the process stops, then not serving, which ends the stream. An unknown
/// service stays unknown, and its stream stays open.
fn watch(service: &QueryService, is_known: bool) -> Response {
    let mut ended = service.shutdown_signal();
    let first = match (is_known, *ended.borrow()) {
        (false, _) => Some(ServingStatus::ServiceUnknown),
        (true, false) => Some(ServingStatus::Serving),
        // The end is reported below, at once.
        (true, true) => None,
    };
    let last = async move {
        // An error means that the service has been dropped.
        let _ = ended.wait_for(|ended| *ended).await;
        is_known.then(|| Ok(grpc::framed(&[ServingStatus::NotServing.message()])))
    };
    let first = first.map(|status| Ok(grpc::framed(&[status.message()])));
    let last = stream::once(last).filter_map(std::future::ready);
    let answer = grpc::stream_frames(stream::iter(first).chain(last));
    (Extension(BodyMemory(WATCH_BYTES)), answer).into_response()
}
