//! The phases of shutting down, which every task sees.

use tokio::sync::watch;

/// The phases, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is accepted.
    Running,
    /// No new connections; requests under way go on, new ones are refused.
    Draining,
    /// Bodies still arriving are refused.
    Closing,
    /// Connections are dropped.
    Closed,
}

/// Sees the phases.
#[derive(Debug, Clone)]
pub struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// The phases that the sender of this channel tells.
    #[must_use]
    pub fn new(receiver: watch::Receiver<Phase>) -> Self {
        Self(receiver)
    }

    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Resolves when this phase or a later one has come, or when the collector is gone.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|&now| now >= phase).await;
    }
}
