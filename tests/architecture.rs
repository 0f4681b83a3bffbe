//! Rules that a reviewer would otherwise check: dependencies between crates, module headers, the
//! length of files, and banned words.

mod imports;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tidings_collector::RECEIVERS;

/// The crates of the workspace that each crate may use. `docs/ARCHITECTURE.md` draws the same
/// graph.
const MAY_USE: &[(&str, &[&str])] = &[
    ("tidings-proto", &[]),
    ("tidings-grpc", &["tidings-proto"]),
    ("tidings-assembly", &["tidings-proto"]),
    ("tidings-runtime", &["tidings-proto"]),
    ("tidings-disk", &["tidings-proto"]),
    ("tidings-wal", &["tidings-disk", "tidings-proto", "tidings-runtime"]),
    ("tidings-columns", &["tidings-proto"]),
    (
        "tidings-files",
        &["tidings-columns", "tidings-disk", "tidings-proto", "tidings-runtime", "tidings-wal"],
    ),
    ("tidings-rollup", &["tidings-assembly", "tidings-columns", "tidings-files", "tidings-proto"]),
    (
        "tidings-index",
        &["tidings-columns", "tidings-disk", "tidings-files", "tidings-proto", "tidings-rollup"],
    ),
    (
        "tidings-data-file",
        &["tidings-columns", "tidings-disk", "tidings-files", "tidings-index", "tidings-proto"],
    ),
    (
        "tidings-snapshot",
        &[
            "tidings-columns",
            "tidings-data-file",
            "tidings-disk",
            "tidings-files",
            "tidings-index",
            "tidings-proto",
            "tidings-rollup",
        ],
    ),
    (
        "tidings-storage",
        &[
            "tidings-columns",
            "tidings-data-file",
            "tidings-disk",
            "tidings-files",
            "tidings-index",
            "tidings-proto",
            "tidings-rollup",
            "tidings-runtime",
            "tidings-snapshot",
            "tidings-wal",
        ],
    ),
    ("tidings-access", &["tidings-proto", "tidings-storage"]),
    ("tidings-audit", &["tidings-proto", "tidings-storage"]),
    (
        "tidings-collector",
        &["tidings-access", "tidings-audit", "tidings-grpc", "tidings-proto", "tidings-storage"],
    ),
    ("tidings-pattern", &[]),
    ("tidings-traceql", &["tidings-pattern", "tidings-proto"]),
    ("tidings-promql", &["tidings-pattern"]),
    ("tidings-log-query", &["tidings-pattern", "tidings-proto", "tidings-storage"]),
    (
        "tidings-query",
        &[
            "tidings-assembly",
            "tidings-audit",
            "tidings-log-query",
            "tidings-pattern",
            "tidings-proto",
            "tidings-storage",
            "tidings-traceql",
        ],
    ),
    (
        "tidings-apis",
        &[
            "tidings-audit",
            "tidings-grpc",
            "tidings-pattern",
            "tidings-promql",
            "tidings-proto",
            "tidings-query",
            "tidings-storage",
            "tidings-traceql",
        ],
    ),
    (
        "tidings-sql",
        &[
            "tidings-apis",
            "tidings-assembly",
            "tidings-grpc",
            "tidings-proto",
            "tidings-query",
            "tidings-storage",
        ],
    ),
    ("tidings-sql-engine", &["tidings-proto", "tidings-query", "tidings-sql", "tidings-storage"]),
    ("tidings-ui", &["tidings-proto"]),
    (
        "tidings",
        &[
            "tidings-access",
            "tidings-apis",
            "tidings-audit",
            "tidings-collector",
            "tidings-grpc",
            "tidings-proto",
            "tidings-query",
            "tidings-sql",
            "tidings-sql-engine",
            "tidings-storage",
        ],
    ),
    ("tidings-bench", &[]),
    (
        "tidings-fuzz",
        &[
            "tidings-access",
            "tidings-apis",
            "tidings-audit",
            "tidings-collector",
            "tidings-grpc",
            "tidings-log-query",
            "tidings-promql",
            "tidings-proto",
            "tidings-query",
            "tidings-sql",
            "tidings-sql-engine",
            "tidings-storage",
            "tidings-traceql",
        ],
    ),
    ("xtask", &[]),
    ("tidings-ui-package", &[]),
];

