//! Tables in an object store.
//!
//! An object exists completely or not at all, and an answered put is durable, so nothing needs a
//! sync or a repair. Data files and indexes never change. They are read through copies in the local
//! cache: whole files, or only the blocks that are needed (`block_fetch`). Requests run on a
//! separate thread, so that any thread can wait for them.

mod block_fetch;

use std::{
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::sync_channel},
};

use bytes::Bytes;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
    path::Path as ObjectPath, prefix::PrefixStore,
};
use tidings_proto::UnixNanos;
use tokio::runtime::{Builder, Runtime};

#[cfg(test)]
pub(super) use block_fetch::BLOCK;
use tidings_disk::{AppendFile, DiskEntry, Mistake, Mistakes, write_durably};

use super::{
    Readable, TableStore,
    cache::{Cache, CacheWriter},
    location::ObjectAddress,
};
use crate::{StorageError, damage::DamagedFiles, error::failed};

pub(super) use block_fetch::Blocks;

/// Size of the pieces in which a large object is fetched and sent, several at a time.
const PIECE: u64 = 8 << 20;
const PIECES: u64 = 4;

/// Tables in an object store: see the module's description.
#[derive(Debug)]
pub(crate) struct ObjectTables(Arc<Objects>);

#[derive(Debug)]
struct Objects {
    store: Arc<dyn ObjectStore>,
    address: ObjectAddress,
    cache: Cache,
    requests: Requests,
    damaged_files: DamagedFiles,
}

/// Runtime of the requests. Dropping it cancels pending ones.
#[derive(Debug)]
struct Requests(Option<Runtime>);

impl Requests {
    fn new() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .thread_name("tables")
            .enable_all()
            .build()
            .map(|it| Self(Some(it)))
    }

    /// Runs a request and waits for its result.
    fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let stopped = || io::Error::other("requests to the tables have stopped");
        let (sender, receiver) = sync_channel(1);
        let runtime = self.0.as_ref().ok_or_else(stopped)?;
        runtime.spawn(async move {
            // The receiver is gone only if the waiting thread is.
            let _ = sender.send(request.await);
        });
        receiver.recv().map_err(|_| stopped())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Converts an error of the object store to the nearest I/O error.
pub fn as_io(error: object_store::Error) -> io::Error {
    use object_store::Error as E;
    let kind = match &error {
        E::NotFound { .. } => io::ErrorKind::NotFound,
        E::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl ObjectTables {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        address: &ObjectAddress,
        cache: Cache,
    ) -> Result<Self, StorageError> {
        let requests = Requests::new().map_err(failed("start requests for", cache.folder()))?;
        let (address, damaged_files) = (address.clone(), DamagedFiles::default());
        Ok(Self(Arc::new(Objects { store, address, cache, requests, damaged_files })))
    }
}

impl Objects {
    /// Returns the object name of the file at a path.
    fn location(&self, path: &Path) -> io::Result<ObjectPath> {
        let inside = path.strip_prefix(self.cache.folder()).ok().and_then(Path::to_str);
        let inside = inside.ok_or_else(|| io::Error::other("it is not in the tables' folder"))?;
        Ok(self.address.location(inside))
    }

    fn request<T: Send + 'static, F>(
        &self,
        request: impl FnOnce(Arc<dyn ObjectStore>) -> F,
    ) -> io::Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        self.requests.run(request(Arc::clone(&self.store)))?.map_err(as_io)
    }

    /// Downloads an object into the cache.
    fn fetch(&self, path: &Path, entering: &mut CacheWriter<'_>) -> io::Result<()> {
        let location = self.location(path)?;
        let of_it = location.clone();
        let (size, first) = self.request(async move |store| {
            let range = Some(GetRange::Bounded(0..PIECE));
            let got = store.get_opts(&of_it, GetOptions { range, ..GetOptions::default() }).await?;
            let size = got.meta.size;
            Ok((size, got.bytes().await?))
        })?;
        entering.make_room(size)?;
        append_all(entering, &first, PIECE.min(size))?;
        let mut from = PIECE;
        while from < size {
            let until = size.min(from + PIECES * PIECE);
            let starts = (from..until).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
            let ranges: Vec<_> = starts.map(|start| start..until.min(start + PIECE)).collect();
            let (of_it, wanted) = (location.clone(), ranges.clone());
            let pieces =
                self.request(async move |store| store.get_ranges(&of_it, &wanted).await)?;
            for (piece, range) in pieces.iter().zip(ranges) {
                append_all(entering, piece, range.end - range.start)?;
            }
            from = until;
        }
        Ok(())
    }

    fn put(&self, path: &Path, bytes: Bytes) -> io::Result<()> {
        let location = self.location(path)?;
        let payload = PutPayload::from_bytes(bytes);
        self.request(async move |store| store.put(&location, payload).await).map(|_| ())
    }

    /// Uploads a file from the cache's folder.
    fn send(&self, path: &Path, unfinished: &Path, size: u64) -> io::Result<()> {
        let file = self.cache.disk().open(unfinished)?;
        let piece = |offset: u64| {
            let length = usize::try_from(PIECE.min(size - offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; length];
            match file.read_at(offset, &mut bytes)? {
                read if read == length => Ok(Bytes::from(bytes)),
                _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            }
        };
        if size <= PIECE {
            return self.put(path, piece(0)?);
        }
        let location = self.location(path)?;
        let mut upload = self.request(async move |store| store.put_multipart(&location).await)?;
        for start in (0..size).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX)) {
            let sent = piece(start).and_then(|bytes| {
                let part = upload.put_part(PutPayload::from_bytes(bytes));
                self.requests.run(part)?.map_err(as_io)
            });
            if let Err(error) = sent {
                // Parts that stay cost money until the store's owner has them deleted.
                let _ = self.requests.run(async move { upload.abort().await });
                return Err(error);
            }
        }
        self.requests.run(async move { upload.complete().await })?.map(|_| ()).map_err(as_io)
    }
}

