//! The first words of a report of changes: the culprit, or that nothing changed, against which
//! time, and what is missing from it.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{BaselineState, ChangeReport, TimeWindow},
};

use super::{Headline, PartialNote, change::listed};
use crate::{browser, format, format::rates, links::Links};

/// Names that a sentence lists.
const NAMES_MAX: usize = 3;

/// The first sentence of a report and what it lacks.
#[component]
pub fn ReportSentence(
    /// The report.
    report: Arc<ChangeReport>,
    /// Links within the page's range.
    links: Links,
) -> impl IntoView {
    let first = match report.headline.clone() {
        Some(sentence) => view! { <Headline sentence links /> }.into_any(),
        None => view! { <p class="say mute">{quiet_words(report.baseline.state)}</p> }.into_any(),
    };
    let subject = report.headline.as_ref().map(|sentence| sentence.subject.service.clone());
    let feeling = report.services.iter().filter(|group| group.only_feels);
    let names: Vec<String> = feeling
        .map(|group| group.service.clone())
        .filter(|name| Some(name) != subject.as_ref())
        .collect();
    let feels = feeling_words(&names).map(|words| view! { <p class="say mute">{words}</p> });
    let reasons = report.partial.iter().map(|partial| partial.reason.clone()).collect::<Vec<_>>();
    let partial = (!reasons.is_empty()).then(|| {
        let words = reasons.join(" ");
        view! { <PartialNote>{words} " A shorter time range can be read whole."</PartialNote> }
    });
    view! { {first} {feels} {partial} }
}

fn quiet_words(state: BaselineState) -> &'static str {
    match state {
        BaselineState::Full => "Nothing changed more than by chance.",
        BaselineState::Short => {
            "Nothing large changed. There was little traffic before: small changes are not found."
        }
        BaselineState::Empty => {
            "There is nothing to compare with: no data came in the time before."
        }
    }
}

/// `checkout, web-gateway and 3 others feel it.`
fn feeling_words(names: &[String]) -> Option<String> {
    let (shown, more) = names.split_at(names.len().min(NAMES_MAX));
    let mut shown = shown.to_vec();
    match more.len() {
        0 => {}
        1 => shown.push("1 other".to_owned()),
        more => shown.push(format!("{more} others")),
    }
    let verb = if names.len() == 1 { "feels" } else { "feel" };
    (!shown.is_empty()).then(|| format!("{} only {verb} it.", listed(&shown)))
}

/// A length of time without parts that are nothing: `1 h`, `30 min`.
fn length_words(length: DurationNanos) -> String {
    let text = format::duration(length);
    let short = [" 0 min", " 0 s", " 0 h"].iter().find_map(|end| text.strip_suffix(end));
    short.map_or(text.clone(), str::to_owned)
}

/// The times that are compared, in words: `13:43 to 14:13, against 13:13 to 13:43`.
#[must_use]
pub fn compared_words(window: TimeWindow, baseline: (UnixNanos, UnixNanos)) -> String {
    let now = browser::now();
    let moment = |time: UnixNanos| rates::minute(time, now, browser::zone_minutes(time));
    let between = |start, end| format!("{} to {}", moment(start), moment(end));
    let length = window.end_unix_nano.since(window.start_unix_nano);
    let follows = baseline.1 == window.start_unix_nano;
    let before = if follows {
        format!("against the {} before", length_words(length))
    } else {
        format!("against {}", between(baseline.0, baseline.1))
    };
    format!("{}, {before}", between(window.start_unix_nano, window.end_unix_nano))
}

#[cfg(test)]
mod tests {
    use super::feeling_words;

    #[test]
    fn those_that_feel_a_change_are_named_and_counted() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|n| format!("s{n}")).collect() };
        assert_eq!(feeling_words(&names(0)), None);
        assert_eq!(feeling_words(&names(1)).as_deref(), Some("s0 only feels it."));
        assert_eq!(feeling_words(&names(3)).as_deref(), Some("s0, s1 and s2 only feel it."));
        assert_eq!(
            feeling_words(&names(4)).as_deref(),
            Some("s0, s1, s2 and 1 other only feel it.")
        );
        assert_eq!(
            feeling_words(&names(9)).as_deref(),
            Some("s0, s1, s2 and 6 others only feel it.")
        );
    }
}
