//! Encoding of a rollup bucket: the calls of a group in one time bucket, as described in
//! `docs/formats/index.md`.
//!
//! A [`RollupBucket`] decodes only the fields that a query reads, because most queries need few of
//! them.

use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos, api::Exemplar};

use super::{
    Calls, LEVELS, Latency,
    latency::{BUCKET_MAX, BucketCounts, LATENCY_BOUNDS, upper_bound},
};
use crate::index_bytes::{Reader as Bytes, push_varint};

/// Flag: durations are in histogram buckets.
const BUCKETS: u8 = 1;
/// Flag: at least one call has ended, and the slowest call follows.
const SLOWEST: u8 = 2;
/// Flag: at least one call has failed. The last failed call follows unless the next flag is set.
const FAILED: u8 = 4;
/// Flag: the last failed call is the slowest one.
const FAILED_IS_SLOWEST: u8 = 8;

/// Calls of a group that began in one time bucket.
#[derive(Debug, Clone, Copy)]
pub struct RollupBucket<'a> {
    start: UnixNanos,
    count: u64,
    errors: u64,
    calls: BucketContent<'a>,
}

#[derive(Debug, Clone, Copy)]
enum BucketContent<'a> {
    /// Flags, and the undecoded bytes after the counts.
    Encoded {
        flags: u8,
        rest: Bytes<'a>,
    },
    Decoded(&'a Calls),
}

/// Latency summary over the bounds of a fixed histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// Number of calls that have ended.
    pub count: u64,
    /// Sum of their durations in nanoseconds.
    pub sum: u128,
    /// Cumulative counts: calls no longer than each of [`LATENCY_BOUNDS`].
    pub up_to_bounds: [u64; LATENCY_BOUNDS.len()],
}

impl Durations {
    /// Summarises a distribution.
    #[must_use]
    pub fn from_latency(latency: &Latency) -> Self {
        let up_to_bounds = latency.up_to_bounds();
        Self { count: latency.count(), sum: latency.sum(), up_to_bounds }
    }

    /// Returns the summary of a single duration.
    #[must_use]
    pub fn single(duration: DurationNanos) -> Self {
        let up_to_bounds = LATENCY_BOUNDS.map(|bound| u64::from(duration <= bound));
        Self { count: 1, sum: u128::from(duration.0), up_to_bounds }
    }
}

impl<'a> RollupBucket<'a> {
    /// Decodes a rollup bucket of the time bucket that begins at `start`. `None` when the bytes are
    /// damaged.
    pub fn decode(bytes: &'a [u8], start: UnixNanos) -> Option<Self> {
        let mut rest = Bytes::new(bytes);
        let [flags] = *rest.take(1)? else { return None };
        let (count, errors) = (rest.varint()?, rest.varint()?);
        Some(Self { start, count, errors, calls: BucketContent::Encoded { flags, rest } })
    }

    /// Returns a rollup bucket of these calls, in the time bucket that begins at `start`.
    pub fn of_calls(calls: &'a Calls, start: UnixNanos) -> Self {
        Self {
            start,
            count: calls.count,
            errors: calls.errors,
            calls: BucketContent::Decoded(calls),
        }
    }

    /// Returns the start of the time bucket.
    #[must_use]
    pub fn start(&self) -> UnixNanos {
        self.start
    }

    /// Returns the number of calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of failed calls.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Adds the calls to an aggregate. `None` when the rollup bucket is damaged; some may have been
    /// added then.
    #[must_use]
    pub fn add_to(&self, calls: &mut Calls) -> Option<()> {
        let (flags, mut rest) = match self.calls {
            BucketContent::Encoded { flags, rest } => (flags, rest),
            BucketContent::Decoded(more) => {
                calls.merge(more);
                return Some(());
            }
        };
        calls.count = calls.count.checked_add(self.count)?;
        calls.errors = calls.errors.checked_add(self.errors)?;
        if flags & BUCKETS == 0 {
            let held = rest.varint()?;
            calls.latency.merge_ascending(held, || rest.long_varint())?;
        } else {
            merge_buckets(&mut calls.latency, &mut rest)?;
        }
        let slowest = if flags & SLOWEST == 0 { None } else { Some(self.exemplar(&mut rest)?) };
        if let Some(slowest) = slowest {
            calls.keep_slowest(slowest);
        }
        let failed = match flags & (FAILED | FAILED_IS_SLOWEST) {
            0 => None,
            FAILED => Some(self.exemplar(&mut rest)?),
            _ => slowest,
        };
        if let Some(failed) = failed {
            calls.keep_failed(failed);
        }
        Some(())
    }

