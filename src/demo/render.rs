//! Turns a transaction's tree into spans and log records with ids and times.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value as Json, json};
use tidings_proto::{
    UnixNanos,
    otlp::{
        Event, ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope, KeyValue,
        LogRecord, Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Severity, Span,
        SpanKind, Status, StatusCode, Value,
    },
    zipkin::Kind,
};

use super::{
    demo_call::{Child, ChildStart, DemoCall},
    fleet::Crew,
};

/// The services that speak Zipkin instead of OTLP.
pub(crate) const ZIPKIN_SERVICES: [&str; 2] = ["inventory", "loyalty"];

/// Data sent by the services of one transaction: one request per service.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    pub(crate) logs: Vec<ExportLogsServiceRequest>,
    pub(crate) zipkin: Vec<Json>,
}

impl Rendered {
    /// Adds the data of another transaction, to the same requests where the service is the same.
    pub(crate) fn extend(&mut self, other: Self) {
        let merge = |kept: &mut Vec<ExportTraceServiceRequest>, more| match kept.first_mut() {
            Some(first) => first.resource_spans.extend(more),
            None => kept.push(ExportTraceServiceRequest { resource_spans: more }),
        };
        for request in other.traces {
            merge(&mut self.traces, request.resource_spans);
        }
        for request in other.logs {
            match self.logs.first_mut() {
                Some(first) => first.resource_logs.extend(request.resource_logs),
                None => self.logs.push(request),
            }
        }
        self.zipkin.extend(other.zipkin);
    }

    pub(crate) fn span_count(&self) -> u64 {
        let scopes = self
            .traces
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans);
        let otlp: usize = scopes.map(|scope| scope.spans.len()).sum();
        u64::try_from(otlp + self.zipkin.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn log_count(&self) -> u64 {
        let scopes = self
            .logs
            .iter()
            .flat_map(|request| &request.resource_logs)
            .flat_map(|resource| &resource.scope_logs);
        u64::try_from(scopes.map(|scope| scope.log_records.len()).sum::<usize>())
            .unwrap_or(u64::MAX)
    }
}

/// A span with its ids and times.
struct TimedSpan<'a> {
    call: &'a DemoCall,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    shared: bool,
    start: u64,
    end: u64,
}

/// Renders the transaction so that the part that its caller waits for ends at `end`.
pub(crate) fn transaction(root: &DemoCall, end: UnixNanos, crew: &Crew, rng: &mut Rng) -> Rendered {
    let mut changed;
    let root = match crew.incident() {
        Some(incident) => {
            changed = root.clone();
            incident.strike(&mut changed, crew, rng);
            &changed
        }
        None => root,
    };
    let trace_id = rng.u128(1..).to_be_bytes();
    let mut placed = Vec::new();
    let start = end.0.saturating_sub(duration_us(root) * 1_000);
    place(root, None, start, rng, &mut placed);
    let mut rendered = Rendered::default();
    let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    let mut logs: BTreeMap<&str, Vec<LogRecord>> = BTreeMap::new();
    for item in &mut placed {
        let ahead = crew.ahead(item.call.service);
        item.start += ahead;
        item.end += ahead;
    }
    for item in placed.iter().filter(|item| !crew.loses(item.call.service)) {
        if ZIPKIN_SERVICES.contains(&item.call.service) {
            rendered.zipkin.push(zipkin_span(
                trace_id,
                item.call,
                item.id,
                item.parent,
                item.shared,
                item.start,
                item.end,
            ));
        } else {
            spans.entry(item.call.service).or_default().push(span(trace_id, item));
        }
        logs.entry(item.call.service).or_default().extend(log_records(trace_id, item));
    }
    rendered.traces =
        spans.into_iter().map(|(service, spans)| trace_request(service, crew, spans)).collect();
    let logs = logs.into_iter().filter(|(_, records)| !records.is_empty());
    rendered.logs = logs.map(|(service, records)| log_request(service, crew, records)).collect();
    rendered
}

/// Returns the time that a call's caller waits for it, in microseconds. The recursion is safe: the
/// trees are generated here and shallow.
fn duration_us(call: &DemoCall) -> u64 {
    call.before_us + waited_us(&call.children) + call.after_us
}

fn waited_us(children: &[Child]) -> u64 {
    let (mut total, mut group) = (0, 0);
    for child in children {
        let us = duration_us(&child.call);
        match child.start {
            ChildStart::Next => {
                total += group;
                group = us;
            }
            ChildStart::Alongside => group = group.max(us),
            ChildStart::Later(_) => {}
        }
    }
    total + group
}

fn place<'a>(
    call: &'a DemoCall,
    parent: Option<&TimedSpan<'a>>,
    start: u64,
    rng: &mut Rng,
    placed: &mut Vec<TimedSpan<'a>>,
) {
    // In Zipkin's shared spans, the server's half has the id and the parent of the client's half.
    let shared = call.kind == SpanKind::Server
        && parent.is_some_and(|parent| {
            parent.call.kind == SpanKind::Client && ZIPKIN_SERVICES.contains(&parent.call.service)
        });
    let (id, parent_id) = match parent {
        Some(parent) if shared => (parent.id, parent.parent),
        parent => (rng.u64(1..).to_be_bytes(), parent.map(|parent| parent.id)),
    };
    let end = start + duration_us(call) * 1_000;
    let this = TimedSpan { call, id, parent: parent_id, shared, start, end };
    let (mut next, mut group) = (start + call.before_us * 1_000, start + call.before_us * 1_000);
    for child in &call.children {
        let child_start = match child.start {
            ChildStart::Next => {
                group = next;
                group
            }
            ChildStart::Alongside => group,
            ChildStart::Later(us) => start + us * 1_000,
        };
        place(&child.call, Some(&this), child_start, rng, placed);
        if !matches!(child.start, ChildStart::Later(_)) {
            next = next.max(child_start + duration_us(&child.call) * 1_000);
        }
    }
    placed.push(this);
}

