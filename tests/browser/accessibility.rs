//! Runs axe-core on every page and on its parts that a user opens, also in a narrow window: all
//! rules in the dark theme, those of colours in the light one. Expects no serious and no critical
//! fault.
//!
//! The library comes from npm, as the client libraries do. It runs through the browser's debugging
//! protocol, so that the page's content security policy stays unchanged.

use serde_json::json;

use super::{
    SETTLED, click,
    layout::with_tabs,
    page_objects::ExplorePage,
    pages::{Case, cases, welcome},
};
use crate::{
    clients::{
        NPM,
        program::{make, prepared},
    },
    harness::{Server, browser::Browser},
};

const PACKAGE: &str = r#"{ "private": true, "dependencies": { "axe-core": "4.10.3" } }"#;

/// Returns the text of the library, or `None` where npm is not installed.
fn axe() -> Option<String> {
    if !NPM.is_installed("axe-core") {
        return None;
    }
    let folder = prepared("axe", PACKAGE, |folder| {
        std::fs::write(folder.join("package.json"), PACKAGE).unwrap();
        make(
            std::process::Command::new("npm")
                .args([
                    "install",
                    "--no-package-lock",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                ])
                .current_dir(folder),
        );
    });
    Some(std::fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js")).unwrap())
}

/// Function that returns the serious and critical faults: rule, impact and the first elements.
/// Without names of rules it applies all of them.
const FAULTS: &str = "rules => axe.run(document, { resultTypes: ['violations'], ...rules })
    .then(found => found.violations
    .filter(one => one.impact === 'serious' || one.impact === 'critical')
    .map(one => [one.id, one.impact, one.nodes.length, one.nodes.slice(0, 4)
        .map(node => node.html.slice(0, 200) + ' | ' + node.failureSummary)]))";

/// Themes, with the rules to apply. The second theme changes nothing but colours.
const THEMES: [(&str, &str); 2] =
    [("dark", "{}"), ("light", "{ runOnly: ['color-contrast', 'link-in-text-block'] }")];

/// Returns states of pages: links within text, no data, an error, and two more views.
fn states(server: &Server) -> [Case; 5] {
    let case = |name, path: &str, is_drawn| Case::new(server, name, path, is_drawn);
    [
        case(
            "unknown trace",
            &format!("/trace/{:032x}", 0xdead),
            "document.querySelectorAll('.state-body a').length > 1",
        ),
        case(
            "explore-spans",
            "/explore?live=off&view=spans",
            "document.querySelectorAll('table[aria-label=Spans] tbody tr').length > 3",
        ),
        case(
            "explore-empty",
            "/explore?live=off&service=nobody",
            "document.querySelector('.state')",
        ),
        case(
            "explore-error",
            "/explore?live=off&min=fast",
            "document.querySelector('.state-error')",
        ),
        case(
            "logs-differences",
            "/logs?live=off&view=differences",
            "document.querySelector('main h1, main h2')",
        ),
    ]
}

/// Script that lets a page's later timers of a second or more pass while `isHeld` is set. A page
/// that asks again makes its old numbers pale, and axe would measure their contrast.
const HOLD: &str = "for (const name of ['setTimeout', 'setInterval']) {
    const set = window[name].bind(window);
    window[name] = (work, wait, ...rest) =>
        set(() => { if (!window.isHeld || !(wait >= 1000)) work(...rest); }, wait);
}";

