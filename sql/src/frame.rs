//! The bytes of messages: frames of a bounded length.
//!
//! ```text
//! frame   = kind (1 byte) · length (4 bytes, little endian) · payload
//! M       a message in JSON
//! B       scan (4 bytes) · length of header (4 bytes) · header · body   rows, as Arrow's messages
//! P       a part of the answer, in the requested format
//! ```
//!
//! Batches go only to a worker, parts only to the server. Each side refuses frames that are longer
//! than the other side may send.

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Maximum bytes of a message, and of a part of an answer.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Maximum bytes of a batch: a single row may be as large as a request that is received.
const BATCH_BYTES_MAX: usize = 1 << 30;

const HEAD_BYTES: usize = 5;
const MESSAGE: u8 = b'M';
const BATCH: u8 = b'B';
const PART: u8 = b'P';

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

fn head(kind: u8, length: usize) -> io::Result<[u8; HEAD_BYTES]> {
    let length = u32::try_from(length).map_err(|_| invalid("a frame is too long"))?;
    let [a, b, c, d] = length.to_le_bytes();
    Ok([kind, a, b, c, d])
}

/// Returns the frame of a message.
///
/// # Errors
/// Fails if the message is longer than a frame may be.
pub fn message(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD_BYTES];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - HEAD_BYTES;
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid(format!("a message has {length} bytes")));
    }
    frame[..HEAD_BYTES].copy_from_slice(&head(MESSAGE, length)?);
    Ok(frame)
}

/// Returns the message of a frame.
///
/// # Errors
/// Fails if the payload is another message.
pub fn parse<M: DeserializeOwned>(payload: &[u8]) -> io::Result<M> {
    serde_json::from_slice(payload).map_err(io::Error::from)
}

/// Returns the head of a part's frame.
///
/// # Errors
/// Fails if the part is longer than a frame can be.
pub fn part_head(part: &[u8]) -> io::Result<[u8; HEAD_BYTES]> {
    head(PART, part.len())
}

/// Returns the beginning of a batch's frame, before its header and its body.
pub(crate) fn batch_head(scan: u32, header: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
    let length = 8 + header.len() + body.len();
    if length > BATCH_BYTES_MAX {
        return Err(invalid(format!("a batch has {length} bytes")));
    }
    let header_length = u32::try_from(header.len()).map_err(|_| invalid("a header is too long"))?;
    let mut begin = head(BATCH, length)?.to_vec();
    begin.extend(scan.to_le_bytes());
    begin.extend(header_length.to_le_bytes());
    Ok(begin)
}

/// A frame from a worker.
#[derive(Debug)]
pub(crate) enum WorkerFrame {
    Message(Bytes),
    Part(Bytes),
}

/// Reads a worker's frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new() }
    }

    /// Returns the next frame; `None` when the worker has ended. The future may be dropped and
    /// called again.
    ///
    /// # Errors
    /// Fails if the bytes are no frame or too long.
    pub(crate) async fn next(&mut self) -> io::Result<Option<WorkerFrame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<WorkerFrame>> {
        let Some([kind, length @ ..]) = self.buffer.first_chunk::<HEAD_BYTES>().copied() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(length) as usize;
        if !matches!(kind, MESSAGE | PART) || length > MESSAGE_BYTES_MAX {
            return Err(invalid(format!("a frame of kind {kind} and {length} bytes")));
        }
        if self.buffer.len() < HEAD_BYTES + length {
            self.buffer.reserve(HEAD_BYTES + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        Ok(Some(if kind == PART {
            WorkerFrame::Part(payload)
        } else {
            WorkerFrame::Message(payload)
        }))
    }
}

/// A frame from the server.
#[derive(Debug)]
pub enum ServerFrame {
    /// The bytes of a message.
    Message(Vec<u8>),
    /// Rows of a scan.
    Batch {
        /// Number of the scan.
        scan: u32,
        /// The header of Arrow's message.
        header: Vec<u8>,
        /// The body of Arrow's message.
        body: Vec<u8>,
    },
}

/// Returns the next frame from the server; `None` when the server has gone.
///
/// # Errors
/// Fails if the bytes are no frame.
pub fn read_server_frame(from: &mut impl Read) -> io::Result<Option<ServerFrame>> {
    let mut head = [0; HEAD_BYTES];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let [kind, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    match kind {
        MESSAGE if length <= MESSAGE_BYTES_MAX => {
            Ok(Some(ServerFrame::Message(read_bytes(from, length)?)))
        }
        BATCH if (8..=BATCH_BYTES_MAX).contains(&length) => {
            let mut numbers = [0; 8];
            from.read_exact(&mut numbers)?;
            let [a, b, c, d, header @ ..] = numbers;
            let header = u32::from_le_bytes(header) as usize;
            let body = (length - 8).checked_sub(header).ok_or_else(|| invalid("no body"))?;
            Ok(Some(ServerFrame::Batch {
                scan: u32::from_le_bytes([a, b, c, d]),
                header: read_bytes(from, header)?,
                body: read_bytes(from, body)?,
            }))
        }
        _ => Err(invalid(format!("a frame of kind {kind} and {length} bytes"))),
    }
}

fn read_bytes(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    from.take(length as u64).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut bytes: &[u8]) -> io::Result<Vec<WorkerFrame>> {
        futures::executor::block_on(async {
            let mut reader = FrameReader::new(&mut bytes);
            let mut frames = Vec::new();
            while let Some(frame) = reader.next().await? {
                frames.push(frame);
            }
            Ok(frames)
        })
    }

    #[test]
    fn frames_come_as_they_were_sent() {
        let mut sent = message(&"a").unwrap();
        sent.extend(part_head(b"xyz").unwrap());
        sent.extend(b"xyz");
        sent.extend(message(&7).unwrap());
        let frames = read_all(&sent).unwrap();
        let [WorkerFrame::Message(a), WorkerFrame::Part(part), WorkerFrame::Message(seven)] =
            frames.as_slice()
        else {
            panic!("{frames:?}");
        };
        assert_eq!((a.as_ref(), part.as_ref()), (b"\"a\"".as_slice(), b"xyz".as_slice()));
        assert_eq!(parse::<u32>(seven).unwrap(), 7);
        let mut batch = batch_head(3, b"head", b"body").unwrap();
        batch.extend(b"headbody");
        let read = read_server_frame(&mut batch.as_slice()).unwrap().unwrap();
        let ServerFrame::Batch { scan, header, body } = read else { panic!("{read:?}") };
        assert_eq!(
            (scan, header.as_slice(), body.as_slice()),
            (3, b"head".as_slice(), b"body".as_slice())
        );
        assert!(read_server_frame(&mut [].as_slice()).unwrap().is_none());
    }

    #[test]
    fn frames_that_are_too_long_or_unknown_are_refused_before_they_are_read() {
        let long = u32::try_from(MESSAGE_BYTES_MAX + 1).unwrap().to_le_bytes();
        for kind in [MESSAGE, PART] {
            let mut sent = vec![kind];
            sent.extend(long);
            assert!(read_all(&sent).is_err(), "{kind}");
        }
        for kind in [0, BATCH, b'X', 0xff] {
            assert!(read_all(&[kind, 1, 0, 0, 0, 0]).is_err(), "{kind}");
        }
        assert!(message(&"x".repeat(MESSAGE_BYTES_MAX)).is_err());
        // A frame that is cut off means that the worker has ended.
        assert!(read_all(&[MESSAGE, 9, 0, 0, 0, 1]).unwrap().is_empty());
    }
}
