//! The search box that takes any pasted text and finds its transaction.
//!
//! The server recognises the text. This box sends it, opens a single match, lists several, and
//! explains a miss. Enter looks for an id or the value of a key first, then for the best name, and
//! last in log records. Text that is pasted outside a field is sent here, too.

use std::sync::Arc;

use leptos::{ev, prelude::*, task::spawn_local};
use tidings_proto::api::{LogView, ResolveResult, Resolved};
use wasm_bindgen::JsCast;

mod name_search;

use name_search::{
    ArrivedKeys, NameSuggestions, PageMatch, best_page, copied_line, may_be_name, traceql_address,
    use_names,
};

use crate::{
    api::{self, ApiError, analysis},
    browser, colour,
    components::{Icon, IconName, ServiceName, StateBadge},
    format, number_format,
    shortcuts::use_shortcuts,
    url::{History, use_navigation},
};

pub(super) const FIELD_ID: &str = "omni";
const LIST_ID: &str = "omni-names";
/// Maximum number of characters of an offered name.
const NAME_SHOWN: usize = 80;
/// Text beyond this length is cut. An id in a log line is near its start.
const TEXT_MAX: usize = 8_192;

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    None,
    Asking,
    Several(Arc<ResolveResult>),
    Lines(Arc<Vec<LogView>>),
    Nothing(Arc<ResolveResult>),
    Failed(ApiError),
}

/// The list of names below the box. No name is marked before the reader moves to one, because Enter
/// may find something better than the first name.
#[derive(Debug, Clone, Copy)]
struct SuggestionList {
    names: Memo<Vec<PageMatch>>,
    /// Index of the name that Enter opens.
    marked: RwSignal<Option<usize>>,
    /// True after Escape and after the focus has left the box, until the text changes or an arrow
    /// opens the list again.
    is_dismissed: RwSignal<bool>,
    is_open: Memo<bool>,
}

impl SuggestionList {
    fn new(names: Memo<Vec<PageMatch>>, answer: RwSignal<Answer>) -> Self {
        let (marked, is_dismissed) = (RwSignal::new(None::<usize>), RwSignal::new(false));
        let is_open = Memo::new(move |_| {
            let is_free = answer.with(|answer| *answer == Answer::None);
            is_free && !is_dismissed.get() && names.with(|names| !names.is_empty())
        });
        keep_mark(names, marked);
        Effect::new(move |_| {
            if let Some(index) = marked.get() {
                browser::scroll_into_view(&option_id(index));
            }
        });
        Self { names, marked, is_dismissed, is_open }
    }

    /// Returns the index of the marked name, if the list is open and has it.
    fn marked(self) -> Option<usize> {
        let count = if self.is_open.get() { self.names.with(Vec::len) } else { 0 };
        self.marked.get().filter(|index| *index < count)
    }

    /// Returns the page that Enter opens, if the reader has moved to one.
    fn chosen(self) -> Option<PageMatch> {
        untrack(|| {
            let index = self.marked()?;
            self.names.with(|names| names.get(index).cloned())
        })
    }

    fn dismiss(self) {
        self.is_dismissed.set(true);
        self.marked.set(None);
    }

    /// Closes the list when the focus goes to something outside the box.
    fn follow_focus(self, event: &web_sys::FocusEvent) {
        let next = event.related_target().and_then(|next| next.dyn_into::<web_sys::Element>().ok());
        if next.is_none_or(|next| next.closest(".omni").is_ok_and(|found| found.is_none())) {
            self.dismiss();
        }
    }

    /// Starts with another text.
    fn restart(self) {
        self.is_dismissed.set(false);
        self.marked.set(None);
    }

    /// Opens the list, and marks the name below or above.
    fn move_mark(self, event: &web_sys::KeyboardEvent) {
        self.is_dismissed.set(false);
        if self.is_open.get_untracked() {
            event.prevent_default();
            let count = self.names.with_untracked(Vec::len);
            let is_down = event.key() == "ArrowDown";
            self.marked.set(next_mark(self.marked.get_untracked(), is_down, count));
        }
    }
}

fn option_id(index: usize) -> String {
    format!("{LIST_ID}-{index}")
}

/// Returns the index below or above, with wraparound. The first step goes to the first or the last
/// index.
fn next_mark(at: Option<usize>, is_down: bool, count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some(match at {
        Some(at) if is_down && at < last => at + 1,
        Some(at) if !is_down && at > 0 => at - 1,
        _ if is_down => 0,
        _ => last,
    })
}

