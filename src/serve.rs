//! `tidings serve`: opens the store, starts the receivers and the API, and ends in order.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::Router;
use futures::FutureExt;
use tidings_access::{AccessPolicy, Issuer, KeyFile, KeyRing};
use tidings_audit::AuditLog;
use tidings_collector::{
    Collector, CollectorSettings, Destinations, Guard, Phase, Phases, ReadApi, Redactor, Tls,
    listen,
};
use tidings_proto::{UnixNanos, api::LimitInForce};
use tidings_query::{AnswerTimesSource, ReceiverStates};
use tidings_sql::SqlService;
use tidings_storage::{Clock, Store, Supervision, SystemClock};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    VERSION, allocator, audit_log, file_limit,
    health::{Health, TaskFailure, run_for_ever},
    host_names::host_names,
    log,
    own_telemetry::{OwnDestination, OwnTelemetry},
    settings::{Settings, SettingsError},
    sql_command,
    tenants::{Tenant, TenantApi, Tenants, possible},
    web,
};

/// Maximum time for running requests to finish after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Time for answers to leave when a task has failed.
const FAILURE_DRAIN: Duration = Duration::from_millis(500);

/// Maximum time to wait for threads that were not told to stop.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT; `warnings` come from the settings.
pub(crate) fn run(mut settings: Settings, warnings: &[String]) -> Result<()> {
    allocator::keep_free_memory(settings.memory);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if clock.now() == UnixNanos(0) {
        return Err(SettingsError::Clock.into());
    }
    let own = OwnTelemetry::new(settings.own_telemetry, Arc::clone(&clock));
    let log = log::start_limited(&settings.log, own.as_ref(), Arc::clone(&clock))?;
    let wanted = settings.collector.limits.connections_max;
    let connections_max = file_limit::connections_max(wanted as u64);
    if connections_max != wanted as u64 {
        settings.lower_limit("connections-max", connections_max, "open files of the process");
    }
    let connections_max = usize::try_from(connections_max).unwrap_or(usize::MAX);
    settings.collector.limits.connections_max = connections_max;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()?;
    for warning in warnings.iter().cloned().chain(settings.exposure()) {
        tracing::warn!(%warning, "of the settings");
    }
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = serve(settings, own, clock) => ended,
            never = log.report() => match never {},
        }
    });
    log.report_now();
    // Threads that still read the log of a start that was broken off.
    runtime.shutdown_timeout(SHUTDOWN);
    ended
}

async fn serve(
    settings: Settings,
    own: Option<Arc<OwnTelemetry>>,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    let mut end = End::new()?;
    // The address is bound before the store is opened. Reading a long log takes seconds, and
    // supervisors must see that the process lives and is not ready.
    let (app, apps) = watch::channel(web::starting());
    let (stop, stopped) = watch::channel(Phase::Running);
    let connections_max = settings.collector.limits.connections_max;
    let phases = Phases::new(stopped);
    let web_tasks = Supervision::default();
    let tls = open_tls(&settings, &clock, &phases, &web_tasks).await?;
    let access = open_keys(&settings, &clock, &web_tasks).await?;
    let listening = web::connections(apps, Arc::clone(&clock), connections_max, phases);
    let listening = listening.over(tls.clone()).behind(settings.collector.proxies.clone());
    let listening = Arc::new(listening);
    let bound = TcpListener::bind(settings.http.address).await;
    let http = bound.and_then(|listener| {
        let address = listener.local_addr()?;
        let serving = listen(listener, Arc::clone(&listening));
        Ok((address, web_tasks.spawn_essential("http", serving)))
    });

    let health = Health::new(vec![web_tasks.clone()]);
    add_alarms(&health, &tls, &access);
    let tenants = tokio::select! {
        opened = Tenants::open(&settings, &access, &health, &clock) => opened?,
        () = end.asked() => return Ok(()),
    };
    // The port is checked only now. Where another process has both the directory and the port, the
    // error of the directory explains more.
    let (address, web) =
        http.with_context(|| format!("cannot listen on {} for HTTP", settings.http.address))?;

    let audit = audit_log::open(&settings, &clock, &web_tasks).await?;
    let receivers = CollectorSettings {
        tls,
        access: access.clone(),
        audit: Some(Arc::clone(&audit)),
        host_names: host_names(&settings.configured_hosts()),
        ..settings.collector.clone()
    };
    let collector = start_collector(receivers, &tenants, &clock).await?;
    health.add(collector.supervision());
    let parts = ServerParts { tenants, collector, access, audit, health, own, clock };
    parts.store_own_telemetry(&settings, address, &web_tasks);
    let routes = routes(&settings, address, &parts, &web_tasks, listening).await?;
    app.send_modify(|app| *app = routes);
    parts.note("server.start", format!("version {VERSION}")).await;
    print_addresses(address, &parts.collector, settings.tls().is_some())?;

    tokio::select! {
        () = end.asked() => {}
        failure = parts.health.failed() => return Err(parts.give_up(failure).await),
    }
    parts.drain(&stop, web).await?;
    parts.tenants.close().await.context("the last flush failed; the log has everything")?;
    tracing::info!("stopped");
    Ok(())
}

