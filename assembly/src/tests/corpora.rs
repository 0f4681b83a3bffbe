//! Cases of other projects, read where their files are present.
//!
//! Their ids and names are arbitrary texts and their times arbitrary numbers. Names are numbered
//! here, and times are shifted because 0 means unknown.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use serde_json::Value;
use tidings_proto::{SpanId, UnixNanos, otlp::SpanKind};

use crate::{Assembled, SpanFacts, assemble};

const SHIFT: u64 = 1_000;

/// Returns the JSON files of a corpus with their names; none where the corpus is missing.
fn files(corpus: &str) -> Vec<(String, Value)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora"));
    let mut folders = vec![root.join(corpus)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            eprintln!("skipped: no {}", folder.display());
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(root.join(corpus)).unwrap().display().to_string();
                files.push((name, serde_json::from_str(&text).unwrap()));
            }
        }
    }
    files
}

/// Numbers for texts, from 1.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap() + 1;
        *self.0.entry(name.to_owned()).or_insert(next)
    }

    fn id(&mut self, name: &str) -> SpanId {
        SpanId::from_bytes(u64::from(self.number(name)).to_be_bytes()).unwrap()
    }
}

fn kind(name: &str) -> SpanKind {
    match name.to_lowercase().as_str() {
        "client" => SpanKind::Client,
        "server" => SpanKind::Server,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        "internal" => SpanKind::Internal,
        _ => SpanKind::Unspecified,
    }
}

