//! Short words on a tinted ground.

use leptos::prelude::*;
use tidings_proto::api::TransactionState;

/// Meaning of a badge, which sets its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Good or live.
    Good,
    /// Look here when there is time.
    Warning,
    /// Something failed.
    Error,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "badge",
            Self::Good => "badge badge-good",
            Self::Warning => "badge badge-warning",
            Self::Error => "badge badge-error",
        }
    }
}

/// A badge.
#[component]
pub fn Badge(
    /// Meaning.
    tone: Tone,
    /// The words.
    children: Children,
) -> impl IntoView {
    view! { <span class=tone.class()>{children()}</span> }
}

/// The state of a transaction as a badge.
#[component]
pub fn StateBadge(
    /// The state.
    state: TransactionState,
) -> impl IntoView {
    let (tone, words) = match state {
        TransactionState::Running => (Tone::Good, "running"),
        TransactionState::Completed => (Tone::Plain, "completed"),
        TransactionState::Failed => (Tone::Error, "● failed"),
        TransactionState::Incomplete => (Tone::Warning, "incomplete"),
    };
    view! { <Badge tone=tone>{words}</Badge> }
}
