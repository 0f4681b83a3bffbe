//! Groups that others follow from: the source of an exception that passes up through its callers.
//!
//! Owns the rule. A group follows from one that is thrown below it, in a deeper span, in at least
//! nine tenths of its sampled traces. Of several it is the deepest one, and followers of a follower
//! follow from the source of that. Type and message may differ, so that an exception that wraps
//! another one follows as well. Also owns the order of one failure: its followers are listed after
//! their source. The list is cut before, so a group whose source is cut off follows from none and
//! keeps its place. The traces come from `sampled_traces`.

use std::{cmp::Reverse, collections::HashMap};

use tidings_proto::api::ExceptionGroup;
use tidings_storage::ScanStats;

use super::{
    ExceptionSearch,
    sampled_traces::{self, ExceptionTrace, ThrownException},
};
use crate::{QueryError, analysis::window::Window, execution::Reader};

/// Minimum share, in percent, of the sampled traces of a group in which its source is below it.
const SHARE_PERCENT_MIN: u64 = 90;
/// Precision of a mean depth.
const PARTS_OF_DEPTH: u64 = 1_000;

/// Sampled traces of a group, and the groups that are thrown below it.
#[derive(Debug, Clone, Default)]
struct GroupsBelow {
    trace_count: u64,
    below: HashMap<usize, GroupBelow>,
}

/// A group that is thrown below another one.
#[derive(Debug, Clone, Copy, Default)]
struct GroupBelow {
    trace_count: u64,
    /// Sum of its depths in these traces.
    depths: u64,
}

/// Sets the source of each group that follows from another one of the list, and moves it after that
/// one. Returns the rows and files read for the sampled traces.
pub(super) fn set_sources(
    reader: &Reader,
    search: &ExceptionSearch,
    window: Window,
    groups: &mut [ExceptionGroup],
) -> Result<ScanStats, QueryError> {
    let (traces, stats) = sampled_traces::read(reader, search, window, groups)?;
    let sources = sources(groups, &traces);
    let named = |source: usize| (groups[source].id.clone(), groups[source].service.clone());
    let named: Vec<Option<(String, String)>> =
        sources.into_iter().map(|source| source.map(named)).collect();
    for (group, source) in groups.iter_mut().zip(named) {
        (group.follows_id, group.follows_service) = source.unzip();
    }
    place_followers(groups);
    // The counts are whole, even where the sources are of a sample.
    Ok(ScanStats { complete: true, ..stats })
}

/// Index of the source of each group; `None` where it follows from no other.
fn sources(groups: &[ExceptionGroup], traces: &[ExceptionTrace]) -> Vec<Option<usize>> {
    let mut nexts: Vec<Option<usize>> = vec![None; groups.len()];
    for (group, of) in groups_below(groups.len(), traces).iter().enumerate() {
        let is_below =
            |found: &GroupBelow| found.trace_count * 100 >= of.trace_count * SHARE_PERCENT_MIN;
        // Of two groups, each may be below the other one, in different traces.
        let is_possible = |other: usize| end_of_chain(&nexts, other) != group;
        let possible =
            of.below.iter().filter(|(other, found)| is_below(found) && is_possible(**other));
        let deepest = possible.max_by_key(|(other, found)| {
            let depth = found.depths * PARTS_OF_DEPTH / found.trace_count.max(1);
            (depth, groups[**other].count, Reverse(**other))
        });
        let deepest = deepest.map(|(other, _)| *other);
        nexts[group] = deepest;
    }
    let source = |group: usize| Some(end_of_chain(&nexts, group)).filter(|source| *source != group);
    (0..groups.len()).map(source).collect()
}

/// The last group of a chain of followers. Chains have no cycles.
fn end_of_chain(nexts: &[Option<usize>], mut group: usize) -> usize {
    while let Some(next) = nexts[group] {
        group = next;
    }
    group
}

/// The groups below each group in the traces that are sampled of it.
fn groups_below(count: usize, traces: &[ExceptionTrace]) -> Vec<GroupsBelow> {
    let mut found = vec![GroupsBelow::default(); count];
    for trace in traces {
        for group in &trace.groups {
            // A trace that is too large is read in part, and may lack the group itself.
            let Some(below) = below(&trace.thrown, *group) else { continue };
            let of = &mut found[*group];
            of.trace_count += 1;
            for (other, depth) in below {
                let other = of.below.entry(other).or_default();
                other.trace_count += 1;
                other.depths += u64::from(depth);
            }
        }
    }
    found
}

/// The groups that a trace throws below a group, and deeper than all of it, each with its greatest
/// depth. `None` when the trace does not throw the group.
fn below(thrown: &[ThrownException], group: usize) -> Option<HashMap<usize, u32>> {
    let own = thrown.iter().filter(|of| of.group == group);
    let deepest = own.map(|of| of.depth).max()?;
    let mut found: HashMap<usize, u32> = HashMap::new();
    // Spans below a span follow it, so those before the greatest end are below one of the group.
    let mut end = 0;
    for of_span in thrown.chunk_by(|one, other| one.node == other.node) {
        let is_below = |of: &&ThrownException| of.node < end && of.depth > deepest;
        for of in of_span.iter().filter(is_below) {
            let depth = found.entry(of.group).or_insert(of.depth);
            *depth = of.depth.max(*depth);
        }
        if let Some(own) = of_span.iter().find(|of| of.group == group) {
            end = end.max(own.end);
        }
    }
    Some(found)
}

