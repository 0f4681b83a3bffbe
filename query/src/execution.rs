//! Runs a query on a blocking thread within its bounds.
//!
//! Owns the queue, the deadline and the cancellation of queries. Knows nothing of their content. A
//! query that times out or whose client disconnects stops at the next portion of its scan, with or
//! without matches.

mod admission;
mod aggregates;
mod call_aggregation;
mod client_semaphore;
mod progress;
mod recent_queries;
#[cfg(test)]
pub(crate) mod stored_calls;
mod thread_budget;

use std::{
    any::Any,
    fmt,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{QueryOutcome, Searched, Total, TotalRelation, TraceSummary},
};
use tidings_storage::{
    Clock, CountedForms, CountedLogs, FormBounds, LogFilter, LogRows, RowsNeeded, Scan, ScanStats,
    Snapshot, SpanFilter, SpanRows, StorageError, Store, TimeRange,
};
use tokio::sync::Semaphore;
use tracing::field::Empty;

pub use admission::Admission;
pub(crate) use admission::{AdmissionSlot, QueryClient};
pub use call_aggregation::{CallAggregation, JoinedCalls};
pub(crate) use client_semaphore::{ClientPermit, ClientSemaphore, PendingPermit};
pub use progress::Progress;
pub use recent_queries::{EndedQuery, QueryOrigin, RecentQueries, StatementRedaction};
use thread_budget::ThreadBudget;

use crate::{
    QueryError, QueryLimits, QuerySettings,
    client_quota::{ClientId, TenantNumber, UnreadQuota},
};

const STOP: ControlFlow<()> = ControlFlow::Break(());

/// An answer of any type.
type BoxedAnswer = Box<dyn Any + Send>;

/// The work of a query. It is boxed so that the steps around it are compiled once.
type BoxedWork = Box<dyn FnOnce(&Reader) -> Result<BoxedAnswer, QueryError> + Send>;

/// A visitor of the rows of a scan, which may stop it.
type RowVisitor<'a, R> = &'a mut dyn FnMut(&R) -> ControlFlow<()>;

/// Snapshot and bounds for a query outside of the query service.
#[derive(Debug, Clone)]
pub struct BoundedSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Flag that stops the query soon after it becomes true.
    pub stop: Arc<AtomicBool>,
    /// Clock for the deadline.
    pub clock: Arc<dyn Clock>,
    /// Deadline of the query.
    pub deadline: Instant,
}

/// Queue of queries.
#[derive(Debug)]
pub(crate) struct Execution {
    /// Permits for the queries of this queue, with a quota for each client.
    client_permits: Arc<ClientSemaphore>,
    /// Semaphore with a permit for each running query of all queues that share the processors.
    running: Arc<Semaphore>,
    thread_budget: Arc<ThreadBudget>,
    recent: RecentQueries,
    /// Quota of the answer bytes that clients have not read yet, of all tenants.
    unread_quota: Arc<UnreadQuota>,
    /// Number of the tenant whose queue this is.
    tenant: TenantNumber,
    clock: Arc<dyn Clock>,
    limits: QueryLimits,
}

/// Input of one query: a snapshot, with checks of deadline and cancellation.
#[derive(Clone)]
pub struct Reader {
    snapshot: Snapshot,
    cancelled: Arc<AtomicBool>,
    progress: Arc<Progress>,
    thread_budget: Arc<ThreadBudget>,
    clock: Arc<dyn Clock>,
    deadline: Instant,
    /// Time at which the query arrived.
    pub now: UnixNanos,
    /// Settings that users can change.
    pub settings: Arc<QuerySettings>,
    /// Bounds that are not settings.
    pub limits: QueryLimits,
}

/// Cancels the computation on drop, because the client no longer waits.
struct CancellationGuard(Arc<AtomicBool>);

