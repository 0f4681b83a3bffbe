//! Copies on the local disk of files that are in an object store.
//!
//! A copy is complete and durable before it gets its name, and its original never changes. A file
//! found under a name after a crash is therefore correct. Blocks of a file are copies too, each
//! under a name of its own. They are not made durable, and a new process deletes them. All copies
//! together have a maximum size. The least recently used ones are evicted, before the disk becomes
//! as full as the write-ahead log allows. A reader that has a copy open continues to read it after
//! eviction.

use std::{
    collections::BTreeMap,
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidings_disk::{AppendFile, SharedDisk, parent};
use xxhash_rust::xxh3::xxh3_64;

use crate::{StorageError, error::failed};

/// Maximum number of files that are fetched at once. A file is fetched by one thread at a time.
const TURNS: usize = 64;
/// Marks the name of an unfinished copy.
const UNFINISHED: char = '#';
/// Precedes the number of a block in a name.
const BLOCK: char = '@';

/// Cache of file copies: see the module's description.
#[derive(Debug)]
pub(super) struct Cache {
    disk: SharedDisk,
    folder: PathBuf,
    bytes_max: u64,
    free_min: u64,
    copies: Mutex<Copies>,
    turns: Vec<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Copies {
    by_path: BTreeMap<PathBuf, Copy>,
    by_use: BTreeMap<u64, PathBuf>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Copy {
    bytes: u64,
    last_use: u64,
}

impl Copies {
    fn add(&mut self, path: &Path, bytes: u64) {
        self.remove(path);
        self.bytes += bytes;
        self.by_path.insert(path.to_owned(), Copy { bytes, last_use: 0 });
        self.used(path);
    }

    /// Records a use of a cached copy. Returns false when the file is not cached.
    fn used(&mut self, path: &Path) -> bool {
        let Some(copy) = self.by_path.get_mut(path) else { return false };
        self.by_use.remove(&copy.last_use);
        self.uses += 1;
        copy.last_use = self.uses;
        self.by_use.insert(self.uses, path.to_owned());
        true
    }

    fn remove(&mut self, path: &Path) {
        if let Some(copy) = self.by_path.remove(path) {
            self.by_use.remove(&copy.last_use);
            self.bytes -= copy.bytes;
        }
    }

    /// Returns the cached blocks of a file.
    fn blocks(&self, path: &Path) -> impl Iterator<Item = &PathBuf> {
        self.by_path.range(all_blocks(path)).map(|(path, _)| path)
    }

    fn oldest(&self) -> Option<PathBuf> {
        self.by_use.first_key_value().map(|(_, path)| path.clone())
    }
}

/// Returns the path of a cached block of a file.
pub(super) fn block_path(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{BLOCK}{number:020}"));
    PathBuf::from(name)
}

fn all_blocks(path: &Path) -> RangeInclusive<PathBuf> {
    block_path(path, 0)..=block_path(path, u64::MAX)
}

impl Cache {
    /// Opens a cache with the copies in a folder.
    pub(super) fn open_folder(
        disk: SharedDisk,
        folder: PathBuf,
        bytes_max: u64,
        free_min: u64,
    ) -> Result<Self, StorageError> {
        disk.create_folders(&folder).map_err(failed("create", &folder))?;
        let mut copies = Copies::default();
        let mut folders = vec![folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in disk.list(&folder).map_err(failed("list", &folder))? {
                let path = folder.join(&entry.name);
                if !entry.is_file {
                    folders.push(path);
                } else if entry.name.contains([UNFINISHED, BLOCK]) {
                    disk.remove(&path).map_err(failed("remove", &path))?;
                } else {
                    let size = disk.open(&path).and_then(|file| file.size());
                    copies.add(&path, size.map_err(failed("measure", &path))?);
                }
            }
        }
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        let copies = Mutex::new(copies);
        let cache = Self { disk, folder, bytes_max, free_min, copies, turns };
        cache.trim(0);
        Ok(cache)
    }

    /// Creates a cache that has no copies. It leaves those in the folder to the process that owns
    /// them.
    pub(super) fn unused(disk: SharedDisk, folder: PathBuf) -> Self {
        Self {
            disk,
            folder,
            bytes_max: 0,
            free_min: 0,
            copies: Mutex::default(),
            turns: Vec::new(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn disk(&self) -> &SharedDisk {
        &self.disk
    }

    /// Opens the cached copy of a file; `fetch` downloads a missing one.
    pub(super) fn open(
        &self,
        path: &Path,
        fetch: impl FnOnce(&mut CacheWriter<'_>) -> io::Result<()>,
    ) -> io::Result<File> {
        if let Some(copy) = self.opened(path)? {
            return Ok(copy);
        }
        let _turn = self.turn(path);
        if let Some(copy) = self.opened(path)? {
            return Ok(copy);
        }
        let (file, unfinished) = self.create(path)?;
        let mut entering = CacheWriter { cache: self, file, bytes: 0 };
        let fetched = fetch(&mut entering).and_then(|()| entering.file.sync());
        // Under its other name nobody evicts the file.
        match fetched.and_then(|()| File::open(&unfinished)) {
            Ok(copy) => {
                self.adopt(&unfinished, path, entering.bytes);
                Ok(copy)
            }
            Err(error) => {
                let _ = self.disk.remove(&unfinished);
                Err(error)
            }
        }
    }

    /// Stores a block of a file and opens it. The caller must hold the file's lock.
    pub(super) fn keep(&self, block: &Path, bytes: &[u8]) -> io::Result<File> {
        let size = bytes.len() as u64;
        if !self.trim(size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (mut file, unfinished) = self.create(block)?;
        match file.append(bytes).and_then(|()| File::open(&unfinished)) {
            Ok(copy) => {
                self.adopt(&unfinished, block, size);
                Ok(copy)
            }
            Err(error) => {
                let _ = self.disk.remove(&unfinished);
                Err(error)
            }
        }
    }

    /// Waits until no other thread fetches this file, or parts of it.
    pub(super) fn turn(&self, path: &Path) -> Option<MutexGuard<'_, ()>> {
        let number = xxh3_64(path.as_os_str().as_encoded_bytes()) % TURNS as u64;
        let turn = usize::try_from(number).ok().and_then(|number| self.turns.get(number));
        turn.map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the number of cached blocks of a file.
    pub(super) fn blocks(&self, path: &Path) -> u64 {
        self.lock().blocks(path).count() as u64
    }

    /// Begins a file that may become the copy of this one. Returns its path too.
    pub(super) fn create(&self, path: &Path) -> io::Result<(Box<dyn AppendFile>, PathBuf)> {
        self.trim(0);
        self.disk.create_folders(parent(path)?)?;
        let number = RandomState::new().build_hasher().finish();
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!("{UNFINISHED}{number:020}"));
        let unfinished = PathBuf::from(unfinished);
        Ok((self.disk.create(&unfinished)?, unfinished))
    }

    /// Makes a durable local file the cached copy of this one. On failure there is no copy, and
    /// later reads fetch the file.
    pub(super) fn adopt(&self, unfinished: &Path, path: &Path, bytes: u64) {
        self.trim(bytes);
        match self.disk.rename(unfinished, path) {
            Ok(()) => self.lock().add(path, bytes),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(),
                    "the copy could not be cached; later reads fetch the file");
                let _ = self.disk.remove(unfinished);
            }
        }
    }

    /// Removes the copy of a file and those of its blocks.
    pub(super) fn invalidate(&self, path: &Path) {
        self.evict_blocks(path);
        let mut copies = self.lock();
        copies.remove(path);
        // The file is removed before the lock is released, because a new copy may get this name.
        let _ = self.disk.remove(path);
    }

    /// Removes the cached blocks of a file.
    pub(super) fn evict_blocks(&self, path: &Path) {
        let mut copies = self.lock();
        let blocks: Vec<PathBuf> = copies.blocks(path).cloned().collect();
        for block in blocks {
            copies.remove(&block);
            let _ = self.disk.remove(&block);
        }
    }

    /// Opens the cached copy of a file or block, if there is one.
    pub(super) fn opened(&self, path: &Path) -> io::Result<Option<File>> {
        let mut copies = self.lock();
        if !copies.used(path) {
            return Ok(None);
        }
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                copies.remove(path);
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Returns the bytes that would be free on the disk without copies.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let copies = self.lock().bytes;
        Ok(self.disk.free_bytes(&self.folder)?.saturating_add(copies))
    }

    /// Evicts copies until this many bytes are free on the disk, or none is left. Returns the free
    /// bytes.
    pub(super) fn make_room(&self, bytes: u64) -> io::Result<u64> {
        let mut copies = self.lock();
        loop {
            let free = self.disk.free_bytes(&self.folder)?;
            let oldest = copies.oldest().filter(|_| free < bytes);
            let Some(oldest) = oldest else { return Ok(free) };
            copies.remove(&oldest);
            let _ = self.disk.remove(&oldest);
        }
    }

    /// Evicts copies until this many more bytes fit. Returns true if the disk has room for them.
    fn trim(&self, more: u64) -> bool {
        let mut copies = self.lock();
        loop {
            let fits = copies.bytes.saturating_add(more) <= self.bytes_max;
            let needed = self.free_min.saturating_add(more);
            let has_room = self.disk.free_bytes(&self.folder).is_ok_and(|free| free >= needed);
            if fits && has_room {
                return true;
            }
            let Some(oldest) = copies.oldest() else { return has_room };
            copies.remove(&oldest);
            let _ = self.disk.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An unfinished copy.
pub(super) struct CacheWriter<'a> {
    cache: &'a Cache,
    file: Box<dyn AppendFile>,
    bytes: u64,
}

impl CacheWriter<'_> {
    /// Makes room for a copy of this size. A copy that is larger than the whole cache is made
    /// nevertheless, and is evicted next.
    pub(super) fn make_room(&self, size: u64) -> io::Result<()> {
        match self.cache.trim(size) {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.append(bytes)
    }
}
