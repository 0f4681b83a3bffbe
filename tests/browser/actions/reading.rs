//! Lists and the pages that they lead to: Home, Services, a service, Errors, Transactions, a
//! transaction type, a transaction, System, Connect.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, Span};

use super::{incident, traces};
use crate::{
    browser::{page_objects::Page, pages::BEYOND},
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, span},
    },
};

#[test]
fn home_lists_transactions_or_services_and_leads_to_each() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for_rows("What changed");
    page.wait_for(
        "[...document.querySelectorAll('[aria-label=\"What is listed\"] button')] \
         .some(e => /^Services \\d+, stores and outside systems \\d+$/.test(e.innerText.trim()))",
    );
    page.choose("What is listed", "Services");
    page.wait_for_address("by=services");
    page.click("[...document.querySelectorAll('table[aria-label=\"What changed\"] a')].find(e => e.innerText === 'payment')");
    page.wait_for_address("/services/payment");
}

#[test]
fn the_choice_of_home_fits_a_telephone() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for(
        "(choice => choice?.innerText.includes('stores and outside systems') \
           && choice.scrollWidth <= choice.clientWidth \
           && choice.scrollHeight <= choice.clientHeight) \
           (document.querySelector('[aria-label=\"What is listed\"]'))",
    );
}

/// Texts of the cells of a service.
const CELLS_OF_PAYMENT: &str = "[...[...document.querySelectorAll( \
     'table[aria-label=Services] tbody tr[id]')] \
     .find(row => row.cells[0].innerText.trim() === 'payment').cells].map(e => e.innerText.trim())";

#[test]
fn every_heading_of_services_sorts_and_a_name_narrows_them() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services");
    page.wait_until_settled();
    assert_eq!(page.headings_that_do_not_sort("Services", &["What changed"]), [""; 0]);
    // A sample of traces need not have all four instances.
    page.wait_for(&format!(
        "(([p99, instances, versions, exceptions]) => /^[0-9.]+ (µs|ms|s)\\b/.test(p99) \
         && /^[1-4]$/.test(instances) && versions === '2.13.4' \
         && /^(none|\\d+)$/.test(exceptions))({CELLS_OF_PAYMENT}.slice(9))"
    ));
    let shown = "[...document.querySelectorAll('table[aria-label=Services] th[aria-sort]')] \
         .filter(e => e.checkVisibility()).map(e => e.innerText.trim()).slice(-3).join()";
    for (width, expected) in [
        (1440, "Instances,Versions,New exceptions"),
        (1280, "Instances,Versions,New exceptions"),
        (1279, "p95,Instances,New exceptions"),
        (1140, "p95,Instances,New exceptions"),
        (1139, "Failed,p50,p95"),
    ] {
        page.browser.resize(width, 900);
        page.wait_for(&format!("{shown} === {}", json!(expected)));
    }
    page.browser.resize(1440, 900);
    page.fill("Show services whose name contains", "paym");
    page.wait_for_address("name=paym");
    page.wait_for(
        "document.querySelectorAll('table[aria-label=Services] tbody tr[id]').length === 1",
    );
    page.press_button("payment");
    page.wait_for_address("/services/payment");
}

/// Waits until the note of every table of a service has these words.
fn wait_until_tables_count(page: &mut Page<'_>, words: &str) {
    let words = json!(words);
    for panel in ["Operations", "Instances", "Called by", "Calls", "Exceptions", "Log patterns"] {
        page.wait_for(&format!(
            "document.querySelector('section[aria-label=\"{panel}\"] .panel-head .mute') \
             ?.innerText.includes({words})"
        ));
    }
    page.wait_until_settled();
}

/// Returns the calls of all instances of a service.
fn calls_of_instances(page: &mut Page<'_>) -> u64 {
    page.wait_for_rows("Instances");
    let calls = page.column("Instances", 1);
    calls.iter().map(|calls| calls.replace(',', "").parse::<u64>().unwrap()).sum()
}

#[test]
fn the_words_beside_a_choice_are_whole_at_all_widths() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for width in [1280, 1440, 1920, 2560] {
        browser.resize(width, 900);
        let mut page = Page::open(&mut browser, &server, "/services/payment?live=off");
        page.wait_for(
            "(words => words?.innerText.includes('since') && words.scrollWidth <= words.clientWidth) \
             (document.querySelector('section[aria-label=\"By version\"] .panel-head > .mute'))",
        );
    }
}

