//! A live tail: log records as they arrive, above the found ones.
//!
//! Owns the stream and its bounded buffer of records. Records wait while the reader points at the
//! list or has a record open. Records that come faster than they can be drawn are skipped and
//! counted, so that the page answers its reader. A hidden tab receives nothing. When it is visible
//! again the tail restarts, and the search fills the gap. A tail needs a live page. When it ends, the
//! page is no longer live, and the shown records stay as they are.

use std::{collections::HashSet, sync::Arc, time::Duration};

use leptos::prelude::*;
use serde::Deserialize;
use tidings_proto::{
    UnixNanos,
    api::{LogView, ProblemDetails},
};

use crate::{
    api, browser, format,
    page_time::use_live,
    shortcuts::use_shortcuts,
    stream::{Connection, EventStream},
    url::{History, LogState, TimeRange, use_edit_query, use_query},
};

/// Maximum number of records that are kept: the newest.
const KEPT_MAX: usize = 1_000;
/// Maximum number of records that are drawn a second, after a burst of [`KEPT_MAX`]. A record takes
/// a slow machine a millisecond.
const DRAWN_PER_SECOND: u64 = 200;
/// Time from one drawing of the list to the next. Each takes as long as some 80 records.
const DRAW_INTERVAL: Duration = Duration::from_millis(400);
const EVENTS: [&str; 4] = ["log", "dropped", "end", "problem"];

/// State of the tail.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TailState {
    Off,
    Connecting,
    Open,
    /// The tab is hidden.
    Paused,
    /// The connection is lost. The browser reconnects.
    Broken,
    /// The server refused the request.
    Refused,
    /// The stream ended with a reason from the server.
    Failed(String),
}

impl TailState {
    /// Reports whether the stream is lost, refused or ended.
    fn is_broken(&self) -> bool {
        matches!(self, Self::Broken | Self::Refused | Self::Failed(_))
    }
}

/// The data of a `dropped` event.
#[derive(Deserialize)]
struct DroppedRecords {
    count: u64,
}

/// A token bucket of records to draw.
#[derive(Debug, Clone, Copy)]
struct DrawBudget {
    records: usize,
    /// Time of the last drawing.
    drawn_at: UnixNanos,
}

impl DrawBudget {
    const FULL: Self = Self { records: KEPT_MAX, drawn_at: UnixNanos(0) };

    fn elapsed(self, now: UnixNanos) -> Duration {
        Duration::from_nanos(now.0.saturating_sub(self.drawn_at.0))
    }

    /// Returns the time until the list may be drawn again.
    fn delay(self, now: UnixNanos) -> Duration {
        DRAW_INTERVAL.saturating_sub(self.elapsed(now))
    }

    /// Takes at most `wanted` records, and returns how many may be drawn.
    fn take(&mut self, wanted: usize, now: UnixNanos) -> usize {
        let refill = self.elapsed(now).as_millis() * u128::from(DRAWN_PER_SECOND) / 1_000;
        let refill = usize::try_from(refill).unwrap_or(KEPT_MAX);
        let available = self.records.saturating_add(refill).min(KEPT_MAX);
        let taken = wanted.min(available);
        *self = Self { records: available - taken, drawn_at: now };
        taken
    }
}

/// The tail of a page.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    on: Memo<bool>,
    held: Memo<bool>,
    state: RwSignal<TailState>,
    /// The shown records, newest first.
    records: RwSignal<Vec<LogView>>,
    /// Number of records shown since the tail began. Older ones may be gone from the list.
    shown: RwSignal<usize>,
    /// Received records that are not shown yet, oldest first.
    arrived: StoredValue<Vec<LogView>, LocalStorage>,
    /// Number of received records held back for the reader.
    waiting: RwSignal<usize>,
    /// True while a timer is set to show them.
    is_scheduled: StoredValue<bool, LocalStorage>,
    budget: StoredValue<DrawBudget, LocalStorage>,
    /// Number of records that the server or this page skipped.
    skipped: RwSignal<u64>,
    /// True when older records were dropped.
    is_truncated: RwSignal<bool>,
    restarts: RwSignal<u32>,
}

