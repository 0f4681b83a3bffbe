//! Message framing: a flag, a length of four bytes, the message.

use std::{fmt, io::Read};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use tidings_proto::otlp::Code;

use crate::{GrpcStatus, call_head::GRPC_ENCODING};

/// Bytes of the flag and the length before each message.
pub const PREFIX_BYTES: usize = 5;

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The bytes of the message.
    pub message: Bytes,
    /// True if the bytes are compressed with the encoding that `grpc-encoding` names.
    pub is_compressed: bool,
}

/// A fault in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The body ends before the message does.
    CutOff,
    /// The flag is neither 0 nor 1.
    Flag(u8),
    /// The message is longer than the limit.
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("the message is cut off"),
            Self::Flag(flag) => write!(f, "unknown message flag {flag}"),
            Self::TooLong => f.write_str("the message is too long"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Returns the length of a body with a single message, read from its prefix; 0 when the prefix is
/// incomplete or the message is empty.
#[must_use]
pub fn body_bytes(first: &[u8]) -> usize {
    let length = number(first.get(1..PREFIX_BYTES).unwrap_or_default());
    if length == 0 { 0 } else { length.saturating_add(PREFIX_BYTES) }
}

/// Takes the next message from a body; `None` at its end.
///
/// # Errors
/// When the message is cut off, is longer than `bytes_max`, or has an unknown flag.
pub fn next_frame(body: &mut Bytes, bytes_max: usize) -> Result<Option<Frame>, FrameError> {
    if body.is_empty() {
        return Ok(None);
    }
    if body.len() < PREFIX_BYTES {
        return Err(FrameError::CutOff);
    }
    let prefix = body.split_to(PREFIX_BYTES);
    let (flag, length) = prefix.split_first().ok_or(FrameError::CutOff)?;
    let length = number(length);
    if length > bytes_max {
        return Err(FrameError::TooLong);
    }
    if body.len() < length {
        return Err(FrameError::CutOff);
    }
    let is_compressed = match flag {
        0 => false,
        1 => true,
        flag => return Err(FrameError::Flag(*flag)),
    };
    Ok(Some(Frame { message: body.split_to(length), is_compressed }))
}

/// Reads a big-endian length.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Returns the single message of a unary request, decompressed.
///
/// # Errors
/// When the request has no message or several, or when [`unframe_all`] refuses one.
pub fn unframe(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Bytes, GrpcStatus> {
    let mut messages = unframe_all(headers, body, bytes_max)?.into_iter();
    let count = |words| GrpcStatus::new(Code::Unimplemented, words);
    match (messages.next(), messages.next()) {
        (Some(message), None) => Ok(message),
        (None, _) => Err(count("no message: this call has one")),
        (Some(_), Some(_)) => Err(count("several messages: this call has one")),
    }
}

/// Returns the messages of a request in their order, decompressed where their flag is set. Together
/// they have at most `bytes_max` bytes.
///
/// # Errors
/// When a message is cut off, has an unknown flag or encoding, or when the messages exceed
/// `bytes_max`.
pub fn unframe_all(
    headers: &HeaderMap,
    mut body: Bytes,
    bytes_max: usize,
) -> Result<Vec<Bytes>, GrpcStatus> {
    let (mut messages, mut bytes_left) = (Vec::new(), bytes_max);
    let too_long = || {
        let message = format!("the messages have more than {bytes_max} bytes");
        GrpcStatus::new(Code::ResourceExhausted, message)
    };
    while let Some(frame) = next_frame(&mut body, bytes_max).map_err(|error| match error {
        FrameError::TooLong => too_long(),
        error => GrpcStatus::new(Code::Internal, error.to_string()),
    })? {
        let message = match frame.is_compressed {
            true => decompressed(headers, &frame.message, bytes_left)?,
            false => frame.message,
        };
        bytes_left = bytes_left.checked_sub(message.len()).ok_or_else(too_long)?;
        messages.push(message);
    }
    Ok(messages)
}

/// Decompresses a message, reading at most one byte more than the limit.
fn decompressed(headers: &HeaderMap, message: &[u8], limit: usize) -> Result<Bytes, GrpcStatus> {
    match headers.get(GRPC_ENCODING).map(|name| name.as_bytes()) {
        Some(b"gzip") => {}
        Some(b"identity") | None => {
            let words = "a message is flagged as compressed, but grpc-encoding names nothing";
            return Err(GrpcStatus::new(Code::Internal, words));
        }
        Some(name) => {
            let name = String::from_utf8_lossy(name);
            let words = format!("grpc-encoding {name:?} is not supported, but gzip is");
            return Err(GrpcStatus::new(Code::Unimplemented, words));
        }
    }
    let mut whole = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = GzDecoder::new(message).take(most).read_to_end(&mut whole);
    let broken = |error| GrpcStatus::new(Code::Internal, format!("a message is not gzip: {error}"));
    read.map(|_| whole.into()).map_err(broken)
}

/// Returns the messages with their prefixes, uncompressed.
#[must_use]
pub fn framed(messages: &[Vec<u8>]) -> Bytes {
    let size = messages.iter().map(|message| message.len() + PREFIX_BYTES).sum();
    let mut data = BytesMut::with_capacity(size);
    for message in messages {
        data.put_u8(0);
        data.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        data.put_slice(message);
    }
    data.freeze()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use flate2::{Compression, write::GzEncoder};
    use http::{HeaderMap, HeaderValue};
    use tidings_proto::otlp::Code;

    use super::{FrameError, body_bytes, framed, next_frame, unframe, unframe_all};
    use crate::call_head::GRPC_ENCODING;

    const LIMIT: usize = 1_000;

    fn encoded(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_ENCODING, HeaderValue::from_static(name))])
    }

    fn gzip_frame(message: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message).unwrap();
        let mut frame = framed(&[encoder.finish().unwrap()]).to_vec();
        frame[0] = 1;
        frame.into()
    }

    #[test]
    fn framed_messages_are_unframed_unchanged() {
        let messages = vec![b"one".to_vec(), Vec::new(), b"two".to_vec()];
        let plain = HeaderMap::new();
        assert_eq!(unframe_all(&plain, framed(&messages), LIMIT).unwrap(), messages);
        assert_eq!(unframe(&plain, framed(&messages[..1]), LIMIT).unwrap(), "one");
        let both = [framed(&messages), gzip_frame(b"three")].concat();
        let read = unframe_all(&encoded("gzip"), both.into(), LIMIT).unwrap();
        assert_eq!(read.last().unwrap(), "three");
    }

    #[test]
    fn a_unary_request_without_or_with_several_messages_is_refused() {
        for messages in [&[][..], &[Vec::new(), Vec::new()]] {
            let status = unframe(&HeaderMap::new(), framed(messages), LIMIT).unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented);
        }
    }

    #[test]
    fn messages_that_are_too_long_or_not_in_their_encoding_are_refused() {
        let gzip = encoded("gzip");
        let bomb = gzip_frame(&vec![0; 1 << 20]);
        let too_long = framed(&[vec![0; 600], vec![0; 600]]);
        for (headers, body, code) in [
            (&gzip, bomb, Code::ResourceExhausted),
            (&gzip, too_long, Code::ResourceExhausted),
            (&gzip, Bytes::from_static(b"\x01\0\0\0\x01a"), Code::Internal),
            (&HeaderMap::new(), gzip_frame(b"a"), Code::Internal),
            (&encoded("identity"), gzip_frame(b"a"), Code::Internal),
            (&encoded("br"), gzip_frame(b"a"), Code::Unimplemented),
            (&gzip, Bytes::from_static(b"\0\0\0\0\x02a"), Code::Internal),
        ] {
            let status = unframe_all(headers, body, LIMIT).unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
        }
    }

    #[test]
    fn broken_frames_are_refused_with_their_fault() {
        let table: &[(&[u8], FrameError)] = &[
            (b"\0", FrameError::CutOff),
            (b"\0\0\0\0", FrameError::CutOff),
            (b"\0\0\0\0\x01", FrameError::CutOff),
            (b"\x02\0\0\0\x01a", FrameError::Flag(2)),
            (b"\0\0\0\0\x09a", FrameError::TooLong),
            (b"\0\xff\xff\xff\xffa", FrameError::TooLong),
        ];
        for (body, error) in table {
            assert_eq!(next_frame(&mut Bytes::from_static(body), 8), Err(*error), "{body:?}");
        }
        assert_eq!(next_frame(&mut Bytes::new(), 8), Ok(None));
    }

    #[test]
    fn the_length_of_a_body_is_read_from_its_prefix() {
        for (first, length) in
            [(&b"\0\0\0\x01\x02ab"[..], 263), (b"\0\0\0\0\0", 0), (b"\0\0", 0), (b"", 0)]
        {
            assert_eq!(body_bytes(first), length);
        }
    }
}
