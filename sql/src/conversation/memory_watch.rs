//! The memory of a worker's process, measured from outside.
//!
//! Address space is no measure: the engine reserves many times what it touches. So the pages that
//! belong to the process alone are counted while its query runs, often enough that it cannot grow
//! much beyond the maximum before it is ended.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{SqlLimits, meter::Meter};

/// The time between two measurements. Memory is cleared at some gigabytes a second.
const LOOK: Duration = Duration::from_millis(20);
/// Memory of the program and of rows on their way.
const PROGRAM_BYTES: u64 = 128 << 20;

/// A periodic measurement of a process's memory.
pub(super) struct MemoryWatch {
    max: u64,
    outgrown: Pin<Box<dyn Future<Output = u64> + Send>>,
}

impl fmt::Debug for MemoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growth").field("max", &self.max).finish_non_exhaustive()
    }
}

impl MemoryWatch {
    /// Measures this process from now on.
    pub(super) fn watch(pid: u32, meter: &Meter) -> Self {
        let max = bytes_max(&meter.limits);
        let clock = Arc::clone(&meter.clock);
        let outgrown = async move {
            loop {
                clock.sleep(LOOK).await;
                // A process that has ended has no memory; its connection reports the end.
                let bytes = own_bytes(pid).unwrap_or_default();
                if bytes > max {
                    return bytes;
                }
            }
        };
        Self { max, outgrown: Box::pin(outgrown) }
    }

    /// Resolves when the process exceeds its maximum, with its bytes and that maximum.
    pub(super) async fn outgrown(&mut self) -> (u64, u64) {
        (self.outgrown.as_mut().await, self.max)
    }
}

/// Returns the maximum bytes of a worker: the memory of its query, the answer, and the values that
/// functions make of a batch of rows, twice while they are copied.
fn bytes_max(limits: &SqlLimits) -> u64 {
    let kept = limits.memory_bytes_max.saturating_add(limits.answer_bytes_max);
    let made = limits.made_bytes_max.saturating_mul(2);
    u64::try_from(kept).unwrap_or(u64::MAX).saturating_add(made).saturating_add(PROGRAM_BYTES)
}

/// Returns the bytes in memory that the process shares with no other.
fn own_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    kib.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{bytes_max, own_bytes};
    use crate::SqlLimits;

    #[test]
    fn a_worker_of_a_small_budget_is_small() {
        const MIB: u64 = 1 << 20;
        let of = |mib: usize| bytes_max(&SqlLimits::of_memory(mib << 20));
        assert_eq!(SqlLimits::of_memory(256 << 20), SqlLimits::default());
        assert_eq!([12, 64, 256, 1024].map(of), [180, 272, 704, 1472].map(|mib| mib * MIB));
        assert_eq!(bytes_max(&SqlLimits::of_memory(usize::MAX)), u64::MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_of_a_process_is_known() {
        let before = own_bytes(std::process::id()).unwrap();
        let kept = vec![1_u8; 64 << 20];
        let after = own_bytes(std::process::id()).unwrap();
        assert!(before > 0 && after >= before + (60 << 20), "{before} {after}");
        assert_eq!(kept.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
        assert!(own_bytes(u32::MAX).is_none());
    }
}