impl Execution {
    pub(crate) fn new(clock: Arc<dyn Clock>, limits: QueryLimits) -> Self {
        Self {
            client_permits: ClientSemaphore::new(limits.running_max),
            running: Arc::new(Semaphore::new(limits.running_max)),
            thread_budget: Arc::new(ThreadBudget::from_machine()),
            recent: RecentQueries::default(),
            unread_quota: UnreadQuota::new(limits.unread_bytes_max),
            tenant: TenantNumber::FIRST,
            clock,
            limits,
        }
    }

    /// Creates a separate queue on the same processors, whose queries take at most half of the
    /// permits.
    pub(crate) fn with_shared_permits(&self) -> Self {
        let (clock, limits) = (Arc::clone(&self.clock), self.limits);
        Self {
            client_permits: ClientSemaphore::new(limits.running_max.div_ceil(2)),
            running: Arc::clone(&self.running),
            thread_budget: Arc::clone(&self.thread_budget),
            unread_quota: Arc::clone(&self.unread_quota),
            tenant: self.unread_quota.add_tenant(),
            ..Self::new(clock, limits)
        }
    }

    /// Limits the queries of this queue to half of the permits from now on.
    pub(crate) fn halve_permits(&self) {
        self.client_permits.reduce_permits(self.limits.running_max.div_ceil(2));
    }

    /// Quota of the answer bytes that clients have not read yet, and this queue's tenant.
    pub(crate) fn unread_quota(&self) -> (&Arc<UnreadQuota>, TenantNumber) {
        (&self.unread_quota, self.tenant)
    }

    /// The slowest recent queries.
    pub(crate) fn recent(&self) -> &RecentQueries {
        &self.recent
    }

    /// The current time.
    pub(crate) fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    /// Bounds on the cost of a query.
    pub(crate) fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// Clock for waits between queries.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Runs `work` when the query is admitted and returns its result; `progress` is updated
    /// meanwhile. The permits are released afterwards, unless the service handle keeps them.
    ///
    /// # Errors
    /// `Overloaded` at once when the queue is full or the client has its quota of it, `Deadline`
    /// when time is up.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        store: &Store,
        settings: &Arc<QuerySettings>,
        progress: Arc<Progress>,
        client: QueryClient,
        work: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let work = move |reader: &Reader| -> Result<BoxedAnswer, QueryError> {
            Ok(Box::new(work(reader)?))
        };
        let answer = self.run_boxed(store, settings, progress, client, Box::new(work)).await?;
        Ok(*answer.downcast::<T>().expect("invariant: the work returns this type"))
    }

    async fn run_boxed(
        &self,
        store: &Store,
        settings: &Arc<QuerySettings>,
        progress: Arc<Progress>,
        QueryClient { client, permit_slot }: QueryClient,
        work: BoxedWork,
    ) -> Result<BoxedAnswer, QueryError> {
        if let Some(permit_slot) = &permit_slot {
            // A client that holds the permits of its last query would wait for itself.
            permit_slot.release();
        }
        let permit = self.admit(client)?;
        let span = tracing::debug_span!(
            "query",
            tidings.waited_seconds = Empty,
            tidings.rows_read = Empty,
            "error.type" = Empty
        );
        let (within, read) = (span.clone(), Arc::clone(&progress));
        let started = self.clock.instant();
        let mut listed = ListedQuery::new(self, &progress, started);
        let cancellation = CancellationGuard(Arc::new(AtomicBool::new(false)));
        let (store, settings) = (store.clone(), Arc::clone(settings));
        let cancelled = Arc::clone(&cancellation.0);
        let (clock, limits) = (Arc::clone(&self.clock), self.limits);
        let thread_budget = Arc::clone(&self.thread_budget);
        let running = Arc::clone(&self.running);
        let answer = async move {
            let permit = permit.acquired().await;
            let cpu_permit = running.acquire_owned().await.map_err(|closed| defect(&closed))?;
            let waited = clock.instant().saturating_duration_since(started);
            within.record("tidings.waited_seconds", waited.as_secs_f64());
            let task = tokio::task::spawn_blocking(move || {
                let _within = within.entered();
                // The permits live as long as the computation, even when the client leaves.
                let permits = (permit, cpu_permit);
                let reader = Reader {
                    snapshot: store
                        .snapshot()
                        .stopped_by(Arc::clone(&cancelled))
                        .watched_by(Arc::clone(&progress.scan)),
                    cancelled,
                    progress,
                    thread_budget,
                    deadline: started + limits.deadline,
                    now: clock.now(),
                    clock,
                    settings,
                    limits,
                };
                let answer = work(&reader);
                drop(reader);
                match permit_slot {
                    Some(permit_slot) if answer.is_ok() => permit_slot.keep(permits),
                    _ => drop(permits),
                }
                answer
            });
            task.await.map_err(|lost| defect(&lost))?
        };
        let answer = tokio::select! {
            answer = answer => answer,
            () = self.clock.sleep(self.limits.deadline) => {
                Err(QueryError::Deadline { limit: self.limits.deadline })
            }
        };
        drop(cancellation);
        span.record("tidings.rows_read", read.scan.rows());
        listed.end(&answer);
        if let Err(error) = &answer
            && error.kind().is_failure()
        {
            span.record("error.type", tracing::field::debug(error.kind()));
        }
        answer
    }

    fn admit(&self, client: ClientId) -> Result<PendingPermit, QueryError> {
        let permit = self.client_permits.request(client, self.limits.waiting_max);
        permit.ok_or_else(|| QueryError::Overloaded { waiting: self.client_permits.queued() })
    }
}

