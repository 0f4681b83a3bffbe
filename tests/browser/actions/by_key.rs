//! Actions with the keyboard alone, without a pointer.

use serde_json::json;

use super::incident;
use crate::{
    browser::page_objects::{ExplorePage, Page},
    harness::browser::Browser,
};

/// The heatmap of Explore.
const PLOT: &str = "document.querySelector('.heat-plot')";

/// The box of the heatmap, and its size in pixels.
const BOX_SIZE: &str = "(box => box && [Math.round(box.width), Math.round(box.height)]) \
                        (document.querySelector('.heat-box')?.getBoundingClientRect())";

/// Waits for the heatmap and gives it the focus.
fn focus_heatmap(explore: &mut ExplorePage<'_>) {
    explore.page.wait_until_settled();
    explore.page.wait_for(&format!("{PLOT}?.querySelector('svg path')"));
    explore.page.browser.evaluate(&format!("{PLOT}.focus()"));
    explore.page.wait_for(&format!("document.activeElement === {PLOT}"));
}

/// Presses an arrow key with Shift.
fn press_shifted(browser: &mut Browser, key: &str) {
    let code = if key == "ArrowUp" { 38 } else { 37 };
    for kind in ["keyDown", "keyUp"] {
        let params = json!({
            "type": kind, "key": key, "windowsVirtualKeyCode": code, "modifiers": 8,
        });
        browser.command("Input.dispatchKeyEvent", params);
    }
}

/// Draws a box of three columns and two rows: the cursor begins in the last column.
fn draw_box(explore: &mut ExplorePage<'_>) {
    explore.page.browser.press("ArrowLeft");
    explore.page.wait_for("document.querySelector('.heat-cursor')");
    for key in ["ArrowLeft", "ArrowLeft", "ArrowUp"] {
        press_shifted(explore.page.browser, key);
    }
    explore.page.wait_for("document.querySelector('.heat-box')");
}

#[test]
fn a_box_of_the_heatmap_is_drawn_taken_and_dropped_by_keys() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off");
    focus_heatmap(&mut explore);
    draw_box(&mut explore);
    let cell = explore.page.browser.evaluate(
        "(box => [box.width, box.height]) \
         (document.querySelector('.heat-cursor').getBoundingClientRect())",
    );
    let drawn = explore.page.browser.evaluate(BOX_SIZE);
    for (side, count) in [(0, 3.0), (1, 2.0)] {
        let expected = cell[side].as_f64().unwrap() * count;
        let size = drawn[side].as_f64().unwrap();
        assert!((size - expected).abs() < 3.0, "{drawn} of {count} cells of {cell}");
    }
    // Escape drops a box that is not taken, and the address never has it.
    explore.page.browser.press("Escape");
    explore.page.wait_for("!document.querySelector('.heat-box, .heat-cursor')");
    explore.page.wait_for_address_without("box=");
    draw_box(&mut explore);
    explore.page.browser.press("Enter");
    explore.page.wait_for_address("box=");
    explore.page.wait_for("document.querySelector('.heat-box')");
    explore.page.browser.press("Escape");
    explore.page.wait_for_address_without("box=");
    explore.page.wait_for("!document.querySelector('.heat-box')");
}

#[test]
fn two_keys_open_each_page_of_the_rail() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/explore?live=off");
    page.wait_for("document.title === 'Explore · Tidings'");
    for (key, path, title) in [
        ("h", "/", "Home"),
        ("e", "/explore", "Explore"),
        ("t", "/transactions", "Transactions"),
        ("s", "/services", "Services"),
        ("m", "/map", "Map"),
        ("l", "/logs", "Logs"),
        ("x", "/errors", "Errors"),
        ("q", "/sql", "SQL"),
        ("c", "/connect", "Connect"),
        ("y", "/system", "System"),
    ] {
        page.browser.press("g");
        page.browser.press(key);
        page.wait_for(&format!(
            "location.pathname === '{path}' && document.title === '{title} · Tidings'"
        ));
    }
}

#[test]
fn escape_in_a_heatmap_without_a_box_stops_the_search() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off");
    focus_heatmap(&mut explore);
    explore.hold_searches(true);
    explore.page.click(
        "[...document.querySelectorAll('table[aria-label=Traces] th button')] \
         .find(head => head.innerText.trim() === 'Duration')",
    );
    explore.page.wait_for_address("sort=duration");
    explore.page.browser.evaluate(&format!("{PLOT}.focus()"));
    // A cursor is no box.
    explore.page.browser.press("ArrowLeft");
    explore.page.wait_for("document.querySelector('.heat-cursor')");
    explore.page.browser.press("Escape");
    explore.page.wait_for_text("Stopped");
    explore.page.wait_for("!document.querySelector('.heat-cursor')");
    explore.hold_searches(false);
    explore.page.press_button("Search again");
    explore.page.wait_for_rows("Traces");
}
