//! The box that takes anything pasted and finds the transaction it belongs to.
//!
//! The server does the recognising; this asks it, goes to the one match, lists several, and says
//! what was tried when there is none. Text pasted anywhere outside a field lands here too.

use std::sync::Arc;

use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::components::A;
use tidings_proto::api::{ResolveResult, Resolved};
use wasm_bindgen::JsCast;

use crate::{
    api::{self, ApiError},
    browser, colour,
    components::{Icon, IconName, ServiceName, StateBadge},
    format,
    keys::use_keys,
    url::{Step, use_go},
};

pub(super) const FIELD_ID: &str = "omni";
/// More text than this is cut: an id in a log line comes early.
const TEXT_MAX: usize = 8_192;

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    None,
    Asking,
    Several(Arc<ResolveResult>),
    Nothing(Arc<ResolveResult>),
    Failed(ApiError),
}

/// The box.
#[component]
#[must_use]
pub fn Omni() -> impl IntoView {
    let text = RwSignal::new(String::new());
    let answer = RwSignal::new(Answer::None);
    let ask = asker(text, answer);
    let paste_ask = ask.clone();
    let paste = window_event_listener(ev::paste, move |event| {
        let event: &web_sys::ClipboardEvent = event.unchecked_ref();
        let pasted = event.clipboard_data().and_then(|data| data.get_data("text/plain").ok());
        if let Some(pasted) = pasted.filter(|pasted| !pasted.trim().is_empty())
            && !browser::typing()
        {
            browser::focus(FIELD_ID);
            paste_ask(pasted);
        }
    });
    on_cleanup(move || paste.remove());
    let close = move || answer.set(Answer::None);
    use_keys().bind("Escape", "Close the list of matches", "Everywhere", close);
    let pressed = move |event: web_sys::KeyboardEvent| match event.key().as_str() {
        "Enter" => ask(text.get_untracked()),
        "Escape" => {
            close();
            if let Some(field) =
                event.target().and_then(|t| t.dyn_into::<web_sys::HtmlElement>().ok())
            {
                let _refused = field.blur();
            }
        }
        _ => {}
    };
    view! {
        <div class="omni" role="search">
            <Icon name=IconName::Search />
            <input
                id=FIELD_ID
                class="omni-input"
                type="text"
                placeholder="Paste an id, a header, a log line"
                aria-label="Find a transaction by anything that names it"
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                prop:value=move || text.get()
                on:input=move |event| {
                    close();
                    text.set(event_target_value(&event));
                }
                on:keydown=pressed
            />
            <kbd aria-hidden="true">"/"</kbd>
            {move || drawn(answer.get(), text, answer)}
        </div>
    }
}

fn asker(
    text: RwSignal<String>,
    answer: RwSignal<Answer>,
) -> impl Fn(String) + Clone + Send + Sync + 'static {
    let go = use_go();
    move |asked: String| {
        let asked: String = asked.trim().chars().take(TEXT_MAX).collect();
        text.set(asked.clone());
        if asked.is_empty() {
            return answer.set(Answer::None);
        }
        answer.set(Answer::Asking);
        let go = go.clone();
        spawn_local(async move {
            let result = api::resolve(&asked).send(None).await;
            // Something else may have been typed since.
            if text.try_get_untracked().as_deref() != Some(&asked) {
                return;
            }
            let shown = match result {
                Err(error) => Answer::Failed(error),
                Ok(result) => match result.matches.as_slice() {
                    [] => Answer::Nothing(Arc::new(result)),
                    [one] => {
                        go(&api::trace_address(one.trace_id, one.span_id), Step::New);
                        text.set(String::new());
                        Answer::None
                    }
                    _ => Answer::Several(Arc::new(result)),
                },
            };
            answer.set(shown);
        });
    }
}

fn drawn(shown: Answer, text: RwSignal<String>, answer: RwSignal<Answer>) -> Option<AnyView> {
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
        Answer::Several(result) => {
            let summaries = result.matches.iter().filter_map(|found| found.summary.as_ref());
            colour::tell_apart(summaries.map(|summary| summary.root_service.as_str()));
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

/// One of several traces: what there is to choose by, and why it is one of them.
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
            <A href=address attr:class="omni-match" on:click=move |_| chosen()>
                {facts}
                {only_logs}
                <span class="omni-id">
                    <span class="mono faint">{id}</span>
                    <span class="mute">{reason}</span>
                </span>
            </A>
        </li>
    }
}
