//! `google.rpc`'s details: `Any` with `@type`, and `Duration` as a text.

use prost::{Message, Name};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::SerializeMap,
};
use serde_json::{Map, Value};

use super::scalar::base64;
use crate::otlp::{Any, BadRequest, ProtoDuration, RetryInfo};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

#[derive(Serialize)]
struct TypedMessage<'a, T> {
    #[serde(rename = "@type")]
    type_url: &'a str,
    #[serde(flatten)]
    message: T,
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let type_url = self.type_url.as_str();
        if let Some(message) = self.unpack::<RetryInfo>() {
            return TypedMessage { type_url, message }.serialize(serializer);
        }
        if let Some(message) = self.unpack::<BadRequest>() {
            return TypedMessage { type_url, message }.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("@type", type_url)?;
        map.serialize_entry("value", &base64::encode(&self.value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let Some(Value::String(type_url)) = fields.remove("@type") else {
            return Err(D::Error::custom("a detail needs a text as @type"));
        };
        let name = type_url.rsplit('/').next().unwrap_or_default();
        let value = if name == RetryInfo::full_name() {
            encoded::<RetryInfo, D::Error>(fields)?
        } else if name == BadRequest::full_name() {
            encoded::<BadRequest, D::Error>(fields)?
        } else {
            match fields.remove("value") {
                Some(Value::String(text)) => base64::decode(&text).map_err(D::Error::custom)?,
                _ => Vec::new(),
            }
        };
        Ok(Self { type_url, value })
    }
}

fn encoded<M, E>(fields: Map<String, Value>) -> Result<Vec<u8>, E>
where
    M: Message + DeserializeOwned,
    E: serde::de::Error,
{
    let message: M = serde_json::from_value(Value::Object(fields)).map_err(E::custom)?;
    Ok(message.encode_to_vec())
}

impl Serialize for ProtoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let total = i128::from(self.seconds) * NANOS_PER_SECOND + i128::from(self.nanos);
        let (seconds, nanos) = (total.abs() / NANOS_PER_SECOND, total.abs() % NANOS_PER_SECOND);
        let sign = if total < 0 { "-" } else { "" };
        let fraction = format!("{nanos:09}");
        match fraction.trim_end_matches('0') {
            "" => serializer.collect_str(&format_args!("{sign}{seconds}s")),
            digits => serializer.collect_str(&format_args!("{sign}{seconds}.{digits}s")),
        }
    }
}

impl<'de> Deserialize<'de> for ProtoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse_duration(&text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a duration as 1.5s")))
    }
}

fn parse_duration(text: &str) -> Option<ProtoDuration> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some(match negative {
        true => ProtoDuration { seconds: -seconds, nanos: -nanos },
        false => ProtoDuration { seconds, nanos },
    })
}
