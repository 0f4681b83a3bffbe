#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use parquet::file::reader::{ChunkReader, Length};
use tidings_disk::RealDisk;

use super::{
    Cache, ObjectTables, Readable, TableStore, connect,
    object::BLOCK,
    unreliable::{AT, RequestFault, UnreliableStore, remote},
};
use crate::{ObjectAddress, ObjectStoreSettings};

#[test]
fn an_address_is_a_bucket_and_a_plain_prefix() {
    for (text, shown) in [
        ("s3://b", Some("s3://b")),
        ("s3://b/", Some("s3://b")),
        ("s3://my.bucket-1/a/b_c=1/", Some("s3://my.bucket-1/a/b_c=1")),
        ("s3://", None),
        ("s3:///a", None),
        ("s3://b//a", None),
        ("s3://b/../a", None),
        ("s3://b/a?x", None),
        ("s3://b/ä", None),
        ("s3://user:secret@b/a", None),
        ("gs://b/a", None),
        ("/folder", None),
    ] {
        let parsed = text.parse::<ObjectAddress>().ok().map(|address| address.to_string());
        assert_eq!(parsed.as_deref(), shown, "{text}");
    }
    let address: ObjectAddress = "s3://b".parse().unwrap();
    assert_eq!(address.location("spans/x").as_ref(), "spans/x");
    for (of, below) in [("s3://b", "s3://b/tenants/a"), ("s3://b/c", "s3://b/c/tenants/a")] {
        let of: ObjectAddress = of.parse().unwrap();
        assert_eq!(of.below("tenants/a").unwrap().to_string(), below);
        assert!(of.below("tenants/../a").is_err());
    }
}

#[test]
fn secrets_are_not_shown_and_other_machines_are_reached_encrypted() {
    let secret = [("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_ACCESS_KEY_ID", "me")];
    let shown = format!("{:?}", remote(&secret));
    assert!(!shown.contains("hush") && !shown.contains("me\""), "{shown}");
    for (endpoint, more, reachable) in [
        ("http://127.0.0.1:9000", None, true),
        ("http://[::1]:9000", None, true),
        ("http://localhost:9000", None, true),
        ("https://store.example", None, true),
        ("http://store.example", None, false),
        ("http://store.example", Some("AWS_ALLOW_HTTP"), true),
        ("http://127.0.0.1.example", None, false),
        ("no address", None, false),
    ] {
        let mut options = vec![("AWS_ENDPOINT_URL", endpoint), ("AWS_UNKNOWN", "x")];
        options.extend(secret);
        options.extend(more.map(|name| (name, "true")));
        let connected = connect(&remote(&options));
        assert_eq!(connected.is_ok(), reachable, "{endpoint} {connected:?}");
        let said = format!("{connected:?}");
        assert!(!said.contains("hush"), "{said}");
    }
    let allowed = ObjectStoreSettings {
        allow_http: true,
        ..remote(&[("AWS_ENDPOINT_URL", "http://store.example")])
    };
    assert!(connect(&allowed).is_ok());
}

fn tables(root: &Path, objects: &UnreliableStore, bytes_max: u64) -> ObjectTables {
    let cache = Cache::open_folder(Arc::new(RealDisk), root.join("cache"), bytes_max, 0).unwrap();
    ObjectTables::new(Arc::new(objects.clone()), &AT.parse().unwrap(), cache).unwrap()
}

