//! Times that no working clock gives.
//!
//! Owns the rule: such a time counts as unknown, except in the list of problems. The limits are
//! constants and do not follow the present, so that the same spans always give the same trace.

use std::borrow::Cow;

use tidings_proto::UnixNanos;

use crate::SpanFacts;

const SECOND: u64 = 1_000_000_000;
/// 2200-01-01T00:00:00Z.
const LATEST: u64 = 7_258_118_400 * SECOND;
/// Maximum duration of a span.
const LONGEST: u64 = 366 * 24 * 3_600 * SECOND;

/// Returns the facts with implausible times set to 0.
pub(crate) fn one(said: SpanFacts) -> SpanFacts {
    let start = if said.start.0 < LATEST { said.start } else { UnixNanos(0) };
    let last = if start.0 == 0 { LATEST - 1 } else { start.0.saturating_add(LONGEST) };
    let end = if said.end.0 <= last.min(LATEST - 1) { said.end } else { UnixNanos(0) };
    SpanFacts { start, end, ..said }
}

/// Does the same as [`one`] for all facts. Copies them only where one has such a time.
pub(crate) fn all(said: &[SpanFacts]) -> Cow<'_, [SpanFacts]> {
    if said.iter().all(|span| one(*span) == *span) {
        Cow::Borrowed(said)
    } else {
        Cow::Owned(said.iter().copied().map(one).collect())
    }
}
