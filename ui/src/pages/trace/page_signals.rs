//! State that the parts of the page share: the trace, its log records, the state in the address,
//! and derived signals.
//!
//! Owns the derived signals (shown rows, window, matches, selection) and the actions that more than
//! one part offers. Each signal changes only with its own part of the state, so that a moved
//! selection does not rebuild the list of rows.

use std::{ops::Deref, sync::Arc, time::Duration};

use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*};
use tidings_proto::{
    TraceId,
    api::{LogSearchResult, SpanMatches, TransactionState},
};

use super::{
    find::{Matches, is_query},
    logs_index::LogIndex,
    model::TraceModel,
    scale::OffsetRange,
    trace_state::{Folds, SpanRef, SpanSelection, Tab, TraceState},
    visible_rows::{self, Row},
};
use crate::{api, browser, request_state::RequestState};

/// Delay between the last key press and a search of the server.
const SETTLE: Duration = Duration::from_millis(150);

/// A shared value that equals only itself, so that comparison is cheap.
#[derive(Debug)]
pub(crate) struct IdentityArc<T>(Arc<T>);

impl<T> IdentityArc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// Returns a number that differs between versions of the value while any of them is alive.
    pub(crate) fn version(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl<T> Clone for IdentityArc<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for IdentityArc<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for IdentityArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The page's signals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageSignals {
    pub(crate) id: TraceId,
    pub(crate) model: RwSignal<IdentityArc<TraceModel>>,
    pub(crate) state: RwSignal<TraceState>,
    pub(crate) records: RequestState<LogSearchResult>,
    pub(crate) logs: Memo<IdentityArc<LogIndex>>,
    pub(crate) selected: Memo<Option<u32>>,
    /// The time range of the bars.
    pub(crate) window: Memo<OffsetRange>,
    pub(crate) lines: Memo<IdentityArc<Vec<Row>>>,
    pub(crate) matches: Memo<IdentityArc<Matches>>,
    /// The matches that the server found.
    pub(crate) found: RequestState<SpanMatches>,
    pub(crate) critical_path: Memo<bool>,
    pub(crate) inline_logs: Memo<bool>,
    pub(crate) tab: Memo<Tab>,
    pub(crate) panel: Memo<bool>,
    /// True while the list of problems is open.
    pub(crate) problems_open: RwSignal<bool>,
    /// The event that the details show, until another span is selected.
    pub(crate) shown_event: Memo<Option<ShownEvent>>,
    /// The event that has the focus since the reader moved to it.
    pub(crate) reached_event: RwSignal<Option<ShownEvent>>,
}

/// An event that the reader moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShownEvent {
    pub(crate) span: SpanRef,
    /// Position among the events of its span.
    pub(crate) position: u32,
}

impl ShownEvent {
    fn from_state(state: &TraceState) -> Option<Self> {
        Some(Self { span: state.selected?, position: state.event? })
    }
}

/// Requests the server's matches of the text once the reader has stopped typing. Matches of another
/// text are dropped at once.
fn found_by_server(
    id: TraceId,
    model: RwSignal<IdentityArc<TraceModel>>,
    state: RwSignal<TraceState>,
    find: Memo<String>,
) -> RequestState<SpanMatches> {
    let settled = RwSignal::new(find.get_untracked());
    let is_adjusted = Memo::new(move |_| state.with(|state| state.adjust_clocks));
    let found = RequestState::new(move || {
        let text = settled.get();
        // Rows move while a trace is running.
        model.track();
        (!text.trim().is_empty()).then(|| api::find_spans(id, &text, is_adjusted.get()))
    });
    let waiting = StoredValue::new(None::<TimeoutHandle>);
    let stop = move || {
        if let Some(handle) = waiting.try_update_value(Option::take).flatten() {
            handle.clear();
        }
    };
    Effect::new(move |before: Option<String>| {
        let text = find.get();
        stop();
        if before.as_ref().is_some_and(|before| *before != text) {
            found.clear();
            let asked = text.clone();
            let settle = move || {
                settled.try_set(asked);
            };
            // A query is not sent while its braces are open.
            let is_whole = !is_query(&text) || text.trim_end().ends_with(['}', ')']);
            if is_whole || text.contains('|') {
                waiting.set_value(set_timeout_with_handle(settle, SETTLE).ok());
            }
        }
        text
    });
    on_cleanup(stop);
    found
}

