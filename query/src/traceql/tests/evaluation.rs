//! Semantics of queries, over small tables of values.

use std::cell::Cell;

use tidings_proto::otlp::{SpanKind, StatusCode};
use tidings_traceql::{
    Field, Fields, Intrinsic, Metrics, Name, Query, Root, Scope, Value, compile, parse,
};

use super::super::{
    evaluate::{Spanset, Table, evaluate},
    relations::{Check, ParentKey, TreeShape},
};
use crate::QueryError;

/// A trace: a server that calls twice, and the second call has a child.
///
/// ```text
/// 0 web      GET /   100 ms  server  error
/// 1 ├ web     call     20 ms  client  n=1  tags=[a,b]
/// 2 └ web     call     60 ms  client  n=2.5
/// 3   └ db    query    40 ms  server  ok, n="x"
/// ```
fn value(field: &Field, span: u32) -> Value {
    const PARENTS: [Option<u32>; 4] = [None, Some(0), Some(0), Some(2)];
    if field.parent {
        let own = Field { parent: false, ..field.clone() };
        return PARENTS[span as usize].map_or(Value::Nil, |parent| value(&own, parent));
    }
    match &field.name {
        Name::Intrinsic(Intrinsic::Name) => {
            Value::text(["GET /", "call", "call", "query"][span as usize])
        }
        Name::Intrinsic(Intrinsic::Duration) => {
            Value::Duration([100, 20, 60, 40][span as usize] * 1_000_000)
        }
        Name::Intrinsic(Intrinsic::Kind) => Value::Kind(match span {
            0 | 3 => SpanKind::Server,
            _ => SpanKind::Client,
        }),
        Name::Intrinsic(Intrinsic::Status) => Value::Status(match span {
            0 => StatusCode::Error,
            3 => StatusCode::Ok,
            _ => StatusCode::Unset,
        }),
        Name::Intrinsic(Intrinsic::Parent) => match span {
            0 => Value::Nil,
            _ => Value::Bool(true),
        },
        Name::Attribute(Scope::Any | Scope::Span, key) if key == "n" => match span {
            1 => Value::Int(1),
            2 => Value::Float(2.5),
            3 => Value::text("x"),
            _ => Value::Nil,
        },
        Name::Attribute(Scope::Any | Scope::Span, key) if key == "tags" && span == 1 => {
            Value::Many([Value::text("a"), Value::text("b")].into())
        }
        Name::Attribute(Scope::Any | Scope::Span, key) if key == "ok" && span < 2 => {
            Value::Bool(span == 0)
        }
        Name::Attribute(Scope::Resource, key) if key == "service.name" => {
            Value::text(if span == 3 { "db" } else { "web" })
        }
        _ => Value::Nil,
    }
}

/// Evaluates a query over a trace of this shape, whose spans have the values of the trace above.
fn evaluated(query: &str, shape: TreeShape, check: Check<'_>) -> Result<Vec<Spanset>, QueryError> {
    let Query { root: Root::Search(stages), .. } = parse(query).unwrap() else { panic!("{query}") };
    let mut fields = Fields::default();
    let stages = compile(&stages, &mut fields);
    let width = fields.len();
    let spans = 0..u32::try_from(shape.parents.len()).unwrap();
    let values = spans.flat_map(|span| fields.iter().map(move |field| value(field, span % 4)));
    evaluate(&stages, &Table { values: values.collect(), width, shape }, check)
}

/// Returns the spansets that a query finds: their spans and their common values.
fn found(query: &str) -> String {
    let shape = TreeShape {
        ends: vec![4, 2, 4, 4],
        parents: vec![None, Some(0), Some(0), Some(2)],
        families: vec![
            None,
            Some(ParentKey::Of(0)),
            Some(ParentKey::Of(0)),
            Some(ParentKey::Of(2)),
        ],
    };
    let spansets = evaluated(query, shape, &|| Ok(())).unwrap();
    let shown = spansets.iter().map(|spanset| {
        let spans: Vec<String> = spanset.spans.iter().map(u32::to_string).collect();
        let known = spanset
            .attributes
            .iter()
            .map(|(name, value)| format!(" {name}={}", value.display_text()));
        format!("{}{}", spans.join(","), known.collect::<String>())
    });
    shown.collect::<Vec<_>>().join(" | ")
}

