//! Answers queries, a few at a time, each in a process of its own.
//!
//! Owns the query slots and the end of a query. A query is planned and run in a worker (`pool`,
//! `tidings-sql-engine`). Its scans run here, on threads of their own, so that ingest and the API
//! keep theirs. A slot stays taken until all work for its query has ended, and not only until nobody
//! waits. A query whose client goes away, or whose time is up, is killed.

use std::{fmt, sync::Arc, time::Duration};

use axum::Extension;
use tidings_proto::api::QueryOutcome;
use tidings_query::{ClientId, EndedQuery, QueryOrigin, RecentQueries};
use tidings_storage::{Clock, ScanWatch, Store};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tracing::{Instrument, field::Empty};

use crate::{
    Answer, EncodedSignature, Query, SqlError, SqlLimits, WorkerProgram,
    conversation::{Reply, ReplySenders, run_on_worker},
    limits::{RELATIONS_MAX, RUNNING_QUERIES_MAX},
    message::Task,
    meter::{CancelOnDrop, Meter},
    outcomes::QueryOutcomes,
    pool::Pool,
    query_slots::{QuerySlot, QuerySlots, SlotHolder},
    scan::Stored,
};

/// Time after which an idle reader thread ends.
const IDLE_THREAD: Duration = Duration::from_secs(10);
/// Maximum time that a query waits for a ready worker process.
const START_MAX: Duration = Duration::from_secs(10);
/// Threads that carry messages and batches; other threads read views.
const CARRIERS: usize = 2;

/// The text of a query that was in the body of a request. It is in the extensions of the answer,
/// for the record of reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedStatement(pub String);

/// Answers queries. Clones share the slots. Services [beside](SqlService::beside) each other share
/// threads, processes and slots.
#[derive(Debug, Clone)]
pub struct SqlService {
    store: Store,
    clock: Arc<dyn Clock>,
    limits: SqlLimits,
    /// The tenant that has this store, and the client.
    holder: SlotHolder,
    /// Places of the queries of all stores.
    slots: Arc<QuerySlots>,
    threads: Arc<Threads>,
    pool: Arc<Pool>,
    outcomes: Arc<QueryOutcomes>,
    /// The recent slowest queries, these among them.
    recent: RecentQueries,
}

