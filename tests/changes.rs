//! Tests `/api/v1/changes` on seeded incidents: the culprit, the time of onset, and the correlated
//! attribute values.

use serde_json::Value as Json;
use tidings_proto::api::{BaselineState, ChangeKind, ChangeReport, SubjectKind};

use crate::harness::Server;

/// An incident of the demo and the expected answers.
struct Incident {
    name: &'static str,
    /// Services and endpoints that may be ranked first; empty where none is at fault.
    culprits: &'static [&'static str],
    /// Key and value of an attribute that is correlated with the incident.
    reason: Option<(&'static str, &'static str)>,
}

const INCIDENTS: [Incident; 10] = [
    Incident { name: "slow-dependency", culprits: &["northpay"], reason: None },
    Incident {
        name: "n-plus-one",
        culprits: &["catalog"],
        reason: Some(("service.version", "3.2.0")),
    },
    Incident { name: "retry-storm", culprits: &["fraud"], reason: None },
    Incident {
        name: "failing-version",
        culprits: &["payment"],
        reason: Some(("service.version", "2.14.0")),
    },
    Incident { name: "queue-backlog", culprits: &["mailer"], reason: None },
    Incident { name: "clock-skew", culprits: &[], reason: None },
    Incident { name: "lost-spans", culprits: &["cart"], reason: None },
    Incident { name: "noisy-neighbour", culprits: &[], reason: Some(("host.name", "node-3")) },
    Incident { name: "cache-stampede", culprits: &["catalog", "catalog-db"], reason: None },
    Incident {
        name: "one-customers-order",
        culprits: &["orders"],
        reason: Some(("customer.id", "c-1042")),
    },
];

/// Starts a server and sends the demo's telemetry with this incident.
fn struck_by(name: &str) -> Server {
    let server = Server::start();
    server.send_incident(name);
    server
}

fn report(server: &Server, query: &str) -> ChangeReport {
    let (status, json) = server.get(&format!("/api/v1/changes{query}"));
    assert_eq!(status, 200, "{json}");
    serde_json::from_value(json).unwrap()
}

/// Returns the names of the culprits: the endpoint's, or else the service's.
fn names(report: &ChangeReport) -> Vec<&str> {
    let subjects = report.culprits.services.iter().map(|culprit| &culprit.subject);
    subjects.map(|subject| subject.peer.as_deref().unwrap_or(&subject.service)).collect()
}

#[test]
fn incidents_of_the_demo_are_traced_to_their_culprit() {
    let mut named = Vec::new();
    for Incident { name, culprits, reason } in INCIDENTS {
        let server = struck_by(name);
        let report = report(&server, "?explain=true");
        assert_eq!(report.baseline.state, BaselineState::Full, "{name}");
        let found = names(&report);
        let rank = found.iter().position(|found| culprits.contains(found)).map(|place| place + 1);
        println!("{name}: rank {rank:?} of {culprits:?} in {found:?}");
        if !culprits.is_empty() {
            assert!(rank.is_some_and(|rank| rank <= 3), "{name}: {found:?}");
            named.push(rank == Some(1));
        }
        if let Some((key, value)) = reason {
            let is_it = |reason: &&tidings_proto::api::Reason| {
                let others = reason.together.iter().map(|other| (&other.attribute, &other.value));
                let own = (reason.cause.attribute.as_ref().unwrap(), &reason.cause.value);
                std::iter::once(own).chain(others).any(|(attribute, found)| {
                    attribute.key == key && found.as_deref() == Some(value)
                })
            };
            let reasons = &report.culprits.reasons;
            assert!(reasons.iter().any(|reason| is_it(&reason)), "{name}: {reasons:?}");
        }
        // A consequence of a failure must not be named as its cause.
        let causes = report.headline.iter().flat_map(|headline| &headline.with);
        for attribute in causes.filter_map(|cause| cause.attribute.as_ref()) {
            let outcomes = ["status", "error", "retry", "resend"];
            let is_outcome = outcomes.iter().any(|part| attribute.key.contains(part));
            assert!(!is_outcome, "{name}: {attribute:?}");
        }
        for culprit in report.culprits.services.iter().take(1) {
            assert!(!culprit.trace_ids.is_empty(), "{name}: no example");
            for id in &culprit.trace_ids {
                assert_eq!(server.get(&format!("/api/v1/traces/{id}")).0, 200, "{name} {id}");
            }
        }
    }
    let first = named.iter().filter(|first| **first).count();
    assert!(first >= 8, "first in {first} of {}", named.len());
}

