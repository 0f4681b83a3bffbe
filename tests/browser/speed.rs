//! Load times of each page: its first paint, its first rows or its main drawing, and the time until
//! everything is drawn. The page measures them from the start of its navigation.
//!
//! The environment variable `PAGES_DATA_DIR` names a data directory whose pages are measured, such
//! as one that `cargo xtask bench query -- --keep yes` leaves. Without it the pages of a small
//! incident are measured. `PAGES_MILLIS` is the time limit of a page. `LIMITS=strict` requires the
//! documented limits as well: the first paint of Home and the first rows of every page.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use url::form_urlencoded;

use super::{SETTLED, are_limits_strict};
use crate::{
    harness::{Server, browser::Browser},
    sql_generated::number,
};

/// Time limit of a page, in milliseconds, for a debug build on a busy machine.
const MILLIS_MAX: u64 = 20_000;
/// Part of the time limit of a page within which Home has its first paint.
const PAINT_PART: f64 = 0.5;
/// Documented limits of a release build, in milliseconds: of the first paint of Home, and of the
/// first rows of a page.
const STRICT_PAINT_MILLIS: f64 = 500.0;
const STRICT_ROWS_MILLIS: f64 = 1_000.0;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_page_is_there_soon() {
    let given = std::env::var_os("PAGES_DATA_DIR").map(PathBuf::from);
    let server = match &given {
        Some(folder) => Server::start_in(folder, &[]),
        None => Server::start(),
    };
    let Some(mut browser) = Browser::measured(&server, 1440, 900) else { return };
    if given.is_none() {
        server.send_incident("slow-dependency");
    }
    let script = json!({ "source": COUNT_REQUESTS });
    browser.command("Page.addScriptToEvaluateOnNewDocument", script);
    let (_, found) = server.get("/api/v1/traces?limit=1");
    let [trace, root, operation] = ["traceId", "rootService", "rootOperation"]
        .map(|field| found["traces"][0][field].as_str().expect("a trace").to_owned());
    let operation: String = form_urlencoded::byte_serialize(operation.as_bytes()).collect();
    let operation = operation.replace('+', "%20");
    let millis_max = number("PAGES_MILLIS", MILLIS_MAX) as f64;
    let [paint_max, rows_max] = if are_limits_strict() {
        [STRICT_PAINT_MILLIS, STRICT_ROWS_MILLIS]
    } else {
        [millis_max * PAINT_PART, millis_max]
    };
    let mut late = Vec::new();
    for path in [
        "/".to_owned(),
        "/explore?live=off".to_owned(),
        format!("/trace/{trace}"),
        "/transactions".to_owned(),
        format!("/transactions/{root}/{operation}"),
        format!("/tx/{trace}"),
        "/services".to_owned(),
        format!("/services/{root}"),
        "/map".to_owned(),
        "/errors".to_owned(),
        "/logs?live=off".to_owned(),
        format!("/compare?left={trace}&right=typical"),
        "/sql".to_owned(),
        "/system".to_owned(),
        "/connect".to_owned(),
    ] {
        // A measured data directory is loaded twice: the first time warms the caches of the server
        // and of the browser.
        let [mut paint, mut rows, mut there] = [0.0; 3];
        for _ in 0..if given.is_some() { 2 } else { 1 } {
            browser.open("about:blank");
            browser.wait_for("location.href === 'about:blank'");
            browser.open(&format!("http://{}{path}", server.http));
            let wanted = json!(format!("http://{}{path}", server.http));
            browser.wait_at_most(PATIENCE, &format!("location.href.startsWith({wanted})"));
            [paint, rows, there] = times(&mut browser);
        }
        let name = path.split('/').nth(1).and_then(|name| name.split('?').next());
        browser.screenshot(&format!("there-{}", name.unwrap_or_default()));
        println!(
            "{path}: painted after {paint:.0} ms, rows after {rows:.0} ms, all there after \
             {there:.0} ms"
        );
        if there > millis_max || rows > rows_max || path == "/" && paint > paint_max {
            late.push(format!("{path}: {paint:.0} ms, {rows:.0} ms, {there:.0} ms"));
        }
    }
    assert!(late.is_empty(), "{late:#?}");
}

/// Counts the requests of a page that have no answer yet.
const COUNT_REQUESTS: &str = "window.unanswered = 0; const send = window.fetch; \
    window.fetch = async (...request) => { unanswered++; \
        try { return await send(...request); } finally { unanswered--; } };";

/// Returns three times in milliseconds from the start of the navigation. The first is the first
/// paint. The second is that of the first rows, of the main drawing, or of the message in their
/// place. The third is the time after which the page waited for nothing during ten frames.
fn times(browser: &mut Browser) -> [f64; 3] {
    let script = "new Promise(done => {
            const is_there = () => unanswered === 0 && document.querySelector('main h1, main h2, \
                main table, main svg, main canvas, main pre, main textarea, main [role=row], .log')
                && SETTLED;
            let frames = 0, since = 0, rows = 0;
            const look = () => {
                const is_empty = [...document.querySelectorAll('main .panel-empty, main .empty')]
                    .some(words => !words.innerText.endsWith('…'));
                if (!rows && (is_empty || document.querySelector('main tbody tr, main [role=row], \
                    main .log, main .network-node, main pre, main textarea')))
                    rows = performance.now();
                if (!is_there()) frames = 0;
                else if (frames++ === 0) since = performance.now();
                if (frames > 10) {
                    const paint = performance.getEntriesByName('first-contentful-paint')[0];
                    done([paint ? paint.startTime : -1, rows || since, since]);
                } else requestAnimationFrame(look);
            };
            look();
        })";
    let there = browser.evaluate(&script.replace("SETTLED", SETTLED));
    [0, 1, 2].map(|at| there[at].as_f64().unwrap())
}
