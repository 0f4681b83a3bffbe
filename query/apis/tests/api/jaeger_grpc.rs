//! Jaeger's gRPC services: framing, statuses, and the same answers as over HTTP.

use std::{future::poll_fn, pin::pin, task::Poll};

use axum::body::{Body, Bytes};
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt;
use prost::Message;
use tidings_proto::{
    jaeger::{Seconds, rpc},
    otlp::{ExportTraceServiceRequest, KeyValue, SpanKind},
};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, checkout, span};

const V2: &str = "/jaeger.api_v2.QueryService";
const V3: &str = "/jaeger.api_v3.QueryService";
const STORAGE: &str = "/jaeger.storage.v2.TraceReader";
const LINKS: &str = "/jaeger.storage.v2.DependencyReader";

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The messages, the status code and the status message.
type Reply = (Vec<Bytes>, i32, String);

impl Harness {
    async fn grpc_raw(&self, path: &str, body: Vec<u8>) -> Reply {
        let (mut data, status) = self.grpc_call(path, body).await;
        let mut messages = Vec::new();
        while !data.is_empty() {
            let prefix = data.split_to(5);
            assert_eq!(prefix[0], 0);
            let length = u32::from_be_bytes(prefix[1..].try_into().unwrap());
            messages.push(data.split_to(length as usize));
        }
        (messages, status.code().into(), status.message().to_owned())
    }

    async fn grpc(&self, service: &str, method: &str, message: &impl Message) -> Vec<Bytes> {
        let path = format!("{service}/{method}");
        let (messages, code, text) = self.grpc_raw(&path, framed(&message.encode_to_vec())).await;
        assert_eq!(code, 0, "{path}: {text}");
        messages
    }

    async fn grpc_error(
        &self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> (i32, String) {
        let path = format!("{service}/{method}");
        let (messages, code, text) = self.grpc_raw(&path, framed(&message.encode_to_vec())).await;
        assert_eq!(messages.len(), 0, "{path}");
        (code, text)
    }
}

fn decoded<T: Message + Default>(messages: &[Bytes]) -> T {
    assert_eq!(messages.len(), 1);
    T::decode(messages[0].clone()).unwrap()
}

fn id(trace: u64) -> Vec<u8> {
    ((0xaaaa_u128 << 112) | u128::from(trace)).to_be_bytes().to_vec()
}

/// Returns trace ids and numbers of spans, message by message.
fn otlp(messages: &[Bytes]) -> Vec<(Vec<u8>, usize)> {
    let of = |message: &Bytes| {
        let request = ExportTraceServiceRequest::decode(message.clone()).unwrap();
        let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
        let spans: Vec<_> = scopes.flat_map(|scope| &scope.spans).collect();
        assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id), "one trace a message");
        (spans[0].trace_id.clone(), spans.len())
    };
    messages.iter().map(of).collect()
}

fn at(millis: i64) -> Option<Seconds> {
    let nanos = BEGIN.checked_add_signed(millis * 1_000_000).unwrap();
    Some(Seconds::from_nanos(nanos))
}

fn query(service: &str) -> rpc::FindTraces {
    rpc::FindTraces {
        query: Some(rpc::TraceQuery {
            service_name: service.to_owned(),
            start_time_min: at(-1_000),
            start_time_max: at(1_000),
            search_depth: 10,
            ..rpc::TraceQuery::default()
        }),
    }
}

