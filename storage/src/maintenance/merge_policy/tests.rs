use std::{path::PathBuf, sync::Arc};

use tidings_disk::ranges::portions;
use tidings_proto::{Signal, UnixNanos};

use super::{DataFile, FILE_BYTES, HOUR_NANOS, MergeJob, MergePace, plan};

const FIRST_HOUR: u64 = 500_000;
const SECOND: u64 = 1_000_000_000;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Returns the most useful merge.
fn first(files: &[Arc<DataFile>], now: UnixNanos, pace: MergePace) -> Option<MergeJob> {
    plan(Signal::Spans, files, now, pace).into_iter().next()
}

/// A simulated table whose files only have sizes. A merged file is as large as its inputs together.
#[derive(Default)]
struct Simulation {
    files: Vec<Arc<DataFile>>,
    made: u64,
    flushed_bytes: u64,
    merged_bytes: u64,
    most_files: usize,
    /// Number of files that fit in memory together, or 0 without a limit.
    portion: usize,
}

impl Simulation {
    fn file(&mut self, hour: i64, prefix: &str, bytes: u64, received: UnixNanos) {
        self.made += 1;
        let path = PathBuf::from(format!("{prefix}-{:08}", self.made));
        let file = DataFile::new(path, hour, bytes / 50, bytes, UnixNanos(0), UnixNanos(0));
        self.files.push(Arc::new(DataFile { received_max: received, ..file }));
    }

    fn flush(&mut self, hour: i64, bytes: u64, now: UnixNanos) {
        self.file(hour, "flushed", bytes, now);
        self.flushed_bytes += bytes;
    }

    fn keep_up(&mut self, now: UnixNanos, pace: MergePace) {
        while let Some(job) = first(&self.files, now, pace) {
            let in_memory = |job: MergeJob| {
                let sizes = job.files.iter().map(|_| 1);
                let portions = portions(sizes, self.portion, usize::MAX);
                job.narrowed(portions)
            };
            let job = if self.portion > 0 { in_memory(job) } else { job };
            assert!(job.files.len() >= 2 && job.files.iter().all(|file| file.hour == job.hour));
            self.files.retain(|file| !job.files.contains(file));
            let bytes = job.files.iter().map(|file| file.bytes).sum();
            let received = job.files.iter().map(|file| file.received_max).max().unwrap();
            for begin in (0..bytes).step_by(usize::try_from(FILE_BYTES).unwrap()) {
                self.file(job.hour, "merged", FILE_BYTES.min(bytes - begin), received);
            }
            self.merged_bytes += bytes;
        }
        self.most_files = self.most_files.max(self.files.len());
    }

    fn amplification(&self) -> f64 {
        let bytes = |number| f64::from(u32::try_from(number / KIB).unwrap());
        bytes(self.flushed_bytes + self.merged_bytes) / bytes(self.flushed_bytes)
    }
}

fn now(seconds: u64) -> UnixNanos {
    UnixNanos(FIRST_HOUR * HOUR_NANOS + seconds * SECOND)
}

#[test]
fn every_byte_is_written_less_than_three_times_at_any_rate() {
    let mut said = String::new();
    for (flush_bytes, every) in [
        (10 * KIB, 60),
        (MIB, 60),
        (5 * MIB, 60),
        (8 * MIB, 60),
        (40 * MIB, 60),
        (100 * MIB, 60),
        (12 * MIB, 7),
        (12 * MIB, 1),
    ] {
        for late in [false, true] {
            let mut table = Simulation::default();
            let hours = if every == 1 { 1 } else { 4 };
            for flush in 1..=hours * 3600 / every {
                let now = now(flush * every);
                let hour = (now.0 / HOUR_NANOS).cast_signed();
                table.flush(hour, flush_bytes, now);
                if late && flush % 3 == 0 {
                    table.flush(hour - 5, flush_bytes / 100 + KIB, now);
                }
                table.keep_up(now, MergePace::Running);
            }
            table.keep_up(now((hours + 1) * 3600), MergePace::Running);
            let factor = table.amplification();
            said += &format!("{flush_bytes} every {every} s, late {late}: {factor:.2}\n");
            assert!(factor < 3.0, "{said}");
            let is_sealed = flush_bytes >= super::FLUSHED_BYTES;
            let sealed_bytes = if is_sealed { flush_bytes } else { super::SEALED_BYTES };
            let whole = usize::try_from(table.flushed_bytes / sealed_bytes).unwrap();
            assert!(table.files.len() <= whole + 40, "{} files\n{said}", table.files.len());
            assert!(table.most_files <= whole + 100, "{} files\n{said}", table.most_files);
        }
    }
}

