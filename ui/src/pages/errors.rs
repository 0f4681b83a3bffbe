//! Errors: exceptions, the same ones together, the new and multiplied ones first.
//!
//! Owns the questions (the exceptions, compared with the time before; the same list later, with the
//! groups that others follow from), the filters, which group is open, and the order, in which
//! followers stand beneath their source. Groups, their numbers, which of them are new or
//! multiplied, their sources and the number of their followers are the API's.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{BaselineState, ExceptionGroup, ExceptionList, NameList},
};

use crate::{
    addresses,
    api::{
        self,
        analysis::{self, Analysis},
    },
    browser,
    charts::time_buckets::TimeBuckets,
    components::{
        AddressSegments, Badge, Chip, Icon, IconName, Panel, ServiceName, SortHead, SortOrder,
        SparkBars, SparkTone, Suggest, Suggestion, Tone, UnreadNote, WatchedRequest,
        report::quiet_text, use_choice, use_sort,
    },
    format, number_format,
    page_time::partial_answer_text,
    request_state::RequestState,
    shell::{crumb, set_crumbs},
    shortcuts::use_shortcuts,
    url::{History, TimeRange, UrlQuery, use_edit_query, use_query},
    window::LiveWindow,
};

mod group;
pub mod stack;

/// Groups that are listed.
const LISTED: u32 = 300;

const SHOWN: &[(&str, &str)] = &[("all", "All"), ("new", "New"), ("more", "More than before")];

/// A group, and the one that it follows from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ErrorRow {
    pub(crate) group: ExceptionGroup,
    /// Source of a group that only follows.
    source: Option<SourceGroup>,
    /// Number of groups that follow from it.
    follower_count: u64,
    first_seen: FirstSeen,
    /// Set where its source is drawn above it.
    is_beneath: bool,
}

/// The group that others follow from.
#[derive(Debug, Clone, PartialEq)]
struct SourceGroup {
    id: String,
    service: String,
    operation: String,
    /// Set when it is new or multiplied.
    came_or_grew: bool,
}

/// Factor of a group's count against before, where it is multiplied.
fn multiplied(group: &ExceptionGroup) -> Option<f64> {
    group.factor.filter(|_| group.is_multiplied)
}

fn came_or_grew(group: &ExceptionGroup) -> bool {
    group.is_new || multiplied(group).is_some()
}

impl ErrorRow {
    /// Factor of its count against before, where it is multiplied.
    fn multiplied(&self) -> Option<f64> {
        multiplied(&self.group)
    }

    /// Set when it is new or multiplied by itself, and not because its source is.
    fn is_loud(&self) -> bool {
        self.came_or_grew() && !self.source.as_ref().is_some_and(|source| source.came_or_grew)
    }

    fn came_or_grew(&self) -> bool {
        came_or_grew(&self.group)
    }

    /// Words for where it comes from: the service of its source, or within one service the
    /// operation.
    fn source_words(&self) -> Option<String> {
        let SourceGroup { service, operation, .. } = self.source.as_ref()?;
        let is_own = *service == self.group.service && !operation.is_empty();
        let name = if is_own { operation.as_str() } else { format::service(service) };
        Some(format!("from {}", number_format::truncate(name, 30)))
    }

    /// Returns the key of the order *what changed*: new kinds first, then by factor.
    fn change(&self) -> f64 {
        let many = (self.group.count as f64).ln_1p() / 100.0;
        if self.group.is_new {
            100.0 + many
        } else {
            self.group.factor.unwrap_or(1.0).clamp(0.0, 99.0) + many
        }
    }
}

