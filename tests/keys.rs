//! Tests keys: each route of each listener, requested with each kind of key.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message;
use serde_json::{Value as Json, json};

use crate::harness::{
    Server, TAIL_QUIET, found_until,
    http::{Answer, GrpcAnswer, call, frame, get, send},
    output_of,
    route_sources::{SourceRoute, source_routes},
    spans::{TRACE_EXPORT, log, logs, resource, span, traces},
    wait_until,
};

pub(crate) const REQUIRED: [&str; 2] = ["--require-keys", "true"];
const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;
const JAEGER_SERVICES: &str = "/jaeger.api_v2.QueryService/GetServices";

/// Creates a key while a server runs and waits until the server accepts it.
pub(crate) fn key(server: &Server, name: &str, role: &str, more: &[&str]) -> String {
    let folder = server.data_dir().to_str().unwrap();
    let args = ["keys", "create", "--data-dir", folder, "--name", name, "--role", role];
    let (code, out, error) = Server::command(&[&args, more].concat());
    assert_eq!(code, Some(0), "{error}");
    let key = out.trim().to_owned();
    assert!(error.contains(name) && !error.contains(&key), "{error}");
    let id = key.split('_').nth(1).unwrap().to_owned();
    let (_, listed, _) = Server::command(&["keys", "list", "--data-dir", folder]);
    assert!(listed.contains(&id) && !listed.contains(&key), "{listed}");
    // A status other than 401 shows that the key is known, even if its role is not allowed.
    until(|| ask(server, "GET", "/api/v1/status", &key).status != 401);
    key
}

pub(crate) fn until(holds: impl Fn() -> bool) {
    wait_until("it holds", holds);
}

fn ask(server: &Server, method: &str, path: &str, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    send(method, &server.http, path, &[("authorization", &bearer)], Bytes::new())
}

fn spans_of(service: &str) -> Vec<u8> {
    traces(service, vec![span(7, 1, 0, "GET /cart")]).encode_to_vec()
}

/// Exports over HTTP and returns the answer.
fn export(server: &Server, headers: &[(&str, &str)], service: &str) -> Answer {
    let kind = [("content-type", "application/x-protobuf")];
    send("POST", &server.otlp_http, "/v1/traces", &[&kind, headers].concat(), spans_of(service))
}

