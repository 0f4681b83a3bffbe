//! Demo traffic: a shop and a payment system, sent over real OTLP and Zipkin.
//!
//! Seeded: the same seed and start time make the same transactions. `demo_call` describes a
//! transaction, `shop` makes them up, `render` turns one into spans and log records, and this
//! module sends them at a rate.

mod demo_call;
mod fleet;
mod incident;
mod render;
mod shop;

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::{ArgMatches, parser::ValueSource};
use fastrand::Rng;
use prost::Message;
use tidings_proto::{UnixNanos, api::ReceiverStatus};
use tidings_storage::{Clock, SystemClock};
use tokio::task::JoinSet;

use fleet::Crew;
use incident::Incident;
use render::Rendered;

pub(crate) use incident::INCIDENTS;

use crate::{
    client::{Client, TRACE_SERVICE},
    client_identity::ClientIdentity,
    settings::Sources,
};

/// Time over which past transactions are spread.
const HISTORY: u64 = 15 * 60 * 1_000_000_000;
/// The same with an incident, before it and in it: twice the range that pages begin with.
const INCIDENT_HISTORY: u64 = 122 * 60 * 1_000_000_000;
/// Time since the incident began.
const INCIDENT_AGE: u64 = 10 * 60 * 1_000_000_000;
/// Number of past transactions where there is an incident and the user gives no number.
const INCIDENT_BACKFILL: u32 = 3_000;
/// Past transactions that are sent at once.
const BACKFILL_AT_ONCE: u32 = 50;

/// Content and target of the demo traffic.
#[derive(Debug, Clone)]
pub(crate) struct DemoOptions {
    rate: u32,
    duration: Duration,
    backfill: u32,
    seed: Option<u64>,
    incident: Option<Incident>,
    otlp_grpc: String,
    otlp_http: String,
    zipkin: String,
    identity: ClientIdentity,
}

impl DemoOptions {
    /// From the command line.
    pub(crate) fn from_matches(matches: &ArgMatches, sources: &Sources) -> Result<Self> {
        let number = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or_default();
        if number("rate") == 0 {
            bail!("--rate must be above 0");
        }
        let incident = matches.get_one::<String>("incident");
        let incident = incident.and_then(|name| Incident::named(name));
        let backfill = match matches.value_source("backfill") {
            Some(ValueSource::CommandLine) => number("backfill"),
            _ if incident.is_some() => INCIDENT_BACKFILL,
            _ => number("backfill"),
        };
        Ok(Self {
            rate: number("rate"),
            duration: Duration::from_secs(number("duration").into()),
            backfill,
            incident,
            seed: matches.get_one("seed").copied(),
            otlp_grpc: sources.text("otlp-grpc"),
            otlp_http: sources.text("otlp-http"),
            zipkin: sources.text("zipkin"),
            identity: ClientIdentity::from_matches(matches, sources)?,
        })
    }

    /// A minute of traffic for this server's own receivers, after some history.
    pub(crate) fn for_receivers(
        receivers: &[ReceiverStatus],
        identity: ClientIdentity,
    ) -> Option<Self> {
        let address = |name: &str| {
            Some(receivers.iter().find(|receiver| receiver.name == name)?.address.clone())
        };
        Some(Self {
            rate: 5,
            duration: Duration::from_secs(60),
            backfill: 150,
            incident: None,
            seed: None,
            otlp_grpc: address("otlp/grpc")?,
            otlp_http: address("otlp/http")?,
            zipkin: address("zipkin")?,
            identity,
        })
    }
}

/// Counts of sent items.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SentCounts {
    transactions: u64,
    spans: u64,
    log_records: u64,
}

/// `tidings demo`.
pub(crate) fn run(options: &DemoOptions) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(send(options))?;
    let SentCounts { transactions, spans, log_records } = sent;
    writeln!(
        std::io::stdout(),
        "sent {transactions} transactions: {spans} spans and {log_records} log records"
    )?;
    Ok(())
}

/// Sends transactions until the duration is over.
pub(crate) async fn send(options: &DemoOptions) -> Result<SentCounts> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let begin = clock.instant();
    let mut rng = Rng::with_seed(options.seed.unwrap_or_else(|| clock.now().0));
    let identity = options.identity.clone();
    let client = tokio::task::spawn_blocking(move || Client::new(&identity)).await??;
    let sender = Sender { options, client };
    let mut sent = SentCounts::default();

    let history = if options.incident.is_some() { INCIDENT_HISTORY } else { HISTORY };
    let mut waiting = Rendered::default();
    for index in 0..options.backfill {
        let age = history - history * u64::from(index) / u64::from(options.backfill);
        let end = UnixNanos(clock.now().0.saturating_sub(age));
        let incident = options.incident.filter(|_| age <= INCIDENT_AGE);
        waiting.extend(next(&mut rng, end, incident, &mut sent));
        if index % BACKFILL_AT_ONCE == BACKFILL_AT_ONCE - 1 {
            sender.send(std::mem::take(&mut waiting)).await?;
        }
    }
    sender.send(waiting).await?;
    let total = options.duration.as_secs() * u64::from(options.rate);
    for index in 0..total {
        let due = Duration::from_nanos(1_000_000_000 * index / u64::from(options.rate));
        let late = clock.instant().saturating_duration_since(begin);
        if let Some(early) = due.checked_sub(late) {
            clock.sleep(early).await;
        }
        sender.send(next(&mut rng, clock.now(), options.incident, &mut sent)).await?;
    }
    Ok(sent)
}

/// The next transaction, which ends at `end`.
fn next(
    rng: &mut Rng,
    end: UnixNanos,
    incident: Option<Incident>,
    sent: &mut SentCounts,
) -> Rendered {
    let transaction = shop::transaction(rng);
    let crew = Crew::new(rng.u64(..), incident);
    let rendered = render::transaction(&transaction, end, &crew, rng);
    sent.transactions += 1;
    sent.spans += rendered.span_count();
    sent.log_records += rendered.log_count();
    rendered
}

struct Sender<'a> {
    options: &'a DemoOptions,
    client: Client,
}

impl Sender<'_> {
    /// Sends transactions as their services would: each on its own and all at about the same time.
    async fn send(&self, rendered: Rendered) -> Result<()> {
        const PROTOBUF: &str = "application/x-protobuf";
        let mut requests = JoinSet::new();
        for (index, request) in rendered.traces.iter().enumerate() {
            let message = request.encode_to_vec();
            if index % 2 == 0 {
                let (client, address) = (self.client.clone(), self.options.otlp_grpc.clone());
                requests.spawn(async move {
                    client.call(&address, TRACE_SERVICE, &message).await.map(drop)
                });
            } else {
                requests.spawn(self.post(&self.options.otlp_http, "/v1/traces", PROTOBUF, message));
            }
        }
        for request in &rendered.logs {
            let message = request.encode_to_vec();
            requests.spawn(self.post(&self.options.otlp_http, "/v1/logs", PROTOBUF, message));
        }
        if !rendered.zipkin.is_empty() {
            let list = serde_json::to_vec(&rendered.zipkin)?;
            let (address, path) = (&self.options.zipkin, "/api/v2/spans");
            requests.spawn(self.post(address, path, "application/json", list));
        }
        while let Some(done) = requests.join_next().await {
            done??;
        }
        Ok(())
    }

    fn post(
        &self,
        address: &str,
        path: &'static str,
        kind: &'static str,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (client, address) = (self.client.clone(), address.to_owned());
        async move {
            let answer = client.post(&address, path, kind, Bytes::from(body)).await?;
            if !answer.status.is_success() {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                bail!("{address}{path} answered {}: {text}", answer.status);
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
