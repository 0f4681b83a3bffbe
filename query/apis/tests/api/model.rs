//! Search, compared with a simple evaluation over random spans and random queries.

use std::collections::BTreeMap;

use proptest::{
    collection, option,
    prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, prop_oneof, proptest},
    test_runner::TestCaseError,
};
use serde_json::json;
use tidings_proto::otlp::{SpanKind, StatusCode};

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, span, text, trace_id};

const SERVICES: [&str; 3] = ["shop", "payment", "stock"];
const OPERATIONS: [&str; 3] = ["get", "put", "list"];
const KINDS: [(&str, SpanKind); 2] = [("server", SpanKind::Server), ("client", SpanKind::Client)];
const STATUSES: [(&str, StatusCode); 3] =
    [("unset", StatusCode::Unset), ("ok", StatusCode::Ok), ("error", StatusCode::Error)];

/// A span as numbers: trace, service, operation, kind, status, start, duration, attribute.
type Numbers = (u64, usize, usize, usize, usize, u64, u64, i64);

#[derive(Debug, Clone, Default)]
struct Question {
    service: Option<usize>,
    operation: Option<usize>,
    kind: Option<usize>,
    status: Option<usize>,
    durations: (Option<u64>, Option<u64>),
    times: (Option<u64>, Option<u64>),
    attribute: Option<Option<i64>>,
}

impl Question {
    fn query(&self) -> String {
        let time = |n: u64| (BEGIN + n * MILLI).to_string();
        let attribute = |value: Option<i64>| match value {
            None => "n".to_owned(),
            Some(value) => format!("n={value}"),
        };
        let parts = [
            self.service.map(|n| ("service", SERVICES[n].to_owned())),
            self.operation.map(|n| ("operation", OPERATIONS[n].to_owned())),
            self.kind.map(|n| ("kind", KINDS[n].0.to_owned())),
            self.status.map(|n| ("status", STATUSES[n].0.to_owned())),
            self.durations.0.map(|n| ("minDuration", format!("{n}ms"))),
            self.durations.1.map(|n| ("maxDuration", format!("{n}ms"))),
            self.times.0.map(|n| ("start", time(n))),
            self.times.1.map(|n| ("end", time(n))),
            self.attribute.map(|value| ("attribute", attribute(value))),
        ];
        parts.into_iter().flatten().map(|(name, value)| format!("&{name}={value}")).collect()
    }

    fn matches(&self, numbers: &Numbers) -> bool {
        let (_, service, operation, kind, status, start, duration, attribute) = *numbers;
        self.service.is_none_or(|n| n == service)
            && self.operation.is_none_or(|n| n == operation)
            && self.kind.is_none_or(|n| n == kind)
            && self.status.is_none_or(|n| n == status)
            && self.durations.0.is_none_or(|min| duration >= min)
            && self.durations.1.is_none_or(|max| duration <= max)
            && self.times.0.is_none_or(|from| start >= from)
            && self.times.1.is_none_or(|to| start < to)
            && self.attribute.is_none_or(|wanted| match wanted {
                None => attribute > 0,
                Some(value) => attribute > 0 && attribute == value,
            })
    }
}

fn numbers() -> impl Strategy<Value = Numbers> {
    (1..12_u64, 0..3_usize, 0..3_usize, 0..2_usize, 0..3_usize, 0..30_u64, 0..20_u64, 0..3_i64)
}

fn questions() -> impl Strategy<Value = Question> {
    let range = |max: u64| {
        (option::weighted(0.3, 0..max), option::weighted(0.3, 0..max)).prop_map(|range| match range
        {
            (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b) + 1)),
            open => open,
        })
    };
    let attribute = prop_oneof![
        3 => Just(None),
        1 => Just(Some(None)),
        1 => (1..3_i64).prop_map(|value| Some(Some(value))),
    ];
    let choices = (
        option::weighted(0.4, 0..3_usize),
        option::weighted(0.3, 0..3_usize),
        option::weighted(0.3, 0..2_usize),
        option::weighted(0.3, 0..3_usize),
    );
    (choices, range(20), range(30), attribute).prop_map(|(choices, durations, times, attribute)| {
        let (service, operation, kind, status) = choices;
        Question { service, operation, kind, status, durations, times, attribute }
    })
}

