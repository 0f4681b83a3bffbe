//! Two tenants with three roles, on every route and by every protocol. A key of one tenant neither
//! sees nor changes anything of the other.

mod commands;
mod erasing;
mod existence;
mod full;
mod noisy;
mod requests;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::{
    otlp::{KeyValue, encode_json},
    zipkin,
};

use crate::{
    harness::{
        PATIENCE, Server,
        flight::{flight_info, flight_rows, ticket_of},
        http::{Answer, GrpcAnswer, call, frame, send},
        route_sources::{SourceRoute, source_routes},
        spans::{LOGS_EXPORT, TRACE_EXPORT, log, logs, span, traces},
    },
    keys::{REQUIRED, is_of_admins, is_open, key, routes, until},
};
use requests::{
    ELSEWHERE, Field, HTTP, PROCESS, RPC, RPC_SOURCES, Story, WITHOUT_TELEMETRY, ZIPKIN,
};

const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const ROLES: [&str; 3] = ["ingest", "read", "admin"];

/// A tenant with a key of each role and the story that it has sent.
struct Tenant {
    story: Story,
    /// Keys in the order of [`ROLES`].
    keys: [String; 3],
}

impl Tenant {
    fn sender(&self) -> &str {
        &self.keys[0]
    }

    fn reader(&self) -> &str {
        &self.keys[1]
    }

    fn admin(&self) -> &str {
        &self.keys[2]
    }
}

