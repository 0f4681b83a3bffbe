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
/// Factor of the typical p95 from which a duration is slower than usual.
pub(crate) const SLOWER_FROM: f64 = 1.5;
/// Factor of the typical p95 from which it is drawn red.
const RED_FROM: f64 = 2.0;

/// The typical durations.
#[derive(Debug, PartialEq)]
pub(crate) enum Usual {
    Loading,
    /// The request failed.
    Unknown,
    /// Durations by service and operation.
    Known(HashMap<(String, String), LatencyStats>),
}

impl Usual {
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
pub(crate) fn ask(page: PageSignals) -> (Memo<IdentityArc<Usual>>, WatchedRequest) {
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
            (Some(result), _) => Usual::from_groups(&result),
            (None, Some(_)) => Usual::Unknown,
            (None, None) => Usual::Loading,
        })
    });
    (usual, WatchedRequest::new("The usual durations are not known", red))
}

/// Draws the cell of a table with a factor: grey, or red where it is high. It is empty for an
/// unknown one.
pub(crate) fn factor_cell(times: Option<f64>) -> impl IntoView + use<> {
    let class = if is_red(times) { "num is-worse" } else { "num was" };
    view! {
        <td class=class>
            {times.map(number_format::factor_text)}
        </td>
    }
}

fn is_red(times: Option<f64>) -> bool {
    times.is_some_and(|times| times >= RED_FROM)
}

/// Returns the factor to the typical duration, or `None` when that is unknown.
pub(crate) fn times(now: DurationNanos, usual: Option<DurationNanos>) -> Option<f64> {
    let usual = usual.filter(|usual| usual.0 > 0)?;
    Some(now.0 as f64 / usual.0 as f64)
}

#[cfg(test)]
mod tests {
    use super::{DurationNanos, is_red, times};

    #[test]
    fn only_twice_the_usual_duration_is_red() {
        let of = |now: u64| times(DurationNanos(now), Some(DurationNanos(1_000)));
        assert_eq!([700, 1_999, 2_000].map(|now| is_red(of(now))), [false, false, true]);
        assert_eq!(times(DurationNanos(1), Some(DurationNanos(0))), None);
        assert!(!is_red(None), "it is unknown");
    }
}
