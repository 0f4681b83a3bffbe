//! Query settings of the user.

/// Bounds on the cost of queries, and the attributes that carry transaction ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySettings {
    /// Attributes whose values are transaction ids.
    pub transaction_keys: Vec<String>,
    /// A search stops after looking at this many rows.
    pub search_rows_max: u64,
}
