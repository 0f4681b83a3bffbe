//! Liveness, readiness, the server's status, and demo traffic on request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tidings_access::{AccessPolicy, Credentials, Role, TenantName, without_keys};
use tidings_apis::{ETag, ProblemResponse};
use tidings_collector::{Collector, Destination, RedactionSettings, TlsFiles};
use tidings_proto::{
    UnixNanos,
    api::{
        ProblemDetails, ProcessMemory, RetentionHorizon, ServerStatus, SignalCounts, StorageStatus,
    },
};
use tidings_storage::Store;
use tokio::{sync::Mutex, task::JoinHandle};
use utoipa::OpenApi;

use super::{metrics::resident_bytes, problem::without_parameters, storage::storage_status};
use crate::{
    VERSION,
    client_identity::{ClientIdentity, ClientTls},
    demo,
    health::Health,
    settings::ClientKey,
};

/// The settings that the status and the demo need.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerSetup {
    /// True when other machines may reach listeners that require no keys.
    pub(crate) insecure: bool,
    /// The files of the listeners' TLS.
    pub(crate) tls: Option<TlsFiles>,
    /// The keys that requests need.
    pub(crate) access: AccessPolicy,
    /// The attributes whose values name transactions.
    pub(crate) transaction_keys: Vec<String>,
    /// Settings of the replacement of secrets.
    pub(crate) redaction: RedactionSettings,
    /// The memory budget: the setting `memory`, or the measured one.
    pub(crate) memory_budget: Option<u64>,
}

/// The tenant whose status is shown.
#[derive(Debug, Clone)]
pub(crate) struct ServedTenant {
    pub(crate) name: TenantName,
    pub(crate) store: Store,
    pub(crate) destination: Arc<Destination>,
}

/// A warning about stores of tenants other than the default one.
const OTHERS_IN_TROUBLE: &str = "a store of another tenant needs somebody, the log says which";

/// State of the server process, as one tenant sees it.
#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: ServedTenant,
    collector: Arc<Collector>,
    health: Health,
    started: UnixNanos,
    setup: ServerSetup,
    draining: AtomicBool,
    demo: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Creates the state; `setup` has the settings that it shows and uses.
    pub(crate) fn new(
        tenant: ServedTenant,
        collector: Arc<Collector>,
        health: Health,
        started: UnixNanos,
        setup: ServerSetup,
    ) -> Self {
        let (draining, demo) = (AtomicBool::new(false), Mutex::new(None));
        Self(Arc::new(Inner { tenant, collector, health, started, setup, draining, demo }))
    }

    /// Reports "not ready" from now on and ends demo traffic.
    pub(crate) async fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        if let Some(task) = self.0.demo.lock().await.take() {
            task.abort();
        }
    }

    /// Reports whether a request may read the texts of warnings and failures: where no keys are
    /// required, or with a key of this tenant that reads.
    fn may_read_texts(&self, headers: &HeaderMap) -> bool {
        let access = &self.0.setup.access;
        if access.ring().is_none() {
            return true;
        }
        let known = access.identify(headers, Credentials::KeysAndSessions).ok().flatten();
        known.is_some_and(|caller| {
            caller.role() != Role::Ingest && *caller.tenant() == self.0.tenant.name
        })
    }

    /// Returns the texts of conditions that need an operator.
    fn warnings(&self) -> Vec<String> {
        let store = &self.0.tenant.store;
        // Other tenants are not named here.
        let others = self.0.health.has_others_in_trouble();
        let others = others.then(|| OTHERS_IN_TROUBLE.to_owned());
        let issuer = self.0.setup.access.ring().and_then(|ring| ring.issuer()?.fault());
        let issuer = issuer.map(|fault| format!("tokens and sign-ins may be refused: {fault}"));
        let of_store = store.alarms().into_iter().chain(store.flush_failure());
        let of_process = self.0.tenant.name.is_default().then(|| self.0.health.alarms());
        of_store.chain(others).chain(issuer).chain(of_process.into_iter().flatten()).collect()
    }

    fn status(&self, demo_running: bool) -> ServerStatus {
        let ServedTenant { name, store, destination } = &self.0.tenant;
        let counts = store.counts();
        let (spans, logs) = destination.counts();
        // Fields of the process: other tenants share it and do not see them.
        let is_of_process = name.is_default();
        let memory = resident_bytes().filter(|_| is_of_process);
        let disk = store.disk_space().filter(|_| is_of_process);
        ServerStatus {
            version: VERSION.to_owned(),
            tenant: name.to_string(),
            started_unix_nano: self.0.started,
            receivers: self.0.collector.receivers_of(destination),
            spans: SignalCounts { stored: counts.spans, ..spans },
            logs: SignalCounts { stored: counts.log_records, ..logs },
            redacted_values: destination.redacted_values(),
            redact: self.0.setup.redaction.enabled,
            redact_keys: self.0.setup.redaction.keys.clone(),
            has_data: counts.spans + counts.log_records > 0,
            demo_running,
            insecure: self.0.setup.insecure,
            keys_required: self.0.setup.access.ring().is_some(),
            transaction_keys: self.0.setup.transaction_keys.clone(),
            tasks: self.0.health.tasks(),
            storage: storage_status(store.usage(), disk),
            memory: memory.map(|resident_bytes| ProcessMemory {
                resident_bytes,
                budget_bytes: self.0.setup.memory_budget,
            }),
        }
    }
}

