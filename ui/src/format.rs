//! Formatting of numbers, lengths of time and moments for readers.
//!
//! Every number has three digits and a unit that is chosen per value. `proto` formats lengths of
//! time, as in the terminal. Owns no state. Callers give the offset of the local time from UTC.

use std::borrow::Cow;

use tidings_proto::{
    CivilDate, DurationNanos, UnixNanos,
    api::{SearchProgress, Total, TotalRelation},
    otlp::{AnyValue, ValueForm},
};

/// Returns the displayed name of an operation, which is never empty.
#[must_use]
pub fn operation(name: &str) -> &str {
    if name.is_empty() { "(no name)" } else { name }
}

/// Returns the displayed name of a service, which is never empty.
#[must_use]
pub fn service(name: &str) -> &str {
    if name.is_empty() { "(no service)" } else { name }
}

/// Returns the displayed name of a peer, a store or outside system, which is never empty.
#[must_use]
pub fn peer(name: &str) -> &str {
    if name.is_empty() { "unnamed peer" } else { name }
}

pub mod rates;
#[cfg(test)]
mod tests;

/// Formats a length of time in the product's form: `812 ns`, `64.0 ms`, `2 min 5 s`.
#[must_use]
pub fn duration(duration: DurationNanos) -> String {
    duration.to_string()
}

/// Formats a length of time in a table. Zero is a dash.
#[must_use]
pub fn duration_or_none(length: DurationNanos) -> String {
    if length.0 == 0 { "–".to_owned() } else { duration(length) }
}

/// Formats a length of time without zero parts: `1 h`, `30 min`.
#[must_use]
pub fn length(length: DurationNanos) -> String {
    if length.0 == 60_000_000_000 {
        return "1 min".to_owned();
    }
    let text = duration(length);
    let short = [" 0 min", " 0 s", " 0 h"].iter().find_map(|end| text.strip_suffix(end));
    short.map_or(text.clone(), str::to_owned)
}

/// Returns words for the time range before another of this length: `the hour before`,
/// `the 30 min before`.
#[must_use]
pub fn time_before(of: DurationNanos) -> String {
    format!("the {} before", range_word(of))
}

/// Returns the word for a time range of this length: `hour`, `30 min`.
#[must_use]
pub fn range_word(of: DurationNanos) -> String {
    match of.0 / 1_000_000_000 {
        3_600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        604_800 => "week".to_owned(),
        _ => length(of),
    }
}

/// Formats an offset into a trace, a length of time with its sign: `+270 ms`.
#[must_use]
pub fn offset(nanos: i64) -> String {
    let sign = if nanos < 0 { '−' } else { '+' };
    format!("{sign}{}", duration(DurationNanos(nanos.unsigned_abs())))
}

/// Formats a count with thousands separators: `41,902`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its noun: `1 span`, `2 spans`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), noun_for(number, noun))
}

/// Returns the number of endpoints that send no spans, as readers call them: `7 stores and outside
/// systems`.
#[must_use]
pub fn outside_systems(number: u64) -> String {
    let nouns = if number == 1 { "store or outside system" } else { "stores and outside systems" };
    format!("{} {nouns}", count(number))
}

/// Returns a noun for a number that is drawn apart from it: `span`, `entries`.
#[must_use]
pub fn noun_for(number: u64, noun: &str) -> String {
    if number == 1 { noun.to_owned() } else { plural(noun) }
}

