//! Clock offsets between the hosts of a trace.
//!
//! Owns an estimate and the correction for each span's times. Changes no span itself.
//!
//! - **Evidence** is a call from one host to another whose caller waited for it. Messages are
//!   excluded, and so are children that took longer than their parent. Between a CLIENT and a
//!   SERVER any such call counts. Between other kinds a child that starts in its parent's time and
//!   outlives it may run on by design, so it is excluded too.
//! - **One call** bounds the offset: added to the child's times it must bring the child between its
//!   parent's start and end. The interval is as wide as the time spent on the network.
//! - **All calls between two hosts**, either way: the offset is the middle of the interval in which
//!   most calls agree ([Marzullo's algorithm](https://doi.org/10.1145/1041673.1041679), as in NTP).
//!   Half its width is the uncertainty. An interval that contains 0 gives offset 0. Without a
//!   majority of agreeing calls there is no estimate.
//! - **Between hosts that never call each other** offsets add up, along the calls that are least
//!   uncertain. The reference host is that of the trace's first root that names no parent.
//! - **A span** gets its host's offset when its parent waited for it. An asynchronous child on
//!   another host keeps its own times. On one host a span moves with its parent.

mod interval;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use tidings_proto::{DurationNanos, OffsetNanos, api::PlaceRule, otlp::SpanKind};

use crate::{Assembled, SpanFacts, plausible};
use interval::{Agreement, Interval, agreement};

/// Clock offsets of a trace's hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clocks {
    /// Hosts whose clocks were compared with another host's, by number. The hosts they are measured
    /// by are left out.
    pub hosts: Vec<HostOffset>,
    /// Correction to add to the times of each node.
    pub offsets: Vec<OffsetNanos>,
}

/// One host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostOffset {
    /// The host.
    pub host: u32,
    /// The host with which its calls were compared.
    pub compared_with: u32,
    /// Correction to add to this host's times to express them in the reference host's clock.
    pub offset: OffsetNanos,
    /// Largest error of the offset from `compared_with`, either way.
    pub uncertainty: DurationNanos,
    /// Number of calls between the two hosts that were compared.
    pub calls: u64,
    /// Number of compared calls that agree with the offset.
    pub agreeing: u64,
}

/// Estimates the clock offsets of a trace's hosts. `hosts` has the caller's number for the host of
/// each fact, and `None` where the host is not known.
#[must_use]
pub fn clocks(assembled: &Assembled, facts: &[SpanFacts], hosts: &[Option<u32>]) -> Clocks {
    let trace = HostedTrace { assembled, facts, hosts };
    let pairs: BTreeMap<Pair, Agreement> = trace
        .calls()
        .into_iter()
        .filter_map(|(pair, intervals)| Some((pair, agreement(&intervals)?)))
        .collect();
    let nodes = 0..assembled.nodes.len();
    let names_no_parent = |at: &usize| assembled.nodes[*at].rule == PlaceRule::NamesNoParent;
    let first = nodes.clone().filter(names_no_parent).take(1);
    let compared = add_up(&pairs, first.chain(nodes).filter_map(|node| trace.host(node)));
    let mut offsets: Vec<OffsetNanos> = Vec::with_capacity(assembled.nodes.len());
    for (at, node) in assembled.nodes.iter().enumerate() {
        let host = trace.host(at);
        let of_host = host.and_then(|host| compared.get(&host)).map(|found| found.offset);
        let parent = node.parent.map(|parent| parent as usize);
        offsets.push(match parent {
            None => of_host.unwrap_or_default(),
            Some(parent) if host.is_some() && host == trace.host(parent) => offsets[parent],
            Some(parent) if !waits(&trace.span(parent), &trace.span(at)) => OffsetNanos(0),
            Some(parent) if host.is_none() => offsets[parent],
            Some(_) => of_host.unwrap_or_default(),
        });
    }
    Clocks {
        hosts: compared.into_values().filter(|of| of.host != of.compared_with).collect(),
        offsets,
    }
}

/// Two hosts, the lower number first. An offset of the pair is added to the second one's times.
type Pair = (u32, u32);

struct HostedTrace<'a> {
    assembled: &'a Assembled,
    facts: &'a [SpanFacts],
    hosts: &'a [Option<u32>],
}

