//! Reads a request's body within its limits of size, memory and time, unless the body is evicted in
//! favour of other requests.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Version, header, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidings_storage::Clock;

use crate::{
    CollectorLimits,
    admit::{Admission, evicted_body},
    counters::ReceiverCounters,
    decompress::too_large,
    pace::{PACE_WINDOW, Pace},
    phase::{Phase, Phases},
    refusal::{Reason, Refusal},
    shares::RequestHolder,
};

/// Maximum memory that is allocated for a body before it has arrived, because the announced length
/// may be wrong.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// Function that estimates the length of a body in bytes from its first bytes.
pub(crate) type AnnouncedLength = fn(&[u8]) -> usize;

/// Bytes of a refused body that are still read, as a multiple of the limit of a body. So a client
/// that sends first and reads later sees the refusal instead of a reset connection.
const DRAIN_FACTOR: usize = 4;
/// Frames that [`discard_arrived`] takes at most. A small body arrives in one.
const DISCARDED_FRAMES_MAX: usize = 16;

/// Reads the bodies of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyReader<'a> {
    pub(crate) limits: &'a CollectorLimits,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) phases: &'a Phases,
    /// Counters of arriving bytes, refused bodies included: those of the listener, and those of the
    /// destination, if it has its own.
    pub(crate) counters: (&'a ReceiverCounters, Option<&'a ReceiverCounters>),
}

impl BodyReader<'_> {
    /// Reads the whole body, of at most `limit` bytes.
    pub(crate) async fn read(
        &self,
        body: &mut Incoming,
        limit: usize,
        announced: AnnouncedLength,
        admission: &mut Admission,
    ) -> Result<Bytes, Refusal> {
        let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if least > limit {
            return Err(too_large(limit));
        }
        let mut phases = self.phases.clone();
        let closing = phases.reached(Phase::Closing);
        tokio::pin!(closing);
        let holder = Arc::clone(&admission.holder);
        let evicted = holder.evicted();
        tokio::pin!(evicted);
        let mut arrived = ArrivedBody::default();
        let mut pace = Pace::new(self.limits.body_bytes_per_second_min);
        let mut window = self.clock.sleep(self.window());
        loop {
            tokio::select! {
                biased;
                () = &mut closing => {
                    return Err(Refusal::new(Reason::ShuttingDown, "the server is shutting down"));
                }
                () = &mut evicted => return Err(evicted_body()),
                frame = body.frame() => match frame {
                    None => {
                        holder.received();
                        return Ok(arrived.into_bytes());
                    }
                    Some(Err(error)) => {
                        holder.broke_off();
                        return Err(broken_off(&error));
                    }
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        self.count(data.len());
                        if data.len() > limit - arrived.len() {
                            return Err(too_large(limit));
                        }
                        holder.progressed();
                        tokio::select! {
                            biased;
                            () = &mut evicted => return Err(evicted_body()),
                            held = admission.hold_arriving(data.len()) => held?,
                        }
                        if arrived.len() == 0 {
                            arrived.expected = least.max(announced(&data));
                        }
                        arrived.push(data);
                    }
                },
                () = &mut window => {
                    self.check_pace(&mut pace, arrived.len())?;
                    window = self.clock.sleep(self.window());
                }
            }
        }
    }

    fn count(&self, bytes: usize) {
        let (all, of_destination) = self.counters;
        let now = self.clock.now();
        all.receive(bytes, now);
        if let Some(counters) = of_destination {
            counters.receive(bytes, now);
        }
    }

    fn window(&self) -> Duration {
        PACE_WINDOW.min(self.limits.body_timeout)
    }

    fn check_pace(&self, pace: &mut Pace, bytes: usize) -> Result<(), Refusal> {
        let is_enough = pace.look(bytes, self.window());
        if is_enough && pace.elapsed() < self.limits.body_timeout {
            return Ok(());
        }
        let millis = pace.elapsed().as_millis();
        let message = format!("the body came too slowly: {bytes} bytes in {millis} ms");
        Err(Refusal::new(Reason::SlowBody, message))
    }

    /// Reads the rest of a body after a refusal on HTTP/1, and reports its end to the holder. Closing
    /// early would reset the connection, and the client might not see the response.
    pub(crate) async fn drain(
        &self,
        head: &Parts,
        body: &mut Incoming,
        refusal: &Refusal,
        holder: &RequestHolder,
    ) {
        let hopeless = matches!(
            refusal.reason,
            Reason::Disconnected | Reason::SlowBody | Reason::ShuttingDown | Reason::Panic
        );
        let waits_for_us = head.headers.contains_key(header::EXPECT);
        if hopeless || waits_for_us || head.version == Version::HTTP_2 {
            return;
        }
        let mut left = self.limits.http_body_bytes_max.saturating_mul(DRAIN_FACTOR);
        if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > left) {
            return;
        }
        let read_on = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return };
                let count = frame.data_ref().map_or(0, Bytes::len);
                self.count(count);
                if count > left {
                    return;
                }
                left -= count;
            }
            holder.received();
        };
        let mut phases = self.phases.clone();
        tokio::select! {
            () = read_on => {}
            () = self.clock.sleep(self.window()) => {}
            () = phases.reached(Phase::Closing) => {}
        }
    }
}

/// Discards what has arrived of a body. If that is all of it, the holder is told, and a connection of
/// HTTP/1 goes on after the response.
pub fn discard_arrived<B: http_body::Body + Unpin>(body: &mut B, holder: &RequestHolder) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..DISCARDED_FRAMES_MAX {
        if body.is_end_stream() {
            return holder.received();
        }
        match Pin::new(&mut *body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None) => return holder.received(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => return,
        }
    }
}

fn broken_off(error: &hyper::Error) -> Refusal {
    // Hyper reports a body that contradicts its length or chunks, and the text is its own.
    Refusal::new(Reason::Disconnected, format!("the body broke off: {error}"))
}

/// The received part of a body. A single chunk is kept as it is. Several are joined, so that many
/// tiny chunks take no more memory than their bytes.
#[derive(Debug, Default)]
struct ArrivedBody {
    first: Bytes,
    joined: BytesMut,
    /// Announced length in bytes, which may be wrong; 0 if none was announced.
    expected: usize,
}

impl ArrivedBody {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return; // Some clients end their bodies with an empty chunk.
        }
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.joined.reserve(self.expected.min(AHEAD_BYTES_MAX));
            self.joined.extend_from_slice(&first);
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
