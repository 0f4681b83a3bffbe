//! Calls of gRPC that answer queries, on tonic.
//!
//! Owns their routes, the bounds of a request, and the form of an answer. A request is one message.
//! The messages of an answer are encoded before, where the query's permits are held. Knows no
//! service and no message.

use std::marker::PhantomData;

use ::http::StatusCode;
use axum::{
    body::Body,
    extract::Request,
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use bytes::{BufMut, Bytes};
use futures::{
    StreamExt,
    stream::{BoxStream, iter},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost::Message;
use tidings_grpc::{PREFIX_BYTES, body_bytes, is_grpc};
use tidings_query::QueryService;
use tonic::{
    Code, Status,
    codec::{BufferSettings, Codec, CompressionEncoding, EncodeBuf, Encoder},
    server::Grpc,
};
use tonic_prost::ProstDecoder;
use tower::service_fn;

use super::unread_budget::BodyMemory;
use crate::rpc_status::{rpc_status, with_cut_status};

/// Encoded messages, each produced when the connection has taken the one before.
pub(super) type EncodedMessages = BoxStream<'static, Result<Vec<u8>, Status>>;

/// Builds a route of gRPC. A request that is not gRPC is refused.
pub(super) fn route<H, T>(handler: H) -> MethodRouter<QueryService>
where
    H: Handler<T, QueryService>,
    T: 'static,
{
    post(handler).route_layer(middleware::from_fn(pass_grpc))
}

/// Passes calls of gRPC on, and bounds their statuses.
async fn pass_grpc(request: Request, next: Next) -> Response {
    match is_grpc(request.headers()) {
        true => with_cut_status(next.run(request).await),
        false => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    }
}

/// Answers a call whose request is one message of at most `bytes_max` bytes.
pub(super) async fn answer<M, F>(
    service: QueryService,
    request: Request,
    bytes_max: usize,
    handler: impl Fn(QueryService, M) -> F,
) -> Response
where
    M: Message + Default + 'static,
    F: Future<Output = Result<tonic::Response<EncodedMessages>, Status>>,
{
    let request = match read_message(request, bytes_max).await {
        Ok(request) => request,
        Err(status) => return status.into_http(),
    };
    let called =
        service_fn(move |asked: tonic::Request<M>| handler(service.clone(), asked.into_inner()));
    let mut grpc = Grpc::new(EncodedCodec::<M>(PhantomData))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(bytes_max);
    grpc.server_streaming(called, request).await.map(Body::new)
}

/// Builds the answer to a call that a service does not have.
pub(super) fn unknown_method(method: &str) -> Response {
    rpc_status(Code::Unimplemented, format!("unknown method {method}")).into_http()
}

/// Reads a request of one message of at most `bytes_max` bytes.
pub(super) async fn read_message(request: Request, bytes_max: usize) -> Result<Request, Status> {
    let request = read_rpc_request(request, bytes_max).await?;
    require_one_message(request.body())?;
    Ok(request.map(Body::from))
}

/// Reads a whole request, whose messages have at most `bytes_max` bytes together. The limit of
/// tonic is for each message, and it allocates the length that a message claims before the message
/// arrives.
///
/// # Errors
/// When the request is longer, or breaks off.
pub async fn read_rpc_request(
    request: Request,
    bytes_max: usize,
) -> Result<::http::Request<Bytes>, Status> {
    let (head, body) = request.into_parts();
    match Limited::new(body, bytes_max.saturating_add(PREFIX_BYTES)).collect().await {
        Ok(body) => Ok(::http::Request::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the request has more than {bytes_max} bytes");
            Err(rpc_status(Code::ResourceExhausted, message))
        }
        Err(_) => Err(rpc_status(Code::Internal, "the request broke off")),
    }
}

/// Checks that the body of a request has no message behind the first one. tonic would decompress
/// and decode the others, and drop them.
///
/// # Errors
/// When there are several messages.
pub fn require_one_message(body: &[u8]) -> Result<(), Status> {
    if body.len() <= PREFIX_BYTES.max(body_bytes(body)) {
        return Ok(());
    }
    Err(rpc_status(Code::Unimplemented, "this call takes one message"))
}

/// Builds an answer of messages in memory, whose bytes are reserved until the connection has taken
/// them.
pub(super) fn in_memory(messages: Vec<Vec<u8>>) -> tonic::Response<EncodedMessages> {
    let bytes: u64 = messages.iter().map(|message| (message.len() + PREFIX_BYTES) as u64).sum();
    let mut response = tonic::Response::new(iter(messages.into_iter().map(Ok)).boxed());
    response.extensions_mut().insert(BodyMemory(bytes));
    response
}

/// Codec of requests and of messages that are encoded already.
struct EncodedCodec<M>(PhantomData<fn() -> M>);

impl<M: Message + Default + 'static> Codec for EncodedCodec<M> {
    type Encode = Vec<u8>;
    type Decode = M;
    type Encoder = EncodedMessage;
    type Decoder = ProstDecoder<M>;

    fn encoder(&mut self) -> EncodedMessage {
        EncodedMessage
    }

    fn decoder(&mut self) -> ProstDecoder<M> {
        ProstDecoder::default()
    }
}

/// Encoder of a message that is encoded already.
struct EncodedMessage;

impl Encoder for EncodedMessage {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put_slice(&message);
        Ok(())
    }

    /// Gives each message to the connection before the next one is produced, so that the memory of
    /// one message is held at a time.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::{
        body::{Body, HttpBody},
        http::Request,
        response::Response,
    };
    use bytes::Bytes;
    use flate2::{Compression, write::GzEncoder};
    use http_body_util::BodyExt;
    use prost::Message;
    use tonic::{Code, Status};

    use super::{EncodedMessages, in_memory, unknown_method};
    use crate::{http::unread_budget::BodyMemory, rpc_status::rpc_status};

    const LIMIT: usize = 1_000;

    #[derive(Clone, PartialEq, Message)]
    struct Greeting {
        #[prost(string, tag = "1")]
        text: String,
    }

    fn encoded(text: &str) -> Vec<u8> {
        Greeting { text: text.to_owned() }.encode_to_vec()
    }

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[flag][..], &length.to_be_bytes(), message].concat()
    }

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    }

    /// Answers with the text twice, and refuses to say "no".
    async fn repeat(asked: Greeting) -> Result<tonic::Response<EncodedMessages>, Status> {
        match asked.text.as_str() {
            "no" => Err(rpc_status(Code::NotFound, "none")),
            text => Ok(in_memory(vec![encoded(text), encoded(text)])),
        }
    }

    async fn ask(body: Vec<u8>) -> Response {
        let folder = tempfile::tempdir().unwrap();
        let service = crate::http::tests::single_permit_service(folder.path()).await;
        let request = Request::post("/").header("grpc-encoding", "gzip");
        let request = request.body(Body::from(body)).unwrap();
        super::answer(service, request, LIMIT, |_, asked| repeat(asked)).await
    }

    #[tokio::test]
    async fn an_answer_is_its_messages_each_in_a_frame_and_a_status() {
        for body in [frame(0, &encoded("a")), frame(1, &gzip(&encoded("a")))] {
            let response = ask(body).await;
            assert_eq!(response.headers()["content-type"], "application/grpc");
            let message = frame(0, &encoded("a"));
            let declared = response.extensions().get::<BodyMemory>().unwrap().0;
            assert_eq!(declared, 2 * message.len() as u64);
            let mut body = response.into_body();
            for _ in 0..2 {
                let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(data, Bytes::from(message.clone()));
            }
            let end = body.frame().await.unwrap().unwrap();
            assert_eq!(end.trailers_ref().unwrap()["grpc-status"], "0");
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_refusal_is_a_status_in_the_head_of_an_answer_without_a_body() {
        let long = encoded(&"x".repeat(LIMIT));
        let many = frame(0, &encoded("a")).repeat(LIMIT);
        for (name, body, code) in [
            ("refused", frame(0, &encoded("no")), "5"),
            ("long", frame(0, &long)[..20].to_vec(), "11"),
            ("long when decompressed", frame(1, &gzip(&long)), "8"),
            ("several messages", frame(0, &encoded("a")).repeat(2), "12"),
            ("several messages, compressed", frame(1, &gzip(&encoded("a"))).repeat(2), "12"),
            ("several messages without end", many, "8"),
            ("no message", Vec::new(), "13"),
            ("cut off", frame(0, &encoded("a"))[..6].to_vec(), "13"),
            ("not gzip", frame(1, b"a"), "13"),
            ("not the message", frame(0, b"\xff"), "13"),
        ] {
            let response = ask(body).await;
            assert_eq!(response.headers()["grpc-status"], code, "{name}");
            assert!(response.body().is_end_stream(), "{name}");
        }
        assert_eq!(unknown_method("Get").headers()["grpc-message"], "unknown%20method%20Get");
    }
}