#[test]
fn a_service_that_changed_is_counted_from_its_change_on() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services/payment?live=off");
    wait_until_tables_count(&mut page, "since ");
    let since = calls_of_instances(&mut page);
    page.wait_for_text("All calls ran on 2.13.4");
    // An exception that came before the change, too, does not seem to begin with it, and has the
    // number of then.
    page.wait_for(
        "[...document.querySelectorAll('.service-exceptions tbody tr')] \
         .some(e => e.cells[5].innerText.startsWith('before ') \
            && /^[1-9][0-9,]*$/.test(e.cells[3].innerText))",
    );
    page.wait_for(
        "[...document.querySelectorAll('section[aria-label^=\"Latency of\"] .marker-strong')] \
         .some(e => /^northpay .* slower$/.test(e.title))",
    );
    page.browser.screenshot("service-since");
    // A link in a cell has the colour of the cell where its number is worse.
    page.wait_for(
        "(cell => { \
            if (!cell) return false; \
            const was = cell.className; \
            cell.classList.add('is-worse'); \
            const [own, link] = [cell, cell.querySelector('a')].map(e => getComputedStyle(e).color); \
            cell.className = was; \
            return own === link; \
         })(document.querySelector('table[aria-label=Calls] td.num:has(a)'))",
    );
    page.choose("Time that tables count", "Whole hour");
    page.wait_for_address("span=whole");
    wait_until_tables_count(&mut page, "in the whole hour");
    let whole = calls_of_instances(&mut page);
    assert!(since < whole, "{since} since the change, {whole} in the whole hour");
    page.choose("Time that tables count", "Since");
    page.wait_for("!location.search.includes('span')");
    wait_until_tables_count(&mut page, "since ");
    assert_eq!(calls_of_instances(&mut page), since);

    // Between two moments, the whole range is the default, and the reader has the same choice.
    let now = page.browser.evaluate("Date.now()").as_u64().unwrap();
    let path = format!("/services/payment?live=off&from={}&to={now}", now - 3_600_000);
    let mut page = Page::open(&mut browser, &server, &path);
    wait_until_tables_count(&mut page, "in the whole range");
    page.choose("Time that tables count", "Since");
    page.wait_for_address("span=since");
    wait_until_tables_count(&mut page, "since ");
    page.choose("Time that tables count", "Whole range");
    page.wait_for("!location.search.includes('span')");

    // A row of the same time counts from the change on, and so does the page that it leads to.
    let path = path.replace("/services/payment?", "/services?");
    let mut page = Page::open(&mut browser, &server, &path);
    // Rows of the whole range may come before those since the change.
    page.wait_for("document.querySelector('.page-head .say a')");
    page.wait_until_settled();
    let calls = format!("{CELLS_OF_PAYMENT}[2].split('\\n')[0].trim()");
    let calls = page.browser.evaluate(&calls).as_str().unwrap().to_owned();
    page.click("document.querySelector('[aria-label=Services] a[href^=\"/services/payment?\"]')");
    page.wait_for_address("/services/payment?span=since");
    wait_until_tables_count(&mut page, "since ");
    page.wait_for_text(&format!("{calls} calls/min since "));
    page.choose("Time that tables count", "Whole range");
    wait_until_tables_count(&mut page, "in the whole range");
    page.choose("Time that tables count", "Since");
    page.wait_for_address("span=since");
    wait_until_tables_count(&mut page, "since ");
}

#[test]
fn tables_of_a_service_wait_only_a_while_for_its_change() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    hold_changes(&mut browser, true);
    let mut page = Page::open(&mut browser, &server, "/services/payment?live=off");
    let whole = calls_of_instances(&mut page);
    page.wait_for("document.querySelector('.page-head .say-ghost')");
    hold_changes(page.browser, false);
    wait_until_tables_count(&mut page, "since ");
    let since = calls_of_instances(&mut page);
    assert!(since < whole, "{since} since the change, {whole} in the whole hour");
}

#[test]
fn the_median_of_an_operation_is_compared_as_its_p95() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services/payment?live=off&span=since");
    wait_until_tables_count(&mut page, "since ");
    page.wait_for(
        "(cells => cells && [['p50', 5], ['p95', 7]].every(([name, at]) => { \
         const heads = document.querySelectorAll('table[aria-label=Operations] thead th'); \
         return heads[at + 1].innerText.trim() === `${name} was` \
         && cells[at].classList.contains('is-worse') \
         && /^[0-9.]+ (µs|ms|s)$/.test(cells[at + 1].innerText.trim()); })) \
         ([...document.querySelectorAll('table[aria-label=Operations] tbody tr')] \
         .find(row => row.innerText.includes('Payment.Authorize'))?.cells)",
    );
}

