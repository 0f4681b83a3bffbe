//! The first words of a report of changes: the end of all traffic, the culprit, or no change; the
//! baseline; and the missing parts.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{BaselineState, ChangeReport, ChangedGroup, PartialReason, TimeWindow, TrafficEnd},
};

use super::{
    Headline,
    change::{join_names, truncate_name},
    panel::missing_note,
    refusals::receiver_text,
};
use crate::{
    browser, format, format::rates, links::Links, page_time::SHORTER_RANGE_HINT,
    server_watch::use_server,
};

/// The times of the numbers of transaction types where one counts from its change, in words.
pub const TIMES_OF_TYPES: &str = "calls of the whole range; failures and durations of changed rows \
     since the change, where its start is known";
/// The time of the numbers of services where one counts from its change, in words.
pub const TIMES_OF_SERVICES: &str = "calls, failures and durations of changed rows since the \
     change, where its start is known";
/// Maximum number of names that a sentence lists.
const NAMES_MAX: usize = 3;
/// Number of the most changed groups of each list that are searched for services that feel a
/// change. It is the API's default limit, so that pages with lists of other lengths name the same
/// services.
const FEELING_GROUPS_MAX: usize = 50;

/// Placeholder of the sentence while the report loads.
#[component]
#[must_use]
pub fn SentencePlaceholder() -> impl IntoView {
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
    let end = report.traffic_end.as_ref().map(end_view);
    let first = match report.headline.clone() {
        Some(sentence) => Some(view! { <Headline sentence links /> }.into_any()),
        None if end.is_some() => None,
        None => {
            Some(view! { <p class="say mute">{quiet_text(report.baseline.state)}</p> }.into_any())
        }
    };
    let subject = report.headline.as_ref().map(|sentence| sentence.subject.service.as_str());
    let names = feeling_services(&report.services, &report.transactions, subject);
    let feels = feeling_text(&names).map(|words| {
        let title = words.clone();
        view! { <p class="say say-feels mute" title=title>{words}</p> }
    });
    let partial = partial_text(&report.partial).map(missing_note);
    view! { {end} {first} {feels} {partial} }
}

/// The end of all traffic and the latest refusal since. The end is muted while the server does not
/// answer, because it may be over.
fn end_view(end: &TrafficEnd) -> impl IntoView + use<> {
    let server = use_server();
    let silent_since = Memo::new(move |_| server.silent_since());
    let refused = refused_text(end).map(|words| view! { <p class="say">{words}</p> });
    let end = end.clone();
    let words = move || {
        let now = browser::now();
        let moment = |time: UnixNanos| browser::local_minute(time, now);
        let as_of = silent_since.get().filter(|time| time.0 != 0).map(moment);
        end_text(&end, &moment(end.since_unix_nano), as_of.as_deref())
    };
    let is_silent = move || silent_since.with(Option::is_some);
    view! {
        <p class="say">
            <span class:is-worse=move || !is_silent() class:mute=is_silent>
                {words}
            </span>
        </p>
        {refused}
    }
}

