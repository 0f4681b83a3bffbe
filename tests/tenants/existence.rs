//! Ids of another tenant: an answer to one is that to an id which nobody has, and takes as long.
//!
//! Both answers are asked for in turns. Where they take as long, each is the slower one in about half
//! of the rounds, whatever else the machine does; a steady difference of a few microseconds makes one
//! of them the slower in nearly all.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Tenant, TwoTenants, ask_as, json as json_of,
    requests::{Field, HTTP, RPC, Story, ZIPKIN},
    steady, text,
};

/// Even, for the order changes from one round to the next.
const ROUNDS: usize = 120;
/// Rounds in which either of two equal answers may be the slower: 60, and more than five standard
/// deviations on both sides.
const EVEN: RangeInclusive<usize> = 30..=90;

/// Names in a request that stand for an id.
const IDS: [&str; 3] = ["TRACE", "LOG", "order-WORD"];

/// A request with an id in it.
#[derive(Debug, Clone, Copy)]
enum IdRequest {
    /// A method, a path of the HTTP address, and the role that may send it.
    Http(&'static str, &'static str, usize),
    /// A path of Zipkin's address.
    Zipkin(&'static str),
    Rpc(&'static str, &'static [Field]),
}

impl IdRequest {
    /// The answer to the id of a story, which is taken out of it.
    fn answer(self, both: &TwoTenants, story: &Story, asker: &Tenant) -> String {
        let http = |method, address: &str, path: &'static str, role: usize| {
            // What has no id in it names a tenant.
            let named = (!path.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(story.word);
            let key = &asker.keys[role];
            let answer = ask_as(method, address, &story.tell(path), key, named, None);
            let body = steady(&String::from_utf8_lossy(&answer.body));
            format!("{} {:?} {body}", answer.status, answer.headers.get("content-type"))
        };
        let told = match self {
            Self::Http(method, path, role) => http(method, &both.server.http, path, role),
            Self::Zipkin(path) => http("GET", &both.server.zipkin, path, 1),
            Self::Rpc(method, fields) => {
                let answer = both.rpc((method, fields), story, asker.reader());
                let body = String::from_utf8_lossy(&answer.body);
                format!("{:?} {} {body}", answer.code, answer.message)
            }
        };
        story.forget(told.as_bytes())
    }
}

/// Every request that reads by an id.
fn reads() -> impl Iterator<Item = IdRequest> {
    let has_id =
        |path: &&&str| !path.contains("PAGE-OF-") && IDS.iter().any(|id| path.contains(id));
    let http = HTTP.iter().filter(has_id).map(|path| IdRequest::Http("GET", path, 1));
    let zipkin = ZIPKIN.iter().filter(has_id).map(|path| IdRequest::Zipkin(path));
    let (one, other) = (Story::new("alfa", 'a'), Story::new("alfa", 'b'));
    // There is no archive for any id.
    let calls = RPC.iter().filter(move |(method, fields)| {
        !method.ends_with("/ArchiveTrace") && one.message(fields) != other.message(fields)
    });
    http.chain(zipkin).chain(calls.map(|(method, fields)| IdRequest::Rpc(method, fields)))
}

/// The number of rounds in which the first story's answer took longer, and the middle times.
fn compare(ask: impl Fn(&Story) -> String, stories: [&Story; 2]) -> (usize, [Duration; 2]) {
    let (mut slower, mut times) = (0, [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let mut took = [Duration::ZERO; 2];
        for which in [round % 2, 1 - round % 2] {
            let begun = Instant::now();
            ask(stories[which]);
            took[which] = begun.elapsed();
            times[which].push(took[which]);
        }
        slower += usize::from(took[0] > took[1]);
    }
    let middle = times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2]
    });
    (slower, middle)
}

#[test]
fn existence_in_another_tenant_is_told_by_no_answer_and_takes_no_time() {
    let both = TwoTenants::start(&[]);
    let (alfa, none) = (&both.alfa, Story::new("nada", 'c'));
    let attribute = json!({"attribute": {"key": "of.nothing", "value": "nothing"}});
    let address = &both.server.http;
    let begun = ask_as("POST", address, "/api/v1/erasures", alfa.admin(), None, Some(&attribute));
    let erasure =
        json_of(&begun)["id"].as_str().unwrap_or_else(|| panic!("{}", text(&begun))).to_owned();
    let key_id = alfa.sender().split('_').nth(1).unwrap().to_owned();
    let stories = || [alfa.story.clone(), none.clone()];
    let of_id = |id: &str, none_id: &str| {
        let [mut found, mut none] = stories();
        (found.log, none.log) = (id.to_owned(), none_id.to_owned());
        [found, none]
    };
    let mut requests: Vec<_> = reads().map(|request| (request, stories())).collect();
    assert!(requests.len() > 25, "{requests:?}");
    // The key is revoked at last, by its own tenant.
    requests.extend([
        (IdRequest::Http("GET", "/api/v1/erasures/LOG", 2), of_id(&erasure, "1234567890123456789")),
        (IdRequest::Http("GET", "/api/v1/services", 1), stories()),
        (IdRequest::Http("PUT", "/api/v1/traces/TRACE/pin", 2), stories()),
        (IdRequest::Http("DELETE", "/api/v1/keys/LOG", 2), of_id(&key_id, "01234567")),
    ]);
    for (request, [found, none]) in &requests {
        let ask = |story: &Story| request.answer(&both, story, &both.beta);
        assert_eq!(ask(found), ask(none), "{request:?}");
        let (slower, [found_time, none_time]) = compare(ask, [found, none]);
        println!("{request:?}: {found_time:?}, none {none_time:?}, slower in {slower} of {ROUNDS}");
        assert!(EVEN.contains(&slower), "{request:?}: slower in {slower} of {ROUNDS} rounds");
    }
    // What these rounds tell where there is a difference.
    let own = |story: &Story| {
        IdRequest::Http("GET", "/api/v1/traces/TRACE", 1).answer(&both, story, alfa)
    };
    let (slower, times) = compare(own, [&alfa.story, &none]);
    assert!(slower > *EVEN.end(), "{slower} of {ROUNDS} rounds, {times:?}");
    for (request, [found, none]) in requests {
        let (own, other) =
            (request.answer(&both, &found, alfa), request.answer(&both, &none, alfa));
        assert_ne!(own, other, "{request:?}");
    }
}
