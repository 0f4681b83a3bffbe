//! Slow searches in a real Chromium. Known rows are drawn before the answer is complete, and the
//! reader may stop the search.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use tidings_proto::otlp::{KeyValue, Span};

use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{now, span, traces},
};

/// Number of requests, each with this many spans.
const REQUESTS: u64 = 200;
const SPANS: u64 = 1_000;
/// Time between two spans. All of them began in the last 50 minutes.
const APART_NANOS: u64 = 15_000_000;
/// Attributes of a span that a search has to read.
const ATTRIBUTES: u64 = 40;
/// Number of requests, the newest ones, with one matching span each.
const WANTED: u64 = 3;

/// Sends spans with `a=1` or `b=1`, and a few with both. Every range of rows has both values, so
/// that no index can find the few. A search for them reads all rows.
fn send_haystack(server: &Server) {
    let newest = now();
    for request in 0..REQUESTS {
        let one = |number: u64| {
            let place = request * SPANS + number;
            let start = newest - place * APART_NANOS;
            let is_wanted = number == 0 && request < WANTED;
            let mark = |key: &str, is_set: bool| KeyValue::new(key, i64::from(is_set));
            let mut attributes: Vec<KeyValue> =
                (0..ATTRIBUTES).map(|key| KeyValue::new(format!("key.{key}"), "x")).collect();
            attributes.push(mark("a", is_wanted || place.is_multiple_of(2)));
            attributes.push(mark("b", is_wanted || !place.is_multiple_of(2)));
            Span {
                start_time_unix_nano: start,
                end_time_unix_nano: start + 5_000_000,
                attributes,
                ..span(u128::from(place) + 1, 1, 0, if is_wanted { "needle" } else { "hay" })
            }
        };
        let body = traces("barn", (0..SPANS).map(one).collect()).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
}

const ROWS: &str = "document.querySelectorAll('.traces-row').length";
const FACTS: &str = "(document.querySelector('.facts')?.innerText ?? '')";

/// A server that gets a tenth of its time, so that a search lasts on the fastest machine.
struct Slowed {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slowed {
    const STOPPED: Duration = Duration::from_millis(90);
    const RUNNING: Duration = Duration::from_millis(10);

    fn start(server: &Server) -> Self {
        let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            // A signal fails once the server has ended.
            while !ended.load(Ordering::Relaxed) && kill_process(pid, Signal::STOP).is_ok() {
                std::thread::sleep(Self::STOPPED);
                let _ = kill_process(pid, Signal::CONT);
                std::thread::sleep(Self::RUNNING);
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn click(browser: &mut Browser, words: &str) {
    let button = format!(
        "[...document.querySelectorAll('button')].find(e => e.innerText.trim() === '{words}')"
    );
    browser.wait_for(&button);
    browser.evaluate(&format!("{button}.click()"));
}

#[test]
fn a_slow_search_draws_what_it_has_found_and_can_be_stopped() {
    let mut server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_haystack(&server);
    let needles = format!("http://{}/explore?attr=a%3D1&attr=b%3D1&live=off", server.http);
    browser.prefer("dark");
    let slowed = Slowed::start(&server);
    browser.open(&needles);
    // Rows arrive newest first while the search goes on.
    browser.wait_for(&format!("{ROWS} > 0 && document.querySelector('.search-stop')"));
    browser.wait_for(&format!("{FACTS}.includes('back to') || {FACTS}.includes('rows read')"));
    let facts = browser.evaluate(FACTS);
    assert!(facts.as_str().unwrap().starts_with("Searching: "), "it was over too soon: {facts}");

    click(&mut browser, "Stop");
    browser.wait_for(&format!("{FACTS}.startsWith('Stopped after')"));
    let stopped = browser.evaluate(ROWS).as_u64().unwrap();
    assert!((1..=WANTED).contains(&stopped), "{stopped} rows stay");
    browser.screenshot("explore-stopped-dark");
    drop(slowed);

    // A repeated search returns the earlier rows at the same positions, and all the others.
    click(&mut browser, "Search again");
    browser.wait_for(&format!(
        "{FACTS}.includes('read in') \
         && document.querySelector('.list-tools h2').innerText.startsWith('{WANTED} traces')"
    ));
    assert_eq!(browser.evaluate(ROWS), WANTED);
    assert_eq!(browser.evaluate("document.querySelectorAll('.search-stop').length"), 0);

    // A new search replaces the running one.
    let slowed = Slowed::start(&server);
    browser.open(&needles);
    browser.wait_for("document.querySelector('.search-stop')");
    browser.screenshot("explore-searching-dark");
    drop(slowed);
    browser.evaluate("document.querySelector('.chip-remove').click()");
    browser.wait_for("!location.search.includes('a%3D1') && !location.search.includes('a=1')");
    browser.wait_for(&format!("{ROWS} === 50 && !document.querySelector('.search-stop')"));
    browser.press("Escape");
    assert_eq!(browser.evaluate(ROWS), 50);

    // The page reports that the server died, and keeps the found rows.
    browser.prefer("light");
    let slowed = Slowed::start(&server);
    browser.open(&needles);
    browser.wait_for(&format!("{ROWS} > 0 && document.querySelector('.search-stop')"));
    browser.screenshot("explore-searching-light");
    browser.expect_errors("net::ERR_");
    server.kill();
    drop(slowed);
    browser.wait_for_text("Tidings does not answer");
    assert!(browser.evaluate(ROWS).as_u64().unwrap() > 0);
    browser.screenshot("explore-broken-light");
}

#[test]
fn a_fast_answer_draws_nothing_before_it_is_there() {
    const ATTEMPTS: u32 = 5;
    const FAST_MILLIS: f64 = 250.0;
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let two = vec![span(1, 1, 0, "GET /a"), span(2, 2, 0, "GET /b")];
    let body = traces("shop", two).encode_to_vec();
    post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    let expected = serde_json::json!(["1", "2", "opacity true"]);
    for attempt in 1..=ATTEMPTS {
        browser.open(&format!("http://{}/explore?operation=GET%20%2Fb&live=off", server.http));
        browser.wait_for(&format!("{ROWS} === 1"));
        // The observer records every state that is drawn between two answers.
        browser.evaluate(
            "window.drawn = new Set(); window.millis = 0; \
             const begin = performance.now(); \
             const look = () => { for (const s of ['.search-stop', '.loading', '.state']) \
               if (document.querySelector(s)) window.drawn.add(s); \
               const rows = document.querySelectorAll('.traces-row').length; \
               window.drawn.add(rows); \
               if (rows === 2) window.millis ||= performance.now() - begin; \
               const card = document.querySelector('.traces-card'); \
               if (card) window.drawn.add('opacity ' + (+getComputedStyle(card).opacity > .9)); }; \
             new MutationObserver(look).observe(document.body, \
               { subtree: true, childList: true, attributes: true }); look(); \
             document.querySelector('.chip-remove').click()",
        );
        browser.wait_for(&format!("{ROWS} === 2"));
        let drawn = browser.evaluate("[...window.drawn].map(String).sort()");
        if drawn == expected {
            return;
        }
        // A busy machine may answer slowly, and a slow answer is announced.
        let millis = browser.evaluate("window.millis").as_f64().unwrap();
        assert!(millis > FAST_MILLIS && attempt < ATTEMPTS, "{drawn} in {millis} ms");
    }
}
