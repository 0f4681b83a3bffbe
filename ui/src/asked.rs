//! The time range that the panels of a page request, and the refresh of it.
//!
//! All panels of a page request one range that ends at one moment, so that their numbers agree. The
//! moment advances while the page is live and visible and no request is in progress.

use std::time::Duration;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{Searched, TimeWindow},
};

use crate::{
    api::analysis::Analysis,
    browser, format,
    shell::use_live,
    url::{TimeRange, use_query},
};

/// Interval at which a live page of numbers is refreshed.
const AGAIN_EVERY: Duration = Duration::from_secs(10);

/// A time range and the moment that it is relative to.
#[derive(Debug, Clone, Copy)]
pub struct AskedTime {
    asked: Memo<(TimeRange, UnixNanos)>,
    tick: RwSignal<u32>,
}

/// Returns the time range of the page's address. It is read again whenever the address changes.
#[must_use]
pub fn use_asked_time() -> AskedTime {
    let query = use_query();
    let range = Memo::new(move |_| query.with(TimeRange::read));
    let tick = RwSignal::new(0_u32);
    let asked = Memo::new(move |_| {
        tick.track();
        (range.get(), browser::now())
    });
    AskedTime { asked, tick }
}

impl AskedTime {
    /// An analysis of the time range.
    #[must_use]
    pub fn analysis(self) -> Analysis {
        let (range, now) = self.asked.get();
        Analysis::within(range, now)
    }

    /// The moment that the range is relative to.
    #[must_use]
    pub fn now(self) -> UnixNanos {
        self.asked.get().1
    }

    /// Refreshes the page now.
    pub fn refresh(self) {
        self.tick.update(|tick| *tick = tick.wrapping_add(1));
    }

    /// Refreshes every ten seconds while the page is live and `busy` is false. A refresh would
    /// abort a request in progress.
    pub fn refresh_while_live(self, busy: impl Fn() -> bool + 'static) {
        let live = use_live();
        let again = move || {
            if live.get_untracked() && browser::visible() && !untrack(&busy) {
                self.refresh();
            }
        };
        if let Ok(timer) = set_interval_with_handle(again, AGAIN_EVERY) {
            on_cleanup(move || timer.clear());
        }
    }
}

/// Returns the analysis of the time range of the same length that ends where a window starts.
#[must_use]
pub fn before(window: TimeWindow) -> Analysis {
    let length = window.end_unix_nano.since(window.start_unix_nano).0;
    let start = UnixNanos(window.start_unix_nano.0.saturating_sub(length));
    Analysis::between(start, window.start_unix_nano)
}

/// End of a note about a partial answer: a shorter range is read in full.
pub const SHORTER: &str = "A shorter range is read whole.";

/// Returns the words for a partial answer, or `None` when it is complete.
#[must_use]
pub fn incomplete(searched: &Searched) -> Option<String> {
    (!searched.complete).then(|| {
        format!(
            "Not all of this time could be read: {} in {} were looked at. {SHORTER}",
            format::counted(searched.rows, "row"),
            format::duration(searched.elapsed_nano)
        )
    })
}