    /// Appends the encoded rollup bucket.
    pub fn push_to(&self, bytes: &mut Vec<u8>) {
        match self.calls {
            BucketContent::Encoded { flags, rest } => {
                bytes.push(flags);
                push_varint(bytes, self.count);
                push_varint(bytes, self.errors);
                bytes.extend(rest.rest());
            }
            BucketContent::Decoded(calls) => bytes.extend(encoded(calls, self.start)),
        }
    }

    /// Returns the calls. `None` when the rollup bucket is damaged.
    pub fn decoded(&self) -> Option<Calls> {
        let mut calls = Calls::default();
        self.add_to(&mut calls)?;
        Some(calls)
    }

    /// Passes each duration and its number of calls to `visit`. All durations of a histogram bucket
    /// are passed as its upper bound. `None` when the rollup bucket is damaged; some may have been
    /// passed then.
    #[must_use]
    pub fn spread(&self, mut visit: impl FnMut(DurationNanos, u64)) -> Option<()> {
        match self.calls {
            BucketContent::Decoded(calls) => {
                calls.latency.spread().for_each(|(of, count)| visit(of, count))
            }
            BucketContent::Encoded { flags, mut rest } if flags & BUCKETS == 0 => {
                let mut duration = 0_u64;
                for _ in 0..rest.varint()? {
                    duration = duration.checked_add(rest.long_varint()?)?;
                    visit(DurationNanos(duration), 1);
                }
            }
            BucketContent::Encoded { mut rest, .. } => {
                each_bucket(&mut rest, |bucket, count, _| {
                    visit(DurationNanos(upper_bound(bucket)), count);
                    Some(())
                })?;
            }
        }
        Some(())
    }

    /// Returns the durations of its calls over the fixed histogram bounds; `None` when the rollup
    /// bucket is damaged.
    #[must_use]
    pub fn durations(&self) -> Option<Durations> {
        let (flags, mut rest) = match self.calls {
            BucketContent::Encoded { flags, rest } => (flags, rest),
            BucketContent::Decoded(calls) => return Some(Durations::from_latency(&calls.latency)),
        };
        if flags & BUCKETS > 0 {
            let mut latency = Latency::default();
            merge_buckets(&mut latency, &mut rest)?;
            return Some(Durations::from_latency(&latency));
        }
        let (mut of, mut duration, mut bound) = (Durations::default(), 0_u64, 0);
        of.count = rest.varint()?;
        for before in 0..of.count {
            duration = duration.checked_add(rest.long_varint()?)?;
            of.sum += u128::from(duration);
            // Durations and bounds are both ascending.
            while LATENCY_BOUNDS.get(bound).is_some_and(|bound| duration > bound.0) {
                of.up_to_bounds[bound] = before;
                bound += 1;
            }
        }
        of.up_to_bounds[bound..].fill(of.count);
        Some(of)
    }

    fn exemplar(&self, rest: &mut Bytes<'_>) -> Option<Exemplar> {
        Some(Exemplar {
            duration_nano: DurationNanos(rest.varint()?),
            start_unix_nano: UnixNanos(exemplar_base(self.start).checked_add(rest.varint()?)?),
            trace_id: TraceId::from_wire(rest.take(TraceId::LEN)?)?,
            span_id: SpanId::from_wire(rest.take(SpanId::LEN)?)?,
        })
    }
}

