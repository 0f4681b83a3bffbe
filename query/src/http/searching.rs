//! Searches that may take a while: answered with JSON when they are done, or, for those who accept
//! [server-sent events](super::events), with news of how far they are and then the same answer.
//!
//! The question is a task that the answer's body has, so it is withdrawn when the client goes, and
//! goes on to the end of its turn when the client only pauses.

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
use tokio::{sync::OwnedSemaphorePermit, task::JoinSet};

use super::{
    answer,
    events::{EVENT_STREAM, Step, event, events},
    held::Room,
    problem,
};
use crate::{
    QueryError, QueryService,
    execution::{Progress, Turn, defect},
};

/// So often there is news. An error that is known before the first has a status of its own.
const NEWS_EVERY: Duration = Duration::from_millis(100);

/// An event, and the room that it takes until it has gone to the connection.
type Told = (String, OwnedSemaphorePermit);

/// A question that goes on by itself: nobody polls a body while its client takes nothing, and a
/// turn must not wait for that.
struct Asked(JoinSet<Result<Told, QueryError>>);

impl Asked {
    fn begin(question: impl Future<Output = Result<Told, QueryError>> + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(question);
        Self(task)
    }

    async fn answer(&mut self) -> Result<Told, QueryError> {
        match self.0.join_next().await {
            Some(Ok(told)) => told,
            Some(Err(lost)) => Err(defect(&lost)),
            None => Err(defect(&"its answer was taken before")),
        }
    }
}

/// What `ask` finds, in the form that the client accepts.
pub(super) async fn answer<T, F>(
    service: QueryService,
    room: Room,
    headers: &HeaderMap,
    ask: impl FnOnce(QueryService) -> F,
) -> Result<Response, QueryError>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, QueryError>> + Send + 'static,
{
    let (asking, turn) = service.keeping_turn();
    if !accepts_events(headers) {
        return answer::json(turn, ask(asking).await?).await;
    }
    let progress = Arc::new(Progress::heard());
    let begun = service.instant();
    let found = ask(asking.watched_by(Arc::clone(&progress)));
    let mut asked = {
        let room = room.clone();
        Asked::begin(async move { told(turn, found.await?, "result", &room).await })
    };
    let state = tokio::select! {
        biased;
        found = asked.answer() => State::Found(found?),
        () = service.pause(NEWS_EVERY) => State::Asked(asked),
    };
    Ok(events(Search { service, room, progress, begun, state, place: None }, next, 0))
}

/// A search and what was told of it.
struct Search {
    service: QueryService,
    room: Room,
    progress: Arc<Progress>,
    begun: Instant,
    state: State,
    /// The room that what was told last takes until it has gone to the connection.
    place: Option<OwnedSemaphorePermit>,
}

enum State {
    Asked(Asked),
    Found(Told),
    Told,
}

fn next(mut search: Search) -> Step<Search> {
    Box::pin(async move {
        let found = match std::mem::replace(&mut search.state, State::Told) {
            State::Told => return (None, Bytes::new()),
            State::Found(found) => Ok(found),
            State::Asked(mut asked) => tokio::select! {
                biased;
                found = asked.answer() => found,
                () = search.service.pause(NEWS_EVERY) => {
                    let elapsed = search.service.instant() - search.begun;
                    match news(&search.progress, elapsed, &search.room).await {
                        Ok((news, place)) => {
                            search.state = State::Asked(asked);
                            search.place = place;
                            return (Some(search), news);
                        }
                        Err(error) => Err(error),
                    }
                }
            },
        };
        match found {
            Ok((result, place)) => {
                search.place = Some(place);
                (Some(search), result.into())
            }
            Err(error) => (Some(search), problem_event(&error)),
        }
    })
}

/// The traces that were found since the last news, and how far the search is.
async fn news(
    progress: &Progress,
    elapsed: Duration,
    room: &Room,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), QueryError> {
    let (mut events, mut place) = (String::new(), None);
    let traces = progress.take_traces();
    if !traces.is_empty() {
        // While the search itself has its turn.
        let (found, taken) = told(Turn::default(), FoundTraces { traces }, "traces", room).await?;
        (events, place) = (found, Some(taken));
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
    Ok((events.into(), place))
}

/// What was found in this turn as an event.
async fn told<T: Serialize + Send + 'static>(
    turn: Turn,
    found: T,
    name: &str,
    room: &Room,
) -> Result<Told, QueryError> {
    let result = answer::encoded(turn, found).await?;
    let result = String::from_utf8(result)
        .map_err(|broken| QueryError::Defect { reason: broken.to_string() })?;
    let place = room.take(result.len() as u64)?;
    Ok((event(name, None, &result), place))
}

/// The error as an event.
pub(super) fn problem_event(error: &QueryError) -> Bytes {
    let details = problem::details(error);
    let data = serde_json::to_string(&details).expect("invariant: a problem has only string keys");
    event("problem", None, &data).into()
}

/// Whether the first type that we can give is that of events.
fn accepts_events(headers: &HeaderMap) -> bool {
    let known = [EVENT_STREAM, answer::JSON, "application/*", "*/*"];
    answer::preferred(headers, &known) == Some(EVENT_STREAM)
}
