//! Sentences of a report: the subject that changed by itself, its change, and the causes.

use tidings_proto::{
    OffsetNanos, UnixNanos,
    api::{
        Cause, Change, ChangeKind, ChangeSentence, ChangedGroup, Culprit, CulpritRanking,
        ServiceClock, Subject, SubjectKind,
    },
};

use super::{
    changed_groups::change, endpoints::Suspect, is_changed, reasons::is_outcome, report::Findings,
    statistics::float,
};

/// Maximum number of causes in a sentence.
const CAUSES_MAX: usize = 3;
/// Minimum score of a culprit in the headline when no group changed as a whole.
const SURE_SCORE: f64 = 0.05;
/// Maximum p-value of such a culprit.
const SURE_P_VALUE: f64 = 1e-4;
/// A culprit is not named when the p-value of its change is at least this. A few calls of one order
/// among hundreds of sampled traces are not significant, and others may still wait for them.
const LIKELY_P_VALUE: f64 = 0.5;
/// Minimum part of the best party's score with which a party is named as the cause.
const SHARE_MIN: f64 = 0.25;

/// Sets the sentence of each changed group.
pub(super) fn set_sentences(
    findings: &Findings<'_>,
    culprits: &CulpritRanking,
    transactions: &mut [ChangedGroup],
    services: &mut [ChangedGroup],
) {
    for group in transactions.iter_mut().filter(|group| is_changed(group)) {
        let operation = group.operation.as_deref().unwrap_or_default();
        let number = findings.types.number(&group.service, operation);
        // A type with fewer calls, for instance, has parties that changed only by chance.
        let cause = number.and_then(|root| of_transaction(findings, culprits, root));
        let cause = cause.filter(|cause| {
            let is_certain = cause.change.p_value < SURE_P_VALUE;
            let mut changes = group.changes.iter();
            let is_followed = changes.any(|felt| leads_to(cause.change.kind, felt));
            is_significant(&cause.change) && (is_certain || is_followed)
        });
        let is_worse = group.changes.first().is_some_and(|change| change.is_worse);
        group.only_feels =
            is_worse && cause.as_ref().is_some_and(|cause| cause.subject.service != group.service);
        group.sentence = cause.filter(|_| is_worse).or_else(|| own(group));
    }
    let best = culprits.services.first().map_or(0.0, |culprit| culprit.score);
    let at_fault = |group: &ChangedGroup| {
        let mut culprits = culprits.services.iter().filter(|culprit| is_likely(culprit));
        culprits.find(|culprit| {
            is_about(&culprit.subject, group) && culprit.score >= best * SHARE_MIN && best > 0.0
        })
    };
    let first = culprits.services.first().filter(|culprit| is_likely(culprit));
    let first_fails = first.is_some_and(|culprit| fails_more(culprit, services));
    for group in services.iter_mut().filter(|group| is_changed(group)) {
        let heaviest = group.changes.first();
        let is_worse = heaviest.is_some_and(|change| change.is_worse);
        let is_thrown = heaviest.is_some_and(|change| change.kind == ChangeKind::NewException);
        let own_fault = at_fault(group);
        // An exception that is only new here does not come from a service that fails as usual.
        let is_felt = is_worse && own_fault.is_none() && (first_fails || !is_thrown);
        let other = first.filter(|first| {
            let is_followed = heaviest.is_some_and(|felt| leads_to(first.change.kind, felt));
            is_felt && (is_followed || is_sure(first))
        });
        group.only_feels = other.is_some();
        group.sentence = match own_fault.or(other) {
            Some(culprit) if is_worse => Some(ChangeSentence {
                explained_share: other.map(|_| culprit.explained_share),
                ..of_culprit(culprits, culprit)
            }),
            _ => own(group),
        };
    }
}

/// Sets the sentence of each changed group to its own change. Used when no culprits were searched.
pub(super) fn set_own_sentences(transactions: &mut [ChangedGroup], services: &mut [ChangedGroup]) {
    let groups = transactions.iter_mut().chain(services);
    for group in groups.filter(|group| is_changed(group)) {
        group.sentence = own(group);
    }
}

/// The headline of the page.
pub(super) fn headline(
    culprits: &CulpritRanking,
    transactions: &[ChangedGroup],
    services: &[ChangedGroup],
) -> Option<ChangeSentence> {
    let groups = || transactions.iter().chain(services);
    let first = groups().find(|group| is_changed(group));
    let culprit = culprits.services.first().filter(|culprit| {
        let mut changes = groups().flat_map(|group| &group.changes);
        let is_followed = changes.any(|felt| leads_to(culprit.change.kind, felt));
        culprit.change.is_worse && is_likely(culprit) && (is_followed || is_sure(culprit))
    });
    match culprit {
        Some(culprit) => Some(of_culprit(culprits, culprit)),
        None => first.and_then(|group| group.sentence.clone()),
    }
}

