//! Pin of the trace, which keeps it past retention. Shows the pin with its note, and changes it.

use leptos::{html, prelude::*, task::spawn_local};
use tidings_proto::{
    TraceId,
    api::{PinList, PinView},
};

use crate::{
    api::{self, ApiError},
    browser,
    components::use_toasts,
    format,
    request_state::RequestState,
};

/// Maximum number of characters that the server accepts.
const NOTE_CHARS_MAX: &str = "500";

/// The button, and the field for a note while the trace is being pinned.
pub(crate) fn pin_button(id: TraceId, pins: RequestState<PinList>) -> impl IntoView {
    let listed = pins.signal();
    let pinned = Memo::new(move |_| {
        let of_it = |pins: &[PinView]| pins.iter().find(|pin| pin.trace_id == id).cloned();
        listed.with(|list| list.as_ref().and_then(|list| of_it(&list.pins)))
    });
    let (asking, busy) = (RwSignal::new(false), RwSignal::new(false));
    let toasts = use_toasts();
    let ended = move |done: Result<(), ApiError>| {
        // The page and its signals may have been removed by now.
        if busy.try_set(false).is_some() {
            return;
        }
        match done {
            Ok(()) => asking.set(false),
            Err(error) => toasts.show(format!("{}: {}", error.title(), error.detail())),
        }
        pins.refresh();
    };
    let pin = Callback::new(move |note: String| {
        busy.set(true);
        let request = api::pin(id, note);
        spawn_local(async move { ended(request.send(None).await.map(|_| ())) });
    });
    let click = move |_| {
        if pinned.get_untracked().is_none() {
            asking.update(|asking| *asking = !*asking);
            return;
        }
        busy.set(true);
        spawn_local(async move { ended(api::unpin(id).send(None).await) });
    };
    let title = move || match pinned.get() {
        Some(pin) => pin_text(&pin),
        None => "Keep this trace whatever its age".to_owned(),
    };
    view! {
        <Show when=move || asking.get() && pinned.with(Option::is_none)>
            <NoteField busy=busy.into() pin=pin cancel=Callback::new(move |()| asking.set(false)) />
        </Show>
        {move || {
            let note = pinned.get().map(|pin| pin.note).filter(|note| !note.is_empty())?;
            Some(view! { <bdi class="mute trace-pin-note" title=note.clone()>{note.clone()}</bdi> })
        }}
        <button
            class="button trace-pin"
            type="button"
            aria-pressed=move || pinned.with(Option::is_some).to_string()
            disabled=move || busy.get() || pins.loading()
            title=title
            on:click=click
        >
            {move || if pinned.with(Option::is_some) { "Pinned" } else { "Pin" }}
        </button>
    }
}

/// Returns the words for the time of a pin and how to end it.
fn pin_text(pin: &PinView) -> String {
    let since = pin.pinned_unix_nano;
    let when = format::when(since, browser::now(), browser::zone_minutes(since));
    format!("Kept whatever its age since {when}. Press to unpin it.")
}

/// A field for the reason, which may be empty.
#[component]
fn NoteField(busy: Signal<bool>, pin: Callback<String>, cancel: Callback<()>) -> impl IntoView {
    let field = NodeRef::<html::Input>::new();
    let note = RwSignal::new(String::new());
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            let _refused = field.focus();
        }
    });
    let pressed = move |event: web_sys::KeyboardEvent| {
        match event.key().as_str() {
            "Enter" => pin.run(note.get_untracked()),
            "Escape" => cancel.run(()),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    view! {
        <input
            node_ref=field
            class="input trace-pin-field"
            type="text"
            placeholder="Reason (optional)"
            aria-label="Why this trace is kept; Enter pins it"
            autocomplete="off"
            maxlength=NOTE_CHARS_MAX
            disabled=move || busy.get()
            on:input=move |event| note.set(event_target_value(&event))
            on:keydown=pressed
        />
        <button
            class="button button-primary"
            type="button"
            disabled=move || busy.get()
            on:click=move |_| pin.run(note.get_untracked())
        >
            "Pin it"
        </button>
    }
}
