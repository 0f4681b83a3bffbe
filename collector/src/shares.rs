//! Budgets of which one address has a share at most: connections, requests, bytes of bodies.
//!
//! A budget that is used up is not simply closed. Holders that keep it without doing anything are
//! evicted first, those of the address that has the most before others: silent connections, idle
//! ones, bodies that do not arrive. So one client, or one machine with many of them, keeps nobody
//! out, and a new client of the same address gets in as well, which matters where a proxy gives all
//! of them one address. Work that is under way is not evicted for the sake of its own address. Of
//! bodies that do not fit together, the first that asks for the room of its form goes before all of
//! its address that have not, so that one is always stored.
//!
//! Owns the counts and the choice of who is evicted. Does not own what eviction means: a
//! [`ShareHolder`] ends itself.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tidings_storage::Clock;
use tokio::sync::watch;

/// One address has so many quarters of a budget at most, unless it is for a single holder.
const SHARE_QUARTERS: usize = 3;
/// Bodies on their way have this part of the bytes at most; the rest is for the forms of those that
/// have come. Else many bodies could come and none of them be decoded.
const ARRIVING_PART: usize = 2;
/// A body's bytes above this part of the budget are not bound by that, and do not count: there are few
/// such bodies.
const LARGE_PART: usize = 8;
/// A body that nothing has come of for so long makes room for another one of its own address.
const STALLED: Duration = Duration::from_secs(1);
/// The time that a holder waits for the bytes of those that were evicted for it.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// The address of a client; of IPv6 the network of 64 bits, which one machine has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress(IpAddr);

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

impl From<IpAddr> for PeerAddress {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }
}

/// The state of a holder, from the one that is evicted first to the one that is evicted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HolderState {
    /// A connection without a request so far.
    Silent,
    /// A connection between requests.
    Idle,
    /// A body is awaited.
    Receiving,
    /// The server works on it, or sends its answer.
    Working,
}

impl HolderState {
    /// Every state, in its order.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Idle, Self::Receiving, Self::Working];

    /// Its name among the counters.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Receiving => "receiving",
            Self::Working => "working",
        }
    }

    /// Returns whether a body is awaited of which nothing came for so long that others may have
    /// its share.
    fn is_stalled(self, rest: Duration) -> bool {
        self == Self::Receiving && rest >= STALLED
    }
}

/// A connection or a request that has a part of a budget.
pub trait ShareHolder: fmt::Debug + Send + Sync {
    /// Returns the client's address.
    fn peer(&self) -> PeerAddress;

    /// Returns the state, and since when the client has done nothing. Takes no lock that is held
    /// while a budget is asked.
    fn state(&self) -> (HolderState, Instant);

    /// Ends it, soon. Likewise.
    fn evict(&self);
}

/// The kind of a budget: how its parts come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKind {
    /// One for each connection. An evicted one is counted no longer; for an address that has fewer,
    /// connections that work are evicted, too.
    Connections,
    /// One for each request. An evicted one is counted no longer.
    Requests,
    /// Bytes, which are there again when their holder has let go of them.
    Bytes,
}

/// The refusal to give more of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scarce {
    /// Others have been evicted: there will be more in a moment.
    pub is_passing: bool,
}

/// A budget.
pub struct Shares {
    kind: BudgetKind,
    total_max: usize,
    share_max: usize,
    clock: Arc<dyn Clock>,
    budget: Mutex<Budget>,
    /// Changes when something was given back.
    freed: watch::Sender<u64>,
    /// By the state they were in.
    evictions: [AtomicU64; HolderState::ALL.len()],
}

#[derive(Debug, Default)]
struct Budget {
    total: Amount,
    by_peer: HashMap<PeerAddress, Amount>,
    entries: HashMap<u64, BudgetEntry>,
    next_id: u64,
}

#[derive(Debug)]
struct BudgetEntry {
    holder: Arc<dyn ShareHolder>,
    peer: PeerAddress,
    amount: Amount,
    is_evicted: bool,
}

