//! The moment since which transactions are compared with those until then.
//!
//! Owns the moments that are offered (where a change of the type began, where a version was first
//! seen) and which of them is taken: that of the address (`since=`), else the first of them, else the
//! middle of the window.

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{ChangedGroup, VersionChange},
};

use super::TypePage;
use crate::{
    browser,
    components::change::change_words,
    figures, format,
    url::{Step, use_edit_query},
    window::Window,
};

/// The parameter of the address, in milliseconds since 1970.
pub(super) const SINCE: &str = "since";
/// Moments that are offered.
const OFFERED_MAX: usize = 12;

/// A moment at which something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferedMoment {
    pub(super) time: UnixNanos,
    pub(super) words: String,
}

/// The beginnings of the type's changes, the heaviest first, then new versions, the earliest first.
pub(super) fn offered(
    changed: Option<&ChangedGroup>,
    versions: &[VersionChange],
) -> Vec<OfferedMoment> {
    let changes = changed.into_iter().flat_map(|group| &group.changes);
    let changes = changes.filter_map(|change| {
        Some(OfferedMoment { time: change.since_unix_nano?, words: change_words(change) })
    });
    let versions = versions.iter().map(|change| OfferedMoment {
        time: change.first_seen_unix_nano,
        words: format!("version {}", figures::cut(&change.version, 40)),
    });
    let mut moments: Vec<OfferedMoment> = Vec::new();
    for moment in changes.chain(versions) {
        if !moments.iter().any(|known| known.time == moment.time) {
            moments.push(moment);
        }
    }
    moments.truncate(OFFERED_MAX);
    moments
}

/// The moment that is taken, inside of the bounds of the window.
pub(super) fn taken(
    asked_milliseconds: Option<u64>,
    offered: &[OfferedMoment],
    (start, end): (UnixNanos, UnixNanos),
) -> Option<UnixNanos> {
    let is_inside = |time: &UnixNanos| start < *time && *time < end;
    let asked = asked_milliseconds.map(|asked| UnixNanos(asked.saturating_mul(1_000_000)));
    let known = asked.into_iter().chain(offered.iter().map(|moment| moment.time));
    let middle = UnixNanos(start.0 + end.since(start).0 / 2);
    known.chain([middle]).find(is_inside)
}

/// Begin, moment and end of what is compared; `None` while everything stored is looked at, which has
/// no begin.
pub(super) fn parts(
    window: Window,
    moment: Option<UnixNanos>,
) -> Option<(UnixNanos, UnixNanos, UnixNanos)> {
    let (start, end) = window.bounds()?;
    Some((start, moment.filter(|moment| start < *moment && *moment < end)?, end))
}

/// A moment on the reader's clock, to the minute.
pub(super) fn clock(time: UnixNanos) -> String {
    format::time_of_day(time, browser::zone_minutes(time)).chars().take(5).collect()
}

/// The choice among the offered moments, for the heads of panels.
pub(super) fn moment_choice(page: TypePage) -> impl IntoView {
    let edit = use_edit_query();
    let chosen = move |event| {
        let value = event_target_value(&event);
        edit(Step::New, &|query| query.set(SINCE, Some(&value)));
    };
    let option = move |OfferedMoment { time, words }: OfferedMoment| {
        let is_taken = move || page.moment.get() == Some(time);
        view! {
            <option value=time.0 / 1_000_000 selected=is_taken>
                {format!("{} {words}", clock(time))}
            </option>
        }
    };
    let options = move || {
        let mut all = page.moments.get();
        let taken = page.moment.get();
        let own = taken.filter(|taken| !all.iter().any(|moment| moment.time == *taken));
        all.extend(own.map(|time| OfferedMoment { time, words: String::new() }));
        all.into_iter().map(option).collect_view()
    };
    view! {
        <Show when=move || page.basis.get() == SINCE>
            <select
                class="input"
                aria-label="Since when"
                title="A click into a chart above chooses any other moment"
                on:change=chosen.clone()
            >
                {options}
            </select>
        </Show>
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::{
        UnixNanos,
        api::{ChangedGroup, VersionChange},
    };

    use super::{offered, taken};

    fn changed() -> ChangedGroup {
        let stats = json!({
            "count": 1, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0, "p50Nano": "1",
            "p95Nano": "1",
        });
        let change = |kind: &str, since: Option<&str>| {
            let mut change = json!({
                "kind": kind, "isWorse": true, "before": 1.0, "now": 4.0, "factor": 4.0,
                "difference": 3.0, "pValue": 0.0,
            });
            if let Some(since) = since {
                change["sinceUnixNano"] = since.into();
            }
            change
        };
        serde_json::from_value(json!({
            "service": "shop", "operation": "pay", "now": stats, "before": stats, "steps": [],
            "baselineSteps": [], "score": 1.0,
            "changes": [change("latency", Some("70000000")), change("errors", None)],
        }))
        .unwrap()
    }

    fn version(time: u64) -> VersionChange {
        VersionChange {
            version: "2.14.0".to_owned(),
            previous_version: "2.13.0".to_owned(),
            first_seen_unix_nano: UnixNanos(time),
        }
    }

    #[test]
    fn moments_are_those_of_changes_and_of_versions() {
        let all = offered(Some(&changed()), &[version(60_000_000), version(70_000_000)]);
        let times: Vec<u64> = all.iter().map(|moment| moment.time.0).collect();
        assert_eq!(times, [70_000_000, 60_000_000], "one moment is offered once");
        assert_eq!(all[1].words, "version 2.14.0");
        assert!(offered(None, &[]).is_empty());
    }

    #[test]
    fn the_moment_of_the_address_is_taken_where_it_divides_the_window() {
        let all = offered(Some(&changed()), &[version(60_000_000)]);
        let bounds = (UnixNanos(50_000_000), UnixNanos(90_000_000));
        assert_eq!(taken(Some(80), &all, bounds), Some(UnixNanos(80_000_000)));
        assert_eq!(taken(Some(95), &all, bounds), Some(UnixNanos(70_000_000)));
        assert_eq!(taken(None, &all[1..], bounds), Some(UnixNanos(60_000_000)));
        assert_eq!(taken(None, &[], bounds), Some(UnixNanos(70_000_000)), "the middle");
        assert_eq!(taken(None, &[], (UnixNanos(5), UnixNanos(5))), None);
    }
}
