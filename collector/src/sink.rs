//! Interfaces of the collector to its process: the sink of accepted records (the store, or a test's),
//! and the API that answers questions on an address that is written to, as Zipkin's clients ask where
//! their reporters send.
//!
//! This crate reads no tables. The listener, its bounds and its check of hosts and origins stay the
//! receiver's.

use std::{fmt, io};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Response, request::Parts};
use http_body_util::combinators::UnsyncBoxBody;
use tidings_access::Caller;
use tidings_storage::{StorageError, Store, TelemetryBatch};

/// Keeps batches. A request is acknowledged when this returns `Ok`, so that must mean "durable".
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Keeps the whole batch, or nothing of it.
    ///
    /// [`StorageError::kind`] decides the response to the sender.
    fn append(&self, batch: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Does the CPU work of [`Self::append`] early, on the thread that read the batch and has its
    /// bytes in its caches.
    ///
    /// The errors of [`Self::append`] that the batch itself causes.
    fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        Ok(batch)
    }

    /// Checks whether batches are kept at all at present, for health checks.
    ///
    /// # Errors
    /// That of [`Self::append`].
    fn ready(&self) -> Result<(), StorageError> {
        self.has_room()
    }

    /// Reports whether a batch would be accepted now, judged without its content, so that a batch
    /// to be refused need not be decoded.
    ///
    /// The error of [`Self::append`].
    fn has_room(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

impl Sink for Store {
    fn append(&self, batch: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(Store::append(self, batch))
    }

    fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        Store::convert(self, batch)
    }

    fn ready(&self) -> Result<(), StorageError> {
        Store::ready(self)
    }

    fn has_room(&self) -> Result<(), StorageError> {
        Store::has_room(self)
    }
}

/// The body of an answer.
pub type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// Answers what is asked on a receiver's address.
pub trait ReadApi: fmt::Debug + Send + Sync {
    /// The answer to a request without a body, from what its caller may see; `None` where nobody is
    /// asked for a key. The head has the client's [`PeerAddress`](crate::PeerAddress) among its
    /// extensions. Its future is dropped when the client goes away.
    fn answer(
        &self,
        head: Parts,
        caller: Option<Caller>,
    ) -> BoxFuture<'static, Response<ReplyBody>>;
}
