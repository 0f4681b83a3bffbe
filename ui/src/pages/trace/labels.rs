//! The page's words for the API's codes.
//!
//! Owns short badges, counted sentences and explanations of assembly's problems, kinds and
//! statuses. The words do not presume knowledge of how a trace is assembled.

use tidings_proto::api::{ProblemKind, SpanKindName};

use crate::format;

/// Returns the badge of a row with this problem.
pub(crate) fn problem_badge(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::DuplicateSpan => "duplicate",
        ProblemKind::SupersededSpan => "also unfinished",
        ProblemKind::SharedSpanId => "shared id",
        ProblemKind::MissingParent => "parent not received",
        ProblemKind::SelfParent => "is its own parent",
        ProblemKind::Cycle => "cycle cut here",
        ProblemKind::SeveralRoots => "extra root",
        ProblemKind::NoStart => "no start time",
        ProblemKind::NoEnd => "not ended",
        ProblemKind::EndBeforeStart => "ends before it starts",
        ProblemKind::StartsBeforeParent => "starts before its parent",
        ProblemKind::ImplausibleTime => "impossible time",
    }
}

/// Returns the words for this number of problems of one kind.
pub(crate) fn problem_count(kind: ProblemKind, count: u64) -> String {
    let calls = format::counted(count, "call");
    let (is, its, has) = if count == 1 { ("is", "its", "has") } else { ("are", "their", "have") };
    let id = format::noun_for(count, "id");
    match kind {
        ProblemKind::DuplicateSpan => format!("{calls} received more than once"),
        ProblemKind::SupersededSpan => format!("{calls} received unfinished, too"),
        ProblemKind::SharedSpanId => format!("{calls} {has} an id that another has too"),
        ProblemKind::MissingParent => format!("{calls} missing {its} parent"),
        ProblemKind::SelfParent => format!("{calls} {has} {its} own {id} as parent"),
        ProblemKind::Cycle => format!("{calls} {is} in a cycle"),
        ProblemKind::SeveralRoots => "more than one root".to_owned(),
        ProblemKind::NoStart => format!("{calls} without a start time"),
        ProblemKind::NoEnd => format!("{calls} not ended"),
        ProblemKind::EndBeforeStart => format!("{calls} ending before the start"),
        ProblemKind::StartsBeforeParent => format!("{calls} starting before {its} parent"),
        ProblemKind::ImplausibleTime => format!("{calls} with an impossible time"),
    }
}

/// Returns the meaning of a problem and its repair.
pub(crate) fn problem_explanation(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::DuplicateSpan => {
            "The same span arrived more than once, usually because its sender tried again. It is \
             shown once."
        }
        ProblemKind::SupersededSpan => {
            "It arrived without an end as well, because its sender reports calls that still run. \
             It is shown once, as it ended."
        }
        ProblemKind::SharedSpanId => {
            "Different spans carry one id. They are distinguished by content; calls that name \
             this id as their parent may hang under the wrong one."
        }
        ProblemKind::MissingParent => {
            "The call it came from was never received: it may be on its way, not sampled, or from \
             a service that sends no spans here. It is shown as a root."
        }
        ProblemKind::SelfParent => "It names itself as its parent. It is shown as a root.",
        ProblemKind::Cycle => {
            "Its callers lead back to it, which cannot be. The circle is cut here, and it is shown \
             as a root."
        }
        ProblemKind::SeveralRoots => {
            "More than one call has no parent. Usually a sender began a new trace with an old id."
        }
        ProblemKind::NoStart => "Its sender gave no start time, so its place is a guess.",
        ProblemKind::NoEnd => {
            "It has no end time: it is still running, or its sender stopped before it could say."
        }
        ProblemKind::EndBeforeStart => {
            "Its end lies before its start, so its duration is shown as 0. The clock of its machine \
             was probably set back."
        }
        ProblemKind::StartsBeforeParent => {
            "By its clock it starts before the call it came from. The clocks of the two machines \
             probably differ; times are shown as they were sent."
        }
        ProblemKind::ImplausibleTime => {
            "It starts or ends in the year 2200 or later, or lasts over a year. That time is not \
             used, so that one broken clock does not stretch the whole trace."
        }
    }
}

/// Returns the words for a span kind.
pub(crate) fn kind(kind: SpanKindName) -> &'static str {
    match kind {
        SpanKindName::Unspecified => "kind not given",
        kind => kind.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProblemKind, problem_count};

    #[test]
    fn problems_are_counted_in_plain_words() {
        for (kind, count, words) in [
            (ProblemKind::MissingParent, 1, "1 call missing its parent"),
            (ProblemKind::MissingParent, 3, "3 calls missing their parent"),
            (ProblemKind::SelfParent, 2, "2 calls have their own ids as parent"),
            (ProblemKind::SharedSpanId, 2, "2 calls have an id that another has too"),
            (ProblemKind::NoEnd, 1_200, "1,200 calls not ended"),
        ] {
            assert_eq!(problem_count(kind, count), words);
        }
    }
}
