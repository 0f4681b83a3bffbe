//! Subjects whose tokens an admin has ended. Tokens issued up to then are refused, although they
//! have not expired and their signature is valid.
//!
//! Kept in memory only, as sessions are: after a restart such tokens are accepted again until they
//! expire. To keep a subject out for good, the issuer must refuse it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tidings_proto::UnixNanos;

use super::claims::{LEEWAY, nanos};
use crate::{
    key::{KeyId, KeyRecord},
    tenant::TenantName,
};

/// Maximum number of subjects; above it, the one that was ended first is evicted.
const SUBJECTS_MAX: usize = 10_000;

/// A subject, in one tenant or in all of them.
type EndedSubject = (KeyId, Option<TenantName>);

/// The subjects, each with the time at which its tokens were ended.
#[derive(Debug, Default)]
pub(super) struct EndedSubjects(Mutex<HashMap<EndedSubject, UnixNanos>>);

impl EndedSubjects {
    /// Ends the tokens that a subject has at this time.
    pub(super) fn insert(&self, subject: KeyId, tenant: Option<TenantName>, now: UnixNanos) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = (subject, tenant);
        if ended.len() >= SUBJECTS_MAX && !ended.contains_key(&subject) {
            let first = ended.iter().min_by_key(|(_, time)| **time);
            if let Some(first) = first.map(|(first, _)| first.clone()) {
                ended.remove(&first);
            }
        }
        ended.insert(subject, now);
    }

    /// Returns whether a token of this subject was ended. Includes tokens without a time of issue,
    /// and tokens issued up to half a minute later, because the issuer's clock may be ahead.
    pub(super) fn includes(&self, record: &KeyRecord, issued: Option<UnixNanos>) -> bool {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_empty() {
            return false;
        }
        [None, Some(record.tenant.clone())]
            .into_iter()
            .filter_map(|tenant| ended.get(&(record.id, tenant)))
            .any(|end| issued.is_none_or(|issued| issued.0 <= end.0.saturating_add(nanos(LEEWAY))))
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{EndedSubjects, LEEWAY, SUBJECTS_MAX, nanos};
    use crate::{key::KeyRecord, role::Role};

    fn record(subject: &str) -> KeyRecord {
        let (now, ends) = (UnixNanos(0), UnixNanos(u64::MAX));
        KeyRecord::of_subject(subject, "jane".to_owned(), Role::Read, now, ends)
    }

    #[test]
    fn tokens_issued_before_the_end_are_refused() {
        let (ended, jane) = (EndedSubjects::default(), record("jane"));
        assert!(!ended.includes(&jane, None));
        ended.insert(jane.id, Some("elsewhere".parse().unwrap()), UnixNanos(5));
        assert!(!ended.includes(&jane, Some(UnixNanos(1))), "of another tenant");
        ended.insert(jane.id, None, UnixNanos(5));
        let last = 5 + nanos(LEEWAY);
        for (issued, is_ended) in
            [(None, true), (Some(5), true), (Some(last), true), (Some(last + 1), false)]
        {
            assert_eq!(ended.includes(&jane, issued.map(UnixNanos)), is_ended, "{issued:?}");
        }
        assert!(!ended.includes(&record("john"), Some(UnixNanos(1))));
    }

    #[test]
    fn the_number_of_subjects_is_bounded() {
        let ended = EndedSubjects::default();
        for number in 0..=SUBJECTS_MAX {
            ended.insert(record(&number.to_string()).id, None, UnixNanos(number as u64));
        }
        assert!(!ended.includes(&record("0"), Some(UnixNanos(0))));
        assert!(ended.includes(&record("1"), Some(UnixNanos(0))));
        assert_eq!(ended.0.lock().unwrap().len(), SUBJECTS_MAX);
    }
}
