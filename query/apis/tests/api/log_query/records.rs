//! Log records with messages that are texts, JSON objects and maps, and the values that each has.

use proptest::prelude::*;
use tidings_proto::otlp::{AnyValue, ArrayValue, KeyValue, KeyValueList, LogRecord, Value};

use crate::harness::{record, trace_id};

pub const WORDS: [&str; 14] = [
    "payment",
    "Payment",
    "declined",
    "pay",
    "ments",
    "order",
    "timeout",
    "conn",
    "connection",
    "Ошибка",
    "über",
    "user_id",
    "a",
    "b",
];
const SEPARATORS: [&str; 5] = [" ", " ", "-", ": ", "\n"];
pub const SERVICES: [&str; 3] = ["shop", "shop-2", "payment"];
pub const TIERS: [&str; 8] =
    ["gold", "Gold", "silver one", "gold-2", "Ошибка 7", "a<b>c", "x/y", "a\tboom"];
/// Beginnings of lines, with the severities that they have.
const LINE_BEGINS: [(&str, i32); 6] = [
    ("", 0),
    ("", 0),
    ("2026-12-01 12:00:00 [main] WARN ", 13),
    ("level=error ", 17),
    ("ERROR: ", 17),
    ("no ERROR ", 0),
];
/// Levels in messages, with their severities. One is a number.
const LEVELS: [(&str, i32); 5] =
    [("info", 9), ("WARNING", 13), ("Error", 17), ("50", 17), ("loud", 0)];

/// A record that was sent.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    at: u64,
    pub service: &'static str,
    severity: SentSeverity,
    pub body: String,
    object: Option<ObjectMessage>,
    pub trace: Option<u64>,
    pub event: String,
    attributes: Vec<(&'static str, AttributeValue)>,
}

#[derive(Debug, Clone)]
pub enum AttributeValue {
    None,
    Text(String),
    Int(i32),
    Double(f64),
    Bool(bool),
    Texts(Vec<String>),
}

/// A severity as it is sent, and the number that it has.
#[derive(Debug, Clone, Copy)]
struct SentSeverity {
    number: i32,
    text: &'static str,
    /// Number that the text has.
    of_text: i32,
    /// Level within an object, and its number.
    level: Option<(&'static str, i32)>,
    /// Beginning of another message, and its number.
    line: (&'static str, i32),
}

/// A message that is an object.
#[derive(Debug, Clone)]
struct ObjectMessage {
    style: JsonStyle,
    /// Fields in their order. A dot leads into an object where the flag is set.
    fields: Vec<(&'static str, bool, AttributeValue)>,
}

/// A form of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonStyle {
    /// A map in OTLP's body, which is shown as JSON.
    Map,
    /// Without white space.
    Compact,
    /// With white space after commas and colons, and ASCII only, as Python writes it.
    Ascii,
    /// With signs of HTML and slashes escaped.
    Html,
    /// Like [`Self::Compact`], but cut within its last field.
    Cut,
}

impl AttributeValue {
    fn any_value(&self) -> AnyValue {
        match self {
            Self::None => AnyValue { value: None },
            Self::Text(text) => Value::String(text.clone()).into(),
            Self::Int(int) => Value::Int(i64::from(*int)).into(),
            Self::Double(double) => Value::Double(*double).into(),
            Self::Bool(truth) => Value::Bool(*truth).into(),
            Self::Texts(texts) => {
                let values = texts.iter().map(|text| text.as_str().into()).collect();
                Value::Array(ArrayValue { values }).into()
            }
        }
    }

    pub fn is_exactly(&self, wanted: &str) -> bool {
        match self {
            Self::None => false,
            Self::Text(text) => text == wanted,
            Self::Int(int) => wanted.parse() == Ok(*int),
            Self::Double(double) => wanted.parse() == Ok(*double),
            Self::Bool(truth) => wanted.parse() == Ok(*truth),
            Self::Texts(texts) => texts.iter().any(|text| text == wanted),
        }
    }

    /// Text of a single value.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(int) => int.to_string(),
            Self::Double(double) => double.to_string(),
            Self::Bool(truth) => truth.to_string(),
            Self::None | Self::Texts(_) => String::new(),
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(f64::from(*int)),
            Self::Double(double) => Some(*double),
            Self::Text(text) => text.parse().ok(),
            Self::None | Self::Bool(_) | Self::Texts(_) => None,
        }
    }

    fn json(&self, style: JsonStyle) -> String {
        match self {
            Self::None => "null".to_owned(),
            Self::Text(text) => quoted(text, style),
            Self::Int(int) => int.to_string(),
            Self::Double(double) if style == JsonStyle::Map => double.to_string(),
            Self::Double(double) if double.trunc() < 3.0 => format!("{double:e}"),
            Self::Double(double) => format!("{double:.2}"),
            Self::Bool(truth) => truth.to_string(),
            Self::Texts(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| quoted(text, style)).collect();
                format!("[{}]", texts.join(","))
            }
        }
    }
}

