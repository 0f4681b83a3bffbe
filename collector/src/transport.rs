//! The byte stream of one connection: its socket, with TLS if the listener has it.
//!
//! The handshake belongs to its connection. It uses the connection's share as a silent holder, so
//! that it can be evicted, and has the timeout of a request's head. A client that uses HTTP without
//! TLS gets a refusal in its own protocol. Owns the handshake. Does not own the certificate
//! ([`crate::tls`]) and requests ([`crate::connection`]).

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    endpoint::{Endpoint, UnreadableHead},
    head_errors::{Explain, Explained},
    listener::{Listening, Slot},
    phase::Phase,
    shares::{PeerAddress, ShareHolder},
    stall::Stall,
    tls::Tls,
};

/// The first byte of TLS: the type of a handshake record.
pub(crate) const TLS_RECORD: u8 = 22;

/// The refusal of a client that does not use TLS although the listener requires it.
pub const TLS_NEEDED: &str = "this port speaks TLS: use https://";

/// The refusal of a client that uses TLS although the listener does not support it.
pub const TLS_UNKNOWN: &str =
    "TLS was sent, which this port does not speak: use http://, or set tls-certificate";

/// The beginning of HTTP/2's preface, with which no HTTP/1 method begins.
const HTTP2_BEGIN: &[u8; 3] = b"PRI";

/// Hyper's refusal of an unreadable head, to which [`Explained`] adds a body.
const UNREADABLE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// `INADEQUATE_SECURITY` of [RFC 9113, section 7](https://www.rfc-editor.org/rfc/rfc9113#section-7).
const INADEQUATE_SECURITY: u32 = 0xc;

/// The socket, with a watchdog for clients that do not read.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    stall: Stall,
}

/// The decrypted byte stream of a connection.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Socket),
    Secure(Box<TlsStream<Socket>>),
}

/// Opens a connection and completes its handshake, if the listener has TLS. `None` when the
/// connection has ended.
pub(crate) async fn open<E: Endpoint>(
    stream: TcpStream,
    listening: &Listening<E>,
    slot: &Slot,
) -> Option<Transport> {
    // Responses are written in one piece, so waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let is_paced = Arc::clone(slot.activity().is_paced());
    let stall = Stall::new(Arc::clone(&listening.clock), is_paced);
    let socket = Socket { stream, stall };
    let Some(tls) = &listening.tls else { return Some(Transport::Plain(socket)) };
    let mut phases = listening.phases.clone();
    let shaken = tokio::select! {
        shaken = Box::pin(shake_hands(socket, tls, listening, slot.activity().peer())) => shaken,
        () = listening.clock.sleep(listening.limits.header_timeout) => {
            Err(io::ErrorKind::TimedOut.into())
        }
        _ = slot.activity().ended() => return None,
        () = phases.reached(Phase::Draining) => return None,
    };
    match shaken {
        Ok(stream) => Some(Transport::Secure(Box::new(stream))),
        Err(error) => {
            // A client that connects and closes, as probes do, is not a failure.
            if error.kind() != io::ErrorKind::UnexpectedEof {
                listening.counters.handshakes.fetch_add(1, Relaxed);
            }
            tracing::debug!(listener = listening.endpoint.name(), %error, "TLS handshake failed");
            None
        }
    }
}

async fn shake_hands<E: Endpoint>(
    socket: Socket,
    tls: &Tls,
    listening: &Listening<E>,
    peer: PeerAddress,
) -> io::Result<TlsStream<Socket>> {
    let explain: Explain = {
        let endpoint = Arc::clone(&listening.endpoint);
        Arc::new(move |_| Some(endpoint.explain(UnreadableHead::WithoutTls, peer)))
    };
    let last = |socket| Explained::new(socket, explain, Arc::clone(&listening.clock));
    let mut first = [0];
    if socket.stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first != [TLS_RECORD] {
        refuse_plain(last(socket), &*listening.endpoint, peer).await?;
        return Err(io::Error::other("the client does not use TLS"));
    }
    match tls.acceptor().accept(socket).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, socket)) => {
            // Only faults that rustls found are counted, and not a client that disconnected.
            if error.kind() == io::ErrorKind::InvalidData {
                listening.endpoint.handshake_failed(&error, peer);
                last(socket).end_with(b"").await?;
            }
            Err(error)
        }
    }
}

/// Refuses a client without TLS, in its version of HTTP.
async fn refuse_plain<E: Endpoint>(
    mut stream: Explained<Socket>,
    endpoint: &E,
    peer: PeerAddress,
) -> io::Result<()> {
    let mut begin = [0; HTTP2_BEGIN.len()];
    stream.read_exact(&mut begin).await?;
    if begin != *HTTP2_BEGIN {
        return stream.end_with(UNREADABLE).await;
    }
    // This call counts the refusal. Its body is for HTTP/1, so it is dropped.
    let _ = endpoint.explain(UnreadableHead::WithoutTls, peer);
    stream.end_with(&go_away(TLS_NEEDED)).await
}

/// Returns an empty SETTINGS frame and a `GOAWAY` frame of HTTP/2 with this text, which clients
/// show to their users.
fn go_away(words: &str) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GO_AWAY: u8 = 7;
    // The last processed stream, which is 0 for none, and the error code.
    let fixed = [0_u32.to_be_bytes(), INADEQUATE_SECURITY.to_be_bytes()].concat();
    let length = u32::try_from(fixed.len() + words.len()).unwrap_or_default();
    let [_, high, middle, low] = length.to_be_bytes();
    let head = [high, middle, low, GO_AWAY, 0, 0, 0, 0, 0];
    [&SETTINGS[..], &head, &fixed, words.as_bytes()].concat()
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.stall.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.stall.watch(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TLS_NEEDED, go_away};

    #[test]
    fn the_goaway_frame_of_http_2_has_the_text() {
        let frames = go_away(TLS_NEEDED);
        let (settings, goaway) = frames.split_at(9);
        assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let (head, payload) = goaway.split_at(9);
        assert_eq!(head[..4], [0, 0, u8::try_from(payload.len()).unwrap(), 7]);
        assert_eq!(payload[..8], [0, 0, 0, 0, 0, 0, 0, 0xc]);
        assert_eq!(&payload[8..], TLS_NEEDED.as_bytes());
    }
}