#[test]
fn conditions_select_spans() {
    let cases = [
        ("{}", "0,1,2,3"),
        ("{ false }", ""),
        ("{ name = \"call\" }", "1,2"),
        ("{ name =~ \"cal\" }", ""),
        ("{ name =~ \"cal.|q.*\" }", "1,2,3"),
        ("{ name !~ \"c.*\" }", "0,3"),
        ("{ name =~ \"(?i)get /\" }", "0"),
        ("{ duration > 20ms && duration <= 60ms }", "2,3"),
        ("{ duration > 50000000 }", "0,2"),
        ("{ duration * 2 > 100ms }", "0,2"),
        ("{ kind = server && status != ok }", "0"),
        ("{ status = error || status = ok }", "0,3"),
        // A value that is missing or of another type compares with nothing.
        ("{ .n = 1 }", "1"),
        ("{ .n != 1 }", "2"),
        ("{ .n > 0 }", "1,2"),
        ("{ .n = \"x\" }", "3"),
        ("{ .n != \"y\" }", "3"),
        ("{ !(.n = 1) }", "0,2,3"),
        ("{ .n = nil }", "0"),
        ("{ .n != nil }", "1,2,3"),
        ("{ span.n = 1 && resource.n = 1 }", ""),
        ("{ .n + 1 = 2 }", "1"),
        ("{ 2 ^ .n = 2 }", "1"),
        ("{ .n / 0 = 1 }", ""),
        ("{ -.n < -1 }", "2"),
        ("{ 7 % 4 = 3 && 1 / 2 = 0 && 1.0 / 2 = 0.5 && 2 ^ 3 = 8 }", "0,1,2,3"),
        ("{ .ok }", "0"),
        ("{ !.ok }", "1"),
        ("{ .ok = false }", "1"),
        // Lists: one element matches, or none does.
        ("{ .tags = \"b\" }", "1"),
        ("{ .tags != \"b\" }", ""),
        ("{ .tags != \"c\" }", "1"),
        ("{ .tags =~ \"[ax]\" }", "1"),
        ("{ .tags !~ \"[ax]\" }", ""),
        ("{ nil = nil || nil != nil }", ""),
        // Fields of the parent.
        ("{ parent.kind = client }", "3"),
        ("{ parent.duration > duration * 2 }", "1"),
        ("{ parent.resource.service.name != resource.service.name }", "3"),
        ("{ parent.n = nil }", "0,1,2"),
        ("{ parent = nil }", "0"),
        ("{ parent != nil }", "1,2,3"),
    ];
    for (query, expected) in cases {
        assert_eq!(found(query), expected, "{query}");
    }
}

#[test]
fn spansets_are_combined() {
    let cases = [
        ("{ name = \"call\" } && { kind = server }", "0,1,2,3"),
        ("{ name = \"call\" } && { name = \"none\" }", ""),
        ("{ name = \"call\" } || { name = \"none\" }", "1,2"),
        ("{ kind = server } > { kind = client }", "1,2"),
        ("{ kind = client } > { kind = server }", "3"),
        ("{ name = \"GET /\" } >> { name = \"query\" }", "3"),
        ("{ name = \"query\" } << { kind = server }", "0"),
        ("{ name = \"query\" } < {}", "2"),
        ("{ .n = 1 } ~ {}", "2"),
        ("{} !> {}", "0"),
        ("{} !< {}", "1,3"),
        ("{ name = \"call\" } !>> {}", "0,1,2"),
        ("{ name = \"query\" } !<< {}", "1,3"),
        ("{ .n = 1 } !~ {}", "0,1,3"),
        ("{ name = \"none\" } !> { name = \"query\" }", "3"),
        ("{ kind = client } &> { kind = server }", "2,3"),
        ("{ name = \"GET /\" } &>> { name = \"query\" }", "0,3"),
        ("{ name = \"query\" } &<< { name = \"GET /\" }", "0,3"),
        ("{ name = \"query\" } &< {}", "2,3"),
        ("{ .n = 1 } &~ { .n = 2.5 }", "1,2"),
        ("({ kind = client } | count() > 1) > { kind = server }", "3"),
        ("({ kind = client } | count() > 2) > { kind = server }", ""),
        ("({ .n = 1 } && { .n = 2.5 }) >> {}", "3"),
    ];
    for (query, expected) in cases {
        assert_eq!(found(query), expected, "{query}");
    }
}

