//! Bodies before they are decoded: compression, and the frames of gRPC.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tidings_collector::fuzzed_bodies::{read_compressed, read_grpc_head, read_unary_body};
use tidings_grpc::{Frame, FrameError, framed, next_frame};

use crate::FuzzTarget;

/// The targets of this module.
pub(crate) const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "compressed_bodies", run: compressed_bodies },
    FuzzTarget { name: "grpc_frames", run: grpc_frames },
];

/// Maximum number of decompressed bytes.
const LIMIT: usize = 64 << 10;
/// A second, smaller limit.
const SMALL_LIMIT: usize = 1 << 10;
/// Maximum number of runs of an input that become members of a sound body.
const MEMBERS_MAX: usize = 32;
/// Times that a run is repeated to compress well.
const REPEATS: usize = 64;
/// The label of a refusal.
const TOO_LARGE: &str = "too_large";

/// Reads compressed bodies. The first byte chooses the encoding. The rest is read twice: as a body
/// as it comes, and as the runs of a sound one.
fn compressed_bodies(input: &[u8]) {
    let Some((encoding, rest)) = input.split_first() else { return };
    let (encoding, encode) = match encoding & 1 {
        0 => ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
        _ => ("zstd", zstd as fn(&[u8]) -> Vec<u8>),
    };
    check_limits(encoding, rest);
    let (plain, body) = sound_body(rest, encode);
    let expected =
        if plain.len().max(body.len()) <= LIMIT { Ok(Bytes::from(plain)) } else { Err(TOO_LARGE) };
    assert_eq!(decompressed(encoding, &body, LIMIT), expected);
    check_limits(encoding, &body);
}

/// Checks that no more bytes than a limit are held, and that a limit only affects bodies beyond it.
fn check_limits(encoding: &str, body: &[u8]) {
    let [large, small] = [LIMIT, SMALL_LIMIT].map(|limit| decompressed(encoding, body, limit));
    match large {
        Ok(bytes) if bytes.len().max(body.len()) <= SMALL_LIMIT => assert_eq!(small, Ok(bytes)),
        Ok(_) => assert_eq!(small, Err(TOO_LARGE)),
        Err(_) => assert!(small.is_err(), "taken with a smaller limit"),
    }
}

fn decompressed(encoding: &str, body: &[u8], limit: usize) -> Result<Bytes, &'static str> {
    let read = read_compressed(encoding, body, limit).expect("a known encoding");
    assert!(read.held <= limit, "held {} of {limit}", read.held);
    if let Ok(bytes) = &read.outcome {
        assert_eq!(bytes.len(), read.held, "all that is kept was charged before");
    }
    read.outcome
}

/// Compresses the runs of an input, each as a member of its own.
///
/// Every run begins with a control byte. The lower six bits are its length; a run whose byte is 128
/// or more is repeated.
fn sound_body(input: &[u8], encode: fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let (mut plain, mut body, mut rest) = (Vec::new(), Vec::new(), input);
    for _ in 0..MEMBERS_MAX {
        let Some((control, run)) = rest.split_first() else { break };
        let (run, behind) = run.split_at(usize::from(control & 0x3f).min(run.len()));
        let run = run.repeat(if *control >= 128 { REPEATS } else { 1 });
        body.extend(encode(&run));
        plain.extend(run);
        rest = behind;
    }
    (plain, body)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("memory can be written")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 1).expect("memory can be written")
}

/// Returns the frames of a body.
fn frames(body: &[u8]) -> Result<Vec<Frame>, FrameError> {
    let mut rest = Bytes::copy_from_slice(body);
    std::iter::from_fn(|| next_frame(&mut rest, body.len()).transpose()).collect()
}

/// Reads frames of gRPC. The first line has the encoding and the timeout, and the body follows it.
/// Receivers take one message, still compressed. It must be the only frame of the body.
fn grpc_frames(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (head, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let blank = head.iter().position(|byte| *byte == b' ').unwrap_or(head.len());
    let _ = read_grpc_head(&head[..blank], head.get(blank + 1..).unwrap_or_default());

    let frames = frames(body);
    if let Ok(frames) = &frames
        && frames.iter().all(|frame| !frame.is_compressed)
    {
        let framed: Vec<Bytes> = frames.iter().map(|frame| framed(&frame.message)).collect();
        assert_eq!(framed.concat(), body);
    }
    let one = frames.ok().filter(|frames| frames.len() == 1).and_then(|mut frames| frames.pop());
    let read = read_unary_body(body, input.len());
    match &read {
        Ok(message) => {
            let length = u32::try_from(message.bytes.len()).expect("inputs are short");
            let flag = u8::from(message.is_compressed);
            let framed = [&[flag][..], &length.to_be_bytes(), &message.bytes].concat();
            assert_eq!(framed, body);
            assert!(message.body_bytes == body.len() || length == 0);
            let (message_bytes, is_compressed) = (message.bytes.clone(), message.is_compressed);
            assert_eq!(one, Some(Frame { message: message_bytes, is_compressed }));
            if let Some(limit) = message.bytes.len().checked_sub(1) {
                assert_eq!(read_unary_body(body, limit), Err(TOO_LARGE));
            }
        }
        Err(reason) => assert_eq!(one, None, "the receiver refuses it: {reason}"),
    }
}
