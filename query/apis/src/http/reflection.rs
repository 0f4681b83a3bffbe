//! gRPC's server reflection: [the
//! protocol](https://github.com/grpc/grpc/blob/master/doc/server-reflection.md) by which `grpcurl`
//! and other tools call the services of the address without their `.proto` files.
//!
//! Owns the descriptors of these services and the bounds of a stream of requests for them. They are
//! compiled from `docs/grpc`, and contain no telemetry. A stream lasts as long as its requests
//! arrive, which the process bounds, and at most as long as its answer is read.

use std::{convert::Infallible, sync::LazyLock};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    response::Response,
};
use futures::StreamExt;
use http_body_util::BodyExt;
use tidings_query::QueryService;
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;
use tonic_reflection::{
    pb::{v1, v1alpha},
    server::Builder,
};
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{grpc_calls, unread_budget::BodyMemory};

/// Maximum size of a request, which has only the name of a symbol or a file. The status of an
/// unknown name repeats it.
const REQUEST_BYTES_MAX: usize = 1 << 10;

/// Bytes reserved for one stream, counted with the unread answers: its stream and tasks as those of
/// a `Watch` of the health check, a request, the buffers of both directions, and three answers of
/// at most 8 KiB of descriptors.
const STREAM_BYTES: u64 = 128 << 10;

/// Descriptors of the services of the address, with the process's Flight SQL. A test compares them
/// with `docs/grpc`.
const SERVICES: &[u8] = include_bytes!("../../../../docs/grpc/services.binpb");

/// The only method of the protocol.
const METHOD: &str = "ServerReflectionInfo";

/// One version of the protocol.
type ReflectionService = BoxCloneSyncService<Request, Response<tonic::body::Body>, Infallible>;

/// Version 1, built once for all tenants.
static V1: LazyLock<ReflectionService> = LazyLock::new(|| {
    let service = described().build_v1().expect("invariant: the descriptors are complete");
    BoxCloneSyncService::new(
        service
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .accept_compressed(CompressionEncoding::Gzip),
    )
});

/// The version before, whose messages are the same; older tools know it alone.
static V1_ALPHA: LazyLock<ReflectionService> = LazyLock::new(|| {
    let service = described().build_v1alpha().expect("invariant: the descriptors are complete");
    BoxCloneSyncService::new(
        service
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .accept_compressed(CompressionEncoding::Gzip),
    )
});

/// Returns the builder of a version. Both describe each other.
fn described() -> Builder<'static> {
    Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(SERVICES)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(v1alpha::FILE_DESCRIPTOR_SET)
}

/// The routes of both versions, at the root: gRPC has no path prefix.
pub(super) fn routes() -> Router<QueryService> {
    Router::new()
        .route("/grpc.reflection.v1.ServerReflection/{method}", grpc_calls::route(call_v1))
        .route(
            "/grpc.reflection.v1alpha.ServerReflection/{method}",
            grpc_calls::route(call_v1_alpha),
        )
}

async fn call_v1(Path(method): Path<String>, request: Request) -> Response {
    answer(&V1, &method, request).await
}

async fn call_v1_alpha(Path(method): Path<String>, request: Request) -> Response {
    answer(&V1_ALPHA, &method, request).await
}

async fn answer(service: &ReflectionService, method: &str, request: Request) -> Response {
    if method != METHOD {
        return grpc_calls::unknown_method(method);
    }
    // The service reads requests in a task of its own. It would wait for them after its answer was
    // refused or its client left, so the requests end with the answer.
    let (held, dropped) = oneshot::channel::<()>();
    let until_dropped = |body: Body| Body::from_stream(body.into_data_stream().take_until(dropped));
    let Ok(response) = service.clone().oneshot(request.map(until_dropped)).await;
    let mut response = response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &held;
            frame
        }))
    });
    response.extensions_mut().insert(BodyMemory(STREAM_BYTES));
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use ::http::{Request, header};
    use axum::body::{Body, Bytes};
    use futures::stream;
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::{BodyMemory, METHOD, V1, V1_ALPHA, answer};

    fn request(body: Body) -> Request<Body> {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/grpc");
        request.body(body).unwrap()
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_answer_is_dropped() {
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let sent = stream::unfold(receiver, |mut receiver| async move {
            let bytes = receiver.recv().await?;
            Some((Ok::<Bytes, Infallible>(bytes), receiver))
        });
        let answer = answer(&V1, METHOD, request(Body::from_stream(sent))).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.extensions().get::<BodyMemory>().is_some(), "an idle stream is counted");
        assert!(!sender.is_closed());
        drop(answer);
        sender.closed().await;
    }

    #[tokio::test]
    async fn a_request_beyond_its_bound_ends_the_stream() {
        // A name of 64 KiB.
        let mut frame = vec![0, 0, 1, 0, 4, 0x22, 0x80, 0x80, 0x04];
        frame.resize(5 + (64 << 10) + 4, b'a');
        let answer = answer(&V1, METHOD, request(Body::from(frame))).await;
        let read = answer.into_body().collect().await.unwrap();
        assert_eq!(read.to_bytes().len(), 0, "there is no answer to it");
    }

    #[tokio::test]
    async fn a_method_that_is_not_there_is_refused_by_its_name() {
        let refused = answer(&V1_ALPHA, "OfTheFuture", request(Body::empty())).await;
        assert_eq!(refused.headers()["grpc-status"], "12");
        assert_eq!(refused.headers()["grpc-message"], "unknown%20method%20OfTheFuture");
    }
}