/// Returns every route of the HTTP address with its methods: the native API's from its description,
/// and all that the source builds. The latter are requested with methods that they lack, too.
pub(crate) fn routes(server: &Server, admin: &str) -> BTreeSet<(String, String)> {
    let document = ask(server, "GET", "/api/v1/openapi.json", admin);
    let document: Json = serde_json::from_slice(&document.body).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        // Any value can fill a parameter, because the server checks the key first.
        let path = SourceRoute { path: path.clone(), is_zipkins: false }.filled();
        for method in ["get", "post", "put", "delete"] {
            if item.get(method).is_some() {
                routes.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(routes.len() > 30, "{routes:?}");
    for route in source_routes().iter().filter(|route| !route.is_zipkins) {
        routes.extend(["GET", "POST"].map(|method| (method.to_owned(), route.filled())));
    }
    routes
}

/// Returns true if a path needs no key.
pub(crate) fn is_open(path: &str) -> bool {
    const OPEN: [&str; 6] =
        ["/live", "/ready", "/api/v1/session", "/api/v1/sign-in", "/sign-in", "/sign-in/callback"];
    let begins = ["/assets/", "/grpc.health.v1.Health/"];
    OPEN.contains(&path) || begins.iter().any(|begin| path.starts_with(begin))
}

/// Returns true if a request of the HTTP address needs a key with the role `admin`.
pub(crate) fn is_of_admins(method: &str, path: &str) -> bool {
    let reads = ["GET", "HEAD"].contains(&method) || path == "/api/v1/sql";
    let resources = ["/api/v1/keys", "/api/v1/erasures", "/api/v1/audit"];
    let is_of_resource = resources.iter().any(|begin| path.starts_with(begin));
    is_of_resource || path.starts_with("/api/v1/") && !reads
}

/// A server that requires keys, with one key of each role.
struct KeyedServer {
    server: Server,
    sender: String,
    reader: String,
    admin: String,
    /// Invalid keys: an empty one, one that never existed, one with a wrong secret, and a revoked
    /// one.
    bad: [String; 4],
}

impl KeyedServer {
    fn start() -> Self {
        let server = Server::start_with(&REQUIRED);
        let made = |role| key(&server, role, role, &[]);
        let (sender, reader, admin) = (made("ingest"), made("read"), made("admin"));
        let revoked = key(&server, "revoked", "admin", &[]);
        let folder = server.data_dir().to_str().unwrap();
        let (code, ..) = Server::command(&["keys", "revoke", "--data-dir", folder, "revoked"]);
        assert_eq!(code, Some(0));
        until(|| ask(&server, "GET", "/api/v1/status", &revoked).status == 401);
        let wrong = format!("{}{}", &admin[..59], if admin.ends_with('0') { '1' } else { '0' });
        let bad = [String::new(), "tk_".to_owned(), wrong, revoked];
        Self { server, sender, reader, admin, bad }
    }
}

#[test]
fn every_route_asks_for_a_key_of_its_role() {
    let KeyedServer { server, sender, reader, admin, bad } = KeyedServer::start();
    let paths: BTreeSet<String> =
        routes(&server, &admin).into_iter().map(|(_, path)| path).collect();
    for path in paths.iter().filter(|path| !is_open(path)) {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let status = |key: &str| ask(&server, method, path, key).status;
            for bad in &bad {
                assert_eq!(status(bad), 401, "{method} {path} with {bad:?}");
            }
            let none = send(method, &server.http, path, &[], Bytes::new());
            assert_eq!(none.status, 401, "{method} {path}");
            assert!(none.headers.contains_key("www-authenticate"), "{method} {path}");
            if method != "HEAD" {
                let problem: Json = serde_json::from_slice(&none.body).unwrap();
                assert_eq!(problem["type"], "/problems/unauthenticated", "{method} {path}");
            }
            assert_eq!(status(&sender), 403, "{method} {path} with a key that sends");
            if path.ends_with("/tail") {
                // The stream has no end, so another test opens it.
                continue;
            }
            let expected = is_of_admins(method, path);
            assert_eq!(status(&reader) == 403, expected, "{method} {path} with a key that reads");
            let administered = status(&admin);
            assert!(![401, 403].contains(&administered), "{method} {path}: {administered}");
        }
    }
}

#[test]
fn every_grpc_service_asks_for_a_key_that_reads() {
    let KeyedServer { server, sender, reader, admin, bad } = KeyedServer::start();
    let code = |path: &str, headers: &[(&str, &str)]| {
        call(&server.http, path, headers, frame(false, &[])).code.unwrap()
    };
    let services = source_routes();
    let services = services.iter().filter(|route| route.is_rpc() && !is_open(&route.path));
    let mut asked = 0;
    for service in services {
        for method in ["GetServices", "GetTrace", "Search", "DoGet", "DoPut", "OfTheFuture"] {
            let path = service.path.replace("{method}", method);
            let with = |key: &str| code(&path, &[("authorization", &format!("Bearer {key}"))]);
            assert_eq!(code(&path, &[]), UNAUTHENTICATED, "{path}");
            for bad in &bad {
                assert_eq!(with(bad), UNAUTHENTICATED, "{path} with {bad:?}");
            }
            assert_eq!(with(&sender), PERMISSION_DENIED, "{path}");
            for key in [&reader, &admin] {
                let code = with(key);
                assert!(![UNAUTHENTICATED, PERMISSION_DENIED].contains(&code), "{path}: {code}");
            }
            asked += 1;
        }
    }
    assert!(asked >= 6 * 6, "{asked}");
}

#[test]
fn every_path_of_receivers_asks_for_a_key_of_its_role() {
    let KeyedServer { server, sender, reader, admin, bad } = KeyedServer::start();
    let zipkin = source_routes().into_iter().filter(|route| route.is_zipkins);
    let zipkin: Vec<String> = zipkin.map(|route| route.filled()).collect();
    assert!(zipkin.len() >= 28, "{zipkin:?}");
    let zipkin = zipkin.iter().map(String::as_str).chain(["/", "/api/v1/spans", "/of/nothing"]);
    let zipkin = zipkin.filter(|path| *path != "/health").map(|path| (&server.zipkin, path));
    let otlp = ["/", "/v1/traces", "/v1/logs", "/v1/metrics", "/v1development/profiles", "/of/no"];
    for (address, path) in zipkin.chain(otlp.map(|path| (&server.otlp_http, path))) {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
            let status = |key: &str| {
                let bearer = format!("Bearer {key}");
                let headers = [("authorization", bearer.as_str())];
                send(method, address, path, &headers, Bytes::new()).status
            };
            let request = format!("{method} {address}{path}");
            assert_eq!(send(method, address, path, &[], Bytes::new()).status, 401, "{request}");
            for bad in &bad {
                assert_eq!(status(bad), 401, "{request} with {bad:?}");
            }
            let asks = address == &server.zipkin && ["GET", "HEAD"].contains(&method);
            let (wrong, right) = if asks { (&sender, &reader) } else { (&reader, &sender) };
            assert_eq!(status(wrong), 403, "{request}");
            for key in [right, &admin] {
                let code = status(key);
                assert!(![401, 403].contains(&code), "{request}: {code}");
            }
        }
    }
    for service in ["trace.v1.TraceService", "logs.v1.LogsService", "metrics.v1.MetricsService"] {
        let path = format!("/opentelemetry.proto.collector.{service}/Export");
        let code = |key: &str| {
            let bearer = format!("Bearer {key}");
            call(&server.otlp_grpc, &path, &[("authorization", &bearer)], frame(false, &[])).code
        };
        for bad in &bad {
            assert_eq!(code(bad), Some(UNAUTHENTICATED), "{path}");
        }
        assert_eq!(code(&reader), Some(PERMISSION_DENIED), "{path}");
        let taken = code(&sender).unwrap();
        assert!(![UNAUTHENTICATED, PERMISSION_DENIED].contains(&taken), "{path}: {taken}");
    }
}