#[tokio::test]
async fn every_service_answers_from_the_same_spans() {
    let harness = Harness::new().await;
    harness.send(checkout(1).into_iter().chain(checkout(2))).await;
    for service in [V2, V3, STORAGE] {
        let services: rpc::Services = decoded(&harness.grpc(service, "GetServices", &()).await);
        assert_eq!(services.services, ["payment", "shop"], "{service}");
    }
    let asked = rpc::GetOperations { service: "shop".into(), span_kind: "server".into() };
    let expected = rpc::Operation { name: "POST /checkout".into(), span_kind: "server".into() };
    for service in [V3, STORAGE] {
        let operations: rpc::Operations =
            decoded(&harness.grpc(service, "GetOperations", &asked).await);
        assert_eq!(operations.operations, std::slice::from_ref(&expected));
    }
    let operations: rpc::NamedOperations =
        decoded(&harness.grpc(V2, "GetOperations", &asked).await);
    assert_eq!(operations.operations, [expected]);
    assert_eq!(operations.operation_names, ["POST /checkout"]);

    let by_bytes = rpc::GetTraceByBytes { trace_id: id(1), raw_traces: false };
    let chunk: rpc::SpansResponseChunk = decoded(&harness.grpc(V2, "GetTrace", &by_bytes).await);
    assert_eq!(chunk.spans.len(), 5);
    let root = &chunk.spans[0];
    assert_eq!(root.process.as_ref().unwrap().service_name, "shop");
    assert_eq!(root.start_time, at(0));
    let by_text = rpc::GetTraceByText {
        trace_id: "aaaa0000000000000000000000000001".into(),
        raw_traces: false,
    };
    assert_eq!(otlp(&harness.grpc(V3, "GetTrace", &by_text).await), [(id(1), 5)]);
    let both =
        [id(2), id(9), id(1)].map(|trace_id| rpc::GetTraceByBytes { trace_id, raw_traces: false });
    let stored = harness.grpc(STORAGE, "GetTraces", &rpc::GetTraces { query: both.to_vec() }).await;
    assert_eq!(otlp(&stored), [(id(2), 5), (id(1), 5)]);

    let found = harness.grpc(V2, "FindTraces", &query("shop")).await;
    let spans: usize = found
        .iter()
        .map(|message| rpc::SpansResponseChunk::decode(message.clone()).unwrap().spans.len())
        .sum();
    assert_eq!(spans, 10);
    assert_eq!(otlp(&harness.grpc(V3, "FindTraces", &query("shop")).await).len(), 2);
    assert_eq!(harness.grpc(V3, "FindTraces", &query("nobody")).await.len(), 0, "an empty stream");
    let attributes = vec![KeyValue::new("http.response.status_code", 502_i64)];
    let stored = rpc::FindStoredTraces {
        query: Some(rpc::StoredTraceQuery {
            service_name: "shop".into(),
            attributes,
            ..Default::default()
        }),
    };
    assert_eq!(otlp(&harness.grpc(STORAGE, "FindTraces", &stored).await).len(), 2);
    let ids: rpc::FoundTraceIds = decoded(&harness.grpc(STORAGE, "FindTraceIDs", &stored).await);
    let ids: Vec<Vec<u8>> = ids.trace_ids.into_iter().map(|found| found.trace_id).collect();
    assert_eq!(ids, [id(1), id(2)]);

    let range = rpc::GetDependencies { start_time: at(-1_000), end_time: at(1_000) };
    for service in [V2, V3, LINKS] {
        let links: rpc::Dependencies =
            decoded(&harness.grpc(service, "GetDependencies", &range).await);
        let link = &links.dependencies[0];
        assert_eq!(
            (link.parent.as_str(), link.child.as_str(), link.call_count),
            ("shop", "payment", 2)
        );
    }
}

#[tokio::test]
async fn a_search_that_does_not_say_how_many_finds_a_hundred() {
    let harness = Harness::new().await;
    harness.send((1..=120).map(|trace| span(trace, 1, "shop", "GET /").at(trace, trace + 1))).await;
    for service in [V2, V3] {
        for (depth, expected) in [(0, 100), (-3, 100), (7, 7), (110, 110)] {
            let mut asked = query("shop");
            asked.query.as_mut().unwrap().search_depth = depth;
            let found = harness.grpc(service, "FindTraces", &asked).await;
            assert_eq!(found.len(), expected, "{service}: {depth}");
        }
    }
}

