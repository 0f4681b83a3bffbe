//! Clients that hold connections, requests and memory without using them do not exclude others.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{SendStream, client::SendRequest};
use http::{Method, Request};
use prost::Message;
use tidings_collector::CollectorLimits;
use tidings_proto::otlp::encode_json;
use tidings_storage::{Clock, SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    harness::{HEALTH, JSON, Running, TRACES, frame, request, start, start_behind, start_with},
    samples::good_traces,
};

/// Maximum time of a step, on a slow machine, too. With [`patient`] bounds nothing times out in it.
const SOON: Duration = Duration::from_secs(60);

/// Returns bounds by which no connection and no body times out.
fn patient() -> CollectorLimits {
    let hour = Duration::from_secs(3600);
    CollectorLimits {
        header_timeout: hour,
        idle_timeout: hour,
        body_timeout: hour,
        body_bytes_per_second_min: 0,
        ..Default::default()
    }
}

fn now() -> Instant {
    SystemClock.instant()
}

/// Opens this many connections and sends these bytes on each.
async fn connect(address: SocketAddr, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// Returns a request whose body is incomplete.
fn unfinished(running: &Running, length: usize, sent: usize) -> Vec<u8> {
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n",
        running.http
    );
    [head.into_bytes(), vec![b' '; sent]].concat()
}

/// Posts until it is stored.
async fn stored(running: &Running) {
    let begin = now();
    loop {
        let reply = running.post("/v1/traces", &[JSON], "{}").await;
        if reply.status == 200 {
            return;
        }
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(now() - begin < SOON, "nothing is taken any more");
    }
}

#[tokio::test]
async fn two_thousand_silent_connections_do_not_exclude_others() {
    let running = start_with(patient()).await;
    for said in [&b""[..], b"POST /v1/traces HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        for address in [running.http, running.grpc] {
            let _silent = connect(address, 2100, said).await;
            stored(&running).await;
            let body = frame(0, &good_traces().encode_to_vec());
            assert_eq!(running.call(TRACES, &[], body).await.code, 0, "{said:?}");
        }
    }
}

#[tokio::test]
async fn connections_with_stalled_bodies_are_evicted() {
    let limits = CollectorLimits { connections_max: 64, ..patient() };
    let running = start_with(limits).await;
    let mut waiting = connect(running.http, 64, &unfinished(&running, 1000, 10)).await;
    // Connections with recent bytes are not evicted; after a while they are stalled.
    stored(&running).await;
    drop(waiting.split_off(32));
    stored(&running).await;
}

#[tokio::test]
async fn health_checks_are_answered_when_the_budget_of_connections_is_used_up() {
    let limits = CollectorLimits { connections_max: 32, ..patient() };
    let running = start_with(limits).await;
    let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
    let body = good_traces().encode_to_vec();
    // Every connection of an address has a request that is processed.
    let address = running.grpc;
    let mut calls = Vec::new();
    let refused = loop {
        let body = frame(0, &body);
        let mut waiting = running.sink.waiting.subscribe();
        let expected = calls.len() + 1;
        let mut call = tokio::spawn(async move {
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            crate::harness::request2(address, TRACES, &headers, body).await
        });
        tokio::select! {
            refused = &mut call => break refused.unwrap(),
            _ = waiting.wait_for(|&count| count == expected) => calls.push(call),
        }
        assert!(calls.len() < 32, "all of them may be one address's");
    };
    assert_eq!(refused.headers.get("grpc-status").unwrap(), "14", "{refused:?}");
    assert!(calls.len() > 16, "{}", calls.len());
    for _ in 0..40 {
        assert_eq!(running.call(HEALTH, &[], frame(0, b"")).await.code, 0);
    }
    running.sink.permits.add_permits(permits);
    for call in calls {
        assert_eq!(call.await.unwrap().trailers.unwrap().get("grpc-status").unwrap(), "0");
    }
    stored(&running).await;
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_has_a_share_of_its_own() {
    let limits = CollectorLimits { open_requests_max: 8, ..patient() };
    // The clients forge the entries before the address that the proxy adds.
    let (greedy, other) = ("203.0.113.9, 198.51.100.1", "198.51.100.1, 203.0.113.9");
    for (proxy, is_trusted) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let running = start_behind(&[proxy], limits.clone()).await;
        let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
        let address = running.http;
        let post = |client: &'static str| {
            let body = encode_json(&good_traces());
            tokio::spawn(async move {
                let headers = [JSON, ("x-forwarded-for", client)];
                request(address, Method::POST, "/v1/traces", &headers, body).await
            })
        };
        let mut waiting = running.sink.waiting.subscribe();
        let mut stuck = Vec::new();
        let refused = loop {
            let (mut posted, expected) = (post(greedy), stuck.len() + 1);
            tokio::select! {
                refused = &mut posted => break refused.unwrap(),
                _ = waiting.wait_for(|&count| count == expected) => stuck.push(posted),
            }
        };
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!((1..8).contains(&stuck.len()), "{}", stuck.len());
        let (mut posted, expected) = (post(other), stuck.len() + 1);
        let refused = tokio::select! {
            refused = &mut posted => Some(refused.unwrap().status),
            _ = waiting.wait_for(|&count| count == expected) => None,
        };
        assert_eq!(refused.is_none(), is_trusted, "{proxy}: {refused:?}");
        running.sink.permits.add_permits(permits);
        if is_trusted {
            stuck.push(posted);
        }
        for posted in stuck {
            assert_eq!(posted.await.unwrap().status, 200);
        }
    }
}