/// The runtime. Dropping it does not wait: running work ends at its next step.
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
    /// Creates a service over this store, whose queries run in processes of this program. The first
    /// process is started.
    ///
    /// # Errors
    /// Fails if the system gives no threads.
    pub fn new(
        store: Store,
        limits: SqlLimits,
        clock: Arc<dyn Clock>,
        program: WorkerProgram,
    ) -> std::io::Result<Self> {
        let running_max = limits.running_max.clamp(1, RUNNING_QUERIES_MAX);
        let limits = SqlLimits { running_max, ..limits };
        let runtime = Builder::new_multi_thread()
            .thread_name("sql")
            .enable_all()
            .worker_threads(CARRIERS)
            // Each query has one more thread, which waits for the end of its process.
            .max_blocking_threads(running_max * (RELATIONS_MAX + 1))
            .thread_keep_alive(IDLE_THREAD)
            .build()?;
        let pool = Pool::start(program, &limits, store.supervision())?;
        Ok(Self {
            store,
            slots: QuerySlots::new(limits, Arc::clone(&clock)),
            clock,
            limits,
            holder: SlotHolder { tenant: 0, client: ClientId::default() },
            threads: Arc::new(Threads(Some(runtime))),
            pool: Arc::new(pool),
            outcomes: Arc::default(),
            recent: RecentQueries::default(),
        })
    }

    /// Returns a service over another tenant's store. From now on no tenant's queries take all
    /// slots.
    #[must_use]
    pub fn beside(&self, store: Store) -> Self {
        let holder = SlotHolder { tenant: self.slots.add_tenant(), client: ClientId::default() };
        Self { store, holder, ..self.clone() }
    }

    /// Returns a service whose queries are listed with the recent slowest.
    #[must_use]
    pub fn with_recent(&self, recent: RecentQueries) -> Self {
        Self { recent, ..self.clone() }
    }

    /// Returns the service for this client, which has a share of the slots.
    #[must_use]
    pub fn with_client(&self, client: ClientId) -> Self {
        let holder = SlotHolder { tenant: self.holder.tenant, client };
        Self { holder, ..self.clone() }
    }

    /// Returns the service for the client of a request.
    ///
    /// # Errors
    /// `Off` where queries are switched off.
    pub(crate) fn for_client(
        service: Option<Self>,
        client: Option<Extension<ClientId>>,
    ) -> Result<Self, SqlError> {
        let client = client.map(|Extension(client)| client).unwrap_or_default();
        service.map(|service| service.with_client(client)).ok_or(SqlError::Off)
    }

    /// Returns the bounds on the cost of queries.
    #[must_use]
    pub fn limits(&self) -> &SqlLimits {
        &self.limits
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the number of queries of all stores that run or whose answer is not read to its end.
    #[must_use]
    pub fn running(&self) -> usize {
        self.slots.admitted()
    }

    /// Returns the number of queries of all stores by outcome: `answered`, `refused` for their
    /// text, `overloaded`, `timed_out`, `killed` with their process, `failed`, `abandoned` by their
    /// client.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        self.outcomes.counts()
    }

    /// Returns the answer, all of it read from one snapshot.
    ///
    /// # Errors
    /// See [`SqlError`]. The query ends soon after the returned future is dropped.
    pub async fn ask(&self, query: Query) -> Result<Answer, SqlError> {
        self.ask_watched(query, Arc::default()).await
    }

    /// Does the same as [`Self::ask`], and counts in `watch` what the query reads while it runs.
    pub(crate) async fn ask_watched(
        &self,
        query: Query,
        watch: Arc<ScanWatch>,
    ) -> Result<Answer, SqlError> {
        let question = QueryOrigin::current();
        let question = question.map(|asked| QueryOrigin {
            words: asked.redaction.redacted(&query.text),
            ..(*asked).clone()
        });
        let (start, begun) = (self.clock.now(), self.clock.instant());
        let result = match self.run(Task::Answer(query), watch).await {
            Ok(Reply::Answered(answer)) => Ok(answer),
            Ok(Reply::Described(_)) => Err(other_reply()),
            Err(error) => Err(error),
        };
        if let Some(question) = question {
            let (rows, outcome) = match &result {
                Ok(answer) => (answer.read.rows, QueryOutcome::Answered),
                Err(error) if error.kind().is_failure() => (0, QueryOutcome::Failed),
                Err(_) => (0, QueryOutcome::Refused),
            };
            let duration = self.clock.instant().saturating_duration_since(begun);
            self.recent.record_for(&question, EndedQuery { start, duration, rows, outcome });
        }
        result
    }

    /// Describes the columns of the answer.
    ///
    /// The errors of [`Self::ask`] that occur before anything is read.
    pub async fn describe(&self, query: Query) -> Result<EncodedSignature, SqlError> {
        self.describe_by(Task::Describe(query)).await
    }

    /// As [`Self::describe`], for a query whose placeholders have no values yet.
    ///
    /// # Errors
    /// As [`Self::describe`].
    pub async fn prepare(&self, text: String) -> Result<EncodedSignature, SqlError> {
        self.describe_by(Task::Prepare(text)).await
    }

    async fn describe_by(&self, task: Task) -> Result<EncodedSignature, SqlError> {
        match self.run(task, Arc::default()).await? {
            Reply::Described(described) => Ok(described),
            Reply::Answered(_) => Err(other_reply()),
        }
    }

    /// Runs the task in a slot and a process of its own, and counts its outcome.
    async fn run(&self, task: Task, watch: Arc<ScanWatch>) -> Result<Reply, SqlError> {
        let open = self.outcomes.open_query();
        let span =
            tracing::debug_span!("sql query", process.worker.pid = Empty, "error.type" = Empty);
        let result = self.run_in_place(task, watch).instrument(span.clone()).await;
        if let Err(error) = &result {
            // A mistake of the client is no failure.
            let kind = error.kind();
            if kind.is_failure() {
                span.record("error.type", tracing::field::debug(kind));
            }
        }
        open.end(&result);
        result
    }

    async fn run_in_place(&self, task: Task, watch: Arc<ScanWatch>) -> Result<Reply, SqlError> {
        task.check()?;
        let max = self.limits.running_max;
        let slot = self.slots.take(self.holder.clone()).await;
        let slot = Arc::new(slot.ok_or(SqlError::TooMany { max })?);
        let Some(runtime) = &self.threads.0 else {
            return Err(SqlError::Defect { reason: "there are no threads".to_owned() });
        };
        let stored = self.stored(slot, watch);
        let cancel = CancelOnDrop(Arc::clone(&stored.meter));
        let ((begun, begins), (reply, told)) = (oneshot::channel(), oneshot::channel());
        let reply_senders = ReplySenders { begun: Some(begun), reply };
        let conversation = run_on_worker(Arc::clone(&self.pool), task, stored, reply_senders);
        runtime.spawn(conversation.in_current_span());
        let result = self.await_reply(begins, told).await;
        if result.is_err() {
            drop(cancel);
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

    /// Takes a snapshot of the store for one query.
    fn stored(&self, slot: Arc<QuerySlot>, watch: Arc<ScanWatch>) -> Stored {
        let mut meter = Meter::new(Arc::clone(&self.clock), self.limits);
        // The caller enforces the deadline: it knows when the query began.
        meter.deadline += START_MAX;
        meter.watch = watch;
        let meter = Arc::new(meter);
        let snapshot = self.store.snapshot();
        let snapshot =
            snapshot.stopped_by(Arc::clone(&meter.stop)).watched_by(Arc::clone(&meter.watch));
        Stored { snapshot, meter, slot }
    }
}

fn other_reply() -> SqlError {
    SqlError::Defect { reason: "a query's process was given up".to_owned() }
}