/// Rows of a list. `with_sources` is the list that names the groups that others follow from.
fn measured(list: &ExceptionList, with_sources: Option<&ExceptionList>) -> Vec<ErrorRow> {
    let known = with_sources.into_iter().flat_map(|list| &list.groups);
    let known: HashMap<&str, &ExceptionGroup> =
        known.map(|group| (group.id.as_str(), group)).collect();
    let source = |group: &ExceptionGroup| {
        let id = known.get(group.id.as_str())?.follows_id.as_ref()?;
        let found = list.groups.iter().find(|other| other.id == *id)?;
        let ExceptionGroup { id, service, operation, .. } = found;
        let [id, service, operation] = [id, service, operation].map(String::clone);
        Some(SourceGroup { id, service, operation, came_or_grew: came_or_grew(found) })
    };
    let row = |group: &ExceptionGroup| ErrorRow {
        group: group.clone(),
        source: source(group),
        follower_count: known.get(group.id.as_str()).map_or(0, |group| group.follower_count),
        first_seen: FirstSeen::in_window(group, list),
        is_beneath: false,
    };
    list.groups.iter().map(row).collect()
}

/// Sorts the rows, and moves each follower beneath its source, where that is among them.
fn sort(rows: &mut [ErrorRow], order: &SortOrder) {
    rows.sort_by(|left, right| {
        let (one, other) = (&left.group, &right.group);
        let chosen = match order.column.as_str() {
            "type" => order.compare(&one.exception_type, &other.exception_type),
            "where" => {
                order.compare((&one.service, &one.operation), (&other.service, &other.operation))
            }
            "count" => order.compare(one.count, other.count),
            "before" => order.compare(one.before_count, other.before_count),
            "first" => order.compare(left.first_seen, right.first_seen),
            "last" => order.compare(one.last_seen_unix_nano, other.last_seen_unix_nano),
            _ => order.compare(left.change(), right.change()),
        };
        let by_count = other.count.cmp(&one.count);
        if chosen == Ordering::Equal { by_count } else { chosen }
    });
    let ids = rows.iter().map(|row| row.group.id.clone());
    let positions: HashMap<String, usize> = ids.zip(0..).collect();
    let above = |row: &ErrorRow| positions.get(&row.source.as_ref()?.id).copied();
    for row in rows.iter_mut() {
        row.is_beneath = above(row).is_some();
    }
    rows.sort_by_cached_key(|row| {
        let own = positions.get(&row.group.id).copied();
        (above(row).or(own), row.is_beneath)
    });
}

/// The filters of the address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ErrorFilters {
    service: Option<String>,
    operation: Option<String>,
    exception_type: Option<String>,
}

impl ErrorFilters {
    fn read(query: &UrlQuery) -> Self {
        let text = |key| query.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            service: text("service"),
            operation: text("operation"),
            exception_type: text("type"),
        }
    }

    fn on(&self, analysis: Analysis) -> Analysis {
        analysis
            .with_some("service", self.service.as_ref())
            .with_some("operation", self.operation.as_ref())
            .with_some("type", self.exception_type.as_ref())
            .with("limit", LISTED)
    }
}

/// State that the parts of the page share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorsState {
    pub(crate) window: LiveWindow,
    now: RequestState<ExceptionList>,
    /// The same list with the sources of its groups, which takes longer.
    with_sources: RequestState<ExceptionList>,
    filters: Memo<ErrorFilters>,
    shown: Memo<&'static str>,
    order: Memo<SortOrder>,
    open: Memo<Option<String>>,
    toggle: Callback<String>,
}

impl ErrorsState {
    fn follow() -> Self {
        let window = LiveWindow::follow();
        let query = use_query();
        let filters = Memo::new(move |_| query.with(ErrorFilters::read));
        let compared = move |analysis: Analysis| {
            filters.with(|filters| filters.on(analysis)).with("compare", true)
        };
        let now =
            window.request(move |window| Some(analysis::exceptions(&compared(window.analysis()))));
        // The list is requested twice for a fast first paint: an answer comes whole, so one with
        // sources is not drawn before sampled traces are read.
        let with_sources = window.request_slowly(move |window| {
            let analysis = compared(window.analysis()).with("sources", true);
            Some(analysis::exceptions(&analysis))
        });
        let open = Memo::new(move |_| {
            query.with(|query| query.get("open").filter(|id| !id.is_empty()).map(str::to_owned))
        });
        let edit = use_edit_query();
        let toggle = Callback::new(move |id: String| {
            let open = (open.get_untracked().as_ref() != Some(&id)).then_some(id);
            edit(History::Replace, &|query| query.set("open", open.as_ref()));
        });
        let shown = use_choice("show", SHOWN);
        let order = use_sort("-change");
        Self { window, now, with_sources, filters, shown, order, open, toggle }
    }

