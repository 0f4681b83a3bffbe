//! Links from a span to spans of this or other traces, and from spans of other traces to it.

use leptos::prelude::*;
use tidings_proto::{
    SpanId, TraceId,
    api::{LinkView, TraceLinks},
    otlp::Link,
};

use super::{super::page_signals::PageSignals, span_attributes::plain_attributes};
use crate::{api::trace_address, components::WatchedRequest, format, request_state::RequestState};

/// Maximum number of incoming links that are listed.
const INCOMING_MAX: usize = 50;

/// The links of other traces' spans to the selected one. Empty when there are none.
pub(super) fn incoming_links(page: PageSignals, links: RequestState<TraceLinks>) -> impl IntoView {
    let body = move || {
        let row = page.selected.get()?;
        let span = page.model.with(|model| model.span_id(row));
        let all = links.value()?;
        let to_span: Vec<&LinkView> =
            all.incoming.iter().filter(|link| link.linked_span_id == Some(span)).collect();
        let more = to_span.len().saturating_sub(INCOMING_MAX);
        let more = (more > 0).then(|| format!("and {} more", format::count(more as u64)));
        let one = |link: &&LinkView| {
            let href = trace_address(link.trace_id, Some(link.span_id));
            let service = format::service(&link.service).to_owned();
            let operation = format::operation(&link.operation).to_owned();
            view! {
                <li>
                    <a href=href>
                        <bdi>{operation}</bdi>
                        " of "
                        <bdi>{service}</bdi>
                    </a>
                </li>
            }
        };
        (!to_span.is_empty()).then(|| {
            view! {
                <section>
                    <h3>"Linked from " <span class="faint">{to_span.len()}</span></h3>
                    <ul class="span-links">
                        {to_span.iter().take(INCOMING_MAX).map(one).collect_view()}
                    </ul>
                    {more.map(|words| view! { <p class="faint">{words}</p> })}
                </section>
            }
        })
    };
    let failed = WatchedRequest::new("The spans that link here are not known", links);
    view! { {body} {failed.note()} }
}

/// The links, or `None` when there are none.
pub(super) fn links(page: PageSignals, links: &[Link]) -> Option<impl IntoView + use<>> {
    if links.is_empty() {
        return None;
    }
    let count = links.len();
    Some(view! {
        <section>
            <h3>"Links " <span class="faint">{count}</span></h3>
            <ul class="span-links">{links.iter().map(|link| one(page, link)).collect_view()}</ul>
        </section>
    })
}

fn one(page: PageSignals, link: &Link) -> impl IntoView + use<> {
    let (trace, span) = (TraceId::from_wire(&link.trace_id), SpanId::from_wire(&link.span_id));
    let row = span
        .filter(|_| trace == Some(page.id))
        .and_then(|span| page.model.with_untracked(|model| model.rows_with(span).first().copied()));
    let target = match (row, trace, span) {
        (Some(row), _, _) => {
            let name = page.model.with_untracked(|model| model.operation(row).to_owned());
            view! {
                <button class="link" type="button" on:click=move |_| page.go_to(row)>
                    "In this trace: "
                    <bdi>{name}</bdi>
                </button>
            }
            .into_any()
        }
        (None, Some(trace), span) => {
            let words = match span {
                Some(span) => format!("Trace {trace}, span {span}"),
                None => format!("Trace {trace}"),
            };
            view! { <a class="mono" href=trace_address(trace, span)>{words}</a> }.into_any()
        }
        (None, None, _) => {
            view! { <span class="mute">"A link without a usable trace id"</span> }.into_any()
        }
    };
    view! {
        <li>
            {target}
            {plain_attributes(&link.attributes)}
        </li>
    }
}
