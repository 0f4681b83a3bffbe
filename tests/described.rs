//! Tests that the server conforms to its OpenAPI document. Schemathesis sends requests that the
//! document allows or forbids, and checks statuses, content types, bodies and refusals. Each
//! endpoint that the document describes feeds a page, and `docs/ui.md` says which one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use prost::Message;
use tidings_disk::test_effort::by_effort;
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
            .args(["--max-examples", by_effort("2", "5")])
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

/// Rows of `docs/ui.md` for the parts that every page has.
const OMNI_ROW: &str = "every page, the box at the top";
const SIGN_IN_ROW: &str = "every page, where a [key](keys.md) is needed and there is none";
const FRAME_ROW: &str = "every page, the frame around it";

/// Endpoints by page. Variable parts of both are `{}`.
type Table = BTreeMap<String, BTreeSet<String>>;

/// Returns the table of `docs/ui.md`.
fn table() -> Table {
    let text = fs::read_to_string("docs/ui.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `/") || line.starts_with("| every"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let page = match cells[1].strip_prefix('`') {
            Some(path) => template(path.split('`').next().unwrap()),
            None => cells[1].to_owned(),
        };
        let asks: BTreeSet<String> = cells[3].split('`').skip(1).step_by(2).map(template).collect();
        (page, asks)
    };
    rows.map(row).collect()
}

/// Returns the path and the module of each page.
fn pages() -> Vec<(String, String)> {
    let text = fs::read_to_string("ui/src/pages.rs").unwrap();
    let page = |line: &str| {
        let (path, rest) = line.strip_prefix("    \"/")?.split_once("\" ")?;
        let (module, _) = rest.split_once("::")?;
        let parts = path.split('/').map(|part| if part.starts_with(':') { "{}" } else { part });
        Some((format!("/{}", parts.collect::<Vec<_>>().join("/")), module.to_owned()))
    };
    text.lines().filter_map(page).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Returns the files of a module of the UI, with those of the modules within it.
fn files_of(module: &str) -> Vec<PathBuf> {
    let (file, folder) = (PathBuf::from(format!("{module}.rs")), Path::new(module));
    let mut files: Vec<PathBuf> = file.is_file().then_some(file).into_iter().collect();
    if folder.is_dir() {
        sources(folder, &mut files);
    }
    assert!(!files.is_empty(), "{module} has no file");
    files
}

/// Returns the files of the UI outside of the pages, the API and the named parts of the frame.
fn shared_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    sources(Path::new("ui/src"), &mut files);
    let others = ["pages", "api", "shell/omni", "shell/sign_in"].map(|part| {
        let module = format!("ui/src/{part}");
        (PathBuf::from(format!("{module}.rs")), PathBuf::from(module))
    });
    let is_shared = |path: &PathBuf| {
        !others.iter().any(|(file, folder)| path == file || path.starts_with(folder))
    };
    files.into_iter().filter(is_shared).collect()
}

/// Returns the code of a file without its tests.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned()
}

/// A function of the UI's API that makes requests or returns the address of one.
struct ApiFunction {
    /// `analysis` of `analysis::red`.
    module: String,
    name: String,
    endpoints: BTreeSet<String>,
}

/// Returns the functions of the UI's API that have endpoints, by themselves or by a function of
/// the same file.
fn api_functions() -> Vec<ApiFunction> {
    let mut functions = Vec::new();
    for file in files_of("ui/src/api") {
        let code = code_of(&file);
        let module = file.file_stem().unwrap().to_str().unwrap();
        let bodies: Vec<(&str, &str, BTreeSet<String>)> = (code.split("fn ").skip(1))
            .map(|body| (word(body), body, spelled(body)))
            .filter(|(name, ..)| !name.is_empty())
            .collect();
        for (name, body, own) in &bodies {
            let called = bodies.iter().filter(|(other, ..)| calls(body, other));
            let all = called.flat_map(|(_, _, endpoints)| endpoints).chain(own);
            let endpoints: BTreeSet<String> = all.cloned().collect();
            if !endpoints.is_empty() {
                let (module, name) = (module.to_owned(), (*name).to_owned());
                functions.push(ApiFunction { module, name, endpoints });
            }
        }
    }
    functions
}

fn is_of_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// Returns the word at the beginning of code.
fn word(code: &str) -> &str {
    code.split(|sign: char| !is_of_word(sign)).next().unwrap_or_default()
}

/// Reports whether code calls a function by its name alone, without a path or a value before it.
fn calls(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}(")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|sign| is_of_word(sign) || sign == '.' || sign == ':')
    })
}

