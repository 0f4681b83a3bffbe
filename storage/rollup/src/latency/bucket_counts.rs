//! Counts of durations in buckets, allocated for octaves that are in use.
//!
//! Also owns the exact counts up to each latency bound inside a bucket.

use std::iter;

use super::{BOUNDS, BUCKET_MAX, FIRST_BOUND, LATENCY_BOUNDS, PART_BITS, bucket};

/// Number of buckets of one power of two.
const PARTS: usize = 1 << PART_BITS;
/// Number of octaves. The durations below 64 ns are one octave too.
const OCTAVES: usize = 59;

/// Number of durations in each bucket.
#[derive(Debug, Clone)]
pub struct BucketCounts {
    /// Run of counts of each octave, from 1. 0 means that the octave has none.
    runs: [u8; OCTAVES],
    counts: Vec<u64>,
    /// For each bound, the number of durations in its bucket that are no longer than the bound.
    within: [u64; BOUNDS],
}

impl Default for BucketCounts {
    fn default() -> Self {
        Self { runs: [0; OCTAVES], counts: Vec::new(), within: [0; BOUNDS] }
    }
}

/// Compares counts, independent of the order in which octaves were allocated.
impl PartialEq for BucketCounts {
    fn eq(&self, other: &Self) -> bool {
        self.within == other.within && self.buckets().eq(other.buckets())
    }
}

impl Eq for BucketCounts {}

impl BucketCounts {
    /// Returns a filler that adds durations.
    pub(crate) fn filling(&mut self) -> BucketFiller<'_> {
        BucketFiller { divided: self, octave: OCTAVES, run: 0 }
    }

    /// Removes a duration. Returns true if its bucket had one.
    pub(super) fn remove(&mut self, duration: u64) -> bool {
        let of = bucket(duration);
        let count = self.count_mut(of);
        let is_there = *count > 0;
        *count = count.saturating_sub(1);
        if let Some(bound) = bound_in(of).filter(|bound| duration <= LATENCY_BOUNDS[*bound].0) {
            self.within[bound] = self.within[bound].saturating_sub(1);
        }
        is_there
    }

    /// Removes all durations of another distribution. Returns false if some did not exist; the
    /// counts are invalid then.
    pub(super) fn remove_all(&mut self, other: &Self) -> bool {
        for (bucket, less) in other.buckets() {
            let count = self.count_mut(bucket);
            let Some(left) = count.checked_sub(less) else { return false };
            *count = left;
        }
        for (within, less) in self.within.iter_mut().zip(other.within) {
            let Some(left) = within.checked_sub(less) else { return false };
            *within = left;
        }
        true
    }

    /// Adds all durations of another distribution.
    pub(super) fn merge(&mut self, other: &Self) {
        for octave in 0..OCTAVES {
            let Some(more) = other.run(octave) else { continue };
            let counts = self.run_mut(octave).iter_mut().zip(more);
            counts.for_each(|(count, more)| *count += more);
        }
        for (within, more) in self.within.iter_mut().zip(other.within) {
            *within += more;
        }
    }

    /// Returns the buckets that are not empty with their counts, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u16, u64)> {
        let octaves = (0..OCTAVES).filter_map(|octave| Some((octave, self.run(octave)?)));
        octaves.flat_map(|(octave, counts)| {
            let first = u16::try_from(octave * PARTS).expect("invariant: all buckets fit 16 bits");
            let numbered = (first..).zip(counts);
            numbered.filter(|(_, count)| **count > 0).map(|(bucket, count)| (bucket, *count))
        })
    }

    /// Returns true if a bound is in a bucket.
    pub(crate) fn holds_bound(bucket: u16) -> bool {
        bound_in(bucket).is_some()
    }

    /// Returns the number of durations in a bucket up to the bound inside it; `None` when no bound
    /// is inside.
    pub fn within(&self, bucket: u16) -> Option<u64> {
        bound_in(bucket).map(|bound| self.within[bound])
    }

    /// Returns the buckets of these ranks, which are ascending and start at 1.
    pub(super) fn reached<const N: usize>(&self, ranks: [u64; N]) -> [Option<u16>; N] {
        let (mut reached, mut next, mut seen) = ([None; N], 0, 0);
        for octave in 0..OCTAVES {
            for (part, count) in self.run(octave).into_iter().flatten().enumerate() {
                seen += count;
                while *count > 0 && next < N && ranks[next] <= seen {
                    reached[next] = u16::try_from(octave * PARTS + part).ok();
                    next += 1;
                }
            }
        }
        reached
    }

    /// Returns its memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<u64>() * self.counts.capacity()
    }

    /// Returns cumulative counts: durations no longer than each bound.
    pub(super) fn up_to_bounds(&self) -> [u64; BOUNDS] {
        let (mut buckets, mut seen) = (self.buckets().peekable(), 0);
        std::array::from_fn(|bound| {
            let of = bucket(LATENCY_BOUNDS[bound].0);
            seen += iter::from_fn(|| buckets.next_if(|(bucket, _)| *bucket < of))
                .map(|(_, count)| count)
                .sum::<u64>();
            seen + self.within[bound]
        })
    }

    fn run(&self, octave: usize) -> Option<&[u64]> {
        let run = usize::from(self.runs[octave]).checked_sub(1)?;
        Some(&self.counts[run * PARTS..][..PARTS])
    }

    fn run_mut(&mut self, octave: usize) -> &mut [u64] {
        let start = self.run_start(octave);
        &mut self.counts[start..][..PARTS]
    }

    /// Returns the start of the run of an octave, which is allocated if it does not exist.
    fn run_start(&mut self, octave: usize) -> usize {
        if self.runs[octave] == 0 {
            self.counts.resize(self.counts.len() + PARTS, 0);
            let runs = self.counts.len() / PARTS;
            self.runs[octave] = u8::try_from(runs).expect("invariant: there are 59 octaves");
        }
        (usize::from(self.runs[octave]) - 1) * PARTS
    }

    fn count_mut(&mut self, bucket: u16) -> &mut u64 {
        let bucket = usize::from(bucket);
        &mut self.run_mut(bucket / PARTS)[bucket % PARTS]
    }
}

