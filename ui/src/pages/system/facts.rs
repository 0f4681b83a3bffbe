//! Any part of the server's state as rows: names become words, units follow from their endings.
//!
//! Newer servers say more than this page knows by name; whatever they say is drawn.

use serde_json::{Map, Value};
use tidings_proto::{DurationNanos, UnixNanos};

use crate::{browser, format, format::rates};

/// Rows of a part that are drawn.
const ROWS_MAX: usize = 200;
/// Levels of objects within each other.
const DEPTH_MAX: usize = 6;

/// A fact: its words and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) is_number: bool,
}

/// A part of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Names and values.
    Facts(Vec<Fact>),
    /// Rows of the same columns.
    Table { columns: Vec<String>, rows: Vec<Vec<Fact>> },
}

/// `walSegmentBytes` as `wal segment`; the unit stands beside the value.
pub(super) fn words(name: &str) -> String {
    let stem = UNITS
        .iter()
        .find_map(|(ending, _)| name.strip_suffix(ending).filter(|stem| !stem.is_empty()));
    let mut words = String::new();
    for c in stem.unwrap_or(name).chars() {
        if c.is_uppercase() {
            words.push(' ');
            words.extend(c.to_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Moment,
    Duration,
    Bytes,
    Share,
    PerSecond,
    Seconds,
    Count,
}

/// Endings of names, the longer ones first.
const UNITS: [(&str, Unit); 8] = [
    ("UnixNano", Unit::Moment),
    ("Nano", Unit::Duration),
    ("Nanos", Unit::Duration),
    ("Bytes", Unit::Bytes),
    ("Share", Unit::Share),
    ("PerSecond", Unit::PerSecond),
    ("Seconds", Unit::Seconds),
    ("Count", Unit::Count),
];

fn unit_of(name: &str) -> Unit {
    let lower_first = name.to_lowercase();
    let fits = |(ending, _): &&(&str, Unit)| {
        name.ends_with(ending) || lower_first == ending.to_lowercase()
    };
    UNITS.iter().find(fits).map_or(Unit::Count, |(_, unit)| *unit)
}

/// A value in the unit of its name.
fn value_text(name: &str, value: &Value, now: UnixNanos) -> (String, bool) {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    let float = value.as_f64();
    match (unit_of(name), number, float) {
        (Unit::Moment, Some(0), _) => ("never".to_owned(), false),
        (Unit::Moment, Some(nanos), _) => {
            let time = UnixNanos(nanos);
            let at = format::when(time, now, browser_zone(time));
            let at = at.split_once('.').map_or(at.clone(), |(seconds, _)| seconds.to_owned());
            (format!("{at}, {}", format::ago(time, now)), true)
        }
        (Unit::Duration, Some(nanos), _) => (format::duration(DurationNanos(nanos)), true),
        (Unit::Bytes, Some(bytes), _) => (rates::bytes(bytes), true),
        (Unit::Seconds, Some(seconds), _) => {
            (format::duration(DurationNanos(seconds.saturating_mul(1_000_000_000))), true)
        }
        (Unit::Share, _, Some(share)) => (rates::percent(share), true),
        (Unit::PerSecond, _, Some(rate)) => (format!("{} /s", rates::three_digits(rate)), true),
        _ => match value {
            Value::Null => ("–".to_owned(), false),
            Value::Bool(truth) => (if *truth { "yes" } else { "no" }.to_owned(), false),
            Value::Number(_) => match (value.as_u64(), float) {
                (Some(count), _) => (format::count(count), true),
                (None, Some(float)) => (rates::three_digits(float), true),
                (None, None) => (value.to_string(), true),
            },
            Value::String(text) if text.is_empty() => ("–".to_owned(), false),
            Value::String(text) => (text.chars().take(500).collect(), false),
            Value::Array(all) if all.iter().all(|one| !one.is_object()) => {
                let texts: Vec<String> =
                    all.iter().take(20).map(|one| value_text("", one, now).0).collect();
                (texts.join(", "), false)
            }
            other => (other.to_string().chars().take(500).collect(), false),
        },
    }
}

#[cfg(target_arch = "wasm32")]
fn browser_zone(time: UnixNanos) -> i32 {
    browser::zone_minutes(time)
}

/// Tests run without a browser.
#[cfg(not(target_arch = "wasm32"))]
fn browser_zone(_time: UnixNanos) -> i32 {
    let _only_in_browsers = browser::zone_minutes;
    0
}

/// A value of the state as a part.
pub(super) fn part(name: &str, value: &Value, now: UnixNanos) -> Part {
    let objects: Option<Vec<&Map<String, Value>>> = value
        .as_array()
        .filter(|all| !all.is_empty())
        .and_then(|all| all.iter().map(Value::as_object).collect());
    if let Some(objects) = objects {
        return table(&objects, now);
    }
    let mut facts = Vec::new();
    let mut left = vec![(name.to_owned(), String::new(), value, 0)];
    while let Some((key, path, value, depth)) = left.pop() {
        match value.as_object().filter(|_| depth < DEPTH_MAX) {
            Some(fields) => left.extend(fields.iter().rev().map(|(key, value)| {
                let path =
                    if path.is_empty() { words(key) } else { format!("{path}, {}", words(key)) };
                (key.clone(), path, value, depth + 1)
            })),
            None => {
                let (value, is_number) = value_text(&key, value, now);
                let name = if path.is_empty() { words(&key) } else { path };
                facts.push(Fact { name, value, is_number });
            }
        }
        if facts.len() >= ROWS_MAX {
            break;
        }
    }
    Part::Facts(facts)
}

fn table(objects: &[&Map<String, Value>], now: UnixNanos) -> Part {
    let mut keys: Vec<&String> = Vec::new();
    for key in objects.iter().take(ROWS_MAX).flat_map(|object| object.keys()) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let row = |object: &&Map<String, Value>| {
        let fact = |key: &&String| {
            let (value, is_number) = value_text(key, object.get(*key).unwrap_or(&Value::Null), now);
            Fact { name: words(key), value, is_number }
        };
        keys.iter().map(fact).collect()
    };
    Part::Table {
        columns: keys.iter().map(|key| words(key)).collect(),
        rows: objects.iter().take(ROWS_MAX).map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_proto::UnixNanos;

    use super::{Fact, Part, part, words};

    const NOW: UnixNanos = UnixNanos(1_795_161_700_000_000_000);

    fn facts(value: serde_json::Value) -> Vec<(String, String)> {
        match part("storage", &value, NOW) {
            Part::Facts(facts) => {
                facts.into_iter().map(|Fact { name, value, .. }| (name, value)).collect()
            }
            Part::Table { .. } => panic!("a table"),
        }
    }

    #[test]
    fn names_become_words_without_their_unit() {
        let written =
            ["walSegmentBytes", "startedUnixNano", "fileCount", "version", "bytes", "errorShare"];
        assert_eq!(
            written.map(words),
            ["wal segment", "started", "file", "version", "bytes", "error"]
        );
    }

    #[test]
    fn values_are_written_in_the_unit_of_their_name() {
        let seen = facts(json!({
            "wal": { "bytes": 65_536, "syncNano": "2100000", "segments": 3 },
            "oldestUnixNano": "1795161600000000000",
            "usedShare": 0.68, "full": false, "note": "", "mergesPerSecond": 0.25, "odd": null,
            "names": ["a", "b"],
        }));
        let expected = [
            ("full", "no"),
            ("merges", "0.25 /s"),
            ("names", "a, b"),
            ("note", "–"),
            ("odd", "–"),
            ("oldest", "08:00:00, 1 min ago"),
            ("used", "68.0 %"),
            ("wal, bytes", "64.0 KiB"),
            ("wal, segments", "3"),
            ("wal, sync", "2.10 ms"),
        ];
        let mut seen: Vec<_> =
            seen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        seen.sort_unstable();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_list_of_objects_is_a_table_of_all_their_columns() {
        let tasks =
            json!([{ "name": "flush", "restarts": 0 }, { "name": "merge", "lastPanic": "no" }]);
        let Part::Table { columns, rows } = part("tasks", &tasks, NOW) else { panic!("no table") };
        assert_eq!(columns, ["name", "restarts", "last panic"]);
        assert_eq!((rows[0][1].value.as_str(), rows[1][1].value.as_str()), ("0", "–"));
    }

    #[test]
    fn what_a_server_may_say_never_grows_without_bound() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!({ "a": deep });
        }
        assert_eq!(facts(deep).len(), 1);
        let wide: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("k{n}"), json!(n))).collect();
        assert_eq!(facts(wide.into()).len(), super::ROWS_MAX);
    }
}
