//! The operations of a service: calls, failures and durations, each compared by the API with the
//! time before. Operations that got worse come first, then those with most time. Where many names
//! differ only in ids, their patterns are listed, whose calls the API has merged. Owns the rows,
//! the rule for the answer that has them, and the operation that panels show without a choice.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{CallsBefore, CallsInStep, RedGroup, RedResult, SpanKindName},
};

use super::{ChosenOperation, NO_OPERATION, ServiceView};
use crate::{
    charts::time_buckets::TimeBuckets,
    components::{
        Panel, PartialNote, Segment, Segments, SortHead, SortOrder, SparkTone, Sparkline,
        WatchedRequest, change::before_title, group_cells::call_stats, use_sort,
    },
    format,
    format::rates,
    number_format,
    page_time::partial_answer_text,
    shortcuts::use_row_shortcuts,
    url::{History, use_edit_query, use_query},
};

const ROW: &str = "operation-row";
/// Order of the rows without a choice.
const DEFAULT_ORDER: &str = "-change";
/// Words below a number that is worse than before where chance may explain it. Its title says more.
const MAY_BE_CHANCE: &str = "may be chance";

/// Number of operations up to which none are listed by pattern.
const UNFOLDED_MAX: u64 = 50;

/// Returns true where operations are listed by pattern: there are many, and fewer than half as many
/// patterns.
pub(super) fn have_ids(operations: &RedResult) -> bool {
    let count = operations.group_count;
    let is_fewer = |patterns: u64| patterns < count.div_ceil(2);
    count > UNFOLDED_MAX && operations.pattern_count.is_some_and(is_fewer)
}

/// Returns the listed answer, or `None` while it is unknown. Complete patterns are listed in place
/// of single names. Nothing is listed while their first answer is awaited, because it would replace
/// the rows. `patterns` is `None` where they are not wanted, too.
pub(super) fn listed(
    operations: Option<Arc<RedResult>>,
    patterns: Option<Arc<RedResult>>,
    awaits_patterns: bool,
) -> Option<Arc<RedResult>> {
    let patterns = patterns.filter(|patterns| patterns.searched.complete);
    patterns.or_else(|| operations.filter(|_| !awaits_patterns))
}

/// Returns the operation that panels show without a choice. Of patterns it is what a click on the
/// first row chooses. Of single names it is the served one with the most calls.
pub(super) fn default_operation(listed: &RedResult, rows: &[Row]) -> Option<ChosenOperation> {
    let first_pattern = rows.first().filter(|row| row.group.operation_pattern.is_some());
    if let Some(row) = first_pattern {
        let (name, kind) = row.target();
        return Some(ChosenOperation { name, kind });
    }
    let first = served(&listed.groups).next()?;
    Some(ChosenOperation { name: first.operation.clone()?, kind: first.kind })
}

/// Returns the listed pattern that the chosen operation stands for: the one with several operations
/// of which it has the most calls.
pub(super) fn pattern_of<'a>(rows: &'a [Row], chosen: &ChosenOperation) -> Option<&'a str> {
    let row = rows.iter().find(|row| row.is(chosen) && row.count_words().is_some())?;
    Some(row.name())
}

/// Returns the operations that others call, or all operations if others call none of them.
pub(super) fn served(groups: &[RedGroup]) -> impl Iterator<Item = &RedGroup> {
    let is_served = |group: &&RedGroup| group.served == Some(true);
    let any = groups.iter().any(|group| is_served(&group));
    groups.iter().filter(move |group| !any || is_served(group))
}

/// An operation, or a pattern of operations, of one span kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    group: RedGroup,
}

impl Row {
    fn is(&self, chosen: &ChosenOperation) -> bool {
        self.operation() == chosen.name
            && chosen.kind.is_none_or(|kind| Some(kind) == self.group.kind)
    }

    fn is_chosen(&self, chosen: Memo<Option<ChosenOperation>>) -> bool {
        chosen.with(|chosen| chosen.as_ref().is_some_and(|chosen| self.is(chosen)))
    }

    /// Returns the operation that the row chooses: of a pattern the one with the most calls.
    fn operation(&self) -> &str {
        match &self.group.operation_pattern {
            Some(pattern) => &pattern.example,
            None => self.group.operation.as_deref().unwrap_or_default(),
        }
    }

    /// Returns the name and the kind that select the operation.
    fn target(&self) -> (String, Option<SpanKindName>) {
        (self.operation().to_owned(), self.group.kind)
    }

