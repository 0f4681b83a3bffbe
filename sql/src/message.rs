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
    Parameter, SqlError, SqlLimits, limits, parameters,
    scan::RowsSince,
    views::{Condition, Relation},
};

/// Exit code of a worker after a panic of the query's thread.
pub const PANICKED: i32 = 101;

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
pub enum ServerMessage {
    /// The worker's only task.
    Job(Box<Assignment>),
    /// A scan has sent all its rows, or has failed; the server knows the reason.
    ScanEnd {
        /// Number of the scan.
        scan: u32,
        /// True when the scan has failed.
        failed: bool,
    },
    /// Requests the rows of the answer in this format.
    Write {
        /// Format of the answer.
        form: AnswerFormat,
        /// Facts that the worker does not know.
        facts: AnswerMetadata,
    },
}

/// A message from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum WorkerMessage {
    /// The worker has confined itself.
    Ready(Confinement),
    /// The worker has its task.
    Begun,
    /// The query reads a view.
    Scan(ScanRequest),
    /// Requests another batch of a scan, with only the rows since this time.
    Next {
        /// Number of the scan.
        scan: u32,
        /// The rows that are still needed.
        since: RowsSince,
    },
    /// Stops a scan: no more of its rows are needed.
    Stop {
        /// Number of the scan.
        scan: u32,
    },
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
pub struct Assignment {
    /// The task.
    pub task: Task,
    /// The limits of the query.
    pub limits: SqlLimits,
}

/// A worker's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Task {
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
                limits::check_length(&query.text)?;
                parameters::check_length(&query.parameters)
            }
            Self::Prepare(text) => limits::check_length(text),
        }
    }
}

/// A scan of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanRequest {
    /// The scan's number, which no other scan of the query has.
    pub scan: u32,
    /// The relation whose rows it reads.
    pub relation: Relation,
    /// The columns of the view, by their positions in its schema.
    pub columns: Vec<usize>,
    /// Conditions that hold for all rows that the query uses.
    pub conditions: Vec<Condition>,
    /// True when the query may later need only rows since some time.
    pub narrows: bool,
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
pub struct Head {
    /// Number of rows.
    pub rows: usize,
    /// The bound at which the rows were cut off.
    pub cut: Option<SqlPartialReason>,
}

/// Facts about an answer that only the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerMetadata {
    /// Reasons why the answer is partial.
    pub lacks: Vec<SqlPartialReason>,
    /// Statistics of the scans.
    pub read: SqlRead,
    /// True when a repeated span or record may have been counted twice.
    pub repeats_counted: bool,
    /// Duration of the query.
    pub elapsed: DurationNanos,
}

/// The means of the kernel that confine a worker, besides its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// True when Landlock refuses files and networks.
    pub landlock: bool,
    /// True when seccomp refuses calls that are not listed.
    pub seccomp: bool,
}
