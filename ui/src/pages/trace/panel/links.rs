//! Links from a span to other spans, of this trace or another.

use leptos::prelude::*;
use tidings_proto::{SpanId, TraceId, otlp::Link};

use super::super::page::Page;
use crate::{api::trace_address, components::attribute_rows};

/// The links; nothing when there are none.
pub(super) fn links(page: Page, links: &[Link]) -> Option<impl IntoView + use<>> {
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

fn one(page: Page, link: &Link) -> impl IntoView + use<> {
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
    let attributes = attribute_rows(&link.attributes).into_iter().map(|(key, value)| {
        view! {
            <dt>
                <bdi>{key}</bdi>
            </dt>
            <dd>{super::attributes::value_view(value)}</dd>
        }
    });
    view! {
        <li>
            {target}
            <dl class="attributes">{attributes.collect_view()}</dl>
        </li>
    }
}
