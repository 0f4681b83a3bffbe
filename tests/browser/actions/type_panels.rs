//! Panels of a transaction type: numbers of the parts around its change, marks of failures in both
//! call trees, and requests that fail.

use serde_json::json;
use tidings_proto::otlp::Span;

use super::{incident, send_from_host};
use crate::{
    browser::page_objects::Page,
    harness::{
        Server,
        browser::Browser,
        spans::{now, span},
    },
};

const CHECKOUT: &str = "/transactions/web-gateway/POST%20%2Fcheckout?range=1h";
/// The same page without refreshes.
const CHECKOUT_AT_REST: &str = "/transactions/web-gateway/POST%20%2Fcheckout?range=1h&live=off";
/// Names of both samples whose call trees are drawn.
const SAMPLES: &str = "[...document.querySelectorAll('.pair-head b')].map(e => e.innerText).join()";
const TREES: &str = "document.querySelector('section[aria-label=\"Where the time goes\"]')";
const EXAMPLES: &str = "document.querySelector('section[aria-label=Examples]')";

/// True when the facts show the shares of failures of a report of changes that the page asked for:
/// since the change, and of the baseline. The shown numbers are compared and not their texts: the
/// page rounds ties to even (6.25 to 6.2), and JavaScript rounds them up.
const SHOWS_REPORTED_SHARES: &str = r"(async () => {
    const asked = performance.getEntriesByType('resource').map(e => e.name)
        .filter(name => new URL(name).pathname === '/api/v1/changes');
    const is_near = (shown, share) =>
        Math.abs(Number(shown.replace('<', '')) - share * 100) <= 0.1;
    const words = /^(<?[0-9.]+) %\s*failed, was (<?[0-9.]+) %$/;
    const facts = [...document.querySelectorAll('.page-facts .page-fact')]
        .map(e => e.innerText.trim().match(words)).filter(Boolean);
    const shows = async url => {
        const { transactions } = await (await fetch(url)).json();
        const { since, before } = transactions
            .find(of => of.service === 'web-gateway' && of.operation === 'POST /checkout');
        return facts.some(([, now, was]) =>
            is_near(now, since.errorShare) && is_near(was, before.errorShare));
    };
    return (await Promise.all([...new Set(asked)].map(shows))).some(Boolean);
})()";

/// Makes requests of these paths fail, and no others.
fn block(browser: &mut Browser, paths: &[&str]) {
    let urls: Vec<String> = paths.iter().map(|path| format!("*/api/v1/{path}?*")).collect();
    browser.expect_errors("ERR_BLOCKED_BY_CLIENT");
    browser.command("Network.setBlockedURLs", json!({ "urls": urls }));
}

/// Presses the buttons that retry in this part of the page until all its notes are gone.
fn retry_notes(page: &mut Page<'_>, part: &str, notes: u64) {
    let buttons = format!("{part}.querySelectorAll('.note button')");
    for left in (0..notes).rev() {
        page.click(&format!("{buttons}[0]"));
        page.wait_for(&format!("{buttons}.length <= {left}"));
    }
}

#[test]
fn numbers_of_a_type_are_those_since_its_change_and_none_before_they_load() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let held = json!({ "patterns": [{ "urlPattern": "*/api/v1/changes?*" }] });
    browser.command("Fetch.enable", held);
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    page.wait_for("document.querySelector('.type-charts')");
    page.wait_for("document.querySelector('.page-facts [aria-label=\"Loading the numbers\"]')");
    let facts = "document.querySelectorAll('.page-facts .page-fact').length";
    assert_eq!(page.browser.evaluate(facts), 0, "numbers of another time");
    page.browser.command("Fetch.disable", json!({}));
    page.wait_for(&format!("{facts} === 5"));
    page.wait_for(
        "(words => words.length === 2 && /^since .*[0-9]{2}:[0-9]{2}$/.test(words[0]) \
         && /^against .*[0-9]{2}:[0-9]{2} to .*[0-9]{2}:[0-9]{2}$/.test(words[1]))\
         ([...document.querySelectorAll('.page-facts > .mute')].map(e => e.innerText))",
    );
    page.wait_until_settled();
    page.wait_for(SHOWS_REPORTED_SHARES);
}

