//! Bodies that arrive in pieces, slowly, or not at all.

use std::time::Duration;

use tidings_collector::CollectorLimits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Running, start, start_with};

/// Sends these bytes and returns everything that the server sends before it closes.
pub(crate) async fn raw(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("the server closes").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn head(running: &Running, length: &str) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{length}\r\n",
        running.http
    )
}

#[tokio::test]
async fn chunked_bodies_are_joined() {
    let running = start().await;
    let head = head(&running, "transfer-encoding: chunked\r\nconnection: close\r\n");
    let chunks: String =
        r#"{"resourceSpans":[]}"#.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let answer = raw(running.http, format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"), "{answer}");
}

#[tokio::test]
async fn a_truncated_body_is_counted_and_nothing_is_stored() {
    let running = start().await;
    let head = head(&running, "content-length: 100\r\n");
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    stream.write_all(format!("{head}{{\"resource").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let _ = rest(&mut stream).await;
    while running.refused("otlp/http", "disconnected") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.batches(), []);
}

#[tokio::test]
async fn slow_bodies_are_refused_and_do_not_delay_others() {
    let limits = CollectorLimits { body_timeout: Duration::from_millis(200), ..Default::default() };
    let running = start_with(limits).await;
    let head = head(&running, "content-length: 100\r\n");
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(running.http).await.unwrap();
        stream.write_all(format!("{head}{{").as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let json = [("content-type", "application/json")];
    assert_eq!(running.post("/v1/traces", &json, "{}").await.status, 200);
    for stream in &mut slow {
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains(r#""code":4"#), "a status in JSON: {answer}");
    }
    assert_eq!(running.refused("otlp/http", "slow_body"), 50);
}

#[tokio::test]
async fn slow_heads_and_silent_connections_are_ended() {
    let limits =
        CollectorLimits { header_timeout: Duration::from_millis(100), ..Default::default() };
    let running = start_with(limits).await;
    for address in [running.http, running.grpc, running.zipkin] {
        for begin in ["", "P", "POST /v1/tra", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            let ended = tokio::time::timeout(Duration::from_secs(20), read).await;
            assert!(ended.is_ok(), "{begin:?} is still open");
        }
    }
}

#[tokio::test]
async fn an_idle_connection_between_requests_stays_open() {
    let limits =
        CollectorLimits { header_timeout: Duration::from_millis(50), ..Default::default() };
    let running = start_with(limits).await;
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    let request = head(&running, "content-length: 2\r\n") + "{}";
    let mut answers = String::new();
    for round in 1..=2 {
        stream.write_all(request.as_bytes()).await.unwrap();
        while answers.matches("HTTP/1.1 200").count() < round || !answers.ends_with("{}") {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "closed after {answers}");
            answers.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
        // Waits longer than a head may take. Neither bytes nor the end of the stream may arrive.
        let mut chunk = [0; 1];
        let quiet = tokio::time::timeout(Duration::from_millis(400), stream.read(&mut chunk)).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
}

#[tokio::test]
async fn a_large_body_is_drained_so_that_its_sender_sees_the_refusal() {
    let limits = CollectorLimits { http_body_bytes_max: 1 << 20, ..Default::default() };
    let running = start_with(limits).await;
    let length = 3 << 20;
    let mut request = head(&running, &format!("content-length: {length}\r\n")).into_bytes();
    request.resize(request.len() + length, b' ');
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    stream.write_all(&request).await.expect("the whole body is read");
    let answer = rest_of_one(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_refused_request_of_a_small_body_keeps_its_connection() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    let head = head(&running, "content-length: 2\r\n").replace("application/json", "text/plain");
    for _ in 0..3 {
        stream.write_all(format!("{head}{{}}").as_bytes()).await.unwrap();
        let answer = rest_of_one(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_sender_that_expects_100_continue_is_refused_before_it_sends() {
    let running = start().await;
    let length = 30 << 20;
    let head = head(&running, &format!("content-length: {length}\r\nexpect: 100-continue\r\n"));
    let answer = raw(running.http, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Returns the bytes of one response, whether or not the connection is closed after it.
async fn rest_of_one(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        if count == 0 {
            break;
        }
        answer.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    answer
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let running = start().await;
    let fields =
        format!("x-large: {}\r\nconnection: close\r\ncontent-length: 2\r\n", "x".repeat(20_000));
    let head = head(&running, &fields);
    let answer = raw(running.http, format!("{head}{{}}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
