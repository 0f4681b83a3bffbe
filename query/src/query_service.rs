//! Query service: runs queries, independent of HTTP.
//!
//! Owns only the handles. `ask` runs the function of a query's module on a blocking thread over one
//! snapshot, within the bounds of [`crate::QueryLimits`]. A query has a method of its own when it
//! needs more than that, or when other crates call it.

mod export;
pub(crate) mod log_tails;
mod version_waits;

use std::{fmt, sync::Arc};

use tidings_audit::{AuditLog, AuditPage, AuditQuery};
use tidings_proto::{
    SpanId, UnixNanos,
    api::{
        AnswerTimes, AttributeKeyList, ChangeReport, FoundNameList, LogContext, LogSearchResult,
        NameList, ReceiverRefusal, ReceiverStatus, ResolveResult, SpanDetails, SpanMatches,
        TraceSearchResult, TraceSkeleton, TraceView, TransactionView,
    },
    otlp::ExportTraceServiceRequest,
};
use tidings_storage::{Clock, LogCondition, Store};

use tokio::sync::watch;

pub use version_waits::VersionWait;

use crate::{
    LogContextSearch, LogSearch, NameSearch, QueryError, QueryLimits, QuerySettings, SpanSearch,
    TraceName, TraceRequest, TraceSearch,
    analysis::{ChangeSearch, changes},
    client_quota::{ClientId, TenantNumber, UnreadQuota},
    execution::{
        Admission, AdmissionSlot, ClientSemaphore, Execution, Progress, QueryClient, QueryOrigin,
        Reader, RecentQueries,
    },
    log_reader, name_search,
    resolve::{self, ResolveSearch},
    search, span_search, trace, transactions,
    word_search::{self, CandidateCache, CandidateSource, WordSearch},
};

pub use export::TraceExport;

/// Answers queries over the stored data. Clones share the queue. Every method fails with
/// `Overloaded` when too many queries wait, in all or of its [client](QueryOrigin::client). It
/// fails with `Deadline` when it takes too long. A query stops reading soon after its future is
/// dropped.
#[derive(Debug, Clone)]
pub struct QueryService {
    store: Store,
    settings: Arc<QuerySettings>,
    execution: Arc<Execution>,
    /// Permits of clients that wait for a version.
    version_waits: Arc<ClientSemaphore>,
    /// Permits of log tails.
    tails: Arc<ClientSemaphore>,
    /// Becomes true when tails and long polls must end.
    shutdown: Arc<watch::Sender<bool>>,
    /// Progress of the queries of this handle.
    progress: Arc<Progress>,
    /// Slot for the queries' permits, when these outlive the query.
    permit_slot: Option<AdmissionSlot>,
    /// Client of the queries of a handle that outlives its request. Without it, the client is that
    /// of the request.
    client: Option<ClientId>,
    /// States of the receivers that fill the store.
    receivers: ReceiverStates,
    /// Times of the process's answers.
    answer_times: AnswerTimesSource,
    /// Names that the searches of one who types share.
    name_candidates: Arc<CandidateCache>,
    /// The process's audit log, and the one tenant whose events it shows.
    audit: Option<(Arc<AuditLog>, Option<String>)>,
}

impl QueryService {
    /// Creates a service over this store.
    #[must_use]
    pub fn new(store: Store, settings: QuerySettings, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(store, settings, QueryLimits::default(), clock)
    }

    /// Creates a service over this store with these bounds.
    #[must_use]
    pub fn with_limits(
        store: Store,
        settings: QuerySettings,
        limits: QueryLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let version_waits = ClientSemaphore::new(limits.versions_awaited_max);
        let tails = ClientSemaphore::new(limits.tails_max);
        let shutdown = Arc::new(watch::Sender::new(false));
        let execution = Arc::new(Execution::new(clock, limits));
        let (settings, progress) = (Arc::new(settings), Arc::default());
        let receivers = ReceiverStates::default();
        Self {
            store,
            settings,
            execution,
            version_waits,
            tails,
            shutdown,
            progress,
            permit_slot: None,
            client: None,
            receivers,
            answer_times: AnswerTimesSource::default(),
            name_candidates: Arc::default(),
            audit: None,
        }
    }

