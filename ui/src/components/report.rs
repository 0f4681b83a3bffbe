//! The first words of a report of changes: the end of all traffic, the culprit, or no change; the
//! baseline; and the missing parts.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{BaselineState, ChangeReport, PartialReason, TimeWindow, TrafficEnd},
};

use super::{
    Headline,
    change::{listed, short},
    panel::missing_note,
    refusals::receiver_words,
};
use crate::{asked::SHORTER, browser, format, format::rates, links::Links};

/// Maximum number of names that a sentence lists.
const NAMES_MAX: usize = 3;

/// Placeholder of the sentence while the report loads.
#[component]
#[must_use]
pub fn SentenceGhost() -> impl IntoView {
    view! {
        <p class="say" role="status" aria-label="Loading what changed">
            <span class="say-ghost"></span>
        </p>
    }
}

/// The first sentence of a report and its missing parts.
#[component]
pub fn ReportSentence(
    /// The report.
    report: Arc<ChangeReport>,
    /// Links within the page's range.
    links: Links,
) -> impl IntoView {
    let end = report.traffic_end.as_ref().map(|end| {
        let now = browser::now();
        let moment =
            rates::minute(end.since_unix_nano, now, browser::zone_minutes(end.since_unix_nano));
        let words = end_words(end, &moment);
        let refused = refused_words(end).map(|words| view! { <p class="say">{words}</p> });
        view! {
            <p class="say">
                <span class="is-worse">{words}</span>
            </p>
            {refused}
        }
    });
    let first = match report.headline.clone() {
        Some(sentence) => Some(view! { <Headline sentence links /> }.into_any()),
        None if end.is_some() => None,
        None => {
            Some(view! { <p class="say mute">{quiet_words(report.baseline.state)}</p> }.into_any())
        }
    };
    let subject = report.headline.as_ref().map(|sentence| sentence.subject.service.clone());
    let feeling = report.services.iter().filter(|group| group.only_feels);
    let names: Vec<String> = feeling
        .map(|group| group.service.clone())
        .filter(|name| Some(name) != subject.as_ref())
        .collect();
    let feels = feeling_words(&names).map(|words| view! { <p class="say mute">{words}</p> });
    let partial = partial_words(&report.partial).map(missing_note);
    view! { {end} {first} {feels} {partial} }
}

