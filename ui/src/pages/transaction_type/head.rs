//! The head of the page: the name, the culprit of its change, and the facts beside those of the
//! baseline, which are the numbers of the type's row in the list of types. A fact is marked where
//! the report of changes names it as worse.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{Change, ChangeKind, ChangedGroup, GroupStats, TransactionTypeList},
};

use super::{BASELINE_COUNT_MIN, TypePage};
use crate::{
    addresses, browser,
    components::{
        ChangeBadge, Headline, SentencePlaceholder, ServiceName, WatchedRequest,
        change::full_text,
        group_cells::{is_worse, shown_time},
        report::quiet_text,
    },
    format,
    links::Links,
    number_format,
    pages::transactions::compared_numbers::ComparedNumbers,
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
        let count = page.transaction_type().map(|listed| format::counted(listed.count, "trace"));
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
            {WatchedRequest::new("The numbers before are not known", page.before).note()}
        </div>
    }
}

/// The change of the type as a badge. A type that only feels another's change is not at fault.
fn state_badge(page: TypePage) -> Option<AnyView> {
    let ChangedGroup { service, operation, only_feels, sentence, since, .. } = page.changed()?;
    let (sentence, begin) = (sentence?, since.map(|since| since.start_unix_nano));
    Some(view! { <ChangeBadge sentence service operation begin only_feels /> }.into_any())
}

/// The culprit of the type's change, as on Home and on the pages of services.
fn culprit(page: TypePage) -> Option<AnyView> {
    let report = page.report.value()?;
    let Some(group) = page.changed() else {
        let is_whole = report.transaction_count <= report.transactions.len() as u64;
        let words = "It is not among the types that were compared with the time before.";
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

/// Returns the numbers since the change and of the baseline. Without a change, those of the window
/// and of the window before. `None` while they load.
pub(super) fn compared_numbers(page: TypePage) -> Option<ComparedNumbers> {
    if page.is_awaited.get() {
        return None;
    }
    let reported = page.changed().as_ref().and_then(ComparedNumbers::of_report);
    let listed = || {
        Some(ComparedNumbers::of_windows(
            &page.transaction_type()?,
            page.transaction_type_before().as_ref(),
        ))
    };
    reported.or_else(listed)
}

/// Returns the number of failed transactions of the facts, and the time of a changed type:
/// `7 of 63 since 06:22`. `None` while they load.
pub(super) fn failed_words(page: TypePage) -> Option<String> {
    let now = compared_numbers(page)?.now;
    let counted = format!("{} of {}", format::count(now.error_count), format::count(now.count));
    let reported = page.changed().filter(|group| ComparedNumbers::of_report(group).is_some());
    Some(match reported {
        Some(group) => format!("{counted} {}", shown_time(Some(&group))),
        None => counted,
    })
}

/// The numbers, after their time, and the time of those before. Nothing else stands in for them
/// while they load.
fn numbers(page: TypePage) -> AnyView {
    let group = page.changed();
    let reported = group.as_ref().and_then(ComparedNumbers::of_report);
    let waits = |state: RequestState<TransactionTypeList>| state.loading() && state.pending();
    let is_waiting = reported.is_none() && (waits(page.now) || waits(page.before));
    if page.is_awaited.get() || is_waiting {
        let label = "Loading the numbers";
        return view! { <span class="say-ghost" role="status" aria-label=label></span> }.into_any();
    }
    let Some(numbers) = compared_numbers(page) else { return ().into_any() };
    let changed = group.as_ref().filter(|_| reported.is_some());
    let since = changed.map(|group| shown_time(Some(group)));
    let baseline = match (changed, page.report.value()) {
        (Some(_), Some(report)) => {
            Some((report.baseline.start_unix_nano, report.baseline.end_unix_nano))
        }
        _ => page.window.get().before(),
    };
    let calls_before = match numbers.was {
        Some(was) => Some(was.count),
        None => page.baseline_count().filter(|count| *count == 0),
    };
    let against = baseline.zip(calls_before).map(|(times, calls)| against(times, calls));
    let muted =
        |words: Option<String>| words.map(|words| view! { <span class="mute">{words}</span> });
    let changes = group.map(|group| group.changes).unwrap_or_default();
    view! { {muted(since)} {facts(numbers, &changes)} {muted(against)} }.into_any()
}

/// Returns the words for the time of a baseline: `against 18:44 to 19:44`.
fn against((start, end): (UnixNanos, UnixNanos), calls: u64) -> String {
    let now = browser::now();
    let minute = |time: UnixNanos| browser::local_minute(time, now);
    against_text(&format!("{} to {}", minute(start), minute(end)), calls)
}

/// Returns the words for a baseline of so many calls. Of few calls, the p95 and the p99 are the
/// slowest one.
fn against_text(times: &str, calls: u64) -> String {
    match calls {
        0 => format!("no calls from {times}"),
        few if few < BASELINE_COUNT_MIN => {
            format!("against {times}, only {}", format::counted(few, "call"))
        }
        _ => format!("against {times}"),
    }
}

fn facts(
    ComparedNumbers { now, was }: ComparedNumbers,
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
    let rate_before = was.map_or_else(String::new, |was| {
        let rate = number_format::rate_in_unit_of(was.rate_per_second, now.rate_per_second);
        format!("was {rate}")
    });
    let failed_before = was
        .map_or_else(String::new, |was| format!(", was {}", number_format::share(was.error_share)));
    let worse_share = is_worse(changes, ChangeKind::Errors, None);
    let quantile = |percent: u8, of: fn(GroupStats) -> DurationNanos| {
        let (now, was_nanos) = (of(now), was.map(of));
        let worse = is_worse(changes, ChangeKind::Latency, Some(percent));
        view! {
            <span class="page-fact">
                {format!("p{percent}")}
                <b class:is-worse=worse>{format::duration_or_none(now)}</b>
                <span>{was_nanos.map(|was| format!("was {}", format::duration_or_none(was)))}</span>
            </span>
        }
    };
    view! {
        {fact(number_format::rate(now.rate_per_second), rate_before, false)}
        {fact(number_format::share(now.error_share), format!("failed{failed_before}"), worse_share)}
        {quantile(50, |stats| stats.p50_nano)}
        {quantile(95, |stats| stats.p95_nano)}
        {quantile(99, |stats| stats.p99_nano)}
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{Change, ChangeKind};

    use super::{against_text, is_worse};

    fn change(kind: &str, quantile: Option<u8>, is_worse: bool) -> Change {
        serde_json::from_value(serde_json::json!({
            "kind": kind, "isWorse": is_worse, "before": 1.0, "now": 2.0, "difference": 1.0,
            "quantile": quantile, "pValue": 0.001,
        }))
        .unwrap()
    }

    #[test]
    fn a_baseline_of_few_calls_or_of_none_says_so() {
        for (calls, expected) in [
            (0, "no calls from 09:58 to 10:58"),
            (1, "against 09:58 to 10:58, only 1 call"),
            (19, "against 09:58 to 10:58, only 19 calls"),
            (20, "against 09:58 to 10:58"),
        ] {
            assert_eq!(against_text("09:58 to 10:58", calls), expected);
        }
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