/// Reports whether the address asks for a tail. A fixed time range has none.
pub(super) fn use_tailing() -> Memo<bool> {
    let query = use_query();
    Memo::new(move |_| {
        query
            .with(|query| query.get("tail") == Some("on") && TimeRange::read(query).is_open_ended())
    })
}

impl Tail {
    /// Follows the records that match `list_query` while `on`. They wait while `held`. Calls
    /// `on_start` at every start.
    pub(super) fn new(
        on: Memo<bool>,
        list_query: Memo<LogState>,
        held: Memo<bool>,
        on_start: impl Fn() + 'static,
    ) -> Self {
        let tail = Self {
            on,
            held,
            state: RwSignal::new(TailState::Off),
            records: RwSignal::new(Vec::new()),
            shown: RwSignal::new(0),
            arrived: StoredValue::new_local(Vec::new()),
            waiting: RwSignal::new(0),
            is_scheduled: StoredValue::new_local(false),
            budget: StoredValue::new_local(DrawBudget::FULL),
            skipped: RwSignal::new(0),
            is_truncated: RwSignal::new(false),
            restarts: RwSignal::new(0),
        };
        let visible = RwSignal::new(browser::is_page_visible());
        let listener = window_event_listener_untyped("visibilitychange", move |_| {
            visible.set(browser::is_page_visible());
        });
        let stream = StoredValue::new_local(None::<EventStream>);
        let live = use_live();
        Effect::new(move |before: Option<LogState>| {
            tail.restarts.track();
            stream.set_value(None);
            let asked = list_query.get();
            // A list that no longer moves keeps what it shows.
            if on.get() || live.get() || before.as_ref() != Some(&asked) {
                tail.clear();
            } else {
                tail.show();
                tail.arrived.set_value(Vec::new());
            }
            match (on.get(), visible.get()) {
                (false, _) => tail.state.set(TailState::Off),
                (true, false) => tail.state.set(TailState::Paused),
                (true, true) => {
                    let opened = tail.open(&api::log_tail_address(&asked));
                    let state =
                        if opened.is_some() { TailState::Connecting } else { TailState::Refused };
                    tail.state.set(state);
                    stream.set_value(opened);
                    on_start();
                }
            }
            asked
        });
        Effect::new(move |_| {
            if !held.get() {
                tail.show();
            }
        });
        on_cleanup(move || {
            listener.remove();
            stream.try_update_value(Option::take);
        });
        tail
    }

    /// Returns the received records, followed by records of `found` that were not received. The
    /// latter are left out when older received records were dropped, because of the gap.
    pub(super) fn above(self, found: Memo<Arc<Vec<LogView>>>) -> Memo<Arc<Vec<LogView>>> {
        Memo::new(move |_| {
            let found = found.get();
            if self.records.with(Vec::is_empty) {
                return found;
            }
            let mut all = self.records.get();
            if !self.is_truncated.get() {
                let came: HashSet<String> = all.iter().map(|log| log.id.clone()).collect();
                all.extend(found.iter().filter(|log| !came.contains(&log.id)).cloned());
            }
            Arc::new(all)
        })
    }

    /// Reports whether the tail is on, or the list still shows its records.
    pub(super) fn is_shown(self) -> bool {
        self.on.get() || self.records.with(|records| !records.is_empty())
    }

    fn clear(self) {
        self.records.set(Vec::new());
        self.shown.set(0);
        self.arrived.set_value(Vec::new());
        self.waiting.set(0);
        self.skipped.set(0);
        self.is_truncated.set(false);
        self.budget.set_value(DrawBudget::FULL);
    }

    fn open(self, address: &str) -> Option<EventStream> {
        let heard = move |name: &'static str, data: &str| self.on_event(name, data);
        let changed = move |connection| {
            self.state.try_set(match connection {
                Connection::Open => TailState::Open,
                Connection::Broken => TailState::Broken,
                Connection::Refused => TailState::Refused,
            });
        };
        EventStream::open(address, &EVENTS, heard, changed)
    }

