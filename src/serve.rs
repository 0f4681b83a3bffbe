//! `tidings serve`: opens the store, starts the receivers and the API, and ends in order.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tidings_collector::{Collector, CollectorLimits, CollectorSettings, Guard};
use tidings_query::{QueryService, QuerySettings};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

use crate::{settings::Settings, web};

/// How long requests under way may take to finish after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> Result<()> {
    start_log(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

/// Logs to standard error: for people on a terminal, JSON otherwise.
fn start_log(filter: &str) -> Result<()> {
    use std::io::IsTerminal;

    let filter = EnvFilter::try_new(filter).context("the setting `log`")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
    Ok(())
}

async fn serve(settings: Settings) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (store, recovery) = Store::open(store_settings(&settings), Arc::clone(&clock)).await?;
    tracing::info!(
        data_dir = %settings.data_dir.display(),
        replayed_records = recovery.replayed_records,
        torn_bytes = recovery.torn_bytes,
        quarantined_files = recovery.quarantined.len(),
        "store opened"
    );

    let collector =
        Collector::start(collector_settings(&settings), store.clone(), Arc::clone(&clock))
            .await
            .context("a receiver could not be started")?;
    let collector = Arc::new(collector);
    let query = QueryService::new(store.clone(), query_settings(&settings), Arc::clone(&clock));
    let server = web::Server::new(store.clone(), Arc::clone(&collector), clock.now());
    let connections_max = usize::try_from(settings.connections_max).unwrap_or(usize::MAX);
    let listener = TcpListener::bind(settings.http)
        .await
        .with_context(|| format!("cannot listen on {} for HTTP", settings.http))?;
    let app = web::router(
        tidings_query::router_described_by(web::described(tidings_query::document()), query),
        server.clone(),
        Guard::new(listener.local_addr()?, &settings.allowed_hosts),
    );
    print_addresses(listener.local_addr()?, &collector)?;

    let (stop, stopped) = watch::channel(false);
    let web =
        tokio::spawn(web::listen(listener, app, Arc::clone(&clock), connections_max, stopped));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: finishing"),
        _ = interrupt.recv() => tracing::info!("SIGINT: finishing"),
    }
    server.drain().await;
    collector.stop().await;
    stop.send_replace(true);
    if tokio::time::timeout(DRAIN, web).await.is_err() {
        tracing::warn!("requests to the API were cut off");
    }
    store.close().await.context("the last flush failed; the log has everything")?;
    tracing::info!("stopped");
    Ok(())
}

fn print_addresses(http: SocketAddr, collector: &Collector) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "  {:<12} http://{http}", "UI and API")?;
    for receiver in collector.receivers() {
        let scheme = if receiver.name == "otlp/grpc" { "" } else { "http://" };
        writeln!(out, "  {:<12} {scheme}{}", receiver.name, receiver.address)?;
    }
    out.flush()?;
    Ok(())
}

fn store_settings(settings: &Settings) -> StoreSettings {
    StoreSettings {
        data_dir: settings.data_dir.clone(),
        memory_flush_bytes: settings.memory_flush_bytes,
        memory_flush_age: Duration::from_secs(settings.memory_flush_seconds),
        memory_bytes_max: settings.memory_bytes_max,
        wal_segment_bytes: settings.wal_segment_bytes,
        wal_bytes_max: settings.wal_bytes_max,
        index_memory_bytes_max: settings.index_memory_bytes_max,
        disk_reserve_bytes: settings.disk_reserve_bytes,
    }
}

fn collector_settings(settings: &Settings) -> CollectorSettings {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    CollectorSettings {
        host_names: settings.allowed_hosts.clone(),
        limits: CollectorLimits {
            grpc_message_bytes_max: count(settings.otlp_grpc_message_bytes_max),
            http_body_bytes_max: count(settings.http_body_bytes_max),
            in_flight_bytes_max: count(settings.in_flight_bytes_max),
            connections_max: count(settings.connections_max),
            ..CollectorLimits::default()
        },
        ..CollectorSettings::new(settings.otlp_grpc, settings.otlp_http, settings.zipkin)
    }
}

fn query_settings(settings: &Settings) -> QuerySettings {
    QuerySettings {
        transaction_keys: settings.transaction_keys.clone(),
        search_rows_max: settings.search_rows_max,
    }
}
