//! VictoriaTraces on one machine, as it comes. It takes OTLP over HTTP.

use std::path::Path;

use anyhow::Result;

use super::system::{Running, System, command, free_address};
use crate::client::Otlp;

pub(super) const SYSTEM: System = System {
    name: "victoria-traces",
    title: "VictoriaTraces",
    acknowledges: "memory has them",
    start,
    after: None,
    stored: "data",
    jaeger: Some("/select/jaeger"),
    tempo: None,
};

fn start(program: &Path, folder: &Path) -> Result<Running> {
    let http = free_address()?;
    let mut command = command(program);
    command
        .arg(format!("-storageDataPath={}", folder.join("data").display()))
        .arg(format!("-httpListenAddr={http}"));
    let process = super::system::start(&mut command, folder, &http, "/health")?;
    let otlp = Otlp::Http(format!("http://{http}/insert/opentelemetry/v1/traces"));
    Ok(Running { process, otlp, http })
}
