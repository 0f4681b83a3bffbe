//! Tests of the documentation. `docs/api.md` has the API's parameters with their defaults and
//! bounds, tables for each resource, and all types of problems. The glossary, the page on extending
//! and comments use the names of the code. Links have targets, paths of sources exist, and
//! decisions are short and listed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value as Json;

use crate::harness::Server;

const API: &str = include_str!("../docs/api.md");
const HEADER: &str = "| Parameter | Form | Default | Bound | Meaning |";
/// The text in place of a table of parameters where no request of a resource has one.
const NO_PARAMETERS: &str = "These take no parameters.";
/// Beginnings of the lines that list a resource's requests.
const METHODS: [&str; 4] = ["`GET", "`POST", "`PUT", "`DELETE"];
/// A resource that has its own page.
const ELSEWHERE: &str = "/api/v1/sql";
/// Maximum length of a decision in words, which white space separates.
const DECISION_WORDS_MAX: usize = 600;

/// A row of a table of parameters.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    form: String,
    default: String,
    bound: String,
}

/// The tables of parameters: the first below each heading, and one for each path.
#[derive(Debug, Default)]
struct Tables {
    by_heading: BTreeMap<String, Vec<Row>>,
    by_path: BTreeMap<String, Vec<Row>>,
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let signs = heading.chars().filter(|sign| sign.is_alphanumeric() || " -".contains(*sign));
    signs.map(|sign| if sign == ' ' { '-' } else { sign }).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, form, default, bound, meaning] = cells[..] else { panic!("{line}") };
    assert!(!meaning.is_empty(), "{line}");
    let [name, form, default, bound] = [name, form, default, bound].map(str::to_owned);
    Row { name, form, default, bound }
}

fn tables(page: &str) -> Tables {
    let mut tables = Tables::default();
    let (mut heading, mut paths) = (String::new(), Vec::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            heading = anchor(line);
            paths.clear();
        } else if line.starts_with("`GET /api/v1/") {
            let named = line.split('`').filter_map(|part| part.strip_prefix("GET "));
            paths = named.map(str::to_owned).collect();
        } else if line == HEADER {
            let rows: Vec<Row> =
                lines.by_ref().skip(1).take_while(|line| !line.is_empty()).map(row).collect();
            for path in paths.drain(..) {
                tables.by_path.insert(path, rows.clone());
            }
            tables.by_heading.entry(heading.clone()).or_insert(rows);
        }
    }
    tables
}

/// Returns the rows of a table by parameter, including those of the tables that it refers to.
fn expanded(rows: &[Row], tables: &Tables) -> BTreeMap<String, Row> {
    let mut all = BTreeMap::new();
    for row in rows {
        match row.name.split_once("](#") {
            Some((_, anchor)) => {
                let anchor = anchor.trim_end_matches(')');
                let rows = &tables.by_heading[anchor];
                all.extend(rows.iter().map(|row| (unquoted(&row.name), row.clone())));
            }
            None => drop(all.insert(unquoted(&row.name), row.clone())),
        }
    }
    all
}

fn unquoted(text: &str) -> String {
    text.replace('`', "")
}

/// Formats a number as the page writes it, such as `20,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let chunks = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<&str> = chunks.map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
    groups.join(",")
}

/// Returns the differences between a row and the description of the parameter.
fn differences(row: &Row, described: &Json) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, said: bool, is: bool| {
        if said != is {
            wrong.push(format!("{what}: {row:?}"));
        }
    };
    let schema = &described["schema"];
    let is_list = schema["type"] == "array";
    let one = if is_list { &schema["items"] } else { schema };
    expect("required", row.default == "required", described["required"] == true);
    expect("repeated", row.bound.contains("32 times"), is_list);
    expect("flag", row.form == "flag", one["type"] == "boolean");
    expect("integer", row.form == "integer", one["type"] == "integer");
    if let (Some(least), Some(most)) = (one["minimum"].as_u64(), one["maximum"].as_u64()) {
        let bound = format!("{least} to {}", grouped(most));
        expect(&bound, row.bound == bound, true);
    }
    if let Some(default) = one["default"].as_u64() {
        expect("default", row.default == default.to_string(), true);
    }
    if let Some(words) = one["enum"].as_array() {
        let words: Vec<String> =
            words.iter().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
        expect("words", row.form == words.join(", "), true);
    }
    let is_text = one["type"] == "string" && one["pattern"].is_null() && one["enum"].is_null();
    expect("text", row.form == "text", is_text);
    wrong
}

