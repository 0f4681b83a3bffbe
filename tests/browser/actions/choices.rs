//! Choices that narrow a list, and a box in the heatmap of a service.

use super::incident;
use crate::{
    browser::page_objects::{ExplorePage, Page},
    harness::browser::Browser,
};

const HEATMAP: &str = "document.querySelector('.heat-plot')";

#[test]
fn services_are_narrowed_to_those_that_changed() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services?live=off");
    let shown = "document.querySelectorAll('table[aria-label=Services] tbody tr[id]').length";
    let changed = "Number([...document.querySelectorAll('[aria-label=\"Which services\"] button')] \
         .map(e => e.innerText.trim()).find(words => words.startsWith('Changed '))?.split(' ')[1])";
    page.wait_for_rows("Services");
    page.wait_until_settled();
    page.wait_for(&format!("{changed} > 0 && {changed} < {shown}"));
    let all = page.browser.evaluate(shown);
    page.choose("Which services", "Changed");
    page.wait_for_address("only=changed");
    page.wait_for(&format!("{shown} === {changed}"));
    page.open_again();
    page.wait_for(&format!("{shown} > 0 && {shown} === {changed}"));
    page.choose("Which services", "All");
    page.wait_for_address_without("only=");
    page.wait_for(&format!("{shown} === {all}"));
}

#[test]
fn examples_of_a_type_are_narrowed_to_failed_or_typical_ones() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let path = "/transactions/web-gateway/POST%20%2Fcheckout?range=1h&live=off";
    let mut page = Page::open(&mut browser, &server, path);
    let rows = "[...document.querySelectorAll('table[aria-label=Examples] tbody tr')]";
    let kinds = format!("[...new Set({rows}.map(row => row.cells[0].innerText.trim()))].join()");
    page.wait_for(&format!("{kinds} === 'slow,failed,typical'"));
    page.choose("Which examples", "Failed");
    page.wait_for_address("examples=failed");
    page.wait_for(&format!(
        "{kinds} === 'failed' && {rows}.every(row => Number(row.cells[5].innerText) > 0)"
    ));
    page.choose("Which examples", "Typical");
    page.wait_for_address("examples=typical");
    page.wait_for(&format!("{kinds} === 'typical'"));
}

/// Draws a box over the longer durations of a service.
fn draw_box(page: &mut Page<'_>) {
    page.wait_until_settled();
    page.wait_for(HEATMAP);
    page.browser.evaluate(&format!("{HEATMAP}.scrollIntoView({{ block: 'center' }})"));
    ExplorePage::shown(page.browser).draw_box();
    page.wait_for_address("box=");
    page.wait_for("document.querySelector('.heat-box') && document.querySelector('.box-bar')");
}

#[test]
fn a_box_of_a_service_is_dropped_or_leads_to_its_spans() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services/payment?live=off");
    draw_box(&mut page);
    page.press_button("Drop the box");
    page.wait_for_address_without("box=");
    page.wait_for("!document.querySelector('.heat-box, .box-bar')");
    draw_box(&mut page);
    page.press_button("Explore these spans");
    page.wait_for("location.pathname === '/explore'");
    for filter in ["service=payment", "operation=", "min=", "max=", "from=", "to="] {
        page.wait_for_address(filter);
    }
    page.wait_for("document.querySelectorAll('.traces-row').length > 0");
}