#[test]
fn pipelines_group_count_and_compare() {
    let cases = [
        ("{ kind = client } | { .n = 1 }", "1"),
        ("{} | count() > 3", "0,1,2,3 count()=4"),
        ("{} | count() > 4", ""),
        ("count() = 4 | { .n = 1 }", "1 count()=4"),
        ("{} | avg(duration) = 55ms", "0,1,2,3 avg(duration)=55ms"),
        (
            "{} | max(duration) > 60ms | min(duration) < 30ms",
            "0,1,2,3 max(duration)=100ms min(duration)=20ms",
        ),
        ("{} | sum(.n) = 3.5", "0,1,2,3 sum(.n)=3.5"),
        ("{} | avg(.n) = 1.75", "0,1,2,3 avg(.n)=1.75"),
        ("{ kind = server } | min(.n) < 100", ""),
        ("{} | by(name)", "0 by(name)=GET / | 1,2 by(name)=call | 3 by(name)=query"),
        ("{} | by(name) | count() > 1", "1,2 by(name)=call count()=2"),
        (
            "{} | by(kind) | by(status) | count() = 2",
            "1,2 by(kind)=client by(status)=unset count()=2",
        ),
        ("{} | by(name) | coalesce() | count() = 4", "0,1,2,3 count()=4"),
        ("{} | by(.n > 1) | count() = 1", "2 by(.n > 1)=true count()=1"),
        ("{} | by(resource.service.name) | { .n = \"x\" }", "3 by(resource.service.name)=db"),
        ("{} | by(parent.name) | count() > 1", "1,2 by(parent.name)=GET / count()=2"),
        ("{} | select(name, .n)", "0,1,2,3"),
        // Comparisons of aggregates.
        (
            "{} | min(duration) * 4 < max(duration)",
            "0,1,2,3 min(duration)=20ms max(duration)=100ms",
        ),
        ("{} | max(duration) - min(duration) > 90ms", ""),
        ("{} | sum(.n) = min(.n) + max(.n)", "0,1,2,3 sum(.n)=3.5 min(.n)=1 max(.n)=2.5"),
        ("{} | max(parent.duration) = 100ms", "0,1,2,3 max(parent.duration)=100ms"),
        ("({ kind = client } | count()) = ({ kind = server } | count())", "0,1,2,3"),
        ("({ kind = client } | count()) > ({ name = \"none\" } | count())", "1,2"),
        ("({ name = \"none\" } | count()) = 0", ""),
        ("({ .n > 0 } | count()) / ({} | count()) > 0", ""),
        ("({ .n > 0 } | count()) * 1.0 / ({} | count()) = 0.5", "0,1,2,3"),
        ("({ kind = client } | avg(duration)) + ({ kind = server } | count()) > 40ms", "0,1,2,3"),
    ];
    for (query, expected) in cases {
        assert_eq!(found(query), expected, "{query}");
    }
}

