//! Short notes at the edge of the screen that disappear after a while.

use std::time::Duration;

use leptos::prelude::*;

const SHOWN_FOR: Duration = Duration::from_secs(6);
const SHOWN_MAX: usize = 4;

/// The notes; provided by the shell.
#[derive(Debug, Clone, Copy)]
pub struct Toasts {
    shown: RwSignal<Vec<(u64, String)>>,
    next: StoredValue<u64>,
}

impl Toasts {
    /// Makes the list of notes and provides it to components.
    pub(crate) fn provide() -> Self {
        let toasts = Self { shown: RwSignal::new(Vec::new()), next: StoredValue::new(0) };
        provide_context(toasts);
        toasts
    }

    /// Shows a note for a while.
    pub fn show(self, text: impl Into<String>) {
        let Some(id) = self.next.try_update_value(|next| {
            *next += 1;
            *next
        }) else {
            return;
        };
        self.shown.update(|shown| {
            shown.push((id, text.into()));
            let surplus = shown.len().saturating_sub(SHOWN_MAX);
            shown.drain(..surplus);
        });
        set_timeout(
            move || {
                self.shown.try_update(|shown| shown.retain(|(shown, _)| *shown != id));
            },
            SHOWN_FOR,
        );
    }
}

/// The notes of the page.
#[must_use]
pub fn use_toasts() -> Toasts {
    use_context()
        .unwrap_or_else(|| Toasts { shown: RwSignal::new(Vec::new()), next: StoredValue::new(0) })
}

/// The list of visible notes.
#[component]
pub(crate) fn ToastStack(toasts: Toasts) -> impl IntoView {
    view! {
        <div class="toasts" role="status" aria-live="polite">
            <For each=move || toasts.shown.get() key=|(id, _)| *id let((_, text))>
                <div class="toast">{text}</div>
            </For>
        </div>
    }
}