    fn on_event(self, name: &str, data: &str) {
        match name {
            "log" => {
                if let Ok(log) = serde_json::from_str(data) {
                    self.buffer(log);
                }
            }
            "dropped" => {
                if let Ok(DroppedRecords { count }) = serde_json::from_str(data) {
                    self.skip(count);
                }
            }
            "problem" => {
                if let Ok(problem) = serde_json::from_str::<ProblemDetails>(data) {
                    self.state.try_set(TailState::Failed(problem.detail));
                }
            }
            _ => {
                self.state.try_set(TailState::Broken);
            }
        }
    }

    fn skip(self, count: u64) {
        self.skipped.try_update(|skipped| *skipped = skipped.saturating_add(count));
    }

    /// Buffers a record until the list is drawn again. The oldest one gives way in a full buffer.
    fn buffer(self, log: LogView) {
        let more = self.arrived.try_update_value(|arrived| {
            arrived.push(log);
            let more = arrived.len().saturating_sub(KEPT_MAX);
            arrived.drain(..more);
            more
        });
        let is_held = self.held.try_get_untracked() != Some(false);
        match more.unwrap_or(0) {
            0 => {}
            _ if is_held => self.truncate(),
            more => self.skip(more as u64),
        }
        if self.is_scheduled.try_get_value() == Some(false) {
            self.is_scheduled.set_value(true);
            let show = move || {
                self.is_scheduled.try_update_value(|scheduled| *scheduled = false);
                self.show();
            };
            // A held list is not drawn. Only the number of waiting records changes.
            let delay = self.budget.with_value(|budget| budget.delay(browser::now()));
            set_timeout(show, if is_held { DRAW_INTERVAL } else { delay });
        }
    }

    /// Notes that older records are not kept. Readers of the signal are told once.
    fn truncate(self) {
        if self.is_truncated.try_get_untracked() == Some(false) {
            self.is_truncated.set(true);
        }
    }

    /// Shows the buffered records, unless the reader holds the list.
    fn show(self) {
        let Some(count) = self.arrived.try_update_value(|arrived| arrived.len()) else { return };
        if self.held.try_get_untracked() != Some(false) {
            self.waiting.try_set(count);
            return;
        }
        if count == 0 {
            return;
        }
        let mut arrived = self.arrived.try_update_value(std::mem::take).unwrap_or_default();
        let taken = self.budget.try_update_value(|budget| budget.take(count, browser::now()));
        let skipped = count - taken.unwrap_or(count);
        arrived.drain(..skipped);
        if skipped > 0 {
            self.skip(skipped as u64);
        }
        let added = self.records.try_update(|records| {
            let known: HashSet<&String> = records.iter().map(|log| &log.id).collect();
            let new = arrived.iter().rev().filter(|log| !known.contains(&log.id)).cloned();
            let new: Vec<LogView> = new.collect();
            let added = new.len();
            drop(records.splice(..0, new));
            added
        });
        self.shown.try_update(|shown| *shown += added.unwrap_or(0));
        if self.records.with_untracked(Vec::len) > KEPT_MAX {
            self.records.update(|records| records.truncate(KEPT_MAX));
            self.truncate();
        }
        self.waiting.try_set(0);
    }
}

