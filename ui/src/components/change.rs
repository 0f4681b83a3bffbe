//! Words for a change: a badge with its numbers, or a sentence that names the subject, the moment
//! and the cause.
//!
//! The API gives the change and its cause; this module chooses the words. Every text of a sender is
//! cut to the length of a line.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{
        Cause, CauseKind, Change, ChangeKind, ChangeSentence, ChangedGroup, GroupStats, Subject,
        SubjectKind,
    },
};

use super::Tone;
use crate::{browser, format, format::rates, links::Links};

/// Maximum number of characters of a name in a sentence.
const NAME_MAX: usize = 60;
/// First words of the badge of a group that only feels the change of another.
const AFFECTED: &str = "affected by ";
/// Words for numbers that are worse than before where chance may explain it.
pub const MAY_BE_CHANCE: &str = "worse, but may be chance";
/// Time of a badge beside numbers of the whole range, with a space before it.
const IN_RANGE: &str = " in this range";
/// Words in place of the numbers of a change that is not seen in those of its row.
const WHOLE_TIME: &str = "numbers of the whole range";
/// Share of the value of a change by which the one in its row may differ.
const ROW_DIFFERENCE_MAX: f64 = 0.1;
/// Factor below which a difference is clearer than a factor.
const FACTOR_MIN: f64 = 1.5;

/// Cuts a name of a sender to the length of a line.
#[must_use]
pub fn truncate_name(name: &str) -> String {
    if name.chars().nth(NAME_MAX).is_none() {
        return name.to_owned();
    }
    let begin: String = name.chars().take(NAME_MAX).collect();
    format!("{begin}…")
}

fn duration(nanos: f64) -> String {
    format::duration(DurationNanos(rates::whole(nanos.abs())))
}

/// Returns the change without its subject: `3.9× slower`, `10.2 % fail`.
#[must_use]
pub fn change_text(change: &Change) -> String {
    let is_more = change.now > change.before;
    let factor = if is_more { change.factor } else { change.factor.map(f64::recip) };
    let factor = factor.filter(|factor| *factor >= FACTOR_MIN && factor.is_finite());
    let text = change.text.as_deref().map(truncate_name).unwrap_or_default();
    match change.kind {
        ChangeKind::Latency => {
            let word = if is_more { "slower" } else { "faster" };
            let size = factor.map_or_else(|| duration(change.difference), rates::factor);
            format!("{size} {word}")
        }
        ChangeKind::Errors => format!("{} fail", rates::percent(change.now)),
        ChangeKind::Throughput => {
            let word = if is_more { "more" } else { "fewer" };
            match change.factor.filter(|factor| *factor < 2.0) {
                Some(factor) => format!("{} {word} calls", rates::percent((factor - 1.0).abs())),
                None => {
                    let size = factor.map(rates::factor).unwrap_or_default();
                    format!("{size} {word} calls").trim_start().to_owned()
                }
            }
        }
        ChangeKind::NewException => format!("new exception {text}"),
        ChangeKind::NewLogPattern => format!("new log pattern: {text}"),
        // For a culprit, the share of calls to it for which it sends no span.
        ChangeKind::Missing if change.now > 0.0 => {
            format!("sends no span for {} of its calls", rates::percent(change.now))
        }
        ChangeKind::Missing => "no calls any more".to_owned(),
        ChangeKind::New => format!("new, {} calls a minute", rates::per_minute(change.now)),
        ChangeKind::ClockSkew => format!("clock {} off", duration(change.difference)),
        ChangeKind::Callees => "calls others than before".to_owned(),
        ChangeKind::Repeats => {
            format!("called {} times by one span", rates::three_digits(change.now.max(0.0)))
        }
    }
}

/// Returns the quantile of a change with a space after it: `p50 `, `mean `. Empty for a change
/// without a quantile.
fn quantile_text(change: &Change) -> String {
    match change.quantile {
        Some(0) => "mean ".to_owned(),
        Some(percent) => format!("p{percent} "),
        None => String::new(),
    }
}

