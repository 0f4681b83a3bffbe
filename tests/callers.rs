//! Tests the identity of callers: the schemes in which clients send a key, and the query for one's
//! own identity.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message;
use serde_json::Value as Json;

use crate::{
    harness::{
        Server,
        http::{Answer, call, frame, send},
        spans::{TRACE_EXPORT, now, span, traces},
    },
    keys::{REQUIRED, key, until},
};

const SESSION: &str = "/api/v1/session";

fn ask(server: &Server, path: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    send("GET", &server.http, path, &[("authorization", &bearer)], Bytes::new())
}

fn json(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn senders_made_for_other_stores_bring_a_key_in_their_own_scheme() {
    let server = Server::start_with(&REQUIRED);
    let sender = key(&server, "sender", "ingest", &[]);
    let stranger = format!("{}{}", &sender[..59], if sender.ends_with('0') { '1' } else { '0' });
    let body = traces("shop", vec![span(7, 1, 0, "GET /cart")]).encode_to_vec();
    let schemes = |key: &str| {
        let pair = STANDARD.encode(format!("any-id:{key}"));
        [format!("ApiKey {pair}"), format!("ApiKey {key}"), format!("Splunk {key}")]
    };
    for (key, status, code) in [(&sender, 200, 0), (&stranger, 401, 16)] {
        for value in schemes(key) {
            let headers = [("authorization", value.as_str())];
            let exported = call(&server.otlp_grpc, TRACE_EXPORT, &headers, frame(false, &body));
            assert_eq!(exported.code, Some(code), "{value}: {}", exported.message);
            let kind = [("content-type", "application/x-protobuf")];
            let headers = [&headers[..], &kind].concat();
            let sent = send("POST", &server.otlp_http, "/v1/traces", &headers, body.clone());
            assert_eq!(sent.status, status, "{value}");
            let kind = [("content-type", "application/json"), headers[0]];
            let list = r#"[{"traceId": "9", "id": "8", "name": "GET /cart"}]"#;
            let sent = send("POST", &server.zipkin, "/api/v2/spans", &kind, list);
            assert_eq!(sent.status == 202, status == 200, "{value}: {}", sent.status);
        }
    }
}

/// Paths that Grafana's data sources request. The key is the password of any user name.
const GRAFANA: [&str; 10] = [
    "/prometheus/api/v1/labels",
    "/prometheus/api/v1/query?query=traces_spanmetrics_calls_total",
    "/prometheus/api/v1/query_range?start=1795161600&end=1795161900&step=60&query=vector(1)",
    "/tempo/api/echo",
    "/tempo/api/traces/00000000000000000000000000000007",
    "/tempo/api/search?q=%7B%7D",
    "/tempo/api/v2/search/tags",
    "/jaeger/api/services",
    "/jaeger/api/traces?service=shop",
    "/jaeger/api/v3/services",
];

#[test]
fn grafana_reads_with_a_key_as_its_password() {
    let server = Server::start_with(&REQUIRED);
    let sender = key(&server, "sender", "ingest", &[]);
    let reader = key(&server, "grafana", "read", &[]);
    let stranger = format!("{}{}", &reader[..59], if reader.ends_with('0') { '1' } else { '0' });
    let body = traces("shop", vec![span(7, 1, 0, "GET /cart")]).encode_to_vec();
    let headers = [("x-api-key", sender.as_str()), ("content-type", "application/x-protobuf")];
    assert_eq!(send("POST", &server.otlp_http, "/v1/traces", &headers, body).status, 200);
    for (key, status, code) in [(&reader, 200, 0), (&sender, 403, 7), (&stranger, 401, 16)] {
        let basic = format!("Basic {}", STANDARD.encode(format!("grafana:{key}")));
        let headers = [("authorization", basic.as_str())];
        for path in GRAFANA {
            let answer = send("GET", &server.http, path, &headers, Bytes::new());
            assert_eq!(answer.status, status, "{path}: {answer:?}");
        }
        // The Tempo data source uses the streaming search.
        let search = "/tempopb.StreamingQuerier/Search";
        let found = call(&server.http, search, &headers, frame(false, &[]));
        assert_eq!(found.code, Some(code), "{}", found.message);
    }
}

#[test]
fn asking_who_one_is_needs_a_key_that_reads_and_counts_as_a_request() {
    let server = Server::start_with(&[&REQUIRED[..], &["--audit-reads", "true"]].concat());
    let admin = key(&server, "admin", "admin", &[]);
    let sender = key(&server, "sender", "ingest", &[]);
    let reader = key(&server, "reader", "read", &["--requests-per-second", "1"]);
    assert_eq!(send("GET", &server.http, SESSION, &[], Bytes::new()).status, 401);
    assert_eq!(ask(&server, SESSION, &sender).status, 403);
    let state = |name: &str| {
        let list = json(&ask(&server, "/api/v1/keys", &admin));
        let mut keys = list["keys"].as_array().unwrap().iter();
        keys.find(|key| key["name"] == name).unwrap().clone()
    };
    let before = state("reader")["requests"].as_u64().unwrap();
    let answer = ask(&server, SESSION, &reader);
    assert_eq!((answer.status, json(&answer)["name"].as_str()), (200, Some("reader")));
    assert_eq!(state("reader")["requests"], before + 1);
    // Frequent queries about one's own key are rate-limited.
    until(|| ask(&server, SESSION, &reader).status == 429);
    let reads = || {
        let events = ask(&server, "/api/v1/audit?action=read&text=v1%2Fsession", &admin);
        String::from_utf8_lossy(&events.body).into_owned()
    };
    until(|| reads().contains("GET /api/v1/session"));
}

#[test]
fn requests_of_a_key_are_counted_with_the_time_of_the_last() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "admin", "admin", &[]);
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let asked = r#"{"name": "shop", "role": "ingest", "service": "shop"}"#;
    let made = json(&send("POST", &server.http, "/api/v1/keys", &headers, asked));
    let sender = format!("Bearer {}", made["key"].as_str().unwrap());
    let uses = || {
        let list = json(&ask(&server, "/api/v1/keys", &admin));
        list["keys"].as_array().unwrap().iter().find(|key| key["name"] == "shop").unwrap().clone()
    };
    let counts = |key: &Json| {
        ["requests", "refused", "records", "bytes"].map(|name| key[name].as_u64().unwrap())
    };
    let unused = uses();
    assert_eq!((counts(&unused), unused.get("lastUsedUnixNano")), ([0; 4], None), "{unused}");
    let body = |service| {
        let spans = (1..=3).map(|id| span(7, id, 0, "GET /cart")).collect();
        traces(service, spans).encode_to_vec()
    };
    let send = |body: &[u8]| {
        let headers =
            [("authorization", sender.as_str()), ("content-type", "application/x-protobuf")];
        send("POST", &server.otlp_http, "/v1/traces", &headers, body.to_vec()).status
    };
    let last = |key: &Json| -> u64 { key["lastUsedUnixNano"].as_str().unwrap().parse().unwrap() };
    let (own, begun) = (body("shop"), now());
    assert_eq!(send(&own), 200);
    let used = uses();
    assert_eq!(counts(&used), [1, 0, 3, own.len() as u64], "{used}");
    let first = last(&used);
    assert!((begun..=now()).contains(&first), "{used}");
    // A refused request counts as a use, and stores nothing.
    let others = body("other");
    assert_eq!(send(&others), 403);
    let refused = uses();
    // The body of the refused request was read, so it counts against limits of bytes.
    let bytes = (own.len() + others.len()) as u64;
    assert_eq!(counts(&refused), [2, 1, 3, bytes], "{refused}");
    assert!((first + 1..=now()).contains(&last(&refused)), "{refused}");
    // A query about keys is not a use of the listed keys.
    assert_eq!(last(&uses()), last(&refused));
}

#[test]
fn a_server_that_asks_for_no_key_says_so_to_who_asks_who_one_is() {
    let server = Server::start();
    let (status, view) = server.get(SESSION);
    assert_eq!((status, view["keysRequired"].as_bool()), (200, Some(false)), "{view}");
}