#[tokio::test]
async fn errors_have_grpc_statuses() {
    let harness = Harness::new().await;
    let text =
        |trace_id: &str| rpc::GetTraceByText { trace_id: trace_id.into(), raw_traces: false };
    let bytes = |trace_id: Vec<u8>| rpc::GetTraceByBytes { trace_id, raw_traces: false };
    let not_found = (5, "trace not found".to_owned());
    assert_eq!(harness.grpc_error(V3, "GetTrace", &text("1")).await, not_found);
    assert_eq!(harness.grpc_error(V3, "GetTrace", &text("0")).await, not_found);
    assert_eq!(harness.grpc_error(V2, "GetTrace", &bytes(id(1))).await, not_found);
    let expected = (3, "uninitialized TraceID is not allowed".to_owned());
    assert_eq!(harness.grpc_error(V2, "GetTrace", &bytes(vec![])).await, expected);
    let (code, message) = harness.grpc_error(V3, "GetTrace", &text("é%x")).await;
    assert_eq!(code, 3);
    assert_eq!(message, "malform trace ID: strconv.ParseUint: parsing \"é%x\": invalid syntax");
    let missing = (3, "missing query".to_owned());
    for service in [V2, V3, STORAGE] {
        assert_eq!(harness.grpc_error(service, "FindTraces", &()).await, missing);
    }
    let timeless = rpc::FindTraces { query: Some(rpc::TraceQuery::default()) };
    let expected = (3, "start time min and max are required parameters".to_owned());
    assert_eq!(harness.grpc_error(V3, "FindTraces", &timeless).await, expected);
    let mut backwards = query("shop");
    backwards.query.as_mut().unwrap().start_time_max = at(-2_000);
    let expected = (3, "start_time_min must be before start_time_max".to_owned());
    assert_eq!(harness.grpc_error(V3, "FindTraces", &backwards).await, expected);
    let mut many = query("shop");
    many.query.as_mut().unwrap().tags = (0..33).map(|tag| (tag.to_string(), "".into())).collect();
    for service in [V2, V3] {
        let (code, message) = harness.grpc_error(service, "FindTraces", &many).await;
        assert_eq!(code, 3);
        assert!(message.contains("a search has 32 tags at most, and this one has 33"), "{message}");
    }
    let expected = (3, "StartTime and EndTime must be initialized.".to_owned());
    assert_eq!(harness.grpc_error(V2, "GetDependencies", &()).await, expected);
    let expected = (12, "archive span storage was not configured".to_owned());
    assert_eq!(harness.grpc_error(V2, "ArchiveTrace", &bytes(id(1))).await, expected);
    for (service, method) in [
        (V3, "FindTraceSummaries"),
        (STORAGE, "FindTraceSummaries"),
        (V3, "GetTraces"),
        (V2, "Nonsense"),
    ] {
        let expected = (12, format!("unknown method {method}"));
        assert_eq!(harness.grpc_error(service, method, &()).await, expected);
    }
    for (body, code) in [
        (vec![], 13),
        (vec![0, 0, 0], 13),
        (vec![0, 0, 0, 0, 9, 1], 13),
        ([framed(&[]), framed(&[])].concat(), 12),
        (vec![1, 0, 0, 0, 0], 13),
        (framed(&[0xff; 9]), 13),
    ] {
        let (messages, found, text) =
            harness.grpc_raw(&format!("{V3}/GetTrace"), body.clone()).await;
        assert_eq!((messages.len(), found), (0, code), "{body:?}: {text}");
    }
    let plain = Request::post(format!("{V3}/GetServices")).body(Body::empty()).unwrap();
    assert_eq!(harness.ask(plain).await.0, 415);
}

#[tokio::test]
async fn large_traces_come_in_parts() {
    let limits = QueryLimits { view_spans_max: 1_000, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send((1..=450).map(|id| span(1, id, "s", "o").kind(SpanKind::Server))).await;
    let parts = harness
        .grpc(V2, "GetTrace", &rpc::GetTraceByBytes { trace_id: id(1), raw_traces: true })
        .await;
    assert_eq!(parts.len(), 3);
    let query = vec![rpc::GetTraceByBytes { trace_id: id(1), raw_traces: false }];
    let parts = otlp(&harness.grpc(STORAGE, "GetTraces", &rpc::GetTraces { query }).await);
    assert_eq!(parts, [(id(1), 200), (id(1), 200), (id(1), 50)]);
    harness.send((1..=900).map(|number| span(2, number, "s", "o"))).await;
    let query = [1, 2].map(|trace| rpc::GetTraceByBytes { trace_id: id(trace), raw_traces: false });
    let asked = rpc::GetTraces { query: query.to_vec() };
    let (code, message) = harness.grpc_error(STORAGE, "GetTraces", &asked).await;
    assert_eq!((code, message.as_str()), (8, "1 traces do not fit into one answer: ask for fewer"));
}

#[tokio::test]
async fn health_checks_know_the_services_of_the_address() {
    let harness = Harness::new().await;
    // A request has the service's name as field 1; an answer has the status 1, SERVING, as field 1.
    let asked = |service: &str| {
        let length = u8::try_from(service.len()).unwrap();
        framed(&[&[0x0a, length], service.as_bytes()].concat())
    };
    let check = "/grpc.health.v1.Health/Check";
    let serving = (vec![Bytes::from_static(&[0x08, 1])], 0, String::new());
    let names = [V2, V3, STORAGE, LINKS, "/tempopb.StreamingQuerier", "/grpc.health.v1.Health"];
    for name in names {
        assert_eq!(harness.grpc_raw(check, asked(&name[1..])).await, serving, "{name}");
    }
    assert_eq!(harness.grpc_raw(check, framed(&[])).await, serving);
    let unknown = (Vec::new(), 5, "unknown service".to_owned());
    assert_eq!(harness.grpc_raw(check, asked("jaeger.api_v2.Query")).await, unknown);
    let (_, code, _) = harness.grpc_raw("/grpc.health.v1.Health/List", framed(&[])).await;
    assert_eq!(code, 12);
    harness.service.end_waits();
    let (messages, code, _) = harness.grpc_raw(check, framed(&[])).await;
    assert_eq!((messages[0].as_ref(), code), (&[0x08, 2][..], 0));
}

/// Reads the next message of an open stream, or the status in its trailers; `None` when neither has
/// arrived.
async fn watched(body: &mut Body) -> Option<Result<Vec<u8>, i32>> {
    let next = poll_fn(|context| match pin!(body.frame()).poll(context) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending => Poll::Ready(None),
    });
    let frame = next.await?.unwrap().unwrap();
    Some(match frame.into_data() {
        Ok(data) => Ok(data[5..].to_vec()),
        Err(frame) => {
            let trailers = frame.into_trailers().unwrap();
            Err(trailers["grpc-status"].to_str().unwrap().parse().unwrap())
        }
    })
}