/// Returns the value of the baseline when the words of the change do not imply it: `it was 0.1 %`,
/// `p50 402 ms, it was 103 ms`.
fn was_text(change: &Change) -> Option<String> {
    match change.kind {
        ChangeKind::Latency if change.before > 0.0 => {
            let (now, before) = (duration(change.now), duration(change.before));
            Some(format!("{}{now}, it was {before}", quantile_text(change)))
        }
        ChangeKind::Errors => Some(format!("it was {}", rates::percent(change.before))),
        ChangeKind::Missing if change.now <= 0.0 => {
            Some(format!("it had {} a minute", rates::per_minute(change.before)))
        }
        ChangeKind::Repeats => {
            Some(format!("it was {}", rates::three_digits(change.before.max(0.0))))
        }
        _ => None,
    }
}

/// Returns the name of a subject: the name of a peer, `operation of service`, or the service.
#[must_use]
pub fn subject_text(subject: &Subject) -> String {
    let service = truncate_name(format::service(&subject.service));
    match (subject.kind, &subject.peer, &subject.operation) {
        (SubjectKind::Peer, Some(peer), _) => truncate_name(format::peer(peer)),
        (SubjectKind::Operation, _, Some(operation)) => {
            format!("{} of {service}", truncate_name(format::operation(operation)))
        }
        _ => service,
    }
}

/// Returns a cause as words to follow *with*: `payment 2.14.0`, `host.name = node-4 of payment`.
#[must_use]
pub fn cause_text(cause: &Cause) -> String {
    let service = truncate_name(format::service(&cause.service));
    let value = cause.value.as_deref().map(truncate_name);
    let key = cause.attribute.as_ref().map(|attribute| truncate_name(&attribute.key));
    match (cause.kind, key, value) {
        (CauseKind::Version, _, Some(version)) => format!("{service} {version}"),
        (CauseKind::Exception, _, Some(name)) => format!("{name} in {service}"),
        (CauseKind::LogPattern, _, Some(pattern)) => {
            format!("“{pattern}” in the logs of {service}")
        }
        (CauseKind::MoreCalls, ..) => format!("more calls of {service}"),
        (_, Some(key), Some(value)) => format!("{key} = {value} of {service}"),
        (_, Some(key), None) => format!("no {key} in {service}"),
        (_, None, Some(value)) => format!("{value} in {service}"),
        (_, None, None) => service,
    }
}

/// Returns the values before and since a change for a table: `p50 103 → 402 ms`,
/// `0.1 → 10.2 %`. A unit that both have stands once. `None` when the words of the change are
/// complete.
#[must_use]
pub fn number_text(change: &Change) -> Option<String> {
    let (write, unit): (fn(f64) -> String, _) = match change.kind {
        ChangeKind::Latency if change.before > 0.0 => (duration, ""),
        ChangeKind::Errors => (rates::percent, ""),
        ChangeKind::Throughput => (rates::per_minute, " /min"),
        _ => return None,
    };
    let (before, now) = (write(change.before), write(change.now));
    Some(format!("{}{} → {now}{unit}", quantile_text(change), without_unit_of(&before, &now)))
}

/// Returns a number without its unit where the other number has the same one.
fn without_unit_of<'a>(number: &'a str, other: &str) -> &'a str {
    match (number.split_once(' '), other.split_once(' ')) {
        // Of a number with two units, as `2 min 5 s`, every part is kept.
        (Some((digits, unit)), Some((_, other))) if unit == other && !unit.contains(' ') => digits,
        _ => number,
    }
}

/// Returns the change for a row whose duration is of one quantile. Another quantile is named:
/// `p50 3.9× slower`.
#[must_use]
pub fn row_text(change: &Change, row_quantile: u8) -> String {
    let is_of_row = change.quantile == Some(row_quantile);
    let quantile = if is_of_row { String::new() } else { quantile_text(change) };
    format!("{quantile}{}", change_text(change))
}

