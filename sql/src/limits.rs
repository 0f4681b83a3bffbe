//! Bounds on the cost of a query.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bounds of bytes where there is enough memory.
const MEMORY_BYTES_MAX: usize = 256 << 20;
const ANSWER_BYTES_MAX: usize = 64 << 20;
const MADE_BYTES_MAX: u64 = 128 << 20;

/// Memory of a remembered hash, in a table that is half full or more, beside its copy while it grows.
const REPEAT_BYTES: usize = 64;

/// Bounds on the cost of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlLimits {
    /// A query takes no longer, planning included.
    pub deadline: Duration,
    /// The operators of a query keep no more than this in memory.
    pub memory_bytes_max: usize,
    /// An answer has no more rows.
    pub rows_max: usize,
    /// An answer's rows take no more memory.
    pub answer_bytes_max: usize,
    /// Maximum number of running queries, those included whose answer is still being sent.
    pub running_max: usize,
    /// A query waits so long for a place.
    pub place_wait: Duration,
    /// An answer is sent for so long before its query has to make room for others, who have less.
    pub sending_min: Duration,
    /// An answer is sent for no longer: its query's process is killed.
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
            place_wait: Duration::from_secs(10),
            sending_min: Duration::from_secs(5),
            sending_max: Duration::from_secs(600),
            remembered_max: MEMORY_BYTES_MAX / REPEAT_BYTES,
        }
    }
}

impl SqlLimits {
    /// Bounds for queries whose operators keep at most this. Where it is less than by default, the
    /// other bounds of memory are smaller by the same factor, down to an eighth.
    #[must_use]
    pub fn of_memory(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, ..Self::default() }.within_memory()
    }

    /// Returns these bounds with the other bounds of memory as [`Self::of_memory`] has them.
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

/// The longest text of a query, in bytes.
pub const QUERY_BYTES_MAX: usize = 8 << 10;
/// Words, numbers and signs of a query.
pub(crate) const TOKENS_MAX: usize = 2_000;
/// Brackets and cases within each other.
pub(crate) const NESTING_MAX: usize = 32;
/// Operators of all expressions: a chain of them is as deep as it is long.
pub(crate) const OPERATORS_MAX: usize = 250;
/// Places for values.
pub(crate) const PLACEHOLDERS_MAX: usize = 100;
/// Unions, intersections and differences.
pub(crate) const SET_OPERATIONS_MAX: usize = 15;
/// Views that are read, each as often as its name counts once common table expressions are put in
/// their places.
pub(crate) const RELATIONS_MAX: usize = 16;
/// Columns of an answer and of everything in between.
pub(crate) const COLUMNS_MAX: usize = 500;
/// A row that is wider is not joined: a batch of joined rows would be as many times that.
pub(crate) const JOINED_ROW_BYTES_MAX: usize = 16 << 10;
/// Rows that operators hand on at once.
pub(crate) const BATCH_ROWS: usize = 4_096;
/// The stack of the threads that plan and run: a plan may be as deep as its query has operators.
pub(crate) const STACK_BYTES: usize = 64 << 20;
/// A regular expression's compiled form.
pub(crate) const PATTERN_BYTES_MAX: usize = 256 << 10;
