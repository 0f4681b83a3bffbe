//! Admission: how many requests and how much memory may be under way at a time.
//!
//! Memory is accounted before it is used: arriving bytes, decompressed bytes and the estimated
//! decoded form are all held from one budget until the request is answered. When the budget is
//! used up the answer is an immediate "try again", never a queue.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    CollectorLimits,
    refusal::{Reason, Refusal},
};

/// What one permit of memory stands for.
const GRAIN_BYTES: usize = 4096;

/// The budgets all receivers share.
#[derive(Debug)]
pub(crate) struct Gate {
    memory: Arc<Semaphore>,
    open: Arc<Semaphore>,
    working: Arc<Semaphore>,
    memory_max: usize,
    open_max: u32,
}

impl Gate {
    pub(crate) fn new(limits: &CollectorLimits) -> Self {
        let semaphore = |permits: usize| {
            Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30))))
        };
        let open = semaphore(limits.open_requests_max);
        let memory = semaphore(limits.in_flight_bytes_max / GRAIN_BYTES);
        Self {
            memory_max: memory.available_permits().saturating_mul(GRAIN_BYTES),
            memory,
            working: semaphore(limits.in_flight_requests_max),
            open_max: u32::try_from(open.available_permits()).unwrap_or(u32::MAX),
            open,
        }
    }

    /// Lets a request in to send its body.
    pub(crate) fn open(&self) -> Result<Admission, Refusal> {
        let open = Arc::clone(&self.open)
            .try_acquire_owned()
            .map_err(|_| Refusal::new(Reason::Busy, "too many requests at a time"))?;
        Ok(Admission {
            memory_budget: Arc::clone(&self.memory),
            work_budget: Arc::clone(&self.working),
            memory_max: self.memory_max,
            memory: None,
            held_bytes: 0,
            _work: None,
            _open: open,
        })
    }

    /// Resolves when no request is under way.
    pub(crate) async fn empty(&self) {
        // An error means the semaphore is closed, which nothing does.
        let _ = self.open.acquire_many(self.open_max).await;
    }
}

/// One request's share of the budgets; given back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    memory_budget: Arc<Semaphore>,
    work_budget: Arc<Semaphore>,
    memory_max: usize,
    memory: Option<OwnedSemaphorePermit>,
    held_bytes: usize,
    _work: Option<OwnedSemaphorePermit>,
    _open: OwnedSemaphorePermit,
}

impl Admission {
    /// Holds this much more memory.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > self.memory_max {
            // To be told to try again would be to try again for ever.
            let (held, limit) = (self.held_bytes, self.memory_max);
            let message = format!(
                "takes {held} bytes of memory, the limit for all requests together is {limit}"
            );
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        let have = self.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.held_bytes.div_ceil(GRAIN_BYTES).saturating_sub(have);
        if more == 0 {
            return Ok(());
        }
        let permit = u32::try_from(more)
            .ok()
            .and_then(|more| Arc::clone(&self.memory_budget).try_acquire_many_owned(more).ok())
            .ok_or_else(|| Refusal::new(Reason::Busy, "too many bytes under way at a time"))?;
        match &mut self.memory {
            Some(held) => held.merge(permit),
            None => self.memory = Some(permit),
        }
        Ok(())
    }

    /// Takes a place among the requests being decoded and stored.
    pub(crate) fn work(&mut self) -> Result<(), Refusal> {
        let permit = Arc::clone(&self.work_budget)
            .try_acquire_owned()
            .map_err(|_| Refusal::new(Reason::Busy, "too many requests at a time"))?;
        self._work = Some(permit);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use crate::{CollectorLimits, refusal::Reason};

    fn gate() -> Gate {
        Gate::new(&CollectorLimits {
            in_flight_bytes_max: 1 << 20,
            in_flight_requests_max: 1,
            open_requests_max: 2,
            ..CollectorLimits::default()
        })
    }

    #[test]
    fn memory_is_given_back_when_the_request_ends() {
        let gate = gate();
        let mut first = gate.open().unwrap();
        let mut second = gate.open().unwrap();
        first.hold(1).unwrap();
        first.hold((1 << 20) - 4096).unwrap();
        assert_eq!(second.hold(4097).unwrap_err().reason, Reason::Busy);
        drop(first);
        second.hold(1 << 19).unwrap();
    }

    #[test]
    fn requests_have_places() {
        let gate = gate();
        let (mut first, mut second) = (gate.open().unwrap(), gate.open().unwrap());
        assert_eq!(gate.open().unwrap_err().reason, Reason::Busy);
        first.work().unwrap();
        assert_eq!(second.work().unwrap_err().reason, Reason::Busy);
        drop(first);
        second.work().unwrap();
    }

    #[test]
    fn an_absurd_amount_is_refused_and_not_wrapped_around() {
        let gate = gate();
        let mut admission = gate.open().unwrap();
        assert_eq!(admission.hold(usize::MAX).unwrap_err().reason, Reason::TooLarge);
        assert_eq!(admission.hold(usize::MAX).unwrap_err().reason, Reason::TooLarge);
    }
}
