//! The section of a file's index that says where its calls between services are.
//!
//! Owns the list of rows that are left out: their traces' calls are in no cell.

use std::ops::Range;

use crate::{
    index::{Bytes, push_varint},
    rollup::cells::Directory,
};

/// What of the section stays in memory.
#[derive(Debug)]
pub(crate) struct GraphSection {
    /// The rows that are left out; ascending, apart.
    pub(super) left_out: Vec<Range<u64>>,
    /// Where the cells are.
    pub(super) cells: Directory,
}

/// The section of a file without such rollups.
pub(super) fn nothing(offset: u64) -> (Vec<u8>, Vec<u8>) {
    (encoded(&[], &offset.to_le_bytes()), Vec::new())
}

/// The section, before the directory of the cells.
pub(super) fn encoded(left_out: &[Range<u64>], cells: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    push_varint(&mut section, left_out.len() as u64);
    let mut end = 0;
    for rows in left_out {
        push_varint(&mut section, rows.start - end);
        push_varint(&mut section, rows.end - rows.start);
        end = rows.end;
    }
    section.extend(cells);
    section
}

impl GraphSection {
    /// `None` when the bytes are not such a section.
    pub(crate) fn decode(section: &[u8]) -> Option<Self> {
        let (mut section, mut left_out, mut end) = (Bytes::new(section), Vec::new(), 0_u64);
        for _ in 0..section.varint()? {
            let start = end.checked_add(section.varint()?)?;
            end = start.checked_add(section.varint()?)?;
            left_out.push(start..end);
        }
        Some(Self { left_out, cells: Directory::decode(section.rest())? })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.left_out.len() * size_of::<Range<u64>>() + self.cells.bytes()
    }
}
