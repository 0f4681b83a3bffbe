//! Encoding of a file's counts by the form of messages, described in `docs/formats/index.md`.

use super::{
    FormBucket, MINUTE, MinuteTimes, SeverityGroup,
    log_count_section::{push_groups, read_groups},
};
use crate::{
    index_bytes::{Fetch, Reader as Bytes, push_varint},
    limit,
    rollup_encoding::{seal, unsealed},
};

/// Maximum length of a page for any file.
const PAGE_BYTES_MIN: usize = 64 << 10;
/// Maximum length of a page in bytes for each record, if that is longer.
const RECORD_BYTES: u64 = 4;

/// Part of the section that stays in memory.
#[derive(Debug)]
pub enum LogFormSection {
    /// The file has no counts of forms.
    Uncounted,
    /// Location of the counts.
    Counted(FormPage),
}

/// Location of the counts. Their minutes are those of the counts by severity.
#[derive(Debug)]
pub struct FormPage {
    offset: u64,
    bytes: u64,
}

/// Group key: the severity group and the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageGroup {
    /// Number of the severity group.
    pub severity_group: u32,
    /// Form of the messages.
    pub form: String,
}

/// Counts of a file.
#[derive(Debug)]
pub struct FormSums<'a> {
    /// Severity groups in the order of their numbers.
    pub severities: &'a [SeverityGroup],
    /// Groups in the order of their numbers.
    pub groups: &'a [MessageGroup],
    /// Buckets by minute and number of the group, ascending.
    pub cells: &'a [((u64, u32), FormBucket)],
}

/// Groups of a file, and the buckets of each minute in the order of the minutes.
#[derive(Debug)]
pub struct FormBuckets {
    /// Severity groups in the order of their numbers.
    pub severities: Vec<SeverityGroup>,
    /// Groups in the order of their numbers.
    pub groups: Vec<MessageGroup>,
    /// Buckets of each minute with the numbers of their groups, ascending by group.
    pub minutes: Vec<Vec<(usize, FormBucket)>>,
}

/// Returns the section of a file without counts.
pub(crate) fn empty_section() -> (Vec<u8>, Vec<u8>) {
    (Vec::new(), Vec::new())
}

/// Returns the section and its page, which starts at this offset. The section has no counts when
/// the page would be too long for this number of records.
pub fn encode(sums: &FormSums<'_>, records: u64, offset: u64) -> (Vec<u8>, Vec<u8>) {
    let mut page = Vec::new();
    push_groups(&mut page, sums.severities);
    push_varint(&mut page, sums.groups.len() as u64);
    for group in sums.groups {
        push_varint(&mut page, u64::from(group.severity_group));
        push_varint(&mut page, group.form.len() as u64);
        page.extend(group.form.as_bytes());
    }
    for of_minute in sums.cells.chunk_by(|((one, _), _), ((other, _), _)| one == other) {
        push_varint(&mut page, of_minute.len() as u64);
        let mut next = 0;
        for ((minute, group), cell) in of_minute {
            push_varint(&mut page, u64::from(group - next));
            push_varint(&mut page, cell.count);
            push_varint(&mut page, cell.first - minute * MINUTE);
            push_varint(&mut page, cell.last - cell.first);
            page.extend(cell.last_hash.to_le_bytes());
            next = group + 1;
        }
    }
    seal(&mut page, 0);
    let bytes = page.len() as u64;
    if bytes > (limit(PAGE_BYTES_MIN) as u64).max(records.saturating_mul(RECORD_BYTES)) {
        return empty_section();
    }
    let mut section = Vec::new();
    push_varint(&mut section, offset);
    push_varint(&mut section, bytes);
    (section, page)
}

impl LogFormSection {
    /// Decodes the section. `None` when the bytes are damaged.
    pub fn decode(section: &[u8]) -> Option<Self> {
        if section.is_empty() {
            return Some(Self::Uncounted);
        }
        let mut bytes = Bytes::new(section);
        Some(Self::Counted(FormPage { offset: bytes.varint()?, bytes: bytes.varint()? }))
    }
}

impl FormPage {
    /// Reads the buckets of these minutes, which must be all minutes of the file. `None` when they
    /// cannot be read.
    pub fn cells(&self, of: &[MinuteTimes], fetch: &mut Fetch<'_>) -> Option<FormBuckets> {
        let page = fetch(self.offset..self.offset.checked_add(self.bytes)?)?;
        let mut bytes = Bytes::new(unsealed(&page)?);
        let severities = read_groups(&mut bytes)?;
        let mut groups = Vec::new();
        for _ in 0..bytes.varint()? {
            let severity_group = u32::try_from(bytes.varint()?).ok()?;
            severities.get(severity_group as usize)?;
            let length = usize::try_from(bytes.varint()?).ok()?;
            let form = String::from_utf8(bytes.take(length)?.to_vec()).ok()?;
            groups.push(MessageGroup { severity_group, form });
        }
        let mut minutes = Vec::new();
        for times in of {
            let (mut cells, mut next) = (Vec::new(), 0_u64);
            for _ in 0..bytes.varint()? {
                let group = usize::try_from(next.checked_add(bytes.varint()?)?).ok()?;
                groups.get(group)?;
                let count = bytes.varint()?;
                let first = (times.minute * MINUTE).checked_add(bytes.varint()?)?;
                let last = first.checked_add(bytes.varint()?)?;
                if first < times.first || times.last < last {
                    return None;
                }
                let last_hash = bytes.u64()?;
                cells.push((group, FormBucket { count, first, last, last_hash }));
                next = group as u64 + 1;
            }
            minutes.push(cells);
        }
        bytes.is_empty().then_some(FormBuckets { severities, groups, minutes })
    }
}
