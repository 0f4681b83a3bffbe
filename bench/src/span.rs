//! Contents of spans: attributes of mixed cardinality, events, links and status, as instrumentation
//! libraries write them. Field numbers are those of opentelemetry-proto.

use crate::{
    call_graph::{CallRole, SpanNode},
    piece::{Fill, Piece, TextPart},
    random::Random,
    world::{Entry, OperationCall, Service, ServiceOperation},
};

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;

/// One span in a hundred of these fails.
const ERRORS: f64 = 0.02;
const LINKS: f64 = 0.03;

/// Numbers that are given out once per group.
#[derive(Debug, Default)]
pub(crate) struct NumberSource {
    pub(crate) spans: u32,
    gaps: u32,
}

impl NumberSource {
    fn gap(&mut self) -> u32 {
        self.gaps += 1;
        self.gaps
    }
}

/// Where a span belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanPosition {
    pub(crate) trace: u32,
    /// The number of the trace's first span.
    pub(crate) first: u32,
    /// Its number within the trace.
    pub(crate) index: u32,
}

/// Writes spans.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    services: &'a [Service],
    random: Random,
    pub(crate) numbers: NumberSource,
    /// Number of failed spans written.
    pub(crate) failed: u64,
}

/// Attributes on their way into a message.
struct AttributeWriter<'a> {
    piece: &'a mut Piece,
    field: u32,
    count: usize,
}

impl AttributeWriter<'_> {
    fn value(&mut self, key: &str, value: &Piece) {
        let mut attribute = Piece::default();
        attribute.text(1, &[TextPart::Text(key)]);
        attribute.message(2, value);
        self.piece.message(self.field, &attribute);
        self.count += 1;
    }

    fn parts(&mut self, key: &str, parts: &[TextPart<'_>]) {
        let mut value = Piece::default();
        value.text(1, parts);
        self.value(key, &value);
    }

    fn text(&mut self, key: &str, text: &str) {
        self.parts(key, &[TextPart::Text(text)]);
    }

    fn int(&mut self, key: &str, number: usize) {
        let mut value = Piece::default();
        value.number(3, number as u64);
        self.value(key, &value);
    }

    fn truth(&mut self, key: &str, truth: bool) {
        let mut value = Piece::default();
        value.number(2, u64::from(truth));
        self.value(key, &value);
    }

    fn double(&mut self, key: &str, number: f64) {
        let mut value = Piece::default();
        value.fixed64(4, number.to_bits());
        self.value(key, &value);
    }
}

/// Name and kind of a span.
struct Face {
    name: String,
    kind: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(services: &'a [Service], random: Random) -> Self {
        Self { services, random, numbers: NumberSource::default(), failed: 0 }
    }
}