    /// All rows, in the order of the answer.
    fn measured(self) -> Option<Vec<ErrorRow>> {
        let with_sources = self.with_sources.value();
        Some(measured(self.now.value()?.as_ref(), with_sources.as_deref()))
    }

    /// The list with the kinds that others follow from. `None` while these are unknown, and where
    /// filters may leave them out of the list.
    fn with_all_sources(self) -> Option<Arc<ExceptionList>> {
        let has_filters = self.filters.with(|filters| *filters != ErrorFilters::default());
        self.with_sources.value().filter(|_| !has_filters)
    }

    /// The rows in their order.
    fn rows(self) -> Vec<ErrorRow> {
        let Some(mut rows) = self.measured() else { return Vec::new() };
        match self.shown.get() {
            "new" => rows.retain(|row| row.group.is_new),
            "more" => rows.retain(ErrorRow::came_or_grew),
            _ => {}
        }
        self.order.with(|order| sort(&mut rows, order));
        rows
    }
}

/// The page.
#[component]
#[must_use]
pub fn ErrorsPage() -> impl IntoView {
    set_crumbs(crumb("Errors"));
    let page = ErrorsState::follow();
    bind_keys(page);
    let count = move || {
        let with_sources = page.with_all_sources();
        page.now.value().map(|list| count_text(&list, with_sources.as_deref()))
    };
    let unknown_sources =
        WatchedRequest::new("Which exceptions only follow is not known", page.with_sources).note();
    let draw = move |list: Arc<ExceptionList>| view! { <ErrorTable page list /> };
    let unread = Signal::derive(move || {
        let list = page.now.value()?;
        page.open.with(|open| unread_kind(open.as_deref()?, &list))
    });
    view! {
        <div class="page">
            <div class="page-head">
                <div class="page-title">
                    <h1>"Errors"</h1>
                    <span class="mute">{count}</span>
                    <span class="page-tools">
                        <AddressSegments name="show" offered=SHOWN label="Which exceptions" />
                    </span>
                </div>
                <p class="sentence">{move || sentence(page)}</p>
                {unknown_sources}
                <UnreadNote words=unread />
                <FilterChips page />
            </div>
            <Panel
                title="Exceptions"
                note=Signal::derive(move || format!("against {}", page.window.get().preceding_text()))
                state=page.now
                is_empty=|list| list.groups.is_empty()
                missing=missing
                empty="No exception was recorded in this time. Exceptions are the exception events of spans, and log records with exception attributes."
                offers_all_time=true
                rows=8
                draw=draw
            />
            <p class="mute errors-note">
                "Exceptions of one type, service, operation and stack are one kind, whatever their messages and line numbers."
            </p>
        </div>
    }
}

/// Returns the words for an open kind of the address that is not in the list.
fn unread_kind(id: &str, list: &ExceptionList) -> Option<String> {
    let is_listed = list.groups.iter().any(|group| group.id == id);
    let id = number_format::truncate(id, 80);
    (!is_listed)
        .then(|| format!("`open={id}` is no kind of exception that is listed in this time."))
}