/// Two tenants that have sent by every protocol, and a key that administers all tenants.
struct TwoTenants {
    server: Server,
    alfa: Tenant,
    beta: Tenant,
    operator: String,
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// Sends a request with a key, optionally for another tenant.
fn ask_as(
    method: &str,
    address: &str,
    path: &str,
    key: &str,
    tenant: Option<&str>,
    body: Option<&Json>,
) -> Answer {
    let bearer = bearer(key);
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(tenant.map(|name| ("x-scope-orgid", name)));
    headers.extend(body.map(|_| ("content-type", "application/json")));
    let body = body.map(ToString::to_string).unwrap_or_default();
    send(method, address, path, &headers, body)
}

fn json(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap_or(Json::Null)
}

fn text(answer: &Answer) -> String {
    format!("{} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body))
}

/// Makes a key of a tenant. The name of the key is its role.
fn made_key(server: &Server, operator: &str, role: &str, tenant: &str) -> String {
    let body = json!({"name": role, "role": role, "tenant": tenant});
    let made = ask_as("POST", &server.http, "/api/v1/keys", operator, None, Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
    json(&made)["key"].as_str().unwrap().to_owned()
}

impl TwoTenants {
    fn start(flags: &[&str]) -> Self {
        let server = Server::start_with(&[&REQUIRED, flags].concat());
        let operator = key(&server, "operator", "admin", &[]);
        let tenant = |word: &'static str, digit| {
            let keys = ROLES.map(|role| made_key(&server, &operator, role, word));
            Tenant { story: Story::new(word, digit), keys }
        };
        let (alfa, beta) = (tenant("alfa", 'a'), tenant("beta", 'b'));
        let mut both = Self { server, alfa, beta, operator };
        for of_alfa in [true, false] {
            both.send_story(of_alfa);
            both.learn_story(of_alfa);
        }
        both
    }

    fn tenant(&self, of_alfa: bool) -> &Tenant {
        if of_alfa { &self.alfa } else { &self.beta }
    }

    /// Sends the story by each protocol: the same trace with the tenant's own words, log records,
    /// and a later trace of one span.
    fn send_story(&self, of_alfa: bool) {
        let Tenant { story, keys: [sender, ..] } = self.tenant(of_alfa);
        let (word, bearer) = (story.word, bearer(sender));
        let trace = u128::from_str_radix(&story.trace, 16).unwrap();
        let id = u64::from_str_radix(&story.span, 16).unwrap();
        let attributes = || {
            vec![
                KeyValue::new("motto", word),
                KeyValue::new(format!("key-{word}"), word),
                KeyValue::new("order.id", format!("order-{word}")),
            ]
        };
        let mut root = span(trace, id, 0, &format!("GET /{word}"));
        root.attributes = attributes();
        let mut client = span(trace, 2, id, &format!("call {word}"));
        (client.kind, client.attributes) = (3, attributes());
        let later = span((1_u128 << 64) | (trace & 0xf), 5, 0, &format!("later {word}"));
        let request = traces(word, vec![root, client, later]).encode_to_vec();
        let headers = [("authorization", bearer.as_str())];
        let exported = call(&self.server.otlp_grpc, TRACE_EXPORT, &headers, frame(false, &request));
        assert_eq!(exported.code, Some(0), "{}", exported.message);
        let other = traces(&format!("{word}-http"), vec![span(trace, 3, 2, word)]).encode_to_vec();
        let records = || vec![log(trace, id, &format!("said {word}")), log(trace, id, word)];
        let records = logs(word, records()).encode_to_vec();
        for (path, body) in [("/v1/traces", other), ("/v1/logs", records.clone())] {
            let headers = [&headers[..], &[("content-type", "application/x-protobuf")]].concat();
            assert_eq!(send("POST", &self.server.otlp_http, path, &headers, body).status, 200);
        }
        let exported = call(&self.server.otlp_grpc, LOGS_EXPORT, &headers, frame(false, &records));
        assert_eq!(exported.code, Some(0), "{}", exported.message);
        let list = json!([{"traceId": story.trace, "id": "4", "parentId": "3", "name": word,
            "tags": {"motto": word}, "kind": "SERVER", "timestamp": 1_700_000_000_000_000_u64,
            "duration": 9, "localEndpoint": {"serviceName": format!("{word}-zipkin")}}]);
        let body = Some(&list);
        let sent = ask_as("POST", &self.server.zipkin, "/api/v2/spans", sender, None, body);
        assert_eq!(sent.status, 202);
    }

    /// Reads the ids and cursors that the server assigned.
    fn learn_story(&mut self, of_alfa: bool) {
        let reader = self.tenant(of_alfa).reader().to_owned();
        let ask = |path: &str| json(&ask_as("GET", &self.server.http, path, &reader, None, None));
        let page = ask("/api/v1/logs?limit=1");
        let log = page["logs"][0]["id"].as_str().unwrap_or_else(|| panic!("{page}")).to_owned();
        let cursor = |page: &Json| {
            let cursor = page["nextCursor"].as_str().unwrap_or_else(|| panic!("{page}"));
            assert!(!cursor.is_empty(), "{page}");
            cursor.to_owned()
        };
        let of_logs = cursor(&page);
        let of_traces = cursor(&ask("/api/v1/traces?limit=1"));
        let tenant = if of_alfa { &mut self.alfa } else { &mut self.beta };
        (tenant.story.log, tenant.story.cursors) = (log, [of_traces, of_logs]);
    }

    fn ask(&self, path: &str, key: &str) -> Answer {
        ask_as("GET", &self.server.http, path, key, None, None)
    }

    fn rpc(&self, (method, fields): (&str, &[Field]), story: &Story, key: &str) -> GrpcAnswer {
        let message = story.message(fields);
        let headers = [("authorization", &*bearer(key))];
        call(&self.server.http, method, &headers, frame(false, &message))
    }

    /// Checks the gRPC part of the table: the calls that keys of a tenant may make.
    fn check_calls(&self, own: &Tenant, other: &Tenant) {
        for (method, fields) in RPC {
            let message = frame(false, &own.story.message(fields));
            let ask = |headers: &[(&str, &str)]| {
                call(&self.server.http, method, headers, message.clone())
            };
            assert_eq!(ask(&[]).code, Some(UNAUTHENTICATED), "{method} without a key");
            for (role, key) in ROLES.into_iter().zip(&own.keys) {
                let request = format!("{method} {fields:?} as {role} of {}", own.story.word);
                let key = ("authorization", &*bearer(key));
                let answer = ask(&[key]);
                let allowed = answer.code != Some(PERMISSION_DENIED);
                assert_eq!(allowed, role != "ingest", "{request}: {}", answer.message);
                assert_ne!(answer.code, Some(UNAUTHENTICATED), "{request}: {}", answer.message);
                let body = String::from_utf8_lossy(&answer.body).to_lowercase();
                assert!(!body.contains(other.story.word), "{request}: {body}");
                let refused = ask(&[key, ("x-scope-orgid", other.story.word)]);
                assert_eq!(refused.code, Some(PERMISSION_DENIED), "{request}");
                let nobody = ask(&[key, ("x-scope-orgid", "nobody")]);
                assert_eq!(nobody.message, refused.message, "{request}");
                assert_eq!(nobody.code, refused.code, "{request}");
            }
        }
    }
}

/// Checks that an answer contains nothing of this tenant.
fn assert_nothing_of(tenant: &Tenant, answer: &Answer, request: &str) {
    let said = text(answer).to_lowercase();
    assert!(!said.contains(tenant.story.word), "{request}: {said}");
}

/// The table of permissions: every role of each tenant, on every route and by every protocol.
#[test]
fn every_route_and_protocol_allows_what_the_role_says_and_only_in_its_tenant() {
    let both = TwoTenants::start(&["--sql", "on"]);
    let server = &both.server;
    for (method, path) in routes(server, &both.operator) {
        if is_open(&path) || path.ends_with("/tail") || path.ends_with("/demo") {
            continue;
        }
        let administers = is_of_admins(&method, &path);
        for of_alfa in [true, false] {
            let (own, other) = (both.tenant(of_alfa), both.tenant(!of_alfa));
            for (role, key) in ROLES.into_iter().zip(&own.keys) {
                let allowed = role == "admin" || role == "read" && !administers;
                let request = format!("{method} {path} as {role} of {}", own.story.word);
                let answer = ask_as(&method, &server.http, &path, key, None, None);
                assert_eq!(answer.status != 403, allowed, "{request}: {}", text(&answer));
                assert_nothing_of(other, &answer, &request);
                // A key may not name another tenant, even for requests that it may send in its own.
                let named = |name| ask_as(&method, &server.http, &path, key, Some(name), None);
                let refused = named(other.story.word);
                assert_eq!(refused.status, 403, "{request}: {}", text(&refused));
                for name in ["nobody", "default", "", "No Name", "alfa|beta", "../alfa"] {
                    let nobody = named(name);
                    assert_eq!(nobody.body, refused.body, "{request} for {name:?}");
                    assert_eq!(nobody.status, 403, "{request} for {name:?}");
                }
            }
        }
    }
    for of_alfa in [true, false] {
        let (own, other) = (both.tenant(of_alfa), both.tenant(!of_alfa));
        both.check_calls(own, other);
        for (role, key) in ROLES.into_iter().zip(&own.keys) {
            let sends = role != "read";
            check_receivers(server, key, own.story.word, sends, None);
            check_receivers(server, key, own.story.word, false, Some(other.story.word));
            check_receivers(server, key, own.story.word, false, Some("nobody"));
            let reads = ask_as("GET", &server.zipkin, "/api/v2/services", key, None, None);
            assert_eq!(reads.status == 200, role != "ingest", "{role}");
        }
    }
}

/// Sends by every protocol with a key, optionally for another tenant, and checks that this is
/// accepted or refused.
fn check_receivers(server: &Server, key: &str, word: &str, taken: bool, tenant: Option<&str>) {
    let bearer = bearer(key);
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(tenant.map(|name| ("x-scope-orgid", name)));
    let sent_traces = traces(word, vec![span(9, 9, 0, word)]);
    let spans = sent_traces.encode_to_vec();
    let records = logs(word, vec![log(9, 9, word)]);
    let code = if taken { 0 } else { PERMISSION_DENIED };
    for (method, body) in [(TRACE_EXPORT, &spans), (LOGS_EXPORT, &records.encode_to_vec())] {
        let exported = call(&server.otlp_grpc, method, &headers, frame(false, body));
        let request = format!("{method} of {word} for {tenant:?}");
        assert_eq!(exported.code, Some(code), "{request}: {}", exported.message);
    }
    let (otlp, zipkins) = (&server.otlp_http, &server.zipkin);
    let list = json!([{"traceId": "9", "id": "8", "name": word}]).to_string();
    for (address, path, kind, body) in [
        (otlp, "/v1/traces", PROTOBUF, spans),
        (otlp, "/v1/traces", JSON, encode_json(&sent_traces)),
        (otlp, "/v1/logs", PROTOBUF, records.encode_to_vec()),
        (otlp, "/v1/logs", JSON, encode_json(&records)),
        (zipkins, "/api/v2/spans", JSON, list.into_bytes()),
        (zipkins, "/api/v2/spans", PROTOBUF, zipkin_list(word)),
    ] {
        let headers = [&headers[..], &[("content-type", kind)]].concat();
        let sent = send("POST", address, path, &headers, body);
        let status = if address == zipkins { 202 } else { 200 };
        let request = format!("{path} as {kind} of {word} for {tenant:?}");
        assert_eq!(sent.status, if taken { status } else { 403 }, "{request}: {}", text(&sent));
    }
    // Metrics are not stored. Only keys that may send get the answer that says so.
    let of_protobuf = [&headers[..], &[("content-type", PROTOBUF)]].concat();
    let sent = send("POST", otlp, "/v1/metrics", &of_protobuf, "");
    assert_eq!(sent.status == 403, !taken, "{word} for {tenant:?}: {}", text(&sent));
}

/// Returns a `zipkin.proto3.ListOfSpans` of one span.
fn zipkin_list(word: &str) -> Vec<u8> {
    let span = zipkin::Span {
        trace_id: 9_u128.to_be_bytes().to_vec(),
        id: 7_u64.to_be_bytes().to_vec(),
        name: word.to_owned(),
        ..zipkin::Span::default()
    };
    let mut list = Vec::new();
    prost::encoding::message::encode(1, &span, &mut list);
    list
}

/// Fails for a route that is in no table here.
#[test]
fn the_table_has_every_route_that_reads() {
    let server = Server::start();
    let (_, document) = server.get("/api/v1/openapi.json");
    let nothing = Story::new("nada", 'c');
    let told: Vec<String> = HTTP.iter().chain(PROCESS).map(|path| nothing.tell(path)).collect();
    for (path, item) in document["paths"].as_object().unwrap() {
        let route = SourceRoute { path: path.clone(), is_zipkins: false };
        let is_there = told.iter().any(|told| route.takes(told));
        let reads = item.get("get").is_some() && !ELSEWHERE.contains(&path.as_str());
        assert!(is_there || !reads, "{path} is in no table of tests/tenants/requests.rs");
    }
    let of_zipkin: Vec<String> = ZIPKIN.iter().map(|path| nothing.tell(path)).collect();
    // The routes of Zipkin's API also exist under `/zipkin`. The comparison removes this prefix.
    let nested = |path: &str| path.strip_prefix("/zipkin").unwrap_or(path).to_owned();
    let calls: Vec<&str> = RPC.iter().map(|(method, _)| *method).collect();
    for route in source_routes() {
        let route = SourceRoute { path: nested(&route.path), ..route };
        // The API description lists the other routes of the native API.
        let is_named =
            route.path.starts_with("/api/v1") || WITHOUT_TELEMETRY.contains(&&*route.path);
        let is_there = match (route.is_zipkins, route.is_rpc()) {
            (true, _) => of_zipkin.iter().any(|told| route.takes(told)),
            (_, true) => calls.iter().any(|told| route.takes(told)),
            _ => told.iter().any(|told| route.takes(told)),
        };
        let path = route.path;
        assert!(is_there || is_named, "{path} is in no table of tests/tenants/requests.rs");
    }
}

/// Returns the path of the gRPC method in each row of the table.
pub(crate) fn rpc_methods() -> impl Iterator<Item = &'static str> {
    RPC.iter().map(|(method, _)| *method)
}

/// Fails for a gRPC method that is in no row.
#[test]
fn the_table_has_every_method_that_the_source_chooses_between() {
    for (file, begin, services) in RPC_SOURCES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = fs::read_to_string(path).unwrap();
        let (_, choice) = source.split_once(begin).unwrap();
        let (choice, _) = choice.split_once("\n}\n").unwrap();
        let patterns = choice.lines().filter_map(|line| {
            let (pattern, _) = line.trim().trim_start_matches('(').split_once(" => ")?;
            pattern.strip_prefix('"')?.split_once('"')
        });
        let mut methods = 0;
        for (method, apis) in patterns {
            let is_of = |api: &str| apis.contains(api) || apis.contains('_');
            for (_, service) in services.iter().filter(|(api, _)| is_of(api)) {
                let is_row = |path: &str| {
                    path.starts_with(service) && path.rsplit('/').next() == Some(method)
                };
                let is_there = RPC.iter().any(|(path, _)| is_row(path));
                assert!(is_there, "{service} {method} is in no row of tests/tenants/requests.rs");
                methods += 1;
            }
        }
        assert!(methods >= 7, "{file}: {methods} methods are read");
    }
}

