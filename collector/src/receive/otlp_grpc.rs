//! OTLP over gRPC: the trace service, the logs service, and gRPC's health check.

use futures::future::BoxFuture;
use http::{HeaderValue, Response, header, request::Parts};
use prost::Message;
use tidings_proto::api::StandardReceiver;

use super::{
    Exchange, PLAIN_TEXT, Receiver, full, grpc,
    otlp::{self, Encoding},
};
use crate::{
    decompress::too_large,
    ingest::Payload,
    normalise::Signal,
    refusal::{Reason, Refusal},
    sink::ReplyBody,
};

/// The receiver.
#[derive(Debug)]
pub(super) struct OtlpGrpc;

/// The health check's path.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Supported methods.
enum GrpcMethod {
    Export(Signal),
    Health,
}

fn call(path: &str) -> Result<GrpcMethod, Refusal> {
    const STORED: &str = "traces and logs are stored here";
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => {
            Ok(GrpcMethod::Export(Signal::Traces))
        }
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => {
            Ok(GrpcMethod::Export(Signal::Logs))
        }
        HEALTH => Ok(GrpcMethod::Health),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Err(Refusal::new(
            Reason::NotStored,
            format!("metrics are not stored; {STORED}: switch the metrics exporter off"),
        )),
        _ if path.starts_with("/opentelemetry.proto.collector.profiles.") => Err(Refusal::new(
            Reason::NotStored,
            format!("profiles are not stored; {STORED}: switch the profiles exporter off"),
        )),
        _ => {
            let message = format!("unknown method {path:?}: {STORED}, by OTLP's Export methods");
            Err(Refusal::new(Reason::UnknownPath, message))
        }
    }
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Statuses of the health check, according to whether an export would be stored now.
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

impl Receiver for OtlpGrpc {
    fn name(&self) -> &'static str {
        StandardReceiver::OTLP_GRPC.name
    }

    fn receive<'a>(
        &'a self,
        exchange: Exchange<'a>,
    ) -> BoxFuture<'a, Result<Response<ReplyBody>, Refusal>> {
        Box::pin(async move {
            grpc::check_transport(exchange.head)?;
            let Some(timeout) = grpc::timeout(&exchange.head.headers)? else {
                return answer(exchange).await;
            };
            let deadline = exchange.ingest.clock.sleep(timeout);
            tokio::select! {
                result = answer(exchange) => result,
                () = deadline => {
                    Err(Refusal::new(Reason::Deadline, "the client's deadline has passed"))
                }
            }
        })
    }

    fn is_health(&self, head: &Parts) -> bool {
        head.uri.path() == HEALTH
    }

    fn refuse(&self, head: &Parts, refusal: &Refusal) -> Response<ReplyBody> {
        if tidings_grpc::is_grpc(&head.headers) && refusal.reason != Reason::MediaType {
            return grpc::refuse(refusal);
        }
        let mut response = Response::new(full(format!("{}\n", refusal.message)));
        *response.status_mut() = refusal.reason.http();
        let plain = HeaderValue::from_static(PLAIN_TEXT);
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }
}

async fn answer(exchange: Exchange<'_>) -> Result<Response<ReplyBody>, Refusal> {
    let Exchange { head, body, reader, ingest, mut admission } = exchange;
    let call = call(head.uri.path())?;
    let encoding = grpc::encoding(&head.headers)?;
    let limit = ingest.limits.grpc_message_bytes_max;
    let body_max = limit.saturating_add(tidings_grpc::PREFIX_BYTES);
    let read = reader.read(body, body_max, tidings_grpc::body_bytes, &mut admission).await;
    let body = read.map_err(|refusal| match refusal.reason {
        Reason::TooLarge => too_large(limit),
        _ => refusal,
    })?;
    let (bytes, compression) = grpc::unframe(body, encoding, limit)?;
    match call {
        GrpcMethod::Health => {
            let status = if ingest.is_ready() { SERVING } else { NOT_SERVING };
            Ok(grpc::reply(&HealthCheckResponse { status }.encode_to_vec()))
        }
        GrpcMethod::Export(signal) => {
            let format = otlp::format(signal, Encoding::Protobuf);
            let broken = Reason::Framing;
            let payload = Payload { bytes, compression, limit, broken, format };
            let outcome = ingest.store(admission, payload).await?;
            Ok(grpc::reply(&otlp::response(signal, Encoding::Protobuf, outcome)))
        }
    }
}
