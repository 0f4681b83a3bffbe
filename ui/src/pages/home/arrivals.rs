//! Current arrivals: spans and log records per second, refusals and their remedies.

use leptos::prelude::*;
use tidings_proto::DurationNanos;

use crate::{
    components::{RefusalCard, SparkTone, Sparkline, WatchedRequest, ranked_refusals},
    format,
    format::rates::three_digits,
    server_watch::{ArrivalGap, CounterSample, rate_series, use_server},
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
    let line = move || recent_spans(&server.samples(), gap.get());
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
                <a href="/system">"System"</a>
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

/// The rates of spans that the page has observed, from zero on, with their scale in words. Without
/// spans only words, which a gap replaces.
fn recent_spans(
    samples: &[CounterSample],
    gap: Option<ArrivalGap>,
) -> Option<impl IntoView + use<>> {
    let (first, last) = (samples.first()?, samples.last()?);
    let values = rate_series(samples, |sample| sample.spans);
    let greatest = values.iter().flatten().copied().fold(0.0, f64::max);
    if values.len() < 2 || (greatest <= 0.0 && gap.is_some()) {
        return None;
    }
    let words = scale_text(greatest, last.time.since(first.time));
    let drawing = (greatest > 0.0).then(|| {
        let zero = vec![Some(0.0); values.len()];
        let tone = SparkTone::Accent;
        view! { <Sparkline values before=zero tone label="Spans a second, lately" /> }
    });
    Some(view! { {drawing} " " <span class="mute">{words}</span> })
}

/// Returns the scale of rates up to this one as words: `0 (dashed) to 120 spans/s`.
fn scale_text(greatest: f64, length: DurationNanos) -> String {
    if greatest > 0.0 {
        format!("0 (dashed) to {} spans/s", three_digits(greatest))
    } else {
        format!("No spans in the last {}.", format::rough_length(length))
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
            view! { <a href="/system">{words}</a> }
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

#[cfg(test)]
mod tests {
    use tidings_proto::DurationNanos;

    use super::scale_text;

    #[test]
    fn an_empty_scale_and_a_constant_rate_have_different_words() {
        let length = DurationNanos(240_000_000_000);
        assert_eq!(scale_text(0.0, length), "No spans in the last 4 min.");
        assert_eq!(scale_text(120.0, length), "0 (dashed) to 120 spans/s");
    }
}
