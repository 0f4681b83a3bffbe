use std::ops::Bound;

use proptest::prelude::*;
use tidings_storage::{
    AttributeOwner, ConditionNumber, FuzzyWord, Glyph, LogColumn, LogExpression as Log, Phrase,
    TextPredicate, ValuePredicate, Wildcard, WildcardScope,
};

use super::{DEPTH_MAX, TERMS_MAX, parse};

fn word(text: &str) -> Log {
    Log::Body(TextPredicate::Phrase(Phrase::new(text, false).unwrap()))
}

fn not(expression: Log) -> Log {
    Log::Not(Box::new(expression))
}

fn column(column: LogColumn, text: &str) -> Log {
    Log::Column(column, TextPredicate::Equals(text.to_owned()))
}

fn attribute(key: &str, value: ValuePredicate) -> Log {
    labels(&[key], value)
}

fn labels(keys: &[&str], value: ValuePredicate) -> Log {
    let parts = keys.iter().flat_map(|key| {
        let field = Log::BodyField((*key).to_owned(), value.clone());
        [Log::Attribute(AttributeOwner::Any, (*key).to_owned(), value.clone()), field]
    });
    Log::Any(parts.collect())
}

fn words(key: &str, text: &str) -> Log {
    let value = ValuePredicate::Words {
        text: TextPredicate::Phrase(Phrase::new(text, false).unwrap()),
        number: ConditionNumber::new(text),
        truth: text.parse().ok(),
    };
    attribute(key, value)
}

fn exact(key: &str, text: &str) -> Log {
    attribute(key, ValuePredicate::Equals(text.to_owned()))
}

fn whole_prefix(text: &str) -> TextPredicate {
    let glyphs: Vec<Glyph> = text.chars().map(Glyph::Char).chain([Glyph::Many]).collect();
    TextPredicate::Wildcard(Wildcard::new(&glyphs, WildcardScope::Whole).unwrap())
}

fn numbers(key: &str, low: Bound<&str>, high: Bound<&str>) -> Log {
    let number = |text: &str| ConditionNumber::new(text).unwrap();
    attribute(key, ValuePredicate::Numbers(low.map(number), high.map(number)))
}

fn check(cases: Vec<(&str, Log)>) {
    for (query, expected) in cases {
        let found = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(found, expected, "{query}");
    }
}

fn check_errors(cases: &[(&str, usize, &str)]) {
    for (query, character, message) in cases {
        let error = parse(query).expect_err(query);
        assert_eq!(error.character, *character, "{query}: {error}");
        assert!(error.message.contains(message), "{query}: {error}");
    }
}

#[test]
fn operators_bind_as_in_kibana_and_nothing_between_terms_is_and() {
    let a_and_b = || Log::All(vec![word("a"), word("b")]);
    check(vec![
        ("a b", a_and_b()),
        ("a AND b", a_and_b()),
        ("a && b", a_and_b()),
        ("a b or c and not d", {
            Log::Any(vec![a_and_b(), Log::All(vec![word("c"), not(word("d"))])])
        }),
        ("a || (b OR c)", Log::Any(vec![word("a"), Log::Any(vec![word("b"), word("c")])])),
        ("-a !b", Log::All(vec![not(word("a")), not(word("b"))])),
        ("not not a", word("a")),
        ("-(a b)", not(a_and_b())),
        ("*", Log::All(vec![])),
        ("* a", word("a")),
        ("(a)or(b)", Log::Any(vec![word("a"), word("b")])),
        ("not:a", words("not", "a")),
    ]);
}

