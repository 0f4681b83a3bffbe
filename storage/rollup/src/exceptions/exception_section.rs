//! Encoding of a file's list of exceptions, described in `docs/formats/index.md`.

use tidings_proto::UnixNanos;

use super::{ExceptionKey, List, ListedException, stack::RULE};
use crate::{
    index_bytes::{Fetch, Reader as Bytes, push_varint},
    rollup_encoding::{seal, unsealed},
};

/// Number of exceptions in a page.
const PAGE_EXCEPTIONS: usize = 8_192;
/// Value in place of the rule's number in a section without a list.
const UNLISTED: u64 = 0;

/// Part of the section that stays in memory.
#[derive(Debug)]
pub enum ExceptionSection {
    /// The file has too many groups for a list.
    Unlisted,
    /// An older release made the list, with another rule for equal stacks.
    Outdated,
    /// Location of the list.
    Listed(Listing),
}

/// Location of a list.
#[derive(Debug)]
pub struct Listing {
    /// Start of the first span.
    first: u64,
    /// Start of the last span.
    last: u64,
    offset: u64,
    /// Lengths of the pages: the page of the groups, then those of the exceptions.
    pages: Vec<u64>,
}

/// Returns the section of a file without a list.
pub(crate) fn empty_section() -> (Vec<u8>, Vec<u8>) {
    let mut section = Vec::new();
    push_varint(&mut section, UNLISTED);
    (section, Vec::new())
}

/// Returns the section and its pages, which start at this offset.
pub fn encode(list: &List, offset: u64) -> (Vec<u8>, Vec<u8>) {
    let starts = || list.exceptions.iter().map(|listed| listed.start.0);
    let (first, last) = (starts().min().unwrap_or(0), starts().max().unwrap_or(0));
    let (mut lengths, mut pages) = (Vec::new(), Vec::new());
    let mut page = |write: &dyn Fn(&mut Vec<u8>)| {
        let start = pages.len();
        write(&mut pages);
        seal(&mut pages, start);
        lengths.push((pages.len() - start) as u64);
    };
    page(&|pages| list.groups.iter().for_each(|group| push_group(pages, group)));
    for exceptions in list.exceptions.chunks(PAGE_EXCEPTIONS) {
        page(&|pages| push_exceptions(pages, exceptions, first));
    }
    let mut section = Vec::new();
    push_varint(&mut section, u64::from(RULE));
    for number in [first, last, offset, lengths.len() as u64] {
        push_varint(&mut section, number);
    }
    lengths.into_iter().for_each(|length| push_varint(&mut section, length));
    (section, pages)
}

fn push_group(pages: &mut Vec<u8>, group: &ExceptionKey) {
    for text in [&group.service, &group.operation, &group.exception_type] {
        push_varint(pages, text.len() as u64);
        pages.extend(text.as_bytes());
    }
    pages.extend(group.stack.to_le_bytes());
}

fn push_exceptions(pages: &mut Vec<u8>, exceptions: &[ListedException], first: u64) {
    let mut before = None;
    for listed in exceptions {
        let row = listed.row - before.unwrap_or(0);
        push_varint(pages, row);
        push_varint(pages, u64::from(listed.group));
        // Exceptions of one span share its start and its hash, which are written once.
        if row > 0 || before.is_none() {
            push_varint(pages, listed.start.0 - first);
            pages.extend(listed.content_hash.to_le_bytes());
        }
        before = Some(listed.row);
    }
}

impl ExceptionSection {
    /// Decodes the section. `None` when the bytes are damaged.
    pub fn decode(section: &[u8]) -> Option<Self> {
        let mut bytes = Bytes::new(section);
        let rule = bytes.varint()?;
        if rule != u64::from(RULE) {
            return Some(if rule == UNLISTED { Self::Unlisted } else { Self::Outdated });
        }
        let (first, last, offset) = (bytes.varint()?, bytes.varint()?, bytes.varint()?);
        let count = usize::try_from(bytes.varint()?).ok()?;
        // Each page takes at least one byte. The check keeps a damaged number from allocating
        // memory.
        if count == 0 || count > bytes.rest().len() {
            return None;
        }
        let pages = (0..count).map(|_| bytes.varint()).collect::<Option<Vec<_>>>()?;
        Some(Self::Listed(Listing { first, last, offset, pages }))
    }

    /// Returns its heap memory in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Listed(listing) => listing.pages.len() * size_of::<u64>(),
            Self::Unlisted | Self::Outdated => 0,
        }
    }
}

impl Listing {
    /// Returns the start of the first span and of the last one.
    pub fn times(&self) -> (UnixNanos, UnixNanos) {
        (UnixNanos(self.first), UnixNanos(self.last))
    }

    /// Returns an upper bound of the number of exceptions.
    pub fn len_max(&self) -> u64 {
        (self.pages.len() as u64).saturating_sub(1).saturating_mul(PAGE_EXCEPTIONS as u64)
    }

    /// Reads the list. `None` when it cannot be read.
    pub fn list(&self, fetch: &mut Fetch<'_>) -> Option<List> {
        let mut list = List::default();
        let mut offset = self.offset;
        for (number, length) in self.pages.iter().enumerate() {
            let end = offset.checked_add(*length)?;
            let page = fetch(offset..end)?;
            let mut bytes = Bytes::new(unsealed(&page)?);
            offset = end;
            if number == 0 {
                while !bytes.is_empty() {
                    list.groups.push(take_group(&mut bytes)?);
                }
            } else {
                self.take_exceptions(bytes, &mut list)?;
            }
        }
        Some(list)
    }

    fn take_exceptions(&self, mut bytes: Bytes<'_>, list: &mut List) -> Option<()> {
        let mut before: Option<ListedException> = None;
        while !bytes.is_empty() {
            let (row, group) = (bytes.varint()?, u32::try_from(bytes.varint()?).ok()?);
            list.groups.get(group as usize)?;
            let listed = match before {
                Some(before) if row == 0 => ListedException { group, ..before },
                _ => ListedException {
                    row: before.map_or(0, |before| before.row).checked_add(row)?,
                    group,
                    start: UnixNanos(self.first.checked_add(bytes.varint()?)?),
                    content_hash: bytes.u64()?,
                },
            };
            list.exceptions.push(listed);
            before = Some(listed);
        }
        Some(())
    }
}

fn take_group(bytes: &mut Bytes<'_>) -> Option<ExceptionKey> {
    let mut text = || {
        let length = usize::try_from(bytes.varint()?).ok()?;
        String::from_utf8(bytes.take(length)?.to_vec()).ok()
    };
    let (service, operation, exception_type) = (text()?, text()?, text()?);
    let stack = u128::from_le_bytes(bytes.take(size_of::<u128>())?.try_into().ok()?);
    Some(ExceptionKey { service, operation, exception_type, stack })
}
