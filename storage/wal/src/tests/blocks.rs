//! Content of a segment's blocks, and recognition of the padding at its end.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use tidings_disk::{
    BLOCK, Disk, RealDisk, SharedDisk,
    faulty::{Dice, FaultRepeat, FaultyDisk},
};

use super::{open, payload, real, segment_files, settings};
use crate::{WalSettings, blocks::Blocks};

fn with_padding(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(BLOCK), 0);
    padded
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 7 + seed) % 255 + 1).unwrap()).collect()
}

/// Writes and flushes pieces. After each, the file must have all bytes so far.
fn check(disk: &dyn Disk, path: &Path, lengths: &[usize]) {
    let mut blocks = Blocks::new(disk.create_in_blocks(path).unwrap());
    let mut expected = Vec::new();
    for (seed, length) in lengths.iter().enumerate() {
        let piece = bytes(*length, seed);
        blocks.append(&piece).unwrap();
        blocks.flush().unwrap();
        blocks.sync().unwrap();
        expected.extend(piece);
        assert!(std::fs::read(path).unwrap() == with_padding(&expected), "{lengths:?} at {seed}");
    }
}

#[test]
fn a_file_has_what_was_flushed_and_zeros_to_the_end_of_a_block() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let mib = 1 << 20;
    let cases: &[&[usize]] = &[
        &[1],
        &[4095],
        &[4096],
        &[4097],
        &[8191, 1],
        &[8191, 1, 1],
        &[4096, 4096],
        &[1, 4095, 1],
        &[100, 4096, 100],
        &[100, 0, 100],
        &[mib],
        &[mib - 1, 1, 1],
        &[mib + 1, 4095, 2],
        &[1, 3 * mib, 4 * mib + 5],
    ];
    for (n, lengths) in cases.iter().enumerate() {
        check(&RealDisk, &root.path().join(format!("real {n}")), lengths);
        check(&faulty, &root.path().join(format!("faulty {n}")), lengths);
    }
}

#[test]
fn synced_bytes_survive_later_writes_to_their_block() {
    for seed in 0..200 {
        let root = tempfile::tempdir().unwrap();
        let faulty = FaultyDisk::new(root.path());
        let path = root.path().join("x");
        let mut dice = Dice(seed);
        let mut blocks = Blocks::new(faulty.create_in_blocks(&path).unwrap());
        faulty.sync_folder(root.path()).unwrap();
        let mut durable = Vec::new();
        for _ in 0..dice.roll(6) {
            let piece = bytes(usize::try_from(dice.roll(6000)).unwrap(), 3);
            blocks.append(&piece).unwrap();
            blocks.flush().unwrap();
            blocks.sync().unwrap();
            durable.extend(piece);
        }
        blocks.append(&bytes(usize::try_from(dice.roll(9000)).unwrap(), 5)).unwrap();
        blocks.flush().unwrap();
        faulty.lose_power(&mut dice);
        let left = std::fs::read(&path).unwrap();
        assert!(left.starts_with(&durable), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_that_fill_the_last_block_are_no_torn_tail_and_anything_else_is() {
    let origin = tempfile::tempdir().unwrap();
    let log = open(&real(), origin.path(), settings()).unwrap();
    for n in 1..=5 {
        log.append(n).await.unwrap();
    }
    log.wal.close().unwrap();
    let end = usize::try_from(log.wal.segments().bytes()).unwrap();
    let whole = std::fs::read(&segment_files(origin.path())[0]).unwrap();
    assert_eq!((whole.len(), &whole[end..]), (12_288, vec![0; 12_288 - end].as_slice()));
    let last = end - payload(5).len() - 36;
    type Damage = fn(&mut Vec<u8>, usize, usize);
    let cases: [(&str, Damage, usize, bool); 8] = [
        ("as it was written", |_, _, _| {}, 5, false),
        ("cut where records end", |file, end, _| file.truncate(end), 5, false),
        ("cut inside the zeros", |file, end, _| file.truncate(end + 9), 5, true),
        ("a block of zeros more", |file, _, _| file.resize(16_384, 0), 5, true),
        ("a last byte that is none", |file, _, _| file[12_287] = 1, 5, true),
        ("a first byte that is none", |file, end, _| file[end] = 0xf5, 5, true),
        ("a record that never arrived", |file, _, last| file[last..].fill(0), 4, false),
        ("a record without its end", |file, _, last| file[last + 40..].fill(0), 4, true),
    ];
    for (name, damage, records, is_torn) in cases {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("wal")).unwrap();
        let mut file = whole.clone();
        damage(&mut file, end, last);
        let name_of = segment_files(origin.path())[0].file_name().unwrap().to_owned();
        std::fs::write(root.path().join("wal").join(name_of), &file).unwrap();
        let again = open(&real(), root.path(), settings()).unwrap();
        assert_eq!(again.records.len(), records, "{name}");
        assert_eq!(again.end.torn_bytes > 0, is_torn, "{name}");
        assert_eq!(again.end.quarantined.len(), 0, "{name}");
        again.append(6).await.unwrap();
        again.wal.close().unwrap();
        let third = open(&real(), root.path(), settings()).unwrap();
        assert_eq!((third.records.len(), third.end.torn_bytes), (records + 1, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_as_long_as_many_pieces_is_stored_and_torn_as_one() {
    let root = tempfile::tempdir().unwrap();
    let faulty = FaultyDisk::new(root.path());
    let disk: SharedDisk = Arc::new(faulty.clone());
    let large = WalSettings { segment_bytes: 64 << 20, ..settings() };
    let log = open(&disk, root.path(), large).unwrap();
    let long = Bytes::from(bytes((5 << 20) + 123, 1));
    log.append(1).await.unwrap();
    log.append_bytes(2, long.clone()).await.unwrap();
    // The first operations query the free space. The failing one writes the third piece of the
    // record.
    faulty.fail(4, FaultRepeat::Once);
    assert!(log.append_bytes(3, long.clone()).await.is_err());
    log.append(4).await.unwrap();
    log.wal.close().unwrap();
    let again = open(&disk, root.path(), large).unwrap();
    assert_eq!(again.payloads(), [payload(1), long, payload(4)]);
    assert_eq!((again.end.torn_bytes, again.end.quarantined.len()), (0, 0));
    assert!(segment_files(root.path()).len() > 2, "the segment was written to after a failure");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_pieces_and_flushes_come_to_the_same_bytes(
        pieces in proptest::collection::vec((0_usize..20_000, any::<bool>()), 0..40),
    ) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        let mut blocks = Blocks::new(RealDisk.create_in_blocks(&path).unwrap());
        let mut expected = Vec::new();
        for (seed, (length, is_flushed)) in pieces.into_iter().enumerate() {
            let piece = bytes(length, seed);
            blocks.append(&piece).unwrap();
            expected.extend(piece);
            if is_flushed {
                blocks.flush().unwrap();
            }
        }
        blocks.flush().unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), with_padding(&expected));
    }
}