/// Returns the endpoints whose paths stand in code.
fn spelled(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut add = |begin: &str, is_whole: bool| {
        for (at, _) in code.match_indices(begin) {
            // The path is the first string literal after the match.
            let rest = &code[at + begin.len()..];
            let path = if is_whole { rest } else { rest.split_once('"').unwrap().1 };
            let path = template(path.split('"').next().unwrap());
            paths.insert(format!("/{}", path.trim_start_matches('/')));
        }
    };
    add("Request::get(", false);
    add("Request::post(", false);
    add("\"/api/v1/", true);
    paths
}

/// Returns the names after `module::`: one, or those of a list in braces. Names with a path have
/// their own `module::`.
fn names_after(rest: &str) -> Vec<&str> {
    let Some(list) = rest.strip_prefix('{') else {
        let name = word(rest);
        let is_module = rest[name.len()..].starts_with("::");
        return if is_module { Vec::new() } else { vec![name] };
    };
    let mut depth = 0_i32;
    let mut ends_at = |sign: char| {
        depth += i32::from(sign == '{') - i32::from(sign == '}');
        sign == ',' && depth == 0 || depth < 0
    };
    let mut names = Vec::new();
    let mut rest = list;
    while let Some(end) = rest.find(&mut ends_at) {
        names.push(rest[..end].trim());
        if rest[end..].starts_with('}') {
            break;
        }
        rest = &rest[end + 1..];
    }
    names
}

/// Reports whether code calls or imports a function: `module::name`, or `module::{name, …}`.
fn names(code: &str, function: &ApiFunction) -> bool {
    let begin = format!("{}::", function.module);
    code.match_indices(&begin).any(|(at, _)| {
        !code[..at].ends_with(is_of_word)
            && names_after(&code[at + begin.len()..]).contains(&function.name.as_str())
    })
}

/// Returns the endpoints that files ask, by functions of the API or by their paths.
fn asked(files: &[PathBuf], functions: &[ApiFunction]) -> BTreeSet<String> {
    let mut endpoints = BTreeSet::new();
    for file in files {
        let code = code_of(file);
        let named = functions.iter().filter(|function| names(&code, function));
        endpoints.extend(named.flat_map(|function| function.endpoints.iter().cloned()));
        endpoints.extend(spelled(&code));
    }
    endpoints
}

/// Returns the endpoints that the sources of the UI ask, by page.
fn asked_by_pages() -> Table {
    let functions = api_functions();
    let mut table = Table::new();
    for (path, module) in pages() {
        let files = files_of(&format!("ui/src/pages/{module}"));
        let mut endpoints = asked(&files, &functions);
        // The frame asks for the status, and these pages draw it.
        if files.iter().any(|file| code_of(file).contains("use_server()")) {
            endpoints.insert("/status".to_owned());
        }
        table.insert(path, endpoints);
    }
    for (row, files) in [
        (OMNI_ROW, files_of("ui/src/shell/omni")),
        (SIGN_IN_ROW, files_of("ui/src/shell/sign_in")),
        (FRAME_ROW, shared_files()),
    ] {
        table.insert(row.to_owned(), asked(&files, &functions));
    }
    table
}

#[test]
fn each_page_asks_the_endpoints_of_its_row_and_no_other() {
    let (table, asked) = (table(), asked_by_pages());
    assert!(asked.len() > 15, "{asked:?}");
    let pages = |of: &Table| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(pages(&table), pages(&asked), "the rows of docs/ui.md, and the pages");
    for (page, endpoints) in &asked {
        assert_eq!(&table[page], endpoints, "{page}: its row of docs/ui.md, and its sources");
    }
}

#[test]
fn functions_of_the_api_are_found_where_they_are_called_or_imported() {
    let red = ApiFunction {
        module: "analysis".to_owned(),
        name: "red".to_owned(),
        endpoints: BTreeSet::new(),
    };
    for code in [
        "analysis::red(&window)",
        "use crate::{api::{ApiError, analysis::{self, Analysis, red}}, browser};",
        "use crate::api::analysis::{\n    graph::{one, two},\n    red,\n};",
    ] {
        assert!(names(code, &red), "{code}");
    }
    for code in [
        "analysis::reduced(&window)",
        "analysis::red::Group",
        "use crate::api::{analysis::{self, Analysis}, red};",
        "reanalysis::red(&window)",
        "red(&window)",
    ] {
        assert!(!names(code, &red), "{code}");
    }
}

#[test]
fn every_endpoint_feeds_a_page_and_pages_ask_no_other() {
    let server = Server::start();
    let (_, document) = server.get("/api/v1/openapi.json");
    let paths = document["paths"].as_object().unwrap().keys();
    let described: BTreeSet<String> =
        paths.map(|path| template(path.strip_prefix("/api/v1").unwrap())).collect();
    assert!(described.len() > 30, "{described:?}");
    let in_table: BTreeSet<String> = table().into_values().flatten().collect();
    assert_eq!(described, in_table, "the document, and the table of docs/ui.md");
}