#[test]
fn words_phrases_and_what_looks_like_syntax() {
    let contains = |text: &str| Log::Body(TextPredicate::contains(text));
    let fuzzy =
        |text: &str, edits| Log::Body(TextPredicate::Fuzzy(FuzzyWord::new(text, edits).unwrap()));
    let prefix = |text: &str| Log::Body(TextPredicate::Phrase(Phrase::new(text, true).unwrap()));
    check(vec![
        ("\"payment declined\"", word("payment declined")),
        ("`a \"b\" \\`", word("a b")),
        ("`failed\\nCaused`", Log::Any(vec![word("failed\\nCaused"), word("failed Caused")])),
        ("\"say \\\"hi\\\"\"", word("say hi")),
        ("paym*", prefix("paym")),
        ("\"payment decl\"*", prefix("payment decl")),
        ("paymet~1", fuzzy("paymet", 1)),
        ("paymet~", fuzzy("paymet", 2)),
        ("paymet~0", word("paymet")),
        ("a->b", word("a b")),
        ("a -> b", Log::All(vec![word("a"), contains("->"), word("b")])),
        ("--flag", word("flag")),
        ("/api/cart", word("api cart")),
        ("GET /api/v1/cart", Log::All(vec![word("GET"), word("api v1 cart")])),
        ("http://shop/cart", word("http shop cart")),
        ("10.0.0.1:8080", word("10 0 0 1 8080")),
        ("12:30:05", word("12 30 05")),
        ("[error]", word("error")),
        ("a > b", Log::All(vec![word("a"), contains(">"), word("b")])),
        ("can't", word("can t")),
        ("what?", word("what")),
        ("\"and\"", word("and")),
        ("a\\:b", word("a b")),
        ("main(x)", Log::All(vec![word("main"), word("x")])),
        ("sum (x)", Log::All(vec![word("sum"), word("x")])),
        ("GET [5m]", Log::All(vec![word("GET"), word("5m")])),
        ("http://a/?b=c", word("http a b c")),
        ("a => b", Log::All(vec![word("a"), contains("=>"), word("b")])),
        ("a= b", Log::All(vec![word("a"), word("b")])),
        ("a==", word("a")),
        ("|= \"x y\" != \"z\"", Log::All(vec![contains("x y"), not(contains("z"))])),
    ]);
}

#[test]
fn whole_values_have_prefixes_and_empty_ones_may_be_absent() {
    let is_absent = not(attribute("tier", ValuePredicate::Any));
    check(vec![
        ("tier=\"\"", Log::Any(vec![is_absent, exact("tier", "")])),
        ("level!=\"\"", not(not(Log::Severity(1..=24)))),
        ("tier:=gold*", attribute("tier", ValuePredicate::Text(whole_prefix("gold")))),
        ("tier=\"gold o\"*", attribute("tier", ValuePredicate::Text(whole_prefix("gold o")))),
        ("tier:=\"gold*\"", exact("tier", "gold*")),
        ("tier:=gold\\*", exact("tier", "gold*")),
        ("tier!=\"\"*", not(attribute("tier", ValuePredicate::Any))),
        ("body:=\"GET /\"*", Log::Body(whole_prefix("GET /"))),
        ("service:=\"shop-\"*", Log::Column(LogColumn::Service, whole_prefix("shop-"))),
    ]);
}

#[test]
fn fields_are_columns_or_attributes() {
    let text = |key: &str, text: &str| {
        attribute(
            key,
            ValuePredicate::Text(TextPredicate::Phrase(Phrase::new(text, true).unwrap())),
        )
    };
    let of = |owner, key: &str| Log::Attribute(owner, key.to_owned(), ValuePredicate::Any);
    check(vec![
        ("service:shop", column(LogColumn::Service, "shop")),
        ("service.name : \"my shop\"", column(LogColumn::Service, "my shop")),
        ("event:order.paid", column(LogColumn::EventName, "order.paid")),
        ("scope:lib", column(LogColumn::ScopeName, "lib")),
        ("message:paid", word("paid")),
        ("severity:error", Log::Severity(17..=20)),
        ("level: WARN", Log::Severity(13..=16)),
        ("severity:>=warn", Log::Severity(13..=24)),
        ("severity > info", Log::Severity(13..=24)),
        ("severity:<warn", Log::Severity(1..=12)),
        ("severity:[info TO error}", Log::Severity(9..=16)),
        ("severity:17", Log::Severity(17..=17)),
        ("severity:*", Log::Severity(1..=24)),
        ("severity:>fatal", Log::Any(vec![])),
        ("trace_id:*", Log::Trace(None)),
        ("NOT span_id:*", not(Log::Span(None))),
        ("user.id:42", words("user.id", "42")),
        ("user.id:-5", words("user.id", "-5")),
        ("\"my key\":42", words("my key", "42")),
        ("my\\ key:true", words("my key", "true")),
        ("tier:go*", text("tier", "go")),
        ("tier:*", attribute("tier", ValuePredicate::Any)),
        ("body.tier:*", Log::BodyField("tier".to_owned(), ValuePredicate::Any)),
        ("body.user.id:=7", {
            Log::BodyField("user.id".to_owned(), ValuePredicate::Equals("7".to_owned()))
        }),
        ("attribute.service:*", of(AttributeOwner::Record, "service")),
        ("resource.host.name:*", of(AttributeOwner::Resource, "host.name")),
        ("scope.version:*", of(AttributeOwner::Scope, "version")),
        ("tier:=\"gold one\"", exact("tier", "gold one")),
        ("tier=\"gold\"", exact("tier", "gold")),
        ("tier!=\"gold\"", not(exact("tier", "gold"))),
        ("tier:!gold", not(words("tier", "gold"))),
        ("tier:(gold or silver)", Log::Any(vec![words("tier", "gold"), words("tier", "silver")])),
        ("tier:(gold and not one)", {
            Log::All(vec![words("tier", "gold"), not(words("tier", "one"))])
        }),
        ("status:>=500", numbers("status", Bound::Included("500"), Bound::Unbounded)),
        ("status >= 500", numbers("status", Bound::Included("500"), Bound::Unbounded)),
        ("status<500", numbers("status", Bound::Unbounded, Bound::Excluded("500"))),
        ("t:[1 TO 2.5}", numbers("t", Bound::Included("1"), Bound::Excluded("2.5"))),
        ("t:{-1 to *]", numbers("t", Bound::Excluded("-1"), Bound::Unbounded)),
        ("v:[a TO b]", {
            let bound = |text: &str| Bound::Included(text.to_owned());
            attribute("v", ValuePredicate::Texts(bound("a"), bound("b")))
        }),
        ("{service_name=\"shop\", tier=\"gold\"} | level=\"error\"", {
            let shop = column(LogColumn::Service, "shop");
            Log::All(vec![shop, exact("tier", "gold"), Log::Severity(17..=20)])
        }),
    ]);
}

