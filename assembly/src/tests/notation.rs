//! Tiny traces as text, and the expected results as text.
//!
//! A trace is a list of spans: `name<parent kind @service start..end #hash`. The name is the span
//! id, with primes to tell apart spans that share one (`b`, `b'`); all but the name may be left
//! out. `?` is an unknown time; without times a span has none.
//!
//! The expected result is a list of sections. Only the sections that are given are checked:
//! `tree a(b(c) d)`, `self a=1 b=2`, `path a1..3 b3..4`, `async c`, `odd b:MissingParent`,
//! `completion a1..2 ~b2..5 b5..9` (only where something outlives the root; `~b` waited for b),
//! `rule b:CalledSide` (only rules other than the plain ones), `gaps x(b c)2..5`, `queues a>b3..4`,
//! `bounds 1..9`. Where no `odd` is given, no problem may be reported.

use std::collections::{BTreeMap, HashMap};

use tidings_proto::{SpanId, UnixNanos, api::PlaceRule, otlp::SpanKind};

use crate::{Assembled, SpanFacts, Spent, assemble, completion};

/// Assembles `trace` in several orders and compares with the sections of `expected`.
#[track_caller]
pub(super) fn check(trace: &str, expected: &str) {
    let (names, facts) = read(trace);
    let mut orders: Vec<Vec<usize>> = vec![(0..facts.len()).collect()];
    orders.push(orders[0].iter().rev().copied().collect());
    orders.push((0..facts.len()).map(|place| (place + 1) % facts.len()).collect());
    for order in orders {
        let shuffled: Vec<SpanFacts> = order.iter().map(|place| facts[*place]).collect();
        let names: Vec<&str> = order.iter().map(|place| names[*place].as_str()).collect();
        let assembled = assemble(&shuffled);
        let mut sections = describe(&names, &assembled);
        sections.insert("completion", completed(&names, &assembled, &shuffled));
        let mut wanted: BTreeMap<&str, &str> = BTreeMap::from([("odd", "")]);
        let given = expected.split(';').map(str::trim).filter(|section| !section.is_empty());
        wanted.extend(given.map(|section| section.split_once(' ').unwrap_or((section, ""))));
        for (section, wanted) in wanted {
            assert_eq!(sections[section], wanted, "section {section} of {trace}");
        }
    }
}

/// Reads the names and facts of a trace.
pub(super) fn read(trace: &str) -> (Vec<String>, Vec<SpanFacts>) {
    let mut services: HashMap<&str, u32> = HashMap::new();
    trace
        .split(';')
        .map(str::trim)
        .filter(|span| !span.is_empty())
        .map(|span| {
            let mut words = span.split_whitespace();
            let (name, parent) = match words.next().unwrap().split_once('<') {
                Some((name, parent)) => (name, Some(id(parent))),
                None => (span.split_whitespace().next().unwrap(), None),
            };
            let mut facts = SpanFacts {
                span_id: id(name),
                parent_span_id: parent,
                kind: SpanKind::Internal,
                start: UnixNanos(0),
                end: UnixNanos(0),
                service: 0,
                operation: 0,
                content_hash: name.len() as u64,
            };
            for word in words {
                let count = u32::try_from(services.len()).unwrap() + 1;
                match word.split_at(1) {
                    ("@", service) => facts.service = *services.entry(service).or_insert(count),
                    ("#", hash) => facts.content_hash = hash.parse().unwrap(),
                    _ => match word.split_once("..") {
                        Some((start, end)) => (facts.start, facts.end) = (time(start), time(end)),
                        None => facts.kind = kind(word),
                    },
                }
            }
            (name.to_owned(), facts)
        })
        .unzip()
}

fn id(name: &str) -> SpanId {
    let mut bytes = [0; 8];
    let name = name.trim_end_matches('\'').as_bytes();
    bytes[..name.len()].copy_from_slice(name);
    SpanId::from_bytes(bytes).unwrap()
}

fn time(text: &str) -> UnixNanos {
    UnixNanos(match text {
        "?" => 0,
        "max" => u64::MAX,
        "2262" => i64::MAX.unsigned_abs(),
        // Two years later than the small numbers of the other spans.
        "late" => 2 * 366 * 24 * 3_600 * 1_000_000_000,
        _ => text.parse().unwrap(),
    })
}

