//! Compares tags, types and repetition of our messages with the schemas that define them.
//!
//! Both are parsed from text: the `.proto` files among the corpora, and the `#[prost(…)]`
//! attributes in our sources. Our messages may leave fields out, except where no field may be lost.
//! Schemas that the corpora lack are listed here with the numbers and types of their fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::{architecture::sources, harness::corpora};

/// One of our source files, and the schemas that define its messages.
struct SchemaSource {
    file: &'static str,
    /// Files among the corpora.
    schemas: &'static [&'static str],
    /// Definitions of messages that those files lack.
    written: &'static str,
    /// Pairs of our name and the schema's name, where they differ. One message of ours can stand
    /// for several.
    renamed: &'static [(&'static str, &'static str)],
    /// Messages that other schemas define.
    others: &'static [&'static str],
    /// True where no field of a schema may be left out.
    is_whole: bool,
}

/// Fields that are left out even where no field may be lost. The dictionary that they index exists
/// only in profiles.
const LEFT_OUT: &[(&str, u32)] = &[("AnyValue", 8), ("KeyValue", 3)];

const SOURCES: &[SchemaSource] = &[
    SchemaSource {
        file: "proto/src/otlp/trace_data.rs",
        schemas: &["otlp-schema/opentelemetry/proto/trace/v1/trace.proto"],
        written: "",
        renamed: &[("Event", "Span.Event"), ("Link", "Span.Link")],
        others: &[],
        is_whole: true,
    },
    SchemaSource {
        file: "proto/src/otlp/log_data.rs",
        schemas: &["otlp-schema/opentelemetry/proto/logs/v1/logs.proto"],
        written: "",
        renamed: &[],
        others: &[],
        is_whole: true,
    },
    SchemaSource {
        file: "proto/src/otlp/common.rs",
        schemas: &[
            "otlp-schema/opentelemetry/proto/common/v1/common.proto",
            "otlp-schema/opentelemetry/proto/resource/v1/resource.proto",
        ],
        written: "",
        renamed: &[],
        others: &[],
        is_whole: true,
    },
    SchemaSource {
        file: "proto/src/otlp/collector.rs",
        schemas: &[
            "otlp-schema/opentelemetry/proto/collector/trace/v1/trace_service.proto",
            "otlp-schema/opentelemetry/proto/collector/logs/v1/logs_service.proto",
        ],
        written: "",
        renamed: &[],
        others: &[],
        is_whole: true,
    },
    SchemaSource {
        file: "proto/src/otlp/metric_data.rs",
        schemas: &[
            "otlp-schema/opentelemetry/proto/metrics/v1/metrics.proto",
            "otlp-schema/opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
        ],
        written: "",
        renamed: &[
            ("MetricMessage", "Metric"),
            ("GaugePoints", "Gauge"),
            ("SumPoints", "Sum"),
            ("HistogramPoints", "Histogram"),
        ],
        others: &[],
        is_whole: false,
    },
    SchemaSource {
        file: "proto/src/jaeger/model.rs",
        schemas: &["jaeger-schema/proto/api_v2/model.proto"],
        written: "",
        renamed: &[("Tag", "KeyValue")],
        others: &["Seconds"],
        is_whole: false,
    },
    SchemaSource {
        file: "proto/src/jaeger/rpc.rs",
        schemas: &[
            "jaeger-schema/proto/api_v2/query.proto",
            "jaeger-schema/proto/api_v3/query_service.proto",
        ],
        written: JAEGER_STORAGE,
        renamed: &[
            ("GetTraceByBytes", "GetTraceRequest"),
            ("GetTraceByText", "GetTraceRequest"),
            ("FindTraces", "FindTracesRequest"),
            ("TraceQuery", "TraceQueryParameters"),
            ("Services", "GetServicesResponse"),
            ("Services", "storage.GetServicesResponse"),
            ("GetOperations", "GetOperationsRequest"),
            ("GetOperations", "storage.GetOperationsRequest"),
            ("Operation", "Operation"),
            ("Operation", "storage.Operation"),
            ("Operations", "GetOperationsResponse"),
            ("Operations", "storage.GetOperationsResponse"),
            ("NamedOperations", "GetOperationsResponse"),
            ("GetDependencies", "GetDependenciesRequest"),
            ("GetDependencies", "storage.GetDependenciesRequest"),
            ("Dependencies", "GetDependenciesResponse"),
            ("Dependencies", "storage.GetDependenciesResponse"),
            ("GetTraces", "storage.GetTracesRequest"),
            ("FindStoredTraces", "storage.FindTracesRequest"),
            ("StoredTraceQuery", "storage.TraceQueryParameters"),
            ("FoundTraceIds", "storage.FindTraceIDsResponse"),
            ("FoundTraceId", "storage.FoundTraceID"),
        ],
        others: &[],
        is_whole: false,
    },
    SchemaSource {
        file: "proto/src/zipkin/protobuf.rs",
        schemas: &["zipkin-schema/zipkin.proto"],
        written: "",
        renamed: &[],
        others: &["Tag"],
        is_whole: true,
    },
    SchemaSource {
        file: "query/apis/src/http/tempo/messages.rs",
        schemas: &["tempo-api-apache/tempo.proto"],
        written: "",
        renamed: &[
            ("SpanEntry", "Span"),
            ("TagsRequest", "SearchTagsRequest"),
            ("TagsResponse", "SearchTagsResponse"),
            ("ScopedTagsResponse", "SearchTagsV2Response"),
            ("ScopedTags", "SearchTagsV2Scope"),
            ("ValuesRequest", "SearchTagValuesRequest"),
            ("ValuesResponse", "SearchTagValuesResponse"),
            ("TypedValuesResponse", "SearchTagValuesV2Response"),
            ("TypedValue", "TagValue"),
            ("MetricsRequest", "QueryRangeRequest"),
            ("RangeResponse", "QueryRangeResponse"),
            ("ExemplarEntry", "Exemplar"),
            ("InstantResponse", "QueryInstantResponse"),
        ],
        others: &[],
        is_whole: false,
    },
    SchemaSource {
        file: "query/apis/src/http/tempo/trace_by_id.rs",
        schemas: &["tempo-api-apache/tempo.proto"],
        written: "",
        renamed: &[("TraceMetrics", "TraceByIDMetrics"), ("TraceResponse", "TraceByIDResponse")],
        others: &[],
        is_whole: false,
    },
    SchemaSource {
        file: "collector/src/receive/otlp_grpc.rs",
        schemas: &[],
        written: HEALTH,
        renamed: &[],
        others: &[],
        is_whole: true,
    },
    SchemaSource {
        file: "proto/src/otlp/rpc.rs",
        schemas: &[],
        written: RPC,
        renamed: &[("ProtoDuration", "Duration")],
        others: &[],
        is_whole: false,
    },
];