#[test]
fn labels_are_keys_with_dots_or_underscores() {
    let is = |text: &str| ValuePredicate::Equals(text.to_owned());
    let pod = || labels(&["k8s_pod_name", "k8s.pod_name", "k8s_pod.name", "k8s.pod.name"], is("a"));
    let six = "a_b_c_d_e_f";
    check(vec![
        ("{k8s_pod_name=\"a\"}", pod()),
        ("{k8s_pod_name!=\"a\"}", not(pod())),
        ("x | json | k8s_pod_name=\"a\"", Log::All(vec![word("x"), pod()])),
        ("x | unpack_json", word("x")),
        ("x |json|= \"y\"", Log::All(vec![word("x"), Log::Body(TextPredicate::contains("y"))])),
        ("k8s_pod_name=\"a\"", exact("k8s_pod_name", "a")),
        ("{a_b_c_d_e_f=\"a\"}", labels(&[six, "a.b.c.d.e.f"], is("a"))),
    ]);
    // A label counts as many terms as it has keys.
    let many = "x | a_b_c_d=1 ".repeat(30);
    check_errors(&[(many.as_str(), 313, "at most 200 terms")]);
}

#[test]
fn a_trace_is_found_by_its_field_its_id_in_the_message_or_an_attribute() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    for query in [format!("trace_id:{id}"), format!("traceId=\"{id}\"")] {
        let Ok(Log::Any(parts)) = parse(&query) else { panic!("{query}: {:?}", parse(&query)) };
        assert_eq!(parts[0], Log::Trace(Some(vec![id.parse().unwrap()])));
        assert_eq!(parts[1], Log::Body(TextPredicate::contains(id)));
        let key = |key: &str| {
            let value = ValuePredicate::Equals(id.to_owned());
            Log::Attribute(AttributeOwner::Any, key.to_owned(), value)
        };
        assert!(parts.contains(&key("trace.id")) && parts.contains(&key("dd.trace_id")));
    }
}

#[test]
fn equality_without_quotes_is_about_the_field_or_the_text() {
    let either = |field: Log, text: &str| Log::Any(vec![field, word(text)]);
    let severity = || Log::Severity(9..=12);
    let shop = || column(LogColumn::Service, "shop");
    check(vec![
        ("user_id=42", either(exact("user_id", "42"), "user_id 42")),
        ("http.status==500", either(exact("http.status", "500"), "http status 500")),
        ("level=info", either(severity(), "level info")),
        ("level = info", either(severity(), "level info")),
        ("service=shop", either(shop(), "service shop")),
        ("user=7, order=b=c", {
            let user = either(exact("user", "7"), "user 7");
            Log::All(vec![user, either(exact("order", "b=c"), "order b c")])
        }),
        ("-path=/a/b", not(either(exact("path", "/a/b"), "path a b"))),
        ("tier=go*", {
            let prefix = || TextPredicate::Phrase(Phrase::new("go", true).unwrap());
            let text = TextPredicate::Phrase(Phrase::new("tier go", true).unwrap());
            let field = attribute("tier", ValuePredicate::Text(prefix()));
            Log::Any(vec![field, Log::Body(text)])
        }),
        ("level!=info", not(severity())),
        ("http.status != 500", not(exact("http.status", "500"))),
        ("user!=user1", not(exact("user", "user1"))),
        ("{service_name=\"shop\"} | http.status=500", {
            Log::All(vec![shop(), exact("http.status", "500")])
        }),
        ("{service_name=\"shop\"} | a==5, b=\"6\" | c != 7|d=x", {
            let parts = [exact("a", "5"), exact("b", "6"), not(exact("c", "7")), exact("d", "x")];
            Log::All([vec![shop()], parts.to_vec()].concat())
        }),
    ]);
}

