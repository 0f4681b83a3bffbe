//! Accepts one listener's connections, the receivers' as well as the HTTP address's.
//!
//! Every connection is accepted at once: what has no part of the budget of connections (see
//! [`crate::shares`]) comes onto a small reserve, where only questions about health are answered,
//! so that a supervisor does not end a process for having many clients. The loop ends when told to
//! and for no other reason: an error in accepting is counted and waited out.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tidings_storage::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    activity::{Activity, ConnectionEnd},
    endpoint::{ConnectionLimits, Endpoint},
    phase::{Phase, Phases},
    shares::{BudgetKind, BudgetShare, HolderState, PeerAddress, ShareHolder, Shares},
    tls::Tls,
    trusted_proxies::TrustedProxies,
};

/// The wait when the system has no file handle or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);
/// One connection of so many is kept for questions about health.
const RESERVE_PART: usize = 16;
/// And no more than so many.
const RESERVE_MAX: usize = 32;

/// The state that the connections of one listener share.
pub struct Listening<E> {
    pub(crate) endpoint: Arc<E>,
    pub(crate) limits: ConnectionLimits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) phases: Phases,
    pub(crate) requests: Arc<Shares>,
    pub(crate) counters: ConnectionCounters,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) proxies: TrustedProxies,
    connections: Arc<Shares>,
    reserve: Arc<Shares>,
}

impl<E> fmt::Debug for Listening<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Listening");
        shown.field("limits", &self.limits).field("connections", &self.connections);
        shown.finish_non_exhaustive()
    }
}

/// Counts of what befell connections and requests before an endpoint saw them.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    /// Neither the budget nor the reserve had room.
    pub(crate) dropped: AtomicU64,
    /// Requests on the reserve that did not ask about health.
    pub(crate) overloaded: AtomicU64,
    /// Requests above the budget of requests.
    pub(crate) requests_refused: AtomicU64,
    /// Handshakes of TLS that failed or took too long.
    pub(crate) handshakes: AtomicU64,
    pub(crate) stuck: AtomicU64,
    pub(crate) idle: AtomicU64,
    pub(crate) abandoning: AtomicU64,
    pub(crate) flooding: AtomicU64,
}

