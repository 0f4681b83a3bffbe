//! Search of the audit log: from the newest day to the oldest, a page at a time.

use std::{fmt, fs::File, io, os::unix::fs::FileExt, path::Path};

use tidings_proto::{
    UnixNanos,
    api::{AuditEvent, AuditOutcome},
};
use tidings_storage::StorageError;

use crate::{day::Day, journal::AuditLog};

/// Bytes of a line from which on it cannot be an event; a search keeps only the end of such a line.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of one read of a file.
const BLOCK_BYTES: u64 = 64 << 10;
/// Bytes of lines after which a page ends, however few events it has.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// A query of the audit log. A filter that is `None` matches every event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Events at this time or later.
    pub start: Option<UnixNanos>,
    /// Events before this time.
    pub end: Option<UnixNanos>,
    /// The action, or its part before a dot: `key` matches `key.create` and `key.revoke`.
    pub action: Option<String>,
    /// The outcome.
    pub outcome: Option<AuditOutcome>,
    /// The id or the name of the author.
    pub actor: Option<String>,
    /// The IP address of the client.
    pub address: Option<String>,
    /// A substring of the object or of the details, ignoring case.
    pub text: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// Maximum number of events.
    pub limit: usize,
    /// The position at which the previous page ended.
    pub position: Option<AuditPosition>,
}

/// A page of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// The events, newest first.
    pub events: Vec<AuditEvent>,
    /// The position at which the next page begins; `None` when there are no older events.
    pub next: Option<AuditPosition>,
    /// Number of lines that are not events.
    pub unreadable_lines: u64,
}

/// A position in the log. It precedes the lines that begin before this offset in the file of a day,
/// and all older days. Written as `2026-11-23_1200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPosition {
    day: Day,
    before: u64,
}

impl fmt::Display for AuditPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.day, self.before)
    }
}

impl AuditPosition {
    /// Parses the written form of a position; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (day, before) = text.split_once('_')?;
        let position = Self { day: Day::parse(day)?, before: before.parse().ok()? };
        (position.to_string() == text).then_some(position)
    }
}

impl AuditLog {
    /// Returns a page of the matching events, newest first. Blocks.
    ///
    /// # Errors
    /// `Unavailable` when a file cannot be read.
    pub fn search(&self, query: &AuditQuery) -> Result<AuditPage, StorageError> {
        search(self.folder(), query)
    }
}

fn search(folder: &Path, query: &AuditQuery) -> Result<AuditPage, StorageError> {
    let position = query.position;
    let (mut page, mut bytes) = (AuditPage::default(), 0);
    let days = Day::list(folder)?.into_iter().filter(|day| {
        let is_after_start = query.start.is_none_or(|start| *day >= Day::from(start));
        let is_before_end = query.end.is_none_or(|end| *day <= Day::from(end));
        is_after_start && is_before_end && position.is_none_or(|position| *day <= position.day)
    });
    // The position after the last line that was read.
    let mut last = None;
    for day in days {
        let path = day.path(folder);
        let failed = |source| StorageError::Io { action: "read", path: path.clone(), source };
        let before = position.filter(|position| position.day == day);
        let before = before.map_or(u64::MAX, |position| position.before);
        let mut lines = match LinesBackwards::open(&path, before) {
            // Retention deleted the file after the days were listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(failed)?,
        };
        while let Some((offset, line)) = lines.next_line().map_err(failed)? {
            bytes += line.len();
            match read_event(&line) {
                Some(event) if query.matches(&event) => {
                    if page.events.len() == query.limit {
                        page.next = last;
                        return Ok(page);
                    }
                    page.events.push(event);
                }
                Some(_) => {}
                // A process that opens the file ends an incomplete line, which can leave an empty
                // one.
                None if line.is_empty() => {}
                None => page.unreadable_lines += 1,
            }
            last = Some(AuditPosition { day, before: offset });
            if bytes > PAGE_BYTES_MAX {
                page.next = last;
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// Parses the event of a line; `None` when the line is too long or not an event.
fn read_event(line: &[u8]) -> Option<AuditEvent> {
    (line.len() < LINE_BYTES_MAX).then(|| serde_json::from_slice(line).ok()).flatten()
}

/// The lines of a file from the last to the first, read in blocks.
struct LinesBackwards {
    file: File,
    /// The offset of the first byte in `held`.
    start: u64,
    /// Bytes that were read and belong to lines that were not returned yet.
    held: Vec<u8>,
}

impl LinesBackwards {
    /// Opens a file to read the lines that begin before this offset. The last line is left out when
    /// its line break is missing, because it is still being written.
    fn open(path: &Path, before: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let start = file.metadata()?.len().min(before);
        let mut lines = Self { file, start, held: Vec::new() };
        // Drops the bytes after the last line break, which are not a line yet.
        lines.cut_line()?;
        Ok(lines)
    }

    /// Returns the next line, going backwards, with its offset. Of a line that is too long to be an
    /// event, only a part is returned.
    fn next_line(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        if self.start == 0 && self.held.is_empty() {
            return Ok(None);
        }
        // Drops the line break at the end of this line.
        self.held.pop();
        let line = self.cut_line()?;
        Ok(Some((self.start + self.held.len() as u64, line)))
    }

    /// Removes and returns the bytes after the last line break, which stays.
    fn cut_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line: Vec<u8> = Vec::new();
        loop {
            if let Some(end) = self.held.iter().rposition(|byte| *byte == b'\n') {
                let mut found = self.held.split_off(end + 1);
                found.extend_from_slice(&line);
                return Ok(found);
            }
            let mut part = std::mem::take(&mut self.held);
            // A longer line cannot be an event, and its end suffices to find that out.
            if line.len() < LINE_BYTES_MAX {
                part.extend_from_slice(&line);
                line = part;
            }
            if self.start == 0 {
                return Ok(line);
            }
            self.read_block()?;
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        let begin = self.start.saturating_sub(BLOCK_BYTES);
        let mut block = vec![0; usize::try_from(self.start - begin).unwrap_or_default()];
        self.file.read_exact_at(&mut block, begin)?;
        self.start = begin;
        self.held = block;
        Ok(())
    }
}

impl AuditQuery {
    fn matches(&self, event: &AuditEvent) -> bool {
        let time = event.time_unix_nano;
        let is_equal =
            |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
        let has_action = |wanted: &String| {
            let rest = event.action.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let has_text = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            let texts = [&event.object, &event.detail];
            texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&wanted))
        };
        self.start.is_none_or(|start| time >= start)
            && self.end.is_none_or(|end| time < end)
            && self.outcome.is_none_or(|outcome| outcome == event.outcome)
            && self.action.as_ref().is_none_or(has_action)
            && (is_equal(&self.actor, &event.actor.id) || is_equal(&self.actor, &event.actor.name))
            && is_equal(&self.address, &event.source_address)
            && is_equal(&self.tenant, &event.tenant)
            && self.text.as_ref().is_none_or(has_text)
    }
}

#[cfg(test)]
mod tests;