#[test]
fn a_service_is_read_by_operation_and_split_by_what_it_runs_on() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services/payment");
    assert_eq!(page.headings_that_do_not_sort("Operations", &[]), [""; 0]);
    page.choose("Which operations", "All spans");
    page.wait_for_address("kinds=all");
    page.click(
        "[...document.querySelectorAll('table[aria-label=Operations] tbody button')].at(-1)",
    );
    page.wait_for_address("operation=");
    page.wait_for_rows("Instances");
    page.wait_for(
        "(rows => rows.length > 0 \
         && rows.every(row => /^[0-9]+$/.test(row.cells[1].innerText.trim().replaceAll(',', '')))) \
         ([...document.querySelectorAll('table[aria-label=Instances] tbody tr')])",
    );
    page.choose("What calls are served by", "Host");
    page.wait_for_address("instances=host");
    page.wait_for_rows("Instances");
    page.choose("What calls are served by", "Pod");
    page.wait_for_address("instances=pod");
    page.wait_for_rows("Instances");
    page.choose("Split calls by", "Region");
    page.wait_for_text("Its spans do not have cloud.region");
    page.choose("Split calls by", "Instance");
    page.wait_for_address("split=instance");
    page.wait_for_rows("Calls by attribute");
}

#[test]
fn a_service_of_very_many_instances_says_that_some_are_left_out() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let call = |number: u64| {
        let instance = KeyValue::new("service.instance.id", format!("till-{number}").as_str());
        Span { attributes: vec![instance], kind: 2, ..span(number.into(), number, 0, "POST /sale") }
    };
    let body = spans::traces("tills", (1..=520).map(call).collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let mut page = Page::open(&mut browser, &server, "/services/tills?range=all");
    page.wait_for_rows("Instances");
    page.wait_for_text("500 of 520 groups are looked at, those with most calls.");
    page.wait_for_text("470 more with fewer calls.");
}

/// Positions of the rows on the page: the top of each row, and the left and right edges of its
/// cells. Where a row is laid out as a grid, only the right edge of one number is compared, because
/// the other edges depend on the digits.
const PLACES: &str = "(page => [...document.querySelectorAll('.types tbody tr')].map(row => { \
     const cells = [...row.cells].map(cell => cell.getBoundingClientRect()); \
     const edges = getComputedStyle(row).display === 'table-row' \
         ? cells.flatMap(cell => [cell.left, cell.right]) : [cells[5].right]; \
     return [row.getBoundingClientRect().top - page.top, ...edges]; \
     }))(document.querySelector('.page').getBoundingClientRect())";

/// Distance from the top of a page's head to the element below it, in pixels.
const BELOW_HEAD: &str = "(head => head.nextElementSibling.getBoundingClientRect().top \
     - head.getBoundingClientRect().top)(document.querySelector('.page-head'))";

/// Fails when the sentence leaves more than one line of its reserved space free.
fn fills_its_room(page: &mut Page<'_>, width: u32) {
    let free = page.browser.evaluate(
        "(room => room.getBoundingClientRect().bottom \
         - room.lastElementChild.getBoundingClientRect().bottom)(document.querySelector('.say-room'))",
    );
    assert!(free.as_f64().unwrap() <= 21.0, "{free} px are free at {width}");
}

/// Holds answers about changes back, as a slow server would, or releases them.
fn hold_changes(browser: &mut Browser, is_held: bool) {
    if is_held {
        let params = json!({ "patterns": [{ "urlPattern": "*/api/v1/changes?*" }] });
        browser.command("Fetch.enable", params);
    } else {
        browser.command("Fetch.disable", json!({}));
    }
}

/// Opens the list of transaction types and waits for all numbers except the changes.
fn open_types<'a>(browser: &'a mut Browser, server: &Server) -> Page<'a> {
    hold_changes(browser, true);
    let mut page = Page::open(browser, server, "/transactions?live=off");
    page.wait_for("document.querySelectorAll('.types tbody tr .time-strip').length > 2");
    page.wait_for("/[0-9]/.test(document.querySelector('.types td.was')?.textContent ?? '')");
    page.wait_for("document.querySelector('.page-head .say-ghost')");
    page
}

