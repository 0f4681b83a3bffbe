//! Status of the server, its limits in force and its recent slowest queries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StorageStatus;
use crate::{DurationNanos, UnixNanos};

/// The state of the server, cheap to ask for every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// The version of Tidings and the commit it was built from, as `0.1.0 (0123456789ab)`; the
    /// commit is absent where the build did not know it.
    pub version: String,
    /// The tenant whose receivers, counts, tasks and sizes these are.
    #[serde(default)]
    #[schema(example = "default")]
    pub tenant: String,
    /// When it started.
    #[schema(value_type = String)]
    pub started_unix_nano: UnixNanos,
    /// Where it listens.
    pub receivers: Vec<ReceiverStatus>,
    /// Spans.
    pub spans: SignalCounts,
    /// Log records.
    pub logs: SignalCounts,
    /// Values in which a secret was replaced before they were stored, since the start (`redact`).
    #[serde(default)]
    pub redacted_values: u64,
    /// Set where secrets are replaced before anything is stored (`redact`).
    #[serde(default)]
    pub redact: bool,
    /// The attributes whose values are secret too (`redact-keys`).
    #[serde(default)]
    pub redact_keys: Vec<String>,
    /// True if anything was ever received. The welcome page waits for it.
    pub has_data: bool,
    /// True while demo traffic is being sent.
    pub demo_running: bool,
    /// Set where other machines may send and read although nothing checks who they are
    /// (`insecure`).
    pub insecure: bool,
    /// Set where every request needs a key (`require-keys`).
    #[serde(default)]
    pub keys_required: bool,
    /// The attributes whose values name transactions (`transaction-keys`).
    #[serde(default)]
    pub transaction_keys: Vec<String>,
    /// The long-lived tasks: of the process and its store, of other tenants those of their store.
    pub tasks: Vec<TaskStatus>,
    /// Sizes of what is stored.
    #[serde(default)]
    pub storage: StorageStatus,
    /// Memory of the process; absent for tenants other than the default one, and where the system
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ProcessMemory>,
}

/// Memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessMemory {
    /// Bytes in use.
    pub resident_bytes: u64,
    /// Bytes that are divided among what takes much of it (`memory`); absent where they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_bytes: Option<u64>,
}

/// One long-lived task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Its name, as `flush`.
    pub name: String,
    /// How it is.
    pub state: TaskCondition,
    /// How often it was restarted after a panic.
    pub restarts: u64,
    /// The words of its last panic; empty when there was none.
    pub last_panic: String,
}

/// The condition of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskCondition {
    /// It runs.
    Running,
    /// It panicked and is about to run again.
    Restarting,
    /// It panicked, and the process is about to end.
    Failed,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverStatus {
    /// Its name, as `otlp/grpc`.
    pub name: String,
    /// Where it listens, as `127.0.0.1:4317`.
    pub address: String,
    /// It speaks TLS, and nothing else.
    pub tls: bool,
    /// Requests answered with success since the start.
    pub accepted_requests: u64,
    /// Requests refused since the start.
    pub refused_requests: u64,
    /// Requests answered with success in the last minute.
    #[serde(default)]
    pub accepted_last_minute: u64,
    /// Requests refused in the last minute.
    #[serde(default)]
    pub refused_last_minute: u64,
    /// Bytes of bodies since the start, before decompression, those of refused requests among them.
    #[serde(default)]
    pub received_bytes: u64,
    /// The same in the last minute.
    #[serde(default)]
    pub bytes_last_minute: u64,
    /// The reasons why requests were refused since the start, the latest first.
    pub refusals: Vec<RefusalStatus>,
}

/// A receiver that setups of senders name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandardReceiver {
    /// Its name, as in [`ReceiverStatus::name`].
    pub name: &'static str,
    /// Default of the setting of its address.
    pub address: &'static str,
}

impl StandardReceiver {
    /// OTLP over gRPC.
    pub const OTLP_GRPC: Self = Self { name: "otlp/grpc", address: "127.0.0.1:4317" };
    /// OTLP over HTTP.
    pub const OTLP_HTTP: Self = Self { name: "otlp/http", address: "127.0.0.1:4318" };
    /// Zipkin over HTTP.
    pub const ZIPKIN: Self = Self { name: "zipkin", address: "127.0.0.1:9411" };
}

