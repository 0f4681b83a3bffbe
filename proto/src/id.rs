//! Trace and span ids: fixed-size bytes inside, lower-case hex outside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::IdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length of the id in bytes.
            pub const LEN: usize = $bytes;

            /// Returns the id with these bytes; `None` when all are zero, which means "no id".
            #[must_use]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Returns the id in a wire field; `None` when the length is wrong or all bytes are
            /// zero.
            #[must_use]
            pub fn from_wire(bytes: &[u8]) -> Option<Self> {
                Self::from_bytes(bytes.try_into().ok()?)
            }

            /// Returns the id in a text of up to the right number of hex digits, in either case:
            /// some systems drop leading zeros, and some have shorter ids.
            ///
            /// # Errors
            ///
            /// [`IdError`] when the text is empty, too long, not hex or zero.
            pub fn from_short_hex(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > $bytes * 2 {
                    return Err(IdError::Length { expected: $bytes * 2, got: text.len() });
                }
                format!("{text:0>width$}", width = $bytes * 2).parse()
            }

            /// Returns the bytes, most significant first.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Exactly the right number of hex digits, in either case.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $bytes];
                decode_hex(text, &mut bytes)?;
                Self::from_bytes(bytes).ok_or(IdError::Zero)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

id!(
    /// Names one trace: 16 bytes, never all zero. An id of 8 bytes (Zipkin, Datadog) is padded on
    /// the left with zeros.
    TraceId,
    16
);
id!(
    /// Names one span within its trace: 8 bytes, never all zero.
    SpanId,
    8
);

impl TraceId {
    /// Returns the last 8 bytes, by which systems with 64-bit ids know this trace.
    #[must_use]
    pub fn low64(&self) -> u64 {
        let [_, _, _, _, _, _, _, _, low @ ..] = self.0;
        u64::from_be_bytes(low)
    }
}

/// Returns the bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decode_hex(text: &str, bytes: &mut [u8]) -> Result<(), IdError> {
    let digits = text.as_bytes();
    if digits.len() != bytes.len() * 2 {
        return Err(IdError::Length { expected: bytes.len() * 2, got: digits.len() });
    }
    for (index, (byte, pair)) in bytes.iter_mut().zip(digits.chunks_exact(2)).enumerate() {
        let digit = |offset: usize| {
            char::from(pair[offset])
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
                .ok_or(IdError::Digit { position: index * 2 + offset })
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{IdError, SpanId, TraceId, hex};

    #[test]
    fn hex_of_either_case_is_read_and_lower_case_is_written() {
        let id: TraceId = "5B8EFFF798038103D269B633813FC60C".parse().unwrap();
        assert_eq!(id.to_string(), "5b8efff798038103d269b633813fc60c");
        assert_eq!(id.low64(), 0xd269_b633_813f_c60c);
    }

    #[test]
    fn bytes_are_written_as_two_lower_case_digits_each() {
        assert_eq!(hex(&[0, 1, 0xab, 0xff]), "0001abff");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn wrong_texts_are_named() {
        assert_eq!("0".repeat(16).parse::<SpanId>(), Err(IdError::Zero));
        assert_eq!("abc".parse::<SpanId>(), Err(IdError::Length { expected: 16, got: 3 }));
        assert_eq!("eee19b7ec3c1b17g".parse::<SpanId>(), Err(IdError::Digit { position: 15 }));
    }
}