fn span(trace_id: [u8; 16], item: &TimedSpan<'_>) -> Span {
    let call = item.call;
    let failure = call.failure.as_ref();
    Span {
        trace_id: trace_id.to_vec(),
        span_id: item.id.to_vec(),
        parent_span_id: item.parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: 1,
        name: call.name.clone(),
        kind: call.kind.into(),
        start_time_unix_nano: item.start,
        end_time_unix_nano: item.end,
        attributes: call.attributes.clone(),
        events: failure
            .map(|failure| exception(failure.kind, &failure.message, call, item.end))
            .into_iter()
            .collect(),
        status: failure.map(|failure| Status {
            message: failure.message.clone(),
            code: StatusCode::Error.into(),
        }),
        ..Span::default()
    }
}

fn exception(kind: &str, message: &str, call: &DemoCall, at: u64) -> Event {
    let file = call.service.replace('-', "_");
    let stack = format!(
        "{kind}: {message}\n    at {file}::{}({file}.rs:88)\n    at {file}::handle({file}.rs:41)\n    at runtime::run(runtime.rs:212)",
        call.name.replace(' ', "_"),
    );
    Event {
        time_unix_nano: at,
        name: "exception".to_owned(),
        attributes: vec![
            KeyValue::new("exception.type", kind),
            KeyValue::new("exception.message", message),
            KeyValue::new("exception.stacktrace", stack),
        ],
        ..Event::default()
    }
}

fn log_records(trace_id: [u8; 16], item: &TimedSpan<'_>) -> impl Iterator<Item = LogRecord> {
    let (id, start, length) = (item.id, item.start, item.end - item.start);
    item.call.lines.iter().map(move |line| {
        let time = start + length / 100 * line.at_percent;
        LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time,
            severity_number: line.severity,
            severity_text: Severity::from_number(line.severity)
                .map_or("", Severity::word)
                .to_ascii_uppercase(),
            body: Some(line.text.as_str().into()),
            flags: 1,
            trace_id: trace_id.to_vec(),
            span_id: id.to_vec(),
            ..LogRecord::default()
        }
    })
}

/// Returns the resource of the instance that a transaction meets.
fn resource(service: &str, crew: &Crew) -> Resource {
    let instance = format!("{service}-7d9f-{}", crew.instance(service));
    Resource {
        attributes: vec![
            KeyValue::new("service.name", service),
            KeyValue::new(
                "service.namespace",
                if PAYMENT.contains(&service) { "payments" } else { "shop" },
            ),
            KeyValue::new("service.version", crew.version(service)),
            KeyValue::new("service.instance.id", instance.clone()),
            KeyValue::new("k8s.pod.name", instance),
            KeyValue::new("host.name", crew.node(service)),
            KeyValue::new("deployment.environment.name", "demo"),
            KeyValue::new("telemetry.sdk.language", "rust"),
        ],
        ..Resource::default()
    }
}

/// The services of the payment system.
const PAYMENT: [&str; 3] = ["payment", "fraud", "ledger"];

fn scope() -> Option<InstrumentationScope> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Some(InstrumentationScope {
        name: "tidings.demo".to_owned(),
        version,
        ..InstrumentationScope::default()
    })
}

fn trace_request(service: &str, crew: &Crew, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
    let resource = Some(resource(service, crew));
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

fn log_request(
    service: &str,
    crew: &Crew,
    log_records: Vec<LogRecord>,
) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
    let resource = Some(resource(service, crew));
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }],
    }
}

/// Renders a span as a Zipkin reporter sends it, in v2 JSON: times in microseconds, tags as text.
fn zipkin_span(
    trace_id: [u8; 16],
    call: &DemoCall,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    shared: bool,
    start: u64,
    end: u64,
) -> Json {
    let mut tags = serde_json::Map::new();
    for attribute in &call.attributes {
        let text = match attribute.value() {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Bool(truth)) => truth.to_string(),
            _ => continue,
        };
        tags.insert(attribute.key.clone(), text.into());
    }
    if let Some(failure) = &call.failure {
        tags.insert("error".to_owned(), failure.message.clone().into());
    }
    let mut span = json!({
        "traceId": format!("{:032x}", u128::from_be_bytes(trace_id)),
        "id": format!("{:016x}", u64::from_be_bytes(id)),
        "name": call.name.to_lowercase(),
        "timestamp": start / 1_000,
        "duration": ((end - start) / 1_000).max(1),
        "localEndpoint": { "serviceName": call.service, "ipv4": "10.0.7.4" },
        "tags": tags,
    });
    if let Some(parent) = parent {
        span["parentId"] = format!("{:016x}", u64::from_be_bytes(parent)).into();
    }
    if let Some(kind) = Kind::from_otlp(call.kind).word() {
        span["kind"] = kind.into();
    }
    if shared {
        span["shared"] = true.into();
    }
    span
}
