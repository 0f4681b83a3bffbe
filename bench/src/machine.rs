//! The machine that figures are from: its real time, and a description in sentences.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Returns the present instant.
#[expect(clippy::disallowed_methods, reason = "a measurement is of real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the present time in nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "telemetry is of the real present")]
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits without blocking the thread.
#[expect(clippy::disallowed_methods, reason = "load is paced in real time")]
pub(crate) async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Blocks the thread for this time.
#[expect(clippy::disallowed_methods, reason = "a process is watched in real time")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Describes processors, memory, disk and system in sentences.
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

/// Returns the bytes that are free on the disk of a folder; `None` when the system does not say.
pub(crate) fn free_disk_bytes(folder: &Path) -> Option<u64> {
    disk_field(folder, "avail")?.parse().ok()
}

fn file_system(folder: &Path) -> String {
    let kind = disk_field(folder, "fstype").unwrap_or_else(|| "unknown".to_owned());
    format!("{kind} file system")
}

/// Returns a field that `df` has of the disk of a folder, sizes in bytes.
fn disk_field(folder: &Path, name: &str) -> Option<String> {
    let mut command = Command::new("df");
    let output = command.arg("--block-size=1").arg(format!("--output={name}")).arg(folder).output();
    let text = String::from_utf8_lossy(&output.ok()?.stdout).into_owned();
    text.lines().nth(1).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{file_system, free_disk_bytes};

    #[test]
    fn the_disk_of_a_folder_is_described() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(free_disk_bytes(folder).is_some_and(|bytes| bytes > 0));
        assert!(!file_system(folder).starts_with("unknown"));
        let missing = Path::new("/missing/folder");
        assert_eq!(
            (free_disk_bytes(missing), file_system(missing)),
            (None, "unknown file system".to_owned())
        );
    }
}