#[test]
fn rows_of_transactions_stay_where_they_are_when_it_comes_what_changed() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for width in [1280, 1440, 1920, 390] {
        browser.resize(width, 900);
        let mut page = open_types(&mut browser, &server);
        let before = page.browser.evaluate(PLACES);
        hold_changes(page.browser, false);
        page.wait_for("document.querySelector('.page-head .say a')");
        page.wait_for("document.querySelector('.types .badge')");
        page.wait_until_settled();
        assert_eq!(page.browser.evaluate(PLACES), before, "{width}");
        if width >= 1280 {
            // The numbers stand in the line of the badge, and are not wrapped into the cut one.
            page.wait_for(
                "(cell => cell.querySelector('.mono').getBoundingClientRect().bottom \
                 <= cell.getBoundingClientRect().bottom + 1) \
                 (document.querySelector('.types .badge').closest('.change-cell'))",
            );
        }
        fills_its_room(&mut page, width);
        page.browser.screenshot(&format!("transactions-changed-{width}"));
    }
}

#[test]
fn rows_of_services_come_where_they_are_waited_for() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for width in [1280, 1440, 1920, 390] {
        browser.resize(width, 900);
        hold_changes(&mut browser, true);
        let mut page = Page::open(&mut browser, &server, "/services?live=off");
        page.wait_for("document.querySelector('.page-head .say-ghost')");
        page.wait_for("document.fonts.status === 'loaded'");
        let before = page.browser.evaluate(BELOW_HEAD);
        hold_changes(page.browser, false);
        page.wait_for("document.querySelector('.page-head .say a')");
        page.wait_for_rows("Services");
        page.wait_until_settled();
        assert_eq!(page.browser.evaluate(BELOW_HEAD), before, "{width}");
        fills_its_room(&mut page, width);
        page.wait_for(
            "(badges => badges.length > 1 && badges.every(e => e.scrollWidth <= e.clientWidth)) \
             ([...document.querySelectorAll('.services-list .badge-cut')])",
        );
        // A service that is only affected has its numbers, too.
        page.wait_for(
            "(e => e?.innerText.includes('→') && e.getBoundingClientRect().bottom \
             <= e.closest('td').getBoundingClientRect().bottom) \
             (document.querySelector('.services-list tr:has(.badge-feels) .change-cell > .mono'))",
        );
        page.wait_for_text("failures and durations of changed rows since the change");
        page.wait_for(
            "[...document.querySelectorAll('.services-list tr[id]')].every(row => \
             row.cells[4].title.includes('this is ' + (row.querySelector('.change-cell > .badge') \
             ?.textContent.match(/ (since|in) ([0-9]|this range)/)?.[1] ?? '')))",
        );
        // A p95 that became worse stands above the one before. On a phone there is no room.
        if width >= 1280 {
            page.wait_for(
                "(e => e && e.innerText.startsWith('was ') && e.offsetHeight > 0) \
                 (document.querySelector('.services-list .p95-cell.is-worse > .was'))",
            );
            // Calls of a changed service are those since its change, as on its page.
            page.wait_for(
                "[...document.querySelectorAll('.services-list td.rate-cell:has(.was)')] \
                 .some(e => /^it was .+; this is since .+, and .+ in the whole range$/.test(e.title))",
            );
        }
        page.browser.screenshot(&format!("services-changed-{width}"));
    }
}

#[test]
fn services_have_rows_before_it_is_known_what_changed() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    hold_changes(&mut browser, true);
    let mut page = Page::open(&mut browser, &server, "/services?live=off");
    page.wait_for_rows("Services");
    page.wait_for_text("numbers of the whole range until it is known what changed");
    let names = "[...document.querySelectorAll('.services-list tr[id] .services-name')] \
         .map(e => e.innerText.trim())";
    let before = page.browser.evaluate(names);
    page.point_at("document.querySelector('.services-list tbody tr')");
    hold_changes(page.browser, false);
    page.wait_for("document.querySelector('.services-list .badge')");
    page.wait_until_settled();
    // Under the pointer, rows stay in order.
    let shown = page.browser.evaluate(&format!("{names}.slice(0, {before}.length)"));
    assert_eq!(shown, before);
}

