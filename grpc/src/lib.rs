//! gRPC over HTTP/2 for receivers: request headers, framing, statuses and response bodies.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. The decision against a gRPC
//! library is in `docs/decisions/0005-frame-grpc-ourselves.md`. Services that answer queries run on
//! tonic; they have the headers and the bound of a status message in common with receivers. Knows
//! no service, message, router or clock.

mod call_head;
mod framed_body;
mod frames;
mod grpc_status;

pub use call_head::{GRPC_ACCEPT_ENCODING, GRPC_ENCODING, TimeoutError, is_grpc, timeout};
pub use framed_body::{FramedBody, reply};
pub use frames::{Frame, FrameError, PREFIX_BYTES, body_bytes, framed, next_frame};
pub use grpc_status::{GrpcStatus, cut_message};
