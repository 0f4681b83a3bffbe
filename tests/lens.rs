//! Tests Lens, Zipkin's own UI, in Chromium on telemetry stored in Tidings. Lens is taken from
//! Zipkin's server and sends its requests to the Zipkin address.

use std::{path::PathBuf, process::Command};

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, Status};

use crate::{
    clients::{
        JAVA, MAVEN,
        program::{make, prepared},
    },
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{now, span, traces},
        web::Web,
    },
};

const SERVER: &str = "io.zipkin:zipkin-server:3.6.1:jar:exec";
const UNPACK: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack";
const LENS: &str = "BOOT-INF/lib/zipkin-lens-3.6.1.jar";
const TRACE: u128 = 0x00d1_ce00_0000_0000_0000_0000_0000_1e45;

/// Returns the folder with the files of Lens.
fn lens() -> PathBuf {
    let folder = prepared("lens", SERVER, |folder| {
        make(
            Command::new("mvn")
                .args(["--quiet", "--batch-mode", UNPACK])
                .arg(format!("-Dartifact={SERVER}"))
                .arg(format!("-Dmdep.unpack.includes={LENS}"))
                .arg(format!("-DoutputDirectory={}", folder.display()))
                // Maven leaves a file in its working directory.
                .current_dir(folder),
        );
        make(Command::new("jar").arg("xf").arg(folder.join(LENS)).current_dir(folder));
    });
    folder.join("zipkin-lens")
}

/// Sends a trace in which a shop calls a bank whose database refuses.
fn send(server: &Server) {
    let begin = now() - 2_000_000_000;
    let at = |id, parent, name: &str, kind, millis: [u64; 2]| {
        let mut span = span(TRACE, id, parent, name);
        span.kind = kind;
        span.start_time_unix_nano = begin + millis[0] * 1_000_000;
        span.end_time_unix_nano = begin + millis[1] * 1_000_000;
        span
    };
    let mut refused = at(4, 3, "UPDATE account", 3, [30, 70]);
    refused.attributes = vec![
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("peer.service", "accounts"),
    ];
    refused.status = Some(Status { message: "locked".to_owned(), code: 2 });
    let shop = vec![at(1, 0, "POST /checkout", 2, [0, 100]), at(2, 1, "POST /pay", 3, [10, 90])];
    let bank = vec![at(3, 2, "POST /pay", 2, [20, 80]), refused];
    for (service, spans) in [("shop", shop), ("bank", bank)] {
        let body = traces(service, spans).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn zipkins_ui_browses_what_is_stored() {
    if !(JAVA.is_installed("Zipkin Lens") && MAVEN.is_installed("Zipkin Lens")) {
        return;
    }
    let Some(mut browser) = Browser::alone("Zipkin Lens", 1400, 900) else { return };
    let server = Server::start();
    send(&server);
    let forward = ["/zipkin/api/", "/zipkin/config.json"];
    let web = Web::start("/zipkin", &lens(), &forward, &server.zipkin);
    let page = |path: &str| format!("http://{}/zipkin/{path}", web.address);

    browser.open(&page("?serviceName=shop&lookback=15m&limit=10"));
    let run =
        "[...document.querySelectorAll('button')].find(e => e.innerText.includes('RUN QUERY'))";
    browser.wait_for(run);
    browser.evaluate(&format!("{run}.click()"));
    browser.wait_for_text("shop: post /checkout");
    let row =
        "[...document.querySelectorAll('tr')].find(e => e.innerText.includes('post /checkout'))";
    let row = browser.evaluate(&format!("{row}.innerText"));
    let row = row.as_str().unwrap();
    assert!(row.contains('4') && row.contains("100.000ms"), "{row}");
    browser.screenshot("lens-search");

    browser.open(&page(&format!("traces/{TRACE:032x}")));
    // Lens merges the two spans of a call into one row when their ids are shared. These ids are
    // not.
    for drawn in ["shop: post /checkout", "shop: post /pay", "bank: post /pay"] {
        browser.wait_for_text(drawn);
    }
    // A call to an uninstrumented peer is named after the peer.
    browser.wait_for_text("accounts: update account");
    let head = browser.evaluate("document.body.innerText");
    for fact in ["Duration\n100ms", "Services\n3", "Total Spans\n4"] {
        assert!(head.as_str().unwrap().contains(fact), "{fact:?} is not in {head}");
    }
    browser.screenshot("lens-trace");

    let end = now() / 1_000_000;
    let times = format!("startTime={}&endTime={}", end - 3_600_000, end + 60_000);
    browser.open(&page(&format!("dependency?{times}")));
    browser.wait_for_text("Filter");
    // The graph draws the names on a canvas, so the test reads them from the list of the filter.
    browser.wait_for("document.querySelectorAll('canvas').length > 0");
    browser.evaluate("[...document.querySelectorAll('input')].pop().focus()");
    browser.press("ArrowDown");
    for service in ["shop", "bank", "accounts"] {
        browser.wait_for(&format!(
            "[...document.querySelectorAll('[role=option]')].some(e => e.innerText === {})",
            json!(service)
        ));
    }
    browser.press("Escape");
    browser.screenshot("lens-dependencies");
    // Only nodes, their names and edges are drawn below the filter.
    let colours = browser.colours([0, 250, 1400, 600]);
    assert!(colours > 20, "the dependencies are drawn in {colours} colours");
}