#[test]
fn transactions_are_not_ordered_anew_under_the_pointer_or_the_focus() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    // The incident changes a type that is not the most frequent one.
    server.send_incident("cache-stampede");
    let names = "[...document.querySelectorAll('.types .type-name')].map(e => e.innerText).join()";
    let row = "document.querySelector('.types tbody tr')";
    for is_focus in [false, true] {
        let mut page = open_types(&mut browser, &server);
        if is_focus {
            page.browser.evaluate(&format!("{row}.querySelector('a').focus()"));
        } else {
            page.point_at(row);
        }
        let before = page.browser.evaluate(names);
        hold_changes(page.browser, false);
        page.wait_for("document.querySelector('.types .badge')");
        page.wait_until_settled();
        assert_eq!(page.browser.evaluate(names), before, "with the focus: {is_focus}");
        if is_focus {
            page.browser.evaluate("document.activeElement.blur()");
        } else {
            page.point_at("document.querySelector('.crumbs')");
        }
        page.wait_for(&format!("{names} !== {before}"));
    }
}

#[test]
fn tables_fit_into_their_panels() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 500, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/errors");
    page.click(
        "document.querySelector('table[aria-label=Exceptions] tbody button[aria-expanded=false]')",
    );
    page.wait_for("document.querySelector('[aria-label=\"Stack trace\"]')");
    fits(&mut page, "Exceptions", &[360, 500, 700, 900]);
    // The state of an example is its last column, and the table scrolls within its section.
    page.browser.resize(390, 900);
    let examples = "document.querySelector('table[aria-label=\"Affected transactions\"]')";
    page.wait_for(examples);
    let wider = page.browser.evaluate(&format!(
        "(table => table.offsetWidth - table.parentElement.clientWidth)({examples})"
    ));
    assert!(wider.as_i64().unwrap() <= 0, "examples: wider by {wider}");
    let mut page = Page::open(&mut browser, &server, "/transactions");
    page.wait_for_rows("Transaction types");
    fits(&mut page, "Transaction types", &[360, 390, 500, 700, 900, 1280]);
    let mut page = Page::open(&mut browser, &server, "/services");
    page.wait_for_rows("Services");
    fits(&mut page, "Services", &[1000, 1140, 1280, 1440]);
}

/// Fails when a table is wider than its panel at one of these window widths.
fn fits(page: &mut Page<'_>, table: &str, widths: &[u32]) {
    page.wait_until_settled();
    for width in widths {
        page.browser.resize(*width, 900);
        let wider = page.browser.evaluate(&format!(
            "(table => table.scrollWidth - table.closest('.panel-body').clientWidth) \
             (document.querySelector('table[aria-label=\"{table}\"]'))"
        ));
        assert!(wider.as_i64().unwrap() <= 0, "{table}: wider by {wider} at {width}");
        page.browser.screenshot(&format!("{}-{width}", table.to_lowercase().replace(' ', "-")));
    }
}

#[test]
fn labels_of_axes_are_not_cut() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for path in ["/system", "/explore?live=off", "/logs?live=off"] {
        let mut page = Page::open(&mut browser, &server, path);
        page.wait_for("document.querySelectorAll('.heat-x').length > 1");
        // The first and the last label may be at the very ends of the axis, so the test moves them
        // there until they are drawn anew. It finds labels that an enclosing box cuts off.
        let cut = "(labels => { [[labels[0], '0%'], [labels.at(-1), '100%']].forEach(([label, at]) => \
                 label.style.left ? label.style.left = at : label.style.setProperty('--at', at)); \
             return labels; })([...document.querySelectorAll('.heat-x')]).filter(label => { \
             const place = label.getBoundingClientRect(); \
             for (let box = label.parentElement; box; box = box.parentElement) { \
                 const room = box.getBoundingClientRect(); \
                 if (getComputedStyle(box).overflowX !== 'visible' \
                     && (place.left < room.left - 1 || place.right > room.right + 1)) return true; \
             } \
             return false; }).map(label => label.innerText)";
        assert_eq!(page.browser.evaluate(cut), json!([]), "{path}");
        page.browser
            .screenshot(&format!("axis{}", path.split('?').next().unwrap().replace('/', "-")));
    }
}

#[test]
fn an_exception_opens_with_its_stack_and_leads_to_the_last_one() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/errors");
    assert_eq!(page.headings_that_do_not_sort("Exceptions", &["Before"]), [""; 0]);
    page.click(
        "document.querySelector('table[aria-label=Exceptions] tbody button[aria-expanded=false]')",
    );
    page.wait_for("document.querySelector('[aria-label=\"Stack trace\"]')");
    page.wait_for_address("open=");
    page.wait_for_text("All traces");
    page.wait_for_text("All logs");
    // The type stands once above the examples, unless these are of several types.
    page.wait_for(
        "(table => table && (table.tHead.innerText.includes('Transaction type') \
         === (new Set([...table.querySelectorAll('.errors-transaction-type')].map(e => e.innerText)).size > 1))) \
         (document.querySelector('table[aria-label=\"Affected transactions\"]'))",
    );
    page.press_button("Last trace");
    page.wait_for_address("/trace/");
    page.wait_for("document.querySelector('.wf-selected')");
}