/// Gives the same change to all sentences about the same subject and aspect: that of the headline,
/// else that of the likely culprit, else that of the first group. A subject is measured by itself,
/// in one transaction type or in many, and a report states one of these numbers.
pub(super) fn agree(
    mut headline: Option<&mut ChangeSentence>,
    culprits: &mut CulpritRanking,
    transactions: &mut [ChangedGroup],
    services: &mut [ChangedGroup],
) {
    if let Some(headline) = headline.as_deref_mut() {
        state_all_calls(headline, culprits, services);
    }
    let likely = culprits.services.iter().filter(|culprit| is_likely(culprit));
    let likely = likely.map(|culprit| (culprit.subject.clone(), culprit.change.clone()));
    let headline = headline.map(|headline| (headline.subject.clone(), headline.change.clone()));
    let mut stated: Vec<(Subject, Change)> = headline.into_iter().chain(likely).collect();
    let groups = transactions.iter_mut().chain(services);
    for sentence in groups.filter_map(|group| group.sentence.as_mut()) {
        let is_same = |(subject, change): &&(Subject, Change)| {
            is_same_subject(subject, &sentence.subject)
                && change.kind == sentence.change.kind
                && change.is_worse == sentence.change.is_worse
        };
        match stated.iter().find(is_same) {
            Some((_, change)) => sentence.change = change.clone(),
            None => stated.push((sentence.subject.clone(), sentence.change.clone())),
        }
    }
}

/// Sets the change of a headline about an endpoint, and of the culprit that it is, to the change of
/// all calls of the endpoint, which its group states. Culprits are found in sampled traces.
fn state_all_calls(
    headline: &mut ChangeSentence,
    culprits: &mut CulpritRanking,
    services: &[ChangedGroup],
) {
    let mut own = services.iter().filter(|group| is_about(&headline.subject, group));
    let Some(group) = own.next().filter(|group| group.uninstrumented) else { return };
    let stated = headline.change.clone();
    let is_alike = |change: &Change| {
        change.kind == ChangeKind::Latency
            && (change.kind, change.quantile, change.is_worse)
                == (stated.kind, stated.quantile, stated.is_worse)
    };
    let has_begin =
        |change: &Change| change.since_unix_nano.is_some() || stated.since_unix_nano.is_none();
    let mut changes = group.changes.iter();
    let Some(change) = changes.find(|change| is_alike(change) && has_begin(change)) else { return };
    headline.change = Change { worse_quantiles: Vec::new(), ..change.clone() };
    for culprit in &mut culprits.services {
        if is_same_subject(&culprit.subject, &headline.subject) && is_alike(&culprit.change) {
            culprit.change = headline.change.clone();
        }
    }
}

/// Reports whether two subjects have the same name. The operations that call an endpoint are not
/// part of its name.
fn is_same_subject(one: &Subject, other: &Subject) -> bool {
    match (&one.peer, &other.peer) {
        (None, None) => (&one.service, &one.operation) == (&other.service, &other.operation),
        (one, other) => one == other,
    }
}

/// Reports whether failures of a culprit came or grew, so that others may throw for them.
fn fails_more(culprit: &Culprit, services: &[ChangedGroup]) -> bool {
    let fails = |change: &Change| {
        change.is_worse && matches!(change.kind, ChangeKind::Errors | ChangeKind::NewException)
    };
    let mut groups = services.iter().filter(|group| is_about(&culprit.subject, group));
    fails(&culprit.change) || groups.any(|group| group.changes.iter().any(fails))
}

/// Reports whether a culprit may be named although no group changed as its change would let them.
fn is_sure(culprit: &Culprit) -> bool {
    culprit.score >= SURE_SCORE && culprit.change.p_value < SURE_P_VALUE
}

/// Reports whether a culprit's change of this kind can lead to this change of a group. Among many
/// units one is always a little slower, and no service falls silent because of it.
fn leads_to(kind: ChangeKind, felt: &Change) -> bool {
    match (kind, felt.kind) {
        (ChangeKind::Latency, ChangeKind::Latency | ChangeKind::Errors)
        | (
            ChangeKind::Errors,
            ChangeKind::Latency
            | ChangeKind::Errors
            | ChangeKind::NewException
            | ChangeKind::NewLogPattern,
        ) => felt.is_worse,
        (ChangeKind::Latency | ChangeKind::Errors, _) => false,
        // Other calls than before, or lost ones, change all that is counted.
        _ => true,
    }
}

/// Reports whether chance is an unlikely explanation of a culprit's change.
fn is_likely(culprit: &Culprit) -> bool {
    is_significant(&culprit.change)
}

fn is_significant(change: &Change) -> bool {
    change.p_value < LIKELY_P_VALUE
}

/// The sentence of a culprit.
fn of_culprit(culprits: &CulpritRanking, culprit: &Culprit) -> ChangeSentence {
    ChangeSentence {
        subject: culprit.subject.clone(),
        change: culprit.change.clone(),
        with: causes(culprits, &culprit.subject),
        explained_share: Some(culprit.explained_share),
    }
}

