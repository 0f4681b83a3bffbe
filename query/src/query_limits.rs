//! Bounds on the cost of queries: those that a user sets ([`QuerySettings`]) and the others.

use std::time::Duration;

use crate::{QueryError, client_quota::UnreadQuota};

/// Memory budget at and above which all bounds have their defaults.
const BUDGET_MAX: u64 = 4 << 30;
/// Minimum budget that bounds are computed from, because traces and graphs of some size still have
/// to fit.
const BUDGET_MIN: u64 = 256 << 20;

/// Maximum length of names and values that are offered for completion, in bytes; nobody picks
/// longer ones from a list.
pub const OFFERED_BYTES_MAX: usize = 1_024;

/// Maximum number of tags in a search by Jaeger's or Tempo's API. The results for each tag are
/// cached for every sender.
const TAGS_MAX: usize = 32;

/// Checks the number of tags of a search.
///
/// # Errors
/// `Parameter` when there are too many.
pub fn check_tags(count: usize) -> Result<(), QueryError> {
    if count <= TAGS_MAX {
        return Ok(());
    }
    let reason = format!("a search has {TAGS_MAX} tags at most, and this one has {count}");
    Err(QueryError::parameter("tags", reason))
}

/// The bounds of the query service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Maximum number of running queries; more would only share the same processors.
    pub running_max: usize,
    /// Maximum number of waiting queries; further ones are refused as overloaded.
    pub waiting_max: usize,
    /// Maximum number of clients that wait for the next version of an answer.
    pub versions_awaited_max: usize,
    /// Maximum number of log tails.
    pub tails_max: usize,
    /// Maximum duration of a query, time in the queue included.
    pub deadline: Duration,
    /// Minimum interval between streamed parts of a page.
    pub stream_interval: Duration,
    /// Maximum bytes of all answers that clients have not read yet.
    pub unread_bytes_max: u64,
    /// Maximum number of distinct spans of a trace that is returned with all attributes (about 1
    /// KiB each).
    pub view_spans_max: u64,
    /// Maximum bytes of memory of such a trace. No query holds more of spans and of their names at
    /// once.
    pub view_bytes_max: u64,
    /// Maximum bytes of memory of the log records on a page, around a record or in a poll of a
    /// tail. A first record that is larger is still returned.
    pub logs_bytes_max: u64,
    /// Maximum number of distinct spans of a trace that is assembled (about 200 bytes each).
    pub skeleton_spans_max: u64,
    /// Maximum number of distinct spans of a trace that is exported (24 bytes each).
    pub export_spans_max: u64,
    /// Maximum number of spans in a part of an export.
    pub export_part_spans: usize,
    /// Maximum bytes of a part of an export, unless it is a single span.
    pub export_part_bytes: usize,
    /// Maximum number of distinct spans held for the traces of one page or of a transaction (about
    /// 200 bytes each); a trace that does not fit is cut.
    pub page_spans_max: u64,
    /// Maximum number of rows that are read at once for these traces, repeated spans included.
    pub page_rows_max: u64,
    /// Minimum number of rows that a search for the newest reads, so that rare or recent matches
    /// are counted exactly.
    pub counted_rows_min: u64,
    /// Minimum number of log records that a search for the newest reads when data files have no
    /// counts for it. Their texts are expensive to read.
    pub counted_logs_min: u64,
    /// Maximum number of distinct matches held while counting; beyond it the count is a lower
    /// bound.
    pub counted_max: usize,
    /// Maximum number of traces that are remembered to determine their types; beyond it every
    /// second one is dropped.
    pub sampled_traces_max: usize,
    /// Maximum bytes of the aggregates by transaction type; beyond it only the most frequent types
    /// are held.
    pub transaction_types_bytes_max: usize,
    /// Maximum number of spans without rollup that the service graph reads; beyond it only the
    /// newest part of the window is covered.
    pub graph_spans_max: u64,
    /// Maximum bytes of the service graph's rollups; beyond it only the newest part of the window
    /// is covered.
    pub graph_bytes_max: usize,
    /// Maximum number of spans whose traces are assembled to find calls in steps without rollups.
    pub assembled_spans_max: u64,
    /// Maximum number of points of all lines of a metrics query, those of its terms included (8
    /// bytes each, and about 50 in the answer).
    pub metrics_points_max: usize,
    /// Maximum bytes of accumulators and labels of metrics queries.
    pub metrics_bytes_max: usize,
    /// Maximum number of distinct names counted for completion.
    pub names_counted_max: usize,
    /// Maximum number of log records that a trace shows, the newest ones.
    pub logs_shown_max: usize,
    /// Maximum number of problems that a trace shows; all are counted.
    pub problems_shown_max: usize,
    /// Maximum number of span events in a skeleton; all are counted.
    pub events_shown_max: usize,
    /// Maximum number of traces that a transaction is computed over, the newest ones.
    pub transaction_traces_max: usize,
    /// Maximum number of failed spans that a transaction shows, the earliest first.
    pub errors_shown_max: usize,
    /// Maximum number of hops that a transaction shows, those with most of the time; all are
    /// counted.
    pub hops_shown_max: usize,
    /// Time after the end of a trace's last span in which further spans are expected.
    pub settled_after: Duration,
    /// Time without received spans of a trace after which its open spans are not expected to end.
    pub silent_after: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            running_max: 4,
            waiting_max: 64,
            versions_awaited_max: 256,
            tails_max: 64,
            deadline: Duration::from_secs(30),
            stream_interval: Duration::from_millis(200),
            unread_bytes_max: 512 << 20,
            view_spans_max: 50_000,
            view_bytes_max: 128 << 20,
            logs_bytes_max: 32 << 20,
            skeleton_spans_max: 1_000_000,
            export_spans_max: 4_000_000,
            export_part_spans: 5_000,
            export_part_bytes: 4 << 20,
            page_spans_max: 2_000_000,
            page_rows_max: 8_000_000,
            counted_rows_min: 100_000,
            counted_logs_min: 10_000,
            counted_max: 1_000_000,
            sampled_traces_max: 500_000,
            transaction_types_bytes_max: 128 << 20,
            graph_spans_max: 1_000_000,
            graph_bytes_max: 128 << 20,
            assembled_spans_max: 150_000,
            metrics_points_max: 1_000_000,
            metrics_bytes_max: 128 << 20,
            names_counted_max: 10_000,
            logs_shown_max: 1_000,
            problems_shown_max: 1_000,
            events_shown_max: 10_000,
            transaction_traces_max: 100,
            errors_shown_max: 100,
            hops_shown_max: 1_000,
            settled_after: Duration::from_secs(5),
            silent_after: Duration::from_secs(60),
        }
    }
}

