//! The window of a page of numbers, as two moments, and the window before it.
//!
//! A relative range is a pair of moments only at a certain time. [`LiveWindow`] fixes that time for
//! all requests of a page, so that their answers cover the same time range, and advances it while
//! the page is live. It does not advance while the page is hidden, while an answer is loading, and
//! while the reader points at a row or has the focus in the content, so that rows do not move.

use std::{rc::Rc, time::Duration};

use leptos::prelude::*;
use serde::de::DeserializeOwned;
use tidings_proto::UnixNanos;

use crate::{
    api::{Request, analysis::Analysis},
    browser,
    page_time::use_live,
    request_state::RequestState,
    url::{TimeRange, use_query},
};

/// Interval between two refreshes of a live page.
const REFRESH: Duration = Duration::from_secs(15);
/// Requests that assemble many traces are refreshed only at every such tick.
const SLOW_TICKS: u32 = 8;

/// A time range, fixed at a moment.
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

    /// Returns the range of the address.
    #[must_use]
    pub const fn range(self) -> TimeRange {
        self.range
    }

    /// Returns the moment at which the range was fixed.
    #[must_use]
    pub const fn now(self) -> UnixNanos {
        self.now
    }

    /// Returns an analysis of this window.
    #[must_use]
    pub fn analysis(self) -> Analysis {
        Analysis::within(self.range, self.now)
    }

    /// Returns start and end, or `None` for everything stored.
    #[must_use]
    pub fn bounds(self) -> Option<(UnixNanos, UnixNanos)> {
        let (start, end) = self.range.bounds(self.now);
        Some((start?, end.unwrap_or(self.now)))
    }

    /// Returns the window of the same length just before, or `None` for everything stored.
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

    /// Returns the length of the window before in words: `the hour before`.
    #[must_use]
    pub fn preceding_text(self) -> String {
        let Some((start, end)) = self.before() else { return "before".to_owned() };
        crate::format::time_before(end.since(start))
    }
}

/// Reports whether an answer is loading.
type IsPending = Rc<dyn Fn() -> bool>;

/// The window of the page's address, which advances while the page is live.
#[derive(Debug, Clone, Copy)]
pub struct LiveWindow {
    window: Memo<Window>,
    slow: Memo<Window>,
    pending: StoredValue<Vec<IsPending>, LocalStorage>,
}

impl LiveWindow {
    /// Follows the page's address and its live switch until the calling component is removed.
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
            range.track();
            slow_ticks.track();
            // The same moment, so that both windows have the same requests.
            window.get_untracked()
        });
        let pending = StoredValue::new_local(Vec::<IsPending>::new());
        let live = use_live();
        let tick = move || {
            let busy = pending.with_value(|pending| pending.iter().any(|is_pending| is_pending()));
            if live.get_untracked()
                && browser::is_page_visible()
                && !busy
                && !browser::is_reader_in_content()
            {
                ticks.update(|ticks| *ticks = ticks.wrapping_add(1));
            }
        };
        if let Ok(handle) = set_interval_with_handle(tick, REFRESH) {
            on_cleanup(move || handle.clear());
        }
        Self { window, slow, pending }
    }

    /// Returns the window as a signal.
    #[must_use]
    pub const fn signal(self) -> Memo<Window> {
        self.window
    }

    /// Returns the window of expensive requests, as a signal.
    #[must_use]
    pub const fn slow_signal(self) -> Memo<Window> {
        self.slow
    }

    /// Returns the window.
    #[must_use]
    pub fn get(self) -> Window {
        self.window.get()
    }

    /// Returns the window without tracking it.
    #[must_use]
    pub fn get_untracked(self) -> Window {
        self.window.get_untracked()
    }

    /// Sends the request of the window, now, whenever the window advances and whenever a signal
    /// that `request` reads changes.
    #[must_use]
    pub fn request<T: DeserializeOwned + Send + Sync + 'static>(
        self,
        request: impl Fn(Window) -> Option<Request<T>> + 'static,
    ) -> RequestState<T> {
        self.watch(RequestState::new(move || request(self.window.get())))
    }

    /// Same as [`Self::request`] but less often while the page is live, for expensive requests.
    #[must_use]
    pub fn request_slowly<T: DeserializeOwned + Send + Sync + 'static>(
        self,
        request: impl Fn(Window) -> Option<Request<T>> + 'static,
    ) -> RequestState<T> {
        self.watch(RequestState::new(move || request(self.slow.get())))
    }

    /// Keeps the window from advancing while this answer is loading.
    fn watch<T: DeserializeOwned + Send + Sync + 'static>(
        self,
        state: RequestState<T>,
    ) -> RequestState<T> {
        let is_pending: IsPending = Rc::new(move || untrack(|| state.pending()));
        self.pending.update_value(|pending| pending.push(is_pending));
        state
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
        assert_eq!(window.preceding_text(), "the hour before");
        let half = TimeRange::Between { from_unix_ms: 7_200_000, to_unix_ms: 9_000_000 };
        assert_eq!(Window::new(half, UnixNanos(0)).preceding_text(), "the 30 min before");
    }

    #[test]
    fn everything_stored_has_nothing_before() {
        let window = Window::new(TimeRange::All, UnixNanos(HOUR));
        assert_eq!((window.bounds(), window.before()), (None, None));
        let first = Window::new(TimeRange::Last { seconds: 3_600 }, UnixNanos(HOUR));
        assert_eq!(first.before(), None, "1970 has nothing before");
    }
}