    /// Returns the pattern or the operation.
    fn name(&self) -> &str {
        match &self.group.operation_pattern {
            Some(pattern) => &pattern.text,
            None => self.operation(),
        }
    }

    /// Returns the displayed name.
    fn words(&self) -> String {
        format::operation(self.name()).to_owned()
    }

    /// Returns the title of the name: of a pattern with its example.
    fn title(&self) -> String {
        let (words, example) = (self.words(), self.operation());
        if self.count_words().is_none() {
            return words;
        }
        format!("{words}; choosing it shows the one with the most calls, {example}")
    }

    /// Returns the words for the number of operations of a pattern that has several.
    fn count_words(&self) -> Option<String> {
        let pattern = self.group.operation_pattern.as_ref();
        let count = pattern.map(|pattern| pattern.operation_count).filter(|count| *count > 1);
        count.map(|count| format::counted(count, "operation"))
    }

    fn error_share(&self) -> f64 {
        number_format::ratio(self.group.error_count, self.group.count)
    }

    fn fails_more(&self) -> bool {
        self.group.fails_more == Some(true)
    }

    fn is_slower(&self) -> bool {
        self.group.slower_factor.is_some()
    }

    fn has_slower_p50(&self) -> bool {
        self.group.p50_slower_factor.is_some()
    }

    /// Returns the measure of the default order: a change for the worse, then the time of all its
    /// calls.
    fn weight(&self) -> (bool, DurationNanos) {
        let is_worse = self.fails_more() || self.is_slower() || self.has_slower_p50();
        (is_worse, self.group.duration.sum_nano)
    }
}

fn rows(result: &RedResult, all: bool, order: &SortOrder) -> Vec<Row> {
    let row = |group: &RedGroup| Row { group: group.clone() };
    let mut rows: Vec<Row> = if all {
        result.groups.iter().map(row).collect()
    } else {
        served(&result.groups).map(row).collect()
    };
    rows.sort_by(|a, b| match order.column.as_str() {
        "operation" => order.compare(a.name(), b.name()),
        "failed" => order.compare(a.error_share(), b.error_share()),
        "p50" => order.compare(a.group.duration.p50_nano, b.group.duration.p50_nano),
        "p95" => order.compare(a.group.duration.p95_nano, b.group.duration.p95_nano),
        "rate" => order.compare(a.group.count, b.group.count),
        _ => order.compare(a.weight(), b.weight()),
    });
    rows
}

/// Returns the rows of the listed answer, by the kinds and in the order of the address.
pub(super) fn use_rows(listed: Signal<Option<Arc<RedResult>>>) -> Memo<Option<Arc<Vec<Row>>>> {
    let (order, all) = (use_sort(DEFAULT_ORDER), use_all_kinds());
    Memo::new(move |_| {
        let result = listed.get()?;
        Some(Arc::new(order.with(|order| rows(&result, all.get(), order))))
    })
}

/// Reports whether spans of every kind are listed.
fn use_all_kinds() -> Memo<bool> {
    let query = use_query();
    Memo::new(move |_| query.with(|query| query.get("kinds") == Some("all")))
}

/// The panel.
pub(super) fn operations_panel(view: ServiceView) -> impl IntoView {
    let order = use_sort(DEFAULT_ORDER);
    let table = view.rows;
    let count = Memo::new(move |_| table.with(|table| table.as_ref().map_or(0, |rows| rows.len())));
    let choose = use_choose();
    let marked = use_row_shortcuts("Service", ROW, count, move |at| {
        let row = table.with_untracked(|rows| rows.as_ref().and_then(|rows| rows.get(at).cloned()));
        if let Some(row) = row {
            choose.run(row.target());
        }
    });
    let draw = move |_: Arc<RedResult>| {
        let body = move || {
            let result = view.listed.get()?;
            let buckets = TimeBuckets::from_window(&result.window);
            let none = no_calls_words(&result);
            let rows = table.get().unwrap_or_default();
            let row = |(index, row): (usize, &Row)| {
                operation_row(row, index, (buckets, none), view.chosen, marked, choose)
            };
            Some(rows.iter().enumerate().map(row).collect_view())
        };
        let unlisted = move || {
            let result = view.listed.get()?;
            let words = unlisted_words(&result)?;
            Some(view! { <PartialNote>{words}</PartialNote> })
        };
        view! {
            {unlisted}
            <table class="table operations" aria-label="Operations">
                <thead>{head(order)}</thead>
                <tbody>{body}</tbody>
            </table>
        }
    };
    let kinds = kinds_switch(use_all_kinds());
    let tools = move || view! { {names_switch(view)} {kinds.run()} };
    let patterns = WatchedRequest::new("The patterns of names are not known", view.patterns);
    view! {
        <Panel
            title="Operations"
            note=calls_note(view)
            tools=tools.into()
            state=view.operations
            needs=vec![patterns.only_while(move || view.by_pattern.get()).drawn()]
            is_empty=|result| result.groups.is_empty()
            missing=|result| partial_answer_text(&result.searched)
            empty=NO_OPERATION
            draw=draw
        />
    }
}