fn kind(text: &str) -> SpanKind {
    match text {
        "client" => SpanKind::Client,
        "server" => SpanKind::Server,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        "internal" => SpanKind::Internal,
        "unspecified" => SpanKind::Unspecified,
        _ => panic!("{text} is not a kind"),
    }
}

/// Describes the result, section by section.
fn describe(names: &[&str], assembled: &Assembled) -> BTreeMap<&'static str, String> {
    let nodes = &assembled.nodes;
    let name = |node: u32| names[nodes[node as usize].fact as usize];
    let list = |entries: Vec<String>| entries.join(" ");
    let each = |entry: &dyn Fn(usize) -> Option<String>| {
        list((0..nodes.len()).filter_map(entry).collect())
    };
    let named = |node: usize| names[nodes[node].fact as usize];
    let odd = assembled.problems.iter().map(|problem| {
        let about = problem.node.map_or("trace", name);
        format!("{about}:{:?}", problem.kind)
    });
    let path = assembled.critical_path.iter().map(|segment| {
        let end = segment.end.0;
        let end = if end == u64::MAX { "max".to_owned() } else { end.to_string() };
        format!("{}{}..{end}", name(segment.node), segment.start.0)
    });
    let stretch = |start: UnixNanos, end: UnixNanos| format!("{}..{}", start.0, end.0);
    let gaps = assembled.gaps.iter().map(|gap| {
        let missing = gap.span_id.as_bytes().iter().take_while(|byte| **byte != 0);
        let missing: String = missing.map(|byte| char::from(*byte)).collect();
        let children: Vec<&str> = gap.children.iter().map(|child| name(*child)).collect();
        format!("{missing}({}){}", children.join(" "), stretch(gap.bounds.0, gap.bounds.1))
    });
    let queues = assembled.queues.iter().map(|queue| {
        let wait = stretch(queue.start, queue.end);
        format!("{}>{}{wait}", name(queue.producer), name(queue.consumer))
    });
    let rule = |at: usize| {
        let plain = matches!(nodes[at].rule, PlaceRule::NamesNoParent | PlaceRule::NamedParent);
        (!plain).then(|| format!("{}:{:?}", named(at), nodes[at].rule))
    };
    BTreeMap::from([
        ("rule", each(&rule)),
        ("gaps", list(gaps.collect())),
        ("queues", list(queues.collect())),
        ("bounds", stretch(assembled.bounds.0, assembled.bounds.1)),
        ("tree", tree(names, assembled)),
        ("path", list(path.collect())),
        ("odd", list(odd.collect())),
        ("self", each(&|at| Some(format!("{}={}", named(at), nodes[at].self_time.0)))),
        ("duration", each(&|at| Some(format!("{}={}", named(at), nodes[at].duration.0)))),
        ("critical", each(&|at| Some(format!("{}={}", named(at), nodes[at].critical_time.0)))),
        ("async", each(&|at| nodes[at].asynchronous.then(|| named(at).to_owned()))),
    ])
}

fn completed(names: &[&str], assembled: &Assembled, facts: &[SpanFacts]) -> String {
    let found = completion(assembled, facts);
    let segments = found.path.iter().filter(|_| found.outlives).map(|segment| {
        let waited = if segment.spent == Spent::Waiting { "~" } else { "" };
        let name = names[assembled.nodes[segment.node as usize].fact as usize];
        format!("{waited}{name}{}..{}", segment.start.0, segment.end.0)
    });
    segments.collect::<Vec<String>>().join(" ")
}

fn tree(names: &[&str], assembled: &Assembled) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for (at, node) in assembled.nodes.iter().enumerate() {
        if at > 0 && node.depth > depth {
            text.push('(');
        } else if at > 0 {
            text.extend(std::iter::repeat_n(')', (depth - node.depth) as usize));
            text.push(' ');
        }
        depth = node.depth;
        text.push_str(names[node.fact as usize]);
    }
    text.extend(std::iter::repeat_n(')', depth as usize));
    text
}
