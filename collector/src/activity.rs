//! Records the activity of one connection, and for how long it lasts: it ends a connection that
//! hangs, rests or abandons its requests, and tells which connection makes room for others.

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

/// So many more requests than are answered may be abandoned before that is a flood: a client that
/// resets each stream at once makes work without a limit on streams ever being reached
/// (CVE-2023-44487).
const ABANDONED_MAX: u32 = 100;

/// Why a connection ends before its client ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// Others need its part of the connections.
    Evicted,
    /// Its requests are abandoned as fast as they come.
    Abandoning,
    /// It sends frames that ask for nothing.
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
    /// The requests among them that have been let in.
    requests: Vec<Arc<RequestHolder>>,
    /// Set by the first request.
    served: bool,
    /// HTTP/2 sends frames of its own, so bytes do not mean that a request begins.
    http2: bool,
    /// Since when there is no request.
    resting_since: Instant,
    /// Since when a head is arriving.
    head_since: Option<Instant>,
    /// When something came last.
    heard: Instant,
    /// The byte that came first.
    first_byte: Option<u8>,
    /// Requests that were abandoned, less those that were answered.
    abandoned: u32,
    frames: FrameMeter,
}

/// The action that a connection's activity calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// No request for long: end it politely.
    Idle,
    /// A head that does not come to its end.
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

    /// Fails once the connection has to end: no more is read or written then. Its serving alone would
    /// notice only when nothing more is there to read, and a flood brings more for long.
    ///
    /// # Errors
    /// `ConnectionAborted`.
    pub(crate) fn check_goes_on(&self) -> io::Result<()> {
        match self.end() {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Returns why the connection has to end, if it has to.
    pub(crate) fn end(&self) -> Option<ConnectionEnd> {
        *self.end.borrow()
    }

    /// Notes a request, until what is returned is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>, version: Version) -> Busy {
        let mut state = self.lock();
        state.busy += 1;
        state.served = true;
        state.http2 = version == Version::HTTP_2;
        state.head_since = None;
        state.frames.requested();
        Busy { activity: Arc::clone(self), holder: None, is_answered: false }
    }

    /// Returns whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().busy > 0
    }

    /// The flag that is set while an answer goes to the socket that has a least pace there. The streams
    /// of HTTP/2 have theirs by themselves.
    pub(crate) fn is_paced(&self) -> &Arc<AtomicBool> {
        &self.is_paced
    }

    /// Notes which answer goes to the socket from now on.
    pub(crate) fn answers(&self, version: Version, is_live: bool) {
        self.is_paced.store(version != Version::HTTP_2 && !is_live, Relaxed);
    }

    /// Counts the rest from now on.
    pub(crate) fn rest(&self) {
        self.lock().resting_since = self.clock.instant();
    }

    /// Notes bytes that came; how many frames of HTTP/2 are in them.
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

    /// Notes so many bytes that were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.lock().frames.answered(bytes);
    }

    /// Returns the byte that the client began with, when there was one.
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
    /// Returns the time without a first request after which a connection ends: three times as long as
    /// a head may take, because a client that connects beforehand may have a reason.
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
pub(crate) struct Busy {
    activity: Arc<Activity>,
    holder: Option<Arc<RequestHolder>>,
    is_answered: bool,
}

impl Busy {
    /// Notes how the request's body comes.
    pub(crate) fn let_in(&mut self, holder: &Arc<RequestHolder>) {
        self.activity.lock().requests.push(Arc::clone(holder));
        self.holder = Some(Arc::clone(holder));
    }

    /// Notes that there is an answer, which is being sent from now on, if somebody awaits it.
    pub(crate) fn answered(&mut self) {
        if self.holder.as_ref().is_some_and(|holder| holder.is_broken_off()) {
            return;
        }
        self.is_answered = true;
        let mut state = self.activity.lock();
        state.abandoned = state.abandoned.saturating_sub(1);
    }
}

impl Drop for Busy {
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
    fn a_head_that_does_not_end_and_a_rest_that_is_too_long_are_told_apart() {
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