/// Counts the followers of each group, and moves them directly after it. Sources keep their order,
/// and so do the followers of one of them. A source follows from none, because chains end at it.
fn place_followers(groups: &mut [ExceptionGroup]) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for id in groups.iter().filter_map(|group| group.follows_id.clone()) {
        *counts.entry(id).or_default() += 1;
    }
    for group in groups.iter_mut() {
        group.follower_count = counts.get(&group.id).copied().unwrap_or_default();
    }
    let ids = groups.iter().map(|group| group.id.clone());
    let positions: HashMap<String, usize> = ids.zip(0..).collect();
    groups.sort_by_cached_key(|group| {
        let head = group.follows_id.as_ref().unwrap_or(&group.id);
        (positions.get(head).copied(), group.follows_id.is_some())
    });
}

/// Returns the number of exceptions in groups that follow from no other one, and in those that do.
pub(super) fn cause_and_follow_counts(groups: &[ExceptionGroup]) -> (u64, u64) {
    let count_of = |follow: bool| {
        let of = groups.iter().filter(|group| group.follows_id.is_some() == follow);
        of.map(|group| group.count).sum::<u64>()
    };
    (count_of(false), count_of(true))
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::ExceptionGroup;

    use super::{
        super::sampled_traces::{ExceptionTrace, ThrownException},
        cause_and_follow_counts, place_followers, sources,
    };

    /// A group of exceptions of a service.
    fn group(service: &str, count: u64) -> ExceptionGroup {
        ExceptionGroup {
            id: format!("of {service}"),
            service: service.to_owned(),
            count,
            ..ExceptionGroup::default()
        }
    }

    /// A trace of one chain of calls: each call is below the one before, and throws these groups.
    fn chain(calls: &[&[usize]]) -> ExceptionTrace {
        let thrown = calls.iter().enumerate().flat_map(|(node, groups)| {
            groups.iter().map(move |group| ThrownException {
                group: *group,
                node,
                end: calls.len(),
                depth: u32::try_from(node).unwrap(),
            })
        });
        let thrown: Vec<ThrownException> = thrown.collect();
        let mut groups: Vec<usize> = thrown.iter().map(|of| of.group).collect();
        groups.sort_unstable();
        groups.dedup();
        ExceptionTrace { groups, thrown }
    }

    /// Sources of groups with these counts.
    fn found<const N: usize>(counts: [u64; N], traces: &[ExceptionTrace]) -> Vec<Option<usize>> {
        sources(&counts.map(|count| group("shop", count)), traces)
    }

    #[test]
    fn every_group_of_a_failure_follows_from_the_deepest() {
        let traces = [chain(&[&[0], &[], &[1], &[2]])];
        assert_eq!(found([1, 1, 1], &traces), [Some(2), Some(2), None]);
        assert_eq!(found([1, 1, 1], &[]), [None; 3], "no trace was read");
    }

    #[test]
    fn a_group_follows_from_nine_tenths_of_its_traces_on() {
        for (together, alone, expected) in [(9, 1, Some(1)), (8, 1, None), (5, 5, None)] {
            let mut traces = Vec::new();
            traces.extend((0..together).map(|_| chain(&[&[0], &[1]])));
            traces.extend((0..alone).map(|_| chain(&[&[0]])));
            assert_eq!(found([9, 9], &traces), [expected, None], "{together} and {alone}");
        }
    }

    #[test]
    fn a_chain_ends_at_its_source_where_parts_of_it_are_seldom() {
        // Each group is below the one above in nine of ten traces, the last below the first in
        // eight of ten.
        let mut traces: Vec<ExceptionTrace> = (0..8).map(|_| chain(&[&[0], &[1], &[2]])).collect();
        traces.push(chain(&[&[0], &[1]]));
        traces.push(chain(&[&[0], &[], &[]]));
        traces.push(chain(&[&[], &[1], &[2]]));
        assert_eq!(found([10, 10, 9], &traces), [Some(2), Some(2), None]);
    }

    #[test]
    fn groups_of_one_span_and_groups_beside_each_other_do_not_follow() {
        assert_eq!(found([1, 1], &[chain(&[&[0, 1]])]), [None, None]);
        let mut beside = chain(&[&[], &[0], &[1]]);
        beside.thrown[0].end = 2;
        beside.thrown[1].depth = 3;
        assert_eq!(found([1, 1], &[beside]), [None, None]);
    }

    #[test]
    fn of_groups_that_are_equally_deep_the_most_frequent_is_the_source() {
        let traces = [chain(&[&[0], &[1, 2]])];
        assert_eq!(found([5, 3, 4], &traces), [Some(2), None, None]);
        assert_eq!(found([5, 4, 4], &traces), [Some(1), None, None]);
    }

    #[test]
    fn groups_that_are_below_each_other_have_one_source() {
        // The sample of each group has the other one below it.
        let (mut one, mut other) = (chain(&[&[0], &[1]]), chain(&[&[1], &[0]]));
        one.groups = vec![0];
        other.groups = vec![1];
        assert_eq!(found([1, 1], &[one, other]), [Some(1), None]);
        let recursive = chain(&[&[0], &[1], &[0], &[1]]);
        assert_eq!(found([2, 2], &[recursive]), [Some(1), None]);
    }

    #[test]
    fn followers_are_listed_directly_after_their_source() {
        let mut groups = [("shop", 40), ("cart", 35), ("pay", 30), ("bank", 20), ("stock", 10)]
            .map(|(service, count)| group(service, count));
        for follower in [0, 4] {
            groups[follower].follows_id = Some("of pay".to_owned());
        }
        place_followers(&mut groups);
        let placed: Vec<(&str, u64, u64)> = groups
            .iter()
            .map(|group| (group.service.as_str(), group.count, group.follower_count))
            .collect();
        let expected =
            [("cart", 35, 0), ("pay", 30, 2), ("shop", 40, 0), ("stock", 10, 0), ("bank", 20, 0)];
        assert_eq!(placed, expected);
        assert_eq!(cause_and_follow_counts(&groups), (85, 50));
    }
}
