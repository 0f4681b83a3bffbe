//! Tests that the server conforms to its OpenAPI document. Schemathesis sends requests that the
//! document allows or forbids, and checks statuses, content types, bodies and refusals. Each
//! endpoint that the document describes feeds a page.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use prost::Message;
use tidings_proto::otlp::{Event, KeyValue, Link, Span, Status};

use crate::{
    clients::{
        program::{Tool, run_within, source},
        python_program,
    },
    harness::{
        Server,
        http::post,
        spans::{log, logs, now, span, traces},
    },
};

const PYTHON: Tool = Tool { program: "python3", version: "--version", least: (3, 11) };
/// The run takes a minute on an otherwise idle machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// Checks that do not apply to this API: authorisation, and deleted objects.
const NOT_HERE: &str =
    "ignored_auth,object_level_authorization,use_after_free,ensure_resource_availability";

#[test]
fn schemathesis_finds_nothing() {
    if !PYTHON.is_installed("Schemathesis") {
        return;
    }
    let python = python_program("schemathesis");
    let mut server = Server::start();
    fill(&server);
    let folder = tempfile::tempdir().unwrap();
    let here = source("schemathesis");
    run_within(
        PATIENCE,
        Command::new(python.with_file_name("schemathesis"))
            .current_dir(folder.path())
            .env("PYTHONPATH", &here)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .arg("--config-file")
            .arg(Path::new(&here).join("schemathesis.toml"))
            .args(["run", "--no-color", "--exclude-checks", NOT_HERE])
            .arg(format!("http://{}/api/v1/openapi.json", server.http)),
    );
    assert!(server.is_alive());
}

/// Sends telemetry of each sort that answers contain: errors, exceptions, links, orphans and logs.
fn fill(server: &Server) {
    for trace in 1..=20_u128 {
        let id = u64::try_from(trace).unwrap() * 100;
        let failed = trace % 3 == 0;
        let error = Status { code: 2, message: "declined".to_owned() };
        let exception = Event {
            time_unix_nano: now(),
            name: "exception".to_owned(),
            attributes: vec![KeyValue::new("exception.type", "CardDeclined")],
            ..Event::default()
        };
        let link = Link {
            trace_id: 1_u128.to_be_bytes().to_vec(),
            span_id: vec![1; 8],
            ..Link::default()
        };
        let root = Span {
            status: failed.then(|| error.clone()),
            attributes: vec![KeyValue::new("region", if failed { "south" } else { "north" })],
            links: if trace > 1 { vec![link] } else { Vec::new() },
            ..span(trace, id, 0, "POST /checkout")
        };
        let calls =
            (1..=6).map(|number| Span { kind: 3, ..span(trace, id + number, id, "SELECT item") });
        let orphan = Span {
            events: vec![exception],
            status: Some(error.clone()),
            ..span(trace, id + 50, id + 49, "POST /pay")
        };
        let spans = std::iter::once(root).chain(calls).chain([orphan]).collect();
        send(server, "/v1/traces", traces("shop", spans).encode_to_vec());
        let records = vec![
            log(trace, id, &format!("card {trace} was declined")),
            log(trace, id + 1, "checkout failed"),
        ];
        send(server, "/v1/logs", logs("shop", records).encode_to_vec());
    }
}

fn send(server: &Server, path: &str, body: Vec<u8>) {
    let answer = post(&server.otlp_http, path, "application/x-protobuf", body);
    assert_eq!(answer.status, 200, "{path}");
}

/// Returns a path below `/api/v1` with `{}` for each variable part.
fn template(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Returns the endpoints in the table of `docs/ui.md`.
fn in_table() -> BTreeSet<String> {
    let text = fs::read_to_string("docs/ui.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `/") || line.starts_with("| every"));
    let asks = rows.map(|row| row.split('|').nth(3).unwrap());
    let names = asks.flat_map(|asks| asks.split('`').skip(1).step_by(2));
    names.map(template).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Returns the endpoints that the sources of the UI request.
fn asked_by_pages() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(Path::new("ui/src"), &mut files);
    let mut asked = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut add = |begin: &str, is_whole: bool| {
            for (at, _) in text.match_indices(begin) {
                // The path is the first string literal after the match.
                let rest = &text[at + begin.len()..];
                let path = if is_whole { rest } else { rest.split_once('"').unwrap().1 };
                let path = template(path.split('"').next().unwrap());
                asked.insert(format!("/{}", path.trim_start_matches('/')));
            }
        };
        add("Request::get(", false);
        add("Request::post(", false);
        add("\"/api/v1/", true);
    }
    asked
}

#[test]
fn every_endpoint_feeds_a_page_and_pages_ask_no_other() {
    let server = Server::start();
    let (_, document) = server.get("/api/v1/openapi.json");
    let paths = document["paths"].as_object().unwrap().keys();
    let described: BTreeSet<String> =
        paths.map(|path| template(path.strip_prefix("/api/v1").unwrap())).collect();
    assert!(described.len() > 30, "{described:?}");
    assert_eq!(described, in_table(), "the document, and the table of docs/ui.md");
    assert_eq!(described, asked_by_pages(), "the document, and what pages ask");
}
