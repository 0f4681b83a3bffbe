//! A button that copies a text to the clipboard.

use std::time::Duration;

use leptos::{prelude::*, task::spawn_local};

use super::{Icon, IconName, use_toasts};
use crate::browser;

/// A button that copies `text` and shows a note.
#[component]
pub fn CopyButton(
    /// Text to copy.
    #[prop(into)]
    text: Signal<String>,
    /// Label for screen readers and tooltip, as `Copy the trace id`.
    label: &'static str,
) -> impl IntoView {
    let copied = RwSignal::new(false);
    let toasts = use_toasts();
    let copy = move |event: web_sys::MouseEvent| {
        event.stop_propagation();
        let text = text.get_untracked();
        spawn_local(async move {
            if browser::copy(&text).await {
                copied.try_set(true);
                set_timeout(
                    move || {
                        copied.try_set(false);
                    },
                    Duration::from_millis(1_500),
                );
            } else {
                toasts.show("The browser copies only on https or localhost. Select the text.");
            }
        });
    };
    let icon = move || if copied.get() { IconName::Check } else { IconName::Copy };
    view! {
        <button
            class="button button-ghost button-icon"
            type="button"
            title=label
            aria-label=label
            on:click=copy
        >
            {move || view! { <Icon name=icon() /> }}
        </button>
    }
}