impl BudgetEntry {
    /// Reports whether it is a body that comes, or that has come and waits for its form.
    fn has_no_form(&self, state: HolderState) -> bool {
        state == HolderState::Receiving || self.amount.arriving > 0
    }
}

/// A part of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Amount {
    used: usize,
    /// Of it what was taken for bodies as they came.
    arriving: usize,
}

impl Amount {
    fn add(&mut self, wish: Wish) {
        self.used += wish.more;
        self.arriving += if wish.is_arriving { wish.more } else { 0 };
    }

    fn part(self, bound: BudgetBound) -> usize {
        match bound {
            BudgetBound::Used => self.used,
            BudgetBound::Arriving => self.arriving,
        }
    }

    fn remove(&mut self, other: Self) {
        self.used = self.used.saturating_sub(other.used);
        self.arriving = self.arriving.saturating_sub(other.arriving);
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Shares");
        shown.field("kind", &self.kind).field("total_max", &self.total_max);
        shown.field("used", &self.used()).finish_non_exhaustive()
    }
}

/// A request of so much more of a budget.
#[derive(Debug, Clone, Copy)]
struct Wish {
    id: u64,
    peer: PeerAddress,
    more: usize,
    /// For a body on its way.
    is_arriving: bool,
}

/// The two bounds of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BudgetBound {
    Used,
    Arriving,
}

/// By how much a wish would break a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Excess {
    bound: BudgetBound,
    of_peer: usize,
    of_total: usize,
}

impl Shares {
    /// A budget of so much.
    pub fn new(kind: BudgetKind, total_max: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        let total_max = total_max.max(1);
        let share_max = total_max.saturating_mul(SHARE_QUARTERS).div_ceil(4);
        Arc::new(Self {
            kind,
            total_max,
            share_max,
            clock,
            budget: Mutex::default(),
            freed: watch::Sender::new(0),
            evictions: Default::default(),
        })
    }

    /// Gives a part to a holder, which may have evicted others for it.
    ///
    /// # Errors
    /// `Scarce` when nobody can be evicted for it.
    pub fn take(
        self: &Arc<Self>,
        holder: Arc<dyn ShareHolder>,
        amount: usize,
    ) -> Result<BudgetShare, Scarce> {
        let peer = holder.peer();
        let mut budget = self.budget();
        let id = budget.next_id;
        budget.next_id += 1;
        let entry = BudgetEntry { holder, peer, amount: Amount::default(), is_evicted: false };
        budget.entries.insert(id, entry);
        let share = BudgetShare { shares: Arc::clone(self), id, peer };
        let wish = Wish { id, peer, more: amount, is_arriving: false };
        let grown = self.grow(&mut budget, wish);
        drop(budget);
        grown.map(|()| share)
    }

    /// Returns how much is given away.
    #[must_use]
    pub fn used(&self) -> usize {
        self.budget().total.used
    }

    /// Returns how much there is.
    #[must_use]
    pub fn total_max(&self) -> usize {
        self.total_max
    }

    /// Returns how many holders were evicted, by the state they were in.
    #[must_use]
    pub fn evictions(&self) -> [(HolderState, u64); HolderState::ALL.len()] {
        let count = |state: HolderState| self.evictions.get(state as usize);
        HolderState::ALL.map(|state| (state, count(state).map_or(0, |count| count.load(Relaxed))))
    }

