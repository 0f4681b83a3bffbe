//! Shares of time as a strip, each in its service's colour.

use leptos::prelude::*;

use crate::{colour, format, number_format};

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
        Self { service: service.to_owned(), words: number_format::truncate(&words, 80), share }
    }
}

/// The shares of a strip, by how they are drawn.
#[derive(Debug)]
struct StripShares {
    /// The parts that are wide enough to be drawn alone.
    drawn: Vec<StripPart>,
    /// Number of narrower parts, which are drawn as one.
    small_count: u64,
    small_share: f64,
    /// The share that no part covers.
    rest: f64,
}

fn strip_shares(parts: Vec<StripPart>) -> StripShares {
    let (drawn, small): (Vec<StripPart>, Vec<StripPart>) =
        parts.into_iter().filter(|part| part.share > 0.0).partition(|part| part.share >= SHARE_MIN);
    let sum = |parts: &[StripPart]| parts.iter().map(|part| part.share).sum::<f64>();
    let small_share = sum(&small);
    let rest = (1.0 - sum(&drawn) - small_share).clamp(0.0, 1.0);
    StripShares { drawn, small_count: small.len() as u64, small_share, rest }
}

fn part_title(words: &str, share: f64) -> String {
    format!("{words} {}", number_format::share(share))
}

/// A part that has no service's colour.
fn grey_part(
    class: &'static str,
    share: f64,
    title: String,
    name: Option<String>,
) -> impl IntoView {
    let name = name.map(|name| view! { <bdi>{name}</bdi> });
    view! {
        <span class=class style=("flex-grow", format!("{share:.4}")) title=title>
            {name}
        </span>
    }
}

/// The strip. Small parts are one grey part, and the part of the whole that no part covers is
/// another.
#[component]
pub fn TimeStrip(
    /// The parts, greatest first.
    parts: Vec<StripPart>,
    /// Noun for one part.
    #[prop(default = "service")]
    noun: &'static str,
    /// Words for the share that no part covers, which are after the strip where it is too narrow.
    /// Parts of a strip with such words show their names where there is room.
    #[prop(optional)]
    rest_words: Option<&'static str>,
) -> impl IntoView {
    let spoken = parts.iter().take(6).map(|part| part_title(&part.words, part.share));
    let spoken = spoken.collect::<Vec<_>>().join(", ");
    let is_named = |words: &str, share: f64| {
        rest_words.is_some() && words.chars().count() as f64 * SHARE_PER_LETTER < share
    };
    let part = |part: StripPart| {
        let title = part_title(&part.words, part.share);
        let name = is_named(&title, part.share).then(|| view! { <bdi>{title.clone()}</bdi> });
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
    let StripShares { drawn, small_count, small_share, rest } = strip_shares(parts);
    let drawn = drawn.into_iter().map(part).collect_view();
    let small = (small_count > 0).then(|| {
        let others = format::counted(small_count, &format!("other {noun}"));
        grey_part("strip-part strip-small", small_share, part_title(&others, small_share), None)
    });
    let has_rest = rest > SHARE_MIN;
    let rest_title = part_title(rest_words.unwrap_or("the rest"), rest);
    let rest_name = is_named(&rest_title, rest).then(|| rest_title.clone());
    let is_beside = has_rest && rest_words.is_some() && rest_name.is_none();
    let beside = is_beside.then(|| view! { <span class="mute">{rest_title.clone()}</span> });
    let rest = has_rest.then(|| grey_part("strip-part strip-rest", rest, rest_title, rest_name));
    view! {
        <div class="time-strip" role="img" aria-label=spoken>
            {drawn}
            {small}
            {rest}
        </div>
        {beside}
    }
}

#[cfg(test)]
mod tests {
    use super::{StripPart, part_title, strip_shares};

    #[test]
    fn small_parts_are_no_part_of_the_rest() {
        let part =
            |share: f64| StripPart { service: "pay".to_owned(), words: "pay".to_owned(), share };
        let shares = strip_shares([0.9, 0.05, 0.003, 0.001, 0.0].map(part).to_vec());
        assert_eq!((shares.drawn.len(), shares.small_count), (2, 2));
        assert_eq!(part_title("small", shares.small_share), "small 0.4 %");
        assert_eq!(part_title("after the answer", shares.rest), "after the answer 4.6 %");
        let whole = strip_shares([0.7, 0.4].map(part).to_vec());
        assert_eq!((whole.small_count, part_title("rest", whole.rest)), (0, "rest 0 %".to_owned()));
    }
}
