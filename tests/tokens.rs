//! Machines that bring tokens of an issuer, at every listener and in every protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use bytes::Bytes;
use prost::Message;
use serde_json::{Value as Json, json};

use crate::harness::{
    PATIENCE, Server,
    http::{Answer, GrpcAnswer, call, frame, get, send},
    issuer::{AUDIENCE, Issuer, SigningKey, now},
    spans::{TRACE_EXPORT, span, traces},
};

const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;
const UNAVAILABLE: i32 = 14;

/// A server that takes tokens of an issuer, when it has read the issuer's keys.
fn start(issuer: &Issuer) -> Server {
    let server = Server::start_with(&flags(&issuer.url));
    until(|| issuer.asked("/keys") > 0 && api(&server, &issuer.token(json!({}))).status == 200);
    server
}

fn flags(issuer: &str) -> [&str; 8] {
    const ROLES: &str = "ops=admin,dev=read,send=ingest";
    let claim = ["--oidc-roles-claim", "groups", "--oidc-roles", ROLES];
    let [first, second, third, fourth] = claim;
    ["--oidc-issuer", issuer, "--oidc-audience", AUDIENCE, first, second, third, fourth]
}

fn until(holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "it does not come to hold");
        std::thread::yield_now();
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn api(server: &Server, token: &str) -> Answer {
    let headers = [("authorization", bearer(token))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    send("GET", &server.http, "/api/v1/services", &headers, Bytes::new())
}

fn spans() -> Vec<u8> {
    traces("shop", vec![span(7, 1, 0, "GET /cart")]).encode_to_vec()
}

fn over_http(server: &Server, token: &str) -> Answer {
    let bearer = bearer(token);
    let headers = [("content-type", "application/x-protobuf"), ("authorization", bearer.as_str())];
    send("POST", &server.otlp_http, "/v1/traces", &headers, spans())
}

fn over_grpc(server: &Server, token: &str) -> GrpcAnswer {
    let bearer = bearer(token);
    let headers = [("authorization", bearer.as_str())];
    call(&server.otlp_grpc, TRACE_EXPORT, &headers, frame(false, &spans()))
}

fn over_zipkin(server: &Server, token: &str) -> Answer {
    let bearer = bearer(token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    send("POST", &server.zipkin, "/api/v2/spans", &headers, "[]")
}

fn jaeger(server: &Server, token: &str) -> GrpcAnswer {
    let bearer = bearer(token);
    let headers = [("authorization", bearer.as_str())];
    call(&server.http, "/jaeger.api_v2.QueryService/GetServices", &headers, frame(false, &[]))
}

fn problem(answer: &Answer) -> String {
    let problem: Json = serde_json::from_slice(&answer.body).unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_counts_at_every_listener_by_its_role() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let of = |group: &str| issuer.token(json!({"groups": [group]}));
    for (group, sends, reads, changes) in
        [("send", true, false, false), ("dev", false, true, false), ("ops", true, true, true)]
    {
        let token = of(group);
        let sent = if sends { (200, 0) } else { (403, PERMISSION_DENIED) };
        let exported = over_http(&server, &token);
        assert_eq!(exported.status, sent.0, "{group}: {:?}", exported.body);
        assert_eq!(over_grpc(&server, &token).code, Some(sent.1), "{group}");
        assert_eq!(over_zipkin(&server, &token).status, if sends { 202 } else { 403 }, "{group}");
        assert_eq!(api(&server, &token).status, if reads { 200 } else { 403 }, "{group}");
        let code = if reads { 0 } else { PERMISSION_DENIED };
        assert_eq!(jaeger(&server, &token).code, Some(code), "{group}");
        let bearer = bearer(&token);
        let headers = [("authorization", bearer.as_str())];
        let listed = send("GET", &server.http, "/api/v1/keys", &headers, Bytes::new());
        assert_eq!(listed.status, if changes { 200 } else { 403 }, "{group}");
    }
    // A person's name is in the refusal, and the claim that gave no role.
    let none = issuer.token(json!({"groups": ["x"]}));
    let refused = api(&server, &none);
    assert_eq!(refused.status, 403);
    assert!(problem(&refused).contains("\"machine\" has no role"), "{}", problem(&refused));
    assert_eq!(over_grpc(&server, &none).code, Some(PERMISSION_DENIED));
    // As Basic's password, which Grafana and Zipkin's senders have.
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("any:{}", of("dev")),
    );
    let headers = [("authorization", format!("Basic {basic}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = send("GET", &server.http, "/api/v1/services", &headers, Bytes::new());
    assert_eq!(answer.status, 200);
    // And whoever brings nothing is asked for something.
    assert_eq!(get(&server.http, "/api/v1/services").status, 401);
    assert_eq!(get(&server.http, "/sign-in").status, 200, "there is no client: the UI's page");
    assert_eq!(server.get("/api/v1/sign-in"), (200, json!({"keys": true})));
}

#[test]
fn a_token_that_is_not_good_is_refused_everywhere() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let good = issuer.token(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let stranger = SigningKey::new("first").sign(&issuer.machine(json!({})));
    for (token, words) in [
        (issuer.token(json!({"aud": "tidings"})), "(aud)"),
        (issuer.token(json!({"aud": null})), "`aud`"),
        (issuer.token(json!({"iss": "https://other.example"})), "(iss)"),
        (issuer.token(json!({"exp": now() - 31})), "(exp)"),
        (issuer.token(json!({"exp": null})), "`exp`"),
        (issuer.token(json!({"nbf": now() + 60})), "(nbf)"),
        (issuer.token(json!({"sub": 7})), "`sub`"),
        (issuer.token_by(SigningKey::unsigned), "(alg)"),
        (issuer.token_by(SigningKey::sign_with_public), "(alg)"),
        (stranger, "signature is wrong"),
        (format!("{message}.{flipped}{}", &signature[1..]), "signature is wrong"),
        (format!("{message}."), "signature is wrong"),
        ("a.b.c".to_owned(), "base64url"),
        ("..".to_owned(), "header cannot be read"),
        (format!("{}.{}.{}", "A".repeat(9000), "B".repeat(9000), "C"), "16 KiB"),
    ] {
        let refused = api(&server, &token);
        assert_eq!(refused.status, 401, "{words}");
        assert!(problem(&refused).contains(words), "{words}: {}", problem(&refused));
        assert!(refused.headers.contains_key("www-authenticate"), "{words}");
        let status = over_http(&server, &token).status;
        // The receivers' heads are smaller.
        assert!(status == 401 || (words == "16 KiB" && status == 431), "{words}: {status}");
        assert_eq!(over_zipkin(&server, &token).status, status, "{words}");
        if words != "16 KiB" {
            assert_eq!(over_grpc(&server, &token).code, Some(UNAUTHENTICATED), "{words}");
            assert_eq!(jaeger(&server, &token).code, Some(UNAUTHENTICATED), "{words}");
        }
    }
    assert_eq!(issuer.asked("/keys"), 1, "none of them made the server ask");
    assert_eq!(api(&server, &good).status, 200);
}

#[test]
fn keys_that_are_new_are_read_once_and_those_that_are_gone_count_no_more() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let before = issuer.token(json!({"groups": ["ops"]}));
    assert_eq!(over_http(&server, &before).status, 200);
    assert_eq!(issuer.asked("/keys"), 1);
    issuer.rotate("second");
    let after = issuer.token(json!({"groups": ["ops"]}));
    assert_eq!(over_grpc(&server, &after).code, Some(0), "read at the first token");
    assert_eq!(api(&server, &after).status, 200);
    assert_eq!(issuer.asked("/keys"), 2);
    // Within the time in which the keys are not read again, nobody can say that a key is none: what
    // was sent is to be sent again, and not thrown away.
    assert_eq!(over_grpc(&server, &before).code, Some(UNAVAILABLE));
    let unknown = SigningKey::new("third").sign(&issuer.machine(json!({})));
    for _ in 0..30 {
        let refused = api(&server, &unknown);
        assert_eq!(
            (refused.status, &refused.headers["retry-after"]),
            (503, &"10".parse().unwrap())
        );
        assert_eq!(over_http(&server, &unknown).status, 503);
    }
    assert_eq!(issuer.asked("/keys"), 2, "not once for each request");
}

#[test]
fn a_key_that_the_issuer_does_not_have_is_refused_after_one_question() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let unknown = SigningKey::new("unknown").sign(&issuer.machine(json!({})));
    let refused = api(&server, &unknown);
    assert_eq!(refused.status, 401);
    assert!(problem(&refused).contains("(kid)"), "{}", problem(&refused));
    assert_eq!(issuer.asked("/keys"), 2);
}

#[test]
fn an_issuer_that_answers_nonsense_changes_nothing() {
    for nonsense in [
        "x".repeat(3 << 20),
        json!({"keys": vec![json!({"kty": "EC"}); 101]}).to_string(),
        "{}".to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        "[".repeat(100_000),
    ] {
        let issuer = Issuer::start();
        let server = start(&issuer);
        let good = issuer.token(json!({"sub": "another"}));
        issuer.publish(Some(nonsense));
        let unknown = SigningKey::new("unknown").sign(&issuer.machine(json!({})));
        let refused = api(&server, &unknown);
        assert_eq!(refused.status, 503, "{}", problem(&refused));
        assert_eq!(issuer.asked("/keys"), 2);
        assert_eq!(api(&server, &good).status, 200, "the keys before it stay");
        let ready = get(&server.http, "/ready");
        let ready = String::from_utf8(ready.body.to_vec()).unwrap();
        assert!(ready.contains("the issuer's keys"), "{ready}");
    }
}

#[test]
fn while_the_issuer_is_down_senders_are_told_to_come_again() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let known = issuer.token(json!({"sub": "another"}));
    issuer.set_down(true);
    assert_eq!(api(&server, &known).status, 200, "its keys are known");
    issuer.rotate("second");
    let new = issuer.token(json!({"groups": ["send"]}));
    let refused = over_grpc(&server, &new);
    assert_eq!(refused.code, Some(UNAVAILABLE), "{}", refused.message);
    assert!(refused.details.is_some(), "with the time to wait");
    let refused = over_http(&server, &new);
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    drop(server);

    // Nothing listens there at all.
    let server = Server::start_with(&flags("http://127.0.0.1:1"));
    let token = SigningKey::new("first").sign(&json!({
        "iss": "http://127.0.0.1:1", "sub": "machine", "aud": AUDIENCE, "exp": now() + 300,
    }));
    assert_eq!(over_http(&server, &token).status, 503);
    assert_eq!(api(&server, &token).status, 503);
}

#[test]
fn a_live_tail_ends_with_its_token() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    // Two seconds within the leeway.
    let token = issuer.token(json!({"exp": now() - 28}));
    let mut stream = TcpStream::connect(&server.http).unwrap();
    let request = format!(
        "GET /api/v1/logs/tail HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let opened = Instant::now();
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    let is_timeout =
        ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!is_timeout, "it is still open");
    assert!(opened.elapsed().as_secs() < 8, "{:?}", opened.elapsed());
    assert_eq!(api(&server, &token).status, 401);
}

#[test]
fn tokens_are_taken_only_where_an_audience_is_set() {
    let issuer = Issuer::start();
    let server = Server::start_with(&["--oidc-issuer", &issuer.url, "--oidc-client-id", AUDIENCE]);
    until(|| issuer.asked("/keys") > 0);
    let refused = api(&server, &issuer.token(json!({})));
    assert_eq!(refused.status, 401);
    assert!(problem(&refused).contains("oidc-audience"), "{}", problem(&refused));
}
