//! Tests the audit log: changes, denied requests and reads, with actor, address and outcome.

use std::{fs, os::unix::fs::MetadataExt};

use bytes::Bytes;
use prost::Message;
use serde_json::{Value as Json, json};
use url::form_urlencoded;

use crate::harness::{
    Server,
    flight::{flight_rows, ticket},
    found_until,
    http::{Answer, call, frame, send},
    spans::{TRACE_EXPORT, now, span, traces},
    wait_until,
};

const REQUIRED: [&str; 2] = ["--require-keys", "true"];

/// Creates a key while a server runs and waits until the server accepts it.
fn key(server: &Server, name: &str, role: &str) -> String {
    key_of(server, name, role, &[])
}

fn key_of(server: &Server, name: &str, role: &str, more: &[&str]) -> String {
    let folder = server.data_dir().to_str().unwrap();
    let args = ["keys", "create", "--data-dir", folder, "--name", name, "--role", role];
    let (code, out, error) = Server::command(&[&args, more].concat());
    assert_eq!(code, Some(0), "{error}");
    let key = out.trim().to_owned();
    wait_until("the key is taken over", || {
        ask(server, "GET", "/api/v1/status", &key, "").status != 401
    });
    key
}

fn ask(server: &Server, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ];
    send(method, &server.http, path, &headers, Bytes::from(body.to_owned()))
}

fn events(server: &Server, admin: &str, query: &str) -> Vec<Json> {
    let answer = ask(server, "GET", &format!("/api/v1/audit?limit=1000&{query}"), admin, "");
    let body: Json = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["unreadableLines"]), (200, &json!(0)), "{body}");
    body["events"].as_array().unwrap().clone()
}

/// Waits for the first event that matches. The server writes counted events within about a second.
fn event(server: &Server, admin: &str, query: &str) -> Json {
    found_until(&format!("an event matches {query}"), || {
        events(server, admin, query).into_iter().next()
    })
}

/// Returns the text of all files of the audit log.
fn files(server: &Server) -> String {
    let files = fs::read_dir(server.data_dir().join("audit")).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

fn facts(event: &Json) -> [&Json; 5] {
    ["action", "outcome", "status", "object", "sourceAddress"].map(|name| &event[name])
}

#[test]
fn changes_are_recorded_with_author_address_and_outcome() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "ops", "admin");
    let made = ask(&server, "POST", "/api/v1/keys", &admin, r#"{"name": "ci", "role": "ingest"}"#);
    assert_eq!(made.status, 201);
    let made: Json = serde_json::from_slice(&made.body).unwrap();
    let id = made["created"]["id"].as_str().unwrap();
    // The event is recorded before the answer is sent, so the test need not wait.
    let created = &events(&server, &admin, "action=key.create&actor=ops")[0];
    let address = json!("127.0.0.1");
    let object = json!("POST /api/v1/keys");
    let expected = [&json!("key.create"), &json!("success"), &json!(201), &object, &address];
    assert_eq!(facts(created), expected);
    assert_eq!(created["detail"], format!("key {id} \"ci\", role ingest"));
    assert_eq!(created["actor"]["kind"], "key");
    let path = format!("/api/v1/keys/{id}");
    assert_eq!(ask(&server, "DELETE", &path, &admin, "").status, 204);
    let revoked = &events(&server, &admin, "action=key.revoke")[0];
    assert_eq!(revoked["object"], format!("DELETE {path}"));
    // A revocation of a revoked key is recorded as a failure.
    assert_eq!(ask(&server, "DELETE", &path, &admin, "").status, 404);
    let again = &events(&server, &admin, "action=key.revoke&outcome=failure")[0];
    assert_eq!(again["status"], 404);
    let commands = events(&server, &admin, "action=key.create&text=ops");
    assert_eq!(commands[0]["actor"]["kind"], "command");
    assert_eq!(events(&server, &admin, "action=server")[0]["action"], "server.start");
    assert!(events(&server, &admin, "action=session").is_empty());
    let session = ask(&server, "POST", "/api/v1/session", "", &json!({"key": admin}).to_string());
    assert_eq!(session.status, 200);
    assert_eq!(events(&server, &admin, "action=session")[0]["actor"]["name"], "ops");
}

#[test]
fn an_event_has_the_time_of_its_request() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "ops", "admin");
    for name in ["first", "second"] {
        let before = now();
        let body = json!({"name": name, "role": "read"}).to_string();
        assert_eq!(ask(&server, "POST", "/api/v1/keys", &admin, &body).status, 201);
        let after = now();
        let made = &events(&server, &admin, "action=key.create&actor=ops")[0];
        assert!(made["detail"].as_str().unwrap().contains(name), "{made}");
        let time: u64 = made["timeUnixNano"].as_str().unwrap().parse().unwrap();
        assert!((before..=after).contains(&time), "{time} is not in {before}..={after}");
    }
}

