//! Folding of frequent events: equal ones are counted and written as one line.
//!
//! The first event of a kind is written in the next round, later ones once a minute with their
//! count. The number of kinds of one author has a limit, and so has the number of authors. Events
//! above the limit of kinds are folded into one kind of that author, without address and object.
//! Events above the limit of authors are folded into one kind without author. So a flood fills
//! neither memory nor disk. Callers without a key count as one author, so their flood hides no
//! events of a caller with a key.

use std::collections::HashMap;

use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditEvent, AuditOutcome},
};

/// Maximum number of kinds of one author that are waiting.
const KINDS_MAX: usize = 256;
/// Maximum number of authors whose kinds are kept apart.
const AUTHORS_MAX: usize = 256;
/// Time over which equal events are folded into one line.
const FOLD_NANOS: u64 = 60 * 1_000_000_000;

/// The fields in which equal events of one author agree: all but time, details and count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct EventKind {
    action: String,
    outcome: AuditOutcome,
    tenant: Option<String>,
    source_address: Option<String>,
    object: Option<String>,
    status: Option<u16>,
}

#[derive(Debug)]
struct FoldedKind {
    /// The last event that is not written yet, with the count of all of them; `None` when all are
    /// written.
    last: Option<AuditEvent>,
    /// The time from which it may be written.
    due: UnixNanos,
}

/// Events that wait to be written, by their authors.
#[derive(Debug, Default)]
pub(crate) struct FoldedEvents {
    authors: HashMap<AuditActor, HashMap<EventKind, FoldedKind>>,
}

impl FoldedEvents {
    /// Adds an event.
    pub(crate) fn add(&mut self, mut event: AuditEvent) {
        if !self.authors.contains_key(&event.actor) && self.authors.len() >= AUTHORS_MAX {
            event = without_author(event, format!("of more than {AUTHORS_MAX} authors"));
        }
        let kinds = self.authors.entry(event.actor.clone()).or_default();
        let mut kind = kind_of(&event);
        if !kinds.contains_key(&kind) && kinds.len() >= KINDS_MAX {
            let detail = format!("of more than {KINDS_MAX} addresses and objects");
            event = without_object(event, detail);
            kind = kind_of(&event);
        }
        let due = UnixNanos(0);
        let folded = kinds.entry(kind).or_insert(FoldedKind { last: None, due });
        event.count += folded.last.as_ref().map_or(0, |before| before.count);
        folded.last = Some(event);
    }

    /// Removes and returns the events that are due, oldest first. `is_end` returns all of them, for
    /// the end of the process.
    pub(crate) fn take_due(&mut self, now: UnixNanos, is_end: bool) -> Vec<AuditEvent> {
        let mut taken = Vec::new();
        self.authors.retain(|_, kinds| {
            kinds.retain(|_, folded| {
                if folded.due > now && !is_end {
                    return true;
                }
                folded.due = UnixNanos(now.0.saturating_add(FOLD_NANOS));
                let event = folded.last.take();
                let is_in_use = event.is_some();
                taken.extend(event);
                is_in_use
            });
            !kinds.is_empty()
        });
        taken.sort_by_key(|event| event.time_unix_nano);
        taken
    }
}

/// Removes address and object from an event, so that others of its author equal it.
pub(crate) fn without_object(event: AuditEvent, detail: String) -> AuditEvent {
    AuditEvent { source_address: None, object: None, status: None, detail: Some(detail), ..event }
}

/// Removes everything but action, outcome, time and count from an event.
fn without_author(event: AuditEvent, detail: String) -> AuditEvent {
    AuditEvent { actor: AuditActor::ANONYMOUS, tenant: None, ..without_object(event, detail) }
}