    fn notify_freed(&self) {
        self.freed.send_modify(|times| *times = times.wrapping_add(1));
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grow(&self, budget: &mut Budget, mut wish: Wish) -> Result<(), Scarce> {
        let arriving = budget.of_entry(wish.id).arriving.saturating_add(wish.more);
        wish.is_arriving &= arriving <= self.total_max / LARGE_PART;
        let mut excess = self.excess(budget, wish);
        let mut leaving = self.leaving(budget, wish, excess);
        while let Some(left) = excess {
            if left.of_peer <= leaving && left.of_total <= leaving {
                return Err(Scarce { is_passing: true });
            }
            let Some(victim) = self.victim(budget, wish, left) else {
                return Err(Scarce { is_passing: leaving > 0 });
            };
            let freed = self.evict(budget, victim).part(left.bound);
            if self.kind == BudgetKind::Bytes {
                leaving += freed;
            } else {
                excess = self.excess(budget, wish);
            }
        }
        budget.add(wish);
        Ok(())
    }

    /// The bound that the wish breaks; `None` when it breaks none. A single holder may have all.
    fn excess(&self, budget: &Budget, wish: Wish) -> Option<Excess> {
        if wish.more == 0 {
            return None;
        }
        let (total, of_peer) = (budget.total, budget.of_peer(wish.peer));
        let is_single = of_peer == budget.of_entry(wish.id);
        let excess = |bound: BudgetBound, divisor: usize| {
            let over = |amount: Amount, max: usize| {
                amount.part(bound).saturating_add(wish.more).saturating_sub(max / divisor)
            };
            let of_peer = if is_single { 0 } else { over(of_peer, self.share_max) };
            let of_total = over(total, self.total_max);
            (of_peer > 0 || of_total > 0).then_some(Excess { bound, of_peer, of_total })
        };
        // First that of which there is less: whoever makes room there makes it in the other, too.
        let arriving = wish.is_arriving.then(|| excess(BudgetBound::Arriving, ARRIVING_PART));
        arriving.flatten().or_else(|| excess(BudgetBound::Used, 1))
    }

    /// The bytes of holders that were evicted and have not let go yet.
    fn leaving(&self, budget: &Budget, wish: Wish, excess: Option<Excess>) -> usize {
        let Some(excess) = excess else { return 0 };
        let counts = |entry: &&BudgetEntry| {
            entry.is_evicted && (excess.of_peer == 0 || entry.peer == wish.peer)
        };
        budget.entries.values().filter(counts).map(|entry| entry.amount.part(excess.bound)).sum()
    }

    /// The holder that is evicted next, the one that does least and has done nothing for the longest:
    /// of the address that has the most, then of any, then one that works of the former.
    fn victim(&self, budget: &Budget, wish: Wish, excess: Excess) -> Option<u64> {
        let now = self.clock.instant();
        let own = budget.of_peer(wish.peer).part(excess.bound);
        let all = budget.by_peer.iter().map(|(peer, has)| (has.part(excess.bound), Reverse(*peer)));
        let (used, peer) = match (excess.of_peer, all.max()) {
            (0, Some((used, Reverse(peer)))) if used > own => (used, peer),
            _ => (own, wish.peer),
        };
        let is_foreign = peer != wish.peer;
        let has_precedence = !is_foreign && self.has_precedence(budget, wish, excess);
        let pick = |may: &dyn Fn(&BudgetEntry, HolderState, Duration) -> bool| {
            let others = budget.entries.iter();
            let others = others.filter(|(id, entry)| {
                **id != wish.id && !entry.is_evicted && entry.amount.part(excess.bound) > 0
            });
            let states = others.filter_map(|(id, entry)| {
                let (state, since) = entry.holder.state();
                let rest = now.saturating_duration_since(since);
                may(entry, state, rest).then_some((state, since, *id))
            });
            states.min().map(|(.., id)| id)
        };
        let does_nothing = |state: HolderState, rest| {
            matches!(state, HolderState::Silent | HolderState::Idle) || state.is_stalled(rest)
        };
        let of_greediest = pick(&|entry, state, rest| {
            let receives = is_foreign && state == HolderState::Receiving;
            let yields = has_precedence && entry.has_no_form(state);
            entry.peer == peer && (does_nothing(state, rest) || receives || yields)
        });
        if of_greediest.is_some() || excess.of_peer > 0 {
            return of_greediest;
        }
        let gives_up_work = is_foreign
            && self.kind == BudgetKind::Connections
            && used > own.saturating_add(wish.more);
        let working = || gives_up_work.then(|| pick(&|entry, _, _| entry.peer == peer))?;
        pick(&|_, state, rest| does_nothing(state, rest)).or_else(working)
    }

    /// Reports whether bodies of the wish's own address that have no form give way to it: it is for
    /// the form of one, and what they hold is enough, or leaves it alone.
    fn has_precedence(&self, budget: &Budget, wish: Wish, excess: Excess) -> bool {
        let has_no_form = |entry: &BudgetEntry| entry.has_no_form(entry.holder.state().0);
        let own = budget.entries.get(&wish.id);
        if self.kind != BudgetKind::Bytes || own.is_none_or(has_no_form) {
            return false;
        }
        let own = budget.entries.iter().filter(|(_, entry)| entry.peer == wish.peer);
        let (mut yields, mut stays) = (0_usize, 0_usize);
        for (_, entry) in own.filter(|(id, _)| **id != wish.id) {
            let has_no_form = entry.is_evicted || has_no_form(entry);
            let of = if has_no_form { &mut yields } else { &mut stays };
            *of = of.saturating_add(entry.amount.part(excess.bound));
        }
        yields >= excess.of_total && (yields >= excess.of_peer || stays == 0)
    }

    /// Ends a holder; the amount that it has, or had.
    fn evict(&self, budget: &mut Budget, id: u64) -> Amount {
        let Some(entry) = budget.entries.get_mut(&id) else { return Amount::default() };
        entry.is_evicted = true;
        let (state, _) = entry.holder.state();
        if let Some(count) = self.evictions.get(state as usize) {
            count.fetch_add(1, Relaxed);
        }
        entry.holder.evict();
        let amount = entry.amount;
        if self.kind != BudgetKind::Bytes {
            budget.remove(id);
        }
        amount
    }
}

impl Budget {
    fn of_peer(&self, peer: PeerAddress) -> Amount {
        self.by_peer.get(&peer).copied().unwrap_or_default()
    }

