//! The time range that the panels of a page request, its live state, and its refresh.
//!
//! All panels of a page request one range that ends at one moment, so that their numbers agree. The
//! moment advances while the page is live and visible and no request is in progress.

use std::time::Duration;

use leptos::prelude::*;
use tidings_proto::{UnixNanos, api::Searched};

use crate::{
    api::analysis::Analysis,
    browser, format,
    url::{TimeRange, use_query},
};

/// Interval at which a live page of numbers is refreshed.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// The time range of a page and the moment that it is relative to.
#[derive(Debug, Clone, Copy)]
pub struct PageTime {
    range_at: Memo<(TimeRange, UnixNanos)>,
    tick: RwSignal<u32>,
}

/// Returns the time range of the page's address. It is read again whenever the address changes.
#[must_use]
pub fn use_page_time() -> PageTime {
    let query = use_query();
    let range = Memo::new(move |_| query.with(TimeRange::read));
    let tick = RwSignal::new(0_u32);
    let range_at = Memo::new(move |_| {
        tick.track();
        (range.get(), browser::now())
    });
    PageTime { range_at, tick }
}

/// Returns a signal that is true when the page loads new data by itself. It is false when the
/// switch is off or the range is fixed.
#[must_use]
pub fn use_live() -> Memo<bool> {
    let query = use_query();
    Memo::new(move |_| {
        query.with(|query| query.get("live").is_none() && TimeRange::read(query).is_open_ended())
    })
}

impl PageTime {
    /// An analysis of the time range.
    #[must_use]
    pub fn analysis(self) -> Analysis {
        let (range, now) = self.range_at.get();
        Analysis::within(range, now)
    }

    /// An analysis from a moment in the time range to its end. It is refreshed with the range.
    #[must_use]
    pub fn analysis_since(self, begin: UnixNanos) -> Analysis {
        let (range, now) = self.range_at.get();
        match range.bounds(now).1 {
            Some(end) => Analysis::between(begin, end),
            None => Analysis::since(begin),
        }
    }

    /// The moment that the range is relative to.
    #[must_use]
    pub fn now(self) -> UnixNanos {
        self.range_at.get().1
    }

    /// Refreshes the page now.
    pub fn refresh(self) {
        self.tick.update(|tick| *tick = tick.wrapping_add(1));
    }

    /// Refreshes every ten seconds while the page is live and `is_busy` is false. A refresh would
    /// abort a request in progress.
    pub fn refresh_while_live(self, is_busy: impl Fn() -> bool + 'static) {
        let live = use_live();
        let again = move || {
            if live.get_untracked() && browser::is_page_visible() && !untrack(&is_busy) {
                self.refresh();
            }
        };
        if let Ok(timer) = set_interval_with_handle(again, REFRESH_INTERVAL) {
            on_cleanup(move || timer.clear());
        }
    }
}

/// End of a note about a partial answer: a shorter range is read in full.
pub const SHORTER_RANGE_HINT: &str = "A shorter range is read whole.";

/// Returns the words for a partial answer, or `None` when it is complete.
#[must_use]
pub fn partial_answer_text(searched: &Searched) -> Option<String> {
    (!searched.complete).then(|| {
        format!(
            "Not all of this time could be read: {} in {} were looked at. {SHORTER_RANGE_HINT}",
            format::counted(searched.rows, "row"),
            format::duration(searched.elapsed_nano)
        )
    })
}
