//! Every page over the same incident, in both themes and at several widths. No page may have an
//! error, a violation of the content security policy, an element wider than the window, or a text
//! outside of its box or over another one. `layout.rs` chooses where texts are measured.

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::KeyValue;

use super::{
    SETTLED, click_text,
    layout::{faults_of_texts, is_measured, with_tabs},
};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{now, span, traces},
};

/// A page, its name among the screenshots, and an expression that is true once the page is drawn.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) is_drawn: &'static str,
    /// A script for the drawn page, and an expression that is true once its outcome is drawn.
    pub(super) then: Option<(&'static str, &'static str)>,
}

impl Case {
    pub(super) fn new(
        server: &Server,
        name: &'static str,
        path: &str,
        is_drawn: &'static str,
    ) -> Self {
        Self { name, path: path.to_owned(), host: server.http.clone(), is_drawn, then: None }
    }

    /// Returns an expression that is true once the page and the outcome of its script are drawn.
    pub(super) fn shown(&self) -> &'static str {
        self.then.map_or(self.is_drawn, |(_, shown)| shown)
    }

    /// Opens the page, runs its script, and waits until nothing loads.
    pub(super) fn open(&self, browser: &mut Browser) {
        browser.open(&format!("http://{}{}", self.host, self.path));
        browser.wait_for(self.is_drawn);
        browser.wait_for(SETTLED);
        if let Some((script, shown)) = self.then {
            browser.evaluate(script);
            browser.wait_for(shown);
            browser.wait_for(SETTLED);
        }
    }
}

/// Path of the SQL page with a query for rates of services by minute.
const RATES_IN_SQL: &str = "/sql?q=\
    SELECT%20minute%2C%20service%2C%20sum%28calls%29%20AS%20calls%2C%20sum%28errors%29%20AS%20failed\
    %20FROM%20red%20WHERE%20kind%20%3D%20%27server%27\
    %20GROUP%20BY%20minute%2C%20service%20ORDER%20BY%20minute%2C%20service";

/// Expression that is true once a list has rows.
const ROWS: &str = "document.querySelectorAll('main tbody tr, main [role=row]').length > 3";

/// Returns every page, tabs of a trace, and the cases of [`analysed`] and [`opened`]. The server
/// holds the incident `slow-dependency`.
pub(super) fn cases(server: &Server) -> Vec<Case> {
    let slow = "/api/v1/traces?service=payment&operation=Payment.Authorize&minDuration=1s&limit=2";
    let found = |json: &Json| json["traces"].as_array().is_some_and(|traces| traces.len() == 2);
    let traces = server.wait_for(slow, found);
    let id = |index: usize| traces["traces"][index]["traceId"].as_str().unwrap().to_owned();
    let (left, right) = (id(0), id(1));
    let case = |name, path: &str, is_drawn| Case::new(server, name, path, is_drawn);
    let rows = ROWS;
    let drawing = "document.querySelector('main svg path, main svg rect, main canvas')";
    let mut all = vec![
        case(
            "home",
            "/",
            // The rates of arrivals need two answers of the server.
            "document.querySelectorAll('main tbody tr').length > 3 \
             && !document.body.innerText.includes('Counting')",
        ),
        case("explore", "/explore?live=off", rows),
        case(
            "trace",
            &format!("/trace/{left}"),
            "document.querySelectorAll('.wf-scroll .wf-line').length > 10",
        ),
        case(
            "trace-flame",
            &format!("/trace/{left}?tab=flame"),
            "document.querySelectorAll('.frame').length > 5",
        ),
        case("trace-tree", &format!("/trace/{left}?tab=tree"), rows),
        case("trace-table", &format!("/trace/{left}?tab=table"), rows),
        case(
            "trace-graph",
            &format!("/trace/{left}?tab=graph"),
            "document.querySelectorAll('.network-node').length > 5",
        ),
        case("transactions", "/transactions", rows),
        case("transaction-type", "/transactions/web-gateway/POST%20%2Fcheckout", drawing),
        case("transaction", &format!("/tx/{left}"), "document.querySelector('main h1, main h2')"),
        case("services", "/services", rows),
        case("service", "/services/payment", drawing),
        case("map", "/map", "document.querySelectorAll('.network-node').length > 5"),
        case("errors", "/errors", "document.querySelector('main h1, main h2')"),
        case("logs", "/logs?live=off", "document.querySelectorAll('.log').length > 10"),
        case("logs-patterns", "/logs?live=off&view=patterns", rows),
        case("compare", &format!("/compare?left={left}&right={right}"), rows),
        case("sql", RATES_IN_SQL, "document.querySelector('table[aria-label=Result] tbody tr')"),
        case("system", "/system", rows),
        case("connect", "/connect", "document.querySelector('main pre')"),
    ];
    all.extend(analysed(server, &left));
    all.extend(opened(server));
    all
}

