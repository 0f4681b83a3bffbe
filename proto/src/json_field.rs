//! Fields of a text that is a JSON object, as loggers write it, by dotted path.
//!
//! The text is read only up to the field, so a text that was cut has the fields before its cut.
//! An index finds fields by the bytes of the text. So a text that writes ASCII letters, digits or
//! underscores as escapes, as no known logger does, has no fields.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value as Json;

use crate::otlp::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value};

/// Maximum number of fields that [`json_fields`] returns.
const FIELDS_MAX: usize = 200;
/// Depth at which an object is a value of [`json_fields`].
const DEPTH_MAX: usize = 8;

/// Returns the value at a dotted path in a text that is a JSON object.
///
/// A key is the whole path, or its beginning up to a dot when its value is an object with the rest.
/// The first such field counts. Arrays have no fields. A key that the text writes with escapes is
/// not found: an index finds keys by their bytes.
#[must_use]
pub fn json_field(text: &str, path: &str) -> Option<AnyValue> {
    // Searching for the first name is cheaper than reading an object that does not have it.
    let first = path.split('.').next().unwrap_or(path);
    let is_possible = !path.is_empty() && is_object(text) && text.contains(first);
    if !is_possible || escapes_word_chars(text) {
        return None;
    }
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Reading ends with an error where the field is found.
    let _ = FieldSeed { path, found: &mut found }.deserialize(&mut deserializer);
    found
}

/// Returns the fields of a text that is a JSON object, by dotted path, sorted by key: at most 200.
/// An object that is nested deeper than eight is a value. Any other text has none.
#[must_use]
pub fn json_fields(text: &str) -> Vec<(String, AnyValue)> {
    let mut fields = Vec::new();
    if is_object(text)
        && !escapes_word_chars(text)
        && let Ok(object @ Json::Object(_)) = serde_json::from_str(text)
    {
        add_fields(&mut fields, String::new(), object, 0);
    }
    fields
}

/// Reports whether a text can be a JSON object.
fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// Reports whether a text has an escape such as `\u0061` of a letter, a digit or an underscore.
fn escapes_word_chars(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        let hex = escape.strip_prefix("u00").and_then(|digits| digits.get(..2));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return true;
        }
        // The character behind the backslash may be another one.
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

/// Adds the fields of a value, up to [`FIELDS_MAX`]. Recurses at most [`DEPTH_MAX`] deep.
fn add_fields(fields: &mut Vec<(String, AnyValue)>, path: String, json: Json, depth: usize) {
    match json {
        Json::Object(object) if depth < DEPTH_MAX && (depth == 0 || !object.is_empty()) => {
            for (key, value) in object {
                let path = if depth == 0 { key } else { format!("{path}.{key}") };
                add_fields(fields, path, value, depth + 1);
            }
        }
        value if fields.len() < FIELDS_MAX => fields.push((path, any_value(value))),
        _ => {}
    }
}

/// Converts JSON. The recursion is as deep as the value, which `serde_json` bounds at 128.
fn any_value(json: Json) -> AnyValue {
    let value = match json {
        Json::Null => return AnyValue { value: None },
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text),
        Json::Array(values) => {
            Value::Array(ArrayValue { values: values.into_iter().map(any_value).collect() })
        }
        Json::Object(object) => {
            let entry = |(key, value)| KeyValue { key, value: Some(any_value(value)) };
            Value::Kvlist(KeyValueList { values: object.into_iter().map(entry).collect() })
        }
    };
    AnyValue { value: Some(value) }
}

