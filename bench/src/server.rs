//! The server under measurement: a process of the real binary, and what Linux tells about it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{clock, cost::Cpu};

/// How long the server may take to start or stop,
const PATIENCE: Duration = Duration::from_secs(900);
/// and to merge what was sent: that takes longer the more there is.
const MERGE_PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// Linux counts a process's time in these on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// A server rests when it takes no more than a tick in so long.
const REST: Duration = Duration::from_millis(300);
/// One that does not rest within this has something else to do.
const REST_MAX: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) http: String,
    pub(crate) otlp_grpc: String,
    /// From starting the process to its being ready.
    pub(crate) started_in: Duration,
}

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) flags: Vec<String>,
}

impl Launch {
    pub(crate) fn start(&self) -> Result<Server> {
        let begin = clock::now();
        let mut child = Command::new(&self.binary)
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"])
            .args(["--otlp-http", "127.0.0.1:0", "--zipkin", "127.0.0.1:0", "--log", "error"])
            .args(&self.flags)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| self.binary.display().to_string())?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut server = Server {
            child,
            http: String::new(),
            otlp_grpc: String::new(),
            started_in: Duration::ZERO,
        };
        for line in BufReader::new(output).lines() {
            let line = line?;
            let address = line.split_whitespace().last().unwrap_or_default();
            let address = address.trim_start_matches("http://").to_owned();
            match line.trim_start() {
                line if line.starts_with("UI and API") => server.http = address,
                line if line.starts_with("otlp/grpc") => server.otlp_grpc = address,
                line if line.starts_with("zipkin") => break,
                _ => {}
            }
        }
        ensure!(
            !server.http.is_empty() && !server.otlp_grpc.is_empty(),
            "the server did not start"
        );
        server.started_in = begin.elapsed();
        Ok(server)
    }
}

impl Launch {
    /// Does all upkeep that is due, with no server running; the processor time it took.
    pub(crate) fn compact(&self) -> Result<Cpu> {
        let mut child = Command::new(&self.binary)
            .arg("compact")
            .arg("--data-dir")
            .arg(&self.data_dir)
            // What was replaced would be counted otherwise.
            .args(["--removed-files-age", "0m", "--log", "error"])
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| self.binary.display().to_string())?;
        end(&mut child, MERGE_PATIENCE)
    }
}

impl Server {
    /// Processor time of the process so far.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        cpu(&self.child)
    }

    /// Processor time of the process until it rests: what requests left to do after their answer
    /// is done by then.
    pub(crate) fn cpu_at_rest(&self) -> Result<Cpu> {
        let deadline = clock::now() + REST_MAX;
        let mut before = self.cpu()?;
        while clock::now() < deadline {
            clock::pause(REST);
            let now = self.cpu()?;
            if (now - before).total() < 1.5 / TICKS_PER_SECOND {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    /// The most memory that was resident at a time, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> Result<u64> {
        let status = proc(&self.child, "status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM: the server flushes and ends. All its processor time.
    pub(crate) fn stop(mut self) -> Result<Cpu> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(asked.success(), "the server is gone");
        end(&mut self.child, PATIENCE)
    }
}

/// Waits until a process has ended well. All its processor time.
fn end(child: &mut Child, patience: Duration) -> Result<Cpu> {
    let deadline = clock::now() + patience;
    // An ended process keeps its times until it is waited for.
    while !has_ended(child)? {
        if clock::now() > deadline {
            child.kill()?;
            bail!("it did not end within {patience:?}");
        }
        clock::pause(Duration::from_millis(5));
    }
    let cpu = cpu(child)?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(cpu)
}

fn cpu(child: &Child) -> Result<Cpu> {
    let stat = proc(child, "stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("an unknown form of stat")?;
    let seconds = |field: usize| -> Result<f64> {
        let ticks: f64 = fields.split(' ').nth(field).context("stat is short")?.parse()?;
        Ok(ticks / TICKS_PER_SECOND)
    };
    Ok(Cpu { user: seconds(11)?, system: seconds(12)? })
}

fn has_ended(child: &Child) -> Result<bool> {
    let stat = proc(child, "stat")?;
    Ok(stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z')))
}

fn proc(child: &Child, file: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{}/{file}", child.id()))?)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of all files below a folder.
pub(crate) fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}
