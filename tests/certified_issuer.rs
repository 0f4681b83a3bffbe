//! Tests sign-in and tokens in Chromium and over HTTP, with an issuer that the OpenID Foundation
//! has certified (`oidc-provider`). The tests `sign_in` and `tokens` cover the errors of an issuer,
//! with an issuer of our own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::Value as Json;

use crate::{
    clients::{
        NODE, NPM, free_ports,
        program::{Running, make, prepared, source},
    },
    harness::{
        PATIENCE, Server,
        browser::Browser,
        http::{Answer, get, send},
    },
};

const SECRET: &str = "a secret: +%&";
const MACHINE: &str = "Basic bWFjaGluZTp0aGUrc2VjcmV0K29mK2ErbWFjaGluZQ==";
const TOKEN_REQUEST: &str = "grant_type=client_credentials";

/// Returns the issuer's program with its libraries; `None` where they cannot be installed.
fn program() -> Option<PathBuf> {
    if !(NODE.is_installed("certified issuer") && NPM.is_installed("certified issuer")) {
        return None;
    }
    let read = |name| std::fs::read_to_string(source("issuer").join(name)).unwrap();
    let (package, script) = (read("package.json"), read("issuer.mjs"));
    let folder = prepared("issuer", &format!("{package}{script}"), |folder| {
        std::fs::write(folder.join("package.json"), &package).unwrap();
        std::fs::write(folder.join("issuer.mjs"), &script).unwrap();
        let options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"];
        make(Command::new("npm").arg("install").args(options).current_dir(folder));
    });
    Some(folder.join("issuer.mjs"))
}

/// Starts the issuer, and a server that trusts it.
fn start(program: &Path, folder: &Path) -> (Running, Server) {
    let issuer = free_ports(1).remove(0);
    let port = issuer.rsplit(':').next().unwrap();
    let url = format!("http://{issuer}");
    let flags = ["--oidc-issuer", &url, "--oidc-client-id", "tidings", "--oidc-name", "Acme"];
    let roles = ["--oidc-roles-claim", "groups", "--oidc-roles", "dev=read,send=ingest"];
    let flags = [&flags[..], &roles, &["--oidc-audience", "urn:tidings"]].concat();
    let variables = [("TIDINGS_OIDC_CLIENT_SECRET", SECRET)];
    let server = Server::start_as(&folder.join("data"), &flags, &variables);
    let back = format!("http://{}", server.http);
    let grants = folder.join("grants");
    let running = Running::start(Command::new("node").arg(program).args([port, &back]).arg(grants));
    running.wait_until("people can sign in", || get(&server.http, "/sign-in").status == 303);
    (running, server)
}

fn click(browser: &mut Browser, button: &str) {
    browser.evaluate(&format!(
        "[...document.querySelectorAll('button, a')]\
         .find(button => button.innerText.includes('{button}')).click()"
    ));
}

fn sign_in(browser: &mut Browser, server: &Server, name: &str) {
    browser.open(&format!("http://{}/system", server.http));
    browser.wait_for_text("Sign in with Acme");
    click(browser, "Sign in with Acme");
    browser.wait_for("document.querySelector('input[name=login]')");
    browser.evaluate(&format!(
        "document.querySelector('input[name=login]').value = '{name}'; \
         document.querySelector('input[name=password]').value = 'any'"
    ));
    click(browser, "Sign-in");
    browser.wait_for_text("Continue");
    click(browser, "Continue");
}

#[test]
fn a_person_signs_in_stays_and_signs_out_at_a_certified_issuer() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_issuer, server) = start(&program, folder.path());
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    browser.expect_refusals(401, "/api/v1/");
    browser.expect_refusals(403, "/sign-in/callback");
    // The issuer's own pages ask for fonts elsewhere, and for an icon that it does not have.
    browser.expect_errors("\"url\":\"https://");
    browser.expect_refusals(404, "/favicon.ico");
    sign_in(&mut browser, &server, "dev-ada");
    browser.wait_for_text("Signed in as dev-ada@example.com");
    assert_eq!(browser.evaluate("location.pathname").as_str(), Some("/system"));
    let grants = || std::fs::read_to_string(folder.path().join("grants")).unwrap();
    assert!(grants().starts_with("authorization_code\n"), "{}", grants());
    // A token lasts for a second. The session goes on with refreshed tokens.
    let begin = Instant::now();
    while !grants().contains("\nrefresh_token\n") {
        assert!(begin.elapsed() < PATIENCE, "{}", grants());
        browser.open(&format!("http://{}/system", server.http));
        browser.wait_for_text("Signed in as dev-ada@example.com");
    }
    click(&mut browser, "Sign out");
    // The issuer asks whether its own session ends, too, and then redirects the browser back.
    browser.wait_for_text("Do you want to sign-out");
    click(&mut browser, "Yes, sign me out");
    browser.wait_for_text("Sign in with Acme");
    assert_eq!(browser.evaluate("location.host").as_str(), Some(server.http.as_str()));

    sign_in(&mut browser, &server, "guest-eve");
    browser.wait_for_text("no role");
    assert_eq!(browser.evaluate("location.pathname").as_str(), Some("/sign-in/callback"));
}

#[test]
fn a_machine_sends_with_a_token_of_a_certified_issuer() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_issuer, server) = start(&program, folder.path());
    let page = get(&server.http, "/sign-in").headers["location"].to_str().unwrap().to_owned();
    let issuer = page.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = send("POST", issuer, "/token", &[form, ("authorization", MACHINE)], TOKEN_REQUEST);
    let tokens: Json = serde_json::from_slice(&answer.body).unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    let ask = |method: &str, address: &str, path: &str, token: &str| -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        send(method, address, path, &headers, if method == "POST" { "{}" } else { "" })
    };
    assert_eq!(ask("POST", &server.otlp_http, "/v1/traces", token).status, 200);
    assert_eq!(ask("GET", &server.http, "/api/v1/services", token).status, 403, "it may only send");
    let mut parts = token.split('.');
    let (head, claims) = (parts.next().unwrap(), parts.next().unwrap());
    let unsigned = format!("{head}.{claims}.");
    for forged in [unsigned.as_str(), &format!("{token}A"), &token[..token.len() - 8]] {
        assert_eq!(ask("POST", &server.otlp_http, "/v1/traces", forged).status, 401);
    }
}
