//! Problems that assembly found in the trace, opened from their badge.

use leptos::prelude::*;

use super::{labels, page::PageSignals};
use crate::format;

/// So many problems are listed.
const LISTED_MAX: usize = 200;

/// The list, while it is open.
pub(crate) fn problems(page: PageSignals) -> impl IntoView {
    let list = move || {
        page.model.with(|model| {
            let one = |problem: &tidings_proto::api::ProblemView| {
                let message = view! { <bdi>{problem.message.clone()}</bdi> };
                let row = problem.span_index.filter(|&row| (row as usize) < model.len());
                let target = match row {
                    Some(row) => view! {
                        <button class="link" type="button" on:click=move |_| page.go_to(row)>
                            {message}
                        </button>
                    }
                    .into_any(),
                    None => message.into_any(),
                };
                view! {
                    <li>
                        <span class="wf-badge">{labels::problem_badge(problem.kind)}</span>
                        {target}
                        <span class="faint">{labels::problem_explanation(problem.kind)}</span>
                    </li>
                }
            };
            let listed = model.problems.len().min(LISTED_MAX) as u64;
            let more = model.summary.problem_count.saturating_sub(listed);
            let more = (more > 0).then(|| {
                let words = format!("and {} more", format::count(more));
                view! { <li class="faint">{words}</li> }
            });
            let listed = model.problems.iter().take(LISTED_MAX).map(one).collect_view();
            view! {
                {listed}
                {more}
            }
        })
    };
    view! {
        <Show when=move || page.problems_open.get()>
            <ul id="trace-problems" class="trace-problems" aria-label="Problems">
                {list}
            </ul>
        </Show>
    }
}
