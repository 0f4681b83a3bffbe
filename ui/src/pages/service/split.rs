//! The calls of the chosen operation, split by an attribute: version, instance, host, region or any
//! other key. Owns the table of calls by attribute, which `instances` draws, too. The API compares
//! each value with the others.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{RedGroup, RedResult, SpanKindName},
};

use super::ServiceView;
use crate::{
    api::analysis::red,
    browser,
    components::{Panel, Segment, Segments, change::truncate_name},
    format,
    format::rates,
    links::Links,
    page_time::partial_answer_text,
    request_state::RequestState,
    url::{History, use_edit_query, use_query},
};

/// Maximum number of values that are listed.
const VALUES_MAX: u32 = 20;
/// Number of steps without a call, while others have calls, after which a value is silent.
const SILENT_STEPS: u64 = 3;
/// Number of calls that a silent value would have had meanwhile at its rate. Fewer may come later by
/// chance.
const SILENT_CALLS: f64 = 8.0;
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
    /// Set when its calls are slower than those of the other values.
    is_slower: bool,
    /// Set when more of its calls fail than of those of the other values.
    fails_more: bool,
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
            is_slower: group.slower_than_others_factor.is_some(),
            fails_more: group.fails_more_than_others == Some(true),
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
    let answer = RequestState::<RedResult>::new(move || {
        let by = format!("attribute:{}", key.get());
        let analysis = view.of_chosen(view.tables.analysis()?)?;
        Some(red(&analysis.with("by", by).with("limit", VALUES_MAX)))
    });
    let title = Memo::new(move |_| {
        let name = name.get();
        let known = KEYS.iter().find(|(known, ..)| *known == name);
        let word = known.map_or_else(|| truncate_name(&name), |(_, label, _)| label.to_lowercase());
        format!("By {word}")
    });
    let note = Memo::new(move |_| {
        let Some(of) = view.chosen.get() else { return String::new() };
        let name = truncate_name(format::operation(&of.name));
        let words = view.tables.after(&format!("of {name}"));
        match view.pattern_words() {
            Some(pattern) => format!("{words}, {pattern}"),
            None => words,
        }
    });
    let segments: Vec<Segment> =
        KEYS.iter().map(|(name, label, _)| Segment::new(name, *label)).collect();
    let choose = Callback::new(move |which: &'static str| {
        let split = (which != KEYS[0].0).then_some(which);
        edit(History::Replace, &|query| query.set("split", split));
    });
    let tools = move || {
        let segments = segments.clone();
        view! { <Segments label="Split calls by" segments chosen=name on_choose=choose /> }
    };
    let draw = move |result: Arc<RedResult>| {
        let key = key.get_untracked();
        if let Some(version) = single_version(&result, &key) {
            let href = explore(view, &key, version, SplitScope::Operation);
            let version = truncate_name(version);
            return view! {
                <p class="panel-empty">"All calls ran on " <a href=href>{version}</a></p>
            }
            .into_any();
        }
        let parts: Vec<SplitPart> = result.groups.iter().map(SplitPart::from).collect();
        part_table(view, &parts, &key, (SplitScope::Operation, result.window.step_nano))
    };
    view! {
        <Panel
            title=title
            note=note
            tools=tools.into()
            state=answer
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

/// Returns the version that all calls have. Its numbers are those of the operation, so it needs no
/// table.
fn single_version<'a>(result: &'a RedResult, key: &str) -> Option<&'a str> {
    let is_known = result.searched.complete && result.group_count <= 1 && result.other_count == 0;
    match result.groups.as_slice() {
        [one] if is_known && key == KEYS[0].2 => one.attribute.as_deref(),
        _ => None,
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
        format!("{calls} of groups that are not listed.")
    });
    let words: Vec<String> =
        [partial_answer_text(&result.searched), cut, unknown].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Scales of the rows' bars and marks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// The longest p95, at least 1.
    longest: u64,
    /// Set when rows differ in span kind.
    has_kinds: bool,
    /// Start of the last step with a call of any row.
    last: Option<UnixNanos>,
    /// Length of a step.
    step: DurationNanos,
}

impl Scale {
    fn new(parts: &[SplitPart], step: DurationNanos) -> Self {
        Self {
            longest: parts.iter().map(|part| part.p95.0).max().unwrap_or(1).max(1),
            has_kinds: parts.windows(2).any(|pair| pair[0].kind != pair[1].kind),
            last: parts.iter().filter_map(|part| part.last).max(),
            step,
        }
    }