/// Returns the missing parts of a report as sentences. A sentence of several parts is given once. A
/// shorter range is suggested where it helps.
fn partial_text(partial: &[PartialReason]) -> Option<String> {
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
        sentences.push(SHORTER_RANGE_HINT.to_owned());
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Returns the end of all traffic as a sentence. `as_of` is the time of the answer, where that is
/// older.
fn end_text(end: &TrafficEnd, moment: &str, as_of: Option<&str>) -> String {
    let none = as_of.map_or_else(|| "No spans".to_owned(), |at| format!("As of {at}, no spans"));
    let services = match end.services.as_slice() {
        [one] => format!("from {}", truncate_name(format::service(&one.service))),
        _ => format!("from any of the {}", format::counted(end.service_count, "service")),
    };
    let has_logs = end.last_log_unix_nano.is_some() && as_of.is_none();
    let logs = if has_logs { " Log records still arrive." } else { "" };
    format!(
        "{none} have arrived {services} since {moment}; before that there were {} transactions a \
         minute.{logs}",
        rates::per_minute(end.rate_per_second)
    )
}

/// The latest refusal since the end of traffic as a sentence.
fn refused_text(end: &TrafficEnd) -> Option<String> {
    let first = end.refusals.first()?;
    let receiver = receiver_text(&first.receiver);
    let sender = truncate_name(&first.refusal.sender);
    let others = match end.refusals.len() - 1 {
        0 => String::new(),
        more => format!(" {} more on System.", format::counted(more as u64, "reason")),
    };
    Some(format!("{receiver} refused {sender}: {}.{others}", first.refusal.message))
}

/// Returns the words that nothing changed, and how reliable the baseline is.
#[must_use]
pub fn quiet_text(state: BaselineState) -> &'static str {
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

/// Returns the services that feel a change, as a whole or in one of their transaction types.
fn feeling_services(
    services: &[ChangedGroup],
    transactions: &[ChangedGroup],
    subject: Option<&str>,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for groups in [services, transactions] {
        for group in groups.iter().take(FEELING_GROUPS_MAX) {
            let feels = group.only_feels && !group.uninstrumented;
            let is_named =
                Some(group.service.as_str()) == subject || names.contains(&group.service);
            if feels && !is_named {
                names.push(group.service.clone());
            }
        }
    }
    names
}

/// Returns the words for groups that only feel a change:
/// `checkout, web-gateway and 3 others are only affected by it.`
fn feeling_text(names: &[String]) -> Option<String> {
    let (shown, more) = names.split_at(names.len().min(NAMES_MAX));
    let mut shown = shown.to_vec();
    match more.len() {
        0 => {}
        more => shown.push(format::counted(more as u64, "other")),
    }
    let verb = if names.len() == 1 { "is" } else { "are" };
    (!shown.is_empty()).then(|| format!("{} {verb} only affected by it.", join_names(&shown)))
}

/// Returns the compared times in words: `13:43 to 14:13, against 13:13 to 13:43`.
#[must_use]
pub fn compared_text(window: TimeWindow, baseline: (UnixNanos, UnixNanos)) -> String {
    let now = browser::now();
    let moment = |time: UnixNanos| browser::local_minute(time, now);
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
        api::{
            ChangedGroup, GroupStats, PartialReason, ReceiverRefusal, RefusalStatus, ReportPart,
            ServiceEnd, TrafficEnd,
        },
    };

    use super::{
        FEELING_GROUPS_MAX, end_text, feeling_services, feeling_text, partial_text, refused_text,
    };

    #[test]
    fn a_shorter_range_is_offered_only_for_gaps_that_it_mends() {
        let gap = |part, reason: &str, shorter_range_helps| PartialReason {
            part,
            reason: reason.to_owned(),
            shorter_range_helps,
        };
        let rare = gap(ReportPart::Groups, "rare types are in none", false);
        let cut = |part| gap(part, "the newest were read", true);
        assert_eq!(partial_text(&[]), None);
        let words = partial_text(std::slice::from_ref(&rare));
        assert_eq!(words.as_deref(), Some("Rare types are in none."));
        let words = partial_text(&[rare, cut(ReportPart::Window), cut(ReportPart::Baseline)]);
        assert_eq!(
            words.as_deref(),
            Some("Rare types are in none. The newest were read. A shorter range is read whole.")
        );
    }

    #[test]
    fn the_end_of_traffic_says_since_when_and_who_was_refused() {
        let rate = "before that there were 120 transactions a minute.";
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
            end_text(&end, "14:05", None),
            format!("No spans have arrived from any of the 12 services since 14:05; {rate}")
        );
        assert_eq!(
            end_text(&end, "14:05", Some("14:07")),
            format!(
                "As of 14:07, no spans have arrived from any of the 12 services since 14:05; {rate}"
            )
        );
        assert_eq!(refused_text(&end), None);
        end.services.pop();
        end.last_log_unix_nano = Some(UnixNanos(2));
        assert_eq!(
            end_text(&end, "14:05", None),
            format!(
                "No spans have arrived from cart since 14:05; {rate} Log records still arrive."
            )
        );
        assert!(end_text(&end, "14:05", Some("14:07")).ends_with(rate), "it may be over");
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
            refused_text(&end).as_deref(),
            Some(
                "OTLP over gRPC refused 10.0.0.4: no certificate was sent. 1 reason more on System."
            )
        );
    }

    #[test]
    fn services_are_named_that_feel_a_change_as_a_whole_or_in_a_type() {
        let group = |service: &str, operation: Option<&str>, only_feels| {
            let group = serde_json::json!({
                "service": service, "operation": operation, "now": GroupStats::default(),
                "before": GroupStats::default(), "steps": [], "baselineSteps": [], "changes": [],
                "score": 0.0, "onlyFeels": only_feels,
            });
            serde_json::from_value::<ChangedGroup>(group).unwrap()
        };
        let endpoint = ChangedGroup { uninstrumented: true, ..group("redis", None, true) };
        let mut services =
            vec![group("checkout", None, true), group("gateway", None, false), endpoint];
        let types = [
            group("checkout", Some("POST /place"), true),
            group("gateway", Some("POST /checkout"), true),
            group("gateway", Some("GET /"), false),
            group("pay", Some("POST /charge"), true),
        ];
        let names = feeling_services(&services, &types, Some("pay"));
        assert_eq!(names, ["checkout", "gateway"]);
        services[1].only_feels = true;
        assert_eq!(feeling_services(&services, &types, Some("pay")), names, "as a whole, too");
        let many: Vec<ChangedGroup> =
            (0..200).map(|n| group(&format!("s{n}"), None, true)).collect();
        let of_pages = [50, 200].map(|limit| feeling_services(&many[..limit], &[], None));
        assert_eq!(of_pages[0], of_pages[1], "lists of other lengths say the same");
        assert_eq!(of_pages[0].len(), FEELING_GROUPS_MAX);
    }

    #[test]
    fn those_that_feel_a_change_are_named_and_counted() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|n| format!("s{n}")).collect() };
        assert_eq!(feeling_text(&names(0)), None);
        assert_eq!(feeling_text(&names(1)).as_deref(), Some("s0 is only affected by it."));
        assert_eq!(
            feeling_text(&names(3)).as_deref(),
            Some("s0, s1 and s2 are only affected by it.")
        );
        assert_eq!(
            feeling_text(&names(4)).as_deref(),
            Some("s0, s1, s2 and 1 other are only affected by it.")
        );
        assert_eq!(
            feeling_text(&names(9)).as_deref(),
            Some("s0, s1, s2 and 6 others are only affected by it.")
        );
    }
}
