//! Files of the audit log: one for each day in UTC, named by its date.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use tidings_proto::{CivilDate, UnixNanos};
use tidings_storage::StorageError;

const SUFFIX: &str = ".jsonl";

/// A day in UTC, written as `2026-11-23`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(CivilDate);

impl Day {
    /// Parses a day in the form `2026-11-23`, with leading zeros.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |range: Range<usize>| text.get(range)?.parse::<i64>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let day = Self(CivilDate { year, month, day });
        (day.to_string() == text && day.0.exists()).then_some(day)
    }

    /// Returns the path of its file.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}{SUFFIX}"))
    }

    /// Returns its first moment.
    pub(crate) fn start(self) -> UnixNanos {
        self.0.start()
    }

    /// Lists the days that have a file, newest first; empty when the folder does not exist.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be listed.
    pub(crate) fn list(folder: &Path) -> Result<Vec<Self>, StorageError> {
        let failed = |source| StorageError::Io { action: "list", path: folder.to_owned(), source };
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut days = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            days.extend(day.and_then(Self::parse));
        }
        days.sort_unstable_by(|a, b| b.cmp(a));
        Ok(days)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CivilDate { year, month, day } = self.0;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl From<UnixNanos> for Day {
    fn from(time: UnixNanos) -> Self {
        Self(time.into())
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;
    use tidings_storage::LineFile;

    use super::Day;

    #[test]
    fn days_are_in_utc_and_listed_newest_first() {
        let last_second = UnixNanos(1_795_391_999_999_999_999);
        let next = UnixNanos(last_second.0 + 1);
        assert_eq!(Day::from(last_second).to_string(), "2026-11-22");
        assert_eq!(Day::from(next).to_string(), "2026-11-23");
        assert_eq!(Day::from(last_second).start(), UnixNanos(next.0 - 86_400_000_000_000));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Day::list(&folder.path().join("none")).unwrap(), []);
        for time in [last_second, next] {
            LineFile::open(&Day::from(time).path(folder.path())).unwrap();
        }
        for name in [
            "2026-11-99.jsonl",
            "2026-02-29.jsonl",
            "2026-11-2.jsonl",
            "2026:11-23.jsonl",
            "2026-11-23a.jsonl",
            "+026-11-23.jsonl",
            "+2026-11-23.jsonl",
            "notes.txt",
        ] {
            LineFile::open(&folder.path().join(name)).unwrap();
        }
        let days = Day::list(folder.path()).unwrap();
        assert_eq!(days, [Day::from(next), Day::from(last_second)]);
    }
}