#[test]
fn probes_and_pages_need_no_key_and_hold_no_telemetry() {
    let server = Server::start_with(&REQUIRED);
    for path in ["/live", "/ready"] {
        assert_eq!(get(&server.http, path).status, 200, "{path}");
    }
    let health = "/grpc.health.v1.Health/Check";
    for address in [&server.http, &server.otlp_grpc] {
        assert_eq!(call(address, health, &[], frame(false, &[])).code, Some(0), "{address}");
    }
    assert_eq!(get(&server.zipkin, "/health").status, 200);
    assert_eq!(get(&server.zipkin, "/api/v2/services").status, 401);
}

#[test]
fn every_receiver_takes_a_key_that_sends_and_no_other() {
    let server = Server::start_with(&REQUIRED);
    let (sender, reader) =
        (key(&server, "sender", "ingest", &[]), key(&server, "reader", "read", &[]));
    let bearer = |key: &str| format!("Bearer {key}");
    let basic = format!("Basic {}", STANDARD.encode(format!("any:{sender}")));
    for (name, value, status) in [
        ("authorization", bearer(&sender), 200),
        ("authorization", basic.clone(), 200),
        ("x-api-key", sender.clone(), 200),
        ("authorization", bearer(&reader), 403),
        ("authorization", bearer("tk_no"), 401),
        ("x-other", bearer(&sender), 401),
    ] {
        let answer = export(&server, &[(name, &value)], "shop");
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.headers["content-type"], "application/x-protobuf", "{name}: {value}");
    }
    for (name, value, code) in [
        ("authorization", bearer(&sender), 0),
        ("authorization", basic.clone(), 0),
        ("x-api-key", sender.clone(), 0),
        ("authorization", bearer(&reader), PERMISSION_DENIED),
        ("x-api-key", reader.clone(), PERMISSION_DENIED),
        ("authorization", bearer("tk_no"), UNAUTHENTICATED),
        ("x-api-key", "tk_no".to_owned(), UNAUTHENTICATED),
    ] {
        let body = frame(false, &spans_of("shop"));
        let answer = call(&server.otlp_grpc, TRACE_EXPORT, &[(name, &value)], body);
        assert_eq!((answer.http, answer.code), (200, Some(code)), "{name}: {value}");
    }
    let body = frame(false, &spans_of("shop"));
    let none = call(&server.otlp_grpc, TRACE_EXPORT, &[], body);
    assert_eq!(none.code, Some(UNAUTHENTICATED));
    assert!(none.message.contains("key"), "{}", none.message);
    let list = r#"[{"traceId":"8","id":"8","name":"get","localEndpoint":{"serviceName":"z"}}]"#;
    for (name, value, status) in [
        ("authorization", basic, 202),
        ("x-api-key", sender.clone(), 202),
        ("authorization", bearer(&reader), 403),
        ("x-api-key", reader.clone(), 403),
        ("authorization", bearer("tk_no"), 401),
        ("x-api-key", "tk_no".to_owned(), 401),
    ] {
        let headers = [("content-type", "application/json"), (name, value.as_str())];
        let answer = send("POST", &server.zipkin, "/api/v2/spans", &headers, list);
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    let reads = [("authorization", bearer(&reader))];
    let reads = [(reads[0].0, reads[0].1.as_str())];
    let services = send("GET", &server.zipkin, "/api/v2/services", &reads, Bytes::new());
    assert_eq!(services.status, 200);
    let sends = [("x-api-key", sender.as_str())];
    let services = send("GET", &server.zipkin, "/api/v2/services", &sends, Bytes::new());
    assert_eq!(services.status, 403, "a stolen sender's key reads nothing");
    for (key, status, code) in [(&reader, 200, 0), (&sender, 403, PERMISSION_DENIED)] {
        let headers = [("x-api-key", key.as_str())];
        let services = send("GET", &server.http, "/api/v1/services", &headers, Bytes::new());
        assert_eq!(services.status, status);
        let services = call(&server.http, JAEGER_SERVICES, &headers, frame(false, &[]));
        assert_eq!(services.code, Some(code));
    }
    let status: Json =
        serde_json::from_slice(&ask(&server, "GET", "/api/v1/status", &reader).body).unwrap();
    assert_eq!(status["spans"]["received"], 8, "{status}");
}

