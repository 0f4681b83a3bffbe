//! Samples of traces that a query wants, and the histogram buckets that they take.

use tidings_proto::DurationNanos;

use super::KindKey;
use crate::rollup::latency::bucket;

/// Specification of the sample of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleSpec {
    /// Service of the entry span.
    pub service: String,
    /// Operation of the entry span.
    pub operation: String,
    /// Minimum duration.
    pub least: DurationNanos,
    /// Maximum number of traces, the first by [`super::transaction_place`].
    pub traces_max: usize,
}

impl SampleSpec {
    pub(crate) fn matches(&self, key: KindKey<'_>) -> bool {
        self.key() == key
    }

    /// Returns the kind that the sample is of.
    pub(crate) fn key(&self) -> KindKey<'_> {
        KindKey { service: &self.service, operation: &self.operation }
    }

    /// Returns whether all, some or no durations of a histogram bucket reach the minimum.
    pub(crate) fn takes(&self, of: u16) -> BucketMatch {
        let DurationNanos(least) = self.least;
        let own = bucket(least);
        let begins_with_it = least == 0 || bucket(least - 1) < own;
        match of.cmp(&own) {
            std::cmp::Ordering::Less => BucketMatch::None,
            std::cmp::Ordering::Equal if !begins_with_it => BucketMatch::Some,
            _ => BucketMatch::All,
        }
    }
}

/// Durations of a histogram bucket that reach a minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketMatch {
    None,
    Some,
    All,
}
