//! Responsiveness of the page with a trace of 100,000 spans, and with a tail of many records.
//!
//! The page counts the frames and measures the times. The environment variable `TRACE_SPANS` is the
//! number of spans of the trace. `TAIL_RATE` is the number of log records a second. The documented
//! figures come from a release build. The tests require only the speed of a debug build on a busy
//! machine. With `LIMITS=strict` they require the documented limits for a trace of 100,000 spans.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use prost::Message;
use serde_json::Value as Json;
use tidings_proto::otlp::Span;

use super::{are_limits_strict, count, send_logs};
use crate::{
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{log, span, traces},
    },
    sql_generated::number,
};

const TRACE: u128 = 0xb16;
/// Number of spans of one request.
const PORTION: u64 = 10_000;
/// Number of operations that the spans have.
const OPERATIONS: u64 = 50;
/// Number of frames in which the page scrolls.
const FRAMES: usize = 300;
/// Seconds after which no more frames are counted.
const WATCHED_SECONDS: u32 = 60;
/// Pixels that a mouse wheel scrolls in a frame: about five rows.
const WHEEL_PIXELS: u32 = 120;
/// Duration of a frame, in milliseconds, above which at least one of 60 frames a second was
/// dropped.
const DROPPED_MILLIS: f64 = 25.0;

/// Limits of the figures of a trace. The memory has one limit for every build.
struct TraceLimits {
    first_lines_millis: f64,
    find_millis: f64,
    /// Frames of those scrolled by hand that may take longer than [`DROPPED_MILLIS`].
    dropped_frames: usize,
}

impl TraceLimits {
    fn of_this_run() -> Self {
        if are_limits_strict() {
            Self { first_lines_millis: 1_000.0, find_millis: 100.0, dropped_frames: 0 }
        } else {
            Self { first_lines_millis: 90_000.0, find_millis: 5_000.0, dropped_frames: FRAMES }
        }
    }
}

fn spans_of_trace() -> u64 {
    number("TRACE_SPANS", 100_000).next_multiple_of(PORTION)
}

fn send_large_trace(server: &Server, spans: u64) {
    let begin = 1_760_000_000_000_000_000;
    let step = 10_000;
    for from in (1..=spans).step_by(usize::try_from(PORTION).unwrap()) {
        let portion = (from..from + PORTION).map(|id| {
            let end = if id == 1 { spans + 10 } else { id + 1 + id % 7 };
            let parent = if id == 1 { 0 } else { (id / 9).max(1) };
            Span {
                start_time_unix_nano: begin + id * step,
                end_time_unix_nano: begin + end * step,
                ..span(TRACE, id, parent, &format!("step {}", id % OPERATIONS))
            }
        });
        let request = traces(&format!("worker-{}", from / PORTION % 12), portion.collect());
        let body = request.encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
}

/// Returns the milliseconds between frames, ascending, while the page does `each` for `frames`
/// frames, or as many as it draws within [`WATCHED_SECONDS`].
fn frames(browser: &mut Browser, frames: usize, each: &str) -> Vec<f64> {
    let script = format!(
        "new Promise(done => {{
            const took = [], begin = performance.now(); let last = begin, i = 0;
            const step = now => {{
                i++ && took.push(now - last); last = now; {each};
                const is_watched = i <= {frames} && now - begin < {WATCHED_SECONDS}000;
                is_watched ? requestAnimationFrame(step) : done(took);
            }};
            requestAnimationFrame(step);
        }})"
    );
    let took = browser.evaluate(&script);
    let mut took: Vec<f64> =
        took.as_array().unwrap().iter().map(|frame| frame.as_f64().unwrap()).collect();
    took.sort_by(f64::total_cmp);
    took
}

