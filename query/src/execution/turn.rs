//! The turn of a question that goes on until its answer is written.
//!
//! An answer takes as much memory as what was read for it, and writing it takes as long as a small
//! question: both count as the question's. Whoever writes the answer takes the [`Turn`] along.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// The places of a question: among those that wait or run, and among those that run.
pub(super) type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What keeps the turn of the last question that ended; its clones keep the same. Dropping one ends
/// the turn.
#[derive(Debug, Default)]
pub(crate) struct Turn(Kept);

/// Where the turn is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<Places>>>);

impl Turn {
    /// Where questions leave their turn.
    pub(crate) fn kept(&self) -> Kept {
        self.0.clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Kept {
    /// Ends the turn: another question can run.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    /// Keeps these places.
    pub(super) fn keep(&self, places: Places) {
        self.set(Some(places));
    }

    fn set(&self, places: Option<Places>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = places;
    }
}