    fn of_entry(&self, id: u64) -> Amount {
        self.entries.get(&id).map_or_else(Amount::default, |entry| entry.amount)
    }

    fn add(&mut self, wish: Wish) {
        let Some(entry) = self.entries.get_mut(&wish.id) else { return };
        entry.amount.add(wish);
        self.total.add(wish);
        self.by_peer.entry(wish.peer).or_default().add(wish);
    }

    /// Counts what an entry has no longer as arriving.
    fn stop_arriving(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let arrived = Amount { used: 0, arriving: entry.amount.arriving };
        entry.amount.remove(arrived);
        self.total.remove(arrived);
        if let Some(of_peer) = self.by_peer.get_mut(&entry.peer) {
            of_peer.remove(arrived);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(BudgetEntry { peer, amount, .. }) = self.entries.remove(&id) else { return };
        self.total.remove(amount);
        let mut left = self.of_peer(peer);
        left.remove(amount);
        match left.used {
            0 => self.by_peer.remove(&peer),
            _ => self.by_peer.insert(peer, left),
        };
    }
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub struct BudgetShare {
    shares: Arc<Shares>,
    id: u64,
    peer: PeerAddress,
}

impl BudgetShare {
    /// Takes so much more.
    ///
    /// # Errors
    /// When there is not so much to be had. What it has stays.
    pub fn grow(&self, more: usize) -> Result<(), Scarce> {
        self.grow_by(self.wish(more, false))
    }

    /// As [`Self::grow`], and waits a moment for the bytes of those that were evicted for it.
    ///
    /// # Errors
    /// Likewise.
    pub async fn grow_soon(&self, more: usize) -> Result<(), Scarce> {
        self.grow_by_soon(self.wish(more, false)).await
    }

    /// As [`Self::grow_soon`], for a body on its way, and leaves room for the forms of others.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) async fn grow_arriving(&self, more: usize) -> Result<(), Scarce> {
        self.grow_by_soon(self.wish(more, true)).await
    }

    /// Notes that the body is there and its form comes next: both count, neither as arriving, and
    /// bodies of its address that still arrive give way to it.
    pub(crate) fn has_arrived(&self) {
        self.shares.budget().stop_arriving(self.id);
        self.shares.notify_freed();
    }

    fn wish(&self, more: usize, is_arriving: bool) -> Wish {
        Wish { id: self.id, peer: self.peer, more, is_arriving }
    }

    fn grow_by(&self, wish: Wish) -> Result<(), Scarce> {
        self.shares.grow(&mut self.shares.budget(), wish)
    }

    async fn grow_by_soon(&self, wish: Wish) -> Result<(), Scarce> {
        let mut freed = self.shares.freed.subscribe();
        let Err(scarce) = self.grow_by(wish) else { return Ok(()) };
        if !scarce.is_passing {
            return Err(scarce);
        }
        let mut over = self.shares.clock.sleep(ROOM_WAIT);
        loop {
            tokio::select! {
                _ = freed.changed() => {}
                () = &mut over => return Err(scarce),
            }
            match self.grow_by(wish) {
                Err(Scarce { is_passing: true }) => {}
                grown => return grown,
            }
        }
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.shares.budget().remove(self.id);
        self.shares.notify_freed();
    }
}

/// One request: its address, how its body comes, and its end when others need its share.
pub struct RequestHolder {
    peer: PeerAddress,
    clock: Arc<dyn Clock>,
    state: Mutex<(HolderState, Instant)>,
    is_broken_off: AtomicBool,
    evicted: watch::Sender<bool>,
}

impl fmt::Debug for RequestHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RequestHolder");
        shown.field("peer", &self.peer).field("state", &*self.lock()).finish_non_exhaustive()
    }
}