/// Returns the missing parts of a report as sentences. A sentence of several parts is given once. A
/// shorter range is suggested where it helps.
fn partial_words(partial: &[PartialReason]) -> Option<String> {
    let mut sentences: Vec<String> = Vec::new();
    for PartialReason { reason, .. } in partial {
        let mut letters = reason.chars();
        let Some(first) = letters.next() else { continue };
        let sentence = format!("{}{}.", first.to_uppercase(), letters.as_str());
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    if partial.iter().any(|of| of.shorter_range_helps) {
        sentences.push(SHORTER.to_owned());
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// The end of all traffic as a sentence.
fn end_words(end: &TrafficEnd, moment: &str) -> String {
    let services = match end.services.as_slice() {
        [one] => format!("from {}", short(format::service(&one.service))),
        _ => format!("from any of {}", format::counted(end.service_count, "service")),
    };
    let logs = if end.last_log_unix_nano.is_some() { " Log records still arrive." } else { "" };
    format!(
        "No spans arrive {services} since {moment}; there were {} transactions a minute.{logs}",
        rates::per_minute(end.rate_per_second)
    )
}

/// The latest refusal since the end of traffic as a sentence.
fn refused_words(end: &TrafficEnd) -> Option<String> {
    let first = end.refusals.first()?;
    let receiver = receiver_words(&first.receiver);
    let sender = short(&first.refusal.sender);
    let others = match end.refusals.len() - 1 {
        0 => String::new(),
        more => format!(" {} more on System.", format::counted(more as u64, "reason")),
    };
    Some(format!("{receiver} refused {sender}: {}.{others}", first.refusal.message))
}

/// Returns the words that nothing changed, and how reliable the baseline is.
#[must_use]
pub fn quiet_words(state: BaselineState) -> &'static str {
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

/// Returns the words for groups that feel a change: `checkout, web-gateway and 3 others feel it.`
fn feeling_words(names: &[String]) -> Option<String> {
    let (shown, more) = names.split_at(names.len().min(NAMES_MAX));
    let mut shown = shown.to_vec();
    match more.len() {
        0 => {}
        more => shown.push(format::counted(more as u64, "other")),
    }
    let verb = if names.len() == 1 { "feels" } else { "feel" };
    (!shown.is_empty()).then(|| format!("{} only {verb} it.", listed(&shown)))
}

/// Returns the compared times in words: `13:43 to 14:13, against 13:13 to 13:43`.
#[must_use]
pub fn compared_words(window: TimeWindow, baseline: (UnixNanos, UnixNanos)) -> String {
    let now = browser::now();
    let moment = |time: UnixNanos| rates::minute(time, now, browser::zone_minutes(time));
    let between = |start, end| format!("{} to {}", moment(start), moment(end));
    let length = window.end_unix_nano.since(window.start_unix_nano);
    let follows = baseline.1 == window.start_unix_nano;
    let before = if follows {
        format!("against {}", format::time_before(length))
    } else {
        format!("against {}", between(baseline.0, baseline.1))
    };
    format!("{}, {before}", between(window.start_unix_nano, window.end_unix_nano))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        UnixNanos,
        api::{PartialReason, ReceiverRefusal, RefusalStatus, ReportPart, ServiceEnd, TrafficEnd},
    };

    use super::{end_words, feeling_words, partial_words, refused_words};

    #[test]
    fn a_shorter_range_is_offered_only_for_gaps_that_it_mends() {
        let gap = |part, reason: &str, shorter_range_helps| PartialReason {
            part,
            reason: reason.to_owned(),
            shorter_range_helps,
        };
        let rare = gap(ReportPart::Groups, "rare types are in none", false);
        let cut = |part| gap(part, "the newest were read", true);
        assert_eq!(partial_words(&[]), None);
        let words = partial_words(std::slice::from_ref(&rare));
        assert_eq!(words.as_deref(), Some("Rare types are in none."));
        let words = partial_words(&[rare, cut(ReportPart::Window), cut(ReportPart::Baseline)]);
        assert_eq!(
            words.as_deref(),
            Some("Rare types are in none. The newest were read. A shorter range is read whole.")
        );
    }

    #[test]
    fn the_end_of_traffic_says_since_when_and_who_was_refused() {
        let service =
            |name: &str| ServiceEnd { service: name.to_owned(), last_seen_unix_nano: UnixNanos(1) };
        let mut end = TrafficEnd {
            since_unix_nano: UnixNanos(1),
            rate_per_second: 2.0,
            service_count: 12,
            services: vec![service("cart"), service("orders")],
            last_log_unix_nano: None,
            refusals: Vec::new(),
        };
        assert_eq!(
            end_words(&end, "14:05"),
            "No spans arrive from any of 12 services since 14:05; there were 120 transactions a minute."
        );
        assert_eq!(refused_words(&end), None);
        end.services.pop();
        end.last_log_unix_nano = Some(UnixNanos(2));
        assert_eq!(
            end_words(&end, "14:05"),
            "No spans arrive from cart since 14:05; there were 120 transactions a minute. Log records still arrive."
        );
        let refusal = RefusalStatus {
            reason: "handshake".to_owned(),
            count: 9,
            message: "no certificate was sent".to_owned(),
            sender: "10.0.0.4".to_owned(),
            last_unix_nano: UnixNanos(3),
        };
        let refusal = ReceiverRefusal { receiver: "otlp/grpc".to_owned(), refusal };
        end.refusals = vec![refusal.clone(), refusal];
        assert_eq!(
            refused_words(&end).as_deref(),
            Some(
                "OTLP over gRPC refused 10.0.0.4: no certificate was sent. 1 reason more on System."
            )
        );
    }

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