/// A query that is added to the slowest recent queries when it ends. A dropped one was abandoned.
struct ListedQuery<'a> {
    execution: &'a Execution,
    progress: Arc<Progress>,
    /// Rows that earlier queries of the same handle have read.
    rows_before: u64,
    started: Instant,
    start: UnixNanos,
    outcome: QueryOutcome,
}

impl<'a> ListedQuery<'a> {
    fn new(execution: &'a Execution, progress: &Arc<Progress>, started: Instant) -> Self {
        Self {
            execution,
            progress: Arc::clone(progress),
            rows_before: progress.scan.rows(),
            started,
            start: execution.clock.now(),
            outcome: QueryOutcome::Abandoned,
        }
    }

    fn end<T>(&mut self, answer: &Result<T, QueryError>) {
        self.outcome = match answer {
            Ok(_) => QueryOutcome::Answered,
            Err(error) if error.kind().is_failure() => QueryOutcome::Failed,
            Err(_) => QueryOutcome::Refused,
        };
    }
}

impl Drop for ListedQuery<'_> {
    fn drop(&mut self) {
        self.execution.recent.record(EndedQuery {
            start: self.start,
            duration: self.execution.clock.instant().saturating_duration_since(self.started),
            rows: self.progress.scan.rows().saturating_sub(self.rows_before),
            outcome: self.outcome,
        });
    }
}

/// An internal error.
#[must_use]
pub fn defect(reason: &dyn fmt::Display) -> QueryError {
    QueryError::Defect { reason: reason.to_string() }
}

impl Drop for CancellationGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Reader {
    /// Reader of a snapshot that the caller holds.
    pub(crate) fn over(bounded: BoundedSnapshot, limits: QueryLimits) -> Self {
        let BoundedSnapshot { snapshot, stop: cancelled, clock, deadline } = bounded;
        let settings = QuerySettings { search_rows_max: u64::MAX, ..QuerySettings::default() };
        Self {
            snapshot: snapshot.stopped_by(Arc::clone(&cancelled)),
            cancelled,
            progress: Arc::default(),
            thread_budget: Arc::default(),
            deadline,
            now: clock.now(),
            clock,
            settings: Arc::new(settings),
            limits,
        }
    }

