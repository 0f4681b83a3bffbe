//! Actions on a transaction type: the default comparison, and the moments that charts and choices
//! show.

use serde_json::json;

use super::incident;
use crate::{browser::page_objects::Page, harness::browser::Browser};

const CHECKOUT: &str = "/transactions/web-gateway/POST%20%2Fcheckout?range=1h";
/// Names of both samples whose call trees are drawn.
const SAMPLES: &str = "[...document.querySelectorAll('.pair-head b')].map(e => e.innerText).join()";

#[test]
fn a_type_that_changed_is_compared_since_the_moment_that_its_sentence_names() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT);
    page.wait_for(&format!("/^Before,Since [0-9]{{2}}:[0-9]{{2}}$/.test({SAMPLES})"));
    page.wait_for_text("What is different since");
    let moment = page.browser.evaluate(&format!("{SAMPLES}.slice(-5)"));
    let sentence = page.browser.evaluate("document.querySelector('.page-head .say').innerText");
    let (moment, sentence) = (moment.as_str().unwrap(), sentence.as_str().unwrap());
    assert!(sentence.contains(&format!("{moment} (")), "{moment}: {sentence}");
    assert_eq!(page.browser.evaluate("location.search.includes('basis')"), false);
    page.wait_until_settled();
    // The page requested neither the trees nor the attributes on another basis first.
    let asked = "performance.getEntriesByType('resource').map(e => e.name).filter(name => \
                 name.includes('selectMinDuration') \
                 || name.includes('limit=300') && name.includes('minDuration'))";
    assert_eq!(page.browser.evaluate(asked), serde_json::json!([]));

    // The reader's choice takes precedence and is part of the address.
    page.choose("Which are compared", "Slowest");
    page.wait_for_address("basis=slow");
    page.wait_for(&format!("{SAMPLES}.startsWith('All,Slowest')"));
    let mut page = Page::open(&mut browser, &server, &format!("{CHECKOUT}&basis=slow"));
    page.wait_for(&format!("{SAMPLES}.startsWith('All,Slowest')"));
    page.wait_for_text("What the slow ones have in common");
}

#[test]
fn the_numbers_of_a_type_and_the_slowest_come_of_one_request() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let path = format!("{CHECKOUT}&basis=slow&live=off");
    let mut page = Page::open(&mut browser, &server, &path);
    page.wait_for(&format!("{SAMPLES}.startsWith('All,Slowest')"));
    page.wait_until_settled();
    // Longer steps, and the time before, have a step.
    let asked = "performance.getEntriesByType('resource').map(e => new URL(e.name)).filter(url => \
                 url.pathname === '/api/v1/transactions' && !url.searchParams.has('step')).length";
    assert_eq!(page.browser.evaluate(asked), 1);
}

#[test]
fn a_type_that_changed_is_compared_before_its_versions_are_known() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let held = json!({ "patterns": [{ "urlPattern": "*/api/v1/deployments?*" }] });
    browser.command("Fetch.enable", held);
    let mut page = Page::open(&mut browser, &server, &format!("{CHECKOUT}&live=off"));
    page.wait_for(&format!("/^Before,Since [0-9]{{2}}:[0-9]{{2}}$/.test({SAMPLES})"));
    page.wait_for_text("What is different since");
    let samples = page.browser.evaluate(SAMPLES);
    page.browser.command("Fetch.disable", json!({}));
    page.wait_until_settled();
    assert_eq!(page.browser.evaluate(SAMPLES), samples);
}

#[test]
fn a_type_without_a_time_before_is_compared_by_its_slowest() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let path = CHECKOUT.replace("range=1h", "range=all");
    let mut page = Page::open(&mut browser, &server, &path);
    page.wait_for(&format!("{SAMPLES}.startsWith('All,Slowest')"));
}

#[test]
fn one_moment_has_one_mark_and_is_offered_once() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT);
    for chart in ["Calls", "Failed", "Duration"] {
        page.wait_for(&format!(
            "(marks => marks.filter(title => title.includes('slower')).length === 1 \
             && !marks.some(title => title.includes('compared since')))\
             ([...document.querySelectorAll('[aria-label={chart}] .chart-mark')].map(e => e.title))"
        ));
    }
    page.wait_for(
        "(times => times.length > 0 && times.every((time, at) => at === 0 \
         || time - times[at - 1] > 60_000))\
         ([...document.querySelectorAll('[aria-label=\"Since when\"] option')].map(e => Number(e.value)))",
    );
}