/// The files that start tasks and threads without `Supervision`, with their number and the reason.
/// Each ends with one piece of work, or its owner notices its panic.
const UNSUPERVISED: &[(&str, usize, &str)] = &[
    ("access/src/key_ring.rs", 1, "renews one session, and is awaited"),
    ("collector/src/ingest.rs", 1, "appends one batch, and is awaited"),
    ("collector/src/listener.rs", 1, "serves one connection; the set of the listener joins it"),
    ("collector/src/stalled_streams.rs", 1, "answers on one stream, whose connection owns it"),
    ("query/apis/src/http/searching.rs", 1, "answers one search; a set of its own aborts it"),
    ("sql/src/conversation.rs", 2, "write to and listen to the worker of one query"),
    ("sql/src/conversation/scans.rs", 1, "reads one view for one query"),
    ("sql/src/http/sql_events.rs", 1, "asks one query; a set of its own aborts it"),
    ("sql/src/pool.rs", 1, "the thread is supervised: its work is a restarting thread"),
    ("sql/src/sql_service.rs", 1, "talks with the worker of one query, whose asker waits for it"),
    ("sql/engine/src/worker.rs", 1, "the query in a worker process, which ends with it"),
    ("src/demo.rs", 4, "send one request each; the set of the demo joins them"),
    ("src/tenants.rs", 1, "opens the store of one tenant, once"),
    ("src/web/status.rs", 1, "demo traffic of a minute, which the shutdown aborts"),
    ("storage/src/store.rs", 1, "one flush; its panic is the failure of the flusher"),
    ("storage/src/store/erase.rs", 1, "one erasure, which the store joins when it closes"),
    ("storage/src/store/pin.rs", 1, "one change of the pins, and is awaited"),
    ("storage/runtime/src/supervision.rs", 2, "the tasks that are supervised"),
    (
        "storage/files/src/table_store/object.rs",
        1,
        "one request to the object store, and is awaited",
    ),
    ("storage/src/tables/listing.rs", 1, "reads one table's log, and is awaited"),
    ("storage/wal/src/lib.rs", 1, "the thread is supervised: its work is an essential thread"),
];

/// Maximum lines of a source file. Tests may be longer.
const LINES_MAX: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn crates_depend_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<_, BTreeSet<_>> =
        MAY_USE.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in MAY_USE"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let ours = dependency["path"].is_string() && dependency["kind"].is_null();
            assert!(!ours || allowed.contains(used), "{name} must not use {used}");
        }
    }
}

#[test]
fn the_server_needs_no_engine_of_sql() {
    let tree = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--package", "tidings", "--edges", "normal"])
        .args(["--prefix", "none", "--no-default-features"])
        .output()
        .unwrap();
    let said = String::from_utf8(tree.stderr).unwrap();
    assert!(tree.status.success(), "{said}");
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("tidings-sql v"), "{tree}");
    let engine: Vec<&str> = tree.lines().filter(|line| line.starts_with("datafusion")).collect();
    assert!(engine.is_empty(), "{engine:?}");
}

#[test]
fn every_module_says_what_it_is() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let is_test = path.ends_with("tests.rs") || text.starts_with("use ");
        let in_tests = path.components().any(|part| part.as_os_str() == "tests");
        assert!(
            is_test || in_tests || text.starts_with("//! "),
            "{} has no header",
            path.display()
        );
    }
}

#[test]
fn files_stay_short() {
    for path in sources() {
        let is_test = path.components().any(|part| part.as_os_str() == "tests")
            || path.file_name().is_some_and(|name| name == "tests.rs");
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(is_test || lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

/// Checks that code blocks of the documentation are drawings and formats. Doc tests are switched off,
/// because rustdoc would check every crate once more to find that it has none.
#[test]
fn no_example_in_the_documentation_goes_untested() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let comments = text.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))
        });
        let fences: Vec<&str> =
            comments.filter_map(|line| line.trim_start().strip_prefix("```")).collect();
        assert!(fences.len().is_multiple_of(2), "{}: a block has no end", path.display());
        for language in fences.iter().step_by(2) {
            assert_eq!(*language, "text", "{}: make it a test", path.display());
        }
    }
}

