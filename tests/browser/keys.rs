//! A server that requires keys: sign-in, the keys of the System page, and sign-out.

use crate::harness::{
    Server,
    browser::Browser,
    issuer::{CLIENT, Issuer, SECRET},
};

/// Makes a key with the command line.
fn key(server: &Server, name: &str, role: &str) -> String {
    let folder = server.data_dir().to_str().unwrap();
    let args = ["keys", "create", "--data-dir", folder, "--name", name, "--role", role];
    let (code, out, error) = Server::command(&args);
    assert_eq!(code, Some(0), "{error}");
    out.trim().to_owned()
}

/// Types into the field with this id and submits its form.
fn submit(browser: &mut Browser, id: &str, text: &str) {
    browser.wait_for(&format!("document.getElementById('{id}')"));
    browser.evaluate(&format!(
        "document.getElementById('{id}').value = ''; document.getElementById('{id}').focus()"
    ));
    browser.type_text(text);
    browser.press("Enter");
}

/// Rows of the table of keys.
const ROWS: &str = "[...document.querySelectorAll('table[aria-label=Keys] tbody tr')]";

fn rows(name: &str) -> String {
    format!("{ROWS}.filter(row => row.innerText.includes('{name}')).length")
}

#[test]
fn a_person_signs_in_makes_a_key_revokes_it_and_signs_out() {
    let server = Server::start_with(&["--require-keys", "true"]);
    let admin = key(&server, "me", "admin");
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    // Every request without a good key is refused.
    browser.expect_refusals(401, "/api/v1/");
    browser.open(&format!("http://{}/", server.http));
    browser.wait_for_text("Sign in");
    browser.screenshot("sign-in");
    submit(&mut browser, "sign-in-key", "tk_no");
    browser.wait_for_text("the key is not known here");
    submit(&mut browser, "sign-in-key", &admin);
    browser
        .wait_for("!document.getElementById('sign-in-key') && document.querySelector('main h1')");
    browser.open(&format!("http://{}/system", server.http));
    browser.wait_for(&format!("{} === 1", rows("me")));
    submit(&mut browser, "key-name", "collector prod");
    browser.wait_for(&format!("{} === 1", rows("collector prod")));
    browser.wait_for_text("OTEL_EXPORTER_OTLP_HEADERS");
    let row = format!("{ROWS}.find(row => row.innerText.includes('collector prod'))");
    browser.wait_for(&format!("{row}.innerText.includes('not since the start')"));
    browser.screenshot("system-keys");
    let made = browser.evaluate("document.querySelector('.made-key pre').innerText");
    let made = made.as_str().unwrap().split("Bearer ").nth(1).unwrap().trim_end_matches('"');
    let bearer = format!("Bearer {made}");
    let send = || {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        crate::harness::http::send("POST", &server.otlp_http, "/v1/traces", &headers, "{}").status
    };
    assert_eq!(send(), 200, "the key on the page is good");
    browser.open(&format!("http://{}/system", server.http));
    browser.wait_for(&format!("{} === 1", rows("collector prod")));
    browser.wait_for(&format!("/\\b(now|\\d+ ?m?s ago)\\b/.test({row}.innerText)"));
    let counts = format!("[...{row}.querySelectorAll('td.num')].map(cell => cell.innerText)");
    browser.wait_for(&format!("{counts}.includes('1')"));
    let revoke = format!(
        "[...{row}.querySelectorAll('button')].find(one => one.innerText.startsWith('Revoke'))"
    );
    browser.evaluate(&format!("{revoke}.click()"));
    browser.wait_for(&format!("{revoke}.innerText === 'Revoke for good'"));
    browser.evaluate(&format!("{revoke}.click()"));
    browser.wait_for(&format!("{} === 0", rows("collector prod")));
    assert_eq!(send(), 401);
    let leave = "[...document.querySelectorAll('main button')]\
                 .find(button => button.innerText === 'Sign out')";
    browser.evaluate(&format!("{leave}.click()"));
    browser.wait_for("document.getElementById('sign-in-key')");
}

#[test]
fn a_person_signs_in_by_an_issuer_and_signs_out_there() {
    let issuer = Issuer::start();
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--oidc-issuer", &issuer.url, "--oidc-client-id", CLIENT];
    let roles = ["--oidc-roles-claim", "groups", "--oidc-roles", "dev=read", "--oidc-name", "Acme"];
    let variables = [("TIDINGS_OIDC_CLIENT_SECRET", SECRET)];
    let server = Server::start_as(folder.path(), &[&flags[..], &roles].concat(), &variables);
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    browser.expect_refusals(401, "/api/v1/");
    browser.open(&format!("http://{}/logs?q=a", server.http));
    browser.wait_for_text("Sign in with Acme");
    browser.screenshot("sign-in-issuer");
    browser.evaluate("document.querySelector('a[href^=\"/sign-in\"]').click()");
    browser.wait_for(
        "location.pathname === '/logs' && !document.getElementById('sign-in-key') \
         && document.querySelector('main')",
    );
    assert_eq!(browser.evaluate("location.search").as_str(), Some("?q=a"));
    let cookies = browser.evaluate("document.cookie");
    assert_eq!(cookies.as_str(), Some(""), "no script sees the session");
    browser.open(&format!("http://{}/system", server.http));
    browser.wait_for_text("Signed in as ada@example.com");
    browser.evaluate(
        "[...document.querySelectorAll('main button')]\
         .find(button => button.innerText.includes('Sign out')).click()",
    );
    browser.wait_for_text("Sign in with Acme");
    assert_eq!(issuer.asked("/end"), 1, "the session at the issuer has ended, too");
}