#[test]
fn a_key_of_one_service_sends_no_other_ones_telemetry() {
    let server = Server::start_with(&REQUIRED);
    let of_shop = key(&server, "shop", "ingest", &["--service", "shop"]);
    let bearer = format!("Bearer {of_shop}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(export(&server, &headers, "shop").status, 200);
    assert_eq!(export(&server, &headers, "payment").status, 403);
    let kind = [("content-type", "application/x-protobuf")];
    // The service is checked in all resources, and in all attributes of the same name.
    let mut two = traces("shop", vec![span(7, 2, 0, "a")]);
    two.resource_spans.extend(traces("payment", vec![span(7, 3, 0, "b")]).resource_spans);
    let mut doubled = traces("shop", vec![span(7, 4, 0, "a")]);
    let first = doubled.resource_spans[0].resource.as_mut().unwrap();
    first.attributes.extend(resource("payment").attributes);
    let mut nameless = traces("shop", vec![span(7, 5, 0, "a")]);
    nameless.resource_spans[0].resource = None;
    for request in [two, doubled, nameless] {
        let both = [&kind[..], &headers[..]].concat();
        let body = request.encode_to_vec();
        let answer = send("POST", &server.otlp_http, "/v1/traces", &both, body);
        assert_eq!(answer.status, 403, "{request:?}");
    }
    let json = json!({"resourceSpans": [{"resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "payment"}}]},
        "scopeSpans": [{"spans": [{"traceId": "0".repeat(31) + "7", "spanId": "0".repeat(15) + "9",
            "name": "a", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}]}]}]});
    let both = [("content-type", "application/json"), headers[0]];
    let answer = send("POST", &server.otlp_http, "/v1/traces", &both, json.to_string());
    assert_eq!(answer.status, 403);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("payment") && text.contains("shop"), "{text}");
}

/// Returns the delay in a refusal of gRPC.
fn retry_delay(refused: &GrpcAnswer) -> Duration {
    assert_eq!(refused.status().map(|status| status.code), refused.code);
    refused.retry_delay().expect("RetryInfo is there")
}

