//! Shares of time as a strip, each in its service's colour.

use leptos::prelude::*;

use crate::{colour, figures, format};

/// Parts narrower than this are merged.
const SHARE_MIN: f64 = 0.005;
/// Share of a page-wide strip that a letter of a part's name needs.
pub const SHARE_PER_LETTER: f64 = 0.0085;

/// A part of a strip.
#[derive(Debug, Clone, PartialEq)]
pub struct StripPart {
    /// The service that gives its colour.
    pub service: String,
    /// Its words.
    pub words: String,
    /// Its share of the whole, 0 to 1.
    pub share: f64,
}

impl StripPart {
    /// The time of an operation.
    #[must_use]
    pub fn of_operation(service: &str, operation: &str, share: f64) -> Self {
        let words = format!("{}: {}", format::service(service), format::operation(operation));
        Self { service: service.to_owned(), words: figures::cut(&words, 80), share }
    }
}

/// The strip. The part of the whole that no part covers is grey.
#[component]
pub fn TimeStrip(
    /// The parts, greatest first.
    parts: Vec<StripPart>,
    /// Words for the grey part. Parts of a strip with such words show their names where there is
    /// room.
    #[prop(optional)]
    rest_words: Option<&'static str>,
) -> impl IntoView {
    let spoken =
        parts.iter().take(6).map(|part| format!("{} {}", part.words, figures::share(part.share)));
    let spoken = spoken.collect::<Vec<_>>().join(", ");
    let shown: f64 = parts.iter().map(|part| part.share).filter(|share| *share >= SHARE_MIN).sum();
    let rest = (1.0 - shown).clamp(0.0, 1.0);
    let name = |words: &str, share: f64| {
        let fits = words.chars().count() as f64 * SHARE_PER_LETTER < share;
        (fits && rest_words.is_some()).then(|| view! { <bdi>{words.to_owned()}</bdi> })
    };
    let part = |part: StripPart| {
        let title = format!("{} {}", part.words, figures::share(part.share));
        let name = name(&title, part.share);
        view! {
            <span
                class="strip-part"
                style=("--hue", colour::hue_value(&part.service))
                style=("flex-grow", format!("{:.4}", part.share))
                title=title
            >
                {name}
            </span>
        }
    };
    let drawn = parts.into_iter().filter(|part| part.share >= SHARE_MIN).map(part).collect_view();
    let rest = (rest > SHARE_MIN).then(|| {
        let title = format!("{} {}", rest_words.unwrap_or("the rest"), figures::share(rest));
        let name = name(&title, rest);
        view! {
            <span
                class="strip-part strip-rest"
                style=("flex-grow", format!("{rest:.4}"))
                title=title
            >
                {name}
            </span>
        }
    });
    view! {
        <div class="time-strip" role="img" aria-label=spoken>
            {drawn}
            {rest}
        </div>
    }
}