/// True when the graph, the differences and a sample of traces were requested with the baseline of
/// the report. The report is requested again, so that its times may be some seconds later.
const HAS_ONE_BASELINE: &str = "(async () => {
    const asked = performance.getEntriesByType('resource').map(e => new URL(e.name));
    const all = path => asked.filter(url => url.pathname === `/api/v1/${path}`);
    const { baseline } = await (await fetch(all('changes').at(-1))).json();
    const is_near = (one, other) => Math.abs(Number(one) - Number(other)) < 60e9;
    const has = (url, start, end) => is_near(url?.searchParams.get(start), baseline.startUnixNano)
        && is_near(url?.searchParams.get(end), baseline.endUnixNano);
    return has(all('graph').at(-1), 'baselineStart', 'baselineEnd')
        && has(all('explain').at(-1), 'baselineStart', 'baselineEnd')
        && all('traces').some(url =>
            url.searchParams.get('limit') === '300' && has(url, 'start', 'end'));
})()";

#[test]
fn facts_call_trees_and_calls_of_a_type_compare_with_one_baseline() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    page.wait_for(&format!("{SAMPLES}.startsWith('Before,Since')"));
    page.wait_for_rows("Calls");
    page.wait_until_settled();
    page.wait_for(HAS_ONE_BASELINE);
    // The differences say which times they compare.
    page.wait_for(
        "/^What is different since .*[0-9]{2}:[0-9]{2}\\s+beside .*[0-9]{2}:[0-9]{2} to .*[0-9]{2}:[0-9]{2}/\
         .test(document.querySelector('section[aria-label^=\"What is different since\"] .panel-head')\
         ?.innerText)",
    );
    // The trees do, too, and compare by time.
    page.wait_for(
        "/^Before\\s+.*[0-9]{2}:[0-9]{2} to .*[0-9]{2}:[0-9]{2}, /\
         .test(document.querySelector('.pair-head')?.innerText)",
    );
    page.wait_for(
        "/^[+−][0-9.]+ m?s$/.test(document.querySelector(\
         '[aria-label^=\"Call tree: Since\"] .is-more .frame-number')?.innerText)",
    );
    // The mean above a tree is that of its root.
    page.wait_for(
        "(words => words('.pair-mean') \
           === `mean ${words('[aria-label^=\"Call tree: Before\"] .frame-number')} of the root span`) \
         (selector => document.querySelector(selector)?.innerText.trim().replace(/\\s+/g, ' '))",
    );
    // Failures are counted in the time of the facts.
    page.wait_for(
        "/^[0-9,]+ of [0-9,]+ since .*[0-9]{2}:[0-9]{2}(; dashed: <10 calls)?$/\
         .test(document.querySelector('[aria-label=Failed] .panel-head > .mute')?.innerText)",
    );
    // The time is stated once, and the chart of durations has its p95.
    let stated = "document.querySelector('main').innerText.match(/against [0-9]/g)?.length";
    assert_eq!(page.browser.evaluate(stated), 1);
    page.wait_for(
        "document.querySelector('[aria-label=Duration] .chart-level')?.innerText === 'p95 was'",
    );
}

#[test]
fn both_charts_with_dashed_lines_have_their_key() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let call = |id: u64| {
        let start = now() - id * 600_000_000_000;
        let end = start + 1_000_000;
        let root = span(u128::from(id), id, 0, "POST /order");
        Span { start_time_unix_nano: start, end_time_unix_nano: end, ..root }
    };
    // Each step has at most one call.
    send_from_host(&server, "shop", "node-4", (1..=5).map(call).collect());
    let path = "/transactions/shop/POST%20%2Forder?range=1h&live=off";
    let mut page = Page::open(&mut browser, &server, path);
    page.wait_for(
        "['Failed', 'Duration'].every(chart => \
         document.querySelector(`[aria-label=${chart}] .panel-head > .mute`)\
         ?.innerText.includes('dashed: <10 calls'))",
    );
}

