//! Answers queries, some at a time, each in a process of its own.
//!
//! Owns the places and the end of a query. A query plans and runs in a worker (`pool`, `worker`);
//! here its scans run, on threads that nothing else uses, so that ingest and the API have their own
//! whatever it does. Its place is taken until the last of what works for it has ended, not only
//! until somebody stops to wait; a query whose asker goes away, or whose time is up, is killed.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidings_storage::{Clock, Store};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
};
use tracing::{Instrument, field::Empty};

use crate::{
    Answer, Described, Parameter, SqlError, SqlLimits, WorkerProgram,
    conversation::{Asker, Reply, converse},
    limits::RELATIONS_MAX,
    message::Task,
    meter::{Meter, Withdraw},
    outcomes::QueryOutcomes,
    pool::Pool,
    views::Stored,
};

/// Time after which an idle reader thread ends.
const IDLE_THREAD: Duration = Duration::from_secs(10);
/// Maximum time that a query waits for a ready worker process.
const START_MAX: Duration = Duration::from_secs(10);
/// Threads that carry messages and batches; those that read views are others.
const CARRIERS: usize = 2;

/// The places that a query has: one of its store's, one of all.
pub(crate) type QueryPlace = [OwnedSemaphorePermit; 2];

/// A query and how much of its answer is wanted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Query {
    /// Its text.
    pub text: String,
    /// The values of its placeholders.
    pub parameters: Vec<Parameter>,
    /// No more rows are wanted; `None`: as many as there may be.
    pub rows_max: Option<usize>,
}

impl Query {
    /// A query without placeholders, for as many rows as the bounds allow.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Answers queries. Clones share the places, and services [beside](SqlService::beside) each other
/// share threads, processes and most places.
#[derive(Debug, Clone)]
pub struct SqlService {
    store: Store,
    clock: Arc<dyn Clock>,
    limits: SqlLimits,
    /// Places of the queries over this store.
    own: Arc<Semaphore>,
    /// Places of the queries over all stores.
    places: Arc<Semaphore>,
    threads: Arc<Threads>,
    pool: Arc<Pool>,
    outcomes: Arc<QueryOutcomes>,
}

/// The runtime, which is let go without waiting: what still runs ends at its next step.
struct Threads(Option<Runtime>);

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl SqlService {
    /// A service over this store, whose queries run in processes of this program. The first of them
    /// is started.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(
        store: Store,
        limits: SqlLimits,
        clock: Arc<dyn Clock>,
        program: WorkerProgram,
    ) -> std::io::Result<Self> {
        let running_max = limits.running_max.clamp(1, 64);
        let limits = SqlLimits { running_max, ..limits };
        let runtime = Builder::new_multi_thread()
            .thread_name("sql")
            .enable_all()
            .worker_threads(CARRIERS)
            // Each query has one more, which waits for the end of its process.
            .max_blocking_threads(running_max * (RELATIONS_MAX + 1))
            .thread_keep_alive(IDLE_THREAD)
            .build()?;
        let pool = Pool::start(program, &limits, store.supervision())?;
        Ok(Self {
            store,
            clock,
            limits,
            own: Arc::new(Semaphore::new(running_max)),
            places: Arc::new(Semaphore::new(running_max)),
            threads: Arc::new(Threads(Some(runtime))),
            pool: Arc::new(pool),
            outcomes: Arc::default(),
        })
    }

    /// A service over another store, whose queries take at most half of the places of this one's.
    #[must_use]
    pub fn beside(&self, store: Store) -> Self {
        let own = Arc::new(Semaphore::new(self.limits.running_max.div_ceil(2)));
        Self { store, own, ..self.clone() }
    }

    /// Lets its queries take at most half of the places, from now on: there is a service
    /// [beside](Self::beside) it.
    pub async fn leave_room(&self) {
        let half = u32::try_from(self.limits.running_max / 2).unwrap_or(u32::MAX);
        // An error means the semaphore is closed, which nothing does.
        if let Ok(left) = self.own.acquire_many(half).await {
            left.forget();
        }
    }

    /// Bounds on the cost of queries.
    #[must_use]
    pub fn limits(&self) -> &SqlLimits {
        &self.limits
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Number of admitted queries over all stores, which run or whose answer is not read to its end.
    #[must_use]
    pub fn running(&self) -> usize {
        self.limits.running_max.saturating_sub(self.places.available_permits())
    }

    /// Queries over all stores by outcome: `answered`, `refused` for what they are, `overloaded`,
    /// `timed_out`, `killed` with their process, `failed`, `abandoned` by whoever asked.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        self.outcomes.counts()
    }

