//! Erasures: a list, and a form to erase a trace or everything with an attribute.
//!
//! Drawn for keys with the role `admin`. The value of an attribute is sent, and shown nowhere
//! again.

use std::{sync::Arc, time::Duration};

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::api::{
    ErasedAttribute, ErasureList, ErasureRequest, ErasureStatus, ErasureView,
};

use crate::{
    api::access,
    browser,
    components::{
        Badge, Panel,
        PlainHead::{Number, Words},
        PlainTable, Tone,
    },
    format,
    request_state::RequestState,
};

/// Interval at which the progress of an erasure is requested.
const POLL: Duration = Duration::from_secs(1);

/// Draws the list and the form.
pub(super) fn erasure_panel() -> impl IntoView {
    let list = RequestState::new(|| Some(access::erasures()));
    let draw = |list: Arc<ErasureList>| table(&list);
    view! {
        <Panel
            title="Erasures"
            note="what was erased for good, the newest first"
            state=list
            is_empty=|list| list.erasures.is_empty()
            empty="Nothing was erased."
            rows=3
            draw=draw
        />
        {new_erasure(list)}
    }
}

fn table(list: &ErasureList) -> impl IntoView + use<> {
    let heads = [
        Words("When"),
        Words("What"),
        Words("State"),
        Number("Spans"),
        Number("Log records"),
        Words("Left"),
    ];
    let rows = list.erasures.iter().map(row).collect_view();
    view! {
        <PlainTable label="Erasures" heads>
            {rows}
        </PlainTable>
    }
}

fn row(erasure: &ErasureView) -> impl IntoView + use<> {
    let (tone, state) = match erasure.state {
        ErasureStatus::Running => (Tone::Plain, "running"),
        ErasureStatus::Done if !erasure.unread_files.is_empty() => (Tone::Warning, "partial"),
        ErasureStatus::Done => (Tone::Plain, "done"),
        ErasureStatus::Failed => (Tone::Error, "failed"),
        ErasureStatus::Interrupted => (Tone::Error, "interrupted"),
    };
    let what = match (&erasure.trace_id, &erasure.attribute_key) {
        (Some(trace), _) => format!("trace {trace}"),
        (None, key) => format!("attribute {}", key.clone().unwrap_or_default()),
    };
    let since = browser::now().since(erasure.begun_unix_nano);
    view! {
        <tr title=erasure.reason.clone()>
            <td class="mute">{format!("{} ago", format::duration(since))}</td>
            <td class="mono">{what}</td>
            <td>
                <Badge tone=tone>{state}</Badge>
            </td>
            <td class="num">{format::count(erasure.spans)}</td>
            <td class="num">{format::count(erasure.log_records)}</td>
            <td class="mute">{remaining_text(erasure)}</td>
        </tr>
    }
}

/// Returns the words for files that still hold erased data.
fn remaining_text(erasure: &ErasureView) -> String {
    let unread = erasure.unread_files.len() as u64;
    match (erasure.left_files, unread) {
        (0, 0) => String::new(),
        (left, 0) => format!("{} until queries end", format::counted(left, "file")),
        (0, unread) => format!("{} cannot be read", format::counted(unread, "file")),
        (left, unread) => format!(
            "{} until queries end, {} cannot be read",
            format::counted(left, "file"),
            format::count(unread)
        ),
    }
}

/// The fields of a new erasure.
#[derive(Debug, Clone, Copy)]
struct NewErasure {
    what: RwSignal<String>,
    /// The second click begins the erasure, because it cannot be undone.
    sure: RwSignal<bool>,
    begun: RwSignal<Option<ErasureView>>,
    refusal: RwSignal<Option<String>>,
}

