//! Stopping: requests in progress are finished, later ones are refused.

use std::time::Duration;

use prost::Message;
use tidings_collector::CollectorLimits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{TRACES, frame, request2, start, start_with},
    samples::good_traces,
};

#[tokio::test]
async fn requests_in_progress_are_finished_and_the_port_is_closed() {
    let running = start().await;
    let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
    let (grpc, http) = (running.grpc, running.http);
    let body = frame(0, &good_traces().encode_to_vec());
    let call = tokio::spawn(async move {
        request2(grpc, TRACES, &[("content-type", "application/grpc")], body).await
    });
    running.sink.waiting.subscribe().wait_for(|&count| count == 1).await.unwrap();
    let sink = running.sink;
    let collector = running.collector;
    let stop = tokio::spawn(async move { collector.stop().await });
    while TcpStream::connect(http).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stop.is_finished(), "a request is under way");
    sink.permits.add_permits(permits);
    let reply = call.await.unwrap();
    assert_eq!(reply.trailers.unwrap().get("grpc-status").unwrap(), "0");
    stop.await.unwrap();
    assert_eq!(sink.batches.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused_with_a_retry() {
    let limits =
        CollectorLimits { drain_timeout: Duration::from_millis(600), ..Default::default() };
    let running = start_with(limits).await;
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: 10\r\n\r\n",
        running.http
    );
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The interim response shows that the server awaits the body.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"), "{interim:?}");
    let (_, answer) = tokio::join!(running.collector.stop(), crate::bodies::rest(&mut stream));
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
}

#[tokio::test]
async fn idle_and_hanging_connections_do_not_delay_stopping() {
    let limits =
        CollectorLimits { drain_timeout: Duration::from_millis(400), ..Default::default() };
    let running = start_with(limits).await;
    let mut streams = Vec::new();
    for begin in ["", "POST /v1/tra", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(running.http).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let json = [("content-type", "application/json")];
    assert_eq!(running.post("/v1/traces", &json, "{}").await.status, 200);
    let stopped = tokio::time::timeout(Duration::from_secs(20), running.collector.stop()).await;
    assert!(stopped.is_ok());
}

#[tokio::test]
async fn the_error_of_an_address_in_use_names_it() {
    let running = start().await;
    let settings = tidings_collector::CollectorSettings::new(vec![
        ("otlp-grpc", running.http),
        ("otlp-http", running.grpc),
        ("zipkin", running.zipkin),
    ]);
    let error = tidings_collector::Collector::start_with(
        settings,
        running.sink,
        std::sync::Arc::new(tidings_storage::SystemClock),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&running.http.to_string()), "{error}");
}