/// Fields of `jaeger.storage.v2`, copied from `proto/storage/v2` of jaegertracing/jaeger-idl at
/// 74be5630. Other packages have messages of the same names.
const JAEGER_STORAGE: &str = "
    message storage.GetTracesRequest { repeated GetTraceParams = 1; }
    message storage.GetServicesResponse { repeated string = 1; }
    message storage.GetOperationsRequest { string = 1; string = 2; }
    message storage.Operation { string = 1; string = 2; }
    message storage.GetOperationsResponse { repeated Operation = 1; }
    message storage.TraceQueryParameters {
        string = 1; string = 2; repeated KeyValue = 3; Timestamp = 4; Timestamp = 5; Duration = 6;
        Duration = 7; int32 = 8; Call = 9;
    }
    message storage.FindTracesRequest { TraceQueryParameters = 1; }
    message storage.FoundTraceID { bytes = 1; Timestamp = 2; Timestamp = 3; }
    message storage.FindTraceIDsResponse { repeated FoundTraceID = 1; }
    message storage.GetDependenciesRequest { Timestamp = 1; Timestamp = 2; }
    message storage.GetDependenciesResponse { repeated Dependency = 1; }
";

/// Fields of `grpc.health.v1`, copied from `grpc/health/v1/health.proto` of grpc/grpc-proto at
/// 0879266b.
const HEALTH: &str = "
    enum ServingStatus {}
    message HealthCheckRequest { string = 1; }
    message HealthCheckResponse { ServingStatus = 1; }
";

/// Fields of `google.rpc` and of `google.protobuf`, copied from `status.proto` and
/// `error_details.proto` of the crate tonic-types 0.14.9, and from `any.proto` and
/// `duration.proto` of protobuf.
const RPC: &str = "
    message Status { int32 = 1; string = 2; repeated Any = 3; }
    message Any { string = 1; bytes = 2; }
    message Duration { int64 = 1; int32 = 2; }
    message RetryInfo { Duration = 1; }
    message BadRequest { repeated FieldViolation = 1; }
    message FieldViolation { string = 1; string = 2; string = 3; LocalizedMessage = 4; }