    /// Returns a reader of the same snapshot that fails after this many tenths of the deadline, so
    /// that time is left to answer without a part.
    pub(crate) fn with_deadline_tenths(&self, tenths: u32) -> Self {
        let deadline = self.limits.deadline / 10 * tenths;
        let earlier = self.limits.deadline.saturating_sub(deadline);
        Self {
            deadline: self.deadline.checked_sub(earlier).unwrap_or(self.deadline),
            limits: QueryLimits { deadline, ..self.limits },
            ..self.clone()
        }
    }

    /// Returns a reader of the same snapshot that holds at most half as many spans of the traces
    /// of a page, so that two can read at once.
    pub(crate) fn with_half_pages(&self) -> Self {
        let page_spans_max = self.limits.page_spans_max / 2;
        Self { limits: QueryLimits { page_spans_max, ..self.limits }, ..self.clone() }
    }

    /// Returns the reader with this number of helper threads of its own.
    #[cfg(test)]
    pub(crate) fn with_helper_threads(self, count: usize) -> Self {
        Self { thread_budget: Arc::new(ThreadBudget::with_threads(count)), ..self }
    }

    /// Passes the matching spans to `visit` until it breaks or fails, or the deadline passes.
    ///
    /// # Errors
    /// `Cancelled`, `Deadline`, the errors of `visit`, and `Storage` when a file cannot be read.
    pub fn spans(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        visit: impl FnMut(&SpanRows) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.visit_rows(visit, |snapshot, visit| snapshot.scan_spans(filter, scan, visit))
    }

    /// Runs a scan of the snapshot that passes its rows to `visit` until that breaks or fails, or
    /// the deadline passes.
    fn visit_rows<R>(
        &self,
        mut visit: impl FnMut(&R) -> Result<ControlFlow<()>, QueryError>,
        scan: impl FnOnce(&Snapshot, RowVisitor<'_, R>) -> Result<ScanStats, StorageError>,
    ) -> Result<ScanStats, QueryError> {
        let mut failure = None;
        self.check()?;
        let stats = scan(&self.snapshot, &mut |rows| self.step(visit(rows), STOP, &mut failure))?;
        self.ended(stats, failure)
    }

    /// Reads the newest matching spans as [`Self::spans`] does. Spans older than `visit` reports to
    /// need may be left out.
    ///
    /// # Errors
    /// The errors of [`Self::spans`].
    pub fn newest_spans(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        mut visit: impl FnMut(&SpanRows) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.newest_spans_reached(filter, scan, |rows, _| visit(rows))
    }

    /// Reads as [`Self::newest_spans`] does. `visit` also gets the time after which all spans were
    /// read. It is called without spans when that time changes.
    ///
    /// # Errors
    /// The errors of [`Self::spans`].
    pub fn newest_spans_reached(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        visit: impl FnMut(&SpanRows, UnixNanos) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.newest_spans_past(self.limits.counted_rows_min, filter, scan, visit)
    }

    /// Reads as [`Self::newest_spans`] does, with this minimum number of rows for counting.
    fn newest_spans_past(
        &self,
        counted_rows: u64,
        filter: &SpanFilter,
        scan: Scan,
        mut visit: impl FnMut(&SpanRows, UnixNanos) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        let mut failure = None;
        self.check()?;
        let visit = &mut |rows: &SpanRows, reached| {
            self.step(visit(rows, reached), RowsNeeded::Nothing, &mut failure)
        };
        let stats = self.snapshot.scan_newest_spans(filter, scan, counted_rows, visit)?;
        self.ended(stats, failure)
    }

    /// Finds the latest matching span. `visit` returns the latest time so far; no rows are read for
    /// counting.
    pub(crate) fn latest_spans(
        &self,
        filter: &SpanFilter,
        scan: Scan,
        mut visit: impl FnMut(&SpanRows) -> UnixNanos,
    ) -> Result<(), QueryError> {
        self.newest_spans_past(0, filter, scan, |rows, _| Ok(RowsNeeded::Since(visit(rows))))
            .map(drop)
    }

    /// Finds the latest matching log record, as [`Self::latest_spans`] does for spans.
    pub(crate) fn latest_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        mut visit: impl FnMut(&LogRows) -> UnixNanos,
    ) -> Result<(), QueryError> {
        self.newest_logs_past(0, filter, scan, |rows, _| Ok(RowsNeeded::Since(visit(rows))))
            .map(drop)
    }

