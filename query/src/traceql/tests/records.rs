//! Queries about log records, compared with a simple evaluation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{collection::vec, prelude::*, sample::select};
use tidings_proto::otlp::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, LogRecord, ResourceLogs, ResourceSpans,
    ScopeLogs, ScopeSpans, Severity, Span,
};
use tidings_storage::{
    Clock, LogFilter, Store, StoreSettings, SystemClock, TelemetryBatch, TimeRange,
};
use tidings_traceql::{Fields, compile};

use super::super::{
    display::DisplayLimits,
    native::stages_of,
    overlap::TimeSelection,
    records::necessary_filters,
    spanset_search::{TraceqlResult, TraceqlSearch, found},
};
use crate::{
    QueryLimits, QuerySettings,
    execution::{Execution, QueryClient},
};

const BEGIN: u64 = 1_795_161_600_000_000_000;
const BODIES: [&str; 6] =
    ["card timeout", "Timeout after 3 s", "no route", "", "lost", "lost\nno route"];
/// Reference implementation of a pattern: reports whether a text matches.
type Matches = fn(&str) -> bool;

const PATTERNS: [(&str, Matches); 6] = [
    (".*timeout.*", |body| body.contains("timeout")),
    ("(?i).*TIMEOUT.*", |body| body.to_lowercase().contains("timeout")),
    ("lost|no route", |body| body == "lost" || body == "no route"),
    (".*", |_| true),
    ("xyz.*", |body| body.starts_with("xyz")),
    ("(lost.)?no rou+te", |body| body.ends_with("no route")),
];

