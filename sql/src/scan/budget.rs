//! The memory that scans of a query keep while reading: sets of hashes, traces, minutes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::SqlError;

/// The memory of all scans of a query.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }
}

/// One scan's part of a budget, given back when dropped.
#[derive(Debug)]
pub(super) struct BudgetReservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl BudgetReservation {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Changes the reservation to this number of bytes.
    pub(super) fn resize(&mut self, bytes: usize) -> Result<(), SqlError> {
        let Some(more) = bytes.checked_sub(self.bytes) else {
            self.budget.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.bytes = bytes;
            return Ok(());
        };
        let max = self.budget.max;
        let grown = self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|held| *held <= max)
        });
        match grown {
            Ok(_) => {
                self.bytes = bytes;
                Ok(())
            }
            Err(held) => {
                let reason = format!(
                    "the rows of its views need {more} bytes beside the {held} that are held, and \
                     may have {max}"
                );
                Err(SqlError::Memory { reason })
            }
        }
    }
}

impl Drop for BudgetReservation {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_hold_no_more_together_than_there_is() {
        let budget = Budget::new(10);
        let (mut first, mut second) =
            (BudgetReservation::new(&budget), BudgetReservation::new(&budget));
        assert!(first.resize(6).is_ok());
        assert!(second.resize(5).is_err());
        assert!(second.resize(4).is_ok());
        assert!(first.resize(7).is_err());
        assert!(first.resize(1).is_ok());
        assert!(second.resize(9).is_ok());
        drop((first, second));
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
