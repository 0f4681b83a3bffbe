//! gRPC's health check on the HTTP address: [the protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
//!
//! Owns the list of services that are known by name. What answers serves: whether a question can
//! be answered is said by the question. `Watch` is not there, after which gRPC's clients take the
//! server for healthy.

use ::http::{HeaderMap, StatusCode};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path},
    response::{IntoResponse, Response},
    routing::post,
};
use prost::Message;
use tidings_proto::otlp::Code;

use crate::{
    QueryService,
    grpc::{self, Status},
};

/// A request has a service's name and nothing else.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// The services of the address, and "" for all of them. Flight SQL's is added by the process.
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

/// `SERVING` of `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;

/// The call, at the root: gRPC knows no prefix.
pub(super) fn routes() -> Router<QueryService> {
    let call = post(call).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX));
    Router::new().route("/grpc.health.v1.Health/{method}", call)
}

async fn call(Path(method): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    if !grpc::is_grpc(&headers) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    grpc::reply(answer(&method, body).map(|message| vec![message]))
}

fn answer(method: &str, body: Bytes) -> Result<Vec<u8>, Status> {
    if method != "Check" {
        return Err(Status::new(Code::Unimplemented, format!("unknown method {method}")));
    }
    let asked = HealthCheckRequest::decode(grpc::unframe(body)?);
    let asked = asked.map_err(|error| Status::invalid(error.to_string()))?;
    if !SERVICES.contains(&asked.service.as_str()) {
        return Err(Status::new(Code::NotFound, "unknown service"));
    }
    Ok(HealthCheckResponse { status: SERVING }.encode_to_vec())
}
