//! The moment that divides the compared times.
//!
//! Owns the offered moments (changes of the type, first spans of a version), the merging of near
//! ones, and the chosen one. The address names it (`since=`). The default is the first offered
//! moment, else the middle of the window.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Change, ChangedGroup, VersionChange},
};

use super::{TypePage, step_of};
use crate::{
    api::analysis::Analysis,
    browser,
    charts::time_chart::Marker,
    components::change::{change_text, subject_text},
    format, number_format,
    url::{History, UrlQuery, use_edit_query},
    window::Window,
};

/// The parameter of the address, in milliseconds since 1970, and the basis that uses it.
pub(super) const SINCE: &str = "since";
/// Maximum number of moments that are offered.
const OFFERED_MAX: usize = 12;
/// Maximum number of letters of a moment's words.
const LETTERS_MAX: usize = 40;
/// Distance up to which moments are merged.
const MINUTE: DurationNanos = DurationNanos(60_000_000_000);

/// Returns the moment at which the type became worse, as its sentence names it:
/// `northpay 3.6× slower`.
pub(super) fn of_change(group: &ChangedGroup) -> Option<Marker> {
    let named = group.sentence.iter().map(|sentence| (Some(&sentence.subject), &sentence.change));
    let worse = group.changes.iter().filter(|change| change.is_worse);
    named.chain(worse.map(|change| (None, change))).find_map(|(subject, change)| {
        let time = change.since_unix_nano?;
        let subject = subject.map(|subject| subject_text(subject) + " ").unwrap_or_default();
        let label = number_format::truncate(&(subject + &change_text(change)), LETTERS_MAX);
        Some(Marker { time, label, is_suspect: true })
    })
}

/// Returns the moment at which a version was first seen.
pub(super) fn of_version(change: &VersionChange) -> Marker {
    let previous = change.previous_version.as_deref();
    let previous = previous.map(|version| format!(", it was {version}")).unwrap_or_default();
    let label = number_format::truncate(&format!("{}{previous}", change.version), LETTERS_MAX);
    Marker { time: change.first_seen_unix_nano, label, is_suspect: false }
}

/// Merges moments that are at most a step of the drawing, or a minute, apart. The first of them
/// remains, with the words of all.
pub(super) fn together(moments: impl Iterator<Item = Marker>, step: DurationNanos) -> Vec<Marker> {
    let mut all = Vec::new();
    for moment in moments {
        put(&mut all, moment, step.max(MINUTE));
    }
    all
}

/// Reports whether one of these moments would be merged with this time.
pub(super) fn is_marked(moments: &[Marker], time: UnixNanos, step: DurationNanos) -> bool {
    moments.iter().any(|moment| is_near(moment, time, step.max(MINUTE)))
}

fn is_near(moment: &Marker, time: UnixNanos, apart: DurationNanos) -> bool {
    moment.time.0.abs_diff(time.0) <= apart.0
}

/// Adds a moment, or merges its words into a near one.
fn put(all: &mut Vec<Marker>, moment: Marker, apart: DurationNanos) {
    match all.iter_mut().find(|one| is_near(one, moment.time, apart)) {
        None => all.push(moment),
        Some(one) => {
            one.is_suspect |= moment.is_suspect;
            if one.label.is_empty() {
                one.label = moment.label;
            } else if !one.label.contains(&moment.label) {
                one.label.push_str("; ");
                one.label.push_str(&moment.label);
            }
        }
    }
}

