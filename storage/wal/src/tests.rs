#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

mod blocks;
mod damage;
mod faults;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use proptest::prelude::*;
use tidings_disk::{
    Disk, RealDisk, SharedDisk,
    faulty::{Dice, FaultRepeat, FaultyDisk},
    paths::{Paths, segment_name},
    test_effort::by_effort,
};
use tidings_proto::{Signal, UnixNanos};
use tidings_runtime::{Supervision, SystemClock};
use tokio::sync::oneshot;

use super::{
    Position, Replay, ReplayEnd, Segments, Wal, WalEntry, WalError, WalMonitor, WalRecord,
    WalSettings, error,
    record::{HeaderPage, MARKER, RECORD_HEADER, RECORDS_START, SegmentHeader},
};

fn settings() -> WalSettings {
    WalSettings { segment_bytes: 20_000, bytes_max: 1 << 30, disk_reserve: 0, salt: || 42 }
}

fn monitor() -> WalMonitor {
    WalMonitor {
        supervision: Supervision::default(),
        metrics: Arc::default(),
        clock: Arc::new(SystemClock),
    }
}

type Published = Arc<Mutex<Vec<(u64, u32)>>>;

struct Log {
    wal: Wal<u32>,
    published: Published,
    end: ReplayEnd,
    records: Vec<WalRecord>,
}

/// Replays the existing segments and opens the log after them.
fn open(disk: &SharedDisk, root: &Path, settings: WalSettings) -> Result<Log, WalError> {
    let paths = Paths::new(root);
    disk.create_folders(&paths.wal()).map_err(error::failed("create", root))?;
    let mut replay = Replay::start(Arc::clone(disk), paths.clone(), [0; 2], false)?;
    let mut records = Vec::new();
    while let Some(record) = replay.next_record()? {
        records.push(record);
    }
    let end = replay.finish();
    let segments =
        Arc::new(Segments::new(paths.wal(), Arc::clone(disk), end.sealed.clone(), [0; 2]));
    let published = Published::default();
    let seen = Arc::clone(&published);
    let position = Position { durable: end.last, next: end.used + 1 };
    let publish = move |mut new: Vec<_>| seen.lock().unwrap().append(&mut new);
    let disk = Arc::clone(disk);
    let wal = Wal::start(disk, paths.wal(), settings, segments, position, monitor(), publish)?;
    Ok(Log { wal, published, end, records })
}

fn payload(n: u32) -> Bytes {
    let length = 1 + (n as usize * 37) % 900;
    Bytes::from(n.to_le_bytes().repeat(length.div_ceil(4)))
}

impl Log {
    async fn append(&self, n: u32) -> Result<(), WalError> {
        self.append_bytes(n, payload(n)).await
    }

    async fn append_bytes(&self, n: u32, payload: Bytes) -> Result<(), WalError> {
        let (reply, answer) = oneshot::channel();
        let signal = if n.is_multiple_of(3) { Signal::Logs } else { Signal::Spans };
        let received = UnixNanos(u64::from(n));
        self.wal.append(WalEntry { signal, received, payload, value: n, reply }).await?;
        answer.await.map_err(|_| WalError::WriterStopped)?
    }

    fn payloads(&self) -> Vec<Bytes> {
        self.records.iter().map(|record| record.payload.clone()).collect()
    }
}

/// Returns true if a retry may succeed once the disk works.
fn is_of_disk(error: &WalError) -> bool {
    matches!(error, WalError::Io { .. } | WalError::WriterStopped)
}

fn real() -> SharedDisk {
    Arc::new(RealDisk)
}

