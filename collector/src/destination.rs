//! The destination of a caller's records, with its counts.
//!
//! A destination belongs to one tenant. It has the sink of the tenant, and the counts of receivers
//! for its status page, which include no other tenant. Does not own the list of destinations, which
//! the caller of [`crate::Collector::start_for`] has.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures::future::BoxFuture;
use tidings_access::{AccessError, Caller};
use tidings_proto::api::SignalCounts;
use tidings_storage::StorageError;

use crate::{
    Sink,
    counters::{ReceiverCounters, SignalCounters},
    refusal::{Reason, Refusal},
};

/// Chooses the destination of a request by its caller.
pub trait Destinations: fmt::Debug + Send + Sync + 'static {
    /// Returns the destination of requests without a key. Requests that are refused before their
    /// caller is known are counted here. The state of its sink is the health of the receivers.
    fn common(&self) -> &Arc<Destination>;

    /// Returns the destination of the caller's tenant.
    ///
    /// # Errors
    /// When the tenant does not exist or its store cannot be used.
    fn destination_of<'a>(
        &'a self,
        caller: &'a Caller,
    ) -> BoxFuture<'a, Result<Arc<Destination>, DestinationError>>;
}

/// The reason that a caller has no destination.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DestinationError {
    /// There is no such tenant.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The tenant's store cannot be used now.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// The tenant's store is still being opened.
    #[error("the store is being opened: try again in a moment")]
    Opening,
}

impl From<DestinationError> for Refusal {
    fn from(error: DestinationError) -> Self {
        match error {
            DestinationError::Access(error) => error.into(),
            DestinationError::Storage(error) => Self::of_storage(&error),
            DestinationError::Opening => Self::new(Reason::StorageUnavailable, error.to_string()),
        }
    }
}

/// A sink with its counts.
#[derive(Debug)]
pub struct Destination {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) spans: SignalCounters,
    pub(crate) logs: SignalCounters,
    pub(crate) redacted: AtomicU64,
    /// The counters of each receiver, in the order of the list of receivers.
    receivers: Box<[ReceiverCounters]>,
}

impl Destination {
    /// Makes a destination with counters for this many receivers.
    pub(crate) fn with_receivers(sink: Arc<dyn Sink>, receivers: usize) -> Self {
        Self {
            sink,
            spans: SignalCounters::default(),
            logs: SignalCounters::default(),
            redacted: AtomicU64::new(0),
            receivers: (0..receivers).map(|_| ReceiverCounters::default()).collect(),
        }
    }

    /// Returns the spans and log records received and rejected since the start (`stored` is 0).
    #[must_use]
    pub fn counts(&self) -> (SignalCounts, SignalCounts) {
        (self.spans.counts(), self.logs.counts())
    }

    /// Returns the number of values with a secret since the start.
    #[must_use]
    pub fn redacted_values(&self) -> u64 {
        self.redacted.load(Relaxed)
    }

    /// Returns the counters of the receiver with this index in the list of receivers.
    pub(crate) fn of_receiver(&self, index: usize) -> Option<&ReceiverCounters> {
        self.receivers.get(index)
    }
}

/// One destination for every caller.
#[derive(Debug)]
pub(crate) struct OneDestination(pub(crate) Arc<Destination>);

impl Destinations for OneDestination {
    fn common(&self) -> &Arc<Destination> {
        &self.0
    }

    fn destination_of<'a>(
        &'a self,
        _: &'a Caller,
    ) -> BoxFuture<'a, Result<Arc<Destination>, DestinationError>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.0))))
    }
}