/// Returns the change with its moment and the values before and since it:
/// `3.9× slower since 14:01: p50 103 → 402 ms`.
#[must_use]
pub fn number_title(change: &Change, now: UnixNanos) -> String {
    let numbers = number_text(change).map(|numbers| format!(": {numbers}"));
    format!("{}{}{}", change_text(change), since(change, now), numbers.unwrap_or_default())
}

/// Returns the moment as words with a space before them: ` since 14:01`.
fn since(change: &Change, now: UnixNanos) -> String {
    change
        .since_unix_nano
        .map_or_else(String::new, |time| format!(" since {}", browser::local_minute(time, now)))
}

/// Returns the time that a badge names, with a space before it. Beside numbers from `begin` on it
/// is ` since 14:01`: the begin of the change itself, if known. Beside numbers of the whole range
/// it is ` in this range`. Calls that came or ended are not measured since a moment.
fn badge_time(
    change: &Change,
    begin: Option<UnixNanos>,
    minute: impl Fn(UnixNanos) -> String,
) -> String {
    let has_no_begin = matches!(change.kind, ChangeKind::New | ChangeKind::Missing);
    let time = match (change.since_unix_nano, begin) {
        (None, _) | (_, None) if has_no_begin => return String::new(),
        (_, None) => return IN_RANGE.to_owned(),
        (own, Some(begin)) => own.unwrap_or(begin),
    };
    format!(" since {}", minute(time))
}

/// Returns the begin of the numbers of a group; `None` where they are of the whole range.
fn begin_of(group: &ChangedGroup) -> Option<UnixNanos> {
    group.since.map(|since| since.start_unix_nano)
}

/// Returns the change with its moment and the value before:
/// `3.9× slower since 14:01 (402 ms, it was 103 ms)`.
#[must_use]
pub fn full_text(change: &Change, now: UnixNanos) -> String {
    let mut words = format!("{}{}", change_text(change), since(change, now));
    if let Some(was) = was_text(change) {
        words.push_str(&format!(" ({was})"));
    }
    words
}

/// Returns the sentence without links, for badges and titles.
#[must_use]
pub fn sentence_text(sentence: &ChangeSentence, now: UnixNanos) -> String {
    let subject = subject_text(&sentence.subject);
    let mut words = format!("{subject}: {}", full_text(&sentence.change, now));
    if let Some(cause) = sentence.with.first() {
        words.push_str(", with ");
        words.push_str(&cause_text(cause));
    }
    words
}

/// Returns the tone of a change: an error for a harmful one, a warning for another worsening, good
/// for an improvement.
#[must_use]
pub fn change_tone(change: &Change) -> Tone {
    let hurts = match change.kind {
        ChangeKind::Errors | ChangeKind::Missing | ChangeKind::NewException => true,
        ChangeKind::Latency => change.factor.is_none_or(|factor| factor >= 2.0),
        _ => false,
    };
    match (change.is_worse, hurts) {
        (true, true) => Tone::Error,
        (true, false) => Tone::Warning,
        (false, _) => Tone::Good,
    }
}

/// Returns the tone of a group's badge. A change elsewhere is no error of the group: its card on the
/// map is amber, too.
fn badge_tone(change: &Change, is_elsewhere: bool) -> Tone {
    match change_tone(change) {
        Tone::Error if is_elsewhere => Tone::Warning,
        tone => tone,
    }
}

/// Reports whether a subject is a group's own service, peer or operation.
fn is_same_subject(subject: &Subject, service: &str, operation: Option<&str>) -> bool {
    match subject.kind {
        SubjectKind::Service => subject.service == service,
        SubjectKind::Peer => subject.peer.as_deref() == Some(service),
        SubjectKind::Operation => {
            subject.service == service && subject.operation.as_deref() == operation
        }
    }
}

/// Reports whether a sentence names a group: as its subject, as the caller of an endpoint, or as
/// the owner of a cause.
fn names_group(sentence: &ChangeSentence, group: &ChangedGroup) -> bool {
    let subject = &sentence.subject;
    if group.uninstrumented {
        return subject.peer.as_ref() == Some(&group.service);
    }
    let is_of_service = subject.service == group.service;
    match &group.operation {
        Some(_) => is_of_service && subject.operation == group.operation,
        None => is_of_service || sentence.with.iter().any(|cause| cause.service == group.service),
    }
}

