//! Checks the words of types, functions, files and comments. An engineer who knows databases and
//! OpenTelemetry must guess from a name alone what it means. `docs/glossary.md` has the words to
//! use.
//!
//! Names that several types share are listed here, and the list may only get shorter. Of tests only
//! the beginnings of names are checked. Associated types, whose names come from their trait, are not.

use std::{collections::BTreeMap, fs};

/// Vague names of types, which do not say what the type holds.
const VAGUE_TYPES: &str = "Added Again All Answered Apart Both Came Changed Checking Choose \
    Counted Cut Damaged Divided Doubt Due Each Earlier Entering Fate Filling Form Found \
    Frequent From Full Gather Given Giving Gone Got Home Input Job Joining Keep Keeper Keeping \
    Kept Known Left Less Look Looking Made Medium Moved Named Need News Noteworthy Numbered \
    Numbers Odd Once Open Opened Ours Own Part Parts Party Place Placed Places Question Ready \
    Rest Rolled Room Said Same Seen Sent Settled Shape Share Shown Since Some Sparing Splits \
    Spread Stretch Taken Tallied Tallies Tally Telling Thing To Told Trouble Turn Unanswered \
    Unasked Unbound Unread Unsettled Untranslatable Unusable Used Verified Visible Waiting \
    Walk Wanted What When Which Whole Why Words Writing Written";

/// Vague names of functions, which do not say what the function does.
const VAGUE_FUNCTIONS: &str = "begin has is_of keep_up of said settle shown told";

/// Vague names of files, which do not say what the file contains.
const VAGUE_FILES: &str = "again apart ask came chosen counted covered divided explained \
    gather given held joint kept known last left_out less look made moved news noteworthy odd \
    once open_files ours own_calls part parts patient place places question recent rolled said \
    seen settle shown spread stretch taken tally telling together told totals trouble \
    unanswered unread usual wanted weigh whole words";

/// Banned openings of comments: a comment begins with a noun or a verb.
const OPENINGS: [&str; 11] = [
    "What",
    "Whether",
    "Who",
    "Whose",
    "Those",
    "That which",
    "Of what",
    "How much",
    "How many",
    "How far",
    "How long",
];

/// Vague beginnings of the names of tests: such a name is a riddle, not a statement.
const TEST_OPENINGS: [&str; 6] = ["how_", "odd_", "what_", "whatever_", "who_", "whose_"];

/// Names that three or more types have, with their number and the reason.
const SHARED_NAMES: &[(&str, usize, &str)] =
    &[("Span", 3, "the messages of OTLP, Jaeger and Zipkin")];

/// Returns the paths of the sources of programs and libraries, with their code before their tests.
pub(super) fn codes() -> Vec<(String, String)> {
    let mut codes = Vec::new();
    for path in super::sources() {
        let file = path.strip_prefix(super::root()).unwrap().to_str().unwrap().to_owned();
        let is_of_tests = file.split('/').any(|part| ["tests", "benches"].contains(&part));
        if is_of_tests || file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        codes.push((file, code));
    }
    assert!(codes.len() > 500, "{}", codes.len());
    codes
}

/// Returns the name that a line declares with one of these keywords.
fn declared<'a>(line: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) if rest.starts_with(' ') => rest.trim_start(),
        _ => line,
    };
    let line = line.trim_start_matches("async ").trim_start_matches("const ");
    let declares = |keyword: &&str| line.strip_prefix(*keyword)?.strip_prefix(' ');
    let rest = keywords.iter().find_map(declares)?;
    rest.split(|sign: char| !sign.is_alphanumeric() && sign != '_').next()
}

/// Returns the name of the type that a line declares, except for an associated type and for a name
/// that a macro is given.
fn type_name(line: &str) -> Option<&str> {
    let alias = || if line.starts_with(' ') { None } else { declared(line, &["type"]) };
    declared(line, &["struct", "enum", "trait"]).or_else(alias).filter(|name| !name.is_empty())
}

