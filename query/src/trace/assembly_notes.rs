//! Notes of the API on the assembly of a trace.

use tidings_assembly::Clocks;
use tidings_proto::api::{
    AssemblyNotes, Gap, HostClock, PlaceRule, QueueSegment, TransactionState,
};

use super::{
    descriptions,
    hosts::Hosts,
    summary::{TraceStateClock, state},
    trace_rows::GatheredTraces,
    tree::Tree,
};
use crate::version::Version;

/// The notes of a trace: lists have at most `shown_max` entries.
pub(crate) fn assembly_notes(
    tree: &Tree,
    gathered: &GatheredTraces,
    clocks: Option<&Clocks>,
    log_count: u64,
    moment: TraceStateClock,
    shown_max: usize,
) -> AssemblyNotes {
    let nodes = (0_u32..).zip(&tree.assembled.nodes);
    let plain = |rule| matches!(rule, PlaceRule::NamesNoParent | PlaceRule::NamedParent);
    let placed = nodes.filter(|(_, node)| !plain(node.rule));
    let placements = placed.map(|(at, _)| descriptions::placement(tree, &gathered.names, at));
    let gaps = tree.assembled.gaps.iter().map(|gap| Gap {
        span_id: gap.span_id,
        children: gap.children.clone(),
        start_unix_nano: gap.bounds.0,
        end_unix_nano: gap.bounds.1,
    });
    let queues = tree.assembled.queues.iter().map(|queue| QueueSegment {
        producer: queue.producer,
        consumer: queue.consumer,
        start_unix_nano: queue.start,
        end_unix_nano: queue.end,
        wait_nano: queue.end.since(queue.start),
    });
    AssemblyNotes {
        version: version(tree, log_count, state(tree, moment)).text(),
        placements: placements.take(shown_max).collect(),
        gaps: gaps.take(shown_max).collect(),
        queues: queues.take(shown_max).collect(),
        clocks: clocks.map(|clocks| host_clocks(&gathered.hosts, clocks)).unwrap_or_default(),
        clock_adjusted: !tree.offsets().is_empty(),
        clock_offset_nano: tree.offsets().to_vec(),
    }
}

fn host_clocks(hosts: &Hosts, clocks: &Clocks) -> Vec<HostClock> {
    let entries = clocks.hosts.iter().map(|clock| HostClock {
        host: hosts.name(clock.host).to_owned(),
        compared_with: hosts.name(clock.compared_with).to_owned(),
        offset_nano: clock.offset,
        uncertainty_nano: clock.uncertainty,
        call_count: clock.calls,
        agreeing_count: clock.agreeing,
    });
    entries.collect()
}

/// Version of the answers about a trace: a hash of everything they depend on except the current
/// time.
pub(crate) fn version(tree: &Tree, log_count: u64, state: TransactionState) -> Version {
    let mut version = Version::default();
    tree.indexes().for_each(|node| version.add(tree.fact(node).content_hash));
    version.add(log_count);
    version.add(state as u64);
    version
}