/// Returns the sentence of a group, with true if the group only feels the change of another. A
/// group that the headline names gets the headline's sentence, unless it changed by itself.
#[must_use]
pub fn sentence_of<'a>(
    group: &'a ChangedGroup,
    headline: Option<&'a ChangeSentence>,
) -> Option<(&'a ChangeSentence, bool)> {
    let own = group.sentence.as_ref().map(|sentence| (sentence, group.only_feels));
    match headline.filter(|headline| names_group(headline, group)) {
        Some(headline) if own.is_none_or(|(_, only_feels)| only_feels) => Some((headline, false)),
        _ => own,
    }
}

/// The change of a group as a badge, under the headline of its report. A group without a change has
/// words about its calls.
pub fn change_badge(group: &ChangedGroup, headline: Option<&ChangeSentence>) -> AnyView {
    let ChangedGroup { service, operation, .. } = group;
    if let Some((sentence, only_feels)) = sentence_of(group, headline) {
        let (service, operation) = (service.clone(), operation.clone());
        let sentence = sentence.clone();
        // The page of a transaction type has the badge of its own sentence, and no headline.
        let called = || called_change(group, headline, browser::now());
        let is_caller = operation.is_none() && called().is_some();
        let begin = begin_of(group);
        return view! { <ChangeBadge sentence service operation begin only_feels is_caller /> }
            .into_any();
    }
    view! { <span class="mute">{unchanged_text(group)}</span> }.into_any()
}

fn unchanged_text(group: &ChangedGroup) -> &'static str {
    match (group.now.count, group.before.count) {
        (_, 0) => "no calls before",
        (0, _) => "no calls now",
        _ if group.is_uncertain => MAY_BE_CHANCE,
        _ => "as usual",
    }
}

