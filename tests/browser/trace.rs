//! The page of a trace: search within it, labels that stay with their bars, the path above, and the
//! semantics of the DOM.

use std::path::{Path, PathBuf};

use prost::Message;
use tidings_proto::otlp::{Event, KeyValue, Span, Status};

use super::{click_text, count, page_objects::TraceFile, send_logs};
use crate::harness::{
    PATIENCE, Server,
    browser::Browser,
    http::post,
    spans::{log, now, span, traces},
};

/// Sends a root whose 40 calls fill it. One call fails with an exception, and one outlives the
/// root.
fn send_trace(server: &Server) {
    let begin = now() - 60_000_000_000;
    let timed = |id: u64, parent: u64, from: u64, millis: u64, name: &str| Span {
        start_time_unix_nano: begin + from * 1_000_000,
        end_time_unix_nano: begin + (from + millis) * 1_000_000,
        ..span(0x7ace, id, parent, name)
    };
    let mut spans = vec![timed(1, 0, 0, 1_510, "POST /checkout")];
    for id in 2..40 {
        spans.push(timed(id, 1, id * 30, 20, &format!("step {id}")));
    }
    spans.push(Span {
        status: Some(Status { message: "deadline passed".to_owned(), code: 2 }),
        events: vec![Event {
            name: "exception".to_owned(),
            attributes: vec![KeyValue::new("exception.type", "AcquirerTimeout")],
            ..Event::default()
        }],
        ..timed(40, 39, 1_180, 5, "charge")
    });
    spans.push(Span {
        kind: 5,
        attributes: vec![KeyValue::new("messaging.system.of.the.very.long.key.name", "kafka")],
        ..timed(41, 1, 1_600, 30, "mail")
    });
    let body = traces("shop", spans).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

/// Expression for the greatest distance in pixels of a label from its bar, or of a message from the
/// wait before it.
pub(super) const DRIFT: &str = "Math.max(...[...document.querySelectorAll('.wf-line')].map(line => { \
    const bar = line.querySelector('.wf-gap, .wf-bar')?.getBoundingClientRect(); \
    const label = line.querySelector('.wf-label')?.getBoundingClientRect(); \
    if (!bar || !label) return 0; \
    if (label.left < bar.right && label.right > bar.left) return 0; \
    return Math.min(Math.abs(label.left - bar.right), Math.abs(bar.left - label.right)); }))";

#[test]
fn narrow_frames_of_the_flame_graph_are_as_wide_as_their_time() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_trace(&server);
    browser.open(&format!("http://{}/trace/{:032x}?tab=flame", server.http, 0x7ace));
    // The call that fails has a three hundredth of the width.
    browser.wait_for(
        "(frames => frames.length > 20 && frames.some(e => parseFloat(e.style.width) < 0.5) \
           && frames.every(e => Math.abs(e.getBoundingClientRect().width \
             - parseFloat(e.style.width) / 100 * e.parentElement.clientWidth) < 1)) \
         ([...document.querySelectorAll('.icicle > .frame')])",
    );
    // A visible name is not cut, or has room for about eight letters.
    browser.wait_for(
        "[...document.querySelectorAll('.icicle > .frame')].every(e => { \
           const [words, name] = ['.frame-words', '.frame-name'].map(part => e.querySelector(part)); \
           const isHidden = !name || name.getBoundingClientRect().top \
             >= words.getBoundingClientRect().bottom - 1; \
           return isHidden || name.clientWidth > 45 || name.scrollWidth <= name.clientWidth; })",
    );
}