/// Returns the facts of a trace in Jaeger's JSON.
fn jaeger(trace: &Value) -> Vec<SpanFacts> {
    let mut names = Names::default();
    let spans = trace["spans"].as_array().unwrap();
    (0..)
        .zip(spans)
        .map(|(content_hash, span)| {
            let process = &trace["processes"][span["processID"].as_str().unwrap()];
            let start = SHIFT + span["startTime"].as_u64().unwrap();
            let tags = span["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
            let said = tags.iter().find(|tag| tag["key"] == "span.kind");
            SpanFacts {
                span_id: names.id(span["spanID"].as_str().unwrap()),
                parent_span_id: span["references"][0]["spanID"].as_str().map(|id| names.id(id)),
                kind: kind(said.and_then(|tag| tag["value"].as_str()).unwrap_or_default()),
                start: UnixNanos(start),
                end: UnixNanos(start + span["duration"].as_u64().unwrap()),
                service: names.number(process["serviceName"].as_str().unwrap()),
                operation: names.number(span["operationName"].as_str().unwrap()),
                content_hash,
            }
        })
        .collect()
}

fn fact_of(assembled: &Assembled, node: u32) -> usize {
    assembled.nodes[node as usize].fact as usize
}

#[test]
fn the_path_is_the_one_jaegers_ui_documents() {
    for (file, case) in files("critical-path-jaeger-ui") {
        let assembled = assemble(&jaeger(&case["trace"]));
        let name = |node| &case["trace"]["spans"][fact_of(&assembled, node)]["spanID"];
        let found: Vec<_> = assembled
            .critical_path
            .iter()
            .rev()
            .map(|segment| (name(segment.node), segment.start.0 - SHIFT, segment.end.0 - SHIFT))
            .collect();
        let sections = case["expected"]["criticalPathSections"].as_array().unwrap();
        let wanted: Vec<_> = sections
            .iter()
            .map(|section| {
                let time = |key: &str| section[key].as_u64().unwrap();
                (&section["spanID"], time("sectionStart"), time("sectionEnd"))
            })
            .collect();
        assert_eq!(found, wanted, "{file}");
    }
}

/// CRISP treats a sibling that overlaps the next one a little as finished before it. Here, as in
/// Jaeger, both ran at once and the time before the later one is the parent's.
const CRISP_DIFFERS: [&str; 2] = ["19.json", "21.json"];

#[test]
fn time_on_the_path_per_operation_is_what_crisp_documents() {
    for (file, case) in files("critical-path-crisp") {
        let trace = &case["data"][0];
        let facts = jaeger(trace);
        let assembled = assemble(&facts);
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for node in &assembled.nodes {
            let span = &trace["spans"][node.fact as usize];
            let process = &trace["processes"][span["processID"].as_str().unwrap()];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let key =
                format!("[{}] {}", text(&process["serviceName"]), text(&span["operationName"]));
            *found.entry(key).or_default() += node.critical_time.0;
        }
        let answer = &case["testing"];
        let answer = answer.get("opTimeExclusive").unwrap_or(&answer[0]).as_object().unwrap();
        let wanted: BTreeMap<String, u64> = answer
            .iter()
            .map(|(operation, time)| (operation.clone(), time.as_u64().unwrap()))
            .filter(|(_, time)| *time > 0)
            .collect();
        assert_eq!(found.values().sum::<u64>(), assembled.nodes[0].duration.0, "{file}");
        found.retain(|_, time| *time > 0);
        assert_eq!(
            found == wanted,
            !CRISP_DIFFERS.contains(&file.as_str()),
            "{file} {found:?} {wanted:?}"
        );
    }
}

/// Returns the facts of a trace in Zipkin's JSON. A half that is marked as shared is a called side.
fn zipkin(spans: &[Value]) -> Vec<SpanFacts> {
    let mut names = Names::default();
    let distinct: Vec<String> = spans.iter().map(Value::to_string).collect();
    spans
        .iter()
        .zip(&distinct)
        .map(|(span, text)| {
            let same = distinct.iter().position(|other| other == text).unwrap();
            let said = span["kind"].as_str().unwrap_or_default();
            let shared = span["shared"] == true;
            let start = span["timestamp"].as_u64().unwrap_or(0);
            SpanFacts {
                span_id: names.id(span["id"].as_str().unwrap()),
                parent_span_id: span["parentId"].as_str().map(|id| names.id(id)),
                kind: if shared { SpanKind::Server } else { kind(said) },
                start: UnixNanos(start),
                end: UnixNanos(start + span["duration"].as_u64().unwrap_or(0)),
                service: names.number(span["localEndpoint"]["serviceName"].as_str().unwrap_or("")),
                operation: 0,
                content_hash: same as u64,
            }
        })
        .collect()
}

/// Returns the pairs of parent and child, sorted. Called sides that share an id are primed.
fn branches(spans: &[Value], assembled: &Assembled) -> Vec<String> {
    let name = |node: &crate::Node| {
        let span = &spans[node.fact as usize];
        let service = span["localEndpoint"]["serviceName"].as_str().unwrap_or_default();
        let shared = if span["shared"] == true { "'" } else { "" };
        format!("{}{shared}{service}", span["id"].as_str().unwrap())
    };
    let above = |node: &crate::Node| node.parent.map(|parent| &assembled.nodes[parent as usize]);
    let mut branches: Vec<String> = assembled
        .nodes
        .iter()
        .map(|node| format!("{}/{}", above(node).map_or(String::new(), name), name(node)))
        .collect();
    branches.sort_unstable();
    branches
}

#[test]
fn zipkins_trees_come_out_whole() {
    let expected: HashMap<&str, &[&str]> = HashMap::from([
        // Zipkin puts the second root under the first. Here both are roots, and a problem is
        // reported.
        ("redundantIgnored", ["/a", "/b"].as_slice()),
        ("duplicateRoots", &["/a", "/b"]),
        ("sharedId", &["/a", "a/b", "b'/c", "b/b'"]),
        (
            "qualifiesChildrenOfDuplicateServerSpans",
            &["/a", "a/b", "b'bar/cbar", "b'foo/dfoo", "b/b'bar", "b/b'foo"],
        ),
        ("headless", &["/b", "/c", "/d"]),
        ("changingIps", &["/c'my-service", "c'my-service/amy-service", "c'my-service/bmy-service"]),
    ]);
    for (_, cases) in files("zipkin-span-tree") {
        for case in cases.as_array().unwrap() {
            let spans = case["input"].as_array().unwrap();
            let name = case["case"].as_str().unwrap();
            assert_eq!(branches(spans, &assemble(&zipkin(spans))), expected[name], "{name}");
        }
    }
}

#[test]
fn each_shared_half_of_zipkins_merges_hangs_under_its_caller() {
    for (_, cases) in files("zipkin-trace-merge") {
        for case in cases.as_array().unwrap() {
            let spans = case["input"].as_array().unwrap();
            let facts = zipkin(spans);
            let assembled = assemble(&facts);
            for node in &assembled.nodes {
                let above = node.parent.map(|parent| &spans[fact_of(&assembled, parent)]);
                if spans[node.fact as usize]["shared"] == true {
                    let above = above.unwrap();
                    assert_eq!(above["id"], spans[node.fact as usize]["id"], "{}", case["case"]);
                    assert_eq!(above["kind"], "CLIENT", "{}", case["case"]);
                }
            }
        }
    }
}

#[test]
fn jaegers_split_of_a_shared_id_gives_the_same_tree() {
    for (_, cases) in files("jaeger-adjusters") {
        let case = &cases[0]["input"];
        let mut names = Names::default();
        let facts: Vec<SpanFacts> = (0..)
            .zip(case.as_array().unwrap())
            .map(|(content_hash, span)| SpanFacts {
                span_id: names.id(span["spanId"].as_str().unwrap()),
                parent_span_id: span["parentSpanId"].as_str().map(|id| names.id(id)),
                kind: kind(span["kind"].as_str().unwrap_or_default()),
                start: UnixNanos(0),
                end: UnixNanos(0),
                service: 0,
                operation: 0,
                content_hash,
            })
            .collect();
        let nodes = assemble(&facts).nodes;
        assert_eq!(nodes.iter().map(|node| node.fact).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(nodes.iter().map(|node| node.depth).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
