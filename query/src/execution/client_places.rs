//! Places that clients share, and the clients that wait for a place.
//!
//! A client may take one place. It may take more as long as [`is_within_share`] allows, which
//! depends on what stays free: a single client gets three of four places. So a later client finds a
//! free one. The same holds for waiting. Clients that wait take turns, and within a client the
//! oldest claim is first. Owns the counts and the order. Does not own the purpose of a place, which
//! is a running query, a tail or a wait for a version.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::answer_shares::{ClientId, is_within_share};

/// A fixed number of places.
#[derive(Debug)]
pub(crate) struct ClientPlaces(Mutex<PlacesState>);

#[derive(Debug)]
struct PlacesState {
    places_max: usize,
    taken: Vec<PlaceClaim>,
    /// Waiting claims, the oldest first.
    waiting: Vec<PlaceClaim>,
    /// Clients that wait, in the order of their turns.
    turns: VecDeque<ClientId>,
}

/// A claim to a place, granted or waiting.
#[derive(Debug)]
struct PlaceClaim {
    client: ClientId,
    /// Signal of the grant, sent once. It also identifies the claim.
    granted: Arc<Notify>,
}

impl ClientPlaces {
    /// Creates this number of places.
    pub(crate) fn new(places_max: usize) -> Arc<Self> {
        let (taken, waiting, turns) = (Vec::new(), Vec::new(), VecDeque::new());
        Arc::new(Self(Mutex::new(PlacesState { places_max, taken, waiting, turns })))
    }

    /// Reduces the number of places from now on. Taken places stay taken.
    pub(crate) fn reduce_to(&self, places_max: usize) {
        let mut state = self.state();
        state.places_max = state.places_max.min(places_max);
    }

    /// Takes a place; returns `None` when no place is free or the client has its share.
    pub(crate) fn take(self: &Arc<Self>, client: ClientId) -> Option<ClientPlace> {
        self.enter(client, 0).map(|granted| granted.0)
    }

    /// Claims a place, which may be granted at once. Returns `None` when no place is free and
    /// either `waiting_max` claims wait or the client has its share of them.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: ClientId,
        waiting_max: usize,
    ) -> Option<WaitingPlace> {
        let mut state = self.state();
        if !leaves_room(&state.taken, state.places_max, &client)
            && !leaves_room(&state.waiting, waiting_max, &client)
        {
            return None;
        }
        if !state.turns.contains(&client) {
            state.turns.push_back(client.clone());
        }
        let granted = Arc::new(Notify::new());
        state.waiting.push(PlaceClaim { client, granted: Arc::clone(&granted) });
        // A client that may take a place has no claims waiting before this one, so this one gets
        // it.
        state.grant();
        drop(state);
        Some(WaitingPlace(ClientPlace { places: Arc::clone(self), granted }))
    }

    /// Number of claims that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, PlacesState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlacesState {
    /// Grants free places to waiting clients in turn.
    fn grant(&mut self) {
        while let Some(client) = self.next_client() {
            let oldest = self.waiting.iter().position(|claim| claim.client == client);
            let Some(oldest) = oldest else { continue };
            let claim = self.waiting.remove(oldest);
            claim.granted.notify_one();
            self.taken.push(claim);
            if count_of(&self.waiting, &client) > 0 {
                self.turns.push_back(client);
            }
        }
    }

    /// Removes the next client that may have a place from the turns, and returns it.
    fn next_client(&mut self) -> Option<ClientId> {
        let mut turns = self.turns.iter();
        let next = turns.position(|client| leaves_room(&self.taken, self.places_max, client))?;
        self.turns.remove(next)
    }

    fn give_back(&mut self, granted: &Arc<Notify>) {
        let is_other = |claim: &PlaceClaim| !Arc::ptr_eq(&claim.granted, granted);
        self.taken.retain(is_other);
        self.waiting.retain(is_other);
        let waiting = &self.waiting;
        self.turns.retain(|client| count_of(waiting, client) > 0);
        self.grant();
    }
}

/// Reports whether a client may add a claim to these claims, of which there are at most `max`.
fn leaves_room(claims: &[PlaceClaim], max: usize, client: &ClientId) -> bool {
    let Some(free) = max.checked_sub(claims.len() + 1) else { return false };
    let of_client = count_of(claims, client);
    of_client == 0 || is_within_share(of_client as u64 + 1, free as u64)
}

