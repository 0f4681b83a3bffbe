//! The server under measurement: a process of the real binary, and what Linux tells about it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    client::Otlp,
    cost::Cpu,
    machine,
    process::{ChildProcess, IdleCriterion},
};

/// Maximum time for the server to start or to stop.
const PATIENCE: Duration = Duration::from_secs(900);
/// Maximum time to compact all data, which grows with its size.
const MERGE_PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// Linux counts disk usage of files in blocks of this size.
const BLOCK_BYTES: u64 = 512;
/// An idle server takes at most one tick in 300 ms.
const REST: IdleCriterion = IdleCriterion {
    window: Duration::from_millis(300),
    part: 0.05,
    patience: Duration::from_secs(30),
};

/// Flags that keep everything in memory and in the log. The reserve has to hold a flush.
pub(crate) const IN_MEMORY: [[&str; 2]; 5] = [
    ["--memory-flush-bytes", "2GiB"],
    ["--disk-reserve-bytes", "2GiB"],
    ["--memory-bytes-max", "4GiB"],
    ["--memory-flush-seconds", "86400"],
    ["--wal-bytes-max", "64GiB"],
];

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct RunningServer {
    pub(crate) process: ChildProcess,
    pub(crate) http: String,
    pub(crate) otlp: Otlp,
    /// The address of OTLP over HTTP.
    pub(crate) otlp_http: String,
    /// Time from the start of the process until it is ready.
    pub(crate) started_in: Duration,
}

/// Program, data directory and flags of a server to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) flags: Vec<String>,
}

impl Launch {
    pub(crate) fn start(&self) -> Result<RunningServer> {
        let listeners = self.listeners()?;
        let begin = machine::now();
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(listeners.iter().flat_map(|flag| [flag.as_str(), "127.0.0.1:0"]))
            .args(["--log", "error"])
            .args(&self.flags)
            .stdout(Stdio::piped());
        let mut process = ChildProcess::start(&mut command)?;
        let output = process.child().stdout.take().context("the server has no output")?;
        let mut server = RunningServer {
            process,
            http: String::new(),
            otlp: Otlp::Grpc(String::new()),
            otlp_http: String::new(),
            started_in: Duration::ZERO,
        };
        // The server prints a line for each listener.
        for line in BufReader::new(output).lines().take(listeners.len()) {
            let line = line?;
            let address = line.split_whitespace().last().unwrap_or_default();
            let address = address.split_once("://").map_or(address, |(_, rest)| rest).to_owned();
            match line.trim_start() {
                line if line.starts_with("UI and API") => server.http = address,
                line if line.starts_with("otlp/grpc") => server.otlp = Otlp::Grpc(address),
                line if line.starts_with("otlp/http") => server.otlp_http = address,
                _ => {}
            }
        }
        let takes_otlp = matches!(&server.otlp, Otlp::Grpc(address) if !address.is_empty());
        ensure!(!server.http.is_empty() && takes_otlp, "the server did not start");
        server.started_in = begin.elapsed();
        Ok(server)
    }

    /// Returns the flags that set the addresses of listeners: the settings whose values are
    /// addresses.
    fn listeners(&self) -> Result<Vec<String>> {
        let printed = Command::new(&self.binary).arg("config").output()?;
        ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let flag = |line: &str| {
            let (name, value) = line.split_once(" = ")?;
            let address = value.split('"').nth(1)?;
            address.parse::<SocketAddr>().ok()?;
            Some(format!("--{}", name.replace('_', "-")))
        };
        Ok(String::from_utf8(printed.stdout)?.lines().filter_map(flag).collect())
    }
}

impl Launch {
    /// Does all maintenance that is due, while no server runs. Returns the processor time it took.
    pub(crate) fn compact(&self) -> Result<Cpu> {
        let mut command = Command::new(&self.binary);
        command
            .arg("compact")
            .arg("--data-dir")
            .arg(&self.data_dir)
            // Replaced files would be counted otherwise.
            .args(["--removed-files-age", "0m", "--log", "error"])
            .stdout(Stdio::null());
        ChildProcess::start(&mut command)?.end(MERGE_PATIENCE)
    }
}

impl RunningServer {
    /// Waits until it is idle and returns its processor time so far.
    pub(crate) fn cpu_at_rest(&self) -> Result<Cpu> {
        self.process.cpu_at_rest(REST)
    }

    /// Returns the peak of its resident memory, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> Result<u64> {
        self.process.peak_resident_bytes()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(self) -> Result<()> {
        self.process.kill()
    }

    /// Sends SIGTERM, at which the server flushes and ends. Returns all its processor time.
    pub(crate) fn stop(self) -> Result<Cpu> {
        self.process.stop(PATIENCE)
    }
}

/// Returns the bytes that all files below a folder take, holes left out.
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
                bytes += metadata.len().min(metadata.blocks() * BLOCK_BYTES);
            }
        }
    }
    Ok(bytes)
}
