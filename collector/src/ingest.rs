//! From a body to an acknowledgement: decompress, weigh, decode, normalise, redact, convert, store.
//!
//! Receivers bring the bytes and their decoder and write the answer; everything between is here
//! and the same for all of them. Owns the counts of records. The sender's bytes are
//! acknowledged only when [`Sink::append`](crate::Sink::append) has returned.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::available_parallelism,
    time::Instant,
};

use bytes::Bytes;
use tidings_access::AccessError;
use tidings_storage::Clock;
use tokio::sync::Semaphore;

use crate::{
    CollectorLimits,
    admit::{Admission, FormWait, Gate, RequestSender, lost_its_room},
    counters::SignalCounters,
    decompress::{Bound, Compression, decompress},
    destination::Destinations,
    normalise::{InPlace, Prepared, Signal},
    redact::Redactor,
    refusal::{Reason, Refusal},
    sender_service::check_service,
};

/// Bodies up to this size are decoded at once; larger and compressed ones on another thread.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// State that the receivers share.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) limits: CollectorLimits,
    pub(crate) gate: Gate,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spans: SignalCounters,
    pub(crate) logs: SignalCounters,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) destinations: Arc<dyn Destinations>,
    /// Decoding uses the processors; more at a time would only take memory.
    decoders: Arc<Semaphore>,
    refusals: AtomicU64,
}

/// Request body from a receiver.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) compression: Compression,
    /// The most bytes after decompression.
    pub(crate) limit: usize,
    /// Refusal reason of this protocol for corrupt compression.
    pub(crate) broken: Reason,
    pub(crate) format: Format,
}

/// How the decompressed bytes are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// Takes a request that can be stored as it was sent, without decoding it.
    pub(crate) in_place: fn(&Bytes, &Redactor) -> Option<InPlace>,
    /// Estimates the memory of the decoded form.
    pub(crate) weigh: fn(&[u8]) -> usize,
    /// Decodes and normalises.
    pub(crate) decode: fn(Bytes) -> Result<Prepared, Refusal>,
    /// True when one bad record refuses the whole request, for protocols without partial success.
    pub(crate) all_or_nothing: bool,
}

/// Result of a stored request, for the response to the sender.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) rejected: u64,
    pub(crate) message: String,
}

