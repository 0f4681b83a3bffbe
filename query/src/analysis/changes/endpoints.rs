//! The party at fault for calls that take longer than the called service's spans.
//!
//! The called service is charged for the waiting, unless one service explains more. When nearly all
//! edges of a service, in and out, became slower alike, the cause is that service (its network, its
//! processor). The smallest set of services that explains the waiting is chosen greedily.

use std::collections::{BTreeMap, BTreeSet};

use super::roles::Unit;

/// Edges of a service count as alike when each differs from their median by at most this factor.
const ALIKE_FACTOR: f64 = 3.0;
/// Minimum part of a service's calls that use edges that are alike.
const SLOWER_MIN: f64 = 0.75;

/// Additional waiting over an edge.
#[derive(Debug, Clone, Copy)]
pub(super) struct EdgeWait {
    pub unit: Unit,
    /// Number of calls in the window.
    pub calls: f64,
    /// Additional nanoseconds that a call waits; negative when it waits less.
    pub more: f64,
    /// True when chance hardly explains the difference.
    pub is_certain: bool,
}

/// A service or an uninstrumented peer that can be at fault as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Suspect {
    Service(u32),
    /// An endpoint without spans, as an operation of a service calls it.
    Peer {
        from: u32,
        operation: u32,
    },
}

impl Suspect {
    fn service(self) -> Option<u32> {
        match self {
            Self::Service(service) => Some(service),
            Self::Peer { .. } => None,
        }
    }
}

impl Unit {
    /// The party that this unit alone is charged to.
    pub(super) fn party(self) -> Suspect {
        match self {
            Self::Own { service, .. } => Suspect::Service(service),
            Self::Edge { to, .. } => Suspect::Service(to),
            Self::Peer { from, operation } => Suspect::Peer { from, operation },
        }
    }

    fn from(self) -> u32 {
        match self {
            Self::Own { service, .. } => service,
            Self::Edge { from, .. } | Self::Peer { from, .. } => from,
        }
    }
}

/// The party of each edge: its callee, or the service that explains this edge together with others.
/// `own` is the additional time of each service itself.
pub(super) fn owners(waiting: &[EdgeWait], own: &BTreeMap<u32, f64>) -> BTreeMap<Unit, Suspect> {
    let mut of_callees: BTreeMap<Suspect, Vec<usize>> = BTreeMap::new();
    let mut of_services: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (edge, waiting) in waiting.iter().enumerate() {
        let (from, party) = (waiting.unit.from(), waiting.unit.party());
        of_callees.entry(party).or_default().push(edge);
        for service in BTreeSet::from([Some(from), party.service()]).into_iter().flatten() {
            of_services.entry(service).or_default().push(edge);
        }
    }
    of_services.retain(|service, edges| {
        *edges = around(*service, waiting, edges);
        !edges.is_empty()
    });
    let of_services = of_services.into_iter().map(|(of, edges)| (Suspect::Service(of), edges));
    let candidates: Vec<(Suspect, Vec<usize>)> =
        of_callees.into_iter().chain(of_services).collect();
    let mut is_left: Vec<bool> = waiting.iter().map(|edge| edge.more > 0.0).collect();
    let mut owners = BTreeMap::new();
    loop {
        let explained = candidates.iter().filter_map(|(party, edges)| {
            let left = edges.iter().filter(|edge| is_left[**edge]);
            let (count, sum) = left.fold((0_usize, 0.0), |(count, sum), edge| {
                (count + 1, sum + time(&waiting[*edge]))
            });
            let own = party.service().and_then(|service| own.get(&service)).copied();
            (count > 0).then_some((sum + own.unwrap_or_default(), *party, edges))
        });
        let best = explained.max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, party, edges)) = best else { break };
        for edge in edges.iter().filter(|edge| is_left[**edge]) {
            owners.insert(waiting[*edge].unit, party);
        }
        edges.iter().for_each(|edge| is_left[*edge] = false);
    }
    owners
}

/// Returns the edges on both sides of a service that the service explains.
fn around(service: u32, waiting: &[EdgeWait], all: &[usize]) -> Vec<usize> {
    let out: BTreeSet<Suspect> = all
        .iter()
        .filter(|edge| waiting[**edge].unit.from() == service)
        .map(|edge| waiting[*edge].unit.party())
        .collect();
    let calls = |edges: &[usize]| edges.iter().map(|edge| waiting[*edge].calls).sum::<f64>();
    let is_around = !out.is_empty() && (out.len() >= 2 || all.len() > out.len());
    let usual = weighted_median(all.iter().map(|edge| (waiting[*edge].more, waiting[*edge].calls)));
    let is_alike = |edge: &usize| {
        let more = waiting[*edge].more;
        (usual / ALIKE_FACTOR..=usual * ALIKE_FACTOR).contains(&more)
    };
    let alike: Vec<usize> = all.iter().copied().filter(is_alike).collect();
    let is_certain = alike.iter().any(|edge| waiting[*edge].is_certain);
    let enough = calls(&alike) >= SLOWER_MIN * calls(all) && alike.len() >= 2;
    if is_around && usual > 0.0 && is_certain && enough { alike } else { Vec::new() }
}

/// The weighted median: the value that half of the weight does not exceed.
fn weighted_median(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut values: Vec<(f64, f64)> = values.collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut passed = 0.0;
    for (value, weight) in values {
        passed += weight;
        if passed >= half {
            return value;
        }
    }
    0.0
}

fn time(edge: &EdgeWait) -> f64 {
    edge.calls * edge.more
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{EdgeWait, Suspect, Unit, owners};

    fn edge(from: u32, to: u32, calls: f64, more: f64) -> EdgeWait {
        EdgeWait { unit: Unit::Edge { from, to }, calls, more, is_certain: more > 0.1 }
    }

    #[test]
    fn waiting_counts_for_the_callee_that_all_callers_wait_for() {
        let waiting = [
            edge(0, 1, 100.0, 50.0),
            edge(2, 1, 10.0, 60.0),
            edge(0, 3, 100.0, 0.5),
            edge(0, 4, 100.0, 0.4),
        ];
        let owners = owners(&waiting, &BTreeMap::new());
        assert_eq!(owners[&waiting[0].unit], Suspect::Service(1));
        assert_eq!(owners[&waiting[1].unit], Suspect::Service(1));
    }

    #[test]
    fn waiting_on_all_sides_of_a_service_counts_for_it() {
        let waiting = [
            edge(0, 1, 100.0, 50.0),
            edge(1, 2, 100.0, 55.0),
            edge(1, 3, 100.0, 45.0),
            edge(0, 3, 100.0, 0.0),
        ];
        let owners = owners(&waiting, &BTreeMap::new());
        for edge in &waiting[..3] {
            assert_eq!(owners[&edge.unit], Suspect::Service(1), "{edge:?}");
        }
    }
}
