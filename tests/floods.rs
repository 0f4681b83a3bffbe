//! Tests floods over HTTP/2, on every listener, with TLS and without. The server ends the flooding
//! connection or its streams, and it goes on serving other clients.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{SendStream, client::SendRequest};
use http::Request;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpStream,
    runtime::Runtime,
};
use tokio_rustls::TlsConnector;

use crate::{
    harness::{
        PATIENCE, Server,
        certificates::{AUTHORITY, client_config},
        http::{call, frame, get, post},
        spans::TRACE_EXPORT,
    },
    tls::Files,
};

/// Number of connections with slow streams. One fewer once blocked all other clients.
const SLOW_CONNECTIONS: usize = 42;
/// Number of streams of each connection, which is the maximum of a listener.
const SLOW_STREAMS: usize = 100;
/// Maximum bytes of a flood that the server may read before it ends the connection.
const FLOOD_BYTES_MAX: usize = 8 << 20;
/// Number of connections that flood at the same time.
const FLOODING: usize = 30;
/// Number of frames of a body with small frames, and the bytes of each frame.
const SMALL_FRAMES: usize = 9_000;
const SMALL_FRAME_BYTES: usize = 100;
/// Maximum bytes of PING replies to a flooding connection: replies to 1,000 pings, and to 100 more
/// for each second.
const PONG_BYTES_MAX: usize = 4_000 * 17;
/// Pause before a refused request is sent again.
const RETRY: Duration = Duration::from_millis(100);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Waits for a step of a client, and fails after [`PATIENCE`].
async fn in_time<T>(what: &str, step: impl Future<Output = T>) -> T {
    let step = tokio::time::timeout(PATIENCE, step).await;
    step.unwrap_or_else(|_| panic!("waited until {what}"))
}