#[test]
fn pins_and_demo_traffic_are_recorded_with_their_author() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "ops", "admin");
    let spans = traces("cart", vec![span(7, 1, 0, "GET /cart")]).encode_to_vec();
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-protobuf")];
    assert_eq!(send("POST", &server.otlp_http, "/v1/traces", &headers, spans).status, 200);
    let pin = format!("/api/v1/traces/{:032x}/pin", 7);
    for (method, path, status, action) in [
        ("PUT", pin.as_str(), 201, "trace.pin"),
        ("DELETE", pin.as_str(), 204, "trace.unpin"),
        ("POST", "/api/v1/demo", 202, "demo.send"),
    ] {
        assert!(events(&server, &admin, &format!("action={action}")).is_empty(), "{action}");
        let answer = ask(&server, method, path, &admin, "");
        assert_eq!(answer.status, status, "{method} {path}: {:?}", answer.body);
        let recorded = events(&server, &admin, &format!("action={action}"));
        let [event] = recorded.as_slice() else { panic!("{recorded:?}") };
        let (object, address) = (json!(format!("{method} {path}")), json!("127.0.0.1"));
        let (action, success) = (json!(action), json!("success"));
        assert_eq!(facts(event), [&action, &success, &json!(status), &object, &address]);
        assert_eq!(event["actor"]["name"], "ops");
    }
}

