//! The rows that go through a guard.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::{
    error::Result,
    execution::{RecordBatchStream, SendableRecordBatchStream, memory_pool::MemoryReservation},
};
use futures::{Stream, StreamExt};
use tidings_sql::{SqlError, limits::JOINED_ROW_BYTES_MAX, meter::Meter, width};

use super::GuardOptions;
use crate::error::external;

pub(super) struct GuardedStream {
    input: SendableRecordBatchStream,
    meter: Arc<Meter>,
    options: GuardOptions,
    kept: Option<MemoryReservation>,
    /// Rest of a batch that is passed on in parts.
    rest: Option<RecordBatch>,
}

impl GuardedStream {
    pub(super) fn new(
        input: SendableRecordBatchStream,
        meter: Arc<Meter>,
        options: GuardOptions,
        kept: Option<MemoryReservation>,
    ) -> Self {
        Self { input, meter, options, kept, rest: None }
    }

    /// Returns the batch or its beginning, when its rows may be passed on.
    fn hand_on(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        self.meter.hand_on();
        if let Some(kept) = &self.kept {
            kept.try_grow(width::bytes_of(&batch))?;
        }
        if self.options.joined && width::bytes_of(&batch) > JOINED_ROW_BYTES_MAX {
            let widest = width::widest(&batch);
            if widest > JOINED_ROW_BYTES_MAX {
                let reason = format!(
                    "a row of {widest} bytes is too wide to be joined, which a row of \
                     {JOINED_ROW_BYTES_MAX} is not: name the columns that are needed"
                );
                return Err(external(SqlError::Memory { reason }));
            }
        }
        Ok(self.part(batch))
    }

    fn part(&mut self, batch: RecordBatch) -> RecordBatch {
        match self.options.rows_max {
            Some(rows_max) if batch.num_rows() > rows_max => {
                self.rest = Some(batch.slice(rows_max, batch.num_rows() - rows_max));
                batch.slice(0, rows_max)
            }
            _ => batch,
        }
    }
}

impl Stream for GuardedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch>>> {
        if let Err(ended) = self.meter.check() {
            return Poll::Ready(Some(Err(external(ended))));
        }
        let turn = ready!(tokio::task::coop::poll_proceed(context));
        if let Some(rest) = self.rest.take() {
            turn.made_progress();
            return Poll::Ready(Some(Ok(self.part(rest))));
        }
        let next = ready!(self.input.poll_next_unpin(context));
        turn.made_progress();
        Poll::Ready(next.map(|batch| batch.and_then(|batch| self.hand_on(batch))))
    }
}

impl RecordBatchStream for GuardedStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