/// API description of these routes.
#[derive(OpenApi)]
#[openapi(paths(status, start_demo), components(schemas(ServerStatus, ProblemDetails)))]
pub(super) struct StatusApi;

pub(super) fn routes(server: Server) -> Router {
    let probes = Router::new()
        .route("/live", get(live_or_failed))
        .route("/ready", get(ready))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::map_response(never_cached));
    let api = Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/demo", post(start_demo))
        .method_not_allowed_fallback(wrong_method);
    probes.merge(tidings_apis::with_api_headers(api)).with_state(server)
}

/// The `Allow` header comes from the router.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    ProblemResponse::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This method is not possible here",
        without_keys(format!("{method} is not possible on {}", uri.path())),
    )
    .into_response()
}

async fn never_cached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Routes that are served while the store opens: the process is live but not ready.
pub(crate) fn starting() -> Router {
    let not_yet = || async {
        let detail = "the write-ahead log is being read; try again in a second";
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let mut response =
            ProblemResponse::new(unavailable, "starting", "The server is starting", detail)
                .into_response();
        // Browsers reload by this header.
        for name in [header::RETRY_AFTER, header::REFRESH] {
            response.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
        response
    };
    Router::new()
        .route("/live", get(live))
        .fallback(not_yet)
        .layer(middleware::map_response(never_cached))
        .layer(middleware::map_response(super::site_guard::secure))
}

async fn live() -> &'static str {
    "live\n"
}

/// Answers 200, unless the process is about to end.
async fn live_or_failed(State(server): State<Server>, headers: HeaderMap) -> Response {
    match server.0.health.failure() {
        None => live().await.into_response(),
        Some(reason) => {
            let has_texts = server.may_read_texts(&headers);
            let reason = if has_texts { reason } else { "see the log".to_owned() };
            (StatusCode::SERVICE_UNAVAILABLE, format!("not live: {reason}\n")).into_response()
        }
    }
}

/// Answers 200 when an export would be accepted now, and 503 with the reason otherwise. Reasons and
/// warnings name files and addresses. Where keys are required, a request without one that reads
/// gets only their number.
async fn ready(State(server): State<Server>, headers: HeaderMap) -> Response {
    let has_texts = server.may_read_texts(&headers);
    // After a failure the process shuts down, so the failure is the reason to show.
    let reason = if let Some(failure) = server.0.health.failure() {
        Some(failure)
    } else if server.0.draining.load(Ordering::Relaxed) {
        Some("shutting down".to_owned())
    } else {
        server.0.tenant.store.ready().err().map(|error| error.to_string())
    };
    match reason {
        None => {
            let warnings = server.warnings();
            let texts = match (has_texts, warnings.len()) {
                (true, _) => warnings.iter().map(|text| format!("warning: {text}\n")).collect(),
                (false, 0) => String::new(),
                (false, 1) => "1 warning; see the log\n".to_owned(),
                (false, count) => format!("{count} warnings; see the log\n"),
            };
            format!("ready\n{texts}").into_response()
        }
        Some(reason) => {
            let reason = if has_texts { reason } else { "see the log".to_owned() };
            let unavailable = StatusCode::SERVICE_UNAVAILABLE;
            (unavailable, [(header::RETRY_AFTER, "1")], format!("not ready: {reason}\n"))
                .into_response()
        }
    }
}

/// Counters of received data, addresses of listeners, and the state of demo traffic.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    tag = "server",
    operation_id = "getStatus",
    responses(
        (status = 200, body = ServerStatus),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter")
    )
)]
async fn status(State(server): State<Server>, uri: Uri) -> Response {
    if let Err(refusal) = without_parameters(&uri) {
        return refusal.into_response();
    }
    let running = server.0.demo.lock().await.as_ref().is_some_and(|task| !task.is_finished());
    let status = server.status(running);
    (Extension(status_tag(&status)), Json(status)).into_response()
}