impl PageSignals {
    pub(crate) fn new(
        id: TraceId,
        model: RwSignal<IdentityArc<TraceModel>>,
        state: RwSignal<TraceState>,
        records: RequestState<LogSearchResult>,
    ) -> Self {
        let answer = records.signal();
        let logs = Memo::new(move |_| {
            let logs = answer.with(|answer| {
                answer.as_ref().map(|answer| answer.logs.clone()).unwrap_or_default()
            });
            model.with(|model| IdentityArc::new(LogIndex::new(model, logs)))
        });
        let folds = Memo::new(move |_| state.with(|state| state.folds.clone()));
        let grouped = Memo::new(move |_| state.with(|state| state.group_repeats));
        let inline_logs = Memo::new(move |_| state.with(|state| state.inline_logs));
        let zoom = Memo::new(move |_| state.with(|state| state.zoom));
        let find = Memo::new(move |_| state.with(|state| state.find.clone()));
        let found = found_by_server(id, model, state, find);
        let matches = Memo::new(move |_| {
            let local = find.with(|find| {
                model.with(|model| logs.with(|logs| Matches::find(model, Some(logs), find)))
            });
            let len = model.with(|model| model.rows().end);
            IdentityArc::new(match found.value() {
                Some(found) => local.joined(&found.rows, len),
                None => local,
            })
        });
        let shown = Memo::new(move |_| state.with(|state| state.shown));
        let orphans = Memo::new(move |_| state.with(|state| state.orphans));
        let lines = Memo::new(move |_| {
            let inline = inline_logs.get().then(|| logs.get());
            // An empty selection shows all rows. The count beside it is "none".
            let wanted = match shown.get() {
                SpanSelection::All => Vec::new(),
                SpanSelection::Matches => matches.with(|matches| matches.rows().to_vec()),
                SpanSelection::Problems => model.with(|model| model.rows_with_problems()),
            };
            IdentityArc::new(model.with(|model| {
                let listed = if wanted.is_empty() {
                    folds.with(|folds| {
                        visible_rows::visible_rows(model, folds, grouped.get(), inline.as_deref())
                    })
                } else {
                    visible_rows::rows_of(model, &wanted, inline.as_deref())
                };
                if orphans.get() { listed } else { visible_rows::without_orphans(model, listed) }
            }))
        });
        let page = Self {
            id,
            model,
            state,
            records,
            logs,
            selected: Memo::new(move |_| {
                model.with(|model| state.with(|state| state.selected_row(model)))
            }),
            window: Memo::new(move |_| {
                let extent = model.with(|model| model.extent());
                zoom.get().map_or(extent, |zoom| zoom.kept_in(extent))
            }),
            lines,
            matches,
            found,
            critical_path: Memo::new(move |_| state.with(|state| state.critical_path)),
            inline_logs,
            tab: Memo::new(move |_| state.with(|state| state.tab)),
            panel: Memo::new(move |_| state.with(|state| state.panel)),
            problems_open: RwSignal::new(false),
            shown_event: Memo::new(move |_| state.with(ShownEvent::from_state)),
            reached_event: RwSignal::new(None),
        };
        page.jump_to_matches(find);
        page
    }

    /// Moves to the first match of a typed text as soon as one is known. Other views than the
    /// waterfall mark the matches where they are.
    fn jump_to_matches(self, find: Memo<String>) {
        let jumped = StoredValue::new(find.get_untracked());
        Effect::new(move |_| {
            let (text, rows) = (find.get(), self.matches.get());
            if self.tab.get_untracked() != Tab::Waterfall {
                jumped.set_value(text);
                return;
            }
            let first = rows.next(self.selected.get_untracked(), true);
            let Some(first) = first.filter(|_| jumped.with_value(|jumped| *jumped != text)) else {
                return;
            };
            jumped.set_value(text);
            let is_on_match = self.selected.get_untracked().is_some_and(|row| rows.contains(row));
            if !is_on_match {
                self.go_to(first);
            }
        });
    }