    /// The answer, all of it read from one snapshot.
    ///
    /// # Errors
    /// As [`SqlError`] says. The query ends soon after the returned future is dropped.
    pub async fn ask(&self, query: Query) -> Result<Answer, SqlError> {
        match self.run(Task::Answer(query)).await? {
            Reply::Answered(answer) => Ok(answer),
            Reply::Described(_) => Err(other_reply()),
        }
    }

    /// Describes the columns of the answer.
    ///
    /// The errors of [`Self::ask`] that occur before anything is read.
    pub async fn describe(&self, query: Query) -> Result<Described, SqlError> {
        self.describe_by(Task::Describe(query)).await
    }

    /// As [`Self::describe`], for a query whose placeholders have no values yet.
    ///
    /// # Errors
    /// As [`Self::describe`].
    pub async fn prepare(&self, text: String) -> Result<Described, SqlError> {
        self.describe_by(Task::Prepare(text)).await
    }

    async fn describe_by(&self, task: Task) -> Result<Described, SqlError> {
        match self.run(task).await? {
            Reply::Described(described) => Ok(described),
            Reply::Answered(_) => Err(other_reply()),
        }
    }

    /// Does this in a place and a process of its own, and counts how it ends.
    async fn run(&self, task: Task) -> Result<Reply, SqlError> {
        let open = self.outcomes.open_query();
        let span =
            tracing::debug_span!("sql query", process.worker.pid = Empty, "error.type" = Empty);
        let result = self.run_in_place(task).instrument(span.clone()).await;
        if let Err(error) = &result {
            // What a client did wrong is no failure.
            let kind = error.kind();
            if kind.is_failure() {
                span.record("error.type", tracing::field::debug(kind));
            }
        }
        open.end(&result);
        result
    }

    async fn run_in_place(&self, task: Task) -> Result<Reply, SqlError> {
        task.check()?;
        let max = self.limits.running_max;
        let place = |of: &Arc<Semaphore>| {
            Arc::clone(of).try_acquire_owned().map_err(|_| SqlError::TooMany { max })
        };
        let place = Arc::new([place(&self.own)?, place(&self.places)?]);
        let Some(runtime) = &self.threads.0 else {
            return Err(SqlError::Defect { reason: "there are no threads".to_owned() });
        };
        let stored = self.stored(place);
        let withdraw = Withdraw(Arc::clone(&stored.meter));
        let ((begun, begins), (reply, told)) = (oneshot::channel(), oneshot::channel());
        let asker = Asker { begun: Some(begun), reply };
        let conversation = converse(Arc::clone(&self.pool), task, stored, asker);
        runtime.spawn(conversation.in_current_span());
        let result = self.await_reply(begins, told).await;
        if result.is_err() {
            drop(withdraw);
        }
        result
    }

    /// Waits for the reply. The deadline of a query begins when its worker process has it.
    async fn await_reply(
        &self,
        begins: oneshot::Receiver<()>,
        mut told: oneshot::Receiver<Result<Reply, SqlError>>,
    ) -> Result<Reply, SqlError> {
        let given_up = |_| Err(other_reply());
        tokio::select! {
            told = &mut told => return told.unwrap_or_else(given_up),
            _ = begins => {}
            () = self.clock.sleep(START_MAX) => {
                let reason = format!("none was ready within {START_MAX:?}");
                return Err(SqlError::NoWorker { reason });
            }
        }
        tokio::select! {
            told = told => told.unwrap_or_else(given_up),
            () = self.clock.sleep(self.limits.deadline) => {
                Err(SqlError::Deadline { limit: self.limits.deadline })
            }
        }
    }

    /// Snapshot of the store for one query.
    fn stored(&self, place: Arc<QueryPlace>) -> Stored {
        let mut meter = Meter::new(Arc::clone(&self.clock), self.limits);
        // The caller knows better when the query began.
        meter.deadline += START_MAX;
        let meter = Arc::new(meter);
        let snapshot = self.store.snapshot();
        let snapshot =
            snapshot.stopped_by(Arc::clone(&meter.stop)).watched_by(Arc::clone(&meter.watch));
        Stored { snapshot, meter, place }
    }
}

fn other_reply() -> SqlError {
    SqlError::Defect { reason: "a query's process was given up".to_owned() }
}
