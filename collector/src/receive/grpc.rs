//! Calls over gRPC: requests, responses and refusals, in the framing of [`tidings_grpc`].
//!
//! Does not own services and messages.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use http_body_util::BodyExt;
use tidings_grpc::{
    FrameError, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, GrpcStatus, is_grpc, next_frame,
};

use super::full;
use crate::{
    decompress::{Compression, too_large},
    refusal::{Reason, Refusal},
    sink::ReplyBody,
};

/// Parses the client's timeout; `None` when it sent none.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let timeout = tidings_grpc::timeout(headers);
    timeout.map_err(|error| Refusal::new(Reason::Framing, error.to_string()))
}

/// Returns the compression of messages whose compressed flag is set.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let mut values = headers.get_all(GRPC_ENCODING).iter();
    let name = values.next().map_or("", |value| value.to_str().unwrap_or("?"));
    Compression::from_name(name).filter(|_| values.next().is_none()).ok_or_else(|| {
        let names = Compression::NAMES;
        let message = format!("grpc-encoding {name:?} is not supported, but {names} are");
        Refusal::new(Reason::Encoding, message)
    })
}

/// Returns the message of a unary request, still compressed, with its compression.
pub(super) fn unframe(
    mut body: Bytes,
    encoding: Compression,
    limit: usize,
) -> Result<(Bytes, Compression), Refusal> {
    let frame = next_frame(&mut body, limit).map_err(|error| match error {
        FrameError::TooLong => too_large(limit),
        FrameError::CutOff | FrameError::Flag(_) => {
            Refusal::new(Reason::Framing, error.to_string())
        }
    })?;
    let several = (!body.is_empty()).then_some("several messages: a unary call has one");
    let frame = frame.ok_or("no message: a unary call has one");
    let frame =
        several.map_or(frame, Err).map_err(|words| Refusal::new(Reason::Cardinality, words))?;
    match (frame.is_compressed, encoding) {
        (false, _) => Ok((frame.message, Compression::None)),
        (true, Compression::None) => {
            let message = "the message is flagged as compressed, but grpc-encoding names nothing";
            Err(Refusal::new(Reason::Framing, message))
        }
        (true, encoding) => Ok((frame.message, encoding)),
    }
}

/// Returns a successful response.
pub(super) fn reply(message: &[u8]) -> Response<ReplyBody> {
    let response = tidings_grpc::reply(message);
    with_encodings(response.map(|body| body.map_err(|never| match never {}).boxed_unsync()))
}

/// Returns the response of a refusal: a status without a message.
pub(super) fn refuse(refusal: &Refusal) -> Response<ReplyBody> {
    let mut response = Response::new(full(Bytes::new()));
    let status = GrpcStatus::with_details(refusal.reason.grpc(), refusal.status());
    *response.headers_mut() = status.trailers();
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    with_encodings(response)
}

fn with_encodings(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    let names = HeaderValue::from_static(Compression::NAMES);
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, names);
    response
}

/// Checks that the request can be a gRPC call. The refusal names the missing property.
pub(super) fn check_transport(head: &Parts) -> Result<(), Refusal> {
    if !is_grpc(&head.headers) {
        let message = "this port speaks OTLP over gRPC (content type application/grpc); OTLP over \
                       HTTP has a port of its own, usually 4318";
        return Err(Refusal::new(Reason::MediaType, message));
    }
    if head.version != http::Version::HTTP_2 {
        return Err(Refusal::new(Reason::MediaType, "gRPC needs HTTP/2"));
    }
    if head.method != http::Method::POST {
        return Err(Refusal::new(Reason::Method, "gRPC calls are POST requests"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::unframe;
    use crate::{
        decompress::Compression::{Gzip, None as Plain},
        refusal::Reason,
    };

    #[test]
    fn a_single_complete_message_is_unframed() {
        let body = Bytes::from_static(b"\0\0\0\0\x02ab");
        assert_eq!(unframe(body.clone(), Plain, 2).unwrap(), (Bytes::from("ab"), Plain));
        assert_eq!(unframe(body, Gzip, 2).unwrap(), (Bytes::from("ab"), Plain));
        let body = Bytes::from_static(b"\x01\0\0\0\x02ab");
        assert_eq!(unframe(body, Gzip, 2).unwrap(), (Bytes::from("ab"), Gzip));
        let empty = Bytes::from_static(b"\0\0\0\0\0");
        assert_eq!(unframe(empty, Plain, 2).unwrap(), (Bytes::new(), Plain));
    }

    #[test]
    fn broken_frames_are_refused_with_their_fault() {
        let table: &[(&[u8], Reason)] = &[
            (b"", Reason::Cardinality),
            (b"\0", Reason::Framing),
            (b"\0\0\0\0", Reason::Framing),
            (b"\0\0\0\0\x01", Reason::Framing),
            (b"\0\0\0\0\x01ab", Reason::Cardinality),
            (b"\0\0\0\0\x01a\0\0\0\0\0", Reason::Cardinality),
            (b"\x01\0\0\0\x01a", Reason::Framing),
            (b"\x02\0\0\0\x01a", Reason::Framing),
            (b"\0\0\0\0\x09a", Reason::TooLarge),
            (b"\0\xff\xff\xff\xffa", Reason::TooLarge),
        ];
        for (body, reason) in table {
            let refusal = unframe(Bytes::from_static(body), Plain, 8).unwrap_err();
            assert_eq!(refusal.reason, *reason, "{body:?}");
        }
    }
}