impl RequestHolder {
    /// A request of this address, whose body is still awaited or not.
    pub fn new(peer: PeerAddress, has_body: bool, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = if has_body { HolderState::Receiving } else { HolderState::Working };
        let state = Mutex::new((state, clock.instant()));
        let (is_broken_off, evicted) = (AtomicBool::new(false), watch::Sender::new(false));
        Arc::new(Self { peer, clock, state, is_broken_off, evicted })
    }

    /// The address that sent it, before proxies that are trusted.
    pub(crate) fn peer(&self) -> PeerAddress {
        self.peer
    }

    /// Notes that something of the body has come.
    pub fn progressed(&self) {
        self.lock().1 = self.clock.instant();
    }

    /// Notes that nothing more is awaited of the client: it is not evicted from now on.
    pub fn received(&self) {
        self.lock().0 = HolderState::Working;
    }

    /// Notes that the client gave the request up before its end.
    pub fn broke_off(&self) {
        self.is_broken_off.store(true, Relaxed);
    }

    /// Returns whether the client gave the request up.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.is_broken_off.load(Relaxed)
    }

    /// Returns whether a body is awaited of which something came within the last second.
    pub(crate) fn is_arriving(&self) -> bool {
        let (state, since) = *self.lock();
        let rest = self.clock.instant().saturating_duration_since(since);
        state == HolderState::Receiving && !state.is_stalled(rest)
    }

    /// Returns whether others have its share.
    pub(crate) fn is_evicted(&self) -> bool {
        *self.evicted.borrow()
    }

    /// Resolves when others need its share.
    pub async fn evicted(&self) {
        // An error would say that this is gone.
        let _ = self.evicted.subscribe().wait_for(|evicted| *evicted).await;
    }

    fn lock(&self) -> MutexGuard<'_, (HolderState, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShareHolder for RequestHolder {
    fn peer(&self) -> PeerAddress {
        self.peer
    }

    fn state(&self) -> (HolderState, Instant) {
        *self.lock()
    }

    fn evict(&self) {
        self.evicted.send_replace(true);
    }
}

#[cfg(test)]
mod tests;