impl ObjectMessage {
    fn text(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(path, is_nested, value)| {
                let value = value.json(self.style);
                let colon = if self.style == JsonStyle::Ascii { ": " } else { ":" };
                match path.split_once('.').filter(|_| *is_nested) {
                    Some((first, rest)) => {
                        format!("\"{first}\"{colon}{{\"{rest}\"{colon}{value}}}")
                    }
                    None => format!("\"{path}\"{colon}{value}"),
                }
            })
            .collect();
        let comma = if self.style == JsonStyle::Ascii { ", " } else { "," };
        let end = if self.style == JsonStyle::Cut { ",\"tier\":\"go" } else { "}" };
        format!("{{{}{end}", fields.join(comma))
    }

    /// Sorts a map as it is shown: by key, and with whole numbers as such.
    fn sort(&mut self) {
        let first = |path: &'static str, is_nested: bool| {
            path.split_once('.').filter(|_| is_nested).map_or(path, |(first, _)| first)
        };
        self.fields.sort_by_key(|(path, is_nested, _)| first(path, *is_nested));
        for (.., value) in &mut self.fields {
            if let AttributeValue::Double(double) = value
                && let Ok(whole) = double.to_string().parse()
            {
                *value = AttributeValue::Int(whole);
            }
        }
    }

    fn map(&self) -> AnyValue {
        let field = |(path, is_nested, value): &(&str, bool, AttributeValue)| match path
            .split_once('.')
            .filter(|_| *is_nested)
        {
            Some((first, rest)) => {
                let values = vec![KeyValue::new(rest, value.any_value())];
                KeyValue::new(first, Value::Kvlist(KeyValueList { values }))
            }
            None => KeyValue::new(*path, value.any_value()),
        };
        Value::Kvlist(KeyValueList { values: self.fields.iter().map(field).collect() }).into()
    }
}

/// Returns a text as JSON.
fn quoted(text: &str, style: JsonStyle) -> String {
    let json = serde_json::to_string(text).unwrap();
    let escaped = |c: char| match style {
        JsonStyle::Ascii if !c.is_ascii() => format!("\\u{:04x}", u32::from(c)),
        JsonStyle::Html if "<>&'".contains(c) => format!("\\u{:04x}", u32::from(c)),
        JsonStyle::Html if c == '/' => "\\/".to_owned(),
        _ => c.to_string(),
    };
    json.chars().map(escaped).collect()
}

