//! gRPC's unary framing over HTTP/2: requests in, responses and statuses out.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>; why this is not a library is
//! told in `docs/decisions/0005-frame-ingest-grpc-ourselves.md`. Knows no service and no message.

use std::{convert::Infallible, fmt::Write as _, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::{full, media_type};
use crate::{
    decompress::{Compression, too_large},
    reads::ReplyBody,
    refusal::{Reason, Refusal},
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The flag and the length before each message.
pub(super) const PREFIX_BYTES: usize = 5;

/// Length of a body with a single message, read from its prefix; 0 when the prefix is incomplete.
pub(super) fn body_bytes(first: &[u8]) -> usize {
    let length = number(first.get(1..PREFIX_BYTES).unwrap_or_default());
    if length == 0 { 0 } else { length.saturating_add(PREFIX_BYTES) }
}

/// A length as it is written, big end first.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Reports whether the request's content type is gRPC with protobuf.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    matches!(media_type(headers).as_str(), "application/grpc" | "application/grpc+proto")
}

/// Parses the client's timeout; `None` when it sent none.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let parse = || {
        let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
        if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count: u64 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(count * 3600),
            "M" => Duration::from_secs(count * 60),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    let malformed =
        || Refusal::new(Reason::Framing, format!("grpc-timeout {value:?} is not valid"));
    parse().map(Some).ok_or_else(malformed)
}

/// The compression that messages with the compressed flag have.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Compression, Refusal> {
    let mut values = headers.get_all(GRPC_ENCODING).iter();
    let name = values.next().map_or("", |value| value.to_str().unwrap_or("?"));
    Compression::from_name(name).filter(|_| values.next().is_none()).ok_or_else(|| {
        let names = Compression::NAMES;
        let message = format!("grpc-encoding {name:?} is not supported, but {names} are");
        Refusal::new(Reason::Encoding, message)
    })
}

/// The one message of a unary request, still compressed, and how.
pub(super) fn unframe(
    mut body: Bytes,
    encoding: Compression,
    limit: usize,
) -> Result<(Bytes, Compression), Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(Reason::Cardinality, "no message: a unary call has one"));
    }
    let cut_off = || Refusal::new(Reason::Framing, "the message is cut off");
    if body.len() < PREFIX_BYTES {
        return Err(cut_off());
    }
    let prefix = body.split_to(PREFIX_BYTES);
    let (flag, length) = prefix.split_first().ok_or_else(cut_off)?;
    let length = number(length);
    if length > limit {
        return Err(too_large(limit));
    }
    if body.len() < length {
        return Err(cut_off());
    }
    if body.len() > length {
        return Err(Refusal::new(Reason::Cardinality, "several messages: a unary call has one"));
    }
    match (flag, encoding) {
        (0, _) => Ok((body, Compression::None)),
        (1, Compression::None) => {
            let message = "the message is flagged as compressed, but grpc-encoding names nothing";
            Err(Refusal::new(Reason::Framing, message))
        }
        (1, encoding) => Ok((body, encoding)),
        _ => Err(Refusal::new(Reason::Framing, format!("unknown message flag {flag}"))),
    }
}

/// The answer of success.
pub(super) fn reply(message: &[u8]) -> Response<ReplyBody> {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let trailers = async move { Some(Ok::<_, Infallible>(trailers)) };
    let body = Full::new(framed.freeze()).with_trailers(trailers);
    response(body.map_err(|never| match never {}).boxed_unsync())
}

/// The answer of a refusal: a status without a message.
pub(super) fn refuse(refusal: &Refusal) -> Response<ReplyBody> {
    let mut response = response(full(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(refusal.reason.grpc() as i32));
    let details = STANDARD_NO_PAD.encode(refusal.status().encode_to_vec());
    for (name, value) in
        [(GRPC_MESSAGE, percent_encoded(&refusal.message)), (GRPC_DETAILS, details)]
    {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

fn response(body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(Compression::NAMES));
    response
}

/// Checks that the request can be gRPC; the refusal names the missing property.
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

/// The form of `grpc-message`: printable ASCII, the rest as `%` and two digits per UTF-8 byte.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::{body_bytes, percent_encoded, timeout, unframe};
    use crate::{
        decompress::Compression::{Gzip, None as Plain},
        refusal::Reason,
    };

    #[test]
    fn one_whole_message_is_unframed() {
        let body = Bytes::from_static(b"\0\0\0\0\x02ab");
        assert_eq!(unframe(body.clone(), Plain, 2).unwrap(), (Bytes::from("ab"), Plain));
        assert_eq!(unframe(body, Gzip, 2).unwrap(), (Bytes::from("ab"), Plain));
        let body = Bytes::from_static(b"\x01\0\0\0\x02ab");
        assert_eq!(unframe(body, Gzip, 2).unwrap(), (Bytes::from("ab"), Gzip));
        let empty = Bytes::from_static(b"\0\0\0\0\0");
        assert_eq!(unframe(empty, Plain, 2).unwrap(), (Bytes::new(), Plain));
    }

    #[test]
    fn a_message_says_how_long_its_body_is() {
        for (first, length) in
            [(&b"\0\0\0\x01\x02ab"[..], 263), (b"\0\0\0\0\0", 0), (b"\0\0", 0), (b"", 0)]
        {
            assert_eq!(body_bytes(first), length);
        }
    }

    #[test]
    fn broken_frames_are_refused_by_their_fault() {
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

    #[test]
    fn timeouts_have_a_unit_and_eight_digits_at_most() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(super::GRPC_TIMEOUT, HeaderValue::from_str(value).unwrap());
            timeout(&headers)
        };
        assert_eq!(timeout(&HeaderMap::new()), Ok(None));
        for (value, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("10S", Duration::from_secs(10)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("5u", Duration::from_micros(5)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(of(value), Ok(Some(expected)), "{value}");
        }
        for value in ["", "S", "5", "5s", "-5S", "123456789S", "1 S", "+1S"] {
            assert_eq!(of(value).unwrap_err().reason, Reason::Framing, "{value}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("50% é\n~"), "50%25 %C3%A9%0A~");
    }
}
