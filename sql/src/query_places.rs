//! The places for running queries in SQL, and the choice of the next query.
//!
//! A client has three quarters of the places at most. Where there are several tenants, a tenant
//! takes another place only if as many stay free as it then has, so that one is left for a tenant
//! without any. A query that finds no place waits for a moment. A free place goes to the tenant,
//! and then the client, with the fewest places. A query whose answer is read slowly makes room when
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

/// Maximum places of one client, in quarters of all.
const SHARE_QUARTERS: usize = 3;
/// Maximum number of waiting queries, of one client and of all.
const WAITING_OF_CLIENT_MAX: usize = 8;
const WAITING_MAX: usize = 64;
/// Interval at which a waiting query looks for one that makes room.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Multiple of [`SqlLimits::sending_min`] after which an answer makes room for anyone with fewer
/// places, and for its own client.
const LONG_SENDING: u32 = 12;

/// The client and the tenant of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlaceHolder {
    pub(crate) tenant: u32,
    pub(crate) client: ClientId,
}

/// The places of all tenants.
pub(crate) struct QueryPlaces {
    limits: SqlLimits,
    clock: Arc<dyn Clock>,
    tenants: AtomicU32,
    state: Mutex<QueryPlacesState>,
}

#[derive(Debug, Default)]
struct QueryPlacesState {
    queries: Vec<PlacedQuery>,
    next_id: u64,
}

/// A query that has a place or waits for one.
#[derive(Debug)]
struct PlacedQuery {
    id: u64,
    holder: PlaceHolder,
    is_admitted: bool,
    /// Start of sending its answer.
    sent_since: Option<Instant>,
    is_evicted: bool,
    signals: Arc<PlaceSignals>,
}

#[derive(Debug, Default)]
struct PlaceSignals {
    admitted: Notify,
    evicted: Notify,
}

/// The bound that keeps a query waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceBound {
    All,
    Tenant,
    Client,
}

impl fmt::Debug for QueryPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryPlaces").field("state", &*self.state()).finish_non_exhaustive()
    }
}