/// Returns the words for a list: `414 exceptions of 7 kinds: 159 at 2 causes, 255 follow from them`.
/// `with_sources` is a later list. If it has the same kinds, its numbers are used. Causes are
/// counted only with it, where an exception follows from another, and where all kinds are listed.
fn count_text(now: &ExceptionList, with_sources: Option<&ExceptionList>) -> String {
    let with_sources = with_sources.filter(|list| {
        list.groups.len() as u64 == now.group_count
            && list.group_count == now.group_count
            && list.window.step_nano == now.window.step_nano
    });
    let list = with_sources.unwrap_or(now);
    let exceptions = format::counted(list.count, "exception");
    let kinds = format::counted(list.group_count, "kind");
    let counts = with_sources.and_then(|list| list.cause_count.zip(list.follow_count));
    let Some((at_causes, follow)) = counts.filter(|(_, follow)| *follow > 0) else {
        return format!("{exceptions} of {kinds}");
    };
    let causes = list.groups.iter().filter(|group| group.follows_id.is_none()).count() as u64;
    let source = if causes == 1 { "it" } else { "them" };
    let verb = if follow == 1 { "follows" } else { "follow" };
    let [at_causes, follow] = [at_causes, follow].map(format::count);
    let causes = format::counted(causes, "cause");
    format!("{exceptions} of {kinds}: {at_causes} at {causes}, {follow} {verb} from {source}")
}

/// The first occurrence of a kind, from the window and the time before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum FirstSeen {
    /// A moment before the window, which begins at this one.
    Before(UnixNanos),
    /// A moment in the first step of the window, or one before that was not counted.
    Unknown,
    /// This moment of the window. None is known of the time before.
    At(UnixNanos),
}

impl FirstSeen {
    /// Returns the first occurrence of a group, from the list that has it.
    pub(crate) fn in_window(group: &ExceptionGroup, list: &ExceptionList) -> Self {
        let first = group.first_seen_unix_nano;
        let is_at_start = TimeBuckets::from_window(&list.window).bucket(first) == Some(0);
        match group.before_count {
            Some(1..) => Self::Before(list.window.start_unix_nano),
            // The time before has exceptions, of which not all were counted.
            None if list.known_since_unix_nano.is_some() && is_at_start => Self::Unknown,
            _ => Self::At(first),
        }
    }

    /// Returns the text of its cell, and a title that explains it.
    pub(crate) fn words(self, now: UnixNanos) -> (String, &'static str) {
        match self {
            Self::Before(start) => {
                let start = browser::local_minute(start, now);
                (format!("before {start}"), "It came before the chosen time, too")
            }
            Self::Unknown => ("–".to_owned(), "Not all exceptions before were counted"),
            Self::At(first) => {
                let text = format::when(first, now, browser::zone_minutes(first));
                let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
                (seconds.to_owned(), "The first in the chosen time; none is known before it")
            }
        }
    }
}

fn missing(list: &ExceptionList) -> Option<String> {
    let mut words = Vec::new();
    let listed = list.groups.len() as u64;
    if list.group_count > listed {
        words.push(format!(
            "Listed by frequency: only the first {}.",
            format::counted(listed, "kind")
        ));
    }
    if list.other_count > 0 {
        let count = format::counted(list.other_count, "exception");
        words.push(format!("{count} of kinds that are not listed."));
    }
    // Last: the link that reads the rest stands behind it.
    words.extend(partial_answer_text(&list.searched));
    (!words.is_empty()).then(|| words.join(" "))
}

