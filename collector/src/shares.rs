//! Budgets of connections, requests and bytes, of which one address gets at most a share.
//!
//! When a budget is used up, inactive holders are evicted: silent connections, idle ones, and
//! stalled bodies, first those of the address that has the most. So one client, or one machine with
//! many clients, cannot exclude others. A new client of the same address is admitted, too, which
//! matters if a proxy gives all clients one address. Running work is not evicted in favour of its
//! own address. If the bodies of one address do not fit together, the first that requests memory
//! for its decoded form takes precedence over those without one, so that one is always stored.
//!
//! Owns the counts and the choice of the holder to evict. Does not own the eviction itself, which a
//! [`ShareHolder`] performs.

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

/// Maximum share of one address in quarters of a budget. A single holder may have the whole budget.
const SHARE_QUARTERS: usize = 3;
/// Divisor of a budget or share: arriving bodies have at most half of its bytes. The rest is for
/// decoded forms; otherwise many bodies could arrive and none could be decoded.
const ARRIVING_PART: usize = 2;
/// Divisor of a budget: bytes of a body above an eighth of it are exempt from [`ARRIVING_PART`] and
/// do not count for it, because there are few such bodies.
const LARGE_PART: usize = 8;
/// Time without arriving bytes after which a body is stalled, and may be evicted in favour of its
/// own address.
const STALLED: Duration = Duration::from_secs(1);
/// Maximum time to wait for bytes of evicted holders.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// The address of a client. For IPv6 it is the /64 network, which usually belongs to one machine.
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

/// The state of a holder, in the order of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HolderState {
    /// A connection that had no request yet.
    Silent,
    /// A connection between requests.
    Idle,
    /// A request whose body is arriving.
    Receiving,
    /// A request that is processed, or whose response is being sent.
    Working,
}

impl HolderState {
    /// Every state, in its order.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Idle, Self::Receiving, Self::Working];

    /// Returns its label among the counters.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Receiving => "receiving",
            Self::Working => "working",
        }
    }

    /// Returns whether this is a body of which no bytes have arrived for [`STALLED`].
    fn is_stalled(self, rest: Duration) -> bool {
        self == Self::Receiving && rest >= STALLED
    }
}

/// A connection or a request that holds a share of a budget.
pub trait ShareHolder: fmt::Debug + Send + Sync {
    /// Returns the client's address.
    fn peer(&self) -> PeerAddress;

    /// Returns the state, and the time of the client's last activity. Must not take a lock that is
    /// held during a call of [`Shares`].
    fn state(&self) -> (HolderState, Instant);

    /// Requests the end of the holder, without waiting for it. Must not take such a lock either.
    fn evict(&self);
}

/// The kind of a budget, which determines when evicted shares are available again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetKind {
    /// One unit for each connection. The share of an evicted connection is available at once.
    /// Working connections are evicted, too, in favour of an address that has fewer.
    Connections,
    /// One unit for each request. The share of an evicted request is available at once.
    Requests,
    /// Bytes. They are available again when their holder has freed them.
    Bytes,
}

/// The error that a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetExhausted {
    /// True if holders have been evicted, so that a retry may succeed soon.
    pub is_passing: bool,
}

/// A budget.
pub struct Shares {
    kind: BudgetKind,
    total_max: usize,
    share_max: usize,
    clock: Arc<dyn Clock>,
    budget: Mutex<Budget>,
    /// Counts changes that can make a waiting request succeed.
    freed: watch::Sender<u64>,
    /// Evictions by the state of the holder.
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
    /// Returns whether this is a body without memory for its decoded form: one that is arriving, or
    /// that has not requested it yet.
    fn has_no_form(&self, state: HolderState) -> bool {
        state == HolderState::Receiving || self.amount.arriving > 0
    }
}

/// An amount of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Amount {
    used: usize,
    /// The part of `used` that arriving bodies take.
    arriving: usize,
}

impl Amount {
    fn add(&mut self, request: BudgetRequest) {
        self.used += request.more;
        self.arriving += if request.is_arriving { request.more } else { 0 };
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

/// A request for more of a budget.
#[derive(Debug, Clone, Copy)]
struct BudgetRequest {
    id: u64,
    peer: PeerAddress,
    more: usize,
    /// True for bytes of an arriving body.
    is_arriving: bool,
}

/// The two bounds of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BudgetBound {
    Used,
    Arriving,
}

/// The amounts by which a request would exceed a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Excess {
    bound: BudgetBound,
    of_peer: usize,
    of_total: usize,
}

impl Shares {
    /// Makes a budget of this total, which is at least 1.
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

    /// Gives a share to a holder, and evicts others for it if necessary.
    ///
    /// # Errors
    /// `BudgetExhausted` when not enough can be freed by eviction now.
    pub fn take(
        self: &Arc<Self>,
        holder: Arc<dyn ShareHolder>,
        amount: usize,
    ) -> Result<BudgetShare, BudgetExhausted> {
        let peer = holder.peer();
        let mut budget = self.budget();
        let id = budget.next_id;
        budget.next_id += 1;
        let entry = BudgetEntry { holder, peer, amount: Amount::default(), is_evicted: false };
        budget.entries.insert(id, entry);
        let share = BudgetShare { shares: Arc::clone(self), id, peer };
        let request = BudgetRequest { id, peer, more: amount, is_arriving: false };
        let grown = self.grow(&mut budget, request);
        drop(budget);
        grown.map(|()| share)
    }

