//! Access by origin. Pages of origins in the settings may read the API and change nothing. Other
//! origins may not read it. Links on other sites may open the UI's pages, but no route that does
//! work.

use prost::Message;
use serde_json::{Value as Json, json};

use crate::{
    harness::{
        Server,
        http::{Answer, send},
        spans::{span, traces},
    },
    keys::{REQUIRED, key, routes},
};

const ALLOWED: &str = "https://dash.example";

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(method, &server.http, path, headers, "")
}

fn header<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn pages_of_allowed_origins_read_and_all_others_do_not() {
    let server =
        Server::start_with(&["--allow-origins", "http://localhost:3000,https://dash.example"]);
    for path in ["/api/v1/traces", "/api/v1/status", "/prometheus/api/v1/labels"] {
        let answer = ask(&server, "GET", path, &[("origin", ALLOWED)]);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), [ALLOWED]);
        assert!(header(&answer, "vary").contains(&"origin"), "{:?}", answer.headers);
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
    // Pages may read the headers that tell the completeness of an answer and its entity tag.
    let rows = ask(&server, "GET", "/api/v1/sql?query=SELECT%201", &[("origin", ALLOWED)]);
    assert_eq!(header(&rows, "tidings-complete"), ["true"]);
    let exposed = header(&rows, "access-control-expose-headers").join(",");
    for name in ["etag", "retry-after", "tidings-complete", "tidings-incomplete"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {exposed}");
    }
    // A page may read an error answer of the API.
    let wrong = ask(&server, "GET", "/api/v1/traces?limit=x", &[("origin", ALLOWED)]);
    assert_eq!((wrong.status, header(&wrong, "access-control-allow-origin")), (400, vec![ALLOWED]));
    for origin in
        ["https://evil.example", "http://dash.example", "https://dash.example:444", "null"]
    {
        let answer = ask(&server, "GET", "/api/v1/traces", &[("origin", origin)]);
        assert_eq!(answer.status, 403, "{origin}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
    let two = [("origin", ALLOWED), ("origin", "https://evil.example")];
    assert_eq!(ask(&server, "GET", "/api/v1/traces", &two).status, 403);
    let rebound = [("origin", ALLOWED), ("host", "evil.example")];
    assert_eq!(ask(&server, "GET", "/api/v1/traces", &rebound).status, 421);
    // The answer without an origin varies by origin too, so that a cache does not give it to a
    // page.
    let plain = ask(&server, "GET", "/api/v1/traces", &[]);
    assert!(header(&plain, "vary").contains(&"origin"));
}

#[test]
fn preflight_request_allows_reads_only() {
    let server = Server::start_with(&["--allow-origins", ALLOWED]);
    let asks = |origin: &str, method: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "if-none-match"),
        ];
        ask(&server, "OPTIONS", "/api/v1/traces", &headers)
    };
    let answer = asks(ALLOWED, "GET");
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(header(&answer, "access-control-allow-origin"), [ALLOWED]);
    assert_eq!(header(&answer, "access-control-allow-methods"), ["GET, HEAD"]);
    assert!(header(&answer, "access-control-allow-headers")[0].contains("if-none-match"));
    assert!(header(&answer, "vary").contains(&"origin"));
    for (origin, method) in
        [(ALLOWED, "PUT"), (ALLOWED, "DELETE"), (ALLOWED, "POST"), ("https://evil.example", "GET")]
    {
        let answer = asks(origin, method);
        assert_eq!(answer.status, 403, "{origin} {method}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin} {method}");
    }
    let pin = format!("/api/v1/traces/{:032x}/pin", 1);
    for (method, path) in [("PUT", &*pin), ("DELETE", &pin), ("POST", "/api/v1/demo")] {
        assert_eq!(
            ask(&server, method, path, &[("origin", ALLOWED)]).status,
            403,
            "{method} {path}"
        );
    }
}

