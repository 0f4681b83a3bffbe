//! Sends the metrics to a collector over OTLP/HTTP, each interval.
//!
//! A request that fails is not repeated: the next one has newer values of the same counters. The
//! log has a line when sending begins to fail and one when it works again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Request, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use tidings_proto::{UnixNanos, otlp::ExportMetricsServiceResponse};
use tidings_storage::Clock;

use super::{
    Measured,
    otlp_form::{PointTimes, request},
};
use crate::{VERSION, client_identity::ClientTls, settings::MetricsPushSettings};

/// Maximum time of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Maximum characters of an answer that are logged.
const LOGGED_CHARS_MAX: usize = 200;

/// Counts of requests to the collector.
#[derive(Debug, Default)]
pub(crate) struct PushCounts {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl PushCounts {
    /// Returns each outcome with its count.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        [("sent", self.sent.load(Relaxed)), ("failed", self.failed.load(Relaxed))]
    }
}

/// Sends the metrics of the process.
#[derive(Debug)]
pub(crate) struct MetricsPush {
    endpoint: Uri,
    interval: Duration,
    instance: String,
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    measured: Measured,
    started: UnixNanos,
    clock: Arc<dyn Clock>,
}

impl MetricsPush {
    /// Prepares to send; `instance` distinguishes this process from others.
    ///
    /// # Errors
    /// Fails if the file of roots cannot be used.
    pub(crate) fn new(
        settings: &MetricsPushSettings,
        instance: String,
        measured: Measured,
        started: UnixNanos,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let tls = ClientTls::of_server(settings.ca.clone()).config().context("metrics-ca")?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = connector.enable_http1().build();
        let pool = Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        let (endpoint, interval) = (with_path(&settings.endpoint)?, settings.interval);
        Ok(Self { endpoint, interval, instance, pool, measured, started, clock })
    }

    /// Sends each interval, until the process ends.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            self.clock.sleep(self.interval).await;
            let sent = tokio::select! {
                sent = self.send() => sent,
                () = self.clock.sleep(PATIENCE) => {
                    Err(anyhow::anyhow!("no answer within {PATIENCE:?}"))
                }
            };
            let counts = &self.measured.pushes;
            match sent {
                Ok(()) => {
                    counts.sent.fetch_add(1, Relaxed);
                    if std::mem::take(&mut is_failing) {
                        tracing::info!(endpoint = %self.endpoint, "metrics are sent again");
                    }
                }
                Err(error) => {
                    counts.failed.fetch_add(1, Relaxed);
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(endpoint = %self.endpoint, error = format!("{error:#}"),
                            "metrics cannot be sent; tried again each metrics-interval-seconds");
                    }
                }
            }
        }
    }

    async fn send(&self) -> Result<()> {
        let times = PointTimes { start: self.started, now: self.clock.now() };
        let body = request(&self.measured, &self.instance, times).encode_to_vec();
        let request = Request::post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, format!("tidings/{VERSION}"))
            .body(Full::new(Bytes::from(body)))?;
        let response = self.pool.request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("its answer: {error}"))?.to_bytes();
        if !status.is_success() {
            bail!("it answered {status}: {}", one_line(&body));
        }
        let answer = ExportMetricsServiceResponse::decode(body).unwrap_or_default();
        let refused = answer.partial_success.unwrap_or_default();
        ensure!(
            refused.rejected_data_points == 0,
            "it refused {} data points: {}",
            refused.rejected_data_points,
            one_line(refused.error_message.as_bytes())
        );
        Ok(())
    }
}

/// Returns the beginning of a collector's answer, in one line.
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let signs = text.chars().filter(|sign| !sign.is_control());
    signs.take(LOGGED_CHARS_MAX).collect()
}

/// Returns the address of metrics for a collector whose URL has no path.
fn with_path(endpoint: &Uri) -> Result<Uri> {
    let mut parts = endpoint.clone().into_parts();
    if endpoint.path() == "/" {
        parts.path_and_query = Some(PathAndQuery::from_static("/v1/metrics"));
    }
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::{one_line, with_path};

    #[test]
    fn a_collector_without_a_path_has_that_of_the_protocol() {
        for (named, expected) in [
            ("http://a:4318", "http://a:4318/v1/metrics"),
            ("https://a/", "https://a/v1/metrics"),
            ("http://a/otlp/v1/metrics", "http://a/otlp/v1/metrics"),
        ] {
            assert_eq!(with_path(&named.parse().unwrap()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn the_answer_of_a_collector_is_one_short_line() {
        assert_eq!(one_line(b"no\x1b[2J\nroom"), "no[2Jroom");
        assert_eq!(one_line(&[b'x'; 900]).len(), 200);
    }
}
