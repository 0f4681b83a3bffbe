//! A socket that does not wait for ever: when its client takes nothing for a while, writing fails
//! and the connection ends, so that nobody keeps an answer in memory by not reading it; and when a
//! new client says nothing, reading fails, so that nobody keeps others out by connecting.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tidings_collector::Stall;
use tidings_storage::Clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How long a client may take to say which version of HTTP it speaks.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes that tell the versions apart: until these are here, nothing else watches the time.
const VERSION_BYTES: usize = 24;

/// The socket, with the time its client has left to go on reading or to begin.
pub(super) struct Patient {
    stream: TcpStream,
    stall: Stall,
    /// Runs until the version is known.
    silent: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    heard_bytes: usize,
}

impl Patient {
    pub(super) fn new(stream: TcpStream, clock: Arc<dyn Clock>) -> Self {
        // Answers are written whole; waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let silent = Some(clock.sleep(SILENCE));
        Self { stream, stall: Stall::new(clock), silent, heard_bytes: 0 }
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(silent) = &mut self.silent else { return outcome };
        if outcome.is_pending() {
            return silent.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.heard_bytes += buffer.filled().len() - before;
        if self.heard_bytes >= VERSION_BYTES {
            self.silent = None;
        }
        outcome
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A request may be shorter than what tells versions apart.
        self.silent = None;
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.stall.watch(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.silent = None;
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

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use tidings_proto::UnixNanos;
    use tidings_storage::Clock;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::Patient;

    /// A clock whose every sleep is over at once.
    #[derive(Debug)]
    struct Hasty;

    impl Clock for Hasty {
        fn now(&self) -> UnixNanos {
            UnixNanos(0)
        }

        fn instant(&self) -> Instant {
            tidings_storage::SystemClock.instant()
        }

        fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::ready(()))
        }
    }

    /// Both ends of a connection; the first is the server's.
    async fn connection() -> (Patient, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Patient::new(accepted.unwrap().0, Arc::new(Hasty)), client.unwrap())
    }

    #[tokio::test]
    async fn a_client_that_says_too_little_is_given_up() {
        for said in ["", "PRI * HTTP/2.0"] {
            let (mut patient, mut client) = connection().await;
            client.write_all(said.as_bytes()).await.unwrap();
            let heard = patient.read_exact(&mut [0; super::VERSION_BYTES]).await;
            assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::TimedOut, "{said}");
        }
    }

    #[tokio::test]
    async fn a_client_that_has_said_enough_may_rest() {
        let (mut patient, mut client) = connection().await;
        client.write_all(&[b'x'; super::VERSION_BYTES]).await.unwrap();
        patient.stream.readable().await.unwrap();
        patient.read_exact(&mut [0; super::VERSION_BYTES]).await.unwrap();
        let resting = tokio::time::timeout(Duration::from_millis(20), patient.read_u8()).await;
        assert!(resting.is_err(), "{resting:?}");
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (mut patient, client) = connection().await;
        let written = patient.write_all(&vec![0; 256 << 20]).await;
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        drop(client);
    }
}
