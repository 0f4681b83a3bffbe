//! Answers queries, some at a time, on threads of their own.
//!
//! Owns the places, the threads and the end of a query. A query plans and runs on a runtime that
//! nothing else uses and whose threads have a large stack, so that ingest and the API have their
//! own whatever it does. Its place is taken until the last of what works for it has ended, not only
//! until somebody stops to wait; a query whose asker goes away, or whose time is up, ends at its
//! next step.

use std::{fmt, sync::Arc, time::Duration};

use arrow_schema::SchemaRef;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use tidings_storage::{Clock, Store};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    Answer, Parameter, SqlError, SqlLimits,
    answer::{Collected, check_rows},
    limits::{RELATIONS_MAX, STACK_BYTES},
    meter::{Meter, Withdraw},
    plan::{self, Planned, plan},
    prescan::Placeholders,
    statement::{self, Values},
    views::Stored,
};

/// How long a thread that nothing is read on is kept.
const IDLE_THREAD: Duration = Duration::from_secs(10);

/// A query and how much of its answer is wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// Its text.
    pub text: String,
    /// The values of its placeholders.
    pub parameters: Vec<Parameter>,
    /// No more rows are wanted; `None`: as many as there may be.
    pub rows_max: Option<usize>,
}

impl Query {
    /// All rows of a query without placeholders, as far as there may be.
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// What is known of a query before it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The columns of its answer; without a type where a value decides that.
    pub columns: SchemaRef,
    /// Its placeholders in order.
    pub parameters: SchemaRef,
}

/// Answers queries. Clones share the places.
#[derive(Debug, Clone)]
pub struct SqlService {
    store: Store,
    clock: Arc<dyn Clock>,
    limits: SqlLimits,
    places: Arc<Semaphore>,
    threads: Arc<Threads>,
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
    /// A service over this store.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(store: Store, limits: SqlLimits, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let running_max = limits.running_max.clamp(1, 64);
        let runtime = Builder::new_multi_thread()
            .thread_name("sql")
            .worker_threads(running_max)
            .max_blocking_threads(running_max * RELATIONS_MAX)
            .thread_keep_alive(IDLE_THREAD)
            .thread_stack_size(STACK_BYTES)
            .build()?;
        Ok(Self {
            store,
            clock,
            limits: SqlLimits { running_max, ..limits },
            places: Arc::new(Semaphore::new(running_max)),
            threads: Arc::new(Threads(Some(runtime))),
        })
    }

    /// What queries may cost.
    #[must_use]
    pub fn limits(&self) -> &SqlLimits {
        &self.limits
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// How many queries have a place: they run, or their answer is not read to its end.
    #[must_use]
    pub fn running(&self) -> usize {
        self.limits.running_max.saturating_sub(self.places.available_permits())
    }

    /// The answer, all of it read from one snapshot.
    ///
    /// # Errors
    /// As [`SqlError`] says. The query ends soon after the returned future is dropped.
    pub async fn ask(&self, query: Query) -> Result<Answer, SqlError> {
        self.run(|work| answer(query, work)).await
    }

    /// What the answer will be like.
    ///
    /// # Errors
    /// As [`Self::ask`], as far as nothing has to be read for it.
    pub async fn describe(&self, query: Query) -> Result<Described, SqlError> {
        self.run(|work| async move {
            let values = Values::Given(&query.parameters);
            let (statement, _) = statement::parse(&query.text, values)?;
            plan::describe(statement, Placeholders::default(), work.stored()).await
        })
        .await
    }

    /// As [`Self::describe`], for a query whose placeholders have no values yet.
    ///
    /// # Errors
    /// As [`Self::describe`].
    pub async fn prepare(&self, text: String) -> Result<Described, SqlError> {
        self.run(|work| async move {
            let (statement, placeholders) = statement::parse(&text, Values::Later)?;
            plan::describe(statement, placeholders, work.stored()).await
        })
        .await
    }

    /// Does this in a place of its own.
    async fn run<T, F>(&self, work: impl FnOnce(Work) -> F) -> Result<T, SqlError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SqlError>> + Send + 'static,
    {
        let max = self.limits.running_max;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| SqlError::TooMany { max })?;
        let meter = Arc::new(Meter::new(Arc::clone(&self.clock), self.limits));
        let withdraw = Withdraw(Arc::clone(&meter));
        let Some(runtime) = &self.threads.0 else {
            return Err(SqlError::Defect { reason: "there are no threads".to_owned() });
        };
        let work = work(Work { store: self.store.clone(), meter, place: Arc::new(place) });
        let task = runtime.spawn(work);
        let result = tokio::select! {
            ended = task => match ended {
                Ok(result) => result,
                Err(lost) => Err(SqlError::Defect { reason: lost.to_string() }),
            },
            () = self.clock.sleep(self.limits.deadline) => {
                Err(SqlError::Deadline { limit: self.limits.deadline })
            }
        };
        drop(withdraw);
        result
    }
}

/// What a query works with.
struct Work {
    store: Store,
    meter: Arc<Meter>,
    place: Arc<OwnedSemaphorePermit>,
}

impl Work {
    /// What there is to read at this moment.
    fn stored(self) -> Stored {
        let Self { store, meter, place } = self;
        let snapshot = store
            .snapshot()
            .stopped_by(Arc::clone(&meter.stop))
            .watched_by(Arc::clone(&meter.watch));
        Stored { snapshot, meter, _place: place }
    }
}

async fn answer(query: Query, work: Work) -> Result<Answer, SqlError> {
    let (meter, place) = (Arc::clone(&work.meter), Arc::clone(&work.place));
    let began = meter.clock.instant();
    let (statement, _) = statement::parse(&query.text, Values::Given(&query.parameters))?;
    let Planned { plan, session } = plan(statement, work.stored()).await?;
    meter.check()?;
    let rows_max = query.rows_max.unwrap_or(usize::MAX).min(meter.limits.rows_max);
    let mut collected = Collected::new(plan.schema(), rows_max, meter.limits.answer_bytes_max);
    let mut batches = execute_stream(plan, session.task_ctx()).map_err(SqlError::running)?;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(SqlError::running)?;
        check_rows(&batch)?;
        if collected.add(batch).is_break() {
            break;
        }
    }
    drop(batches);
    let elapsed = meter.clock.instant().saturating_duration_since(began);
    Ok(collected.answer(&meter, elapsed, place))
}