#[test]
fn key_over_its_rate_gets_a_retry_delay() {
    let server = Server::start_with(&REQUIRED);
    let slow = key(&server, "slow", "ingest", &["--bytes-per-second", "10"]);
    let bearer = format!("Bearer {slow}");
    let headers = [("authorization", bearer.as_str())];
    // The burst is ten seconds of the rate, and its last request may exceed it.
    let statuses: Vec<u16> = (0..4).map(|_| export(&server, &headers, "shop").status).collect();
    assert_eq!((statuses[0], *statuses.last().unwrap()), (200, 429), "{statuses:?}");
    let refused = export(&server, &headers, "shop");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..60).contains(&seconds), "{seconds}");
    let body = frame(false, &spans_of("shop"));
    let refused = call(&server.otlp_grpc, TRACE_EXPORT, &headers, body.clone());
    assert_eq!(refused.code, Some(8));
    let wait = retry_delay(&refused);
    assert!((1..60).contains(&wait.as_secs()), "{wait:?}");
    thread::sleep(wait);
    let admitted = call(&server.otlp_grpc, TRACE_EXPORT, &headers, body);
    assert_eq!(admitted.code, Some(0), "it came as late as it was told to: {}", admitted.message);
    let unhurried = key(&server, "other", "ingest", &[]);
    let other = format!("Bearer {unhurried}");
    assert_eq!(export(&server, &[("authorization", &other)], "shop").status, 200);
}

#[test]
fn a_key_over_its_requests_is_refused_everywhere_in_the_form_of_the_protocol() {
    const FLIGHT: &str = "/arrow.flight.protocol.FlightService/GetFlightInfo";
    let server = Server::start_with(&REQUIRED);
    let reader = key(&server, "reader", "read", &["--requests-per-second", "1"]);
    let bearer = format!("Bearer {reader}");
    let headers = [("authorization", bearer.as_str())];
    let body = json!({"key": reader}).to_string();
    let sign_in = || {
        let kind = [("content-type", "application/json")];
        send("POST", &server.http, "/api/v1/session", &kind, body.clone())
    };
    let session = sign_in();
    assert_eq!(session.status, 200);
    let cookie = session.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    // Each query costs more than one second of the rate restores, so a refusal follows.
    for (address, path, headers) in [
        (&server.http, "/api/v1/services", &headers),
        (&server.http, "/jaeger/api/services", &headers),
        (&server.http, "/prometheus/api/v1/labels", &headers),
        (&server.http, "/metrics", &headers),
        (&server.http, "/api/v1/services", &[("cookie", cookie)]),
        (&server.zipkin, "/api/v2/services", &headers),
    ] {
        let ask = || send("GET", address, path, headers, Bytes::new());
        assert!([200, 429].contains(&ask().status), "{path}");
        let refused = |answer: Answer| (answer.status == 429).then_some(answer);
        let answer = found_until("it is refused", || refused(ask()));
        assert_eq!(answer.headers["retry-after"], "1", "{path}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains("requests per second"), "{path}: {text}");
    }
    until(|| sign_in().status == 429);
    for path in [FLIGHT, JAEGER_SERVICES] {
        let ask = || call(&server.http, path, &headers, frame(false, &[]));
        let refused = |answer: GrpcAnswer| (answer.code == Some(8)).then_some(answer);
        let answer = found_until("it is refused", || refused(ask()));
        let wait = retry_delay(&answer);
        assert_eq!(wait, Duration::from_secs(1), "{path}");
        thread::sleep(wait);
        assert_ne!(ask().code, Some(8), "{path}: it came as late as it was told to");
    }
    let unhurried = key(&server, "other", "read", &[]);
    assert_eq!(ask(&server, "GET", "/api/v1/services", &unhurried).status, 200);
    until(|| ask(&server, "GET", "/api/v1/services", &reader).status == 200);
}

#[test]
fn the_bytes_of_a_day_are_a_quota_and_shown_with_the_key() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "admin", "admin", &[]);
    let day = key(&server, "day", "ingest", &["--bytes-per-day", "100"]);
    let bearer = format!("Bearer {day}");
    let headers = [("authorization", bearer.as_str())];
    let statuses: Vec<u16> = (0..4).map(|_| export(&server, &headers, "shop").status).collect();
    assert_eq!((statuses[0], statuses[3]), (200, 429), "{statuses:?}");
    let refused = export(&server, &headers, "shop");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    let list = ask(&server, "GET", "/api/v1/keys", &admin);
    let list: Json = serde_json::from_slice(&list.body).unwrap();
    let shown = list["keys"].as_array().unwrap().iter().find(|key| key["name"] == "day").unwrap();
    assert_eq!(shown["bytesPerDay"], 100, "{shown}");
    assert!(shown["refused"].as_u64().is_some_and(|refused| refused >= 1), "{shown}");
    let bearer = format!("Bearer {admin}");
    let make = |body: Json| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        send("POST", &server.http, "/api/v1/keys", &headers, body.to_string())
    };
    let limited = json!({"name": "a", "role": "read", "requestsPerSecond": 5});
    let made: Json = serde_json::from_slice(&make(limited).body).unwrap();
    assert_eq!(made["created"]["requestsPerSecond"], 5, "{made}");
    for body in [
        json!({"name": "x", "role": "read", "bytesPerDay": 5}),
        json!({"name": "x", "role": "ingest", "bytesPerDay": 0}),
        json!({"name": "x", "role": "admin", "requestsPerSecond": 0}),
    ] {
        assert_eq!(make(body.clone()).status, 400, "{body}");
    }
}

