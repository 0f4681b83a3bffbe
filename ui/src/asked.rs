//! The stretch of time that the panels of a page ask about, and when they ask again.
//!
//! All panels of a page ask about one stretch that ends at one moment, so that their numbers agree.
//! The moment moves on while the page is live, visible, and no question is under way.

use std::time::Duration;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{BaselineState, ChangeReport, Searched, TimeWindow},
};

use crate::{
    api::analysis::Analysis,
    browser, format,
    remote::Remote,
    shell::use_live,
    url::{TimeRange, use_query},
};

/// How often a page of numbers asks again.
const AGAIN_EVERY: Duration = Duration::from_secs(10);

/// A range and the moment it is taken at.
#[derive(Debug, Clone, Copy)]
pub struct AskedTime {
    asked: Memo<(TimeRange, UnixNanos)>,
    tick: RwSignal<u32>,
}

/// Returns the time of the page's address, taken anew whenever it changes.
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
    /// An analysis of the stretch.
    #[must_use]
    pub fn analysis(self) -> Analysis {
        let (range, now) = self.asked.get();
        Analysis::within(range, now)
    }

    /// The moment.
    #[must_use]
    pub fn now(self) -> UnixNanos {
        self.asked.get().1
    }

    /// Asks again now.
    pub fn refresh(self) {
        self.tick.update(|tick| *tick = tick.wrapping_add(1));
    }

    /// Asks again every ten seconds while the page is live and nothing is `busy`: a question under
    /// way would be given up for the next one.
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

/// Returns the analysis of the stretch that ends where a window begins and is as long.
#[must_use]
pub fn before(window: TimeWindow) -> Analysis {
    let length = window.end_unix_nano.since(window.start_unix_nano).0;
    let start = UnixNanos(window.start_unix_nano.0.saturating_sub(length));
    Analysis::between(start, window.start_unix_nano)
}

/// Tells whether there is data of the time before to compare with; false while it is asked for.
#[must_use]
pub fn has_baseline(report: Remote<ChangeReport>) -> bool {
    !report.loading()
        && report.value().is_none_or(|report| report.baseline.state != BaselineState::Empty)
}

/// End of the words about a part of a range: the way to read the rest is a shorter one.
pub const SHORTER: &str = "A shorter range is read whole.";

/// Says that an answer is of a part of what was asked, when it is.
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