fn percentile(took: &[f64], percent: usize) -> f64 {
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

/// Returns the number of frames during which at least one was dropped.
fn dropped(took: &[f64]) -> usize {
    took.iter().filter(|millis| **millis > DROPPED_MILLIS).count()
}

fn in_words(took: &[f64]) -> String {
    let dropped = dropped(took);
    let [p50, p95, most] = [50, 95, 100].map(|percent| percentile(took, percent));
    let frames = took.len();
    format!(
        "{frames} frames, p50 {p50:.1} ms, p95 {p95:.1} ms, most {most:.1} ms, {dropped} over \
         {DROPPED_MILLIS} ms"
    )
}

#[test]
fn a_trace_of_100000_spans_is_drawn_scrolled_and_searched() {
    let server = Server::start();
    let Some(mut browser) = Browser::measured(&server, 1440, 900) else { return };
    let spans = spans_of_trace();
    send_large_trace(&server, spans);
    browser.open(&format!("http://{}/trace/{TRACE:032x}", server.http));
    browser.wait_at_most(
        Duration::from_secs(60),
        "document.querySelectorAll('.wf-scroll .wf-line').length > 15",
    );
    let painted = browser.evaluate("performance.now()").as_f64().unwrap();
    browser.wait_for(
        "performance.getEntriesByType('resource').some(e => e.name.includes('skeleton'))",
    );
    let transferred = browser.evaluate(
        "(() => { const e = performance.getEntriesByType('resource').find(e => e.name.includes('skeleton')); \
         return [e.duration, e.encodedBodySize, e.decodedBodySize]; })()",
    );
    // The trace opens folded except for the path to its selected row.
    browser.press("]");
    browser.wait_for(
        "Number(document.querySelector('.wf-scroll').getAttribute('aria-rowcount')) > 1000",
    );
    let lines = count(&mut browser, ".wf-line");
    assert!(lines < 200, "{lines} lines for a window of 900 pixels");
    browser.evaluate(
        "window.rows = document.querySelector('.wf-scroll'); \
         window.reach = rows.scrollHeight - rows.clientHeight; 0",
    );
    let by_hand = frames(&mut browser, FRAMES, &format!("rows.scrollTop += {WHEEL_PIXELS}"));
    let through = frames(&mut browser, FRAMES, &format!("rows.scrollTop = reach * i / {FRAMES}"));
    let end = browser.evaluate("rows.isConnected && reach > 1000 && rows.scrollTop >= reach - 1");
    assert_eq!(end, true, "the rows that were scrolled are those of the page");
    browser.wait_for("document.querySelectorAll('.wf-line').length > 20");
    browser.press("f");
    browser.wait_for("document.activeElement && document.activeElement.tagName === 'INPUT'");
    let found = spans / OPERATIONS;
    let searched = browser.evaluate(&find("step 49", found)).as_f64().unwrap();
    browser.screenshot("trace-100000");
    let memory = browser.renderer_bytes() / 1_000_000;
    println!(
        "{spans} spans: first lines after {painted:.0} ms (request ms, bytes, bytes decoded: \
         {transferred}); scrolled by hand: {}; through all of it: {}; found {found} after \
         {searched:.0} ms; {memory} MB",
        in_words(&by_hand),
        in_words(&through),
    );
    let limits = TraceLimits::of_this_run();
    assert!(painted <= limits.first_lines_millis, "first lines after {painted} ms");
    assert!(dropped(&by_hand) <= limits.dropped_frames, "by hand: {}", in_words(&by_hand));
    for took in [by_hand, through] {
        assert!(percentile(&took, 95) < 250.0, "scrolling stutters: {}", in_words(&took));
    }
    assert!(searched <= limits.find_millis, "found after {searched} ms");
    assert!(memory <= 400 * spans.div_ceil(100_000), "{memory} MB");
}

/// Returns an expression for the milliseconds from typing a text into the focused field until this
/// many matches are found.
fn find(text: &str, found: u64) -> String {
    format!(
        "new Promise(done => {{
            const input = document.activeElement, begin = performance.now();
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set
                .call(input, '{text}');
            input.dispatchEvent(new Event('input', {{ bubbles: true }}));
            const look = () => {{
                const words = document.querySelector('.trace-find-count')?.innerText ?? '';
                words.replaceAll(',', '').endsWith('{found}') || performance.now() - begin > 20000
                    ? done(performance.now() - begin) : requestAnimationFrame(look);
            }};
            look();
        }})"
    )
}

#[test]
fn a_trace_of_100000_spans_is_exported_and_drawn_in_the_terminal() {
    let server = Server::start();
    let large = 100_000;
    send_large_trace(&server, large);
    let path = format!("/api/v1/traces/{TRACE:032x}/otlp");
    let (status, export) = server.get(&path);
    assert_eq!(status, 200);
    let groups = export["resourceSpans"].as_array().unwrap().iter();
    let scopes = groups.flat_map(|group| group["scopeSpans"].as_array().unwrap());
    let spans: usize = scopes.map(|scope| scope["spans"].as_array().unwrap().len()).sum();
    assert_eq!(spans as u64, large);
    let id = format!("{TRACE:032x}");
    let (code, out, error) = Server::command(&["trace", &id, "--http", &server.http]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.lines().count() as u64 > large && out.contains("step 49"), "too few lines");
}

#[test]
fn a_tail_of_many_records_leaves_the_page_responsive() {
    // As long as all attempts and the wait before them take at most.
    const SECONDS_MAX: u64 = 300;
    const REQUESTS: u64 = 10;
    const ATTEMPTS: usize = 3;
    const FRAME_MS_MAX: f64 = 1_000.0;
    let server = Server::start();
    let Some(mut browser) = Browser::measured(&server, 1440, 900) else { return };
    let rate = number("TAIL_RATE", 1_000).max(REQUESTS);
    let (done, ended) = mpsc::channel::<()>();
    send_logs(&server, vec![log(1, 1, "before the tail")]);
    browser.open(&format!("http://{}/logs?tail=on", server.http));
    browser.wait_for_text("Waiting for the next record");
    let took = thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            let begin = Instant::now();
            for request in 0..SECONDS_MAX * REQUESTS {
                let records = (0..rate / REQUESTS)
                    .map(|number| log(2, 2, &format!("record {number} of request {request}")));
                send_logs(server, records.collect());
                let next = Duration::from_millis((request + 1) * 1_000 / REQUESTS);
                let pause = next.saturating_sub(begin.elapsed());
                if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        let patience = Duration::from_secs(60);
        browser.wait_at_most(patience, "document.querySelectorAll('.log').length > 100");
        // Other work on the machine delays frames for a while; a page that stands still is late at
        // each attempt.
        let mut took = frames(&mut browser, FRAMES, "0");
        for _ in 1..ATTEMPTS {
            if percentile(&took, 95) >= FRAME_MS_MAX {
                took = frames(&mut browser, FRAMES, "0");
            }
        }
        // The server sends more than are drawn.
        browser.wait_for("document.querySelector('.tail-skipped')");
        // The list keeps 1,000 of what was drawn.
        browser.wait_for(
            "parseInt(document.querySelector('.tail-note').innerText.replaceAll(',', '')) > 1000",
        );
        // A key works while records arrive.
        browser.press("j");
        browser.wait_for("document.querySelector('.log.is-open')");
        drop(done);
        took
    });
    let drawn: Json = browser.evaluate("document.querySelectorAll('.log').length");
    println!(
        "{rate} records a second: {}; {drawn} records are drawn; {} MB",
        in_words(&took),
        browser.renderer_bytes() / 1_000_000
    );
    assert!(percentile(&took, 95) < FRAME_MS_MAX, "the page stands still: {}", in_words(&took));
}