/// The headings of the columns.
fn head(order: Memo<SortOrder>) -> impl IntoView {
    view! {
        <tr>
            <SortHead column="operation" label="Operation" order />
            <SortHead column="rate" label="Calls/min" order numeric=true class="operations-rate" />
            <th scope="col" class="wide">
                <span class="hidden">"Calls over time"</span>
            </th>
            <SortHead column="failed" label="Failed" order numeric=true />
            <th scope="col" class="wide">
                <span class="hidden">"Failures over time"</span>
            </th>
            <SortHead column="p50" label="p50" order numeric=true class="operations-p50" />
            <th scope="col" class="num operations-p50-was" title="In as long a time before">
                "p50 was"
            </th>
            <SortHead column="p95" label="p95" order numeric=true />
            <th scope="col" class="num" title="In as long a time before">
                "p95 was"
            </th>
        </tr>
    }
}

/// Returns the calls of the service, as its row on Services has them, and the time that the table
/// counts: `60.0 calls/min since 14:01`.
fn calls_note(view: ServiceView) -> Signal<String> {
    Signal::derive(move || {
        let calls = view.group().map(|group| {
            let stats = if view.tables.is_whole() { &group.now } else { call_stats(&group) };
            format!("{} calls/min", rates::per_minute(stats.rate_per_second))
        });
        view.tables.after(&calls.unwrap_or_default())
    })
}

/// Returns a callback that chooses an operation and drops the box of the previous one.
fn use_choose() -> Callback<(String, Option<SpanKindName>)> {
    let edit = use_edit_query();
    Callback::new(move |(name, kind): (String, Option<SpanKindName>)| {
        edit(History::Replace, &|query| {
            query.set("operation", Some(&name));
            query.set("kind", kind.map(SpanKindName::word));
            query.remove("box");
        });
    })
}

/// The switch between operations that others call and all operations.
fn kinds_switch(all: Memo<bool>) -> ViewFn {
    let edit = use_edit_query();
    let segments = vec![Segment::new("served", "Served"), Segment::new("all", "All spans")];
    let chosen = Memo::new(move |_| if all.get() { "all" } else { "served" }.to_owned());
    let switch = Callback::new(move |which: &'static str| {
        edit(History::Replace, &|query| query.set("kinds", (which == "all").then_some(which)));
    });
    let tools = move || {
        let segments = segments.clone();
        view! { <Segments label="Which operations" segments chosen on_choose=switch /> }
    };
    tools.into()
}

/// The switch between patterns and single operations. Drawn where names have ids.
fn names_switch(view: ServiceView) -> impl IntoView {
    let edit = use_edit_query();
    let chosen =
        Memo::new(move |_| if view.by_pattern.get() { "patterns" } else { "single" }.to_owned());
    let switch = Callback::new(move |which: &'static str| {
        edit(History::Replace, &|query| query.set("names", (which == "single").then_some(which)));
    });
    move || {
        view.has_ids.get().then(|| {
            let segments =
                vec![Segment::new("patterns", "Patterns"), Segment::new("single", "Single names")];
            view! { <Segments label="How names are listed" segments chosen on_choose=switch /> }
        })
    }
}

/// Returns the words for operations, or patterns, that are not listed. A partial answer has words
/// of its own.
fn unlisted_words(result: &RedResult) -> Option<String> {
    let listed = result.groups.len() as u64;
    let is_pattern = result.groups.iter().any(|group| group.operation_pattern.is_some());
    let noun = if is_pattern { "pattern" } else { "operation" };
    let cut = (result.group_count > listed).then(|| {
        format!(
            "{} of {} are listed, those with most calls.",
            format::count(listed),
            format::counted(result.group_count, noun)
        )
    });
    let others = (result.other_count > 0).then(|| {
        let calls = format::counted(result.other_count, "call");
        let verb = if result.other_count == 1 { "is" } else { "are" };
        format!("{calls} of further operations {verb} in no row.")
    });
    let words: Vec<String> = [cut, others].into_iter().flatten().collect();
    (result.searched.complete && !words.is_empty()).then(|| words.join(" "))
}