impl StoredRecord {
    pub fn sent(&self) -> LogRecord {
        let mut sent = record(self.trace, self.at, self.severity.number, &self.body);
        self.severity.text.clone_into(&mut sent.severity_text);
        if let Some(object) = self.object.as_ref().filter(|of| of.style == JsonStyle::Map) {
            sent.body = Some(object.map());
        }
        sent.event_name.clone_from(&self.event);
        let attribute =
            |(key, value): &(&'static str, AttributeValue)| KeyValue::new(*key, value.any_value());
        sent.attributes = self.attributes.iter().map(attribute).collect();
        sent
    }

    /// Makes the message an object, with the message so far and the level among its fields.
    fn set_object(&mut self, mut object: ObjectMessage) {
        let level = self.severity.level.map(|(level, _)| match level.parse() {
            Ok(number) => AttributeValue::Int(number),
            Err(_) => AttributeValue::Text(level.to_owned()),
        });
        let message = ("msg", false, AttributeValue::Text(std::mem::take(&mut self.body)));
        let order =
            ("order.id", self.at.is_multiple_of(2), AttributeValue::Text(order_id(self.at)));
        object.fields.insert(0, message);
        object.fields.push(order);
        object.fields.extend(level.map(|level| ("level", false, level)));
        if object.style == JsonStyle::Map {
            object.sort();
        }
        self.body = object.text();
        self.object = Some(object);
    }

    pub fn has_fields(&self) -> bool {
        self.object.is_some()
    }

    /// Number of the severity: as sent, or of the text, or of the message.
    pub fn severity_number(&self) -> i32 {
        let SentSeverity { number, of_text, level, line, .. } = self.severity;
        let of_object = self.object.as_ref().map(|_| level.map_or(0, |(_, number)| number));
        let of_message = of_object.unwrap_or(line.1);
        [number, of_text, of_message].into_iter().find(|one| *one > 0).unwrap_or_default()
    }

    /// Values of a field: of the record, its resource and its message, or with a prefix of one of
    /// these only.
    pub fn values(&self, name: &str) -> Vec<AttributeValue> {
        let key = |prefix: &str| name.strip_prefix(prefix);
        let of_one =
            ["attribute.", "resource.", "body."].iter().any(|prefix| key(prefix).is_some());
        let wanted = |prefix| if of_one { key(prefix) } else { Some(name) };
        let mut values = Vec::new();
        if let Some(key) = wanted("attribute.") {
            let own = self.attributes.iter().filter(|(own, _)| *own == key);
            values.extend(own.map(|(_, value)| value.clone()));
        }
        if wanted("resource.") == Some("host.name") {
            values.push(AttributeValue::Text(format!("{}-1", self.service)));
        }
        if let (Some(path), Some(object)) = (wanted("body."), &self.object) {
            let first = object.fields.iter().find(|(of, ..)| *of == path);
            values.extend(first.map(|(.., value)| value.clone()));
        }
        values
    }

    /// Values of a label of Loki.
    pub fn label_values(&self, label: &str) -> Vec<AttributeValue> {
        [self.values(label), self.values(&label.replace('_', "."))].concat()
    }

    pub fn has_trace_id(&self, number: u64) -> bool {
        let id = trace_id(number);
        self.trace == Some(number)
            || self.body.contains(&id)
            || self.attributes.iter().any(|(key, value)| {
                *key == "traceId" && matches!(value, AttributeValue::Text(text) if *text == id)
            })
    }
}

/// A word that only this record's body has.
pub fn needle(at: u64) -> String {
    format!("n{:010x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)
}

/// A value of a field that only this record's message has. JSON has several forms of it.
pub fn order_id(at: u64) -> String {
    format!("{}<é>/tail", needle(at + 1_000_000))
}

/// Generates values of an attribute or of a field.
fn values() -> impl Strategy<Value = AttributeValue> {
    let value = (0..8_u8, 0..30_i32, prop::sample::select(&TIERS[..]));
    value.prop_map(|(kind, number, tier)| match kind {
        0 => AttributeValue::Int(number),
        1 => AttributeValue::Text(number.to_string()),
        2 => AttributeValue::Bool(number % 2 == 0),
        3 => AttributeValue::Double(f64::from(number) / 4.0),
        4 => AttributeValue::None,
        _ => AttributeValue::Text(tier.to_owned()),
    })
}

/// Generates severities. A record without a number has that of its text, or that of its message.
fn severities() -> impl Strategy<Value = SentSeverity> {
    let number = prop_oneof![
        1 => Just(0),
        1 => prop::sample::select(&[5, 9, 13, 17, 18, 21][..]),
    ];
    let text =
        prop::sample::select(&[("", 0), ("", 0), ("Warning", 13), ("x", 0), ("FATAL", 21)][..]);
    let level = prop::option::of(prop::sample::select(&LEVELS[..]));
    let line = prop::sample::select(&LINE_BEGINS[..]);
    (number, text, level, line).prop_map(|(number, (text, of_text), level, line)| SentSeverity {
        number,
        text,
        of_text,
        level,
        line,
    })
}

/// Generates the style and the fields of an object, besides its level and its message.
fn objects() -> impl Strategy<Value = ObjectMessage> {
    use JsonStyle::{Ascii, Compact, Cut, Html, Map};
    let style = prop::sample::select(&[Map, Compact, Ascii, Html, Cut][..]);
    let tags = prop::collection::vec(prop::sample::select(&TIERS[..]), 1..3);
    let ids = prop::collection::vec((prop::bool::ANY, values()), 0..3);
    (style, ids, prop::option::of(tags)).prop_map(|(style, ids, tags)| {
        let mut fields: Vec<_> =
            ids.into_iter().map(|(is_nested, value)| ("user.id", is_nested, value)).collect();
        fields.extend(tags.map(|tags| {
            let tags = tags.into_iter().map(str::to_owned).collect();
            ("tags", false, AttributeValue::Texts(tags))
        }));
        ObjectMessage { style, fields }
    })
}

/// Generates the record of this number; its message ends with its needle.
pub fn records(at: u64) -> impl Strategy<Value = StoredRecord> {
    let words = prop::collection::vec(
        (prop::sample::select(&WORDS[..]), prop::sample::select(&SEPARATORS[..])),
        0..6,
    );
    let tags = prop::collection::vec(prop::sample::select(&TIERS[..]), 1..3);
    let traces =
        (prop::option::of(1..9_u64), prop::option::weighted(0.1, 1..9_u64), prop::bool::ANY);
    (
        words,
        prop::option::of(objects()),
        prop::sample::select(&SERVICES[..]),
        severities(),
        traces,
        prop::bool::ANY,
        prop::option::of(values()),
        prop::option::of(tags),
    )
        .prop_map(move |(words, object, service, severity, traces, has_event, id, tags)| {
            let (trace, mentioned, is_in_message) = traces;
            let mut text: String = words.iter().flat_map(|(word, after)| [*word, *after]).collect();
            if let Some(number) = mentioned.filter(|_| is_in_message) {
                text = format!("{text} trace={}", trace_id(number));
            }
            text = format!("{text} {}", needle(at));
            let tags = tags
                .map(|tags| AttributeValue::Texts(tags.into_iter().map(str::to_owned).collect()));
            let mentioned = mentioned.filter(|_| !is_in_message);
            let mentioned = mentioned.map(|number| AttributeValue::Text(trace_id(number)));
            let attributes = [("user.id", id), ("tags", tags), ("traceId", mentioned)].into_iter();
            let attributes = attributes.filter_map(|(key, value)| Some((key, value?))).collect();
            let event = if has_event { "order.paid".to_owned() } else { String::new() };
            let mut record = StoredRecord {
                at,
                service,
                severity,
                body: text,
                object: None,
                trace,
                event,
                attributes,
            };
            match object {
                Some(object) => record.set_object(object),
                None => record.body.insert_str(0, severity.line.0),
            }
            record
        })
}
