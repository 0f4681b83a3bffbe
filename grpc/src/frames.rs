//! Message framing: a flag, a length of four bytes, the message.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

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

/// Returns a message with its prefix, uncompressed.
#[must_use]
pub fn framed(message: &[u8]) -> Bytes {
    let mut data = BytesMut::with_capacity(message.len() + PREFIX_BYTES);
    data.put_u8(0);
    data.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    data.put_slice(message);
    data.freeze()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Frame, FrameError, body_bytes, framed, next_frame};

    #[test]
    fn framed_messages_are_read_unchanged() {
        let both = [framed(b"one"), framed(b""), Bytes::from_static(b"\x01\0\0\0\x03two")];
        let mut body = Bytes::from(both.concat());
        for (message, is_compressed) in [("one", false), ("", false), ("two", true)] {
            let frame = Frame { message: Bytes::from(message), is_compressed };
            assert_eq!(next_frame(&mut body, 8), Ok(Some(frame)));
        }
        assert!(body.is_empty());
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
