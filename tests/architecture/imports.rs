//! Checks imports between the files of a crate, and the cycles among them. In the crates of
//! `ONE_WAY`, the top-level modules form no cycle, either.
//!
//! A file imports another one when it names a path into it: in a `use` of `crate`, `super` or
//! `self`, or in its code. A name that `lib.rs` re-exports counts for the file that defines it.
//! Test modules and comments are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::Path,
};

/// Crates whose top-level modules form no cycle.
const ONE_WAY: &str = "storage/runtime storage/disk storage/wal storage/columns storage/files \
                       storage/rollup storage/index storage/data_file storage/snapshot storage \
                       query query/apis ui";

/// The crates of the workspace, by their folders.
const CRATES: &str = ". proto assembly storage/runtime storage/disk storage/wal storage/columns \
                      storage/files storage/rollup storage/index storage/data_file storage/snapshot \
                      storage access audit collector grpc query/pattern query/traceql \
                      query/promql query/log_query query query/apis sql sql/engine ui ui/package \
                      xtask bench fuzz";

#[test]
fn imports_of_a_file_are_found() {
    let files = ["a", "a/b", "c", "d", "e", "e/f"].map(str::to_owned).into();
    let exported = BTreeMap::from([("Shown".to_owned(), path("d::Shown"))]);
    let found = |code: &str| imports("a/b", &without_tests(tokens(code)).0, &files, &exported);
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found("use crate::{c::{X, Y as Z}, e::f};"), named(&["c", "e/f"]));
    assert_eq!(found("fn f() { crate::e::f::run(super::g()) }"), named(&["a", "e/f"]));
    assert_eq!(found("use crate::{Shown, Hidden}; pub(in crate::c) struct S;"), named(&["d"]));
    let found_at_top = imports("a", &tokens("use super::{Shown, c::X};"), &files, &exported);
    assert_eq!(found_at_top, named(&["c", "d"]));
    assert_eq!(found("// crate::c\n/* crate::d */ const C: &str = \"crate::e\";"), named(&[]));
    assert_eq!(found("#[cfg(test)] mod tests { use crate::c::X; } fn f() {}"), named(&[]));
    assert_eq!(found("fn f<'a>(x: &'a str) -> char { crate::c::g('\\'') }"), named(&["c"]));
}

#[test]
fn a_circle_is_found() {
    let edges = [("a", "b"), ("b", "c/d"), ("c/d", "a"), ("e", "a"), ("c", "c/e"), ("c/e", "c")];
    let mut graph = ImportGraph::new();
    for (from, to) in edges {
        graph.entry(from.to_owned()).or_default().insert(to.to_owned());
    }
    let circle: BTreeSet<String> = ["a", "b", "c/d"].map(str::to_owned).into();
    assert_eq!(crossing(&graph), [circle]);
}

/// Checks that no cycle of imports crosses the top-level modules of a crate.
#[test]
fn files_import_one_way() {
    let mut wrong = Vec::new();
    for folder in CRATES.split(' ') {
        for circle in crossing(&graph(&super::root().join(folder).join("src"))) {
            wrong.push(format!("{folder}: {circle:?} are in a circle"));
        }
    }
    assert!(wrong.is_empty(), "move what both sides need below them: {}", wrong.join("\n"));
}

#[test]
fn a_circle_of_modules_is_found() {
    let edges = [("a/x", "b"), ("b", "a/y"), ("a/x", "a/y"), ("c", "a"), ("b", "d/z")];
    let mut files = ImportGraph::new();
    for (from, to) in edges {
        files.entry(from.to_owned()).or_default().insert(to.to_owned());
    }
    assert!(crossing(&files).is_empty());
    let circle: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
    assert_eq!(between(&files, &circle), ["a/x imports b", "b imports a/y"]);
    assert_eq!(crossing(&module_graph(&files)), [circle]);
    assert!(files.get_mut("b").is_some_and(|imported| imported.remove("a/y")));
    assert!(crossing(&module_graph(&files)).is_empty());
}

/// Checks that the top-level modules of these crates form no cycle. Each import of such a cycle may
/// be of other files, so that the files form none.
#[test]
fn top_level_modules_import_one_way() {
    let mut wrong = Vec::new();
    for folder in ONE_WAY.split(' ') {
        let files = graph(&super::root().join(folder).join("src"));
        for circle in crossing(&module_graph(&files)) {
            let imports = between(&files, &circle);
            wrong.push(format!("{folder}: {circle:?} are in a circle: {imports:#?}"));
        }
    }
    assert!(wrong.is_empty(), "move what both sides need below them: {}", wrong.join("\n"));
}

/// The files that each file imports. Names are paths below `src` without the extension.
type ImportGraph = BTreeMap<String, BTreeSet<String>>;

fn path(text: &str) -> Vec<String> {
    text.split("::").map(str::to_owned).collect()
}