/// Returns the words in place of the quantiles of an operation without calls in the time before. A
/// dash where that is not known.
fn no_calls_words(result: &RedResult) -> &'static str {
    let is_known = result.known_since_unix_nano.is_some() && result.searched.complete;
    if is_known { "no calls" } else { "–" }
}

fn operation_row(
    row: &Row,
    index: usize,
    (buckets, none): (TimeBuckets, &'static str),
    chosen: Memo<Option<ChosenOperation>>,
    marked: RwSignal<Option<usize>>,
    choose: Callback<(String, Option<SpanKindName>)>,
) -> impl IntoView + use<> {
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let share = |step: &CallsInStep| {
        (step.count > 0).then(|| number_format::ratio(step.error_count, step.count))
    };
    let failures = buckets.gauges(&row.group.steps, begin, share, None);
    let calls = buckets.rates(&row.group.steps, begin, |step| step.count);
    let shown = row.words();
    let (fails_more, is_slower) = (row.fails_more(), row.is_slower());
    let has_slower_p50 = row.has_slower_p50();
    let before = row.group.before;
    let was = |nanos: fn(CallsBefore) -> DurationNanos| {
        before.map_or(none.to_owned(), |was| format::duration_or_none(nanos(was)))
    };
    let (p50_was, p95_was) = (was(|was| was.p50_nano), was(|was| was.p95_nano));
    let failed_before = before.map(|was| rates::percent(was.error_share));
    let failed_title = before_title(failed_before, row.group.may_fail_more);
    let p95_title = before_title(None, row.group.may_be_slower);
    let tone = if fails_more { SparkTone::Error } else { SparkTone::Plain };
    let (selected, clicked) = (row.clone(), row.target());
    let chance = |is_it: bool| is_it.then(|| view! { <span class="was">{MAY_BE_CHANCE}</span> });
    let fails_by_chance = chance(row.group.may_fail_more);
    let slower_by_chance = chance(row.group.may_be_slower);
    view! {
        <tr
            id=format!("{ROW}-{index}")
            class="row-button"
            class:is-marked=move || marked.get() == Some(index)
            aria-selected=move || selected.is_chosen(chosen).to_string()
            on:click=move |_| choose.run(clicked.clone())
        >
            {name_cell(row, chosen, choose)}
            <td class="num operations-rate">{rates::per_minute(row.group.rate_per_second)}</td>
            <td class="wide">
                <Sparkline values=calls label=format!("Calls of {shown} over time") />
            </td>
            <td class="num operations-failed" class:is-worse=fails_more title=failed_title>
                {rates::percent(row.error_share())} {fails_by_chance}
            </td>
            <td class="wide">
                <Sparkline
                    values=failures
                    top_min=0.04
                    tone
                    label=format!("Failures of {shown} over time")
                />
            </td>
            <td class="num operations-p50" class:is-worse=has_slower_p50>
                {format::duration_or_none(row.group.duration.p50_nano)}
            </td>
            <td class="num mute operations-p50-was">{p50_was}</td>
            <td class="num" class:is-worse=is_slower title=p95_title>
                {format::duration_or_none(row.group.duration.p95_nano)} {slower_by_chance}
            </td>
            <td class="num mute">{p95_was}</td>
        </tr>
    }
}

/// The name, as a button that chooses the operation, and the kind.
fn name_cell(
    row: &Row,
    chosen: Memo<Option<ChosenOperation>>,
    choose: Callback<(String, Option<SpanKindName>)>,
) -> impl IntoView + use<> {
    let kind = row.group.kind.map(SpanKindName::word);
    let count = row.count_words().map(|words| view! { <span class="mute">{words}</span> });
    let (shown, title, target, row) = (row.words(), row.title(), row.target(), row.clone());
    view! {
        <td class="grow">
            <span class="row-names">
                <button
                    class="row-name"
                    type="button"
                    title=title
                    aria-current=move || row.is_chosen(chosen).then_some("true")
                    on:click=move |event| {
                        event.stop_propagation();
                        choose.run(target.clone());
                    }
                >
                    {shown}
                </button>
                <span class="mute">{kind}</span>
                {count}
            </span>
        </td>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        UnixNanos,
        api::{LatencyStats, OperationPattern, Searched, SpanKindName, TimeWindow},
    };

    use super::{
        Arc, ChosenOperation, DEFAULT_ORDER, DurationNanos, RedGroup, RedResult, Row, SortOrder,
        default_operation, have_ids, listed, no_calls_words, pattern_of, rows, served,
        unlisted_words,
    };

    fn group(kind: SpanKindName) -> RedGroup {
        RedGroup {
            service: None,
            operation: Some("GET /".to_owned()),
            operation_pattern: None,
            kind: Some(kind),
            status: None,
            served: Some(kind == SpanKindName::Server),
            attribute: None,
            count: 100,
            error_count: 10,
            rate_per_second: 1.0,
            duration: LatencyStats::default(),
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
    fn a_service_that_nobody_calls_lists_all_it_does() {
        let own = [group(SpanKindName::Internal)];
        assert_eq!(served(&own).count(), 1);
        let both = [group(SpanKindName::Internal), group(SpanKindName::Server)];
        assert_eq!(served(&both).count(), 1);
    }

    fn result(groups: Vec<RedGroup>) -> RedResult {
        RedResult {
            window: TimeWindow {
                start_unix_nano: UnixNanos(10),
                end_unix_nano: UnixNanos(20),
                step_nano: DurationNanos(1),
            },
            known_since_unix_nano: None,
            group_count: groups.len() as u64,
            groups,
            pattern_count: None,
            other_count: 0,
            repeats_counted: false,
            searched: Searched { complete: true, ..Searched::default() },
        }
    }

    fn pattern(operation_count: u64) -> RedGroup {
        let (text, example) = ("GET /user/<*>".to_owned(), "GET /user/8123".to_owned());
        let operation_pattern = Some(OperationPattern { text, operation_count, example });
        RedGroup { operation: None, operation_pattern, ..group(SpanKindName::Server) }
    }

    #[test]
    fn many_operations_of_few_patterns_are_listed_by_pattern() {
        let listed_by_pattern = |group_count: u64, pattern_count: Option<u64>| {
            have_ids(&RedResult { group_count, pattern_count, ..result(Vec::new()) })
        };
        assert!(listed_by_pattern(10_000, Some(3)) && listed_by_pattern(51, Some(25)));
        assert!(!listed_by_pattern(51, Some(26)) && !listed_by_pattern(100, Some(50)));
        assert!(!listed_by_pattern(50, Some(1)) && !listed_by_pattern(51, None));
    }

    #[test]
    fn a_pattern_has_its_name_and_chooses_its_example() {
        let row = Row { group: pattern(1_812) };
        assert_eq!((row.words().as_str(), row.operation()), ("GET /user/<*>", "GET /user/8123"));
        assert_eq!(row.count_words().as_deref(), Some("1,812 operations"));
        assert!(row.title().ends_with("with the most calls, GET /user/8123"));
        let (name, kind) = row.target();
        assert!(row.is(&ChosenOperation { name, kind }));
        let single = Row { group: pattern(1) };
        assert_eq!((single.count_words(), single.title()), (None, single.words()));
        let plain = Row { group: group(SpanKindName::Server) };
        assert_eq!((plain.name(), plain.operation()), ("GET /", "GET /"));
        assert_eq!(plain.count_words(), None);
    }

    #[test]
    fn nothing_is_listed_while_the_first_answer_about_patterns_is_awaited() {
        let answer = |result: RedResult| Some(Arc::new(result));
        let single = answer(result(vec![group(SpanKindName::Server)]));
        let patterns = answer(result(vec![pattern(9)]));
        assert_eq!(listed(single.clone(), None, true), None);
        assert_eq!(listed(single.clone(), patterns.clone(), false), patterns);
        assert_eq!(listed(single.clone(), None, false), single, "not wanted, or failed");
        let searched = Searched { complete: false, ..Searched::default() };
        let incomplete = answer(RedResult { searched, ..result(vec![pattern(9)]) });
        assert_eq!(listed(single.clone(), incomplete, false), single);
        assert_eq!(listed(None, None, false), None);
    }

    /// Calls that take most of the time of a service, by pattern.
    fn jobs() -> RedGroup {
        let (text, example) = ("POST /job/<*>".to_owned(), "POST /job/33".to_owned());
        let operation_pattern = Some(OperationPattern { text, operation_count: 40, example });
        let duration = LatencyStats { sum_nano: DurationNanos(9), ..LatencyStats::default() };
        RedGroup { operation_pattern, count: 42, duration, ..pattern(60) }
    }

    fn chosen(name: &str) -> ChosenOperation {
        ChosenOperation { name: name.to_owned(), kind: Some(SpanKindName::Server) }
    }

    #[test]
    fn the_default_is_the_first_pattern_of_the_list_or_the_single_name_with_most_calls() {
        let default = |listed: &RedResult, order: &str| {
            default_operation(listed, &rows(listed, false, &SortOrder::parse(order)))
        };
        let patterns = result(vec![pattern(60), jobs()]);
        assert_eq!(default(&patterns, DEFAULT_ORDER), Some(chosen("POST /job/33")));
        assert_eq!(default(&patterns, "-rate"), Some(chosen("GET /user/8123")));
        let slower = RedGroup {
            operation: Some("GET /slow".to_owned()),
            slower_factor: Some(2.0),
            ..group(SpanKindName::Server)
        };
        let single = result(vec![group(SpanKindName::Server), slower]);
        assert_eq!(default(&single, DEFAULT_ORDER), Some(chosen("GET /")));
        assert_eq!(default(&result(Vec::new()), DEFAULT_ORDER), None);
    }

    #[test]
    fn an_operation_stands_for_the_pattern_of_which_it_has_the_most_calls() {
        let listed = result(vec![pattern(60), jobs()]);
        let listed = rows(&listed, false, &SortOrder::parse(DEFAULT_ORDER));
        assert_eq!(pattern_of(&listed, &chosen("POST /job/33")), Some("POST /job/<*>"));
        assert_eq!(pattern_of(&listed, &chosen("POST /job/34")), None);
        let alone = [Row { group: pattern(1) }];
        assert_eq!(pattern_of(&alone, &chosen("GET /user/8123")), None, "it is the only one");
        let single = [Row { group: group(SpanKindName::Server) }];
        assert_eq!(pattern_of(&single, &chosen("GET /")), None);
    }

    #[test]
    fn unlisted_rows_are_reported() {
        let operations = result(vec![group(SpanKindName::Server)]);
        assert_eq!(unlisted_words(&operations), None);
        let operations = RedResult { group_count: 812, ..operations };
        let words = "1 of 812 operations are listed, those with most calls.";
        assert_eq!(unlisted_words(&operations).as_deref(), Some(words));
        let patterns = RedResult { other_count: 3, ..result(vec![pattern(9)]) };
        let words = "3 calls of further operations are in no row.";
        assert_eq!(unlisted_words(&patterns).as_deref(), Some(words));
        let patterns = RedResult { other_count: 1, ..patterns };
        let words = "1 call of further operations is in no row.";
        assert_eq!(unlisted_words(&patterns).as_deref(), Some(words));
        let patterns = RedResult { group_count: 2, other_count: 0, ..patterns };
        let words = "1 of 2 patterns are listed, those with most calls.";
        assert_eq!(unlisted_words(&patterns).as_deref(), Some(words));
    }

    #[test]
    fn an_operation_had_no_calls_only_where_the_time_before_was_read() {
        let words = |is_known: bool, complete: bool| {
            no_calls_words(&RedResult {
                known_since_unix_nano: is_known.then_some(UnixNanos(0)),
                searched: Searched { complete, ..Searched::default() },
                ..result(Vec::new())
            })
        };
        let all = [words(true, true), words(false, true), words(true, false)];
        assert_eq!(all, ["no calls", "–", "–"]);
    }

    #[test]
    fn a_number_is_red_where_the_answer_says_that_it_is_worse() {
        for (slower_factor, fails_more, expected) in [
            (Some(1.5), Some(true), (true, true)),
            (None, Some(false), (false, false)),
            (None, None, (false, false)),
        ] {
            let group = RedGroup { slower_factor, fails_more, ..group(SpanKindName::Server) };
            let row = Row { group };
            assert_eq!((row.is_slower(), row.fails_more()), expected);
        }
    }

    #[test]
    fn a_slower_operation_is_before_one_with_more_time() {
        let row = |slower_factor: Option<f64>, sum: u64| {
            let duration = LatencyStats { sum_nano: DurationNanos(sum), ..LatencyStats::default() };
            Row { group: RedGroup { slower_factor, duration, ..group(SpanKindName::Server) } }
        };
        let (slower, long, brief) = (row(Some(3.0), 1), row(None, 9), row(None, 5));
        assert!(slower.weight() > long.weight() && long.weight() > brief.weight());
        let mut median = row(None, 1);
        median.group.p50_slower_factor = Some(3.0);
        assert!(median.weight() > long.weight() && !median.is_slower());
    }
}