fn contents(mut file: fs::File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn copies(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("cache/spans/hour=1");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn files_larger_than_a_piece_come_and_go_whole() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let all = (0..251).collect::<Vec<u8>>().repeat(50_000_000 / 251 + 1);
    for size in [1_usize, 8 << 20, (8 << 20) + 1, 50_000_000] {
        let bytes = &all[..size];
        let place = tables(root.path(), &objects, 1 << 30);
        let path = place.folder("spans").join("hour=1/a.parquet");
        super::write(&place, &path, bytes).unwrap();
        let before = objects.requests();
        assert!(contents(place.open(&path).unwrap()) == bytes);
        assert_eq!(objects.requests(), before, "what was just written is on the disk");
        place.invalidate(&path);
        assert!(contents(place.open(&path).unwrap()) == bytes, "{size}");
        assert!(place.read(&path).unwrap() == bytes);
        place.remove(&path).unwrap();
        let gone = place.open(&path).unwrap_err();
        assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
        assert!(copies(root.path()).is_empty());
    }
}

#[test]
fn copies_stay_within_their_budget_and_an_open_one_is_read_to_its_end() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let place = tables(root.path(), &objects, 2_500);
    let path = |number: u8| place.folder("spans").join(format!("hour=1/{number}.parquet"));
    for number in 0..5 {
        super::write(&place, &path(number), &[number; 1000]).unwrap();
    }
    assert_eq!(copies(root.path()).len(), 2);
    let held = place.open(&path(0)).unwrap();
    place.open(&path(1)).unwrap();
    place.open(&path(1)).unwrap();
    place.open(&path(2)).unwrap();
    assert!(!path(0).exists() && path(1).exists() && path(2).exists());
    assert_eq!(contents(held), [0; 1000]);
    // A copy may be larger than the cache.
    super::write(&place, &path(9), &[9; 5000]).unwrap();
    assert_eq!(contents(place.open(&path(9)).unwrap()), [9; 5000]);
    drop(place.open(&path(1)).unwrap());
    assert_eq!(copies(root.path()), [path(1)]);
    // An unfinished copy of another process is not used.
    drop(place);
    let unfinished = root.path().join("cache/spans/hour=1/3.parquet#1");
    fs::write(&unfinished, "half").unwrap();
    let place = tables(root.path(), &objects, 2_500);
    let before = objects.requests();
    drop(place.open(&root.path().join("cache/spans/hour=1/1.parquet")).unwrap());
    assert_eq!(objects.requests(), before);
    assert!(!unfinished.exists());
}

/// Returns the bytes of a file with this many blocks. The last block has one byte.
fn of_blocks(blocks: u64) -> Vec<u8> {
    (0..=(blocks - 1) * BLOCK).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Returns a file that is only in the object store, opened for reading in parts.
fn in_parts(place: &ObjectTables, path: &Path, bytes: &[u8]) -> Readable {
    super::write(place, path, bytes).unwrap();
    place.invalidate(path);
    place.open_parts(path, bytes.len() as u64).unwrap()
}

fn part(file: &Readable, range: std::ops::Range<u64>) -> Vec<u8> {
    let length = usize::try_from(range.end - range.start).unwrap();
    file.get_bytes(range.start, length).unwrap().to_vec()
}

#[test]
fn only_the_blocks_that_are_read_are_fetched_and_those_named_ahead_at_once() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let place = tables(root.path(), &objects, 1 << 20);
    let (path, bytes) = (place.folder("spans").join("hour=1/a.parquet"), of_blocks(40));
    let file = in_parts(&place, &path, &bytes);
    assert_eq!(file.len(), bytes.len() as u64);
    let is = |range: std::ops::Range<u64>, file: &Readable| {
        let expected = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(part(file, range.clone()) == bytes[expected], "{range:?}");
    };
    let (requests, read) = (objects.requests(), objects.bytes_read());
    is(10..20, &file);
    is(BLOCK - 5..BLOCK, &file);
    assert_eq!((objects.requests() - requests, objects.bytes_read() - read), (1, BLOCK));
    // Reads cross a block boundary and reach the last byte.
    is(BLOCK - 5..BLOCK + 5, &file);
    is(39 * BLOCK - 1..39 * BLOCK + 1, &file);
    assert_eq!(objects.bytes_read() - read, 3 * BLOCK + 1);

    let (requests, read) = (objects.requests(), objects.bytes_read());
    let far = [3 * BLOCK + 1..3 * BLOCK + 2, 8 * BLOCK - 1..8 * BLOCK + 1, 30..30];
    file.fetch(&far).unwrap();
    // Adjacent blocks take one request, and gaps are not read.
    assert_eq!((objects.requests() - requests, objects.bytes_read() - read), (2, 3 * BLOCK));
    let requests = objects.requests();
    is(3 * BLOCK..4 * BLOCK, &file);
    is(7 * BLOCK..9 * BLOCK, &file);
    assert_eq!(objects.requests(), requests);

    // Other readers find the copies. A file stays readable if they are evicted meanwhile.
    let other = place.open_parts(&path, bytes.len() as u64).unwrap();
    is(7 * BLOCK..9 * BLOCK, &other);
    assert_eq!(objects.requests(), requests);
    place.invalidate(&path);
    assert!(copies(root.path()).is_empty());
    is(7 * BLOCK..9 * BLOCK, &other);
    assert_eq!(objects.requests(), requests);

    let mut rest = Vec::new();
    file.get_read(39 * BLOCK - 3).unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, bytes[bytes.len() - 4..]);
    let beyond = file.get_bytes(39 * BLOCK, 2).unwrap_err().to_string();
    assert!(beyond.contains("it ends before 2 bytes"), "{beyond}");
    assert!(file.get_bytes(u64::MAX, usize::MAX).is_err());
}