/// The switch. It switches the live page with it: a tail of a page that is not live makes the page
/// live when it opens, and ends when the page stops being live.
#[component]
#[must_use]
pub fn TailToggle() -> impl IntoView {
    let query = use_query();
    let moves = Memo::new(move |_| query.with(|query| TimeRange::read(query).is_open_ended()));
    let (on, live) = (use_tailing(), use_live());
    let edit = use_edit_query();
    let align = edit.clone();
    Effect::new(move |before: Option<bool>| {
        let is_live = live.get();
        if on.get_untracked() && !is_live {
            let loser = if before.is_some() { "tail" } else { "live" };
            align(History::Replace, &|query| query.remove(loser));
        }
        is_live
    });
    let toggle = move || {
        let is_on = on.get_untracked();
        edit(History::Replace, &|query| {
            query.set("tail", (!is_on).then_some("on"));
            query.set("live", is_on.then_some("off"));
        });
    };
    let clicked = toggle.clone();
    use_shortcuts().bind("t", "Tail: records as they arrive", "Logs", toggle);
    let title = move || match (moves.get(), on.get()) {
        (false, _) => "A fixed time range does not move on",
        (true, true) => "Stop here: the list stays as it is",
        (true, false) => "Show records as they arrive. Live searches again every ten seconds.",
    };
    view! {
        <button
            class="button live"
            type="button"
            title=title
            aria-pressed=move || on.get().to_string()
            disabled=move || !moves.get()
            on:click=move |_| clicked()
        >
            <span class="live-dot" aria-hidden="true"></span>
            "Tail"
        </button>
    }
}

/// The state of the tail, and the number of records that are not shown.
#[component]
#[must_use]
pub fn TailNote(
    /// The tail.
    tail: Tail,
) -> impl IntoView {
    let words = move || match tail.state.get() {
        TailState::Off => String::new(),
        TailState::Connecting => "Opening the tail…".to_owned(),
        TailState::Paused => "The tail is paused while this tab is hidden".to_owned(),
        TailState::Broken => "The connection to the server is lost: trying again".to_owned(),
        TailState::Refused => "The server refuses the tail: too many may be open".to_owned(),
        TailState::Failed(reason) => format!("The tail ended: {reason}"),
        TailState::Open => match (tail.waiting.get(), tail.shown.get()) {
            (0, 0) => "Waiting for the next record".to_owned(),
            (0, shown) => format!("{} since the tail began", counted(shown)),
            (waiting, _) => format!("{} more while you read", counted(waiting)),
        },
    };
    let is_broken = move || tail.state.with(TailState::is_broken);
    let retry = move |_| tail.restarts.update(|restarts| *restarts = restarts.wrapping_add(1));
    let skipped = move || {
        let count = tail.skipped.get();
        let words = format!(
            "{} skipped: more came at once than are shown. Filter to see all.",
            format::counted(count, "record")
        );
        (count > 0).then(|| view! { <span class="tail-skipped">{words}</span> })
    };
    let full = move || {
        let words = format!("only the newest {} are kept", format::count(KEPT_MAX as u64));
        tail.is_truncated.get().then(|| view! { <span class="faint">{words}</span> })
    };
    view! {
        <Show when=move || tail.on.get()>
            <div class="tail-note" class:is-broken=is_broken role="status">
                <span>{words}</span>
                {skipped}
                {full}
                <Show when=is_broken>
                    <button class="button" type="button" on:click=retry>
                        "Try again"
                    </button>
                </Show>
            </div>
        </Show>
    }
}

fn counted(count: usize) -> String {
    format::counted(count as u64, "record")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> UnixNanos {
        UnixNanos(1_760_000_000_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn a_burst_is_drawn_whole_and_what_follows_at_a_rate() {
        let mut budget = DrawBudget::FULL;
        assert_eq!(budget.delay(at(0)), Duration::ZERO);
        assert_eq!(budget.take(KEPT_MAX, at(0)), KEPT_MAX);
        assert_eq!(budget.delay(at(50)), Duration::from_millis(350));
        let drawn = (1..=40).map(|step| budget.take(KEPT_MAX, at(step * 250)));
        assert_eq!(drawn.sum::<usize>() as u64, 10 * DRAWN_PER_SECOND);
        assert_eq!(budget.take(KEPT_MAX, at(1_000_000)), KEPT_MAX, "a pause fills it");
    }

    #[test]
    fn a_clock_that_goes_back_draws_no_more_than_one_that_stands() {
        let mut budget = DrawBudget::FULL;
        budget.take(KEPT_MAX, at(1_000));
        assert_eq!(budget.take(KEPT_MAX, at(0)), 0);
        assert_eq!(budget.delay(at(0)), DRAW_INTERVAL);
    }
}
