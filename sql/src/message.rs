//! Messages between the server and a worker: the process that plans and runs one query.
//!
//! ```text
//! server ─► worker   Job · batches of rows · ScanEnd … ScanEnd · Write
//! worker ─► server   Ready · Begun · Scan · Next · Stop … Answered | Described | Failed · parts · Written
//! ```
//!
//! Owns their structure; `frame` owns their bytes. The server trusts no message of a worker: it
//! checks every number and bounds every length.

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use tidings_proto::{
    DurationNanos,
    api::{SqlPartialReason, SqlRead},
};

use crate::{
    Parameter, SqlError, SqlLimits,
    dynamic_filters::Since,
    parameters, prescan,
    views::{Condition, Relation},
};

/// Exit code of a worker after a panic of the query's thread.
pub(crate) const PANICKED: i32 = 101;

/// A query and the maximum size of its answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Query {
    /// Its text.
    pub text: String,
    /// The values of its placeholders.
    pub parameters: Vec<Parameter>,
    /// Maximum number of rows; `None` means as many as the bounds allow.
    pub rows_max: Option<usize>,
}

impl Query {
    /// A query without placeholders, for as many rows as the bounds allow.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerFormat {
    /// A JSON object with columns, rows and the work of the scans.
    Json,
    /// [RFC 4180](https://www.rfc-editor.org/rfc/rfc4180), with a header line.
    Csv,
    /// Arrow's streaming format.
    Arrow,
    /// Arrow Flight's messages, each behind its length.
    Flight,
}

/// A message to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ServerMessage {
    /// The worker's only task.
    Job(Box<Assignment>),
    /// A scan has sent all its rows, or has failed; the server knows the reason.
    ScanEnd { scan: u32, failed: bool },
    /// Requests the rows of the answer in this format.
    Write { form: AnswerFormat, facts: AnswerMetadata },
}

/// A message from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WorkerMessage {
    /// The worker has confined itself.
    Ready(Confinement),
    /// The worker has its task.
    Begun,
    /// The query reads a view.
    Scan(ScanRequest),
    /// Requests another batch of a scan, with only the rows since this time.
    Next { scan: u32, since: Since },
    /// Stops a scan: no more of its rows are needed.
    Stop { scan: u32 },
    /// The query has run.
    Answered(Head),
    /// The query is described. Two parts before this message have its columns and its placeholders.
    Described,
    /// The query failed.
    Failed(SqlError),
    /// All parts of the answer have been sent.
    Written,
}

/// A worker's task and the limits of the query.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) task: Task,
    pub(crate) limits: SqlLimits,
}

/// A worker's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Runs the query.
    Answer(Query),
    /// Describes the columns of the query's answer.
    Describe(Query),
    /// Describes the columns of a text whose placeholders have no values yet.
    Prepare(String),
}

impl Task {
    /// Refuses a task that is too long for a message.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        match self {
            Self::Answer(query) | Self::Describe(query) => {
                prescan::check_length(&query.text)?;
                parameters::check_length(&query.parameters)
            }
            Self::Prepare(text) => prescan::check_length(text),
        }
    }
}

/// A scan of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScanRequest {
    /// The scan's number, which no other scan of the query has.
    pub(crate) scan: u32,
    pub(crate) relation: Relation,
    /// The columns of the view, by their positions in its schema.
    pub(crate) columns: Vec<usize>,
    /// Conditions that hold for all rows that the query uses.
    pub(crate) conditions: Vec<Condition>,
    /// True when the query may later need only rows since some time.
    pub(crate) narrows: bool,
}

impl ScanRequest {
    /// Returns the columns of its batches; `None` when it requests columns that the view lacks.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        let schema = self.relation.schema();
        let has_all = self.columns.len() <= schema.fields().len();
        has_all.then(|| schema.project(&self.columns).ok().map(SchemaRef::new))?
    }
}

/// The beginning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) rows: usize,
    /// The bound at which the rows were cut off.
    pub(crate) cut: Option<SqlPartialReason>,
}

/// Facts about an answer that only the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerMetadata {
    pub(crate) lacks: Vec<SqlPartialReason>,
    pub(crate) read: SqlRead,
    pub(crate) repeats_counted: bool,
    pub(crate) elapsed: DurationNanos,
}

/// The means of the kernel that confine a worker, besides its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
}