#[test]
fn denied_requests_of_every_listener_are_counted() {
    let mut server = Server::start_with(&REQUIRED);
    let admin = key(&server, "ops", "admin");
    let reader = key(&server, "grafana", "read");
    for _ in 0..200 {
        assert_eq!(ask(&server, "DELETE", "/api/v1/keys/0123abcd", &reader, "").status, 403);
    }
    let denied = event(&server, &admin, "outcome=denied&actor=grafana");
    assert_eq!(denied["object"], "DELETE /api/v1/keys/0123abcd");
    assert!(denied["detail"].as_str().unwrap().contains("admin"), "{denied}");
    let spans = traces("cart", vec![span(7, 1, 0, "GET /cart")]).encode_to_vec();
    let stranger =
        [("authorization", "Bearer tk_00000000_0"), ("content-type", "application/x-protobuf")];
    let refused = send("POST", &server.otlp_http, "/v1/traces", &stranger, spans.clone());
    assert_eq!(refused.status, 401);
    assert_eq!(call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, &spans)).code, Some(16));
    let grpc = "/jaeger.api_v2.QueryService/GetServices";
    assert_eq!(call(&server.http, grpc, &[], frame(false, &[])).code, Some(16));
    let rebound = [("host", "evil.example")];
    assert_eq!(send("GET", &server.http, "/api/v1/status", &rebound, Bytes::new()).status, 421);
    let denied = event(&server, &admin, "action=access&text=evil.example");
    assert_eq!((&denied["status"], &denied["object"]), (&json!(421), &json!("GET /api/v1/status")));
    for part in ["otlp/http", "otlp/grpc", "QueryService"] {
        let denied = event(&server, &admin, &format!("action=access&text={part}"));
        assert_eq!(denied["actor"]["kind"], "anonymous", "{denied}");
        assert_eq!(denied["sourceAddress"], "127.0.0.1", "{denied}");
    }
    // 200 equal events become a few lines, which the server completes when it ends.
    assert!(server.terminate().success());
    let text = files(&server);
    let of_reader: Vec<Json> = text
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .filter(|event| event["actor"]["name"] == "grafana")
        .collect();
    let counts: Vec<u64> = of_reader.iter().map(|event| event["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 200);
    assert!(counts.len() < 10, "{counts:?}");
    assert!(text.contains("server.stop"));
}

#[test]
fn only_admins_search_it_and_reads_are_recorded_when_asked_for() {
    let server = Server::start_with(&[&REQUIRED[..], &["--audit-reads", "true"]].concat());
    let admin = key(&server, "ops", "admin");
    for role in ["read", "ingest"] {
        let other = key(&server, role, role);
        assert_eq!(ask(&server, "GET", "/api/v1/audit", &other, "").status, 403);
    }
    assert_eq!(ask(&server, "GET", "/api/v1/services?limit=7", &admin, "").status, 200);
    let read = event(&server, &admin, "action=read&text=services%3Flimit%3D7");
    assert_eq!(read["object"], "GET /api/v1/services?limit=7");
    assert_eq!(read["actor"]["name"], "ops");
    for (query, parameter) in [
        ("outcome=done", "outcome"),
        ("cursor=2026-11-23_5", "cursor"),
        ("limit=0", "limit"),
        ("start=yesterday", "start"),
        ("user=ops", "user"),
    ] {
        let answer = ask(&server, "GET", &format!("/api/v1/audit?{query}"), &admin, "");
        let problem: Json = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["parameter"]), (400, &json!(parameter)), "{problem}");
    }
    let first = ask(&server, "GET", "/api/v1/audit?limit=1", &admin, "");
    let first: Json = serde_json::from_slice(&first.body).unwrap();
    let cursor = first["nextCursor"].as_str().unwrap();
    let next = ask(&server, "GET", &format!("/api/v1/audit?limit=1&cursor={cursor}"), &admin, "");
    let next: Json = serde_json::from_slice(&next.body).unwrap();
    assert_ne!(first["events"][0], next["events"][0]);
    let folder = server.data_dir().join("audit");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_statement_is_recorded_without_its_secrets_from_a_body_and_from_an_address() {
    let flags = [&REQUIRED[..], &["--audit-reads", "true", "--sql", "on"]].concat();
    let server = Server::start_with(&flags);
    let (admin, reader) = (key(&server, "ops", "admin"), key(&server, "reader", "read"));
    let query = "SELECT 'posted', 'https://me:hunter2@host/'";
    let body = json!({"query": query}).to_string();
    assert_eq!(ask(&server, "POST", "/api/v1/sql", &reader, &body).status, 200);
    let posted = event(&server, &admin, "action=read&actor=reader&text=posted");
    assert_eq!(posted["object"], "POST /api/v1/sql");
    assert_eq!(posted["actor"]["name"], "reader");
    assert_eq!(posted["detail"], "SELECT 'posted', 'https://me:[REDACTED]@host/'");
    let bearer = format!("Bearer {reader}");
    let headers = [("authorization", bearer.as_str())];
    let rows = flight_rows(&server.http, &headers, &ticket("SELECT 'flown'"));
    assert_eq!(rows.code, Some(0));
    let flown = event(&server, &admin, "action=read&actor=reader&text=flown");
    assert_eq!(flown["detail"], "SELECT 'flown'");
    // Secrets are redacted in an address as they are in a body.
    let token = "c2VjcmV0LXRva2VuLW9mLW1hY2hpbmU";
    let secrets = [
        "'https://me:hunter2@host/'".to_owned(),
        format!("'Authorization: Bearer {token}'"),
        "'a' OR \"db.password\" = 'hunter2'".to_owned(),
    ];
    for (number, secret) in secrets.into_iter().enumerate() {
        let query = format!("SELECT 1 AS asked{number} FROM spans WHERE operation = {secret}");
        let body = json!({"query": query}).to_string();
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let address = format!("/api/v1/sql?query={encoded}");
        for (method, path, body) in [("GET", &*address, ""), ("POST", "/api/v1/sql", &*body)] {
            let status = ask(&server, method, path, &reader, body).status;
            assert!(matches!(status, 200 | 400), "{method} {query}: {status}");
            let place = if method == "GET" { "object" } else { "detail" };
            let asked = |event: &Json| {
                let text = event[place].as_str().unwrap_or_default();
                text.contains(&format!("asked{number}")) && text.contains("REDACTED")
            };
            wait_until(&format!("{method} {query} is recorded"), || {
                events(&server, &admin, "action=read&actor=reader").iter().any(asked)
            });
        }
    }
    let files = files(&server);
    assert!(!files.contains("hunter2") && !files.contains(token), "{files}");
}

/// Returns the addresses that the audit log has for denied requests with this header.
fn sources(server: &Server, admin: &str, forwarded: &str) -> Vec<String> {
    let headers = [("x-forwarded-for", forwarded), ("authorization", "Bearer tk_none")];
    let json = [&headers[..], &[("content-type", "application/json")]].concat();
    assert_eq!(send("GET", &server.http, "/api/v1/services", &headers, Bytes::new()).status, 401);
    assert_eq!(send("POST", &server.otlp_http, "/v1/traces", &json, "{}").status, 401);
    assert_eq!(send("POST", &server.zipkin, "/api/v2/spans", &json, "[]").status, 401);
    let exported = call(&server.otlp_grpc, TRACE_EXPORT, &headers, frame(false, b""));
    assert_eq!(exported.code, Some(16), "{}", exported.message);
    let objects = ["v1%2Fservices", "v1%2Ftraces", "v2%2Fspans", "TraceService"];
    let source = |object| event(server, admin, &format!("action=access&text={object}"));
    let source = |object| source(object)["sourceAddress"].as_str().unwrap().to_owned();
    objects.into_iter().map(source).collect()
}