/// Returns a tag of a status without the values that change on an idle server: memory, free disk,
/// and ages, which follow the clock.
fn status_tag(status: &ServerStatus) -> ETag {
    let storage = StorageStatus {
        disk_free_bytes: None,
        horizon: RetentionHorizon::default(),
        unflushed_age_nano: None,
        ..status.storage.clone()
    };
    let steady = ServerStatus { memory: None, storage, ..status.clone() };
    ETag::from_content(&serde_json::to_vec(&steady).unwrap_or_default())
}

/// Sends demo traffic to this server's own receivers for a minute.
#[utoipa::path(
    post,
    path = "/api/v1/demo",
    tag = "server",
    operation_id = "startDemo",
    responses(
        (status = 202, description = "It is being sent"),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter"),
        (
            status = 409,
            body = ProblemDetails,
            content_type = "application/problem+json",
            description = "It already was, or receivers ask for a client's certificate"
        )
    )
)]
async fn start_demo(State(server): State<Server>, uri: Uri) -> Response {
    if let Err(refusal) = without_parameters(&uri) {
        return refusal.into_response();
    }
    let mut demo = server.0.demo.lock().await;
    if demo.as_ref().is_some_and(|task| !task.is_finished()) {
        return ProblemResponse::new(
            StatusCode::CONFLICT,
            "demo-running",
            "Demo traffic is already being sent",
            "it ends by itself after a minute",
        )
        .into_response();
    }
    let tls = server.0.setup.tls.clone();
    if tls.as_ref().is_some_and(|files| files.client_ca.is_some()) {
        return ProblemResponse::new(
            StatusCode::CONFLICT,
            "demo-needs-certificate",
            "Demo traffic needs a certificate",
            "the receivers ask clients for a certificate, and the server has none for itself: use \
             `tidings demo` with --client-certificate and --client-key",
        )
        .into_response();
    }
    let (ring, tenant) = (server.0.setup.access.ring(), &server.0.tenant.name);
    let key = match ring.map(|ring| ring.own_key(tenant)).transpose() {
        Ok(key) => key.map(|key| key.reveal().to_owned()),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let title = "Demo traffic cannot be sent";
            return ProblemResponse::new(status, "failed", title, error.to_string())
                .into_response();
        }
    };
    let identity = ClientIdentity {
        tls: ClientTls::of_server(tls.map(|files| files.certificate)),
        key: ClientKey(key),
    };
    let receivers = server.0.collector.receivers();
    let Some(options) = demo::DemoOptions::for_receivers(&receivers, identity) else {
        return ProblemResponse::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Demo traffic cannot be sent",
            "the receivers are not running",
        )
        .into_response();
    };
    *demo = Some(tokio::spawn(async move {
        if let Err(error) = demo::send(&options).await {
            tracing::warn!("demo traffic ended: {error:#}");
        }
    }));
    StatusCode::ACCEPTED.into_response()
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::Path, sync::Arc};

    use axum::{
        Router,
        body::{Body, Bytes},
        http::Request,
    };
    use futures::future::BoxFuture;
    use http_body_util::BodyExt;
    use tidings_audit::{AuditLog, AuditSettings};
    use tidings_collector::{Collector, CollectorSettings, Phase, Phases, RECEIVERS, Sink};
    use tidings_storage::{
        Clock, StorageError, Store, StoreSettings, Supervision, SystemClock, TelemetryBatch,
    };
    use tokio::{net::TcpStream, sync::watch};
    use tower::ServiceExt;

    use super::{
        Destination, Health, ProcessMemory, ServedTenant, Server, ServerSetup, ServerStatus,
        StatusCode, TenantName, routes, status_tag,
    };
    use crate::web::{Measured, QueryTimes, connections, metrics};

    /// Answers of `grpc.health.v1`, without the frame.
    const SERVING: [u8; 2] = [8, 1];
    const NOT_SERVING: [u8; 2] = [8, 2];

    /// A sink that accepts nothing after a task has failed, as a store whose flush has failed.
    #[derive(Debug)]
    struct FailingSink(Supervision);

    impl Sink for FailingSink {
        fn append(&self, _: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>> {
            Box::pin(std::future::ready(self.check_capacity()))
        }

        fn check_capacity(&self) -> Result<(), StorageError> {
            self.0.failure().map_or(Ok(()), |_| Err(StorageError::WriterStopped))
        }
    }

    /// Builds the routes of a process with these tasks, and its receivers.
    async fn start(folder: &Path, tasks: &Supervision) -> (Router, Arc<Collector>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let settings = StoreSettings::new(folder.join("data"));
        let (store, _) = Store::open(settings, Arc::clone(&clock)).await.unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let receivers = RECEIVERS.iter().map(|receiver| (receiver.setting, any)).collect();
        let receivers = CollectorSettings::new(receivers);
        let sink: Arc<dyn Sink> = Arc::new(FailingSink(tasks.clone()));
        let collector = Collector::start_with(receivers, sink, Arc::clone(&clock)).await.unwrap();
        let collector = Arc::new(collector);
        let health = Health::new(vec![tasks.clone()]);
        let audit = AuditSettings { folder: folder.join("audit"), age: None, has_reads: false };
        let audit = AuditLog::open(audit, Arc::clone(&clock)).unwrap();
        let (apps, phases) = (watch::channel(Router::new()).1, watch::channel(Phase::Running).1);
        let web = connections(apps, Arc::clone(&clock), 9, Phases::new(phases));
        let measured = Measured {
            tenant: TenantName::default(),
            store: store.clone(),
            collector: Arc::clone(&collector),
            audit: Arc::new(audit),
            web: Arc::new(web),
            health: health.clone(),
            queries: QueryTimes::new(Arc::clone(&clock)),
            sql: None,
            memory_budget: None,
            own: None,
            pushes: Arc::default(),
            started_seconds: 0.,
        };
        let destination = Arc::new(Destination::new(Arc::new(store.clone())));
        let tenant = ServedTenant { name: TenantName::default(), store, destination };
        let (receivers, setup) = (Arc::clone(&collector), ServerSetup::default());
        let server = Server::new(tenant, receivers, health, clock.now(), setup);
        (routes(server).merge(metrics::routes(measured)), collector)
    }

    async fn ask(app: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Requests the health of the gRPC receiver, on a connection of its own.
    async fn receiver_health(collector: &Collector) -> Vec<u8> {
        let receivers = collector.receivers();
        let grpc = receivers.iter().find(|receiver| receiver.name == "otlp/grpc").unwrap();
        let stream = TcpStream::connect(&grpc.address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut requests = requests.ready().await.unwrap();
        let path = format!("http://{}/grpc.health.v1.Health/Check", grpc.address);
        let request = Request::post(path).header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(()).unwrap();
        let (answer, mut asked) = requests.send_request(request, false).unwrap();
        asked.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        let mut answer = answer.await.unwrap().into_body();
        let mut frame = Vec::new();
        while let Some(piece) = answer.data().await {
            frame.extend_from_slice(&piece.unwrap());
        }
        frame.split_off(5)
    }

    #[tokio::test]
    async fn a_failed_task_is_reported_by_every_probe_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Supervision::default();
        let (app, collector) = Box::pin(start(folder.path(), &tasks)).await;
        tasks.register("flush");
        let is_running = async |value: u8| {
            let (status, text) = ask(&app, "/metrics").await;
            let line = format!("tidings_task_running{{task=\"flush\"}} {value}");
            assert_eq!(status, StatusCode::OK);
            assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
        };
        for path in ["/live", "/ready"] {
            assert_eq!(ask(&app, path).await.0, StatusCode::OK, "{path}");
        }
        is_running(1).await;
        assert_eq!(receiver_health(&collector).await, SERVING);
        tasks.fail("flush", "on purpose");
        for path in ["/live", "/ready"] {
            let (status, text) = ask(&app, path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(text.contains("flush failed: on purpose"), "{text}");
        }
        is_running(0).await;
        assert_eq!(receiver_health(&collector).await, NOT_SERVING);
        let (status, text) = ask(&app, "/api/v1/status").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains(r#""state":"failed""#), "{text}");
    }
    #[tokio::test]
    async fn memory_disk_and_ages_are_shown_and_are_not_of_the_tag() {
        let folder = tempfile::tempdir().unwrap();
        let (app, _) = Box::pin(start(folder.path(), &Supervision::default())).await;
        let (status, text) = ask(&app, "/api/v1/status").await;
        assert_eq!(status, StatusCode::OK);
        let shown: ServerStatus = serde_json::from_str(&text).unwrap();
        let memory = shown.memory.expect("memory of the process");
        let tag = status_tag(&shown);
        let mut later = shown.clone();
        later.memory = Some(ProcessMemory { resident_bytes: memory.resident_bytes + 1, ..memory });
        later.storage.disk_free_bytes = Some(4_097);
        later.storage.horizon.age_nano = Some(tidings_proto::DurationNanos(1));
        later.storage.unflushed_age_nano = Some(tidings_proto::DurationNanos(1));
        assert_eq!(status_tag(&later), tag);
        later.spans.stored += 1;
        assert_ne!(status_tag(&later), tag);
        let request = Request::get("/api/v1/status").header("if-none-match", tag.into_header());
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    }
}
