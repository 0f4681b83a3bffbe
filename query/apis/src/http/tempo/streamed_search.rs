//! `Search` of Tempo's streaming API: the traces that were found, sent while the search continues.
//!
//! A search that ends soon is one message. Other messages have the traces found since the last one,
//! each trace once, because Grafana keeps the first message about a trace. The last message is the
//! whole answer. Owns the messages, their interval and their memory. Does not own the search, which
//! is cancelled when the client leaves.

use std::{
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use prost::Message;
use tidings_proto::UnixNanos;
use tidings_query::{
    Progress, QueryError, QueryService, Reader, UnreadReservation,
    traceql::spanset_search::{TraceListener, TraceqlResult},
};
use tidings_storage::{ScanStats, TimeRange};
use tonic::Status;

use super::messages::{SEARCH_JOBS, SearchResponse};
use crate::{
    error_status::query_status,
    http::{
        grpc_calls::{EncodedMessages, in_memory},
        searching::SearchTask,
        unread_budget::UnreadBudget,
    },
};

/// Minimum interval between two messages.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum bytes of the traces that wait for the next message. Further ones are in the last message
/// only. Clients accept messages of 4 MiB.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// A message, and the bytes reserved for it until the connection has taken it.
type ReservedMessage = (Vec<u8>, UnreadReservation);

/// Traces of a search that were found and not sent yet, and the statistics up to the last of them.
#[derive(Debug, Default)]
struct UnsentTraces {
    /// The encoded traces.
    message: Vec<u8>,
    stats: ScanStats,
    inspected: u64,
}

/// Traces that the search and the stream share.
type SharedTraces = Arc<Mutex<UnsentTraces>>;

/// Listener that encodes the traces of a search as they are found.
#[derive(Debug)]
pub(super) struct TraceEncoder {
    unsent: SharedTraces,
    /// Number of traces that it has seen.
    count: usize,
}

impl TraceListener for TraceEncoder {
    fn update(&mut self, found: &TraceqlResult) -> Result<(), QueryError> {
        for trace in found.traces.iter().skip(self.count) {
            let encoded = SearchResponse::from_traces(slice::from_ref(trace)).encode_to_vec();
            let mut unsent = lock(&self.unsent);
            if unsent.message.len().saturating_add(encoded.len()) <= UNSENT_BYTES_MAX {
                unsent.message.extend(encoded);
                (unsent.stats, unsent.inspected) = (found.stats, found.inspected);
            }
        }
        self.count = found.traces.len();
        Ok(())
    }
}

fn lock(unsent: &Mutex<UnsentTraces>) -> MutexGuard<'_, UnsentTraces> {
    unsent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the search `work` in this time range, and answers with a message or a stream of them.
///
/// # Errors
/// Returns the error of a search that ends before the first message.
pub(super) async fn answer<W>(
    service: &QueryService,
    room: UnreadBudget,
    range: TimeRange,
    work: W,
) -> Result<tonic::Response<EncodedMessages>, QueryError>
where
    W: FnOnce(&Reader, &mut TraceEncoder) -> Result<TraceqlResult, QueryError> + Send + 'static,
{
    let progress = Arc::new(Progress::with_listener());
    let unsent = SharedTraces::default();
    let asking = service.with_progress(Arc::clone(&progress));
    let (reached, found_traces) = (Arc::clone(&progress), Arc::clone(&unsent));
    let question = move |reader: &Reader| {
        let mut encoder = TraceEncoder { unsent: found_traces, count: 0 };
        let found = work(reader, &mut encoder)?;
        // The last message has all traces.
        *lock(&encoder.unsent) = UnsentTraces::default();
        let jobs = match found.stats.complete {
            true => SEARCH_JOBS,
            false => completed_jobs(range, reached.since()),
        };
        let message = SearchResponse::from_found(&found, jobs).encode_to_vec();
        let bytes_max = reader.limits.answer_bytes_max();
        match message.len() as u64 > bytes_max {
            true => Err(QueryError::LongAnswer { bytes_max }),
            false => Ok(message),
        }
    };
    let budget = room.clone();
    let mut task = SearchTask::start(async move {
        let message = asking.ask(question).await?;
        let reservation = budget.try_reserve(message.len() as u64)?;
        Ok((message, reservation))
    });
    tokio::select! {
        biased;
        ended = task.answer() => {
            // The bytes of a body in memory are reserved by the router.
            let (message, _) = ended?;
            Ok(in_memory(vec![message]))
        }
        () = service.pause(MESSAGE_INTERVAL) => {
            let search = MessageStream {
                service: service.clone(),
                room,
                range,
                progress,
                unsent,
                task: Some(task),
                is_due: true,
                reservation: None,
            };
            Ok(tonic::Response::new(stream::unfold(search, next).boxed()))
        }
    }
}

/// Returns the part of the time range that was searched, in jobs: fewer than all, and 0 without a
/// range.
fn completed_jobs(range: TimeRange, since: Option<UnixNanos>) -> u32 {
    let (Some(start), Some(end), Some(since)) = (range.start, range.end, since) else { return 0 };
    let whole = u128::from(end.0.saturating_sub(start.0)).max(1);
    let searched = u128::from(end.0.saturating_sub(since.max(start).0));
    let jobs = searched * u128::from(SEARCH_JOBS) / whole;
    u32::try_from(jobs).unwrap_or(SEARCH_JOBS).min(SEARCH_JOBS - 1)
}

/// A search whose answer is a stream.
struct MessageStream {
    service: QueryService,
    room: UnreadBudget,
    range: TimeRange,
    progress: Arc<Progress>,
    unsent: SharedTraces,
    /// The search; `None` after the last message.
    task: Option<SearchTask<ReservedMessage>>,
    /// True when the interval since the last message has passed.
    is_due: bool,
    /// The bytes reserved for the last message until the connection has taken it.
    reservation: Option<UnreadReservation>,
}

async fn next(mut search: MessageStream) -> Option<(Result<Vec<u8>, Status>, MessageStream)> {
    let mut task = search.task.take()?;
    loop {
        if !std::mem::take(&mut search.is_due) {
            let ended = tokio::select! {
                biased;
                ended = task.answer() => Some(ended),
                () = search.service.pause(MESSAGE_INTERVAL) => None,
            };
            if let Some(ended) = ended {
                let last = ended.map(|message| search.sent(message));
                return Some((last.map_err(query_status), search));
            }
        }
        if let Some(message) = search.unsent_message() {
            search.task = Some(task);
            return Some((Ok(search.sent(message)), search));
        }
    }
}

impl MessageStream {
    /// Returns a message with the traces found since the last one; `None` without such traces, and
    /// when the client may not have more unread bytes.
    fn unsent_message(&self) -> Option<ReservedMessage> {
        let UnsentTraces { mut message, stats, inspected } =
            std::mem::take(&mut *lock(&self.unsent));
        if message.is_empty() {
            return None;
        }
        let jobs = completed_jobs(self.range, self.progress.since());
        message.extend(SearchResponse::from_progress(stats, inspected, jobs).encode_to_vec());
        let reservation = self.room.try_reserve(message.len() as u64).ok()?;
        Some((message, reservation))
    }

    /// Returns the next message, and keeps its reservation. The connection has taken the one before.
    fn sent(&mut self, (message, reservation): ReservedMessage) -> Vec<u8> {
        drop(self.reservation.replace(reservation));
        message
    }
}

#[cfg(test)]
mod tests;