#[tokio::test]
async fn watchers_of_the_health_receive_its_end() {
    let harness = Harness::new().await;
    let watch = async |service: &str| {
        let length = u8::try_from(service.len()).unwrap();
        let asked = framed(&[&[0x0a, length], service.as_bytes()].concat());
        let request = Request::post("/grpc.health.v1.Health/Watch");
        let request = request.header("content-type", "application/grpc").body(Body::from(asked));
        let response = harness.send_to_router(request.unwrap()).await;
        assert_eq!(response.headers()["content-type"], "application/grpc");
        response.into_body()
    };
    let (serving, not_serving, unknown) = (vec![8, 1], vec![8, 2], vec![8, 3]);
    let mut known = watch("tempopb.StreamingQuerier").await;
    let mut other = watch("no.Service").await;
    assert_eq!(watched(&mut known).await, Some(Ok(serving)));
    assert_eq!(watched(&mut other).await, Some(Ok(unknown.clone())));
    // Both streams stay open.
    assert_eq!((watched(&mut known).await, watched(&mut other).await), (None, None));
    harness.service.end_waits();
    assert_eq!(watched(&mut known).await, Some(Ok(not_serving.clone())));
    assert_eq!(watched(&mut known).await, Some(Err(0)));
    assert_eq!(watched(&mut other).await, Some(Err(0)));
    assert!(known.is_end_stream() && known.frame().await.is_none());
    // A client that connects now gets the status at once.
    let mut late = watch("").await;
    assert_eq!(watched(&mut late).await, Some(Ok(not_serving)));
    assert_eq!(watched(&mut late).await, Some(Err(0)));
    let mut late = watch("no.Service").await;
    assert_eq!(watched(&mut late).await, Some(Ok(unknown)));
    assert_eq!(watched(&mut late).await, Some(Err(0)));
}

#[tokio::test]
async fn metadata_says_that_a_search_ended_at_its_row_budget() {
    let mut slow = query("shop");
    slow.query.as_mut().unwrap().duration_min = Some(Seconds::from_nanos(5_000_000_000));
    let stored = rpc::FindStoredTraces {
        query: Some(rpc::StoredTraceQuery {
            service_name: "shop".into(),
            duration_min: Some(Seconds::from_nanos(5_000_000_000)),
            ..Default::default()
        }),
    };
    for (rows_max, is_short) in [(5, true), (1_000, false)] {
        let harness = Harness::slow_before_quick(rows_max).await;
        for (service, method, asked) in [
            (V2, "FindTraces", slow.encode_to_vec()),
            (V3, "FindTraces", slow.encode_to_vec()),
            (STORAGE, "FindTraces", stored.encode_to_vec()),
            (STORAGE, "FindTraceIDs", stored.encode_to_vec()),
        ] {
            let request = Request::post(format!("{service}/{method}"));
            let request = request.header("content-type", "application/grpc");
            let request = request.body(Body::from(framed(&asked))).unwrap();
            let (_, headers, _) = harness.ask(request).await;
            let mark = headers.get("tidings-incomplete").map(|mark| mark.to_str().unwrap());
            let is_marked = mark.is_some_and(|mark| mark.contains("row budget"));
            assert_eq!(is_marked, is_short, "{service}/{method}: {mark:?}");
        }
    }
}