/// Fails for file names that do not say what the file contains.
#[test]
fn files_are_named_after_what_is_in_them() {
    const EMPTY: [&str; 9] =
        ["common", "data", "helper", "helpers", "manager", "managers", "misc", "util", "utils"];
    // OpenTelemetry chose this name: the file has the messages of `opentelemetry.proto.common`.
    let theirs = root().join("proto/src/otlp/common.rs");
    for path in sources().into_iter().filter(|path| *path != theirs) {
        let name = path.strip_prefix(root()).unwrap().with_extension("");
        let empty = name.iter().find(|part| EMPTY.iter().any(|name| part == name));
        assert!(empty.is_none(), "{}: find the noun", path.display());
    }
}

/// Checks that a receiver is one file and one line of the list, which names its setting. Only
/// commands that send to receivers also name settings, to find the addresses. The container exposes
/// every port.
#[test]
fn a_receiver_is_one_file_and_one_line() {
    const SENDERS: [&str; 3] = ["src/cli.rs", "src/demo.rs", "src/import.rs"];
    let mut implementations = 0;
    for path in sources() {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let is_of_server = name.starts_with("src/") || name.starts_with("collector/src/");
        if !is_of_server || name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let is_receiver = name.starts_with("collector/src/receive/");
        if code.contains("impl Receiver for ") {
            assert!(is_receiver, "{name}: a receiver is a file in collector/src/receive");
            implementations += 1;
        }
        if is_receiver || name == "collector/src/receive.rs" || SENDERS.contains(&name) {
            continue;
        }
        for receiver in RECEIVERS {
            let setting = format!("\"{}\"", receiver.setting);
            assert!(!code.contains(&setting), "{name} has {setting}");
        }
    }
    assert_eq!(implementations, RECEIVERS.len(), "receivers are listed in receive.rs");
    let container = fs::read_to_string(root().join("packaging/Containerfile")).unwrap();
    let exposed = container.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    for receiver in RECEIVERS {
        let (_, port) = receiver.address.rsplit_once(':').unwrap();
        let flag = format!(r#""--{}", "0.0.0.0:{port}""#, receiver.setting);
        let is_reached = exposed.split(' ').any(|one| one == port) && container.contains(&flag);
        assert!(is_reached, "the container does not expose {}", receiver.setting);
    }
}

/// Checks that a page is one file, with its `mod` and its line in one list. No other file of the UI
/// names its component, and the list has each file of a page. `docs/ui.md` describes it, and tests
/// of the browser open it.
#[test]
fn a_page_is_one_file_and_one_line() {
    let list = root().join("ui/src/pages.rs");
    let text = fs::read_to_string(&list).unwrap();
    let documented = fs::read_to_string(root().join("docs/ui.md")).unwrap();
    let cases = fs::read_to_string(root().join("tests/browser/pages.rs")).unwrap();
    let mut listed = BTreeSet::new();
    let ui: Vec<_> =
        sources().into_iter().filter(|path| path.starts_with(root().join("ui"))).collect();
    for line in text.lines().filter(|line| line.starts_with("    \"/")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = words[0].trim_matches('"').split('/').map(|part| {
            part.strip_prefix(':').map_or(part.to_owned(), |name| format!("{{{name}}}"))
        });
        let row = format!("| `{}` ", address.collect::<Vec<_>>().join("/"));
        assert!(documented.contains(&row), "docs/ui.md has no row {row}");
        let begin = words[0].trim_end_matches('"').split(':').next().unwrap();
        assert!(cases.contains(begin), "tests/browser/pages.rs opens no page at {begin}");
        let (module, component) = words[1].split_once("::").unwrap();
        let file = root().join("ui/src/pages").join(module).with_extension("rs");
        assert!(listed.insert(file.clone()), "{line}");
        for path in ui.iter().filter(|path| **path != list && **path != file) {
            let code = fs::read_to_string(path).unwrap();
            let knows =
                code.split(|sign: char| !sign.is_alphanumeric()).any(|word| word == component);
            assert!(!knows, "{} has {component}", path.display());
        }
    }
    let pages = root().join("ui/src/pages");
    let files = ui.into_iter().filter(|path| path.parent() == Some(pages.as_path()));
    let files: BTreeSet<PathBuf> = files.collect();
    assert_eq!(listed, files, "the list of pages, and their files");
}

/// Checks that a read-only API resource is one file, with its `mod` and its line in one list. No
/// other line there names its handlers, and `docs/api.md` documents each of them.
#[test]
fn an_api_resource_is_one_file_and_one_line() {
    const HANDLER: &str = "#[utoipa::path(";
    let list = fs::read_to_string(root().join("query/apis/src/http.rs")).unwrap();
    let documented = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let (mut files, mut resources) = (BTreeSet::new(), 0);
    for path in sources().into_iter().filter(|path| path.starts_with(root().join("query/apis/src")))
    {
        let text = fs::read_to_string(&path).unwrap();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut handlers = BTreeSet::new();
        for handler in text.split(HANDLER).skip(1) {
            let address = handler.split("path = \"").nth(1).unwrap().split('"').next().unwrap();
            let row = format!("`GET {address}`");
            assert!(documented.contains(&row), "docs/api.md has no {row}");
            let name = handler.split("async fn ").nth(1).unwrap().split('(').next().unwrap();
            assert!(handlers.insert(name), "{}: {name}", path.display());
        }
        if handlers.is_empty() {
            continue;
        }
        assert_eq!(path, root().join("query/apis/src/http").join(&module).with_extension("rs"));
        let listed = text.split("\nendpoints![").nth(1).unwrap().split(']').next().unwrap();
        let listed = listed.split(',').map(str::trim).filter(|line| !line.is_empty());
        let lines: BTreeSet<String> =
            handlers.iter().map(|name| format!("{name}: __path_{name}")).collect();
        assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), lines, "{}", path.display());
        assert!(list.contains(&format!("\nmod {module};\n")), "{module}");
        let line = format!("{module}::$function(),");
        let begin = format!("{module}::");
        let lines = list.lines().map(str::trim).filter(|line| line.starts_with(&begin));
        assert_eq!(lines.collect::<Vec<_>>(), [line], "query/apis/src/http.rs");
        resources += handlers.len();
        files.insert(module);
    }
    assert_eq!(list.matches("::$function(),\n").count(), files.len(), "{files:?}");
    assert!(resources > 30, "{resources}");
}

