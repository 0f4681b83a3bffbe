//! The window that a page of numbers looks at, as two moments, and the window before it.
//!
//! A relative range is a pair of moments only at a certain time. [`LiveWindow`] fixes that time for
//! all questions of a page, so that their answers are about the same stretch, and moves it on while
//! the page is live. It holds still while the page is hidden, while an answer is on its way, and
//! while the reader points at a row or has the focus in the content: rows then stay where they are.

use std::{rc::Rc, time::Duration};

use leptos::prelude::*;
use serde::de::DeserializeOwned;
use tidings_proto::UnixNanos;

use crate::{
    api::{Request, analysis::Analysis},
    browser,
    remote::Remote,
    shell::use_live,
    url::{TimeRange, use_query},
};

/// Time between two questions of a live page.
const REFRESH: Duration = Duration::from_secs(15);
/// Questions that put many traces together are asked again only every so many times.
const SLOW_TICKS: u32 = 8;

/// A stretch of time, fixed at the moment it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    range: TimeRange,
    now: UnixNanos,
}

impl Window {
    /// Fixes a range at a moment.
    #[must_use]
    pub const fn new(range: TimeRange, now: UnixNanos) -> Self {
        Self { range, now }
    }

    /// The range as the address has it.
    #[must_use]
    pub const fn range(self) -> TimeRange {
        self.range
    }

    /// The moment at which the range is looked at.
    #[must_use]
    pub const fn now(self) -> UnixNanos {
        self.now
    }

    /// Returns an analysis of this window.
    #[must_use]
    pub fn analysis(self) -> Analysis {
        Analysis::within(self.range, self.now)
    }

    /// Begin and end; `None` when everything stored is looked at.
    #[must_use]
    pub fn bounds(self) -> Option<(UnixNanos, UnixNanos)> {
        let (start, end) = self.range.bounds(self.now);
        Some((start?, end.unwrap_or(self.now)))
    }

    /// The window of the same length just before; `None` when everything stored is looked at.
    #[must_use]
    pub fn before(self) -> Option<(UnixNanos, UnixNanos)> {
        let (start, end) = self.bounds()?;
        let length = end.since(start).0;
        let earlier = UnixNanos(start.0.checked_sub(length)?);
        (length > 0).then_some((earlier, start))
    }

    /// Returns an analysis of the window before.
    #[must_use]
    pub fn analysis_before(self) -> Option<Analysis> {
        self.before().map(|(start, end)| Analysis::between(start, end))
    }

    /// The length of the window before in words: `the hour before`.
    #[must_use]
    pub fn before_words(self) -> String {
        let Some((start, end)) = self.before() else { return "before".to_owned() };
        crate::format::time_before(end.since(start))
    }
}

/// Tells whether an answer is on its way.
type IsPending = Rc<dyn Fn() -> bool>;

/// The window of the page's address, moving on while the page is live.
#[derive(Debug, Clone, Copy)]
pub struct LiveWindow {
    window: Memo<Window>,
    slow: Memo<Window>,
    pending: StoredValue<Vec<IsPending>, LocalStorage>,
}

impl LiveWindow {
    /// Follows the page's address and its live switch until the calling component goes away.
    #[must_use]
    pub fn follow() -> Self {
        let query = use_query();
        let range = Memo::new(move |_| query.with(TimeRange::read));
        let ticks = RwSignal::new(0_u32);
        let window = Memo::new(move |_| {
            ticks.track();
            Window::new(range.get(), browser::now())
        });
        let slow_ticks = Memo::new(move |_| ticks.get() / SLOW_TICKS);
        let slow = Memo::new(move |_| {
            slow_ticks.track();
            Window::new(range.get(), browser::now())
        });
        let pending = StoredValue::new_local(Vec::<IsPending>::new());
        let live = use_live();
        let tick = move || {
            let busy = pending.with_value(|pending| pending.iter().any(|is_pending| is_pending()));
            if live.get_untracked() && browser::visible() && !busy && !browser::reading() {
                ticks.update(|ticks| *ticks = ticks.wrapping_add(1));
            }
        };
        if let Ok(handle) = set_interval_with_handle(tick, REFRESH) {
            on_cleanup(move || handle.clear());
        }
        Self { window, slow, pending }
    }

    /// The window as a signal.
    #[must_use]
    pub const fn signal(self) -> Memo<Window> {
        self.window
    }

    /// The window of questions that cost the server much, as a signal.
    #[must_use]
    pub const fn slow_signal(self) -> Memo<Window> {
        self.slow
    }

    /// The window.
    #[must_use]
    pub fn get(self) -> Window {
        self.window.get()
    }

    /// The window, without following it.
    #[must_use]
    pub fn get_untracked(self) -> Window {
        self.window.get_untracked()
    }

    /// Asks about the window, now, whenever it moves and whenever a signal that `request` reads
    /// changes.
    #[must_use]
    pub fn ask<T: DeserializeOwned + Send + Sync + 'static>(
        self,
        request: impl Fn(Window) -> Option<Request<T>> + 'static,
    ) -> Remote<T> {
        self.watch(Remote::new(move || request(self.window.get())))
    }

    /// Asks about the window as [`Self::ask`] does, less often while the page is live: for
    /// questions that cost the server much.
    #[must_use]
    pub fn ask_slowly<T: DeserializeOwned + Send + Sync + 'static>(
        self,
        request: impl Fn(Window) -> Option<Request<T>> + 'static,
    ) -> Remote<T> {
        self.watch(Remote::new(move || request(self.slow.get())))
    }

    /// Lets the window wait for an answer that is on its way.
    fn watch<T: DeserializeOwned + Send + Sync + 'static>(self, remote: Remote<T>) -> Remote<T> {
        let is_pending: IsPending = Rc::new(move || untrack(|| remote.pending()));
        self.pending.update_value(|pending| pending.push(is_pending));
        remote
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::Window;
    use crate::url::TimeRange;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn the_window_before_is_as_long_and_ends_where_this_one_begins() {
        let window = Window::new(TimeRange::Last { seconds: 3_600 }, UnixNanos(10 * HOUR));
        assert_eq!(window.bounds(), Some((UnixNanos(9 * HOUR), UnixNanos(10 * HOUR))));
        assert_eq!(window.before(), Some((UnixNanos(8 * HOUR), UnixNanos(9 * HOUR))));
        assert_eq!(window.before_words(), "the hour before");
        let half = TimeRange::Between { from_unix_ms: 7_200_000, to_unix_ms: 9_000_000 };
        assert_eq!(Window::new(half, UnixNanos(0)).before_words(), "the 30 min before");
    }

    #[test]
    fn everything_stored_has_nothing_before() {
        let window = Window::new(TimeRange::All, UnixNanos(HOUR));
        assert_eq!((window.bounds(), window.before()), (None, None));
        let first = Window::new(TimeRange::Last { seconds: 3_600 }, UnixNanos(HOUR));
        assert_eq!(first.before(), None, "1970 has nothing before");
    }
}