#[test]
fn a_step_that_the_time_has_a_part_of_says_so() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let now = browser.evaluate("Date.now()").as_u64().unwrap();
    // Steps of five minutes begin at multiples of their length, and this range begins and ends a
    // second before one. So the last step has some thirty calls.
    let end = now / 300_000 * 300_000 - 1_000;
    let range = format!("from={}&to={end}", end - 3 * 3_600_000);
    let path = CHECKOUT_AT_REST.replace("range=1h", &range);
    let mut page = Page::open(&mut browser, &server, &path);
    page.wait_for("document.querySelectorAll('[aria-label=Duration] .chart-cut').length === 2");
    page.wait_until_settled();
    page.browser.evaluate("document.querySelector('[aria-label=Duration] .chart-plot').focus()");
    // Without a step under the cursor, this is the last one.
    page.browser.press("ArrowLeft");
    page.wait_for(
        "document.querySelector('[aria-label=Duration] .chart-uncertain')\
         ?.innerText.includes('part of the step')",
    );
    // The line to the value of the last step is dashed.
    page.wait_for(
        "(path => path?.getTotalLength() > 0 && getComputedStyle(path).strokeDasharray !== 'none') \
         (document.querySelector('[aria-label=Duration] .chart-dashes'))",
    );
}

#[test]
fn both_call_trees_of_a_type_mark_failures() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    page.wait_for(&format!("{SAMPLES}.startsWith('Before,Since')"));
    page.wait_for(
        "(trees => trees.length === 2 && trees.every(tree => tree.querySelector('.frame-failed'))) \
         ([...document.querySelectorAll('[aria-label^=\"Call tree:\"]')])",
    );
}

#[test]
fn a_call_of_the_tree_is_drawn_as_wide_as_the_picture_and_the_whole_tree_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    page.wait_for(&format!("{SAMPLES}.startsWith('Before,Since')"));
    page.wait_until_settled();
    // A call below the root, wide enough for the mouse.
    let below = "[...document.querySelectorAll('[aria-label^=\"Call tree: Since\"] .frame')] \
         .find(e => parseFloat(e.style.width) > 5 && parseFloat(e.style.width) < 99)?.id";
    page.wait_for(below);
    let id = page.browser.evaluate(below);
    let frame = format!("document.getElementById({id})");
    let width = format!("parseFloat({frame}?.style.width)");
    let before = page.browser.evaluate(&width);
    page.click(&frame);
    page.wait_for("document.querySelector('.pair-call b')");
    page.click(&frame);
    page.wait_for(&format!("{width} === 100"));
    page.press_button("Show the whole tree");
    page.wait_for(&format!("{width} === {before}"));
    page.wait_for("!document.querySelector('.pair-call button')");
    // A link opens the chosen call in the limited tree.
    page.click(&frame);
    page.wait_for(&format!("{width} === 100"));
    page.wait_for_address("root=");
    let name = page.browser.evaluate("document.querySelector('.pair-call b').innerText");
    page.open_again();
    page.wait_for(&format!(
        "document.querySelector('.pair-call b')?.innerText === {name} \
         && document.querySelector('.pair-call button')"
    ));
}

#[test]
fn the_call_tree_of_failed_transactions_is_chosen_and_drawn_beside_all() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    page.choose("Which are compared", "Failed");
    page.wait_for_address("basis=failed");
    page.wait_for(&format!("{SAMPLES} === 'All,Failed'"));
    // All of the sample failed, so that its root has a mark.
    page.wait_for(
        "document.querySelector('[aria-label=\"Call tree: Failed\"] .frame')\
         ?.querySelector('.frame-failed')",
    );
    page.wait_for("document.querySelectorAll('[aria-label=\"Call tree: All\"] .frame').length > 3");
    page.wait_for_text("What the failed ones have in common");
}