/// The box.
#[component]
#[must_use]
pub fn Omni() -> impl IntoView {
    let text = RwSignal::new(String::new());
    let answer = RwSignal::new(Answer::None);
    let typed = Memo::new(move |_| text.with(|text| text.trim().to_owned()));
    let suggestions = use_names(typed);
    let list = SuggestionList::new(suggestions.pages, answer);
    let ask = resolve_handler(text, answer, suggestions);
    listen_for_pastes(ask.clone());
    let go = use_navigation();
    let open = Callback::new(move |page: PageMatch| {
        text.set(String::new());
        answer.set(Answer::None);
        go(&page.address, History::Push);
    });
    let close = move || {
        answer.set(Answer::None);
        list.dismiss();
    };
    use_shortcuts().bind("Escape", "Close the list of matches, or a pane", "Everywhere", close);
    let pressed = move |event: web_sys::KeyboardEvent| match event.key().as_str() {
        "Enter" => match list.chosen() {
            Some(chosen) => open.run(chosen),
            None => ask(text.get_untracked()),
        },
        "ArrowDown" | "ArrowUp" => list.move_mark(&event),
        "Escape" => {
            close();
            leave_field(&event);
        }
        _ => {}
    };
    view! {
        <div class="omni" role="search" on:focusout=move |event| list.follow_focus(&event)>
            <Icon name=IconName::Search />
            <input
                id=FIELD_ID
                class="omni-input"
                type="text"
                placeholder="Paste an id, a header, a log line, { TraceQL }, or type a name"
                aria-label="Find a transaction by anything that names it"
                role="combobox"
                aria-autocomplete="list"
                aria-expanded=move || list.is_open.get().to_string()
                aria-controls=move || list.is_open.get().then_some(LIST_ID)
                aria-activedescendant=move || list.marked().map(option_id)
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                prop:value=move || text.get()
                on:input=move |event| {
                    answer.set(Answer::None);
                    list.restart();
                    text.set(event_target_value(&event));
                }
                on:keydown=pressed
            />
            <kbd aria-hidden="true">"/"</kbd>
            {move || answer_view(answer.get(), text, answer)}
            {move || list.is_open.get().then(|| name_options(list, open))}
        </div>
    }
}

/// Calls `ask` for text that is pasted outside a field, and for several lines that are pasted into
/// the box, which would join them.
fn listen_for_pastes(ask: impl Fn(String) + 'static) {
    let paste = window_event_listener(ev::paste, move |event| {
        let event: &web_sys::ClipboardEvent = event.unchecked_ref();
        let pasted = event.clipboard_data().and_then(|data| data.get_data("text/plain").ok());
        let Some(pasted) = pasted.filter(|pasted| !pasted.trim().is_empty()) else { return };
        let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
        let is_box = target.is_some_and(|target| target.id() == FIELD_ID);
        if !browser::is_text_field_focused() || (is_box && pasted.trim().contains('\n')) {
            event.prevent_default();
            browser::focus(FIELD_ID);
            ask(pasted);
        }
    });
    on_cleanup(move || paste.remove());
}

/// Keeps the mark on its page when later answers move the page in the list.
fn keep_mark(names: Memo<Vec<PageMatch>>, marked: RwSignal<Option<usize>>) {
    Effect::new(move |before: Option<Vec<PageMatch>>| {
        let pages = names.get();
        if let (Some(before), Some(at)) = (before, marked.get_untracked()) {
            let page = before.get(at);
            marked.set(page.and_then(|page| pages.iter().position(|other| other == page)));
        }
        pages
    });
}

/// Removes the focus from the field.
fn leave_field(event: &web_sys::KeyboardEvent) {
    if let Some(field) = event.target().and_then(|t| t.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _refused = field.blur();
    }
}

