//! Culprits: things whose own behaviour changed and explains changes elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AttributeValue, Cause, Change, GroupStats, Subject, TransactionName};
use crate::{DurationNanos, TraceId};

/// Things that explain the changes, the best explanation first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CulpritRanking {
    /// Services and endpoints without spans.
    pub services: Vec<Culprit>,
    /// Operations of services, and edges to endpoints without spans.
    pub operations: Vec<Culprit>,
    /// Versions, hosts and attribute values that set the changed calls apart; only with
    /// `explain=true`.
    pub reasons: Vec<Reason>,
    /// Number of traces of the window that self times were taken from.
    pub traces_now: u64,
    /// Number of traces of the baseline that self times were taken from.
    pub traces_before: u64,
}

/// A thing that changed by itself, compared with its own past without the waiting for others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Culprit {
    /// The thing.
    pub subject: Subject,
    /// The heaviest of its own changes.
    pub change: Change,
    /// Weight by which culprits are ranked, 0 to 1: the part of the change of the transactions that
    /// it explains, lowered where chance may have made it.
    pub score: f64,
    /// Part of the changed transactions' change that it explains, 0 to 1.
    pub explained_share: f64,
    /// Own numbers of the window.
    pub now: OwnStats,
    /// Own numbers of the baseline.
    pub before: OwnStats,
    /// Transaction types that pass through it and changed, at most 10.
    pub transactions: Vec<TransactionName>,
    /// Traces of the window that show the change, the clearest first, at most 5.
    #[schema(value_type = Vec<String>)]
    pub trace_ids: Vec<TraceId>,
}

/// Own numbers of a thing: the waiting for callees that send spans is not in them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnStats {
    /// Number of calls looked at.
    pub count: u64,
    /// Calls in a transaction that passes through it, on average.
    pub calls_per_trace: f64,
    /// Self time of a call, on average.
    #[schema(value_type = String)]
    pub self_mean_nano: DurationNanos,
    /// Self time that 95 % of the calls do not exceed.
    #[schema(value_type = String)]
    pub self_p95_nano: DurationNanos,
    /// Calls that failed without a failed callee.
    pub own_error_count: u64,
    /// `own_error_count` as a share of `count`, 0 to 1.
    pub own_error_share: f64,
}

/// An attribute value that sets the changed calls of a culprit apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The culprit.
    pub subject: Subject,
    /// The value, and the shares of the calls that have it.
    #[serde(flatten)]
    pub cause: Cause,
    /// Difference of `changedShare` and the greater of `restShare` and `beforeShare`, by which
    /// reasons are ranked.
    pub score: f64,
    /// Probability that chance gives such a difference, corrected for the number of values.
    pub p_value: f64,
    /// Numbers of the window's calls that have the value.
    pub with_value: GroupStats,
    /// Numbers of the window's calls that have it not.
    pub without_value: GroupStats,
    /// Other attributes whose values stand on the same calls.
    pub together: Vec<AttributeValue>,
    /// Traces with changed calls that have the value, at most 5.
    #[schema(value_type = Vec<String>)]
    pub trace_ids: Vec<TraceId>,
}