/// Names the new kinds and the one that came more often, in a sentence; those that follow from
/// others are counted only.
fn sentence(page: ErrorsState) -> Option<String> {
    if page.now.value()?.known_since_unix_nano.is_none() {
        return Some(quiet_text(BaselineState::Empty).to_owned());
    }
    let rows = page.measured()?;
    let (loud, follow): (Vec<&ErrorRow>, Vec<&ErrorRow>) =
        rows.iter().filter(|row| row.came_or_grew()).partition(|row| row.is_loud());
    let name = |row: &ErrorRow| {
        let group = &row.group;
        let name = number_format::truncate(type_words(group), 60);
        format!("{name} of {}", number_format::truncate(format::service(&group.service), 40))
    };
    let mut multiplied: Vec<&ErrorRow> =
        loud.iter().copied().filter(|row| row.multiplied().is_some()).collect();
    multiplied.sort_by(|left, right| right.change().total_cmp(&left.change()));
    let mut new: Vec<&ErrorRow> = loud.iter().copied().filter(|row| row.group.is_new).collect();
    new.sort_by_key(|row| std::cmp::Reverse(row.group.count));
    let mut words = Vec::new();
    if let Some(row) = multiplied.first() {
        let times = number_format::factor_text(row.group.factor.unwrap_or(1.0));
        words.push(format!("{} comes {times} as often as before.", name(row)));
    }
    match new.as_slice() {
        [] => {}
        [one] => words.push(format!("One kind is new: {}.", name(one))),
        many => {
            let names: Vec<String> = many.iter().take(3).map(|row| name(row)).collect();
            let more = many.len().saturating_sub(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            words.push(format!(
                "{} are new: {}{more}.",
                format::counted(many.len() as u64, "kind"),
                names.join(", ")
            ));
        }
    }
    if !follow.is_empty() {
        let verb = if follow.len() == 1 { "follows" } else { "follow" };
        let kinds = format::counted(follow.len() as u64, "kind");
        words.push(format!("{kinds} {verb} from there."));
    }
    Some(if words.is_empty() {
        "Nothing new, and nothing that comes much more often.".to_owned()
    } else {
        words.join(" ")
    })
}

fn bind_keys(page: ErrorsState) {
    let by = move |step: isize| {
        let rows = untrack(|| page.rows());
        let open = page.open.get_untracked();
        let at = rows.iter().position(|row| Some(&row.group.id) == open.as_ref());
        let next = at.map_or(0, |at| at.saturating_add_signed(step));
        if let Some(row) = rows.get(next.min(rows.len().saturating_sub(1)))
            && Some(&row.group.id) != open.as_ref()
        {
            page.toggle.run(row.group.id.clone());
            browser::scroll_into_view(&row_id(&row.group.id));
        }
    };
    let (keys, group) = (use_shortcuts(), "Errors");
    keys.bind("j", "Open the next exception", group, move || by(1));
    keys.bind("k", "Open the previous exception", group, move || by(-1));
    keys.bind("Escape", "Close the exception", group, move || {
        if let Some(open) = page.open.get_untracked() {
            page.toggle.run(open);
        }
    });
}

fn row_id(group: &str) -> String {
    format!("error-{group}")
}

/// The type of a group as it is drawn: never nothing.
pub(crate) fn type_words(group: &ExceptionGroup) -> &str {
    if group.exception_type.is_empty() { "(no type)" } else { &group.exception_type }
}

/// The active filters, each with a button that removes it, and the choice of a service.
#[component]
fn FilterChips(page: ErrorsState) -> impl IntoView {
    let edit = use_edit_query();
    let remove = Callback::new(move |key: &'static str| {
        edit(History::Push, &|query| query.remove(key));
    });
    let chips = move || {
        let filters = page.filters.get();
        let set = [("operation", filters.operation), ("type", filters.exception_type)];
        let chip = |(key, value): (&'static str, Option<String>)| {
            value.map(|value| {
                view! {
                    <span class="chip">
                        <span class="chip-body">
                            <span class="chip-name">{key}</span>
                            <span class="chip-relation">"="</span>
                            <span class="chip-value" title=value.clone()>{number_format::truncate(&value, 60)}</span>
                        </span>
                        <button
                            class="chip-remove"
                            type="button"
                            aria-label=format!("Remove the filter {key}")
                            on:click=move |_| remove.run(key)
                        >
                            "×"
                        </button>
                    </span>
                }
            })
        };
        set.into_iter().filter_map(chip).collect_view()
    };
    view! {
        <div class="filters">
            <ServiceFilter page />
            {chips}
        </div>
    }
}

