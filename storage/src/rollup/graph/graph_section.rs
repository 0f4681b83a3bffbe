//! Index section that locates a file's calls between services.
//!
//! Owns the list of omitted rows: no cell counts the calls of their traces.

use std::ops::Range;

use crate::{
    index_bytes::Reader as Bytes,
    rollup::cells::{Directory, push_uncounted_rows, take_uncounted_rows},
};

/// Part of the section that stays in memory.
#[derive(Debug)]
pub(crate) struct GraphSection {
    /// Rows that the cells omit, as ascending and disjoint ranges.
    pub(crate) left_out: Vec<Range<u64>>,
    /// Locations of the cells.
    pub(crate) cells: Directory,
}

/// Returns the section of a file without such rollups.
pub(crate) fn nothing(offset: u64) -> (Vec<u8>, Vec<u8>) {
    (encoded(&[], &offset.to_le_bytes()), Vec::new())
}

/// Returns the section. `cells` is the encoded directory of the cells.
pub(crate) fn encoded(rows: &[Range<u64>], cells: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    push_uncounted_rows(&mut section, rows);
    section.extend(cells);
    section
}

impl GraphSection {
    /// Decodes the section. `None` when the bytes are not such a section.
    pub(crate) fn decode(section: &[u8]) -> Option<Self> {
        let mut section = Bytes::new(section);
        let left_out = take_uncounted_rows(&mut section)?;
        Some(Self { left_out, cells: Directory::decode(section.rest())? })
    }

    /// Returns its heap memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.left_out.len() * size_of::<Range<u64>>() + self.cells.bytes()
    }
}
