//! Encoding of a file's counts of log records, described in `docs/formats/index.md`.

use super::{GroupCount, MINUTE, MinuteTimes, SeverityGroup};
use crate::{
    index_bytes::{Fetch, Reader as Bytes, push_varint},
    rollup_encoding::{seal, unsealed},
};

/// Part of the section that stays in memory.
#[derive(Debug)]
pub enum LogCountSection {
    /// The file has too many groups for counts.
    Uncounted,
    /// Location of the counts.
    Counted(CountPages),
}

/// Location of the counts: the page of the minutes, followed by the page of their buckets.
#[derive(Debug)]
pub struct CountPages {
    offset: u64,
    minutes_bytes: u64,
    cells_bytes: u64,
}

/// Groups of a file, and the buckets of each minute in the order of the minutes.
#[derive(Debug)]
pub struct LogCountBuckets {
    /// Groups in the order of their numbers.
    pub groups: Vec<SeverityGroup>,
    /// Numbers of records of each minute, ascending by group.
    pub minutes: Vec<Vec<GroupCount>>,
}

/// Returns the section of a file without counts.
pub(crate) fn empty_section() -> (Vec<u8>, Vec<u8>) {
    (Vec::new(), Vec::new())
}

/// Returns the section and its pages, which start at this offset. Minutes are ascending. Buckets
/// are ascending by minute and group.
pub fn encode(
    groups: &[SeverityGroup],
    minutes: &[MinuteTimes],
    cells: &[((u64, u32), u64)],
    offset: u64,
) -> (Vec<u8>, Vec<u8>) {
    let mut pages = Vec::new();
    let mut before = 0;
    for times in minutes {
        push_varint(&mut pages, times.minute - before);
        push_varint(&mut pages, times.first - times.minute * MINUTE);
        push_varint(&mut pages, times.last - times.first);
        before = times.minute;
    }
    seal(&mut pages, 0);
    let minutes_bytes = pages.len();
    push_groups(&mut pages, groups);
    for of_minute in cells.chunk_by(|((one, _), _), ((other, _), _)| one == other) {
        push_varint(&mut pages, of_minute.len() as u64);
        let mut next = 0;
        for ((_, group), count) in of_minute {
            push_varint(&mut pages, u64::from(group - next));
            push_varint(&mut pages, *count);
            next = group + 1;
        }
    }
    seal(&mut pages, minutes_bytes);
    let mut section = Vec::new();
    for number in [offset, minutes_bytes as u64, (pages.len() - minutes_bytes) as u64] {
        push_varint(&mut section, number);
    }
    (section, pages)
}

/// Appends the groups in the order of their numbers.
pub(crate) fn push_groups(page: &mut Vec<u8>, groups: &[SeverityGroup]) {
    push_varint(page, groups.len() as u64);
    for group in groups {
        push_varint(page, group.service.len() as u64);
        page.extend(group.service.as_bytes());
        push_varint(page, u64::from(group.severity_number.cast_unsigned()));
    }
}

/// Reads the groups that [`push_groups`] wrote. `None` when they are damaged.
pub(crate) fn read_groups(bytes: &mut Bytes<'_>) -> Option<Vec<SeverityGroup>> {
    let mut groups = Vec::new();
    for _ in 0..bytes.varint()? {
        let length = usize::try_from(bytes.varint()?).ok()?;
        let service = String::from_utf8(bytes.take(length)?.to_vec()).ok()?;
        let severity_number = u32::try_from(bytes.varint()?).ok()?.cast_signed();
        groups.push(SeverityGroup { service, severity_number });
    }
    Some(groups)
}

impl LogCountSection {
    /// Decodes the section. `None` when the bytes are damaged.
    pub fn decode(section: &[u8]) -> Option<Self> {
        if section.is_empty() {
            return Some(Self::Uncounted);
        }
        let mut bytes = Bytes::new(section);
        Some(Self::Counted(CountPages {
            offset: bytes.varint()?,
            minutes_bytes: bytes.varint()?,
            cells_bytes: bytes.varint()?,
        }))
    }
}

impl CountPages {
    /// Reads the minutes with records, ascending. `None` when they cannot be read.
    pub fn minutes(&self, fetch: &mut Fetch<'_>) -> Option<Vec<MinuteTimes>> {
        let page = fetch(self.offset..self.offset.checked_add(self.minutes_bytes)?)?;
        let mut bytes = Bytes::new(unsealed(&page)?);
        let mut minutes: Vec<MinuteTimes> = Vec::new();
        while !bytes.is_empty() {
            let difference = bytes.varint()?;
            let minute = match minutes.last() {
                Some(before) if difference > 0 => before.minute.checked_add(difference)?,
                Some(_) => return None,
                None => difference,
            };
            let first = minute.checked_mul(MINUTE)?.checked_add(bytes.varint()?)?;
            let last = first.checked_add(bytes.varint()?)?;
            if last / MINUTE != minute {
                return None;
            }
            minutes.push(MinuteTimes { minute, first, last });
        }
        Some(minutes)
    }

    /// Reads the buckets of all minutes. `None` when they cannot be read.
    pub fn cells(&self, fetch: &mut Fetch<'_>) -> Option<LogCountBuckets> {
        let offset = self.offset.checked_add(self.minutes_bytes)?;
        let page = fetch(offset..offset.checked_add(self.cells_bytes)?)?;
        let mut bytes = Bytes::new(unsealed(&page)?);
        let groups = read_groups(&mut bytes)?;
        let mut minutes = Vec::new();
        while !bytes.is_empty() {
            let (mut cells, mut next) = (Vec::new(), 0_u64);
            for _ in 0..bytes.varint()? {
                let group = next.checked_add(bytes.varint()?)?;
                groups.get(usize::try_from(group).ok()?)?;
                cells.push((u32::try_from(group).ok()?, bytes.varint()?));
                next = group + 1;
            }
            minutes.push(cells);
        }
        Some(LogCountBuckets { groups, minutes })
    }
}