impl ConnectionCounters {
    /// Counts the end of a connection; evictions are counted by whoever evicts.
    pub(crate) fn note(&self, end: ConnectionEnd) {
        let counter = match end {
            ConnectionEnd::Evicted => return,
            ConnectionEnd::Abandoning => &self.abandoning,
            ConnectionEnd::Flooding => &self.flooding,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// Counts of a listener's connections since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Accepted.
    pub accepted: u64,
    /// Open now.
    pub open: u64,
    /// Requests under way now, of all listeners that share a budget.
    pub requests: u64,
    /// Ended or refused by the server, by reason.
    pub ended: Vec<(&'static str, u64)>,
}

impl<E: Endpoint> Listening<E> {
    /// For an endpoint; `requests` is the budget of requests under way, which listeners may share.
    pub fn new(
        endpoint: Arc<E>,
        limits: ConnectionLimits,
        requests: Arc<Shares>,
        clock: Arc<dyn Clock>,
        phases: Phases,
    ) -> Self {
        let reserve = (limits.connections_max / RESERVE_PART).clamp(1, RESERVE_MAX);
        let rest = limits.connections_max.saturating_sub(reserve);
        let budget = |size| Shares::new(BudgetKind::Connections, size, Arc::clone(&clock));
        Self {
            connections: budget(rest),
            reserve: budget(reserve),
            counters: ConnectionCounters::default(),
            tls: None,
            proxies: TrustedProxies::default(),
            endpoint,
            limits,
            requests,
            clock,
            phases,
        }
    }

    /// The same over TLS, if there is any.
    #[must_use]
    pub fn over(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// The same behind these proxies: a request has the address and the shares of their client, a
    /// connection is the proxy's.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Returns what happened to connections.
    #[must_use]
    pub fn counts(&self) -> ConnectionCounts {
        let of = |count: &AtomicU64| count.load(Relaxed);
        let counters = &self.counters;
        let evicted = |(state, count): (HolderState, u64)| {
            let label = match state {
                HolderState::Silent => "evicted_silent",
                HolderState::Idle => "evicted_idle",
                HolderState::Receiving => "evicted_receiving",
                HolderState::Working => "evicted_working",
            };
            (label, count)
        };
        let evictions = self.connections.evictions().map(evicted);
        let ended = [
            ("accept_error", of(&counters.accept_errors)),
            ("no_room", of(&counters.dropped)),
            ("overloaded", of(&counters.overloaded)),
            ("too_many_requests", of(&counters.requests_refused)),
            ("handshake", of(&counters.handshakes)),
            ("slow_head", of(&counters.stuck)),
            ("idle", of(&counters.idle)),
            ("abandoned_requests", of(&counters.abandoning)),
            ("frame_flood", of(&counters.flooding)),
        ];
        let open = self.connections.used() + self.reserve.used();
        ConnectionCounts {
            accepted: of(&counters.accepted),
            open: open as u64,
            requests: self.requests.used() as u64,
            ended: ended.into_iter().chain(evictions).collect(),
        }
    }
}

/// A connection's part of the budget, or of the reserve.
#[derive(Debug)]
pub(crate) struct Slot {
    budget: Arc<Shares>,
    activity: Arc<Activity>,
    address: IpAddr,
    /// The part, and true where it is of the budget.
    share: Mutex<(BudgetShare, bool)>,
}

impl Slot {
    /// Returns whether requests of any kind are answered: when it is no part of the reserve, or need
    /// not be any more.
    pub(crate) fn is_regular(&self) -> bool {
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        if !share.1
            && let Ok(taken) = self.budget.take(Arc::clone(&self.activity) as _, 1)
        {
            *share = (taken, true);
        }
        share.1
    }
}

/// Accepts connections and gives them to `serve` until the phase says to stop; returns when all of
/// them have ended.
pub(crate) async fn accept_all<E, F>(
    listener: TcpListener,
    listening: Arc<Listening<E>>,
    serve: impl Fn(TcpStream, Arc<Listening<E>>, Slot) -> F,
) where
    E: Endpoint,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut phases = listening.phases.clone();
    loop {
        let (stream, address) = tokio::select! {
            biased;
            () = phases.reached(Phase::Draining) => break,
            accepted = accept(&listener, &listening) => accepted,
        };
        while connections.try_join_next().is_some() {}
        listening.counters.accepted.fetch_add(1, Relaxed);
        match slot(&listening, address) {
            Some(slot) => {
                connections.spawn(serve(stream, Arc::clone(&listening), slot));
            }
            None => {
                listening.counters.dropped.fetch_add(1, Relaxed);
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The part of the budget or of the reserve that a new connection gets.
fn slot<E: Endpoint>(listening: &Listening<E>, address: SocketAddr) -> Option<Slot> {
    let peer = PeerAddress::from(address.ip());
    let activity = Activity::new(peer, Arc::clone(&listening.clock));
    let holder = || Arc::clone(&activity) as Arc<dyn ShareHolder>;
    let taken = listening.connections.take(holder(), 1).map(|share| (share, true));
    let taken = taken.or_else(|_| listening.reserve.take(holder(), 1).map(|share| (share, false)));
    let share = Mutex::new(taken.ok()?);
    let budget = Arc::clone(&listening.connections);
    Some(Slot { budget, activity, address: address.ip(), share })
}

impl Slot {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The address at the other end, which may be a proxy's.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }
}

async fn accept<E: Endpoint>(
    listener: &TcpListener,
    listening: &Listening<E>,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                listening.counters.accept_errors.fetch_add(1, Relaxed);
                listening.endpoint.accept_failed(&error);
                // A connection that was gone before it was accepted says nothing of the next.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    listening.clock.sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}