#[test]
fn short_forms_of_other_tools_are_understood() {
    let shop = column(LogColumn::Service, "shop");
    let has = |key: &str| attribute(key, ValuePredicate::Any);
    check(vec![
        ("_exists_:user.id", has("user.id")),
        ("-_exists_:\"my key\"", not(has("my key"))),
        ("_stream:{service_name=\"shop\"}", shop.clone()),
        ("user:in(a,b , \"c d\")", {
            Log::Any(vec![exact("user", "a"), exact("user", "b"), exact("user", "c d")])
        }),
        ("user:!in(a)", not(exact("user", "a"))),
        ("service:in(shop)", shop),
        ("t:range(10, 20)", numbers("t", Bound::Excluded("10"), Bound::Excluded("20"))),
        ("t:range[-1,2.5)", numbers("t", Bound::Included("-1"), Bound::Excluded("2.5"))),
        ("t:range(5, inf]", numbers("t", Bound::Excluded("5"), Bound::Unbounded)),
    ]);
}

#[test]
fn forms_of_other_tools_without_an_equivalent_are_refused() {
    let cases = [
        ("a i(\"b\")", 3, "`i(` is a function of another language: words and phrases ignore"),
        ("seq(\"a\", \"b\")", 1, "write a regular expression as `/first.*second/`"),
        ("user:re(\"a\")", 6, "write a regular expression as `/pattern/`"),
        ("user:contains_any(a, b)", 6, "write `(one OR other)`"),
        ("ip:ipv4_range(10.0.0.0/8)", 4, "`10.0.*`"),
        ("count_over_time({a=\"b\"}[5m])", 1, "/api/v1/logs/stats"),
        ("sum by (a) (rate({a=\"b\"}[5m]))", 13, "`rate(` is a function"),
        ("{a=\"b\"}[5m]", 8, "no range of time"),
        ("{a=\"b\"} |= \"c\" [$__range]", 16, "no range of time"),
        ("a _time:5m", 3, "`_time` is no field"),
        ("@timestamp >= now-1h", 1, "`@timestamp` is no field"),
        ("\"@timestamp\":\"2026\"", 1, "`@timestamp` is no field"),
        ("word^2", 5, "a term has no boost"),
        ("(a b)^2", 6, "a term has no boost"),
        ("\"a b\"^1.5", 6, "a term has no boost"),
        ("user:a^2", 7, "a term has no boost"),
        ("word~0.8", 5, "`~` takes a number of edits"),
        ("_exists_:", 10, "the name of a field was expected"),
        ("_stream:{}", 9, "a selector as `{service_name=\"shop\"}` was expected, not `{}`"),
        ("a:in()", 6, "a value was expected, not `)`"),
        ("a:in(b c)", 8, "`,` or `)` was expected, not `c)`"),
        ("a:range(1 2)", 11, "`,` was expected, not `2)`"),
        ("a:range(1, 2", 13, "`)` or `]` was expected, not the end of the query"),
        ("level!=loud", 1, "put `level!=loud` in double quotes to look for the text"),
    ];
    check_errors(&cases);
}

#[test]
fn patterns_stand_between_slashes() {
    for (query, pattern) in [
        ("/time[do]+ut/", "time[do]+ut"),
        ("/a b/", "a b"),
        ("/a\\/b/", "a/b"),
        ("|~ \"a.c\"", "a.c"),
        ("body:/x+/", "x+"),
        ("body:~\"x+\"", "x+"),
    ] {
        let Ok(Log::Body(TextPredicate::Pattern(found))) = parse(query) else {
            panic!("{query}: {:?}", parse(query))
        };
        assert!(format!("{found:?}").contains(&format!("(?s:{pattern})")), "{found:?}");
    }
}