";

/// Files with messages that are in no schema, with the reason.
const WITHOUT_SCHEMA: &[(&str, &str)] = &[
    ("sql/src/flight/command.rs", "handles of queries, which this server alone reads"),
    ("query/apis/src/http/grpc_calls.rs", "a message of its tests"),
];

/// The schemas that reflection serves.
const SERVED: &str = "docs/grpc";

/// Served schemas by our source whose messages they describe, each with the prefix of its names in
/// `renamed` there.
const DESCRIBED: &[(&str, &[(&str, &str)])] = &[
    (
        "proto/src/otlp/common.rs",
        &[
            ("opentelemetry/proto/common/v1/common.proto", ""),
            ("opentelemetry/proto/resource/v1/resource.proto", ""),
        ],
    ),
    ("proto/src/otlp/trace_data.rs", &[("opentelemetry/proto/trace/v1/trace.proto", "")]),
    ("proto/src/jaeger/model.rs", &[("jaeger/api_v2/model.proto", "")]),
    (
        "proto/src/jaeger/rpc.rs",
        &[
            ("jaeger/api_v2/query.proto", ""),
            ("jaeger/api_v3/query_service.proto", ""),
            ("jaeger/storage/v2/trace_storage.proto", "storage."),
            ("jaeger/storage/v2/dependency_storage.proto", "storage."),
        ],
    ),
    ("query/apis/src/http/tempo/messages.rs", &[("tempopb/tempo.proto", "")]),
];

/// Served schemas, and those of the corpora from which their names are.
const COPIED: &[(&str, &str)] = &[
    (
        "opentelemetry/proto/common/v1/common.proto",
        "otlp-schema/opentelemetry/proto/common/v1/common.proto",
    ),
    (
        "opentelemetry/proto/resource/v1/resource.proto",
        "otlp-schema/opentelemetry/proto/resource/v1/resource.proto",
    ),
    (
        "opentelemetry/proto/trace/v1/trace.proto",
        "otlp-schema/opentelemetry/proto/trace/v1/trace.proto",
    ),
    ("jaeger/api_v2/model.proto", "jaeger-schema/proto/api_v2/model.proto"),
    ("jaeger/api_v2/query.proto", "jaeger-schema/proto/api_v2/query.proto"),
    ("jaeger/api_v3/query_service.proto", "jaeger-schema/proto/api_v3/query_service.proto"),
    ("tempopb/tempo.proto", "tempo-api-apache/tempo.proto"),
];

/// Type and repetition of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SchemaField {
    kind: String,
    is_repeated: bool,
}

type SchemaFields = BTreeMap<u32, SchemaField>;

#[test]
fn schemas_are_read() {
    let text = "enum Kind { A = 0; }\nmessage Outer { // a = 9;\n repeated Kind kinds = 1 [packed = \
                true]; message Inner { bytes id = 4; } oneof of { string text = 2; Inner inner = \
                3; } map<string, Inner> all = 5; reserved 6; }";
    let field = |kind: &str, is_repeated| SchemaField { kind: kind.to_owned(), is_repeated };
    let found = schema(text);
    let outer = [
        (1, field("enum", true)),
        (2, field("string", false)),
        (3, field("message", false)),
        (5, field("message", true)),
    ];
    assert_eq!(found["Outer"], SchemaFields::from(outer));
    assert_eq!(found["Outer.Inner"], SchemaFields::from([(4, field("bytes", false))]));
}

#[test]
fn every_file_of_messages_is_compared_or_has_no_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for path in sources() {
        let file = path.strip_prefix(root).unwrap();
        let is_of_tests = file.with_extension("").iter().any(|part| part == "tests");
        if !is_of_tests && fs::read_to_string(&path).unwrap().contains("#[prost(") {
            found.insert(file.to_str().unwrap().to_owned());
        }
    }
    let compared = SOURCES.iter().map(|source| source.file);
    let listed = compared.chain(WITHOUT_SCHEMA.iter().map(|(file, _)| *file));
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    assert_eq!(found, listed, "compare with a schema in SOURCES, or say why there is none");
    assert!(WITHOUT_SCHEMA.iter().all(|(_, why)| !why.is_empty()));
}