/// The service whose exceptions are listed, and the field to choose it in.
#[component]
fn ServiceFilter(page: ErrorsState) -> impl IntoView {
    let is_choosing = RwSignal::new(false);
    let text = RwSignal::new(String::new());
    let edit = use_edit_query();
    let set = Callback::new(move |service: Option<String>| {
        is_choosing.set(false);
        let service = service.filter(|service| !service.is_empty());
        edit(History::Push, &|query| query.set("service", service.as_ref()));
    });
    let start = Callback::new(move |typed: String| {
        text.set(typed);
        is_choosing.set(true);
    });
    let chosen = Memo::new(move |_| page.filters.with(|filters| filters.service.clone()));
    let shown = move || match chosen.get() {
        Some(service) => {
            let typed = service.clone();
            view! {
                <Chip
                    name="service".to_owned()
                    relation="="
                    value=service
                    on_edit=Callback::new(move |()| start.run(typed.clone()))
                    on_remove=Callback::new(move |()| set.run(None))
                />
            }
            .into_any()
        }
        None => view! {
            <button class="chip-add" type="button" on:click=move |_| start.run(String::new())>
                <Icon name=IconName::Plus />
                "service"
            </button>
        }
        .into_any(),
    };
    let names = RequestState::<NameList>::new(move || {
        is_choosing.get().then(|| api::services(&text.get()))
    });
    let suggestions = Memo::new(move |_| {
        let names = names.value().map(|list| list.names.clone()).unwrap_or_default();
        names.into_iter().map(|name| Suggestion::counted(name.name, name.count)).collect()
    });
    let choose = Callback::new(move |service| set.run(Some(service)));
    let leave = Callback::new(move |()| is_choosing.set(false));
    view! {
        <Show when=move || is_choosing.get() fallback=shown>
            <Suggest
                id="error-service"
                label="Service"
                placeholder="Service"
                text
                suggestions
                on_choose=choose
                on_leave=leave
            />
        </Show>
    }
}

#[component]
fn ErrorTable(page: ErrorsState, list: Arc<ExceptionList>) -> impl IntoView {
    let buckets = TimeBuckets::from_window(&list.window);
    let order = page.order;
    let rows = Memo::new(move |_| page.rows());
    let is_empty = move || rows.with(Vec::is_empty);
    let body = move || {
        let range = page.window.get().range();
        rows.get()
            .into_iter()
            .map(|row| view! { <ErrorLine page row buckets range /> })
            .collect_view()
    };
    view! {
        <table class="table errors" aria-label="Exceptions">
            <thead>
                <tr>
                    <SortHead column="type" label="Exception" order />
                    <th scope="col" class="errors-message">"Message"</th>
                    <SortHead column="where" label="Where" order />
                    <SortHead column="count" label="Count" order numeric=true />
                    <SortHead column="before" label="Before" order numeric=true />
                    <SortHead column="change" label="Change" order numeric=true />
                    <th scope="col" class="errors-spark">"Over time"</th>
                    <SortHead
                        column="first"
                        label="First seen"
                        order
                        numeric=true
                        class="wide"
                    />
                    <SortHead column="last" label="Last seen" order numeric=true />
                </tr>
            </thead>
            <tbody>{body}</tbody>
        </table>
        <Show when=is_empty>
            <p class="panel-empty">"None of them is new or comes much more often than before."</p>
        </Show>
    }
}

