//! Records the activity of one connection. Decides when the connection hangs, is idle for too long,
//! or abandons its requests, and how soon it is evicted in favour of others.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Version;
use tidings_storage::Clock;
use tokio::sync::watch;

use crate::{
    endpoint::ConnectionLimits,
    frame_meter::FrameMeter,
    shares::{HolderState, PeerAddress, RequestHolder, ShareHolder},
};

/// Number by which abandoned requests may exceed answered ones; more are a flood. A client that
/// resets each stream at once causes work without reaching a limit of streams (CVE-2023-44487).
const ABANDONED_MAX: u32 = 100;

/// The reason that the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The connection was evicted in favour of others.
    Evicted,
    /// The client abandons its requests.
    Abandoning,
    /// The client floods the connection with frames that carry no request.
    Flooding,
}

/// The activity of a connection.
pub(crate) struct Activity {
    peer: PeerAddress,
    clock: Arc<dyn Clock>,
    state: Mutex<ActivityState>,
    is_paced: Arc<AtomicBool>,
    end: watch::Sender<Option<ConnectionEnd>>,
}

impl std::fmt::Debug for Activity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Activity");
        shown.field("peer", &self.peer).field("state", &*self.lock()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ActivityState {
    /// Requests being answered.
    busy: usize,
    /// The admitted requests among them.
    requests: Vec<Arc<RequestHolder>>,
    /// True from the first request on.
    served: bool,
    /// True for HTTP/2, which has frames outside of requests, so arriving bytes need not begin a
    /// request.
    http2: bool,
    /// The time since which there is no request.
    resting_since: Instant,
    /// The time at which the head of a request began to arrive.
    head_since: Option<Instant>,
    /// The time of the last bytes that arrived.
    heard: Instant,
    /// The first byte of the connection.
    first_byte: Option<u8>,
    /// Requests that were abandoned, less those that were answered.
    abandoned: u32,
    frames: FrameMeter,
}

/// The action that a connection's activity calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// The connection was idle for too long and is to be shut down gracefully.
    Idle,
    /// The head of a request did not arrive completely in time.
    Stuck,
}

impl Activity {
    pub(crate) fn new(peer: PeerAddress, clock: Arc<dyn Clock>) -> Arc<Self> {
        let now = clock.instant();
        let state = ActivityState {
            busy: 0,
            requests: Vec::new(),
            served: false,
            http2: false,
            resting_since: now,
            head_since: None,
            heard: now,
            first_byte: None,
            abandoned: 0,
            frames: FrameMeter::new(now),
        };
        let (state, is_paced, end) = (Mutex::new(state), Arc::default(), watch::Sender::new(None));
        Arc::new(Self { peer, clock, state, is_paced, end })
    }

    fn lock(&self) -> MutexGuard<'_, ActivityState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the connection has to end.
    pub(crate) async fn ended(&self) -> ConnectionEnd {
        let mut end = self.end.subscribe();
        let said = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        said.unwrap_or(ConnectionEnd::Evicted)
    }

    /// Fails once the connection has to end, so that nothing more is read or written. Otherwise the
    /// connection would go on until its input is exhausted, which takes long in a flood.
    ///
    /// # Errors
    /// `ConnectionAborted`.
    pub(crate) fn check_goes_on(&self) -> io::Result<()> {
        match self.end() {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Returns the reason for which the connection has to end, if any.
    pub(crate) fn end(&self) -> Option<ConnectionEnd> {
        *self.end.borrow()
    }

    /// Counts a request until the returned guard is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>, version: Version) -> RequestGuard {
        let mut state = self.lock();
        state.busy += 1;
        state.served = true;
        state.http2 = version == Version::HTTP_2;
        state.head_since = None;
        state.frames.requested();
        RequestGuard { activity: Arc::clone(self), holder: None, is_answered: false }
    }

    /// Returns whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().busy > 0
    }

    /// Returns the flag that is set while the socket carries a response with a minimum pace.
    /// Responses of HTTP/2 do not set it, because each stream has a minimum pace of its own.
    pub(crate) fn is_paced(&self) -> &Arc<AtomicBool> {
        &self.is_paced
    }

    /// Sets the kind of response that the socket carries from now on.
    pub(crate) fn answers(&self, version: Version, is_live: bool) {
        self.is_paced.store(version != Version::HTTP_2 && !is_live, Relaxed);
    }

    /// Restarts the idle time.
    pub(crate) fn rest(&self) {
        self.lock().resting_since = self.clock.instant();
    }

    /// Records bytes that arrived. Returns the number of HTTP/2 frames whose head ends in them.
    pub(crate) fn arrived(&self, bytes: &[u8]) -> usize {
        let Some(first) = bytes.first() else { return 0 };
        let now = self.clock.instant();
        let mut state = self.lock();
        state.heard = now;
        state.first_byte.get_or_insert(*first);
        if state.frames.is_flood(bytes, now) {
            self.end.send_replace(Some(ConnectionEnd::Flooding));
        }
        let frames = state.frames.take_frames();
        if state.busy > 0 {
            return frames;
        }
        if !state.served && state.head_since.is_none() {
            state.http2 = b"PRI".starts_with(bytes) || bytes.starts_with(b"PRI");
        }
        if !state.http2 && state.head_since.is_none() {
            state.head_since = Some(now);
        }
        frames
    }

