//! The running receivers: start, counts and stop.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tidings_proto::api::{ReceiverStatus, SignalCounts};
use tidings_storage::{Clock, Store, Supervision};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    CollectorSettings, Sink, connection,
    counters::ReceiverCounters,
    destination::{Destination, Destinations, OneDestination},
    guard::Guard,
    ingest::Ingest,
    listener::{ConnectionCounts, Listening},
    phase::{Phase, Phases},
    receive,
    redact::Redactor,
    server::Server,
    shares::{BudgetKind, Shares},
    sink::ReadApi,
};

/// The number of requests that a receiver refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalCount {
    /// The receiver, as in [`ReceiverStatus::name`].
    pub receiver: &'static str,
    /// The reason, in `snake_case`.
    pub reason: &'static str,
    /// The number of refusals since the start.
    pub count: u64,
}

/// The running receivers.
#[derive(Debug)]
pub struct Collector {
    ingest: Arc<Ingest>,
    listeners: Vec<Listener>,
    phase: watch::Sender<Phase>,
    supervision: Supervision,
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    listening: Arc<Listening<Server>>,
    /// Taken by [`Collector::stop`].
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    fn status(&self, counters: &ReceiverCounters) -> ReceiverStatus {
        let now = self.listening.endpoint.ingest.clock.now();
        let [accepted_last_minute, refused_last_minute, bytes_last_minute] =
            counters.last_minute(now);
        ReceiverStatus {
            name: self.listening.endpoint.receiver.name().to_owned(),
            address: self.address.to_string(),
            tls: self.listening.tls.is_some(),
            accepted_requests: counters.accepted(),
            refused_requests: counters.refused(),
            accepted_last_minute,
            refused_last_minute,
            received_bytes: counters.body_bytes(),
            bytes_last_minute,
            refusals: counters.refusals(),
        }
    }
}

impl Collector {
    /// Binds every listener and starts receiving into the store.
    ///
    /// # Errors
    /// When an address cannot be bound; the error names it.
    pub async fn start(
        settings: CollectorSettings,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        Self::start_with(settings, Arc::new(store), clock).await
    }

    /// As [`Collector::start`], with any sink of batches.
    ///
    /// # Errors
    /// When an address cannot be bound; the error names it.
    pub async fn start_with(
        settings: CollectorSettings,
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        Self::start_beside(settings, sink, None, clock).await
    }

    /// As [`Collector::start_with`], with an API that answers queries of Zipkin's clients on the
    /// address of the Zipkin receiver.
    ///
    /// # Errors
    /// When an address cannot be bound; the error names it.
    pub async fn start_beside(
        settings: CollectorSettings,
        sink: Arc<dyn Sink>,
        reads: Option<Arc<dyn ReadApi>>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let destination = Arc::new(Destination::new(sink));
        Self::start_for(settings, Arc::new(OneDestination(destination)), reads, clock).await
    }

    /// As [`Collector::start_beside`], with a destination for each tenant.
    ///
    /// # Errors
    /// When an address cannot be bound; the error names it.
    pub async fn start_for(
        settings: CollectorSettings,
        destinations: Arc<dyn Destinations>,
        reads: Option<Arc<dyn ReadApi>>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let mut bound = Vec::new();
        for (address, receiver) in receive::listening(&settings) {
            let name = receiver.name();
            let explain = |error: io::Error| {
                let text = format!("cannot listen on {address} for {name}: {error}");
                io::Error::new(error.kind(), text)
            };
            let listener = TcpListener::bind(address).await.map_err(explain)?;
            bound.push((listener.local_addr().map_err(explain)?, listener, receiver));
        }
        let limits = settings.limits.connections();
        let requests = settings.limits.open_requests_max;
        let requests = Shares::new(BudgetKind::Requests, requests, Arc::clone(&clock));
        let redactor = Redactor::new(&settings.redaction);
        let ingest = Ingest::new(settings.limits, redactor, destinations, Arc::clone(&clock));
        let ingest = Arc::new(ingest);
        let (phase, phases) = watch::channel(Phase::Running);
        let supervision = Supervision::default();
        let start = |(index, (address, listener, receiver))| {
            let server = Arc::new(Server {
                receiver,
                index,
                reads: reads.clone(),
                ingest: Arc::clone(&ingest),
                access: settings.access.clone(),
                audit: settings.audit.clone(),
                guard: Guard::new(address, &settings.host_names).over_tls(settings.tls.is_some()),
                phases: Phases::new(phases.clone()),
                counters: ReceiverCounters::default(),
            });
            let (requests, phases) = (Arc::clone(&requests), Phases::new(phases.clone()));
            let listening = Listening::new(server, limits, requests, Arc::clone(&clock), phases);
            let listening = listening.over(settings.tls.clone()).behind(settings.proxies.clone());
            let listening = Arc::new(listening);
            let serving = connection::listen(listener, Arc::clone(&listening));
            let task = supervision.spawn_essential(listening.endpoint.receiver.name(), serving);
            Listener { address, listening, task: Mutex::new(Some(task)) }
        };
        let listeners = bound.into_iter().enumerate().map(start).collect();
        Ok(Self { ingest, listeners, phase, supervision })
    }