/// Connects, over TLS if the address begins with `https://`.
async fn connect(address: &str) -> Box<dyn Duplex> {
    let (socket, is_secure) = match address.strip_prefix("https://") {
        Some(socket) => (socket, true),
        None => (address, false),
    };
    let connecting = TcpStream::connect(socket);
    let stream = in_time(&format!("{address} accepts"), connecting).await.unwrap();
    if !is_secure {
        return Box::new(stream);
    }
    let mut config = client_config(&AUTHORITY, None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Box::new(in_time(&format!("the handshake with {address} ends"), handshake).await.unwrap())
}

/// A listener, and a path there whose body the server reads.
struct Target {
    address: String,
    path: &'static str,
    media_type: &'static str,
}

fn targets(server: &Server) -> [Target; 5] {
    let target = |address: &String, path, media_type| {
        let address = address.clone();
        Target { address, path, media_type }
    };
    [
        target(&server.http, "/api/v1/sql", "application/sql"),
        // This path has no route, so the server answers before it has the body.
        target(&server.http, "/v1/traces", "application/json"),
        target(&server.otlp_grpc, TRACE_EXPORT, "application/grpc"),
        target(&server.otlp_http, "/v1/traces", "application/json"),
        target(&server.zipkin, "/api/v2/spans", "application/json"),
    ]
}

/// Builds HTTP/2 frames byte by byte.
mod frames {
    pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
    pub(super) const UNKNOWN: u8 = 200;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;

    pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Returns the HPACK head of a POST to `localhost`, without the dynamic table.
    pub(super) fn post(path: &str, media_type: &str) -> Vec<u8> {
        let text = |value: &str| [&[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
        let authority = [vec![0x01], text("localhost")].concat();
        let path = [vec![0x04], text(path)].concat();
        let media_type = [vec![0x0f, 0x10], text(media_type)].concat();
        [vec![0x83, 0x86], authority, path, media_type].concat()
    }
}

/// Name of a flood, the bytes that open it, and the bytes of its part with each number.
type Flood = (&'static str, fn(&[u8]) -> Vec<u8>, fn(&[u8], u32) -> Vec<u8>);

const FLOODS: [Flood; 10] = {
    use frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        UNKNOWN, WINDOW_UPDATE, frame,
    };
    [
        (
            "rapid reset",
            |_| Vec::new(),
            |head, number| {
                let stream = number * 2 + 1;
                let open = frame(HEADERS, END_HEADERS, stream, head);
                [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
            },
        ),
        ("CONTINUATION", |head| frame(HEADERS, 0, 1, head), |_, _| frame(CONTINUATION, 0, 1, b"")),
        ("empty DATA", |head| frame(HEADERS, END_HEADERS, 1, head), |_, _| frame(DATA, 0, 1, b"")),
        ("tiny DATA", |head| frame(HEADERS, END_HEADERS, 1, head), |_, _| frame(DATA, 0, 1, b" ")),
        ("PING", |_| Vec::new(), |_, _| frame(PING, 0, 0, &[7; 8]).repeat(20)),
        ("SETTINGS", |_| Vec::new(), |_, _| frame(SETTINGS, 0, 0, b"").repeat(20)),
        (
            "PRIORITY beside a slow request",
            |head| frame(HEADERS, END_HEADERS, 1, head),
            |_, number| frame(PRIORITY, 0, number * 2 + 3, &[0, 0, 0, 0, 9]).repeat(20),
        ),
        (
            "WINDOW_UPDATE beside a slow request",
            |head| frame(HEADERS, END_HEADERS, 1, head),
            |_, _| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(20),
        ),
        ("unknown frames", |_| Vec::new(), |_, _| frame(UNKNOWN, 0, 0, b"?").repeat(20)),
        // A stream error, after which the server must reset the stream.
        (
            "DATA after the end",
            |_| Vec::new(),
            |head, number| {
                let stream = number * 2 + 1;
                let open = frame(HEADERS, END_HEADERS, stream, head);
                [open, frame(DATA, END_STREAM, stream, b""), frame(DATA, 0, stream, b"x")].concat()
            },
        ),
    ]
};

/// Sends a flood until the server ends the connection, and returns the bytes that were sent.
async fn flood(target: &Target, (name, begin, part): Flood) -> usize {
    let head = frames::post(target.path, target.media_type);
    let (mut read, mut write) = split(connect(&target.address).await);
    let reading = tokio::spawn(async move {
        let mut dropped = Vec::new();
        let _ended = read.read_to_end(&mut dropped).await;
    });
    let sending = async {
        let mut sent = 0;
        let mut next = [frames::PREFACE, &begin(&head)].concat();
        for number in 0.. {
            next.extend(part(&head, number));
            let written = async {
                write.write_all(&next).await?;
                write.flush().await
            };
            match written.await {
                Ok(()) => sent += next.len(),
                Err(error) => {
                    let ended = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
                    assert!(ended.contains(&error.kind()), "{name}: {error}");
                    break;
                }
            }
            next.clear();
            if reading.is_finished() {
                break;
            }
        }
        sent
    };
    let what = format!("{name} to {}{} ends", target.address, target.path);
    in_time(&what, sending).await
}

/// Sends pings as fast as possible until the server ends the connection, and returns the bytes of
/// its answers.
async fn pong_bytes(address: String) -> usize {
    let (mut read, mut write) = split(connect(&address).await);
    let sending = tokio::spawn(async move {
        let pings = frames::frame(frames::PING, 0, 0, &[7; 8]).repeat(10_000);
        let mut sent = write.write_all(frames::PREFACE).await;
        while sent.is_ok() {
            sent = write.write_all(&pings).await;
        }
    });
    let mut pongs = Vec::new();
    // The connection may end with an error.
    let _ended = in_time(&format!("pings to {address} end"), read.read_to_end(&mut pongs)).await;
    sending.abort();
    pongs.len()
}

/// Opens a connection of HTTP/2 that is ready for a request.
async fn http2(address: &str) -> SendRequest<Bytes> {
    let handshake = Box::pin(h2::client::handshake(connect(address).await));
    let begun = in_time(&format!("HTTP/2 begins with {address}"), handshake).await;
    let (requests, connection) = begun.unwrap();
    tokio::spawn(connection);
    ready(address, requests).await.unwrap()
}

/// Waits until a connection may open another stream.
async fn ready(
    address: &str,
    requests: SendRequest<Bytes>,
) -> Result<SendRequest<Bytes>, h2::Error> {
    in_time(&format!("{address} admits another stream"), requests.ready()).await
}

/// Sends a body in small frames as fast as possible, and returns the status of the answer.
async fn send_small_frames(address: String) -> u16 {
    let mut requests = http2(&address).await;
    let request = Request::post("http://localhost/v1/traces");
    let request = request.header("content-type", "application/json").body(()).unwrap();
    let (answer, mut stream) = requests.send_request(request, false).unwrap();
    for _ in 0..SMALL_FRAMES {
        stream.send_data(Bytes::from_static(&[b' '; SMALL_FRAME_BYTES]), false).unwrap();
    }
    stream.send_data(Bytes::from_static(b"{}"), true).unwrap();
    let answer = in_time(&format!("{address} answers"), answer).await;
    answer.unwrap().status().as_u16()
}

/// Opens a connection with the maximum number of requests, whose bodies have begun.
async fn slow_streams(target: &Target) -> (SendRequest<Bytes>, Vec<SendStream<Bytes>>) {
    let (mut requests, mut streams) = (http2(&target.address).await, Vec::new());
    for _ in 0..SLOW_STREAMS {
        let request = Request::post(format!("http://localhost{}", target.path));
        let request = request.header("content-type", target.media_type).body(()).unwrap();
        let (_answer, mut stream) = requests.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b" "), false).unwrap();
        streams.push(stream);
        match ready(&target.address, requests.clone()).await {
            Ok(ready) => requests = ready,
            // The server closed this connection to admit others.
            Err(_) => break,
        }
    }
    (requests, streams)
}

/// Checks that the server answers other clients: health requests at once, all others soon.
fn check_others_are_answered(server: &Server, what: &str) {
    assert_eq!(get(&server.http, "/live").status, 200, "{what}");
    let soon = Instant::now() + PATIENCE;
    let until = |asked: &str, answered: &dyn Fn() -> bool| {
        while !answered() {
            assert!(Instant::now() < soon, "{what}: {asked} is kept out");
            thread::sleep(RETRY);
        }
    };
    let zipkin = r#"[{"traceId": "9", "id": "8", "name": "GET /cart"}]"#;
    until("http", &|| get(&server.http, "/api/v1/services").status == 200);
    until("otlp/http", &|| {
        post(&server.otlp_http, "/v1/traces", "application/json", "{}").status == 200
    });
    until("zipkin", &|| {
        post(&server.zipkin, "/api/v2/spans", "application/json", zipkin).status == 202
    });
    until("otlp/grpc", &|| {
        call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, b"")).code == Some(0)
    });
}