/// The requests that a receiver refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalStatus {
    /// Name of the reason, as in the metric `tidings_receiver_refusals_total`.
    pub reason: String,
    /// Number of requests since the start.
    pub count: u64,
    /// Message of the last refusal, as its sender got it but without values of the body.
    pub message: String,
    /// Address of the last sender, and its `User-Agent` where it has one.
    pub sender: String,
    /// Time of the last refusal.
    #[schema(value_type = String)]
    pub last_unix_nano: UnixNanos,
}

/// Record counts of one signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalCounts {
    /// Accepted since the start.
    pub received: u64,
    /// Refused since the start, by partial success.
    pub rejected: u64,
    /// Stored, in memory and in files.
    pub stored: u64,
    /// When the last of them were accepted; absent while none were since the start.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received_unix_nano: Option<UnixNanos>,
}

/// The limits of the process, in the order of `tidings config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitList {
    /// The limits.
    pub limits: Vec<LimitInForce>,
}

/// One setting that bounds something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitInForce {
    /// Name of the setting.
    #[schema(example = "sql-seconds-max")]
    pub name: String,
    /// The value, as a user would write it.
    #[schema(example = "30")]
    pub value: String,
    /// Unit of the value: `bytes`, `seconds`, `milliseconds`, `rows`, `age` or `count`.
    #[schema(example = "seconds")]
    pub unit: String,
    /// The default.
    pub default_value: String,
    /// Source of the value: `default`, `file`, `command line`, a variable's name, or the way it was
    /// found out, as `3/32 of memory`.
    pub origin: String,
    /// Meaning of the setting.
    pub help: String,
}

/// The slowest queries of the last hour, the slowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowQueryList {
    /// Queries that ended before this are not listed.
    #[schema(value_type = String)]
    pub since_unix_nano: UnixNanos,
    /// Number of queries that ended since then; at most 50 of them are listed.
    pub query_count: u64,
    /// The queries.
    pub queries: Vec<SlowQuery>,
    /// Times of all answers of the process since its start by the API that was asked, the most
    /// asked first; absent for tenants other than `default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<AnswerTimes>,
}

/// Times from a question to the beginning of its answer, of one API. A question that waits for a new
/// version counts with its wait. Percentiles are estimated from the histogram
/// `tidings_query_seconds` of `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerTimes {
    /// The API that was asked, as in [`SlowQuery::kind`].
    #[schema(example = "traces")]
    pub kind: String,
    /// Number of answers, refusals and failures among them.
    pub count: u64,
    /// Number of questions that failed (5xx).
    pub failed_count: u64,
    /// Half of the answers took no longer.
    #[schema(value_type = String)]
    pub p50_nano: DurationNanos,
    /// 95 % of the answers took no longer.
    #[schema(value_type = String)]
    pub p95_nano: DurationNanos,
    /// 99 % of the answers took no longer.
    #[schema(value_type = String)]
    pub p99_nano: DurationNanos,
    /// The longest.
    #[schema(value_type = String)]
    pub max_nano: DurationNanos,
}

/// One query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlowQuery {
    /// The API that was asked, as `traces`, `logs` or `sql`.
    #[schema(example = "traces")]
    pub kind: String,
    /// Method, path and parameters, or the text in SQL; keys in it are cut, as in the audit log.
    #[schema(example = "GET /api/v1/traces?service=shop")]
    pub words: String,
    /// When it was asked.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// Time from then until it had its result, waiting for its turn included.
    #[schema(value_type = String)]
    pub duration_nano: DurationNanos,
    /// Rows that were read.
    pub rows: u64,
    /// The end of the query.
    pub outcome: QueryOutcome,
    /// Name of the key or person who asked; absent where no keys are needed, and for those who may
    /// not administer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
}

/// The end of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueryOutcome {
    /// It had its result.
    Answered,
    /// The question was refused.
    Refused,
    /// It failed or ran out of time.
    Failed,
    /// Its asker went away.
    Abandoned,
}
