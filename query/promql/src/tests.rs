//! Valid queries, and the errors of invalid ones.

use super::{
    TERMS_MAX,
    number::{duration_of, number_text},
    parse,
};

#[test]
fn texts_that_are_queries_are_read() {
    for text in [
        "1",
        "-1 ^ 2",
        "a",
        "a{}",
        "a{b=\"c\", d!='e', f=~`g.*`, h!~\"i\",}",
        "{__name__=~\"traces_.+\"}",
        "{\"a\", \"b.c\"=\"d\"}",
        "sum by (a, b) (rate(c[5m]))",
        "sum(rate(c{}[300s])) by (le) OR sum(d)",
        "SUM WITHOUT () (a)",
        "topk(5, sum(rate(a[1h30m])) by (b))",
        "histogram_quantile(.9, sum(rate(a_bucket[5m])) by (le))",
        "a / on (b, c) group_left (d) e",
        "a unless ignoring (b) c or d",
        "a > bool 1",
        "max_over_time(rate(a[1m])[1h:1m] offset 1d @ end())",
        "a offset -5m",
        "a @ 1.5",
        "a[5m] # the rest is silence",
        "label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")",
        "label_join(a, \"b\", \"-\", \"c\", \"d\")",
        "count_values(\"v\", a)",
        "round(a)",
        "a:b:c",
        "0x1F + 1e3 + .5 + Inf",
        "\"a text\\n\\u00e9\"",
        "sum",
        "rate",
    ] {
        if let Err(error) = parse(text) {
            panic!("{text}: {error}");
        }
    }
}

/// Invalid queries with their errors.
const REFUSED: [(&str, &str); 32] = [
    ("", "1:1: parse error: no expression found in input"),
    ("# only this", "1:12: parse error: no expression found in input"),
    ("a b", "1:3: parse error: unexpected identifier \"b\""),
    ("sum(", "1:5: parse error: unexpected end of input"),
    (
        "a{b}",
        "1:4: parse error: unexpected \"}\" in label matching, expected label matching \
                  operator",
    ),
    (
        "a{b=c}",
        "1:5: parse error: unexpected identifier \"c\" in label matching, expected \
                    string",
    ),
    ("{}", "1:3: parse error: vector selector must contain at least one non-empty matcher"),
    (
        "{a=~\".*\"}",
        "1:10: parse error: vector selector must contain at least one non-empty \
                         matcher",
    ),
    ("a{b=~\"(\"}", "1:6: parse error: \"(\" is no regular expression"),
    ("a{__name__=\"b\"}", "1:15: parse error: metric name must not be set twice"),
    (
        "rate(a)",
        "1:1: parse error: expected type range vector in call to function \"rate\", \
                      got instant vector",
    ),
    ("rate()", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 0"),
    ("frobnicate(a)", "1:1: parse error: unknown function with name \"frobnicate\""),
    (
        "sum(a[5m])",
        "1:1: parse error: expected type instant vector in aggregation \
                         expression, got range vector",
    ),
    (
        "topk(a)",
        "1:1: parse error: wrong number of arguments for aggregate expression \
                      provided, expected 2, got 1",
    ),
    ("1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
    ("a and 1", "1:3: parse error: set operators are not allowed in binary scalar expressions"),
    ("a + on (b) 1", "1:3: parse error: vector matching only allowed between instant vectors"),
    ("a and on (b) group_left () c", "1:3: parse error: no grouping allowed for set operations"),
    (
        "a + on (b) group_left (b) c",
        "1:27: parse error: label \"b\" must not occur in ON and \
                                         GROUP clause at once",
    ),
    ("a[0s]", "1:5: parse error: duration must be greater than 0"),
    (
        "(a + b)[5m]",
        "1:12: parse error: ranges only allowed for vector selectors; a subquery \
                         is `[300s:1m]`",
    ),
    (
        "1 offset 5m",
        "1:12: parse error: offset modifier must be preceded by an instant vector \
                         selector or range vector selector or a subquery",
    ),
    ("a offset 5m offset 1m", "1:22: parse error: offset may not be set multiple times"),
    ("a[5m] offset 5m @ 1 offset -1m", "1:31: parse error: offset may not be set multiple times"),
    ("a @ 1 @ 2", "1:10: parse error: @ <timestamp> may not be set multiple times"),
    (
        "a[5m:1m] @ start() offset 1m @ end()",
        "1:37: parse error: @ <timestamp> may not be set multiple times",
    ),
    ("\"a", "1:1: parse error: unterminated quoted string"),
    ("a +\n +* b", "2:3: parse error: unexpected \"*\""),
    ("5x", "1:1: parse error: bad number or duration syntax: \"5x\""),
    ("a & b", "1:3: parse error: unexpected character: '&'"),
];

#[test]
fn texts_that_are_none_are_refused_where_they_stop_being_one() {
    for (text, expected) in REFUSED {
        let error = match parse(text) {
            Ok(found) => panic!("{text} is {found:?}"),
            Err(error) => error,
        };
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn hostile_texts_are_refused_and_break_nothing() {
    let deep = "(".repeat(10_000);
    let chain = format!("1{}", " + 1".repeat(TERMS_MAX));
    let signs = "-".repeat(3_000);
    let nested = format!("{}a{}", "abs(".repeat(2_000), ")".repeat(2_000));
    let ranges = format!("a{}", "[5m:1m]".repeat(1_000));
    let long = "a".repeat(100_000);
    for text in [&deep, &chain, &signs, &nested, &ranges, &long] {
        assert!(parse(text).is_err(), "{text:.20}");
    }
    for text in
        ["\"\\", "\"\\x", "\"\\u12é\"", "é", "a{é=\"b\"}", "0x", "1e", "1e+", "[", "@", "\u{0}"]
    {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn durations_and_numbers_are_those_of_prometheus() {
    for (text, expected) in [
        ("5m", Some(300_000)),
        ("1h30m", Some(5_400_000)),
        ("1500ms", Some(1_500)),
        ("1y", Some(31_536_000_000)),
        ("30m1h", None),
        ("5", None),
        ("m", None),
        ("", None),
        ("99999999999999999999s", None),
        ("900000000y", None),
    ] {
        assert_eq!(duration_of(text), expected, "{text}");
    }
    for (number, text) in [
        (1.0, "1"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e21, "1000000000000000000000"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        assert_eq!(number_text(number), text);
    }
}