#[test]
fn a_file_of_which_most_is_read_and_a_small_one_come_whole() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let place = tables(root.path(), &objects, 1 << 20);
    let (path, bytes) = (place.folder("spans").join("hour=1/a.parquet"), of_blocks(40));
    let file = in_parts(&place, &path, &bytes);
    let early = place.open_parts(&path, bytes.len() as u64).unwrap();
    file.fetch(slice::from_ref(&(0..19 * BLOCK))).unwrap();
    assert_eq!(copies(root.path()).len(), 19);
    assert!(part(&file, 5..20 * BLOCK) == bytes[5..usize::try_from(20 * BLOCK).unwrap()]);
    assert_eq!(copies(root.path()).len(), 20);
    assert!(
        part(&file, 30 * BLOCK..30 * BLOCK + 3)
            == bytes[usize::try_from(30 * BLOCK).unwrap()..][..3]
    );
    assert_eq!(copies(root.path()), slice::from_ref(&path));
    let requests = objects.requests();
    let all = 0..bytes.len() as u64;
    assert!(part(&file, all.clone()) == bytes);
    assert!(part(&place.open_parts(&path, all.end).unwrap(), all) == bytes);
    assert!(contents(place.open(&path).unwrap()) == bytes);
    // A reader with a few open blocks continues.
    assert!(part(&early, 0..BLOCK) == bytes[..usize::try_from(BLOCK).unwrap()]);
    assert_eq!(objects.requests(), requests);

    let small = place.folder("spans").join("hour=1/b.parquet");
    let file = in_parts(&place, &small, &[7; 100]);
    assert_eq!(part(&file, 98..100), [7, 7]);
    assert!(small.exists());
}

#[test]
fn blocks_keep_within_the_budget_and_end_with_their_file_and_with_the_process() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let place = tables(root.path(), &objects, 5 * BLOCK);
    let (path, bytes) = (place.folder("spans").join("hour=1/a.parquet"), of_blocks(40));
    let file = in_parts(&place, &path, &bytes);
    for number in 0..15 {
        assert_eq!(part(&file, number * BLOCK..number * BLOCK + 1).len(), 1);
        assert!(copies(root.path()).len() <= 5);
    }
    drop(place);
    let place = tables(root.path(), &objects, 5 * BLOCK);
    assert!(copies(root.path()).is_empty(), "nothing made them durable");
    let file = place.open_parts(&path, bytes.len() as u64).unwrap();
    assert!(part(&file, 0..2 * BLOCK) == bytes[..usize::try_from(2 * BLOCK).unwrap()]);
    place.remove(&path).unwrap();
    assert!(copies(root.path()).is_empty());
    let gone = file.fetch(slice::from_ref(&(9 * BLOCK..9 * BLOCK + 1))).unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_request_for_blocks_that_failed_is_made_again() {
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::default());
    let place = tables(root.path(), &objects, 1 << 20);
    let (path, bytes) = (place.folder("spans").join("hour=1/a.parquet"), of_blocks(40));
    let file = in_parts(&place, &path, &bytes);
    objects.fail(1, RequestFault::Down);
    let failed = file.get_bytes(0, 10).unwrap_err().to_string();
    assert!(failed.contains("SlowDown"), "{failed}");
    objects.heal();
    assert!(part(&file, 0..10) == bytes[..10]);
    // The object is shorter than its commit claims.
    let longer = place.open_parts(&path, 60 * BLOCK).unwrap();
    assert!(longer.get_bytes(50 * BLOCK, 10).is_err());
}
