//! Machines with tokens of an issuer, at every listener and in every protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use bytes::Bytes;
use prost::Message;
use serde_json::{Value as Json, json};

use crate::{
    harness::{
        Server, TAIL_QUIET,
        http::{Answer, GrpcAnswer, call, frame, get, send},
        issuer::{AUDIENCE, Issuer, SigningKey, now},
        spans::{TRACE_EXPORT, span, traces},
    },
    keys::{self, until},
};

const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;
const UNAVAILABLE: i32 = 14;

/// Starts a server that accepts tokens of an issuer, and returns once it has read the issuer's
/// keys.
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
    // The refusal names the subject of the token and the claim that gave no role.
    let none = issuer.token(json!({"groups": ["x"]}));
    let refused = api(&server, &none);
    assert_eq!(refused.status, 403);
    assert!(problem(&refused).contains("\"machine\" has no role"), "{}", problem(&refused));
    assert_eq!(over_grpc(&server, &none).code, Some(PERMISSION_DENIED));
    // The token may be the password of Basic authentication, which Grafana and Zipkin's senders
    // offer.
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("any:{}", of("dev")),
    );
    let headers = [("authorization", format!("Basic {basic}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = send("GET", &server.http, "/api/v1/services", &headers, Bytes::new());
    assert_eq!(answer.status, 200);
    // A request without credentials is asked for them.
    assert_eq!(get(&server.http, "/api/v1/services").status, 401);
    assert_eq!(get(&server.http, "/sign-in").status, 200, "there is no client: the UI's page");
    assert_eq!(server.get("/api/v1/sign-in"), (200, json!({"keys": true})));
}

#[test]
fn an_admin_ends_the_tokens_of_a_subject() {
    let issuer = Issuer::start();
    let server = start(&issuer);
    let admin = issuer.token(json!({"sub": "admin", "groups": ["ops"]}));
    let stolen = issuer.token(json!({"sub": "stolen"}));
    let unused = issuer.token(json!({"sub": "stolen", "jti": "unused"}));
    let other = issuer.token(json!({"sub": "other"}));
    let ask = |method: &str, path: &str, token: &str| {
        let bearer = bearer(token);
        send(method, &server.http, path, &[("authorization", bearer.as_str())], Bytes::new())
    };
    let json_of = |answer: Answer| -> Json { serde_json::from_slice(&answer.body).unwrap() };
    assert_eq!((api(&server, &stolen).status, api(&server, &other).status), (200, 200));
    // The audit log has the id of a denied request's sender.
    assert_eq!(ask("GET", "/api/v1/keys", &stolen).status, 403);
    let denied = || {
        let events = json_of(ask("GET", "/api/v1/audit?action=access&actor=stolen", &admin));
        events["events"][0]["actor"]["id"].as_str().map(str::to_owned)
    };
    until(|| denied().is_some());
    let sessions = format!("/api/v1/keys/{}/sessions", denied().unwrap());
    assert_eq!(ask("DELETE", &sessions, &stolen).status, 403);
    let ended = ask("DELETE", &sessions, &admin);
    assert_eq!(ended.status, 200);
    assert_eq!(json_of(ended), json!({"sessions": 0, "tokens": 1}));
    for token in [&stolen, &unused, &issuer.token(json!({"sub": "stolen", "iat": null}))] {
        let refused = api(&server, token);
        assert_eq!(refused.status, 401);
        assert!(problem(&refused).contains("(iat)"), "{}", problem(&refused));
        assert_eq!(over_grpc(&server, token).code, Some(UNAUTHENTICATED));
    }
    assert_eq!(api(&server, &other).status, 200);
    let later = issuer.token(json!({"sub": "stolen", "iat": now() + 120}));
    assert_eq!(api(&server, &later).status, 200, "issued later");
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
        // The receivers allow smaller request heads.
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
fn new_issuer_keys_are_read_once_and_withdrawn_ones_are_refused() {
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
    // The keys are not read again for a while, so an unknown key may be a new one meanwhile.
    // Senders must retry instead of dropping their data.
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
        let ready = ready_as(&server, &[("authorization", &format!("Bearer {good}"))]);
        assert!(ready.contains("the issuer's keys"), "{ready}");
        assert_eq!(ready_as(&server, &[]), "ready\n1 warning; see the log\n");
    }
}

fn ready_as(server: &Server, headers: &[(&str, &str)]) -> String {
    let ready = send("GET", &server.http, "/ready", headers, Bytes::new());
    String::from_utf8(ready.body.to_vec()).unwrap()
}

#[test]
fn senders_must_retry_while_the_issuer_is_down() {
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

    // Nothing listens at this address.
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
    // The token ends two seconds before the end of the leeway.
    let token = issuer.token(json!({"exp": now() - 28}));
    let mut stream = TcpStream::connect(&server.http).unwrap();
    let request = format!(
        "GET /api/v1/logs/tail HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(TAIL_QUIET)).unwrap();
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

/// A server whose issuer names tenants in the claim `org`. `alfa` and `beta` have sent one trace
/// each with tokens. The service of the trace is `shop-of-` with the tenant's name, and its id is
/// [`TenantTokens::trace`].
struct TenantTokens {
    issuer: Issuer,
    server: Server,
}

impl TenantTokens {
    fn start() -> Self {
        let issuer = Issuer::start();
        let flags = [&flags(&issuer.url)[..], &["--oidc-tenant-claim", "org"]].concat();
        let tokens = Self { server: Server::start_with(&flags), issuer };
        for org in ["alfa", "beta"] {
            // The first key of a tenant creates it.
            keys::key(&tokens.server, &format!("{org}-key"), "admin", &["--tenant", org]);
            let (reader, sender) = (tokens.of("dev", json!(org)), tokens.of("send", json!(org)));
            until(|| tokens.ask(&reader, "/api/v1/services", None).status == 200);
            assert_eq!(tokens.export(&sender, org, None).status, 200, "{org}");
        }
        tokens
    }

    /// Returns a token of a group and an organisation.
    fn of(&self, group: &str, org: Json) -> String {
        self.issuer.token(json!({"groups": [group], "org": org}))
    }

    fn trace(org: &str) -> u128 {
        if org == "alfa" { 0xa1fa } else { 0xbe7a }
    }

    fn ask(&self, token: &str, path: &str, tenant: Option<&str>) -> Answer {
        let bearer = bearer(token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(tenant.map(|name| ("x-scope-orgid", name)));
        send("GET", &self.server.http, path, &headers, Bytes::new())
    }

    fn export(&self, token: &str, org: &str, tenant: Option<&str>) -> Answer {
        let bearer = bearer(token);
        let kind = ("content-type", "application/x-protobuf");
        let mut headers = vec![kind, ("authorization", bearer.as_str())];
        headers.extend(tenant.map(|name| ("x-scope-orgid", name)));
        let spans = vec![span(Self::trace(org), 1, 0, "GET /cart")];
        let body = traces(&format!("shop-of-{org}"), spans).encode_to_vec();
        send("POST", &self.server.otlp_http, "/v1/traces", &headers, body)
    }

    /// Returns the services of a tenant. The request must succeed.
    fn services(&self, token: &str, tenant: Option<&str>) -> String {
        let answer = self.ask(token, "/api/v1/services", tenant);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(answer.status, 200, "{tenant:?}: {text}");
        text
    }

    /// Checks that `default` has received nothing.
    fn assert_default_is_empty(&self) {
        let operator = self.of("ops", json!("default"));
        let status = self.ask(&operator, "/api/v1/status", None);
        let status: Json = serde_json::from_slice(&status.body).unwrap();
        assert_eq!(
            (&status["tenant"], &status["spans"]["received"], &status["spans"]["stored"]),
            (&json!("default"), &json!(0), &json!(0)),
            "{status}"
        );
    }
}

#[test]
fn a_token_reads_and_sends_in_the_tenant_of_its_claim_and_in_no_other() {
    let tokens = TenantTokens::start();
    for (own, other) in [("alfa", "beta"), ("beta", "alfa")] {
        for group in ["dev", "ops"] {
            let token = tokens.of(group, json!(own));
            let services = tokens.services(&token, None);
            assert!(services.contains(own) && !services.contains(other), "{own}: {services}");
            let path = |org| format!("/api/v1/traces/{:032x}", TenantTokens::trace(org));
            assert_eq!(tokens.ask(&token, &path(own), None).status, 200, "{group} of {own}");
            assert_eq!(tokens.ask(&token, &path(other), None).status, 404, "{group} of {own}");
            let over_grpc = jaeger(&tokens.server, &token);
            let services = String::from_utf8_lossy(&over_grpc.body).into_owned();
            assert!(services.contains(own) && !services.contains(other), "{own}: {services}");
            let refused = tokens.ask(&token, "/api/v1/services", Some(other));
            assert_eq!(refused.status, 403, "{group} of {own}");
            for name in ["default", "nobody"] {
                let nobody = tokens.ask(&token, "/api/v1/services", Some(name));
                assert_eq!((nobody.status, &nobody.body), (403, &refused.body), "{name}");
            }
        }
        let sender = tokens.of("send", json!(own));
        assert_eq!(tokens.export(&sender, own, Some(other)).status, 403, "{own}");
        assert_eq!(tokens.export(&sender, own, Some("default")).status, 403, "{own}");
        assert_eq!(tokens.export(&sender, own, Some(own)).status, 200, "{own}");
    }
    // The first name of a list is the token's own tenant. The header chooses the others.
    let of_both = tokens.of("dev", json!(["beta", "alfa"]));
    assert!(!tokens.services(&of_both, None).contains("alfa"));
    let chosen = tokens.services(&of_both, Some("alfa"));
    assert!(chosen.contains("alfa") && !chosen.contains("beta"), "{chosen}");
    tokens.assert_default_is_empty();
}

#[test]
fn a_token_of_no_tenant_is_refused_everywhere_and_sends_nothing_to_default() {
    let tokens = TenantTokens::start();
    let server = &tokens.server;
    // Most claims name no valid tenant. The last one names a tenant that no key has created.
    for (org, words) in [
        (Json::Null, "belongs to no tenant"),
        (json!(""), "belongs to no tenant"),
        (json!("Alfa"), "belongs to no tenant"),
        (json!("../alfa"), "belongs to no tenant"),
        (json!(7), "belongs to no tenant"),
        (json!([]), "belongs to no tenant"),
        (json!(["Team_A", "alfa", "default"]), "belongs to no tenant"),
        (json!({"alfa": "alfa"}), "belongs to no tenant"),
        (json!("gamma"), "no tenant `gamma`"),
    ] {
        for group in ["send", "dev", "ops"] {
            let token = tokens.of(group, org.clone());
            let (sends, reads) = (group != "dev", group != "send");
            let refused = api(server, &token);
            assert_eq!(refused.status, 403, "{group} of {org}: {:?}", refused.body);
            if reads {
                assert!(problem(&refused).contains(words), "{org}: {}", problem(&refused));
            }
            assert_eq!(jaeger(server, &token).code, Some(PERMISSION_DENIED), "{group} of {org}");
            assert_eq!(tokens.export(&token, "alfa", None).status, 403, "{group} of {org}");
            let over_grpc = over_grpc(server, &token);
            assert_eq!(over_grpc.code, Some(PERMISSION_DENIED), "{group} of {org}");
            assert!(!sends || over_grpc.message.contains("tenant"), "{}", over_grpc.message);
            assert_eq!(over_zipkin(server, &token).status, 403, "{group} of {org}");
            for name in ["default", "alfa"] {
                let chosen = tokens.ask(&token, "/api/v1/services", Some(name));
                assert_eq!(chosen.status, 403, "{group} of {org} for {name}");
            }
        }
    }
    assert!(!server.data_dir().join("tenants/gamma").exists(), "a token makes no tenant");
    tokens.assert_default_is_empty();
}

#[test]
fn an_admin_by_a_token_governs_the_own_tenant_alone() {
    let tokens = TenantTokens::start();
    let server = &tokens.server;
    let ask = |method: &str, path: &str, token: &str, body: String| {
        let bearer = bearer(token);
        let kind = ("content-type", "application/json");
        send(method, &server.http, path, &[("authorization", bearer.as_str()), kind], body)
    };
    let keys = |token: &str| -> Vec<(String, String)> {
        let list = ask("GET", "/api/v1/keys", token, String::new());
        let list: Json = serde_json::from_slice(&list.body).unwrap();
        let field = |key: &Json, name: &str| key[name].as_str().unwrap().to_owned();
        let keys = list["keys"].as_array().unwrap().iter();
        keys.map(|key| (field(key, "name"), field(key, "id"))).collect()
    };
    let make = |token: &str, tenant: &str| {
        let body = json!({"name": "made", "role": "read", "tenant": tenant}).to_string();
        ask("POST", "/api/v1/keys", token, body).status
    };
    // A list with `default` in it does not make a token an admin of all tenants.
    for org in [json!("alfa"), json!(["alfa", "default", "beta"])] {
        let admin = tokens.of("ops", org);
        let names: Vec<String> = keys(&admin).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["alfa-key"]);
        for tenant in ["beta", "default", "gamma"] {
            assert_eq!(make(&admin, tenant), 403, "{tenant}");
        }
        assert_eq!(tokens.ask(&admin, "/api/v1/keys", Some("default")).status, 403);
        let of_beta = keys(&tokens.of("ops", json!("beta")));
        let [(name, id)] = of_beta.as_slice() else { panic!("{of_beta:?}") };
        let revoked = ask("DELETE", &format!("/api/v1/keys/{id}"), &admin, String::new());
        assert_eq!((name.as_str(), revoked.status), ("beta-key", 404));
        assert_eq!(keys(&tokens.of("ops", json!("beta"))), of_beta);
    }
    let operator = tokens.of("ops", json!("default"));
    assert_eq!(keys(&operator).len(), 2);
    assert!(tokens.services(&operator, Some("beta")).contains("beta"));
    assert_eq!(make(&operator, "beta"), 201);
}
