//! The calls of the chosen operation, split by an attribute: version, instance, host, region or any
//! other key. Owns the table of calls by attribute, which `instances` draws, too.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{RedGroup, RedResult, SpanKindName},
};

use super::ServiceView;
use crate::{
    api::analysis::red,
    asked::incomplete,
    browser,
    components::{Panel, Segment, Segments, change::short},
    format,
    format::rates,
    links::Links,
    remote::Remote,
    url::{Step, use_edit_query, use_query},
};

/// Maximum number of values that are listed.
const VALUES_MAX: u32 = 20;
/// Number of steps without a call, while others have calls, after which a value is silent.
const SILENT_STEPS: u64 = 3;
/// The offered attributes, with their names in the address.
const KEYS: [(&str, &str, &str); 5] = [
    ("version", "Version", "service.version"),
    ("instance", "Instance", "service.instance.id"),
    ("host", "Host", "host.name"),
    ("pod", "Pod", "k8s.pod.name"),
    ("region", "Region", "cloud.region"),
];

/// One value of the attribute and its calls.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SplitPart {
    value: Option<String>,
    /// The kind of the spans, only where values differ in it.
    kind: Option<SpanKindName>,
    calls: u64,
    failed: u64,
    per_second: f64,
    p50: DurationNanos,
    p95: DurationNanos,
    /// Start of the last step with a call.
    last: Option<UnixNanos>,
}

impl From<&RedGroup> for SplitPart {
    fn from(group: &RedGroup) -> Self {
        Self {
            value: group.attribute.clone(),
            kind: group.kind,
            calls: group.count,
            failed: group.error_count,
            per_second: group.rate_per_second,
            p50: group.duration.p50_nano,
            p95: group.duration.p95_nano,
            last: group.steps.iter().map(|step| step.start_unix_nano).max(),
        }
    }
}

/// The calls in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitScope {
    /// Calls of the chosen operation: rates, and the typical duration.
    Operation,
    /// All calls that the service serves: counts.
    Service,
}

/// The panel.
pub(super) fn split_panel(view: ServiceView) -> impl IntoView {
    let query = use_query();
    let edit = use_edit_query();
    let name =
        Memo::new(move |_| query.with(|query| query.get("split").unwrap_or(KEYS[0].0).to_owned()));
    // A key that is not offered is in the address literally.
    let key = Memo::new(move |_| {
        let name = name.get();
        let known = KEYS.iter().find(|(known, ..)| *known == name);
        known.map_or(name, |(_, _, key)| (*key).to_owned())
    });
    let answer = Remote::<RedResult>::new(move || {
        let by = format!("attribute:{}", key.get());
        Some(red(&view.of_chosen()?.with("by", by).with("limit", VALUES_MAX)))
    });
    let title = Memo::new(move |_| {
        let name = name.get();
        let known = KEYS.iter().find(|(known, ..)| *known == name);
        let word = known.map_or_else(|| short(&name), |(_, label, _)| label.to_lowercase());
        format!("By {word}")
    });
    let note = Memo::new(move |_| {
        let chosen = view.chosen.get();
        chosen.map_or(String::new(), |of| format!("of {}", short(format::operation(&of.name))))
    });
    let segments: Vec<Segment> =
        KEYS.iter().map(|(name, label, _)| Segment::new(name, *label)).collect();
    let choose = Callback::new(move |which: &'static str| {
        let split = (which != KEYS[0].0).then_some(which);
        edit(Step::Replace, &|query| query.set("split", split));
    });
    let tools = move || {
        let segments = segments.clone();
        view! { <Segments label="Split calls by" segments chosen=name on_choose=choose /> }
    };
    let draw = move |result: Arc<RedResult>| {
        let parts: Vec<SplitPart> = result.groups.iter().map(SplitPart::from).collect();
        let step = result.window.step_nano;
        part_table(view, &parts, &key.get_untracked(), (SplitScope::Operation, step))
    };
    view! {
        <Panel
            title=title
            note=note
            tools=tools.into()
            remote=answer
            needs=vec![view.watched_operations()]
            instead=view.without_operation()
            is_empty=|result| result.groups.is_empty()
            missing=missing
            empty="No call of the operation in this time."
            rows=3
            draw=draw
        />
    }
}

