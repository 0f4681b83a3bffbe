//! VictoriaTraces and VictoriaLogs on one machine, as they come. They take OTLP over HTTP.

use std::path::Path;

use anyhow::Result;

use super::system::{Running, System, command, free_address};
use crate::client::Otlp;

pub(super) const TRACES: System = System {
    name: "victoria-traces",
    title: "VictoriaTraces",
    acknowledges: "memory has them",
    start: start_traces,
    after: None,
    stored: "data",
    jaeger: Some("/select/jaeger"),
    tempo: None,
};

fn start_traces(program: &Path, folder: &Path) -> Result<Running> {
    start(program, folder, "traces")
}

/// Starts VictoriaLogs with its data below this folder.
pub(crate) fn start_logs(program: &Path, folder: &Path) -> Result<Running> {
    start(program, folder, "logs")
}

fn start(program: &Path, folder: &Path, signal: &str) -> Result<Running> {
    let http = free_address()?;
    let mut command = command(program);
    command
        .arg(format!("-storageDataPath={}", folder.join("data").display()))
        .arg(format!("-httpListenAddr={http}"));
    let process = super::system::start(&mut command, folder, &http, "/health")?;
    let otlp = Otlp::Http(format!("http://{http}/insert/opentelemetry/v1/{signal}"));
    Ok(Running { process, otlp, http })
}