#[test]
fn another_tenants_ids_are_answered_as_ids_of_nothing() {
    let both = TwoTenants::start(&["--sql", "on"]);
    // The ids are as long as the other tenant's and belong to nothing. A cursor is a position and
    // always valid, so both requests use the same ones.
    let mut nothing = Story::new("nada", 'c');
    for tenant in [&both.alfa, &both.beta] {
        nothing.cursors.clone_from(&tenant.story.cursors);
        let (own, other) = match tenant.story.word {
            "alfa" => (&both.beta, &both.alfa),
            _ => (&both.alfa, &both.beta),
        };
        let mut meaningful = 0;
        let addresses = [(&both.server.http, HTTP.as_slice()), (&both.server.zipkin, ZIPKIN)];
        for (address, paths) in addresses {
            for path in paths {
                let ask = |story: &Story, key: &str| {
                    ask_as("GET", address, &story.tell(path), key, None, None)
                };
                let theirs = ask(&other.story, other.reader());
                assert!(theirs.status < 500, "{path}: {}", text(&theirs));
                meaningful += usize::from(text(&theirs).contains(other.story.word));
                let (found, none) = (ask(&other.story, own.reader()), ask(&nothing, own.reader()));
                assert_eq!(found.status, none.status, "{path}: {}", text(&found));
                assert_eq!(
                    steady(&other.story.forget(&found.body)),
                    steady(&nothing.forget(&none.body)),
                    "{path}"
                );
                let kind = |answer: &Answer| answer.headers.get("content-type").cloned();
                assert_eq!(kind(&found), kind(&none), "{path}");
                // Error texts repeat the request's words, and so do answers by a filter.
                if !path.contains("WORD") {
                    assert_nothing_of(other, &found, path);
                }
            }
        }
        assert!(meaningful >= 45, "only {meaningful} requests find their own tenant's telemetry");
        let mut meaningful = 0;
        for (method, fields) in RPC {
            let ask = |story: &Story, key: &str| both.rpc((method, fields), story, key);
            let theirs = ask(&other.story, other.reader());
            meaningful +=
                usize::from(String::from_utf8_lossy(&theirs.body).contains(other.story.word));
            let (found, none) = (ask(&other.story, own.reader()), ask(&nothing, own.reader()));
            assert_eq!(found.code, none.code, "{method}: {}", found.message);
            let message = other.story.forget(found.message.as_bytes());
            assert_eq!(message, nothing.forget(none.message.as_bytes()), "{method}");
            let found_body = other.story.forget(untimed(&found.body));
            assert_eq!(found_body, nothing.forget(untimed(&none.body)), "{method}");
            assert!(!found_body.contains("WORD"), "{method}");
        }
        assert!(meaningful >= 15, "only {meaningful} calls find their own tenant's telemetry");
        for path in PROCESS {
            assert_nothing_of(other, &both.ask(path, own.reader()), path);
        }
    }
}

