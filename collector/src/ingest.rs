//! The path from a body to an acknowledgement: decompress, estimate memory, decode, normalise,
//! redact, convert, store.
//!
//! Receivers supply the bytes and the decoder, and write the response. The steps in between are the
//! same for all of them. Owns the counts of records. A request is acknowledged only when
//! [`Sink::append`](crate::Sink::append) has returned.

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
    admit::{Admission, FormWait, Gate, RequestSender, evicted_body},
    counters::SignalCounters,
    decompress::{Compression, DecompressionBounds, decompress},
    destination::Destinations,
    normalise::{InPlace, Prepared, Signal},
    redact::Redactor,
    refusal::{Reason, Refusal},
    sender_service::check_service,
};

/// Maximum bytes of a body that is decoded on the thread of its request. Larger and compressed ones
/// are decoded on another thread.
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
    /// Permits for decoding, one for each processor. More concurrent decoding would only take
    /// memory.
    decoders: Arc<Semaphore>,
    refusals: AtomicU64,
}

/// Request body from a receiver.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) compression: Compression,
    /// Maximum bytes after decompression.
    pub(crate) limit: usize,
    /// The protocol's reason for refusing corrupt compression.
    pub(crate) broken: Reason,
    pub(crate) format: Format,
}

/// The functions that read decompressed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// Accepts a request that can be stored as it was sent, without decoding it.
    pub(crate) in_place: fn(&Bytes, &Redactor) -> Option<InPlace>,
    /// Estimates the memory of the decoded form.
    pub(crate) weigh: fn(&[u8]) -> usize,
    /// Decodes and normalises.
    pub(crate) decode: fn(Bytes) -> Result<Prepared, Refusal>,
    /// True if one invalid record refuses the whole request, for protocols without partial success.
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

    /// Stores the records of a payload; durable when this returns.
    pub(crate) async fn store(
        &self,
        mut admission: Admission,
        payload: Payload,
    ) -> Result<Outcome, Refusal> {
        admission.work()?;
        let RequestSender { caller, destination } = admission.sender.clone();
        destination.sink.check_capacity()?;
        let (admission, prepared) = self.prepare(admission, payload).await?;
        let Prepared { signal, batch, accepted, rejected, message } = prepared;
        // The key may have been revoked or expired while its request arrived.
        if caller.as_ref().is_some_and(|caller| !caller.is_live(self.clock.now())) {
            return Err(AccessError::Unknown.into());
        }
        if let Some(batch) = batch {
            // The append runs as a task of its own, so that a client that disconnects does not
            // cancel it half way. The permits are returned only when the store is done.
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
        let now = self.clock.now();
        match signal {
            Signal::Traces => {
                self.spans.add(accepted, rejected, now);
                destination.spans.add(accepted, rejected, now);
            }
            Signal::Logs => {
                self.logs.add(accepted, rejected, now);
                destination.logs.add(accepted, rejected, now);
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
        // The error case cannot occur: the semaphore is never closed.
        let holder = Arc::clone(&admission.holder);
        let permit = tokio::select! {
            biased;
            () = holder.evicted() => return Err(evicted_body()),
            permit = Arc::clone(&self.decoders).acquire_owned() => permit,
        };
        let work = move || {
            // The permit is held to the end, even if the client has disconnected.
            let _permit = permit;
            prepare(admission, payload, memory_max, &redactor, now, FormWait::Blocking)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| panicked())?
    }

    /// Returns whether a request would be stored now.
    pub(crate) fn is_ready(&self) -> bool {
        self.destinations.common().sink.ready().is_ok()
    }

    /// Returns the delay before a retry in seconds. It varies, so that refused clients do not all
    /// return at once.
    pub(crate) fn retry_seconds(&self) -> u32 {
        let mut mixed = self.clock.now().0 ^ self.refusals.fetch_add(1, Relaxed).rotate_left(32);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^= mixed >> 33;
        1 + u32::try_from(mixed % 5).unwrap_or_default()
    }
}

/// Returns the refusal after a panic, which is retryable, so that the sender keeps its records.
pub(crate) fn panicked() -> Refusal {
    Refusal::new(Reason::Panic, "the request could not be handled")
}

/// Does all CPU work of a request on one thread. Its bytes are read twice, to check them and to
/// convert them to rows, and stay in the CPU caches in between. `wait` applies to the memory of the
/// decoded form.
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
    let bytes =
        decompress(compression, bytes, DecompressionBounds { limit, hold: &mut hold, broken })?;
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
        // A request that was refused for lack of memory is not charged, because its sender repeats
        // it.
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
