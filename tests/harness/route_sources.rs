//! The routes of the HTTP address and of Zipkin's address, read from the source that builds the
//! routers.
//!
//! A router does not list its routes, and a separate list can miss one. This module reads each call
//! of `.route(…)` in code that ships. A path there is a literal, a constant, or a part behind a
//! prefix (`format!("/prefix{path}")` over a table of literals). A call in any other form panics
//! here, and its author must teach this module to read it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tidings_apis::GRPC_SERVICES;

/// Folders with code that builds routers.
const FOLDERS: [&str; 3] = ["src", "query/apis/src", "sql/src"];
/// The route for the paths in the API's description, which a client can request.
const DESCRIBED: (&str, &str) = ("query/apis/src/http.rs", "&path");
/// Routers that other routers nest, with the prefixes of their routes.
const NESTED: [(&str, &[&str]); 2] = [
    ("query/apis/src/http/tempo.rs", &["/tempo"]),
    ("query/apis/src/http/zipkin_api.rs", &["", "/zipkin"]),
];
const ZIPKIN: &str = "query/apis/src/http/zipkin_api.rs";

/// A route that the source builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceRoute {
    /// Its path, with the parameters' names in braces.
    pub(crate) path: String,
    /// True for a route of Zipkin's address, false for one of the HTTP address.
    pub(crate) is_zipkins: bool,
}

impl SourceRoute {
    /// Returns true for a route of a gRPC service, whose parameter is the method.
    pub(crate) fn is_rpc(&self) -> bool {
        self.path.ends_with("/{method}")
    }

    /// Returns a path that matches this route, with a value for each parameter.
    pub(crate) fn filled(&self) -> String {
        let fill = |part: &str| if part.starts_with('{') { "0123abcd" } else { part }.to_owned();
        self.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    /// Returns true if a request's path matches this route.
    pub(crate) fn takes(&self, path: &str) -> bool {
        let mut given = path.split(['?', '#']).next().unwrap_or_default().split('/');
        for part in self.path.split('/') {
            if part.starts_with("{*") {
                return given.next().is_some();
            }
            let is_fit = |given: &str| part.starts_with('{') && !given.is_empty() || part == given;
            if !given.next().is_some_and(is_fit) {
                return false;
            }
        }
        given.next().is_none()
    }
}

/// Returns the names of the gRPC services that the source builds routes of.
pub(crate) fn source_services() -> BTreeSet<String> {
    let routes = source_routes();
    let rpc = routes.iter().filter(|route| route.is_rpc());
    rpc.map(|route| route.path.trim_matches('/').replace("/{method}", "")).collect()
}

/// Returns all routes that the source builds, except those in the API's description.
pub(crate) fn source_routes() -> BTreeSet<SourceRoute> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut routes = BTreeSet::new();
    for folder in FOLDERS {
        for file in files(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            for other in [".route_service(", ".nest_service("] {
                assert!(!text.contains(other), "{name} has {other}…), which is not read here");
            }
            let nested = NESTED.iter().find(|(nested, _)| *nested == name);
            let shipped = shipped(&text);
            assert_eq!(nested.is_some(), shipped.contains(".nest("), "{name} nests a router");
            let prefixes = nested.map_or(&[""][..], |(_, prefixes)| prefixes);
            for path in paths(&name, shipped) {
                for prefix in prefixes {
                    // A gRPC service is not nested, so it has no prefix.
                    let path = format!("{prefix}{path}");
                    routes.insert(SourceRoute { path, is_zipkins: name == ZIPKIN });
                }
            }
        }
    }
    assert!(routes.len() > 60, "{routes:?}");
    routes
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs")
                && path.file_name().is_some_and(|name| name != "tests.rs")
            {
                found.push(path);
            }
        }
    }
    found
}

