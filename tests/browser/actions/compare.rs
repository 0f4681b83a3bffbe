//! Compare: ghost bars, what costs most, another side.

use super::{incident, traces};
use crate::{browser::page_objects::ComparePage, harness::browser::Browser};

#[test]
fn the_other_trace_stands_behind_this_one_as_ghost_bars() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [left, right] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, &right);
    compare.page.wait_for("document.querySelectorAll('.lane-ghost').length > 5");
    compare.page.wait_for("document.querySelectorAll('.lane .lane-bar').length > 5");
    // Lined up, every bar begins at the left.
    compare.page.choose("Where bars begin", "Starts lined up");
    compare.page.wait_for(
        "[...document.querySelectorAll('.lane .lane-bar')].every(e => parseFloat(e.style.left) === 0)",
    );
    compare.page.browser.assert_no_errors();
}

#[test]
fn a_call_of_most_impact_is_opened_in_the_lanes() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [left, _] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, "typical");
    let name = compare.open_impact();
    compare.wait_for_chosen(&name);
    compare.page.wait_for_text("Is it the only one?");
    compare.page.browser.assert_no_errors();
}

#[test]
fn another_trace_is_compared_and_the_sides_are_swapped() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [left, right] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, "typical");
    compare.with_other("no id");
    compare.page.wait_for(
        "document.querySelector('[aria-label=\"Another trace to compare with\"]').ariaInvalid === 'true'",
    );
    compare.with_other(&right);
    compare.page.wait_for_address(&format!("left={left}&right={right}"));
    compare.page.wait_for_text(&right[..8]);
    compare.page.press_button("Swap");
    compare.page.wait_for_address(&format!("left={right}&right={left}"));
    compare.page.press_button("With typical");
    compare.page.wait_for_address(&format!("left={right}&right=typical"));
    compare.page.wait_for_text("of its type, p50");
    compare.page.browser.assert_no_errors();
}
