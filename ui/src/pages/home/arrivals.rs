//! Current arrivals: spans and log records per second, refusals and their remedies.

use leptos::prelude::*;
use leptos_router::components::A;

use crate::{
    components::{RefusalCard, SparkTone, Sparkline, WatchedRequest, ranked_refusals},
    format,
    format::rates::three_digits,
    shell::{ArrivalGap, server_watch::rate_series, use_server},
};

/// Number of kinds of refusals on Home. System has all of them.
const SHOWN_MAX: usize = 3;

/// The card of arrivals.
pub(super) fn arrivals_card() -> impl IntoView {
    let server = use_server();
    let figure = |number: String, words: &'static str, is_warning: bool| {
        view! {
            <div class="figure" class:is-warning=is_warning>
                <dd>{number}</dd>
                <dt>{words}</dt>
            </div>
        }
    };
    let gap = Memo::new(move |_| server.arrival_gap());
    let gap_words =
        move || gap.get().map(|gap| view! { <p class="arrival-gap">{gap.sentence()}</p> });
    // The sentence of the gap replaces the zeros.
    let figures = move || {
        let (rates, gap) = (server.rates()?, gap.get());
        let spans = gap.is_none().then(|| figure(three_digits(rates.spans), "spans/s", false));
        let logs = gap
            .is_none_or(ArrivalGap::has_arrivals)
            .then(|| figure(three_digits(rates.logs), "log records/s", false));
        let refused = figure(format::count(rates.refused), "refused lately", rates.refused > 0);
        Some(view! { {spans} {logs} {refused} })
    };
    // Nothing is counted while the server does not answer. The note above says so.
    let counting = move || {
        let is_counting = server.rates().is_none() && server.request_state().error().is_none();
        is_counting.then(|| view! { <p class="mute">"Counting…"</p> })
    };
    let line = move || {
        let samples = server.samples();
        (samples.len() > 2).then(|| {
            let values = rate_series(&samples, |sample| sample.spans);
            view! { <Sparkline values tone=SparkTone::Accent label="Spans a second, lately" /> }
        })
    };
    let stored = move || {
        server.status().map(|status| {
            let (spans, logs) = (status.spans, status.logs);
            format!(
                "{} and {} are stored.",
                format::counted(spans.stored, "span"),
                format::counted(logs.stored, "log record")
            )
        })
    };
    view! {
        <section class="card side-card" aria-label="Arriving now">
            <div class="side-head">
                <h2>"Arriving now"</h2>
                <A href="/system">"System"</A>
            </div>
            {WatchedRequest::new("What arrives is not known", server.request_state()).note()}
            {counting}
            {gap_words}
            <dl class="figures">{figures}</dl>
            <div class="side-line">{line}</div>
            <p class="mute">{stored}</p>
        </section>
    }
}

/// The card of refused senders, with the reason and the remedy of each.
pub(super) fn doctor_card() -> impl IntoView {
    let server = use_server();
    let all = Memo::new(move |_| server.status().map(|status| ranked_refusals(&status)));
    let body = move || {
        let all = all.get()?;
        let more = all.len().saturating_sub(SHOWN_MAX);
        let more = (more > 0).then(|| {
            let words = format!("{} on System", format::counted(more as u64, "more kind"));
            view! { <A href="/system">{words}</A> }
        });
        let cards = all.into_iter().take(SHOWN_MAX);
        let cards: Vec<_> = cards.map(|refusals| view! { <RefusalCard refusals /> }).collect();
        Some(if cards.is_empty() {
            view! { <p class="mute">"Nothing was refused since Tidings started."</p> }.into_any()
        } else {
            view! { {cards} {more} }.into_any()
        })
    };
    view! {
        <section class="card side-card" aria-label="Refusals">
            <div class="side-head">
                <h2>"Refusals"</h2>
            </div>
            {body}
        </section>
    }
}