#[test]
fn merged_files_are_not_rewritten_for_each_few_new_files() {
    for (portion, most) in [(1, 8.0), (2, 8.0), (4, 5.0), (8, 4.0)] {
        let mut table = Simulation { portion, ..Simulation::default() };
        for flush in 1..=600 {
            let now = now(flush * 6);
            table.flush((now.0 / HOUR_NANOS).cast_signed(), 3 * MIB, now);
            table.keep_up(now, MergePace::Running);
        }
        let factor = table.amplification();
        assert!(factor < most, "{portion} files at once: {factor:.2}");
        assert!(table.most_files < 100, "{portion} files at once: {}", table.most_files);
    }
}

#[test]
fn an_import_of_old_hours_is_not_merged_again_and_again() {
    let mut table = Simulation::default();
    for flush in 0..60 {
        let now = now(flush * 20);
        for hour in 0..24 {
            table.flush(400_000 + hour, 600 * KIB, now);
        }
        table.keep_up(now, MergePace::Running);
    }
    table.keep_up(now(7200), MergePace::Running);
    assert_eq!(table.files.len(), 24);
    assert!(table.amplification() < 3.0, "{}", table.amplification());
}

#[test]
fn nothing_is_done_for_little() {
    let mut table = Simulation::default();
    let hour = i64::try_from(FIRST_HOUR).unwrap();
    table.flush(hour, 100 * MIB, now(0));
    table.flush(hour, MIB, now(60));
    for (pace, seconds) in
        [(MergePace::Running, 120), (MergePace::Running, 9000), (MergePace::Offline, 9000)]
    {
        assert_eq!(first(&table.files, now(seconds), pace), None);
    }
    // Two files of similar size are merged when the hour is over and no rows have arrived for a
    // while.
    table.flush(hour, 2 * MIB, now(4000));
    assert_eq!(first(&table.files, now(4300), MergePace::Running), None);
    assert_eq!(first(&table.files, now(4700), MergePace::Running).unwrap().files.len(), 2);
    assert_eq!(first(&table.files, now(100), MergePace::Offline).unwrap().files.len(), 2);
}

#[test]
fn a_small_file_does_not_keep_large_ones_apart() {
    let mut table = Simulation::default();
    for bytes in [MIB / 2, 11 * MIB, 12 * MIB, 13 * MIB] {
        table.flush(500_000, bytes, now(0));
    }
    table.keep_up(now(60), MergePace::Offline);
    let mut sizes: Vec<u64> = table.files.iter().map(|file| file.bytes).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [MIB / 2, 36 * MIB]);
}

#[test]
fn late_files_are_merged_into_the_file_of_their_settled_hour() {
    let mut table = Simulation::default();
    table.flush(500_000, 30 * MIB, now(0));
    table.flush(500_000, 2 * MIB, now(60));
    let settled = 3600 + 6 * 3600;
    assert_eq!(first(&table.files, now(settled - 1), MergePace::Running), None);
    assert_eq!(first(&table.files, now(settled), MergePace::Running).unwrap().files.len(), 2);
    // A large file gets small ones every half an hour. It is merged again when it has grown by a
    // few times its size.
    let mut table = Simulation::default();
    table.file(500_000, "merged", 100 * MIB, now(0));
    table.flushed_bytes += 100 * MIB;
    for late in 0..48 {
        table.flush(500_000, MIB / 2, now(7200 + late * 1800));
        table.keep_up(now(7200 + late * 1800 + 700), MergePace::Running);
    }
    table.keep_up(now(48 * 3600), MergePace::Running);
    assert!(table.amplification() < 3.0, "{}", table.amplification());
}

