//! Status of the server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StorageStatus;
use crate::UnixNanos;

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
    /// `otlp/grpc`, `otlp/http` or `zipkin`.
    pub name: String,
    /// Where it listens, as `127.0.0.1:4317`.
    pub address: String,
    /// It speaks TLS, and nothing else.
    pub tls: bool,
    /// Requests answered with success since the start.
    pub accepted_requests: u64,
    /// Requests refused since the start.
    pub refused_requests: u64,
    /// The reasons why requests were refused since the start, the latest first.
    pub refusals: Vec<RefusalStatus>,
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
}
