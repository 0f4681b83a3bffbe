//! Interfaces that the process supplies: the sink of accepted records (the store, or that of a
//! test), and the API that answers queries on a receiver's address, because Zipkin's clients query
//! the address to which its reporters send.
//!
//! Does not own tables. Queries share the receiver's listener, its bounds, and its checks of hosts
//! and origins.

use std::{fmt, io};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Response, request::Parts};
use http_body_util::combinators::UnsyncBoxBody;
use tidings_access::Caller;
use tidings_storage::{StorageError, Store, TelemetryBatch};

/// Stores batches. A request is acknowledged when [`Sink::append`] returns `Ok`, so `Ok` must mean
/// that the batch is durable.
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Stores the whole batch or nothing of it.
    ///
    /// [`StorageError::kind`] decides the response to the sender.
    fn append(&self, batch: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>>;

    /// Does the CPU work of [`Self::append`] in advance, on the thread that decoded the batch and
    /// has its bytes in its caches.
    ///
    /// Returns the errors of [`Self::append`] that the batch itself causes.
    fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        Ok(batch)
    }

    /// Checks for health checks that batches can be stored now.
    ///
    /// # Errors
    /// That of [`Self::append`].
    fn ready(&self) -> Result<(), StorageError> {
        self.check_capacity()
    }

    /// Checks that a batch would be accepted now, regardless of its content. A request that would
    /// be refused is then not decoded.
    ///
    /// Returns the error of [`Self::append`].
    fn check_capacity(&self) -> Result<(), StorageError> {
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

    fn check_capacity(&self) -> Result<(), StorageError> {
        Store::check_capacity(self)
    }
}

/// The body of a response.
pub type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// Answers queries on a receiver's address.
pub trait ReadApi: fmt::Debug + Send + Sync {
    /// Answers a request without a body from the data of its caller; `None` if requests need no
    /// key. The head has the client's [`PeerAddress`](crate::PeerAddress) among its extensions. The
    /// future is dropped when the client disconnects.
    fn answer(
        &self,
        head: Parts,
        caller: Option<Caller>,
    ) -> BoxFuture<'static, Response<ReplyBody>>;
}