    /// Creates a service over another store, with a queue, tails and waits of its own. Its queries
    /// use the permits and threads of this service, and take at most half of the permits.
    #[must_use]
    pub fn with_shared_permits(&self, store: Store) -> Self {
        let limits = self.limits();
        Self {
            store,
            version_waits: ClientSemaphore::new(limits.versions_awaited_max),
            tails: ClientSemaphore::new(limits.tails_max),
            shutdown: Arc::new(watch::Sender::new(false)),
            execution: Arc::new(self.execution.with_shared_permits()),
            progress: Arc::default(),
            permit_slot: None,
            client: None,
            receivers: ReceiverStates::default(),
            answer_times: AnswerTimesSource::default(),
            name_candidates: Arc::default(),
            audit: None,
            settings: Arc::clone(&self.settings),
        }
    }

    /// Limits its queries to half of the permits from now on, because another service
    /// [shares them](Self::with_shared_permits).
    pub fn halve_permits(&self) {
        self.execution.halve_permits();
    }

    /// The slowest recent queries. Callers may add queries that did not run here, such as SQL.
    #[must_use]
    pub fn recent_queries(&self) -> &RecentQueries {
        self.execution.recent()
    }

    /// Quota of the answer bytes that clients have not read yet, and the number of this tenant.
    #[must_use]
    pub fn unread_quota(&self) -> (&Arc<UnreadQuota>, TenantNumber) {
        self.execution.unread_quota()
    }

    /// Returns a handle whose answers name the refusals of these receivers.
    #[must_use]
    pub fn with_receivers(&self, receivers: ReceiverStates) -> Self {
        Self { receivers, ..self.clone() }
    }

    /// Returns a handle whose answers include these answer times.
    #[must_use]
    pub fn with_answer_times(&self, answer_times: AnswerTimesSource) -> Self {
        Self { answer_times, ..self.clone() }
    }

    /// Times of the process's answers; empty unless the process provides them.
    #[must_use]
    pub fn answer_times(&self) -> Vec<AnswerTimes> {
        self.answer_times.0.as_ref().map(|times| times()).unwrap_or_default()
    }

    /// Returns a handle that searches this audit log: the events of one tenant, or of all tenants.
    #[must_use]
    pub fn with_audit(&self, audit: Arc<AuditLog>, tenant: Option<String>) -> Self {
        Self { audit: Some((audit, tenant)), ..self.clone() }
    }

    /// Events of the audit log; none without a log.
    ///
    /// # Errors
    /// `Storage` when a file cannot be read.
    pub async fn audit(&self, search: AuditQuery) -> Result<AuditPage, QueryError> {
        let Some((audit, tenant)) = self.audit.clone() else { return Ok(AuditPage::default()) };
        let search = AuditQuery { tenant, ..search };
        self.ask(move |_| Ok(audit.search(&search)?)).await
    }

    /// Returns a handle whose queries report their progress here.
    #[must_use]
    pub fn with_progress(&self, progress: Arc<Progress>) -> Self {
        Self { progress, ..self.clone() }
    }

    /// Returns a handle whose queries keep their permits until its next query, or until the
    /// admission is dropped.
    #[must_use]
    pub fn holding_permits(&self) -> (Self, Admission) {
        let admission = Admission::new(self.limits());
        (Self { permit_slot: Some(admission.slot()), ..self.clone() }, admission)
    }

    /// Returns the client of this handle's queries.
    fn client(&self) -> ClientId {
        self.client.clone().unwrap_or_else(QueryOrigin::current_client)
    }

    /// Returns a handle whose queries keep the client of the current request after the request has
    /// ended.
    fn with_current_client(&self) -> Self {
        Self { client: Some(self.client()), ..self.clone() }
    }

    /// Bounds on the cost of queries.
    #[must_use]
    pub fn limits(&self) -> &QueryLimits {
        self.execution.limits()
    }

    /// Returns the assembled trace with all fields of its spans.
    ///
    /// # Errors
    /// `NotFound`; `TooManySpans` when it has more than [`QueryLimits::view_spans_max`];
    /// `TooManyBytes` when the spans take more memory than [`QueryLimits::view_bytes_max`].
    pub async fn trace(&self, request: impl Into<TraceRequest>) -> Result<TraceView, QueryError> {
        let request = request.into();
        self.ask(move |reader| trace::view(reader, request)).await
    }

    /// Returns the trace as columns.
    ///
    /// # Errors
    /// `NotFound`; `TooManySpans` when it has more than [`QueryLimits::skeleton_spans_max`].
    pub async fn skeleton(
        &self,
        request: impl Into<TraceRequest>,
    ) -> Result<TraceSkeleton, QueryError> {
        let request = request.into();
        self.ask(move |reader| trace::skeleton(reader, request)).await
    }