/// Starts a browser that loads axe-core into every page. `None` where either is not installed.
fn start(server: &Server) -> Option<Browser> {
    let mut browser = Browser::start(server, 1440, 900)?;
    let axe = axe()?;
    for source in [HOLD, &axe] {
        browser.command("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source }));
    }
    Some(browser)
}

/// Width of a wide window, in pixels.
const WIDE: u32 = 1_440;
/// Width of a narrow window, in pixels.
const NARROW: u32 = 390;

/// Returns the faults of the settled page in both themes, one text a theme. The page asks for
/// nothing new meanwhile.
fn faults_of(browser: &mut Browser, is_drawn: &str, name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    browser.evaluate("window.isHeld = true");
    for (theme, rules) in THEMES {
        browser.prefer(theme);
        browser.wait_for(&format!("document.documentElement.dataset.theme === '{theme}'"));
        browser.wait_for(is_drawn);
        browser.wait_for(SETTLED);
        let found = browser.evaluate(&format!("({FAULTS})({rules})"));
        if found != json!([]) {
            faults.push(format!("{name} {theme}: {found:#}"));
        }
    }
    faults
}

/// Examines every page, every tab of a trace and every state, in a window of this width.
fn examine_pages(width: u32) {
    let (server, empty) = (Server::start(), Server::start());
    let Some(mut browser) = start(&server) else { return };
    server.send_incident("slow-dependency");
    browser.expect_refusals(404, "/api/v1/traces/");
    browser.expect_refusals(400, "/api/v1/");
    browser.resize(width, 900);
    let pages = with_tabs(&server, cases(&server)).into_iter();
    let mut faults = Vec::new();
    for case in pages.chain(states(&server)).chain([welcome(&empty)]) {
        case.open(&mut browser);
        let name = format!("{} {width}", case.name);
        faults.extend(faults_of(&mut browser, case.shown(), &name));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn axe_finds_no_serious_fault_on_any_page_in_either_theme() {
    examine_pages(WIDE);
}

#[test]
fn axe_finds_no_serious_fault_on_any_page_in_a_narrow_window_in_either_theme() {
    examine_pages(NARROW);
}

/// A part that a user opens on a page.
struct OpenedPart {
    page: Case,
    open: fn(&mut Browser),
    /// Expression that is true once the part is drawn.
    is_open: &'static str,
}

/// Returns the parts of pages over the incident `slow-dependency`.
fn opened_parts(server: &Server) -> [OpenedPart; 6] {
    let trace = cases(server).into_iter().find(|case| case.name == "trace").unwrap();
    let page = |name, path, is_drawn| Case::new(server, name, path, is_drawn);
    let services = "document.querySelectorAll('main tbody tr').length > 3";
    [
        OpenedPart {
            page: page(
                "log record",
                "/logs?live=off",
                "document.querySelectorAll('.log').length > 10",
            ),
            open: |browser| browser.press("j"),
            is_open: "document.querySelector('.log.is-open .log-details')",
        },
        OpenedPart {
            page: page(
                "box of the heatmap",
                "/explore?live=off&service=payment",
                "document.querySelector('.heat-plot svg path')",
            ),
            open: |browser| ExplorePage::shown(browser).draw_box(),
            is_open: "document.querySelector('.heat-box') \
                      && document.querySelector('.explain-value')",
        },
        OpenedPart {
            page: Case { name: "span panel", ..trace },
            open: |browser| {
                click(
                    browser,
                    "[...document.querySelectorAll('.wf-line')] \
                     .find(e => e.innerText.includes('Payment.Authorize'))",
                );
                browser.wait_for("document.querySelector('.span-panel .attributes')");
                browser.evaluate(
                    "document.querySelectorAll('.span-panel details').forEach(e => e.open = true)",
                );
            },
            is_open: "document.querySelector('.span-panel .attributes')",
        },
        OpenedPart {
            page: page("suggestions of the search box", "/services", services),
            open: |browser| {
                browser.press("/");
                browser.wait_for("document.activeElement?.id === 'omni'");
                browser.type_text("payment");
            },
            is_open: "document.querySelector('.omni-names .suggest-option')",
        },
        OpenedPart {
            page: page("settings", "/services", services),
            open: |browser| browser.press(","),
            is_open: "document.querySelector('.sheet[aria-label=Settings]')",
        },
        OpenedPart {
            page: page("shortcuts", "/services", services),
            open: |browser| browser.press("?"),
            is_open: "document.querySelector('.sheet[aria-label=Shortcuts]')",
        },
    ]
}

#[test]
fn axe_finds_no_serious_fault_in_opened_parts_and_at_the_sign_in() {
    let server = Server::start();
    let Some(mut browser) = start(&server) else { return };
    server.send_incident("slow-dependency");
    let mut faults = Vec::new();
    for OpenedPart { page, open, is_open } in opened_parts(&server) {
        // Each part is opened once. It stays open in the narrow window.
        browser.resize(WIDE, 900);
        page.open(&mut browser);
        open(&mut browser);
        for width in [WIDE, NARROW] {
            browser.resize(width, 900);
            browser.wait_for(is_open);
            browser.wait_for(SETTLED);
            let name = format!("{} {width}", page.name);
            faults.extend(faults_of(&mut browser, is_open, &name));
        }
    }
    let with_keys = Server::start_with(&["--require-keys", "true"]);
    browser.expect_refusals(401, "/api/v1/");
    for width in [WIDE, NARROW] {
        browser.resize(width, 900);
        browser.open(&format!("http://{}/", with_keys.http));
        let is_asking = "document.getElementById('sign-in-key')";
        browser.wait_for(is_asking);
        faults.extend(faults_of(&mut browser, is_asking, &format!("sign-in {width}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