/// Starts the receivers, which pass each request to its tenant.
async fn start_collector(
    settings: CollectorSettings,
    tenants: &Tenants,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Collector>> {
    let destinations: Arc<dyn Destinations> = Arc::new(tenants.clone());
    let reads: Arc<dyn ReadApi> = Arc::new(tenants.clone());
    let collector = Collector::start_for(settings, destinations, Some(reads), Arc::clone(clock));
    Ok(Arc::new(collector.await.context("a receiver could not be started")?))
}

/// Registers faults of the certificate and of the keys as alarms.
fn add_alarms(health: &Health, tls: &Option<Arc<Tls>>, access: &AccessPolicy) {
    if let Some(tls) = tls.clone() {
        let stays =
            |fault| format!("the certificate is not renewed, the one before it stays: {fault}");
        health.add_alarm(move || tls.fault().map(stays));
    }
    if let Some(ring) = access.ring().map(Arc::clone) {
        health.add_alarm(move || ring.fault());
    }
}

/// Reads the files of TLS, and watches them for renewal from now on.
async fn open_tls(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    phases: &Phases,
    tasks: &Supervision,
) -> Result<Option<Arc<Tls>>> {
    let Some(files) = settings.tls() else { return Ok(None) };
    let tls = Arc::new(tokio::task::spawn_blocking(|| Tls::open(files)).await??);
    // The phases end this task, as they end the listeners.
    let (followed, time, phases) = (Arc::clone(&tls), Arc::clone(clock), phases.clone());
    let renewal = move || Arc::clone(&followed).follow(Arc::clone(&time), phases.clone());
    run_for_ever(tasks, "certificate", clock, renewal);
    Ok(Some(tls))
}

/// Reads the file of keys, where keys are required, and watches it from now on.
async fn open_keys(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    tasks: &Supervision,
) -> Result<AccessPolicy> {
    if !settings.asks_who() {
        return Ok(AccessPolicy::Open);
    }
    let issuer = open_issuer(settings, clock, tasks).await?;
    let file = KeyFile::new(settings.key_file()).with_tenants_max(possible(settings));
    let time = Arc::clone(clock);
    let ring = tokio::task::spawn_blocking(move || KeyRing::open(file, time)).await??;
    let ring = Arc::new(ring.with_issuer(issuer));
    if ring.list().is_empty() && ring.issuer().is_none() {
        tracing::warn!(
            file = %settings.key_file().display(),
            "keys are required and there is none: `tidings keys create` makes one"
        );
    }
    let followed = Arc::clone(&ring);
    run_for_ever(tasks, "keys", clock, move || Arc::clone(&followed).follow());
    Ok(AccessPolicy::Keys(ring))
}

/// Prepares the issuer's client, where there is an issuer, and follows its published keys from now
/// on. The issuer may be down: callers with keys do not need it.
async fn open_issuer(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    tasks: &Supervision,
) -> Result<Option<Arc<Issuer>>> {
    let Some(oidc) = settings.oidc.read()? else { return Ok(None) };
    let time = Arc::clone(clock);
    let opened = tokio::task::spawn_blocking(move || Issuer::new(oidc, time)).await?;
    let issuer =
        Arc::new(opened.map_err(|reason| SettingsError::Oidc(format!("oidc-ca: {reason}")))?);
    let followed = Arc::clone(&issuer);
    run_for_ever(tasks, "issuer", clock, move || Arc::clone(&followed).follow());
    Ok(Some(issuer))
}

/// The running parts of the process.
#[derive(Clone)]
struct ServerParts {
    tenants: Tenants,
    collector: Arc<Collector>,
    access: AccessPolicy,
    audit: Arc<AuditLog>,
    health: Health,
    own: Option<Arc<OwnTelemetry>>,
    clock: Arc<dyn Clock>,
}

impl ServerParts {
    /// Stores the server's own traces and log lines from now on, where they are kept.
    fn store_own_telemetry(&self, settings: &Settings, address: SocketAddr, tasks: &Supervision) {
        let Some(own) = &self.own else { return };
        let destination = Arc::new(OwnDestination {
            store: self.tenants.default_tenant().store.clone(),
            redactor: Redactor::new(&settings.collector.redaction),
            resource: web::own_resource(&own_instance(address)),
        });
        let own = Arc::clone(own);
        run_for_ever(tasks, "own telemetry", &self.clock, move || {
            Arc::clone(&own).run(Arc::clone(&destination))
        });
    }

    /// Records an action of the server itself in the audit log.
    async fn note(&self, action: &str, detail: String) {
        self.audit.record(audit_log::server_event(self.clock.now(), action, detail)).await;
    }

    /// Lets running requests finish, and then accepts no more.
    async fn drain(&self, stop: &watch::Sender<Phase>, web: JoinHandle<()>) -> Result<()> {
        self.tenants.drain().await;
        self.collector.stop().await;
        self.tenants.end_waits();
        stop.send_replace(Phase::Draining);
        if tokio::time::timeout(DRAIN, web).await.is_err() {
            tracing::warn!("requests to the API were cut off");
            stop.send_replace(Phase::Closed);
        }
        self.note("server.stop", "asked to".to_owned()).await;
        let audit = Arc::clone(&self.audit);
        tokio::task::spawn_blocking(move || audit.close()).await?;
        Ok(())
    }

    /// Lets finished answers leave. Nothing is flushed: the failed task may have left something
    /// half done, and the log has everything.
    async fn give_up(&self, failure: TaskFailure) -> anyhow::Error {
        self.tenants.drain().await;
        self.tenants.end_waits();
        // Requests that take longer are refused, because the store accepts nothing more.
        let _ = tokio::time::timeout(FAILURE_DRAIN, self.collector.stop()).await;
        failure.into()
    }
}

/// The routes of the HTTP address.
async fn routes(
    settings: &Settings,
    address: SocketAddr,
    parts: &ServerParts,
    tasks: &Supervision,
    listening: Arc<web::WebListening>,
) -> Result<Router> {
    let ServerParts { tenants, access, audit, clock, .. } = parts;
    let is_over_tls = settings.tls().is_some();
    let browsers = web::BrowserAccess { is_over_tls, public_url: settings.public_url.clone() };
    let api = HttpApi {
        parts: parts.clone(),
        setup: web::ServerSetup {
            // Where keys are required, somebody is asked who they are.
            insecure: settings.insecure && !settings.asks_who(),
            tls: settings.tls(),
            access: access.clone(),
            transaction_keys: settings.query.transaction_keys.clone(),
            redaction: settings.collector.redaction.clone(),
            memory_budget: settings.memory,
        },
        limits: settings.limits.clone(),
        browsers: browsers.clone(),
        listening,
        queries: web::QueryTimes::new(Arc::clone(clock)),
        words: Arc::new(web::RequestWords::new(settings.collector.redaction.keys.clone())),
        sql: sql_service(settings, address, &tenants.default_tenant().store, clock)?,
        memory_budget: settings.memory,
        pushes: Arc::default(),
        started: clock.now(),
    };
    let words = Arc::clone(&api.words);
    api.push_metrics(settings, address, tasks)?;
    tenants.serve(Box::new(move |tenant| api.routes_of(tenant)));
    let of_default = tenants.router(&Default::default()).await?;
    Ok(web::router(
        of_default,
        tenants.clone(),
        (web::sign_in_pages(access, browsers.clone()), browsers),
        web::Visitors {
            guard: Guard::new(address, &host_names(&settings.configured_hosts()))
                .over_tls(is_over_tls),
            origins: settings.allow_origins.clone(),
            access: access.clone(),
        },
        web::Auditing { log: Arc::clone(audit), clock: Arc::clone(clock), words },
        web::Bodies::new(settings.memory, Arc::clone(clock)),
    ))
}

/// The parts of the process that every tenant's routes at the HTTP address use.
struct HttpApi {
    parts: ServerParts,
    setup: web::ServerSetup,
    limits: Vec<LimitInForce>,
    browsers: web::BrowserAccess,
    listening: Arc<web::WebListening>,
    queries: Arc<web::QueryTimes>,
    words: Arc<web::RequestWords>,
    /// SQL over the default tenant's store; other tenants' services share its places.
    sql: Option<SqlService>,
    memory_budget: Option<u64>,
    pushes: Arc<web::PushCounts>,
    started: UnixNanos,
}

impl HttpApi {
    /// Builds a tenant's routes, over its own store and no other.
    fn routes_of(&self, tenant: &Tenant) -> TenantApi {
        let ServerParts { collector, access, audit, health, clock, .. } = &self.parts;
        let store = &tenant.store;
        let health = if tenant.name.is_default() { health.clone() } else { health.of_store(store) };
        let served = web::ServedTenant {
            name: tenant.name.clone(),
            store: store.clone(),
            destination: Arc::clone(&tenant.destination),
        };
        let (started, setup) = (self.started, self.setup.clone());
        let server =
            web::Server::new(served, Arc::clone(collector), health.clone(), started, setup);
        let sql = self.sql_of(tenant);
        let measured = self.measured(tenant, health, sql.clone());
        let (receivers, destination) = (Arc::clone(collector), Arc::clone(&tenant.destination));
        let states = ReceiverStates::new(move || receivers.receivers_of(&destination));
        let names = web::RouteNames::of_description();
        let of_one = (!tenant.name.is_default()).then(|| tenant.name.to_string());
        let recent = tenant.query.recent_queries().clone();
        let query = tenant.query.with_receivers(states).with_audit(Arc::clone(audit), of_one);
        let query = query.with_answer_times(self.answer_times_for(tenant));
        let sql_routes = tidings_sql::router(sql.map(|sql| sql.with_recent(recent)));
        let sql_routes = tidings_apis::with_unread_budget(sql_routes, &query);
        let api = [
            tidings_apis::router_described_by(web::description(), query),
            sql_routes,
            web::limits(self.limits.clone()),
            web::pins(store.clone(), Arc::clone(clock)),
            web::erasures(store.clone(), Arc::clone(clock)),
            web::keys(access.clone(), Arc::clone(clock), self.browsers.clone()),
            web::sign_in(access.clone()),
        ];
        let words = Arc::clone(&self.words);
        let router = web::tenant_routes(api, server.clone(), measured, names, words);
        let drain = move || {
            let server = server.clone();
            async move { server.drain().await }.boxed()
        };
        TenantApi { router, drain: Box::new(drain) }
    }

    /// Returns the answer times of the process, which only the default tenant may see.
    fn answer_times_for(&self, tenant: &Tenant) -> AnswerTimesSource {
        if !tenant.name.is_default() {
            return AnswerTimesSource::default();
        }
        let queries = Arc::clone(&self.queries);
        AnswerTimesSource::new(move || queries.answer_times())
    }

    /// Returns the sources of metrics, as a tenant sees them.
    fn measured(&self, tenant: &Tenant, health: Health, sql: Option<SqlService>) -> web::Measured {
        let ServerParts { collector, audit, own, .. } = &self.parts;
        web::Measured {
            tenant: tenant.name.clone(),
            store: tenant.store.clone(),
            collector: Arc::clone(collector),
            audit: Arc::clone(audit),
            web: Arc::clone(&self.listening),
            health,
            queries: Arc::clone(&self.queries),
            sql,
            memory_budget: self.memory_budget,
            own: own.clone(),
            pushes: Arc::clone(&self.pushes),
            started_seconds: Duration::from_nanos(self.started.0).as_secs_f64(),
        }
    }

    /// Sends the metrics to a collector from now on, where one is set.
    fn push_metrics(
        &self,
        settings: &Settings,
        address: SocketAddr,
        tasks: &Supervision,
    ) -> Result<()> {
        let Some(push) = settings.metrics_push.read() else { return Ok(()) };
        let ServerParts { tenants, health, clock, .. } = &self.parts;
        let measured = self.measured(tenants.default_tenant(), health.clone(), self.sql.clone());
        let instance = own_instance(address);
        let push =
            web::MetricsPush::new(&push, instance, measured, self.started, Arc::clone(clock))?;
        let push = Arc::new(push);
        run_for_ever(tasks, "metrics", clock, move || Arc::clone(&push).run());
        Ok(())
    }

    /// Builds the service for queries in SQL over the tenant's store.
    fn sql_of(&self, tenant: &Tenant) -> Option<SqlService> {
        let sql = self.sql.clone()?;
        if tenant.name.is_default() {
            return Some(sql);
        }
        Some(sql.beside(tenant.store.clone()))
    }
}

/// Time that a thread for blocking work stays idle before it ends. Memory of a thread that other
/// threads have freed is returned only at its end, or when it works again: ten idle threads had
/// some 40 MiB of answers each.
const THREAD_KEEP_ALIVE: Duration = Duration::from_millis(20);

/// Signal of a write beyond the largest file that the process may have (`LimitFSIZE` of systemd).
const FILE_TOO_LARGE: i32 = 25;

/// The signals that end the process.
struct End {
    terminate: Signal,
    interrupt: Signal,
    /// Without a listener this signal would end the process. With one the write fails instead,
    /// which is answered as a full disk is.
    _file_too_large: Signal,
}

impl End {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_too_large: signal(SignalKind::from_raw(FILE_TOO_LARGE))?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: finishing"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: finishing"),
        }
    }
}

