//! The answer to a query as [server-sent
//! events](https://html.spec.whatwg.org/multipage/server-sent-events.html): its progress, and
//! finally its rows.
//!
//! The query runs in a task that the body owns. A body is not polled while its client does not
//! read, and the deadline of the query must not wait for that. When the client goes, the query is
//! ended.

use std::{
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::header;
use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tidings_apis::{EVENT_STREAM, server_sent_event};
use tidings_proto::{
    DurationNanos,
    api::{SqlProgress, SqlRead},
};
use tidings_query::QueryOrigin;
use tidings_storage::ScanWatch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::sql_problems;
use crate::{Answer, AnswerFormat, Query, SqlError, SqlService};

/// Time between two events. An error before the first event is answered with a status of its own.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Bytes of events.
type Events = BoxStream<'static, Result<Bytes, SqlError>>;

/// A query that runs in a task of its own.
struct RunningQuery {
    service: SqlService,
    watch: Arc<ScanWatch>,
    begun: Instant,
    task: JoinSet<Result<Answer, SqlError>>,
}

impl RunningQuery {
    fn start(service: &SqlService, query: Query) -> Self {
        let (watch, begun) = (Arc::<ScanWatch>::default(), service.clock().instant());
        let (asked, watched) = (service.clone(), Arc::clone(&watch));
        let answer = async move { asked.ask_watched(query, watched).await };
        let mut task = JoinSet::new();
        task.spawn(QueryOrigin::propagate(QueryOrigin::current(), answer).in_current_span());
        Self { service: service.clone(), watch, begun, task }
    }

    /// Returns the answer; `None` when the next event is due first.
    async fn answer(&mut self) -> Option<Result<Answer, SqlError>> {
        tokio::select! {
            biased;
            ended = self.task.join_next() => Some(match ended {
                Some(Ok(answer)) => answer,
                Some(Err(lost)) => Err(SqlError::Defect { reason: lost.to_string() }),
                None => Err(SqlError::Defect { reason: "its answer was taken before".to_owned() }),
            }),
            () = self.service.clock().sleep(PROGRESS_EVERY) => None,
        }
    }

    fn progress(&self) -> Events {
        let elapsed = self.service.clock().instant().saturating_duration_since(self.begun);
        let progress = SqlProgress {
            read: SqlRead { rows: self.watch.rows(), files: self.watch.files() },
            file_count: self.watch.files_found(),
            elapsed_nano: DurationNanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)),
        };
        let data = serde_json::to_string(&progress);
        event("progress", &data.expect("invariant: progress has only string keys"))
    }
}

/// Runs the query and answers with events.
///
/// # Errors
/// Returns an error that is known before the first event.
pub(super) async fn answer(service: &SqlService, query: Query) -> Result<Response, SqlError> {
    let mut running = RunningQuery::start(service, query);
    let events = match running.answer().await.transpose()? {
        Some(answer) => result(answer),
        None => running.progress().chain(stream::unfold(Some(running), next).flatten()).boxed(),
    };
    let events = events.inspect_err(|error| tracing::error!(%error, "an answer broke off"));
    let content_type = [(header::CONTENT_TYPE, EVENT_STREAM)];
    Ok((content_type, Body::from_stream(events)).into_response())
}

async fn next(running: Option<RunningQuery>) -> Option<(Events, Option<RunningQuery>)> {
    let mut running = running?;
    Some(match running.answer().await {
        None => (running.progress(), Some(running)),
        Some(Ok(answer)) => (result(answer), None),
        Some(Err(error)) => {
            let problem = sql_problems::problem(&error).to_bytes();
            (event("problem", &String::from_utf8_lossy(&problem)), None)
        }
    })
}

fn event(name: &str, data: &str) -> Events {
    let event = server_sent_event(name, None, data);
    stream::once(ready(Ok(Bytes::from(event)))).boxed()
}

/// Writes an event with the rows, part by part as the worker writes them.
fn result(answer: Answer) -> Events {
    let [head, tail] = ["event: result\ndata: ", "\n\n"]
        .map(|text| stream::once(ready(Ok(Bytes::from_static(text.as_bytes())))));
    head.chain(answer.parts(AnswerFormat::Json).map_ok(data_lines)).chain(tail).boxed()
}

/// Begins each line as a line of data: rows are the only parts on lines of their own.
fn data_lines(part: Bytes) -> Bytes {
    if !part.contains(&b'\n') {
        return part;
    }
    let lines: Vec<&[u8]> = part.split(|byte| *byte == b'\n').collect();
    Bytes::from(lines.join(&b"\ndata: "[..]))
}
