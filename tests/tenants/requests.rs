//! Reading requests for every route of every API, with placeholders for the ids and words of a
//! story.

use std::sync::LazyLock;

use prost::encoding;
use serde_json::Value as Json;

use self::Field::{Id, Inner, Number, Text};
use crate::harness::spans::now;

/// The time of all requests that have one, in seconds since 1970.
static MOMENT: LazyLock<String> = LazyLock::new(|| (now() / 1_000_000_000 + 60).to_string());

/// The ids and words of a tenant's telemetry. Those of another tenant have the same lengths.
#[derive(Debug, Clone)]
pub(super) struct Story {
    /// Word of four letters in every name and text.
    pub(super) word: &'static str,
    /// 32 hex digits.
    pub(super) trace: String,
    /// 16 hex digits.
    pub(super) span: String,
    /// The id of a log record, 16 hex digits.
    pub(super) log: String,
    /// Cursors for the next page of traces and of log records.
    pub(super) cursors: [String; 2],
}

impl Story {
    /// Returns the story of this word and digit. The ids of its log record and its cursors are not
    /// known yet.
    pub(super) fn new(word: &'static str, digit: char) -> Self {
        let digits = |count: usize| digit.to_string().repeat(count);
        let (trace, span, log) = (digits(32), digits(16), digits(16));
        Self { word, trace, span, log, cursors: Default::default() }
    }

