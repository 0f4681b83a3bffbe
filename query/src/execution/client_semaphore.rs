//! Fair semaphore with a quota for each client.
//!
//! A client may hold one permit. It may hold more as long as [`is_within_quota`] allows, which
//! depends on the free permits: a single client gets three of four. So a later client finds a free
//! permit. The queue has the same quota. Waiting clients get permits in round-robin order, and the
//! requests of one client in order of arrival. Owns the counts and the order. Does not own the
//! purpose of a permit, which is a running query, a tail or a wait for a version.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::client_quota::{ClientId, is_within_quota};

/// A fixed number of permits, with a quota for each client.
#[derive(Debug)]
pub(crate) struct ClientSemaphore(Mutex<SemaphoreState>);

#[derive(Debug)]
struct SemaphoreState {
    permits_max: usize,
    held: Vec<PermitRequest>,
    /// Requests in the queue, the oldest first.
    waiting: Vec<PermitRequest>,
    /// Clients with waiting requests, in round-robin order.
    turns: VecDeque<ClientId>,
}

/// A request for a permit, granted or waiting.
#[derive(Debug)]
struct PermitRequest {
    client: ClientId,
    /// Signal of the grant, sent once. It also identifies the request.
    granted: Arc<Notify>,
}

impl ClientSemaphore {
    /// Creates a semaphore with this number of permits.
    pub(crate) fn new(permits_max: usize) -> Arc<Self> {
        let (held, waiting, turns) = (Vec::new(), Vec::new(), VecDeque::new());
        Arc::new(Self(Mutex::new(SemaphoreState { permits_max, held, waiting, turns })))
    }

    /// Reduces the number of permits from now on. Held permits stay valid.
    pub(crate) fn reduce_permits(&self, permits_max: usize) {
        let mut state = self.state();
        state.permits_max = state.permits_max.min(permits_max);
    }

    /// Acquires a permit at once; returns `None` when none is free or the client has its quota.
    pub(crate) fn try_acquire(self: &Arc<Self>, client: ClientId) -> Option<ClientPermit> {
        self.request(client, 0).map(|granted| granted.0)
    }

    /// Requests a permit, which may be granted at once. Returns `None` when no permit is free and
    /// either `waiting_max` requests wait or the client has its quota of them.
    pub(crate) fn request(
        self: &Arc<Self>,
        client: ClientId,
        waiting_max: usize,
    ) -> Option<PendingPermit> {
        let mut state = self.state();
        if !has_quota(&state.held, state.permits_max, &client)
            && !has_quota(&state.waiting, waiting_max, &client)
        {
            return None;
        }
        if !state.turns.contains(&client) {
            state.turns.push_back(client.clone());
        }
        let granted = Arc::new(Notify::new());
        state.waiting.push(PermitRequest { client, granted: Arc::clone(&granted) });
        // A client with free quota has no earlier request in the queue, so this request gets the
        // permit.
        state.grant();
        drop(state);
        Some(PendingPermit(ClientPermit { semaphore: Arc::clone(self), granted }))
    }

    /// Number of requests in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, SemaphoreState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SemaphoreState {
    /// Grants free permits to waiting clients in round-robin order.
    fn grant(&mut self) {
        while let Some(client) = self.next_client() {
            let oldest = self.waiting.iter().position(|request| request.client == client);
            let Some(oldest) = oldest else { continue };
            let request = self.waiting.remove(oldest);
            request.granted.notify_one();
            self.held.push(request);
            if count_of(&self.waiting, &client) > 0 {
                self.turns.push_back(client);
            }
        }
    }

    /// Removes the next client with free quota from the round-robin order, and returns it.
    fn next_client(&mut self) -> Option<ClientId> {
        let mut turns = self.turns.iter();
        let next = turns.position(|client| has_quota(&self.held, self.permits_max, client))?;
        self.turns.remove(next)
    }

    fn release(&mut self, granted: &Arc<Notify>) {
        let is_other = |request: &PermitRequest| !Arc::ptr_eq(&request.granted, granted);
        self.held.retain(is_other);
        self.waiting.retain(is_other);
        let waiting = &self.waiting;
        self.turns.retain(|client| count_of(waiting, client) > 0);
        self.grant();
    }
}

/// Reports whether the quota of a client allows another request, when there are at most `max`.
fn has_quota(requests: &[PermitRequest], max: usize, client: &ClientId) -> bool {
    let Some(free) = max.checked_sub(requests.len() + 1) else { return false };
    let of_client = count_of(requests, client);
    of_client == 0 || is_within_quota(of_client as u64 + 1, free as u64)
}

fn count_of(requests: &[PermitRequest], client: &ClientId) -> usize {
    requests.iter().filter(|request| request.client == *client).count()
}

