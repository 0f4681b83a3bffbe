//! Consistency of the culprit: Home, the transaction type, the service and the Map name the same
//! one.

use serde_json::json;

use super::{SETTLED, page_objects::Page};
use crate::harness::{Server, browser::Browser, shared_incident::incident};

/// First sentence of a page.
const SENTENCE: &str = "(document.querySelector('.page-head .say')?.innerText ?? '')";

#[test]
fn home_type_service_and_map_name_one_culprit() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    let (status, report) = server.get("/api/v1/changes");
    assert_eq!(status, 200);
    let subject = &report["headline"]["subject"];
    let culprit = subject["peer"].as_str().or(subject["service"].as_str()).unwrap();
    assert_eq!(culprit, "northpay", "{}", report["headline"]);
    browser.prefer("dark");
    for (name, path) in [
        ("home", "/"),
        ("type", "/transactions/web-gateway/POST%20%2Fcheckout"),
        ("service", "/services/payment"),
        ("map", "/map"),
    ] {
        browser.open(&format!("http://{}{path}", server.http));
        // The page of the type shows the result of its own comparison until the report arrives.
        browser.wait_for(&format!("{SENTENCE}.includes('since')"));
        let sentence = browser.evaluate(SENTENCE);
        let sentence = sentence.as_str().unwrap();
        assert!(sentence.starts_with(culprit), "{path}: {sentence}");
        assert!(sentence.contains("slower since"), "{path}: {sentence}");
        browser.wait_for(SETTLED);
        browser.screenshot(&format!("culprit-{name}-dark"));
    }
}

/// Returns the words about the change in the row of a service.
fn change_of(page: &mut Page<'_>, service: &str) -> String {
    let cell = format!(
        "[...document.querySelectorAll('table[aria-label=Services] tbody tr[id]')] \
         .find(row => row.querySelector('.service-name')?.innerText === '{service}')?.cells[1].innerText"
    );
    page.wait_for(&cell);
    page.browser.evaluate(&cell).as_str().unwrap().replace('\n', " ")
}

#[test]
fn the_caller_that_the_sentence_names_does_not_only_feel_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    let mut page = Page::open(&mut browser, &server, "/services");
    page.wait_for(&format!("{SENTENCE}.startsWith('northpay, called by payment')"));
    let change = change_of(&mut page, "payment");
    assert!(change.contains("northpay") && change.contains("× slower since"), "{change}");
    assert!(!change.starts_with("affected"), "{change}");
    // The numbers of the culprit name their quantile and are in order of time.
    let change = change_of(&mut page, "northpay");
    let is_named = ["p50 ", "p95 ", "mean "].iter().any(|quantile| change.contains(quantile));
    assert!(is_named && change.contains(" → "), "{change}");
    let mut page = Page::open(&mut browser, &server, "/services/payment");
    page.wait_for(
        "document.querySelector('.page-title .badge')?.innerText.includes('slower since')",
    );
    let badge = page.browser.evaluate("document.querySelector('.page-title .badge').innerText");
    assert!(!badge.as_str().unwrap().starts_with("affected"), "{badge}");
}

/// Checks that the words have a factor, and in order of time the two numbers whose ratio it is.
fn assert_factor_is_of_its_numbers(said: &str) {
    // A unit that both numbers have stands once.
    let millis = |words: &str, now: &str| {
        let unit = |words: &str| words.trim().split_once(' ').map(|(_, unit)| unit.to_owned());
        let unit = unit(words).or_else(|| unit(now)).unwrap();
        let factor = if unit.starts_with("ms") { 1.0 } else { 1_000.0 };
        words.trim().split(' ').next().unwrap().parse::<f64>().unwrap() * factor
    };
    let said = said.replace('\n', " ");
    let (before, now) = said.split_once(" → ").unwrap_or_else(|| panic!("no numbers: {said}"));
    let of =
        ["p50 ", "p95 ", "mean "].into_iter().find_map(|quantile| before.rsplit_once(quantile));
    let (words, before) = of.unwrap_or_else(|| panic!("no quantile: {said}"));
    let factor = words.split_once("× slower").unwrap_or_else(|| panic!("no factor: {said}")).0;
    let factor: f64 = factor.rsplit(' ').next().unwrap().trim_matches('●').parse().unwrap();
    let divided = millis(now, now) / millis(before, now);
    assert!((factor / divided - 1.0).abs() < 0.1, "{divided} is not the factor of: {said}");
}

