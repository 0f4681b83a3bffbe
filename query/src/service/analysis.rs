//! The questions about many spans: one method each.

use tidings_proto::api::{RedResult, TransactionKindList};

use super::QueryService;
use crate::{
    QueryError,
    analysis::{RedSearch, red},
    transactions::kinds::{self, KindSearch},
};

impl QueryService {
    /// Rate, errors and duration of spans, by group.
    ///
    /// # Errors
    /// `Parameter` when the window has too many steps.
    pub async fn red(&self, search: RedSearch) -> Result<RedResult, QueryError> {
        self.ask(move |reader| red::red(reader, &search)).await
    }

    /// The kinds of transactions.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn transaction_kinds(
        &self,
        search: KindSearch,
    ) -> Result<TransactionKindList, QueryError> {
        self.ask(move |reader| kinds::kinds(reader, &search)).await
    }
}