/// Adds durations to a distribution. Durations are mostly ascending, so the last octave is cached.
#[derive(Debug)]
pub(crate) struct BucketFiller<'a> {
    divided: &'a mut BucketCounts,
    /// Octave of the last duration. `run` is the start of its counts.
    octave: usize,
    run: usize,
}

impl BucketFiller<'_> {
    /// Adds a duration.
    pub(super) fn add(&mut self, duration: u64) {
        let of = bucket(duration);
        *self.count_mut(of) += 1;
        if let Some(bound) = bound_in(of).filter(|bound| duration <= LATENCY_BOUNDS[*bound].0) {
            self.divided.within[bound] += 1;
        }
    }

    /// Adds durations to a bucket. If it contains a bound, `within` of them do not exceed the
    /// bound.
    pub(crate) fn add_bucket(&mut self, bucket: u16, count: u64, within: u64) -> Option<()> {
        if bucket > BUCKET_MAX || within > count {
            return None;
        }
        let known = self.count_mut(bucket);
        *known = known.checked_add(count)?;
        if let Some(bound) = bound_in(bucket) {
            self.divided.within[bound] += within;
        }
        Some(())
    }

    fn count_mut(&mut self, bucket: u16) -> &mut u64 {
        let bucket = usize::from(bucket);
        if bucket / PARTS != self.octave {
            (self.octave, self.run) = (bucket / PARTS, self.divided.run_start(bucket / PARTS));
        }
        &mut self.divided.counts[self.run + bucket % PARTS]
    }
}

/// Returns the number of the latency bound inside a bucket. Each bound is twice the previous one,
/// so all bounds are in the same part of their octave.
fn bound_in(of: u16) -> Option<usize> {
    const OCTAVE: u16 = 1 << PART_BITS;
    let first = bucket(FIRST_BOUND);
    if of % OCTAVE != first % OCTAVE {
        return None;
    }
    let octave = (of / OCTAVE).checked_sub(first / OCTAVE)?;
    Some(usize::from(octave)).filter(|bound| *bound < BOUNDS)
}

#[cfg(test)]
mod tests {
    use super::{LATENCY_BOUNDS, bound_in, bucket};

    #[test]
    fn every_bound_is_in_a_bucket_of_its_own() {
        for (number, bound) in LATENCY_BOUNDS.iter().enumerate() {
            assert_eq!(bound_in(bucket(bound.0)), Some(number));
            assert_eq!(bound_in(bucket(bound.0) + 1), None);
        }
        assert_eq!(bound_in(bucket(LATENCY_BOUNDS[0].0 / 2)), None);
        assert_eq!(bound_in(bucket(LATENCY_BOUNDS[13].0 * 2)), None);
    }
}