/// A held permit, released on drop.
#[derive(Debug)]
pub(crate) struct ClientPermit {
    semaphore: Arc<ClientSemaphore>,
    granted: Arc<Notify>,
}

/// A permit that may not be granted yet. Its request is withdrawn on drop.
#[derive(Debug)]
pub(crate) struct PendingPermit(ClientPermit);

impl PendingPermit {
    /// Resolves when the permit is granted.
    pub(crate) async fn acquired(self) -> ClientPermit {
        self.0.granted.notified().await;
        self.0
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.semaphore.state().release(&self.granted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::{ClientId, ClientPermit, ClientSemaphore, PendingPermit};

    fn acquire_all(semaphore: &Arc<ClientSemaphore>, client: &str) -> Vec<ClientPermit> {
        std::iter::from_fn(|| semaphore.try_acquire(ClientId::new(client))).collect()
    }

    fn request_all(
        semaphore: &Arc<ClientSemaphore>,
        client: &str,
        max: usize,
    ) -> Vec<PendingPermit> {
        std::iter::from_fn(|| semaphore.request(ClientId::new(client), max)).collect()
    }

    fn is_unused(semaphore: &ClientSemaphore) -> bool {
        let state = semaphore.state();
        state.held.is_empty() && state.waiting.is_empty() && state.turns.is_empty()
    }

    #[test]
    fn no_client_exhausts_the_permits() {
        for (permits_max, counts) in [
            (0, [0, 0, 0]),
            (1, [1, 0, 0]),
            (2, [1, 1, 0]),
            (3, [2, 1, 0]),
            (4, [3, 1, 0]),
            (64, [48, 12, 3]),
            (256, [192, 48, 12]),
        ] {
            let semaphore = ClientSemaphore::new(permits_max);
            let held = ["a", "b", "c"].map(|client| acquire_all(&semaphore, client));
            assert_eq!(held.each_ref().map(Vec::len), counts, "{permits_max}");
            drop(held);
            assert_eq!(acquire_all(&semaphore, "c").len(), counts[0], "{permits_max}");
            assert!(is_unused(&semaphore));
        }
    }

    #[test]
    fn no_client_exhausts_the_queue() {
        let semaphore = ClientSemaphore::new(4);
        let entered = ["a", "b", "c"].map(|client| request_all(&semaphore, client, 64));
        assert_eq!(entered.each_ref().map(Vec::len), [3 + 48, 1 + 12, 3]);
        assert_eq!(semaphore.queued(), 48 + 12 + 3);
        drop(entered);
        assert!(is_unused(&semaphore));
    }

    #[test]
    fn permits_are_granted_round_robin_by_client_and_oldest_first_within_one() {
        let semaphore = ClientSemaphore::new(1);
        let mut held = semaphore.try_acquire(ClientId::new("a"));
        let mut waiting = Vec::from(["a1", "a2", "a3", "b1", "b2", "c1"].map(|name| {
            let permit = semaphore.request(ClientId::new(&name[..1]), 64).unwrap();
            (name, Box::pin(permit.acquired()))
        }));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let early = waiting.iter_mut().find_map(|(_, turn)| turn.as_mut().now_or_never());
            assert!(early.is_none(), "the one permit is held");
            drop(held.take());
            let next = waiting.iter_mut().enumerate().find_map(|(at, (_, turn))| {
                turn.as_mut().now_or_never().map(|permit| (at, permit))
            });
            let (at, permit) = next.unwrap();
            order.push(waiting.remove(at).0);
            held = Some(permit);
        }
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn a_dropped_request_leaves_the_queue() {
        let semaphore = ClientSemaphore::new(1);
        let request = |client: &str| semaphore.request(ClientId::new(client), 1);
        let held = semaphore.try_acquire(ClientId::new("a"));
        let left = request("b");
        assert!(held.is_some() && left.is_some() && request("c").is_none());
        drop(left);
        let granted = request("c");
        assert!(granted.is_some());
        drop(held);
        assert!(
            semaphore.try_acquire(ClientId::new("a")).is_none(),
            "the waiting request is granted first"
        );
        drop(granted);
        assert!(is_unused(&semaphore), "a permit that was granted and not received is released");
    }

    #[test]
    fn permits_above_a_reduced_maximum_are_not_granted_again() {
        let semaphore = ClientSemaphore::new(4);
        let mut held = acquire_all(&semaphore, "a");
        semaphore.reduce_permits(2);
        assert_eq!((held.len(), acquire_all(&semaphore, "b").len()), (3, 0));
        held.truncate(1);
        assert_eq!(acquire_all(&semaphore, "b").len(), 1);
    }
}
