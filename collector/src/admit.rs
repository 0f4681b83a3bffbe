//! Admission: bounds of concurrent requests and of their memory.
//!
//! Memory is reserved before it is used. Arriving bytes, decompressed bytes and the estimated
//! decoded form are taken from one budget until the request is answered. When the budget is used
//! up, stalled bodies are evicted ([`crate::shares`]). For a body that has arrived completely,
//! arriving bodies of the same address are evicted, too. If none can be evicted, the request is
//! refused at once with "try again"; there is no queue.

use std::sync::Arc;

use tidings_access::Caller;
use tidings_storage::Clock;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    CollectorLimits,
    destination::Destination,
    refusal::{Reason, Refusal},
    shares::{BudgetExhausted, BudgetKind, BudgetShare, RequestHolder, Shares},
};

/// The budgets that all receivers share.
#[derive(Debug)]
pub(crate) struct Gate {
    memory: Arc<Shares>,
    open: Arc<Semaphore>,
    working: Arc<Semaphore>,
    open_max: u32,
}

impl Gate {
    pub(crate) fn new(limits: &CollectorLimits, clock: Arc<dyn Clock>) -> Self {
        let semaphore = |permits: usize| {
            Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30))))
        };
        let open = semaphore(limits.open_requests_max);
        Self {
            memory: Shares::new(BudgetKind::Bytes, limits.in_flight_bytes_max, clock),
            working: semaphore(limits.in_flight_requests_max),
            open_max: u32::try_from(open.available_permits()).unwrap_or(u32::MAX),
            open,
        }
    }

    /// Admits a request of this sender, so that its body is read.
    pub(crate) fn open(
        &self,
        holder: Arc<RequestHolder>,
        sender: RequestSender,
    ) -> Result<Admission, Refusal> {
        let open = Arc::clone(&self.open)
            .try_acquire_owned()
            .map_err(|_| Refusal::new(Reason::Busy, "too many requests at a time"))?;
        let memory = self.memory.take(Arc::clone(&holder) as _, 0).map_err(no_memory)?;
        Ok(Admission {
            holder,
            sender,
            work_budget: Arc::clone(&self.working),
            memory_max: self.memory.total_max(),
            memory,
            held_bytes: 0,
            _work: None,
            _open: open,
        })
    }

    /// Resolves when no request is in progress.
    pub(crate) async fn empty(&self) {
        // The error case cannot occur: the semaphore is never closed.
        let _ = self.open.acquire_many(self.open_max).await;
    }

    /// Returns the memory budget of requests in progress.
    pub(crate) fn memory(&self) -> &Shares {
        &self.memory
    }
}

fn no_memory(_: BudgetExhausted) -> Refusal {
    Refusal::new(Reason::Busy, "too many bytes under way at a time")
}

/// Returns the refusal of a body whose memory was given to other requests.
pub(crate) fn evicted_body() -> Refusal {
    Refusal::new(Reason::Busy, "other requests needed the memory of this body")
}

/// Choice whether to wait, at most a second, for memory of evicted bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormWait {
    No,
    /// Waits; only for threads that may block.
    Blocking,
}

/// The sender of a request: the destination of its records, and its caller if a key is required.
#[derive(Debug, Clone)]
pub(crate) struct RequestSender {
    pub(crate) caller: Option<Caller>,
    pub(crate) destination: Arc<Destination>,
}

/// The share of the budgets that one request has; returned when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) holder: Arc<RequestHolder>,
    pub(crate) sender: RequestSender,
    work_budget: Arc<Semaphore>,
    memory_max: usize,
    memory: BudgetShare,
    held_bytes: usize,
    _work: Option<OwnedSemaphorePermit>,
    _open: OwnedSemaphorePermit,
}