#[test]
fn the_pages_parameters_are_those_of_the_description() {
    let tables = tables(API);
    let document = Server::start().get("/api/v1/openapi.json").1;
    let mut wrong = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(described) = item["get"]["parameters"].as_array() else { continue };
        if described.is_empty() || path == ELSEWHERE {
            continue;
        }
        let Some(rows) = tables.by_path.get(path) else {
            wrong.push(format!("{path} has no table of parameters"));
            continue;
        };
        let rows = expanded(rows, &tables);
        let names = described.iter().map(|described| described["name"].as_str().unwrap());
        let names: BTreeSet<&str> = names.collect();
        let said: BTreeSet<&str> = rows.keys().map(String::as_str).collect();
        if names != said {
            wrong.push(format!("{path} takes {names:?}, the page has {said:?}"));
        }
        for described in described {
            let row = rows.get(described["name"].as_str().unwrap());
            let found = row.map(|row| differences(row, described)).unwrap_or_default();
            wrong.extend(found.into_iter().map(|difference| format!("{path}, {difference}")));
        }
    }
    for path in tables.by_path.keys().filter(|path| document["paths"][*path].is_null()) {
        wrong.push(format!("{path} is not a path of the API"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tables.by_path.len() > 20, "{}", tables.by_path.len());
}

#[test]
fn each_resource_has_tables_of_its_parameters_and_limits() {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in API.lines() {
        if line.starts_with('#') {
            sections.push((line, Vec::new()));
        } else if let Some((_, lines)) = sections.last_mut() {
            lines.push(line);
        }
    }
    let is_request = |line: &str| {
        line.contains("/api/v1/") && METHODS.iter().any(|method| line.starts_with(method))
    };
    let is_limits =
        |line: &str| line.starts_with("| Limit") && line.ends_with(" | Value | Beyond it |");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (heading, lines) in sections {
        if !lines.iter().any(|line| is_request(line)) {
            continue;
        }
        count += 1;
        if !lines.iter().any(|line| [HEADER, NO_PARAMETERS].contains(line)) {
            wrong.push(format!("{heading}: no table of parameters"));
        }
        if !lines.iter().any(|line| is_limits(line)) {
            wrong.push(format!("{heading}: no table of limits"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 30, "{count}");
}

/// Appends the text of every Rust source below a folder.
fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// Returns the types of problems that a source makes, without their beginning: second arguments of
/// `ProblemResponse::new`. Where that is no constant, they are in a table of the same file, each
/// before its title.
fn problem_types(source: &str) -> BTreeSet<String> {
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_type = |text: &str| {
        !text.is_empty() && text.chars().all(|sign| sign.is_ascii_lowercase() || sign == '-')
    };
    let mut types = BTreeSet::new();
    for call in source.split("ProblemResponse::new(").skip(1) {
        let argument = call.split(',').nth(1).unwrap().trim();
        let constant = format!("const {argument}: &str = \"");
        if let Some(literal) = argument.strip_prefix('"') {
            types.insert(literal.trim_end_matches('"').to_owned());
        } else if let Some((_, value)) = source.split_once(constant.as_str()) {
            types.insert(value.split('"').next().unwrap().to_owned());
        } else {
            let parts: Vec<&str> = source.split('"').collect();
            let pairs = parts.windows(2).filter(|pair| is_type(pair[0]) && pair[1] == ", ");
            types.extend(pairs.map(|pair| pair[0].to_owned()));
        }
    }
    types
}

#[test]
fn the_table_of_errors_has_every_type_of_a_problem() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    for folder in ["access", "audit", "collector", "query", "sql", "src"] {
        sources(&root.join(folder), &mut texts);
    }
    let made: BTreeSet<String> = texts.iter().flat_map(|text| problem_types(text)).collect();
    let rows = API.lines().filter(|line| line.starts_with("| "));
    let named = rows.flat_map(|line| line.split("`/problems/").skip(1));
    let documented: BTreeSet<String> =
        named.map(|rest| rest.split('`').next().unwrap().to_owned()).collect();
    assert_eq!(made, documented, "the types of the code, and those of docs/api.md");
    assert!(made.len() > 25, "{made:?}");
}

#[test]
fn the_glossary_names_what_the_code_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    let crates =
        ["proto", "assembly", "storage", "access", "audit", "collector", "query", "sql", "src"];
    for folder in crates {
        sources(&root.join(folder), &mut texts);
    }
    let texts = texts.join("\n");
    let is_part = |sign: char| sign.is_alphanumeric() || sign == '_';
    let words: BTreeSet<&str> = texts.split(|sign| !is_part(sign)).collect();
    let page = include_str!("../docs/glossary.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let names = rows.filter_map(|line| line.trim_end_matches("` |").rsplit('`').next());
    let names: Vec<&str> = names.collect();
    let is_there = |name: &&&str| match name.contains('/') {
        true => root.join(name).is_file(),
        false => words.contains(**name),
    };
    let missing: Vec<&&str> = names.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "the glossary has names that the code has not: {missing:?}");
    assert!(names.len() > 60, "{}", names.len());
}

/// Returns true if a sign can be part of a name.
fn is_of_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}

/// Returns the name at the beginning of a text.
fn leading_name(text: &str) -> &str {
    text.split(|sign| !is_of_name(sign)).next().unwrap()
}

#[test]
fn the_page_on_extending_names_what_the_code_has() {
    let texts = crate::architecture::sources();
    let texts: Vec<String> = texts.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let words: BTreeSet<&str> =
        texts.iter().flat_map(|text| text.split(|sign| !is_of_name(sign))).collect();
    let parts = include_str!("../docs/extending.md").split('`').skip(1).step_by(2);
    let names = parts.filter(|part| part.contains('_') && part.chars().all(is_of_name));
    let names: BTreeSet<&str> = names.collect();
    let missing: Vec<&&str> = names.iter().filter(|name| !words.contains(**name)).collect();
    assert!(missing.is_empty(), "the page has names that the code has not: {missing:?}");
    assert!(names.len() > 20, "{}", names.len());
}

/// Checks that `tidings_index::filter` and the like, in comments, are a file of the crate or a name
/// that its `lib.rs` has.
#[test]
fn comments_name_modules_that_the_crates_have() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut crates = BTreeMap::new();
    for line in include_str!("../Cargo.toml").lines() {
        let Some((name, path)) = line.split_once(" = { path = \"") else { continue };
        let source = root.join(path.split('"').next().unwrap()).join("src");
        let text = fs::read_to_string(source.join("lib.rs")).unwrap_or_default();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = code.flat_map(|line| line.split(|sign| !is_of_name(sign)));
        let words: BTreeSet<String> = words.map(str::to_owned).collect();
        crates.insert(name.replace('-', "_"), (source, words));
    }
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in crate::architecture::sources() {
        let text = fs::read_to_string(&path).unwrap();
        let comments = text.lines().filter(|line| line.trim_start().starts_with("//"));
        let named = comments
            .flat_map(|line| line.match_indices("tidings_").map(move |(at, _)| &line[at..]));
        for named in named {
            let name = leading_name(named);
            let Some(rest) = named[name.len()..].strip_prefix("::") else { continue };
            count += 1;
            let module = leading_name(rest);
            let is_there = crates.get(name).is_some_and(|(source, words)| {
                source.join(module).with_extension("rs").is_file() || words.contains(module)
            });
            if !is_there {
                wrong.push(format!("{}: {name}::{module}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 20, "{count}");
}

#[test]
fn the_architecture_has_a_row_for_each_crate() {
    let (_, members) = include_str!("../Cargo.toml").split_once("members = [").unwrap();
    let members = members.split(']').next().unwrap().split('"').skip(1).step_by(2);
    let members: Vec<&str> = members.collect();
    let page = include_str!("../docs/ARCHITECTURE.md");
    let has_row = |member: &&&str| page.contains(&format!("| `{member}` |"));
    let missing: Vec<&&str> = members.iter().filter(|member| !has_row(member)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(members.len() > 20, "{members:?}");
}

/// Checks that each kind of section has a row. The kinds are the numbers of `u32` that are neither
/// the version nor numbers of bits, and those of earlier releases.
#[test]
fn the_page_of_the_index_has_every_kind_of_section() {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let mut kinds = BTreeSet::new();
    for line in include_str!("../storage/index/src/file.rs").lines() {
        let constant = line.strip_prefix("const ").and_then(|rest| rest.split_once(": "));
        let Some((name, value)) = constant else { continue };
        if name == "RETIRED" {
            let (_, list) = value.split_once(" = ").unwrap();
            kinds.extend(list.trim_matches(['[', ']', ';']).split(',').filter_map(number));
        } else if name != "VERSION" && !name.ends_with("_BITS") {
            let value = value.strip_prefix("u32 = ").and_then(|value| value.strip_suffix(';'));
            kinds.extend(value.and_then(number));
        }
    }
    let page = include_str!("../docs/formats/index.md");
    let (_, table) = page.split_once("| Kind | Section |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_start_matches("| ").split('|').next().unwrap());
    let listed: BTreeSet<u32> = cells.flat_map(|cell| cell.split(',')).filter_map(number).collect();
    assert_eq!(kinds, listed, "the kinds of the code, and those of docs/formats/index.md");
    assert!(listed.len() > 15, "{listed:?}");
}

/// Returns the paths of the pages of the documentation.
fn pages() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
        .map(|page| root.join(page))
        .into();
    for folder in ["docs", "docs/decisions", "docs/formats"] {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            count += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let is_there = match fragment {
                "" => target.exists(),
                fragment => fs::read_to_string(&target).is_ok_and(|text| {
                    text.lines().any(|line| line.starts_with('#') && anchor(line) == fragment)
                }),
            };
            if !is_there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "{count}");
}

/// Returns the file names and texts of the decisions.
fn decisions() -> impl Iterator<Item = (String, String)> {
    pages().into_iter().filter_map(|page| {
        let name = page.file_name()?.to_str()?.to_owned();
        let is_decision = name.starts_with(|first: char| first.is_ascii_digit());
        is_decision.then(|| (name, fs::read_to_string(&page).unwrap()))
    })
}

#[test]
fn a_decision_is_a_page_at_most() {
    let long = decisions().filter_map(|(name, text)| {
        let words = text.split_whitespace().count();
        (words > DECISION_WORDS_MAX).then(|| format!("{name} has {words} words"))
    });
    let long: Vec<String> = long.collect();
    assert!(long.is_empty(), "more than {DECISION_WORDS_MAX} words: {long:?}");
}

#[test]
fn the_index_of_decisions_has_each_with_its_title() {
    let index = include_str!("../docs/decisions/README.md");
    let mut count = 0;
    for (name, text) in decisions() {
        let (number, title) = text.lines().next().unwrap()[2..].split_once(": ").unwrap();
        assert!(name.starts_with(number), "{name} is titled {number}");
        let line = format!("| {number} | [{title}]({name}) |");
        assert!(index.contains(&line), "the index lacks {line}");
        count += 1;
    }
    assert_eq!(count, index.matches(".md) |").count(), "the index has a decision that is gone");
}

/// Returns true if a text in backticks is a path of this repository: it begins with one of its
/// folders, or has the ending of a Rust source. Build outputs and stored data are left out.
fn is_source_path(part: &str, root: &Path) -> bool {
    let folder = part.split('/').next().unwrap_or_default();
    let is_variable = part.contains(|sign: char| sign.is_whitespace() || sign == '<');
    part.contains('/')
        && !is_variable
        && !["", ".", "..", "data", "target"].contains(&folder)
        && (root.join(folder).is_dir() || part.ends_with(".rs"))
}

#[test]
fn paths_of_sources_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut missing, mut count) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let parts = text.split('`').skip(1).step_by(2);
        for part in parts.filter(|part| is_source_path(part, root)) {
            count += 1;
            if !root.join(part).exists() {
                missing.push(format!("{}: {part}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(count > 200, "{count}");
}
