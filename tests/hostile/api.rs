//! Invalid API requests. Each must get a problem document that names the parameter.

use crate::harness::{Server, http};

/// A path with its parameters, the expected status, and the parameter that the problem must name.
type Case = (&'static str, u16, Option<&'static str>);

const ID: &str = "5b8efff798038103d269b633813fc60c";

const CASES: &[Case] = &[
    ("/api/v1/traces/xyz", 400, Some("traceId")),
    ("/api/v1/traces/123", 400, Some("traceId")),
    ("/api/v1/traces/00000000000000000000000000000000", 400, Some("traceId")),
    (
        "/api/v1/traces/5b8efff798038103d269b633813fc60c5b8efff798038103d269b633813fc60c",
        400,
        Some("traceId"),
    ),
    ("/api/v1/traces/5b8efff798038103d269b633813fc60c", 404, None),
    ("/api/v1/traces/5b8efff798038103d269b633813fc60c/skeleton", 404, None),
    ("/api/v1/traces/5b8efff798038103d269b633813fc60c/otlp", 404, None),
    ("/api/v1/traces/5b8efff798038103d269b633813fc60c/nothing", 404, None),
    ("/api/v1/traces/5b8efff798038103d269b633813fc60c/spans/zz", 400, Some("spanId")),
    ("/api/v1/traces/5b8efff798038103d269b633813fc60c/spans/eee19b7ec3c1b174", 404, None),
    ("/api/v1/traces?limit=0", 400, Some("limit")),
    ("/api/v1/traces?limit=-1", 400, Some("limit")),
    ("/api/v1/traces?limit=1001", 400, Some("limit")),
    ("/api/v1/traces?limit=99999999999999999999", 400, Some("limit")),
    ("/api/v1/traces?limit=NaN", 400, Some("limit")),
    ("/api/v1/traces?limit=1&limit=2", 400, Some("limit")),
    ("/api/v1/traces?status=bad", 400, Some("status")),
    ("/api/v1/traces?kind=bad", 400, Some("kind")),
    ("/api/v1/traces?minDuration=fast", 400, Some("minDuration")),
    ("/api/v1/traces?minDuration=-1ms", 400, Some("minDuration")),
    ("/api/v1/traces?minDuration=1e400s", 400, Some("minDuration")),
    ("/api/v1/traces?maxDuration=99999999999999999999h", 400, Some("maxDuration")),
    ("/api/v1/traces?start=yesterday", 400, Some("start")),
    ("/api/v1/traces?end=-5", 400, Some("end")),
    ("/api/v1/traces?start=2026-13-40T00:00:00Z", 400, Some("start")),
    ("/api/v1/traces?cursor=garbage", 400, Some("cursor")),
    ("/api/v1/traces?cursor=%00%ff", 400, Some("cursor")),
    ("/api/v1/traces?attribute=%3Dvalue", 400, Some("attribute")),
    ("/api/v1/traces?nothing=1", 400, Some("nothing")),
    ("/api/v1/traces?Service=x", 400, Some("Service")),
    ("/api/v1/logs?limit=0", 400, Some("limit")),
    ("/api/v1/logs?limit=1001", 400, Some("limit")),
    ("/api/v1/logs?traceId=xyz", 400, Some("traceId")),
    ("/api/v1/logs?spanId=xyz", 400, Some("spanId")),
    ("/api/v1/logs?severity=loud", 400, Some("severity")),
    ("/api/v1/logs?severity=99", 400, Some("severity")),
    ("/api/v1/logs?start=x", 400, Some("start")),
    ("/api/v1/logs?cursor=x", 400, Some("cursor")),
    ("/api/v1/logs?order=random", 400, Some("order")),
    ("/api/v1/logs?q=%28", 400, Some("q")),
    ("/api/v1/logs/stats?q=severity%3Aloud", 400, Some("q")),
    ("/api/v1/logs/stats?limit=0", 400, Some("limit")),
    ("/api/v1/logs?nothing=1", 400, Some("nothing")),
    ("/api/v1/operations?nothing=1", 400, Some("nothing")),
    ("/api/v1/services?limit=0", 400, Some("limit")),
    ("/api/v1/attributes/values", 400, Some("key")),
    ("/api/v1/attributes/keys?nothing=1", 400, Some("nothing")),
    ("/api/v1/names", 400, Some("text")),
    ("/api/v1/names?text=x&limit=101", 400, Some("limit")),
    ("/api/v1/resolve", 400, Some("text")),
    ("/api/v1/resolve?nothing=1", 400, Some("nothing")),
    ("/api/v1/transactions/no-such-transaction", 404, None),
    ("/api/v1/nothing", 404, None),
    ("/api/v2/traces", 404, None),
];

/// Sends all requests and returns their number.
pub(super) fn check(server: &Server) -> usize {
    let wrong: Vec<_> = CASES.iter().filter_map(|case| told_otherwise(server, case)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut count = CASES.len();
    for path in ["/api/v1/traces", "/api/v1/logs", "/api/v1/services", "/api/v1/resolve"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = http::send(method, &server.http, path, &[], "");
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(
                answer.headers["content-type"]
                    .to_str()
                    .unwrap()
                    .starts_with("application/problem+json")
            );
            count += 1;
        }
    }
    // One name is as long as a request head allows, and the other one is longer.
    let long = "x".repeat(8 << 10);
    let answer = http::get(&server.http, &format!("/api/v1/traces/{ID}?{long}=1"));
    assert_eq!(answer.status, 400);
    let long = "x".repeat(64 << 10);
    let headers = [("x-long", long.as_str())];
    let answer = http::try_send("GET", &server.http, "/api/v1/status", &headers, "");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 431));
    count + 2
}

/// Returns the API's answer if it differs from what the case expects.
fn told_otherwise(server: &Server, (path, wanted, parameter): &Case) -> Option<String> {
    let (status, problem) = server.get(path);
    let explained = !path.starts_with("/api/v1")
        || problem["status"] == *wanted
            && problem["detail"].as_str().is_some_and(|detail| !detail.is_empty())
            && problem["parameter"].as_str() == *parameter;
    (status != *wanted || !explained).then(|| format!("{path}: {status} {problem}"))
}
