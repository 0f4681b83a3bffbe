//! Sign-in of people by an issuer: the flow with a cookie jar, and everything that can go wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{LOCATION, SET_COOKIE};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    harness::{
        Server,
        http::{Answer, get, send},
        issuer::{CLIENT, Issuer, SECRET, SigningKey, TokenMaker, now},
    },
    keys::{self, until},
};

const ROLES: &str = "ops=admin,dev=read,send=ingest";

/// Starts a server with an issuer and returns once the server has read the issuer's keys.
fn start(issuer: &Issuer, more: &[&str]) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let flags = [
        "--oidc-issuer",
        &issuer.url,
        "--oidc-client-id",
        CLIENT,
        "--oidc-client-secret-file",
        secret.to_str().unwrap(),
        "--oidc-roles-claim",
        "groups",
        "--oidc-roles",
        ROLES,
    ];
    let server = Server::start_with(&[&flags, more].concat());
    until(|| get(&server.http, "/sign-in").status == 303);
    (server, folder)
}

/// A browser, as far as cookies and redirects are concerned.
struct Jar<'a> {
    server: &'a Server,
    cookies: BTreeMap<String, String>,
    /// The cookies as the server last wrote them.
    written: Vec<String>,
}

impl<'a> Jar<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, cookies: BTreeMap::new(), written: Vec::new() }
    }

    fn ask(&mut self, method: &str, path: &str) -> Answer {
        let pair = |(name, value): (&String, &String)| format!("{name}={value}");
        let cookies: Vec<_> = self.cookies.iter().map(pair).collect();
        let headers = [("cookie", cookies.join("; ")), ("accept", "text/html".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = send(method, &self.server.http, path, &headers, Bytes::new());
        let written = answer.headers.get_all(SET_COOKIE).iter();
        self.written = written.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        for cookie in &self.written {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    fn status(&mut self, path: &str) -> u16 {
        self.ask("GET", path).status
    }

    /// Goes to the issuer, where the person agrees. Returns the path to which the issuer redirects.
    fn agree(&mut self, issuer: &Issuer, begin: &str) -> String {
        let begun = self.ask("GET", begin);
        assert_eq!(begun.status, 303, "{:?}", begun.body);
        let page = location(&begun);
        let agreed = get(issuer.address(), page.strip_prefix(&issuer.url).unwrap());
        assert_eq!(agreed.status, 302, "{:?}", agreed.body);
        let back = location(&agreed);
        back.strip_prefix(&format!("http://{}", self.server.http)).unwrap().to_owned()
    }

    /// Signs in and returns the answer to the issuer's redirect.
    fn sign_in(&mut self, issuer: &Issuer) -> Answer {
        let back = self.agree(issuer, "/sign-in");
        self.ask("GET", &back)
    }

    fn session(&mut self) -> (u16, Json) {
        let answer = self.ask("GET", "/api/v1/session");
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }
}

fn location(answer: &Answer) -> String {
    answer.headers[LOCATION].to_str().unwrap().to_owned()
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn a_person_signs_in_by_an_issuer_and_out() {
    let issuer = Issuer::start();
    let (server, _folder) = start(&issuer, &[]);
    let options = server.get("/api/v1/sign-in");
    assert_eq!(options, (200, json!({"issuer": "localhost", "keys": true})));
    let mut jar = Jar::new(&server);
    assert_eq!(jar.status("/api/v1/services"), 401);
    let back = jar.agree(&issuer, "/sign-in?return=%2Flogs%3Fq%3Da%2520b");
    let [ticket] = jar.written.as_slice() else { panic!("{:?}", jar.written) };
    assert!(ticket.starts_with("tidings-sign-in=") && ticket.contains("HttpOnly"), "{ticket}");
    assert!(ticket.contains("SameSite=Lax") && ticket.contains("Max-Age=600"), "{ticket}");
    let done = jar.ask("GET", &back);
    assert_eq!((done.status, location(&done).as_str()), (303, "/logs?q=a%20b"));
    assert_eq!(done.headers["cache-control"], "no-store");
    let session = jar.written[0].clone();
    assert!(session.starts_with("tidings-session=") && session.contains("HttpOnly"), "{session}");
    assert!(session.contains("SameSite=Strict") && session.contains("Max-Age=43200"), "{session}");
    assert!(!jar.cookies.contains_key("tidings-sign-in"), "the ticket is gone");
    let person = json!({
        "keysRequired": true, "name": "ada@example.com", "role": "read", "tenant": "default"
    });
    assert_eq!(jar.session(), (200, person));
    assert_eq!(jar.status("/api/v1/services"), 200);
    assert_eq!(jar.status("/api/v1/keys"), 403, "a reader");
    assert_eq!(jar.ask("POST", "/api/v1/demo").status, 403);

    // The next sign-in sets another cookie and ends the session before it.
    let first = jar.cookies["tidings-session"].clone();
    issuer.set_claims(json!({"groups": ["x", "ops"], "email": null}));
    assert_eq!(jar.sign_in(&issuer).status, 303);
    assert_ne!(jar.cookies["tidings-session"], first);
    let (_, person) = jar.session();
    assert_eq!((&person["name"], &person["role"]), (&json!("person-1"), &json!("admin")));
    assert_eq!(jar.status("/api/v1/keys"), 200);
    let old = format!("tidings-session={first}");
    let with_old = send("GET", &server.http, "/api/v1/services", &[("cookie", &old)], Bytes::new());
    assert_eq!(with_old.status, 401);

    let cookie = format!("tidings-session={}", jar.cookies["tidings-session"]);
    let out = jar.ask("DELETE", "/api/v1/session");
    assert_eq!(out.status, 200);
    let out: Json = serde_json::from_slice(&out.body).unwrap();
    let end = out["endSessionUrl"].as_str().unwrap();
    assert!(end.starts_with(&format!("{}/end?id_token_hint=ey", issuer.url)), "{end}");
    let home = format!("http%3A%2F%2F{}%2F", server.http.replace(':', "%3A"));
    assert!(end.contains(&format!("&post_logout_redirect_uri={home}")), "{end}");
    assert!(jar.cookies.is_empty());
    let after = send("GET", &server.http, "/api/v1/services", &[("cookie", &cookie)], Bytes::new());
    assert_eq!(after.status, 401, "the session has ended, not only its cookie");
}

#[test]
fn a_person_reaches_the_tenant_that_the_claim_names() {
    let issuer = Issuer::start();
    let (server, _folder) = start(&issuer, &["--oidc-tenant-claim", "org"]);
    for tenant in ["alfa", "beta"] {
        let bearer =
            format!("Bearer {}", keys::key(&server, tenant, "admin", &["--tenant", tenant]));
        let headers = [("authorization", bearer.as_str())];
        until(|| send("GET", &server.http, "/api/v1/status", &headers, Bytes::new()).status == 200);
    }
    for claims in [json!({}), json!({"org": "Alfa"}), json!({"org": ["../x", "alfa"]})] {
        issuer.set_claims(claims.clone());
        let mut jar = Jar::new(&server);
        let answer = jar.sign_in(&issuer);
        assert_eq!(answer.status, 403, "{claims}: {}", text(&answer));
        assert!(text(&answer).contains("belongs to no tenant"), "{claims}: {}", text(&answer));
        assert!(!jar.cookies.contains_key("tidings-session"));
    }
    issuer.set_claims(json!({"org": "beta", "groups": ["ops"]}));
    let mut jar = Jar::new(&server);
    assert_eq!(jar.sign_in(&issuer).status, 303);
    let (_, person) = jar.session();
    assert_eq!((&person["role"], &person["tenant"]), (&json!("admin"), &json!("beta")));
    let keys = jar.ask("GET", "/api/v1/keys");
    let keys: Json = serde_json::from_slice(&keys.body).unwrap();
    let names: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["beta"]);
    let cookie = format!("tidings-session={}", jar.cookies["tidings-session"]);
    for (tenant, status) in [("beta", 200), ("alfa", 403), ("default", 403), ("nobody", 403)] {
        let headers = [("cookie", cookie.as_str()), ("x-scope-orgid", tenant)];
        let answer = send("GET", &server.http, "/api/v1/keys", &headers, Bytes::new());
        assert_eq!(answer.status, status, "{tenant}: {}", text(&answer));
    }
}

#[test]
fn a_sign_in_that_this_browser_did_not_begin_is_refused() {
    let issuer = Issuer::start();
    let (server, _folder) = start(&issuer, &[]);
    let (mut jar, mut other) = (Jar::new(&server), Jar::new(&server));
    let back = jar.agree(&issuer, "/sign-in");
    let theirs = other.agree(&issuer, "/sign-in");
    let tokens = issuer.asked("/token");
    assert_eq!(Jar::new(&server).status(&back), 400, "without a ticket");
    let (state_at, code_at) = (back.find("state=").unwrap(), back.find("code=").unwrap());
    assert!(code_at < state_at);
    let wrong = format!("{}state=AAAA", &back[..state_at]);
    let ticket = jar.cookies.clone();
    for link in [theirs.as_str(), &wrong, "/sign-in/callback", &format!("{back}&state=")] {
        jar.cookies = ticket.clone();
        let refused = jar.ask("GET", link);
        assert_eq!(refused.status, 400, "{link}");
        assert!(text(&refused).contains("begun in another browser"), "{}", text(&refused));
        assert!(jar.cookies.is_empty(), "the ticket is gone");
    }
    assert_eq!(issuer.asked("/token"), tokens, "the issuer was not asked");

    // The callback carries errors of the issuer, and forged answers in its name.
    let state = &back[state_at..];
    for (link, status, words) in [
        (
            format!("/sign-in/callback?error=access_denied&error_description=%3Cscript%3E&{state}"),
            403,
            "access_denied &lt;script&gt;",
        ),
        (format!("/sign-in/callback?{state}"), 403, "another issuer"),
        (format!("/sign-in/callback?code=made-up&{state}"), 403, "another issuer"),
    ] {
        jar.cookies = ticket.clone();
        let link = match status {
            403 if words == "another issuer" => link.replace(&issuer.url, "https://other.example"),
            _ => link,
        };
        let refused = jar.ask("GET", &link);
        assert_eq!(refused.status, status, "{link}");
        assert!(text(&refused).contains(words), "{}", text(&refused));
    }
    jar.cookies = ticket.clone();
    let refused = jar.ask("GET", &format!("/sign-in/callback?code=made-up&{state}"));
    assert_eq!(refused.status, 403, "{}", text(&refused));
    assert!(text(&refused).contains("invalid_grant &lt;b&gt;no"), "{}", text(&refused));

    // A code is valid once, even with the same ticket.
    jar.cookies = ticket.clone();
    assert_eq!(jar.ask("GET", &back).status, 303);
    jar.cookies = ticket;
    let replayed = jar.ask("GET", &back);
    assert_eq!(replayed.status, 403);
    assert!(text(&replayed).contains("invalid_grant"), "{}", text(&replayed));
    assert!(jar.cookies.is_empty());
    let plain = send("GET", &server.http, &back, &[], Bytes::new());
    let problem: Json = serde_json::from_slice(&plain.body).unwrap();
    assert_eq!(problem["type"], "/problems/sign-in-refused");
}

#[test]
fn a_token_that_is_not_good_signs_nobody_in() {
    let issuer = Issuer::start();
    let (server, _folder) = start(&issuer, &[]);
    let refused = |claims: Json, words: &str| {
        issuer.set_claims(claims.clone());
        let mut jar = Jar::new(&server);
        let answer = jar.sign_in(&issuer);
        assert_eq!(answer.status, 403, "{claims}: {}", text(&answer));
        assert!(text(&answer).contains(words), "{claims}: {}", text(&answer));
        assert!(!jar.cookies.contains_key("tidings-session"));
    };
    refused(json!({"nonce": "another"}), "(nonce)");
    refused(json!({"nonce": null}), "(nonce)");
    refused(json!({"aud": "somebody-else"}), "(aud)");
    refused(json!({"aud": [CLIENT, "other"], "azp": "other"}), "(aud)");
    refused(json!({"iss": "https://other.example"}), "(iss)");
    refused(json!({"exp": now() - 31}), "(exp)");
    refused(json!({"exp": null}), "`exp`");
    refused(json!({"nbf": now() + 60}), "(nbf)");
    refused(json!({"sub": null}), "`sub`");
    refused(json!({"groups": ["Dev", "admin"]}), "no role");
    refused(json!({"groups": null}), "no role");
    refused(json!({"groups": "send"}), "needs one that may read");
    let forgeries: [(TokenMaker, &str); 4] = [
        (SigningKey::unsigned, "(alg)"),
        (SigningKey::sign_with_public, "(alg)"),
        (|key, claims| SigningKey::new(&key.name).sign(claims), "signature is wrong"),
        (|_, _| "no token".to_owned(), "no two dots"),
    ];
    for (forge, words) in forgeries {
        issuer.forge(Some(forge));
        refused(json!({}), words);
    }
    issuer.forge(None);
    issuer.set_claims(json!({}));
    assert_eq!(Jar::new(&server).sign_in(&issuer).status, 303);
    // The server reads a new key when the first token with it arrives.
    issuer.rotate("second");
    assert_eq!(Jar::new(&server).sign_in(&issuer).status, 303);
}

#[test]
fn nobody_is_sent_to_another_site() {
    let issuer = Issuer::start();
    let (server, _folder) = start(&issuer, &[]);
    for path in [
        "https://evil.example",
        "//evil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "/%0d%0aset-cookie:%20a=b",
        "javascript:alert(1)",
        "/sign-in",
        "",
    ] {
        let mut jar = Jar::new(&server);
        let back = jar.agree(&issuer, &format!("/sign-in?return={path}"));
        assert_eq!(location(&jar.ask("GET", &back)), "/", "{path}");
    }
    // The host of the browser's request must be one of this server's.
    let begun = send("GET", &server.http, "/sign-in", &[("host", "evil.example")], Bytes::new());
    assert_eq!(begun.status, 421);
    // A link on another site may lead here. An image or a frame may not.
    let site = |mode, kind| {
        let headers =
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", kind)];
        send("GET", &server.http, "/sign-in", &headers, Bytes::new()).status
    };
    assert_eq!(site("navigate", "document"), 303);
    assert_eq!(site("no-cors", "image"), 403);
    assert_eq!(site("navigate", "iframe"), 403);
}

#[test]
fn behind_a_proxy_with_tls_the_cookies_are_of_its_host() {
    let issuer = Issuer::start();
    let more = ["--public-url", "https://tidings.example"];
    let (server, _folder) = start(&issuer, &more);
    let by_name = [("host", "tidings.example")];
    let begun = send("GET", &server.http, "/sign-in", &by_name, Bytes::new());
    assert_eq!(begun.status, 303, "the public name is one of this server's");
    let back = "redirect_uri=https%3A%2F%2Ftidings.example%2Fsign-in%2Fcallback";
    assert!(location(&begun).contains(back), "{}", location(&begun));
    let cookie = begun.headers[SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.starts_with("__Host-tidings-sign-in=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let page = location(&begun);
    let agreed = get(issuer.address(), page.strip_prefix(&issuer.url).unwrap());
    let back = location(&agreed).replace("https://tidings.example", "");
    let ticket = [("host", "tidings.example"), ("cookie", cookie.split(';').next().unwrap())];
    let done = send("GET", &server.http, &back, &ticket, Bytes::new());
    assert_eq!(done.status, 303);
    let session = done.headers[SET_COOKIE].to_str().unwrap();
    assert!(
        session.starts_with("__Host-tidings-session=") && session.ends_with("; Secure"),
        "{session}"
    );
    // Another host of the domain can set its own session cookie, but only under the name without
    // the prefix.
    let session = session.split(';').next().unwrap();
    let planted = session.strip_prefix("__Host-").unwrap();
    for (cookie, status) in [(session, 200), (planted, 401)] {
        let headers = [("host", "tidings.example"), ("cookie", cookie)];
        let asked = send("GET", &server.http, "/api/v1/services", &headers, Bytes::new());
        assert_eq!(asked.status, status, "{cookie}");
    }
}

#[test]
fn a_session_goes_on_while_the_issuer_gives_new_tokens() {
    let issuer = Issuer::start();
    let (server, _folder) = start(&issuer, &[]);
    // The expiry is within the leeway, so that each request finds a token that is about to end.
    let short = |groups: &str| json!({"exp": now() - 5, "groups": groups});
    issuer.set_claims(short("dev"));
    let mut jar = Jar::new(&server);
    assert_eq!(jar.sign_in(&issuer).status, 303);
    let asked = issuer.asked("/token");
    issuer.set_claims(json!({}));
    assert_eq!(jar.status("/api/v1/services"), 200);
    assert_eq!(issuer.asked("/token"), asked + 1, "renewed");
    assert_eq!(jar.status("/api/v1/services"), 200);
    assert_eq!(issuer.asked("/token"), asked + 1, "good for five minutes more");

    issuer.set_claims(short("dev"));
    assert_eq!(jar.sign_in(&issuer).status, 303);
    issuer.set_down(true);
    assert_eq!(jar.status("/api/v1/services"), 200, "the token is still good");
    let asked = issuer.asked("/token");
    assert_eq!(jar.status("/api/v1/services"), 200);
    assert_eq!(issuer.asked("/token"), asked, "not asked again at once");
    issuer.set_down(false);

    for (change, words) in
        [(json!({"groups": "ops"}), "another role"), (json!({"sub": "person-2"}), "another person")]
    {
        issuer.set_claims(short("dev"));
        assert_eq!(jar.sign_in(&issuer).status, 303);
        issuer.set_claims(change);
        assert_eq!(jar.status("/api/v1/services"), 401, "{words}");
    }
    issuer.set_claims(short("dev"));
    assert_eq!(jar.sign_in(&issuer).status, 303);
    issuer.forget_refresh_token();
    assert_eq!(jar.status("/api/v1/services"), 401, "the issuer has ended it");
}

#[test]
fn a_server_starts_without_its_issuer() {
    let issuer = Issuer::start();
    issuer.set_down(true);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let made = ["keys", "create", "--data-dir", data, "--name", "me", "--role", "read"];
    let (code, key, error) = Server::command(&made);
    assert_eq!(code, Some(0), "{error}");
    let flags =
        ["--oidc-issuer", &issuer.url, "--oidc-client-id", CLIENT, "--oidc-roles", "*=read"];
    let server = Server::start_as(folder.path(), &flags, &[("TIDINGS_OIDC_CLIENT_SECRET", SECRET)]);
    let bearer = format!("Bearer {}", key.trim());
    let headers = [("authorization", bearer.as_str())];
    let ask = || send("GET", &server.http, "/api/v1/services", &headers, Bytes::new()).status;
    assert_eq!(ask(), 200, "keys count");
    let ready = || send("GET", &server.http, "/ready", &headers, Bytes::new());
    until(|| text(&ready()).contains("tokens and sign-ins may be refused"));
    let stranger = get(&server.http, "/ready");
    assert_eq!((stranger.status, text(&stranger)), (200, "ready\n1 warning; see the log\n".into()));
    let ready = ready();
    assert_eq!(ready.status, 200);
    assert!(text(&ready).contains("answers 503"), "{}", text(&ready));
    assert_eq!(get(&server.http, "/sign-in").status, 503);
    assert_eq!(get(&server.http, "/api/v1/services").status, 401);
    issuer.set_down(false);
    until(|| get(&server.http, "/sign-in").status == 303);
    assert_eq!(text(&get(&server.http, "/ready")), "ready\n");
    let mut jar = Jar::new(&server);
    issuer.set_claims(json!({"groups": null}));
    assert_eq!(jar.sign_in(&issuer).status, 303, "the secret of the variable, the role of anybody");
    assert_eq!(jar.status("/api/v1/services"), 200);
}

#[test]
fn settings_that_do_not_go_together_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    let local = ["--oidc-issuer", "http://127.0.0.1:1", "--oidc-client-id", "a"];
    let with = |more: &[&'static str]| [&local[..], more].concat();
    for (flags, words) in [
        (vec!["--oidc-issuer", "login.example"], "no issuer as"),
        (vec!["--oidc-issuer", "https://login.example"], "needs oidc-client-id"),
        (vec!["--oidc-client-id", "a"], "need oidc-issuer"),
        (vec!["--oidc-audience", "a"], "need oidc-issuer"),
        (vec!["--oidc-issuer", "http://login.example", "--oidc-client-id", "a"], "no TLS"),
        (with(&["--oidc-roles", "ops=root"]), "no role"),
        (with(&["--oidc-roles", ""]), "oidc-roles"),
        (with(&["--public-url", "https://t.example/path"]), "no origin"),
        ([&local[..], &["--oidc-client-secret-file", missing]].concat(), missing),
        ([&local[..], &["--oidc-ca", missing]].concat(), missing),
    ] {
        let serve = ["serve", "--data-dir", data, "--http", "127.0.0.1:0"];
        let (code, _, error) = Server::command(&[&serve, flags.as_slice()].concat());
        assert_eq!(code, Some(78), "{flags:?}: {error}");
        assert!(error.contains(words), "{flags:?}: {error}");
    }
    // A secret cannot be given as a flag, and the refusal does not print it.
    let (code, ..) = Server::command(&["config", "--oidc-client-secret", "a"]);
    assert_eq!(code, Some(2));
}
