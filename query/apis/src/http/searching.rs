//! Searches that may take a while. The response is JSON at the end, or a stream of [server-sent
//! events](super::event_stream) with progress and then the same answer.
//!
//! The search runs in a task that the response body owns. It is cancelled when the client
//! disconnects. It runs to its end when the client only pauses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::HeaderMap;
use axum::{body::Bytes, response::Response};
use serde::Serialize;
use tidings_proto::{
    DurationNanos,
    api::{FoundTraces, SearchProgress},
};
use tidings_query::{
    Admission, Progress, QueryError, QueryOrigin, QueryService, UnreadReservation, defect,
};
use tokio::task::JoinSet;

use super::{
    encoding,
    event_stream::{EVENT_STREAM, StreamStep, event, events},
    problem,
    unread_budget::UnreadBudget,
};

/// Interval between two progress events. An error that is known before the first event has a status
/// of its own.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// An event, and the bytes reserved for it until the connection has taken it.
type EncodedEvent = (String, UnreadReservation);

/// Task that runs a search independently of the body. A body is not polled while its client does
/// not read, and the permits must not wait for that.
pub(super) struct SearchTask<T>(JoinSet<Result<T, QueryError>>);

impl<T: Send + 'static> SearchTask<T> {
    /// Starts a search, which is cancelled when the task is dropped.
    pub(super) fn start(
        question: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Self {
        let mut task = JoinSet::new();
        task.spawn(QueryOrigin::propagate(QueryOrigin::current(), question));
        Self(task)
    }

    /// Waits for the answer. A call that is dropped takes nothing.
    pub(super) async fn answer(&mut self) -> Result<T, QueryError> {
        match self.0.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(lost)) => Err(defect(&lost)),
            None => Err(defect(&"its answer was taken before")),
        }
    }
}

/// Runs the search `ask` and answers in the form that the client accepts.
pub(super) async fn answer<T, F>(
    service: QueryService,
    room: UnreadBudget,
    headers: &HeaderMap,
    ask: impl FnOnce(QueryService) -> F,
) -> Result<Response, QueryError>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, QueryError>> + Send + 'static,
{
    let (asking, admission) = service.holding_permits();
    if !accepts_events(headers) {
        return encoding::json(admission, ask(asking).await?).await;
    }
    let progress = Arc::new(Progress::with_listener());
    let begun = service.instant();
    let found = ask(asking.with_progress(Arc::clone(&progress)));
    let mut asked = {
        let room = room.clone();
        SearchTask::start(
            async move { encode_event(admission, found.await?, "result", &room).await },
        )
    };
    let state = tokio::select! {
        biased;
        found = asked.answer() => State::Ready(found?),
        () = service.pause(PROGRESS_INTERVAL) => State::Running(asked),
    };
    Ok(events(SearchStream { service, room, progress, begun, state, reservation: None }, next, 0))
}

/// A search and its progress.
struct SearchStream {
    service: QueryService,
    room: UnreadBudget,
    progress: Arc<Progress>,
    begun: Instant,
    state: State,
    /// The bytes reserved for the last event until the connection has taken it.
    reservation: Option<UnreadReservation>,
}

enum State {
    Running(SearchTask<EncodedEvent>),
    Ready(EncodedEvent),
    Ended,
}

fn next(mut search: SearchStream) -> StreamStep<SearchStream> {
    Box::pin(async move {
        let found = match std::mem::replace(&mut search.state, State::Ended) {
            State::Ended => return (None, Bytes::new()),
            State::Ready(found) => Ok(found),
            State::Running(mut asked) => tokio::select! {
                biased;
                found = asked.answer() => found,
                () = search.service.pause(PROGRESS_INTERVAL) => {
                    let elapsed = search.service.instant() - search.begun;
                    let admission = Admission::new(search.service.limits());
                    match progress_events(admission, &search.progress, elapsed, &search.room).await {
                        Ok((news, reservation)) => {
                            search.state = State::Running(asked);
                            search.reservation = reservation;
                            return (Some(search), news);
                        }
                        Err(error) => Err(error),
                    }
                }
            },
        };
        match found {
            Ok((result, reservation)) => {
                search.reservation = Some(reservation);
                (Some(search), result.into())
            }
            Err(error) => (Some(search), problem_event(&error)),
        }
    })
}

/// Encodes the traces found since the last event, and the progress of the search.
async fn progress_events(
    admission: Admission,
    progress: &Progress,
    elapsed: Duration,
    room: &UnreadBudget,
) -> Result<(Bytes, Option<UnreadReservation>), QueryError> {
    let (mut events, mut reservation) = (String::new(), None);
    let traces = progress.take_traces();
    if !traces.is_empty() {
        // The search itself still holds its permits.
        let (found, taken) =
            encode_event(admission, FoundTraces { traces }, "traces", room).await?;
        (events, reservation) = (found, Some(taken));
    }
    let elapsed_nano = DurationNanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    let news = SearchProgress {
        rows: progress.scan.rows(),
        files: progress.scan.files(),
        file_count: progress.scan.files_found(),
        found: progress.found(),
        since_unix_nano: progress.since(),
        elapsed_nano,
    };
    let data = serde_json::to_string(&news).expect("invariant: progress has only string keys");
    events.push_str(&event("progress", None, &data));
    Ok((events.into(), reservation))
}

/// Encodes a result as an event; holds the query's permits until it is written.
async fn encode_event<T: Serialize + Send + 'static>(
    admission: Admission,
    found: T,
    name: &str,
    room: &UnreadBudget,
) -> Result<EncodedEvent, QueryError> {
    let result = encoding::encode_json_blocking(admission, found).await?;
    let result = String::from_utf8(result)
        .map_err(|broken| QueryError::Defect { reason: broken.to_string() })?;
    let reservation = room.try_reserve(result.len() as u64)?;
    Ok((event(name, None, &result), reservation))
}

/// The error as an event.
pub(super) fn problem_event(error: &QueryError) -> Bytes {
    let details = problem::details(error);
    let data = serde_json::to_string(&details).expect("invariant: a problem has only string keys");
    event("problem", None, &data).into()
}

/// Reports whether an event stream is the first acceptable type that the server can give.
fn accepts_events(headers: &HeaderMap) -> bool {
    let known = [EVENT_STREAM, encoding::JSON, "application/*", "*/*"];
    encoding::preferred(headers, &known) == Some(EVENT_STREAM)
}