impl QueryPlaces {
    pub(crate) fn new(limits: SqlLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { limits, clock, tenants: AtomicU32::new(1), state: Mutex::default() })
    }

    /// Returns the number of a new tenant.
    pub(crate) fn add_tenant(&self) -> u32 {
        self.tenants.fetch_add(1, Relaxed)
    }

    /// Returns the number of taken places.
    pub(crate) fn admitted(&self) -> usize {
        self.state().admitted(|_| true)
    }

    /// Returns a place, or `None` when none became free in the time that a query waits.
    pub(crate) async fn take(self: &Arc<Self>, holder: PlaceHolder) -> Option<QueryPlace> {
        let place = self.enter(holder)?;
        let mut over = self.clock.sleep(self.limits.place_wait);
        loop {
            if self.make_room(place.id) {
                return Some(place);
            }
            tokio::select! {
                () = place.signals.admitted.notified() => {}
                () = self.clock.sleep(LOOK_EVERY) => {}
                () = &mut over => {
                    // Dropping a place locks the state itself, so the lock is released here first.
                    let is_admitted = self.state().is_admitted(place.id);
                    return is_admitted.then_some(place);
                }
            }
        }
    }

    /// Adds a query to the waiting ones, unless too many wait.
    fn enter(self: &Arc<Self>, holder: PlaceHolder) -> Option<QueryPlace> {
        let mut state = self.state();
        let waiting = state.queries.iter().filter(|query| !query.is_admitted);
        let of_client = waiting.clone().filter(|query| query.holder.client == holder.client);
        if of_client.count() >= WAITING_OF_CLIENT_MAX || waiting.count() >= WAITING_MAX {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let signals = Arc::new(PlaceSignals::default());
        state.queries.push(PlacedQuery {
            id,
            holder,
            is_admitted: false,
            sent_since: None,
            is_evicted: false,
            signals: Arc::clone(&signals),
        });
        self.admit(&mut state);
        drop(state);
        Some(QueryPlace { places: Arc::clone(self), id, signals })
    }

    /// Returns true if the query has a place; otherwise it makes another query leave its place.
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
    fn bound(&self, state: &QueryPlacesState, holder: &PlaceHolder) -> Option<PlaceBound> {
        let max = self.limits.running_max;
        let free = max.saturating_sub(state.admitted(|_| true));
        let of_tenant = state.admitted(|other| other.tenant == holder.tenant);
        let of_client = state.admitted(|other| other.client == holder.client);
        if free == 0 {
            return Some(PlaceBound::All);
        }
        if of_client >= max.saturating_mul(SHARE_QUARTERS).div_ceil(4) {
            return Some(PlaceBound::Client);
        }
        let is_divided = self.tenants.load(Relaxed) > 1;
        (is_divided && of_tenant > 0 && of_tenant + 1 > free - 1).then_some(PlaceBound::Tenant)
    }

    /// Returns the query whose answer has been sent for the longest among those that must make
    /// room.
    fn victim(
        &self,
        state: &QueryPlacesState,
        holder: &PlaceHolder,
        bound: PlaceBound,
    ) -> Option<u64> {
        let now = self.clock.instant();
        let long = self.limits.sending_min.saturating_mul(LONG_SENDING);
        let may = |query: &PlacedQuery, since: Instant| {
            let other = &query.holder;
            let (is_own, is_of_tenant) =
                (other.client == holder.client, other.tenant == holder.tenant);
            let counts = |of: &PlaceHolder| match is_of_tenant {
                true => state.admitted(|at| at.client == of.client),
                false => state.admitted(|at| at.tenant == of.tenant),
            };
            let (has, wants) = (counts(other), counts(holder));
            let time = now.saturating_duration_since(since);
            let helps = match bound {
                PlaceBound::All => true,
                PlaceBound::Tenant => is_of_tenant,
                PlaceBound::Client => is_own,
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

    /// Gives free places to waiting queries.
    fn admit(&self, state: &mut QueryPlacesState) {
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

    fn state(&self) -> MutexGuard<'_, QueryPlacesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueryPlacesState {
    fn admitted(&self, of: impl Fn(&PlaceHolder) -> bool) -> usize {
        let admitted = self.queries.iter().filter(|query| query.is_admitted);
        admitted.filter(|query| of(&query.holder)).count()
    }

    fn is_admitted(&self, id: u64) -> bool {
        self.queries.iter().any(|query| query.id == id && query.is_admitted)
    }
}

/// The place of a query; given back when dropped.
#[derive(Debug)]
pub(crate) struct QueryPlace {
    places: Arc<QueryPlaces>,
    id: u64,
    signals: Arc<PlaceSignals>,
}

impl QueryPlace {
    /// Notes that the answer is sent from now on.
    pub(crate) fn sends(&self) {
        let now = self.places.clock.instant();
        let mut state = self.places.state();
        if let Some(query) = state.queries.iter_mut().find(|query| query.id == self.id) {
            query.sent_since = Some(now);
        }
    }

    /// Resolves when the query has to make room.
    pub(crate) async fn evicted(&self) {
        self.signals.evicted.notified().await;
    }
}

impl Drop for QueryPlace {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.queries.retain(|query| query.id != self.id);
        self.places.admit(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::FutureExt;
    use tidings_query::ClientId;
    use tidings_storage::SystemClock;

    use super::{PlaceHolder, QueryPlace, QueryPlaces};
    use crate::SqlLimits;

    /// Creates this many places, for which queries do not wait; answers make room at once.
    fn places(running_max: usize) -> Arc<QueryPlaces> {
        let (place_wait, sending_min) = (Duration::ZERO, Duration::ZERO);
        let limits = SqlLimits { running_max, place_wait, sending_min, ..SqlLimits::default() };
        QueryPlaces::new(limits, Arc::new(SystemClock))
    }

    /// Takes as many places as a client can have, and returns them.
    async fn take_all(places: &Arc<QueryPlaces>, tenant: u32, client: &str) -> Vec<QueryPlace> {
        let mut taken = Vec::new();
        let holder = PlaceHolder { tenant, client: ClientId::new(client) };
        while let Some(place) = places.take(holder.clone()).await {
            taken.push(place);
        }
        taken
    }

    #[tokio::test]
    async fn no_client_has_all_places_where_there_are_some() {
        for (count, of_first, of_second) in [(1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 3, 1), (8, 6, 2)]
        {
            let places = places(count);
            let first = take_all(&places, 0, "a").await;
            let second = take_all(&places, 0, "b").await;
            assert_eq!((first.len(), second.len()), (of_first, of_second), "{count}");
            drop(first);
            assert_eq!(places.admitted(), second.len());
        }
    }

    #[tokio::test]
    async fn no_tenants_together_have_all_places() {
        let places = places(4);
        let (second, third) = (places.add_tenant(), places.add_tenant());
        let noisy = [take_all(&places, 0, "a").await, take_all(&places, second, "b").await];
        assert_eq!(noisy.each_ref().map(Vec::len), [2, 1]);
        assert_eq!(take_all(&places, third, "c").await.len(), 1);
    }

    #[tokio::test]
    async fn the_next_place_is_for_the_client_with_the_fewest() {
        let limits = SqlLimits { place_wait: Duration::from_secs(60), ..places(2).limits };
        let places = QueryPlaces::new(limits, Arc::new(SystemClock));
        let take = |client: &str| {
            let holder = PlaceHolder { tenant: 0, client: ClientId::new(client) };
            let places = Arc::clone(&places);
            Box::pin(async move { places.take(holder).await })
        };
        let (first, _second) = (take("a").await.unwrap(), take("a").await.unwrap());
        let (mut again, mut other) = (take("a"), take("b"));
        assert!(again.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        drop(first);
        assert!(again.as_mut().now_or_never().is_none(), "it waits for longer, and has more");
        let place = other.as_mut().now_or_never().flatten();
        assert!(place.is_some());
        drop(place);
        assert!(again.as_mut().now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn an_answer_that_is_sent_makes_room_for_others_and_work_does_not() {
        let places = places(4);
        let held = take_all(&places, 0, "a").await;
        let other = take_all(&places, 0, "b").await;
        assert!(take_all(&places, 0, "c").await.is_empty());
        assert!(held.iter().all(|place| place.evicted().now_or_never().is_none()), "it works");
        held[1].sends();
        assert!(take_all(&places, 0, "c").await.is_empty(), "it has to end first");
        let evicted = held.iter().map(|place| place.evicted().now_or_never().is_some());
        assert_eq!(evicted.collect::<Vec<_>>(), [false, true, false]);
        drop(other);
    }
}
