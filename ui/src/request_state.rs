//! State of an answer on a page: loading, loaded, or failed.
//!
//! A [`RequestState`] sends a new request whenever its query changes, and cancels the previous one.
//! It cancels everything when the page closes. The last answer stays visible until the next
//! arrives.

use std::{sync::Arc, time::Duration};

use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*, task::spawn_local};
use serde::de::DeserializeOwned;
use web_sys::AbortController;

use crate::api::{self, ApiError, Request, abort_controller};

/// The state of one request.
#[derive(Debug)]
pub struct RequestState<T: Send + Sync + 'static> {
    value: RwSignal<Option<Arc<T>>>,
    error: RwSignal<Option<ApiError>>,
    pending: RwSignal<bool>,
    revision: RwSignal<u32>,
    /// Received bytes of a large answer.
    received: RwSignal<usize>,
    reading: AnswerReading,
}

/// How an answer is read.
#[derive(Debug, Clone, Copy)]
enum AnswerReading {
    AtOnce,
    /// At once, with a deadline after which the server counts as unreachable.
    Within(Duration),
    /// In chunks, with a count of bytes.
    Large,
    /// After events, whose data the callback gets.
    AfterProgress(Callback<String>),
}

impl<T: Send + Sync + 'static> Clone for RequestState<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for RequestState<T> {}

impl<T: DeserializeOwned + Send + Sync + 'static> RequestState<T> {
    /// Sends `request`, now and whenever a signal that it reads changes. It sends nothing while
    /// `request` returns `None`.
    #[must_use]
    pub fn new(request: impl Fn() -> Option<Request<T>> + 'static) -> Self {
        Self::with_reading(request, AnswerReading::AtOnce)
    }

    /// Same as [`Self::new`] for an answer that takes milliseconds. After `deadline` the request is
    /// aborted. The server counts as unreachable if it answered no other request meanwhile: a
    /// browser queues requests while six others of its page wait.
    #[must_use]
    pub fn with_deadline(
        request: impl Fn() -> Option<Request<T>> + 'static,
        deadline: Duration,
    ) -> Self {
        Self::with_reading(request, AnswerReading::Within(deadline))
    }

    /// Same as [`Self::new`] for an answer that may be large. [`Self::received`] returns its
    /// received bytes.
    #[must_use]
    pub fn large(request: impl Fn() -> Option<Request<T>> + 'static) -> Self {
        Self::with_reading(request, AnswerReading::Large)
    }

    /// Same as [`Self::new`] for a slow answer. `on_progress` gets the server's progress events.
    #[must_use]
    pub fn with_progress(
        request: impl Fn() -> Option<Request<T>> + 'static,
        on_progress: Callback<String>,
    ) -> Self {
        Self::with_reading(request, AnswerReading::AfterProgress(on_progress))
    }

    fn with_reading(
        request: impl Fn() -> Option<Request<T>> + 'static,
        reading: AnswerReading,
    ) -> Self {
        let state = Self {
            value: RwSignal::new(None),
            error: RwSignal::new(None),
            pending: RwSignal::new(false),
            revision: RwSignal::new(0),
            received: RwSignal::new(0),
            reading,
        };
        let running = StoredValue::new_local(None::<AbortController>);
        let abort = move || {
            running.try_update_value(|running| {
                if let Some(running) = running.take() {
                    running.abort();
                }
            });
        };
        Effect::new(move |_| {
            state.revision.track();
            abort();
            match request() {
                Some(request) => state.send(request, running),
                // The answer of an aborted request never arrives.
                None => state.pending.set(false),
            }
        });
        on_cleanup(abort);
        state
    }

    fn send(
        self,
        request: Request<T>,
        running: StoredValue<Option<AbortController>, LocalStorage>,
    ) {
        let controller = abort_controller();
        let signal = controller.as_ref().map(AbortController::signal);
        let timer = self.start_deadline(controller.clone());
        running.set_value(controller);
        self.pending.set(true);
        self.received.set(0);
        spawn_local(async move {
            let answer = match self.reading {
                AnswerReading::AtOnce | AnswerReading::Within(_) => {
                    request.send(signal.as_ref()).await
                }
                AnswerReading::Large => {
                    let on_progress = |bytes| {
                        self.received.try_set(bytes);
                    };
                    request.download(signal.as_ref(), on_progress).await
                }
                AnswerReading::AfterProgress(on_progress) => {
                    let on_progress = |_: &str, data: &str| on_progress.run(data.to_owned());
                    request.send_streaming(signal.as_ref(), on_progress).await
                }
            };
            if let Some(timer) = timer {
                timer.clear();
            }
            if signal.is_some_and(|signal| signal.aborted()) {
                return;
            }
            // The page and its signals may have been removed by now.
            match answer {
                Ok(value) => {
                    self.error.try_set(None);
                    self.value.try_set(Some(Arc::new(value)));
                }
                Err(ApiError::Aborted) => {}
                Err(error) => {
                    self.error.try_set(Some(error));
                }
            }
            self.pending.try_set(false);
        });
    }

    /// Starts the timer of a deadline, which ends the request as one without an answer.
    fn start_deadline(self, controller: Option<AbortController>) -> Option<TimeoutHandle> {
        let AnswerReading::Within(deadline) = self.reading else { return None };
        let controller = controller?;
        let answers_before = api::answer_count();
        let end = move || {
            // A newer request has replaced an aborted one.
            if !controller.signal().aborted() {
                controller.abort();
                if api::answer_count() == answers_before {
                    self.error.try_set(Some(ApiError::Unreachable));
                }
                self.pending.try_set(false);
            }
        };
        set_timeout_with_handle(end, deadline).ok()
    }
}