fn resolve_handler(
    text: RwSignal<String>,
    answer: RwSignal<Answer>,
    suggestions: NameSuggestions,
) -> impl Fn(String) + Clone + Send + Sync + 'static {
    let go = use_navigation();
    move |asked: String| {
        let asked: String = asked.trim().chars().take(TEXT_MAX).collect();
        text.set(asked.clone());
        if asked.is_empty() {
            return answer.set(Answer::None);
        }
        if let Some(address) = traceql_address(&asked) {
            text.set(String::new());
            answer.set(Answer::None);
            return go(&address, History::Push);
        }
        answer.set(Answer::Asking);
        let go = go.clone();
        let arrived = suggestions.arrived_keys();
        spawn_local(async move {
            let outcome = outcome_of(&asked, arrived).await;
            // The text may have changed since, or Escape has cancelled the look.
            let is_asking = answer.try_with_untracked(|answer| *answer == Answer::Asking);
            if text.try_get_untracked().as_deref() != Some(&asked) || is_asking != Some(true) {
                return;
            }
            match outcome {
                Outcome::Page(address) => {
                    go(&address, History::Push);
                    text.set(String::new());
                    answer.set(Answer::None);
                }
                Outcome::Shown(shown) => answer.set(shown),
            }
        });
    }
}

/// Result of the search for a text.
enum Outcome {
    /// The address of the only or the best match.
    Page(String),
    /// An answer below the box.
    Shown(Answer),
}

/// Looks for an id or the value of a transaction key, then for the best name, then for log records
/// with the text.
async fn outcome_of(asked: &str, arrived: ArrivedKeys) -> Outcome {
    if may_be_name(asked) {
        let failure = match analysis::resolve_exactly(asked).send(None).await {
            Ok(result) if !result.matches.is_empty() => return outcome_of_matches(result),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        if let Some(best) = best_page(asked, arrived).await {
            return Outcome::Page(best.address);
        }
        if let Some(error) = failure {
            return Outcome::Shown(Answer::Failed(error));
        }
    }
    match api::resolve(asked).send(None).await {
        Err(error) => Outcome::Shown(Answer::Failed(error)),
        Ok(result) if result.matches.is_empty() => {
            outcome_of_lines(copied_line(asked).await, result)
        }
        Ok(result) => outcome_of_matches(result),
    }
}

/// Returns the address of a single match, or the matches to choose from.
fn outcome_of_matches(result: ResolveResult) -> Outcome {
    match result.matches.as_slice() {
        [one] => Outcome::Page(api::trace_address(one.trace_id, one.span_id)),
        _ => Outcome::Shown(Answer::Several(Arc::new(result))),
    }
}

/// Returns the only trace of the found lines, the lines to choose from, or what was tried.
fn outcome_of_lines(lines: Vec<LogView>, result: ResolveResult) -> Outcome {
    let mut traces: Vec<_> = lines.iter().filter_map(|line| line.trace_id).collect();
    traces.sort_unstable();
    traces.dedup();
    let first = lines.iter().find_map(api::log_trace_address);
    match (traces.len(), first) {
        (1, Some(address)) => Outcome::Page(address),
        _ if lines.is_empty() => Outcome::Shown(Answer::Nothing(Arc::new(result))),
        _ => Outcome::Shown(Answer::Lines(Arc::new(lines))),
    }
}

/// The pages that the typed text may mean. Enter opens the marked one. Without one, it opens a match
/// of an id, or else the first page.
fn name_options(list: SuggestionList, open: Callback<PageMatch>) -> impl IntoView {
    let option = move |(index, page): (usize, PageMatch)| {
        let name = number_format::truncate(&page.name, NAME_SHOWN);
        let kind = number_format::truncate(&page.kind, NAME_SHOWN);
        view! {
            <li
                id=option_id(index)
                class="suggest-option"
                role="option"
                aria-selected=move || (list.marked() == Some(index)).to_string()
                on:click=move |_| open.run(page.clone())
            >
                <bdi class="suggest-value">{name}</bdi>
                <bdi class="suggest-hint">{kind}</bdi>
            </li>
        }
    };
    // The focus stays in the box when an option is pressed, so that the list is there for the click.
    view! {
        <div class="omni-answer" on:mousedown=move |event| event.prevent_default()>
            <ul id=LIST_ID class="omni-names" role="listbox" aria-label="Matching names">
                {move || list.names.get().into_iter().enumerate().map(option).collect_view()}
            </ul>
        </div>
    }
}

/// Log lines that contain the text, each with its time.
fn line_rows<F: Fn() + Copy + Send + Sync + 'static>(
    lines: &[LogView],
    done: F,
) -> impl IntoView + use<F> {
    /// Maximum number of lines that are listed.
    const SHOWN_MAX: usize = 12;
    let now = browser::now();
    let row = |line: &LogView| {
        let time = line.time_unix_nano;
        let at = format::when(time, now, browser::zone_minutes(time));
        let text: String = line.text.chars().take(120).collect();
        let address = api::log_trace_address(line).unwrap_or_else(|| "/logs?range=all".to_owned());
        view! {
            <li>
                <a href=address class="omni-match" on:click=move |_| done()>
                    <span class="mono">{text}</span>
                    <span class="mute">{at}</span>
                </a>
            </li>
        }
    };
    let rows = lines.iter().take(SHOWN_MAX).map(row).collect_view();
    view! { <ul class="omni-matches" aria-label="Log lines">{rows}</ul> }
}

