//! Compare: the differences of one trace from another, or from the typical trace of its type.
//!
//! Owns the two sides, which the address names. The API overlays the trees and ranks the rows by
//! their cost. [`impact`] owns the words for that.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    TraceId,
    api::{ComparedSet, Comparison},
};

use crate::{
    addresses,
    api::{
        self, ApiError,
        analysis::{self, Analysis},
    },
    browser,
    components::{
        EmptyState, ErrorState, LoadingRows, PartialNote, StateBadge, UnreadNote, use_call_choice,
    },
    format, number_format,
    pages::transaction_type::call_trees::call_keys,
    request_state::RequestState,
    shell::{Crumb, set_crumbs},
    shortcuts::use_shortcuts,
    url::{History, TimeRange, UrlQuery, unread_text, use_navigation, use_query},
};

pub mod impact;
mod impact_panel;
mod lanes;

/// The two sides in the address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sides {
    left: TraceId,
    /// The right trace. `None` for the typical trace.
    right: Option<TraceId>,
    /// The time of the typical trace, if the address has one.
    range: Option<TimeRange>,
}

/// Length of the range that is offered where the asked one has nothing typical.
const LONGER_SECONDS: u64 = 2_592_000;
/// The range of this length.
const LONGER: TimeRange = TimeRange::Last { seconds: LONGER_SECONDS };

impl Sides {
    fn read(query: &UrlQuery) -> Option<Self> {
        let left = query.get("left")?.trim().parse().ok()?;
        let right = match query.get("right").map(str::trim) {
            None | Some("" | "typical") => None,
            Some(id) => Some(id.parse().ok()?),
        };
        let range = query.get("range").map(|_| TimeRange::read(query));
        Some(Self { left, right, range: range.filter(|_| right.is_none()) })
    }

    /// Returns an analysis of the time of the typical trace. Without a range, the API has one.
    fn window(&self) -> Analysis {
        self.range.map_or_else(Analysis::default, |range| Analysis::within(range, browser::now()))
    }

    fn address(&self) -> String {
        addresses::compare(self.left, self.right)
    }

    /// Reports whether the offered range has more time than the asked one.
    fn has_longer(&self) -> bool {
        match self.range {
            Some(TimeRange::Last { seconds }) => seconds < LONGER_SECONDS,
            Some(TimeRange::All) => false,
            Some(TimeRange::Between { .. }) | None => true,
        }
    }

    fn swapped(&self) -> Option<Self> {
        Some(Self { left: self.right?, right: Some(self.left), range: None })
    }
}

/// The page.
#[component]
#[must_use]
pub fn ComparePage() -> impl IntoView {
    let query = use_query();
    let sides = Memo::new(move |_| query.with(Sides::read));
    let compared = RequestState::<Comparison>::new(move || {
        let sides = sides.get()?;
        let right = sides.right.map_or_else(|| "typical".to_owned(), |right| right.to_string());
        Some(analysis::compare(sides.window(), &sides.left.to_string(), &right))
    });
    Effect::new(move |before: Option<Option<Sides>>| {
        let asked = sides.get();
        if before.is_some_and(|before| before != asked) {
            compared.clear();
        }
        asked
    });
    Effect::new(move |_| {
        let transaction_type = compared.value().and_then(|comparison| {
            let root = comparison.calls.first()?;
            let range = TimeRange::default();
            Some(Crumb {
                text: number_format::truncate(format::operation(&root.operation), 60),
                href: Some(addresses::transaction_type(&root.service, &root.operation, range)),
            })
        });
        let list =
            Crumb { text: "Transactions".to_owned(), href: Some("/transactions".to_owned()) };
        let here = Crumb { text: "Compare".to_owned(), href: None };
        set_crumbs(std::iter::once(list).chain(transaction_type).chain([here]).collect());
    });
    let go = use_navigation();
    use_shortcuts().bind("s", "Swap the sides", "Compare", move || {
        if let Some(swapped) = sides.get_untracked().and_then(|sides| sides.swapped()) {
            go(&swapped.address(), History::Replace);
        }
    });
    let unread = Signal::derive(move || query.with(unread_side));
    let body = move || {
        let Some(asked) = sides.get() else { return choose(query).into_any() };
        if let Some(error) = compared.error() {
            if is_single(&asked, &error) {
                return no_other(&asked).into_any();
            }
            let retry = Callback::new(move |()| compared.refresh());
            return view! { <ErrorState name="The comparison" error on_retry=retry /> }.into_any();
        }
        match compared.value() {
            None => view! { <LoadingRows count=14 /> }.into_any(),
            Some(comparison) => comparison_view(&comparison, sides).into_any(),
        }
    };
    view! {
        <div class="page compare">
            {move || head(sides, compared)}
            <UnreadNote words=unread />
            {body}
        </div>
    }
}

