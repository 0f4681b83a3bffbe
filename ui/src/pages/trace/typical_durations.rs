//! The typical durations of the trace's operations on the day before its end, by service and
//! operation.

use std::collections::HashMap;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{LatencyStats, RedResult},
};

use super::page_signals::{IdentityArc, PageSignals};
use crate::{
    api::analysis::{self, Analysis},
    components::WatchedRequest,
    format, number_format,
    request_state::RequestState,
};

/// Length of the baseline.
const BEFORE: u64 = 24 * 3_600 * 1_000_000_000;
/// Factor of the typical median from which a duration beyond the p95 is slower than usual.
const SLOWER_FROM: f64 = 1.5;
/// Factor of the typical median from which such a duration is drawn red.
const RED_FROM: f64 = 2.0;
/// Title of the column of the typical durations.
pub(crate) const MEDIAN: &str = "The median of this operation in the day before";
/// Title of the column of the factors.
pub(crate) const AGAINST: &str = "The median of the calls against that of this operation in the \
                                  day before: red from twice that, where it is beyond the p95 too";

/// The typical durations.
#[derive(Debug, PartialEq)]
pub(crate) enum TypicalDurations {
    Loading,
    /// The request failed.
    Unknown,
    /// Durations by service and operation.
    Known(HashMap<(String, String), LatencyStats>),
}

impl TypicalDurations {
    fn from_groups(result: &RedResult) -> Self {
        let group = |group: &tidings_proto::api::RedGroup| {
            Some(((group.service.clone()?, group.operation.clone()?), group.duration))
        };
        Self::Known(result.groups.iter().filter_map(group).collect())
    }

    /// Returns the durations of an operation, if any are known.
    pub(crate) fn get(&self, service: &str, operation: &str) -> Option<LatencyStats> {
        let Self::Known(all) = self else { return None };
        let found = all.get(&(service.to_owned(), operation.to_owned())).copied();
        found.filter(|stats| stats.max_nano.0 > 0)
    }

    /// Draws a typical duration of a table: a grey bar while it loads, a dash without history.
    pub(crate) fn cell(&self, duration: Option<DurationNanos>) -> AnyView {
        match (duration, self) {
            (None, Self::Loading) => {
                view! { <span class="usual-ghost" title="Loading"></span> }.into_any()
            }
            (None, _) => "–".into_any(),
            (Some(duration), _) => format::duration(duration).into_any(),
        }
    }
}

/// Requests the typical durations once. The watched request draws their failure.
pub(crate) fn ask(page: PageSignals) -> (Memo<IdentityArc<TypicalDurations>>, WatchedRequest) {
    let end = page.model.with_untracked(|model| {
        let (start, length) = (model.summary.start_unix_nano, model.summary.duration_nano);
        UnixNanos(start.0.saturating_add(length.0).saturating_add(1))
    });
    let red = RequestState::<RedResult>::new(move || {
        let start = UnixNanos(end.0.saturating_sub(BEFORE));
        let analysis = Analysis::between(start, end).with("by", "service,operation");
        Some(analysis::red(&analysis.with("limit", 1_000)))
    });
    let usual = Memo::new(move |_| {
        IdentityArc::new(match (red.value(), red.error()) {
            (Some(result), _) => TypicalDurations::from_groups(&result),
            (None, Some(_)) => TypicalDurations::Unknown,
            (None, None) => TypicalDurations::Loading,
        })
    });
    (usual, WatchedRequest::new("The usual durations are not known", red))
}

/// A duration against the typical durations of its operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AgainstUsual {
    /// Its factor of the median.
    pub(crate) times: f64,
    /// Set where it exceeds the p95. Many ordinary calls are far above the median.
    is_beyond_p95: bool,
}

impl AgainstUsual {
    /// Compares a duration. Returns `None` when the typical ones are unknown.
    pub(crate) fn new(now: DurationNanos, usual: Option<LatencyStats>) -> Option<Self> {
        let usual = usual.filter(|usual| usual.p50_nano.0 > 0)?;
        Some(Self {
            times: number_format::ratio(now.0, usual.p50_nano.0),
            is_beyond_p95: now > usual.p95_nano,
        })
    }

    /// Reports whether the duration is slower than usual.
    pub(crate) fn is_slower(self) -> bool {
        self.is_beyond_p95 && self.times >= SLOWER_FROM
    }

    fn is_red(self) -> bool {
        self.is_beyond_p95 && self.times >= RED_FROM
    }
}

/// Draws the cell of a table with a factor: grey, or red where it is high. It is empty for an
/// unknown one.
pub(crate) fn factor_cell(against: Option<AgainstUsual>) -> impl IntoView + use<> {
    let class = if against.is_some_and(AgainstUsual::is_red) { "num is-worse" } else { "num was" };
    view! {
        <td class=class>
            {against.map(|against| number_format::factor_text(against.times))}
        </td>
    }
}

#[cfg(test)]
mod tests {
    use super::{AgainstUsual, DurationNanos, LatencyStats};

    fn against(now: u64, p50: u64, p95: u64) -> Option<AgainstUsual> {
        let [p50_nano, p95_nano] = [p50, p95].map(DurationNanos);
        let usual = LatencyStats { p50_nano, p95_nano, ..LatencyStats::default() };
        AgainstUsual::new(DurationNanos(now), Some(usual))
    }

    #[test]
    fn only_twice_the_usual_median_beyond_the_p95_is_red() {
        let marks = |now: u64, p95: u64| {
            against(now, 1_000, p95).map(|against| (against.is_slower(), against.is_red()))
        };
        let usual = [700, 1_499, 1_500, 1_999, 2_000].map(|now| marks(now, 1_100).unwrap());
        let (none, slow, red) = ((false, false), (true, false), (true, true));
        assert_eq!(usual, [none, none, slow, slow, red]);
        assert_eq!(marks(4_000, 4_000), Some(none), "one call in twenty takes as long");
        assert_eq!(against(3_000, 1_000, 4_000).map(|against| against.times), Some(3.0));
        assert_eq!(against(1, 0, 0), None, "it is unknown");
    }
}