/// Parses a trace id, or `key=value`.
fn request_of(text: &str) -> Option<ErasureRequest> {
    let text = text.trim();
    if let Ok(trace) = text.parse() {
        return Some(ErasureRequest { trace_id: Some(trace), attribute: None });
    }
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty())?;
    let attribute = ErasedAttribute { key: key.to_owned(), value: value.to_owned() };
    Some(ErasureRequest { trace_id: None, attribute: Some(attribute) })
}

/// Asks for confirmation, then erases.
fn submit(form: NewErasure, list: RequestState<ErasureList>) {
    let Some(request) = request_of(&form.what.get_untracked()) else {
        form.refusal.set(Some("A trace id of 32 hex digits, or key=value".to_owned()));
        return;
    };
    if !form.sure.get_untracked() {
        form.refusal.set(None);
        form.sure.set(true);
        return;
    }
    form.sure.set(false);
    spawn_local(async move {
        match access::erase(&request).send(None).await {
            Ok(begun) => {
                form.what.set(String::new());
                form.begun.set(Some(begun));
                list.refresh();
            }
            Err(error) => form.refusal.set(Some(error.detail())),
        }
    });
}

fn new_erasure(list: RequestState<ErasureList>) -> impl IntoView {
    let form = NewErasure {
        what: RwSignal::new(String::new()),
        sure: RwSignal::new(false),
        begun: RwSignal::new(None),
        refusal: RwSignal::new(None),
    };
    poll_while_running(form, list);
    let refused = move || {
        form.refusal.get().map(|words| view! { <p class="field-error" role="alert">{words}</p> })
    };
    let progress = move || {
        form.begun.get().filter(|begun| begun.state == ErasureStatus::Running).map(|begun| {
            let done = format::count(begun.searched_files);
            let all = format::counted(begun.files, "file");
            view! { <p class="mute" role="status">{format!("{done} of {all} searched")}</p> }
        })
    };
    let words = move || if form.sure.get() { "Erase for good" } else { "Erase" };
    view! {
        <section class="card side-card" aria-label="New erasure">
            <div class="side-head">
                <h2>"Erase"</h2>
            </div>
            <form
                class="key-form"
                on:submit=move |event| {
                    event.prevent_default();
                    submit(form, list);
                }
            >
                <label for="erasure-what">"Everything of a trace, or with an attribute"</label>
                <input
                    id="erasure-what"
                    class="input mono"
                    placeholder="trace id, or key=value"
                    autocomplete="off"
                    prop:value=form.what
                    on:input=move |event| {
                        form.sure.set(false);
                        form.what.set(event_target_value(&event));
                    }
                />
                {refused}
                {progress}
                <button class="button" type="submit">
                    {words}
                </button>
            </form>
        </section>
    }
}

fn poll_while_running(form: NewErasure, list: RequestState<ErasureList>) {
    let tick = move || {
        let running = form.begun.get_untracked();
        let running = running.filter(|begun| begun.state == ErasureStatus::Running);
        let Some(running) = running.filter(|_| browser::is_page_visible()) else { return };
        spawn_local(async move {
            if let Ok(now) = access::erasure(&running.id).send(None).await {
                let has_ended = now.state != ErasureStatus::Running;
                form.begun.set(Some(now));
                if has_ended {
                    list.refresh();
                }
            }
        });
    };
    if let Ok(handle) = set_interval_with_handle(tick, POLL) {
        on_cleanup(move || handle.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::request_of;

    #[test]
    fn a_trace_id_or_a_pair_says_what_is_erased() {
        let id = "aaaa0000000000000000000000000001";
        let trace = request_of(&format!(" {id} ")).unwrap();
        assert_eq!(trace.trace_id.map(|id| id.to_string()), Some(id.to_owned()));
        let pair = request_of("user.email=a=b").unwrap().attribute.unwrap();
        assert_eq!((pair.key.as_str(), pair.value.as_str()), ("user.email", "a=b"));
        for wrong in ["", "=x", "user.email", "aaaa"] {
            assert_eq!(request_of(wrong), None, "{wrong}");
        }
    }
}