impl<T: Send + Sync + 'static> RequestState<T> {
    /// Returns the last answer.
    #[must_use]
    pub fn value(self) -> Option<Arc<T>> {
        self.value.get()
    }

    /// Returns the last answer as a signal, for effects.
    #[must_use]
    pub fn signal(self) -> ReadSignal<Option<Arc<T>>> {
        self.value.read_only()
    }

    /// Returns the error of the last request, if it failed.
    #[must_use]
    pub fn error(self) -> Option<ApiError> {
        self.error.get()
    }

    /// Reports whether a request is running.
    #[must_use]
    pub fn pending(self) -> bool {
        self.pending.get()
    }

    /// Returns the received bytes of a large answer; 0 before the first.
    #[must_use]
    pub fn received(self) -> usize {
        self.received.get()
    }

    /// Reports whether there is neither an answer nor an error yet.
    #[must_use]
    pub fn loading(self) -> bool {
        self.value.with(Option::is_none) && self.error.with(Option::is_none)
    }

    /// Drops the last answer and its error, so that a different query starts in the loading state.
    pub fn clear(self) {
        self.value.set(None);
        self.error.set(None);
    }

    /// Sends the request again.
    pub fn refresh(self) {
        self.revision.update(|revision| *revision = revision.wrapping_add(1));
    }

    /// Sends the request again unless one is in progress, for timers.
    pub fn refresh_when_idle(self) {
        if !self.pending.get_untracked() {
            self.refresh();
        }
    }
}

/// The state of a request whose last answer counts only for its own key: the attribute of listed
/// values, or the words of a search.
#[derive(Debug)]
pub struct KeyedRequestState<T: Send + Sync + 'static> {
    /// Key of the last request.
    key: RwSignal<Option<String>>,
    state: RequestState<T>,
}

impl<T: Send + Sync + 'static> Clone for KeyedRequestState<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for KeyedRequestState<T> {}

impl<T: DeserializeOwned + Send + Sync + 'static> KeyedRequestState<T> {
    /// Sends a request with its key as [`RequestState::new`] does. A request with another key drops
    /// the last answer.
    #[must_use]
    pub fn new(keyed_request: impl Fn() -> Option<(String, Request<T>)> + 'static) -> Self {
        let key = RwSignal::new(None::<String>);
        let sender = StoredValue::new(None::<RequestState<T>>);
        let state = RequestState::new(move || {
            let (new_key, request) = keyed_request()?;
            if key.with_untracked(|key| key.as_ref() != Some(&new_key)) {
                // The earlier request is aborted by now, so that its answer no longer arrives.
                if let Some(state) = sender.get_value() {
                    state.clear();
                }
                key.set(Some(new_key));
            }
            Some(request)
        });
        sender.set_value(Some(state));
        Self { key, state }
    }
}

impl<T: Send + Sync + 'static> KeyedRequestState<T> {
    /// Returns the last answer, if the last request had this key.
    #[must_use]
    pub fn value_for(self, key: &str) -> Option<Arc<T>> {
        let has_key = self.key.with(|last| last.as_deref() == Some(key));
        self.state.value().filter(|_| has_key)
    }
}
