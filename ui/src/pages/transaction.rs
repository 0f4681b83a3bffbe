//! All data of one transaction id, hop by hop: its state, its durations, its missing parts.
//!
//! Owns the request, which is repeated while the transaction is running. The sums are the API's.

use std::{sync::Arc, time::Duration};

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use tidings_proto::{
    DurationNanos,
    api::{Hop, MatchedBy, NodeKind, TraceSummary, TransactionState, TransactionView},
};

use crate::{
    api::analysis,
    browser,
    components::{
        CopyButton, EmptyState, ErrorState, LoadingRows, PartialNote, StateBadge, StripPart,
        TimeStrip,
    },
    format, number_format,
    request_state::RequestState,
    shell::{Crumb, set_crumbs},
    url::{UrlQuery, encode},
};

mod sections;

/// Interval at which a running transaction is requested again.
const POLL: Duration = Duration::from_secs(2);

/// Number of digits of a trace id in hexadecimal.
const TRACE_ID_DIGITS: usize = 32;

/// Returns an id for the breadcrumb: the first eight digits of a trace id, or the first letters of
/// another id.
fn short_id(tid: &str) -> String {
    let is_trace_id =
        tid.len() == TRACE_ID_DIGITS && tid.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_trace_id { tid.chars().take(8).collect() } else { number_format::truncate(tid, 16) }
}

/// The page of the id in the address.
#[component]
#[must_use]
pub fn TransactionPage() -> impl IntoView {
    let params = use_params_map();
    let tid = Memo::new(move |_| params.with(|params| params.get("tid").unwrap_or_default()));
    let found = RequestState::<TransactionView>::new(move || {
        let tid = tid.get();
        (!tid.trim().is_empty()).then(|| analysis::transaction(&tid))
    });
    Effect::new(move |before: Option<String>| {
        let asked = tid.get();
        if before.is_some_and(|before| before != asked) {
            found.clear();
        }
        asked
    });
    Effect::new(move |_| {
        set_crumbs(vec![
            Crumb { text: "Transactions".to_owned(), href: Some("/transactions".to_owned()) },
            Crumb { text: short_id(&tid.get()), href: None },
        ]);
    });
    let tick = move || {
        let running =
            untrack(|| found.value()).is_some_and(|view| view.state == TransactionState::Running);
        if running && browser::is_page_visible() && !browser::is_reader_in_content() {
            found.refresh_when_idle();
        }
    };
    if let Ok(handle) = set_interval_with_handle(tick, POLL) {
        on_cleanup(move || handle.clear());
    }
    let body = move || match (found.value(), found.error()) {
        (Some(view), _) => transaction_view(&view).into_any(),
        (None, Some(error)) if error.is_not_found() => not_found(&tid.get()).into_any(),
        (None, Some(error)) => {
            let retry = Callback::new(move |()| found.refresh());
            view! { <ErrorState error on_retry=retry /> }.into_any()
        }
        (None, None) => view! { <LoadingRows count=10 /> }.into_any(),
    };
    view! { <div class="page">{body}</div> }
}

fn not_found(tid: &str) -> impl IntoView + use<> {
    let mut logs = UrlQuery::default();
    logs.push("text", tid);
    logs.push("range", "all");
    let shown = number_format::truncate(tid, 200);
    view! {
        <EmptyState title="Nothing stored belongs to this id">
            <p class="mono">{shown}</p>
            <p>
                "It is looked for as a trace id in any notation, as the id of a span, and as the value "
                "of every transaction key. It may have another key, or be older than what is kept."
            </p>
            <div class="state-actions">
                <a class="button" href=logs.on("/logs")>"Look for it in log messages"</a>
                <a class="button" href="/explore">"Search in Explore"</a>
            </div>
        </EmptyState>
    }
}

