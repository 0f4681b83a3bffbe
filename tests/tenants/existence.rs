//! Ids of another tenant: an answer to one is that to an id which nobody has, and takes as long.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Tenant, TwoTenants, ask_as, json as json_of, requests::Story, steady, text};
use crate::harness::http::Answer;

/// The middle one of some times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn existence_in_another_tenant_is_told_by_no_answer_and_takes_no_time() {
    const ROUNDS: usize = 101;
    let both = TwoTenants::start(&[]);
    let (alfa, none) = (&both.alfa, Story::new("nada", 'c'));
    let attribute = json!({"attribute": {"key": "of.nothing", "value": "nothing"}});
    let address = &both.server.http;
    let begun = ask_as("POST", address, "/api/v1/erasures", alfa.admin(), None, Some(&attribute));
    let erasure =
        json_of(&begun)["id"].as_str().unwrap_or_else(|| panic!("{}", text(&begun))).to_owned();
    let key_id = alfa.sender().split('_').nth(1).unwrap().to_owned();
    let ids = |found: &str, none: &str| [found.to_owned(), none.to_owned()];
    let trace = || ids(&alfa.story.trace, &none.trace);
    // The key is revoked at last, by its own tenant.
    for (method, path, role, [found_id, no_id]) in [
        ("GET", "/api/v1/traces/ID", 1, trace()),
        ("GET", "/api/v1/resolve?text=ID", 1, trace()),
        ("GET", "/api/v1/logs/ID/context", 1, ids(&alfa.story.log, &none.log)),
        ("GET", "/api/v1/erasures/ID", 2, ids(&erasure, "1234567890123456789")),
        ("GET", "/api/v1/services", 1, ids("alfa", "nada")),
        ("PUT", "/api/v1/traces/ID/pin", 2, trace()),
        ("DELETE", "/api/v1/keys/ID", 2, ids(&key_id, "01234567")),
    ] {
        // An id that is not in the path is a tenant's name.
        let ask = |id: &str, tenant: &Tenant| {
            let named = (!path.contains("ID")).then_some(id);
            ask_as(method, address, &path.replace("ID", id), &tenant.keys[role], named, None)
        };
        let told = |answer: &Answer, id: &str| {
            let body = String::from_utf8_lossy(&answer.body).replace(id, "ID");
            (answer.status, answer.headers.get("content-type").cloned(), steady(&body))
        };
        let time = |id: &str| {
            let begun = Instant::now();
            let answer = ask(id, &both.beta);
            (begun.elapsed(), told(&answer, id))
        };
        let (mut found_times, mut no_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let ((found_time, found), (no_time, none)) = (time(&found_id), time(&no_id));
            assert_eq!(found, none, "{method} {path}");
            found_times.push(found_time);
            no_times.push(no_time);
        }
        let (found, none) = (median(found_times), median(no_times));
        println!("{method} {path}: {found:?} for another tenant's id, {none:?} for none");
        assert!(found < none * 2 && none < found * 2, "{method} {path}: {found:?} and {none:?}");
        let own = ask(&found_id, alfa);
        assert!(own.status < 300, "{method} {path}: {}", text(&own));
        assert_ne!(told(&own, &found_id), time(&no_id).1, "{method} {path}");
    }
}
