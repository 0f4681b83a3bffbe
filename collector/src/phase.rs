//! The phases of shutting down, which every task sees.

use tokio::sync::watch;

/// The phases, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is accepted.
    Running,
    /// New connections and requests are refused; requests in progress continue.
    Draining,
    /// Bodies that are still arriving are refused.
    Closing,
    /// Remaining connections are dropped.
    Closed,
}

/// Receives the phases.
#[derive(Debug, Clone)]
pub struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// Receives the phases from the sender of this channel.
    #[must_use]
    pub fn new(receiver: watch::Receiver<Phase>) -> Self {
        Self(receiver)
    }

    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Resolves when this phase or a later one is reached, or when the sender of phases was
    /// dropped.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|&now| now >= phase).await;
    }
}
