//! State of an answer on a page: loading, loaded, or failed.
//!
//! A [`Remote`] sends a new request whenever its query changes, and cancels the previous one. It
//! cancels everything when the page closes. The last answer stays visible until the next arrives.

use std::sync::Arc;

use leptos::{prelude::*, task::spawn_local};
use serde::de::DeserializeOwned;
use web_sys::AbortController;

use crate::api::{ApiError, Request, abort_controller};

/// The state of one request.
#[derive(Debug)]
pub struct Remote<T: Send + Sync + 'static> {
    value: RwSignal<Option<Arc<T>>>,
    error: RwSignal<Option<ApiError>>,
    pending: RwSignal<bool>,
    asked: RwSignal<u32>,
    /// Received bytes of a large answer.
    received: RwSignal<usize>,
    reading: AnswerReading,
}

/// How an answer is read.
#[derive(Debug, Clone, Copy)]
enum AnswerReading {
    AtOnce,
    /// In chunks, with a count of bytes.
    Large,
    /// After events, whose data the callback gets.
    AfterProgress(Callback<String>),
}

impl<T: Send + Sync + 'static> Clone for Remote<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Remote<T> {}

impl<T: DeserializeOwned + Send + Sync + 'static> Remote<T> {
    /// Sends `request`, now and whenever a signal that it reads changes. It sends nothing while
    /// `request` returns `None`.
    #[must_use]
    pub fn new(request: impl Fn() -> Option<Request<T>> + 'static) -> Self {
        Self::asking(request, AnswerReading::AtOnce)
    }

    /// Same as [`Self::new`] for an answer that may be large. [`Self::received`] returns its
    /// received bytes.
    #[must_use]
    pub fn large(request: impl Fn() -> Option<Request<T>> + 'static) -> Self {
        Self::asking(request, AnswerReading::Large)
    }

    /// Same as [`Self::new`] for a slow answer. `hear` gets the server's progress events.
    #[must_use]
    pub fn followed(
        request: impl Fn() -> Option<Request<T>> + 'static,
        hear: Callback<String>,
    ) -> Self {
        Self::asking(request, AnswerReading::AfterProgress(hear))
    }

    fn asking(request: impl Fn() -> Option<Request<T>> + 'static, reading: AnswerReading) -> Self {
        let remote = Self {
            value: RwSignal::new(None),
            error: RwSignal::new(None),
            pending: RwSignal::new(false),
            asked: RwSignal::new(0),
            received: RwSignal::new(0),
            reading,
        };
        let running = StoredValue::new_local(None::<AbortController>);
        let give_up = move || {
            running.try_update_value(|running| {
                if let Some(running) = running.take() {
                    running.abort();
                }
            });
        };
        Effect::new(move |_| {
            remote.asked.track();
            give_up();
            match request() {
                Some(request) => remote.ask(request, running),
                None => remote.pending.set(false),
            }
        });
        on_cleanup(give_up);
        remote
    }

    fn ask(self, request: Request<T>, running: StoredValue<Option<AbortController>, LocalStorage>) {
        let controller = abort_controller();
        let signal = controller.as_ref().map(AbortController::signal);
        running.set_value(controller);
        self.pending.set(true);
        self.received.set(0);
        spawn_local(async move {
            let answer = match self.reading {
                AnswerReading::AtOnce => request.send(signal.as_ref()).await,
                AnswerReading::Large => {
                    let hear = |bytes| {
                        self.received.try_set(bytes);
                    };
                    request.download(signal.as_ref(), hear).await
                }
                AnswerReading::AfterProgress(hear) => {
                    let hear = |_: &str, data: &str| hear.run(data.to_owned());
                    request.follow(signal.as_ref(), hear).await
                }
            };
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
}

impl<T: Send + Sync + 'static> Remote<T> {
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
    pub fn forget(self) {
        self.value.set(None);
        self.error.set(None);
    }

    /// Drops the last answer and keeps the error of a newer request.
    pub fn forget_value(self) {
        self.value.set(None);
    }

    /// Sends the request again.
    pub fn refresh(self) {
        self.asked.update(|asked| *asked = asked.wrapping_add(1));
    }

    /// Sends the request again unless one is in progress, for timers.
    pub fn refresh_when_idle(self) {
        if !self.pending.get_untracked() {
            self.refresh();
        }
    }
}