/// Returns the words for calls that were not counted or are not listed.
pub(super) fn missing(result: &RedResult) -> Option<String> {
    let listed = result.groups.len() as u64;
    let cut = (result.group_count > listed).then(|| {
        format!(
            "{} of {} are looked at, those with most calls.",
            format::count(listed),
            format::counted(result.group_count, "group")
        )
    });
    let unknown = (result.other_count > 0).then(|| {
        let calls = format::counted(result.other_count, "call");
        format!("{calls} of groups that are not told apart.")
    });
    let words: Vec<String> =
        [incomplete(&result.searched), cut, unknown].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Scales of the rows' bars and marks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// The longest p95, at least 1, and the shortest.
    longest: u64,
    shortest: u64,
    /// Failures and calls of the value with the lowest share of failures.
    least_failing: (u64, u64),
    /// Set when there is more than one row to compare.
    is_comparison: bool,
    /// Set when rows differ in span kind.
    has_kinds: bool,
    /// Start of the last step with a call of any row.
    last: Option<UnixNanos>,
    /// Length of a step.
    step: DurationNanos,
}

impl Scale {
    fn new(parts: &[SplitPart], step: DurationNanos) -> Self {
        let by_share = |a: &&SplitPart, b: &&SplitPart| a.error_share().total_cmp(&b.error_share());
        let least = parts.iter().filter(|part| part.calls > 0).min_by(by_share);
        Self {
            longest: parts.iter().map(|part| part.p95.0).max().unwrap_or(1).max(1),
            shortest: parts.iter().map(|part| part.p95.0).min().unwrap_or(0),
            least_failing: least.map_or((0, 0), |part| (part.failed, part.calls)),
            is_comparison: parts.len() > 1,
            has_kinds: parts.windows(2).any(|pair| pair[0].kind != pair[1].kind),
            last: parts.iter().filter_map(|part| part.last).max(),
            step,
        }
    }

    /// Reports whether a value has no more calls while others have some.
    fn is_silent(&self, part: &SplitPart) -> bool {
        let silence = self.last.zip(part.last).map(|(all, own)| all.since(own).0);
        silence.is_some_and(|silence| silence > self.step.0.saturating_mul(SILENT_STEPS))
    }
}

