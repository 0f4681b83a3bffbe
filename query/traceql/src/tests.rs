//! Valid and invalid queries, and the errors of invalid ones.

use proptest::{collection::vec, prelude::*, sample::select};
use tidings_proto::traceql_words::STAGES;

use super::{
    DEPTH_MAX, TEXT_BYTES_MAX, parse,
    syntax::{Fold, Measure, MeasureForm, Metrics, Root, Stage, function_words},
};

/// Returns the queries of a text, one a line; lines that begin with `#` and empty ones are skipped.
fn queries(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn every_valid_query_parses() {
    for query in queries(include_str!("tests/valid.txt")) {
        if let Err(error) = parse(query) {
            panic!("{query}: {error}");
        }
    }
}

#[test]
fn every_invalid_query_is_refused() {
    for query in queries(include_str!("tests/invalid.txt")) {
        if let Ok(parsed) = parse(query) {
            panic!("{query} parsed as {parsed:?}");
        }
    }
}

#[test]
fn errors_say_where_and_what_was_meant() {
    let cases = [
        (
            "{ durration > 1s }",
            "at line 1, column 3: unknown intrinsic `durration`: did you mean `duration`?",
        ),
        (
            "{ span:knd = server }",
            "at line 1, column 3: unknown intrinsic `span:knd`: did you mean `span:kind`?",
        ),
        (
            "{ trace:rootServiceName = \"a\" }",
            "at line 1, column 3: unknown intrinsic `trace:rootServiceName`: did you mean `trace:rootService`?",
        ),
        (
            "{ status = eror }",
            "at line 1, column 12: unknown intrinsic `eror`: did you mean `error`?",
        ),
        (
            "{ namespace = 4 }",
            "at line 1, column 3: unknown intrinsic `namespace`; attributes begin with a dot or a scope: `.namespace`, `span.namespace`",
        ),
        (
            "{ log:boddy = \"x\" }",
            "at line 1, column 3: unknown intrinsic `log:boddy`: did you mean `log:body`?",
        ),
        (
            "{ log:severity >= loud }",
            "at line 1, column 19: `loud` is not a severity; these are: trace, debug, info, warn, error and fatal",
        ),
        (
            "{ log:severity = 17 }",
            "at line 1, column 16: `=` cannot stand between a severity and a number",
        ),
        (
            "{ kind = log:severity }",
            "at line 1, column 8: `=` cannot stand between a kind and a severity",
        ),
        ("{ .a == 4 }", "at line 1, column 7: one `=` compares; `==` is not an operator"),
        ("{ .a & .b }", "at line 1, column 6: `&` is not an operator: did you mean `&&`?"),
        (
            "{}\n  | cuont() > 1",
            "at line 2, column 5: unknown function `cuont`: did you mean `count`?",
        ),
        ("{ name = \"é\" && .é = }", "at line 1, column 22: a value was expected, but `}` follows"),
        ("{ .a = 'x' }", "at line 1, column 8: text is written in double quotes"),
        ("{ 1 = \"foo\" }", "at line 1, column 5: `=` cannot stand between a number and text"),
        ("{ name }", "at line 1, column 3: a condition is true or false; this is text"),
        (
            "{} | count()",
            "at line 1, column 6: a number cannot stand alone here: compare it, as in `{} | count() > 1`",
        ),
        (
            "{} | rate() + 5",
            "at line 1, column 13: arithmetic with metrics needs parentheses: `({} | rate()) * 100`",
        ),
        ("{ .a =~ \"(\" }", "at line 1, column 9: this is not a pattern: error: unclosed group"),
        (
            "{ .a =~ \"x)|(y\" }",
            "at line 1, column 9: this is not a pattern: error: unopened group",
        ),
        (
            "{ duration > 5q }",
            "at line 1, column 14: `5q` is no number; the units of durations are ns, us, ms, s, m, h, d, w and y",
        ),
        ("", "at line 1, column 1: a query is missing; `{}` finds every span"),
        ("{ .a = 1", "at line 1, column 9: `}` was expected, but the end of the query follows"),
    ];
    for (query, expected) in cases {
        assert_eq!(parse(query).unwrap_err().to_string(), expected, "{query}");
    }
}

#[test]
fn every_word_of_a_function_is_read_and_suggested() {
    let call = |opening: String| match opening.ends_with(')') {
        true => opening,
        false => format!("{opening}duration)"),
    };
    for (fold, function) in Fold::FUNCTIONS {
        let query = format!("{{}} | {} > 1", call(function.opening()));
        let parsed = format!("{:?}", parse(&query).unwrap());
        assert!(parsed.contains(&format!("fold: {fold:?}")), "{query}: {parsed}");
    }
    for stage in STAGES {
        let query = format!("{{}} | {}", call(stage.opening()));
        let Root::Search(stages) = parse(&query).unwrap().root else { panic!("{query}") };
        assert_eq!(stages.len(), 2, "{query}: {stages:?}");
    }
    for (word, form) in Measure::WORDS {
        let arguments = match form {
            MeasureForm::Bare(_) => "",
            MeasureForm::OfField(_) => "duration",
            MeasureForm::Quantiles => "duration, 0.5",
            MeasureForm::Compare => "{}",
        };
        let parsed = parse(&format!("{{}} | {word}({arguments})")).unwrap();
        let Root::Metrics(Metrics::Spans { measure, .. }) = parsed.root else { panic!("{word}") };
        assert_eq!(measure.name(), word);
    }
    for word in function_words() {
        let error = parse(&format!("{{}} | {word}x(duration)")).unwrap_err().to_string();
        assert!(error.ends_with(&format!("did you mean `{word}`?")), "{error}");
    }
}

#[test]
fn a_hostile_query_is_refused_quickly() {
    let deep = DEPTH_MAX as usize + 1;
    let hostile = [
        format!("{{ {}true{} }}", "(".repeat(deep), ")".repeat(deep)),
        format!("{}{{}}{}", "(".repeat(deep), ")".repeat(deep)),
        format!("{{ {}true }}", "!".repeat(5_000)),
        format!("{{ {}1 = 1 }}", "-".repeat(5_000)),
        format!("{{ {}1 = 1 }}", "- ".repeat(5_000)),
        format!("{{ 1{} = 1 }}", " ^ 1".repeat(3_000)),
        format!("{{ 1{} = 1 }}", " + 1".repeat(3_000)),
        format!("{{}}{}", " > {}".repeat(3_000)),
        format!("count(){} > 1", " + count()".repeat(1_000)),
        format!("{{}} | rate(){}", " > 1".repeat(3_000)),
        format!("{{}} | rate(){}", " | topk(1)".repeat(1_000)),
        format!("({}{{}} | rate()){}", "(".repeat(deep), ")".repeat(deep)),
        format!("{{ .a = \"{}\" }}", "x".repeat(1 << 20)),
        "{".repeat(TEXT_BYTES_MAX),
        "(".repeat(TEXT_BYTES_MAX),
        format!("{{ .a =~ \"{}\" }}", "(a{1000}){1000}"),
        format!("{{ .a =~ \"{}{}\" }}", "(".repeat(60), ")".repeat(60)),
        "\u{0}".to_owned(),
        "{ .\"a }".to_owned(),
        "/* ".to_owned(),
    ];
    for query in hostile {
        assert!(parse(&query).is_err(), "{}", query.chars().take(60).collect::<String>());
    }
}

#[test]
fn a_long_list_of_alternatives_is_no_depth() {
    let any: Vec<String> = (0..500).map(|n| format!(".n = {n}")).collect();
    assert!(parse(&format!("{{ {} }}", any.join(" || "))).is_ok());
}

#[test]
fn a_field_reads_back_as_it_is_shown() {
    let fields = [
        "name",
        "duration",
        "traceDuration",
        "span:childCount",
        "span:id",
        "event:name",
        ".a.b",
        "resource.service.name",
        "span.\"foo bar\"",
        "span.\"a\\\"b\"",
        ".\"a\\\\b\"",
        "parent.duration",
        "parent.span.a",
        "parent.a",
        "parent.resource.b",
        "link.x",
        "instrumentation:version",
        "event.exception.type",
        "log:body",
        "log:severity",
        "parent.log:body",
    ];
    for field in fields {
        let query = format!("{{}} | select({field})");
        let parsed = parse(&query).unwrap();
        let again = format!("{parsed:?}");
        assert!(again.contains("Select"), "{again}");
        let Root::Search(stages) = &parsed.root else { panic!("{query}") };
        let Some(Stage::Select(shown)) = stages.last() else { panic!("{query}") };
        assert_eq!(shown[0].to_string(), field);
    }
}

#[test]
fn and_and_or_bind_alike_from_the_left_as_in_tempo() {
    let same = [
        ("{ .a || .b && .c }", "{ (.a || .b) && .c }"),
        ("{ .a && .b || .c }", "{ (.a && .b) || .c }"),
        ("{} || {.b} && {.c}", "({} || {.b}) && {.c}"),
        ("{ .a + 1 * 2 = 3 }", "{ (.a + (1 * 2)) = 3 }"),
        ("{ -.a * 2 = 3 }", "{ -(.a * 2) = 3 }"),
        ("{ 2 ^ 3 ^ .a = 1 }", "{ 2 ^ (3 ^ .a) = 1 }"),
        ("{} && {.a} >> {.b}", "{} && ({.a} >> {.b})"),
        ("{ duration > 90m }", "{ duration > 1h30m }"),
        ("{ .a = `x\\y` }", "{ .a = \"x\\\\y\" }"),
        ("{ log:severity >= warn }", "{ log:severity >= \"WARN\" }"),
        ("{ log:severity = error || .a }", "{ (log:severity = ERROR) || .a }"),
        ("{ .a = 1 } // comment", "{ .a /* is */ = 1 }"),
    ];
    for (one, other) in same {
        assert_eq!(parse(one).unwrap(), parse(other).unwrap(), "{one}");
    }
}

#[test]
fn the_queries_of_other_projects_parse() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora/traceql-lezer/cases.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: no corpora");
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let query = case["query"].as_str().unwrap();
        let parsed = parse(query);
        assert_eq!(parsed.is_ok(), case["parses"].as_bool().unwrap(), "{query}: {parsed:?}");
    }
}

/// Fragments of valid and invalid queries.
const PIECES: [&str; 60] = [
    "{",
    "}",
    "(",
    ")",
    ",",
    "|",
    "&&",
    "||",
    "!",
    "=",
    "!=",
    "=~",
    "!~",
    ">",
    "<",
    ">=",
    "<=",
    ">>",
    "<<",
    "~",
    "&>",
    "!<<",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    ".a",
    "span.b",
    "resource.\"c d\"",
    "parent.duration",
    "event:name",
    "log:body",
    "log:severity",
    "name",
    "kind",
    "status",
    "server",
    "error",
    "nil",
    "true",
    "1",
    "2.5",
    "30ms",
    "\"x\"",
    "`y`",
    "count()",
    "avg(",
    "by(",
    "select(",
    "coalesce()",
    "rate()",
    "quantile_over_time(duration, .5)",
    "compare({})",
    "topk(3)",
    "with(a=1)",
    " by (.a)",
    "\u{e9}",
    "\\",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_text_is_a_query_or_an_error(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_pieces_are_a_query_or_an_error(pieces in vec(select(&PIECES[..]), 0..24)) {
        let _ = parse(&pieces.concat());
        let _ = parse(&pieces.join(" "));
    }
}