fn transaction_view(transaction: &Arc<TransactionView>) -> impl IntoView + use<> {
    let view = Arc::clone(transaction);
    let incomplete = (!view.complete).then(|| {
        view! {
            <PartialNote>
                "Not everything was counted: counts are lower bounds. What was left out is listed below."
            </PartialNote>
        }
    });
    view! {
        {head(&view)}
        {incomplete}
        {sections::missing(&view)}
        {sections::hops(&view)}
        <div class="tx-columns">
            <div class="tx-column">{sections::errors(&view)} {sections::traces(&view)}</div>
            <div class="tx-column">{sections::services(&view)} {sections::logs(&view)}</div>
        </div>
    }
}

fn matched_text(matched: &MatchedBy) -> String {
    match matched {
        MatchedBy::TraceId => "trace id".to_owned(),
        MatchedBy::SpanId => "id of a span".to_owned(),
        MatchedBy::Attribute { key } => format!("value of {}", number_format::truncate(key, 60)),
    }
}

/// Returns the called service, or the peer with its caller, as the words after an operation: `of
/// pay`, `in fraud's database rules-db (postgresql)`, `at fraud's unnamed outside system (smtp)`.
fn callee_words(hop: &Hop) -> String {
    let caller = format::service(hop.from_service.as_deref().unwrap_or_default());
    let caller = number_format::truncate(caller, 40);
    let unnamed = if hop.service.is_empty() { "unnamed " } else { "" };
    let mut words = match hop.peer_kind {
        None | Some(NodeKind::Service | NodeKind::User) => {
            return format!("of {}", number_format::truncate(format::service(&hop.service), 40));
        }
        Some(NodeKind::Unknown) => {
            return format!("at a callee of {caller} that sends no spans");
        }
        Some(NodeKind::Database) => format!("in {caller}'s {unnamed}database"),
        Some(NodeKind::Messaging) => format!("on {caller}'s {unnamed}queue"),
        Some(NodeKind::External) => format!("at {caller}'s {unnamed}outside system"),
    };
    if unnamed.is_empty() {
        words.push_str(&format!(" {}", number_format::truncate(&hop.service, 40)));
    }
    if let Some(system) = hop.system.as_deref().filter(|system| *system != hop.service) {
        words.push_str(&format!(" ({})", number_format::truncate(system, 40)));
    }
    words
}

/// Returns the operation at which all its traces enter: `POST /checkout of web-gateway`. `None`
/// where they enter at different ones, or where the first call of one is missing.
fn root_words(view: &TransactionView) -> Option<String> {
    let first = view.traces.first()?;
    let is_root = |trace: &TraceSummary| {
        trace.has_root
            && trace.root_service == first.root_service
            && trace.root_operation == first.root_operation
    };
    let has_all = view.trace_count == view.traces.len() as u64;
    (has_all && view.traces.iter().all(is_root)).then(|| {
        let name = number_format::truncate(format::operation(&first.root_operation), 60);
        let service = number_format::truncate(format::service(&first.root_service), 40);
        format!("{name} of {service}")
    })
}

/// Returns the state of the transaction as a sentence.
fn sentence(view: &TransactionView) -> String {
    let traces = format::counted(view.trace_count, "trace");
    let elapsed = view.elapsed_nano;
    let root = root_words(view);
    let state = match (view.state, root.is_some()) {
        (TransactionState::Running, false) => "Running for",
        (TransactionState::Running, true) => "has been running for",
        (TransactionState::Completed, false) => "Completed in",
        (TransactionState::Completed, true) => "completed in",
        (TransactionState::Failed, false) => "Failed after",
        (TransactionState::Failed, true) => "failed after",
        (TransactionState::Incomplete, false) => "Not whole:",
        (TransactionState::Incomplete, true) => "is not whole:",
    };
    let goes_on = matches!(view.state, TransactionState::Running | TransactionState::Incomplete);
    let so_far = if goes_on { " so far" } else { "" };
    let root = root.map(|root| root + " ").unwrap_or_default();
    let mut words = format!("{root}{state} {elapsed}{so_far}, in {traces}.");
    let longest = view.longest_hop_index.and_then(|index| view.hops.get(index as usize));
    if let Some(hop) = longest {
        let name = number_format::truncate(format::operation(&hop.operation), 60);
        let callee = callee_words(hop);
        let time = DurationNanos(hop.completion_nano.0.saturating_add(hop.waiting_nano.0));
        let share = number_format::share(number_format::ratio(time.0, elapsed.0));
        words.push_str(&format!(" {time} of it, {share}, went to {name} {callee}."));
    }
    if let Some(error) = view.errors.last() {
        let name =
            if error.exception_type.is_empty() { &error.message } else { &error.exception_type };
        if !name.is_empty() {
            words.push_str(&format!(
                " Last error: {}.",
                number_format::truncate(name, 120).trim_end_matches('.')
            ));
        }
    }
    words
}

