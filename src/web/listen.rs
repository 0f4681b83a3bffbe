//! Serves the HTTP address: connections up to a cap, heads that must arrive in time, no rest without
//! end, an orderly end.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tidings_collector::{Explained, Explanation, StreamTasks, Unread};
use tidings_storage::Clock;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt;

use super::{
    patient::Patient,
    problem::{PROBLEM_JSON, problem_body},
};

/// How long a request's head may take to arrive, and how long a connection may rest. Short, because
/// supervisors ask for `/live` on the same listener.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection of HTTP/2 may be without a request, at least; hyper itself ends those of
/// HTTP/1. Longer than theirs, because one that rests costs a client of gRPC more to make again.
const REST: Duration = Duration::from_secs(60);
/// How often HTTP/2 connections are pinged, and how long the answer may take.
const PING: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// How long to wait when the system has no file handle for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Serves the latest of `apps` on so many connections at a time, and lets more wait in the system's
/// queue, until `stop` changes; then ends idle connections and waits for the others.
pub(crate) async fn run(
    listener: TcpListener,
    apps: watch::Receiver<Router>,
    clock: Arc<dyn Clock>,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned();
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = async { (slot.await, listener.accept().await) } => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            (slot, Ok((stream, _))) => {
                let (apps, stop, clock) = (apps.clone(), stop.clone(), Arc::clone(&clock));
                let stream = Patient::new(stream, Arc::clone(&clock));
                let stream = Explained::new(stream, Arc::new(unreadable), Arc::clone(&clock));
                connections.spawn(async move {
                    connection(stream, apps, clock, stop).await;
                    drop(slot);
                });
            }
            (_, Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection");
                clock.sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The words for a head that did not become a request.
fn unreadable(status: StatusCode) -> Explanation {
    let (title, detail) = match status {
        StatusCode::BAD_REQUEST => {
            ("This is not a request", "what was sent is not an HTTP request".to_owned())
        }
        _ => (
            "The request's head is too large",
            format!("its line and headers may have {HEADER_BYTES_MAX} bytes and 100 fields"),
        ),
    };
    let body = problem_body(status, "unreadable-request", title, &detail);
    Explanation { media_type: PROBLEM_JSON, body: body.into() }
}

async fn connection(
    stream: Explained<Patient>,
    apps: watch::Receiver<Router>,
    clock: Arc<dyn Clock>,
    mut stop: watch::Receiver<bool>,
) {
    // Counts requests; each that is under way has a reference to it.
    let begun = Arc::new(AtomicU64::new(0));
    let service = service_fn(|request: Request<Incoming>| {
        let app = apps.borrow().clone();
        begun.fetch_add(1, Relaxed);
        let under_way = Arc::clone(&begun);
        async move {
            let response = match app.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            // It is under way until its body has been sent: what maps errors lives that long.
            Ok::<_, Infallible>(response.map(|body| {
                Body::new(Unread::new(body.map_err(move |error| {
                    let _ = &under_way;
                    error
                })))
            }))
        }
    });
    let mut builder = Builder::new(StreamTasks::new(Arc::clone(&clock)));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let (mut stopping, mut resting) = (false, false);
    loop {
        let before = begun.load(Relaxed);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            _ = stop.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = clock.sleep(REST) => {
                if begun.load(Relaxed) > before || Arc::strong_count(&begun) > 1 {
                    continue;
                }
                // A client that has been told and stays all the same is left.
                if std::mem::replace(&mut resting, true) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::Arc,
        time::{Duration, Instant},
    };

    use axum::{
        Router,
        body::{Body, Bytes},
        extract::Request,
    };
    use http_body_util::{BodyExt, Full};
    use tidings_collector::STALL;
    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::{Semaphore, watch},
    };

    async fn ask(connection: &mut TcpStream, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let count = connection.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    /// A clock by which this time is soon over.
    #[derive(Debug)]
    struct Hurried(Duration);

    impl Clock for Hurried {
        fn now(&self) -> UnixNanos {
            SystemClock.now()
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }

        fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            SystemClock.sleep(if time == self.0 { Duration::from_millis(5) } else { time })
        }
    }

    #[tokio::test]
    async fn a_connection_of_http_2_without_requests_ends() {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_app, apps) = watch::channel(crate::web::starting());
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(super::run(listener, apps, Arc::new(Hurried(super::REST)), 9, stopped));
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await.unwrap();
        let mut said = Vec::new();
        let ended = connection.read_to_end(&mut said);
        // Before its next ping would find that nobody answers.
        tokio::time::timeout(super::PING, ended).await.expect("it stays").unwrap();
    }

    #[tokio::test]
    async fn a_request_that_takes_long_is_no_rest() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = axum::routing::get(|| async {
            SystemClock.sleep(Duration::from_millis(100)).await;
            "slow"
        });
        let (_app, apps) = watch::channel(Router::new().route("/", slow));
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(super::run(listener, apps, Arc::new(Hurried(super::REST)), 9, stopped));
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut connection, "/").await.ends_with("slow"));
    }

    #[tokio::test]
    async fn an_answer_over_http_2_that_is_not_taken_gives_its_place_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places);
        let answer = axum::routing::get(|| async move {
            let place = place.try_acquire_owned().unwrap();
            Body::new(Full::new(Bytes::from(vec![b'x'; 1 << 20])).map_frame(move |frame| {
                let _kept = &place;
                frame
            }))
        });
        let (_app, apps) = watch::channel(Router::new().route("/", answer));
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(super::run(listener, apps, Arc::new(Hurried(STALL)), 9, stopped));
        let mut client = h2::client::Builder::new();
        let client = client.initial_window_size(0).handshake::<_, Bytes>(stream);
        let (mut requests, connection) = client.await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://localhost/").body(()).unwrap();
        let (answer, _) = requests.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let ended = body.data().await.expect("the answer ends early").unwrap_err();
        assert_eq!(ended.reason(), Some(h2::Reason::CANCEL));
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn while_the_store_opens_the_process_lives_and_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (app, apps) = watch::channel(crate::web::starting());
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(super::run(listener, apps, Arc::new(SystemClock), 9, stopped));
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut connection, "/live").await.starts_with("HTTP/1.1 200"));
        for path in ["/ready", "/", "/api/v1/traces"] {
            let answer = ask(&mut connection, path).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
            assert!(answer.contains("retry-after: 1") && answer.contains("/problems/starting"));
        }
        let opened = Router::new().route("/ready", axum::routing::get(|| async { "ready" }));
        app.send_modify(|app| *app = opened);
        let answer = ask(&mut connection, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "the same connection: {answer}");
        stop.send_replace(true);
        drop(connection);
        server.await.unwrap();
    }
}