    pub(crate) fn is_running(&self) -> bool {
        self.model.with(|model| model.summary.state == TransactionState::Running)
    }

    /// Selects a shown row.
    pub(crate) fn select(self, row: u32) {
        self.model.with_untracked(|model| self.state.update(|state| state.select(model, row)));
    }

    /// Selects a clicked span. A phone has no key for the details, so they open.
    pub(crate) fn select_clicked(self, row: u32) {
        self.select(row);
        if browser::is_narrow() {
            self.state.update(|state| state.panel = true);
        }
    }

    /// Selects the span of an event, and shows the event in its details.
    pub(crate) fn show_event(self, event: u32) {
        let found = self.model.with_untracked(|model| model.events().get(event));
        let Some(found) = found else { return };
        self.model.with_untracked(|model| {
            self.state.update(|state| {
                state.select(model, found.row);
                state.event = Some(found.position);
                state.panel = true;
            });
        });
        self.reached_event.set(None);
    }

    /// Moves to the first event of the selected span, or to the one after the shown event.
    pub(crate) fn show_next_event(self) {
        let Some(row) = self.selected.get_untracked() else { return };
        let shown = self.shown_event.get_untracked().map(|shown| shown.position);
        let next = self.model.with_untracked(|model| model.events().next_of_row(row, shown));
        next.into_iter().for_each(|event| self.show_event(event));
    }

    /// Selects a row, unfolds its ancestors and shows it in the waterfall.
    pub(crate) fn go_to(self, row: u32) {
        self.model.with_untracked(|model| {
            self.state.update(|state| {
                state.select(model, row);
                state.folds.reveal(model, row);
                state.orphans |= model.orphans().any(|orphan| orphan.contains(&row));
                state.tab = Tab::Waterfall;
            });
        });
    }

    pub(crate) fn set_folded(self, row: u32, folded: bool) {
        self.model.with_untracked(|model| {
            self.state.update(|state| {
                state.folds.set_folded(model, row, folded);
                state.show_selected(model);
            });
        });
    }

    pub(crate) fn set_run_open(self, first: u32, open: bool) {
        self.model.with_untracked(|model| {
            self.state.update(|state| state.folds.set_run_open(model, first, open));
        });
    }

    pub(crate) fn toggle_path(self) {
        self.state.update(|state| state.critical_path = !state.critical_path);
    }

    pub(crate) fn toggle_logs(self) {
        self.state.update(|state| state.inline_logs = !state.inline_logs);
    }

    pub(crate) fn toggle_groups(self) {
        self.state.update(|state| state.group_repeats = !state.group_repeats);
    }