impl Ingest {
    pub(crate) fn new(
        limits: CollectorLimits,
        redactor: Redactor,
        destinations: Arc<dyn Destinations>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            gate: Gate::new(&limits, Arc::clone(&clock)),
            limits,
            clock,
            spans: SignalCounters::default(),
            logs: SignalCounters::default(),
            redactor: Arc::new(redactor),
            destinations,
            decoders: Arc::new(Semaphore::new(available_parallelism().map_or(2, usize::from))),
            refusals: AtomicU64::new(0),
        }
    }

    /// Stores what the payload holds; durable when it returns.
    pub(crate) async fn store(
        &self,
        mut admission: Admission,
        payload: Payload,
    ) -> Result<Outcome, Refusal> {
        admission.work()?;
        let RequestSender { caller, destination } = admission.sender.clone();
        destination.sink.has_room()?;
        let (admission, prepared) = self.prepare(admission, payload).await?;
        let Prepared { signal, batch, accepted, rejected, message } = prepared;
        // A key can end while its request comes.
        if caller.as_ref().is_some_and(|caller| !caller.is_live(self.clock.now())) {
            return Err(AccessError::Unknown.into());
        }
        if let Some(batch) = batch {
            // A task of its own: a client that goes away must not stop an append half way, and
            // the places are given back only when the store is done with it.
            let sink = Arc::clone(&destination.sink);
            let append = tokio::spawn(async move {
                let result = sink.append(batch).await;
                drop(admission);
                result
            });
            append.await.map_err(|_| panicked())??;
        }
        if let Some(caller) = caller {
            caller.count_records(accepted);
        }
        match signal {
            Signal::Traces => {
                self.spans.add(accepted, rejected);
                destination.spans.add(accepted, rejected);
            }
            Signal::Logs => {
                self.logs.add(accepted, rejected);
                destination.logs.add(accepted, rejected);
            }
        }
        Ok(Outcome { rejected, message })
    }

    async fn prepare(
        &self,
        admission: Admission,
        payload: Payload,
    ) -> Result<(Admission, Prepared), Refusal> {
        let (memory_max, now) = (self.limits.request_memory_bytes_max, self.clock.instant());
        if payload.compression == Compression::None && payload.bytes.len() <= INLINE_BYTES_MAX {
            return prepare(admission, payload, memory_max, &self.redactor, now, FormWait::No);
        }
        let redactor = Arc::clone(&self.redactor);
        // An error means the semaphore is closed, which nothing does.
        let holder = Arc::clone(&admission.holder);
        let place = tokio::select! {
            biased;
            () = holder.evicted() => return Err(lost_its_room()),
            place = Arc::clone(&self.decoders).acquire_owned() => place,
        };
        let work = move || {
            // Kept to the end, also when the client has gone.
            let _place = place;
            prepare(admission, payload, memory_max, &redactor, now, FormWait::Blocking)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| panicked())?
    }

    /// Returns whether a request would be stored now.
    pub(crate) fn is_ready(&self) -> bool {
        self.destinations.common().sink.ready().is_ok()
    }

    /// When to try again, in seconds: spread, so that refused clients do not return all at once.
    pub(crate) fn retry_seconds(&self) -> u32 {
        let mut mixed = self.clock.now().0 ^ self.refusals.fetch_add(1, Relaxed).rotate_left(32);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^= mixed >> 33;
        1 + u32::try_from(mixed % 5).unwrap_or_default()
    }
}

/// The refusal after a bug of ours: the sender keeps its records and tries again.
pub(crate) fn panicked() -> Refusal {
    Refusal::new(Reason::Panic, "the request could not be handled")
}

/// Everything that keeps the processor busy, on one thread: a request is read by its rules and then
/// again for its rows, and meanwhile its bytes stay in the caches. `wait` is for the memory
/// of the form.
fn prepare(
    mut admission: Admission,
    payload: Payload,
    memory_max: usize,
    redactor: &Redactor,
    now: Instant,
    wait: FormWait,
) -> Result<(Admission, Prepared), Refusal> {
    let Payload { bytes, compression, limit, broken, format } = payload;
    let RequestSender { caller, destination } = admission.sender.clone();
    let mut hold = |count| admission.hold(count);
    let bytes = decompress(compression, bytes, Bound { limit, hold: &mut hold, broken })?;
    let charge = |bytes| {
        if let Some(caller) = &caller {
            caller.charge(bytes, now);
        }
    };
    let length = bytes.len() as u64;
    let mut hold = |weight| {
        if weight > memory_max {
            charge(length);
            let message = format!("takes {weight} bytes when decoded, the limit is {memory_max}");
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        admission.hold_form(weight, wait)?;
        // A request that found no room comes again, and costs its sender nothing.
        charge(length);
        Ok(())
    };
    let mut prepared = match (format.in_place)(&bytes, redactor) {
        Some(InPlace { prepared, weight }) => {
            hold(weight)?;
            prepared
        }
        None => {
            hold((format.weigh)(&bytes))?;
            (format.decode)(bytes)?
        }
    };
    if format.all_or_nothing && prepared.rejected > 0 {
        return Err(Refusal::new(Reason::Malformed, prepared.message));
    }
    if let Some(caller) = &caller {
        check_service(caller, prepared.batch.as_ref())?;
    }
    if let Some(batch) = &mut prepared.batch {
        destination.redacted.fetch_add(redactor.redact(batch), Relaxed);
    }
    prepared.batch = prepared.batch.map(|batch| destination.sink.convert(batch)).transpose()?;
    Ok((admission, prepared))
}