#[test]
fn a_trace_is_searched_zoomed_and_read() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1920, 900) else { return };
    send_trace(&server);
    browser.prefer("dark");
    browser.open(&format!("http://{}/trace/{:032x}", server.http, 0x7ace));
    browser.wait_for("document.querySelectorAll('.wf-line').length > 20");

    // The facts distinguish the root span from the whole trace.
    let facts = browser.evaluate("document.querySelector('.trace-facts').innerText");
    let facts = facts.as_str().unwrap();
    for wanted in ["1.51 s", "root span", "1.63 s", "whole trace"] {
        assert!(facts.contains(wanted), "{wanted} in {facts}");
    }

    // Labels stay with their bars through a zoom and back.
    browser.wait_for(&format!("{DRIFT} < 30"));
    browser.press("+");
    browser.wait_for("location.search.includes('zoom=')");
    // Keys move the zoomed range later and back.
    let zoom = "new URLSearchParams(location.search).get('zoom')";
    browser.evaluate(&format!("window.zoomed = {zoom}"));
    browser.press(">");
    browser.wait_for(&format!("parseInt({zoom}) > parseInt(window.zoomed)"));
    browser.press("<");
    browser.wait_for(&format!("{zoom} === window.zoomed"));
    browser.press("+");
    browser.wait_for(&format!("{zoom} !== window.zoomed"));
    browser.press("0");
    browser.wait_for("!location.search.includes('zoom=')");
    browser.wait_for(&format!("{DRIFT} < 30"));

    // The search finds text in every field of a span and shows the span.
    for (text, found) in [
        ("acquirertimeout", "charge"),
        ("deadline", "charge"),
        ("{ status = error }", "charge"),
        ("kafka", "mail"),
    ] {
        browser.press("f");
        browser.wait_for("document.activeElement?.id === 'trace-find'");
        browser.evaluate("document.activeElement.select()");
        browser.type_text(text);
        browser.wait_for("document.querySelector('.trace-find-count')?.innerText === '1 of 1'");
        browser.wait_for(&format!(
            "document.querySelector('.wf-selected')?.innerText.includes('{found}')"
        ));
        browser.press("Escape");
    }

    // The DOM has the right roles and levels, and no `aria-controls` names a missing element.
    assert_eq!(count(&mut browser, "[attr\\:aria-level]"), 0);
    assert!(count(&mut browser, ".wf-line[aria-level='2']") > 5);
    let dangling = browser.evaluate(
        "[...document.querySelectorAll('[aria-controls]')].filter(e => !document.getElementById(e.getAttribute('aria-controls'))).length",
    );
    assert_eq!(dangling, 0);

    // Keys of attributes are shown in full.
    browser.wait_for_text("messaging.system.of.the.very.long.key.name");
    let cut = browser.evaluate(
        "[...document.querySelectorAll('.attributes dt')].filter(e => e.scrollWidth > e.clientWidth).length",
    );
    assert_eq!(cut, 0);
    browser.screenshot("trace-find-dark");

    // The path above names the root while the root is scrolled out of view.
    browser.evaluate("document.querySelector('.wf-scroll').scrollTop = 600");
    browser
        .wait_for("document.querySelector('.wf-path-step')?.innerText.includes('POST /checkout')");

    // Headings sort the services. The trace can be copied as text.
    let tab = "[...document.querySelectorAll('[role=tab]')].find(e => e.innerText.startsWith('Services'))";
    browser.evaluate(&format!("{tab}.click()"));
    click_text(&mut browser, "Spans");
    browser.wait_for(
        "document.querySelector('th[aria-sort=descending]')?.innerText.includes('Spans')",
    );
    click_text(&mut browser, "Export");
    browser.wait_for_text("Copy as text");
}

/// Saves the trace as an HTML file in this folder and returns its path.
fn save_file(browser: &mut Browser, server: &Server, folder: &Path) -> PathBuf {
    browser.save_into(folder);
    browser.open(&format!("http://{}/trace/{:032x}", server.http, 0x7ace));
    browser.wait_for("document.querySelectorAll('.wf-line').length > 20");
    click_text(browser, "Export");
    click_text(browser, "Download as HTML");
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let done = |path: &PathBuf| path.extension().is_some_and(|end| end == "html");
        if let Some(path) = files.into_iter().find(done) {
            return path;
        }
        assert!(std::time::Instant::now() < deadline, "nothing is saved");
        browser.evaluate("new Promise(done => requestAnimationFrame(() => done(0)))");
    }
}

