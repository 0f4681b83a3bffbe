//! What questions may cost: the bounds that [`crate::QuerySettings`] leaves at their defaults.

use std::time::Duration;

/// No answer that is written at once is longer: all that are not read yet have no more room.
pub(crate) const ANSWER_BYTES_MAX: u64 = 512 << 20;

/// The bounds of the query service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// So many questions are computed at once; more would only share the same processors.
    pub running_max: usize,
    /// So many more wait for their turn; the next one is told to come back.
    pub waiting_max: usize,
    /// So many clients wait for the next version of an answer.
    pub versions_awaited_max: usize,
    /// So many clients follow the logs as they come.
    pub tails_max: usize,
    /// A question is given up after this long, waiting included.
    pub deadline: Duration,
    /// Whoever listens is told of the traces that are found so often at most.
    pub told_every: Duration,
    /// Answers that clients have not read yet take at most so many bytes together.
    pub unread_bytes_max: u64,
    /// A trace with more distinct spans than this is not given with all attributes (about 1 KiB
    /// each).
    pub view_spans_max: u64,
    /// Nor is one that takes more bytes of memory than this: no question holds more of spans and of
    /// their names at once.
    pub view_bytes_max: u64,
    /// A page of log records, or what is shown around one or as they come, ends before they take
    /// more bytes than this, unless the first does.
    pub logs_bytes_max: u64,
    /// A trace with more distinct spans than this is not assembled (about 200 bytes each).
    pub skeleton_spans_max: u64,
    /// A trace with more distinct spans than this is not exported (24 bytes each).
    pub export_spans_max: u64,
    /// A part of an export has at most so many spans,
    pub export_part_spans: usize,
    /// and, unless it is a single span, at most so many bytes.
    pub export_part_bytes: usize,
    /// Of the traces of one page of a list, or of a transaction, at most so many distinct spans
    /// are held together (about 200 bytes each); a trace that does not fit is cut.
    pub page_spans_max: u64,
    /// And so many rows are read for them at once, spans that came again included.
    pub page_rows_max: u64,
    /// A search for the newest stops when it has them, but looks at so many rows at least: what is
    /// rare or recent is counted exactly.
    pub counted_rows_min: u64,
    /// So many different matches are told apart while counting them; from there on the count is a
    /// lower bound.
    pub counted_max: usize,
    /// So many traces are remembered to tell their kinds; from there on one in two is forgotten.
    pub sampled_traces_max: usize,
    /// What is added up to tell kinds of transactions apart takes at most so many bytes; when it
    /// would take more, only the most frequent are told apart.
    pub kinds_bytes_max: usize,
    /// The service graph reads at most so many spans that are not added up; then it is of the newest
    /// part of its window.
    pub graph_spans_max: u64,
    /// And takes at most so many bytes for what is added up; then, too.
    pub graph_bytes_max: usize,
    /// The lines of a metrics query have at most so many points together, those of its terms while
    /// they are computed included (8 bytes each, and about 50 in the answer).
    pub metrics_points_max: usize,
    /// What is counted for them, and their labels, take at most so many bytes.
    pub metrics_bytes_max: usize,
    /// So many different names are counted for completion.
    pub names_counted_max: usize,
    /// A trace shows at most this many of its newest log records.
    pub logs_shown_max: usize,
    /// A trace shows at most this many of its problems; all are counted.
    pub problems_shown_max: usize,
    /// A transaction is computed over at most this many of its newest traces.
    pub transaction_traces_max: usize,
    /// A transaction shows at most this many of its failed spans, earliest first.
    pub errors_shown_max: usize,
    /// A trace whose last span ended less than this long ago may still get spans.
    pub settled_after: Duration,
    /// A trace of which nothing was received for this long gets no more ends of its spans.
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
            told_every: Duration::from_millis(200),
            unread_bytes_max: ANSWER_BYTES_MAX,
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
            counted_max: 1_000_000,
            sampled_traces_max: 500_000,
            kinds_bytes_max: 128 << 20,
            graph_spans_max: 1_000_000,
            graph_bytes_max: 128 << 20,
            metrics_points_max: 1_000_000,
            metrics_bytes_max: 128 << 20,
            names_counted_max: 10_000,
            logs_shown_max: 1_000,
            problems_shown_max: 1_000,
            transaction_traces_max: 100,
            errors_shown_max: 100,
            settled_after: Duration::from_secs(5),
            silent_after: Duration::from_secs(60),
        }
    }
}
