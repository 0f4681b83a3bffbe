//! The newest page. Its request reports the first rows and the progress before the answer.

use std::sync::Arc;

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::{UnixNanos, api::SearchProgress};
use web_sys::AbortController;

use super::{ListPage, PageRequest};
use crate::{
    api::{ApiError, Request, abort_controller},
    browser,
};

/// The state of a search.
#[derive(Debug)]
pub(super) struct Search<T: ListPage> {
    value: RwSignal<Option<Arc<T>>>,
    /// The first rows of an answer that is still in progress.
    first: RwSignal<Vec<T::ListRow>>,
    error: RwSignal<Option<ApiError>>,
    /// Progress of the search, also after it ended without an answer; `None` for a fast one.
    progress: RwSignal<Option<SearchProgress>>,
    pending: RwSignal<bool>,
    /// True when the answer belongs to an earlier query.
    stale: RwSignal<bool>,
    /// True when the reader stopped the search.
    stopped: RwSignal<bool>,
    revision: RwSignal<u32>,
    /// The moment of the request.
    requested_at: StoredValue<UnixNanos>,
    running: StoredValue<Option<AbortController>, LocalStorage>,
}

impl<T: ListPage> Clone for Search<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ListPage> Copy for Search<T> {}

impl<T: ListPage> Search<T> {
    /// Sends the request of `list_query`, now and whenever the query changes.
    pub(super) fn new<Q>(list_query: Memo<Q>, page_request: PageRequest<T, Q>) -> Self
    where
        Q: Clone + PartialEq + Send + Sync + 'static,
    {
        let search = Self {
            value: RwSignal::new(None),
            first: RwSignal::new(Vec::new()),
            error: RwSignal::new(None),
            progress: RwSignal::new(None),
            pending: RwSignal::new(false),
            stale: RwSignal::new(false),
            stopped: RwSignal::new(false),
            revision: RwSignal::new(0),
            requested_at: StoredValue::new(UnixNanos(0)),
            running: StoredValue::new_local(None),
        };
        Effect::new(move |before: Option<Q>| {
            search.revision.track();
            let list_query = list_query.get();
            search.abort();
            if before.as_ref() != Some(&list_query) {
                search.stale.set(true);
                search.clear_first_rows();
            }
            let now = browser::now();
            search.requested_at.set_value(now);
            search.send(page_request(&list_query, now, None));
            list_query
        });
        on_cleanup(move || search.abort());
        search
    }

    fn send(self, request: Request<T>) {
        let controller = abort_controller();
        let signal = controller.as_ref().map(AbortController::signal);
        self.running.set_value(controller);
        self.stopped.set(false);
        self.pending.set(true);
        spawn_local(async move {
            let is_aborted = || signal.as_ref().is_some_and(web_sys::AbortSignal::aborted);
            let on_event = |name: &str, data: &str| {
                if !is_aborted() {
                    self.on_event(name, data);
                }
            };
            let answer = request.send_streaming(signal.as_ref(), on_event).await;
            if !is_aborted() {
                self.end(answer);
            }
        });
    }

    /// Processes an event. The page and its signals may have been removed by now.
    fn on_event(self, name: &str, data: &str) {
        // The shown answer belongs to this query. It stays until there is a newer one.
        if self.is_answered() {
            return;
        }
        if name == "progress" {
            if let Ok(progress) = serde_json::from_str(data) {
                self.progress.try_set(Some(progress));
            }
        } else if let Some(rows) = T::rows(name, data) {
            self.value.try_set(None);
            self.error.try_set(None);
            self.first.try_update(|first| first.extend(rows));
        }
    }

    fn end(self, answer: Result<T, ApiError>) {
        match answer {
            Ok(value) => {
                self.error.try_set(None);
                self.value.try_set(Some(Arc::new(value)));
                self.clear_first_rows();
            }
            Err(ApiError::Aborted) => {}
            Err(error) => {
                self.error.try_set(Some(error));
                self.drop_stale();
            }
        }
        self.stale.try_set(false);
        self.pending.try_set(false);
    }

    /// Drops rows of another query.
    fn drop_stale(self) {
        if self.stale.try_get_untracked() == Some(true) {
            self.value.try_set(None);
        }
    }

    fn clear_first_rows(self) {
        self.first.try_update(|first| {
            if !first.is_empty() {
                first.clear();
            }
        });
        self.progress.try_set(None);
    }

    fn abort(self) {
        self.running.try_update_value(|running| {
            if let Some(running) = running.take() {
                running.abort();
            }
        });
    }

    fn is_answered(self) -> bool {
        let is_there = self.value.try_with_untracked(Option::is_some) == Some(true);
        is_there && self.stale.try_get_untracked() == Some(false)
    }

    /// Stops the search. Rows that were found so far stay.
    pub(super) fn stop(self) {
        if self.pending.get_untracked() && !self.is_answered() {
            self.abort();
            self.pending.set(false);
            self.drop_stale();
            self.stale.set(false);
            self.stopped.set(true);
        }
    }

    /// Sends the request again.
    pub(super) fn refresh(self) {
        if !self.is_answered() {
            self.clear_first_rows();
        }
        self.revision.update(|revision| *revision = revision.wrapping_add(1));
    }

    /// Sends the request again unless a search is in progress, was stopped, or would end as the
    /// last one did.
    pub(super) fn refresh_when_idle(self) {
        let is_hopeless = self
            .error
            .with_untracked(|error| error.as_ref().is_some_and(|error| !error.is_transient()));
        if !self.pending.get_untracked() && !self.stopped.get_untracked() && !is_hopeless {
            self.refresh();
        }
    }

    /// The last answer.
    pub(super) fn value(self) -> Option<Arc<T>> {
        self.value.get()
    }

    /// The known rows: those of the answer, or the first ones of an answer in progress.
    pub(super) fn rows(self) -> Vec<T::ListRow> {
        let value = self.value.get().map(|value| value.items().to_vec());
        value.unwrap_or_else(|| self.first.get())
    }

    /// The error of the last request, if it failed.
    pub(super) fn error(self) -> Option<ApiError> {
        self.error.get()
    }

    /// Reports whether the shown answer belongs to an earlier query.
    pub(super) fn stale(self) -> bool {
        self.stale.get() && self.value.with(Option::is_some)
    }

    /// Reports whether there is neither an answer nor an error yet.
    pub(super) fn loading(self) -> bool {
        self.pending.get()
            && self.value.with(Option::is_none)
            && self.error.with(Option::is_none)
            && self.first.with(Vec::is_empty)
    }

    /// Progress of a slow search, also after it ended without an answer.
    pub(super) fn progress(self) -> Option<SearchProgress> {
        self.progress.get()
    }

    /// Reports whether the reader stopped the search.
    pub(super) fn stopped(self) -> bool {
        self.stopped.get()
    }

    /// The moment at which the newest page was requested.
    pub(super) fn requested_at(self) -> UnixNanos {
        self.requested_at.get_value()
    }
}