#[test]
fn errors_name_the_character_and_what_was_expected() {
    let deep = "(".repeat(DEPTH_MAX + 1);
    let many = "a ".repeat(TERMS_MAX + 1);
    let cases = [
        ("", 1, "a term was expected, but the query ends"),
        ("a and", 6, "a term was expected, but the query ends"),
        ("a and or b", 7, "a term was expected, not `or`"),
        ("or", 1, "a term was expected, not `or`"),
        ("(a", 1, "this `(` is not closed"),
        ("a)", 2, "this `)` closes nothing"),
        ("a ()", 4, "a term was expected, not `)`"),
        ("é \"b", 3, "the closing quote is missing"),
        ("\"\"", 3, "nothing between the quotes"),
        ("a:", 3, "a value was expected after `a:`"),
        ("a: ", 4, "a value was expected"),
        ("a:>", 4, "a value was expected, not the end of the query"),
        ("a:[1 2]", 6, "`TO` was expected, not `2]`"),
        ("a:[1 TO 2", 10, "`]` or `}` was expected"),
        ("a:[1 TO x]", 3, "from a number to a number"),
        ("a:[TO 2]", 7, "`TO` was expected"),
        ("severity:loud", 10, "a severity was expected"),
        ("severity:err*", 10, "a severity was expected"),
        ("trace_id:xyz", 10, "a trace id of 32 or 16 hex digits"),
        ("span_id:xyz", 9, "a span id of 16 hex digits"),
        ("body:>5", 6, "the body has no order"),
        ("service:[a TO b]", 9, "no order"),
        ("word~3", 1, "1 or 2 edits"),
        ("two-words~1", 1, "one word of letters"),
        ("\"a b\"~2", 6, "`~` follows a word"),
        ("a:[1 TO", 8, "an end of the range was expected, not the end of the query"),
        ("a:[1 TO]", 8, "an end of the range was expected, not `]`"),
        ("a:{}", 4, "an end of the range was expected, not `}`"),
        ("body:{\"a\":1}", 6, "put JSON in backticks to look for it"),
        ("/(/", 2, "not a regular expression: error: unclosed group"),
        ("é /ab[c/", 6, "not a regular expression: error: unclosed character class"),
        ("a=~\"x[\"", 6, "not a regular expression"),
        ("/a\\/(/", 1, "not a regular expression"),
        ("a | stats count()", 3, "no pipes"),
        ("{a=\"b\"", 7, "`,` or `}` was expected"),
        ("a\\", 3, "after `\\`"),
        (deep.as_str(), DEPTH_MAX + 1, "parentheses nest at most"),
        (many.as_str(), 2 * TERMS_MAX + 1, "at most 200 terms"),
    ];
    check_errors(&cases);
    let error = parse(&"x".repeat(20_000)).unwrap_err().to_string();
    assert_eq!(error, "at character 1: a query has at most 16384 bytes; this has 20000");
    let patterns: Vec<String> = (0..40).map(|n| format!("/x{n}+/")).collect();
    assert!(parse(&patterns.join(" ")).unwrap_err().message.contains("together"));
}

proptest! {
    #[test]
    fn every_text_is_a_query_or_an_error_within_it(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.character), "{error}");
        }
    }

    #[test]
    fn queries_of_random_tokens_are_parsed_or_refused_at_a_position(
        parts in prop::collection::vec(prop::sample::select(vec![
            "a", "b*", "\"c d\"", "(", ")", " ", "and", "or", "not", "-", "!", ":", "~1", "/", "[",
            "]", "{", "}", "TO", ">=", "=", "=~", "|", "|=", "*", "\\", "`", "severity", "é", ",",
            "!=", "==", "in(", "range[", "^2", ".5", "_exists_:", "_stream:", "_time", "[5m]",
        ]), 0..24),
    ) {
        let text = parts.concat();
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.character), "{error}");
        }
    }

    #[test]
    fn plain_words_need_no_syntax(words in prop::collection::vec("[b-m0-9]{1,8}", 1..6)) {
        let query = words.join(" ");
        let found = parse(&query).unwrap();
        let mut terms: Vec<Log> = words.iter().map(|text| word(text)).collect();
        let expected = if terms.len() == 1 { terms.remove(0) } else { Log::All(terms) };
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn texts_that_resemble_forms_of_other_tools_are_words() {
    for text in ["select count(*) from t", "i(b)", "10^6", "pkg~1.2.3", "level=loud", "trace_id=x"]
    {
        assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
    }
    let piped = parse("{a=\"b\"} | status>=500, level=\"error\"").unwrap();
    assert_eq!(piped, parse("{a=\"b\"} | status>=500 | level=\"error\"").unwrap());
    assert_eq!(piped, parse("a=\"b\" status:>=500 level:=error").unwrap());
}
