//! Runs axe-core on every page in both themes and expects no serious and no critical fault.
//!
//! The library comes from npm, as the client libraries do. It runs through the browser's debugging
//! protocol, so that the page's content security policy stays unchanged.

use serde_json::{Value as Json, json};

use super::{
    SETTLED,
    pages::{Case, cases},
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

/// Expression that returns the serious and critical faults: rule, impact and the first elements.
const FAULTS: &str =
    "axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations
    .filter(one => one.impact === 'serious' || one.impact === 'critical')
    .map(one => [one.id, one.impact, one.nodes.length, one.nodes.slice(0, 4)
        .map(node => node.html.slice(0, 200) + ' | ' + node.failureSummary)]))";

/// Returns states of pages: links within text, no data, an error, and two more views.
fn states() -> [Case; 5] {
    [
        Case {
            name: "unknown trace",
            path: format!("/trace/{:032x}", 0xdead),
            is_drawn: "document.querySelectorAll('.state-body a').length > 1",
        },
        Case {
            name: "explore-spans",
            path: "/explore?live=off&view=spans".to_owned(),
            is_drawn: "document.querySelectorAll('table[aria-label=Spans] tbody tr').length > 3",
        },
        Case {
            name: "explore-empty",
            path: "/explore?live=off&service=nobody".to_owned(),
            is_drawn: "document.querySelector('.state')",
        },
        Case {
            name: "explore-error",
            path: "/explore?live=off&min=fast".to_owned(),
            is_drawn: "document.querySelector('.state-error')",
        },
        Case {
            name: "logs-differences",
            path: "/logs?live=off&view=differences".to_owned(),
            is_drawn: "document.querySelector('main h1, main h2')",
        },
    ]
}

#[test]
fn axe_finds_no_serious_fault_on_any_page_in_either_theme() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let Some(axe) = axe() else { return };
    server.send_incident("slow-dependency");
    browser.command("Page.addScriptToEvaluateOnNewDocument", json!({ "source": axe }));
    browser.expect_refusals(404, "/api/v1/traces/");
    browser.expect_refusals(400, "/api/v1/");
    // Colours in the middle of a transition would give wrong contrasts.
    browser.still();
    let mut faults = Vec::new();
    for case in cases(&server).into_iter().chain(states()) {
        for width in [390, 1440] {
            browser.resize(width, 900);
            browser.open(&format!("http://{}{}", server.http, case.path));
            browser.wait_for(case.is_drawn);
            browser.wait_for(SETTLED);
            for theme in ["dark", "light"] {
                browser.prefer(theme);
                browser.wait_for(case.is_drawn);
                let found = browser.evaluate(FAULTS);
                if found != json!([]) {
                    faults.push(format!("{} {theme} {width}: {found:#}", case.name));
                }
            }
        }
        // The sheets can be opened on every page. One page is enough to check them.
        if case.name == "home" {
            for (key, name) in [("?", "Keys"), (",", "Settings")] {
                browser.press(key);
                browser.wait_for(&format!("document.querySelector('.sheet[aria-label={name}]')"));
                browser.wait_for(SETTLED);
                let found: Json = browser.evaluate(FAULTS);
                if found != json!([]) {
                    faults.push(format!("{name}: {found:#}"));
                }
                browser.press("Escape");
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