fn segment_files(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("wal");
    let entries = RealDisk.list(&folder).unwrap();
    entries.into_iter().map(|entry| folder.join(entry.name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_in_order_over_many_segments() {
    let root = tempfile::tempdir().unwrap();
    let log = open(&real(), root.path(), settings()).unwrap();
    for n in 1..=200 {
        log.append(n).await.unwrap();
    }
    log.wal.close().unwrap();
    assert!(segment_files(root.path()).len() > 3);

    let again = open(&real(), root.path(), settings()).unwrap();
    assert_eq!(again.payloads(), (1..=200).map(payload).collect::<Vec<_>>());
    assert_eq!((again.end.last, again.end.torn_bytes), (200, 0));
    let sequences: Vec<u64> = again.records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (1..=200).collect::<Vec<_>>());
    assert_eq!(again.records[8].received, UnixNanos(9));
    assert_eq!(again.records[8].signal, Signal::Logs);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_share_syncs_and_are_published_in_order() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let disk: SharedDisk = Arc::new(faulty.clone());
    let log = Arc::new(open(&disk, root.path(), settings()).unwrap());
    let before = faulty.syncs();
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.append(n).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(faulty.syncs() - before < 500, "{} syncs for 500 appends", faulty.syncs() - before);
    let published = log.published.lock().unwrap();
    let sequences: Vec<u64> = published.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, (1..=500).collect::<Vec<_>>());
    assert_eq!(faulty.unsynced(), Vec::<PathBuf>::new());
}

#[test]
fn a_newest_segment_of_garbage_is_damage_and_one_that_was_being_created_is_not() {
    let header = SegmentHeader { first: 1, prior_end: 0, salt: 1, covered: [0; 2] }.encode();
    let damaged = |byte: usize, value: u8| {
        // Both pages are damaged, so that no copy of the header is left.
        let mut bytes = header.clone();
        bytes[20] ^= 1;
        bytes[4096 + 20] ^= 1;
        bytes[byte] = value;
        bytes
    };
    let cases = [
        (Vec::new(), false),
        (vec![0; 100], false),
        (vec![0; 8192], false),
        (header[..30].to_vec(), false),
        ([&[0; 4096], &header[..30]].concat(), false),
        (damaged(0, 0), false),
        (damaged(0, b'X'), true),
        (damaged(64, 1), true),
        (damaged(8191, 1), true),
        (vec![0xf5; 1], true),
        (vec![0xaa; 4096], true),
        (vec![0xaa; 8192], true),
        ([header.as_slice(), &[0; 4096]].concat(), false),
        (vec![0; 12288], true),
    ];
    for (bytes, is_damaged) in cases {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("wal")).unwrap();
        let path = root.path().join("wal").join(segment_name(1));
        std::fs::write(&path, &bytes).unwrap();
        let context = format!("{} bytes, {:?} ...", bytes.len(), bytes.first());
        let mut replay = Replay::start(real(), Paths::new(root.path()), [0; 2], false).unwrap();
        assert_eq!(replay.next_record().unwrap(), None, "{context}");
        assert_eq!(replay.finish().quarantined.len(), usize::from(is_damaged), "{context}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_at_any_byte_keeps_exactly_the_complete_records() {
    let root = tempfile::tempdir().unwrap();
    let log = open(&real(), root.path(), settings()).unwrap();
    for n in 0..12 {
        log.append_bytes(n, Bytes::from(vec![7; 5 + n as usize])).await.unwrap();
    }
    log.wal.close().unwrap();
    let mut whole = std::fs::read(&segment_files(root.path())[0]).unwrap();
    let ends: Vec<usize> = (0..12)
        .scan(usize::try_from(RECORDS_START).unwrap(), |at, n| {
            *at += RECORD_HEADER + 5 + n;
            Some(*at)
        })
        .collect();
    assert_eq!(ends.last().unwrap().next_multiple_of(4096), whole.len());
    whole.truncate(*ends.last().unwrap());

    let old = other_segment_bytes();
    for cut in 0..=whole.len() {
        let paddings: [&[u8]; 4] = [&[], &[0; 100], &[0xf5; 50], &old];
        for (number, padding) in paddings.into_iter().enumerate() {
            if cut < 8100 && (cut % 97 != 0 || !padding.is_empty()) {
                continue; // Inside the header's padding all offsets are alike.
            }
            // In a quick run each length has one of the endings.
            if by_effort(number != cut % paddings.len(), false) {
                continue;
            }
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("wal")).unwrap();
            let mut bytes = whole[..cut].to_vec();
            bytes.extend_from_slice(padding);
            std::fs::write(root.path().join("wal").join(segment_name(1)), &bytes).unwrap();
            let mut replay = Replay::start(real(), Paths::new(root.path()), [0; 2], false).unwrap();
            let mut count = 0;
            while let Some(record) = replay.next_record().unwrap() {
                assert_eq!(record.payload.len(), 5 + count);
                count += 1;
            }
            assert_eq!(count, ends.iter().filter(|end| **end <= cut).count(), "cut at {cut}");
            let end = replay.finish();
            let valid = ends.iter().rfind(|end| **end <= cut).copied();
            let valid = valid.unwrap_or(usize::try_from(RECORDS_START).unwrap());
            if bytes.len() > usize::try_from(RECORDS_START).unwrap() {
                assert_eq!(end.torn_bytes, (bytes.len() - valid) as u64, "cut at {cut}");
            }
            assert_eq!(end.quarantined, Vec::<PathBuf>::new());
        }
    }
}

/// Returns sound records of a segment with another salt.
fn other_segment_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    for sequence in 13..16 {
        let payload = Bytes::from_static(b"old");
        let record = WalRecord { sequence, received: UnixNanos(0), signal: Signal::Spans, payload };
        bytes.extend(record.header(43).unwrap());
        bytes.extend(record.payload);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_goes_on_behind_the_tear_and_never_sees_it_again() {
    let root = tempfile::tempdir().unwrap();
    let log = open(&real(), root.path(), settings()).unwrap();
    for n in 1..=5 {
        log.append(n).await.unwrap();
    }
    log.wal.close().unwrap();
    let file = &segment_files(root.path())[0];
    let bytes = std::fs::read(file).unwrap();
    let end = usize::try_from(log.wal.segments().bytes()).unwrap();
    std::fs::write(file, &bytes[..end - 3]).unwrap();

    let again = open(&real(), root.path(), settings()).unwrap();
    assert_eq!(again.end.last, 4);
    assert!(again.end.torn_bytes > 0);
    again.append(6).await.unwrap();
    again.wal.close().unwrap();

    let third = open(&real(), root.path(), settings()).unwrap();
    assert_eq!(third.payloads(), [1, 2, 3, 4, 6].map(payload));
    assert_eq!((third.end.torn_bytes, third.end.quarantined.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_loses_that_record_only_and_is_set_aside() {
    let origin = tempfile::tempdir().unwrap();
    let log = open(&real(), origin.path(), settings()).unwrap();
    for n in 1..=60 {
        log.append(n).await.unwrap();
    }
    log.wal.close().unwrap();
    let files = segment_files(origin.path());
    assert!(files.len() >= 2);
    let mut dice = Dice(7);
    for round in 0..150 {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("wal")).unwrap();
        for file in &files {
            std::fs::copy(file, root.path().join("wal").join(file.file_name().unwrap())).unwrap();
        }
        let victim = &segment_files(root.path())[0];
        let mut bytes = std::fs::read(victim).unwrap();
        let body = log.wal.segments().sealed()[0].bytes - RECORDS_START;
        let at = usize::try_from(RECORDS_START + dice.roll(body)).unwrap();
        if round % 3 == 0 {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0xaa);
        } else {
            bytes[at] ^= 1 << dice.roll(8);
        }
        std::fs::write(victim, &bytes).unwrap();

        let again = open(&real(), root.path(), settings()).unwrap();
        let found: Vec<u64> = again.records.iter().map(|record| record.sequence).collect();
        for record in &again.records {
            let n = u32::try_from(record.sequence).unwrap();
            assert_eq!(record.payload, payload(n), "a record changed, seed 7 round {round}");
        }
        let lost = 60 - found.len();
        assert!((1..=20).contains(&lost), "{lost} lost, seed 7 round {round}");
        assert_eq!(found.last(), Some(&60));
        assert_eq!(again.end.quarantined.len(), 1, "seed 7 round {round}");
        assert_eq!(std::fs::read(&again.end.quarantined[0]).unwrap(), bytes);
        again.append(61).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_copy_of_the_header_costs_nothing() {
    for copy in [0, 4096] {
        let root = tempfile::tempdir().unwrap();
        let log = open(&real(), root.path(), settings()).unwrap();
        log.append(1).await.unwrap();
        log.wal.close().unwrap();
        let file = &segment_files(root.path())[0];
        let mut bytes = std::fs::read(file).unwrap();
        bytes[copy..copy + 4096].fill(0);
        std::fs::write(file, &bytes).unwrap();
        let again = open(&real(), root.path(), settings()).unwrap();
        assert_eq!(again.payloads(), [payload(1)]);
    }
}

#[test]
fn a_damaged_bit_in_one_copy_of_the_header_loses_no_position() {
    let header = SegmentHeader { first: 7, prior_end: 6, salt: 9, covered: [4, 5] };
    let encoded = header.encode();
    for bit in (0..2 * 4096 * 8).filter(|bit| bit % (4096 * 8) < 64 * 8) {
        let mut bytes = encoded.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&bytes), HeaderPage::Valid(header), "bit {bit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_files_are_tolerated_and_stay() {
    let root = tempfile::tempdir().unwrap();
    let log = open(&real(), root.path(), settings()).unwrap();
    for n in 1..=60 {
        log.append(n).await.unwrap();
    }
    log.wal.close().unwrap();
    let folder = root.path().join("wal");
    let first = segment_files(root.path())[0].clone();
    std::fs::write(folder.join(segment_name(61)), b"").unwrap();
    std::fs::write(folder.join("notes.txt"), b"mine").unwrap();
    std::fs::copy(&first, folder.join(segment_name(7777))).unwrap();
    std::fs::create_dir(folder.join(segment_name(5000))).unwrap();
    let again = open(&real(), root.path(), settings()).unwrap();
    assert_eq!(again.payloads(), (1..=60).map(payload).collect::<Vec<_>>());
    again.append(61).await.unwrap();
    again.wal.close().unwrap();
    for name in [segment_name(61), "notes.txt".to_owned(), segment_name(7777), segment_name(5000)] {
        assert!(folder.join(&name).exists(), "{name}");
    }
    assert_eq!(open(&real(), root.path(), settings()).unwrap().records.len(), 61);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_noticed_and_the_others_count() {
    let root = tempfile::tempdir().unwrap();
    let log = open(&real(), root.path(), settings()).unwrap();
    for n in 1..=150 {
        log.append(n).await.unwrap();
    }
    log.wal.close().unwrap();
    let files = segment_files(root.path());
    std::fs::remove_file(&files[1]).unwrap();
    let again = open(&real(), root.path(), settings()).unwrap();
    assert!(again.records.len() < 150);
    assert_eq!(again.end.last, 150);
    again.append(151).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_format_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("wal")).unwrap();
    let mut bytes = SegmentHeader { first: 1, prior_end: 0, salt: 1, covered: [0; 2] }.encode();
    bytes[8] = 9;
    let check = crc32c::crc32c(&bytes[..40]).to_le_bytes();
    bytes[40..44].copy_from_slice(&check);
    std::fs::write(root.path().join("wal").join(segment_name(1)), bytes).unwrap();
    let error = Replay::start(real(), Paths::new(root.path()), [0; 2], false).err().unwrap();
    assert!(matches!(error, WalError::Format { found: 9, supported: 1, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_imitates_records_is_never_taken_for_one() {
    let root = tempfile::tempdir().unwrap();
    let log = open(&real(), root.path(), settings()).unwrap();
    let mut fake = other_segment_bytes();
    fake.extend(MARKER.repeat(3000));
    log.append_bytes(1, Bytes::from(fake)).await.unwrap();
    log.append(2).await.unwrap();
    log.wal.close().unwrap();
    let file = &segment_files(root.path())[0];
    let mut bytes = std::fs::read(file).unwrap();
    bytes[usize::try_from(RECORDS_START).unwrap() + 5] ^= 1;
    std::fs::write(file, &bytes).unwrap();
    let again = open(&real(), root.path(), settings()).unwrap();
    assert_eq!(again.payloads(), [payload(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_failing_operation_refuses_or_stores_and_never_mixes_up() {
    for fault in [FaultRepeat::Once, FaultRepeat::Persistent] {
        for nth in 1.. {
            let root = tempfile::tempdir().unwrap();
            let faulty = FaultyDisk::new(root.path());
            let disk: SharedDisk = Arc::new(faulty.clone());
            let small = WalSettings { segment_bytes: 9000, ..settings() };
            let log = open(&disk, root.path(), small).unwrap();
            faulty.fail(nth, fault);
            let mut stored = Vec::new();
            for n in 1..=12 {
                match log.append(n).await {
                    Ok(()) => stored.push(n),
                    Err(error) => assert!(is_of_disk(&error), "{error}"),
                }
            }
            let faults = faulty.heal();
            assert!(fault == FaultRepeat::Persistent || stored.len() >= 11, "{nth}: {stored:?}");
            for n in 13..=14 {
                log.append(n).await.unwrap();
                stored.push(n);
            }
            log.wal.check().unwrap();
            log.wal.close().unwrap();
            faulty.lose_power(&mut Dice(nth));
            let again = open(&disk, root.path(), small).unwrap();
            let expected: Vec<Bytes> = stored.iter().copied().map(payload).collect();
            assert_eq!(again.payloads(), expected, "{fault:?} operation {nth}");
            assert_eq!(again.end.quarantined.len(), 0, "{fault:?} operation {nth}");
            if faults == 0 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_survive_power_cuts() {
    for seed in 0..60 {
        let root = tempfile::tempdir().unwrap();
        let faulty = FaultyDisk::new(root.path());
        let disk: SharedDisk = Arc::new(faulty.clone());
        let mut dice = Dice(seed);
        let mut stored: Vec<u32> = Vec::new();
        let mut unknown: Vec<u32> = Vec::new();
        let mut n = 0;
        for _ in 0..6 {
            let small = WalSettings { segment_bytes: 9000 + dice.roll(20_000), ..settings() };
            let log = open(&disk, root.path(), small).unwrap();
            let read: Vec<Bytes> = log.payloads();
            let known = |bytes: &Bytes, list: &[u32]| list.iter().any(|n| payload(*n) == bytes);
            for n in &stored {
                assert_eq!(read.iter().filter(|b| **b == payload(*n)).count(), 1, "seed {seed}");
            }
            let surfaced: Vec<&Bytes> = read.iter().filter(|b| !known(b, &stored)).collect();
            assert!(surfaced.iter().all(|bytes| known(bytes, &unknown)), "phantom, seed {seed}");
            let settled: Vec<u32> =
                unknown.drain(..).filter(|n| read.contains(&payload(*n))).collect();
            stored.extend(settled);
            if dice.roll(2) == 0 {
                faulty.fail(
                    1 + dice.roll(30),
                    if dice.roll(2) == 0 { FaultRepeat::Once } else { FaultRepeat::Persistent },
                );
            }
            for _ in 0..dice.roll(25) {
                n += 1;
                match log.append(n).await {
                    Ok(()) => stored.push(n),
                    Err(_) => unknown.push(n),
                }
            }
            log.wal.close().unwrap();
            faulty.heal();
            faulty.lose_power(&mut dice);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_and_a_full_disk_refuse_until_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let disk: SharedDisk = Arc::new(faulty.clone());
    let tight = WalSettings { bytes_max: 30_000, disk_reserve: 1000, ..settings() };
    let log = open(&disk, root.path(), tight).unwrap();
    let mut stored = 0;
    let refused = loop {
        match log.append_bytes(1, Bytes::from(vec![1; 1000])).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, WalError::WalFull { limit: 30_000, .. }), "{refused}");
    assert!(log.wal.segments().bytes() <= 30_000);
    log.wal.rotate().await.unwrap();
    log.wal.segments().drop_through(stored).unwrap();
    log.append(2).await.unwrap();

    faulty.set_free(Some(1500));
    let refused = log.append_bytes(1, Bytes::from(vec![1; 1000])).await.unwrap_err();
    assert!(matches!(refused, WalError::DiskFull { free: 1500, .. }), "{refused}");
    assert!(log.wal.check().is_err());
    faulty.set_free(None);
    log.append(3).await.unwrap();
    log.wal.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_writer_refuses_instead_of_hanging() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    std::fs::create_dir(paths.wal()).unwrap();
    let segments = Arc::new(Segments::new(paths.wal(), real(), Vec::new(), [0; 2]));
    let position = Position { durable: 0, next: 1 };
    let monitor = monitor();
    let supervision = monitor.supervision.clone();
    let publish = |_| panic!("on purpose");
    let wal: Wal<u32> =
        Wal::start(real(), paths.wal(), settings(), segments, position, monitor, publish).unwrap();
    let log =
        Log { wal, published: Published::default(), end: ReplayEnd::default(), records: vec![] };
    assert!(matches!(log.append(1).await, Err(WalError::WriterStopped)));
    assert!(matches!(log.append(2).await, Err(WalError::WriterStopped)));
    assert!(matches!(log.wal.check(), Err(WalError::WriterStopped)));
    assert!(log.wal.close().is_err());
    assert_eq!(supervision.failed().await, "log writer failed: on purpose");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_reader_reads_every_record_that_the_writer_accepts(
        payloads in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..5000), 0..40),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let root = tempfile::tempdir().unwrap();
        let log = open(&real(), root.path(), settings()).unwrap();
        for bytes in &payloads {
            runtime.block_on(log.append_bytes(1, Bytes::from(bytes.clone()))).unwrap();
        }
        log.wal.close().unwrap();
        let again = open(&real(), root.path(), settings()).unwrap();
        prop_assert_eq!(again.payloads(), payloads.into_iter().map(Bytes::from).collect::<Vec<_>>());
    }
}
