//! Tempo in one process with blocks on the local disk, without its metrics generator, and without
//! limits that would refuse this load.

use std::path::Path;

use anyhow::Result;

use super::system::{Running, System, command, configured, free_address};
use crate::client::Otlp;

pub(super) const SYSTEM: System = System {
    name: "tempo",
    title: "Tempo",
    acknowledges: "memory has them",
    start,
    after: None,
    stored: "data",
    jaeger: None,
    tempo: Some(""),
};

fn start(program: &Path, folder: &Path) -> Result<Running> {
    let (http, otlp) = (free_address()?, free_address()?);
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let (http_port, grpc_port) = (port(&http), port(&free_address()?));
    let data = folder.join("data");
    let data = data.display();
    let config = format!(
        "server:
  http_listen_address: 127.0.0.1
  http_listen_port: {http_port}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc_port}
  log_level: error
distributor:
  receivers:
    otlp: {{protocols: {{grpc: {{endpoint: '{otlp}'}}}}}}
live_store:
  shutdown_marker_dir: {data}/shutdown
  wal: {{path: {data}/live}}
storage:
  trace:
    backend: local
    wal: {{path: {data}/wal}}
    local: {{path: {data}/blocks}}
overrides:
  defaults:
    ingestion:
      rate_limit_bytes: 1000000000
      burst_size_bytes: 1000000000
      max_traces_per_user: 0
    global: {{max_bytes_per_trace: 0}}
usage_report: {{reporting_enabled: false}}
"
    );
    let mut command = command(program);
    command.arg(format!("-config.file={}", configured(folder, &config)?.display()));
    let process = super::system::start(&mut command, folder, &http, "/ready")?;
    Ok(Running { process, otlp: Otlp::Grpc(otlp), http })
}
