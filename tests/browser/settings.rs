//! The sheet of settings: theme, density, time zone and saved views, which the browser keeps.

use prost::Message;
use serde_json::json;

use super::{click_text, count};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{span, traces},
};

#[test]
fn settings_are_kept_by_the_browser() {
    let server = Server::start_with(&[
        "--transaction-keys",
        "order.id,ticket",
        "--redact-keys",
        "x-internal-pin",
    ]);
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let body = traces("shop", vec![span(1, 1, 0, "POST /checkout")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    browser.command("Emulation.setTimezoneOverride", json!({ "timezoneId": "Asia/Kolkata" }));
    browser.prefer("dark");
    let list = format!("http://{}/explore?live=off&service=shop", server.http);
    browser.open(&list);
    browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
    let cell = "document.querySelector('td.traces-started').innerText";
    let local = browser.evaluate(cell);
    let high = browser.evaluate("document.querySelector('.traces-row').clientHeight");

    let open = |browser: &mut Browser| {
        browser.press(",");
        browser.wait_for("document.querySelector('.sheet[aria-label=Settings]')");
    };
    open(&mut browser);
    browser.wait_for_text("ticket");
    browser.wait_for_text("On: secrets are replaced by [REDACTED]");
    browser.wait_for_text("x-internal-pin");
    browser.screenshot("settings-dark");
    click_text(&mut browser, "Light");
    browser.wait_for("document.documentElement.dataset.theme === 'light'");
    browser.screenshot("settings-light");

    // A view is saved under its name with its whole address.
    browser.evaluate("document.querySelector('.saved-form input').focus()");
    browser.type_text("Shop <b>now</b>");
    browser.press("Enter");
    browser.wait_for("document.querySelectorAll('.saved-view').length === 1");

    click_text(&mut browser, "UTC");
    browser.wait_for(&format!(
        "document.querySelector('.traces-row') && {cell} !== {local} && document.documentElement.dataset.theme === 'light'"
    ));
    let utc = browser.evaluate(cell);
    let zone_minutes = |text: &serde_json::Value| {
        let clock = text.as_str().unwrap().split_whitespace().last().unwrap().to_owned();
        let mut parts = clock.split(':').map(|part| part.parse::<f64>().unwrap());
        parts.next().unwrap() * 60.0 + parts.next().unwrap()
    };
    let ahead = (zone_minutes(&local) - zone_minutes(&utc)).rem_euclid(1_440.0);
    assert!((ahead - 330.0).abs() < 0.1, "{local} {utc}");

    open(&mut browser);
    click_text(&mut browser, "Compact");
    browser.wait_for(&format!("document.querySelector('.traces-row')?.clientHeight < {high}"));

    browser.open(&format!("http://{}/system", server.http));
    browser.wait_for("document.querySelector('main h1')");
    open(&mut browser);
    click_text(&mut browser, "Shop <b>now</b>");
    browser
        .wait_for("location.pathname === '/explore' && location.search.includes('service=shop')");
    browser.evaluate("document.querySelector('.saved-view button').click()");
    browser.wait_for("!document.querySelector('.saved-view')");

    // The sheet of keys replaces it, and Escape closes that sheet.
    browser.evaluate("document.activeElement.blur()");
    browser.press("?");
    browser.wait_for("document.querySelector('.sheet[aria-label=Shortcuts]')");
    assert_eq!(count(&mut browser, ".sheet"), 1);
    browser.press("Escape");
    browser.wait_for("!document.querySelector('.sheet')");
}
