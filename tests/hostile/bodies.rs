//! Bodies that are small to send and expensive to read.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

/// Size of a decompressed bomb.
const BOMB_BYTES: usize = 300 << 20;

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 1).unwrap()
}

pub(super) fn gzip_bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..BOMB_BYTES >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

pub(super) fn zstd_bomb() -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..BOMB_BYTES >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

/// Returns a frame with one raw block, whose header requires a window of 2 GiB.
pub(super) fn zstd_huge_window() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8];
    frame.extend([0x09, 0x00, 0x00, b'x']);
    frame
}

/// Returns a document whose first attribute has nested lists of this depth.
pub(super) fn deep_json(path: &str, depth: usize) -> Vec<u8> {
    let (resources, scopes, records) = names(path);
    let head = format!(
        r#"{{"{resources}":[{{"{scopes}":[{{"{records}":[{{"attributes":[{{"key":"a","value":"#
    );
    let mut text = head.into_bytes();
    for _ in 0..depth {
        text.extend_from_slice(br#"{"arrayValue":{"values":["#);
    }
    text
}

fn names(path: &str) -> (&'static str, &'static str, &'static str) {
    match path {
        "/v1/logs" => ("resourceLogs", "scopeLogs", "logRecords"),
        _ => ("resourceSpans", "scopeSpans", "spans"),
    }
}

/// Returns a message whose first attribute has nested lists of this depth.
pub(super) fn deep_protobuf(path: &str, depth: usize) -> Vec<u8> {
    let mut value: Vec<u8> = Vec::new();
    for _ in 0..depth {
        // Encodes `AnyValue { array_value: ArrayValue { values: [value] } }`.
        value = field(5, field(1, value));
    }
    let attribute = field(2, value);
    let record = match path {
        "/v1/logs" => field(6, attribute),
        _ => field(9, attribute),
    };
    field(1, field(2, field(2, record)))
}

/// Encodes a length-delimited field.
fn field(number: u8, content: Vec<u8>) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    out.extend(content);
    out
}