#[test]
fn a_thousand_terms_in_a_row_fit_in_a_small_stack_and_one_more_is_refused() {
    const STACK_BYTES: usize = 512 << 10;
    let rows = |terms: usize| {
        let row = |term: &str, operator: &str| vec![term; terms].join(operator);
        [
            (format!("{{ {} > 999 }}", row(".n", " + ")), "1,2"),
            (format!("{{ {} = {terms} }}", row("1", "+")), "0,1,2,3"),
            (row("{}", "&&"), "0,1,2,3"),
            (row("{}", " || "), "0,1,2,3"),
            (row("{}", "&>>"), "0,1,2,3"),
            (format!("{{}} | {} > 3999", row("count()", "+")), "0,1,2,3 count()=4"),
            (format!("{{}} | by({}) | coalesce()", row(".n", " - ")), "0,1,2,3"),
        ]
    };
    let small = std::thread::Builder::new().stack_size(STACK_BYTES);
    let evaluated = small.spawn(move || {
        for (query, expected) in rows(1_000) {
            assert_eq!(found(&query), expected, "{query:.40}");
            let parsed = parse(&query).unwrap();
            assert!(parsed == parsed.clone() && !format!("{parsed:?}").is_empty());
        }
    });
    evaluated.unwrap().join().unwrap();
    for (query, _) in rows(1_001) {
        let refused = parse(&query).unwrap_err().to_string();
        assert!(refused.ends_with("more than 1000 terms in a row"), "{refused}");
    }
}

#[test]
fn a_thousand_metrics_in_a_row_fit_in_a_small_stack_and_one_more_is_refused() {
    const STACK_BYTES: usize = 512 << 10;
    let rows = |terms: usize| {
        let behind = |step: &str| format!("{{}} | rate(){}", step.repeat(terms - 1));
        let row = |operator: &str| vec!["({}|rate())"; terms].join(operator);
        let numbers = format!("({{}} | rate()){}", " * 2".repeat(terms - 1));
        [row("+"), row(" / "), numbers, behind(" | topk(1)"), behind(" > 1")]
    };
    let small = std::thread::Builder::new().stack_size(STACK_BYTES);
    let parsed = small.spawn(move || {
        for query in rows(1_000) {
            let parsed = parse(&query).unwrap_or_else(|error| panic!("{query:.40}: {error}"));
            let Root::Metrics(Metrics::Chain(_, steps)) = &parsed.root else { panic!("{query}") };
            assert_eq!(steps.len(), 999, "{query:.40}");
            assert!(parsed == parsed.clone() && !format!("{parsed:?}").is_empty());
        }
    });
    parsed.unwrap().join().unwrap();
    for query in rows(1_001) {
        let refused = parse(&query).unwrap_err().to_string();
        assert!(refused.ends_with("more than 1000 terms in a row"), "{refused}");
    }
}

#[test]
fn long_evaluations_check_for_the_end_of_their_query() {
    let length = 10_000_u32;
    let chain = || TreeShape {
        parents: (0..length).map(|span| span.checked_sub(1)).collect(),
        ends: vec![length; length as usize],
        families: vec![None; length as usize],
    };
    let once = u64::from(length) / 64;
    let join = u64::from(length) / 4_096;
    for (query, asked_min) in [
        ("{ name = \"call\" }", once),
        ("{} | by(span:id)", once),
        ("{} | max(duration) > 1ms", once),
        ("({ name = \"call\" } | count()) > 1", once),
        ("{} | by(span:duration) | { .n = 1 } | by(name)", 2 * once),
        ("{} >> {}", 2 * join),
        ("{} << {}", 2 * join),
        ("{} > {}", 2 * join),
        ("{} < {}", 2 * join),
        ("{} ~ {}", 3 * join),
        ("{} !>> {}", 2 * join),
        ("{} &>> {}", 4 * join),
        ("{} || {}", join),
        ("{} && {}", join),
        ("{} >> {} >> {} >> {}", 6 * join),
    ] {
        let asked = Cell::new(0);
        let count = || {
            asked.set(asked.get() + 1);
            Ok(())
        };
        evaluated(query, chain(), &count).unwrap();
        assert!(asked.get() >= asked_min, "{query} asked {} times", asked.get());
        let left = Cell::new(asked_min);
        let stop = || {
            left.set(left.get() - 1);
            if left.get() > 0 { Ok(()) } else { Err(QueryError::Cancelled) }
        };
        let stopped = evaluated(query, chain(), &stop);
        assert!(matches!(stopped, Err(QueryError::Cancelled)), "{query} goes on");
        assert_eq!(left.get(), 0, "{query}");
    }
}
