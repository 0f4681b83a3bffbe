//! Bounds on the cost of a query.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// Maximum number of row hashes remembered to drop repeats; beyond it a repeated row may count
    /// twice.
    pub remembered_max: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            memory_bytes_max: 256 << 20,
            rows_max: 100_000,
            answer_bytes_max: 64 << 20,
            running_max: 4,
            remembered_max: 4_000_000,
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
/// Maximum bytes that the functions of one operator may allocate for one batch of rows.
pub(crate) const MADE_BYTES_MAX: u64 = 128 << 20;
/// A row that is wider is not joined: a batch of joined rows would be as many times that.
pub(crate) const JOINED_ROW_BYTES_MAX: usize = 16 << 10;
/// Rows that operators hand on at once.
pub(crate) const BATCH_ROWS: usize = 4_096;
/// The stack of the threads that plan and run: a plan may be as deep as its query has operators.
pub(crate) const STACK_BYTES: usize = 64 << 20;
/// A regular expression's compiled form.
pub(crate) const PATTERN_BYTES_MAX: usize = 256 << 10;