fn built(index: usize, numbers: &Numbers) -> SpanBuilder {
    let (trace, service, operation, kind, status, start, duration, attribute) = *numbers;
    let id = u64::try_from(index).unwrap() + 1;
    let built = span(trace, id, SERVICES[service], OPERATIONS[operation])
        .at(start, start + duration)
        .kind(KINDS[kind].1)
        .status(STATUSES[status].1, "");
    if attribute > 0 { built.attribute("n", attribute) } else { built }
}

fn expected(spans: &[Numbers], question: &Question) -> Vec<String> {
    let mut starts: BTreeMap<u64, u64> = BTreeMap::new();
    for numbers in spans.iter().filter(|numbers| question.matches(numbers)) {
        let start = starts.entry(numbers.0).or_insert(numbers.5);
        *start = numbers.5.min(*start);
    }
    let mut order: Vec<(u64, u64)> = starts.into_iter().collect();
    order.sort_by_key(|(trace, start)| (std::cmp::Reverse(*start), *trace));
    order.into_iter().map(|(trace, _)| trace_id(trace)).collect()
}

/// Sort key of a list, from the spans of a trace and its matching spans.
type Measure = fn(&[&Numbers], &[&Numbers]) -> u64;

const SORTS: [(&str, Measure); 4] = [
    ("duration", |spans, _| {
        let start = spans.iter().map(|span| span.5).min().unwrap();
        spans.iter().map(|span| span.5 + span.6).max().unwrap() - start
    }),
    ("errors", |spans, _| spans.iter().filter(|span| STATUSES[span.4].0 == "error").count() as u64),
    ("spans", |spans, _| spans.len() as u64),
    ("span-duration", |_, matching| matching.iter().map(|span| span.6).max().unwrap()),
];

fn sorted(spans: &[Numbers], question: &Question, measure: Measure) -> Vec<String> {
    let mut traces: BTreeMap<u64, Vec<&Numbers>> = BTreeMap::new();
    for numbers in spans {
        traces.entry(numbers.0).or_default().push(numbers);
    }
    traces.retain(|_, spans| spans.iter().any(|numbers| question.matches(numbers)));
    let value = |spans: &[&Numbers]| {
        let matching: Vec<_> =
            spans.iter().copied().filter(|span| question.matches(span)).collect();
        measure(spans, &matching)
    };
    let mut order: Vec<(u64, u64)> =
        traces.iter().map(|(trace, spans)| (value(spans), *trace)).collect();
    order.sort_by_key(|(value, trace)| (std::cmp::Reverse(*value), *trace));
    order.into_iter().map(|(_, trace)| trace_id(trace)).collect()
}

/// Returns the traces of all pages of a search.
async fn pages(harness: &Harness, query: &str, count: usize) -> Result<Vec<String>, TestCaseError> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = harness.get(&format!("/traces?limit=3{cursor}{query}")).await;
        prop_assert_eq!(&page["total"], &json!({"value": count, "relation": "exact"}));
        let traces = page["traces"].as_array().unwrap();
        found.extend(traces.iter().map(|trace| text(&trace["traceId"])));
        let Some(next) = page.get("nextCursor") else { return Ok(found) };
        cursor = format!("&cursor={}", text(next));
    }
}

async fn check(spans: Vec<Numbers>, questions: Vec<Question>) -> Result<(), TestCaseError> {
    let harness = Harness::new().await;
    let (first, second) = spans.split_at(spans.len() / 2);
    let offset = first.len();
    harness.send(first.iter().enumerate().map(|(index, span)| built(index, span))).await;
    harness.send(second.iter().enumerate().map(|(index, span)| built(offset + index, span))).await;
    // Repeated spans count once.
    harness.send(first.iter().enumerate().map(|(index, span)| built(index, span))).await;
    for question in questions {
        let (expected, query) = (expected(&spans, &question), question.query());
        prop_assert_eq!(&pages(&harness, &query, expected.len()).await?, &expected);
        for (sort, measure) in SORTS {
            let query = format!("{query}&sort={sort}");
            let found = pages(&harness, &query, expected.len()).await?;
            prop_assert_eq!(found, sorted(&spans, &question, measure), "{}", query);
        }
    }
    let failed = Question { status: Some(2), ..Question::default() };
    for (sort, measure) in SORTS {
        let (query, expected) =
            (format!("&sort={sort}&q=%7Bstatus=error%7D"), sorted(&spans, &failed, measure));
        prop_assert_eq!(pages(&harness, &query, expected.len()).await?, expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn search_finds_what_looking_at_every_span_finds(
        spans in collection::vec(numbers(), 1..60),
        questions in collection::vec(questions(), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(spans, questions))?;
    }
}
