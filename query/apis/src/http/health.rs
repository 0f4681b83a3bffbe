//! gRPC's health check on the HTTP address: [the
//! protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
//!
//! Owns the list of service names. A running process serves, and single queries report their own
//! failures. A watcher is notified when that changes, and costs a permit and memory but no work.

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tidings_query::QueryService;
use tonic::{Code, Status, codec::CompressionEncoding};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tower::ServiceExt;

use super::{grpc_calls, unread_budget::BodyMemory};
use crate::rpc_status::rpc_status;

/// Maximum size of a request, which has only a service's name.
const REQUEST_BYTES_MAX: usize = 4 << 10;

/// Bytes reserved for one `Watch` stream, counted with the unread answers: its stream, head and task
/// took 8.5 KiB when 48,000 were open, and tonic has a buffer of 8 KiB for its messages.
const WATCH_BYTES: u64 = 17 << 10;

/// Names of the gRPC services of the HTTP address. The process adds Flight SQL's. Tests compare the
/// list with the routes, and metrics and spans of requests with the list.
pub const GRPC_SERVICES: [&str; 9] = [
    "arrow.flight.protocol.FlightService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "jaeger.api_v2.QueryService",
    "jaeger.api_v3.QueryService",
    "jaeger.storage.v2.DependencyReader",
    "jaeger.storage.v2.TraceReader",
    "tempopb.StreamingQuerier",
];

/// The routes of the health check, at the root: gRPC has no path prefix.
pub(super) fn routes() -> Router<QueryService> {
    Router::new().route("/grpc.health.v1.Health/{method}", grpc_calls::route(call))
}

async fn call(
    State(service): State<QueryService>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    if !matches!(method.as_str(), "Check" | "Watch") {
        return grpc_calls::unknown_method(&method);
    }
    let request = match grpc_calls::read_message(request, REQUEST_BYTES_MAX).await {
        Ok(request) => request,
        Err(status) => return status.into_http(),
    };
    let server = HealthServer::new(AddressHealth(service))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let Ok(response) = server.oneshot(request).await;
    response.map(Body::new)
}

/// The health of the services of this address.
struct AddressHealth(QueryService);

#[tonic::async_trait]
impl Health for AddressHealth {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        if !is_known(request.get_ref()) {
            return Err(rpc_status(Code::NotFound, "unknown service"));
        }
        let is_ended = *self.0.shutdown_signal().borrow();
        let status = if is_ended { ServingStatus::NotServing } else { ServingStatus::Serving };
        Ok(tonic::Response::new(message(status)))
    }

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let statuses = statuses(&self.0, is_known(request.get_ref()));
        let mut response = tonic::Response::new(statuses);
        response.extensions_mut().insert(BodyMemory(WATCH_BYTES));
        Ok(response)
    }
}

/// Reports whether the requested service is one of this address. An empty name stands for all of
/// them.
fn is_known(asked: &HealthCheckRequest) -> bool {
    asked.service.is_empty() || GRPC_SERVICES.contains(&asked.service.as_str())
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// Reports serving until the process stops, then not serving, which ends the stream. An unknown
/// service stays unknown, and its stream stays open.
fn statuses(
    service: &QueryService,
    is_known: bool,
) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
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
        is_known.then_some(ServingStatus::NotServing)
    };
    let last = stream::once(last).filter_map(std::future::ready);
    stream::iter(first).chain(last).map(|status| Ok(message(status))).boxed()
}
