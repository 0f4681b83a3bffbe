//! A tenant whose clients send far more requests than their limits allow. They are told when to
//! retry. The clients of another tenant get every answer as fast as before.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use prost::Message;

use super::bearer;
use crate::{
    harness::{
        AtEnd, Server,
        http::{Answer, send},
        spans::{span, traces},
    },
    keys::{REQUIRED, key},
};

/// Rate limit of each key of the noisy tenant, in requests a second.
const RATE: u64 = 5;
/// Number of requests that a limit admits at once.
const BURST: u64 = 10 * RATE;
/// Minimum number of refused requests of a key for each one that its limit admits in a second.
const EXCESS: u64 = 20;
const LENGTH: Duration = Duration::from_secs(4);
/// Pause between two requests of the quiet tenant.
const PAUSE: Duration = Duration::from_millis(40);
/// Maximum factor by which the 95th percentile of answer times may grow.
const SLOWER_MAX: u32 = 2;
/// Time below which the growth is ignored, because the clients share the processors.
const NOISE: Duration = Duration::from_millis(500);

/// A client with its key and the kind of its requests.
struct Client {
    bearer: String,
    sends: bool,
}

impl Client {
    fn new(server: &Server, tenant: &str, sends: bool, limit: &[&str]) -> Self {
        let role = if sends { "ingest" } else { "read" };
        let flags = [&["--tenant", tenant], limit].concat();
        let bearer = bearer(&key(server, &format!("{tenant}-{role}"), role, &flags));
        Self { bearer, sends }
    }

    fn ask(&self, server: &Server, number: u64) -> Answer {
        let key = ("authorization", self.bearer.as_str());
        if !self.sends {
            return send("GET", &server.http, "/api/v1/services", &[key], "");
        }
        let body = traces("shop", vec![span(7, number + 1, 0, "GET /cart")]).encode_to_vec();
        let headers = [key, ("content-type", "application/x-protobuf")];
        send("POST", &server.otlp_http, "/v1/traces", &headers, body)
    }

    /// Sends the next request at once, regardless of the answer. Returns the counts of answers by
    /// status.
    fn hammer(&self, server: &Server, done: &AtomicBool) -> BTreeMap<u16, u64> {
        let mut statuses = BTreeMap::new();
        for number in 0.. {
            if done.load(Relaxed) {
                break;
            }
            let answer = self.ask(server, number);
            *statuses.entry(answer.status).or_default() += 1;
            if answer.status == 429 {
                let seconds = answer.headers["retry-after"].to_str().unwrap();
                assert!((1..=60).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");
            }
        }
        statuses
    }

    /// Sends requests at intervals and checks that each succeeds. Returns the 95th percentile of
    /// the times.
    fn ask_steadily(&self, server: &Server, from: u64) -> Duration {
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < LENGTH {
            let asked = Instant::now();
            let answer = self.ask(server, from + times.len() as u64);
            times.push(asked.elapsed());
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            thread::sleep(PAUSE);
        }
        times.sort_unstable();
        times[times.len() * 95 / 100]
    }
}

/// Ends the hammering clients when it is dropped, also by a panic.
#[test]
fn tenant_far_above_its_limits_is_throttled_without_effect_on_another() {
    let server = Server::start_with(&REQUIRED);
    let rate = RATE.to_string();
    let limit = ["--requests-per-second", rate.as_str()];
    let noisy = [true, false].map(|sends| Client::new(&server, "alfa", sends, &limit));
    // Each quiet client uses about a tenth of its limit.
    let limit = ["--requests-per-second", "250"];
    let quiet = [true, false].map(|sends| Client::new(&server, "beta", sends, &limit));
    let ask_steadily = |from| {
        thread::scope(|scope| {
            let server = &server;
            let asking = quiet
                .each_ref()
                .map(|client| scope.spawn(move || client.ask_steadily(server, from)));
            asking.map(|asking| asking.join().unwrap())
        })
    };
    let before = ask_steadily(0);
    let (done, begin) = (AtomicBool::new(false), Instant::now());
    let (meanwhile, hammered) = thread::scope(|scope| {
        let (server, done) = (&server, &done);
        let hammers =
            noisy.each_ref().map(|client| scope.spawn(move || client.hammer(server, done)));
        let end = AtEnd(done);
        let meanwhile = ask_steadily(1 << 20);
        drop(end);
        (meanwhile, hammers.map(|hammer| hammer.join().unwrap()))
    });
    let limit = RATE * (begin.elapsed().as_secs() + 1);
    println!("noisy: {hammered:?}; quiet: {before:?} before, {meanwhile:?} meanwhile");
    for statuses in &hammered {
        let of = |status: u16| statuses.get(&status).copied().unwrap_or_default();
        assert!(statuses.keys().all(|status| [200, 429].contains(status)), "{statuses:?}");
        assert!(of(429) >= EXCESS * RATE, "{statuses:?} is no excess");
        assert!((1..=BURST + limit).contains(&of(200)), "{statuses:?}");
    }
    for (before, meanwhile) in before.into_iter().zip(meanwhile) {
        assert!(meanwhile <= (before * SLOWER_MAX).max(NOISE), "{before:?} became {meanwhile:?}");
    }
}
