//! The head of the page: the name, the culprit of its change, and the facts compared with the
//! baseline.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{ChangeKind, ChangedGroup, TransactionKind, TransactionKindList},
};

use super::{TypePage, moment};
use crate::{
    addresses, browser,
    components::{
        ChangeBadge, Headline, SentenceGhost, ServiceName, WatchedRequest, change::full_words,
        report::quiet_words,
    },
    figures, format,
    links::Links,
    remote::Remote,
};

/// Maximum number of the type's own changes in a sentence.
const OWN_CHANGES_MAX: usize = 2;
/// Factor from which a greater quantile or share of failures is marked.
const WORSE_FROM: f64 = 1.2;
/// Difference from which a greater share of failures is marked, in addition to the factor.
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
            {move || page.is_awaited.get().then(|| view! { <SentenceGhost /> })}
            {WatchedRequest::new("What changed is not known", page.report).note()}
            {move || culprit(page)}
            {move || own_changes(page).map(|words| view! { <p class="say mute">{words}</p> })}
            <div class="page-facts">{move || numbers(page)}</div>
            {WatchedRequest::new("The numbers since the change are not known", page.since).note()}
            {WatchedRequest::new("The numbers before are not known", page.before).note()}
        </div>
    }
}

/// Reports whether a share of failures is marked as greater than the baseline's.
fn is_failing_more(now: f64, before: f64) -> bool {
    now - before >= FAILING_FROM && now >= before * WORSE_FROM
}

fn failed(kind: &TransactionKind) -> f64 {
    figures::ratio(kind.error_count, kind.count)
}

/// The change of the type as a badge. A type that only feels another's change is not at fault.
fn state_badge(page: TypePage) -> Option<AnyView> {
    let group = page.changed()?;
    let sentence = group.sentence.clone()?;
    let ChangedGroup { service, operation, only_feels, .. } = group;
    Some(view! { <ChangeBadge sentence service operation only_feels /> }.into_any())
}

/// The culprit of the type's change, as on Home and on the pages of services.
fn culprit(page: TypePage) -> Option<AnyView> {
    let report = page.report.value()?;
    let Some(group) = page.changed() else {
        let is_whole = report.transaction_count <= report.transactions.len() as u64;
        let words = "It is not among the types that were compared with before.";
        return (!is_whole).then(|| view! { <p class="say mute">{words}</p> }.into_any());
    };
    let Some(sentence) = group.sentence else {
        let words = quiet_words(report.baseline.state);
        return Some(view! { <p class="say mute">{words}</p> }.into_any());
    };
    let links = Links::within(page.window.get().range());
    Some(view! { <Headline sentence links /> }.into_any())
}

/// Returns the type's own changes for the worse: `10.2 % fail since 14:01 (it was 0.1 %)`.
fn own_changes(page: TypePage) -> Option<String> {
    let group = page.changed()?;
    let now = browser::now();
    // The facts include every quantile of the durations.
    let worse =
        group.changes.iter().filter(|change| change.is_worse && change.kind != ChangeKind::Latency);
    let worse = worse.take(OWN_CHANGES_MAX);
    let words: Vec<String> = worse.map(|change| full_words(change, now)).collect();
    (!words.is_empty()).then(|| format!("This type: {}.", words.join("; ")))
}

/// The numbers since the change and until it. Without a change, those of the window and of the
/// window before. Nothing else stands in for them while they load.
fn numbers(page: TypePage) -> AnyView {
    let since = page.changed_since();
    let part = if since.is_some() { page.since } else { page.now };
    let waits = |remote: Remote<TransactionKindList>| remote.loading() && remote.pending();
    if page.is_awaited.get() || waits(part) || waits(page.before) {
        let label = "Loading the numbers";
        return view! { <span class="say-ghost" role="status" aria-label=label></span> }.into_any();
    }
    let words = since.map(|since| {
        view! { <span class="mute">{format!("since {}", moment::clock(since))}</span> }
    });
    let facts = part.value().and_then(|list| {
        let kind = list.kinds.first()?;
        Some(facts(kind, page.kind_before().as_ref()))
    });
    view! { {words} {facts} }.into_any()
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
    let worse_share = before.is_some_and(|before| is_failing_more(share, failed(before)));
    let quantile = |name: &'static str, of: fn(&TransactionKind) -> DurationNanos| {
        let (now, was_nanos) = (of(now), before.map(of));
        let worse =
            was_nanos.is_some_and(|was| was.0 > 0 && now.0 as f64 / was.0 as f64 >= WORSE_FROM);
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
            was(&|kind| figures::rate_beside(kind.rate_per_second, now.rate_per_second)),
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

#[cfg(test)]
mod tests {
    use super::is_failing_more;

    #[test]
    fn a_share_of_failures_is_marked_when_it_is_greater_by_size_and_by_factor() {
        let cases =
            [(0.115, 0.107, false), (0.02, 0.01, true), (0.01, 0.0, true), (0.004, 0.0, false)];
        for (now, before, expected) in cases {
            assert_eq!(is_failing_more(now, before), expected, "{before} to {now}");
        }
    }
}
