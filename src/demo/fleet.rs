//! Instances of the demo's services, with versions and nodes, and the choice of instances for a
//! transaction.

use super::incident::{AHEAD, Incident, LOSING};

/// Instances of a service.
const INSTANCES: u64 = 3;
/// Instances of payment.
const PAYMENT_INSTANCES: u64 = 4;
const NODES: u64 = 4;

/// The instances that one transaction meets, and the incident at that time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crew {
    seed: u64,
    incident: Option<Incident>,
}

impl Crew {
    /// Chooses instances at random, during this incident.
    pub(crate) fn new(seed: u64, incident: Option<Incident>) -> Self {
        Self { seed, incident }
    }

    /// Returns the incident at this time.
    pub(super) fn incident(&self) -> Option<Incident> {
        self.incident
    }

    /// Returns the number of the instance, from 1 on.
    pub(super) fn instance(&self, service: &str) -> u64 {
        let count = if service == "payment" { PAYMENT_INSTANCES } else { INSTANCES };
        let mut mixed = self.seed ^ number(service).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 29)) % count + 1
    }

    /// Returns the node that the instance runs on.
    pub(super) fn node(&self, service: &str) -> String {
        format!("node-{}", (number(service) + self.instance(service)) % NODES + 1)
    }

    /// Reports whether the instance runs a version that came with the incident.
    pub(super) fn runs_new_version(&self, service: &str) -> bool {
        match self.incident {
            Some(Incident::FailingVersion) => {
                service == "payment" && self.instance(service) <= PAYMENT_INSTANCES / 2
            }
            Some(Incident::NPlusOne) => service == "catalog",
            _ => false,
        }
    }

    /// Returns the version. In each third service, one instance always has a newer version.
    pub(super) fn version(&self, service: &str) -> String {
        match (service, self.runs_new_version(service)) {
            ("payment", true) => return "2.14.0".to_owned(),
            ("payment", false) => return "2.13.4".to_owned(),
            ("catalog", true) => return "3.2.0".to_owned(),
            ("catalog", false) => return "3.1.5".to_owned(),
            _ => {}
        }
        let number = number(service);
        let is_ahead = number.is_multiple_of(3) && self.instance(service) == INSTANCES;
        format!("2.{}.{}", number % 17, u64::from(is_ahead))
    }

    /// Returns the nanoseconds by which the clock of a service is ahead.
    pub(super) fn ahead(&self, service: &str) -> u64 {
        let is_skewed = self.incident == Some(Incident::ClockSkew) && service == AHEAD.0;
        if is_skewed { AHEAD.1 } else { 0 }
    }

    /// Reports whether the spans of a service are lost.
    pub(super) fn loses(&self, service: &str) -> bool {
        let is_losing = self.incident == Some(Incident::LostSpans) && service == LOSING;
        is_losing && self.instance(service) < INSTANCES
    }
}

/// Returns a number that is constant for a service.
fn number(service: &str) -> u64 {
    service.bytes().map(u64::from).sum()
}