#[test]
fn an_exception_is_new_at_its_source_and_its_callers_only_follow() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("failing-version");
    let mut page = Page::open(&mut browser, &server, "/errors");
    let rows = "[...document.querySelectorAll('table[aria-label=Exceptions] tbody tr[id]')] \
         .filter(e => e.innerText.includes('CurrencyMissing'))";
    let is_told = |of: &str, cell: u8, words: &str| {
        format!(
            "(rows => rows.length > 0 && rows.every(e => e.cells[{cell}].innerText.includes('{words}'))) \
             ({rows}.filter(e => e.cells[2].innerText.startsWith('{of}')))"
        )
    };
    for follower in ["checkout", "web-gateway"] {
        page.wait_for(&is_told(follower, 2, "from payment"));
        page.wait_for(&is_told(follower, 5, "new"));
    }
    page.wait_for(&is_told("payment", 5, "NEW"));
    let is_more = "row => Number(row.cells[3].innerText.replaceAll(',', '')) \
         > Number(row.cells[4].innerText.replaceAll(',', ''))";
    let kinds = "[...document.querySelectorAll('table[aria-label=Exceptions] tbody tr[id]')]";
    // Declined cards are as frequent as before, or less.
    page.wait_for(&format!("{kinds}.some({is_more}) && !{kinds}.every({is_more})"));
    page.choose("Which exceptions", "More than before");
    page.wait_for_address("show=more");
    page.wait_for(&format!("{kinds}.length > 0 && {kinds}.every({is_more})"));
    page.choose("Which exceptions", "All");
    page.wait_for(&format!("!{kinds}.every({is_more})"));
    page.wait_for(
        "/\\d exceptions of \\d+ kinds: [0-9,]+ at \\d+ causes?, [0-9,]+ follows? from / \
            .test(document.body.innerText)",
    );
    let source = format!(
        "{rows}.find(e => e.classList.contains('is-beneath'))?.previousElementSibling?.cells"
    );
    page.wait_for(&format!(
        "(cells => cells?.[2].innerText.startsWith('payment') \
         && cells[0].innerText.includes(' that follow'))({source})"
    ));
    page.wait_for_text("from there.");
    page.browser.screenshot("errors-follow");
    let follower = format!("{rows}.find(e => e.cells[2].innerText.startsWith('checkout'))");
    page.click(&format!("{follower}?.querySelector('button[aria-expanded=false]')"));
    page.press_button("Open the source");
    page.wait_for(&format!(
        "{rows}.find(e => e.getAttribute('aria-selected') === 'true')?.cells[2].innerText.startsWith('payment')"
    ));
    // Filters may leave out the kinds that others follow from, so causes are not counted.
    let mut page = Page::open(&mut browser, &server, "/errors?type=CurrencyMissing");
    page.wait_for(&is_told("checkout", 2, "from payment"));
    page.wait_for(
        "/^[0-9,]+ exceptions of [0-9]+ kinds$/ \
         .test(document.querySelector('.page-title > .mute')?.innerText.trim())",
    );
}

#[test]
fn exceptions_are_narrowed_to_a_service_and_lead_to_the_affected_transactions() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/errors");
    page.wait_for_rows("Exceptions");
    page.press_button("service");
    page.fill("Service", "paym");
    page.click("[...document.querySelectorAll('[role=option]')].find(e => e.innerText.startsWith('payment'))");
    page.wait_for_address("service=payment");
    let rows = "[...document.querySelectorAll('table[aria-label=Exceptions] tbody tr[id]')]";
    page.wait_for(&format!(
        "{rows}.length > 0 && {rows}.every(e => e.cells[2].innerText.startsWith('payment'))"
    ));
    page.choose("Which exceptions", "New");
    page.wait_for_address("show=new");
    page.choose("Which exceptions", "All");
    page.click(
        "document.querySelector('table[aria-label=Exceptions] tbody button[aria-expanded=false]')",
    );
    page.wait_for_rows("Affected transaction types");
    let counts = page.column("Affected transaction types", 0);
    assert!(counts[0].replace(',', "").parse::<u64>().unwrap() > 0, "{counts:?}");
    page.wait_for_rows("Affected transactions");
    // Log records stand in the room that a short stack leaves below it.
    page.wait_for(
        "(([stack, logs]) => stack && logs && logs.left === stack.left && logs.top >= stack.bottom) \
         (['.errors-stack', '[aria-label=\"Log records around it\"]'].map(part => \
         document.querySelector(`.errors-main > ${part}`)?.getBoundingClientRect()))",
    );
    // All examples are of one type, so only the table of types names it.
    page.click(
        "document.querySelector('table[aria-label=\"Affected transaction types\"] tbody a')",
    );
    page.wait_for_address("/transactions/web-gateway/");
}