#[component]
fn ErrorLine(
    page: ErrorsState,
    row: ErrorRow,
    buckets: TimeBuckets,
    range: TimeRange,
) -> impl IntoView {
    let group = row.group.clone();
    let id = group.id.clone();
    let is_open = {
        let id = id.clone();
        Memo::new(move |_| page.open.with(|open| open.as_ref() == Some(&id)))
    };
    let (bars, is_last_partial) = (buckets.counts(&group.steps), buckets.is_last_partial());
    let now = browser::now();
    let (first, first_title) = row.first_seen.words(now);
    let last = format::ago(group.last_seen_unix_nano, now);
    let (is_loud, is_beneath) = (row.is_loud(), row.is_beneath);
    let tone = if is_loud { SparkTone::Error } else { SparkTone::Plain };
    let before = group.before_count.map_or_else(|| "–".to_owned(), format::count);
    let change = change_view(&row);
    let name = type_words(&group).to_owned();
    let followers = followers_text(row.follower_count).map(|words| {
        let title = "Kinds that are thrown above this one in nearly all of their transactions";
        view! { <span class="mute errors-followers" title=title>{words}</span> }
    });
    // On a narrow screen it stands below the name, in place of two columns.
    let from = row.source_words().unwrap_or_default();
    let second: Vec<String> = [&group.service, &group.operation, &from, &group.message]
        .into_iter()
        .map(|part| number_format::truncate(part, 100))
        .filter(|part| !part.is_empty())
        .collect();
    let second = second.join(" · ");
    let toggled = id.clone();
    let toggle = move |_| page.toggle.run(toggled.clone());
    let clicked = id.clone();
    let place = place_view(&row, range);
    let details = move || is_open.get().then(|| group::details(page, &row, range));
    view! {
        <tr
            id=row_id(&id)
            class="row-link"
            class:is-beneath=is_beneath
            aria-selected=move || is_open.get().to_string()
            on:click=move |_| page.toggle.run(clicked.clone())
        >
            <td class="errors-type">
                <button
                    class="errors-open"
                    type="button"
                    aria-expanded=move || is_open.get().to_string()
                    title=name.clone()
                    on:click=move |event| {
                        event.stop_propagation();
                        toggle(event);
                    }
                >
                    <span class="errors-caret" aria-hidden="true">
                        {move || if is_open.get() { "▾" } else { "▸" }}
                    </span>
                    <span class="errors-name" class:is-worse=is_loud>{name.clone()}</span>
                </button>
                {followers}
                <span class="errors-second" title=second.clone()>{second.clone()}</span>
            </td>
            <td class="grow mono errors-message" title=number_format::truncate(&group.message, 2_000)>
                <span class="errors-words">{number_format::truncate(&group.message, 240)}</span>
            </td>
            <td class="errors-where">
                {place}
            </td>
            <td class="num">{format::count(group.count)}</td>
            <td class="num was">{before}</td>
            <td class="num">{change}</td>
            <td class="errors-spark">
                <SparkBars values=bars is_last_partial tone label="Exceptions over time" />
            </td>
            <td class="num wide" title=first_title>{first}</td>
            <td class="num">{last}</td>
        </tr>
        {details}
    }
}

/// Service and operation of a kind, and where it comes from if it follows.
fn place_view(row: &ErrorRow, range: TimeRange) -> impl IntoView + use<> {
    let ExceptionGroup { service, operation, .. } = &row.group;
    let href = addresses::service(service, range);
    let from = row.source_words().map(|words| view! { " " <span class="mute">{words}</span> });
    view! {
        <span class="errors-place">
            <a class="plain-link" href=href on:click=|event| event.stop_propagation()>
                <ServiceName service=service.clone() />
            </a>
            " "
            <span class="mute errors-operation" title=operation.clone()>
                {number_format::truncate(operation, 40)}
            </span>
            {from}
        </span>
    }
}

/// The change of a kind against the time before, in a word or a factor. Only a kind that is new or
/// multiplied by itself has a badge.
fn change_view(row: &ErrorRow) -> AnyView {
    let quiet = |words: String| view! { <span class="mute">{words}</span> }.into_any();
    match (row.group.is_new, row.multiplied(), row.group.factor) {
        (true, ..) if row.is_loud() => view! { <Badge tone=Tone::Error>"NEW"</Badge> }.into_any(),
        (true, ..) => quiet("new".to_owned()),
        (_, Some(times), _) if row.is_loud() => {
            view! { <Badge tone=Tone::Warning>{number_format::factor_text(times)}</Badge> }
                .into_any()
        }
        (_, _, Some(times)) => quiet(number_format::factor_text(times)),
        _ => quiet("–".to_owned()),
    }
}

/// Returns the words for the groups that follow from one: `+2 that follow`.
pub(crate) fn followers_text(count: u64) -> Option<String> {
    let verb = if count == 1 { "follows" } else { "follow" };
    (count > 0).then(|| format!("+{} that {verb}", format::count(count)))
}

#[cfg(test)]
mod tests;
