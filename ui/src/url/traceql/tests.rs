use tidings_proto::{DurationNanos, api::AttributeName};

use super::{
    AttributeFilter, ParsedParam, TraceFilters, narrowed, read_traceql, search_traceql, selecting,
    write_traceql,
};

fn filter(key: &str, value: Option<&str>) -> AttributeFilter {
    AttributeFilter { key: key.to_owned(), value: value.map(str::to_owned) }
}

#[test]
fn filters_and_their_query_say_the_same() {
    let nanos = |nanos| Some(ParsedParam::Read(DurationNanos(nanos)));
    for (filters, query) in [
        (TraceFilters::default(), "{ }"),
        (
            TraceFilters {
                service: Some("check\"out".to_owned()),
                operation: Some("POST /checkout".to_owned()),
                status: Some("error".to_owned()),
                kind: Some("server".to_owned()),
                ..TraceFilters::default()
            },
            r#"{ resource.service.name = "check\"out" && name = "POST /checkout" && status = error && kind = server }"#,
        ),
        (
            TraceFilters {
                duration_min: nanos(200_000_000),
                duration_max: nanos(1_500_000),
                attributes: vec![
                    filter("order.id", Some("A-1")),
                    filter("http.status_code", Some("500")),
                    filter("user.tier", None),
                    filter("odd key", Some("a && b")),
                ],
                without: vec![filter("service.version", Some("2.14.0")), filter("retry", None)],
                ..TraceFilters::default()
            },
            r#"{ duration >= 200ms && duration <= 1500us && .order.id = "A-1" && .http.status_code = 500 && .user.tier != nil && ."odd key" = "a && b" && .service.version != "2.14.0" && .retry = nil }"#,
        ),
    ] {
        assert_eq!(write_traceql(&filters), query);
        assert_eq!(read_traceql(query), Some(filters), "{query}");
    }
}

#[test]
fn queries_that_say_more_stay_queries() {
    for query in [
        "{ status = error } >> { name = \"a\" }",
        "{ status = error || kind = server }",
        "{ name =~ \"a.*\" }",
        "{ span.order.id = \"A-1\" }",
        "{ duration > 1s }",
        "{ duration >= 5 }",
        "{ status = broken }",
        "{ name = \"a\" && name = \"b\" }",
        "{ name = \"a }",
        "{ && }",
        "{} | count() > 3",
        "status = error",
        "{",
        "",
    ] {
        assert_eq!(read_traceql(query), None, "{query}");
    }
}

#[test]
fn the_server_is_asked_for_a_number_that_may_be_a_text() {
    let filters = TraceFilters {
        attributes: vec![
            filter("order", Some("42")),
            filter("ratio", Some("-0.5")),
            filter("tier", Some("gold")),
            filter("version", Some("1.2.3")),
        ],
        without: vec![filter("retry", Some("1")), filter("odd key", None)],
        ..TraceFilters::default()
    };
    assert_eq!(
        search_traceql(&filters),
        r#"{ (.order = 42 || .order = "42") && (.ratio = -0.5 || .ratio = "-0.5") && .tier = "gold" && .version = "1.2.3" && (.retry != 1 || .retry != "1") && ."odd key" = nil }"#
    );
}

#[test]
fn a_query_is_narrowed_to_a_value_or_to_all_others() {
    for (scope, key, value, leave_out, condition) in [
        ("intrinsic", "service", r#"a "b""#, false, r#"resource.service.name = "a \"b\"""#),
        ("intrinsic", "operation", "GET /", true, r#"!(name = "GET /")"#),
        ("intrinsic", "status", "error", false, "status = error"),
        ("intrinsic", "kind", "server", true, "!(kind = server)"),
        ("span", "acquirer", "northpay", false, r#"span.acquirer = "northpay""#),
        ("resource", "odd key", "", true, r#"!(resource."odd key" = "")"#),
        ("span", "retry", "2", true, r#"!(span.retry = 2 || span.retry = "2")"#),
        ("span", "up", "true", false, r#"span.up = true || span.up = "true""#),
        ("span", "part", "1.", false, r#"span.part = "1.""#),
    ] {
        let name = AttributeName { scope: scope.to_owned(), key: key.to_owned() };
        let query = narrowed("{ } >> { } | count() > 1", &name, value, leave_out);
        assert_eq!(query, format!("{{ }} >> {{ }} | count() > 1 | {{ {condition} }}"));
    }
}

#[test]
fn columns_are_selected_after_the_query() {
    let columns = ["order.id".to_owned(), "odd key".to_owned()];
    assert_eq!(selecting("{ }", &columns), r#"{ } | select(status, .order.id, ."odd key")"#);
    assert_eq!(selecting("{ } | count() > 2", &[]), "{ } | count() > 2 | select(status)");
}