impl QueryLimits {
    /// Maximum bytes of an answer that is written at once, which is the quota of one client.
    #[must_use]
    pub fn answer_bytes_max(&self) -> u64 {
        UnreadQuota::client_bytes_max(self.unread_bytes_max)
    }

    /// Returns the bounds for a process with this memory budget. An eighth of it is for answers
    /// that are not read yet, and a 32nd for what one query gathers. Bounds on the content of an
    /// answer follow the bound of answers. So do the numbers of spans, traces and matches that a
    /// query holds at once.
    #[must_use]
    pub fn within(memory_bytes: u64) -> Self {
        let limits = Self::default();
        let memory = memory_bytes.clamp(BUDGET_MIN, BUDGET_MAX);
        let part = |most: u64| most * (memory >> 20) / (BUDGET_MAX >> 20);
        let part_of = |most: usize| usize::try_from(part(most as u64)).unwrap_or(most);
        // A budget that is several times the default part gets the whole default.
        let within = |most: usize, times: usize| most.min(part_of(times * most));
        Self {
            unread_bytes_max: part(limits.unread_bytes_max),
            view_bytes_max: part(limits.view_bytes_max),
            logs_bytes_max: part(limits.logs_bytes_max),
            tails_max: within(limits.tails_max, 2),
            skeleton_spans_max: limits.skeleton_spans_max.min(part(2 * limits.skeleton_spans_max)),
            page_spans_max: part(limits.page_spans_max),
            counted_max: within(limits.counted_max, 4),
            sampled_traces_max: within(limits.sampled_traces_max, 2),
            graph_spans_max: part(limits.graph_spans_max),
            export_spans_max: part(limits.export_spans_max),
            export_part_bytes: part_of(limits.export_part_bytes),
            transaction_types_bytes_max: part_of(limits.transaction_types_bytes_max),
            graph_bytes_max: part_of(limits.graph_bytes_max),
            metrics_bytes_max: part_of(limits.metrics_bytes_max),
            ..limits
        }
    }
}

/// Bounds on the cost of queries, and the attributes that carry transaction ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySettings {
    /// Attributes whose values are transaction ids.
    pub transaction_keys: Vec<String>,
    /// Maximum number of rows that a search reads.
    pub search_rows_max: u64,
}

impl Default for QuerySettings {
    fn default() -> Self {
        let transaction_keys = [
            "tid",
            "transaction.id",
            "order.id",
            "request.id",
            "x-request-id",
            "http.request.header.x-request-id",
            "correlation.id",
            "correlation_id",
            "messaging.message.id",
        ];
        Self {
            transaction_keys: transaction_keys.map(str::to_owned).to_vec(),
            search_rows_max: 20_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::QueryLimits;

    #[test]
    fn bounds_follow_the_budget() {
        const MIB: u64 = 1 << 20;
        assert_eq!(QueryLimits::within(64 << 30), QueryLimits::default());
        for (budget, unread) in [(4096, 512), (1024, 128), (512, 64), (256, 32), (192, 32), (0, 32)]
        {
            let limits = QueryLimits::within(budget * MIB);
            assert_eq!(limits.unread_bytes_max, unread * MIB, "{budget}");
            assert_eq!(limits.view_bytes_max, unread / 4 * MIB, "{budget}");
            assert_eq!(limits.graph_bytes_max as u64, unread / 4 * MIB, "{budget}");
            // A span takes about 200 bytes. A tenth of the budget is for a large trace or page.
            for spans in [limits.skeleton_spans_max, limits.page_spans_max, limits.graph_spans_max]
            {
                assert!((60_000..).contains(&spans), "{budget}: {spans}");
                let bytes_max = budget.max(256) * MIB / 10;
                assert!(spans * 200 <= bytes_max, "{budget}: {spans}");
            }
            // Exports and tails leave part of the budget for other answers.
            let export = limits.export_spans_max * 24 + limits.export_part_bytes as u64 * 8;
            assert!(export <= limits.unread_bytes_max / 2, "{budget}: {export}");
            let tails = limits.tails_max as u64 * MIB;
            assert!((4 * MIB..=limits.unread_bytes_max / 4).contains(&tails), "{budget}: {tails}");
        }
        let odd = QueryLimits::within(1000 * MIB + 7);
        assert!((124 * MIB..=125 * MIB).contains(&odd.unread_bytes_max), "{odd:?}");
    }
}
