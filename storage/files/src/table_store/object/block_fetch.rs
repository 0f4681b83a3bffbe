//! A data file in an object store that is read in blocks.
//!
//! Owns the choice of blocks to fetch: those that a reader announces, in few requests, or else the
//! one that is read. A block is a copy in the cache like any other. If most blocks of a file would
//! be cached, the whole file is fetched instead.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    slice,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;

use super::{Objects, PIECE, PIECES};
use crate::table_store::{
    cache::block_path,
    readable::{Readable, fill},
};

/// Size of the blocks that are fetched. It is small in tests, so that small files have many.
pub(crate) const BLOCK: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// Maximum number of blocks in a file that is fetched whole, because two requests take longer.
const WHOLE_BLOCKS: u64 = 8;
/// Maximum number of concurrent requests for blocks of a file.
const REQUESTS: usize = 8;

/// A file in blocks: see the module's description.
#[derive(Debug)]
pub struct Blocks {
    objects: Arc<Objects>,
    path: PathBuf,
    bytes: u64,
    /// Open blocks. Their copies may be evicted meanwhile.
    open: Mutex<HashMap<u64, Arc<File>>>,
    whole: OnceLock<File>,
}

impl Blocks {
    /// Opens a file of this size.
    pub(super) fn open(objects: &Arc<Objects>, path: &Path, bytes: u64) -> io::Result<Readable> {
        if let Some(whole) = objects.cache.opened(path)? {
            return Readable::whole(whole);
        }
        if bytes <= WHOLE_BLOCKS * BLOCK {
            let whole = objects.cache.open(path, |entering| objects.fetch(path, entering))?;
            return Readable::whole(whole);
        }
        Ok(Readable::Blocks(Arc::new(Self {
            objects: Arc::clone(objects),
            path: path.to_owned(),
            bytes,
            open: Mutex::default(),
            whole: OnceLock::new(),
        })))
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Opens all blocks that contain some of these bytes, and fetches missing ones.
    pub fn fetch(&self, wanted: &[Range<u64>]) -> io::Result<()> {
        if self.whole.get().is_some() {
            return Ok(());
        }
        let blocks = wanted.iter().filter(|bytes| !bytes.is_empty());
        let blocks =
            blocks.flat_map(|bytes| bytes.start / BLOCK..bytes.end.min(self.bytes).div_ceil(BLOCK));
        let mut blocks: Vec<u64> = blocks.collect();
        blocks.sort_unstable();
        blocks.dedup();
        self.open_copies(&mut blocks)?;
        if blocks.is_empty() {
            return Ok(());
        }
        let turn = self.objects.cache.turn(&self.path);
        self.open_copies(&mut blocks)?;
        let cache = &self.objects.cache;
        let mut whole = cache.opened(&self.path)?;
        if whole.is_none() {
            let here = cache.blocks(&self.path) + blocks.len() as u64;
            if here * 2 <= self.bytes.div_ceil(BLOCK) {
                return self.fetch_blocks(&blocks);
            }
            drop(turn);
            let fetched = cache.open(&self.path, |to| self.objects.fetch(&self.path, to))?;
            cache.evict_blocks(&self.path);
            whole = Some(fetched);
        }
        let _ = whole.map(|whole| self.whole.set(whole));
        Ok(())
    }

    /// Reads from an offset until the buffer is full or the file ends.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            let at = offset.saturating_add(filled as u64);
            let rest = buffer.get_mut(filled..).filter(|rest| !rest.is_empty());
            let Some(rest) = rest.filter(|_| at < self.bytes) else { return Ok(filled) };
            if let Some(whole) = self.whole.get() {
                return Ok(filled + fill(whole, at, rest)?);
            }
            let number = at / BLOCK;
            let block = self.opened().get(&number).map(Arc::clone);
            let Some(block) = block else {
                self.fetch(slice::from_ref(&(at..at + 1)))?;
                continue;
            };
            let range = self.range(number..number + 1);
            let here = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(rest.len());
            if fill(&block, at - range.start, &mut rest[..here])? < here {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += here;
        }
    }

    /// Opens the blocks that have cached copies. The others stay in the list.
    fn open_copies(&self, blocks: &mut Vec<u64>) -> io::Result<()> {
        let mut missing = Vec::new();
        for number in blocks.drain(..) {
            if self.opened().contains_key(&number) {
                continue;
            }
            match self.objects.cache.opened(&block_path(&self.path, number))? {
                Some(copy) => self.add(number, copy),
                None => missing.push(number),
            }
        }
        *blocks = missing;
        Ok(())
    }

    /// Fetches these blocks, which are ascending.
    fn fetch_blocks(&self, blocks: &[u64]) -> io::Result<()> {
        let location = self.objects.location(&self.path)?;
        for blocks in blocks.chunks(usize::try_from(PIECES * PIECE / BLOCK).unwrap_or(1)) {
            let runs = blocks.chunk_by(|left, right| left + 1 == *right);
            let runs: Vec<Range<u64>> =
                runs.filter_map(|run| Some(*run.first()?..*run.last()? + 1)).collect();
            let ranges: Vec<Range<u64>> = runs.iter().cloned().map(|run| self.range(run)).collect();
            let of_it = location.clone();
            // `get_ranges` would also read gaps of up to a megabyte to save a request.
            let got: Vec<Bytes> = self.objects.request(async move |store| {
                let get = |range| store.get_range(&of_it, range);
                stream::iter(ranges.into_iter().map(get)).buffered(REQUESTS).try_collect().await
            })?;
            for (run, bytes) in runs.into_iter().zip(got) {
                let from = run.start * BLOCK;
                for number in run {
                    let range = self.range(number..number + 1);
                    let inside = |at: u64| usize::try_from(at - from).unwrap_or(usize::MAX);
                    let bytes = bytes.get(inside(range.start)..inside(range.end));
                    let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
                    let copy = self.objects.cache.keep(&block_path(&self.path, number), bytes)?;
                    self.add(number, copy);
                }
            }
        }
        Ok(())
    }

    /// Returns the byte range of these blocks.
    fn range(&self, blocks: Range<u64>) -> Range<u64> {
        blocks.start * BLOCK..self.bytes.min(blocks.end * BLOCK)
    }

    fn add(&self, number: u64, copy: File) {
        self.opened().insert(number, Arc::new(copy));
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<u64, Arc<File>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