/// Contents of a span's log records: texts and severities.
type RecordTexts = Vec<(&'static str, Option<Severity>)>;

/// A condition on log records.
#[derive(Debug, Clone)]
enum Condition {
    Body { equal: bool, text: &'static str },
    Pattern { matches: bool, number: usize },
    Severity { operator: &'static str, severity: Severity },
    HasBody(bool),
    HasSeverity(bool),
    Not(Box<Self>),
    All(Box<Self>, Box<Self>),
    Any(Box<Self>, Box<Self>),
}

impl Condition {
    fn written(&self) -> String {
        let sign = |equal: &bool| if *equal { "=" } else { "!=" };
        match self {
            Self::Body { equal, text } => format!("log:body {} {text:?}", sign(equal)),
            Self::Pattern { matches, number } => {
                let sign = if *matches { "=~" } else { "!~" };
                format!("log:body {sign} \"{}\"", PATTERNS[*number].0)
            }
            Self::Severity { operator, severity } => {
                format!("log:severity {operator} {}", severity.word())
            }
            Self::HasBody(has) => format!("log:body {} nil", sign(&!has)),
            Self::HasSeverity(has) => format!("log:severity {} nil", sign(&!has)),
            Self::Not(inner) => format!("!({})", inner.written()),
            Self::All(one, other) => format!("({} && {})", one.written(), other.written()),
            Self::Any(one, other) => format!("({} || {})", one.written(), other.written()),
        }
    }

    fn holds(&self, said: &RecordTexts) -> bool {
        let bodies: Vec<&str> = said.iter().map(|record| record.0).collect();
        let severities: Vec<Severity> = said.iter().filter_map(|record| record.1).collect();
        match self {
            Self::Body { equal: true, text } => bodies.contains(text),
            Self::Body { equal: false, text } => !bodies.is_empty() && !bodies.contains(text),
            Self::Pattern { matches: true, number } => {
                bodies.into_iter().any(|body| PATTERNS[*number].1(body))
            }
            Self::Pattern { matches: false, number } => {
                !bodies.is_empty() && !bodies.into_iter().any(|body| PATTERNS[*number].1(body))
            }
            Self::Severity { operator, severity: than } => {
                let mut all = severities.iter();
                match *operator {
                    "=" => all.any(|each| each == than),
                    "!=" => !severities.is_empty() && all.all(|each| each != than),
                    ">" => all.any(|each| each > than),
                    ">=" => all.any(|each| each >= than),
                    "<" => all.any(|each| each < than),
                    _ => all.any(|each| each <= than),
                }
            }
            Self::HasBody(has) => bodies.is_empty() != *has,
            Self::HasSeverity(has) => severities.is_empty() != *has,
            Self::Not(inner) => !inner.holds(said),
            Self::All(one, other) => one.holds(said) && other.holds(said),
            Self::Any(one, other) => one.holds(said) || other.holds(said),
        }
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let operators = ["=", "!=", ">", ">=", "<", "<="];
    let single = prop_oneof![
        (any::<bool>(), select(&BODIES[..]))
            .prop_map(|(equal, text)| Condition::Body { equal, text }),
        (any::<bool>(), 0..PATTERNS.len())
            .prop_map(|(matches, number)| Condition::Pattern { matches, number }),
        (select(operators.to_vec()), select(Severity::ALL.to_vec()))
            .prop_map(|(operator, severity)| Condition::Severity { operator, severity }),
        any::<bool>().prop_map(Condition::HasBody),
        any::<bool>().prop_map(Condition::HasSeverity),
    ];
    single.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            (inner.clone(), inner.clone())
                .prop_map(|(one, other)| Condition::All(Box::new(one), Box::new(other))),
            (inner.clone(), inner)
                .prop_map(|(one, other)| Condition::Any(Box::new(one), Box::new(other))),
        ]
    })
}

/// Traces, each a chain of this number of spans.
const TRACES: [(u8, u64); 4] = [(1, 1), (2, 3), (3, 2), (4, 1)];

/// A record: its trace, its span (0 for none; some do not exist), its content, and the number of
/// times that it is sent.
type Sent = (u8, u64, (&'static str, Option<Severity>), usize);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let severity = proptest::option::weighted(0.8, select(Severity::ALL.to_vec()));
    vec((1..5_u8, 0..5_u64, (select(&BODIES[..]), severity), 1..3_usize), 0..10)
}

async fn store_of(sent: &[Sent], is_flushed: bool) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { disk_reserve_bytes: 0, ..StoreSettings::new(folder.path()) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(settings, clock).await.unwrap();
    let spans = TRACES.into_iter().flat_map(|(trace, spans)| {
        (1..=spans).map(move |id| Span {
            trace_id: vec![trace; 16],
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if id == 1 { Vec::new() } else { (id - 1).to_be_bytes().to_vec() },
            start_time_unix_nano: BEGIN + u64::from(trace) * 1_000 + id,
            end_time_unix_nano: BEGIN + u64::from(trace) * 1_000 + 100 - id,
            ..Span::default()
        })
    });
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans };
    store.append(TelemetryBatch::Traces { request, bytes: None }).await.unwrap();
    for (at, (trace, span, (body, severity), times)) in (0..).zip(sent) {
        let record = LogRecord {
            time_unix_nano: BEGIN + at,
            severity_number: severity.map_or(0, Severity::first_number),
            body: Some((*body).into()),
            trace_id: vec![*trace; 16],
            span_id: if *span == 0 { Vec::new() } else { span.to_be_bytes().to_vec() },
            ..LogRecord::default()
        };
        for _ in 0..*times {
            let scope_logs =
                vec![ScopeLogs { log_records: vec![record.clone()], ..ScopeLogs::default() }];
            let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
            let request = ExportLogsServiceRequest { resource_logs };
            store.append(TelemetryBatch::Logs { request, bytes: None }).await.unwrap();
        }
    }
    if is_flushed {
        store.flush().await.unwrap();
    }
    (folder, store)
}

async fn answer(store: &Store, query: &str) -> TraceqlResult {
    let settings = QuerySettings { search_rows_max: u64::MAX, ..QuerySettings::default() };
    let execution = Execution::new(Arc::new(SystemClock), QueryLimits::default());
    let stages = stages_of(query).unwrap();
    let work = move |reader: &crate::execution::Reader| {
        let times = TimeSelection::OfResult(TimeRange::default());
        let limit = 100;
        let shown = DisplayLimits::spans(9);
        found(reader, &TraceqlSearch { stages, times, limit, shown, after: None, among: None })
    };
    execution
        .run(store, &Arc::new(settings), Arc::default(), QueryClient::default(), work)
        .await
        .unwrap()
}

/// Reference evaluation: reports whether a span of a chain is found, given the results of both
/// conditions for each span.
type Finds = fn(&[bool], &[bool], usize) -> bool;

/// Query forms that combine two conditions.
const FORMS: [(&str, Finds); 6] = [
    ("{ A }", |a, _, at| a[at]),
    ("{ A } || { B }", |a, b, at| a[at] || b[at]),
    ("{ A } && { B }", |a, b, at| (a[at] || b[at]) && a.contains(&true) && b.contains(&true)),
    ("{ A } > { B }", |a, b, at| at > 0 && a[at - 1] && b[at]),
    ("{ A } !> { B }", |a, b, at| b[at] && !(at > 0 && a[at - 1])),
    ("{ A } &> { B }", |a, b, at| {
        let is_child = at > 0 && a[at - 1] && b[at];
        is_child || (at + 1 < a.len() && a[at] && b[at + 1])
    }),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn queries_about_log_records_find_what_looking_at_each_finds(
        sent in sent(),
        asked in vec((condition(), condition(), 0..FORMS.len()), 16),
    ) {
        let mut said: BTreeMap<(u8, u64), RecordTexts> = BTreeMap::new();
        for (trace, span, says, _) in &sent {
            said.entry((*trace, *span)).or_default().push(*says);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for is_flushed in [false, true] {
                let (_folder, store) = store_of(&sent, is_flushed).await;
                for (a, b, form) in &asked {
                    let (form, finds) = FORMS[*form];
                    let query = form.replace('B', &b.written()).replace('A', &a.written());
                    let mut expected = BTreeSet::new();
                    for (trace, spans) in TRACES {
                        let of = |condition: &Condition| -> Vec<bool> {
                            let each = (1..=spans).map(|span| {
                                condition.holds(said.get(&(trace, span)).unwrap_or(&RecordTexts::new()))
                            });
                            each.collect()
                        };
                        let (a, b) = (of(a), of(b));
                        let spans = usize::try_from(spans).unwrap();
                        let found = (0..spans).filter(|at| finds(&a, &b, *at));
                        expected.extend(found.map(|at| (trace, at + 1)));
                    }
                    let found = answer(&store, &query).await;
                    prop_assert!(found.stats.complete);
                    let spans = found.traces.iter().flat_map(|trace| {
                        let number = trace.trace_id.as_bytes()[0];
                        let spans = trace.spansets.iter().flat_map(|spanset| &spanset.spans);
                        spans.map(move |span| (number, usize::from(span.span_id.as_bytes()[7])))
                    });
                    let spans: BTreeSet<(u8, usize)> = spans.collect();
                    prop_assert_eq!(spans, expected, "{} {}", query, is_flushed);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn only_traces_whose_records_can_say_it_are_evaluated() {
    let (_folder, store) = store_of(
        &[
            (1, 1, ("card timeout", Some(Severity::Error)), 1),
            (2, 2, ("Timeout after 3 s", Some(Severity::Info)), 1),
            (3, 1, ("no route", Some(Severity::Warn)), 1),
        ],
        true,
    )
    .await;
    for (query, evaluated, matching) in [
        ("{ log:body =~ \".*timeout.*\" }", 2, 1),
        ("{ log:body =~ \"(?i).*timeout.*\" }", 2, 2),
        ("{ log:body = \"no route\" }", 1, 1),
        ("{ log:body =~ \".*\" }", 4, 3),
        ("{ log:severity >= error }", 1, 1),
        ("{ log:severity <= info }", 4, 1),
        ("{ log:body = \"nobody says this\" }", 0, 0),
        ("{ log:body = \"no route\" } || { log:body =~ \"card.+\" }", 2, 2),
        ("{ log:body = \"no route\" } > {}", 1, 1),
    ] {
        let found = answer(&store, query).await;
        let counts = (found.inspected, found.traces.len());
        assert_eq!(counts, (evaluated, matching), "{query}");
    }
}

#[test]
fn log_filters_of_traces_follow_from_the_query() {
    let text = |text: &str| LogFilter { text: Some(text.to_owned()), ..LogFilter::default() };
    let severe =
        |least: Severity| LogFilter { severity_min: Some(least.into()), ..LogFilter::default() };
    let (lost, found) = ("log:body =~ \".*lost.*\"", "log:body = \"found\"");
    for (query, expected) in [
        ("{}".to_owned(), None),
        (format!("{{ {lost} }}"), Some(vec![text("lost")])),
        (format!("{{ parent.{lost} && name = \"x\" }}"), Some(vec![text("lost")])),
        (format!("{{ {lost} && {found} }}"), Some(vec![text("found")])),
        (format!("{{ {lost} || {found} }}"), Some(vec![text("lost"), text("found")])),
        (format!("{{ {lost} || name = \"x\" }}"), None),
        (format!("{{ !({lost}) }}"), None),
        ("{ log:body !~ \".*lost.*\" }".to_owned(), None),
        ("{ log:body != nil }".to_owned(), None),
        ("{ log:body = \"no\" }".to_owned(), None),
        ("{ \"found\" = log:body }".to_owned(), Some(vec![text("found")])),
        ("{ log:severity > warn }".to_owned(), Some(vec![severe(Severity::Warn)])),
        ("{ log:severity = fatal }".to_owned(), Some(vec![severe(Severity::Fatal)])),
        ("{ log:severity >= info }".to_owned(), None),
        ("{ log:severity != error }".to_owned(), None),
        (format!("{{ log:severity = error && {lost} }}"), Some(vec![text("lost")])),
        (format!("{{ {lost} }} >> {{ {found} }}"), Some(vec![text("found")])),
        (format!("{{ {lost} }} >> {{}}"), Some(vec![text("lost")])),
        (format!("{{ {lost} }} !>> {{}}"), None),
        (format!("{{}} !>> {{ {lost} }}"), Some(vec![text("lost")])),
        (format!("{{ {lost} }} && {{}}"), Some(vec![text("lost")])),
        (format!("{{ {lost} }} || {{}}"), None),
        (format!("{{}} | {{ {lost} }} | count() > 1"), Some(vec![text("lost")])),
        (format!("({{ {lost} }} | count()) = 0"), None),
    ] {
        let mut fields = Fields::default();
        let stages = compile(&stages_of(&query).unwrap(), &mut fields);
        assert_eq!(necessary_filters::from_stages(&stages, &fields), expected, "{query}");
    }
}
