//! Events that may come by the thousand: equal ones are counted and written as one.
//!
//! The first event of a kind is written with the next round, later ones once a minute with their
//! count. The number of kinds has a limit. Events beyond it count as one kind without author and
//! address, so a flood fills neither memory nor disk.

use std::collections::HashMap;

use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditEvent, AuditOutcome},
};

/// Maximum number of kinds at a time.
const KINDS_MAX: usize = 512;
/// Time in which equal events become one line.
const FOLD_NANOS: u64 = 60 * 1_000_000_000;

/// Equality of events: all but time, details and count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct EventKind {
    action: String,
    outcome: AuditOutcome,
    actor: AuditActor,
    tenant: Option<String>,
    source_address: Option<String>,
    object: Option<String>,
    status: Option<u16>,
}

#[derive(Debug)]
struct Folded {
    /// The last of those that are not written yet.
    last: Option<AuditEvent>,
    /// The time from which it may be written.
    due: UnixNanos,
}

/// Events that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct FoldedEvents {
    kinds: HashMap<EventKind, Folded>,
}

impl FoldedEvents {
    /// Adds an event.
    pub(crate) fn add(&mut self, event: AuditEvent) {
        let mut kind = kind_of(&event);
        let mut event = event;
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= KINDS_MAX {
            let detail = format!("of more than {KINDS_MAX} authors, addresses and objects");
            event = without_author(event, detail);
            kind = kind_of(&event);
        }
        let due = UnixNanos(0);
        let folded = self.kinds.entry(kind).or_insert(Folded { last: None, due });
        event.count += folded.last.as_ref().map_or(0, |before| before.count);
        folded.last = Some(event);
    }

    /// Takes the events that are due, the oldest first; at the end of the process all of them.
    pub(crate) fn take_due(&mut self, now: UnixNanos, is_end: bool) -> Vec<AuditEvent> {
        let mut taken = Vec::new();
        self.kinds.retain(|_, folded| {
            if folded.due > now && !is_end {
                return true;
            }
            folded.due = UnixNanos(now.0.saturating_add(FOLD_NANOS));
            let event = folded.last.take();
            let is_in_use = event.is_some();
            taken.extend(event);
            is_in_use
        });
        taken.sort_by_key(|event| event.time_unix_nano);
        taken
    }
}

/// Keeps of an event what it has in common with others: action, outcome, time and count.
pub(crate) fn without_author(event: AuditEvent, detail: String) -> AuditEvent {
    AuditEvent {
        actor: AuditActor::ANONYMOUS,
        tenant: None,
        source_address: None,
        object: None,
        status: None,
        detail: Some(detail),
        ..event
    }
}

fn kind_of(event: &AuditEvent) -> EventKind {
    EventKind {
        action: event.action.clone(),
        outcome: event.outcome,
        actor: event.actor.clone(),
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
        api::{AuditActor, AuditEvent, AuditOutcome},
    };

    use super::{FOLD_NANOS, FoldedEvents, KINDS_MAX};

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
        assert!(folded.kinds.is_empty());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_all_of_it_is_counted() {
        let mut folded = FoldedEvents::default();
        for address in 0..100_000 {
            folded.add(denied(address, 5));
        }
        assert_eq!(folded.kinds.len(), KINDS_MAX + 1);
        let taken = folded.take_due(UnixNanos(5), false);
        assert_eq!(taken.iter().map(|event| event.count).sum::<u64>(), 100_000);
        assert!(taken.iter().any(|event| event.source_address.is_none() && event.count > 1));
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
