//! Messages between the server and a worker: the process that plans and runs one query.
//!
//! ```text
//! server ─► worker   Job · batches of rows · ScanEnd … ScanEnd · Write
//! worker ─► server   Ready · Begun · Scan · Next · Stop … Answered | Described | Failed · parts · Written
//! ```
//!
//! Owns their shape; `frame` owns their bytes. The server trusts nothing in a message of a worker:
//! it looks up every number and bounds every length.

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use tidings_proto::{
    DurationNanos,
    api::{SqlLack, SqlRead},
};

use crate::{
    AnswerFormat, Query, SqlError, SqlLimits,
    dynamic_filters::Since,
    parameters, prescan,
    views::{Condition, Relation},
};

/// A message to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ServerMessage {
    /// The worker's only task.
    Job(Box<Assignment>),
    /// A scan has given all its rows, or has failed; the server knows why.
    ScanEnd { scan: u32, failed: bool },
    /// The rows of the answer are wanted in this form.
    Write { form: AnswerFormat, facts: Facts },
}

/// A message from a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WorkerMessage {
    /// The worker has limited itself.
    Ready(Confinement),
    /// The worker has its task.
    Begun,
    /// The query reads a view.
    Scan(ScanRequest),
    /// Another batch of a scan is wanted, and rows since this time.
    Next { scan: u32, since: Since },
    /// No more rows of a scan are wanted.
    Stop { scan: u32 },
    /// The query has run.
    Answered(Head),
    /// The query is described: two parts before this have its columns and its placeholders.
    Described,
    /// There is no answer.
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
    /// Says which columns its answer has.
    Describe(Query),
    /// The same of a text whose placeholders have no values yet.
    Prepare(String),
}

impl Task {
    /// Refuses what no message has room for.
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
    /// The columns of the view, by their places in its schema.
    pub(crate) columns: Vec<usize>,
    /// Conditions that hold for all rows that the query uses.
    pub(crate) conditions: Vec<Condition>,
    /// The query comes to want only rows since some time.
    pub(crate) narrows: bool,
}

impl ScanRequest {
    /// The columns that its batches have; `None` when it asks for columns that the view has not.
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
    pub(crate) cut: Option<SqlLack>,
}

/// Facts about an answer that only the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) lacks: Vec<SqlLack>,
    pub(crate) read: SqlRead,
    pub(crate) repeats_counted: bool,
    pub(crate) elapsed: DurationNanos,
}

/// The kernel's means that confine a worker, besides its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
}