    /// Returns one span of a trace: the one in row `index`, or the first one with the id.
    ///
    /// # Errors
    /// `NotFound`; `Parameter` when row `index` is another span.
    pub async fn span(
        &self,
        request: impl Into<TraceRequest>,
        span_id: SpanId,
        index: Option<u32>,
    ) -> Result<SpanDetails, QueryError> {
        let request = request.into();
        self.ask(move |reader| trace::span(reader, request, span_id, index)).await
    }

    /// Returns the rows of the spans of a trace that contain a text, or that a TraceQL query
    /// selects.
    ///
    /// # Errors
    /// `NotFound`; `Parameter` when the text has no word or the query cannot be parsed; for a
    /// query, also the errors of [`Self::trace`].
    pub async fn find_spans(
        &self,
        request: impl Into<TraceRequest>,
        search: SpanSearch,
    ) -> Result<SpanMatches, QueryError> {
        let request = request.into();
        self.ask(move |reader| span_search::find(reader, request, &search)).await
    }

    /// Returns the trace as it was sent, in one piece. Exact duplicates occur once, and the order
    /// depends only on the content.
    ///
    /// # Errors
    /// The errors of [`Self::trace`].
    pub async fn otlp(&self, name: TraceName) -> Result<ExportTraceServiceRequest, QueryError> {
        self.ask(move |reader| trace::otlp(reader, name)).await
    }

    /// Returns the trace as it was sent, part by part, whatever its size.
    ///
    /// # Errors
    /// `NotFound`; `TooManySpans` when it has more than [`QueryLimits::export_spans_max`].
    pub async fn export(&self, name: TraceName) -> Result<TraceExport, QueryError> {
        let (trace_id, keys) = self.ask(move |reader| trace::export_list(reader, name)).await?;
        Ok(TraceExport::new(self.with_current_client(), trace_id, keys))
    }

    /// Returns a page of the traces with one span that matches every filter, newest first.
    ///
    /// # Errors
    /// None of its own. A trace that is too large for a list has a summary with a note.
    pub async fn traces(&self, search: TraceSearch) -> Result<TraceSearchResult, QueryError> {
        self.ask(move |reader| search::search(reader, &search)).await
    }

    /// Returns everything that belongs to a transaction id.
    ///
    /// # Errors
    /// `NotFound` names the interpretations of the id that were tried.
    pub async fn transaction(&self, tid: String) -> Result<TransactionView, QueryError> {
        self.ask(move |reader| transactions::transaction(reader, &tid)).await
    }

    /// A page of the log records that match.
    ///
    /// # Errors
    /// None of its own.
    pub async fn logs(&self, search: LogSearch) -> Result<LogSearchResult, QueryError> {
        self.ask(move |reader| log_reader::search(reader, &search)).await
    }

    /// Parses the query of log records. Compiling patterns takes time, so it runs as a query in the
    /// queue.
    ///
    /// # Errors
    /// `Parameter` names the character at which the text is not a query, and the expected syntax.
    pub async fn log_condition(&self, query: String) -> Result<LogCondition, QueryError> {
        self.ask(move |_| log_reader::log_condition(&query)).await
    }

