//! The map: the focus and its depth, edges, the time below.

use super::incident;
use crate::{browser::page_objects::MapPage, harness::browser::Browser};

#[test]
fn the_map_is_narrowed_to_what_is_around_a_service_and_widened_by_calls() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    let all = map.nodes().len();
    map.pick("fraud");
    map.page.press_button("Only what is around it");
    map.page.wait_for_address("focus=");
    map.page.wait_for_text("Whole map");
    let near = map.nodes();
    assert!(near.len() < all && near.iter().any(|name| name == "fraud"), "{near:?} of {all}");
    map.page.choose("How far around", "2 calls");
    map.page.wait_for_address("depth=2");
    let wide = map.nodes().len();
    assert!(wide > near.len(), "{wide} nodes within 2 calls, {} within 1", near.len());
    map.page.press_button("Whole map");
    map.page.wait_for_address_without("focus=");
    assert_eq!(map.nodes().len(), all);
    map.page.browser.assert_no_errors();
}

#[test]
fn an_edge_is_opened_from_the_list_and_from_the_picture() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.pick("payment");
    map.pick_edge_of_list("northpay");
    map.wait_for_panel("payment → northpay");
    map.page.wait_for_address("caller=");
    map.page.press_button("Close");
    map.page.wait_for("!document.querySelector('[aria-label=\"What is picked\"]')");
    map.click_edge("payment", "fraud");
    map.wait_for_panel("payment → fraud");
    map.page.press_button("Its calls");
    map.page.wait_for_address("/explore");
    map.page.browser.assert_no_errors();
}

#[test]
fn a_stretch_of_the_requests_below_the_map_becomes_its_time() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.scrub();
    map.page.wait_for_address("from=");
    map.page.wait_for_address("to=");
    map.page.browser.assert_no_errors();
}
