//! Bounds on the cost of a query.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SqlError;

/// The bounds of bytes where there is enough memory.
const MEMORY_BYTES_MAX: usize = 256 << 20;
const ANSWER_BYTES_MAX: usize = 64 << 20;
const MADE_BYTES_MAX: u64 = 128 << 20;

/// Memory of a remembered hash in a table that is at least half full, including its copy while it
/// grows.
const REPEAT_BYTES: usize = 64;

/// Bounds on the cost of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlLimits {
    /// Maximum duration of a query, planning included.
    pub deadline: Duration,
    /// Maximum memory that the operators of a query keep.
    pub memory_bytes_max: usize,
    /// Maximum rows of an answer.
    pub rows_max: usize,
    /// Maximum memory of an answer's rows.
    pub answer_bytes_max: usize,
    /// Maximum number of running queries, those included whose answer is still being sent. From 1 to
    /// [`RUNNING_QUERIES_MAX`].
    pub running_max: usize,
    /// Maximum time that a query waits for a slot.
    pub slot_wait: Duration,
    /// Minimum time for sending an answer, before its query has to make room for clients with fewer
    /// slots.
    pub sending_min: Duration,
    /// Maximum time for sending an answer; after it the query's process is killed.
    pub sending_max: Duration,
    /// Maximum bytes that the functions of one operator may allocate for one batch of rows.
    pub made_bytes_max: u64,
    /// Maximum number of row hashes remembered to drop repeats; beyond it a repeated row may count
    /// twice.
    pub remembered_max: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            memory_bytes_max: MEMORY_BYTES_MAX,
            rows_max: 100_000,
            answer_bytes_max: ANSWER_BYTES_MAX,
            made_bytes_max: MADE_BYTES_MAX,
            running_max: 4,
            slot_wait: Duration::from_secs(10),
            sending_min: Duration::from_secs(5),
            sending_max: Duration::from_secs(600),
            remembered_max: MEMORY_BYTES_MAX / REPEAT_BYTES,
        }
    }
}

impl SqlLimits {
    /// Returns bounds for queries whose operators keep at most this. Below the default, the other
    /// bounds of memory shrink by the same factor, down to an eighth.
    #[must_use]
    pub fn of_memory(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, ..Self::default() }.within_memory()
    }

    /// Returns these bounds with the other bounds of memory as in [`Self::of_memory`].
    #[must_use]
    pub fn within_memory(self) -> Self {
        let memory = self.memory_bytes_max.clamp(MEMORY_BYTES_MAX / 8, MEMORY_BYTES_MAX);
        Self {
            answer_bytes_max: memory / (MEMORY_BYTES_MAX / ANSWER_BYTES_MAX),
            made_bytes_max: MADE_BYTES_MAX.min(memory as u64 / 2),
            remembered_max: memory / REPEAT_BYTES,
            ..self
        }
    }
}

/// The limits that a worker puts on itself before it does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Bytes of address space besides those of the program.
    pub address_bytes_max: u64,
    /// Seconds of processor time.
    pub cpu_seconds_max: u64,
}

/// Maximum of [`SqlLimits::running_max`]: each running query has a process, and threads for each
/// view that it may read.
pub const RUNNING_QUERIES_MAX: usize = 64;
/// Maximum bytes of a query's text.
pub const QUERY_BYTES_MAX: usize = 8 << 10;
/// Maximum words, numbers and signs of a query.
pub const TOKENS_MAX: usize = 2_000;
/// Maximum depth of nested brackets and cases.
pub const NESTING_MAX: usize = 32;
/// Maximum operators of all expressions: a chain of operators is as deep as it is long.
pub const OPERATORS_MAX: usize = 250;
/// Maximum placeholders for values.
pub const PLACEHOLDERS_MAX: usize = 100;
/// Maximum unions, intersections and differences.
pub const SET_OPERATIONS_MAX: usize = 15;
/// Maximum views that are read. A view counts as often as its name occurs after common table
/// expressions are inserted.
pub const RELATIONS_MAX: usize = 16;
/// Maximum columns of an answer and of all intermediate results.
pub const COLUMNS_MAX: usize = 500;
/// Maximum width of a row that is joined: a batch of joined rows is that many times larger.
pub const JOINED_ROW_BYTES_MAX: usize = 16 << 10;
/// Rows that operators pass on at once.
pub const BATCH_ROWS: usize = 4_096;
/// Stack of the threads that plan and run: a plan may be as deep as its query has operators.
pub const STACK_BYTES: usize = 64 << 20;
/// Maximum size of a compiled regular expression.
pub const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Refuses a text that is too long to be scanned.
///
/// # Errors
/// `TooComplex` beyond [`QUERY_BYTES_MAX`].
pub fn check_length(text: &str) -> Result<(), SqlError> {
    let (got, max) = (text.len(), QUERY_BYTES_MAX);
    match got <= max {
        true => Ok(()),
        false => Err(SqlError::TooComplex { what: "bytes".into(), got, max, place: None }),
    }
}