/// Returns the words for a side of the address that is no trace id.
fn unread_side(query: &UrlQuery) -> Option<String> {
    let unread = |key: &'static str| {
        let text = query.get(key).map(str::trim).filter(|text| !text.is_empty())?;
        let is_typical = key == "right" && text == "typical";
        let is_read = is_typical || text.parse::<TraceId>().is_ok();
        (!is_read).then(|| format!("{key}={text}"))
    };
    let part = unread("left").or_else(|| unread("right"))?;
    let shown = "a trace id has 32 hexadecimal digits, and nothing is compared";
    Some(unread_text(&part, shown))
}

/// Reports whether no other transaction of the type is known, so that nothing is typical.
fn is_single(sides: &Sides, error: &ApiError) -> bool {
    let ApiError::Problem(problem) = error else { return false };
    let is_right = problem.parameter.as_deref() == Some("right");
    sides.right.is_none() && is_right && error.is_not_found()
}

/// The type of the trace has no other transaction: a link to a longer time.
fn no_other(sides: &Sides) -> impl IntoView + use<> {
    let now = browser::now();
    let label = |range: TimeRange| range.label(now, browser::zone_minutes(now));
    let time = sides.range.map_or_else(|| "the 24 h before its end".to_owned(), label);
    let words =
        format!("There is no other transaction of this type in the range to compare with: {time}.");
    let longer = sides.has_longer().then(|| {
        let mut query = UrlQuery::parse(sides.address().trim_start_matches("/compare?"));
        LONGER.write(&mut query);
        let words = format!("Compare with those of the {}", label(LONGER).to_lowercase());
        view! { <a class="button" href=query.on("/compare")>{words}</a> }
    });
    view! {
        <EmptyState title="Nothing is typical of this type">
            <p>{words}</p>
            <div class="state-actions">{longer}</div>
        </EmptyState>
    }
}

/// A form to choose two traces, when the address names none.
fn choose(query: Memo<UrlQuery>) -> impl IntoView {
    let text = |key| {
        RwSignal::new(query.with_untracked(|query| query.get(key).unwrap_or_default().to_owned()))
    };
    let (left, right) = (text("left"), text("right"));
    let wrong = RwSignal::new(false);
    let go = use_navigation();
    let compare = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let mut asked = UrlQuery::default();
        asked.push("left", left.get_untracked());
        asked.push_some(
            "right",
            Some(right.get_untracked()).filter(|right| !right.trim().is_empty()),
        );
        match Sides::read(&asked) {
            Some(sides) => go(&sides.address(), History::Push),
            None => wrong.set(true),
        }
    };
    let field = |label: &'static str, hint: &'static str, text: RwSignal<String>| {
        view! {
            <label class="menu-field">
                <span>{label}</span>
                <input
                    class="input compare-id mono"
                    type="text"
                    spellcheck="false"
                    autocomplete="off"
                    placeholder=hint
                    prop:value=move || text.get()
                    on:input=move |event| text.set(event_target_value(&event))
                />
            </label>
        }
    };
    view! {
        <EmptyState title="Compare two traces">
            <form class="compare-form" on:submit=compare>
                {field("One trace", "32 hexadecimal digits", left)}
                {field("with", "another trace, or nothing for what is typical", right)}
                <Show when=move || wrong.get()>
                    <p class="field-error" role="alert">"A trace id has 32 hexadecimal digits."</p>
                </Show>
                <button class="button button-primary" type="submit">"Compare"</button>
            </form>
        </EmptyState>
    }
}

/// A trace with its state, its start and its duration, and a link to it.
fn trace_chip(id: TraceId, set: Option<&ComparedSet>) -> impl IntoView + use<> {
    let short: String = id.to_string().chars().take(8).collect();
    let summary = set.and_then(|set| set.summary.as_ref()).map(|summary| {
        let start = summary.start_unix_nano;
        let started = format::when(start, browser::now(), browser::zone_minutes(start));
        let errors = (summary.error_count > 0).then(|| {
            let words = format::counted(summary.error_count, "error");
            view! { <span class="is-worse">{words}</span> }
        });
        view! {
            <StateBadge state=summary.state />
            {errors}
            <span class="mono">{started}</span>
        }
    });
    view! {
        <a class="compare-chip" href=api::trace_address(id, None) title=id.to_string()>
            <b class="mono">{short}</b>
            {summary}
            <span class="mute">{duration_text(set)}</span>
        </a>
    }
}

/// The typical trace, with the number and the time of the transactions that it is made of.
fn typical_chip(set: Option<&ComparedSet>) -> impl IntoView + use<> {
    let words = set.map(|set| {
        let count = format::counted(set.trace_count, "transaction");
        let now = browser::now();
        let minute = |time| browser::local_minute(time, now);
        format!(
            "{count} of its type, p50 {} in all, {} to {}",
            format::duration(set.duration.p50_nano),
            minute(set.start_unix_nano),
            minute(set.end_unix_nano)
        )
    });
    view! {
        <span class="compare-chip is-typical">
            <b>"typical"</b>
            <span class="mute">{words.unwrap_or_default()}</span>
        </span>
    }
}