    /// Replaces the placeholders of a request with the story's ids and words.
    pub(super) fn tell(&self, request: &str) -> String {
        let [traces, logs] = &self.cursors;
        let parts = [
            ("WORD", self.word),
            ("TRACE", &self.trace),
            ("SPAN", &self.span),
            ("LOG", &self.log),
            ("PAGE-OF-TRACES", traces),
            ("PAGE-OF-LOGS", logs),
            ("MOMENT", &MOMENT),
        ];
        // The order puts longer placeholders before those that are their beginnings.
        let parts = parts.into_iter().rev();
        parts.fold(request.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Encodes a message with the story's ids and words.
    pub(super) fn message(&self, fields: &[Field]) -> Vec<u8> {
        let mut message = Vec::new();
        for field in fields {
            match *field {
                Text(tag, text) => encoding::string::encode(tag, &self.tell(text), &mut message),
                Id(tag, name) => {
                    let id = u128::from_str_radix(&self.tell(name), 16).unwrap();
                    encoding::bytes::encode(tag, &id.to_be_bytes().to_vec(), &mut message);
                }
                Number(tag, number) => encoding::uint64::encode(tag, &number, &mut message),
                Inner(tag, fields) => {
                    encoding::bytes::encode(tag, &self.message(fields), &mut message);
                }
            }
        }
        message
    }

    /// Replaces the story's ids and words in an answer with placeholders, so that answers of two
    /// stories can be compared.
    pub(super) fn forget(&self, answer: &[u8]) -> String {
        let text = String::from_utf8_lossy(answer).into_owned();
        let ids = [&self.trace, &self.span, &self.log, &self.cursors[0], &self.cursors[1]];
        let ids = ids.into_iter().filter(|id| !id.is_empty());
        let text = ids.fold(text, |text, id| text.replace(id.as_str(), "ID"));
        text.replace(self.word, "WORD").replace(&capital(self.word), "WORD")
    }
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

/// A field of a message, each with its field number first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// A text with placeholders for ids and words of the story.
    Text(u32, &'static str),
    /// The 16 bytes of a trace id, given by its placeholder.
    Id(u32, &'static str),
    /// A number of any integer type.
    Number(u32, u64),
    /// A nested message.
    Inner(u32, &'static [Field]),
}

/// Paths on the HTTP address: every reading resource of the native API according to its
/// description, and the listed paths.
pub(super) static HTTP: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let described = described().into_iter().map(|path| &*path.leak());
    described.chain(LISTED.iter().copied()).collect()
});

/// Reading routes of the native API that have tests of their own, because their answers have no end
/// or need an admin key.
pub(super) const ELSEWHERE: [&str; 7] = [
    "/api/v1/logs/tail",
    "/api/v1/queries",
    "/api/v1/keys",
    "/api/v1/audit",
    "/api/v1/sign-in",
    "/api/v1/erasures",
    "/api/v1/erasures/{id}",
];

/// Values for parameters of the native API, by name. Required parameters may need an id; others get
/// a word.
const VALUES: [(&str, &str); 12] = [
    ("around", "WORD"),
    ("key", "key-WORD"),
    ("left", "TRACE"),
    ("logId", "LOG"),
    ("logText", "WORD"),
    ("prefix", "WORD"),
    ("right", "TRACE"),
    ("service", "WORD"),
    ("spanId", "SPAN"),
    ("text", "WORD"),
    ("tid", "order-WORD"),
    ("traceId", "TRACE"),
];

/// Returns requests of the native API. Each reading resource gets one request with its required
/// parameters, and one for each other parameter that has a word as its value.
fn described() -> Vec<String> {
    let document = tidings_apis::document().to_json().unwrap();
    let document: Json = serde_json::from_str(&document).unwrap();
    let mut requests = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(reads) = item.get("get").filter(|_| !ELSEWHERE.contains(&path.as_str())) else {
            continue;
        };
        let (mut request, mut others) = (path.clone(), Vec::new());
        for parameter in reads["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let value = VALUES.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            let must_be = parameter["required"] == true;
            match (parameter["in"].as_str(), value) {
                (Some("path"), Some(value)) => {
                    request = request.replace(&format!("{{{name}}}"), value);
                }
                (Some("query"), Some(value)) if must_be => {
                    request = with_parameter(&request, name, value);
                }
                (Some("query"), Some(value)) if value.contains("WORD") => {
                    others.push((name, value));
                }
                _ => assert!(!must_be, "{path}: {name} has no value in tests/tenants/requests.rs"),
            }
        }
        requests.extend(others.iter().map(|(name, value)| with_parameter(&request, name, value)));
        // A search within one trace requires a word.
        if others.is_empty() || !path.contains('{') {
            requests.push(request);
        }
    }
    requests
}

fn with_parameter(request: &str, name: &str, value: &str) -> String {
    let sign = if request.contains('?') { '&' } else { '?' };
    format!("{request}{sign}{name}={value}")
}

/// Requests that the description alone does not give: with several parameters, queries, pages, and
/// other APIs.
const LISTED: &[&str] = &[
    "/api/v1/traces?limit=5",
    "/api/v1/traces?service=WORD&limit=5",
    "/api/v1/traces?limit=5&cursor=PAGE-OF-TRACES",
    "/api/v1/traces?q=%7B%20span.motto%20%3D%20%22WORD%22%20%7D",
    "/api/v1/traces?sort=duration&service=WORD",
    "/api/v1/traces/TRACE?after=0",
    "/api/v1/transactions/TRACE",
    "/api/v1/red?by=service,operation",
    "/api/v1/red?by=service&service=WORD",
    "/api/v1/graph?traceId=TRACE",
    "/api/v1/explain?service=WORD&selectMinDuration=1us",
    "/api/v1/compare?left=TRACE&right=typical",
    "/api/v1/logs?limit=1",
    "/api/v1/logs?limit=5&cursor=PAGE-OF-LOGS",
    "/api/v1/logs?q=WORD",
    "/api/v1/logs?traceId=TRACE",
    "/api/v1/logs/stats?by=service",
    "/api/v1/attributes/keys?prefix=key-WORD",
    "/api/v1/attributes/values?key=motto",
    "/api/v1/names?text=WORD",
    "/api/v1/resolve?text=TRACE",
    "/api/v1/resolve?text=order-WORD",
    "/api/v1/pins",
    "/api/v1/sql?query=SELECT%20service%2C%20operation%20FROM%20spans",
    "/api/v1/sql?query=SELECT%20text%20FROM%20logs%20WHERE%20service%20%3D%20'WORD'",
    "/api/v1/sql?query=SELECT%20trace_id%2C%20service%20FROM%20traces",
    "/api/v1/sql?query=SELECT%20service%2C%20operation%20FROM%20red",
    "/api/v1/sql?query=SELECT%20caller%2C%20called%20FROM%20edges",
    "/api/v1/sql?query=SELECT%20service%20FROM%20tree('TRACE')",
    "/api/v1/sql?query=SELECT%20*%20FROM%20WORD.spans",
    "/api/v1/sql?query=SELECT%20*%20FROM%20%22..%2FWORD%22.%22spans%22",
    "/api/v1/sql?query=SELECT%20*%20FROM%20information_schema.tables",
    "/jaeger/api/services",
    "/jaeger/api/services/WORD/operations",
    "/jaeger/api/operations?service=WORD",
    "/jaeger/api/traces?service=WORD",
    "/jaeger/api/traces?traceID=TRACE",
    "/jaeger/api/traces/TRACE",
    "/jaeger/api/dependencies?lookback=3600000",
    "/jaeger/api/metrics/calls?service=WORD",
    "/jaeger/api/v3/services",
    "/jaeger/api/v3/operations?service=WORD",
    "/jaeger/api/v3/traces/TRACE",
    "/jaeger/api/v3/traces?query.startTimeMin=2023-11-14T00:00:00Z&query.startTimeMax=2023-11-15T00:00:00Z",
    "/jaeger/api/v3/trace-summaries?query.startTimeMin=2023-11-14T00:00:00Z&query.startTimeMax=2023-11-15T00:00:00Z",
    "/jaeger/api/v3/dependencies?startTime=2023-11-14T00:00:00Z&endTime=2023-11-15T00:00:00Z",
    "/tempo/api/traces/TRACE",
    "/tempo/api/v2/traces/TRACE",
    "/tempo/api/search",
    "/tempo/api/search?tags=service.name%3DWORD",
    "/tempo/api/search/tags",
    "/tempo/api/v2/search/tags",
    "/tempo/api/search/tag/motto/values",
    "/tempo/api/v2/search/tag/span.motto/values",
    "/tempo/api/v2/search/tag/resource.service.name/values",
    "/tempo/api/metrics/query_range?start=1700000000&end=1700000600&step=60s&q=%7B%7D%7Crate()by(resource.service.name)",
    "/tempo/api/metrics/query?q=%7B%7D%7Crate()by(resource.service.name)",
    "/prometheus/api/v1/labels",
    "/prometheus/api/v1/label/service/values",
    "/prometheus/api/v1/series?match%5B%5D=traces_spanmetrics_calls_total",
    "/prometheus/api/v1/query?time=MOMENT&query=traces_spanmetrics_calls_total",
    "/prometheus/api/v1/query_range?start=1700000000&end=1700000600&step=60&query=traces_spanmetrics_calls_total",
    "/prometheus/api/v1/query?time=MOMENT&query=traces_spanmetrics_calls_total%7Bservice%3D%22WORD%22%7D",
];

/// Paths on the HTTP address about the process and a tenant's part of it.
pub(super) const PROCESS: &[&str] =
    &["/metrics", "/api/v1/status", "/api/v1/limits", "/api/v1/openapi.json", "/api/v1/session"];

/// Paths on Zipkin's address.
pub(super) const ZIPKIN: &[&str] = &[
    "/api/v2/services",
    "/api/v2/spans?serviceName=WORD",
    "/api/v2/remoteServices?serviceName=WORD",
    "/api/v2/traces",
    "/api/v2/traces?serviceName=WORD",
    "/api/v2/trace/TRACE",
    "/api/v2/traceMany?traceIds=TRACE,SPAN",
    "/api/v2/dependencies?endTs=9000000000000&lookback=9000000000000",
    "/api/v2/autocompleteKeys",
    "/api/v2/autocompleteValues?key=motto",
    "/config.json",
];

/// A time before the story's first spans, in seconds since 1970.
const FROM: &[Field] = &[Number(1, 1_699_920_000)];
/// A time long after the story's last spans.
const TO: &[Field] = &[Number(1, 4_000_000_000)];
const FIND_TRACES: &[Field] = &[Inner(1, &[Text(1, "WORD"), Inner(4, FROM), Inner(5, TO)])];
const DEPENDENCIES: &[Field] = &[Inner(1, FROM), Inner(2, TO)];
/// A query for a rate by service over the ten minutes of the story's first spans.
const METRICS: &[Field] = &[
    Text(1, "{} | rate() by (resource.service.name)"),
    Number(2, 1_699_999_980_000_000_000),
    Number(3, 1_700_000_580_000_000_000),
    Number(4, 60_000_000_000),
];

/// A Flight SQL command in its wrapper message, at a field.
macro_rules! command {
    ($tag:literal, $name:literal $(, $field:expr)*) => {
        Inner(
            $tag,
            &[
                Text(1, concat!("type.googleapis.com/arrow.flight.protocol.sql.", $name)),
                Inner(2, &[$($field),*]),
            ],
        )
    };
}

/// Returns the path of a Flight method.
macro_rules! flight {
    ($method:literal) => {
        concat!("/arrow.flight.protocol.FlightService/", $method)
    };
}

const QUERY: Field = Text(1, "SELECT service, operation FROM spans");
const OWN_QUERY: Field = Text(1, "SELECT operation FROM spans WHERE service = 'WORD'");
/// A prepared statement whose handle is the query itself.
const HANDLE: Field = Inner(1, &[QUERY]);
/// A descriptor of parameter values for the prepared statement.
const PREPARED: &[Field] = &[Number(1, 2), command!(2, "CommandPreparedStatementQuery", HANDLE)];
const CREATE: &[Field] = &[
    Text(1, "CreatePreparedStatement"),
    command!(2, "ActionCreatePreparedStatementRequest", QUERY),
];
const CLOSE: &[Field] = &[
    Text(1, "ClosePreparedStatement"),
    command!(2, "ActionClosePreparedStatementRequest", HANDLE),
];

/// Methods of gRPC services on the HTTP address, with the fields of a message for each.
pub(super) const RPC: &[(&str, &[Field])] = &[
    ("/jaeger.api_v2.QueryService/GetServices", &[]),
    ("/jaeger.api_v2.QueryService/GetOperations", &[Text(1, "WORD")]),
    ("/jaeger.api_v2.QueryService/GetTrace", &[Id(1, "TRACE")]),
    ("/jaeger.api_v2.QueryService/FindTraces", FIND_TRACES),
    ("/jaeger.api_v2.QueryService/GetDependencies", DEPENDENCIES),
    ("/jaeger.api_v2.QueryService/ArchiveTrace", &[Id(1, "TRACE")]),
    ("/jaeger.api_v3.QueryService/GetServices", &[]),
    ("/jaeger.api_v3.QueryService/GetOperations", &[Text(1, "WORD")]),
    ("/jaeger.api_v3.QueryService/GetTrace", &[Text(1, "TRACE")]),
    ("/jaeger.api_v3.QueryService/FindTraces", FIND_TRACES),
    ("/jaeger.api_v3.QueryService/GetDependencies", DEPENDENCIES),
    ("/jaeger.storage.v2.TraceReader/GetServices", &[]),
    ("/jaeger.storage.v2.TraceReader/GetOperations", &[Text(1, "WORD")]),
    ("/jaeger.storage.v2.TraceReader/GetTraces", &[Inner(1, &[Id(1, "TRACE")])]),
    ("/jaeger.storage.v2.TraceReader/FindTraces", FIND_TRACES),
    ("/jaeger.storage.v2.TraceReader/FindTraceIDs", FIND_TRACES),
    ("/jaeger.storage.v2.DependencyReader/GetDependencies", DEPENDENCIES),
    ("/tempopb.StreamingQuerier/Search", &[Text(8, "{ span.motto = \"WORD\" }")]),
    ("/tempopb.StreamingQuerier/SearchTags", &[]),
    ("/tempopb.StreamingQuerier/SearchTagsV2", &[]),
    ("/tempopb.StreamingQuerier/SearchTagValues", &[Text(1, "motto")]),
    ("/tempopb.StreamingQuerier/SearchTagValuesV2", &[Text(1, "span.motto")]),
    ("/tempopb.StreamingQuerier/MetricsQueryRange", METRICS),
    ("/tempopb.StreamingQuerier/MetricsQueryInstant", METRICS),
    (flight!("Handshake"), &[]),
    (flight!("ListActions"), &[]),
    (flight!("ListFlights"), &[]),
    (flight!("PollFlightInfo"), &[]),
    (flight!("DoExchange"), &[]),
    (flight!("GetFlightInfo"), &[Number(1, 2), command!(2, "CommandStatementQuery", QUERY)]),
    (flight!("GetFlightInfo"), &[Number(1, 2), command!(2, "CommandGetTables")]),
    (flight!("GetSchema"), &[Number(1, 2), command!(2, "CommandStatementQuery", QUERY)]),
    (flight!("GetSchema"), &[Number(1, 2), command!(2, "CommandPreparedStatementQuery", HANDLE)]),
    (flight!("DoGet"), &[command!(1, "CommandStatementQuery", OWN_QUERY)]),
    (flight!("DoGet"), &[command!(1, "TicketStatementQuery", HANDLE)]),
    (flight!("DoGet"), &[command!(1, "CommandPreparedStatementQuery", HANDLE)]),
    (flight!("DoGet"), &[command!(1, "CommandGetSqlInfo")]),
    (flight!("DoGet"), &[command!(1, "CommandGetXdbcTypeInfo")]),
    (flight!("DoGet"), &[command!(1, "CommandGetCatalogs")]),
    (flight!("DoGet"), &[command!(1, "CommandGetDbSchemas")]),
    (flight!("DoGet"), &[command!(1, "CommandGetTables", Number(5, 1))]),
    (flight!("DoGet"), &[command!(1, "CommandGetTables", Text(3, "WORD"))]),
    (flight!("DoGet"), &[command!(1, "CommandGetTableTypes")]),
    (flight!("DoGet"), &[command!(1, "CommandGetPrimaryKeys")]),
    (flight!("DoGet"), &[command!(1, "CommandGetExportedKeys")]),
    (flight!("DoGet"), &[command!(1, "CommandGetImportedKeys")]),
    (flight!("DoGet"), &[command!(1, "CommandGetCrossReference")]),
    (flight!("DoGet"), &[command!(1, "CommandStatementSubstraitPlan")]),
    (flight!("DoPut"), &[Inner(1, PREPARED)]),
    (flight!("DoPut"), &[Inner(1, &[Number(1, 2), command!(2, "CommandStatementUpdate", QUERY)])]),
    (flight!("DoPut"), &[Inner(1, &[Number(1, 2), command!(2, "CommandStatementIngest")])]),
    (flight!("DoAction"), CREATE),
    (flight!("DoAction"), CLOSE),
    (flight!("DoAction"), &[Text(1, "CancelFlightInfo")]),
    (flight!("DoAction"), &[Text(1, "BeginTransaction")]),
];

/// A source file that matches on gRPC methods, the text at which the match begins, and its
/// services. A service is given by the part of a pattern that stands for it and by the beginning of
/// its path. Flight has no such match: its methods are those of a trait.
pub(super) type RpcSource = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

pub(super) const RPC_SOURCES: &[RpcSource] = &[
    (
        "query/apis/src/http/jaeger_api/query_services.rs",
        "match (method, api) {",
        &[
            ("Api::V2", "/jaeger.api_v2."),
            ("Api::V3", "/jaeger.api_v3."),
            ("Api::Storage", "/jaeger.storage.v2."),
        ],
    ),
    ("query/apis/src/http/tempo/streaming_querier.rs", "match method {", &[("", "/tempopb.")]),
];

/// Routes of the source that no table here has, because their answers contain nothing of a tenant:
/// probes, pages, versions and empty lists. Paths without a resource are among them.
pub(super) const WITHOUT_TELEMETRY: &[&str] = &[
    "/live",
    "/ready",
    "/sign-in",
    "/sign-in/callback",
    "/assets/{file}",
    "/grpc.health.v1.Health/{method}",
    "/grpc.reflection.v1.ServerReflection/{method}",
    "/grpc.reflection.v1alpha.ServerReflection/{method}",
    "/jaeger",
    "/jaeger/",
    "/jaeger/api/archive/{id}",
    "/jaeger/api/transform",
    "/tempo/api/echo",
    "/tempo/api/status/buildinfo",
    "/tempo/ready",
    "/tempo/status",
    "/tempo/status/{what}",
    "/prometheus",
    "/prometheus/",
    "/prometheus/api/v1/alertmanagers",
    "/prometheus/api/v1/alerts",
    "/prometheus/api/v1/metadata",
    "/prometheus/api/v1/query_exemplars",
    "/prometheus/api/v1/rules",
    "/prometheus/api/v1/status/buildinfo",
    "/prometheus/api/v1/status/config",
    "/prometheus/api/v1/status/flags",
    "/prometheus/api/v1/status/runtimeinfo",
    "/prometheus/api/v1/status/tsdb",
    "/prometheus/api/v1/targets",
    "/prometheus/api/v1/targets/metadata",
    "/health",
    "/info",
    "/actuator/health",
    "/actuator/info",
];