/// Returns rows of Flight without the query time that follows the last row.
fn untimed(rows: &[u8]) -> &[u8] {
    const TIME: &[u8] = b"{\"elapsedNano\"";
    let time = rows.windows(TIME.len()).position(|part| part == TIME);
    // The number and the length of the field are before it.
    time.map_or(rows, |time| &rows[..time.saturating_sub(2)])
}

/// Returns an answer without the parts that change with time.
fn steady(body: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Json>(body) else { return body.to_owned() };
    forget_times(&mut value);
    value.to_string()
}

fn forget_times(value: &mut Json) {
    match value {
        Json::Object(fields) => {
            fields.retain(|name, _| !MOMENTARY.contains(&name.as_str()));
            fields.values_mut().for_each(forget_times);
        }
        Json::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

const MOMENTARY: [&str; 6] =
    ["elapsedNano", "planningNano", "processorNano", "tookNano", "elapsedMs", "timing"];

#[test]
fn a_tag_or_a_version_of_another_tenant_names_nothing() {
    let both = TwoTenants::start(&[]);
    let path = "/api/v1/services";
    let known = |key: &str, tag: &str| {
        let bearer = bearer(key);
        let headers = [("authorization", bearer.as_str()), ("if-none-match", tag)];
        send("GET", &both.server.http, path, &headers, Bytes::new()).status
    };
    let tag = both.ask(path, both.alfa.reader()).headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(known(both.alfa.reader(), &tag), 304);
    assert_eq!(known(both.beta.reader(), &tag), 200);
    let trace = both.alfa.story.tell("/api/v1/traces/TRACE");
    assert_eq!(both.ask(&trace, both.alfa.reader()).status, 200);
    assert_eq!(both.ask(&format!("{trace}?wait=1ms"), both.beta.reader()).status, 404);
}

#[test]
fn a_session_reaches_the_tenant_of_its_key_alone() {
    let both = TwoTenants::start(&[]);
    let address = &both.server.http;
    for of_alfa in [true, false] {
        let (own, other) = (both.tenant(of_alfa), both.tenant(!of_alfa));
        for key in [own.reader(), own.admin()] {
            let body = Some(&json!({"key": key}));
            let begun = ask_as("POST", address, "/api/v1/session", "", None, body);
            assert_eq!(begun.status, 200, "{}", text(&begun));
            let cookie = begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
            let services = |tenant: Option<&str>| {
                let mut headers = vec![("cookie", cookie)];
                headers.extend(tenant.map(|name| ("x-scope-orgid", name)));
                send("GET", address, "/api/v1/services", &headers, "")
            };
            for tenant in [None, Some(own.story.word)] {
                let answer = services(tenant);
                assert_eq!(answer.status, 200, "{tenant:?}: {}", text(&answer));
                assert!(text(&answer).contains(own.story.word), "{}", text(&answer));
                assert_nothing_of(other, &answer, "services by a session");
            }
            let refused = services(Some(other.story.word));
            for name in ["nobody", "default"] {
                let nobody = services(Some(name));
                assert_eq!((nobody.status, &nobody.body), (403, &refused.body), "{name}");
            }
            assert_eq!(refused.status, 403, "{}", text(&refused));
        }
    }
}

#[test]
fn a_reader_neither_writes_nor_changes_anything_anywhere() {
    let both = TwoTenants::start(&[]);
    let pin = |story: &Story| story.tell("/api/v1/traces/TRACE/pin");
    let ask = |method: &str, path: &str, key: &str, tenant: Option<&str>| {
        ask_as(method, &both.server.http, path, key, tenant, None)
    };
    let none = Story::new("nada", 'c');
    for (method, status) in [("PUT", 404), ("DELETE", 404)] {
        assert_eq!(ask(method, &pin(&both.alfa.story), both.alfa.reader(), None).status, 403);
        // An admin of another tenant may not pin either. The answer does not reveal that the trace
        // exists.
        let found = ask(method, &pin(&both.alfa.story), both.beta.admin(), None);
        let nothing = ask(method, &pin(&none), both.beta.admin(), None);
        assert_eq!((found.status, nothing.status), (status, status), "{}", text(&found));
        assert_eq!(both.alfa.story.forget(&found.body), none.forget(&nothing.body));
    }
    assert_eq!(ask("PUT", &pin(&both.alfa.story), both.alfa.admin(), None).status, 201);
    let pins = |key: &str| json(&both.ask("/api/v1/pins", key))["pins"].as_array().unwrap().len();
    assert_eq!((pins(both.alfa.reader()), pins(both.beta.reader())), (1, 0));
    assert_eq!(ask("DELETE", &pin(&both.alfa.story), both.beta.admin(), None).status, 404);
    assert_eq!(pins(both.alfa.reader()), 1);
}

#[test]
fn a_tail_hears_its_own_tenant() {
    let both = TwoTenants::start(&[]);
    let mut stream = TcpStream::connect(&both.server.http).unwrap();
    let request = format!(
        "GET /api/v1/logs/tail HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        both.beta.reader()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = vec![0; 12];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, b"HTTP/1.1 200");
    let say = |tenant: &Tenant, words: &str| {
        let bearer = bearer(tenant.sender());
        let headers = [("content-type", "application/x-protobuf"), ("authorization", &*bearer)];
        let body = logs("x", vec![log(9, 9, words)]).encode_to_vec();
        assert_eq!(send("POST", &both.server.otlp_http, "/v1/logs", &headers, body).status, 200);
    };
    let mut part = [0; 4096];
    let mut round = 0;
    // The tail begins some time after the head of its answer, so the test sends until a record
    // arrives.
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    while !String::from_utf8_lossy(&heard).contains("for beta") {
        assert!(round < 100, "{}", String::from_utf8_lossy(&heard));
        round += 1;
        say(&both.alfa, "for alfa");
        say(&both.beta, "for beta");
        heard.extend(stream.read(&mut part).map_or(&[][..], |count| &part[..count]));
    }
    assert!(!String::from_utf8_lossy(&heard).contains("alfa"));
}

#[test]
fn a_ticket_of_flight_sql_reads_the_tenant_of_who_brings_it() {
    let both = TwoTenants::start(&["--sql", "on"]);
    let address = &both.server.http;
    let [reader, sender] = [both.alfa.reader(), both.alfa.sender()].map(bearer);
    let info = flight_info(address, &[("authorization", &reader)], "SELECT service FROM spans");
    assert_eq!(info.code, Some(0), "{}", info.message);
    let ticket = ticket_of(&info);
    for (own, other) in [(&both.alfa, &both.beta), (&both.beta, &both.alfa)] {
        let rows = flight_rows(address, &[("authorization", &bearer(own.reader()))], &ticket);
        assert_eq!(rows.code, Some(0), "{}", rows.message);
        let rows = String::from_utf8_lossy(&rows.body).into_owned();
        assert!(rows.contains(own.story.word), "{}", own.story.word);
        assert!(!rows.contains(other.story.word), "{}", own.story.word);
    }
    let refused = flight_rows(address, &[("authorization", &sender)], &ticket);
    assert_eq!(refused.code, Some(PERMISSION_DENIED));
}

#[test]
fn slow_queries_are_listed_for_their_tenant_alone() {
    let both = TwoTenants::start(&["--sql", "on"]);
    let path = "/api/v1/traces?attribute=order.id=sesame";
    let sql = "/api/v1/sql?query=SELECT%20count(*)%20FROM%20spans";
    let secret = "/api/v1/sql?query=SELECT%20%27https%3A%2F%2Fme%3Ahunter2%40host%2F%27";
    for path in [path, sql, secret] {
        assert_eq!(both.ask(path, both.alfa.reader()).status, 200, "{path}");
    }
    let list = |key: &str| json(&both.ask("/api/v1/queries", key))["queries"].clone();
    let own = list(both.alfa.admin());
    let of =
        |words: &str| own.as_array().unwrap().iter().find(|query| query["words"] == words).cloned();
    let search = of(&format!("GET {path}")).expect("the search is listed");
    assert_eq!((&search["kind"], &search["outcome"]), (&json!("traces"), &json!("answered")));
    assert!(search["askedBy"].is_string(), "{search}");
    let counted = of("SELECT count(*) FROM spans").expect("the query in SQL is listed");
    assert_eq!((&counted["kind"], &counted["rows"]), (&json!("sql"), &json!(5)));
    assert!(of("SELECT 'https://me:[REDACTED]@host/'").is_some(), "{own}");
    assert!(!own.to_string().contains("hunter2"), "{own}");
    // Only admins see who sent a query. Readers of the tenant see the rest.
    let seen = list(both.alfa.reader());
    assert!(seen.as_array().unwrap().iter().all(|query| query["askedBy"].is_null()), "{seen}");
    assert!(seen.to_string().contains("sesame"), "{seen}");
    for key in [both.beta.reader(), both.beta.admin(), &both.operator] {
        let other = list(key).to_string();
        assert!(!other.contains("sesame") && !other.contains("count(*)"), "{other}");
    }
    // Query times concern the whole process, and other tenants do not see them.
    let kinds = |key: &str| json(&both.ask("/api/v1/queries", key))["kinds"].clone();
    assert!(kinds(both.beta.admin()).is_null() && kinds(both.alfa.admin()).is_null());
    let counts = kinds(&both.operator);
    assert!(counts[0]["count"].as_u64() > Some(0), "{counts}");
    // Every tenant sees the limits. Memory and disk belong to the process.
    let limits = json(&both.ask("/api/v1/limits", both.beta.reader()));
    let limits = limits["limits"].as_array().unwrap();
    let seconds = limits.iter().find(|limit| limit["name"] == "sql-seconds-max").unwrap();
    let told = ["value", "unit", "origin"].map(|key| seconds[key].as_str().unwrap());
    assert_eq!(told, ["30", "seconds", "default"]);
    assert!(limits.iter().all(|limit| limit["name"] != "data-dir"), "paths are no limits");
    let status = |key: &str| json(&both.ask("/api/v1/status", key));
    let (own, operators) = (status(both.beta.reader()), status(&both.operator));
    assert!(own["memory"].is_null() && own["storage"]["diskFreeBytes"].is_null(), "{own}");
    assert!(operators["memory"]["residentBytes"].as_u64() > Some(1 << 20), "{operators}");
    assert!(operators["storage"]["diskFreeBytes"].is_u64(), "{operators}");
}

/// Checks that only the owner can read or enter anything below a folder. Returns the number of
/// files.
fn check_closed_to_others(folder: &Path) -> usize {
    let (mut folders, mut files) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, metadata) = {
                let entry = entry.unwrap();
                (entry.path(), entry.metadata().unwrap())
            };
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(metadata.mode() & 0o777, expected, "{}", path.display());
            if metadata.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    files
}

#[test]
fn nothing_that_a_server_a_backup_or_a_restore_writes_is_open_to_others() {
    let mut both = TwoTenants::start(&[]);
    let data = both.server.data_dir().to_owned();
    assert_eq!(both.server.terminate().code(), Some(0));
    let files = check_closed_to_others(&data);
    assert!(files > 30, "{files}");
    let elsewhere = tempfile::tempdir().unwrap();
    let [place, restored] = ["place", "restored"].map(|name| elsewhere.path().join(name));
    let tenant = data.join("tenants/alfa");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for args in [
        ["backup", "--data-dir", &text(&tenant), "--to", &text(&place)],
        ["restore", "--data-dir", &text(&restored), "--from", &text(&place)],
    ] {
        let (code, _, error) = Server::command(&args);
        assert_eq!(code, Some(0), "{error}");
    }
    assert!(check_closed_to_others(elsewhere.path()) > 20);
}

#[test]
fn both_tenants_keep_what_was_acknowledged_through_a_kill() {
    let mut both = TwoTenants::start(&[]);
    let folder = both.server.data_dir().to_owned();
    for word in ["alfa", "beta"] {
        let wal = folder.join("tenants").join(word).join("wal");
        assert!(wal.is_dir(), "a log of its own: {}", wal.display());
    }
    both.server = both.server.restart();
    for (own, other) in [(&both.alfa, &both.beta), (&both.beta, &both.alfa)] {
        let ask = |path: &str| both.ask(path, own.reader());
        let status = json(&ask("/api/v1/status"));
        assert_eq!((&status["spans"]["stored"], &status["logs"]["stored"]), (&json!(5), &json!(4)));
        let trace = ask(&own.story.tell("/api/v1/traces/TRACE"));
        assert_eq!(json(&trace)["spanCount"], 4, "{}", text(&trace));
        assert_nothing_of(other, &ask("/api/v1/services"), "services");
        assert_eq!(ask(&other.story.tell("/api/v1/traces/TRACE")).status, 404);
    }
    let status = json(&both.ask("/api/v1/status", &both.operator));
    assert_eq!((&status["tenant"], &status["spans"]["stored"]), (&json!("default"), &json!(0)));
}

#[test]
fn key_of_several_tenants_reaches_each_by_the_header_of_grafana() {
    let both = TwoTenants::start(&[]);
    let server = &both.server;
    let choosing = key(server, "grafana", "read", &["--tenant", "alfa", "--tenants", "beta"]);
    let services = |key: &str, tenant: Option<&str>| {
        let answer = ask_as("GET", &server.http, "/jaeger/api/services", key, tenant, None);
        (answer.status, text(&answer))
    };
    for (key, tenant, word) in [
        (&choosing, None, Some("alfa")),
        (&choosing, Some("alfa"), Some("alfa")),
        (&choosing, Some("beta"), Some("beta")),
        (&both.operator, None, None),
        (&both.operator, Some("default"), None),
        (&both.operator, Some("beta"), Some("beta")),
    ] {
        let (status, said) = services(key, tenant);
        assert_eq!(status, 200, "{tenant:?}: {said}");
        for known in ["alfa", "beta"] {
            assert_eq!(said.contains(known), word == Some(known), "{tenant:?}: {said}");
        }
    }
    let (status, said) = services(&both.operator, Some("nobody"));
    assert!(status == 403 && said.contains("nobody"), "who governs all is told: {said}");
    assert_eq!(services(&choosing, Some("default")).0, 403);
    let read = |tenant| ask_as("GET", &server.zipkin, "/api/v2/services", &choosing, tenant, None);
    assert!(text(&read(Some("beta"))).contains("beta"));
    let headers = [("authorization", &*bearer(&choosing)), ("x-scope-orgid", "beta")];
    let method = "/jaeger.api_v3.QueryService/GetServices";
    let found = call(&server.http, method, &headers, frame(false, &[]));
    assert!(String::from_utf8_lossy(&found.body).contains("beta"), "{}", found.message);
    let sent = both.alfa.story.tell("/api/v1/traces/TRACE");
    let bearer = bearer(&both.operator);
    let headers = [("authorization", &*bearer), ("x-scope-orgid", "beta")];
    let body = traces("operator", vec![span(9, 9, 0, "by the operator")]).encode_to_vec();
    let exported = call(&server.otlp_grpc, TRACE_EXPORT, &headers, frame(false, &body));
    assert_eq!(exported.code, Some(0), "{}", exported.message);
    assert!(text(&both.ask("/api/v1/services", both.beta.reader())).contains("operator"));
    assert!(!text(&both.ask("/api/v1/services", both.alfa.reader())).contains("operator"));
    assert_eq!(both.ask(&sent, both.alfa.reader()).status, 200);
}

#[test]
fn receivers_and_metrics_tell_a_tenant_of_itself() {
    let both = TwoTenants::start(&[]);
    let broken =
        [("content-type", "application/json"), ("authorization", &*bearer(both.alfa.sender()))];
    let sent = send("POST", &both.server.otlp_http, "/v1/traces", &broken, "{\"secret-alfa");
    assert_eq!(sent.status, 400);
    let refused =
        ask_as("POST", &both.server.zipkin, "/api/v2/spans", both.alfa.reader(), None, None);
    assert_eq!(refused.status, 403);
    let refusals = |key: &str| {
        let status = json(&both.ask("/api/v1/status", key));
        let of = |receiver: &Json| {
            let count = receiver["refusedRequests"].as_u64().filter(|count| *count > 0)?;
            Some((receiver["name"].as_str()?.to_owned(), count))
        };
        let receivers = status["receivers"].as_array().unwrap();
        let counts: Vec<(String, u64)> = receivers.iter().filter_map(of).collect();
        (counts, status["spans"]["received"].as_u64().unwrap(), status.to_string())
    };
    let (of_alfa, received, _) = refusals(both.alfa.reader());
    let expected = ["otlp/http", "zipkin"].map(|name| (name.to_owned(), 1));
    assert_eq!((of_alfa.as_slice(), received), (&expected[..], 5));
    for key in [both.beta.reader(), &both.operator] {
        let (counts, received, said) = refusals(key);
        assert_eq!(counts, [], "{said}");
        assert_eq!(received, if key == both.operator { 0 } else { 5 });
        assert!(!said.contains("alfa"), "{said}");
    }
    let metrics = |key: &str| String::from_utf8(both.ask("/metrics", key).body.to_vec()).unwrap();
    let (of_alfa, of_all) = (metrics(both.alfa.reader()), metrics(&both.operator));
    assert!(of_alfa.contains("tidings_stored_records{signal=\"spans\"} 5"), "{of_alfa}");
    assert!(!of_alfa.contains("tidings_receiver") && !of_alfa.contains("tidings_connections"));
    assert!(of_all.contains("tidings_stored_records{signal=\"spans\"} 0"), "{of_all}");
    assert!(
        of_all.contains("tidings_received_records_total{signal=\"spans\",outcome=\"accepted\"} 10")
    );
    assert!(!of_all.contains("alfa") && !of_all.contains("beta"));
    // A reader of `default` sees the metrics of other tenants only if it may choose every tenant.
    let reader = key(&both.server, "reader", "read", &[]);
    let one = key(&both.server, "one", "read", &["--tenant", "default", "--tenants", "alfa"]);
    let may_choose = ["--tenant", "default", "--tenants", "alfa,beta"];
    let scraper = key(&both.server, "scraper", "read", &may_choose);
    for (key, is_of_process) in [(&reader, false), (&one, false), (&scraper, true)] {
        let seen = metrics(key);
        assert!(seen.contains("tidings_stored_records{signal=\"spans\"} 0"), "{seen}");
        assert_eq!(seen.contains("tidings_received_records"), is_of_process, "{seen}");
        assert_eq!(seen.contains("tidings_connections"), is_of_process, "{seen}");
    }
}

#[test]
fn an_admin_sees_and_makes_keys_of_the_own_tenant() {
    let both = TwoTenants::start(&[]);
    let server = &both.server;
    let names = |key: &str| -> Vec<String> {
        let list = json(&both.ask("/api/v1/keys", key));
        let name = |key: &Json| {
            format!("{}/{}", key["tenant"].as_str().unwrap(), key["name"].as_str().unwrap())
        };
        list["keys"].as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(both.alfa.admin()), ["alfa/ingest", "alfa/read", "alfa/admin"]);
    assert_eq!(names(&both.operator).len(), 7);
    let make = |key: &str, body: Json| {
        let made = ask_as("POST", &server.http, "/api/v1/keys", key, None, Some(&body));
        (made.status, json(&made))
    };
    for (body, status) in [
        (json!({"name": "x", "role": "read"}), 201),
        (json!({"name": "y", "role": "read", "tenant": "alfa"}), 201),
        (json!({"name": "z", "role": "read", "tenant": "beta"}), 403),
        (json!({"name": "z", "role": "read", "tenant": "nobody"}), 403),
        (json!({"name": "z", "role": "read", "tenant": "default"}), 403),
        (json!({"name": "z", "role": "read", "tenants": ["beta"]}), 403),
        (json!({"name": "x", "role": "read"}), 409),
    ] {
        let (found, said) = make(both.alfa.admin(), body.clone());
        assert_eq!(found, status, "{body}: {said}");
    }
    let (status, made) =
        make(&both.operator, json!({"name": "x", "role": "read", "tenant": "gamma"}));
    assert_eq!((status, &made["created"]["tenant"]), (201, &json!("gamma")));
    let gamma = made["key"].as_str().unwrap();
    let answer = both.ask("/api/v1/status", gamma);
    assert_eq!(json(&answer)["tenant"], "gamma", "a new tenant is served at once");
    for (name, status) in [("A B", 400), ("../x", 400), ("", 400), ("x|y", 400)] {
        let body = json!({"name": "bad", "role": "read", "tenant": name});
        assert_eq!(make(&both.operator, body).0, status, "{name:?}");
    }
    let id = both.beta.reader().split('_').nth(1).unwrap();
    let revoke = |id: &str| {
        ask_as("DELETE", &server.http, &format!("/api/v1/keys/{id}"), both.alfa.admin(), None, None)
    };
    let (other, none) = (revoke(id), revoke("00000000"));
    assert_eq!((other.status, none.status), (404, 404));
    let said = |answer: &Answer, id: &str| String::from_utf8_lossy(&answer.body).replace(id, "ID");
    assert_eq!(said(&other, id), said(&none, "00000000"));
    assert_eq!(both.ask("/api/v1/status", both.beta.reader()).status, 200);
    let body = Some(&json!({"key": both.alfa.reader()}));
    let begun = ask_as("POST", &server.http, "/api/v1/session", "", None, body);
    let cookie = begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let by_cookie =
        |path: &str| json(&send("GET", &server.http, path, &[("cookie", cookie)], Bytes::new()));
    assert_eq!(by_cookie("/api/v1/session")["tenant"], "alfa");
    assert_eq!(by_cookie("/api/v1/status")["tenant"], "alfa");
    let demo = ask_as("POST", &server.http, "/api/v1/demo", both.beta.admin(), None, None);
    assert_eq!(demo.status, 202);
    let received = |key: &str| json(&both.ask("/api/v1/status", key))["spans"]["received"].as_u64();
    until(|| received(both.beta.reader()).unwrap() > 50);
    assert_eq!(received(both.alfa.reader()), Some(5));
}
