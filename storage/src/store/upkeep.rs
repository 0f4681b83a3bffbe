//! Drives upkeep beside appends and flushes.
//!
//! One piece of work at a time, in steps: between two steps it waits while memory is about to be
//! flushed, and gives up when the store stops. A rewrite holds no lock; its commit takes the
//! tables' lock as a flush does. Old and new files change places in one moment, so that a snapshot
//! sees all rows once: those taken before go on with the old files.

use std::{sync::Arc, time::Duration};

use super::{Inner, blocking};
use crate::{
    StorageError,
    schema::Signal,
    tables::{Change, Why},
    upkeep::{Job, Pace, Rewrite, plan},
};

/// How long to wait for a flush to make room before looking again.
const YIELD: Duration = Duration::from_millis(50);

impl Inner {
    /// Does one thing that is due; whether there was one.
    pub(super) async fn keep_up(&self, pace: Pace) -> Result<bool, StorageError> {
        let _one = self.upkeep.lock().await;
        for signal in [Signal::Spans, Signal::Logs] {
            self.settle(signal).await?;
            self.write_checkpoint(signal).await?;
            let files = self.shared.state.files(signal);
            if let Some(job) = plan(&files, self.shared.clock.now(), pace) {
                self.compact(signal, job).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn write_checkpoint(&self, signal: Signal) -> Result<(), StorageError> {
        let due = self.tables.lock().await.of(signal).checkpoint();
        let Some(checkpoint) = due else { return Ok(()) };
        let version = Box::pin(checkpoint.write(self.shared.clock.now())).await?;
        self.tables.lock().await.of(signal).checkpointed(version);
        Ok(())
    }

    async fn compact(&self, signal: Signal, job: Job) -> Result<(), StorageError> {
        let folder = self.paths.table(signal.table());
        let (disk, Job { hour, files }) = (Arc::clone(&self.disk), job);
        let inputs = files.clone();
        let rewrite = blocking(move || Rewrite::open(disk, signal, &folder, hour, &inputs)).await?;
        let added = self.run(rewrite).await?.files().to_vec();
        let (from, into) = (files.len(), added.len());
        tracing::debug!(table = signal.table(), hour, from, into, "files merged");
        self.commit(signal, Change { why: Why::Compaction, added, removed: files }).await
    }

    /// Runs a rewrite to its end, when nothing more urgent is to be done.
    async fn run(&self, mut rewrite: Rewrite) -> Result<Rewrite, StorageError> {
        loop {
            while self.is_pressed() && !self.is_stopping() {
                self.shared.clock.sleep(YIELD).await;
            }
            let stopping = self.is_stopping();
            let (back, done) = blocking(move || {
                if stopping {
                    rewrite.discard();
                    return Err(StorageError::Closed);
                }
                let done = rewrite.advance()?;
                Ok((rewrite, done))
            })
            .await?;
            rewrite = back;
            if done {
                return Ok(rewrite);
            }
        }
    }

    /// Whether a flush is near or under way, which needs the processors more.
    fn is_pressed(&self) -> bool {
        let limit = self.shared.settings.memory_flush_bytes;
        self.shared.state.memory_bytes() >= limit - limit / 4
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Finds out about a commit of unknown fate: it may have changed the files already.
    async fn settle(&self, signal: Signal) -> Result<(), StorageError> {
        let mut tables = self.tables.lock().await;
        if let Some(settled) = tables.of(signal).settle().await? {
            self.shared.state.apply(signal, &settled);
        }
        Ok(())
    }

    /// Nobody but upkeep removes files, and its own commits were settled before the change was
    /// planned, so what it removes is there.
    async fn commit(&self, signal: Signal, change: Change) -> Result<(), StorageError> {
        let mut tables = self.tables.lock().await;
        let table = tables.of(signal);
        if let Some(settled) = table.settle().await? {
            self.shared.state.apply(signal, &settled);
        }
        let change = table.replace(change, self.shared.clock.now()).await?;
        self.shared.state.apply(signal, &change);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
