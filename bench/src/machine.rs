//! The machine that figures are from: its real time, and a description in sentences.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Now.
#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Now, since 1970.
#[expect(clippy::disallowed_methods, reason = "telemetry is of the real present")]
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "load is paced in real time")]
pub(crate) async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits, and so does the thread.
#[expect(clippy::disallowed_methods, reason = "a process is watched in real time")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Processors, memory, disk and system.
pub(crate) fn describe(folder: &Path) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let load = read("/proc/loadavg");
    vec![
        format!(
            "Machine: {processors} × {}, {} GiB of memory, {}, Linux {}.",
            field(&cpuinfo, "model name"),
            memory >> 20,
            file_system(folder),
            read("/proc/sys/kernel/osrelease").trim()
        ),
        format!(
            "Load average at the end: {}.",
            load.split(' ').take(3).collect::<Vec<_>>().join(", ")
        ),
    ]
}

fn file_system(folder: &Path) -> String {
    let output = Command::new("df").arg("--output=fstype").arg(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let kind = text.unwrap_or_default().lines().nth(1).unwrap_or("unknown").trim().to_owned();
    format!("{kind} file system")
}