/// Calls by the values of an attribute, or words when no span has it.
pub(super) fn part_table(
    view: ServiceView,
    parts: &[SplitPart],
    key: &str,
    (scope, step): (SplitScope, DurationNanos),
) -> AnyView {
    if parts.iter().all(|part| part.value.is_none()) {
        return view! {
            <p class="panel-empty">"Its spans do not have " <code>{key.to_owned()}</code> "."</p>
        }
        .into_any();
    }
    let scale = Scale::new(parts, step);
    let rows = parts.iter().map(|part| part_row(view, part, (key, scope), scale)).collect_view();
    let (label, calls, usual) = match scope {
        SplitScope::Operation => ("Calls by attribute", "Calls/min", Some("p50")),
        SplitScope::Service => ("Instances", "Calls", None),
    };
    let last = (scope == SplitScope::Service).then(|| {
        view! { <th scope="col" class="num split-last">"Last call"</th> }
    });
    view! {
        <table class="table" aria-label=label>
            <thead>
                <tr>
                    <th scope="col" class="mono">{short(key)}</th>
                    <th scope="col" class="num">
                        {calls}
                    </th>
                    <th scope="col" class="num">
                        "Failed"
                    </th>
                    {usual.map(|usual| view! { <th scope="col" class="num">{usual}</th> })}
                    <th scope="col" class="num">
                        "p95"
                    </th>
                    {last}
                    <th scope="col" class="wide">
                        "p95 to scale"
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
    .into_any()
}

fn part_row(
    view: ServiceView,
    part: &SplitPart,
    (key, scope): (&str, SplitScope),
    scale: Scale,
) -> impl IntoView + use<> {
    let is_worst = part.p95.0 as f64 >= scale.shortest as f64 * 1.5 && scale.is_comparison;
    let fails_more = fails_more((part.failed, part.calls), scale.least_failing);
    let shown = part.value.as_deref().map_or("(not set)".to_owned(), short);
    let title = part.value.clone();
    let named = match &part.value {
        Some(value) => {
            let href = explore(view, key, value, scope);
            view! { <A href=href attr:title=title>{shown}</A> }.into_any()
        }
        None => view! { <span class="mute">{shown}</span> }.into_any(),
    };
    let kind = part.kind.filter(|_| scale.has_kinds).map(|kind| {
        view! { " " <span class="mute">{kind.word()}</span> }
    });
    let rate = rates::per_minute(part.per_second);
    let (calls, rate) = match scope {
        SplitScope::Operation => (rate, None),
        SplitScope::Service => (format::count(part.calls), Some(format!("{rate} a minute"))),
    };
    let usual = (scope == SplitScope::Operation).then(|| {
        view! { <td class="num">{format::duration_or_none(part.p50)}</td> }
    });
    let last = (scope == SplitScope::Service).then(|| {
        let words = part.last.map(|last| format::ago(last, browser::now()));
        let is_silent = scale.is_silent(part);
        view! { <td class="num split-last" class:is-worse=is_silent>{words}</td> }
    });
    let width = format!("{:.1}%", part.p95.0 as f64 / scale.longest as f64 * 100.0);
    view! {
        <tr>
            <td class="grow mono">{named} {kind}</td>
            <td class="num" title=rate>
                {calls}
            </td>
            <td class="num" class:is-worse=fails_more>
                {rates::percent(part.error_share())}
            </td>
            {usual}
            <td class="num" class:is-worse=is_worst>
                {format::duration_or_none(part.p95)}
            </td>
            {last}
            <td class="split-bar wide" aria-hidden="true">
                <span class="bar-track">
                    <span class="bar-fill" class:is-worse=is_worst style=("width", width)></span>
                </span>
            </td>
        </tr>
    }
}

/// Reports whether a value fails more than the one that fails least: by at least one percentage
/// point, and by more than chance (two-proportion test, three standard errors).
fn fails_more((failed, calls): (u64, u64), (least_failed, least_calls): (u64, u64)) -> bool {
    if calls == 0 || least_calls == 0 {
        return false;
    }
    let (calls, least_calls) = (calls as f64, least_calls as f64);
    let difference = failed as f64 / calls - least_failed as f64 / least_calls;
    let share = (failed as f64 + least_failed as f64) / (calls + least_calls);
    let error = (share * (1.0 - share) * (1.0 / calls + 1.0 / least_calls)).sqrt();
    difference >= 0.01 && difference >= 3.0 * error
}

impl SplitPart {
    fn error_share(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.failed as f64 / self.calls as f64 }
    }
}

