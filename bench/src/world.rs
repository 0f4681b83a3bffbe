//! The company whose telemetry is made: 60 services, what they offer and whom they call.

use crate::random::Random;

/// A service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: &'static str,
    pub(crate) version: String,
    pub(crate) runtime: &'static Runtime,
    pub(crate) instances: Vec<Instance>,
    /// Frequent ones first.
    pub(crate) operations: Vec<ServiceOperation>,
}

/// A running copy of a service.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) pod: String,
}

/// How a language's instrumentation speaks of itself.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) language: &'static str,
    pub(crate) sdk_version: &'static str,
    pub(crate) http_scope: &'static str,
    pub(crate) rpc_scope: &'static str,
    pub(crate) db_scope: &'static str,
    pub(crate) thread: &'static str,
    pub(crate) frame: &'static str,
}

/// Something a service offers.
#[derive(Debug, Clone)]
pub(crate) struct ServiceOperation {
    pub(crate) entry: Entry,
    /// Calls it makes during its work, repeatedly.
    pub(crate) calls: Vec<OperationCall>,
}

/// How an operation is reached.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Http { method: &'static str, route: String },
    Rpc { service: String, method: String },
    Message { topic: String },
}

/// Something an operation does.
#[derive(Debug, Clone)]
pub(crate) enum OperationCall {
    /// Calls an operation of a service.
    Service {
        service: usize,
        operation: usize,
    },
    Database {
        system: &'static str,
        table: String,
        verb: &'static str,
        statement: String,
    },
    Cache {
        verb: &'static str,
    },
    Publish {
        topic: String,
    },
    Inside {
        function: String,
    },
}

const DOMAINS: [&str; 20] = [
    "cart",
    "catalog",
    "checkout",
    "payment",
    "ledger",
    "fraud",
    "customer",
    "identity",
    "session",
    "search",
    "pricing",
    "promotion",
    "inventory",
    "warehouse",
    "shipping",
    "tracking",
    "notify",
    "review",
    "recommend",
    "report",
];
const ROLES: [&str; 3] = ["gateway", "service", "worker"];
const NAMESPACES: [&str; 4] = ["shop", "bank", "logistics", "insight"];
const VERBS: [&str; 8] = ["get", "list", "create", "update", "cancel", "confirm", "price", "check"];
const NOUNS: [&str; 10] = [
    "item", "order", "account", "session", "quote", "stock", "parcel", "voucher", "profile",
    "entry",
];

const RUNTIMES: [Runtime; 4] = [
    Runtime {
        language: "java",
        sdk_version: "1.49.0",
        http_scope: "io.opentelemetry.tomcat-10.0",
        rpc_scope: "io.opentelemetry.grpc-1.6",
        db_scope: "io.opentelemetry.jdbc",
        thread: "http-nio-8080-exec-",
        frame: "\tat com.example.$.internal.Default$Handler.lambda$invoke$%(Default$Handler.java:%)\n",
    },
    Runtime {
        language: "go",
        sdk_version: "1.36.0",
        http_scope: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
        rpc_scope: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
        db_scope: "github.com/XSAM/otelsql",
        thread: "goroutine-",
        frame: "github.com/example/$/internal/handler.(*Server).serve%(0xc000%)\n\t/src/internal/handler/server.go:%\n",
    },
    Runtime {
        language: "python",
        sdk_version: "1.34.1",
        http_scope: "opentelemetry.instrumentation.fastapi",
        rpc_scope: "opentelemetry.instrumentation.grpc",
        db_scope: "opentelemetry.instrumentation.psycopg",
        thread: "AnyIO worker thread ",
        frame: "  File \"/app/$/handlers/module_%.py\", line %, in handle_request\n    return await self.call(request)\n",
    },
    Runtime {
        language: "nodejs",
        sdk_version: "2.0.1",
        http_scope: "@opentelemetry/instrumentation-http",
        rpc_scope: "@opentelemetry/instrumentation-grpc",
        db_scope: "@opentelemetry/instrumentation-pg",
        thread: "main-",
        frame: "    at async $Controller.handle% (/app/node_modules/@example/$/dist/controller.js:%:17)\n",
    },
];

/// Every service, in layers: a gateway calls services, a service calls services after it and
/// workers; nobody calls a service before it, so that no call goes round.
pub(crate) fn services(random: &mut Random) -> Vec<Service> {
    let count = DOMAINS.len() * ROLES.len();
    let operation_counts: Vec<usize> = (0..count).map(|_| random.between(5, 25)).collect();
    (0..count).map(|index| service(index, &operation_counts, random)).collect()
}