/// Returns the title of a number: the one before, and that chance may explain a worse one.
#[must_use]
pub fn before_title(before: Option<String>, may_be_chance: bool) -> Option<String> {
    let before = before.map(|before| format!("it was {before}"));
    let chance = may_be_chance.then(|| MAY_BE_CHANCE.to_owned());
    let words: Vec<String> = [before, chance].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// The change of a group as a badge with its numbers.
pub fn change_cell(
    group: &ChangedGroup,
    headline: Option<&ChangeSentence>,
) -> impl IntoView + use<> {
    let sentence = sentence_of(group, headline).map(|(sentence, _)| sentence);
    let own = sentence
        .filter(|own| is_same_subject(&own.subject, &group.service, group.operation.as_deref()));
    let change = own.map(|own| &own.change).or(group.changes.first());
    let owner = if sentence.is_some() && own.is_none() { "its " } else { "" };
    let now = browser::now();
    let minute = |time| browser::local_minute(time, now);
    let numbers = change.and_then(|of| row_numbers(group, of, owner, minute));
    with_numbers(change_badge(group, headline), numbers)
}

/// A badge with words beside it, which have a class.
fn with_numbers(badge: AnyView, numbers: Option<(&'static str, String)>) -> impl IntoView + use<> {
    let numbers = numbers.map(|(class, words)| view! { <span class=class>{words}</span> });
    view! { <div class="change-cell">{badge} {numbers}</div> }
}

/// Returns the values before and since a change of a row's group, with the class of the text. The
/// owner stands before them where the badge is about something else. A change without a begin may be
/// one of a last part of the window only: its values have the begin of that part, because the row
/// has the numbers of the whole window. Where that begin is not known and the values would
/// contradict the row, the words say so.
fn row_numbers(
    group: &ChangedGroup,
    change: &Change,
    owner: &str,
    minute: impl Fn(UnixNanos) -> String,
) -> Option<(&'static str, String)> {
    let numbers = number_text(change)?;
    if let Some(begin) = change.tested_since_unix_nano {
        return Some(("mono mute", format!("{owner}{numbers} from {}", minute(begin))));
    }
    let is_stated = group.since.is_some()
        || value_in(&group.now, change).is_none_or(|value| {
            (value - change.now).abs() <= ROW_DIFFERENCE_MAX * change.now.abs()
        });
    let stated = || ("mono mute", format!("{owner}{numbers}"));
    Some(if is_stated { stated() } else { ("whole-time mute", WHOLE_TIME.to_owned()) })
}

/// Returns the value of the aspect of a change in the numbers of a group. `None` where they do not
/// have it.
fn value_in(stats: &GroupStats, change: &Change) -> Option<f64> {
    let nanos = match (change.kind, change.quantile) {
        (ChangeKind::Errors, _) => return Some(stats.error_share),
        (ChangeKind::Throughput, _) => return Some(stats.rate_per_second),
        (ChangeKind::Latency, Some(50)) => stats.p50_nano,
        (ChangeKind::Latency, Some(95)) => stats.p95_nano,
        (ChangeKind::Latency, Some(99)) => stats.p99_nano,
        _ => return None,
    };
    Some(nanos.0 as f64)
}

/// A change as a badge whose title is the full sentence.
#[component]
pub fn ChangeBadge(
    /// The sentence of a group.
    sentence: ChangeSentence,
    /// The group's own service or peer, whose name the badge leaves out.
    service: String,
    /// The group's own operation, if it is one.
    #[prop(default = None)]
    operation: Option<String>,
    /// Begin of the numbers beside the badge; `None` where they are of the whole range.
    begin: Option<UnixNanos>,
    /// Set when the group only feels the change of another.
    #[prop(optional)]
    only_feels: bool,
    /// Set when the group calls the endpoint that the sentence is about.
    #[prop(optional)]
    is_caller: bool,
) -> impl IntoView {
    let now = browser::now();
    let title = badge_title(&sentence, only_feels, now);
    let time = badge_time(&sentence.change, begin, |time| browser::local_minute(time, now));
    let text = badge_text(&sentence, (service.as_str(), operation.as_deref()), only_feels, &time);
    let class = match badge_tone(&sentence.change, only_feels || is_caller) {
        Tone::Error => "badge badge-cut badge-error",
        Tone::Warning => "badge badge-cut badge-warning",
        Tone::Good => "badge badge-cut badge-good",
        Tone::Plain => "badge badge-cut",
    };
    let feels = only_feels.then(|| view! { <span class="badge-feels">{AFFECTED}</span> });
    view! { <span class=class title=title>{feels}{text}</span> }
}

/// Returns the title of a badge: the full sentence, after `affected by` where the group only feels
/// it.
fn badge_title(sentence: &ChangeSentence, only_feels: bool, now: UnixNanos) -> String {
    let affected = if only_feels { AFFECTED } else { "" };
    format!("{affected}{}", sentence_text(sentence, now))
}

/// Returns the change that affects a group, as its badge has it after `affected by`:
/// `northpay since 14:01`. `None` for a group that does not only feel the change of another
/// under the headline of its report.
#[must_use]
pub fn felt_text(
    group: &ChangedGroup,
    headline: Option<&ChangeSentence>,
    now: UnixNanos,
) -> Option<String> {
    let (sentence, _) = sentence_of(group, headline).filter(|(_, only_feels)| *only_feels)?;
    let name = (group.service.as_str(), group.operation.as_deref());
    let minute = |time| browser::local_minute(time, now);
    let time = badge_time(&sentence.change, begin_of(group), minute);
    Some(badge_text(sentence, name, true, &time))
}

/// The changed endpoint that a service calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledChange {
    /// The name of the endpoint.
    pub name: String,
    /// The words of the service's badge: `northpay 3.9× slower since 14:01`.
    pub badge: String,
}

/// Returns the worse endpoint that the sentence of a service is about, under the headline of its
/// report. `None` for a service that only feels the change or has a cause of it.
#[must_use]
pub fn called_change(
    group: &ChangedGroup,
    headline: Option<&ChangeSentence>,
    now: UnixNanos,
) -> Option<CalledChange> {
    let (sentence, _) = sentence_of(group, headline).filter(|(_, only_feels)| !*only_feels)?;
    let ChangeSentence { subject, change, with, .. } = sentence;
    let is_caller = subject.kind == SubjectKind::Peer && subject.service == group.service;
    let has_cause = with.iter().any(|cause| cause.service == group.service);
    let is_affected = is_caller && !has_cause && !group.uninstrumented && change.is_worse;
    let name = (group.service.as_str(), group.operation.as_deref());
    is_affected.then(|| {
        let minute = |time| browser::local_minute(time, now);
        let time = badge_time(change, begin_of(group), minute);
        let badge = badge_text(sentence, name, false, &time);
        CalledChange { name: subject_text(subject), badge }
    })
}

/// Returns the words of a badge. They name the subject if it is not the group, and before it the
/// group's own cause, and end with the time.
fn badge_text(
    ChangeSentence { subject, change, with, .. }: &ChangeSentence,
    (service, operation): (&str, Option<&str>),
    only_feels: bool,
    at: &str,
) -> String {
    if is_same_subject(subject, service, operation) {
        return format!("{}{at}", change_text(change));
    }
    let words = match change.kind {
        // Each caller feels another factor. Only the culprit's own factor is shown, in the title.
        ChangeKind::Latency if only_feels && change.now > change.before => String::new(),
        ChangeKind::Latency if only_feels => ", faster".to_owned(),
        ChangeKind::NewException | ChangeKind::NewLogPattern | ChangeKind::New => {
            format!(": {}", change_text(change))
        }
        _ if only_feels => format!(", {}", change_text(change)),
        _ => format!(" {}", change_text(change)),
    };
    let cause = with.iter().find(|cause| cause.service == service && !only_feels);
    let cause = cause.and_then(|cause| cause.value.as_deref());
    let cause = cause.map(|value| format!("{}: ", truncate_name(value))).unwrap_or_default();
    format!("{cause}{}{words}{at}", subject_text(subject))
}

/// The first sentence of a page: its subject as a link, the change and the cause.
#[component]
pub fn Headline(
    /// The sentence.
    sentence: ChangeSentence,
    /// Links within the page's range.
    links: Links,
) -> impl IntoView {
    let now = browser::now();
    let ChangeSentence { subject, change, with, explained_share } = sentence;
    let name = subject_text(&subject);
    let address = match (&subject.kind, &subject.operation) {
        (SubjectKind::Operation, Some(operation)) => links.operation(&subject.service, operation),
        (SubjectKind::Peer, _) => links.map(subject.peer.as_deref()),
        _ => links.service_since_change(&subject.service),
    };
    let caller = (subject.kind == SubjectKind::Peer).then(|| {
        let href = links.service_since_change(&subject.service);
        let name = truncate_name(format::service(&subject.service));
        view! { ", called by " <a href=href>{name}</a> "," }
    });
    let class = if change.is_worse { "is-worse" } else { "is-better" };
    let words = change_text(&change);
    let was = was_text(&change).map(|was| format!(" ({was})"));
    let mut words_of = with.iter().map(cause_text);
    let cause = words_of.next().map(|first| {
        let first_seen = with
            .first()
            .and_then(|cause| cause.first_seen_unix_nano)
            .map(|time| format!(", first seen {}", browser::local_minute(time, now)));
        view! { ", with " <b>{first}</b> {first_seen} }
    });
    let others: Vec<String> = words_of.collect();
    let others = (!others.is_empty()).then(|| {
        view! { <span class="mute">" Also: " {join_names(&others)} "."</span> }
    });
    let share = explained_share
        .filter(|share| *share < 0.995)
        .map(|share| format!(" It explains {} of what changed.", rates::percent(share)));
    view! {
        <p class="say">
            <a href=address>{name}</a>
            {caller}
            " "
            <span class=class>{words}</span>
            {since(&change, now)}
            {was}
            {cause}
            "."
            {share}
            {others}
        </p>
    }
}

/// Joins words: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn join_names(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
