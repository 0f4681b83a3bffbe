//! Files in an S3-compatible store. A file is read in ranges, and written by one put or in parts.
//!
//! A bucket has no lock that ends with its process. The object [`LOCK`] stands for one: it is
//! created if it is missing, renewed while work goes on, and taken over when its last renewal is
//! older than [`LEASE`].

use std::{
    fmt,
    future::Future,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    path::Path as ObjectPath,
};
use serde::{Deserialize, Serialize};
use tidings_disk::ReadFile;
use tidings_files::{
    ObjectAddress, StorageError, blocking::random, error::failed, table_store::as_io,
};
use tidings_proto::UnixNanos;
use tidings_runtime::Clock;
use tokio::runtime::Handle;

use super::{FileStore, LocationLock, PIECE, StoredFile};

const LOCK: &str = "lock.json";
/// Time for which a lock stays valid after its last renewal. Sending one file takes less time.
const LEASE: Duration = Duration::from_secs(30 * 60);
const RENEWAL: Duration = Duration::from_secs(60);
/// Maximum attempts to take a lock that was released during an attempt.
const LOCK_TRIES: u32 = 3;

/// Files in a bucket: see the module's description. Its methods block, and must not be called on an
/// async thread.
#[derive(Clone)]
pub(in crate::backup) struct Bucket {
    store: Arc<dyn ObjectStore>,
    address: ObjectAddress,
    runtime: Handle,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.address).finish()
    }
}

impl Bucket {
    /// Creates a view of the objects below an address. Requests run on this runtime.
    pub(in crate::backup) fn new(
        store: Arc<dyn ObjectStore>,
        address: ObjectAddress,
        runtime: Handle,
    ) -> Self {
        Self { store, address, runtime }
    }

    fn request<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        self.runtime.block_on(request).map_err(as_io)
    }

    fn folder(&self, name: &str) -> ObjectPath {
        self.address.location(name.trim_end_matches('/'))
    }

    /// Returns the name of an object relative to the address.
    fn name(&self, location: &ObjectPath) -> Option<String> {
        let inside: Vec<_> = location.prefix_match(&self.folder(""))?.collect();
        let parts: Vec<&str> = inside.iter().map(AsRef::as_ref).collect();
        Some(parts.join("/"))
    }

    fn put_parts(&self, upload: &mut dyn MultipartUpload, source: &mut dyn Read) -> io::Result<()> {
        loop {
            let piece = read_piece(source)?;
            if piece.is_empty() {
                break;
            }
            self.request(upload.put_part(PutPayload::from_bytes(piece)))?;
        }
        self.request(upload.complete()).map(|_| ())
    }
}