fn merge_buckets(latency: &mut Latency, rest: &mut Bytes<'_>) -> Option<()> {
    let (mut filling, mut of_all) = (latency.divide().filling(), 0_u64);
    each_bucket(rest, |bucket, count, within| {
        of_all = of_all.checked_add(count)?;
        filling.add_bucket(bucket, count, within)
    })?;
    let sum = u128::from(rest.varint()?) | u128::from(rest.varint()?) << 64;
    let bounds = (rest.varint()?, rest.varint()?);
    latency.merge_numbers((of_all, sum), bounds)
}

/// Passes each histogram bucket to `visit`, with its count and with the number of its durations up
/// to the latency bound inside it.
fn each_bucket(
    rest: &mut Bytes<'_>,
    mut visit: impl FnMut(u16, u64, u64) -> Option<()>,
) -> Option<()> {
    let mut bucket = 0_u16;
    for _ in 0..rest.varint()? {
        bucket = bucket.checked_add(u16::try_from(rest.varint()?).ok()?)?;
        if bucket > BUCKET_MAX {
            return None;
        }
        let count = rest.varint()?;
        let within = if BucketCounts::holds_bound(bucket) { rest.varint()? } else { 0 };
        visit(bucket, count, within)?;
    }
    Some(())
}

/// Encodes the rollup bucket of these calls in the time bucket that begins at `start`.
pub fn encoded(calls: &Calls, start: UnixNanos) -> Vec<u8> {
    let latency = &calls.latency;
    let failed_is_slowest = calls.failed.is_some() && calls.failed == calls.slowest;
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let mut cell = vec![
        flag(latency.is_divided(), BUCKETS)
            | flag(calls.slowest.is_some(), SLOWEST)
            | flag(calls.failed.is_some(), FAILED)
            | flag(failed_is_slowest, FAILED_IS_SLOWEST),
    ];
    push_varint(&mut cell, calls.count);
    push_varint(&mut cell, calls.errors);
    match latency.divided() {
        None => push_exact(&mut cell, latency),
        Some(divided) => push_buckets(&mut cell, latency, divided),
    }
    if let Some(slowest) = &calls.slowest {
        push_exemplar(&mut cell, slowest, start);
    }
    if let Some(failed) = calls.failed.as_ref().filter(|_| !failed_is_slowest) {
        push_exemplar(&mut cell, failed, start);
    }
    cell
}

fn push_exact(cell: &mut Vec<u8>, latency: &Latency) {
    let mut exact = latency.exact().to_vec();
    exact.sort_unstable();
    push_varint(cell, exact.len() as u64);
    let mut before = 0;
    for duration in exact {
        push_varint(cell, duration - before);
        before = duration;
    }
}

fn push_buckets(cell: &mut Vec<u8>, latency: &Latency, divided: &BucketCounts) {
    push_varint(cell, divided.buckets().count() as u64);
    let mut before = 0;
    for (bucket, count) in divided.buckets() {
        push_varint(cell, u64::from(bucket - before));
        push_varint(cell, count);
        if let Some(within) = divided.within(bucket) {
            push_varint(cell, within);
        }
        before = bucket;
    }
    let low = latency.sum() & u128::from(u64::MAX);
    for half in [low, latency.sum() >> 64] {
        push_varint(cell, u64::try_from(half).expect("invariant: it is half of 128 bits"));
    }
    push_varint(cell, latency.min);
    push_varint(cell, latency.max);
}

/// Returns the time from which the starts of exemplars count: the start of the longest bucket
/// around this one. Rollup buckets of the same calls therefore have the same bytes at every level.
fn exemplar_base(start: UnixNanos) -> u64 {
    let longest = LEVELS[LEVELS.len() - 1];
    start.0 / longest * longest
}

fn push_exemplar(cell: &mut Vec<u8>, exemplar: &Exemplar, start: UnixNanos) {
    push_varint(cell, exemplar.duration_nano.0);
    push_varint(cell, exemplar.start_unix_nano.0 - exemplar_base(start));
    cell.extend(exemplar.trace_id.as_bytes());
    cell.extend(exemplar.span_id.as_bytes());
}
