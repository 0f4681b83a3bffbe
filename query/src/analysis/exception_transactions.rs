//! Transactions that an exception affects, by type.
//!
//! Spans with exceptions are read, because lists of exceptions name no traces. The type of a
//! transaction is that of its whole trace, which is assembled. When there are many traces, a stable
//! sample is assembled. Exceptions of log records are left out.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use tidings_proto::{
    TraceId,
    api::{AffectedTransactionType, ExceptionTransactions},
};
use tidings_storage::{
    ExceptionAttributes, Projection, Scan, ScanStats, SpanRows, TimeRange, transaction_position,
};

use super::{
    each_tree,
    exceptions::{exception_spans, group_id},
    window::Window,
};
use crate::{
    QueryError,
    execution::{Reader, search_stats},
};

/// Maximum number of traces that are assembled to determine their types.
const ANALYSED_MAX: usize = 1_000;

/// Selection of exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExceptionTransactionSearch {
    /// Range in which the spans of the exceptions begin.
    pub start: TimeRange,
    /// Services of these spans; `None`: all.
    pub services: Option<Vec<String>>,
    /// Operation of these spans; `None`: all.
    pub operation: Option<String>,
    /// Type of the exceptions; `None`: all.
    pub exception_type: Option<String>,
    /// Id of the group of the exceptions; `None`: all.
    pub group: Option<String>,
    /// Maximum number of transaction types returned.
    pub limit: usize,
}

impl ExceptionTransactionSearch {
    /// Reports whether one of the row's exceptions matches the search.
    fn matches(&self, rows: &SpanRows, row: usize) -> bool {
        let is_wanted = |exception: ExceptionAttributes| {
            let has_type = self
                .exception_type
                .as_ref()
                .is_none_or(|wanted| *wanted == exception.exception_type);
            has_type
                && self.group.as_ref().is_none_or(|wanted| {
                    let stack = exception.normalised_stack();
                    let (service, operation) = (rows.service(row), rows.name(row));
                    *wanted == group_id([service, operation, &exception.exception_type, &stack])
                })
        };
        rows.events(row).iter().filter_map(ExceptionAttributes::from_event).any(is_wanted)
    }
}

/// Transactions with an exception, by type.
///
/// # Errors
/// `Parameter` when a part of the search is wrong; also the errors of [`Reader::spans`].
pub fn exception_transactions(
    reader: &Reader,
    search: &ExceptionTransactionSearch,
) -> Result<ExceptionTransactions, QueryError> {
    let window = Window::new(reader, search.start, None)?;
    let (traces, stats) = traces(reader, window, search)?;
    let transaction_count = traces.len() as u64;
    let mut ids: Vec<TraceId> = traces.into_iter().collect();
    ids.sort_by_key(|id| (transaction_position(*id), *id));
    ids.truncate(ANALYSED_MAX);
    let mut counts: HashMap<(String, String, bool), u64> = HashMap::new();
    let mut analysed_count = 0;
    each_tree(reader, &ids, |tree, names| {
        let Some(entry) = tree.entry else { return };
        let fact = tree.fact(entry);
        let (service, operation) = (names.text(fact.service), names.text(fact.operation));
        let transaction_type = (service.to_owned(), operation.to_owned(), tree.has_root());
        *counts.entry(transaction_type).or_default() += 1;
        analysed_count += 1;
    })?;
    let transaction_type_count = counts.len() as u64;
    let mut transaction_types: Vec<AffectedTransactionType> = counts
        .into_iter()
        .map(|((service, operation, has_root), transaction_count)| AffectedTransactionType {
            service,
            operation,
            has_root,
            transaction_count,
        })
        .collect();
    transaction_types.sort_by(|a, b| {
        let most = b.transaction_count.cmp(&a.transaction_count);
        most.then_with(|| a.service.cmp(&b.service))
            .then_with(|| a.operation.cmp(&b.operation))
            .then_with(|| a.has_root.cmp(&b.has_root))
    });
    transaction_types.truncate(search.limit);
    Ok(ExceptionTransactions {
        window: window.view(),
        transaction_count,
        analysed_count,
        transaction_types,
        transaction_type_count,
        searched: search_stats(reader, stats),
    })
}

/// Traces with a span that recorded a matching exception. The search stops at
/// [`QueryLimits::counted_max`](crate::QueryLimits::counted_max) traces and is then incomplete.
fn traces(
    reader: &Reader,
    window: Window,
    search: &ExceptionTransactionSearch,
) -> Result<(HashSet<TraceId>, ScanStats), QueryError> {
    let filter = exception_spans(window, search.services.clone(), search.operation.clone());
    let mut traces = HashSet::new();
    let scan = Scan { detail: Projection::Events, rows_max: reader.settings.search_rows_max };
    let mut is_full = false;
    let stats = reader.spans(&filter, scan, |rows| {
        for row in 0..rows.len() {
            let trace = rows.trace_id(row);
            if !traces.contains(&trace) && search.matches(rows, row) {
                traces.insert(trace);
            }
        }
        is_full = traces.len() >= reader.limits.counted_max;
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((traces, ScanStats { complete: stats.complete && !is_full, ..stats }))
}
