//! Assembled traces, search, transactions and logs over HTTP.

use std::sync::Arc;

use tidings_storage::{Clock, Store};

/// What queries may cost and which attributes name transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySettings {
    /// Attributes whose values are transaction ids.
    pub transaction_keys: Vec<String>,
    /// A search stops after looking at this many rows.
    pub search_rows_max: u64,
}

/// Answers questions about what is stored.
#[derive(Debug, Clone)]
pub struct QueryService {}

#[expect(clippy::unimplemented, unused_variables, reason = "contract stage")]
impl QueryService {
    /// A service over this store.
    #[must_use]
    pub fn new(store: Store, settings: QuerySettings, clock: Arc<dyn Clock>) -> Self {
        unimplemented!()
    }
}

/// The routes under `/api/v1`, its OpenAPI document included.
#[expect(clippy::unimplemented, unused_variables, reason = "contract stage")]
pub fn router(service: QueryService) -> axum::Router {
    unimplemented!()
}