/// Checks that a setting is a field and a line of the table, which fills the field, and that
/// something reads the field: of a crate's settings, something besides the settings themselves.
/// Flags, variables and keys of the file come from the table, so only texts for people name a
/// setting.
#[test]
fn a_setting_is_one_field_and_one_line() {
    const TABLE: &str = "src/settings/settings_table.rs";
    const NAMING: [&str; 3] = ["src/client_identity.rs", "src/serve.rs", "src/web/metrics/push.rs"];
    const CRATES: [&str; 4] = ["collector.", "query.", "sql_limits.", "store."];
    const FOLDERS: [&str; 7] =
        ["src/", "access/", "audit/", "collector/", "query/", "sql/", "storage/"];
    let mut codes = words::codes();
    codes.retain(|(file, _)| FOLDERS.iter().any(|folder| file.starts_with(*folder)));
    let is_of_settings =
        |file: &str| file == "src/settings.rs" || file.starts_with("src/settings/");
    let is_longer = |sign: char| sign.is_alphanumeric() || ['_', '('].contains(&sign);
    let (mut naming, mut count) = (BTreeSet::new(), 0);
    for line in fs::read_to_string(root().join(TABLE)).unwrap().lines() {
        let Some(rest) = line.strip_prefix("    setting!(\"") else { continue };
        // The name, the default where it is a text, the parser with the field, and the help.
        let parts: Vec<&str> = rest.split('"').collect();
        let (name, field) = (parts[0], parts[parts.len() - 3].rsplit(", ").nth(1).unwrap());
        let access = format!(".{}", field.rsplit('.').next().unwrap());
        let is_of_crate = CRATES.iter().any(|name| field.starts_with(*name));
        let is_read = codes.iter().any(|(file, code)| {
            let mut places = code.match_indices(&access);
            let may_read = file != TABLE && !(is_of_crate && is_of_settings(file));
            may_read && places.any(|(at, _)| !code[at + access.len()..].starts_with(is_longer))
        });
        assert!(is_read, "{name}: nothing reads {field}");
        let text = format!("\"{name}\"");
        for (file, code) in codes.iter().filter(|_| name.contains('-')) {
            if !is_of_settings(file) && code.contains(&text) {
                naming.insert(file.as_str());
            }
        }
        count += 1;
    }
    assert_eq!(naming.into_iter().collect::<Vec<_>>(), NAMING, "files that name a setting");
    assert!(count > 50, "{count}");
}

