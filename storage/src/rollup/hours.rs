//! What the files of an hour come to together, in memory.
//!
//! Files never change, so neither do their sums: a question over whole hours would add up the same
//! cells of the same files as the one before. Owns which sums are kept, for how long, and how much
//! memory they take. Does not own how they are made: `tally/together` does that, and `tally/share`
//! answers from them as from the pages of a file.

use std::{
    collections::HashMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::cells::GroupNames;
use crate::data_file::DataFile;

/// So much memory they may take, of all hours: a day or two of a few thousand groups.
const BYTES_MAX: usize = 64 << 20;
/// What this many questions have not used may go. A page of the UI asks a handful at once, over the
/// same hours: of more hours than there is room for, some stay, instead of each making room for
/// the next before the next question comes.
const QUESTIONS_RECENT: u64 = 8;

/// The sums of an hour's files, without what is counted twice.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) names: GroupNames,
    /// When the longest periods begin, and their cells, laid out as in a file's page.
    pub(super) pages: Vec<(u64, Box<[u8]>)>,
}

impl Sums {
    /// How much memory they take.
    fn bytes(&self) -> usize {
        let pages = self.pages.iter().map(|(_, page)| page.len()).sum::<usize>();
        size_of::<Self>() + size_of_val(self.pages.as_slice()) + pages + self.names.bytes()
    }
}

/// What is known of an hour.
#[derive(Debug)]
pub(super) enum Known {
    /// All of it.
    Sums(Arc<Sums>),
    /// Nothing, but it was asked for before and would be kept.
    Wanted,
    /// Nothing.
    Nothing,
}

/// The hours of which something is known.
#[derive(Debug)]
pub(crate) struct Hours {
    bytes_max: usize,
    kept: Mutex<Keeping>,
}

#[derive(Debug, Default)]
struct Keeping {
    /// By hour, counted from 1970.
    of: HashMap<i64, Kept>,
    bytes: usize,
    /// How many questions there have been.
    questions: u64,
}

#[derive(Debug)]
struct Kept {
    /// Exactly whose sums they are, in the order that the groups came from.
    files: Box<[PathBuf]>,
    what: What,
    bytes: usize,
    last_use: u64,
}

#[derive(Debug)]
enum What {
    /// That somebody asked. The sums take so much, when they were made once and had no room.
    Asked {
        bytes: usize,
    },
    Sums(Arc<Sums>),
}

impl Default for Hours {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Hours {
    /// Keeps sums up to so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// Begins a question over whole hours; its number is for the other methods.
    pub(super) fn begin(&self) -> u64 {
        let mut kept = self.lock();
        kept.questions += 1;
        kept.questions
    }

    /// What these files of an hour come to. Once a question has asked for `all` of it, sums are
    /// wanted by the next one: not by the first, or those of the hour that is being written to
    /// would be made again for every question.
    pub(super) fn get(&self, question: u64, files: &[&Arc<DataFile>], all: bool) -> Known {
        let Some(hour) = files.first().map(|file| file.hour) else { return Known::Nothing };
        let mut kept = self.lock();
        let Some(known) = kept.of.get_mut(&hour).filter(|known| known.are_of(files)) else {
            if all {
                kept.put(self.bytes_max, hour, Kept::asked(question, files, 0));
            }
            return Known::Nothing;
        };
        let before = std::mem::replace(&mut known.last_use, question);
        match &known.what {
            What::Sums(sums) => Known::Sums(Arc::clone(sums)),
            What::Asked { bytes } => {
                let more = (*bytes).max(known.bytes);
                let is_wanted = all && before < question;
                let has_room = is_wanted && kept.room(self.bytes_max, hour, more, question);
                if has_room { Known::Wanted } else { Known::Nothing }
            }
        }
    }

    /// Keeps what these files of an hour come to, if there is room.
    pub(super) fn keep(&self, question: u64, files: &[&Arc<DataFile>], sums: &Arc<Sums>) {
        let Some(hour) = files.first().map(|file| file.hour) else { return };
        let with_sums = Kept::new(question, files, What::Sums(Arc::clone(sums)));
        let bytes = with_sums.bytes;
        let mut kept = self.lock();
        if !kept.put(self.bytes_max, hour, with_sums) {
            kept.put(self.bytes_max, hour, Kept::asked(question, files, bytes));
        }
    }

    /// Forgets what is known of a file.
    pub(crate) fn forget(&self, file: &Path) {
        let mut kept = self.lock();
        kept.of.retain(|_, known| known.files.iter().all(|of| of != file));
        kept.bytes = kept.of.values().map(|known| known.bytes).sum();
    }

    fn lock(&self) -> impl std::ops::DerefMut<Target = Keeping> + '_ {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeping {
    /// Puts it in the place of what was known of the hour, if there is room; whether there is.
    fn put(&mut self, bytes_max: usize, hour: i64, new: Kept) -> bool {
        if !self.room(bytes_max, hour, new.bytes, new.last_use) {
            return false;
        }
        self.remove(hour);
        let mut oldest: Vec<(u64, i64)> = Vec::new();
        if self.bytes + new.bytes > bytes_max {
            oldest.extend(self.of.iter().map(|(hour, known)| (known.last_use, *hour)));
            oldest.sort_unstable();
        }
        let mut oldest = oldest.into_iter();
        while self.bytes + new.bytes > bytes_max
            && let Some((_, hour)) = oldest.next()
        {
            self.remove(hour);
        }
        self.bytes += new.bytes;
        self.of.insert(hour, new);
        true
    }

    /// Whether there would be room for so many bytes of an hour without what recent questions used.
    fn room(&self, bytes_max: usize, hour: i64, bytes: usize, question: u64) -> bool {
        let stays = |(of, known): &(&i64, &Kept)| {
            **of != hour && known.last_use + QUESTIONS_RECENT >= question
        };
        let staying = self.of.iter().filter(stays).map(|(_, known)| known.bytes).sum::<usize>();
        staying + bytes <= bytes_max
    }

    fn remove(&mut self, hour: i64) {
        if let Some(removed) = self.of.remove(&hour) {
            self.bytes -= removed.bytes;
        }
    }
}

impl Kept {
    fn asked(question: u64, files: &[&Arc<DataFile>], bytes: usize) -> Self {
        Self::new(question, files, What::Asked { bytes })
    }

    fn new(last_use: u64, files: &[&Arc<DataFile>], what: What) -> Self {
        let files: Box<[PathBuf]> = files.iter().map(|file| file.path.clone()).collect();
        let paths = files.iter().map(|path| size_of::<PathBuf>() + path.as_os_str().len());
        let of_sums = if let What::Sums(sums) = &what { sums.bytes() } else { 0 };
        let bytes = size_of::<(i64, Self)>() + paths.sum::<usize>() + of_sums;
        Self { files, what, bytes, last_use }
    }

    fn are_of(&self, files: &[&Arc<DataFile>]) -> bool {
        self.files.iter().map(Deref::deref).eq(files.iter().map(|file| file.path.as_path()))
    }
}

#[cfg(test)]
mod tests;