#[test]
fn without_the_setting_no_other_origin_is_answered() {
    let server = Server::start();
    let answer = ask(&server, "GET", "/api/v1/traces", &[("origin", ALLOWED)]);
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

/// Headers of a browser's request from a page of another site.
fn from_another_site(mode: &'static str, dest: &'static str) -> [(&'static str, &'static str); 3] {
    [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]
}

#[test]
fn links_of_other_sites_lead_to_pages_and_to_nothing_that_does_work() {
    let server = Server::start_with(&["--allow-origins", ALLOWED]);
    let link = from_another_site("navigate", "document");
    let same_site = [("sec-fetch-site", "same-site"), link[1], link[2]];
    let page = format!("/trace/{:032x}?span=1", 1);
    for path in ["/", "/explore?service=shop", &page] {
        assert_eq!(ask(&server, "GET", path, &link).status, 200, "{path}");
        assert_eq!(ask(&server, "GET", path, &same_site).status, 200, "{path}");
        for other in ["iframe", "image", "script", "object", "empty"] {
            let headers = from_another_site("navigate", other);
            assert_eq!(ask(&server, "GET", path, &headers).status, 403, "{path} {other}");
        }
        let no_cors = from_another_site("no-cors", "document");
        assert_eq!(ask(&server, "GET", path, &no_cors).status, 403, "{path}");
    }
    for path in [
        "/api/v1/sql?query=SELECT%201",
        "/api/v1/traces",
        "/api/v1/status",
        "/api/v1/nothing",
        "/jaeger/api/services",
        "/prometheus/api/v1/labels",
        "/tempo/api/search",
        "/ready",
    ] {
        for headers in [link, same_site, from_another_site("no-cors", "image")] {
            let answer = ask(&server, "GET", path, &headers);
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
        // Requests of the server's own page, of a typed address and of allowed pages are not
        // refused.
        for site in ["same-origin", "none"] {
            let answer = ask(&server, "GET", path, &[("sec-fetch-site", site)]);
            assert_ne!(answer.status, 403, "{path} {site}");
        }
        let allowed = [("origin", ALLOWED), link[0], ("sec-fetch-mode", "cors")];
        assert_ne!(ask(&server, "GET", path, &allowed).status, 403, "{path}");
    }
}

#[test]
fn a_browser_changes_something_only_from_pages_of_this_server_with_their_mark() {
    let server = Server::start();
    let path = format!("/api/v1/traces/{:032x}/pin", 1);
    let own = format!("http://{}", server.http);
    let unpin = |headers: &[(&str, &str)]| ask(&server, "DELETE", &path, headers).status;
    let (origin, site) = (("origin", own.as_str()), ("sec-fetch-site", "same-origin"));
    let mark = ("tidings-request", "ui");
    // Status 404 shows that the request reached the pins, where this one does not exist.
    for taken in [
        &[][..],
        &[mark],
        &[("content-type", "text/plain")],
        &[origin, site, mark],
        &[origin, mark],
        &[origin, site, ("content-type", "application/json; charset=utf-8")],
    ] {
        assert_eq!(unpin(taken), 404, "{taken:?}");
    }
    for refused in [
        &[origin, site][..],
        &[origin],
        &[site],
        &[origin, site, ("content-type", "text/plain")],
        &[origin, site, ("content-type", "application/x-www-form-urlencoded")],
        &[origin, ("sec-fetch-site", "none"), mark],
        &[("sec-fetch-site", "cross-site"), mark],
        &[("origin", "null"), mark],
    ] {
        assert_eq!(unpin(refused), 403, "{refused:?}");
    }
}

/// Begins a browser session of a key and returns its cookie.
fn session(server: &Server, key: &str) -> String {
    let body = json!({ "key": key }).to_string();
    let headers = [("content-type", "application/json")];
    let begun = send("POST", &server.http, "/api/v1/session", &headers, body);
    assert_eq!(begun.status, 200);
    begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// Returns a body with which a route of the native API would change something.
fn changing_body(path: &str, key: &str) -> String {
    let body = match path {
        "/api/v1/keys" => json!({"name": "back-door", "role": "admin"}),
        "/api/v1/erasures" => json!({"traceId": format!("{:032x}", 7)}),
        "/api/v1/session" => json!({ "key": key }),
        "/api/v1/sql" => json!({"query": "SELECT 1"}),
        _ => json!({}),
    };
    body.to_string()
}

#[test]
fn no_route_changes_anything_for_a_browser_without_the_mark() {
    let server = Server::start_with(&REQUIRED);
    let [admin, other] = ["admin", "other"].map(|name| key(&server, name, "admin", &[]));
    let body = traces("shop", vec![span(7, 1, 0, "GET /")]).encode_to_vec();
    let headers = [("x-api-key", admin.as_str()), ("content-type", "application/x-protobuf")];
    assert_eq!(send("POST", &server.otlp_http, "/v1/traces", &headers, body).status, 200);
    let trace = format!("/api/v1/traces/{:032x}", 7);
    let by_key = |method: &str, path: &str| ask(&server, method, path, &[("x-api-key", &admin)]);
    assert_eq!(by_key("PUT", &format!("{trace}/pin")).status, 201);
    let state = || {
        let paths = ["/api/v1/pins", "/api/v1/erasures", &trace, "/api/v1/audit?outcome=success"];
        let keys: Json = serde_json::from_slice(&by_key("GET", "/api/v1/keys").body).unwrap();
        let names = keys["keys"].as_array().unwrap().iter().map(|key| key["name"].to_string());
        let texts = paths.map(|path| by_key("GET", path)).map(|answer| answer.body);
        (names.collect::<Vec<_>>(), texts.map(|text| String::from_utf8(text.to_vec()).unwrap()))
    };
    // Path parameters get the ids of existing resources.
    let id = other.split('_').nth(1).unwrap();
    let real = |path: &str| match path.strip_prefix("/api/v1/traces/0123abcd") {
        Some(rest) => format!("{trace}{rest}"),
        None => path.replace("0123abcd", id),
    };
    let changes = routes(&server, &admin).into_iter();
    let changes = changes.filter(|(method, path)| method != "GET" && path.starts_with("/api/v1/"));
    let changes: Vec<_> = changes.map(|(method, path)| (method, real(&path))).collect();
    for wanted in ["keys", "session", "erasures", "demo", "pin", "sessions"] {
        assert!(changes.iter().any(|(_, path)| path.ends_with(wanted)), "{wanted}: {changes:?}");
    }
    let own = format!("http://{}", server.http);
    let browser = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    let asked = |method: &str, path: &str, cookie: &str, more: &[(&str, &str)]| {
        let headers = [&browser[..], &[("cookie", cookie)], more].concat();
        send(method, &server.http, path, &headers, changing_body(path, &other)).status
    };
    let (before, cookie) = (state(), session(&server, &admin));
    let before = (before.0, [&before.1[..3], &state().1[3..]].concat());
    for (method, path) in &changes {
        for form in [&[][..], &[("content-type", "text/plain")]] {
            assert_eq!(asked(method, path, &cookie, form), 403, "{method} {path} {form:?}");
        }
    }
    let after = state();
    assert_eq!((after.0, after.1.to_vec()), before);
    assert_eq!(ask(&server, "GET", "/api/v1/keys", &[("cookie", &cookie)]).status, 200);
    // The same requests are allowed with the mark, so its absence caused the refusal.
    for (method, path) in &changes {
        let cookie = session(&server, &admin);
        let status = asked(method, path, &cookie, &[("tidings-request", "ui")]);
        assert_ne!(status, 403, "{method} {path}");
    }
}

#[test]
fn receivers_take_nothing_from_pages_of_other_sites() {
    let server = Server::start();
    let json = ("content-type", "application/json");
    for site in ["cross-site", "same-site"] {
        let headers = [json, ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")];
        let traces = send("POST", &server.otlp_http, "/v1/traces", &headers, "{}");
        let spans = send("POST", &server.zipkin, "/api/v2/spans", &headers, "[]");
        let question = send("GET", &server.zipkin, "/api/v2/services", &headers[1..], "");
        assert_eq!([traces, spans, question].map(|answer| answer.status), [403; 3], "{site}");
    }
    // Zipkin reads any content type as JSON, but not from a browser, because a form needs no
    // preflight request.
    let form = [("content-type", "text/plain"), ("sec-fetch-site", "same-origin")];
    assert_eq!(send("POST", &server.zipkin, "/api/v2/spans", &form, "[]").status, 415);
    assert_eq!(send("POST", &server.zipkin, "/api/v2/spans", &form[..1], "[]").status, 202);
}

#[test]
fn the_status_says_whether_nothing_checks_who_asks() {
    assert_eq!(Server::start().get("/api/v1/status").1["insecure"], false);
    let insecure = Server::start_with(&["--insecure", "true"]);
    assert_eq!(insecure.get("/api/v1/status").1["insecure"], true);
}