impl Writer<'_> {
    /// The name of a span.
    pub(crate) fn operation(&self, node: &SpanNode) -> String {
        self.face(node).name
    }

    /// The resource of an instance.
    pub(crate) fn resource(&self, service: usize, instance: usize) -> Piece {
        let service = &self.services[service];
        let instance = &service.instances[instance % service.instances.len()];
        let mut piece = Piece::default();
        let mut attributes = AttributeWriter { piece: &mut piece, field: 1, count: 0 };
        for (key, value) in [
            ("service.name", service.name.as_str()),
            ("service.namespace", service.namespace),
            ("service.version", &service.version),
            ("service.instance.id", &instance.id),
            ("deployment.environment.name", "production"),
            ("telemetry.sdk.name", "opentelemetry"),
            ("telemetry.sdk.language", service.runtime.language),
            ("telemetry.sdk.version", service.runtime.sdk_version),
            ("host.name", &instance.host),
            ("k8s.cluster.name", "eu-central-1-blue"),
            ("k8s.namespace.name", service.namespace),
            ("k8s.pod.name", &instance.pod),
            ("os.type", "linux"),
        ] {
            attributes.text(key, value);
        }
        piece
    }

    /// The scope that spans of this role have.
    pub(crate) fn scope(&self, node: &SpanNode) -> (&'static str, &'static str) {
        let service = &self.services[node.service];
        let runtime = service.runtime;
        let name = match node.role {
            CallRole::Work { operation } => match service.operations[operation].entry {
                Entry::Http { .. } => runtime.http_scope,
                Entry::Rpc { .. } | Entry::Message { .. } => runtime.rpc_scope,
            },
            CallRole::Call { operation, call } => match service.operations[operation].calls[call] {
                OperationCall::Database { .. } | OperationCall::Cache { .. } => runtime.db_scope,
                _ => runtime.rpc_scope,
            },
        };
        (name, runtime.sdk_version)
    }

    /// The span of this node; `links` are spans of other traces that it may point to.
    pub(crate) fn span(
        &mut self,
        node: &SpanNode,
        place: SpanPosition,
        links: &[(u32, u32)],
    ) -> Piece {
        let SpanPosition { trace, first, index } = place;
        let mut span = Piece::default();
        span.text(1, &[TextPart::Gap(Fill::TraceId(trace))]);
        span.text(2, &[TextPart::Gap(Fill::SpanId(first + index))]);
        if let Some(parent) = node.parent {
            span.text(4, &[TextPart::Gap(Fill::SpanId(first + parent))]);
        }
        let face = self.face(node);
        span.text(5, &[TextPart::Text(&face.name)]);
        span.number(6, face.kind);
        span.time(7, trace, node.start);
        span.time(8, trace, node.end);
        let failed = self.random.chance(ERRORS);
        self.failed += u64::from(failed);
        self.attributes(&mut span, node, failed);
        if failed {
            span.message(11, &self.exception(node, trace));
        } else if self.random.chance(0.05) {
            let mut event = Piece::default();
            event.time(1, trace, node.start + (node.end - node.start) / 2);
            event.text(2, &[TextPart::Text("message")]);
            let mut attributes = AttributeWriter { piece: &mut event, field: 3, count: 0 };
            attributes.text("message.type", "RECEIVED");
            attributes.int("message.id", 1);
            span.message(11, &event);
        }
        if !links.is_empty() && self.random.chance(LINKS) {
            let (trace, linked) = *self.random.pick(links);
            let mut link = Piece::default();
            link.text(1, &[TextPart::Gap(Fill::TraceId(trace))]);
            link.text(2, &[TextPart::Gap(Fill::SpanId(linked))]);
            link.fixed32(6, 0x301);
            span.message(13, &link);
        }
        let mut status = Piece::default();
        if failed {
            status.text(2, &[TextPart::Text("upstream did not answer in time")]);
            status.number(3, 2);
        }
        span.message(15, &status);
        span.fixed32(16, if node.parent.is_some() { 0x101 } else { 0x301 });
        span
    }

    fn face(&self, node: &SpanNode) -> Face {
        let services = self.services;
        let of_entry = |entry: &Entry, kind| match entry {
            Entry::Http { method, route } => Face { name: format!("{method} {route}"), kind },
            Entry::Rpc { service, method } => Face { name: format!("{service}/{method}"), kind },
            Entry::Message { topic } => Face {
                name: format!("process {topic}"),
                kind: if kind == SERVER { CONSUMER } else { PRODUCER },
            },
        };
        let operations = &services[node.service].operations;
        match node.role {
            CallRole::Work { operation } => of_entry(&operations[operation].entry, SERVER),
            CallRole::Call { operation, call } => match &operations[operation].calls[call] {
                OperationCall::Service { service, operation } => {
                    of_entry(&services[*service].operations[*operation].entry, CLIENT)
                }
                OperationCall::Database { verb, table, .. } => {
                    Face { name: format!("{verb} {table}"), kind: CLIENT }
                }
                OperationCall::Cache { verb } => Face { name: (*verb).to_owned(), kind: CLIENT },
                OperationCall::Publish { topic } => {
                    Face { name: format!("send {topic}"), kind: PRODUCER }
                }
                OperationCall::Inside { function } => {
                    Face { name: function.clone(), kind: INTERNAL }
                }
            },
        }
    }

    fn attributes(&mut self, span: &mut Piece, node: &SpanNode, failed: bool) {
        let services = self.services;
        let service = &services[node.service];
        let mut attributes = AttributeWriter { piece: span, field: 9, count: 0 };
        let operation = match node.role {
            CallRole::Work { operation } => {
                self.entry(&mut attributes, &service.operations[operation], failed);
                operation
            }
            CallRole::Call { operation, call } => {
                match &service.operations[operation].calls[call] {
                    OperationCall::Service { service, operation } => {
                        let target = &services[*service];
                        attributes.text("server.address", &format!("{}.internal", target.name));
                        attributes.text("peer.service", &target.name);
                        self.entry(&mut attributes, &target.operations[*operation], failed);
                    }
                    call => self.call(&mut attributes, call),
                }
                operation
            }
        };
        attributes
            .text("thread.name", &format!("{}{}", service.runtime.thread, self.random.below(32)));
        attributes.int("thread.id", self.random.between(20, 220));
        self.business(&mut attributes, node.service, operation);
    }

    fn entry(
        &mut self,
        attributes: &mut AttributeWriter<'_>,
        operation: &ServiceOperation,
        failed: bool,
    ) {
        match &operation.entry {
            Entry::Http { method, route } => {
                let (before, after) = route.split_once("{id}").unwrap_or((route, ""));
                let id = TextPart::Gap(Fill::Skewed { gap: self.numbers.gap(), below: 1_000_000 });
                attributes.text("http.request.method", method);
                attributes.text("http.route", route);
                attributes.text("url.scheme", "https");
                attributes.parts(
                    "url.path",
                    &[TextPart::Text(before), id.clone(), TextPart::Text(after)],
                );
                let status =
                    if failed { 503 } else { *self.random.pick(&[200, 200, 200, 201, 204, 404]) };
                attributes.int("http.response.status_code", status);
                attributes.text("network.protocol.version", ["1.1", "2"][self.random.below(2)]);
                let agent = AGENTS[self.random.skewed(AGENTS.len())];
                attributes.text("user_agent.original", agent);
                let address = Fill::Skewed { gap: self.numbers.gap(), below: 200_000 };
                attributes.parts(
                    "client.address",
                    &[TextPart::Text("2001:db8::"), TextPart::Gap(address)],
                );
                attributes.int("http.response.body.size", 200 + self.random.skewed(60_000));
            }
            Entry::Rpc { service, method } => {
                attributes.text("rpc.system", "grpc");
                attributes.text("rpc.service", service);
                attributes.text("rpc.method", method);
                attributes.int("rpc.grpc.status_code", if failed { 14 } else { 0 });
                attributes
                    .text("network.peer.address", &format!("10.2.3.{}", self.random.below(250)));
                attributes.int("network.peer.port", self.random.between(32_768, 61_000));
                attributes.int("server.port", 9090);
            }
            Entry::Message { topic } => self.message(attributes, topic, "process"),
        }
    }

    fn call(&mut self, attributes: &mut AttributeWriter<'_>, call: &OperationCall) {
        match call {
            OperationCall::Service { .. } => {}
            OperationCall::Database { system, table, verb, statement } => {
                attributes.text("db.system.name", system);
                attributes.text("db.namespace", "main");
                attributes.text("db.operation.name", verb);
                attributes.text("db.collection.name", table);
                // Some drivers write values into the text.
                if statement.ends_with("= ") {
                    let id = Fill::Skewed { gap: self.numbers.gap(), below: 1_000_000 };
                    attributes
                        .parts("db.query.text", &[TextPart::Text(statement), TextPart::Gap(id)]);
                } else {
                    attributes.text("db.query.text", statement);
                }
                attributes.text(
                    "server.address",
                    &format!("{system}-{}.db.internal", self.random.below(3)),
                );
                attributes.int("server.port", 5432);
                attributes.int("db.response.returned_rows", self.random.skewed(100));
                attributes.double(
                    "db.client.wait_ms",
                    f64::from(u32::try_from(self.random.skewed(4000)).unwrap_or(0)) / 16.0,
                );
            }
            OperationCall::Cache { verb } => {
                let key = Fill::Skewed { gap: self.numbers.gap(), below: 1_000_000 };
                attributes.text("db.system.name", "redis");
                attributes.text("db.operation.name", verb);
                attributes.parts(
                    "db.query.text",
                    &[TextPart::Text(verb), TextPart::Text(" entry:"), TextPart::Gap(key)],
                );
                attributes.text("server.address", "cache.internal");
                attributes.int("server.port", 6379);
                attributes.truth("cache.hit", self.random.chance(0.8));
            }
            OperationCall::Publish { topic } => self.message(attributes, topic, "send"),
            OperationCall::Inside { function } => {
                attributes.text("code.function.name", function);
                attributes.text("code.namespace", "com.example.internal.flow");
                attributes.int("code.line.number", self.random.between(20, 900));
            }
        }
    }

    fn message(&mut self, attributes: &mut AttributeWriter<'_>, topic: &str, operation: &str) {
        attributes.text("messaging.system", "kafka");
        attributes.text("messaging.destination.name", topic);
        attributes.text("messaging.operation.type", operation);
        let key = "messaging.message.id";
        attributes.parts(key, &[TextPart::Gap(Fill::Unique { gap: self.numbers.gap(), key })]);
        attributes.int("messaging.destination.partition.id", self.random.below(24));
        attributes.int("messaging.kafka.offset", 1_000_000 + self.random.below(8_000_000));
        attributes.int("messaging.message.body.size", 100 + self.random.skewed(20_000));
    }

    /// Writes the application's own attributes: the same keys for every span of an operation.
    fn business(&mut self, attributes: &mut AttributeWriter<'_>, service: usize, operation: usize) {
        let mut of_operation = Random::new((service * 1000 + operation) as u64);
        let wanted = 10 + of_operation.skewed(40);
        while attributes.count < wanted {
            let number = of_operation.below(400);
            let key = format!(
                "app.{}.{}",
                SUBJECTS[number % SUBJECTS.len()],
                TRAITS[number / SUBJECTS.len() % TRAITS.len()]
            );
            let gap = self.numbers.gap();
            match of_operation.below(100) {
                0..40 => attributes.text(&key, "standard"),
                40..80 => attributes.text(&key, &format!("variant-{}", self.random.skewed(50))),
                80..90 => attributes.parts(
                    &key,
                    &[TextPart::Text("t-"), TextPart::Gap(Fill::Even { gap, below: 5_000 })],
                ),
                90..97 => attributes.parts(
                    &key,
                    &[
                        TextPart::Text("user-"),
                        TextPart::Gap(Fill::Skewed { gap, below: 1_000_000 }),
                    ],
                ),
                _ => {
                    let key = "request.id";
                    attributes.parts(key, &[TextPart::Gap(Fill::Unique { gap, key })]);
                }
            }
        }
    }

    fn exception(&mut self, node: &SpanNode, trace: u32) -> Piece {
        let service = &self.services[node.service];
        let mut stack = String::from("com.example.TimeoutException: upstream did not answer\n");
        for _ in 0..self.random.between(20, 36) {
            let line = self.random.between(10, 400).to_string();
            stack.push_str(&service.runtime.frame.replace('$', &service.name).replace('%', &line));
        }
        let mut event = Piece::default();
        event.time(1, trace, node.end);
        event.text(2, &[TextPart::Text("exception")]);
        let mut attributes = AttributeWriter { piece: &mut event, field: 3, count: 0 };
        attributes.text("exception.type", "com.example.TimeoutException");
        attributes.text("exception.message", "upstream did not answer in time");
        attributes.text("exception.stacktrace", &stack);
        event
    }
}

const SUBJECTS: [&str; 20] = [
    "tenant",
    "order",
    "basket",
    "user",
    "session",
    "region",
    "channel",
    "campaign",
    "feature",
    "device",
    "partner",
    "currency",
    "warehouse",
    "courier",
    "ledger",
    "risk",
    "loyalty",
    "quote",
    "shard",
    "release",
];
const TRAITS: [&str; 20] = [
    "id", "tier", "kind", "state", "group", "origin", "class", "locale", "version", "owner",
    "source", "scope", "stage", "policy", "label", "zone", "mode", "format", "rank", "batch",
];
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "okhttp/4.12.0",
    "Go-http-client/2.0",
    "python-httpx/0.28.1",
];