    /// Records bytes that were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.lock().frames.answered(bytes);
    }

    /// Returns the first byte that the client sent, if any.
    pub(crate) fn first_byte(&self) -> Option<u8> {
        self.lock().first_byte
    }

    pub(crate) fn verdict(&self, limits: &ConnectionLimits) -> Verdict {
        let now = self.clock.instant();
        let state = self.lock();
        let since = |then| now.saturating_duration_since(then);
        if state.busy > 0 {
            return Verdict::Fine;
        }
        if state.head_since.is_some_and(|then| since(then) >= limits.header_timeout) {
            return Verdict::Stuck;
        }
        let rest_max = if state.served { limits.idle_timeout } else { limits.silent_timeout() };
        if since(state.resting_since) >= rest_max { Verdict::Idle } else { Verdict::Fine }
    }

    fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = state.abandoned.saturating_add(1);
        if state.abandoned > ABANDONED_MAX {
            self.end.send_replace(Some(ConnectionEnd::Abandoning));
        }
    }
}

impl ConnectionLimits {
    /// Returns the time after which a connection without a first request ends. It is three times
    /// the timeout of a head, because a client may connect in advance.
    fn silent_timeout(&self) -> Duration {
        self.header_timeout.saturating_mul(3).min(self.idle_timeout)
    }
}

impl ShareHolder for Activity {
    fn peer(&self) -> PeerAddress {
        self.peer
    }

    fn state(&self) -> (HolderState, Instant) {
        let state = self.lock();
        if state.busy == 0 {
            let kind = if state.served { HolderState::Idle } else { HolderState::Silent };
            return (kind, state.resting_since);
        }
        let states = state.requests.iter().map(|request| request.state());
        match states.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1))) {
            Some((HolderState::Receiving, since)) if state.requests.len() == state.busy => {
                (HolderState::Receiving, since)
            }
            _ => (HolderState::Working, state.heard),
        }
    }

    fn evict(&self) {
        self.end.send_replace(Some(ConnectionEnd::Evicted));
    }
}

/// A request being answered.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    activity: Arc<Activity>,
    holder: Option<Arc<RequestHolder>>,
    is_answered: bool,
}

impl RequestGuard {
    /// Attaches the holder of an admitted request, which tracks the arrival of its body.
    pub(crate) fn let_in(&mut self, holder: &Arc<RequestHolder>) {
        self.activity.lock().requests.push(Arc::clone(holder));
        self.holder = Some(Arc::clone(holder));
    }

    /// Counts the request as answered, unless the client has abandoned it.
    pub(crate) fn answered(&mut self) {
        if self.holder.as_ref().is_some_and(|holder| holder.is_broken_off()) {
            return;
        }
        self.is_answered = true;
        let mut state = self.activity.lock();
        state.abandoned = state.abandoned.saturating_sub(1);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if !self.is_answered {
            self.activity.abandon();
        }
        let mut state = self.activity.lock();
        if let Some(holder) = &self.holder {
            state.requests.retain(|request| !Arc::ptr_eq(request, holder));
        }
        state.busy = state.busy.saturating_sub(1);
        state.resting_since = self.activity.clock.instant();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc, time::Duration};

    use futures::FutureExt;
    use http::Version;
    use tidings_storage::{Clock, SystemClock};

    use super::{ABANDONED_MAX, Activity, ConnectionEnd, Verdict};
    use crate::{
        CollectorLimits,
        shares::{HolderState, PeerAddress, RequestHolder, ShareHolder},
    };

    fn activity() -> Arc<Activity> {
        let peer = PeerAddress::from(IpAddr::from([127, 0, 0, 1]));
        Activity::new(peer, Arc::new(SystemClock))
    }

    fn holder(has_body: bool) -> Arc<RequestHolder> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        RequestHolder::new(activity().peer(), has_body, clock)
    }

    #[test]
    fn a_connection_receives_only_while_all_its_requests_do() {
        let activity = activity();
        let state = || activity.state().0;
        assert_eq!(state(), HolderState::Silent);
        let mut first = activity.begin_request(Version::HTTP_2);
        assert_eq!(state(), HolderState::Working, "not let in yet");
        let body = holder(true);
        first.let_in(&body);
        assert_eq!(state(), HolderState::Receiving);
        let mut second = activity.begin_request(Version::HTTP_2);
        second.let_in(&holder(false));
        assert_eq!(state(), HolderState::Working);
        second.answered();
        drop(second);
        assert_eq!(state(), HolderState::Receiving);
        body.received();
        assert_eq!(state(), HolderState::Working);
        first.answered();
        drop(first);
        assert_eq!(state(), HolderState::Idle);
    }

    #[test]
    fn requests_that_are_abandoned_one_after_another_end_the_connection() {
        let activity = activity();
        for _ in 0..ABANDONED_MAX {
            drop(activity.begin_request(Version::HTTP_2));
        }
        assert_eq!(activity.ended().now_or_never(), None);
        let mut answered = activity.begin_request(Version::HTTP_2);
        answered.answered();
        drop(answered);
        drop(activity.begin_request(Version::HTTP_2));
        assert_eq!(activity.ended().now_or_never(), None, "some are answered");
        drop(activity.begin_request(Version::HTTP_2));
        assert_eq!(activity.ended().now_or_never(), Some(ConnectionEnd::Abandoning));
    }

    #[test]
    fn an_incomplete_head_and_a_long_idle_time_have_different_verdicts() {
        let activity = activity();
        let limits = CollectorLimits {
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::from_secs(60),
            ..CollectorLimits::default()
        };
        assert_eq!(activity.verdict(&limits.connections()), Verdict::Idle);
        activity.arrived(b"POST /v1");
        assert_eq!(activity.verdict(&limits.connections()), Verdict::Stuck);
        let mut request = activity.begin_request(Version::HTTP_11);
        assert_eq!(activity.verdict(&limits.connections()), Verdict::Fine);
        request.answered();
        drop(request);
        assert_eq!(activity.verdict(&limits.connections()), Verdict::Fine);
    }
}