#[test]
fn two_tiny_files_do_not_keep_those_that_are_enough_apart() {
    let mut table = Simulation::default();
    let tiny = [KIB, KIB].into_iter();
    for (bytes, flush) in tiny.chain([30 * MIB; 5]).zip(0..) {
        table.flush(500_000, bytes, now(flush));
    }
    assert_eq!(first(&table.files, now(60), MergePace::Running).unwrap().files.len(), 5);
}

#[test]
fn a_large_hour_is_merged_in_order_of_reception() {
    let mut table = Simulation::default();
    // Later flushes are smaller.
    for flush in 0..80 {
        table.flush(500_000, 31 * MIB - flush * 300 * KIB, now(flush));
    }
    let merged = first(&table.files, now(100), MergePace::Offline).unwrap().files;
    let expected: Vec<UnixNanos> = (0..merged.len() as u64).map(now).collect();
    assert_eq!(merged.iter().map(|file| file.received_max).collect::<Vec<_>>(), expected);
    let bytes: u64 = merged.iter().map(|file| file.bytes).sum();
    assert!((super::JOB_BYTES - 60 * MIB..=super::JOB_BYTES).contains(&bytes), "{bytes}");
    table.keep_up(now(100), MergePace::Offline);
    assert!(table.amplification() <= 2.1, "{}", table.amplification());
}

#[test]
fn many_files_that_wait_are_written_less_than_three_times() {
    for (flushes, bytes) in [(3600, 10 * KIB), (3600, MIB), (1000, 5 * MIB), (300, 12 * MIB)] {
        let mut table = Simulation::default();
        for flush in 0..flushes {
            table.flush(500_000, bytes + flush % 7 * bytes / 10, now(flush));
        }
        table.keep_up(now(flushes), MergePace::Offline);
        let factor = table.amplification();
        assert!(factor < 3.0, "{flushes} of {bytes}: {factor}");
    }
}

#[test]
fn an_hour_with_little_becomes_one_file() {
    for (bytes, every) in [(10 * KIB, 60), (MIB, 60), (2 * MIB, 60), (20 * MIB, 1200)] {
        let mut table = Simulation::default();
        for flush in 0..3600 / every {
            table.flush(500_000, bytes, now(flush * every));
            table.keep_up(now(flush * every), MergePace::Running);
        }
        table.keep_up(now(12 * 3600), MergePace::Running);
        assert_eq!(table.files.len(), 1, "{bytes} every {every} s");
    }
}

#[test]
fn files_flushed_at_full_load_are_not_rewritten() {
    let mut table = Simulation::default();
    for flush in 0..50 {
        table.flush(500_000, 60 * MIB, now(flush * 3));
        table.keep_up(now(flush * 3), MergePace::Running);
    }
    table.keep_up(now(48 * 3600), MergePace::Offline);
    assert_eq!((table.files.len(), table.merged_bytes), (50, 0));
}

#[test]
fn files_of_log_records_become_one_where_few_bytes_are_written_for_each_less() {
    let least = super::LOG_BYTES_FOR_FILE / MIB;
    for (sizes, merged) in [
        (vec![3, 2], Some(2)),
        (vec![least - 6, 6], Some(2)),
        (vec![least - 5, 6], None),
        (vec![10, 10, 10], Some(3)),
        (vec![20, 20, 20], None),
        (vec![20, 1, 1], Some(3)),
        // Large files prevent no merge of small ones.
        (vec![30, 30, 30, 2, 2], Some(2)),
    ] {
        let mut table = Simulation::default();
        sizes.iter().for_each(|size| table.flush(500_000, size * MIB, now(0)));
        let count = |signal| {
            plan(signal, &table.files, now(0), MergePace::Offline)
                .first()
                .map(|job| job.files.len())
        };
        assert_eq!(count(Signal::Logs), merged, "{sizes:?}");
        assert_eq!(count(Signal::Spans), Some(sizes.len()), "{sizes:?}");
    }
}
