//! What users may set about queries.

/// What queries may cost and which attributes name transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySettings {
    /// Attributes whose values are transaction ids.
    pub transaction_keys: Vec<String>,
    /// A search stops after looking at this many rows.
    pub search_rows_max: u64,
}