#[test]
fn nothing_is_left_for_later() {
    // The words are split in two, so that this file passes its own test.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimpl", "emented!("),
    ];
    let pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/ARCHITECTURE.md"];
    for path in sources().into_iter().chain(pages.map(|page| root().join(page))) {
        let text = fs::read_to_string(&path).unwrap();
        for word in words {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn no_file_but_the_allocators_goes_behind_the_compilers_back() {
    // The word is split in two, so that this file passes its own test.
    let word = concat!("uns", "afe");
    // The word in quoted text and in hyphenated names (`wasm-…-eval`) is no code. Names of lints
    // are checked, too.
    let ends = |letter: char| !letter.is_ascii_alphanumeric() && !"\"'-".contains(letter);
    let may = root().join("src/allocator.rs");
    for path in sources().into_iter().filter(|path| *path != may) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.split(ends).any(|part| part == word), "{} has {word}", path.display());
    }
}

#[test]
fn telemetry_is_never_markup() {
    for path in sources().into_iter().filter(|path| path.starts_with(root().join("ui"))) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("inner_html"), "{} sets markup", path.display());
    }
    for path in ["ui/trace-page.html", "ui/boot.js"] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "srcdoc"] {
            assert!(!text.contains(word), "{path} sets markup");
        }
    }
}

/// Counts the tasks and threads that code starts without supervision. It leaves out threads of a
/// scope, which end with the scope, processes that a `Command` starts, and blocking work that the
/// caller awaits.
fn begun_by_itself(code: &str) -> usize {
    const BEGINS: &str = "spawn(";
    let places = code.match_indices(BEGINS).filter(|(at, _)| {
        let (before, after) = (&code[..*at], &code[at + BEGINS.len()..]);
        let is_longer = before.ends_with(|sign: char| sign.is_alphanumeric() || sign == '_');
        let is_harmless = before.ends_with("scope.") || after.starts_with(')');
        !is_longer && !is_harmless && !before.ends_with("fn ")
    });
    places.count()
}

#[test]
fn tasks_that_nobody_supervises_are_listed_with_a_reason() {
    assert_eq!(begun_by_itself("tokio::spawn(work()); thread::spawn(|| {}); set.spawn(work)"), 3);
    assert_eq!(begun_by_itself("scope.spawn(|| {}); command.spawn()?; spawn_blocking(work)"), 0);
    let mut begun = BTreeMap::new();
    for path in sources() {
        let name = path.strip_prefix(root()).unwrap().with_extension("");
        let is_of_tests = name.iter().any(|part| {
            ["tests", "xtask", "bench", "ui", "simulation"].iter().any(|tests| part == *tests)
        });
        let text = fs::read_to_string(&path).unwrap();
        // The tests of a file come last.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let count = begun_by_itself(code);
        if count > 0 && !is_of_tests {
            let file = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            begun.insert(file, count);
        }
    }
    let listed = UNSUPERVISED.iter().map(|(file, count, _)| ((*file).to_owned(), *count));
    let listed: BTreeMap<String, usize> = listed.collect();
    assert_eq!(begun, listed, "use Supervision, or say why not");
    assert!(UNSUPERVISED.iter().all(|(.., why)| !why.is_empty()));
}

/// Returns every Rust source file of the workspace.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        "src tests proto assembly storage access audit collector grpc query sql ui xtask bench fuzz"
            .split(' ')
            .map(|name| root().join(name))
            .collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 20);
    files
}
