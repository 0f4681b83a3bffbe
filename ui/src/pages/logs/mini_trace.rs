//! A record's trace as a few lines of bars, with the moment of the record.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{SpanId, TraceId, UnixNanos, api::TraceSkeleton};

use crate::{
    api, colour,
    components::{ErrorState, LoadingRows, StateBadge},
    format,
    request_state::RequestState,
};

/// Maximum number of bars that are drawn.
const BARS_MAX: usize = 40;

/// The button, and the picture once it is clicked.
#[component]
#[must_use]
pub fn MiniTrace(
    /// The trace.
    trace: TraceId,
    /// The record's span.
    span: Option<SpanId>,
    /// The time of the record.
    at: UnixNanos,
) -> impl IntoView {
    let open = RwSignal::new(false);
    let answer = RequestState::<TraceSkeleton>::large(move || {
        open.get().then(|| api::skeleton(trace, false))
    });
    let retry = Callback::new(move |()| answer.refresh());
    let body = move || match (answer.value(), answer.error()) {
        (Some(skeleton), _) => picture(&skeleton, at).into_any(),
        (None, Some(error)) => {
            view! { <ErrorState name="Its trace" error on_retry=retry /> }.into_any()
        }
        (None, None) => view! { <LoadingRows count=2 /> }.into_any(),
    };
    view! {
        <button
            class="button"
            type="button"
            aria-pressed=move || open.get().to_string()
            on:click=move |_| open.update(|open| *open = !*open)
        >
            "In its trace"
        </button>
        <a href=api::trace_address(trace, span) class="button">
            "Open the trace ↗"
        </a>
        <Show when=move || open.get()>
            <div class="mini-trace">{body}</div>
        </Show>
    }
}

/// A bar: its start and end in percent, and the service.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    left: f64,
    width: f64,
    service: String,
}

/// Returns the bars of a trace and the position of a moment. Where there are too many bars, they
/// are chosen evenly.
fn bars(skeleton: &TraceSkeleton, at: UnixNanos) -> (Vec<Bar>, f64) {
    let length = skeleton.summary.duration_nano.0.max(1) as f64;
    let columns = &skeleton.spans;
    let count = columns.span_id.len();
    let every = count.div_ceil(BARS_MAX).max(1);
    let bar = |row: usize| {
        let left = (*columns.start_offset_nano.get(row)? as f64 / length * 100.0).clamp(0.0, 100.0);
        let width = *columns.duration_nano.get(row)? as f64 / length * 100.0;
        let service = skeleton.services.get(*columns.service.get(row)? as usize)?;
        Some(Bar {
            left,
            width: width.clamp(0.4, 100.0 - left.min(99.6)),
            service: service.clone(),
        })
    };
    let bars = (0..count).step_by(every).filter_map(bar).collect();
    let start = skeleton.summary.start_unix_nano.0 as f64;
    (bars, ((at.0 as f64 - start) / length * 100.0).clamp(0.0, 100.0))
}

fn picture(skeleton: &Arc<TraceSkeleton>, at: UnixNanos) -> impl IntoView + use<> {
    colour::assign_shades(skeleton.services.iter().map(String::as_str));
    let (bars, moment) = bars(skeleton, at);
    let bar = |Bar { left, width, service }: Bar| {
        view! {
            <span
                class="mini-bar shade"
                title=service.clone()
                style=("--hue", colour::hue_value(&service))
                style=("margin-left", format!("{left:.2}%"))
                style=("width", format!("{width:.2}%"))
            ></span>
        }
    };
    let summary = &skeleton.summary;
    let offset = i64::try_from(i128::from(at.0) - i128::from(summary.start_unix_nano.0));
    let offset = format::offset(offset.unwrap_or(i64::MAX));
    view! {
        <div class="mini-bars">
            {bars.into_iter().map(bar).collect_view()}
            <span class="mini-moment" style=("left", format!("{moment:.2}%"))>
                <span class="mono">{offset}</span>
            </span>
        </div>
        <p class="mini-facts">
            <bdi>{format::operation(&summary.root_operation).to_owned()}</bdi>
            <StateBadge state=summary.state />
            <span class="mono">{format::duration(summary.duration_nano)}</span>
            <span class="mute">{format::counted(summary.span_count, "span")}</span>
        </p>
    }
}