/// Returns true if the line begins a doc comment with one of [`OPENINGS`].
fn opens_vaguely(before: &str, line: &str) -> bool {
    ["///", "//!"].iter().any(|marker| {
        let text = line.trim_start().strip_prefix(*marker).map(str::trim_start);
        let begins = |text: &str| {
            OPENINGS.iter().any(|opening| {
                text.strip_prefix(*opening)
                    .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            })
        };
        text.is_some_and(begins) && !before.trim_start().starts_with(*marker)
    })
}

fn is_among(words: &str, name: &str) -> bool {
    words.split_whitespace().any(|word| word == name)
}

#[test]
fn declarations_and_openings_are_found() {
    assert_eq!(type_name("pub(crate) struct Sizes<'a> {"), Some("Sizes"));
    assert_eq!(type_name("    enum State {"), Some("State"));
    assert_eq!(type_name("type Rows = Vec<u32>;"), Some("Rows"));
    assert_eq!(type_name("    type Error = Refusal;"), None);
    assert_eq!(type_name("        pub struct $builders {"), None);
    assert_eq!(declared("    pub async fn flush(&self) {", &["fn"]), Some("flush"));
    assert_eq!(declared("pub(super) const fn of(self) {", &["fn"]), Some("of"));
    assert_eq!(declared("// fn of(self)", &["fn"]), None);
    assert!(opens_vaguely("", "    /// What a reader sees."));
    assert!(!opens_vaguely("/// A row:", "/// What a reader sees."));
    assert!(!opens_vaguely("", "/// Whatever a reader sees."));
}

#[test]
fn names_say_what_they_are_of() {
    let mut vague = Vec::new();
    for (file, code) in codes() {
        let stem = file.rsplit('/').next().unwrap().trim_end_matches(".rs");
        if is_among(VAGUE_FILES, stem) {
            vague.push(file.clone());
        }
        for (at, line) in code.lines().enumerate() {
            let of_type = type_name(line).is_some_and(|name| is_among(VAGUE_TYPES, name));
            let function = declared(line, &["fn"]);
            if of_type || function.is_some_and(|name| is_among(VAGUE_FUNCTIONS, name)) {
                vague.push(format!("{file}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(vague.is_empty(), "say what it is of: {vague:#?}");
}

#[test]
fn test_names_are_statements() {
    let mut vague = Vec::new();
    for path in super::sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for pair in lines.windows(2) {
            let [attribute, line] = pair else { continue };
            let is_test =
                ["#[test]", "#[tokio::test"].iter().any(|test| attribute.starts_with(test));
            let name = declared(line, &["fn"]).filter(|_| is_test);
            if name.is_some_and(|name| TEST_OPENINGS.iter().any(|word| name.starts_with(word))) {
                vague.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(vague.is_empty(), "say what happens: {vague:#?}");
}

#[test]
fn a_name_is_not_that_of_three_types() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, code) in codes() {
        for name in code.lines().filter_map(type_name) {
            files.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    for (name, count, why) in SHARED_NAMES {
        let types = files.remove(*name).unwrap_or_default();
        assert_eq!(types.len(), *count, "{name} is the name of other types now: {types:#?}");
        assert!(!why.is_empty(), "{name}");
    }
    files.retain(|_, files| files.len() > 2);
    assert!(files.is_empty(), "none of these has a good name yet: {files:#?}");
}

#[test]
fn comments_begin_with_a_noun_or_a_verb() {
    let mut vague = Vec::new();
    for (file, code) in codes() {
        let mut before = "";
        for (at, line) in code.lines().enumerate() {
            if opens_vaguely(before, line) {
                vague.push(format!("{file}:{}: {}", at + 1, line.trim()));
            }
            before = line;
        }
    }
    assert!(vague.is_empty(), "begin with a noun or a verb: {vague:#?}");
}