#[test]
fn a_key_ends_when_its_command_says_and_its_secret_is_in_no_file() {
    let server = Server::start_with(&REQUIRED);
    let folder = server.data_dir().to_str().unwrap();
    let made = [
        key(&server, "quarter", "admin", &["--expires", "90d"]),
        key(&server, "ever", "read", &[]),
    ];
    let (code, listed, error) = Server::command(&["keys", "list", "--data-dir", folder]);
    assert_eq!(code, Some(0), "{error}");
    let line = |name: &str| listed.lines().find(|line| line.ends_with(name)).unwrap();
    assert!(line("quarter").contains("in 90 d"), "{listed}");
    assert!(line("ever").contains("never"), "{listed}");
    let list = ask(&server, "GET", "/api/v1/keys", &made[0]);
    let list: Json = serde_json::from_slice(&list.body).unwrap();
    let shown = list["keys"].as_array().unwrap().iter().find(|key| key["name"] == "quarter");
    let time = |field: &str| shown.unwrap()[field].as_str().unwrap().parse::<u64>().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let lasts = Duration::from_nanos(time("expiresUnixNano") - time("createdUnixNano"));
    // The command reads the clock once for each of the two times.
    assert!(lasts > 89 * day && lasts <= 90 * day, "{lasts:?}");
    let file = std::fs::read_to_string(server.data_dir().join("keys.json")).unwrap();
    for key in made {
        let (id, secret) = key.trim_start_matches("tk_").split_once('_').unwrap();
        assert!(secret.len() >= 48 && file.contains(id) && !file.contains(secret), "{file}");
    }
}

#[test]
fn keys_are_made_and_revoked_over_the_api() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "admin", "admin", &[]);
    let bearer = format!("Bearer {admin}");
    let make = |body: Json| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        send("POST", &server.http, "/api/v1/keys", &headers, body.to_string())
    };
    let made = make(json!({"name": "ci", "role": "read", "expiresSeconds": 3600}));
    assert_eq!(made.status, 201);
    assert_eq!(made.headers["cache-control"], "no-store");
    let made: Json = serde_json::from_slice(&made.body).unwrap();
    let (new, id) = (made["key"].as_str().unwrap(), made["created"]["id"].as_str().unwrap());
    assert_eq!(ask(&server, "GET", "/api/v1/status", new).status, 200, "good at once");
    for (body, status) in [
        (json!({"name": "ci", "role": "read"}), 409),
        (json!({"name": "", "role": "read"}), 400),
        (json!({"name": "x", "role": "root"}), 400),
        (json!({"name": "x", "role": "read", "service": "shop"}), 400),
        (json!({"name": "x", "role": "read", "expiresSeconds": 0}), 400),
        (json!({"name": "x"}), 400),
        (json!([]), 400),
    ] {
        assert_eq!(make(body.clone()).status, status, "{body}");
    }
    let list = ask(&server, "GET", "/api/v1/keys", &admin);
    let list: Json = serde_json::from_slice(&list.body).unwrap();
    let names: Vec<_> = list["keys"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["admin", "ci"]);
    assert_eq!(list["keys"][1]["requests"], 1, "{list}");
    assert!(!list.to_string().contains(&new[12..]));
    let gone = ask(&server, "DELETE", &format!("/api/v1/keys/{id}"), &admin);
    assert_eq!(gone.status, 204);
    assert_eq!(ask(&server, "GET", "/api/v1/status", new).status, 401, "refused at once");
    assert_eq!(ask(&server, "DELETE", &format!("/api/v1/keys/{id}"), &admin).status, 404);
}

