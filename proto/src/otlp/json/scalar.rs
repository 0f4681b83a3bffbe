//! Single values: integers, floats, texts, bytes.

use std::fmt;

use ::base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserializer, de, de::Visitor};

/// Maximum characters of a wrong text that an error quotes.
const SHOWN_CHARS_MAX: usize = 40;

const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads text; `null` is empty.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_unit<E>(self) -> Result<String, E> {
            Ok(String::new())
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_string<E>(self, text: String) -> Result<String, E> {
            Ok(text)
        }
    }

    deserializer.deserialize_any(Text)
}

/// Reads a list of texts; `null` is empty.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let values: Option<Vec<String>> = de::Deserialize::deserialize(deserializer)?;
    Ok(values.unwrap_or_default())
}

/// Reads a truth value.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value: Option<bool> = de::Deserialize::deserialize(deserializer)?;
    Ok(value.unwrap_or_default())
}

/// Reads an integer in any of the forms that it may have in JSON.
struct Integer;

impl Visitor<'_> for Integer {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, as a number or a string")
    }

    fn visit_unit<E>(self) -> Result<i128, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, value: u64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i128, E> {
        whole(value).ok_or_else(|| E::custom(format!("{value} is not an integer in range")))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i128, E> {
        text.parse::<i128>()
            .ok()
            .or_else(|| whole(decimal(text)?))
            .ok_or_else(|| E::custom(format!("{:?} is not an integer", excerpt(text))))
    }
}

/// Returns the integer that a float stands for, if it has no fraction and fits 64 bits.
fn whole(value: f64) -> Option<i128> {
    // A literal beyond 64 bits arrives rounded to the power of two, so that power is out of range.
    let fits = value.fract() == 0.0 && value > -TWO_POW_63 && value < 2.0 * TWO_POW_63;
    // Formatting a whole float writes all its digits, so no cast can truncate it.
    fits.then(|| format!("{value:.0}").parse().ok())?
}

/// Reads a finite number in JSON's syntax from a string.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    // `f64`'s parser also accepts "inf", "nan" and similar words.
    digits.as_bytes().first().is_some_and(u8::is_ascii_digit).then_some(())?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

fn integer<'de, D, T>(deserializer: D, name: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    let value = deserializer.deserialize_any(Integer)?;
    T::try_from(value).map_err(|_| de::Error::custom(format!("{value} does not fit {name}")))
}

/// Reads any integer of up to 64 bits, with or without a sign.
pub(crate) fn any_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    deserializer.deserialize_any(Integer)
}

pub(crate) fn uint32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    integer(deserializer, "an unsigned 32-bit integer")
}

pub(crate) fn int32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    integer(deserializer, "a signed 32-bit integer")
}

/// Reads an enum's number. A name is refused: OTLP/JSON has only numbers.
pub(crate) fn enumeration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = i128;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an enum's number")
        }

        fn visit_unit<E>(self) -> Result<i128, E> {
            Ok(0)
        }

        fn visit_u64<E>(self, value: u64) -> Result<i128, E> {
            Ok(value.into())
        }

        fn visit_i64<E>(self, value: i64) -> Result<i128, E> {
            Ok(value.into())
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<i128, E> {
            Integer.visit_f64(value)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<i128, E> {
            let text = excerpt(text);
            Err(E::custom(format!("enums are numbers in OTLP/JSON, never text: got {text:?}")))
        }
    }

    let value = deserializer.deserialize_any(Number)?;
    i32::try_from(value)
        .map_err(|_| de::Error::custom(format!("{value} does not fit a signed 32-bit integer")))
}

/// 64 bits without a sign, written as a string.
pub(crate) mod u64_text {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::integer(deserializer, "an unsigned 64-bit integer")
    }
}

/// 64 bits with a sign, written as a string.
pub(crate) mod i64_text {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        super::integer(deserializer, "a signed 64-bit integer")
    }
}

/// A float. JSON has no infinity and no NaN, so these are strings.
pub(crate) mod double {
    use std::fmt;

    use serde::{Deserializer, Serializer, de, de::Visitor};

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match *value {
            finite if finite.is_finite() => serializer.serialize_f64(finite),
            nan if nan.is_nan() => serializer.serialize_str("NaN"),
            positive if positive > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        struct Double;

        impl Visitor<'_> for Double {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or one as a string, or \"NaN\", \"Infinity\", \"-Infinity\"")
            }

            fn visit_unit<E>(self) -> Result<f64, E> {
                Ok(0.0)
            }

            fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }

            #[expect(clippy::cast_precision_loss, reason = "the field is a double: so it is meant")]
            fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }

            #[expect(clippy::cast_precision_loss, reason = "the field is a double: so it is meant")]
            fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
                match text {
                    "NaN" => Ok(f64::NAN),
                    "Infinity" => Ok(f64::INFINITY),
                    "-Infinity" => Ok(f64::NEG_INFINITY),
                    _ => super::decimal(text).ok_or_else(|| {
                        E::custom(format!("{:?} is not a number", super::excerpt(text)))
                    }),
                }
            }
        }

        deserializer.deserialize_any(Double)
    }
}

/// Bytes as hex: trace and span ids. A text that is not hex becomes [`NOT_HEX`], so that only its
/// span is refused and not the whole request.
///
/// [`NOT_HEX`]: super::NOT_HEX
pub(crate) mod hex {
    use std::fmt;

    use serde::{Deserializer, Serializer, de, de::Visitor};

    use super::super::NOT_HEX;

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
        let text: String =
            bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Hex;

        impl Visitor<'_> for Hex {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of hex digits")
            }

            fn visit_unit<E>(self) -> Result<Vec<u8>, E> {
                Ok(Vec::new())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                Ok(decode(text.as_bytes()).unwrap_or_else(|_| NOT_HEX.to_vec()))
            }
        }

        deserializer.deserialize_any(Hex)
    }

    pub(crate) fn decode(digits: &[u8]) -> Result<Vec<u8>, String> {
        if !digits.len().is_multiple_of(2) {
            return Err(format!("{} digits are an odd number", digits.len()));
        }
        let value = |position: usize| match digits[position] {
            digit @ b'0'..=b'9' => Ok(digit - b'0'),
            digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
            digit @ b'A'..=b'F' => Ok(digit - b'A' + 10),
            _ => Err(format!("character {position} is not a hex digit")),
        };
        (0..digits.len()).step_by(2).map(|at| Ok(value(at)? << 4 | value(at + 1)?)).collect()
    }
}

/// Bytes as base64: everything that is not an id.
pub(crate) mod base64 {
    use std::fmt;

    use serde::{Deserializer, Serializer, de, de::Visitor};

    use super::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig, alphabet};

    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of base64")
            }

            fn visit_unit<E>(self) -> Result<Vec<u8>, E> {
                Ok(Vec::new())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                decode(text).map_err(|reason| E::custom(format!("not base64: {reason}")))
            }
        }

        deserializer.deserialize_any(Base64)
    }

    pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
        let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
        engine.decode(text).map_err(|error| error.to_string())
    }

    pub(crate) fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }
}

/// Returns the beginning of a client's text.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