    /// Reads log records as [`Self::spans`] reads spans.
    pub(crate) fn logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        visit: impl FnMut(&LogRows) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.visit_rows(visit, |snapshot, visit| snapshot.scan_logs(filter, scan, visit))
    }

    /// Counts log records from the counts in data files. The rest is left to [`Self::logs_within`].
    pub(crate) fn count_logs(
        &self,
        filter: &LogFilter,
        step: DurationNanos,
    ) -> Result<CountedLogs, QueryError> {
        self.check()?;
        let counted = self.snapshot.count_logs(filter, step);
        self.check()?;
        Ok(counted)
    }

    /// Counts as [`Self::count_logs`] does, by service and form of the message. Forms beyond the
    /// bounds are dropped, the rarest first.
    pub(crate) fn count_log_forms(
        &self,
        filter: &LogFilter,
        step: DurationNanos,
        bounds: FormBounds,
    ) -> Result<CountedForms, QueryError> {
        self.check()?;
        let counted = self.snapshot.count_log_forms(filter, step, bounds);
        self.check()?;
        Ok(counted)
    }

    /// Reads as [`Self::logs`] does, with these disjoint time ranges in place of the filter's. The
    /// last range is read first.
    pub(crate) fn logs_within(
        &self,
        filter: &LogFilter,
        times: &[TimeRange],
        scan: Scan,
        mut visit: impl FnMut(&LogRows) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        let mut stats =
            ScanStats { complete: !self.snapshot.may_miss_logs(), ..ScanStats::NOTHING };
        for time in times.iter().rev() {
            let filter = LogFilter { time: *time, ..filter.clone() };
            let rows_max = scan.rows_max.saturating_sub(stats.rows);
            stats += self.logs(&filter, Scan { rows_max, ..scan }, &mut visit)?;
        }
        Ok(stats)
    }

    /// Reads log records as [`Self::newest_spans`] reads spans.
    pub(crate) fn newest_logs(
        &self,
        filter: &LogFilter,
        scan: Scan,
        visit: impl FnMut(&LogRows) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.newest_logs_counting(self.limits.counted_logs_min, filter, scan, visit)
    }

    /// Reads as [`Self::newest_logs`] does, with this minimum number of rows for counting.
    pub(crate) fn newest_logs_counting(
        &self,
        counted_rows: u64,
        filter: &LogFilter,
        scan: Scan,
        mut visit: impl FnMut(&LogRows) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        self.newest_logs_past(counted_rows, filter, scan, |rows, reached| {
            self.report_reached(reached);
            visit(rows)
        })
    }

    /// Reads the oldest matching records, as [`Self::newest_logs_counting`] reads the newest.
    /// Records later than `visit` reports to need may be left out.
    pub(crate) fn oldest_logs_counting(
        &self,
        counted_rows: u64,
        filter: &LogFilter,
        scan: Scan,
        mut visit: impl FnMut(&LogRows) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        let mut failure = None;
        self.check()?;
        let visit =
            &mut |rows: &LogRows, _| self.step(visit(rows), RowsNeeded::Nothing, &mut failure);
        let stats = self.snapshot.scan_oldest_logs(filter, scan, counted_rows, visit)?;
        self.ended(stats, failure)
    }

    /// Reads as [`Self::newest_logs`] does, with this minimum number of rows for counting.
    fn newest_logs_past(
        &self,
        counted_rows: u64,
        filter: &LogFilter,
        scan: Scan,
        mut visit: impl FnMut(&LogRows, UnixNanos) -> Result<RowsNeeded, QueryError>,
    ) -> Result<ScanStats, QueryError> {
        let mut failure = None;
        self.check()?;
        let visit = &mut |rows: &LogRows, reached| {
            self.step(visit(rows, reached), RowsNeeded::Nothing, &mut failure)
        };
        let stats = self.snapshot.scan_newest_logs(filter, scan, counted_rows, visit)?;
        self.ended(stats, failure)
    }

    /// Reports the number of matches so far.
    pub(crate) fn report_matches(&self, matches: usize) {
        self.progress.set_found(matches);
    }

    /// Reports that everything after this time was read.
    pub(crate) fn report_reached(&self, time: UnixNanos) {
        self.progress.set_reached(time);
    }

    /// Reports whether a client listens for progress.
    pub(crate) fn has_listener(&self) -> bool {
        self.progress.has_listener
    }

    /// Streams further traces of the answer to the client.
    pub(crate) fn stream_traces(&self, traces: Vec<TraceSummary>) {
        self.progress.add_traces(traces);
    }

    /// The current instant, for measuring durations.
    pub(crate) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// Time since the query arrived, time in the queue included.
    pub(crate) fn elapsed(&self) -> Duration {
        let left = self.deadline.saturating_duration_since(self.clock.instant());
        self.limits.deadline.saturating_sub(left)
    }

    /// Reports whether this many tenths of the deadline have passed. A query then stops collecting
    /// and finishes with the rows that it has.
    pub(crate) fn is_late(&self, tenths: u32) -> bool {
        self.elapsed() > self.limits.deadline / 10 * tenths
    }

    /// Converts the end of a scan to a result. Checks the deadline even when nothing was visited.
    fn ended<T>(&self, found: T, failure: Option<QueryError>) -> Result<T, QueryError> {
        match failure {
            Some(failure) => Err(failure),
            None => self.check().map(|()| found),
        }
    }

    fn step<T>(
        &self,
        visited: Result<T, QueryError>,
        stop: T,
        failure: &mut Option<QueryError>,
    ) -> T {
        match visited.and_then(|flow| self.check().map(|()| flow)) {
            Ok(flow) => flow,
            Err(error) => {
                *failure = Some(error);
                stop
            }
        }
    }

    /// Reports whether stored spans may be missing, so that no answer is complete.
    pub(crate) fn may_miss_spans(&self) -> bool {
        self.snapshot.may_miss_spans()
    }

    /// Fails when the client no longer waits for the answer, or the deadline has passed. The check
    /// reads a flag and not the clock. Loops make it before each row, whose texts may take a
    /// pattern seconds.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn check_cancelled(&self) -> Result<(), QueryError> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(QueryError::Cancelled),
            false => Ok(()),
        }
    }

    /// Fails when the query is cancelled or its deadline has passed.
    ///
    /// # Errors
    /// `Cancelled` and `Deadline`.
    pub fn check(&self) -> Result<(), QueryError> {
        self.check_cancelled()?;
        if self.clock.instant() >= self.deadline {
            return Err(QueryError::Deadline { limit: self.limits.deadline });
        }
        Ok(())
    }
}

/// Statistics of the scan, and whether it was complete.
pub(crate) fn search_stats(reader: &Reader, stats: ScanStats) -> Searched {
    let elapsed = u64::try_from(reader.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Searched {
        rows: stats.rows,
        files: stats.files,
        elapsed_nano: DurationNanos(elapsed),
        complete: stats.complete,
    }
}

/// A total that is exact when everything was read.
pub(crate) fn total(value: u64, complete: bool) -> Total {
    let relation = if complete { TotalRelation::Exact } else { TotalRelation::AtLeast };
    Total { value, relation }
}

#[cfg(test)]
mod tests;