fn answer_view(shown: Answer, text: RwSignal<String>, answer: RwSignal<Answer>) -> Option<AnyView> {
    let body = match shown {
        Answer::None => return None,
        Answer::Asking => view! { <p class="omni-note" role="status">"Looking…"</p> }.into_any(),
        Answer::Failed(error) => {
            view! { <p class="omni-note" role="alert">{error.title()} ". " {error.detail()}</p> }
                .into_any()
        }
        Answer::Nothing(result) => {
            let tried = result.tried.iter().map(|tried| view! { <li>{tried.clone()}</li> });
            view! {
                <div class="omni-note" role="status">
                    <p>"Nothing stored matches. Tried as:"</p>
                    <ul>{tried.collect_view()}</ul>
                </div>
            }
            .into_any()
        }
        Answer::Lines(lines) => {
            let done = move || {
                text.set(String::new());
                answer.set(Answer::None);
            };
            line_rows(&lines, done).into_any()
        }
        Answer::Several(result) => {
            let summaries = result.matches.iter().filter_map(|found| found.summary.as_ref());
            colour::assign_shades(summaries.map(|summary| summary.root_service.as_str()));
            let chosen = move || {
                text.set(String::new());
                answer.set(Answer::None);
            };
            let row = move |found: &Resolved| found_trace(found, chosen);
            let rows = result.matches.iter().map(row).collect_view();
            view! { <ul class="omni-matches" aria-label="Matches">{rows}</ul> }.into_any()
        }
    };
    Some(view! { <div class="omni-answer">{body}</div> }.into_any())
}

/// One of several traces: the facts to choose by, and the reason of the match.
fn found_trace<F: Fn() + 'static>(found: &Resolved, chosen: F) -> impl IntoView + use<F> {
    let address = api::trace_address(found.trace_id, found.span_id);
    let (id, reason) = (found.trace_id.to_string(), found.reason.clone());
    let facts = found.summary.as_ref().map(|summary| {
        let start = summary.start_unix_nano;
        let when = format::when(start, browser::now(), browser::zone_minutes(start));
        let errors = (summary.error_count > 0).then(|| {
            let words = format::counted(summary.error_count, "error");
            view! { <span class="is-error">{words}</span> }
        });
        view! {
            <span class="omni-facts">
                <bdi class="omni-name">
                    {format::operation(&summary.root_operation).to_owned()}
                </bdi>
                <ServiceName service=summary.root_service.clone() />
                <StateBadge state=summary.state />
                <span class="mono">{format::duration(summary.duration_nano)}</span>
                <span class="mute">{format::counted(summary.span_count, "span")}</span>
                {errors}
                <span class="mono mute">{when}</span>
            </span>
        }
    });
    let only_logs = found.summary.is_none().then(|| {
        view! { <span class="omni-facts mute">"Only log records of it are stored"</span> }
    });
    view! {
        <li>
            <a href=address class="omni-match" on:click=move |_| chosen()>
                {facts}
                {only_logs}
                <span class="omni-id">
                    <span class="mono faint">{id}</span>
                    <span class="mute">{reason}</span>
                </span>
            </a>
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::next_mark;

    #[test]
    fn arrows_mark_the_first_or_the_last_name_first_and_then_wrap_around() {
        let marks = |is_down| {
            let mut at = None;
            let step = |_| {
                at = next_mark(at, is_down, 3);
                at
            };
            (0..4).map_while(step).collect::<Vec<_>>()
        };
        assert_eq!(marks(true), [0, 1, 2, 0]);
        assert_eq!(marks(false), [2, 1, 0, 2]);
        assert_eq!(next_mark(None, true, 0), None);
    }
}
