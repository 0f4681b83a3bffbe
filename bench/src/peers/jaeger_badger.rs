//! Jaeger with its embedded store, Badger, configured as its own example has it but for where it
//! listens and that it says nothing of itself.

use std::path::Path;

use anyhow::Result;

use super::system::{Running, System, command, configured, free_address};
use crate::client::Otlp;

pub(super) const SYSTEM: System = System {
    name: "jaeger",
    title: "Jaeger, Badger",
    acknowledges: "a batch in memory has them",
    start,
    after: None,
    stored: "data",
    jaeger: Some(""),
    tempo: None,
};

fn start(program: &Path, folder: &Path) -> Result<Running> {
    let (http, otlp, grpc) = (free_address()?, free_address()?, free_address()?);
    let data = folder.join("data");
    let data = data.display();
    let config = format!(
        "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: error}}
extensions:
  jaeger_query:
    storage: {{traces: badger}}
    http: {{endpoint: '{http}'}}
    grpc: {{endpoint: '{grpc}'}}
  jaeger_storage:
    backends:
      badger:
        badger:
          directories: {{keys: '{data}/keys', values: '{data}/values'}}
          ephemeral: false
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '{otlp}'}}}}}}
processors:
  batch: {{}}
exporters:
  jaeger_storage_exporter: {{trace_storage: badger}}
"
    );
    let mut command = command(program);
    command.arg("--config").arg(configured(folder, &config)?);
    let process = super::system::start(&mut command, folder, &http, "/api/services")?;
    Ok(Running { process, otlp: Otlp::Grpc(otlp), http })
}