    /// Reports whether a value has no more calls while others have some.
    fn is_silent(&self, part: &SplitPart) -> bool {
        let silence = self.last.zip(part.last).map(|(all, own)| all.since(own).0);
        silence.is_some_and(|silence| {
            silence > self.step.0.saturating_mul(SILENT_STEPS)
                && silence as f64 / 1e9 * part.per_second >= SILENT_CALLS
        })
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
                    <th scope="col" class="mono">{truncate_name(key)}</th>
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
    let (is_slower, fails_more) = (part.is_slower, part.fails_more);
    let shown = part.value.as_deref().map_or("(not set)".to_owned(), truncate_name);
    let title = part.value.clone();
    let named = match &part.value {
        Some(value) => {
            let href = explore(view, key, value, scope);
            view! { <a href=href title=title>{shown}</a> }.into_any()
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
            <td class="num" class:is-worse=is_slower>
                {format::duration_or_none(part.p95)}
            </td>
            {last}
            <td class="split-bar wide" aria-hidden="true">
                <span class="bar-track">
                    <span class="bar-fill" class:is-worse=is_slower style=("width", width)></span>
                </span>
            </td>
        </tr>
    }
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
        api::{LatencyStats, RedGroup, RedResult, SpanKindName},
    };

    use super::{Scale, SplitPart, missing, single_version};

    fn group(
        value: Option<&str>,
        kind: SpanKindName,
        (calls, failed, p95): (u64, u64, u64),
    ) -> RedGroup {
        RedGroup {
            service: None,
            operation: None,
            operation_pattern: None,
            kind: Some(kind),
            status: None,
            served: None,
            attribute: value.map(str::to_owned),
            count: calls,
            error_count: failed,
            rate_per_second: calls as f64 / 60.0,
            duration: LatencyStats { p95_nano: DurationNanos(p95), ..LatencyStats::default() },
            before: None,
            slower_factor: None,
            p50_slower_factor: None,
            may_be_slower: false,
            fails_more: None,
            may_fail_more: false,
            before_steps: Vec::new(),
            slower_than_others_factor: None,
            fails_more_than_others: None,
            steps: Vec::new(),
            histogram: Vec::new(),
        }
    }

    #[test]
    fn parts_are_measured_against_the_longest() {
        let groups = [
            group(Some("a"), SpanKindName::Server, (10, 1, 50)),
            group(None, SpanKindName::Server, (4, 0, 200)),
        ];
        let parts: Vec<SplitPart> = groups.iter().map(SplitPart::from).collect();
        assert_eq!((parts[0].calls, parts[0].failed, parts[0].p95.0), (10, 1, 50));
        let scale = Scale::new(&parts, DurationNanos(1));
        assert_eq!((scale.longest, scale.has_kinds), (200, false));
    }

    #[test]
    fn a_part_is_worse_where_the_answer_says_so_of_the_other_values() {
        let marks = |slower_than_others_factor, fails_more_than_others| {
            let group = RedGroup {
                slower_factor: Some(9.0),
                fails_more: Some(true),
                slower_than_others_factor,
                fails_more_than_others,
                ..group(Some("a"), SpanKindName::Server, (500, 150, 50))
            };
            let part = SplitPart::from(&group);
            (part.is_slower, part.fails_more)
        };
        assert_eq!(marks(Some(5.0), Some(false)), (true, false));
        assert_eq!(marks(None, Some(true)), (false, true));
        assert_eq!(marks(None, None), (false, false), "the time before is no other value");
    }

    #[test]
    fn kinds_are_named_only_where_they_differ() {
        let one = [SplitPart::from(&group(Some("a"), SpanKindName::Server, (0, 0, 0)))];
        let scale = Scale::new(&one, DurationNanos(1));
        assert_eq!((scale.longest, scale.has_kinds), (1, false));
        assert_eq!(one[0].error_share(), 0.0);
        let other = SplitPart::from(&group(Some("a"), SpanKindName::Consumer, (1, 1, 1)));
        assert!(Scale::new(&[one[0].clone(), other], DurationNanos(1)).has_kinds);
    }

    #[test]
    fn a_part_is_silent_when_others_have_had_calls_for_some_steps() {
        const SECOND: u64 = 1_000_000_000;
        let part = |last: u64, per_second: f64| {
            let part = SplitPart::from(&group(Some("a"), SpanKindName::Server, (9, 0, 1)));
            SplitPart { last: Some(UnixNanos(last * SECOND)), per_second, ..part }
        };
        // The last has less than one call in the 31 seconds.
        let parts = [part(100, 1.0), part(70, 1.0), part(69, 1.0), part(69, 0.02)];
        let scale = Scale::new(&parts, DurationNanos(10 * SECOND));
        let silent = parts.each_ref().map(|part| scale.is_silent(part));
        assert_eq!(silent, [false, false, true, false]);
    }

    fn without_groups() -> RedResult {
        serde_json::from_value(serde_json::json!({
            "startUnixNano": "0", "endUnixNano": "1", "stepNano": "1", "groups": [],
            "groupCount": 0, "otherCount": 0, "repeatsCounted": false,
            "searched": { "rows": 2, "files": 0, "elapsedNano": "0", "complete": true },
        }))
        .unwrap()
    }

    #[test]
    fn a_version_that_all_calls_have_needs_no_table() {
        let one = |version| group(version, SpanKindName::Server, (1, 0, 0));
        let mut result = without_groups();
        result.group_count = 1;
        result.groups = vec![one(Some("2.13.4"))];
        assert_eq!(single_version(&result, "service.version"), Some("2.13.4"));
        assert_eq!(single_version(&result, "host.name"), None);
        result.other_count = 1;
        assert_eq!(single_version(&result, "service.version"), None, "some may have another");
        result.other_count = 0;
        result.groups = vec![one(None)];
        assert_eq!(single_version(&result, "service.version"), None);
        result.group_count = 2;
        result.groups = vec![one(Some("2.13.4")), one(Some("2.14.0"))];
        assert_eq!(single_version(&result, "service.version"), None);
    }

    #[test]
    fn unlisted_groups_are_reported() {
        let mut result = without_groups();
        assert_eq!(missing(&result), None);
        result.group_count = 812;
        result.groups = vec![group(Some("a"), SpanKindName::Server, (1, 0, 0))];
        let words = "1 of 812 groups are looked at, those with most calls.";
        assert_eq!(missing(&result).as_deref(), Some(words));
        result.other_count = 3;
        let words = format!("{words} 3 calls of groups that are not listed.");
        assert_eq!(missing(&result), Some(words));
    }
}
