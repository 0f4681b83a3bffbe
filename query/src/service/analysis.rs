//! The questions about many spans: one method each.

use tidings_proto::api::{ExceptionList, Heatmap, RedResult, ServiceGraph, TransactionKindList};

use super::QueryService;
use crate::{
    QueryError,
    analysis::{
        ExceptionSearch, GraphSearch, HeatmapSearch, RedSearch, exceptions, graph, heatmap, red,
    },
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

    /// Who calls whom.
    ///
    /// # Errors
    /// `NotFound` when nothing of the trace it is to be of is stored.
    pub async fn graph(&self, search: GraphSearch) -> Result<ServiceGraph, QueryError> {
        self.ask(move |reader| graph::graph(reader, &search)).await
    }

    /// How many spans took how long when.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn heatmap(&self, search: HeatmapSearch) -> Result<Heatmap, QueryError> {
        self.ask(move |reader| heatmap::heatmap(reader, &search)).await
    }

    /// Exceptions in groups.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn exceptions(&self, search: ExceptionSearch) -> Result<ExceptionList, QueryError> {
        self.ask(move |reader| exceptions::exceptions(reader, &search)).await
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
