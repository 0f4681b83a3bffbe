//! Speed of the disk below a measurement: writes with a sync, as those of the log, alone.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

use crate::{latency_samples::Latencies, machine};

/// Bytes written before each sync.
const BYTES: usize = 64 << 10;
const APART: Duration = Duration::from_millis(20);

/// A thread that writes and syncs at intervals until it is stopped.
#[derive(Debug)]
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Latencies>>,
}

impl Probe {
    /// Starts the thread, which writes to a file in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let path = folder.join("fsync-probe");
        let stopped = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || run(path, &stopped)) }
    }

    /// Ends the thread. Returns how long each write with its sync took.
    pub(crate) fn finish(self) -> Result<Latencies> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow!("the probe of the disk panicked"))?
    }
}

#[expect(clippy::disallowed_methods, reason = "measures the disk that the server's writes go to")]
fn run(path: PathBuf, stop: &AtomicBool) -> Result<Latencies> {
    let context = || path.display().to_string();
    let mut file =
        OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
    let mut latencies = Latencies::default();
    let bytes = vec![0xa5; BYTES];
    while !stop.load(Relaxed) {
        let begin = machine::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        latencies.add(begin.elapsed());
        machine::pause(APART);
    }
    drop(file);
    std::fs::remove_file(&path).with_context(context)?;
    Ok(latencies)
}