#[test]
fn clock_skew_is_reported_and_not_taken_for_slowness() {
    let server = struck_by("clock-skew");
    let report = report(&server, "");
    let clock = &report.clocks[0];
    assert_eq!((clock.service.as_str(), clock.compared_with.as_str()), ("fraud", "payment"));
    let ahead = clock.offset_nano.0;
    assert!((1_400_000_000..1_600_000_000).contains(&ahead), "{ahead}");
    let headline = report.headline.as_ref().unwrap();
    assert_eq!(headline.change.kind, ChangeKind::ClockSkew, "{headline:?}");
    assert_eq!(headline.subject.service, "fraud");
}

#[test]
fn the_headline_says_what_changed_since_when_and_by_how_much() {
    let server = struck_by("slow-dependency");
    let report = report(&server, "");
    let headline = report.headline.as_ref().unwrap();
    assert_eq!(headline.subject.kind, SubjectKind::Peer);
    assert_eq!(headline.subject.peer.as_deref(), Some("northpay"));
    assert_eq!(headline.change.kind, ChangeKind::Latency);
    let factor = headline.change.factor.unwrap();
    assert!((3.0..5.0).contains(&factor), "{factor}");
    // The demo's incidents begin ten minutes before its end.
    let since = headline.change.since_unix_nano.unwrap();
    let age = report.window.end_unix_nano.since(since).0 / 1_000_000_000;
    assert!((540..=660).contains(&age), "{age} s");
    let checkout = report.transactions.iter();
    let checkout = checkout.filter(|group| group.operation.as_deref() == Some("POST /checkout"));
    let checkout = checkout.collect::<Vec<_>>()[0];
    assert!(checkout.only_feels && !checkout.changes.is_empty(), "{checkout:?}");
    assert_eq!(checkout.sentence.as_ref().unwrap().subject.peer.as_deref(), Some("northpay"));
    let groups = report.transactions.iter().chain(&report.services);
    let sentences = groups.filter_map(|group| group.sentence.as_ref());
    let alike = sentences.filter(|sentence| {
        sentence.subject.peer == headline.subject.peer
            && sentence.change.kind == ChangeKind::Latency
            && sentence.change.is_worse
    });
    // Every page states one factor of the incident.
    alike.for_each(|sentence| assert_eq!(sentence.change, headline.change));
    assert!(!checkout.steps.is_empty() && !checkout.baseline_steps.is_empty());
    let unchanged = report.transactions.iter().filter(|group| group.changes.is_empty()).count();
    assert!(unchanged >= 3, "{:?}", report.transactions);
}

#[test]
fn baseline_without_traffic_is_reported_as_empty() {
    let server = struck_by("failing-version");
    let all = report(&server, "");
    let [start, end] = [all.window.start_unix_nano.0, all.window.end_unix_nano.0];
    let week = report(&server, &format!("?start={start}&end={end}&baseline=week"));
    assert_eq!(week.baseline.state, BaselineState::Empty);
    assert!(week.culprits.services.is_empty() && week.headline.is_none(), "{week:?}");
    assert!(week.transactions.iter().all(|group| group.changes.is_empty()));
    let given = format!(
        "?start={start}&end={end}&baselineStart={}&baselineEnd={start}",
        start - (end - start)
    );
    let given = report(&server, &given);
    // Traces that were still arriving at the first query may be part of the second answer.
    assert_eq!(names(&given)[0], names(&all)[0]);
    assert_eq!(given.deployments.len(), 1, "{:?}", given.deployments);
    let deployment = &given.deployments[0];
    assert_eq!((deployment.service.as_str(), deployment.version.as_str()), ("payment", "2.14.0"));
    assert_eq!(deployment.previous_version.as_deref(), Some("2.13.4"));
    assert_eq!((deployment.instance_count, deployment.service_instance_count), (2, 4));
    let payment = given.services.iter().find(|group| group.service == "payment").unwrap();
    assert_eq!(payment.versions, ["2.14.0", "2.13.4"]);
    assert_eq!(payment.instance_count, Some(4));
}

#[test]
fn a_wrong_baseline_is_refused_by_name() {
    let server = Server::start();
    let refused = |query: &str| -> Json {
        let (status, json) = server.get(&format!("/api/v1/changes?{query}"));
        assert_eq!(status, 400, "{query}: {json}");
        json
    };
    for (query, name) in [
        ("baselineStart=5", "baselineEnd"),
        ("baselineEnd=5", "baselineStart"),
        ("baselineStart=5&baselineEnd=5", "baselineEnd"),
        ("baseline=day&baselineStart=5&baselineEnd=6", "baseline"),
        ("baseline=month", "baseline"),
        ("start=0&end=5", "start"),
        ("explain=yes", "explain"),
    ] {
        let problem = refused(query);
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{name}`")), "{problem}");
    }
    // A window that ends at the first moment leaves no time for a start.
    assert_eq!(refused("end=0")["parameter"], "start");
    // The API answers even when nothing is stored.
    let report = report(&server, "");
    assert_eq!(report.baseline.state, BaselineState::Empty);
}
