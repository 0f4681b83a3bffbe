//! The head of the page: the name, the culprit of its change, and the facts beside those of the
//! baseline. A fact is marked where the report of changes names it as worse.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Change, ChangeKind, ChangedGroup, TransactionKind, TransactionKindList},
};

use super::{TypePage, moment};
use crate::{
    addresses, browser,
    components::{
        ChangeBadge, Headline, SentencePlaceholder, ServiceName, WatchedRequest, change::full_text,
        report::quiet_text,
    },
    format,
    links::Links,
    number_format,
    request_state::RequestState,
};

/// Maximum number of the type's own changes in a sentence.
const OWN_CHANGES_MAX: usize = 2;

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
            addresses::TraceListLink::within(page.window.get().range())
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
            {move || page.is_awaited.get().then(|| view! { <SentencePlaceholder /> })}
            {WatchedRequest::new("What changed is not known", page.report).note()}
            {move || culprit(page)}
            {move || own_changes(page).map(|words| view! { <p class="say mute">{words}</p> })}
            <div class="page-facts">{move || numbers(page)}</div>
            {WatchedRequest::new("The numbers since the change are not known", page.since).note()}
            {WatchedRequest::new("The numbers before are not known", page.before).note()}
        </div>
    }
}

/// Reports whether one of the changes is for the worse and of this kind, and for durations of this
/// quantile.
fn is_worse(changes: &[Change], kind: ChangeKind, quantile: Option<u8>) -> bool {
    let is_listed =
        |change: &Change| quantile.is_some_and(|percent| change.worse_quantiles.contains(&percent));
    let is_it = |change: &Change| change.is_worse && change.quantile == quantile;
    let mut of_kind = changes.iter().filter(|change| change.kind == kind);
    of_kind.any(|change| is_listed(change) || is_it(change))
}

fn failed(kind: &TransactionKind) -> f64 {
    number_format::ratio(kind.error_count, kind.count)
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
        let words = quiet_text(report.baseline.state);
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
    let words: Vec<String> = worse.map(|change| full_text(change, now)).collect();
    (!words.is_empty()).then(|| format!("This type: {}.", words.join("; ")))
}

/// The numbers since the change and until it. Without a change, those of the window and of the
/// window before. Nothing else stands in for them while they load.
fn numbers(page: TypePage) -> AnyView {
    let since = page.changed_since();
    let part = if since.is_some() { page.since } else { page.now };
    let waits = |state: RequestState<TransactionKindList>| state.loading() && state.pending();
    if page.is_awaited.get() || waits(part) || waits(page.before) {
        let label = "Loading the numbers";
        return view! { <span class="say-ghost" role="status" aria-label=label></span> }.into_any();
    }
    let before = page.kind_before();
    let words = since.map(|since| {
        let earlier = before.is_some().then(|| page.window.get().before()).flatten();
        let was = earlier.map_or_else(String::new, |(start, _)| was_times(start, since));
        view! { <span class="mute">{format!("since {}{was}", moment::clock(since))}</span> }
    });
    let facts = part.value().and_then(|list| {
        let kind = list.kinds.first()?;
        let changes = page.changed().map(|group| group.changes).unwrap_or_default();
        Some(facts(kind, before.as_ref(), &changes))
    });
    view! { {words} {facts} }.into_any()
}

/// Returns the words for the time until a change: ` (was: 11:29 to 13:18)`.
fn was_times(start: UnixNanos, change: UnixNanos) -> String {
    let now = browser::now();
    let minute = |time: UnixNanos| format::rates::minute(time, now, browser::zone_minutes(time));
    format!(" (was: {} to {})", minute(start), minute(change))
}

fn facts(
    now: &TransactionKind,
    before: Option<&TransactionKind>,
    changes: &[Change],
) -> impl IntoView + use<> {
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
    let worse_share = is_worse(changes, ChangeKind::Errors, None);
    let quantile = |percent: u8, of: fn(&TransactionKind) -> DurationNanos| {
        let (now, was_nanos) = (of(now), before.map(of));
        let worse = is_worse(changes, ChangeKind::Latency, Some(percent));
        view! {
            <span class="page-fact">
                {format!("p{percent}")}
                <b class:is-worse=worse>{format::duration(now)}</b>
                <span>{was_nanos.map(|was| format!("was {}", format::duration(was)))}</span>
            </span>
        }
    };
    view! {
        {fact(
            number_format::rate(now.rate_per_second),
            was(&|kind| number_format::rate_in_unit_of(kind.rate_per_second, now.rate_per_second)),
            false,
        )}
        {fact(
            number_format::share(share),
            format!("failed{}", before.map_or_else(String::new, |before| {
                format!(", was {}", number_format::share(failed(before)))
            })),
            worse_share,
        )}
        {quantile(50, |kind| kind.duration.p50_nano)}
        {quantile(95, |kind| kind.duration.p95_nano)}
        {quantile(99, |kind| kind.duration.p99_nano)}
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{Change, ChangeKind};

    use super::is_worse;

    fn change(kind: &str, quantile: Option<u8>, is_worse: bool) -> Change {
        serde_json::from_value(serde_json::json!({
            "kind": kind, "isWorse": is_worse, "before": 1.0, "now": 2.0, "difference": 1.0,
            "quantile": quantile, "pValue": 0.001,
        }))
        .unwrap()
    }

    #[test]
    fn a_fact_is_marked_where_the_report_names_it_as_worse() {
        let changes = [change("latency", Some(95), true), change("errors", None, false)];
        let latency = [50, 95, 99].map(|of| is_worse(&changes, ChangeKind::Latency, Some(of)));
        assert_eq!(latency, [false, true, false]);
        assert!(!is_worse(&changes, ChangeKind::Errors, None), "fewer fail");
        let mut slower = change("latency", Some(50), true);
        slower.worse_quantiles = vec![50, 95];
        let latency = [50, 95, 99]
            .map(|of| is_worse(std::slice::from_ref(&slower), ChangeKind::Latency, Some(of)));
        assert_eq!(latency, [true, true, false], "every quantile that became worse");
        let changes = [change("errors", None, true)];
        assert!(is_worse(&changes, ChangeKind::Errors, None));
    }
}
