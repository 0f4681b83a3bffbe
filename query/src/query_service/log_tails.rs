//! Live tails of log records.
//!
//! Between polls a tail holds no permit of the queue. It polls when the store has grown and the
//! previous records were read. A slow client gets the number of records that it missed. Owns the
//! number of tails and their end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_storage::LogFilter;
use tokio::sync::watch;

use super::QueryService;
use crate::{
    ErrorKind, LogCursor, QueryError,
    execution::ClientPermit,
    log_reader::log_tail::{NewRecords, ShownRecords},
};

/// Interval at which the size of the store is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Time without new records after which a tail sends a keep-alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A live tail of log records.
#[derive(Debug)]
pub struct LogTail {
    service: QueryService,
    filter: LogFilter,
    /// Shown records; replaced only when a poll has succeeded.
    shown: Arc<ShownRecords>,
    /// Number of stored records at the last poll.
    stored: u64,
    end: watch::Receiver<bool>,
    _permit: ClientPermit,
}

/// Events of a tail.
#[derive(Debug)]
pub enum TailEvent {
    /// New records.
    NewRecords(NewRecords),
    /// Keep-alive after a time without new records.
    KeepAlive,
    /// The process stops.
    Ended,
}

impl QueryService {
    /// Ends every tail and every wait for a version, now and in the future. Called when the process
    /// stops.
    pub fn end_waits(&self) {
        self.shutdown.send_replace(true);
    }

    /// Returns a receiver that becomes true when tails and long polls must end.
    #[must_use]
    pub fn shutdown_signal(&self) -> watch::Receiver<bool> {
        self.shutdown.subscribe()
    }

    /// Starts a tail of matching records that arrive from now on, or after a position.
    ///
    /// # Errors
    /// `Overloaded` when there are too many tails, in all or of the client.
    pub async fn tail(
        &self,
        filter: LogFilter,
        after: Option<LogCursor>,
    ) -> Result<LogTail, QueryError> {
        let waiting = self.limits().tails_max;
        let permit =
            self.tails.try_acquire(self.client()).ok_or(QueryError::Overloaded { waiting })?;
        let resumed = after.map(|after| ShownRecords::after_key((after.time, after.content_hash)));
        let is_resumed = resumed.is_some();
        let shown = resumed.unwrap_or_else(|| ShownRecords::from_now(self.now()));
        let mut tail = LogTail {
            service: self.with_current_client(),
            filter,
            shown: Arc::new(shown),
            stored: 0,
            end: self.shutdown.subscribe(),
            _permit: permit,
        };
        if !is_resumed {
            tail.stored = self.log_records_stored();
            let added = tail.poll(|shown, reader, filter| shown.skip(reader, filter)).await?;
            Arc::make_mut(&mut tail.shown).add(added);
        }
        Ok(tail)
    }

    fn log_records_stored(&self) -> u64 {
        self.store.counts().log_records
    }
}

impl LogTail {
    /// Waits for the next event.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub async fn next(&mut self) -> Result<TailEvent, QueryError> {
        let clock = Arc::clone(self.service.execution.clock());
        let keep_alive_at: Instant = clock.instant() + KEEP_ALIVE_INTERVAL;
        loop {
            if *self.end.borrow_and_update() {
                return Ok(TailEvent::Ended);
            }
            let stored = self.service.log_records_stored();
            if stored != self.stored {
                match self.poll(|shown, reader, filter| shown.poll_new(reader, filter)).await {
                    Ok((new_records, added)) => {
                        Arc::make_mut(&mut self.shown).add(added);
                        self.stored = stored;
                        if !new_records.logs.is_empty() || new_records.dropped > 0 {
                            return Ok(TailEvent::NewRecords(new_records));
                        }
                    }
                    // The poll is retried later, when other queries have run.
                    Err(error) if is_retryable(&error) => {
                        tracing::debug!(%error, "log tail poll failed; it is retried");
                    }
                    Err(error) => return Err(error),
                }
            }
            if clock.instant() >= keep_alive_at {
                return Ok(TailEvent::KeepAlive);
            }
            tokio::select! {
                () = clock.sleep(POLL_INTERVAL) => (),
                _ = self.end.changed() => (),
            }
        }
    }

    async fn poll<T: Send + 'static>(
        &self,
        poll: impl FnOnce(&ShownRecords, &crate::execution::Reader, &LogFilter) -> Result<T, QueryError>
        + Send
        + 'static,
    ) -> Result<T, QueryError> {
        let (shown, filter) = (Arc::clone(&self.shown), self.filter.clone());
        self.service.ask(move |reader| poll(&shown, reader, &filter)).await
    }
}

fn is_retryable(error: &QueryError) -> bool {
    matches!(error.kind(), ErrorKind::Overloaded | ErrorKind::TimedOut)
}
