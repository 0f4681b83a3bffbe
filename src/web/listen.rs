//! The HTTP address as an endpoint of the collector's connections: the router that answers, the
//! requests that are health checks, and the words of refusals that come before any route.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse as _};
use http::{HeaderValue, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidings_apis::{EndlessLogs, ProblemResponse};
use tidings_collector::{
    BudgetKind, ConnectionLimits, Endpoint, Explanation, Listening, LiveAnswer, PeerAddress,
    Phases, ReplyBody, RequestHolder, ShareHolder, Shares, TLS_NEEDED, TLS_UNKNOWN, UnreadableHead,
    WatchedBody,
};
use tidings_query::ClientId;
use tidings_storage::Clock;
use tokio::sync::watch;
use tower::ServiceExt;

/// Maximum time for a request's head to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time of a connection without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum bytes of a request's head.
const HEADER_BYTES_MAX: u32 = 32 << 10;
/// Maximum number of requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;
/// Maximum number of requests under way.
const REQUESTS_MAX: usize = 4096;
/// Seconds after which to try again.
const RETRY_SECONDS: u32 = 1;

/// The probes of health, besides gRPC's health check.
const PROBES: [&str; 2] = ["/live", "/ready"];
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/";

/// The HTTP address's endpoint, which answers by the latest of its routers.
#[derive(Debug)]
pub(crate) struct WebEndpoint {
    apps: watch::Receiver<Router>,
    refused: AtomicU64,
}

/// The connections of the HTTP address.
pub(crate) type WebListening = Listening<WebEndpoint>;

/// Builds the connections that the latest of `apps` answers, at most so many at once, through these
/// phases.
pub(crate) fn connections(
    apps: watch::Receiver<Router>,
    clock: Arc<dyn Clock>,
    connections_max: usize,
    phases: Phases,
) -> WebListening {
    let limits = ConnectionLimits {
        connections_max,
        streams_max: STREAMS_MAX,
        head_bytes_max: HEADER_BYTES_MAX,
        header_timeout: HEADER_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
    };
    listening(apps, clock, limits, phases)
}

fn listening(
    apps: watch::Receiver<Router>,
    clock: Arc<dyn Clock>,
    limits: ConnectionLimits,
    phases: Phases,
) -> WebListening {
    let endpoint = Arc::new(WebEndpoint { apps, refused: AtomicU64::new(0) });
    let requests = Shares::new(BudgetKind::Requests, REQUESTS_MAX, Arc::clone(&clock));
    Listening::new(endpoint, limits, requests, clock, phases)
}

impl Endpoint for WebEndpoint {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        holder: Arc<RequestHolder>,
    ) -> http::Response<ReplyBody> {
        let app = self.apps.borrow().clone();
        let mut request = request.map(Body::new);
        // Where a key is checked, it replaces the address as the client.
        request.extensions_mut().insert(client_at(holder.peer()));
        request.extensions_mut().insert(holder);
        let response = match app.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let is_live = response.extensions().get::<EndlessLogs>().is_some();
        let mut response = response.map(|body| {
            let body = body.map_err(io::Error::other);
            if is_live { WatchedBody::live(body) } else { WatchedBody::new(body) }.boxed_unsync()
        });
        if is_live {
            response.extensions_mut().insert(LiveAnswer);
        }
        response
    }

    fn is_health(&self, head: &Parts) -> bool {
        let path = head.uri.path();
        PROBES.contains(&path) || path.starts_with(GRPC_HEALTH)
    }

    fn refuse_overloaded(&self, _head: &Parts, _peer: PeerAddress) -> http::Response<ReplyBody> {
        self.refused.fetch_add(1, Relaxed);
        let detail = "too many connections or requests at a time; try again";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = ProblemResponse::new(status, "overloaded", "The server is busy", detail)
            .into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        response.map(|body| body.map_err(io::Error::other).boxed_unsync())
    }

    fn refuse_fields(
        &self,
        head: &Parts,
        fields_max: usize,
        _peer: PeerAddress,
    ) -> http::Response<ReplyBody> {
        let count = head.headers.len();
        let detail = format!("it has {count} headers, the limit is {fields_max}");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let response = ProblemResponse::new(status, UNREADABLE, HEAD_TOO_LARGE, detail);
        response.into_response().map(|body| body.map_err(io::Error::other).boxed_unsync())
    }

    fn explain(&self, head: UnreadableHead, _peer: PeerAddress) -> Explanation {
        unreadable(head)
    }

    fn handshake_failed(&self, error: &io::Error, _peer: PeerAddress) {
        tracing::warn!(%error, "a TLS handshake failed");
    }

    fn accept_failed(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::ConnectionAborted {
            tracing::warn!(%error, "cannot accept a connection");
        }
    }
}

