//! Actions on the page of SQL: queries that run, fail, are cancelled, drawn, exported and saved.

use std::{fs, path::Path, time::Instant};

use super::incident;
use crate::{
    browser::page_objects::SqlPage,
    harness::{PATIENCE, browser::Browser},
};

/// A query that no server finishes within the time of a test.
const ENDLESS: &str = "SELECT count(*) FROM spans a CROSS JOIN spans b CROSS JOIN spans c \
                       WHERE a.duration_nanos + b.duration_nanos = c.duration_nanos + 1";

#[test]
fn a_query_is_run_and_stands_in_the_address() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run("SELECT * FROM (VALUES (2), (10), (1)) AS v(number)");
    sql.wait_for_rows(&["2", "10", "1"]);
    sql.page.wait_for_address("q=SELECT * FROM (VALUES");
}

#[test]
fn a_long_line_of_a_query_is_wrapped_and_all_of_it_is_in_view() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    let columns: Vec<String> = (0..40).map(|number| format!("{number} AS n{number}")).collect();
    sql.run(&format!("SELECT {}", columns.join(", ")));
    sql.wait_for_rows(&["0"]);
    sql.page.wait_for(
        "(area => area.scrollWidth <= area.clientWidth \
         && area.scrollHeight <= area.clientHeight)(document.querySelector('main textarea'))",
    );
    sql.page.wait_for("document.querySelector('.sql-line').clientHeight > 20");
    sql.page.wait_for("document.querySelectorAll('.sql-line').length === 1");
}

#[test]
fn a_mistake_in_a_query_is_marked_where_it_is_and_the_old_result_stays() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run("SELECT 41 + 1 AS answer");
    sql.wait_for_rows(&["42"]);
    sql.page.browser.expect_refusals(400, "/api/v1/sql");
    sql.run("SELECT service,\n  nothing_like_it\nFROM spans");
    sql.page.wait_for(
        "document.querySelector('.sql-error[role=alert]')?.innerText.startsWith('Line 2, column 3')",
    );
    sql.page.wait_for("document.querySelector('.sql-wrong')?.innerText === 'nothing_like_it'");
    assert_eq!(sql.rows(), ["42"]);
    sql.page.wait_for_text("below: the result of");
}

#[test]
fn a_running_query_is_cancelled_and_the_old_result_stays() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run("SELECT 41 + 1 AS answer");
    sql.wait_for_rows(&["42"]);
    sql.run(ENDLESS);
    sql.page.wait_for(
        "/^Running, .* [\\d,]+ rows? read/.test(document.querySelector('.sql-running')?.innerText)",
    );
    sql.cancel();
    sql.wait_for_cancelled(true);
    assert_eq!(sql.rows(), ["42"]);
    sql.run("SELECT 'after it' AS words");
    sql.wait_for_rows(&["after it"]);
    sql.wait_for_cancelled(false);
}

#[test]
fn a_first_query_that_is_cancelled_says_after_which_time() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run(ENDLESS);
    sql.cancel();
    sql.wait_for_cancelled(true);
}

#[test]
fn a_result_with_numbers_is_drawn_as_a_chart() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run("SELECT * FROM (VALUES (1, 5, 7), (2, 9, 8), (3, 6, 9)) AS v(x, y, z)");
    let chart = "document.querySelector('[aria-label=Chart]')";
    sql.page.wait_for(&format!("{chart}?.querySelector('svg path')"));
    sql.page.choose("What is shown", "Chart");
    sql.page.wait_for("!document.querySelector('table[aria-label=Result]')");
    sql.page.wait_for_address("show=chart");
    sql.page.choose("What is shown", "Table");
    sql.page.wait_for(&format!("!{chart}"));
    sql.wait_for_rows(&["1", "2", "3"]);
}

#[test]
fn the_last_step_of_a_chart_is_drawn_as_one_that_is_not_over() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    let ground = "document.querySelector('[aria-label=Chart] .line-ground')";
    let hour = |ago: u32, calls: u32| {
        format!(
            "SELECT date_trunc('hour', now()) - INTERVAL '{ago} hours' AS step, {calls} AS calls"
        )
    };
    sql.run(&[hour(0, 1), hour(1, 5), hour(2, 4)].join(" UNION ALL "));
    sql.page.wait_for(&format!("{ground}?.title === 'The last hour is not over'"));
    sql.page.wait_for("document.querySelector('[aria-label=Chart] .line-unfinished')");
    sql.page.wait_for_text("The last hour is not over.");
    sql.run(&[hour(1, 5), hour(2, 4), hour(3, 4)].join(" UNION ALL "));
    sql.page.wait_for(&format!("document.querySelector('[aria-label=Chart] .line') && !{ground}"));
}

#[test]
fn lines_of_a_chart_are_hidden_by_its_legend_and_all_are_drawn_on_request() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    let rows: Vec<String> =
        (1..=8).map(|n| format!("(1, {n}, 's{n}'), (2, {n}, 's{n}')")).collect();
    sql.run(&format!("SELECT * FROM (VALUES {}) AS v(x, y, name)", rows.join(", ")));
    let lines = "document.querySelectorAll('[aria-label=Chart] .heat-plot .line').length";
    sql.page.wait_for(&format!("{lines} === 6"));
    sql.page.wait_for_text("2 more values of name not drawn.");
    sql.page.press_button("Draw all");
    sql.page.wait_for(&format!("{lines} === 8"));
    sql.page.press_button("s8");
    sql.page.wait_for(&format!("{lines} === 7"));
    // The axis fits the lines that are left.
    let top = "[...document.querySelectorAll('[aria-label=Chart] .heat-y')].at(-1).innerText";
    sql.page.wait_for(&format!("Number({top}) >= 7 && Number({top}) < 8"));
    sql.page.press_button("s8");
    sql.page.press_button("Draw 6");
    sql.page.wait_for(&format!("{lines} === 6"));
}