#[test]
fn transactions_sort_and_one_leads_to_its_type_and_an_example() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/transactions");
    assert_eq!(page.headings_that_do_not_sort("Transaction types", &["What changed"]), [""; 0]);
    page.press_button("POST /checkout");
    page.wait_for_address("/transactions/web-gateway/");
    page.choose("Which are compared", "Failed");
    page.wait_for_address("basis=failed");
    page.choose("Which examples", "Slowest");
    page.wait_for_address("examples=slow");
    page.click("document.querySelector('table[aria-label=Examples] tbody a')");
    page.wait_for_address("/trace/");
}

#[test]
fn a_type_is_compared_since_a_moment_with_the_time_before() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let path = "/transactions/web-gateway/POST%20%2Fcheckout?range=1h";
    let mut page = Page::open(&mut browser, &server, path);
    page.choose("Which are compared", "Since a moment");
    page.wait_for_address("basis=since");
    // The page offers the start of the type's change first. The test chooses it.
    let choice = "document.querySelector('[aria-label=\"Since when\"]')";
    page.wait_for(&format!("{choice}?.selectedOptions[0]?.innerText.includes('slower')"));
    let heads = "[...document.querySelectorAll('.pair-head b')].map(e => e.innerText).join()";
    // The time has its date in front when the day is another one.
    page.wait_for(&format!("/^Before,Since ([-0-9]+ )?[0-9]{{2}}:[0-9]{{2}}$/.test({heads})"));
    page.wait_for_text("What is different since");
    page.wait_until_settled();
    for (theme, width) in [("dark", 360), ("light", 500), ("dark", 1440)] {
        page.browser.prefer(theme);
        page.browser.resize(width, 900);
        assert_eq!(page.browser.evaluate(BEYOND), json!([]), "{width}");
        page.browser.screenshot(&format!("transaction-type-since-{theme}-{width}"));
    }

    // A click into a chart chooses another moment. The key does the same.
    let moment = "new URLSearchParams(location.search).get('since')";
    page.click("document.querySelector('[aria-label=Calls] .chart-plot')");
    page.wait_for(&format!("Number({moment}) > 0"));
    let clicked = page.browser.evaluate(moment);
    page.browser.evaluate("document.querySelector('[aria-label=Calls] .chart-plot').focus()");
    page.browser.press("Home");
    page.browser.press("ArrowRight");
    page.browser.press("ArrowRight");
    page.browser.press("m");
    page.wait_for(&format!("{moment} !== {clicked}"));
    page.wait_for(&format!("{choice}.value === {moment}"));

    // The range of everything stored has no start, so no earlier period can be compared with it.
    page.browser.open(&format!(
        "http://{}{}",
        server.http,
        path.replace("range=1h", "range=all&basis=since")
    ));
    page.wait_for_text("choose a shorter range");
}

#[test]
fn a_transaction_is_looked_up_and_read_hop_by_hop() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut page = Page::open(&mut browser, &server, "/transactions");
    page.fill("Transaction id: a trace id or the value of a transaction key", &id);
    page.browser.press("Enter");
    page.wait_for_address(&format!("/tx/{id}"));
    page.wait_for_rows("Hops");
    page.wait_for_text("Elapsed: self time");
    page.wait_for_text("Elapsed: waiting to start");
    page.click("document.querySelector('table[aria-label=Traces] tbody a')");
    page.wait_for_address(&format!("/trace/{id}"));
}