#[test]
fn messages_have_the_fields_of_their_schemas() {
    let corpora = corpora();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for source in SOURCES {
        let Some(corpora) = corpora.as_deref().or(source.schemas.is_empty().then_some(root)) else {
            continue;
        };
        let texts =
            source.schemas.iter().map(|path| fs::read_to_string(corpora.join(path)).unwrap());
        let texts = texts.chain([source.written.to_owned()]);
        let theirs: Vec<_> = texts.map(|text| schema(&text)).collect();
        let ours = messages(&fs::read_to_string(root.join(source.file)).unwrap());
        assert!(!ours.is_empty(), "{}: no messages", source.file);
        for (name, fields) in ours {
            if source.others.contains(&name.as_str()) {
                continue;
            }
            let left_out =
                LEFT_OUT.iter().filter(|(message, _)| source.is_whole && *message == name);
            let left_out = source.is_whole.then(|| left_out.count());
            let renamed = source.renamed.iter().filter(|(ours, _)| *ours == name);
            let mut known: Vec<&str> = renamed.map(|(_, theirs)| *theirs).collect();
            if known.is_empty() {
                known.push(&name);
            }
            for known in known {
                let found: Vec<&SchemaFields> =
                    theirs.iter().filter_map(|all| all.get(known)).collect();
                if !found.iter().any(|theirs| holds(&fields, theirs, left_out)) {
                    let file = source.file;
                    wrong.push(format!("{file}: {name}: {fields:?}, not {found:?} of {known}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn served_schemas_have_the_fields_that_are_read_and_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for (file, schemas) in DESCRIBED {
        let source = SOURCES.iter().find(|source| source.file == *file);
        let source = source.unwrap_or_else(|| panic!("{file} is not in SOURCES"));
        let mut described = Vec::new();
        for (path, prefix) in *schemas {
            let text = fs::read_to_string(root.join(SERVED).join(path)).unwrap();
            let parsed = schema(&text).into_iter();
            described.extend(parsed.map(|(name, fields)| (format!("{prefix}{name}"), fields)));
        }
        for (name, fields) in messages(&fs::read_to_string(root.join(file)).unwrap()) {
            if source.others.contains(&name.as_str()) {
                continue;
            }
            let renamed = source.renamed.iter().filter(|(ours, _)| *ours == name);
            let mut known: Vec<&str> = renamed.map(|(_, theirs)| *theirs).collect();
            if known.is_empty() {
                known.push(&name);
            }
            let mut is_described = false;
            for known in known {
                let found = described.iter().filter(|(described, _)| described == known);
                let found: Vec<&SchemaFields> = found.map(|(_, fields)| fields).collect();
                is_described |= !found.is_empty();
                let is_equal = found.iter().any(|theirs| holds(&fields, theirs, Some(0)));
                if !found.is_empty() && !is_equal {
                    wrong.push(format!("{file}: {name}: {fields:?}, not {found:?} of {known}"));
                }
            }
            if !is_described {
                wrong.push(format!("{file}: {name} is in none of {schemas:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_and_numbers_of_served_schemas_are_those_of_their_projects() {
    let Some(corpora) = corpora() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for (ours, theirs) in COPIED {
        let text = |path: &Path| {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
        };
        let their_text = text(&corpora.join(theirs));
        for statement in text(&root.join(SERVED).join(ours)).split(['{', ';', '}']) {
            let statement = statement.trim();
            let name = if statement.starts_with("rpc ") {
                statement.to_owned()
            } else if let Some((words, tag)) = statement.split_once(" = ")
                && words != "syntax"
            {
                format!("{} = {tag}", words.rsplit(' ').next().unwrap_or_default())
            } else {
                continue;
            };
            let is_theirs = their_text.match_indices(&name).any(|(at, _)| {
                let (before, after) = (&their_text[..at], &their_text[at + name.len()..]);
                before.ends_with(' ') && !after.starts_with(|sign: char| sign.is_ascii_digit())
            });
            assert!(is_theirs, "{ours}: {name:?} is not in {theirs}");
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
}

/// Returns true if our fields agree with the schema's. `left_out` is the number of missing fields,
/// or `None` where any may be missing. An `int32` agrees with an enumeration.
fn holds(ours: &SchemaFields, theirs: &SchemaFields, left_out: Option<usize>) -> bool {
    let is_same = |(tag, field): (&u32, &SchemaField)| {
        theirs.get(tag).is_some_and(|other| {
            let is_enum = other.kind == "enum" && field.kind == "int32";
            (other.kind == field.kind || is_enum) && other.is_repeated == field.is_repeated
        })
    };
    ours.iter().all(is_same)
        && left_out.is_none_or(|left_out| ours.len() + left_out == theirs.len())
}

/// Returns the fields of the messages in a schema, by the path of the message.
fn schema(text: &str) -> BTreeMap<String, SchemaFields> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut text: String = lines.collect::<Vec<_>>().join(" ");
    while let Some((start, end)) =
        text.find("/*").and_then(|start| Some((start, start + text[start..].find("*/")? + 2)))
    {
        text.replace_range(start..end, " ");
    }
    const SCALARS: &str = "double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 \
                           sfixed32 sfixed64 bool string bytes";
    const ENUMS: [&str; 2] = ["SpanKind", "AggregationTemporality"];
    let enums: Vec<&str> =
        text.split("enum ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    let (mut found, mut path, mut statement) = (BTreeMap::new(), Vec::new(), String::new());
    for sign in text.chars() {
        match sign {
            '{' => {
                let mut words = statement.split_whitespace();
                let (first, name) = (words.next().unwrap_or_default(), words.next());
                let is_message = first == "message";
                path.push(is_message.then(|| name.unwrap_or_default().to_owned()));
                // The fields of a `oneof` belong to the message.
                if first == "oneof" {
                    *path.last_mut().unwrap() = Some(String::new());
                } else if is_message {
                    found.insert(message(&path), SchemaFields::new());
                }
                statement.clear();
            }
            '}' => {
                path.pop();
                statement.clear();
            }
            ';' => {
                let is_field = path.iter().all(Option::is_some) && !path.is_empty();
                let declaration = statement.split('[').next().unwrap_or_default();
                if let Some((words, tag)) = declaration.split_once('=').filter(|_| is_field)
                    && let Ok(tag) = tag.trim().parse()
                {
                    let mut words = words.split_whitespace().filter(|word| *word != "optional");
                    let first = words.next().unwrap_or_default();
                    let is_list = first == "repeated";
                    let kind = if is_list { words.next().unwrap_or_default() } else { first };
                    let is_map = kind.starts_with("map");
                    let last = kind.rsplit('.').next().unwrap_or_default();
                    let kind = if SCALARS.split_whitespace().any(|scalar| scalar == kind) {
                        kind
                    } else if enums.contains(&last) || ENUMS.contains(&last) {
                        "enum"
                    } else {
                        "message"
                    };
                    // On the wire, a map is a list of messages.
                    let field =
                        SchemaField { kind: kind.to_owned(), is_repeated: is_list || is_map };
                    found.entry(message(&path)).or_default().insert(tag, field);
                }
                statement.clear();
            }
            sign => statement.push(sign),
        }
    }
    found
}

fn message(path: &[Option<String>]) -> String {
    let names = path.iter().flatten().filter(|name| !name.is_empty()).cloned();
    names.collect::<Vec<_>>().join(".")
}

/// Returns the fields of the messages in one of our sources. The fields of a `oneof` belong to its
/// message.
fn messages(text: &str) -> BTreeMap<String, SchemaFields> {
    let (mut found, mut choices) = (BTreeMap::<String, SchemaFields>::new(), Vec::new());
    let mut at = String::new();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    for line in code.lines().map(str::trim) {
        let declared = ["struct ", "enum "].into_iter().find_map(|word| line.split_once(word));
        if let Some((_, rest)) = declared.filter(|_| line.ends_with('{') && !line.starts_with("//"))
        {
            at = rest.trim_end_matches('{').trim().to_owned();
        }
        let attribute = line.strip_prefix("#[prost(").and_then(|rest| rest.split_once(")]"));
        let Some((attribute, _)) = attribute else { continue };
        if let Some(choice) = attribute.strip_prefix("oneof = \"") {
            let choice = choice.split('"').next().unwrap_or_default();
            found.entry(at.clone()).or_default();
            choices.push((at.clone(), choice.to_owned()));
            continue;
        }
        let Some(tag) = attribute.split("tag = \"").nth(1).and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        let kind = attribute.split([',', ' ']).next().unwrap_or_default();
        let kind = match kind {
            "enumeration" => "enum",
            "btree_map" | "map" => "message",
            kind => kind,
        };
        let is_map = attribute.starts_with("btree_map") || attribute.starts_with("map");
        let is_repeated = is_map || attribute.split(", ").any(|part| part == "repeated");
        let field = SchemaField { kind: kind.to_owned(), is_repeated };
        found.entry(at.clone()).or_default().insert(tag.parse().unwrap(), field);
    }
    for (of, choice) in choices {
        let fields = found.remove(&choice).unwrap_or_default();
        found.entry(of).or_default().extend(fields);
    }
    found
}