/// Returns Explore with a box around the slow calls of the incident, and a slow trace beside the
/// typical one of its type.
fn analysed(server: &Server, slow: &str) -> [Case; 2] {
    let now_ms = now() / 1_000_000;
    // The box has the last ten minutes from 250 ms on. A payment usually takes some 100 ms.
    let chosen = format!("{}-{now_ms}-250000000-60000000000", now_ms - 600_000);
    [
        Case::new(
            server,
            "explore-box",
            &format!("/explore?live=off&service=payment&box={chosen}"),
            "document.querySelector('.heat-box') && document.querySelector('.explain-rows')",
        ),
        Case::new(server, "compare-typical", &format!("/compare?left={slow}&right=typical"), ROWS),
    ]
}

/// Returns pages with an opened part, and a page whose server stopped answering.
fn opened(server: &Server) -> [Case; 5] {
    let case = |name, path, is_drawn, script, shown| Case {
        then: Some((script, shown)),
        ..Case::new(server, name, path, is_drawn)
    };
    [
        case(
            "settings",
            "/services",
            ROWS,
            "[...document.querySelectorAll('.nav button')] \
             .find(button => button.textContent.includes('Settings')).click()",
            "document.querySelector('.sheet[aria-label=Settings]')",
        ),
        case(
            "shortcuts",
            "/services",
            ROWS,
            "document.querySelector('.nav button[aria-label=\"Show the shortcuts\"]').click()",
            "document.querySelector('.sheet[aria-label=Shortcuts]')",
        ),
        case(
            "errors-group",
            "/errors?live=off",
            "document.querySelector('.errors-open')",
            "document.querySelector('.errors-open').click()",
            "document.querySelector('.errors-details .errors-stack')",
        ),
        case(
            "logs-record",
            "/logs?live=off",
            "document.querySelectorAll('.log').length > 10",
            "document.querySelector('.log-toggle').click()",
            "document.querySelector('.log.is-open .log-details')",
        ),
        case(
            "home-no-answer",
            "/",
            ROWS,
            "void (window.fetch = () => Promise.reject(new TypeError('no server')))",
            "document.querySelector('.notice-error') \
             && !document.body.innerText.includes('Counting')",
        ),
    ]
}

/// Returns Home of a server without data.
pub(super) fn welcome(empty: &Server) -> Case {
    Case::new(empty, "welcome", "/", "document.querySelector('main [role=tabpanel] pre')")
}

/// Expression that returns elements beyond the right edge of the window, when the page itself
/// scrolls sideways.
pub(super) const BEYOND: &str = "(() => {
    const parts = [document.scrollingElement, document.querySelector('.content')];
    const wide = parts.map(e => e.scrollWidth - e.clientWidth);
    if (wide.every(by => by <= 0)) return [];
    const reaches = e => e.getBoundingClientRect().right > innerWidth + 1;
    return ['wider by ' + wide, ...[...document.querySelectorAll('body *')].filter(reaches)
        .slice(0, 4).map(e => e.tagName + '.' + e.className)];
})()";

