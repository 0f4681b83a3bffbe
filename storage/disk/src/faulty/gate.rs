//! Lets one thread at a time through to the disk, in an order that the test decides.

#![expect(clippy::disallowed_methods, reason = "a hang is noticed in real time")]

use std::{
    sync::{Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// A participant that works on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The thread that writes the log.
    Log,
    /// All other code: opening, flushing, maintenance.
    Tables,
}

impl Actor {
    fn current() -> Self {
        match std::thread::current().name() {
            Some("tidings-wal") => Self::Log,
            _ => Self::Tables,
        }
    }
}

#[derive(Debug, Default)]
struct GateState {
    /// True if operations pass without waiting.
    open: bool,
    log: bool,
    tables: usize,
    released: Option<Actor>,
}

/// Holds every operation until the test releases it.
#[derive(Debug, Default)]
pub struct Gate {
    waiting: Mutex<GateState>,
    changed: Condvar,
}

impl Gate {
    /// Waits until this operation is released.
    pub(super) fn enter(&self) {
        let actor = Actor::current();
        let mut waiting = self.lock();
        if waiting.open {
            return;
        }
        match actor {
            Actor::Log => waiting.log = true,
            Actor::Tables => waiting.tables += 1,
        }
        self.changed.notify_all();
        waiting = self
            .changed
            .wait_while(waiting, |waiting| !waiting.open && waiting.released != Some(actor))
            .unwrap();
        if waiting.released == Some(actor) {
            waiting.released = None;
        }
        match actor {
            Actor::Log => waiting.log = false,
            Actor::Tables => waiting.tables -= 1,
        }
        self.changed.notify_all();
    }

    /// Returns true if an operation of this actor waits, and none is being released.
    pub fn waits(&self, actor: Actor) -> bool {
        let waiting = self.lock();
        waiting.released.is_none()
            && match actor {
                Actor::Log => waiting.log,
                Actor::Tables => waiting.tables > 0,
            }
    }

    /// Releases one waiting operation of this actor. Returns when it has left the gate.
    pub fn release(&self, actor: Actor) {
        let mut waiting = self.lock();
        waiting.released = Some(actor);
        self.changed.notify_all();
        drop(self.changed.wait_while(waiting, |waiting| waiting.released.is_some()).unwrap());
    }

    /// Opens the gate for all operations, or closes it.
    pub fn set_open(&self, open: bool) {
        self.lock().open = open;
        self.changed.notify_all();
    }

    /// Polls until the condition holds. Returns `false` if that takes longer than `patience`.
    pub fn wait_until(&self, patience: Duration, mut so: impl FnMut() -> bool) -> bool {
        const LOOK: Duration = Duration::from_micros(200);
        let begin = std::time::Instant::now();
        while !so() {
            if begin.elapsed() > patience {
                return false;
            }
            drop(self.changed.wait_timeout(self.lock(), LOOK).unwrap());
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.waiting.lock().unwrap()
    }
}