#[test]
fn a_session_stands_for_a_key_until_it_is_revoked() {
    let server = Server::start_with(&REQUIRED);
    let reader = key(&server, "me", "read", &[]);
    let sign_in = |key: &str, origin: &str| {
        let headers = [("content-type", "application/json"), ("origin", origin)];
        let body = json!({"key": key}).to_string();
        send("POST", &server.http, "/api/v1/session", &headers, body)
    };
    let own = format!("http://{}", server.http);
    assert_eq!(sign_in("tk_no", &own).status, 401);
    assert_eq!(sign_in(&reader, "http://evil.example").status, 403);
    let begun = sign_in(&reader, &own);
    assert_eq!(begun.status, 200);
    let cookie = begun.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&reader[12..]), "the cookie is not the key: {cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with_cookie = |method: &str, address: &str, path: &str| {
        send(method, address, path, &[("cookie", cookie.as_str())], Bytes::new()).status
    };
    assert_eq!(with_cookie("GET", &server.http, "/api/v1/services"), 200);
    assert_eq!(with_cookie("GET", &server.zipkin, "/api/v2/services"), 401, "a port of others");
    let secure = sign_in(&reader, &format!("https://{}", server.http));
    let secure = secure.headers["set-cookie"].to_str().unwrap();
    assert!(secure.starts_with("__Host-") && secure.contains("Secure"), "{secure}");
    assert_eq!(with_cookie("DELETE", &server.http, "/api/v1/session"), 204);
    assert_eq!(with_cookie("GET", &server.http, "/api/v1/services"), 401);
}

#[test]
fn an_admin_ends_all_sessions_of_a_key() {
    let server = Server::start_with(&REQUIRED);
    let (reader, admin) = (key(&server, "me", "read", &[]), key(&server, "ops", "admin", &[]));
    let begin = |key: &str| {
        let headers = [("content-type", "application/json")];
        let body = json!({"key": key}).to_string();
        let begun = send("POST", &server.http, "/api/v1/session", &headers, body);
        assert_eq!(begun.status, 200);
        let cookie = begun.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    };
    let status = |cookie: &str| {
        let headers = [("cookie", cookie)];
        send("GET", &server.http, "/api/v1/services", &headers, Bytes::new()).status
    };
    let (first, second, others) = (begin(&reader), begin(&reader), begin(&admin));
    let sessions = format!("/api/v1/keys/{}/sessions", reader.split('_').nth(1).unwrap());
    assert_eq!(ask(&server, "DELETE", &sessions, &reader).status, 403);
    assert_eq!((status(&first), status(&second)), (200, 200));
    for expected in [2, 0] {
        let ended = ask(&server, "DELETE", &sessions, &admin);
        assert_eq!(ended.status, 200);
        let ended: Json = serde_json::from_slice(&ended.body).unwrap();
        assert_eq!(ended, json!({"sessions": expected, "tokens": 0}));
    }
    assert_eq!((status(&first), status(&second), status(&others)), (401, 401, 200));
    assert_eq!(ask(&server, "GET", "/api/v1/services", &reader).status, 200, "the key stays");
    for wrong in ["/api/v1/keys/0123ABCD/sessions", "/api/v1/keys/me/sessions"] {
        assert_eq!(ask(&server, "DELETE", wrong, &admin).status, 400, "{wrong}");
    }
    let events = ask(&server, "GET", "/api/v1/audit?action=session.end", &admin);
    let events: Json = serde_json::from_slice(&events.body).unwrap();
    assert_eq!(events["events"][0]["actor"]["name"], "ops", "{events}");
    assert_eq!(events["events"].as_array().unwrap().len(), 4, "{events}");
}