/// Appends a piece, which must be complete.
fn append_all(entering: &mut CacheWriter<'_>, piece: &Bytes, length: u64) -> io::Result<()> {
    if piece.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    entering.append(piece)
}

impl Mistakes for ObjectTables {
    fn makes(&self, mistake: Mistake) -> bool {
        self.0.cache.disk().makes(mistake)
    }
}

impl TableStore for ObjectTables {
    fn folder(&self, table: &str) -> PathBuf {
        self.0.cache.folder().join(table)
    }

    fn log_store(&self, table: &str) -> Result<LogStoreRef, StorageError> {
        let root = Arc::clone(&self.0.store);
        let prefixed = PrefixStore::new(Arc::clone(&root), self.0.address.location(table));
        let url = self.0.address.url_of(table)?;
        Ok(default_logstore(Arc::new(prefixed), root, &url, &StorageConfig::default()))
    }

    fn prepare(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<DiskEntry>> {
        let location = self.0.location(folder)?;
        let listed =
            self.0.request(async move |store| store.list_with_delimiter(Some(&location)).await)?;
        let entry = |path: &ObjectPath, is_file| {
            let name = path.filename()?.to_owned();
            Some(DiskEntry { name, is_file })
        };
        let folders = listed.common_prefixes.iter().filter_map(|path| entry(path, false));
        let files = listed.objects.iter().filter_map(|object| entry(&object.location, true));
        let mut entries: Vec<DiskEntry> = folders.chain(files).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let location = self.0.location(path)?;
        let bytes = self.0.request(async move |store| store.get(&location).await?.bytes().await)?;
        Ok(bytes.into())
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.0.cache.open(path, |entering| self.0.fetch(path, entering))
    }

    fn open_parts(&self, path: &Path, bytes: u64) -> io::Result<Readable> {
        Blocks::open(&self.0, path, bytes)
    }

    fn written(&self, path: &Path) -> io::Result<UnixNanos> {
        let location = self.0.location(path)?;
        let meta = self.0.request(async move |store| store.head(&location).await)?;
        let nanos = meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
        Ok(UnixNanos(u64::try_from(nanos).unwrap_or(0)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let (file, unfinished) = self.0.cache.create(path)?;
        let (objects, path) = (Arc::clone(&self.0), path.to_owned());
        Ok(Box::new(NewObject { objects, path, unfinished, file, bytes: 0 }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // The copy is invalidated before the put, so that it is not taken for the new object. It is
        // invalidated after the put too, because another thread may have fetched the old object
        // meanwhile.
        self.0.cache.invalidate(path);
        let put = self.0.put(path, Bytes::copy_from_slice(bytes));
        self.0.cache.invalidate(path);
        put
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.cache.invalidate(path);
        let location = self.0.location(path)?;
        self.0.request(async move |store| store.delete(&location).await)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.cache.free_bytes()
    }

    fn make_room(&self, bytes: u64) -> io::Result<u64> {
        self.0.cache.make_room(bytes)
    }

    fn set_aside(&self, path: &Path, folder: &Path) -> io::Result<PathBuf> {
        let bytes = self.read(path)?;
        let disk = self.0.cache.disk().as_ref();
        disk.create_folders(folder)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| io::Error::other("a file without a name"))?;
        let to = tidings_disk::free_name(disk, folder, &name)?;
        write_durably(disk, &to, &[&bytes])?;
        self.remove(path)?;
        Ok(to)
    }

    fn invalidate(&self, path: &Path) {
        self.0.cache.invalidate(path);
    }

    fn damaged_files(&self) -> &DamagedFiles {
        &self.0.damaged_files
    }
}

/// A file that is uploaded when it is complete.
struct NewObject {
    objects: Arc<Objects>,
    path: PathBuf,
    unfinished: PathBuf,
    file: Box<dyn AppendFile>,
    bytes: u64,
}

impl AppendFile for NewObject {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.append(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // The sync is for the cached copy. Nothing else depends on it.
        self.file.sync()?;
        let sent = self.objects.send(&self.path, &self.unfinished, self.bytes);
        if sent.is_err() && !self.objects.cache.disk().makes(Mistake::BelieveUpload) {
            return sent;
        }
        self.objects.cache.adopt(&self.unfinished, &self.path, self.bytes);
        Ok(())
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        let _ = self.objects.cache.disk().remove(&self.unfinished);
    }
}