/// Distinguishes this process from others that are called `tidings`, by machine and port.
fn own_instance(address: SocketAddr) -> String {
    let names = host_names(&[]);
    let host = names.first().map_or("localhost", String::as_str);
    format!("{host}:{}", address.port())
}

fn print_addresses(http: SocketAddr, collector: &Collector, has_tls: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    let scheme = if has_tls { "https://" } else { "http://" };
    writeln!(out, "  {:<12} {scheme}{http}", "UI and API")?;
    for receiver in collector.receivers() {
        let scheme = if receiver.name == "otlp/grpc" && !has_tls { "" } else { scheme };
        writeln!(out, "  {:<12} {scheme}{}", receiver.name, receiver.address)?;
    }
    out.flush()?;
    Ok(())
}

/// Builds the service for queries in SQL; `None` where they are switched off.
fn sql_service(
    settings: &Settings,
    address: SocketAddr,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> Result<Option<SqlService>> {
    if !settings.sql.includes(address) {
        return Ok(None);
    }
    let program = sql_command::worker_program().context("where this program is")?;
    let service = SqlService::new(store.clone(), settings.sql_limits, Arc::clone(clock), program);
    Ok(Some(service.context("no threads for queries in SQL")?))
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        pin::Pin,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        time::Instant,
    };

    use axum::{
        body::{Body, Bytes},
        http::{HeaderValue, Request, StatusCode, header},
    };
    use http_body_util::BodyExt;
    use tidings_access::{KeyRequest, Role};
    use tidings_collector::RECEIVERS;
    use tokio::net::TcpStream;
    use tower::ServiceExt;

    use super::{
        AccessPolicy, Arc, Clock, Duration, Health, KeyFile, KeyRing, Phase, Phases, Router,
        ServerParts, Settings, SocketAddr, Supervision, SystemClock, Tenants, UnixNanos, audit_log,
        routes, start_collector, watch, web,
    };
    use crate::{
        cli::exit_code,
        settings::{MemoryFiles, Sources},
    };

    fn settings(folder: &Path) -> Settings {
        let folder = folder.join("data").to_str().unwrap().to_owned();
        let receivers = RECEIVERS.iter().map(|receiver| receiver.setting);
        let listeners = std::iter::once("http").chain(receivers);
        let listeners = listeners.map(|name| (name, "127.0.0.1:0".to_owned()));
        let others = [("data-dir", folder), ("sql", "off".to_owned())];
        let flags = listeners.chain(others);
        let mut sources = Sources::read(None, std::iter::empty(), flags).unwrap();
        sources.divide_memory(MemoryFiles::default().limit());
        sources.settings().unwrap()
    }

    /// A clock that is ahead of the machine's by this many nanoseconds.
    #[derive(Debug, Default)]
    struct ClockAhead(AtomicU64);

    impl Clock for ClockAhead {
        fn now(&self) -> UnixNanos {
            UnixNanos(SystemClock.now().0 + self.0.load(Relaxed))
        }

        fn instant(&self) -> Instant {
            SystemClock.instant()
        }

        fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            SystemClock.sleep(time)
        }
    }

    /// The parts of a process without queries in SQL, and the routes of its HTTP address.
    async fn start(
        folder: &Path,
        access: AccessPolicy,
        clock: Arc<dyn Clock>,
    ) -> (ServerParts, Router) {
        let (settings, tasks) = (settings(folder), Supervision::default());
        let health = Health::new(vec![tasks.clone()]);
        let tenants = Tenants::open(&settings, &access, &health, &clock);
        let tenants = Box::pin(tenants).await.unwrap();
        let receivers = settings.collector.clone();
        let collector = start_collector(receivers, &tenants, &clock).await.unwrap();
        let listening = collector.receivers().len();
        assert_eq!(listening, settings.collector.receivers.len(), "a setting names none");
        health.add(collector.supervision());
        let audit = audit_log::open(&settings, &clock, &tasks).await.unwrap();
        let parts = ServerParts { tenants, collector, access, audit, health, own: None, clock };
        let (apps, phases) = (watch::channel(Router::new()).1, watch::channel(Phase::Running).1);
        let listening = web::connections(apps, Arc::clone(&parts.clock), 9, Phases::new(phases));
        let address = SocketAddr::from(([127, 0, 0, 1], 8434));
        let app = routes(&settings, address, &parts, &tasks, Arc::new(listening)).await.unwrap();
        (parts, app)
    }

    async fn ask(app: &Router, mut request: Request<Body>) -> (StatusCode, Bytes) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
        (head.status, body.collect().await.unwrap().to_bytes())
    }

    async fn get(app: &Router, path: &str) -> (StatusCode, String) {
        let (status, body) = ask(app, Request::get(path).body(Body::empty()).unwrap()).await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Requests the health of the queries by gRPC. Returns the message without its frame.
    async fn query_health(app: &Router) -> Vec<u8> {
        let request = Request::post("/grpc.health.v1.Health/Check");
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let (status, frame) = ask(app, request.body(Body::from(vec![0; 5])).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        frame.slice(5..).to_vec()
    }

    #[tokio::test]
    async fn an_answer_by_an_old_cookie_has_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ClockAhead::default());
        let file = KeyFile::new(folder.path().join("keys.json"));
        let ring = Arc::new(KeyRing::open(file, Arc::clone(&clock) as _).unwrap());
        let (key, _) = ring.create(KeyRequest::new("me", Role::Read)).unwrap();
        let access = AccessPolicy::Keys(Arc::clone(&ring));
        let (_parts, app) = Box::pin(start(folder.path(), access, Arc::clone(&clock) as _)).await;
        let ask = async |path: &str, cookie: &str| {
            let request = Request::get(path).header("host", "localhost").header("cookie", cookie);
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            let given = response.headers().get(header::SET_COOKIE);
            (response.status(), given.map(|cookie| cookie.to_str().unwrap().to_owned()))
        };
        let (session, _) = ring.sign_in(key.reveal()).unwrap();
        let first = format!("__Host-tidings-session={}", session.reveal());
        assert_eq!(ask("/api/v1/services", &first).await, (StatusCode::OK, None));
        clock.0.store(3_600_000_000_000, Relaxed);
        assert_eq!(ask("/live", &first).await, (StatusCode::OK, None), "it needs no session");
        let (status, given) = ask("/api/v1/services", &first).await;
        let given = given.expect("the cookie stays for ever");
        let (second, attributes) = given.split_once("; ").unwrap();
        assert_eq!((status, first == second), (StatusCode::OK, false));
        assert!(second.starts_with("__Host-tidings-session="), "{given}");
        let age = attributes.strip_prefix("Path=/; HttpOnly; SameSite=Strict; Max-Age=").unwrap();
        let age: u64 = age.strip_suffix("; Secure").unwrap().parse().unwrap();
        assert!((39_000..=39_600).contains(&age), "of twelve hours eleven are left: {age}");
        assert_eq!(ask("/api/v1/services", second).await, (StatusCode::OK, None));
        clock.0.fetch_add(60_000_000_000, Relaxed);
        assert_eq!(ask("/api/v1/services", &first).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(ask("/api/v1/services", second).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn every_probe_says_that_a_task_failed_until_the_process_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (parts, app) =
            Box::pin(start(folder.path(), AccessPolicy::Open, Arc::new(SystemClock))).await;
        let receivers = parts.collector.receivers();
        assert_eq!(query_health(&app).await, [8, 1], "serving");
        assert_eq!(get(&app, "/live").await.0, StatusCode::OK);
        let (_, metrics) = get(&app, "/metrics").await;
        assert!(metrics.contains("tidings_task_running{task=\"flush\"} 1\n"), "{metrics}");
        let store = &parts.tenants.default_tenant().store;
        store.supervision().fail("flush", "on purpose");
        let failure = parts.health.failed().await;
        let error = parts.give_up(failure).await;
        assert_eq!(exit_code(&error), 70, "{error:#}");
        for path in ["/live", "/ready"] {
            let (status, text) = get(&app, path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(text.contains("flush failed: on purpose"), "{path}: {text}");
        }
        let (_, metrics) = get(&app, "/metrics").await;
        assert!(metrics.contains("tidings_task_running{task=\"flush\"} 0\n"), "{metrics}");
        assert_eq!(query_health(&app).await, [8, 2], "not serving");
        for receiver in receivers {
            let refused = TcpStream::connect(&receiver.address).await;
            assert!(refused.is_err(), "{} still takes connections", receiver.name);
        }
    }
}