/// Returns the plural of a noun, which may have words before it: `more lines`, `queries`,
/// `matches`.
#[must_use]
pub fn plural(noun: &str) -> String {
    let hisses = ["s", "x", "z", "ch", "sh"].into_iter().any(|ending| noun.ends_with(ending));
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if hisses => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Formats a total: `312 traces`, or `at least 312 traces` for a lower bound.
#[must_use]
pub fn total(total: Total, noun: &str) -> String {
    let counted = counted(total.value, noun);
    match total.relation {
        TotalRelation::Exact => counted,
        TotalRelation::AtLeast => format!("at least {counted}"),
    }
}

/// Returns the completed part of a search, from 0 to 1: of the time between `times`, or of the
/// files where the time range has no start.
#[must_use]
pub fn looked_at(progress: &SearchProgress, times: Option<(UnixNanos, UnixNanos)>) -> f64 {
    let (part, whole) = match (times, progress.since_unix_nano) {
        (None, _) => (progress.files, progress.file_count),
        (Some(_), None) => return 0.0,
        (Some((start, end)), Some(since)) => (end.since(since).0, end.since(start).0),
    };
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

/// Formats the time of day in a zone `zone_minutes` ahead of UTC: `14:03:58.408`.
#[must_use]
pub fn time_of_day(time: UnixNanos, zone_minutes: i32) -> String {
    let local = local_milliseconds(time, zone_minutes);
    let of_day = local.rem_euclid(DAY_MILLISECONDS);
    let (seconds, milliseconds) = (of_day / 1_000, of_day % 1_000);
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Formats the date in a zone `zone_minutes` ahead of UTC: `2026-11-20`.
#[must_use]
pub fn date(time: UnixNanos, zone_minutes: i32) -> String {
    let CivilDate { year, month, day } =
        CivilDate::from_days(local_milliseconds(time, zone_minutes).div_euclid(DAY_MILLISECONDS));
    format!("{year}-{month:02}-{day:02}")
}

/// Formats a moment as the time of day, with the date before it unless it is on the day of `now`.
/// An unknown time is a dash.
#[must_use]
pub fn when(time: UnixNanos, now: UnixNanos, zone_minutes: i32) -> String {
    if time.0 == 0 {
        return "–".to_owned();
    }
    let (day, clock) = (date(time, zone_minutes), time_of_day(time, zone_minutes));
    if day == date(now, zone_minutes) { clock } else { format!("{day} {clock}") }
}

/// Formats the age of a time roughly: `just now`, `3 s ago`, `5 min ago`, `2 h ago`, `4 d ago`.
#[must_use]
pub fn ago(time: UnixNanos, now: UnixNanos) -> String {
    match now.since(time) {
        DurationNanos(0..1_000_000_000) => "just now".to_owned(),
        age => format!("{} ago", rough_length(age)),
    }
}

/// Formats a length of time in its greatest unit: `3 s`, `5 min`, `2 h`, `4 d`.
#[must_use]
pub fn rough_length(length: DurationNanos) -> String {
    let seconds = length.0 / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats the value of a `datetime-local` field: `2026-11-20T14:03:58`.
#[must_use]
pub fn field(time: UnixNanos, zone_minutes: i32) -> String {
    let clock = time_of_day(time, zone_minutes);
    let seconds = clock.split_once('.').map_or(clock.as_str(), |(seconds, _)| seconds);
    format!("{}T{seconds}", date(time, zone_minutes))
}

/// Formats an attribute's value: strings as they are, other values as JSON.
#[must_use]
pub fn value(value: &AnyValue) -> String {
    let Some(typed) = &value.value else { return String::new() };
    typed.scalar_text().map_or_else(|| nested(value), Cow::into_owned)
}

/// Formats containers without recursion, because a client may have nested them deeply.
fn nested(value: &AnyValue) -> String {
    enum FormatStep<'a> {
        Value(&'a AnyValue),
        Text(&'a str),
        Key(&'a str),
    }
    let mut text = String::new();
    let mut steps = vec![FormatStep::Value(value)];
    while let Some(step) = steps.pop() {
        match step {
            FormatStep::Text(part) => text.push_str(part),
            FormatStep::Key(key) => {
                text.push_str(&quoted(key));
                text.push_str(": ");
            }
            FormatStep::Value(value) => match value.form() {
                None => text.push_str("null"),
                Some(ValueForm::Text(part)) => text.push_str(&quoted(part)),
                Some(ValueForm::Bool(truth)) => text.push_str(&truth.to_string()),
                Some(ValueForm::Int(number)) => text.push_str(&number.to_string()),
                Some(ValueForm::Double(number)) => text.push_str(&number.to_string()),
                Some(ValueForm::Bytes(bytes)) => {
                    text.push_str("0x");
                    bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
                }
                Some(ValueForm::List(values)) => {
                    text.push('[');
                    steps.push(FormatStep::Text("]"));
                    for (index, element) in values.iter().enumerate().rev() {
                        steps.push(FormatStep::Value(element));
                        if index > 0 {
                            steps.push(FormatStep::Text(", "));
                        }
                    }
                }
                Some(ValueForm::Map(entries)) => {
                    text.push('{');
                    steps.push(FormatStep::Text("}"));
                    for (index, entry) in entries.iter().enumerate().rev() {
                        steps.push(
                            entry
                                .value
                                .as_ref()
                                .map_or(FormatStep::Text("null"), FormatStep::Value),
                        );
                        steps.push(FormatStep::Key(&entry.key));
                        if index > 0 {
                            steps.push(FormatStep::Text(", "));
                        }
                    }
                }
            },
        }
    }
    text
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const DAY_MILLISECONDS: i64 = 86_400_000;

fn local_milliseconds(time: UnixNanos, zone_minutes: i32) -> i64 {
    let utc = i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX);
    utc.saturating_add(i64::from(zone_minutes) * 60_000)
}