/// Returns a file's code without its tests, which come last.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Returns the paths in a file's calls of `.route`.
fn paths(file: &str, text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, call) in text.match_indices(".route(") {
        let arguments = arguments(&text[at + call.len()..]);
        let [path, _handler] = arguments.as_slice() else {
            assert_eq!(arguments.len(), 1, "{file}: {arguments:?}");
            continue;
        };
        if (file, path.as_str()) == DESCRIBED {
            continue;
        }
        if let Some(literal) = literal(path) {
            paths.push(literal.to_owned());
        } else if let Some(format) = path.strip_prefix("&format!(") {
            let prefix = format.strip_suffix("{path}\")").and_then(|rest| rest.strip_prefix('"'));
            let prefix = prefix.unwrap_or_else(|| panic!("{file}: {path} cannot be read"));
            let table = table(text);
            assert!(!table.is_empty(), "{file}: {path} has no table");
            paths.extend(table.into_iter().map(|path| format!("{prefix}{path}")));
        } else {
            let constant = format!("const {path}: &str = ");
            let (_, value) = text.split_once(&constant).unwrap_or_else(|| {
                panic!("{file}: the route {path} is no literal and no constant of its file")
            });
            let value = value.split(';').next().unwrap_or_default();
            paths.push(literal(value).unwrap_or_else(|| panic!("{file}: {value}")).to_owned());
        }
    }
    paths
}

/// Splits the text after an opening bracket at the commas of the same depth.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted) = (0, false);
    let mut arguments = vec![String::new()];
    for sign in text.chars() {
        match sign {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(sign);
    }
    let arguments = arguments.iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

fn literal(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"').filter(|path| path.starts_with('/'))
}

/// Returns the paths that come first in the tuples of a file's tables.
fn table(text: &str) -> Vec<String> {
    let entries = text.match_indices("(\"/");
    let entries = entries.filter(|(at, _)| text[..*at].ends_with(['[', ' ', '\n']));
    let paths = entries.map(|(at, _)| text[at + 2..].split('"').next().unwrap().to_owned());
    paths.collect()
}

#[test]
fn routes_are_read_in_every_form_that_the_source_has() {
    let text = r#"
        const PATH: &str = "/of/a/constant/{id}";
        let paths = [("/one", get(one).post(one)), ("/two/{name}", get(two))];
        routes.route(&format!("/table{path}"), handler);
        router.route("/literal", get(|| async { (1, 2) })).route(PATH, post(call));
        names.route(request.uri().path());
        router.route(
            "/on/lines",
            put(pin),
        )
    "#;
    let expected =
        ["/table/one", "/table/two/{name}", "/literal", "/of/a/constant/{id}", "/on/lines"];
    assert_eq!(paths("x.rs", text), expected);
    let route = SourceRoute { path: "/a/{b}/{*c}".to_owned(), is_zipkins: false };
    assert!(route.takes("/a/1/2/3?d=4") && !route.takes("/a/1") && !route.takes("/b/1/2"));
}

#[test]
fn the_source_has_routes_of_every_api() {
    let routes = source_routes();
    let has = |path: &str, is_zipkins| {
        routes.contains(&SourceRoute { path: path.to_owned(), is_zipkins })
    };
    for path in [
        "/metrics",
        "/ready",
        "/sign-in/callback",
        "/api/v1/keys/{id}",
        "/jaeger/api/transform",
        "/jaeger.api_v3.QueryService/{method}",
        "/tempo/api/v2/search/tag/{tag}/values",
        "/tempopb.StreamingQuerier/{method}",
        "/prometheus/api/v1/status/tsdb",
        "/prometheus/api/v1/query_exemplars",
        "/arrow.flight.protocol.FlightService/{method}",
        "/api/v1/sql",
    ] {
        assert!(has(path, false), "{path}");
    }
    assert!(has("/zipkin/api/v2/spans", true) && has("/actuator/info", true));
}

#[test]
fn the_list_of_grpc_services_is_that_of_the_routes() {
    assert_eq!(source_services(), BTreeSet::from(GRPC_SERVICES.map(str::to_owned)));
}
