//! Findings of a verification, and the comparison of a data file with the checksums in its index.
//!
//! A comparison goes a piece at a time, so that whoever drives it can let other work go first.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    data_file::DataFile,
    index::{self, PIECE_BYTES, Sums, Verified},
};

/// What is wrong with a file that is not there.
pub(crate) const MISSING: &str = "it is missing";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// With which file.
    pub path: PathBuf,
    /// Where in it, in bytes, when that is known.
    pub offset: Option<u64>,
    /// Description of the fault.
    pub what: String,
}

impl Finding {
    pub(crate) fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), offset: None, what: what.into() }
    }

    pub(crate) fn at(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self { offset: Some(offset), ..Self::new(path, what) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Files of a store that were found damaged since it was opened, by a scrub or by whoever read them.
#[derive(Debug, Default)]
pub(crate) struct DamagedFiles(Mutex<BTreeMap<PathBuf, String>>);

impl DamagedFiles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a finding, and logs the first one of each file.
    pub(crate) fn note(&self, finding: &Finding) {
        let known = self.lock().insert(finding.path.clone(), finding.to_string());
        if known.is_none() {
            tracing::error!(%finding, "a file is damaged");
        }
    }

    /// Forgets a file that was read from end to end and is sound.
    pub(crate) fn note_repair(&self, path: &Path) {
        if self.lock().remove(path).is_some() {
            tracing::info!(path = %path.display(), "a file is no longer damaged");
        }
    }

    /// Forgets files that are no longer used.
    pub(crate) fn invalidate(&self, is_gone: impl Fn(&Path) -> bool) {
        self.lock().retain(|path, _| !is_gone(path));
    }

    /// Number of damaged files.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// One sentence for each file.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }
}

/// Counts of verified objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckSummary {
    /// Segments of the log.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Commits of the tables.
    pub commits: u64,
    /// Data files.
    pub data_files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Number of findings.
    pub findings: u64,
}

/// Counts, and hands on what is found.
pub(crate) struct Findings<'a> {
    pub(crate) summary: CheckSummary,
    pub(crate) report: &'a mut (dyn FnMut(&Finding) + Send),
}

impl Findings<'_> {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.summary.findings += 1;
        (self.report)(&finding);
    }
}

/// A data file that is being compared.
#[derive(Debug)]
pub(crate) struct Pieces {
    file: File,
    sums: Sums,
    next: usize,
    buffer: Vec<u8>,
}

/// Result of opening a data file's index for verification.
#[derive(Debug)]
pub(crate) enum Start {
    /// The file can be compared.
    Pieces(Pieces),
    /// The index has no checksums, or none that can be relied on: the file has to be decoded.
    NoSums(Verified),
    /// The file is not as long as it was, or not there.
    Wrong(Finding),
}

/// Result of comparing one piece with its checksum.
#[derive(Debug)]
pub(crate) enum VerifyStep {
    /// So many bytes are what was written.
    Sound(u64),
    /// Everything was compared.
    End,
    /// Something is wrong.
    Wrong(Finding),
}

impl Pieces {
    /// Opens a data file and reads its index.
    pub(crate) fn open(data: &DataFile) -> Start {
        let wrong = |what: String| Start::Wrong(Finding::new(&data.path, what));
        let opened = data.open().and_then(|file| Ok((file.metadata()?.len(), file)));
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return wrong(MISSING.to_owned());
            }
            Err(error) => return wrong(format!("it cannot be opened: {error}")),
            Ok((found, _)) if found != data.bytes => {
                return wrong(format!("it has {found} bytes and not {}", data.bytes));
            }
            Ok((_, file)) => file,
        };
        match index::verify(data) {
            Verified::Sound(Some(sums)) => {
                Start::Pieces(Self { file, sums, next: 0, buffer: Vec::new() })
            }
            other => Start::NoSums(other),
        }
    }

    /// Compares the next piece.
    pub(crate) fn step(&mut self, data: &DataFile) -> VerifyStep {
        let offset = self.next as u64 * PIECE_BYTES as u64;
        if offset >= self.sums.bytes() {
            return VerifyStep::End;
        }
        self.buffer.clear();
        let read = (&self.file).take(PIECE_BYTES as u64).read_to_end(&mut self.buffer);
        if let Err(error) = read {
            return VerifyStep::Wrong(Finding::at(
                &data.path,
                offset,
                format!("cannot be read: {error}"),
            ));
        }
        if !self.sums.holds(self.next, &self.buffer) {
            let what = "its bytes from here on are not those that were written";
            return VerifyStep::Wrong(Finding::at(&data.path, offset, what));
        }
        self.next += 1;
        VerifyStep::Sound(self.buffer.len() as u64)
    }

    /// Compares all the rest.
    pub(crate) fn finish(mut self, data: &DataFile) -> Result<(), Finding> {
        loop {
            match self.step(data) {
                VerifyStep::Sound(_) => {}
                VerifyStep::End => return Ok(()),
                VerifyStep::Wrong(finding) => return Err(finding),
            }
        }
    }
}