impl HostedTrace<'_> {
    fn host(&self, node: usize) -> Option<u32> {
        *self.hosts.get(self.assembled.nodes[node].fact as usize)?
    }

    fn span(&self, node: usize) -> SpanFacts {
        plausible::one(self.facts[self.assembled.nodes[node].fact as usize])
    }

    /// Collects the intervals that calls allow for the offset between each pair of hosts.
    fn calls(&self) -> BTreeMap<Pair, Vec<Interval>> {
        let mut calls: BTreeMap<Pair, Vec<Interval>> = BTreeMap::new();
        for (at, node) in self.assembled.nodes.iter().enumerate() {
            let Some(parent) = node.parent.map(|parent| parent as usize) else { continue };
            let (Some(caller), Some(called)) = (self.host(parent), self.host(at)) else { continue };
            if caller == called {
                continue;
            }
            let Some(interval) = evidence(&self.span(parent), &self.span(at)) else { continue };
            if caller < called {
                calls.entry((caller, called)).or_default().push(interval);
            } else {
                calls.entry((called, caller)).or_default().push(interval.negated());
            }
        }
        calls
    }
}

/// Returns the interval of the child's clock offset from its parent's, or `None` when the call is
/// no evidence.
fn evidence(parent: &SpanFacts, child: &SpanFacts) -> Option<Interval> {
    let times = [parent.start, parent.end, child.start, child.end];
    if times.iter().any(|time| time.0 == 0) || !waits(parent, child) {
        return None;
    }
    let between = |from: u64, to: u64| i64::try_from(i128::from(to) - i128::from(from)).ok();
    let least = between(child.start.0, parent.start.0)?;
    let most = between(child.end.0, parent.end.0)?;
    (least <= most && parent.start <= parent.end && child.start <= child.end)
        .then_some(Interval { least, most })
}

/// Returns true if kinds and times show that the parent waited for the child. Compares no times of
/// different clocks except to tell an overlap.
fn waits(parent: &SpanFacts, child: &SpanFacts) -> bool {
    if child.kind == SpanKind::Consumer || parent.kind == SpanKind::Producer {
        return false;
    }
    let known = |span: &SpanFacts| span.start.0 != 0 && span.end.0 != 0;
    if !known(parent) || !known(child) {
        return true;
    }
    if child.end.since(child.start) > parent.end.since(parent.start) {
        return false;
    }
    let is_request = parent.kind == SpanKind::Client && child.kind == SpanKind::Server;
    is_request || child.end <= parent.end || child.start < parent.start
}

/// Adds up the offsets of pairs along the least uncertain calls. The first of `hosts` is the
/// reference; hosts that no calls connect to it are measured by the first of them, and so on.
fn add_up(
    pairs: &BTreeMap<Pair, Agreement>,
    hosts: impl Iterator<Item = u32>,
) -> BTreeMap<u32, HostOffset> {
    let mut neighbours: BTreeMap<u32, Vec<(u32, i64, Agreement)>> = BTreeMap::new();
    for ((first, second), agreement) in pairs {
        let offset = agreement.offset();
        neighbours.entry(*first).or_default().push((*second, offset, *agreement));
        neighbours.entry(*second).or_default().push((*first, offset.saturating_neg(), *agreement));
    }
    let mut found: BTreeMap<u32, HostOffset> = BTreeMap::new();
    for first in hosts {
        if found.contains_key(&first) {
            continue;
        }
        let mut waiting = BinaryHeap::from([Reverse((0, first, first, 0, Agreement::default()))]);
        while let Some(Reverse((uncertainty, host, compared_with, offset, agreement))) =
            waiting.pop()
        {
            if found.contains_key(&host) {
                continue;
            }
            found.insert(
                host,
                HostOffset {
                    host,
                    compared_with,
                    offset: OffsetNanos(offset),
                    uncertainty: DurationNanos(uncertainty),
                    calls: agreement.calls,
                    agreeing: agreement.agreeing,
                },
            );
            for (next, step, agreement) in neighbours.get(&host).into_iter().flatten() {
                let offset = offset.saturating_add(*step);
                let entry = (agreement.uncertainty(), *next, host, offset, *agreement);
                waiting.push(Reverse(entry));
            }
        }
    }
    found
}
