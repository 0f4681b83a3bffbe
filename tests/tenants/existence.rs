//! An id of another tenant gets the same answer as an id that does not exist, in the same time.
//!
//! The test alternates between both requests. When both take equally long, each is slower in about
//! half of the rounds, regardless of other load on the machine. A steady difference of a few
//! microseconds makes one slower in nearly all rounds.

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

/// Number of rounds. It is even, because the order alternates.
const ROUNDS: usize = 120;
/// Rounds in which one of two equally slow answers may be slower: 60, and more than five standard
/// deviations on both sides.
const EVEN: RangeInclusive<usize> = 30..=90;

/// Placeholders for ids in a request.
const IDS: [&str; 3] = ["TRACE", "LOG", "order-WORD"];

/// A request with an id in it.
#[derive(Debug, Clone, Copy)]
enum IdRequest {
    /// A method, a path on the HTTP address, and the index of the role that may send it.
    Http(&'static str, &'static str, usize),
    /// A path on Zipkin's address.
    Zipkin(&'static str),
    Rpc(&'static str, &'static [Field]),
}

impl IdRequest {
    /// Returns the answer for the ids of a story, with these ids removed from it.
    fn answer(self, both: &TwoTenants, story: &Story, asker: &Tenant) -> String {
        let http = |method, address: &str, path: &'static str, role: usize| {
            // A path without an id names the tenant in a header instead.
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

/// Returns every request that reads by an id.
fn reads() -> impl Iterator<Item = IdRequest> {
    let has_id =
        |path: &&&str| !path.contains("PAGE-OF-") && IDS.iter().any(|id| path.contains(id));
    let http = HTTP.iter().filter(has_id).map(|path| IdRequest::Http("GET", path, 1));
    let zipkin = ZIPKIN.iter().filter(has_id).map(|path| IdRequest::Zipkin(path));
    let (one, other) = (Story::new("alfa", 'a'), Story::new("alfa", 'b'));
    // No trace can be archived, so `ArchiveTrace` answers every id alike.
    let calls = RPC.iter().filter(move |(method, fields)| {
        !method.ends_with("/ArchiveTrace") && one.message(fields) != other.message(fields)
    });
    http.chain(zipkin).chain(calls.map(|(method, fields)| IdRequest::Rpc(method, fields)))
}

/// Returns the number of rounds in which the first story's answer was slower, and the median times.
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
fn answers_and_their_times_hide_what_exists_in_another_tenant() {
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
    // The revocation of the key is last, since the key's own tenant revokes it in the end.
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
    // A control measurement shows that the rounds detect a real difference.
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
