//! The slots for running queries in SQL, and the choice of the next query.
//!
//! A client has three quarters of the slots at most. Where there are several tenants, a tenant
//! takes another slot only if as many stay free as it then has, so that one is left for a tenant
//! without any. A query that finds no slot waits for a moment. A free slot goes to the tenant,
//! and then the client, with the fewest slots. A query whose answer is read slowly makes room when
//! others wait. Owns the choice. Does not own the end of a query, which its conversation brings
//! about.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tidings_query::ClientId;
use tidings_storage::Clock;
use tokio::sync::Notify;

use crate::SqlLimits;

/// Maximum slots of one client, in quarters of all.
const SHARE_QUARTERS: usize = 3;
/// Maximum number of waiting queries, of one client and of all.
const WAITING_OF_CLIENT_MAX: usize = 8;
const WAITING_MAX: usize = 64;
/// Interval at which a waiting query looks for one that makes room.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Multiple of [`SqlLimits::sending_min`] after which an answer makes room for anyone with fewer
/// slots, and for its own client.
const LONG_SENDING: u32 = 12;

/// The client and the tenant of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotHolder {
    pub(crate) tenant: u32,
    pub(crate) client: ClientId,
}

/// The slots of all tenants.
pub(crate) struct QuerySlots {
    limits: SqlLimits,
    clock: Arc<dyn Clock>,
    tenants: AtomicU32,
    state: Mutex<QuerySlotsState>,
}

#[derive(Debug, Default)]
struct QuerySlotsState {
    queries: Vec<SlotQuery>,
    next_id: u64,
}

/// A query that has a slot or waits for one.
#[derive(Debug)]
struct SlotQuery {
    id: u64,
    holder: SlotHolder,
    is_admitted: bool,
    /// Start of sending its answer.
    sent_since: Option<Instant>,
    is_evicted: bool,
    signals: Arc<SlotSignals>,
}

#[derive(Debug, Default)]
struct SlotSignals {
    admitted: Notify,
    evicted: Notify,
}

/// The bound that keeps a query waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotBound {
    All,
    Tenant,
    Client,
}

impl fmt::Debug for QuerySlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySlots").field("state", &*self.state()).finish_non_exhaustive()
    }
}