#[test]
fn a_heading_of_a_result_orders_numbers_by_size() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run("VALUES (2), (10), (1), (NULL)");
    sql.wait_for_rows(&["2", "10", "1", "null"]);
    for rows in [["10", "2", "1", "null"], ["1", "2", "10", "null"], ["2", "10", "1", "null"]] {
        sql.page.click("document.querySelector('table[aria-label=Result] th button')");
        sql.wait_for_rows(&rows);
    }
}

/// Presses a button that exports the result, and returns the saved file once it is whole.
fn exported(
    sql: &mut SqlPage<'_>,
    button: &str,
    file: &Path,
    is_whole: fn(&[u8]) -> bool,
) -> Vec<u8> {
    sql.page.press_button(button);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let saved = fs::read(file).unwrap_or_default();
        if is_whole(&saved) {
            return saved;
        }
        assert!(Instant::now() < deadline, "no whole {}: {saved:?}", file.display());
        sql.page.wait_for("new Promise(done => requestAnimationFrame(() => done(1)))");
    }
}

#[test]
fn a_result_is_exported_in_three_formats_and_its_link_opens_it_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let folder = tempfile::tempdir().unwrap();
    browser.save_into(folder.path());
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.run("SELECT 41 + 1 AS answer");
    sql.wait_for_rows(&["42"]);
    let csv = exported(&mut sql, "CSV", &folder.path().join("tidings.csv"), |saved| {
        saved.ends_with(b"\n")
    });
    assert_eq!(String::from_utf8(csv).unwrap().replace('\r', ""), "answer\n42\n");
    let json = exported(&mut sql, "JSON", &folder.path().join("tidings.json"), |saved| {
        serde_json::from_slice::<serde_json::Value>(saved).is_ok()
    });
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["columns"][0]["name"], "answer", "{json}");
    assert_eq!(json["rows"], serde_json::json!([[42]]), "{json}");
    // A stream of Arrow begins with a mark of four bytes and ends with one of eight.
    let arrow = exported(&mut sql, "Arrow", &folder.path().join("tidings.arrows"), |saved| {
        saved.ends_with(&[255, 255, 255, 255, 0, 0, 0, 0])
    });
    assert!(arrow.starts_with(&[255; 4]), "{arrow:?}");
    assert!(arrow.windows(6).any(|part| part == b"answer"), "{arrow:?}");
    sql.page.open_again();
    sql.wait_for_rows(&["42"]);
}

#[test]
fn a_link_opens_a_query_with_its_row_limit() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.limit("1000");
    sql.page.wait_for_address("rows=1000");
    sql.run("SELECT 41 + 1 AS answer");
    sql.wait_for_rows(&["42"]);
    sql.page.wait_for_address("q=SELECT");
    sql.page.open_again();
    sql.wait_for_rows(&["42"]);
    sql.wait_for_limit("1000");
    sql.limit("10000");
    sql.page.wait_for_address_without("rows=");
}

#[test]
fn a_query_is_kept_run_again_and_forgotten() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    sql.write("SELECT 'kept' AS words");
    sql.page.fill("Name of the query to save", "mine");
    sql.page.browser.press("Enter");
    sql.page.wait_for_text("mine");
    sql.run("SELECT 'other' AS words");
    sql.wait_for_rows(&["other"]);
    sql.page.press_button("mine");
    sql.wait_for_rows(&["kept"]);
    sql.page.press_button("Delete mine");
    sql.page.wait_for_text("None yet. They stay in this browser.");
}

#[test]
fn a_column_is_completed_and_one_is_taken_from_the_schema() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut sql = SqlPage::open(&mut browser, &server);
    // The schema lists the columns view by view.
    let column = "document.querySelector('details.sql-view[open] ul .sql-column span')";
    sql.page.wait_for(column);
    sql.write("SELECT dur");
    let first = "document.querySelector('#sql-offered [role=option] .suggest-value')";
    sql.page.wait_for(&format!("{first}?.innerText.startsWith('dur')"));
    let completed = sql.page.browser.evaluate(&format!("{first}.innerText"));
    sql.page.browser.press("Enter");
    let text = "document.querySelector('main textarea').value";
    sql.page.wait_for(&format!("{text} === 'SELECT ' + {completed}"));
    sql.page.wait_for("!document.querySelector('#sql-offered')");
    let name = sql.page.browser.evaluate(&format!("{column}.innerText"));
    sql.write("SELECT ");
    sql.page.browser.press("Escape");
    sql.page.click(column);
    sql.page.wait_for(&format!("{text} === 'SELECT ' + {name}"));
    sql.write("SELECT * FROM ");
    sql.page.browser.press("Escape");
    sql.page.press_button("Insert view name tree");
    sql.page.wait_for(&format!("{text} === \"SELECT * FROM tree('')\""));
}
