//! Where a caller's records go, with the counts of what was sent there.
//!
//! A destination is one tenant's: its sink, and what its status page tells of the receivers. Nothing
//! of another tenant is counted in it. Does not own which destinations there are: whoever starts the
//! collector does.

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
    /// Returns the destination of requests that no key is asked for. What is refused before it is
    /// known whose it is is counted here, and its sink says whether the receivers are healthy.
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
    /// The tenant's store cannot be used at present.
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

/// A sink, and what was sent there.
#[derive(Debug)]
pub struct Destination {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) spans: SignalCounters,
    pub(crate) logs: SignalCounters,
    pub(crate) redacted: AtomicU64,
    /// Of each receiver, in the order of their list.
    receivers: Box<[ReceiverCounters]>,
}

impl Destination {
    /// A destination that none of so many receivers has sent to.
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

    /// Returns the number of values that had a secret, since the start.
    #[must_use]
    pub fn redacted_values(&self) -> u64 {
        self.redacted.load(Relaxed)
    }

    /// Returns the counts of the receiver with this place in the list of receivers.
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