/// Opens an HTTP/2 connection with the maximum number of requests, whose bodies have begun.
async fn slow_streams(address: SocketAddr) -> (SendRequest<Bytes>, Vec<SendStream<Bytes>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut streams = Vec::new();
    let mut requests = requests.ready().await.unwrap();
    for _ in 0..100 {
        let request = Request::post(format!("http://{address}/v1/traces"));
        let request = request.header(JSON.0, JSON.1).body(()).unwrap();
        let (_answer, mut stream) = requests.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b" "), false).unwrap();
        streams.push(stream);
        requests = requests.ready().await.unwrap();
    }
    (requests, streams)
}

#[tokio::test]
async fn four_thousand_slow_streams_do_not_exclude_others() {
    let running = start_with(patient()).await;
    let mut connections = Vec::new();
    for _ in 0..42 {
        connections.push(slow_streams(running.http).await);
    }
    stored(&running).await;
    let body = frame(0, &good_traces().encode_to_vec());
    assert_eq!(running.call(TRACES, &[], body).await.code, 0);
    drop(connections);
}

#[tokio::test]
async fn stalled_bodies_lose_their_memory_to_arriving_ones() {
    let limits = CollectorLimits { in_flight_bytes_max: 1 << 20, ..patient() };
    let running = start_with(limits).await;
    let stalled = connect(running.http, 9, &unfinished(&running, 120 << 10, 115 << 10)).await;
    stored(&running).await;
    let begin = now();
    let body = format!("{}{{}}", " ".repeat(300 << 10));
    loop {
        let reply = running.post("/v1/traces", &[JSON], body.clone()).await;
        if reply.status == 200 {
            break;
        }
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(now() - begin < SOON, "they keep their memory");
    }
    let mut refused = 0;
    for mut stream in stalled {
        let mut status = [0; 12];
        // Requests that kept their memory are not answered yet.
        let answered =
            tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut status));
        if matches!(answered.await, Ok(Ok(_))) {
            assert_eq!(&status, b"HTTP/1.1 503");
            refused += 1;
        }
    }
    assert!(refused > 0, "whoever loses its memory is told to try again");
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_refused() {
    let limits = CollectorLimits { body_timeout: Duration::from_secs(3600), ..Default::default() };
    let running = start_with(limits).await;
    let mut stream = TcpStream::connect(running.http).await.unwrap();
    // These bytes satisfy the minimum pace for minutes.
    stream.write_all(&unfinished(&running, 2 << 20, 1 << 20)).await.unwrap();
    let mut status = [0; 12];
    let answered = tokio::time::timeout(SOON, stream.read_exact(&mut status));
    answered.await.expect("it is waited for").unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    assert_eq!(running.refused("otlp/http", "slow_body"), 1);
}

/// Returns the number of requests in progress, of all receivers.
fn under_way(running: &Running) -> u64 {
    running.collector.connections()[0].1.requests
}

#[tokio::test]
async fn admitted_requests_that_are_abandoned_end_their_connection() {
    let running = start().await;
    let stream = TcpStream::connect(running.http).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut requests = requests;
    let mut abandoned = 0;
    let begin = now();
    while let Ok(mut ready) = requests.clone().ready().await {
        let request = Request::post("http://localhost/v1/traces").header(JSON.0, JSON.1);
        let Ok((answer, mut stream)) = ready.send_request(request.body(()).unwrap(), false) else {
            break;
        };
        // The request is admitted, and its body is being read.
        let _ = stream.send_data(Bytes::from_static(b" "), false);
        while under_way(&running) == 0 && !ended.is_finished() {
            tokio::task::yield_now().await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        requests = ready;
        abandoned += 1;
        while under_way(&running) > 0 && !ended.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(abandoned < 1000, "it goes on");
        assert!(now() - begin < SOON, "it hangs");
    }
    assert!(abandoned >= 100, "{abandoned}");
    stored(&running).await;
}
