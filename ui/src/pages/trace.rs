//! One trace. What it says first: state, duration, and what it was.

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use tidings_proto::TraceId;

use crate::{
    api,
    components::{ErrorState, LoadingRows, StateBadge},
    format,
    remote::Remote,
    shell::{Crumb, set_crumbs},
};

/// The page.
#[component]
#[must_use]
pub fn TracePage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| {
        params.with(|params| params.get("id").and_then(|id| id.parse::<TraceId>().ok()))
    });
    let trace = Remote::new(move || id.get().map(api::skeleton));
    Effect::new(move |_| {
        let name = trace.value().map(|trace| trace.summary.root_operation.clone());
        set_crumbs(vec![
            Crumb { text: "Transactions".to_owned(), href: Some("/explore".to_owned()) },
            Crumb { text: name.unwrap_or_else(|| "Trace".to_owned()), href: None },
        ]);
    });
    let head = move || {
        trace.value().map(|trace| {
            let summary = &trace.summary;
            view! {
                <h1>{summary.root_operation.clone()}</h1>
                <StateBadge state=summary.state />
                <p class="num">{format::duration(summary.duration_nano)}</p>
            }
        })
    };
    let failed = move || {
        let retry = Callback::new(move |()| trace.refresh());
        trace.error().map(|error| view! { <ErrorState error on_retry=retry /> })
    };
    view! {
        <div class="page">
            <Show when=move || trace.loading()>
                <LoadingRows />
            </Show>
            {failed}
            {head}
        </div>
    }
}
