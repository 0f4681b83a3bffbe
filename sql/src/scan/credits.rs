//! Credits of a scan: the batches that its worker has requested and not received.
//!
//! A scan takes one for each batch and waits for the next, so that no more rows are on their way
//! than the worker has room for. A credit also brings the rows that the plan still needs.

use std::{
    ops::ControlFlow,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Batches that a worker has room for before it has taken any.
const AHEAD: u32 = 2;

/// The rows that a plan still needs, of those that have a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum RowsSince {
    /// All of them.
    #[default]
    Ever,
    /// Rows of this time in nanoseconds or later.
    Time(i64),
    /// No rows.
    Never,
}

/// The credits of a scan.
#[derive(Debug)]
pub(crate) struct Credits {
    balance: Mutex<CreditBalance>,
    changed: Condvar,
    max: u32,
}

#[derive(Debug)]
struct CreditBalance {
    batches: u32,
    since: RowsSince,
    is_stopped: bool,
}

impl Credits {
    /// Creates the credits of a new scan. A scan that narrows has one at a time, so that the plan
    /// sees each batch first.
    pub(crate) fn new(narrows: bool) -> Self {
        let max = if narrows { 1 } else { AHEAD };
        let balance = CreditBalance { batches: max, since: RowsSince::Ever, is_stopped: false };
        Self { balance: Mutex::new(balance), changed: Condvar::new(), max }
    }

    fn balance(&self) -> MutexGuard<'_, CreditBalance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a credit for another batch, with only the rows since this time. Breaks when a worker
    /// requests more than it has room for.
    pub(crate) fn add(&self, since: RowsSince) -> ControlFlow<()> {
        let mut balance = self.balance();
        if balance.batches >= self.max {
            return ControlFlow::Break(());
        }
        balance.batches += 1;
        balance.since = balance.since.max(since);
        self.changed.notify_all();
        ControlFlow::Continue(())
    }

    /// Stops the scan: no more rows are needed.
    pub(crate) fn stop(&self) {
        self.balance().is_stopped = true;
        self.changed.notify_all();
    }

    /// Waits for a credit and takes it; breaks when no more rows are needed. Blocks.
    pub(crate) fn take(&self) -> ControlFlow<()> {
        let mut balance = self.awaited();
        if balance.is_stopped {
            return ControlFlow::Break(());
        }
        balance.batches -= 1;
        ControlFlow::Continue(())
    }

    /// Waits for a credit and leaves it; breaks when no more rows are needed. Blocks.
    pub(crate) fn wait(&self) -> ControlFlow<()> {
        match self.awaited().is_stopped {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn awaited(&self) -> MutexGuard<'_, CreditBalance> {
        let balance = self.balance();
        let waits = |balance: &mut CreditBalance| balance.batches == 0 && !balance.is_stopped;
        self.changed.wait_while(balance, waits).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rows that are needed now.
    pub(crate) fn since(&self) -> RowsSince {
        self.balance().since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_goes_no_further_than_its_credits() {
        let credits = Credits::new(true);
        assert!(credits.take().is_continue());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| credits.take());
            assert!(credits.add(RowsSince::Time(5)).is_continue());
            assert!(waits.join().unwrap().is_continue());
        });
        assert_eq!(credits.since(), RowsSince::Time(5));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| credits.wait());
            credits.stop();
            assert!(waits.join().unwrap().is_break());
        });
    }

    #[test]
    fn a_worker_that_requests_more_than_it_has_room_for_is_detected() {
        let credits = Credits::new(false);
        assert!(credits.add(RowsSince::Ever).is_break());
        assert!(credits.take().is_continue());
        assert!(credits.add(RowsSince::Ever).is_continue());
        assert!(credits.add(RowsSince::Ever).is_break());
    }
}