impl Admission {
    /// Reserves memory for the decoded form of a body that has arrived. Fails if the body was
    /// evicted for another one of its address.
    pub(crate) fn hold_form(&mut self, bytes: usize, wait: FormWait) -> Result<(), Refusal> {
        self.check_size(bytes)?;
        if self.holder.is_evicted() {
            return Err(evicted_body());
        }
        self.memory.has_arrived();
        let held = match wait {
            FormWait::No => self.memory.grow(bytes),
            FormWait::Blocking => Handle::current().block_on(self.memory.grow_soon(bytes)),
        };
        held.map_err(no_memory)
    }

    /// Reserves more memory.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.check_size(bytes)?;
        self.memory.grow(bytes).map_err(no_memory)
    }

    /// As [`Self::hold`], for arriving bytes: waits a moment for memory of evicted bodies, and
    /// leaves room to decode bodies that have arrived.
    pub(crate) async fn hold_arriving(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.check_size(bytes)?;
        self.memory.grow_arriving(bytes).await.map_err(no_memory)
    }

    /// Refuses for good a request that never fits. With "try again" the sender would repeat it
    /// without end.
    fn check_size(&mut self, more: usize) -> Result<(), Refusal> {
        self.held_bytes = self.held_bytes.saturating_add(more);
        let (held, limit) = (self.held_bytes, self.memory_max);
        if held <= limit {
            return Ok(());
        }
        let message =
            format!("takes {held} bytes of memory, the limit for all requests together is {limit}");
        Err(Refusal::new(Reason::TooLarge, message))
    }

    /// Acquires a permit to decode and store the request.
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
    use std::{net::IpAddr, sync::Arc};

    use futures::future::BoxFuture;
    use tidings_storage::{StorageError, SystemClock, TelemetryBatch};

    use super::{Admission, Destination, Gate, RequestSender};
    use crate::{
        CollectorLimits, Sink,
        refusal::{Reason, Refusal},
        shares::{PeerAddress, RequestHolder},
    };

    #[derive(Debug)]
    struct NullSink;

    impl Sink for NullSink {
        fn append(&self, _: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    fn gate() -> Gate {
        let limits = CollectorLimits {
            in_flight_bytes_max: 1 << 20,
            in_flight_requests_max: 1,
            open_requests_max: 2,
            ..CollectorLimits::default()
        };
        Gate::new(&limits, Arc::new(SystemClock))
    }

    /// Opens a request from the address of this host.
    fn open(gate: &Gate, host: u8) -> Result<Admission, Refusal> {
        let peer = PeerAddress::from(IpAddr::from([192, 0, 2, host]));
        let destination = Arc::new(Destination::new(Arc::new(NullSink)));
        let sender = RequestSender { caller: None, destination };
        gate.open(RequestHolder::new(peer, true, Arc::new(SystemClock)), sender)
    }

    #[test]
    fn memory_is_returned_when_the_request_ends() {
        let gate = gate();
        let mut first = open(&gate, 1).unwrap();
        let mut second = open(&gate, 2).unwrap();
        first.holder.received();
        first.hold(1).unwrap();
        first.hold((1 << 20) - 4096).unwrap();
        assert_eq!(second.hold(4097).unwrap_err().reason, Reason::Busy);
        drop(first);
        second.hold(1 << 19).unwrap();
    }

    #[test]
    fn concurrent_requests_are_bounded() {
        let gate = gate();
        let (mut first, mut second) = (open(&gate, 1).unwrap(), open(&gate, 2).unwrap());
        assert_eq!(open(&gate, 3).unwrap_err().reason, Reason::Busy);
        first.work().unwrap();
        assert_eq!(second.work().unwrap_err().reason, Reason::Busy);
        drop(first);
        second.work().unwrap();
    }

    #[test]
    fn an_amount_that_would_overflow_is_refused() {
        let gate = gate();
        let mut admission = open(&gate, 1).unwrap();
        assert_eq!(admission.hold(usize::MAX).unwrap_err().reason, Reason::TooLarge);
        assert_eq!(admission.hold(usize::MAX).unwrap_err().reason, Reason::TooLarge);
    }
}