/// Returns the moment of the type's change, then those of its other changes, most important first,
/// then new versions, earliest first.
pub(super) fn offered(
    changed: Option<&ChangedGroup>,
    versions: &[VersionChange],
    step: DurationNanos,
) -> Vec<Marker> {
    let named = changed.and_then(of_change);
    let has_subject = changed.is_some_and(|group| group.sentence.is_some());
    let label = |change: &Change| {
        let text = change_text(change);
        let is_named = named.iter().any(|named| named.label.contains(&text));
        if has_subject && !is_named { format!("this type {text}") } else { text }
    };
    let changes = changed.into_iter().flat_map(|group| &group.changes);
    let changes = changes.filter_map(|change| {
        let (time, label) = (change.since_unix_nano?, label(change));
        Some(Marker { time, label, is_suspect: change.is_worse })
    });
    let versions = versions.iter().map(of_version);
    let mut moments = together(named.clone().into_iter().chain(changes).chain(versions), step);
    moments.truncate(OFFERED_MAX);
    moments
}

/// Returns the first moment of a change if it is within the window. New versions are offered after
/// it, so that [`taken`] returns it, too, once they are known.
pub(super) fn first_of_change(
    offered: &[Marker],
    (start, end): (UnixNanos, UnixNanos),
) -> Option<UnixNanos> {
    let first = offered.first()?.time;
    (start < first && first < end).then_some(first)
}

/// Returns the chosen moment, within the window.
pub(super) fn taken(
    asked_milliseconds: Option<u64>,
    offered: &[Marker],
    (start, end): (UnixNanos, UnixNanos),
) -> Option<UnixNanos> {
    let is_inside = |time: &UnixNanos| start < *time && *time < end;
    let asked = asked_milliseconds.map(|asked| UnixNanos(asked.saturating_mul(1_000_000)));
    let known = asked.into_iter().chain(offered.iter().map(|moment| moment.time));
    let middle = UnixNanos(start.0 + end.since(start).0 / 2);
    known.chain([middle]).find(is_inside)
}

/// Returns start, moment and end of the compared times. `None` for the range of everything stored,
/// which has no start.
pub(super) fn parts(
    window: Window,
    moment: Option<UnixNanos>,
) -> Option<(UnixNanos, UnixNanos, UnixNanos)> {
    let (start, end) = window.bounds()?;
    Some((start, moment.filter(|moment| start < *moment && *moment < end)?, end))
}

/// Returns the time that the one since a moment is compared with: the baseline, or the time until
/// the moment.
pub(super) fn reference(
    window: Window,
    (start, moment, _): (UnixNanos, UnixNanos, UnixNanos),
    has_baseline: bool,
) -> Analysis {
    let baseline = window.analysis_before().filter(|_| has_baseline);
    baseline.unwrap_or_else(|| Analysis::between(start, moment))
}

/// Returns the words for the time that the subject's is compared with, where that is another one:
/// `18:44 to 19:44`.
pub(super) fn reference_time(page: TypePage) -> Option<String> {
    let window = page.window.slow_signal().get();
    let (start, end) = match page.basis.get() {
        "before" => window.before()?,
        SINCE => {
            let (start, moment, _) = parts(window, page.moment.get())?;
            let has_baseline = page.has_baseline.get()?;
            window.before().filter(|_| has_baseline).unwrap_or((start, moment))
        }
        _ => return None,
    };
    let minute = |time: UnixNanos| browser::local_minute(time, window.now());
    Some(format!("{} to {}", minute(start), minute(end)))
}

/// Formats a moment in the reader's time zone, to the minute.
pub(super) fn clock(time: UnixNanos) -> String {
    format::time_of_day(time, browser::zone_minutes(time)).chars().take(5).collect()
}

/// Writes the moment that the reader chose, in milliseconds, and its basis.
pub(super) fn choose(query: &mut UrlQuery, milliseconds: &str) {
    query.set("basis", Some(SINCE));
    query.set(SINCE, Some(milliseconds));
}