    /// A log record with those around it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn log_context(&self, search: LogContextSearch) -> Result<LogContext, QueryError> {
        self.ask(move |reader| log_reader::context::context(reader, &search)).await
    }

    /// Returns changes of transactions and services against an earlier time, and their culprits.
    /// The report includes the refusals of receivers since the end of traffic.
    ///
    /// # Errors
    /// `Parameter` when a window has too many steps, or nothing lies before it.
    pub async fn changes(&self, search: ChangeSearch) -> Result<ChangeReport, QueryError> {
        let mut report = self.ask(move |reader| changes::changes(reader, &search)).await?;
        if let Some(end) = &mut report.traffic_end {
            end.refusals = self.receivers.refusals_since(end.since_unix_nano);
        }
        Ok(report)
    }

    /// Services by number of spans.
    ///
    /// # Errors
    /// None of its own.
    pub async fn services(&self, search: NameSearch) -> Result<NameList, QueryError> {
        self.ask(move |reader| name_search::services(reader, &search)).await
    }

    /// Operations by number of spans.
    ///
    /// # Errors
    /// None of its own.
    pub async fn operations(&self, search: NameSearch) -> Result<NameList, QueryError> {
        self.ask(move |reader| name_search::operations(reader, &search)).await
    }

    /// Attribute keys by number of spans.
    ///
    /// # Errors
    /// None of its own.
    pub async fn attribute_keys(&self, search: NameSearch) -> Result<AttributeKeyList, QueryError> {
        self.ask(move |reader| name_search::attribute_keys(reader, &search)).await
    }

    /// The values of an attribute by number of spans.
    ///
    /// # Errors
    /// None of its own.
    pub async fn attribute_values(
        &self,
        key: String,
        search: NameSearch,
    ) -> Result<NameList, QueryError> {
        self.ask(move |reader| name_search::attribute_values(reader, &key, &search)).await
    }

    /// Returns the names that have all words of a text, best first. Versions, exceptions and peers
    /// may be some seconds old. A list without the names that took too long is truncated.
    ///
    /// # Errors
    /// None of its own.
    pub async fn found_names(&self, search: WordSearch) -> Result<FoundNameList, QueryError> {
        // The counts are of before the snapshot, so that cached names are as new as they say.
        let source = CandidateSource {
            cache: Arc::clone(&self.name_candidates),
            rows: self.row_counts(),
            erasures: self.store.ended_erasures(),
        };
        self.ask(move |reader| word_search::found_names(reader, &search, &source)).await
    }

    /// Returns the stored traces that a pasted text may mean, possibly none.
    ///
    /// # Errors
    /// None of its own.
    pub async fn resolve(&self, search: ResolveSearch) -> Result<ResolveResult, QueryError> {
        self.ask(move |reader| resolve::resolve(reader, &search)).await
    }

    /// The current time of the service's clock.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.execution.now()
    }

    /// The current instant, for measuring durations.
    #[must_use]
    pub fn instant(&self) -> std::time::Instant {
        self.execution.clock().instant()
    }

    /// Maximum number of rows that a search reads.
    #[must_use]
    pub fn search_rows_max(&self) -> u64 {
        self.settings.search_rows_max
    }

    /// Resolves after this long.
    pub async fn pause(&self, duration: std::time::Duration) {
        self.execution.clock().sleep(duration).await;
    }

    /// Runs a query as [`Self::ask`] does; abandons it after `limit`, if that is set.
    ///
    /// # Errors
    /// The errors of [`Self::ask`].
    pub async fn ask_with_timeout<T: Send + 'static>(
        &self,
        limit: Option<std::time::Duration>,
        work: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let Some(limit) = limit else { return self.ask(work).await };
        tokio::select! {
            answer = self.ask(work) => answer,
            () = self.pause(limit) => Err(QueryError::Deadline { limit }),
        }
    }

    /// Runs a query, which is a function that reads one snapshot. Used for analyses, for queries of
    /// other systems' APIs, and for parts of an answer.
    ///
    /// # Errors
    /// The errors of `work`.
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        // Without a listener, each query has a progress of its own, so that its rows are counted
        // separately.
        let listened = self.progress.has_listener.then(|| Arc::clone(&self.progress));
        let progress = listened.unwrap_or_default();
        let query_client =
            QueryClient { client: self.client(), permit_slot: self.permit_slot.clone() };
        self.execution.run(&self.store, &self.settings, progress, query_client, work).await
    }
}

/// A function that returns the states of the receivers; none unless the process gives one.
#[derive(Clone, Default)]
pub struct ReceiverStates(Option<Arc<dyn Fn() -> Vec<ReceiverStatus> + Send + Sync>>);

impl ReceiverStates {
    /// Creates a source of these states. The function must not block.
    pub fn new(states: impl Fn() -> Vec<ReceiverStatus> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(states)))
    }

    /// The refusals with an occurrence at this time or later, the latest first.
    pub(crate) fn refusals_since(&self, time: UnixNanos) -> Vec<ReceiverRefusal> {
        let states = self.0.as_ref().map(|states| states()).unwrap_or_default();
        let of = |state: ReceiverStatus| {
            let receiver = state.name;
            state
                .refusals
                .into_iter()
                .map(move |refusal| ReceiverRefusal { receiver: receiver.clone(), refusal })
        };
        let mut refusals: Vec<ReceiverRefusal> = states.into_iter().flat_map(of).collect();
        refusals.retain(|of| of.refusal.last_unix_nano >= time);
        refusals.sort_by_key(|of| std::cmp::Reverse(of.refusal.last_unix_nano));
        refusals
    }
}

/// A function that returns the times of the process's answers; none unless the process gives one.
#[derive(Clone, Default)]
pub struct AnswerTimesSource(Option<Arc<dyn Fn() -> Vec<AnswerTimes> + Send + Sync>>);

impl AnswerTimesSource {
    /// Creates a source of these times. The function must not block.
    pub fn new(times: impl Fn() -> Vec<AnswerTimes> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(times)))
    }
}

impl fmt::Debug for AnswerTimesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerTimesSource").finish_non_exhaustive()
    }
}

impl fmt::Debug for ReceiverStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverStates").finish_non_exhaustive()
    }
}