impl QuerySlots {
    pub(crate) fn new(limits: SqlLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { limits, clock, tenants: AtomicU32::new(1), state: Mutex::default() })
    }

    /// Returns the number of a new tenant.
    pub(crate) fn add_tenant(&self) -> u32 {
        self.tenants.fetch_add(1, Relaxed)
    }

    /// Returns the number of taken slots.
    pub(crate) fn admitted(&self) -> usize {
        self.state().admitted(|_| true)
    }

    /// Returns a slot, or `None` when none became free in the time that a query waits.
    pub(crate) async fn take(self: &Arc<Self>, holder: SlotHolder) -> Option<QuerySlot> {
        let slot = self.enter(holder)?;
        let mut over = self.clock.sleep(self.limits.slot_wait);
        loop {
            if self.make_room(slot.id) {
                return Some(slot);
            }
            tokio::select! {
                () = slot.signals.admitted.notified() => {}
                () = self.clock.sleep(LOOK_EVERY) => {}
                () = &mut over => {
                    // Dropping a slot locks the state itself, so the lock is released here first.
                    let is_admitted = self.state().is_admitted(slot.id);
                    return is_admitted.then_some(slot);
                }
            }
        }
    }

    /// Adds a query to the waiting ones, unless too many wait.
    fn enter(self: &Arc<Self>, holder: SlotHolder) -> Option<QuerySlot> {
        let mut state = self.state();
        let waiting = state.queries.iter().filter(|query| !query.is_admitted);
        let of_client = waiting.clone().filter(|query| query.holder.client == holder.client);
        if of_client.count() >= WAITING_OF_CLIENT_MAX || waiting.count() >= WAITING_MAX {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let signals = Arc::new(SlotSignals::default());
        state.queries.push(SlotQuery {
            id,
            holder,
            is_admitted: false,
            sent_since: None,
            is_evicted: false,
            signals: Arc::clone(&signals),
        });
        self.admit(&mut state);
        drop(state);
        Some(QuerySlot { slots: Arc::clone(self), id, signals })
    }

    /// Returns true if the query has a slot; otherwise it makes another query leave its slot.
    fn make_room(&self, id: u64) -> bool {
        let mut state = self.state();
        if state.is_admitted(id) {
            return true;
        }
        let Some(waiting) = state.queries.iter().find(|query| query.id == id) else { return false };
        let victim = self.bound(&state, &waiting.holder).and_then(|bound| {
            let is_leaving = state.queries.iter().any(|query| query.is_evicted);
            (!is_leaving).then(|| self.victim(&state, &waiting.holder, bound))?
        });
        if let Some(victim) = state.queries.iter_mut().find(|query| Some(query.id) == victim) {
            victim.is_evicted = true;
            victim.signals.evicted.notify_one();
        }
        false
    }

    /// Returns the bound that keeps a query of this holder waiting now.
    fn bound(&self, state: &QuerySlotsState, holder: &SlotHolder) -> Option<SlotBound> {
        let max = self.limits.running_max;
        let free = max.saturating_sub(state.admitted(|_| true));
        let of_tenant = state.admitted(|other| other.tenant == holder.tenant);
        let of_client = state.admitted(|other| other.client == holder.client);
        if free == 0 {
            return Some(SlotBound::All);
        }
        if of_client >= max.saturating_mul(SHARE_QUARTERS).div_ceil(4) {
            return Some(SlotBound::Client);
        }
        let is_divided = self.tenants.load(Relaxed) > 1;
        (is_divided && of_tenant > 0 && of_tenant + 1 > free - 1).then_some(SlotBound::Tenant)
    }

    /// Returns the query whose answer has been sent for the longest among those that must make
    /// room.
    fn victim(
        &self,
        state: &QuerySlotsState,
        holder: &SlotHolder,
        bound: SlotBound,
    ) -> Option<u64> {
        let now = self.clock.instant();
        let long = self.limits.sending_min.saturating_mul(LONG_SENDING);
        let may = |query: &SlotQuery, since: Instant| {
            let other = &query.holder;
            let (is_own, is_of_tenant) =
                (other.client == holder.client, other.tenant == holder.tenant);
            let counts = |of: &SlotHolder| match is_of_tenant {
                true => state.admitted(|at| at.client == of.client),
                false => state.admitted(|at| at.tenant == of.tenant),
            };
            let (has, wants) = (counts(other), counts(holder));
            let time = now.saturating_duration_since(since);
            let helps = match bound {
                SlotBound::All => true,
                SlotBound::Tenant => is_of_tenant,
                SlotBound::Client => is_own,
            };
            let is_greedy = has > wants + 1 && time >= self.limits.sending_min;
            helps && (is_greedy || (time >= long && (is_own || has > wants)))
        };
        let sending = state.queries.iter().filter(|query| query.is_admitted);
        let since = sending.filter_map(|query| Some((query.sent_since?, query)));
        since
            .filter(|(since, query)| may(query, *since))
            .min_by_key(|(since, _)| *since)
            .map(|(_, query)| query.id)
    }

    /// Gives free slots to waiting queries.
    fn admit(&self, state: &mut QuerySlotsState) {
        loop {
            let waiting = state.queries.iter().filter(|query| !query.is_admitted);
            let next = waiting.filter(|query| self.bound(state, &query.holder).is_none());
            let next = next.min_by_key(|query| {
                let of_tenant = state.admitted(|other| other.tenant == query.holder.tenant);
                let of_client = state.admitted(|other| other.client == query.holder.client);
                (of_tenant, of_client, query.id)
            });
            let Some(id) = next.map(|query| query.id) else { return };
            if let Some(query) = state.queries.iter_mut().find(|query| query.id == id) {
                query.is_admitted = true;
                query.signals.admitted.notify_one();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, QuerySlotsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QuerySlotsState {
    fn admitted(&self, of: impl Fn(&SlotHolder) -> bool) -> usize {
        let admitted = self.queries.iter().filter(|query| query.is_admitted);
        admitted.filter(|query| of(&query.holder)).count()
    }

    fn is_admitted(&self, id: u64) -> bool {
        self.queries.iter().any(|query| query.id == id && query.is_admitted)
    }
}

/// The slot of a query; given back when dropped.
#[derive(Debug)]
pub(crate) struct QuerySlot {
    slots: Arc<QuerySlots>,
    id: u64,
    signals: Arc<SlotSignals>,
}

impl QuerySlot {
    /// Notes that the answer is sent from now on.
    pub(crate) fn sends(&self) {
        let now = self.slots.clock.instant();
        let mut state = self.slots.state();
        if let Some(query) = state.queries.iter_mut().find(|query| query.id == self.id) {
            query.sent_since = Some(now);
        }
    }

    /// Resolves when the query has to make room.
    pub(crate) async fn evicted(&self) {
        self.signals.evicted.notified().await;
    }
}

impl Drop for QuerySlot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.queries.retain(|query| query.id != self.id);
        self.slots.admit(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::FutureExt;
    use tidings_query::ClientId;
    use tidings_storage::SystemClock;

    use super::{QuerySlot, QuerySlots, SlotHolder};
    use crate::SqlLimits;

    /// Creates this many slots, for which queries do not wait; answers make room at once.
    fn slots(running_max: usize) -> Arc<QuerySlots> {
        let (slot_wait, sending_min) = (Duration::ZERO, Duration::ZERO);
        let limits = SqlLimits { running_max, slot_wait, sending_min, ..SqlLimits::default() };
        QuerySlots::new(limits, Arc::new(SystemClock))
    }

    /// Takes as many slots as a client can have, and returns them.
    async fn take_all(slots: &Arc<QuerySlots>, tenant: u32, client: &str) -> Vec<QuerySlot> {
        let mut taken = Vec::new();
        let holder = SlotHolder { tenant, client: ClientId::new(client) };
        while let Some(slot) = slots.take(holder.clone()).await {
            taken.push(slot);
        }
        taken
    }

    #[tokio::test]
    async fn no_client_takes_all_slots_when_there_are_several() {
        for (count, of_first, of_second) in [(1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 3, 1), (8, 6, 2)]
        {
            let slots = slots(count);
            let first = take_all(&slots, 0, "a").await;
            let second = take_all(&slots, 0, "b").await;
            assert_eq!((first.len(), second.len()), (of_first, of_second), "{count}");
            drop(first);
            assert_eq!(slots.admitted(), second.len());
        }
    }

    #[tokio::test]
    async fn no_two_tenants_take_all_slots() {
        let slots = slots(4);
        let (second, third) = (slots.add_tenant(), slots.add_tenant());
        let noisy = [take_all(&slots, 0, "a").await, take_all(&slots, second, "b").await];
        assert_eq!(noisy.each_ref().map(Vec::len), [2, 1]);
        assert_eq!(take_all(&slots, third, "c").await.len(), 1);
    }

    #[tokio::test]
    async fn the_next_slot_is_for_the_client_with_the_fewest() {
        let limits = SqlLimits { slot_wait: Duration::from_secs(60), ..slots(2).limits };
        let slots = QuerySlots::new(limits, Arc::new(SystemClock));
        let take = |client: &str| {
            let holder = SlotHolder { tenant: 0, client: ClientId::new(client) };
            let slots = Arc::clone(&slots);
            Box::pin(async move { slots.take(holder).await })
        };
        let (first, _second) = (take("a").await.unwrap(), take("a").await.unwrap());
        let (mut again, mut other) = (take("a"), take("b"));
        assert!(again.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        drop(first);
        assert!(again.as_mut().now_or_never().is_none(), "it waits for longer, and has more");
        let slot = other.as_mut().now_or_never().flatten();
        assert!(slot.is_some());
        drop(slot);
        assert!(again.as_mut().now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn an_answer_that_is_sent_makes_room_for_others_and_work_does_not() {
        let slots = slots(4);
        let held = take_all(&slots, 0, "a").await;
        let other = take_all(&slots, 0, "b").await;
        assert!(take_all(&slots, 0, "c").await.is_empty());
        assert!(held.iter().all(|slot| slot.evicted().now_or_never().is_none()), "it works");
        held[1].sends();
        assert!(take_all(&slots, 0, "c").await.is_empty(), "it has to end first");
        let evicted = held.iter().map(|slot| slot.evicted().now_or_never().is_some());
        assert_eq!(evicted.collect::<Vec<_>>(), [false, true, false]);
        drop(other);
    }
}
