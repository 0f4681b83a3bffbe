//! Fields of a text that is a JSON object, as loggers write it, by dotted path.
//!
//! The text is read only up to the field, so a text that was cut has the fields before its cut.
//! An index finds fields by the bytes of the text. So a text that writes ASCII letters, digits or
//! certain signs as escapes, as no known logger does, has no fields: see [`is_plain_in_json`].

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::otlp::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value};

/// Maximum number of fields that [`json_fields`] returns.
const FIELDS_MAX: usize = 200;
/// Depth at which an object is a value of [`json_fields`].
const DEPTH_MAX: usize = 8;
/// Maximum number of values within a field. A larger one is not found, because it would take more
/// memory than the text.
const VALUES_MAX: usize = 20_000;

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
    if !is_possible || escapes_plain_chars(text) {
        return None;
    }
    let (mut found, mut left) = (None, VALUES_MAX);
    let mut deserializer = serde_json::Deserializer::from_str(without_cut_number(text));
    // Reading ends with an error where the field is found.
    let seed = FieldSeed { path, found: &mut found, left: &mut left };
    let _ = seed.deserialize(&mut deserializer);
    found
}

/// Returns the fields of a text that is a JSON object, by dotted path, sorted by key: the first 200
/// that [`json_field`] finds. An object that is nested deeper than eight is a value. Any other text
/// has none.
#[must_use]
pub fn json_fields(text: &str) -> Vec<(String, AnyValue)> {
    let mut fields = BTreeMap::new();
    if is_object(text) && !escapes_plain_chars(text) {
        let (mut object, mut left) = (None, usize::MAX);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = FieldSeed { path: "", found: &mut object, left: &mut left };
        if seed.deserialize(&mut deserializer).is_ok()
            && deserializer.end().is_ok()
            && let Some(object) = object
        {
            add_fields(&mut fields, text, String::new(), object, 0);
        }
    }
    fields.into_iter().collect()
}

/// Returns a text that was cut without the number at its end, which may have had more digits.
fn without_cut_number(text: &str) -> &str {
    match text.trim_end().ends_with('}') {
        true => text,
        false => text.trim_end_matches(|c: char| c.is_ascii_digit() || "+-.eE".contains(c)),
    }
}

/// Reports whether a text can be a JSON object.
#[must_use]
pub fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

/// Reports whether a text with fields has this character as it is, and not as an escape.
#[must_use]
pub fn is_plain_in_json(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.: ".contains(c)
}

/// Reports whether a text has an escape such as `\u0061` of a plain character.
fn escapes_plain_chars(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        let hex = escape.strip_prefix("u00").and_then(|digits| digits.get(..2));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if byte.is_some_and(|byte| is_plain_in_json(char::from(byte))) {
            return true;
        }
        // The character behind the backslash may be another one.
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

/// Adds the fields of a value, up to [`FIELDS_MAX`]. The first of a path counts. Recurses at most
/// [`DEPTH_MAX`] deep.
fn add_fields(
    fields: &mut BTreeMap<String, AnyValue>,
    text: &str,
    path: String,
    value: AnyValue,
    depth: usize,
) {
    match value.value {
        Some(Value::Kvlist(object))
            if depth < DEPTH_MAX && (depth == 0 || !object.values.is_empty()) =>
        {
            for KeyValue { key, value } in object.values {
                // A key that the text writes with escapes is not found.
                if text.contains(&key) {
                    let path = if depth == 0 { key } else { format!("{path}.{key}") };
                    add_fields(fields, text, path, value.unwrap_or_default(), depth + 1);
                }
            }
        }
        value if fields.len() < FIELDS_MAX => {
            fields.entry(path).or_insert(AnyValue { value });
        }
        _ => {}
    }
}

/// Reads the field at a path, or with an empty path the value itself. The recursion is as deep as the
/// text, which `serde_json` bounds at 128.
struct FieldSeed<'a> {
    path: &'a str,
    found: &'a mut Option<AnyValue>,
    /// Number of values that may still be kept.
    left: &'a mut usize,
}

impl FieldSeed<'_> {
    fn set(self, value: impl Into<AnyValue>) {
        if self.path.is_empty() {
            *self.found = Some(value.into());
        }
    }
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            let left = self.left.checked_sub(1);
            *self.left = left.ok_or_else(|| D::Error::custom("the field has too many values"))?;
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.path.is_empty() {
            let mut values = Vec::new();
            while let Some(key) = map.next_key()? {
                let mut value = None;
                map.next_value_seed(FieldSeed { path: "", found: &mut value, left: self.left })?;
                values.push(KeyValue { key, value });
            }
            self.set(Value::Kvlist(KeyValueList { values }));
            return Ok(());
        }
        while let Some(key) = map.next_key::<FieldKey<'_>>()? {
            let Some(path) = key.rest_of(self.path) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            map.next_value_seed(FieldSeed { path, found: self.found, left: self.left })?;
            if self.found.is_some() {
                return Err(A::Error::custom("the field is found"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.path.is_empty() {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut values = Vec::new();
        loop {
            let mut value = None;
            let seed = FieldSeed { path: "", found: &mut value, left: self.left };
            if list.next_element_seed(seed)?.is_none() {
                break;
            }
            values.extend(value);
        }
        self.set(Value::Array(ArrayValue { values }));
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.set(Value::Bool(truth));
        Ok(())
    }

    fn visit_i64<E: Error>(self, int: i64) -> Result<(), E> {
        self.set(Value::Int(int));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "OTLP has no larger integers")]
    fn visit_u64<E: Error>(self, int: u64) -> Result<(), E> {
        self.set(i64::try_from(int).map_or(Value::Double(int as f64), Value::Int));
        Ok(())
    }

    fn visit_f64<E: Error>(self, double: f64) -> Result<(), E> {
        self.set(Value::Double(double));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.path.is_empty() {
            self.set(Value::String(text.to_owned()));
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.set(AnyValue::default());
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
    use serde::de::DeserializeSeed;
    use serde_json::{Value as Json, json};

    use super::{FieldSeed, VALUES_MAX, json_field, json_fields};
    use crate::otlp::AnyValue;

    fn any_value(json: Json) -> AnyValue {
        let mut value = None;
        FieldSeed { path: "", found: &mut value, left: &mut 1_000 }.deserialize(json).unwrap();
        value.unwrap()
    }

    #[test]
    fn fields_are_found_by_dotted_path() {
        let text = r#" {"msg":"a \"b\"","took":12.5,"n":-7,"big":18446744073709551615,"ok":true,
            "user":{"a":{"b":1},"id":"u1","tags":["x"]},"user.name":"Ann","a.b":{"c":2},"none":null,
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
        assert_eq!(json_field(r#"{"a":1,"took":12"#, "took"), None, "1250 may have been sent");
        assert_eq!(json_field("{\"took\":12} \n", "took"), Some(any_value(json!(12))));
        let list = |count: usize| format!(r#"{{"a":[{}1],"b":2}}"#, "1,".repeat(count));
        assert!(json_field(&list(VALUES_MAX - 2), "a").is_some());
        assert_eq!(json_field(&list(VALUES_MAX), "a"), None);
        assert_eq!(json_field(&list(VALUES_MAX), "b"), Some(any_value(json!(2))));
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
        let repeated = r#"{"a":{"b":1},"a.b":2,"a":{"b":3},"c\/d":4,"e":5,"e":6}"#;
        let fields = json_fields(repeated);
        assert_eq!(
            fields,
            [("a.b", 1), ("e", 5)].map(|(path, int)| (path.to_owned(), any_value(json!(int))))
        );
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
