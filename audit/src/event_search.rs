//! Search of the audit log: from the newest day to the oldest, a page at a time.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use tidings_proto::{
    UnixNanos,
    api::{AuditEvent, AuditOutcome},
};
use tidings_storage::StorageError;

use crate::{day::Day, journal::AuditLog};

/// The longest line that is read; events are shorter.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Bytes after which a page ends with the day that is being read.
const PAGE_BYTES_MAX: u64 = 256 << 20;

/// A question to the audit log. Filters that are `None` take every event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Events at this time or later.
    pub start: Option<UnixNanos>,
    /// Events before this time.
    pub end: Option<UnixNanos>,
    /// The action, or its part before a dot: `key` takes `key.create` and `key.revoke`.
    pub action: Option<String>,
    /// The outcome.
    pub outcome: Option<AuditOutcome>,
    /// The id or the name of the author.
    pub actor: Option<String>,
    /// The IP address of the client.
    pub address: Option<String>,
    /// A part of the object or of the details, in any case of letters.
    pub text: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// Maximum number of events.
    pub limit: usize,
    /// The end of the page before.
    pub position: Option<AuditPosition>,
}

/// A page of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// The events, the newest first.
    pub events: Vec<AuditEvent>,
    /// The begin of the next page; `None`: there are no older events.
    pub next: Option<AuditPosition>,
    /// Lines that are no events.
    pub unreadable_lines: u64,
}

/// A position in the log: the lines that begin before this offset in the file of a day, and older
/// days. Written as `2026-11-23_1200`.
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
    /// Reads a position as it is written; `None` for every other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (day, before) = text.split_once('_')?;
        Some(Self { day: Day::parse(day)?, before: before.parse().ok()? })
    }
}

impl AuditLog {
    /// Returns a page of the events that match, the newest first. Blocks.
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
    for day in days {
        if bytes > PAGE_BYTES_MAX {
            page.next = Some(AuditPosition { day, before: u64::MAX });
            return Ok(page);
        }
        let before = position.filter(|position| position.day == day);
        let before = before.map_or(u64::MAX, |position| position.before);
        // One more than fits tells whether there is another page.
        let wanted = query.limit.saturating_sub(page.events.len()) + 1;
        let path = day.path(folder);
        let failed = |source| StorageError::Io { action: "read", path: path.clone(), source };
        let part = match read_day(&path, before, wanted, query) {
            // It became too old meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            part => part.map_err(failed)?,
        };
        bytes += part.bytes;
        page.unreadable_lines += part.unreadable_lines;
        for (offset, event) in part.newest.into_iter().rev() {
            if page.events.len() == query.limit {
                page.next = Some(AuditPosition { day, before: offset + 1 });
                return Ok(page);
            }
            page.events.push(event);
        }
    }
    Ok(page)
}

/// The newest matches in the file of a day.
#[derive(Debug, Default)]
struct DayPart {
    /// Events with the offset of their line, the newest last.
    newest: VecDeque<(u64, AuditEvent)>,
    bytes: u64,
    unreadable_lines: u64,
}

fn read_day(path: &Path, before: u64, wanted: usize, query: &AuditQuery) -> io::Result<DayPart> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut part, mut line) = (DayPart::default(), Vec::new());
    while part.bytes < before {
        line.clear();
        let offset = part.bytes;
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        part.bytes += read as u64;
        if line.last() != Some(&b'\n') && (read as u64) < LINE_BYTES_MAX {
            // The last line is being written.
            break;
        }
        match serde_json::from_slice::<AuditEvent>(&line) {
            Ok(event) if query.matches(&event) => {
                if part.newest.len() == wanted {
                    part.newest.pop_front();
                }
                part.newest.push_back((offset, event));
            }
            Ok(_) => {}
            Err(_) => part.unreadable_lines += 1,
        }
    }
    Ok(part)
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
