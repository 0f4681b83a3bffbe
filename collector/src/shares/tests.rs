use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tidings_proto::UnixNanos;
use tidings_storage::{Clock, SystemClock};

use super::{
    BudgetExhausted, BudgetKind, BudgetShare, HolderState, PeerAddress, RequestHolder, ShareHolder,
    Shares,
};

/// A clock that is set by hand.
#[derive(Debug)]
struct SetClock(Mutex<Instant>);

impl SetClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemClock.instant())))
    }

    fn advance(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(0)
    }

    fn instant(&self) -> Instant {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

#[derive(Debug)]
struct TestHolder {
    peer: PeerAddress,
    state: Mutex<(HolderState, Instant)>,
    evicted: AtomicBool,
}

impl TestHolder {
    fn is_evicted(&self) -> bool {
        self.evicted.load(SeqCst)
    }
}

impl ShareHolder for TestHolder {
    fn peer(&self) -> PeerAddress {
        self.peer
    }

    fn state(&self) -> (HolderState, Instant) {
        *self.state.lock().unwrap()
    }

    fn evict(&self) {
        self.evicted.store(true, SeqCst);
    }
}

/// A budget, its clock, and holders of it.
struct BudgetWorld {
    clock: Arc<SetClock>,
    shares: Arc<Shares>,
}

impl BudgetWorld {
    fn new(kind: BudgetKind, total: usize) -> Self {
        let clock = SetClock::new();
        let shares = Shares::new(kind, total, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, shares }
    }

    /// Adds a holder of 192.0.2.`host` that requests this amount, and advances the clock.
    fn take(
        &self,
        host: u8,
        state: HolderState,
        amount: usize,
    ) -> (Arc<TestHolder>, Result<BudgetShare, BudgetExhausted>) {
        self.clock.advance(Duration::from_millis(1));
        let peer = PeerAddress::from(IpAddr::from([192, 0, 2, host]));
        let state = Mutex::new((state, self.clock.instant()));
        let holder = Arc::new(TestHolder { peer, state, evicted: AtomicBool::new(false) });
        let taken = self.shares.take(Arc::clone(&holder) as Arc<dyn ShareHolder>, amount);
        (holder, taken)
    }
}

use BudgetKind::{Bytes, Connections, Requests};
use HolderState::{Idle, Receiving, Silent, Working};

#[test]
fn an_address_at_its_share_evicts_its_own_longest_inactive_holder() {
    let world = BudgetWorld::new(Connections, 8);
    let states = [Working, Idle, Silent, Silent, Idle, Working];
    let held = states.map(|state| world.take(1, state, 1));
    assert!(held.iter().all(|(_, taken)| taken.is_ok()));
    let mut order = Vec::new();
    for _ in 0..4 {
        let (_, taken) = world.take(1, Working, 1);
        std::mem::forget(taken.unwrap());
        let evicted = (0..6).filter(|at| held[*at].0.is_evicted() && !order.contains(at));
        let evicted: Vec<_> = evicted.collect();
        order.extend(evicted);
    }
    assert_eq!(order, [2, 3, 1, 4], "silent before idle, old before young");
    // All others work, so the address gets no more, although the budget is not used up.
    let (_, taken) = world.take(1, Silent, 1);
    assert_eq!(taken.unwrap_err(), BudgetExhausted { is_passing: false });
    assert_eq!(world.shares.used(), 6);
    assert!(world.take(2, Silent, 1).1.is_ok());
    let evictions = world.shares.evictions().map(|(_, count)| count);
    assert_eq!(evictions, [2, 2, 0, 0]);
}

#[test]
fn in_a_used_up_budget_the_address_with_the_most_is_evicted_first() {
    let world = BudgetWorld::new(Connections, 8);
    let mut first: Vec<_> = (0..4).map(|_| world.take(1, Working, 1)).collect();
    first.push(world.take(1, Idle, 1));
    let second: Vec<_> = (0..3).map(|_| world.take(2, Silent, 1)).collect();
    let evicted =
        |holders: &[(Arc<TestHolder>, Result<BudgetShare, BudgetExhausted>)]| -> Vec<bool> {
            holders.iter().map(|(holder, _)| holder.is_evicted()).collect()
        };
    assert_eq!(world.shares.used(), 8);
    let newcomers: Vec<_> = (3..8).map(|host| world.take(host, Working, 1)).collect();
    assert!(newcomers.iter().all(|(_, taken)| taken.is_ok()));
    assert_eq!(evicted(&second), [true; 3], "those of others that do nothing");
    assert_eq!(evicted(&first), [true, false, false, false, true], "then one that works");
    assert_eq!(world.shares.used(), 8);
}

#[test]
fn a_working_request_is_never_evicted() {
    let world = BudgetWorld::new(Requests, 8);
    let first: Vec<_> = (0..5).map(|_| world.take(1, Working, 1)).collect();
    let second: Vec<_> = (0..3).map(|_| world.take(2, Receiving, 1)).collect();
    assert!(world.take(3, Receiving, 1).1.is_err(), "their bodies come");
    world.clock.advance(Duration::from_secs(2));
    assert!(world.take(3, Receiving, 1).1.is_ok());
    assert!(second[0].0.is_evicted() && first.iter().all(|(holder, _)| !holder.is_evicted()));
}

#[test]
fn an_arriving_body_is_not_evicted_for_its_own_address() {
    let world = BudgetWorld::new(Requests, 4);
    let (old, _old_share) = world.take(1, Receiving, 1);
    let (young, _young_share) = world.take(1, Receiving, 1);
    let _third = world.take(1, Working, 1);
    assert!(world.take(1, Receiving, 1).1.is_err());
    world.clock.advance(Duration::from_secs(2));
    // Bytes of the older one have arrived in the meantime.
    old.state.lock().unwrap().1 = world.clock.instant();
    assert!(world.take(1, Receiving, 1).1.is_ok());
    assert!(young.is_evicted() && !old.is_evicted());
}

#[test]
fn bytes_of_an_evicted_holder_are_available_when_it_has_freed_them() {
    let world = BudgetWorld::new(Bytes, 100);
    let (stalled, held) = world.take(1, Receiving, 60);
    world.clock.advance(Duration::from_secs(2));
    let (_, share) = world.take(1, Receiving, 10);
    let share = share.unwrap();
    for _ in 0..2 {
        assert_eq!(share.grow(10).unwrap_err(), BudgetExhausted { is_passing: true });
        assert!(stalled.is_evicted());
    }
    assert_eq!(world.shares.used(), 70);
    drop(held);
    share.grow(10).unwrap();
    assert_eq!((world.shares.used(), world.shares.evictions()[2].1), (20, 1));
    drop(share);
    assert_eq!(world.shares.used(), 0);
}

#[tokio::test]
async fn a_holder_that_waits_for_bytes_gets_them_as_soon_as_they_are_freed() {
    let world = BudgetWorld::new(Bytes, 100);
    let (stalled, held) = world.take(1, Receiving, 70);
    world.clock.advance(Duration::from_secs(2));
    let share = world.take(1, Receiving, 5).1.unwrap();
    let waiting = tokio::spawn(async move { share.grow_soon(40).await.map(|()| share) });
    while !stalled.is_evicted() {
        tokio::task::yield_now().await;
    }
    drop(held);
    let _share = waiting.await.unwrap().unwrap();
    assert_eq!(world.shares.used(), 45);
}

#[test]
fn a_single_holder_may_have_the_whole_budget() {
    let world = BudgetWorld::new(Bytes, 100);
    let (_, share) = world.take(1, Receiving, 90);
    let share = share.unwrap();
    share.grow(10).unwrap();
    assert_eq!(share.grow(1).unwrap_err(), BudgetExhausted { is_passing: false });
    assert!(world.take(1, Receiving, 1).1.is_err());
    // An amount of 0 is always granted.
    let begun = world.take(1, Receiving, 0).1.unwrap();
    assert!(begun.grow(1).is_err());
    drop(share);
    begun.grow(1).unwrap();
    assert_eq!(world.shares.used(), 1);
}

#[tokio::test]
async fn arriving_bodies_leave_room_for_decoded_forms_of_others() {
    let world = BudgetWorld::new(Bytes, 800);
    let mut bodies = Vec::new();
    for _ in 0..6 {
        let body = world.take(1, Receiving, 0).1.unwrap();
        body.grow_arriving(50).await.unwrap();
        bodies.push(body);
    }
    let late = world.take(1, Receiving, 0).1.unwrap();
    let refused = late.grow_arriving(1).await;
    assert_eq!(
        refused.unwrap_err(),
        BudgetExhausted { is_passing: false },
        "half of an address's share"
    );
    bodies[0].grow(300).unwrap();
    assert!(bodies[1].grow(1).is_err(), "the whole of its share");
    // Bodies of another address get half of the total; a large body is exempt.
    let other = world.take(2, Receiving, 0).1.unwrap();
    other.grow_arriving(100).await.unwrap();
    let small = world.take(2, Receiving, 0).1.unwrap();
    let refused = small.grow_by(small.request(1, true));
    assert_eq!(refused.unwrap_err(), BudgetExhausted { is_passing: true }, "half of all");
    other.grow_arriving(50).await.unwrap();
    assert_eq!(world.shares.used(), 750);
    drop(bodies);
    small.grow_arriving(100).await.unwrap();
    assert_eq!(world.shares.used(), 250);
}

#[tokio::test]
async fn a_large_arriving_body_leaves_room_for_small_ones() {
    let world = BudgetWorld::new(Bytes, 800);
    let large = world.take(1, Receiving, 0).1.unwrap();
    for _ in 0..5 {
        large.grow_arriving(100).await.unwrap();
    }
    // Of its 500 bytes the first 100 count as arriving: 200 are left for its address, and 300 for
    // all.
    for host in [1, 2] {
        let small = world.take(host, Receiving, 0).1.unwrap();
        small.grow_arriving(90).await.unwrap();
        std::mem::forget(small);
    }
    assert_eq!(world.shares.used(), 680);
}

#[tokio::test]
async fn a_decoded_body_counts_no_longer_as_arriving() {
    let world = BudgetWorld::new(Bytes, 800);
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let body = world.take(1, Receiving, 0).1.unwrap();
        body.grow_arriving(100).await.unwrap();
        bodies.push(body);
    }
    let late = world.take(1, Receiving, 0).1.unwrap();
    assert!(late.grow_arriving(100).await.is_err());
    bodies[0].has_arrived();
    late.grow_arriving(100).await.unwrap();
    assert_eq!(world.shares.used(), 400, "its bytes are still held");
    drop((bodies, late));
    assert_eq!(world.shares.used(), 0);
    let next = world.take(1, Receiving, 0).1.unwrap();
    next.grow_arriving(100).await.unwrap();
}

