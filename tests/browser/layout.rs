//! Texts of pages stay in their boxes and apart from each other, on a phone and on two desktops.
//!
//! Owns the choice of pages and widths, the test of the script that measures, and the test of texts
//! with a second line. Owns neither the pass over the pages (`pages.rs`) nor that script
//! (`page_objects/text_layout.rs`).

use serde_json::json;

use super::{
    page_objects::{Page, misplaced_texts},
    pages::Case,
};
use crate::harness::{Server, browser::Browser, shared_incident::incident};

/// Pages whose texts are measured: those of `pages.rs`, and two that [`with_tabs`] adds.
const PAGES: [&str; 16] = [
    "home",
    "trace",
    "trace-flame",
    "trace-tree",
    "trace-table",
    "trace-graph",
    "trace-services",
    "trace-logs",
    "transactions",
    "transaction-type",
    "services",
    "service",
    "map",
    "errors",
    "logs",
    "system",
];
/// Widths in pixels of the windows in which texts are measured.
const WIDTHS: [u32; 3] = [1_280, 1_440, 390];

/// Returns the pages and the tabs of a trace that they lack.
pub(super) fn with_tabs(server: &Server, mut pages: Vec<Case>) -> Vec<Case> {
    let trace = pages.iter().find(|case| case.name == "trace").unwrap().path.clone();
    pages.extend([
        Case::new(
            server,
            "trace-services",
            &format!("{trace}?tab=services"),
            "document.querySelectorAll('.services-table tbody tr').length > 1",
        ),
        Case::new(
            server,
            "trace-logs",
            &format!("{trace}?tab=logs"),
            "document.querySelector('.trace-log, .trace-pane .state')",
        ),
    ]);
    for name in PAGES {
        assert!(pages.iter().any(|case| case.name == name), "{name} has another name now");
    }
    pages
}

/// Returns true if the texts of a page are measured at this width.
pub(super) fn is_measured(name: &str, width: u32) -> bool {
    PAGES.contains(&name) && WIDTHS.contains(&width)
}

/// Returns a line for each kind of misplaced text of the open page with this name and width.
pub(super) fn faults_of_texts(browser: &mut Browser, name: &str, width: u32) -> Vec<String> {
    let found = misplaced_texts(browser);
    found.into_iter().map(|text| format!("{name} at {width}: {text}")).collect()
}

/// Texts at fixed places. The class of each names the expected fault, or begins with `fine`.
const EXAMPLES: &str = r"
    <style>
        * { font: 16px/20px monospace; white-space: nowrap; }
        body > * { position: absolute; left: 10px; width: 60px; }
        .leaves { top: 10px; border: 1px solid black; }
        .cut { top: 50px; overflow: hidden; }
        .over { top: 90px; }
        .over-too { top: 96px; left: 20px; }
        .fine-ellipsis { top: 140px; overflow: hidden; text-overflow: ellipsis; }
        .fine-scroller { top: 180px; overflow: auto; }
        .fine-hidden { top: 230px; border: 1px solid black; visibility: hidden; }
        .fine-below { top: 270px; }
        .fine-cover { top: 270px; z-index: 1; width: 300px; background: white; }
        .fine-box { top: 310px; width: 300px; border: 1px solid black; line-height: 14px; }
        .drawing { top: 350px; width: 300px; height: 40px; }
    </style>
    <div class=leaves>longer than its box</div>
    <div class=cut>cut in the middle of a letter</div>
    <div class=over>below another</div>
    <div class=over-too>above another</div>
    <div class=fine-ellipsis>longer than its box</div>
    <div class=fine-scroller>longer than its box</div>
    <div class=fine-hidden>longer than its box</div>
    <div class=fine-below>covered</div>
    <div class=fine-cover>covers</div>
    <div class=fine-box>two<br>lines</div>
    <svg class=drawing>
        <g class=node><rect width=30 height=20 fill=none></rect><text y=15>longer</text></g>
    </svg>";

#[test]
fn misplaced_texts_are_found_and_texts_that_may_be_cut_are_not() {
    let Some(mut browser) = Browser::alone("layout of texts", 800, 600) else { return };
    browser.evaluate(&format!("document.body.innerHTML = {}", json!(EXAMPLES)));
    let found = misplaced_texts(&mut browser);
    let wanted = [
        ["div.leaves 'longer than its box' [11,", " leaves div.leaves [10,10..72,"],
        ["div.cut 'cut in the middle of a letter' [10,", " is cut by div.cut [10,50..70,70]"],
        [
            "svg.drawing > g.node > text 'longer' [10,",
            " leaves svg.drawing > g.node [10,350..40,370]",
        ],
        ["div.over 'below another' [10,", " overlaps div.over-too 'above another' [20,"],
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (line, parts) in found.iter().zip(wanted) {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
    }
}

#[test]
fn a_message_that_does_not_fit_into_a_line_has_a_second_one() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let mut page = Page::open(&mut browser, &server, "/errors");
    page.wait_for_rows("Exceptions");
    page.wait_for(
        "(all => all.length > 0 && all.every(e => e.scrollHeight <= e.clientHeight)) \
         ([...document.querySelectorAll('.errors-words')] \
         .filter(e => e.textContent === 'card declined: do not honor (05)'))",
    );
}
