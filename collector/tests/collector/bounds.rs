//! Overload: bounds of memory, requests and connections.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use prost::Message;
use tidings_collector::CollectorLimits;
use tidings_proto::otlp::encode_json;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    harness::{Fault, JSON, PROTOBUF, TRACES, frame, retry, start_with},
    samples::{good_traces, gzip, span, traces},
};

/// Headers and a body.
type Form = (Vec<(&'static str, &'static str)>, Vec<u8>);

/// A good request in each form.
fn forms() -> [Form; 3] {
    let many = traces(vec![span(1); 1000]);
    let bytes = many.encode_to_vec();
    [
        (vec![JSON], encode_json(&many)),
        (vec![PROTOBUF], bytes.clone()),
        (vec![PROTOBUF, ("content-encoding", "gzip")], gzip(&bytes)),
    ]
}

#[tokio::test]
async fn requests_above_the_memory_budget_are_refused_as_retryable() {
    let limits = CollectorLimits { in_flight_bytes_max: 2 << 20, ..Default::default() };
    let running = start_with(limits).await;
    let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
    let body = frame(0, &traces(vec![span(1); 1000]).encode_to_vec());
    let address = running.grpc;
    let mut waiting = running.sink.waiting.subscribe();
    let mut stuck = Vec::new();
    // The store blocks, until no memory is left for another request.
    let refused = loop {
        let body = body.clone();
        let mut call = tokio::spawn(async move {
            let headers = [("content-type", "application/grpc")];
            crate::harness::request2(address, TRACES, &headers, body).await
        });
        let more = stuck.len() + 1;
        tokio::select! {
            refused = &mut call => break refused.unwrap(),
            _ = waiting.wait_for(|&count| count == more) => stuck.push(call),
        }
    };
    assert_eq!(refused.headers.get("grpc-status").unwrap(), "14", "{refused:?}");
    assert!(!stuck.is_empty());
    for (headers, body) in forms() {
        let reply = running.post("/v1/traces", &headers, body).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(matches!(retry(&reply.rpc_status()), Some(1..=5)));
    }
    let reply = running.call(TRACES, &[], body.clone()).await;
    assert_eq!(reply.code, 14);
    assert!(matches!(reply.retry(), Some(1..=5)), "{reply:?}");
    running.sink.permits.add_permits(permits);
    for call in stuck {
        assert_eq!(call.await.unwrap().trailers.unwrap().get("grpc-status").unwrap(), "0");
    }
    // The memory is returned.
    assert_eq!(running.call(TRACES, &[], body).await.code, 0);
}

#[tokio::test]
async fn a_request_that_never_fits_the_memory_budget_is_too_large() {
    let limits = CollectorLimits { in_flight_bytes_max: 64 << 10, ..Default::default() };
    let running = start_with(limits).await;
    for (headers, body) in forms() {
        let reply = running.post("/v1/traces", &headers, body).await;
        assert_eq!(reply.status, 413, "{reply:?}");
        assert_eq!(retry(&reply.rpc_status()), None);
    }
    let bytes = traces(vec![span(1); 1000]).encode_to_vec();
    let reply = running.call(TRACES, &[], frame(0, &bytes)).await;
    assert_eq!((reply.code, reply.retry()), (8, None));
    assert_eq!(running.refused("otlp/http", "too_large"), 3);
    assert_eq!(running.call(TRACES, &[], frame(0, &good_traces().encode_to_vec())).await.code, 0);
}

#[tokio::test]
async fn requests_above_the_maximum_number_are_refused_as_retryable() {
    let limits = CollectorLimits { in_flight_requests_max: 2, ..Default::default() };
    let running = start_with(limits).await;
    let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
    let body = frame(0, &good_traces().encode_to_vec());
    let address = running.grpc;
    let stuck = (0..2).map(|_| {
        let body = body.clone();
        tokio::spawn(async move {
            let headers = [("content-type", "application/grpc")];
            crate::harness::request2(address, TRACES, &headers, body).await
        })
    });
    let stuck: Vec<_> = stuck.collect();
    running.sink.waiting.subscribe().wait_for(|&count| count == 2).await.unwrap();
    let reply = running.call(TRACES, &[], body.clone()).await;
    assert_eq!(reply.code, 14, "{reply:?}");
    running.sink.permits.add_permits(permits);
    for task in stuck {
        assert_eq!(task.await.unwrap().trailers.unwrap().get("grpc-status").unwrap(), "0");
    }
    assert_eq!(running.call(TRACES, &[], body).await.code, 0);
}

#[tokio::test]
async fn a_connection_above_the_maximum_evicts_the_oldest_silent_one() {
    let limits = CollectorLimits { connections_max: 4, ..Default::default() };
    let running = start_with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(running.http).await.unwrap());
    }
    assert_eq!(running.post("/v1/traces", &[JSON], "{}").await.status, 200);
    let mut said = Vec::new();
    silent[0].read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty(), "{said:?}");
    let young = silent[3].read_u8();
    assert!(tokio::time::timeout(Duration::from_millis(20), young).await.is_err(), "it ended");
}

#[tokio::test]
async fn nothing_is_decoded_when_the_store_is_full() {
    let running = start_with(CollectorLimits::default()).await;
    running.fail(Fault::NoRoom);
    let forms = forms().into_iter().chain([(vec![JSON], b"no request at all".to_vec())]);
    for (headers, body) in forms {
        let reply = running.post("/v1/traces", &headers, body).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
    }
    assert_eq!(running.sink.appends.load(SeqCst), 0);
    running.fail(None);
    let reply = running.post("/v1/traces", &[JSON], encode_json(&good_traces())).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_cancel_its_append() {
    let running = start_with(CollectorLimits::default()).await;
    let permits = running.sink.permits.forget_permits(usize::MAX >> 4);
    let body = encode_json(&good_traces());
    {
        let post = running.post("/v1/traces", &[JSON], body);
        tokio::pin!(post);
        let mut waiting = running.sink.waiting.subscribe();
        tokio::select! {
            reply = &mut post => panic!("answered before it was stored: {reply:?}"),
            _ = waiting.wait_for(|&count| count == 1) => {}
        }
    }
    running.sink.permits.add_permits(permits);
    while running.batches().is_empty() {
        tokio::task::yield_now().await;
    }
}