    /// Returns the supervision of the receivers' tasks. The address of a failed one is no longer
    /// listened to.
    #[must_use]
    pub fn supervision(&self) -> &Supervision {
        &self.supervision
    }

    /// Returns the address of each receiver, with its counts.
    #[must_use]
    pub fn receivers(&self) -> Vec<ReceiverStatus> {
        let status = |listener: &Listener| listener.status(&listener.listening.endpoint.counters);
        self.listeners.iter().map(status).collect()
    }

    /// Returns the address of each receiver, with its counts for requests of this destination.
    #[must_use]
    pub fn receivers_of(&self, destination: &Destination) -> Vec<ReceiverStatus> {
        let status = |listener: &Listener| {
            let counters = destination.of_receiver(listener.listening.endpoint.index)?;
            Some(listener.status(counters))
        };
        self.listeners.iter().filter_map(status).collect()
    }

    /// Returns the counts of refused requests by receiver and reason, above 0.
    #[must_use]
    pub fn refusals(&self) -> Vec<RefusalCount> {
        let of = |listener: &Listener| {
            let server = &listener.listening.endpoint;
            let (receiver, reasons) = (server.receiver.name(), server.counters.by_reason());
            reasons.into_iter().map(move |(reason, count)| RefusalCount { receiver, reason, count })
        };
        self.listeners.iter().flat_map(of).collect()
    }

    /// Returns the bytes of bodies that each receiver got since the start, before decompression and
    /// including refused requests.
    #[must_use]
    pub fn body_bytes(&self) -> Vec<(&'static str, u64)> {
        let of = |listener: &Listener| {
            let server = &listener.listening.endpoint;
            (server.receiver.name(), server.counters.body_bytes())
        };
        self.listeners.iter().map(of).collect()
    }

    /// Returns the counts of connections by receiver.
    #[must_use]
    pub fn connections(&self) -> Vec<(&'static str, ConnectionCounts)> {
        let of = |listener: &Listener| {
            (listener.listening.endpoint.receiver.name(), listener.listening.counts())
        };
        self.listeners.iter().map(of).collect()
    }

    /// Returns the memory of requests in progress and its maximum, in bytes.
    #[must_use]
    pub fn in_flight_bytes(&self) -> (u64, u64) {
        let memory = self.ingest.gate.memory();
        (memory.used() as u64, memory.total_max() as u64)
    }

    /// Returns the spans and log records received and rejected since the start (`stored` is 0).
    #[must_use]
    pub fn counts(&self) -> (SignalCounts, SignalCounts) {
        (self.ingest.spans.counts(), self.ingest.logs.counts())
    }

    /// Returns the number of values in which a secret was replaced since the start.
    #[must_use]
    pub fn redacted_values(&self) -> u64 {
        self.ingest.redactor.redacted_values()
    }

    /// Stops listening and finishes the requests in progress. Returns when all are answered.
    ///
    /// New requests on open connections are refused with "try again". So are bodies that are still
    /// arriving after half of [`crate::CollectorLimits::drain_timeout`]. After the whole timeout
    /// the remaining connections are dropped. Running appends are always awaited.
    pub async fn stop(&self) {
        let Self { ingest, listeners, phase, .. } = self;
        let take = |listener: &Listener| {
            listener.task.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let half = ingest.limits.drain_timeout / 2;
        let ended = futures::future::join_all(listeners.iter().filter_map(take));
        tokio::pin!(ended);
        for next in [Phase::Draining, Phase::Closing] {
            phase.send_replace(next);
            tokio::select! {
                _ = &mut ended => {
                    ingest.gate.empty().await;
                    return;
                }
                () = ingest.clock.sleep(half) => {}
            }
        }
        phase.send_replace(Phase::Closed);
        ended.await;
        ingest.gate.empty().await;
    }
}