/// Returns the client whose shares a request without a key uses: its address.
pub(super) fn client_at(address: PeerAddress) -> ClientId {
    ClientId::new(format!("address {address}"))
}

/// Slug of the problem of a head that is not read.
const UNREADABLE: &str = "unreadable-request";
/// Title of that problem where the head is too large.
const HEAD_TOO_LARGE: &str = "The request's head is too large";

/// Describes the fault of a head that did not become a request.
fn unreadable(head: UnreadableHead) -> Explanation {
    let status = match head {
        UnreadableHead::Refused(status) => status,
        UnreadableHead::WithoutTls | UnreadableHead::WithTls => StatusCode::BAD_REQUEST,
    };
    let (title, detail) = match (head, status) {
        (UnreadableHead::WithoutTls, _) => ("TLS is needed", TLS_NEEDED.to_owned()),
        (UnreadableHead::WithTls, _) => ("There is no TLS", TLS_UNKNOWN.to_owned()),
        (_, StatusCode::BAD_REQUEST) => {
            ("This is not a request", "what was sent is not an HTTP request".to_owned())
        }
        _ => (
            HEAD_TOO_LARGE,
            format!("its line and headers may have {HEADER_BYTES_MAX} bytes and 100 fields"),
        ),
    };
    let problem = ProblemResponse::new(status, UNREADABLE, title, detail);
    Explanation { media_type: ProblemResponse::MEDIA_TYPE, body: problem.to_bytes().into() }
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
        http::Method,
        middleware,
        routing::{get, post},
    };
    use futures::future::select_all;
    use h2::{
        SendStream,
        client::{ResponseFuture, SendRequest},
    };
    use http_body_util::{BodyExt, Full};
    use tidings_collector::{ConnectionLimits, Phase, Phases, STALL, listen};
    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::{Semaphore, watch},
        time::timeout,
    };

    use crate::web::bodies::{Bodies, bound};

    /// Maximum time for an answer about health.
    const AT_ONCE: Duration = Duration::from_secs(2);
    /// Maximum time for other answers, where no connection ends by itself.
    const SOON: Duration = Duration::from_secs(5);
    /// Maximum time for answers on a slow machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn ask(connection: &mut TcpStream, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let count = connection.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    /// A clock by which a sleep lasts as long as the function returns; `None` never ends.
    #[derive(Debug)]
    struct AlteredSleeps(fn(Duration) -> Option<Duration>);

    impl Clock for AlteredSleeps {
        fn now(&self) -> UnixNanos {
            SystemClock.now()
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }

        fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            match self.0(time) {
                Some(time) => SystemClock.sleep(time),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    /// Listens with these bounds until the sender is dropped. Returns the address.
    async fn start(
        app: Router,
        clock: Arc<dyn Clock>,
        limits: ConnectionLimits,
    ) -> (std::net::SocketAddr, watch::Sender<Router>, watch::Sender<Phase>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (app, apps) = watch::channel(app);
        let (phase, phases) = watch::channel(Phase::Running);
        let listening = super::listening(apps, clock, limits, Phases::new(phases));
        tokio::spawn(listen(listener, Arc::new(listening)));
        (address, app, phase)
    }

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            connections_max: 9,
            streams_max: super::STREAMS_MAX,
            head_bytes_max: super::HEADER_BYTES_MAX,
            header_timeout: super::HEADER_TIMEOUT,
            idle_timeout: super::IDLE_TIMEOUT,
        }
    }

    /// Bounds by which no connection ends for being slow.
    fn patient(connections_max: usize) -> ConnectionLimits {
        let hour = Duration::from_secs(3600);
        ConnectionLimits { connections_max, header_timeout: hour, idle_timeout: hour, ..limits() }
    }

    /// Sends a request on a connection of its own, which must be answered in this time.
    async fn ask_newly(address: std::net::SocketAddr, path: &str, time: Duration) -> String {
        let asked = async {
            let mut connection = TcpStream::connect(address).await.unwrap();
            ask(&mut connection, path).await
        };
        timeout(time, asked).await.unwrap_or_else(|_| panic!("{path} is not answered"))
    }

    /// Requests both health checks, more often than the reserve has connections.
    async fn check_health(address: std::net::SocketAddr) {
        for path in super::PROBES.into_iter().cycle().take(10) {
            let answer = ask_newly(address, path, AT_ONCE).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
    }

    /// Checks that an answer is a refusal for too much work.
    fn check_refused(answer: &str) {
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        for part in ["application/problem+json", "/problems/overloaded", "retry-after: 1"] {
            assert!(answer.contains(part), "no {part}: {answer}");
        }
    }

    /// Opens a connection of HTTP/2 with as many requests as it may have. Their bodies have begun
    /// and do not end.
    async fn streams(
        address: std::net::SocketAddr,
        method: Method,
    ) -> (SendRequest<Bytes>, Vec<(ResponseFuture, SendStream<Bytes>)>) {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut streams = Vec::new();
        let mut requests = requests.ready().await.unwrap();
        for _ in 0..super::STREAMS_MAX {
            let request = Request::builder().method(method.clone());
            let request = request.uri(format!("http://{address}/work")).body(()).unwrap();
            let has_body = method == Method::POST;
            let (answer, mut body) = requests.send_request(request, !has_body).unwrap();
            if has_body {
                body.send_data(Bytes::from_static(b" "), false).unwrap();
            }
            streams.push((answer, body));
            requests = requests.ready().await.unwrap();
        }
        (requests, streams)
    }

    /// Routes of health, one that reads a body, one that reads none, and one whose work never ends.
    /// Counts the requests that wait for that one.
    fn working() -> (Router, watch::Receiver<usize>) {
        let (working, worked) = watch::channel(0);
        let work = move || async move {
            working.send_modify(|count| *count += 1);
            std::future::pending::<&'static str>().await
        };
        let read = |body: Bytes| async move { body.len().to_string() };
        let bodies = Bodies::new(None, Arc::new(AlteredSleeps(|_| None)));
        let app = Router::new()
            .route("/live", get(|| async { "live" }))
            .route("/ready", get(|| async { "ready" }))
            .route("/api/v1/services", get(|| async { "[]" }))
            .route("/work", get(work).merge(post(read)))
            .route("/ignored", post(|| async { "ignored" }))
            .layer(middleware::from_fn_with_state(bodies, bound));
        (app, worked)
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_out() {
        let (app, _worked) = working();
        let (address, _app, _phase) = start(app, Arc::new(SystemClock), patient(100)).await;
        for said in [&b""[..], b"GET /api/v1/serv", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut silent = Vec::new();
            for _ in 0..150 {
                let mut connection = TcpStream::connect(address).await.unwrap();
                // A connection that made room is closed.
                let _ = connection.write_all(said).await;
                silent.push(connection);
            }
            for path in ["/api/v1/services", "/live", "/ready"] {
                let answer = ask_newly(address, path, SOON).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{said:?} {path}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn four_thousand_slow_streams_keep_nobody_out() {
        let (app, _worked) = working();
        let (address, _app, _phase) = start(app, Arc::new(SystemClock), patient(200)).await;
        let (mut connections, mut answers, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..42 {
            let (requests, streams) = streams(address, Method::POST).await;
            connections.push(requests);
            for (answer, body) in streams {
                answers.push(answer);
                bodies.push(body);
            }
        }
        // One address may not have so many requests under way: its share of the budget is used up.
        let (refused, _, _others) = timeout(PATIENCE, select_all(answers)).await.unwrap();
        assert_eq!(refused.unwrap().status(), 503);
        check_health(address).await;
        // Requests are told to try again until the first streams have stalled for a second.
        let asked = async {
            loop {
                let answer = ask_newly(address, "/api/v1/services", SOON).await;
                if answer.starts_with("HTTP/1.1 200") {
                    return;
                }
                check_refused(&answer);
            }
        };
        timeout(SOON, asked).await.expect("slow streams keep others out");
    }

    #[tokio::test]
    async fn health_is_answered_when_every_connection_is_at_work() {
        let (app, mut worked) = working();
        let (address, _app, _phase) = start(app, Arc::new(SystemClock), patient(32)).await;
        let mut busy = Vec::new();
        let refusal = loop {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(b"GET /work HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let (expected, mut answer) = (busy.len() + 1, vec![0; 4096]);
            tokio::select! {
                count = connection.read(&mut answer) => {
                    break String::from_utf8_lossy(&answer[..count.unwrap()]).into_owned();
                }
                _ = worked.wait_for(|&count| count == expected) => {}
            }
            busy.push(connection);
            assert!(busy.len() < 32, "all of them may be one address's");
        };
        assert!(busy.len() > 16, "{}", busy.len());
        check_refused(&refusal);
        check_health(address).await;
        check_refused(&ask_newly(address, "/api/v1/services", SOON).await);
        assert_eq!(*worked.borrow(), busy.len(), "work goes on");
    }

    #[tokio::test]
    async fn health_is_answered_when_as_many_requests_as_may_be_are_at_work() {
        const OF_ONE_ADDRESS: usize = super::REQUESTS_MAX / 4 * 3;
        let (app, mut worked) = working();
        let (address, _app, _phase) = start(app, Arc::new(SystemClock), patient(200)).await;
        let mut connections = Vec::new();
        for _ in 0..=OF_ONE_ADDRESS / super::STREAMS_MAX as usize {
            connections.push(streams(address, Method::GET).await);
        }
        let all = worked.wait_for(|&count| count == OF_ONE_ADDRESS);
        drop(timeout(PATIENCE, all).await.expect("not all are let in").unwrap());
        check_health(address).await;
        check_refused(&ask_newly(address, "/api/v1/services", SOON).await);
        assert_eq!(*worked.borrow(), OF_ONE_ADDRESS, "no more are let in");
    }

    /// A client that is not told may send its next request on the connection as it ends, and gets
    /// no response.
    #[tokio::test]
    async fn a_response_before_the_end_of_a_body_announces_the_end_of_its_connection() {
        let (app, _worked) = working();
        let (address, _app, _phase) = start(app, Arc::new(SystemClock), patient(9)).await;
        let post = |path: &str, length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n1234"
            )
        };
        for (path, length, ends) in
            [("/work", 4, false), ("/ignored", 4, false), ("/ignored", 400_000, true)]
        {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(post(path, length).as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            let count = timeout(SOON, connection.read(&mut answer)).await.unwrap().unwrap();
            let answer = String::from_utf8_lossy(&answer[..count]);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
            assert_eq!(answer.contains("connection: close"), ends, "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_connection_of_http_2_without_requests_ends() {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let limits = ConnectionLimits { idle_timeout: Duration::from_millis(10), ..limits() };
        let limits = ConnectionLimits { header_timeout: Duration::from_millis(100), ..limits };
        let (address, _app, _phase) =
            start(crate::web::starting(), Arc::new(SystemClock), limits).await;
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await.unwrap();
        let mut said = Vec::new();
        let ended = connection.read_to_end(&mut said);
        // It ends before its next ping would find that nobody answers.
        timeout(Duration::from_secs(15), ended).await.expect("it stays").unwrap();
    }

    #[tokio::test]
    async fn a_connection_with_a_long_request_is_not_idle() {
        let slow = get(|| async {
            SystemClock.sleep(Duration::from_millis(300)).await;
            "slow"
        });
        let limits = ConnectionLimits { idle_timeout: Duration::from_millis(10), ..limits() };
        let limits = ConnectionLimits { header_timeout: Duration::from_millis(100), ..limits };
        let app = Router::new().route("/", slow);
        let (address, _app, _phase) = start(app, Arc::new(SystemClock), limits).await;
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut connection, "/").await.ends_with("slow"));
    }

    #[tokio::test]
    async fn an_answer_over_http_2_that_is_not_read_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places);
        let answer = get(|| async move {
            let place = place.try_acquire_owned().unwrap();
            Body::new(Full::new(Bytes::from(vec![b'x'; 1 << 20])).map_frame(move |frame| {
                let _kept = &place;
                frame
            }))
        });
        let app = Router::new().route("/", answer);
        let stalls_soon = |time| Some(if time == STALL { Duration::from_millis(5) } else { time });
        let clock = Arc::new(AlteredSleeps(stalls_soon));
        let (address, _app, _phase) = start(app, clock, limits()).await;
        let stream = TcpStream::connect(address).await.unwrap();
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
        let clock = Arc::new(SystemClock);
        let (address, app, phase) = start(crate::web::starting(), clock, limits()).await;
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert!(ask(&mut connection, "/live").await.starts_with("HTTP/1.1 200"));
        for path in ["/ready", "/", "/api/v1/traces"] {
            let answer = ask(&mut connection, path).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
            assert!(answer.contains("retry-after: 1") && answer.contains("/problems/starting"));
        }
        let opened = Router::new().route("/ready", get(|| async { "ready" }));
        app.send_modify(|app| *app = opened);
        let answer = ask(&mut connection, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "the same connection: {answer}");
        phase.send_replace(Phase::Draining);
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }
}
