//! The object store that Delta uses: a local folder in which every write is durable.
//!
//! `object_store`'s own `LocalFileSystem` never syncs, so a commit that it confirmed may be empty
//! or gone after a power cut. Here all writes go through the [`Disk`](tidings_disk::Disk). A new
//! object is written beside its final path, synced and renamed, and its folder is synced before the
//! call returns. `LocalFileSystem` still reads and lists.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, UploadPart, local::LocalFileSystem, path::Path,
};
use tidings_disk::{SharedDisk, copy_durably, parent};

const NAME: &str = "synced local folder";

/// Local files, with `/` as the root of the file system.
#[derive(Debug, Clone)]
pub(crate) struct SyncedStore {
    files: Arc<LocalFileSystem>,
    disk: SharedDisk,
}

impl fmt::Display for SyncedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl SyncedStore {
    pub(crate) fn new(disk: SharedDisk) -> Self {
        Self { files: Arc::new(LocalFileSystem::new()), disk }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SharedDisk) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let disk = Arc::clone(&self.disk);
        let done = tokio::task::spawn_blocking(move || work(&disk)).await?;
        done.map_err(generic)
    }
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: NAME, source: Box::new(error) }
}

fn exists(location: &Path, source: io::Error) -> Error {
    Error::AlreadyExists { path: location.to_string(), source: Box::new(source) }
}

/// Writes an object. It is complete and durable under its name, or does not exist.
fn put(disk: &SharedDisk, path: &FilePath, parts: &[Bytes], create: bool) -> io::Result<()> {
    let folder = parent(path)?;
    disk.create_folders(folder)?;
    let unfinished = unfinished(path);
    let written = (|| {
        let mut file = disk.create(&unfinished)?;
        for part in parts {
            file.append(part)?;
        }
        file.sync()
    })();
    let named = written.and_then(|()| {
        if create { disk.link(&unfinished, path) } else { disk.rename(&unfinished, path) }
    });
    if create || named.is_err() {
        // No reader knows this name, so a remaining file is only a few bytes of waste.
        let _ = disk.remove(&unfinished);
    }
    named?;
    if let Err(error) = disk.sync_folder(folder) {
        // The object may or may not survive a power cut. It must not exist for this process,
        // because the next attempt would take it for another writer's object.
        if create {
            let _ = disk.remove(path);
        }
        return Err(error);
    }
    Ok(())
}

/// Returns a unique name for an unfinished file. `LocalFileSystem` neither lists nor opens such
/// names. The name has no counter, because a killed process may have left files with the same
/// numbers.
fn unfinished(path: &FilePath) -> PathBuf {
    let number = RandomState::new().build_hasher().finish();
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{number:020}"));
    PathBuf::from(name)
}

#[async_trait]
impl ObjectStore for SyncedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                let operation = "put with an update condition".to_owned();
                return Err(Error::NotImplemented { operation, implementer: NAME.to_owned() });
            }
        };
        let path = self.files.path_to_filesystem(location)?;
        let parts: Vec<Bytes> = payload.iter().cloned().collect();
        let disk = Arc::clone(&self.disk);
        match tokio::task::spawn_blocking(move || put(&disk, &path, &parts, create)).await? {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(exists(location, error))
            }
            done => done.map(|()| PutResult { e_tag: None, version: None }).map_err(generic),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let store = self.clone();
        Ok(Box::new(Upload { store, location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let path = store.files.path_to_filesystem(&location)?;
                let remove = move |disk: &SharedDisk| {
                    disk.remove(&path)?;
                    disk.sync_folder(parent(&path)?)
                };
                store.blocking(remove).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let create = options.mode == CopyMode::Create;
        let source = self.files.path_to_filesystem(from)?;
        let target = self.files.path_to_filesystem(to)?;
        let copied = self
            .blocking(move |disk| {
                let unfinished = unfinished(&target);
                disk.create_folders(parent(&target)?)?;
                copy_durably(disk.as_ref(), &source, &unfinished)?;
                let named = if create {
                    let linked = disk.link(&unfinished, &target);
                    let _ = disk.remove(&unfinished);
                    linked
                } else {
                    disk.rename(&unfinished, &target)
                };
                match named {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        return Ok(Some(error));
                    }
                    other => other?,
                }
                disk.sync_folder(parent(&target)?)?;
                Ok(None)
            })
            .await?;
        copied.map_or(Ok(()), |error| Err(exists(to, error)))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions { mode, extensions: options.extensions }).await?;
        let path = self.files.path_to_filesystem(from)?;
        self.blocking(move |disk| {
            disk.remove(&path)?;
            disk.sync_folder(parent(&path)?)
        })
        .await
    }
}

/// An object that is written in parts. The parts stay in memory until it is complete. Only
/// checkpoints are written like this.
#[derive(Debug)]
struct Upload {
    store: SyncedStore,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.extend(part.iter().cloned());
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = PutPayload::from_iter(std::mem::take(&mut self.parts));
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