#[tokio::test]
async fn memory_for_an_arriving_body_is_taken_from_arriving_bodies() {
    let world = BudgetWorld::new(Bytes, 800);
    // Most of the budget is a decoded form of one address, which takes nothing from the part of
    // arriving bodies.
    let (decoded, _decoded_share) = world.take(1, Receiving, 350);
    let mut stalled = Vec::new();
    for host in [2, 2, 3, 3] {
        let (holder, body) = world.take(host, Receiving, 0);
        let body = body.unwrap();
        body.grow_arriving(100).await.unwrap();
        stalled.push((holder, body));
    }
    world.clock.advance(Duration::from_secs(2));
    let late = world.take(4, Receiving, 0).1.unwrap();
    assert_eq!(
        late.grow_by(late.request(20, true)).unwrap_err(),
        BudgetExhausted { is_passing: true }
    );
    let evicted = stalled.iter().map(|(holder, _)| holder.is_evicted()).collect::<Vec<_>>();
    assert_eq!(evicted, [true, false, false, false], "the oldest of those that have the most");
    assert!(!decoded.is_evicted());
    drop(stalled.remove(0));
    late.grow_arriving(20).await.unwrap();
}

#[tokio::test]
async fn the_first_decoded_form_of_an_address_takes_precedence_over_its_bodies_without_one() {
    let world = BudgetWorld::new(Bytes, 800);
    let (whole, share) = world.take(1, Receiving, 80);
    let share = share.unwrap();
    let mut arriving: Vec<_> = (0..4).map(|_| world.take(1, Receiving, 80)).collect();
    // This one has arrived, and requests its decoded form later.
    let (arrived, its_share) = world.take(1, Working, 0);
    its_share.as_ref().unwrap().grow_arriving(80).await.unwrap();
    arriving.push((arrived, its_share));
    assert_eq!(
        share.grow(500).unwrap_err(),
        BudgetExhausted { is_passing: false },
        "it arrives, too"
    );
    whole.state.lock().unwrap().0 = Working;
    let (working, worked_on) = world.take(1, Working, 80);
    assert_eq!(
        share.grow(560).unwrap_err(),
        BudgetExhausted { is_passing: false },
        "not for nothing"
    );
    assert!(arriving.iter().all(|(holder, _)| !holder.is_evicted()));
    assert_eq!(share.grow(200).unwrap_err(), BudgetExhausted { is_passing: true });
    assert_eq!(arriving.iter().filter(|(holder, _)| holder.is_evicted()).count(), 2);
    drop(worked_on);
    // The only holder may have the whole budget.
    let waiting = tokio::spawn(async move { share.grow_soon(560).await.map(|()| share) });
    while !arriving.iter().all(|(holder, _)| holder.is_evicted()) {
        tokio::task::yield_now().await;
    }
    drop(arriving);
    let _share = waiting.await.unwrap().unwrap();
    assert_eq!((world.shares.used(), working.is_evicted()), (640, false));
}

#[test]
fn a_body_is_arriving_while_its_last_bytes_are_recent() {
    let clock = SetClock::new();
    let peer = PeerAddress::from(IpAddr::from([192, 0, 2, 1]));
    let holder = RequestHolder::new(peer, true, Arc::clone(&clock) as Arc<dyn Clock>);
    holder.evict();
    assert!(holder.is_arriving(), "it is read on, so that its client sees the answer");
    clock.advance(Duration::from_millis(900));
    holder.progressed();
    clock.advance(Duration::from_millis(900));
    assert!(holder.is_arriving());
    clock.advance(Duration::from_millis(200));
    assert!(!holder.is_arriving());
    holder.progressed();
    holder.received();
    assert!(!holder.is_arriving());
}

#[test]
fn amounts_that_would_overflow_are_refused() {
    let world = BudgetWorld::new(Bytes, 100);
    let share = world.take(1, Receiving, 1).1.unwrap();
    assert!(share.grow(usize::MAX).is_err());
    assert_eq!(world.shares.used(), 1);
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    let peer = |text: &str| PeerAddress::from(text.parse::<IpAddr>().unwrap());
    assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
    assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
    assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
}
