//! Values of a query's placeholders, as they go to a worker, which puts them into the query.

use serde::{Deserialize, Serialize};

use crate::{SqlError, limits::QUERY_BYTES_MAX};

/// The value of a placeholder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Parameter {
    /// No value.
    Null,
    /// True or false.
    Truth(bool),
    /// A whole number.
    Whole(i64),
    /// Any number.
    Number(#[serde(with = "bits")] f64),
    /// A text.
    Text(String),
    /// A moment in UTC, in nanoseconds since 1970.
    Time(i64),
}

/// Refuses values that are too long together.
///
/// # Errors
/// `TooComplex` beyond [`QUERY_BYTES_MAX`].
pub fn check_length(values: &[Parameter]) -> Result<(), SqlError> {
    let (got, max) = (values.iter().map(Parameter::bytes).sum::<usize>(), QUERY_BYTES_MAX);
    match got <= max {
        true => Ok(()),
        false => {
            Err(SqlError::TooComplex { what: "bytes of values".into(), got, max, place: None })
        }
    }
}

impl Parameter {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => size_of::<Self>(),
        }
    }
}

/// Encodes numbers by their bits, because JSON has no NaN or infinity.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(number.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::Parameter;

    #[test]
    fn numbers_that_json_lacks_arrive_at_a_worker() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            let sent = serde_json::to_vec(&Parameter::Number(number)).unwrap();
            let received: Parameter = serde_json::from_slice(&sent).unwrap();
            assert!(matches!(received, Parameter::Number(n) if n.to_bits() == number.to_bits()));
        }
    }
}
