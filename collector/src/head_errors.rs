//! Bodies for refusals of hyper itself. A head that is malformed or too large never reaches a
//! service, and hyper answers it without a body. [`Explained`] is a stream that replaces this
//! response by one with a body.
//!
//! Closing a socket while its client still sends resets the connection, and the client loses a
//! response that it has not read yet. So input after the last response is read and discarded for a
//! moment before the connection ends.
//!
//! Only refusals of HTTP/1 are replaced. In HTTP/2 they are compressed, so the smaller limit of the
//! listener takes effect first.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::StatusCode;
use tidings_storage::Clock;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The statuses of hyper's own refusals.
pub const HEAD_STATUSES: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::URI_TOO_LONG,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
];

/// The header by which hyper's refusals are recognised. No service here answers these statuses
/// without a body.
const NO_BODY: &str = "content-length: 0\r\n";

/// Maximum time, and bytes, of reading a client's input after its last response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 << 20;
/// Bytes of one read while lingering.
const LINGER_READ_BYTES: usize = 8 << 10;

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The content type of the body.
    pub media_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// Returns the body for a status of hyper; `None` during a response of a service, whose bytes may
/// look like one of hyper.
pub type Explain = Arc<dyn Fn(StatusCode) -> Option<Explanation> + Send + Sync>;

/// A connection on which hyper's refusals get a body, and the last response is not lost.
pub struct Explained<S> {
    stream: S,
    explain: Explain,
    clock: Arc<dyn Clock>,
    /// Replacement for hyper's response that is being written, and the length of hyper's response.
    instead: Option<(Bytes, usize)>,
    /// True when everything that hyper had to write is written. Only then can a write begin with
    /// the head of a response. The rest of a partial write can have any bytes.
    is_flushed: bool,
    /// True while the client may still be sending the refused request.
    sending: bool,
    closing: Closing,
}

/// States of closing a connection.
enum Closing {
    /// It has not begun.
    Open,
    /// Nothing more is written, and input is discarded until the time is over.
    Lingering {
        over: Pin<Box<dyn Future<Output = ()> + Send>>,
        bytes_left: usize,
    },
    Closed,
}

impl<S> Explained<S> {
    /// Wraps a connection. `explain` writes the bodies of refusals.
    pub fn new(stream: S, explain: Explain, clock: Arc<dyn Clock>) -> Self {
        let (instead, closing) = (None, Closing::Open);
        Self { stream, explain, clock, instead, is_flushed: true, sending: false, closing }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Explained<S> {
    /// Writes a last response to a client that may still be sending, and ends the connection.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) async fn end_with(mut self, answer: &[u8]) -> io::Result<()> {
        self.sending = true;
        self.write_all(answer).await?;
        self.shutdown().await
    }
}

impl<S: AsyncRead + Unpin> Explained<S> {
    /// Discards input until the client has closed, or time or bytes are used up. Returns at once if
    /// the client is not sending.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering { over, bytes_left } = &mut self.closing else {
            return Poll::Ready(());
        };
        loop {
            let mut dropped = [0; LINGER_READ_BYTES];
            let mut buffer = ReadBuf::new(&mut dropped);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.sending = true;
                    *bytes_left = bytes_left.saturating_sub(buffer.filled().len());
                    if *bytes_left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending if self.sending => return over.as_mut().poll(context),
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Writes the replacement of these bytes, if they are a refusal of hyper itself. `None` when
    /// the bytes are to be written unchanged. The writes until the next flush are not examined.
    fn poll_instead(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() && std::mem::take(&mut self.is_flushed) {
            let (status, head) = refused_by_hyper(bytes)?;
            self.instead = Some((worded(head, &(self.explain)(status)?), bytes.len()));
            self.sending = true;
        }
        let (answer, stands_for) = self.instead.as_mut()?;
        while !answer.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, answer) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(written)) => answer.advance(written),
                unwritten => return Some(unwritten),
            }
        }
        let written = *stands_for;
        self.instead = None;
        Some(Poll::Ready(Ok(written)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Explained<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Explained").field(&self.stream).finish()
    }
}

/// Returns the status and the text of a refusal of hyper itself.
fn refused_by_hyper(bytes: &[u8]) -> Option<(StatusCode, &str)> {
    let head = std::str::from_utf8(bytes.strip_suffix(b"\r\n\r\n")?).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?;
    let status = *HEAD_STATUSES.iter().find(|known| known.as_str() == status)?;
    let whole = std::str::from_utf8(bytes).ok()?;
    (whole.contains(NO_BODY) && !head.contains("\r\n\r\n")).then_some((status, whole))
}

