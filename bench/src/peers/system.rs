//! Description of a system: its command line, and the APIs it answers.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use crate::{
    client::{Client, Otlp},
    cost::Cpu,
    machine,
    process::ChildProcess,
};

/// Maximum time a system may take to start.
const START_MAX: Duration = Duration::from_secs(120);

/// A system that can be measured.
pub(super) struct System {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// Its name in the table.
    pub(super) title: &'static str,
    /// State of spans that the system has acknowledged, for the report.
    pub(super) acknowledges: &'static str,
    /// Starts this program with its data in this empty folder.
    pub(super) start: fn(&Path, &Path) -> Result<Running>,
    /// Work left before the state that other systems reach while idle. Returns its processor time.
    pub(super) after: Option<fn(&Path, &Path) -> Result<Cpu>>,
    /// Path of its data in its folder, without a log that is written over.
    pub(super) stored: &'static str,
    /// Path of Jaeger's API, if it has one.
    pub(super) jaeger: Option<&'static str>,
    /// Path of Tempo's API, if it has one.
    pub(super) tempo: Option<&'static str>,
}

/// A system that is ready.
pub(crate) struct Running {
    pub(crate) process: ChildProcess,
    pub(crate) otlp: Otlp,
    /// The address that its APIs are at.
    pub(crate) http: String,
}

/// An address that nothing listens on.
pub(super) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Writes a configuration into the folder, and says where.
#[expect(clippy::disallowed_methods, reason = "a configuration for one run needs no durability")]
pub(super) fn configured(folder: &Path, text: &str) -> Result<std::path::PathBuf> {
    let path = folder.join("config.yaml");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Starts a program with its output in a file. Waits until this path answers with success.
#[expect(clippy::disallowed_methods, reason = "what a program says needs no durability")]
pub(super) fn start(
    command: &mut Command,
    folder: &Path,
    http: &str,
    ready: &str,
) -> Result<ChildProcess> {
    let said = folder.join("said.txt");
    let file = File::create(&said)?;
    let process = ChildProcess::start(command.stdout(file.try_clone()?).stderr(file))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new()?;
    let deadline = machine::now() + START_MAX;
    while machine::now() < deadline && !process.has_ended()? {
        let answer = runtime.block_on(client.get(http, ready));
        if answer.is_ok_and(|got| got.status == 200) {
            return Ok(process);
        }
        machine::pause(Duration::from_millis(100));
    }
    bail!("it is not ready: {}", last_lines(&fs::read_to_string(&said)?))
}

/// A command without anything to read.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Spans of a trace as Jaeger's API has it.
pub(super) fn spans_of_jaeger(answer: &Json) -> u64 {
    let traces = answer["data"].as_array().into_iter().flatten();
    traces.map(|trace| trace["spans"].as_array().map_or(0, Vec::len) as u64).sum()
}

/// Spans of a trace as Tempo's API has it.
pub(super) fn spans_of_tempo(answer: &Json) -> u64 {
    let resources = answer["batches"].as_array().into_iter().flatten();
    let scopes = resources.flat_map(|of| of["scopeSpans"].as_array().into_iter().flatten());
    scopes.map(|scope| scope["spans"].as_array().map_or(0, Vec::len) as u64).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{last_lines, spans_of_jaeger, spans_of_tempo};

    #[test]
    fn spans_are_counted_in_either_form() {
        let jaeger = json!({"data": [{"spans": [{}, {}]}, {"spans": [{}]}]});
        assert_eq!((spans_of_jaeger(&jaeger), spans_of_tempo(&jaeger)), (3, 0));
        let scopes = json!([{"spans": [{}]}, {"spans": [{}, {}]}]);
        let tempo = json!({"batches": [{"scopeSpans": scopes}, {}]});
        assert_eq!((spans_of_jaeger(&tempo), spans_of_tempo(&tempo)), (0, 3));
    }

    #[test]
    fn the_last_lines_of_an_output_are_returned() {
        let text: String = (0..20).map(|line| format!("{line}\n")).collect();
        assert_eq!(last_lines(&text).lines().next(), Some("10"));
        assert_eq!(last_lines(""), "");
    }
}