/// The choice among the offered moments, for the heads of panels.
pub(super) fn moment_choice(page: TypePage) -> impl IntoView {
    let edit = use_edit_query();
    let chosen = move |event| {
        let value = event_target_value(&event);
        edit(History::Push, &|query| choose(query, &value));
    };
    let option = move |Marker { time, label, .. }: Marker| {
        let is_taken = move || page.moment.get() == Some(time);
        view! {
            <option value=time.0 / 1_000_000 selected=is_taken>
                {format!("{} {label}", clock(time))}
            </option>
        }
    };
    let options = move || {
        let taken = page.moment.get();
        let taken = taken.map(|time| Marker { time, label: String::new(), is_suspect: false });
        let all = taken.into_iter().chain(page.moments.get());
        let mut all = together(all, step_of(page.now));
        all.sort_by_key(|moment| moment.time);
        all.into_iter().map(option).collect_view()
    };
    view! {
        <Show when=move || page.basis.get() == SINCE>
            <select
                class="input"
                aria-label="Since when"
                title="Click a chart above to choose another moment"
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
        DurationNanos, UnixNanos,
        api::{ChangeSentence, ChangedGroup, VersionChange},
    };

    use super::{
        Analysis, MINUTE, Marker, Window, first_of_change, is_marked, of_change, offered, parts,
        reference, taken, together,
    };
    use crate::url::TimeRange;

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
            "changes": [change("latency", Some("600000000000")), change("errors", None)],
        }))
        .unwrap()
    }

    fn version(time: u64) -> VersionChange {
        VersionChange {
            version: "2.14.0".to_owned(),
            previous_version: Some("2.13.0".to_owned()),
            first_seen_unix_nano: UnixNanos(time),
        }
    }

    /// The moment of the change, and a distant one.
    const CHANGED: u64 = 10 * MINUTE.0;
    const EARLY: u64 = 5 * MINUTE.0;

    #[test]
    fn moments_are_those_of_changes_and_of_versions() {
        let all = offered(Some(&changed()), &[version(EARLY)], MINUTE);
        let times: Vec<u64> = all.iter().map(|moment| moment.time.0).collect();
        assert_eq!(times, [CHANGED, EARLY]);
        assert_eq!(all[0].label, "4.0× slower");
        assert_eq!((all[1].label.as_str(), all[1].is_suspect), ("2.14.0, it was 2.13.0", false));
        let after_unknown = VersionChange { previous_version: None, ..version(EARLY) };
        assert_eq!(offered(None, &[after_unknown], MINUTE)[0].label, "2.14.0");
        assert!(offered(None, &[], MINUTE).is_empty());
    }

    #[test]
    fn moments_a_step_apart_are_one_with_the_words_of_both() {
        let versions = [version(CHANGED - MINUTE.0), version(EARLY)];
        let all = offered(Some(&changed()), &versions, DurationNanos(0));
        assert_eq!(all.len(), 2, "{all:?}");
        let (time, label) = (all[0].time.0, all[0].label.as_str());
        assert_eq!((time, label), (CHANGED, "4.0× slower; 2.14.0, it was 2.13.0"));
        let wide = offered(Some(&changed()), &versions, DurationNanos(5 * MINUTE.0));
        assert_eq!(wide.len(), 1, "steps of five minutes: {wide:?}");
        let chosen = Marker { time: UnixNanos(EARLY + 1), label: String::new(), is_suspect: false };
        let named = together(std::iter::once(chosen).chain(all), MINUTE);
        assert_eq!((named.len(), named[0].label.as_str()), (2, "2.14.0, it was 2.13.0"));
    }

    #[test]
    fn the_moment_of_a_change_is_the_one_that_its_sentence_names() {
        let mut group = changed();
        assert_eq!(of_change(&group).map(|moment| moment.time), Some(UnixNanos(CHANGED)));
        let mut change = group.changes[0].clone();
        change.since_unix_nano = Some(UnixNanos(EARLY));
        let subject = json!({"kind": "service", "service": "northpay"});
        group.sentence = Some(ChangeSentence {
            subject: serde_json::from_value(subject).unwrap(),
            change,
            with: Vec::new(),
            explained_share: None,
        });
        let moment = of_change(&group).unwrap();
        assert_eq!((moment.time.0, moment.label.as_str()), (EARLY, "northpay 4.0× slower"));
        let first = offered(Some(&group), &[], MINUTE).remove(0);
        assert_eq!(first, moment, "it is offered first");
    }

    #[test]
    fn a_change_beside_that_of_a_callee_is_attributed_to_the_type() {
        let mut group = changed();
        let mut change = group.changes[0].clone();
        change.factor = Some(5.0);
        let subject = json!({"kind": "service", "service": "northpay"});
        group.sentence = Some(ChangeSentence {
            subject: serde_json::from_value(subject).unwrap(),
            change,
            with: Vec::new(),
            explained_share: None,
        });
        let labels = |group: &ChangedGroup| {
            let all = offered(Some(group), &[], MINUTE);
            all.into_iter().map(|moment| moment.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(&group), ["northpay 5.0× slower; this type 4.0× slower"]);
        group.changes[0].factor = Some(5.0);
        assert_eq!(labels(&group), ["northpay 5.0× slower"], "one change is named once");
    }

    #[test]
    fn a_time_beside_a_moment_is_marked_by_it() {
        let all = offered(Some(&changed()), &[version(EARLY)], MINUTE);
        let marked = |time: u64, step: DurationNanos| is_marked(&all, UnixNanos(time), step);
        assert!(marked(CHANGED + MINUTE.0, DurationNanos(0)));
        assert!(!marked(CHANGED + 2 * MINUTE.0, DurationNanos(0)));
        let wide = DurationNanos(2 * MINUTE.0);
        assert!(marked(CHANGED + 2 * MINUTE.0, wide), "steps of two minutes");
    }

    #[test]
    fn the_time_since_a_moment_is_compared_with_the_baseline_where_it_has_enough() {
        let minute = |minute: u64| UnixNanos(minute * MINUTE.0);
        let window = Window::new(TimeRange::Last { seconds: 3_600 }, minute(150));
        let parts = parts(window, Some(minute(140))).unwrap();
        let baseline = Analysis::between(minute(30), minute(90));
        assert_eq!(reference(window, parts, true), baseline);
        let until_then = Analysis::between(minute(90), minute(140));
        assert_eq!(reference(window, parts, false), until_then);
    }

    #[test]
    fn the_moment_of_the_address_is_taken_where_it_divides_the_window() {
        let all = offered(Some(&changed()), &[version(EARLY)], MINUTE);
        let milliseconds = |minutes: u64| minutes * MINUTE.0 / 1_000_000;
        let bounds = (UnixNanos(4 * MINUTE.0), UnixNanos(12 * MINUTE.0));
        assert_eq!(taken(Some(milliseconds(8)), &all, bounds), Some(UnixNanos(8 * MINUTE.0)));
        assert_eq!(taken(Some(milliseconds(20)), &all, bounds), Some(UnixNanos(CHANGED)));
        assert_eq!(taken(None, &all[1..], bounds), Some(UnixNanos(EARLY)));
        assert_eq!(taken(None, &[], bounds), Some(UnixNanos(8 * MINUTE.0)), "the middle");
        assert_eq!(taken(None, &[], (UnixNanos(5), UnixNanos(5))), None);
    }

    #[test]
    fn versions_that_load_later_do_not_move_the_moment_of_a_change() {
        let known = offered(Some(&changed()), &[], MINUTE);
        let bounds = |start: u64| (UnixNanos(start * MINUTE.0), UnixNanos(12 * MINUTE.0));
        let first = first_of_change(&known, bounds(4));
        assert_eq!(first, Some(UnixNanos(CHANGED)));
        for version_time in [EARLY, CHANGED - MINUTE.0, CHANGED + MINUTE.0] {
            let all = offered(Some(&changed()), &[version(version_time)], DurationNanos(0));
            assert_eq!(taken(None, &all, bounds(4)), first, "{version_time}");
        }
        assert_eq!(first_of_change(&known, bounds(11)), None, "a version may be within the window");
        assert_eq!(first_of_change(&[], bounds(4)), None);
    }
}
