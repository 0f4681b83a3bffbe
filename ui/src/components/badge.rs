//! Small labels: badges, active filters, services with their colour.

use leptos::prelude::*;
use tidings_proto::{api::TransactionState, otlp::Severity};

use super::{Icon, IconName, SparkTone, change::truncate_name};
use crate::{colour, format};

/// Meaning of a badge, which sets its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Neutral.
    Plain,
    /// Good or live.
    Good,
    /// Needs attention, not urgently.
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

/// Returns the tone of a log record's severity: error, warning, or plain.
#[must_use]
pub fn severity_tone(severity: &str) -> SparkTone {
    match Severity::from_word(severity) {
        Some(Severity::Error | Severity::Fatal) => SparkTone::Error,
        Some(Severity::Warn) => SparkTone::Warning,
        _ => SparkTone::Plain,
    }
}

/// The class of a log record's severity.
#[must_use]
pub fn severity_class(severity: &str) -> &'static str {
    match severity_tone(severity) {
        SparkTone::Error => "log-severity is-error",
        SparkTone::Warning => "log-severity is-warning",
        _ if severity == Severity::Info.word() => "log-severity is-info",
        _ => "log-severity",
    }
}

/// An active filter with a button that removes it.
#[component]
pub fn Chip(
    /// Name of the filter, as `service`.
    name: String,
    /// The relation, as `=`.
    relation: &'static str,
    /// The value.
    value: String,
    /// Called when the filter is clicked, to edit it.
    on_edit: Callback<()>,
    /// Called when the filter is removed.
    on_remove: Callback<()>,
) -> impl IntoView {
    let words = format!("{name} {relation} {value}");
    let label = format!("Remove the filter {words}");
    view! {
        <span class="chip" role="group" aria-label=words>
            <button class="chip-body" type="button" on:click=move |_| on_edit.run(())>
                <span class="chip-name">{name}</span>
                <span class="chip-relation">{relation}</span>
                <span class="chip-value">{value}</span>
            </button>
            <button
                class="chip-remove"
                type="button"
                aria-label=label
                on:click=move |_| on_remove.run(())
            >
                <Icon name=IconName::Close />
            </button>
        </span>
    }
}

/// The coloured dot of a service without its name, which is its title and its text for screen
/// readers.
#[component]
pub fn ServiceDot(
    /// `service.name`.
    #[prop(into)]
    service: String,
) -> impl IntoView {
    let hue = colour::hue_value(&service);
    view! { <span class="dot" style=("--hue", hue) title=service></span> }
}

/// The coloured dot and the name of a service.
#[component]
pub fn ServiceName(
    /// `service.name`.
    #[prop(into)]
    service: String,
) -> impl IntoView {
    let hue = colour::hue_value(&service);
    let shown = format::service(&service).to_owned();
    view! {
        <span class="service">
            <span class="dot" style=("--hue", hue) aria-hidden="true"></span>
            <span class="service-name">{shown}</span>
        </span>
    }
}

/// The open dot and the name of a peer, with a note that it sends no spans.
#[component]
pub fn PeerName(
    /// Its name: that of a store or outside system.
    #[prop(into)]
    peer: String,
) -> impl IntoView {
    let shown = truncate_name(format::peer(&peer));
    let title = format!("{shown} sends no spans: the numbers are of the calls to it");
    view! {
        <span class="service" title=title>
            <span class="dot dot-outside" aria-hidden="true"></span>
            <span class="service-name">{shown}</span>
            <span class="hidden">" sends no spans"</span>
        </span>
    }
}

#[cfg(test)]
mod tests {
    use super::{Severity, SparkTone, severity_class, severity_tone};

    #[test]
    fn every_severity_has_a_tone_and_a_class() {
        use SparkTone::{Error, Plain, Warning};
        let tones = Severity::ALL.map(|severity| severity_tone(severity.word()));
        assert_eq!(tones, [Plain, Plain, Plain, Warning, Error, Error]);
        assert_eq!(severity_tone("loud"), Plain);
        for (word, class) in [
            ("fatal", "log-severity is-error"),
            ("warn", "log-severity is-warning"),
            ("info", "log-severity is-info"),
            ("debug", "log-severity"),
            ("", "log-severity"),
        ] {
            assert_eq!(severity_class(word), class, "{word}");
        }
    }
}