/// Windows and themes in which an open page is drawn anew. Texts are measured in the dark theme.
const VIEWS: [(&str, u32, u32); 4] =
    [("light", 1440, 900), ("dark", 1280, 800), ("dark", 1920, 1080), ("dark", PHONE, 844)];
/// Width of a telephone in pixels.
const PHONE: u32 = 390;

/// Draws a page in each window and theme, and returns its faults.
fn faults_of(browser: &mut Browser, case: &Case) -> Vec<String> {
    let name = case.name;
    browser.prefer("dark");
    browser.resize(1440, 900);
    case.open(browser);
    let mut faults = Vec::new();
    if is_measured(name, 1440) {
        faults.extend(faults_of_texts(browser, name, 1440));
    }
    browser.screenshot(&format!("{name}-dark-1440"));
    for (scheme, width, height) in VIEWS {
        browser.prefer(scheme);
        browser.resize(width, height);
        browser.wait_for(case.shown());
        browser.screenshot(&format!("{name}-{scheme}-{width}"));
        let beyond = browser.evaluate(BEYOND);
        if beyond != json!([]) {
            faults.push(format!("{name} at {width}: {beyond}"));
        }
        if scheme == "dark" && is_measured(name, width) {
            if width == PHONE {
                // A page that a telephone opens has fewer open parts than one that became narrow.
                case.open(browser);
            }
            browser.wait_for(SETTLED);
            faults.extend(faults_of_texts(browser, name, width));
        }
    }
    faults
}

#[test]
fn every_page_is_drawn_in_both_themes_and_at_every_width_with_texts_in_place() {
    let (server, empty) = (Server::start(), Server::start());
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    let pages = with_tabs(&server, cases(&server)).into_iter().chain([welcome(&empty)]);
    let faults: Vec<String> = pages.flat_map(|case| faults_of(&mut browser, &case)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_page_says_that_nothing_checks_who_asks() {
    let server = Server::start_with(&["--insecure", "true"]);
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let lines = include_str!("../../ui/src/pages.rs").lines();
    let routes = lines.filter_map(|line| line.strip_prefix("    \"/")?.split('"').next());
    let paths: Vec<String> = routes.map(|path| format!("/{path}")).collect();
    assert!(paths.iter().any(|path| path == "/trace/:id") && paths.len() >= 15, "{paths:?}");
    // Names of parameters stand for ids that are not valid and things that do not exist.
    browser.expect_refusals(400, "/api/v1/");
    browser.expect_refusals(404, "/api/v1/");
    for path in paths {
        browser.open(&format!("http://{}{}", server.http, path.replace(':', "")));
        browser.wait_for_text("nothing checks who they are");
    }
}

#[test]
fn everything_with_an_attribute_is_erased_from_the_system_page() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut erased = span(1, 1, 0, "POST /checkout");
    erased.attributes = vec![KeyValue::new("user.email", "jane@example.org")];
    let body = traces("shop", vec![erased, span(2, 2, 0, "GET /")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    browser.open(&format!("http://{}/system", server.http));
    browser.wait_for("document.getElementById('erasure-what')");
    browser.evaluate("document.getElementById('erasure-what').focus()");
    browser.type_text("user.email=jane@example.org");
    browser.press("Enter");
    // The second click confirms the erasure.
    click_text(&mut browser, "Erase for good");
    let row = "document.querySelector('table[aria-label=Erasures] tbody tr')?.innerText ?? ''";
    browser.wait_for(&format!("({row}).includes('done')"));
    let row = browser.evaluate(row);
    assert!(row.as_str().unwrap().contains("attribute user.email"), "{row}");
    browser.screenshot("system-erasures");
    assert_eq!(server.get(&format!("/api/v1/traces/{:032x}", 1)).0, 404);
    assert_eq!(server.get(&format!("/api/v1/traces/{:032x}", 2)).0, 200);
}