#[test]
fn samples_that_fail_are_named_where_they_are_missing_and_asked_for_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    block(&mut browser, &["traces"]);
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    for kind in ["slowest", "failed", "typical"] {
        page.wait_for(&format!(
            "{EXAMPLES}?.innerText.includes('The {kind} examples are not known')"
        ));
    }
    let text = format!("{EXAMPLES}.innerText");
    let said = page.browser.evaluate(&text);
    assert!(!said.as_str().unwrap().contains("There are none"), "{said}");
    page.wait_for(&format!(
        "{TREES}?.querySelectorAll('.note button').length === 2 \
         && !{TREES}.querySelector('.loading')"
    ));
    block(page.browser, &[]);
    retry_notes(&mut page, EXAMPLES, 3);
    page.wait_for_rows("Examples");
    retry_notes(&mut page, TREES, 2);
    page.wait_for(&format!("{SAMPLES}.startsWith('Before,Since')"));
}

#[test]
fn a_comparison_that_fails_is_named_and_asked_for_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    block(&mut browser, &["compare", "changes"]);
    let mut page = Page::open(&mut browser, &server, CHECKOUT_AT_REST);
    let error = format!("{TREES}?.querySelector('.state-error')");
    page.wait_for(&format!("{error}?.innerText.includes('Where the time goes: ')"));
    page.wait_for(
        "document.querySelector('.page-head .note')?.innerText\
         .includes('What changed is not known')",
    );
    block(page.browser, &[]);
    page.click(&format!("{error}?.querySelector('button')"));
    page.wait_for(&format!("{SAMPLES}.startsWith('All,Slowest')"));
    // The change is known from here, and the trees are those around it.
    retry_notes(&mut page, "document.querySelector('.page-head')", 1);
    page.wait_for(&format!("{SAMPLES}.startsWith('Before,Since')"));
}

#[test]
fn the_list_of_types_explains_no_changed_rows_where_the_changes_are_not_known() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    block(&mut browser, &["changes"]);
    let mut page = Page::open(&mut browser, &server, "/transactions?range=1h&live=off");
    page.wait_for_text("What changed is not known");
    page.wait_for(
        "(words => words?.startsWith('against ') && !words.includes('since the change')) \
         (document.querySelector('section[aria-label=Types] .panel-head > .mute')?.innerText)",
    );
}

#[test]
fn unknown_baseline_is_not_reported_as_too_small() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    block(&mut browser, &["changes", "transactions"]);
    let mut page = Page::open(&mut browser, &server, &format!("{CHECKOUT_AT_REST}&basis=since"));
    let panel =
        "document.querySelector('section[aria-label^=\"What is different since\"]')?.innerText";
    page.wait_for(&format!("{panel}.includes('The time before is not known')"));
    page.wait_for(&format!("{panel}.includes('those until then')"));
    let said = page.browser.evaluate(panel);
    assert!(!said.as_str().unwrap().contains("too few"), "{said}");
}

#[test]
fn numbers_whose_refresh_fails_are_marked_as_older() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, CHECKOUT);
    page.wait_for("document.querySelectorAll('.page-facts .page-fact').length === 5");
    page.wait_until_settled();
    block(page.browser, &["transactions"]);
    let error = "document.querySelector('.page > .state-error')";
    page.wait_for(&format!(
        "{error}?.innerText.includes('The numbers of this type: ') \
         && {error}.innerText.includes('What is shown is older.')"
    ));
    let kept = "document.querySelector('.type-charts') !== null";
    assert_eq!(page.browser.evaluate(kept), true);
    block(page.browser, &[]);
    page.click(&format!("{error}?.querySelector('button')"));
    page.wait_for(&format!("!{error}"));
}
