//! Admission permits that a query holds until its answer is written.
//!
//! An answer takes as much memory as the rows read for it, and writing it takes as long as a small
//! query. Both count as part of the query, so the writer of the answer holds the [`Admission`].
//! Does not own the permits of clients, which [`ClientSemaphore`](super::ClientSemaphore) owns.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::client_semaphore::ClientPermit;
use crate::{QueryLimits, client_quota::ClientId};

/// Permits of a query: one of its service, which has quotas for clients, and one that all services
/// share.
pub(super) type AdmissionPermits = (ClientPermit, OwnedSemaphorePermit);

/// The client of a query, and the slot for the query's permits when these outlive it.
#[derive(Debug, Default)]
pub(crate) struct QueryClient {
    pub(crate) client: ClientId,
    pub(crate) permit_slot: Option<AdmissionSlot>,
}

/// Holder of the permits of the last query that ended. Dropping it releases them.
#[derive(Debug)]
pub struct Admission {
    slot: AdmissionSlot,
    /// Maximum bytes of the answer that is written under these permits.
    pub answer_bytes_max: u64,
}

/// Shared slot for the permits.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdmissionSlot(Arc<Mutex<Option<AdmissionPermits>>>);

impl Admission {
    /// Creates an admission without permits.
    #[must_use]
    pub fn new(limits: &QueryLimits) -> Self {
        let slot = AdmissionSlot::default();
        Self { slot, answer_bytes_max: limits.answer_bytes_max() }
    }

    /// Slot in which a query leaves its permits.
    pub(crate) fn slot(&self) -> AdmissionSlot {
        self.slot.clone()
    }
}

/// Admission of answers whose size is known.
impl Default for Admission {
    fn default() -> Self {
        Self::new(&QueryLimits::default())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.slot.release();
    }
}

impl AdmissionSlot {
    /// Releases the permits, so that another query can run.
    pub(crate) fn release(&self) {
        self.set(None);
    }

    /// Keeps these permits.
    pub(super) fn keep(&self, permits: AdmissionPermits) {
        self.set(Some(permits));
    }

    fn set(&self, permits: Option<AdmissionPermits>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permits;
    }
}