    /// Returns the used amount.
    #[must_use]
    pub fn used(&self) -> usize {
        self.budget().total.used
    }

    /// Returns the total amount.
    #[must_use]
    pub fn total_max(&self) -> usize {
        self.total_max
    }

    /// Returns the number of evicted holders by their state.
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

    fn grow(&self, budget: &mut Budget, mut request: BudgetRequest) -> Result<(), BudgetExhausted> {
        let arriving = budget.of_entry(request.id).arriving.saturating_add(request.more);
        request.is_arriving &= arriving <= self.total_max / LARGE_PART;
        let mut excess = self.excess(budget, request);
        let mut leaving = self.leaving(budget, request, excess);
        while let Some(left) = excess {
            if left.of_peer <= leaving && left.of_total <= leaving {
                return Err(BudgetExhausted { is_passing: true });
            }
            let Some(victim) = self.victim(budget, request, left) else {
                return Err(BudgetExhausted { is_passing: leaving > 0 });
            };
            let freed = self.evict(budget, victim).part(left.bound);
            if self.kind == BudgetKind::Bytes {
                leaving += freed;
            } else {
                excess = self.excess(budget, request);
            }
        }
        budget.add(request);
        Ok(())
    }

    /// Returns the excess over a bound; `None` when the request exceeds none. A holder that is
    /// alone at its address may have the whole budget.
    fn excess(&self, budget: &Budget, request: BudgetRequest) -> Option<Excess> {
        if request.more == 0 {
            return None;
        }
        let (total, of_peer) = (budget.total, budget.of_peer(request.peer));
        let is_single = of_peer == budget.of_entry(request.id);
        let excess = |bound: BudgetBound, divisor: usize| {
            let over = |amount: Amount, max: usize| {
                amount.part(bound).saturating_add(request.more).saturating_sub(max / divisor)
            };
            let of_peer = if is_single { 0 } else { over(of_peer, self.share_max) };
            let of_total = over(total, self.total_max);
            (of_peer > 0 || of_total > 0).then_some(Excess { bound, of_peer, of_total })
        };
        // The smaller bound is checked first, because evictions for it also reduce the other one.
        let arriving = request.is_arriving.then(|| excess(BudgetBound::Arriving, ARRIVING_PART));
        arriving.flatten().or_else(|| excess(BudgetBound::Used, 1))
    }

    /// Returns the bytes of evicted holders that are not freed yet.
    fn leaving(&self, budget: &Budget, request: BudgetRequest, excess: Option<Excess>) -> usize {
        let Some(excess) = excess else { return 0 };
        let counts = |entry: &&BudgetEntry| {
            entry.is_evicted && (excess.of_peer == 0 || entry.peer == request.peer)
        };
        budget.entries.values().filter(counts).map(|entry| entry.amount.part(excess.bound)).sum()
    }

