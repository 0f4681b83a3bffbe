//! Accepts the connections of one listener, of receivers and of the HTTP address.
//!
//! Every connection is accepted at once. A connection above the budget (see [`crate::shares`]) gets
//! a slot of a small reserve, on which only health checks are answered. So a supervisor does not
//! end a process because it has many clients. The loop ends only at [`Phase::Draining`]: an error
//! of accepting is counted, and followed by a pause.

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

/// Pause when the system has no file handle or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);
/// Number of connections for each one that is reserved for health checks.
const RESERVE_PART: usize = 16;
/// Maximum number of connections of the reserve.
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

/// Counts of connections and requests that did not reach an endpoint.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    /// Connections that got a slot neither of the budget nor of the reserve.
    pub(crate) dropped: AtomicU64,
    /// Requests on the reserve that were not health checks.
    pub(crate) overloaded: AtomicU64,
    /// Requests above the budget of requests.
    pub(crate) requests_refused: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub(crate) handshakes: AtomicU64,
    pub(crate) stuck: AtomicU64,
    pub(crate) idle: AtomicU64,
    pub(crate) abandoning: AtomicU64,
    pub(crate) flooding: AtomicU64,
}

impl ConnectionCounters {
    /// Counts the end of a connection. Evictions are counted by [`Shares`].
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
    /// Accepted connections.
    pub accepted: u64,
    /// Open connections.
    pub open: u64,
    /// Requests in progress, of all listeners that share a budget.
    pub requests: u64,
    /// Connections ended and requests refused by the server, by reason.
    pub ended: Vec<(&'static str, u64)>,
}

impl<E: Endpoint> Listening<E> {
    /// Makes the state of a listener. `requests` is the budget of concurrent requests, which
    /// listeners may share.
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

    /// Sets the TLS of the listener, if any.
    #[must_use]
    pub fn over(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Sets the trusted proxies before the listener. A request counts for the address of the
    /// proxy's client, a connection for the proxy's.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// Returns the counts of connections.
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

/// The slot of a connection, in the budget or in the reserve.
#[derive(Debug)]
pub(crate) struct Slot {
    budget: Arc<Shares>,
    activity: Arc<Activity>,
    address: IpAddr,
    /// The share, and true if it belongs to the budget.
    share: Mutex<(BudgetShare, bool)>,
}

impl Slot {
    /// Returns whether the slot belongs to the budget, on which all requests are answered. Moves a
    /// slot of the reserve to the budget, if that has room by now.
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

/// Accepts connections and passes them to `serve` until [`Phase::Draining`]. Returns when all of
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

/// Returns a slot of the budget or else of the reserve; `None` when neither has one.
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

    /// Returns the address of the peer, which may be a proxy.
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
                // A connection that its client aborted says nothing about the next one, so there is
                // no pause.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    listening.clock.sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}
