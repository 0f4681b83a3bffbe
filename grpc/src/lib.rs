//! gRPC over HTTP/2: heads, frames, statuses and bodies, for receivers and for services that answer
//! queries.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Why this is not a library is
//! told in `docs/decisions/0005-frame-grpc-ourselves.md`. Knows no service, no message, no
//! router and no clock.

mod call_head;
mod framed_body;
mod frames;
mod grpc_status;

pub use call_head::{GRPC_ACCEPT_ENCODING, GRPC_ENCODING, TimeoutError, is_grpc, timeout};
pub use framed_body::{FramedBody, reply, stream, stream_frames};
pub use frames::{
    Frame, FrameError, PREFIX_BYTES, body_bytes, framed, next_frame, unframe, unframe_all,
};
pub use grpc_status::GrpcStatus;
