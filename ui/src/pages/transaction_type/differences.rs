//! Attributes that the subject's transactions have and those that they are compared with lack.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::Explanation;

use super::{
    TypePage, UNDECIDED,
    call_trees::without_begin,
    moment::{self, SINCE},
    when_changed,
};
use crate::{
    addresses::TraceListLink,
    api::analysis::{self, Analysis},
    components::{DifferenceList, Panel, WatchedRequest, explanation_missing},
    format,
};

/// The panel.
pub(super) fn differences(page: TypePage) -> impl IntoView {
    let explanation = page.window.request_slowly(move |window| {
        let analysis = match page.basis.get() {
            "failed" => window.analysis().with("selectStatus", "error"),
            SINCE => {
                let (start, moment, end) = moment::parts(window, page.moment.get())?;
                Analysis::between(start, end).with("selectStart", moment.0)
            }
            "before" => {
                let ((start, middle), (_, end)) = (window.before()?, window.bounds()?);
                Analysis::between(start, end).with("selectStart", middle.0)
            }
            UNDECIDED => return None,
            _ => window.analysis().with("selectMinDuration", page.slow_from()?.0),
        };
        let analysis = page.name.with(|name| name.filter(analysis)).with("limit", 8);
        Some(analysis::explain(&analysis))
    });
    let moment = move || page.moment.get().filter(|_| page.basis.get() == SINCE);
    when_changed(
        move || (page.basis.get(), page.name.get(), moment()),
        move || {
            explanation.clear();
        },
    );
    let draw = move |explanation: Arc<Explanation>| {
        let traces = page.name.with(|name| {
            TraceListLink::within(page.window.get().range())
                .of_service(&name.service)
                .of_operation(&name.operation)
        });
        let traces = match page.basis.get() {
            "failed" => traces.failed(),
            _ => traces,
        };
        let words = format!(
            "{} of {} against {}.",
            format::count(explanation.selected_count),
            format::count(explanation.selected_count.saturating_add(explanation.rest_count)),
            rest_words(page.basis.get()),
        );
        view! {
            <p class="panel-words mute">{words}</p>
            <DifferenceList
                differences=explanation.differences.clone()
                traces
                rest=rest_words(page.basis.get())
            />
        }
    };
    let title = move || match page.basis.get() {
        "failed" => "What the failed ones have in common",
        "before" => "What is different from before",
        SINCE => "What is different since then",
        UNDECIDED => "What is different",
        _ => "What the slow ones have in common",
    };
    view! {
        <Panel
            title=Signal::derive(move || title().to_owned())
            state=explanation
            needs=vec![WatchedRequest::new("The usual durations are not known", page.measured)]
            instead=Signal::derive(move || without_begin(page))
            is_empty=|explanation| explanation.differences.is_empty()
            missing=explanation_missing
            empty=Signal::derive(move || {
                format!("No attribute sets them apart from {}.", rest_words(page.basis.get()))
            })
            draw=draw
        />
    }
}

/// Returns the words for the transactions that the subject's are compared with.
fn rest_words(basis: &str) -> &'static str {
    match basis {
        "before" => "those before",
        SINCE => "those until then",
        "failed" => "those that did not fail",
        _ => "the rest",
    }
}

#[cfg(test)]
mod tests {
    use super::{SINCE, rest_words};

    #[test]
    fn the_words_name_the_compared_transactions() {
        assert_eq!(rest_words("before"), "those before");
        assert_eq!(rest_words(SINCE), "those until then");
        assert_eq!(rest_words("failed"), "those that did not fail");
        assert_eq!(rest_words("slow"), "the rest");
    }
}