fn service(index: usize, operation_counts: &[usize], random: &mut Random) -> Service {
    let domain = DOMAINS[index % DOMAINS.len()];
    let role = ROLES[index / DOMAINS.len()];
    let name = format!("{domain}-{role}");
    let operations = (0..operation_counts[index])
        .map(|number| ServiceOperation {
            entry: entry(role, domain, number),
            calls: calls(index, domain, operation_counts, random),
        })
        .collect();
    Service {
        namespace: NAMESPACES[index % NAMESPACES.len()],
        version: format!("{}.{}.{}", random.between(1, 4), random.below(30), random.below(10)),
        runtime: &RUNTIMES[index % RUNTIMES.len()],
        instances: (0..random.between(2, 6)).map(|_| instance(&name, random)).collect(),
        operations,
        name,
    }
}

fn instance(service: &str, random: &mut Random) -> Instance {
    let (replica, pod) = (random.next() >> 24, random.next() >> 44);
    Instance {
        id: format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{replica:012x}",
            random.next() >> 32,
            random.next() >> 48,
            random.below(4096),
            random.below(4096)
        ),
        host: format!(
            "ip-10-2-{}-{}.eu-central-1.compute.internal",
            random.below(4),
            random.below(250)
        ),
        pod: format!("{service}-{:010x}-{pod:05x}", replica & 0xff_ffff_ffff),
    }
}

fn entry(role: &str, domain: &str, number: usize) -> Entry {
    let (verb, noun) = (VERBS[number % VERBS.len()], NOUNS[(number / 2) % NOUNS.len()]);
    match role {
        "gateway" => Entry::Http {
            method: if verb == "get" || verb == "list" { "GET" } else { "POST" },
            route: format!("/api/v2/{domain}/{noun}s/{{id}}/{verb}"),
        },
        "service" => {
            let (first, rest) = verb.split_at(1);
            Entry::Rpc {
                service: format!("example.{domain}.v1.{domain}Service"),
                method: format!("{}{rest}{noun}{number}", first.to_uppercase()),
            }
        }
        _ => Entry::Message { topic: format!("{domain}.{noun}.{verb}") },
    }
}

fn calls(
    caller: usize,
    domain: &str,
    operation_counts: &[usize],
    random: &mut Random,
) -> Vec<OperationCall> {
    let noun = *random.pick(&NOUNS);
    let mut calls = vec![database(domain, noun, random)];
    if random.chance(0.6) {
        calls.push(OperationCall::Cache { verb: ["GET", "SET", "MGET"][random.below(3)] });
    }
    if random.chance(0.4) {
        calls.push(OperationCall::Inside { function: format!("{}_{noun}", random.pick(&VERBS)) });
    }
    // Workers are at the end of every chain.
    let later = operation_counts.len() - caller - 1;
    for _ in 0..random.between(1, 4).min(later) {
        let service = caller + 1 + random.skewed(later);
        let operation = random.skewed(operation_counts[service]);
        calls.push(OperationCall::Service { service, operation });
    }
    if random.chance(0.3) {
        calls.push(OperationCall::Publish { topic: format!("{domain}.{noun}.changed") });
    }
    calls
}

fn database(domain: &str, noun: &str, random: &mut Random) -> OperationCall {
    let table = format!("{domain}_{noun}");
    let columns = "id, tenant_id, state, amount, currency, created_at, updated_at";
    let (verb, statement) = match random.below(5) {
        0 => (
            "INSERT",
            format!(
                "INSERT INTO {table} ({columns}) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id"
            ),
        ),
        1 => (
            "UPDATE",
            format!(
                "UPDATE {table} SET state = $1, updated_at = now() WHERE id = $2 AND tenant_id = $3"
            ),
        ),
        2 => (
            "SELECT",
            format!(
                "SELECT {columns} FROM {table} t JOIN {domain}_tenant n ON n.id = t.tenant_id WHERE t.tenant_id = $1 AND t.state IN ($2, $3) ORDER BY t.created_at DESC LIMIT 50"
            ),
        ),
        _ => ("SELECT", format!("SELECT {columns} FROM {table} WHERE id = ")),
    };
    let system = if random.chance(0.7) { "postgresql" } else { "mysql" };
    OperationCall::Database { system, table, verb, statement }
}