/// Reads the next piece: [`PIECE`] bytes, or fewer at the end.
fn read_piece(source: &mut dyn Read) -> io::Result<Bytes> {
    let mut piece = Vec::new();
    Read::take(&mut *source, PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

impl FileStore for Bucket {
    fn address(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.address))
    }

    fn is_unused(&self) -> io::Result<bool> {
        let (folder, lock) = (self.folder(""), self.address.location(LOCK));
        let prefix = (!folder.as_ref().is_empty()).then_some(&folder);
        let listed = self.request(self.store.list_with_delimiter(prefix))?;
        let is_lock = listed.objects.iter().all(|object| object.location == lock);
        Ok(is_lock && listed.common_prefixes.is_empty())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<StoredFile>> {
        let folder = self.folder(folder);
        let prefix = (!folder.as_ref().is_empty()).then_some(&folder);
        let objects: Vec<_> = self.request(self.store.list(prefix).try_collect())?;
        let stored = |object: object_store::ObjectMeta| {
            let nanos = object.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
            let modified = UnixNanos(u64::try_from(nanos).unwrap_or(0));
            let name = self.name(&object.location)?;
            Some(StoredFile { name, bytes: object.size, modified })
        };
        Ok(objects.into_iter().filter_map(stored).collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let location = self.address.location(name);
        let got = self.request(async { self.store.get(&location).await?.bytes().await })?;
        Ok(got.into())
    }

    fn open(&self, name: &str, bytes: u64) -> io::Result<Box<dyn ReadFile>> {
        let location = self.address.location(name);
        Ok(Box::new(ObjectFile { bucket: self.clone(), location, bytes }))
    }

    fn write(&self, name: &str, bytes: u64, source: &mut dyn Read) -> io::Result<()> {
        let location = self.address.location(name);
        if bytes <= PIECE as u64 {
            let mut all = Vec::new();
            source.read_to_end(&mut all)?;
            let payload = PutPayload::from_bytes(all.into());
            return self.request(self.store.put(&location, payload)).map(|_| ());
        }
        let mut upload = self.request(self.store.put_multipart(&location))?;
        self.put_parts(upload.as_mut(), source).inspect_err(|_| {
            // Parts that stay cost money until the store's owner has them deleted.
            let _ = self.request(upload.abort());
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.request(self.store.delete(&self.address.location(name))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn lock(&self, clock: &dyn Clock) -> Result<Box<dyn LocationLock>, StorageError> {
        let path = self.address(LOCK);
        let id = format!("{:016x}", random());
        for _ in 0..LOCK_TRIES {
            let lease = Lease { id: id.clone(), renewed_unix_nanos: clock.now().0 };
            if self.create_lock(&lease).map_err(failed("create", &path))? {
                let (bucket, renewed) = (self.clone(), clock.instant());
                return Ok(Box::new(BucketLock { bucket, id, renewed }));
            }
            let Some(other) = self.lease().map_err(failed("read", &path))? else { continue };
            let age =
                Duration::from_nanos(lease.renewed_unix_nanos.abs_diff(other.renewed_unix_nanos));
            if age < LEASE {
                return Err(StorageError::Locked { path });
            }
            self.remove(LOCK).map_err(failed("remove", &path))?;
        }
        Err(StorageError::Locked { path })
    }
}

/// Content of the lock object.
#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    id: String,
    renewed_unix_nanos: u64,
}

impl Lease {
    fn payload(&self) -> io::Result<PutPayload> {
        Ok(PutPayload::from_bytes(serde_json::to_vec(self)?.into()))
    }
}

impl Bucket {
    /// Creates the lock. Returns false when another process holds it.
    fn create_lock(&self, lease: &Lease) -> io::Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let (location, payload) = (self.address.location(LOCK), lease.payload()?);
        match self.request(self.store.put_opts(&location, payload, options)) {
            Ok(_) => Ok(true),
            // The store may have retried a put whose answer was lost.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(self.lease()?.is_some_and(|other| other.id == lease.id))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the existing lock. A lock without content was never renewed.
    fn lease(&self) -> io::Result<Option<Lease>> {
        match self.read(LOCK) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => {
                let nothing = Lease { id: String::new(), renewed_unix_nanos: 0 };
                Ok(Some(serde_json::from_slice(&read?).unwrap_or(nothing)))
            }
        }
    }
}

struct BucketLock {
    bucket: Bucket,
    id: String,
    renewed: Instant,
}

impl LocationLock for BucketLock {
    fn keep(&mut self, clock: &dyn Clock) -> Result<(), StorageError> {
        let now = clock.instant();
        if now.saturating_duration_since(self.renewed) < RENEWAL {
            return Ok(());
        }
        let path = self.bucket.address(LOCK);
        let lease = self.bucket.lease().map_err(failed("read", &path))?;
        if lease.is_none_or(|lease| lease.id != self.id) {
            return Err(StorageError::Locked { path });
        }
        let lease = Lease { id: self.id.clone(), renewed_unix_nanos: clock.now().0 };
        let location = self.bucket.address.location(LOCK);
        let renewed = lease
            .payload()
            .and_then(|payload| self.bucket.request(self.bucket.store.put(&location, payload)));
        renewed.map_err(failed("write", &path))?;
        self.renewed = now;
        Ok(())
    }
}

impl Drop for BucketLock {
    fn drop(&mut self) {
        // A lock that cannot be removed is taken over after its lease.
        if matches!(self.bucket.lease(), Ok(Some(lease)) if lease.id == self.id) {
            let _ = self.bucket.remove(LOCK);
        }
    }
}

/// An object that is read in ranges.
struct ObjectFile {
    bucket: Bucket,
    location: ObjectPath,
    bytes: u64,
}

impl ReadFile for ObjectFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.bytes.min(offset.saturating_add(buffer.len() as u64));
        if offset >= end {
            return Ok(0);
        }
        let got = self.bucket.request(self.bucket.store.get_range(&self.location, offset..end))?;
        let read = got.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..read), got.get(..read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }
}

/// Returns true if the error means wrong configuration of the store, not a failed request.
pub(in crate::backup) fn is_setup(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.is_some_and(tidings_files::table_store::is_permanent)
}