    /// Returns the holder to evict next: the first by state, then by the longest inactivity. It is
    /// an inactive one of the address that has the most, else an inactive one of any address, else
    /// a working one of the former.
    fn victim(&self, budget: &Budget, request: BudgetRequest, excess: Excess) -> Option<u64> {
        let now = self.clock.instant();
        let own = budget.of_peer(request.peer).part(excess.bound);
        let all = budget.by_peer.iter().map(|(peer, has)| (has.part(excess.bound), Reverse(*peer)));
        let (used, peer) = match (excess.of_peer, all.max()) {
            (0, Some((used, Reverse(peer)))) if used > own => (used, peer),
            _ => (own, request.peer),
        };
        let is_foreign = peer != request.peer;
        let has_precedence = !is_foreign && self.has_precedence(budget, request, excess);
        let pick = |may: &dyn Fn(&BudgetEntry, HolderState, Duration) -> bool| {
            let others = budget.entries.iter();
            let others = others.filter(|(id, entry)| {
                **id != request.id && !entry.is_evicted && entry.amount.part(excess.bound) > 0
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
            && used > own.saturating_add(request.more);
        let working = || gives_up_work.then(|| pick(&|entry, _, _| entry.peer == peer))?;
        pick(&|_, state, rest| does_nothing(state, rest)).or_else(working)
    }

    /// Returns whether the request takes precedence over bodies of its address without a decoded
    /// form. The request must be for a decoded form, and the bytes of these bodies must suffice, or
    /// leave it as the only holder of its address.
    fn has_precedence(&self, budget: &Budget, request: BudgetRequest, excess: Excess) -> bool {
        let has_no_form = |entry: &BudgetEntry| entry.has_no_form(entry.holder.state().0);
        let own = budget.entries.get(&request.id);
        if self.kind != BudgetKind::Bytes || own.is_none_or(has_no_form) {
            return false;
        }
        let own = budget.entries.iter().filter(|(_, entry)| entry.peer == request.peer);
        let (mut yields, mut stays) = (0_usize, 0_usize);
        for (_, entry) in own.filter(|(id, _)| **id != request.id) {
            let has_no_form = entry.is_evicted || has_no_form(entry);
            let of = if has_no_form { &mut yields } else { &mut stays };
            *of = of.saturating_add(entry.amount.part(excess.bound));
        }
        yields >= excess.of_total && (yields >= excess.of_peer || stays == 0)
    }

    /// Evicts a holder. Returns its amount.
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

    fn add(&mut self, request: BudgetRequest) {
        let Some(entry) = self.entries.get_mut(&request.id) else { return };
        entry.amount.add(request);
        self.total.add(request);
        self.by_peer.entry(request.peer).or_default().add(request);
    }

    /// Stops counting the bytes of an entry as arriving.
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

/// A share of a budget; returned when dropped.
#[derive(Debug)]
pub struct BudgetShare {
    shares: Arc<Shares>,
    id: u64,
    peer: PeerAddress,
}

impl BudgetShare {
    /// Increases the share.
    ///
    /// # Errors
    /// When the budget is used up. The share stays as it is.
    pub fn grow(&self, more: usize) -> Result<(), BudgetExhausted> {
        self.grow_by(self.request(more, false))
    }

    /// As [`Self::grow`], but waits at most a second for bytes of evicted holders.
    ///
    /// # Errors
    /// Likewise.
    pub async fn grow_soon(&self, more: usize) -> Result<(), BudgetExhausted> {
        self.grow_by_soon(self.request(more, false)).await
    }

    /// As [`Self::grow_soon`], for an arriving body. Leaves room for the decoded forms of others.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) async fn grow_arriving(&self, more: usize) -> Result<(), BudgetExhausted> {
        self.grow_by_soon(self.request(more, true)).await
    }

    /// Marks the body as arrived, before memory for its decoded form is requested. Neither counts
    /// as arriving from now on, and arriving bodies of its address are evicted in favour of it.
    pub(crate) fn has_arrived(&self) {
        self.shares.budget().stop_arriving(self.id);
        self.shares.notify_freed();
    }

    fn request(&self, more: usize, is_arriving: bool) -> BudgetRequest {
        BudgetRequest { id: self.id, peer: self.peer, more, is_arriving }
    }

    fn grow_by(&self, request: BudgetRequest) -> Result<(), BudgetExhausted> {
        self.shares.grow(&mut self.shares.budget(), request)
    }

    async fn grow_by_soon(&self, request: BudgetRequest) -> Result<(), BudgetExhausted> {
        let mut freed = self.shares.freed.subscribe();
        let Err(scarce) = self.grow_by(request) else { return Ok(()) };
        if !scarce.is_passing {
            return Err(scarce);
        }
        let mut over = self.shares.clock.sleep(ROOM_WAIT);
        loop {
            tokio::select! {
                _ = freed.changed() => {}
                () = &mut over => return Err(scarce),
            }
            match self.grow_by(request) {
                Err(BudgetExhausted { is_passing: true }) => {}
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

/// The holder of one request: its address, the progress of its body, and the signal of its
/// eviction.
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
    /// Makes the holder of a request of this address, with or without a body.
    pub fn new(peer: PeerAddress, has_body: bool, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = if has_body { HolderState::Receiving } else { HolderState::Working };
        let state = Mutex::new((state, clock.instant()));
        let (is_broken_off, evicted) = (AtomicBool::new(false), watch::Sender::new(false));
        Arc::new(Self { peer, clock, state, is_broken_off, evicted })
    }

    /// Returns the address of the client, which may be behind trusted proxies.
    pub(crate) fn peer(&self) -> PeerAddress {
        self.peer
    }

    /// Records that bytes of the body have arrived.
    pub fn progressed(&self) {
        self.lock().1 = self.clock.instant();
    }

    /// Records that the body is complete. The request is not evicted from now on.
    pub fn received(&self) {
        self.lock().0 = HolderState::Working;
    }

    /// Returns whether the body is not complete.
    pub fn is_receiving(&self) -> bool {
        self.lock().0 == HolderState::Receiving
    }

    /// Records that the client disconnected before the end of the body.
    pub fn broke_off(&self) {
        self.is_broken_off.store(true, Relaxed);
    }

    /// Returns whether the client disconnected before the end of the body.
    pub(crate) fn is_broken_off(&self) -> bool {
        self.is_broken_off.load(Relaxed)
    }

    /// Returns whether a body is arriving, of which bytes arrived within the last second.
    pub(crate) fn is_arriving(&self) -> bool {
        let (state, since) = *self.lock();
        let rest = self.clock.instant().saturating_duration_since(since);
        state == HolderState::Receiving && !state.is_stalled(rest)
    }

    /// Returns whether the request was evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        *self.evicted.borrow()
    }

    /// Resolves when the request is evicted.
    pub async fn evicted(&self) {
        // The error case cannot occur: `self` owns the sender.
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