#[test]
fn a_trace_is_one_file_that_opens_without_a_server() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    send_trace(&server);
    let evil = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">";
    let mut record = log(0x7ace, 40, evil);
    record.attributes.push(KeyValue::new(evil, evil));
    send_logs(&server, vec![record]);
    let folder = tempfile::tempdir().unwrap();
    let file = save_file(&mut browser, &server, folder.path());
    drop(server);

    browser.prefer("light");
    browser.open(&format!("file://{}", file.display()));
    browser.wait_for("document.querySelectorAll('.row').length > 20");
    let facts = browser.evaluate("document.querySelector('#facts').innerText");
    for wanted in ["1.63 s", "41 spans", "1 error", "1 log"] {
        assert!(facts.as_str().unwrap().contains(wanted), "{wanted} in {facts}");
    }
    assert!(count(&mut browser, ".critical") > 3, "the critical path is not drawn");
    // The search covers attributes of events and of log records, and shows the span that has the
    // text.
    for text in ["acquirertimeout", "onerror"] {
        browser.evaluate(
            "document.querySelector('#find').focus(), document.querySelector('#find').select()",
        );
        browser.type_text(text);
        browser.wait_for("document.querySelector('#found').innerText === '1 found'");
        browser
            .wait_for("document.querySelector('.row.is-selected')?.innerText.includes('charge')");
    }
    for text in ["deadline passed", "exception.type", "service.name", evil] {
        browser.wait_for_text(text);
    }
    // A call too short to be seen is widened inside the bar of its caller, at whose end it ends.
    let is_inside = browser.evaluate(
        "(() => { \
            const row = spans.findIndex(({ name }) => name === 'charge'); \
            length[row] = 10000; \
            start[row] = endOf(spans[row].parentIndex) - length[row]; \
            draw(); \
            const drawn = [...document.querySelectorAll('.row')]; \
            const place = drawn.findIndex(row => row.classList.contains('is-selected')); \
            const [caller, bar] = [place - 1, place] \
                .map(row => drawn[row].querySelector('.span-bar').getBoundingClientRect()); \
            return bar.width > 1.5 && bar.right < caller.right + 0.1 && bar.left > caller.left; \
        })()",
    );
    assert_eq!(is_inside, true, "the bar of the short call");
    browser.screenshot("trace-file-light");
    click_text(&mut browser, "Fold all");
    browser.wait_for("document.querySelectorAll('.row').length === 1");
    click_text(&mut browser, "Unfold all");
    browser.wait_for("document.querySelectorAll('.row').length > 20");
    click_text(&mut browser, "Logs 1");
    browser.wait_for("document.querySelector('.log pre').innerText.includes('onerror')");
    browser.prefer("dark");
    browser.resize(390, 844);
    browser.screenshot("trace-file-dark-390");
    let wide = browser.evaluate("document.scrollingElement.scrollWidth - innerWidth");
    assert!(wide.as_i64().unwrap() <= 0, "{wide}");
    assert_ne!(browser.evaluate("document.title"), "ran");
    assert_eq!(count(&mut browser, "img"), 0);
    // The policy within the file forbids scripts that are not its own.
    browser.expect_errors("Content Security Policy");
    let broken = browser.evaluate(
        "new Promise(done => { \
         document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective)); \
         const s = document.createElement('script'); \
         s.textContent = \"document.title='ran'\"; document.body.append(s); })",
    );
    assert_eq!(broken, "script-src-elem");
    assert_ne!(browser.evaluate("document.title"), "ran");
}

#[test]
fn the_file_of_a_trace_has_a_minimap_that_zooms() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    send_trace(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = save_file(&mut browser, &server, folder.path());
    drop(server);
    for (width, theme) in [(1_280, "light"), (390, "dark")] {
        browser.resize(width, 844);
        browser.prefer(theme);
        let mut file = TraceFile::open(&mut browser, &path);
        file.wait_for_colour("--err");
        file.wait_for_colour("--crit");
        file.wait_for_zoom(false);
        // The call takes 20 of 1,630 ms, and of the 489 ms that are chosen.
        assert!(file.bar_width("step 10").unwrap() < 2.0);
        file.drag_minimap(0.1, 0.4);
        file.wait_for_zoom(true);
        assert!(file.bar_width("step 10").unwrap() > 3.5);
        assert_eq!(file.bar_width("step 3 "), None, "it ends before the range");
        assert!(file.overflow() <= 0, "{width}");
        file.show_whole();
        file.wait_for_zoom(false);
        assert!(file.bar_width("step 10").unwrap() < 2.0);
        file.press("+");
        file.wait_for_zoom(true);
        file.press("0");
        file.wait_for_zoom(false);
        browser.screenshot(&format!("trace-file-minimap-{theme}-{width}"));
    }
}

#[test]
fn stopped_server_is_shown_beside_live() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    send_trace(&server);
    browser.open(&format!("http://{}/explore", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
    browser.wait_for("document.querySelector('.live').innerText.trim() === 'Live'");
    browser.expect_errors("net::ERR_");
    drop(server);
    browser.wait_for("document.querySelector('.live.is-silent')?.innerText.trim() === 'No answer'");
}
