//! Groups of the range of the same length before a window.
//!
//! Owns the reading of that range and the pairing of groups by name. Every group of the range is
//! known before a limit cuts the list, and has steps where they are requested. The rule by which
//! calls are slower or fail more is that of the service graph (`graph_comparison`).

use std::collections::HashMap;

use tidings_proto::{DurationNanos, UnixNanos, api::CallsInStep};
use tidings_storage::ScanStats;

use super::{
    RedSearch, read_groups,
    red_groups::{GroupNames, RedGroups},
};
use crate::{
    QueryError,
    analysis::{service_graph::EarlierCalls, window::Window},
    execution::{JoinedCalls, Reader},
};

const DAY: u64 = 24 * 3_600 * 1_000_000_000;

/// The groups of the time before a window.
#[derive(Debug)]
pub(super) struct EarlierGroups {
    groups: RedGroups,
    window: Window,
    /// True if a repeated span may be counted twice.
    pub(super) repeats_counted: bool,
}

/// The calls of one group in the time before, and their steps.
type EarlierGroup<'a> = (EarlierCalls<'a>, &'a [CallsInStep]);

impl EarlierGroups {
    /// Reads the groups of the range of the same length before the window. `None` when no span of
    /// it is stored, and when not all of it could be read.
    pub(super) fn read(
        reader: &Reader,
        search: &RedSearch,
        window: Window,
        stats: &mut ScanStats,
    ) -> Result<Option<Self>, QueryError> {
        let Some(before) = window.previous() else { return Ok(None) };
        // Rollups can answer for a step of whole days, where no steps are requested.
        let step = match search.before_steps {
            true => window.step(),
            false => DurationNanos(before.step().0.div_ceil(DAY).saturating_mul(DAY)),
        };
        let window = Window::new(reader, before.range(), Some(step))?;
        let JoinedCalls { calls: groups, scan, repeats_counted } =
            read_groups(reader, search, window)?;
        *stats += scan;
        if !scan.complete {
            return Ok(None);
        }
        let is_empty = groups.len() == 0 && groups.other == 0;
        if is_empty && !window.has_spans(reader)? {
            return Ok(None);
        }
        Ok(Some(Self { groups, window, repeats_counted }))
    }

    /// Start of the time before.
    pub(super) fn start(&self) -> UnixNanos {
        self.window.times()[0]
    }

    /// The calls of each group by its names, and their steps in no order.
    pub(super) fn by_names(&self) -> HashMap<GroupNames<'_>, EarlierGroup<'_>> {
        let groups = self.groups.totals();
        let earlier = |calls| EarlierCalls::new(calls, self.window);
        groups.map(|(names, calls, steps)| (names, (earlier(calls), steps))).collect()
    }
}