#[test]
fn an_open_stream_ends_when_its_key_is_revoked() {
    use std::io::Read;

    let server = Server::start_with(&REQUIRED);
    let reader = key(&server, "tail", "read", &[]);
    let sender = key(&server, "sender", "ingest", &[]);
    let mut stream = TcpStream::connect(&server.http).unwrap();
    let request = format!(
        "GET /api/v1/logs/tail HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {reader}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(TAIL_QUIET)).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let folder = server.data_dir().to_str().unwrap();
    assert_eq!(Server::command(&["keys", "revoke", "--data-dir", folder, "tail"]).0, Some(0));
    until(|| ask(&server, "GET", "/api/v1/status", &reader).status == 401);
    let request = logs("shop", vec![log(9, 1, "SECRET")]);
    let bearer = format!("Bearer {sender}");
    let headers = [("content-type", "application/x-protobuf"), ("authorization", bearer.as_str())];
    let sent = send("POST", &server.otlp_http, "/v1/logs", &headers, request.encode_to_vec());
    assert_eq!(sent.status, 200);
    let mut rest = Vec::new();
    // A connection that breaks counts as ended, and one that is still open says something.
    let ended = stream.read_to_end(&mut rest);
    assert!(!ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it is still open");
    assert!(!String::from_utf8_lossy(&rest).contains("SECRET"));
}

#[test]
fn commands_bring_their_key_by_a_variable_or_a_file_and_never_show_it() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "admin", "admin", &[]);
    let run = |variable: Option<&str>, args: &[&str]| {
        let mut command = Command::new(Server::binary());
        command.args(args).envs(variable.map(|key| ("TIDINGS_KEY", key)));
        let output = output_of(&mut command, "");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let addresses = [
        ["--otlp-grpc", server.otlp_grpc.as_str()],
        ["--otlp-http", server.otlp_http.as_str()],
        ["--zipkin", server.zipkin.as_str()],
    ];
    let demo = ["demo", "--rate", "1", "--duration", "0", "--backfill", "3"];
    let demo = [&demo[..], &addresses.concat()].concat();
    let (code, text) = run(None, &demo);
    assert!(code == Some(1) && text.contains("key is needed"), "{text}");
    let (code, text) = run(Some(&admin), &demo);
    assert!(code == Some(0) && !text.contains(&admin), "{text}");
    let file = server.data_dir().join("key.txt");
    std::fs::write(&file, format!("{admin}\n")).unwrap();
    let query = "SELECT count(*) AS n FROM spans";
    let sql = ["sql", query, "--http", &server.http, "--key-file", file.to_str().unwrap()];
    let (code, text) = run(None, &sql);
    assert!(code == Some(0) && text.starts_with('n'), "{text}");
    let (code, text) = run(None, &["tail", "--http", &server.http]);
    assert!(code == Some(1) && text.contains("key"), "{text}");
    let (_, text) = run(Some(&admin), &["config"]);
    assert!(!text.contains(&admin[12..]), "{text}");
}

#[test]
fn the_servers_own_demo_needs_no_key_of_anybodys() {
    let server = Server::start_with(&REQUIRED);
    let admin = key(&server, "admin", "admin", &[]);
    let answer = ask(&server, "POST", "/api/v1/demo", &admin);
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    until(|| {
        let status = ask(&server, "GET", "/api/v1/status", &admin);
        let status: Json = serde_json::from_slice(&status.body).unwrap();
        status["spans"]["received"].as_u64().unwrap() > 50
    });
}

#[test]
fn other_machines_are_let_in_with_keys_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let all = ["--http", "0.0.0.0:0", "--data-dir", data];
    let (code, _, error) = Server::command(&[&["serve"], &all[..]].concat());
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("require-keys") && error.contains("insecure"), "{error}");
    std::fs::write(folder.path().join("keys.json"), "{").unwrap();
    let damaged = [&["serve"], &REQUIRED[..], &["--http", "127.0.0.1:0", "--data-dir", data]];
    let (code, _, error) = Server::command(&damaged.concat());
    assert_eq!(code, Some(78), "a damaged file lets nobody in: {error}");
    assert!(error.contains("keys.json"), "{error}");
}