    /// Returns a function that reports whether the row matches the find text.
    pub(crate) fn finds(self, row: u32) -> impl Fn() -> bool + Send + Sync + 'static {
        move || self.matches.with(|matches| matches.contains(row))
    }

    /// Returns a function that reports whether the find text has matches, but none of these rows is
    /// one.
    pub(crate) fn misses(self, rows: Vec<u32>) -> impl Fn() -> bool + Send + Sync + 'static {
        move || self.matches.with(|matches| matches.misses(&rows))
    }

    /// Shows only these spans, or all again.
    pub(crate) fn toggle_shown(self, shown: SpanSelection) {
        self.state.update(|state| {
            state.shown = if state.shown == shown { SpanSelection::All } else { shown };
        });
    }

    pub(crate) fn toggle_panel(self) {
        self.state.update(|state| state.panel = !state.panel);
    }

    /// Undoes one step: the zoom, then the search text, then the open details.
    pub(crate) fn step_back(self) {
        self.state.update(|state| {
            if state.zoom.is_some() {
                state.zoom = None;
            } else if !state.find.is_empty() {
                state.find.clear();
            } else {
                state.panel = false;
            }
        });
    }

    /// Folds everything below the first level.
    pub(crate) fn fold_all(self) {
        self.model.with_untracked(|model| {
            self.state.update(|state| {
                state.folds = Folds::from_depth(1);
                state.show_selected(model);
            });
        });
    }

    pub(crate) fn unfold_all(self) {
        self.state.update(|state| state.folds = Folds::default());
    }

    pub(crate) fn is_folded(&self, row: u32) -> bool {
        self.model.with_untracked(|model| {
            self.state.with_untracked(|state| state.folds.is_folded(model, row))
        })
    }

    /// Zooms to `window`, or to the whole trace.
    pub(crate) fn zoom_to(self, window: Option<OffsetRange>) {
        let extent = self.model.with_untracked(|model| model.extent());
        let zoom = window.filter(|window| *window != extent);
        self.state.update(|state| state.zoom = zoom);
    }

    /// Scales the window's length by `factor`, around a fraction of it.
    pub(crate) fn zoom_by(self, fraction: f64, factor: f64) {
        let extent = self.model.with_untracked(|model| model.extent());
        self.zoom_to(Some(self.window.get_untracked().zoomed(fraction, factor, extent)));
    }

    /// Moves the window by a fraction of its length.
    pub(crate) fn pan_by(self, fraction: f64) {
        let extent = self.model.with_untracked(|model| model.extent());
        self.zoom_to(Some(self.window.get_untracked().panned(fraction, extent)));
    }

    /// Moves to the match after (or before) the selected row.
    pub(crate) fn go_to_match(self, forward: bool) {
        let from = self.selected.get_untracked();
        let next = self.matches.with_untracked(|matches| matches.next(from, forward));
        next.into_iter().for_each(|row| self.go_to(row));
    }

    /// Moves to the failed span after (or before) the selected row.
    pub(crate) fn go_to_error(self, forward: bool) {
        let from = self.selected.get_untracked();
        let next = self.model.with_untracked(|model| model.next_error(from, forward));
        next.into_iter().for_each(|row| self.go_to(row));
    }

    /// Moves the selection by this number of lines.
    pub(crate) fn move_by(self, lines: isize) {
        let selected = self.selected.get_untracked();
        let at = selected.and_then(|row| self.position_of(row));
        let next = self.lines.with_untracked(|all| {
            let mut at = match at {
                Some(at) => {
                    at.checked_add_signed(lines).unwrap_or(0).min(all.len().checked_sub(1)?)
                }
                None => 0,
            };
            // Lines of records, events and an open run's head belong to a span with its own line.
            let step = |at: usize| at.checked_add_signed(lines.signum());
            while Some(all.get(at)?.span()) == selected && !matches!(all[at], Row::Span(_)) {
                at = step(at)?;
            }
            all.get(at).map(|row| row.span())
        });
        next.into_iter().for_each(|row| self.select(row));
    }

    /// Action of the right arrow: unfolds a folded row, else selects its first child.
    pub(crate) fn open_selected(self) {
        let Some(row) = self.selected.get_untracked() else { return };
        if let Some(Row::Run { first, open: false }) = self.line_of(row) {
            self.set_run_open(first, true);
        } else if self.is_folded(row) {
            self.set_folded(row, false);
        } else if self.model.with_untracked(|model| model.descendants(row) > 0) {
            self.select(row + 1);
        }
    }

    /// Action of the left arrow: folds an unfolded row, else selects its parent.
    pub(crate) fn close_selected(self) {
        let Some(row) = self.selected.get_untracked() else { return };
        let has_below = self.model.with_untracked(|model| model.descendants(row) > 0);
        if matches!(self.line_of(row), Some(Row::Span(_))) && has_below && !self.is_folded(row) {
            self.set_folded(row, true);
        } else if let Some(above) = self.model.with_untracked(|model| model.parent(row)) {
            self.select(above);
        }
    }

    fn line_of(self, row: u32) -> Option<Row> {
        let at = self.position_of(row)?;
        self.lines.with_untracked(|lines| lines.get(at).copied())
    }

    /// Returns the index of the line of a span, or of the line that hides it.
    pub(crate) fn position_of(self, row: u32) -> Option<usize> {
        self.lines.with_untracked(|lines| {
            self.model.with_untracked(|model| visible_rows::position(model, lines, row))
        })
    }
}