#[test]
fn system_page_shows_that_all_is_stored_and_counts_received_records() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/system");
    page.wait_for_text("Everything received is stored.");
    page.wait_for_rows("Receivers");
    let (_, status) = server.get("/api/v1/status");
    let received = status["spans"]["received"].as_u64().unwrap();
    let shown = page.column("Records", 1);
    assert_eq!(shown[0].replace(',', ""), received.to_string());
    let bytes: u64 = (status["receivers"].as_array().unwrap().iter())
        .map(|receiver| receiver["receivedBytes"].as_u64().unwrap())
        .sum();
    assert!(bytes > 100_000, "{status}");
    page.wait_for(
        "[...document.querySelectorAll('table[aria-label=Receivers] td')]\
         .some(cell => /^\\d.* [KM]iB since the start$/.test(cell.title))",
    );
}

#[test]
fn connect_shows_the_setup_of_the_language_that_is_chosen_by_key() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/connect");
    let panel = "document.querySelector('[role=tabpanel] pre')";
    page.wait_for(panel);
    let first = page.browser.evaluate(&format!("{panel}.innerText"));
    page.click("document.querySelector('main [role=tab]')");
    page.browser.press("ArrowRight");
    page.wait_for("document.querySelectorAll('main [role=tab]')[1].ariaSelected === 'true'");
    page.wait_for(&format!("{panel}.innerText !== {first}"));
    page.wait_for("document.activeElement.id === 'guide-tab-1'");
    page.wait_for_address("guide=Spring Boot 4");
    page.open_again();
    page.wait_for("document.querySelectorAll('main [role=tab]')[1]?.ariaSelected === 'true'");
    page.wait_for(&format!("{panel}.innerText !== {first}"));
}

#[test]
fn refused_sender_is_shown_with_the_line_that_fixes_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let body = spans::traces("shop", vec![span(1, 1, 0, "GET /")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let refused = post(&server.otlp_http, "/v1/traces", "text/plain", "spans".to_owned()).status;
    assert!((400..500).contains(&refused), "{refused}");
    let line = "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf";
    let is_told = |within: &str| {
        format!(
            "[...document.querySelectorAll('{within} .refusal')].some(e => \
             e.innerText.includes('OTLP over HTTP') && e.querySelector('code')?.innerText === '{line}' \
             && e.querySelector('button[aria-label=\"Copy the line\"]'))"
        )
    };
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for(&is_told("[aria-label=\"Refusals\"]"));
    let mut page = Page::open(&mut browser, &server, "/system");
    page.wait_for(&is_told("[aria-label=\"Refusals\"]"));
    // The numbers name the lines of the chart, which has no legend of its own.
    page.wait_for(
        "document.querySelectorAll('[aria-label=\"Taken in\"] .figure svg').length === 2",
    );
    page.wait_for("document.querySelector('[aria-label=\"Taken in\"] .heat-lines')");
    // A receiver that got requests has a line of its own.
    page.wait_for(
        "[...document.querySelectorAll('[aria-label=\"Requests a second by receiver\"] li')] \
         .some(e => e.innerText.includes('OTLP over HTTP') && e.querySelector('svg path'))",
    );
    page.wait_for("!document.querySelector('[aria-label=\"Taken in\"] .legends')");
    page.wait_for("document.querySelector('main a[href=\"/assets/third-party-notices.txt\"]')");
}

#[test]
fn a_part_of_an_address_that_is_not_understood_is_named() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [trace, _] = traces(&server);
    let range = "was not understood: the time range is Last 1 h.";
    let unread = |part: &str, words: &str| format!("`{part}` {words}");
    let cases = [
        ("/explore?from=abc".to_owned(), unread("from=abc", range)),
        ("/?range=zzz".to_owned(), unread("range=zzz", range)),
        ("/services?from=9&to=3".to_owned(), unread("from=9&to=3", range)),
        ("/explore?box=1-2".to_owned(), unread("box=1-2", "was not understood: there is no box")),
        ("/compare?left=xx".to_owned(), unread("left=xx", "was not understood: a trace id has")),
        (
            "/errors?open=zzz".to_owned(),
            unread("open=zzz", "is no kind of exception that is listed"),
        ),
        (
            format!("/trace/{trace}?span=ffffffffffffffff"),
            unread("span=ffffffffffffffff", "was not understood: the trace has no such span"),
        ),
    ];
    for (path, words) in cases {
        let mut page = Page::open(&mut browser, &server, &path);
        page.wait_for_text(&words);
    }
    let mut page = Page::open(&mut browser, &server, "/explore?range=15m");
    page.wait_for_rows("Traces");
    page.wait_for("!document.querySelector('.range-note .note')");
}
