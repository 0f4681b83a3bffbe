//! What the files of an hour, or of a few hours, come to together, in memory.
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

/// So much memory they may take, of all hours: a day or more of a few thousand groups.
const BYTES_MAX: usize = 96 << 20;
/// What this many questions have not used may go. A page of the UI asks a handful at once, over the
/// same hours: of more hours than there is room for, some stay, instead of each making room for
/// the next before the next question comes.
const QUESTIONS_RECENT: u64 = 8;

/// The sums of files, without what is counted twice.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) names: GroupNames,
    /// When the periods begin, and their cells, laid out as in a file's page: the longest that files
    /// have of one hour, and one of several hours.
    pub(super) pages: Vec<(u64, Box<[u8]>)>,
}

impl Sums {
    /// How much memory they take.
    fn bytes(&self) -> usize {
        let pages = self.pages.iter().map(|(_, page)| page.len()).sum::<usize>();
        size_of::<Self>() + size_of_val(self.pages.as_slice()) + pages + self.names.bytes()
    }
}

/// The first and the last of some hours.
type Stretch = (i64, i64);

/// The hours of these files.
fn stretch(files: &[&Arc<DataFile>]) -> Option<Stretch> {
    let hours = || files.iter().map(|file| file.hour);
    Some((hours().min()?, hours().max()?))
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
    /// By the first and the last hour, counted from 1970.
    of: HashMap<Stretch, Kept>,
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

    /// What these files, which are all that is asked for of their hours, come to. Once a question has
    /// asked for `all` of it, sums are wanted by the next one: not by the first, or those of the hour
    /// that is being written to would be made again for every question.
    pub(super) fn get(&self, question: u64, files: &[&Arc<DataFile>], all: bool) -> Known {
        let Some(hours) = stretch(files) else { return Known::Nothing };
        let mut kept = self.lock();
        let Some(known) = kept.of.get_mut(&hours).filter(|known| known.are_of(files)) else {
            if all {
                kept.put(self.bytes_max, hours, Kept::asked(question, files, 0));
            }
            return Known::Nothing;
        };
        let before = std::mem::replace(&mut known.last_use, question);
        match &known.what {
            What::Sums(sums) => Known::Sums(Arc::clone(sums)),
            What::Asked { bytes } => {
                let more = (*bytes).max(known.bytes);
                let is_wanted = all && before < question;
                let has_room = is_wanted && kept.room(self.bytes_max, hours, more, question);
                if has_room { Known::Wanted } else { Known::Nothing }
            }
        }
    }

    /// Keeps what these files come to, which was wanted, if there is room and none of them was
    /// forgotten meanwhile.
    pub(super) fn keep(&self, question: u64, files: &[&Arc<DataFile>], sums: &Arc<Sums>) {
        let Some(hours) = stretch(files) else { return };
        let with_sums = Kept::new(question, files, What::Sums(Arc::clone(sums)));
        let bytes = with_sums.bytes;
        let mut kept = self.lock();
        if !kept.of.get(&hours).is_some_and(|known| known.are_of(files)) {
            return;
        }
        if !kept.put(self.bytes_max, hours, with_sums) {
            kept.put(self.bytes_max, hours, Kept::asked(question, files, bytes));
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
    /// Puts it in the place of what was known of the hours, if there is room; whether there is.
    fn put(&mut self, bytes_max: usize, hours: Stretch, new: Kept) -> bool {
        if !self.room(bytes_max, hours, new.bytes, new.last_use) {
            return false;
        }
        self.remove(hours);
        let mut oldest: Vec<(u64, Stretch)> = Vec::new();
        if self.bytes + new.bytes > bytes_max {
            oldest.extend(self.of.iter().map(|(hours, known)| (known.last_use, *hours)));
            oldest.sort_unstable();
        }
        let mut oldest = oldest.into_iter();
        while self.bytes + new.bytes > bytes_max
            && let Some((_, hours)) = oldest.next()
        {
            self.remove(hours);
        }
        self.bytes += new.bytes;
        self.of.insert(hours, new);
        true
    }

    /// Whether there would be room for so many bytes of these hours without what recent questions
    /// used.
    fn room(&self, bytes_max: usize, hours: Stretch, bytes: usize, question: u64) -> bool {
        let stays = |(of, known): &(&Stretch, &Kept)| {
            **of != hours && known.last_use + QUESTIONS_RECENT >= question
        };
        let staying = self.of.iter().filter(stays).map(|(_, known)| known.bytes).sum::<usize>();
        staying + bytes <= bytes_max
    }

    fn remove(&mut self, hours: Stretch) {
        if let Some(removed) = self.of.remove(&hours) {
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
        let bytes = size_of::<(Stretch, Self)>() + paths.sum::<usize>() + of_sums;
        Self { files, what, bytes, last_use }
    }

    fn are_of(&self, files: &[&Arc<DataFile>]) -> bool {
        self.files.iter().map(Deref::deref).eq(files.iter().map(|file| file.path.as_path()))
    }
}

#[cfg(test)]
mod tests;