fn head(view: &Arc<TransactionView>) -> impl IntoView + use<> {
    let start = view.start_unix_nano;
    let started = format::when(start, browser::now(), browser::zone_minutes(start));
    let total = sections::total_nanos(view);
    let parts: Vec<StripPart> = view
        .services
        .iter()
        .filter(|one| one.critical_nano.0 > 0)
        .flat_map(|one| {
            StripPart::of_service(one, number_format::ratio(one.critical_nano.0, total))
        })
        .collect();
    let strip = (!parts.is_empty()).then(|| {
        view! {
            <div class="tx-strip">
                <span class="mute">
                    {format!("Where the time went, of {}", format::duration(DurationNanos(total)))}
                </span>
                <TimeStrip parts rest_words="after the response" />
            </div>
        }
    });
    let fact = |number: String, words: String, worse: bool| {
        view! {
            <span class="page-fact">
                <b class:is-worse=worse>{number}</b>
                {words}
            </span>
        }
    };
    let (errors, hops) = (view.errors.len() as u64, view.hop_count);
    let json = format!("/api/v1/transactions/{}", encode(&view.tid));
    view! {
        <div class="page-head">
            <div class="page-title">
                <h1 class="tx-id" title=view.tid.clone()>
                    <bdi>{number_format::truncate(&view.tid, 120)}</bdi>
                </h1>
                <CopyButton text=view.tid.clone() label="Copy the id" />
                <span class="mute">{matched_text(&view.matched)}</span>
                <StateBadge state=view.state />
                <span class="page-tools">
                    <a class="button" href=json rel="external">"JSON"</a>
                </span>
            </div>
            <p class="sentence">{sentence(view)}</p>
            <div class="page-facts">
                {fact(format::duration(view.elapsed_nano), "elapsed".to_owned(), false)}
                {fact(format::count(view.trace_count), format::noun_for(view.trace_count, "trace"), false)}
                {fact(format::count(hops), format::noun_for(hops, "hop"), false)}
                {fact(format::count(errors), format::noun_for(errors, "error"), errors > 0)}
                {fact(sections::log_count(view), format::noun_for(view.log_count, "log record"), false)}
                <span class="page-fact">"began " <span class="mono">{started}</span></span>
            </div>
            {strip}
        </div>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, TraceId, UnixNanos,
        api::{
            Hop, MatchedBy, NodeKind, SpanKindName, TotalRelation, TraceSummary, TransactionState,
            TransactionView,
        },
    };

    use super::{callee_words, matched_text, sentence, short_id};

    fn hop(operation: &str, completion: u64, waiting: u64) -> Hop {
        Hop {
            from_service: None,
            service: "pay".to_owned(),
            peer_kind: None,
            system: None,
            operation: operation.to_owned(),
            kind: SpanKindName::Server,
            call_count: 1,
            error_count: 0,
            first_start_unix_nano: UnixNanos(0),
            response_nano: DurationNanos(0),
            response_max_nano: DurationNanos(0),
            self_nano: DurationNanos(0),
            critical_nano: DurationNanos(0),
            completion_nano: DurationNanos(completion),
            waiting_nano: DurationNanos(waiting),
        }
    }

    fn trace(root_service: &str) -> TraceSummary {
        TraceSummary {
            trace_id: TraceId::from_bytes([7; 16]).unwrap(),
            complete: true,
            state: TransactionState::Completed,
            start_unix_nano: UnixNanos(0),
            end_unix_nano: UnixNanos(1),
            duration_nano: DurationNanos(1),
            root_service: root_service.to_owned(),
            root_operation: "POST /pay".to_owned(),
            has_root: true,
            span_count: 1,
            error_count: 0,
            problem_count: 0,
            services: Vec::new(),
        }
    }

    #[test]
    fn the_breadcrumb_has_the_beginning_of_an_id() {
        assert_eq!(short_id("ff492833629357a2748935bea69111ea"), "ff492833");
        assert_eq!(short_id("A-17"), "A-17");
        assert_eq!(short_id("order-2026-07-31-000017"), "order-2026-07-31…");
    }

    #[test]
    fn the_sentence_says_the_state_and_the_longest_hop() {
        let mut view = TransactionView {
            tid: "A-17".to_owned(),
            matched: MatchedBy::Attribute { key: "order.id".to_owned() },
            complete: true,
            state: TransactionState::Completed,
            missing: Vec::new(),
            start_unix_nano: UnixNanos(0),
            end_unix_nano: UnixNanos(100_000_000),
            elapsed_nano: DurationNanos(100_000_000),
            traces: Vec::new(),
            trace_count: 2,
            hops: vec![hop("a", 10_000_000, 0), hop("b", 20_000_000, 40_000_000)],
            hop_count: 2,
            longest_hop_index: Some(1),
            services: Vec::new(),
            errors: Vec::new(),
            problems: Vec::new(),
            logs: Vec::new(),
            log_count: 0,
            log_count_relation: TotalRelation::Exact,
            version: String::new(),
        };
        assert_eq!(
            sentence(&view),
            "Completed in 100 ms, in 2 traces. 60.0 ms of it, 60.0 %, went to b of pay."
        );
        assert_eq!(matched_text(&view.matched), "value of order.id");
        (view.state, view.hops) = (TransactionState::Running, Vec::new());
        assert_eq!(sentence(&view), "Running for 100 ms so far, in 2 traces.");
        view.traces = vec![trace("shop"), trace("shop")];
        let words = "POST /pay of shop has been running for 100 ms so far, in 2 traces.";
        assert_eq!(sentence(&view), words);
        view.state = TransactionState::Completed;
        assert_eq!(sentence(&view), "POST /pay of shop completed in 100 ms, in 2 traces.");
        view.traces[1] = trace("store");
        assert_eq!(sentence(&view), "Completed in 100 ms, in 2 traces.", "two roots");
    }

    #[test]
    fn a_peer_is_named_with_its_caller_and_its_system() {
        use NodeKind::{Database, External, Messaging, Unknown};
        for (kind, name, system, words) in [
            (Database, "rules-db", Some("postgresql"), "in pay's database rules-db (postgresql)"),
            (Database, "redis", Some("redis"), "in pay's database redis"),
            (Messaging, "orders", Some("kafka"), "on pay's queue orders (kafka)"),
            (External, "bank", None, "at pay's outside system bank"),
            (External, "", Some("smtp"), "at pay's unnamed outside system (smtp)"),
            (Unknown, "", None, "at a callee of pay that sends no spans"),
        ] {
            let peer = Hop {
                from_service: Some("pay".to_owned()),
                service: name.to_owned(),
                peer_kind: Some(kind),
                system: system.map(str::to_owned),
                ..hop("call", 1, 0)
            };
            assert_eq!(callee_words(&peer), words);
        }
    }
}