#[test]
fn the_address_of_a_client_is_taken_from_trusted_proxies_only() {
    let trusting = [&REQUIRED[..], &["--trusted-proxies", "127.0.0.1,10.0.0.0/8"]].concat();
    let others = [&REQUIRED[..], &["--trusted-proxies", "10.0.0.0/8"]].concat();
    for (flags, forwarded, expected) in [
        (&trusting, "192.0.2.1, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        (&trusting, "198.51.100.7, 2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        (&trusting, "198.51.100.7, none", "127.0.0.1"),
        (&others, "198.51.100.7", "127.0.0.1"),
        (&REQUIRED.to_vec(), "198.51.100.7", "127.0.0.1"),
    ] {
        let server = Server::start_with(flags);
        let admin = key(&server, "ops", "admin");
        let sources = sources(&server, &admin, forwarded);
        assert_eq!(sources, [expected; 4], "{flags:?} {forwarded}");
        let found = events(&server, &admin, &format!("action=access&address={expected}"));
        assert!(found.len() >= 4, "{found:?}");
    }
    let (code, _, error) = Server::command(&["config", "--trusted-proxies", "0.0.0.0/0"]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("every address"), "{error}");
}

#[test]
fn a_backup_is_recorded() {
    let mut server = Server::start();
    assert!(server.terminate().success());
    let place = tempfile::tempdir().unwrap();
    let (folder, place) = (server.data_dir().to_str().unwrap(), place.path().to_str().unwrap());
    let (code, out, error) = Server::command(&["backup", "--data-dir", folder, "--to", place]);
    assert_eq!(code, Some(0), "{error}");
    let id = out.split_whitespace().nth(1).unwrap();
    let text = files(&server);
    assert!(text.contains("data.backup") && text.contains(id), "{text}");
}

#[test]
fn an_erasure_is_recorded_without_the_value_that_is_erased() {
    let mut server = Server::start();
    assert!(server.terminate().success());
    let folder = server.data_dir().to_str().unwrap();
    // The value comes from standard input, because a list of processes would show an argument.
    let erase = ["erase", "--data-dir", folder, "--attribute=user.email"];
    let (code, _, error) = Server::command_with_input(&erase, "jane@example.org\n");
    assert_eq!(code, Some(0), "{error}");
    let text = files(&server);
    assert!(text.contains("data.erase") && text.contains("user.email"), "{text}");
    assert!(!text.contains("jane"), "{text}");
}

#[test]
fn a_tenant_sees_its_own_events_and_the_default_tenant_all() {
    let server = Server::start_with(&REQUIRED);
    let ops = key(&server, "ops", "admin");
    let alfa = key_of(&server, "of-alfa", "admin", &["--tenant", "alfa"]);
    let beta = key_of(&server, "of-beta", "admin", &["--tenant", "beta"]);
    for (admin, name) in [(&ops, "one"), (&alfa, "two"), (&beta, "three")] {
        let body = json!({"name": name, "role": "read"}).to_string();
        assert_eq!(ask(&server, "POST", "/api/v1/keys", admin, &body).status, 201);
    }
    let tenants = |admin: &str| -> Vec<Json> {
        let events = events(&server, admin, "action=key.create&outcome=success");
        let by_api = events.into_iter().filter(|event| event["actor"]["kind"] == "key");
        by_api.map(|event| event["tenant"].clone()).collect()
    };
    assert_eq!(tenants(&alfa), ["alfa"]);
    assert_eq!(tenants(&beta), ["beta"]);
    assert_eq!(tenants(&ops), [json!("beta"), json!("alfa"), Json::Null]);
    // No query of a tenant returns events of another tenant or of the server itself.
    for query in ["", "action=server", "actor=of-beta", "text=three"] {
        let found = events(&server, &alfa, query);
        assert!(found.iter().all(|event| event["tenant"] == "alfa"), "{query}: {found:?}");
    }
}

#[test]
fn denied_requests_of_strangers_are_folded_and_ending_no_session_is_no_event() {
    let mut server = Server::start_with(&REQUIRED);
    let admin = key(&server, "ops", "admin");
    for _ in 0..300 {
        let ended = send("DELETE", &server.http, "/api/v1/session", &[], Bytes::new());
        assert_eq!(ended.status, 204);
        let wrong = send("PUT", &server.http, "/api/v1/session", &[], Bytes::new());
        assert_eq!(wrong.status, 405);
    }
    let pasted = format!("/api/v1/keys/{admin}");
    assert_eq!(ask(&server, "DELETE", &pasted, &admin, "").status, 400);
    assert!(server.terminate().success());
    let text = files(&server);
    assert!(!text.contains("session.end"), "{text}");
    let of_strangers = text.lines().filter(|line| line.contains("PUT /api/v1/session"));
    assert!((1..10).contains(&of_strangers.count()), "{text}");
    // A key that was pasted into an address is not written to the log.
    assert!(text.contains("DELETE /api/v1/keys/tk_") && !text.contains(&admin[12..]), "{text}");
}