/// Reads a value up to the field at a path.
struct FieldSeed<'a> {
    path: &'a str,
    found: &'a mut Option<AnyValue>,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<FieldKey<'_>>()? {
            match key.rest_of(self.path) {
                Some("") => {
                    *self.found = Some(any_value(map.next_value()?));
                    return Err(A::Error::custom("the field is found"));
                }
                Some(path) => map.next_value_seed(FieldSeed { path, found: self.found })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key. It is owned when the text writes it with escapes.
#[derive(Deserialize)]
struct FieldKey<'a>(#[serde(borrow)] Cow<'a, str>);

impl FieldKey<'_> {
    /// Returns the part of a path that follows the key and its dot: nothing when the key is the
    /// whole path, `None` when it is another key.
    fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Cow::Borrowed(key) = self.0 else { return None };
        let rest = path.strip_prefix(key)?;
        match rest.strip_prefix('.') {
            _ if rest.is_empty() => Some(rest),
            Some(rest) if !rest.is_empty() => Some(rest),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_oneof};
    use serde_json::{Value as Json, json};

    use super::{any_value, json_field, json_fields};

    #[test]
    fn fields_are_found_by_dotted_path() {
        let text = r#" {"msg":"a \"b\"","took":12.5,"n":-7,"big":18446744073709551615,"ok":true,
            "user":{"id":"u1","tags":["x"],"a":{"b":1}},"user.name":"Ann","a.b":{"c":2},"none":null,
            "empty":{},"cafés":1,"caf\u00e9":1,"a\\u0062":"\u003c\\u0061","msg":"second"}"#;
        for (path, expected) in [
            ("msg", Some(json!("a \"b\""))),
            ("took", Some(json!(12.5))),
            ("n", Some(json!(-7))),
            ("big", Some(json!(1.844_674_407_370_955_2e19))),
            ("ok", Some(json!(true))),
            ("user.id", Some(json!("u1"))),
            ("user.a.b", Some(json!(1))),
            ("user.name", Some(json!("Ann"))),
            ("a.b.c", Some(json!(2))),
            ("user.tags", Some(json!(["x"]))),
            ("user.a", Some(json!({ "b": 1 }))),
            ("none", Some(json!(null))),
            ("empty", Some(json!({}))),
            ("cafés", Some(json!(1))),
            ("user.tags.0", None),
            ("user.id.x", None),
            ("user.", None),
            ("user", Some(json!({ "id": "u1", "tags": ["x"], "a": { "b": 1 } }))),
            ("café", None),
            ("a\\u0062", None),
            ("us", None),
            ("", None),
        ] {
            assert_eq!(json_field(text, path), expected.map(any_value), "{path}");
        }
    }

    #[test]
    fn other_texts_have_no_fields_and_cut_ones_those_before_the_cut() {
        let escaped = r#"{"a":1,"b":"\u0061"}"#;
        let others =
            ["a {\"a\":1}", "{", "{\"a\"", "{a:1}", "{\"a\":\"\\", "{\"a\":\"\\é", escaped];
        for text in ["", "a", "[{\"a\":1}]", "\"a\""].into_iter().chain(others) {
            assert_eq!(json_field(text, "a"), None, "{text}");
            assert_eq!(json_fields(text), [], "{text}");
        }
        let cut = r#"{"a":1,"b":{"c":2,"d":"long"#;
        assert_eq!(json_field(cut, "b.c"), Some(any_value(json!(2))));
        assert_eq!(json_field(cut, "b.d"), None);
        assert_eq!(json_fields(cut), []);
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(json_field(&deep, "a.b"), None);
        assert_eq!(json_field(&deep, &"a.".repeat(10_000)), None);
        assert_eq!(json_fields(&deep), []);
    }

    #[test]
    fn lists_of_fields_are_bounded() {
        let text = r#"{"b":{"d":[1,2],"c":null,"e":{}},"a":"x"}"#;
        let fields = json_fields(text);
        let paths: Vec<&str> = fields.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a", "b.c", "b.d", "b.e"]);
        for (path, value) in &fields {
            assert_eq!(json_field(text, path).as_ref(), Some(value), "{path}");
        }
        let many: Vec<String> = (0..1_000).map(|at| format!("\"{at}\":{at}")).collect();
        assert_eq!(json_fields(&format!("{{{}}}", many.join(","))).len(), 200);
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert_eq!(json_fields(&deep)[0].0, ["a"; 8].join("."));
    }

    fn json_values() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "[a-c\"\\\\é\n]{0,4}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::btree_map("[a-c]{1,2}", inner, 0..5)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn each_listed_field_is_found(json in json_values(), pretty in any::<bool>()) {
            let text = if pretty { format!("{json:#}") } else { json.to_string() };
            let fields = json_fields(&text);
            proptest::prop_assert!(json.is_object() || fields.is_empty());
            for (path, value) in fields {
                proptest::prop_assert_eq!(json_field(&text, &path), Some(value), "{}", path);
            }
        }

        #[test]
        fn any_text_is_read(text in "[{}\\[\\]\":,a.1e\\\\ -]{0,60}", path in "[a.]{0,4}") {
            let _ = (json_field(&text, &path), json_fields(&text));
        }
    }
}
