//! The name, the sentence, the facts with what they were.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{ComparedCall, Comparison, TransactionKind},
};

use super::{TypePage, call_trees};
use crate::{
    addresses,
    components::{Badge, ServiceName, Tone},
    figures, format,
};

/// A p95 that is longer by this factor is worth a word.
const SLOWER_FROM: f64 = 1.2;
/// A share of failures that is greater by this much is worth a word.
const FAILING_FROM: f64 = 0.005;

/// The head of the page.
pub(super) fn head(page: TypePage) -> impl IntoView {
    let operation = move || page.name.with(|name| format::operation(&name.operation).to_owned());
    let service = move || {
        let name = page.name.with(|name| name.service.clone());
        let href = addresses::service(&name, page.window.get().range());
        view! {
            <a class="plain-link" href=href>
                <ServiceName service=name />
            </a>
        }
    };
    let traces = move || {
        let address = page.name.with(|name| {
            addresses::TraceLink::within(page.window.get().range())
                .of_service(&name.service)
                .of_operation(&name.operation)
                .address()
        });
        let count = page.kind().map(|kind| format::counted(kind.count, "trace"));
        view! { <a class="button" href=address>{count.unwrap_or_else(|| "Traces".to_owned())}</a> }
    };
    let errors = move || {
        let mut query = crate::url::UrlQuery::default();
        page.name.with(|name| query.push("service", &name.service));
        page.window.get().range().write(&mut query);
        view! { <a class="button" href=query.on("/errors")>"Errors"</a> }
    };
    view! {
        <div class="page-head">
            <div class="page-title">
                <h1 title=operation>
                    <bdi>{operation}</bdi>
                </h1>
                {service}
                {move || state_badge(page)}
                <span class="page-tools">{errors} {traces}</span>
            </div>
            <p class="sentence">{move || sentence(page)}</p>
            <div class="page-facts">{move || page.kind().map(|kind| facts(&kind, page.kind_before().as_ref()))}</div>
        </div>
    }
}

fn failed(kind: &TransactionKind) -> f64 {
    figures::ratio(kind.error_count, kind.count)
}

fn state_badge(page: TypePage) -> Option<AnyView> {
    let kind = page.kind()?;
    let share = failed(&kind);
    let was = page.kind_before().map_or(0.0, |before| failed(&before));
    if share - was >= FAILING_FROM {
        return Some(view! { <Badge tone=Tone::Error>"● failing"</Badge> }.into_any());
    }
    let p95 = kind.duration.p95_nano.0 as f64;
    let before = page.kind_before()?.duration.p95_nano.0 as f64;
    (before > 0.0 && p95 / before >= SLOWER_FROM)
        .then(|| view! { <Badge tone=Tone::Warning>"slower"</Badge> }.into_any())
}

/// How it changed against the window before, and where the time of the slow ones goes.
fn sentence(page: TypePage) -> Option<String> {
    let now = page.kind()?;
    let mut words = Vec::new();
    if let Some(before) = page.kind_before() {
        let earlier = page.window.get().before_words();
        words.push(changed(&now, &before, &earlier));
    }
    if let Some(comparison) = page.compared.value() {
        words.extend(suspect_words(&comparison, &page.subject_words(), page.basis.get()));
    }
    Some(words.join(" "))
}

fn changed(now: &TransactionKind, before: &TransactionKind, earlier: &str) -> String {
    let (p95, was) = (now.duration.p95_nano, before.duration.p95_nano);
    let times = if was.0 > 0 { p95.0 as f64 / was.0 as f64 } else { 1.0 };
    let (share, share_was) = (failed(now), failed(before));
    let mut parts = Vec::new();
    if times >= SLOWER_FROM {
        parts.push(format!(
            "p95 is {} that of {earlier}: {p95}, it was {was}.",
            figures::times(times)
        ));
    } else if times > 0.0 && times <= 1.0 / SLOWER_FROM {
        parts.push(format!("p95 is shorter than in {earlier}: {p95}, it was {was}."));
    }
    if share - share_was >= FAILING_FROM {
        let (share, was) = (figures::share(share), figures::share(share_was));
        parts.push(format!("{share} fail, it was {was}."));
    }
    if parts.is_empty() {
        return format!("About as in {earlier}.");
    }
    parts.join(" ")
}

/// The place of the tree that takes most more of the critical path.
fn suspect_words(comparison: &Comparison, subject: &str, basis: &str) -> Option<String> {
    let (call, more) = call_trees::greatest_difference(comparison)?;
    let ComparedCall { service, operation, left, right, .. } = call;
    let subject = match basis {
        "before" => "of the time now".to_owned(),
        "failed" => "of the time of the failed ones".to_owned(),
        _ => format!("of the time of the {}", subject.to_lowercase()),
    };
    let name = figures::cut(format::operation(operation), 60);
    let service = figures::cut(format::service(service), 40);
    let (p50, was): (DurationNanos, DurationNanos) =
        (left.duration.p50_nano, right.duration.p50_nano);
    let times = figures::factor(p50.0 as f64, was.0 as f64)
        .map(|times| format!("; it takes {p50} there, {was} usually ({times})"))
        .unwrap_or_default();
    Some(format!(
        "{name} of {service} has {} points more {subject}{times}.",
        figures::points(more).trim_start_matches('+'),
    ))
}

fn facts(now: &TransactionKind, before: Option<&TransactionKind>) -> impl IntoView + use<> {
    let fact = |number: String, words: String, worse: bool| {
        view! {
            <span class="page-fact">
                <b class:is-worse=worse>{number}</b>
                <span>{words}</span>
            </span>
        }
    };
    let was = |text: &dyn Fn(&TransactionKind) -> String| {
        before.map_or_else(String::new, |before| format!("was {}", text(before)))
    };
    let share = failed(now);
    let worse_share = before.is_some_and(|before| share - failed(before) >= FAILING_FROM);
    let quantile = |name: &'static str, of: fn(&TransactionKind) -> DurationNanos| {
        let (now, was_nanos) = (of(now), before.map(of));
        let worse =
            was_nanos.is_some_and(|was| was.0 > 0 && now.0 as f64 / was.0 as f64 >= SLOWER_FROM);
        view! {
            <span class="page-fact">
                {name}
                <b class:is-worse=worse>{format::duration(now)}</b>
                <span>{was_nanos.map(|was| format!("was {}", format::duration(was)))}</span>
            </span>
        }
    };
    view! {
        {fact(
            figures::rate(now.rate_per_second),
            was(&|kind| figures::rate(kind.rate_per_second)),
            false,
        )}
        {fact(
            figures::share(share),
            format!("failed{}", before.map_or_else(String::new, |before| {
                format!(", was {}", figures::share(failed(before)))
            })),
            worse_share,
        )}
        {quantile("p50", |kind| kind.duration.p50_nano)}
        {quantile("p95", |kind| kind.duration.p95_nano)}
        {quantile("p99", |kind| kind.duration.p99_nano)}
    }
}
