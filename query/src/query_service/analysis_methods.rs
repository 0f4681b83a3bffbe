//! Queries that aggregate many spans, one method each.

use tidings_proto::api::{
    ChangeReport, Comparison, ExceptionList, ExceptionTransactions, Explanation, Heatmap,
    LogHistogram, LogPatternList, LogSearchResult, LogStats, RedResult, RepeatList, ServiceGraph,
    TraceLinks, TransactionKindList, VersionChangeList,
};

use super::QueryService;
use crate::{
    QueryError, TraceName,
    analysis::transaction_types::{self, KindSearch},
    analysis::{
        ChangeSearch, CompareSearch, DeploymentSearch, ExceptionSearch, ExceptionTransactionSearch,
        ExplainSearch, GraphSearch, HeatmapSearch, LogHistogramSearch, LogStatsSearch,
        PatternSearch, RedSearch, changes, deployments, exception_transactions, exceptions,
        explain, heatmap, log_histogram, log_stats, patterns, red, service_graph, trace_comparison,
    },
    trace,
};

impl QueryService {
    /// Changes of transactions and services against an earlier time, and their culprits.
    ///
    /// # Errors
    /// `Parameter` when a window has too many steps, or nothing lies before it.
    pub async fn changes(&self, search: ChangeSearch) -> Result<ChangeReport, QueryError> {
        let mut report = self.ask(move |reader| changes::changes(reader, &search)).await?;
        if let Some(end) = &mut report.traffic_end {
            end.refusals = self.receivers.refusals_since(end.since_unix_nano);
        }
        Ok(report)
    }

    /// Version changes of a service.
    ///
    /// # Errors
    /// `Parameter` when the window has too many steps.
    pub async fn deployments(
        &self,
        search: DeploymentSearch,
    ) -> Result<VersionChangeList, QueryError> {
        self.ask(move |reader| deployments::deployments(reader, &search)).await
    }

    /// Rate, errors and duration of spans, by group.
    ///
    /// # Errors
    /// `Parameter` when the window has too many steps.
    pub async fn red(&self, search: RedSearch) -> Result<RedResult, QueryError> {
        self.ask(move |reader| red::red(reader, &search)).await
    }

    /// Service graph of a window or of one trace.
    ///
    /// `NotFound` when the search names a trace and nothing of it is stored.
    pub async fn graph(&self, search: GraphSearch) -> Result<ServiceGraph, QueryError> {
        self.ask(move |reader| service_graph::graph(reader, &search)).await
    }

    /// Heatmap of span durations over time.
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

    /// Transactions with an exception, by type.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn exception_transactions(
        &self,
        search: ExceptionTransactionSearch,
    ) -> Result<ExceptionTransactions, QueryError> {
        self.ask(move |reader| exception_transactions::exception_transactions(reader, &search))
            .await
    }

    /// Attributes that distinguish selected spans from the rest.
    ///
    /// # Errors
    /// None of its own.
    pub async fn explain(&self, search: ExplainSearch) -> Result<Explanation, QueryError> {
        self.ask(move |reader| explain::explain(reader, &search)).await
    }

    /// How traces differ in the shape of their trees.
    ///
    /// # Errors
    /// `NotFound` when a side has no trace.
    pub async fn compare(&self, search: CompareSearch) -> Result<Comparison, QueryError> {
        self.ask(move |reader| trace_comparison::compare(reader, &search)).await
    }

    /// The calls that a trace makes again and again.
    ///
    /// # Errors
    /// As [`Self::skeleton`].
    pub async fn repeats(&self, name: TraceName) -> Result<RepeatList, QueryError> {
        self.ask(move |reader| trace::repeats(reader, name)).await
    }

    /// The links of a trace, both ways.
    ///
    /// # Errors
    /// `NotFound` when no span of it is stored.
    pub async fn links(&self, name: TraceName) -> Result<TraceLinks, QueryError> {
        self.ask(move |reader| trace::links(reader, name)).await
    }

    /// The log records of a trace, those included that have its id only in a field or their text.
    ///
    /// # Errors
    /// As [`Self::links`].
    pub async fn log_records(&self, name: TraceName) -> Result<LogSearchResult, QueryError> {
        self.ask(move |reader| trace::log_records(reader, name)).await
    }

    /// Log records by step and severity.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn log_histogram(
        &self,
        search: LogHistogramSearch,
    ) -> Result<LogHistogram, QueryError> {
        self.ask(move |reader| log_histogram::log_histogram(reader, &search)).await
    }

    /// Log records by the values of fields.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn log_stats(&self, search: LogStatsSearch) -> Result<LogStats, QueryError> {
        self.ask(move |reader| log_stats::log_stats(reader, &search)).await
    }

    /// Log messages that are alike.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn log_patterns(&self, search: PatternSearch) -> Result<LogPatternList, QueryError> {
        self.ask(move |reader| patterns::patterns(reader, &search)).await
    }

    /// Transaction types.
    ///
    /// # Errors
    /// As [`Self::red`].
    pub async fn transaction_kinds(
        &self,
        search: KindSearch,
    ) -> Result<TransactionKindList, QueryError> {
        self.ask(move |reader| transaction_types::kinds(reader, &search)).await
    }
}