#[test]
fn a_badge_of_a_callee_has_the_numbers_of_its_change() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    for (path, found, words) in [
        // The numbers of the row are those of another quantile, so the title has them.
        (
            "/services/payment",
            "document.querySelector('table[aria-label=Calls] .edge-name:has(.badge)')",
            "e.querySelector('.badge').title",
        ),
        // The words of a card are texts of a drawing, one below the other.
        (
            "/map",
            "document.querySelector('.network-node.is-culprit')",
            "[...e.querySelectorAll('span, .network-alarm, .network-number')] \
             .map(part => part.textContent).join('\\n')",
        ),
    ] {
        let mut page = Page::open(&mut browser, &server, path);
        page.wait_for(found);
        page.wait_until_settled();
        let said = page.browser.evaluate(&format!("(e => {words})({found})"));
        assert_factor_is_of_its_numbers(said.as_str().unwrap());
        // The badge is on the line of the name.
        let is_below = page.browser.evaluate(&format!(
            "(e => e?.querySelector('.badge')?.getBoundingClientRect().top \
               > e?.querySelector('a')?.getBoundingClientRect().bottom)({found})"
        ));
        assert_eq!(is_below, json!(false), "{path}");
        // No text is cut off.
        let cut = page.browser.evaluate(&format!(
            "(e => e instanceof HTMLElement && e.scrollHeight > e.clientHeight)({found})"
        ));
        assert_eq!(cut, json!(false), "{path}");
        // The bars of all cards have the same distance to the lower edge.
        let differ = page.browser.evaluate(
            "(rooms => Math.max(...rooms) - Math.min(...rooms) > 1) \
             ([...document.querySelectorAll('.network-node')] \
               .map(e => ['.network-card', '.network-track'] \
                 .map(part => e.querySelector(part).getBoundingClientRect().bottom)) \
               .map(([card, bar]) => card - bar))",
        );
        assert_eq!(differ, json!(false), "{path}");
    }
}

#[test]
fn nothing_is_as_usual_or_new_without_data_of_the_time_before() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for path in ["/", "/?by=services", "/services", "/services/payment", "/transactions", "/errors"]
    {
        let path = format!("{path}{}range=24h", if path.contains('?') { '&' } else { '?' });
        let mut page = Page::open(&mut browser, &server, &path);
        page.wait_for_text("othing to compare with");
        page.wait_until_settled();
        let said = page.browser.evaluate("document.querySelector('main').innerText");
        let said = said.as_str().unwrap();
        // The server determines the state of log patterns, so the check leaves it out.
        let said = said.split("Log patterns").next().unwrap();
        let said = said.split("New log patterns").next().unwrap();
        for wrong in ["as usual", "answers as before", "NEW"] {
            assert!(!said.contains(wrong), "{path} says {wrong}: {said}");
        }
        let is_said = said.contains("no calls before");
        assert!(is_said || path.starts_with("/errors"), "{path}: {said}");
    }
}

#[test]
fn a_types_charts_mark_the_version_that_its_sentence_names() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("failing-version");
    let path = "/transactions/web-gateway/POST%20%2Fcheckout";
    let mut page = Page::open(&mut browser, &server, path);
    page.wait_for(&format!("{SENTENCE}.includes('payment 2.14.0')"));
    for chart in ["Calls", "Failed", "Duration"] {
        page.wait_for(&format!(
            "[...document.querySelectorAll('[aria-label={chart}] .chart-mark')] \
             .some(e => e.title.includes('payment 2.14.0'))"
        ));
    }
    page.browser.screenshot("type-marks-other-version");
    // A label has as much room as its side of the plot.
    for (width, height) in [(1_280, 800), (390, 844)] {
        page.browser.resize(width, height);
        page.wait_for(
            "(main => main.scrollWidth <= main.clientWidth)(document.querySelector('main')) \
             && (labels => labels.length >= 3 && labels.every(label => { \
               const place = label.getBoundingClientRect(); \
               const plot = label.closest('.chart-plot').getBoundingClientRect(); \
               return place.left >= plot.left - 1 && place.right <= plot.right + 1; })) \
             ([...document.querySelectorAll('.chart-mark-label')])",
        );
    }
}

/// Pages report that the comparison of changes failed, and show no other result in its place.
#[test]
fn failed_comparison_is_reported_in_its_place() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    browser.expect_errors("ERR_BLOCKED_BY_CLIENT");
    let block = |page: &mut Page<'_>, urls| {
        page.browser.command("Network.setBlockedURLs", json!({ "urls": urls }));
    };
    let mut page = Page::open(&mut browser, &server, "/connect");
    block(&mut page, json!(["*/api/v1/changes*"]));
    let mut page = Page::open(&mut browser, &server, "/");
    let fresh = "document.querySelector('[aria-label=\"New exceptions\"]')";
    page.wait_for(&format!("{fresh}?.querySelector('.note button')"));
    let mut page = Page::open(&mut browser, &server, "/services");
    page.wait_for_rows("Services");
    page.wait_for_text("What changed is not known");
    let said = page.browser.evaluate("document.querySelector('main').innerText");
    assert!(!said.as_str().unwrap().contains("as usual"), "{said}");
    // The server answers again from here.
    block(&mut page, json!([]));
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for(&format!("{fresh}?.querySelector('ul, p') && !{fresh}.querySelector('.note')"));
}

#[test]
fn answers_of_a_part_of_the_time_lead_to_one_that_is_read_whole() {
    let server = Server::start_with(&["--search-rows-max", "2000"]);
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    for path in [
        "/",
        "/errors",
        "/transactions",
        "/transactions/web-gateway/POST%20%2Fcheckout",
        "/services/payment?span=whole",
    ] {
        let mut page = Page::open(&mut browser, &server, path);
        let link = "[...document.querySelectorAll('.note-warning a')] \
             .find(e => e.innerText === 'Read Last 15 min whole')";
        page.wait_for(link);
        page.wait_for(SETTLED);
        page.browser.evaluate(&format!("{link}.click()"));
        page.wait_for_address("range=15m");
    }
}
