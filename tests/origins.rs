//! Pages of origins that the settings name read the API; they change nothing, and others do not
//! read.

use crate::harness::{
    Server,
    http::{Answer, send},
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
    // What is said beside an answer: whether it has all rows, and its name.
    let rows = ask(&server, "GET", "/api/v1/sql?query=SELECT%201", &[("origin", ALLOWED)]);
    assert_eq!(header(&rows, "tidings-complete"), ["true"]);
    let exposed = header(&rows, "access-control-expose-headers").join(",");
    for name in ["etag", "retry-after", "tidings-complete", "tidings-incomplete"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {exposed}");
    }
    // A refusal of the API's is an answer that the page may read.
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
    // A cache must not give a page what was answered without an origin.
    let plain = ask(&server, "GET", "/api/v1/traces", &[]);
    assert!(header(&plain, "vary").contains(&"origin"));
}

#[test]
fn a_browser_that_asks_first_is_told_that_pages_may_read_and_nothing_else() {
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
