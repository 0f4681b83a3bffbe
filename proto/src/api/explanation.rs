//! Attribute values that distinguish two sets of spans.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Searched, TimeWindow};

/// Attribute values that are more frequent in the selected spans than in the rest, the greatest
/// difference first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// Number of selected spans.
    pub selected_count: u64,
    /// Number of spans that are not selected, or of those of the baseline.
    pub rest_count: u64,
    /// Number of selected spans that were compared: at most about 200,000, sampled by content.
    pub selected_sampled: u64,
    /// Number of spans of the rest that were compared.
    pub rest_sampled: u64,
    /// The differences that chance does not explain.
    pub differences: Vec<Difference>,
    /// The attributes that were left out because nearly every span has another value.
    pub left_out: Vec<AttributeName>,
    /// Number of attributes compared.
    pub compared_count: u64,
    /// Rows and files read.
    pub searched: Searched,
    /// Reasons why a side is of a part of its spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributeName {
    /// `span`, `resource`, or `intrinsic` for service, operation, kind and status.
    pub scope: String,
    /// The key.
    pub key: String,
}

/// An attribute in which the two differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Which.
    #[serde(flatten)]
    pub attribute: AttributeName,
    /// The greatest difference between the shares of a value in the two, 0 to 1.
    pub score: f64,
    /// How likely chance gives such a difference, times the number of values compared (Bonferroni),
    /// at most 1; below 0.01 for everything that is listed.
    pub p_value: f64,
    /// Its values, at most 10: first the one that the selected spans have most in excess of the rest,
    /// then the others, greatest difference first.
    pub values: Vec<ValueShare>,
    /// Other attributes whose values stand on the same spans as the first value and say the same.
    pub together: Vec<AttributeValue>,
}

/// An attribute with a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributeValue {
    /// Which.
    #[serde(flatten)]
    pub attribute: AttributeName,
    /// The value; absent where the spans do not have the attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// How frequent a value is in the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueShare {
    /// The value, or a range of numbers as `512..1023`; absent where spans do not have the
    /// attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Number of compared selected spans that have the value.
    pub selected_count: u64,
    /// Number of compared spans of the rest that have the value.
    pub rest_count: u64,
    /// Which part of the selected spans, 0 to 1.
    pub selected_share: f64,
    /// Which part of the rest.
    pub rest_share: f64,
}