/// Runs a check on a server without TLS and on one with TLS.
fn check_plain_and_secure(check: impl Fn(&Runtime, &Server)) {
    let runtime = Runtime::new().unwrap();
    let files = Files::new();
    for mut server in [Server::start_with(&["--sql", "on"]), files.start(&["--sql", "on"])] {
        check(&runtime, &server);
        assert!(server.is_alive());
    }
}

#[test]
fn floods_of_frames_end_their_connection_and_nothing_else() {
    check_plain_and_secure(|runtime, server| {
        for target in targets(server) {
            for kind in FLOODS {
                let sent = runtime.block_on(flood(&target, kind));
                let what = format!("{} to {}{}", kind.0, target.address, target.path);
                assert!(sent < FLOOD_BYTES_MAX, "{what}: {sent} bytes");
                check_others_are_answered(server, &what);
            }
        }
    });
}

#[test]
fn no_more_of_a_flood_is_answered_than_is_allowed() {
    check_plain_and_secure(|runtime, server| {
        let Server { http, otlp_grpc, otlp_http, zipkin, .. } = server;
        for address in [http, otlp_grpc, otlp_http, zipkin] {
            let floods = (0..FLOODING).map(|_| runtime.spawn(pong_bytes(address.clone())));
            let floods: Vec<_> = floods.collect();
            check_others_are_answered(server, &format!("floods of {address}"));
            for bytes in floods.into_iter().map(|flood| runtime.block_on(flood).unwrap()) {
                assert!(bytes <= PONG_BYTES_MAX, "{bytes} bytes of pongs");
            }
        }
        let metrics = get(&server.http, "/metrics").body;
        let metrics = String::from_utf8_lossy(&metrics);
        for listener in ["http", "otlp/grpc", "otlp/http", "zipkin"] {
            let ended = format!(
                "tidings_connections_ended_total{{listener=\"{listener}\",reason=\"frame_flood\"}} {FLOODING}"
            );
            assert!(metrics.lines().any(|line| line == ended), "{listener}: {metrics}");
        }
    });
}

#[test]
fn bodies_in_small_frames_are_no_flood() {
    check_plain_and_secure(|runtime, server| {
        let bodies =
            (0..FLOODING).map(|_| runtime.spawn(send_small_frames(server.otlp_http.clone())));
        for body in bodies.collect::<Vec<_>>() {
            assert_eq!(runtime.block_on(body).unwrap(), 200);
        }
    });
}

#[test]
fn thousands_of_slow_streams_keep_nobody_out() {
    check_plain_and_secure(|runtime, server| {
        for target in targets(server) {
            let open = (0..SLOW_CONNECTIONS).map(|_| runtime.block_on(slow_streams(&target)));
            let open: Vec<_> = open.collect();
            check_others_are_answered(server, &format!("{}{}", target.address, target.path));
            drop(open);
        }
    });
}