/// Returns the address of Explore with the spans of one value.
fn explore(view: ServiceView, key: &str, value: &str, scope: SplitScope) -> String {
    let chosen = view.chosen.get_untracked().filter(|_| scope == SplitScope::Operation);
    let operation = chosen.map(|chosen| chosen.name).unwrap_or_default();
    let links: Links = view.links.get_untracked();
    let attribute = format!("{key}={value}");
    view.name.with_value(|service| {
        links.explore(&[("service", service), ("operation", &operation), ("attr", &attribute)])
    })
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{LatencyStats, RedGroup, SpanKindName},
    };

    use super::{Scale, SplitPart, fails_more, missing};

    fn group(
        value: Option<&str>,
        kind: SpanKindName,
        (calls, failed, p95): (u64, u64, u64),
    ) -> RedGroup {
        RedGroup {
            service: None,
            operation: None,
            kind: Some(kind),
            status: None,
            served: None,
            attribute: value.map(str::to_owned),
            count: calls,
            error_count: failed,
            rate_per_second: calls as f64 / 60.0,
            duration: LatencyStats { p95_nano: DurationNanos(p95), ..LatencyStats::default() },
            steps: Vec::new(),
            histogram: Vec::new(),
        }
    }

    #[test]
    fn parts_are_measured_against_the_best_and_the_longest() {
        let groups = [
            group(Some("a"), SpanKindName::Server, (10, 1, 50)),
            group(None, SpanKindName::Server, (4, 0, 200)),
        ];
        let parts: Vec<SplitPart> = groups.iter().map(SplitPart::from).collect();
        assert_eq!((parts[0].calls, parts[0].failed, parts[0].p95.0), (10, 1, 50));
        let scale = Scale::new(&parts, DurationNanos(1));
        assert_eq!((scale.longest, scale.shortest, scale.least_failing), (200, 50, (0, 4)));
        assert!(scale.is_comparison && !scale.has_kinds);
    }

    #[test]
    fn a_part_fails_more_only_where_chance_does_not_explain_it() {
        assert!(!fails_more((47, 500), (39, 494)), "9.4 % and 7.9 % of 500 are chance");
        assert!(fails_more((150, 500), (39, 494)));
        assert!(!fails_more((1_005, 100_000), (500, 100_000)), "half a point is little");
        assert!(!fails_more((1, 2), (0, 4)) && !fails_more((0, 0), (0, 0)));
    }

    #[test]
    fn kinds_are_named_only_where_they_differ_and_one_row_is_no_comparison() {
        let one = [SplitPart::from(&group(Some("a"), SpanKindName::Server, (0, 0, 0)))];
        let scale = Scale::new(&one, DurationNanos(1));
        assert_eq!((scale.longest, scale.is_comparison, scale.has_kinds), (1, false, false));
        assert_eq!(one[0].error_share(), 0.0);
        let other = SplitPart::from(&group(Some("a"), SpanKindName::Consumer, (1, 1, 1)));
        assert!(Scale::new(&[one[0].clone(), other], DurationNanos(1)).has_kinds);
    }

    #[test]
    fn a_part_is_silent_when_others_have_had_calls_for_some_steps() {
        let part = |last: u64| {
            let part = SplitPart::from(&group(Some("a"), SpanKindName::Server, (9, 0, 1)));
            SplitPart { last: Some(UnixNanos(last)), ..part }
        };
        let parts = [part(100), part(70), part(69)];
        let scale = Scale::new(&parts, DurationNanos(10));
        let silent = parts.each_ref().map(|part| scale.is_silent(part));
        assert_eq!(silent, [false, false, true]);
    }

    #[test]
    fn groups_that_are_not_listed_are_said() {
        let mut result: tidings_proto::api::RedResult = serde_json::from_value(serde_json::json!({
            "startUnixNano": "0", "endUnixNano": "1", "stepNano": "1", "groups": [],
            "groupCount": 0, "otherCount": 0, "repeatsCounted": false,
            "searched": { "rows": 2, "files": 0, "elapsedNano": "0", "complete": true },
        }))
        .unwrap();
        assert_eq!(missing(&result), None);
        result.group_count = 812;
        result.groups = vec![group(Some("a"), SpanKindName::Server, (1, 0, 0))];
        let words = "1 of 812 groups are looked at, those with most calls.";
        assert_eq!(missing(&result).as_deref(), Some(words));
        result.other_count = 3;
        let words = format!("{words} 3 calls of groups that are not told apart.");
        assert_eq!(missing(&result), Some(words));
    }
}