fn worded(head: &str, explanation: &Explanation) -> Bytes {
    let Explanation { media_type, body } = explanation;
    let fields = format!(
        "content-type: {media_type}\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut answer = head.replacen(NO_BODY, &fields, 1).into_bytes();
    answer.extend_from_slice(body);
    answer.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_instead(context, bytes)
            .unwrap_or_else(|| Pin::new(&mut self.stream).poll_write(context, bytes))
    }

    /// Only the first slice is examined, because a refusal of hyper is a head, which is one slice.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        first
            .and_then(|first| self.poll_instead(context, first))
            .unwrap_or_else(|| Pin::new(&mut self.stream).poll_write_vectored(context, slices))
    }

    /// Without vectored writes, hyper would copy bodies. It would then drop the originals, which
    /// hold the memory budget of unread responses, before the client has read them.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper flushes only when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_flushed = true;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.closing, Closing::Open) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            let over = this.clock.sleep(LINGER);
            this.closing = Closing::Lingering { over, bytes_left: LINGER_BYTES_MAX };
        }
        ready!(this.poll_linger(context));
        this.closing = Closing::Closed;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, sync::Arc};

    use http::StatusCode;
    use tidings_storage::{Clock, SystemClock};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::{Explain, Explained, Explanation, refused_by_hyper, worded};

    const REFUSAL: &[u8] = b"HTTP/1.1 431 Large\r\ncontent-length: 0\r\n\r\n";

    /// Returns both ends of a connection, the server's first.
    async fn connection() -> (Explained<TcpStream>, TcpStream) {
        connection_of(Arc::new(|_| {
            Some(Explanation { media_type: "text/plain", body: "no".into() })
        }))
        .await
    }

    async fn connection_of(explain: Explain) -> (Explained<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Explained::new(server, explain, Arc::new(SystemClock)), client)
    }

    #[tokio::test]
    async fn a_response_arrives_although_its_client_goes_on_sending() {
        let (mut server, mut client) = connection().await;
        let sending = tokio::spawn(async move {
            client.write_all(&vec![b'a'; 8 << 20]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        });
        server.read_exact(&mut [0; 100]).await.unwrap();
        server.write_all(REFUSAL).await.unwrap();
        server.shutdown().await.unwrap();
        drop(server);
        assert!(sending.await.unwrap().ends_with("\r\n\r\nno"));
    }

    #[tokio::test]
    async fn closing_does_not_wait_for_a_client_that_is_not_sending() {
        let (mut server, client) = connection().await;
        let before = SystemClock.instant();
        server.shutdown().await.unwrap();
        assert!(SystemClock.instant() - before < super::LINGER);
        drop(client);
    }

    /// Returns the bytes that a client receives when the server writes these one after the other.
    async fn arrives(
        (mut server, mut client): (Explained<TcpStream>, TcpStream),
        parts: &[&[u8]],
    ) -> Vec<u8> {
        for part in parts {
            let slices = [IoSlice::new(b""), IoSlice::new(part)];
            match part.is_empty() {
                true => server.flush().await.unwrap(),
                false => assert_eq!(server.write_vectored(&slices).await.unwrap(), part.len()),
            }
        }
        server.shutdown().await.unwrap();
        drop(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn bodies_that_look_like_refusals_are_sent_unchanged() {
        let head: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n";
        // The rest of a body after a partial write.
        let sent = [head, REFUSAL];
        assert_eq!(arrives(connection().await, &sent).await, sent.concat());
        // The next piece of a body during a response.
        let silent: Explain = Arc::new(|_| None);
        let pieces = [head, b"", REFUSAL];
        assert_eq!(arrives(connection_of(silent).await, &pieces).await, sent.concat());
        // A refusal after a completed response.
        let all = arrives(connection().await, &[head, REFUSAL, b"", REFUSAL]).await;
        assert!(all.starts_with(&sent.concat()) && all.ends_with(b"\r\n\r\nno"));
    }

    #[test]
    fn only_refusals_without_a_body_get_one() {
        let refusal =
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let (status, head) = refused_by_hyper(refusal.as_bytes()).unwrap();
        assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let explanation = Explanation { media_type: "text/plain", body: "too long".into() };
        assert_eq!(
            worded(head, &explanation),
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n\
             x-content-type-options: nosniff\r\ncontent-length: 8\r\ndate: x\r\n\r\ntoo long"
        );
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            "a body that says HTTP/1.1 400\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.",
            "",
        ] {
            assert_eq!(refused_by_hyper(other.as_bytes()), None, "{other}");
        }
    }
}