fn count_of(claims: &[PlaceClaim], client: &ClientId) -> usize {
    claims.iter().filter(|claim| claim.client == *client).count()
}

/// A taken place, released on drop.
#[derive(Debug)]
pub(crate) struct ClientPlace {
    places: Arc<ClientPlaces>,
    granted: Arc<Notify>,
}

/// A claim that may still wait, given up on drop.
#[derive(Debug)]
pub(crate) struct WaitingPlace(ClientPlace);

impl WaitingPlace {
    /// Resolves when the place is granted.
    pub(crate) async fn granted(self) -> ClientPlace {
        self.0.granted.notified().await;
        self.0
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.places.state().give_back(&self.granted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::{ClientId, ClientPlace, ClientPlaces, WaitingPlace};

    fn take_all(places: &Arc<ClientPlaces>, client: &str) -> Vec<ClientPlace> {
        std::iter::from_fn(|| places.take(ClientId::new(client))).collect()
    }

    fn enter_all(places: &Arc<ClientPlaces>, client: &str, max: usize) -> Vec<WaitingPlace> {
        std::iter::from_fn(|| places.enter(ClientId::new(client), max)).collect()
    }

    fn is_unused(places: &ClientPlaces) -> bool {
        let state = places.state();
        state.taken.is_empty() && state.waiting.is_empty() && state.turns.is_empty()
    }

    #[test]
    fn no_client_keeps_others_out() {
        for (places_max, counts) in [
            (0, [0, 0, 0]),
            (1, [1, 0, 0]),
            (2, [1, 1, 0]),
            (3, [2, 1, 0]),
            (4, [3, 1, 0]),
            (64, [48, 12, 3]),
            (256, [192, 48, 12]),
        ] {
            let places = ClientPlaces::new(places_max);
            let taken = ["a", "b", "c"].map(|client| take_all(&places, client));
            assert_eq!(taken.each_ref().map(Vec::len), counts, "{places_max}");
            drop(taken);
            assert_eq!(take_all(&places, "c").len(), counts[0], "{places_max}");
            assert!(is_unused(&places));
        }
    }

    #[test]
    fn no_client_keeps_others_from_waiting() {
        let places = ClientPlaces::new(4);
        let entered = ["a", "b", "c"].map(|client| enter_all(&places, client, 64));
        assert_eq!(entered.each_ref().map(Vec::len), [3 + 48, 1 + 12, 3]);
        assert_eq!(places.waiting(), 48 + 12 + 3);
        drop(entered);
        assert!(is_unused(&places));
    }

    #[test]
    fn clients_that_wait_take_turns_and_each_has_its_oldest_first() {
        let places = ClientPlaces::new(1);
        let mut held = places.take(ClientId::new("a"));
        let mut waiting = Vec::from(["a1", "a2", "a3", "b1", "b2", "c1"].map(|name| {
            let place = places.enter(ClientId::new(&name[..1]), 64).unwrap();
            (name, Box::pin(place.granted()))
        }));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let early = waiting.iter_mut().find_map(|(_, turn)| turn.as_mut().now_or_never());
            assert!(early.is_none(), "the one place is taken");
            drop(held.take());
            let next = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, turn))| turn.as_mut().now_or_never().map(|place| (at, place)));
            let (at, place) = next.unwrap();
            order.push(waiting.remove(at).0);
            held = Some(place);
        }
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn who_is_dropped_while_waiting_gives_its_place_up() {
        let places = ClientPlaces::new(1);
        let enter = |client: &str| places.enter(ClientId::new(client), 1);
        let held = places.take(ClientId::new("a"));
        let left = enter("b");
        assert!(held.is_some() && left.is_some() && enter("c").is_none());
        drop(left);
        let granted = enter("c");
        assert!(granted.is_some());
        drop(held);
        assert!(places.take(ClientId::new("a")).is_none(), "it is the turn of the one that waited");
        drop(granted);
        assert!(is_unused(&places), "nor does it keep a place that it did not come to know of");
    }

    #[test]
    fn places_that_are_reduced_are_taken_no_more() {
        let places = ClientPlaces::new(4);
        let mut held = take_all(&places, "a");
        places.reduce_to(2);
        assert_eq!((held.len(), take_all(&places, "b").len()), (3, 0));
        held.truncate(1);
        assert_eq!(take_all(&places, "b").len(), 1);
    }
}
