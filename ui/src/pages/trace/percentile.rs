//! Percentile of the trace's duration among those of its type.

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{TransactionType, TransactionTypeList},
};

use super::page_signals::PageSignals;
use crate::{
    addresses,
    api::analysis::{self, Analysis},
    components::WatchedRequest,
    format,
    request_state::RequestState,
    url::TimeRange,
};

/// Length of the baseline: the day up to the trace's end.
const BEFORE: u64 = 24 * 3_600 * 1_000_000_000;
/// Minimum number of transactions for a meaningful percentile.
const COUNT_MIN: u64 = 20;

/// Requests the durations of the trace's type, while `wanted`.
pub(crate) fn ask(page: PageSignals, wanted: Signal<bool>) -> RequestState<TransactionTypeList> {
    // A running root has no duration yet. A missing root has no type.
    let asked = Memo::new(move |_| {
        page.model.with(|model| {
            let summary = &model.summary;
            let end = UnixNanos(
                summary.start_unix_nano.0.saturating_add(summary.duration_nano.0).saturating_add(1),
            );
            let name = (summary.root_service.clone(), summary.root_operation.clone());
            Some((name, model.answer_nano()?, end))
        })
    });
    RequestState::<TransactionTypeList>::new(move || {
        let ((service, operation), nanos, end) = asked.get().filter(|_| wanted.get())?;
        let analysis = Analysis::between(UnixNanos(end.0.saturating_sub(BEFORE)), end)
            .with("service", service)
            .with("operation", operation)
            .with("than", nanos)
            .with("limit", 1);
        Some(analysis::transaction_types(&analysis))
    })
}

/// The fact `slower than 97 % of its type`.
pub(crate) fn percentile(page: PageSignals) -> impl IntoView {
    let transaction_types = ask(page, Signal::from(true));
    let fact = move || {
        let Some(list) = transaction_types.value() else {
            let ghost = || {
                let label = "Loading the percentile";
                view! { <span class="usual-ghost" role="status" aria-label=label></span> }
            };
            return transaction_types.pending().then(|| ghost().into_any());
        };
        let transaction_type = list.transaction_types.first()?;
        let (words, unusual) = words(transaction_type)?;
        let href = addresses::transaction_type(
            &transaction_type.service,
            &transaction_type.operation,
            TimeRange::default(),
        );
        let title = format!(
            "Among {} of its type in the 24 h up to its end: p50 {}, p95 {}",
            format::count(transaction_type.count),
            format::duration(transaction_type.duration.p50_nano),
            format::duration(transaction_type.duration.p95_nano),
        );
        let link = view! {
            <a class="trace-percentile" class:is-unusual=unusual href=href title=title>
                {words} " of its type"
            </a>
        };
        Some(link.into_any())
    };
    let failed = WatchedRequest::new("The percentile is not known", transaction_types);
    view! { {fact} {failed.note()} }
}

/// Returns the percentile in words, as `slower than 97 %`, and true for a rare duration.
pub(crate) fn words(transaction_type: &TransactionType) -> Option<(String, bool)> {
    let share = transaction_type.shorter_share.filter(|_| transaction_type.count >= COUNT_MIN)?;
    let percent = share * 100.0;
    let words = if percent >= 50.0 {
        // Rounded down, because it is never slower than all.
        let shown = (percent * 10.0).floor() / 10.0;
        if (99.0..100.0).contains(&shown) {
            format!("slower than {shown:.1} %")
        } else {
            format!("slower than {:.0} %", percent.floor())
        }
    } else {
        // It is among those that took as long, and is therefore never faster than all.
        format!("faster than {:.0} %", (100.0 - percent).floor().min(99.0))
    };
    Some((words, percent >= 95.0))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos,
        api::{LatencyStats, TransactionType},
    };

    use super::words;

    fn transaction_type(count: u64, share: Option<f64>) -> TransactionType {
        TransactionType {
            service: "web".to_owned(),
            operation: "POST /checkout".to_owned(),
            count,
            error_count: 0,
            rate_per_second: 1.0,
            duration: LatencyStats { p50_nano: DurationNanos(1), ..LatencyStats::default() },
            shorter_share: share,
            steps: Vec::new(),
            where_time_goes: Vec::new(),
            analysed_count: 0,
        }
    }

    #[test]
    fn a_place_is_rounded_down_and_named_by_the_nearer_end() {
        let said = |share: f64| words(&transaction_type(500, Some(share))).unwrap();
        assert_eq!(said(0.978), ("slower than 97 %".to_owned(), true));
        assert_eq!(said(0.998), ("slower than 99.8 %".to_owned(), true));
        assert_eq!(said(0.5), ("slower than 50 %".to_owned(), false));
        assert_eq!(said(0.12), ("faster than 88 %".to_owned(), false));
        assert_eq!(said(0.0), ("faster than 99 %".to_owned(), false));
    }

    #[test]
    fn a_percentile_among_few_transactions_is_not_shown() {
        assert_eq!(words(&transaction_type(19, Some(0.9))), None);
        assert_eq!(words(&transaction_type(500, None)), None);
    }
}