/// Both sides. Only their names are known before the comparison is.
fn chips(sides: &Sides, comparison: Option<&Comparison>) -> impl IntoView + use<> {
    let left = comparison.map(|comparison| &comparison.left);
    let right = comparison.map(|comparison| &comparison.right);
    let other = match sides.right {
        Some(id) => trace_chip(id, right).into_any(),
        None => typical_chip(right).into_any(),
    };
    view! {
        {trace_chip(sides.left, left)}
        <span class="mute">"with"</span>
        {other}
    }
}

fn head(sides: Memo<Option<Sides>>, compared: RequestState<Comparison>) -> impl IntoView {
    let chips = move || Some(chips(&sides.get()?, compared.value().as_deref()));
    let tools = move || {
        let sides = sides.get()?;
        let swap = sides.swapped().map(|swapped| {
            view! {
                <a class="button" href=swapped.address()>
                    "Swap "
                    <kbd>"s"</kbd>
                </a>
            }
        });
        let typical = sides.right.map(|_| {
            let href = addresses::compare(sides.left, None);
            view! { <a class="button" href=href>"With typical"</a> }
        });
        Some(view! { {typical} {swap} <OtherTrace left=sides.left /> })
    };
    view! {
        <div class="page-head">
            <div class="page-title">
                <h1>"Compare"</h1>
                {chips}
                <span class="page-tools">{tools}</span>
            </div>
            <p class="sentence">
                {move || {
                    let typical = sides.get()?.right.is_none();
                    Some(impact::sentence(&*compared.value()?, typical))
                }}
            </p>
        </div>
    }
}

/// Returns the words for the duration of a whole trace.
fn duration_text(set: Option<&ComparedSet>) -> String {
    set.map(|set| format!("{} in all", format::duration(set.duration.p50_nano))).unwrap_or_default()
}

/// The field for another trace to compare with.
#[component]
fn OtherTrace(left: TraceId) -> impl IntoView {
    let text = RwSignal::new(String::new());
    let wrong = RwSignal::new(false);
    let go = use_navigation();
    let compare = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        match text.get_untracked().trim().parse::<TraceId>() {
            Ok(right) => go(&addresses::compare(left, Some(right)), History::Push),
            Err(_) => wrong.set(true),
        }
    };
    view! {
        <form class="compare-other" on:submit=compare>
            <input
                class="input mono"
                class:is-wrong=move || wrong.get()
                type="text"
                aria-label="Another trace to compare with"
                aria-invalid=move || wrong.get().to_string()
                placeholder="with another trace id"
                spellcheck="false"
                autocomplete="off"
                prop:value=move || text.get()
                on:input=move |event| {
                    wrong.set(false);
                    text.set(event_target_value(&event));
                }
            />
        </form>
    }
}

fn comparison_view(
    comparison: &Arc<Comparison>,
    sides: Memo<Option<Sides>>,
) -> impl IntoView + use<> {
    let keys = call_keys(comparison);
    let choice = use_call_choice(Memo::new(move |_| keys.clone()));
    let truncated = comparison.truncated.then(|| {
        view! { <PartialNote>"The trees have more than 20,000 different calls: the rest is left out."</PartialNote> }
    });
    let typical =
        sides.with_untracked(|sides| sides.as_ref().is_some_and(|sides| sides.right.is_none()));
    view! {
        {truncated}
        <div class="compare-body">
            {lanes::lanes(comparison, typical, choice)}
            {impact_panel::impact_panel(comparison, typical, choice)}
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGER, Sides, unread_side};
    use crate::url::UrlQuery;

    #[test]
    fn the_sides_are_in_the_address() {
        let (one, other) = ("aaaa0000000000000000000000000001", "aaaa0000000000000000000000000002");
        let read = |text: &str| Sides::read(&UrlQuery::parse(text));
        let both = read(&format!("left={one}&right={other}")).unwrap();
        assert_eq!(both.address(), format!("/compare?left={one}&right={other}"));
        assert_eq!(both.swapped().unwrap().address(), format!("/compare?left={other}&right={one}"));
        let longer = read(&format!("left={one}&right=typical&range=30d")).unwrap();
        assert_eq!(longer.range, Some(LONGER));
        for (range, has_longer) in [("7d", true), ("30d", false), ("60d", false), ("all", false)] {
            let sides = read(&format!("left={one}&range={range}")).unwrap();
            assert_eq!(sides.has_longer(), has_longer, "{range}");
        }
        let typical = read(&format!("left={one}&right=typical")).unwrap();
        assert_eq!((typical.right, typical.swapped()), (None, None));
        assert_eq!(read(&format!("left={one}")), Some(typical));
        assert_eq!(
            (read(""), read("left=x"), read(&format!("left={one}&right=x"))),
            (None, None, None)
        );
    }

    #[test]
    fn a_side_that_is_no_trace_id_is_named() {
        let one = "aaaa0000000000000000000000000001";
        let named = |text: &str| unread_side(&UrlQuery::parse(text));
        for read in ["", "left=", &format!("left={one}"), &format!("left={one}&right=typical")] {
            assert_eq!(named(read), None, "{read}");
        }
        assert!(named("left=xx").unwrap().starts_with("`left=xx` was not understood: "));
        assert!(named(&format!("left={one}&right=xx")).unwrap().starts_with("`right=xx` was"));
    }
}
