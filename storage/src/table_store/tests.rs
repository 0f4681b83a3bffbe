#![expect(clippy::disallowed_methods, reason = "tests look at files behind the store's back")]

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Cache, ObjectTables, TableStore, connect, unreliable::UnreliableStore};
use crate::{ObjectAddress, ObjectStoreSettings, disk::RealDisk};

const AT: &str = "s3://bucket/some/where";

/// Settings of a store that is reached with these options.
pub(crate) fn remote(options: &[(&str, &str)]) -> ObjectStoreSettings {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ObjectStoreSettings {
        address: AT.parse().unwrap(),
        options: options.collect(),
        allow_http: false,
        cache_bytes_max: 1 << 20,
    }
}

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
    let cache = Cache::take_over(Arc::new(RealDisk), root.join("cache"), bytes_max, 0).unwrap();
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
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::new());
    for size in [1_usize, 8 << 20, (8 << 20) + 1, 50_000_000] {
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let place = tables(root.path(), &objects, 1 << 30);
        let path = place.folder("spans").join("hour=1/a.parquet");
        super::write(&place, &path, &bytes).unwrap();
        let before = objects.requests();
        assert!(contents(place.open(&path).unwrap()) == bytes);
        assert_eq!(objects.requests(), before, "what was just written is on the disk");
        place.distrust(&path);
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
    let (root, objects) = (tempfile::tempdir().unwrap(), UnreliableStore::new());
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
    // One that is larger than all may be.
    super::write(&place, &path(9), &[9; 5000]).unwrap();
    assert_eq!(contents(place.open(&path(9)).unwrap()), [9; 5000]);
    drop(place.open(&path(1)).unwrap());
    assert_eq!(copies(root.path()), [path(1)]);
    // What another process left half done is no copy.
    drop(place);
    let unfinished = root.path().join("cache/spans/hour=1/3.parquet#1");
    fs::write(&unfinished, "half").unwrap();
    let place = tables(root.path(), &objects, 2_500);
    let before = objects.requests();
    drop(place.open(&root.path().join("cache/spans/hour=1/1.parquet")).unwrap());
    assert_eq!(objects.requests(), before);
    assert!(!unfinished.exists());
}
