//! Entry points for fuzz targets: compressed bodies and gRPC's framing. No code of the product
//! calls them.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::grpc;
use crate::{
    decompress::{Compression, DecompressionBounds, decompress},
    refusal::Reason,
};

/// Result of a decompression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecompressedBody {
    /// The bytes, or the label of the refusal.
    pub outcome: Result<Bytes, &'static str>,
    /// Bytes that were charged to the memory budget.
    pub held: usize,
}

/// Decompresses a body of this encoding; `None` when there is no such encoding.
#[must_use]
pub fn read_compressed(encoding: &str, body: &[u8], limit: usize) -> Option<DecompressedBody> {
    let compression = Compression::from_name(encoding)?;
    let mut held = 0;
    let mut hold = |bytes| {
        held += bytes;
        Ok(())
    };
    let bound = DecompressionBounds { limit, hold: &mut hold, broken: Reason::Malformed };
    let outcome = decompress(compression, Bytes::copy_from_slice(body), bound);
    Some(DecompressedBody { outcome: outcome.map_err(|refusal| refusal.reason.label()), held })
}

/// Parses `grpc-encoding` and `grpc-timeout`.
///
/// Returns true when both are valid.
#[must_use]
pub fn read_grpc_head(encoding: &[u8], timeout: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in [("grpc-encoding", encoding), ("grpc-timeout", timeout)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let is_bounded = |timeout: Duration| timeout <= Duration::from_secs(99_999_999 * 3600);
    let timeout = grpc::timeout(&headers);
    grpc::encoding(&headers).is_ok() && timeout.is_ok_and(|timeout| timeout.is_none_or(is_bounded))
}

/// A message of a unary call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnaryMessage {
    /// The bytes as they were received.
    pub bytes: Bytes,
    /// True if they are compressed.
    pub is_compressed: bool,
    /// Length of the body according to its prefix; 0 if the message is empty.
    pub body_bytes: usize,
}

/// Reads the body of a unary call whose `grpc-encoding` is gzip.
///
/// # Errors
/// The label of the refusal.
pub fn read_unary_body(body: &[u8], limit: usize) -> Result<UnaryMessage, &'static str> {
    let body_bytes = tidings_grpc::body_bytes(body);
    let read = grpc::unframe(Bytes::copy_from_slice(body), Compression::Gzip, limit);
    let (bytes, compression) = read.map_err(|refusal| refusal.reason.label())?;
    Ok(UnaryMessage { bytes, is_compressed: compression != Compression::None, body_bytes })
}
