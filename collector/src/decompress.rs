//! Decompression that stops at a limit. The limit applies to the output; sizes in headers of the
//! input are not trusted.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use crate::refusal::{Reason, Refusal};

/// Size of a decompressed chunk. Each is charged to the memory budget before the next is
/// decompressed.
const CHUNK_BYTES: usize = 64 << 10;

/// Maximum number of members of a gzip body, as `cat a.gz b.gz` makes. Millions of empty ones would
/// only take time.
const GZIP_MEMBERS_MAX: usize = 1024;

/// Binary logarithm of the maximum window of a zstd frame: 8 MiB, as RFC 8878 recommends.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The compression of a body or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The supported names, as gRPC lists them.
    pub(crate) const NAMES: &'static str = "identity,gzip,zstd";

    /// Returns the compression of this name; `None` for unknown names and for lists of names.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::None),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The bounds of a decompression.
pub(crate) struct DecompressionBounds<'a> {
    /// Maximum bytes of the output.
    pub(crate) limit: usize,
    /// Reserves memory; called before bytes are added to the output.
    pub(crate) hold: &'a mut dyn FnMut(usize) -> Result<(), Refusal>,
    /// Reason of the refusal of corrupt input.
    pub(crate) broken: Reason,
}

/// Returns the decompressed bytes. An empty body is valid in every compression.
pub(crate) fn decompress(
    compression: Compression,
    bytes: Bytes,
    bound: DecompressionBounds<'_>,
) -> Result<Bytes, Refusal> {
    match compression {
        _ if bytes.len() > bound.limit => Err(too_large(bound.limit)),
        Compression::None => Ok(bytes),
        _ if bytes.is_empty() => Ok(bytes),
        Compression::Gzip => gunzip(&bytes, bound),
        Compression::Zstd => unzstd(&bytes, bound),
    }
}

/// Returns the refusal of a body above a limit.
pub(crate) fn too_large(limit: usize) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("larger than the limit of {limit} bytes"))
}

fn gunzip(bytes: &[u8], mut bound: DecompressionBounds<'_>) -> Result<Bytes, Refusal> {
    let mut output = Vec::new();
    let mut rest = bytes;
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        copy("gzip", &mut member, &mut output, &mut bound)?;
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(output.into());
        }
    }
    Err(Refusal::new(bound.broken, format!("gzip: more than {GZIP_MEMBERS_MAX} members")))
}

fn unzstd(bytes: &[u8], mut bound: DecompressionBounds<'_>) -> Result<Bytes, Refusal> {
    let broken = |reason, error| Refusal::new(reason, format!("zstd: {error}"));
    let mut output = Vec::new();
    let mut reader = zstd::stream::read::Decoder::with_buffer(bytes)
        .map_err(|error| broken(bound.broken, error))?;
    reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| broken(bound.broken, error))?;
    copy("zstd", &mut reader, &mut output, &mut bound)?;
    Ok(output.into())
}

fn copy(
    name: &str,
    reader: &mut impl Read,
    output: &mut Vec<u8>,
    bound: &mut DecompressionBounds<'_>,
) -> Result<(), Refusal> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = reader
            .read(&mut chunk)
            .map_err(|error| Refusal::new(bound.broken, format!("{name}: {error}")))?;
        let Some(decoded) = chunk.get(..count).filter(|decoded| !decoded.is_empty()) else {
            return Ok(());
        };
        if decoded.len() > bound.limit - output.len() {
            return Err(too_large(bound.limit));
        }
        (bound.hold)(decoded.len())?;
        output.extend_from_slice(decoded);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use bytes::Bytes;
    use flate2::{Compression as Level, write::GzEncoder};

    use super::{Compression, DecompressionBounds, decompress};
    use crate::refusal::{Reason, Refusal};

    fn run(compression: Compression, bytes: Vec<u8>, limit: usize) -> Result<Bytes, Refusal> {
        let mut held = 0;
        let mut hold = |count| {
            held += count;
            assert!(held <= limit, "held {held} of {limit}");
            Ok(())
        };
        let bound = DecompressionBounds { limit, hold: &mut hold, broken: Reason::Malformed };
        decompress(compression, bytes.into(), bound)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unknown_names_and_lists_of_names_are_no_compression() {
        for name in ["", "identity", " GZIP ", "zstd"] {
            assert!(Compression::from_name(name).is_some(), "{name}");
        }
        for name in ["br", "deflate", "gzip, gzip", "gzip,identity", "snappy"] {
            assert!(Compression::from_name(name).is_none(), "{name}");
        }
    }

    #[test]
    fn compressed_bytes_are_restored_up_to_exactly_the_limit() {
        let text = b"hello ".repeat(1000);
        for (compression, bytes) in [
            (Compression::None, text.clone()),
            (Compression::Gzip, gzip(&text)),
            (Compression::Gzip, [gzip(&text[..2500]), gzip(&text[2500..])].concat()),
            (Compression::Zstd, zstd::encode_all(text.as_slice(), 1).unwrap()),
        ] {
            assert_eq!(run(compression, bytes.clone(), 6000).unwrap(), text);
            assert_eq!(run(compression, bytes, 5999).unwrap_err().reason, Reason::TooLarge);
        }
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = || std::io::repeat(0).take(1 << 30);
        let mut gzip = flate2::read::GzEncoder::new(zeros(), Level::fast());
        let mut bomb = Vec::new();
        gzip.read_to_end(&mut bomb).unwrap();
        assert!(bomb.len() < 20 << 20);
        assert_eq!(run(Compression::Gzip, bomb, 20 << 20).unwrap_err().reason, Reason::TooLarge);
        let bomb = zstd::encode_all(zeros(), 1).unwrap();
        assert_eq!(run(Compression::Zstd, bomb, 20 << 20).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn broken_input_is_refused() {
        let text = b"hello ".repeat(1000);
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        let huge_window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        for (what, compression, bytes) in [
            ("not gzip", Compression::Gzip, b"{}".to_vec()),
            ("truncated gzip", Compression::Gzip, gzip(&text)[..20].to_vec()),
            ("garbage after gzip", Compression::Gzip, [gzip(&text), vec![1, 2, 3]].concat()),
            ("many gzip members", Compression::Gzip, gzip(b"").repeat(1025)),
            ("not zstd", Compression::Zstd, b"{}".to_vec()),
            ("truncated zstd", Compression::Zstd, zstd[..zstd.len() - 2].to_vec()),
            ("window of 2 GiB", Compression::Zstd, huge_window.to_vec()),
        ] {
            let refusal = run(compression, bytes, 1 << 20).unwrap_err();
            assert_eq!(refusal.reason, Reason::Malformed, "{what}: {refusal:?}");
        }
    }
}