fn kind_of(event: &AuditEvent) -> EventKind {
    EventKind {
        action: event.action.clone(),
        outcome: event.outcome,
        tenant: event.tenant.clone(),
        source_address: event.source_address.clone(),
        object: event.object.clone(),
        status: event.status,
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        UnixNanos,
        api::{AuditActor, AuditActorKind, AuditEvent, AuditOutcome},
    };

    use super::{AUTHORS_MAX, FOLD_NANOS, FoldedEvents, KINDS_MAX};

    fn denied(address: usize, time: u64) -> AuditEvent {
        AuditEvent {
            time_unix_nano: UnixNanos(time),
            action: "access".to_owned(),
            outcome: AuditOutcome::Denied,
            actor: AuditActor::ANONYMOUS,
            tenant: None,
            source_address: Some(format!("host-{address}")),
            object: None,
            status: Some(401),
            detail: Some(format!("at {time}")),
            count: 1,
        }
    }

    fn counts(events: &[AuditEvent]) -> Vec<(u64, u64)> {
        events.iter().map(|event| (event.time_unix_nano.0, event.count)).collect()
    }

    #[test]
    fn equal_events_are_one_a_minute_with_their_count() {
        let mut folded = FoldedEvents::default();
        folded.add(denied(1, 10));
        assert_eq!(counts(&folded.take_due(UnixNanos(10), false)), [(10, 1)]);
        for time in 20..1_020 {
            folded.add(denied(1, time));
        }
        folded.add(denied(2, 30));
        assert_eq!(counts(&folded.take_due(UnixNanos(1_020), false)), [(30, 1)]);
        let later = UnixNanos(10 + FOLD_NANOS);
        assert_eq!(counts(&folded.take_due(later, false)), [(1_019, 1_000)]);
        let long_after = UnixNanos(later.0 + FOLD_NANOS);
        assert_eq!(folded.take_due(long_after, false), []);
        assert!(folded.authors.is_empty());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_all_of_it_is_counted() {
        let mut folded = FoldedEvents::default();
        for address in 0..100_000 {
            folded.add(denied(address, 5));
        }
        assert_eq!(folded.authors[&AuditActor::ANONYMOUS].len(), KINDS_MAX + 1);
        let taken = folded.take_due(UnixNanos(5), false);
        assert_eq!(taken.iter().map(|event| event.count).sum::<u64>(), 100_000);
        assert!(taken.iter().any(|event| event.source_address.is_none() && event.count > 1));
    }

    fn of_key(id: usize, event: AuditEvent) -> AuditEvent {
        let actor = AuditActor {
            kind: AuditActorKind::Key,
            id: Some(format!("{id:08}")),
            name: Some("reader".to_owned()),
        };
        AuditEvent { actor, ..event }
    }

    #[test]
    fn a_flood_of_one_author_leaves_the_events_of_another_as_they_are() {
        let mut folded = FoldedEvents::default();
        for address in 0..10_000 {
            folded.add(denied(address, 5));
            folded.add(of_key(1, denied(address, 5)));
        }
        let other = of_key(2, denied(3, 6));
        folded.add(other.clone());
        let taken = folded.take_due(UnixNanos(6), false);
        assert!(taken.contains(&other));
        let more = taken.iter().filter(|event| event.source_address.is_none());
        let authors: Vec<_> = more.map(|event| event.actor.id.as_deref()).collect();
        assert!(authors.len() == 2 && authors.contains(&Some("00000001")), "{authors:?}");
    }

    #[test]
    fn a_flood_of_authors_is_bounded_and_all_of_it_is_counted() {
        let mut folded = FoldedEvents::default();
        for id in 0..10_000 {
            folded.add(of_key(id, denied(1, 5)));
        }
        assert_eq!(folded.authors.len(), AUTHORS_MAX + 1);
        let taken = folded.take_due(UnixNanos(5), false);
        assert_eq!(taken.iter().map(|event| event.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn the_end_of_the_process_writes_what_waits() {
        let mut folded = FoldedEvents::default();
        folded.add(denied(1, 10));
        folded.take_due(UnixNanos(10), false);
        folded.add(denied(1, 11));
        assert_eq!(folded.take_due(UnixNanos(11), false), []);
        assert_eq!(counts(&folded.take_due(UnixNanos(11), true)), [(11, 1)]);
    }
}