/// The sentence of a clock when nothing else changed.
pub(super) fn of_clock(clock: &ServiceClock, since: Option<UnixNanos>) -> Option<ChangeSentence> {
    let nanos = |offset: OffsetNanos| -> f64 {
        let size = float(offset.0.unsigned_abs());
        if offset.0 < 0 { -size } else { size }
    };
    let (before, now) = (nanos(clock.before_nano), nanos(clock.offset_nano));
    let mut change = change(ChangeKind::ClockSkew, before, now, true);
    (change.factor, change.since_unix_nano) = (None, since);
    change.p_value = 0.0;
    let subject = Subject {
        kind: SubjectKind::Service,
        service: clock.service.clone(),
        operation: None,
        peer: None,
    };
    Some(ChangeSentence { subject, change, with: Vec::new(), explained_share: None })
}

fn of_transaction(
    findings: &Findings<'_>,
    culprits: &CulpritRanking,
    root: u32,
) -> Option<ChangeSentence> {
    let (party, _) = *findings.attribution.parties(Some(root)).first()?;
    let part = findings.best_part(party, Some(root))?;
    let mut subject = findings.subject(party);
    if matches!(party, Suspect::Service(_)) {
        subject.operation = None;
    }
    let with = causes(culprits, &subject);
    let change = findings.change_of(part, root);
    Some(ChangeSentence { subject, change, with, explained_share: Some(part.explained) })
}

/// The sentence of a group that is its own subject.
fn own(group: &ChangedGroup) -> Option<ChangeSentence> {
    let change = group.changes.first()?.clone();
    let subject = if group.uninstrumented {
        Subject {
            kind: SubjectKind::Peer,
            service: String::new(),
            operation: None,
            peer: Some(group.service.clone()),
        }
    } else {
        let operation = group.operation.clone();
        let kind = if operation.is_some() { SubjectKind::Operation } else { SubjectKind::Service };
        Subject { kind, service: group.service.clone(), operation, peer: None }
    };
    Some(ChangeSentence { subject, change, with: Vec::new(), explained_share: None })
}

fn is_about(subject: &Subject, group: &ChangedGroup) -> bool {
    match &subject.peer {
        Some(peer) => group.uninstrumented && *peer == group.service,
        None => !group.uninstrumented && subject.service == group.service,
    }
}

/// Causes that appear together with the change of a subject.
fn causes(culprits: &CulpritRanking, subject: &Subject) -> Vec<Cause> {
    let reasons = culprits.reasons.iter().filter(|reason| {
        // The outcome of a call describes its change and is not a cause.
        let key = reason.cause.attribute.as_ref().map(|attribute| attribute.key.as_str());
        reason.subject.service == subject.service
            && reason.subject.peer == subject.peer
            && !key.is_some_and(is_outcome)
    });
    reasons.take(CAUSES_MAX).map(|reason| reason.cause.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::api::{
        Change, ChangeKind, ChangedGroup, Culprit, CulpritRanking, OwnStats, Subject, SubjectKind,
    };

    use super::{change, headline};

    /// The report's ranking with one culprit, and a service that changed by itself.
    fn named(kind: ChangeKind, p_value: f64, score: f64, felt: Change) -> Option<String> {
        let subject = |service: &str| Subject {
            kind: SubjectKind::Service,
            service: service.to_owned(),
            operation: None,
            peer: None,
        };
        let culprit = Culprit {
            subject: subject("payments"),
            change: Change { p_value, ..change(kind, 1.0, 2.0, true) },
            score,
            explained_share: 1.0,
            now: OwnStats::default(),
            before: OwnStats::default(),
            transactions: Vec::new(),
            trace_ids: Vec::new(),
        };
        let stats = json!({
            "count": 1, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0, "p50Nano": "1",
            "p95Nano": "1",
        });
        let mut group: ChangedGroup = serde_json::from_value(json!({
            "service": "notifier", "uninstrumented": false, "now": stats, "before": stats,
            "steps": [], "baselineSteps": [], "changes": [], "score": 0.7,
        }))
        .unwrap();
        group.changes = vec![felt];
        group.sentence = super::own(&group);
        let culprits = CulpritRanking { services: vec![culprit], ..CulpritRanking::default() };
        headline(&culprits, &[], &[group]).map(|headline| headline.subject.service)
    }

    #[test]
    fn a_culprit_is_named_only_for_a_change_that_it_can_lead_to() {
        let silent = || change(ChangeKind::Missing, 0.1, 0.0, true);
        let slower = || change(ChangeKind::Latency, 1.0, 3.0, true);
        let busier = || change(ChangeKind::Throughput, 1.0, 7.0, false);
        let name = |found: Option<String>| found.unwrap();
        // A consumer is stuck, and another service is slower by chance.
        assert_eq!(name(named(ChangeKind::Latency, 0.4, 0.0005, silent())), "notifier");
        assert_eq!(name(named(ChangeKind::Errors, 0.4, 0.0005, silent())), "notifier");
        assert_eq!(name(named(ChangeKind::Latency, 0.4, 0.0005, slower())), "payments");
        assert_eq!(name(named(ChangeKind::Latency, 1e-9, 0.3, silent())), "payments", "it is sure");
        // One order has hundreds of lines, and their database is only asked more often.
        assert_eq!(name(named(ChangeKind::Repeats, 0.01, 0.002, busier())), "payments");
        assert_eq!(name(named(ChangeKind::Latency, 0.4, 0.0005, busier())), "notifier");
    }
}