fn graph(src: &Path) -> ImportGraph {
    let mut codes = BTreeMap::new();
    let mut of_tests = BTreeSet::new();
    let mut exported = BTreeMap::new();
    for name in names(src) {
        let text = fs::read_to_string(src.join(&name).with_extension("rs")).unwrap();
        let (code, tests) = without_tests(tokens(&text));
        let is_root = name == "lib" || name == "main";
        let below = if is_root { String::new() } else { format!("{name}/") };
        of_tests.extend(tests.into_iter().map(|test| format!("{below}{test}")));
        if is_root {
            for used in uses(&code) {
                exported.insert(used.last().unwrap().clone(), used);
            }
        } else {
            codes.insert(name, code);
        }
    }
    codes.retain(|name, _| {
        !of_tests.iter().any(|test| {
            name.strip_prefix(test.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    let files: BTreeSet<String> = codes.keys().cloned().collect();
    codes
        .iter()
        .map(|(name, code)| (name.clone(), imports(name, code, &files, &exported)))
        .collect()
}

/// Returns the names of the files below a folder.
fn names(src: &Path) -> Vec<String> {
    let mut folders = vec![src.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(src).unwrap().with_extension("");
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Splits code into words, `::` and other characters, without comments, strings and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let signs: Vec<char> = text.chars().collect();
    let at = |place: usize| signs.get(place).copied().unwrap_or('\0');
    let (mut tokens, mut place) = (Vec::new(), 0);
    while place < signs.len() {
        let sign = at(place);
        if sign == '/' && at(place + 1) == '/' {
            while place < signs.len() && at(place) != '\n' {
                place += 1;
            }
        } else if sign == '/' && at(place + 1) == '*' {
            while place < signs.len() && (at(place), at(place + 1)) != ('*', '/') {
                place += 1;
            }
            place += 2;
        } else if sign == '"' {
            place += 1;
            while place < signs.len() && at(place) != '"' {
                place += if at(place) == '\\' { 2 } else { 1 };
            }
            place += 1;
        } else if sign == '\'' {
            // A character literal ends with a quote, a lifetime does not.
            let escaped = at(place + 1) == '\\';
            place += if escaped { 3 } else { 1 };
            while escaped && place < signs.len() && at(place) != '\'' {
                place += 1;
            }
            place += if escaped {
                1
            } else if at(place + 1) == '\'' {
                2
            } else {
                0
            };
        } else if sign.is_alphanumeric() || sign == '_' {
            let start = place;
            while at(place).is_alphanumeric() || at(place) == '_' {
                place += 1;
            }
            let word: String = signs[start..place].iter().collect();
            let hashes = signs[place..].iter().take_while(|sign| **sign == '#').count();
            if ["r", "br"].contains(&word.as_str()) && at(place + hashes) == '"' {
                place += hashes + 1;
                let is_end = |place: usize| {
                    at(place) == '"' && (1..=hashes).all(|hash| at(place + hash) == '#')
                };
                while place < signs.len() && !is_end(place) {
                    place += 1;
                }
                place += hashes + 1;
            } else {
                tokens.push(word);
            }
        } else if sign == ':' && at(place + 1) == ':' {
            tokens.push("::".to_owned());
            place += 2;
        } else {
            if !sign.is_whitespace() {
                tokens.push(sign.to_string());
            }
            place += 1;
        }
    }
    tokens
}

/// Removes items that only tests have, and returns the names of the modules among them.
fn without_tests(tokens: Vec<String>) -> (Vec<String>, Vec<String>) {
    let (mut code, mut modules, mut place) = (Vec::new(), Vec::new(), 0);
    let end_of = |from: usize, open: &str, close: &str| {
        let (mut depth, mut at) = (0_usize, from);
        while at < tokens.len() {
            depth += usize::from(tokens[at] == open);
            if tokens[at] == close {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            at += 1;
        }
        at + 1
    };
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token == word);
    while place < tokens.len() {
        let is_attribute = is(place, "#") && is(place + 1, "[");
        let end = if is_attribute { end_of(place + 1, "[", "]") } else { place + 1 };
        let attribute = &tokens[place..end.min(tokens.len())];
        let has = |word: &str| attribute.iter().any(|token| token == word);
        if !(is_attribute && is(place + 2, "cfg") && has("test") && !has("not")) {
            code.extend_from_slice(attribute);
            place = end;
            continue;
        }
        place = end;
        while is(place, "#") {
            place = end_of(place + 1, "[", "]");
        }
        while place < tokens.len() && !is(place, ";") && !is(place, "{") {
            if is(place, "mod") {
                modules.push(tokens[place + 1].clone());
            }
            place = if is(place, "(") { end_of(place, "(", ")") } else { place + 1 };
        }
        place = if is(place, "{") { end_of(place, "{", "}") } else { place + 1 };
    }
    (code, modules)
}

/// Returns the paths of all `use` items, with groups expanded.
fn uses(code: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.iter().position(|token| token == "use") {
        let end = rest[start..]
            .iter()
            .position(|token| token == ";")
            .map_or(rest.len(), |end| start + end);
        expand(&rest[start + 1..end], &mut found);
        rest = &rest[end..];
    }
    found
}

fn expand(tree: &[String], found: &mut Vec<Vec<String>>) {
    let (mut prefix, mut groups): (Vec<String>, Vec<Vec<String>>) = Default::default();
    let (mut is_renamed, mut ended) = (false, false);
    let finish = |prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>| {
        let path = mem::take(prefix);
        if !path.is_empty() {
            found.push(path);
        }
    };
    for token in tree {
        match token.as_str() {
            "{" => groups.push(prefix.clone()),
            "}" => {
                if !ended {
                    finish(&mut prefix, found);
                }
                prefix.clear();
                groups.pop();
                (is_renamed, ended) = (false, true);
            }
            "," => {
                if !ended {
                    finish(&mut prefix, found);
                }
                prefix = groups.last().cloned().unwrap_or_default();
                (is_renamed, ended) = (false, false);
            }
            "as" => is_renamed = true,
            "::" => {}
            _ if is_renamed => {}
            word => {
                ended = false;
                prefix.push(word.to_owned());
            }
        }
    }
    if !ended {
        finish(&mut prefix, found);
    }
}

fn imports(
    name: &str,
    code: &[String],
    files: &BTreeSet<String>,
    exported: &BTreeMap<String, Vec<String>>,
) -> BTreeSet<String> {
    let mut paths = uses(code);
    for (place, token) in code.iter().enumerate() {
        let is_visibility = place > 0 && code[place - 1] == "in";
        if (token == "crate" || token == "super") && !is_visibility {
            let path =
                code[place..].chunks(2).take_while(|pair| pair.len() == 2 && pair[1] == "::");
            let words: Vec<String> = path.map(|pair| pair[0].clone()).collect();
            let last = code.get(place + 2 * words.len()).cloned();
            paths.push(words.into_iter().chain(last).collect());
        }
    }
    let re_exported = |rest: &[String]| {
        rest.first().and_then(|first| exported.get(first)).cloned().unwrap_or_default()
    };
    let target = |path: &Vec<String>| {
        let is_start = |word: &&String| ["crate", "self", "super"].contains(&word.as_str());
        let starts: Vec<&String> = path.iter().take_while(is_start).collect();
        let rest = &path[starts.len()..];
        let mut full: Vec<String> = match starts.first()?.as_str() {
            "crate" => Vec::new(),
            _ => name.split('/').map(str::to_owned).collect(),
        };
        let ups = starts.iter().filter(|start| start.as_str() == "super").count();
        full.truncate(full.len().saturating_sub(ups));
        // A file at the top of the crate names by `super` what `lib.rs` re-exports.
        if full.is_empty() {
            full = re_exported(rest);
        }
        full.extend_from_slice(rest);
        full.retain(|word| word != "crate" && word != "self");
        (1..=full.len()).rev().map(|len| full[..len].join("/")).find(|file| files.contains(file))
    };
    let found: BTreeSet<String> = paths.iter().filter_map(target).collect();
    found.into_iter().filter(|file| file != name).collect()
}

/// Returns the top-level module of a file.
fn top(file: &str) -> &str {
    file.split_once('/').map_or(file, |(top, _)| top)
}

/// Returns the top-level modules that each top-level module imports.
fn module_graph(files: &ImportGraph) -> ImportGraph {
    let mut modules = ImportGraph::new();
    for (file, imported) in files {
        let others = imported.iter().map(|other| top(other)).filter(|other| *other != top(file));
        modules.entry(top(file).to_owned()).or_default().extend(others.map(str::to_owned));
    }
    modules
}

/// Returns the imports between the modules of a circle, one of each pair of modules.
fn between(files: &ImportGraph, circle: &BTreeSet<String>) -> Vec<String> {
    let mut found = BTreeMap::new();
    for (file, imported) in files {
        for other in imported {
            let (from, to) = (top(file), top(other));
            if from != to && circle.contains(from) && circle.contains(to) {
                found.entry((from, to)).or_insert_with(|| format!("{file} imports {other}"));
            }
        }
    }
    found.into_values().collect()
}

/// Returns the cycles whose files are in several top-level modules of the crate.
fn crossing(graph: &ImportGraph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|from| {
            let (mut reached, mut left) = (BTreeSet::new(), vec![from.as_str()]);
            while let Some(file) = left.pop() {
                for next in graph.get(file).into_iter().flatten() {
                    if reached.insert(next.as_str()) {
                        left.push(next);
                    }
                }
            }
            (from.as_str(), reached)
        })
        .collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
    let circle = |file: &&String| -> BTreeSet<String> {
        let others = graph.keys().filter(|other| reaches(file, other) && reaches(other, file));
        others.cloned().collect()
    };
    let circles: BTreeSet<BTreeSet<String>> = graph.keys().map(|file| circle(&file)).collect();
    let tops = |circle: &BTreeSet<String>| {
        circle.iter().map(|file| top(file)).collect::<BTreeSet<_>>().len()
    };
    circles.into_iter().filter(|circle| tops(circle) > 1).collect()
}
