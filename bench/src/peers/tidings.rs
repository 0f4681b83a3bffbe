//! Ours, as it comes.

use std::path::Path;

use anyhow::Result;

use super::system::{Running, System};
use crate::{cost::Cpu, server::Launch};

pub(super) const SYSTEM: System = System {
    name: "server",
    title: "Tidings",
    acknowledges: "an fsync has them",
    start,
    after: Some(compact),
    stored: "data/tables",
    jaeger: Some("/jaeger"),
    tempo: Some("/tempo"),
};

fn launch(program: &Path, folder: &Path) -> Launch {
    Launch { binary: program.to_owned(), data_dir: folder.join("data"), flags: Vec::new() }
}

fn start(program: &Path, folder: &Path) -> Result<Running> {
    let server = launch(program, folder).start()?;
    Ok(Running { process: server.process, otlp: server.otlp, http: server.http })
}

fn compact(program: &Path, folder: &Path) -> Result<Cpu> {
    launch(program, folder).compact()
}
