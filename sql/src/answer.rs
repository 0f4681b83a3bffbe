//! The answer to a query: facts about its rows, and the connection to the worker that has them.
//!
//! An [`Answer`] has the facts that are known before a format is chosen, and passes on the worker's
//! bytes. The worker collects the rows and writes them.

use std::{fmt, time::Duration};

use tidings_proto::{
    DurationNanos,
    api::{SqlPartialReason, SqlRead},
};
use tokio::sync::oneshot;

use crate::{AnswerFormat, handover::AnswerParts, message::AnswerMetadata};

/// The answer to a query. Its worker has the rows.
pub struct Answer {
    /// The number of rows.
    rows: usize,
    /// Reasons why the answer is partial; empty when it is complete.
    pub lacks: Vec<SqlPartialReason>,
    /// True when a repeated span or record may have been counted twice.
    pub repeats_counted: bool,
    /// Statistics of the scans.
    pub read: SqlRead,
    /// Duration of the query.
    pub elapsed: Duration,
    lines: Lines,
}

/// The channel to the worker that has the rows.
pub(crate) struct Lines {
    pub(crate) form: oneshot::Sender<AnswerFormat>,
    pub(crate) parts: AnswerParts,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, lacks, read, elapsed, .. } = self;
        let mut debug = f.debug_struct("Answer");
        debug.field("rows", rows).field("lacks", lacks).field("read", read);
        debug.field("elapsed", elapsed).finish_non_exhaustive()
    }
}

impl Answer {
    pub(crate) fn new(
        rows: usize,
        facts: &AnswerMetadata,
        elapsed: Duration,
        lines: Lines,
    ) -> Self {
        let (lacks, repeats_counted) = (facts.lacks.clone(), facts.repeats_counted);
        Self { rows, lacks, repeats_counted, read: facts.read, elapsed, lines }
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// Reports whether the answer is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lacks.is_empty()
    }

    /// Returns the answer in this format, part by part.
    #[must_use]
    pub fn parts(self, form: AnswerFormat) -> AnswerParts {
        let Lines { form: asked, parts } = self.lines;
        if asked.send(form).is_err() {
            // The parts of the answer report this as well.
            tracing::debug!("the process of an answer has ended before it was read");
        }
        parts
    }
}

/// Returns a duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> DurationNanos {
    DurationNanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
